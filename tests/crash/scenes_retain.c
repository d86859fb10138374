/*
 * scenes_retain.c - what retention must not take away. See directed.h.
 */
#include "tests/crash/scenes.h"

#include "formats/record.h"
#include "tests/crash/disk_internal.h"

#include <assert.h>
#include <errno.h>

static const struct life_shape keep_one = {
    .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8, .keep_last = 1};

/* All segments from this one on have a bit flipped. */
static void flip_from(struct stage *s, uint32_t before)
{
    const struct disk_node *seg =
        &s->disk->live.node[stage_file(s, "local-a/seg")];

    assert(seg->entry_count > before);
    for (uint32_t i = before; i < seg->entry_count; i++)
        stage_flip(s, seg->entry[i].node, 2 * PAGE_BYTES + 100);
}

static uint32_t segment_count(const struct stage *s)
{
    return s->disk->live.node[stage_file(s, "local-a/seg")].entry_count;
}

/* The newest rots before it was read back: the one before it must still be. */
bool scene_read_back(uint64_t seed, char why[WHY_BYTES])
{
    struct rig_load *l[LIFE_RANKS_MAX];
    const struct promise *ten;
    struct stage s;
    uint32_t before;

    stage_begin(&s, seed, &keep_one, why);
    ten = stage_commit(&s, 10, 1);
    before = segment_count(&s);
    (void)stage_commit(&s, 20, 2);
    flip_from(&s, before);
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

/* A removal ends after its tomb: the decision that is left counts no more. */
bool scene_buried(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *ten, *twenty;
    struct life_shape shape = keep_one;
    struct stage s;

    shape.keep_last = 0;
    stage_begin(&s, seed, &shape, why);
    ten = stage_commit(&s, 10, 1);
    twenty = stage_commit(&s, 20, 2);
    stage_bury(&s, twenty, false);
    stage_stop(&s);
    if (!stage_next(&s))
        return stage_end(&s, false);
    if (s.life.r[0]->parent.step != 10)
        return stage_end(&s, stage_fails(&s, "resumed from step 20, which was "
                                             "removed"));
    return stage_end(&s, stage_loads(&s, ten));
}

/* The same, while a daemon lives that has not heard of it. */
bool scene_buried_unseen(uint64_t seed, char why[WHY_BYTES])
{
    struct rig_load *l[LIFE_RANKS_MAX];
    struct life_shape shape = keep_one;
    const struct promise *ten;
    struct stage s;
    bool ok = true;

    shape.keep_last = 0;
    stage_begin(&s, seed, &shape, why);
    ten = stage_commit(&s, 10, 1);
    (void)stage_commit(&s, 20, 2);
    stage_retain(&s); /* which looks for tombs */
    stage_bury(&s, ten, false);
    life_load(&s.life, &ten->id, l);
    for (uint32_t i = 0; i < s.p.shape.ranks; i++)
        if (!l[i]->is_done || l[i]->code != -ENOENT)
            ok = stage_fails(&s, "rank %u is given what was removed: %d", i,
                             l[i]->code);
    return stage_end(&s, ok);
}

/* The newest was read back, and then found damaged, before retention came to
 * remove the oldest: ranks still load. The one between them is bad as well by
 * now, which nobody knows. */
bool scene_damaged_newest(uint64_t seed, char why[WHY_BYTES])
{
    struct life_shape shape = keep_one;
    struct rig_load *l[LIFE_RANKS_MAX];
    const struct promise *ten, *thirty;
    struct stage s;
    uint32_t before;

    shape.keep_last = 0;
    stage_begin(&s, seed, &shape, why);
    ten = stage_commit(&s, 10, 1);
    before = segment_count(&s);
    (void)stage_commit(&s, 20, 2);
    stage_stop(&s);
    s.p.shape.keep_last = 1;
    if (!stage_next(&s))
        return stage_end(&s, false);
    for (uint32_t i = 0; i < shape.ranks; i++) {
        l[i] = rig_load(s.life.r[i], NULL);
        l[i]->is_silent = true;
    }
    life_turn(&s.life, 1000);
    thirty = stage_commit(&s, 30, 3);
    life_turn(&s.life, 5000);
    assert(stage_record(&s, "verified", &thirty->id) != DISK_NEVER);
    flip_from(&s, before);
    stage_note_damage(&s, thirty);
    for (uint32_t i = 0; i < shape.ranks; i++)
        rig_load_vote(l[i]);
    stage_retain(&s);
    stage_stop(&s);
    if (!stage_next(&s))
        return stage_end(&s, false);
    life_load(&s.life, NULL, l);
    return stage_end(&s, life_load_is_right(&s.life, l, ten, why, WHY_BYTES));
}

static const struct life_shape keep_two = {
    .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8, .keep_last = 2};

/* Of two to keep a damaged one is none. */
bool scene_damaged(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *twenty, *thirty;
    struct stage s;

    stage_begin(&s, seed, &keep_two, why);
    (void)stage_commit(&s, 10, 1);
    twenty = stage_commit(&s, 20, 2);
    thirty = stage_commit(&s, 30, 3);
    stage_retain(&s);
    stage_note_damage(&s, thirty);
    (void)stage_commit(&s, 40, 4);
    stage_retain(&s);
    return stage_end(&s, stage_loads(&s, twenty));
}

/* Nor is one whose segments are gone. */
bool scene_lost_one(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *twenty;
    struct disk_node *seg;
    uint32_t before;
    struct stage s;

    stage_begin(&s, seed, &keep_two, why);
    (void)stage_commit(&s, 10, 1);
    twenty = stage_commit(&s, 20, 2);
    before = segment_count(&s);
    (void)stage_commit(&s, 30, 3);
    stage_retain(&s);
    stage_stop(&s);
    seg = &s.disk->live.node[stage_file(&s, "local-a/seg")];
    assert(seg->entry_count > before);
    disk_take_name(s.disk, stage_file(&s, "local-a/seg"),
                   seg->entry[before].name);
    if (!stage_next(&s))
        return stage_end(&s, false);
    (void)stage_commit(&s, 40, 4);
    stage_retain(&s);
    return stage_end(&s, stage_loads(&s, twenty));
}
