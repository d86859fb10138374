/*
 * store_rados_get.c - reads a record or a blob, or asks how long it is.
 *
 * One operation reads size, seal and bytes together. The seal has to fit the
 * object's name and size, and its checksum the bytes, where all of them were
 * read. What timed out is read again until the request gives up, what answered
 * -EIO a few times after pauses.
 */
#include "storage/store_rados.h"

#include "storage/crc32c.h"

#include <errno.h>

static void get_done(struct rados_op *op);

static bool is_stat(const struct store_req *req)
{
    return req->op == STORE_STAT || req->op == STORE_BLOB_STAT;
}

static void get_start(struct rados_job *job)
{
    const struct store_req *req = job->req;
    const struct rados_api *api = job->rados->api;
    struct rados_op *op = &job->op;
    uint64_t off = req->op == STORE_BLOB_GET ? req->off : 0;

    if (!rados_job_begin(job, job->pool, job->object, true))
        return;
    rados_op_ask_seal(op);
    if (!is_stat(req) && req->len > 0) {
        op->bytes = req->len;
        api->read_op_read(op->steps, off, req->len, req->buf, &op->got,
                          &op->step_result[2]);
    }
    rados_op_submit(op, get_done);
}

/* What of the object was wanted and came. */
static int64_t check_read(const struct rados_op *op,
                          const struct store_req *req, const struct seal *seal)
{
    uint64_t whole = op->size;

    if (req->op == STORE_GET && whole > req->len)
        return -EFBIG;
    if (req->op == STORE_BLOB_GET && req->off + req->len > whole)
        return -EIO;
    if (op->got != (req->op == STORE_GET ? whole : req->len))
        return -CKPT_ECORRUPT;
    if (op->got == whole && crc32c(0, req->buf, whole) != seal->crc)
        return -CKPT_ECORRUPT;
    return (int64_t)op->got;
}

static int64_t judge(struct rados_op *op, struct store_req *req)
{
    struct seal seal;
    int rc;

    if (op->result < 0)
        return op->result;
    if (is_stat(req)) {
        req->stat_mtime_ms = (int64_t)op->mtime * 1000;
        return (int64_t)op->size;
    }
    rc = rados_op_seal(op, &seal);
    return rc < 0 ? rc : check_read(op, req, &seal);
}

static void get_done(struct rados_op *op)
{
    struct rados_job *job = op->owner;
    int64_t result = judge(op, job->req);
    int answer = op->result;

    rados_op_fini(op);
    if (!rados_job_read_again(job, answer, get_start))
        rados_job_end(job, result);
}

void rados_get_submit(struct rados_job *job)
{
    get_start(job);
}
