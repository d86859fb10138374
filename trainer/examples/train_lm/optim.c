/*
 * optim.c - see optim.h. The master weights are fp32; what the forward pass
 * reads is the master rounded to the parameter's type, so a piece of `work` can
 * be handed to the other ranks as it is.
 */
#include "trainer/examples/train_lm/optim.h"

#include "trainer/examples/train_lm/kernels.h"

#include <math.h>
#include <stdlib.h>

#define BETA1   0.9F
#define BETA2   0.98F
#define EPSILON 1e-8F
#define WARM_UP 20

struct update {
    float rate, correct1, correct2;
};

static struct update update_of(const struct options *options, uint64_t step)
{
    double warm = step < WARM_UP ? (double)step / WARM_UP : 1;

    return (struct update){
        .rate = (float)(options->lr * warm),
        .correct1 = (float)(1 - pow(BETA1, (double)step)),
        .correct2 = (float)(1 - pow(BETA2, (double)step)),
    };
}

static void adam(const struct bucket *bucket, const float *grad,
                 struct update update)
{
    for (size_t i = 0; i < bucket->piece; i++) {
        float m = BETA1 * bucket->exp_avg[i] + (1 - BETA1) * grad[i];
        float v =
            BETA2 * bucket->exp_avg_sq[i] + (1 - BETA2) * grad[i] * grad[i];

        bucket->exp_avg[i] = m;
        bucket->exp_avg_sq[i] = v;
        bucket->master[i] -= update.rate * (m / update.correct1) /
                             (sqrtf(v / update.correct2) + EPSILON);
    }
}

/* This rank's master weights of one parameter -> work, rounded. */
static void publish(const struct bucket *bucket, const struct param *param)
{
    size_t begin = (size_t)bucket->group->rank * bucket->piece;
    size_t from = param->at > begin ? param->at : begin;
    size_t to = param->at + param->count;

    if (to > begin + bucket->piece)
        to = begin + bucket->piece;
    for (size_t i = from; i < to; i++) {
        float value = bucket->master[i - begin];

        if (param->spec.dtype == CKPT_BF16)
            value = float_from_bf16(bf16_from_float(value));
        bucket->work[i] = value;
    }
}

static void bucket_step(struct weights *weights, struct bucket *bucket,
                        struct update update)
{
    float *grad = allocate(bucket->piece, sizeof *grad);

    mesh_reduce_scatter(bucket->group, bucket->grad, grad, bucket->piece);
    adam(bucket, grad, update);
    for (size_t i = 0; i < weights->count; i++) {
        if (weights->params[i].bucket == bucket)
            publish(bucket, &weights->params[i]);
    }
    mesh_all_gather(bucket->group, bucket->work, bucket->piece);
    free(grad);
}

void optim_step(struct weights *weights, const struct options *options,
                uint64_t step)
{
    struct update update = update_of(options, step);

    bucket_step(weights, &weights->dense, update);
    if (weights->expert.count > 0)
        bucket_step(weights, &weights->expert, update);
    weights_pack(weights);
}
