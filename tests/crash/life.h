/*
 * life.h - daemons and ranks between two crashes, on a disk that forgets, and
 * what they were promised.
 *
 * A life is a world of test_env.h whose home and local stores are file stores
 * on a struct disk: the engine, storage/ and the ranks are the real ones, or
 * play them (engine_rig.h). The promises outlive it: for each save, after how
 * many operations of the disk's log it was begun, and its ranks were told that
 * it is COMMITTED or ABORTED.
 */
#ifndef TESTS_CRASH_LIFE_H
#define TESTS_CRASH_LIFE_H

#include "tests/crash/disk.h"
#include "tests/lib/load_rig.h"

#define LIFE_DAEMONS_MAX 2
#define LIFE_RANKS_MAX   4
#define LIFE_LIMIT_MS    ((uint64_t)4000 * 1000)
#define PROMISES_MAX     24

struct life_shape {
    uint32_t ranks, daemons;
    uint32_t tensors; /* of one chunk each */
    uint32_t names;   /* tiny ones with long names, for a large manifest */
    uint32_t slots;   /* of a rank's arena */
    uint32_t keep_last, remote_every, local_last;
    bool is_packed;   /* bytes that compress, encoded; if they are drained,
                         only on their way */
    bool is_at_first; /* all ranks are the first daemon's */
};

struct promise {
    struct save_id id;             /* the attempt: 0 until it is known */
    uint64_t seed[LIFE_RANKS_MAX]; /* of each rank's bytes */
    uint32_t changed;
    uint64_t changed_seed;
    /* After so many operations; `remote`: so a daemon said. */
    uint32_t begun, committed, aborted, remote;
    struct rig_save *v[LIFE_RANKS_MAX]; /* of this life */
};

struct promises {
    struct life_shape shape;
    struct promise save[PROMISES_MAX]; /* in the order of their steps */
    uint32_t count;
};

struct life {
    struct disk *disk;
    struct promises *promises;
    struct test_world *world;
    struct rig *g[LIFE_DAEMONS_MAX];
    struct fileio *io[LIFE_DAEMONS_MAX + 1]; /* the last: the home's */
    struct rig_rank *r[LIFE_RANKS_MAX];
    bool lands_late;  /* a late write lands now and then */
    uint32_t changed; /* of saves from now on, as in rig_save */
    uint64_t changed_seed;
};

/* The stores open and the daemons start. False with words when they do not. */
void life_begin(struct life *life, struct disk *disk, struct promises *p,
                uint64_t seed);
/* All ranks join; false: they do not, and r[i]->error_text says why. */
bool life_join(struct life *life, const char *token);
/* All ranks save. */
struct promise *life_save(struct life *life, uint64_t step, uint64_t seed);
/* The same for one rank after another: none has saved yet; this one does. */
struct promise *life_save_begin(struct life *life, uint64_t step);
void life_save_rank(struct life *life, struct promise *s, uint32_t rank,
                    uint64_t seed);
/* Until all saves of this life are decided. */
bool life_wait(struct life *life);
void life_turn(struct life *life, uint64_t ms);
bool life_until(struct life *life, test_until until, void *arg);
/* An orderly end; then all is freed. */
void life_end(struct life *life);
/* SIGKILL of all daemons, now; then all is freed. */
void life_kill(struct life *life);

/* Told as COMMITTED, or ABORTED, when `at` operations had happened? */
static inline bool is_promised(const struct promise *s, uint32_t at)
{
    return s->committed <= at;
}

/* Told as REMOTE by then? */
static inline bool is_promised_remote(const struct promise *s, uint32_t at)
{
    return s->remote <= at;
}

struct promise *promise_of(struct promises *p, const struct save_id *id);
/* What a rank resumes from is promised from now on; what was undecided and is
 * not that never was. */
void promises_resume(struct life *life);

/* Every rank has loaded what was saved under `s`: else false, in words. */
bool life_load_is_right(const struct life *life, struct rig_load *const *l,
                        const struct promise *s, char *why, size_t capacity);
/* Every rank asks for its share of all tensors; `id` NULL: collectively. */
void life_load(struct life *life, const struct save_id *id,
               struct rig_load *l[LIFE_RANKS_MAX]);

#endif
