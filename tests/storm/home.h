/*
 * home.h - one home of the storm: jobs with a kill each, and after each kill a
 * job without one that must load the last committed checkpoint bit for bit.
 */
#ifndef TESTS_STORM_HOME_H
#define TESTS_STORM_HOME_H

#include "tests/storm/rank.h"

#define PLACES_MOST     64
#define VIOLATIONS_KEPT 8

enum victim {
    VICTIM_RANK,
    VICTIM_DAEMON,
    VICTIM_ALL, /* the daemon and every rank, in either order */
    VICTIM_LOADING_RANK,
    VICTIM_LOADING_DAEMON,
    VICTIMS
};

extern const char *const victim_name[VICTIMS];

/* Sums of all homes, shared by their processes. */
struct sums {
    atomic_uint kills; /* rounds in which somebody was killed */
    atomic_uint at_place[VICTIMS], at_random[VICTIMS];
    atomic_uint armed[PLACES_MOST], reached[PLACES_MOST];
    atomic_uint saves, commits, loads, reads, errors;
    atomic_uint left_overs, violations;
    char text[VIOLATIONS_KEPT][640]; /* of the first violations */
};

struct home_options {
    const char *dir;  /* an empty folder for this home */
    const char *tool; /* the program ckpt */
    uint64_t seed;
    uint32_t number; /* of this home */
    uint32_t kills;  /* of all homes together */
};

/* Until `sums->kills` is reached; in a process of its own. */
void home_run(const struct home_options *o, struct sums *sums);

#endif
