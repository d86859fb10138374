/*
 * test_commit_removed.c - a daemon that is so late that the others have
 * committed a save, and retention has removed it with all its records: it hears
 * of the COMMIT that it was, and no ABORT in its stead counts.
 */
#include "tests/lib/test_daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECONDS ((uint64_t)1000)

static const struct save_id first = {.generation = 1, .attempt = 1, .step = 5};

struct late {
    struct test_world *w;
    struct test_daemon *d[2];
    struct test_commit v[2];
};

static void blind(struct test_daemon *d, const char *folder)
{
    struct store_fault fault = {.op = STORE_GET,
                                .name_part = folder,
                                .nth = 1,
                                .persistent = true,
                                .error = -EIO};

    test_env_fail(d->t, TEST_HOME, &fault);
}

/* Both vote; daemon "a" cannot read what becomes of it, "b" commits. Then it is
 * removed, as retain_remove.c does that. */
static void begin(struct late *l)
{
    char name[RECORD_NAME_BYTES];

    *l = (struct late){.w = test_world_new(31)};
    test_pair(l->w, l->d);
    blind(l->d[0], "/vote/");
    test_begin_pair(l->d, 5, l->v);
    assert_true(test_run(l->w, 5 * SECONDS, test_both_voted, l->v));
    blind(l->d[0], "/decision/");
    assert_int_equal(test_commit_wait(&l->v[1], 30 * SECONDS), DECISION_COMMIT);
    assert_false(l->v[0].is_decided);
    assert_int_equal(
        test_put(l->w, name_save(name, TEST_RUN, "tomb", &first), "x", 1), 0);
    for (int i = 0; i < 2; i++) {
        const struct id128 *id = &l->d[i]->t->env.local_uuid;

        assert_int_equal(
            test_remove(l->w,
                        name_save_daemon(name, TEST_RUN, "vote", &first, id)),
            0);
        assert_int_equal(
            test_remove(l->w,
                        name_save_daemon(name, TEST_RUN, "intent", &first, id)),
            0);
    }
    assert_int_equal(
        test_remove(l->w, name_save(name, TEST_RUN, "decision", &first)), 0);
}

static void check_committed(struct late *l)
{
    assert_int_equal(l->v[0].told, 1);
    assert_int_equal(catalog_status(&l->d[0]->run->catalog, &first),
                     SAVE_REMOVED);
    test_daemon_close(l->d[0]);
    test_daemon_close(l->d[1]);
    test_world_free(l->w);
}

static void the_commit_is_heard_of_by_its_tomb(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct late l;

    (void)state;
    begin(&l);
    store_fault_clear(test_env_fault(l.d[0]->t, TEST_HOME));
    assert_int_equal(test_commit_wait(&l.v[0], 3 * SECONDS), DECISION_COMMIT);
    assert_false(test_has(l.w, name_save(name, TEST_RUN, "decision", &first)));
    check_committed(&l);
}

static void an_abort_in_its_stead_does_not_count(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct late l;

    (void)state;
    begin(&l);
    assert_int_equal(test_commit_wait(&l.v[0], 70 * SECONDS), DECISION_COMMIT);
    assert_true(test_has(l.w, name_save(name, TEST_RUN, "decision", &first)));
    check_committed(&l);
}

static void a_tomb_that_cannot_be_looked_for_is_waited_for(void **state)
{
    struct late l;

    (void)state;
    begin(&l);
    blind(l.d[0], "/tomb/");
    assert_int_equal(test_commit_wait(&l.v[0], 90 * SECONDS), 0);
    store_fault_clear(test_env_fault(l.d[0]->t, TEST_HOME));
    assert_int_equal(test_commit_wait(&l.v[0], 3 * SECONDS), DECISION_COMMIT);
    check_committed(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_commit_is_heard_of_by_its_tomb),
        cmocka_unit_test(an_abort_in_its_stead_does_not_count),
        cmocka_unit_test(a_tomb_that_cannot_be_looked_for_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
