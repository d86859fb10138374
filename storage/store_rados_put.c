/*
 * store_rados_put.c - creates a record or a blob, and removes one.
 *
 *     PUT     the name into the catalogues (store_rados_catalog.c), under a
 *             key of this request, then the object with its seal, exclusively,
 *             in one operation; then its seal and the checksum that the
 *             cluster computes of its bytes are read back.
 *     REMOVE  the object's seal is read, the object removed if it still has
 *             that seal, then the key of the request that created it.
 *
 * So an object that is there always has its key in its folder's catalogue:
 * it was written before, under a nonce that only this object carries, and only
 * whoever has removed this object takes it away. A key may stay without an
 * object (a crash, a timeout): LIST does not show it.
 *
 * Creating that timed out may have happened, may happen still, or never will:
 * the object is read. Ours (by the nonce): done. Another's: -EEXIST. None: it
 * is created again under a key and a nonce of its own, so that whoever removes
 * one of them does not unname the other. A removal that timed out is repeated
 * from the start, and cannot hit what was created since, which has another
 * seal.
 */
#include "storage/store_rados.h"

#include "common/bytes.h"
#include "storage/crc32c.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void put_start(struct rados_job *job);
static void put_look(struct rados_job *job);

/* Takes the key of this request away again, or of the object that was
 * removed, and ends with job->outcome: what stays is not shown. */
static void key_removed(struct rados_op *op)
{
    struct rados_job *job = op->owner;

    rados_op_fini(op);
    rados_job_end(job, job->outcome);
}

static void end_without_key(struct rados_job *job, int64_t outcome)
{
    const char *key = job->key;
    size_t bytes = strlen(key);

    job->outcome = outcome;
    if (!rados_job_begin(job, RADOS_RECORDS, job->catalog, false))
        return;
    job->rados->api->write_op_omap_rm_keys2(job->op.steps, &key, &bytes, 1);
    rados_op_submit(&job->op, key_removed);
}

/*
 * PUT.
 */

/* The cluster has looked at it and said no. After other errors the object may
 * be there, and its key has to stay. */
static bool is_refusal(int64_t rc)
{
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EPERM || rc == -EACCES ||
           rc == -EOPNOTSUPP;
}

static void put_created(struct rados_op *op)
{
    struct rados_job *job = op->owner;

    job->outcome = op->result;
    rados_op_fini(op);
    if (job->outcome == 0 && job->rados->puts_unread)
        rados_job_end(job, 0);
    else if (job->outcome == 0 || job->outcome == -EEXIST ||
             job->outcome == -ETIMEDOUT)
        put_look(job);
    else if (is_refusal(job->outcome))
        end_without_key(job, job->outcome);
    else
        rados_job_end(job, job->outcome);
}

/* librados copies the bytes, which the checksum has just brought into the
 * cache. */
static void put_fill(struct rados_op *op)
{
    struct rados_job *job = op->owner;
    const struct rados_api *api = job->rados->api;
    uint8_t seal[SEAL_BYTES];

    if (job->attempts++ == 0)
        job->seal.crc = crc32c(0, job->req->buf, job->req->len);
    seal_encode(&job->seal, job->object, seal);
    api->write_op_create(op->steps, RADOS_CREATE_EXCLUSIVE, NULL);
    api->write_op_write_full(op->steps, job->req->buf ? job->req->buf : "",
                             job->req->len);
    api->write_op_setxattr(op->steps, SEAL_ATTRIBUTE, (const char *)seal,
                           sizeof seal);
}

/* The key is in the catalogue. */
static void put_create(struct rados_job *job)
{
    if (!rados_job_begin(job, job->pool, job->object, false))
        return;
    job->op.bytes = job->req->len;
    rados_op_submit_later(&job->op, put_fill, put_created);
}

static void put_start(struct rados_job *job)
{
    job->seal.nonce.b[15] = (uint8_t)job->attempts;
    rados_register(job, put_create);
}

static bool is_ours(const struct rados_job *job, const struct seal *seal)
{
    return memcmp(seal->nonce.b, job->seal.nonce.b, 15) == 0;
}

/* What the cluster says of the bytes that it holds. */
static int64_t check_bytes(const struct rados_op *op,
                           const struct rados_job *job, const struct seal *seal)
{
    const uint64_t bytes = job->req->len;

    if (seal->bytes != bytes || seal->crc != job->seal.crc)
        return -CKPT_ECORRUPT;
    if (bytes > 0 && (get_u32(op->checksum) != 1 ||
                      ~get_u32(op->checksum + 4) != job->seal.crc))
        return -CKPT_ECORRUPT;
    return 0;
}

/* There is none. Creating it has succeeded: another has removed it since.
 * Another's was in the way: it has been removed since. Else it was not
 * created, so far. */
static void put_absent(struct rados_job *job)
{
    if (job->outcome == -EEXIST)
        end_without_key(job, -EEXIST);
    else if (job->outcome == 0)
        rados_job_end(job, 0);
    else if (rados_job_may_retry(job))
        put_start(job);
    else
        rados_job_end(job, -ETIMEDOUT);
}

/* There is another's: in the way, or since ours was removed. While creating
 * ours may still happen, its key stays. */
static void put_anothers(struct rados_job *job)
{
    if (job->outcome == -EEXIST)
        end_without_key(job, -EEXIST);
    else
        rados_job_end(job, job->outcome == 0 ? 0 : -EEXIST);
}

static void put_looked(struct rados_op *op)
{
    struct rados_job *job = op->owner;
    bool is_checked = job->outcome == 0;
    int answer = op->result;
    int64_t rc = answer;
    struct seal seal = {0};

    if (rc == 0)
        rc = rados_op_seal(op, &seal);
    if (rc == 0 && !is_ours(job, &seal))
        rc = -EEXIST;
    if (rc == 0 && is_checked)
        rc = check_bytes(op, job, &seal);
    rados_op_fini(op);
    if (rc == 0 && !is_checked) {
        job->outcome = 0; /* one of those whose answer did not come */
        put_look(job);
    } else if (rc == -ENOENT) {
        put_absent(job);
    } else if (rc == -EEXIST) {
        put_anothers(job);
    } else if (!rados_job_read_again(job, answer, put_look)) {
        rados_job_end(job, rc);
    }
}

/* Whose is it; once it is known to be ours, also what its bytes are. */
static void put_look(struct rados_job *job)
{
    static const char first[4] = "\xff\xff\xff\xff";
    struct rados_op *op = &job->op;

    if (!rados_job_begin(job, job->pool, job->object, true))
        return;
    rados_op_ask_seal(op);
    if (job->outcome == 0 && job->req->len > 0)
        job->rados->api->read_op_checksum(
            op->steps, RADOS_CHECKSUM_CRC32C, first, sizeof first, 0,
            job->req->len, 0, (char *)op->checksum, sizeof op->checksum,
            &op->step_result[2]);
    rados_op_submit(op, put_looked);
}

void rados_put_submit(struct rados_job *job)
{
    struct rados_store *rados = job->rados;
    const struct store_req *req = job->req;

    job->seal.nonce = rados->nonce;
    put_u64(job->seal.nonce.b + 8, ++rados->nonce_count);
    job->seal.bytes = req->len;
    put_start(job);
}

/*
 * REMOVE.
 */

static void remove_start(struct rados_job *job);

/* Of an object without a good seal the key is not known: it stays. */
static void remove_end(struct rados_job *job, int64_t outcome)
{
    if (job->key[0])
        end_without_key(job, outcome);
    else
        rados_job_end(job, outcome);
}

static void removed(struct rados_op *op)
{
    struct rados_job *job = op->owner;
    int rc = op->result;

    rados_op_fini(op);
    if ((rc == -ETIMEDOUT || rc == -ECANCELED) && rados_job_may_retry(job))
        remove_start(job);
    else if (rc == 0 || rc == -ENOENT)
        remove_end(job, rc);
    else
        rados_job_end(job, rc == -ECANCELED ? -EBUSY : rc);
}

/* The object as it was read, with this seal, or whatever it is. */
static void remove_it(struct rados_job *job, bool has_seal)
{
    const struct rados_api *api = job->rados->api;
    struct rados_op *op = &job->op;
    uint8_t seal[SEAL_BYTES];
    const char *component;

    (void)rados_folder_of(job->req->name, &component);
    if (!rados_job_begin(job, job->pool, job->object, false))
        return;
    job->attempts++;
    job->key[0] = '\0';
    if (has_seal) {
        (void)rados_key_format(rados_kind_of(job), component, strlen(component),
                               &job->seal.nonce, job->key);
        seal_encode(&job->seal, job->object, seal);
        api->write_op_cmpxattr(op->steps, SEAL_ATTRIBUTE, RADOS_CMPXATTR_EQ,
                               (const char *)seal, sizeof seal);
    }
    api->write_op_remove(op->steps);
    rados_op_submit(op, removed);
}

static void remove_looked(struct rados_op *op)
{
    struct rados_job *job = op->owner;
    int rc = op->result < 0 ? op->result : rados_op_seal(op, &job->seal);

    rados_op_fini(op);
    if (rc == -ENOENT && job->attempts > 0)
        remove_end(job, 0); /* the removal whose answer did not come */
    else if (rc == 0 || rc == -CKPT_ECORRUPT)
        remove_it(job, rc == 0);
    else if (!rados_job_read_again(job, rc, remove_start))
        rados_job_end(job, rc);
}

static void remove_start(struct rados_job *job)
{
    if (!rados_job_begin(job, job->pool, job->object, true))
        return;
    rados_op_ask_seal(&job->op);
    rados_op_submit(&job->op, remove_looked);
}

void rados_remove_submit(struct rados_job *job)
{
    const char *component;
    size_t folder = rados_folder_of(job->req->name, &component);

    rados_object_name('c', job->req->name, folder, job->catalog);
    remove_start(job);
}
