/*
 * state.h - what the programs of the benchmark save: seeded Gaussian bf16, in
 * memory of which every page was touched.
 */
#ifndef TESTS_BENCH_STATE_H
#define TESTS_BENCH_STATE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Uniform in (0, 1]. */
static inline double uniform(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)((*state >> 11) + 1) / 9007199254740992.0;
}

static inline uint16_t to_bf16(double value)
{
    float single = (float)value;
    uint32_t bits;

    memcpy(&bits, &single, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Standard deviation 0.02, as weights have at their start. */
static inline void fill_gaussian(uint8_t *to, size_t bytes)
{
    uint64_t state = 0x9e3779b97f4a7c15;

    for (size_t i = 0; i + 4 <= bytes; i += 4) {
        double radius = 0.02 * sqrt(-2 * log(uniform(&state)));
        double angle = 2 * M_PI * uniform(&state);
        uint16_t pair[2] = {to_bf16(radius * cos(angle)),
                            to_bf16(radius * sin(angle))};

        memcpy(to + i, pair, sizeof pair);
    }
}

/* NULL when there is none. */
static inline uint8_t *memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 1, bytes);
    return p;
}

#endif
