/*
 * directed.h - small scenes for safeguards that no state after a crash can show
 * to be missing: what happens while the daemons live, rot, locks, other
 * processes.
 */
#ifndef TESTS_CRASH_DIRECTED_H
#define TESTS_CRASH_DIRECTED_H

#include "tests/crash/check.h"

struct scene {
    const char *name;
    /* False with words: something did not hold. `seed` chooses an order. */
    bool (*run)(uint64_t seed, char why[WHY_BYTES]);
};

extern const struct scene scenes[];
extern const uint32_t scene_count;

const struct scene *scene_by_name(const char *name);

#endif
