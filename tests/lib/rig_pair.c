/*
 * rig_pair.c - see rig_pair.h.
 */
#include "tests/lib/rig_pair.h"

#include <assert.h>

bool rig_pair_pump(void *pair)
{
    struct rig_pair *p = pair;

    for (int i = 0; i < 2; i++)
        if (p->g[i] && p->g[i]->engine)
            rig_pump(p->g[i]);
    return false;
}

static bool is_answered(void *pair)
{
    struct rig_pair *p = pair;

    (void)rig_pair_pump(p);
    for (uint32_t i = 0; i < p->n; i++)
        if (!rig_joined(p->r[i]) && !p->r[i]->error)
            return false;
    return true;
}

static bool is_decided(void *pair)
{
    struct rig_pair *p = pair;

    (void)rig_pair_pump(p);
    return rig_all_decided(p->g[0]) && rig_all_decided(p->g[1]);
}

void rig_pair_turn(struct rig_pair *p, uint64_t ms)
{
    (void)test_run(p->world, ms, rig_pair_pump, p);
}

void rig_pair_start(struct rig_pair *p)
{
    p->g[0] = rig_new_in(p->world, "a");
    p->g[1] = rig_new_in(p->world, "b");
}

void rig_pair_join(struct rig_pair *p, const char *token,
                   const struct rig_shape *shape)
{
    p->n = shape->world_size;
    for (uint32_t i = 0; i < p->n; i++) {
        p->r[i] = rig_rank_new(p->g[i % 2], i, p->n);
        rig_rank_shape(p->r[i], shape);
        rig_open(p->r[i], token);
    }
    (void)test_run(p->world, 60000, is_answered, p);
    for (uint32_t i = 0; i < p->n; i++) {
        assert(rig_joined(p->r[i]));
        rig_arena(p->r[i], shape->slots);
        rig_table(p->r[i], 1, shape->tensors, shape->tensor_bytes);
    }
    rig_pair_turn(p, 50);
}

void rig_pair_begin(struct rig_pair *p, uint64_t seed,
                    const struct rig_shape *shape)
{
    *p = (struct rig_pair){.world = test_world_new(seed)};
    rig_pair_start(p);
    rig_pair_join(p, "token", shape);
}

void rig_pair_end(struct rig_pair *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (!p->r[i]->is_gone)
            rig_die(p->r[i]);
    rig_free(p->g[0]);
    rig_free(p->g[1]);
}

void rig_pair_save(struct rig_pair *p, uint64_t step, uint32_t overload)
{
    for (uint32_t i = 0; i < p->n; i++)
        p->v[i] = rig_save(p->r[i], step, step, overload);
}

void rig_pair_decide(struct rig_pair *p)
{
    bool is_over = test_run(p->world, RIG_PAIR_LIMIT_MS, is_decided, p);

    assert(is_over);
}
