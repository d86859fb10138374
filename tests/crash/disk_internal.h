/*
 * disk_internal.h - between disk_log.c, disk_files.c and
 * disk_calls.c.
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
void disk_rename(struct disk *disk, uint32_t from_folder, const char *from,
                 uint32_t folder, const char *name);
void disk_take_name(struct disk *disk, uint32_t folder, const char *name);
/* 0, or -EIO when the test wants that. */
int disk_sync(struct disk *disk, uint32_t node, bool is_data_only);

/* disk_files.c */
#define DISK_FD 0x40000000 /* descriptors from here on are ours */

struct disk_file {
    uint32_t users; /* descriptors, and late writes */
    uint32_t node;
    uint32_t process;
    int lock; /* LOCK_EX, LOCK_SH or LOCK_UN */
    bool is_dead;
};

extern struct disk *disk_now; /* the one that /disk is; see disk_the() */

static inline bool disk_fd_is_ours(int fd)
{
    return fd >= DISK_FD;
}

struct disk_file *disk_file_of(int fd);
/* A descriptor of the calling process: of a new open file, or one more. */
int disk_fd_open(uint32_t node);
int disk_fd_new(struct disk_file *file);
void disk_fd_drop(int fd);
/* LOCK_EX, LOCK_SH or LOCK_UN; false: another open file holds it. */
bool disk_lock(struct disk_file *file, int how);

#endif
