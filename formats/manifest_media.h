/*
 * manifest_media.h - the container's fixed parts as they lie on media. Private
 * to manifest_*.c; byte-exact in FORMAT.md.
 *
 * The structs here and the mf_ ones of manifest.h are used in place, so their
 * sizes and offsets are asserted, and so is the host's byte order.
 */
#ifndef FORMATS_MANIFEST_MEDIA_H
#define FORMATS_MANIFEST_MEDIA_H

#include "formats/manifest.h"

#include <assert.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "tables are used in place: a big-endian host needs a reader "
              "that swaps");

#define MF_VERSION_MAJOR 1
#define MF_VERSION_MINOR 1 /* of those with tables beyond MF_BLOB, else 0 */
#define MF_ALIGN         ((uint64_t)64)
#define MF_DIRECTORY_AT  256
#define MF_TABLES_MAX    64
#define REPLICAS_MAX     65536

/* Numbers of the tables, in the order in which they lie. */
enum mf_table {
    MF_AXIS,
    MF_TENSOR,
    MF_REGION,
    MF_DIM,
    MF_PIECE,
    MF_CHUNK,
    MF_SEGMENT,
    MF_FILE,
    MF_LOCATION,
    MF_RANK,
    MF_VALUE,
    MF_NOTE,
    MF_SLOT,
    MF_BLOB,
    MF_TABLE_COUNT,            /* what every container has */
    MF_CHECK = MF_TABLE_COUNT, /* since 1.1 */
    MF_TRUST,
    MF_TABLE_KNOWN,
};

/* Incompatible features. */
#define MF_FEATURE_REPACKED ((uint64_t)1)

struct mf_header {
    uint8_t magic[8];
    uint32_t major, minor;
    uint64_t incompatible, compatible; /* feature flags */
    uint64_t total_bytes;
    uint64_t digests_at; /* end of the tables, where page digests begin */
    uint32_t table_count, kind;
    uint32_t world_size, chunk_bytes;
    struct id128 run, daemon;
    struct save_id id, parent;
    uint64_t created_unix_ms;
    uint64_t logical_bytes, stored_bytes, written_bytes;
    uint8_t reserved[96];
};

struct mf_entry {
    uint32_t table, entry_bytes;
    uint64_t offset, count;
    uint64_t reserved;
};

/* After the page digests. The root covers [digests_at, root). */
struct mf_trailer {
    uint64_t total_bytes;
    uint8_t magic[8];
    struct digest root;
};

static_assert(sizeof(struct mf_header) == MF_DIRECTORY_AT, "header");
static_assert(offsetof(struct mf_header, run) == 64, "header.run");
static_assert(offsetof(struct mf_header, id) == 96, "header.id");
static_assert(offsetof(struct mf_header, created_unix_ms) == 128, "header");
static_assert(sizeof(struct mf_entry) == 32, "directory entry");
static_assert(sizeof(struct mf_trailer) == 32, "trailer");
static_assert(sizeof(struct save_id) == 16, "save id");
static_assert(offsetof(struct save_id, attempt) == 4, "save id");
static_assert(offsetof(struct save_id, step) == 8, "save id");

/* Magic bytes of header and trailer, entry sizes by table number. */
extern const uint8_t mf_magic[8];
extern const uint8_t mf_trailer_magic[8];
extern const uint32_t mf_entry_bytes[MF_TABLE_KNOWN];
extern const char *const mf_table_name[MF_TABLE_KNOWN];
/* -CKPT_ECORRUPT, "manifest: TABLE INDEX: what". */
int manifest_bad(struct err *err, enum mf_table table, uint64_t index,
                 const char *what);

static inline uint64_t mf_page_count(uint64_t digests_at)
{
    return (digests_at + MANIFEST_PAGE_BYTES - 1) / MANIFEST_PAGE_BYTES;
}

/* Slots that an index of so many tensors has: the least power of two that is
 * at least twice as many; none for none. */
static inline uint64_t mf_slot_count(uint64_t tensor_count)
{
    uint64_t slots = 2;

    if (tensor_count == 0)
        return 0;
    while (slots < 2 * tensor_count)
        slots *= 2;
    return slots;
}

/* Names in byte order, the shorter first. */
static inline int mf_name_compare(const char *a, size_t a_bytes, const char *b,
                                  size_t b_bytes)
{
    int c = memcmp(a, b, min_u64(a_bytes, b_bytes));

    return c ? c : a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

/* Where stored bytes of a region's elements begin: bytes of one unit. */
static inline uint32_t mf_unit_bytes(uint32_t dtype)
{
    uint32_t bits = dtype_bits(dtype);

    return bits >= 8 ? bits / 8 : 1;
}

/* manifest_write.c: page digests, trailer and root of a container of which
 * [0, digests_at) is final. Tests use it to forge. */
void mf_seal(void *data, uint64_t digests_at);

/* manifest_check.c: every index and range of the tables of `m`, once. */
int mf_check_tables(const struct manifest *m, struct err *err) MUST_USE;

/* manifest_check_region.c: the geometry and the region of entry `r` of tensor
 * `t`, packed_bytes included. Its dims are inside their table. */
int mf_check_geometry(const struct mf_tensor *t, struct err *err) MUST_USE;
int mf_check_region(const struct mf_tensor *t, const struct mf_region *r,
                    const uint64_t *dims, struct err *err) MUST_USE;

/* manifest_check_trust.c: the tables check and trust, after all others. */
int mf_check_trust(const struct manifest *m, struct err *err) MUST_USE;

#endif
