/*
 * manifest_words.c - what hangs on a chunk, in words for people.
 */
#include "formats/manifest.h"

#include <inttypes.h>
#include <stdio.h>

#define NAMED_MOST 4

void manifest_chunk_words(const struct manifest *m, uint64_t chunk, char *text,
                          size_t capacity)
{
    size_t used = 0;
    uint32_t count = 0;

    text[0] = '\0';
    for (uint64_t i = 0; i < m->piece_count && used < capacity; i++) {
        const struct mf_piece *p = &m->piece[i];
        const struct mf_tensor *x;

        if (p->chunk != chunk)
            continue;
        if (count++ >= NAMED_MOST) {
            (void)snprintf(text + used, capacity - used, ", ...");
            return;
        }
        x = &m->tensor[m->region[p->region].tensor];
        used += (size_t)snprintf(
            text + used, capacity - used,
            "%stensor %.*s bytes %" PRIu64 "-%" PRIu64 " of rank %u's part",
            used ? ", " : "", (int)x->name_bytes, m->blob + x->name,
            p->region_start, p->region_start + p->bytes,
            m->region[p->region].rank);
    }
}
