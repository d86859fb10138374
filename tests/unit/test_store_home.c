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

static void assert_mode(const char *dir, const char *name, mode_t mode)
{
    char path[600];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

/* In a home of that mode everything has these. */
static void assert_modes(enum store_engine engine, mode_t home, mode_t folder,
                         mode_t file)
{
    struct store_seg *seg;
    struct store *store;
    struct err err;
    char dir[512];

    make_dir(dir, sizeof dir);
    assert_int_equal(chmod(dir, home), 0);
    assert_int_equal(
        store_home_open(dir, STORE_OPEN_WRITE, engine, &store, &err), 0);
    assert_int_equal(do_put(store, "a", "text"), 0);
    assert_int_equal(do_put(store, "runs/r/a", "text"), 0);
    assert_int_equal(do_open(store, "runs/data/1",
                             STORE_SEG_WRITE | STORE_SEG_CREATE, 65536, &seg),
                     65536);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
    store_close(store);
    assert_mode(dir, ".", home);
    assert_mode(dir, "a", file);
    assert_mode(dir, "runs", folder);
    assert_mode(dir, "runs/r", folder);
    assert_mode(dir, "runs/r/a", file);
    assert_mode(dir, "runs/data/1", file);
    remove_tree(dir);
}

static void who_may_read_the_folder_may_read_what_is_made_in_it(void **state)
{
    static const enum store_engine engines[] = {STORE_ENGINE_AUTO,
                                                STORE_ENGINE_THREADS};
    mode_t before = umask(022);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        assert_modes(engines[i], 0700, 0700, 0600);
        assert_modes(engines[i], 0750, 0750, 0640);
        assert_modes(engines[i], 0755, 0755, 0644);
        assert_modes(engines[i], 0711, 0711, 0600);
        assert_modes(engines[i], 02750, 02750, 0640); /* with its group */
    }
    (void)umask(before);
}

/* A local store is its owner's. */
static void what_is_no_home_is_closed(void **state)
{
    struct store *store;
    struct err err;
    char dir[512];

    (void)state;
    make_dir(dir, sizeof dir);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(
        store_file_open(dir, STORE_OPEN_WRITE, STORE_ENGINE_AUTO, &store, &err),
        0);
    assert_int_equal(do_put(store, "seg/a", "text"), 0);
    store_close(store);
    assert_mode(dir, "seg", 0700);
    assert_mode(dir, "seg/a", 0600);
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
        cmocka_unit_test(who_may_read_the_folder_may_read_what_is_made_in_it),
        cmocka_unit_test(what_is_no_home_is_closed),
        cmocka_unit_test(other_schemes_are_refused_with_those_there_are),
        cmocka_unit_test(a_name_in_rados_goes_to_rados),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
