/*
 * cp.h - `ckpt cp`: a committed checkpoint into the remote tier of a home, its
 * own or another one.
 *
 *   cp.c          the verb: which checkpoints, and the way of one
 *   cp_source.c   chunks from any healthy copy that the source has
 *   cp_dest.c     the destination's home, run and history
 *   cp_files.c    one share's files there, each read back (and cp_window.c)
 *   cp_adopt.c    what a daemon had copied of them already
 *   cp_publish.c  what makes a checkpoint of them
 *
 * What arises is what a daemon's drain would have left: the same files and
 * tables, as they follow from the manifest (formats/tier.h), whatever the
 * source's copies were like. In another home come the generation's record and
 * the decision, byte for byte, with the run's uuid: it is the same checkpoint
 * of the same run, and its generation is closed there, so that a trainer that
 * opens that home goes on from it in a generation of its own.
 *
 * The decision comes last. Until then there is nothing that a reader of the
 * destination would take for a checkpoint, and whatever ends this in its midst
 * leaves what the next one finds, reads, and keeps where it is good. A lease in
 * either home says meanwhile that the checkpoint is in use.
 */
#ifndef TOOLS_CKPT_CP_H
#define TOOLS_CKPT_CP_H

#include "formats/tier.h"
#include "tools/ckpt/out.h"
#include "tools/ckpt/remote.h"
#include "tools/ckpt/segments.h"

/* A record as it lies somewhere. */
struct record_bytes {
    uint8_t *data;
    uint64_t bytes;
};

/*
 * The source: cp_source.c.
 */

struct source {
    struct tool *tool; /* its home is open */
    const char *run;
    const struct manifest *m;
    struct segments local;
    struct err no_local; /* code not 0: why there is no local store */
    struct remote_shares remote;
    struct segments *far; /* the files of each of those that has a table */
    void *spare;          /* TIER_SPARE_BYTES, while nothing is being read */
    uint64_t said, from_remote; /* chunks */
};

/* One extent to be read. */
struct source_want {
    uint64_t chunk;  /* of the manifest */
    uint32_t share;  /* whose it is */
    uint8_t *extent; /* page-aligned, as long as its extent is */
    struct err err;  /* out: code 0: it is here, and good */
    /* cp_source.c's own: */
    struct err first; /* of the local copy, once the other one is asked for */
    struct store_req req;
    bool is_done;
    int64_t result;
};

/* 0 or an exit code; source_close() in any case. */
int source_open(struct source *s, struct tool *t, const char *run,
                const struct manifest *m);
void source_close(struct source *s);
/* EXIT_PARTIAL, said with the nodes' names, if there are chunks of that share
 * that no copy within reach could have. Reads none. */
int source_reach(struct source *s, uint32_t share);
/* Can the first tier, within reach, have this chunk? Looks at its file. */
bool source_is_near(struct source *s, uint64_t chunk);
/* Blocks. What came from the second copy, as the first was bad, is said. */
void source_read(struct source *s, struct source_want *want, size_t count);
/* Says which chunk of which tensor has no healthy copy; its exit code. */
int source_complain(struct source *s, const struct source_want *want);

/*
 * The destination.
 */

/* Remote files of a checkpoint: all, and those that were written, or that are
 * to be (--dry-run). */
struct cp_sums {
    uint64_t files, files_written, bytes, bytes_written;
};

struct cp {
    struct tool *from;
    struct tool to; /* its home: the destination; NULL: it is made, later */
    bool is_dry;
    bool is_new;      /* the destination is no home yet */
    bool is_own;      /* it is the source */
    bool is_thorough; /* what is there whole is read again all the same */
    struct pace pace;
    struct id128 home; /* the destination's */
    /* The checkpoint that is being copied, and what lies in the source of its
     * run, its generation and itself, byte for byte. */
    const char *run;
    const struct catalog *catalog;
    struct save_id id;
    struct manifest m;
    struct record_bytes run_record, decision;
    struct source source;
    struct progress progress;
    bool is_decided, is_marked; /* in the destination */
    struct cp_sums sums;
};

/* 0 or an exit code, all of them. Opens what is a home, or may become one;
 * writes nothing. */
int dest_open(struct cp *cp);
/* A run of that name is the same one; its generations up to this are those of
 * the source; the checkpoint was not removed there, and is no other one:
 * is_decided and is_marked. Writes nothing. */
int dest_look(struct cp *cp);
/* The home and the run, if there are none. */
int dest_make(struct cp *cp);
/* Its history, and that no tomb of it is there, once more. */
int dest_check_history(struct cp *cp);
int dest_check_tomb(struct cp *cp);
/* EXIT_ERROR, said. */
int dest_two_histories(const struct cp *cp, uint32_t generation);
/* The exit code of a failure there, said. */
int dest_said(const struct cp *cp, int rc, const char *name);

/* Without words: malloc'd; 0 or negative. */
int record_get(struct store *s, const char *name,
               struct record_bytes *out) MUST_USE;
int record_put(struct store *s, const char *name,
               const struct record_bytes *r) MUST_USE;
/* 0: what is there is the very same; 1: it is not. */
int record_compare(struct store *s, const char *name,
                   const struct record_bytes *r) MUST_USE;

/* cp_publish.c. The table of share `k`, opened: that which is there, or that
 * which it is to get; free(*data) in any case. */
int dest_table(struct cp *cp, uint32_t k, void **data, struct manifest *table,
               bool *is_there);
/* That which it is to get, after what is in its files already (cp_adopt.c). */
int dest_adopt(struct cp *cp, void **data, struct manifest *table);
int dest_put_table(struct cp *cp, const struct manifest *table);
/* Every byte of that share was read there: none is on record as bad any more.
 */
int dest_is_good(struct cp *cp, const struct id128 *daemon);
/* All files and tables are there: it becomes a checkpoint. */
int dest_publish(struct cp *cp);

/* cp_files.c: the files of a table. */
int files_copy(struct cp *cp, uint32_t share, const struct manifest *table);
/* Adds them up, as written those that are not there; reads nothing. */
void files_count(struct cp *cp, const struct manifest *table,
                 struct cp_sums *sums);
/* How large they may be. */
uint64_t files_bytes_max(const struct store *dest);

#endif
