/*
 * remote.h - what of a checkpoint is in the remote tier, for tools.
 *
 * Each daemon that took part in a save has said in the home where its share is
 * there (formats/tier.h); the home is all that it takes to read that.
 */
#ifndef TOOLS_CKPT_REMOTE_H
#define TOOLS_CKPT_REMOTE_H

#include "tools/ckpt/tool.h"

struct remote_share {
    struct id128 daemon;
    struct err err; /* code 0: `tier` is open; -ENOENT: there is no copy */
    void *data;
    struct manifest tier;
};

struct remote_shares {
    struct tool *tool;
    const char *run;
    const struct manifest *m;
    struct remote_share *share;
    uint32_t count;
    uint32_t present; /* shares with a table, good or bad */
};

/* All shares of `m`; free them in any case. 0, or an exit code: out of memory.
 * What is wrong with a share is told by its err. */
int remote_shares_get(struct tool *t, const char *run, const struct manifest *m,
                      struct remote_shares *out);
void remote_shares_free(struct remote_shares *s);

/* The share that chunk `chunk` of `m` belongs to, and (if that is open) which
 * chunk of its table it is. */
const struct remote_share *remote_share_of(const struct remote_shares *s,
                                           uint64_t chunk, uint64_t *at);
/* Its extent, read at once and checked, to page-aligned memory, as the manifest
 * has it. */
bool remote_share_extent(const struct remote_shares *s, uint64_t chunk,
                         void *extent);

#endif
