/*
 * ending.c - progress: once nothing goes wrong any more, a save commits, the
 * job is started anew and loads, a save commits again, and everything that was
 * told to be committed can be read. Each within a bounded virtual time, also
 * when saves come faster than drives take them. Where checkpoints go to the
 * remote tier all machines are then replaced: a job starts again, and what is
 * REMOTE can still be read.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define LOOK_NS (100 * SIM_MS)
#define READS   8 /* about so many */

enum stage {
    COMMIT,
    RESTART,
    COMMIT_AGAIN,
    READ,
    REPLACED,
    READ_REMOTE,
    STAGES,
};

static const char *const stage_text[STAGES] = {
    "a save to commit",
    "a new job to load",
    "a save of the new job to commit",
    "all that is committed to be read",
    "a job on new machines",
    "all that is REMOTE to be read",
};

struct ending {
    enum stage stage;
    uint64_t since_ns, commits;
    size_t known, left; /* saves, and those that may still be read */
};

static uint64_t patience_ns(const struct sim *s)
{
    const struct sim_plan *p = &s->plan;

    return (2 * ((uint64_t)p->open_ms + p->decide_ms + p->load_ms) + 120000) *
           SIM_MS;
}

static void enter(struct sim *s, struct ending *e, enum stage stage)
{
    e->stage = stage;
    e->since_ns = sim_now(s);
    e->commits = oracle_commits(s);
    if (stage < STAGES)
        sim_trace(s, "ending: waits for %s", stage_text[stage]);
}

static void restart(struct sim *s, struct ending *e, enum stage stage)
{
    LIST_FOR_EACH (node, &s->jobs) {
        struct sim_job *j = container_of(node, struct sim_job, link);

        job_fail(j, "the operator starts it anew");
    }
    enter(s, e, stage);
}

static void replace_all(struct sim *s, struct ending *e)
{
    for (uint32_t i = 0; i < s->plan.nodes; i++)
        node_replace(s, &s->node[i]);
    s->has_lost = true;
    s->has_rotted = false;
    e->known = 0;
    restart(s, e, REPLACED);
}

/* One save after the other, from the newest on; of many, some are left out. */
static bool read_on(struct sim *s, struct ending *e)
{
    struct sim_job *j = job_current(s);
    struct save_id id;
    bool is_there;

    if (!j || !j->is_running)
        return false;
    for (uint32_t i = 0; i < j->rank_count; i++)
        if (!rank_is_free(&j->rank[i]) || j->rank[i].due_step)
            return false;
    if (e->left == 0)
        return true;
    is_there = oracle_save(s, e->left - 1, &id);
    e->left -= min_u64(e->left, 1 + sim_random(s, e->known / READS));
    if (!is_there) /* some were removed meanwhile */
        return false;
    if (s->has_lost && !oracle_is_remote(s, &id))
        return false;
    for (uint32_t i = 0; i < j->rank_count; i++)
        rank_read(&j->rank[i], &id);
    e->since_ns = sim_now(s);
    return false;
}

static bool is_reached(struct sim *s, struct ending *e)
{
    struct sim_job *j = job_current(s);

    switch (e->stage) {
    case COMMIT:
    case COMMIT_AGAIN:
        return oracle_commits(s) > e->commits;
    case RESTART:
    case REPLACED:
        return j && j->is_running;
    case READ:
    case READ_REMOTE:
        return read_on(s, e);
    case STAGES:
        break;
    }
    return false;
}

static void event_look(struct sim *s, void *arg, uint64_t unused)
{
    struct ending *e = s->ending;
    struct save_id id;

    (void)arg;
    (void)unused;
    if (is_reached(s, e)) {
        if (e->stage == COMMIT)
            restart(s, e, RESTART);
        else if (e->stage == READ && s->plan.remote_every)
            replace_all(s, e);
        else if (e->stage == READ)
            enter(s, e, STAGES);
        else
            enter(s, e, e->stage + 1);
        s->is_reading = e->stage == READ || e->stage == READ_REMOTE;
        while (s->is_reading && oracle_save(s, e->known, &id))
            e->left = ++e->known;
    }
    if (e->stage == STAGES) {
        oracle_final(s);
        s->is_over = true;
        return;
    }
    if (sim_now(s) - e->since_ns > patience_ns(s)) {
        sim_violation(s,
                      "progress: %" PRIu64 " s after all was mended, it still "
                      "waits for %s",
                      (sim_now(s) - e->since_ns) / SIM_MS / 1000,
                      stage_text[e->stage]);
        return;
    }
    sim_after(s, LOOK_NS, event_look, NULL, 0);
}

void ending_begin(struct sim *s)
{
    struct ending *e = calloc(1, sizeof *e);

    assert(e);
    s->ending = e;
    enter(s, e, COMMIT);
    sim_after(s, LOOK_NS, event_look, NULL, 0);
}

void ending_end(struct sim *s)
{
    free(s->ending);
}
