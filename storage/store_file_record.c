/*
 * store_file_record.c - records, and blobs: files, whole or not there.
 *
 * PUT: parent folder -> new file without a name -> write -> fdatasync -> link
 * exclusively -> fsync the folder. A failure before the link leaves nothing;
 * in particular, a file whose sync failed never gets a name. On a shared file
 * system a flush follows the sync: some tell of a failed write only at close.
 * GET: open, size, read to the end. REMOVE: unlink, fsync the folder, also when
 * the name was gone already: another may have unlinked it without having synced
 * yet. What is said about names on shared file systems: store_file_fresh.c.
 */
#include "storage/store_file.h"

#include "common/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void put_start(struct file_job *job);

/*
 * PUT.
 */

static void put_published(struct file_job *job, int64_t result)
{
    if (result == -ESTALE && file_job_may_retry(job))
        put_start(job);
    else
        file_job_end(job, result);
}

static void put_flushed(struct file_job *job, int64_t result)
{
    if (result < 0)
        put_published(job, result);
    else
        file_publish(job, put_published);
}

static void put_synced(struct file_job *job, int64_t result)
{
    if (result < 0 || !job->file->is_shared)
        put_flushed(job, result);
    else
        file_job_on_fd(job, FILEIO_FLUSH, job->fd, put_flushed);
}

static void put_written(struct file_job *job, int64_t result);

static void put_write(struct file_job *job)
{
    const struct store_req *req = job->req;

    if (job->done_bytes == req->len) {
        file_job_sync(job, FILEIO_FDATASYNC, job->fd, "sync of a record",
                      put_synced);
        return;
    }
    job->op.buf = (char *)req->buf + job->done_bytes;
    job->op.len = req->len - job->done_bytes;
    job->op.off = job->done_bytes;
    file_job_on_fd(job, FILEIO_WRITE, job->fd, put_written);
}

static void put_written(struct file_job *job, int64_t result)
{
    if (result <= 0) {
        put_published(job, result < 0 ? result : -EIO);
        return;
    }
    if (is_left_out("rest of a short write"))
        result = (int64_t)job->op.len;
    job->done_bytes += (uint64_t)result;
    put_write(job);
}

static void put_made(struct file_job *job, int64_t result)
{
    if (result < 0)
        put_published(job, result);
    else
        put_write(job);
}

static void put_in_parent(struct file_job *job, int64_t result)
{
    if (result < 0)
        put_published(job, result);
    else
        file_temp_open(job, false, put_made);
}

static void put_start(struct file_job *job)
{
    file_open_parent(job, true, put_in_parent);
}

/*
 * GET and STAT.
 */

static void get_start(struct file_job *job);
static void get_read(struct file_job *job, int64_t result);

static void get_fail(struct file_job *job, int64_t result)
{
    if (file_is_stale(job, result))
        get_start(job);
    else
        file_job_end(job, result);
}

/* All of a record, the part of a blob that was asked for. */
static void get_next(struct file_job *job)
{
    const struct store_req *req = job->req;
    bool is_part = req->op == STORE_BLOB_GET;
    uint64_t size = is_part ? req->len : job->stat.stx_size;

    if (job->done_bytes == size) {
        file_job_end(job, (int64_t)size);
        return;
    }
    job->op.buf = (char *)req->buf + job->done_bytes;
    job->op.len = size - job->done_bytes;
    job->op.off = (is_part ? req->off : 0) + job->done_bytes;
    file_job_on_fd(job, FILEIO_READ, job->fd, get_read);
}

static void get_read(struct file_job *job, int64_t result)
{
    if (result <= 0) {
        get_fail(job, result < 0 ? result : -EIO);
        return;
    }
    job->done_bytes += (uint64_t)result;
    get_next(job);
}

static void get_sized(struct file_job *job, int64_t result)
{
    struct store_req *req = job->req;
    const struct statx *stat = &job->stat;

    if (result < 0) {
        get_fail(job, result);
    } else if (!S_ISREG(stat->stx_mode)) {
        file_job_end(job, S_ISDIR(stat->stx_mode) ? -EISDIR : -EINVAL);
    } else if (req->op == STORE_STAT || req->op == STORE_BLOB_STAT) {
        req->stat_mtime_ms = (int64_t)stat->stx_mtime.tv_sec * 1000 +
                             stat->stx_mtime.tv_nsec / 1000000;
        file_job_end(job, (int64_t)stat->stx_size);
    } else if (req->op == STORE_GET && stat->stx_size > req->len) {
        file_job_end(job, -EFBIG);
    } else if (req->op == STORE_BLOB_GET &&
               req->off + req->len > stat->stx_size) {
        file_job_end(job, -EIO);
    } else {
        get_next(job);
    }
}

static void get_opened(struct file_job *job, int64_t result)
{
    if (result < 0) {
        file_job_end(job, result);
        return;
    }
    job->op.stat = &job->stat;
    file_job_on_fd(job, FILEIO_STAT, job->fd, get_sized);
}

static void get_start(struct file_job *job)
{
    file_open_leaf(job, O_RDONLY | O_NONBLOCK | O_NOCTTY, get_opened);
}

/*
 * LIST.
 */

static void list_start(struct file_job *job);

static void list_done(struct file_job *job, int64_t result)
{
    if (file_is_stale(job, result))
        list_start(job);
    else
        file_job_end(job, result == -ENOENT ? 0 : result);
}

static void list_read(struct file_job *job, int fd)
{
    job->op.names = &job->req->names;
    file_job_on_fd(job, FILEIO_LIST, fd, list_done);
}

static void list_opened(struct file_job *job, int64_t result)
{
    if (result < 0) {
        list_done(job, result);
        return;
    }
    job->fd = (int)result;
    list_read(job, job->fd);
}

static void list_opened_fresh(struct file_job *job, int64_t result)
{
    if (result < 0)
        list_done(job, result);
    else
        list_read(job, job->dir_fd);
}

static void list_start(struct file_job *job)
{
    const char *name = job->req->name;

    if (job->file->is_shared)
        file_open_fresh(job, strlen(name), list_opened_fresh);
    else
        file_job_open(job, job->file->root_fd, name[0] ? name : ".",
                      O_RDONLY | O_DIRECTORY, list_opened);
}

/*
 * REMOVE.
 */

static void remove_synced(struct file_job *job, int64_t result)
{
    file_job_end(job, result < 0 ? result : job->outcome);
}

static void remove_done(struct file_job *job, int64_t result)
{
    if (file_is_stale(job, result)) {
        file_remove_submit(job);
        return;
    }
    if (result < 0 && result != -ENOENT) {
        file_job_end(job, result);
        return;
    }
    /* Whether it is gone for good cannot be known where a sync has failed. */
    if (result == -ENOENT && !is_left_out("no word of what is gone") &&
        file_is_in_doubt(job->file, job->req->name, file_parent_bytes(job))) {
        file_job_end(job, -EIO);
        return;
    }
    job->outcome = result;
    file_job_sync_folder(job, file_parent_bytes(job), "sync of a removal",
                         remove_synced);
}

static void remove_in_parent(struct file_job *job, int64_t result)
{
    if (result < 0) {
        file_job_end(job, result);
        return;
    }
    job->op.path = job->leaf;
    file_job_on_fd(job, FILEIO_UNLINK, job->dir_fd, remove_done);
}

void file_remove_submit(struct file_job *job)
{
    if (job->file->is_shared)
        file_open_fresh_parent(job, remove_in_parent);
    else
        file_open_parent(job, false, remove_in_parent);
}

void file_record_submit(struct file_job *job)
{
    if (job->req->op == STORE_PUT || job->req->op == STORE_BLOB_PUT) {
        put_start(job);
    } else if (job->req->op == STORE_LIST) {
        job->req->names = (struct store_names){0};
        list_start(job);
    } else {
        get_start(job);
    }
}
