/*
 * head.c - embedding, and softmax cross-entropy over a vocabulary that is
 * sharded over tp; see model.h.
 *
 * A rank has the rows of its share of the vocabulary. When tp does not divide
 * it, the last shares hold rows that are padding: they are no candidates, so
 * their logits have no part in the softmax and their gradient is zero.
 */
#include "trainer/examples/train_lm/model.h"

#include "trainer/examples/train_lm/data.h"
#include "trainer/examples/train_lm/kernels.h"

#include <math.h>
#include <string.h>

/* This rank's rows: `size` of them from `first`, of which `live` exist. */
struct rows {
    size_t first, size, live;
};

static struct rows rows_of(const struct param *param)
{
    struct rows rows = {param->boxes[0].offset[0], param->boxes[0].size[0], 0};

    if (rows.first < VOCAB)
        rows.live =
            VOCAB - rows.first < rows.size ? VOCAB - rows.first : rows.size;
    return rows;
}

/* The local row of a token, or NULL: it is another rank's. */
static float *row_of(float *matrix, struct rows rows, uint16_t token,
                     size_t width)
{
    if (token < rows.first || token - rows.first >= rows.live)
        return NULL;
    return matrix + (token - rows.first) * width;
}

void embed_forward(struct model *model, struct range range,
                   const uint16_t *inputs)
{
    struct rows rows = rows_of(model->embed);
    size_t width = model->width;
    float *stream = model->stream + range.begin * width;

    memset(stream, 0, range.count * width * sizeof *stream);
    for (size_t n = 0; n < range.count; n++) {
        const float *row =
            row_of(model->embed->work, rows, inputs[range.begin + n], width);

        if (row)
            memcpy(stream + n * width, row, width * sizeof *stream);
    }
    mesh_sum(&model->mesh->tp, stream, range.count * width);
}

void embed_backward(struct model *model, struct range range,
                    const uint16_t *inputs)
{
    struct rows rows = rows_of(model->embed);
    size_t width = model->width;

    for (size_t n = range.begin; n < range.begin + range.count; n++) {
        float *row = row_of(model->embed->grad, rows, inputs[n], width);

        for (size_t c = 0; row && c < width; c++)
            row[c] += model->gradient[n * width + c];
    }
}

/* Logits of existing rows -> exp(logit - top); small = {sum, target's logit}
 * of this rank's share, per token. */
static void exponentials(struct model *model, struct range range,
                         struct rows rows, const uint16_t *targets)
{
    float *small = model->small, *top = model->small + 2 * range.count;

    for (size_t n = 0; n < range.count; n++) {
        const float *logits = model->logits + (range.begin + n) * rows.size;

        top[n] = -INFINITY;
        for (size_t v = 0; v < rows.live; v++)
            top[n] = fmaxf(top[n], logits[v]);
    }
    mesh_max(&model->mesh->tp, top, range.count);
    for (size_t n = 0; n < range.count; n++) {
        float *logits = model->logits + (range.begin + n) * rows.size;
        const float *target = row_of(logits, rows, targets[range.begin + n], 1);

        small[2 * n + 1] = target ? *target - top[n] : 0;
        small[2 * n] = 0;
        for (size_t v = 0; v < rows.live; v++) {
            logits[v] = expf(logits[v] - top[n]);
            small[2 * n] += logits[v];
        }
    }
    mesh_sum(&model->mesh->tp, small, 2 * range.count);
}

double head_forward(struct model *model, struct range range,
                    const uint16_t *targets)
{
    struct rows rows = rows_of(model->head);
    size_t width = model->width, at = range.begin * width;
    float *logits = model->logits + range.begin * rows.size;
    float whole = (float)(model->tokens * (size_t)model->mesh->dp.size);
    double loss = 0;

    rms_norm_forward(range.count, width, model->stream + at,
                     model->final_norm->work, model->final_z + at,
                     model->final_rinv + range.begin);
    memset(logits, 0, range.count * rows.size * sizeof *logits);
    linear_forward((struct linear){range.count, rows.size, width},
                   model->final_z + at, model->head->work, logits);
    exponentials(model, range, rows, targets);
    for (size_t n = 0; n < range.count; n++, logits += rows.size) {
        float sum = model->small[2 * n];
        float *target = row_of(logits, rows, targets[range.begin + n], 1);

        loss += log(sum) - model->small[2 * n + 1];
        for (size_t v = 0; v < rows.live; v++)
            logits[v] /= sum * whole;
        for (size_t v = rows.live; v < rows.size; v++)
            logits[v] = 0;
        if (target)
            *target -= 1 / whole;
    }
    return loss;
}

void head_backward(struct model *model, struct range range)
{
    struct rows rows = rows_of(model->head);
    size_t width = model->width, at = range.begin * width;
    const float *dlogits = model->logits + range.begin * rows.size;
    struct linear size = {range.count, rows.size, width};
    struct rms_norm norm = {range.count, width, model->stream + at,
                            model->final_norm->work,
                            model->final_rinv + range.begin};

    linear_gradient(size, dlogits, model->final_z + at, model->head->grad);
    memset(model->dz, 0, range.count * width * sizeof(float));
    linear_backward(size, dlogits, model->head->work, model->dz);
    mesh_sum(&model->mesh->tp, model->dz, range.count * width);
    memset(model->gradient + at, 0, range.count * width * sizeof(float));
    rms_norm_backward(&norm, model->dz, model->gradient + at,
                      model->final_norm->grad);
}
