/*
 * test_common_log.c - the daemon's log: one line per message whatever is in
 * it, whole lines from many threads, and none that is lost without a word.
 */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct pipe_log {
    int ends[2];
    char text[256 * 1024];
};

static int log_to_pipe(void **state)
{
    struct pipe_log *p = calloc(1, sizeof *p);

    if (!p)
        return -1;
    *state = p;
    if (pipe2(p->ends, O_CLOEXEC))
        return -1;
    log_open(p->ends[1], LOG_LEVEL_DEBUG);
    return 0;
}

static int log_away_from_pipe(void **state)
{
    struct pipe_log *p = *state;

    log_open(-1, LOG_LEVEL_ERROR);
    if (p->ends[1] >= 0)
        (void)close(p->ends[1]);
    (void)close(p->ends[0]);
    free(p);
    return 0;
}

/* All that was logged; no more can be after this. */
static const char *logged(struct pipe_log *p)
{
    size_t used = 0;
    ssize_t got;

    (void)close(p->ends[1]);
    p->ends[1] = -1;
    while ((got = read(p->ends[0], p->text + used, sizeof p->text - 1 - used)) >
           0)
        used += (size_t)got;
    assert_int_equal(got, 0);
    p->text[used] = '\0';
    return p->text;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;
    int answer;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    answer = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (answer)
        fail_msg("\"%s\" does not match %s", text, pattern);
}

static void line_has_time_level_component_and_text(void **state)
{
    log_line(LOG_LEVEL_WARN, "session", "rank %d of run %s went away", 3, "a");
    assert_matches(logged(*state),
                   "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:"
                   "[0-6][0-9]\\.[0-9]{3}Z warn session: "
                   "rank 3 of run a went away\n$");
}

static void messages_above_the_limit_are_not_written(void **state)
{
    struct pipe_log *p = *state;

    log_open(p->ends[1], LOG_LEVEL_WARN);
    log_line(LOG_LEVEL_INFO, "a", "not this");
    log_line(LOG_LEVEL_DEBUG, "a", "nor this");
    log_line(LOG_LEVEL_ERROR, "a", "but this");
    assert_matches(logged(p), "^[^ ]* error a: but this\n$");
}

static void nothing_is_written_without_a_descriptor(void **state)
{
    log_open(-1, LOG_LEVEL_DEBUG);
    log_line(LOG_LEVEL_ERROR, "a", "into the void");
    assert_string_equal(logged(*state), "");
}

static void control_bytes_cannot_start_a_line(void **state)
{
    log_line(LOG_LEVEL_INFO, "home", "run %s", "x\n2026-01-01 error\r\x1b[2J");
    assert_matches(logged(*state),
                   " info home: run x\\?2026-01-01 error\\?\\?\\[2J\n$");
}

static void text_beyond_a_line_is_cut_and_shows_it(void **state)
{
    char words[2 * LOG_LINE_BYTES];
    const char *text;

    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    log_line(LOG_LEVEL_INFO, "a", "%s", words);
    text = logged(*state);
    assert_int_equal(strlen(text), LOG_LINE_BYTES);
    assert_string_equal(text + LOG_LINE_BYTES - 6, "ww...\n");
}

static void errno_is_kept(void **state)
{
    log_open(1000000 /* not open */, LOG_LEVEL_DEBUG);
    errno = ENOSPC;
    log_line(LOG_LEVEL_ERROR, "a", "a bad descriptor");
    assert_int_equal(errno, ENOSPC);
    assert_string_equal(logged(*state), "");
}

static void lost_lines_are_counted_and_told(void **state)
{
    struct pipe_log *p = *state;
    char filler[4096];
    int kept_count = 0;

    memset(filler, 'x', sizeof filler);
    assert_int_equal(fcntl(p->ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(p->ends[1], filler, sizeof filler) > 0)
        kept_count++;
    assert_true(kept_count > 0);
    log_line(LOG_LEVEL_INFO, "a", "lost");
    log_line(LOG_LEVEL_INFO, "a", "lost too");
    while (kept_count-- > 0)
        assert_true(read(p->ends[0], filler, sizeof filler) > 0);
    log_line(LOG_LEVEL_INFO, "a", "found");
    assert_matches(logged(p),
                   "^[^ ]* warn log: lines that could not be written: 2\n"
                   "[^ ]* info a: found\n$");
}

enum { THREADS = 4, LINES_EACH = 100 };

static void *log_many(void *arg)
{
    for (int i = 0; i < LINES_EACH; i++)
        log_line(LOG_LEVEL_INFO, arg, "line %d of a thread", i);
    return NULL;
}

static void lines_of_threads_stay_whole(void **state)
{
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    size_t lines = 0;
    char *save, *line;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, names[i]),
                         0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    (void)logged(*state);
    line = strtok_r(((struct pipe_log *)*state)->text, "\n", &save);
    for (; line; line = strtok_r(NULL, "\n", &save)) {
        assert_matches(line, "^[^ ]*Z info [abcd]: line [0-9]+ of a thread$");
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES_EACH);
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_parse("error"), LOG_LEVEL_ERROR);
    assert_int_equal(log_level_parse("warn"), LOG_LEVEL_WARN);
    assert_int_equal(log_level_parse("info"), LOG_LEVEL_INFO);
    assert_int_equal(log_level_parse("debug"), LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse("Error"), -1);
    assert_int_equal(log_level_parse(""), -1);
}

#define PIPE_TEST(f)                                                           \
    cmocka_unit_test_setup_teardown(f, log_to_pipe, log_away_from_pipe)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPE_TEST(line_has_time_level_component_and_text),
        PIPE_TEST(messages_above_the_limit_are_not_written),
        PIPE_TEST(nothing_is_written_without_a_descriptor),
        PIPE_TEST(control_bytes_cannot_start_a_line),
        PIPE_TEST(text_beyond_a_line_is_cut_and_shows_it),
        PIPE_TEST(errno_is_kept),
        PIPE_TEST(lost_lines_are_counted_and_told),
        PIPE_TEST(lines_of_threads_stay_whole),
        cmocka_unit_test(levels_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
