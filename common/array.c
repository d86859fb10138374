/*
 * array.c - see array.h.
 */
#include "common/array.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_ITEMS 8

void *array_room(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
    size_t wanted = *capacity ? *capacity * 2 : FIRST_ITEMS, bytes;
    void *grown;

    assert(count <= *capacity);
    if (count < *capacity)
        return array;
    if (__builtin_mul_overflow(wanted, item_bytes, &bytes))
        return NULL;
    grown = realloc(array, bytes);
    if (grown)
        *capacity = wanted;
    return grown;
}
