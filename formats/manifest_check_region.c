/*
 * manifest_check_region.c - geometry and regions of a manifest, in place.
 *
 * manifest_open() allocates nothing, so boxes are checked one by one with
 * region_check() and the cut over all of them here. packed_bytes must be right
 * to the byte, so that no later arithmetic on regions can go wrong.
 *
 * Packed bytes of a cut: of the first n units of a box in row-major order,
 * units_before() counts those inside the logical shape, dimension by
 * dimension; a cut is the difference of two such counts.
 */
#include "formats/manifest_media.h"
#include "formats/region_units.h"

#include <inttypes.h>

/* A box in units, and what of it lies inside the logical shape. */
struct extent {
    uint32_t ndim;
    uint64_t size[MAX_DIMS], inside[MAX_DIMS];
    /* Units in all dimensions after this one. */
    uint64_t size_after[MAX_DIMS], inside_after[MAX_DIMS];
    uint64_t units; /* in all */
};

int mf_check_geometry(const struct mf_tensor *t, struct err *err)
{
    struct geometry g = {.dtype = t->dtype, .ndim = t->ndim};
    int rc;

    if (t->ndim > MAX_DIMS)
        return err_set(err, -CKPT_ECORRUPT, "%u dimensions", t->ndim);
    memcpy(g.shape, t->shape, sizeof g.shape);
    rc = geometry_check(&g, err);
    if (rc)
        return rc;
    for (uint32_t d = t->ndim; d < MAX_DIMS; d++)
        if (t->shape[d])
            return err_set(err, -CKPT_ECORRUPT, "a shape beyond %u dimensions",
                           t->ndim);
    if (geometry_bytes(&g) != t->logical_bytes)
        return err_set(err, -CKPT_ECORRUPT, "logical bytes are not its own");
    return 0;
}

/* Elements of a cut in units; false when they are not whole bytes. */
static bool to_units(uint32_t dtype, uint64_t elements, uint64_t *units)
{
    *units = region_units(dtype, elements);
    return elements % 8 * dtype_bits(dtype) % 8 == 0;
}

/* Box and shape were checked: nothing here can overflow, all is whole. */
static void extent_init(struct extent *x, const struct geometry *g,
                        const struct box *box)
{
    x->ndim = g->ndim;
    x->units = 1;
    for (uint32_t d = g->ndim; d-- > 0;) {
        uint64_t at = box->offset[d], n = box->size[d], shape = g->shape[d];

        if (d + 1 == g->ndim) {
            at = region_units(g->dtype, at);
            n = region_units(g->dtype, n);
            shape = region_units(g->dtype, shape);
        }
        x->size[d] = n;
        x->inside[d] = at < shape ? min_u64(at + n, shape) - at : 0;
        x->size_after[d] = x->units;
        x->inside_after[d] =
            d + 1 == g->ndim ? 1 : x->inside_after[d + 1] * x->inside[d + 1];
        x->units *= n;
    }
}

/* Of the first n units, how many are inside the logical shape. */
static uint64_t units_before(const struct extent *x, uint64_t n)
{
    uint64_t sum = 0;

    if (x->units == 0)
        return 0;
    for (uint32_t d = 0; d < x->ndim; d++) {
        uint64_t i = n / x->size_after[d];

        n %= x->size_after[d];
        if (i >= x->inside[d])
            return sum + x->inside[d] * x->inside_after[d];
        sum += i * x->inside_after[d];
    }
    return x->ndim ? sum : n;
}

/* Box k of the region, checked; the whole tensor if it has none. */
static int box_open(const struct geometry *g, const struct mf_region *r,
                    const uint64_t *dims, uint32_t k, struct box *box,
                    struct err *err)
{
    struct region one = {.boxes = box, .box_count = 1};

    *box = (struct box){0};
    memcpy(box->size, g->shape, g->ndim * sizeof *dims);
    if (r->box_count) {
        dims += (uint64_t)k * 2 * g->ndim;
        memcpy(box->offset, dims, g->ndim * sizeof *dims);
        memcpy(box->size, dims + g->ndim, g->ndim * sizeof *dims);
    }
    return region_check(g, &one, NULL, err);
}

int mf_check_region(const struct mf_tensor *t, const struct mf_region *r,
                    const uint64_t *dims, struct err *err)
{
    struct geometry g = {.dtype = t->dtype, .ndim = t->ndim};
    uint64_t most = INT64_MAX / mf_unit_bytes(t->dtype);
    uint64_t start = 0, end = UINT64_MAX, cut, at = 0, units = 0;

    memcpy(g.shape, t->shape, sizeof g.shape);
    if (r->is_cut &&
        (!to_units(t->dtype, r->cut_start, &start) ||
         !to_units(t->dtype, r->cut_count, &cut) || !add_u64(start, cut, &end)))
        return err_set(err, -CKPT_ECORRUPT, "a cut that is not whole");
    for (uint32_t k = 0; k < max_u64(r->box_count, 1); k++) {
        struct extent x;
        struct box box;
        uint64_t next;

        if (box_open(&g, r, dims, k, &box, err))
            return err_set(err, -CKPT_ECORRUPT, "box %" PRIu32 " is malformed",
                           k);
        extent_init(&x, &g, &box);
        next = at + x.units; /* each at most INT64_MAX */
        if (next > most)
            return err_set(err, -CKPT_ECORRUPT, "more than 2^63 - 1 bytes");
        units += units_before(&x, min_u64(max_u64(end, at), next) - at) -
                 units_before(&x, min_u64(max_u64(start, at), next) - at);
        at = next;
    }
    if (r->is_cut && end > at)
        return err_set(err, -CKPT_ECORRUPT, "a cut beyond its boxes");
    if (units * mf_unit_bytes(t->dtype) != r->packed_bytes)
        return err_set(err, -CKPT_ECORRUPT,
                       "packed bytes %" PRIu64 " are not its own",
                       r->packed_bytes);
    return 0;
}
