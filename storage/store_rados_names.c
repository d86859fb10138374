/*
 * store_rados_names.c - names of objects, keys of catalogues, and the text of
 * the anchor.
 *
 * A folder's catalogue (`c:FOLDER`) has a key for each thing that was ever to
 * be created right below it: the kind, the last component, '/', and the nonce
 * of the request; a folder's key has no nonce. As each request has a key of
 * its own, nobody's removal can take away what another's object is found by.
 */
#include "storage/store_rados.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void rados_object_name(char prefix, const char *name, size_t bytes,
                       char to[OBJECT_NAME_BYTES])
{
    assert(bytes <= STORE_NAME_MAX);
    to[0] = prefix;
    to[1] = ':';
    memcpy(to + 2, name, bytes);
    to[2 + bytes] = '\0';
}

size_t rados_folder_of(const char *name, const char **component)
{
    const char *slash = strrchr(name, '/');

    *component = slash ? slash + 1 : name;
    return slash ? (size_t)(slash - name) : 0;
}

size_t rados_key_format(char kind, const char *component, size_t bytes,
                        const struct id128 *nonce, char to[CATALOG_KEY_BYTES])
{
    char id[ID_TEXT_BYTES];

    assert(bytes <= STORE_NAME_MAX);
    to[0] = kind;
    memcpy(to + 1, component, bytes);
    bytes++;
    if (kind != 'd') {
        to[bytes++] = '/';
        memcpy(to + bytes, id_format(nonce, id), ID_TEXT_BYTES - 1);
        bytes += ID_TEXT_BYTES - 1;
    }
    to[bytes] = '\0';
    return bytes;
}

char rados_key_parse(const char *key, size_t bytes,
                     char component[STORE_NAME_MAX + 1])
{
    struct id128 nonce;
    size_t end = bytes;

    if (bytes < 2 || !key[0] || !strchr("bdr", key[0]))
        return 0;
    if (key[0] != 'd') {
        const char *slash = memchr(key, '/', bytes);

        end = slash ? (size_t)(slash - key) : bytes;
        if (!slash || id_parse(slash + 1, bytes - end - 1, &nonce) < 0)
            return 0;
    }
    if (end < 2 || end - 1 > STORE_NAME_MAX ||
        memchr(key + 1, '\0', end - 1) != NULL)
        return 0;
    memcpy(component, key + 1, end - 1);
    component[end - 1] = '\0';
    if (!store_name_is_visible(component))
        return 0;
    return key[0];
}

static const char anchor_head[] = "ckptd home 1\ndata_pool ";

size_t rados_anchor_format(const char *data_pool, char to[RADOS_ANCHOR_BYTES])
{
    int used =
        snprintf(to, RADOS_ANCHOR_BYTES, "%s%s\n", anchor_head, data_pool);

    assert(used > 0 && used < RADOS_ANCHOR_BYTES);
    return (size_t)used;
}

int rados_anchor_parse(const char *text, size_t bytes,
                       char data_pool[RADOS_WORD_MAX + 1])
{
    const size_t head = strlen(anchor_head);
    struct rados_url url;
    struct err err;
    char home[RADOS_URL_MAX + 1];

    if (bytes < head + 2 || memcmp(text, anchor_head, head) != 0 ||
        text[bytes - 1] != '\n' || bytes - head - 1 > RADOS_WORD_MAX)
        return -CKPT_ECORRUPT;
    (void)snprintf(home, sizeof home, "rados://%.*s/x", (int)(bytes - head - 1),
                   text + head);
    if (rados_url_parse(home, &url, &err) < 0 ||
        strlen(url.pool) != bytes - head - 1)
        return -CKPT_ECORRUPT;
    memcpy(data_pool, url.pool, sizeof url.pool);
    return 0;
}
