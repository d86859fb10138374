/*
 * model.c - memory of the network, the pipeline, and the tied embedding.
 * See model.h.
 */
#include "trainer/examples/train_lm/model.h"

#include "trainer/examples/train_lm/data.h"

#include <stdlib.h>
#include <string.h>

#define MICRO_COUNT_MAX 4

/* With stages, as many micro-batches as divide the samples, at most four. */
static size_t choose_micro_count(const struct options *options)
{
    size_t samples = options->batch / options->dp, count = 1;

    if (options->pp == 1)
        return 1;
    for (size_t m = 2; m <= MICRO_COUNT_MAX; m++) {
        if (samples % m == 0)
            count = m;
    }
    return count;
}

static void allocate_scratch(struct model *model)
{
    size_t tokens = model->tokens, width = model->width;
    size_t micro = tokens / model->micro_count;

    model->stream = allocate(tokens * width, sizeof(float));
    model->gradient = allocate(tokens * width, sizeof(float));
    model->small = allocate(micro * 3, sizeof(float));
    model->y = allocate(micro * width, sizeof(float));
    model->dz = allocate(micro * width, sizeof(float));
    model->dhidden = allocate(micro * model->ffn, sizeof(float));
    model->dgate_up = allocate(micro * 2 * model->ffn, sizeof(float));
    if (!model->is_last)
        return;
    model->final_rinv = allocate(tokens, sizeof(float));
    model->final_z = allocate(tokens * width, sizeof(float));
    model->logits =
        allocate(tokens * model->head->boxes[0].size[0], sizeof(float));
}

void model_init(struct model *model, struct weights *weights,
                const struct options *options, struct mesh *mesh,
                const uint64_t *dropout_key)
{
    uint64_t stage = (uint64_t)mesh->pp.rank;
    uint64_t first = weights_stage_begin(options, stage);

    memset(model, 0, sizeof *model);
    model->options = options;
    model->mesh = mesh;
    model->weights = weights;
    model->dropout_key = dropout_key;
    model->width = options->width;
    model->ffn = weights_ffn(options) / options->tp;
    model->tokens = options->batch / options->dp * CONTEXT;
    model->micro_count = choose_micro_count(options);
    model->is_first = stage == 0;
    model->is_last = stage + 1 == options->pp;
    model->embed = weights_find(weights, ROLE_EMBED, 0);
    model->final_norm = weights_find(weights, ROLE_FINAL_NORM, 0);
    model->head =
        options->tied ? model->embed : weights_find(weights, ROLE_HEAD, 0);
    model->layer_count =
        (size_t)(weights_stage_begin(options, stage + 1) - first);
    model->layers = allocate(model->layer_count, sizeof *model->layers);
    for (size_t l = 0; l < model->layer_count; l++)
        block_init(model, &model->layers[l], first + l);
    allocate_scratch(model);
}

void model_fini(struct model *model)
{
    for (size_t l = 0; l < model->layer_count; l++)
        block_fini(model, &model->layers[l]);
    free(model->layers);
    free(model->stream);
    free(model->gradient);
    free(model->small);
    free(model->y);
    free(model->dz);
    free(model->dhidden);
    free(model->dgate_up);
    free(model->final_rinv);
    free(model->final_z);
    free(model->logits);
}

static struct range micro_batch(const struct model *model, size_t index)
{
    size_t count = model->tokens / model->micro_count;

    return (struct range){index * count, count, index};
}

/* Returns the sum of the losses on the last stage, else 0. */
static double micro_forward(struct model *model, struct range range,
                            const uint16_t *inputs, const uint16_t *targets)
{
    float *stream = model->stream + range.begin * model->width;
    size_t count = range.count * model->width;
    const struct group *pp = &model->mesh->pp;

    if (model->is_first)
        embed_forward(model, range, inputs);
    else
        mesh_receive(pp, pp->rank - 1, stream, count);
    for (size_t l = 0; l < model->layer_count; l++)
        block_forward(model, &model->layers[l], range);
    if (model->is_last)
        return head_forward(model, range, targets);
    mesh_send(pp, pp->rank + 1, stream, count);
    return 0;
}

static void micro_backward(struct model *model, struct range range,
                           const uint16_t *inputs)
{
    float *gradient = model->gradient + range.begin * model->width;
    size_t count = range.count * model->width;
    const struct group *pp = &model->mesh->pp;

    if (model->is_last)
        head_backward(model, range);
    else
        mesh_receive(pp, pp->rank + 1, gradient, count);
    for (size_t l = model->layer_count; l-- > 0;)
        block_backward(model, &model->layers[l], range);
    if (model->is_first)
        embed_backward(model, range, inputs);
    else
        mesh_send(pp, pp->rank - 1, gradient, count);
}

/* Both holders of a tied embedding end with the same sum. */
static void sum_tied(struct model *model)
{
    struct group *pp = &model->mesh->pp;
    size_t count;
    float *mine, *other;
    int peer;

    if (!model->options->tied || pp->size == 1 || !model->embed)
        return;
    peer = model->is_first ? pp->size - 1 : 0;
    count = model->embed->count;
    mine = model->embed->grad;
    other = allocate(count, sizeof *other);
    mesh_swap(pp, peer, mine, other, count);
    for (size_t i = 0; i < count; i++)
        mine[i] += other[i];
    free(other);
}

static void clear(const struct bucket *bucket)
{
    memset(bucket->grad, 0,
           bucket->piece * (size_t)bucket->group->size * sizeof(float));
}

double model_pass(struct model *model, const uint16_t *inputs,
                  const uint16_t *targets, bool backward)
{
    double loss = 0;

    for (size_t m = 0; m < model->micro_count; m++)
        loss += micro_forward(model, micro_batch(model, m), inputs, targets);
    if (model->is_training)
        block_update_statistics(model);
    if (backward) {
        clear(&model->weights->dense);
        clear(&model->weights->expert);
        for (size_t m = model->micro_count; m-- > 0;)
            micro_backward(model, micro_batch(model, m), inputs);
        sum_tied(model);
    }
    /* Ranks of one tp group have the same loss; count it once. */
    if (model->mesh->tp.rank > 0)
        loss = 0;
    return mesh_sum_double(&model->mesh->world, loss) /
           (double)(model->options->batch * CONTEXT);
}
