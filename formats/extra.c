/*
 * extra.c - layouts, and what is said in terms of their axes: masks and
 * coordinates; see extra.h, the encoding is in FORMAT.md. Values are in
 * extra_value.c. Nothing here allocates.
 */
#include "formats/extra.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static bool axis_name_is_good(const char *name)
{
    size_t length = strnlen(name, AXIS_NAME_BYTES);

    if (length == 0 || length == AXIS_NAME_BYTES)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

int layout_check(const struct layout *l, struct err *err)
{
    if (l->axis_count > MAX_AXES)
        return err_set(err, -EINVAL, "layout: %" PRIu32 " axes, at most %d",
                       l->axis_count, MAX_AXES);
    for (uint32_t i = 0; i < l->axis_count; i++) {
        const struct axis *a = &l->axis[i];

        if (!axis_name_is_good(a->name))
            return err_set(err, -EINVAL,
                           "layout: axis %" PRIu32
                           ": its name is not 1 to %d letters, digits or '_'",
                           i, AXIS_NAME_BYTES - 1);
        if (a->degree == 0)
            return err_set(err, -EINVAL, "layout: axis %s: degree 0", a->name);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(l->axis[k].name, a->name) == 0)
                return err_set(err, -EINVAL, "layout: axis %s is there twice",
                               a->name);
    }
    return 0;
}

void layout_encode(const struct layout *l, struct wr *w)
{
    wr_u32(w, l->axis_count);
    for (uint32_t i = 0; i < l->axis_count; i++) {
        char name[AXIS_NAME_BYTES] = {0};

        memcpy(name, l->axis[i].name,
               strnlen(l->axis[i].name, AXIS_NAME_BYTES - 1));
        wr_bytes(w, name, sizeof name);
        wr_u32(w, l->axis[i].degree);
    }
}

int layout_decode(struct rd *r, struct layout *out)
{
    struct err ignored;

    *out = (struct layout){0};
    out->axis_count = rd_u32(r);
    if (out->axis_count > MAX_AXES) {
        r->bad = true;
        return -EBADMSG;
    }
    for (uint32_t i = 0; i < out->axis_count; i++) {
        const char *name = rd_bytes(r, AXIS_NAME_BYTES);
        char *to = out->axis[i].name;

        if (name)
            memcpy(to, name, AXIS_NAME_BYTES);
        for (size_t k = strnlen(to, AXIS_NAME_BYTES); k < AXIS_NAME_BYTES; k++)
            if (to[k] != '\0')
                r->bad = true;
        out->axis[i].degree = rd_u32(r);
    }
    if (r->bad || layout_check(out, &ignored)) {
        r->bad = true;
        return -EBADMSG;
    }
    return 0;
}

bool layout_equal(const struct layout *a, const struct layout *b)
{
    if (a->axis_count != b->axis_count)
        return false;
    for (uint32_t i = 0; i < a->axis_count; i++)
        if (a->axis[i].degree != b->axis[i].degree ||
            strncmp(a->axis[i].name, b->axis[i].name, AXIS_NAME_BYTES) != 0)
            return false;
    return true;
}

/* Appends to a text of `capacity` bytes that has `used`; cuts at the end. */
static size_t text_add(char *text, size_t capacity, size_t used,
                       const char *format, ...) PRINTF_LIKE(4, 5);

static size_t text_add(char *text, size_t capacity, size_t used,
                       const char *format, ...)
{
    va_list args;
    int n;

    if (used >= capacity)
        return used;
    va_start(args, format);
    n = vsnprintf(text + used, capacity - used, format, args);
    va_end(args);
    return n < 0 ? used : min_u64(used + (size_t)n, capacity - 1);
}

void layout_text(const struct layout *l, char *text, size_t capacity)
{
    size_t used = 0;

    if (capacity == 0)
        return;
    text[0] = '\0';
    for (uint32_t i = 0; i < l->axis_count; i++)
        used = text_add(text, capacity, used, "%s%.*s=%" PRIu32, i ? "," : "",
                        AXIS_NAME_BYTES, l->axis[i].name, l->axis[i].degree);
    if (l->axis_count == 0)
        (void)text_add(text, capacity, 0, "-");
}

void coordinates_text(const struct layout *l, uint32_t axes,
                      const uint32_t *coordinate, char *text, size_t capacity)
{
    size_t used = 0;

    if (capacity == 0)
        return;
    text[0] = '\0';
    for (uint32_t i = 0; i < l->axis_count; i++)
        if (axes & 1u << i)
            used = text_add(text, capacity, used, "%s%.*s=%" PRIu32,
                            used ? "," : "", AXIS_NAME_BYTES, l->axis[i].name,
                            coordinate[i]);
    if (used == 0)
        (void)text_add(text, capacity, 0, "-");
}

uint32_t layout_axis(const struct layout *l, const char *name, size_t bytes)
{
    uint32_t i = 0;

    while (i < l->axis_count && (strlen(l->axis[i].name) != bytes ||
                                 memcmp(l->axis[i].name, name, bytes) != 0))
        i++;
    return i;
}

int layout_mask(const struct layout *l, const char *axes, uint32_t *mask,
                struct err *err)
{
    uint32_t sum = 0;

    for (const char *at = axes; *at;) {
        size_t bytes = strcspn(at, ",");
        uint32_t axis = layout_axis(l, at, bytes);

        if (axis == l->axis_count)
            return err_set(err, -EINVAL, "axes \"%s\": no axis \"%.*s\"", axes,
                           (int)min_u64(bytes, 64), at);
        if (sum & 1u << axis)
            return err_set(err, -EINVAL, "axes \"%s\": %s is there twice", axes,
                           l->axis[axis].name);
        sum |= 1u << axis;
        at += bytes;
        if (*at == ',' && at[1] == '\0')
            return err_set(err, -EINVAL, "axes \"%s\": ends in a comma", axes);
        at += *at == ',';
    }
    *mask = sum;
    return 0;
}
