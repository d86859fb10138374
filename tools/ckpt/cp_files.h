/*
 * cp_files.h - between cp_window.c (a stretch of a file: filled, checked,
 * handed over) and cp_files.c (which files, and what becomes of each).
 */
#ifndef TOOLS_CKPT_CP_FILES_H
#define TOOLS_CKPT_CP_FILES_H

#include "tools/ckpt/cp.h"

#define WINDOWS 2

struct window {
    uint8_t *bytes;
    uint64_t at, len;    /* in the file */
    uint64_t first, end; /* chunks, of the table */
    struct store_req req;
    bool is_out, is_done; /* handed over; and ended */
    int64_t result;
};

/* One file. */
struct filer {
    struct cp *cp;
    struct store *store;
    const struct manifest *table;
    uint32_t share, file;
    char name[RECORD_NAME_BYTES];
    uint64_t first, end; /* chunks of the file */
    uint64_t bytes;      /* its length */
    bool *is_bad;        /* by chunk, from the first on */
    uint64_t bad_count;
    uint64_t told; /* of its bytes, twice each, to the progress */
    struct store_seg *seg;
    bool is_written; /* and is read back now */
    bool is_spoilt;  /* a write or sync failed: not to be trusted */
    struct window window[WINDOWS];
};

/* From this chunk on, up to `end`, as much as fits. */
void window_set(const struct filer *f, struct window *w, uint64_t chunk,
                uint64_t end);
void filer_mark_bad(struct filer *f, uint64_t chunk);
/* What was read: marks what is bad. */
void window_check(struct filer *f, const struct window *w);
/* What is bad of it, from the source; 0 or an exit code, said. */
int window_fill(struct filer *f, struct window *w);
void window_hand_over(struct filer *f, struct window *w, enum store_op op);
/* Until what was handed over has ended, if anything was: 0 or its failure. */
int window_settle(struct filer *f, struct window *w);

/* Has the destination segments, else blobs? */
static inline bool filer_in_place(const struct filer *f)
{
    return f->store->limits.max_io_bytes > 0;
}

#endif
