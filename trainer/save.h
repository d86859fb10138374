/*
 * save.h - one save of this rank, from SAVE_OK to its decision.
 *
 *   CAPTURING -> STAGED -> LOCAL -> COMMITTED (-> REMOTE, if waited for)
 *       \-> failed (aborted, or its fate is unknown)
 *
 * It is in context.saves from SAVE_OK until it is decided; chunks of the
 * write list are copied in the order of the capture map as slots come in.
 */
#ifndef TRAINER_SAVE_H
#define TRAINER_SAVE_H

#include "trainer/capture_map.h"
#include "trainer/io.h"
#include "trainer/own_chunks.h"

struct ckpt_save {
    struct list link; /* lock; context.saves, linked until decided */
    struct sync *sync;
    struct ckpt *ctx;    /* lock; NULL once the context is closed */
    uint32_t references; /* lock; handle, context.saves, context.newest */
    uint32_t rank;
    uint32_t decide_timeout_ms;
    struct save_id id; /* constant after SAVE_OK, step from the beginning */

    uint64_t number, epoch;  /* lock; on the link of this epoch */
    struct capture_map *map; /* lock; a reference until all is captured */
    struct own_chunks own;   /* lock; as long */
    void **data;             /* lock; parallel to the table, as long */
    struct arena *arena;     /* lock; a reference as long */
    uint32_t chunk_count, now_count; /* constant */
    uint32_t next;                   /* lock; of the map's order: begun */
    uint32_t done;                   /* lock; copied and handed over */
    uint32_t done_now;               /* lock; of those, CAPTURE_NOW */
    uint32_t busy;                   /* lock; being copied */
    uint32_t *slot; /* lock; granted and not yet used, a stack */
    uint32_t slot_count, slot_capacity; /* lock */

    uint32_t state;       /* lock; enum wire_state_value reached, 0 */
    bool is_failed;       /* lock; will never be committed, or nobody knows */
    bool is_unknown;      /* lock; failed, but perhaps committed all the same */
    bool is_fenced;       /* lock */
    bool is_let_go;       /* lock; the handle was freed */
    struct err error;     /* lock */
    struct request watch; /* lock */
    struct list handle;   /* lock; context.handles, until freed or closed */
    struct request remote;   /* lock; AWAIT, linked while unanswered */
    struct err remote_error; /* lock; what it was refused with */
};

/* Lock held in all of these. */

/* Copy one chunk of `save` if a slot is there, of the first `limit` of its
 * order; lets go of the lock meanwhile. False: nothing to do now. */
bool save_copy_one(struct ckpt *ctx, struct ckpt_save *save, uint32_t limit);
/* The first save that has a chunk and a slot, NULL. */
struct ckpt_save *save_with_work(struct ckpt *ctx);

/* Fence the last save if its handle was freed without: blocks as ckpt_fence()
 * and lets go of the lock meanwhile. The caller's thread only. */
void save_fence_let_go(struct ckpt *ctx);
/* A SAVE_OK that nobody waits for any more: that save is cancelled. */
int save_on_late_ok(struct ckpt *ctx, const struct frame *f,
                    struct err *err) MUST_USE;
/* Mark as failed with these words and drop what it holds. Nothing happens to
 * one that is decided. */
void save_fail(struct ckpt *ctx, struct ckpt_save *save, const struct err *err,
               bool is_unknown);
void save_put(struct ckpt_save *save);
/* Until REMOTE is reached, it fails or the deadline: 0 in these cases. Else
 * why that will not be known. Lets go of the lock meanwhile. */
int save_wait_remote(struct ckpt_save *save, uint64_t deadline_ms,
                     struct err *err) MUST_USE;
/* "save of step S" in front of the words. */
void save_prefix(const struct ckpt_save *save, struct err *err);

/* Events: -EBADMSG with words ends the link. */
int save_on_slots(struct ckpt *ctx, const struct wire_slots *v,
                  struct err *err) MUST_USE;
/* True: there is such a save, and it is still undecided. */
bool save_on_state(struct ckpt *ctx, const struct wire_state *v);
/* The link broke: what was not copied is lost, the rest is asked about. */
void saves_on_loss(struct ckpt *ctx, const struct err *err);
/* Ask for the fate of every save of an earlier link; once more at
 * context.watch_at_ms while one is undecided. */
void saves_watch(struct ckpt *ctx);
/* No daemon to be had: nobody knows. */
void saves_give_up(struct ckpt *ctx, const struct err *err);
/* The context is closed: handles live on alone. */
void saves_orphan(struct ckpt *ctx);

#endif
