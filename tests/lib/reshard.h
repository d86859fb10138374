/*
 * reshard.h - random tensors, random layouts of them, and the slow reference.
 *
 * The reference knows nothing of units, slabs or packed order: a tensor is an
 * array of element values, and a buffer is filled element by element, each one
 * found by counting through its box.
 */
#ifndef TESTS_LIB_RESHARD_H
#define TESTS_LIB_RESHARD_H

#include "formats/table.h"

#define RESHARD_RANKS_MAX   6
#define RESHARD_TENSORS_MAX 4

struct random {
    uint64_t state;
};

uint64_t random_next(struct random *r);
/* Below n; n > 0. */
uint64_t random_below(struct random *r, uint64_t n);

struct tensor {
    char name[32];
    struct geometry geometry;
    uint64_t elements;
    uint64_t *value; /* one per element, row-major */
};

void tensor_random(struct random *r, uint32_t number, struct tensor *out);
void tensor_free(struct tensor *t);

/* A rank's entries, with what belongs to each. Memory that runs out ends the
 * test. */
struct share {
    struct entry *entry;
    uint64_t **strides;
    uint8_t **local;
    uint64_t *local_bytes;
    uint32_t *tensor; /* number */
    size_t count;
};

struct shares {
    struct share rank[RESHARD_RANKS_MAX];
    uint32_t rank_count;
};

/* Covers every tensor exactly once (replicas apart), in some random way. */
void shares_cover(struct random *r, const struct tensor *tensors,
                  uint32_t tensor_count, struct shares *out);
/* Wants something of the tensors, in any way that is legal. */
void shares_want(struct random *r, const struct tensor *tensors,
                 uint32_t tensor_count, struct shares *out);
/* Adds a region to a rank's share: boxes are copied. */
void share_add(struct share *s, const struct tensor *t, uint32_t tensor,
               const struct region *region, const uint32_t replica[2]);
void share_remove(struct share *s, size_t entry);
void shares_free(struct shares *s);

/* Allocates all buffers, filled with `fill`, and puts the tensors' elements in
 * where they belong. */
void shares_fill(struct shares *s, const struct tensor *tensors, uint8_t fill);

/* Whether element (row-major number) is in the region. */
bool region_has(const struct tensor *t, const struct region *region,
                uint64_t element);

#endif
