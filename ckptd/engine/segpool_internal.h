/*
 * segpool_internal.h - what segpool*.c and seg_writer.c share.
 */
#ifndef CKPTD_SEGPOOL_INTERNAL_H
#define CKPTD_SEGPOOL_INTERNAL_H

#include "ckptd/engine/segpool.h"

#define SEGMENT_FILE_BYTES 64

/* One save's claim on a segment. */
struct segment_ref {
    struct id128 run;
    struct save_id save;
    struct id128 segment; /* the incarnation that it means */
};

struct segment {
    struct list link; /* pool.segments, in the order they were seen */
    struct segment *hash_next;
    struct segpool *pool;
    char file[SEGMENT_FILE_BYTES];
    uint32_t number; /* of the file */
    enum segment_state state;
    bool is_doomed; /* a write failed: unlink instead of FREE */
    bool is_unlinking;
    int unread;      /* UNKNOWN because its header could not be read: why */
    struct id128 id; /* incarnation; zero: none */
    struct id128 run;
    uint64_t size_bytes, used_bytes;
    struct segment_ref *ref;
    size_t ref_count, ref_capacity;
    struct store_seg *seg; /* open: its writer's, or cached for reading */
    bool is_opening, is_sharing, is_closing; /* of the handle */
    struct store_req close; /* no memory must be needed to let go of it */
    uint32_t reader_count;
    struct list waiting; /* struct getter, until it is known or open */
    uint64_t waiting_since_ns;
    struct list idle_link; /* pool.idle: open, without readers */
};

#define SEGMENT_BUCKETS 1024 /* a power of two */

struct segpool {
    struct env *env;
    struct list segments;
    struct segment *bucket[SEGMENT_BUCKETS]; /* by number */
    struct list looks; /* segpool_scan.c: segments on their way from UNKNOWN */
    struct list idle;  /* oldest first */
    uint32_t idle_count;
    /* Writers for which everything FREE is being unlinked (seg_reserve.c). */
    struct list squeezers;
    uint32_t next_number;
    struct id128 *known_run;
    size_t known_count, known_capacity;
    /* One save's worth: what the writers of the newest save reserved. */
    struct save_id spare_save;
    uint64_t spare_bytes;
    bool is_stopping;
    uint32_t pending; /* requests of the pool's own under way */
};

/* Moves along the table in segpool.h; asserts that the move is allowed. */
void segment_move(struct segment *s, enum segment_state to);
struct segment *segment_new(struct segpool *pool, uint32_t number);
struct segment *segment_by_file(const struct segpool *pool, const char *file,
                                size_t bytes);
int segment_ref_add(struct segment *s, const struct id128 *run,
                    const struct save_id *save,
                    const struct id128 *segment) MUST_USE;
/* s->id was just read: claims on another incarnation are logged and dropped. */
void segment_refs_judge(struct segment *s);
bool segpool_knows_run(const struct segpool *pool, const struct id128 *run);
/* After references, readers or states changed: HELD without references to
 * FREE, doomed ones unlinked, FREE ones beyond the spare unlinked. Of all
 * segments, or when only one has changed. Frees no segment from inside. */
void segpool_settle(struct segpool *pool);
void segment_settle(struct segment *s);
/* Its handle is open and nobody uses it: cached, up to a number of them. */
void segment_idle(struct segment *s);
/* Close a cached handle that nobody reads (FREE segments, or too many). */
void segment_drop_handle(struct segment *s);
/* Serve those who waited for `s` to become known. */
void segment_known(struct segment *s);
/* Unlink now; the segment is gone from the pool when done() is called. */
void segment_unlink(struct segment *s);
/* The name of the file with that number. */
void segment_file(char file[SEGMENT_FILE_BYTES], uint32_t number);
/* segpool_scan.c: look once more at one that could not be read. */
void segment_look(struct segment *s);
/* segpool_scan.c: end the looks that wait. */
void segpool_scan_stop(struct segpool *pool);
/* seg_reserve.c: something was closed or unlinked; squeezers may go on. */
void seg_reserve_squeezed(struct segpool *pool);

#endif
