/*
 * scenes_rot.c - bits that are not what was written, on media and in memory,
 * and a rank that says so. See directed.h.
 */
#include "tests/crash/scenes.h"

#include "ckptd/engine/slots.h"
#include "formats/record.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct life_shape small = {
    .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8};

/* Every segment has a bit flipped in each of its extents' payloads. */
static void flip_payloads(struct stage *s)
{
    uint32_t folder = stage_file(s, "local-a/seg");
    const struct disk_node *seg;

    assert(folder != DISK_NEVER);
    seg = &s->disk->live.node[folder];
    for (uint32_t i = 0; i < seg->entry_count; i++) {
        uint32_t file = seg->entry[i].node;
        uint64_t bytes = content_size(s->disk->live.node[file].content);

        for (uint64_t at = 2 * PAGE_BYTES + 100; at < bytes; at += PAGE_BYTES)
            stage_flip(s, file, at);
    }
}

/* Loads may fail, in words; what they hand over is right. */
static bool never_wrong(struct stage *s, const struct promise *v)
{
    struct rig_load *l[LIFE_RANKS_MAX];

    life_load(&s->life, &v->id, l);
    for (uint32_t i = 0; i < s->p.shape.ranks; i++)
        if (l[i]->is_done && l[i]->code == 0)
            return life_load_is_right(&s->life, l, v, s->why, WHY_BYTES);
    return true;
}

static bool rot(uint64_t seed, const struct life_shape *shape,
                char why[WHY_BYTES])
{
    const struct promise *v;
    struct stage s;

    stage_begin(&s, seed, shape, why);
    v = stage_commit(&s, 10, 1);
    stage_stop(&s);
    flip_payloads(&s);
    return stage_end(&s, stage_next(&s) && never_wrong(&s, v));
}

bool scene_rot(uint64_t seed, char why[WHY_BYTES])
{
    return rot(seed, &small, why);
}

bool scene_rot_packed(uint64_t seed, char why[WHY_BYTES])
{
    struct life_shape shape = small;

    shape.is_packed = true;
    return rot(seed, &shape, why);
}

bool scene_memory(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *v;
    struct stage s;

    stage_begin(&s, seed, &small, why);
    v = stage_commit(&s, 10, 1);
    LIST_FOR_EACH (node, &s.life.g[0]->engine->arenas) {
        struct slots *slots = container_of(node, struct slots, link);

        for (uint32_t i = 0; i < slots->count; i++)
            if (slots->slot[i].state == SLOT_CLEAN)
                ((uint8_t *)slot_payload(slots, i))[100] ^= 1;
    }
    return stage_end(&s, stage_loads(&s, v));
}

/* Whatever bit of a decision is flipped: it is no checkpoint any more. */
bool scene_record(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *v;
    const struct catalog_save *found;
    struct stage s;
    uint32_t file;
    bool ok;

    stage_begin(&s, seed, &small, why);
    v = stage_commit(&s, 10, 1);
    stage_stop(&s);
    file = stage_record(&s, "decision", &v->id);
    stage_flip(&s, file,
               seed * 7 % content_size(s.disk->live.node[file].content));
    if (!stage_next(&s))
        return stage_end(&s, false);
    found = catalog_find(&stage_run(&s)->catalog, &v->id);
    ok = found && found->status == SAVE_UNREADABLE;
    if (!ok)
        (void)stage_fails(&s, "a damaged decision passes for a good one");
    return stage_end(&s, ok);
}

/* The same of the manifest in it, which has digests of its own. */
bool scene_manifest(uint64_t seed, char why[WHY_BYTES])
{
    struct rig_load *l[LIFE_RANKS_MAX];
    const struct promise *v;
    struct stage s;
    uint64_t bytes;
    uint32_t file;
    bool ok = true;

    stage_begin(&s, seed, &small, why);
    v = stage_commit(&s, 10, 1);
    stage_stop(&s);
    file = stage_record(&s, "decision", &v->id);
    bytes = content_size(s.disk->live.node[file].content);
    stage_flip(&s, file, bytes / 2 + seed * 13 % (bytes / 4));
    if (!stage_next(&s))
        return stage_end(&s, false);
    life_load(&s.life, &v->id, l);
    if (l[0]->code == 0)
        ok = stage_fails(&s, "a damaged manifest passes for a good one");
    return stage_end(&s, ok);
}

/* One rank says, later than the others, that it could not take what it was
 * given. */
bool scene_one_bad_word(uint64_t seed, char why[WHY_BYTES])
{
    uint32_t bad = (uint32_t)(seed % small.ranks);
    struct rig_load *l[LIFE_RANKS_MAX];
    struct stage s;
    bool ok = true;

    stage_begin(&s, seed, &small, why);
    (void)stage_commit(&s, 10, 1);
    stage_stop(&s);
    if (!stage_next(&s))
        return stage_end(&s, false);
    for (uint32_t i = 0; i < small.ranks; i++) {
        l[i] = rig_load(s.life.r[i], NULL);
        l[i]->is_silent = true;
    }
    life_turn(&s.life, 1000);
    l[bad]->vote = -EINVAL;
    rig_load_vote(l[1 - bad]);
    life_turn(&s.life, 1000);
    if (!l[bad]->is_done)
        rig_load_vote(l[bad]);
    (void)life_until(&s.life, rig_loads_done, s.life.g[0]);
    for (uint32_t i = 0; i < small.ranks; i++)
        if (!l[i]->is_done || l[i]->code == 0)
            ok = stage_fails(&s, "I5: rank %u is told that all have loaded", i);
    return stage_end(&s, ok);
}
