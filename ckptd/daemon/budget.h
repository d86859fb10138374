/*
 * budget.h - how much memory arenas may take: arithmetic alone.
 */
#ifndef CKPTD_BUDGET_H
#define CKPTD_BUDGET_H

#include <stdint.h>

/* What new arenas may take, in bytes. All arenas together are to have 40 % of
 * what there was before any: left_bytes is what the cgroup or the machine, the
 * tighter of the two, says is left now (UINT64_MAX: no limit, and so is the
 * answer), granted_bytes the size of all arenas, and touched_bytes of them the
 * pages that are there: the others have been promised but not taken, and are
 * part of left_bytes still. */
uint64_t budget_left(uint64_t left_bytes, uint64_t granted_bytes,
                     uint64_t touched_bytes);

#endif
