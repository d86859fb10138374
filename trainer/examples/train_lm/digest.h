/*
 * digest.h - one SHA-256 over the whole state, the same in every layout.
 *
 * Tensors in the order of their names; of each its name with a NUL, and its
 * elements in row-major order of the logical shape, as stored. Parameters,
 * optimizer state and running statistics are all in it.
 */
#ifndef TRAIN_LM_DIGEST_H
#define TRAIN_LM_DIGEST_H

#include "trainer/examples/train_lm/state.h"

#define DIGEST_TEXT_BYTES 65

/*
 * Collective; `text` is filled in on rank 0 of the world. Rank 0 gathers each
 * tensor in pieces of bounded size. Ends the job when an element is held by no
 * rank, or by two that do not call themselves replicas.
 */
void digest_state(const struct state *state, const struct options *options,
                  const struct mesh *mesh, char text[DIGEST_TEXT_BYTES]);

#endif
