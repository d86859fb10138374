/*
 * remote_read.h - extents of a checkpoint, read from the remote tier.
 *
 * The tables that say where they are there (formats/tier.h) are fetched from
 * the home when a chunk of theirs is first wanted, checked, and kept for all
 * further ones; so is that there is none, or why it cannot be had, so that a
 * home that does not answer is waited for once and not for every chunk.
 */
#ifndef CKPTD_REMOTE_READ_H
#define CKPTD_REMOTE_READ_H

#include "ckptd/engine/home.h"
#include "formats/manifest.h"

#include <errno.h>

/* A home that comes back may answer so to what was under way: it is asked this
 * often before it is believed. */
#define REMOTE_TRIES 3
static inline bool remote_asks_again(int64_t result)
{
    return result == -EIO || result == -ESTALE;
}

/* The copies of one checkpoint; the manifest stays the caller's. */
struct remote;
struct remote_table;
struct remote_file;
struct spare;

struct remote *remote_new(struct run *run,
                          const struct manifest *m) MUST_USE; /* no memory */
void remote_free(struct remote *r); /* no read is under way; takes NULL */

/* Is it known, and was told, that data of it is not in the local store? */
bool remote_is_needed(const struct remote *r) MUST_USE;
/* To log once what is true of many chunks: true unless the last call was with
 * the same `of`. */
bool remote_is_news(struct remote *r, uint64_t of) MUST_USE;

/*
 * One extent. The caller allocates (zeroed) and fills the upper part; `extent`
 * is page-aligned and as long as the chunk's extent. done() may come from
 * inside remote_read_begin(). What the tier has encoded comes as the manifest
 * has it, else the bytes are as they came: the caller checks them against the
 * manifest, whose digests hold in either case.
 *
 * Failures, with the place in words: -ENOENT when no copy of it is there, -EIO,
 * -CKPT_ECORRUPT, -CKPT_EVERSION; others, such as -ETIMEDOUT, say nothing of
 * the copy.
 */
struct remote_read {
    struct remote *remote;
    uint64_t chunk;
    void *extent;
    void (*done)(struct remote_read *r, int result);
    void *owner;
    /* Out: */
    uint64_t read_bytes;
    struct err err;
    /* remote_read.c's own: */
    struct list link; /* waits for the table, or for the file */
    struct remote_table *table;
    struct remote_file *file;
    uint64_t at; /* the chunk, in the table */
    uint32_t tries;
    struct spare *spare;
    struct env_job job;
    struct store_req req;
    char name[RUN_NAME_MAX + 272]; /* runs/RUN/, at most 255 */
};

void remote_read_begin(struct remote_read *r);
/* Puts the place of what was read before the words in r->err. */
void remote_read_place(struct remote_read *r);

#endif
