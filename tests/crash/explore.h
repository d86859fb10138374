/*
 * explore.h - every state of every point of a recording, checked.
 */
#ifndef TESTS_CRASH_EXPLORE_H
#define TESTS_CRASH_EXPLORE_H

#include "tests/crash/scenario.h"

#define NAME_BYTES 96

/* Shared with the process that waits for this one, since a check may end in an
 * assertion of the engine. */
struct progress {
    uint64_t recordings, points;
    uint64_t states;     /* looked at */
    uint64_t checked;    /* of them: the others equalled one checked before */
    uint64_t violations; /* failed checks */
    uint32_t recording;  /* under way */
    uint64_t state;      /* under way: the n-th of the recording */
    char name[NAME_BYTES];
    char why[WHY_BYTES]; /* of the last violation */
};

struct exploring {
    struct progress *progress;
    uint32_t part; /* one state in so many, by chance; at least 1 */
    uint64_t skip; /* states of the recording that were checked already */
    bool stops;    /* at the first violation */
};

/* False: stopped by a violation. */
bool explore(const struct scenario *s, uint64_t seed, struct exploring *e);

/* The state of that name once more, with words; false: it violates. */
bool explore_again(const char *name);

const struct scenario *scenario_by_name(const char *name, size_t bytes);

#endif
