/*
 * hash.h - the two checksums. XXH3 in both widths; neither authenticates.
 */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include "common/util.h"

#include <string.h>

/* XXH3-128 in its canonical (big-endian) form. */
struct digest {
    uint8_t b[16];
};

static inline bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

struct digest hash_128(const void *data, size_t bytes);
uint64_t hash_64(const void *data, size_t bytes);
/* XXH64 with seed 0, as named by the rule that spreads small replicas. */
uint64_t hash_xxh64(const void *data, size_t bytes);

#endif
