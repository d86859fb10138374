/*
 * soak.c - many saves with retention, reuse and faults, and what they cost in
 * the long run: memory, descriptors and space must not grow.
 *
 *   soak --dir DIR [--saves N] [--block N] [--seed S] [--any-memory]
 *
 * Two ranks save in blocks; a quarter of the tensors changes with each save,
 * the last three checkpoints are kept, every 37th save is one that must fail.
 * In some blocks a rank is killed (the next job begins with a load that is
 * compared) or the daemon is (by SIGTERM and SIGKILL in turn; the ranks start
 * another). After each block all is let come to rest and measured. Descriptors
 * are compared in the life of each process apart, without its first sample;
 * memory over all lives: what it was by the end of the warm-up is what it stays
 * at, whatever the number of saves. The allocator alone may take a little more.
 */
#include "tests/storm/crew.h"
#include "tests/storm/proc.h"
#include "tests/storm/space.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORLD        2
#define KEEP_LAST    3
#define FAIL_EVERY   37
#define LOOKS        8
#define LOOK_US      5000
#define SAMPLES_MOST 512
#define REST_US      ((uint64_t)20000000)
#define BLOCK_US     ((uint64_t)60000000)
#define RATIO_MOST   2.0
/* The warm-up: a share of the saves, and the first samples at least. */
#define WARM_UP_SHARE   6
#define WARM_UP_SAMPLES 2
/* Of memory after it, however many saves: what allocator and stacks take in one
 * life more than in another. */
#define NOISE_BYTES ((uint64_t)192 << 10)

enum event { EVENT_NONE, EVENT_RANK, EVENT_TERM, EVENT_KILL };

static const char *const event_name[] = {"", "rank killed", "daemon ended",
                                         "daemon killed"};

enum who { WHO_DAEMON, WHO_RANK, WHOS };

static const char *const who_name[] = {"daemon", "rank 0"};

/* One process at rest. */
struct state {
    pid_t pid;
    struct proc_memory memory;
    struct proc_descriptors descriptors;
};

struct sample {
    uint32_t saves;
    enum event event; /* of the block before it */
    struct state of[WHOS];
    struct space space;
};

struct soak {
    struct crew crew;
    const char *dir;
    char tool[PATH_MAX];
    uint32_t saves, block;
    uint64_t random;
    uint32_t done; /* saves of ended jobs */
    uint32_t committed, errors, loads;
    uint32_t violations;
    bool is_any_memory; /* a sanitizer keeps what was freed */
    uint32_t sample_count;
    struct sample sample[SAMPLES_MOST];
};

static uint32_t draw(struct soak *s, uint32_t limit)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) >> 33) % limit;
}

static void violation(struct crew *c, const char *text)
{
    struct soak *s = c->owner;

    s->violations++;
    (void)printf("VIOLATION: job %u: %s\n", c->jobs, text);
}

static void ended(struct crew *c, const struct rank_report *r)
{
    struct soak *s = c->owner;

    s->committed += r->commits;
    s->errors += r->errors;
    s->loads += r->load_code == 0;
}

/*
 * Blocks.
 */

static void start_job(struct soak *s)
{
    struct job *job = crew_job(&s->crew, WORLD, s->crew.jobs > 0, s->saves);

    job->tensors = 8;
    job->rows = 256;
    job->columns = 1024;
    job->change = 2;
    job->keep_last = KEEP_LAST;
    job->fail_every = FAIL_EVERY;
    job->has_quota = true;
    crew_start(&s->crew);
}

/* Whole saves of the job that runs. */
static uint32_t saved(const struct soak *s)
{
    return atomic_load(&s->crew.job->saved) / WORLD;
}

/* Until the job has done as many saves, or a rank has ended. */
static void wait_saved(struct soak *s, uint32_t count)
{
    uint64_t deadline = proc_now_us() + BLOCK_US;

    while (saved(s) < count && crew_reap(&s->crew) == WORLD) {
        if (proc_now_us() > deadline) {
            crew_violation(&s->crew, "HANG: %u of %u saves of a block",
                           saved(s), count);
            return;
        }
        proc_sleep_us(500);
    }
}

static void stop_job(struct soak *s)
{
    atomic_store(&s->crew.job->stop, true);
    crew_wait(&s->crew, NULL, NULL);
    s->done += saved(s);
}

static void strike(struct soak *s, enum event event)
{
    atomic_store(&s->crew.job->is_disturbed, true);
    proc_sleep_us(draw(s, 20000));
    switch (event) {
    case EVENT_RANK:
        (void)crew_kill_rank(&s->crew, draw(s, WORLD));
        stop_job(s);
        start_job(s);
        break;
    case EVENT_TERM:
        (void)crew_kill_daemon(&s->crew, 0, SIGTERM);
        break;
    case EVENT_KILL:
        (void)crew_kill_daemon(&s->crew, 0, SIGKILL);
        break;
    case EVENT_NONE:
        break;
    }
}

/* Until `total` saves have been done in all, with the event in the midst. */
static void run_block(struct soak *s, uint32_t total, enum event event)
{
    uint32_t middle = total - s->block / 2;

    if (event != EVENT_NONE) {
        atomic_store(&s->crew.job->quota, total - s->done);
        wait_saved(s, middle - s->done);
        strike(s, event);
    }
    atomic_store(&s->crew.job->quota, total - s->done);
    wait_saved(s, total - s->done);
    atomic_store(&s->crew.job->is_disturbed, false);
}

/*
 * Measuring.
 */

/* The least of a few looks: a file may just be open for a moment. */
static void look_at(struct state *state, pid_t pid)
{
    state->pid = pid;
    (void)proc_memory(pid, &state->memory);
    proc_descriptors(pid, &state->descriptors);
    for (int i = 0; i < LOOKS; i++) {
        struct proc_descriptors d;

        proc_sleep_us(LOOK_US);
        proc_descriptors(pid, &d);
        if (d.all - d.segments <
            state->descriptors.all - state->descriptors.segments)
            state->descriptors = d;
    }
}

/* At rest: the policy has passed, and nothing is freed any more. Beside what it
 * keeps, a generation keeps the save that it began with. */
static bool come_to_rest(struct soak *s, struct space *space)
{
    uint64_t deadline = proc_now_us() + REST_US, before = UINT64_MAX;

    for (;;) {
        bool ok = space_look(s->tool, s->crew.home, s->crew.local[0], space);

        if (ok && space->checkpoints <= KEEP_LAST + 1 &&
            space->allocated_bytes == before)
            return true;
        if (proc_now_us() > deadline)
            return false;
        before = space->allocated_bytes;
        proc_sleep_us(50000);
    }
}

static void print_heading(void)
{
    (void)printf("%6s  %-13s | %-37s | %-29s | %s\n", "", "", "daemon",
                 "rank 0", "segments");
    (void)printf("%6s  %-13s | %7s %7s %7s %4s %4s %5s | %7s %7s %6s %5s | "
                 "%7s %7s %5s\n",
                 "saves", "event", "rss", "anon", "shared", "fds", "segs",
                 "memfd", "rss", "anon", "shared", "fds", "alloc", "refer",
                 "ratio");
}

static void print_sample(const struct sample *m)
{
    const struct state *d = &m->of[WHO_DAEMON], *r = &m->of[WHO_RANK];

    (void)printf(
        "%6u  %-13s | %7" PRIu64 " %7" PRIu64 " %7" PRIu64
        " %4u %4u %5u | %7" PRIu64 " %7" PRIu64 " %6" PRIu64 " %5u | %7" PRIu64
        " %7" PRIu64 " %5.2f\n",
        m->saves, event_name[m->event], d->memory.rss_bytes >> 10,
        d->memory.anonymous_bytes >> 10, d->memory.shared_bytes >> 10,
        d->descriptors.all, d->descriptors.segments, d->descriptors.memfds,
        r->memory.rss_bytes >> 10, r->memory.anonymous_bytes >> 10,
        r->memory.shared_bytes >> 10, r->descriptors.all,
        m->space.allocated_bytes >> 10, m->space.referenced_bytes >> 10,
        (double)m->space.allocated_bytes / (double)m->space.referenced_bytes);
    (void)fflush(stdout);
}

static void measure(struct soak *s, enum event event)
{
    struct sample *m = &s->sample[s->sample_count];
    pid_t pid = 0;

    assert(s->sample_count < SAMPLES_MOST);
    m->saves = s->done + saved(s);
    m->event = event;
    if (!come_to_rest(s, &m->space))
        crew_violation(&s->crew, "it does not come to rest: %u checkpoints",
                       m->space.checkpoints);
    if (proc_find("ckptd", s->crew.local[0], &pid, 1) != 1)
        crew_violation(&s->crew, "there is not one daemon");
    look_at(&m->of[WHO_DAEMON], pid);
    look_at(&m->of[WHO_RANK], s->crew.pid[0]);
    print_sample(m);
    if ((double)m->space.allocated_bytes >
        RATIO_MOST * (double)m->space.referenced_bytes)
        crew_violation(&s->crew,
                       "more than %.1f times the space that is "
                       "referred to",
                       RATIO_MOST);
    s->sample_count++;
}

/*
 * Judging.
 */

/* As many segments are open as there are; the rest may not grow at all. */
static uint32_t others(const struct state *state)
{
    return state->descriptors.all - state->descriptors.segments;
}

/* One life: samples [0, count) of one process. What the first has is warm-up.
 */
static void judge_life(struct soak *s, const struct sample *m, uint32_t count,
                       enum who who)
{
    uint32_t first = others(&m[1].of[who]),
             last = others(&m[count - 1].of[who]);

    if (last > first)
        crew_violation(&s->crew, "%s %d: descriptors grow from %u to %u",
                       who_name[who], (int)m[0].of[who].pid, first, last);
}

static void judge_memory(struct soak *s, enum who who)
{
    uint64_t before = 0, after = 0;
    uint32_t warm = s->saves / WARM_UP_SHARE, begin = 0;

    for (uint32_t i = 0; i < s->sample_count; i++) {
        const struct sample *m = &s->sample[i];
        uint64_t bytes = m->of[who].memory.anonymous_bytes;

        if (i < WARM_UP_SAMPLES || m->saves <= warm) {
            before = max_u64(before, bytes);
            begin = m->saves;
        } else {
            after = max_u64(after, bytes);
        }
    }
    if (after == 0 || s->is_any_memory) /* it was cut short */
        return;
    (void)printf("%s: at most %" PRIu64 " KiB of memory up to save %u, "
                 "%" PRIu64 " KiB from then to save %u (%+" PRId64
                 " KiB, at most +%" PRIu64 ")\n",
                 who_name[who], before >> 10, begin, after >> 10,
                 s->sample[s->sample_count - 1].saves,
                 ((int64_t)after - (int64_t)before) / 1024, NOISE_BYTES >> 10);
    if (after > before + NOISE_BYTES)
        crew_violation(&s->crew, "memory of the %s grows", who_name[who]);
}

static void judge(struct soak *s)
{
    for (enum who who = WHO_DAEMON; who < WHOS; who++) {
        uint32_t begin = 0;

        judge_memory(s, who);
        for (uint32_t i = 1; i <= s->sample_count; i++) {
            if (i < s->sample_count &&
                s->sample[i].of[who].pid == s->sample[begin].of[who].pid)
                continue;
            if (i - begin > 1)
                judge_life(s, &s->sample[begin], i - begin, who);
            begin = i;
        }
    }
}

static enum event event_of(uint32_t block)
{
    static const enum event row[] = {
        EVENT_NONE, EVENT_NONE, EVENT_RANK, EVENT_NONE, EVENT_NONE, EVENT_NONE,
        EVENT_TERM, EVENT_NONE, EVENT_NONE, EVENT_NONE, EVENT_RANK, EVENT_NONE,
        EVENT_NONE, EVENT_NONE, EVENT_KILL, EVENT_NONE};

    return row[block % ARRAY_LEN(row)];
}

static void run(struct soak *s)
{
    uint64_t begin = proc_now_us();

    crew_init(&s->crew, s->dir, 1);
    start_job(s);
    print_heading();
    for (uint32_t b = 0; b * s->block < s->saves && !s->violations; b++) {
        enum event event = event_of(b);

        run_block(s, (b + 1) * s->block, event);
        measure(s, event);
    }
    stop_job(s);
    (void)crew_kill_daemon(&s->crew, 0, SIGTERM);
    (void)crew_wait_quiet(&s->crew);
    judge(s);
    crew_fini(&s->crew);
    (void)printf("%u saves, %u ranks' commits, %u loads bit for bit, %u errors "
                 "with type and words, %u violations, %.1f s\n",
                 s->done, s->committed, s->loads, s->errors, s->violations,
                 (double)(proc_now_us() - begin) / 1e6);
}

static bool parse(struct soak *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"saves", required_argument, NULL, 'n'},
        {"block", required_argument, NULL, 'b'},
        {"seed", required_argument, NULL, 's'},
        {"any-memory", no_argument, NULL, 'a'},
        {0},
    };
    int c;

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'd')
            s->dir = optarg;
        else if (c == 'n')
            s->saves = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'b')
            s->block = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 's')
            s->random = strtoull(optarg, NULL, 10);
        else if (c == 'a')
            s->is_any_memory = true;
        else
            return false;
    }
    return s->dir && optind == argc && s->block >= 2;
}

/* The programs of this build: BUILD/tests/soak is this one. */
static void find_programs(struct soak *s)
{
    char here[PATH_MAX - 32], daemon[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", here, sizeof here - 1);

    assert(n > 0);
    here[n] = '\0';
    *strrchr(here, '/') = '\0';
    (void)snprintf(daemon, sizeof daemon, "%s/../bin/ckptd", here);
    (void)snprintf(s->tool, sizeof s->tool, "%s/../bin/ckpt", here);
    n = setenv("CKPT_DAEMON", daemon, 1);
    assert(n == 0);
    n = setenv("CKPT_LINGER", "60", 1);
    assert(n == 0);
}

int main(int argc, char **argv)
{
    static struct soak s = {.crew = {.ended = ended, .violation = violation},
                            .saves = 100,
                            .block = 20,
                            .random = 1};

    s.crew.owner = &s;
    if (!parse(&s, argc, argv)) {
        (void)fprintf(stderr, "usage: soak --dir DIR [--saves N] [--block N] "
                              "[--seed S] [--any-memory]\n");
        return 2;
    }
    find_programs(&s);
    run(&s);
    return s.violations > 0;
}
