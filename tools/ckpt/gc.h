/*
 * gc.h - between gc.c (records), gc_leases.c, gc_remote.c (files of the remote
 * tier) and gc_segments.c (the local store).
 */
#ifndef TOOLS_CKPT_GC_H
#define TOOLS_CKPT_GC_H

#include "tools/ckpt/out.h"
#include "tools/ckpt/tool.h"

struct gc {
    struct tool *tool;
    bool is_for_real; /* --yes, and not --dry-run */
    bool failed;      /* output */
    bool told_served; /* that a daemon frees segments by itself */
    uint64_t count, bytes;
};

/* One thing that is (or would be) removed. */
void gc_say(struct gc *g, const char *what, const char *name, uint64_t bytes);

/* Remove one record; 0 or an exit code. */
int gc_drop(struct gc *g, const char *name);

/* May records, or remote files, of this save in `folder` go? */
bool gc_is_litter(struct gc *g, const struct catalog *c,
                  const struct save_id *id, const char *folder);

/* Files of the remote tier (data/) of saves that are none. 0 or an exit code.
 */
int gc_remote(struct gc *g, const struct catalog *c);

/* Leases that their readers left behind: removed, and `c` knows what is still
 * leased. 0 or an exit code. */
int gc_leases(struct gc *g, struct catalog *c);

/* Does a lease name this save, of which nothing else is known? True as well if
 * that cannot be told. */
bool gc_is_leased(struct gc *g, const struct catalog *c,
                  const struct save_id *id);

/* Segments without a reference, if no daemon serves the local store. */
int gc_segments(struct gc *g);

#endif
