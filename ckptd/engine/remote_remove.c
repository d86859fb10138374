/*
 * remote_remove.c - see remote_remove.h.
 */
#include "ckptd/engine/remote_remove.h"

#include "ckptd/engine/home_internal.h"
#include "ckptd/engine/remote_write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct remote_removal {
    struct run *run;
    struct save_id id;
    struct id128 *daemon;
    size_t daemon_count, next_daemon;
    uint32_t file, again; /* of that daemon: under way */
    uint32_t absent;      /* in a row */
    struct store_req req;
    char name[RECORD_NAME_BYTES];
    recio_put_fn done;
    void *arg;
};

static void next_file(struct remote_removal *r);

static void end(struct remote_removal *r, int result)
{
    recio_put_fn done = r->done;
    void *arg = r->arg;

    free(r->daemon);
    free(r);
    done(arg, result);
}

/* The first may be missing though there is a second: a drive can lose it. */
static void file_removed(struct store_req *req, int64_t result)
{
    struct remote_removal *r = req->owner;
    bool is_absent = result == -ENOENT;

    if (result < 0 && !is_absent) {
        end(r, (int)result);
        return;
    }
    if (!is_absent)
        r->absent = 0;
    else if (r->again == 0)
        r->absent++;
    if (r->again == 0 || !is_absent) {
        r->again++;
    } else {
        r->again = 0;
        r->file++;
    }
    if (r->again == 0 && r->absent == REMOTE_ROW_GAP) {
        r->next_daemon++;
        r->file = r->absent = 0;
    }
    next_file(r);
}

static void next_file(struct remote_removal *r)
{
    char leaf[RECORD_NAME_BYTES];

    if (r->next_daemon == r->daemon_count) {
        end(r, 0);
        return;
    }
    (void)name_tier_file(leaf, &r->id, &r->daemon[r->next_daemon], r->file,
                         r->again);
    r->req = (struct store_req){.op = remote_in_place(r->run->home)
                                          ? STORE_SEG_REMOVE
                                          : STORE_BLOB_REMOVE,
                                .name = name_run(r->name, r->run->name, leaf),
                                .done = file_removed,
                                .owner = r};
    store_submit(r->run->home->store, &r->req);
}

/* "SAVE.DAEMON" */
static bool is_table(const struct remote_removal *r, const char *name,
                     struct id128 *daemon)
{
    struct save_id id;
    const char *rest;

    return save_id_parse(name, &id, &rest) == 0 && *rest == '.' &&
           save_id_compare(&id, &r->id) == 0 &&
           id_parse(rest + 1, strlen(rest + 1), daemon) == 0;
}

static void listed(void *arg, int result, struct store_names *names)
{
    struct remote_removal *r = arg;

    if (result < 0) {
        end(r, result);
        return;
    }
    r->daemon = calloc(names->count + 1, sizeof *r->daemon);
    if (!r->daemon) {
        end(r, -ENOMEM);
        return;
    }
    r->daemon[r->daemon_count++] = run_env(r->run)->local_uuid;
    for (size_t i = 0; i < names->count; i++)
        if (is_table(r, names->name[i], &r->daemon[r->daemon_count]) &&
            !id_equal(&r->daemon[r->daemon_count], &r->daemon[0]))
            r->daemon_count++;
    next_file(r);
}

void remote_remove(struct run *run, const struct save_id *id, recio_put_fn done,
                   void *arg)
{
    struct remote_removal *r = calloc(1, sizeof *r);
    char name[RECORD_NAME_BYTES];

    if (!r) {
        done(arg, -ENOMEM);
        return;
    }
    r->run = run;
    r->id = *id;
    r->done = done;
    r->arg = arg;
    recio_list(run->home->store, name_run(name, run->name, "remote"), listed,
               r);
}
