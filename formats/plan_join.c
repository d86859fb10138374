/*
 * plan_join.c - see plan_join.h.
 *
 * For each wanted slab the tree gives the stored slabs that overlap it. Of such
 * a pair the pieces are visited in packed order, stepping over those that hold
 * nothing of the wanted one; what a piece holds of the stored slab is cut into
 * plain boxes, each of which gives one operation. The bytes of a wanted slab
 * are counted, and a shortfall is -CKPT_EPARTIAL with the first element that is
 * missing.
 */
#include "formats/plan_join.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define NONE UINT64_MAX

void plan_draft_free(struct plan_draft *d)
{
    if (!d)
        return;
    free(d->op);
    free(d->key);
    *d = (struct plan_draft){0};
}

static bool draft_reserve(struct plan_draft *d)
{
    size_t wanted = d->capacity ? d->capacity * 2 : 256;
    struct plan_op *op;
    struct plan_key *key;

    if (d->count < d->capacity)
        return true;
    op = reallocarray(d->op, wanted, sizeof *op);
    if (!op)
        return false;
    d->op = op;
    key = reallocarray(d->key, wanted, sizeof *key);
    if (!key)
        return false;
    d->key = key;
    d->capacity = wanted;
    return true;
}

int plan_stored(struct stored *s, const struct manifest *m, uint64_t tensor,
                struct err *err)
{
    const struct mf_tensor *t = &m->tensor[tensor];
    int rc = 0;

    stored_begin(s, m, tensor);
    for (uint64_t i = 0; rc == 0 && i < t->region_count; i++) {
        const struct mf_region *r = &m->region[t->first_region + i];

        if (r->slice_bytes)
            rc = stored_add(s, t->first_region + i, r->slice_start,
                            r->slice_bytes, err);
    }
    return rc ? rc : stored_index(s, err);
}

/* The wanted part of a stored slab, as ranges of its own indices. */
struct window {
    uint32_t ndim;
    uint64_t size[MAX_DIMS]; /* of the stored slab */
    uint64_t from[MAX_DIMS], to[MAX_DIMS];
    uint64_t end; /* row-major unit behind the last wanted one */
};

static uint64_t row_major(const struct window *w, const uint64_t *index)
{
    uint64_t at = 0;

    for (uint32_t d = 0; d < w->ndim; d++)
        at = at * w->size[d] + index[d];
    return at;
}

static void window_init(struct window *w, const struct slab *stored,
                        const struct slab *wanted, uint32_t ndim)
{
    uint64_t last[MAX_DIMS] = {0};

    w->ndim = ndim;
    for (uint32_t d = 0; d < ndim; d++) {
        uint64_t from = max_u64(stored->offset[d], wanted->offset[d]);
        uint64_t to = min_u64(stored->offset[d] + stored->size[d],
                              wanted->offset[d] + wanted->size[d]);

        w->size[d] = stored->size[d];
        w->from[d] = from - stored->offset[d];
        w->to[d] = to - stored->offset[d];
        last[d] = w->to[d] - 1;
    }
    w->end = row_major(w, last) + 1;
}

/* The first wanted unit from `at` on, NONE after the last. */
static uint64_t window_next(const struct window *w, uint64_t at)
{
    uint64_t index[MAX_DIMS] = {0};
    uint32_t d;

    if (at >= w->end)
        return NONE;
    for (d = w->ndim; d > 0; d--) {
        index[d - 1] = at % w->size[d - 1];
        at /= w->size[d - 1];
    }
    while (d < w->ndim && index[d] >= w->from[d] && index[d] < w->to[d])
        d++;
    if (d < w->ndim && index[d] >= w->to[d]) {
        /* Past the end along d: step the last dimension before it that can. */
        while (d > 0 && index[d - 1] + 1 >= w->to[d - 1])
            d--;
        if (d == 0)
            return NONE;
        index[d - 1]++;
    }
    for (; d < w->ndim; d++)
        index[d] = w->from[d];
    return row_major(w, index);
}

struct join {
    const struct stored *stored;
    const struct slab *wanted;
    struct plan_draft *draft;
    struct err *err;
    uint64_t units; /* found of the wanted slab */
    uint32_t request, entry;
};

/* The piece with packed byte `at` of a region; NULL for a malformed one. */
static const struct mf_piece *piece_at(const struct stored *s, uint64_t region,
                                       uint64_t at)
{
    const struct manifest *m = s->m;
    const struct mf_region *r = &m->region[region];
    const struct mf_piece *p;
    uint64_t low = 0, high = r->piece_count;

    if (high == 0 || r->first_piece > m->piece_count ||
        high > m->piece_count - r->first_piece)
        return NULL;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (m->piece[r->first_piece + middle].region_start <= at)
            low = middle;
        else
            high = middle;
    }
    p = &m->piece[r->first_piece + low];
    if (at < p->region_start || at - p->region_start >= p->bytes ||
        p->region_start % s->unit_bytes || p->bytes % s->unit_bytes)
        return NULL;
    if (p->chunk >= m->chunk_count || p->chunk >= m->location_count ||
        (uint64_t)p->chunk_start + p->bytes > m->chunk[p->chunk].raw_bytes)
        return NULL;
    return p;
}

static int no_memory(const struct join *j)
{
    (void)err_set(j->err, -ENOMEM, "no memory for the plan");
    return stored_prefix(j->stored, j->err);
}

/* `part` of a stored slab lies in the piece: one operation if it is wanted. */
static int emit(struct join *j, const struct mf_piece *p,
                const struct slab *part)
{
    const struct stored *s = j->stored;
    const struct mf_location *at = &s->m->location[p->chunk];
    struct plan_draft *d = j->draft;
    struct plan_op op = {.entry = j->entry};

    if (!slab_intersect(part, j->wanted, s->geometry.ndim, s->unit_bytes,
                        &op.copy))
        return 0;
    if (!draft_reserve(d))
        return no_memory(j);
    op.copy.src = op.copy.src - p->region_start + p->chunk_start;
    d->key[d->count] = (struct plan_key){
        .file = at->file,
        .chunk = p->chunk,
        .offset = at->offset,
        .src = op.copy.src,
        .op = d->count,
        .request = j->request,
    };
    d->op[d->count++] = op;
    j->units += copy_bytes(&op.copy) / s->unit_bytes;
    return 0;
}

/* One stored slab that overlaps the wanted one. */
static int join_slab(void *context, uint32_t index)
{
    struct join *j = context;
    const struct stored *s = j->stored;
    const struct slab *slab = &s->slab[index];
    uint32_t ndim = s->geometry.ndim;
    struct slab part[SLAB_CUT_MAX];
    struct window w;
    int rc = 0;

    window_init(&w, slab, j->wanted, ndim);
    for (uint64_t at = window_next(&w, 0); rc == 0 && at != NONE;) {
        const struct mf_piece *p =
            piece_at(s, s->region[index], (slab->base + at) * s->unit_bytes);
        uint64_t end;
        size_t parts;

        if (!p) {
            (void)err_set(j->err, -CKPT_ECORRUPT,
                          "stored region %" PRIu64 " has malformed pieces",
                          s->region[index]);
            return stored_prefix(s, j->err);
        }
        end = min_u64((p->region_start + p->bytes) / s->unit_bytes - slab->base,
                      w.end);
        parts = slab_cut(slab, ndim, at, end - at, part);
        for (size_t i = 0; rc == 0 && i < parts; i++)
            rc = emit(j, p, &part[i]);
        at = window_next(&w, end);
    }
    return rc;
}

static int partial(const struct join *j)
{
    const struct stored *s = j->stored;
    char text[INDEX_TEXT_BYTES] = "of it";
    uint64_t hole[MAX_DIMS];
    int rc = stored_first_hole(s, j->wanted, hole);

    if (rc < 0)
        return no_memory(j);
    if (rc > 0)
        geometry_index_text(&s->geometry, hole, text, sizeof text);
    (void)err_set(j->err, -CKPT_EPARTIAL,
                  "nobody saved element %s, which is wanted", text);
    return stored_prefix(s, j->err);
}

int plan_join(const struct stored *s, const struct slabs *wanted,
              uint32_t request, uint32_t entry, struct plan_draft *d,
              struct err *err)
{
    struct join j = {.stored = s,
                     .draft = d,
                     .err = err,
                     .request = request,
                     .entry = entry};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < wanted->count; i++) {
        j.wanted = &wanted->slab[i];
        j.units = 0;
        rc = boxtree_query(&s->tree, j.wanted, join_slab, &j);
        if (rc == 0 && j.units != slab_units(j.wanted, wanted->ndim))
            rc = partial(&j);
    }
    return rc;
}
