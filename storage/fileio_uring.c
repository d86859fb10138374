/*
 * fileio_uring.c - primitive file operations on an io_uring.
 *
 * Happy path: submit turns the operation into an SQE (with a registered buffer
 * and a fixed file where they are known) and enters it at once, or, from
 * inside poll, together with all others at its end; poll waits, reads the
 * result of every CQE, and runs done(). An operation for which the ring has no
 * opcode (listing a folder, flock, ftruncate, flushing) goes to a helper
 * thread, whose pipe the ring polls, so that waiting on the ring waits for
 * everything.
 *
 * poll_fd is an eventfd that the ring signals, not the ring itself: with
 * deferred task work, a completion that comes from a kernel thread makes the
 * ring readable without waking an epoll that watches it (seen on Linux 6.18).
 * Poll empties the eventfd before it looks for completions, never after, so
 * that the worst is one poll too many.
 *
 * When the submission queue is full, or the kernel cannot take more for now,
 * operations wait in `pending` and wants_poll is set: the next poll goes on.
 * EINTR, EAGAIN and ECANCELED of an operation are tried again a bounded number
 * of times. Memory that cannot be registered (memlock) is used unregistered,
 * and describe() says so.
 *
 * The ring belongs to the thread that first submits, polls or adds: it is
 * enabled there and not at open.
 */
#include "storage/uring_setup.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define RETRIES_MAX 1000

struct uring_buffer {
    char *base; /* NULL: free */
    size_t bytes;
};

struct fileio_uring {
    struct fileio io;
    struct io_uring ring;
    struct uring_features features;
    struct fileio *helper;
    int event_fd;        /* signalled by the ring */
    struct list pending; /* without an SQE yet */
    bool is_enabled;
    bool is_polling;       /* inside poll: entered at its end */
    bool is_helper_used;   /* its pipe is to be polled from now on */
    bool is_helper_polled; /* and is */
    struct uring_buffer buffer[URING_BUFFERS_MAX];
    unsigned buffer_count; /* in use */
    unsigned buffer_end;   /* behind the last in use */
    int buffer_rc;         /* of the last that could not be registered */
    bool is_file_used[URING_FILES_MAX];
};

static struct fileio_uring *uring_of(struct fileio *io)
{
    return container_of(io, struct fileio_uring, io);
}

static void enable(struct fileio_uring *u)
{
    int rc;

    if (u->is_enabled)
        return;
    rc = uring_enable(&u->ring);
    assert(rc == 0);
    u->is_enabled = true;
}

/* The registered buffer that holds all of it, or -1. */
static int buffer_index(const struct fileio_uring *u,
                        const struct fileio_op *op)
{
    const char *from = op->buf;

    for (unsigned i = 0; i < u->buffer_end; i++) {
        const struct uring_buffer *buffer = &u->buffer[i];

        if (buffer->base && from >= buffer->base &&
            from + op->len <= buffer->base + buffer->bytes)
            return (int)i;
    }
    return -1;
}

static void prepare_io(struct fileio_uring *u, struct io_uring_sqe *sqe,
                       const struct fileio_op *op)
{
    int index = buffer_index(u, op);
    unsigned len = (unsigned)op->len;

    if (op->kind == FILEIO_READ && index >= 0)
        io_uring_prep_read_fixed(sqe, op->fd, op->buf, len, op->off, index);
    else if (op->kind == FILEIO_READ)
        io_uring_prep_read(sqe, op->fd, op->buf, len, op->off);
    else if (index >= 0)
        io_uring_prep_write_fixed(sqe, op->fd, op->buf, len, op->off, index);
    else
        io_uring_prep_write(sqe, op->fd, op->buf, len, op->off);
}

static void prepare(struct fileio_uring *u, struct io_uring_sqe *sqe,
                    struct fileio_op *op)
{
    struct fileio_link_from from;

    switch (op->kind) {
    case FILEIO_OPEN:
        io_uring_prep_openat2(sqe, op->fd, op->path, &op->how);
        break;
    case FILEIO_READ:
    case FILEIO_WRITE:
        prepare_io(u, sqe, op);
        break;
    case FILEIO_FSYNC:
        io_uring_prep_fsync(sqe, op->fd, 0);
        break;
    case FILEIO_FDATASYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case FILEIO_FALLOCATE:
        io_uring_prep_fallocate(sqe, op->fd, 0, 0, (off_t)op->len);
        break;
    case FILEIO_LINK:
        from = fileio_link_from(op);
        io_uring_prep_linkat(sqe, from.dir_fd, from.path, op->fd2, op->path2,
                             from.flags);
        break;
    case FILEIO_UNLINK:
        io_uring_prep_unlinkat(sqe, op->fd, op->path, 0);
        break;
    case FILEIO_MKDIR:
        io_uring_prep_mkdirat(sqe, op->fd, op->path, (mode_t)op->how.mode);
        break;
    case FILEIO_STAT:
        io_uring_prep_statx(sqe, op->fd, "",
                            AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
                            STATX_BASIC_STATS | STATX_DIOALIGN, op->stat);
        break;
    case FILEIO_TRUNCATE:
    case FILEIO_RENAME:
    case FILEIO_RMDIR:
    case FILEIO_ROOM:
    case FILEIO_LOCK:
    case FILEIO_LIST:
    case FILEIO_FLUSH:
    case FILEIO_CLOSE:
    case FILEIO_KIND_COUNT:
        assert(!"an operation of the helper");
    }
    if (op->slot >= 0) {
        sqe->fd = op->slot;
        sqe->flags |= IOSQE_FIXED_FILE;
    }
    io_uring_sqe_set_data(sqe, op);
}

static bool poll_helper(struct fileio_uring *u)
{
    struct io_uring_sqe *sqe;

    if (!u->is_helper_used || u->is_helper_polled)
        return true;
    sqe = io_uring_get_sqe(&u->ring);
    if (!sqe)
        return false;
    io_uring_prep_poll_add(sqe, u->helper->ops->poll_fd(u->helper), POLLIN);
    io_uring_sqe_set_data(sqe, NULL);
    u->is_helper_polled = true;
    return true;
}

/* Fill the submission queue from `pending`; true when all went in. */
static bool fill(struct fileio_uring *u)
{
    bool all = poll_helper(u);

    while (all && !list_is_empty(&u->pending)) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

        if (sqe)
            prepare(
                u, sqe,
                container_of(list_pop(&u->pending), struct fileio_op, link));
        else
            all = false;
    }
    return all;
}

/* Enter what is pending. What the kernel does not take now stays in the
 * queue, and the owner is told to poll. */
static void flush(struct fileio_uring *u)
{
    bool all;
    int rc;

    do {
        all = fill(u);
        rc = io_uring_sq_ready(&u->ring) ? io_uring_submit(&u->ring) : 0;
    } while (rc == -EINTR || (rc > 0 && !all));
    u->io.wants_poll = !all || io_uring_sq_ready(&u->ring) > 0;
}

static void uring_submit(struct fileio *io, struct fileio_op *op)
{
    struct fileio_uring *u = uring_of(io);

    enable(u);
    op->retries = 0;
    list_init(&op->link);
    if (u->features.kinds & 1U << op->kind) {
        list_append(&u->pending, &op->link);
    } else {
        u->is_helper_used = true;
        u->helper->ops->submit(u->helper, op);
    }
    if (!u->is_polling)
        flush(u);
}

static void complete(struct fileio_uring *u, struct fileio_op *op, int result)
{
    bool is_passing =
        result == -EINTR || result == -EAGAIN || result == -ECANCELED;

    if (is_passing && op->retries++ < RETRIES_MAX) {
        list_append(&u->pending, &op->link);
        return;
    }
    op->done(op, is_passing ? -EIO : result);
}

static void reap(struct fileio_uring *u)
{
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
        struct fileio_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&u->ring, cqe);
        if (op) {
            complete(u, op, result);
            continue;
        }
        u->is_helper_polled = false;
        /* With no wait this cannot fail; a poll that was spurious, or failed,
         * is simply set up again. */
        (void)u->helper->ops->poll(u->helper, 0);
    }
}

static int uring_poll(struct fileio *io, int timeout_ms)
{
    struct fileio_uring *u = uring_of(io);
    struct __kernel_timespec limit = {.tv_sec = timeout_ms / 1000,
                                      .tv_nsec = timeout_ms % 1000 * 1000000LL};
    struct io_uring_cqe *cqe;
    eventfd_t count;
    int rc;

    enable(u);
    u->is_polling = true;
    if (!fill(u))
        timeout_ms = 0;
    if (timeout_ms == 0)
        rc = io_uring_submit_and_get_events(&u->ring);
    else
        rc = io_uring_submit_and_wait_timeout(
            &u->ring, &cqe, 1, timeout_ms < 0 ? NULL : &limit, NULL);
    /* Refused for now: what could not be entered is tried again below. */
    assert(rc >= 0 || rc == -EINTR || rc == -ETIME || rc == -EAGAIN ||
           rc == -EBUSY || rc == -ENOMEM);
    (void)eventfd_read(u->event_fd, &count); /* may be empty */
    reap(u);
    flush(u);
    u->is_polling = false;
    return rc == -EINTR ? -EINTR : 0;
}

static int uring_poll_fd(struct fileio *io)
{
    return uring_of(io)->event_fd;
}

static int uring_buffer_add(struct fileio *io, void *base, size_t bytes)
{
    struct fileio_uring *u = uring_of(io);
    struct iovec vector = {base, bytes};
    unsigned i = 0;
    int rc = u->features.buffers_rc;

    enable(u);
    while (i < URING_BUFFERS_MAX && u->buffer[i].base)
        i++;
    if (rc == 0)
        rc = i == URING_BUFFERS_MAX ? -ENOSPC
                                    : io_uring_register_buffers_update_tag(
                                          &u->ring, i, &vector, NULL, 1);
    if (rc < 0) {
        u->buffer_rc = rc;
        return rc;
    }
    u->buffer[i] = (struct uring_buffer){base, bytes};
    u->buffer_count++;
    if (i >= u->buffer_end)
        u->buffer_end = i + 1;
    return 0;
}

static void uring_buffer_remove(struct fileio *io, void *base)
{
    struct fileio_uring *u = uring_of(io);
    struct iovec none = {NULL, 0};

    for (unsigned i = 0; base && i < u->buffer_end; i++) {
        int rc;

        if (u->buffer[i].base != base)
            continue;
        rc = io_uring_register_buffers_update_tag(&u->ring, i, &none, NULL, 1);
        assert(rc >= 0);
        u->buffer[i].base = NULL;
        u->buffer_count--;
        return;
    }
}

static int uring_file_add(struct fileio *io, int fd)
{
    struct fileio_uring *u = uring_of(io);

    enable(u);
    if (!u->features.has_files)
        return -1;
    for (unsigned i = 0; i < URING_FILES_MAX; i++) {
        if (u->is_file_used[i])
            continue;
        if (io_uring_register_files_update(&u->ring, i, &fd, 1) < 0)
            return -1;
        u->is_file_used[i] = true;
        return (int)i;
    }
    return -1;
}

static void uring_file_remove(struct fileio *io, int slot)
{
    struct fileio_uring *u = uring_of(io);
    int none = -1, rc;

    if (slot < 0)
        return;
    rc = io_uring_register_files_update(&u->ring, (unsigned)slot, &none, 1);
    assert(rc >= 0);
    u->is_file_used[slot] = false;
}

static void describe_buffers(const struct fileio_uring *u, char *text,
                             size_t capacity)
{
    struct rlimit limit = {0};

    if (u->buffer_rc == 0) {
        (void)snprintf(text, capacity, "%u registered buffers",
                       u->buffer_count);
        return;
    }
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    (void)snprintf(text, capacity,
                   "%u registered buffers, others are not registered: %s "
                   "(memlock limit %llu KiB)",
                   u->buffer_count, err_text(u->buffer_rc),
                   (unsigned long long)limit.rlim_cur / 1024);
}

static void uring_describe(struct fileio *io, char *text, size_t capacity)
{
    const struct fileio_uring *u = uring_of(io);
    char buffers[160];

    describe_buffers(u, buffers, sizeof buffers);
    (void)snprintf(
        text, capacity, "io_uring (%s, %s, %s, %s)",
        u->features.is_deferred ? "deferred task work" : "eager task work",
        buffers, u->features.has_files ? "fixed files" : "no fixed files",
        u->features.is_restricted ? "restricted" : "not restricted");
}

static void uring_close(struct fileio *io)
{
    struct fileio_uring *u = uring_of(io);

    assert(list_is_empty(&u->pending));
    io_uring_queue_exit(&u->ring);
    u->helper->ops->close(u->helper);
    (void)close(u->event_fd);
    free(u);
}

static const struct fileio_ops uring_ops = {
    .kind = "io_uring",
    .submit = uring_submit,
    .poll = uring_poll,
    .poll_fd = uring_poll_fd,
    .buffer_add = uring_buffer_add,
    .buffer_remove = uring_buffer_remove,
    .file_add = uring_file_add,
    .file_remove = uring_file_remove,
    .describe = uring_describe,
    .close = uring_close,
};

int fileio_uring_open(struct fileio **out, struct err *err)
{
    struct fileio_uring *u = calloc(1, sizeof *u);
    int rc;

    if (!u)
        return err_set(err, -ENOMEM, "no memory for the ring");
    u->io.ops = &uring_ops;
    list_init(&u->pending);
    u->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->event_fd < 0) {
        rc = err_set(err, -errno, "no eventfd for the ring: %s",
                     err_text(errno));
        goto err_after_alloc;
    }
    rc = uring_setup(&u->ring, u->event_fd, &u->features, err);
    if (rc < 0)
        goto err_after_event_fd;
    rc = fileio_threads_open(1, &u->helper, err);
    if (rc < 0)
        goto err_after_setup;
    *out = &u->io;
    return 0;

err_after_setup:
    io_uring_queue_exit(&u->ring);
err_after_event_fd:
    (void)close(u->event_fd);
err_after_alloc:
    free(u);
    return rc;
}
