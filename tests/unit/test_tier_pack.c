/*
 * Chunks that are raw in the first tier and encoded in the remote one: what is
 * packed comes back byte for byte, and no bit of it may be another.
 */
#include "formats/tier.h"
#include "tests/lib/small_manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXTENT_MAX ((size_t)PAGE_BYTES + CHUNK_BYTES_MIN)
#define CHUNKS_MAX 64

/* Chunk 0 is as long as chunks are there, and its bytes are known. */
struct world {
    void *data;
    struct manifest m;
    struct mf_chunk chunk[CHUNKS_MAX];
    struct mf_location location[CHUNKS_MAX];
    uint8_t *extent; /* of chunk 0, as m has it */
    uint8_t *packed; /* room for one */
    void *spare;
};

/* Bytes that compress, or not, as chunk 0. */
static void fill(struct world *w, bool is_dull)
{
    struct mf_chunk *c = &w->chunk[0];
    uint8_t *raw = w->extent + PAGE_BYTES;
    struct chunk_header h;
    uint64_t x = 88172645463325252u;

    for (uint32_t i = 0; i < c->raw_bytes; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        raw[i] = is_dull ? (uint8_t)(i % 4 == 3 ? 0x3f : i / 4096)
                         : (uint8_t)(x >> 32);
    }
    c->content = hash_128(raw, c->raw_bytes);
    w->location[0].stored_digest =
        chunk_stored_digest(&w->m.segment[c->segment].segment, c->number,
                            c->raw_bytes, &c->content);
    manifest_chunk_header(&w->m, 0, &h);
    chunk_header_encode(&h, w->extent);
}

static int begin(void **state)
{
    static const uint32_t ranks[] = {0, 1};
    static struct world w;
    struct err err;
    size_t bytes;

    small_make(MANIFEST_CHECKPOINT, ranks, 2, &w.data, &bytes);
    assert_int_equal(manifest_open(w.data, bytes, &w.m, &err), 0);
    assert_true(w.m.chunk_count <= CHUNKS_MAX);
    memcpy(w.chunk, w.m.chunk, w.m.chunk_count * sizeof w.chunk[0]);
    memcpy(w.location, w.m.location, w.m.chunk_count * sizeof w.location[0]);
    w.m.chunk = w.chunk;
    w.m.location = w.location;
    assert_int_equal(w.chunk[0].raw_bytes, CHUNK_BYTES_MIN);
    w.extent = aligned_alloc(PAGE_BYTES, EXTENT_MAX);
    w.packed = aligned_alloc(PAGE_BYTES, 2 * EXTENT_MAX);
    w.spare = malloc(TIER_SPARE_BYTES);
    assert_true(w.extent && w.packed && w.spare);
    fill(&w, true);
    *state = &w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;

    free(w->data);
    free(w->extent);
    free(w->packed);
    free(w->spare);
    return 0;
}

static uint64_t pack(struct world *w)
{
    uint64_t bytes = tier_pack(&w->m, 0, 4, w->extent, w->packed, w->spare);

    assert_true(bytes > 0 && bytes < EXTENT_MAX && bytes % PAGE_BYTES == 0);
    return bytes;
}

/* The table of rank 0's daemon, with that row for chunk 0; free(). */
static void *table(struct world *w, const struct mf_location *row,
                   struct manifest *out)
{
    struct mf_location rows[CHUNKS_MAX];
    struct manifest planned;
    void *data, *again;
    struct err err;
    size_t bytes;

    assert_int_equal(tier_build(&w->m, &w->m.rank[0].daemon, 3 * EXTENT_MAX,
                                &data, &bytes, &err),
                     0);
    assert_int_equal(manifest_open(data, bytes, &planned, &err), 0);
    assert_false(planned.info.is_repacked);
    memcpy(rows, planned.location, planned.chunk_count * sizeof rows[0]);
    rows[0].codec = row->codec;
    rows[0].codec_param = row->codec_param;
    rows[0].payload_bytes = row->payload_bytes;
    rows[0].stored_digest = row->stored_digest;
    for (uint64_t i = 1;
         i < planned.chunk_count && rows[i].file == rows[0].file; i++)
        rows[i].offset =
            rows[i - 1].offset + chunk_extent_bytes(rows[i - 1].payload_bytes);
    assert_int_equal(tier_rebuild(&planned, rows, NULL, &again, &bytes, &err),
                     0);
    assert_int_equal(manifest_open(again, bytes, out, &err), 0);
    assert_int_equal(out->chunk_count, planned.chunk_count);
    assert_int_equal(out->file_count, planned.file_count);
    for (uint64_t i = 0; i < out->chunk_count; i++)
        assert_memory_equal(&out->location[i], &rows[i], sizeof rows[i]);
    for (uint64_t i = 0; i < out->file_count; i++) {
        assert_true(id_equal(&out->file[i].segment, &planned.file[i].segment));
        assert_memory_equal(out->blob + out->file[i].name,
                            planned.blob + planned.file[i].name,
                            planned.file[i].name_bytes);
    }
    free(data);
    return again;
}

static struct mf_location adopt(struct world *w, uint64_t bytes)
{
    struct mf_location row = {.file = 7, .offset = 8};
    struct err err;

    assert_int_equal(
        tier_adopt(&w->m, 0, w->packed, bytes, w->spare, &row, &err), bytes);
    assert_int_equal(row.file, 7);
    assert_int_equal(row.offset, 8);
    return row;
}

static void what_was_packed_comes_back(void **state)
{
    struct world *w = *state;
    uint64_t bytes = pack(w);
    struct mf_location row = adopt(w, bytes);
    struct manifest tier;
    void *data = table(w, &row, &tier);
    struct err err;

    assert_int_equal(row.codec, CODEC_PLANES_LZ4);
    assert_int_equal(row.codec_param, 4);
    assert_int_equal(chunk_extent_bytes(row.payload_bytes), bytes);
    assert_true(tier.info.is_repacked);
    assert_int_equal(tier_check(&tier, &w->m, &err), 0);
    assert_true(tier_is_packed(&tier, 0, &w->m, 0));
    assert_false(tier_is_packed(&tier, 1, &w->m, 1));
    memset(w->packed + bytes, 0xee, EXTENT_MAX - bytes);
    assert_int_equal(tier_unpack(&tier, 0, &w->m, 0, w->packed, w->spare, &err),
                     0);
    assert_memory_equal(w->packed, w->extent, EXTENT_MAX);
    free(data);
}

/* Onto itself, and to a place that it half covers. */
static void it_may_move_down(void **state)
{
    struct world *w = *state;
    uint64_t bytes = pack(w);
    uint8_t *want = malloc(bytes);

    assert_non_null(want);
    memcpy(want, w->packed, bytes);
    for (size_t by = 0; by <= 2 * (size_t)PAGE_BYTES; by += PAGE_BYTES) {
        memcpy(w->packed + by, w->extent, EXTENT_MAX);
        assert_int_equal(
            tier_pack(&w->m, 0, 4, w->packed + by, w->packed, w->spare), bytes);
        assert_memory_equal(w->packed, want, bytes);
    }
    free(want);
}

static void what_does_not_get_smaller_is_left(void **state)
{
    struct world *w = *state;
    struct mf_location row = {0};
    struct err err;

    fill(w, false);
    assert_int_equal(tier_pack(&w->m, 0, 4, w->extent, w->packed, w->spare), 0);
    assert_int_equal(
        tier_adopt(&w->m, 0, w->extent, EXTENT_MAX, w->spare, &row, &err),
        EXTENT_MAX);
    assert_int_equal(row.codec, CODEC_RAW);
    assert_int_equal(row.stored_digest, w->location[0].stored_digest);
    /* Nor what is encoded already. */
    fill(w, true);
    w->location[0].codec = CODEC_PLANES_LZ4;
    assert_int_equal(tier_pack(&w->m, 0, 4, w->extent, w->packed, w->spare), 0);
}

static void refused(struct world *w, const struct manifest *tier,
                    uint64_t bytes)
{
    struct mf_location row = {0};
    struct err err;
    int64_t rc = tier_adopt(&w->m, 0, w->packed, bytes, w->spare, &row, &err);

    assert_true(rc == -CKPT_ECORRUPT || rc == -CKPT_EVERSION || rc == -ENODATA);
    if (!tier)
        return;
    memcpy(w->packed + EXTENT_MAX, w->packed, bytes);
    rc = tier_unpack(tier, 0, &w->m, 0, w->packed + EXTENT_MAX, w->spare, &err);
    assert_true(rc == -CKPT_ECORRUPT || rc == -CKPT_EVERSION);
}

static void no_bit_of_it_may_be_another(void **state)
{
    struct world *w = *state;
    uint64_t bytes = pack(w);
    struct mf_location row = adopt(w, bytes);
    struct manifest tier;
    void *data = table(w, &row, &tier);

    for (uint64_t i = 0; i < bytes; i++) {
        w->packed[i] ^= (uint8_t)(1u << i % 8);
        refused(w, &tier, bytes);
        w->packed[i] ^= (uint8_t)(1u << i % 8);
    }
    (void)adopt(w, bytes);
    free(data);
}

/* Whole and with good digests, but of another chunk; or of one that says of
 * itself what is not so. */
static void another_chunk_is_refused(void **state)
{
    struct world *w = *state;
    uint64_t bytes = pack(w);
    struct digest content = w->chunk[0].content;

    w->chunk[0].number++;
    refused(w, NULL, bytes);
    w->chunk[0].number--;
    w->chunk[0].raw_bytes--;
    refused(w, NULL, bytes);
    w->chunk[0].raw_bytes++;
    w->chunk[0].content.b[0] ^= 1;
    refused(w, NULL, bytes);
    /* Its header agrees with the manifest, what it decodes to with neither. */
    assert_int_equal(tier_pack(&w->m, 0, 4, w->extent, w->packed, w->spare),
                     bytes);
    refused(w, NULL, bytes);
    w->chunk[0].content = content;
    /* The manifest has it encoded otherwise. */
    w->location[0].codec = CODEC_PLANES_LZ4;
    w->location[0].codec_param = 2;
    w->location[0].payload_bytes = 100;
    refused(w, NULL, bytes);
}

static void one_that_goes_on_is_not_judged(void **state)
{
    struct world *w = *state;
    uint64_t bytes = pack(w);
    struct mf_location row;
    struct err err;

    for (uint64_t n = 0; n < bytes; n += 512)
        assert_int_equal(
            tier_adopt(&w->m, 0, w->packed, n, w->spare, &row, &err), -ENODATA);
}

/* A table of raw chunks alone says so, and one that does may have no other. */
static void a_table_says_whether_it_is_packed(void **state)
{
    struct world *w = *state;
    struct mf_location row = adopt(w, pack(w));
    struct manifest tier;
    void *data = table(w, &w->location[0], &tier);
    struct err err;

    assert_false(tier.info.is_repacked);
    assert_int_equal(tier_check(&tier, &w->m, &err), 0);
    free(data);
    data = table(w, &row, &tier);
    tier.info.is_repacked = false;
    assert_int_equal(tier_check(&tier, &w->m, &err), -CKPT_ECORRUPT);
    tier.info.is_repacked = true;
    w->location[0].codec = CODEC_PLANES_LZ4; /* the manifest has it so too */
    assert_int_equal(tier_check(&tier, &w->m, &err), -CKPT_ECORRUPT);
    free(data);
}

/* Chunk 0 is of a tensor of f32, but for what is small. */
static void units_are_those_of_most_bytes(void **state)
{
    struct world *w = *state;
    uint8_t unit[CHUNKS_MAX];
    bool is_other = false;

    assert_int_equal(tier_units(&w->m, unit), 0);
    assert_int_equal(unit[0], 4);
    for (uint64_t i = 0; i < w->m.chunk_count; i++) {
        assert_true(unit[i] == 1 || unit[i] == 2 || unit[i] == 4 ||
                    unit[i] == 8);
        is_other |= unit[i] == 1; /* 70,000 bytes of u8 */
    }
    assert_true(is_other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_packed_comes_back, begin, end),
        cmocka_unit_test_setup_teardown(it_may_move_down, begin, end),
        cmocka_unit_test_setup_teardown(what_does_not_get_smaller_is_left,
                                        begin, end),
        cmocka_unit_test_setup_teardown(no_bit_of_it_may_be_another, begin,
                                        end),
        cmocka_unit_test_setup_teardown(another_chunk_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(one_that_goes_on_is_not_judged, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_table_says_whether_it_is_packed,
                                        begin, end),
        cmocka_unit_test_setup_teardown(units_are_those_of_most_bytes, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
