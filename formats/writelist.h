/*
 * writelist.h - which bytes a rank writes, and in which chunks.
 *
 * A pure function of (table, chunk_bytes); the trainer library and the daemon
 * both compute it, so it never travels.
 *
 * Which part: of replica_count > 1 equal regions, one of at least
 * replica_count * 1 MiB is written in slices (replica i writes the i-th slice,
 * cut at multiples of chunk_bytes of the packed order, as even as that
 * allows, empty ones included); a smaller one is written whole by replica
 * XXH64(name, region) mod count (region: its encoded bytes, as in table.h).
 *
 * Chunks: entries in table order. One whose written part is at least
 * chunk_bytes starts a chunk of its own and is cut every chunk_bytes; smaller
 * ones share chunks, also the tail of a larger one. Each piece starts at a
 * multiple of PIECE_ALIGN in its chunk; the gaps are zero and belong to the
 * chunk's raw bytes. No chunk is empty.
 */
#ifndef FORMATS_WRITELIST_H
#define FORMATS_WRITELIST_H

#include "formats/table.h"

#define PIECE_ALIGN         ((uint64_t)64)
#define CHUNK_BYTES_DEFAULT ((uint32_t)2 << 20)
#define CHUNK_BYTES_MIN     ((uint32_t)64 << 10)
#define CHUNK_BYTES_MAX     ((uint32_t)4 << 20)
#define REPLICA_SLICE_BYTES ((uint64_t)1 << 20)
/* A rank writes at most so many pieces: 32 TiB of large tensors. A table of a
 * few bytes may claim any size, and all of this is allocated for it. */
#define WRITELIST_PIECES_MAX ((uint64_t)1 << 24)

struct wl_piece {
    uint64_t region_start; /* byte in the entry's packed order */
    uint32_t entry;
    uint32_t chunk;
    uint32_t chunk_start; /* byte in the chunk */
    uint32_t bytes;
};

struct wl_chunk {
    uint32_t first_piece, piece_count;
    uint32_t raw_bytes;
    uint32_t unit_bytes; /* of most of its bytes: for byte planes */
};

/* Of each entry: packed bytes [start, start + bytes) are written here. */
struct wl_slice {
    uint64_t start, bytes;
    uint64_t packed_bytes; /* of the whole region */
    uint32_t first_piece, piece_count;
};

struct writelist {
    struct wl_piece *piece;
    struct wl_chunk *chunk;
    struct wl_slice *slice; /* one per entry */
    size_t piece_count, chunk_count, slice_count;
    uint64_t bytes;     /* of all written slices */
    uint64_t raw_bytes; /* of all chunks */
};

/* The table was checked; chunk_bytes is a power of two in the bounds above.
 * -EFBIG with more than WRITELIST_PIECES_MAX pieces, -ENOMEM. */
int writelist_build(const struct entry *entries, size_t count,
                    uint32_t chunk_bytes, struct writelist *out) MUST_USE;
/* What writelist_build() would allocate for the list; the same failures. */
int writelist_bytes(const struct entry *entries, size_t count,
                    uint32_t chunk_bytes, uint64_t *out) MUST_USE;
void writelist_free(struct writelist *w);

#endif
