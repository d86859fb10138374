/*
 * values.c - see values.h: the caller's values into a save, and a save's
 * values over the wire. values_in.c makes them readable.
 */
#include "trainer/values.h"
#include "trainer/load.h"

#include <errno.h>
#include <stdlib.h>

#define TABLE_OF_VALUES 3
#define FETCH_AGAIN     3
/* Leaves room for the rest of SAVE. */
#define INLINE_SUM_MAX ((size_t)WIRE_PAYLOAD_MAX - 4096)

static int own_value(struct value *v, uint8_t scalar[8],
                     const struct wire_open *open,
                     const struct ckpt_value *from, struct err *err)
{
    int rc;

    if (!from->name)
        return err_set(err, -EINVAL, "a value has no name");
    *v = (struct value){.name = from->name,
                        .name_bytes =
                            (uint32_t)strnlen(from->name, VALUE_NAME_MAX + 1),
                        .type = (uint32_t)from->type,
                        .data = from->data,
                        .bytes = from->bytes};
    if (from->type != CKPT_VALUE_STRING && from->type != CKPT_VALUE_BYTES) {
        put_u64(scalar, from->scalar.u);
        v->data = scalar;
        v->bytes = 8;
    } else if (v->bytes && !v->data) {
        return err_set(err, -EINVAL, "value %s: %zu bytes at NULL", from->name,
                       from->bytes);
    }
    rc =
        layout_mask(&open->layout, from->axes ? from->axes : "", &v->axes, err);
    if (rc)
        return err_prefix(err, "value %.64s", from->name);
    for (uint32_t i = 0; i < open->layout.axis_count; i++)
        if (v->axes & 1U << i)
            v->coordinate[i] = open->coordinate[i];
    return value_check(&open->layout, v, err);
}

int own_values_make(struct own_values *own, const struct wire_open *open,
                    const struct ckpt_value *values, size_t count,
                    struct err *err)
{
    int rc = 0;

    *own = (struct own_values){.count = count};
    own->value = calloc(count ? count : 1, sizeof *own->value);
    own->scalar = calloc(count ? count : 1, sizeof *own->scalar);
    if (!own->value || !own->scalar) {
        own_values_fini(own);
        return err_set(err, -ENOMEM, "no memory for %zu values", count);
    }
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = own_value(&own->value[i], own->scalar[i], open, &values[i], err);
    if (rc)
        own_values_fini(own);
    return rc;
}

int own_values_encode(const struct own_values *own, struct wr *w,
                      struct err *err)
{
    size_t small = 0;
    struct value *inlined =
        calloc(own->count ? own->count : 1, sizeof *inlined);

    if (!inlined)
        return err_set(err, -ENOMEM, "no memory for %zu values", own->count);
    for (size_t i = 0; i < own->count; i++)
        if (own->value[i].bytes <= VALUE_INLINE_MAX)
            inlined[small++] = own->value[i];
    values_encode(inlined, small, w);
    free(inlined);
    if (w->failed)
        return err_set(err, -ENOMEM, "no memory for %zu values", own->count);
    if (w->bytes > INLINE_SUM_MAX)
        return err_set(err, -E2BIG,
                       "extra state: the values of up to %llu bytes are %zu "
                       "bytes together, at most %zu; save them as a tensor",
                       (unsigned long long)VALUE_INLINE_MAX, w->bytes,
                       INLINE_SUM_MAX);
    return 0;
}

void own_values_fini(struct own_values *own)
{
    free(own->value);
    free(own->scalar);
    *own = (struct own_values){0};
}

/* Read the large values into the room that they have. */
static int read_large(struct ckpt *ctx, const struct save_id *id,
                      struct ckpt_values *values, struct err *err)
{
    struct wire_open saved = {.layout = values->layout};
    struct descriptors d;
    struct wire_load_done done;
    char note[512];
    size_t first = values->small.count;
    struct load_wish wish = {&d, false, *id, TABLE_OF_VALUES};
    int rc = 0;

    if (values->large.count == 0)
        return 0;
    if (descriptors_init(&d, values->large.count))
        return err_set(err, -ENOMEM, "no memory for large values");
    for (size_t i = 0; i < values->large.count && rc == 0; i++) {
        struct value v = values->large.value[i];

        v.bytes = values->value[first + i].bytes;
        v.data = values->memory[first + i];
        rc = descriptors_add_value(&d, &saved, &v, err);
    }
    if (rc == 0)
        rc = load_run(ctx, &wish, &done, note, err);
    descriptors_fini(&d);
    return rc ? err_prefix(err, "large values") : 0;
}

static int fetch_once(struct ckpt *ctx, const struct save_id *id,
                      struct ckpt_values **out, struct err *err)
{
    struct wire_values v = {*id};
    struct ckpt_values *values = NULL;
    struct wire_values_ok answer;
    struct request r;
    size_t begin;
    int rc;

    request_init(ctx, &r, WIRE_VALUES_OK);
    begin = request_frame(&r, WIRE_VALUES);
    wire_values_encode(&v, &r.frames);
    rc = request_ask(ctx, &r, begin, ctx->open.load_timeout_ms + GRACE_MS, err);
    if (rc)
        goto out;
    if (wire_values_ok_decode(r.payload, r.bytes, &answer)) {
        rc = err_set(err, -EBADMSG, "the daemon's answer is damaged");
        goto out;
    }
    rc = values_decode_answer(&answer, &ctx->open, &values, err);
    if (rc == 0)
        rc = read_large(ctx, &answer.id, values, err);
    if (rc == 0)
        *out = values;
    else
        ckpt_values_free(values);
out:
    request_fini(&r);
    return rc;
}

int values_fetch(struct ckpt *ctx, const struct save_id *id,
                 struct ckpt_values **out, struct err *err)
{
    int rc = fetch_once(ctx, id, out, err);

    for (int i = 0; i < FETCH_AGAIN && rc == -ECONNRESET; i++)
        rc = fetch_once(ctx, id, out, err);
    return rc ? err_prefix(err, "extra state") : 0;
}
