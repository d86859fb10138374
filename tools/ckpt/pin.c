/*
 * pin.c - `ckpt pin` and `ckpt unpin`: pin/SAVE is there or not.
 */
#include "tools/ckpt/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int find(struct tool *t, struct target *target, struct save_id *id)
{
    struct catalog c = {0};
    int code = tool_open_home(t, true);

    if (code == 0)
        code = target_parse(t, t->target, target);
    if (code == 0)
        code = tool_catalog(t, target->run, &c);
    if (code == 0)
        code = tool_find_save(t, &c, target, id);
    catalog_free(&c);
    return code;
}

int verb_pin(struct tool *t)
{
    struct record_mark mark = {.created_unix_ms = (uint64_t)time(NULL) * 1000};
    char name[RECORD_NAME_BYTES];
    struct target target;
    struct wr w = {0};
    int code = find(t, &target, &mark.id);
    struct store_req put = {.op = STORE_PUT};
    int64_t rc;

    if (code)
        return code;
    (void)snprintf(mark.note, sizeof mark.note, "uid %u", geteuid());
    record_mark_encode(RECORD_PIN, &mark, &w);
    put.name = name_save(name, target.run, "pin", &mark.id);
    put.buf = w.data;
    put.len = w.bytes;
    rc = w.failed ? -ENOMEM : store_run(t->home, &put);
    wr_free(&w);
    if (rc < 0 && rc != -EEXIST)
        return complain(t, EXIT_ERROR, "%s: %s", name, err_text((int)rc));
    (void)printf("%s@%" PRIu64 " is pinned\n", target.run, mark.id.step);
    return EXIT_FINE;
}

int verb_unpin(struct tool *t)
{
    char name[RECORD_NAME_BYTES];
    struct save_id id;
    struct target target;
    int code = find(t, &target, &id);
    struct store_req remove = {.op = STORE_REMOVE};
    int64_t rc;

    if (code)
        return code;
    remove.name = name_save(name, target.run, "pin", &id);
    rc = store_run(t->home, &remove);
    if (rc < 0 && rc != -ENOENT)
        return complain(t, EXIT_ERROR, "%s: %s", name, err_text((int)rc));
    (void)printf("%s@%" PRIu64 " is %s\n", target.run, id.step,
                 rc ? "not pinned" : "no longer pinned");
    return EXIT_FINE;
}
