/*
 * main.c - ckpt-sim: seeds of the simulator, one or many.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: ckpt-sim [--seed N] [--seeds COUNT] [--trace]\n"
    "\n"
    "Runs whole clusters of ckptd engines in one thread, with virtual time "
    "and\n"
    "with faults, all decided by a seed, and checks that nothing committed is\n"
    "lost, no wrong byte handed over, and everything answered in time.\n"
    "\n"
    "  --seed N       the (first) seed, 1 if not given\n"
    "  --seeds COUNT  so many from there on, 1 if not given\n"
    "  --trace        every event on standard output\n"
    "\n"
    "Exit status: 0 all is well, 1 a seed has failed (which, and how to "
    "replay\n"
    "it, is printed), 2 usage.\n";

struct options {
    uint64_t seed, count;
    bool is_traced;
};

/* For a seed that ends in an assertion or worse; made before it begins. */
static char last_words[160];

static void on_death(int number)
{
    (void)number;
    (void)!write(STDERR_FILENO, last_words, strlen(last_words));
    _exit(1);
}

static void prepare_words(uint64_t seed)
{
    (void)snprintf(last_words, sizeof last_words,
                   "\nseed %" PRIu64 ": died by a signal\n"
                   "replay: ckpt-sim --seed %" PRIu64 " --trace\n",
                   seed, seed);
}

static int parse_number(const char *text, uint64_t least, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] < '0' || text[0] > '9' || *end || errno || *out < least
               ? -EINVAL
               : 0;
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'c'},
        {"trace", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c, rc = 0;

    *o = (struct options){.seed = 1, .count = 1};
    while (rc == 0 && (c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 's')
            rc = parse_number(optarg, 0, &o->seed);
        else if (c == 'c')
            rc = parse_number(optarg, 1, &o->count);
        else if (c == 't')
            o->is_traced = true;
        else
            return c == 'h' ? 1 : -EINVAL;
    }
    return optind < argc ? -EINVAL : rc;
}

static double seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say_sum(const struct sim_stats *t, uint64_t violations, double took)
{
    (void)printf("%" PRIu64 " seeds, %" PRIu64 " events, %.1f virtual hours, "
                 "%" PRIu64 " jobs, %" PRIu64 " saves committed, %" PRIu64
                 " aborted, %" PRIu64 " loads, %" PRIu64 " reads (%" PRIu64
                 " of new machines), %" PRIu64 " crashes, %" PRIu64
                 " violations, %.1f s\n",
                 t->seeds, t->events, (double)t->virtual_ns / 3.6e12, t->jobs,
                 t->committed, t->aborted, t->loads, t->reads, t->remote_reads,
                 t->crashes, violations, took);
}

static void say_faults(const struct sim_stats *t)
{
    (void)printf("of them: ");
    for (uint32_t i = 0; i < SIM_FAULTS; i++)
        (void)printf("%s %" PRIu64 ", ", sim_fault_name[i], t->fault[i]);
    (void)printf("unsynced writes lost %" PRIu64 ", torn %" PRIu64
                 ", names lost %" PRIu64 ", messages lost %" PRIu64
                 ", requests overtaken %" PRIu64 ", landed late %" PRIu64 "\n",
                 t->lost_writes, t->torn_writes, t->lost_names,
                 t->lost_messages, t->overtaken, t->late_requests);
}

static int run(const struct options *o)
{
    struct sim_stats total = {0};
    double began = seconds(), told = began;
    char failure[2048];
    uint64_t seed = 0;
    bool is_good = true;

    for (uint64_t i = 0; is_good && i < o->count; i++) {
        seed = o->seed + i;
        prepare_words(seed);
        is_good = sim_run(seed, o->is_traced, &total, failure);
        if (isatty(STDERR_FILENO) && seconds() - told > 0.5) {
            told = seconds();
            (void)fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " seeds, %.0f s ",
                          i + 1, o->count, told - began);
        }
    }
    if (told > began)
        (void)fputc('\n', stderr);
    if (!is_good)
        (void)printf("seed %" PRIu64 ": %s\nreplay: ckpt-sim --seed %" PRIu64
                     " --trace\n",
                     seed, failure, seed);
    if (!o->is_traced) {
        say_faults(&total);
        say_sum(&total, !is_good, seconds() - began);
    }
    return is_good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
    struct options o;
    int rc = parse(argc, argv, &o);

    if (rc) {
        (void)fputs(usage, rc > 0 ? stdout : stderr);
        return rc > 0 ? 0 : 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
        (void)signal(deadly[i], on_death);
    return run(&o);
}
