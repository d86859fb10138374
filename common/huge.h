/*
 * huge.h - shared memory in large pages.
 *
 * Drives are given lists of pages, and the kernel pins and clears page by page:
 * with pages of 2 MiB a chunk is one or two runs of memory and not 512. For a
 * memfd the kernel gives none by itself unless the machine's settings say so;
 * asked for one (MADV_COLLAPSE, since 6.1) it does, if it is not forbidden to.
 * Where there are none, small pages do as well, only slower.
 */
#ifndef COMMON_HUGE_H
#define COMMON_HUGE_H

#include "common/util.h"

#define HUGE_BYTES ((uint64_t)2 << 20)

/* Map the first `bytes` of `fd`, shared, for reading and writing, at a multiple
 * of HUGE_BYTES; munmap() ends it. 0 or -errno. */
int huge_map(int fd, uint64_t bytes, void **out) MUST_USE;

/* Make the pages of a part of such a mapping, which begins at a multiple of
 * HUGE_BYTES; what is there already keeps its content, also while others write
 * to it. Blocks: for a millisecond per page where memory is short. False when
 * not all of them could be made: the rest comes when it is used. */
bool huge_populate(void *base, uint64_t bytes);

#endif
