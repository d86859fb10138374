/*
 * segpool.h - the segments of the local store.
 *
 *   UNKNOWN -> FREE | HELD          found at start, lock obtained, header read
 *                                   (one that cannot be read stays UNKNOWN)
 *   FREE -> TAKEN                   for a save: new id durable in the header
 *   TAKEN -> HELD                   sealed: synced, lock shared
 *   TAKEN -> FREE                   nothing of it was voted for
 *   HELD -> FREE                    nothing references it any more
 *   FREE -> HELD                    referred to after all, and still itself
 *   TAKEN, HELD -> POISONED         a write or sync failed; never used again
 *
 * HELD segments are referenced by committed saves (counted per save) or by
 * undecided ones, or belong to a home that is not attached or readable; only
 * when the last reference is gone is one FREE. At most one save's worth of FREE
 * segments is kept, the rest is unlinked. Segments of a dead process are not
 * touched, nor read, before their lock is had (retried by timer).
 */
#ifndef CKPTD_SEGPOOL_H
#define CKPTD_SEGPOOL_H

#include "ckptd/engine/env.h"
#include "formats/manifest.h"

#include <errno.h>

struct segpool;
struct segment;
struct seg_writer;

#define SEGMENT_BYTES_MAX ((uint64_t)256 << 20)

enum segment_state {
    SEGMENT_UNKNOWN,
    SEGMENT_FREE,
    SEGMENT_TAKEN,
    SEGMENT_HELD,
    SEGMENT_POISONED,
    SEGMENT_STATES,
};

typedef void (*segpool_fn)(void *arg, int result, const struct err *err);

/* List and read all segment headers; done when all are known or are waiting
 * for a lock (those become known later by themselves). */
void segpool_open(struct env *env, struct segpool **out, segpool_fn done,
                  void *arg);
/* Closes cached handles and ends the scan; who waits for a lock of a dead
 * writer gets -EAGAIN. Then segpool_is_busy() turns false by and by, without
 * the clock, and segpool_close() may be called (no writer or reader open). */
void segpool_stop(struct segpool *pool); /* these two and close take NULL */
bool segpool_is_busy(const struct segpool *pool);
void segpool_close(struct segpool *pool);

typedef void (*seg_writer_open_fn)(void *arg, int result, struct seg_writer *w,
                                   const struct err *err);

/*
 * A save's segments. Reserves room for extents of `bytes` in all, none over
 * `largest_extent`; new segments are fallocated, recycled ones preferred,
 * headers durable; then done(). -ENOSPC/-EDQUOT with words and nothing kept.
 * `base` gives home, run and save. Callbacks of this module may come from
 * inside the call when there is nothing to wait for.
 */
void seg_writer_open(struct segpool *pool, const struct segment_header *base,
                     uint64_t bytes, uint64_t largest_extent,
                     seg_writer_open_fn done, void *arg);

struct seg_place {
    struct store_seg *seg; /* for STORE_WRITE */
    struct id128 segment;
    char file[64];   /* name in the local store */
    uint64_t offset; /* of the extent */
    uint32_t number; /* of the chunk in the segment */
    uint32_t index;  /* of the segment in the writer, for seg_failed */
};

/* Room for one extent; never fails within what was reserved (-ENOSPC). */
int seg_writer_place(struct seg_writer *w, uint64_t extent_bytes,
                     struct seg_place *out) MUST_USE;
/* A write to it failed, which poisons it: it is unlinked in the end, never used
 * again. To be told whatever else becomes of the save. */
void seg_writer_doom(struct seg_writer *w, uint32_t index);
/* That, and nothing more is placed there; it is neither synced nor kept. The
 * caller places again what failed and all that was written to it before. done()
 * says whether room in the stead of all that failed could be had. May be called
 * again while another answer is still to come. */
void seg_writer_failed(struct seg_writer *w, uint32_t index, segpool_fn done,
                       void *arg);
/* Give back what is not used, sync every segment that was written to. No write
 * is in flight. On failure that segment is poisoned and the result says so. */
void seg_writer_sync(struct seg_writer *w, segpool_fn done, void *arg);
/* The end. keep: they are HELD on behalf of save `id` (voted); else FREE. */
void seg_writer_close(struct seg_writer *w, bool keep);

/* References. An undecided save's own segments are held by its writer's close
 * with keep; on COMMIT segpool_commit() adds the manifest's; segpool_release()
 * drops all that run/save held.
 *
 * segpool_commit() takes all the segments of this store that it can, and tells
 * of the first that is gone: -ENOENT when there is no such file, -CKPT_ECORRUPT
 * when it holds another incarnation, or its header could not be read (then it
 * is held for it all the same). SEGPOOL_UNJUDGED (above 0): some are still
 * UNKNOWN; they are held for it until they turn out to be others, and calling
 * again tells. -ENOMEM: not all were taken, call again. */
#define SEGPOOL_UNJUDGED 1
int segpool_commit(struct segpool *pool, const struct id128 *run,
                   const struct manifest *m, struct err *err) MUST_USE;
/* Does this result of it say that data is gone? */
static inline bool segpool_has_lost(int result)
{
    return result == -ENOENT || result == -CKPT_ECORRUPT;
}
void segpool_release(struct segpool *pool, const struct id128 *run,
                     const struct save_id *id);
/* All saves of this run of this home are accounted for (attach is complete):
 * HELD segments of it without references become FREE. */
void segpool_run_known(struct segpool *pool, const struct id128 *run);

/* Live share of each file of `m` as `m` references it: referenced extents /
 * allocated bytes, 0..1, for compaction (rewrite when below 0.5). `live` has
 * room for m->file_count; files of other stores get 0. Linear in locations. */
void segpool_live(const struct segpool *pool, const struct manifest *m,
                  double *live);

/*
 * Open for reading (shared lock), cached. done() may come from inside. Waits
 * while a dead writer may still hold the segment, but SEGPOOL_LOCK_WAIT_NS at
 * most: then -EAGAIN. -ENOENT when there is no such file; -CKPT_ECORRUPT when
 * it holds another incarnation; what reading its header said, if that cannot be
 * read now either. segpool_put() when done; the segment stays until then.
 */
#define SEGPOOL_LOCK_WAIT_NS ((uint64_t)30 * 1000 * 1000 * 1000)
typedef void (*segpool_get_fn)(void *arg, int result, struct segment *s,
                               const struct err *err);
void segpool_get(struct segpool *pool, const char *file,
                 const struct id128 *segment, segpool_get_fn done, void *arg);
void segpool_put(struct segment *s);
/* What STORE_READ needs, between get and put. */
struct store_seg *segpool_handle(const struct segment *s);

struct segpool_stats {
    uint64_t allocated_bytes, free_bytes, referenced_bytes, poisoned_bytes;
    uint64_t unopened_bytes; /* HELD, of runs that nobody has opened here */
    uint32_t count[SEGMENT_STATES];
};
void segpool_stats(const struct segpool *pool, struct segpool_stats *out);

#endif
