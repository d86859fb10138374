/*
 * manifest.h - the record that makes a save a checkpoint.
 *
 * One container, three kinds: a VOTE is what one daemon says of its ranks, the
 * MANIFEST is all votes of a save merged, a TIER says where else chunks of it
 * lie (tier.h). Little-endian tables that are used in
 * place (from a read buffer or mmap) without parsing. Byte-exact in FORMAT.md.
 *
 *   header | tables, each 64-byte aligned | page digests | trailer
 *
 * Every 64 KiB page of [0, digests) has an XXH3-128; the trailer's root digest
 * covers them and the length. manifest_open() checks version, flags, sizes,
 * root, every page, then every index in every table once (linear, no
 * allocation), so that afterwards the accessors cannot go out of bounds.
 *
 * Tensors are sorted by name (bytes); regions of a tensor are consecutive, and
 * so are pieces of a region; chunks of a rank are consecutive, in the order of
 * its write list; location i tells where chunk i is in the first tier.
 */
#ifndef FORMATS_MANIFEST_H
#define FORMATS_MANIFEST_H

#include "formats/chunk.h"
#include "formats/extra.h"
#include "formats/region.h"
#include "formats/writelist.h"

#define MANIFEST_PAGE_BYTES ((uint64_t)64 << 10)
#define MANIFEST_MAX_BYTES  ((uint64_t)16 << 30)

enum manifest_kind {
    MANIFEST_CHECKPOINT = 1,
    MANIFEST_VOTE = 2,
    MANIFEST_TIER = 3, /* without tensors and values */
};

/* The tables' entries, exactly as on media (static asserts in manifest.c). */
struct mf_tensor {
    uint64_t name; /* offset in the blob */
    uint32_t name_bytes;
    uint8_t dtype, ndim;
    uint16_t flags; /* 1: reserved (carries extra state), hidden */
    uint64_t shape[MAX_DIMS];
    uint64_t first_region, region_count;
    uint64_t logical_bytes;
};

struct mf_region {
    uint32_t tensor, rank;
    uint64_t first_dim; /* box k: dims[first_dim + 2*ndim*k ...]: offsets,
                           then sizes */
    uint32_t box_count; /* 0: the whole tensor */
    uint32_t is_cut;
    uint64_t cut_start, cut_count;
    uint64_t packed_bytes;
    uint64_t slice_start, slice_bytes; /* what this rank wrote of it */
    uint64_t first_piece;
    uint32_t piece_count;
    uint32_t replica_index, replica_count;
    uint32_t reserved;
};

struct mf_piece {
    uint64_t region_start; /* byte in packed order */
    uint32_t region, chunk;
    uint32_t chunk_start, bytes;
};

struct mf_chunk {
    uint32_t segment; /* index */
    uint32_t number;  /* in the birth segment */
    uint32_t raw_bytes;
    uint32_t rank;
    struct digest content;
};

struct mf_segment {
    struct id128 segment;
    struct id128 store; /* where it was born */
};

struct mf_file {
    uint64_t name; /* blob: below the tier's root, "seg/000001" */
    uint32_t name_bytes;
    uint32_t reserved;
    struct id128 store;   /* of the local store that holds it */
    struct id128 segment; /* incarnation its header must show */
};

struct mf_location {
    uint32_t file, codec;
    uint64_t offset;
    uint32_t payload_bytes;
    uint32_t codec_param;
    uint64_t stored_digest;
};

struct mf_rank {
    uint32_t rank;
    uint32_t coordinate[MAX_AXES];
    uint32_t reserved;
    struct id128 daemon;
    struct digest table; /* of its descriptors: equal = same layout */
    uint64_t first_chunk, chunk_count;
    uint64_t logical_bytes; /* written by it */
};

struct mf_axis {
    char name[AXIS_NAME_BYTES];
    uint32_t degree, reserved;
};

struct mf_value {
    uint64_t name, data; /* blob */
    uint64_t bytes;
    uint32_t name_bytes, type, axes;
    uint32_t coordinate[MAX_AXES];
    uint32_t reserved;
};

/* Provenance: text keys and values, sorted by key. */
struct mf_note {
    uint64_t key, text; /* blob */
    uint32_t key_bytes, text_bytes;
};

/* Open addressing by XXH3-64 of the name; slots a power of two, empty: 0. */
struct mf_slot {
    uint64_t hash;
    uint64_t tensor_plus_1;
};

/* In a vote: a block of a region of which others hold replicas, as this rank
 * has it (checklist.h). Where the voter found another of its ranks to differ
 * while it had the bytes of both: in which first unit, and how. */
struct mf_check {
    uint32_t region, bytes;
    uint64_t start; /* byte in packed order */
    struct digest content;
    uint64_t differs_at; /* byte in packed order; CHECK_UNKNOWN: not known */
    uint32_t other;      /* that rank; 0 when not known */
    uint32_t reserved;
    uint8_t own[8], others[8]; /* the unit's bytes, zeros behind them */
};
#define CHECK_UNKNOWN UINT64_MAX

/* What a rank was asked to find out (trust.h), and has found. */
struct mf_trust {
    uint32_t rank, flags; /* enum mf_trust_flags */
    struct save_id same;  /* an earlier save with this very optimizer state */
    uint64_t optimizer_bytes; /* that it wrote */
    struct digest optimizer;  /* of their pieces' digests, in order */
    uint64_t compared_bytes;  /* of replicas, by this rank, in this save */
    uint64_t reserved;
};

enum mf_trust_flags {
    MF_TRUST_FAIL_DIVERGENCE = 1,
    MF_TRUST_FAIL_STALE = 2,
    MF_TRUST_FLAGS = 3,
};

/* What stands in the header, decoded. */
struct manifest_info {
    uint32_t kind;
    uint32_t world_size;
    uint32_t chunk_bytes;
    struct id128 run;
    struct id128 daemon; /* the voter, or the committer */
    struct save_id id;
    struct save_id parent; /* of the generation; generation 0: none */
    uint64_t created_unix_ms;
    uint64_t logical_bytes; /* of all tensors, or of what the voter wrote */
    uint64_t stored_bytes;  /* extents of all chunks referred to */
    uint64_t written_bytes; /* extents written by this very save */
    bool is_repacked;       /* MANIFEST_TIER: raw chunks may be encoded there */
};

/* An open view; points into the caller's bytes, which must stay. */
struct manifest {
    struct manifest_info info;
    struct layout layout;
    const uint8_t *data;
    size_t bytes;
    struct digest root;
    const struct mf_tensor *tensor;
    const struct mf_region *region;
    const uint64_t *dim;
    const struct mf_piece *piece;
    const struct mf_chunk *chunk;
    const struct mf_segment *segment;
    const struct mf_file *file;
    const struct mf_location *location;
    const struct mf_rank *rank;
    const struct mf_value *value;
    const struct mf_note *note;
    const struct mf_slot *slot;
    const struct mf_check *check; /* none in a manifest */
    const struct mf_trust *trust; /* by rank */
    const char *blob;
    uint64_t tensor_count, region_count, dim_count, piece_count, chunk_count,
        segment_count, file_count, location_count, rank_count, value_count,
        note_count, slot_count, check_count, trust_count, blob_bytes;
};

/* `data` is 8-byte aligned. -CKPT_ECORRUPT, -CKPT_EVERSION with words. */
int manifest_open(const void *data, size_t bytes, struct manifest *out,
                  struct err *err) MUST_USE;

/* Index of a tensor by name, -ENOENT. */
int64_t manifest_find(const struct manifest *m, const char *name,
                      size_t name_bytes) MUST_USE;

void manifest_geometry(const struct manifest *m, uint64_t tensor,
                       struct geometry *out);
/* The region; boxes are copied into `boxes` (malloc'd growing array of the
 * caller, *capacity of them, free() it at the end). -ENOMEM. */
int manifest_region(const struct manifest *m, uint64_t region,
                    struct box **boxes, size_t *capacity,
                    struct region *out) MUST_USE;
/* The header that chunk i must show on media. */
void manifest_chunk_header(const struct manifest *m, uint64_t chunk,
                           struct chunk_header *out);
/* A rank, by its number (ranks are in order); NULL: it is not there. */
const struct mf_rank *manifest_rank(const struct manifest *m, uint32_t rank);
/* The row of a rank, NULL if it has none. */
const struct mf_trust *manifest_trust(const struct manifest *m, uint32_t rank);
/* "tensor T bytes A-B of rank R's part, ...": what hangs on a chunk. */
void manifest_chunk_words(const struct manifest *m, uint64_t chunk, char *text,
                          size_t capacity);
/* `code`, with words: that file's chunks are in another local store, and what
 * helps. */
int manifest_elsewhere(const struct manifest *m, uint32_t file, int code,
                       struct err *err);
/* A note by key, NULL if there is none; *bytes its length (no NUL). */
const char *manifest_note(const struct manifest *m, const char *key,
                          size_t *bytes);

/*
 * Building. A builder is filled in any order of ranks, then written once.
 */
struct manifest_builder;

/* One chunk's outcome, in the order of the rank's write list. `file_name` is
 * the location's below its store; strings are copied. */
struct built_chunk {
    struct id128 segment;       /* birth segment */
    struct id128 segment_store; /* where that was born */
    struct id128 file_store;    /* the store that holds the file now */
    struct id128 file_segment;  /* the incarnation that the file shows */
    const char *file_name;
    uint64_t offset;
    uint32_t number, raw_bytes, payload_bytes, codec, codec_param;
    bool is_reused;
    uint64_t stored_digest;
    struct digest content;
};

struct manifest_builder *manifest_builder_new(void);
void manifest_builder_free(struct manifest_builder *b);

/*
 * After any error below the builder can only be freed; manifest_write() then
 * answers with that error again.
 *
 * A rank's part: its table, write list, and chunks (write list's count). All is
 * copied. -CKPT_ECONFLICT when a tensor's dtype or shape differs from another
 * rank's (both ranks named), or the rank is there already.
 */
struct built_check {
    uint32_t entry;      /* of the rank's */
    struct mf_check row; /* all but `region` */
};

struct built_rank {
    uint32_t rank;
    uint32_t coordinate[MAX_AXES];
    struct id128 daemon;
    struct digest table; /* table_digest() of its descriptors */
    const struct entry *entries;
    size_t entry_count;
    const struct writelist *list;
    const struct built_chunk *chunks; /* list->chunk_count of them */
    const struct mf_trust *trust;     /* NULL: was asked for nothing */
    const struct built_check *checks;
    size_t check_count;
};

int manifest_add_rank(struct manifest_builder *b, const struct built_rank *r,
                      struct err *err) MUST_USE;
/* A checked value of at most VALUE_INLINE_MAX (larger ones are reserved tensors
 * among a rank's entries). Several ranks may tell the same; that they agree is
 * seen in manifest_write(), which knows the axes. */
int manifest_add_value(struct manifest_builder *b, uint32_t rank,
                       const struct value *v, struct err *err) MUST_USE;
/* -ENOMEM. Of equal keys the first one wins. */
int manifest_add_note(struct manifest_builder *b, const char *key,
                      const char *text) MUST_USE;
/* Everything of an opened vote but its checks (same run and save;
 * -CKPT_ECONFLICT for a rank that is there already). Notes of the first vote
 * win. */
int manifest_add_vote(struct manifest_builder *b, const struct manifest *vote,
                      struct err *err) MUST_USE;

/* Write it out; counts and byte sums in `info` are computed here, the rest of
 * info is the caller's. *data is malloc'd, 64-byte aligned (free()). The bytes
 * depend on content and info alone, not on the order of ranks or votes.
 * -CKPT_ECONFLICT: values at the same coordinates differ (both ranks named), or
 * `layout` is not that of the votes; -EINVAL: what was added makes no sense
 * (such as a rank beyond world_size); -EFBIG, -ENOMEM. */
int manifest_write(struct manifest_builder *b, const struct manifest_info *info,
                   const struct layout *layout, void **data, size_t *bytes,
                   struct err *err) MUST_USE;

/*
 * Coverage (coverage.c): every rank of world_size is there once; every tensor
 * is covered exactly once by written slices: replicas of one region agree in
 * count and their slices tile it; no two regions overlap otherwise. Reserved
 * tensors too. -CKPT_EPARTIAL (names tensor and the first missing element's
 * index) or -CKPT_ECONFLICT (names tensor and both ranks). Near-linear.
 */
int manifest_coverage(const struct manifest *m, struct err *err) MUST_USE;

#endif
