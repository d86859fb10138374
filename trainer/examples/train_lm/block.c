/*
 * block.c - a residual block: norm, shift, the layer's MLP, dropout; and the
 * running statistics of all blocks. See model.h.
 */
#include "trainer/examples/train_lm/model.h"

#include "trainer/examples/train_lm/data.h"
#include "trainer/examples/train_lm/kernels.h"
#include "trainer/examples/train_lm/rng.h"

#include <stdlib.h>
#include <string.h>

#define EMA_KEEP 0.95F

void block_init(struct model *model, struct layer *layer, uint64_t index)
{
    size_t values = model->tokens * model->width;

    layer->index = index;
    layer->is_moe = weights_is_moe(model->options, index);
    layer->norm = weights_find(model->weights, ROLE_NORM, index);
    layer->input = allocate(values, sizeof(float));
    layer->rinv = allocate(model->tokens, sizeof(float));
    layer->z = allocate(values, sizeof(float));
    layer->keep = allocate(values, 1);
    if (layer->is_moe)
        moe_init(model, layer);
    else
        mlp_init(model, layer);
}

void block_fini(struct model *model, struct layer *layer)
{
    if (layer->is_moe)
        moe_fini(model, layer);
    else
        mlp_fini(layer);
    free(layer->input);
    free(layer->rinv);
    free(layer->z);
    free(layer->keep);
}

static size_t shift_of(const struct layer *layer, size_t channel)
{
    return (channel % 4) << (2 * (layer->index % 3));
}

/* to[t][c] = from[t - shift][c], zero before the sample begins. */
static void shift_forward(const struct model *model, const struct layer *layer,
                          size_t count, const float *from, float *to)
{
    for (size_t n = 0; n < count; n++) {
        size_t t = n % CONTEXT;

        for (size_t c = 0; c < model->width; c++) {
            size_t shift = shift_of(layer, c);

            to[n * model->width + c] =
                t < shift ? 0 : from[(n - shift) * model->width + c];
        }
    }
}

static void shift_backward(const struct model *model, const struct layer *layer,
                           size_t count, const float *dto, float *dfrom)
{
    for (size_t n = 0; n < count; n++) {
        size_t left = CONTEXT - 1 - n % CONTEXT;

        for (size_t c = 0; c < model->width; c++) {
            size_t shift = shift_of(layer, c);

            dfrom[n * model->width + c] =
                shift > left ? 0 : dto[(n + shift) * model->width + c];
        }
    }
}

/* Draw what is kept of one sample; four draws of 16 bits per number. */
static void draw_sample(uint64_t key, uint32_t limit, uint8_t *keep,
                        size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        uint64_t bits = rng_at(key, i);

        for (size_t j = i; j < count && j < i + 4; j++, bits >>= 16)
            keep[j] = (bits & 65535) >= limit;
    }
}

/* What a sample drops depends on the generator's state, the sample and the
 * layer, not on the rank that it is on. */
static void draw_keep(const struct model *model, struct layer *layer,
                      struct range range)
{
    uint32_t limit = (uint32_t)(model->options->dropout * 65536);
    size_t values = CONTEXT * model->width;
    uint8_t *keep = layer->keep + range.begin * model->width;

    if (!model->is_training || limit == 0) {
        memset(keep, 1, range.count * model->width);
        return;
    }
    for (size_t i = 0; i < range.count / CONTEXT; i++) {
        uint64_t sample = model->first_sample + range.begin / CONTEXT + i;
        uint64_t key = rng_at(*model->dropout_key,
                              sample * model->options->layers + layer->index);

        draw_sample(key, limit, keep + i * values, values);
    }
}

static float keep_scale(const struct model *model)
{
    return model->is_training ? 1 / (1 - (float)model->options->dropout) : 1;
}

void block_forward(struct model *model, struct layer *layer, struct range range)
{
    size_t at = range.begin * model->width, count = range.count * model->width;
    float *stream = model->stream + at, scale = keep_scale(model);
    const uint8_t *keep = layer->keep + at;

    memcpy(layer->input + at, stream, count * sizeof *stream);
    rms_norm_forward(range.count, model->width, stream, layer->norm->work,
                     model->y, layer->rinv + range.begin);
    shift_forward(model, layer, range.count, model->y, layer->z + at);
    if (layer->is_moe)
        moe_forward(model, layer, range, model->y);
    else
        mlp_forward(model, layer, range, model->y);
    draw_keep(model, layer, range);
    for (size_t i = 0; i < count; i++)
        stream[i] += keep[i] ? model->y[i] * scale : 0;
}

void block_backward(struct model *model, struct layer *layer,
                    struct range range)
{
    size_t at = range.begin * model->width, count = range.count * model->width;
    float *gradient = model->gradient + at, scale = keep_scale(model);
    const uint8_t *keep = layer->keep + at;
    struct rms_norm norm = {range.count, model->width, layer->input + at,
                            layer->norm->work, layer->rinv + range.begin};

    for (size_t i = 0; i < count; i++)
        model->y[i] = keep[i] ? gradient[i] * scale : 0;
    if (layer->is_moe)
        moe_backward(model, layer, range, model->y, model->dz);
    else
        mlp_backward(model, layer, range, model->y, model->dz);
    shift_backward(model, layer, range.count, model->dz, model->y);
    rms_norm_backward(&norm, model->y, gradient, layer->norm->grad);
}

static struct param *statistic(const struct layer *layer)
{
    return layer->is_moe ? layer->load_ema : layer->act_ema;
}

void block_update_statistics(struct model *model)
{
    float total = (float)(model->tokens * (size_t)model->mesh->dp.size);
    size_t count = 0, at = 0;
    float *sums;

    for (size_t l = 0; l < model->layer_count; l++)
        count += statistic(&model->layers[l])->count;
    sums = allocate(count, sizeof *sums);
    for (size_t l = 0; l < model->layer_count; l++) {
        struct layer *layer = &model->layers[l];
        size_t part = statistic(layer)->count;

        memcpy(sums + at, layer->seen, part * sizeof *sums);
        memset(layer->seen, 0, part * sizeof *sums);
        at += part;
    }
    mesh_sum(&model->mesh->dp, sums, count);
    at = 0;
    for (size_t l = 0; l < model->layer_count; l++) {
        struct param *param = statistic(&model->layers[l]);

        for (size_t i = 0; i < param->count; i++, at++)
            param->work[i] =
                EMA_KEEP * param->work[i] + (1 - EMA_KEEP) * sums[at] / total;
    }
    free(sums);
}
