/*
 * lease.c - see lease.h.
 */
#include "tools/ckpt/lease.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define RENEW_SECONDS 20

static char *lease_name(const struct lease *l, uint32_t number,
                        char name[RECORD_NAME_BYTES])
{
    char id[ID_TEXT_BYTES], leaf[96];

    (void)snprintf(leaf, sizeof leaf, "lease/%s.%u", id_format(&l->id, id),
                   number);
    return name_run(name, l->run, leaf);
}

static int put(struct lease *l, uint32_t number)
{
    char name[RECORD_NAME_BYTES];
    struct record_mark mark = {.id = l->save,
                               .created_unix_ms = (uint64_t)time(NULL) * 1000};
    struct store_req req = {.op = STORE_PUT,
                            .name = lease_name(l, number, name)};
    struct wr w = {0};
    int64_t rc;

    (void)snprintf(mark.note, sizeof mark.note, "ckpt %s, pid %d", l->verb,
                   (int)getpid());
    record_mark_encode(RECORD_LEASE, &mark, &w);
    req.buf = w.data;
    req.len = w.bytes;
    rc = w.failed ? -ENOMEM : store_run(l->store, &req);
    wr_free(&w);
    return (int)rc;
}

static void drop_record(struct lease *l, uint32_t number)
{
    char name[RECORD_NAME_BYTES];
    struct store_req req = {.op = STORE_REMOVE,
                            .name = lease_name(l, number, name)};

    /* One that stays behind is dead after a minute and swept by ckpt gc. */
    if (store_run(l->store, &req) < 0)
        return;
}

/* Takes it, then the next number every RENEW_SECONDS until told to end. A store
 * belongs to one thread, so all of this is the renewing thread's. */
static void *renew(void *arg)
{
    struct lease *l = arg;
    bool is_put = put(l, l->number) == 0;

    (void)pthread_mutex_lock(&l->lock);
    l->is_settled = true;
    l->is_put = is_put;
    (void)pthread_cond_broadcast(&l->changed);
    while (is_put && !l->is_ending) {
        struct timespec until;
        int rc;

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += RENEW_SECONDS;
        rc = pthread_cond_timedwait(&l->changed, &l->lock, &until);
        if (rc != ETIMEDOUT || l->is_ending)
            continue;
        (void)pthread_mutex_unlock(&l->lock);
        if (put(l, l->number + 1) == 0)
            drop_record(l, l->number++);
        (void)pthread_mutex_lock(&l->lock);
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (is_put)
        drop_record(l, l->number);
    store_close(l->store);
    return NULL;
}

void lease_take(struct lease *l, const struct tool *t, const char *run,
                const struct save_id *save)
{
    pthread_condattr_t attr;
    struct err err;

    *l = (struct lease){.verb = t->verb, .save = *save, .number = 1};
    (void)snprintf(l->run, sizeof l->run, "%s", run);
    if (getrandom(&l->id, sizeof l->id, 0) != (ssize_t)sizeof l->id)
        return;
    if (store_home_open(t->options.home, STORE_OPEN_WRITE, STORE_ENGINE_THREADS,
                        &l->store, &err))
        return;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&l->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (pthread_create(&l->thread, NULL, renew, l)) {
        store_close(l->store);
        return;
    }
    l->is_taken = true;
    (void)pthread_mutex_lock(&l->lock);
    while (!l->is_settled)
        (void)pthread_cond_wait(&l->changed, &l->lock);
    (void)pthread_mutex_unlock(&l->lock);
}

bool lease_is_held(const struct lease *l)
{
    return l->is_taken && l->is_put;
}

void lease_drop(struct lease *l)
{
    if (!l->is_taken)
        return;
    (void)pthread_mutex_lock(&l->lock);
    l->is_ending = true;
    (void)pthread_cond_signal(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    (void)pthread_join(l->thread, NULL);
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->lock);
}
