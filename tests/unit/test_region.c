/*
 * test_region.c - regions become slabs: cuts, padding, strides, sub-byte types,
 * nothing at all; what makes no sense is refused; slabs are cut and intersected
 * and copies stay in their bounds. The tree and the search for holes too.
 */
#include "formats/boxtree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct err err;

static struct geometry shape2(uint32_t dtype, uint64_t rows, uint64_t columns)
{
    return (struct geometry){
        .dtype = dtype, .ndim = 2, .shape = {rows, columns}};
}

static struct box box2(uint64_t row, uint64_t column, uint64_t rows,
                       uint64_t columns)
{
    return (struct box){.offset = {row, column}, .size = {rows, columns}};
}

/* Packs a region of one-byte elements and compares with the bytes expected. */
static void expect_packed(const struct geometry *g, const struct region *r,
                          const uint64_t *strides, const char *local,
                          const char *packed)
{
    struct slabs from, to;
    char got[256] = {0};
    size_t bytes = strlen(packed);

    assert_int_equal(geometry_check(g, &err), 0);
    assert_int_equal(region_check(g, r, strides, &err), 0);
    assert_int_equal(region_local_bytes(g, r, strides), strlen(local));
    assert_int_equal(region_packed_bytes(g, r), bytes);
    assert_int_equal(region_slabs(g, r, REGION_LOCAL, strides, &from), 0);
    assert_int_equal(region_slabs(g, r, REGION_PACKED, NULL, &to), 0);
    assert_int_equal(from.count, to.count);
    assert_int_equal(to.bytes, bytes);
    for (size_t start = 0; start <= bytes; start++) {
        for (size_t end = start; end <= bytes; end++) {
            memset(got, '#', sizeof got);
            region_gather(&from, &to, start, end - start, local, got);
            assert_memory_equal(got, packed + start, end - start);
            assert_int_equal(got[end - start], '#');
        }
    }
    slabs_free(&from);
    slabs_free(&to);
}

static void whole_tensor_is_packed_as_it_lies(void **state)
{
    struct geometry g = shape2(DTYPE_U8, 2, 3);
    struct region r = {0};

    (void)state;
    expect_packed(&g, &r, NULL, "abcdef", "abcdef");
}

static void scalar_is_one_element(void **state)
{
    struct geometry g = {.dtype = DTYPE_U8};
    struct region whole = {0}, none = {.is_cut = true};
    struct region one = {.is_cut = true, .cut_count = 1};
    struct box box = {0};
    struct region boxed = {.boxes = &box, .box_count = 1};

    (void)state;
    expect_packed(&g, &whole, NULL, "a", "a");
    expect_packed(&g, &one, NULL, "a", "a");
    expect_packed(&g, &boxed, NULL, "a", "a");
    expect_packed(&g, &none, NULL, "", "");
}

static void boxes_lie_end_to_end(void **state)
{
    struct geometry g = shape2(DTYPE_U8, 4, 4);
    struct box boxes[] = {box2(2, 0, 1, 2), box2(0, 0, 0, 4), box2(0, 2, 2, 2)};
    struct region r = {.boxes = boxes, .box_count = 3};

    (void)state;
    expect_packed(&g, &r, NULL, "abcdef", "abcdef");
    r.is_cut = true;
    r.cut_start = 1;
    r.cut_count = 4;
    expect_packed(&g, &r, NULL, "bcde", "bcde");
}

/* The example of the design: [4, 8] by columns, tp 2, rank 1, its first six. */
static void flat_cut_of_a_column_shard_is_no_flat_range(void **state)
{
    static const uint64_t expected[] = {4, 5, 6, 7, 12, 13};
    struct geometry g = shape2(DTYPE_U8, 4, 8);
    struct box box = box2(0, 4, 4, 4);
    struct region r = {
        .boxes = &box, .box_count = 1, .is_cut = true, .cut_count = 6};
    struct slabs s;
    size_t n = 0;

    (void)state;
    assert_int_equal(region_check(&g, &r, NULL, &err), 0);
    assert_int_equal(region_slabs(&g, &r, REGION_LOCAL, NULL, &s), 0);
    for (size_t i = 0; i < s.count; i++) {
        for (uint64_t a = 0; a < s.slab[i].size[0]; a++) {
            for (uint64_t b = 0; b < s.slab[i].size[1]; b++)
                assert_int_equal((s.slab[i].offset[0] + a) * 8 +
                                     s.slab[i].offset[1] + b,
                                 expected[n++]);
        }
    }
    assert_int_equal(n, 6);
    slabs_free(&s);
}

static void padding_counts_in_local_order_and_is_not_packed(void **state)
{
    struct geometry g = shape2(DTYPE_U8, 2, 3);
    struct box box = box2(0, 1, 3, 3), out = box2(0, 3, 2, 2);
    struct region r = {.boxes = &box, .box_count = 1};
    struct region cut = {.boxes = &box,
                         .box_count = 1,
                         .is_cut = true,
                         .cut_start = 1,
                         .cut_count = 4};
    struct region outside = {.boxes = &out, .box_count = 1};

    (void)state;
    expect_packed(&g, &r, NULL, "ab.cd....", "abcd");
    expect_packed(&g, &cut, NULL, "b.cd", "bcd");
    expect_packed(&g, &outside, NULL, "....", "");
}

static void strides_are_followed(void **state)
{
    struct geometry g = shape2(DTYPE_U8, 2, 3);
    static const uint64_t transposed[] = {1, 2}, gaps[] = {4, 1},
                          broadcast[] = {0, 1};
    struct region r = {0};
    struct box box = box2(0, 0, 0, 3);
    struct region empty = {.boxes = &box, .box_count = 1};

    (void)state;
    expect_packed(&g, &r, transposed, "adbecf", "abcdef");
    expect_packed(&g, &r, gaps, "abc.def", "abcdef");
    expect_packed(&g, &r, broadcast, "abc", "abcabc");
    expect_packed(&g, &empty, transposed, "", "");
}

static void sub_byte_types_count_bytes(void **state)
{
    struct geometry g = shape2(DTYPE_F4, 2, 6);
    struct box box = box2(0, 2, 2, 4);
    struct region r = {.boxes = &box, .box_count = 1};
    struct region cut = {.is_cut = true, .cut_start = 4, .cut_count = 6};

    (void)state;
    assert_int_equal(geometry_bytes(&g), 6);
    expect_packed(&g, &r, NULL, "abcd", "abcd");
    expect_packed(&g, &cut, NULL, "cde", "cde");
    g = shape2(DTYPE_F6_E2M3, 2, 8);
    assert_int_equal(geometry_bytes(&g), 12);
}

static void split_bytes_are_refused(void **state)
{
    struct geometry odd = shape2(DTYPE_F4, 2, 3);
    struct geometry scalar = {.dtype = DTYPE_F4};
    struct geometry g = shape2(DTYPE_F4, 4, 4);
    struct box box = box2(0, 1, 2, 2);
    struct region r = {.boxes = &box, .box_count = 1};
    struct region cut = {.is_cut = true, .cut_start = 1, .cut_count = 2};
    static const uint64_t strides[] = {3, 1}, inner[] = {4, 2};

    (void)state;
    assert_int_equal(geometry_check(&odd, &err), -CKPT_ESHAPE);
    assert_int_equal(geometry_check(&scalar, &err), -CKPT_ESHAPE);
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    box = box2(0, 0, 2, 3);
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    assert_int_equal(region_check(&g, &cut, NULL, &err), -CKPT_ESHAPE);
    box = box2(0, 0, 2, 2);
    assert_int_equal(region_check(&g, &r, strides, &err), -CKPT_ESHAPE);
    assert_int_equal(region_check(&g, &r, inner, &err), -CKPT_ESHAPE);
}

static void geometry_that_overflows_is_refused(void **state)
{
    struct geometry g = shape2(DTYPE_U64, 1ULL << 40, 1ULL << 30);

    (void)state;
    assert_int_equal(geometry_check(&g, &err), -CKPT_ESHAPE);
    g = shape2(DTYPE_U8, UINT64_MAX, 0);
    assert_int_equal(geometry_check(&g, &err), -CKPT_ESHAPE);
    g = shape2(99, 1, 1);
    assert_int_equal(geometry_check(&g, &err), -CKPT_ESHAPE);
    g = shape2(DTYPE_U8, 1, 1);
    g.ndim = MAX_DIMS + 1;
    assert_int_equal(geometry_check(&g, &err), -CKPT_ESHAPE);
    g = shape2(DTYPE_U8, 0, INT64_MAX);
    assert_int_equal(geometry_check(&g, &err), 0);
    assert_int_equal(geometry_bytes(&g), 0);
}

static void regions_that_overflow_are_refused(void **state)
{
    struct geometry g = shape2(DTYPE_U32, 4, 4);
    struct box boxes[] = {box2(0, UINT64_MAX, 1, 1), box2(0, 0, 1, 1)};
    struct region r = {.boxes = boxes, .box_count = 2};
    static const uint64_t far[] = {1ULL << 62, 1};
    struct geometry scalar = {.dtype = DTYPE_U8};

    (void)state;
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    boxes[0] = box2(0, 0, 1ULL << 32, 1ULL << 32);
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    boxes[0] = box2(0, 0, 1ULL << 32, 1ULL << 27);
    boxes[1] = boxes[0];
    assert_int_equal(region_check(&g, &r, NULL, &err), 0);
    boxes[0] = boxes[1] = box2(0, 0, 1ULL << 32, (1ULL << 29) - 1);
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    boxes[0] = boxes[1] = box2(0, 0, 1, 1);
    assert_int_equal(region_check(&scalar, &r, NULL, &err), -CKPT_ESHAPE);
    r = (struct region){0};
    assert_int_equal(region_check(&g, &r, far, &err), -CKPT_ESHAPE);
}

static void cuts_past_the_end_are_refused(void **state)
{
    struct geometry g = shape2(DTYPE_U8, 2, 2);
    struct region r = {.is_cut = true, .cut_start = 3, .cut_count = 2};

    (void)state;
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    r.cut_count = UINT64_MAX;
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    r.cut_start = 5;
    r.cut_count = 0;
    assert_int_equal(region_check(&g, &r, NULL, &err), -CKPT_ESHAPE);
    r.cut_start = 4;
    assert_int_equal(region_check(&g, &r, NULL, &err), 0);
}

static void strides_go_with_one_uncut_box_only(void **state)
{
    struct geometry g = shape2(DTYPE_U8, 2, 2);
    static const uint64_t strides[] = {2, 1};
    struct box boxes[] = {box2(0, 0, 1, 1), box2(1, 1, 1, 1)};
    struct region two = {.boxes = boxes, .box_count = 2};
    struct region cut = {.is_cut = true, .cut_count = 1};

    (void)state;
    assert_int_equal(region_check(&g, &two, strides, &err), -CKPT_ESHAPE);
    assert_int_equal(region_check(&g, &cut, strides, &err), -CKPT_ESHAPE);
}

/* Parts of a [3, 2, 4] slab begin where counting says, one after another. */
static void expect_parts(const struct slab *s, const struct slab *part,
                         size_t count, uint64_t at, uint64_t end)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t index[3] = {at / 8, at / 4 % 2, at % 4};
        uint64_t base = s->base;

        for (uint32_t d = 0; d < 3; d++) {
            assert_int_equal(part[i].offset[d], s->offset[d] + index[d]);
            base += index[d] * s->stride[d];
        }
        assert_int_equal(part[i].base, base);
        at += slab_units(&part[i], 3);
    }
    assert_int_equal(at, end);
}

static void slab_cuts_are_exact_and_few(void **state)
{
    struct slab s = {.offset = {1, 2, 3},
                     .size = {3, 2, 4},
                     .base = 5,
                     .stride = {100, 30, 2}};
    struct slab part[SLAB_CUT_MAX];

    (void)state;
    for (uint64_t start = 0; start <= 24; start++) {
        for (uint64_t count = 0; count <= 24 - start; count++) {
            size_t n = slab_cut(&s, 3, start, count, part);

            assert_true(n <= 5);
            expect_parts(&s, part, n, start, start + count);
        }
    }
}

static void equal_layouts_are_one_run(void **state)
{
    struct geometry g = {.dtype = DTYPE_F32, .ndim = 4, .shape = {3, 5, 1, 7}};
    struct region whole = {0};
    struct slabs s;
    struct copy_op op;

    (void)state;
    assert_int_equal(region_slabs(&g, &whole, REGION_PACKED, NULL, &s), 0);
    assert_true(slab_intersect(&s.slab[0], &s.slab[0], 4, 4, &op));
    assert_int_equal(op.ndim, 0);
    assert_int_equal(op.run_bytes, 3 * 5 * 7 * 4);
    slabs_free(&s);
}

static void columns_are_one_loop(void **state)
{
    struct slab a = {.size = {6, 8, 4}, .stride = {32, 4, 1}};
    struct slab b = {
        .offset = {0, 2, 0}, .size = {6, 3, 4}, .stride = {12, 4, 1}};
    struct slab apart = {.offset = {6, 0, 0}, .size = {1, 1, 1}};
    struct copy_op op;

    (void)state;
    assert_true(slab_intersect(&a, &b, 3, 2, &op));
    assert_int_equal(op.ndim, 1);
    assert_int_equal(op.run_bytes, 24);
    assert_int_equal(op.count[0], 6);
    assert_int_equal(op.src, 16);
    assert_int_equal(op.src_step[0], 64);
    assert_int_equal(op.dst_step[0], 24);
    assert_false(slab_intersect(&a, &apart, 3, 2, &op));
}

static void expect_copied(const uint8_t *src, const uint8_t *packed,
                          const uint8_t *dst, uint64_t run)
{
    for (size_t n = 0; n < 24; n++) {
        size_t a = n / 12, b = n / 4 % 3, c = n % 4;
        const uint8_t *from = src + 3 + 400 * a + 100 * b + 20 * c;

        assert_memory_equal(dst + 5 + 17 * a + 170 * b + 40 * c, from, run);
        assert_memory_equal(packed + n * run, from, run);
    }
}

static void copies_of_all_run_sizes_are_equal(void **state)
{
    static const uint64_t runs[] = {1, 2, 3, 4, 5, 8, 16, 17};
    uint8_t src[1024], packed[1024], dst[1024], there[1024];

    (void)state;
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        struct copy_op op = {.src = 3,
                             .dst = 5,
                             .run_bytes = runs[i],
                             .ndim = 3,
                             .count = {2, 3, 4},
                             .src_step = {400, 100, 20},
                             .dst_step = {17, 170, 40}};

        memset(dst, 0, sizeof dst);
        memset(there, 0, sizeof there);
        copy_run(&op, src, dst);
        copy_gather(&op, src, packed);
        copy_scatter(&op, packed, there);
        assert_memory_equal(dst, there, sizeof dst);
        expect_copied(src, packed, dst, runs[i]);
        assert_int_equal(copy_bytes(&op), 24 * runs[i]);
        assert_int_equal(copy_src_end(&op), 3 + 400 + 200 + 60 + runs[i]);
        assert_int_equal(copy_dst_end(&op), 5 + 17 + 340 + 120 + runs[i]);
    }
}

static void bounds_of_copies_do_not_wrap(void **state)
{
    struct copy_op op = {.src = UINT64_MAX - 1,
                         .run_bytes = 8,
                         .ndim = 1,
                         .count = {1ULL << 33},
                         .dst_step = {1ULL << 33}};

    (void)state;
    assert_true(copy_src_end(&op) == UINT64_MAX);
    assert_true(copy_dst_end(&op) == UINT64_MAX);
    op.run_bytes = 1ULL << 40;
    assert_true(copy_bytes(&op) == UINT64_MAX);
}

struct hits {
    const struct slab *slab, *query;
    uint32_t count;
};

static int hit(void *context, uint32_t slab)
{
    struct hits *h = context;
    struct copy_op op;

    assert_true(slab_intersect(&h->slab[slab], h->query, 2, 1, &op));
    h->count++;
    return 0;
}

static void tree_finds_all_that_overlap_and_nothing_else(void **state)
{
    const uint64_t side = 40, count = 1600;
    struct slab *slab = calloc(count + side, sizeof *slab);
    struct boxtree tree;
    struct hits h = {.slab = slab};

    (void)state;
    assert_non_null(slab);
    for (uint64_t i = 0; i < count; i++)
        slab[i] = (struct slab){.offset = {i / side * 3, i % side * 5},
                                .size = {3, 5}};
    /* As many that are all alike. */
    for (uint64_t i = count; i < count + side; i++)
        slab[i] = (struct slab){.offset = {7, 7}, .size = {1, 1}};
    assert_int_equal(boxtree_build(slab, count + side, 2, &tree), 0);
    for (uint64_t row = 0; row < side * 3; row += 7) {
        for (uint64_t rows = 1; rows < side * 3 - row; rows += 11) {
            struct slab q = {.offset = {row, 4}, .size = {rows, 2}};
            uint32_t expected = (uint32_t)((row + rows - 1) / 3 - row / 3 + 1);

            h.query = &q;
            h.count = 0;
            assert_int_equal(boxtree_query(&tree, &q, hit, &h), 0);
            assert_int_equal(h.count, 2 * expected);
        }
    }
    h.query = &slab[count];
    h.count = 0;
    assert_int_equal(boxtree_query(&tree, h.query, hit, &h), 0);
    assert_int_equal(h.count, side + 1);
    boxtree_free(&tree);
    free(slab);
}

static void first_hole_is_the_first_in_row_major_order(void **state)
{
    struct slab all = {.size = {4, 4}};
    struct slab slab[] = {
        {.offset = {0, 0}, .size = {2, 4}},
        {.offset = {2, 0}, .size = {2, 3}},
        {.offset = {3, 3}, .size = {1, 1}},
        {.offset = {2, 3}, .size = {1, 1}},
    };
    const struct slab *list[] = {&slab[2], &slab[1], &slab[0], &slab[3]};
    uint64_t hole[MAX_DIMS];

    (void)state;
    assert_int_equal(slabs_first_hole(&all, list, 4, 2, hole), 0);
    assert_int_equal(slabs_first_hole(&all, list, 3, 2, hole), 1);
    assert_int_equal(hole[0], 2);
    assert_int_equal(hole[1], 3);
    assert_int_equal(slabs_first_hole(&all, list, 0, 2, hole), 1);
    assert_int_equal(hole[0], 0);
    assert_int_equal(hole[1], 0);
}

static void words_tell_elements(void **state)
{
    struct geometry g = shape2(DTYPE_F4, 2, 6);
    static const uint64_t index[] = {1, 2};
    char text[GEOMETRY_TEXT_BYTES], few[4];

    (void)state;
    geometry_text(&g, text, sizeof text);
    assert_string_equal(text, "F4 [2, 6]");
    geometry_index_text(&g, index, text, sizeof text);
    assert_string_equal(text, "[1, 4]");
    geometry_index_text(&g, index, few, sizeof few);
    assert_true(strlen(few) < sizeof few);
    g.ndim = 0;
    geometry_index_text(&g, index, text, sizeof text);
    assert_string_equal(text, "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_tensor_is_packed_as_it_lies),
        cmocka_unit_test(scalar_is_one_element),
        cmocka_unit_test(boxes_lie_end_to_end),
        cmocka_unit_test(flat_cut_of_a_column_shard_is_no_flat_range),
        cmocka_unit_test(padding_counts_in_local_order_and_is_not_packed),
        cmocka_unit_test(strides_are_followed),
        cmocka_unit_test(sub_byte_types_count_bytes),
        cmocka_unit_test(split_bytes_are_refused),
        cmocka_unit_test(geometry_that_overflows_is_refused),
        cmocka_unit_test(regions_that_overflow_are_refused),
        cmocka_unit_test(cuts_past_the_end_are_refused),
        cmocka_unit_test(strides_go_with_one_uncut_box_only),
        cmocka_unit_test(slab_cuts_are_exact_and_few),
        cmocka_unit_test(equal_layouts_are_one_run),
        cmocka_unit_test(columns_are_one_loop),
        cmocka_unit_test(copies_of_all_run_sizes_are_equal),
        cmocka_unit_test(bounds_of_copies_do_not_wrap),
        cmocka_unit_test(tree_finds_all_that_overlap_and_nothing_else),
        cmocka_unit_test(first_hole_is_the_first_in_row_major_order),
        cmocka_unit_test(words_tell_elements),
    };

    return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
