/*
 * trouble.c - see trouble.h.
 */
#include "tests/lib/trouble.h"
#include "tests/lib/engine_rig.h"

#include <assert.h>
#include <stdio.h>

uint64_t trouble_sweep(const struct trouble *troubles, size_t count,
                       const struct sweep *sweep)
{
    uint64_t violations = 0;

    for (size_t i = 0; i < count; i++) {
        struct sweep one = *sweep;

        one.class_name = troubles[i].name;
        one.class_arg = &troubles[i];
        one.has_after = troubles[i].has_after;
        one.jobs = 2;
        one.limit_ms = 60000;
        violations += sweep_run(&one);
    }
    return violations;
}

void trouble_no_leak(void)
{
    if (failnth_live())
        (void)fprintf(stderr, "%lld blocks leaked\n",
                      (long long)failnth_live());
    assert(failnth_live() == 0);
}

static bool is_of_store(const struct trouble *t)
{
    return t->kind == FAILNTH_LOCAL || t->kind == FAILNTH_HOME;
}

static struct store *store_of(const struct trouble *t, struct test_env *daemon)
{
    return test_env_fault(daemon,
                          t->kind == FAILNTH_LOCAL ? "local" : RIG_HOME);
}

static void begin_in_store(const struct trouble *t, struct test_env *daemon,
                           const struct sweep_fault *fault)
{
    struct store_fault rule = {.op = -1,
                               .nth = fault->nth,
                               .persistent = fault->mode == SWEEP_PERSISTENT,
                               .after = fault->mode == SWEEP_AFTER,
                               .error = t->error};
    struct store *store = store_of(t, daemon);
    int rc = 0;

    /* A rule without effect that fires each time counts. */
    if (fault->mode == SWEEP_COUNT)
        rule = (struct store_fault){.op = -1, .nth = 1, .persistent = true};
    if (store)
        rc = store_fault_add(store, &rule);
    assert(rc == 0);
    if (t->kind == FAILNTH_HOME) {
        daemon->fault[0] = rule;
        daemon->fault_count = 1;
    }
}

void trouble_begin(const struct trouble *t, struct test_env *daemon,
                   const struct sweep_fault *fault)
{
    daemon->world->cross = failnth_cross;
    if (is_of_store(t))
        begin_in_store(t, daemon, fault);
    else
        failnth_arm(t->kind, fault->nth, fault->mode == SWEEP_PERSISTENT);
}

void trouble_end(const struct trouble *t, struct test_env *daemon,
                 struct sweep_result *result)
{
    struct store *store = is_of_store(t) ? store_of(t, daemon) : NULL;

    failnth_disarm();
    daemon->fault_count = 0;
    if (is_of_store(t)) {
        result->seen = result->fired = store ? store_fault_count(store) : 0;
        if (store)
            store_fault_clear(store);
    } else {
        result->seen = failnth->seen[t->kind];
        result->fired = failnth->fired;
    }
}
