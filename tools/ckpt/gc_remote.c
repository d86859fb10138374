/*
 * gc_remote.c - files of the remote tier that belong to no checkpoint.
 *
 * A daemon that removes a checkpoint removes them itself. They stay where it
 * dies meanwhile, where `ckpt gc` has buried the checkpoint, and where a daemon
 * that had not seen the tomb went on copying. A committed save's stay, also
 * those of a copy that was not finished: the next drain goes on with them.
 */
#include "tools/ckpt/gc.h"

#include <errno.h>
#include <stdio.h>

static uint64_t size_of(const struct gc *g, const char *name)
{
    struct store_req stat = {.op = STORE_STAT, .name = name};
    int64_t rc = store_run(g->tool->home, &stat);

    return rc > 0 ? (uint64_t)rc : 0; /* for display only */
}

static int drop(struct gc *g, const char *name)
{
    bool in_place = g->tool->home->limits.max_io_bytes > 0;
    struct store_req req = {
        .op = in_place ? STORE_SEG_REMOVE : STORE_BLOB_REMOVE, .name = name};
    int64_t rc;

    gc_say(g, "remote file", name, size_of(g, name));
    if (!g->is_for_real)
        return EXIT_FINE;
    rc = store_run(g->tool->home, &req);
    return rc < 0 && rc != -ENOENT ? complain(g->tool, exit_code_of((int)rc),
                                              "%s: %s", name, err_text((int)rc))
                                   : EXIT_FINE;
}

int gc_remote(struct gc *g, const struct catalog *c)
{
    char name[RECORD_NAME_BYTES], path[320];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, c->run, "data")};
    int64_t rc = store_run(g->tool->home, &list);
    int code = rc < 0 ? complain(g->tool, exit_code_of((int)rc), "%s: %s", name,
                                 err_text((int)rc))
                      : EXIT_FINE;

    for (size_t i = 0; !code && i < list.names.count; i++) {
        struct save_id id;

        if (save_id_parse(list.names.name[i], &id, NULL) ||
            !gc_is_litter(g, c, &id, "data"))
            continue;
        (void)snprintf(path, sizeof path, "data/%s", list.names.name[i]);
        code = drop(g, name_run(name, c->run, path));
    }
    store_names_free(&list.names);
    return code;
}
