/*
 * reshard_random.c - random layouts; see reshard.h.
 *
 * A cover begins with boxes that tile the tensor (recursive splits, or the two
 * halves of a fused weight cut for tensor parallelism), groups them into what
 * one rank holds, pads them, cuts each group flat as an optimizer's shards are,
 * replicates the parts and deals them out. All positions keep whole bytes.
 */
#include "tests/lib/reshard.h"

#include <stdlib.h>

#define BOXES_MAX  32
#define GROUPS_MAX 8

/* What one rank would hold before flat cuts. box_count 0: the whole tensor. */
struct group {
    struct box box[BOXES_MAX];
    uint32_t count;
    bool is_whole;
};

struct dealer {
    struct random *random;
    const struct tensor *tensor;
    uint32_t number;
    struct shares *out;
};

/* Elements that make whole bytes. */
static uint64_t grain_of(const struct tensor *t, uint32_t d)
{
    uint32_t bits = dtype_bits(t->geometry.dtype);

    if (d + 1 < t->geometry.ndim)
        return 1;
    return bits == 4 ? 2 : bits == 6 ? 4 : 1;
}

static uint64_t volume_of(const struct tensor *t, const struct box *b)
{
    uint64_t n = 1;

    for (uint32_t d = 0; d < t->geometry.ndim; d++)
        n *= b->size[d];
    return n;
}

static struct box whole_box(const struct tensor *t)
{
    struct box b = {0};

    memcpy(b.size, t->geometry.shape, sizeof b.size);
    return b;
}

/* Cuts `b` along d at a random place; the upper part goes to *upper. */
static void split(struct random *r, const struct tensor *t, struct box *b,
                  struct box *upper)
{
    uint32_t d = (uint32_t)random_below(r, t->geometry.ndim);
    uint64_t grain = grain_of(t, d);
    uint64_t at = random_below(r, b->size[d] / grain + 1) * grain;

    *upper = *b;
    upper->offset[d] += at;
    upper->size[d] -= at;
    b->size[d] = at;
}

static uint32_t split_groups(struct random *r, const struct tensor *t,
                             struct group *groups)
{
    struct box box[BOXES_MAX] = {whole_box(t)};
    uint32_t n = 1, splits = (uint32_t)random_below(r, 14), count;

    for (uint32_t i = 0; t->geometry.ndim && i < splits; i++, n++)
        split(r, t, &box[random_below(r, n)], &box[n]);
    count = 1 + (uint32_t)random_below(r, n < GROUPS_MAX ? n : GROUPS_MAX);
    for (uint32_t i = n; i > 1; i--) {
        uint64_t k = random_below(r, i);
        struct box swap = box[i - 1];

        box[i - 1] = box[k];
        box[k] = swap;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct group *g = &groups[random_below(r, count)];

        g->box[g->count++] = box[i];
    }
    return count;
}

/* Two halves (gate and up), each cut in `tp` along the same dimension. */
static uint32_t fused_groups(struct random *r, const struct tensor *t,
                             struct group *groups)
{
    uint32_t tp = 1 + (uint32_t)random_below(r, 4);
    uint32_t d = (uint32_t)random_below(r, t->geometry.ndim);
    uint64_t grain = grain_of(t, d), steps = t->geometry.shape[d] / grain;
    uint64_t half[3] = {0, random_below(r, 2) ? steps / 2 : steps / 3, steps};

    for (uint32_t i = 0; i < tp; i++) {
        for (uint32_t h = 0; h < 2; h++) {
            uint64_t length = half[h + 1] - half[h];
            uint64_t from = half[h] + length * i / tp;
            uint64_t to = half[h] + length * (i + 1) / tp;
            struct box *b = &groups[i].box[groups[i].count++];

            *b = whole_box(t);
            b->offset[d] = from * grain;
            b->size[d] = (to - from) * grain;
        }
    }
    return tp;
}

static void pad(struct random *r, const struct tensor *t, struct group *g)
{
    uint32_t ndim = t->geometry.ndim;

    for (uint32_t i = 0; i < g->count; i++) {
        for (uint32_t d = 0; d < ndim; d++) {
            struct box *b = &g->box[i];

            if (b->offset[d] + b->size[d] == t->geometry.shape[d] &&
                volume_of(t, b) < 200000 && random_below(r, 2))
                b->size[d] += random_below(r, 3) * grain_of(t, d);
        }
    }
    if (ndim && g->count < BOXES_MAX && random_below(r, 2)) {
        struct box *b = &g->box[g->count++], swap;
        uint32_t out = (uint32_t)random_below(r, ndim);
        uint64_t k = random_below(r, g->count);

        for (uint32_t d = 0; d < ndim; d++) {
            b->offset[d] = random_below(r, 4) * grain_of(t, d);
            b->size[d] = random_below(r, 3) * grain_of(t, d);
        }
        b->offset[out] += t->geometry.shape[out];
        swap = *b;
        *b = g->box[k];
        g->box[k] = swap;
    }
}

/* A buffer of permuted dimensions with gaps for the last entry of a share. */
static void stride(struct random *r, const struct tensor *t, struct share *s)
{
    const struct region *region = &s->entry[s->count - 1].region;
    uint32_t ndim = t->geometry.ndim, order[MAX_DIMS];
    bool is_fixed = ndim && grain_of(t, ndim - 1) > 1;
    struct box box = region->box_count ? region->boxes[0] : whole_box(t);
    uint64_t *strides = calloc(MAX_DIMS, sizeof *strides), step = 1;

    if (!strides)
        abort();
    for (uint32_t d = 0; d < ndim; d++)
        order[d] = ndim - 1 - d;
    for (uint32_t i = ndim; i > 1; i--) {
        uint32_t k = (uint32_t)random_below(r, i), swap = order[i - 1];

        if (is_fixed && k == 0)
            continue;
        order[i - 1] = order[k];
        order[k] = swap;
    }
    for (uint32_t i = 0; i < ndim; i++) {
        uint64_t grain = is_fixed ? grain_of(t, ndim - 1) : 1;

        strides[order[i]] = step;
        step *= box.size[order[i]] ? box.size[order[i]] : 1;
        if (random_below(r, 2) && step % grain == 0)
            step += random_below(r, 3) * grain;
        if (box.size[order[i]] == 1 && (i || !is_fixed) && random_below(r, 2))
            strides[order[i]] = (uint64_t)1 << (40 + random_below(r, 20));
    }
    s->strides[s->count - 1] = strides;
}

/* One region, for as many ranks as it has replicas. */
static void deal(struct dealer *to, const struct region *region)
{
    struct random *r = to->random;
    uint32_t replica[2] = {0, 1};

    if (random_below(r, 10) < 4)
        replica[1] = 2 + (uint32_t)random_below(r, 2);
    for (; replica[0] < replica[1]; replica[0]++) {
        uint64_t rank = random_below(r, to->out->rank_count);
        struct share *s = &to->out->rank[rank];

        share_add(s, to->tensor, to->number, region, replica);
        if (region->box_count < 2 && !region->is_cut && !random_below(r, 3))
            stride(r, to->tensor, s);
    }
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Flat cuts at random places, empty ones included, or none. */
static void cut_and_deal(struct dealer *to, const struct group *g)
{
    struct random *r = to->random;
    const struct tensor *t = to->tensor;
    struct region region = {.boxes = g->is_whole ? NULL : g->box,
                            .box_count = g->is_whole ? 0 : g->count};
    uint64_t total = 0, at[6] = {0};
    uint64_t grain = grain_of(t, t->geometry.ndim ? t->geometry.ndim - 1 : 0);
    uint32_t parts = 1 + (uint32_t)random_below(r, 5);
    struct box whole = whole_box(t);

    if (random_below(r, 2)) {
        deal(to, &region);
        return;
    }
    for (uint32_t i = 0; i < g->count; i++)
        total += volume_of(t, &g->box[i]);
    if (g->is_whole)
        total = volume_of(t, &whole);
    for (uint32_t i = 1; i < parts; i++)
        at[i] = random_below(r, total / grain + 1) * grain;
    at[parts] = total;
    qsort(at, parts + 1, sizeof *at, compare_u64);
    region.is_cut = true;
    for (uint32_t i = 0; i < parts; i++) {
        region.cut_start = at[i];
        region.cut_count = at[i + 1] - at[i];
        deal(to, &region);
    }
}

static void cover(struct dealer *to)
{
    struct random *r = to->random;
    const struct tensor *t = to->tensor;
    struct group *groups = calloc(GROUPS_MAX, sizeof *groups);
    uint32_t count = 1;
    bool is_padded = random_below(r, 3) == 0;

    if (!groups)
        abort();
    switch (random_below(r, 6)) {
    case 0:
        groups[0].is_whole = true;
        break;
    case 1:
    case 2:
        if (t->geometry.ndim) {
            count = fused_groups(r, t, groups);
            break;
        }
        groups[0].is_whole = true;
        break;
    default:
        count = split_groups(r, t, groups);
        break;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!groups[i].is_whole && groups[i].count == 0)
            continue;
        if (is_padded && !groups[i].is_whole)
            pad(r, t, &groups[i]);
        cut_and_deal(to, &groups[i]);
    }
    free(groups);
}

void shares_cover(struct random *r, const struct tensor *tensors,
                  uint32_t tensor_count, struct shares *out)
{
    *out = (struct shares){
        .rank_count = 1 + (uint32_t)random_below(r, RESHARD_RANKS_MAX)};
    for (uint32_t i = 0; i < tensor_count; i++) {
        struct dealer to = {
            .random = r, .tensor = &tensors[i], .number = i, .out = out};

        cover(&to);
    }
}

/* Some boxes anywhere, overlapping or beyond the shape, perhaps cut. */
static void want_anything(struct dealer *to)
{
    struct random *r = to->random;
    const struct tensor *t = to->tensor;
    struct group *g = calloc(1, sizeof *g);
    uint32_t ndim = t->geometry.ndim;

    if (!g)
        abort();
    g->count = ndim ? 1 + (uint32_t)random_below(r, 3) : 1;
    for (uint32_t i = 0; i < g->count; i++) {
        for (uint32_t d = 0; d < ndim; d++) {
            uint64_t grain = grain_of(t, d);
            uint64_t steps = t->geometry.shape[d] / grain;

            g->box[i].offset[d] = random_below(r, steps + 2) * grain;
            g->box[i].size[d] = random_below(r, steps + 1) * grain;
            if (random_below(r, 3) == 0)
                g->box[i].size[d] = t->geometry.shape[d];
        }
    }
    cut_and_deal(to, g);
    free(g);
}

void shares_want(struct random *r, const struct tensor *tensors,
                 uint32_t tensor_count, struct shares *out)
{
    if (random_below(r, 3)) {
        shares_cover(r, tensors, tensor_count, out);
        return;
    }
    *out = (struct shares){
        .rank_count = 1 + (uint32_t)random_below(r, RESHARD_RANKS_MAX)};
    for (uint32_t i = 0; i < tensor_count; i++) {
        struct dealer to = {
            .random = r, .tensor = &tensors[i], .number = i, .out = out};

        for (uint64_t k = random_below(r, 4); k > 0; k--)
            want_anything(&to);
    }
}
