/*
 * test_manifest_refused.c - each thing that manifest_open() looks at, forged
 * alone with digests that fit: refused with the words that name it, or, where
 * it has no meaning, taken.
 */
#include "formats/manifest_media.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct layout layout = {.axis = {{"dp", 2}}, .axis_count = 1};

/* Tensors and regions of the manifest below, in its order. */
enum {
    T_RNG0,
    T_RNG1,
    T_HALF,
    T_FUSED,
    T_NIBBLE,
    T_STEP,
    T_NONE, /* and two more like it */
    T_PAD = T_NONE + 3,
    R_RNG0 = 0,
    R_RNG1,
    R_HALF,
    R_FUSED = R_HALF + 2,
    R_NIBBLE = R_FUSED + 2,
    R_STEP = R_NIBBLE + 2,
    R_NONE,
    R_PAD = R_NONE + 6,
};

static size_t make_entries(uint32_t rank, struct entry *e, struct box *box)
{
    static const char *const none[] = {"e.none", "e.none2", "e.none3"};
    size_t n = 0;

    memset(box, 0, 8 * sizeof *box);
    e[n++] = (struct entry){rank ? "\001extra/dp/1/rng" : "\001extra/dp/0/rng",
                            {DTYPE_U8, 1, {70}},
                            {0},
                            0,
                            1};
    box[0] = (struct box){{rank * 4ull, 0}, {4, 16}};
    e[n++] = (struct entry){
        "a.half", {DTYPE_F32, 2, {8, 16}}, {box, 1, false, 0, 0}, 0, 1};
    box[1] = (struct box){{rank * 4ull, 0}, {4, 8}};
    box[2] = (struct box){{8 + rank * 4ull, 0}, {4, 8}};
    e[n++] = (struct entry){
        "b.fused", {DTYPE_BF16, 2, {16, 8}}, {box + 1, 2, false, 0, 0}, 0, 1};
    e[n++] = (struct entry){"c.nibble",
                            {DTYPE_F4, 2, {4, 16}},
                            {NULL, 0, true, rank * 32ull, 32},
                            0,
                            1};
    if (rank == 0)
        e[n++] = (struct entry){"d.step", {DTYPE_I64, 0, {0}}, {0}, 0, 1};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        e[n++] = (struct entry){none[i], {DTYPE_U8, 1, {0}}, {0}, rank, 2};
    if (rank)
        return n;
    /* The second box is nothing but padding. */
    box[3] = (struct box){{0}, {4}};
    box[4] = (struct box){{4}, {4}};
    e[n++] = (struct entry){
        "z.pad", {DTYPE_U8, 1, {4}}, {box + 3, 2, false, 0, 0}, 0, 1};
    return n;
}

static void add_rank(struct manifest_builder *b, uint32_t rank)
{
    static const struct built_check checks[] = {
        {1, {.bytes = 128, .differs_at = CHECK_UNKNOWN}},
        {1, {.start = 128, .bytes = 128, .differs_at = CHECK_UNKNOWN}},
        {2, {.bytes = 64, .differs_at = CHECK_UNKNOWN}},
    };
    struct mf_trust trust = {.rank = rank};
    struct entry entries[16];
    struct box box[8];
    struct built_chunk chunk = {.segment = {{1}},
                                .segment_store = {{2}},
                                .file_store = {{2}},
                                .file_segment = {{1}},
                                .file_name = "seg/000001",
                                .offset = PAGE_BYTES * (1 + rank * 4ull)};
    struct built_rank r = {.rank = rank,
                           .coordinate = {rank},
                           .daemon = {{2}},
                           .entries = entries,
                           .chunks = &chunk,
                           .trust = &trust,
                           .checks = checks,
                           .check_count = rank ? 0 : ARRAY_LEN(checks)};
    struct writelist list;
    struct err err;

    r.entry_count = make_entries(rank, entries, box);
    assert_int_equal(
        writelist_build(entries, r.entry_count, CHUNK_BYTES_MIN, &list), 0);
    assert_int_equal(list.chunk_count, 1);
    chunk.raw_bytes = chunk.payload_bytes = list.chunk[0].raw_bytes;
    r.list = &list;
    assert_int_equal(manifest_add_rank(b, &r, &err), 0);
    writelist_free(&list);
}

/* A manifest that opens; free(). */
static uint8_t *make(uint32_t kind, size_t *bytes)
{
    const struct manifest_info info = {.kind = kind,
                                       .world_size = 3,
                                       .chunk_bytes = CHUNK_BYTES_MIN,
                                       .id = {2, 0, 5},
                                       .parent = {1, 0, 4}};
    static const uint64_t eight;
    struct value v[] = {
        {"loader", 6, VALUE_STRING, 1, {0}, "at 7", 4},
        {"loader", 6, VALUE_STRING, 1, {1}, "at 8", 4},
        {"seen", 4, VALUE_U64, 0, {0}, &eight, 8},
        {"seen", 4, VALUE_U64, 1, {0}, &eight, 8},
    };
    struct manifest_builder *b = manifest_builder_new();
    struct err err;
    void *data;

    add_rank(b, 0);
    add_rank(b, 1);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        assert_int_equal(manifest_add_value(b, 0, &v[i], &err), 0);
    assert_int_equal(manifest_add_note(b, "host", "a"), 0);
    assert_int_equal(manifest_add_note(b, "job", "b"), 0);
    assert_int_equal(manifest_write(b, &info, &layout, &data, bytes, &err), 0);
    manifest_builder_free(b);
    return data;
}

/*
 * Forgeries: fields of entries, or of what is no table.
 */

enum {
    HEADER = MF_TABLES_MAX,
    DIRECTORY,
    FILE_NAME, /* bytes of the first file's name: index is the first one */
};

struct edit {
    uint32_t table, index;
    size_t at, bytes;
    uint64_t value;
};

struct forgery {
    const char *words; /* NULL: it opens */
    struct edit edit[12];
};

/* Which struct an entry of each table is. */
#define IN(table, type, index, field, value)                                   \
    {                                                                          \
        table, index, offsetof(type, field), sizeof(((type *)NULL)->field),    \
            value                                                              \
    }
#define HEAD(field, value) IN(HEADER, struct mf_header, 0, field, value)
#define DIR(index, field, value)                                               \
    IN(DIRECTORY, struct mf_entry, index, field, value)
#define AXIS(index, field, value)                                              \
    IN(MF_AXIS, struct mf_axis, index, field, value)
#define RANK(index, field, value)                                              \
    IN(MF_RANK, struct mf_rank, index, field, value)
#define CHUNK(index, field, value)                                             \
    IN(MF_CHUNK, struct mf_chunk, index, field, value)
#define PLACE(index, field, value)                                             \
    IN(MF_LOCATION, struct mf_location, index, field, value)
#define FILE_(index, field, value)                                             \
    IN(MF_FILE, struct mf_file, index, field, value)
#define TENSOR(index, field, value)                                            \
    IN(MF_TENSOR, struct mf_tensor, index, field, value)
#define REGION(index, field, value)                                            \
    IN(MF_REGION, struct mf_region, index, field, value)
#define PIECE(index, field, value)                                             \
    IN(MF_PIECE, struct mf_piece, index, field, value)
#define VALUE(index, field, value)                                             \
    IN(MF_VALUE, struct mf_value, index, field, value)
#define NOTE(index, field, value)                                              \
    IN(MF_NOTE, struct mf_note, index, field, value)
#define SLOT(index, field, value)                                              \
    IN(MF_SLOT, struct mf_slot, index, field, value)
#define NAME(text, count)                                                      \
    {                                                                          \
        FILE_NAME, 0, 0, count, text                                           \
    }
/* Text as the number that lies so. */
#define TEXT4(a, b, c, d)                                                      \
    ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 |                \
     (uint64_t)(d) << 24)

static const struct forgery frames[] = {
    {"magic", {HEAD(magic[3], 0)}},
    {"its header says", {HEAD(total_bytes, 8)}},
    {"version 2", {HEAD(major, 2)}},
    {NULL, {HEAD(minor, 9), HEAD(compatible, 4)}},
    {"flag 3", {HEAD(incompatible, 8)}},
    {"header is malformed", {HEAD(table_count, MF_TABLE_COUNT - 1)}},
    {"header is malformed", {HEAD(table_count, MF_TABLES_MAX + 1)}},
    {"header is malformed", {HEAD(reserved[95], 1)}},
    {"directory entry 3", {DIR(3, table, 4)}},
    {"directory entry 3", {DIR(3, entry_bytes, 16)}},
    {"table dim does not fit", {DIR(MF_DIM, count, UINT64_MAX / 4)}},
    {"table dim does not fit", {DIR(MF_DIM, count, 1 << 20)}},
    {"table dim does not fit", {DIR(MF_DIM, reserved, 1)}},
    {"table dim does not fit", {DIR(MF_DIM, offset, 64)}},
    {"table region does not fit", {DIR(MF_TENSOR, count, 7)}},
    {"bytes that belong to no table", {DIR(MF_TRUST, count, 1)}},
    {"does not fit", {DIR(MF_BLOB, count, 1)}},
    {"axis 0 is malformed", {AXIS(0, reserved, 1)}},
    {"axis 0 is malformed", {AXIS(0, name[9], 'x')}},
    {"axis 0 is malformed",
     {AXIS(0, name[2], 'x'),
      {MF_AXIS, 0, 3, 8, 0x7878787878787878},
      {MF_AXIS, 0, 8, 8, 0x7878787878787878}}},
    {"manifest: layout", {AXIS(0, degree, 0)}},
    {"unknown kind", {HEAD(kind, MANIFEST_TIER + 1)}},
    {"unknown kind", {HEAD(kind, MANIFEST_CHECKPOINT - 1)}},
    {"a table of locations has", {HEAD(kind, MANIFEST_TIER)}},
    {"repacked, and no table", {HEAD(incompatible, MF_FEATURE_REPACKED)}},
    {"flag 1 ", {HEAD(incompatible, MF_FEATURE_REPACKED | 2)}},
    {"no ranks", {HEAD(world_size, 0)}},
    {"chunk size", {HEAD(chunk_bytes, CHUNK_BYTES_MIN / 2)}},
    {"chunk size", {HEAD(chunk_bytes, CHUNK_BYTES_MAX * 2)}},
    {"chunk size", {HEAD(chunk_bytes, CHUNK_BYTES_MIN + 1)}},
    {"a save of no", {HEAD(id.generation, 0)}},
    {"a parent of no", {HEAD(parent.generation, 0)}},
    {"a parent of no",
     {HEAD(parent.generation, 0), HEAD(parent.step, 0),
      HEAD(parent.attempt, 1)}},
    {NULL, {HEAD(parent.generation, 0), HEAD(parent.step, 0)}},
    {"as many locations",
     {DIR(MF_LOCATION, count, 1),
      {MF_LOCATION, 1, 0, 8, 0},
      {MF_LOCATION, 1, 8, 8, 0},
      {MF_LOCATION, 1, 16, 8, 0},
      {MF_LOCATION, 1, 24, 8, 0}}},
    {"page digests at 192", {HEAD(digests_at, 192)}},
    {"page digests at", {HEAD(digests_at, 3)}},
    {"page digests at", {HEAD(digests_at, 1 << 20)}},
    {"stored bytes", {HEAD(stored_bytes, 1)}},
    {"logical bytes", {HEAD(logical_bytes, 1)}},
    {NULL, {HEAD(kind, MANIFEST_VOTE), HEAD(logical_bytes, 1)}},
};

static const struct forgery ranks[] = {
    {"rank 1", {RANK(1, rank, 3)}},
    {"rank 1", {RANK(1, rank, 0)}},
    {"coordinates", {RANK(0, reserved, 1)}},
    {"coordinates", {RANK(1, coordinate[0], 2)}},
    {"chunks are out of range", {RANK(1, first_chunk, 0)}},
    {"chunks are out of range", {RANK(0, chunk_count, 3)}},
    {"of another rank", {CHUNK(1, rank, 0)}},
    {"of no rank", {RANK(1, chunk_count, 0)}},
    {"segment is out of range", {CHUNK(0, segment, 9)}},
    {"sizes or codec", {CHUNK(0, raw_bytes, CHUNK_BYTES_MIN + 1)}},
    {"sizes or codec", {PLACE(0, codec, 9)}},
    {"file is out of range", {PLACE(0, file, 9)}},
    {"offset", {PLACE(0, offset, PAGE_BYTES + 1)}},
    {"offset", {PLACE(0, offset, 0)}},
    {"offset", {PLACE(0, offset, UINT64_MAX - PAGE_BYTES + 1)}},
    {"name is malformed", {FILE_(0, reserved, 1)}},
    {"name is malformed", {FILE_(0, name_bytes, 256)}},
    {"name is malformed", {FILE_(0, name_bytes, 0)}},
    {"name is malformed", {FILE_(0, name, 1 << 20)}},
    {"name is malformed", {NAME('/', 1)}},
    {"name is malformed", {NAME(TEXT4('.', '/', 'x', '/'), 4)}},
    {"name is malformed", {NAME(TEXT4('.', '.', '/', 'x'), 4)}},
    {"name is malformed", {NAME('\001', 1)}},
    {"name is malformed", {NAME('\002', 1)}},
    {NULL, {NAME(TEXT4('x', '/', 'x', '/'), 4)}},
    {NULL, {NAME(TEXT4('x', '.', '/', 'x'), 4)}},
    {NULL, {NAME(TEXT4('.', 'x', '/', 'x'), 4)}},
    {NULL, {NAME(TEXT4('.', '.', 'x', '/'), 4)}},
};

/* A tensor of nothing becomes one of nearly 2^63 bytes, not stored. */
#define HUGE_TENSOR(k)                                                         \
    TENSOR(T_NONE + (k), shape[0], INT64_MAX),                                 \
        TENSOR(T_NONE + (k), logical_bytes, INT64_MAX),                        \
        REGION(R_NONE + 2 * (k), packed_bytes, INT64_MAX),                     \
        REGION(R_NONE + 2 * (k) + 1, packed_bytes, INT64_MAX)

static const struct forgery tensors[] = {
    {"name is malformed", {TENSOR(T_HALF, flags, 2)}},
    {"name is malformed", {TENSOR(T_HALF, flags, 1)}},
    {"name is malformed", {TENSOR(T_RNG0, flags, 0)}},
    {"name is out of order", {TENSOR(T_NONE + 1, name_bytes, 6)}},
    {"200 dimensions", {TENSOR(T_HALF, ndim, 200)}},
    {"is no dtype", {TENSOR(T_HALF, dtype, 0)}},
    {"beyond 2 dimensions", {TENSOR(T_HALF, shape[2], 1)}},
    {"logical bytes are not", {TENSOR(T_HALF, logical_bytes, 1)}},
    {"reserved, but not bytes", {TENSOR(T_RNG0, dtype, DTYPE_BOOL)}},
    {"reserved, but not bytes",
     {TENSOR(T_RNG0, ndim, 2), TENSOR(T_RNG0, shape[1], 1)}},
    {NULL, {TENSOR(T_RNG0, dtype, DTYPE_I8)}},
    {"regions are out of range", {TENSOR(T_HALF, first_region, 0)}},
    {"regions are out of range", {TENSOR(T_HALF, region_count, 99)}},
    {"tensor or rank is out", {REGION(R_HALF, tensor, 0)}},
    {"tensor or rank is out", {REGION(R_HALF, rank, 2)}},
    {"tensor or rank is out",
     {REGION(R_NONE, rank, 1), REGION(R_NONE + 1, rank, 0)}},
    {"is malformed", {REGION(R_HALF, reserved, 1)}},
    {"is malformed", {REGION(R_HALF, is_cut, 2)}},
    {"is malformed", {REGION(R_HALF, cut_start, 1)}},
    {"is malformed", {REGION(R_HALF, cut_count, 1)}},
    {"is malformed", {REGION(R_HALF, replica_index, 1)}},
    {"is malformed", {REGION(R_HALF, replica_count, REPLICAS_MAX + 1)}},
    {"is malformed", {REGION(R_STEP, box_count, 2)}},
    {"dims or pieces", {REGION(R_HALF, first_dim, 1)}},
    {"dims or pieces", {REGION(R_HALF, box_count, 99)}},
    {"dims or pieces", {REGION(R_HALF, first_piece, 0)}},
    {"dims or pieces", {REGION(R_HALF, piece_count, 99)}},
    {"slice is out of range", {REGION(R_HALF, slice_start, 1 << 20)}},
    {"slice is out of range", {REGION(R_HALF, slice_bytes, 1 << 20)}},
    {"slice is out of range",
     {REGION(R_HALF, slice_start, 1), REGION(R_HALF, slice_bytes, 4)}},
    {"slice is out of range", {REGION(R_HALF, slice_bytes, 7)}},
    {"a cut that is not whole", {REGION(R_NIBBLE, cut_start, 1)}},
    {"a cut that is not whole", {REGION(R_NIBBLE, cut_count, 33)}},
    {"a cut that is not whole",
     {REGION(R_HALF, is_cut, 1), REGION(R_HALF, cut_start, UINT64_MAX),
      REGION(R_HALF, cut_count, 2)}},
    {"a cut beyond", {REGION(R_NIBBLE, cut_count, 34 + 32)}},
    {"packed bytes", {REGION(R_HALF, packed_bytes, 1 << 20)}},
    {"the sum of bytes overflows",
     {HUGE_TENSOR(0), HUGE_TENSOR(1), HUGE_TENSOR(2)}},
    {"regions, dims or pieces of no tensor", {TENSOR(T_PAD, region_count, 0)}},
    {"regions, dims or pieces of no tensor", {REGION(R_PAD, box_count, 1)}},
    {"regions, dims or pieces of no tensor",
     {REGION(R_PAD, piece_count, 0), REGION(R_PAD, slice_bytes, 0)}},
    {"box 0 is malformed", {{MF_DIM, 2, 0, 8, UINT64_MAX}}},
    /* The two boxes of the first fused region, 2^62 bytes each. */
    {"more than 2^63",
     {{MF_DIM, 8 + 2, 0, 8, (uint64_t)1 << 58},
      {MF_DIM, 8 + 6, 0, 8, (uint64_t)1 << 58}}},
};

static const struct forgery others[] = {
    {"region or chunk out", {PIECE(0, region, 9)}},
    {"region or chunk out", {PIECE(0, chunk, 9)}},
    {"in a chunk of another rank", {PIECE(0, chunk, 1)}},
    {"is not where the last ended", {PIECE(0, region_start, 1)}},
    {"is not where the last ended", {PIECE(0, bytes, 0)}},
    {"is not where the last ended", {PIECE(0, bytes, 71)}},
    {"is outside its chunk", {PIECE(0, chunk_start, 1 << 20)}},
    {"is outside its chunk", {PIECE(0, chunk_start, 640)}},
    {"is outside its chunk", {PIECE(0, chunk_start, CHUNK_BYTES_MIN)}},
    {"is not whole units", {PIECE(R_HALF, bytes, 6)}},
    {"pieces are missing", {PIECE(R_HALF, bytes, 4)}},
    {"name is malformed", {VALUE(0, reserved, 1)}},
    {"name is malformed", {VALUE(0, name_bytes, 0)}},
    {"type or length", {VALUE(0, bytes, VALUE_INLINE_MAX + 1)}},
    {"type or length", {VALUE(0, data, 1 << 20)}},
    {"type or length", {VALUE(0, type, VALUE_I64)}},
    {"coordinates", {VALUE(0, axes, 2)}},
    {"value 1", {VALUE(0, coordinate[0], 1)}},
    {"value 1", {VALUE(0, coordinate[0], 1), VALUE(1, coordinate[0], 0)}},
    {"value 3", {VALUE(2, axes, 1), VALUE(3, axes, 0)}},
    {"value 3", {VALUE(3, axes, 0)}},
    {"note 0", {NOTE(0, key_bytes, 0)}},
    {"note 0", {NOTE(0, text, 1 << 20)}},
    {"note 0", {NOTE(0, text_bytes, 1 << 20)}},
    {"note 1", {NOTE(0, key_bytes, 1), NOTE(1, key_bytes, 1), NOTE(1, key, 0)}},
};

#define CHECK(index, field, value)                                             \
    IN(MF_CHECK, struct mf_check, index, field, value)
#define TRUST(index, field, value)                                             \
    IN(MF_TRUST, struct mf_trust, index, field, value)
/* Check 0 has found a difference with rank 1. */
#define DIFFERS(at) CHECK(0, differs_at, at), CHECK(0, other, 1)

/* Of a vote: what it has compared. */
static const struct forgery checked[] = {
    {NULL, {TRUST(0, flags, MF_TRUST_FLAGS)}},
    {"region is out of range", {CHECK(0, region, 99)}},
    {"region is out of range", {CHECK(0, reserved, 1)}},
    {"outside its region", {CHECK(0, bytes, 0)}},
    {"outside its region", {CHECK(0, bytes, CHUNK_BYTES_MIN + 4)}},
    {"outside its region", {CHECK(0, start, 260)}},
    {"outside its region", {CHECK(0, bytes, 260)}},
    {"outside its region", {CHECK(0, start, 2)}},
    {"outside its region", {CHECK(0, bytes, 126)}},
    {"out of order", {CHECK(1, start, 64)}},
    {"out of order", {CHECK(0, region, R_FUSED)}},
    {"difference is malformed", {CHECK(0, other, 1)}},
    {"difference is malformed", {CHECK(0, own[0], 1)}},
    {"difference is malformed", {CHECK(0, others[7], 1)}},
    {NULL, {DIFFERS(4), CHECK(0, own[3], 1), CHECK(0, others[0], 1)}},
    {"difference is malformed", {DIFFERS(3)}},
    {"difference is malformed", {DIFFERS(128)}},
    {"difference is malformed", {CHECK(1, differs_at, 4), CHECK(1, other, 1)}},
    {"difference is malformed", {DIFFERS(4), CHECK(0, other, 2)}},
    {"difference is malformed", {DIFFERS(4), CHECK(0, own[4], 1)}},
    {"difference is malformed", {DIFFERS(4), CHECK(0, others[4], 1)}},
    {"rank is out of order", {TRUST(0, rank, 2)}},
    {"rank is out of order", {TRUST(1, rank, 0)}},
    {"is malformed", {TRUST(0, flags, 4)}},
    {"is malformed", {TRUST(0, reserved, 1)}},
    {"is malformed", {TRUST(0, same.step, 1)}},
    {"is malformed", {TRUST(0, same.attempt, 1)}},
    {NULL, {TRUST(0, same.generation, 1), TRUST(0, same.step, 3)}},
};

/* Where an edit goes. */
static uint8_t *place_of(uint8_t *data, const struct edit *e)
{
    const struct mf_entry *directory = (void *)(data + MF_DIRECTORY_AT);
    const struct mf_file *file = (void *)(data + directory[MF_FILE].offset);

    switch (e->table) {
    case HEADER:
        return data + e->at;
    case DIRECTORY:
        return data + MF_DIRECTORY_AT + e->index * sizeof *directory + e->at;
    case FILE_NAME:
        return data + directory[MF_BLOB].offset + file->name;
    default:
        return data + directory[e->table].offset +
               e->index * (size_t)mf_entry_bytes[e->table] + e->at;
    }
}

static void forge(uint8_t *data, const struct forgery *f)
{
    uint64_t end = ((const struct mf_header *)(const void *)data)->digests_at;

    for (size_t i = 0; i < ARRAY_LEN(f->edit) && f->edit[i].bytes; i++)
        memcpy(place_of(data, &f->edit[i]), &f->edit[i].value,
               f->edit[i].bytes);
    mf_seal(data, end);
}

static void check_all(const struct forgery *f, size_t count, const char *what,
                      uint32_t kind)
{
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        uint8_t *data = make(kind, &bytes);
        struct manifest m;
        struct err err = {0};
        int rc;

        assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
        forge(data, &f[i]);
        rc = manifest_open(data, bytes, &m, &err);
        if (!f[i].words && rc)
            fail_msg("%s %zu: %s", what, i, err.text);
        if (f[i].words && (rc >= 0 || !strstr(err.text, f[i].words)))
            fail_msg("%s %zu: %d, %s, not: %s", what, i, rc, err.text,
                     f[i].words);
        if (f[i].words)
            assert_true(rc == -CKPT_ECORRUPT || rc == -CKPT_EVERSION);
        free(data);
    }
}

static void frames_are_checked(void **state)
{
    (void)state;
    check_all(frames, ARRAY_LEN(frames), "frame", MANIFEST_CHECKPOINT);
}

static void ranks_chunks_and_files_are_checked(void **state)
{
    (void)state;
    check_all(ranks, ARRAY_LEN(ranks), "rank", MANIFEST_CHECKPOINT);
}

static void tensors_and_regions_are_checked(void **state)
{
    (void)state;
    check_all(tensors, ARRAY_LEN(tensors), "tensor", MANIFEST_CHECKPOINT);
}

static void pieces_values_and_notes_are_checked(void **state)
{
    (void)state;
    check_all(others, ARRAY_LEN(others), "other", MANIFEST_CHECKPOINT);
}

static void what_a_vote_compared_is_checked(void **state)
{
    (void)state;
    check_all(checked, ARRAY_LEN(checked), "check", MANIFEST_VOTE);
}

/* Where chunks lie, and nothing else. */
static void a_table_of_locations_has_no_more_than_those(void **state)
{
    const struct manifest_info info = {.kind = MANIFEST_TIER,
                                       .world_size = 3,
                                       .chunk_bytes = CHUNK_BYTES_MIN,
                                       .id = {2, 0, 5}};
    const struct value value = {"seen", 4, VALUE_STRING, 0, {0}, "x", 1};

    (void)state;
    for (int more = 0; more < 3; more++) {
        const struct writelist empty = {0};
        const struct built_rank rank = {.list = &empty};
        struct manifest_builder *b = manifest_builder_new();
        struct err err = {0};
        size_t bytes;
        void *data = NULL;
        int rc;

        assert_int_equal(manifest_add_rank(b, &rank, &err), 0);
        if (more == 1)
            assert_int_equal(manifest_add_value(b, 0, &value, &err), 0);
        if (more == 2)
            assert_int_equal(manifest_add_note(b, "host", "a"), 0);
        /* It opens what it has written. */
        rc = manifest_write(b, &info, &layout, &data, &bytes, &err);
        assert_int_equal(rc, more ? -EINVAL : 0);
        if (more)
            assert_non_null(strstr(err.text, "a table of locations has"));
        else
            free(data);
        manifest_builder_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_checked),
        cmocka_unit_test(ranks_chunks_and_files_are_checked),
        cmocka_unit_test(tensors_and_regions_are_checked),
        cmocka_unit_test(pieces_values_and_notes_are_checked),
        cmocka_unit_test(what_a_vote_compared_is_checked),
        cmocka_unit_test(a_table_of_locations_has_no_more_than_those),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
