/*
 * test_store_home.c - a home's name leads to the back end of its scheme, and a
 * scheme that is none is refused with those that there are.
 */
#include "tests/lib/store_kinds.h"

static void a_folder_is_a_home_by_its_path_and_by_its_url(void **state)
{
    char dir[512], url[600];
    struct store *store;
    struct err err;

    (void)state;
    make_dir(dir, sizeof dir);
    (void)snprintf(url, sizeof url, "file://%s", dir);
    assert_int_equal(store_home_open(dir, STORE_OPEN_WRITE,
                                     STORE_ENGINE_THREADS, &store, &err),
                     0);
    assert_int_equal(do_put(store, "a", "text"), 0);
    store_close(store);
    assert_int_equal(
        store_home_open(url, 0, STORE_ENGINE_THREADS, &store, &err), 0);
    assert_record(store, "a", "text");
    assert_int_equal(do_put(store, "b", "text"), -EROFS);
    store_close(store);
    remove_tree(dir);
}

static void other_schemes_are_refused_with_those_there_are(void **state)
{
    struct store *store;
    struct err err;

    (void)state;
    assert_int_equal(
        store_home_open("s3://bucket/x", 0, STORE_ENGINE_AUTO, &store, &err),
        -EINVAL);
    assert_non_null(strstr(err.text, "s3://bucket/x"));
    assert_non_null(strstr(err.text, "rados://POOL/NAMESPACE"));
}

/* Never a folder of that name, whatever is wrong with it. */
static void a_name_in_rados_goes_to_rados(void **state)
{
    struct store *store;
    struct err err;

    (void)state;
    assert_int_equal(store_home_open("rados://pool", STORE_OPEN_WRITE,
                                     STORE_ENGINE_AUTO, &store, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "no namespace"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_a_home_by_its_path_and_by_its_url),
        cmocka_unit_test(other_schemes_are_refused_with_those_there_are),
        cmocka_unit_test(a_name_in_rados_goes_to_rados),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
