/*
 * commit_internal.h - between commit.c (life, vote), commit_begin.c (up to the
 * intent), commit_gather.c (the others' votes), commit_decide.c (merge,
 * decision) and commit_recover.c.
 *
 * At most one request, read or job of a commit is under way at any time
 * (`is_busy`); when it ends, commit_step() looks at what is wanted now. So what
 * is wished meanwhile (abort, vote) only has to be noted down.
 */
#ifndef CKPTD_COMMIT_INTERNAL_H
#define CKPTD_COMMIT_INTERNAL_H

#include "ckptd/engine/commit.h"
#include "ckptd/engine/home_internal.h"

/* A daemon's vote as read. */
struct ballot {
    struct id128 daemon;
    void *data;
    size_t bytes;
};

struct commit_merge; /* commit_merge.c: the job */

/* Notes of a manifest that warn, and head the reason in its decision. */
#define COMMIT_NOTE_DIVERGENCE "divergence"
#define COMMIT_NOTE_STALE      "stale"

struct commit_state {
    struct commit *c;
    struct env_timer timer; /* the next look, or the event */
    uint64_t deadline_ns;
    uint64_t delay_ns; /* back-off */
    uint32_t tries;
    uint64_t highest_step; /* of its generation when it began */
    bool is_busy;
    bool is_recovered;     /* no owner: its segments are ours to release */
    bool is_home_silent;   /* why ABORT is wanted */
    bool is_told;          /* `decided` was called before ABORT was on record */
    bool has_voted;        /* the vote may be on record */
    bool is_local;         /* all votes are there */
    bool is_warned;        /* that the home cannot be reached */
    bool is_looked_up;     /* the decision was looked for in this round */
    bool is_unjudged;      /* segments of the own vote are still unknown */
    struct err wish;       /* code != 0: ABORT is wanted, and why */
    struct members own;    /* of an older generation's save */
    struct ballot *ballot; /* own first */
    uint32_t ballot_count;
    uint32_t cursor; /* over members, in a round of reading votes */
    struct err last; /* why a vote could not be read */
    uint64_t step_in_ns;
    struct commit_merge *merge;
    struct wr record; /* the decision that we try to create */
    uint32_t trying;  /* enum decision */
    int put_result;   /* of creating it, the last time */
    void *manifest;   /* when it goes out in parts */
    size_t manifest_bytes;
    struct catalog_save outcome;
    char reason[REASON_MAX + 1]; /* of the outcome */
    /* commit_recover.c waits for the own vote to be looked at. */
    void (*settled)(void *arg, int result, const struct err *err);
    void *settled_arg;
};

static inline struct commit_state *state_of(const struct commit *c)
{
    return c->state;
}

static inline struct env *commit_env(const struct commit *c)
{
    return run_env(c->run);
}

/* Where a daemon's vote on this save, or parts of a manifest, are. */
static inline struct recio_place commit_place(const struct commit *c,
                                              const char *folder,
                                              const struct id128 *daemon)
{
    return (struct recio_place){
        .run = c->run->name, .folder = folder, .id = c->id, .daemon = *daemon};
}

/* commit.c */
struct commit *commit_new(struct run *run, const struct save_id *id);
void commit_free(struct commit *c);
void commit_move(struct commit *c, enum commit_phase to);
/* What to do now; nothing is under way. */
void commit_step(struct commit *c);
void commit_later(struct commit *c, uint64_t delay_ns);
/* A request ended. False: the engine is closing, go no further. */
bool commit_resume(struct commit *c, int64_t result);
/* ABORT is wanted; the first wish counts. */
void commit_wish(struct commit *c, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* All members of its generation, as far as known. */
struct members *commit_members(const struct commit *c);
/* Every member is known, and is this daemon. */
bool commit_is_alone(const struct commit *c);
bool commit_is_overdue(const struct commit *c);
/* ABORT is wanted for that, in words that say who is late. */
void commit_wish_overdue(struct commit *c);
/* It could not be written there. A home in RADOS is named without options. */
void commit_wish_home(struct commit *c, int code, const char *what);
/* Read decision/SAVE; follow it if it is there, else look again later. */
void commit_look(struct commit *c);
/* Over, with nothing on record: the save was refused. */
void commit_refuse(struct commit *c, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* So is one whose step is committed already in this generation. */
void commit_refuse_committed(struct commit *c);
/* The owner is told ABORT, and the rest goes on without it. */
void commit_tell_early(struct commit *c);

/* commit_begin.c: NEW. */
void commit_start(struct commit *c);

/* commit_recover.c: a commit of a recovery is freed before its own vote was
 * looked at: the homes are closed, and nobody is told. */
void commit_recovery_forget(void *recovery);

/* commit_gather.c: VOTED. */
void commit_gather(struct commit *c);
struct ballot *ballot_of(const struct commit *c, const struct id128 *daemon);
/* Takes `data` over; -ENOMEM. */
int ballot_add(struct commit *c, const struct id128 *daemon, void *data,
               size_t bytes) MUST_USE;
/* Opens a vote and checks that it is that daemon's on this save. */
int ballot_open(const struct commit *c, const struct ballot *b,
                struct manifest *m, struct err *err) MUST_USE;

/* commit_decide.c: DECIDING. */
void commit_decide(struct commit *c, enum decision decision);
void commit_decide_step(struct commit *c);
/* Somebody's decision was read. Its name may not be durable yet, and what was
 * voted for goes by it for good: it is followed once creating the same bytes
 * has answered that they are there. */
void commit_confirm(struct commit *c, const void *data, size_t bytes);
/* The decision is known, and durable unless there was no vote. */
void commit_follow(struct commit *c, const struct record_decision *d);
/* VOTED, and no decision is there: was it removed already? Then it is followed
 * as the COMMIT that it was, else the next step is taken. */
void commit_look_for_tomb(struct commit *c);
/* The outcome is noted, the pool told. Again later on no memory. */
void commit_settle(struct commit *c);

/* commit_merge.c: the votes made one manifest, on a worker; merge_done() as
 * soon as it is. */
void merge_begin(struct commit *c);
/* commit_decide.c: `data` is the callee's (free()), NULL on failure. */
void merge_done(struct commit *c, int result, void *data, size_t bytes,
                const struct err *err);

#endif
