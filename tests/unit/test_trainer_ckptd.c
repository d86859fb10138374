/*
 * The library with the real daemon, started by itself: awkward state comes
 * back bit for bit, a state four times the arena costs the rank no memory, and
 * a daemon killed in the middle is replaced.
 */
#include "tests/lib/trainer_world.h"

#include <limits.h>
#include <pthread.h>
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

static void awkward_state_comes_back(void **unused)
{
    struct ckpt *ctx = open_run("awkward");
    struct ckpt_error error;
    struct ckpt_report report;
    struct ckpt_info info;
    struct state s;

    (void)unused;
    state_init(&s, (size_t)2 << 20);
    state_save(ctx, &s, 1, 1);
    state_save(ctx, &s, 2, 2);
    assert_int_equal(ckpt_list(ctx, &info, 1, &error), 2);
    assert_int_equal(info.id.step, 2);
    assert_int_equal(info.state, CKPT_COMMITTED);
    assert_int_equal(info.node_count, 1);
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
    state_save(ctx, &s, 1, 1);
    state_fill(&s, 2);
    assert_int_equal(
        ckpt_save(ctx, 2, s.tensor, s.count, NULL, 0, &save, &error), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(ckpt_fence(save, NULL, &error), 0);
    rc = ckpt_wait(save, CKPT_COMMITTED, 30000, &error);
    if (rc != 0 && rc != -CKPT_EABORTED)
        fail_msg("%d %s", rc, error.message);
    ckpt_save_free(save);
    state_save(ctx, &s, 3, 3);
    state_clear(&s);
    if (ckpt_read(ctx, &(struct ckpt_id){1, 3, 1}, s.tensor, s.count, NULL,
                  NULL, &error))
        fail_msg("%s", error.message);
    state_check(&s, 3);
    ckpt_close(ctx);
    state_fini(&s);
}

/*
 * Two ranks in two threads hold replicas of the awkward state, with other bytes
 * in the padding and the gaps.
 */

/* Not on cmocka's thread. */
static void __attribute__((format(printf, 1, 2), noreturn))
die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    abort();
}

struct replica_rank {
    pthread_t thread;
    pthread_barrier_t *barrier;
    uint32_t rank;
    struct state s;
    int64_t element[STATE_PIECES];
    struct ckpt *ctx;
};

/* Of each piece an element's byte, not one of padding or a gap; -1: there is
 * none. */
static void find_elements(struct replica_rank *r)
{
    struct state *s = &r->s;
    uint8_t *one[STATE_PIECES];

    state_fill(s, 1001);
    for (size_t k = 0; k < s->count; k++) {
        one[k] = malloc(s->bytes[k] + 1);
        if (!one[k])
            die("no memory");
        memcpy(one[k], s->tensor[k].data, s->bytes[k]);
        r->element[k] = -1;
    }
    state_fill(s, 1002);
    for (size_t k = 0; k < s->count; k++) {
        const uint8_t *two = s->tensor[k].data;

        for (size_t i = 0; i < s->bytes[k] && r->element[k] < 0; i++)
            if (one[k][i] != two[i])
                r->element[k] = (int64_t)i;
        free(one[k]);
    }
}

/* Rank 1 flips a bit of piece k; nobody if it has no elements. */
static void save_with_flip(struct replica_rank *r, size_t k)
{
    uint64_t step = k + 1;
    int64_t at = k < r->s.count ? r->element[k] : -1;
    struct ckpt_error error;
    struct ckpt_save *save;
    bool is_warned;

    state_clear(&r->s);
    if (r->rank == 1)
        for (size_t i = 0; i < r->s.count; i++)
            memset(r->s.tensor[i].data, 0x11, r->s.bytes[i]);
    state_fill(&r->s, step);
    if (at >= 0 && r->rank == 1)
        ((uint8_t *)r->s.tensor[k].data)[at] ^= 0x10;
    if (ckpt_save(r->ctx, step, r->s.tensor, r->s.count, NULL, 0, &save,
                  &error))
        die("%s", error.message);
    state_spoil(&r->s, CKPT_CAPTURE_NOW);
    if (ckpt_fence(save, NULL, &error))
        die("%s", error.message);
    state_spoil(&r->s, CKPT_UNTIL_FENCE);
    if (ckpt_wait(save, CKPT_COMMITTED, 30000, &error))
        die("%s", error.message);
    ckpt_save_free(save); /* the warning outlives the handle */
    is_warned = ckpt_warning(r->ctx, &error) == 1;
    if (is_warned != (at >= 0))
        die("piece %zu: %s", k, is_warned ? error.message : "no warning");
    if (is_warned && (!strstr(error.message,
                              "rank 1 differs from rank 0, first at element") ||
                      !strstr(error.message, r->s.tensor[k].name)))
        die("piece %zu: %s", k, error.message);
    if (ckpt_warning(r->ctx, &error))
        die("a second one: %s", error.message);
}

static void *replica_main(void *arg)
{
    struct replica_rank *r = arg;
    struct ckpt_options o;
    struct ckpt_error error;

    state_init(&r->s, ((size_t)2 << 20) + 4096);
    find_elements(r);
    for (size_t i = 0; i < r->s.count; i++) {
        r->s.tensor[i].replica_index = r->rank;
        r->s.tensor[i].replica_count = 2;
    }
    ckpt_options_init(&o);
    o.home = home;
    o.run = "replicas";
    o.token = "both";
    o.rank = r->rank;
    o.world_size = 2;
    o.open_timeout_ms = 20000;
    o.decide_timeout_ms = 30000;
    o.replica_check = CKPT_REPLICAS_ALL;
    if (ckpt_open(&o, &r->ctx, &error))
        die("%s", error.message);
    for (size_t k = 0; k <= r->s.count; k++)
        save_with_flip(r, k);
    (void)pthread_barrier_wait(r->barrier);
    ckpt_close(r->ctx);
    state_fini(&r->s);
    return NULL;
}

static void a_flip_in_any_awkward_replica_is_named(void **unused)
{
    pthread_barrier_t barrier;
    struct replica_rank r[2] = {{.barrier = &barrier},
                                {.barrier = &barrier, .rank = 1}};

    (void)unused;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            pthread_create(&r[i].thread, NULL, replica_main, &r[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(r[i].thread, NULL), 0);
    (void)pthread_barrier_destroy(&barrier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(awkward_state_comes_back),
        cmocka_unit_test(state_of_four_arenas_takes_no_memory_of_the_rank),
        cmocka_unit_test(killed_daemon_is_replaced),
        cmocka_unit_test(a_flip_in_any_awkward_replica_is_named),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
