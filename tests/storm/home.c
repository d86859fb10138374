/*
 * home.c - see home.h.
 *
 * A round: choose who is killed and where or when (all from the seed), start
 * a job, kill, wait until all have ended; then the job that checks.
 */
#include "tests/storm/home.h"

#include "tests/storm/crew.h"
#include "tests/storm/proc.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAVES_MOST 4

const char *const victim_name[VICTIMS] = {
    "a rank", "the daemon", "daemon and all ranks", "a rank that loads",
    "a daemon that loads"};

/* What is to happen in a round. */
struct blow {
    enum victim victim;
    int place; /* -1: at a random time */
    unsigned nth;
    uint32_t rank, local;
    uint64_t after_us;
    bool daemon_first;
    bool has_struck;
};

struct home {
    struct crew crew;
    const struct home_options *options;
    struct sums *sums;
    uint64_t random;
    char arm[CREW_PATH_BYTES];
    uint64_t typical_us;  /* of a job that saves */
    uint32_t descriptors; /* of a rank in a job without a kill */
    struct blow blow;     /* of this round */
};

static uint32_t draw(struct home *h, uint32_t limit)
{
    uint64_t z = h->random += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) >> 33) % limit;
}

static void violation(struct crew *c, const char *text)
{
    struct home *h = c->owner;
    uint32_t number = atomic_fetch_add(&h->sums->violations, 1);

    if (number < VIOLATIONS_KEPT)
        (void)snprintf(h->sums->text[number], sizeof h->sums->text[0],
                       "home %u job %u: %s", h->options->number, c->jobs, text);
}

/* One daemon loads for any number of ranks; with two, see crew.c. */
static uint32_t world_of(struct home *h)
{
    return h->crew.locals > 1 ? h->crew.locals : 1 + draw(h, 3);
}

static void left_over(struct home *h, const char *what)
{
    (void)atomic_fetch_add(&h->sums->left_overs, 1);
    crew_violation(&h->crew, "LEFT OVER: %s", what);
}

/* A rank has ended: what it has done counts, and after a daemon's death it has
 * no more descriptors than without. */
static void ended(struct crew *c, const struct rank_report *r)
{
    struct home *h = c->owner;

    (void)atomic_fetch_add(&h->sums->saves, r->saves);
    (void)atomic_fetch_add(&h->sums->commits, r->commits);
    (void)atomic_fetch_add(&h->sums->reads, r->reads);
    (void)atomic_fetch_add(&h->sums->errors, r->errors);
    (void)atomic_fetch_add(&h->sums->loads, r->load_code == 0);
    if (r->has_ended && h->descriptors && r->descriptors > h->descriptors) {
        left_over(h, "descriptors of a rank");
        crew_violation(c, "%u descriptors, not %u", r->descriptors,
                       h->descriptors);
    }
}

static void wait_quiet(struct home *h)
{
    char slots[CREW_PATH_BYTES + 8];

    if (!crew_wait_quiet(&h->crew))
        (void)atomic_fetch_add(&h->sums->left_overs, 1);
    (void)snprintf(slots, sizeof slots, "%s.slots", h->arm);
    if (unlink(slots) == 0)
        left_over(h, "slots in use when a daemon ended in order");
}

/*
 * Blows.
 */

static bool place_suits(const struct place *p, enum victim victim)
{
    bool is_loading =
        victim == VICTIM_LOADING_RANK || victim == VICTIM_LOADING_DAEMON;
    bool is_daemon = victim == VICTIM_DAEMON || victim == VICTIM_LOADING_DAEMON;

    return place_is_of_daemon(p) == is_daemon && p->is_load == is_loading;
}

static void choose(struct home *h, struct blow *b)
{
    static const enum victim hat[] = {
        VICTIM_RANK,         VICTIM_RANK,           VICTIM_RANK,
        VICTIM_DAEMON,       VICTIM_DAEMON,         VICTIM_DAEMON,
        VICTIM_DAEMON,       VICTIM_DAEMON,         VICTIM_ALL,
        VICTIM_LOADING_RANK, VICTIM_LOADING_DAEMON, VICTIM_LOADING_DAEMON};
    uint32_t number;

    *b = (struct blow){.victim = hat[draw(h, ARRAY_LEN(hat))], .place = -1};
    b->daemon_first = draw(h, 2);
    b->after_us = h->typical_us * draw(h, 1000) / 900;
    if (b->victim == VICTIM_ALL || draw(h, 3) == 0)
        return;
    do
        number = draw(h, (uint32_t)place_count);
    while (!place_suits(&places[number], b->victim));
    b->place = (int)number;
    b->nth = 1 + draw(h, places[number].most);
    (void)atomic_fetch_add(&h->sums->armed[number], 1);
}

static void arm(struct home *h, const struct blow *b)
{
    char text[128];
    int fd, n;

    if (b->place < 0)
        return;
    if (!place_is_of_daemon(&places[b->place])) {
        h->crew.job->victim = b->rank;
        atomic_store(&h->crew.job->left, b->nth);
        atomic_store(&h->crew.job->place, b->place);
        return;
    }
    n = snprintf(text, sizeof text, "%s\t%u\t%u\n", places[b->place].name,
                 b->nth, h->crew.jobs);
    fd = open(h->arm, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert(fd >= 0);
    n -= (int)write(fd, text, (size_t)n);
    assert(n == 0);
    (void)close(fd);
}

/* Kills by hand, when it is time; true when somebody was there to kill. */
static bool strike(struct home *h, const struct blow *b)
{
    struct crew *c = &h->crew;
    uint32_t killed = 0;

    switch (b->victim) {
    case VICTIM_RANK:
    case VICTIM_LOADING_RANK:
        return crew_kill_rank(c, b->rank);
    case VICTIM_DAEMON:
    case VICTIM_LOADING_DAEMON:
        return crew_kill_daemon(c, b->local, SIGKILL) > 0;
    case VICTIM_ALL:
        for (uint32_t i = 0; i < c->locals && b->daemon_first; i++)
            killed += crew_kill_daemon(c, i, SIGKILL);
        for (uint32_t i = 0; i < c->job->world; i++)
            killed += crew_kill_rank(c, i);
        for (uint32_t i = 0; i < c->locals && !b->daemon_first; i++)
            killed += crew_kill_daemon(c, i, SIGKILL);
        return killed > 0;
    case VICTIMS:
        break;
    }
    return false;
}

static void every(void *arg, uint64_t us)
{
    struct home *h = arg;
    struct blow *b = &h->blow;

    if (b->place < 0 && !b->has_struck && us >= b->after_us)
        b->has_struck = strike(h, b);
}

/* Whether the place was reached; it is disarmed. */
static bool disarm(struct home *h, const struct blow *b)
{
    if (!place_is_of_daemon(&places[b->place]))
        return atomic_load(&h->crew.job->has_fired);
    return unlink(h->arm) != 0;
}

static void round_kill(struct home *h)
{
    struct crew *c = &h->crew;
    struct blow *b = &h->blow;
    bool is_loading;

    choose(h, b);
    is_loading =
        b->victim == VICTIM_LOADING_RANK || b->victim == VICTIM_LOADING_DAEMON;
    (void)crew_job(c, world_of(h), is_loading, 1 + draw(h, SAVES_MOST));
    atomic_store(&c->job->is_disturbed, true);
    b->rank = draw(h, c->job->world);
    b->local = draw(h, c->locals);
    arm(h, b);
    crew_start(c);
    crew_wait(c, every, h);
    if (b->place >= 0)
        b->has_struck = disarm(h, b);
    else /* what is too late is drawn earlier the next time */
        h->typical_us = b->has_struck ? h->typical_us + h->typical_us / 16
                                      : h->typical_us * 3 / 4;
    if (!b->has_struck)
        return;
    (void)atomic_fetch_add(&h->sums->kills, 1);
    if (b->place < 0) {
        (void)atomic_fetch_add(&h->sums->at_random[b->victim], 1);
    } else {
        (void)atomic_fetch_add(&h->sums->at_place[b->victim], 1);
        (void)atomic_fetch_add(&h->sums->reached[b->place], 1);
    }
}

/*
 * Checks.
 */

/* All ranks have loaded the same save, at once, and none older than what was
 * promised. */
static void check_loaded(struct crew *c)
{
    const struct ckpt_id *first = &c->job->report[0].loaded;

    for (uint32_t i = 0; i < c->job->world; i++) {
        const struct rank_report *r = &c->job->report[i];

        if (r->load_code)
            crew_violation(c, "rank %u: load: code %d", i, r->load_code);
        else if (r->attempts != 1)
            crew_violation(c, "rank %u: %u attempts to load", i, r->attempts);
        else if (r->loaded.step != first->step ||
                 r->loaded.generation != first->generation)
            crew_violation(c,
                           "rank 0 has loaded step %" PRIu64 "/%u, rank %u "
                           "step %" PRIu64 "/%u",
                           first->step, first->generation, i, r->loaded.step,
                           r->loaded.generation);
    }
    if (first->step < c->floor)
        crew_violation(c, "step %" PRIu64 " was loaded, %" PRIu64 " committed",
                       first->step, c->floor);
    c->floor = max_u64(c->floor, first->step);
}

static void round_check(struct home *h)
{
    struct crew *c = &h->crew;
    char path[2 * CREW_PATH_BYTES];

    (void)crew_job(c, world_of(h), true, 0);
    crew_start(c);
    crew_wait(c, NULL, NULL);
    wait_quiet(h);
    check_loaded(c);
    if (proc_left_over(c->home, path, sizeof path) ||
        (c->locals > 1 && proc_left_over(c->local[1], path, sizeof path)))
        left_over(h, path);
}

/* `ckpt verify --deep` over all that is in a local store. */
static void verify(struct home *h, const char *local)
{
    char tool[CREW_PATH_BYTES], out[CREW_PATH_BYTES + 16];
    char path[CREW_PATH_BYTES + 16];
    char verb[] = "verify", deep[] = "--deep", home[] = "--home";
    char option[] = "--local";
    char *argv[] = {tool, verb, deep, home, h->crew.home, option, path, NULL};
    posix_spawn_file_actions_t actions;
    int status = 0, rc;
    pid_t pid;

    (void)snprintf(tool, sizeof tool, "%s", h->options->tool);
    (void)snprintf(path, sizeof path, "%s", local);
    (void)snprintf(out, sizeof out, "%s/verify.log", h->options->dir);
    rc = posix_spawn_file_actions_init(&actions);
    assert(rc == 0);
    for (int fd = 1; fd <= 2 && rc == 0; fd++)
        rc = posix_spawn_file_actions_addopen(
            &actions, fd, out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (rc == 0)
        rc = posix_spawn(&pid, tool, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc == 0 && waitpid(pid, &status, 0) != pid)
        rc = -1;
    /* With two local stores the other one's part is missing here. */
    if (rc || !WIFEXITED(status) ||
        WEXITSTATUS(status) != (h->crew.locals > 1 ? 3 : 0))
        crew_violation(&h->crew, "ckpt verify --deep: status %d (see %s)",
                       status, out);
}

/* The first checkpoint, and what a job without a kill is like. */
static void first_job(struct home *h)
{
    uint64_t begin = proc_now_us();

    (void)crew_job(&h->crew, 2, false, 3);
    crew_start(&h->crew);
    crew_wait(&h->crew, NULL, NULL);
    h->typical_us = proc_now_us() - begin;
    h->descriptors = h->crew.job->report[0].descriptors;
    wait_quiet(h);
    round_check(h);
}

void home_run(const struct home_options *o, struct sums *sums)
{
    struct proc_descriptors before, after;
    struct home h = {.options = o,
                     .sums = sums,
                     .crew = {.ended = ended, .violation = violation}};
    int rc;

    proc_descriptors(0, &before);
    h.crew.owner = &h;
    h.random = o->seed * 1000 + o->number;
    (void)snprintf(h.arm, sizeof h.arm, "%s/arm", o->dir);
    rc = setenv("CKPT_STORM_ARM", h.arm, 1);
    assert(rc == 0);
    crew_init(&h.crew, o->dir, 1 + o->number % CREW_LOCALS);
    first_job(&h);
    while (atomic_load(&sums->kills) < o->kills &&
           atomic_load(&sums->violations) < VIOLATIONS_KEPT) {
        round_kill(&h);
        wait_quiet(&h);
        round_check(&h);
    }
    for (uint32_t i = 0; i < h.crew.locals; i++)
        verify(&h, h.crew.local[i]);
    crew_fini(&h.crew);
    proc_descriptors(0, &after);
    if (after.all != before.all || after.memfds)
        left_over(&h, "descriptors of the storm itself");
}
