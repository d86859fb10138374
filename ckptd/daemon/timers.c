/*
 * timers.c - clocks and one-shot timers of the reactor. There are a few dozen
 * at most, so a plain list that is searched is all it takes.
 */
#include "ckptd/daemon/reactor.h"

#include <assert.h>
#include <time.h>

#define NS_PER_S  ((uint64_t)1000 * 1000 * 1000)
#define NS_PER_MS ((uint64_t)1000 * 1000)
/* epoll takes an int; waking up once a minute costs nothing. */
#define MAX_WAIT_MS ((uint64_t)60000)

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    int rc = clock_gettime(clock, &ts);

    assert(rc == 0);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t reactor_now_ns(struct env *env)
{
    (void)env;
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t reactor_unix_ms(struct env *env)
{
    (void)env;
    return clock_ns(CLOCK_REALTIME) / NS_PER_MS;
}

void reactor_timer_set(struct env *env, struct env_timer *t, uint64_t at_ns)
{
    list_remove(&t->link);
    t->at_ns = at_ns;
    list_append(&reactor_of(env)->timers, &t->link);
}

void reactor_timer_stop(struct env *env, struct env_timer *t)
{
    (void)env;
    list_remove(&t->link);
}

static struct env_timer *earliest(const struct reactor *r)
{
    struct env_timer *first = NULL;

    LIST_FOR_EACH (node, &r->timers) {
        struct env_timer *t = container_of(node, struct env_timer, link);

        if (!first || t->at_ns < first->at_ns)
            first = t;
    }
    return first;
}

void reactor_timers_fire(struct reactor *r)
{
    uint64_t now = reactor_now_ns(&r->env);
    struct env_timer *t;

    while ((t = earliest(r)) && t->at_ns <= now) {
        list_remove(&t->link);
        t->fire(t);
    }
}

int reactor_timers_wait_ms(const struct reactor *r)
{
    const struct env_timer *t = earliest(r);
    uint64_t now = clock_ns(CLOCK_MONOTONIC);

    if (!t)
        return -1;
    if (t->at_ns <= now)
        return 0;
    return (int)min_u64((t->at_ns - now) / NS_PER_MS + 1, MAX_WAIT_MS);
}
