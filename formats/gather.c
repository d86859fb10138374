/*
 * gather.c - region_gather(), the inner step of capture; see region.h.
 *
 * A slab that lies as densely in the local buffer as in packed order, which is
 * what nearly all are, is one memcpy for any range of it. Only strided and
 * padded slabs are cut into parts. Nothing here allocates or can fail.
 */
#include "formats/region.h"

#include <assert.h>
#include <string.h>

/* The slab that holds packed unit `at`. */
static size_t find_slab(const struct slabs *packed, uint64_t at)
{
    size_t low = 0, high = packed->count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (packed->slab[middle].base <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool same_strides(const struct slab *a, const struct slab *b,
                         uint32_t ndim)
{
    for (uint32_t d = 0; d < ndim; d++) {
        if (a->size[d] > 1 && a->stride[d] != b->stride[d])
            return false;
    }
    return true;
}

/* Units [first, first + count) of one slab, part by part. */
static void gather_parts(const struct slab *local, const struct slab *dense,
                         const struct slabs *packed, const uint64_t range[2],
                         const uint8_t *src, uint8_t *dst)
{
    struct slab from[SLAB_CUT_MAX], to[SLAB_CUT_MAX];
    uint64_t first = range[0], count = range[1];
    size_t parts = slab_cut(local, packed->ndim, first, count, from);
    size_t same = slab_cut(dense, packed->ndim, first, count, to);
    uint64_t origin = dense->base + first;

    assert(parts == same);
    for (size_t i = 0; i < parts; i++) {
        struct copy_op op;
        bool shared;

        to[i].base -= origin;
        shared = slab_intersect(&from[i], &to[i], packed->ndim,
                                packed->unit_bytes, &op);
        assert(shared);
        copy_run(&op, src, dst);
    }
}

void region_gather(const struct slabs *local_slabs,
                   const struct slabs *packed_slabs, uint64_t start,
                   uint64_t bytes, const void *local, void *packed)
{
    uint32_t ndim = packed_slabs->ndim, unit = packed_slabs->unit_bytes;
    const uint8_t *src = local;
    uint8_t *dst = packed;
    uint64_t at = start / unit, end = at + bytes / unit;

    assert(start % unit == 0 && bytes % unit == 0);
    assert(start + bytes <= packed_slabs->bytes);
    if (bytes == 0)
        return;
    for (size_t i = find_slab(packed_slabs, at); at < end; i++) {
        const struct slab *from = &local_slabs->slab[i];
        const struct slab *to = &packed_slabs->slab[i];
        uint64_t first = at - to->base;
        uint64_t count = min_u64(end - at, slab_units(to, ndim) - first);
        uint64_t range[2] = {first, count};

        if (same_strides(from, to, ndim))
            memcpy(dst, src + (from->base + first) * unit, count * unit);
        else
            gather_parts(from, to, packed_slabs, range, src, dst);
        dst += count * unit;
        at += count;
    }
}
