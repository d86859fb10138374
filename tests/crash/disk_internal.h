/*
 * disk_internal.h - between disk_log.c and disk_calls.c.
 */
#ifndef TESTS_CRASH_DISK_INTERNAL_H
#define TESTS_CRASH_DISK_INTERNAL_H

#include "tests/crash/disk.h"

/* The same text is the same pointer, for ever. */
const char *disk_name(const char *text);

/* Changes to what processes see, logged. */
void disk_write(struct disk *disk, uint32_t node, uint64_t off,
                const void *from, size_t bytes);
void disk_resize(struct disk *disk, uint32_t node, uint64_t bytes);
void disk_give_name(struct disk *disk, uint32_t folder, const char *name,
                    uint32_t node);
void disk_take_name(struct disk *disk, uint32_t folder, const char *name);
/* 0, or -EIO when the test wants that. */
int disk_sync(struct disk *disk, uint32_t node, bool is_data_only);

#endif
