/*
 * reshard.c - shares, and the slow reference; see reshard.h.
 */
#include "tests/lib/reshard.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t random_next(struct random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

uint64_t random_below(struct random *r, uint64_t n)
{
    return random_next(r) % n;
}

static void *must(void *p)
{
    assert(p);
    return p;
}

/* Sizes whose product is about `limit` at most, in whole bytes per row. */
static void shape_random(struct random *r, uint64_t limit, struct geometry *g)
{
    uint32_t bits = dtype_bits(g->dtype);
    uint64_t elements = 1;

    for (uint32_t d = g->ndim; d > 0; d--) {
        uint64_t grain = d < g->ndim ? 1 : bits == 4 ? 2 : bits == 6 ? 4 : 1;
        uint64_t most = max_u64(limit / elements / grain, 1);
        uint64_t n = 1 + random_below(r, most);

        if (d > 1 && random_below(r, 3))
            n = 1 + random_below(r, min_u64(n, 9));
        elements *= n * grain;
        g->shape[d - 1] = random_below(r, 60) ? n * grain : 0;
    }
}

void tensor_random(struct random *r, uint32_t number, struct tensor *out)
{
    /* Mostly small, now and then enough for chunks and slices. */
    static const uint64_t limits[] = {64, 600, 600, 5000, 5000, 90000};
    uint64_t limit = random_below(r, 25)
                         ? limits[random_below(r, ARRAY_LEN(limits))]
                         : 1200000;
    struct geometry *g = &out->geometry;

    *out = (struct tensor){.elements = 1};
    (void)snprintf(out->name, sizeof out->name, "layers.%u.weight", number);
    g->dtype = 1 + (uint32_t)random_below(r, DTYPE_LAST);
    g->ndim = (uint32_t)random_below(r, MAX_DIMS + 1);
    if (dtype_bits(g->dtype) < 8 && g->ndim == 0)
        g->ndim = 1;
    shape_random(r, limit, g);
    for (uint32_t d = 0; d < g->ndim; d++)
        out->elements *= g->shape[d];
    out->value = must(calloc(out->elements + 1, sizeof *out->value));
    for (uint64_t i = 0; i < out->elements; i++)
        out->value[i] = random_next(r);
}

void tensor_free(struct tensor *t)
{
    free(t->value);
    *t = (struct tensor){0};
}

void share_add(struct share *s, const struct tensor *t, uint32_t tensor,
               const struct region *region, const uint32_t replica[2])
{
    size_t n = s->count++;
    struct box *boxes = NULL;

    s->entry = must(reallocarray(s->entry, n + 1, sizeof *s->entry));
    s->strides = must(reallocarray(s->strides, n + 1, sizeof(*s->strides)));
    s->local = must(reallocarray(s->local, n + 1, sizeof(*s->local)));
    s->local_bytes =
        must(reallocarray(s->local_bytes, n + 1, sizeof *s->local_bytes));
    s->tensor = must(reallocarray(s->tensor, n + 1, sizeof *s->tensor));
    if (region->box_count) {
        boxes = must(calloc(region->box_count, sizeof *boxes));
        memcpy(boxes, region->boxes, region->box_count * sizeof *boxes);
    }
    s->entry[n] = (struct entry){
        .name = t->name,
        .geometry = t->geometry,
        .region = *region,
        .replica_index = replica[0],
        .replica_count = replica[1],
    };
    s->entry[n].region.boxes = boxes;
    s->strides[n] = NULL;
    s->local[n] = NULL;
    s->tensor[n] = tensor;
}

static void free_boxes(const struct region *r)
{
    free((void *)(uintptr_t)r->boxes);
}

void share_remove(struct share *s, size_t entry)
{
    size_t last = --s->count;

    free_boxes(&s->entry[entry].region);
    free(s->strides[entry]);
    free(s->local[entry]);
    s->entry[entry] = s->entry[last];
    s->strides[entry] = s->strides[last];
    s->local[entry] = s->local[last];
    s->local_bytes[entry] = s->local_bytes[last];
    s->tensor[entry] = s->tensor[last];
}

void shares_free(struct shares *s)
{
    for (uint32_t i = 0; i < s->rank_count; i++) {
        struct share *share = &s->rank[i];

        while (share->count)
            share_remove(share, share->count - 1);
        free(share->entry);
        free(share->strides);
        free(share->local);
        free(share->local_bytes);
        free(share->tensor);
    }
    *s = (struct shares){0};
}

/* `bits` of `value` from bit `at` of a buffer on, lowest first. */
static void put_bits(uint8_t *buffer, uint64_t at, uint32_t bits,
                     uint64_t value)
{
    for (uint32_t i = 0; i < bits && bits % 8 == 0; i += 8)
        buffer[(at + i) / 8] = (uint8_t)(value >> i);
    for (uint32_t i = 0; i < bits && bits % 8 != 0; i++) {
        uint8_t mask = (uint8_t)(1U << (at + i) % 8);

        if (value >> i & 1)
            buffer[(at + i) / 8] |= mask;
        else
            buffer[(at + i) / 8] &= (uint8_t)~mask;
    }
}

static struct box box_of(const struct tensor *t, const struct region *r,
                         uint32_t k)
{
    struct box whole = {0};

    memcpy(whole.size, t->geometry.shape, sizeof whole.size);
    return r->box_count ? r->boxes[k] : whole;
}

/* Calls back for each element of a region in local order: its position in the
 * buffer, and its number in the tensor (UINT64_MAX for padding). False from
 * the callback ends the walk. */
typedef bool each_element(void *context, uint64_t position, uint64_t element);

struct each {
    const struct tensor *tensor;
    const struct region *region;
    const uint64_t *strides;
    each_element *visit;
    void *context;
};

/* Element `index` of a box, the n-th of the region. */
static bool each_one(const struct each *e, const struct box *box,
                     const uint64_t *index, uint64_t n)
{
    const struct region *r = e->region;
    const struct geometry *g = &e->tensor->geometry;
    uint64_t number = 0, strided = 0;
    bool inside = true;

    if (r->is_cut && (n < r->cut_start || n - r->cut_start >= r->cut_count))
        return true;
    for (uint32_t d = 0; d < g->ndim; d++) {
        uint64_t global = box->offset[d] + index[d];

        inside = inside && global < g->shape[d];
        number = number * g->shape[d] + global;
        strided += e->strides ? index[d] * e->strides[d] : 0;
    }
    if (!e->strides)
        strided = r->is_cut ? n - r->cut_start : n;
    return e->visit(e->context, strided, inside ? number : UINT64_MAX);
}

static bool each_box(const struct each *e, const struct box *box, uint64_t *n)
{
    uint32_t ndim = e->tensor->geometry.ndim, d;
    uint64_t index[MAX_DIMS] = {0};

    for (d = 0; d < ndim; d++) {
        if (box->size[d] == 0)
            return true;
    }
    for (;;) {
        if (!each_one(e, box, index, (*n)++))
            return false;
        for (d = ndim; d > 0; d--) {
            if (++index[d - 1] < box->size[d - 1])
                break;
            index[d - 1] = 0;
        }
        if (d == 0)
            return true;
    }
}

static void each_of(const struct each *e)
{
    uint32_t boxes = e->region->box_count ? e->region->box_count : 1;
    uint64_t n = 0;

    for (uint32_t k = 0; k < boxes; k++) {
        struct box box = box_of(e->tensor, e->region, k);

        if (!each_box(e, &box, &n))
            return;
    }
}

struct target {
    const struct tensor *tensor;
    uint8_t *buffer;
    uint64_t positions; /* one more than the highest */
    uint64_t wanted;    /* element that is looked for */
    bool found;
};

static bool measure_one(void *context, uint64_t position, uint64_t element)
{
    struct target *t = context;

    (void)element;
    if (position >= t->positions)
        t->positions = position + 1;
    return true;
}

static bool put_one(void *context, uint64_t position, uint64_t element)
{
    struct target *t = context;
    uint32_t bits = dtype_bits(t->tensor->geometry.dtype);

    if (element != UINT64_MAX)
        put_bits(t->buffer, position * bits, bits, t->tensor->value[element]);
    return true;
}

static bool find_one(void *context, uint64_t position, uint64_t element)
{
    struct target *t = context;

    (void)position;
    t->found = element == t->wanted;
    return !t->found;
}

bool region_has(const struct tensor *t, const struct region *region,
                uint64_t element)
{
    struct target target = {.tensor = t, .wanted = element};
    struct each e = {
        .tensor = t, .region = region, .visit = find_one, .context = &target};

    each_of(&e);
    return target.found;
}

static void fill_entry(struct share *s, size_t i, const struct tensor *t,
                       uint8_t fill)
{
    struct target target = {.tensor = t};
    struct each e = {.tensor = t,
                     .region = &s->entry[i].region,
                     .strides = s->strides[i],
                     .visit = measure_one,
                     .context = &target};

    each_of(&e);
    s->local_bytes[i] = target.positions * dtype_bits(t->geometry.dtype) / 8;
    free(s->local[i]);
    /* No byte more than that, for the sanitizer. */
    s->local[i] = must(malloc(s->local_bytes[i] ? s->local_bytes[i] : 1));
    memset(s->local[i], fill, s->local_bytes[i]);
    target.buffer = s->local[i];
    e.visit = put_one;
    each_of(&e);
}

void shares_fill(struct shares *s, const struct tensor *tensors, uint8_t fill)
{
    for (uint32_t r = 0; r < s->rank_count; r++) {
        struct share *share = &s->rank[r];

        for (size_t i = 0; i < share->count; i++)
            fill_entry(share, i, &tensors[share->tensor[i]], fill);
    }
}
