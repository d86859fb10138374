/*
 * test_drain_anew.c - what is bad in the remote tier is written anew, under
 * another name: what was there, what came back wrong, what could not be synced;
 * removals that a home carries out long after it failed to answer; tables that
 * are true no more.
 */
#include "ckptd/engine/drain_internal.h"
#include "ckptd/engine/remote_write.h"
#include "tests/lib/drained.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_drain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const bool forms[] = {true, false}; /* in place, as blobs */

static char *name_of(const struct rig *g, const struct save_id *id,
                     uint32_t file, uint32_t again, char *name)
{
    char leaf[RECORD_NAME_BYTES];

    (void)name_tier_file(leaf, id, &g->engine->env->local_uuid, file, again);
    return name_run(name, RIG_RUN, leaf);
}

/* Bytes that are not what they should be, under a name of file 1. */
static void plant_bad(struct rig *g, const struct save_id *id, uint32_t again,
                      bool in_place)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    char name[RECORD_NAME_BYTES];
    struct store *home = rig_home(g);
    uint64_t bytes = RIG_REMOTE_FILE_BYTES;
    struct store_req req = {.op = STORE_BLOB_PUT,
                            .name = name_of(g, id, 1, again, name),
                            .buf = page,
                            .len = sizeof page};

    if (in_place)
        media_close(
            home,
            media_open(home, name, STORE_SEG_WRITE | STORE_SEG_CREATE, &bytes));
    else
        assert_int_equal(store_run(home, &req), 0);
}

/* -ENOENT: it is not there. */
static int64_t bytes_of(struct rig *g, const struct save_id *id, uint32_t file,
                        uint32_t again, bool in_place)
{
    char name[RECORD_NAME_BYTES];
    struct store_req req = {.op = in_place ? STORE_SEG_OPEN : STORE_BLOB_STAT,
                            .flags = in_place ? STORE_SEG_NOLOCK : 0,
                            .name = name_of(g, id, file, again, name)};
    int64_t bytes = store_run(rig_home(g), &req);

    if (in_place && bytes >= 0)
        media_close(rig_home(g), req.seg);
    return bytes;
}

/* They stay, but for their room, which segments give back; and they go together
 * with the checkpoint. */
static void what_is_bad_is_written_anew_beside_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rig_job f;
        struct save_id id;

        rig_drain_begin(&f, 60 + i, forms[i], 1, 1);
        rig_job_commit(&f, 10, 10);
        id = f.v[0]->id;
        plant_bad(f.g, &id, 0, forms[i]);
        plant_bad(f.g, &id, 1, forms[i]);
        rig_drain_settle(f.g);
        assert_true(test_env_logged(f.g->daemon, "it is written anew"));
        assert_true(rig_is_remote(f.g, 10));
        rig_drain_check(f.g, &id, forms[i]);
        for (uint32_t again = 0; again < 2; again++)
            assert_int_equal(bytes_of(f.g, &id, 1, again, forms[i]),
                             PAGE_BYTES);
        assert_true(bytes_of(f.g, &id, 1, 2, forms[i]) > (int64_t)PAGE_BYTES);
        for (uint64_t step = 20; step <= 30; step += 10) {
            rig_job_commit(&f, step, step);
            rig_drain_settle(f.g);
            rig_settle(f.g);
        }
        assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
        assert_int_equal(rig_drain_files(f.g, &id), 0);
        rig_free(f.g);
    }
}

/* One after the other is bad: it is told, and nothing is added for ever. */
static void names_are_not_without_number(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rig_job f;
        struct save_id id;
        uint32_t files;

        rig_drain_begin(&f, 64 + i, forms[i], 1, 0);
        rig_job_commit(&f, 10, 10);
        id = f.v[0]->id;
        for (uint32_t again = 0; again < REMOTE_NAMES; again++)
            plant_bad(f.g, &id, again, forms[i]);
        (void)rig_run(f.g, 20000, NULL, NULL);
        assert_false(rig_is_remote(f.g, 10));
        assert_true(test_env_logged(f.g->daemon, "255 files in its place are "
                                                 "bad"));
        files = rig_drain_files(f.g, &id);
        (void)rig_run(f.g, 200000, NULL, NULL);
        assert_int_equal(rig_drain_files(f.g, &id), files);
        rig_free(f.g);
    }
}

/* What does not come back as it was written is written once more in the same
 * try. */
static void what_comes_back_wrong_is_written_once_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const struct store_fault bad = {.op = forms[i] ? STORE_READ
                                                       : STORE_BLOB_GET,
                                        .name_part = ".1",
                                        .nth = 1,
                                        .error = -EIO};
        struct rig_job f;
        struct save_id id;

        rig_drain_begin(&f, 67 + 2 * i, forms[i], 1, 0);
        test_env_fail(f.g->daemon, RIG_HOME, &bad);
        rig_job_commit(&f, 10, 10);
        id = f.v[0]->id;
        (void)rig_run(f.g, 1500, NULL, NULL);
        assert_true(rig_is_remote(f.g, 10));
        rig_drain_check(f.g, &id, forms[i]);
        rig_free(f.g);
    }
}

/*
 * Removals that are carried out later, when the name may be in use again.
 */

static const struct {
    enum store_op op;
    int error;
    bool after, in_place;
    bool removes;
} silences[] = {
    {STORE_WRITE, -EIO, true, true, true},
    {STORE_WRITE, -EIO, false, true, true},
    {STORE_WRITE, -ETIMEDOUT, true, true, false},
    {STORE_WRITE, -ENOSPC, false, true, true},
    {STORE_SYNC, -EIO, true, true, true},
    {STORE_SYNC, -ETIMEDOUT, true, true, true},
    {STORE_SYNC, -ENOSPC, false, true, true},
    {STORE_SEG_TRIM, -ETIMEDOUT, true, true, false},
    {STORE_SEG_TRIM, -ENOSPC, false, true, false},
    {STORE_SEG_CLOSE, -EIO, true, true, false},
    {STORE_SEG_CLOSE, -ETIMEDOUT, true, true, false},
    {STORE_SEG_OPEN, -ETIMEDOUT, true, true, false},
    {STORE_READ, -EIO, true, true, false},
    {STORE_READ, -ETIMEDOUT, true, true, false},
    {STORE_BLOB_PUT, -ETIMEDOUT, true, false, false},
    {STORE_BLOB_GET, -EIO, true, false, false},
    {STORE_BLOB_STAT, -ENOENT, true, false, false},
};

/* Removals too are not answered, all of them. */
static struct store_fault late_removal(enum store_op op, const char *name_part)
{
    return (struct store_fault){.op = (int)op,
                                .name_part = name_part,
                                .nth = 1,
                                .persistent = true,
                                .late = true,
                                .error = -ETIMEDOUT};
}

static void no_removal_meets_a_name_in_use(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3 * ARRAY_LEN(silences); i++) {
        const struct store_fault fault = {.op = silences[i / 3].op,
                                          .name_part = "/data/",
                                          .nth = 1 + i % 3,
                                          .after = silences[i / 3].after,
                                          .error = silences[i / 3].error};
        const struct store_fault late = late_removal(
            silences[i / 3].in_place ? STORE_SEG_REMOVE : STORE_BLOB_REMOVE,
            "/data/");
        bool in_place = silences[i / 3].in_place;
        struct store *home;
        struct rig_job f;
        size_t landed;

        rig_drain_begin(&f, 120 + i, in_place, 1, 0);
        home = test_env_fault(f.g->daemon, RIG_HOME);
        rig_job_commit(&f, 10, 10);
        test_env_fail(f.g->daemon, RIG_HOME, &fault);
        test_env_fail(f.g->daemon, RIG_HOME, &late);
        (void)rig_run(f.g, 200000, NULL, NULL);
        assert_true(rig_is_remote(f.g, 10));
        landed = store_fault_land(home);
        assert_int_equal(landed > 0, silences[i / 3].removes);
        rig_drain_check(f.g, &f.v[0]->id, in_place);
        rig_free(f.g);
    }
}

/*
 * Tables.
 */

/* Another life of the daemon "a", which encodes. */
static void live_again(struct rig_job *f, struct test_world *world,
                       const char *token, bool removes_late)
{
    struct rig_shape shape = rig_drain_shape(1, 0);

    *f = (struct rig_job){.g = rig_new_in(world, "a")};
    f->g->engine->env->drain_codec = DRAIN_PLANES;
    if (removes_late)
        f->g->daemon->fault[f->g->daemon->fault_count++] =
            late_removal(STORE_REMOVE, "/remote/");
    rig_job_enter(f, token, &shape);
}

static struct test_world *die(struct rig *g)
{
    struct test_world *world = g->world;

    g->has_shared_world = true;
    rig_kill(g);
    rig_free(g);
    return world;
}

/* The first life copied all of it, and died before the mark. Then a file went,
 * and what is written in its place is encoded: the old table is true no more.
 */
static struct test_world *leave_untrue(uint64_t seed, bool in_place,
                                       struct save_id *id)
{
    const struct store_fault no_mark = {.op = STORE_PUT,
                                        .name_part = "/remote/",
                                        .nth = 2,
                                        .persistent = true,
                                        .error = -EIO};
    struct test_world *world;
    struct drained d;
    struct rig_job f;

    rig_drain_begin(&f, seed, in_place, 1, 0);
    f.g->engine->env->drain_codec = DRAIN_RAW;
    test_env_fail(f.g->daemon, RIG_HOME, &no_mark);
    rig_job_commit(&f, 10, 10);
    *id = f.v[0]->id;
    (void)rig_run(f.g, 5000, NULL, NULL);
    assert_true(rig_save_at(f.g, 10)->is_drained);
    assert_false(rig_is_remote(f.g, 10));
    world = die(f.g);
    drained_begin(&d, world, "a", id);
    drained_remove(&d, 1);
    drained_end(&d);
    return world;
}

static void a_table_that_is_true_no_more_is_replaced(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct save_id id;
        struct rig_job f;

        live_again(&f, leave_untrue(181 + 2 * i, forms[i], &id), "two", false);
        rig_drain_settle(f.g);
        assert_true(rig_is_remote(f.g, 10));
        rig_drain_check(f.g, &id, forms[i]);
        rig_free(f.g);
    }
}

/* It might go when the next one is there: none is written before. */
static void
a_table_whose_removal_is_not_answered_waits_until_it_is_gone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct save_id id;
        struct rig_job f;

        live_again(&f, leave_untrue(181 + 2 * i, forms[i], &id), "two", true);
        (void)rig_run(f.g, 200000, NULL, NULL);
        assert_false(rig_is_remote(f.g, 10));
        assert_true(test_env_logged(f.g->daemon, "must be gone before"));
        assert_int_equal(
            store_fault_land(test_env_fault(f.g->daemon, RIG_HOME)), 1);
        assert_false(rig_is_remote(f.g, 10));
        (void)rig_run(f.g, 200000, NULL, NULL);
        assert_true(rig_is_remote(f.g, 10));
        rig_drain_check(f.g, &id, forms[i]);
        rig_free(f.g);
    }
}

/* What a table speaks of keeps what is good of it. */
static void what_a_table_speaks_of_is_not_cut(void **state)
{
    struct test_world *world;
    struct drained d;
    struct save_id id;
    struct rig_job f;

    (void)state;
    world = leave_untrue(181, true, &id);
    drained_begin(&d, world, "a", &id);
    drained_flip(&d, 0, PAGE_BYTES + 5);
    drained_end(&d);
    live_again(&f, world, "two", false);
    rig_drain_settle(f.g);
    assert_true(rig_is_remote(f.g, 10));
    rig_drain_check(f.g, &id, true);
    for (uint32_t again = 0; again < 2; again++)
        assert_true(bytes_of(f.g, &id, 0, again, true) > (int64_t)PAGE_BYTES);
    rig_free(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_bad_is_written_anew_beside_it),
        cmocka_unit_test(names_are_not_without_number),
        cmocka_unit_test(what_comes_back_wrong_is_written_once_more),
        cmocka_unit_test(no_removal_meets_a_name_in_use),
        cmocka_unit_test(a_table_that_is_true_no_more_is_replaced),
        cmocka_unit_test(
            a_table_whose_removal_is_not_answered_waits_until_it_is_gone),
        cmocka_unit_test(what_a_table_speaks_of_is_not_cut),
    };

    return cmocka_run_group_tests_name("drain_anew", tests, NULL, NULL);
}
