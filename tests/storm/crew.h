/*
 * crew.h - the ranks of one home's jobs, one job after another, and the
 * daemons that they start: forking, killing, waiting, and what is left over.
 *
 * The process of a crew is a subreaper: a daemon whose rank has died becomes
 * its child, so that none is overlooked.
 */
#ifndef TESTS_STORM_CREW_H
#define TESTS_STORM_CREW_H

#include "tests/storm/rank.h"

#include <sys/types.h>

#define CREW_PATH_BYTES 512
#define CREW_LOCALS     2

struct crew {
    char home[CREW_PATH_BYTES];
    char local[CREW_LOCALS][CREW_PATH_BYTES + 16];
    uint32_t locals; /* rank i uses number i % locals, a daemon each */
    struct job *job; /* shared with the ranks */
    pid_t pid[STORM_RANKS];
    bool was_killed[STORM_RANKS];
    uint32_t jobs;
    uint64_t next_step;
    uint64_t floor; /* the highest step that was promised or loaded */
    char token[64];
    /* A rank has ended; its report is whole. */
    void (*ended)(struct crew *c, const struct rank_report *report);
    void (*violation)(struct crew *c, const char *text);
    void *owner;
};

/* Makes DIR/home, with so many local stores. The caller sets `ended`,
 * `violation` and `owner` first. */
void crew_init(struct crew *c, const char *dir, uint32_t locals);
void crew_fini(struct crew *c);

/* A job of small tensors, not started yet; the caller may change it. */
struct job *crew_job(struct crew *c, uint32_t world, bool loads,
                     uint32_t saves);
void crew_start(struct crew *c);
/* Takes up who has ended; how many ranks are left. */
uint32_t crew_reap(struct crew *c);
/* Until all have ended; `every` (may be NULL) is called about every half
 * millisecond with the time since the call. More than a minute is a
 * violation. */
void crew_wait(struct crew *c, void (*every)(void *arg, uint64_t us),
               void *arg);

bool crew_kill_rank(struct crew *c, uint32_t rank);
/* SIGKILL, or another signal, to the daemon of this local store: how many. */
uint32_t crew_kill_daemon(const struct crew *c, uint32_t local, int signal);

/* No rank is left. Until no daemon is left; true: it was in time. */
bool crew_wait_quiet(struct crew *c);

void crew_violation(struct crew *c, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
