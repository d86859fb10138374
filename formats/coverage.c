/*
 * coverage.c - manifest_coverage(), see manifest.h.
 *
 * Tensor by tensor: its regions are sorted so that equal ones (replicas of one
 * another) stand together, by the slices they wrote. Each such group must agree
 * in count and tile its packed order. Then one region of each group goes into a
 * tree: no two may share an element, and together they must hold as many as the
 * tensor has. Only when that fails is the first missing element looked for.
 */
#include "formats/stored.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* A region and what it is sorted by. */
struct member {
    const struct mf_region *region;
    uint64_t hash; /* of its boxes */
};

struct coverage {
    const struct manifest *m;
    struct err *err;
    struct stored stored;
    struct member *member;
    size_t capacity;
};

static uint64_t dim_count(const struct manifest *m, const struct mf_region *r)
{
    return 2 * (uint64_t)m->tensor[r->tensor].ndim * r->box_count;
}

/* By what the region is: 0 for equal ones. */
static int compare_regions(const struct manifest *m, const struct member *a,
                           const struct member *b)
{
    const struct mf_region *x = a->region, *y = b->region;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    if (x->box_count != y->box_count)
        return x->box_count < y->box_count ? -1 : 1;
    if (x->is_cut != y->is_cut)
        return x->is_cut < y->is_cut ? -1 : 1;
    if (x->cut_start != y->cut_start)
        return x->cut_start < y->cut_start ? -1 : 1;
    if (x->cut_count != y->cut_count)
        return x->cut_count < y->cut_count ? -1 : 1;
    return memcmp(m->dim + x->first_dim, m->dim + y->first_dim,
                  dim_count(m, x) * sizeof *m->dim);
}

static int compare_members(const void *a, const void *b, void *manifest)
{
    const struct member *x = a, *y = b;
    int c = compare_regions(manifest, x, y);

    if (c)
        return c;
    if (x->region->slice_start != y->region->slice_start)
        return x->region->slice_start < y->region->slice_start ? -1 : 1;
    return (x->region > y->region) - (x->region < y->region);
}

static int sort_members(struct coverage *c, const struct mf_tensor *t)
{
    if (t->region_count > c->capacity) {
        struct member *grown =
            reallocarray(c->member, t->region_count, sizeof *grown);

        if (!grown) {
            (void)err_set(c->err, -ENOMEM, "no memory for its regions");
            return stored_prefix(&c->stored, c->err);
        }
        c->member = grown;
        c->capacity = t->region_count;
    }
    for (uint64_t i = 0; i < t->region_count; i++) {
        const struct mf_region *r = &c->m->region[t->first_region + i];

        c->member[i].region = r;
        c->member[i].hash = hash_64(c->m->dim + r->first_dim,
                                    dim_count(c->m, r) * sizeof *c->m->dim) ^
                            (r->cut_start * 0x9e3779b97f4a7c15U);
    }
    if (t->region_count > 1)
        qsort_r(c->member, t->region_count, sizeof *c->member, compare_members,
                (void *)(uintptr_t)c->m);
    return 0;
}

/* The element at packed byte `at` of a region, in words. */
static int packed_index_text(struct coverage *c, const struct mf_region *r,
                             uint64_t at, char *text, size_t capacity)
{
    uint64_t unit = c->stored.unit_bytes;
    int rc;

    stored_begin(&c->stored, c->m, r->tensor);
    rc = stored_add(&c->stored, (uint64_t)(r - c->m->region), at, unit, c->err);
    if (rc)
        return rc;
    assert(c->stored.count == 1);
    geometry_index_text(&c->stored.geometry, c->stored.slab[0].offset, text,
                        capacity);
    return 0;
}

/* Bytes from `at` on of a region are written by nobody. */
static int missing(struct coverage *c, const struct mf_region *r, uint64_t at)
{
    char text[INDEX_TEXT_BYTES];
    int rc = packed_index_text(c, r, at, text, sizeof text);

    if (rc)
        return rc;
    (void)err_set(c->err, -CKPT_EPARTIAL,
                  "nobody wrote element %s: of %" PRIu32
                  " replicas of the region that rank %" PRIu32
                  " holds, the one to write it is missing",
                  text, r->replica_count, r->rank);
    return stored_prefix(&c->stored, c->err);
}

static int written_twice(struct coverage *c, const struct mf_region *a,
                         const struct mf_region *b, uint64_t at)
{
    char text[INDEX_TEXT_BYTES];
    int rc = packed_index_text(c, b, at, text, sizeof text);

    if (rc)
        return rc;
    (void)err_set(c->err, -CKPT_ECONFLICT,
                  "element %s was written by rank %" PRIu32
                  " and by rank %" PRIu32,
                  text, a->rank, b->rank);
    return stored_prefix(&c->stored, c->err);
}

/* Members [0, count) are replicas of one region, by slice_start: do their
 * slices tile it? */
static int check_group(struct coverage *c, const struct member *member,
                       size_t count)
{
    const struct mf_region *first = member[0].region, *last = NULL;
    uint64_t at = 0;

    /* Those that hold nothing are replicas of nothing. */
    if (first->packed_bytes == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const struct mf_region *r = member[i].region;

        if (r->replica_count != first->replica_count) {
            (void)err_set(
                c->err, -CKPT_ECONFLICT,
                "rank %" PRIu32 " has %" PRIu32
                " replicas of a region of which rank %" PRIu32 " has %" PRIu32,
                first->rank, first->replica_count, r->rank, r->replica_count);
            return stored_prefix(&c->stored, c->err);
        }
        if (r->slice_bytes == 0)
            continue;
        if (r->slice_start < at)
            return written_twice(c, last, r, r->slice_start);
        if (r->slice_start > at)
            return missing(c, first, at);
        at = r->slice_start + r->slice_bytes;
        last = r;
    }
    return at < first->packed_bytes ? missing(c, first, at) : 0;
}

/* Checks the groups, and adds one region of each to the slabs. */
static int add_groups(struct coverage *c, const struct mf_tensor *t,
                      uint64_t *bytes)
{
    size_t end;
    int rc;

    *bytes = 0;
    for (size_t i = 0; i < t->region_count; i = end) {
        const struct mf_region *r = c->member[i].region;

        end = i + 1;
        while (end < t->region_count &&
               compare_regions(c->m, &c->member[i], &c->member[end]) == 0)
            end++;
        rc = check_group(c, &c->member[i], end - i);
        if (rc)
            return rc;
        rc = stored_add(&c->stored, (uint64_t)(r - c->m->region), 0,
                        r->packed_bytes, c->err);
        if (rc)
            return rc;
        if (!add_u64(*bytes, r->packed_bytes, bytes))
            *bytes = UINT64_MAX;
    }
    return 0;
}

struct probe {
    struct coverage *coverage;
    uint32_t slab;
};

/* Called for each slab that overlaps the probed one: itself, or a conflict. */
static int overlap(void *context, uint32_t slab)
{
    struct probe *p = context;
    struct coverage *c = p->coverage;
    const struct stored *s = &c->stored;
    const struct slab *a = &s->slab[p->slab], *b = &s->slab[slab];
    char text[INDEX_TEXT_BYTES];
    uint64_t index[MAX_DIMS];

    if (slab == p->slab)
        return 0;
    for (uint32_t d = 0; d < s->geometry.ndim; d++)
        index[d] = max_u64(a->offset[d], b->offset[d]);
    geometry_index_text(&s->geometry, index, text, sizeof text);
    (void)err_set(c->err, -CKPT_ECONFLICT,
                  "element %s is in a region of rank %" PRIu32
                  " and in another of rank %" PRIu32
                  " that is no replica of it",
                  text, c->m->region[s->region[p->slab]].rank,
                  c->m->region[s->region[slab]].rank);
    return stored_prefix(s, c->err);
}

static int check_overlaps(struct coverage *c)
{
    struct probe p = {.coverage = c};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < c->stored.count; i++) {
        p.slab = (uint32_t)i;
        rc = boxtree_query(&c->stored.tree, &c->stored.slab[i], overlap, &p);
    }
    return rc;
}

/* The slabs are disjoint and too few. */
static int hole(struct coverage *c)
{
    struct region whole = {0};
    struct slabs all;
    char text[INDEX_TEXT_BYTES] = "of it";
    uint64_t index[MAX_DIMS];
    int rc;

    rc = region_slabs(&c->stored.geometry, &whole, REGION_PACKED, NULL, &all);
    if (!rc)
        rc = stored_first_hole(&c->stored, &all.slab[0], index);
    slabs_free(&all);
    if (rc < 0) {
        (void)err_set(c->err, rc, "no memory to look for what is missing");
        return stored_prefix(&c->stored, c->err);
    }
    if (rc > 0)
        geometry_index_text(&c->stored.geometry, index, text, sizeof text);
    (void)err_set(c->err, -CKPT_EPARTIAL, "element %s is in no rank's region",
                  text);
    return stored_prefix(&c->stored, c->err);
}

static int check_tensor(struct coverage *c, uint64_t tensor)
{
    const struct mf_tensor *t = &c->m->tensor[tensor];
    uint64_t bytes = 0;
    int rc;

    stored_begin(&c->stored, c->m, tensor);
    rc = sort_members(c, t);
    if (!rc)
        rc = add_groups(c, t, &bytes);
    if (!rc)
        rc = stored_index(&c->stored, c->err);
    if (!rc)
        rc = check_overlaps(c);
    if (!rc && bytes != geometry_bytes(&c->stored.geometry))
        rc = hole(c);
    return rc;
}

/* Every rank once. The first one that is missing is at most rank_count. */
static int check_ranks(const struct manifest *m, struct err *err)
{
    uint8_t *seen = calloc(m->rank_count + 1, 1);
    uint64_t missing_rank = 0;
    int rc = 0;

    if (!seen)
        return err_set(err, -ENOMEM, "no memory for %" PRIu64 " ranks",
                       m->rank_count);
    for (uint64_t i = 0; rc == 0 && i < m->rank_count; i++) {
        uint32_t rank = m->rank[i].rank;

        if (rank >= m->info.world_size)
            rc = err_set(err, -CKPT_ECONFLICT,
                         "rank %" PRIu32 " is not one of %" PRIu32, rank,
                         m->info.world_size);
        else if (rank <= m->rank_count && seen[rank]++)
            rc = err_set(err, -CKPT_ECONFLICT,
                         "rank %" PRIu32 " is there twice", rank);
    }
    while (missing_rank < m->rank_count && seen[missing_rank])
        missing_rank++;
    if (rc == 0 && missing_rank < m->info.world_size)
        rc = err_set(err, -CKPT_EPARTIAL, "rank %" PRIu64 " is missing",
                     missing_rank);
    free(seen);
    return rc;
}

int manifest_coverage(const struct manifest *m, struct err *err)
{
    struct coverage c = {.m = m, .err = err};
    int rc = check_ranks(m, err);

    for (uint64_t i = 0; rc == 0 && i < m->tensor_count; i++)
        rc = check_tensor(&c, i);
    stored_free(&c.stored);
    free(c.member);
    return rc;
}
