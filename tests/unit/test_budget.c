/*
 * The bound of all arenas: 40 % of what there was before any, whatever part of
 * them has been touched already.
 */
#include "ckptd/daemon/budget.h"
#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GB ((uint64_t)1000 * 1000 * 1000)

/* A machine of 100 GB and 8 ranks that want 20 GB each; after each grant that
 * many bytes of it are touched. */
static uint64_t grant_all(uint64_t touched_of_each)
{
    uint64_t granted = 0, touched = 0;

    for (int i = 0; i < 8; i++) {
        uint64_t left = budget_left(100 * GB - touched, granted, touched);
        uint64_t grant = min_u64(20 * GB, left);

        granted += grant;
        touched += min_u64(grant, touched_of_each);
    }
    return granted;
}

static void grants_before_any_touch_stay_within_forty_percent(void **unused)
{
    (void)unused;
    assert_int_equal(grant_all(0), 40 * GB);
}

static void touching_does_not_change_the_bound(void **unused)
{
    (void)unused;
    assert_int_equal(grant_all(1 * GB), 40 * GB);
    assert_int_equal(grant_all(20 * GB), 40 * GB);
}

static void what_is_freed_can_be_had_again(void **unused)
{
    (void)unused;
    /* 40 of 100 GB granted, all of it touched; then 15 of them go. */
    assert_int_equal(budget_left(60 * GB, 40 * GB, 40 * GB), 0);
    assert_int_equal(budget_left(75 * GB, 25 * GB, 25 * GB), 15 * GB);
    /* Freed while it is touched: the pages follow later. */
    assert_int_equal(budget_left(60 * GB, 25 * GB, 40 * GB), 15 * GB);
}

static void a_cgroup_that_is_nearly_full_leaves_little(void **unused)
{
    (void)unused;
    assert_int_equal(budget_left(5 * GB, 0, 0), 2 * GB);
    assert_int_equal(budget_left(0, 0, 0), 0);
    /* Others have taken what was promised to an arena. */
    assert_int_equal(budget_left(1 * GB, 2 * GB, 0), 0);
    assert_int_equal(budget_left(0, 2 * GB, 2 * GB), 0);
}

static void without_a_limit_there_is_none(void **unused)
{
    (void)unused;
    assert_true(budget_left(UINT64_MAX, 0, 0) == UINT64_MAX);
    assert_true(budget_left(UINT64_MAX, 40 * GB, 40 * GB) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_before_any_touch_stay_within_forty_percent),
        cmocka_unit_test(touching_does_not_change_the_bound),
        cmocka_unit_test(what_is_freed_can_be_had_again),
        cmocka_unit_test(a_cgroup_that_is_nearly_full_leaves_little),
        cmocka_unit_test(without_a_limit_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
