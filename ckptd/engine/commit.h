/*
 * commit.h - the durable half of a save: intent, vote, decision.
 *
 *   NEW -> INTENT -> OPEN -> VOTING -> VOTED -> DECIDED(COMMIT | ABORT)
 *
 * commit_begin() settles the attempt number: the n-th time that this daemon
 * saves a step is attempt n, so that calls which belong together meet, and one
 * that comes after another daemon has aborted the attempt (skip, replace) hears
 * of just that. It writes intent/SAVE.DAEMON, then
 * looks for closed/GENERATION. commit_vote() writes the vote, and from then on
 * everything goes by itself: wait until all members have voted (LOCAL), merge
 * and check coverage, write a large manifest, create the decision exclusively,
 * read back who won on -EEXIST or on any failure with unknown outcome. The
 * committer is hash(save_id) mod members; others step in after a jittered
 * delay. At the decide deadline, or on commit_abort(), ABORT is created; a
 * vote that is on record is never taken back other than by that.
 *
 * The segments of a save belong to it until `decided` is called: on ABORT the
 * owner releases them, on COMMIT they are referenced by the manifest: the pool
 * has been told (segpool_commit() of this daemon's vote, which names all that
 * the save refers to in this store) just before `decided`.
 *
 * A daemon that did not vote knows that there can be no COMMIT: when the home
 * cannot be reached its owner is told ABORT at once, and ABORT is published as
 * soon as that can be done.
 */
#ifndef CKPTD_COMMIT_H
#define CKPTD_COMMIT_H

#include "ckptd/engine/home.h"

struct commit;

struct commit_events {
    /* Intent is durable, the attempt is settled: it may be voted for. */
    void (*opened)(void *arg, struct commit *c);
    /* All members' votes are on record. */
    void (*local)(void *arg, struct commit *c);
    /* Once, last: c->decision says which. The commit is freed after it. */
    void (*decided)(void *arg, struct commit *c);
};

enum commit_phase {
    COMMIT_NEW,
    COMMIT_INTENT,
    COMMIT_OPEN,
    COMMIT_VOTING,
    COMMIT_VOTED,
    COMMIT_DECIDING,
    COMMIT_DECIDED,
    COMMIT_PHASES,
};

struct commit {
    struct list link; /* run.commits */
    struct run *run;
    struct save_id id;
    enum commit_phase phase;
    const struct commit_events *events;
    void *arg;
    uint32_t decision; /* enum decision, when decided */
    struct err error;  /* of an ABORT: code and reason; of a COMMIT: code 0 and
                          what it warns of, or nothing */
    void *state;       /* commit.c's own */
};

/* Begin save `step` of the run's generation. Never fails at once: failures
 * arrive as decided(ABORT), also -CKPT_ECONFLICT (the step is committed in
 * this generation, or is lower than the highest one), -EOVERFLOW (all attempts
 * at the step were aborted), -ESTALE (closed). NULL only on no memory. */
struct commit *commit_begin(struct run *run, uint64_t step,
                            const struct commit_events *events,
                            void *arg) MUST_USE;

/* This daemon's vote, a container of kind VOTE; taken over (free()). After
 * `opened`, once. Ignored when the save is being decided already. */
void commit_vote(struct commit *c, void *vote, size_t bytes);

/* Decide ABORT with this reason, unless it is decided already. After
 * commit_vote() it is still allowed and may lose against a COMMIT. */
void commit_abort(struct commit *c, int code, const char *reason);

/* After commit_abort(): `decided` now, though ABORT may not be on record yet,
 * which goes on behind it. Nothing happens after commit_vote(), since then
 * there may still be a COMMIT. */
void commit_abort_told(struct commit *c);

/* How many of the run's have been told so and are not on record yet. */
uint32_t commits_told(const struct run *run) MUST_USE;

/* The owner ends before the decision: no event from now on. Takes NULL. */
void commit_disown(struct commit *c);
/* Is a worker at the votes of one of them? The run must stay until it is done;
 * in an engine that has halted no other one begins. */
bool commits_at_work(const struct run *run);

/* Settle what an earlier life of this daemon left undecided in this run: own
 * intents without own vote, or with one whose data is gone, become ABORT, with
 * own vote go on as VOTED; others' are left alone. done() after all of them are
 * at least being watched. */
void commit_recover(struct run *run, catalog_fn done, void *arg);

#endif
