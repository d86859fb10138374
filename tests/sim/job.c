/*
 * job.c - ranks that train together, and the launchers that start them again.
 *
 * A job saves step after step: the next SAVE comes when all ranks have returned
 * from the last and the interval has passed. When one rank fails the job is
 * over: the launcher kills the others, soon, and starts the next with a new
 * token. Now and then it does not wait for the old one to be dead, and in some
 * seeds there is a second launcher that knows nothing of the first.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LAUNCHERS      2
#define WATCH_NS       (5000 * SIM_MS)
#define BURST          8
#define BURST_PAUSE_NS (4000 * SIM_MS)

struct launch {
    uint32_t jobs;
    uint32_t planned[LAUNCHERS]; /* launches that are to come */
};

static struct launch *launch_of(struct sim *s)
{
    return s->launch;
}

static void launch_later(struct sim *s, uint32_t launcher, uint64_t delay_ns);

/*
 * One job.
 */

static void event_kill(struct sim *s, void *arg, uint64_t rank)
{
    struct sim_job *j = arg;

    (void)s;
    if (rank < j->rank_count)
        rank_die(&j->rank[rank], "its job is over");
    else if (j->twin)
        rank_die(j->twin, "its job is over");
}

void job_fail(struct sim_job *j, const char *why)
{
    struct sim *s = j->sim;
    uint64_t grace;

    if (j->is_over)
        return;
    j->is_over = true;
    sim_trace(s, "job %u is over: %s", j->number, why);
    grace = sim_random(s, 4) ? 200 : 3000;
    for (uint32_t i = 0; i <= j->rank_count; i++)
        sim_after(s, sim_between(s, 0, grace) * SIM_MS, event_kill, j, i);
    if (sim_chance(s, 85) || s->is_calm)
        grace += sim_between(s, 1, 3000);
    else
        grace = sim_between(s, 0, 100); /* the old one still breathes */
    launch_later(s, j->launcher, grace * SIM_MS);
}

static bool all_free(const struct sim_job *j)
{
    for (uint32_t i = 0; i < j->rank_count; i++)
        if (j->rank[i].due_step || !rank_is_free(&j->rank[i]))
            return false;
    return true;
}

static void event_save(struct sim *s, void *arg, uint64_t step)
{
    struct sim_rank *r = arg;

    if (r->phase == RANK_DEAD || r->due_step != step)
        return;
    if (r->phase != RANK_READY || r->is_hung) { /* it waits for its link */
        sim_after(s, 20 * SIM_MS, event_save, r, step);
        return;
    }
    r->due_step = 0;
    rank_save(r, step);
}

/* Saves come in bursts, so that a seed with a short interval has no more of
 * them than another. When only progress is looked at there is no pause. */
static uint64_t pause_ns(const struct sim_job *j)
{
    return !j->sim->is_calm && j->saves % BURST == 0 ? BURST_PAUSE_NS : 0;
}

static void event_step(struct sim *s, void *arg, uint64_t unused)
{
    struct sim_job *j = arg;
    uint64_t skew = sim_chance(s, 90) ? 5 : 200;

    (void)unused;
    if (j->is_over || s->is_over)
        return;
    if (!all_free(j) || s->is_reading) {
        sim_after(s, 10 * SIM_MS, event_step, j, 0);
        return;
    }
    /* Sometimes the same step once more: another attempt, or a conflict. */
    if (j->saves == 0 || sim_chance(s, 85))
        j->step += sim_between(s, 1, 3);
    j->saves++;
    for (uint32_t i = 0; i < j->rank_count; i++) {
        j->rank[i].due_step = j->step;
        sim_after(s, sim_between(s, 0, skew * 1000) * 1000, event_save,
                  &j->rank[i], j->step);
    }
    sim_after(s, s->plan.interval_ns + pause_ns(j), event_step, j, 0);
}

void job_rank_ready(struct sim_job *j)
{
    struct sim *s = j->sim;

    for (uint32_t i = 0; i < j->rank_count; i++)
        if (j->rank[i].phase != RANK_READY)
            return;
    if (j->is_running || j->is_over)
        return;
    j->is_running = true;
    j->step = j->parent.step;
    sim_trace(s, "job %u trains", j->number);
    sim_after(s, s->plan.interval_ns, event_step, j, 0);
}

void job_twin(struct sim_job *j, uint32_t rank)
{
    struct sim_rank *r = calloc(1, sizeof *r);

    assert(r && !j->twin);
    r->sim = j->sim;
    r->job = j;
    r->rank = rank;
    r->node = j->rank[rank].node;
    r->local = j->rank[rank].local;
    r->is_twin = true;
    j->twin = r;
    rank_begin(r);
}

static void event_watch(struct sim *s, void *arg, uint64_t unused)
{
    struct sim_job *j = arg;
    bool is_alive = false;

    (void)unused;
    for (uint32_t i = 0; i < j->rank_count; i++) {
        rank_watch(&j->rank[i]);
        is_alive = is_alive || j->rank[i].phase != RANK_DEAD;
    }
    if (is_alive)
        sim_after(s, WATCH_NS, event_watch, j, 0);
}

static void ranks_make(struct sim_job *j, bool is_striped)
{
    struct sim *s = j->sim;
    uint32_t nodes = s->plan.nodes;

    j->rank_count = nodes * j->per_node;
    j->rank = calloc(j->rank_count, sizeof *j->rank);
    assert(j->rank);
    for (uint32_t i = 0; i < j->rank_count; i++) {
        struct sim_rank *r = &j->rank[i];

        r->sim = s;
        r->job = j;
        r->rank = i;
        r->node = &s->node[is_striped ? i % nodes : i / j->per_node];
        r->local = is_striped ? i / nodes : i % j->per_node;
    }
}

/* Where it goes on from. */
static void choose_resume(struct sim_job *j)
{
    struct sim *s = j->sim;
    uint64_t kind = s->is_calm ? 99 : sim_random(s, 100);
    struct save_id id;
    size_t count = 0;

    j->resume = WIRE_RESUME_LATEST;
    /* Without any good checkpoint a job would fail for ever. */
    if (kind < 4 || ((s->has_rotted || s->has_lost) && sim_chance(s, 30))) {
        j->resume = WIRE_RESUME_NONE;
    } else if (kind < 16) {
        while (oracle_save(s, count, &id))
            count++;
        if (count == 0 || !oracle_save(s, sim_random(s, count), &id))
            return;
        j->resume = WIRE_RESUME_STEP;
        j->resume_step = id.step;
        j->resume_generation = id.generation;
    }
}

static void job_start(struct sim *s, uint32_t launcher)
{
    struct sim_job *j = calloc(1, sizeof *j);

    assert(j);
    j->sim = s;
    j->launcher = launcher;
    j->number = ++launch_of(s)->jobs;
    j->began_ns = sim_now(s);
    (void)snprintf(j->token, sizeof j->token, "job%" PRIu32, j->number);
    j->per_node = (uint32_t)sim_between(s, 1, SIM_PER_NODE);
    j->decide_ms =
        s->plan.tight_ms && !s->is_calm ? s->plan.tight_ms : s->plan.decide_ms;
    choose_resume(j);
    ranks_make(j, sim_chance(s, 50));
    list_append(&s->jobs, &j->link);
    s->stats.jobs++;
    sim_trace(s, "job %u starts with %u ranks, resume %u %" PRIu64 "/%u",
              j->number, j->rank_count, j->resume, j->resume_step,
              j->resume_generation);
    for (uint32_t i = 0; i < j->rank_count; i++)
        rank_begin(&j->rank[i]);
    sim_after(s, WATCH_NS, event_watch, j, 0);
}

/*
 * Launchers.
 */

static bool all_on(const struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.nodes; i++)
        if (s->node[i].is_off)
            return false;
    return true;
}

static void event_launch(struct sim *s, void *arg, uint64_t launcher)
{
    (void)arg;
    launch_of(s)->planned[launcher]--;
    if (launch_of(s)->planned[launcher] > 0 || s->is_over)
        return;
    if (s->is_calm && launcher > 0)
        return;
    if (all_on(s))
        job_start(s, (uint32_t)launcher);
    else
        launch_later(s, (uint32_t)launcher, 500 * SIM_MS);
}

static void launch_later(struct sim *s, uint32_t launcher, uint64_t delay_ns)
{
    launch_of(s)->planned[launcher]++;
    sim_after(s, delay_ns, event_launch, NULL, launcher);
}

struct sim_job *job_current(struct sim *s)
{
    for (struct list *at = s->jobs.prev; at != &s->jobs; at = at->prev) {
        struct sim_job *j = container_of(at, struct sim_job, link);

        if (!j->is_over)
            return j;
    }
    return NULL;
}

void jobs_calm(struct sim *s)
{
    LIST_FOR_EACH (node, &s->jobs) {
        struct sim_job *j = container_of(node, struct sim_job, link);

        if (j->launcher > 0 || s->plan.tight_ms)
            job_fail(j, "it was made for bad times");
    }
}

void jobs_begin(struct sim *s)
{
    s->launch = calloc(1, sizeof(struct launch));
    assert(s->launch);
    launch_later(s, 0, 0);
    if (s->plan.is_contended)
        launch_later(s, 1, sim_between(s, 0, 20000) * SIM_MS);
}

void jobs_end(struct sim *s)
{
    struct list *node;

    while ((node = list_pop(&s->jobs))) {
        struct sim_job *j = container_of(node, struct sim_job, link);

        for (uint32_t i = 0; i < j->rank_count; i++)
            rank_end(&j->rank[i]);
        if (j->twin)
            rank_end(j->twin);
        free(j->twin);
        free(j->rank);
        free(j);
    }
    free(s->launch);
}
