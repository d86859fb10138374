/*
 * optim.h - Adam in mixed precision with ZeRO-1: each rank of a bucket's group
 * sums, updates and hands out its own piece of the bucket.
 */
#ifndef TRAIN_LM_OPTIM_H
#define TRAIN_LM_OPTIM_H

#include "trainer/examples/train_lm/weights.h"

/*
 * Take the gradients in the buckets into parameters and optimizer state as
 * step `step` (the first is 1). Collective. Whatever of the state is still
 * being captured must have been fenced.
 */
void optim_step(struct weights *weights, const struct options *options,
                uint64_t step);

#endif
