/*
 * descriptors.h - the caller's tensors and values as entries of a table.
 *
 * Nothing is copied but names of reserved tensors: entries point at the
 * caller's names and boxes, and live as long as the call.
 */
#ifndef TRAINER_DESCRIPTORS_H
#define TRAINER_DESCRIPTORS_H

#include "formats/table.h"
#include "trainer/context.h"

struct descriptors {
    struct entry *entry;
    void **data;              /* parallel: the first local element */
    const uint64_t **strides; /* parallel: NULL when dense */
    bool *is_now;             /* parallel: CKPT_CAPTURE_NOW */
    size_t count, capacity;
    char **owned; /* names that were made up here */
    size_t owned_count;
};

/* What one save is given; values were checked. */
struct saved_state {
    const struct ckpt_tensor *tensors;
    size_t count;
    const struct value *values;
    size_t value_count;
};

/* Room for `capacity` entries; -ENOMEM. */
int descriptors_init(struct descriptors *d, size_t capacity) MUST_USE;
void descriptors_fini(struct descriptors *d);

/* Checked entirely, addresses included: -EINVAL, -ENOTSUP, -CKPT_ESHAPE with
 * words that begin with "tensor NAME: ", or with its index in the call where
 * the name is none. */
int descriptors_add(struct descriptors *d, const struct ckpt_tensor *t,
                    size_t index, struct err *err) MUST_USE;
/* A large value as its reserved tensor; `v` was checked. Replicas are told
 * apart unless world_size is 0 (a load). */
int descriptors_add_value(struct descriptors *d, const struct wire_open *open,
                          const struct value *v, struct err *err) MUST_USE;

/* For a save: CAPTURE_NOW first, then the large ones of `values`, then the
 * lazy ones; for a load: in the caller's order. */
int descriptors_of_save(struct descriptors *d, const struct wire_open *open,
                        const struct saved_state *state,
                        struct err *err) MUST_USE;
int descriptors_of_load(struct descriptors *d,
                        const struct ckpt_tensor *targets, size_t count,
                        struct err *err) MUST_USE;

#endif
