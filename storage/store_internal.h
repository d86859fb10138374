/*
 * store_internal.h - what back ends share: the head of an open segment, and
 * the list of names that answers STORE_LIST. Not for anybody outside storage/.
 */
#ifndef STORAGE_STORE_INTERNAL_H
#define STORAGE_STORE_INTERNAL_H

#include "storage/store.h"

#define STORE_NAME_MAX 1000 /* bytes, without the NUL */

/* Every back end's segment begins with one. Wrappers hand the segment of the
 * store below through unchanged, so that what is poisoned is so for all. */
struct store_seg {
    char *name;     /* as opened */
    uint64_t size;  /* bytes, whole pages */
    uint32_t trims; /* those of users that trim */
    uint32_t users; /* requests on it between submit and done, of all layers */
    bool is_writable;
    bool is_poisoned; /* a sync failed: -EIO for ever (see STORE_SYNC) */
    bool is_spoilt;   /* one through another handle did: no sync succeeds */
};

/* 0 or -ENOMEM; `name` is copied. Freed by store_seg_fini(). */
int store_seg_init(struct store_seg *seg, const char *name,
                   uint64_t size) MUST_USE;
void store_seg_fini(struct store_seg *seg);

/* store_spoilt.c: names of segments whose sync has failed. */
bool store_spoilt_has(const struct store *store, const char *name);
void store_spoilt_add(struct store *store, const char *name);
void store_spoilt_forget(struct store *store, const char *name);
void store_spoilt_free(struct store *store);

/* True for a single component that a listing shows. */
bool store_name_is_visible(const char *component);

/* Collects names for STORE_LIST. Zero-initialised is empty. */
struct store_names_builder {
    char *block;
    size_t bytes, capacity;
    size_t count;
};

/* 0 or -ENOMEM. */
int store_names_add(struct store_names_builder *builder,
                    const char *name) MUST_USE;
/* Sorts, drops doubles, and moves everything into *out: 0 or -ENOMEM. The
 * builder is empty afterwards in both cases. */
int store_names_finish(struct store_names_builder *builder,
                       struct store_names *out) MUST_USE;
void store_names_fini(struct store_names_builder *builder);

#endif
