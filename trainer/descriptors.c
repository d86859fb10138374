/*
 * descriptors.c - see descriptors.h.
 */
#include "trainer/descriptors.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(struct ckpt_box) == sizeof(struct box) &&
                   offsetof(struct ckpt_box, size) ==
                       offsetof(struct box, size),
               "a public box is a box");
_Static_assert(CKPT_U64 == (int)DTYPE_LAST, "dtypes are the format's");

int descriptors_init(struct descriptors *d, size_t capacity)
{
    size_t room = capacity ? capacity : 1;

    *d = (struct descriptors){.capacity = capacity};
    d->entry = calloc(room, sizeof *d->entry);
    d->data = calloc(room, sizeof *d->data);
    d->strides = calloc(room, sizeof *d->strides);
    d->is_now = calloc(room, sizeof *d->is_now);
    d->owned = calloc(room, sizeof *d->owned);
    if (d->entry && d->data && d->strides && d->is_now && d->owned)
        return 0;
    descriptors_fini(d);
    return -ENOMEM;
}

void descriptors_fini(struct descriptors *d)
{
    for (size_t i = 0; i < d->owned_count; i++)
        free(d->owned[i]);
    free(d->entry);
    free(d->data);
    free(d->strides);
    free(d->is_now);
    free(d->owned);
    *d = (struct descriptors){0};
}

static void fill_entry(struct entry *e, const struct ckpt_tensor *t)
{
    *e = (struct entry){
        .name = t->name,
        .geometry = {.dtype = (uint32_t)t->dtype, .ndim = t->ndim},
        .region = {.box_count = t->box_count,
                   .is_cut = t->is_cut,
                   .cut_start = t->is_cut ? t->cut_start : 0,
                   .cut_count = t->is_cut ? t->cut_count : 0},
        .replica_index = t->replica_index,
        .replica_count = t->replica_count ? t->replica_count : 1,
    };
    if (t->box_count)
        e->region.boxes = (const struct box *)(const void *)t->boxes;
    for (uint32_t i = 0; i < t->ndim; i++)
        e->geometry.shape[i] = t->shape[i];
}

/* The start of a text with all but plain characters as \xNN. */
static void escape_start(const char *text, char *out, size_t capacity)
{
    size_t used = 0;

    for (; *text && used + 8 < capacity; text++) {
        bool is_plain = *text >= ' ' && *text <= '~' && *text != '\\';

        used +=
            (size_t)snprintf(out + used, capacity - used,
                             is_plain ? "%c" : "\\x%02x", (unsigned char)*text);
    }
    (void)snprintf(out + used, capacity - used, "%s", *text ? "..." : "");
}

static int check_name(const char *name, size_t index, struct err *err)
{
    char start[72];

    if (!name)
        return err_set(err, -EINVAL, "tensor %zu of the call has no name",
                       index);
    if (table_name_ok(name, strnlen(name, TABLE_NAME_MAX + 1)))
        return 0;
    escape_start(name, start, sizeof start);
    return err_set(err, -EINVAL,
                   "tensor %zu of the call: \"%s\" is not a name: names have 1 "
                   "to %d bytes of UTF-8 without control characters",
                   index, start, TABLE_NAME_MAX);
}

/* What can be said before the entry is looked at. */
static int check_plain(const struct ckpt_tensor *t, size_t index,
                       struct err *err)
{
    int rc = check_name(t->name, index, err);

    if (rc)
        return rc;
    if (strncmp(t->name, TABLE_RESERVED_PREFIX,
                strlen(TABLE_RESERVED_PREFIX)) == 0)
        return err_set(err, -EINVAL, "tensor %.64s: the name is reserved",
                       t->name);
    if (t->ndim > CKPT_MAX_DIMS)
        return err_set(err, -CKPT_ESHAPE,
                       "tensor %s: %u dimensions, at most "
                       "%d",
                       t->name, t->ndim, CKPT_MAX_DIMS);
    if (t->box_count && !t->boxes)
        return err_set(err, -EINVAL, "tensor %s: %u boxes at NULL", t->name,
                       t->box_count);
    if (t->device != CKPT_HOST)
        return err_set(err, -ENOTSUP,
                       "tensor %s: device %d is not supported, only host "
                       "memory",
                       t->name, (int)t->device);
    if (t->capture != CKPT_CAPTURE_NOW && t->capture != CKPT_UNTIL_FENCE)
        return err_set(err, -EINVAL, "tensor %s: capture %d is none", t->name,
                       (int)t->capture);
    return 0;
}

int descriptors_add(struct descriptors *d, const struct ckpt_tensor *t,
                    size_t index, struct err *err)
{
    struct entry *e = &d->entry[d->count];
    uint64_t bytes;
    int rc = check_plain(t, index, err);

    assert(d->count < d->capacity);
    if (rc)
        return rc;
    fill_entry(e, t);
    rc = entry_check(e, err);
    if (rc)
        return rc;
    if (t->strides && region_check(&e->geometry, &e->region, t->strides, err))
        return err_prefix(err, "tensor %s", t->name);
    bytes = region_local_bytes(&e->geometry, &e->region, t->strides);
    if (!t->data && bytes)
        return err_set(err, -EINVAL, "tensor %s: data is NULL for %llu bytes",
                       t->name, (unsigned long long)bytes);
    if ((uintptr_t)t->data + bytes < bytes)
        return err_set(err, -EINVAL,
                       "tensor %s: %llu bytes do not fit behind its address",
                       t->name, (unsigned long long)bytes);
    d->data[d->count] = t->data;
    d->strides[d->count] = t->strides;
    d->is_now[d->count] = t->capture == CKPT_CAPTURE_NOW;
    d->count++;
    return 0;
}

/*
 * All ranks with equal coordinates on a value's axes hold it: they are its
 * replicas, if the axes make up the whole job; the index counts the other
 * coordinates. Else nobody can number them, and each writes its own.
 */
static void fill_replicas(struct entry *e, const struct wire_open *open,
                          uint32_t axes)
{
    const struct layout *l = &open->layout;
    uint64_t all = 1, index = 0, others = 1;

    for (uint32_t i = 0; i < l->axis_count; i++) {
        if (!mul_u64(all, l->axis[i].degree, &all))
            return;
        if (axes & 1U << i)
            continue;
        others *= l->axis[i].degree;
        index = index * l->axis[i].degree + open->coordinate[i];
    }
    if (axes == 0) {
        others = open->world_size;
        index = open->rank;
    } else if (all != open->world_size) {
        return;
    }
    if (others > UINT16_MAX)
        return;
    e->replica_count = (uint32_t)others;
    e->replica_index = (uint32_t)index;
}

int descriptors_add_value(struct descriptors *d, const struct wire_open *open,
                          const struct value *v, struct err *err)
{
    struct entry *e = &d->entry[d->count];
    char *name = malloc(RESERVED_NAME_BYTES);
    int rc = name ? value_reserved_name(&open->layout, v, name) : -ENOMEM;

    assert(d->count < d->capacity);
    if (rc < 0) {
        free(name);
        return err_set(err, rc, "value %.*s: %s", (int)v->name_bytes, v->name,
                       err_text(rc));
    }
    d->owned[d->owned_count++] = name;
    *e = (struct entry){
        .name = name,
        .geometry = {.dtype = v->type == VALUE_STRING ? DTYPE_I8 : DTYPE_U8,
                     .ndim = 1,
                     .shape = {v->bytes}},
        .replica_count = 1,
    };
    if (open->world_size)
        fill_replicas(e, open, v->axes);
    memcpy(&d->data[d->count], &v->data, sizeof v->data);
    d->is_now[d->count] = true;
    rc = entry_check(e, err);
    if (rc)
        return rc;
    d->count++;
    return 0;
}

static int add_of_class(struct descriptors *d, const struct saved_state *state,
                        bool is_now, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < state->count && rc == 0; i++)
        if ((state->tensors[i].capture == CKPT_UNTIL_FENCE) != is_now)
            rc = descriptors_add(d, &state->tensors[i], i, err);
    return rc;
}

int descriptors_of_save(struct descriptors *d, const struct wire_open *open,
                        const struct saved_state *state, struct err *err)
{
    int rc;

    if (descriptors_init(d, state->count + state->value_count))
        return err_set(err, -ENOMEM, "no memory for %zu descriptors",
                       state->count);
    rc = add_of_class(d, state, true, err);
    for (size_t i = 0; i < state->value_count && rc == 0; i++)
        if (state->values[i].bytes > VALUE_INLINE_MAX)
            rc = descriptors_add_value(d, open, &state->values[i], err);
    if (rc == 0)
        rc = add_of_class(d, state, false, err);
    if (rc)
        descriptors_fini(d);
    return rc;
}

int descriptors_of_load(struct descriptors *d,
                        const struct ckpt_tensor *targets, size_t count,
                        struct err *err)
{
    int rc = 0;

    if (descriptors_init(d, count))
        return err_set(err, -ENOMEM, "no memory for %zu descriptors", count);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = descriptors_add(d, &targets[i], i, err);
    if (rc)
        descriptors_fini(d);
    return rc;
}
