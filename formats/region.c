/*
 * region.c - from what a trainer declares to slabs; see region.h.
 *
 * The checks come first: they bound every product and sum below 2^63 bytes, an
 * empty dimension counted as one, so that positions and strides fit too. After
 * them a walk over the boxes (cut to the window, clipped to the logical shape)
 * gives the slabs of both orders; nothing in it can overflow. Failures are
 * -CKPT_ESHAPE with words, and -ENOMEM.
 */
#include "formats/region.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX ((uint64_t)INT64_MAX)

uint32_t geometry_unit_bytes(const struct geometry *g)
{
    return dtype_bits(g->dtype) < 8 ? 1 : dtype_bits(g->dtype) / 8;
}

static bool is_whole(uint32_t dtype, uint64_t elements)
{
    return elements % 8 * dtype_bits(dtype) % 8 == 0;
}

/* Elements of the innermost dimension (or of a cut) in units. */
static uint64_t units_of(uint32_t dtype, uint64_t elements)
{
    uint32_t bits = dtype_bits(dtype);

    return bits < 8 ? elements / 8 * bits + elements % 8 * bits / 8 : elements;
}

static void to_units(const struct geometry *g, const uint64_t *elements,
                     uint64_t *units)
{
    for (uint32_t d = 0; d < g->ndim; d++)
        units[d] = elements[d];
    if (g->ndim)
        units[g->ndim - 1] = units_of(g->dtype, elements[g->ndim - 1]);
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
    to_units(g, size, units);
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

    to_units(g, g->shape, units);
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

/* Box k (the whole tensor's when there are none) as a slab of the local order,
 * dense, base 0. */
static void box_slab(const struct geometry *g, const struct region *r,
                     uint32_t k, struct slab *out)
{
    uint64_t units = 1;

    *out = (struct slab){0};
    if (r->box_count) {
        to_units(g, r->boxes[k].offset, out->offset);
        to_units(g, r->boxes[k].size, out->size);
    } else {
        to_units(g, g->shape, out->size);
    }
    for (uint32_t d = g->ndim; d > 0; d--) {
        out->stride[d - 1] = units;
        units *= out->size[d - 1];
    }
}

static uint32_t box_total(const struct region *r)
{
    return r->box_count ? r->box_count : 1;
}

/* Units of the uncut local order. */
static uint64_t uncut_units(const struct geometry *g, const struct region *r)
{
    struct slab box;
    uint64_t units = 0;

    for (uint32_t k = 0; k < box_total(r); k++) {
        box_slab(g, r, k, &box);
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
        box_slab(g, r, k, &box);
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
    uint64_t units = uncut_units(g, r), start, count;

    if (!is_whole(g->dtype, r->cut_start) || !is_whole(g->dtype, r->cut_count))
        return err_set(err, -CKPT_ESHAPE,
                       "cut [%" PRIu64 ", +%" PRIu64
                       ") of %s elements is not whole bytes",
                       r->cut_start, r->cut_count, dtype_name(g->dtype));
    start = units_of(g->dtype, r->cut_start);
    count = units_of(g->dtype, r->cut_count);
    if (start > units || count > units - start)
        return err_set(err, -CKPT_ESHAPE,
                       "cut [%" PRIu64 ", +%" PRIu64
                       ") ends past the region's boxes",
                       r->cut_start, r->cut_count);
    return 0;
}

/* Strides in units: those of sub-byte types count bytes along all but the
 * innermost dimension, which must be dense. */
static void stride_units(const struct geometry *g, const uint64_t *strides,
                         uint64_t *units)
{
    for (uint32_t d = 0; d < g->ndim; d++)
        units[d] = units_of(g->dtype, strides[d]);
    if (g->ndim && dtype_bits(g->dtype) < 8)
        units[g->ndim - 1] = 1;
}

/* Units from the first to the last one; false on overflow. */
static bool strided_span(const struct geometry *g, const struct region *r,
                         const uint64_t *strides, uint64_t *span)
{
    uint64_t units[MAX_DIMS], step;
    struct slab box;

    box_slab(g, r, 0, &box);
    stride_units(g, strides, units);
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
    box_slab(g, r, 0, &box);
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
    if (!strided_span(g, r, strides, &span) ||
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

uint64_t region_local_bytes(const struct geometry *g, const struct region *r,
                            const uint64_t *strides)
{
    uint64_t units;

    if (strides) {
        bool fits = strided_span(g, r, strides, &units);

        assert(fits);
    } else if (r->is_cut) {
        units = units_of(g->dtype, r->cut_count);
    } else {
        units = uncut_units(g, r);
    }
    return units * geometry_unit_bytes(g);
}

/* The walk over a region's boxes: what is left of each after the cut and the
 * clipping, as slabs of the local order. */
struct walk {
    const struct geometry *geometry;
    const struct region *region;
    const uint64_t *strides; /* NULL: dense */
    uint64_t shape[MAX_DIMS];
    uint64_t from, to; /* the cut, in units */
    uint64_t at;       /* of box `next` in the uncut order */
    uint32_t next;
};

static void walk_init(struct walk *w, const struct geometry *g,
                      const struct region *r, const uint64_t *strides)
{
    *w = (struct walk){
        .geometry = g, .region = r, .strides = strides, .to = UINT64_MAX};
    to_units(g, g->shape, w->shape);
    if (r->is_cut) {
        w->from = units_of(g->dtype, r->cut_start);
        w->to = w->from + units_of(g->dtype, r->cut_count);
    }
}

/* Cuts off the padding; false when nothing else was there. */
static bool clip(struct slab *s, const uint64_t *shape, uint32_t ndim)
{
    for (uint32_t d = 0; d < ndim; d++) {
        if (s->offset[d] >= shape[d])
            return false;
        s->size[d] = min_u64(s->size[d], shape[d] - s->offset[d]);
        if (s->size[d] == 0)
            return false;
    }
    return true;
}

/* What is left of the next box: 0 to SLAB_CUT_MAX slabs. False at the end. */
static bool walk_next(struct walk *w, struct slab parts[SLAB_CUT_MAX],
                      size_t *count)
{
    uint32_t ndim = w->geometry->ndim;
    uint64_t from, to, units;
    struct slab box;
    size_t cut;

    *count = 0;
    if (w->next == box_total(w->region) || w->at >= w->to)
        return false;
    box_slab(w->geometry, w->region, w->next++, &box);
    units = slab_units(&box, ndim);
    if (w->strides)
        stride_units(w->geometry, w->strides, box.stride);
    box.base = w->at;
    from = max_u64(w->from, w->at);
    to = min_u64(w->to, w->at + units);
    w->at += units;
    if (from >= to)
        return true;
    cut = slab_cut(&box, ndim, from - box.base, to - from, parts);
    for (size_t i = 0; i < cut; i++) {
        struct slab part = parts[i];

        part.base -= w->from;
        if (clip(&part, w->shape, ndim))
            parts[(*count)++] = part;
    }
    return true;
}

/* How many slabs, of how many units. */
static void region_measure(const struct geometry *g, const struct region *r,
                           size_t *slab_count, uint64_t *units)
{
    struct slab parts[SLAB_CUT_MAX];
    struct walk w;
    size_t count;

    *slab_count = 0;
    *units = 0;
    walk_init(&w, g, r, NULL);
    while (walk_next(&w, parts, &count)) {
        for (size_t i = 0; i < count; i++)
            *units += slab_units(&parts[i], g->ndim);
        *slab_count += count;
    }
}

uint64_t region_packed_bytes(const struct geometry *g, const struct region *r)
{
    size_t slab_count;
    uint64_t units;

    region_measure(g, r, &slab_count, &units);
    return units * geometry_unit_bytes(g);
}

/* Moves a slab to its place in the packed order; returns its units. */
static uint64_t pack(struct slab *s, uint32_t ndim, uint64_t base)
{
    uint64_t units = 1;

    for (uint32_t d = ndim; d > 0; d--) {
        s->stride[d - 1] = units;
        units *= s->size[d - 1];
    }
    s->base = base;
    return units;
}

int region_slabs(const struct geometry *g, const struct region *r,
                 enum region_order order, const uint64_t *strides,
                 struct slabs *out)
{
    struct slab parts[SLAB_CUT_MAX];
    struct walk w;
    uint64_t units, packed = 0;
    size_t slab_count, count;

    *out =
        (struct slabs){.ndim = g->ndim, .unit_bytes = geometry_unit_bytes(g)};
    region_measure(g, r, &slab_count, &units);
    if (slab_count == 0)
        return 0;
    out->slab = calloc(slab_count, sizeof *out->slab);
    if (!out->slab)
        return -ENOMEM;
    walk_init(&w, g, r, order == REGION_LOCAL ? strides : NULL);
    while (walk_next(&w, parts, &count)) {
        for (size_t i = 0; i < count; i++) {
            if (order == REGION_PACKED)
                packed += pack(&parts[i], g->ndim, packed);
            out->slab[out->count++] = parts[i];
        }
    }
    out->bytes = units * out->unit_bytes;
    return 0;
}

void slabs_free(struct slabs *slabs)
{
    if (!slabs)
        return;
    free(slabs->slab);
    *slabs = (struct slabs){0};
}
