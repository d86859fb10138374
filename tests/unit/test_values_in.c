/*
 * test_values_in.c - extra state as a daemon may send it: scalars never come
 * from elsewhere, and have eight bytes, whatever it says.
 */
#include "trainer/values.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* One large value of this type that is said to be so long. */
static int decode_large(uint32_t type, uint64_t bytes)
{
    uint8_t length[8];
    struct value v = {
        .name = "x", .name_bytes = 1, .type = type, .data = length, .bytes = 8};
    struct wire_values_ok answer = {0};
    struct wire_open open = {0};
    struct ckpt_values *values = NULL;
    struct wr none = {0}, large = {0};
    struct err err = {0};
    int rc;

    put_u64(length, bytes);
    values_encode(NULL, 0, &none);
    values_encode(&v, 1, &large);
    assert_false(none.failed || large.failed);
    answer.values = none.data;
    answer.values_bytes = (uint32_t)none.bytes;
    answer.large = large.data;
    answer.large_bytes = (uint32_t)large.bytes;
    rc = values_decode_answer(&answer, &open, &values, &err);
    assert_int_equal(err.code, rc);
    assert_true(rc || values);
    ckpt_values_free(values);
    wr_free(&none);
    wr_free(&large);
    return rc;
}

static void a_large_scalar_is_refused_at_any_length(void **state)
{
    static const uint32_t types[] = {VALUE_I64, VALUE_U64, VALUE_F64};
    static const uint64_t lengths[] = {0, 1, 7, 8, 9, 100};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (size_t k = 0; k < ARRAY_LEN(lengths); k++)
            assert_int_equal(decode_large(types[i], lengths[k]), -EBADMSG);
}

static void others_may_be_of_any_length(void **state)
{
    (void)state;
    assert_int_equal(decode_large(VALUE_BYTES, 0), 0);
    assert_int_equal(decode_large(VALUE_BYTES, 7), 0);
    assert_int_equal(decode_large(VALUE_STRING, 100000), 0);
    assert_int_equal(decode_large(VALUE_BYTES, UINT64_MAX), -ENOMEM);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_scalar_is_refused_at_any_length),
        cmocka_unit_test(others_may_be_of_any_length),
    };

    return cmocka_run_group_tests_name("values_in", tests, NULL, NULL);
}
