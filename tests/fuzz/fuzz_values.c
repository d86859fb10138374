/*
 * fuzz_values.c - layouts, extra state, and the names of reserved tensors:
 *
 *     layout (extra.h), u8 0, encoded values
 *     layout, u8 1, a reserved tensor's name
 *     layout, u8 2, axes as words ("dp,tp")
 *
 * What decodes encodes again to the same bytes; a value's reserved name parses
 * to the same value, and a name that parses is made again from what it said.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/extra.h"

#include <stdlib.h>

static void same_place(const struct value *a, const struct value *b)
{
    fuzz_check(a->axes == b->axes);
    fuzz_check(memcmp(a->coordinate, b->coordinate, sizeof a->coordinate) == 0);
    fuzz_check(a->name_bytes == b->name_bytes &&
               memcmp(a->name, b->name, a->name_bytes) == 0);
}

static void values(const struct layout *l, const uint8_t *data, size_t bytes)
{
    char name[RESERVED_NAME_BYTES], text[64];
    struct values v;
    struct value back;
    struct err err;
    struct wr w = {0};

    if (values_decode(data, bytes, l, &v, &err))
        return;
    values_encode(v.value, v.count, &w);
    fuzz_same(&w, data, bytes);
    for (size_t i = 0; i < v.count; i++) {
        int n = value_reserved_name(l, &v.value[i], name);

        coordinates_text(l, v.value[i].axes, v.value[i].coordinate, text,
                         sizeof text);
        if (n < 0)
            continue;
        fuzz_check(value_reserved_parse(l, name, (size_t)n, &back) == 0);
        same_place(&v.value[i], &back);
    }
    values_free(&v);
}

static void reserved(const struct layout *l, const uint8_t *data, size_t bytes)
{
    char name[RESERVED_NAME_BYTES];
    struct value v;

    if (value_reserved_parse(l, (const char *)data, bytes, &v))
        return;
    fuzz_check(value_reserved_name(l, &v, name) == (int)bytes);
    fuzz_check(memcmp(name, data, bytes) == 0);
}

static void words(const struct layout *l, const uint8_t *data, size_t bytes)
{
    char *text = strndup((const char *)data, bytes);
    uint32_t mask = 0;
    struct err err;

    fuzz_check(text);
    if (layout_mask(l, text, &mask, &err) == 0)
        fuzz_check(mask < 1u << l->axis_count);
    free(text);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    const uint8_t *start = in->at;
    struct layout l;
    struct wr w = {0};
    size_t data_bytes;
    uint8_t *data, what;
    char text[48];

    if (layout_decode(in, &l))
        return;
    layout_encode(&l, &w);
    fuzz_same(&w, start, (size_t)(in->at - start));
    layout_text(&l, text, sizeof text);
    what = rd_u8(in);
    data = fuzz_exact(in, bytes, &data_bytes);
    if (what == 0)
        values(&l, data, data_bytes);
    else if (what == 1)
        reserved(&l, data, data_bytes);
    else
        words(&l, data, data_bytes);
    free(data);
}
