/*
 * store_rados_list.c - lists a folder out of its catalogue.
 *
 * The keys are read a page at a time. Folders show at once; of each record and
 * blob it is asked whether its object is there, several at once, because a key
 * is written before its object and may outlive it. Keys of one name stand next
 * to each other, so that each is asked for once.
 *
 * The first error ends the listing, once what is under way has come back.
 */
#include "storage/store_rados.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_KEYS 1000
#define LOOKS     32

struct listing;

struct look {
    struct listing *listing;
    struct rados_op op;
    char object[OBJECT_NAME_BYTES];
    const char *name; /* its component; in `names` */
};

struct listing {
    struct rados_job *job;
    struct rados_op page;
    char after[CATALOG_KEY_BYTES]; /* the last key that was read */
    char last_kind, last[STORE_NAME_MAX + 1];
    /* What is to be asked for: its kind and name, NUL-terminated, end to end.
     */
    struct store_names_builder names;
    const char *next;
    size_t left;
    struct store_names_builder found;
    struct look look[LOOKS];
    uint32_t looking;
    int error;
};

static void look_next(struct look *look);

static void listing_end(struct listing *l)
{
    struct rados_job *job = l->job;
    int rc = l->error;

    if (rc == 0)
        rc = store_names_finish(&l->found, &job->req->names);
    store_names_fini(&l->found);
    store_names_fini(&l->names);
    free(l);
    rados_job_end(job, rc);
}

static bool may_retry(struct listing *l, int result)
{
    return result == -ETIMEDOUT && l->error == 0 &&
           rados_now_ms() < l->job->deadline_ms;
}

/*
 * Is the object there?
 */

static void looked(struct rados_op *op)
{
    struct look *look = op->owner;
    struct listing *l = look->listing;
    int rc = op->result;

    rados_op_fini(op);
    l->looking--;
    if (!may_retry(l, rc)) {
        if (rc == 0)
            rc = store_names_add(&l->found, look->name);
        if (rc < 0 && rc != -ENOENT && l->error == 0)
            l->error = rc;
        look->name = NULL;
    }
    look_next(look);
    if (l->looking == 0)
        listing_end(l);
}

/* The one that it has, again, or the next. */
static void look_next(struct look *look)
{
    struct listing *l = look->listing;
    const struct store_req *req = l->job->req;
    enum rados_pool pool;
    char name[STORE_NAME_MAX + 1];
    size_t folder = strlen(req->name), bytes;
    int rc;

    if (l->error < 0)
        return;
    if (!look->name) {
        if (l->left == 0)
            return;
        look->name = l->next + 1;
        l->next += strlen(l->next) + 1;
        l->left--;
    }
    bytes = strlen(look->name);
    memcpy(name, req->name, folder);
    if (folder > 0)
        name[folder++] = '/';
    memcpy(name + folder, look->name, bytes);
    rados_object_name(look->name[-1], name, folder + bytes, look->object);
    pool = look->name[-1] == 'b' ? RADOS_BLOBS : RADOS_RECORDS;
    rc = rados_op_begin(&look->op, l->job->rados, pool, look->object, true);
    if (rc < 0) {
        l->error = rc;
        return;
    }
    look->op.owner = look;
    l->job->rados->api->read_op_stat(look->op.steps, &look->op.size,
                                     &look->op.mtime, &look->op.step_result[0]);
    l->looking++;
    rados_op_submit(&look->op, looked);
}

static void look_all(struct listing *l)
{
    l->next = l->names.block;
    l->left = l->names.count;
    for (size_t i = 0; i < LOOKS && l->left > 0; i++) {
        l->look[i].listing = l;
        look_next(&l->look[i]);
    }
    if (l->looking == 0)
        listing_end(l);
}

/*
 * The catalogue.
 */

/* "KNAME" into `names`; folders into `found`. Once each. */
static int take_key(struct listing *l, const char *key, size_t bytes)
{
    char entry[1 + STORE_NAME_MAX + 1];
    char kind = rados_key_parse(key, bytes, entry + 1);

    if (!kind || (kind == l->last_kind && strcmp(entry + 1, l->last) == 0))
        return 0;
    if (strlen(l->job->req->name) + 1 + strlen(entry + 1) > STORE_NAME_MAX)
        return 0; /* nobody can have created that */
    l->last_kind = kind;
    memcpy(l->last, entry + 1, strlen(entry + 1) + 1);
    if (kind == 'd')
        return store_names_add(&l->found, entry + 1);
    entry[0] = kind;
    return store_names_add(&l->names, entry);
}

static int take_page(struct listing *l, const struct rados_op *op)
{
    const struct rados_api *api = op->rados->api;
    char *key = NULL, *value;
    size_t bytes, value_bytes;
    int rc = 0;

    while (rc == 0 && op->keys &&
           api->omap_get_next2(op->keys, &key, &value, &bytes, &value_bytes) ==
               0 &&
           key) {
        if (bytes >= sizeof l->after)
            return -CKPT_ECORRUPT; /* not ours, and we could not go on from it
                                    */
        memcpy(l->after, key, bytes);
        l->after[bytes] = '\0';
        rc = take_key(l, key, bytes);
    }
    return rc;
}

static void page_read(struct listing *l);

static void page_came(struct rados_op *op)
{
    struct listing *l = op->owner;
    int rc = op->result < 0 ? op->result : take_page(l, op);
    bool has_more = rc == 0 && op->has_more;

    rados_op_fini(op);
    if (has_more || may_retry(l, rc)) {
        page_read(l);
        return;
    }
    l->error = rc == -ENOENT ? 0 : rc;
    look_all(l);
}

static void page_read(struct listing *l)
{
    struct rados_job *job = l->job;
    struct rados_op *op = &l->page;
    int rc = rados_op_begin(op, job->rados, RADOS_RECORDS, job->catalog, true);

    if (rc < 0) {
        l->error = rc;
        listing_end(l);
        return;
    }
    op->owner = l;
    job->rados->api->read_op_omap_get_vals2(op->steps, l->after, "", PAGE_KEYS,
                                            &op->keys, &op->has_more,
                                            &op->step_result[0]);
    rados_op_submit(op, page_came);
}

void rados_list_submit(struct rados_job *job)
{
    struct listing *l = calloc(1, sizeof *l);
    const char *name = job->req->name;

    job->req->names = (struct store_names){0};
    if (!l) {
        rados_job_end(job, -ENOMEM);
        return;
    }
    l->job = job;
    rados_object_name('c', name, strlen(name), job->catalog);
    page_read(l);
}
