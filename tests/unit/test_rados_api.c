/*
 * test_rados_api.c - librados found at run time: what is missing is named, the
 * real one fills the table, and the table's types are those of its header.
 *
 * The header (Debian: librados-dev) and the library (librados2) may be absent;
 * the cases that need one are then skipped, and say so.
 */
#include "storage/rados_api.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#if __has_include(<rados/librados.h>)
#include <rados/librados.h>

#define IS_SAME(member)                                                        \
    _Static_assert(__builtin_types_compatible_p(                               \
                       __typeof__(&rados_##member),                            \
                       __typeof__(((struct rados_api *)NULL)->member)),        \
                   "rados_" #member)

IS_SAME(version);
IS_SAME(create2);
IS_SAME(conf_read_file);
IS_SAME(conf_set);
IS_SAME(conf_get);
IS_SAME(connect);
IS_SAME(shutdown);
IS_SAME(ioctx_create);
IS_SAME(ioctx_set_namespace);
IS_SAME(ioctx_destroy);
IS_SAME(aio_create_completion2);
IS_SAME(aio_get_return_value);
IS_SAME(aio_release);
IS_SAME(create_write_op);
IS_SAME(release_write_op);
IS_SAME(write_op_create);
IS_SAME(write_op_write_full);
IS_SAME(write_op_setxattr);
IS_SAME(write_op_cmpxattr);
IS_SAME(write_op_remove);
IS_SAME(write_op_omap_set2);
IS_SAME(write_op_omap_rm_keys2);
IS_SAME(aio_write_op_operate);
IS_SAME(create_read_op);
IS_SAME(release_read_op);
IS_SAME(read_op_stat);
IS_SAME(read_op_read);
IS_SAME(read_op_checksum);
IS_SAME(read_op_getxattrs);
IS_SAME(read_op_omap_get_vals2);
IS_SAME(aio_read_op_operate);
IS_SAME(getxattrs_next);
IS_SAME(getxattrs_end);
IS_SAME(omap_get_next2);
IS_SAME(omap_get_end);

static void the_table_has_the_types_of_the_header(void **state)
{
    (void)state;
    assert_int_equal(RADOS_CREATE_EXCLUSIVE, LIBRADOS_CREATE_EXCLUSIVE);
    assert_int_equal(RADOS_CMPXATTR_EQ, LIBRADOS_CMPXATTR_OP_EQ);
    assert_int_equal(RADOS_CHECKSUM_CRC32C, LIBRADOS_CHECKSUM_TYPE_CRC32C);
    assert_int_equal(RADOS_FULL_TRY, LIBRADOS_OPERATION_FULL_TRY);
}

#else

static void the_table_has_the_types_of_the_header(void **state)
{
    (void)state;
    print_message("there is no rados/librados.h here (librados-dev)\n");
    skip();
}

#endif

static void a_missing_library_is_told_with_its_package(void **state)
{
    struct rados_api api;
    struct err err = {0};

    (void)state;
    assert_int_equal(rados_api_load_from("libnosuch-rados.so.2", &api, &err),
                     -ENOSYS);
    assert_non_null(strstr(err.text, "librados2"));
    assert_non_null(strstr(err.text, "libnosuch-rados.so.2"));
}

static void a_library_without_a_function_is_told_by_its_name(void **state)
{
    struct rados_api api;
    struct err err = {0};

    (void)state;
    assert_int_equal(rados_api_load_from("libc.so.6", &api, &err), -ENOSYS);
    assert_non_null(strstr(err.text, "libc.so.6 has no rados_version"));
}

static void the_real_one_fills_the_table_once(void **state)
{
    const struct rados_api *api, *again;
    struct err err = {0};
    int version[3] = {0};

    (void)state;
    if (rados_api_load(&api, &err) < 0) {
        assert_int_equal(err.code, -ENOSYS);
        assert_null(api);
        print_message("%s\n", err.text);
        skip();
    }
    assert_int_equal(rados_api_load(&again, &err), 0);
    assert_ptr_equal(api, again);
    api->version(&version[0], &version[1], &version[2]);
    assert_true(version[0] >= 2);
    api->release_write_op(api->create_write_op());
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_has_the_types_of_the_header),
        cmocka_unit_test(a_missing_library_is_told_with_its_package),
        cmocka_unit_test(a_library_without_a_function_is_told_by_its_name),
        cmocka_unit_test(the_real_one_fills_the_table_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
