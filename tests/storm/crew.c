/*
 * crew.c - see crew.h.
 */
#include "tests/storm/crew.h"

#include "tests/storm/proc.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOB_DEADLINE_US   ((uint64_t)60000000)
#define QUIET_DEADLINE_US ((uint64_t)20000000)
#define POLL_US           500

void crew_violation(struct crew *c, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->violation(c, text);
}

void crew_init(struct crew *c, const char *dir, uint32_t locals)
{
    int rc;

    c->next_step = 1;
    (void)snprintf(c->home, sizeof c->home, "%s/home", dir);
    c->locals = locals;
    (void)snprintf(c->local[0], sizeof c->local[0], "%s/local", c->home);
    (void)snprintf(c->local[1], sizeof c->local[1], "%s/other", dir);
    rc = mkdir(c->home, 0700);
    assert(rc == 0);
    rc = prctl(PR_SET_CHILD_SUBREAPER, 1);
    assert(rc == 0);
    c->job = mmap(NULL, sizeof *c->job, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(c->job != MAP_FAILED);
}

void crew_fini(struct crew *c)
{
    (void)munmap(c->job, sizeof *c->job);
}

struct job *crew_job(struct crew *c, uint32_t world, bool loads, uint32_t saves)
{
    struct job *job = c->job;

    assert(world <= STORM_RANKS);
    memset(job, 0, sizeof *job);
    c->jobs++;
    (void)snprintf(c->token, sizeof c->token, "storm-%d-%u", (int)getpid(),
                   c->jobs);
    job->home = c->home;
    job->token = c->token;
    for (uint32_t i = 0; i < STORM_RANKS; i++)
        job->local[i] = c->local[i % c->locals];
    /* What is loaded must lie in the local store of who wants it: the same
     * ranks hold the same rows. */
    job->layout = c->locals > 1 ? JOB_ROWS : JOB_MIXED;
    job->world = world;
    job->loads = loads;
    job->saves = saves;
    job->tensors = 6;
    job->rows = 16;
    job->columns = 64;
    job->keep_last = 2;
    job->first_step = c->next_step;
    c->next_step += saves;
    atomic_store(&job->place, -1);
    memset(c->was_killed, 0, sizeof c->was_killed);
    return job;
}

void crew_start(struct crew *c)
{
    pid_t parent = getpid();

    (void)fflush(NULL);
    for (uint32_t i = 0; i < c->job->world; i++) {
        c->pid[i] = fork();
        assert(c->pid[i] >= 0);
        if (c->pid[i] > 0)
            continue;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(RANK_VIOLATION);
        exit(rank_main(c->job, i));
    }
}

static void take_end(struct crew *c, uint32_t i, int status)
{
    struct job *job = c->job;
    struct rank_report *r = &job->report[i];
    bool was_killed =
        c->was_killed[i] || (job->victim == i && atomic_load(&job->has_fired));

    c->pid[i] = 0;
    atomic_store(&job->has_lost, true);
    c->floor = max_u64(c->floor, atomic_load(&r->promised));
    r->has_ended = WIFEXITED(status);
    if (r->violation[0])
        crew_violation(c, "rank %u: %s", i, r->violation);
    else if (WIFSIGNALED(status) &&
             !(WTERMSIG(status) == SIGKILL && was_killed))
        crew_violation(c, "rank %u: ended by signal %d", i, WTERMSIG(status));
    else if (WIFEXITED(status) && WEXITSTATUS(status) != RANK_FINE)
        crew_violation(c, "rank %u: exit status %d", i, WEXITSTATUS(status));
    c->ended(c, r);
}

uint32_t crew_reap(struct crew *c)
{
    uint32_t left = 0;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < c->job->world; i++)
            if (c->pid[i] == pid)
                take_end(c, i, status);
    for (uint32_t i = 0; i < c->job->world; i++)
        left += c->pid[i] > 0;
    return left;
}

void crew_wait(struct crew *c, void (*every)(void *arg, uint64_t us), void *arg)
{
    uint64_t begin = proc_now_us(), deadline = begin + JOB_DEADLINE_US;

    while (crew_reap(c) > 0) {
        uint64_t now = proc_now_us();

        if (every)
            every(arg, now - begin);
        if (now > deadline) {
            crew_violation(c, "HANG: ranks have not ended after %d s",
                           (int)(JOB_DEADLINE_US / 1000000));
            for (uint32_t i = 0; i < c->job->world; i++)
                (void)crew_kill_rank(c, i);
            deadline = now + JOB_DEADLINE_US;
        }
        proc_sleep_us(POLL_US);
    }
}

bool crew_kill_rank(struct crew *c, uint32_t rank)
{
    if (c->pid[rank] <= 0)
        return false;
    c->was_killed[rank] = true;
    return kill(c->pid[rank], SIGKILL) == 0;
}

uint32_t crew_kill_daemon(const struct crew *c, uint32_t local, int signal)
{
    pid_t pid[8];
    uint32_t count = proc_find("ckptd", c->local[local], pid, ARRAY_LEN(pid));

    for (uint32_t i = 0; i < count && i < ARRAY_LEN(pid); i++)
        (void)kill(pid[i], signal);
    return count;
}

/* No rank is left that could start a daemon, so that taking the lock of the
 * local store for a moment is in nobody's way; it says at little cost whether
 * one still serves. */
static bool is_served(const char *local)
{
    char path[CREW_PATH_BYTES + 32];
    bool is_free;
    int fd;

    (void)snprintf(path, sizeof path, "%s/lock", local);
    fd = open(path, O_RDWR | O_CLOEXEC);
    is_free = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0)
        (void)close(fd);
    return !is_free;
}

static bool wait_quiet(struct crew *c, uint32_t local)
{
    const char *path = c->local[local];
    uint64_t deadline = proc_now_us() + QUIET_DEADLINE_US;
    pid_t pid = 0;

    while (is_served(path) || proc_find("ckptd", path, &pid, 1) > 0) {
        (void)crew_reap(c);
        if (proc_now_us() > deadline) {
            (void)crew_kill_daemon(c, local, SIGKILL);
            crew_violation(c, "LEFT OVER: daemon %d does not end", (int)pid);
            return false;
        }
        proc_sleep_us(2 * POLL_US);
    }
    return true;
}

bool crew_wait_quiet(struct crew *c)
{
    bool ok = true;

    for (uint32_t i = 0; i < c->locals; i++)
        ok = wait_quiet(c, i) && ok;
    return ok;
}
