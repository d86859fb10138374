/*
 * repair.h - `ckpt verify --repair`: bad chunks from healthy copies.
 *
 * What counts as a copy of a chunk: its own payload, when only the header page
 * or the padding around it is bad (both follow from the manifest); or a chunk
 * of any committed checkpoint of the home, elsewhere in this local store, with
 * the same content digest, that reads back good; or its extent in the remote
 * tier. A segment's header page follows from the manifest once a chunk behind
 * it has proven who it is. A segment's file that is gone is made again from
 * such copies.
 *
 * A live segment is never written to. Its file is copied with what was healed
 * in place of what was bad, synced, and takes the name of the old one in one
 * step: a crash leaves the old file or the new one, and at most "seg/repair",
 * which the next repair or `ckpt gc` removes. Locations stay what they are, so
 * that no record changes and every checkpoint with chunks there is healed. Only
 * the holder of the store's lock may do that: not while a daemon serves it.
 */
#ifndef TOOLS_CKPT_REPAIR_H
#define TOOLS_CKPT_REPAIR_H

#include "tools/ckpt/check.h"
#include "tools/ckpt/remote.h"

struct repair {
    struct tool *tool;
    const char *run;
    const struct manifest *m;
    const struct chunk_list *bad;
    const struct remote_shares *remote;
    uint64_t healed, helpless; /* chunks; nothing was written for the latter */
    bool is_dry;               /* say what would be healed */
};

/* Heals what it can and says so, chunk by chunk; 0 or an exit code: EXIT_LOCKED
 * when a daemon serves the store, EXIT_ERROR. What has no copy is counted and
 * said, and is no failure here. */
int repair_save(struct repair *r);

/*
 * repair_copy.c: finding copies.
 */

/* A place where a bad chunk's content lies. */
struct copy_place {
    uint64_t chunk; /* the bad one, of r->m */
    char file[256]; /* in the local store */
    struct id128 segment;
    uint64_t offset;
    struct chunk_header header;
    char save[RUN_NAME_MAX + 64]; /* whose it is, in words */
};

struct copies {
    struct copy_place *place; /* ascending by chunk */
    size_t count, capacity;
};

/* All places of copies of r->bad in the home's committed checkpoints; free()
 * out->place. 0 or an exit code. */
int copies_find(const struct repair *r, const struct id128 *store,
                struct copies *out);

/* Working memory, once for all chunks. */
struct healer {
    struct store *local;
    uint8_t *extent; /* the healed one, as it shall lie */
    uint8_t *other;  /* extent of a copy */
    uint8_t *raw, *scratch;
};

int healer_init(struct healer *h, struct store *local) MUST_USE;
void healer_fini(struct healer *h);

/* One bad chunk, and what became of it. */
struct healing {
    uint64_t chunk;
    struct store_seg *seg; /* its file, of `size` bytes */
    uint64_t size;
    const struct copies *copies;
    bool is_whole;  /* its own extent was good as it lay */
    char from[640]; /* in words, what it was healed from */
};

/* Makes the chunk whole in h->extent from what lies at its own place, or from
 * one of the copies; false: there is none. */
bool heal_chunk(struct healer *h, const struct repair *r, struct healing *one);

#endif
