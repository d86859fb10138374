/*
 * test_await.c - ranks that wait for REMOTE at a real engine: told by its own
 * drain, by a record that another daemon has put, after a while as it is; what
 * is not sent there and what was removed; how often the home is looked into.
 */
#include "ckptd/engine/await.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_job.h"
#include "tests/lib/rig_pair.h"
#include "tests/lib/rig_retain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define REQUEST 900

static const struct rig_shape plain = {.world_size = 2,
                                       .slots = 12,
                                       .tensors = 2,
                                       .tensor_bytes = 3 * RIG_CHUNK_BYTES,
                                       .codec = 1,
                                       .entropy = 1,
                                       .remote_every = 10};

/* Nothing gets into data/ of the home any more. */
static const struct store_fault no_data = {.op = STORE_SEG_OPEN,
                                           .name_part = "/data/",
                                           .nth = 1,
                                           .persistent = true,
                                           .error = -ENOSPC};

static void ask(struct rig_rank *r, const struct save_id *id, uint64_t request)
{
    const struct wire_await v = {*id};
    struct wr w = {0};

    wire_await_encode(&v, &w);
    rig_send(r, WIRE_AWAIT, 0, request, &w);
    wr_free(&w);
}

/* The states that were answered, by the number of the request. */
static uint32_t told[16];

static void take(struct rig_rank *r, const struct test_frame *f)
{
    struct wire_state v;

    (void)r;
    if (f->header.type != WIRE_STATE || f->header.id < REQUEST)
        return;
    assert_int_equal(wire_state_decode(f->payload, f->header.length, &v), 0);
    told[f->header.id - REQUEST] = v.state;
}

static struct save_id saved(struct rig_job *f, uint64_t step)
{
    rig_job_commit(f, step, step);
    f->r[0]->on_frame = take;
    memset(told, 0, sizeof told);
    return f->v[0]->id;
}

static void its_own_drain_tells(void **state)
{
    struct rig_job f;
    struct save_id id;

    (void)state;
    rig_job_begin(&f, 1, &plain);
    id = saved(&f, 10);
    ask(f.r[0], &id, REQUEST);
    ask(f.r[0], &id, REQUEST + 1);
    (void)rig_run(f.g, 9000, NULL, NULL);
    assert_int_equal(told[0], WIRE_STATE_REMOTE);
    assert_int_equal(told[1], WIRE_STATE_REMOTE);
    ask(f.r[0], &id, REQUEST + 2); /* known: at once */
    (void)rig_run(f.g, 1, NULL, NULL);
    assert_int_equal(told[2], WIRE_STATE_REMOTE);
    rig_free(f.g);
}

/* However many wait, and a home that cannot be asked is asked again. */
static void the_home_is_looked_into_once_a_second(void **state)
{
    const struct store_fault away = {.op = STORE_STAT,
                                     .name_part = "/remote/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -EIO};
    struct rig_job f;
    struct save_id id;
    uint64_t before;
    struct store *home;

    (void)state;
    rig_job_begin(&f, 2, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &no_data);
    id = saved(&f, 10);
    (void)rig_run(f.g, 500, NULL, NULL);
    home = test_env_fault(f.g->daemon, RIG_HOME);
    store_fault_clear(home);
    test_env_fail(f.g->daemon, RIG_HOME, &away);
    catalog_find(&rig_the_run(f.g)->catalog, &id)->drain_at_s = UINT32_MAX;
    before = store_fault_count(home);
    for (uint64_t i = 0; i < 8; i++)
        ask(f.r[0], &id, REQUEST + i);
    (void)rig_run(f.g, AWAIT_MS - 500, NULL, NULL);
    assert_int_equal(told[0], 0);
    assert_in_range(store_fault_count(home) - before, 8, 10);
    (void)rig_run(f.g, 2000, NULL, NULL);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(told[i], WIRE_STATE_COMMITTED);
    /* Nobody waits any more. */
    before = store_fault_count(home);
    (void)rig_run(f.g, 20000, NULL, NULL);
    assert_int_equal(store_fault_count(home), before);
    rig_free(f.g);
}

static void what_others_have_put_there_is_seen(void **state)
{
    struct rig_job f;
    struct save_id id;
    char name[RECORD_NAME_BYTES];

    (void)state;
    rig_job_begin(&f, 3, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &no_data);
    id = saved(&f, 10);
    ask(f.r[0], &id, REQUEST);
    (void)rig_run(f.g, 2000, NULL, NULL);
    assert_int_equal(told[0], 0);
    assert_int_equal(media_put(rig_home(f.g),
                               name_save(name, RIG_RUN, "remote", &id), "x", 1),
                     0);
    (void)rig_run(f.g, 1500, NULL, NULL);
    assert_int_equal(told[0], WIRE_STATE_REMOTE);
    assert_true(
        catalog_is_remote(catalog_find(&rig_the_run(f.g)->catalog, &id)));
    rig_free(f.g);
}

static void a_share_of_another_daemon_is_waited_for(void **state)
{
    struct rig_pair p;
    struct save_id id;

    (void)state;
    rig_pair_begin(&p, 4, &plain);
    test_env_fail(p.g[1]->daemon, RIG_HOME, &no_data);
    rig_pair_save(&p, 10, 0);
    rig_pair_decide(&p);
    id = p.v[0]->id;
    memset(told, 0, sizeof told);
    p.r[0]->on_frame = take;
    ask(p.r[0], &id, REQUEST);
    rig_pair_turn(&p, AWAIT_MS + 2000);
    assert_int_equal(told[0], WIRE_STATE_COMMITTED);
    assert_true(test_env_logged(p.g[0]->daemon, "this node's share, "));
    assert_false(test_env_logged(p.g[0]->daemon, "is REMOTE"));
    store_fault_clear(test_env_fault(p.g[1]->daemon, RIG_HOME));
    for (uint64_t i = 1; i < 15; i++) {
        ask(p.r[0], &id, REQUEST + i);
        rig_pair_turn(&p, AWAIT_MS + 2000);
        if (told[i] == WIRE_STATE_REMOTE)
            break;
        assert_int_equal(told[i], WIRE_STATE_COMMITTED);
        assert_true(i < 14);
    }
    rig_pair_end(&p);
}

static void what_is_not_sent_there_is_refused_in_words(void **state)
{
    struct rig_shape none = plain;
    struct rig_job f;
    struct save_id id;

    (void)state;
    rig_job_begin(&f, 5, &plain);
    id = saved(&f, 11);
    ask(f.r[0], &id, REQUEST);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(f.r[0]->error_id, REQUEST);
    assert_int_equal(f.r[0]->error, -ENOTSUP);
    assert_non_null(strstr(f.r[0]->error_text, "multiples of 10"));
    id.step = 12;
    ask(f.r[0], &id, REQUEST + 1);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(f.r[0]->error_id, REQUEST + 1);
    assert_int_equal(f.r[0]->error, -ENOENT);
    rig_free(f.g);
    none.remote_every = 0;
    rig_job_begin(&f, 5, &none);
    id = saved(&f, 10);
    ask(f.r[0], &id, REQUEST);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(f.r[0]->error, -ENOTSUP);
    assert_non_null(strstr(f.r[0]->error_text, "remote_every"));
    rig_free(f.g);
}

/* It is not REMOTE any more, until others mend it, of which this daemon hears
 * from the home alone. */
static void what_was_found_damaged_there_is_refused(void **state)
{
    struct id128 other = {.b = {7}};
    char name[RECORD_NAME_BYTES];
    struct rig_job f;
    struct save_id id;

    (void)state;
    rig_job_begin(&f, 9, &plain);
    id = saved(&f, 10);
    ask(f.r[0], &id, REQUEST);
    (void)rig_run(f.g, 9000, NULL, NULL);
    assert_int_equal(told[0], WIRE_STATE_REMOTE);
    (void)name_save_daemon(name, RIG_RUN, "damaged_remote", &id, &other);
    rig_put_mark(f.g, RECORD_DAMAGED_REMOTE, name, &id);
    ask(f.r[0], &id, REQUEST + 1);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(f.r[0]->error_id, REQUEST + 1);
    assert_int_equal(f.r[0]->error, -CKPT_ECORRUPT);
    assert_non_null(strstr(f.r[0]->error_text, "ckpt cp"));
    assert_int_equal(media_remove(rig_home(f.g), name), 0);
    ask(f.r[0], &id, REQUEST + 2);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(told[2], WIRE_STATE_REMOTE);
    rig_free(f.g);
}

static void a_removal_by_others_is_told(void **state)
{
    struct rig_job f;
    struct save_id id;
    char name[RECORD_NAME_BYTES];

    (void)state;
    rig_job_begin(&f, 6, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &no_data);
    id = saved(&f, 10);
    ask(f.r[0], &id, REQUEST);
    (void)rig_run(f.g, 1500, NULL, NULL);
    assert_int_equal(
        media_put(rig_home(f.g), name_save(name, RIG_RUN, "tomb", &id), "x", 1),
        0);
    (void)rig_run(f.g, 1500, NULL, NULL);
    assert_int_equal(f.r[0]->error_id, REQUEST);
    assert_int_equal(f.r[0]->error, -ENOENT);
    assert_non_null(strstr(f.r[0]->error_text, "removed"));
    rig_free(f.g);
}

/* A rank that dies, and a daemon that ends, take what waits along. */
static void nothing_is_left_of_who_waits(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 3000; ms += 250) {
        struct rig_job f;
        struct save_id id;

        rig_job_begin(&f, 7 + ms, &plain);
        test_env_fail(f.g->daemon, RIG_HOME, &no_data);
        id = saved(&f, 10);
        ask(f.r[0], &id, REQUEST);
        ask(f.r[1], &id, REQUEST + 1);
        for (uint64_t i = 2; i < SESSION_AWAITS_MAX + 2; i++)
            ask(f.r[1], &id, REQUEST + i);
        (void)rig_run(f.g, ms, NULL, NULL);
        if (ms)
            assert_int_equal(f.r[1]->error, -EBUSY);
        if (ms % 500)
            rig_die(f.r[0]);
        rig_free(f.g);
    }
}

/* Whoever waited is gone while the home takes its time to answer; then another
 * one asks for the same. */
static void who_asks_while_the_home_is_slow_is_told(void **state)
{
    const struct store_fault slow = {.op = STORE_STAT,
                                     .name_part = "/remote/",
                                     .nth = 1,
                                     .delay_polls = 500000};
    struct rig_job f;
    struct save_id id;

    (void)state;
    rig_job_begin(&f, 8, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &no_data);
    id = saved(&f, 10);
    /* The drain has looked for its table. */
    (void)rig_run(f.g, 500, NULL, NULL);
    test_env_fail(f.g->daemon, RIG_HOME, &slow);
    f.r[1]->on_frame = take;
    ask(f.r[0], &id, REQUEST);
    (void)rig_run(f.g, AWAIT_LOOK_MS + 500, NULL, NULL);
    assert_true(await_is_busy(f.g->engine));
    rig_die(f.r[0]);
    (void)rig_run(f.g, AWAIT_LOOK_MS + 500, NULL, NULL);
    assert_true(await_is_busy(f.g->engine));
    ask(f.r[1], &id, REQUEST + 1);
    (void)rig_run(f.g, AWAIT_MS + 10000, NULL, NULL);
    assert_int_equal(told[0], 0);
    assert_int_equal(told[1], WIRE_STATE_COMMITTED);
    rig_free(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own_drain_tells),
        cmocka_unit_test(the_home_is_looked_into_once_a_second),
        cmocka_unit_test(what_others_have_put_there_is_seen),
        cmocka_unit_test(a_share_of_another_daemon_is_waited_for),
        cmocka_unit_test(what_is_not_sent_there_is_refused_in_words),
        cmocka_unit_test(what_was_found_damaged_there_is_refused),
        cmocka_unit_test(a_removal_by_others_is_told),
        cmocka_unit_test(nothing_is_left_of_who_waits),
        cmocka_unit_test(who_asks_while_the_home_is_slow_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
