/*
 * storm.c - kills ranks, daemons and restores of real jobs, at named places
 * (place.h) and at random moments, and checks after every kill that the last
 * committed checkpoint loads bit for bit and that nothing is left over.
 *
 *   storm --dir DIR [--kills N] [--seed S] [--homes H]
 *
 * DIR is an empty folder. Several homes work side by side, every other one with
 * two local stores and so two daemons; what is done in each follows from the
 * seed as far as real processes allow. Prints what was killed where, what was
 * saved and loaded; exits 1 after a violation.
 */
#include "tests/storm/home.h"
#include "tests/storm/proc.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOMES_MOST   16
#define PLACES_KILLS 1500

struct storm {
    const char *dir;
    uint64_t seed;
    uint32_t kills, homes;
    char daemon[PATH_MAX], tool[PATH_MAX];
    struct sums *sums;
};

static bool parse(struct storm *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"kills", required_argument, NULL, 'k'},
        {"seed", required_argument, NULL, 's'},
        {"homes", required_argument, NULL, 'h'},
        {0},
    };
    int c;

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'd')
            s->dir = optarg;
        else if (c == 'k')
            s->kills = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 's')
            s->seed = strtoull(optarg, NULL, 10);
        else if (c == 'h')
            s->homes = (uint32_t)strtoul(optarg, NULL, 10);
        else
            return false;
    }
    return s->dir && optind == argc && s->homes >= 1 && s->homes <= HOMES_MOST;
}

/* The programs of this build: BUILD/tests/storm is this one. */
static void find_programs(struct storm *s)
{
    char here[PATH_MAX - 32];
    ssize_t n = readlink("/proc/self/exe", here, sizeof here - 1);
    char *slash;

    assert(n > 0);
    here[n] = '\0';
    slash = strrchr(here, '/');
    *slash = '\0';
    (void)snprintf(s->daemon, sizeof s->daemon, "%s/storm_ckptd", here);
    (void)snprintf(s->tool, sizeof s->tool, "%s/../bin/ckpt", here);
    n = setenv("CKPT_DAEMON", s->daemon, 1);
    assert(n == 0);
    n = setenv("CKPT_LINGER", "0", 1);
    assert(n == 0);
}

static void run_home(const struct storm *s, uint32_t number)
{
    char dir[PATH_MAX];
    const struct home_options o = {.dir = dir,
                                   .tool = s->tool,
                                   .seed = s->seed,
                                   .number = number,
                                   .kills = s->kills};
    int rc;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(dir, sizeof dir, "%s/%u", s->dir, number);
    rc = mkdir(dir, 0700);
    assert(rc == 0);
    home_run(&o, s->sums);
}

static void run_homes(const struct storm *s)
{
    pid_t pid[HOMES_MOST];
    int status;

    (void)fflush(stdout);
    for (uint32_t i = 0; i < s->homes; i++) {
        pid[i] = fork();
        assert(pid[i] >= 0);
        if (pid[i] == 0) {
            run_home(s, i);
            _exit(0);
        }
    }
    for (uint32_t i = 0; i < s->homes; i++) {
        if (waitpid(pid[i], &status, 0) == pid[i] && status == 0)
            continue;
        (void)printf("VIOLATION: the process of home %u ended with %d\n", i,
                     status);
        (void)atomic_fetch_add(&s->sums->violations, 1);
    }
}

static void print_kills(const struct sums *t)
{
    (void)printf("%-32s %8s %8s\n", "killed", "at place", "random");
    for (int i = 0; i < VICTIMS; i++)
        (void)printf("%-32s %8u %8u\n", victim_name[i],
                     atomic_load(&t->at_place[i]),
                     atomic_load(&t->at_random[i]));
    (void)printf("%-32s %8s %8s\n", "at", "armed", "killed");
    for (size_t i = 0; i < place_count; i++)
        (void)printf("%-32s %8u %8u\n", places[i].name,
                     atomic_load(&t->armed[i]), atomic_load(&t->reached[i]));
}

/* So many kills reach every place; one that none reaches is none any more. */
static void check_places(const struct storm *s)
{
    for (size_t i = 0; i < place_count && s->kills >= PLACES_KILLS; i++) {
        if (atomic_load(&s->sums->reached[i]) > 0)
            continue;
        (void)printf("VIOLATION: never reached: %s\n", places[i].name);
        (void)atomic_fetch_add(&s->sums->violations, 1);
    }
}

static void print(const struct storm *s, uint64_t us)
{
    const struct sums *t = s->sums;
    uint32_t violations = atomic_load(&t->violations);

    print_kills(t);
    (void)printf("%u saves by ranks, %u seen committed; %u loads and %u reads "
                 "by survivors, bit for bit; %u errors with type and words\n",
                 atomic_load(&t->saves), atomic_load(&t->commits),
                 atomic_load(&t->loads), atomic_load(&t->reads),
                 atomic_load(&t->errors));
    for (uint32_t i = 0; i < violations && i < VIOLATIONS_KEPT; i++)
        if (t->text[i][0])
            (void)printf("VIOLATION: %s\n", t->text[i]);
    (void)printf("seed %" PRIu64 ": %u kills in %u homes, %u left over, %u "
                 "violations, %.1f s\n",
                 s->seed, atomic_load(&t->kills), s->homes,
                 atomic_load(&t->left_overs), violations, (double)us / 1e6);
}

int main(int argc, char **argv)
{
    struct storm s = {.kills = 60, .homes = 4, .seed = 1};
    uint64_t begin = proc_now_us();

    if (!parse(&s, argc, argv)) {
        (void)fprintf(stderr, "usage: storm --dir DIR [--kills N] [--seed S] "
                              "[--homes H]\n");
        return 2;
    }
    assert(place_count <= PLACES_MOST);
    find_programs(&s);
    s.sums = mmap(NULL, sizeof *s.sums, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(s.sums != MAP_FAILED);
    run_homes(&s);
    check_places(&s);
    print(&s, proc_now_us() - begin);
    return atomic_load(&s.sums->violations) > 0 ||
           atomic_load(&s.sums->kills) < s.kills;
}
