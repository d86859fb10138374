/*
 * prepare.h - what a save or load needs at the daemon before it can begin.
 */
#ifndef TRAINER_PREPARE_H
#define TRAINER_PREPARE_H

#include "trainer/descriptors.h"
#include "trainer/io.h"

/* Bytes of an arena that holds all that these entries would write, so that it
 * need not come in waves and stays in memory; what the arena was wanted to be
 * if one was asked for already. */
int arena_need(const struct ckpt *ctx, const struct descriptors *d,
               uint64_t *bytes, struct err *err) MUST_USE;

/* The arena of this link, asked for if there is none (`bytes` of it; the
 * daemon may give less). *chunk_bytes is its chunks'. Blocks for the daemon. */
int arena_want(struct ckpt *ctx, uint64_t bytes, uint32_t *chunk_bytes,
               struct err *err) MUST_USE;

/* Ask again if the arena has less than `bytes`, and no save is undecided: what
 * kept the daemon from giving more may be gone. Without a larger one the
 * present one stays, and that is no failure. Blocks for the daemon. */
int arena_enlarge(struct ckpt *ctx, uint64_t bytes, struct err *err) MUST_USE;

/* Send an encoded table as `number`, in as many frames as it takes, and wait
 * until the daemon has taken it. */
int table_send(struct ckpt *ctx, uint32_t number, const struct wr *encoded,
               struct err *err) MUST_USE;

#endif
