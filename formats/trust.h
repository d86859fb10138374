/*
 * trust.h - what a save is asked to find out about its own bytes.
 *
 * Divergence: replicas of a region should hold equal bytes. Those that are
 * compared are digested by every holder, in blocks of the packed order. A
 * rotating sample takes every TRUST_PERIOD-th block, another one at each save,
 * so that every block has its turn in as many saves.
 *
 * Freshness: the optimizer's state should have changed since an earlier step.
 * It is told by name, and only tensors of more than one element count: a
 * counter of steps would hide that the rest stands still.
 *
 * Patterns are comma-separated globs: '*' for any characters, '?' for one.
 */
#ifndef FORMATS_TRUST_H
#define FORMATS_TRUST_H

#include "formats/table.h"

/* The values are those of the public header. */
enum trust_check {
    TRUST_SAMPLE = 0,
    TRUST_ALL = 1,
    TRUST_OFF = 2,
};

enum trust_verdict {
    TRUST_WARN = 0,
    TRUST_FAIL = 1,
    TRUST_IGNORE = 2, /* freshness only: not looked at */
};

#define TRUST_PERIOD          16
#define TRUST_PATTERNS_BYTES  1024
#define TRUST_OPTIMIZER_NAMES "optim*"

struct trust {
    uint32_t replica_check; /* enum trust_check */
    uint32_t on_divergence; /* enum trust_verdict, not IGNORE */
    uint32_t on_stale;      /* enum trust_verdict */
    uint32_t rotation;      /* whose turn it is */
    char replica_allow[TRUST_PATTERNS_BYTES];   /* may differ: not compared */
    char optimizer_names[TRUST_PATTERNS_BYTES]; /* of its state */
};

/* Does one of the patterns match the whole name? "" matches nothing. */
bool trust_matches(const char *patterns, const char *name);

/* Are replicas of this entry compared by anybody, at some save? */
bool trust_compares(const struct trust *t, const struct entry *e);
/* Is it the optimizer's, and looked at? */
bool trust_is_optimizer(const struct trust *t, const struct entry *e);
/* Is it the turn of block `index` of an entry with this XXH3-64 of its name? */
bool trust_takes_block(const struct trust *t, uint64_t name_hash,
                       uint64_t index);

#endif
