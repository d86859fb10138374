/*
 * reader.h - one chunk from where its newest good copy is, verified.
 *
 * Sources in order: a slot of an arena that still holds it (slots.h: memory),
 * the local store's segment. A copy that fails is reported in words and the
 * next is tried.
 */
#ifndef CKPTD_READER_H
#define CKPTD_READER_H

#include "ckptd/engine/env.h"
#include "formats/manifest.h"

struct engine;

/*
 * The caller allocates and fills the upper part. `slot` is page-aligned memory
 * of chunk_extent_bytes(raw_bytes) at least, the chunk's raw bytes are at
 * slot + PAGE_BYTES when done() is called with 0. For an encoded chunk a buffer
 * of the environment is used in between; while none is free it waits.
 */
struct chunk_read {
    struct engine *engine;
    const struct manifest *manifest;
    uint64_t chunk;
    void *slot;
    bool skip_memory; /* read the media even if memory has it */
    void (*done)(struct chunk_read *r, int result);
    void *owner;
    /* Out: */
    uint64_t read_bytes; /* from media */
    struct err err;
    /* reader.c's own: */
    struct env_job job;
    struct store_req req;
    struct store_seg *seg;
    struct list link;
    void *buffer;
    uint32_t stage;
};

void chunk_read_begin(struct chunk_read *r);

/* Read every chunk of a save that `only_written` (by this very save) or all,
 * at most `depth` at a time, discarding the bytes. progress may be NULL. */
void manifest_read_back(struct engine *engine, const struct manifest *m,
                        bool only_written, uint32_t depth,
                        void (*done)(void *arg, int result,
                                     const struct err *err),
                        void *arg);

#endif
