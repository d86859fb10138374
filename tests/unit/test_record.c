/*
 * test_record.c - records: what goes in comes out, every flipped bit and every
 * truncation is seen, forged bodies never overrun, versions are told by name.
 */
#include "formats/record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

static const struct layout dp2 = {.axis = {{"dp", 2}}, .axis_count = 1};
static const uint64_t manifest[40] = {1, 2, 3};

/* One encoded record of each kind. */
static void encode(enum record_kind kind, struct wr *w)
{
    static uint32_t ranks[3] = {4, 5, 9};
    struct record_mark mark = {
        .id = {1, 0, 7}, .created_unix_ms = 99, .note = "by hand"};

    switch (kind) {
    case RECORD_STORE:
        record_store_encode(&(struct record_store){.uuid.b = "store"}, w);
        break;
    case RECORD_RUN:
        record_run_encode(&(struct record_run){{"run"}, 1234}, w);
        break;
    case RECORD_GENERATION:
        record_generation_encode(
            &(struct record_generation){.generation = 3,
                                        .world_size = 2,
                                        .token = "slurm.77.0",
                                        .parent = {2, 1, 400},
                                        .keep_last = 5,
                                        .decide_timeout_ms = 600000,
                                        .layout = dp2},
            w);
        break;
    case RECORD_MEMBER:
        record_member_encode(
            &(struct record_member){{"daemon"}, "node7", 3, ranks}, w);
        break;
    case RECORD_DECISION:
        record_decision_encode(
            &(struct record_decision){.decision = DECISION_COMMIT,
                                      .id = {3, 0, 500},
                                      .reason = "odd",
                                      .rank_count = 2,
                                      .layout = dp2,
                                      .manifest_bytes = sizeof manifest,
                                      .inline_bytes = manifest},
            w);
        break;
    case RECORD_TOMB:
        record_tomb_encode(&(struct record_tomb){{3, 0, 500}, 7, "keep-last"},
                           w);
        break;
    case RECORD_LOAD:
        record_load_encode(
            &(struct record_load){{3, 0, 500}, LOAD_FAILED, -5, "rank 1", 2},
            w);
        break;
    case RECORD_PARTS:
        record_parts_encode(&(struct record_parts){1 << 30, {"root"}, 64}, w);
        break;
    case RECORD_CLOSED:
    case RECORD_INTENT:
    case RECORD_VERIFIED:
    case RECORD_PIN:
    case RECORD_LEASE:
    case RECORD_DAMAGED:
    case RECORD_SCRUBBED:
    case RECORD_REMOTE:
    case RECORD_DAMAGED_REMOTE:
        record_mark_encode(kind, &mark, w);
        break;
    }
}

/* Everything that a record of any kind decodes to. */
union decoded {
    struct record_store store;
    struct record_run run;
    struct record_generation generation;
    struct record_member member;
    struct record_decision decision;
    struct record_parts parts;
    struct record_tomb tomb;
    struct record_load load;
    struct record_mark mark;
};

static int decode(enum record_kind kind, const void *data, size_t bytes,
                  union decoded *v, struct err *err)
{
    int rc;

    switch (kind) {
    case RECORD_STORE:
        return record_store_decode(data, bytes, &v->store, err);
    case RECORD_RUN:
        return record_run_decode(data, bytes, &v->run, err);
    case RECORD_GENERATION:
        return record_generation_decode(data, bytes, &v->generation, err);
    case RECORD_MEMBER:
        rc = record_member_decode(data, bytes, &v->member, err);
        if (rc == 0)
            record_member_fini(&v->member);
        return rc;
    case RECORD_DECISION:
        return record_decision_decode(data, bytes, &v->decision, err);
    case RECORD_TOMB:
        return record_tomb_decode(data, bytes, &v->tomb, err);
    case RECORD_LOAD:
        return record_load_decode(data, bytes, &v->load, err);
    case RECORD_PARTS:
        return record_parts_decode(data, bytes, &v->parts, err);
    case RECORD_CLOSED:
    case RECORD_INTENT:
    case RECORD_VERIFIED:
    case RECORD_PIN:
    case RECORD_LEASE:
    case RECORD_DAMAGED:
    case RECORD_SCRUBBED:
    case RECORD_REMOTE:
    case RECORD_DAMAGED_REMOTE:
        return record_mark_decode(data, bytes, kind, &v->mark, err);
    }
    return -EINVAL;
}

/* Puts the digest right again after the bytes before it were changed. */
static void reseal(uint8_t *data, size_t bytes)
{
    struct digest digest = hash_128(data, bytes - 16);

    memcpy(data + bytes - 16, digest.b, 16);
}

static void every_kind_survives(void **state)
{
    (void)state;
    for (int kind = RECORD_STORE; kind <= RECORD_DAMAGED_REMOTE; kind++) {
        struct wr w = {0};
        union decoded v;
        struct err err;

        encode((enum record_kind)kind, &w);
        assert_false(w.failed);
        assert_true(record_is(w.data, w.bytes));
        assert_int_equal(
            decode((enum record_kind)kind, w.data, w.bytes, &v, &err), 0);
        wr_free(&w);
    }
}

static void fields_come_back_as_they_were(void **state)
{
    struct wr w = {0};
    union decoded v;
    struct err err;

    (void)state;
    encode(RECORD_GENERATION, &w);
    assert_int_equal(decode(RECORD_GENERATION, w.data, w.bytes, &v, &err), 0);
    assert_int_equal(v.generation.generation, 3);
    assert_string_equal(v.generation.token, "slurm.77.0");
    assert_true(v.generation.parent.step == 400);
    assert_true(layout_equal(&v.generation.layout, &dp2));
    w.bytes = 0;
    encode(RECORD_MEMBER, &w);
    assert_int_equal(record_member_decode(w.data, w.bytes, &v.member, &err), 0);
    assert_string_equal(v.member.host, "node7");
    assert_int_equal(v.member.rank_count, 3);
    assert_int_equal(v.member.rank[2], 9);
    record_member_fini(&v.member);
    w.bytes = 0;
    encode(RECORD_LOAD, &w);
    assert_int_equal(decode(RECORD_LOAD, w.data, w.bytes, &v, &err), 0);
    assert_int_equal(v.load.code, -5);
    assert_string_equal(v.load.reason, "rank 1");
    wr_free(&w);
}

static void an_inline_manifest_is_aligned_in_place(void **state)
{
    (void)state;
    for (size_t length = 0; length < 9; length++) {
        struct record_decision d = {.decision = DECISION_COMMIT,
                                    .id = {1, 0, 1},
                                    .layout = dp2,
                                    .manifest_bytes = sizeof manifest,
                                    .inline_bytes = manifest},
                               got;
        struct wr w = {0};
        struct err err;

        memset(d.reason, 'r', length);
        record_decision_encode(&d, &w);
        assert_int_equal(record_decision_decode(w.data, w.bytes, &got, &err),
                         0);
        assert_int_equal(((const uint8_t *)got.inline_bytes - w.data) % 8, 0);
        assert_memory_equal(got.inline_bytes, manifest, sizeof manifest);
        wr_free(&w);
    }
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    for (int kind = RECORD_STORE; kind <= RECORD_DAMAGED_REMOTE; kind++) {
        struct wr w = {0};
        union decoded v;
        struct err err;

        encode((enum record_kind)kind, &w);
        for (size_t bit = 0; bit < w.bytes * 8; bit++) {
            w.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (decode((enum record_kind)kind, w.data, w.bytes, &v, &err) !=
                -CKPT_ECORRUPT)
                fail_msg("kind %d: bit %zu passed", kind, bit);
            w.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        wr_free(&w);
    }
}

static void every_truncation_is_seen(void **state)
{
    (void)state;
    for (int kind = RECORD_STORE; kind <= RECORD_DAMAGED_REMOTE; kind++) {
        struct wr w = {0};
        union decoded v;
        struct err err;

        encode((enum record_kind)kind, &w);
        for (size_t bytes = 0; bytes < w.bytes; bytes++) {
            uint8_t *part = malloc(bytes ? bytes : 1);

            memcpy(part, w.data, bytes);
            assert_int_equal(
                decode((enum record_kind)kind, part, bytes, &v, &err),
                -CKPT_ECORRUPT);
            free(part);
        }
        wr_free(&w);
    }
}

static void forged_bodies_never_overrun(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (int i = 0; i < 40000; i++) {
        enum record_kind kind =
            (enum record_kind)(RECORD_STORE + i % RECORD_PARTS);
        struct wr w = {0};
        union decoded v;
        struct err err;
        uint8_t *copy;

        encode(kind, &w);
        copy = malloc(w.bytes);
        memcpy(copy, w.data, w.bytes);
        for (int k = 0; k < 3; k++) {
            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            copy[32 + (random >> 33) % (w.bytes - 32)] =
                (uint8_t)(random >> 17);
        }
        reseal(copy, w.bytes);
        (void)!decode(kind, copy, w.bytes, &v, &err);
        free(copy);
        wr_free(&w);
    }
}

static void other_versions_and_kinds_are_told_by_name(void **state)
{
    struct wr w = {0};
    union decoded v;
    struct err err;

    (void)state;
    encode(RECORD_TOMB, &w);
    assert_int_equal(decode(RECORD_DECISION, w.data, w.bytes, &v, &err),
                     -EBADMSG);
    assert_non_null(strstr(err.text, "tomb"));
    w.data[12] = 9;
    reseal(w.data, w.bytes);
    assert_int_equal(decode(RECORD_TOMB, w.data, w.bytes, &v, &err),
                     -CKPT_EVERSION);
    assert_non_null(strstr(err.text, "tomb record: version 9"));
    wr_free(&w);
}

/* What an older build can read is written as it would. */
static void a_generation_has_two_versions(void **state)
{
    struct record_generation g = {
        .generation = 3, .world_size = 2, .token = "t", .layout = dp2};
    struct record_generation seen;
    struct err err;
    struct wr w = {0};

    (void)state;
    record_generation_encode(&g, &w);
    assert_int_equal(get_u32(w.data + 12), 1);
    seen.remote_every = 9;
    assert_int_equal(record_generation_decode(w.data, w.bytes, &seen, &err), 0);
    assert_int_equal(seen.remote_every, 0);
    w.data[12] = 2; /* which has two numbers more */
    reseal(w.data, w.bytes);
    assert_int_equal(record_generation_decode(w.data, w.bytes, &seen, &err),
                     -CKPT_ECORRUPT);
    wr_free(&w);

    g.remote_every = 250;
    g.local_last = 3;
    record_generation_encode(&g, &w);
    assert_int_equal(get_u32(w.data + 12), 2);
    assert_int_equal(record_generation_decode(w.data, w.bytes, &seen, &err), 0);
    assert_int_equal(seen.remote_every, 250);
    assert_int_equal(seen.local_last, 3);
    assert_string_equal(seen.token, "t");
    memset(w.data + w.bytes - 24, 0, 8); /* none is said by version 1 */
    reseal(w.data, w.bytes);
    assert_int_equal(record_generation_decode(w.data, w.bytes, &seen, &err),
                     -CKPT_ECORRUPT);
    wr_free(&w);
}

static void a_decision_must_make_sense(void **state)
{
    struct record_decision d = {.decision = DECISION_ABORT,
                                .id = {1, 0, 1},
                                .code = -CKPT_EABORTED},
                           got;
    struct wr w = {0};
    struct err err;

    (void)state;
    record_decision_encode(&d, &w);
    assert_int_equal(record_decision_decode(w.data, w.bytes, &got, &err), 0);
    assert_null(got.inline_bytes);
    d.code = 0;
    w.bytes = 0;
    record_decision_encode(&d, &w);
    assert_int_equal(record_decision_decode(w.data, w.bytes, &got, &err),
                     -CKPT_ECORRUPT);
    d.decision = 3;
    w.bytes = 0;
    record_decision_encode(&d, &w);
    assert_int_equal(record_decision_decode(w.data, w.bytes, &got, &err),
                     -CKPT_ECORRUPT);
    d = (struct record_decision){.decision = DECISION_COMMIT, .id = {1, 0, 1}};
    w.bytes = 0;
    record_decision_encode(&d, &w);
    assert_int_equal(record_decision_decode(w.data, w.bytes, &got, &err),
                     -CKPT_ECORRUPT);
    wr_free(&w);
}

static void the_room_for_an_inline_manifest_is_exact(void **state)
{
    struct record_decision d = {.decision = DECISION_COMMIT,
                                .id = {1, 0, 1},
                                .reason = "why",
                                .layout = dp2};
    uint64_t room = record_decision_room(&d);
    void *bytes = calloc(1, room + 1);
    struct wr w = {0};

    (void)state;
    d.manifest_bytes = room;
    d.inline_bytes = bytes;
    record_decision_encode(&d, &w);
    assert_false(w.failed);
    assert_int_equal(w.bytes, RECORD_MAX_BYTES);
    w.bytes = 0;
    d.manifest_bytes = room + 1;
    record_decision_encode(&d, &w);
    assert_true(w.failed);
    wr_free(&w);
    free(bytes);
}

static void names_are_as_documented(void **state)
{
    struct id128 daemon = {{0xab, 0xcd}};
    struct save_id id = {2, 1, 500};
    char out[RECORD_NAME_BYTES], run[RUN_NAME_MAX + 1];

    (void)state;
#define SAVE   "00000002-00000000000000000500-0001"
#define DAEMON "abcd0000000000000000000000000000"
    assert_string_equal(name_run(out, "r", "RUN"), "runs/r/RUN");
    assert_string_equal(name_gen(out, "r", "closed", 7),
                        "runs/r/closed/00000007");
    assert_string_equal(name_member(out, "r", 7, &daemon, 3),
                        "runs/r/member/00000007." DAEMON ".3");
    assert_string_equal(name_save(out, "r", "tomb", &id), "runs/r/tomb/" SAVE);
    assert_string_equal(name_save_daemon(out, "r", "vote", &id, &daemon),
                        "runs/r/vote/" SAVE "." DAEMON);
    assert_string_equal(name_part(out, "r", "manifest", &id, &daemon, 12),
                        "runs/r/manifest/" SAVE "." DAEMON ".12");
    assert_string_equal(name_load(out, "r", 2, 4, NULL),
                        "runs/r/load/00000002.4");
    assert_string_equal(name_load(out, "r", 2, 4, &daemon),
                        "runs/r/load/00000002.4." DAEMON);
    memset(run, 'x', RUN_NAME_MAX);
    run[RUN_NAME_MAX] = '\0';
    id = (struct save_id){UINT32_MAX, UINT32_MAX, UINT64_MAX};
    (void)name_part(out, run, "manifest", &id, &daemon, UINT32_MAX);
    assert_true(strlen(out) < RECORD_NAME_BYTES);
}

static void only_plain_run_names_are_good(void **state)
{
    char name[RUN_NAME_MAX + 2];

    (void)state;
    assert_true(run_name_is_good("llama-70b_v1.2"));
    assert_false(run_name_is_good(""));
    assert_false(run_name_is_good("."));
    assert_false(run_name_is_good(".."));
    assert_false(run_name_is_good(".hidden"));
    assert_false(run_name_is_good("a/b"));
    assert_false(run_name_is_good("a b"));
    assert_false(run_name_is_good("\xc3\xa4"));
    memset(name, 'a', sizeof name);
    name[RUN_NAME_MAX + 1] = '\0';
    assert_false(run_name_is_good(name));
    name[RUN_NAME_MAX] = '\0';
    assert_true(run_name_is_good(name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_survives),
        cmocka_unit_test(fields_come_back_as_they_were),
        cmocka_unit_test(an_inline_manifest_is_aligned_in_place),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(every_truncation_is_seen),
        cmocka_unit_test(forged_bodies_never_overrun),
        cmocka_unit_test(other_versions_and_kinds_are_told_by_name),
        cmocka_unit_test(a_generation_has_two_versions),
        cmocka_unit_test(a_decision_must_make_sense),
        cmocka_unit_test(the_room_for_an_inline_manifest_is_exact),
        cmocka_unit_test(names_are_as_documented),
        cmocka_unit_test(only_plain_run_names_are_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
