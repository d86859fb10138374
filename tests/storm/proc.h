/*
 * proc.h - what /proc and folders tell of processes: descriptors, memory, who
 * is there, what is left.
 */
#ifndef TESTS_STORM_PROC_H
#define TESTS_STORM_PROC_H

#include "common/util.h"

#include <stdint.h>
#include <sys/types.h>

/* pid 0 is this process. */

/* Open descriptors; the one that looks does not count. */
struct proc_descriptors {
    uint32_t all, memfds, segments;
};
void proc_descriptors(pid_t pid, struct proc_descriptors *out);
/* Mappings of memfds. */
uint32_t proc_mapped_memfds(pid_t pid);

struct proc_memory {
    uint64_t rss_bytes, anonymous_bytes, shared_bytes;
};
/* false: it is gone. */
bool proc_memory(pid_t pid, struct proc_memory *out);

/* Processes that have `word` as an argument and `name` as the last part of
 * their program's path: fills up to `most`, returns how many there are. */
uint32_t proc_find(const char *name, const char *word, pid_t *pids,
                   uint32_t most);

/* The first thing below `dir` that is a socket or whose name begins with '.';
 * false: there is none. */
bool proc_left_over(const char *dir, char *path, size_t capacity);
/* Allocated bytes of all files below `dir`. */
uint64_t proc_allocated_bytes(const char *dir);

uint64_t proc_now_us(void);
void proc_sleep_us(uint64_t us);

#endif
