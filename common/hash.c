/*
 * hash.c - see hash.h; the work is libxxhash's.
 */
#include "common/hash.h"

#include <xxhash.h>

struct digest hash_128(const void *data, size_t bytes)
{
    struct digest out;
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, bytes));
    memcpy(out.b, canonical.digest, sizeof out.b);
    return out;
}

uint64_t hash_64(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t hash_xxh64(const void *data, size_t bytes)
{
    return XXH64(data, bytes, 0);
}
