/*
 * log.c - see log.h. The descriptor and the limit are atomics, written by
 * log_open() alone; the line is made on the caller's stack, so there is no
 * lock.
 */
#include "common/log.h"
#include "common/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static atomic_int log_fd = -1;
static _Atomic(enum log_level) log_most = LOG_LEVEL_ERROR;
static atomic_uint lost_count;

void log_open(int fd, enum log_level most)
{
    atomic_store(&log_most, most);
    atomic_store(&lost_count, 0);
    atomic_store(&log_fd, fd);
}

int log_level_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0)
            return (int)i;
    }
    return -1;
}

/* The length of what snprintf() left in `capacity` bytes, given its answer. */
static size_t kept_bytes(int answer, size_t capacity)
{
    if (answer < 0)
        return 0;
    return (size_t)min_u64((uint64_t)answer, capacity - 1);
}

/* "2026-01-02T03:04:05.678Z level component: "; returns its length. */
static size_t head_format(char *line, size_t capacity, enum log_level level,
                          const char *component)
{
    struct timespec now = {0};
    struct tm utc = {0};
    size_t used;
    int answer;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    used = strftime(line, capacity, "%Y-%m-%dT%H:%M:%S", &utc);
    answer = snprintf(line + used, capacity - used,
                      ".%03dZ %s %s: ", (int)(now.tv_nsec / 1000000),
                      level_names[level], component);
    return used + kept_bytes(answer, capacity - used);
}

/* Makes the line in one buffer and writes it: whole, or not counted as
 * written (a rest after a short write would mix with other lines). */
static bool PRINTF_LIKE(4, 0)
    line_write(int fd, enum log_level level, const char *component,
               const char *format, va_list args)
{
    static const char cut[] = "...";
    char line[LOG_LINE_BYTES];
    size_t used = head_format(line, sizeof line, level, component);
    size_t room = sizeof line - used;
    int answer = vsnprintf(line + used, room, format, args);
    ssize_t written;

    used += kept_bytes(answer, room);
    if (answer >= 0 && (size_t)answer >= room)
        memcpy(line + used - (sizeof cut - 1), cut, sizeof cut - 1);
    text_clean(line);
    used = strlen(line);
    line[used++] = '\n'; /* in the place of the NUL */
    do
        written = write(fd, line, used);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)used;
}

static bool PRINTF_LIKE(2, 3) own_write(int fd, const char *format, ...)
{
    va_list args;
    bool written;

    va_start(args, format);
    written = line_write(fd, LOG_LEVEL_WARN, "log", format, args);
    va_end(args);
    return written;
}

void log_line(enum log_level level, const char *component, const char *format,
              ...)
{
    int saved_errno = errno;
    int fd = atomic_load(&log_fd);
    unsigned lost;
    va_list args;

    if (fd < 0 || level > atomic_load(&log_most))
        return;
    lost = atomic_exchange(&lost_count, 0);
    if (lost && !own_write(fd, "lines that could not be written: %u", lost))
        atomic_fetch_add(&lost_count, lost);
    va_start(args, format);
    if (!line_write(fd, level, component, format, args))
        atomic_fetch_add(&lost_count, 1);
    va_end(args);
    errno = saved_errno;
}
