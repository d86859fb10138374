/*
 * plan.c - plan_build(), see plan.h.
 *
 * The wishes of all requests are looked up and sorted by tensor, so that each
 * tensor's stored slices are indexed once, whoever wants it (plan_join.c). The
 * operations found are then sorted by place and folded into chunks and uses;
 * neighbours that continue each other on both sides become one.
 */
#include "formats/plan_join.h"

#include <errno.h>
#include <stdlib.h>

/* One entry of one request, and its tensor in the manifest. */
struct wish {
    uint64_t tensor;
    size_t request, entry;
};

static int compare_wishes(const void *a, const void *b)
{
    const struct wish *x = a, *y = b;

    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    if (x->request != y->request)
        return x->request < y->request ? -1 : 1;
    return (x->entry > y->entry) - (x->entry < y->entry);
}

static int compare_keys(const void *a, const void *b)
{
    const struct plan_key *x = a, *y = b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->chunk != y->chunk)
        return x->chunk < y->chunk ? -1 : 1;
    if (x->request != y->request)
        return x->request < y->request ? -1 : 1;
    if (x->src != y->src)
        return x->src < y->src ? -1 : 1;
    return (x->op > y->op) - (x->op < y->op);
}

static const uint64_t *strides_of(const struct plan_request *q, size_t entry)
{
    return q->strides ? q->strides[entry] : NULL;
}

static bool same_geometry(const struct geometry *a, const struct geometry *b)
{
    if (a->dtype != b->dtype || a->ndim != b->ndim)
        return false;
    for (uint32_t d = 0; d < a->ndim; d++) {
        if (a->shape[d] != b->shape[d])
            return false;
    }
    return true;
}

static int look_up(const struct manifest *m, const struct plan_request *q,
                   size_t entry, uint64_t *tensor, struct err *err)
{
    const struct entry *e = &q->entries[entry];
    int64_t found = manifest_find(m, e->name, strlen(e->name));
    char wanted[GEOMETRY_TEXT_BYTES], saved[GEOMETRY_TEXT_BYTES];
    struct geometry g;
    int rc;

    if (found < 0)
        return err_set(err, -ENOENT, "tensor %s: it is not in the checkpoint",
                       e->name);
    *tensor = (uint64_t)found;
    manifest_geometry(m, *tensor, &g);
    if (!same_geometry(&g, &e->geometry)) {
        geometry_text(&e->geometry, wanted, sizeof wanted);
        geometry_text(&g, saved, sizeof saved);
        return err_set(err, -CKPT_ESHAPE,
                       "tensor %s: %s is wanted, the checkpoint has %s",
                       e->name, wanted, saved);
    }
    rc = geometry_check(&g, err);
    if (!rc)
        rc = region_check(&g, &e->region, strides_of(q, entry), err);
    return rc ? err_prefix(err, "tensor %s", e->name) : 0;
}

struct build {
    const struct manifest *m;
    const struct plan_request *requests;
    size_t request_count;
    struct wish *wish;
    size_t wish_count;
    struct plan_draft draft;
    struct plan *plan;
    size_t *failed_request;
    struct err *err;
};

static int make_wishes(struct build *b)
{
    size_t total = 0;
    int rc;

    for (size_t i = 0; i < b->request_count; i++)
        total += b->requests[i].entry_count;
    b->wish = calloc(total + 1, sizeof *b->wish);
    if (!b->wish)
        return err_set(b->err, -ENOMEM, "no memory for %zu wanted tensors",
                       total);
    for (size_t i = 0; i < b->request_count; i++) {
        for (size_t k = 0; k < b->requests[i].entry_count; k++) {
            struct wish *w = &b->wish[b->wish_count++];

            *w = (struct wish){.request = i, .entry = k};
            *b->failed_request = i;
            rc = look_up(b->m, &b->requests[i], k, &w->tensor, b->err);
            if (rc)
                return rc;
        }
    }
    qsort(b->wish, b->wish_count, sizeof *b->wish, compare_wishes);
    return 0;
}

static int grant(struct build *b, const struct stored *stored,
                 const struct wish *w)
{
    const struct plan_request *q = &b->requests[w->request];
    const struct entry *e = &q->entries[w->entry];
    struct slabs wanted;
    int rc;

    rc = region_slabs(&stored->geometry, &e->region, REGION_LOCAL,
                      strides_of(q, w->entry), &wanted);
    if (rc)
        return err_set(b->err, rc, "tensor %s: no memory for its region",
                       e->name);
    b->plan->wanted_bytes += wanted.bytes;
    rc = plan_join(stored, &wanted, (uint32_t)w->request, (uint32_t)w->entry,
                   &b->draft, b->err);
    slabs_free(&wanted);
    return rc;
}

static int grant_all(struct build *b)
{
    struct stored stored = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < b->wish_count; i++) {
        const struct wish *w = &b->wish[i];

        *b->failed_request = w->request;
        if (i == 0 || w->tensor != stored.tensor)
            rc = plan_stored(&stored, b->m, w->tensor, b->err);
        if (rc == 0)
            rc = grant(b, &stored, w);
    }
    stored_free(&stored);
    return rc;
}

/* Brings the operations into the order of the sorted keys, in place: along
 * each cycle, every one moves to where it belongs. */
static void reorder(struct plan_draft *d)
{
    for (size_t i = 0; i < d->count; i++) {
        struct plan_op first;
        size_t at = i;

        if (d->key[i].op == i)
            continue;
        first = d->op[i];
        while (d->key[at].op != i) {
            size_t from = d->key[at].op;

            d->op[at] = d->op[from];
            d->key[at].op = at;
            at = from;
        }
        d->op[at] = first;
        d->key[at].op = at;
    }
}

static bool same_use(const struct plan_key *a, const struct plan_key *b)
{
    return a->chunk == b->chunk && a->request == b->request;
}

/* b goes on where a ends, on both sides. */
static bool continues(const struct plan_op *a, const struct plan_op *b)
{
    return a->entry == b->entry && a->copy.ndim == 0 && b->copy.ndim == 0 &&
           a->copy.src + a->copy.run_bytes == b->copy.src &&
           a->copy.dst + a->copy.run_bytes == b->copy.dst;
}

/* Adds operation i of the draft to the plan that has all before it. */
static void fold_one(struct plan *p, const struct plan_draft *d, size_t i,
                     const struct manifest *m)
{
    const struct plan_key *key = &d->key[i];
    const struct plan_op *op = &d->op[i];
    struct plan_use *use;

    if (i == 0 || d->key[i - 1].chunk != key->chunk) {
        p->chunk[p->chunk_count++] =
            (struct plan_chunk){.chunk = key->chunk, .first_use = p->use_count};
        p->stored_bytes +=
            chunk_extent_bytes(m->location[key->chunk].payload_bytes);
    }
    if (i == 0 || !same_use(&d->key[i - 1], key)) {
        p->use[p->use_count++] =
            (struct plan_use){.request = key->request, .first_op = p->op_count};
        p->chunk[p->chunk_count - 1].use_count++;
    }
    use = &p->use[p->use_count - 1];
    use->packed_bytes += copy_bytes(&op->copy);
    if (use->op_count && continues(&p->op[p->op_count - 1], op)) {
        p->op[p->op_count - 1].copy.run_bytes += op->copy.run_bytes;
        return;
    }
    p->op[p->op_count++] = *op;
    use->op_count++;
}

/* The draft's operations become the plan's; they only move towards the front
 * of the same array. */
static int fold(struct build *b)
{
    struct plan_draft *d = &b->draft;
    struct plan *p = b->plan;
    size_t chunks = 0, uses = 0;

    if (d->count == 0)
        return 0;
    qsort(d->key, d->count, sizeof *d->key, compare_keys);
    reorder(d);
    for (size_t i = 0; i < d->count; i++) {
        chunks += i == 0 || d->key[i - 1].chunk != d->key[i].chunk;
        uses += i == 0 || !same_use(&d->key[i - 1], &d->key[i]);
    }
    p->chunk = calloc(chunks + 1, sizeof *p->chunk);
    p->use = calloc(uses + 1, sizeof *p->use);
    if (!p->chunk || !p->use)
        return err_set(b->err, -ENOMEM, "no memory for a plan of %zu chunks",
                       chunks);
    p->op = d->op;
    for (size_t i = 0; i < d->count; i++)
        fold_one(p, d, i, b->m);
    d->op = NULL;
    return 0;
}

int plan_build(const struct manifest *m, const struct plan_request *requests,
               size_t request_count, struct plan *out, size_t *failed_request,
               struct err *err)
{
    struct build b = {.m = m,
                      .requests = requests,
                      .request_count = request_count,
                      .plan = out,
                      .failed_request = failed_request,
                      .err = err};
    int rc;

    *out = (struct plan){0};
    *failed_request = 0;
    if (request_count > UINT32_MAX)
        return err_set(err, -EFBIG, "%zu requests", request_count);
    rc = make_wishes(&b);
    if (!rc)
        rc = grant_all(&b);
    if (!rc)
        rc = fold(&b);
    free(b.wish);
    plan_draft_free(&b.draft);
    if (rc)
        plan_free(out);
    return rc;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    free(p->chunk);
    free(p->use);
    free(p->op);
    *p = (struct plan){0};
}
