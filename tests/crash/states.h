/*
 * states.h - which states a crash is taken to leave at one point of a log.
 *
 * With n operations pending: all 2^n subsets of them up to n = 12, beyond that
 * all prefixes, all but one, one alone, and 256 subsets by chance. Then each
 * pending write torn in four ways (sectors by chance, the first alone, all but
 * the first, only the room for them), with the others all there, none there, or
 * by chance; and 64 times everything by chance, torn or not.
 *
 * A state's number and the point determine it: SCENARIO/SEED/POINT/NUMBER is
 * its name.
 */
#ifndef TESTS_CRASH_STATES_H
#define TESTS_CRASH_STATES_H

#include "tests/crash/life.h"

/* How many there are at this point. */
uint64_t states_count(const struct disk_walk *w);
/* What lands in state `number`; `landing` has room for w->pending_count. */
void state_landing(const struct disk_walk *w, uint64_t number,
                   enum landing *landing);
/* The tree that it leaves. */
void state_make(const struct disk_walk *w, uint64_t number, struct image *out);
/* One state of one point by chance, not before step `after` was begun; the
 * promises that had been given by then are counted from 0 on, what was not
 * begun is forgotten. */
void state_by_chance(const struct disk *disk, struct promises *p,
                     uint64_t after, uint64_t seed, struct image *out);

#endif
