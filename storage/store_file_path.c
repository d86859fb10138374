/*
 * store_file_path.c - the parent folder of a name, made and made durable.
 *
 * A folder is durable once the folder above it has been fsynced after it was
 * made. Whoever made it may have died in between, so that the store fsyncs the
 * chain from the root once for every folder that it writes to, and remembers
 * it. From then on a PUT opens its folder in one step and fsyncs only that.
 *
 * Folders that vanish (an administrator removed them) make the store forget
 * all that it knew and walk again.
 *
 * The names in a folder are another matter: a name may have been given by a
 * process that died before it had synced the folder. A PUT syncs it anyhow;
 * for who opens by a name that was there, file_open_names() does so once, and
 * remembers it as "folder/". What it remembers stays true when a later sync
 * fails; what it does not, is in doubt from then on (store_file_sync.c).
 */
#include "storage/store_file.h"

#include "common/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY)

static void walk_open(struct file_job *job);

static bool is_durable(const struct store_file *file, const char *path)
{
    for (size_t i = 0; i < FILE_DURABLE_MAX && file->durable[i]; i++) {
        if (strcmp(file->durable[i], path) == 0)
            return true;
    }
    return false;
}

/* Forgetting (also for want of memory) only costs another fsync. */
static void remember_durable(struct store_file *file, const char *path)
{
    uint32_t at = file->durable_next;
    char *copy;

    if (is_durable(file, path))
        return;
    copy = strdup(path);
    if (!copy)
        return;
    free(file->durable[at]);
    file->durable[at] = copy;
    file->durable_next = (at + 1) % FILE_DURABLE_MAX;
}

void file_forget_durable(struct store_file *file)
{
    for (size_t i = 0; i < FILE_DURABLE_MAX; i++) {
        free(file->durable[i]);
        file->durable[i] = NULL;
    }
    file->durable_next = 0;
}

/* What stands for the names in a folder; "" for those in the root. */
static void names_key(char *key, const char *folder, size_t bytes)
{
    memcpy(key, folder, bytes);
    if (bytes)
        key[bytes++] = '/';
    key[bytes] = '\0';
}

static void forget_if(struct store_file *file, const char *path, bool below)
{
    size_t bytes = strlen(path);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < FILE_DURABLE_MAX && file->durable[i]; i++) {
        char *each = file->durable[i];
        bool goes = strncmp(each, path, bytes) == 0 &&
                    (each[bytes] == '\0' || (below && each[bytes] == '/'));

        if (goes)
            free(each);
        else
            file->durable[kept++] = each;
    }
    for (uint32_t i = kept; i < FILE_DURABLE_MAX; i++)
        file->durable[i] = NULL;
    file->durable_next = kept % FILE_DURABLE_MAX;
}

void file_forget_names(struct store_file *file, const char *folder,
                       size_t bytes)
{
    char key[STORE_NAME_MAX + 2];

    names_key(key, folder, bytes);
    forget_if(file, key, false);
}

/*
 * The walk: dir_fd is the folder that is reached, path[walk_at, walk_end) the
 * component below it, and path up to walk_end is cut off there by a NUL.
 */

static void walk_fail(struct file_job *job, int64_t result)
{
    file_job_close_fds(job);
    job->after(job, result);
}

static void walk_cut(struct file_job *job, size_t at)
{
    const char *slash = strchr(job->path + at, '/');

    job->walk_at = at;
    job->walk_end =
        slash ? (size_t)(slash - job->path) : at + strlen(job->path + at);
    job->path[job->walk_end] = '\0';
}

static void walk_down(struct file_job *job)
{
    size_t parent_bytes = (size_t)(job->leaf - job->req->name) - 1;

    if (job->dir_fd != job->file->root_fd)
        (void)close(job->dir_fd);
    job->dir_fd = job->walk_fd;
    job->walk_fd = -1;
    job->walk_tries = 0;
    job->is_made = false;
    if (job->walk_end == parent_bytes) {
        job->after(job, 0);
        return;
    }
    job->path[job->walk_end] = '/';
    walk_cut(job, job->walk_end + 1);
    walk_open(job);
}

static void walk_synced(struct file_job *job, int64_t result)
{
    if (result < 0) {
        walk_fail(job, result);
        return;
    }
    remember_durable(job->file, job->path);
    walk_down(job);
}

/* The folder was there when we came, and its name may never become durable:
 * while it is empty it can be made anew. What has something in it is durable:
 * nobody puts anything into a folder before its name is. */
static void walk_emptied(struct file_job *job, int64_t result)
{
    job->is_made = result == -ENOTEMPTY || result == -EEXIST;
    if (result == 0 || result == -ENOENT || job->is_made)
        walk_open(job);
    else
        walk_fail(job, -EIO);
}

static void walk_again(struct file_job *job)
{
    if (job->walk_tries++ >= FILE_TRIES_MAX) {
        walk_fail(job, -EIO);
        return;
    }
    (void)close(job->walk_fd);
    job->walk_fd = -1;
    job->op.path = job->path + job->walk_at;
    file_job_on_fd(job, FILEIO_RMDIR, job->dir_fd, walk_emptied);
}

static void walk_looked(struct file_job *job, int64_t result)
{
    if (result < 0)
        walk_fail(job, result);
    else
        walk_open(job);
}

/* A shared folder that is there though it was not: this machine must not go on
 * from what it remembers (store_file_fresh.c). */
static void walk_made(struct file_job *job, int64_t result)
{
    job->is_made = result == 0;
    if (result == -EEXIST && job->file->is_shared) {
        job->op.stat = &job->stat;
        file_job_on_fd(job, FILEIO_STAT, job->dir_fd, walk_looked);
    } else {
        walk_looked(job, result == -EEXIST ? 0 : result);
    }
}

static void walk_opened(struct file_job *job, int64_t result)
{
    size_t above = job->walk_at ? job->walk_at - 1 : 0;

    if (result >= 0) {
        job->walk_fd = (int)result;
        if (is_durable(job->file, job->path))
            walk_down(job);
        else if (!job->is_made && !is_left_out("folders made anew") &&
                 file_is_in_doubt(job->file, job->req->name, above))
            walk_again(job);
        else
            file_job_sync_folder(job, above, "sync of a new folder",
                                 walk_synced);
    } else if ((result == -ENOENT || result == -ESTALE) &&
               job->walk_tries++ < FILE_TRIES_MAX) {
        forget_if(job->file, job->path, true);
        job->op.path = job->path + job->walk_at;
        job->op.how.mode = 0700 | job->file->shown_mode;
        file_job_on_fd(job, FILEIO_MKDIR, job->dir_fd, walk_made);
    } else {
        walk_fail(job, result);
    }
}

static void walk_open(struct file_job *job)
{
    file_job_open(job, job->dir_fd, job->path + job->walk_at, DIR_FLAGS,
                  walk_opened);
}

static void walk_start(struct file_job *job)
{
    job->dir_fd = job->file->root_fd;
    job->walk_tries = 0;
    walk_cut(job, 0);
    walk_open(job);
}

/*
 * The quick way: everything is there, and known to be durable.
 */

static void opened_to_make(struct file_job *job, int64_t result)
{
    if (result >= 0) {
        job->dir_fd = (int)result;
        job->after(job, 0);
    } else if (result == -ENOENT || result == -ESTALE) {
        file_forget_durable(job->file);
        walk_start(job);
    } else {
        job->after(job, result);
    }
}

static void opened(struct file_job *job, int64_t result)
{
    if (result >= 0)
        job->dir_fd = (int)result;
    job->after(job, result < 0 ? result : 0);
}

static void names_synced(struct file_job *job, int64_t result)
{
    if (result == 0)
        remember_durable(job->file, job->path);
    job->after_names(job, result);
}

static void names_opened(struct file_job *job, int64_t result)
{
    size_t bytes = file_parent_bytes(job);

    if (result < 0) {
        job->after_names(job, result);
        return;
    }
    names_key(job->path, job->req->name, bytes); /* "folder/", or "" */
    if (is_durable(job->file, job->path))
        job->after_names(job, 0);
    else if (file_is_in_doubt(job->file, job->req->name, bytes))
        job->after_names(job, -EIO);
    else
        file_job_sync_folder(job, bytes, "sync of a name that was there",
                             names_synced);
}

void file_open_names(struct file_job *job, file_step *after)
{
    job->after_names = after;
    file_open_parent(job, false, names_opened);
}

void file_open_parent(struct file_job *job, bool make, file_step *after)
{
    const char *name = job->req->name;
    const char *slash = strrchr(name, '/');
    size_t bytes;

    job->after = after;
    if (!slash) {
        job->leaf = name;
        job->dir_fd = job->file->root_fd;
        after(job, 0);
        return;
    }
    job->leaf = slash + 1;
    bytes = (size_t)(slash - name);
    memcpy(job->path, name, bytes);
    job->path[bytes] = '\0';
    if (make && !is_durable(job->file, job->path))
        walk_start(job);
    else
        file_job_open(job, job->file->root_fd, job->path, DIR_FLAGS,
                      make ? opened_to_make : opened);
}
