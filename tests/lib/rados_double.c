/*
 * rados_double.c - the double's clients, its thread, and its weather.
 *
 * An operation that librados' caller submits is put into `queue`. The double's
 * thread takes one at random whose turn it is (none of the same client and
 * object before it), decides what becomes of it, and calls back without its
 * lock. A late one has been called back and stays in the queue: it is carried
 * out in its turn, or, where late ones may be overtaken, any time.
 */
#include "tests/lib/rados_double_internal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct double_cluster double_cluster = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
};

uint64_t double_random(void)
{
    uint64_t z = (double_cluster.random += 0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

void double_lock(void)
{
    int rc = pthread_mutex_lock(&double_cluster.lock);

    assert(rc == 0);
}

void double_unlock(void)
{
    int rc = pthread_mutex_unlock(&double_cluster.lock);

    assert(rc == 0);
}

/*
 * The double's thread.
 */

static void operation_free(struct operation *o)
{
    list_remove(&o->link);
    steps_free(o->steps);
    free(o->pool);
    free(o->space);
    free(o->object);
    free(o);
}

static bool is_same(const struct operation *a, const struct operation *b)
{
    return a->client == b->client && strcmp(a->pool, b->pool) == 0 &&
           strcmp(a->object, b->object) == 0;
}

/* Whether nothing before it has to happen first. */
static bool is_its_turn(const struct operation *o)
{
    if (o->is_called)
        return double_cluster.is_landing ||
               (!o->is_held && double_random() % 8 == 0);
    LIST_FOR_EACH (node, &double_cluster.queue) {
        const struct operation *before =
            container_of(node, struct operation, link);

        if (before == o)
            return true;
        if (is_same(before, o) &&
            !(before->is_called && double_cluster.weather.late_overtaken))
            return false;
    }
    return true;
}

static struct operation *choose(void)
{
    size_t count = 0, skip;

    LIST_FOR_EACH (node, &double_cluster.queue)
        count++;
    if (count == 0)
        return NULL;
    skip = double_random() % count;
    for (int pass = 0; pass < 2; pass++) {
        LIST_FOR_EACH (node, &double_cluster.queue) {
            struct operation *o = container_of(node, struct operation, link);

            if (pass == 0 && skip > 0) {
                skip--;
                continue;
            }
            if (is_its_turn(o))
                return o;
        }
    }
    return NULL;
}

static bool rule_fires(const struct operation *o)
{
    const struct rados_weather *w = &double_cluster.weather;

    if (!w->rule.object || w->rule.is_write == o->steps->is_read ||
        !strstr(o->object, w->rule.object))
        return false;
    double_cluster.rule_seen++;
    if (double_cluster.rule_seen < w->rule.nth ||
        (double_cluster.rule_seen > w->rule.nth && !w->rule.persists))
        return false;
    double_cluster.counts.rules++;
    return true;
}

static int apply(const struct operation *o)
{
    struct where where = {o->pool, o->space, o->object};
    int rc = steps_apply(&double_cluster.objects, &where, o->steps,
                         double_cluster.weather.is_full);

    if (rc == 0 && !o->steps->is_read && o->bytes > 0 &&
        double_random() % 1000 < double_cluster.weather.spoilt)
        object_find(&double_cluster.objects, &where)->data[0] ^= 1;
    return rc;
}

/* What it answers; *is_late: it stays to be carried out. */
static int decide(struct operation *o, bool *is_late)
{
    const struct rados_weather *w = &double_cluster.weather;
    uint32_t luck = (uint32_t)(double_random() % 1000);
    int rc;

    if (rule_fires(o)) {
        *is_late = !o->steps->is_read &&
                   (w->rule.how == RULE_LATE || w->rule.how == RULE_HOLD);
        o->is_held = w->rule.how == RULE_HOLD;
        if (w->rule.how == RULE_DONE)
            (void)apply(o);
        return *is_late ? -ETIMEDOUT : w->rule.error;
    }
    if (w->is_down || luck < w->lost)
        return -ETIMEDOUT;
    luck -= w->lost;
    if (luck < w->late && !o->steps->is_read) {
        *is_late = true;
        return -ETIMEDOUT;
    }
    rc = apply(o);
    luck -= w->late;
    return luck < w->unanswered ? -ETIMEDOUT : rc;
}

/* Called with the lock, which it lets go of meanwhile. */
static void call_back(struct operation *o, int result)
{
    struct completion *c = o->completion;

    double_cluster.counts.timeouts += result == -ETIMEDOUT;
    o->is_called = true;
    o->client->ops--;
    o->client->bytes -= o->bytes;
    o->completion = NULL;
    assert(!c->is_called);
    c->is_called = true;
    c->result = result;
    double_unlock();
    c->complete(c, c->arg);
    double_lock();
}

static void carry_out(struct operation *o)
{
    bool is_late = false;
    int result;

    if (o->is_called) {
        (void)apply(o);
        double_cluster.counts.late_landed++;
        operation_free(o);
        return;
    }
    result = decide(o, &is_late);
    if (is_late) {
        call_back(o, result);
        return;
    }
    list_remove(&o->link);
    call_back(o, result);
    operation_free(o);
}

static void *run(void *arg)
{
    (void)arg;
    double_lock();
    while (!double_cluster.is_stopping) {
        struct operation *o = choose();
        uint32_t delay_us = double_cluster.weather.delay_us;

        if (o) {
            if (delay_us > 0 && !o->is_called) {
                delay_us = (uint32_t)(double_random() % delay_us);
                double_unlock();
                (void)usleep(delay_us);
                double_lock();
            }
            carry_out(o);
        } else if (list_is_empty(&double_cluster.queue)) {
            (void)pthread_cond_broadcast(&double_cluster.changed);
            (void)pthread_cond_wait(&double_cluster.changed,
                                    &double_cluster.lock);
        } else {
            (void)pthread_cond_broadcast(&double_cluster.changed);
            double_unlock();
            (void)usleep(50);
            double_lock();
        }
    }
    double_unlock();
    return NULL;
}

/*
 * For tests.
 */

void rados_double_start(uint64_t seed)
{
    int rc;

    if (double_cluster.is_running)
        return;
    list_init(&double_cluster.queue);
    list_init(&double_cluster.objects.list);
    double_cluster.random = seed;
    double_cluster.weather = (struct rados_weather){0};
    double_cluster.counts = (struct rados_double_counts){0};
    double_cluster.rule_seen = 0;
    double_cluster.is_stopping = false;
    rc = pthread_create(&double_cluster.thread, NULL, run, NULL);
    assert(rc == 0);
    double_cluster.is_running = true;
}

void rados_double_stop(void)
{
    struct list *node;
    int rc;

    if (!double_cluster.is_running)
        return;
    double_lock();
    double_cluster.is_stopping = true;
    (void)pthread_cond_broadcast(&double_cluster.changed);
    double_unlock();
    rc = pthread_join(double_cluster.thread, NULL);
    assert(rc == 0 && double_cluster.handles == 0);
    while ((node = double_cluster.queue.next) != &double_cluster.queue)
        operation_free(container_of(node, struct operation, link));
    while ((node = double_cluster.objects.list.next) !=
           &double_cluster.objects.list)
        object_free(container_of(node, struct object, link));
    double_cluster.is_running = false;
}

void rados_double_weather(const struct rados_weather *weather)
{
    double_lock();
    double_cluster.weather = *weather;
    double_cluster.rule_seen = 0;
    double_unlock();
}

void rados_double_land(void)
{
    double_lock();
    double_cluster.is_landing = true;
    while (!list_is_empty(&double_cluster.queue))
        (void)pthread_cond_wait(&double_cluster.changed, &double_cluster.lock);
    double_cluster.is_landing = false;
    double_unlock();
}

struct rados_double_counts rados_double_counts(void)
{
    struct rados_double_counts counts;

    double_lock();
    counts = double_cluster.counts;
    LIST_FOR_EACH (node, &double_cluster.objects.list) {
        counts.objects++;
        counts.keys += container_of(node, struct object, link)->omap.count;
    }
    double_unlock();
    return counts;
}

static struct object *find_anywhere(const char *pool, const char *name)
{
    LIST_FOR_EACH (node, &double_cluster.objects.list) {
        struct object *object = container_of(node, struct object, link);

        if (strcmp(object->pool, pool) == 0 && strcmp(object->name, name) == 0)
            return object;
    }
    return NULL;
}

int rados_double_flip(const char *pool, const char *name, uint64_t at)
{
    struct object *object;
    int rc = -ENOENT;

    double_lock();
    object = find_anywhere(pool, name);
    if (object && at < object->bytes) {
        object->data[at] ^= 1;
        rc = 0;
    }
    double_unlock();
    return rc;
}

int rados_double_delete(const char *pool, const char *name)
{
    struct object *object;

    double_lock();
    object = find_anywhere(pool, name);
    if (object)
        object_free(object);
    double_unlock();
    return object ? 0 : -ENOENT;
}

bool rados_double_has_key(const char *pool, const char *name, const char *start)
{
    struct object *object;
    bool has = false;

    double_lock();
    object = find_anywhere(pool, name);
    for (size_t i = 0; object && i < object->omap.count; i++)
        has |= strncmp(object->omap.pair[i].key, start, strlen(start)) == 0;
    double_unlock();
    return has;
}

char *rados_double_object(const char *pool, size_t n)
{
    char *name = NULL;

    double_lock();
    LIST_FOR_EACH (node, &double_cluster.objects.list) {
        const struct object *object = container_of(node, struct object, link);

        if (strcmp(object->pool, pool) == 0 && n-- == 0) {
            name = strdup(object->name);
            break;
        }
    }
    double_unlock();
    return name;
}
