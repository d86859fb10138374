/*
 * test_session_arena.c - how much shared memory a rank gets when there is not
 * enough for all: shares, arenas of dead ranks that give way, and larger ones
 * in place of the first.
 */
#include "tests/lib/load_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS     20000
#define TENSORS      2
#define TENSOR_BYTES (4 * (uint64_t)RIG_CHUNK_BYTES)
/* Of an arena that holds one save's chunks, and a few slots more. */
#define SLOTS ((uint32_t)10)

static const struct rig_shape alone = {.world_size = 1,
                                       .slots = SLOTS,
                                       .tensors = TENSORS,
                                       .tensor_bytes = TENSOR_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

static uint64_t bytes_of(uint32_t slots)
{
    return PAGE_BYTES + slots * (uint64_t)chunk_extent_bytes(RIG_CHUNK_BYTES);
}

static uint32_t slots_of(const struct rig_rank *r)
{
    return r->arena ? r->arena->shape.slot_count : 0;
}

static struct rig *rig_of(uint64_t seed, uint32_t slots_of_all)
{
    struct rig *g = rig_new(seed);

    g->daemon->arena_bytes_all = bytes_of(slots_of_all);
    return g;
}

/* Ask once more; the result. */
static int ask(struct rig_rank *r, uint32_t slots)
{
    r->error = 0;
    rig_arena(r, slots);
    (void)rig_run(r->rig, 20, NULL, NULL);
    return r->error;
}

static void save(struct rig_rank *r, uint64_t step)
{
    struct rig_save *v = rig_save(r, step, step, 0);

    assert_true(rig_run(r->rig, LIMIT_MS, rig_all_decided, r->rig));
    assert_int_equal(v->state, WIRE_STATE_COMMITTED);
    (void)rig_check(r->rig, v);
}

static struct rig_rank *start(struct rig *g, const char *token)
{
    struct rig_rank *ranks[RIG_RANKS_MAX];

    rig_start(g, token, &alone, ranks);
    assert_true(rig_joined(ranks[0]));
    return ranks[0];
}

/* The parent, and nothing of it from the drive. */
static void load_from_memory(struct rig_rank *r, const struct rig *saver)
{
    const struct rig_want want[TENSORS] = {{.tensor = 0}, {.tensor = 1}};
    struct store_fault fault = {
        .op = STORE_READ, .nth = 1, .persistent = true, .error = -EIO};
    struct store *local = test_env_fault(r->rig->daemon, "local");
    struct rig_load *l;

    assert_int_equal(store_fault_add(local, &fault), 0);
    rig_wish(r, 7, want, TENSORS, TENSOR_BYTES);
    l = rig_load(r, NULL);
    assert_true(rig_run(r->rig, LIMIT_MS, rig_loads_done, r->rig));
    assert_int_equal(l->code, 0);
    assert_int_equal(l->attempts, 1);
    rig_load_check(l, saver, &r->parent);
    store_fault_clear(local);
}

/*
 * Shares.
 */

static void no_rank_takes_more_than_its_share(void **state)
{
    struct rig_shape shape = alone;
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig *g = rig_of(1, 40);

    (void)state;
    shape.world_size = 4;
    shape.slots = 32;
    rig_start(g, "token", &shape, r);
    for (int i = 0; i < 4; i++)
        assert_in_range(slots_of(r[i]), 9, 10);
    assert_true(g->daemon->arena_bytes <= bytes_of(40));
    rig_free(g);
}

static void a_rank_alone_gets_what_it_wants(void **state)
{
    struct rig *g = rig_of(2, SLOTS + 1);

    (void)state;
    assert_int_equal(slots_of(start(g, "token")), SLOTS);
    rig_free(g);
}

static void a_rank_gets_four_slots_of_nothing(void **state)
{
    struct rig *g = rig_of(3, 0);
    struct rig_rank *r = start(g, "token");

    (void)state;
    assert_int_equal(slots_of(r), 4);
    save(r, 1);
    rig_free(g);
}

/*
 * Arenas of dead ranks.
 */

static void a_restart_loads_from_memory_and_gets_its_arena_back(void **state)
{
    struct rig_rank *r[2];

    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct rig *g = rig_of(seed, SLOTS + 6);

        r[0] = start(g, "first");
        assert_int_equal(slots_of(r[0]), SLOTS);
        save(r[0], 1);
        rig_die(r[0]);
        r[1] = start(g, "second");
        assert_int_equal(r[1]->parent.step, 1);
        /* What the other one holds is still to be loaded. */
        assert_int_equal(g->daemon->arenas, 2);
        assert_in_range(slots_of(r[1]), 4, SLOTS - 1);
        assert_int_equal(ask(r[1], SLOTS), -EBUSY);
        load_from_memory(r[1], g);
        save(r[1], 2);
        assert_int_equal(g->daemon->arenas, 1);
        assert_int_equal(ask(r[1], SLOTS), 0);
        assert_int_equal(slots_of(r[1]), SLOTS);
        assert_int_equal(g->daemon->arenas, 1);
        save(r[1], 3);
        assert_int_equal(ask(r[1], SLOTS), -EBUSY);
        rig_free(g);
    }
}

static void open_other_run(struct rig_rank *r)
{
    struct wire_hello hello = {.magic = WIRE_MAGIC,
                               .low = WIRE_VERSION_LOW,
                               .high = WIRE_VERSION_HIGH};
    struct wire_open open = {
        .home = RIG_HOME, .run = "other", .token = "other", .world_size = 1};
    struct wr w = {0};

    wire_hello_encode(&hello, &w);
    rig_send(r, WIRE_HELLO, 0, 1, &w);
    wr_free(&w);
    wire_open_encode(&open, &w);
    rig_send(r, WIRE_OPEN, 0, 2, &w);
    wr_free(&w);
    (void)rig_run(r->rig, 2000, NULL, NULL);
    assert_true(rig_joined(r));
}

static void what_no_job_here_will_load_gives_way_at_once(void **state)
{
    struct rig *g = rig_of(5, SLOTS + 6);
    struct rig_rank *r = start(g, "first"), *other;

    (void)state;
    save(r, 1);
    rig_die(r);
    (void)rig_run(g, 20, NULL, NULL);
    assert_int_equal(g->daemon->arenas, 1);
    other = rig_rank_new(g, 0, 1);
    open_other_run(other);
    assert_int_equal(ask(other, SLOTS), 0);
    assert_int_equal(slots_of(other), SLOTS);
    assert_int_equal(g->daemon->arenas, 1);
    rig_free(g);
}

static void what_fits_beside_a_cache_leaves_it(void **state)
{
    struct rig *g = rig_of(6, 2 * SLOTS + 1);
    struct rig_rank *r = start(g, "first"), *other;

    (void)state;
    save(r, 1);
    rig_die(r);
    (void)rig_run(g, 20, NULL, NULL);
    other = rig_rank_new(g, 0, 1);
    open_other_run(other);
    assert_int_equal(ask(other, SLOTS), 0);
    assert_int_equal(slots_of(other), SLOTS);
    assert_int_equal(g->daemon->arenas, 2);
    rig_free(g);
}

/*
 * A larger one.
 */

static void an_arena_in_use_is_not_replaced(void **state)
{
    struct rig *g = rig_of(7, 0);
    struct rig_rank *r = start(g, "token");

    (void)state;
    r->hold_after = 1;
    (void)rig_save(r, 1, 1, 0);
    (void)rig_run(g, 50, NULL, NULL);
    g->daemon->arena_bytes_all = UINT64_MAX;
    assert_int_equal(ask(r, SLOTS), -EBUSY);
    assert_non_null(strstr(r->error_text, "in use"));
    assert_int_equal(slots_of(r), 4);
    rig_free(g);
}

static void saves_go_on_in_the_larger_arena(void **state)
{
    struct rig *g = rig_of(8, 0);
    struct rig_rank *r = start(g, "token");

    (void)state;
    save(r, 1);
    g->daemon->arena_bytes_all = bytes_of(8);
    assert_int_equal(ask(r, SLOTS), 0);
    assert_int_equal(slots_of(r), 8);
    save(r, 2);
    /* One slot more is not worth a new one, unless it is all that is wanted. */
    g->daemon->arena_bytes_all = bytes_of(9);
    assert_int_equal(ask(r, SLOTS), -EBUSY);
    assert_int_equal(ask(r, 9), 0);
    assert_int_equal(slots_of(r), 9);
    save(r, 3);
    assert_int_equal(g->daemon->arenas, 1);
    rig_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rank_takes_more_than_its_share),
        cmocka_unit_test(a_rank_alone_gets_what_it_wants),
        cmocka_unit_test(a_rank_gets_four_slots_of_nothing),
        cmocka_unit_test(a_restart_loads_from_memory_and_gets_its_arena_back),
        cmocka_unit_test(what_no_job_here_will_load_gives_way_at_once),
        cmocka_unit_test(what_fits_beside_a_cache_leaves_it),
        cmocka_unit_test(an_arena_in_use_is_not_replaced),
        cmocka_unit_test(saves_go_on_in_the_larger_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
