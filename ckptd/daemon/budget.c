/*
 * budget.c - see budget.h. Pure; nothing can fail.
 */
#include "ckptd/daemon/budget.h"

uint64_t budget_left(uint64_t left_bytes, uint64_t granted_bytes,
                     uint64_t touched_bytes)
{
    uint64_t all;

    if (left_bytes >= UINT64_MAX - touched_bytes)
        return UINT64_MAX;
    all = (left_bytes + touched_bytes) / 5 * 2;
    return all > granted_bytes ? all - granted_bytes : 0;
}
