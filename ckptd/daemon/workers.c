/*
 * workers.c - see workers.h. One mutex guards both queues; the eventfd counts
 * nothing, it only says that `finished` is not empty.
 */
#include "ckptd/daemon/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list given;    /* lock */
    struct list finished; /* lock */
    bool is_closing;      /* lock */
    int fd;
    uint32_t count;
    pthread_t thread[];
};

static void signal_finished(struct workers *w)
{
    uint64_t one = 1;
    ssize_t n;

    do
        n = write(w->fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    assert(n == (ssize_t)sizeof one || errno == EAGAIN);
}

static void *worker(void *arg)
{
    struct workers *w = arg;

    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        struct list *node = list_pop(&w->given);
        struct env_job *job;
        bool was_empty;

        if (!node && w->is_closing)
            break;
        if (!node) {
            (void)pthread_cond_wait(&w->work, &w->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&w->lock);
        job = container_of(node, struct env_job, link);
        job->run(job);
        (void)pthread_mutex_lock(&w->lock);
        was_empty = list_is_empty(&w->finished);
        list_append(&w->finished, &job->link);
        if (was_empty)
            signal_finished(w);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void join_all(struct workers *w)
{
    (void)pthread_mutex_lock(&w->lock);
    w->is_closing = true;
    (void)pthread_cond_broadcast(&w->work);
    (void)pthread_mutex_unlock(&w->lock);
    for (uint32_t i = 0; i < w->count; i++)
        (void)pthread_join(w->thread[i], NULL);
}

int workers_open(uint32_t count, struct workers **out)
{
    struct workers *w = calloc(1, sizeof *w + count * sizeof w->thread[0]);
    int rc = -ENOMEM;

    if (!w)
        return -ENOMEM;
    list_init(&w->given);
    list_init(&w->finished);
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0) {
        rc = -errno;
        goto err_after_alloc;
    }
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->work, NULL);
    for (; w->count < count; w->count++) {
        rc = -pthread_create(&w->thread[w->count], NULL, worker, w);
        if (rc)
            goto err_after_threads;
    }
    *out = w;
    return 0;

err_after_threads:
    join_all(w);
    (void)pthread_cond_destroy(&w->work);
    (void)pthread_mutex_destroy(&w->lock);
    close(w->fd);
err_after_alloc:
    free(w);
    return rc;
}

void workers_close(struct workers *w)
{
    if (!w)
        return;
    join_all(w);
    workers_collect(w);
    (void)pthread_cond_destroy(&w->work);
    (void)pthread_mutex_destroy(&w->lock);
    close(w->fd);
    free(w);
}

void workers_give(struct workers *w, struct env_job *job)
{
    (void)pthread_mutex_lock(&w->lock);
    assert(!w->is_closing);
    list_append(&w->given, &job->link);
    (void)pthread_cond_signal(&w->work);
    (void)pthread_mutex_unlock(&w->lock);
}

int workers_fd(const struct workers *w)
{
    return w->fd;
}

void workers_collect(struct workers *w)
{
    struct list done, *node;
    uint64_t count;

    list_init(&done);
    (void)pthread_mutex_lock(&w->lock);
    if (read(w->fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN || errno == EINTR);
    while ((node = list_pop(&w->finished)))
        list_append(&done, node);
    (void)pthread_mutex_unlock(&w->lock);
    while ((node = list_pop(&done))) {
        struct env_job *job = container_of(node, struct env_job, link);

        job->done(job);
    }
}
