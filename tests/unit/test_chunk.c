/*
 * test_chunk.c - chunk extents and segment headers: what goes in comes out,
 * and no bit of either can change unseen.
 */
#include "formats/chunk.h"
#include "common/bytes.h"

#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#define PAYLOAD 5000

struct fixture {
    struct chunk_header header;
    uint64_t bytes;
    uint8_t extent[4 * 4096];
};

static void make_extent(struct fixture *f)
{
    uint8_t *payload = f->extent + PAGE_BYTES;

    *f = (struct fixture){0};
    for (uint32_t i = 0; i < PAYLOAD; i++)
        payload[i] = (uint8_t)(i * 7 + (i >> 8));
    f->header = (struct chunk_header){
        .segment.b = "0123456789abcdef",
        .number = 42,
        .raw_bytes = PAYLOAD,
        .payload_bytes = PAYLOAD,
        .codec = CODEC_RAW,
        .codec_param = 2,
        .rank = 3,
        .content = hash_128(payload, PAYLOAD),
    };
    f->header.stored_digest = chunk_stored_digest(&f->header.segment, 42,
                                                  PAYLOAD, &f->header.content);
    f->bytes = chunk_extent_bytes(PAYLOAD);
    chunk_header_encode(&f->header, f->extent);
}

static void header_survives_its_page(void **state)
{
    struct fixture f = {0};
    struct chunk_header got;
    struct err err;

    (void)state;
    make_extent(&f);
    assert_int_equal(chunk_header_decode(f.extent, &got, &err), 0);
    assert_memory_equal(&got.segment, &f.header.segment, 16);
    assert_int_equal(got.number, 42);
    assert_int_equal(got.raw_bytes, PAYLOAD);
    assert_int_equal(got.payload_bytes, PAYLOAD);
    assert_int_equal(got.codec, CODEC_RAW);
    assert_int_equal(got.codec_param, 2);
    assert_int_equal(got.rank, 3);
    assert_true(got.stored_digest == f.header.stored_digest);
    assert_true(digest_equal(&got.content, &f.header.content));
    assert_int_equal(chunk_check(f.extent, f.bytes, &f.header, &err), 0);
}

static void every_flipped_bit_of_an_extent_is_seen(void **state)
{
    struct fixture f = {0};
    struct err err;

    (void)state;
    make_extent(&f);
    for (uint64_t bit = 0; bit < f.bytes * 8; bit++) {
        f.extent[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (chunk_check(f.extent, f.bytes, &f.header, &err) != -CKPT_ECORRUPT)
            fail_msg("bit %lu of %lu passed", bit, f.bytes * 8);
        f.extent[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(chunk_check(f.extent, f.bytes, &f.header, &err), 0);
}

static void a_chunk_at_another_place_is_refused(void **state)
{
    struct fixture f = {0}, other;
    struct err err;

    (void)state;
    make_extent(&f);
    other = f;
    other.header.number = 43;
    other.header.stored_digest = chunk_stored_digest(
        &other.header.segment, 43, PAYLOAD, &other.header.content);
    chunk_header_encode(&other.header, other.extent);
    assert_int_equal(
        chunk_check(other.extent, other.bytes, &other.header, &err), 0);
    assert_int_equal(chunk_check(other.extent, f.bytes, &f.header, &err),
                     -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, "number"));
    other.header.segment.b[0] ^= 1;
    chunk_header_encode(&other.header, other.extent);
    assert_int_equal(chunk_check(other.extent, f.bytes, &f.header, &err),
                     -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, "segment"));
}

static void an_encoded_payload_is_bound_to_its_stored_digest(void **state)
{
    struct fixture f = {0};
    struct err err;

    (void)state;
    make_extent(&f);
    f.header.codec = CODEC_PLANES_LZ4;
    f.header.raw_bytes = PAYLOAD * 2;
    chunk_header_encode(&f.header, f.extent);
    assert_int_equal(chunk_check(f.extent, f.bytes, &f.header, &err), 0);
    f.extent[PAGE_BYTES + 17] ^= 4;
    assert_int_equal(chunk_check(f.extent, f.bytes, &f.header, &err),
                     -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, "stored digest"));
}

/* Puts a u32 into a header page and makes its digest right again. */
static void forge(uint8_t *page, size_t at, uint32_t value)
{
    struct digest digest;

    put_u32(page + at, value);
    digest = hash_128(page, 4080);
    memcpy(page + 4080, digest.b, 16);
}

static void forged_headers_are_refused_by_name(void **state)
{
    struct fixture f = {0};
    struct chunk_header got;
    struct err err;

    (void)state;
    make_extent(&f);
    forge(f.extent, 8, 2);
    assert_int_equal(chunk_header_decode(f.extent, &got, &err), -CKPT_EVERSION);
    assert_non_null(strstr(err.text, "version 2"));
    make_extent(&f);
    forge(f.extent, 12, 0x40);
    assert_int_equal(chunk_header_decode(f.extent, &got, &err), -CKPT_EVERSION);
    assert_non_null(strstr(err.text, "0x40"));
    for (size_t at = 36; at <= 48; at += 4) {
        make_extent(&f);
        forge(f.extent, at, UINT32_MAX);
        assert_int_equal(chunk_header_decode(f.extent, &got, &err),
                         -CKPT_ECORRUPT);
    }
    make_extent(&f);
    forge(f.extent, 36, 0);
    assert_int_equal(chunk_header_decode(f.extent, &got, &err), -CKPT_ECORRUPT);
    make_extent(&f);
    forge(f.extent, 4000, 1);
    assert_int_equal(chunk_header_decode(f.extent, &got, &err), -CKPT_ECORRUPT);
}

static void a_truncated_extent_is_refused(void **state)
{
    struct fixture f = {0};
    struct err err;

    (void)state;
    make_extent(&f);
    for (uint64_t bytes = 0; bytes < f.bytes; bytes += 512)
        assert_int_equal(chunk_check(f.extent, bytes, &f.header, &err),
                         -CKPT_ECORRUPT);
}

static void segment_header_survives_and_every_flip_is_seen(void **state)
{
    uint8_t page[4096];
    struct segment_header h = {.size_bytes = 1 << 30, .save = {1, 2, 3}}, got;
    struct err err;

    (void)state;
    memset(h.segment.b, 1, 16);
    memset(h.store.b, 2, 16);
    memset(h.home.b, 3, 16);
    memset(h.run.b, 4, 16);
    memcpy(h.home_path, "/data/home", 11);
    memcpy(h.run_name, "pretrain", 9);
    segment_header_encode(&h, page);
    assert_int_equal(segment_header_decode(page, &got, &err), 0);
    assert_memory_equal(&got, &h, sizeof h);
    for (size_t bit = 0; bit < sizeof page * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (segment_header_decode(page, &got, &err) != -CKPT_ECORRUPT)
            fail_msg("bit %zu passed", bit);
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_segment_text_without_an_end_is_refused(void **state)
{
    uint8_t page[4096];
    struct segment_header h = {.size_bytes = 4096}, got;
    struct err err;

    (void)state;
    segment_header_encode(&h, page);
    memset(page + 1128, 'x', 256);
    forge(page, 1128, 0x78787878);
    assert_int_equal(segment_header_decode(page, &got, &err), -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, "text"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_survives_its_page),
        cmocka_unit_test(every_flipped_bit_of_an_extent_is_seen),
        cmocka_unit_test(a_chunk_at_another_place_is_refused),
        cmocka_unit_test(an_encoded_payload_is_bound_to_its_stored_digest),
        cmocka_unit_test(forged_headers_are_refused_by_name),
        cmocka_unit_test(a_truncated_extent_is_refused),
        cmocka_unit_test(segment_header_survives_and_every_flip_is_seen),
        cmocka_unit_test(a_segment_text_without_an_end_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
