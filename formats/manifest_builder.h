/*
 * manifest_builder.h - what a manifest is made from. Private to manifest_*.c.
 *
 * Entries are kept nearly as they will lie on media, but numbered in the order
 * in which they came: a region's tensor, a chunk's segment and a location's
 * file are indices into the builder's own arrays, offsets of texts are places
 * in `strings`. manifest_write() sorts and renumbers.
 *
 * Arrays are struct wr, so that running out of memory anywhere is one sticky
 * flag, seen once per call.
 */
#ifndef FORMATS_MANIFEST_BUILDER_H
#define FORMATS_MANIFEST_BUILDER_H

#include "formats/manifest_media.h"

struct mb_tensor {
    uint64_t name; /* in strings */
    uint32_t name_bytes;
    uint32_t first_rank; /* who told it first, for conflicts */
    struct geometry geometry;
};

struct mb_region {
    struct mf_region entry;
    uint32_t rank_index; /* in the builder */
    uint32_t reserved;
};

struct mb_value {
    struct mf_value entry;
    uint32_t rank; /* who told it */
    uint32_t reserved;
};

/* Hash table from keys to indices of some array; open addressing, at most
 * half full. */
struct intern_slot {
    uint64_t hash;
    uint64_t index_plus_1;
};

struct intern {
    struct intern_slot *slot;
    size_t capacity, used;
};

struct manifest_builder {
    struct wr strings;
    struct wr tensors;   /* struct mb_tensor */
    struct wr regions;   /* struct mb_region */
    struct wr dims;      /* uint64_t */
    struct wr pieces;    /* struct mf_piece */
    struct wr chunks;    /* struct mf_chunk */
    struct wr locations; /* struct mf_location */
    struct wr segments;  /* struct mf_segment */
    struct wr files;     /* struct mf_file */
    struct wr ranks;     /* struct mf_rank; first_chunk is the builder's */
    struct wr values;    /* struct mb_value */
    struct wr notes;     /* struct mf_note */
    struct wr checks;    /* struct mf_check; region is the builder's */
    struct wr trusts;    /* struct mf_trust */
    struct intern tensor_index, segment_index, file_index, rank_index;
    uint64_t written_bytes;
    bool has_vote; /* then these are what all votes agree on */
    struct layout layout;
    struct id128 run;
    struct save_id id;
    int failed; /* the first error: nothing can be written any more */
};

/* Entry i of one of the arrays above. */
#define MB_AT(array, type, i) (&((type *)(void *)(array).data)[i])
#define MB_COUNT(array, type) ((array).bytes / sizeof(type))

/* Appends `count` zeroed entries; NULL on no memory. */
#define MB_ADD(array, type, count)                                             \
    ((type *)wr_room(&(array), (size_t)(count) * sizeof(type)))

/* manifest_intern.c: what several files share. Each returns the index of what
 * is there already or was appended, or a negative code (with words if it takes
 * an err). */
int64_t mb_tensor(struct manifest_builder *b, const struct mb_tensor *want,
                  const char *name, struct err *err) MUST_USE;
int64_t mb_segment(struct manifest_builder *b,
                   const struct mf_segment *want) MUST_USE;
int64_t mb_file(struct manifest_builder *b, const struct mf_file *want,
                const char *name) MUST_USE;
/* Appends a rank that must not be there yet. */
int64_t mb_rank(struct manifest_builder *b, const struct mf_rank *want,
                struct err *err) MUST_USE;
/* manifest_build.c: copies a text into strings; its place there. */
uint64_t mb_string(struct manifest_builder *b, const void *text, size_t bytes);
/* -ENOMEM with words if any array ran out of memory, else 0. */
int mb_memory(struct manifest_builder *b, struct err *err) MUST_USE;

/*
 * manifest_order.c: who comes where. "order" lists the builder's indices in
 * their final order, "place" is the inverse. All are malloc'd.
 */
struct mb_order {
    uint32_t *rank_order;
    uint32_t *tensor_order, *tensor_place;
    uint32_t *region_order, *region_place;
    uint32_t *chunk_order, *chunk_place;
    uint32_t *segment_order, *segment_place;
    uint32_t *file_order, *file_place;
    uint32_t *value_order, *note_order;
    size_t segment_count, file_count, value_count, note_count;
};

int mb_order_init(struct mb_order *o, struct manifest_builder *b,
                  const struct layout *layout, struct err *err) MUST_USE;
void mb_order_fini(struct mb_order *o);

#endif
