/*
 * load.h - one load of this rank, collective or independent.
 *
 *   WAITING -> (LOAD_BEGIN) -> RECEIVING -> (DELIVERED, all scattered) ->
 *   VOTED -> DONE, or LOAD_BEGIN again with an older checkpoint
 *
 * It lives on the stack of the call; context.load points at it meanwhile.
 */
#ifndef TRAINER_LOAD_H
#define TRAINER_LOAD_H

#include "trainer/descriptors.h"
#include "trainer/io.h"

/* A slot that was delivered and not yet scattered. */
struct delivery {
    struct list link;    /* lock; load.queue */
    struct arena *arena; /* lock; a reference */
    uint32_t slot, payload_bytes, op_count, ops_bytes;
    uint32_t attempt; /* that it is of */
    bool is_in_place;
    uint8_t ops[];
};

struct load {
    const struct descriptors *target;
    const uint64_t *local_bytes; /* per entry, dense */
    bool is_collective;
    struct err failure; /* lock; of this attempt, found by us */
    uint64_t number;    /* lock; on the link of `epoch` */
    uint64_t epoch;     /* lock; 0: there is no number yet */
    bool is_begun, is_delivered, is_voted, is_done; /* lock */
    uint32_t attempt;                               /* lock */
    uint64_t expected_bytes, scattered_bytes;       /* lock */
    struct list queue;          /* lock; struct delivery.link */
    size_t queued_bytes;        /* lock; of their operations */
    uint32_t busy;              /* lock; deliveries being scattered */
    uint32_t stale_busy;        /* lock; of those, of attempts before this */
    struct wr consumed;         /* lock; u32 slots to be given back */
    uint64_t progress_ms;       /* lock; when something last happened */
    char note[512];             /* lock; why attempts before failed */
    struct save_id id;          /* lock; of the attempt, then of the outcome */
    struct wire_load_done done; /* lock */
};

struct load_wish {
    const struct descriptors *target;
    bool is_collective;
    struct save_id id; /* of an independent read */
    uint32_t table;    /* the number to send the descriptors under */
};

/* Run it to its end; *out says how (owned by the caller, plain data but for
 * nothing). 0 or the code of the failure with words. */
int load_run(struct ckpt *ctx, const struct load_wish *wish,
             struct wire_load_done *out, char note[512],
             struct err *err) MUST_USE;

/* Copy thread's share: one delivery, if there is one. Lock held, let go of
 * meanwhile. */
bool load_scatter_one(struct ckpt *ctx);
/* Takes the lock: deliveries wait that are more than enough. */
bool load_is_piled_up(struct ckpt *ctx);

/* Events; lock held; -EBADMSG and -ENOMEM with words end the link. */
int load_on_begin(struct ckpt *ctx, const struct wire_load_begin *v,
                  struct err *err) MUST_USE;
int load_on_deliver(struct ckpt *ctx, const struct wire_deliver *v,
                    struct err *err) MUST_USE;
void load_on_delivered(struct ckpt *ctx, const struct wire_delivered *v);
void load_on_done(struct ckpt *ctx, const struct wire_load_done *v);
void load_on_loss(struct ckpt *ctx, const struct err *err);

/* scatter.c: move the bytes of one delivery into the targets; counts them in
 * *bytes. -EBADMSG for operations that do not fit. Without the lock. */
int scatter(const struct load *load, const struct delivery *d,
            const uint8_t *payload, uint64_t *bytes) MUST_USE;
/* Zero what lies outside the logical shape in each target's buffer. */
int zero_padding(const struct descriptors *target, struct err *err) MUST_USE;

#endif
