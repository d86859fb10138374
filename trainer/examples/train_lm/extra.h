/*
 * extra.h - the small values that go with the tensors.
 *
 *   config              ""       what the model is, in words
 *   step                ""       steps taken
 *   loss                ""       of the last step
 *   loader.next_sample  "dp"     the sample that this dp rank reads next
 *   rng.dropout         "dp,pp"  key and counter of the generator
 *
 * Samples are numbered for the whole job, so the smallest position of all dp
 * ranks is where the job goes on, however many there are now. A generator
 * belongs to a coordinate; where dp or pp has changed, each rank starts a new
 * one whose key depends on seed, step and coordinate.
 */
#ifndef TRAIN_LM_EXTRA_H
#define TRAIN_LM_EXTRA_H

#include "trainer/ckpt.h"
#include "trainer/examples/train_lm/mesh.h"
#include "trainer/examples/train_lm/rng.h"

#define EXTRA_COUNT 5

struct progress {
    uint64_t step;
    uint64_t next_sample; /* of the whole job */
    double loss;          /* NaN before the first step */
    struct rng dropout;
};

/* The values of a save; `values` point into the struct itself. */
struct extra {
    struct ckpt_value values[EXTRA_COUNT];
    char config[128];
    uint64_t generator[2]; /* little-endian */
};

void progress_init(struct progress *progress, const struct options *options,
                   const struct mesh *mesh);

void extra_fill(struct extra *extra, const struct progress *progress,
                const struct options *options, const struct mesh *mesh);

/* Ends the job unless the checkpoint is of the model that the flags name. */
void extra_check_config(const struct ckpt_values *values,
                        const struct options *options);

/* Take the progress from a checkpoint. Collective; ends the job when a value
 * is missing. */
void extra_read(const struct ckpt_values *values, const struct options *options,
                struct mesh *mesh, struct progress *progress);

#endif
