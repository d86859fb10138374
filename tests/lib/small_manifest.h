/*
 * small_manifest.h - the manifest of a job of two ranks that has one of each:
 * halves of a matrix, a fused weight in two boxes, a flat cut, a replicated
 * scalar, an empty tensor, a reserved one, values and notes. What does not go
 * well ends the test.
 */
#ifndef TESTS_LIB_SMALL_MANIFEST_H
#define TESTS_LIB_SMALL_MANIFEST_H

#include "formats/manifest.h"

extern const struct layout small_layout; /* dp=2 */

/* Of step 500 in generation 2; kind as in the header. */
struct manifest_info small_info(uint32_t kind);
/* A rank with these entries, whose chunks are raw, every third one reused from
 * an older segment; what manifest_add_rank() says. */
int small_add_rank(struct manifest_builder *b, uint32_t rank,
                   const struct entry *entries, size_t count, struct err *err);
/* The job's manifest, or the vote of some of its ranks, in that order; free()
 * *data. */
void small_make(uint32_t kind, const uint32_t *ranks, size_t count, void **data,
                size_t *bytes);

#endif
