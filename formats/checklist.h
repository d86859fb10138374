/*
 * checklist.h - which bytes of a rank are digested beside its chunks.
 *
 * A pure function of (table, write list, chunk_bytes, trust), computed by the
 * trainer library and the daemon alike, like the write list. Two kinds of
 * blocks, and a block may be both:
 *
 *   replica    bytes [k * chunk_bytes, + chunk_bytes) of the packed order of a
 *              region that others hold too: every holder digests it
 *   optimizer  a piece that this rank writes of the optimizer's state
 *
 * What a rank writes is cut at the same places, so a block is either one whole
 * piece of a written chunk, or lies in none. The latter are laid into chunks of
 * their own, which follow the written ones in number, travel through slots like
 * them, and are digested and not written.
 */
#ifndef FORMATS_CHECKLIST_H
#define FORMATS_CHECKLIST_H

#include "formats/trust.h"
#include "formats/writelist.h"

struct check_block {
    uint64_t region_start; /* byte in the entry's packed order */
    uint32_t entry, bytes;
    uint32_t chunk; /* of the write list; from its chunk_count on, an own one */
    uint32_t chunk_start;
    bool is_replica, is_optimizer;
};

struct checklist {
    struct check_block *block; /* by chunk, then chunk_start */
    uint32_t *first;           /* per chunk its first block, and the end */
    uint32_t *own_bytes;       /* of each own chunk */
    size_t block_count;
    uint32_t written_count, own_count; /* chunks */
};

/* A rank digests at most so many blocks that others write: 512 GiB of 2 MiB.
 * A table of a few bytes may claim any size, and all of this is allocated. */
#define CHECKLIST_HELD_MAX ((size_t)1 << 18)

/* -ENOMEM; -EFBIG with more than CHECKLIST_HELD_MAX of others' blocks. */
int checklist_build(const struct entry *entries, size_t count,
                    const struct writelist *list, uint32_t chunk_bytes,
                    const struct trust *trust, struct checklist *out) MUST_USE;
void checklist_free(struct checklist *c);

#endif
