/*
 * small_manifest.c - see small_manifest.h.
 */
#include "tests/lib/small_manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct layout small_layout = {.axis = {{"dp", 2}}, .axis_count = 1};

struct manifest_info small_info(uint32_t kind)
{
    struct manifest_info info = {.kind = kind,
                                 .world_size = 2,
                                 .chunk_bytes = CHUNK_BYTES_MIN,
                                 .id = {2, 0, 500},
                                 .parent = {1, 0, 400},
                                 .created_unix_ms = 1700000000000};

    memset(info.run.b, 0x11, 16);
    memset(info.daemon.b, 0x22, 16);
    return info;
}

/* What chunk i of a rank became: raw, every third one reused from an older
 * segment. */
static struct built_chunk make_chunk(uint32_t rank, uint32_t i,
                                     uint32_t raw_bytes)
{
    struct built_chunk c = {.file_name =
                                i % 3 == 2 ? "seg/000001" : "seg/000002",
                            .offset = (uint64_t)(i + 1) << 20,
                            .number = i,
                            .raw_bytes = raw_bytes,
                            .payload_bytes = raw_bytes,
                            .codec_param = 4,
                            .is_reused = i % 3 == 2};

    memset(c.segment.b, (int)(0x40 + rank * 4 + i % 3), 16);
    memset(c.segment_store.b, 0x33, 16);
    memset(c.file_store.b, 0x33, 16);
    c.file_segment = c.segment;
    c.content = hash_128(&c, 32);
    c.stored_digest = chunk_stored_digest(&c.segment, i, raw_bytes, &c.content);
    return c;
}

int small_add_rank(struct manifest_builder *b, uint32_t rank,
                   const struct entry *entries, size_t count, struct err *err)
{
    struct built_rank r = {.rank = rank,
                           .coordinate = {rank},
                           .entries = entries,
                           .entry_count = count};
    struct built_chunk *chunks;
    struct writelist list;
    int rc;

    assert_int_equal(writelist_build(entries, count, CHUNK_BYTES_MIN, &list),
                     0);
    chunks = calloc(list.chunk_count + 1, sizeof *chunks);
    for (uint32_t i = 0; i < list.chunk_count; i++)
        chunks[i] = make_chunk(rank, i, list.chunk[i].raw_bytes);
    memset(r.daemon.b, (int)rank, 16);
    r.list = &list;
    r.chunks = chunks;
    rc = manifest_add_rank(b, &r, err);
    free(chunks);
    writelist_free(&list);
    return rc;
}

/* The entries of rank 0 or 1 of the small job: halves of a matrix, a fused
 * weight in two boxes, a flat cut, a replicated scalar, an empty tensor, and
 * a reserved one. */
static size_t make_entries(uint32_t rank, struct entry out[8],
                           struct box box[8])
{
    uint64_t half = rank;
    size_t n = 0;

    memset(box, 0, 8 * sizeof *box);
    box[0] = (struct box){{half * 256, 0}, {256, 300}};
    out[n++] = (struct entry){
        "w.big", {DTYPE_F32, 2, {500, 300}}, {box, 1, false, 0, 0}, 0, 1};
    box[1] = (struct box){{half * 4, 0}, {4, 8}};
    box[2] = (struct box){{8 + half * 4, 0}, {4, 8}};
    out[n++] = (struct entry){
        "fused", {DTYPE_BF16, 2, {16, 8}}, {box + 1, 2, false, 0, 0}, 0, 1};
    out[n++] = (struct entry){"adam.m",
                              {DTYPE_F32, 2, {4, 8}},
                              {NULL, 0, true, half * 13, 13 + half * 6},
                              0,
                              1};
    out[n++] = (struct entry){
        "step", {DTYPE_I64, 0, {0}}, {NULL, 0, false, 0, 0}, rank, 2};
    out[n++] = (struct entry){
        "none", {DTYPE_U8, 1, {0}}, {NULL, 0, false, 0, 0}, rank, 2};
    out[n++] =
        (struct entry){rank ? "\001extra/dp/1/rng" : "\001extra/dp/0/rng",
                       {DTYPE_U8, 1, {70000}},
                       {NULL, 0, false, 0, 0},
                       0,
                       1};
    return n;
}

static void add_values(struct manifest_builder *b, uint32_t rank)
{
    static const uint64_t seen = 4711;
    struct value v = {"seen", 4, VALUE_U64, 0, {0}, &seen, 8};
    struct err err;

    assert_int_equal(manifest_add_value(b, rank, &v, &err), 0);
    v = (struct value){"loader", 6, VALUE_STRING, 1, {rank}, "at 7", 4};
    assert_int_equal(manifest_add_value(b, rank, &v, &err), 0);
}

void small_make(uint32_t kind, const uint32_t *ranks, size_t count, void **data,
                size_t *bytes)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = small_info(kind);
    struct entry entries[8];
    struct box box[8];
    struct err err;

    for (size_t i = 0; i < count; i++) {
        size_t n = make_entries(ranks[i], entries, box);

        assert_int_equal(small_add_rank(b, ranks[i], entries, n, &err), 0);
        add_values(b, ranks[i]);
    }
    assert_int_equal(manifest_add_note(b, "host", "node7"), 0);
    assert_int_equal(manifest_add_note(b, "codecs", "raw"), 0);
    assert_int_equal(manifest_write(b, &info, &small_layout, data, bytes, &err),
                     0);
    manifest_builder_free(b);
}
