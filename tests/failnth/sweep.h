/*
 * sweep.h - one scenario, one class of sites: a child process for every N.
 *
 * The parent has prepared what the scenario begins with; a child forked for
 * each injection inherits it, arms the fault, goes through the scenario,
 * disarms, and checks all that must hold, by asserts. What a child does not
 * survive, or what takes it longer than the limit, is a violation; its output
 * and the name by which it is repeated are printed:
 *
 *   CKPT_FAILNTH=SCENARIO/CLASS/N/MODE build/tests/test_failnth_engine
 *
 * With CKPT_TEST_LONG every N is injected, else so many as `share` says, or
 * CKPT_FAILNTH_SHARE, drawn by CKPT_FAILNTH_SEED (1).
 */
#ifndef TESTS_FAILNTH_SWEEP_H
#define TESTS_FAILNTH_SWEEP_H

#include "common/util.h"

#include <stdbool.h>

enum sweep_mode {
    SWEEP_COUNT,      /* nothing fails */
    SWEEP_ONCE,       /* only the Nth */
    SWEEP_PERSISTENT, /* from the Nth on */
    SWEEP_AFTER,      /* the Nth is done, but fails */
    SWEEP_MODES
};

struct sweep_fault {
    enum sweep_mode mode;
    uint64_t nth;
};

/* What a child found, in memory that it shares with its parent. */
struct sweep_result {
    bool is_complete; /* set when everything was checked */
    uint64_t seen;    /* calls of the class */
    uint64_t fired;
    int code; /* of the first failure that somebody was told; 0: absorbed */
    char text[512];
};

struct sweep_totals {
    uint64_t injections, absorbed, typed, violations;
};

struct sweep {
    const char *scenario, *class_name;
    /* In the child. */
    void (*run)(const struct sweep *sweep, const struct sweep_fault *fault,
                struct sweep_result *result);
    const void *scenario_arg, *class_arg;
    /* In the parent, when that child has ended; NULL, or in words what is not
     * as it must be. The member itself may be NULL. */
    const char *(*look)(const struct sweep *sweep, uint32_t job);
    bool has_after;      /* SWEEP_AFTER too */
    uint64_t sites;      /* if they were counted already; 0: a child counts */
    uint32_t share;      /* injections at most, unless CKPT_TEST_LONG; */
    uint32_t long_share; /* and with it; 0: all */
    uint32_t jobs; /* children at a time, SWEEP_JOBS_MAX at most; 0: one */
    int limit_ms;  /* of one child */
    /* Its own: what was found. */
    struct sweep_totals found;
    uint64_t begun_ms, ended_ms;
};

#define SWEEP_JOBS_MAX 16
/* Which of the jobs this child is. */
extern uint32_t sweep_job;

/* All of it: prints a line; the number of violations. */
uint64_t sweep_run(struct sweep *sweep);
/* The same for several, side by side. */
uint64_t sweep_run_all(struct sweep *sweeps, size_t count);
/* Only the child without a fault; the number of violations. */
uint64_t sweep_count(struct sweep *sweep, struct sweep_result *result);

/* Whether CKPT_FAILNTH asks for a replay, which is then all that happens. */
bool sweep_is_replay(void);

/* Prints what all sweeps of the program found. Whether they made so many
 * injections, with CKPT_TEST_LONG `many_more`; a replay need not. */
bool sweep_made_enough(uint64_t many, uint64_t many_more);

/* Notes a failure in words; a failure without them ends the child. */
void sweep_told(struct sweep_result *result, int code, const char *text);

#endif
