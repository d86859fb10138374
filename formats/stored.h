/*
 * stored.h - some stored regions of one tensor of a manifest as slabs, in
 * packed order, with a tree over them: what planner and coverage join on.
 *
 * Used again and again for one tensor after another, so that its memory grows
 * to the largest. What it takes from the manifest it checks once more as far as
 * arithmetic depends on it: -CKPT_ECORRUPT with words that name the tensor.
 */
#ifndef FORMATS_STORED_H
#define FORMATS_STORED_H

#include "formats/boxtree.h"
#include "formats/manifest.h"

struct stored {
    const struct manifest *m;
    uint64_t tensor;
    struct geometry geometry;
    uint32_t unit_bytes;
    struct slab *slab; /* base: unit of the region's packed order */
    uint64_t *region;  /* slab i is of region[i] of the manifest */
    size_t count, capacity;
    struct boxtree tree;
    struct box *boxes;
    size_t box_capacity;
};

/* Empty, for `tensor`; a zeroed struct or one that was used before. */
void stored_begin(struct stored *s, const struct manifest *m, uint64_t tensor);
/* Packed bytes [start, start + bytes) of a region of that tensor. */
int stored_add(struct stored *s, uint64_t region, uint64_t start,
               uint64_t bytes, struct err *err) MUST_USE;
/* After the last one, before queries of s->tree. */
int stored_index(struct stored *s, struct err *err) MUST_USE;
/* As slabs_first_hole(), among those that overlap `within`. */
int stored_first_hole(const struct stored *s, const struct slab *within,
                      uint64_t hole[MAX_DIMS]) MUST_USE;
void stored_free(struct stored *s);

/* "tensor NAME: " before the words in err; returns its code. */
int stored_prefix(const struct stored *s, struct err *err);

#endif
