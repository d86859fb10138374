/*
 * check.h - does what a crash left keep what was promised?
 *
 * The real recovery runs on it: stores and engines open, ranks join, load, save
 * and load again. What must hold:
 *
 *   I1  what a rank was told is COMMITTED loads bit for bit
 *   I2  no load ever hands over wrong bytes, or what was told ABORTED
 *   I3  ranks resume from the last COMMITTED one, or from a newer one that was
 *       under way, all from the same, at the first attempt
 *   and a new save commits and loads, and what was resumed from still does.
 *
 * If something was REMOTE by then: without any local store ranks load that, or
 * a newer one, in the same way.
 *
 * Under a policy of retention older ones may be gone, cleanly (-ENOENT), but
 * never so many that fewer than the policy keeps are left.
 */
#ifndef TESTS_CRASH_CHECK_H
#define TESTS_CRASH_CHECK_H

#include "tests/crash/life.h"

#define WHY_BYTES 1024

/* `at`: how many operations of the log the promises are counted by have
 * happened. False with words. */
bool crash_check(const struct image *left, const struct promises *promised,
                 uint32_t at, uint64_t seed, char why[WHY_BYTES]);

/* The same of a disk that is still there (its processes have ended). */
bool crash_check_disk(struct disk *disk, const struct promises *promised,
                      uint32_t at, uint64_t seed, char why[WHY_BYTES]);

#endif
