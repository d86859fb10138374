/*
 * test_failnth_judged.c - what a commit makes of votes whose replicas differ,
 * or whose optimizer stood still: notes, reasons and refusals, also without
 * memory.
 */
#include "tests/failnth/failnth.h"
#include "tests/lib/test_daemon.h"

#include "formats/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECONDS ((uint64_t)1000)

static const struct save_id first = {.generation = 1, .attempt = 1, .step = 5};

/* What the two ranks of one daemon say of their replicas of one tensor. */
struct says {
    char content[2]; /* of each; 0: it has none to compare */
    bool is_stale;
    uint32_t flags;
};

static void add_rank(struct manifest_builder *b, const struct test_daemon *d,
                     const struct says *s, uint32_t rank)
{
    struct entry e = {.name = "bias",
                      .geometry = {DTYPE_U8, 1, {20}},
                      .replica_index = rank,
                      .replica_count = 2};
    struct mf_trust trust = {
        .rank = rank, .flags = s->flags, .optimizer_bytes = 20};
    struct built_check check = {
        .row = {.bytes = 20, .differs_at = CHECK_UNKNOWN}};
    struct built_chunk chunk = {.file_name = "seg/000001",
                                .file_store = {{9}}, /* of another store */
                                .offset = PAGE_BYTES,
                                .raw_bytes = 20,
                                .payload_bytes = 20};
    struct built_rank r = {.rank = rank,
                           .daemon = d->t->env.local_uuid,
                           .entries = &e,
                           .entry_count = 1,
                           .chunks = &chunk,
                           .trust = &trust,
                           .checks = &check,
                           .check_count = s->content[rank] != 0};
    struct writelist list;
    struct err err;

    if (s->is_stale)
        trust.same = (struct save_id){.generation = 1, .step = 3};
    check.row.content = hash_128(&s->content[rank], 1);
    assert_int_equal(writelist_build(&e, 1, CHUNK_BYTES_MIN, &list), 0);
    r.list = &list;
    assert_int_equal(manifest_add_rank(b, &r, &err), 0);
    writelist_free(&list);
}

static void *vote_of(const struct test_daemon *d, const struct says *s,
                     size_t *bytes)
{
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = 2,
                                 .chunk_bytes = CHUNK_BYTES_MIN,
                                 .run = d->run->catalog.uuid,
                                 .daemon = d->t->env.local_uuid,
                                 .id = first};
    struct manifest_builder *b = manifest_builder_new();
    struct layout none = {0};
    struct err err = {0};
    void *data;

    for (uint32_t rank = 0; rank < 2; rank++)
        add_rank(b, d, s, rank);
    if (manifest_write(b, &info, &none, &data, bytes, &err))
        fail_msg("%s", err.text);
    manifest_builder_free(b);
    return data;
}

/* Two ranks in one daemon. */
static struct test_daemon *both_here(struct test_world *w)
{
    struct test_daemon *d = test_attached(w, "a");

    for (uint32_t rank = 0; rank < 2; rank++)
        assert_int_equal(test_enter(d, "t", rank, 2), 1);
    return d;
}

static uint32_t save(struct test_daemon *d, const struct says *s, uint64_t nth,
                     struct test_commit *v)
{
    size_t bytes;
    void *vote;

    *v = (struct test_commit){0};
    test_commit_begin(d, 5, v);
    (void)test_run(d->t->world, 100, NULL, NULL);
    assert_true(v->is_opened);
    vote = vote_of(d, s, &bytes);
    if (nth)
        failnth_arm(FAILNTH_MEMORY, nth, false);
    (void)failnth_cross(true);
    commit_vote(v->c, vote, bytes);
    (void)test_run(d->t->world, 10 * SECONDS, NULL, NULL);
    (void)failnth_cross(false);
    return v->decision;
}

static void what_was_found_is_told_or_refused(void **state)
{
    static const struct {
        struct says says;
        int code; /* 0: COMMIT */
        const char *words;
    } cases[] = {
        {{{'a', 'a'}, false, 0}, 0, ""},
        {{{0, 0}, false, 0}, 0, ""},
        {{{'a', 0}, false, 0}, 0, ""},
        {{{'a', 'b'}, false, 0}, 0, "replicas differ: "},
        {{{'a', 'a'}, true, 0}, 0, "stale: "},
        {{{'a', 'b'}, true, 0}, 0, "; replicas differ: "},
        {{{'a', 'b'}, true, MF_TRUST_FAIL_DIVERGENCE},
         -CKPT_EDIVERGED,
         "replicas differ: "},
        {{{'a', 'b'}, true, MF_TRUST_FAIL_STALE}, -CKPT_ESTALE, ""},
        {{{'a', 'a'}, false, MF_TRUST_FLAGS}, 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_world *w = test_world_new(1);
        struct test_daemon *d = both_here(w);
        struct test_commit v;
        uint32_t decision = save(d, &cases[i].says, 0, &v);

        assert_int_equal(decision,
                         cases[i].code ? DECISION_ABORT : DECISION_COMMIT);
        assert_int_equal(v.err.code, cases[i].code);
        if (!strstr(v.err.text, cases[i].words) ||
            (!cases[i].code && !cases[i].words[0] && v.err.text[0]))
            fail_msg("case %zu: %s", i, v.err.text);
        test_end(d);
    }
}

static bool without_memory(uint64_t nth)
{
    static const struct says says = {{'a', 'b'}, true, 0};
    int64_t before = failnth_live();
    struct test_world *w = test_world_new(nth);
    struct test_daemon *d;
    struct test_commit v;
    bool fired;

    w->cross = failnth_cross;
    d = both_here(w);
    (void)save(d, &says, nth, &v);
    fired = failnth->fired > 0;
    failnth_disarm();
    (void)test_run(w, 100 * SECONDS, NULL, NULL);
    assert_true(v.is_decided && v.told == 1);
    if (v.decision == DECISION_ABORT)
        assert_int_equal(v.err.code, -ENOMEM);
    test_end(d);
    assert_int_equal(failnth_live(), before);
    return fired;
}

static void every_block_of_the_judgement_may_be_lacking(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (without_memory(nth))
        nth++;
    print_message("%lu allocations failed\n", (unsigned long)nth - 1);
    assert_true(nth > 20);
}

/* Boxes are copied out of a manifest: into what the caller has, or not. */
static void a_region_needs_room_for_its_boxes(void **state)
{
    static const struct box box = {{0}, {20}};
    struct entry e = {.name = "w",
                      .geometry = {DTYPE_U8, 1, {20}},
                      .region = {.boxes = &box, .box_count = 1},
                      .replica_count = 1};
    struct built_chunk chunk = {.file_name = "seg/000001",
                                .offset = PAGE_BYTES,
                                .raw_bytes = 20,
                                .payload_bytes = 20};
    struct mf_trust trust = {0};
    struct built_rank r = {
        .entries = &e, .entry_count = 1, .chunks = &chunk, .trust = &trust};
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = 64,
                                 .chunk_bytes = CHUNK_BYTES_MIN,
                                 .id = first};
    struct manifest_builder *b = manifest_builder_new();
    struct layout none = {0};
    struct box *boxes = NULL;
    size_t capacity = 0, bytes;
    struct writelist list;
    struct region region;
    struct manifest m;
    struct err err;
    void *data;

    (void)state;
    assert_int_equal(writelist_build(&e, 1, CHUNK_BYTES_MIN, &list), 0);
    r.list = &list;
    for (uint32_t rank = 3; rank < 64; rank += 6) {
        r.rank = trust.rank = rank;
        assert_int_equal(manifest_add_rank(b, &r, &err), 0);
    }
    assert_int_equal(manifest_write(b, &info, &none, &data, &bytes, &err), 0);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    failnth_arm(FAILNTH_MEMORY, 1, false);
    (void)failnth_cross(true);
    assert_int_equal(manifest_region(&m, 0, &boxes, &capacity, &region),
                     -ENOMEM);
    (void)failnth_cross(false);
    failnth_disarm();
    assert_int_equal(manifest_region(&m, 0, &boxes, &capacity, &region), 0);
    assert_int_equal(region.boxes[0].size[0], 20);
    /* What each rank was asked to find out is found, and no other's. */
    for (uint32_t rank = 0; rank < 64; rank++) {
        const struct mf_trust *t = manifest_trust(&m, rank);

        if (rank % 6 == 3)
            assert_int_equal(t->rank, rank);
        else
            assert_null(t);
    }
    free(boxes);
    free(data);
    manifest_builder_free(b);
    writelist_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_found_is_told_or_refused),
        cmocka_unit_test(every_block_of_the_judgement_may_be_lacking),
        cmocka_unit_test(a_region_needs_room_for_its_boxes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
