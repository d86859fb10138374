/*
 * test_failnth_lost.c - recovery of saves whose votes, segments, members or
 * records are not what they should be, also without memory.
 */
#include "tests/failnth/failnth.h"
#include "tests/lib/media.h"
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
#define SEGMENT "seg/000001"

static const struct save_id first = {.generation = 1, .attempt = 1, .step = 5};
static const struct id128 segment = {{42}};
static struct segment_header header; /* of that segment */

static void plant_vote(struct test_world *w, const struct id128 *daemon,
                       void *data, size_t bytes)
{
    char path[RECORD_NAME_BYTES];

    assert_int_equal(
        test_put(w, name_save_daemon(path, TEST_RUN, "vote", &first, daemon),
                 data, bytes),
        0);
    free(data);
}

/* Rank 0's vote with one chunk, in a segment of this daemon's store. */
static void *vote_with_chunk(const struct test_daemon *d, size_t *bytes)
{
    struct entry e = {
        .name = "w", .geometry = {DTYPE_U8, 1, {100}}, .replica_count = 1};
    struct built_chunk chunk = {.segment = segment,
                                .segment_store = d->t->env.local_uuid,
                                .file_store = d->t->env.local_uuid,
                                .file_segment = segment,
                                .file_name = SEGMENT,
                                .offset = PAGE_BYTES,
                                .raw_bytes = 100,
                                .payload_bytes = 100};
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = 1,
                                 .chunk_bytes = CHUNK_BYTES_MIN,
                                 .run = d->run->catalog.uuid,
                                 .daemon = d->t->env.local_uuid,
                                 .id = first};
    struct built_rank rank = {.daemon = d->t->env.local_uuid,
                              .entries = &e,
                              .entry_count = 1,
                              .chunks = &chunk};
    struct manifest_builder *b = manifest_builder_new();
    struct layout none = {0};
    struct writelist list;
    struct err err;
    void *data;

    assert_int_equal(writelist_build(&e, 1, CHUNK_BYTES_MIN, &list), 0);
    rank.list = &list;
    assert_int_equal(manifest_add_rank(b, &rank, &err), 0);
    assert_int_equal(manifest_write(b, &info, &none, &data, bytes, &err), 0);
    manifest_builder_free(b);
    writelist_free(&list);
    return data;
}

/* A job of one rank whose daemon "a" was killed after this vote. */
static struct test_world *voted(struct test_daemon **d)
{
    struct test_world *w = test_world_new(1);
    size_t bytes;
    void *vote;

    *d = test_alone(w);
    vote = vote_with_chunk(*d, &bytes);
    header = (struct segment_header){.segment = segment,
                                     .store = (*d)->t->env.local_uuid,
                                     .run = (*d)->run->catalog.uuid,
                                     .save = first};
    test_plant_intent(w, &first, &(*d)->t->env.local_uuid);
    plant_vote(w, &(*d)->t->env.local_uuid, vote, bytes);
    test_daemon_kill(*d);
    return w;
}

static enum save_status status_of(const struct test_daemon *d)
{
    return catalog_status(&d->run->catalog, &first);
}

/* What the ABORT on record says; its code. */
static int reason_is(struct test_world *w, const char *words)
{
    uint8_t *data = aligned_alloc(64, RECORD_MAX_BYTES);
    char name[RECORD_NAME_BYTES];
    struct record_decision r;
    struct err err;
    int64_t got = test_get(w, name_save(name, TEST_RUN, "decision", &first),
                           data, RECORD_MAX_BYTES);

    assert_true(got > 0);
    assert_int_equal(record_decision_decode(data, (size_t)got, &r, &err), 0);
    assert_int_equal(r.decision, DECISION_ABORT);
    if (!strstr(r.reason, words))
        fail_msg("%s, not: %s", r.reason, words);
    free(data);
    return r.code;
}

/*
 * Segments.
 */

/* In this life: committed, and told of as lost. */
static void a_commit_without_its_segment_is_told_of(void **state)
{
    struct test_world *w = test_world_new(2);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {0};
    size_t bytes;
    void *vote;

    (void)state;
    test_commit_begin(d, 5, &v);
    (void)test_run(w, 100, NULL, NULL);
    vote = vote_with_chunk(d, &bytes);
    commit_vote(v.c, vote, bytes);
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_COMMIT);
    assert_true(test_env_logged(d->t, "is committed but cannot be loaded"));
    assert_true(catalog_find(&d->run->catalog, &first)->is_lost);
    test_end(d);
}

static void a_vote_without_its_segment_is_aborted_in_recovery(void **state)
{
    struct test_daemon *d;
    struct test_world *w = voted(&d);

    (void)state;
    d = test_attached(w, "a");
    (void)test_run(w, 10 * SECONDS, NULL, NULL);
    assert_int_equal(status_of(d), SAVE_ABORTED);
    (void)reason_is(w, "host a: ");
    test_end(d);
}

/* A dead writer still has the segment: nobody can tell yet what is in it. */
static struct store_seg *lock_segment(struct test_world *w, bool is_good)
{
    struct store *store = test_world_store(w, "local/a");
    uint64_t bytes = 16 * PAGE_BYTES;
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store_seg *seg =
        media_open(store, SEGMENT, STORE_SEG_WRITE | STORE_SEG_CREATE, &bytes);

    segment_header_encode(&header, page);
    if (!is_good)
        memset(page, 0, PAGE_BYTES);
    media_write(store, seg, 0, page);
    free(page);
    return seg;
}

static void unlock(struct test_world *w, struct store_seg *seg)
{
    media_close(test_world_store(w, "local/a"), seg);
}

static void a_segment_that_is_locked_is_judged_later(void **state)
{
    (void)state;
    for (int is_good = 0; is_good < 2; is_good++) {
        struct test_daemon *d;
        struct test_world *w = voted(&d);
        struct store_seg *seg = lock_segment(w, is_good);

        d = test_attached(w, "a");
        (void)test_run(w, 10 * SECONDS, NULL, NULL);
        assert_int_equal(status_of(d), SAVE_UNDECIDED);
        unlock(w, seg);
        (void)test_run(w, 40 * SECONDS, NULL, NULL);
        assert_int_equal(status_of(d), is_good ? SAVE_COMMITTED : SAVE_ABORTED);
        test_end(d);
    }
}

static void a_segment_that_stays_locked_is_not_waited_for_for_ever(void **state)
{
    struct test_daemon *d;
    struct test_world *w = voted(&d);
    struct store_seg *seg = lock_segment(w, true);

    (void)state;
    d = test_attached(w, "a");
    (void)test_run(w, 100 * SECONDS, NULL, NULL);
    assert_int_equal(status_of(d), SAVE_ABORTED);
    (void)reason_is(w, "it was not decided within");
    unlock(w, seg);
    test_end(d);
}

static bool judged_without_memory(uint64_t nth)
{
    int64_t before = failnth_live();
    struct test_daemon *d;
    struct test_world *w = voted(&d);
    struct store_seg *seg = lock_segment(w, true);
    bool fired;
    int rc;

    w->cross = failnth_cross;
    d = test_daemon_open(w, "a");
    failnth_arm(FAILNTH_MEMORY, nth, false);
    (void)failnth_cross(true);
    rc = test_attach(d, TEST_HOME, TEST_RUN);
    (void)test_run(w, 10 * SECONDS, NULL, NULL);
    (void)failnth_cross(false);
    unlock(w, seg);
    (void)failnth_cross(true);
    (void)test_run(w, 40 * SECONDS, NULL, NULL);
    (void)failnth_cross(false);
    fired = failnth->fired > 0;
    failnth_disarm();
    if (rc)
        assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
    (void)test_run(w, 40 * SECONDS, NULL, NULL);
    /* Memory that is short while votes are merged is a reason for ABORT. */
    if (status_of(d) == SAVE_ABORTED && fired)
        assert_int_equal(reason_is(w, ""), -ENOMEM);
    else
        assert_int_equal(status_of(d), SAVE_COMMITTED);
    test_end(d);
    assert_int_equal(failnth_live(), before);
    return fired;
}

static void judging_may_lack_each_block(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (judged_without_memory(nth))
        nth++;
    print_message("%lu allocations failed\n", (unsigned long)nth - 1);
    assert_true(nth > 20);
}

/*
 * Daemons without ranks.
 */

/* "b" has voted on a save of which it is no member. */
static void a_vote_of_no_member_commits_nothing(void **state)
{
    struct test_world *w = test_world_new(3);
    struct test_daemon *a = test_alone(w), *b = test_daemon_open(w, "b");
    size_t bytes;
    void *vote;

    (void)state;
    assert_int_equal(test_attach(b, TEST_HOME, TEST_RUN), 0);
    b->run->world_size = 1;
    vote = test_vote(b, &first, 0, 1, "same", &bytes);
    test_plant_intent(w, &first, &b->t->env.local_uuid);
    plant_vote(w, &b->t->env.local_uuid, vote, bytes);
    test_daemon_kill(b);
    b = test_attached(w, "b");
    (void)test_run(w, 5 * SECONDS, NULL, NULL);
    assert_int_equal(status_of(b), SAVE_UNDECIDED);
    vote = test_vote(a, &first, 0, 1, "same", &bytes);
    plant_vote(w, &a->t->env.local_uuid, vote, bytes);
    (void)test_run(w, 30 * SECONDS, NULL, NULL);
    assert_int_equal(status_of(b), SAVE_ABORTED);
    (void)reason_is(w, "rank 0 is there twice");
    test_daemon_close(a);
    test_daemon_close(b);
    test_world_free(w);
}

/* "b" comes back while "a" commits, and has nothing, or noise, for a vote. */
static void a_commit_of_others_is_followed_without_a_vote(void **state)
{
    (void)state;
    for (int has_noise = 0; has_noise < 2; has_noise++) {
        struct store_fault slow = {.op = STORE_GET,
                                   .name_part = "/vote/",
                                   .nth = 1,
                                   .delay_polls = 200};
        struct test_world *w = test_world_new(4);
        struct test_daemon *a = test_alone(w), *b;
        struct test_commit v = {.vote_at_once = true};
        struct id128 id;

        b = test_daemon_open(w, "b");
        id = b->t->env.local_uuid;
        test_plant_intent(w, &first, &id);
        if (has_noise)
            plant_vote(w, &id, calloc(1, 512), 512);
        b->t->fault[b->t->fault_count++] = slow;
        slow = (struct store_fault){.op = STORE_PUT,
                                    .name_part = "/decision/",
                                    .nth = 1,
                                    .delay_polls = 60};
        test_env_fail(a->t, TEST_HOME, &slow);
        test_commit_begin(a, 5, &v);
        assert_int_equal(test_attach(b, TEST_HOME, TEST_RUN), 0);
        (void)test_run(w, 10 * SECONDS, NULL, NULL);
        assert_int_equal(v.decision, DECISION_COMMIT);
        assert_int_equal(status_of(b), SAVE_COMMITTED);
        assert_int_equal(test_env_logged(b->t, "committed, but not noted yet"),
                         has_noise);
        test_daemon_close(a);
        test_daemon_close(b);
        test_world_free(w);
    }
}

/*
 * Records.
 */

static void an_own_vote_without_its_parts_aborts(void **state)
{
    struct record_parts parts = {
        .bytes = 3 * RECORD_PART_BYTES, .root = {{1}}, .part_count = 3};
    struct test_world *w = test_world_new(5);
    struct test_daemon *d = test_alone(w);
    char name[RECORD_NAME_BYTES];
    struct id128 id = d->t->env.local_uuid;
    struct wr r = {0};

    (void)state;
    test_plant_intent(w, &first, &id);
    record_parts_encode(&parts, &r);
    test_plant(w, name_save_daemon(name, TEST_RUN, "vote", &first, &id), &r);
    test_daemon_kill(d);
    d = test_attached(w, "a");
    assert_true(test_env_logged(d->t, "no space of this run is freed"));
    (void)test_run(w, 5 * SECONDS, NULL, NULL);
    assert_int_equal(status_of(d), SAVE_ABORTED);
    (void)reason_is(w, "vote of host a");
    test_end(d);
}

static void names_that_are_no_intents_are_passed_over(void **state)
{
    static const char *const leaf[] = {
        "noise", "00000001-00000000000000000005-0001",
        "00000001-00000000000000000005-0001.short",
        "00000001-00000000000000000005-0001.zz000000000000000000000000000000",
        "00000001-00000000000000000005-0001.00000000000000000000000000000001"};
    struct test_world *w = test_world_new(6);
    struct test_daemon *d = test_alone(w);
    char name[RECORD_NAME_BYTES], path[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(leaf); i++) {
        (void)snprintf(path, sizeof path, "intent/%s", leaf[i]);
        assert_int_equal(
            test_put(w, name_run(name, TEST_RUN, path), "noise", 5), 0);
    }
    test_daemon_kill(d);
    d = test_attached(w, "a");
    assert_true(list_is_empty(&d->run->commits));
    test_end(d);
}

static void an_intent_of_no_generation_is_damage(void **state)
{
    const struct save_id lost = {.generation = 7, .attempt = 1, .step = 5};
    struct test_world *w = test_world_new(7);
    struct test_daemon *d = test_alone(w);

    (void)state;
    test_plant_intent(w, &lost, &d->t->env.local_uuid);
    test_daemon_kill(d);
    d = test_attached(w, "a");
    assert_true(test_env_logged(d->t, "its generation has no record"));
    test_end(d);
}

/* The first of two that cannot be read is told of; later both can. */
static void votes_that_cannot_be_read_are_read_later(void **state)
{
    struct store_fault broken = {.op = STORE_GET,
                                 .name_part = "/vote/",
                                 .nth = 1,
                                 .persistent = true,
                                 .error = -EIO};
    struct save_id second = first;
    struct test_world *w = test_world_new(8);
    struct test_daemon *d = test_alone(w);
    struct id128 id = d->t->env.local_uuid;

    (void)state;
    second.step++;
    test_plant_intent(w, &first, &id);
    test_plant_intent(w, &second, &id);
    test_daemon_kill(d);
    d = test_daemon_open(w, "a");
    d->t->fault[d->t->fault_count++] = broken;
    assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
    assert_true(test_env_logged(d->t, "own vote: "));
    store_fault_clear(test_env_fault(d->t, TEST_HOME));
    (void)test_run(w, 30 * SECONDS, NULL, NULL);
    assert_int_equal(status_of(d), SAVE_ABORTED);
    test_end(d);
}

static void landed(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
}

/* An intent of an earlier life lands while this one begins. */
static void a_late_intent_is_recovered_or_not_seen(void **state)
{
    uint32_t recovered = 0;

    (void)state;
    for (uint32_t polls = 1; polls < 40; polls++) {
        struct store_fault slow = {.op = STORE_PUT,
                                   .name_part = "/intent/",
                                   .nth = 1,
                                   .delay_polls = polls};
        struct record_mark mark = {.id = first};
        struct test_world *w = test_world_new(0);
        struct test_daemon *d = test_alone(w), *b = test_daemon_open(w, "b");
        char name[RECORD_NAME_BYTES];
        struct store_req put = {.op = STORE_PUT, .done = landed};
        struct wr r = {0};

        assert_int_equal(test_attach(b, TEST_HOME, TEST_RUN), 0);
        mark.daemon = d->t->env.local_uuid;
        put.name =
            name_save_daemon(name, TEST_RUN, "intent", &first, &mark.daemon);
        record_mark_encode(RECORD_INTENT, &mark, &r);
        put.buf = r.data;
        put.len = r.bytes;
        test_env_fail(b->t, TEST_HOME, &slow);
        test_daemon_kill(d);
        d = test_daemon_open(w, "a");
        store_submit(test_env_fault(b->t, TEST_HOME), &put);
        assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
        (void)test_run(w, 20 * SECONDS, NULL, NULL);
        if (catalog_find(&d->run->catalog, &first)) {
            assert_int_equal(status_of(d), SAVE_ABORTED);
            recovered++;
        }
        wr_free(&r);
        test_daemon_close(d);
        test_daemon_close(b);
        test_world_free(w);
    }
    print_message("%u recovered\n", recovered);
    assert_true(recovered > 2 && recovered < 39);
}

static void attached(void *arg, int result, struct run *run,
                     const struct err *err)
{
    (void)run;
    (void)err;
    *(int *)arg = result;
}

/* On one save, or on two. */
static void a_daemon_may_end_while_it_reads_its_vote(void **state)
{
    struct save_id second = first;

    (void)state;
    second.step++;
    for (uint32_t more = 0; more < 2; more++) {
        struct store_fault slow = {.op = STORE_GET,
                                   .name_part = "/vote/",
                                   .nth = 1,
                                   .persistent = true,
                                   .delay_polls = 100000};
        struct test_daemon *d;
        struct test_world *w = voted(&d);
        int result = 1;

        if (more)
            test_plant_intent(w, &second, &header.store);
        d = test_daemon_open(w, "a");
        d->t->fault[d->t->fault_count++] = slow;
        run_attach(&d->engine, TEST_HOME, TEST_RUN, attached, &result);
        (void)test_run(w, 100, NULL, NULL);
        assert_int_equal(result, 1);
        test_daemon_kill(d);
        test_world_free(w);
    }
}

static void a_daemon_may_end_while_its_manifest_is_written(void **state)
{
    static char large[VALUE_INLINE_MAX];
    struct store_fault slow = {.op = STORE_PUT,
                               .name_part = "/manifest/",
                               .nth = 1,
                               .delay_polls = 100000};
    struct test_world *w = test_world_new(10);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {.vote_at_once = true, .value = large};

    (void)state;
    memset(large, 'v', sizeof large - 1);
    test_env_fail(d->t, TEST_HOME, &slow);
    test_commit_begin(d, 5, &v);
    (void)test_run(w, 100, NULL, NULL);
    assert_true(v.is_local && !v.is_decided);
    test_daemon_kill(d);
    assert_false(v.is_decided);
    test_world_free(w);
}

static void without_memory_a_commit_of_others_is_refused_later(void **state)
{
    static const struct store_fault broken = {
        .op = STORE_PUT, .name_part = "/intent/", .nth = 1, .error = -EIO};
    bool fired = true;

    (void)state;
    for (uint64_t nth = 1; fired; nth++) {
        struct record_decision commit = {.decision = DECISION_COMMIT,
                                         .id = first,
                                         .manifest_bytes = 8,
                                         .part_count = 1};
        struct test_world *w = test_world_new(nth);
        struct test_daemon *d = test_alone(w);
        struct test_commit v = {0};
        char name[RECORD_NAME_BYTES];
        struct wr r = {0};

        record_decision_encode(&commit, &r);
        test_plant(w, name_save(name, TEST_RUN, "decision", &first), &r);
        /* So that it is given up before anything of it is noted. */
        test_env_fail(d->t, TEST_HOME, &broken);
        test_commit_begin(d, 5, &v);
        failnth_arm(FAILNTH_MEMORY, nth, false);
        (void)failnth_cross(true);
        (void)test_run(w, 20 * SECONDS, NULL, NULL);
        (void)failnth_cross(false);
        fired = failnth->fired > 0;
        failnth_disarm();
        (void)test_run(w, 20 * SECONDS, NULL, NULL);
        assert_int_equal(v.told, 1);
        assert_int_equal(v.decision, DECISION_ABORT);
        assert_int_equal(status_of(d), SAVE_COMMITTED);
        test_end(d);
    }
}

/*
 * Removed meanwhile.
 */

static void what_was_removed_meanwhile_had_been_committed(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct record_tomb tomb = {.id = first};
        struct record_decision abort = {.decision = DECISION_ABORT,
                                        .id = first,
                                        .code = -ECANCELED,
                                        .reason = "too late"};
        struct test_world *w = test_world_new(9);
        struct test_daemon *d[2];
        struct test_commit v = {.vote_at_once = true};
        char name[RECORD_NAME_BYTES];
        struct wr r = {0};

        test_pair(w, d);
        test_commit_begin(d[0], 5, &v);
        (void)test_run(w, 100, NULL, NULL);
        assert_false(v.is_decided);
        record_tomb_encode(&tomb, &r);
        test_plant(w, name_save(name, TEST_RUN, "tomb", &first), &r);
        if (how) {
            r = (struct wr){0};
            record_decision_encode(&abort, &r);
            test_plant(w, name_save(name, TEST_RUN, "decision", &first), &r);
        }
        assert_int_equal(test_commit_wait(&v, 30 * SECONDS), DECISION_COMMIT);
        assert_int_equal(status_of(d[0]), SAVE_REMOVED);
        test_end_pair(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_without_its_segment_is_told_of),
        cmocka_unit_test(a_vote_without_its_segment_is_aborted_in_recovery),
        cmocka_unit_test(a_segment_that_is_locked_is_judged_later),
        cmocka_unit_test(
            a_segment_that_stays_locked_is_not_waited_for_for_ever),
        cmocka_unit_test(judging_may_lack_each_block),
        cmocka_unit_test(a_vote_of_no_member_commits_nothing),
        cmocka_unit_test(a_commit_of_others_is_followed_without_a_vote),
        cmocka_unit_test(an_own_vote_without_its_parts_aborts),
        cmocka_unit_test(names_that_are_no_intents_are_passed_over),
        cmocka_unit_test(an_intent_of_no_generation_is_damage),
        cmocka_unit_test(votes_that_cannot_be_read_are_read_later),
        cmocka_unit_test(a_late_intent_is_recovered_or_not_seen),
        cmocka_unit_test(a_daemon_may_end_while_it_reads_its_vote),
        cmocka_unit_test(a_daemon_may_end_while_its_manifest_is_written),
        cmocka_unit_test(without_memory_a_commit_of_others_is_refused_later),
        cmocka_unit_test(what_was_removed_meanwhile_had_been_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
