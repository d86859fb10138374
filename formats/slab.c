/*
 * slab.c - cutting and intersecting slabs; see region.h.
 *
 * Pure arithmetic on checked numbers: what region_check() let pass keeps every
 * position in bytes below 2^63, so nothing here can overflow or fail.
 */
#include "formats/region.h"

#include <assert.h>

uint64_t slab_units(const struct slab *s, uint32_t ndim)
{
    uint64_t units = 1;

    for (uint32_t d = 0; d < ndim; d++)
        units *= s->size[d];
    return units;
}

/* inner[d]: units in one step of dimension d, in the slab's row-major order. */
static uint64_t inner_units(const struct slab *s, uint32_t ndim,
                            uint64_t inner[MAX_DIMS])
{
    uint64_t units = 1;

    for (uint32_t d = ndim; d > 0; d--) {
        inner[d - 1] = units;
        units *= s->size[d - 1];
    }
    return units;
}

/*
 * The largest slab that starts at unit `at` and ends by `end`: some steps of
 * the outermost dimension d whose steps both begin at `at` and fit, without
 * leaving the row of dimension d - 1. Returns its units.
 */
static uint64_t cut_one(const struct slab *s, uint32_t ndim,
                        const uint64_t *inner, uint64_t at, uint64_t end,
                        struct slab *out)
{
    uint32_t d = 0;
    uint64_t steps, rest = at;

    while (d + 1 < ndim && (at % inner[d] != 0 || end - at < inner[d]))
        d++;
    *out = *s;
    for (uint32_t i = 0; i <= d; i++) {
        uint64_t index = rest / inner[i];

        rest %= inner[i];
        out->offset[i] += index;
        out->base += index * s->stride[i];
        out->size[i] = 1;
    }
    steps = min_u64((end - at) / inner[d],
                    s->size[d] - (out->offset[d] - s->offset[d]));
    out->size[d] = steps;
    return steps * inner[d];
}

size_t slab_cut(const struct slab *s, uint32_t ndim, uint64_t start,
                uint64_t count, struct slab out[SLAB_CUT_MAX])
{
    uint64_t inner[MAX_DIMS], end = start + count;
    uint64_t units = inner_units(s, ndim, inner);
    size_t made = 0;

    assert(start <= units && count <= units - start);
    if (count == 0)
        return 0;
    if (count == units) {
        out[0] = *s;
        return 1;
    }
    assert(ndim > 0);
    while (start < end) {
        assert(made < SLAB_CUT_MAX);
        start += cut_one(s, ndim, inner, start, end, &out[made++]);
    }
    return made;
}

/* One more loop around `op` (from the innermost outwards, in reverse). */
static void wrap(struct copy_op *op, uint64_t count, uint64_t src_step,
                 uint64_t dst_step)
{
    uint32_t top = op->ndim - 1;

    if (op->ndim == 0 && src_step == op->run_bytes &&
        dst_step == op->run_bytes) {
        op->run_bytes *= count;
        return;
    }
    if (op->ndim > 0 && src_step == op->src_step[top] * op->count[top] &&
        dst_step == op->dst_step[top] * op->count[top]) {
        op->count[top] *= count;
        return;
    }
    op->count[op->ndim] = count;
    op->src_step[op->ndim] = src_step;
    op->dst_step[op->ndim] = dst_step;
    op->ndim++;
}

static void swap_u64(uint64_t *a, uint64_t *b)
{
    uint64_t t = *a;

    *a = *b;
    *b = t;
}

bool slab_intersect(const struct slab *a, const struct slab *b, uint32_t ndim,
                    uint32_t unit_bytes, struct copy_op *out)
{
    struct copy_op op = {
        .src = a->base, .dst = b->base, .run_bytes = unit_bytes};
    uint64_t size[MAX_DIMS];

    for (uint32_t d = 0; d < ndim; d++) {
        uint64_t from = max_u64(a->offset[d], b->offset[d]);
        uint64_t to =
            min_u64(a->offset[d] + a->size[d], b->offset[d] + b->size[d]);

        if (from >= to)
            return false;
        size[d] = to - from;
        op.src += (from - a->offset[d]) * a->stride[d];
        op.dst += (from - b->offset[d]) * b->stride[d];
    }
    op.src *= unit_bytes;
    op.dst *= unit_bytes;
    for (uint32_t d = ndim; d > 0; d--) {
        if (size[d - 1] > 1)
            wrap(&op, size[d - 1], a->stride[d - 1] * unit_bytes,
                 b->stride[d - 1] * unit_bytes);
    }
    for (uint32_t i = 0, j = op.ndim; i + 1 < j; i++) {
        j--;
        swap_u64(&op.count[i], &op.count[j]);
        swap_u64(&op.src_step[i], &op.src_step[j]);
        swap_u64(&op.dst_step[i], &op.dst_step[j]);
    }
    *out = op;
    return true;
}
