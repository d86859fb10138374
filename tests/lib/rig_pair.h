/*
 * rig_pair.h - one job through two daemons that share a home: even ranks are at
 * the first, odd ones at the second. What does not go well ends the test by
 * assert().
 */
#ifndef TESTS_LIB_RIG_PAIR_H
#define TESTS_LIB_RIG_PAIR_H

#include "tests/lib/engine_rig.h"

#define RIG_PAIR_LIMIT_MS 700000

struct rig_pair {
    struct test_world *world;
    struct rig *g[2]; /* "a" and "b" */
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig_save *v[RIG_RANKS_MAX]; /* the last save of each */
    uint32_t n;
};

/* A world of this seed, both daemons, and a job that joins as "token". */
void rig_pair_begin(struct rig_pair *p, uint64_t seed,
                    const struct rig_shape *shape);
/* Both daemons start (again) in p->world. */
void rig_pair_start(struct rig_pair *p);
/* The job's ranks join, each with an arena and table 1. */
void rig_pair_join(struct rig_pair *p, const char *token,
                   const struct rig_shape *shape);
/* The ranks that are left die, and both daemons end. */
void rig_pair_end(struct rig_pair *p);

/* For test_run(): ranks of daemons that live take up their frames; false. */
bool rig_pair_pump(void *pair);
/* The wheel turns for so long. */
void rig_pair_turn(struct rig_pair *p, uint64_t ms);
/* All begin to save, with bytes of a seed that is the step. */
void rig_pair_save(struct rig_pair *p, uint64_t step, uint32_t overload);
/* Until all ranks' last saves are decided. */
void rig_pair_decide(struct rig_pair *p);

#endif
