/*
 * The library with the real daemon, started by itself: awkward state comes
 * back bit for bit, a state four times the arena costs the rank no memory, and
 * a daemon killed in the middle is replaced.
 */
#include "tests/lib/trainer_world.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ARENA_BYTES     ((uint64_t)16 << 20)
#define RANK_BYTES_MOST ((uint64_t)32 << 20)

/* ThreadSanitizer's own memory grows with what a program touches. */
#ifdef __SANITIZE_THREAD__
#define MEMORY_IS_OURS false
#else
#define MEMORY_IS_OURS true
#endif

static char home[PATH_MAX];

/* The daemon of this build lies beside the folder of the tests. */
static int set_up(void **unused)
{
    const char *base = getenv("TMPDIR");
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);

    (void)unused;
    assert_true(n > 0);
    path[n] = '\0';
    for (int i = 0; i < 2; i++)
        *strrchr(path, '/') = '\0';
    (void)snprintf(path + strlen(path), 32, "/bin/ckptd");
    assert_int_equal(access(path, X_OK), 0);
    assert_int_equal(setenv("CKPT_DAEMON", path, 1), 0);
    assert_int_equal(setenv("CKPT_LINGER", "0", 1), 0);
    (void)snprintf(home, sizeof home, "%s/ckpt-real-XXXXXX",
                   base ? base : "/var/tmp");
    assert_non_null(mkdtemp(home));
    return 0;
}

static int tear_down(void **unused)
{
    char command[PATH_MAX + 16];

    (void)unused;
    (void)snprintf(command, sizeof command, "rm -rf %s", home);
    return system(command);
}

static struct ckpt *open_run(const char *run)
{
    struct ckpt_options o;
    struct ckpt_error error;
    struct ckpt *ctx;

    ckpt_options_init(&o);
    o.home = home;
    o.run = run;
    o.rank = 0;
    o.world_size = 1;
    o.arena_bytes = ARENA_BYTES;
    o.open_timeout_ms = 20000;
    o.decide_timeout_ms = 30000;
    if (ckpt_open(&o, &ctx, &error))
        fail_msg("%s", error.message);
    return ctx;
}

static void save_and_spoil(struct ckpt *ctx, struct state *s, uint64_t step)
{
    struct ckpt_error error;
    struct ckpt_save *save;

    state_fill(s, step);
    if (ckpt_save(ctx, step, s->tensor, s->count, NULL, 0, &save, &error))
        fail_msg("%s", error.message);
    state_spoil(s, CKPT_CAPTURE_NOW);
    if (ckpt_fence(save, NULL, &error))
        fail_msg("%s", error.message);
    state_spoil(s, CKPT_UNTIL_FENCE);
    if (ckpt_wait(save, CKPT_COMMITTED, 30000, &error))
        fail_msg("%s", error.message);
    ckpt_save_free(save);
}

static void awkward_state_comes_back(void **unused)
{
    struct ckpt *ctx = open_run("awkward");
    struct ckpt_error error;
    struct ckpt_report report;
    struct ckpt_info info;
    struct state s;

    (void)unused;
    state_init(&s, (size_t)2 << 20);
    save_and_spoil(ctx, &s, 1);
    save_and_spoil(ctx, &s, 2);
    assert_int_equal(ckpt_list(ctx, &info, 1, &error), 2);
    assert_int_equal(info.id.step, 2);
    ckpt_close(ctx);
    ctx = open_run("awkward");
    state_clear(&s);
    if (ckpt_load(ctx, s.tensor, s.count, NULL, &report, &error))
        fail_msg("%s", error.message);
    state_check(&s, 2);
    assert_int_equal(report.id.step, 2);
    ckpt_close(ctx);
    state_fini(&s);
}

/* Anonymous memory of this process that is in RAM. */
static uint64_t anonymous_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    unsigned long long kib = 0;
    char line[256];

    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtoull(line + 8, NULL, 10);
    (void)fclose(f);
    assert_true(kib > 0);
    return (uint64_t)kib << 10;
}

static void state_of_four_arenas_takes_no_memory_of_the_rank(void **unused)
{
    size_t bytes = (size_t)ARENA_BYTES * 4;
    uint8_t *data = malloc(bytes);
    struct ckpt_tensor t = {.name = "w",
                            .dtype = CKPT_U8,
                            .ndim = 1,
                            .shape = {bytes},
                            .data = data};
    struct ckpt *ctx = open_run("large");
    struct ckpt_error error;
    struct ckpt_save *save;
    struct ckpt_id id;
    uint64_t before;

    (void)unused;
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 12));
    before = anonymous_bytes();
    for (int lazy = 0; lazy < 2; lazy++) {
        t.capture = lazy ? CKPT_UNTIL_FENCE : CKPT_CAPTURE_NOW;
        if (ckpt_save(ctx, 1 + (uint64_t)lazy, &t, 1, NULL, 0, &save, &error))
            fail_msg("%s", error.message);
        assert_int_equal(ckpt_fence(save, NULL, &error), 0);
        if (ckpt_wait(save, CKPT_COMMITTED, 60000, &error))
            fail_msg("%s", error.message);
        if (MEMORY_IS_OURS)
            assert_true(anonymous_bytes() < before + RANK_BYTES_MOST);
        ckpt_save_id(save, &id);
        ckpt_save_free(save);
    }
    memset(data, 0, bytes);
    if (ckpt_read(ctx, &id, &t, 1, NULL, NULL, &error))
        fail_msg("%s", error.message);
    if (MEMORY_IS_OURS)
        assert_true(anonymous_bytes() < before + RANK_BYTES_MOST);
    for (size_t i = 0; i < bytes; i++)
        if (data[i] != (uint8_t)(i * 7 + (i >> 12)))
            fail_msg("byte %zu differs", i);
    ckpt_close(ctx);
    free(data);
    if (!MEMORY_IS_OURS) {
        print_message("the bytes came back; a sanitizer's own memory is counted"
                      " too, so the limit is not looked at\n");
        skip();
    }
}

/* The newest process that is our child: those before it may be daemons that
 * have ended. It must run. */
static pid_t newest_child(void)
{
    char path[64], text[512] = "", *last;
    FILE *f;
    pid_t pid;

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    (void)fclose(f);
    while ((last = strrchr(text, ' ')) && last[1] == '\0')
        *last = '\0';
    pid = (pid_t)strtol(last ? last + 1 : text, NULL, 10);
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    (void)fclose(f);
    assert_non_null(strstr(text, "(ckptd)"));
    assert_null(strstr(text, ") Z"));
    return pid;
}

static void killed_daemon_is_replaced(void **unused)
{
    struct ckpt *ctx = open_run("killed");
    struct ckpt_error error;
    struct ckpt_save *save;
    struct state s;
    pid_t pid = newest_child();
    int rc;

    (void)unused;
    assert_true(pid > 0);
    state_init(&s, (size_t)2 << 20);
    save_and_spoil(ctx, &s, 1);
    state_fill(&s, 2);
    assert_int_equal(
        ckpt_save(ctx, 2, s.tensor, s.count, NULL, 0, &save, &error), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(ckpt_fence(save, NULL, &error), 0);
    rc = ckpt_wait(save, CKPT_COMMITTED, 30000, &error);
    if (rc != 0 && rc != -CKPT_EABORTED)
        fail_msg("%d %s", rc, error.message);
    ckpt_save_free(save);
    save_and_spoil(ctx, &s, 3);
    state_clear(&s);
    if (ckpt_read(ctx, &(struct ckpt_id){1, 3, 1}, s.tensor, s.count, NULL,
                  NULL, &error))
        fail_msg("%s", error.message);
    state_check(&s, 3);
    ckpt_close(ctx);
    state_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(awkward_state_comes_back),
        cmocka_unit_test(state_of_four_arenas_takes_no_memory_of_the_rank),
        cmocka_unit_test(killed_daemon_is_replaced),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
