/*
 * codec.c - byte planes + lz4; see codec.h, layout in FORMAT.md.
 *
 *   payload := u32 stored bytes of each plane | planes | tail
 *
 * Transposing works on 16 units at a time in vectors: one stage splits pairs
 * of vectors into their even and odd bytes, and log2(unit) stages leave vector
 * i with byte i of every unit. The inverse runs the stages backwards. What is
 * left of a plane goes byte by byte.
 *
 * Mantissas do not compress; three small samples of a plane tell, so that lz4
 * runs only over planes where it is of use. A plane that it does not shrink is
 * stored as it is.
 */
#include "formats/codec.h"

#include "common/bytes.h"

#include <errno.h>
#include <lz4.h>

#define PLANES_MAX   8
#define LANE         16 /* units transposed at once */
#define SAMPLE_BYTES 1024
/* Less than 3 % sooner is not worth a decode at every read. */
#define GAIN_MIN    0.97
#define PROBE_BYTES ((size_t)64 << 10)

typedef uint8_t lane __attribute__((vector_size(LANE)));

static inline lane lane_load(const uint8_t *p)
{
    lane v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void lane_store(uint8_t *p, lane v)
{
    memcpy(p, &v, sizeof v);
}

static inline lane lane_even(lane a, lane b)
{
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
                                   22, 24, 26, 28, 30);
}

static inline lane lane_odd(lane a, lane b)
{
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21,
                                   23, 25, 27, 29, 31);
}

static inline lane lane_low(lane a, lane b)
{
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                   21, 6, 22, 7, 23);
}

static inline lane lane_high(lane a, lane b)
{
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                   13, 29, 14, 30, 15, 31);
}

/* 16 units of `unit` bytes to one lane per plane. `unit` is a constant where
 * this is called, so that the loops unroll and v[] stays in registers. */
static inline __attribute__((always_inline)) void
lanes_split(const uint8_t *from, uint8_t *to, size_t plane, const size_t unit)
{
    lane v[PLANES_MAX], w[PLANES_MAX] = {{0}};

    for (size_t i = 0; i < unit; i++)
        v[i] = lane_load(from + i * LANE);
    for (size_t stage = 1; stage < unit; stage *= 2) {
        for (size_t i = 0; i < unit / 2; i++) {
            w[i] = lane_even(v[2 * i], v[2 * i + 1]);
            w[i + unit / 2] = lane_odd(v[2 * i], v[2 * i + 1]);
        }
        for (size_t i = 0; i < unit; i++)
            v[i] = w[i];
    }
    for (size_t i = 0; i < unit; i++)
        lane_store(to + i * plane, v[i]);
}

static inline __attribute__((always_inline)) void
lanes_join(const uint8_t *const from[], size_t at, uint8_t *to,
           const size_t unit)
{
    lane v[PLANES_MAX], w[PLANES_MAX] = {{0}};

    for (size_t i = 0; i < unit; i++)
        v[i] = lane_load(from[i] + at);
    for (size_t stage = 1; stage < unit; stage *= 2) {
        for (size_t i = 0; i < unit / 2; i++) {
            w[2 * i] = lane_low(v[i], v[i + unit / 2]);
            w[2 * i + 1] = lane_high(v[i], v[i + unit / 2]);
        }
        for (size_t i = 0; i < unit; i++)
            v[i] = w[i];
    }
    for (size_t i = 0; i < unit; i++)
        lane_store(to + i * LANE, v[i]);
}

/* Planes of `plane` bytes each, end to end at `to`. */
static void planes_split(const uint8_t *from, uint8_t *to, size_t plane,
                         uint32_t unit)
{
    size_t i = 0;

    switch (unit) {
    case 2:
        for (; i + LANE <= plane; i += LANE)
            lanes_split(from + i * 2, to + i, plane, 2);
        break;
    case 4:
        for (; i + LANE <= plane; i += LANE)
            lanes_split(from + i * 4, to + i, plane, 4);
        break;
    case 8:
        for (; i + LANE <= plane; i += LANE)
            lanes_split(from + i * 8, to + i, plane, 8);
        break;
    default:
        break;
    }
    for (; i < plane; i++)
        for (uint32_t k = 0; k < unit; k++)
            to[k * plane + i] = from[i * unit + k];
}

static void planes_join(const uint8_t *const from[], uint8_t *to, size_t plane,
                        uint32_t unit)
{
    size_t i = 0;

    switch (unit) {
    case 2:
        for (; i + LANE <= plane; i += LANE)
            lanes_join(from, i, to + i * 2, 2);
        break;
    case 4:
        for (; i + LANE <= plane; i += LANE)
            lanes_join(from, i, to + i * 4, 4);
        break;
    case 8:
        for (; i + LANE <= plane; i += LANE)
            lanes_join(from, i, to + i * 8, 8);
        break;
    default:
        break;
    }
    for (; i < plane; i++)
        for (uint32_t k = 0; k < unit; k++)
            to[i * unit + k] = from[k][i];
}

static bool unit_is_good(uint32_t unit)
{
    return unit == 1 || unit == 2 || unit == 4 || unit == 8;
}

/* Does lz4 take at least 1/32 off any of three samples of the plane? */
static bool plane_shrinks(const uint8_t *plane, size_t bytes)
{
    char sink[SAMPLE_BYTES];
    int limit = SAMPLE_BYTES - SAMPLE_BYTES / 32;

    if (bytes < 4 * (size_t)SAMPLE_BYTES)
        return true;
    for (size_t k = 0; k < 3; k++) {
        const uint8_t *at = plane + (bytes - SAMPLE_BYTES) / 2 * k;

        if (LZ4_compress_default((const char *)at, sink, SAMPLE_BYTES, limit))
            return true;
    }
    return false;
}

/* One plane at the end of dst; the bytes used, 0 when there is no room. */
static size_t plane_encode(const uint8_t *plane, size_t bytes, uint8_t *dst,
                           size_t room)
{
    size_t limit = min_u64(room, bytes - 1);
    int used = 0;

    if (limit && plane_shrinks(plane, bytes))
        used = LZ4_compress_default((const char *)plane, (char *)dst,
                                    (int)bytes, (int)limit);
    if (used > 0)
        return (size_t)used;
    if (bytes > room)
        return 0;
    memcpy(dst, plane, bytes);
    return bytes;
}

/* NOLINTNEXTLINE(readability-function-size): each buffer with its size */
size_t codec_encode(enum codec codec, uint32_t unit_bytes, const void *raw,
                    size_t raw_bytes, void *dst, size_t capacity, void *scratch)
{
    size_t plane = unit_is_good(unit_bytes) ? raw_bytes / unit_bytes : 0;
    size_t tail = raw_bytes - plane * unit_bytes;
    size_t used = (size_t)unit_bytes * 4, end;
    const uint8_t *from = raw, *planes = raw;
    uint8_t *to = dst;

    if (codec != CODEC_PLANES_LZ4 || plane == 0 || raw_bytes > CHUNK_RAW_MAX)
        return 0;
    end = min_u64(capacity, raw_bytes - 1);
    if (used + tail > end)
        return 0;
    if (unit_bytes > 1) {
        planes_split(from, scratch, plane, unit_bytes);
        planes = scratch;
    }
    for (uint32_t k = 0; k < unit_bytes; k++) {
        size_t n = plane_encode(planes + k * plane, plane, to + used,
                                end - tail - used);

        if (n == 0)
            return 0;
        put_u32(to + (size_t)k * 4, (uint32_t)n);
        used += n;
    }
    memcpy(to + used, from + plane * unit_bytes, tail);
    return used + tail;
}

/* Where each plane is: in the payload if stored as it is, else unpacked to
 * scratch. */
static int planes_decode(struct rd *r, uint32_t unit, size_t plane,
                         uint8_t *scratch, const uint8_t *planes[])
{
    const uint8_t *lengths = rd_bytes(r, (uint64_t)unit * 4);

    if (!lengths)
        return -CKPT_ECORRUPT;
    for (uint32_t k = 0; k < unit; k++) {
        uint32_t stored = get_u32(lengths + (size_t)k * 4);
        const uint8_t *from = rd_bytes(r, stored);

        if (!from || stored == 0 || stored > plane)
            return -CKPT_ECORRUPT;
        planes[k] = from;
        if (stored == plane)
            continue;
        planes[k] = scratch + k * plane;
        if (LZ4_decompress_safe((const char *)from, (char *)scratch + k * plane,
                                (int)stored, (int)plane) != (int)plane)
            return -CKPT_ECORRUPT;
    }
    return 0;
}

static int planes_lz4_decode(uint32_t unit, const void *payload,
                             size_t payload_bytes, uint8_t *raw,
                             size_t raw_bytes, void *scratch)
{
    struct rd r = rd_init(payload, payload_bytes);
    const uint8_t *planes[PLANES_MAX], *tail;
    size_t plane;

    if (!unit_is_good(unit) || raw_bytes > CHUNK_RAW_MAX)
        return -CKPT_ECORRUPT;
    plane = raw_bytes / unit;
    if (plane == 0 || planes_decode(&r, unit, plane, scratch, planes))
        return -CKPT_ECORRUPT;
    tail = rd_bytes(&r, raw_bytes - plane * unit);
    if (!tail || !rd_done(&r))
        return -CKPT_ECORRUPT;
    planes_join(planes, raw, plane, unit);
    memcpy(raw + plane * unit, tail, raw_bytes - plane * unit);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): each buffer with its size */
int codec_decode(uint32_t codec, uint32_t unit_bytes, const void *payload,
                 size_t payload_bytes, void *raw, size_t raw_bytes,
                 void *scratch)
{
    switch (codec) {
    case CODEC_RAW:
        if (payload_bytes != raw_bytes)
            return -CKPT_ECORRUPT;
        memcpy(raw, payload, raw_bytes);
        return 0;
    case CODEC_PLANES_LZ4:
        return planes_lz4_decode(unit_bytes, payload, payload_bytes, raw,
                                 raw_bytes, scratch);
    default:
        return -CKPT_ECORRUPT;
    }
}

double codec_sample(enum codec codec, uint32_t unit_bytes, const void *raw,
                    size_t raw_bytes, void *scratch)
{
    uint8_t sink[PROBE_BYTES];
    size_t bytes = min_u64(raw_bytes, PROBE_BYTES), at, encoded;

    if (!unit_is_good(unit_bytes) || bytes == 0)
        return 1.0;
    at = (raw_bytes - bytes) / 2 / unit_bytes * unit_bytes;
    encoded = codec_encode(codec, unit_bytes, (const uint8_t *)raw + at, bytes,
                           sink, bytes, scratch);
    return encoded ? (double)encoded / (double)bytes : 1.0;
}

static double max_double(double a, double b)
{
    return a > b ? a : b;
}

bool codec_pays(double fraction, double encode_bytes_s, double tier_bytes_s)
{
    if (!(fraction > 0 && fraction < 1 && encode_bytes_s > 0 &&
          tier_bytes_s > 0))
        return false;
    /* Encoding and writing overlap: the slower of the two sets the pace. */
    return max_double(1 / encode_bytes_s, fraction / tier_bytes_s) <
           GAIN_MIN / tier_bytes_s;
}
