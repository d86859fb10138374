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

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS 1500000
#define RANKS    4

struct pair {
    struct test_world *world;
    struct rig *saver[2], *g[2];
    struct rig_rank *r[RANKS];
    struct rig_load *l[RANKS];
    struct save_id id[JOB_STEPS];
};

static bool pump(void *arg)
{
    struct pair *p = arg;

    for (int i = 0; i < 2; i++)
        if (p->g[i] && p->g[i]->engine)
            rig_pump(p->g[i]);
    return false;
}

static bool is_joined(void *arg)
{
    struct pair *p = arg;

    (void)pump(p);
    for (int i = 0; i < RANKS; i++)
        if (!rig_joined(p->r[i]) && !p->r[i]->error)
            return false;
    return true;
}

static bool is_decided(void *arg)
{
    struct pair *p = arg;

    (void)pump(p);
    return rig_all_decided(p->g[0]) && rig_all_decided(p->g[1]);
}

static bool is_loaded(void *arg)
{
    struct pair *p = arg;

    (void)pump(p);
    for (int i = 0; i < 2; i++)
        if (p->g[i] && p->g[i]->engine && !rig_loads_done(p->g[i]))
            return false;
    return true;
}

static bool turn(struct pair *p, uint64_t ms, test_until until)
{
    return test_run(p->world, ms, until ? until : pump, p);
}

static void join(struct pair *p, const char *token)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        p->r[i] = rig_rank_new(p->g[i % 2], i, RANKS);
        rig_open(p->r[i], token);
    }
    (void)turn(p, 60000, is_joined);
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_true(rig_joined(p->r[i]));
        rig_arena(p->r[i], 6);
        rig_table(p->r[i], 1, JOB_TENSORS, JOB_TENSOR_BYTES);
    }
    (void)turn(p, 50, NULL);
}

static void start(struct pair *p)
{
    static const char *const names[] = {"a", "b"};

    for (int i = 0; i < 2; i++) {
        p->g[i] = rig_new_in(p->world, names[i]);
        p->g[i]->has_shared_world = true;
    }
}

static void wish(struct pair *p)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        struct rig_want want[2 * JOB_TENSORS];

        for (uint32_t k = 0; k < ARRAY_LEN(want); k++)
            want[k] = (struct rig_want){.owner = i % 2 + k / JOB_TENSORS * 2,
                                        .tensor = k % JOB_TENSORS};
        rig_wish(p->r[i], 7, want, ARRAY_LEN(want), JOB_TENSOR_BYTES);
    }
}

/* Three steps are saved; both daemons start again, and the ranks join. */
static void begin(struct pair *p, uint64_t seed)
{
    *p = (struct pair){.world = test_world_new(seed)};
    start(p);
    join(p, "saves");
    for (int s = 0; s < JOB_STEPS; s++) {
        struct rig_save *v = NULL;

        for (int i = 0; i < RANKS; i++)
            v = rig_save(p->r[i], 10 * ((uint64_t)s + 1), (uint64_t)s + 1, 0);
        assert_true(turn(p, LIMIT_MS, is_decided));
        assert_int_equal(v->state, WIRE_STATE_COMMITTED);
        p->id[s] = v->id;
    }
    for (int i = 0; i < 2; i++) {
        rig_end(p->g[i]);
        p->saver[i] = p->g[i];
    }
    start(p);
    join(p, "loads");
    wish(p);
}

static void end(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        rig_free(p->g[i]);
        rig_free(p->saver[i]);
    }
    test_world_free(p->world);
}

static void load_all(struct pair *p)
{
    for (int i = 0; i < RANKS; i++)
        p->l[i] = p->r[i]->is_gone ? NULL : rig_load(p->r[i], NULL);
}

static void check(struct pair *p, int step)
{
    for (int i = 0; i < RANKS; i++) {
        if (p->l[i]->code)
            (void)fprintf(stderr, "rank %d: %s\n", i, p->l[i]->text);
        assert_int_equal(p->l[i]->code, 0);
        assert_int_equal(save_id_compare(&p->l[i]->id, &p->id[step]), 0);
        rig_load_check(p->l[i], p->saver[i % 2], &p->id[step]);
    }
}

/* None of those that are left has loaded; each knows why. */
static void check_failed(struct pair *p, const char *words)
{
    for (int i = 0; i < RANKS; i++) {
        if (!p->l[i] || p->r[i]->is_gone || !p->r[i]->rig->engine)
            continue;
        assert_true(p->l[i]->is_done && p->l[i]->code < 0);
        if (!strstr(p->l[i]->text, words))
            (void)fprintf(stderr, "rank %d: %s\n", i, p->l[i]->text);
        assert_non_null(strstr(p->l[i]->text, words));
    }
}

static void fail_reads(struct pair *p, int daemon, uint64_t nth,
                       bool persistent)
{
    struct store_fault fault = {.op = STORE_READ,
                                .name_part = "seg/",
                                .nth = nth,
                                .persistent = persistent,
                                .error = -EIO};

    assert_int_equal(
        store_fault_add(test_env_fault(p->g[daemon]->daemon, "local"), &fault),
        0);
}

static void both_load_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct pair p;

        begin(&p, seed);
        for (int i = 0; i < 2; i++) {
            load_all(&p);
            assert_true(turn(&p, LIMIT_MS, is_loaded));
            check(&p, 2);
        }
        end(&p);
    }
}

static void both_fall_back_when_one_must(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct pair p;

        begin(&p, seed);
        fail_reads(&p, (int)(seed % 2), 1 + seed / 2, false);
        if (seed % 3 == 0) /* and the other at the same time */
            fail_reads(&p, (int)(1 - seed % 2), 2, false);
        load_all(&p);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        check(&p, 1);
        assert_int_equal(p.l[0]->attempts, 2);
        assert_int_equal(p.l[1]->attempts, 2);
        load_all(&p);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        check(&p, 2);
        end(&p);
    }
}

static void a_wish_of_one_is_nobodys_fall_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct rig_want none = {.owner = 9};
        struct pair p;

        begin(&p, seed);
        rig_wish(p.r[seed % RANKS], 7, &none, 1, JOB_TENSOR_BYTES);
        load_all(&p);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        check_failed(&p, "rank9.tensor0");
        assert_int_equal(p.l[0]->attempts, 1);
        assert_int_equal(p.l[1]->attempts, 1);
        wish(&p);
        load_all(&p);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        check(&p, 2);
        end(&p);
    }
}

static void a_death_at_one_fails_both(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) {
        uint64_t turns = seed * 7;
        struct pair p;
        uint64_t before;
        bool failed;

        begin(&p, seed);
        load_all(&p);
        for (uint64_t i = 0; i < turns; i++)
            (void)turn(&p, 0, NULL);
        if (p.l[seed % RANKS]->is_done) {
            end(&p);
            continue;
        }
        before = p.world->now_ns;
        rig_die(p.r[seed % RANKS]);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        assert_true(p.world->now_ns - before < (uint64_t)20 * 1000000000);
        /* One answer for those that are left. */
        failed = p.l[(seed + 1) % RANKS]->code != 0;
        for (uint64_t i = 1; i < RANKS; i++)
            assert_int_equal(p.l[(seed + i) % RANKS]->code != 0, failed);
        if (failed)
            check_failed(&p, "rank");
        end(&p);
    }
}

static void a_daemon_that_dies_is_named_at_the_deadline(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct pair p;

        begin(&p, seed);
        p.l[1] = p.l[3] = NULL;
        load_all(&p);
        for (uint64_t i = 0; i < seed * 5; i++)
            (void)turn(&p, 0, NULL);
        if (p.l[0]->is_done) {
            end(&p);
            continue;
        }
        rig_kill(p.g[1]);
        rig_end(p.g[1]);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        if (p.l[0]->code) /* else its vote was out before */
            check_failed(&p, "no vote of host b");
        else
            assert_int_equal(p.l[2]->code, 0);
        end(&p);
    }
}

/* One daemon misses an attempt: its ranks ask only after the others have given
 * up. They find out, and the next load is good. */
/* Attempt 2 waits for the other daemon when its own ranks go: that is no
 * VERIFIED load, and what comes after stands on what it stood on before. */
static void a_load_that_its_ranks_left_is_not_verified(void **state)
{
    struct save_id latest;
    struct pair p;

    (void)state;
    begin(&p, 3);
    fail_reads(&p, 0, 1, false);
    load_all(&p);
    p.l[1]->is_silent = p.l[3]->is_silent = true;
    (void)turn(&p, 5000, NULL);
    assert_int_equal(p.l[0]->attempt, 2);
    assert_true(p.l[0]->is_delivered && !p.l[0]->is_done);
    rig_die(p.r[0]);
    rig_die(p.r[2]);
    (void)turn(&p, 5000, NULL);
    latest = catalog_latest(&rig_the_run(p.g[0])->catalog);
    assert_int_equal(save_id_compare(&latest, &p.id[2]), 0);
    end(&p);
}

static void who_missed_an_attempt_catches_up(void **state)
{
    struct pair p;

    (void)state;
    begin(&p, 40);
    p.l[0] = rig_load(p.r[0], NULL);
    p.l[2] = rig_load(p.r[2], NULL);
    assert_true(turn(&p, LIMIT_MS, is_loaded));
    check_failed(&p, "no vote of host b");
    p.l[1] = rig_load(p.r[1], NULL);
    p.l[3] = rig_load(p.r[3], NULL);
    assert_true(turn(&p, LIMIT_MS, is_loaded));
    check_failed(&p, "no vote of host b");
    load_all(&p);
    assert_true(turn(&p, LIMIT_MS, is_loaded));
    check(&p, 2);
    end(&p);
}

/* The home fails one request of one daemon: the load may fail, on all. */
static void the_home_may_fail_once(void **state)
{
    uint32_t failed = 0;

    (void)state;
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct store_fault fault = {.op = -1, .nth = nth, .error = -EIO};
        struct pair p;

        begin(&p, nth);
        fault.after = nth % 2;
        assert_int_equal(
            store_fault_add(test_env_fault(p.g[0]->daemon, RIG_HOME), &fault),
            0);
        load_all(&p);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        for (int i = 1; i < RANKS; i++)
            assert_int_equal(p.l[0]->code != 0, p.l[i]->code != 0);
        failed += p.l[0]->code != 0;
        if (p.l[0]->code == 0)
            check(&p, (int)(p.l[0]->id.step / 10 - 1));
        store_fault_clear(test_env_fault(p.g[0]->daemon, RIG_HOME));
        load_all(&p);
        assert_true(turn(&p, LIMIT_MS, is_loaded));
        check(&p, 2);
        end(&p);
    }
    (void)fprintf(stderr, "%u of 39 loads failed\n", failed);
}

static void ends_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct pair p;

        begin(&p, seed);
        load_all(&p);
        for (uint64_t i = 0; i < seed * 4; i++)
            (void)turn(&p, 0, NULL);
        if (seed % 2)
            rig_kill(p.g[0]);
        end(&p); /* asserts that nothing is left, and that it does end */
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
