/*
 * plan_join.h - one tensor's stored slices against wanted slabs, as operations.
 * Private to plan*.c.
 */
#ifndef FORMATS_PLAN_JOIN_H
#define FORMATS_PLAN_JOIN_H

#include "formats/plan.h"
#include "formats/stored.h"

/* What operation `op` of a draft is sorted by, in this order. */
struct plan_key {
    uint32_t file;
    uint32_t chunk;
    uint64_t offset;
    uint64_t src;
    uint64_t op;
    uint32_t request;
};

/* Operations as they are found; key i and op i belong together until the keys
 * are sorted. Zeroed is empty. */
struct plan_draft {
    struct plan_op *op;
    struct plan_key *key;
    size_t count, capacity;
};

void plan_draft_free(struct plan_draft *d);

/* All written slices of a tensor, indexed. */
int plan_stored(struct stored *s, const struct manifest *m, uint64_t tensor,
                struct err *err) MUST_USE;

/* Adds the operations of one wanted entry (its slabs in local order). 0, or
 * -CKPT_EPARTIAL, -CKPT_ECORRUPT, -ENOMEM with words. */
int plan_join(const struct stored *s, const struct slabs *wanted,
              uint32_t request, uint32_t entry, struct plan_draft *d,
              struct err *err) MUST_USE;

#endif
