/*
 * boxtree.h - which of many slabs overlap a given one.
 *
 * A balanced tree of bounding boxes over slabs, split at the median of the
 * dimension along which they lie furthest apart. Rows, columns, experts and
 * flat cuts of any of them are found alike: building costs n log n, a query
 * about log n plus what it finds. With it stands the search for the first
 * element that none of some disjoint slabs holds.
 */
#ifndef FORMATS_BOXTREE_H
#define FORMATS_BOXTREE_H

#include "formats/region.h"

struct boxtree_node {
    uint32_t first, count; /* of `order`; count 0: not a leaf */
    uint32_t child;        /* and child + 1 */
};

struct boxtree {
    const struct slab *slab; /* the caller's; they outlive the tree */
    uint32_t *order;
    struct boxtree_node *node;
    uint64_t *bound; /* of node i: 2 * ndim from 2 * ndim * i, from then to */
    uint32_t ndim, node_count;
};

/* Over non-empty slabs. -EFBIG with 2^31 slabs or more, -ENOMEM. */
int boxtree_build(const struct slab *slabs, size_t count, uint32_t ndim,
                  struct boxtree *out) MUST_USE;
void boxtree_free(struct boxtree *t);

/* Called for each slab that shares an element with the query; an answer other
 * than 0 ends the query with it. */
typedef int boxtree_visit(void *context, uint32_t slab);

int boxtree_query(const struct boxtree *t, const struct slab *query,
                  boxtree_visit *visit, void *context) MUST_USE;

/* The first element in row-major order of `within` (not empty) that none of
 * the slabs holds; they overlap `within` and share no element of it with each
 * other. Units. 1: found, 0: there is none, -ENOMEM. */
int slabs_first_hole(const struct slab *within, const struct slab *const *slabs,
                     size_t count, uint32_t ndim,
                     uint64_t hole[MAX_DIMS]) MUST_USE;

#endif
