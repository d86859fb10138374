/*
 * test_rados_engine.c - the engine with its home in RADOS, on a double that
 * answers late, fails, forgets, and does later what it said had timed out. A
 * save ends as COMMITTED or ABORTED for the ranks and for who reads the home,
 * never as both; what hangs is told in time and by name.
 */
#include "tests/lib/rados_rig.h"
#include "tests/lib/rig_job.h"

static const struct rig_shape small = {.world_size = 2,
                                       .slots = 6,
                                       .tensors = 2,
                                       .tensor_bytes = 3 * RIG_CHUNK_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

static struct store *home_new(void)
{
    const struct store_rados_options options = {.api = rados_double_api(),
                                                .give_up_ms = 200};
    struct store *store;
    struct err err;

    if (store_rados_open(RADOS_HOME, STORE_OPEN_WRITE | STORE_OPEN_CREATE,
                         &options, &store, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

static int setup(void **state)
{
    struct rig_job *j = calloc(1, sizeof *j);

    assert_non_null(j);
    rados_double_start(11);
    j->g = rig_new(3);
    test_world_add(j->g->world, RIG_HOME, home_new());
    rig_job_enter(j, "token", &small);
    *state = j;
    return 0;
}

static int teardown(void **state)
{
    struct rig_job *j = *state;

    rados_double_weather(&fair);
    rig_free(j->g);
    rados_double_stop();
    free(j);
    return 0;
}

/* The daemon dies, another starts, and a job joins there. */
static void next_life(struct rig_job *j, const char *token)
{
    struct test_world *world = j->g->world;

    j->g->has_shared_world = true;
    rig_kill(j->g);
    rig_free(j->g);
    j->g = rig_new_in(world, "a");
    rig_job_enter(j, token, &small);
}

static bool is_listed_save(const struct rig_job *j, const char *folder,
                           uint64_t step)
{
    char name[RECORD_NAME_BYTES];
    struct save_id id = {
        .generation = j->r[0]->generation, .step = step, .attempt = 1};
    struct store_req get = {.op = STORE_STAT,
                            .name = name_save(name, RIG_RUN, folder, &id)};

    return store_run(test_world_store(j->g->world, RIG_HOME), &get) >= 0;
}

static void saves_commit_and_are_there_for_the_next_life(void **state)
{
    const struct rados_weather slow = {.delay_us = 300, .late_overtaken = true};
    struct rig_job *j = *state;

    rados_double_weather(&slow);
    rig_job_commit(j, 1, 100);
    assert_true(rig_check(j->g, j->v[0]) > 0);
    rig_job_commit(j, 2, 200);
    next_life(j, "next");
    assert_int_equal(j->r[0]->parent.step, 2);
    rig_job_commit(j, 3, 300);
    assert_true(rig_check(j->g, j->v[0]) > 0);
}

/* Whatever it does to single operations, outcomes are known in the end. */
static void in_foul_weather_each_save_has_one_outcome(void **state)
{
    const struct rados_weather foul = {
        .delay_us = 50, .lost = 80, .unanswered = 80, .late = 80};
    struct rig_job *j = *state;
    uint32_t committed = 0;

    for (uint64_t step = 1; step <= 12; step++) {
        rados_double_weather(&foul);
        rig_job_save(j, step, 100 * step, 0);
        rig_job_decide(j);
        rados_double_weather(&fair);
        assert_int_equal(j->v[0]->state, j->v[1]->state);
        if (j->v[0]->state != WIRE_STATE_COMMITTED)
            continue;
        committed++;
        assert_true(rig_check(j->g, j->v[0]) > 0);
    }
    assert_true(committed > 6);
    print_message(
        "# figure: %u of 12 saves committed, %u operations timed out\n",
        committed, (unsigned)rados_double_counts().timeouts);
    assert_true(rados_double_counts().timeouts > 20);
    next_life(j, "next");
    rig_job_commit(j, 20, 2000);
}

/* The home is silent from before the save: named, at the first silence. */
static void a_silent_cluster_is_named_and_the_next_save_commits(void **state)
{
    const struct rados_weather down = {.is_down = true, .late_overtaken = true};
    struct rig_job *j = *state;
    uint64_t began;

    rig_job_commit(j, 1, 100);
    rados_double_weather(&down);
    began = rados_double_counts().operations;
    rig_job_save(j, 2, 200, 0);
    rig_job_decide(j);
    /* Of the commit: RUN. Of the base: its decision. Neither is asked again,
     * nor is ABORT waited for. */
    assert_true(rados_double_counts().operations - began <= 4 * 16 + 8);
    for (uint32_t i = 0; i < j->n; i++) {
        assert_int_equal(j->v[i]->state, WIRE_STATE_ABORTED);
        assert_int_equal(j->v[i]->code, -ETIMEDOUT);
        if (!strstr(j->v[i]->text, "looking for RUN of host a in home /home: "
                                   "Connection timed out"))
            fail_msg("%s", j->v[i]->text);
    }
    rados_double_weather(&fair);
    rig_job_commit(j, 3, 300);
    assert_true(rig_check(j->g, j->v[0]) > 0);
    (void)rig_run(j->g, 5000, NULL, NULL);
    assert_true(is_listed_save(j, "decision", 2)); /* ABORT, after all */
}

/* A full cluster aborts saves in words; with room again they commit. */
static void a_full_cluster_is_named(void **state)
{
    const struct rados_weather full = {.is_full = true, .late_overtaken = true};
    struct rig_job *j = *state;

    rados_double_weather(&full);
    rig_job_save(j, 1, 100, 0);
    rig_job_decide(j);
    assert_int_equal(j->v[0]->state, WIRE_STATE_ABORTED);
    if (!strstr(j->v[0]->text, "No space left on device"))
        fail_msg("%s", j->v[0]->text);
    rados_double_weather(&fair);
    rig_job_commit(j, 2, 200);
}

/* One object's creation says -ETIMEDOUT and was done, or is done later. */
static void what_was_done_after_all_counts(void **state)
{
    static const char *const objects[] = {"intent/", "vote/", "decision/"};
    struct rig_job *j = *state;
    uint64_t step = 1;

    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        uint64_t before = rados_double_counts().rules;

        rule(objects[i], true, 1, RULE_DONE, -ETIMEDOUT);
        rig_job_commit(j, step++, 100);
        assert_true(rados_double_counts().rules > before);
        rule(objects[i], true, 1, RULE_HOLD, 0);
        rig_job_commit(j, step++, 200);
        rados_double_land();
        assert_true(rig_check(j->g, j->v[0]) > 0);
    }
}

/* Every creation of that object is held back until somebody gives up. */
static void hold(const char *object)
{
    const struct rados_weather weather = {.late_overtaken = true,
                                          .rule = {.object = object,
                                                   .is_write = true,
                                                   .nth = 1,
                                                   .persists = true,
                                                   .how = RULE_HOLD}};

    rados_double_weather(&weather);
}

static void a_vote_that_lands_after_its_abort_changes_nothing(void **state)
{
    struct rig_job *j = *state;

    rig_job_commit(j, 1, 100);
    hold("r:runs/" RIG_RUN "/vote/");
    rig_job_save(j, 2, 200, 0);
    rig_job_decide(j);
    assert_int_equal(j->v[0]->state, WIRE_STATE_ABORTED);
    if (!strstr(j->v[0]->text, "vote of host a in home /home"))
        fail_msg("%s", j->v[0]->text);
    rados_double_weather(&fair);
    rados_double_land();
    assert_true(is_listed_save(j, "decision", 2));
    rig_job_commit(j, 3, 300);
    next_life(j, "next");
    assert_int_equal(j->r[0]->parent.step, 3);
}

static bool is_local(void *arg)
{
    return ((struct rig_save *)arg)->state >= WIRE_STATE_LOCAL;
}

/* Nobody knows whether COMMIT was created: LOCAL, and nothing is told, until
 * the home answers; then everybody is told what is there. */
static void an_unknown_decision_is_waited_for_and_never_guessed(void **state)
{
    struct rig_job *j = *state;

    hold("r:runs/" RIG_RUN "/decision/");
    rig_job_save(j, 1, 100, 0);
    assert_true(rig_run(j->g, 60000, is_local, j->v[0]));
    (void)rig_run(j->g, 5000, NULL, NULL);
    assert_int_equal(j->v[0]->state, WIRE_STATE_LOCAL);
    assert_true(test_env_logged(j->g->daemon, "could not be created"));
    rados_double_weather(&fair);
    rados_double_land();
    rig_job_decide(j);
    assert_int_equal(j->v[0]->state, WIRE_STATE_COMMITTED);
    assert_int_equal(j->v[1]->state, WIRE_STATE_COMMITTED);
    assert_true(rig_check(j->g, j->v[0]) > 0);
}

/* The daemon dies there; what had been on its way lands in its next life. */
static void a_decision_that_lands_in_the_next_life_is_the_decision(void **state)
{
    struct rig_job *j = *state;

    hold("r:runs/" RIG_RUN "/decision/");
    rig_job_save(j, 1, 100, 0);
    assert_true(rig_run(j->g, 60000, is_local, j->v[0]));
    rados_double_weather(&fair);
    next_life(j, "next");
    rados_double_land();
    assert_int_equal(j->r[0]->parent.step, 1); /* all had voted: COMMIT */
    rig_job_commit(j, 2, 200);
    assert_true(rig_check(j->g, j->v[0]) > 0);
}

#define IN_RADOS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        IN_RADOS(saves_commit_and_are_there_for_the_next_life),
        IN_RADOS(in_foul_weather_each_save_has_one_outcome),
        IN_RADOS(a_silent_cluster_is_named_and_the_next_save_commits),
        IN_RADOS(a_full_cluster_is_named),
        IN_RADOS(what_was_done_after_all_counts),
        IN_RADOS(a_vote_that_lands_after_its_abort_changes_nothing),
        IN_RADOS(an_unknown_decision_is_waited_for_and_never_guessed),
        IN_RADOS(a_decision_that_lands_in_the_next_life_is_the_decision),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
