/*
 * extra.h - typed extra state keyed by mesh axes, and the layout.
 */
#ifndef FORMATS_EXTRA_H
#define FORMATS_EXTRA_H

#include "common/bytes.h"
#include "common/err.h"

#define MAX_AXES         8
#define AXIS_NAME_BYTES  16 /* with the NUL */
#define VALUE_NAME_MAX   1024
#define VALUE_INLINE_MAX ((uint64_t)64 << 10) /* larger: a reserved tensor */

/* Reserved U8 tensors that carry values over VALUE_INLINE_MAX are named
 * "\x01extra/AXES/COORDINATES/NAME" hidden from users; see FORMAT.md. */

struct axis {
    char name[AXIS_NAME_BYTES];
    uint32_t degree;
};

/* Axes in the job's order; the same on all ranks of a generation. */
struct layout {
    struct axis axis[MAX_AXES];
    uint32_t axis_count;
};

enum value_type {
    VALUE_I64 = 1,
    VALUE_U64 = 2,
    VALUE_F64 = 3,
    VALUE_STRING = 4,
    VALUE_BYTES = 5,
};

/* One value; scalars are 8 bytes little-endian in `data`. axes is a mask over
 * the layout's axes, coordinate[] has entries for the axes in the mask only
 * (others 0). Pointers are the owner's. */
struct value {
    const char *name;
    uint32_t name_bytes;
    uint32_t type;
    uint32_t axes;
    uint32_t coordinate[MAX_AXES];
    const void *data;
    uint64_t bytes;
};

struct values {
    struct value *value;
    size_t count;
    void *memory;
};

int layout_check(const struct layout *l, struct err *err) MUST_USE;
void layout_encode(const struct layout *l, struct wr *w);
int layout_decode(struct rd *r, struct layout *out) MUST_USE;
bool layout_equal(const struct layout *a, const struct layout *b);
/* "dp=2,tp=2", "-" for no axes. */
void layout_text(const struct layout *l, char *text, size_t capacity);
/* "dp,tp" -> mask; "" -> 0. -EINVAL for a name that the layout lacks. */
int layout_mask(const struct layout *l, const char *axes, uint32_t *mask,
                struct err *err) MUST_USE;

int value_check(const struct layout *l, const struct value *v,
                struct err *err) MUST_USE;
void values_encode(const struct value *values, size_t count, struct wr *w);
int values_decode(const void *data, size_t bytes, const struct layout *l,
                  struct values *out, struct err *err) MUST_USE;
void values_free(struct values *v);

#endif
