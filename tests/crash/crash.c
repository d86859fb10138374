/*
 * crash.c - the states that a crash may leave, each recovered from and checked
 * (see disk.h for what may be lost, states.h for which states are tried,
 * check.h for what must hold).
 *
 * Usage: crash [-j PROCESSES] [-f FULL] [-p PART] [-o SCENARIO]
 *        crash -r SCENARIO/SEED/POINT/NUMBER
 *
 *   -j  so many processes share the recordings (1)
 *   -f  all states of the first FULL recordings of each scenario (all)
 *   -p  of the others one state in PART, by chance (0: none)
 *   -o  only this scenario
 *   -r  one state again, with everything that led to it
 *
 * Prints violations with the names of their states, and at the end how many
 * points, states and violations there were. Exits 1 if there was one.
 */
#include "tests/crash/explore.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 64

struct options {
    uint32_t processes, full, part;
    const char *only;
};

/* Recording number i of all: its scenario and seed. */
static const struct scenario *recording_at(uint32_t i, uint64_t *seed)
{
    for (uint32_t s = 0; s < scenario_count; s++) {
        if (i < scenarios[s].seeds) {
            *seed = i + 1;
            return &scenarios[s];
        }
        i -= scenarios[s].seeds;
    }
    return NULL;
}

/* What the processes share. */
struct shared {
    _Atomic uint32_t next; /* recording that nobody has taken */
    struct progress progress[PROCESSES_MAX];
};

static void take(struct shared *all, struct progress *g)
{
    g->recording = atomic_fetch_add(&all->next, 1);
}

/* Recordings as they come; first, from state `skip` on, that of before. */
static void work(const struct options *o, struct shared *all,
                 struct progress *g, uint64_t skip)
{
    const struct scenario *s;
    uint64_t seed;

    if (skip == 0)
        take(all, g);
    for (; (s = recording_at(g->recording, &seed)); take(all, g)) {
        struct exploring e = {
            .progress = g, .part = seed <= o->full ? 1 : o->part, .skip = skip};

        if (e.part > 0 && (!o->only || strcmp(o->only, s->name) == 0))
            (void)explore(s, seed, &e);
        skip = 0;
        (void)fflush(stdout);
    }
}

static pid_t start(const struct options *o, struct shared *all,
                   struct progress *g, uint64_t skip)
{
    pid_t pid;

    (void)fflush(stdout);
    pid = fork();
    assert(pid >= 0);
    if (pid > 0)
        return pid;
    work(o, all, g, skip);
    (void)fflush(stdout);
    _exit(0);
}

/* Restarts who died of an assertion, behind what it died of. */
static void wait_for_all(const struct options *o, struct shared *all,
                         pid_t *pids)
{
    int status;
    pid_t pid;

    while ((pid = wait(&status)) > 0) {
        for (uint32_t i = 0; i < o->processes; i++) {
            struct progress *g = &all->progress[i];

            if (pids[i] != pid || (WIFEXITED(status) && !WEXITSTATUS(status)))
                continue;
            (void)printf("VIOLATION %s: the process died (status 0x%x)\n",
                         g->name, (unsigned)status);
            g->violations++;
            pids[i] = start(o, all, g, g->state);
        }
    }
}

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run(const struct options *o)
{
    struct progress sum = {0};
    pid_t pids[PROCESSES_MAX];
    struct shared *all;
    double began = seconds();

    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(all != MAP_FAILED);
    for (uint32_t i = 0; i < o->processes; i++)
        pids[i] = start(o, all, &all->progress[i], 0);
    wait_for_all(o, all, pids);
    for (uint32_t i = 0; i < o->processes; i++) {
        const struct progress *g = &all->progress[i];

        sum.recordings += g->recordings;
        sum.points += g->points;
        sum.states += g->states;
        sum.checked += g->checked;
        sum.violations += g->violations;
    }
    (void)printf("%" PRIu64 " recordings, %" PRIu64 " crash points, %" PRIu64
                 " states, %" PRIu64 " of them different and recovered from, "
                 "%" PRIu64 " violations, %.1f s, %" PRIu32 " processes\n",
                 sum.recordings, sum.points, sum.states, sum.checked,
                 sum.violations, seconds() - began, o->processes);
    return sum.violations > 0 || sum.checked == 0;
}

int main(int argc, char **argv)
{
    struct options o = {.processes = 1, .full = UINT32_MAX};
    int c;

    while ((c = getopt(argc, argv, "j:f:p:o:r:")) != -1) {
        if (c == 'j')
            o.processes = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'f')
            o.full = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'p')
            o.part = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'o')
            o.only = optarg;
        else if (c == 'r')
            return explore_again(optarg) ? 0 : 1;
        else
            return 2;
    }
    if (o.processes < 1 || o.processes > PROCESSES_MAX || optind != argc)
        return 2;
    return run(&o);
}
