/*
 * save_internal.h - what the save_*.c files share.
 *
 *   save.c           requests of ranks
 *   save_life.c      one save from its beginning to its decision
 *   save_overload.c  when it may begin
 *   save_part.c      one rank's part: room, slots, staged, synced, ended
 *   save_pipeline.c  chunks through the workers
 *   save_write.c     chunks onto the local store, and what a failed write takes
 *   save_reuse.c     the base, and which chunks of it are referred to
 *   save_trust.c     replicas and freshness: blocks, comparison, their rows
 *   save_vote.c      the vote
 *   save_gone.c      ranks that leave, and who is waited for
 */
#ifndef CKPTD_SAVE_INTERNAL_H
#define CKPTD_SAVE_INTERNAL_H

#include "ckptd/engine/save.h"
#include "formats/checklist.h"

/* No rank is held longer by a home that does not answer: its save goes on
 * without the intent, which only the vote waits for, and an ABORT is told while
 * it is being published. */
#define SAVE_HOLD_MS 100
/* Chunks under way (digest, codec, write) in a daemon: more than a drive takes
 * at once, so that it is not left waiting for digests. */
#define SAVE_OPS_MAX 32
/* Aborts that were told and are not on record yet; with so many the home takes
 * no more saves of this run. */
#define SAVE_TOLD_MAX 16
/* Segments of one part that may fail before the save is given up. */
#define SAVE_SEGMENT_FAILURES_MAX 4
/* Aborted saves that are remembered per run for ranks that come late. */
#define SAVE_REMEMBERED_MAX 64
/* A base's segment with less alive than this is rewritten. */
#define SAVE_LIVE_MIN 0.5
/* A codec's sample: see codec_sample(). */
#define SAVE_SAMPLE_BYTES (((size_t)64 << 10) + 64)

enum save_phase {
    SAVE_WAITING,
    SAVE_OPENING,
    SAVE_RUNNING,
    SAVE_VOTED,
    SAVE_ABORTING,
    SAVE_DONE,
    SAVE_PHASES,
};

enum part_phase {
    PART_WAITING,
    PART_RESERVING,
    PART_TAKING,
    PART_SYNCING,
    PART_SYNCED,
    PART_ENDED,
    PART_PHASES,
};

enum chunk_state {
    CHUNK_EXPECTED,
    CHUNK_QUEUED,
    CHUNK_ACTIVE,
    CHUNK_DONE,
};

#define NO_CHUNK UINT32_MAX

/* One chunk of a part; there may be many, so it is small. */
struct part_chunk {
    struct digest content;
    uint64_t offset, stored_digest;
    uint32_t where;  /* reused: chunk of the base; else index of a segment */
    uint32_t number; /* in the birth segment */
    uint32_t payload_bytes;
    uint32_t slot;
    uint32_t next; /* QUEUED: the one behind it, or NO_CHUNK */
    uint8_t codec, codec_param;
    uint8_t state; /* enum chunk_state */
    bool is_reused;
};

/* A segment that this part writes to, by its index in the writer. */
struct part_segment {
    struct id128 id;
    char file[64];
    bool is_failed;     /* what was written to it is lost */
    bool needs_replace; /* the writer has yet to be told */
};

struct save_part {
    struct list link; /* save.parts */
    struct save *save;
    struct session *session; /* NULL: gone */
    struct slots *slots;     /* one use; NULL without an arena, or ENDED */
    enum part_phase phase;
    uint32_t rank;
    uint32_t coordinate[MAX_AXES];
    enum codec codec;
    bool is_codec_sampled; /* AUTO: only where it pays */
    uint64_t number;       /* in the session; owner of its slots */
    uint64_t request_id;   /* of SAVE */
    bool is_answered;
    bool is_staged;
    struct rank_table *table; /* one reference; NULL when ENDED */
    struct values values;
    struct seg_writer *writer;
    bool is_short_of_room;  /* RESERVING: until the timer asks for it again */
    uint64_t room_until_ns; /* so long; 0: it was not short yet */
    struct env_timer room;
    struct part_chunk *chunk;
    uint32_t chunk_count, written_count; /* those behind are only digested */
    uint32_t granted_count, given_count, done_count;
    uint32_t queue_head, queue_tail;
    uint32_t active_count; /* operations in the pipeline */
    struct list ready;     /* save_pipeline: has chunks queued */
    struct part_segment *segment;
    uint32_t segment_count, failure_count;
    bool is_replacing;    /* seg_writer_failed() has yet to answer */
    int64_t base_rank;    /* index in the base's ranks, -1: no reuse */
    bool has_trust;       /* then the three below */
    uint32_t trust_flags; /* enum mf_trust_flags */
    struct checklist check;
    struct digest *block_digest; /* of each of its blocks */
};

struct save_base;
struct save_vote;

struct save {
    struct list link; /* run.saves, oldest first */
    struct engine *engine;
    struct run *run;
    uint32_t generation;
    uint64_t step;
    uint64_t sequence; /* grows in the order of beginning */
    enum save_phase phase;
    struct commit *commit; /* from OPENING until decided */
    struct save_id id;     /* attempt 0 until known */
    bool is_open;          /* its intent is on record: it may vote */
    bool is_voted, is_local, is_committed;
    bool is_refused;    /* it never began: the requests fail */
    bool is_refreshing; /* members_refresh() has yet to answer */
    struct err err;     /* of an abort; of a COMMIT code 0 and warnings */
    struct list parts;  /* struct save_part */
    struct env_timer deadline, retry, hold;
    struct save_base *base; /* NULL: nothing to refer to */
    struct save_vote *vote;
};

/* save_life.c */
struct save *save_new(struct session *s, uint64_t step);
void save_begin(struct save *v);
void save_abort(struct save *v, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);
void save_try_vote(struct save *v);
/* All ranks' bytes are on this daemon's drive. */
bool save_is_synced(const struct save *v);
void save_reap(struct run *run); /* free what nobody needs any more */
void save_part_ended(struct save *v);
void save_move(struct save *v, enum save_phase to);
static inline bool save_is_aborted(const struct save *v)
{
    return v->phase == SAVE_ABORTING ||
           (v->phase == SAVE_DONE && !v->is_committed);
}

/* save_overload.c: what a new save does to those before it; begins it, or
 * leaves it WAITING. */
void save_admit(struct save *v, uint32_t overload);
/* Begin those that need not wait any longer. */
void save_admit_waiting(struct run *run);

/* save_part.c */
/* trust: NULL when the rank asks for nothing. */
struct save_part *part_new(struct save *v, struct session *s,
                           struct rank_table *table, const struct trust *trust);
void part_free(struct save_part *p);
/* The save is open, or decided: answer the SAVE and go on. */
void part_open(struct save_part *p);
void part_answer(struct save_part *p);
void part_state(const struct save_part *p, enum wire_state_value state);
void part_refuse(struct save_part *p);
void part_move(struct save_part *p, enum part_phase to);
bool part_is_taking(const struct save_part *p);
/* Requests of it under way, or a writer that is open. */
bool part_is_in_flight(const struct save_part *p);
/* Something ended: sync when all is written, end when the save is over. */
void part_progress(struct save_part *p);
struct save_part *part_of_rank(const struct save *v, uint32_t rank);
struct save_part *part_of_session(const struct session *s, uint64_t number);

/* save_pipeline.c */
struct save_op;
void pipeline_push(struct save_part *p, uint32_t chunk);
void pipeline_forget(struct save_part *p);
void pipeline_run(struct engine *e);

/* save_write.c: between the pipeline and the store. */
struct save_op {
    struct env_job job;
    struct store_req req;
    struct list link; /* pipeline.idle */
    struct buffer_wait wait;
    struct engine *engine;
    struct save_part *part;
    uint32_t chunk, slot;
    void *extent; /* the slot: header page and raw bytes */
    uint32_t raw_bytes, unit_bytes;
    bool wants_sample, is_mismatch;
    double fraction;
    struct digest content, payload;
    size_t payload_bytes; /* encoded; 0: raw */
    struct seg_place place;
    struct chunk_header header;
    uint8_t sample[SAVE_SAMPLE_BYTES];
};
/* Place the chunk and write it, raw or from op->wait.buffer[0]. */
void save_write(struct save_op *op);
/* The end of an operation, whatever became of its chunk. */
void pipeline_op_ended(struct save_op *op);
/* The chunk is where it should be: its slot is CLEAN. */
void save_chunk_done(struct save_op *op, const struct id128 *segment,
                     uint32_t number);

/* save_reuse.c */
void base_choose(struct save *v);
void base_drop(struct save *v);
bool base_is_pending(const struct save *v);
bool base_is_of(const struct save *v, const struct save_id *id);
/* Which rank of the base has this part's table; once the base is there. */
void base_match(struct save_part *p);
/* Is this chunk there already? Its index in the base, or -1. */
int64_t base_find(struct save_part *p, uint32_t chunk,
                  const struct digest *content);
/* Birth segment and number of a chunk of the base. */
void base_origin(const struct save *v, uint32_t chunk, struct id128 *segment,
                 uint32_t *number);
const struct manifest *base_manifest(const struct save *v);
/* What the base says of this rank with this very table, and which save it is;
 * NULL. */
const struct mf_trust *base_trust(const struct save_part *p,
                                  struct save_id *id);

/* save_trust.c. After part_trust_init() failed, fini() all the same. */
int part_trust_init(struct save_part *p, uint32_t chunk_bytes,
                    const struct trust *trust) MUST_USE;
void part_trust_fini(struct save_part *p);
/* On a worker, while the chunk is under way: digests of its blocks. content:
 * of all of it, or NULL. */
void part_digest_blocks(struct save_part *p, uint32_t chunk, const uint8_t *raw,
                        uint32_t raw_bytes, const struct digest *content);
/* Compare the parts' replicas; vote_compared() follows unless -ENOMEM. */
struct save_compare;
int save_compare_begin(struct save *v, struct save_compare **out) MUST_USE;
void save_compare_free(struct save_compare *c);
/* A part's rows for the vote; *checks is malloc'd, also on -ENOMEM. */
int part_trust_rows(const struct save_compare *c, const struct save_part *p,
                    struct mf_trust *trust, struct built_check **checks,
                    size_t *count) MUST_USE;

/* save_vote.c: build it on a worker; vote_built() follows unless -ENOMEM. */
void vote_compared(struct save *v, int result);
int vote_build(struct save *v) MUST_USE;
bool vote_is_building(const struct save *v);
void vote_built(struct save *v, int result, const struct err *err);
/* The bytes to be handed to commit_vote(), once. */
void *vote_take(struct save *v, size_t *bytes);
void vote_free(struct save *v);

/* save_gone.c */
/* Abort a new save that waits for a rank that has left. */
void save_check_departed(struct save *v);
/* Has every local rank given its part, or left? */
bool save_all_seen(const struct save *v);
/* "ranks 5, 7 of 8" that have not joined, arrived or staged. */
void save_missing_text(const struct save *v, char *text, size_t capacity);

#endif
