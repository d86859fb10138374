/*
 * rank_places.h - see rank_places.c.
 */
#ifndef TESTS_STORM_RANK_PLACES_H
#define TESTS_STORM_RANK_PLACES_H

#include "tests/storm/rank.h"

/* From now on this process is that rank of that job. */
void rank_places_arm(struct job *job, uint32_t rank);

#endif
