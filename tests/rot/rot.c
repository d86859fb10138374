/*
 * rot.c - flips bits of all that a small checkpoint owns, cuts, swaps and
 * replays its files, and reads it in four ways (reading.h): each must see it,
 * in words that name the file, the tensor and the range, or it must be proven
 * harmless. No way may ever hand over a wrong byte.
 *
 *   rot --dir DIR [--seed S] [--bits N] [--loads N] [--commands N] [--ranks N]
 *
 * N of --bits are flipped in each owned byte and read by the code of `ckpt
 * verify` (8: every bit). The others say how many flips, anywhere in what is
 * owned, are read in that way; `loads` are also done for each cut, swap and
 * replay. Flips of other records and of space of nobody are reported apart. Two
 * processes share the work.
 */
#include "tests/rot/damage.h"
#include "tests/storm/proc.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define WORKERS 2

static const char *const reading_name[READINGS] = {
    "ckpt verify, in process", "load, in process", "ckpt verify", "ckpt_load"};

struct rot {
    const char *dir;
    uint64_t seed;
    uint64_t bits, count[READINGS];
    struct tally *tally; /* shared by the workers */
};

static void at_random(struct bench *b, enum reading_kind kind, uint64_t count,
                      bool owned)
{
    for (uint64_t i = 0; i < count; i++)
        flip_at_random(b, kind, owned);
}

static void work(struct rot *r, uint32_t worker, uint32_t codec)
{
    struct bench b = {.tally = r->tally, .worker = worker, .workers = WORKERS};

    bench_open(&b, r->dir, r->seed, codec);
    flip_all(&b, r->bits);
    for (enum reading_kind k = READ_LOAD; k < READINGS; k++)
        at_random(&b, k, r->count[k] / WORKERS / 2, true);
    /* What nobody owns, or other records: an eighth as many. */
    at_random(&b, READ_VERIFY, b.subject.owned_bytes / WORKERS / 8, false);
    at_random(&b, READ_LOAD, r->count[READ_LOAD] / WORKERS / 8, false);
    if (worker == 0)
        cut_swap_replay(&b);
    bench_close(&b);
}

static void run(struct rot *r)
{
    pid_t pid[WORKERS];
    int status;

    (void)fflush(stdout);
    for (uint32_t i = 0; i < WORKERS; i++) {
        pid[i] = fork();
        assert(pid[i] >= 0);
        if (pid[i] > 0)
            continue;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (uint32_t codec = 1; codec <= 2; codec++)
            work(r, i, codec);
        exit(0);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        if (waitpid(pid[i], &status, 0) == pid[i] && status == 0)
            continue;
        (void)printf("VIOLATION: worker %u ended with %d\n", i, status);
        (void)atomic_fetch_add(&r->tally->violations, 1);
    }
}

/* Every byte that is owned, and so many bits of each. */
static void check_all(const struct rot *r)
{
    uint64_t tried = 0, wanted = r->bits * atomic_load(&r->tally->owned_bytes);

    for (int w = 0; w < PART_RECORD; w++)
        for (int o = 0; o < OUTCOMES; o++)
            tried += atomic_load(&r->tally->count[READ_VERIFY][w][o]);
    if (tried == wanted && wanted > 0)
        return;
    (void)printf("VIOLATION: %" PRIu64 " flips of what is owned, not %" PRIu64
                 "\n",
                 tried, wanted);
    (void)atomic_fetch_add(&r->tally->violations, 1);
}

static void print(const struct rot *r, uint64_t us)
{
    const struct tally *t = r->tally;
    uint32_t violations = atomic_load(&t->violations);

    (void)printf("owned: %u bytes in two checkpoints (raw, byte planes + "
                 "lz4)\n",
                 atomic_load(&t->owned_bytes));
    (void)printf("%-24s %-24s %8s %8s %8s %8s %6s\n", "read by", "damaged",
                 "tried", "error", "older", "harmless", "wrong");
    for (int k = 0; k < READINGS; k++) {
        for (int w = 0; w < WHATS; w++) {
            const atomic_uint *c = t->count[k][w];
            uint32_t sum = 0;

            for (int o = 0; o < OUTCOMES; o++)
                sum += atomic_load(&c[o]);
            if (sum)
                (void)printf("%-24s %-24s %8u %8u %8u %8u %6u\n",
                             reading_name[k], what_name(w), sum,
                             atomic_load(&c[OUTCOME_ERROR]),
                             atomic_load(&c[OUTCOME_OLDER]),
                             atomic_load(&c[OUTCOME_NEWEST]),
                             atomic_load(&c[OUTCOME_WRONG]));
        }
    }
    for (uint32_t i = 0; i < violations && i < TALLY_TEXTS; i++)
        (void)printf("VIOLATION: %s\n", t->text[i]);
    (void)printf("seed %" PRIu64 ": %u violations, %.1f s\n", r->seed,
                 violations, (double)us / 1e6);
}

static bool parse(struct rot *r, int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"seed", required_argument, NULL, 's'},
        {"bits", required_argument, NULL, 'b'},
        {"loads", required_argument, NULL, '0' + READ_LOAD},
        {"commands", required_argument, NULL, '0' + READ_COMMAND},
        {"ranks", required_argument, NULL, '0' + READ_RANK},
        {0},
    };
    int c;

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint64_t number = strtoull(optarg ? optarg : "", NULL, 10);

        if (c == 'd')
            r->dir = optarg;
        else if (c == 's')
            r->seed = number;
        else if (c == 'b')
            r->bits = number;
        else if (c > '0' && c < '0' + READINGS)
            r->count[c - '0'] = number;
        else
            return false;
    }
    return r->dir && optind == argc && r->bits <= 8;
}

int main(int argc, char **argv)
{
    struct rot r = {
        .seed = 1,
        .bits = 1,
        .count = {[READ_LOAD] = 2000, [READ_COMMAND] = 40, [READ_RANK] = 16}};
    uint64_t begin = proc_now_us();
    int rc;

    if (!parse(&r, argc, argv)) {
        (void)fprintf(stderr,
                      "usage: rot --dir DIR [--seed S] [--bits N] [--loads N] "
                      "[--commands N] [--ranks N]\n");
        return 2;
    }
    rc = setenv("CKPT_LINGER", "0", 1);
    assert(rc == 0);
    r.tally = mmap(NULL, sizeof *r.tally, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(r.tally != MAP_FAILED);
    run(&r);
    check_all(&r);
    print(&r, proc_now_us() - begin);
    return atomic_load(&r.tally->violations) > 0;
}
