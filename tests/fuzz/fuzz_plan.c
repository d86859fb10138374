/*
 * fuzz_plan.c - a checkpoint's manifest and the tables of those who want it:
 *
 *     u16 units of 64 bytes of manifest (as in fuzz_manifest, forged),
 *     manifest, encoded table
 *
 * Whatever both say: an operation of the plan reads inside its chunk and
 * writes inside the entry's buffer, and crosses the wire unchanged. What is
 * wanted of a manifest that covers its tensors is given in full.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/plan.h"

#include <stdlib.h>

struct wish {
    const struct table *table;
    uint64_t *local_bytes; /* of each entry */
    uint64_t packed_bytes; /* of all, without padding */
};

static void wish_init(struct wish *w, const struct table *t)
{
    *w = (struct wish){t, calloc(t->count + 1, sizeof(uint64_t)), 0};
    fuzz_check(w->local_bytes);
    for (size_t i = 0; i < t->count; i++) {
        const struct entry *e = &t->entry[i];
        uint64_t bytes = region_packed_bytes(&e->geometry, &e->region);

        w->local_bytes[i] = region_local_bytes(&e->geometry, &e->region, NULL);
        if (!add_u64(w->packed_bytes, bytes, &w->packed_bytes))
            w->packed_bytes = UINT64_MAX;
    }
}

static void same_ops(const struct plan_op *a, const struct plan_op *b,
                     size_t count, bool in_place)
{
    for (size_t i = 0; i < count; i++) {
        const struct copy_op *c = &a[i].copy, *d = &b[i].copy;

        fuzz_check(a[i].entry == b[i].entry && c->dst == d->dst);
        fuzz_check(c->run_bytes == d->run_bytes && c->ndim == d->ndim);
        fuzz_check(!in_place || c->src == d->src);
        for (uint32_t k = 0; k < c->ndim; k++)
            fuzz_check(c->count[k] == d->count[k] &&
                       c->dst_step[k] == d->dst_step[k] &&
                       (!in_place || c->src_step[k] == d->src_step[k]));
    }
}

static void over_the_wire(const struct wish *wish, const struct plan_op *ops,
                          size_t count, uint64_t bytes, uint64_t raw_bytes)
{
    struct plan_op *got = calloc(count, sizeof *got);
    struct wr gathered = {0}, in_place = {0};
    struct rd r;

    fuzz_check(got);
    plan_ops_encode(ops, count, &gathered);
    plan_ops_encode_in_place(ops, count, &in_place);
    fuzz_check(!gathered.failed && !in_place.failed);
    r = rd_init(gathered.data, gathered.bytes);
    fuzz_check(plan_ops_decode(&r, count, wish->table->count, wish->local_bytes,
                               bytes, got) == 0);
    fuzz_check(rd_done(&r));
    same_ops(ops, got, count, false);
    r = rd_init(in_place.data, in_place.bytes);
    fuzz_check(plan_ops_decode_in_place(&r, count, wish->table->count,
                                        wish->local_bytes, raw_bytes,
                                        got) == 0);
    fuzz_check(rd_done(&r));
    same_ops(ops, got, count, true);
    wr_free(&gathered);
    wr_free(&in_place);
    free(got);
}

static void check_use(const struct wish *wish, const struct manifest *m,
                      const struct plan *p, uint32_t chunk,
                      const struct plan_use *use)
{
    uint64_t sum = 0, raw_bytes = m->chunk[chunk].raw_bytes;

    fuzz_check(use->first_op + use->op_count <= p->op_count);
    for (uint32_t i = 0; i < use->op_count; i++) {
        const struct plan_op *op = &p->op[use->first_op + i];

        fuzz_check(op->entry < wish->table->count);
        fuzz_check(copy_src_end(&op->copy) <= raw_bytes);
        fuzz_check(copy_dst_end(&op->copy) <= wish->local_bytes[op->entry]);
        sum += copy_bytes(&op->copy);
    }
    fuzz_check(sum == use->packed_bytes);
    over_the_wire(wish, &p->op[use->first_op], use->op_count, sum, raw_bytes);
}

static void check_plan(const struct wish *wish, const struct manifest *m,
                       const struct plan *p)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < p->chunk_count; i++) {
        const struct plan_chunk *c = &p->chunk[i];

        fuzz_check(c->chunk < m->chunk_count);
        fuzz_check(c->first_use + c->use_count <= p->use_count);
        for (uint32_t k = 0; k < c->use_count; k++) {
            const struct plan_use *use = &p->use[c->first_use + k];

            fuzz_check(use->request == 0);
            check_use(wish, m, p, c->chunk, use);
            sum += use->packed_bytes;
        }
    }
    fuzz_check(p->wanted_bytes == wish->packed_bytes);
    fuzz_check(sum == p->wanted_bytes);
}

static void plan(const struct manifest *m, const struct table *t)
{
    struct plan_request request = {.entries = t->entry,
                                   .entry_count = t->count};
    struct wish wish;
    struct plan p;
    size_t failed;
    struct err err;

    wish_init(&wish, t);
    if (plan_build(m, &request, 1, &p, &failed, &err) == 0) {
        check_plan(&wish, m, &p);
        plan_free(&p);
    }
    free(wish.local_bytes);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    size_t manifest_bytes = (size_t)rd_u16(in) * 64;
    size_t given_bytes, container_bytes, table_bytes;
    uint8_t *given = fuzz_exact(in, manifest_bytes, &given_bytes);
    uint8_t *container = forge_container(given, given_bytes, &container_bytes);
    uint8_t *data = fuzz_exact(in, bytes, &table_bytes);
    struct manifest m;
    struct table t;
    struct err err;

    if (container && table_decode(data, table_bytes, &t, &err) == 0) {
        /* Operations are many words for a few numbers on either side. */
        fuzz_allocations(1024);
        if (manifest_open(container, container_bytes, &m, &err) == 0)
            plan(&m, &t);
        table_free(&t);
    }
    free(data);
    free(container);
    free(given);
}
