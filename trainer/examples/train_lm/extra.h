/*
 * extra.h - the small values that go with the tensors.
 *
 *   config              ""       what the model is, in words
 *   step                ""       steps taken
 *   loss                ""       of the last step
 *   loader.next_sample  "dp"     the sample that this dp rank reads next
 *   rng.dropout         ""       key of the generator, advanced by each step
 *
 * Samples are numbered for the whole job, so the smallest position of all dp
 * ranks is where the job goes on, however many there are now. What is dropped
 * is drawn by the generator's key, sample and layer: one key serves all ranks,
 * and another layout goes on with the same draws.
 */
#ifndef TRAIN_LM_EXTRA_H
#define TRAIN_LM_EXTRA_H

#include "trainer/ckpt.h"
#include "trainer/examples/train_lm/mesh.h"

#define EXTRA_COUNT 5

struct progress {
    uint64_t step;
    uint64_t next_sample; /* of the whole job */
    double loss;          /* NaN before the first step */
    uint64_t dropout_key;
};

/* The values of a save; `values` point into the struct itself. */
struct extra {
    struct ckpt_value values[EXTRA_COUNT];
    char config[128];
};

void progress_init(struct progress *progress, const struct options *options);

/* The first sample of this rank's part of the next batch. */
uint64_t progress_first_sample(const struct progress *progress,
                               const struct options *options,
                               const struct mesh *mesh);

/* A step was taken, with this loss. */
void progress_advance(struct progress *progress, const struct options *options,
                      double loss);

void extra_fill(struct extra *extra, const struct progress *progress,
                const struct options *options, const struct mesh *mesh);

/* Ends the job unless the checkpoint is of the model that the flags name. */
void extra_check_config(const struct ckpt_values *values,
                        const struct options *options);

/* Take the progress from a checkpoint. Collective; ends the job when a value
 * is missing. */
void extra_read(const struct ckpt_values *values, const struct mesh *mesh,
                struct progress *progress);

#endif
