/*
 * huge.c - see huge.h.
 */
#include "common/huge.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static void unmap(uint8_t *from, const uint8_t *to)
{
    int rc = from == to ? 0 : munmap(from, (size_t)(to - from));

    assert(rc == 0);
}

int huge_map(int fd, uint64_t bytes, void **out)
{
    uint64_t room = align_up(bytes, PAGE_BYTES) + HUGE_BYTES;
    uint8_t *from = mmap(NULL, room, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *base;
    int rc;

    if (from == MAP_FAILED)
        return -errno;
    base = from + (align_up((uintptr_t)from, HUGE_BYTES) - (uintptr_t)from);
    if (mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
             0) == MAP_FAILED) {
        rc = -errno;
        unmap(from, from + room);
        return rc;
    }
    unmap(from, base);
    unmap(base + align_up(bytes, PAGE_BYTES), from + room);
    *out = base;
    return 0;
}

/* One large page; it takes one small one in the file to make it of. */
static bool collapse(uint8_t *at)
{
    return madvise(at, PAGE_BYTES, MADV_POPULATE_WRITE) == 0 &&
           madvise(at, HUGE_BYTES, MADV_COLLAPSE) == 0;
}

bool huge_populate(void *base, uint64_t bytes)
{
    bool is_all = true;

    assert((uintptr_t)base % HUGE_BYTES == 0);
    for (uint64_t at = 0; at < bytes; at += HUGE_BYTES) {
        uint64_t here = min_u64(HUGE_BYTES, bytes - at);
        uint8_t *p = (uint8_t *)base + at;

        if (here == HUGE_BYTES && collapse(p))
            continue;
        if (madvise(p, here, MADV_POPULATE_WRITE))
            is_all = false;
    }
    return is_all;
}
