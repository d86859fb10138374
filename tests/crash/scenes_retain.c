/*
 * scenes_retain.c - what retention must not take away. See directed.h.
 */
#include "tests/crash/scenes.h"

#include "formats/record.h"

#include <assert.h>

static const struct life_shape keep_one = {
    .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8, .keep_last = 1};

/* The newest rots before it was read back: the one before it must still be. */
bool scene_read_back(uint64_t seed, char why[WHY_BYTES])
{
    struct rig_load *l[LIFE_RANKS_MAX];
    const struct promise *ten;
    struct disk_node *seg;
    struct stage s;
    uint32_t before;

    stage_begin(&s, seed, &keep_one, why);
    ten = stage_commit(&s, 10, 1);
    before = s.disk->live.node[stage_file(&s, "local-a/seg")].entry_count;
    (void)stage_commit(&s, 20, 2);
    seg = &s.disk->live.node[stage_file(&s, "local-a/seg")];
    assert(seg->entry_count > before);
    for (uint32_t i = before; i < seg->entry_count; i++)
        stage_flip(&s, seg->entry[i].node, 2 * PAGE_BYTES + 100);
    stage_retain(&s);
    stage_stop(&s);
    if (!stage_next(&s))
        return stage_end(&s, false);
    life_load(&s.life, NULL, l);
    return stage_end(&s, life_load_is_right(&s.life, l, ten, why, WHY_BYTES));
}

/* Who cannot read what there is removes nothing. */
bool scene_unreadable(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *v;
    struct stage s;

    stage_begin(&s, seed, &keep_one, why);
    v = stage_commit(&s, 10, 1);
    stage_stop(&s);
    stage_flip(&s, stage_record(&s, "decision", &v->id), 50);
    if (!stage_next(&s))
        return stage_end(&s, false);
    v = stage_commit(&s, 20, 2);
    (void)stage_commit(&s, 30, 3);
    stage_retain(&s);
    return stage_end(&s, stage_loads(&s, v));
}

/* What could not be read at a start is whole when it can be again. */
bool scene_held(uint64_t seed, char why[WHY_BYTES])
{
    struct life_shape shape = keep_one;
    const struct promise *v;
    struct stage s;
    uint32_t file;

    shape.keep_last = 0;
    stage_begin(&s, seed, &shape, why);
    v = stage_commit(&s, 10, 1);
    stage_stop(&s);
    file = stage_record(&s, "decision", &v->id);
    stage_flip(&s, file, 50);
    if (!stage_next(&s))
        return stage_end(&s, false);
    for (uint64_t step = 20; step <= 40; step += 10)
        (void)stage_commit(&s, step, step);
    stage_stop(&s);
    stage_flip(&s, file, 50);
    return stage_end(&s, stage_next(&s) && stage_loads(&s, v));
}

static bool marked(uint64_t seed, const char *folder, enum record_kind kind,
                   char why[WHY_BYTES])
{
    struct record_mark mark = {.note = "the test wants it"};
    const struct promise *v;
    struct stage s;
    struct wr w = {0};

    stage_begin(&s, seed, &keep_one, why);
    v = stage_commit(&s, 10, 1);
    mark.id = v->id;
    record_mark_encode(kind, &mark, &w);
    stage_put(&s, folder, &v->id, &w);
    for (uint64_t step = 20; step <= 40; step += 10) {
        (void)stage_commit(&s, step, step);
        stage_retain(&s);
    }
    return stage_end(&s, stage_loads(&s, v));
}

bool scene_pin(uint64_t seed, char why[WHY_BYTES])
{
    return marked(seed, "pin", RECORD_PIN, why);
}

bool scene_lease(uint64_t seed, char why[WHY_BYTES])
{
    return marked(seed, "lease", RECORD_LEASE, why);
}

/* What a generation goes on from stays while it does. */
bool scene_parent(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *v;
    struct stage s;

    stage_begin(&s, seed, &keep_one, why);
    v = stage_commit(&s, 10, 1);
    stage_stop(&s);
    if (!stage_next(&s))
        return stage_end(&s, false);
    for (uint64_t step = 20; step <= 40; step += 10) {
        (void)stage_commit(&s, step, step);
        stage_retain(&s);
    }
    return stage_end(&s, stage_loads(&s, v));
}

/* Others remove a save that a rank has half loaded. */
bool scene_reading(uint64_t seed, char why[WHY_BYTES])
{
    static const struct life_shape shape = {
        .ranks = 1, .daemons = 1, .tensors = 24, .slots = 8};
    struct record_tomb tomb = {.reason = "the test wants it"};
    const struct promise *v;
    struct rig_load *l;
    struct stage s;
    struct wr w = {0};

    stage_begin(&s, seed, &shape, why);
    v = stage_commit(&s, 10, 1);
    stage_stop(&s);
    if (!stage_next(&s))
        return stage_end(&s, false);
    l = rig_load(s.life.r[0], &v->id);
    l->is_holding = true;
    life_turn(&s.life, 1000);
    assert(l->held_count > 0 && !l->is_done);
    tomb.id = v->id;
    record_tomb_encode(&tomb, &w);
    stage_put(&s, "tomb", &v->id, &w);
    rig_open(rig_rank_new(s.life.g[0], 0, 1), "looks for tombs");
    life_turn(&s.life, 3000);
    rig_load_consume(l);
    (void)life_until(&s.life, rig_loads_done, s.life.g[0]);
    return stage_end(&s, life_load_is_right(&s.life, &l, v, why, WHY_BYTES));
}

/* An undecided save refers to what the policy wants to let go. */
bool scene_base(uint64_t seed, char why[WHY_BYTES])
{
    struct promise *twenty, *thirty;
    struct stage s;

    stage_begin(&s, seed, &keep_one, why);
    (void)stage_commit(&s, 10, 1);
    twenty = life_save(&s.life, 20, 2);
    thirty = life_save_begin(&s.life, 30);
    life_save_rank(&s.life, thirty, 0, 1); /* as step 10 was */
    for (int i = 0; i < 100 && twenty->committed == DISK_NEVER; i++)
        life_turn(&s.life, 10);
    stage_retain(&s);
    life_save_rank(&s.life, thirty, 1, 3);
    (void)life_wait(&s.life);
    if (thirty->committed == DISK_NEVER)
        return stage_end(&s,
                         stage_fails(&s, "step 30: %s", thirty->v[0]->text));
    stage_stop(&s);
    return stage_end(&s, stage_next(&s) && stage_loads(&s, thirty));
}

/* Power fails while the home takes its time over a tomb. */
bool scene_slow_tomb(uint64_t seed, char why[WHY_BYTES])
{
    struct store_fault slow = {.op = STORE_PUT,
                               .name_part = "tomb",
                               .nth = 1,
                               .persistent = true,
                               .delay_polls = 60000};
    struct image left;
    struct stage s;
    uint32_t at;
    bool ok;
    int rc;

    stage_begin(&s, seed, &keep_one, why);
    rc = store_fault_add(test_env_fault(s.life.g[0]->daemon, RIG_HOME), &slow);
    assert(rc == 0);
    for (uint64_t step = 10; step <= 30; step += 10) {
        (void)stage_commit(&s, step, step);
        life_turn(&s.life, 150);
    }
    image_copy(&left, &s.disk->live);
    at = s.disk->op_count;
    stage_kill(&s);
    ok = crash_check(&left, &s.p, at, seed, why);
    image_free(&left);
    return stage_end(&s, ok);
}
