/*
 * manifest_check_region.c - geometry and regions of a manifest, in place.
 *
 * What region_check() and region_slabs() establish for a struct region is
 * established here without copying boxes, so that manifest_open() allocates
 * nothing: no overflow, whole units, the cut inside the local order, and
 * packed_bytes right to the byte.
 *
 * Packed bytes of a cut: of the first n units of a box in row-major order,
 * units_before() counts those inside the logical shape, dimension by
 * dimension; a cut is the difference of two such counts.
 */
#include "formats/manifest_media.h"

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

/* Elements of the innermost dimension (or a cut) to units; false when they
 * are not whole bytes. */
static bool to_units(uint32_t bits, uint64_t elements, uint64_t *units)
{
    uint64_t total;

    if (bits >= 8) {
        *units = elements;
        return true;
    }
    if (!mul_u64(elements, bits, &total) || total % 8)
        return false;
    *units = total / 8;
    return true;
}

/* offset and size have ndim elements each; NULL: the whole tensor. */
static bool extent_init(struct extent *x, const struct mf_tensor *t,
                        const uint64_t *offset, const uint64_t *size)
{
    uint32_t bits = dtype_bits(t->dtype);
    bool is_empty = false;

    x->ndim = t->ndim;
    for (uint32_t d = 0; d < t->ndim; d++) {
        uint64_t at = offset ? offset[d] : 0, n = size ? size[d] : t->shape[d];
        uint64_t shape = t->shape[d], end;

        if (d + 1 == t->ndim &&
            (!to_units(bits, at, &at) || !to_units(bits, n, &n) ||
             !to_units(bits, shape, &shape)))
            return false;
        if (!add_u64(at, n, &end))
            return false;
        x->size[d] = n;
        x->inside[d] = at < shape ? min_u64(end, shape) - at : 0;
        is_empty |= n == 0;
    }
    x->units = is_empty ? 0 : 1;
    for (uint32_t d = t->ndim; d-- > 0 && !is_empty;) {
        x->size_after[d] = x->units;
        x->inside_after[d] =
            d + 1 == t->ndim ? 1 : x->inside_after[d + 1] * x->inside[d + 1];
        if (!mul_u64(x->units, x->size[d], &x->units))
            return false;
    }
    return true;
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

int mf_check_region(const struct mf_tensor *t, const struct mf_region *r,
                    const uint64_t *dims, struct err *err)
{
    uint32_t boxes = r->box_count ? r->box_count : 1, ndim = t->ndim;
    uint64_t start = 0, end = UINT64_MAX, cut, at = 0, units = 0, bytes;

    if (r->is_cut) {
        if (!to_units(dtype_bits(t->dtype), r->cut_start, &start) ||
            !to_units(dtype_bits(t->dtype), r->cut_count, &cut) ||
            !add_u64(start, cut, &end))
            return err_set(err, -CKPT_ECORRUPT, "a cut that is not whole");
    }
    for (uint32_t k = 0; k < boxes; k++, dims += 2 * (size_t)ndim) {
        const uint64_t *offset = r->box_count ? dims : NULL;
        struct extent x;
        uint64_t next;

        if (!extent_init(&x, t, offset, offset ? dims + ndim : NULL) ||
            !add_u64(at, x.units, &next))
            return err_set(err, -CKPT_ECORRUPT,
                           "box %" PRIu32 " is out of range", k);
        units += units_before(&x, min_u64(max_u64(end, at), next) - at) -
                 units_before(&x, min_u64(max_u64(start, at), next) - at);
        at = next;
    }
    if (r->is_cut && end > at)
        return err_set(err, -CKPT_ECORRUPT, "a cut beyond its boxes");
    if (!mul_u64(at, mf_unit_bytes(t->dtype), &bytes) ||
        units * mf_unit_bytes(t->dtype) != r->packed_bytes)
        return err_set(err, -CKPT_ECORRUPT,
                       "packed bytes %" PRIu64 " are not its own",
                       r->packed_bytes);
    return 0;
}
