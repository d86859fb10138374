/*
 * xorshift.h - random numbers that follow from a seed, which is not 0.
 */
#ifndef TESTS_LIB_XORSHIFT_H
#define TESTS_LIB_XORSHIFT_H

#include <stdint.h>

#define XORSHIFT_SEED ((uint64_t)88172645463325252)

static inline uint64_t xorshift(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
