/*
 * store_file_mend.c - a record's name, given anew.
 *
 * The record is there, in a folder that is in doubt (store_file_sync.c): its
 * name may never become durable, however often the folder is synced. So its
 * bytes go into the file that was to be ours, which is synced and takes the
 * name in one step: whoever looks finds the record, whole, before and after.
 * Records never change, so both are the same; that two do this at once does no
 * harm, and one that is removed meanwhile is there again, which is what a late
 * creation may do as well.
 */
#include "storage/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static void mend_end(struct file_job *job, int64_t result)
{
    free(job->copy);
    job->copy = NULL;
    if (job->walk_fd >= 0)
        (void)close(job->walk_fd);
    job->walk_fd = -1;
    job->after_mend(job, result == -ENOENT ? -ESTALE : result);
}

static void renamed(struct file_job *job, int64_t result)
{
    if (result < 0) {
        mend_end(job, result);
        return;
    }
    job->tmp[0] = '\0';
    file_job_sync_folder(job, file_parent_bytes(job), "sync of a name anew",
                         mend_end);
}

static void named(struct file_job *job, int64_t result)
{
    if (result < 0) {
        mend_end(job, result);
        return;
    }
    job->op.path = job->tmp;
    job->op.fd2 = job->dir_fd;
    job->op.path2 = job->leaf;
    file_job_on_fd(job, FILEIO_RENAME, job->file->root_fd, renamed);
}

static void name_failed(struct file_job *job, int64_t result)
{
    if (result < 0)
        job->tmp[0] = '\0';
    named(job, result);
}

/* The lock is what keeps a clean-up away from a temporary. */
static void locked(struct file_job *job, int64_t result)
{
    if (result < 0) {
        mend_end(job, result);
        return;
    }
    file_tmp_name(job->file, job->tmp);
    job->op.dir_fd = job->file->root_fd;
    job->op.path = NULL;
    job->op.fd2 = job->file->root_fd;
    job->op.path2 = job->tmp;
    file_job_on_fd(job, FILEIO_LINK, job->fd, name_failed);
}

static void flushed(struct file_job *job, int64_t result)
{
    if (result < 0 || job->tmp[0])
        named(job, result);
    else
        file_job_lock(job, LOCK_EX, locked);
}

static void copy_synced(struct file_job *job, int64_t result)
{
    if (result < 0 || !job->file->is_shared)
        flushed(job, result);
    else
        file_job_on_fd(job, FILEIO_FLUSH, job->fd, flushed);
}

static void wrote(struct file_job *job, int64_t result);

/* It may have become shorter: fdatasync does not make that durable. */
static void write_next(struct file_job *job)
{
    if (job->done_bytes == job->stat.stx_size) {
        file_job_sync(job, FILEIO_FSYNC, job->fd, "sync of a record",
                      copy_synced);
        return;
    }
    job->op.buf = job->copy + job->done_bytes;
    job->op.len = job->stat.stx_size - job->done_bytes;
    job->op.off = job->done_bytes;
    file_job_on_fd(job, FILEIO_WRITE, job->fd, wrote);
}

static void wrote(struct file_job *job, int64_t result)
{
    if (result <= 0) {
        mend_end(job, result < 0 ? result : -EIO);
        return;
    }
    job->done_bytes += (uint64_t)result;
    write_next(job);
}

static void emptied(struct file_job *job, int64_t result)
{
    job->done_bytes = 0;
    if (result < 0)
        mend_end(job, result);
    else
        write_next(job);
}

static void got(struct file_job *job, int64_t result);

static void read_next(struct file_job *job)
{
    if (job->done_bytes == job->stat.stx_size) {
        job->op.len = 0;
        file_job_on_fd(job, FILEIO_TRUNCATE, job->fd, emptied);
        return;
    }
    job->op.buf = job->copy + job->done_bytes;
    job->op.len = job->stat.stx_size - job->done_bytes;
    job->op.off = job->done_bytes;
    file_job_on_fd(job, FILEIO_READ, job->walk_fd, got);
}

static void got(struct file_job *job, int64_t result)
{
    if (result <= 0) {
        mend_end(job, result < 0 ? result : -EIO);
        return;
    }
    job->done_bytes += (uint64_t)result;
    read_next(job);
}

static void sized(struct file_job *job, int64_t result)
{
    uint64_t size = job->stat.stx_size;

    job->done_bytes = 0;
    if (result == 0 && !S_ISREG(job->stat.stx_mode))
        result = -EEXIST; /* no record of anybody's */
    else if (result == 0 && size > job->file->store.limits.max_record_bytes)
        result = -EFBIG;
    if (result == 0) {
        job->copy = malloc(size + 1);
        result = job->copy ? 0 : -ENOMEM;
    }
    if (result < 0)
        mend_end(job, result);
    else
        read_next(job);
}

static void found(struct file_job *job, int64_t result)
{
    if (result < 0) {
        mend_end(job, result);
        return;
    }
    job->walk_fd = (int)result;
    job->op.stat = &job->stat;
    file_job_on_fd(job, FILEIO_STAT, job->walk_fd, sized);
}

void file_mend(struct file_job *job, file_step *after)
{
    job->after_mend = after;
    file_job_open(job, job->dir_fd, job->leaf, O_RDONLY | O_NONBLOCK | O_NOCTTY,
                  found);
}
