/*
 * test_save_daemons.c - one job through two daemons that share a home: a save
 * is one decision, whatever happens to the ranks of either.
 */
#include "tests/lib/engine_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS 800000
#define RANKS    4

struct pair {
    struct test_world *world;
    struct rig *g[2];
    struct rig_rank *r[RANKS]; /* even ones through the first daemon */
    struct rig_save *v[RANKS];
};

static bool pump(void *arg)
{
    struct pair *p = arg;

    rig_pump(p->g[0]);
    rig_pump(p->g[1]);
    return false;
}

static bool pump_until_decided(void *arg)
{
    struct pair *p = arg;

    (void)pump(p);
    return rig_all_decided(p->g[0]) && rig_all_decided(p->g[1]);
}

static void turn_ms(struct pair *p, uint64_t ms)
{
    (void)test_run(p->world, ms, pump, p);
}

static bool pump_until_joined(void *arg)
{
    struct pair *p = arg;

    (void)pump(p);
    for (int i = 0; i < RANKS; i++)
        if (!rig_joined(p->r[i]) && !p->r[i]->error)
            return false;
    return true;
}

static void begin(struct pair *p, uint64_t seed)
{
    p->world = test_world_new(seed);
    p->g[0] = rig_new_in(p->world, "a");
    p->g[1] = rig_new_in(p->world, "b");
    for (uint32_t i = 0; i < RANKS; i++) {
        p->r[i] = rig_rank_new(p->g[i % 2], i, RANKS);
        rig_open(p->r[i], "token");
    }
    (void)test_run(p->world, 60000, pump_until_joined, p);
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(p->r[i]->generation, 1);
        rig_arena(p->r[i], 6);
        rig_table(p->r[i], 1, 2, 5 * (uint64_t)RIG_CHUNK_BYTES);
    }
    turn_ms(p, 50);
}

static void end(struct pair *p)
{
    for (int i = 0; i < RANKS; i++)
        if (!p->r[i]->is_gone)
            rig_die(p->r[i]);
    rig_free(p->g[0]);
    rig_free(p->g[1]);
}

static void save_all(struct pair *p, uint64_t step, uint32_t overload)
{
    for (int i = 0; i < RANKS; i++)
        p->v[i] = rig_save(p->r[i], step, step, overload);
}

static void decide_all(struct pair *p)
{
    assert_true(test_run(p->world, LIMIT_MS, pump_until_decided, p));
}

static void assert_all(const struct pair *p, uint32_t wanted)
{
    for (int i = 0; i < RANKS; i++) {
        if (p->v[i]->state != wanted)
            (void)fprintf(stderr, "rank %d: %s\n", i, p->v[i]->text);
        assert_int_equal(p->v[i]->state, wanted);
        assert_int_equal(save_id_compare(&p->v[i]->id, &p->v[0]->id), 0);
    }
}

static void saves_through_two_daemons_commit_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct pair p;

        begin(&p, seed);
        for (uint64_t step = 1; step <= 4; step++) {
            save_all(&p, step, 0);
            decide_all(&p);
            assert_all(&p, WIRE_STATE_COMMITTED);
        }
        end(&p);
    }
}

static void a_death_at_one_daemon_aborts_at_both(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct pair p;

        begin(&p, seed);
        p.r[3]->hold_after = 3;
        save_all(&p, 10, 0);
        turn_ms(&p, 5000);
        rig_die(p.r[3]);
        decide_all(&p);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(p.v[i]->state, WIRE_STATE_ABORTED);
            assert_non_null(strstr(p.v[i]->text, "rank 3 died before STAGED"));
        }
        end(&p);
    }
}

static void a_rank_that_never_comes_aborts_both_at_the_deadline(void **state)
{
    struct pair p;

    (void)state;
    begin(&p, 3);
    for (int i = 0; i < 3; i++)
        p.v[i] = rig_save(p.r[i], 10, 1, 0);
    decide_all(&p);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(p.v[i]->state, WIRE_STATE_ABORTED);
        assert_int_equal(p.v[i]->code, -ETIMEDOUT);
    }
    assert_non_null(strstr(p.v[1]->text, "rank 3 of 4"));
    end(&p);
}

/* The ranks of "b" have as many undecided saves as there may be, which those of
 * "a" know nothing of. What they save together then is skipped, and both hear
 * of it at once: no daemon waits for a vote that never comes. */
static void a_ninth_save_of_a_rank_is_skipped_for_all(void **state)
{
    struct pair p;

    (void)state;
    begin(&p, 4);
    for (uint64_t step = 1; step <= SESSION_SAVES_MAX; step++) {
        for (int i = 1; i < RANKS; i += 2)
            p.v[i] = rig_save(p.r[i], step, step, 2);
        turn_ms(&p, 100);
        assert_int_equal(p.v[1]->state, WIRE_STATE_STAGED);
    }
    save_all(&p, 9, 2);
    turn_ms(&p, 5000);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(p.v[i]->state, WIRE_STATE_ABORTED);
        assert_int_equal(p.v[i]->code, -CKPT_EABORTED);
        assert_non_null(strstr(p.v[i]->text, "8 saves of rank"));
        assert_int_equal(p.r[i]->error, 0);
    }
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saves_through_two_daemons_commit_once),
        cmocka_unit_test(a_death_at_one_daemon_aborts_at_both),
        cmocka_unit_test(a_rank_that_never_comes_aborts_both_at_the_deadline),
        cmocka_unit_test(a_ninth_save_of_a_rank_is_skipped_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
