/*
 * slots.h - the slots of one rank's arena, as the daemon sees them.
 *
 *   FREE -> GRANTED (SLOTS) -> FULL (CHUNKS) -> CLEAN (written, or found equal
 *   to the base) -> FREE (needed again);  FREE -> LOADING -> DELIVERED -> FREE
 *   CLEAN -> FULL (its write is lost: to be written again)
 *   GRANTED, FULL, LOADING -> FREE (given up)
 *
 * CLEAN slots keep their bytes as a cache for restore, found by (segment,
 * number) once their save has committed, until they are needed. Page 0 of the
 * arena mirrors the table: see slots_mirror below.
 *
 * An arena has users: its session, every part of a save in it, every load.
 * When its rank is gone (slots_orphan) it stays as a cache, without a session,
 * and is freed when it is dropped or holds nothing that is cached; never while
 * it has users or slots are held.
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
    uint32_t held; /* readers of a cached slot at work; see slot_hold() */
    struct digest content;
    /* slots.c's own: */
    struct list link;   /* slots.free or slots.clean */
    uint32_t hash_next; /* + 1, in the chain of its bucket */
};

struct slots {
    struct list link; /* engine.arenas, newest last */
    struct env *env;
    struct env_arena arena;
    struct slot *slot;
    uint32_t count;
    uint32_t free_count; /* FREE and CLEAN-not-held */
    bool is_orphan;      /* its rank is gone: a cache only */
    uint32_t rank;
    struct id128 run; /* whose rank, and of which generation */
    uint32_t generation;
    uint32_t user_count;
    /* slots.c's own: */
    struct list free, clean; /* struct slot; clean: oldest first */
    uint32_t held_count, cached_count;
    uint32_t used_count; /* slots before it were taken before */
    uint32_t *bucket;    /* slot + 1, by (segment, number); 0: none */
    uint32_t bucket_mask;
};

/* What page 0 begins with; the states of the first slots follow, one byte
 * each, as many as fit the page. For people and tools: nobody relies on it. */
struct slots_mirror {
    uint32_t magic; /* "CKSL" */
    uint32_t version;
    uint32_t rank, slot_count;
    uint32_t free_count, shown_count;
    uint8_t reserved[40];
};
#define SLOTS_MIRROR_MAGIC ((uint32_t)0x4c534b43)

/* Takes over *arena (arena_free when the slots end); user_count is 1, the
 * caller's. -ENOMEM, and the arena stays the caller's. */
int slots_open(struct env *env, const struct env_arena *arena,
               struct slots **out) MUST_USE;

/* One more user; one user less, which may free `s` when it is an orphan. */
void slots_use(struct slots *s);
void slots_unuse(struct slots *s);
/* The session is gone: `s` is a cache from now on. May free it. */
void slots_orphan(struct slots *s);
/* Free every orphan of `arenas` that nobody uses and of which no slot is held;
 * with `run`, only those of that run's generations before `generation`.
 * Returns how many. */
uint32_t slots_drop_orphans(struct list *arenas, const struct id128 *run,
                            uint32_t generation);
/* An orphan that nobody uses and of which no slot is held? Then it may be
 * closed. */
bool slots_is_droppable(const struct slots *s);
/* Does nobody but its session use it? */
bool slots_is_idle(const struct slots *s);
/* Bytes of shared memory. */
uint64_t slots_bytes(const struct slots *s);
/* Free it whatever it holds: when the engine ends. Takes NULL. */
void slots_close(struct slots *s);

/* Address of a slot's header page. */
void *slot_address(const struct slots *s, uint32_t index);
static inline void *slot_payload(const struct slots *s, uint32_t index)
{
    return (uint8_t *)slot_address(s, index) + PAGE_BYTES;
}

/* Moves along the table above; asserts that the move is allowed. */
void slot_move(struct slots *s, uint32_t index, enum slot_state to);
/* A slot to use (FREE first, then the oldest CLEAN not held); -EAGAIN. For a
 * load only one whose pages are there: to read into others is slow, and they
 * come (engine_arena_ready). */
int64_t slot_take(struct slots *s, enum slot_state as, uint64_t owner) MUST_USE;
/* All slots of `owner` back to FREE. Cached slots, which their save no longer
 * owns, stay. */
void slots_release(struct slots *s, uint64_t owner);

/* A CLEAN slot's save has committed: others may find it. */
void slot_cache(struct slots *s, uint32_t index);
/* The cached slot with that chunk in any arena; false when there is none. */
bool slots_find(struct list *arenas, const struct id128 *segment,
                uint32_t number, struct slots **out, uint32_t *index);
/* A reader is at work on a cached slot (it is not taken meanwhile), or is done
 * with it; the last one may free an orphan. */
void slot_hold(struct slots *s, uint32_t index);
void slot_unhold(struct slots *s, uint32_t index);

#endif
