/*
 * What the committer makes of the votes' checks: replicas that differ are
 * named by tensor, ranks and first element; where no daemon had both bytes, by
 * the elements of the block; equal ones and blocks without an other are
 * counted; a state of the optimizer that stood still on every rank is told.
 */
#include "formats/divergence.h"
#include "formats/manifest_media.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CHUNK   CHUNK_BYTES_MIN
#define RANKS   4
#define COLUMNS 64 /* of U32: CHUNK is 256 rows */

/* What a rank of the tests says: content of each block, 0: not digested. */
struct says {
    uint32_t rank;
    const char *blocks;  /* of "weights", two blocks: "aa" */
    const char *biases;  /* of "bias", one small block */
    uint64_t differs_at; /* of block 0 of weights, 0: unknown */
    uint32_t other;
    uint64_t optimizer_bytes;
    uint32_t same_step; /* 0: it moved on */
    uint32_t flags;
};

static struct digest content_of(char c)
{
    return hash_128(&c, 1);
}

static void fill_entries(struct entry e[2], uint32_t rank)
{
    e[0] = (struct entry){
        .name = "bias",
        .geometry = {.dtype = DTYPE_BF16, .ndim = 1, .shape = {10}},
        .replica_index = rank,
        .replica_count = RANKS};
    e[1] = (struct entry){
        .name = "weights",
        .geometry = {.dtype = DTYPE_U32, .ndim = 2, .shape = {300, COLUMNS}},
        .replica_index = rank,
        .replica_count = RANKS};
}

static size_t fill_checks(const struct says *s, struct built_check out[3])
{
    size_t count = 0;

    if (s->biases[0])
        out[count++] = (struct built_check){
            0, {.bytes = 20, .content = content_of(s->biases[0])}};
    for (uint32_t i = 0; i < strlen(s->blocks); i++) {
        uint64_t start = (uint64_t)i * CHUNK;

        if (s->blocks[i] == '0')
            continue;
        out[count++] = (struct built_check){
            1,
            {.bytes = i ? 300 * COLUMNS * 4 - CHUNK : CHUNK,
             .start = start,
             .content = content_of(s->blocks[i])}};
    }
    for (size_t i = 0; i < count; i++)
        out[i].row.differs_at = CHECK_UNKNOWN;
    if (s->differs_at) {
        struct mf_check *row = &out[s->biases[0] ? 1 : 0].row;

        row->differs_at = s->differs_at;
        row->other = s->other;
        row->own[0] = 7;
        row->others[0] = 9;
    }
    return count;
}

static void add_rank(struct manifest_builder *b, const struct says *s)
{
    struct mf_trust trust = {.rank = s->rank,
                             .flags = s->flags,
                             .optimizer_bytes = s->optimizer_bytes};
    struct built_check checks[3];
    struct built_chunk *chunks;
    struct writelist list;
    struct entry e[2];
    struct built_rank r = {.rank = s->rank,
                           .entries = e,
                           .entry_count = 2,
                           .list = &list,
                           .trust = &trust,
                           .checks = checks};
    struct err err;

    if (s->same_step)
        trust.same = (struct save_id){.generation = 1, .step = s->same_step};
    fill_entries(e, s->rank);
    assert_int_equal(writelist_build(e, 2, CHUNK, &list), 0);
    chunks = calloc(list.chunk_count + 1, sizeof *chunks);
    for (size_t i = 0; i < list.chunk_count; i++)
        chunks[i] =
            (struct built_chunk){.file_name = "seg/1",
                                 .offset = PAGE_BYTES,
                                 .raw_bytes = list.chunk[i].raw_bytes,
                                 .payload_bytes = list.chunk[i].raw_bytes};
    r.chunks = chunks;
    r.check_count = fill_checks(s, checks);
    assert_int_equal(manifest_add_rank(b, &r, &err), 0);
    free(chunks);
    writelist_free(&list);
}

/* One vote per daemon; says[i] is of daemon i % daemons. */
static void judge_all(const struct says says[RANKS], uint32_t daemons,
                      struct judgement *out)
{
    struct manifest votes[RANKS];
    void *data[RANKS];
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = RANKS,
                                 .chunk_bytes = CHUNK,
                                 .id = {.generation = 1, .step = 100}};
    struct layout layout = {.axis_count = 0};
    struct err err = {0};

    for (uint32_t d = 0; d < daemons; d++) {
        struct manifest_builder *b = manifest_builder_new();
        size_t bytes;

        for (uint32_t i = d; i < RANKS; i += daemons)
            add_rank(b, &says[i]);
        if (manifest_write(b, &info, &layout, &data[d], &bytes, &err) ||
            manifest_open(data[d], bytes, &votes[d], &err))
            fail_msg("%s", err.text);
        manifest_builder_free(b);
    }
    assert_int_equal(judge(votes, daemons, out, &err), 0);
    for (uint32_t d = 0; d < daemons; d++)
        free(data[d]);
}

static const struct says healthy[RANKS] = {
    {.rank = 0, .blocks = "ab", .biases = "x"},
    {.rank = 1, .blocks = "ab", .biases = "x"},
    {.rank = 2, .blocks = "ab", .biases = "x"},
    {.rank = 3, .blocks = "ab", .biases = "x"},
};

static void equal_replicas_are_only_counted(void **state)
{
    struct judgement j;

    (void)state;
    for (uint32_t daemons = 1; daemons <= RANKS; daemons++) {
        judge_all(healthy, daemons, &j);
        assert_int_equal(j.compared_blocks, 3);
        assert_int_equal(j.compared_bytes, 300 * COLUMNS * 4 + 20);
        assert_int_equal(j.alone_blocks, 0);
        assert_int_equal(j.diverged_blocks, 0);
        assert_string_equal(j.divergence, "");
        assert_false(j.is_stale);
        assert_string_equal(j.stale, "");
    }
}

static void the_rank_that_differs_and_the_element_are_named(void **state)
{
    struct says s[RANKS];
    struct judgement j;

    (void)state;
    memcpy(s, healthy, sizeof s);
    s[2].blocks = "cb";
    s[2].differs_at = 4 * (3 * COLUMNS + 5);
    s[2].other = 0;
    judge_all(s, 1, &j);
    assert_int_equal(j.diverged_blocks, 1);
    assert_int_equal(j.diverged_regions, 1);
    assert_non_null(strstr(
        j.divergence,
        "tensor weights: rank 2 differs from ranks 0, 1, 3, first at element "
        "[3, 5]: rank 2 has 7 (0x00000007), rank 0 has 9 (0x00000009)"));
}

static void what_most_have_is_taken_for_right(void **state)
{
    struct says s[RANKS];
    struct judgement j;

    (void)state;
    memcpy(s, healthy, sizeof s);
    s[0].blocks = "cb"; /* the lowest rank is the odd one */
    judge_all(s, 2, &j);
    assert_non_null(strstr(j.divergence, "rank 0 differs from ranks 1, 2, 3"));
    s[1].blocks = "cb"; /* a tie: the lowest rank counts */
    judge_all(s, 2, &j);
    assert_non_null(strstr(j.divergence, "ranks 2, 3 differ from ranks 0, 1"));
    s[1].blocks = "ab";
    s[2].blocks = "db"; /* three contents */
    judge_all(s, 2, &j);
    assert_non_null(strstr(j.divergence, "ranks 0, 2 differ from ranks 1, 3"));
}

static void without_both_bytes_the_elements_are_told(void **state)
{
    struct says s[RANKS];
    struct judgement j;

    (void)state;
    memcpy(s, healthy, sizeof s);
    s[3].blocks = "ac";
    judge_all(s, 4, &j);
    assert_non_null(strstr(j.divergence,
                           "tensor weights: rank 3 differs from ranks 0, 1, 2, "
                           "first somewhere in elements [256, 0] to [299, 63] "
                           "(no daemon had both bytes)"));
}

static void every_tensor_is_told_once(void **state)
{
    struct says s[RANKS];
    struct judgement j;

    (void)state;
    memcpy(s, healthy, sizeof s);
    s[1].blocks = "cc";
    s[1].biases = "y";
    judge_all(s, 1, &j);
    assert_int_equal(j.diverged_blocks, 3);
    assert_int_equal(j.diverged_regions, 2);
    assert_non_null(strstr(j.divergence, "tensor weights: rank 1 differs"));
    assert_non_null(strstr(j.divergence, "tensor bias: rank 1 differs"));
    assert_null(strstr(strstr(j.divergence, "weights") + 1, "weights"));
}

/* Small ones are written by one rank, which is a function of the name. */
static void it_is_told_whose_bytes_are_saved(void **state)
{
    struct says s[RANKS];
    struct judgement j;
    struct entry e[2];
    struct writelist list;
    char words[64];

    (void)state;
    memcpy(s, healthy, sizeof s);
    s[2].biases = "y";
    judge_all(s, 3, &j);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        fill_entries(e, rank);
        assert_int_equal(writelist_build(e, 2, CHUNK, &list), 0);
        if (list.slice[0].bytes)
            (void)snprintf(words, sizeof words, "that of rank %u is saved",
                           rank);
        writelist_free(&list);
    }
    assert_non_null(strstr(j.divergence, words));
}

static void a_block_of_one_rank_only_is_counted_as_such(void **state)
{
    struct says s[RANKS];
    struct judgement j;

    (void)state;
    memcpy(s, healthy, sizeof s);
    s[0].blocks = "a0";
    s[1].blocks = s[2].blocks = "0b";
    s[3].blocks = "00";
    judge_all(s, 2, &j);
    assert_int_equal(j.compared_blocks, 2); /* bias, and block 1 */
    assert_int_equal(j.alone_blocks, 1);
    assert_int_equal(j.diverged_blocks, 0);
}

static void a_stale_optimizer_is_told(void **state)
{
    struct says s[RANKS];
    struct judgement j;

    (void)state;
    memcpy(s, healthy, sizeof s);
    s[0].optimizer_bytes = 1000;
    s[0].same_step = 90;
    s[2].optimizer_bytes = 24; /* ranks 1 and 3 write none of it */
    s[2].same_step = 90;
    judge_all(s, 2, &j);
    assert_true(j.is_stale);
    assert_non_null(strstr(j.stale, "(1024 bytes of 2 ranks)"));
    assert_non_null(strstr(j.stale, "step 90, 10 steps ago"));
    s[2].same_step = 0; /* this one moved on */
    judge_all(s, 2, &j);
    assert_false(j.is_stale);
    s[0].same_step = 0;
    s[2].same_step = 90;
    judge_all(s, 2, &j);
    assert_false(j.is_stale);
    assert_string_equal(j.stale, "");
}

static void the_strictest_rank_decides(void **state)
{
    struct says s[RANKS];
    struct judgement j;

    (void)state;
    memcpy(s, healthy, sizeof s);
    judge_all(s, 2, &j);
    assert_false(j.must_fail_divergence || j.must_fail_stale);
    s[1].flags = MF_TRUST_FAIL_DIVERGENCE;
    judge_all(s, 2, &j);
    assert_true(j.must_fail_divergence && !j.must_fail_stale);
    s[1].flags = MF_TRUST_FAIL_STALE;
    judge_all(s, 2, &j);
    assert_true(!j.must_fail_divergence && j.must_fail_stale);
}

static void the_first_difference_is_a_whole_unit(void **state)
{
    static uint8_t a[20000], b[20000];
    static const size_t at[] = {0, 1, 4095, 4096, 8191, 12289, 19999};

    (void)state;
    assert_int_equal(replica_first_difference(a, b, sizeof a, 4), sizeof a);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        b[at[i]] = 1;
        assert_int_equal(replica_first_difference(a, b, sizeof a, 4),
                         at[i] / 4 * 4);
        assert_int_equal(replica_first_difference(a, b, sizeof a, 1), at[i]);
        b[at[i]] = 0;
    }
}

/* With these bytes in that place it is no vote any more. */
static void assert_forged(void *data, size_t bytes, void *at, const void *value,
                          size_t value_bytes)
{
    uint8_t was[8];
    struct manifest m;
    struct err err;

    memcpy(was, at, value_bytes);
    memcpy(at, value, value_bytes);
    mf_seal(data, ((struct mf_header *)data)->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), -CKPT_ECORRUPT);
    memcpy(at, was, value_bytes);
}

/* A vote whose checks are forged is refused, not followed. */
static void forged_rows_are_refused(void **state)
{
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = RANKS,
                                 .chunk_bytes = CHUNK,
                                 .id = {.generation = 1, .step = 100}};
    struct layout layout = {.axis_count = 0};
    struct manifest_builder *b = manifest_builder_new();
    struct mf_check *check;
    struct mf_trust *trust;
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    for (int i = 0; i < RANKS; i++)
        add_rank(b, &healthy[i]);
    assert_int_equal(manifest_write(b, &info, &layout, &data, &bytes, &err), 0);
    manifest_builder_free(b);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(m.check_count, 3 * RANKS);
    assert_int_equal(m.trust_count, RANKS);
    assert_non_null(manifest_trust(&m, 3));
    assert_null(manifest_trust(&m, 4));
    check = (struct mf_check *)((uint8_t *)data +
                                ((const uint8_t *)m.check - m.data));
    trust = (struct mf_trust *)((uint8_t *)data +
                                ((const uint8_t *)m.trust - m.data));

#define FORGED(field, value)                                                   \
    assert_forged(data, bytes, &(field), &(__typeof__(field)){(value)},        \
                  sizeof(field))
    FORGED(check[0].region, (uint32_t)m.region_count);
    FORGED(check[0].region, 1);
    FORGED(check[0].bytes, 0);
    FORGED(check[0].bytes, 22);
    FORGED(check[0].bytes, 19);
    FORGED(check[0].start, 2);
    FORGED(check[0].start, UINT64_MAX - 1);
    FORGED(check[0].reserved, 1);
    FORGED(check[0].other, 1);
    FORGED(check[0].own[0], 1);
    FORGED(check[0].differs_at, 20);
    FORGED(check[0].differs_at, 1);
    FORGED(check[11].start, 0);
    FORGED(trust[1].rank, 0);
    FORGED(trust[3].rank, 4);
    FORGED(trust[0].flags, 4);
    FORGED(trust[0].reserved, 1);
    FORGED(trust[0].same.step, 1);
#undef FORGED
    mf_seal(data, ((struct mf_header *)data)->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_replicas_are_only_counted),
        cmocka_unit_test(the_rank_that_differs_and_the_element_are_named),
        cmocka_unit_test(what_most_have_is_taken_for_right),
        cmocka_unit_test(without_both_bytes_the_elements_are_told),
        cmocka_unit_test(every_tensor_is_told_once),
        cmocka_unit_test(it_is_told_whose_bytes_are_saved),
        cmocka_unit_test(a_block_of_one_rank_only_is_counted_as_such),
        cmocka_unit_test(a_stale_optimizer_is_told),
        cmocka_unit_test(the_strictest_rank_decides),
        cmocka_unit_test(the_first_difference_is_a_whole_unit),
        cmocka_unit_test(forged_rows_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
