/*
 * fuzz_chunk.c - header pages, extents, and payloads to decode:
 *
 *     u8 0, u8 fit, 80 bytes of a chunk's header, payload
 *           fit 1: the digests in the header are made to fit the payload
 *     u8 1, first bytes of a segment's header page
 *     u8 2, u8 codec, u8 unit, u32 raw bytes (of at most RAW_MAX), payload
 *
 * A page that decodes is the one that its fields encode to. A payload that
 * decodes fills exactly its raw bytes, which encode to one that decodes to
 * them again.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/codec.h"

#include <stdlib.h>

#define HEADER_BYTES 80
#define STORED_AT    56
#define RAW_MAX      ((uint32_t)256 << 10)

static void again(uint32_t unit, const uint8_t *raw, size_t bytes)
{
    uint8_t *scratch = malloc(codec_scratch_bytes(bytes));
    uint8_t *payload = malloc(bytes), *back = malloc(bytes);
    size_t n = codec_encode(CODEC_PLANES_LZ4, unit, raw, bytes, payload, bytes,
                            scratch);

    if (n) {
        fuzz_check(n < bytes);
        fuzz_check(codec_decode(CODEC_PLANES_LZ4, unit, payload, n, back, bytes,
                                scratch) == 0);
        fuzz_check(memcmp(raw, back, bytes) == 0);
    }
    free(scratch);
    free(payload);
    free(back);
}

static void payload(uint32_t codec, uint32_t unit, uint32_t raw_bytes,
                    const uint8_t *data, size_t bytes)
{
    uint8_t *raw, *scratch;

    if (raw_bytes > RAW_MAX)
        return;
    fuzz_allocations(0); /* ours: what a slot or a buffer would be */
    raw = malloc(raw_bytes);
    scratch = malloc(codec_scratch_bytes(raw_bytes));
    if (codec_decode(codec, unit, data, bytes, raw, raw_bytes, scratch) == 0)
        again(unit, raw, raw_bytes);
    free(scratch);
    free(raw);
}

/* Digests over what there is, as a forger would. */
static void fit(uint8_t *header, const uint8_t *data, size_t bytes)
{
    struct digest digest = hash_128(data, bytes);
    struct id128 segment;

    memcpy(segment.b, header + 16, sizeof segment.b);
    put_u32(header + 40, (uint32_t)bytes);
    if (get_u32(header + 44) == CODEC_RAW) {
        put_u32(header + 36, (uint32_t)bytes);
        memcpy(header + 64, digest.b, sizeof digest.b);
    }
    put_u64(header + STORED_AT,
            chunk_stored_digest(&segment, get_u32(header + 32), (uint32_t)bytes,
                                &digest));
}

static void extent(const uint8_t *page, const uint8_t *data, size_t bytes)
{
    uint64_t extent_bytes = PAGE_BYTES + align_up(bytes, PAGE_BYTES);
    uint8_t *whole = calloc(1, extent_bytes), *same = malloc(PAGE_BYTES);
    struct chunk_header h;
    struct err err;

    memcpy(whole, page, PAGE_BYTES);
    memcpy(whole + PAGE_BYTES, data, bytes);
    if (chunk_header_decode(whole, &h, &err) == 0) {
        chunk_header_encode(&h, same);
        fuzz_check(memcmp(whole, same, PAGE_BYTES) == 0);
        if (chunk_check(whole, extent_bytes, &h, &err) == 0)
            payload(h.codec, h.codec_param, h.raw_bytes, whole + PAGE_BYTES,
                    h.payload_bytes);
    }
    free(same);
    free(whole);
}

static void chunk(struct rd *in, size_t bytes)
{
    bool is_fit = rd_u8(in) & 1;
    uint8_t header[HEADER_BYTES] = {0}, *data, *page;
    size_t data_bytes, header_bytes;

    data = fuzz_exact(in, sizeof header, &header_bytes);
    if (header_bytes)
        memcpy(header, data, header_bytes);
    free(data);
    data = fuzz_exact(in, bytes, &data_bytes);
    if (is_fit && data_bytes)
        fit(header, data, data_bytes);
    page = forge_page(header, sizeof header);
    if (data_bytes)
        extent(page, data, data_bytes);
    free(page);
    free(data);
}

static void segment(struct rd *in, size_t bytes)
{
    size_t data_bytes;
    uint8_t *data = fuzz_exact(in, bytes, &data_bytes);
    uint8_t *page = forge_page(data, data_bytes), *same = malloc(PAGE_BYTES);
    struct segment_header h;
    struct err err;

    if (segment_header_decode(page, &h, &err) == 0) {
        segment_header_encode(&h, same);
        fuzz_check(memcmp(page, same, PAGE_BYTES) == 0);
    }
    free(same);
    free(page);
    free(data);
}

static void coded(struct rd *in, size_t bytes)
{
    uint32_t codec = rd_u8(in), unit = rd_u8(in), raw_bytes = rd_u32(in);
    size_t data_bytes;
    uint8_t *data = fuzz_exact(in, bytes, &data_bytes);

    payload(codec, unit, raw_bytes, data, data_bytes);
    free(data);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    switch (rd_u8(in)) {
    case 0:
        chunk(in, bytes);
        break;
    case 1:
        segment(in, bytes);
        break;
    default:
        coded(in, bytes);
    }
}
