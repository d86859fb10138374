/*
 * bytes.h - little-endian bytes: a bounded reader and a growing writer.
 *
 * The reader never reads past its end: the first attempt sets `bad`, from then
 * on everything reads as zero, and one check at the end is enough. The writer
 * grows by malloc; the first failure sets `failed`, from then on it drops what
 * it is given, and one check at the end is enough.
 */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include "common/id.h"

static inline uint16_t get_u16(const void *from)
{
    const uint8_t *p = from;

    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_u32(const void *from)
{
    const uint8_t *p = from;

    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static inline uint64_t get_u64(const void *from)
{
    const uint8_t *p = from;

    return get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static inline void put_u16(void *to, uint16_t v)
{
    uint8_t *p = to;

    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void put_u32(void *to, uint32_t v)
{
    uint8_t *p = to;

    put_u16(p, (uint16_t)v);
    put_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void put_u64(void *to, uint64_t v)
{
    uint8_t *p = to;

    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

/* Reader. The memory is the caller's and must outlive what is taken from it. */
struct rd {
    const uint8_t *at, *end;
    bool bad;
};

static inline struct rd rd_init(const void *data, size_t bytes)
{
    const uint8_t *p = data;

    return (struct rd){p, p ? p + bytes : p, false};
}

static inline size_t rd_left(const struct rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->at);
}

/* The next `bytes` in place, or NULL (bad). A zero length is never NULL
 * unless the reader is bad already. */
const void *rd_bytes(struct rd *r, uint64_t bytes);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
struct id128 rd_id(struct rd *r);
/* u16 length, then that many bytes without a NUL inside. Copies into `text`
 * (capacity with NUL); bad when it does not fit. */
void rd_str(struct rd *r, char *text, size_t capacity);
/* True when everything was read and nothing went wrong. */
bool rd_done(const struct rd *r);

/* Writer. Zero-initialised is empty; freed with wr_free(). */
struct wr {
    uint8_t *data;
    size_t bytes, capacity;
    bool failed;
};

/* `bytes` of zeroed room at the end, or NULL (failed). Valid until the next
 * write. */
void *wr_room(struct wr *w, size_t bytes);
void wr_bytes(struct wr *w, const void *data, size_t bytes);
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_id(struct wr *w, const struct id128 *id);
/* u16 length and the bytes; fails when longer than 65,535. */
void wr_str(struct wr *w, const char *text);
/* Zeros up to a multiple of `to`. */
void wr_align(struct wr *w, size_t to);
void wr_free(struct wr *w);

#endif
