/*
 * sim.c - one seed from its beginning to its end: events, trace, the wheel.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Longer than any seed may take. */
#define LIMIT_MS ((uint64_t)4 * 3600 * 1000)

struct event {
    struct list link; /* sim.waiting */
    struct env_timer timer;
    struct sim *sim;
    sim_fn fn;
    void *arg;
    uint64_t n;
};

uint64_t sim_random(struct sim *s, uint64_t below)
{
    return below ? test_random(s->world) % below : 0;
}

uint64_t sim_between(struct sim *s, uint64_t least, uint64_t most)
{
    return least + sim_random(s, most - least + 1);
}

bool sim_chance(struct sim *s, uint32_t percent)
{
    return sim_random(s, 100) < percent;
}

uint64_t sim_now(const struct sim *s)
{
    return s->world->now_ns;
}

static void event_fire(struct env_timer *timer)
{
    struct event *e = container_of(timer, struct event, timer);
    struct event copy = *e;

    list_remove(&e->link);
    free(e);
    copy.sim->stats.events++;
    copy.fn(copy.sim, copy.arg, copy.n);
}

void sim_after(struct sim *s, uint64_t delay_ns, sim_fn fn, void *arg,
               uint64_t n)
{
    struct event *e = calloc(1, sizeof *e);
    struct env *env = &s->clock->env;

    assert(e);
    e->sim = s;
    e->fn = fn;
    e->arg = arg;
    e->n = n;
    e->timer.fire = event_fire;
    list_append(&s->waiting, &e->link);
    env->ops->timer_set(env, &e->timer, sim_now(s) + delay_ns);
}

void sim_trace(struct sim *s, const char *format, ...)
{
    uint64_t us = (sim_now(s) - s->began_ns) / 1000;
    va_list args;

    if (!s->is_traced)
        return;
    (void)printf("%5" PRIu64 ".%06" PRIu64 " ", us / 1000000, us % 1000000);
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
}

void sim_violation(struct sim *s, const char *format, ...)
{
    va_list args;

    if (s->is_failed)
        return;
    s->is_failed = true;
    va_start(args, format);
    (void)vsnprintf(s->failure, sizeof s->failure, format, args);
    va_end(args);
    sim_trace(s, "VIOLATION: %s", s->failure);
}

const char *sim_id(const struct save_id *id, char text[SIM_ID_BYTES])
{
    (void)snprintf(text, SIM_ID_BYTES, "%" PRIu32 "-%" PRIu64 "-%" PRIu32,
                   id->generation, id->step, id->attempt);
    return text;
}

/*
 * The plan.
 */

static uint64_t pick(struct sim *s, const uint64_t *of, size_t count)
{
    return of[sim_random(s, count)];
}

static void plan_media(struct sim *s, struct sim_plan *p)
{
    static const uint64_t home_ms[] = {1, 5, 5, 50};
    static const uint64_t drive_ms[] = {1, 1, 10, 400};

    p->home.least_ns = 50000;
    p->home.most_ns = pick(s, home_ms, ARRAY_LEN(home_ms)) * SIM_MS;
    p->home.timeout_ns = sim_chance(s, 50) ? 3000 * SIM_MS : 0;
    p->local.is_local = true;
    p->local.least_ns = 20000;
    p->local.most_ns = pick(s, drive_ms, ARRAY_LEN(drive_ms)) * SIM_MS;
}

/* By the seed alone: what is drawn for all else stays as it was. */
static void plan_remote(uint64_t seed, struct sim_plan *p)
{
    uint64_t by = hash_64(&seed, sizeof seed);

    if (by % 10 >= 3)
        return;
    p->remote_every = 1 + (uint32_t)(by / 10 % 3);
    p->local_last = (uint32_t)(by / 30 % 3);
    if (by / 90 % 2 == 0 || p->tensors == SIM_TENSORS)
        return;
    p->mask = 0xffff;
    p->elements += 2000;                 /* so that chunks have pages to lose */
    p->codec = (uint32_t)(by / 180 % 2); /* they are not encoded before */
}

static void plan_make(struct sim *s)
{
    static const uint64_t intervals_ms[] = {5, 50, 300, 2000};
    struct sim_plan *p = &s->plan;

    p->nodes = (uint32_t)sim_between(s, 1, SIM_NODES);
    p->tensors = sim_chance(s, 6) ? SIM_TENSORS : 4;
    p->elements = sim_chance(s, 10) ? 20000 : sim_between(s, 64, 1200);
    if (p->tensors == SIM_TENSORS) /* a manifest in parts */
        p->elements = 64;
    p->faults_ns = sim_between(s, 3, 30) * 1000 * SIM_MS;
    p->fault_count = (uint32_t)sim_between(s, 0, 12);
    if (sim_chance(s, 10)) /* a storm */
        p->fault_count *= 4;
    p->overload = (uint32_t)sim_random(s, 3);
    p->interval_ns = pick(s, intervals_ms, ARRAY_LEN(intervals_ms)) * SIM_MS;
    p->keep_last = sim_chance(s, 50) ? (uint32_t)sim_between(s, 1, 3) : 0;
    p->keep_every = sim_chance(s, 20) ? (uint32_t)sim_between(s, 2, 5) : 0;
    p->open_ms = (uint32_t)sim_between(s, 20, 60) * 1000;
    p->decide_ms = (uint32_t)sim_between(s, 5, 30) * 1000;
    p->tight_ms = sim_chance(s, 25) ? (uint32_t)sim_between(s, 200, 3000) : 0;
    p->load_ms = (uint32_t)sim_between(s, 10, 30) * 1000;
    p->slots = (uint32_t)sim_between(s, 4, 8);
    p->codec = (uint32_t)sim_random(s, 3);
    p->mask = UINT64_MAX;
    p->has_rot = sim_chance(s, 8);
    p->is_contended = sim_chance(s, 20);
    plan_remote(s->seed, p);
    plan_media(s, p);
}

static void plan_say(struct sim *s)
{
    static const char *const overloads[] = {"wait", "skip", "replace"};
    const struct sim_plan *p = &s->plan;

    sim_trace(s,
              "seed %" PRIu64 ": %u nodes, %" PRIu64
              " elements, %u faults in %" PRIu64 " s, a save every %" PRIu64
              " ms or %s, keep last %u every %u, remote every %u and local "
              "last %u, deadlines %u %u %u ms",
              s->seed, p->nodes, p->elements, p->fault_count,
              p->faults_ns / SIM_MS / 1000, p->interval_ns / SIM_MS,
              overloads[p->overload], p->keep_last, p->keep_every,
              p->remote_every, p->local_last, p->open_ms,
              p->tight_ms ? p->tight_ms : p->decide_ms, p->load_ms);
}

/*
 * The wheel.
 */

static bool turn(void *arg)
{
    struct sim *s = arg;

    while (nodes_turn(s))
        continue;
    return s->is_failed || s->is_over;
}

static void begin(struct sim *s)
{
    list_init(&s->daemons);
    list_init(&s->jobs);
    list_init(&s->conns);
    list_init(&s->waiting);
    s->world = test_world_new(s->seed * 0x9e3779b97f4a7c15u + 1);
    s->began_ns = s->world->now_ns;
    s->clock = test_env_new(s->world, "clock");
    plan_make(s);
    plan_say(s);
    s->home = disk_new(s, "home");
    *disk_model(s->home) = s->plan.home;
    disk_watch(s->home, oracle_news);
    oracle_begin(s);
    nodes_begin(s);
    jobs_begin(s);
    faults_begin(s);
}

static void end(struct sim *s)
{
    struct list *node;

    nodes_end(s);
    jobs_end(s);
    conns_end(s);
    ending_end(s);
    for (uint32_t i = 0; i < s->plan.nodes; i++)
        disk_free(s->node[i].disk);
    disk_free(s->home);
    oracle_end(s);
    while ((node = list_pop(&s->waiting))) {
        struct event *e = container_of(node, struct event, link);

        s->clock->env.ops->timer_stop(&s->clock->env, &e->timer);
        free(e);
    }
    test_env_free(s->clock);
    test_world_free(s->world);
}

/* It has nothing but counts. */
static void stats_add(struct sim_stats *total, const struct sim_stats *one)
{
    for (size_t i = 0; i < sizeof *one / sizeof(uint64_t); i++)
        ((uint64_t *)total)[i] += ((const uint64_t *)one)[i];
}

bool sim_run(uint64_t seed, bool is_traced, struct sim_stats *total,
             char failure[2048])
{
    struct sim *s = calloc(1, sizeof *s);
    bool is_good;

    assert(s);
    s->seed = seed;
    s->is_traced = is_traced;
    begin(s);
    (void)test_run(s->world, LIMIT_MS, turn, s);
    if (!s->is_over)
        sim_violation(s, "I4: the seed has come to no end");
    s->stats.seeds = 1;
    s->stats.virtual_ns = sim_now(s) - s->began_ns;
    stats_add(total, &s->stats);
    is_good = !s->is_failed;
    memcpy(failure, s->failure, sizeof s->failure);
    end(s);
    free(s);
    return is_good;
}
