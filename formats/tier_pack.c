/*
 * tier_pack.c - chunks that are raw in the first tier and encoded in the
 * remote one; see tier.h.
 */
#include "formats/codec.h"
#include "formats/manifest_media.h"
#include "formats/tier.h"

#include <errno.h>
#include <stdlib.h>

#define UNIT_SIZES 4 /* 1, 2, 4, 8 */

/* Of the unit sizes with most bytes the smallest, as in a write list. */
static uint8_t main_unit(const uint32_t sum[UNIT_SIZES])
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < UNIT_SIZES; i++)
        if (sum[i] > sum[best])
            best = i;
    return (uint8_t)(1u << best);
}

int tier_units(const struct manifest *m, uint8_t *unit)
{
    uint32_t(*sum)[UNIT_SIZES] = calloc(m->chunk_count + 1, sizeof *sum);

    if (!sum)
        return -ENOMEM;
    for (uint64_t i = 0; i < m->piece_count; i++) {
        const struct mf_piece *p = &m->piece[i];
        uint32_t bytes =
            mf_unit_bytes(m->tensor[m->region[p->region].tensor].dtype);

        sum[p->chunk][__builtin_ctz(bytes)] += p->bytes;
    }
    for (uint64_t i = 0; i < m->chunk_count; i++)
        unit[i] = main_unit(sum[i]);
    free(sum);
    return 0;
}

/* Header and padding around a payload that lies at extent + PAGE_BYTES. */
static void finish_extent(struct chunk_header *h, uint8_t *extent)
{
    uint64_t bytes = chunk_extent_bytes(h->payload_bytes);
    struct digest payload = hash_128(extent + PAGE_BYTES, h->payload_bytes);

    h->stored_digest =
        chunk_stored_digest(&h->segment, h->number, h->payload_bytes, &payload);
    chunk_header_encode(h, extent);
    memset(extent + PAGE_BYTES + h->payload_bytes, 0,
           bytes - PAGE_BYTES - h->payload_bytes);
}

uint64_t tier_pack(const struct manifest *m, uint64_t chunk, uint32_t unit,
                   const void *extent, void *to, void *spare)
{
    const uint8_t *raw = (const uint8_t *)extent + PAGE_BYTES;
    uint8_t *payload = spare, *scratch = payload + CHUNK_RAW_MAX;
    struct chunk_header h;
    size_t bytes;

    manifest_chunk_header(m, chunk, &h);
    if (h.codec != CODEC_RAW || h.raw_bytes <= PAGE_BYTES)
        return 0;
    bytes =
        codec_encode(CODEC_PLANES_LZ4, unit, raw, h.raw_bytes, payload,
                     align_up(h.raw_bytes, PAGE_BYTES) - PAGE_BYTES, scratch);
    if (bytes == 0)
        return 0;
    h.codec = CODEC_PLANES_LZ4;
    h.codec_param = unit;
    h.payload_bytes = (uint32_t)bytes;
    memcpy((uint8_t *)to + PAGE_BYTES, payload, bytes);
    finish_extent(&h, to);
    return chunk_extent_bytes(h.payload_bytes);
}

/* To raw bytes at `raw`, which are what they should be. */
static int decode(const struct chunk_header *h, const uint8_t *payload,
                  uint8_t *raw, void *scratch, struct err *err)
{
    int rc = codec_decode(h->codec, h->codec_param, payload, h->payload_bytes,
                          raw, h->raw_bytes, scratch);
    struct digest content;

    if (rc)
        return err_set(err, rc, "its payload does not decode");
    content = hash_128(raw, h->raw_bytes);
    return digest_equal(&content, &h->content)
               ? 0
               : err_set(err, -CKPT_ECORRUPT,
                         "decoded bytes do not match their digest");
}

int tier_row(const struct manifest *m, uint64_t chunk, const void *page,
             struct mf_location *row, struct err *err)
{
    const struct mf_location *of = &m->location[chunk];
    struct chunk_header is;
    int rc = chunk_header_decode(page, &is, err);

    if (rc)
        return rc;
    if (is.codec == CODEC_RAW || of->codec != CODEC_RAW) {
        is.codec = of->codec;
        is.codec_param = of->codec_param;
        is.payload_bytes = of->payload_bytes;
        is.stored_digest = of->stored_digest;
    }
    row->codec = is.codec;
    row->codec_param = is.codec_param;
    row->payload_bytes = is.payload_bytes;
    row->stored_digest = is.stored_digest;
    return 0;
}

/* What the header of the chunk says where it has this row. */
static void header_of_row(const struct manifest *m, uint64_t chunk,
                          const struct mf_location *row,
                          struct chunk_header *out)
{
    manifest_chunk_header(m, chunk, out);
    out->codec = row->codec;
    out->codec_param = row->codec_param;
    out->payload_bytes = row->payload_bytes;
    out->stored_digest = row->stored_digest;
}

/* NOLINTNEXTLINE(readability-function-size): bytes with their count */
int64_t tier_adopt(const struct manifest *m, uint64_t chunk, const void *bytes,
                   uint64_t byte_count, void *spare, struct mf_location *row,
                   struct err *err)
{
    const uint8_t *payload = (const uint8_t *)bytes + PAGE_BYTES;
    uint8_t *raw = spare;
    struct chunk_header want;
    uint64_t extent;
    int rc;

    if (byte_count < PAGE_BYTES)
        return -ENODATA;
    rc = tier_row(m, chunk, bytes, row, err);
    if (rc)
        return rc;
    header_of_row(m, chunk, row, &want);
    extent = chunk_extent_bytes(want.payload_bytes);
    if (extent > byte_count)
        return -ENODATA;
    rc = chunk_check(bytes, extent, &want, err);
    if (rc == 0 && want.codec != m->location[chunk].codec)
        rc = decode(&want, payload, raw, raw + CHUNK_RAW_MAX, err);
    return rc ? rc : (int64_t)extent;
}

/* NOLINTNEXTLINE(readability-function-size): a chunk in both tables */
int tier_unpack(const struct manifest *tier, uint64_t at,
                const struct manifest *m, uint64_t chunk, void *extent,
                void *spare, struct err *err)
{
    uint8_t *payload = spare, *raw = (uint8_t *)extent + PAGE_BYTES;
    struct chunk_header is, want;
    int rc;

    manifest_chunk_header(tier, at, &is);
    rc = chunk_check(extent, chunk_extent_bytes(is.payload_bytes), &is, err);
    if (rc || !tier_is_packed(tier, at, m, chunk))
        return rc;
    memcpy(payload, raw, is.payload_bytes);
    rc = decode(&is, payload, raw, payload + CHUNK_RAW_MAX, err);
    if (rc)
        return rc;
    manifest_chunk_header(m, chunk, &want);
    finish_extent(&want, extent);
    if (want.stored_digest == m->location[chunk].stored_digest)
        return 0;
    return err_set(err, -CKPT_ECORRUPT, "chunk: stored digest mismatch");
}
