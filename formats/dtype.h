/*
 * dtype.h - element types, those of safetensors. The numbers are on media.
 */
#ifndef FORMATS_DTYPE_H
#define FORMATS_DTYPE_H

#include "common/util.h"

enum dtype {
    DTYPE_BOOL = 1,
    DTYPE_F4 = 2,
    DTYPE_F6_E2M3 = 3,
    DTYPE_F6_E3M2 = 4,
    DTYPE_U8 = 5,
    DTYPE_I8 = 6,
    DTYPE_F8_E5M2 = 7,
    DTYPE_F8_E4M3 = 8,
    DTYPE_F8_E8M0 = 9,
    DTYPE_F8_E4M3FNUZ = 10,
    DTYPE_F8_E5M2FNUZ = 11,
    DTYPE_I16 = 12,
    DTYPE_U16 = 13,
    DTYPE_F16 = 14,
    DTYPE_BF16 = 15,
    DTYPE_I32 = 16,
    DTYPE_U32 = 17,
    DTYPE_F32 = 18,
    DTYPE_C64 = 19,
    DTYPE_F64 = 20,
    DTYPE_I64 = 21,
    DTYPE_U64 = 22,
    DTYPE_LAST = DTYPE_U64,
};

/* Bits of one element; 0 for a number that is no dtype. */
uint32_t dtype_bits(uint32_t dtype);

/* safetensors' name ("BF16"), static; "?" for a number that is no dtype. */
const char *dtype_name(uint32_t dtype);

/* One element of at least a byte, or one byte of a narrower type, in words:
 * "1.5 (0x3fc00000)"; types without a number in C's sense: "0x1f". `bytes` is
 * as in memory, little-endian. */
#define DTYPE_VALUE_TEXT 64
void dtype_value_text(uint32_t dtype, const uint8_t bytes[8], char *text,
                      size_t capacity);

/* The dtype of that name, 0 if there is none. */
uint32_t dtype_parse(const char *name);

#endif
