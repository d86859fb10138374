/*
 * copy.c - see copy.h. One function per instruction set, chosen once; on other
 * processors than x86-64 it is memcpy().
 */
#include "trainer/copy.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

/* Below this, memcpy() is as good and leaves the bytes in the cache. */
#define STREAM_BYTES ((size_t)128 << 10)
#define LINE_BYTES   64

__attribute__((target("avx512f"))) static void
stream_512(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE_BYTES)
        _mm512_stream_si512((__m512i *)(void *)(to + i),
                            _mm512_loadu_si512(from + i));
    _mm_sfence();
}

__attribute__((target("avx2"))) static void
stream_256(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE_BYTES) {
        const __m256i *source = (const __m256i *)(const void *)(from + i);
        __m256i low = _mm256_loadu_si256(source);
        __m256i high = _mm256_loadu_si256(source + 1);

        _mm256_stream_si256((__m256i *)(void *)(to + i), low);
        _mm256_stream_si256((__m256i *)(void *)(to + i + 32), high);
    }
    _mm_sfence();
}

/* Whole lines from an aligned destination; false: no such instructions. */
static int stream(uint8_t *to, const uint8_t *from, size_t bytes)
{
    if (__builtin_cpu_supports("avx512f"))
        stream_512(to, from, bytes);
    else if (__builtin_cpu_supports("avx2"))
        stream_256(to, from, bytes);
    else
        return 0;
    return 1;
}

void copy_to_slot(void *to, const void *from, size_t bytes)
{
    size_t head = (size_t)(-(uintptr_t)to & (LINE_BYTES - 1));
    uint8_t *target = to;
    const uint8_t *source = from;
    size_t body;

    if (bytes < STREAM_BYTES) {
        memcpy(to, from, bytes);
        return;
    }
    body = (bytes - head) / LINE_BYTES * LINE_BYTES;
    memcpy(target, source, head);
    if (!stream(target + head, source + head, body))
        memcpy(target + head, source + head, body);
    memcpy(target + head + body, source + head + body, bytes - head - body);
}

#else

void copy_to_slot(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

#endif
