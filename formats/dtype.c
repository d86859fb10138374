/*
 * dtype.c - the table of element types; see dtype.h. Nothing here can fail: a
 * number or a name that is no dtype has its own answer.
 */
#include "formats/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    uint32_t bits;
} dtypes[DTYPE_LAST + 1] = {
    [DTYPE_BOOL] = {"BOOL", 8},
    [DTYPE_F4] = {"F4", 4},
    [DTYPE_F6_E2M3] = {"F6_E2M3", 6},
    [DTYPE_F6_E3M2] = {"F6_E3M2", 6},
    [DTYPE_U8] = {"U8", 8},
    [DTYPE_I8] = {"I8", 8},
    [DTYPE_F8_E5M2] = {"F8_E5M2", 8},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 8},
    [DTYPE_F8_E8M0] = {"F8_E8M0", 8},
    [DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [DTYPE_I16] = {"I16", 16},
    [DTYPE_U16] = {"U16", 16},
    [DTYPE_F16] = {"F16", 16},
    [DTYPE_BF16] = {"BF16", 16},
    [DTYPE_I32] = {"I32", 32},
    [DTYPE_U32] = {"U32", 32},
    [DTYPE_F32] = {"F32", 32},
    [DTYPE_C64] = {"C64", 64},
    [DTYPE_F64] = {"F64", 64},
    [DTYPE_I64] = {"I64", 64},
    [DTYPE_U64] = {"U64", 64},
};

uint32_t dtype_bits(uint32_t dtype)
{
    return dtype < ARRAY_LEN(dtypes) ? dtypes[dtype].bits : 0;
}

const char *dtype_name(uint32_t dtype)
{
    return dtype_bits(dtype) ? dtypes[dtype].name : "?";
}

uint32_t dtype_parse(const char *name)
{
    for (uint32_t i = 0; i < ARRAY_LEN(dtypes); i++) {
        if (dtypes[i].bits && strcmp(dtypes[i].name, name) == 0)
            return i;
    }
    return 0;
}
