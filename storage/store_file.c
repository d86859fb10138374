/*
 * store_file.c - the file store: a folder, and everything below it.
 *
 * Here are the table of operations, the jobs that carry requests, and opening
 * and closing; store_file.h says where the rest is. There are as many jobs as
 * requests may be in flight, so that one is always free.
 */
#include "storage/store_file.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct store_file *file_of(struct store *store)
{
    return container_of(store, struct store_file, store);
}

/*
 * Jobs.
 */

static void step_done(struct fileio_op *op, int64_t result)
{
    struct file_job *job = container_of(op, struct file_job, op);

    job->next(job, result);
}

struct file_job *file_job_start(struct store_file *file, struct store_req *req)
{
    struct list *node = list_pop(&file->free_jobs);
    struct file_job *job;

    assert(node);
    job = container_of(node, struct file_job, link);
    job->req = req;
    job->dir_fd = job->fd = job->walk_fd = -1;
    job->tries = 0;
    job->is_stale = job->is_made = job->is_linked = false;
    job->folder_failures = file->folder_failures;
    job->done_bytes = 0;
    job->tmp[0] = '\0';
    job->walk_tries = 0;
    return job;
}

void file_job_close_fds(struct file_job *job)
{
    if (job->fd >= 0)
        (void)close(job->fd);
    if (job->walk_fd >= 0)
        (void)close(job->walk_fd);
    if (job->dir_fd >= 0 && job->dir_fd != job->file->root_fd)
        (void)close(job->dir_fd);
    job->fd = job->walk_fd = job->dir_fd = -1;
}

static void job_finish(struct file_job *job, int64_t unlinked)
{
    struct store_req *req = job->req;
    int64_t outcome = job->outcome;

    /* A temporary that stays is hidden and goes at the next open. */
    (void)unlinked;
    file_job_close_fds(job);
    list_append(&job->file->free_jobs, &job->link);
    store_complete(req, outcome);
}

static void job_closed(struct file_job *job, int64_t closed)
{
    /* What was to become durable has been synced and flushed. */
    (void)closed;
    job->fd = -1;
    if (job->tmp[0] == '\0') {
        job_finish(job, 0);
        return;
    }
    job->op.path = job->tmp;
    file_job_on_fd(job, FILEIO_UNLINK, job->file->root_fd, job_finish);
}

/* On shared file systems closing may wait for a server; and NFS does not unlink
 * what is open but gives it another name, which stays if we are killed. */
void file_job_end(struct file_job *job, int64_t result)
{
    job->outcome = result;
    if (job->fd >= 0 && job->file->is_shared) {
        file_job_on_fd(job, FILEIO_CLOSE, job->fd, job_closed);
    } else if (job->tmp[0]) {
        job->op.path = job->tmp;
        file_job_on_fd(job, FILEIO_UNLINK, job->file->root_fd, job_finish);
    } else {
        job_finish(job, 0);
    }
}

void file_job_issue(struct file_job *job, enum fileio_kind kind,
                    file_step *next)
{
    job->op.kind = kind;
    job->op.done = step_done;
    job->next = next;
    job->file->io->ops->submit(job->file->io, &job->op);
}

void file_job_on_fd(struct file_job *job, enum fileio_kind kind, int fd,
                    file_step *next)
{
    job->op.fd = fd;
    job->op.slot = -1;
    file_job_issue(job, kind, next);
}

void file_job_open(struct file_job *job, int dir_fd, const char *path,
                   int flags, file_step *next)
{
    const int creating = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);

    job->op.path = path;
    job->op.how = (struct open_how){
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = flags & creating ? 0600 | (job->file->shown_mode & 0044) : 0,
        .resolve =
            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    file_job_on_fd(job, FILEIO_OPEN, dir_fd, next);
}

void file_job_lock(struct file_job *job, int how, file_step *next)
{
    if (is_left_out("lock")) {
        next(job, 0);
        return;
    }
    job->op.how_lock = how;
    file_job_on_fd(job, FILEIO_LOCK, job->fd, next);
}

void file_job_sync(struct file_job *job, enum fileio_kind kind, int fd,
                   const char *what, file_step *next)
{
    if (is_left_out(what))
        next(job, 0);
    else
        file_job_on_fd(job, kind, fd, next);
}

/*
 * The table of operations.
 */

static bool writes(const struct store_req *req)
{
    return req->op == STORE_PUT || req->op == STORE_REMOVE ||
           req->op == STORE_SEG_REMOVE || req->op == STORE_BLOB_PUT ||
           req->op == STORE_BLOB_REMOVE ||
           (req->op == STORE_SEG_OPEN && (req->flags & STORE_SEG_WRITE));
}

static void file_submit(struct store *store, struct store_req *req)
{
    struct store_file *file = file_of(store);

    if (writes(req) && !(file->flags & STORE_OPEN_WRITE)) {
        store_complete(req, -EROFS);
        return;
    }
    switch (req->op) {
    case STORE_PUT:
    case STORE_GET:
    case STORE_LIST:
    case STORE_STAT:
    case STORE_BLOB_PUT:
    case STORE_BLOB_GET:
    case STORE_BLOB_STAT:
        file_record_submit(file_job_start(file, req));
        break;
    case STORE_ROOM:
        file_room_submit(file_job_start(file, req));
        break;
    case STORE_REMOVE:
    case STORE_SEG_REMOVE:
    case STORE_BLOB_REMOVE:
        file_remove_submit(file_job_start(file, req));
        break;
    case STORE_SEG_OPEN:
    case STORE_SEG_CLOSE:
    case STORE_SEG_SHARE:
    case STORE_SEG_TRIM:
    case STORE_READ:
    case STORE_WRITE:
    case STORE_SYNC:
        file_segment_submit(file, req);
        break;
    }
    store->wants_poll = file->io->wants_poll;
}

static int file_poll(struct store *store, int timeout_ms)
{
    struct store_file *file = file_of(store);
    int rc = file->io->ops->poll(file->io, timeout_ms);

    store->wants_poll = file->io->wants_poll;
    return rc;
}

static int file_poll_fd(struct store *store)
{
    struct fileio *io = file_of(store)->io;

    return io->ops->poll_fd(io);
}

static int file_buffer_add(struct store *store, void *base, size_t bytes)
{
    struct fileio *io = file_of(store)->io;

    return io->ops->buffer_add(io, base, bytes);
}

static void file_buffer_remove(struct store *store, void *base)
{
    struct fileio *io = file_of(store)->io;

    io->ops->buffer_remove(io, base);
}

static void file_describe(struct store *store, char *text, size_t capacity)
{
    static const char *const direct[] = {
        [FILE_DIRECT_UNKNOWN] = "no file seen yet",
        [FILE_DIRECT_YES] = "O_DIRECT",
        [FILE_DIRECT_NO] =
            "buffered (the file system reports no O_DIRECT alignment)"};
    const struct store_file *file = file_of(store);
    char io[512];

    file->io->ops->describe(file->io, io, sizeof io);
    (void)snprintf(text, capacity, "file %s: %s, %s, %s temporaries%s%s%s%s",
                   file->path, io, direct[file->direct],
                   file->has_tmpfile ? "nameless" : "named",
                   file->is_shared ? ", shared" : "",
                   file->cannot_reserve ? ", no space reserved" : "",
                   file->why[0] ? "; " : "", file->why);
}

static void file_close(struct store *store)
{
    struct store_file *file = file_of(store);

    file_segment_close_all(file);
    file_forget_durable(file);
    file_doubts_free(file);
    file->io->ops->close(file->io);
    (void)close(file->root_fd);
    free(file->path);
    free(file);
}

static const struct store_ops file_ops = {
    .kind = "file",
    .submit = file_submit,
    .poll = file_poll,
    .poll_fd = file_poll_fd,
    .buffer_add = file_buffer_add,
    .buffer_remove = file_buffer_remove,
    .describe = file_describe,
    .close = file_close,
};

/*
 * Opening.
 */

/* NULL with err filled when the folder will not do. */
static struct store_file *file_new(const char *path, unsigned flags,
                                   struct err *err)
{
    static const struct store_limits limits = {
        .align_bytes = PAGE_BYTES,
        .max_inflight = FILEIO_DEPTH,
        .max_io_bytes = FILE_IO_BYTES,
        .max_record_bytes = FILE_RECORD_BYTES,
        .max_blob_bytes = FILE_RECORD_BYTES};
    struct store_file *file = calloc(1, sizeof *file);

    if (!file)
        goto err_no_memory;
    store_init(&file->store, &file_ops, &limits);
    file->flags = flags;
    file->root_fd = -1;
    list_init(&file->segments);
    list_init(&file->doubts);
    list_init(&file->syncing);
    list_init(&file->to_sync);
    list_init(&file->free_jobs);
    for (size_t i = 0; i < ARRAY_LEN(file->job); i++) {
        file->job[i].file = file;
        list_append(&file->free_jobs, &file->job[i].link);
    }
    file->path = strdup(path);
    if (!file->path)
        goto err_no_memory;
    if (file_root_open(file, err) == 0)
        return file;
    free(file->path);
    free(file);
    return NULL;

err_no_memory:
    free(file);
    (void)err_set(err, -ENOMEM, "%s: no memory for the store", path);
    return NULL;
}

static void file_delete(struct store_file *file)
{
    (void)close(file->root_fd);
    free(file->path);
    free(file);
}

int store_file_open_on(const char *path, unsigned flags, struct fileio *io,
                       struct store **out, struct err *err)
{
    struct store_file *file = file_new(path, flags, err);

    if (!file) {
        io->ops->close(io);
        return err->code;
    }
    file->io = io;
    *out = &file->store;
    return 0;
}

/* The reason not to try a ring, in file->why; false if there is none. */
static bool avoids_ring(struct store_file *file)
{
    if (file->direct != FILE_DIRECT_NO && !file_root_is_memory(file))
        return false;
    file->direct = FILE_DIRECT_NO;
    (void)snprintf(file->why, sizeof file->why,
                   "threads because there is no O_DIRECT");
    return true;
}

static int choose_io(struct store_file *file, enum store_engine engine,
                     struct err *err)
{
    int rc;

    if (engine == STORE_ENGINE_URING ||
        (engine == STORE_ENGINE_AUTO && !avoids_ring(file))) {
        rc = fileio_uring_open(&file->io, err);
        if (rc == 0 || engine == STORE_ENGINE_URING)
            return rc;
        (void)snprintf(file->why, sizeof file->why, "threads because %.*s",
                       (int)sizeof file->why - 32, err->text);
    }
    return fileio_threads_open(FILE_THREADS, &file->io, err);
}

int store_file_open(const char *path, unsigned flags, enum store_engine engine,
                    struct store **out, struct err *err)
{
    struct store_file *file = file_new(path, flags, err);
    int rc;

    if (!file)
        return err->code;
    rc = choose_io(file, engine, err);
    if (rc < 0) {
        (void)err_prefix(err, "%s", path);
        file_delete(file);
        return rc;
    }
    *out = &file->store;
    return 0;
}
