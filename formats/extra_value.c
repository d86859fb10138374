/*
 * extra_value.c - typed values, on the wire and as reserved tensors' names; see
 * extra.h, the encodings are in FORMAT.md.
 *
 * Values are decoded into memory of their own, names NUL-terminated; counts
 * are held against the bytes that are left before anything is allocated.
 */
#include "formats/extra.h"

#include "formats/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* name length, a byte of name, type, axes, data length */
#define VALUE_BYTES_MIN 19

/* A tensor's name without the reserved prefix. */
static bool value_name_is_good(const char *name, uint32_t bytes)
{
    return bytes && name[0] != '\001' && table_name_ok(name, bytes);
}

bool value_coordinates_are_good(const struct layout *l, uint32_t axes,
                                const uint32_t *coordinate)
{
    if (axes >= 1u << l->axis_count)
        return false;
    for (uint32_t i = 0; i < MAX_AXES; i++)
        if (axes & 1u << i ? coordinate[i] >= l->axis[i].degree
                           : coordinate[i] != 0)
            return false;
    return true;
}

bool value_size_is_good(uint32_t type, uint64_t bytes)
{
    switch (type) {
    case VALUE_I64:
    case VALUE_U64:
    case VALUE_F64:
        return bytes == 8;
    case VALUE_STRING:
    case VALUE_BYTES:
        return true;
    default:
        return false;
    }
}

int value_check(const struct layout *l, const struct value *v, struct err *err)
{
    char name[RESERVED_NAME_BYTES];
    int rc;

    if (!value_name_is_good(v->name, v->name_bytes))
        return err_set(err, -EINVAL,
                       "value: its name is not 1 to %d bytes of UTF-8 without "
                       "control characters",
                       VALUE_NAME_MAX);
    if (!value_size_is_good(v->type, v->bytes))
        return err_set(err, -EINVAL,
                       "value %.*s: type %" PRIu32 " of %" PRIu64 " bytes",
                       (int)v->name_bytes, v->name, v->type, v->bytes);
    if (!value_coordinates_are_good(l, v->axes, v->coordinate))
        return err_set(err, -EINVAL,
                       "value %.*s: its axes or coordinates are outside the "
                       "layout",
                       (int)v->name_bytes, v->name);
    if (v->bytes <= VALUE_INLINE_MAX)
        return 0;
    rc = value_reserved_name(l, v, name);
    if (rc < 0)
        return err_set(err, -EINVAL,
                       "value %.*s: its name is too long for a value over "
                       "%" PRIu64 " bytes",
                       (int)v->name_bytes, v->name, VALUE_INLINE_MAX);
    return 0;
}

void values_encode(const struct value *values, size_t count, struct wr *w)
{
    if (count > UINT32_MAX) {
        w->failed = true;
        return;
    }
    wr_u32(w, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct value *v = &values[i];

        wr_u16(w, (uint16_t)v->name_bytes);
        wr_bytes(w, v->name, v->name_bytes);
        wr_u32(w, v->type);
        wr_u32(w, v->axes);
        for (uint32_t k = 0; k < MAX_AXES; k++)
            if (v->axes & 1u << k)
                wr_u32(w, v->coordinate[k]);
        wr_u64(w, v->bytes);
        wr_bytes(w, v->data, v->bytes);
    }
}

/* One value; what it points at is copied to *room, which moves on. */
static int value_decode(struct rd *r, struct value *v, char **room)
{
    const void *from;

    v->name_bytes = rd_u16(r);
    from = rd_bytes(r, v->name_bytes);
    if (!from)
        return -EBADMSG;
    memcpy(*room, from, v->name_bytes);
    (*room)[v->name_bytes] = '\0';
    v->name = *room;
    *room += v->name_bytes + 1;
    v->type = rd_u32(r);
    v->axes = rd_u32(r);
    for (uint32_t k = 0; k < MAX_AXES; k++)
        if (v->axes & 1u << k)
            v->coordinate[k] = rd_u32(r);
    v->bytes = rd_u64(r);
    from = rd_bytes(r, v->bytes);
    if (!from)
        return -EBADMSG;
    memcpy(*room, from, v->bytes);
    v->data = *room;
    *room += v->bytes;
    return 0;
}

int values_decode(const void *data, size_t bytes, const struct layout *l,
                  struct values *out, struct err *err)
{
    struct rd r = rd_init(data, bytes);
    uint32_t count = rd_u32(&r);
    char *room;
    int rc = 0;

    *out = (struct values){0};
    if (r.bad || count > rd_left(&r) / VALUE_BYTES_MIN)
        return err_set(err, -EBADMSG, "values: not a list of values");
    out->value = calloc(count ? count : 1, sizeof *out->value);
    out->memory = malloc(bytes + count);
    if (!out->value || !out->memory) {
        rc = err_set(err, -ENOMEM, "values: no memory for %" PRIu32, count);
        goto err_free;
    }
    room = out->memory;
    for (; out->count < count; out->count++) {
        struct value *v = &out->value[out->count];

        if (value_decode(&r, v, &room)) {
            rc = err_set(err, -EBADMSG, "values: number %zu is cut short",
                         out->count);
            goto err_free;
        }
        rc = value_check(l, v, err);
        if (rc == 0 && v->bytes > VALUE_INLINE_MAX)
            rc = err_set(err, -EINVAL,
                         "value %s: %" PRIu64 " bytes do not go inline",
                         v->name, v->bytes);
        if (rc)
            goto err_free;
    }
    if (rd_done(&r))
        return 0;
    rc = err_set(err, -EBADMSG, "values: bytes are left over");
err_free:
    values_free(out);
    return rc;
}

void values_free(struct values *v)
{
    if (!v)
        return;
    free(v->value);
    free(v->memory);
    *v = (struct values){0};
}

int value_reserved_name(const struct layout *l, const struct value *v,
                        char name[RESERVED_NAME_BYTES])
{
    const char *comma = "";
    struct wr w = {0};
    int rc;

    wr_bytes(&w, TABLE_RESERVED_PREFIX, strlen(TABLE_RESERVED_PREFIX));
    for (uint32_t i = 0; i < l->axis_count; i++) {
        if (!(v->axes & 1u << i))
            continue;
        wr_bytes(&w, comma, strlen(comma));
        wr_bytes(&w, l->axis[i].name, strlen(l->axis[i].name));
        comma = ",";
    }
    wr_u8(&w, '/');
    comma = "";
    for (uint32_t i = 0; i < l->axis_count; i++) {
        char digits[16];

        if (!(v->axes & 1u << i))
            continue;
        (void)snprintf(digits, sizeof digits, "%s%" PRIu32, comma,
                       v->coordinate[i]);
        wr_bytes(&w, digits, strlen(digits));
        comma = ",";
    }
    wr_u8(&w, '/');
    wr_bytes(&w, v->name, v->name_bytes);
    rc = w.failed ? -ENOMEM : w.bytes < RESERVED_NAME_BYTES ? 0 : -EINVAL;
    if (rc == 0) {
        memcpy(name, w.data, w.bytes);
        name[w.bytes] = '\0';
        rc = (int)w.bytes;
    }
    wr_free(&w);
    return rc;
}

/* A decimal number without leading zeros, ended by ',' or '/'. */
static bool coordinate_parse(const char **at, const char *end, uint32_t *out)
{
    const char *p = *at;
    uint64_t sum = 0;

    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        sum = sum * 10 + (uint64_t)(*p - '0');
        if (sum > UINT32_MAX)
            return false;
    }
    if (p == *at || (**at == '0' && p - *at > 1))
        return false;
    *out = (uint32_t)sum;
    *at = p;
    return true;
}

/* "dp,pp" up to `end`: a mask, the axes in the layout's order. */
static bool axes_parse(const struct layout *l, const char *at, const char *end,
                       uint32_t *mask)
{
    *mask = 0;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        uint32_t axis = layout_axis(l, at, (size_t)(stop - at));

        if (axis == l->axis_count || *mask >> axis || stop + 1 == end)
            return false;
        *mask |= 1u << axis;
        at = comma ? comma + 1 : end;
    }
    return true;
}

int value_reserved_parse(const struct layout *l, const char *name,
                         size_t name_bytes, struct value *out)
{
    const char *at = name + strlen(TABLE_RESERVED_PREFIX);
    const char *end = name + name_bytes, *slash;
    char before = '/';

    *out = (struct value){.type = VALUE_BYTES};
    if (name_bytes <= strlen(TABLE_RESERVED_PREFIX) ||
        name_bytes > TABLE_NAME_MAX ||
        memcmp(name, TABLE_RESERVED_PREFIX, strlen(TABLE_RESERVED_PREFIX)) != 0)
        return -EINVAL;
    slash = memchr(at, '/', (size_t)(end - at));
    if (!slash || !axes_parse(l, at, slash, &out->axes))
        return -EINVAL;
    at = slash;
    for (uint32_t i = 0; i < l->axis_count; i++) {
        if (!(out->axes & 1u << i))
            continue;
        if (at == end || *at++ != before ||
            !coordinate_parse(&at, end, &out->coordinate[i]))
            return -EINVAL;
        before = ',';
    }
    at += out->axes == 0;
    if (at >= end || *at != '/')
        return -EINVAL;
    out->name = at + 1;
    out->name_bytes = (uint32_t)(end - out->name);
    if (!value_name_is_good(out->name, out->name_bytes) ||
        !value_coordinates_are_good(l, out->axes, out->coordinate))
        return -EINVAL;
    return 0;
}
