/*
 * sweep.c - see sweep.h.
 */
#include "tests/failnth/sweep.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const mode_name[SWEEP_MODES] = {
    [SWEEP_COUNT] = "count",
    [SWEEP_ONCE] = "once",
    [SWEEP_PERSISTENT] = "persistent",
    [SWEEP_AFTER] = "after",
};

struct sweep_totals sweep_totals;

/* How many violations are shown in full. */
#define SHOWN_MAX 60
static uint32_t shown;

void sweep_told(struct sweep_result *result, int code, const char *text)
{
    assert(code < 0 && "a failure without a code");
    assert(text[0] && "a failure without words");
    if (result->code)
        return;
    result->code = code;
    (void)snprintf(result->text, sizeof result->text, "%s", text);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/*
 * One child.
 */

struct child {
    pid_t pid;
    int output; /* a memfd, or -1: ours */
    struct sweep_result *result;
};

/* cmocka's handlers would go on with the next test, in the child. */
static void default_signals(void)
{
    static const int signals[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};

    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        (void)signal(signals[i], SIG_DFL);
}

static void child_start(struct child *c, const struct sweep *sweep,
                        const struct sweep_fault *fault)
{
    c->result = mmap(NULL, sizeof *c->result, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(c->result != MAP_FAILED);
    c->output = sweep_is_replay() ? -1 : memfd_create("output", MFD_CLOEXEC);
    (void)fflush(NULL);
    c->pid = fork();
    assert(c->pid >= 0);
    if (c->pid > 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    default_signals();
    if (c->output >= 0) {
        int rc = dup2(c->output, STDOUT_FILENO);

        rc = rc < 0 ? rc : dup2(c->output, STDERR_FILENO);
        assert(rc >= 0);
    }
    sweep->run(sweep, fault, c->result);
    c->result->is_complete = true;
    (void)fflush(NULL);
    _exit(0);
}

/* "" when it ended well, else in words how it did not. */
static void child_wait(const struct child *c, int limit_ms, char words[64])
{
    int fd = pidfd_open(c->pid, 0), status, n;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    pid_t pid;

    assert(fd >= 0);
    words[0] = '\0';
    do
        n = poll(&p, 1, sweep_is_replay() ? -1 : limit_ms);
    while (n < 0);
    (void)close(fd);
    if (n == 0) {
        (void)snprintf(words, 64, "hangs: still there after %d ms", limit_ms);
        (void)kill(c->pid, SIGABRT); /* a sanitizer says where it is */
        (void)usleep(200000);
        (void)kill(c->pid, SIGKILL);
    }
    do
        pid = waitpid(c->pid, &status, 0);
    while (pid < 0);
    if (n == 0)
        return;
    if (WIFSIGNALED(status))
        (void)snprintf(words, 64, "dies of signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) || !c->result->is_complete)
        (void)snprintf(words, 64, "exits with %d", WEXITSTATUS(status));
}

static void show_output(const struct child *c)
{
    char line[4096];
    ssize_t n = lseek(c->output, -(off_t)sizeof line, SEEK_END);

    if (n < 0)
        (void)lseek(c->output, 0, SEEK_SET);
    while ((n = read(c->output, line, sizeof line)) > 0)
        (void)fwrite(line, 1, (size_t)n, stdout);
}

static void violation(const struct child *c, const struct sweep *sweep,
                      const struct sweep_fault *fault, const char *words)
{
    sweep_totals.violations++;
    if (shown++ >= SHOWN_MAX)
        return;
    printf("# VIOLATION %s/%s/%llu/%s %s\n", sweep->scenario, sweep->class_name,
           (unsigned long long)fault->nth, mode_name[fault->mode], words);
    if (c->output >= 0)
        show_output(c);
}

/* false: the Nth call was not made. */
static bool inject(const struct sweep *sweep, const struct sweep_fault *fault,
                   struct sweep_result *result)
{
    struct child c;
    char words[64];

    child_start(&c, sweep, fault);
    child_wait(&c, sweep->limit_ms, words);
    *result = *c.result;
    if (words[0])
        violation(&c, sweep, fault, words);
    (void)munmap(c.result, sizeof *c.result);
    if (c.output >= 0)
        (void)close(c.output);
    if (fault->mode == SWEEP_COUNT || (result->is_complete && !result->fired))
        return false;
    sweep_totals.injections++;
    if (!words[0] && result->code)
        sweep_totals.typed++;
    else if (!words[0])
        sweep_totals.absorbed++;
    return true;
}

/*
 * All of them, or a share.
 */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t seed(void)
{
    const char *text = getenv("CKPT_FAILNTH_SEED");

    return text ? strtoull(text, NULL, 10) : 1;
}

static void inject_all(const struct sweep *sweep, uint64_t count)
{
    uint64_t modes = sweep->has_after ? 3 : 2, left = count * modes;
    uint64_t wanted = getenv("CKPT_TEST_LONG") ? left : sweep->share;
    uint64_t random = seed() + count;

    for (uint64_t nth = 1; nth <= count; nth++) {
        for (uint64_t mode = 0; mode < modes; mode++, left--) {
            struct sweep_fault fault = {SWEEP_ONCE + (enum sweep_mode)mode,
                                        nth};
            struct sweep_result result;

            /* Each of those left with equal chance. */
            if (next_random(&random) % left >= wanted)
                continue;
            wanted--;
            (void)inject(sweep, &fault, &result);
        }
    }
}

bool sweep_is_replay(void)
{
    return getenv("CKPT_FAILNTH") != NULL;
}

/* Is it asked for, and which fault of it? */
static bool replay_of(const struct sweep *sweep, struct sweep_fault *fault)
{
    char prefix[128];
    const char *asked = getenv("CKPT_FAILNTH");
    char *end;

    (void)snprintf(prefix, sizeof prefix, "%s/%s/", sweep->scenario,
                   sweep->class_name);
    if (strncmp(asked, prefix, strlen(prefix)) != 0)
        return false;
    fault->nth = strtoull(asked + strlen(prefix), &end, 10);
    for (int mode = SWEEP_ONCE; mode < SWEEP_MODES; mode++) {
        fault->mode = (enum sweep_mode)mode;
        if (*end == '/' && strcmp(end + 1, mode_name[mode]) == 0)
            return true;
    }
    return false;
}

static uint64_t replay(const struct sweep *sweep)
{
    uint64_t before = sweep_totals.violations;
    struct sweep_result result;
    struct sweep_fault fault;

    if (!replay_of(sweep, &fault))
        return 0;
    (void)inject(sweep, &fault, &result);
    printf("# %llu fired of %llu calls; told: %d %s\n",
           (unsigned long long)result.fired, (unsigned long long)result.seen,
           result.code, result.code ? result.text : "nothing");
    return sweep_totals.violations - before;
}

uint64_t sweep_run(const struct sweep *sweep)
{
    struct sweep_totals before = sweep_totals;
    const struct sweep_fault count = {SWEEP_COUNT, 0};
    struct sweep_result result;
    uint64_t started = now_ms();

    if (sweep_is_replay())
        return replay(sweep);
    (void)inject(sweep, &count, &result);
    inject_all(sweep, result.seen);
    printf("# %-14s %-8s %5llu sites %6llu injections %6llu absorbed "
           "%6llu typed errors %3llu violations %6.1f s\n",
           sweep->scenario, sweep->class_name, (unsigned long long)result.seen,
           (unsigned long long)(sweep_totals.injections - before.injections),
           (unsigned long long)(sweep_totals.absorbed - before.absorbed),
           (unsigned long long)(sweep_totals.typed - before.typed),
           (unsigned long long)(sweep_totals.violations - before.violations),
           (double)(now_ms() - started) / 1000);
    (void)fflush(stdout);
    return sweep_totals.violations - before.violations;
}
