/*
 * test_retain_release.c - retention and the remote tier: what goes goes from
 * there too, what is being copied or is the last one there stays, and local
 * copies are let go of what is there, unless they are in use.
 */
#include "ckptd/engine/drain.h"
#include "ckptd/engine/load.h"
#include "tests/lib/load_rig.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_drain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS 900000

static const bool forms[] = {true, false}; /* in place, as blobs */

static void what_goes_goes_from_there_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct save_id first;
        struct rig_job f;

        rig_drain_begin(&f, 140 + i, forms[i], 1, 1);
        rig_job_commit(&f, 10, 10);
        first = f.v[0]->id;
        rig_drain_settle(f.g);
        assert_true(rig_drain_files(f.g, &first) > 2);
        rig_job_commit(&f, 20, 20);
        rig_drain_settle(f.g);
        rig_job_commit(&f, 30, 30);
        rig_drain_settle(f.g);
        rig_settle(f.g);
        assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
        assert_int_equal(rig_drain_files(f.g, &first), 0);
        assert_false(rig_home_has(f.g, "remote", &first));
        rig_drain_check(f.g, &f.v[0]->id, forms[i]);
        rig_free(f.g);
    }
}

/* The newest that is REMOTE stays until a newer one is. */
static void the_last_remote_one_is_kept(void **state)
{
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 150, true, 30, 1);
    rig_job_commit(&f, 30, 30);
    rig_drain_settle(f.g);
    assert_true(rig_is_remote(f.g, 30));
    for (uint64_t step = 40; step <= 50; step += 10) {
        rig_job_commit(&f, step, step);
        rig_settle(f.g);
    }
    assert_int_equal(rig_status(f.g, 30), SAVE_COMMITTED);
    assert_int_equal(rig_status(f.g, 40), SAVE_REMOVED);
    rig_job_commit(&f, 60, 60);
    rig_drain_settle(f.g);
    rig_job_commit(&f, 70, 70);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 30), SAVE_REMOVED);
    assert_int_equal(rig_status(f.g, 60), SAVE_COMMITTED);
    rig_free(f.g);
}

static void what_is_being_copied_is_held(void **state)
{
    struct save_id id;
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 160, true, 20, 1);
    f.g->engine->env->drain_bytes_s = 10000;
    rig_job_commit(&f, 20, 20);
    id = f.v[0]->id;
    (void)rig_run(f.g, 4000, NULL, NULL);
    assert_true(drain_is_busy(f.g->engine));
    rig_job_commit(&f, 30, 30);
    rig_settle(f.g);
    (void)rig_run(f.g, 10000, NULL, NULL);
    assert_int_equal(rig_status(f.g, 20), SAVE_COMMITTED);
    while (!rig_is_remote(f.g, 20))
        (void)rig_run(f.g, 1000, NULL, NULL);
    rig_drain_check(f.g, &id, true);
    rig_free(f.g);
}

/* What a pass could not remove of it is told. */
static void a_tier_that_removes_nothing_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct store_fault stuck = {.op = forms[i] ? STORE_SEG_REMOVE
                                                   : STORE_BLOB_REMOVE,
                                    .name_part = "/data/",
                                    .nth = 1,
                                    .error = -EIO};
        struct rig_job f;

        rig_drain_begin(&f, 180 + i, forms[i], 1, 1);
        rig_job_commit(&f, 10, 10);
        rig_drain_settle(f.g);
        test_env_fail(f.g->daemon, RIG_HOME, &stuck);
        for (uint64_t step = 20; step <= 40; step += 10) {
            rig_job_commit(&f, step, step);
            rig_drain_settle(f.g);
            rig_settle(f.g);
        }
        assert_true(test_env_logged(f.g->daemon, "removing a save"));
        rig_drain_check(f.g, &f.v[0]->id, forms[i]);
        rig_free(f.g);
    }
}

/* Others have removed what is being copied: its bytes stay until that is over,
 * and it is not REMOTE then. */
static void what_others_remove_is_held_while_it_is_copied(void **state)
{
    struct save_id id;
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 190, true, 20, 0);
    rig_job_commit(&f, 10, 10);
    f.g->engine->env->drain_bytes_s = 10000;
    rig_job_commit(&f, 20, 20);
    id = f.v[0]->id;
    (void)rig_run(f.g, 4000, NULL, NULL);
    assert_true(drain_uses(rig_the_run(f.g), &id));
    rig_bury(f.g, &id);
    retain_no_room(f.g->engine);
    (void)rig_run(f.g, 300, NULL, NULL);
    assert_true(drain_uses(rig_the_run(f.g), &id));
    assert_false(test_env_logged(f.g->daemon, "its space is free"));
    rig_drain_settle(f.g);
    rig_settle(f.g);
    assert_true(test_env_logged(f.g->daemon, "its space is free"));
    assert_false(rig_home_has(f.g, "remote", &id));
    rig_free(f.g);
}

/*
 * Local copies.
 */

static void begin_local(struct rig_job *f, uint64_t seed)
{
    struct rig_shape shape = rig_drain_shape(20, 0);

    shape.local_last = 1;
    *f = (struct rig_job){.g = rig_new(seed)};
    rig_job_enter(f, "one", &shape);
}

static struct save_id commit(struct rig_job *f, uint64_t step)
{
    rig_job_commit(f, step, step);
    return f->v[0]->id;
}

/* Saves the step; nothing happens any more. */
static struct save_id commit_and_settle(struct rig_job *f, uint64_t step)
{
    struct save_id id = commit(f, step);

    rig_drain_settle(f->g);
    rig_settle(f->g);
    return id;
}

/* What happens to remote/SAVE, the mark, from now on. */
static void mark_fails(const struct rig_job *f, const struct save_id *id,
                       struct store_fault fault)
{
    char name[RECORD_NAME_BYTES];
    size_t length = strlen(name_save(name, RIG_RUN, "remote", id));
    struct store *home = test_env_fault(f->g->daemon, RIG_HOME);
    static char kept[RECORD_NAME_BYTES];

    memcpy(kept, name, length + 1);
    fault.op = STORE_PUT;
    fault.name_part = kept;
    assert_int_equal(store_fault_add(home, &fault), 0);
}

static bool is_released(const struct rig_job *f, uint64_t step)
{
    return rig_save_at(f->g, step)->is_released;
}

/* Of what is REMOTE only the newest stays here, in this life and the next. */
static void older_local_copies_are_let_go(void **state)
{
    struct rig_shape shape = rig_drain_shape(20, 0);
    struct segpool_stats before = {0}, after;
    struct test_world *world;
    struct rig_job f;

    (void)state;
    shape.local_last = 1;
    f = (struct rig_job){.g = rig_new(170)};
    rig_job_enter(&f, "one", &shape);
    for (uint64_t step = 20; step <= 100; step += 20) {
        rig_job_commit(&f, step, step);
        rig_drain_settle(f.g);
        rig_settle(f.g);
        if (step == 40)
            segpool_stats(f.g->engine->pool, &before);
        for (uint64_t s = 20; s <= step; s += 20) {
            assert_true(rig_is_remote(f.g, s));
            assert_int_equal(rig_save_at(f.g, s)->is_released, s < step);
        }
    }
    segpool_stats(f.g->engine->pool, &after);
    assert_int_equal(after.referenced_bytes, before.referenced_bytes);
    assert_true(after.allocated_bytes <= before.allocated_bytes);
    world = f.g->world;
    f.g->has_shared_world = true;
    rig_free(f.g);

    f = (struct rig_job){.g = rig_new_in(world, "a")};
    rig_job_enter(&f, "two", &shape);
    rig_job_commit(&f, 110, 110); /* which does not go there */
    rig_drain_settle(f.g);
    rig_settle(f.g);
    assert_true(rig_save_at(f.g, 80)->is_released);
    assert_true(rig_save_at(f.g, 100)->is_released);
    assert_false(rig_save_at(f.g, 110)->is_released);
    rig_job_commit(&f, 130, 130);
    rig_settle(f.g);
    assert_false(rig_save_at(f.g, 110)->is_released); /* it is nowhere else */
    rig_free(f.g);
}

/* A mark that cannot be made sure of lets nothing go. */
static void a_mark_that_may_not_be_durable_frees_nothing(void **state)
{
    const struct store_fault broken = {
        .nth = 1, .persistent = true, .error = -EIO};
    struct save_id first;
    struct rig_job f;

    (void)state;
    begin_local(&f, 200);
    first = commit_and_settle(&f, 20);
    mark_fails(&f, &first, broken);
    (void)commit_and_settle(&f, 40);
    assert_true(test_env_logged(f.g->daemon,
                                "making sure that a checkpoint is REMOTE"));
    assert_false(is_released(&f, 20));
    (void)rig_check_as(f.g, f.g, &first); /* all of it is here */
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    (void)commit_and_settle(&f, 50);
    assert_true(is_released(&f, 20));
    rig_free(f.g);
}

/* It was seen, and a power cut has taken it: it is made again before anything
 * is let go. */
static void a_mark_that_was_lost_is_made_again(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct save_id first;
    struct rig_job f;

    (void)state;
    begin_local(&f, 205);
    first = commit_and_settle(&f, 20);
    assert_int_equal(
        media_remove(rig_home(f.g), name_save(name, RIG_RUN, "remote", &first)),
        0);
    (void)commit_and_settle(&f, 40);
    assert_true(is_released(&f, 20));
    rig_drain_check(f.g, &first, true);
    rig_free(f.g);
}

/* Somebody removes it, and a job that joins sees that, while the pass makes
 * sure of the mark: that is not a copy let go, but a save. */
static void what_is_removed_meanwhile_is_not_said_to_be_remote(void **state)
{
    const struct store_fault slow = {.nth = 1, .delay_polls = 500000};
    struct rig_shape shape = rig_drain_shape(20, 0);
    struct save_id first;
    struct rig_job f;

    (void)state;
    begin_local(&f, 210);
    first = commit_and_settle(&f, 20);
    mark_fails(&f, &first, slow);
    (void)commit(&f, 40);
    rig_drain_settle(f.g);
    assert_true(retain_is_busy(rig_the_run(f.g)));
    rig_bury(f.g, &first);
    for (uint32_t i = 0; i < f.n; i++)
        rig_die(f.r[i]);
    rig_job_enter(&f, "two", &shape);
    assert_int_equal(rig_status(f.g, 20), SAVE_REMOVED);
    assert_true(retain_is_busy(rig_the_run(f.g)));
    rig_settle(f.g);
    assert_false(test_env_logged(f.g->daemon, "its local copy is let go"));
    rig_free(f.g);
}

/* The one that is under way is let go of, and no other. */
static void a_daemon_that_stops_lets_no_more_go(void **state)
{
    const struct store_fault broken = {
        .nth = 1, .persistent = true, .error = -EIO};
    const struct store_fault slow = {.nth = 1, .delay_polls = 500000};
    struct save_id first;
    struct rig_job f;

    (void)state;
    begin_local(&f, 220);
    first = commit_and_settle(&f, 20);
    mark_fails(&f, &first, broken);
    (void)commit_and_settle(&f, 40);
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    mark_fails(&f, &first, slow);
    (void)commit(&f, 60);
    rig_drain_settle(f.g);
    assert_true(retain_is_busy(rig_the_run(f.g)));
    engine_halt(f.g->engine);
    (void)rig_run(f.g, 60000, NULL, NULL);
    assert_false(retain_is_busy(rig_the_run(f.g)));
    assert_true(is_released(&f, 20));
    assert_false(is_released(&f, 40));
    rig_free(f.g);
}

static void what_is_being_loaded_stays_here(void **state)
{
    /* More than there are slots. */
    static const struct rig_want want[] = {{.owner = 0, .tensor = 0},
                                           {.owner = 0, .tensor = 1},
                                           {.owner = 1, .tensor = 0}};
    const struct store_fault broken = {
        .nth = 1, .persistent = true, .error = -EIO};
    struct save_id first;
    struct rig_load *l;
    struct rig_job f;

    (void)state;
    begin_local(&f, 230);
    first = commit_and_settle(&f, 20);
    mark_fails(&f, &first, broken);
    (void)commit_and_settle(&f, 40);
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    rig_wish(f.r[0], 7, want, ARRAY_LEN(want), RIG_DRAIN_TENSOR_BYTES);
    l = rig_load(f.r[0], &first);
    l->is_holding = true;
    (void)rig_run(f.g, 100, NULL, NULL);
    retain_run(rig_the_run(f.g));
    rig_settle(f.g);
    assert_false(is_released(&f, 20));
    l->is_holding = false;
    rig_load_consume(l);
    assert_true(rig_run(f.g, LIMIT_MS, rig_loads_done, f.g));
    assert_int_equal(l->code, 0);
    rig_load_check(l, f.g, &first);
    rig_settle(f.g);
    assert_true(is_released(&f, 20));
    rig_free(f.g);
}

/* A load that begins while the mark is made sure of. */
static void what_is_loaded_meanwhile_stays_here(void **state)
{
    static const struct rig_want want[] = {{.owner = 0, .tensor = 0},
                                           {.owner = 0, .tensor = 1},
                                           {.owner = 1, .tensor = 0}};
    const struct store_fault slow = {.nth = 1, .delay_polls = 500000};
    struct save_id first;
    struct rig_load *l;
    struct rig_job f;

    (void)state;
    begin_local(&f, 235);
    first = commit_and_settle(&f, 20);
    mark_fails(&f, &first, slow);
    (void)commit(&f, 40);
    rig_drain_settle(f.g);
    assert_true(retain_is_busy(rig_the_run(f.g)));
    assert_false(is_released(&f, 20));
    rig_wish(f.r[0], 7, want, ARRAY_LEN(want), RIG_DRAIN_TENSOR_BYTES);
    l = rig_load(f.r[0], &first);
    l->is_holding = true;
    (void)rig_run(f.g, 20000, NULL, NULL);
    assert_true(loads_pending(rig_the_run(f.g)));
    assert_false(is_released(&f, 20));
    l->is_holding = false;
    rig_load_consume(l);
    assert_true(rig_run(f.g, LIMIT_MS, rig_loads_done, f.g));
    assert_int_equal(l->code, 0);
    rig_load_check(l, f.g, &first);
    rig_settle(f.g);
    assert_true(is_released(&f, 20));
    rig_free(f.g);
}

static void what_a_save_refers_to_stays_here(void **state)
{
    struct store_fault undecided = {.op = STORE_PUT,
                                    .name_part =
                                        "/decision/00000001-0000000000000000003"
                                        "0",
                                    .nth = 1,
                                    .persistent = true,
                                    .error = -EIO};
    struct rig_save *held;
    struct rig_job f;

    (void)state;
    begin_local(&f, 240);
    (void)commit_and_settle(&f, 20);
    test_env_fail(f.g->daemon, RIG_HOME, &undecided);
    rig_job_save(&f, 30, 30, 0);
    held = f.v[0];
    (void)rig_run(f.g, 500, NULL, NULL);
    (void)commit(&f, 40);
    rig_drain_settle(f.g);
    rig_settle(f.g);
    assert_true(rig_is_remote(f.g, 40));
    assert_false(is_released(&f, 20));
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    (void)rig_run(f.g, 100000, NULL, NULL);
    assert_true(held->state >= WIRE_STATE_COMMITTED);
    rig_settle(f.g);
    assert_true(is_released(&f, 20));
    rig_free(f.g);
}

static void await_remote(struct rig_rank *r, const struct save_id *id)
{
    const struct wire_await v = {*id};
    struct wr w = {0};

    wire_await_encode(&v, &w);
    rig_send(r, WIRE_AWAIT, 0, 900, &w);
    wr_free(&w);
}

/* An earlier life had put the mark, but not known it: a rank that waits sees
 * that it is REMOTE while this life still goes through it. */
static void what_is_being_copied_stays_here(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct save_id first;
    struct rig_job f;

    (void)state;
    begin_local(&f, 250);
    f.g->engine->env->drain_bytes_s = 20000;
    first = commit(&f, 20);
    (void)rig_run(f.g, 4000, NULL, NULL);
    rig_put_mark(f.g, RECORD_REMOTE, name_save(name, RIG_RUN, "remote", &first),
                 &first);
    await_remote(f.r[0], &first);
    (void)rig_run(f.g, 3000, NULL, NULL);
    assert_true(rig_is_remote(f.g, 20));
    (void)commit(&f, 30);
    rig_settle(f.g);
    assert_true(drain_uses(rig_the_run(f.g), &first));
    assert_false(is_released(&f, 20));
    rig_drain_settle(f.g);
    rig_settle(f.g);
    assert_true(is_released(&f, 20));
    rig_drain_check(f.g, &first, true);
    rig_free(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_goes_from_there_too),
        cmocka_unit_test(the_last_remote_one_is_kept),
        cmocka_unit_test(what_is_being_copied_is_held),
        cmocka_unit_test(a_tier_that_removes_nothing_is_told),
        cmocka_unit_test(what_others_remove_is_held_while_it_is_copied),
        cmocka_unit_test(older_local_copies_are_let_go),
        cmocka_unit_test(a_mark_that_may_not_be_durable_frees_nothing),
        cmocka_unit_test(a_mark_that_was_lost_is_made_again),
        cmocka_unit_test(what_is_removed_meanwhile_is_not_said_to_be_remote),
        cmocka_unit_test(a_daemon_that_stops_lets_no_more_go),
        cmocka_unit_test(what_is_being_loaded_stays_here),
        cmocka_unit_test(what_is_loaded_meanwhile_stays_here),
        cmocka_unit_test(what_a_save_refers_to_stays_here),
        cmocka_unit_test(what_is_being_copied_stays_here),
    };

    return cmocka_run_group_tests_name("retain_release", tests, NULL, NULL);
}
