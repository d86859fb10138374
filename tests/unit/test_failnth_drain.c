/*
 * test_failnth_drain.c - Fail-Nth over the remote tier, in both forms: a drain,
 * the removal of what was drained, letting go of local copies, and loading what
 * is nowhere else.
 *
 * After each injection: what was not done is told, in the log or to the rank;
 * once the fault is gone it is done, and every byte is there; nothing hangs,
 * every block of memory was freed.
 */
#include "tests/lib/drained.h"
#include "tests/lib/load_job.h"
#include "tests/lib/rig_drain.h"
#include "tests/lib/stage.h"
#include "tests/lib/trouble.h"

#include "ckptd/engine/drain.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHARE  12 /* of the injections of a line, in a short run */
#define NEWEST (JOB_STEPS - 1)
#define NS     ((uint64_t)1000 * 1000 * 1000)

struct scene {
    const char *name;
    bool in_place;
    void (*prepare)(bool in_place);
    void (*act)(void);
    /* The fault is gone; `has_fired` says whether it ever was there. */
    void (*settle)(bool in_place, bool has_fired, struct sweep_result *result);
};

/* Made once, inherited by every child; one of the two. */
static struct rig_job job;
static struct load_job loads;
static struct save_id first;

/*
 * A drain.
 */

static void commit(uint64_t step)
{
    rig_job_commit(&job, step, step);
}

static void settle_all(void)
{
    rig_drain_settle(job.g);
    rig_settle(job.g);
}

static void prepare_drain(bool in_place)
{
    rig_drain_begin(&job, 7, in_place, 1, 0);
    commit(10);
    assert(!drain_is_busy(job.g->engine) && !rig_is_remote(job.g, 10));
}

static void drain(void)
{
    (void)rig_run(job.g, 20000, NULL, NULL);
}

static void settle_drain(bool in_place, bool has_fired,
                         struct sweep_result *result)
{
    const struct save_id *id = &job.v[0]->id;
    bool is_told = test_env_logged(job.g->daemon, "not in the remote tier yet");

    assert((is_told || rig_is_remote(job.g, 10)) && "without a word");
    assert(has_fired || !is_told);
    if (is_told)
        sweep_told(result, -EIO, "not in the remote tier yet");
    (void)rig_run(job.g, 200000, NULL, NULL);
    assert(rig_is_remote(job.g, 10));
    rig_drain_check(job.g, id, in_place);
    (void)rig_check(job.g, job.v[0]);
}

/*
 * A pass of retention.
 */

static void hold(const struct save_id *id)
{
    char name[RECORD_NAME_BYTES];

    rig_put_mark(job.g, RECORD_LEASE, name_run(name, RIG_RUN, "lease/dead.0"),
                 id);
}

/* Steps 10 and 20 are REMOTE. The lease on the first has just died, so that the
 * next pass begins with it. */
static void prepare_pass(bool in_place, uint32_t keep_last, uint32_t local_last)
{
    struct rig_shape shape = rig_drain_shape(1, keep_last);

    shape.local_last = local_last;
    job = (struct rig_job){.g = rig_new(7)};
    if (!in_place)
        rig_drain_as_blobs(job.g->world);
    rig_job_enter(&job, "one", &shape);
    commit(10);
    first = job.v[0]->id;
    settle_all();
    hold(&first);
    commit(20);
    settle_all();
    assert(rig_is_remote(job.g, 10) && rig_is_remote(job.g, 20));
    assert(!rig_save_at(job.g, 10)->is_released);
    job.g->world->now_ns += 70 * NS;
}

static void prepare_removal(bool in_place)
{
    prepare_pass(in_place, 1, 0);
}

static void prepare_release(bool in_place)
{
    prepare_pass(in_place, 0, 1);
}

static void pass(void)
{
    bool was = failnth_cross(true);

    retain_run(rig_the_run(job.g));
    (void)failnth_cross(was);
    (void)rig_run(job.g, 10000, NULL, NULL);
}

static bool is_told_of_pass(struct sweep_result *result)
{
    bool is_told = test_env_logged(job.g->daemon, "nothing more is removed");

    if (is_told)
        sweep_told(result, -EIO, "retention ended");
    return is_told;
}

/* Two more commits: what the fault has kept is no lease's any more. */
static void rest(bool in_place)
{
    for (uint64_t step = 30; step <= 40; step += 10) {
        commit(step);
        settle_all();
        job.g->world->now_ns += 70 * NS;
    }
    assert(rig_is_remote(job.g, 40));
    rig_drain_check(job.g, &job.v[0]->id, in_place);
    (void)rig_check(job.g, job.v[0]);
}

static void settle_removal(bool in_place, bool has_fired,
                           struct sweep_result *result)
{
    bool is_told = is_told_of_pass(result);
    /* A tomb that landed behind an error is taken for another's, whose files
     * the next pass leaves alone. */
    bool is_whole = rig_status(job.g, 10) == SAVE_COMMITTED &&
                    !rig_home_has(job.g, "tomb", &first);

    assert(has_fired || !is_told);
    assert(is_told || rig_status(job.g, 10) == SAVE_REMOVED);
    assert(is_told || rig_drain_files(job.g, &first) == 0);
    if (is_whole)
        rig_drain_check(job.g, &first, in_place);
    rest(in_place);
    assert(rig_status(job.g, 10) == SAVE_REMOVED);
    assert(!is_whole || rig_drain_files(job.g, &first) == 0);
}

static void settle_release(bool in_place, bool has_fired,
                           struct sweep_result *result)
{
    bool is_told = is_told_of_pass(result);

    assert(has_fired || !is_told);
    assert(is_told || rig_save_at(job.g, 10)->is_released);
    rest(in_place);
    assert(rig_save_at(job.g, 10)->is_released);
    rig_drain_check(job.g, &first, in_place);
}

/*
 * Loading.
 */

static void prepare_load(bool in_place)
{
    load_job_save(&loads, 7, 2, 1);
    if (!in_place)
        drained_as_blobs(loads.world);
    drained_save(loads.world, "a", &loads.id[NEWEST]);
    drained_lose_segments(loads.world, "local/a");
    load_job_start(&loads, 2, 4, true);
}

static bool are_loads_over(void *rig)
{
    stage_bury_ranks(rig);
    return rig_loads_done(rig);
}

static void load(void)
{
    bool is_over;

    load_job_load(&loads);
    is_over = rig_run(loads.g, JOB_LIMIT_MS, are_loads_over, loads.g);
    assert(is_over && "something is pending for ever");
}

static void look_at_load(const struct rig_load *l, struct sweep_result *result)
{
    if (!l->is_done) {
        assert(l->rank->is_gone);
        sweep_told(result, -ECONNRESET, "hung up");
    } else if (l->code) {
        sweep_told(result, l->code, l->text);
    } else {
        assert(save_id_compare(&l->id, &loads.id[NEWEST]) == 0);
        rig_load_check(l, loads.saver, &l->id);
    }
}

/* Another job finds all that the daemon may have taken for lost. */
static void settle_load(bool in_place, bool has_fired,
                        struct sweep_result *result)
{
    (void)in_place;
    for (uint32_t i = 0; i < loads.loaders; i++)
        look_at_load(loads.l[i], result);
    assert(has_fired || result->code == 0);
    stage_all_die(loads.g);
    (void)rig_run(loads.g, 5000, NULL, NULL);
    load_job_check_quiet(&loads);
    load_job_join(&loads, "again", 2, 4, true);
    load_job_load(&loads);
    load_job_finish(&loads);
    load_job_check(&loads, NEWEST);
}

/*
 * Sweeps.
 */

static struct scene scenes[] = {
    {"drain", true, prepare_drain, drain, settle_drain},
    {"drain-blobs", false, prepare_drain, drain, settle_drain},
    {"removal", true, prepare_removal, pass, settle_removal},
    {"removal-blobs", false, prepare_removal, pass, settle_removal},
    {"release", true, prepare_release, pass, settle_release},
    {"load", true, prepare_load, load, settle_load},
    {"load-blobs", false, prepare_load, load, settle_load},
};

static const struct trouble troubles[] = {
    {"memory", FAILNTH_MEMORY, 0, false},
    {"home-eio", FAILNTH_HOME, -EIO, true},
    {"home-timeout", FAILNTH_HOME, -ETIMEDOUT, true},
    {"home-nospc", FAILNTH_HOME, -ENOSPC, false},
};

static struct test_env *daemon_of_scene(void)
{
    return job.g ? job.g->daemon : loads.g->daemon;
}

static void tear_down(void)
{
    if (job.g)
        rig_free(job.g);
    else
        load_job_end(&loads);
}

static void run(const struct sweep *sweep, const struct sweep_fault *fault,
                struct sweep_result *result)
{
    const struct scene *scene = sweep->scenario_arg;
    struct test_env *daemon = daemon_of_scene();

    daemon->is_verbose = sweep_is_replay();
    trouble_begin(sweep->class_arg, daemon, fault);
    scene->act();
    trouble_end(sweep->class_arg, daemon, result);
    scene->settle(scene->in_place,
                  fault->mode != SWEEP_COUNT && result->fired > 0, result);
    tear_down();
    trouble_no_leak();
}

static void sweep_scene(void **state)
{
    const struct scene *scene = *state;
    const struct sweep sweep = {.scenario = scene->name,
                                .run = run,
                                .scenario_arg = scene,
                                .share = SHARE};
    uint64_t violations;

    scene->prepare(scene->in_place);
    violations = trouble_sweep(troubles, ARRAY_LEN(troubles), &sweep);
    tear_down();
    job = (struct rig_job){0};
    loads = (struct load_job){0};
    assert_int_equal(violations, 0);
}

static void there_were_enough(void **state)
{
    (void)state;
    assert_true(sweep_made_enough(250, 2500));
}

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(scenes) + 1] = {0};
    size_t count = 0;

    for (; count < ARRAY_LEN(scenes); count++)
        tests[count] = (struct CMUnitTest){.name = scenes[count].name,
                                           .test_func = sweep_scene,
                                           .initial_state = &scenes[count]};
    tests[count] = (struct CMUnitTest){.name = "there_were_enough",
                                       .test_func = there_were_enough};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
