/*
 * fuzz_rados.c - what the back end for RADOS reads of users and of a cluster:
 *
 *     u8 0, the name of a home, up to a NUL
 *     u8 1, u8 fit, 44 bytes of an object's attribute, the object's name
 *           fit 1: its checksum is made to fit
 *     u8 2, a key of a catalogue
 *     u8 3, the text of the anchor
 *
 * What is taken is written again to the same bytes (a key: to one that means
 * the same).
 */
#include "tests/fuzz/fuzz.h"

#include "storage/crc32c.h"
#include "common/text.h"
#include "storage/store_rados.h"

#include <stdlib.h>

static void home(const char *text)
{
    static struct rados_url url, again;
    char back[RADOS_URL_MAX + 1];
    struct err err = {0};

    if (rados_url_parse(text, &url, &err) < 0) {
        fuzz_check(err.code < 0 && err.text[0]);
        return;
    }
    fuzz_check(text_home_is_rados(text) && url.pool[0] && url.space[0]);
    rados_url_format(&url, back);
    fuzz_check(strlen(back) == strlen(text));
    fuzz_check(rados_url_parse(back, &again, &err) == 0);
    fuzz_check(memcmp(&url, &again, sizeof url) == 0);
}

static void attribute(struct rd *in)
{
    bool fit = rd_u8(in) & 1;
    uint8_t *bytes, back[SEAL_BYTES];
    char *object;
    struct seal seal;
    size_t count, name_bytes;
    uint8_t *name;

    bytes = fuzz_exact(in, SEAL_BYTES, &count);
    name = fuzz_exact(in, OBJECT_NAME_BYTES - 1, &name_bytes);
    object = strndup((const char *)name, name_bytes);
    if (fit && count == SEAL_BYTES)
        put_u32(bytes + 40,
                crc32c(crc32c(0, bytes, 40), object, strlen(object)));
    if (seal_decode(bytes, count, object, &seal) == 0) {
        seal_encode(&seal, object, back);
        fuzz_check(memcmp(back, bytes, SEAL_BYTES) == 0);
    }
    free(object);
    free(name);
    free(bytes);
}

static void key(const char *text, size_t bytes)
{
    char component[STORE_NAME_MAX + 1], again[STORE_NAME_MAX + 1];
    char back[CATALOG_KEY_BYTES];
    char kind = rados_key_parse(text, bytes, component);
    struct id128 nonce = {{0}};
    size_t back_bytes;

    if (!kind)
        return;
    fuzz_check(store_name_is_visible(component));
    if (kind != 'd')
        fuzz_check(id_parse(text + bytes - 32, 32, &nonce) == 0);
    back_bytes =
        rados_key_format(kind, component, strlen(component), &nonce, back);
    fuzz_check(back_bytes == bytes);
    fuzz_check(rados_key_parse(back, back_bytes, again) == kind);
    fuzz_check(strcmp(component, again) == 0);
}

static void anchor(const char *text, size_t bytes)
{
    char pool[RADOS_WORD_MAX + 1], back[RADOS_ANCHOR_BYTES];

    if (rados_anchor_parse(text, bytes, pool) < 0)
        return;
    fuzz_check(rados_anchor_format(pool, back) == bytes);
    fuzz_check(memcmp(back, text, bytes) == 0);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    uint8_t what = rd_u8(in);
    uint8_t *rest;
    char *text;

    if (what == 1) {
        attribute(in);
        return;
    }
    rest = fuzz_exact(in, bytes, &bytes);
    text = strndup((const char *)rest, bytes);
    if (what == 0)
        home(text);
    else if (what == 2)
        key((const char *)rest, bytes);
    else
        anchor((const char *)rest, bytes);
    free(text);
    free(rest);
}
