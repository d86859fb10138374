/*
 * test_retain_damage.c - a checkpoint that a scrub found damaged does not count
 * as one of the last, and nothing is removed behind it while it is the newest.
 * One whose remote copy was found damaged is no second copy: the last that is
 * stays, and so does what is here of it.
 */
#include "ckptd/engine/retain.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_drain.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TENSOR_BYTES (5 * (uint64_t)RIG_CHUNK_BYTES - 100)

/* Commits the step, until what it lets go is gone. */
static struct save_id commit(struct rig_job *j, uint64_t step)
{
    rig_job_commit(j, step, step);
    rig_settle(j->g);
    return j->v[0]->id;
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
    struct id128 store = {.b = {7}};
    struct rig_job j;
    struct save_id id;

    (void)state;
    rig_job_begin(&j, 4, &shape);
    id = commit(&j, 10);
    rig_put_mark(j.g, RECORD_PIN, name_save(pin, RIG_RUN, "pin", &id), &id);
    (void)commit(&j, 20);
    assert_int_equal(media_remove(rig_home(j.g), pin), 0);
    id.step = 30;
    rig_put_mark(j.g, RECORD_DAMAGED,
                 name_save_daemon(name, RIG_RUN, "damaged", &id, &store), &id);
    (void)commit(&j, 30);
    assert_int_equal(rig_status(j.g, 10), SAVE_COMMITTED);
    assert_int_equal(rig_status(j.g, 20), SAVE_COMMITTED);
    (void)commit(&j, 40);
    assert_int_equal(rig_status(j.g, 10), SAVE_REMOVED);
    assert_int_equal(rig_status(j.g, 20), SAVE_REMOVED);
    assert_int_equal(rig_status(j.g, 30), SAVE_REMOVED);
    assert_int_equal(rig_status(j.g, 40), SAVE_COMMITTED);
    rig_free(j.g);
}

/* Others have put it on record, and this daemon has not been told. */
static void put_damaged_remote(struct rig *g, const struct save_id *id)
{
    struct id128 daemon = {.b = {7}};
    char name[RECORD_NAME_BYTES];

    rig_put_mark(g, RECORD_DAMAGED_REMOTE,
                 name_save_daemon(name, RIG_RUN, "damaged_remote", id, &daemon),
                 id);
}

static void the_last_good_remote_copy_stays(void **state)
{
    struct rig_job j;
    struct save_id id;

    (void)state;
    rig_drain_begin(&j, 5, true, 20, 1); /* steps 20 and 40 go there */
    for (uint64_t step = 20; step <= 40; step += 20) {
        id = commit(&j, step);
        rig_drain_settle(j.g);
        rig_settle(j.g);
        assert_true(rig_is_remote(j.g, step));
    }
    assert_int_equal(rig_status(j.g, 20), SAVE_REMOVED);
    put_damaged_remote(j.g, &id);
    (void)commit(&j, 50);
    assert_int_equal(rig_status(j.g, 40), SAVE_REMOVED);
    rig_free(j.g);

    rig_drain_begin(&j, 5, true, 20, 1);
    id.step = 40;
    put_damaged_remote(j.g, &id);
    (void)commit(&j, 20);
    rig_drain_settle(j.g);
    (void)commit(&j, 40);
    rig_drain_settle(j.g);
    rig_settle(j.g);
    (void)commit(&j, 50);
    assert_int_equal(rig_status(j.g, 20), SAVE_COMMITTED);
    assert_int_equal(rig_status(j.g, 40), SAVE_REMOVED);
    rig_free(j.g);
}

static void the_local_copy_stays_too(void **state)
{
    struct rig_shape shape = rig_drain_shape(10, 0);
    struct save_id id = {.generation = 1, .step = 10, .attempt = 1};
    struct rig_job j;

    (void)state;
    shape.local_last = 1;
    rig_job_begin(&j, 6, &shape);
    put_damaged_remote(j.g, &id);
    for (uint64_t step = 10; step <= 30; step += 10) {
        (void)commit(&j, step);
        rig_drain_settle(j.g);
        rig_settle(j.g);
    }
    assert_false(rig_save_at(j.g, 10)->is_released);
    assert_true(rig_save_at(j.g, 20)->is_released);
    rig_free(j.g);
}

/* The next pass waits for the home's answer to this. */
static void hold_pass_at(struct rig *g, int op, const char *part)
{
    const struct store_fault slow = {
        .op = op, .name_part = part, .nth = 1, .delay_polls = 300000};

    test_env_fail(g->daemon, RIG_HOME, &slow);
}

/* And the record comes meanwhile. */
static void put_meanwhile(struct rig *g, const struct save_id *damaged)
{
    (void)rig_run(g, 500, NULL, NULL);
    assert_true(retain_is_busy(rig_the_run(g)));
    put_damaged_remote(g, damaged);
    rig_drain_settle(g);
    rig_settle(g);
}

/* Reading back may take long: what it found out about stays in force. */
static void what_is_found_while_it_reads_back_counts(void **state)
{
    struct rig_job j;
    struct save_id id;

    (void)state;
    rig_drain_begin(&j, 7, true, 20, 1);
    (void)commit(&j, 20);
    rig_drain_settle(j.g);
    rig_job_commit(&j, 40, 40);
    id = j.v[0]->id;
    hold_pass_at(j.g, STORE_LIST, "/verified");
    while (!rig_is_remote(j.g, 40))
        (void)rig_run(j.g, 100, NULL, NULL);
    put_meanwhile(j.g, &id);
    assert_true(rig_save_at(j.g, 40)->is_marked_remote);
    assert_int_equal(rig_status(j.g, 20), SAVE_COMMITTED);
    (void)commit(&j, 60);
    rig_drain_settle(j.g);
    rig_settle(j.g);
    assert_int_equal(rig_status(j.g, 20), SAVE_REMOVED);
    assert_int_equal(rig_status(j.g, 40), SAVE_REMOVED);
    rig_free(j.g);
}

static void what_is_found_right_before_it_lets_go_counts(void **state)
{
    struct rig_shape shape = rig_drain_shape(10, 0);
    char mark[RECORD_NAME_BYTES];
    struct rig_job j;
    struct save_id id;

    (void)state;
    shape.local_last = 1;
    rig_job_begin(&j, 8, &shape);
    id = commit(&j, 10);
    rig_drain_settle(j.g);
    assert_true(rig_is_remote(j.g, 10));
    hold_pass_at(j.g, STORE_PUT, name_save(mark, RIG_RUN, "remote", &id));
    rig_job_commit(&j, 20, 20);
    put_meanwhile(j.g, &id);
    assert_false(rig_save_at(j.g, 10)->is_released);
    rig_free(j.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_goes_behind_a_damaged_newest),
        cmocka_unit_test(the_last_good_remote_copy_stays),
        cmocka_unit_test(the_local_copy_stays_too),
        cmocka_unit_test(what_is_found_while_it_reads_back_counts),
        cmocka_unit_test(what_is_found_right_before_it_lets_go_counts),
    };

    return cmocka_run_group_tests_name("retain_damage", tests, NULL, NULL);
}
