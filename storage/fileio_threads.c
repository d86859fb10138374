/*
 * fileio_threads.c - primitive file operations on a few blocking threads, for
 * machines where io_uring is refused, and as the helper of a ring.
 *
 * Happy path: submit puts the operation on `todo` and wakes a thread; the
 * thread executes it outside the lock, puts it on `ended`, and makes the pipe
 * readable; poll on the owner's thread takes all of `ended` and runs done().
 * Closing tells the threads to stop once `todo` is empty and joins them.
 *
 * A pipe and not an eventfd: when a ring polled an eventfd of its helper, the
 * signal of the ring's own eventfd for that got lost now and then (seen on
 * Linux 6.18: work was pending in the ring, and its eventfd stayed silent).
 * The likely reason is that one eventfd may not signal another from within its
 * wake-up. With a pipe it has not been seen.
 */
#include "storage/fileio.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <unistd.h>

#define THREADS_MAX 16

struct fileio_threads {
    struct fileio io;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list todo;  /* lock */
    struct list ended; /* lock */
    bool is_stopping;  /* lock */
    int pipe_fd[2];    /* holds a byte while `ended` is not empty */
    unsigned count;
    pthread_t thread[THREADS_MAX];
};

static struct fileio_threads *threads_of(struct fileio *io)
{
    return container_of(io, struct fileio_threads, io);
}

static void *work(void *argument)
{
    struct fileio_threads *pool = argument;

    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct list *node = list_pop(&pool->todo);
        struct fileio_op *op;

        if (!node) {
            if (pool->is_stopping)
                break;
            (void)pthread_cond_wait(&pool->wake, &pool->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&pool->lock);
        op = container_of(node, struct fileio_op, link);
        op->result = fileio_execute(op);
        (void)pthread_mutex_lock(&pool->lock);
        if (list_is_empty(&pool->ended)) {
            ssize_t wrote = write(pool->pipe_fd[1], "", 1);

            assert(wrote == 1);
        }
        list_append(&pool->ended, &op->link);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void threads_submit(struct fileio *io, struct fileio_op *op)
{
    struct fileio_threads *pool = threads_of(io);

    list_init(&op->link);
    (void)pthread_mutex_lock(&pool->lock);
    list_append(&pool->todo, &op->link);
    (void)pthread_cond_signal(&pool->wake);
    (void)pthread_mutex_unlock(&pool->lock);
}

static int threads_poll(struct fileio *io, int timeout_ms)
{
    struct fileio_threads *pool = threads_of(io);
    struct pollfd event = {.fd = pool->pipe_fd[0], .events = POLLIN};
    struct list mine, *node;
    char byte;

    if (timeout_ms != 0 && poll(&event, 1, timeout_ms) < 0 && errno == EINTR)
        return -EINTR;
    list_init(&mine);
    (void)pthread_mutex_lock(&pool->lock);
    if (!list_is_empty(&pool->ended)) {
        ssize_t got = read(pool->pipe_fd[0], &byte, 1);

        assert(got == 1);
    }
    while ((node = list_pop(&pool->ended)))
        list_append(&mine, node);
    (void)pthread_mutex_unlock(&pool->lock);
    while ((node = list_pop(&mine))) {
        struct fileio_op *op = container_of(node, struct fileio_op, link);

        op->done(op, op->result);
    }
    return 0;
}

static int threads_poll_fd(struct fileio *io)
{
    return threads_of(io)->pipe_fd[0];
}

/* Threads have no use for buffers and files known beforehand. */
static int threads_buffer_add(struct fileio *io, void *base, size_t bytes)
{
    (void)io;
    (void)base;
    (void)bytes;
    return 0;
}

static void threads_buffer_remove(struct fileio *io, void *base)
{
    (void)io;
    (void)base;
}

static int threads_file_add(struct fileio *io, int fd)
{
    (void)io;
    (void)fd;
    return -1;
}

static void threads_file_remove(struct fileio *io, int slot)
{
    (void)io;
    (void)slot;
}

static void threads_describe(struct fileio *io, char *text, size_t capacity)
{
    (void)snprintf(text, capacity, "%u threads", threads_of(io)->count);
}

static void threads_close(struct fileio *io)
{
    struct fileio_threads *pool = threads_of(io);

    (void)pthread_mutex_lock(&pool->lock);
    assert(list_is_empty(&pool->todo));
    pool->is_stopping = true;
    (void)pthread_cond_broadcast(&pool->wake);
    (void)pthread_mutex_unlock(&pool->lock);
    while (pool->count > 0)
        (void)pthread_join(pool->thread[--pool->count], NULL);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->lock);
    (void)close(pool->pipe_fd[0]);
    (void)close(pool->pipe_fd[1]);
    free(pool);
}

static const struct fileio_ops threads_ops = {
    .kind = "threads",
    .submit = threads_submit,
    .poll = threads_poll,
    .poll_fd = threads_poll_fd,
    .buffer_add = threads_buffer_add,
    .buffer_remove = threads_buffer_remove,
    .file_add = threads_file_add,
    .file_remove = threads_file_remove,
    .describe = threads_describe,
    .close = threads_close,
};

/* Signals are the owner's business: the threads block all of them. */
static int threads_start(struct fileio_threads *pool, unsigned count)
{
    sigset_t all, old;
    int rc = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    while (rc == 0 && pool->count < count) {
        rc = pthread_create(&pool->thread[pool->count], NULL, work, pool);
        if (rc == 0)
            pool->count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -rc;
}

int fileio_threads_open(unsigned thread_count, struct fileio **out,
                        struct err *err)
{
    struct fileio_threads *pool;
    int rc;

    assert(thread_count >= 1 && thread_count <= THREADS_MAX);
    pool = calloc(1, sizeof *pool);
    if (!pool)
        return err_set(err, -ENOMEM, "no memory for the I/O threads");
    pool->io.ops = &threads_ops;
    list_init(&pool->todo);
    list_init(&pool->ended);
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    if (pipe2(pool->pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0) {
        rc = err_set(err, -errno, "no pipe for the I/O threads: %s",
                     err_text(errno));
        goto err_after_alloc;
    }
    rc = threads_start(pool, thread_count);
    if (rc < 0) {
        (void)err_set(err, rc, "no I/O thread: %s", err_text(rc));
        threads_close(&pool->io);
        return rc;
    }
    *out = &pool->io;
    return 0;

err_after_alloc:
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
    return rc;
}
