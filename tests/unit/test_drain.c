/*
 * test_drain.c - committed checkpoints go to the remote tier: every byte, read
 * back, in both forms of files; of several daemons each its share, and REMOTE
 * only when all have; what was interrupted; the policy; homes that fail for a
 * while.
 */
#include "ckptd/engine/drain_internal.h"
#include "ckptd/engine/remote_write.h"
#include "tests/lib/drained.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_drain.h"
#include "tests/lib/rig_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS 900000

static const bool forms[] = {true, false}; /* in place, as blobs */

/*
 * All goes well.
 */

static void every_byte_goes_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rig_job f;

        rig_drain_begin(&f, 7 + i, forms[i], 1, 0);
        for (uint64_t step = 10; step <= 30; step += 10) {
            rig_job_commit(&f, step, step);
            assert_false(rig_is_remote(f.g, step));
            rig_drain_settle(f.g);
            assert_true(rig_is_remote(f.g, step));
            rig_drain_check(f.g, &f.v[0]->id, forms[i]);
            assert_true(rig_drain_files(f.g, &f.v[0]->id) > 2);
        }
        rig_free(f.g);
    }
}

/* Raw here, encoded there, where that pays: not for what does not get smaller,
 * nor if encoding is slower than the tier was seen to be, nor if nobody wants
 * it. */
static void what_compresses_is_encoded_on_its_way(void **state)
{
    static const struct {
        uint64_t seed;
        double encode_bytes_s;
        enum drain_codec codec;
        bool is_encoded;
    } cases[] = {{201, 1e15, DRAIN_AUTO, true},
                 {202, 1e15, DRAIN_AUTO, false},
                 {203, 1e15, DRAIN_RAW, false},
                 {205, 1e-9, DRAIN_AUTO, false},
                 {207, 1e3, DRAIN_PLANES, true}};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        bool is_encoded = cases[i / 2].is_encoded;
        uint64_t stored;
        struct rig_job f;

        rig_drain_begin(&f, cases[i / 2].seed, forms[i % 2], 1, 0);
        f.g->engine->env->encode_bytes_s = cases[i / 2].encode_bytes_s;
        f.g->engine->env->drain_codec = cases[i / 2].codec;
        rig_job_commit(&f, 10, 10);
        rig_drain_settle(f.g);
        rig_drain_check(f.g, &f.v[0]->id, forms[i % 2]);
        stored = rig_drain_stored(f.g, &f.v[0]->id);
        assert_true(is_encoded ? stored < rig_save_at(f.g, 10)->stored_bytes / 4
                               : stored == rig_save_at(f.g, 10)->stored_bytes);
        rig_free(f.g);
    }
}

/* A tier that keeps up with what comes raw is given that from then on. */
static void encoding_ends_where_it_does_not_pay(void **state)
{
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 207, true, 1, 0);
    f.g->engine->env->encode_bytes_s = 1e15;
    for (uint64_t step = 10; step <= 20; step += 10) {
        rig_job_commit(&f, step, step);
        rig_drain_settle(f.g);
        if (step == 10)
            assert_true(rig_drain_stored(f.g, &f.v[0]->id) <
                        rig_save_at(f.g, step)->stored_bytes / 4);
        else
            assert_int_equal(rig_drain_stored(f.g, &f.v[0]->id),
                             rig_save_at(f.g, step)->stored_bytes);
        f.g->engine->env->encode_bytes_s = 1e3;
    }
    rig_free(f.g);
}

static bool a_file_is_synced(void *arg)
{
    const struct rig *g = arg;
    const struct drain *d = g->engine->drain;

    for (size_t i = 0; i < DRAIN_WRITERS; i++)
        if (d->writer[i].phase == REMOTE_SYNCING)
            return true;
    return false;
}

/* A page cache takes all at once; how fast the tier is shows in its sync. */
static void how_fast_the_tier_is_shows_in_the_sync(void **state)
{
    const struct store_fault slow = {.op = STORE_SYNC,
                                     .name_part = "/data/",
                                     .nth = 1,
                                     .persistent = true,
                                     .delay_polls = 20};
    struct home *home;
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 208, true, 1, 0);
    test_env_fail(f.g->daemon, RIG_HOME, &slow);
    rig_job_commit(&f, 10, 10);
    home = rig_the_run(f.g)->home;
    while (rig_run(f.g, 1000, a_file_is_synced, f.g))
        f.g->world->now_ns += 1000000000;
    assert_true(rig_is_remote(f.g, 10));
    assert_in_range(home->remote_bytes_s, 1, 10 * RIG_REMOTE_FILE_BYTES);
    rig_free(f.g);
}

static void only_what_the_policy_wants(void **state)
{
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 3, true, 20, 0);
    for (uint64_t step = 10; step <= 40; step += 10)
        rig_job_commit(&f, step, step);
    (void)rig_run(f.g, 60000, NULL, NULL);
    for (uint64_t step = 10; step <= 40; step += 10)
        assert_int_equal(rig_is_remote(f.g, step), step % 20 == 0);
    rig_free(f.g);

    rig_drain_begin(&f, 3, true, 0, 0);
    rig_job_commit(&f, 10, 10);
    (void)rig_run(f.g, 60000, NULL, NULL);
    assert_false(rig_is_remote(f.g, 10));
    assert_int_equal(rig_drain_files(f.g, &f.v[0]->id), 0);
    rig_free(f.g);
}

/* At the rate, and so the newest first. */
static void it_keeps_to_its_rate(void **state)
{
    struct rig_job f;
    uint64_t began;

    (void)state;
    rig_drain_begin(&f, 6, true, 1, 0);
    f.g->engine->env->drain_bytes_s = 20000; /* a minute for each */
    rig_job_commit(&f, 10, 10);
    (void)rig_run(f.g, 2500, NULL, NULL);
    assert_true(drain_is_busy(f.g->engine));
    rig_job_commit(&f, 20, 20);
    rig_job_commit(&f, 30, 30);
    began = f.g->world->now_ns;
    while (!rig_is_remote(f.g, 10))
        (void)rig_run(f.g, 1000, NULL, NULL);
    assert_true(f.g->world->now_ns - began > 20ull * 1000000000);
    assert_false(rig_is_remote(f.g, 30));
    while (!rig_is_remote(f.g, 30))
        (void)rig_run(f.g, 1000, NULL, NULL);
    assert_false(rig_is_remote(f.g, 20));
    while (!rig_is_remote(f.g, 20))
        (void)rig_run(f.g, 1000, NULL, NULL);
    rig_free(f.g);
}

/*
 * Several daemons.
 */

static void it_is_remote_when_all_have_copied(void **state)
{
    struct rig_shape shape = rig_drain_shape(1, 0);
    struct rig_pair p;
    struct store_fault full = {.op = STORE_SEG_OPEN,
                               .name_part = "/data/",
                               .nth = 1,
                               .persistent = true,
                               .error = -ENOSPC};
    struct save_id id;

    (void)state;
    rig_pair_begin(&p, 11, &shape);
    test_env_fail(p.g[1]->daemon, RIG_HOME, &full);
    rig_pair_save(&p, 10, 0);
    rig_pair_decide(&p);
    id = p.v[0]->id;
    rig_pair_turn(&p, 20000);
    assert_true(rig_save_at(p.g[0], 10)->is_drained);
    assert_false(rig_is_remote(p.g[0], 10));
    assert_false(rig_home_has(p.g[0], "remote", &id));
    assert_true(test_env_logged(p.g[1]->daemon, "not in the remote tier yet"));
    store_fault_clear(test_env_fault(p.g[1]->daemon, RIG_HOME));
    rig_pair_turn(&p, 200000);
    assert_true(rig_is_remote(p.g[0], 10));
    assert_true(rig_is_remote(p.g[1], 10));
    rig_drain_check(p.g[0], &id, true);
    rig_pair_end(&p);
}

/*
 * What was there, or goes wrong.
 */

static void what_was_begun_is_finished_by_the_next_life(void **state)
{
    (void)state;
    for (size_t i = 0; i < 12; i++) {
        bool in_place = i % 2;
        struct rig_shape shape = rig_drain_shape(1, 0);
        struct test_world *world;
        struct save_id id;
        struct rig_job f;

        rig_drain_begin(&f, 40 + i, in_place, 1, 0);
        f.g->engine->env->drain_bytes_s = 100000;
        rig_job_commit(&f, 10, 10);
        id = f.v[0]->id;
        (void)rig_run(f.g, 1000 + 1000 * i, NULL, NULL);
        world = f.g->world;
        f.g->has_shared_world = true;
        rig_kill(f.g);
        rig_free(f.g);
        f = (struct rig_job){.g = rig_new_in(world, "a")};
        rig_job_enter(&f, "two", &shape);
        rig_drain_settle(f.g);
        assert_true(rig_is_remote(f.g, 10));
        rig_drain_check(f.g, &id, in_place);
        rig_free(f.g);
    }
}

static const struct {
    enum store_op op;
    bool in_place;
} requests[] = {
    {STORE_SEG_OPEN, true}, {STORE_WRITE, true},     {STORE_SYNC, true},
    {STORE_READ, true},     {STORE_SEG_CLOSE, true}, {STORE_PUT, true},
    {STORE_LIST, true},     {STORE_BLOB_PUT, false}, {STORE_BLOB_GET, false},
    {STORE_GET, false},     {STORE_PUT, false},
};

/* Whatever fails, fails in words and is done in the end. */
static void a_home_that_fails_for_a_while_is_waited_for(void **state)
{
    static const int errors[] = {-EIO, -ETIMEDOUT, -ENOSPC};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests) * ARRAY_LEN(errors); i++) {
        struct store_fault fault = {.op = requests[i % ARRAY_LEN(requests)].op,
                                    .name_part = "/",
                                    .nth = 1 + i % 2,
                                    .persistent = true,
                                    .after = i % 5 == 0,
                                    .error = errors[i / ARRAY_LEN(requests)]};
        bool in_place = requests[i % ARRAY_LEN(requests)].in_place;
        struct rig_job f;

        if (fault.op == STORE_SEG_CLOSE)
            fault.after = true;
        rig_drain_begin(&f, 80 + i, in_place, 1, 0);
        rig_job_commit(&f, 10, 10);
        test_env_fail(f.g->daemon, RIG_HOME, &fault);
        (void)rig_run(f.g, 20000, NULL, NULL);
        assert_false(drain_is_wanted(rig_the_run(f.g)) &&
                     !drain_is_busy(f.g->engine));
        store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
        (void)rig_run(f.g, 200000, NULL, NULL);
        assert_true(rig_is_remote(f.g, 10));
        rig_drain_check(f.g, &f.v[0]->id, in_place);
        rig_free(f.g);
    }
}

/* A chunk of the local copy is bad: it never becomes REMOTE, and others do. */
static void a_bad_local_copy_does_not_spoil_the_tier(void **state)
{
    struct store_fault bad = {
        .op = STORE_READ, .nth = 1, .persistent = true, .error = -EIO};
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 120, true, 1, 0);
    rig_job_commit(&f, 10, 10);
    test_env_fail(f.g->daemon, "local", &bad);
    (void)rig_run(f.g, 10000, NULL, NULL);
    assert_false(rig_is_remote(f.g, 10));
    assert_true(test_env_logged(f.g->daemon, "not in the remote tier yet"));
    assert_int_equal(rig_drain_files(f.g, &f.v[0]->id), 0);
    store_fault_clear(test_env_fault(f.g->daemon, "local"));
    rig_job_commit(&f, 20, 20);
    rig_drain_settle(f.g);
    assert_true(rig_is_remote(f.g, 20));
    rig_free(f.g);
}

/* A private daemon ends when it is idle, and of two that do so at one time none
 * would be left to write that all is there. */
static void it_is_not_idle_before_it_has_looked_and_marked(void **state)
{
    struct store_fault slow = {.op = STORE_LIST,
                               .name_part = "/remote",
                               .nth = 1,
                               .persistent = true,
                               .delay_polls = 200};
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 125, true, 1, 0);
    rig_job_commit(&f, 10, 10);
    test_env_fail(f.g->daemon, RIG_HOME, &slow);
    LIST_FOR_EACH (node, &f.g->ranks)
        rig_die(container_of(node, struct rig_rank, link));
    while (!rig_is_remote(f.g, 10)) {
        assert_false(engine_is_idle(f.g->engine));
        (void)rig_run(f.g, 1, NULL, NULL);
    }
    assert_true(store_fault_count(test_env_fault(f.g->daemon, RIG_HOME)) > 0);
    rig_free(f.g);
}

static void it_ends_in_the_midst_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rig_job f;

        rig_drain_begin(&f, 130 + i, forms[i], 1, 0);
        f.g->engine->env->drain_bytes_s = 10000;
        rig_job_commit(&f, 10, 10);
        (void)rig_run(f.g, 4000, NULL, NULL);
        assert_true(drain_is_busy(f.g->engine));
        rig_free(f.g); /* which waits until it is quiet */
    }
}

/* What the rate would still have it wait for is not waited for. */
static void it_ends_at_once_though_its_rate_is_low(void **state)
{
    const struct store_fault slow = {.op = STORE_SEG_OPEN,
                                     .name_part = "/data/",
                                     .nth = 2,
                                     .delay_polls = 300000};
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 135, true, 1, 0);
    f.g->engine->env->drain_bytes_s = 1;
    rig_job_commit(&f, 10, 10);
    test_env_fail(f.g->daemon, RIG_HOME, &slow);
    while (!store_fault_count(test_env_fault(f.g->daemon, RIG_HOME)))
        (void)rig_run(f.g, 1, NULL, NULL);
    (void)rig_run(f.g, 1000, NULL, NULL);
    engine_halt(f.g->engine); /* while that file is being created */
    (void)rig_run(f.g, 10000, NULL, NULL);
    assert_false(drain_is_busy(f.g->engine));
    rig_free(f.g);
}

/* What was copied for a wish alone gets its mark as well, however late. */
static void a_mark_that_is_missing_is_written(void **state)
{
    const struct store_fault no_mark = {.op = STORE_PUT,
                                        .name_part = "/remote/",
                                        .nth = 2,
                                        .persistent = true,
                                        .error = -EIO};
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 180, true, 0, 0);
    rig_job_commit(&f, 10, 10);
    test_env_fail(f.g->daemon, RIG_HOME, &no_mark);
    drain_wish(rig_the_run(f.g), rig_save_at(f.g, 10));
    (void)rig_run(f.g, 5000, NULL, NULL);
    assert_true(rig_save_at(f.g, 10)->is_drained);
    assert_false(rig_is_remote(f.g, 10));
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    (void)rig_run(f.g, 200000, NULL, NULL);
    assert_true(rig_is_remote(f.g, 10));
    rig_free(f.g);
}

/* A wish for what is copied, and waits for its mark, takes nothing from others,
 * however often it is said. */
static void nothing_yields_to_what_is_copied(void **state)
{
    const struct store_fault no_mark = {
        .op = STORE_PUT,
        .name_part = "/remote/00000001-00000000000000000010",
        .nth = 2,
        .persistent = true,
        .error = -EIO};
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 181, true, 1, 0);
    rig_job_commit(&f, 10, 10);
    test_env_fail(f.g->daemon, RIG_HOME, &no_mark);
    (void)rig_run(f.g, 5000, NULL, NULL);
    assert_true(rig_save_at(f.g, 10)->is_drained);
    f.g->engine->env->drain_bytes_s = 200000; /* some seconds */
    rig_job_commit(&f, 20, 20);
    for (int i = 0; i < 300 && !rig_is_remote(f.g, 20); i++) {
        drain_wish(rig_the_run(f.g), rig_save_at(f.g, 10));
        (void)rig_run(f.g, 100, NULL, NULL);
    }
    assert_true(rig_is_remote(f.g, 20));
    assert_false(rig_is_remote(f.g, 10));
    rig_free(f.g);
}

/* A daemon that has no rank of a checkpoint has nothing to stay for. */
static void who_has_no_share_is_not_kept(void **state)
{
    struct rig_shape shape = rig_drain_shape(1, 0);
    struct store_fault full = {.op = STORE_SEG_OPEN,
                               .name_part = "/data/",
                               .nth = 1,
                               .persistent = true,
                               .error = -ENOSPC};
    struct rig *first, *other;
    struct rig_job f;

    (void)state;
    rig_drain_begin(&f, 182, true, 1, 0);
    first = f.g;
    test_env_fail(first->daemon, RIG_HOME, &full);
    rig_job_commit(&f, 10, 10);
    other = rig_new_in(first->world, "b");
    f.g = other;
    rig_job_enter(&f, "two", &shape);
    (void)rig_run(other, 5000, NULL, NULL);
    assert_true(rig_save_at(other, 10)->is_drained);
    assert_false(rig_is_remote(other, 10));
    assert_false(drain_is_wanted(rig_the_run(other)));
    rig_free(other);
    rig_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_goes_there),
        cmocka_unit_test(what_compresses_is_encoded_on_its_way),
        cmocka_unit_test(how_fast_the_tier_is_shows_in_the_sync),
        cmocka_unit_test(encoding_ends_where_it_does_not_pay),
        cmocka_unit_test(only_what_the_policy_wants),
        cmocka_unit_test(it_keeps_to_its_rate),
        cmocka_unit_test(it_is_remote_when_all_have_copied),
        cmocka_unit_test(what_was_begun_is_finished_by_the_next_life),
        cmocka_unit_test(a_home_that_fails_for_a_while_is_waited_for),
        cmocka_unit_test(a_bad_local_copy_does_not_spoil_the_tier),
        cmocka_unit_test(it_is_not_idle_before_it_has_looked_and_marked),
        cmocka_unit_test(it_ends_in_the_midst_of_it),
        cmocka_unit_test(it_ends_at_once_though_its_rate_is_low),
        cmocka_unit_test(a_mark_that_is_missing_is_written),
        cmocka_unit_test(nothing_yields_to_what_is_copied),
        cmocka_unit_test(who_has_no_share_is_not_kept),
    };

    return cmocka_run_group_tests_name("drain", tests, NULL, NULL);
}
