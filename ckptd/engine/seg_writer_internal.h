/*
 * seg_writer_internal.h - what seg_writer.c (using a writer) and seg_reserve.c
 * (getting segments for it, and giving them back) share.
 */
#ifndef CKPTD_SEG_WRITER_INTERNAL_H
#define CKPTD_SEG_WRITER_INTERNAL_H

#include "ckptd/engine/segpool_internal.h"

enum writer_phase {
    WRITER_RESERVING, /* segments are opened, headers made durable */
    WRITER_UNDOING,   /* a reservation failed: its segments go back */
    WRITER_READY,
    WRITER_TRIMMING,
    WRITER_SYNCING,
    WRITER_CLOSING,
    WRITER_PHASES,
};

struct part {
    struct segment *segment;
    struct seg_writer *writer;
    struct store_req req;
    void *page;
    uint64_t size_bytes; /* wanted */
    uint64_t at;         /* where the next extent goes */
    uint32_t next_number;
    bool is_bad;      /* a write failed: no more placements */
    bool is_replaced; /* room in its stead was asked for */
    bool is_ready;    /* header durable */
    bool wants_new;   /* the FREE one could not be opened */
};

/* Who waits for the phase under way to end. */
struct waiter {
    struct list link;
    segpool_fn done;
    void *arg;
};

struct seg_writer {
    struct segpool *pool;
    struct segment_header base;
    uint64_t largest_extent;
    struct part **part; /* pointers: requests live in the parts */
    uint32_t part_count;
    size_t part_capacity;
    enum writer_phase phase;
    uint32_t pending; /* requests of the phase under way */
    uint32_t batch;   /* first part of the reservation under way */
    uint64_t batch_bytes;
    struct store_req room; /* is there room for what is new in the batch? */
    bool has_squeezed;
    struct list squeeze_link; /* pool.squeezers */
    struct err err;           /* first failure of the phase under way */
    seg_writer_open_fn opened;
    void *arg; /* opened's */
    struct list waiters;
};

void seg_writer_move(struct seg_writer *w, enum writer_phase to);
/* Requests are counted; the last one to end, ends the phase. */
void seg_writer_request_begins(struct seg_writer *w);
void seg_writer_request_ends(struct seg_writer *w);
/* Note the first failure of the phase. */
void seg_writer_fail(struct seg_writer *w, const struct part *p, int code,
                     const char *what);
/* Tell everybody who waits how the phase ended; w may be gone afterwards. */
void seg_writer_answer(struct seg_writer *w);
/* A reservation has succeeded: another is due, or answer. */
void seg_writer_reserved(struct seg_writer *w);
void seg_writer_free(struct seg_writer *w);

/* seg_reserve.c: plan, take and prepare parts for w->batch_bytes; what to do
 * when RESERVING or UNDOING has ended; give one part's segment back. */
void seg_reserve(struct seg_writer *w);
void seg_reserve_ended(struct seg_writer *w);
void seg_reserve_undone(struct seg_writer *w);
void seg_part_release(struct part *p, bool keep);

#endif
