/*
 * out.h - output for people and for programs.
 *
 * A table is collected and printed at its end: aligned on a terminal, as tab
 * separated lines in a pipe. Sizes are IEC on a terminal and plain bytes in a
 * pipe. JSON is one object per line, schema 1, in ASCII. Progress goes to
 * stderr. Names and words from files are somebody else's: whatever of them is
 * shown goes through text_clean(), here or in complain().
 */
#ifndef TOOLS_CKPT_OUT_H
#define TOOLS_CKPT_OUT_H

#include "common/util.h"

#include <jansson.h>

#define TABLE_COLUMNS_MAX 16

struct out_table {
    const char *const *heading; /* column_count of them */
    uint32_t column_count;
    bool is_right[TABLE_COLUMNS_MAX];
    char **cell; /* row-major */
    size_t cell_count, capacity;
    bool failed;
};

void table_cell(struct out_table *t, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints and frees; an incomplete last row is a programmer's error. -ENOMEM
 * when a cell could not be kept. */
int table_end(struct out_table *t) MUST_USE;

/* "1.5 GiB"; in a pipe the number of bytes. `text` has 32 bytes. */
const char *size_text(uint64_t bytes, char *text);
/* "2026-01-02T03:04:05Z"; `text` has 32 bytes. */
const char *time_text(uint64_t unix_ms, char *text);
/* "[256, 64]", "[]" for a scalar. */
const char *shape_text(uint32_t ndim, const uint64_t *shape, char *text,
                       size_t capacity);

/* printf() of a part of a line, with what it holds cleaned: no '\n' in it. */
void out_words(const char *format, ...) PRINTF_LIKE(1, 2);
/* A JSON string of any bytes, cleaned. */
json_t *json_words(const char *text);

/* Prints `object` (taken over) as one line; false: out of memory. */
bool json_line(json_t *object);

/* A bar on a terminal, a line every ten percent else; nothing when quiet. */
struct progress {
    const char *what;
    uint64_t total, done;
    uint64_t next_print_ms;
    uint32_t printed_tenths;
    bool is_quiet, is_drawn;
};
/* Of a clock that only goes forward. */
uint64_t now_ms(void);
void progress_add(struct progress *p, uint64_t more);
void progress_end(struct progress *p);

/* So many bytes a second (0: as fast as it goes), from the first call on. */
struct pace {
    uint64_t bytes_s, begun_ms, bytes;
};
/* Waits until what went before is within the rate; then `more` may go. */
void pace_hold(struct pace *p, uint64_t more);

#endif
