/*
 * timing.h - how the time of something grows with its size, for tests that
 * must not fail on a busy machine.
 */
#ifndef TESTS_LIB_TIMING_H
#define TESTS_LIB_TIMING_H

#include <stdint.h>

/* Of the processor, in this thread. */
double cpu_seconds(void);
/* The least that time_of(n) says in three calls. */
double best_of_three(double (*time_of)(uint64_t n), uint64_t n);

#endif
