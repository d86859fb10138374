/*
 * gradcheck.h - are the gradients the derivatives of the loss, in this layout?
 */
#ifndef TRAIN_LM_GRADCHECK_H
#define TRAIN_LM_GRADCHECK_H

#include "trainer/examples/train_lm/model.h"

/*
 * For each parameter of the model, compare the gradient with the difference of
 * the loss along random directions. Collective. Prints a line per tensor on
 * rank 0's stdout; returns the greatest relative error, equal on all ranks.
 */
double gradcheck(struct model *model, const uint16_t *inputs,
                 const uint16_t *targets);

#endif
