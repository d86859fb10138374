/*
 * rng.c - see rng.h. Two rounds of multiply and xor-shift over key and index
 * (the finalisers of splitmix64), and Box and Muller's transform.
 */
#include "trainer/examples/train_lm/rng.h"

#include <math.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t rng_key(uint64_t seed, const char *purpose)
{
    uint64_t key = mix(seed + UINT64_C(0x9e3779b97f4a7c15));

    for (const char *p = purpose; *p; p++)
        key = mix(key ^ (unsigned char)*p) + UINT64_C(0x9e3779b97f4a7c15);
    return key;
}

uint64_t rng_at(uint64_t key, uint64_t index)
{
    return mix(mix(key + index * UINT64_C(0x9e3779b97f4a7c15)) ^ key);
}

float rng_normal(uint64_t key, uint64_t index)
{
    uint64_t bits = rng_at(key, index);
    double u = ((double)(bits >> 32) + 0.5) * 0x1p-32;
    double v = ((double)(bits & UINT32_MAX) + 0.5) * 0x1p-32;

    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}
