/*
 * rng.h - random numbers by place instead of by order.
 *
 * Number i of a key is a pure function of both. So weights can be made element
 * by element in any layout, the order of samples is a function of a sample's
 * index, and a generator that is to be advanced is one word: its key.
 */
#ifndef TRAIN_LM_RNG_H
#define TRAIN_LM_RNG_H

#include <stdint.h>

/* A key for `purpose` under `seed`. */
uint64_t rng_key(uint64_t seed, const char *purpose);

/* Number `index` of `key`, 64 even bits. */
uint64_t rng_at(uint64_t key, uint64_t index);

/* The same as a normal variate of mean 0 and deviation 1. */
float rng_normal(uint64_t key, uint64_t index);

#endif
