/*
 * load_rig.h - ranks of engine_rig.h that load: they ask for tensors that any
 * rank has saved, whole or a part of them, scatter what they are given, and
 * compare every byte with what was saved.
 *
 * A loading rank consumes at once what is delivered and votes that all is well,
 * unless it is told otherwise.
 */
#ifndef TESTS_LIB_LOAD_RIG_H
#define TESTS_LIB_LOAD_RIG_H

#include "tests/lib/engine_rig.h"

/* Part of tensor `tensor` of rank `owner`, in elements of U16; count 0: all. */
struct rig_want {
    uint32_t owner, tensor;
    uint64_t start, count;
    uint64_t shape; /* asked for; 0: as it was saved */
};

#define RIG_WANTS_MAX 64

/* One load of one rank, until the rank is freed. */
struct rig_load {
    struct list link;
    struct rig_rank *rank;
    uint64_t request, number;
    bool is_answered, is_begun, is_delivered, is_done;
    uint32_t attempt;  /* of the last LOAD_BEGIN */
    struct save_id id; /* of the last LOAD_BEGIN, or LOAD_DONE */
    uint32_t delivered_count;
    int code; /* of LOAD_DONE, or of the WIRE_ERROR to LOAD */
    uint32_t attempts;
    char text[ERR_TEXT_BYTES];
    char note[512];
    /* What the test may set: */
    bool is_holding; /* keeps slots, see rig_load_consume() */
    bool is_silent;  /* does not vote */
    int vote;        /* code */
    /* load_rig.c's own: */
    size_t want_count;
    struct rig_want want[RIG_WANTS_MAX];
    uint64_t bytes[RIG_WANTS_MAX];
    uint8_t *data[RIG_WANTS_MAX];
    uint32_t held[64], held_count;
};

/* The table of these wishes, sent as table `number`; tensors were saved with
 * `tensor_bytes` each. */
void rig_wish(struct rig_rank *r, uint32_t number, const struct rig_want *want,
              size_t count, uint64_t tensor_bytes);
/* LOAD of the table last wished for: collective when `id` is NULL. */
struct rig_load *rig_load(struct rig_rank *r, const struct save_id *id);
/* Gives back what was held and goes on. */
void rig_load_consume(struct rig_load *l);
void rig_load_vote(struct rig_load *l);
/* Every load of every rank that is still there is done. */
bool rig_loads_done(void *rig);
/* What this rank has asked for, oldest first. */
void rig_each_load(const struct rig_rank *r,
                   void (*visit)(const struct rig_load *l, void *arg),
                   void *arg);
/* Compares with what `saver` (of any rig) and the others of its rig have saved
 * as step `step` in `generation`; fails the test when a byte differs. */
void rig_load_check(const struct rig_load *l, const struct rig *saver,
                    const struct save_id *id);

#endif
