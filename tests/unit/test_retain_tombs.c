/*
 * test_retain_tombs.c - what others remove (`ckpt gc`) under a daemon that goes
 * on: the space is free at the next commit, join, or reservation that fails;
 * never before the tomb is durable, and not while somebody reads.
 */
#include "ckptd/engine/retain.h"
#include "tests/lib/load_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS     900000
#define TENSOR_BYTES (5 * (uint64_t)RIG_CHUNK_BYTES - 100)

struct fixture {
    struct rig *g;
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig_save *v;
    struct save_id ten, twenty;
    uint64_t held; /* bytes, with both */
};

static struct run *run_of(const struct rig *g)
{
    struct home *home = container_of(g->engine->homes.next, struct home, link);

    return container_of(home->runs.next, struct run, link);
}

static uint64_t held_bytes(const struct fixture *f)
{
    struct segpool_stats stats;

    segpool_stats(f->g->engine->pool, &stats);
    return stats.allocated_bytes - stats.free_bytes;
}

static void enter(struct fixture *f, const char *token)
{
    struct rig_shape shape = {.world_size = 1,
                              .slots = 12,
                              .tensors = 2,
                              .tensor_bytes = TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1};

    rig_start(f->g, token, &shape, f->r);
    assert_true(rig_joined(f->r[0]));
}

static uint32_t save(struct fixture *f, uint64_t step)
{
    f->v = rig_save(f->r[0], step, step, 0);
    assert_true(rig_run(f->g, LIMIT_MS, rig_all_decided, f->g));
    (void)rig_run(f->g, 3000, NULL, NULL);
    return f->v->state;
}

/* Steps 10 and 20 of a run without a policy. */
static void begin(struct fixture *f, uint64_t seed)
{
    *f = (struct fixture){.g = rig_new(seed)};
    enter(f, "token");
    assert_int_equal(save(f, 10), WIRE_STATE_COMMITTED);
    f->ten = f->v->id;
    assert_int_equal(save(f, 20), WIRE_STATE_COMMITTED);
    f->twenty = f->v->id;
    f->held = held_bytes(f);
}

static void nothing(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
}

/* As `ckpt gc` does it. */
static void bury(const struct fixture *f, const struct save_id *id)
{
    struct record_tomb tomb = {.id = *id, .reason = "ckpt gc"};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};
    struct store_req req = {.op = STORE_PUT,
                            .name = name_save(name, RIG_RUN, "tomb", id),
                            .done = nothing};

    record_tomb_encode(&tomb, &w);
    req.buf = w.data;
    req.len = w.bytes;
    assert_int_equal(store_run(test_world_store(f->g->world, RIG_HOME), &req),
                     0);
    wr_free(&w);
}

static enum save_status status_of(const struct fixture *f,
                                  const struct save_id *id)
{
    return catalog_find(&run_of(f->g)->catalog, id)->status;
}

static void a_commit_without_a_policy_finds_tombs(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1);
    bury(&f, &f.ten);
    (void)rig_run(f.g, 5000, NULL, NULL);
    assert_int_equal(held_bytes(&f), f.held);
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
    assert_int_equal(held_bytes(&f), f.held); /* one gone, one come */
    assert_true(test_env_logged(f.g->daemon, "its space is free"));
    bury(&f, &f.twenty);
    assert_int_equal(save(&f, 40), WIRE_STATE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held);
    (void)rig_check(f.g, f.v);
    rig_free(f.g);
}

static void a_join_finds_tombs(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 2);
    bury(&f, &f.ten);
    rig_die(f.r[0]);
    enter(&f, "another");
    (void)rig_run(f.g, 3000, NULL, NULL);
    assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
    assert_int_equal(held_bytes(&f), f.held / 2);
    /* What is free is used, and the other is whole. */
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held);
    rig_free(f.g);
}

static void a_reservation_that_fails_looks_for_tombs(void **state)
{
    struct store_fault full = {
        .op = STORE_SEG_OPEN, .nth = 1, .persistent = true, .error = -ENOSPC};
    struct store *local;
    struct fixture f;

    (void)state;
    begin(&f, 3);
    local = test_env_fault(f.g->daemon, "local");
    bury(&f, &f.ten);
    assert_int_equal(store_fault_add(local, &full), 0);
    assert_int_equal(save(&f, 30), WIRE_STATE_ABORTED);
    assert_int_equal(f.v->code, -ENOSPC);
    assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
    assert_int_equal(held_bytes(&f), f.held / 2);
    store_fault_clear(local);
    assert_int_equal(save(&f, 40), WIRE_STATE_COMMITTED);
    rig_free(f.g);
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
    home = test_env_fault(f.g->daemon, RIG_HOME);
    assert_int_equal(store_fault_add(home, &fault), 0);
    bury(&f, &f.ten);
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    assert_true(test_env_logged(f.g->daemon, "letting go of what was removed"));
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    store_fault_clear(home);
    assert_int_equal(save(&f, 40), WIRE_STATE_COMMITTED);
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    rig_free(f.g);
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
        world = f.g->world;
        f.g->has_shared_world = true;
        bury(&f, &f.ten);
        rig_kill(f.g);
        rig_free(f.g);
        f.g = rig_new_in(world, "a");
        f.g->daemon->fault[0] = fault;
        f.g->daemon->fault_count = fails;
        enter(&f, "again");
        (void)rig_run(f.g, 3000, NULL, NULL);
        assert_int_equal(status_of(&f, &f.ten), SAVE_REMOVED);
        assert_int_equal(test_env_logged(f.g->daemon, "the tomb of save"),
                         fails);
        assert_int_equal(held_bytes(&f), fails ? f.held : f.held / 2);
        assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
        rig_free(f.g);
    }
}

static void a_read_is_waited_for(void **state)
{
    struct rig_want want[2] = {{.owner = 0}, {.owner = 0, .tensor = 1}};
    struct rig_load *l;
    struct fixture f;

    (void)state;
    begin(&f, 5);
    rig_wish(f.r[0], 7, want, 2, TENSOR_BYTES);
    l = rig_load(f.r[0], &f.ten);
    l->is_silent = true;
    (void)rig_run(f.g, 100, NULL, NULL);
    bury(&f, &f.ten);
    assert_int_equal(save(&f, 30), WIRE_STATE_COMMITTED);
    (void)rig_run(f.g, 20000, NULL, NULL);
    assert_int_equal(held_bytes(&f), f.held / 2 * 3);
    rig_load_vote(l);
    (void)rig_run(f.g, 5000, NULL, NULL);
    assert_int_equal(l->code, 0);
    assert_int_equal(held_bytes(&f), f.held); /* by itself, a while after */
    rig_free(f.g);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_without_a_policy_finds_tombs),
        cmocka_unit_test(a_join_finds_tombs),
        cmocka_unit_test(a_reservation_that_fails_looks_for_tombs),
        cmocka_unit_test(nothing_is_let_go_before_the_tomb_is_durable),
        cmocka_unit_test(nothing_is_freed_at_a_start_before_tombs_are_durable),
        cmocka_unit_test(a_read_is_waited_for),
    };

    return cmocka_run_group_tests_name("retain_tombs", tests, NULL, NULL);
}
