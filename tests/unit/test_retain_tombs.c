/*
 * test_retain_tombs.c - what others remove (`ckpt gc`) under a daemon that goes
 * on: the space is free at the next commit, join, or reservation that fails;
 * never before the tomb is durable, and not while somebody reads.
 */
#include "tests/lib/load_rig.h"
#include "tests/lib/rig_job.h"
#include "tests/lib/rig_retain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TENSOR_BYTES (5 * (uint64_t)RIG_CHUNK_BYTES - 100)

struct fixture {
    struct rig_job j;
    struct save_id ten, twenty;
    uint64_t held; /* bytes, with both */
};

static uint64_t held_bytes(const struct fixture *f)
{
    struct segpool_stats stats;

    segpool_stats(f->j.g->engine->pool, &stats);
    return stats.allocated_bytes - stats.free_bytes;
}

static const struct rig_shape shape = {.world_size = 1,
                                       .slots = 12,
                                       .tensors = 2,
                                       .tensor_bytes = TENSOR_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

static uint32_t save(struct fixture *f, uint64_t step)
{
    rig_job_save(&f->j, step, step, 0);
    rig_job_decide(&f->j);
    (void)rig_run(f->j.g, 3000, NULL, NULL);
    return f->j.v[0]->state;
}

/* Steps 10 and 20 of a run without a policy. */
static void begin(struct fixture *f, uint64_t seed)
{
    rig_job_begin(&f->j, seed, &shape);
    assert_int_equal(save(f, 10), WIRE_STATE_COMMITTED);
    f->ten = f->j.v[0]->id;
    assert_int_equal(save(f, 20), WIRE_STATE_COMMITTED);
    f->twenty = f->j.v[0]->id;
    f->held = held_bytes(f);
}

static enum save_status status_of(const struct fixture *f,
                                  const struct save_id *id)
{
    return catalog_status(&rig_the_run(f->j.g)->catalog, id);
}

static void a_commit_without_a_policy_finds_tombs(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1);
    rig_bury(f.j.g, &f.ten);
    (void)rig_run(f.j.g, 5000, NULL, NULL);
    assert_int_equal(held_bytes(&f), f.held);
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
    assert_int_equal(held_bytes(&f), f.held); /* one gone, one come */
    assert_true(test_env_logged(f.j.g->daemon, "its space is free"));
    rig_bury(f.j.g, &f.twenty);
    assert_int_equal(save(&f, 40), WIRE_STATE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held);
    (void)rig_check(f.j.g, f.j.v[0]);
    rig_free(f.j.g);
}

static void a_join_finds_tombs(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 2);
    rig_bury(f.j.g, &f.ten);
    rig_die(f.j.r[0]);
    rig_job_enter(&f.j, "another", &shape);
    (void)rig_run(f.j.g, 3000, NULL, NULL);
    assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
    assert_int_equal(held_bytes(&f), f.held / 2);
    /* What is free is used, and the other is whole. */
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held);
    rig_free(f.j.g);
}

static void a_reservation_that_fails_looks_for_tombs(void **state)
{
    struct store_fault full = {
        .op = STORE_SEG_OPEN, .nth = 1, .persistent = true, .error = -ENOSPC};
    struct store *local;
    struct fixture f;

    (void)state;
    begin(&f, 3);
    local = test_env_fault(f.j.g->daemon, "local");
    rig_bury(f.j.g, &f.ten);
    assert_int_equal(store_fault_add(local, &full), 0);
    assert_int_equal(save(&f, 30), WIRE_STATE_ABORTED);
    assert_int_equal(f.j.v[0]->code, -ENOSPC);
    assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
    assert_int_equal(held_bytes(&f), f.held / 2);
    store_fault_clear(local);
    assert_int_equal(save(&f, 40), WIRE_STATE_COMMITTED);
    rig_free(f.j.g);
}

/* Seen is not durable: what it frees is written over. */
static void nothing_is_let_go_before_the_tomb_is_durable(void **state)
{
    struct store_fault fault = {.op = STORE_PUT,
                                .name_part = "tomb",
                                .nth = 1,
                                .persistent = true,
                                .error = -EIO};
    struct store *home;
    struct fixture f;

    (void)state;
    begin(&f, 4);
    home = test_env_fault(f.j.g->daemon, RIG_HOME);
    assert_int_equal(store_fault_add(home, &fault), 0);
    rig_bury(f.j.g, &f.ten);
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    assert_true(
        test_env_logged(f.j.g->daemon, "letting go of what was removed"));
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    store_fault_clear(home);
    assert_int_equal(save(&f, 40), WIRE_STATE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    rig_free(f.j.g);
}

/* The same of a tomb that an earlier life of the daemon has left. */
static void nothing_is_freed_at_a_start_before_tombs_are_durable(void **state)
{
    struct store_fault fault = {.op = STORE_PUT,
                                .name_part = "tomb",
                                .nth = 1,
                                .persistent = true,
                                .error = -EIO};
    struct test_world *world;
    struct fixture f;

    (void)state;
    for (uint32_t fails = 0; fails < 2; fails++) {
        begin(&f, 6 + fails);
        world = f.j.g->world;
        f.j.g->has_shared_world = true;
        rig_bury(f.j.g, &f.ten);
        rig_kill(f.j.g);
        rig_free(f.j.g);
        f.j.g = rig_new_in(world, "a");
        f.j.g->daemon->fault[0] = fault;
        f.j.g->daemon->fault_count = fails;
        rig_job_enter(&f.j, "again", &shape);
        (void)rig_run(f.j.g, 3000, NULL, NULL);
        assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
        assert_int_equal(test_env_logged(f.j.g->daemon, "the tomb of save"),
                         fails);
        assert_int_equal(held_bytes(&f), fails ? f.held : f.held / 2);
        assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
        rig_free(f.j.g);
    }
}

/* Tombs of saves that nobody here has ever heard of. */
static void bury_many(const struct fixture *f)
{
    for (uint64_t step = 1; step < 10; step++) {
        for (uint32_t attempt = 2; attempt < 10; attempt++) {
            struct save_id id = {
                .generation = 1, .attempt = attempt, .step = step};

            rig_bury(f->j.g, &id);
        }
    }
}

/* Steps 10 and 20, and many tombs that are known. */
static void begin_old(struct fixture *f, uint64_t seed)
{
    begin(f, seed);
    bury_many(f);
    rig_die(f->j.r[0]);
    rig_job_enter(&f->j, "another", &shape);
    (void)rig_run(f->j.g, 3000, NULL, NULL);
}

/* To list them all once more with each save would take the longer the older the
 * run is. */
static void where_there_are_many_tombs_few_are_looked_for(void **state)
{
    struct store_fault list = {.op = STORE_LIST,
                               .name_part = "tomb",
                               .nth = 1,
                               .persistent = true,
                               .error = -EIO};
    struct store_fault get = {.op = STORE_GET,
                              .name_part = "tomb",
                              .nth = 1,
                              .persistent = true,
                              .error = -EIO};
    const struct catalog_save undecided = {
        .id = {.generation = 1, .attempt = 1, .step = 3},
        .status = SAVE_UNDECIDED};
    const struct catalog *c;
    struct store *home;
    struct fixture f;

    (void)state;
    begin_old(&f, 8);
    c = &rig_the_run(f.j.g)->catalog;
    assert_int_equal(c->over.count, 72);
    assert_int_equal(c->save_count, 2);
    /* Of one that is undecided there is nothing to ask. */
    assert_int_equal(
        catalog_note_save(&rig_the_run(f.j.g)->catalog, &undecided, ""), 0);
    home = test_env_fault(f.j.g->daemon, RIG_HOME);
    assert_int_equal(store_fault_add(home, &list), 0);
    rig_bury(f.j.g, &f.ten);
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
    assert_int_equal(status_of(&f, &f.twenty), SAVE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held);
    assert_int_equal(c->save_count, 3);
    /* Who cannot be asked is not removed. */
    assert_int_equal(store_fault_add(home, &get), 0);
    rig_bury(f.j.g, &f.twenty);
    assert_int_equal(save(&f, 40), WIRE_STATE_COMMITTED);
    assert_true(
        test_env_logged(f.j.g->daemon, "letting go of what was removed"));
    assert_int_equal(status_of(&f, &f.twenty), SAVE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    store_fault_clear(home);
    assert_int_equal(save(&f, 50), WIRE_STATE_COMMITTED);
    assert_int_equal(status_of(&f, &f.twenty), SAVE_REMOVED);
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    rig_free(f.j.g);
}

static void looking_for_tombs_may_be_stopped_at_every_turn(void **state)
{
    uint32_t busy = 0;

    (void)state;
    for (uint64_t turns = 0; turns < 12; turns++) {
        struct fixture f;

        begin_old(&f, 20 + turns);
        rig_bury(f.j.g, &f.ten);
        retain_run(rig_the_run(f.j.g));
        for (uint64_t i = 0; i < turns; i++)
            (void)rig_run(f.j.g, 0, NULL, NULL);
        busy += retain_is_busy(rig_the_run(f.j.g));
        engine_halt(f.j.g->engine);
        (void)rig_run(f.j.g, 1000, NULL, NULL);
        rig_free(f.j.g);
    }
    assert_in_range(busy, 2, 12);
}

static void a_read_is_waited_for(void **state)
{
    struct rig_want want[2] = {{.owner = 0}, {.owner = 0, .tensor = 1}};
    struct rig_load *l;
    struct fixture f;

    (void)state;
    begin(&f, 5);
    rig_wish(f.j.r[0], 7, want, 2, TENSOR_BYTES);
    l = rig_load(f.j.r[0], &f.ten);
    l->is_silent = true;
    (void)rig_run(f.j.g, 100, NULL, NULL);
    rig_bury(f.j.g, &f.ten);
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    (void)rig_run(f.j.g, 20000, NULL, NULL);
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    rig_load_vote(l);
    (void)rig_run(f.j.g, 5000, NULL, NULL);
    assert_int_equal(l->code, 0);
    assert_int_equal(held_bytes(&f), f.held); /* by itself, a while after */
    rig_free(f.j.g);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_without_a_policy_finds_tombs),
        cmocka_unit_test(a_join_finds_tombs),
        cmocka_unit_test(a_reservation_that_fails_looks_for_tombs),
        cmocka_unit_test(nothing_is_let_go_before_the_tomb_is_durable),
        cmocka_unit_test(nothing_is_freed_at_a_start_before_tombs_are_durable),
        cmocka_unit_test(where_there_are_many_tombs_few_are_looked_for),
        cmocka_unit_test(looking_for_tombs_may_be_stopped_at_every_turn),
        cmocka_unit_test(a_read_is_waited_for),
    };

    return cmocka_run_group_tests_name("retain_tombs", tests, NULL, NULL);
}
