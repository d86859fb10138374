/*
 * store_rados.c - records and blobs as objects of a Ceph cluster: the table of
 * operations, and the life of a request.
 *
 * Happy path: submit makes a job of the request and starts its first operation;
 * poll hands over what has arrived, which starts the next or ends the request.
 * Failures are results. A request that goes without an answer for give_up_ms
 * is not tried again and ends with -ETIMEDOUT. Shutdown: store_close() has
 * waited for all requests, and with them for all operations.
 *
 * To a read -EIO is not final. A pool with replicas mends what it reads and
 * then answers; an erasure-coded one says -EIO whenever too few parts can be
 * read now: one is bad while the OSD of another is down, or has not been
 * recovered since. A moment later there may be enough, and whoever believes it
 * passes a good checkpoint over. So the read is repeated after pauses, each
 * twice as long as the one before, an eighth of give_up_ms in all.
 */
#include "storage/store_rados.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tries that end early (a double's, or a lost connection's) are bounded too. */
#define TRIES_MAX 16

#define PAUSES      4
#define PAUSE_FIRST 128 /* this part of give_up_ms */

struct rados_job *rados_job_start(struct rados_store *rados,
                                  struct store_req *req)
{
    struct rados_job *job = calloc(1, sizeof *job);

    if (!job) {
        store_complete(req, -ENOMEM);
        return NULL;
    }
    job->rados = rados;
    job->req = req;
    job->deadline_ms = rados_now_ms() + rados->give_up_ms;
    return job;
}

void rados_job_end(struct rados_job *job, int64_t result)
{
    struct store_req *req = job->req;

    free(job);
    store_complete(req, result);
}

bool rados_job_begin(struct rados_job *job, enum rados_pool pool,
                     const char *object, bool is_read)
{
    int rc = rados_op_begin(&job->op, job->rados, pool, object, is_read);

    if (rc < 0) {
        rados_job_end(job, rc);
        return false;
    }
    job->op.owner = job;
    return true;
}

bool rados_job_may_retry(struct rados_job *job)
{
    return ++job->tries < TRIES_MAX && rados_now_ms() < job->deadline_ms;
}

bool rados_job_read_again(struct rados_job *job, int result,
                          void (*start)(struct rados_job *job))
{
    struct rados_store *rados = job->rados;
    uint64_t first_ms = rados->give_up_ms / PAUSE_FIRST + 1;

    if ((result != -ETIMEDOUT && result != -EIO) || !rados_job_may_retry(job))
        return false;
    if (result == -ETIMEDOUT) {
        start(job);
        return true;
    }
    if (job->pause_ms >= first_ms << (PAUSES - 1))
        return false;
    job->pause_ms = job->pause_ms ? 2 * job->pause_ms : first_ms;
    job->resume_ms = rados_now_ms() + job->pause_ms;
    job->resume = start;
    list_append(&rados->paused, &job->link);
    return true;
}

/*
 * The table of operations.
 */

static bool writes(const struct store_req *req)
{
    return req->op == STORE_PUT || req->op == STORE_REMOVE ||
           req->op == STORE_BLOB_PUT || req->op == STORE_BLOB_REMOVE;
}

static bool is_of_blob(const struct store_req *req)
{
    return req->op == STORE_BLOB_PUT || req->op == STORE_BLOB_GET ||
           req->op == STORE_BLOB_REMOVE || req->op == STORE_BLOB_STAT;
}

static void dispatch(struct rados_job *job)
{
    switch (job->req->op) {
    case STORE_PUT:
    case STORE_BLOB_PUT:
        rados_put_submit(job);
        break;
    case STORE_REMOVE:
    case STORE_BLOB_REMOVE:
        rados_remove_submit(job);
        break;
    case STORE_GET:
    case STORE_STAT:
    case STORE_BLOB_GET:
    case STORE_BLOB_STAT:
        rados_get_submit(job);
        break;
    case STORE_LIST:
        rados_list_submit(job);
        break;
    case STORE_ROOM:
    case STORE_SEG_OPEN:
    case STORE_SEG_CLOSE:
    case STORE_SEG_SHARE:
    case STORE_SEG_TRIM:
    case STORE_SEG_REMOVE:
    case STORE_READ:
    case STORE_WRITE:
    case STORE_SYNC:
        assert(!"store.c lets no request on segments through");
        break;
    }
}

static void rados_submit(struct store *store, struct store_req *req)
{
    struct rados_store *rados = rados_of(store);
    struct rados_job *job;

    if (writes(req) && !(rados->flags & STORE_OPEN_WRITE)) {
        store_complete(req, -EROFS);
        return;
    }
    job = rados_job_start(rados, req);
    if (!job)
        return;
    job->pool = is_of_blob(req) ? RADOS_BLOBS : RADOS_RECORDS;
    if (req->op != STORE_LIST)
        rados_object_name(job->pool == RADOS_BLOBS ? 'b' : 'r', req->name,
                          strlen(req->name), job->object);
    dispatch(job);
}

static int rados_poll(struct store *store, int timeout_ms)
{
    return rados_op_poll(rados_of(store), timeout_ms);
}

static int rados_poll_fd(struct store *store)
{
    return rados_of(store)->event_fd;
}

/* librados copies what it is given. */
static int rados_buffer_add(struct store *store, void *base, size_t bytes)
{
    (void)store;
    (void)base;
    (void)bytes;
    return 0;
}

static void rados_buffer_remove(struct store *store, void *base)
{
    (void)store;
    (void)base;
}

static void rados_describe(struct store *store, char *text, size_t capacity)
{
    const struct rados_store *rados = rados_of(store);
    const struct rados_url *url = &rados->url;
    int version[3] = {0};

    rados->api->version(&version[0], &version[1], &version[2]);
    (void)snprintf(text, capacity,
                   "RADOS: records in pool %s, blobs in pool %s, namespace %s, "
                   "as client.%s, librados %d.%d.%d, %u ms an operation, "
                   "%u ms a request",
                   url->pool, url->data_pool, url->space,
                   url->user[0] ? url->user : "admin", version[0], version[1],
                   version[2], rados->op_timeout_ms, rados->give_up_ms);
}

static void rados_close(struct store *store)
{
    rados_op_close(rados_of(store));
}

const struct store_ops rados_ops = {
    .kind = "rados",
    .submit = rados_submit,
    .poll = rados_poll,
    .poll_fd = rados_poll_fd,
    .buffer_add = rados_buffer_add,
    .buffer_remove = rados_buffer_remove,
    .describe = rados_describe,
    .close = rados_close,
};
