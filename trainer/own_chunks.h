/*
 * own_chunks.h - the chunks of one save that are only digested: blocks of
 * replicas that other ranks write (formats/checklist.h). They follow those of
 * the write list in number and are captured like them.
 */
#ifndef TRAINER_OWN_CHUNKS_H
#define TRAINER_OWN_CHUNKS_H

#include "formats/checklist.h"
#include "trainer/capture_map.h"

struct own_chunks {
    struct checklist check;
    uint32_t *order;    /* of all chunks of the save; NULL: the map's */
    uint32_t now_count; /* of all chunks: how many come first, for NOW */
};

/* trust NULL: none. -ENOMEM, -EFBIG with words, and nothing is held. */
int own_chunks_init(struct own_chunks *o, const struct capture_map *map,
                    const struct trust *trust, struct err *err) MUST_USE;
void own_chunks_fini(struct own_chunks *o);

static inline uint32_t own_chunks_at(const struct own_chunks *o,
                                     const struct capture_map *map,
                                     uint32_t position)
{
    return o->order ? o->order[position] : map->order[position];
}

/* As capture_chunk(), for any chunk of the save. Without the lock. */
void own_chunks_capture(const struct own_chunks *o,
                        const struct capture_map *map, uint32_t chunk,
                        void *const *data, uint8_t *slot);

#endif
