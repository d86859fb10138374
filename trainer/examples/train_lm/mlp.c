/*
 * mlp.c - the dense gated MLP under tensor parallelism; see model.h.
 *
 * A rank holds rows of the gate and the same rows of the up half, end to end,
 * and the matching columns of down: hidden channels never leave their rank,
 * and one sum over tp gives the output.
 */
#include "trainer/examples/train_lm/model.h"

#include "trainer/examples/train_lm/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void mlp_init(struct model *model, struct layer *layer)
{
    struct weights *weights = model->weights;

    layer->gate_up = weights_find(weights, ROLE_GATE_UP, layer->index);
    layer->down = weights_find(weights, ROLE_DOWN, layer->index);
    layer->act_ema = weights_find(weights, ROLE_ACT_EMA, layer->index);
    layer->hidden = allocate(model->tokens * 2 * model->ffn, sizeof(float));
    layer->sig = allocate(model->tokens * model->ffn, sizeof(float));
    layer->act = allocate(model->tokens * model->ffn, sizeof(float));
    layer->act_scale = allocate(model->ffn, sizeof(float));
    layer->seen = allocate(model->ffn, sizeof(float));
}

void mlp_fini(struct layer *layer)
{
    free(layer->hidden);
    free(layer->sig);
    free(layer->act);
    free(layer->act_scale);
    free(layer->seen);
}

static struct swiglu gate_of(const struct model *model,
                             const struct layer *layer, struct range range)
{
    return (struct swiglu){
        .count = range.count,
        .width = model->ffn,
        .gate_up = layer->hidden + range.begin * 2 * model->ffn,
        .scale = layer->act_scale,
        .sig = layer->sig + range.begin * model->ffn,
        .act = layer->act + range.begin * model->ffn,
    };
}

/* The statistic is of the activations before they are scaled. */
static void see(const struct model *model, struct layer *layer,
                const struct swiglu *gate)
{
    for (size_t n = 0; n < gate->count; n++) {
        const float *act = gate->act + n * model->ffn;

        for (size_t c = 0; c < model->ffn; c++) {
            float raw = act[c] / layer->act_scale[c];

            layer->seen[c] += raw * raw;
        }
    }
}

void mlp_forward(struct model *model, struct layer *layer, struct range range,
                 float *y)
{
    struct swiglu gate = gate_of(model, layer, range);
    float *hidden = layer->hidden + range.begin * 2 * model->ffn;

    for (size_t c = 0; c < model->ffn; c++)
        layer->act_scale[c] = 1 / sqrtf(layer->act_ema->work[c] + 1e-3F);
    memset(hidden, 0, range.count * 2 * model->ffn * sizeof *hidden);
    linear_forward((struct linear){range.count, 2 * model->ffn, model->width},
                   layer->z + range.begin * model->width, layer->gate_up->work,
                   hidden);
    swiglu_forward(&gate);
    if (model->is_training)
        see(model, layer, &gate);
    memset(y, 0, range.count * model->width * sizeof *y);
    linear_forward((struct linear){range.count, model->width, model->ffn},
                   gate.act, layer->down->work, y);
    mesh_sum(&model->mesh->tp, y, range.count * model->width);
}

void mlp_backward(struct model *model, struct layer *layer, struct range range,
                  const float *dy, float *dz)
{
    struct linear down = {range.count, model->width, model->ffn};
    struct linear gate_up = {range.count, 2 * model->ffn, model->width};
    struct swiglu gate = gate_of(model, layer, range);

    memset(model->dhidden, 0, range.count * model->ffn * sizeof(float));
    linear_backward(down, dy, layer->down->work, model->dhidden);
    linear_gradient(down, dy, gate.act, layer->down->grad);
    swiglu_backward(&gate, model->dhidden, model->dgate_up);
    linear_gradient(gate_up, model->dgate_up,
                    layer->z + range.begin * model->width,
                    layer->gate_up->grad);
    memset(dz, 0, range.count * model->width * sizeof *dz);
    linear_backward(gate_up, model->dgate_up, layer->gate_up->work, dz);
    mesh_sum(&model->mesh->tp, dz, range.count * model->width);
}
