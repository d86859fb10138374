/*
 * store_file_publish.c - new files: made without a name, and given one
 * exclusively.
 *
 * Where O_TMPFILE and linking from it work, a crash before the link leaves
 * nothing at all. Elsewhere the file has a hidden temporary name in the root
 * while it is written, which is unlinked at the end; its writer holds a lock
 * on it, by which the clean-up at the next open tells the living from the
 * dead. A clean-up can come between making and locking: then the lock or the
 * link fails, and the request starts again.
 *
 * The name is durable when the folder has been fsynced. The loser of a race
 * syncs it too, so that it never acts on a winner that a crash would undo. Who
 * the loser is, store_file_judge.c finds out. Where a sync has failed before,
 * it gives the name anew instead (store_file_mend.c).
 */
#include "storage/store_file.h"

#include "common/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

static void temp_locked(struct file_job *job, int64_t result)
{
    if (result == -EAGAIN)
        result = -ESTALE; /* a clean-up holds it, and will remove it */
    job->after(job, result);
}

/* EEXIST: nobody else makes such a name, so it is ours, by a request whose
 * answer got lost. A later open cleans it up. */
static void temp_failed(struct file_job *job, int64_t result)
{
    job->tmp[0] = '\0';
    job->after(job, result == -EEXIST ? -ESTALE : result);
}

static void temp_opened(struct file_job *job, int64_t result)
{
    if (result < 0) {
        temp_failed(job, result);
        return;
    }
    job->fd = (int)result;
    job->after(job, 0);
}

static void temp_opened_to_lock(struct file_job *job, int64_t result)
{
    if (result < 0) {
        temp_failed(job, result);
        return;
    }
    job->fd = (int)result;
    file_job_lock(job, LOCK_EX, temp_locked);
}

void file_temp_open(struct file_job *job, bool lock, file_step *after)
{
    struct store_file *file = job->file;

    job->after = after;
    if (file->has_tmpfile) {
        file_job_open(job, file->root_fd, ".", O_RDWR | O_TMPFILE,
                      lock ? temp_opened_to_lock : temp_opened);
        return;
    }
    file_tmp_name(file, job->tmp);
    file_job_open(job, file->root_fd, job->tmp, O_RDWR | O_CREAT | O_EXCL,
                  temp_opened_to_lock);
}

bool file_job_may_retry(struct file_job *job)
{
    if (job->tries++ >= FILE_TRIES_MAX)
        return false;
    file_forget_durable(job->file);
    file_job_close_fds(job);
    job->tmp[0] = '\0';
    job->is_linked = false;
    job->done_bytes = 0;
    return true;
}

static void dir_synced(struct file_job *job, int64_t result)
{
    job->after(job, result < 0 ? result : job->outcome);
}

static void sync_dir(struct file_job *job, int64_t outcome)
{
    job->outcome = outcome;
    job->is_linked = outcome == 0;
    file_job_sync_folder(job, file_parent_bytes(job),
                         outcome == 0 ? "sync of a new name"
                                      : "sync of another's name",
                         dir_synced);
}

/* A segment that is there is nobody's to rely on, by this answer. */
static void found_another(struct file_job *job)
{
    enum store_op op = job->req->op;

    if ((op == STORE_PUT || op == STORE_BLOB_PUT) &&
        !is_left_out("new names for what is in doubt") &&
        file_is_in_doubt(job->file, job->req->name, file_parent_bytes(job))) {
        job->outcome = -EEXIST;
        file_mend(job, dir_synced);
    } else {
        sync_dir(job, -EEXIST);
    }
}

static void link_judged(struct file_job *job, int64_t result)
{
    if (result == 0)
        sync_dir(job, 0);
    else if (result == -EEXIST)
        found_another(job);
    else
        job->after(job, result);
}

static void linked(struct file_job *job, int64_t result)
{
    if (result == 0 || (result == -EEXIST && is_left_out("exclusive creation")))
        sync_dir(job, 0);
    else
        file_judge(job, result, link_judged);
}

void file_publish(struct file_job *job, file_step *after)
{
    job->after = after;
    job->op.dir_fd = job->file->root_fd;
    job->op.path = job->tmp[0] ? job->tmp : NULL;
    job->op.fd2 = job->dir_fd;
    job->op.path2 = job->leaf;
    file_job_on_fd(job, FILEIO_LINK, job->fd, linked);
}
