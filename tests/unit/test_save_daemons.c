/*
 * test_save_daemons.c - one job through two daemons that share a home: a save
 * is one decision, whatever happens to the ranks of either.
 */
#include "tests/lib/rig_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RANKS 4

static const struct rig_shape shape = {.world_size = RANKS,
                                       .slots = 6,
                                       .tensors = 2,
                                       .tensor_bytes = 5 * RIG_CHUNK_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

static void assert_all(const struct rig_pair *p, uint32_t wanted)
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
        struct rig_pair p;

        rig_pair_begin(&p, seed, &shape);
        for (uint64_t step = 1; step <= 4; step++) {
            rig_pair_save(&p, step, 0);
            rig_pair_decide(&p);
            assert_all(&p, WIRE_STATE_COMMITTED);
        }
        rig_pair_end(&p);
    }
}

static void a_death_at_one_daemon_aborts_at_both(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct rig_pair p;

        rig_pair_begin(&p, seed, &shape);
        p.r[3]->hold_after = 3;
        rig_pair_save(&p, 10, 0);
        rig_pair_turn(&p, 5000);
        rig_die(p.r[3]);
        rig_pair_decide(&p);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(p.v[i]->state, WIRE_STATE_ABORTED);
            assert_non_null(strstr(p.v[i]->text, "rank 3 died before STAGED"));
        }
        rig_pair_end(&p);
    }
}

static void a_rank_that_never_comes_aborts_both_at_the_deadline(void **state)
{
    struct rig_pair p;

    (void)state;
    rig_pair_begin(&p, 3, &shape);
    for (int i = 0; i < 3; i++)
        p.v[i] = rig_save(p.r[i], 10, 1, 0);
    rig_pair_decide(&p);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(p.v[i]->state, WIRE_STATE_ABORTED);
        assert_int_equal(p.v[i]->code, -ETIMEDOUT);
    }
    assert_non_null(strstr(p.v[1]->text, "rank 3 of 4"));
    rig_pair_end(&p);
}

/* The ranks of "b" have as many undecided saves as there may be, which those of
 * "a" know nothing of. What they save together then is skipped, and both hear
 * of it at once: no daemon waits for a vote that never comes. */
static void a_ninth_save_of_a_rank_is_skipped_for_all(void **state)
{
    struct rig_pair p;

    (void)state;
    rig_pair_begin(&p, 4, &shape);
    for (uint64_t step = 1; step <= SESSION_SAVES_MAX; step++) {
        for (int i = 1; i < RANKS; i += 2)
            p.v[i] = rig_save(p.r[i], step, step, 2);
        rig_pair_turn(&p, 100);
        assert_int_equal(p.v[1]->state, WIRE_STATE_STAGED);
    }
    rig_pair_save(&p, 9, 2);
    rig_pair_turn(&p, 5000);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(p.v[i]->state, WIRE_STATE_ABORTED);
        assert_int_equal(p.v[i]->code, -CKPT_EABORTED);
        assert_non_null(strstr(p.v[i]->text, "8 saves of rank"));
        assert_int_equal(p.r[i]->error, 0);
    }
    rig_pair_end(&p);
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
