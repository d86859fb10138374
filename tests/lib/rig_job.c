/*
 * rig_job.c - see rig_job.h.
 */
#include "tests/lib/rig_job.h"

#include <assert.h>

void rig_job_enter(struct rig_job *j, const char *token,
                   const struct rig_shape *shape)
{
    j->n = shape->world_size;
    rig_start(j->g, token, shape, j->r);
    for (uint32_t i = 0; i < j->n; i++)
        assert(rig_joined(j->r[i]));
}

void rig_job_begin(struct rig_job *j, uint64_t seed,
                   const struct rig_shape *shape)
{
    *j = (struct rig_job){.g = rig_new(seed)};
    rig_job_enter(j, "token", shape);
}

void rig_job_save(struct rig_job *j, uint64_t step, uint64_t seed,
                  uint32_t overload)
{
    for (uint32_t i = 0; i < j->n; i++)
        j->v[i] = rig_save(j->r[i], step, seed, overload);
}

void rig_job_decide(struct rig_job *j)
{
    bool is_decided = rig_run(j->g, RIG_JOB_LIMIT_MS, rig_all_decided, j->g);

    assert(is_decided);
}

void rig_job_commit(struct rig_job *j, uint64_t step, uint64_t seed)
{
    rig_job_save(j, step, seed, 0);
    rig_job_decide(j);
    for (uint32_t i = 0; i < j->n; i++)
        assert(j->v[i]->state == WIRE_STATE_COMMITTED);
}
