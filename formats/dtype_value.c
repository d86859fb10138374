/*
 * dtype_value.c - one element in words, for messages; see dtype.h.
 */
#include "common/bytes.h"
#include "formats/dtype.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static double of_f32(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static double of_f16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = bits >> 10 & 31, fraction = bits & 0x3ff;

    if (exponent == 0) /* fraction * 2^-24 */
        return (sign ? -1.0 : 1.0) * (double)fraction / 16777216.0;
    if (exponent == 31)
        return of_f32(sign | 0x7f800000 | fraction << 13);
    return of_f32(sign | (exponent + 112) << 23 | fraction << 13);
}

static double of_f64(const uint8_t *bytes)
{
    uint64_t bits = get_u64(bytes);
    double d;

    memcpy(&d, &bits, sizeof d);
    return d;
}

/* False: the type has no number of its own here. */
static bool number_text(uint32_t dtype, const uint8_t *bytes, char *text,
                        size_t capacity)
{
    int64_t i = 0;

    switch (dtype) {
    case DTYPE_F32:
        (void)snprintf(text, capacity, "%.9g", of_f32(get_u32(bytes)));
        return true;
    case DTYPE_BF16:
        (void)snprintf(text, capacity, "%.4g",
                       of_f32((uint32_t)get_u16(bytes) << 16));
        return true;
    case DTYPE_F16:
        (void)snprintf(text, capacity, "%.5g", of_f16(get_u16(bytes)));
        return true;
    case DTYPE_F64:
        (void)snprintf(text, capacity, "%.17g", of_f64(bytes));
        return true;
    case DTYPE_U64:
        (void)snprintf(text, capacity, "%" PRIu64, get_u64(bytes));
        return true;
    case DTYPE_I64:
        i = (int64_t)get_u64(bytes);
        break;
    case DTYPE_U32:
        i = get_u32(bytes);
        break;
    case DTYPE_I32:
        i = (int32_t)get_u32(bytes);
        break;
    case DTYPE_U16:
        i = get_u16(bytes);
        break;
    case DTYPE_I16:
        i = (int16_t)get_u16(bytes);
        break;
    case DTYPE_U8:
    case DTYPE_BOOL:
        i = bytes[0];
        break;
    case DTYPE_I8:
        i = bytes[0] < 128 ? bytes[0] : bytes[0] - 256;
        break;
    default:
        return false;
    }
    (void)snprintf(text, capacity, "%" PRId64, i);
    return true;
}

void dtype_value_text(uint32_t dtype, const uint8_t bytes[8], char *text,
                      size_t capacity)
{
    uint32_t size = dtype_bits(dtype) >= 8 ? dtype_bits(dtype) / 8 : 1;
    char hex[2 * 8 + 1], number[32];

    for (uint32_t i = 0; i < size; i++)
        (void)snprintf(hex + (size_t)2 * i, 3, "%02x", bytes[size - 1 - i]);
    if (number_text(dtype, bytes, number, sizeof number))
        (void)snprintf(text, capacity, "%s (0x%s)", number, hex);
    else
        (void)snprintf(text, capacity, "0x%s", hex);
}
