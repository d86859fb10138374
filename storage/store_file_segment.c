/*
 * store_file_segment.c - segments: large files, written in place.
 *
 * Creating one: parent folder -> new file without a name -> lock -> reserve
 * space -> fsync -> link exclusively -> fsync the folder; running out of space
 * leaves nothing behind, and nobody ever sees the name of a segment that is
 * not reserved and locked. Opening one: open -> lock -> look whether it still
 * has a name; for writing, the folder is synced first, since whoever gave the
 * name may have died before that, and what is written must not vanish with it.
 * The lock lies on the very descriptor that I/O uses: the kernel keeps it until
 * the last write of a dead process has ended.
 *
 * Data goes by O_DIRECT where STATX_DIOALIGN says that pages suit it. Short
 * reads and writes are continued at a page boundary. Syncs of one handle run
 * one after another: of two at once, one could take the error and the other
 * report success. On shared file systems a flush follows each.
 */
#include "storage/store_file.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static void open_start(struct file_job *job);
static void create_start(struct file_job *job);
static void sync_start(struct store_file *file, struct store_req *req);

static struct file_seg *file_seg_of(struct store_seg *seg)
{
    return container_of(seg, struct file_seg, seg);
}

/*
 * Opening.
 */

/* Turn job->fd, whose job->stat is fresh, into a segment. */
static int seg_make(struct file_job *job, uint64_t size)
{
    struct store_file *file = job->file;
    struct store_req *req = job->req;
    struct file_seg *seg = calloc(1, sizeof *seg);
    int rc;

    if (!seg)
        return -ENOMEM;
    rc = store_seg_init(&seg->seg, req->name, size);
    if (rc < 0)
        goto err_after_alloc;
    file->direct =
        file_stat_is_direct(&job->stat) ? FILE_DIRECT_YES : FILE_DIRECT_NO;
    if (file->direct == FILE_DIRECT_YES &&
        fcntl(job->fd, F_SETFL, O_DIRECT) < 0) {
        rc = -errno;
        goto err_after_init;
    }
    seg->seg.is_writable = req->flags & STORE_SEG_WRITE;
    seg->is_locked = !(req->flags & STORE_SEG_NOLOCK);
    seg->fd = job->fd;
    seg->slot = file->io->ops->file_add(file->io, seg->fd);
    list_init(&seg->syncs);
    list_append(&file->segments, &seg->link);
    job->fd = -1;
    req->seg = &seg->seg;
    return 0;

err_after_init:
    store_seg_fini(&seg->seg);
err_after_alloc:
    free(seg);
    return rc;
}

/* Another machine may have removed it since, or put another in its place. */
static void open_fail(struct file_job *job, int64_t result)
{
    if (file_is_stale(job, result))
        open_start(job);
    else
        file_job_end(job, result);
}

static void open_judged(struct file_job *job, int64_t result)
{
    uint64_t size = job->stat.stx_size / PAGE_BYTES * PAGE_BYTES;

    if (result == 0 && !S_ISREG(job->stat.stx_mode))
        result = S_ISDIR(job->stat.stx_mode) ? -EISDIR : -EINVAL;
    if (result == 0 && job->stat.stx_nlink == 0 &&
        !is_left_out("look for a name under the lock"))
        result = -ENOENT; /* removed before we had the lock */
    /* What is written in place must be ours alone: a second name is somebody's
     * copy, or file. */
    if (result == 0 && job->req->flags & STORE_SEG_WRITE) {
        if (job->stat.stx_uid != geteuid() &&
            !is_left_out("owner of a segment"))
            result = -EPERM;
        else if (job->stat.stx_nlink > 1 &&
                 !is_left_out("one name of a segment"))
            result = -EMLINK;
    }
    if (result == 0)
        result = seg_make(job, size);
    if (result < 0)
        open_fail(job, result);
    else
        file_job_end(job, (int64_t)size);
}

static void open_locked(struct file_job *job, int64_t result)
{
    if (result < 0) {
        open_fail(job, result);
        return;
    }
    job->op.stat = &job->stat;
    file_job_on_fd(job, FILEIO_STAT, job->fd, open_judged);
}

static void open_opened(struct file_job *job, int64_t result)
{
    unsigned flags = job->req->flags;

    if (result < 0) {
        open_fail(job, result);
        return;
    }
    if (flags & STORE_SEG_NOLOCK)
        open_locked(job, 0);
    else
        file_job_lock(job, flags & STORE_SEG_WRITE ? LOCK_EX : LOCK_SH,
                      open_locked);
}

/*
 * Creating.
 */

static void create_end(struct file_job *job, int64_t result)
{
    if (result == 0)
        result = seg_make(job, job->req->len);
    file_job_end(job, result < 0 ? result : (int64_t)job->req->len);
}

/* A file that is open by the name of its temporary cannot be unlinked on NFS:
 * it would keep another hidden name, and a second link, for as long as it is
 * open, and after a crash for ever. So it is opened anew by its own name. That
 * another may take the lock in between is told as EAGAIN. */
static void again_locked(struct file_job *job, int64_t result)
{
    if (result < 0) {
        file_job_end(job, result);
        return;
    }
    job->op.stat = &job->stat;
    file_job_on_fd(job, FILEIO_STAT, job->fd, create_end);
}

static void again_opened(struct file_job *job, int64_t result)
{
    if (result < 0) {
        file_job_end(job, result);
        return;
    }
    job->fd = (int)result;
    file_job_lock(job, LOCK_EX, again_locked);
}

/* A temporary that stays is hidden and goes at the next open. */
static void again_unlinked(struct file_job *job, int64_t result)
{
    (void)result;
    job->tmp[0] = '\0';
    file_job_open(job, job->dir_fd, job->leaf, O_RDWR | O_NONBLOCK | O_NOCTTY,
                  again_opened);
}

/* All was synced and flushed: what closing answers is of no account. */
static void again_closed(struct file_job *job, int64_t result)
{
    (void)result;
    job->fd = -1;
    job->op.path = job->tmp;
    file_job_on_fd(job, FILEIO_UNLINK, job->file->root_fd, again_unlinked);
}

static void again_unlocked(struct file_job *job, int64_t result)
{
    if (result < 0)
        file_job_end(job, result);
    else
        file_job_on_fd(job, FILEIO_CLOSE, job->fd, again_closed);
}

/* Its name may be there, though not for good, and would pass for one of those
 * that are: it is empty, and nobody else's yet. If it stays, what is in the
 * folder is as doubtful as that. */
static void create_undone(struct file_job *job, int64_t result)
{
    if (result < 0 && result != -ENOENT)
        file_forget_names(job->file, job->req->name, file_parent_bytes(job));
    if (job->outcome == -ESTALE && file_job_may_retry(job))
        create_start(job);
    else
        file_job_end(job, job->outcome);
}

static void create_undo(struct file_job *job, int64_t result)
{
    job->outcome = result;
    job->op.path = job->leaf;
    file_job_on_fd(job, FILEIO_UNLINK, job->dir_fd, create_undone);
}

static void create_published(struct file_job *job, int64_t result)
{
    if (result < 0 && job->is_linked &&
        !is_left_out("undoing what may not last"))
        create_undo(job, result);
    else if (result == -ESTALE && file_job_may_retry(job))
        create_start(job);
    else if (result == 0 && job->file->is_shared && job->tmp[0])
        file_job_lock(job, LOCK_UN, again_unlocked);
    else
        create_end(job, result);
}

static void create_flushed(struct file_job *job, int64_t result)
{
    if (result < 0)
        create_published(job, result);
    else
        file_publish(job, create_published);
}

static void create_synced(struct file_job *job, int64_t result)
{
    if (result < 0 || !job->file->is_shared)
        create_flushed(job, result);
    else
        file_job_on_fd(job, FILEIO_FLUSH, job->fd, create_flushed);
}

static void create_judged(struct file_job *job, int64_t result)
{
    if (result < 0)
        create_published(job, result);
    else
        file_job_sync(job, FILEIO_FSYNC, job->fd, "sync of a new segment",
                      create_synced);
}

/* Servers of NFS before 4.2 cannot reserve space: there the file has its size,
 * a full disk is told by a write or a sync, and describe() says so. */
static void create_reserved(struct file_job *job, int64_t result)
{
    if (result == -EOPNOTSUPP && job->file->is_shared &&
        job->op.kind == FILEIO_FALLOCATE) {
        job->file->cannot_reserve = true;
        file_job_on_fd(job, FILEIO_TRUNCATE, job->fd, create_reserved);
    } else if (result < 0) {
        create_published(job, result);
    } else {
        job->op.stat = &job->stat;
        file_job_on_fd(job, FILEIO_STAT, job->fd, create_judged);
    }
}

static void create_made(struct file_job *job, int64_t result)
{
    if (result < 0) {
        create_published(job, result);
        return;
    }
    job->op.len = job->req->len;
    file_job_on_fd(job, FILEIO_FALLOCATE, job->fd, create_reserved);
}

void file_room_submit(struct file_job *job)
{
    job->op.len = job->req->len;
    file_job_on_fd(job, FILEIO_ROOM, job->file->root_fd, file_job_end);
}

static void create_in_parent(struct file_job *job, int64_t result)
{
    if (result < 0)
        create_published(job, result);
    else
        file_temp_open(job, true, create_made);
}

static void create_start(struct file_job *job)
{
    file_open_parent(job, true, create_in_parent);
}

static void open_found(struct file_job *job, int64_t result)
{
    if (result >= 0)
        job->fd = (int)result;
    open_opened(job, result);
}

static void open_in_parent(struct file_job *job, int64_t result)
{
    if (result < 0)
        open_fail(job, result);
    else
        file_job_open(job, job->dir_fd, job->leaf,
                      O_RDWR | O_NONBLOCK | O_NOCTTY, open_found);
}

static void open_in_fresh(struct file_job *job, int64_t result)
{
    if (result == 0 &&
        file_is_in_doubt(job->file, job->req->name, file_parent_bytes(job)))
        result = -EIO;
    if (result < 0)
        open_fail(job, result);
    else
        file_job_sync_folder(job, file_parent_bytes(job),
                             "sync of a name that was there", open_in_parent);
}

static void open_to_write(struct file_job *job)
{
    if (job->file->is_shared)
        file_open_fresh_parent(job, open_in_fresh);
    else
        file_open_names(job, open_in_parent);
}

static void open_start(struct file_job *job)
{
    unsigned flags = job->req->flags;

    job->req->seg = NULL;
    if (flags & STORE_SEG_CREATE)
        create_start(job);
    else if (flags & STORE_SEG_WRITE)
        open_to_write(job);
    else
        file_open_leaf(job, O_RDONLY | O_NONBLOCK | O_NOCTTY, open_opened);
}

/*
 * Reading and writing.
 */

static void io_done(struct file_job *job, int64_t result);

static void io_next(struct file_job *job)
{
    const struct store_req *req = job->req;
    const struct file_seg *seg = file_seg_of(req->seg);

    job->op.fd = seg->fd;
    job->op.slot = seg->slot;
    job->op.buf = (char *)req->buf + job->done_bytes;
    job->op.len = req->len - job->done_bytes;
    job->op.off = req->off + job->done_bytes;
    file_job_issue(job, req->op == STORE_READ ? FILEIO_READ : FILEIO_WRITE,
                   io_done);
}

static void io_done(struct file_job *job, int64_t result)
{
    if (result < 0) {
        file_job_end(job, result);
        return;
    }
    if ((uint64_t)result == job->op.len) {
        file_job_end(job, (int64_t)job->req->len);
        return;
    }
    /* Short: go on at a page boundary, as O_DIRECT demands; without a whole
     * page of progress it is the end of the file, or a device that lies. */
    result -= result % (int64_t)PAGE_BYTES;
    if (is_left_out("rest of a short write")) {
        file_job_end(job, (int64_t)job->req->len);
        return;
    }
    if (result == 0) {
        file_job_end(job, -EIO);
        return;
    }
    job->done_bytes += (uint64_t)result;
    io_next(job);
}

/*
 * Syncing.
 */

static void sync_done(struct file_job *job, int64_t result)
{
    struct store_file *file = job->file;
    struct file_seg *seg = file_seg_of(job->req->seg);
    struct list *node;

    seg->is_syncing = false;
    seg->is_trimmed = false;
    file_job_end(job, result); /* poisons the segment if it failed */
    while (!seg->is_syncing && (node = list_pop(&seg->syncs))) {
        struct store_req *req = container_of(node, struct store_req, link);

        if (seg->seg.is_poisoned)
            store_complete(req, -EIO);
        else
            sync_start(file, req);
    }
}

/* Some file systems tell of a failed write only where a file is closed. */
static void sync_flush(struct file_job *job, int64_t result)
{
    if (result < 0 || !job->file->is_shared)
        sync_done(job, result);
    else
        file_job_on_fd(job, FILEIO_FLUSH, file_seg_of(job->req->seg)->fd,
                       sync_done);
}

/* A file that became shorter is not durably so by fdatasync. */
static enum fileio_kind sync_kind(const struct file_seg *seg)
{
    return seg->is_trimmed && !is_left_out("full sync after a trim")
               ? FILEIO_FSYNC
               : FILEIO_FDATASYNC;
}

static void sync_start(struct store_file *file, struct store_req *req)
{
    struct file_seg *seg = file_seg_of(req->seg);
    struct file_job *job;

    if (seg->is_syncing && !is_left_out("one sync at a time")) {
        list_append(&seg->syncs, &req->link);
        return;
    }
    seg->is_syncing = true;
    job = file_job_start(file, req);
    job->op.fd = seg->fd;
    job->op.slot = seg->slot;
    if (is_left_out("sync of a segment"))
        sync_done(job, 0);
    else
        file_job_issue(job, sync_kind(seg), sync_flush);
}

/*
 * Trimming, sharing and closing.
 */

static void trim_done(struct file_job *job, int64_t result)
{
    struct store_seg *seg = job->req->seg;

    if (result == 0) {
        seg->size = job->req->len;
        file_seg_of(seg)->is_trimmed = true;
        result = (int64_t)seg->size;
    }
    file_job_end(job, result);
}

static void trim_start(struct file_job *job)
{
    job->op.len = job->req->len;
    file_job_on_fd(job, FILEIO_TRUNCATE, file_seg_of(job->req->seg)->fd,
                   trim_done);
}

static void share_locked(struct file_job *job, int64_t result)
{
    struct store_req *req = job->req;

    job->fd = -1; /* the segment's */
    if (result == 0)
        req->seg->is_writable = false;
    else
        req->seg->is_poisoned = true; /* it may have no lock at all now */
    file_job_end(job, result);
}

static void share_start(struct file_job *job)
{
    struct file_seg *seg = file_seg_of(job->req->seg);

    if (!seg->is_locked) {
        file_job_end(job, -EBADF);
        return;
    }
    job->fd = seg->fd;
    file_job_lock(job, LOCK_SH, share_locked);
}

/* Its descriptor is the caller's from now on, and all else gone. */
static int seg_free(struct store_file *file, struct file_seg *seg)
{
    int fd = seg->fd;

    assert(!seg->is_syncing && list_is_empty(&seg->syncs));
    list_remove(&seg->link);
    file->io->ops->file_remove(file->io, seg->slot);
    /* A ring may hold on to the file for a moment longer than we do. */
    if (seg->is_locked && !file->is_shared)
        (void)flock(fd, LOCK_UN);
    store_seg_fini(&seg->seg);
    free(seg);
    return fd;
}

/* Closing lets go of the lock too, but perhaps later (FUSE). */
static void close_unlocked(struct file_job *job, int64_t result)
{
    (void)result;
    file_job_end(job, 0);
}

static void close_start(struct file_job *job)
{
    struct file_seg *seg = file_seg_of(job->req->seg);
    bool is_locked = seg->is_locked;

    job->fd = seg_free(job->file, seg);
    job->req->seg = NULL;
    if (is_locked && job->file->is_shared)
        file_job_lock(job, LOCK_UN, close_unlocked);
    else
        file_job_end(job, 0);
}

void file_segment_close_all(struct store_file *file)
{
    LIST_FOR_EACH_SAFE (node, after, &file->segments)
        (void)close(seg_free(file, container_of(node, struct file_seg, link)));
}

void file_segment_submit(struct store_file *file, struct store_req *req)
{
    switch (req->op) {
    case STORE_SEG_OPEN:
        open_start(file_job_start(file, req));
        break;
    case STORE_SEG_CLOSE:
        close_start(file_job_start(file, req));
        break;
    case STORE_SEG_SHARE:
        share_start(file_job_start(file, req));
        break;
    case STORE_SEG_TRIM:
        trim_start(file_job_start(file, req));
        break;
    case STORE_READ:
    case STORE_WRITE:
        io_next(file_job_start(file, req));
        break;
    case STORE_SYNC:
        sync_start(file, req);
        break;
    case STORE_PUT:
    case STORE_GET:
    case STORE_LIST:
    case STORE_REMOVE:
    case STORE_STAT:
    case STORE_ROOM:
    case STORE_SEG_REMOVE:
    case STORE_BLOB_PUT:
    case STORE_BLOB_GET:
    case STORE_BLOB_REMOVE:
    case STORE_BLOB_STAT:
        assert(!"not a request on segments");
    }
}
