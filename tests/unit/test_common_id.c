/*
 * test_common_id.c - identities and save names: their text is exact both ways,
 * sorts like the saves do, and nothing else is accepted.
 */
#include "common/id.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void id_text_round_trips(void **state)
{
    struct id128 id, back;
    char text[ID_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof id.b; i++)
        id.b[i] = (uint8_t)(i * 17 + 3);
    assert_ptr_equal(id_format(&id, text), text);
    assert_string_equal(text, "03142536475869"
                              "7a8b9cadbecfe0f102");
    assert_int_equal(id_parse(text, strlen(text), &back), 0);
    assert_true(id_equal(&id, &back));
}

static void only_an_id_of_zeros_is_zero(void **state)
{
    struct id128 id = {0};

    (void)state;
    assert_true(id_is_zero(&id));
    id.b[15] = 1;
    assert_false(id_is_zero(&id));
}

static void id_text_of_another_form_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "0123456789abcdef0123456789abcde",
        "0123456789abcdef0123456789abcdef0",
        "0123456789ABCDEF0123456789abcdef",
        "0123456789abcdef0123456789abcdeg",
        "g123456789abcdef0123456789abcdef",
        "0123456789abcdef-123456789abcdef",
    };
    struct id128 id;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(id_parse(bad[i], strlen(bad[i]), &id), -EINVAL);
}

static void save_name_round_trips(void **state)
{
    static const struct save_id ids[] = {
        {.generation = 1},
        {.generation = 7, .step = 1234, .attempt = 2},
        {.generation = 99999999, .step = UINT64_MAX, .attempt = 9999},
    };
    char text[SAVE_ID_TEXT_BYTES];
    struct save_id back;
    const char *rest;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        save_id_format(&ids[i], text);
        assert_int_equal(save_id_parse(text, &back, &rest), 0);
        assert_int_equal(save_id_compare(&ids[i], &back), 0);
        assert_string_equal(rest, "");
    }
    save_id_format(&ids[1], text);
    assert_string_equal(text, "00000007-00000000000000001234-0002");
}

static void save_name_ends_at_a_dot(void **state)
{
    struct save_id id;
    const char *rest;

    (void)state;
    assert_int_equal(
        save_id_parse("00000001-00000000000000000002-0003.0a.1", &id, &rest),
        0);
    assert_int_equal(id.attempt, 3);
    assert_string_equal(rest, ".0a.1");
    assert_int_equal(
        save_id_parse("00000001-00000000000000000002-0003", &id, NULL), 0);
}

static void save_name_of_another_form_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "00000001",
        "1-2-3",
        "00000001-00000000000000000002-000",
        "00000001-00000000000000000002-00031",
        "00000001-00000000000000000002-0003-",
        "00000001-00000000000000000002_0003",
        "0000000a-00000000000000000002-0003",
        "-0000001-00000000000000000002-0003",
        " 0000001-00000000000000000002-0003",
        /* generation 0 is none */
        "00000000-00000000000000000002-0003",
        /* 2^64 */
        "00000001-18446744073709551616-0003",
        "00000001-99999999999999999999-0003",
    };
    struct save_id id;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(save_id_parse(bad[i], &id, NULL), -EINVAL);
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void names_sort_like_saves(void **state)
{
    static const struct save_id ids[] = {
        {.generation = 1, .step = 9, .attempt = 0},
        {.generation = 1, .step = 9, .attempt = 1},
        {.generation = 1, .step = 10, .attempt = 0},
        {.generation = 1, .step = 1ull << 40, .attempt = 0},
        {.generation = 2, .step = 0, .attempt = 5},
        {.generation = 10, .step = 0, .attempt = 0},
    };
    char a[SAVE_ID_TEXT_BYTES], b[SAVE_ID_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        for (size_t j = 0; j < ARRAY_LEN(ids); j++) {
            int expected = (i > j) - (i < j);

            save_id_format(&ids[i], a);
            save_id_format(&ids[j], b);
            assert_int_equal(sign(save_id_compare(&ids[i], &ids[j])), expected);
            assert_int_equal(sign(strcmp(a, b)), expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_text_round_trips),
        cmocka_unit_test(only_an_id_of_zeros_is_zero),
        cmocka_unit_test(id_text_of_another_form_is_refused),
        cmocka_unit_test(save_name_round_trips),
        cmocka_unit_test(save_name_ends_at_a_dot),
        cmocka_unit_test(save_name_of_another_form_is_refused),
        cmocka_unit_test(names_sort_like_saves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
