/*
 * capture_map.h - everything about a save that follows from its descriptors
 * alone, kept from save to save: the table, the write list, how each entry's
 * packed bytes lie in its buffer, and which chunks are copied first.
 */
#ifndef TRAINER_CAPTURE_MAP_H
#define TRAINER_CAPTURE_MAP_H

#include "formats/writelist.h"
#include "trainer/descriptors.h"

struct map_entry {
    bool is_plain; /* packed bytes are the buffer's, in its order */
    bool is_now;
    struct slabs local, packed; /* unless plain, or never read */
};

struct capture_map {
    uint32_t references; /* lock of the context */
    struct digest key;   /* of descriptors, strides and capture classes */
    uint32_t chunk_bytes;
    struct wr encoded; /* the table, as it is sent */
    struct table table;
    struct map_entry *entry;
    struct writelist list;
    uint32_t *order;    /* chunks, those with a CAPTURE_NOW piece first */
    uint32_t now_count; /* how many those are */
};

/* The map for these descriptors (and this trust, the same for all saves of a
 * context): `old` (may be NULL) again when it is the same,
 * else a new one. Either way the caller gets a reference of its own. -ENOMEM,
 * -EFBIG, -E2BIG with words. Called without the lock, `old` is the caller's. */
int capture_map_make(struct capture_map *old, const struct descriptors *d,
                     const struct ckpt *ctx, uint32_t chunk_bytes,
                     struct capture_map **out, struct err *err) MUST_USE;
/* Lock held. Takes NULL. */
void capture_map_put(struct capture_map *map);

/* Fill `raw_bytes` of a slot with chunk `chunk`; data is parallel to the
 * table's entries. Without the lock. */
void capture_chunk(const struct capture_map *map, uint32_t chunk,
                   void *const *data, uint8_t *slot);

/* Packed bytes [start, start + bytes) of an entry that this rank writes, or
 * whose replicas are compared. Without the lock. */
void capture_piece(const struct capture_map *map, uint32_t entry,
                   void *const *data, uint64_t start, uint32_t bytes,
                   uint8_t *to);

#endif
