/*
 * arena.h - the staging memory that the daemon made and this rank maps.
 */
#ifndef TRAINER_ARENA_H
#define TRAINER_ARENA_H

#include "trainer/context.h"

/* Counted: a copy under way keeps a lost daemon's arena mapped. */
struct arena {
    uint32_t references; /* lock of the context */
    struct wire_arena_ok ok;
    uint8_t *base[WIRE_PIECES_MAX];
};

/* From an ARENA_OK and its descriptors, which are closed in any case. Checks
 * seals and sizes before it maps: nobody can take the memory away again.
 * -EBADMSG, -EPERM, -ENOMEM with words. With is_populated the page tables are
 * filled at once. */
int arena_map(const struct frame *f, struct conn *c, bool is_populated,
              struct arena **out, struct err *err) MUST_USE;
/* Lock held (or nobody else knows the arena). Take NULL. */
struct arena *arena_get(struct arena *a);
void arena_put(struct arena *a);

/* The payload of a slot (chunk_bytes of it); NULL when there is no such. */
uint8_t *arena_payload(const struct arena *a, uint32_t slot);

#endif
