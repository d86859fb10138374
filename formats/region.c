/*
 * region.c - from what a trainer declares to slabs; see region.h.
 *
 * A walk over the boxes of a region (cut to the window, clipped to the logical
 * shape) gives the slabs of both orders. The region was checked (geometry.c):
 * nothing here can overflow, only memory can run out.
 */
#include "formats/region_units.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

uint64_t region_local_bytes(const struct geometry *g, const struct region *r,
                            const uint64_t *strides)
{
    uint64_t units;

    if (strides) {
        bool fits = region_strided_span(g, r, strides, &units);

        assert(fits);
    } else if (r->is_cut) {
        units = region_units(g->dtype, r->cut_count);
    } else {
        units = region_uncut_units(g, r);
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
    region_to_units(g, g->shape, w->shape);
    if (r->is_cut) {
        w->from = region_units(g->dtype, r->cut_start);
        w->to = w->from + region_units(g->dtype, r->cut_count);
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
    if (w->next == region_box_total(w->region) || w->at >= w->to)
        return false;
    region_box_slab(w->geometry, w->region, w->next++, &box);
    units = slab_units(&box, ndim);
    if (w->strides)
        region_stride_units(w->geometry, w->strides, box.stride);
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
