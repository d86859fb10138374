/*
 * test_manifest.c - the manifest container: building, merging and opening it;
 * every flipped bit is seen.
 */
#include "formats/manifest_media.h"
#include "tests/lib/small_manifest.h"
#include "tests/lib/timing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint32_t both[] = {0, 1}, reversed[] = {1, 0};

static void what_was_built_is_found_again(void **state)
{
    struct box *boxes = NULL;
    size_t bytes, capacity = 0, note_bytes;
    struct manifest m;
    struct geometry g;
    struct region r;
    struct err err;
    const char *note;
    void *data;
    int64_t t;

    (void)state;
    small_make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(m.tensor_count, 7);
    assert_int_equal(m.rank_count, 2);
    assert_true(layout_equal(&m.layout, &small_layout));
    assert_int_equal(m.info.id.step, 500);
    assert_int_equal(m.info.logical_bytes,
                     500 * 300 * 4 + 16 * 8 * 2 + 32 * 4 + 8 + 2 * 70000);
    assert_true(m.info.written_bytes < m.info.stored_bytes);
    t = manifest_find(&m, "fused", 5);
    assert_true(t >= 0);
    assert_int_equal(manifest_find(&m, "fuse", 4), -ENOENT);
    manifest_geometry(&m, (uint64_t)t, &g);
    assert_int_equal(g.dtype, DTYPE_BF16);
    assert_int_equal(g.shape[0], 16);
    assert_int_equal(m.tensor[t].region_count, 2);
    assert_int_equal(manifest_region(&m, m.tensor[t].first_region + 1, &boxes,
                                     &capacity, &r),
                     0);
    assert_int_equal(r.box_count, 2);
    assert_int_equal(r.boxes[1].offset[0], 12);
    assert_int_equal(r.boxes[1].size[1], 8);
    note = manifest_note(&m, "host", &note_bytes);
    assert_int_equal(note_bytes, 5);
    assert_memory_equal(note, "node7", 5);
    assert_null(manifest_note(&m, "hos", &note_bytes));
    assert_int_equal(m.value_count, 3);
    assert_int_equal(m.tensor[0].flags, 1);
    free(boxes);
    free(data);
}

static void the_order_of_ranks_does_not_matter(void **state)
{
    size_t a_bytes, b_bytes;
    void *a, *b;

    (void)state;
    small_make(MANIFEST_CHECKPOINT, both, 2, &a, &a_bytes);
    small_make(MANIFEST_CHECKPOINT, reversed, 2, &b, &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a, b, a_bytes);
    free(a);
    free(b);
}

static void merged_votes_equal_a_manifest_of_all_ranks(void **state)
{
    size_t bytes[2], all_bytes, merged_bytes;
    void *vote[2], *all, *merged;
    struct err err;

    (void)state;
    small_make(MANIFEST_CHECKPOINT, both, 2, &all, &all_bytes);
    for (uint32_t i = 0; i < 2; i++)
        small_make(MANIFEST_VOTE, &both[i], 1, &vote[i], &bytes[i]);
    for (size_t first = 0; first < 2; first++) {
        struct manifest_builder *b = manifest_builder_new();
        struct manifest_info info = small_info(MANIFEST_CHECKPOINT);
        struct manifest m;

        for (size_t i = 0; i < 2; i++) {
            size_t k = i ^ first;

            assert_int_equal(manifest_open(vote[k], bytes[k], &m, &err), 0);
            assert_int_equal(m.info.kind, MANIFEST_VOTE);
            assert_int_equal(manifest_add_vote(b, &m, &err), 0);
        }
        assert_int_equal(manifest_write(b, &info, &small_layout, &merged,
                                        &merged_bytes, &err),
                         0);
        assert_int_equal(merged_bytes, all_bytes);
        assert_memory_equal(merged, all, all_bytes);
        free(merged);
        manifest_builder_free(b);
    }
    free(vote[0]);
    free(vote[1]);
    free(all);
}

static void a_rank_that_votes_twice_is_a_conflict(void **state)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = small_info(MANIFEST_CHECKPOINT);
    struct manifest m;
    struct err err;
    size_t bytes;
    void *vote;

    (void)state;
    small_make(MANIFEST_VOTE, both, 1, &vote, &bytes);
    assert_int_equal(manifest_open(vote, bytes, &m, &err), 0);
    assert_int_equal(manifest_add_vote(b, &m, &err), 0);
    assert_int_equal(manifest_add_vote(b, &m, &err), -CKPT_ECONFLICT);
    assert_string_equal(err.text, "rank 0 is there twice");
    assert_int_equal(
        manifest_write(b, &info, &small_layout, &(void *){0}, &bytes, &err),
        -CKPT_ECONFLICT);
    manifest_builder_free(b);
    free(vote);
}

static void votes_of_other_saves_or_layouts_are_refused(void **state)
{
    struct manifest m;
    struct err err;
    size_t bytes;
    void *vote;

    (void)state;
    small_make(MANIFEST_VOTE, both, 1, &vote, &bytes);
    for (int what = 0; what < 3; what++) {
        struct manifest_builder *b = manifest_builder_new();

        assert_int_equal(manifest_open(vote, bytes, &m, &err), 0);
        assert_int_equal(manifest_add_vote(b, &m, &err), 0);
        m.info.id.step += what == 0;
        m.info.run.b[0] ^= what == 1;
        m.layout.axis[0].degree += what == 2;
        assert_int_equal(manifest_add_vote(b, &m, &err), -CKPT_ECONFLICT);
        manifest_builder_free(b);
    }
    free(vote);
}

static void tensor_conflicts_name_both_ranks(void **state)
{
    struct entry one = {"w", {DTYPE_F32, 2, {4, 8}}, {0}, 0, 1};
    struct entry two = {"w", {DTYPE_BF16, 2, {4, 8}}, {0}, 0, 1};
    struct manifest_builder *b = manifest_builder_new();
    struct err err;

    (void)state;
    assert_int_equal(small_add_rank(b, 3, &one, 1, &err), 0);
    assert_int_equal(small_add_rank(b, 5, &two, 1, &err), -CKPT_ECONFLICT);
    assert_string_equal(
        err.text, "tensor w: rank 3 says F32 [4, 8], rank 5 says BF16 [4, 8]");
    assert_int_equal(small_add_rank(b, 6, &one, 1, &err), -CKPT_ECONFLICT);
    manifest_builder_free(b);
}

static void value_conflicts_name_both_ranks(void **state)
{
    struct value v = {"lr", 2, VALUE_STRING, 1, {0}, "a", 1};
    struct entry e = {"w", {DTYPE_F32, 1, {4}}, {0}, 0, 1};
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = small_info(MANIFEST_CHECKPOINT);
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    assert_int_equal(small_add_rank(b, 0, &e, 1, &err), 0);
    assert_int_equal(small_add_rank(b, 1, &e, 1, &err), 0);
    assert_int_equal(manifest_add_value(b, 0, &v, &err), 0);
    assert_int_equal(manifest_add_value(b, 1, &v, &err), 0);
    assert_int_equal(
        manifest_write(b, &info, &small_layout, &data, &bytes, &err), 0);
    free(data);
    v.data = "b";
    assert_int_equal(manifest_add_value(b, 1, &v, &err), 0);
    assert_int_equal(
        manifest_write(b, &info, &small_layout, &data, &bytes, &err),
        -CKPT_ECONFLICT);
    assert_string_equal(err.text, "value lr at dp=0: rank 0 and rank 1 differ");
    manifest_builder_free(b);
}

static void a_manifest_of_nothing_opens(void **state)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = small_info(MANIFEST_CHECKPOINT);
    static const struct layout none;
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    assert_int_equal(manifest_write(b, &info, &none, &data, &bytes, &err), 0);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(manifest_find(&m, "w", 1), -ENOENT);
    free(data);
    manifest_builder_free(b);
}

static void nonsense_is_not_written(void **state)
{
    struct entry e = {"w", {DTYPE_F32, 1, {4}}, {0}, 0, 1};
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = small_info(MANIFEST_CHECKPOINT);
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    assert_int_equal(small_add_rank(b, 2, &e, 1, &err), 0);
    assert_int_equal(
        manifest_write(b, &info, &small_layout, &data, &bytes, &err), -EINVAL);
    assert_non_null(strstr(err.text, "rank"));
    manifest_builder_free(b);
}

static void every_flipped_bit_is_seen(void **state)
{
    struct manifest m;
    struct err err;
    size_t bytes;
    uint8_t *p;
    void *data;

    (void)state;
    small_make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    p = data;
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (manifest_open(data, bytes, &m, &err) != -CKPT_ECORRUPT)
            fail_msg("bit %zu of %zu passed", bit, bytes * 8);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    free(data);
}

static void every_truncation_is_seen(void **state)
{
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    small_make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    for (size_t n = 0; n < bytes; n += n < 2000 ? 1 : 61) {
        void *part = aligned_alloc(64, align_up(n + 1, 64));

        memcpy(part, data, n);
        assert_int_equal(manifest_open(part, n, &m, &err), -CKPT_ECORRUPT);
        free(part);
    }
    free(data);
}

static void versions_and_features_are_refused_by_number(void **state)
{
    struct mf_header *h;
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    small_make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    h = data;
    h->minor = 7;
    h->compatible = 0xff;
    mf_seal(data, h->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    h->incompatible = 1 << 5;
    mf_seal(data, h->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), -CKPT_EVERSION);
    assert_non_null(strstr(err.text, "flag 5"));
    h->major = 2;
    mf_seal(data, h->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), -CKPT_EVERSION);
    assert_non_null(strstr(err.text, "version 2.7"));
    free(data);
}

static void a_hundred_thousand_regions_merge_in_a_second(void **state)
{
    enum { TENSORS = 50000 };
    struct manifest_builder *all = manifest_builder_new();
    struct manifest_info info = small_info(MANIFEST_CHECKPOINT);
    struct entry *entries = calloc(TENSORS, sizeof *entries);
    char(*names)[24] = calloc(TENSORS, sizeof *names);
    struct box *box = calloc(TENSORS, sizeof *box);
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data, *votes[2];
    double start, merged, opened;

    (void)state;
    for (uint32_t rank = 0; rank < 2; rank++) {
        struct manifest_builder *b = manifest_builder_new();

        info.kind = MANIFEST_VOTE;
        for (uint32_t i = 0; i < TENSORS; i++) {
            (void)snprintf(names[i], sizeof names[i], "layer.%u.w",
                           i * 7919 % TENSORS);
            box[i] = (struct box){{rank * 4ull, 0}, {4, 16}};
            entries[i] = (struct entry){names[i],
                                        {DTYPE_F32, 2, {8, 16}},
                                        {&box[i], 1, false, 0, 0},
                                        0,
                                        1};
        }
        assert_int_equal(small_add_rank(b, rank, entries, TENSORS, &err), 0);
        assert_int_equal(
            manifest_write(b, &info, &small_layout, &votes[rank], &bytes, &err),
            0);
        manifest_builder_free(b);
        assert_int_equal(manifest_open(votes[rank], bytes, &m, &err), 0);
        assert_int_equal(manifest_add_vote(all, &m, &err), 0);
    }
    info.kind = MANIFEST_CHECKPOINT;
    start = cpu_seconds();
    assert_int_equal(
        manifest_write(all, &info, &small_layout, &data, &bytes, &err), 0);
    merged = cpu_seconds() - start;
    start = cpu_seconds();
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    opened = cpu_seconds() - start;
    assert_int_equal(m.region_count, 2 * TENSORS);
    print_message("%zu bytes: written in %.0f ms, opened in %.0f ms\n", bytes,
                  merged * 1e3, opened * 1e3);
    /* Sanitizers are several times slower; quadratic would be minutes. */
    assert_true(merged + opened < 10);
    manifest_builder_free(all);
    free(votes[0]);
    free(votes[1]);
    free(data);
    free(entries);
    free(names);
    free(box);
}

/* Whose files they are, in words: of one other store, or of several. */
static void where_else_a_file_is_is_told(void **state)
{
    struct mf_file files[4] = {
        {.store = {{1}}}, {.store = {{1}}}, {.store = {{2}}}, {.store = {{1}}}};
    struct manifest m = {.file = files, .file_count = 4};
    struct err err;

    (void)state;
    assert_int_equal(manifest_elsewhere(&m, 2, -EXDEV, &err), -EXDEV);
    assert_non_null(strstr(err.text, "spread over 2"));
    m.file_count = 2;
    assert_int_equal(manifest_elsewhere(&m, 0, -EXDEV, &err), -EXDEV);
    assert_non_null(strstr(err.text, "the daemon of that one"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_built_is_found_again),
        cmocka_unit_test(the_order_of_ranks_does_not_matter),
        cmocka_unit_test(merged_votes_equal_a_manifest_of_all_ranks),
        cmocka_unit_test(a_rank_that_votes_twice_is_a_conflict),
        cmocka_unit_test(votes_of_other_saves_or_layouts_are_refused),
        cmocka_unit_test(tensor_conflicts_name_both_ranks),
        cmocka_unit_test(value_conflicts_name_both_ranks),
        cmocka_unit_test(a_manifest_of_nothing_opens),
        cmocka_unit_test(nonsense_is_not_written),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(every_truncation_is_seen),
        cmocka_unit_test(versions_and_features_are_refused_by_number),
        cmocka_unit_test(a_hundred_thousand_regions_merge_in_a_second),
        cmocka_unit_test(where_else_a_file_is_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
