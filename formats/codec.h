/*
 * codec.h - lossless codecs of a chunk's raw bytes.
 *
 * Byte planes + lz4: unit bytes 2, 4 or 8 are transposed into planes (all first
 * bytes, all second bytes, ...; a tail shorter than a unit is kept as it is at
 * the end), then each plane is one lz4 block, or stored as it is where that is
 * not smaller. Layout in FORMAT.md. Every decoder is bounded by the sizes it is
 * given, whatever the bytes are.
 */
#ifndef FORMATS_CODEC_H
#define FORMATS_CODEC_H

#include "common/err.h"
#include "formats/chunk.h"

/* Room that codec_encode may need in `scratch` and codec_decode likewise. */
static inline size_t codec_scratch_bytes(size_t raw_bytes)
{
    return raw_bytes + 64;
}

/* Encode; returns the payload bytes written to dst, or 0 when the result would
 * not be smaller than `capacity` allows (keep raw then). */
size_t codec_encode(enum codec codec, uint32_t unit_bytes, const void *raw,
                    size_t raw_bytes, void *dst, size_t capacity,
                    void *scratch);

/* Decode exactly raw_bytes; -CKPT_ECORRUPT otherwise. */
int codec_decode(uint32_t codec, uint32_t unit_bytes, const void *payload,
                 size_t payload_bytes, void *raw, size_t raw_bytes,
                 void *scratch) MUST_USE;

/* Fraction that a 64 KiB sample from the middle shrinks to (1.0: does not). */
double codec_sample(enum codec codec, uint32_t unit_bytes, const void *raw,
                    size_t raw_bytes, void *scratch);

/* Whether a chunk that shrinks to `fraction` gets there sooner encoded, given
 * what encoding costs (bytes/s over all workers) and what the tier takes. */
bool codec_pays(double fraction, double encode_bytes_s, double tier_bytes_s);

#endif
