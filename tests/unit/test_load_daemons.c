/*
 * test_load_daemons.c - one job loads through two daemons that share a home:
 * one outcome for all its ranks, whatever happens to either daemon, and no wait
 * beyond the deadline.
 *
 * Ranks 0 and 2 are at daemon "a", 1 and 3 at "b"; each loads the tensors of
 * all ranks of its own daemon, since only those are in its store.
 */
#include "ckptd/engine/load.h"
#include "tests/lib/load_job.h"
#include "tests/lib/rig_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS 1500000
#define RANKS    4

struct job {
    struct rig_pair p;
    struct rig *saver[2];
    struct rig_load *l[RANKS];
    struct save_id id[JOB_STEPS];
};

static const struct rig_shape shape = {.world_size = RANKS,
                                       .slots = 6,
                                       .tensors = JOB_TENSORS,
                                       .tensor_bytes = JOB_TENSOR_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

static bool is_loaded(void *arg)
{
    struct job *j = arg;

    (void)rig_pair_pump(&j->p);
    for (int i = 0; i < 2; i++)
        if (j->p.g[i] && j->p.g[i]->engine && !rig_loads_done(j->p.g[i]))
            return false;
    return true;
}

static void wait_loaded(struct job *j)
{
    assert_true(test_run(j->p.world, LIMIT_MS, is_loaded, j));
}

static void start(struct job *j)
{
    rig_pair_start(&j->p);
    for (int i = 0; i < 2; i++)
        j->p.g[i]->has_shared_world = true;
}

static void wish(struct job *j)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        struct rig_want want[2 * JOB_TENSORS];

        for (uint32_t k = 0; k < ARRAY_LEN(want); k++)
            want[k] = (struct rig_want){.owner = i % 2 + k / JOB_TENSORS * 2,
                                        .tensor = k % JOB_TENSORS};
        rig_wish(j->p.r[i], 7, want, ARRAY_LEN(want), JOB_TENSOR_BYTES);
    }
}

/* Three steps are saved; both daemons start again, and the ranks join. */
static void begin(struct job *j, uint64_t seed)
{
    *j = (struct job){.p.world = test_world_new(seed)};
    start(j);
    rig_pair_join(&j->p, "saves", &shape);
    for (int s = 0; s < JOB_STEPS; s++) {
        for (int i = 0; i < RANKS; i++)
            j->p.v[i] =
                rig_save(j->p.r[i], 10 * ((uint64_t)s + 1), (uint64_t)s + 1, 0);
        rig_pair_decide(&j->p);
        assert_int_equal(j->p.v[0]->state, WIRE_STATE_COMMITTED);
        j->id[s] = j->p.v[0]->id;
    }
    for (int i = 0; i < 2; i++) {
        rig_end(j->p.g[i]);
        j->saver[i] = j->p.g[i];
    }
    start(j);
    rig_pair_join(&j->p, "loads", &shape);
    wish(j);
}

static void end(struct job *j)
{
    for (int i = 0; i < 2; i++) {
        rig_free(j->p.g[i]);
        rig_free(j->saver[i]);
    }
    test_world_free(j->p.world);
}

static void load_all(struct job *j)
{
    for (int i = 0; i < RANKS; i++)
        j->l[i] = j->p.r[i]->is_gone ? NULL : rig_load(j->p.r[i], NULL);
}

static void check(struct job *j, int step)
{
    for (int i = 0; i < RANKS; i++) {
        if (j->l[i]->code)
            (void)fprintf(stderr, "rank %d: %s\n", i, j->l[i]->text);
        assert_int_equal(j->l[i]->code, 0);
        assert_int_equal(save_id_compare(&j->l[i]->id, &j->id[step]), 0);
        rig_load_check(j->l[i], j->saver[i % 2], &j->id[step]);
    }
}

/* None of those that are left has loaded; each knows why. */
static void check_failed(struct job *j, const char *words)
{
    for (int i = 0; i < RANKS; i++) {
        if (!j->l[i] || j->p.r[i]->is_gone || !j->p.r[i]->rig->engine)
            continue;
        assert_true(j->l[i]->is_done && j->l[i]->code < 0);
        if (!strstr(j->l[i]->text, words))
            (void)fprintf(stderr, "rank %d: %s\n", i, j->l[i]->text);
        assert_non_null(strstr(j->l[i]->text, words));
    }
}

static void fail_reads(struct job *j, int daemon, uint64_t nth, bool persistent)
{
    struct store_fault fault = {.op = STORE_READ,
                                .name_part = "seg/",
                                .nth = nth,
                                .persistent = persistent,
                                .error = -EIO};

    test_env_fail(j->p.g[daemon]->daemon, "local", &fault);
}

static void both_load_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct job j;

        begin(&j, seed);
        for (int i = 0; i < 2; i++) {
            load_all(&j);
            wait_loaded(&j);
            check(&j, 2);
        }
        end(&j);
    }
}

static void both_fall_back_when_one_must(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct job j;

        begin(&j, seed);
        fail_reads(&j, (int)(seed % 2), 1 + seed / 2, false);
        if (seed % 3 == 0) /* and the other at the same time */
            fail_reads(&j, (int)(1 - seed % 2), 2, false);
        load_all(&j);
        wait_loaded(&j);
        check(&j, 1);
        assert_int_equal(j.l[0]->attempts, 2);
        assert_int_equal(j.l[1]->attempts, 2);
        load_all(&j);
        wait_loaded(&j);
        check(&j, 2);
        end(&j);
    }
}

static void a_wish_of_one_is_nobodys_fall_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct rig_want none = {.owner = 9};
        struct job j;

        begin(&j, seed);
        rig_wish(j.p.r[seed % RANKS], 7, &none, 1, JOB_TENSOR_BYTES);
        load_all(&j);
        wait_loaded(&j);
        check_failed(&j, "rank9.tensor0");
        assert_int_equal(j.l[0]->attempts, 1);
        assert_int_equal(j.l[1]->attempts, 1);
        wish(&j);
        load_all(&j);
        wait_loaded(&j);
        check(&j, 2);
        end(&j);
    }
}

static void a_death_at_one_fails_both(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) {
        uint64_t turns = seed * 7;
        struct job j;
        uint64_t before;
        bool failed;

        begin(&j, seed);
        load_all(&j);
        for (uint64_t i = 0; i < turns; i++)
            rig_pair_turn(&j.p, 0);
        if (j.l[seed % RANKS]->is_done) {
            end(&j);
            continue;
        }
        before = j.p.world->now_ns;
        rig_die(j.p.r[seed % RANKS]);
        wait_loaded(&j);
        assert_true(j.p.world->now_ns - before < (uint64_t)20 * 1000000000);
        /* One answer for those that are left. */
        failed = j.l[(seed + 1) % RANKS]->code != 0;
        for (uint64_t i = 1; i < RANKS; i++)
            assert_int_equal(j.l[(seed + i) % RANKS]->code != 0, failed);
        if (failed)
            check_failed(&j, "rank");
        end(&j);
    }
}

static void a_daemon_that_dies_is_named_at_the_deadline(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct job j;

        begin(&j, seed);
        j.l[1] = j.l[3] = NULL;
        load_all(&j);
        for (uint64_t i = 0; i < seed * 5; i++)
            rig_pair_turn(&j.p, 0);
        if (j.l[0]->is_done) {
            end(&j);
            continue;
        }
        rig_kill(j.p.g[1]);
        rig_end(j.p.g[1]);
        wait_loaded(&j);
        if (j.l[0]->code) /* else its vote was out before */
            check_failed(&j, "no vote of host b");
        else
            assert_int_equal(j.l[2]->code, 0);
        end(&j);
    }
}

/* Attempt 2 waits for the other daemon when its own ranks go: that is no
 * VERIFIED load, and what comes after stands on what it stood on before. */
static void a_load_that_its_ranks_left_is_not_verified(void **state)
{
    struct save_id latest;
    struct job j;

    (void)state;
    begin(&j, 3);
    fail_reads(&j, 0, 1, false);
    load_all(&j);
    j.l[1]->is_silent = j.l[3]->is_silent = true;
    rig_pair_turn(&j.p, 5000);
    assert_int_equal(j.l[0]->attempt, 2);
    assert_true(j.l[0]->is_delivered && !j.l[0]->is_done);
    rig_die(j.p.r[0]);
    rig_die(j.p.r[2]);
    rig_pair_turn(&j.p, 5000);
    latest = catalog_latest(&rig_the_run(j.p.g[0])->catalog);
    assert_int_equal(save_id_compare(&latest, &j.id[2]), 0);
    end(&j);
}

/* One daemon misses an attempt: its ranks ask only after the others have given
 * up. They find out, and the next load is good. */
static void who_missed_an_attempt_catches_up(void **state)
{
    struct job j;

    (void)state;
    begin(&j, 40);
    j.l[0] = rig_load(j.p.r[0], NULL);
    j.l[2] = rig_load(j.p.r[2], NULL);
    wait_loaded(&j);
    check_failed(&j, "no vote of host b");
    j.l[1] = rig_load(j.p.r[1], NULL);
    j.l[3] = rig_load(j.p.r[3], NULL);
    wait_loaded(&j);
    check_failed(&j, "no vote of host b");
    load_all(&j);
    wait_loaded(&j);
    check(&j, 2);
    end(&j);
}

/* The home fails one request of one daemon: the load may fail, on all. */
static void the_home_may_fail_once(void **state)
{
    uint32_t failed = 0;

    (void)state;
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct store_fault fault = {.op = -1, .nth = nth, .error = -EIO};
        struct job j;

        begin(&j, nth);
        fault.after = nth % 2;
        test_env_fail(j.p.g[0]->daemon, RIG_HOME, &fault);
        load_all(&j);
        wait_loaded(&j);
        for (int i = 1; i < RANKS; i++)
            assert_int_equal(j.l[0]->code != 0, j.l[i]->code != 0);
        failed += j.l[0]->code != 0;
        if (j.l[0]->code == 0)
            check(&j, (int)(j.l[0]->id.step / 10 - 1));
        store_fault_clear(test_env_fault(j.p.g[0]->daemon, RIG_HOME));
        load_all(&j);
        wait_loaded(&j);
        check(&j, 2);
        end(&j);
    }
    (void)fprintf(stderr, "%u of 39 loads failed\n", failed);
}

static void ends_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct job j;

        begin(&j, seed);
        load_all(&j);
        for (uint64_t i = 0; i < seed * 4; i++)
            rig_pair_turn(&j.p, 0);
        if (seed % 2)
            rig_kill(j.p.g[0]);
        end(&j); /* asserts that nothing is left, and that it does end */
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_load_the_same),
        cmocka_unit_test(both_fall_back_when_one_must),
        cmocka_unit_test(a_wish_of_one_is_nobodys_fall_back),
        cmocka_unit_test(a_death_at_one_fails_both),
        cmocka_unit_test(a_daemon_that_dies_is_named_at_the_deadline),
        cmocka_unit_test(a_load_that_its_ranks_left_is_not_verified),
        cmocka_unit_test(who_missed_an_attempt_catches_up),
        cmocka_unit_test(the_home_may_fail_once),
        cmocka_unit_test(ends_at_any_moment),
    };

    return cmocka_run_group_tests_name("load_daemons", tests, NULL, NULL);
}
