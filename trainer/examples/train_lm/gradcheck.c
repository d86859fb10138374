/*
 * gradcheck.c - see gradcheck.h. A direction moves every element of a tensor by
 * plus or minus STEP, the sign a function of the global element, so that all
 * ranks and replicas move alike. The error is taken over several directions,
 * relative to how much the loss changes along them. Choices of experts are held
 * fixed: where they flip, the loss has no derivative.
 */
#include "trainer/examples/train_lm/gradcheck.h"

#include "trainer/examples/train_lm/region.h"
#include "trainer/examples/train_lm/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP       2e-3
#define DIRECTIONS 4

struct check {
    struct model *model;
    const uint16_t *inputs, *targets;
};

/* One shard along one direction. */
struct direction {
    struct param *param;
    const float *original;
    uint64_t key;
    double factor; /* moves work to original + factor * sign */
    double dot;    /* of gradient and sign */
};

static void move_run(void *context, uint64_t local, uint64_t global,
                     uint64_t count)
{
    struct direction *d = context;

    for (uint64_t i = 0; i < count; i++) {
        double sign = rng_at(d->key, global + i) & 1 ? 1 : -1;

        d->param->work[local + i] =
            (float)((double)d->original[local + i] + d->factor * sign);
        d->dot += (double)d->param->grad[local + i] * sign;
    }
}

static double loss_at(const struct check *check, struct direction *d,
                      double factor)
{
    if (d->param) {
        struct ckpt_tensor tensor = weights_tensor(d->param);

        d->factor = factor;
        d->dot = 0;
        region_walk(&tensor, move_run, d);
    }
    return model_pass(check->model, check->inputs, check->targets, false);
}

/* Relative error of one tensor; ranks that hold none of it take part too. */
static double check_tensor(const struct check *check, const struct spec *spec)
{
    struct weights *weights = check->model->weights;
    struct param *param = weights_find(weights, spec->role, spec->layer);
    size_t bytes = param ? param->count * sizeof(float) : 0;
    float *original = allocate(1, bytes);
    bool counts =
        param && param->optim_saved && param->optim_replica_index == 0;
    double error = 0, size = 0;

    if (param)
        memcpy(original, param->work, bytes);
    for (uint64_t i = 0; i < DIRECTIONS; i++) {
        struct direction d = {param, original, rng_key(i, spec->name), 0, 0};
        double up = loss_at(check, &d, STEP), down = loss_at(check, &d, -STEP);
        double slope = (up - down) / (2 * STEP);
        double expected =
            mesh_sum_double(&check->model->mesh->world, counts ? d.dot : 0);

        error += (slope - expected) * (slope - expected);
        size += slope * slope;
    }
    if (param)
        memcpy(param->work, original, bytes);
    free(original);
    return sqrt(error) / (sqrt(size) + 1e-12);
}

double gradcheck(struct model *model, const uint16_t *inputs,
                 const uint16_t *targets)
{
    struct check check = {model, inputs, targets};
    size_t count;
    struct spec *specs = weights_specs(model->options, &count);
    double worst = 0;

    model->is_training = false;
    (void)model_pass(model, inputs, targets, true);
    model->routes_frozen = true;
    for (size_t i = 0; i < count; i++) {
        double error;

        if (specs[i].role == ROLE_ACT_EMA || specs[i].role == ROLE_LOAD_EMA)
            continue;
        error = check_tensor(&check, &specs[i]);
        worst = fmax(worst, error);
        if (model->mesh->world.rank == 0)
            printf("gradient %-40s relative error %.5f\n", specs[i].name,
                   error);
    }
    model->routes_frozen = false;
    free(specs);
    return worst;
}
