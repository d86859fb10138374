/*
 * array.h - arrays that grow one item at a time.
 */
#ifndef COMMON_ARRAY_H
#define COMMON_ARRAY_H

#include "common/util.h"

/* Room for one more behind the first `count` items of a malloc'd array of
 * *capacity (NULL and 0 at first), which doubles. Returns the array, which may
 * have moved; NULL without memory: array and capacity are then as they were. */
void *array_room(void *array, size_t count, size_t *capacity,
                 size_t item_bytes) MUST_USE;

#endif
