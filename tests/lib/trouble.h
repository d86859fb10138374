/*
 * trouble.h - a class of what fails for one daemon of a virtual world, for
 * sweeps of tests/failnth: memory, what an environment refuses, or requests to
 * its stores. Only suites that are linked with tests/failnth use it.
 */
#ifndef TESTS_LIB_TROUBLE_H
#define TESTS_LIB_TROUBLE_H

#include "tests/failnth/failnth.h"
#include "tests/failnth/sweep.h"
#include "tests/lib/test_env.h"

struct trouble {
    const char *name;
    enum failnth_class kind;
    int error; /* of requests */
    bool has_after;
};

/* A scenario under each of these classes; `sweep` says which, and how much of
 * it. The number of violations. */
uint64_t trouble_sweep(const struct trouble *troubles, size_t count,
                       const struct sweep *sweep);

/* The fault is armed: for the home of a daemon that has none yet, too. */
void trouble_begin(const struct trouble *t, struct test_env *daemon,
                   const struct sweep_fault *fault);
/* It is gone, and what was seen of it is in the result. */
void trouble_end(const struct trouble *t, struct test_env *daemon,
                 struct sweep_result *result);
/* Every block of memory was freed; by assert(). */
void trouble_no_leak(void);

#endif
