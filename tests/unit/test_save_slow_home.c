/*
 * test_save_slow_home.c - a home that does not answer holds no rank: it gets
 * its slots, its bytes leave, the next save begins, and an abort is told. Only
 * votes and decisions wait for the home.
 */
#include "tests/lib/media.h"
#include "tests/lib/rig_job.h"
#include "tests/lib/rig_retain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SOON_MS 150 /* a little more than SAVE_HOLD_MS, of the engine */
#define SLOW    300000u

enum { WAIT, SKIP, REPLACE };

static const struct rig_shape plain = {.world_size = 2,
                                       .slots = 64,
                                       .tensors = 3,
                                       .tensor_bytes =
                                           10 * RIG_CHUNK_BYTES - 100,
                                       .codec = 1,
                                       .entropy = 1};

/* From now on the home takes that long for such requests (op -1: for all). */
static void slow_down(struct rig_job *f, int op, const char *part)
{
    const struct store_fault slow = {.op = op,
                                     .name_part = part,
                                     .nth = 1,
                                     .persistent = true,
                                     .delay_polls = SLOW};

    test_env_fail(f->g->daemon, RIG_HOME, &slow);
}

static void speed_up(struct rig_job *f)
{
    store_fault_clear(test_env_fault(f->g->daemon, RIG_HOME));
}

static void turn(struct rig_job *f, uint64_t ms)
{
    (void)rig_run(f->g, ms, NULL, NULL);
}

static bool has_left(const struct rig_save *v)
{
    return v->number && v->given_count == v->chunk_count &&
           v->told == 1u << WIRE_STATE_STAGED;
}

static void bytes_leave_before_the_intent_is_there(void **state)
{
    static const struct {
        int op;
        const char *part;
    } slow[] = {{STORE_STAT, "/RUN"},
                {STORE_PUT, "/intent/"},
                {STORE_STAT, "/closed/"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        struct rig_job f;

        rig_job_begin(&f, i, &plain);
        slow_down(&f, slow[i].op, slow[i].part);
        rig_job_save(&f, 10, 1, WAIT);
        turn(&f, SOON_MS);
        for (uint32_t r = 0; r < f.n; r++)
            assert_true(has_left(f.v[r]));
        turn(&f, 1000);
        assert_true(has_left(f.v[0]));
        assert_false(rig_home_has(f.g, "vote", &f.v[0]->id));
        speed_up(&f);
        rig_job_decide(&f);
        assert_int_equal(f.v[0]->state, WIRE_STATE_COMMITTED);
        (void)rig_check(f.g, f.v[0]);
        rig_free(f.g);
    }
}

/* A quick one is waited for: what it refuses is an error of the call. */
static void a_quick_home_refuses_the_call_itself(void **state)
{
    struct save_id none = {0};
    char name[RECORD_NAME_BYTES];
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 5, &plain);
    rig_put_mark(f.g, RECORD_CLOSED, name_gen(name, RIG_RUN, "closed", 1),
                 &none);
    rig_job_save(&f, 10, 1, WAIT);
    rig_job_decide(&f);
    assert_int_equal(f.v[0]->code, -ESTALE);
    assert_int_equal(f.v[0]->number, 0);
    rig_free(f.g);
}

static void what_a_slow_one_refuses_is_an_abort(void **state)
{
    struct save_id none = {0};
    char name[RECORD_NAME_BYTES];
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 6, &plain);
    slow_down(&f, STORE_PUT, "/intent/");
    rig_job_save(&f, 10, 1, WAIT);
    turn(&f, SOON_MS);
    assert_true(has_left(f.v[0]));
    rig_put_mark(f.g, RECORD_CLOSED, name_gen(name, RIG_RUN, "closed", 1),
                 &none);
    rig_job_decide(&f);
    for (uint32_t r = 0; r < f.n; r++) {
        assert_int_equal(f.v[r]->state, WIRE_STATE_ABORTED);
        assert_int_equal(f.v[r]->code, -ESTALE);
    }
    assert_int_equal(rig_slots(f.g, SLOT_GRANTED), 0);
    /* What is known by now needs no home: the next call says so. */
    rig_job_save(&f, 20, 2, WAIT);
    turn(&f, 0);
    for (uint32_t r = 0; r < f.n; r++) {
        assert_int_equal(f.v[r]->code, -ESTALE);
        assert_int_equal(f.v[r]->number, 0);
    }
    rig_free(f.g);
}

/* It fails in the end: the ranks are told so, and save again. */
static void one_that_fails_late_aborts_what_has_left(void **state)
{
    const struct store_fault failing = {.op = STORE_STAT,
                                        .name_part = "/closed/",
                                        .nth = 1,
                                        .error = -ETIMEDOUT};
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 7, &plain);
    slow_down(&f, STORE_PUT, "/intent/");
    test_env_fail(f.g->daemon, RIG_HOME, &failing);
    rig_job_save(&f, 10, 1, WAIT);
    turn(&f, SOON_MS);
    assert_true(has_left(f.v[0]));
    rig_job_decide(&f);
    assert_int_equal(f.v[0]->state, WIRE_STATE_ABORTED);
    assert_int_equal(f.v[0]->code, -ETIMEDOUT);
    assert_false(rig_home_has(f.g, "vote", &f.v[0]->id));
    speed_up(&f);
    rig_job_save(&f, 20, 2, WAIT);
    rig_job_decide(&f);
    assert_int_equal(f.v[0]->state, WIRE_STATE_COMMITTED);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

/* Skipped: told before ABORT is on record, and on record in the end. */
static void what_is_skipped_is_told_soon(void **state)
{
    struct rig_job f;
    struct rig_save *first[2];

    (void)state;
    rig_job_begin(&f, 8, &plain);
    f.r[0]->hold_after = f.r[1]->hold_after = 1;
    rig_job_save(&f, 10, 1, WAIT);
    turn(&f, 1000);
    first[0] = f.v[0];
    first[1] = f.v[1];
    slow_down(&f, -1, NULL);
    rig_job_save(&f, 20, 2, SKIP);
    turn(&f, SOON_MS);
    for (uint32_t r = 0; r < f.n; r++) {
        assert_int_equal(f.v[r]->state, WIRE_STATE_ABORTED);
        assert_int_equal(f.v[r]->code, -CKPT_EOVERLOAD);
        assert_true(f.v[r]->number != 0);
    }
    assert_false(rig_home_has(f.g, "decision", &f.v[0]->id));
    speed_up(&f);
    turn(&f, 100000);
    assert_true(rig_home_has(f.g, "decision", &f.v[0]->id));
    assert_int_equal(rig_status(f.g, 20), SAVE_ABORTED);
    assert_int_equal(first[0]->state | first[1]->state, 0);
    rig_free(f.g);
}

/* The policy `wait` is about bytes that have not left: once they are on the
 * drive the rest is the home's, be it an intent or a vote. */
static void the_next_one_does_not_wait_for_the_home(void **state)
{
    static const char *const slow[] = {"/intent/", "/vote/"};
    struct rig_job f;
    struct rig_save *first;

    (void)state;
    for (int i = 0; i < 4; i++) {
        int policy = i % 2 ? SKIP : WAIT;

        rig_job_begin(&f, 9, &plain);
        slow_down(&f, STORE_PUT, slow[i / 2]);
        rig_job_save(&f, 10, 1, WAIT);
        turn(&f, 1000);
        first = f.v[0];
        assert_true(has_left(first));
        rig_job_save(&f, 20, 2, (uint32_t)policy);
        turn(&f, 1000);
        assert_true(has_left(first) && has_left(f.v[0]));
        speed_up(&f);
        rig_job_decide(&f);
        assert_int_equal(first->state, WIRE_STATE_COMMITTED);
        assert_int_equal(f.v[0]->state, WIRE_STATE_COMMITTED);
        (void)rig_check(f.g, f.v[0]);
        rig_free(f.g);
    }
}

/* Aborts pile up for a home that is gone, but not without end; and when it is
 * there again all of them go on record, and the job goes on. */
static void what_is_not_on_record_is_bounded(void **state)
{
    struct rig_save *first[2];
    struct rig_job f;
    uint64_t step = 20;

    (void)state;
    rig_job_begin(&f, 10, &plain);
    f.r[0]->hold_after = f.r[1]->hold_after = 1;
    rig_job_save(&f, 10, 1, WAIT);
    turn(&f, 1000);
    first[0] = f.v[0];
    first[1] = f.v[1];
    slow_down(&f, -1, NULL);
    for (int i = 0; i < 16; i++, step++) {
        rig_job_save(&f, step, 2, SKIP);
        turn(&f, SOON_MS);
        assert_int_equal(f.v[0]->code, -CKPT_EOVERLOAD);
    }
    rig_job_save(&f, step, 2, SKIP);
    turn(&f, 0);
    for (uint32_t r = 0; r < f.n; r++) {
        assert_int_equal(f.v[r]->code, -EBUSY);
        assert_int_equal(f.v[r]->number, 0);
        assert_non_null(strstr(f.v[r]->text, "home " RIG_HOME " has not"));
    }
    speed_up(&f);
    turn(&f, RIG_JOB_LIMIT_MS);
    for (step = 20; step < 36; step++)
        assert_int_equal(rig_status(f.g, step), SAVE_ABORTED);
    for (uint32_t r = 0; r < f.n; r++)
        assert_int_equal(first[r]->state, WIRE_STATE_ABORTED);
    f.r[0]->hold_after = f.r[1]->hold_after = UINT32_MAX;
    rig_job_commit(&f, 50, 3);
    rig_free(f.g);
}

/* For ever: the deadline ends it, with words, and nobody waited for that. */
static void one_that_never_answers_ends_at_the_deadline(void **state)
{
    const struct store_fault never = {.op = STORE_PUT,
                                      .name_part = "/intent/",
                                      .nth = 1,
                                      .delay_polls = 300 * SLOW};
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 11, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &never);
    rig_job_save(&f, 10, 1, WAIT);
    turn(&f, SOON_MS);
    assert_true(has_left(f.v[0]));
    rig_job_decide(&f);
    assert_int_equal(f.v[0]->state, WIRE_STATE_ABORTED);
    assert_int_equal(f.v[0]->code, -ETIMEDOUT);
    assert_non_null(strstr(f.v[0]->text, "ms from home " RIG_HOME));
    rig_kill(f.g);
    rig_free(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_leave_before_the_intent_is_there),
        cmocka_unit_test(a_quick_home_refuses_the_call_itself),
        cmocka_unit_test(what_a_slow_one_refuses_is_an_abort),
        cmocka_unit_test(one_that_fails_late_aborts_what_has_left),
        cmocka_unit_test(what_is_skipped_is_told_soon),
        cmocka_unit_test(the_next_one_does_not_wait_for_the_home),
        cmocka_unit_test(what_is_not_on_record_is_bounded),
        cmocka_unit_test(one_that_never_answers_ends_at_the_deadline),
    };

    return cmocka_run_group_tests_name("save_slow_home", tests, NULL, NULL);
}
