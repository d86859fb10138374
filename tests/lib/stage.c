/*
 * stage.c - see stage.h.
 */
#include "tests/lib/stage.h"
#include "tests/lib/drained.h"
#include "tests/lib/media.h"

#include <assert.h>
#include <stdio.h>

#define LIMIT_MS 700000

static const struct rig_shape shape = {.world_size = STAGE_RANKS,
                                       .slots = 4,
                                       .tensors = STAGE_TENSORS,
                                       .tensor_bytes = STAGE_TENSOR_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

/*
 * Waiting.
 */

void stage_bury_ranks(struct rig *g)
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
    stage_bury_ranks(g);
    return have_answers(g) && rig_all_decided(g) && rig_loads_done(g);
}

static bool are_over(void *rigs)
{
    struct rig *const *g = rigs;
    bool over = true;

    for (uint32_t i = 0; i < STAGE_RANKS; i++)
        over = is_over(g[i]) && over;
    return over;
}

/* Until all that the ranks of these daemons have asked for is answered. */
bool stage_wait_for(struct rig *g[STAGE_RANKS])
{
    return rig_run(g[0], LIMIT_MS, are_over, g);
}

bool stage_wait_all(struct stage *s)
{
    struct rig *g[STAGE_RANKS] = {s->g, s->other ? s->other : s->g};

    return stage_wait_for(g);
}

/*
 * Scenes.
 */

/* s->g was made, and is to have trouble. */
static void disturb(struct stage *s)
{
    if (s->disturb)
        s->disturb(s->g);
}

struct rig_save *stage_save(struct rig_rank *const *r, uint32_t count,
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
    const struct rig_save *v = stage_save(s->r, STAGE_RANKS, step);
    bool over = stage_wait_all(s);

    assert(over && v && v->state == WIRE_STATE_COMMITTED);
    s->committed = v->id;
}

/* Each rank on the daemon named for it. */
void stage_join(struct rig *g[STAGE_RANKS], const char *token,
                struct rig_rank **r)
{
    for (uint32_t i = 0; i < STAGE_RANKS; i++) {
        r[i] = rig_rank_new(g[i], i, STAGE_RANKS);
        r[i]->codec = 1;
        rig_open(r[i], token);
    }
    (void)stage_wait_for(g);
    for (uint32_t i = 0; i < STAGE_RANKS; i++) {
        if (!rig_joined(r[i]))
            continue;
        rig_arena(r[i], shape.slots);
        rig_table(r[i], 1, STAGE_TENSORS, STAGE_TENSOR_BYTES);
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
    disturb(s);
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
    (void)stage_save(s->r, STAGE_RANKS, 30);
    (void)stage_wait_all(s);
    (void)rig_run(s->g, 2000, NULL, NULL); /* retention goes on behind it */
}

static void act_die(struct stage *s)
{
    s->r[1]->hold_after = 1;
    (void)stage_save(s->r, STAGE_RANKS, 30);
    (void)rig_run(s->g, 50, NULL, NULL);
    rig_die(s->r[1]);
    (void)stage_wait_all(s);
}

/* The daemon was killed while saving 30, at this state; another is about to
 * start. */
static void prepare_killed(struct stage *s, uint32_t state)
{
    struct rig_save *v;

    prepare_save(s);
    v = stage_save(s->r, STAGE_RANKS, 30);
    while (v->state < state)
        (void)rig_run(s->g, 0, NULL, NULL);
    rig_kill(s->g);
    rig_end(s->g);
    s->g = rig_make(s->world, "a");
    s->g->has_shared_world = true;
    disturb(s);
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
    (void)stage_wait_all(s);
}

/* A fresh daemon with nothing in memory. */
static void prepare_fresh(struct stage *s)
{
    prepare_packed(s);
    rig_end(s->g);
    s->g = rig_new_in(s->world, "a");
    s->g->has_shared_world = true;
    disturb(s);
}

static void act_join(struct stage *s)
{
    rig_start(s->g, "second", &shape, s->r);
    (void)stage_wait_all(s);
}

/* The daemon has ended; another one serves two ranks that have wishes. */
static void prepare_load_on(struct stage *s)
{
    s->g = rig_new_in(s->world, "a");
    s->g->has_shared_world = true;
    disturb(s);
    act_join(s);
    for (uint32_t i = 0; i < STAGE_RANKS; i++) {
        struct rig_want want[STAGE_RANKS * STAGE_TENSORS];

        /* Each tensor in two halves, so that chunks are gathered for both. */
        for (uint32_t k = 0; k < STAGE_RANKS * STAGE_TENSORS; k++)
            want[k] = (struct rig_want){.owner = k / STAGE_TENSORS,
                                        .tensor = k % STAGE_TENSORS,
                                        .start = i * STAGE_TENSOR_BYTES / 4,
                                        .count = STAGE_TENSOR_BYTES / 4};
        rig_wish(s->r[i], 7, want, ARRAY_LEN(want), STAGE_TENSOR_BYTES);
    }
    (void)rig_run(s->g, 10, NULL, NULL);
}

static void prepare_load(struct stage *s)
{
    prepare_packed(s);
    rig_end(s->g);
    prepare_load_on(s);
}

/* The newest checkpoint's own segments are gone, and there is a copy of it. */
static void lose_newest(struct stage *s)
{
    const struct rig_save *older =
        container_of(s->r[0]->saves.next, struct rig_save, link);
    struct drained newest, kept;

    drained_save(s->world, "a", &s->committed);
    drained_begin(&newest, s->world, "a", &s->committed);
    drained_begin(&kept, s->world, "a", &older->id);
    for (uint64_t i = 0; i < newest.m.file_count; i++) {
        const struct mf_file *f = &newest.m.file[i];
        bool is_kept = false;
        char name[64];
        int64_t rc;

        for (uint64_t k = 0; k < kept.m.file_count; k++)
            is_kept |= id_equal(&f->segment, &kept.m.file[k].segment);
        if (is_kept)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)f->name_bytes,
                       newest.m.blob + f->name);
        rc = media_remove_segment(test_world_store(s->world, "local/a"), name);
        assert(rc == 0);
    }
    drained_end(&kept);
    drained_end(&newest);
}

static void prepare_load_remote(struct stage *s)
{
    prepare_packed(s);
    rig_end(s->g);
    lose_newest(s);
    prepare_load_on(s);
}

static void act_load(struct stage *s)
{
    for (uint32_t i = 0; i < STAGE_RANKS; i++)
        (void)rig_load(s->r[i], NULL);
    (void)stage_wait_all(s);
}

static void act_read(struct stage *s)
{
    (void)rig_load(s->r[0], &s->committed);
    (void)stage_wait_all(s);
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
    (void)stage_wait_all(s);
}

/* Two daemons with a rank each. */
static void prepare_pair(struct stage *s)
{
    struct rig *g[STAGE_RANKS];

    s->world = test_world_new(11);
    for (uint32_t i = 0; i < 2; i++) {
        g[i] = rig_new_in(s->world, i ? "b" : "a");
        g[i]->has_shared_world = true;
    }
    s->g = s->saver = g[0];
    s->other = g[1];
    stage_join(g, "first", s->r);
    save_committed(s, 10);
    save_committed(s, 20);
    disturb(s);
}

void stage_all_die(struct rig *g)
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
    (void)stage_save(s->r, STAGE_RANKS, 30);
    (void)rig_run(s->g, 1, NULL, NULL);
    stage_all_die(s->g);
    (void)stage_wait_all(s);
}

/* All ranks go, then the daemon ends, and another one starts. */
static void act_end_daemon(struct stage *s)
{
    stage_all_die(s->g);
    rig_end(s->g);
    s->ended = s->g;
    s->g = rig_make(s->world, "a");
    s->g->has_shared_world = true;
    disturb(s);
    if (rig_boot(s->g) == 0)
        (void)stage_wait_all(s);
}

/* It ends while it attaches the run, from a home that is slow. */
static void act_end_attaching(struct stage *s)
{
    s->g->daemon->fault[0] = (struct store_fault){
        .op = -1, .nth = 1, .persistent = true, .delay_polls = 5000};
    s->g->daemon->fault_count = 1;
    for (uint32_t i = 0; i < STAGE_RANKS; i++)
        rig_open(rig_rank_new(s->g, i, STAGE_RANKS), "second");
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
    (void)stage_save(s->r, STAGE_RANKS, 30);
    (void)rig_run(s->g, 1, NULL, NULL);
    act_end_daemon(s);
}

struct stage_scene stage_scenes[STAGE_SCENES] = {
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
    {"load-remote", prepare_load_remote, act_load},
    {"read", prepare_load, act_read},
    {"ask", prepare_load, act_ask},
};
