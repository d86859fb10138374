/*
 * region.h - walk a descriptor's region: which local element is which global.
 *
 * The trainer needs this for itself in two places, to make initial weights that
 * do not depend on the layout and to hash the state, and keeps its own code for
 * it: what the hash says about a restore must not lean on the library's.
 */
#ifndef TRAIN_LM_REGION_H
#define TRAIN_LM_REGION_H

#include "trainer/ckpt.h"

/* `count` elements from `local` (index from tensor->data) are the global ones
 * from `global` (row-major index in the logical shape). */
typedef void (*region_run)(void *context, uint64_t local, uint64_t global,
                           uint64_t count);

/* Call `run` for every stretch of elements inside the logical shape, in local
 * order; padding is left out. At least one dimension, no strides. */
void region_walk(const struct ckpt_tensor *tensor, region_run run,
                 void *context);

/* Elements of the logical shape, and of the boxes with their padding. */
uint64_t region_logical_count(const struct ckpt_tensor *tensor);
uint64_t region_local_count(const struct ckpt_tensor *tensor);

#endif
