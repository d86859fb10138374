/*
 * test_reshard_property.c - whatever layout saved a tensor, any other layout
 * loads it bit for bit.
 *
 * Each pair is random and runs the whole path in memory: table, write list,
 * gather, manifest, coverage, plan, operations on the wire, scatter. The result
 * is compared with the slow reference of tests/lib/reshard.c. Holes and
 * overlaps that are planted must be found.
 *
 * CKPT_TEST_LONG=1 runs ten times as many; CKPT_TEST_SEED=N runs pair N alone.
 */
#include "formats/plan.h"
#include "tests/lib/reshard.h"
#include "tests/lib/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FILL 0xa5

struct pair {
    struct random random;
    struct tensor tensor[RESHARD_TENSORS_MAX];
    uint32_t tensor_count;
    struct shares saved, wanted;
    struct world world;
    struct err err;
};

static uint64_t seed; /* of the pair that runs, for the message */

static void begin(struct pair *p)
{
    *p = (struct pair){.random = {seed}};
    p->tensor_count =
        1 + (uint32_t)random_below(&p->random, RESHARD_TENSORS_MAX);
    for (uint32_t i = 0; i < p->tensor_count; i++)
        tensor_random(&p->random, i, &p->tensor[i]);
    shares_cover(&p->random, p->tensor, p->tensor_count, &p->saved);
}

static void end(struct pair *p)
{
    for (uint32_t i = 0; i < p->tensor_count; i++)
        tensor_free(&p->tensor[i]);
    shares_free(&p->saved);
    shares_free(&p->wanted);
    world_free(&p->world);
}

/* A share's table, once over the wire. */
static void send_table(const struct share *s, struct table *out,
                       struct err *err)
{
    struct wr w = {0};

    table_encode(s->entry, s->count, &w);
    assert_false(w.failed);
    assert_int_equal(table_decode(w.data, w.bytes, out, err), 0);
    assert_int_equal(out->count, s->count);
    wr_free(&w);
}

static void save(struct pair *p)
{
    struct world_rank rank[RESHARD_RANKS_MAX];
    struct table table[RESHARD_RANKS_MAX];
    uint32_t chunk_bytes = CHUNK_BYTES_MIN << random_below(&p->random, 3);
    int rc;

    shares_fill(&p->saved, p->tensor, 0x5a);
    for (uint32_t r = 0; r < p->saved.rank_count; r++) {
        const struct share *s = &p->saved.rank[r];

        send_table(s, &table[r], &p->err);
        rank[r] = (struct world_rank){
            .entries = table[r].entry,
            .count = table[r].count,
            .local = (const uint8_t *const *)s->local,
            .strides = (const uint64_t *const *)s->strides,
        };
    }
    rc = world_save(&p->world, rank, p->saved.rank_count, chunk_bytes, &p->err);
    if (rc)
        print_error("%s\n", p->err.text);
    assert_int_equal(rc, 0);
    for (uint32_t r = 0; r < p->saved.rank_count; r++)
        table_free(&table[r]);
}

/* What the daemon does with one use: gathers it into a slot. */
static uint8_t *gather_use(const struct pair *p, const struct plan *plan,
                           const struct plan_chunk *c,
                           const struct plan_use *use)
{
    const struct plan_op *op = &plan->op[use->first_op];
    const uint8_t *raw = p->world.chunk[c->chunk];
    uint8_t *slot = malloc(use->packed_bytes);
    uint64_t at = 0;

    assert_non_null(slot);
    for (uint32_t i = 0; i < use->op_count; i++) {
        assert_true(copy_src_end(&op[i].copy) <=
                    p->world.m.chunk[c->chunk].raw_bytes);
        assert_true(at + copy_bytes(&op[i].copy) <= use->packed_bytes);
        copy_gather(&op[i].copy, raw, slot + at);
        at += copy_bytes(&op[i].copy);
    }
    assert_true(at == use->packed_bytes);
    return slot;
}

/* What the trainer does with a slot that holds the whole chunk. */
static void scatter_in_place(const struct pair *p, const struct share *s,
                             uint8_t *const *local, const struct plan_op *ops,
                             const struct plan_use *use, uint32_t chunk)
{
    uint64_t raw_bytes = p->world.m.chunk[chunk].raw_bytes;
    struct plan_op *op = calloc(use->op_count, sizeof *op);
    struct wr w = {0};
    struct rd r;

    assert_non_null(op);
    plan_ops_encode_in_place(ops, use->op_count, &w);
    assert_false(w.failed);
    r = rd_init(w.data, w.bytes);
    assert_int_equal(plan_ops_decode_in_place(&r, use->op_count, s->count,
                                              s->local_bytes, raw_bytes, op),
                     0);
    assert_true(rd_done(&r));
    for (uint32_t i = 0; i < use->op_count; i++)
        copy_run(&op[i].copy, p->world.chunk[chunk], local[op[i].entry]);
    free(op);
    wr_free(&w);
}

/* What it does with a gathered one. */
static void scatter_use(const struct share *s, uint8_t *const *local,
                        const struct plan_op *ops, const struct plan_use *use,
                        const uint8_t *slot)
{
    struct plan_op *op = calloc(use->op_count, sizeof *op);
    struct wr w = {0};
    struct rd r;

    assert_non_null(op);
    plan_ops_encode(ops, use->op_count, &w);
    assert_false(w.failed);
    assert_true(w.bytes >= (size_t)use->op_count * PLAN_OP_WIRE_MIN);
    r = rd_init(w.data, w.bytes);
    assert_int_equal(plan_ops_decode(&r, use->op_count, s->count,
                                     s->local_bytes, use->packed_bytes, op),
                     0);
    assert_true(rd_done(&r));
    for (uint32_t i = 0; i < use->op_count; i++) {
        if (i % 2)
            copy_run(&op[i].copy, slot, local[op[i].entry]);
        else
            copy_scatter(&op[i].copy, slot + op[i].copy.src,
                         local[op[i].entry]);
    }
    free(op);
    wr_free(&w);
}

static void check_order(const struct pair *p, const struct plan *plan)
{
    uint64_t use = 0, op = 0;

    for (size_t i = 0; i < plan->chunk_count; i++) {
        const struct mf_location *at =
            &p->world.m.location[plan->chunk[i].chunk];

        assert_true(plan->chunk[i].first_use == use);
        for (uint32_t k = 0; k < plan->chunk[i].use_count; k++, use++) {
            assert_true(plan->use[use].first_op == op);
            op += plan->use[use].op_count;
        }
        if (i > 0) {
            const struct mf_location *before =
                &p->world.m.location[plan->chunk[i - 1].chunk];

            assert_true(
                before->file < at->file ||
                (before->file == at->file && before->offset < at->offset));
        }
    }
    assert_true(use == plan->use_count && op == plan->op_count);
}

/* One chunk's uses, each in one of the two ways. */
static void deliver(struct pair *p, const struct plan *plan,
                    const struct plan_chunk *c, uint8_t ***local)
{
    for (uint32_t k = 0; k < c->use_count; k++) {
        const struct plan_use *use = &plan->use[c->first_use + k];
        const struct plan_op *ops = &plan->op[use->first_op];
        const struct share *s = &p->wanted.rank[use->request];

        if (random_below(&p->random, 2)) {
            scatter_in_place(p, s, local[use->request], ops, use, c->chunk);
        } else {
            uint8_t *slot = gather_use(p, plan, c, use);

            scatter_use(s, local[use->request], ops, use, slot);
            free(slot);
        }
    }
}

/* Fills copies of the wanted buffers from the plan, and compares. */
static void load(struct pair *p, const struct plan *plan)
{
    uint8_t **local[RESHARD_RANKS_MAX];

    for (uint32_t r = 0; r < p->wanted.rank_count; r++) {
        const struct share *s = &p->wanted.rank[r];

        local[r] = calloc(s->count + 1, sizeof(*local[r]));
        assert_non_null(local[r]);
        for (size_t i = 0; i < s->count; i++) {
            local[r][i] = malloc(s->local_bytes[i] ? s->local_bytes[i] : 1);
            assert_non_null(local[r][i]);
            memset(local[r][i], FILL, s->local_bytes[i]);
        }
    }
    for (size_t c = 0; c < plan->chunk_count; c++)
        deliver(p, plan, &plan->chunk[c], local);
    for (uint32_t r = 0; r < p->wanted.rank_count; r++) {
        const struct share *s = &p->wanted.rank[r];

        for (size_t i = 0; i < s->count; i++) {
            assert_memory_equal(local[r][i], s->local[i], s->local_bytes[i]);
            free(local[r][i]);
        }
        free(local[r]);
    }
}

static void restore(struct pair *p)
{
    struct plan_request request[RESHARD_RANKS_MAX];
    struct table table[RESHARD_RANKS_MAX];
    struct plan plan;
    size_t failed;
    int rc;

    shares_want(&p->random, p->tensor, p->tensor_count, &p->wanted);
    shares_fill(&p->wanted, p->tensor, FILL);
    for (uint32_t r = 0; r < p->wanted.rank_count; r++) {
        const struct share *s = &p->wanted.rank[r];

        send_table(s, &table[r], &p->err);
        request[r] = (struct plan_request){
            .entries = table[r].entry,
            .entry_count = table[r].count,
            .strides = (const uint64_t *const *)s->strides,
        };
        for (size_t i = 0; i < s->count; i++)
            assert_true(region_local_bytes(&s->entry[i].geometry,
                                           &s->entry[i].region,
                                           s->strides[i]) >= s->local_bytes[i]);
    }
    rc = plan_build(&p->world.m, request, p->wanted.rank_count, &plan, &failed,
                    &p->err);
    if (rc)
        print_error("%s\n", p->err.text);
    assert_int_equal(rc, 0);
    check_order(p, &plan);
    load(p, &plan);
    plan_free(&plan);
    for (uint32_t r = 0; r < p->wanted.rank_count; r++)
        table_free(&table[r]);
}

static void reshard(void)
{
    struct pair p;
    int rc;

    begin(&p);
    save(&p);
    rc = manifest_coverage(&p.world.m, &p.err);
    if (rc)
        print_error("%s\n", p.err.text);
    assert_int_equal(rc, 0);
    restore(&p);
    end(&p);
}

/* Of all saved entries one that writes some bytes, at random; false if none
 * does. */
static bool pick_writer(struct pair *p, struct share **share, size_t *entry)
{
    uint64_t seen = 0;

    for (uint32_t r = 0; r < p->saved.rank_count; r++) {
        struct share *s = &p->saved.rank[r];
        struct writelist list;

        assert_int_equal(
            writelist_build(s->entry, s->count, CHUNK_BYTES_MIN, &list), 0);
        for (size_t i = 0; i < s->count; i++) {
            if (list.slice[i].bytes && random_below(&p->random, ++seen) == 0) {
                *share = s;
                *entry = i;
            }
        }
        writelist_free(&list);
    }
    return seen > 0;
}

static void save_zeros(struct pair *p)
{
    struct world_rank rank[RESHARD_RANKS_MAX];

    for (uint32_t r = 0; r < p->saved.rank_count; r++) {
        rank[r] = (struct world_rank){.entries = p->saved.rank[r].entry,
                                      .count = p->saved.rank[r].count};
    }
    assert_int_equal(world_save(&p->world, rank, p->saved.rank_count,
                                CHUNK_BYTES_MIN, &p->err),
                     0);
}

/* The first element of a tensor that no saved region holds, in words. */
static bool first_hole(const struct pair *p, uint32_t tensor, char *text,
                       size_t capacity)
{
    const struct tensor *t = &p->tensor[tensor];
    uint64_t index[MAX_DIMS], rest;
    size_t used = 0;
    bool held = true;
    uint64_t element;

    for (element = 0; held && element < t->elements; element++) {
        held = false;
        for (uint32_t r = 0; !held && r < p->saved.rank_count; r++) {
            const struct share *s = &p->saved.rank[r];

            for (size_t i = 0; !held && i < s->count; i++)
                held = s->tensor[i] == tensor &&
                       region_has(t, &s->entry[i].region, element);
        }
    }
    if (held)
        return false;
    rest = element - 1;
    for (uint32_t d = t->geometry.ndim; d > 0; d--) {
        index[d - 1] = rest % t->geometry.shape[d - 1];
        rest /= t->geometry.shape[d - 1];
    }
    used = (size_t)snprintf(text, capacity, "element [");
    for (uint32_t d = 0; d < t->geometry.ndim; d++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%lu",
                                 d ? ", " : "", index[d]);
    (void)snprintf(text + used, capacity - used, "]");
    return true;
}

/* Who wants all of the tensor that lost a part is told so. */
static void expect_partial(struct pair *p, uint32_t tensor)
{
    const struct entry whole = {.name = p->tensor[tensor].name,
                                .geometry = p->tensor[tensor].geometry,
                                .replica_count = 1};
    const struct plan_request request = {.entries = &whole, .entry_count = 1};
    struct plan plan;
    size_t failed;

    assert_int_equal(
        plan_build(&p->world.m, &request, 1, &plan, &failed, &p->err),
        -CKPT_EPARTIAL);
    assert_non_null(strstr(p->err.text, whole.name));
    assert_non_null(strstr(p->err.text, "element ["));
}

static void plant_hole(void)
{
    char text[256];
    struct share *s;
    struct pair p;
    uint32_t tensor;
    size_t entry;
    bool is_alone;

    begin(&p);
    if (pick_writer(&p, &s, &entry)) {
        tensor = s->tensor[entry];
        is_alone = s->entry[entry].replica_count == 1;
        share_remove(s, entry);
        save_zeros(&p);
        if (manifest_find(&p.world.m, p.tensor[tensor].name,
                          strlen(p.tensor[tensor].name)) >= 0) {
            assert_int_equal(manifest_coverage(&p.world.m, &p.err),
                             -CKPT_EPARTIAL);
            assert_non_null(strstr(p.err.text, p.tensor[tensor].name));
            if (is_alone && p.tensor[tensor].elements < 1000) {
                assert_true(first_hole(&p, tensor, text, sizeof text));
                assert_non_null(strstr(p.err.text, text));
            }
            expect_partial(&p, tensor);
        }
    }
    end(&p);
}

/* One more rank claims some of what others hold. */
static void plant_overlap(void)
{
    static const uint32_t alone[2] = {0, 1};
    struct share *s;
    struct pair p;
    uint32_t tensor;
    size_t entry;

    begin(&p);
    if (pick_writer(&p, &s, &entry)) {
        struct region region = {0};
        struct box box = {0};

        tensor = s->tensor[entry];
        for (uint32_t d = 0; d < p.tensor[tensor].geometry.ndim; d++) {
            uint64_t n = p.tensor[tensor].geometry.shape[d];
            bool is_last = d + 1 == p.tensor[tensor].geometry.ndim;

            box.size[d] = is_last ? n : 1 + random_below(&p.random, n);
            box.offset[d] = random_below(&p.random, n - box.size[d] + 1);
        }
        if (p.tensor[tensor].geometry.ndim && random_below(&p.random, 4))
            region = (struct region){.boxes = &box, .box_count = 1};
        else if (random_below(&p.random, 2))
            region = s->entry[entry].region;
        share_add(&p.saved.rank[random_below(&p.random, p.saved.rank_count)],
                  &p.tensor[tensor], tensor, &region, alone);
        save_zeros(&p);
        assert_int_equal(manifest_coverage(&p.world.m, &p.err),
                         -CKPT_ECONFLICT);
        assert_non_null(strstr(p.err.text, p.tensor[tensor].name));
        assert_non_null(strstr(p.err.text, "rank"));
    }
    end(&p);
}

/* Pairs from 1 on, or only the one that is asked for. A failing assertion
 * leaves by longjmp, so the seed is told by the caller. */
static void run_pairs(uint64_t count, void (*one)(void))
{
    const char *only = getenv("CKPT_TEST_SEED"),
               *more = getenv("CKPT_TEST_LONG");
    uint64_t first = 1;

    if (only && *only) {
        first = strtoull(only, NULL, 10);
        count = 1;
    } else if (more && *more == '1') {
        count *= 10;
    }
    for (seed = first; seed < first + count; seed++)
        one();
    seed = 0;
}

static int tell_seed(void **state)
{
    (void)state;
    if (seed)
        print_error("replay with CKPT_TEST_SEED=%lu\n", seed);
    seed = 0;
    return 0;
}

static void any_layout_loads_what_any_other_saved(void **state)
{
    (void)state;
    run_pairs(400, reshard);
}

static void planted_holes_are_found(void **state)
{
    (void)state;
    run_pairs(300, plant_hole);
}

static void planted_overlaps_are_found(void **state)
{
    (void)state;
    run_pairs(300, plant_overlap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(any_layout_loads_what_any_other_saved,
                                  tell_seed),
        cmocka_unit_test_teardown(planted_holes_are_found, tell_seed),
        cmocka_unit_test_teardown(planted_overlaps_are_found, tell_seed),
    };

    return cmocka_run_group_tests_name("reshard", tests, NULL, NULL);
}
