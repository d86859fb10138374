/*
 * catalog.h - what a run's folder in a home says, as one picture in memory.
 *
 * catalog_load() reads it through the store; everything else is pure. The
 * daemon keeps a catalog per run up to date by itself (catalog_note_*); tools
 * load a fresh one each time. Read access is enough.
 *
 * Which save counts: a tomb outranks any decision; COMMIT makes a checkpoint;
 * an intent without a decision is undecided. `latest` is the highest commit of
 * the newest generation that has one; a newest generation without one hands on
 * to its origin: the save its last VERIFIED load names, else its parent.
 *
 * A run makes saves without end, and each leaves a tomb or an ABORT for ever. A
 * catalog that is `compact` (a daemon's) keeps of those that are over no more
 * than that they were: their ids, in sets that hardly grow (save_set.h). They
 * have no entry any more; catalog_status() knows them. Tools want them all, and
 * do not live long.
 */
#ifndef CKPTD_CATALOG_H
#define CKPTD_CATALOG_H

#include "ckptd/engine/recio.h"
#include "ckptd/engine/save_set.h"

enum save_status {
    SAVE_UNDECIDED = 1,
    SAVE_COMMITTED = 2,
    SAVE_ABORTED = 3,
    SAVE_REMOVED = 4,    /* tomb */
    SAVE_UNREADABLE = 5, /* a decision that does not decode: see `reason` */
};

struct catalog_save {
    struct save_id id;
    enum save_status status;
    bool is_pinned : 1, is_verified : 1, is_leased : 1;
    bool is_damaged : 1; /* it is on record that a scrub found bad bytes */
    /* Every byte was once in the remote tier as well: catalog_is_remote() says
     * whether it still is. */
    bool is_marked_remote : 1;
    bool is_remote_damaged : 1; /* it is on record that bytes there are bad */
    bool is_wished : 1;  /* to be drained before others, by `ckpt drain` */
    bool is_drained : 1; /* what this daemon has of it is */
    /* This daemon's remote table may vanish at any time: its removal was not
     * answered. It is not written anew, nor removed, before it is gone. */
    bool is_table_doubted : 1;
    bool is_released : 1; /* and this daemon's local copy was let go */
    /* COMMITTED, but this daemon's store lacks data of it. Only the daemon that
     * has seen it knows, so that choosing what all agree on must not ask. */
    bool is_lost : 1;
    bool is_let_go : 1;     /* REMOVED, and this daemon holds no data for it:
                               see catalog_fold() */
    bool has_decision : 1;  /* REMOVED, but its COMMIT was still there: without
                               its tomb it would be a checkpoint again */
    uint8_t drain_failures; /* in a row; tried again not before */
    uint32_t drain_at_s;    /* this, by our own clock */
    /* When a scrub reads it again, what is here of it and what is in the remote
     * tier, by our own clock; 0: it has not yet. */
    uint32_t scrub_at_s, scrub_remote_at_s;
    int32_t code;
    char *reason; /* see catalog_reason(); an entry's own, else NULL */
    uint64_t created_unix_ms;
    uint64_t logical_bytes, stored_bytes, tensor_count;
    uint32_t rank_count, node_count;
    struct layout layout;
};

struct catalog_generation {
    struct record_generation record;
    struct save_id origin; /* last VERIFIED load, else the parent */
    uint32_t origin_load;  /* its number on record, 0: not read from there */
    bool is_closed;
};

struct catalog {
    char run[RUN_NAME_MAX + 1];
    struct id128 uuid;
    struct catalog_generation *generation; /* ascending */
    size_t generation_count;
    struct catalog_save *save; /* ascending by save_id */
    size_t save_count;
    bool is_compact;
    struct save_set over;    /* have no entry: removed, or aborted long ago */
    struct save_set aborted; /* those of `over` that were aborted */
    /* Code not 0: a lease could not be read at the last load, so some save is
     * in use and none says which. Who removes saves must look. */
    struct err bad_lease;
    /* The same of the outcome of a load, which then counts for nothing. */
    struct err bad_load;
};

typedef void (*catalog_fn)(void *arg, int result, const struct err *err);

/* Fill `c` (zeroed by the caller) from runs/RUN. -ENOENT when there is no such
 * run; -CKPT_ECORRUPT names a record that everything depends on. `c` may also
 * be one that was filled before: it is brought up to date, and what can never
 * change is not read again. `c` and `s` must stay until done(). After a failure
 * `c` is what was known by then, to be freed or loaded again. */
void catalog_load(struct store *s, const char *run, struct catalog *c,
                  catalog_fn done, void *arg);
void catalog_free(struct catalog *c);

/* The newest aborted ones keep their entries, with the reason, for ranks that
 * ask what became of a save: more than all that can be under way at once. */
#define CATALOG_ABORTED_KEPT 16

/* Of all that is known, with or without an entry; 0: nothing is. */
enum save_status catalog_status(const struct catalog *c,
                                const struct save_id *id);
/* NULL if there is none. Pointers are good until the catalog changes. */
struct catalog_save *catalog_find(const struct catalog *c,
                                  const struct save_id *id);
/* The one of which a file's name speaks: its id, and behind it `then`. */
struct catalog_save *catalog_named(const struct catalog *c, const char *name,
                                   char then);
const struct catalog_generation *catalog_newest(const struct catalog *c);
const struct catalog_generation *catalog_generation_at(const struct catalog *c,
                                                       uint32_t generation);

/* What `latest` means now; generation 0 when there is no checkpoint. */
struct save_id catalog_latest(const struct catalog *c);

/* The next older checkpoint of the branch that ends in `id`: an earlier
 * commit of its generation, else that generation's origin and so on. */
struct save_id catalog_older(const struct catalog *c, const struct save_id *id);

/* A checkpoint of this step: in `generation`, or (0) the newest generation
 * that has it. Generation 0 in the answer: none. */
struct save_id catalog_at_step(const struct catalog *c, uint64_t step,
                               uint32_t generation);

/* Is `id` on the branch that ends in `tip` (tip included)? */
bool catalog_on_branch(const struct catalog *c, const struct save_id *tip,
                       const struct save_id *id);

/* Keep it up to date: insert, or replace what is known less about: UNDECIDED
 * gives way to all, REMOVED to none, and a decision only to REMOVED (its flags
 * are added). `reason` is copied; "" for none. -ENOMEM. */
int catalog_note_save(struct catalog *c, const struct catalog_save *save,
                      const char *reason) MUST_USE;
/* Of an entry: why it was aborted, or is unreadable or lost; else "". */
const char *catalog_reason(const struct catalog_save *s);
/* Another reason; on no memory there is none. */
void catalog_set_reason(struct catalog_save *s, const char *reason);
/* Marks a COMMITTED save as lost, and why. */
void catalog_note_lost(struct catalog *c, const struct save_id *id,
                       const struct err *why);
/* What is pinned ("SAVE" in pin/) or damaged ("SAVE.DAEMON" in damaged/ and
 * damaged_remote/) is exactly what is listed: pins and marks are taken away as
 * well. */
void catalog_set_pinned(struct catalog *c, const struct store_names *pins);
void catalog_set_damaged(struct catalog *c, const struct store_names *marks);
void catalog_set_damaged_remote(struct catalog *c,
                                const struct store_names *marks);
/* REMOTE: every byte is in the remote tier as well, and none is known bad. */
static inline bool catalog_is_remote(const struct catalog_save *s)
{
    return s->is_marked_remote && !s->is_remote_damaged;
}
int catalog_note_generation(struct catalog *c,
                            const struct record_generation *g) MUST_USE;
/* Its saves are refused from now on. */
void catalog_note_closed(struct catalog *c, uint32_t generation);
/* A VERIFIED load of that generation. A load of a save of the generation itself
 * says nothing about where it comes from, and is ignored. */
void catalog_note_load(struct catalog *c, uint32_t generation,
                       const struct save_id *origin);
/* A tomb. A compact catalog that has no entry for its save makes none. */
int catalog_note_tomb(struct catalog *c, const struct save_id *id) MUST_USE;
/* Saves that are removed and let go lose their entries, if it is compact. */
void catalog_fold(struct catalog *c);
/* Tombs stay for ever and saves do not. Are there so many more of them that
 * each save is better asked for its tomb than all tombs listed? Then what is
 * looked for takes no longer, and no more memory, the older the run is. */
bool catalog_asks_tombs(const struct catalog *c);
/* Can there be a tomb that matters and is not known of? */
static inline bool catalog_asks_tomb_of(const struct catalog_save *s)
{
    return s->status != SAVE_REMOVED && s->status != SAVE_ABORTED;
}
/* The highest step of a generation that is known; false: none is. */
bool catalog_highest_step(const struct catalog *c, uint32_t generation,
                          uint64_t *step);
/* What a decision says, as an entry; its reason goes apart. */
void catalog_save_of(const struct record_decision *d, struct catalog_save *out);

/* The attempt that a new save of this step is: one more than the highest that
 * was aborted. */
uint32_t catalog_next_attempt(const struct catalog *c, uint32_t generation,
                              uint64_t step);
/* Steps of checkpoints next to `step`, in words for a message. */
void catalog_nearby(const struct catalog *c, uint64_t step, char *text,
                    size_t capacity);

#endif
