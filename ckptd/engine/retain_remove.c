/*
 * retain_remove.c - the end of one save.
 *
 *   tomb/SAVE (exclusively) -> references dropped -> files of the remote tier
 *   removed -> all its records, the decision last
 *
 * A load that has not begun to read when this begins finds that the save is
 * REMOVED (load.c); one that has is waited for (retain.c). From the tomb on the
 * save is gone for every reader; what is left of its
 * records if the daemon dies in between is swept by `ckpt gc`. The tomb stays
 * for the run's life, so that no late create revives the name.
 */
#include "ckptd/engine/remote_remove.h"
#include "ckptd/engine/retain_internal.h"

#include "common/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct removal {
    struct retention *retention;
    struct save_id id;
    size_t folder; /* index in `folders`, under way */
    struct store_names names;
    size_t next_name;
    char name[RECORD_NAME_BYTES];
};

/* The decision last: until then the rest can still be told apart. */
static const char *const folders[] = {"manifest",       "vote",    "intent",
                                      "verified",       "damaged", "scrubbed",
                                      "damaged_remote", "remote",  "decision"};

static void next_folder(struct removal *r);
static void next_record(struct removal *r);

static void removal_end(struct removal *r, int result)
{
    struct retention *t = r->retention;

    store_names_free(&r->names);
    free(r);
    retain_removed(t, result);
}

static struct store *store_of(const struct removal *r)
{
    return r->retention->run->home->store;
}

static void record_removed(void *arg, int result)
{
    struct removal *r = arg;

    if (result && result != -ENOENT)
        removal_end(r, result);
    else
        next_record(r);
}

/* The next record of this save in the folder that was listed. */
static void next_record(struct removal *r)
{
    const char *run = r->retention->run->name;

    while (r->next_name < r->names.count) {
        const char *leaf = r->names.name[r->next_name++];
        struct save_id id;
        char path[256];

        if (save_id_parse(leaf, &id, NULL) ||
            save_id_compare(&id, &r->id) != 0 ||
            strlen(leaf) + 16 > sizeof path)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folders[r->folder], leaf);
        recio_remove(store_of(r), name_run(r->name, run, path), record_removed,
                     r);
        return;
    }
    store_names_free(&r->names);
    r->folder++;
    next_folder(r);
}

static void folder_listed(void *arg, int result, struct store_names *names)
{
    struct removal *r = arg;

    if (result < 0) {
        removal_end(r, result);
        return;
    }
    r->names = *names;
    *names = (struct store_names){0};
    r->next_name = 0;
    next_record(r);
}

static void next_folder(struct removal *r)
{
    if (r->folder == ARRAY_LEN(folders)) {
        removal_end(r, 0);
        return;
    }
    recio_list(store_of(r),
               name_run(r->name, r->retention->run->name, folders[r->folder]),
               folder_listed, r);
}

static void files_removed(void *arg, int result)
{
    struct removal *r = arg;

    if (result)
        removal_end(r, result);
    else
        next_folder(r);
}

static void tomb_put(void *arg, int result)
{
    struct removal *r = arg;
    struct run *run = r->retention->run;

    if (result && result != -EEXIST) {
        /* Nobody has seen a tomb: the next pass tries again. */
        retain_save(r->retention, &r->id)->status = SAVE_COMMITTED;
        removal_end(r, result);
        return;
    }
    retain_let_go(r->retention, &r->id);
    r->retention->env->ops->log(r->retention->env, LOG_LEVEL_INFO,
                                "run %s: step %" PRIu64
                                " (generation %u) removed by the policy",
                                run->name, r->id.step, r->id.generation);
    /* Whatever the policy says: it may have been wished for (`ckpt drain`), or
     * copied (`ckpt cp`). */
    remote_remove(run, &r->id, files_removed, r);
}

void retain_let_go(struct retention *t, const struct save_id *id)
{
    struct run *run = t->run;

    segpool_release(run->home->engine->pool, &run->catalog.uuid, id);
    retain_save(t, id)->is_let_go = true;
}

void retain_put_tomb(struct run *run, const struct save_id *id,
                     const char *reason, recio_put_fn done, void *arg)
{
    struct record_tomb tomb = {.id = *id};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    tomb.created_unix_ms =
        run->home->engine->env->ops->unix_ms(run->home->engine->env);
    (void)snprintf(tomb.reason, sizeof tomb.reason, "%s", reason);
    record_tomb_encode(&tomb, &w);
    recio_put(run->home->store, name_save(name, run->name, "tomb", id), &w,
              done, arg);
}

void retain_remove(struct retention *t, const struct save_id *id)
{
    struct removal *r = calloc(1, sizeof *r);

    if (!r) {
        retain_removed(t, -ENOMEM);
        return;
    }
    retain_save(t, id)->status = SAVE_REMOVED;
    r->retention = t;
    r->id = *id;
    if (is_left_out("tomb before reuse"))
        retain_let_go(t, id);
    retain_put_tomb(t->run, id, "retention policy", tomb_put, r);
}
