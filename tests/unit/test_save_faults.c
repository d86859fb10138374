/*
 * test_save_faults.c - saves that something happens to: ranks that die or do
 * not come, drives that are full or fail, every single request of a store that
 * fails, daemons that are killed. What must hold: a typed error that names the
 * thing, nothing that hangs or leaks, every slot back, and the last committed
 * checkpoint as it was.
 */
#include "tests/lib/rig_job.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct rig_shape small = {.world_size = 2,
                                       .slots = 6,
                                       .tensors = 2,
                                       .tensor_bytes =
                                           5 * RIG_CHUNK_BYTES - 100,
                                       .codec = 1,
                                       .entropy = 1};

static void assert_aborted(const struct rig_save *v, int code, const char *part)
{
    if (v->code != code || !strstr(v->text, part))
        (void)fprintf(stderr, "state %u: %d: %s\n", v->state, v->code, v->text);
    assert_int_equal(v->state, WIRE_STATE_ABORTED);
    assert_int_equal(v->code, code);
    assert_non_null(strstr(v->text, part));
}

/* Nothing of any save is left but what is cached. */
static void assert_settled(struct rig_job *f)
{
    (void)rig_run(f->g, 5000, NULL, NULL);
    assert_false(saves_pending(rig_the_run(f->g)));
    assert_int_equal(rig_slots(f->g, SLOT_GRANTED), 0);
    assert_int_equal(rig_slots(f->g, SLOT_FULL), 0);
    assert_true(save_pipeline_is_idle(f->g->engine));
}

static struct store *local_of(const struct rig *g)
{
    struct store *s = test_env_fault(g->daemon, "local");

    assert_non_null(s);
    return s;
}

static void fail_nth(struct store *s, int op, uint64_t nth, bool persistent,
                     int error)
{
    struct store_fault fault = {
        .op = op, .nth = nth, .persistent = persistent, .error = error};

    assert_int_equal(store_fault_add(s, &fault), 0);
}

/*
 * Ranks.
 */

static bool is_answered(void *arg)
{
    const struct rig_save *v = arg;

    return v->number && v->given_count > 0;
}

static bool is_staged(void *arg)
{
    return ((struct rig_save *)arg)->state >= WIRE_STATE_STAGED;
}

static void a_rank_that_dies_before_staged_aborts_its_save(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig_job f;

        rig_job_begin(&f, seed, &small);
        rig_job_commit(&f, 10, 1);
        f.r[1]->hold_after = (uint32_t)seed % 8;
        rig_job_save(&f, 20, 2, 0);
        if (seed % 8)
            assert_true(rig_run(f.g, RIG_JOB_LIMIT_MS, is_answered, f.v[1]));
        else
            (void)rig_run(f.g, 100, NULL, NULL);
        rig_die(f.r[1]);
        rig_job_decide(&f);
        assert_aborted(f.v[0], -CKPT_EABORTED, "rank 1 died before STAGED");
        assert_settled(&f);
        rig_free(f.g);
    }
}

static void a_rank_that_dies_after_staged_does_not_matter(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig_shape shape = small;
        struct rig_job f;

        shape.slots = seed % 2 ? 6 : 32;
        rig_job_begin(&f, seed, &shape);
        rig_job_save(&f, 10, 1, 0);
        assert_true(rig_run(f.g, RIG_JOB_LIMIT_MS, is_staged, f.v[1]));
        rig_die(f.r[1]);
        rig_job_decide(&f);
        assert_int_equal(f.v[0]->state, WIRE_STATE_COMMITTED);
        (void)rig_check(f.g, f.v[0]);
        assert_settled(&f);
        assert_int_equal(f.g->daemon->arenas, 2);
        rig_free(f.g);
    }
}

static void a_job_that_dies_after_staged_has_its_checkpoint(void **state)
{
    struct rig_rank *again[RIG_RANKS_MAX];
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 5, &small);
    rig_job_save(&f, 10, 1, 0);
    assert_true(rig_run(f.g, RIG_JOB_LIMIT_MS, is_staged, f.v[0]));
    assert_true(rig_run(f.g, RIG_JOB_LIMIT_MS, is_staged, f.v[1]));
    rig_die(f.r[0]);
    rig_die(f.r[1]);
    rig_start(f.g, "second", &small, again);
    assert_true(rig_joined(again[0]) && rig_joined(again[1]));
    assert_int_equal(again[0]->parent.step, 10);
    (void)rig_check_as(f.g, f.g, &again[0]->parent);
    /* The arenas of the dead stay as a cache until the new job saves. */
    assert_int_equal(f.g->daemon->arenas, 4);
    f.r[0] = again[0];
    f.r[1] = again[1];
    rig_job_commit(&f, 11, 2);
    assert_int_equal(f.g->daemon->arenas, 2);
    rig_free(f.g);
}

static void saves_after_a_rank_has_left_abort_at_once(void **state)
{
    struct rig_job f;
    struct rig_save *v;
    uint64_t before;

    (void)state;
    rig_job_begin(&f, 6, &small);
    rig_die(f.r[1]);
    (void)rig_run(f.g, 10, NULL, NULL);
    before = f.g->world->now_ns;
    v = rig_save(f.r[0], 10, 1, 0);
    rig_job_decide(&f);
    assert_aborted(v, -CKPT_EABORTED, "rank 1 died");
    assert_true(f.g->world->now_ns - before < (uint64_t)5000 * 1000000);
    assert_settled(&f);
    rig_free(f.g);
}

static void ranks_that_do_not_come_are_named_at_the_deadline(void **state)
{
    struct rig_shape shape = small;
    struct rig_job f;

    (void)state;
    shape.world_size = 4;
    rig_job_begin(&f, 7, &shape);
    f.r[2]->hold_after = 3;
    f.v[0] = rig_save(f.r[0], 10, 1, 0);
    f.v[2] = rig_save(f.r[2], 10, 1, 0);
    assert_true(rig_run(f.g, RIG_JOB_LIMIT_MS, rig_all_decided, f.g));
    assert_aborted(f.v[0], -ETIMEDOUT, "waiting for ranks 1, 2, 3 of 4");
    assert_aborted(f.v[2], -ETIMEDOUT, "waiting for ranks 1, 2, 3 of 4");
    /* Who comes late is told the same. */
    f.v[1] = rig_save(f.r[1], 10, 1, 0);
    (void)rig_run(f.g, 1000, NULL, NULL);
    assert_aborted(f.v[1], -ETIMEDOUT, "waiting for ranks 1, 2, 3 of 4");
    assert_settled(&f);
    rig_free(f.g);
}

static void a_rank_may_cancel(void **state)
{
    struct wire_cancel cancel = {.code = -ECANCELED, .text = "fence"};
    struct rig_job f;
    struct wr w = {0};

    (void)state;
    rig_job_begin(&f, 8, &small);
    f.r[1]->hold_after = 4;
    rig_job_save(&f, 10, 1, 0);
    (void)rig_run(f.g, 100, NULL, NULL);
    cancel.save = f.v[1]->number;
    wire_cancel_encode(&cancel, &w);
    rig_send(f.r[1], WIRE_CANCEL, 0, 0, &w);
    wr_free(&w);
    rig_job_decide(&f);
    assert_aborted(f.v[0], -ECANCELED, "rank 1: fence");
    assert_aborted(f.v[1], -ECANCELED, "rank 1: fence");
    assert_settled(&f);
    f.r[1]->hold_after = UINT32_MAX;
    rig_job_commit(&f, 10, 2);
    assert_int_equal(f.v[0]->id.attempt, 2);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

/*
 * Drives.
 */

static void a_full_drive_aborts_before_anything_is_staged(void **state)
{
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 9, &small);
    rig_job_commit(&f, 10, 1);
    fail_nth(local_of(f.g), STORE_SEG_OPEN, 1, true, -ENOSPC);
    rig_job_save(&f, 20, 2, 0);
    rig_job_decide(&f);
    assert_aborted(f.v[0], -ENOSPC, "local/a");
    assert_int_equal(f.v[0]->given_count, 0);
    assert_settled(&f);
    store_fault_clear(local_of(f.g));
    rig_job_commit(&f, 20, 3);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

static void what_a_failed_write_took_is_written_elsewhere(void **state)
{
    uint32_t survived = 0;

    (void)state;
    for (uint64_t nth = 1; nth <= 22; nth++) {
        struct rig_shape shape = small;
        struct segpool_stats stats;
        struct rig_job f;

        shape.slots = 32;
        rig_job_begin(&f, nth, &shape);
        fail_nth(local_of(f.g), STORE_WRITE, nth, false, -EIO);
        rig_job_save(&f, 10, 1, 0);
        rig_job_decide(&f);
        if (f.v[0]->state == WIRE_STATE_COMMITTED) {
            (void)rig_check(f.g, f.v[0]);
            survived++;
        } else {
            /* The write of a segment's header: no chunk has a place. */
            assert_int_equal(f.v[0]->code, -EIO);
        }
        assert_settled(&f);
        segpool_stats(f.g->engine->pool, &stats);
        assert_int_equal(stats.count[SEGMENT_TAKEN], 0);
        assert_int_equal(store_fault_count(local_of(f.g)), 1);
        rig_free(f.g);
    }
    assert_true(survived >= 20);
}

static void bytes_that_are_gone_abort_the_save(void **state)
{
    struct rig_shape shape = small;
    struct rig_job f;

    (void)state;
    shape.world_size = 1;
    shape.slots = 4;
    rig_job_begin(&f, 3, &shape);
    /* The last write of many waves: the first slots are used again. */
    fail_nth(local_of(f.g), STORE_WRITE, 11, false, -EIO);
    rig_job_save(&f, 10, 1, 0);
    rig_job_decide(&f);
    assert_aborted(f.v[0], -EIO, "no longer in memory");
    assert_settled(&f);
    store_fault_clear(local_of(f.g));
    rig_job_commit(&f, 10, 2);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

static void a_drive_that_fails_every_write_is_given_up(void **state)
{
    struct rig_shape shape = small;
    struct rig_job f;

    (void)state;
    shape.slots = 32;
    rig_job_begin(&f, 4, &shape);
    fail_nth(local_of(f.g), STORE_WRITE, 3, true, -EIO);
    rig_job_save(&f, 10, 1, 0);
    rig_job_decide(&f);
    assert_int_equal(f.v[0]->state, WIRE_STATE_ABORTED);
    assert_int_equal(f.v[0]->code, -EIO);
    assert_settled(&f);
    rig_free(f.g);
}

static void a_failed_sync_aborts_and_its_segment_is_not_used_again(void **state)
{
    struct rig_job f;
    uint64_t syncs_of_headers = 2;

    (void)state;
    rig_job_begin(&f, 10, &small);
    fail_nth(local_of(f.g), STORE_SYNC, syncs_of_headers + 1, false, -EIO);
    rig_job_save(&f, 10, 1, 0);
    rig_job_decide(&f);
    assert_aborted(f.v[0], -EIO, "sync");
    assert_settled(&f);
    assert_int_equal(store_fault_count(local_of(f.g)), 1);
    rig_job_commit(&f, 10, 2);
    (void)rig_check(f.g, f.v[0]);
    assert_int_equal(rig_slots(f.g, SLOT_GRANTED), 0);
    rig_free(f.g);
}

/* Compaction: chunks of a segment that is mostly dead are written again. */
static void emptier_segments_are_rewritten(void **state)
{
    static const uint32_t extents[] = {
        [7] = 1, [6] = 2, [5] = 3, [4] = 4, [3] = 8, [2] = 6, [1] = 8};
    struct rig_shape shape = small;
    struct rig_job f;
    const struct run *run;
    struct save_id latest;

    (void)state;
    shape.world_size = 1;
    shape.tensors = 8;
    shape.slots = 64;
    shape.tensor_bytes = RIG_CHUNK_BYTES;
    rig_job_begin(&f, 11, &shape);
    rig_job_commit(&f, 1, 1);
    run = rig_the_run(f.g);
    for (uint32_t kept = 7; kept > 0; kept--) {
        uint64_t written;

        /* One chunk more changes each time: the first 8 - kept. */
        f.r[0]->changed = 8 - kept;
        f.r[0]->changed_seed = kept;
        rig_job_commit(&f, 10 - kept, 1);
        written = rig_check(f.g, f.v[0]);
        latest = catalog_latest(&run->catalog);
        assert_int_equal(latest.step, 10 - kept);
        /* While at least half of a segment lives, only what changed is written;
         * when less does, what it holds as well. */
        assert_int_equal(written,
                         extents[kept] * chunk_extent_bytes(RIG_CHUNK_BYTES));
    }
    rig_free(f.g);
}

/*
 * Every request in turn.
 */

struct sweep {
    const char *path;
    bool persistent;
    bool after;
};

/* One save with the nth request failing; false when there are no so many. */
static bool one_failure(const struct sweep *sweep, uint64_t nth)
{
    struct store_fault fault = {.op = -1,
                                .nth = nth,
                                .persistent = sweep->persistent,
                                .after = sweep->after,
                                .error = -EIO};
    struct rig_job f;
    struct rig_save before, *v[2];
    struct store *s;
    bool has_fired;

    rig_job_begin(&f, nth, &small);
    rig_job_commit(&f, 10, 1);
    before = *f.v[0];
    s = test_env_fault(f.g->daemon, sweep->path);
    assert_non_null(s);
    assert_int_equal(store_fault_add(s, &fault), 0);
    rig_job_save(&f, 20, 2, 0);
    v[0] = f.v[0];
    v[1] = f.v[1];
    /* A save that has voted cannot be decided without its home. */
    (void)rig_run(f.g, RIG_JOB_LIMIT_MS, rig_all_decided, f.g);
    if (strcmp(sweep->path, RIG_HOME) == 0 && sweep->persistent)
        store_fault_clear(s);
    rig_job_decide(&f);
    has_fired = store_fault_count(s) > 0;
    assert_int_equal(v[0]->state, v[1]->state);
    if (v[0]->state == WIRE_STATE_ABORTED)
        assert_true(v[0]->code < 0 && v[0]->text[0]);
    store_fault_clear(s);
    assert_settled(&f);
    /* A segment whose closing was made to fail stays locked by ourselves, which
     * no drive can bring about: then only what was there before is read. */
    if (v[0]->state == WIRE_STATE_COMMITTED && !sweep->persistent)
        (void)rig_check(f.g, v[0]);
    (void)rig_check(f.g, &before);
    rig_job_commit(&f, 30, 3);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
    return has_fired;
}

static void every_request_may_fail(void **state)
{
    static const struct sweep sweeps[] = {
        {"local", false, false}, {"local", true, false},
        {"local", false, true},  {RIG_HOME, false, false},
        {RIG_HOME, true, false}, {RIG_HOME, false, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sweeps); i++) {
        uint64_t nth = 1;

        while (one_failure(&sweeps[i], nth))
            nth++;
        print_message("%s%s%s: %u requests, each failed\n", sweeps[i].path,
                      sweeps[i].persistent ? " from then on" : "",
                      sweeps[i].after ? " after it was done" : "",
                      (unsigned)nth - 1);
        assert_true(nth > 5);
    }
}

/*
 * All of it at random.
 */

/* Of a local store; closing cannot fail. */
static int any_local_op(struct test_world *w)
{
    static const int ops[] = {STORE_SEG_OPEN,   STORE_SEG_SHARE, STORE_SEG_TRIM,
                              STORE_SEG_REMOVE, STORE_WRITE,     STORE_WRITE,
                              STORE_SYNC,       STORE_READ};

    return ops[test_random(w) % ARRAY_LEN(ops)];
}

static void add_trouble(struct rig *g)
{
    static const int errors[] = {-EIO, -ENOSPC, 0};
    struct test_world *w = g->world;
    bool is_local = test_random(w) % 2;
    struct store *s = test_env_fault(g->daemon, is_local ? "local" : RIG_HOME);
    struct store_fault fault = {
        .op = is_local ? any_local_op(w) : -1,
        .nth = 1 + test_random(w) % 20,
        .persistent = test_random(w) % 4 == 0,
        .error = errors[test_random(w) % ARRAY_LEN(errors)],
        .delay_polls = (uint32_t)(test_random(w) % 20),
    };

    assert_int_equal(store_fault_add(s, &fault), 0);
}

static void clear_trouble(struct rig *g)
{
    store_fault_clear(test_env_fault(g->daemon, "local"));
    store_fault_clear(test_env_fault(g->daemon, RIG_HOME));
}

static bool is_by_chance(void *arg)
{
    return test_random(arg) % 100 == 0;
}

/* A few saves with faults, ranks that hold back, and now and then a death. */
static void troubled_saves(struct rig_job *f, bool may_die)
{
    struct test_world *w = f->g->world;
    uint64_t step = 20;

    for (int k = 0; k < 4; k++, step += 1 + test_random(w) % 3) {
        uint32_t overload = (uint32_t)(test_random(w) % 3);

        if (test_random(w) % 2)
            add_trouble(f->g);
        for (uint32_t i = 0; i < f->n; i++) {
            f->r[i]->hold_after =
                test_random(w) % 8 ? UINT32_MAX : (uint32_t)test_random(w) % 9;
            if (!f->r[i]->is_gone)
                f->v[i] = rig_save(f->r[i], step, step % 3, overload);
            (void)rig_run(f->g, 50, is_by_chance, w);
        }
        if (may_die && test_random(w) % 4 == 0 && !f->r[1]->is_gone)
            rig_die(f->r[1]);
        (void)rig_run(f->g, test_random(w) % 2000, is_by_chance, w);
    }
    /* Past every deadline, of which each may wait for the one before; then
     * without faults. */
    (void)rig_run(f->g, (uint64_t)4 * RIG_JOB_LIMIT_MS, NULL, NULL);
    clear_trouble(f->g);
    (void)rig_run(f->g, (uint64_t)4 * RIG_JOB_LIMIT_MS, NULL, NULL);
}

static void trouble_at_random_neither_hangs_nor_leaks(void **state)
{
    uint64_t seeds = getenv("CKPT_TEST_LONG") ? 1000 : 60;
    uint32_t committed = 0, aborted = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct rig_shape shape = small;
        struct rig_job f;

        shape.codec = (uint32_t)(seed % 3);
        shape.entropy = seed % 2 ? 1 : 0;
        shape.slots = seed % 5 ? 6 : 40;
        rig_job_begin(&f, seed, &shape);
        rig_job_commit(&f, 10, 1);
        troubled_saves(&f, seed % 3 == 0);
        assert_settled(&f);
        LIST_FOR_EACH (node, &f.r[0]->saves) {
            const struct rig_save *v =
                container_of(node, struct rig_save, link);

            assert_true(v->state >= WIRE_STATE_COMMITTED);
            if (v->state == WIRE_STATE_COMMITTED)
                (void)rig_check(f.g, v);
            committed += v->state == WIRE_STATE_COMMITTED;
            aborted += v->state == WIRE_STATE_ABORTED;
        }
        rig_free(f.g);
    }
    print_message("%u committed, %u aborted\n", committed, aborted);
    assert_true(committed > seeds && aborted > seeds / 2);
}

/*
 * SIGKILL.
 */

static void a_killed_daemon_leaves_old_or_new(void **state)
{
    uint32_t committed = 0, lost = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rig_rank *again[RIG_RANKS_MAX];
        struct test_world *world = test_world_new(seed);
        struct rig_job f = {.n = 2};
        struct rig *g;

        f.g = rig_new_in(world, "a");
        rig_start(f.g, "token", &small, f.r);
        rig_job_commit(&f, 10, 1);
        world->step_ns = 1000000;
        rig_job_save(&f, 20, 2, 0);
        (void)rig_run(f.g, seed * 3, rig_all_decided, f.g);
        rig_kill(f.g);
        g = rig_new_in(world, "a");
        rig_start(g, "second", &small, again);
        assert_true(rig_joined(again[0]) && rig_joined(again[1]));
        assert_true(again[0]->parent.step == 10 || again[0]->parent.step == 20);
        assert_int_equal(save_id_compare(&again[0]->parent, &again[1]->parent),
                         0);
        if (again[0]->parent.step == 20)
            committed++;
        else
            lost++;
        if (f.v[0]->state == WIRE_STATE_COMMITTED)
            assert_int_equal(again[0]->parent.step, 20);
        (void)rig_check_as(g, f.g, &again[0]->parent);
        rig_free(f.g);
        f.g = g;
        f.r[0] = again[0];
        f.r[1] = again[1];
        rig_job_commit(&f, 30, 3);
        (void)rig_check(g, f.v[0]);
        rig_free(g);
    }
    print_message("killed: %u times the new one, %u times the old\n", committed,
                  lost);
    assert_true(committed > 0 && lost > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_that_dies_before_staged_aborts_its_save),
        cmocka_unit_test(a_rank_that_dies_after_staged_does_not_matter),
        cmocka_unit_test(a_job_that_dies_after_staged_has_its_checkpoint),
        cmocka_unit_test(saves_after_a_rank_has_left_abort_at_once),
        cmocka_unit_test(ranks_that_do_not_come_are_named_at_the_deadline),
        cmocka_unit_test(a_rank_may_cancel),
        cmocka_unit_test(a_full_drive_aborts_before_anything_is_staged),
        cmocka_unit_test(what_a_failed_write_took_is_written_elsewhere),
        cmocka_unit_test(bytes_that_are_gone_abort_the_save),
        cmocka_unit_test(a_drive_that_fails_every_write_is_given_up),
        cmocka_unit_test(
            a_failed_sync_aborts_and_its_segment_is_not_used_again),
        cmocka_unit_test(emptier_segments_are_rewritten),
        cmocka_unit_test(every_request_may_fail),
        cmocka_unit_test(trouble_at_random_neither_hangs_nor_leaks),
        cmocka_unit_test(a_killed_daemon_leaves_old_or_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
