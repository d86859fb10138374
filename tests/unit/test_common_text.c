/*
 * test_common_text.c - what others wrote cannot steer a terminal, and stays
 * UTF-8, whatever it is.
 */
#include "common/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void cleaned_is(const char *text, const char *wanted)
{
    char copy[64];

    (void)snprintf(copy, sizeof copy, "%s", text);
    text_clean(copy);
    assert_string_equal(copy, wanted);
}

static void controls_become_marks(void **state)
{
    /* The compiler's checks would not have these in a literal. */
    static const char turned[] = {'x', (char)0xe2, (char)0x80, (char)0xae,
                                  'g', 'n',        'p',        '.',
                                  'e', 'x',        'e',        '\0'};
    static const char isolated[] = {(char)0xe2, (char)0x81, (char)0xa6, 'i',
                                    (char)0xe2, (char)0x81, (char)0xa9, '\0'};

    (void)state;
    cleaned_is("", "");
    cleaned_is("plain text, 100 %", "plain text, 100 %");
    cleaned_is("\033[2Jgone", "?[2Jgone");
    cleaned_is("a\r\n\tb\x7f\b", "a???b??");
    cleaned_is("\xc2\x9b"
               "31m",
               "??31m"); /* CSI of one character */
    cleaned_is("\x9b"
               "31m",
               "?31m"); /* and of one byte */
    cleaned_is(turned, "x?gnp.exe");
    cleaned_is(isolated, "?i?");
}

static void characters_stay(void **state)
{
    (void)state;
    cleaned_is("W\xc3\xb6rter \xe2\x82\xac \xf0\x9f\x98\x80",
               "W\xc3\xb6rter \xe2\x82\xac \xf0\x9f\x98\x80");
    cleaned_is("\xc2\xa0", "\xc2\xa0");
}

static void no_utf8_becomes_marks(void **state)
{
    (void)state;
    cleaned_is("\xff\xfe", "??");
    cleaned_is("cut \xe2\x82", "cut ??");
    cleaned_is("\xc0\xaf", "??");           /* too long for its code */
    cleaned_is("\xed\xa0\x80", "???");      /* half a pair */
    cleaned_is("\xf4\x90\x80\x80", "????"); /* beyond all */
}

/* Cleaning twice is cleaning once, and what is left is characters only. */
static void any_bytes_end_as_text(void **state)
{
    uint64_t seed = 3;
    char text[65], once[65];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        for (size_t k = 0; k < 64; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[k] = (char)((seed >> 33) % 255 + 1);
        }
        text[64] = '\0';
        text_clean(text);
        memcpy(once, text, sizeof once);
        for (size_t at = 0, left = strlen(text); left;) {
            size_t n = text_character((const uint8_t *)text + at, left);

            assert_true(n > 0);
            at += n;
            left -= n;
        }
        text_clean(text);
        assert_string_equal(text, once);
    }
}

static void a_home_is_told_without_options(void **state)
{
    (void)state;
    assert_int_equal(text_home_bytes("/data/what?"), 11);
    assert_int_equal(text_home_bytes("rados://pool/space?user=u"), 18);
    assert_int_equal(text_home_bytes("rados://pool/space"), 18);
}

static void size_is(const char *text, uint64_t wanted)
{
    uint64_t bytes = 1;

    assert_true(text_bytes(text, &bytes));
    assert_int_equal(bytes, wanted);
}

static void a_size_has_a_unit_or_none(void **state)
{
    static const char *const none[] = {"",    "K",  "-1",  "+1",  " 1",
                                       "1 K", "1k", "1KB", "1x",  "1.",
                                       "0x1", "1E", "M1",  "1MM", "1.5M"};
    uint64_t bytes;

    (void)state;
    size_is("0", 0);
    size_is("0T", 0);
    size_is("67108864", 67108864);
    size_is("10K", 10240);
    size_is("64M", 67108864);
    size_is("3G", (uint64_t)3 << 30);
    size_is("16777215T", (uint64_t)16777215 << 40);
    size_is("18446744073709551615", UINT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_false(text_bytes(none[i], &bytes));
    assert_false(text_bytes("18446744073709551616", &bytes));
    assert_false(text_bytes("16777216T", &bytes));
    assert_false(text_bytes("18014398509481984K", &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controls_become_marks),
        cmocka_unit_test(characters_stay),
        cmocka_unit_test(no_utf8_becomes_marks),
        cmocka_unit_test(any_bytes_end_as_text),
        cmocka_unit_test(a_home_is_told_without_options),
        cmocka_unit_test(a_size_has_a_unit_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
