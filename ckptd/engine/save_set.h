/*
 * save_set.h - a set of saves that hardly grows with their number.
 *
 * Exact, and kept as runs of steps at equal distances: a job that saves every
 * N steps costs a few dozen bytes whatever it has saved, one with steps at
 * random some 12 bytes a save. In any order of adding. Pure.
 */
#ifndef CKPTD_SAVE_SET_H
#define CKPTD_SAVE_SET_H

#include "common/id.h"

/* Steps first, first + stride, ... of one attempt of a generation. */
struct save_range {
    uint64_t first;
    uint32_t generation, attempt;
    uint32_t stride, count; /* stride 0 of one */
};

struct save_set {
    struct save_range *range; /* by generation, attempt, step; none overlap */
    size_t range_count, range_capacity;
    uint64_t count; /* of saves */
};

void save_set_free(struct save_set *set);
/* One that is there already is fine. -ENOMEM: the set is as it was. */
int save_set_add(struct save_set *set, const struct save_id *id) MUST_USE;
bool save_set_has(const struct save_set *set, const struct save_id *id);
/* The highest step of a generation; false: it has none here. */
bool save_set_highest_step(const struct save_set *set, uint32_t generation,
                           uint64_t *step);
/* The highest attempt of a step; 0: there is none. */
uint32_t save_set_highest_attempt(const struct save_set *set,
                                  uint32_t generation, uint64_t step);

#endif
