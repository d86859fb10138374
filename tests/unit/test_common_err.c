/*
 * test_common_err.c - error contexts: the code passes through, the message
 * names the thing, and one that is too long is cut and not overrun.
 */
#include "common/err.h"
#include "trainer/ckpt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void set_returns_the_code_and_keeps_the_words(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_set(&err, -ENOENT, "no %s in %d", "home", 7), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "no home in 7");
    assert_int_equal(err_set(&err, -CKPT_ESHAPE, "other"), -CKPT_ESHAPE);
    assert_string_equal(err.text, "other");
}

static void prefix_stands_before_the_words(void **state)
{
    struct err err;

    (void)state;
    (void)err_set(&err, -EIO, "short read");
    assert_int_equal(err_prefix(&err, "tensor %s", "wte"), -EIO);
    assert_string_equal(err.text, "tensor wte: short read");
}

static void long_messages_are_cut_inside_the_buffer(void **state)
{
    struct {
        struct err err;
        char guard[16];
    } box;
    char words[3 * ERR_TEXT_BYTES];

    (void)state;
    memset(box.guard, 'G', sizeof box.guard);
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    (void)err_set(&box.err, -EIO, "%s", words);
    assert_int_equal(strlen(box.err.text), ERR_TEXT_BYTES - 1);
    (void)err_prefix(&box.err, "rank 3");
    assert_memory_equal(box.err.text, "rank 3: www", 11);
    /* The cause, at the end, is what is to be read. */
    (void)err_set(&box.err, -EIO, "home %s: %s", words, "no space");
    (void)err_prefix(&box.err, "rank 3");
    assert_memory_equal(box.err.text, "rank 3: home www", 16);
    assert_non_null(strstr(box.err.text, "www: no space"));
    assert_non_null(strstr(box.err.text, "www [...] www"));
    assert_true(strlen(box.err.text) < ERR_TEXT_BYTES);
    (void)err_prefix(&box.err, "%s", words);
    assert_int_equal(strlen(box.err.text), ERR_TEXT_BYTES - 1);
    for (size_t i = 0; i < sizeof box.guard; i++)
        assert_int_equal(box.guard[i], 'G');
}

static void every_own_code_has_words_of_its_own(void **state)
{
    static const int codes[] = {
        CKPT_ECORRUPT,  CKPT_EVERSION,     CKPT_ESHAPE,   CKPT_EPARTIAL,
        CKPT_ECONFLICT, CKPT_EUNCOMMITTED, CKPT_EABORTED, CKPT_EDIVERGED,
        CKPT_ESTALE,    CKPT_EOVERLOAD,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        assert_string_not_equal(err_text(codes[i]), "unknown error");
        assert_string_equal(err_text(codes[i]), err_text(-codes[i]));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(err_text(codes[i]), err_text(codes[j]));
    }
}

static void errno_codes_have_the_systems_words(void **state)
{
    (void)state;
    assert_string_equal(err_text(0), "success");
    assert_string_equal(err_text(-ENOSPC), strerrordesc_np(ENOSPC));
    assert_string_equal(err_text(-3999), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_returns_the_code_and_keeps_the_words),
        cmocka_unit_test(prefix_stands_before_the_words),
        cmocka_unit_test(long_messages_are_cut_inside_the_buffer),
        cmocka_unit_test(every_own_code_has_words_of_its_own),
        cmocka_unit_test(errno_codes_have_the_systems_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
