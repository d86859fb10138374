/*
 * test_manifest_hold.c - an error of the home on the way to a manifest passes:
 * it makes nobody pass the checkpoint over. One that stays does.
 */
#include "tests/lib/load_job.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const folders[] = {"/decision/", "/tomb/"};

static void begin(struct load_job *j, uint64_t seed,
                  const struct store_fault *fault)
{
    load_job_save(j, seed, 2, 1);
    load_job_start(j, 2, 6, false);
    test_env_fail(j->g->daemon, RIG_HOME, fault);
    load_job_load(j);
    load_job_finish(j);
}

static void an_error_that_passes_is_waited_out(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_LEN(folders); i++) {
        for (uint64_t nth = 1; nth <= 2; nth++) {
            struct store_fault fault = {.op = STORE_GET,
                                        .name_part = folders[i],
                                        .nth = nth,
                                        .error = -EIO};
            struct load_job j;

            begin(&j, i, &fault);
            load_job_check(&j, 2);
            assert_int_equal(j.l[0]->attempts, 1);
            load_job_end(&j);
        }
    }
}

/* A record of step 30 alone cannot be read: an older one is loaded. */
static void an_error_that_stays_falls_back(void **state)
{
    struct store_fault fault = {.op = STORE_GET,
                                .name_part =
                                    "decision/00000001-00000000000000000030",
                                .nth = 1,
                                .persistent = true,
                                .error = -EIO};
    struct load_job j;

    (void)state;
    begin(&j, 5, &fault);
    load_job_check(&j, 1);
    assert_int_equal(j.l[0]->attempts, 2);
    assert_non_null(strstr(j.l[0]->text, "step 30"));
    load_job_end(&j);
}

/* An error that is not the checkpoint's ends the load. */
static void a_home_out_of_reach_fails_the_load(void **state)
{
    struct store_fault fault = {.op = STORE_GET,
                                .name_part = "/tomb/",
                                .nth = 1,
                                .persistent = true,
                                .error = -ETIMEDOUT};
    struct load_job j;

    (void)state;
    begin(&j, 6, &fault);
    load_job_check_failed(&j, -ETIMEDOUT, "step 30");
    load_job_end(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_that_passes_is_waited_out),
        cmocka_unit_test(an_error_that_stays_falls_back),
        cmocka_unit_test(a_home_out_of_reach_fails_the_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
