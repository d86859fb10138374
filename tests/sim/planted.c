/*
 * planted.c - the simulator's oracle is shown to notice: each safeguard of the
 * engine that seeds can tell the absence of is left out in turn, as in
 * tests/crash/planted.c, and seeds are run until one fails.
 *
 * Usage: sim_planted [-a] [-n SEEDS] [NAME]
 *
 *   -a  those too that a few seeds in a thousand notice
 *   -n  so many seeds at most for each (20000)
 *
 * Prints which seed noticed, after how many, and what was noticed. Exits 1
 * when an absence was not.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WHY_BYTES 2048

bool is_left_out(const char *safeguard);

struct safeguard {
    const char *name;
    uint64_t from; /* the seed to begin with: it was quick once */
    bool is_rare;  /* some hundred seeds are needed */
};

static const struct safeguard safeguards[] = {
    {"votes of all members", 1, false},
    {"manifest before its decision", 58, false},
    {"confirmation of a decision", 8, false},
    {"reading back", 8, false},
    {"word of all ranks", 172, false},
    {"look for a closed generation", 123, false},
    {"decisions before a new generation", 408, true},
    {"one process for a rank", 15, false},
    {"answer that others have decided", 21, false},
    {"failure of a segment's sync", 5647, false},
    {"hold while one is unreadable", 346, true},
    {"hold of a load", 744, true},
    {"references of a commit", 299, true},
    {"voted segments until the decision", 905, true},
    {"digest of a chunk", 119, false},
};

/* What a child finds. */
struct finding {
    uint64_t seed, seeds;
    bool is_noticed, was_asked;
    char why[WHY_BYTES];
};

static const char *left_out; /* NULL: nothing */
static struct finding *found;

bool is_left_out(const char *safeguard)
{
    if (!left_out || strcmp(left_out, safeguard) != 0)
        return false;
    found->was_asked = true;
    return true;
}

static void child(const struct safeguard *s, uint64_t most, int error_fd)
{
    struct sim_stats total = {0};

    (void)dup2(error_fd, STDERR_FILENO);
    left_out = s->name;
    while (!found->is_noticed && found->seeds < most) {
        found->seed = s->from + found->seeds++;
        found->is_noticed = !sim_run(found->seed, false, &total, found->why);
    }
    _exit(0);
}

/* An assertion of the engine is as good as the oracle's word. */
static void died_by(int status, int error_fd)
{
    ssize_t got = pread(error_fd, found->why, WHY_BYTES - 64, 0);
    size_t end;

    found->why[got > 0 ? got : 0] = '\0';
    end = strcspn(found->why, "\n");
    (void)snprintf(found->why + end, WHY_BYTES - end, " (status 0x%x)",
                   (unsigned)status);
    found->is_noticed = true;
}

static bool is_noticed(const struct safeguard *s, uint64_t most)
{
    int error_fd = memfd_create("errors", MFD_CLOEXEC), status;
    pid_t pid, ended;

    assert(error_fd >= 0);
    *found = (struct finding){0};
    (void)fflush(stdout);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0)
        child(s, most, error_fd);
    ended = waitpid(pid, &status, 0);
    assert(ended == pid);
    if (WIFSIGNALED(status))
        died_by(status, error_fd);
    (void)close(error_fd);
    return found->is_noticed && found->was_asked;
}

int main(int argc, char **argv)
{
    uint32_t tried = 0, missed = 0;
    uint64_t most = 20000;
    bool with_rare = false;
    int c;

    while ((c = getopt(argc, argv, "an:")) != -1) {
        if (c == 'a')
            with_rare = true;
        else if (c == 'n')
            most = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(found != MAP_FAILED);
    (void)printf("       safeguard that is left out           seeds  noticed "
                 "by\n");
    for (size_t i = 0; i < ARRAY_LEN(safeguards); i++) {
        const struct safeguard *s = &safeguards[i];
        bool noticed;

        if (optind < argc ? strcmp(argv[optind], s->name) != 0
                          : s->is_rare && !with_rare)
            continue;
        noticed = is_noticed(s, most);
        (void)printf("%-6s %-35s %6" PRIu64 "  seed %" PRIu64 ": %.140s\n",
                     noticed ? "ok" : "MISSED", s->name, found->seeds,
                     found->seed,
                     found->was_asked ? found->why : "nobody asks for it");
        tried++;
        missed += !noticed;
    }
    (void)printf("%" PRIu32 " safeguards left out in turn, %" PRIu32
                 " not noticed by seeds\n",
                 tried, missed);
    return missed > 0 || tried == 0;
}
