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

static void a_value_is_told_in_words(void **state)
{
    static const struct {
        uint32_t dtype;
        uint8_t bytes[8];
        const char *text;
    } known[] = {
        {DTYPE_F32, {0, 0, 0xc0, 0x3f}, "1.5 (0x3fc00000)"},
        {DTYPE_F32, {0, 0, 0xc0, 0x7f}, "nan (0x7fc00000)"},
        {DTYPE_BF16, {0xc0, 0xbf}, "-1.5 (0xbfc0)"},
        {DTYPE_F16, {0x00, 0x3e}, "1.5 (0x3e00)"},
        {DTYPE_F16, {0x01, 0x80}, "-5.9605e-08 (0x8001)"},
        {DTYPE_F16, {0x00, 0xfc}, "-inf (0xfc00)"},
        {DTYPE_F64, {0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, "1.5 (0x3ff8000000000000)"},
        {DTYPE_U64,
         {255, 255, 255, 255, 255, 255, 255, 255},
         "18446744073709551615 (0xffffffffffffffff)"},
        {DTYPE_I64,
         {254, 255, 255, 255, 255, 255, 255, 255},
         "-2 (0xfffffffffffffffe)"},
        {DTYPE_U32, {1, 2, 0, 0}, "513 (0x00000201)"},
        {DTYPE_I32, {255, 255, 255, 255}, "-1 (0xffffffff)"},
        {DTYPE_U16, {255, 255}, "65535 (0xffff)"},
        {DTYPE_I16, {255, 255}, "-1 (0xffff)"},
        {DTYPE_U8, {200}, "200 (0xc8)"},
        {DTYPE_BOOL, {1}, "1 (0x01)"},
        {DTYPE_I8, {200}, "-56 (0xc8)"},
        {DTYPE_F8_E4M3, {0x3c}, "0x3c"},
        {DTYPE_F4, {0x21}, "0x21"},
        {DTYPE_C64, {1, 0, 0, 0, 2, 0, 0, 0}, "0x0000000200000001"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        char text[DTYPE_VALUE_TEXT];

        dtype_value_text(known[i].dtype, known[i].bytes, text, sizeof text);
        assert_string_equal(text, known[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_is_found_by_its_name),
        cmocka_unit_test(sizes_are_those_of_safetensors),
        cmocka_unit_test(what_is_no_dtype_is_told_so),
        cmocka_unit_test(a_value_is_told_in_words),
    };

    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
