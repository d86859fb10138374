/*
 * moe.c - a mixture of experts with top-1 routing; see model.h.
 *
 * The router is replicated and chooses one expert per token: the greatest
 * logit, corrected by how much the expert is used already. Tokens are sorted
 * by expert, which sorts them by rank of ep too, and travel there and back by
 * one all-to-all each way. No token is dropped, so what a rank receives varies
 * and its buffers are made anew in each forward pass. Each expert is itself cut
 * over tp; ranks of one tp group choose alike, and their outputs are summed at
 * the tokens' home. The output is weighted by the softmax of the choice, which
 * is what trains the router.
 */
#include "trainer/examples/train_lm/model.h"

#include "trainer/examples/train_lm/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A stretch of received tokens for one local expert. */
struct segment {
    size_t begin, count, expert;
};

static size_t local_experts(const struct model *model)
{
    return model->options->experts / (size_t)model->mesh->ep.size;
}

void moe_init(struct model *model, struct layer *layer)
{
    struct weights *weights = model->weights;
    size_t experts = model->options->experts;
    size_t tokens = model->tokens / model->micro_count;

    layer->router = weights_find(weights, ROLE_ROUTER, layer->index);
    layer->load_ema = weights_find(weights, ROLE_LOAD_EMA, layer->index);
    layer->expert_gate_up =
        weights_find(weights, ROLE_EXPERT_GATE_UP, layer->index);
    layer->expert_down = weights_find(weights, ROLE_EXPERT_DOWN, layer->index);
    layer->seen = allocate(experts, sizeof(float));
    layer->routes = allocate(model->micro_count, sizeof *layer->routes);
    for (size_t m = 0; m < model->micro_count; m++) {
        struct route *route = &layer->routes[m];

        route->choice = allocate(tokens, sizeof(uint32_t));
        route->order = allocate(tokens, sizeof(uint32_t));
        route->share = allocate(tokens * experts, sizeof(float));
        route->out = allocate(tokens * model->width, sizeof(float));
        route->sent_counts = allocate(experts, sizeof(int));
        route->here_counts = allocate(experts, sizeof(int));
    }
}

static void free_received(struct route *route)
{
    free(route->x);
    free(route->gate_up);
    free(route->sig);
    free(route->act);
}

void moe_fini(struct model *model, struct layer *layer)
{
    for (size_t m = 0; m < model->micro_count; m++) {
        struct route *route = &layer->routes[m];

        free_received(route);
        free(route->choice);
        free(route->order);
        free(route->share);
        free(route->out);
        free(route->sent_counts);
        free(route->here_counts);
    }
    free(layer->routes);
    free(layer->seen);
}

/* The choice for one token, and its softmax in place of the logits. */
static uint32_t choose(float *logits, const float *load, size_t experts)
{
    float best = -INFINITY, top = -INFINITY, sum = 0;
    uint32_t choice = 0;

    for (size_t e = 0; e < experts; e++) {
        float biased = logits[e] - ((float)experts * load[e] - 1);

        top = fmaxf(top, logits[e]);
        if (biased > best) {
            best = biased;
            choice = (uint32_t)e;
        }
    }
    for (size_t e = 0; e < experts; e++) {
        logits[e] = expf(logits[e] - top);
        sum += logits[e];
    }
    for (size_t e = 0; e < experts; e++)
        logits[e] /= sum;
    return choice;
}

/* Choose for all tokens, and sort them by expert. */
static void plan_route(const struct model *model, struct layer *layer,
                       struct route *route, struct range range)
{
    size_t experts = model->options->experts, at = 0;

    memset(route->share, 0, range.count * experts * sizeof(float));
    linear_forward((struct linear){range.count, experts, model->width},
                   layer->z + range.begin * model->width, layer->router->work,
                   route->share);
    memset(route->sent_counts, 0, experts * sizeof(int));
    for (size_t n = 0; n < range.count; n++) {
        uint32_t choice =
            choose(route->share + n * experts, layer->load_ema->work, experts);

        if (!model->routes_frozen)
            route->choice[n] = choice;
        route->sent_counts[route->choice[n]]++;
    }
    for (size_t e = 0; e < experts; e++) {
        for (size_t n = 0; n < range.count; n++) {
            if (route->choice[n] == e)
                route->order[at++] = (uint32_t)n;
        }
        if (model->is_training)
            layer->seen[e] += (float)route->sent_counts[e];
    }
}

/* Values per rank of ep, from tokens per rank and expert. */
static void rank_sizes(const struct model *model, const int *counts, int *sizes,
                       int *starts)
{
    size_t share = local_experts(model);
    int start = 0;

    for (int r = 0; r < model->mesh->ep.size; r++) {
        sizes[r] = 0;
        for (size_t e = 0; e < share; e++)
            sizes[r] += counts[(size_t)r * share + e] * (int)model->width;
        starts[r] = start;
        start += sizes[r];
    }
}

/* Rows travel from `from`, laid out by `from_counts`, to `to`. */
static void exchange(const struct model *model, const float *from,
                     const int *from_counts, float *to, const int *to_counts)
{
    size_t ranks = (size_t)model->mesh->ep.size;
    int *sizes = allocate(4 * ranks, sizeof *sizes);

    rank_sizes(model, from_counts, sizes, sizes + ranks);
    rank_sizes(model, to_counts, sizes + 2 * ranks, sizes + 3 * ranks);
    mesh_exchange(&model->mesh->ep, from, (struct spread){sizes, sizes + ranks},
                  to, (struct spread){sizes + 2 * ranks, sizes + 3 * ranks});
    free(sizes);
}

/* Learn what comes here, and make room for it. */
static void make_room(const struct model *model, struct route *route)
{
    size_t ffn = model->ffn;

    mesh_exchange_counts(&model->mesh->ep, route->sent_counts,
                         route->here_counts, local_experts(model));
    route->here = 0;
    for (size_t i = 0; i < model->options->experts; i++)
        route->here += (size_t)route->here_counts[i];
    free_received(route);
    route->x = allocate(route->here * model->width, sizeof(float));
    route->gate_up = allocate(route->here * 2 * ffn, sizeof(float));
    route->sig = allocate(route->here * ffn, sizeof(float));
    route->act = allocate(route->here * ffn, sizeof(float));
}

/* Stretch i of what came: by rank, then by expert. False after the last. */
static bool next_segment(const struct model *model, const struct route *route,
                         size_t i, struct segment *segment)
{
    if (i >= model->options->experts)
        return false;
    segment->begin = i == 0 ? 0 : segment->begin + segment->count;
    segment->count = (size_t)route->here_counts[i];
    segment->expert = i % local_experts(model);
    return true;
}

static struct swiglu segment_gate(const struct model *model,
                                  const struct route *route,
                                  const struct segment *s)
{
    return (struct swiglu){
        .count = s->count,
        .width = model->ffn,
        .gate_up = route->gate_up + s->begin * 2 * model->ffn,
        .sig = route->sig + s->begin * model->ffn,
        .act = route->act + s->begin * model->ffn,
    };
}

static void experts_forward(const struct model *model,
                            const struct layer *layer, struct route *route,
                            float *out)
{
    size_t width = model->width, ffn = model->ffn;
    struct segment s = {0, 0, 0};

    for (size_t i = 0; next_segment(model, route, i, &s); i++) {
        struct swiglu gate = segment_gate(model, route, &s);
        size_t at = s.expert * width * ffn;

        linear_forward((struct linear){s.count, 2 * ffn, width},
                       route->x + s.begin * width,
                       layer->expert_gate_up->work + 2 * at,
                       route->gate_up + s.begin * 2 * ffn);
        swiglu_forward(&gate);
        linear_forward((struct linear){s.count, width, ffn}, gate.act,
                       layer->expert_down->work + at, out + s.begin * width);
    }
}

static void experts_backward(const struct model *model, struct layer *layer,
                             const struct route *route, const float *dout,
                             float *dx)
{
    size_t width = model->width, ffn = model->ffn;
    float *dhidden = allocate(route->here * ffn, sizeof *dhidden);
    float *dgate_up = allocate(route->here * 2 * ffn, sizeof *dgate_up);
    struct segment s = {0, 0, 0};

    for (size_t i = 0; next_segment(model, route, i, &s); i++) {
        struct linear down = {s.count, width, ffn};
        struct linear gate_up = {s.count, 2 * ffn, width};
        struct swiglu gate = segment_gate(model, route, &s);
        size_t at = s.expert * width * ffn;
        float *dh = dhidden + s.begin * ffn, *dg = dgate_up + s.begin * 2 * ffn;

        linear_backward(down, dout + s.begin * width,
                        layer->expert_down->work + at, dh);
        linear_gradient(down, dout + s.begin * width, gate.act,
                        layer->expert_down->grad + at);
        swiglu_backward(&gate, dh, dg);
        linear_gradient(gate_up, dg, route->x + s.begin * width,
                        layer->expert_gate_up->grad + 2 * at);
        linear_backward(gate_up, dg, layer->expert_gate_up->work + 2 * at,
                        dx + s.begin * width);
    }
    free(dgate_up);
    free(dhidden);
}

/* sorted[i] = from[order[i]] * weight of that token, or the way back. */
static void gather_rows(const struct model *model, const struct route *route,
                        size_t count, const float *from, float *sorted)
{
    for (size_t i = 0; i < count; i++)
        memcpy(sorted + i * model->width, from + route->order[i] * model->width,
               model->width * sizeof *sorted);
}

static void scatter_rows(const struct model *model, const struct route *route,
                         size_t count, const float *sorted, float *to)
{
    for (size_t i = 0; i < count; i++)
        memcpy(to + route->order[i] * model->width, sorted + i * model->width,
               model->width * sizeof *sorted);
}

void moe_forward(struct model *model, struct layer *layer, struct range range,
                 float *y)
{
    struct route *route = &layer->routes[range.index];
    size_t width = model->width, experts = model->options->experts;
    float *out;

    plan_route(model, layer, route, range);
    make_room(model, route);
    gather_rows(model, route, range.count, layer->z + range.begin * width, y);
    exchange(model, y, route->sent_counts, route->x, route->here_counts);
    out = allocate(route->here * width, sizeof *out);
    experts_forward(model, layer, route, out);
    exchange(model, out, route->here_counts, y, route->sent_counts);
    free(out);
    scatter_rows(model, route, range.count, y, route->out);
    mesh_sum(&model->mesh->tp, route->out, range.count * width);
    for (size_t n = 0; n < range.count; n++) {
        float share = route->share[n * experts + route->choice[n]];

        for (size_t c = 0; c < width; c++)
            y[n * width + c] = share * route->out[n * width + c];
    }
}

/* Through the weighting: rows of dout, and the logits' gradient. */
static void weigh_backward(const struct model *model, const struct route *route,
                           size_t count, const float *dy, float *dout)
{
    size_t width = model->width, experts = model->options->experts;

    for (size_t n = 0; n < count; n++) {
        float *shares = route->share + n * experts;
        float share = shares[route->choice[n]], dshare = 0;

        for (size_t c = 0; c < width; c++) {
            dshare += dy[n * width + c] * route->out[n * width + c];
            dout[n * width + c] = share * dy[n * width + c];
        }
        for (size_t e = 0; e < experts; e++) {
            float is = e == route->choice[n] ? 1 : 0;

            shares[e] = share * dshare * (is - shares[e]);
        }
    }
}

void moe_backward(struct model *model, struct layer *layer, struct range range,
                  const float *dy, float *dz)
{
    struct route *route = &layer->routes[range.index];
    size_t width = model->width, experts = model->options->experts;
    struct linear router = {range.count, experts, width};
    float *sorted = allocate(range.count * width, sizeof *sorted);
    float *dout = allocate(route->here * width, sizeof *dout);
    float *dx = allocate(route->here * width, sizeof *dx);

    weigh_backward(model, route, range.count, dy, dz);
    gather_rows(model, route, range.count, dz, sorted);
    exchange(model, sorted, route->sent_counts, dout, route->here_counts);
    experts_backward(model, layer, route, dout, dx);
    exchange(model, dx, route->here_counts, sorted, route->sent_counts);
    scatter_rows(model, route, range.count, sorted, dz);
    mesh_sum(&model->mesh->tp, dz, range.count * width);
    linear_gradient(router, route->share, layer->z + range.begin * width,
                    layer->router->grad);
    linear_backward(router, route->share, layer->router->work, dz);
    free(dx);
    free(dout);
    free(sorted);
}
