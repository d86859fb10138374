/*
 * test_commit_recover.c - commits over the death of a daemon and over failures
 * of the store: what the home says is what everybody finds.
 */
#include "tests/lib/test_daemon.h"

#include "formats/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECONDS ((uint64_t)1000)

static const struct save_id first = {.generation = 1, .attempt = 1, .step = 5};

/*
 * Recovery.
 */

static void killed_before_the_vote_is_aborted_after_it_goes_on(void **state)
{
    uint32_t commits = 0, aborts = 0, unknown = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d = test_alone(w);
        struct test_commit v = {.vote_at_once = true};
        char vote[RECORD_NAME_BYTES], intent[RECORD_NAME_BYTES];
        const struct id128 *me = &d->t->env.local_uuid;
        const struct catalog_save *s;
        uint64_t turns = test_random(w) % 12;
        bool voted, begun;

        (void)name_save_daemon(vote, TEST_RUN, "vote", &first, me);
        (void)name_save_daemon(intent, TEST_RUN, "intent", &first, me);
        test_commit_begin(d, 5, &v);
        for (uint64_t i = 0; i < turns; i++)
            (void)test_run(w, 0, NULL, NULL);
        test_daemon_kill(d);
        voted = test_has(w, vote);
        begun = test_has(w, intent);
        d = test_attached(w, "a");
        (void)test_run(w, 5 * SECONDS, NULL, NULL);
        s = catalog_find(&d->run->catalog, &first);
        if (!begun)
            assert_null(s);
        else
            assert_int_equal(s->status, voted ? SAVE_COMMITTED : SAVE_ABORTED);
        commits += voted;
        aborts += begun && !voted;
        unknown += !begun;
        assert_true(list_is_empty(&d->run->commits));
        /* The job starts anew, from what was committed. */
        assert_int_equal(test_enter(d, "u", 0, 1), 2);
        assert_int_equal(catalog_newest(&d->run->catalog)->record.parent.step,
                         voted ? 5 : 0);
        test_end(d);
    }
    print_message("%u committed, %u aborted, %u not begun\n", commits, aborts,
                  unknown);
    assert_true(commits > 20 && aborts > 20 && unknown > 5);
}

static void a_save_that_others_decided_is_followed_in_recovery(void **state)
{
    struct test_world *w = test_world_new(20);
    struct test_daemon *d[2];
    struct test_commit v[2];

    (void)state;
    test_pair(w, d);
    test_begin_pair(d, 5, v);
    assert_true(test_run(w, 30 * SECONDS, test_both_voted, v));
    test_daemon_kill(d[1]);
    d[1] = test_attached(w, "b");
    (void)test_run(w, 30 * SECONDS, NULL, NULL);
    assert_int_equal(catalog_find(&d[0]->run->catalog, &first)->status,
                     SAVE_COMMITTED);
    assert_int_equal(catalog_find(&d[1]->run->catalog, &first)->status,
                     SAVE_COMMITTED);
    test_end_pair(d);
}

/* A value that makes the manifest too large to be inline. */
static const char *large_value(void)
{
    static char text[VALUE_INLINE_MAX];

    memset(text, 'v', sizeof text - 1);
    return text;
}

static void a_large_manifest_is_durable_before_its_decision(void **state)
{
    uint32_t commits = 0, parts_first = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d = test_alone(w);
        struct test_commit v = {.vote_at_once = true, .value = large_value()};
        char part[RECORD_NAME_BYTES], decision[RECORD_NAME_BYTES];
        bool has_part, has_decision;

        (void)name_part(part, TEST_RUN, "manifest", &first,
                        &d->t->env.local_uuid, 0);
        (void)name_save(decision, TEST_RUN, "decision", &first);
        test_commit_begin(d, 5, &v);
        for (uint64_t i = 0; i < seed % 15; i++)
            (void)test_run(w, 0, NULL, NULL);
        test_daemon_kill(d);
        has_part = test_has(w, part);
        has_decision = test_has(w, decision);
        assert_true(has_part || !has_decision);
        parts_first += has_part && !has_decision;
        /* The next life writes the same bytes, and reads what is there. */
        d = test_attached(w, "a");
        (void)test_run(w, 5 * SECONDS, NULL, NULL);
        if (has_part)
            assert_int_equal(catalog_find(&d->run->catalog, &first)->status,
                             SAVE_COMMITTED);
        commits += has_decision;
        test_daemon_close(d);
        d = test_attached(w, "a");
        assert_false(test_env_logged(d->t, "cannot be read"));
        test_end(d);
    }
    print_message("%u committed, %u with parts alone\n", commits, parts_first);
    assert_true(commits > 10 && parts_first > 2);
}

/*
 * Failures of the store.
 */

/* Every n-th request of this kind fails once, before or after its effect: the
 * outcome is typed and what the record says. True while n is within reach. */
static bool fail_nth(int op, uint64_t nth, unsigned how)
{
    struct test_world *w = test_world_new(nth * 31 + (uint64_t)op);
    struct test_daemon *d = test_alone(w);
    struct store_fault fault = {.op = op,
                                .name_part = "runs",
                                .nth = nth,
                                .after = how & 1,
                                .persistent = how & 2,
                                .error = -EIO};
    struct store *store = test_env_fault(d->t, TEST_HOME);
    struct test_commit v = {.vote_at_once = true,
                            .value = how & 4 ? large_value() : NULL};
    uint32_t told;
    bool fired;

    assert_int_equal(store_fault_add(store, &fault), 0);
    test_commit_begin(d, 5, &v);
    (void)test_commit_wait(&v, 30 * SECONDS);
    fired = store_fault_count(store) > 0;
    if (!(how & 2) || !fired)
        assert_true(v.is_decided);
    if (v.is_decided && v.decision == DECISION_ABORT)
        assert_true(v.err.code < 0 && v.err.text[0] != '\0');
    if (!fired)
        assert_int_equal(v.decision, DECISION_COMMIT);
    store_fault_clear(store);
    (void)test_run(w, 100 * SECONDS, NULL, NULL);
    assert_true(v.is_decided && v.told == 1);
    told = v.decision;
    test_daemon_kill(d);
    /* A later life sees the same. */
    d = test_attached(w, "a");
    (void)test_run(w, 5 * SECONDS, NULL, NULL);
    assert_int_equal(test_enter(d, "u", 0, 1), 2);
    assert_int_equal(catalog_latest(&d->run->catalog).step,
                     told == DECISION_COMMIT ? 5 : 0);
    assert_int_equal(test_save(d, 6, &v), DECISION_COMMIT);
    test_end(d);
    return fired;
}

static void every_failing_request_has_a_typed_outcome(void **state)
{
    static const int ops[] = {STORE_PUT, STORE_STAT, STORE_GET, STORE_LIST, -1};
    uint32_t cases = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        for (unsigned how = 0; how < 8; how++) {
            uint64_t nth = 1;

            while (fail_nth(ops[i], nth, how))
                nth++;
            cases += (uint32_t)nth - 1;
        }
    }
    print_message("%u failures\n", cases);
    assert_true(cases >= 40);
}

/* Two daemons, one of which sees failures: still one outcome for both. */
static void failures_at_one_of_two_leave_one_outcome(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d[2];
        struct test_commit v[2];
        struct store_fault fault = {.op = -1,
                                    .name_part = "runs",
                                    .nth = 1 + test_random(w) % 12,
                                    .after = test_random(w) % 2,
                                    .persistent = test_random(w) % 2,
                                    .error = -EIO};
        struct store *store;

        test_pair(w, d);
        store = test_env_fault(d[0]->t, TEST_HOME);
        assert_int_equal(store_fault_add(store, &fault), 0);
        test_begin_pair(d, 5, v);
        (void)test_run(w, 10 * SECONDS, NULL, NULL);
        store_fault_clear(store);
        assert_int_not_equal(test_commit_wait(&v[0], 90 * SECONDS), 0);
        assert_int_not_equal(test_commit_wait(&v[1], 90 * SECONDS), 0);
        assert_int_equal(v[0].decision, v[1].decision);
        test_end_pair(d);
    }
}

/* Who cannot find out whether the attempt was aborted aborts it: the others
 * must not wait for its vote until the deadline. */
static void who_cannot_begin_says_so_on_record(void **state)
{
    struct store_fault fault = {.op = STORE_GET,
                                .name_part = "decision",
                                .nth = 1,
                                .persistent = true,
                                .error = -EIO};
    struct test_world *w = test_world_new(40);
    struct test_daemon *d[2];
    struct test_commit v[2];

    (void)state;
    test_pair(w, d);
    test_env_fail(d[0]->t, TEST_HOME, &fault);
    test_begin_pair(d, 5, v);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(test_commit_wait(&v[i], 5 * SECONDS), DECISION_ABORT);
        assert_int_equal(v[i].err.code, -EIO);
        assert_non_null(strstr(v[i].err.text, "host a cannot read"));
    }
    test_end_pair(d);
}

static void attempts_end_at_the_last_name(void **state)
{
    struct test_world *w = test_world_new(41);
    struct test_daemon *d = test_alone(w);
    struct catalog_save aborted = {
        .id = {.generation = 1, .step = 5, .attempt = SAVE_ATTEMPT_MAX - 1},
        .status = SAVE_ABORTED};
    struct test_commit v = {.vote_at_once = true};

    (void)state;
    assert_int_equal(catalog_note_save(&d->run->catalog, &aborted, ""), 0);
    test_commit_begin(d, 5, &v);
    assert_int_equal(test_commit_wait(&v, 5 * SECONDS), DECISION_COMMIT);
    assert_int_equal(v.id.attempt, SAVE_ATTEMPT_MAX);
    aborted.id.step = 6;
    aborted.id.attempt = SAVE_ATTEMPT_MAX;
    assert_int_equal(catalog_note_save(&d->run->catalog, &aborted, ""), 0);
    v = (struct test_commit){.vote_at_once = true};
    test_commit_begin(d, 6, &v);
    assert_int_equal(test_commit_wait(&v, 5 * SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -EOVERFLOW);
    assert_int_equal(test_save(d, 7, &v), DECISION_COMMIT);
    test_end(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_before_the_vote_is_aborted_after_it_goes_on),
        cmocka_unit_test(a_save_that_others_decided_is_followed_in_recovery),
        cmocka_unit_test(a_large_manifest_is_durable_before_its_decision),
        cmocka_unit_test(every_failing_request_has_a_typed_outcome),
        cmocka_unit_test(failures_at_one_of_two_leave_one_outcome),
        cmocka_unit_test(who_cannot_begin_says_so_on_record),
        cmocka_unit_test(attempts_end_at_the_last_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
