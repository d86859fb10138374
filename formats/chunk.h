/*
 * chunk.h - a chunk as it lies in a segment, and the segment's own header.
 *
 * Segment: one page of header, then chunks end to end, each a page of header
 * and the stored payload padded with zeros to a whole page. In the arena a
 * slot has the same shape, so that a raw chunk goes out in one write.
 *
 * The stored digest binds the payload to its place: XXH3-64 over (birth
 * segment id, chunk number, payload bytes, XXH3-128 of the payload), so that
 * misplaced, swapped and stale blocks do not pass. The header page carries a
 * digest of itself. Padding must be zero. Thus every byte of the extent is
 * covered, and a raw chunk is hashed once: payload digest = content digest.
 *
 * Nothing here allocates, blocks, or keeps a pointer.
 */
#ifndef FORMATS_CHUNK_H
#define FORMATS_CHUNK_H

#include "common/err.h"
#include "common/hash.h"
#include "common/id.h"

enum codec {
    CODEC_RAW = 0,
    CODEC_PLANES_LZ4 = 1,
    CODEC_LAST = CODEC_PLANES_LZ4,
};

struct chunk_header {
    struct id128 segment; /* birth segment: copies keep it */
    uint32_t number;      /* in the birth segment */
    uint32_t raw_bytes;
    uint32_t payload_bytes;
    uint32_t codec;
    uint32_t codec_param; /* planes: unit bytes 1, 2, 4 or 8 */
    uint32_t rank;        /* who wrote it, for salvage */
    uint64_t stored_digest;
    struct digest content;
};

/* Bytes of the extent: header page + payload, padded. */
static inline uint64_t chunk_extent_bytes(uint32_t payload_bytes)
{
    return PAGE_BYTES + align_up(payload_bytes, PAGE_BYTES);
}

/* The largest chunk that any reader must take. */
#define CHUNK_RAW_MAX ((uint32_t)4 << 20)

/* Whether lengths and codec go together: raw bytes in 1..CHUNK_RAW_MAX, a raw
 * chunk stored as long as it is (codec_param 0 or a unit), an encoded one
 * shorter and with a unit of 1, 2, 4 or 8 bytes. */
bool chunk_sizes_are_good(uint32_t raw_bytes, uint32_t payload_bytes,
                          uint32_t codec, uint32_t codec_param);

/* From the payload's XXH3-128. */
uint64_t chunk_stored_digest(const struct id128 *segment, uint32_t number,
                             uint32_t payload_bytes,
                             const struct digest *payload);

/* Fill the header page in front of a payload (its digest included). */
void chunk_header_encode(const struct chunk_header *h, void *page);

/* Check magic, version, digest of the page and bounds. -CKPT_ECORRUPT or
 * -CKPT_EVERSION with words. */
int chunk_header_decode(const void *page, struct chunk_header *out,
                        struct err *err) MUST_USE;

/*
 * A whole extent as read from media, against what the manifest expects (the
 * fields of `want`): header equal, padding zero, stored digest right. On
 * success the payload is at extent + PAGE_BYTES. It is not decoded: for a
 * codec other than raw, decode (codec.h) and compare `want->content` then.
 * -CKPT_ECORRUPT with words that say which check failed.
 */
int chunk_check(const void *extent, uint64_t extent_bytes,
                const struct chunk_header *want, struct err *err) MUST_USE;

/* The first page of every segment file. */
struct segment_header {
    struct id128 segment; /* fresh for each incarnation */
    struct id128 store;   /* the local store's uuid */
    struct id128 home;    /* the home's uuid */
    struct id128 run;
    uint64_t size_bytes; /* of the file when this incarnation began */
    struct save_id save; /* for which it was taken */
    char home_path[1024];
    char run_name[256];
};

void segment_header_encode(const struct segment_header *h, void *page);
int segment_header_decode(const void *page, struct segment_header *out,
                          struct err *err) MUST_USE;

#endif
