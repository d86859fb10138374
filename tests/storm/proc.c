/*
 * proc.c - see proc.h.
 */
#include "tests/storm/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void path_of(pid_t pid, const char *what, char path[64])
{
    if (pid == 0)
        (void)snprintf(path, 64, "/proc/self/%s", what);
    else
        (void)snprintf(path, 64, "/proc/%d/%s", (int)pid, what);
}

void proc_descriptors(pid_t pid, struct proc_descriptors *out)
{
    char path[64], target[PATH_MAX];
    const struct dirent *e;
    DIR *dir;

    *out = (struct proc_descriptors){0};
    path_of(pid, "fd", path);
    dir = opendir(path);
    if (!dir)
        return;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): this DIR is this thread's own */
    while ((e = readdir(dir))) {
        ssize_t n;

        if (e->d_name[0] == '.' || (pid == 0 && atoi(e->d_name) == dirfd(dir)))
            continue;
        out->all++;
        n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        out->memfds += strncmp(target, "/memfd:", 7) == 0;
        /* One made by O_TMPFILE goes by that number for good. */
        out->segments += strstr(target, "/seg/") || strstr(target, "/#");
    }
    (void)closedir(dir);
}

/* Lines of a file of /proc that contain a word. */
static uint32_t count_lines(const char *path, const char *word)
{
    char line[4096];
    uint32_t count = 0;
    FILE *f = fopen(path, "re");

    while (f && fgets(line, sizeof line, f))
        count += strstr(line, word) != NULL;
    if (f)
        (void)fclose(f);
    return count;
}

uint32_t proc_mapped_memfds(pid_t pid)
{
    char path[64];

    path_of(pid, "maps", path);
    return count_lines(path, "/memfd:");
}

bool proc_memory(pid_t pid, struct proc_memory *out)
{
    char path[64], line[256];
    unsigned long long kib;
    FILE *f;

    *out = (struct proc_memory){0};
    path_of(pid, "status", path);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmRSS: %llu", &kib) == 1)
            out->rss_bytes = (uint64_t)kib << 10;
        else if (sscanf(line, "RssAnon: %llu", &kib) == 1)
            out->anonymous_bytes = (uint64_t)kib << 10;
        else if (sscanf(line, "RssShmem: %llu", &kib) == 1)
            out->shared_bytes = (uint64_t)kib << 10;
    }
    if (f)
        (void)fclose(f);
    return out->rss_bytes > 0;
}

/* Whether a command line (arguments end by NUL) is of program `name` and has
 * the argument `word`. */
static bool is_wanted(const char *line, size_t bytes, const char *name,
                      const char *word)
{
    const char *slash = memrchr(line, '/', strnlen(line, bytes));
    size_t at = strnlen(line, bytes) + 1;

    if (strcmp(slash ? slash + 1 : line, name) != 0)
        return false;
    for (; at < bytes; at += strlen(line + at) + 1)
        if (strcmp(line + at, word) == 0)
            return true;
    return false;
}

uint32_t proc_find(const char *name, const char *word, pid_t *pids,
                   uint32_t most)
{
    const struct dirent *e;
    uint32_t count = 0;
    DIR *dir = opendir("/proc");

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): this DIR is this thread's own */
    while (dir && (e = readdir(dir))) {
        char path[64], line[4096];
        pid_t pid = atoi(e->d_name);
        ssize_t n;
        int fd;

        if (pid <= 0)
            continue;
        path_of(pid, "cmdline", path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
        if (fd >= 0)
            (void)close(fd);
        if (n <= 0)
            continue;
        line[n] = '\0';
        if (!is_wanted(line, (size_t)n, name, word))
            continue;
        if (count < most)
            pids[count] = pid;
        count++;
    }
    if (dir)
        (void)closedir(dir);
    return count;
}

/*
 * Folders. nftw() has no argument for the caller, hence the statics.
 */

static struct {
    char *path;
    size_t capacity;
    uint64_t allocated;
} walk;

static int look_for_left_over(const char *path, const struct stat *st, int type,
                              struct FTW *ftw)
{
    (void)type;
    if (!S_ISSOCK(st->st_mode) && path[ftw->base] != '.')
        return 0;
    (void)snprintf(walk.path, walk.capacity, "%s", path);
    return 1;
}

bool proc_left_over(const char *dir, char *path, size_t capacity)
{
    walk.path = path;
    walk.capacity = capacity;
    return nftw(dir, look_for_left_over, 16, FTW_PHYS) == 1;
}

static int add_allocated(const char *path, const struct stat *st, int type,
                         struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F)
        walk.allocated += (uint64_t)st->st_blocks * 512;
    return 0;
}

uint64_t proc_allocated_bytes(const char *dir)
{
    walk.allocated = 0;
    (void)nftw(dir, add_allocated, 16, FTW_PHYS);
    return walk.allocated;
}

uint64_t proc_now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void proc_sleep_us(uint64_t us)
{
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

    while (nanosleep(&t, &t) && errno == EINTR)
        continue;
}
