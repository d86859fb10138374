/*
 * rng.h - random numbers whose whole state is two words.
 *
 * A stream is a key and a counter; number i of a key is a pure function of
 * both. So weights can be made element by element in any layout, the order of
 * samples is a function of the sample's index, and the state of a generator is
 * sixteen bytes of extra state.
 */
#ifndef TRAIN_LM_RNG_H
#define TRAIN_LM_RNG_H

#include <stdint.h>

struct rng {
    uint64_t key, counter;
};

/* A key for `purpose` under `seed`. */
uint64_t rng_key(uint64_t seed, const char *purpose);

/* Number `index` of `key`, 64 even bits. */
uint64_t rng_at(uint64_t key, uint64_t index);

/* The same as a normal variate of mean 0 and deviation 1. */
float rng_normal(uint64_t key, uint64_t index);

static inline uint64_t rng_next(struct rng *rng)
{
    return rng_at(rng->key, rng->counter++);
}

#endif
