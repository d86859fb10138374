/*
 * test_failnth_commit.c - a commit, its recovery and the manifests that they
 * make, where memory runs out at every single place, where every request of
 * one of two daemons fails, and where a daemon ends at every turn.
 *
 * Whatever happens: the owner is told once, COMMIT or ABORT in words; both
 * daemons and a later life say the same; every block was freed.
 */
#include "tests/failnth/failnth.h"
#include "tests/lib/test_daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECONDS ((uint64_t)1000)

/* A value that makes the manifest too large to be inline. */
static const char *large_value(void)
{
    static char text[VALUE_INLINE_MAX];

    memset(text, 'v', sizeof text - 1);
    return text;
}

/* One or two daemons that save step 5. */
struct job {
    struct test_world *w;
    struct test_daemon *d[2];
    struct test_commit v[2];
    uint32_t count;
};

static void job_begin(struct job *j, uint32_t count, uint64_t seed)
{
    *j = (struct job){.w = test_world_new(seed), .count = count};
    j->w->cross = failnth_cross;
    if (count == 2)
        test_pair(j->w, j->d);
    else
        j->d[0] = test_alone(j->w);
    for (uint32_t i = 0; i < count; i++)
        j->v[i] = (struct test_commit){.vote_at_once = true, .first_rank = i};
}

static void job_save(struct job *j)
{
    for (uint32_t i = 0; i < j->count; i++)
        (void)test_commit_try(j->d[i], 5, &j->v[i]);
}

/* What was begun is decided, for all alike; the decision, 0 for none. */
static uint32_t job_outcome(struct job *j)
{
    uint32_t decision = 0;

    (void)test_run(j->w, 200 * SECONDS, NULL, NULL);
    for (uint32_t i = 0; i < j->count; i++) {
        const struct test_commit *v = &j->v[i];

        if (!v->d || (!v->c && !v->told)) /* there was no memory to begin */
            continue;
        assert_true(v->is_decided && v->told == 1);
        if (v->decision == DECISION_ABORT)
            assert_true(v->err.code < 0 && v->err.text[0] != '\0');
        if (decision)
            assert_int_equal(decision, v->decision);
        decision = v->decision;
    }
    return decision;
}

/* A later life of the daemons finds what was told, and goes on. */
static void job_later(struct job *j, uint32_t decision)
{
    static const char *const names[] = {"a", "b"};
    struct test_commit v;

    for (uint32_t i = 0; i < j->count; i++)
        test_daemon_close(j->d[i]);
    for (uint32_t i = 0; i < j->count; i++) {
        j->d[i] = test_daemon_open(j->w, names[i]);
        assert_int_equal(test_attach(j->d[i], TEST_HOME, TEST_RUN), 0);
    }
    (void)test_run(j->w, 200 * SECONDS, NULL, NULL);
    for (uint32_t i = 0; i < j->count; i++)
        assert_true(list_is_empty(&j->d[i]->run->commits));
    assert_int_equal(test_enter(j->d[0], "u", 0, 1), 2);
    if (decision)
        assert_int_equal(catalog_latest(&j->d[0]->run->catalog).step,
                         decision == DECISION_COMMIT ? 5 : 0);
    assert_int_equal(test_save(j->d[0], 6, &v), DECISION_COMMIT);
    for (uint32_t i = 0; i < j->count; i++)
        test_daemon_close(j->d[i]);
    test_world_free(j->w);
}

/*
 * Memory.
 */

/* False when N was too high for anything to fail. */
static void give_up(struct test_commit *v)
{
    commit_abort(v->c, -ENOSPC, "no room");
}

static bool without_memory(uint32_t count, int how, uint64_t nth)
{
    bool is_persistent = how == 2;
    int64_t before = failnth_live();
    struct job j;
    bool fired;

    job_begin(&j, count, nth);
    for (uint32_t i = 0; i < count; i++) {
        j.v[i].value = how == 1 ? large_value() : NULL;
        j.v[i].on_opened = how == 3 ? give_up : NULL;
    }
    failnth_arm(FAILNTH_MEMORY, nth, is_persistent);
    (void)failnth_cross(true);
    job_save(&j);
    (void)test_run(j.w, is_persistent ? SECONDS / 5 : 100 * SECONDS, NULL,
                   NULL);
    (void)failnth_cross(false);
    fired = failnth->fired > 0;
    failnth_disarm();
    job_later(&j, job_outcome(&j));
    assert_int_equal(failnth_live(), before);
    return fired;
}

static void every_allocation_of_a_commit_may_fail(void **state)
{
    uint64_t sum = 0;

    (void)state;
    for (int how = 0; how < 8; how++) {
        uint64_t nth = 1;

        while (without_memory((uint32_t)how % 2 + 1, how / 2, nth))
            nth++;
        sum += nth - 1;
    }
    print_message("%lu allocations failed\n", (unsigned long)sum);
    assert_true(sum > 300);
}

/* Killed after `turns`, and recovered without the Nth block. */
static bool recovered_without_memory(uint64_t turns, uint64_t nth)
{
    int64_t before = failnth_live();
    struct job j;
    bool fired;
    int rc;

    job_begin(&j, 2, turns);
    j.v[1].vote_at_once = turns % 4 == 0;
    job_save(&j);
    for (uint64_t i = 0; i < turns; i++)
        (void)test_run(j.w, 0, NULL, NULL);
    test_daemon_kill(j.d[0]);
    j.v[0].d = NULL;
    j.d[0] = test_daemon_open(j.w, "a");
    failnth_arm(FAILNTH_MEMORY, nth, false);
    (void)failnth_cross(true);
    rc = test_attach(j.d[0], TEST_HOME, TEST_RUN);
    (void)test_run(j.w, 5 * SECONDS, NULL, NULL);
    (void)failnth_cross(false);
    fired = failnth->fired > 0;
    failnth_disarm();
    if (rc) {
        assert_true(fired && j.d[0]->err.code < 0 && j.d[0]->err.text[0]);
        assert_int_equal(test_attach(j.d[0], TEST_HOME, TEST_RUN), 0);
    }
    job_later(&j, job_outcome(&j));
    assert_int_equal(failnth_live(), before);
    return fired;
}

static void every_allocation_of_a_recovery_may_fail(void **state)
{
    uint64_t sum = 0;

    (void)state;
    for (uint64_t turns = 2; turns < 32; turns += 2) {
        uint64_t nth = 1;

        while (recovered_without_memory(turns, nth))
            nth++;
        sum += nth - 1;
    }
    print_message("%lu allocations failed\n", (unsigned long)sum);
    assert_true(sum > 100);
}

/*
 * Requests.
 */

static bool with_failing_request(uint64_t nth, bool after, int error)
{
    struct store_fault fault = {.op = -1,
                                .name_part = "runs",
                                .nth = nth,
                                .after = after,
                                .error = error};
    struct store *store;
    struct job j;
    bool fired;

    job_begin(&j, 2, nth);
    store = test_env_fault(j.d[0]->t, TEST_HOME);
    assert_int_equal(store_fault_add(store, &fault), 0);
    job_save(&j);
    assert_int_not_equal(job_outcome(&j), 0);
    fired = store_fault_count(store) > 0;
    store_fault_clear(store);
    job_later(&j, j.v[0].decision);
    return fired;
}

static void every_request_of_one_of_two_may_fail(void **state)
{
    uint64_t sum = 0;

    (void)state;
    for (int how = 0; how < 4; how++) {
        uint64_t nth = 1;

        while (
            with_failing_request(nth, how & 1, how & 2 ? -CKPT_ECORRUPT : -EIO))
            nth++;
        sum += nth - 1;
    }
    print_message("%lu requests failed\n", (unsigned long)sum);
    assert_true(sum > 30);
}

/*
 * Ends.
 */

/* Both daemons end after so many turns; what they had under way ends without
 * them. */
static void end_after(uint64_t turns, struct job *j, bool is_killed)
{
    int64_t before = failnth_live();

    job_begin(j, j->count, turns);
    j->v[0].value = turns % 2 ? NULL : large_value();
    job_save(j);
    for (uint64_t i = 0; i < turns / 4; i++)
        (void)test_run(j->w, 0, NULL, NULL);
    for (uint32_t i = 0; i < j->count; i++) {
        if (is_killed)
            test_env_kill(j->d[i]->t);
        test_daemon_close(j->d[i]);
        j->d[i] = NULL;
    }
    job_later(j, j->v[0].is_decided ? j->v[0].decision : 0);
    assert_int_equal(failnth_live(), before);
}

static void a_daemon_may_end_at_every_turn(void **state)
{
    (void)state;
    for (uint64_t turns = 0; turns < 240; turns++)
        for (uint32_t count = 1; count <= 2; count++)
            for (int is_killed = 0; is_killed < 2; is_killed++)
                end_after(turns, &(struct job){.count = count}, is_killed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_a_commit_may_fail),
        cmocka_unit_test(every_allocation_of_a_recovery_may_fail),
        cmocka_unit_test(every_request_of_one_of_two_may_fail),
        cmocka_unit_test(a_daemon_may_end_at_every_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
