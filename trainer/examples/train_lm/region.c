/*
 * region.c - see region.h. Row by row: a row of a box is contiguous on both
 * sides; it is clipped to the shape and then to the cut.
 */
#include "trainer/examples/train_lm/region.h"

#include <assert.h>

struct walk {
    const struct ckpt_tensor *tensor;
    region_run run;
    void *context;
    uint64_t cut_start, cut_end;
};

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t box_count(const struct ckpt_box *box, uint32_t ndim)
{
    uint64_t count = 1;

    for (uint32_t d = 0; d < ndim; d++)
        count *= box->size[d];
    return count;
}

/* A row of `length` elements at `local` of the uncut order. */
static void emit(const struct walk *walk, uint64_t local, uint64_t global,
                 uint64_t length)
{
    uint64_t end = lower(local + length, walk->cut_end), skip = 0;

    if (local < walk->cut_start)
        skip = walk->cut_start - local;
    if (local + skip < end)
        walk->run(walk->context, local + skip - walk->cut_start, global + skip,
                  end - local - skip);
}

/* The global index of row `row` of the box, or false if it is padding. */
static bool row_global(const struct ckpt_tensor *tensor,
                       const struct ckpt_box *box, uint64_t row, uint64_t *out)
{
    uint32_t last = tensor->ndim - 1;
    uint64_t stride = tensor->shape[last], at = box->offset[last];

    if (at >= tensor->shape[last])
        return false;
    for (uint32_t d = last; d-- > 0;) {
        uint64_t i = box->offset[d] + row % box->size[d];

        if (i >= tensor->shape[d])
            return false;
        row /= box->size[d];
        at += i * stride;
        stride *= tensor->shape[d];
    }
    *out = at;
    return true;
}

static void walk_box(const struct walk *walk, const struct ckpt_box *box,
                     uint64_t base)
{
    const struct ckpt_tensor *tensor = walk->tensor;
    uint32_t last = tensor->ndim - 1;
    uint64_t width = box->size[last], rows, global;

    if (width == 0)
        return;
    rows = box_count(box, tensor->ndim) / width;
    for (uint64_t row = 0; row < rows; row++) {
        if (row_global(tensor, box, row, &global))
            emit(walk, base + row * width, global,
                 lower(width, tensor->shape[last] - box->offset[last]));
    }
}

void region_walk(const struct ckpt_tensor *tensor, region_run run,
                 void *context)
{
    struct walk walk = {tensor, run, context, 0, UINT64_MAX};
    struct ckpt_box whole = {{0}, {0}};
    uint64_t base = 0;

    assert(tensor->ndim > 0 && !tensor->strides);
    if (tensor->is_cut) {
        walk.cut_start = tensor->cut_start;
        walk.cut_end = tensor->cut_start + tensor->cut_count;
    }
    for (uint32_t d = 0; d < tensor->ndim; d++)
        whole.size[d] = tensor->shape[d];
    if (tensor->box_count == 0)
        walk_box(&walk, &whole, 0);
    for (uint32_t b = 0; b < tensor->box_count; b++) {
        walk_box(&walk, &tensor->boxes[b], base);
        base += box_count(&tensor->boxes[b], tensor->ndim);
    }
}

uint64_t region_logical_count(const struct ckpt_tensor *tensor)
{
    uint64_t count = 1;

    for (uint32_t d = 0; d < tensor->ndim; d++)
        count *= tensor->shape[d];
    return count;
}

uint64_t region_local_count(const struct ckpt_tensor *tensor)
{
    uint64_t count = 0;

    if (tensor->box_count == 0)
        return region_logical_count(tensor);
    for (uint32_t b = 0; b < tensor->box_count; b++)
        count += box_count(&tensor->boxes[b], tensor->ndim);
    return count;
}
