/*
 * test_failnth_engine.c - Fail-Nth over the engine, the formats and the stores,
 * in the virtual world of tests/lib/test_env.h: daemon start with recovery,
 * joining, saves, loads, reads, lists, retention, two daemons, the end.
 *
 * After each injection: whoever asked for something got it or was told a code
 * with words, or was hung up on with words in the log; nothing is left pending;
 * the same daemon serves another job; a fresh one finds the last committed
 * checkpoint and every byte of it; every block of memory was freed.
 */
#include "tests/lib/stage.h"
#include "tests/lib/trouble.h"

#include "ckptd/engine/load.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHARE 20 /* of the injections of a line, in a short run */

/* Made once, inherited by every child. */
static struct stage stage;

/*
 * An environment that refuses.
 */

static struct env_ops refusing;
static const struct env_ops *below;
static int (*below_home_open)(struct env *env, const char *path,
                              struct store **out, struct err *err);

static int refusing_home_open(struct env *env, const char *path,
                              struct store **out, struct err *err)
{
    bool was;
    int rc;

    if (failnth_hit(FAILNTH_ENV))
        return err_set(err, -EMFILE, "home %s: the test refuses it", path);
    was = failnth_cross(false);
    rc = below_home_open(env, path, out, err);
    (void)failnth_cross(was);
    return rc;
}

static int refusing_arena_new(struct env *env, uint64_t bytes,
                              uint32_t chunk_bytes, struct env_arena *out,
                              struct err *err)
{
    if (failnth_hit(FAILNTH_ENV))
        return err_set(err, -ENOMEM, "the test refuses an arena");
    return below->arena_new(env, bytes, chunk_bytes, out, err);
}

static void refuse(struct rig *g)
{
    below = g->daemon->env.ops;
    below_home_open = g->daemon->home_open;
    g->daemon->home_open = refusing_home_open;
    refusing = *below;
    refusing.arena_new = refusing_arena_new;
    g->daemon->env.ops = &refusing;
}

static const struct trouble troubles[] = {
    {"memory", FAILNTH_MEMORY, 0, false},
    {"env", FAILNTH_ENV, 0, false},
    {"local-eio", FAILNTH_LOCAL, -EIO, true},
    {"local-nospc", FAILNTH_LOCAL, -ENOSPC, false},
    {"home-eio", FAILNTH_HOME, -EIO, true},
    {"home-nospc", FAILNTH_HOME, -ENOSPC, false},
};

/*
 * Looking at what became of it.
 */

static void look_at_rank(const struct rig_rank *r, struct sweep_result *result)
{
    if (test_env_hung_up(r->rig->daemon, r->peer)) {
        assert((r->error || r->rig->daemon->log) && "without a word");
        sweep_told(result, -ECONNRESET, "hung up");
    }
    if (r->error)
        sweep_told(result, r->error, r->error_text);
    LIST_FOR_EACH (node, &r->saves) {
        const struct rig_save *v = container_of(node, struct rig_save, link);

        if (v->state == WIRE_STATE_ABORTED)
            sweep_told(result, v->code, v->text);
        if (v->state == WIRE_STATE_COMMITTED &&
            save_id_compare(&v->id, &stage.committed) > 0)
            stage.committed = v->id;
    }
}

/* A job may go back to an older checkpoint, which its next start goes on from.
 * The one that was passed over is still there. */
static void note_fall_back(const struct rig_load *l)
{
    if (save_id_compare(&l->id, &stage.committed) >= 0)
        return;
    assert(l->note[0] && "fell back without a word");
    stage.passed_over = stage.committed;
    stage.committed = l->id;
}

static void look_at_load(const struct rig_load *l, void *arg)
{
    struct sweep_result *result = arg;

    if (l->is_done && l->code == 0) {
        rig_load_check(l, stage.saver, &l->id);
        note_fall_back(l);
    } else if (l->is_done)
        sweep_told(result, l->code, l->text);
    else
        assert(l->rank->is_gone);
}

static void look(struct rig *g, struct sweep_result *result)
{
    LIST_FOR_EACH (node, &g->ranks) {
        const struct rig_rank *r = container_of(node, struct rig_rank, link);

        look_at_rank(r, result);
        rig_each_load(r, look_at_load, result);
    }
}

static void look_at_rest(const struct rig *g)
{
    assert(save_pipeline_is_idle(g->engine) && !engine_is_loading(g->engine));
    assert(rig_slots(g, SLOT_GRANTED) == 0 && rig_slots(g, SLOT_FULL) == 0);
    assert(rig_slots(g, SLOT_LOADING) == 0);
    assert(rig_slots(g, SLOT_DELIVERED) == 0);
    assert(g->daemon->buffers == 0);
    LIST_FOR_EACH (node, &g->engine->homes) {
        const struct home *h = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &h->runs)
            assert(!saves_pending(container_of(at, struct run, link)));
    }
}

/* Each rank's own tensors, whole. */
static void load_all(struct rig *g[STAGE_RANKS], struct rig_rank *const *r,
                     struct rig *const as[STAGE_RANKS])
{
    struct rig_load *l[STAGE_RANKS];
    bool over;

    for (uint32_t i = 0; i < STAGE_RANKS; i++) {
        struct rig_want want[STAGE_TENSORS];

        for (uint32_t k = 0; k < STAGE_TENSORS; k++)
            want[k] = (struct rig_want){.owner = i, .tensor = k};
        rig_wish(r[i], 7, want, STAGE_TENSORS, STAGE_TENSOR_BYTES);
        l[i] = rig_load(r[i], NULL);
    }
    over = stage_wait_for(g);
    for (uint32_t i = 0; i < STAGE_RANKS; i++) {
        if (!over || l[i]->code || l[i]->note[0])
            (void)fprintf(stderr, "loading: %d %s; %s\n", l[i]->code,
                          l[i]->text, l[i]->note);
        assert(over && l[i]->code == 0);
        assert(save_id_compare(&l[i]->id, &r[i]->parent) == 0);
        rig_load_check(l[i], as[i], &l[i]->id);
    }
    if (stage.passed_over.generation == 0)
        return;
    l[0] = rig_load(r[0], &stage.passed_over);
    over = stage_wait_for(g);
    assert(over && l[0]->code == 0);
    rig_load_check(l[0], stage.saver, &stage.passed_over);
}

/* A new job finds the checkpoint, and saves. as[i] knows what rank i saved. */
static void serve(struct rig *g[STAGE_RANKS], struct rig *const as[STAGE_RANKS],
                  const char *token, uint64_t step)
{
    struct rig_rank *r[STAGE_RANKS];
    const struct rig_save *v;
    bool over;

    stage_join(g, token, r);
    for (uint32_t i = 0; i < STAGE_RANKS; i++) {
        if (!rig_joined(r[i]))
            (void)fprintf(stderr, "%s: rank %u: %d: %s\n", token, i,
                          r[i]->error, r[i]->error_text);
        assert(rig_joined(r[i]));
        assert(save_id_compare(&r[i]->parent, &stage.committed) >= 0);
    }
    assert(save_id_compare(&r[0]->parent, &r[1]->parent) == 0);
    load_all(g, r, as);
    v = stage_save(r, STAGE_RANKS, step);
    over = stage_wait_for(g);
    if (!over || v->state != WIRE_STATE_COMMITTED)
        (void)fprintf(stderr, "%s: state %u: %d: %s\n", token, v->state,
                      v->code, v->text);
    assert(over && v->state == WIRE_STATE_COMMITTED);
    stage.committed = v->id;
    stage.passed_over = (struct save_id){0};
    for (uint32_t i = 0; i < STAGE_RANKS; i++)
        rig_die(r[i]);
    (void)rig_run(g[0], 5000, NULL, NULL);
}

/* The same daemon, if it started, without its ranks: nothing hangs, nothing is
 * left in use, and it serves others. */
static void settle(struct stage *s, struct sweep_result *result)
{
    struct rig *g[STAGE_RANKS] = {s->g, s->other ? s->other : s->g};
    struct rig *as[STAGE_RANKS] = {s->saver, s->other ? s->other : s->saver};
    bool over = stage_wait_all(s);

    assert(over && "something is pending for ever");
    look(s->g, result);
    stage_all_die(s->g);
    if (s->other) {
        look(s->other, result);
        stage_all_die(s->other);
    }
    (void)rig_run(s->g, 5000, NULL, NULL);
    look_at_rest(s->g);
    serve(g, as, "again", 1000);
}

/* Daemons with nothing in memory, and a last job. */
static void start_another(struct stage *s)
{
    bool has_served = s->g->is_ready && s->g->ready_result == 0;
    struct rig *fresh, *as[STAGE_RANKS], *g[STAGE_RANKS];

    rig_end(s->g);
    fresh = rig_new_in(s->world, "a");
    fresh->has_shared_world = true;
    as[0] = has_served ? s->g : s->saver;
    g[0] = fresh;
    g[1] = s->other ? s->other : fresh;
    as[1] = s->other ? s->other : as[0];
    serve(g, as, "after", 2000);
    rig_free(fresh);
}

static void tear_down(struct stage *s)
{
    if (s->saver != s->g)
        rig_free(s->saver);
    rig_free(s->g);
    if (s->other)
        rig_free(s->other);
    if (s->ended && s->ended != s->saver)
        rig_free(s->ended);
    test_world_free(s->world);
}

/* What a child does: see the top of this file. */
static void run(const struct sweep *sweep, const struct sweep_fault *fault,
                struct sweep_result *result)
{
    const struct stage_scene *scenario = sweep->scenario_arg;
    const struct trouble *trouble = sweep->class_arg;

    stage.g->daemon->is_verbose = sweep_is_replay();
    trouble_begin(trouble, stage.g->daemon, fault);
    scenario->act(&stage);
    trouble_end(trouble, stage.g->daemon, result);
    if (stage.g->is_ready && stage.g->ready_result == 0)
        settle(&stage, result);
    else
        sweep_told(result, stage.g->err.code, stage.g->err.text);
    start_another(&stage);
    tear_down(&stage);
    trouble_no_leak();
}

/*
 * The tests: one for each scenario.
 */

static void sweep_scenario(void **state)
{
    const struct stage_scene *scenario = *state;
    const struct sweep sweep = {.scenario = scenario->name,
                                .run = run,
                                .scenario_arg = scenario,
                                .share = SHARE};
    uint64_t violations;

    stage.disturb = refuse;
    scenario->prepare(&stage);
    violations = trouble_sweep(troubles, ARRAY_LEN(troubles), &sweep);
    tear_down(&stage);
    stage = (struct stage){0};
    assert_int_equal(violations, 0);
}

/* Long runs make so many at least. */
static void there_were_enough(void **state)
{
    (void)state;
    assert_true(sweep_made_enough(500, 5000));
}

/* An argument names the one scenario that is gone through. */
int main(int argc, char **argv)
{
    struct CMUnitTest tests[STAGE_SCENES + 1] = {0};
    size_t count = 0;

    for (; count < STAGE_SCENES; count++)
        tests[count] =
            (struct CMUnitTest){.name = stage_scenes[count].name,
                                .test_func = sweep_scenario,
                                .initial_state = &stage_scenes[count]};
    tests[count] = (struct CMUnitTest){.name = "there_were_enough",
                                       .test_func = there_were_enough};
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
