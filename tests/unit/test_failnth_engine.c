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
#include "tests/failnth/failnth.h"
#include "tests/failnth/sweep.h"
#include "tests/lib/load_rig.h"

#include "ckptd/engine/load.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS     700000
#define SHARE        20 /* of the injections of a line, in a short run */
#define RANKS        2
#define TENSORS      2
#define TENSOR_BYTES (2 * (uint64_t)RIG_CHUNK_BYTES - 100)

/* What a scenario begins with; made once, inherited by every child. */
struct stage {
    struct test_world *world;
    struct rig *saver; /* whose ranks know what was saved */
    struct rig *g;     /* the daemon that faults happen to */
    struct rig *other; /* another daemon of the same job, or NULL */
    struct rig *ended; /* a daemon of before, or NULL */
    struct rig_rank *r[RIG_RANKS_MAX];
    struct save_id committed;   /* the newest that anybody was told of */
    struct save_id passed_over; /* newer, but a load fell back */
    struct env_ops ops;         /* of g's environment */
    const struct env_ops *below;
};

struct scenario {
    const char *name;
    void (*prepare)(struct stage *s);
    void (*act)(struct stage *s);
};

struct trouble {
    const char *name;
    enum failnth_class kind;
    int error;
    bool has_after;
};

static struct stage stage;

static const struct rig_shape shape = {.world_size = RANKS,
                                       .slots = 4,
                                       .tensors = TENSORS,
                                       .tensor_bytes = TENSOR_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

/*
 * An environment that refuses.
 */

static int refusing_home_open(struct env *env, const char *path,
                              struct store **out, struct err *err)
{
    bool was;
    int rc;

    if (failnth_hit(FAILNTH_ENV))
        return err_set(err, -EMFILE, "home %s: the test refuses it", path);
    was = failnth_cross(false);
    rc = stage.below->home_open(env, path, out, err);
    (void)failnth_cross(was);
    return rc;
}

static int refusing_arena_new(struct env *env, uint64_t bytes,
                              uint32_t chunk_bytes, struct env_arena *out,
                              struct err *err)
{
    if (failnth_hit(FAILNTH_ENV))
        return err_set(err, -ENOMEM, "the test refuses an arena");
    return stage.below->arena_new(env, bytes, chunk_bytes, out, err);
}

static void refuse(struct stage *s, struct rig *g)
{
    s->below = g->daemon->env.ops;
    s->ops = *s->below;
    s->ops.home_open = refusing_home_open;
    s->ops.arena_new = refusing_arena_new;
    g->daemon->env.ops = &s->ops;
}

/*
 * Waiting.
 */

/* A rank that was hung up on is gone, as far as the engine can see. */
static void bury_ranks(struct rig *g)
{
    LIST_FOR_EACH (node, &g->ranks) {
        struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (!r->is_gone && test_env_hung_up(g->daemon, r->peer))
            rig_die(r);
    }
}

static bool have_answers(const struct rig *g)
{
    LIST_FOR_EACH (node, &g->ranks) {
        const struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (!r->is_gone && !r->generation && !r->error)
            return false;
    }
    return true;
}

static bool is_over(void *arg)
{
    struct rig *g = arg;

    rig_pump(g);
    bury_ranks(g);
    return have_answers(g) && rig_all_decided(g) && rig_loads_done(g);
}

static bool are_over(void *rigs)
{
    struct rig *const *g = rigs;
    bool over = true;

    for (uint32_t i = 0; i < RANKS; i++)
        over = is_over(g[i]) && over;
    return over;
}

/* Until all that the ranks of these daemons have asked for is answered. */
static bool wait_for(struct rig *g[RANKS])
{
    return rig_run(g[0], LIMIT_MS, are_over, g);
}

static bool wait_all(struct stage *s)
{
    struct rig *g[RANKS] = {s->g, s->other ? s->other : s->g};

    return wait_for(g);
}

/*
 * Scenarios.
 */

static struct rig_save *save(struct rig_rank *const *r, uint32_t count,
                             uint64_t step)
{
    struct rig_save *v = NULL;

    for (uint32_t i = 0; i < count; i++)
        if (!r[i]->is_gone && rig_joined(r[i]))
            v = rig_save(r[i], step, step, 0);
    return v;
}

static void save_committed(struct stage *s, uint64_t step)
{
    const struct rig_save *v = save(s->r, RANKS, step);
    bool over = wait_all(s);

    assert(over && v && v->state == WIRE_STATE_COMMITTED);
    s->committed = v->id;
}

/* Each rank on the daemon named for it. */
static void join(struct rig *g[RANKS], const char *token, struct rig_rank **r)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        r[i] = rig_rank_new(g[i], i, RANKS);
        r[i]->codec = 1;
        rig_open(r[i], token);
    }
    (void)wait_for(g);
    for (uint32_t i = 0; i < RANKS; i++) {
        if (!rig_joined(r[i]))
            continue;
        rig_arena(r[i], shape.slots);
        rig_table(r[i], 1, TENSORS, TENSOR_BYTES);
    }
    (void)rig_run(g[0], 10, NULL, NULL);
}

/* A daemon "a" with two ranks and checkpoints 10 and 20. */
static void prepare_as(struct stage *s, const struct rig_shape *as)
{
    s->world = test_world_new(7);
    s->g = s->saver = rig_new_in(s->world, "a");
    s->g->has_shared_world = true;
    rig_start(s->g, "first", as, s->r);
    save_committed(s, 10);
    save_committed(s, 20);
    refuse(s, s->g);
}

static void prepare_save(struct stage *s)
{
    prepare_as(s, &shape);
}

static void prepare_packed(struct stage *s)
{
    struct rig_shape packed = shape;

    packed.codec = 2;
    packed.entropy = 0;
    prepare_as(s, &packed);
    s->r[0]->changed = 1;
    s->r[0]->changed_seed = 9;
}

static void prepare_retain(struct stage *s)
{
    struct rig_shape kept = shape;

    kept.keep_last = 1;
    prepare_as(s, &kept);
}

static void act_save(struct stage *s)
{
    (void)save(s->r, RANKS, 30);
    (void)wait_all(s);
    (void)rig_run(s->g, 2000, NULL, NULL); /* retention goes on behind it */
}

static void act_die(struct stage *s)
{
    s->r[1]->hold_after = 1;
    (void)save(s->r, RANKS, 30);
    (void)rig_run(s->g, 50, NULL, NULL);
    rig_die(s->r[1]);
    (void)wait_all(s);
}

/* The daemon was killed while saving 30, at this state; another is about to
 * start. */
static void prepare_killed(struct stage *s, uint32_t state)
{
    struct rig_save *v;

    prepare_save(s);
    v = save(s->r, RANKS, 30);
    while (v->state < state)
        (void)rig_run(s->g, 0, NULL, NULL);
    rig_kill(s->g);
    rig_end(s->g);
    s->g = rig_make(s->world, "a");
    s->g->has_shared_world = true;
    refuse(s, s->g);
}

static void prepare_staged(struct stage *s)
{
    prepare_killed(s, WIRE_STATE_STAGED);
}

static void prepare_voted(struct stage *s)
{
    prepare_killed(s, WIRE_STATE_LOCAL);
}

static void act_start(struct stage *s)
{
    if (rig_boot(s->g))
        return;
    rig_start(s->g, "second", &shape, s->r);
    (void)wait_all(s);
}

/* A fresh daemon with nothing in memory. */
static void prepare_fresh(struct stage *s)
{
    prepare_packed(s);
    rig_end(s->g);
    s->g = rig_new_in(s->world, "a");
    s->g->has_shared_world = true;
    refuse(s, s->g);
}

static void act_join(struct stage *s)
{
    rig_start(s->g, "second", &shape, s->r);
    (void)wait_all(s);
}

static void prepare_load(struct stage *s)
{
    prepare_fresh(s);
    act_join(s);
    for (uint32_t i = 0; i < RANKS; i++) {
        struct rig_want want[RANKS * TENSORS];

        /* Each tensor in two halves, so that chunks are gathered for both. */
        for (uint32_t k = 0; k < RANKS * TENSORS; k++)
            want[k] = (struct rig_want){.owner = k / TENSORS,
                                        .tensor = k % TENSORS,
                                        .start = i * TENSOR_BYTES / 4,
                                        .count = TENSOR_BYTES / 4};
        rig_wish(s->r[i], 7, want, ARRAY_LEN(want), TENSOR_BYTES);
    }
    (void)rig_run(s->g, 10, NULL, NULL);
}

static void act_load(struct stage *s)
{
    for (uint32_t i = 0; i < RANKS; i++)
        (void)rig_load(s->r[i], NULL);
    (void)wait_all(s);
}

static void act_read(struct stage *s)
{
    (void)rig_load(s->r[0], &s->committed);
    (void)wait_all(s);
}

static void ask(struct rig_rank *r, enum wire_type type, uint64_t id,
                struct wr *w)
{
    rig_send(r, (uint16_t)type, 0, id, w);
    wr_free(w);
    (void)rig_run(r->rig, 1000, NULL, NULL);
    assert(r->last_reply == id || r->is_gone ||
           test_env_hung_up(r->rig->daemon, r->peer));
}

static void act_ask(struct stage *s)
{
    struct wire_describe describe = {.id = s->committed, .index = 1};
    struct wire_values values = {.id = s->committed};
    struct wr w = {0};

    ask(s->r[0], WIRE_LIST, 1001, &w);
    wire_describe_encode(&describe, &w);
    ask(s->r[0], WIRE_DESCRIBE, 1002, &w);
    wire_values_encode(&values, &w);
    ask(s->r[1], WIRE_VALUES, 1003, &w);
    (void)wait_all(s);
}

/* Two daemons with a rank each. */
static void prepare_pair(struct stage *s)
{
    struct rig *g[RANKS];

    s->world = test_world_new(11);
    for (uint32_t i = 0; i < 2; i++) {
        g[i] = rig_new_in(s->world, i ? "b" : "a");
        g[i]->has_shared_world = true;
    }
    s->g = s->saver = g[0];
    s->other = g[1];
    join(g, "first", s->r);
    save_committed(s, 10);
    save_committed(s, 20);
    refuse(s, s->g);
}

static void all_die(struct rig *g)
{
    LIST_FOR_EACH (node, &g->ranks) {
        struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (!r->is_gone)
            rig_die(r);
    }
}

/* A save is under way while the daemon is told to end. */
static void act_end(struct stage *s)
{
    (void)save(s->r, RANKS, 30);
    (void)rig_run(s->g, 1, NULL, NULL);
    all_die(s->g);
    (void)wait_all(s);
}

/* All ranks go, then the daemon ends, and another one starts. */
static void act_end_daemon(struct stage *s)
{
    all_die(s->g);
    rig_end(s->g);
    s->ended = s->g;
    s->g = rig_make(s->world, "a");
    s->g->has_shared_world = true;
    refuse(s, s->g);
    if (rig_boot(s->g) == 0)
        (void)wait_all(s);
}

/* It ends while it attaches the run, from a home that is slow. */
static void act_end_attaching(struct stage *s)
{
    s->g->daemon->fault[0] = (struct store_fault){
        .op = -1, .nth = 1, .persistent = true, .delay_polls = 5000};
    s->g->daemon->fault_count = 1;
    for (uint32_t i = 0; i < RANKS; i++)
        rig_open(rig_rank_new(s->g, i, RANKS), "second");
    (void)rig_run(s->g, 0, NULL, NULL);
    act_end_daemon(s);
}

/* Handles of segments are open. */
static void prepare_loaded(struct stage *s)
{
    prepare_load(s);
    act_load(s);
}

/* It is told to end while it saves. */
static void act_end_saving(struct stage *s)
{
    (void)save(s->r, RANKS, 30);
    (void)rig_run(s->g, 1, NULL, NULL);
    act_end_daemon(s);
}

static struct scenario scenarios[] = {
    {"recover-staged", prepare_staged, act_start},
    {"recover-voted", prepare_voted, act_start},
    {"join", prepare_fresh, act_join},
    {"end", prepare_loaded, act_end_daemon},
    {"end-attaching", prepare_fresh, act_end_attaching},
    {"end-saving", prepare_save, act_end_saving},
    {"save", prepare_save, act_save},
    {"save-packed", prepare_packed, act_save},
    {"save-pair", prepare_pair, act_save},
    {"rank-dies", prepare_save, act_die},
    {"ranks-end", prepare_save, act_end},
    {"retain", prepare_retain, act_save},
    {"load", prepare_load, act_load},
    {"read", prepare_load, act_read},
    {"ask", prepare_load, act_ask},
};

static const struct trouble troubles[] = {
    {"memory", FAILNTH_MEMORY, 0, false},
    {"env", FAILNTH_ENV, 0, false},
    {"local-eio", FAILNTH_LOCAL, -EIO, true},
    {"local-nospc", FAILNTH_LOCAL, -ENOSPC, false},
    {"home-eio", FAILNTH_HOME, -EIO, true},
    {"home-nospc", FAILNTH_HOME, -ENOSPC, false},
};

/*
 * Arming.
 */

static bool is_store(const struct trouble *c)
{
    return c->kind == FAILNTH_LOCAL || c->kind == FAILNTH_HOME;
}

static struct store *store_of(const struct trouble *c)
{
    return test_env_fault(stage.g->daemon,
                          c->kind == FAILNTH_LOCAL ? "local" : RIG_HOME);
}

static void arm_store(const struct trouble *c, const struct sweep_fault *fault)
{
    struct store_fault rule = {.op = -1,
                               .nth = fault->nth,
                               .persistent = fault->mode == SWEEP_PERSISTENT,
                               .after = fault->mode == SWEEP_AFTER,
                               .error = c->error};
    struct store *store = store_of(c);
    int rc = 0;

    /* A rule without effect that fires each time counts. */
    if (fault->mode == SWEEP_COUNT)
        rule = (struct store_fault){.op = -1, .nth = 1, .persistent = true};
    if (store)
        rc = store_fault_add(store, &rule);
    assert(rc == 0);
    if (c->kind == FAILNTH_HOME) {
        stage.g->daemon->fault[0] = rule;
        stage.g->daemon->fault_count = 1;
    }
}

static void arm(const struct trouble *c, const struct sweep_fault *fault)
{
    stage.world->cross = failnth_cross;
    if (is_store(c))
        arm_store(c, fault);
    else
        failnth_arm(c->kind, fault->nth, fault->mode == SWEEP_PERSISTENT);
}

static void disarm(const struct trouble *c, struct sweep_result *result)
{
    struct store *store = is_store(c) ? store_of(c) : NULL;

    failnth_disarm();
    stage.g->daemon->fault_count = 0;
    if (is_store(c)) {
        result->seen = result->fired = store ? store_fault_count(store) : 0;
        if (store)
            store_fault_clear(store);
    } else {
        result->seen = failnth->seen[c->kind];
        result->fired = failnth->fired;
    }
}

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
static void load_all(struct rig *g[RANKS], struct rig_rank *const *r,
                     struct rig *const as[RANKS])
{
    struct rig_load *l[RANKS];
    bool over;

    for (uint32_t i = 0; i < RANKS; i++) {
        struct rig_want want[TENSORS];

        for (uint32_t k = 0; k < TENSORS; k++)
            want[k] = (struct rig_want){.owner = i, .tensor = k};
        rig_wish(r[i], 7, want, TENSORS, TENSOR_BYTES);
        l[i] = rig_load(r[i], NULL);
    }
    over = wait_for(g);
    for (uint32_t i = 0; i < RANKS; i++) {
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
    over = wait_for(g);
    assert(over && l[0]->code == 0);
    rig_load_check(l[0], stage.saver, &stage.passed_over);
}

/* A new job finds the checkpoint, and saves. as[i] knows what rank i saved. */
static void serve(struct rig *g[RANKS], struct rig *const as[RANKS],
                  const char *token, uint64_t step)
{
    struct rig_rank *r[RANKS];
    const struct rig_save *v;
    bool over;

    join(g, token, r);
    for (uint32_t i = 0; i < RANKS; i++) {
        if (!rig_joined(r[i]))
            (void)fprintf(stderr, "%s: rank %u: %d: %s\n", token, i,
                          r[i]->error, r[i]->error_text);
        assert(rig_joined(r[i]));
        assert(save_id_compare(&r[i]->parent, &stage.committed) >= 0);
    }
    assert(save_id_compare(&r[0]->parent, &r[1]->parent) == 0);
    load_all(g, r, as);
    v = save(r, RANKS, step);
    over = wait_for(g);
    if (!over || v->state != WIRE_STATE_COMMITTED)
        (void)fprintf(stderr, "%s: state %u: %d: %s\n", token, v->state,
                      v->code, v->text);
    assert(over && v->state == WIRE_STATE_COMMITTED);
    stage.committed = v->id;
    stage.passed_over = (struct save_id){0};
    for (uint32_t i = 0; i < RANKS; i++)
        rig_die(r[i]);
    (void)rig_run(g[0], 5000, NULL, NULL);
}

/* The same daemon, if it started, without its ranks: nothing hangs, nothing is
 * left in use, and it serves others. */
static void settle(struct stage *s, struct sweep_result *result)
{
    struct rig *g[RANKS] = {s->g, s->other ? s->other : s->g};
    struct rig *as[RANKS] = {s->saver, s->other ? s->other : s->saver};
    bool over = wait_all(s);

    assert(over && "something is pending for ever");
    look(s->g, result);
    all_die(s->g);
    if (s->other) {
        look(s->other, result);
        all_die(s->other);
    }
    (void)rig_run(s->g, 5000, NULL, NULL);
    look_at_rest(s->g);
    serve(g, as, "again", 1000);
}

/* Daemons with nothing in memory, and a last job. */
static void start_another(struct stage *s)
{
    bool has_served = s->g->is_ready && s->g->ready_result == 0;
    struct rig *fresh, *as[RANKS], *g[RANKS];

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
    const struct scenario *scenario = sweep->scenario_arg;
    const struct trouble *trouble = sweep->class_arg;

    stage.g->daemon->is_verbose = sweep_is_replay();
    arm(trouble, fault);
    scenario->act(&stage);
    disarm(trouble, result);
    if (stage.g->is_ready && stage.g->ready_result == 0)
        settle(&stage, result);
    else
        sweep_told(result, stage.g->err.code, stage.g->err.text);
    start_another(&stage);
    tear_down(&stage);
    if (failnth_live())
        (void)fprintf(stderr, "%lld blocks leaked\n",
                      (long long)failnth_live());
    assert(failnth_live() == 0);
}

/*
 * The tests: one for each scenario.
 */

static void sweep_scenario(void **state)
{
    const struct scenario *scenario = *state;
    uint64_t violations = 0;

    scenario->prepare(&stage);
    for (size_t i = 0; i < ARRAY_LEN(troubles); i++) {
        struct sweep sweep = {.scenario = scenario->name,
                              .class_name = troubles[i].name,
                              .run = run,
                              .scenario_arg = scenario,
                              .class_arg = &troubles[i],
                              .has_after = troubles[i].has_after,
                              .share = SHARE,
                              .jobs = 2,
                              .limit_ms = 60000};

        violations += sweep_run(&sweep);
    }
    tear_down(&stage);
    stage = (struct stage){0};
    assert_int_equal(violations, 0);
}

/* Long runs make so many at least. */
static void there_were_enough(void **state)
{
    (void)state;
    printf("# figure: in all: %llu injections, %llu absorbed, %llu typed "
           "errors, %llu "
           "violations\n",
           (unsigned long long)sweep_totals.injections,
           (unsigned long long)sweep_totals.absorbed,
           (unsigned long long)sweep_totals.typed,
           (unsigned long long)sweep_totals.violations);
    if (!sweep_is_replay())
        assert_in_range(sweep_totals.injections,
                        getenv("CKPT_TEST_LONG") ? 5000 : 500, UINT64_MAX);
}

/* An argument names the one scenario that is gone through. */
int main(int argc, char **argv)
{
    struct CMUnitTest tests[ARRAY_LEN(scenarios) + 1] = {0};
    size_t count = 0;

    for (; count < ARRAY_LEN(scenarios); count++)
        tests[count] = (struct CMUnitTest){.name = scenarios[count].name,
                                           .test_func = sweep_scenario,
                                           .initial_state = &scenarios[count]};
    tests[count] = (struct CMUnitTest){.name = "there_were_enough",
                                       .test_func = there_were_enough};
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
