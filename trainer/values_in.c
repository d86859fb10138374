/*
 * values_in.c - a save's extra state for the caller; see values.h and ckpt.h.
 *
 * Everything that is handed out lies in memory of the struct ckpt_values; data
 * of STRING values has a NUL behind it, which does not count.
 */
#include "trainer/values.h"

#include <errno.h>
#include <stdlib.h>

static void axes_text(const struct layout *l, uint32_t mask,
                      char text[MAX_AXES * AXIS_NAME_BYTES])
{
    struct wr w = {.data = (uint8_t *)text,
                   .capacity = (size_t)MAX_AXES * AXIS_NAME_BYTES};

    /* Each name and its comma or NUL take at most AXIS_NAME_BYTES. */
    for (uint32_t i = 0; i < l->axis_count; i++) {
        if (!(mask & 1U << i))
            continue;
        if (w.bytes)
            wr_u8(&w, ',');
        wr_bytes(&w, l->axis[i].name, strlen(l->axis[i].name));
    }
    wr_u8(&w, '\0');
}

/* Fill value `i` from v, whose data is `bytes` long; NULL data: to be read. */
static int fill(struct ckpt_values *values, size_t i, const struct value *v,
                uint64_t bytes, const void *data)
{
    bool is_scalar = v->type != VALUE_STRING && v->type != VALUE_BYTES;
    struct ckpt_value *to = &values->value[i];

    if (bytes > SIZE_MAX - 1)
        return -ENOMEM;
    if (is_scalar && (!data || bytes != 8)) /* only the others are ever large */
        return -EBADMSG;
    values->memory[i] = malloc(bytes + 1);
    if (!values->memory[i])
        return -ENOMEM;
    ((char *)values->memory[i])[bytes] = '\0';
    if (data)
        memcpy(values->memory[i], data, bytes);
    axes_text(&values->layout, v->axes, values->axes[i]);
    values->mask[i] = v->axes;
    to->name = v->name;
    to->axes = values->axes[i];
    to->type = (enum ckpt_value_type)v->type;
    to->data = values->memory[i];
    to->bytes = bytes;
    if (is_scalar)
        to->scalar.u = get_u64(values->memory[i]);
    for (uint32_t k = 0; k < values->layout.axis_count; k++)
        if (v->axes & 1U << k)
            to->coordinate[to->coordinate_count++] = v->coordinate[k];
    return 0;
}

static int fill_all(struct ckpt_values *values, struct err *err)
{
    size_t small = values->small.count, all = small + values->large.count;
    size_t room = all ? all : 1;
    int rc = 0;

    values->value = calloc(room, sizeof *values->value);
    values->axes = calloc(room, sizeof *values->axes);
    values->mask = calloc(room, sizeof *values->mask);
    values->memory = calloc(room, sizeof *values->memory);
    if (!values->value || !values->axes || !values->mask || !values->memory)
        return err_set(err, -ENOMEM, "no memory for %zu values", all);
    values->count = all;
    for (size_t i = 0; i < all && rc == 0; i++) {
        const struct value *v = i < small ? &values->small.value[i]
                                          : &values->large.value[i - small];

        if (i < small)
            rc = fill(values, i, v, v->bytes, v->data);
        else if (v->bytes == 8)
            rc = fill(values, i, v, get_u64(v->data), NULL);
        else
            rc = -EBADMSG;
        if (rc)
            (void)err_set(err, rc, "value %s: %s", v->name, err_text(rc));
    }
    return rc;
}

int values_decode_answer(const struct wire_values_ok *v,
                         const struct wire_open *open, struct ckpt_values **out,
                         struct err *err)
{
    struct ckpt_values *values = calloc(1, sizeof *values);
    int rc;

    if (!values)
        return err_set(err, -ENOMEM, "no memory");
    values->layout = v->layout;
    values->own = open->layout;
    memcpy(values->coordinate, open->coordinate, sizeof values->coordinate);
    rc = values_decode(v->values, v->values_bytes, &v->layout, &values->small,
                       err);
    if (rc == 0)
        rc = values_decode(v->large, v->large_bytes, &v->layout, &values->large,
                           err);
    if (rc == 0)
        rc = fill_all(values, err);
    if (rc)
        ckpt_values_free(values);
    else
        *out = values;
    return rc;
}

/* Whether value i is the one of this rank: its axes are there with the same
 * degrees, at our coordinates. */
static bool is_ours(const struct ckpt_values *values, size_t i)
{
    const struct ckpt_value *v = &values->value[i];
    uint32_t next = 0;

    for (uint32_t k = 0; k < values->layout.axis_count; k++) {
        const struct axis *saved = &values->layout.axis[k];
        uint32_t own = 0;

        if (!(values->mask[i] & 1U << k))
            continue;
        while (own < values->own.axis_count &&
               strcmp(values->own.axis[own].name, saved->name) != 0)
            own++;
        if (own == values->own.axis_count ||
            values->own.axis[own].degree != saved->degree ||
            values->coordinate[own] != v->coordinate[next++])
            return false;
    }
    return true;
}

const struct ckpt_value *ckpt_values_find(const struct ckpt_values *values,
                                          const char *name)
{
    for (size_t i = 0; values && i < values->count; i++)
        if (strcmp(values->value[i].name, name) == 0 && is_ours(values, i))
            return &values->value[i];
    return NULL;
}

size_t ckpt_values_count(const struct ckpt_values *values)
{
    return values ? values->count : 0;
}

const struct ckpt_value *ckpt_values_at(const struct ckpt_values *values,
                                        size_t index)
{
    return values && index < values->count ? &values->value[index] : NULL;
}

void ckpt_values_free(struct ckpt_values *values)
{
    if (!values)
        return;
    for (size_t i = 0; i < values->count; i++)
        free(values->memory[i]);
    free(values->value);
    free(values->axes);
    free(values->mask);
    free(values->memory);
    values_free(&values->small);
    values_free(&values->large);
    free(values);
}
