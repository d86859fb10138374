/*
 * rados_url.c - reads and writes the name of a home in RADOS.
 *
 * The text is walked once from left to right; each piece is bounded before it
 * is copied. Lengths of all pieces together fit RADOS_URL_MAX.
 */
#include "storage/rados_url.h"

#include "common/text.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char scheme[] = "rados://";

/* What a user wrote, safe to show. */
struct shown {
    char text[64];
};

static struct shown show(const char *text, size_t bytes)
{
    struct shown shown;

    (void)snprintf(shown.text, sizeof shown.text, "%.*s",
                   (int)min_u64(bytes, sizeof shown.text - 1), text);
    text_clean(shown.text);
    return shown;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static int take_word(const char *what, const char *text, size_t bytes,
                     char word[RADOS_WORD_MAX + 1], struct err *err)
{
    if (bytes == 0)
        return err_set(err, -EINVAL, "rados://POOL/NAMESPACE: no %s", what);
    if (bytes > RADOS_WORD_MAX)
        return err_set(err, -EINVAL, "%s is longer than %d bytes", what,
                       RADOS_WORD_MAX);
    for (size_t i = 0; i < bytes; i++) {
        if (!is_word_char(text[i]) ||
            (i == 0 && (text[i] == '.' || text[i] == '-')))
            return err_set(err, -EINVAL,
                           "%s '%s' is not made of letters, digits, '.', '_' "
                           "and '-'",
                           what, show(text, bytes).text);
    }
    memcpy(word, text, bytes);
    word[bytes] = '\0';
    return 0;
}

static int take_path(const char *text, size_t bytes,
                     char path[RADOS_PATH_MAX + 1], struct err *err)
{
    if (bytes == 0 || text[0] != '/')
        return err_set(err, -EINVAL, "conf '%s' is not an absolute path",
                       show(text, bytes).text);
    if (bytes > RADOS_PATH_MAX)
        return err_set(err, -EINVAL, "conf is longer than %d bytes",
                       RADOS_PATH_MAX);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] <= ' ' || text[i] > '~' || strchr("%&#?\\", text[i]))
            return err_set(err, -EINVAL,
                           "conf '%s' has a character that it may not have",
                           show(text, bytes).text);
    }
    memcpy(path, text, bytes);
    path[bytes] = '\0';
    return 0;
}

/* One NAME=VALUE. */
static int take_option(const char *text, size_t bytes, struct rados_url *url,
                       struct err *err)
{
    const char *equals = memchr(text, '=', bytes);
    size_t name_bytes = equals ? (size_t)(equals - text) : bytes;
    const char *value = text + name_bytes + 1;
    size_t value_bytes = equals ? bytes - name_bytes - 1 : 0;
    const struct {
        const char *name;
        char *word;
    } words[] = {{"data_pool", url->data_pool}, {"user", url->user}};
    char *taken = NULL;

    if (name_bytes == 4 && memcmp(text, "conf", 4) == 0)
        taken = url->conf;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (name_bytes == strlen(words[i].name) &&
            memcmp(text, words[i].name, name_bytes) == 0)
            taken = words[i].word;
    }
    if (!taken || !equals)
        return err_set(err, -EINVAL,
                       "'%s' is none of data_pool=NAME, conf=PATH, user=NAME",
                       show(text, bytes).text);
    if (taken[0])
        return err_set(err, -EINVAL, "'%s' is given twice",
                       show(text, name_bytes).text);
    if (taken == url->conf)
        return take_path(value, value_bytes, url->conf, err);
    return take_word(taken == url->user ? "user" : "data_pool", value,
                     value_bytes, taken, err);
}

int rados_url_parse(const char *text, struct rados_url *url, struct err *err)
{
    const char *slash, *end;
    size_t bytes;
    int rc;

    *url = (struct rados_url){0};
    if (strnlen(text, RADOS_URL_MAX + 1) > RADOS_URL_MAX)
        return err_set(err, -EINVAL, "a home's name has at most %d bytes",
                       RADOS_URL_MAX);
    if (!text_home_is_rados(text))
        return err_set(err, -EINVAL, "'%s' does not begin with rados://",
                       show(text, strlen(text)).text);
    text += strlen(scheme);
    bytes = strcspn(text, "?");
    slash = memchr(text, '/', bytes);
    rc = take_word("pool", text, slash ? (size_t)(slash - text) : bytes,
                   url->pool, err);
    if (rc == 0)
        rc = take_word("namespace", slash ? slash + 1 : text + bytes,
                       slash ? bytes - (size_t)(slash + 1 - text) : 0,
                       url->space, err);
    for (text += bytes; rc == 0 && *text; text = end) {
        end = text + 1 + strcspn(text + 1, "&");
        rc = take_option(text + 1, (size_t)(end - text - 1), url, err);
    }
    return rc;
}

void rados_url_format(const struct rados_url *url, char text[RADOS_URL_MAX + 1])
{
    const char *const option[][2] = {{"data_pool", url->data_pool},
                                     {"conf", url->conf},
                                     {"user", url->user}};
    char before = '?';
    int used;

    used = snprintf(text, RADOS_URL_MAX + 1, "%s%s/%s", scheme, url->pool,
                    url->space);
    for (size_t i = 0; i < ARRAY_LEN(option); i++) {
        if (!option[i][1][0])
            continue;
        used += snprintf(text + used, RADOS_URL_MAX + 1 - (size_t)used,
                         "%c%s=%s", before, option[i][0], option[i][1]);
        before = '&';
    }
    assert(used >= 0 && used <= RADOS_URL_MAX);
}
