/*
 * crc32c.c - CRC-32C by the processor's instruction where it has one (SSE 4.2
 * with PCLMULQDQ), else by a table of 16 entries per half byte, which any
 * machine computes in no time.
 *
 * The instruction takes eight bytes, three cycles to answer, and one to begin,
 * so three stretches that lie end to end are computed side by side. Those of
 * the first two are then moved to where the third ends: multiplied by x to the
 * power of the bits between, modulo the polynomial. PCLMULQDQ multiplies; the
 * instruction takes the remainder, and has room for eight bytes more, which
 * are the last of the third stretch.
 */
#include "storage/crc32c.h"

#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* Remainders of the half bytes 0 to 15 for the reflected 0x82F63B78. */
static const uint32_t half_byte[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3,
    0x61C69362, 0x7198540D, 0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
    0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    crc = ~crc;
    for (; bytes > 0; bytes--, at++) {
        crc ^= *at;
        crc = crc >> 4 ^ half_byte[crc & 15];
        crc = crc >> 4 ^ half_byte[crc & 15];
    }
    return ~crc;
}

#ifdef __x86_64__

#define CACHE_LINE_BYTES ((size_t)64)
#define STRETCH          ((size_t)1024)
/* x^(8 * STRETCH - 33) and x^(16 * STRETCH - 33), reflected: the product of two
 * reflected ones is off by a bit, and the instruction multiplies by x^32. */
#define OVER_ONE UINT32_C(0x170076FA)
#define OVER_TWO UINT32_C(0xA51B6135)

static uint64_t word_at(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

__attribute__((target("pclmul"))) static uint64_t product(uint64_t a,
                                                          uint32_t b)
{
    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(
        _mm_cvtsi64_si128((long long)a), _mm_cvtsi32_si128((int)b), 0));
}

/* Of 3 * STRETCH bytes, while as many that come next are fetched in the order
 * in which they lie. Left to itself the processor foresees little of three
 * places that move on so soon: memory that is in no cache took 3.5 times as
 * long. */
__attribute__((target("sse4.2,pclmul"))) static uint64_t
three_stretches(uint64_t first, const uint8_t *at, const uint8_t *next)
{
    uint64_t second = 0, third = 0;
    size_t i = 0;

    for (; i < STRETCH - 8; i += 8) {
        if (i % CACHE_LINE_BYTES == 0) {
            __builtin_prefetch(next + 3 * i);
            __builtin_prefetch(next + 3 * i + CACHE_LINE_BYTES);
            __builtin_prefetch(next + 3 * i + 2 * CACHE_LINE_BYTES);
        }
        first = _mm_crc32_u64(first, word_at(at + i));
        second = _mm_crc32_u64(second, word_at(at + STRETCH + i));
        third = _mm_crc32_u64(third, word_at(at + 2 * STRETCH + i));
    }
    first = _mm_crc32_u64(first, word_at(at + i));
    second = _mm_crc32_u64(second, word_at(at + STRETCH + i));
    return _mm_crc32_u64(third, word_at(at + 2 * STRETCH + i) ^
                                    product(first, OVER_TWO) ^
                                    product(second, OVER_ONE));
}

__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const void *data, size_t bytes)
{
    const size_t step = 3 * STRETCH;
    const uint8_t *at = data;
    uint64_t wide = ~crc;

    for (; bytes >= step; bytes -= step, at += step)
        wide = three_stretches(wide, at, bytes >= 2 * step ? at + step : at);
    for (; bytes >= 8; bytes -= 8, at += 8)
        wide = _mm_crc32_u64(wide, word_at(at));
    crc = (uint32_t)wide;
    for (; bytes > 0; bytes--, at++)
        crc = _mm_crc32_u8(crc, *at);
    return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")
               ? crc32c_sse42(crc, data, bytes)
               : crc32c_portable(crc, data, bytes);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    return crc32c_portable(crc, data, bytes);
}

#endif
