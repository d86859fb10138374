/*
 * stored.c - see stored.h.
 */
#include "formats/stored.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

void stored_begin(struct stored *s, const struct manifest *m, uint64_t tensor)
{
    s->m = m;
    s->tensor = tensor;
    s->count = 0;
    boxtree_free(&s->tree);
    manifest_geometry(m, tensor, &s->geometry);
    s->unit_bytes = geometry_unit_bytes(&s->geometry);
}

int stored_prefix(const struct stored *s, struct err *err)
{
    const struct mf_tensor *t = &s->m->tensor[s->tensor];

    return err_prefix(err, "tensor %.*s", (int)t->name_bytes,
                      s->m->blob + t->name);
}

static int no_memory(const struct stored *s, struct err *err)
{
    (void)err_set(err, -ENOMEM, "no memory for its regions");
    return stored_prefix(s, err);
}

static bool reserve(struct stored *s, size_t more)
{
    size_t wanted = s->count + more;
    struct slab *slab;
    uint64_t *region;

    if (wanted <= s->capacity)
        return true;
    wanted = max_u64(wanted, max_u64(64, s->capacity * 2));
    slab = reallocarray(s->slab, wanted, sizeof *slab);
    if (!slab)
        return false;
    s->slab = slab;
    region = reallocarray(s->region, wanted, sizeof *region);
    if (!region)
        return false;
    s->region = region;
    s->capacity = wanted;
    return true;
}

/* Appends units [start, end) of the packed order of a region's slabs. */
static bool append(struct stored *s, const struct slabs *slabs, uint64_t region,
                   uint64_t start, uint64_t end)
{
    struct slab part[SLAB_CUT_MAX];

    for (size_t i = 0; i < slabs->count; i++) {
        const struct slab *slab = &slabs->slab[i];
        uint64_t from = max_u64(start, slab->base);
        uint64_t to = min_u64(end, slab->base + slab_units(slab, slabs->ndim));
        size_t parts;

        if (from >= to)
            continue;
        parts = slab_cut(slab, slabs->ndim, from - slab->base, to - from, part);
        if (!reserve(s, parts))
            return false;
        for (size_t k = 0; k < parts; k++) {
            s->region[s->count] = region;
            s->slab[s->count++] = part[k];
        }
    }
    return true;
}

int stored_add(struct stored *s, uint64_t region, uint64_t start,
               uint64_t bytes, struct err *err)
{
    const struct mf_region *r = &s->m->region[region];
    struct slabs slabs = {0};
    struct region shape;
    uint64_t end;
    int rc;

    if (manifest_region(s->m, region, &s->boxes, &s->box_capacity, &shape))
        return no_memory(s, err);
    rc = region_check(&s->geometry, &shape, NULL, err);
    if (rc) {
        (void)err_prefix(err, "stored region %" PRIu64, region);
        err->code = -CKPT_ECORRUPT;
        return stored_prefix(s, err);
    }
    if (region_slabs(&s->geometry, &shape, REGION_PACKED, NULL, &slabs))
        return no_memory(s, err);
    if (slabs.bytes != r->packed_bytes || !add_u64(start, bytes, &end) ||
        end > slabs.bytes || start % s->unit_bytes || end % s->unit_bytes) {
        (void)err_set(err, -CKPT_ECORRUPT,
                      "stored region %" PRIu64 " does not fit its slice",
                      region);
        rc = stored_prefix(s, err);
    } else if (!append(s, &slabs, region, start / s->unit_bytes,
                       end / s->unit_bytes)) {
        rc = no_memory(s, err);
    }
    slabs_free(&slabs);
    return rc;
}

int stored_index(struct stored *s, struct err *err)
{
    int rc = boxtree_build(s->slab, s->count, s->geometry.ndim, &s->tree);

    if (rc) {
        (void)err_set(err, rc, "cannot index %zu parts", s->count);
        return stored_prefix(s, err);
    }
    return 0;
}

struct found {
    const struct stored *stored;
    const struct slab **slab;
    size_t count;
};

static int find(void *context, uint32_t slab)
{
    struct found *f = context;

    f->slab[f->count++] = &f->stored->slab[slab];
    return 0;
}

int stored_first_hole(const struct stored *s, const struct slab *within,
                      uint64_t hole[MAX_DIMS])
{
    struct found f = {.stored = s};
    int rc;

    f.slab = calloc(s->count + 1, sizeof(*f.slab));
    if (!f.slab)
        return -ENOMEM;
    rc = boxtree_query(&s->tree, within, find, &f);
    if (rc == 0)
        rc = slabs_first_hole(within, f.slab, f.count, s->geometry.ndim, hole);
    free(f.slab);
    return rc;
}

void stored_free(struct stored *s)
{
    if (!s)
        return;
    boxtree_free(&s->tree);
    free(s->slab);
    free(s->region);
    free(s->boxes);
    *s = (struct stored){0};
}
