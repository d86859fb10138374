/*
 * bytes.c - see bytes.h.
 */
#include "common/bytes.h"

#include <stdlib.h>

const void *rd_bytes(struct rd *r, uint64_t bytes)
{
    const uint8_t *p = r->at;

    if (r->bad || bytes > (uint64_t)(r->end - r->at)) {
        r->bad = true;
        return NULL;
    }
    r->at += bytes;
    return p;
}

uint8_t rd_u8(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 1);

    return p ? *p : 0;
}

uint16_t rd_u16(struct rd *r)
{
    const void *p = rd_bytes(r, 2);

    return p ? get_u16(p) : 0;
}

uint32_t rd_u32(struct rd *r)
{
    const void *p = rd_bytes(r, 4);

    return p ? get_u32(p) : 0;
}

uint64_t rd_u64(struct rd *r)
{
    const void *p = rd_bytes(r, 8);

    return p ? get_u64(p) : 0;
}

struct id128 rd_id(struct rd *r)
{
    struct id128 id = {0};
    const void *p = rd_bytes(r, sizeof id.b);

    if (p)
        memcpy(id.b, p, sizeof id.b);
    return id;
}

void rd_str(struct rd *r, char *text, size_t capacity)
{
    uint16_t bytes = rd_u16(r);
    const void *p = rd_bytes(r, bytes);

    text[0] = '\0';
    if (!p)
        return;
    if (bytes >= capacity || memchr(p, 0, bytes)) {
        r->bad = true;
        return;
    }
    memcpy(text, p, bytes);
    text[bytes] = '\0';
}

bool rd_done(const struct rd *r)
{
    return !r->bad && r->at == r->end;
}

void *wr_room(struct wr *w, size_t bytes)
{
    uint64_t need;
    uint8_t *grown;

    if (w->failed || !add_u64(w->bytes, bytes, &need)) {
        w->failed = true;
        return NULL;
    }
    if (need > w->capacity) {
        uint64_t capacity = max_u64(need, max_u64(256, w->capacity * 2));

        grown = realloc(w->data, capacity);
        if (!grown) {
            w->failed = true;
            return NULL;
        }
        w->data = grown;
        w->capacity = capacity;
    }
    if (bytes == 0)
        return w->data ? w->data + need : NULL;
    memset(w->data + w->bytes, 0, bytes);
    w->bytes = need;
    return w->data + (need - bytes);
}

void wr_bytes(struct wr *w, const void *data, size_t bytes)
{
    void *p = bytes ? wr_room(w, bytes) : NULL;

    if (p)
        memcpy(p, data, bytes);
}

void wr_u8(struct wr *w, uint8_t v)
{
    wr_bytes(w, &v, 1);
}

void wr_u16(struct wr *w, uint16_t v)
{
    void *p = wr_room(w, 2);

    if (p)
        put_u16(p, v);
}

void wr_u32(struct wr *w, uint32_t v)
{
    void *p = wr_room(w, 4);

    if (p)
        put_u32(p, v);
}

void wr_u64(struct wr *w, uint64_t v)
{
    void *p = wr_room(w, 8);

    if (p)
        put_u64(p, v);
}

void wr_id(struct wr *w, const struct id128 *id)
{
    wr_bytes(w, id->b, sizeof id->b);
}

void wr_str(struct wr *w, const char *text)
{
    size_t bytes = strlen(text);

    if (bytes > UINT16_MAX) {
        w->failed = true;
        return;
    }
    wr_u16(w, (uint16_t)bytes);
    wr_bytes(w, text, bytes);
}

void wr_align(struct wr *w, size_t to)
{
    size_t over = w->bytes % to;

    if (over)
        (void)wr_room(w, to - over);
}

void wr_free(struct wr *w)
{
    free(w->data);
    *w = (struct wr){0};
}
