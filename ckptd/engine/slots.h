/*
 * slots.h - the slots of one rank's arena, as the daemon sees them.
 *
 *   FREE -> GRANTED (SLOTS) -> FULL (CHUNKS) -> CLEAN (written, or found equal
 *   to the base) -> FREE (needed again);  FREE -> LOADING -> DELIVERED -> FREE
 *
 * CLEAN slots keep their bytes as a cache for restore, found by (segment,
 * number), until they are needed. Page 0 of the arena mirrors the table.
 */
#ifndef CKPTD_SLOTS_H
#define CKPTD_SLOTS_H

#include "ckptd/engine/env.h"
#include "common/hash.h"

enum slot_state {
    SLOT_FREE,
    SLOT_GRANTED,
    SLOT_FULL,
    SLOT_CLEAN,
    SLOT_LOADING,
    SLOT_DELIVERED,
    SLOT_STATES,
};

struct slot {
    enum slot_state state;
    uint64_t owner;     /* save or load number */
    uint32_t raw_bytes; /* CLEAN: what it holds */
    bool is_cached;     /* CLEAN and committed: segment/number are good */
    struct id128 segment;
    uint32_t number;
    uint32_t held; /* readers of a cached slot at work */
    struct digest content;
};

struct slots {
    struct list link; /* engine.arenas, newest last */
    struct env_arena arena;
    struct slot *slot;
    uint32_t count;
    uint32_t free_count; /* FREE and CLEAN-not-held */
    bool is_orphan;      /* its rank is gone: a cache only */
    uint32_t rank;
};

/* Address of a slot's header page. */
void *slot_address(const struct slots *s, uint32_t index);
static inline void *slot_payload(const struct slots *s, uint32_t index)
{
    return (uint8_t *)slot_address(s, index) + PAGE_BYTES;
}

/* Moves along the table above; asserts that the move is allowed. */
void slot_move(struct slots *s, uint32_t index, enum slot_state to);
/* A slot to use (FREE first, then the oldest CLEAN not held); -EAGAIN. */
int64_t slot_take(struct slots *s, enum slot_state as, uint64_t owner) MUST_USE;
/* All slots of `owner` back to FREE. */
void slots_release(struct slots *s, uint64_t owner);

#endif
