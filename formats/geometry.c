/*
 * geometry.c - shapes and regions checked, in units and in words; see region.h.
 *
 * The checks bound every product and sum below 2^63 bytes, an empty dimension
 * counted as one, so that positions and strides fit too and nobody after them
 * has to look for an overflow. Failures are -CKPT_ESHAPE with words.
 */
#include "formats/region_units.h"

#include <inttypes.h>
#include <stdio.h>

#define BYTES_MAX ((uint64_t)INT64_MAX)

uint32_t geometry_unit_bytes(const struct geometry *g)
{
    return dtype_bits(g->dtype) < 8 ? 1 : dtype_bits(g->dtype) / 8;
}

static bool is_whole(uint32_t dtype, uint64_t elements)
{
    return elements % 8 * dtype_bits(dtype) % 8 == 0;
}

uint64_t region_units(uint32_t dtype, uint64_t elements)
{
    uint32_t bits = dtype_bits(dtype);

    return bits < 8 ? elements / 8 * bits + elements % 8 * bits / 8 : elements;
}

void region_to_units(const struct geometry *g, const uint64_t *elements,
                     uint64_t *units)
{
    for (uint32_t d = 0; d < g->ndim; d++)
        units[d] = elements[d];
    if (g->ndim)
        units[g->ndim - 1] = region_units(g->dtype, elements[g->ndim - 1]);
}

/* Sizes of a shape or box: whole bytes per row, all of it below BYTES_MAX. */
static int sizes_check(const struct geometry *g, const uint64_t *size,
                       struct err *err)
{
    uint64_t bytes = geometry_unit_bytes(g), units[MAX_DIMS];

    if (dtype_bits(g->dtype) < 8 &&
        (g->ndim == 0 || !is_whole(g->dtype, size[g->ndim - 1])))
        return err_set(err, -CKPT_ESHAPE,
                       "a row of %" PRIu64 " %s elements is not whole bytes",
                       g->ndim ? size[g->ndim - 1] : 1, dtype_name(g->dtype));
    region_to_units(g, size, units);
    for (uint32_t d = 0; d < g->ndim; d++) {
        if (!mul_u64(bytes, max_u64(units[d], 1), &bytes) || bytes > BYTES_MAX)
            return err_set(err, -CKPT_ESHAPE, "more than 2^63 - 1 bytes");
    }
    return 0;
}

int geometry_check(const struct geometry *g, struct err *err)
{
    int rc;

    if (dtype_bits(g->dtype) == 0)
        return err_set(err, -CKPT_ESHAPE, "%" PRIu32 " is no dtype", g->dtype);
    if (g->ndim > MAX_DIMS)
        return err_set(err, -CKPT_ESHAPE, "%" PRIu32 " dimensions, at most %d",
                       g->ndim, MAX_DIMS);
    rc = sizes_check(g, g->shape, err);
    if (rc)
        return err_prefix(err, "shape");
    return 0;
}

uint64_t geometry_bytes(const struct geometry *g)
{
    uint64_t bytes = geometry_unit_bytes(g), units[MAX_DIMS];

    region_to_units(g, g->shape, units);
    for (uint32_t d = 0; d < g->ndim; d++)
        bytes *= units[d];
    return bytes;
}

/* "[3, 0, 17]", cut short where the room ends. */
static void list_text(const uint64_t *value, uint32_t count, char *text,
                      size_t capacity)
{
    size_t used = 0;

    for (uint32_t d = 0; d < count; d++) {
        int n = snprintf(text + used, capacity - used, "%s%" PRIu64,
                         d ? ", " : "[", value[d]);

        if (n < 0 || (size_t)n >= capacity - used)
            return;
        used += (size_t)n;
    }
    (void)snprintf(text + used, capacity - used, count ? "]" : "[]");
}

void geometry_text(const struct geometry *g, char *text, size_t capacity)
{
    int n = snprintf(text, capacity, "%s ", dtype_name(g->dtype));

    if (n > 0 && (size_t)n < capacity)
        list_text(g->shape, g->ndim, text + n, capacity - (size_t)n);
}

void geometry_index_text(const struct geometry *g, const uint64_t *index,
                         char *text, size_t capacity)
{
    uint32_t bits = dtype_bits(g->dtype);
    uint64_t element[MAX_DIMS] = {0};

    for (uint32_t d = 0; d < g->ndim; d++)
        element[d] = index[d];
    if (g->ndim && bits < 8) {
        uint64_t at = index[g->ndim - 1];

        element[g->ndim - 1] = at / bits * 8 + at % bits * 8 / bits;
    }
    list_text(element, g->ndim, text, capacity);
}

void region_box_slab(const struct geometry *g, const struct region *r,
                     uint32_t k, struct slab *out)
{
    uint64_t units = 1;

    *out = (struct slab){0};
    if (r->box_count) {
        region_to_units(g, r->boxes[k].offset, out->offset);
        region_to_units(g, r->boxes[k].size, out->size);
    } else {
        region_to_units(g, g->shape, out->size);
    }
    for (uint32_t d = g->ndim; d > 0; d--) {
        out->stride[d - 1] = units;
        units *= out->size[d - 1];
    }
}

uint32_t region_box_total(const struct region *r)
{
    return r->box_count ? r->box_count : 1;
}

uint64_t region_uncut_units(const struct geometry *g, const struct region *r)
{
    struct slab box;
    uint64_t units = 0;

    for (uint32_t k = 0; k < region_box_total(r); k++) {
        region_box_slab(g, r, k, &box);
        units += slab_units(&box, g->ndim);
    }
    return units;
}

static int box_check(const struct geometry *g, const struct box *box,
                     struct err *err)
{
    uint64_t end;
    int rc = sizes_check(g, box->size, err);

    if (rc)
        return rc;
    for (uint32_t d = 0; d < g->ndim; d++) {
        if (!add_u64(box->offset[d], box->size[d], &end) || end > BYTES_MAX)
            return err_set(err, -CKPT_ESHAPE,
                           "dimension %" PRIu32 " ends past 2^63 - 1", d);
    }
    if (g->ndim && !is_whole(g->dtype, box->offset[g->ndim - 1]))
        return err_set(err, -CKPT_ESHAPE,
                       "offset %" PRIu64 " of %s elements is not whole bytes",
                       box->offset[g->ndim - 1], dtype_name(g->dtype));
    return 0;
}

static int boxes_check(const struct geometry *g, const struct region *r,
                       struct err *err)
{
    uint64_t units, bytes, total_bytes = 0;
    struct slab box;
    int rc;

    if (g->ndim == 0 && r->box_count > 1)
        return err_set(err, -CKPT_ESHAPE, "more than one box of a scalar");
    for (uint32_t k = 0; k < r->box_count; k++) {
        rc = box_check(g, &r->boxes[k], err);
        if (rc)
            return err_prefix(err, "box %" PRIu32, k);
        region_box_slab(g, r, k, &box);
        units = slab_units(&box, g->ndim);
        bytes = units * geometry_unit_bytes(g);
        if (!add_u64(total_bytes, bytes, &total_bytes) ||
            total_bytes > BYTES_MAX)
            return err_set(err, -CKPT_ESHAPE,
                           "boxes of more than 2^63 - 1 bytes");
    }
    return 0;
}

static int cut_check(const struct geometry *g, const struct region *r,
                     struct err *err)
{
    uint64_t units = region_uncut_units(g, r), start, count;

    if (!is_whole(g->dtype, r->cut_start) || !is_whole(g->dtype, r->cut_count))
        return err_set(err, -CKPT_ESHAPE,
                       "cut [%" PRIu64 ", +%" PRIu64
                       ") of %s elements is not whole bytes",
                       r->cut_start, r->cut_count, dtype_name(g->dtype));
    start = region_units(g->dtype, r->cut_start);
    count = region_units(g->dtype, r->cut_count);
    if (start > units || count > units - start)
        return err_set(err, -CKPT_ESHAPE,
                       "cut [%" PRIu64 ", +%" PRIu64
                       ") ends past the region's boxes",
                       r->cut_start, r->cut_count);
    return 0;
}

void region_stride_units(const struct geometry *g, const uint64_t *strides,
                         uint64_t *units)
{
    for (uint32_t d = 0; d < g->ndim; d++)
        units[d] = region_units(g->dtype, strides[d]);
    if (g->ndim && dtype_bits(g->dtype) < 8)
        units[g->ndim - 1] = 1;
}

bool region_strided_span(const struct geometry *g, const struct region *r,
                         const uint64_t *strides, uint64_t *span)
{
    uint64_t units[MAX_DIMS], step;
    struct slab box;

    region_box_slab(g, r, 0, &box);
    region_stride_units(g, strides, units);
    *span = slab_units(&box, g->ndim) ? 1 : 0;
    if (*span == 0)
        return true;
    for (uint32_t d = 0; d < g->ndim; d++) {
        if (!mul_u64(box.size[d] - 1, units[d], &step) ||
            !add_u64(*span, step, span))
            return false;
    }
    return true;
}

/* Those of dimensions without a second step, or of an empty box, are free. */
static int strides_check(const struct geometry *g, const struct region *r,
                         const uint64_t *strides, struct err *err)
{
    struct slab box;
    uint64_t span;

    if (r->box_count > 1 || r->is_cut)
        return err_set(err, -CKPT_ESHAPE, "strides need a single uncut box");
    region_box_slab(g, r, 0, &box);
    if (slab_units(&box, g->ndim) == 0)
        return 0;
    for (uint32_t d = 0; dtype_bits(g->dtype) < 8 && d < g->ndim; d++) {
        bool is_last = d + 1 == g->ndim;

        if (is_last ? strides[d] != 1
                    : box.size[d] > 1 && !is_whole(g->dtype, strides[d]))
            return err_set(err, -CKPT_ESHAPE,
                           "stride %" PRIu64 " of %s elements along dimension "
                           "%" PRIu32 " does not keep whole bytes together",
                           strides[d], dtype_name(g->dtype), d);
    }
    if (!region_strided_span(g, r, strides, &span) ||
        span > BYTES_MAX / geometry_unit_bytes(g))
        return err_set(err, -CKPT_ESHAPE,
                       "strides span more than 2^63 - 1 bytes");
    return 0;
}

int region_check(const struct geometry *g, const struct region *r,
                 const uint64_t *strides, struct err *err)
{
    int rc = boxes_check(g, r, err);

    if (!rc && r->is_cut)
        rc = cut_check(g, r, err);
    if (!rc && strides)
        rc = strides_check(g, r, strides, err);
    return rc;
}
