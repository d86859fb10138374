/*
 * test_env.c - the world's wheel and the table of a daemon's environment; the
 * stores are in test_door.c.
 */
#include "tests/lib/test_env_internal.h"

#include "common/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS ((uint64_t)1000000)

struct hang_up {
    struct list link;
    env_peer peer;
};

/* Timers are kept with their daemon, which the table's timer does not name. */
struct owned_timer {
    struct list link;
    struct env_timer *timer;
    struct test_env *owner;
    uint64_t at_ns; /* by the world's clock */
};

static struct test_env *of(struct env *env)
{
    return container_of(env, struct test_env, env);
}

uint64_t test_random(struct test_world *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/*
 * The table.
 */

static uint64_t world_now(struct env *env)
{
    return of(env)->world->now_ns + (uint64_t)of(env)->ahead_ns;
}

static uint64_t world_unix(struct env *env)
{
    return 1700000000000u + of(env)->world->now_ns / NS_PER_MS +
           (uint64_t)of(env)->unix_ahead_ms;
}

static void world_bytes(struct env *env, void *to, size_t bytes)
{
    uint8_t *p = to;

    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)test_random(of(env)->world);
}

static struct owned_timer *timer_find(struct test_world *w,
                                      const struct env_timer *timer)
{
    LIST_FOR_EACH (node, &w->timers) {
        struct owned_timer *o = container_of(node, struct owned_timer, link);

        if (o->timer == timer)
            return o;
    }
    return NULL;
}

static void timer_drop(struct owned_timer *o)
{
    list_remove(&o->link);
    free(o);
}

static void world_timer_stop(struct env *env, struct env_timer *timer)
{
    struct owned_timer *o = timer_find(of(env)->world, timer);

    if (o)
        timer_drop(o);
}

static void world_timer_set(struct env *env, struct env_timer *timer,
                            uint64_t at_ns)
{
    struct test_env *t = of(env);
    struct owned_timer *o;

    assert(timer->fire);
    world_timer_stop(env, timer);
    timer->at_ns = at_ns;
    if (t->is_dead)
        return;
    o = calloc(1, sizeof *o);
    assert(o);
    o->timer = timer;
    o->owner = t;
    o->at_ns = at_ns - (uint64_t)t->ahead_ns;
    list_append(&t->world->timers, &o->link);
}

static void world_work(struct env *env, struct env_job *job)
{
    assert(job->run && job->done);
    list_append(&of(env)->world->jobs, &job->link);
}

static void world_send(struct env *env, env_peer peer,
                       const struct wire_header *h, const void *payload,
                       const struct env_arena *arena)
{
    struct test_env *t = of(env);
    struct test_frame *f;

    if (test_env_hung_up(t, peer))
        return;
    f = calloc(1, sizeof *f + h->length);
    assert(f && h->length <= WIRE_PAYLOAD_MAX);
    f->peer = peer;
    f->header = *h;
    f->arena = arena;
    if (h->length > 0)
        memcpy(f->payload, payload, h->length);
    list_append(&t->frames, &f->link);
}

static void world_hang_up(struct env *env, env_peer peer)
{
    struct hang_up *h = calloc(1, sizeof *h);

    assert(h);
    h->peer = peer;
    list_append(&of(env)->hang_ups, &h->link);
}

static void *pages_new(uint64_t bytes)
{
    void *p = aligned_alloc(PAGE_BYTES, align_up(bytes, PAGE_BYTES));

    assert(p);
    memset(p, 0, bytes);
    return p;
}

static uint64_t world_arena_left(struct env *env)
{
    const struct test_env *t = of(env);

    if (t->arena_bytes_all == UINT64_MAX)
        return UINT64_MAX;
    return t->arena_bytes_all > t->arena_bytes
               ? t->arena_bytes_all - t->arena_bytes
               : 0;
}

static uint64_t bytes_of(const struct env_arena *arena)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < arena->shape.piece_count; i++)
        bytes += arena->shape.piece_bytes[i];
    return bytes;
}

static int world_arena_new(struct env *env, uint64_t want_bytes,
                           uint32_t chunk_bytes, struct env_arena *out,
                           struct err *err)
{
    struct test_env *t = of(env);
    uint64_t slot = PAGE_BYTES + align_up(chunk_bytes, PAGE_BYTES);
    uint64_t least = PAGE_BYTES + 4 * slot;
    uint64_t bytes = min_u64(want_bytes, t->arena_bytes_max);
    struct wire_arena_ok *shape = &out->shape;

    *out = (struct env_arena){0};
    if (t->arena_bytes_max < least)
        return err_set(err, -ENOMEM, "no memory for an arena");
    shape->chunk_bytes = chunk_bytes;
    for (bytes = max_u64(bytes, least) / PAGE_BYTES * PAGE_BYTES;
         bytes > 0 && shape->piece_count < WIRE_PIECES_MAX;) {
        uint64_t piece = min_u64(bytes, t->arena_piece_bytes);

        shape->piece_bytes[shape->piece_count] = piece;
        out->fd[shape->piece_count] = -1;
        out->base[shape->piece_count++] = pages_new(piece);
        bytes -= piece;
    }
    shape->slot_count = wire_slot_count(shape);
    out->ready_slots = shape->slot_count;
    t->arenas++;
    t->arena_bytes += bytes_of(out);
    return 0;
}

static void world_arena_free(struct env *env, struct env_arena *arena)
{
    of(env)->arena_bytes -= bytes_of(arena);
    for (uint32_t i = 0; i < arena->shape.piece_count; i++)
        free(arena->base[i]);
    *arena = (struct env_arena){0};
    assert(of(env)->arenas > 0);
    of(env)->arenas--;
}

static void *world_buffer_get(struct env *env)
{
    struct test_env *t = of(env);

    if (t->buffers == env->buffer_count)
        return NULL;
    t->buffers++;
    return pages_new(env->buffer_bytes);
}

static void world_buffer_put(struct env *env, void *buffer)
{
    assert(of(env)->buffers > 0);
    of(env)->buffers--;
    free(buffer);
}

static void world_log(struct env *env, enum log_level level, const char *format,
                      ...) PRINTF_LIKE(3, 4);

static void world_log(struct env *env, enum log_level level, const char *format,
                      ...)
{
    struct test_env *t = of(env);
    char line[2048];
    va_list args;
    size_t bytes;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (t->is_verbose)
        (void)fprintf(stderr, "%s %d: %s\n", env->host, (int)level, line);
    bytes = strlen(line);
    t->log = realloc(t->log, t->log_bytes + bytes + 2);
    assert(t->log);
    memcpy(t->log + t->log_bytes, line, bytes);
    t->log_bytes += bytes;
    memcpy(t->log + t->log_bytes++, "\n", 2);
}

static void world_home_open(struct env *env, struct env_opening *o)
{
    o->env = env;
    list_append(&of(env)->world->openings, &o->job.link);
}

static void door_home_close(struct env *env, struct store *store)
{
    (void)env;
    store_close(store);
}

static const struct env_ops world_ops = {
    .now_ns = world_now,
    .unix_ms = world_unix,
    .random = world_bytes,
    .timer_set = world_timer_set,
    .timer_stop = world_timer_stop,
    .work = world_work,
    .send = world_send,
    .hang_up = world_hang_up,
    .home_open = world_home_open,
    .home_close = door_home_close,
    .arena_left = world_arena_left,
    .arena_new = world_arena_new,
    .arena_free = world_arena_free,
    .buffer_get = world_buffer_get,
    .buffer_put = world_buffer_put,
    .log = world_log,
};

/*
 * Worlds and daemons.
 */

struct test_world *test_world_new(uint64_t seed)
{
    struct test_world *w = calloc(1, sizeof *w);

    assert(w);
    w->now_ns = NS_PER_MS * 1000 * 3600;
    w->step_ns = 10000;
    w->random = seed;
    w->is_plain = seed == 0;
    list_init(&w->envs);
    list_init(&w->stores);
    list_init(&w->timers);
    list_init(&w->jobs);
    list_init(&w->openings);
    return w;
}

void test_world_free(struct test_world *w)
{
    if (!w)
        return;
    assert(list_is_empty(&w->envs) && list_is_empty(&w->jobs) &&
           list_is_empty(&w->openings));
    doors_close_stores(w);
    free(w);
}

struct test_env *test_env_new(struct test_world *w, const char *name)
{
    struct test_env *t = calloc(1, sizeof *t);
    struct digest uuid = hash_128(name, strlen(name));
    struct err err = {0};
    int rc;

    assert(t && strlen(name) < 64);
    t->world = w;
    list_append(&w->envs, &t->link);
    list_init(&t->frames);
    list_init(&t->hang_ups);
    list_init(&t->doors);
    t->arena_bytes_max = (uint64_t)64 << 20;
    t->arena_bytes_all = UINT64_MAX;
    t->arena_piece_bytes = WIRE_PIECE_BYTES;
    t->env.ops = &world_ops;
    t->home_open = door_home_open;
    memcpy(t->env.local_uuid.b, uuid.b, sizeof uuid.b);
    (void)snprintf(t->env.local_path, sizeof t->env.local_path, "local/%s",
                   name);
    (void)snprintf(t->env.host, sizeof t->env.host, "%s", name);
    (void)snprintf(t->env.mode, sizeof t->env.mode, "a test's daemon");
    t->env.worker_count = 1;
    t->env.buffer_count = 4;
    t->env.buffer_bytes = PAGE_BYTES + ((uint64_t)4 << 20);
    t->env.tier_bytes_s = 1e9;
    t->env.encode_bytes_s = 1e9;
    rc = door_home_open(&t->env, t->env.local_path, &t->env.local, &err);
    assert(rc == 0);
    return t;
}

static void timers_drop(struct test_env *t)
{
    LIST_FOR_EACH_SAFE (node, after, &t->world->timers) {
        struct owned_timer *o = container_of(node, struct owned_timer, link);

        if (o->owner == t)
            timer_drop(o);
    }
}

void test_env_kill(struct test_env *t)
{
    t->is_dead = true;
    timers_drop(t);
    doors_cut(t);
}

void test_env_free(struct test_env *t)
{
    struct list *node;

    if (!t)
        return;
    store_close(t->env.local);
    assert(list_is_empty(&t->doors)); /* every home was closed */
    assert(t->arenas == 0 && t->buffers == 0);
    timers_drop(t);
    while ((node = list_pop(&t->frames)))
        free(container_of(node, struct test_frame, link));
    while ((node = list_pop(&t->hang_ups)))
        free(container_of(node, struct hang_up, link));
    list_remove(&t->link);
    free(t->log);
    free(t);
}

struct test_frame *test_env_frame(struct test_env *t, env_peer peer)
{
    LIST_FOR_EACH (node, &t->frames) {
        struct test_frame *f = container_of(node, struct test_frame, link);

        if (f->peer != peer)
            continue;
        list_remove(&f->link);
        return f;
    }
    return NULL;
}

bool test_env_hung_up(const struct test_env *t, env_peer peer)
{
    LIST_FOR_EACH (node, &t->hang_ups) {
        if (container_of(node, struct hang_up, link)->peer == peer)
            return true;
    }
    return false;
}

bool test_env_logged(const struct test_env *t, const char *part)
{
    return t->log && strstr(t->log, part);
}

/*
 * The wheel.
 */

/* The node at a random place, NULL if there is none. */
static struct list *list_pick(struct test_world *w, struct list *list)
{
    uint64_t count = 0, at;

    LIST_FOR_EACH (node, list) {
        (void)node;
        count++;
    }
    if (count == 0)
        return NULL;
    at = test_random(w) % count;
    LIST_FOR_EACH (node, list) {
        if (at-- == 0)
            return node;
    }
    return NULL;
}

/* In order, and first, so that no seed means anything else for their sake. */
static void run_openings(struct test_world *w)
{
    struct list *node;

    while ((node = list_pop(&w->openings))) {
        struct env_opening *o =
            container_of(node, struct env_opening, job.link);

        o->err = (struct err){0};
        o->result = of(o->env)->home_open(o->env, o->path, &o->store, &o->err);
        o->done(o);
    }
}

static bool run_job(struct test_world *w)
{
    struct list *node = list_pick(w, &w->jobs);
    struct env_job *job;

    if (!node)
        return false;
    list_remove(node);
    job = container_of(node, struct env_job, link);
    job->run(job);
    job->done(job);
    return true;
}

static bool run_timer(struct test_world *w)
{
    uint64_t count = 0, at;
    struct owned_timer *picked = NULL;
    struct env_timer *timer;

    LIST_FOR_EACH (node, &w->timers) {
        struct owned_timer *o = container_of(node, struct owned_timer, link);

        if (o->at_ns > w->now_ns)
            continue;
        at = test_random(w) % ++count; /* each with equal chance */
        if (at == 0)
            picked = o;
    }
    if (!picked)
        return false;
    timer = picked->timer;
    timer_drop(picked);
    timer->fire(timer);
    return true;
}

/* The next timer's time; 0 when there is none. */
static uint64_t next_timer(const struct test_world *w)
{
    uint64_t at = 0;

    LIST_FOR_EACH (node, &w->timers) {
        struct owned_timer *o = container_of(node, struct owned_timer, link);

        if (at == 0 || o->at_ns < at)
            at = max_u64(o->at_ns, 1);
    }
    return at;
}

bool test_run(struct test_world *w, uint64_t limit_ms, test_until until,
              void *arg)
{
    uint64_t end = w->now_ns + limit_ms * NS_PER_MS;
    uint32_t idle_turns = 0;

    for (;;) {
        uint64_t at;
        bool busy;

        run_openings(w);
        busy = doors_poll(w);
        busy = run_job(w) || busy;
        busy = run_timer(w) || busy;
        if (until && until(arg))
            return true;
        if (w->now_ns > end)
            return false;
        idle_turns = busy ? 0 : idle_turns + 1;
        if (busy)
            w->now_ns += w->step_ns;
        if (idle_turns < 2) /* until() may have given somebody work */
            continue;
        at = next_timer(w);
        if (at == 0)
            return until == NULL;
        if (at > end) {
            w->now_ns = end;
            return false;
        }
        w->now_ns = max_u64(w->now_ns, at);
    }
}
