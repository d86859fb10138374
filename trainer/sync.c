/*
 * sync.c - the lock of a context, its conditions, and how errors are told; see
 * context.h. A save's handle may outlive its context, so the lock is counted.
 */
#include "trainer/context.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static int cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);

    if (rc)
        return rc;
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (rc == 0)
        rc = pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    return rc;
}

struct sync *sync_new(void)
{
    struct sync *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->references = 1;
    if (pthread_mutex_init(&s->lock, NULL))
        goto err_free;
    if (cond_init(&s->changed))
        goto err_after_lock;
    if (cond_init(&s->work))
        goto err_after_changed;
    return s;
err_after_changed:
    (void)pthread_cond_destroy(&s->changed);
err_after_lock:
    (void)pthread_mutex_destroy(&s->lock);
err_free:
    free(s);
    return NULL;
}

void sync_put(struct sync *s)
{
    bool is_last = --s->references == 0;

    sync_unlock(s);
    if (!is_last)
        return;
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void sync_lock(struct sync *s)
{
    (void)pthread_mutex_lock(&s->lock);
}

void sync_unlock(struct sync *s)
{
    (void)pthread_mutex_unlock(&s->lock);
}

bool sync_wait(struct sync *s, uint64_t deadline_ms)
{
    struct timespec until = {
        .tv_sec = (time_t)(deadline_ms / 1000),
        .tv_nsec = (long)(deadline_ms % 1000) * 1000000,
    };

    if (deadline_ms == UINT64_MAX) {
        (void)pthread_cond_wait(&s->changed, &s->lock);
        return true;
    }
    return pthread_cond_timedwait(&s->changed, &s->lock, &until) != ETIMEDOUT;
}
