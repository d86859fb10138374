/*
 * test_load_ranks.c - a load is one outcome for all ranks, whatever one of them
 * does: it dies in any phase, has left, is late, says that it could not load.
 * Who was the cause is named, and nobody waits for more than the deadline.
 */
#include "ckptd/engine/load.h"
#include "tests/lib/load_job.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Where a load is when something happens to it. */
enum moment {
    ASKED,     /* others have yet to ask */
    PLANNING,  /* the manifest is being read */
    READING,   /* slots are held */
    VOTING,    /* everything is there, one vote is missing */
    RECORDING, /* all have voted */
    MOMENTS,
};

static bool is_delivered(void *arg)
{
    return ((struct rig_load *)arg)->is_delivered;
}

static bool has_slots(void *arg)
{
    return ((struct rig_load *)arg)->held_count > 0;
}

static bool has_fired(void *arg)
{
    return store_fault_count(arg) > 0;
}

/* Brings a load of ranks 0 to 2 to that moment. */
static void bring_to(struct load_job *j, enum moment moment)
{
    struct store_fault slow = {.op = moment == PLANNING ? STORE_GET : STORE_PUT,
                               .name_part =
                                   moment == PLANNING ? "decision/" : "load/",
                               .nth = 1,
                               .delay_polls = 50};

    if (moment == PLANNING || moment == RECORDING)
        test_env_fail(j->g->daemon, RIG_HOME, &slow);
    for (uint32_t i = 0; i < 3; i++) {
        j->l[i] = NULL;
        if (moment == ASKED && i == 2)
            continue;
        j->l[i] = rig_load(j->r[i], NULL);
        j->l[i]->is_holding = moment == READING && i == 1;
        j->l[i]->is_silent = moment == VOTING && i == 2;
    }
    if (moment == READING)
        assert_true(rig_run(j->g, JOB_LIMIT_MS, has_slots, j->l[1]));
    else if (moment == VOTING)
        assert_true(rig_run(j->g, JOB_LIMIT_MS, is_delivered, j->l[2]));
    else if (moment == ASKED)
        (void)rig_run(j->g, 100, NULL, NULL);
    else
        assert_true(rig_run(j->g, JOB_LIMIT_MS, has_fired,
                            test_env_fault(j->g->daemon, RIG_HOME)));
}

static void a_rank_that_dies_ends_the_load_for_all(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < MOMENTS * 6; i++) {
        enum moment moment = i % MOMENTS;
        uint32_t victim = i / MOMENTS % (moment == ASKED ? 2 : 3);
        struct load_job j;
        uint64_t before;

        load_job_save(&j, i, 2, 1);
        load_job_start(&j, 3, 4, i % 2);
        bring_to(&j, moment);
        before = j.g->world->now_ns;
        rig_die(j.r[victim]);
        load_job_finish(&j);
        assert_true(j.g->world->now_ns - before < (uint64_t)20 * 1000000000);
        if (moment == RECORDING) { /* it had voted: the record counts */
            assert_int_equal(j.l[(victim + 1) % 3]->code, 0);
            assert_int_equal(j.l[(victim + 2) % 3]->code, 0);
        } else {
            load_job_check_failed(&j, -ECONNRESET, "rank ");
        }
        load_job_end(&j);
    }
}

static void a_rank_that_left_is_not_waited_for(void **state)
{
    struct load_job j;
    uint64_t before;

    (void)state;
    load_job_save(&j, 20, 2, 1);
    load_job_start(&j, 3, 4, true);
    before = j.g->world->now_ns;
    j.l[0] = rig_load(j.r[0], NULL);
    (void)rig_run(j.g, 100, NULL, NULL);
    assert_false(j.l[0]->is_done);
    rig_die(j.r[2]); /* it never asked */
    load_job_finish(&j);
    load_job_check_failed(&j, -ECONNRESET, "rank 2 has left");
    j.l[0] = rig_load(j.r[0], NULL);
    j.l[1] = rig_load(j.r[1], NULL);
    load_job_finish(&j);
    load_job_check_failed(&j, -ECONNRESET, "rank 2 has left");
    assert_true(j.g->world->now_ns - before < (uint64_t)5 * 1000000000);
    load_job_end(&j);
}

/* Those who were told of it leave as well, and are not to blame. */
static void the_first_that_left_is_named(void **state)
{
    struct load_job j;

    (void)state;
    load_job_save(&j, 25, 2, 1);
    load_job_start(&j, 4, 4, true);
    rig_die(j.r[2]);
    j.l[0] = rig_load(j.r[0], NULL);
    load_job_finish(&j);
    load_job_check_failed(&j, -ECONNRESET, "rank 2 has left");
    rig_die(j.r[0]);
    (void)rig_run(j.g, 100, NULL, NULL);
    j.l[0] = NULL;
    j.l[1] = rig_load(j.r[1], NULL);
    load_job_finish(&j);
    load_job_check_failed(&j, -ECONNRESET, "rank 2 has left");
    j.l[3] = rig_load(j.r[3], NULL);
    load_job_finish(&j);
    load_job_check_failed(&j, -ECONNRESET, "rank 2 has left");
    load_job_end(&j);
}

static void who_is_late_is_named(void **state)
{
    struct load_job j;

    (void)state;
    load_job_save(&j, 21, 2, 1);
    load_job_start(&j, 3, 4, true);
    bring_to(&j, ASKED);
    assert_true(load_job_wait(&j));
    load_job_check_failed(&j, -ETIMEDOUT,
                          "only 2 of 3 ranks asked for it; waiting for ranks "
                          "2");
    bring_to(&j, VOTING);
    assert_true(load_job_wait(&j));
    load_job_check_failed(&j, -ETIMEDOUT, "waiting for ranks 2");
    bring_to(&j, READING);
    assert_true(load_job_wait(&j));
    load_job_check_failed(&j, -ETIMEDOUT, "waiting for ranks");
    load_job_check_quiet(&j);
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, 2);
    load_job_end(&j);
}

/* The deadline passes while the manifest is on its way. */
static void a_slow_home_is_no_danger(void **state)
{
    struct store_fault slow = {.op = STORE_GET,
                               .name_part = "decision/",
                               .nth = 1,
                               .delay_polls = 70000};
    struct load_job j;

    (void)state;
    load_job_save(&j, 22, 1, 1);
    load_job_start(&j, 2, 4, true);
    j.g->world->step_ns = 10000000;
    test_env_fail(j.g->daemon, RIG_HOME, &slow);
    load_job_load(&j);
    assert_true(load_job_wait(&j));
    load_job_check_failed(&j, -ETIMEDOUT, "no progress");
    load_job_check_quiet(&j);
    load_job_end(&j);
}

static void a_bad_vote_is_the_outcome(void **state)
{
    struct load_job j;

    (void)state;
    load_job_save(&j, 23, 2, 1);
    load_job_start(&j, 3, 4, true);
    bring_to(&j, VOTING);
    j.l[2]->vote = -EIO; /* of the rank, not of the checkpoint */
    rig_load_vote(j.l[2]);
    load_job_finish(&j);
    load_job_check_failed(&j, -EIO, "rank 2: so the test wants it");
    assert_int_equal(j.l[0]->attempts, 1);
    load_job_end(&j);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_that_dies_ends_the_load_for_all),
        cmocka_unit_test(a_rank_that_left_is_not_waited_for),
        cmocka_unit_test(the_first_that_left_is_named),
        cmocka_unit_test(who_is_late_is_named),
        cmocka_unit_test(a_slow_home_is_no_danger),
        cmocka_unit_test(a_bad_vote_is_the_outcome),
    };

    return cmocka_run_group_tests_name("load_ranks", tests, NULL, NULL);
}
