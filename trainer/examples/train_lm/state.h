/*
 * state.h - what this rank saves and loads, as descriptors for ckptd.
 *
 * Parameters and optimizer state stay as they are from one optimizer step to
 * the next, so they are captured until the fence. The running statistics change
 * in the forward pass right after a save: they are captured at once.
 *
 * The optimizer's tensors are named optim.master.NAME, optim.exp_avg.NAME and
 * optim.exp_avg_sq.NAME: a rank holds a cut of the parameter's boxes, as far as
 * its piece of the bucket reaches.
 */
#ifndef TRAIN_LM_STATE_H
#define TRAIN_LM_STATE_H

#include "trainer/ckpt.h"
#include "trainer/examples/train_lm/weights.h"

#define STATE_NAME_BYTES (SPEC_NAME_BYTES + 32)

struct state {
    struct ckpt_tensor *tensors; /* load all of them; */
    size_t count;
    size_t saved_count; /* save the first ones */
    char (*names)[STATE_NAME_BYTES];
};

/* The three kinds of optimizer state; i < 3. */
const char *state_optim_prefix(size_t i);

/* Descriptors of what `weights` holds; `weights` must outlive the state. */
void state_init(struct state *state, const struct weights *weights);
void state_fini(struct state *state);

#endif
