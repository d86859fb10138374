/*
 * log.h - the daemon's log: one line per message,
 * "2026-01-02T03:04:05.678Z level component: text", to one descriptor.
 *
 * Nothing is logged before log_open(); libraries never call this. A line goes
 * out in a single write(2), so that threads and processes may share the file.
 * Control bytes become '?', so that no name from outside can start a line;
 * what is longer than LOG_LINE_BYTES is cut and ends in "...". Lines that could
 * not be written are counted, and the count is told by the next one that can.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/util.h"

#define LOG_LINE_BYTES 2048 /* with the newline */

enum log_level {
    LOG_LEVEL_ERROR = 0,
    LOG_LEVEL_WARN = 1,
    LOG_LEVEL_INFO = 2,
    LOG_LEVEL_DEBUG = 3,
};

/* fd stays the caller's; fd -1 silences. Call it before other threads log. */
void log_open(int fd, enum log_level most);
/* From any thread. Keeps errno; blocks as long as the descriptor does. */
void log_line(enum log_level level, const char *component, const char *format,
              ...) PRINTF_LIKE(3, 4);
/* The level of that name ("error", ...), or -1. */
int log_level_parse(const char *name);

#endif
