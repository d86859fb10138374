/*
 * rig_job.h - the ranks of one job at one engine (engine_rig.h), which join,
 * save and decide together. What does not go well ends the test by assert().
 */
#ifndef TESTS_LIB_RIG_JOB_H
#define TESTS_LIB_RIG_JOB_H

#include "tests/lib/engine_rig.h"

/* Of virtual time: longer than any deadline of a join or a save. */
#define RIG_JOB_LIMIT_MS 700000

struct rig_job {
    struct rig *g;
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig_save *v[RIG_RANKS_MAX]; /* the last save of each */
    uint32_t n;
};

/* A world of this seed with a daemon "a", and a job that joins as "token". */
void rig_job_begin(struct rig_job *j, uint64_t seed,
                   const struct rig_shape *shape);
/* Another one at j->g, whose ranks take the place of those before. */
void rig_job_enter(struct rig_job *j, const char *token,
                   const struct rig_shape *shape);
/* All begin to save, with bytes of this seed. */
void rig_job_save(struct rig_job *j, uint64_t step, uint64_t seed,
                  uint32_t overload);
/* Until all ranks' last saves are decided. */
void rig_job_decide(struct rig_job *j);
/* Both, and every rank was told COMMITTED. */
void rig_job_commit(struct rig_job *j, uint64_t step, uint64_t seed);

#endif
