/*
 * test_dtype.c - the dtypes are those of safetensors, by name and by size.
 */
#include "formats/dtype.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void every_dtype_is_found_by_its_name(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= DTYPE_LAST; i++)
        assert_int_equal(dtype_parse(dtype_name(i)), i);
}

static void sizes_are_those_of_safetensors(void **state)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } known[] = {
        {"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6},
        {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
        {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
        {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
        {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
        {"I64", 64},    {"U64", 64},
    };

    (void)state;
    assert_int_equal(ARRAY_LEN(known), DTYPE_LAST);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        assert_int_equal(dtype_bits(dtype_parse(known[i].name)), known[i].bits);
}

static void what_is_no_dtype_is_told_so(void **state)
{
    (void)state;
    assert_int_equal(dtype_bits(0), 0);
    assert_int_equal(dtype_bits(DTYPE_LAST + 1), 0);
    assert_int_equal(dtype_bits(UINT32_MAX), 0);
    assert_string_equal(dtype_name(0), "?");
    assert_string_equal(dtype_name(DTYPE_LAST + 1), "?");
    assert_int_equal(dtype_parse("?"), 0);
    assert_int_equal(dtype_parse(""), 0);
    assert_int_equal(dtype_parse("bf16"), 0);
    assert_int_equal(dtype_parse("BF16 "), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_is_found_by_its_name),
        cmocka_unit_test(sizes_are_those_of_safetensors),
        cmocka_unit_test(what_is_no_dtype_is_told_so),
    };

    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
