/*
 * load_internal.h - what the load_*.c files share.
 *
 *   load.c         the life of a load, falling back
 *   load_rank.c    what ranks ask and say, and their leaving
 *   load_read.c    plan, chunk reads, delivery into slots
 *   load_record.c  the outcome on record: load/GEN.K
 *   load_query.c   VALUES, LIST, DESCRIBE
 */
#ifndef CKPTD_LOAD_INTERNAL_H
#define CKPTD_LOAD_INTERNAL_H

#include "ckptd/engine/load.h"
#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/remote_read.h"
#include "formats/plan.h"

/* Chunks being read, checked or gathered for one load at a time. */
#define LOAD_DEPTH 16

enum load_phase {
    LOAD_GATHERING, /* ranks ask */
    LOAD_PLANNING,  /* manifest, plan */
    LOAD_READING,   /* chunks are read and delivered */
    LOAD_DRAINING,  /* a failure: reads under way end */
    LOAD_VOTING,    /* all is delivered; ranks vote */
    LOAD_RECORDING, /* the outcome goes on record */
    LOAD_DONE,
    LOAD_PHASES,
};

struct load_rank {
    struct session *session; /* NULL: gone */
    struct slots *slots;     /* one use */
    struct rank_table *table;
    uint64_t number; /* in the session; owner of its slots */
    uint64_t uses_left;
    bool is_delivered, has_voted;
};

/* A chunk on its way to the slots of those who want it: one slot per use. With
 * one use the chunk is read straight into it, else into a buffer and gathered
 * from there. */
struct load_lane {
    struct load *load;
    bool is_running;
    size_t chunk;   /* of the plan */
    uint32_t *slot; /* per use */
    struct chunk_read read;
    struct buffer_wait wait; /* want 0: none */
    struct env_job gather;
};

struct load {
    struct list link; /* run.loads */
    struct engine *engine;
    struct run *run;
    uint32_t generation;
    enum load_phase phase;
    bool is_collective;
    bool is_refreshing; /* members_refresh() has yet to call back */
    bool is_fetching;   /* manifest_fetch() has yet to call back */
    bool wants_feed;    /* load_slots_freed()'s own */
    uint32_t attempt;   /* of this call, from 1 */
    uint32_t record_k;  /* of the generation */
    struct save_id id;
    struct load_rank *rank;
    uint32_t rank_count;
    size_t rank_capacity;
    struct held_manifest *held;
    struct remote *remote; /* of `held`, while there is a plan */
    struct plan plan;
    size_t next_chunk;
    uint32_t running; /* lanes */
    struct load_lane lane[LOAD_DEPTH];
    struct err err;      /* of the attempt */
    bool is_wish_failed; /* falling back would not help */
    char note[512];      /* what was passed over */
    uint64_t read_bytes;
    uint64_t remote_bytes; /* of those of this attempt: from the remote tier */
    uint64_t progress_ns;
    struct env_timer timer, members_timer;
    struct recording *recording; /* load_record.c, in RECORDING */
};

void load_move(struct load *l, enum load_phase to);
static inline uint32_t load_ranks_alive(const struct load *l)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < l->rank_count; i++)
        count += l->rank[i].session != NULL;
    return count;
}

/*
 * load.c. Each may free `l`, so it comes last.
 */
/* PLANNING of l->id, with what it takes. */
void load_attempt_begin(struct load *l);
/* l->err is set. Goes on when nothing of the attempt is under way any more. */
void load_attempt_failed(struct load *l);
/* Whether a failure is the checkpoint's own, so that an older one may be
 * good. */
bool load_is_checkpoints(int code);
void load_all_delivered(struct load *l);
void load_finish(struct load *l); /* tell the ranks, free */
void load_progress(struct load *l);

/* load_read.c */
void load_plan(struct load *l); /* the manifest is held */
void load_feed(struct load *l); /* start what can be started */
void load_read_free(struct load *l);

/* load_record.c: when it is on record, load_recorded(). */
void load_record(struct load *l);
void load_recorded(struct load *l);
/* The deadline has passed in RECORDING: who has not voted is not waited for. */
void load_record_late(struct load *l);
/* A rank has left in RECORDING: without any there is nobody to wait for. */
void load_record_poke(struct load *l);
/* Whether all ranks of the generation came through this daemon. */
bool load_is_alone(const struct load *l);

#endif
