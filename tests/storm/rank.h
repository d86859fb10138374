/*
 * rank.h - one rank of the storm's and the soak's jobs: a forked process that
 * joins, loads, saves, and compares every byte.
 *
 * What it finds goes into memory that it shares with the process that forked
 * it. A rank ends with RANK_VIOLATION, and says why in its report, when
 * something is wrong that no death of another process excuses: wrong bytes, an
 * error without type or words, a wait without end, something left over.
 */
#ifndef TESTS_STORM_RANK_H
#define TESTS_STORM_RANK_H

#include "tests/lib/job_state.h"
#include "tests/storm/place.h"

#include <stdatomic.h>
#include <stdint.h>

#define STORM_RANKS 4

enum rank_exit {
    RANK_FINE = 0,
    RANK_VIOLATION = 10,
};

/* What a rank tells; its own until it has ended. */
struct rank_report {
    atomic_ullong promised; /* highest step that it was told is COMMITTED */
    struct ckpt_id loaded;  /* generation 0: nothing */
    uint32_t attempts;      /* of that load */
    int load_code;          /* of ckpt_load(); 1: not asked, or not ended */
    uint32_t saves, commits, reads, errors;
    uint32_t descriptors; /* at its end, before it closes */
    bool has_ended;       /* by itself; else it was killed */
    char violation[512];
};

/* One job; in memory that its ranks share. */
struct job {
    /* What the ranks are to do. */
    const char *home, *token;
    const char *local[STORM_RANKS]; /* per rank; NULL: the default */
    uint32_t world, saves, tensors, keep_last;
    enum job_layout layout;
    uint64_t rows, columns, first_step;
    uint32_t change;     /* tensors that change with each save; 0: all */
    uint32_t fail_every; /* every so-many-th save is one that must fail */
    bool loads;
    atomic_bool is_disturbed; /* somebody is killed: errors are no violations */
    atomic_bool stop;         /* save no more */
    bool has_quota;           /* save only while there are fewer than `quota` */
    atomic_uint quota;
    /* Rank `victim` kills itself at place number `place`, the left-th time. */
    uint32_t victim;
    atomic_int place; /* -1: none */
    atomic_uint left;
    atomic_bool has_fired;
    /* Ranks meet before each save, as they do in training, as long as none
     * has ended. */
    atomic_uint met;
    atomic_bool has_lost;
    /* How far it has come. */
    atomic_uint joined, loaded, saved;
    struct rank_report report[STORM_RANKS];
};

/* For fork(): obeys `job` as this rank and returns its enum rank_exit. */
int rank_main(struct job *job, uint32_t rank);

#endif
