/*
 * plant.h - safeguards that a test build can turn off, one at a time, to show
 * that each one's absence is noticed (tests/crash/planted.c).
 *
 * In every other build this is the file that is included, none is ever off, and
 * the compiler leaves nothing of it. The test build puts its own in its place.
 */
#ifndef COMMON_PLANT_H
#define COMMON_PLANT_H

#include <stdbool.h>

/* Is this safeguard left out? */
static inline bool is_left_out(const char *safeguard)
{
    (void)safeguard;
    return false;
}

#endif
