/*
 * out.c - see out.h.
 */
#include "tools/ckpt/out.h"
#include "common/array.h"
#include "common/text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS 30

void table_cell(struct out_table *t, const char *format, ...)
{
    char text[2048];
    va_list args;
    char **grown;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    grown = array_room(t->cell, t->cell_count, &t->capacity, sizeof *grown);
    if (!grown) {
        t->failed = true;
        return;
    }
    t->cell = grown;
    text_clean(text);
    t->cell[t->cell_count] = strdup(text);
    t->failed = t->failed || !t->cell[t->cell_count];
    t->cell_count++;
}

/* Columns that a terminal shows for UTF-8 text. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_aligned(const struct out_table *t, const char *const *row,
                          const size_t *width)
{
    for (uint32_t c = 0; c < t->column_count; c++) {
        int pad = (int)(width[c] - width_of(row[c]));
        bool is_last = c + 1 == t->column_count;

        if (t->is_right[c])
            (void)printf("%*s%s", pad, "", row[c]);
        else
            (void)printf("%s%*s", row[c], is_last ? 0 : pad, "");
        (void)fputs(is_last ? "\n" : "  ", stdout);
    }
}

static void print_tabs(const struct out_table *t, const char *const *row)
{
    for (uint32_t c = 0; c < t->column_count; c++)
        (void)printf("%s%c", row[c], c + 1 == t->column_count ? '\n' : '\t');
}

static void print_table(const struct out_table *t)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};
    const char *row[TABLE_COLUMNS_MAX];
    bool is_terminal = isatty(STDOUT_FILENO) == 1;

    for (uint32_t c = 0; c < t->column_count; c++)
        width[c] = width_of(t->heading[c]);
    for (size_t i = 0; i < t->cell_count; i++) {
        size_t w = width_of(t->cell[i]);

        if (w > width[i % t->column_count])
            width[i % t->column_count] = w;
    }
    if (is_terminal)
        print_aligned(t, t->heading, width);
    else
        print_tabs(t, t->heading);
    for (size_t i = 0; i < t->cell_count; i += t->column_count) {
        for (uint32_t c = 0; c < t->column_count; c++)
            row[c] = t->cell[i + c];
        if (is_terminal)
            print_aligned(t, row, width);
        else
            print_tabs(t, row);
    }
}

int table_end(struct out_table *t)
{
    int rc = t->failed ? -ENOMEM : 0;

    assert(t->failed || t->cell_count % t->column_count == 0);
    if (!rc)
        print_table(t);
    for (size_t i = 0; i < t->cell_count; i++)
        free(t->cell[i]);
    free(t->cell);
    t->cell = NULL;
    t->cell_count = t->capacity = 0;
    return rc;
}

const char *size_text(uint64_t bytes, char *text)
{
    static const char *const unit[] = {"B",   "KiB", "MiB", "GiB",
                                       "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t i = 0;

    if (isatty(STDOUT_FILENO) != 1) {
        (void)snprintf(text, 32, "%" PRIu64, bytes);
        return text;
    }
    for (; value >= 1024 && i + 1 < ARRAY_LEN(unit); i++)
        value /= 1024;
    (void)snprintf(text, 32, i && value < 10 ? "%.1f %s" : "%.0f %s", value,
                   unit[i]);
    return text;
}

const char *time_text(uint64_t unix_ms, char *text)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;

    if (unix_ms == 0)
        (void)snprintf(text, 32, "-");
    else if (!gmtime_r(&seconds, &tm) ||
             strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        (void)snprintf(text, 32, "?");
    return text;
}

const char *shape_text(uint32_t ndim, const uint64_t *shape, char *text,
                       size_t capacity)
{
    size_t used = (size_t)snprintf(text, capacity, "[");

    for (uint32_t i = 0; i < ndim && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%" PRIu64,
                                 i ? ", " : "", shape[i]);
    if (used < capacity)
        (void)snprintf(text + used, capacity - used, "]");
    return text;
}

void out_words(const char *format, ...)
{
    char text[4096];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_clean(text);
    (void)fputs(text, stdout);
}

json_t *json_words(const char *text)
{
    char *copy = strdup(text);
    json_t *words;

    if (!copy)
        return NULL;
    text_clean(copy);
    words = json_string(copy);
    free(copy);
    return words;
}

bool json_line(json_t *object)
{
    bool ok = object &&
              json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) == 0;

    json_decref(object);
    return ok && putchar('\n') != EOF;
}

/*
 * Progress.
 */

uint64_t now_ms(void)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
        return 0;
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void draw(struct progress *p)
{
    double share = p->total ? (double)p->done / (double)p->total : 1.0;
    int full = (int)(share * BAR_CELLS);

    (void)fprintf(stderr, "\r%s [%.*s%*s] %3.0f %%", p->what, full,
                  "##############################", BAR_CELLS - full, "",
                  share * 100);
    p->is_drawn = true;
}

void progress_add(struct progress *p, uint64_t more)
{
    uint32_t tenths;

    p->done += more;
    if (p->is_quiet)
        return;
    if (isatty(STDERR_FILENO) == 1) {
        if (now_ms() < p->next_print_ms)
            return;
        p->next_print_ms = now_ms() + 100;
        draw(p);
        return;
    }
    tenths = p->total ? (uint32_t)(p->done * 10 / p->total) : 10;
    if (tenths > p->printed_tenths && p->total > ((uint64_t)1 << 30))
        (void)fprintf(stderr, "%s: %u %%\n", p->what, tenths * 10);
    p->printed_tenths = tenths;
}

void progress_end(struct progress *p)
{
    if (!p->is_drawn)
        return;
    draw(p);
    (void)fputc('\n', stderr);
}

void pace_hold(struct pace *p, uint64_t more)
{
    uint64_t due_ms, spent_ms;
    struct timespec pause;

    if (!p->bytes_s)
        return;
    if (!p->begun_ms)
        p->begun_ms = now_ms();
    due_ms = (uint64_t)((double)p->bytes * 1000 / (double)p->bytes_s);
    spent_ms = now_ms() - p->begun_ms;
    p->bytes += more;
    if (due_ms <= spent_ms)
        return;
    pause = (struct timespec){(time_t)((due_ms - spent_ms) / 1000),
                              (long)((due_ms - spent_ms) % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}
