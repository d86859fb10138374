/*
 * reader.h - one chunk from where its newest good copy is, verified.
 *
 * Sources in order: a slot of an arena that still holds it (slots.h: memory),
 * the local store's segment, and the remote tier, if the caller names one
 * (remote_read.h). A copy that fails is logged in words and the next is tried.
 * Whoever skips the first two is told of the third alone.
 */
#ifndef CKPTD_READER_H
#define CKPTD_READER_H

#include "ckptd/engine/engine.h"
#include "ckptd/engine/remote_read.h"
#include "formats/manifest.h"

/*
 * The caller allocates (zeroed) and fills the upper part. `slot` is
 * page-aligned memory of chunk_extent_bytes(raw_bytes) at least; when done() is
 * called with 0, the chunk's raw bytes are at slot + PAGE_BYTES. An encoded
 * chunk needs two of the environment's buffers in between (chunk_read_buffers
 * tells), held by the caller from begin to done. done() is never called from
 * inside chunk_read_begin().
 *
 * Failures, with words that name step, rank, tensor, and of each copy file,
 * offset and cause: -CKPT_ECORRUPT, -EIO (also: the segment is gone, truncated,
 * or on another node). Others say nothing of the checkpoint: there was no
 * memory, or a home with a copy did not answer.
 */
struct chunk_read {
    struct engine *engine;
    const struct manifest *manifest;
    uint64_t chunk;
    void *slot;
    void *buffer[2];
    /* The extent as it lies in the local store is wanted, header page and all:
     * at `slot`, checked, not decoded (so without buffers). */
    bool as_stored;
    bool skip_memory;      /* read the media even if memory has it */
    struct remote *remote; /* NULL: what is here counts alone */
    bool skip_local;       /* and with it: what is there does */
    void (*done)(struct chunk_read *r, int result);
    void *owner;
    /* Out: */
    uint64_t read_bytes; /* from media */
    bool is_remote;      /* it was read from the remote tier */
    bool is_bad_here;    /* the copy in this store is, or is gone */
    bool is_bad_there;   /* and that in the remote tier */
    struct err err;
    /* reader.c's own: */
    struct env_job job;
    struct store_req req;
    char file[256];
    struct segment *segment;
    struct slots *cached;
    uint32_t cached_index;
    int result;
    bool is_file_lost; /* what failed is true of all of the file */
    struct remote_read fetch;
};

void chunk_read_begin(struct chunk_read *r);

/* How many buffers reading this chunk takes: 0 or 2. */
uint32_t chunk_read_buffers(const struct manifest *m, uint64_t chunk);

/* Read every chunk of a save that is in this daemon's store from the media,
 * `depth` (1 to 8) at a time and at most rate_bytes_s (0: as fast as it goes),
 * and let the bytes go. Given `remote` it is daemon `share`'s copies there that
 * are read instead. The manifest and `remote` stay the caller's. done() once,
 * not from inside, with the first failure. */
struct read_back_plan {
    const struct manifest *manifest;
    struct remote *remote; /* NULL: the local store */
    struct id128 share;
    uint32_t depth;
    double rate_bytes_s;
    void (*done)(void *arg, int result, const struct err *err);
    void *arg;
};

struct read_back;
struct read_back *read_back_begin(
    struct engine *engine,
    const struct read_back_plan *plan) MUST_USE; /* NULL: no memory */
/* Start no more reads, or go on. */
void read_back_rest(struct read_back *b, bool rests);
/* End early, whatever the clock does: done() follows with -ECANCELED, unless
 * it failed before. */
void read_back_cancel(struct read_back *b);

#endif
