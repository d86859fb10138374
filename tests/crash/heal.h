/*
 * heal.h - `ckpt verify --repair` on a disk that forgets.
 *
 * What must hold of it: whatever loaded before loads in every state that power
 * loss leaves, no healthy copy is ever lost, and when it is run again it ends
 * well, and everything loads.
 */
#ifndef TESTS_CRASH_HEAL_H
#define TESTS_CRASH_HEAL_H

#include "tests/crash/scenario.h"

/* Checkpoints, two of which have the same bytes; then something befalls their
 * segments, by the seed, and that is repaired, which is what is recorded. */
void heal_play(struct play *play);

/* What a crash left of that. */
bool heal_check(const struct play *play, const struct image *left, uint32_t at,
                uint64_t seed, char why[WHY_BYTES]);

#endif
