/*
 * test_rados_url.c - names of homes in RADOS: what is taken, that it is written
 * again the same, and that what is refused is named.
 */
#include "storage/rados_url.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void all_parts_are_taken(void **state)
{
    struct rados_url url;
    struct err err;

    (void)state;
    assert_int_equal(rados_url_parse("rados://ckpt/team-a?conf=/etc/c.conf&"
                                     "user=ckptd&data_pool=ckpt.ec",
                                     &url, &err),
                     0);
    assert_string_equal(url.pool, "ckpt");
    assert_string_equal(url.space, "team-a");
    assert_string_equal(url.data_pool, "ckpt.ec");
    assert_string_equal(url.conf, "/etc/c.conf");
    assert_string_equal(url.user, "ckptd");
}

static void what_is_written_is_read_the_same(void **state)
{
    static const char *const texts[] = {
        "rados://p/n",
        "rados://p/n?data_pool=d",
        "rados://p/n?conf=/a/b,c=d@e/f.conf",
        "rados://p/n?user=u",
        "rados://p_1.x/n-2?data_pool=d&conf=/c&user=u",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char text[RADOS_URL_MAX + 1];
        struct rados_url url;
        struct err err;

        assert_int_equal(rados_url_parse(texts[i], &url, &err), 0);
        rados_url_format(&url, text);
        assert_string_equal(text, texts[i]);
    }
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *text, *word;
    } bad[] = {
        {"", "does not begin with rados://"},
        {"/a/path", "does not begin with rados://"},
        {"RADOS://p/n", "does not begin with rados://"},
        {"rados://", "no pool"},
        {"rados:///n", "no pool"},
        {"rados://p", "no namespace"},
        {"rados://p/", "no namespace"},
        {"rados://p?user=u", "no namespace"},
        {"rados://p/n/m", "namespace 'n/m'"},
        {"rados://p p/n", "pool 'p p'"},
        {"rados://.p/n", "pool '.p'"},
        {"rados://-p/n", "pool '-p'"},
        {"rados://p/n\x1b[2J", "namespace 'n?[2J'"},
        {"rados://p/n?", "'' is none of"},
        {"rados://p/n?user", "'user' is none of"},
        {"rados://p/n?user=", "no user"},
        {"rados://p/n?user=u&", "'' is none of"},
        {"rados://p/n?user=u&user=v", "'user' is given twice"},
        {"rados://p/n?conf=/a&conf=/a", "'conf' is given twice"},
        {"rados://p/n?conf=a", "not an absolute path"},
        {"rados://p/n?conf=", "not an absolute path"},
        {"rados://p/n?conf=/a%20b", "may not have"},
        {"rados://p/n?conf=/a?b", "may not have"},
        {"rados://p/n?conf=/a b", "may not have"},
        {"rados://p/n?conf=/\xff", "may not have"},
        {"rados://p/n?userx=u", "'userx=u' is none of"},
        {"rados://p/n?=u", "'=u' is none of"},
        {"rados://p/n?data_pool=a/b", "data_pool 'a/b'"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct rados_url url;
        struct err err = {0};

        assert_int_equal(rados_url_parse(bad[i].text, &url, &err), -EINVAL);
        if (!strstr(err.text, bad[i].word))
            fail_msg("%s: %s", bad[i].text, err.text);
    }
}

static void lengths_are_bounded(void **state)
{
    char text[RADOS_URL_MAX + 64], word[RADOS_URL_MAX + 2];
    struct rados_url url;
    struct err err;

    (void)state;
    memset(word, 'w', sizeof word);
    for (size_t bytes = RADOS_WORD_MAX; bytes <= RADOS_WORD_MAX + 1; bytes++) {
        int expect = bytes == RADOS_WORD_MAX ? 0 : -EINVAL;
        static const char *const around[][2] = {
            {"rados://", "/n"}, {"rados://p/", ""}, {"rados://p/n?user=", ""}};

        for (size_t i = 0; i < ARRAY_LEN(around); i++) {
            (void)snprintf(text, sizeof text, "%s%.*s%s", around[i][0],
                           (int)bytes, word, around[i][1]);
            assert_int_equal(rados_url_parse(text, &url, &err), expect);
        }
    }
    for (int bytes = RADOS_PATH_MAX; bytes <= RADOS_PATH_MAX + 1; bytes++) {
        (void)snprintf(text, sizeof text, "rados://p/n?conf=/%.*s", bytes - 1,
                       word);
        assert_int_equal(rados_url_parse(text, &url, &err),
                         bytes == RADOS_PATH_MAX ? 0 : -EINVAL);
    }
    (void)snprintf(text, sizeof text, "rados://p/n?conf=/%.*s", RADOS_URL_MAX,
                   word);
    assert_int_equal(rados_url_parse(text, &url, &err), -EINVAL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_parts_are_taken),
        cmocka_unit_test(what_is_written_is_read_the_same),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(lengths_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
