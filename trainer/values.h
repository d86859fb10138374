/*
 * values.h - extra state on its way out and in.
 */
#ifndef TRAINER_VALUES_H
#define TRAINER_VALUES_H

#include "trainer/context.h"

/* The caller's values as the format has them; names and data stay theirs. */
struct own_values {
    struct value *value;
    uint8_t (*scalar)[8];
    size_t count;
};

/* Checked; -EINVAL, -ENOMEM with words. */
int own_values_make(struct own_values *own, const struct wire_open *open,
                    const struct ckpt_value *values, size_t count,
                    struct err *err) MUST_USE;
/* The small ones, for SAVE; -E2BIG when they do not fit into one frame. */
int own_values_encode(const struct own_values *own, struct wr *w,
                      struct err *err) MUST_USE;
void own_values_fini(struct own_values *own);

/* The extra state of save `id` (generation 0: of the parent), large values
 * read by an independent load. Where a daemon is lost over it the next one is
 * asked: a load that has succeeded on other ranks is not to fail here for that.
 * *out is freed with ckpt_values_free(). */
int values_fetch(struct ckpt *ctx, const struct save_id *id,
                 struct ckpt_values **out, struct err *err) MUST_USE;

/* values_in.c: from an answer's parts. The large ones have room for their
 * bytes and wait to be read. */
struct ckpt_values {
    struct layout layout; /* of the save */
    struct layout own;    /* of this rank */
    uint32_t coordinate[MAX_AXES];
    struct values small, large; /* decoded; large: data is the length */
    struct ckpt_value *value;   /* small ones first */
    size_t count;
    char (*axes)[MAX_AXES * AXIS_NAME_BYTES]; /* parallel to value */
    uint32_t *mask;                           /* parallel: axes as a mask */
    void **memory;                            /* parallel: data, with a NUL */
};

int values_decode_answer(const struct wire_values_ok *v,
                         const struct wire_open *open, struct ckpt_values **out,
                         struct err *err) MUST_USE;

#endif
