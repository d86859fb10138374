/*
 * world.h - a whole save in memory, for tests of formats/: from tables and
 * buffers of some ranks to an open manifest and the raw bytes of its chunks.
 */
#ifndef TESTS_LIB_WORLD_H
#define TESTS_LIB_WORLD_H

#include "formats/manifest.h"

struct world_rank {
    const struct entry *entries;
    size_t count;
    const uint8_t *const *local;    /* one per entry; NULL: all zero bytes */
    const uint64_t *const *strides; /* one per entry; NULL: all dense */
};

struct world {
    struct manifest m;
    void *media;     /* what m points into */
    uint8_t **chunk; /* raw bytes of the manifest's chunk i */
    uint64_t chunk_count;
};

/* Runs writelist, gather, manifest_write and manifest_open. The world is to be
 * freed in any case. A code with words where one of them fails. */
int world_save(struct world *w, const struct world_rank *ranks, uint32_t count,
               uint32_t chunk_bytes, struct err *err) MUST_USE;
void world_free(struct world *w);

#endif
