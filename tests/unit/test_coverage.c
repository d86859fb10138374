/*
 * test_coverage.c - a manifest is complete when every rank is there and every
 * element of every tensor was written exactly once; what is wrong is named.
 * Random holes and overlaps are in test_reshard_property.c.
 */
#include "tests/lib/timing.h"
#include "tests/lib/world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct err err;

static struct entry square(const struct box *box)
{
    return (struct entry){
        .name = "w",
        .geometry = {.dtype = DTYPE_F32, .ndim = 2, .shape = {8, 8}},
        .region = {.boxes = box, .box_count = box ? 1 : 0},
        .replica_count = 1,
    };
}

/* Each entry is saved by a rank of its own. */
static int coverage_of(const struct entry *entries, uint32_t count)
{
    struct world_rank *rank = calloc(count, sizeof *rank);
    struct world w;
    int rc;

    assert_non_null(rank);
    for (uint32_t i = 0; i < count; i++)
        rank[i] = (struct world_rank){.entries = &entries[i], .count = 1};
    assert_int_equal(world_save(&w, rank, count, CHUNK_BYTES_MIN, &err), 0);
    err = (struct err){0};
    rc = manifest_coverage(&w.m, &err);
    world_free(&w);
    free(rank);
    return rc;
}

static void quarters_cover_a_square(void **state)
{
    static const struct box box[] = {
        {.offset = {0, 0}, .size = {3, 5}},
        {.offset = {3, 0}, .size = {5, 5}},
        {.offset = {0, 5}, .size = {6, 9}},
        {.offset = {6, 5}, .size = {2, 3}},
    };
    const struct entry e[] = {square(&box[0]), square(&box[1]), square(&box[2]),
                              square(&box[3])};

    (void)state;
    assert_int_equal(coverage_of(e, 4), 0);
}

/* Five boxes around a middle one: no cut through all of it divides them. */
static void pinwheel_covers_a_square(void **state)
{
    static const struct box box[] = {
        {.offset = {0, 0}, .size = {3, 5}}, {.offset = {0, 5}, .size = {5, 3}},
        {.offset = {5, 3}, .size = {3, 5}}, {.offset = {3, 0}, .size = {5, 3}},
        {.offset = {3, 3}, .size = {2, 2}},
    };
    const struct entry e[] = {square(&box[0]), square(&box[1]), square(&box[2]),
                              square(&box[3]), square(&box[4])};

    (void)state;
    assert_int_equal(coverage_of(e, 5), 0);
    assert_int_equal(coverage_of(e, 4), -CKPT_EPARTIAL);
    assert_non_null(strstr(err.text, "tensor w: "));
    assert_non_null(strstr(err.text, "element [3, 3]"));
}

static void overlap_names_both_ranks(void **state)
{
    static const struct box box[] = {
        {.offset = {0, 0}, .size = {5, 8}},
        {.offset = {4, 0}, .size = {4, 8}},
    };
    const struct entry e[] = {square(&box[0]), square(&box[1])};

    (void)state;
    assert_int_equal(coverage_of(e, 2), -CKPT_ECONFLICT);
    assert_non_null(strstr(err.text, "tensor w: "));
    assert_non_null(strstr(err.text, "element [4, 0]"));
    assert_non_null(strstr(err.text, "rank 0"));
    assert_non_null(strstr(err.text, "rank 1"));
}

static void same_region_twice_is_a_conflict(void **state)
{
    const struct entry e[] = {square(NULL), square(NULL)};

    (void)state;
    assert_int_equal(coverage_of(e, 2), -CKPT_ECONFLICT);
    assert_non_null(strstr(err.text, "rank 0 and by rank 1"));
}

static void box_listed_twice_is_a_conflict(void **state)
{
    static const struct box box[] = {
        {.offset = {0, 0}, .size = {4, 8}},
        {.offset = {0, 0}, .size = {4, 8}},
    };
    struct entry e = square(NULL);

    (void)state;
    e.region = (struct region){.boxes = box, .box_count = 2};
    assert_int_equal(coverage_of(&e, 1), -CKPT_ECONFLICT);
}

/* Large enough for slices: 3 MiB for three replicas. */
static struct entry large(uint32_t replica, uint32_t count)
{
    return (struct entry){
        .name = "large",
        .geometry = {.dtype = DTYPE_U8, .ndim = 2, .shape = {3072, 1024}},
        .replica_index = replica,
        .replica_count = count,
    };
}

static void replicas_share_the_writing(void **state)
{
    const struct entry e[] = {large(2, 3), large(0, 3), large(1, 3)};

    (void)state;
    assert_int_equal(coverage_of(e, 3), 0);
}

static void missing_replica_is_named_by_its_slice(void **state)
{
    const struct entry e[] = {large(2, 3), large(0, 3)};

    (void)state;
    assert_int_equal(coverage_of(e, 2), -CKPT_EPARTIAL);
    assert_non_null(strstr(err.text, "tensor large: "));
    assert_non_null(strstr(err.text, "element [1024, 0]"));
}

static void replica_index_twice_is_a_conflict(void **state)
{
    const struct entry e[] = {large(0, 3), large(1, 3), large(1, 3),
                              large(2, 3)};

    (void)state;
    assert_int_equal(coverage_of(e, 4), -CKPT_ECONFLICT);
    assert_non_null(strstr(err.text, "rank 1 and by rank 2"));
}

static void replicas_must_agree_in_count(void **state)
{
    const struct entry e[] = {large(0, 2), large(1, 3)};

    (void)state;
    assert_int_equal(coverage_of(e, 2), -CKPT_ECONFLICT);
    assert_non_null(strstr(err.text, "rank 0 has 2"));
    assert_non_null(strstr(err.text, "rank 1 has 3"));
}

static void empty_regions_and_tensors_are_covered(void **state)
{
    struct entry e[] = {square(NULL), square(NULL), square(NULL)};

    (void)state;
    e[1].region = e[2].region = (struct region){.is_cut = true};
    e[2].replica_count = 5;
    assert_int_equal(coverage_of(e, 3), 0);
    e[0].geometry.shape[1] = e[1].geometry.shape[1] = e[2].geometry.shape[1] =
        0;
    assert_int_equal(coverage_of(e, 3), 0);
}

static void scalar_has_one_owner(void **state)
{
    struct entry e[] = {square(NULL), square(NULL)};

    (void)state;
    e[0].geometry.ndim = e[1].geometry.ndim = 0;
    memset(e[0].geometry.shape, 0, sizeof e[0].geometry.shape);
    memset(e[1].geometry.shape, 0, sizeof e[1].geometry.shape);
    assert_int_equal(coverage_of(e, 1), 0);
    assert_int_equal(coverage_of(e, 2), -CKPT_ECONFLICT);
    e[0].region = (struct region){.is_cut = true};
    assert_int_equal(coverage_of(e, 1), -CKPT_EPARTIAL);
    assert_non_null(strstr(err.text, "element []"));
}

static void missing_rank_is_named(void **state)
{
    const struct world_rank none[3] = {{0}};
    struct mf_rank rank[3];
    struct world w;

    (void)state;
    assert_int_equal(world_save(&w, none, 3, CHUNK_BYTES_MIN, &err), 0);
    assert_int_equal(manifest_coverage(&w.m, &err), 0);
    memcpy(rank, w.m.rank, sizeof rank);
    w.m.rank = rank;
    w.m.info.world_size = 4;
    assert_int_equal(manifest_coverage(&w.m, &err), -CKPT_EPARTIAL);
    assert_string_equal(err.text, "rank 3 is missing");
    rank[1].rank = 3;
    assert_int_equal(manifest_coverage(&w.m, &err), -CKPT_EPARTIAL);
    assert_string_equal(err.text, "rank 1 is missing");
    rank[1].rank = 2;
    assert_int_equal(manifest_coverage(&w.m, &err), -CKPT_ECONFLICT);
    assert_string_equal(err.text, "rank 2 is there twice");
    rank[1].rank = 9;
    assert_int_equal(manifest_coverage(&w.m, &err), -CKPT_ECONFLICT);
    world_free(&w);
}

/* A grid of side x side boxes: the time it takes to check it. */
static double time_of(uint64_t side)
{
    struct entry *e = calloc(side * side, sizeof *e);
    struct box *box = calloc(side * side, sizeof *box);
    struct world_rank rank = {.entries = e, .count = side * side};
    struct world w;
    double took;

    assert_non_null(e);
    assert_non_null(box);
    for (uint64_t i = 0; i < side * side; i++) {
        box[i] = (struct box){.offset = {i / side * 2, i % side * 3},
                              .size = {2, 3}};
        e[i] = square(&box[i]);
        e[i].geometry.shape[0] = side * 2;
        e[i].geometry.shape[1] = side * 3;
    }
    assert_int_equal(world_save(&w, &rank, 1, CHUNK_BYTES_MIN, &err), 0);
    took = cpu_seconds();
    assert_int_equal(manifest_coverage(&w.m, &err), 0);
    took = cpu_seconds() - took;
    world_free(&w);
    free(box);
    free(e);
    return took;
}

/* Sixteen times as many would take 256 times as long if it were quadratic. */
static void time_is_near_linear_in_regions(void **state)
{
    double few = best_of_three(time_of, 45), many = best_of_three(time_of, 180);

    (void)state;
    print_message("coverage of 2,025 regions %.1f ms, of 32,400 %.1f ms\n",
                  few * 1e3, many * 1e3);
    assert_true(many < 100 * (few + 2e-3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quarters_cover_a_square),
        cmocka_unit_test(pinwheel_covers_a_square),
        cmocka_unit_test(overlap_names_both_ranks),
        cmocka_unit_test(same_region_twice_is_a_conflict),
        cmocka_unit_test(box_listed_twice_is_a_conflict),
        cmocka_unit_test(replicas_share_the_writing),
        cmocka_unit_test(missing_replica_is_named_by_its_slice),
        cmocka_unit_test(replica_index_twice_is_a_conflict),
        cmocka_unit_test(replicas_must_agree_in_count),
        cmocka_unit_test(empty_regions_and_tensors_are_covered),
        cmocka_unit_test(scalar_has_one_owner),
        cmocka_unit_test(missing_rank_is_named),
        cmocka_unit_test(time_is_near_linear_in_regions),
    };

    return cmocka_run_group_tests_name("coverage", tests, NULL, NULL);
}
