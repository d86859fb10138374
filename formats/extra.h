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

/*
 * A value over VALUE_INLINE_MAX travels and is stored as a reserved tensor of
 * one dimension, hidden from users, of dtype U8 (VALUE_BYTES) or I8
 * (VALUE_STRING), named
 *
 *     "\x01extra/AXES/COORDINATES/NAME"      "\x01extra/dp,pp/0,1/rng"
 *
 * axes in the layout's order, their coordinates likewise, both empty for a
 * value of no axes ("\x01extra///rng"). The whole name has at most 1,024 bytes
 * like any tensor's; value_check() sees to that.
 */
#define RESERVED_NAME_BYTES 1025 /* with the NUL */

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

/* At most MAX_AXES axes, names of 1 to 15 letters, digits or '_', none twice,
 * degrees of at least 1. -EINVAL with words. */
int layout_check(const struct layout *l, struct err *err) MUST_USE;
void layout_encode(const struct layout *l, struct wr *w);
/* Reads and checks; -EBADMSG, and the reader is bad then. */
int layout_decode(struct rd *r, struct layout *out) MUST_USE;
bool layout_equal(const struct layout *a, const struct layout *b);
/* "dp=2,tp=2", "-" for no axes. */
void layout_text(const struct layout *l, char *text, size_t capacity);
/* The same of coordinates on the axes of a mask: "dp=0,pp=1", "-" for none. */
void coordinates_text(const struct layout *l, uint32_t axes,
                      const uint32_t *coordinate, char *text, size_t capacity);
/* The index of the axis that these bytes name; axis_count if there is none. */
uint32_t layout_axis(const struct layout *l, const char *name, size_t bytes);
/* "dp,tp" -> mask; "" -> 0. -EINVAL for a name that the layout lacks. */
int layout_mask(const struct layout *l, const char *axes, uint32_t *mask,
                struct err *err) MUST_USE;

/* Name, type, length, axes and coordinates of any value, also of one that will
 * be a reserved tensor. The layout was checked. -EINVAL with words. */
int value_check(const struct layout *l, const struct value *v,
                struct err *err) MUST_USE;
/* Parts of that, for tables that are used in place. MAX_AXES coordinates. */
bool value_coordinates_are_good(const struct layout *l, uint32_t axes,
                                const uint32_t *coordinate);
bool value_size_is_good(uint32_t type, uint64_t bytes);

/* Checked values, each of at most VALUE_INLINE_MAX; w->failed on no memory. */
void values_encode(const struct value *values, size_t count, struct wr *w);
/* Reads and checks. Names and data are copied (values_free()); a name has a
 * NUL behind it. -EBADMSG, -EINVAL or -ENOMEM, with words. */
int values_decode(const void *data, size_t bytes, const struct layout *l,
                  struct values *out, struct err *err) MUST_USE;
void values_free(struct values *v); /* takes NULL */

/* The reserved tensor's name of a value that was checked, with a NUL. Returns
 * its length; -EINVAL when it would be too long, -ENOMEM. */
int value_reserved_name(const struct layout *l, const struct value *v,
                        char name[RESERVED_NAME_BYTES]) MUST_USE;
/* Name (a pointer into `name`), axes and coordinates from such a name; type is
 * VALUE_BYTES, the caller sets VALUE_STRING for dtype I8. -EINVAL when it is
 * none, or one of other axes. */
int value_reserved_parse(const struct layout *l, const char *name,
                         size_t name_bytes, struct value *out) MUST_USE;

#endif
