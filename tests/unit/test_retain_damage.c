/*
 * test_retain_damage.c - a checkpoint that a scrub found damaged does not count
 * as one of the last, and nothing is removed behind it while it is the newest.
 */
#include "ckptd/engine/retain.h"
#include "tests/lib/load_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LIMIT_MS     900000
#define TENSOR_BYTES (5 * (uint64_t)RIG_CHUNK_BYTES - 100)

static struct run *run_of(const struct rig *g)
{
    struct home *home = container_of(g->engine->homes.next, struct home, link);

    return container_of(home->runs.next, struct run, link);
}

static bool is_retained(void *arg)
{
    return !retain_is_busy(run_of(arg));
}

/* Commits the step, until what it lets go is gone. */
static struct save_id commit(struct rig *g, struct rig_rank *r, uint64_t step)
{
    struct rig_save *v = rig_save(r, step, step, 0);

    assert_true(rig_run(g, LIMIT_MS, rig_all_decided, g));
    assert_int_equal(v->state, WIRE_STATE_COMMITTED);
    (void)rig_run(g, 2000, NULL, NULL);
    assert_true(rig_run(g, LIMIT_MS, is_retained, g));
    (void)rig_run(g, 100, NULL, NULL);
    return v->id;
}

static enum save_status status_of(const struct rig *g, uint64_t step)
{
    const struct catalog *c = &run_of(g)->catalog;

    for (size_t i = c->save_count; i-- > 0;)
        if (c->save[i].id.step == step)
            return c->save[i].status;
    return 0;
}

static void nothing(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
}

static void put_mark(const struct rig *g, enum record_kind kind,
                     const char *name, const struct save_id *id)
{
    struct record_mark mark = {.id = *id, .created_unix_ms = 1};
    struct store_req req = {.op = STORE_PUT, .name = name, .done = nothing};
    struct wr w = {0};

    record_mark_encode(kind, &mark, &w);
    req.buf = w.data;
    req.len = w.bytes;
    assert_int_equal(store_run(test_world_store(g->world, RIG_HOME), &req), 0);
    wr_free(&w);
}

static void nothing_goes_behind_a_damaged_newest(void **state)
{
    struct rig_shape shape = {.world_size = 1,
                              .slots = 12,
                              .tensors = 2,
                              .tensor_bytes = TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1,
                              .keep_last = 1};
    char pin[RECORD_NAME_BYTES], name[RECORD_NAME_BYTES];
    struct store_req unpin = {.op = STORE_REMOVE, .name = pin, .done = nothing};
    struct id128 store = {.b = {7}};
    struct rig *g = rig_new(4);
    struct rig_rank *r[RIG_RANKS_MAX];
    struct save_id id;

    (void)state;
    rig_start(g, "token", &shape, r);
    assert_true(rig_joined(r[0]));
    id = commit(g, r[0], 10);
    put_mark(g, RECORD_PIN, name_save(pin, RIG_RUN, "pin", &id), &id);
    (void)commit(g, r[0], 20);
    assert_int_equal(store_run(test_world_store(g->world, RIG_HOME), &unpin),
                     0);
    id.step = 30;
    put_mark(g, RECORD_DAMAGED,
             name_save_daemon(name, RIG_RUN, "damaged", &id, &store), &id);
    (void)commit(g, r[0], 30);
    assert_int_equal(status_of(g, 10), SAVE_COMMITTED);
    assert_int_equal(status_of(g, 20), SAVE_COMMITTED);
    (void)commit(g, r[0], 40);
    assert_int_equal(status_of(g, 10), SAVE_REMOVED);
    assert_int_equal(status_of(g, 20), SAVE_REMOVED);
    assert_int_equal(status_of(g, 30), SAVE_REMOVED);
    assert_int_equal(status_of(g, 40), SAVE_COMMITTED);
    rig_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_goes_behind_a_damaged_newest),
    };

    return cmocka_run_group_tests_name("retain_damage", tests, NULL, NULL);
}
