/*
 * store_file_fresh.c - names in a folder that other machines change as well.
 *
 * Network file systems remember that a name was not there, and what a folder
 * held, for up to a minute. Who acts on an absence (nobody has closed this
 * generation, no intent is listed) must not be answered from that. Such a
 * client does keep two promises: opening a file asks the server about it
 * (close-to-open), and so does looking at a folder's attributes by force, after
 * which everything that it remembers of a folder that has changed is void. So
 * before "absent" is an answer, and before a folder is listed, each folder on
 * the way from the root is looked at by force, and what is remembered below it
 * is asked anew.
 *
 * -ESTALE says that what was reached before is gone from the server, or has
 * been replaced; it may come after an open that the client granted by itself
 * (NFS 4.2 does, seen). Then too the way is walked anew, a bounded number of
 * times. On local file systems none of this happens.
 */
#include "storage/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void fresh_start(struct file_job *job);

static void fresh_end(struct file_job *job, int64_t result)
{
    if (result == -ESTALE && job->walk_tries++ < FILE_TRIES_MAX)
        fresh_start(job);
    else
        job->after_fresh(job, result);
}

static void fresh_look(struct file_job *job);

static void fresh_opened(struct file_job *job, int64_t result)
{
    if (result < 0) {
        fresh_end(job, result);
        return;
    }
    if (job->dir_fd != job->file->root_fd)
        (void)close(job->dir_fd);
    job->dir_fd = (int)result;
    fresh_look(job);
}

static void fresh_looked(struct file_job *job, int64_t result)
{
    const char *name = job->req->name + job->walk_at;
    size_t bytes = job->walk_end - job->walk_at;
    const char *slash = memchr(name, '/', bytes);

    if (result < 0 || bytes == 0) {
        fresh_end(job, result);
        return;
    }
    if (slash)
        bytes = (size_t)(slash - name);
    memcpy(job->path, name, bytes);
    job->path[bytes] = '\0';
    job->walk_at += bytes + (slash ? 1 : 0);
    file_job_open(job, job->dir_fd, job->path, O_RDONLY | O_DIRECTORY,
                  fresh_opened);
}

static void fresh_look(struct file_job *job)
{
    job->op.stat = &job->stat;
    file_job_on_fd(job, FILEIO_STAT, job->dir_fd, fresh_looked);
}

static void fresh_start(struct file_job *job)
{
    if (job->dir_fd >= 0 && job->dir_fd != job->file->root_fd)
        (void)close(job->dir_fd);
    job->dir_fd = job->file->root_fd;
    job->walk_at = 0;
    fresh_look(job);
}

void file_open_fresh(struct file_job *job, size_t bytes, file_step *after)
{
    job->after_fresh = after;
    job->walk_end = bytes;
    job->walk_tries = 0;
    fresh_start(job);
}

void file_open_fresh_parent(struct file_job *job, file_step *after)
{
    const char *name = job->req->name;
    const char *slash = strrchr(name, '/');

    job->leaf = slash ? slash + 1 : name;
    file_open_fresh(job, slash ? (size_t)(slash - name) : 0, after);
}

/*
 * A file by its name.
 */

static void leaf_fresh(struct file_job *job);

static void leaf_found(struct file_job *job, int64_t result)
{
    if (result == -ESTALE && job->file->is_shared &&
        job->tries++ < FILE_TRIES_MAX) {
        leaf_fresh(job);
        return;
    }
    if (result >= 0)
        job->fd = (int)result;
    job->after(job, result < 0 ? result : 0);
}

static void leaf_in_parent(struct file_job *job, int64_t result)
{
    if (result < 0)
        job->after(job, result);
    else
        file_job_open(job, job->dir_fd, job->leaf, job->leaf_flags, leaf_found);
}

static void leaf_fresh(struct file_job *job)
{
    file_open_fresh_parent(job, leaf_in_parent);
}

static void leaf_opened(struct file_job *job, int64_t result)
{
    if (job->file->is_shared && (result == -ENOENT || result == -ESTALE))
        leaf_fresh(job);
    else
        leaf_found(job, result);
}

void file_open_leaf(struct file_job *job, int flags, file_step *after)
{
    job->after = after;
    job->leaf_flags = flags;
    if (job->is_stale)
        leaf_fresh(job);
    else
        file_job_open(job, job->file->root_fd, job->req->name, flags,
                      leaf_opened);
}

bool file_is_stale(struct file_job *job, int64_t result)
{
    if (result != -ESTALE || !job->file->is_shared ||
        job->tries >= FILE_TRIES_MAX)
        return false;
    job->tries++;
    job->is_stale = true;
    job->done_bytes = 0;
    file_job_close_fds(job);
    return true;
}
