/*
 * scenario.h - what daemons and ranks do while every step is recorded.
 */
#ifndef TESTS_CRASH_SCENARIO_H
#define TESTS_CRASH_SCENARIO_H

#include "tests/crash/check.h"

/* One recording. */
struct play {
    struct disk *disk; /* its log has ended */
    struct promises promises;
    uint64_t seed;
    uint32_t stride;
    char why[WHY_BYTES]; /* what was wrong while it ran, or "" */
};

struct scenario {
    const char *name;
    struct life_shape shape;
    void (*run)(struct play *play);
    uint32_t seeds;  /* how many recordings are worth making */
    uint32_t stride; /* operations between the moments of SIGKILL, or 0: 1 */
    bool has_no_tmpfile, writes_short;
};

extern const struct scenario scenarios[];
extern const uint32_t scenario_count;

void scenario_play(const struct scenario *s, uint64_t seed, struct play *out);
void play_end(struct play *play);

#endif
