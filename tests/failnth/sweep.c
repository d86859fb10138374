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

/* Of all sweeps of the program together. */
static struct sweep_totals sweep_totals;

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
    struct sweep *sweep;
    pid_t pid;  /* 0: none */
    int fd;     /* its pidfd */
    int output; /* a memfd, or -1: ours */
    uint64_t end_ms;
    struct sweep_fault fault;
    struct sweep_result *result;
};

static struct child child[SWEEP_JOBS_MAX];
uint32_t sweep_job;

/* cmocka's handlers would go on with the next test, in the child. */
static void default_signals(void)
{
    static const int signals[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};

    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        (void)signal(signals[i], SIG_DFL);
}

static void child_main(const struct child *c)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    default_signals();
    if (c->output >= 0) {
        int rc = dup2(c->output, STDOUT_FILENO);

        rc = rc < 0 ? rc : dup2(c->output, STDERR_FILENO);
        assert(rc >= 0);
    }
    c->sweep->run(c->sweep, &c->fault, c->result);
    c->result->is_complete = true;
    (void)fflush(NULL);
    _exit(0);
}

static void child_start(struct sweep *sweep, const struct sweep_fault *fault)
{
    struct child *c = child;

    while (c->pid)
        c++;
    c->sweep = sweep;
    c->fault = *fault;
    c->end_ms = now_ms() + (uint64_t)sweep->limit_ms;
    c->result = mmap(NULL, sizeof *c->result, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(c->result != MAP_FAILED);
    c->output = sweep_is_replay() ? -1 : memfd_create("output", MFD_CLOEXEC);
    (void)fflush(NULL);
    sweep_job = (uint32_t)(c - child);
    c->pid = fork();
    assert(c->pid >= 0);
    if (c->pid == 0)
        child_main(c);
    c->fd = pidfd_open(c->pid, 0);
    assert(c->fd >= 0);
}

/* Takes up one that has ended; "", or in words how it did not end well. */
static void child_reap(struct child *c, char words[128])
{
    const struct sweep *sweep = c->sweep;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    bool is_late = poll(&p, 1, 0) == 0;
    const char *found;
    int status;
    pid_t pid;

    words[0] = '\0';
    if (is_late) {
        (void)snprintf(words, 128, "hangs: still there after %d ms",
                       sweep->limit_ms);
        (void)kill(c->pid, SIGABRT); /* a sanitizer says where it is */
        (void)poll(&p, 1, 1000);
        (void)kill(c->pid, SIGKILL);
    }
    do
        pid = waitpid(c->pid, &status, 0);
    while (pid < 0);
    (void)close(c->fd);
    c->pid = 0;
    found = sweep->look ? sweep->look(sweep, (uint32_t)(c - child)) : NULL;
    if (is_late)
        return;
    if (WIFSIGNALED(status))
        (void)snprintf(words, 128, "dies of signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) || !c->result->is_complete)
        (void)snprintf(words, 128, "exits with %d", WEXITSTATUS(status));
    else if (found)
        (void)snprintf(words, 128, "%s", found);
}

/* One whose time is over, or NULL; and how long the next one has. */
static struct child *child_late(int *left_ms)
{
    uint64_t now = now_ms();

    *left_ms = 1000;
    for (uint32_t i = 0; i < SWEEP_JOBS_MAX; i++) {
        struct child *c = &child[i];

        if (c->pid && c->end_ms <= now)
            return c;
        if (c->pid)
            *left_ms = (int)min_u64((uint64_t)*left_ms, c->end_ms - now + 1);
    }
    return NULL;
}

/* One that has ended, or whose time is over. */
static struct child *child_wait(void)
{
    for (;;) {
        struct pollfd p[SWEEP_JOBS_MAX];
        int left_ms;
        struct child *c = child_late(&left_ms);

        if (c && !sweep_is_replay())
            return c;
        for (uint32_t i = 0; i < SWEEP_JOBS_MAX; i++)
            p[i] = (struct pollfd){.fd = child[i].pid ? child[i].fd : -1,
                                   .events = POLLIN};
        if (poll(p, SWEEP_JOBS_MAX, left_ms) <= 0)
            continue;
        for (uint32_t i = 0; i < SWEEP_JOBS_MAX; i++)
            if (p[i].revents)
                return &child[i];
    }
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

static void violation(const struct child *c, const char *words)
{
    const struct sweep_fault *fault = &c->fault;
    const struct sweep *sweep = c->sweep;

    if (shown++ >= SHOWN_MAX)
        return;
    printf("# VIOLATION %s/%s/%llu/%s %s\n", sweep->scenario, sweep->class_name,
           (unsigned long long)fault->nth, mode_name[fault->mode], words);
    if (c->output >= 0)
        show_output(c);
}

static uint32_t running;

static void add_up(struct sweep_totals *totals, const struct sweep_totals *one)
{
    totals->injections += one->injections;
    totals->absorbed += one->absorbed;
    totals->typed += one->typed;
    totals->violations += one->violations;
}

/* Waits for one, and adds it up. */
static void take_one(struct sweep_result *result)
{
    struct child *c = child_wait();
    struct sweep_totals one = {0};
    char words[128];

    running--;
    child_reap(c, words);
    *result = *c->result;
    one.violations = words[0] != '\0';
    if (words[0])
        violation(c, words);
    (void)munmap(c->result, sizeof *c->result);
    if (c->output >= 0)
        (void)close(c->output);
    /* Where threads race, the Nth call may not be made this time. */
    one.injections =
        c->fault.mode != SWEEP_COUNT && (words[0] || result->fired);
    one.typed = one.injections && !words[0] && result->code;
    one.absorbed = one.injections && !words[0] && !result->code;
    add_up(&c->sweep->found, &one);
    add_up(&sweep_totals, &one);
    c->sweep->ended_ms = now_ms();
}

static void take_all(void)
{
    struct sweep_result result;

    while (running > 0)
        take_one(&result);
}

static void inject(struct sweep *sweep, const struct sweep_fault *fault)
{
    struct sweep_result result;

    if (running == max_u64(sweep->jobs, 1))
        take_one(&result);
    child_start(sweep, fault);
    running++;
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

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void inject_all(struct sweep *sweep, uint64_t count)
{
    uint64_t modes = sweep->has_after ? 3 : 2, left = count * modes;
    uint64_t all = sweep->long_share ? sweep->long_share : left;
    uint64_t share = getenv("CKPT_TEST_LONG") ? all : sweep->share;
    uint64_t wanted = number_of("CKPT_FAILNTH_SHARE", share);
    uint64_t random = number_of("CKPT_FAILNTH_SEED", 1) + count;

    for (uint64_t nth = 1; nth <= count; nth++) {
        for (uint64_t mode = 0; mode < modes; mode++, left--) {
            struct sweep_fault fault = {SWEEP_ONCE + (enum sweep_mode)mode,
                                        nth};

            /* Each of those left with equal chance. */
            if (next_random(&random) % left >= wanted)
                continue;
            wanted--;
            inject(sweep, &fault);
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

static void replay(struct sweep *sweep)
{
    struct sweep_result result;
    struct sweep_fault fault;

    if (!replay_of(sweep, &fault))
        return;
    inject(sweep, &fault);
    take_one(&result);
    printf("# %llu fired of %llu calls; told: %d %s\n",
           (unsigned long long)result.fired, (unsigned long long)result.seen,
           result.code, result.code ? result.text : "nothing");
}

uint64_t sweep_count(struct sweep *sweep, struct sweep_result *result)
{
    const struct sweep_fault count = {SWEEP_COUNT, 0};
    uint64_t before = sweep->found.violations;

    inject(sweep, &count);
    take_one(result);
    return sweep->found.violations - before;
}

static void begin(struct sweep *sweep)
{
    struct sweep_result result;

    sweep->begun_ms = now_ms();
    if (sweep_is_replay()) {
        replay(sweep);
        return;
    }
    if (sweep->sites == 0) {
        (void)sweep_count(sweep, &result);
        sweep->sites = result.seen;
    }
    inject_all(sweep, sweep->sites);
}

static void print(const struct sweep *sweep)
{
    const struct sweep_totals *found = &sweep->found;
    uint64_t ms = sweep->ended_ms ? sweep->ended_ms - sweep->begun_ms : 0;

    printf("# %-14s %-11s %4llu sites %5llu injections %5llu absorbed "
           "%5llu typed errors %3llu violations %6.1f s\n",
           sweep->scenario, sweep->class_name, (unsigned long long)sweep->sites,
           (unsigned long long)found->injections,
           (unsigned long long)found->absorbed,
           (unsigned long long)found->typed,
           (unsigned long long)found->violations, (double)ms / 1000);
}

uint64_t sweep_run_all(struct sweep *sweeps, size_t count)
{
    uint64_t violations = 0;

    for (size_t i = 0; i < count; i++)
        begin(&sweeps[i]);
    take_all();
    for (size_t i = 0; i < count; i++) {
        violations += sweeps[i].found.violations;
        if (!sweep_is_replay() && sweeps[i].sites > 0)
            print(&sweeps[i]);
    }
    (void)fflush(stdout);
    return violations;
}

uint64_t sweep_run(struct sweep *sweep)
{
    return sweep_run_all(sweep, 1);
}

bool sweep_made_enough(uint64_t many, uint64_t many_more)
{
    uint64_t least = getenv("CKPT_TEST_LONG") ? many_more : many;

    printf("# figure: in all: %llu injections, %llu absorbed, %llu typed "
           "errors, %llu violations\n",
           (unsigned long long)sweep_totals.injections,
           (unsigned long long)sweep_totals.absorbed,
           (unsigned long long)sweep_totals.typed,
           (unsigned long long)sweep_totals.violations);
    return sweep_is_replay() || sweep_totals.injections >= least;
}
