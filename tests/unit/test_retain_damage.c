/*
 * test_retain_damage.c - a checkpoint that a scrub found damaged does not count
 * as one of the last, and nothing is removed behind it while it is the newest.
 */
#include "tests/lib/media.h"
#include "tests/lib/rig_job.h"
#include "tests/lib/rig_retain.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_goes_behind_a_damaged_newest),
    };

    return cmocka_run_group_tests_name("retain_damage", tests, NULL, NULL);
}
