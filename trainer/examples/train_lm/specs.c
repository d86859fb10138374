/*
 * specs.c - the list of tensors of the whole model; see weights.h.
 */
#include "trainer/examples/train_lm/weights.h"

#include "trainer/examples/train_lm/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is the same for all tensors of a role. */
struct form {
    const char *name;
    enum ckpt_dtype dtype;
    uint32_t ndim;
};

static const struct form forms[ROLE_COUNT] = {
    [ROLE_EMBED] = {"embed.weight", CKPT_BF16, 2},
    [ROLE_NORM] = {"norm.weight", CKPT_F32, 1},
    [ROLE_GATE_UP] = {"mlp.gate_up.weight", CKPT_BF16, 2},
    [ROLE_DOWN] = {"mlp.down.weight", CKPT_BF16, 2},
    [ROLE_ACT_EMA] = {"mlp.act_ema", CKPT_F32, 1},
    [ROLE_ROUTER] = {"router.weight", CKPT_BF16, 2},
    [ROLE_LOAD_EMA] = {"router.load_ema", CKPT_F32, 1},
    [ROLE_EXPERT_GATE_UP] = {"experts.gate_up.weight", CKPT_BF16, 3},
    [ROLE_EXPERT_DOWN] = {"experts.down.weight", CKPT_BF16, 3},
    [ROLE_FINAL_NORM] = {"norm.weight", CKPT_F32, 1},
    [ROLE_HEAD] = {"head.weight", CKPT_BF16, 2},
};

static void set_shape(struct spec *spec, const struct options *options)
{
    uint64_t width = options->width, ffn = weights_ffn(options);
    uint64_t experts = options->experts;
    const uint64_t shapes[ROLE_COUNT][3] = {
        [ROLE_EMBED] = {VOCAB, width},
        [ROLE_NORM] = {width},
        [ROLE_GATE_UP] = {2 * ffn, width},
        [ROLE_DOWN] = {width, ffn},
        [ROLE_ACT_EMA] = {ffn},
        [ROLE_ROUTER] = {experts, width},
        [ROLE_LOAD_EMA] = {experts},
        [ROLE_EXPERT_GATE_UP] = {experts, 2 * ffn, width},
        [ROLE_EXPERT_DOWN] = {experts, width, ffn},
        [ROLE_FINAL_NORM] = {width},
        [ROLE_HEAD] = {VOCAB, width},
    };

    memcpy(spec->shape, shapes[spec->role], sizeof spec->shape);
}

/* Deviations that keep activations near one; residual branches start small. */
static float deviation(enum role role, const struct options *options)
{
    float in = 1 / sqrtf((float)options->width);

    switch (role) {
    case ROLE_EMBED:
        return 1;
    case ROLE_GATE_UP:
    case ROLE_EXPERT_GATE_UP:
    case ROLE_ROUTER:
    case ROLE_HEAD:
        return in;
    case ROLE_DOWN:
    case ROLE_EXPERT_DOWN:
        return in / sqrtf(2 * (float)options->layers);
    case ROLE_NORM:
    case ROLE_ACT_EMA:
    case ROLE_LOAD_EMA:
    case ROLE_FINAL_NORM:
    case ROLE_COUNT:
        break;
    }
    return 0;
}

static struct spec *add(struct spec *spec, const struct options *options,
                        enum role role, int64_t layer)
{
    memset(spec, 0, sizeof *spec);
    if (layer < 0)
        (void)snprintf(spec->name, sizeof spec->name, "model.%s",
                       forms[role].name);
    else
        (void)snprintf(spec->name, sizeof spec->name, "model.layers.%lld.%s",
                       (long long)layer, forms[role].name);
    spec->role = role;
    spec->layer = layer < 0 ? 0 : (uint64_t)layer;
    spec->dtype = forms[role].dtype;
    spec->ndim = forms[role].ndim;
    set_shape(spec, options);
    spec->deviation = deviation(role, options);
    /* As a head the embedding has to start as one. */
    if (role == ROLE_EMBED && options->tied)
        spec->deviation = deviation(ROLE_HEAD, options);
    return spec + 1;
}

struct spec *weights_specs(const struct options *options, size_t *count)
{
    struct spec *specs = allocate(5 * options->layers + 3, sizeof *specs);
    struct spec *next = specs;

    next = add(next, options, ROLE_EMBED, -1);
    for (uint64_t l = 0; l < options->layers; l++) {
        int64_t layer = (int64_t)l;

        next = add(next, options, ROLE_NORM, layer);
        if (weights_is_moe(options, l)) {
            next = add(next, options, ROLE_ROUTER, layer);
            next = add(next, options, ROLE_LOAD_EMA, layer);
            next = add(next, options, ROLE_EXPERT_GATE_UP, layer);
            next = add(next, options, ROLE_EXPERT_DOWN, layer);
        } else {
            next = add(next, options, ROLE_GATE_UP, layer);
            next = add(next, options, ROLE_DOWN, layer);
            next = add(next, options, ROLE_ACT_EMA, layer);
        }
    }
    next = add(next, options, ROLE_FINAL_NORM, -1);
    if (!options->tied)
        next = add(next, options, ROLE_HEAD, -1);
    *count = (size_t)(next - specs);
    return specs;
}
