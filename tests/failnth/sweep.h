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
 * With CKPT_TEST_LONG every N is injected, else so many as `share` says, drawn
 * by CKPT_FAILNTH_SEED (1).
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

struct sweep {
    const char *scenario, *class_name;
    /* In the child. */
    void (*run)(const struct sweep *sweep, const struct sweep_fault *fault,
                struct sweep_result *result);
    const void *scenario_arg, *class_arg;
    bool has_after; /* SWEEP_AFTER too */
    uint32_t share; /* injections at most, unless CKPT_TEST_LONG */
    int limit_ms;   /* of one child */
};

/* What all sweeps of a program have found together. */
struct sweep_totals {
    uint64_t injections, absorbed, typed, violations;
};
extern struct sweep_totals sweep_totals;

/* Prints a line; the number of violations. */
uint64_t sweep_run(const struct sweep *sweep);

/* Whether CKPT_FAILNTH asks for a replay, which is then all that happens. */
bool sweep_is_replay(void);

/* Notes a failure in words; a failure without them ends the child. */
void sweep_told(struct sweep_result *result, int code, const char *text);

#endif
