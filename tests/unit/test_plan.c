/*
 * test_plan.c - the planner's answers: what it reads and copies, in which
 * order, what it refuses and in which words; its operations on the wire do no
 * harm whatever they say; and it stays near-linear. That the bytes are right in
 * every layout is the matter of test_reshard_property.c.
 */
#include "formats/plan.h"
#include "tests/lib/timing.h"
#include "tests/lib/world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct err err;
static size_t failed;

static struct entry rows(const char *name, uint64_t count)
{
    return (struct entry){
        .name = name,
        .geometry = {.dtype = DTYPE_BF16, .ndim = 2, .shape = {count, 512}},
        .replica_count = 1,
    };
}

/* "a" of 256 rows (4 chunks) and "b" of 8, saved by one rank. */
static void save_two(struct world *w)
{
    const struct entry e[] = {rows("a", 256), rows("b", 8)};
    const struct world_rank rank = {.entries = e, .count = 2};

    assert_int_equal(world_save(w, &rank, 1, CHUNK_BYTES_MIN, &err), 0);
}

static int plan_one(const struct world *w, const struct entry *e,
                    struct plan *plan)
{
    const struct plan_request request = {.entries = e, .entry_count = 1};

    return plan_build(&w->m, &request, 1, plan, &failed, &err);
}

static void equal_layout_is_one_copy_per_chunk(void **state)
{
    struct entry e = rows("a", 256);
    struct world w;
    struct plan p;

    (void)state;
    save_two(&w);
    assert_int_equal(plan_one(&w, &e, &p), 0);
    assert_int_equal(p.chunk_count, 4);
    assert_int_equal(p.use_count, 4);
    assert_int_equal(p.op_count, 4);
    assert_int_equal(p.wanted_bytes, 4 * CHUNK_BYTES_MIN);
    assert_int_equal(p.stored_bytes, 4 * (CHUNK_BYTES_MIN + PAGE_BYTES));
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(p.op[i].copy.ndim, 0);
        assert_int_equal(p.op[i].copy.run_bytes, CHUNK_BYTES_MIN);
    }
    plan_free(&p);
    plan_free(NULL);
    world_free(&w);
}

static void only_what_is_wanted_is_read(void **state)
{
    struct entry e = rows("a", 256);
    struct box box = {.offset = {70, 10}, .size = {1, 20}};
    struct world w;
    struct plan p;

    (void)state;
    save_two(&w);
    e.region = (struct region){.boxes = &box, .box_count = 1};
    assert_int_equal(plan_one(&w, &e, &p), 0);
    assert_int_equal(p.chunk_count, 1);
    assert_int_equal(p.chunk[0].chunk, 1);
    assert_int_equal(p.use[0].packed_bytes, 40);
    assert_int_equal(p.op[0].copy.src, 6 * 1024 + 20);
    plan_free(&p);
    world_free(&w);
}

static void chunk_that_many_want_appears_once(void **state)
{
    const struct entry e[] = {rows("a", 256), rows("b", 8)};
    const struct plan_request request[] = {
        {.entries = e, .entry_count = 2},
        {.entries = &e[1], .entry_count = 1},
        {.entries = e, .entry_count = 0},
        {.entries = e, .entry_count = 2},
    };
    struct world w;
    struct plan p;

    (void)state;
    save_two(&w);
    assert_int_equal(plan_build(&w.m, request, 4, &p, &failed, &err), 0);
    assert_int_equal(p.chunk_count, 5);
    assert_int_equal(p.use_count, 4 * 2 + 3);
    /* The last chunk lies first in its file. */
    assert_int_equal(p.chunk[0].chunk, 4);
    assert_int_equal(p.chunk[0].use_count, 3);
    assert_int_equal(p.use[1].request, 1);
    plan_free(&p);
    world_free(&w);
}

static void nothing_wanted_is_an_empty_plan(void **state)
{
    struct entry e = rows("a", 256);
    struct box padding = {.offset = {256, 0}, .size = {3, 512}};
    struct world w;
    struct plan p;

    (void)state;
    save_two(&w);
    assert_int_equal(plan_build(&w.m, NULL, 0, &p, &failed, &err), 0);
    assert_int_equal(p.chunk_count, 0);
    plan_free(&p);
    e.region = (struct region){.boxes = &padding, .box_count = 1};
    assert_int_equal(plan_one(&w, &e, &p), 0);
    assert_int_equal(p.chunk_count + p.op_count + p.wanted_bytes, 0);
    plan_free(&p);
    world_free(&w);
}

static void refusals_name_tensor_and_cause(void **state)
{
    struct entry e[] = {rows("b", 8), rows("c", 8)};
    const struct plan_request request[] = {{.entries = e, .entry_count = 1},
                                           {.entries = e, .entry_count = 2}};
    struct world w;
    struct plan p;

    (void)state;
    save_two(&w);
    assert_int_equal(plan_build(&w.m, request, 2, &p, &failed, &err), -ENOENT);
    assert_int_equal(failed, 1);
    assert_int_equal(strncmp(err.text, "tensor c: ", 10), 0);
    e[0].geometry.shape[1] = 511;
    assert_int_equal(plan_one(&w, e, &p), -CKPT_ESHAPE);
    assert_int_equal(strncmp(err.text, "tensor b: ", 10), 0);
    assert_non_null(strstr(err.text, "BF16 [8, 511]"));
    assert_non_null(strstr(err.text, "BF16 [8, 512]"));
    e[0] = rows("b", 8);
    e[0].geometry.dtype = DTYPE_F16;
    assert_int_equal(plan_one(&w, e, &p), -CKPT_ESHAPE);
    assert_non_null(strstr(err.text, "F16 [8, 512]"));
    world_free(&w);
}

static void first_missing_element_is_named(void **state)
{
    struct box box[] = {{.offset = {0, 0}, .size = {3, 512}},
                        {.offset = {3, 0}, .size = {5, 100}}};
    struct entry e = rows("a", 8), whole = e;
    const struct world_rank rank = {.entries = &e, .count = 1};
    struct world w;
    struct plan p;

    (void)state;
    e.region = (struct region){.boxes = box, .box_count = 2};
    assert_int_equal(world_save(&w, &rank, 1, CHUNK_BYTES_MIN, &err), 0);
    assert_int_equal(plan_one(&w, &whole, &p), -CKPT_EPARTIAL);
    assert_int_equal(strncmp(err.text, "tensor a: ", 10), 0);
    assert_non_null(strstr(err.text, "element [3, 100]"));
    assert_null(p.op);
    assert_int_equal(plan_one(&w, &e, &p), 0);
    plan_free(&p);
    world_free(&w);
}

/* Tables that contradict each other in memory, as no opened manifest would. */
static void contradictions_are_corrupt_and_harmless(void **state)
{
    struct entry e = rows("a", 256);
    struct world w;
    struct plan p;

    (void)state;
    save_two(&w);
    for (int i = 0; i < 6; i++) {
        struct mf_piece *piece = calloc(w.m.piece_count, sizeof *piece);
        struct mf_region *region = calloc(w.m.region_count, sizeof *region);
        struct manifest saved = w.m;

        assert_non_null(piece);
        assert_non_null(region);
        memcpy(piece, w.m.piece, w.m.piece_count * sizeof *piece);
        memcpy(region, w.m.region, w.m.region_count * sizeof *region);
        w.m.piece = piece;
        w.m.region = region;
        piece[1].bytes += i == 0 ? 2 : 0;
        piece[1].chunk_start += i == 1 ? 1U << 31 : 0;
        piece[1].region_start += i == 2 ? 1 : 0;
        piece[1].chunk = i == 3 ? UINT32_MAX : piece[1].chunk;
        region[0].slice_bytes += i == 4 ? 2 : 0;
        region[0].piece_count = i == 5 ? UINT32_MAX : region[0].piece_count;
        assert_int_equal(plan_one(&w, &e, &p), -CKPT_ECORRUPT);
        assert_non_null(strstr(err.text, "tensor a"));
        w.m = saved;
        free(piece);
        free(region);
    }
    world_free(&w);
}

static const uint64_t local_bytes[] = {1000, 1 << 20};

static size_t some_ops(struct plan_op op[3], struct wr *w)
{
    op[0] = (struct plan_op){.entry = 1,
                             .copy = {.src = 7, .dst = 9, .run_bytes = 100}};
    op[1] = (struct plan_op){.entry = 0,
                             .copy = {.run_bytes = 4,
                                      .ndim = 2,
                                      .count = {3, 5},
                                      .src_step = {999, 99},
                                      .dst_step = {300, 8}}};
    op[2] = (struct plan_op){.entry = 1,
                             .copy = {.dst = 50,
                                      .run_bytes = 1,
                                      .ndim = 1,
                                      .count = {40},
                                      .dst_step = {0}}};
    plan_ops_encode(op, 3, w);
    assert_false(w->failed);
    return 100 + 60 + 40;
}

static void operations_come_back_with_packed_sources(void **state)
{
    struct plan_op op[3], got[3];
    struct wr w = {0};
    uint64_t packed = some_ops(op, &w), at = 0;
    struct rd r = rd_init(w.data, w.bytes);

    (void)state;
    assert_int_equal(plan_ops_decode(&r, 3, 2, local_bytes, packed, got), 0);
    assert_true(rd_done(&r));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(got[i].entry, op[i].entry);
        assert_int_equal(got[i].copy.dst, op[i].copy.dst);
        assert_int_equal(got[i].copy.run_bytes, op[i].copy.run_bytes);
        assert_int_equal(got[i].copy.ndim, op[i].copy.ndim);
        assert_int_equal(got[i].copy.src, at);
        at += copy_bytes(&op[i].copy);
        assert_int_equal(copy_src_end(&got[i].copy), at);
    }
    wr_free(&w);
}

static void operations_out_of_bounds_are_refused(void **state)
{
    const struct {
        struct copy_op copy;
        uint32_t entry;
    } bad[] = {
        {{.dst = 901, .run_bytes = 100}, 0},
        {{.dst = UINT64_MAX - 10, .run_bytes = 100}, 0},
        {{.run_bytes = 100}, 2},
        {{.run_bytes = 0}, 0},
        {{.run_bytes = 5000}, 1},
        {{.run_bytes = 1, .ndim = 1, .count = {0}}, 0},
        {{.run_bytes = 1, .ndim = 1, .count = {5000}}, 1},
        {{.run_bytes = 8, .ndim = 1, .count = {1}, .dst_step = {UINT64_MAX}},
         0},
        {{.run_bytes = 8, .ndim = 1, .count = {2}, .dst_step = {993}}, 0},
        {{.run_bytes = 8, .ndim = 1, .count = {2}, .dst_step = {UINT64_MAX}},
         0},
        {{.run_bytes = 8, .ndim = 9}, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct wr w = {0};
        struct plan_op got;
        struct rd r;

        /* By hand: the encoder would refuse some of them. */
        wr_u8(&w, (uint8_t)bad[i].copy.ndim);
        wr_u32(&w, bad[i].entry);
        wr_u64(&w, bad[i].copy.dst);
        wr_u32(&w, (uint32_t)bad[i].copy.run_bytes);
        for (uint32_t d = 0; d < min_u64(bad[i].copy.ndim, 8); d++) {
            wr_u32(&w, (uint32_t)bad[i].copy.count[d]);
            wr_u64(&w, bad[i].copy.dst_step[d]);
        }
        r = rd_init(w.data, w.bytes);
        assert_int_equal(plan_ops_decode(&r, 1, 2, local_bytes, 4096, &got),
                         -EBADMSG);
        wr_free(&w);
    }
}

/* Whatever passes stays in its bounds; the rest is refused. */
static void damaged_operations_are_harmless(void **state)
{
    struct plan_op op[3], got[3];
    struct wr w = {0};
    uint64_t packed = some_ops(op, &w), draw = 7;
    uint8_t *copy = malloc(w.bytes);

    (void)state;
    assert_non_null(copy);
    for (int i = 0; i < 20000; i++) {
        struct rd r;
        size_t bytes = w.bytes;

        memcpy(copy, w.data, w.bytes);
        draw = draw * 6364136223846793005U + 1442695040888963407U;
        copy[(draw >> 33) % w.bytes] ^= (uint8_t)(1U << (draw >> 60) % 8);
        if (i % 4 == 0)
            bytes = (draw >> 40) % w.bytes;
        r = rd_init(copy, bytes);
        if (plan_ops_decode(&r, 3, 2, local_bytes, packed, got)) {
            continue;
        }
        for (int k = 0; k < 3; k++) {
            assert_true(got[k].entry < 2);
            assert_true(copy_dst_end(&got[k].copy) <=
                        local_bytes[got[k].entry]);
            assert_true(copy_src_end(&got[k].copy) <= packed);
        }
    }
    free(copy);
    wr_free(&w);
}

/* The same for slots that hold a whole chunk: sources are bounded too. */
static void damaged_operations_in_place_are_harmless(void **state)
{
    struct plan_op op[3], got[3];
    struct wr w = {0}, gathered = {0};
    const uint64_t slot_bytes = 4096;
    uint64_t draw = 7;
    struct rd r;
    int passed = 0;

    (void)state;
    (void)some_ops(op, &gathered);
    plan_ops_encode_in_place(op, 3, &w);
    assert_false(w.failed);
    r = rd_init(w.data, w.bytes);
    assert_int_equal(
        plan_ops_decode_in_place(&r, 3, 2, local_bytes, slot_bytes, got), 0);
    assert_true(rd_done(&r));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(got[i].copy.src, op[i].copy.src);
        assert_true(copy_src_end(&got[i].copy) == copy_src_end(&op[i].copy));
    }
    for (int i = 0; i < 20000; i++) {
        draw = draw * 6364136223846793005U + 1442695040888963407U;
        w.data[(draw >> 33) % w.bytes] ^= (uint8_t)(1U << (draw >> 61));
        r = rd_init(w.data, i % 4 ? w.bytes : (draw >> 40) % w.bytes);
        if (plan_ops_decode_in_place(&r, 3, 2, local_bytes, slot_bytes, got) ==
            0) {
            passed++;
            for (int k = 0; k < 3; k++) {
                assert_true(got[k].entry < 2);
                assert_true(copy_bytes(&got[k].copy) <= slot_bytes);
                assert_true(copy_src_end(&got[k].copy) <= slot_bytes);
                assert_true(copy_dst_end(&got[k].copy) <=
                            local_bytes[got[k].entry]);
            }
        }
        w.data[(draw >> 33) % w.bytes] ^= (uint8_t)(1U << (draw >> 61));
    }
    assert_true(passed > 100);
    wr_free(&w);
    wr_free(&gathered);
}

/* `ranks` flat cuts of a tensor's column halves (tp 2, ZeRO), loaded by as many
 * ranks in rows: the time it takes to plan. */
static double time_of(uint64_t ranks)
{
    uint64_t height = ranks * 3 + 1;
    struct entry *saved = calloc(ranks, sizeof *saved);
    struct entry *wanted = calloc(ranks, sizeof *wanted);
    struct box *box = calloc(2 * ranks, sizeof *box);
    struct plan_request request = {.entries = wanted, .entry_count = ranks};
    struct world_rank rank = {.entries = saved, .count = ranks};
    struct world w;
    struct plan p;
    double took;

    assert_non_null(saved);
    assert_non_null(wanted);
    assert_non_null(box);
    for (uint32_t i = 0; i < ranks; i++) {
        uint64_t half = i % 2, n = ranks / 2, k = i / 2;
        uint64_t total = height * 8;

        saved[i] = wanted[i] = (struct entry){
            .name = "w",
            .geometry = {.dtype = DTYPE_F32, .ndim = 2, .shape = {height, 16}},
            .replica_count = 1,
        };
        box[i] = (struct box){.offset = {0, 8 * half}, .size = {height, 8}};
        saved[i].region =
            (struct region){.boxes = &box[i],
                            .box_count = 1,
                            .is_cut = true,
                            .cut_start = total * k / n,
                            .cut_count = total * (k + 1) / n - total * k / n};
        box[ranks + i] = (struct box){
            .offset = {height * i / ranks},
            .size = {height * (i + 1) / ranks - height * i / ranks, 16}};
        wanted[i].region =
            (struct region){.boxes = &box[ranks + i], .box_count = 1};
    }
    assert_int_equal(world_save(&w, &rank, 1, CHUNK_BYTES_MIN, &err), 0);
    assert_int_equal(manifest_coverage(&w.m, &err), 0);
    took = cpu_seconds();
    assert_int_equal(plan_build(&w.m, &request, 1, &p, &failed, &err), 0);
    took = cpu_seconds() - took;
    assert_int_equal(p.wanted_bytes, height * 64);
    plan_free(&p);
    world_free(&w);
    free(box);
    free(saved);
    free(wanted);
    return took;
}

/* Sixteen times as many would take 256 times as long if it were quadratic. */
static void time_is_near_linear_in_regions(void **state)
{
    double few = best_of_three(time_of, 2000),
           many = best_of_three(time_of, 32000);

    (void)state;
    print_message("plan of 2,000 regions %.1f ms, of 32,000 %.1f ms\n",
                  few * 1e3, many * 1e3);
    assert_true(many < 100 * (few + 2e-3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_layout_is_one_copy_per_chunk),
        cmocka_unit_test(only_what_is_wanted_is_read),
        cmocka_unit_test(chunk_that_many_want_appears_once),
        cmocka_unit_test(nothing_wanted_is_an_empty_plan),
        cmocka_unit_test(refusals_name_tensor_and_cause),
        cmocka_unit_test(first_missing_element_is_named),
        cmocka_unit_test(contradictions_are_corrupt_and_harmless),
        cmocka_unit_test(operations_come_back_with_packed_sources),
        cmocka_unit_test(operations_out_of_bounds_are_refused),
        cmocka_unit_test(damaged_operations_are_harmless),
        cmocka_unit_test(damaged_operations_in_place_are_harmless),
        cmocka_unit_test(time_is_near_linear_in_regions),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
