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
    /* Of each state; NULL: crash_check(). */
    bool (*check)(const struct play *play, const struct image *left,
                  uint32_t at, uint64_t seed, char why[WHY_BYTES]);
    uint32_t seeds;  /* how many recordings are worth making */
    uint32_t stride; /* operations between the moments of SIGKILL, or 0: 1 */
    bool has_no_tmpfile, writes_short;
};

extern const struct scenario scenarios[];
extern const uint32_t scenario_count;

/* Does one state keep what was promised? False with words. */
bool scenario_check(const struct scenario *s, const struct play *play,
                    const struct image *left, uint32_t at, uint64_t seed,
                    char why[WHY_BYTES]);

void scenario_play(const struct scenario *s, uint64_t seed, struct play *out);
void play_end(struct play *play);

#endif
