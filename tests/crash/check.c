/*
 * check.c - see check.h.
 */
#include "tests/crash/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct check {
    struct life life;
    struct promises mine; /* what is saved here */
    const struct promises *promised;
    uint32_t at;
    bool is_local_gone;           /* all that counts is what is REMOTE */
    const struct promise *newest; /* of what was promised */
    const struct promise *parent;
    char *why;
};

static bool fails(struct check *c, const char *format, ...) PRINTF_LIKE(2, 3);

static bool fails(struct check *c, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(c->why, WHY_BYTES, format, args);
    va_end(args);
    return false;
}

static int order(const struct promise *a, const struct promise *b)
{
    return save_id_compare(&a->id, &b->id);
}

/* Must it load now? */
static bool must_load(const struct check *c, const struct promise *s)
{
    return c->is_local_gone ? is_promised_remote(s, c->at)
                            : is_promised(s, c->at);
}

static const struct promise *newest_of(const struct check *c)
{
    const struct promises *p = c->promised;
    const struct promise *newest = NULL;

    for (uint32_t i = 0; i < p->count; i++)
        if (must_load(c, &p->save[i]) &&
            (!newest || order(&p->save[i], newest) > 0))
            newest = &p->save[i];
    return newest;
}

/* That a save which was begun may turn out to have been committed. */
static bool may_exist(const struct promise *s, uint32_t at)
{
    return s->begun <= at && (s->aborted > at || is_promised(s, at));
}

static bool check_parent(struct check *c)
{
    const struct save_id *id = &c->life.r[0]->parent;
    const struct promises *p = c->promised;

    for (uint32_t i = 1; i < p->shape.ranks; i++)
        if (save_id_compare(&c->life.r[i]->parent, id) != 0)
            return fails(c, "I5: ranks 0 and %u resume from different saves",
                         i);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct promise *s = &p->save[i];

        if (s->id.generation == id->generation && s->id.step == id->step &&
            (!s->id.attempt || s->id.attempt == id->attempt) &&
            may_exist(s, c->at))
            c->parent = s;
    }
    if (id->generation && !c->parent)
        return fails(c,
                     "I2: resumed from step %" PRIu64 " of generation "
                     "%" PRIu32 ", which was aborted or never begun",
                     id->step, id->generation);
    if (c->newest && (!c->parent || order(c->parent, c->newest) < 0))
        return fails(c,
                     "I3: step %" PRIu64 " was COMMITTED, but resumed from "
                     "step %" PRIu64,
                     c->newest->id.step, id->step);
    return true;
}

/* May the policy have removed it? */
static bool may_be_gone(const struct check *c, const struct promise *s)
{
    const struct promises *p = c->promised;
    uint32_t newer = 0;

    for (uint32_t i = 0; i < p->count; i++)
        newer += may_exist(&p->save[i], c->at) && order(&p->save[i], s) > 0;
    return p->shape.keep_last && newer >= p->shape.keep_last;
}

static bool load_as(struct check *c, const struct promise *s,
                    const struct save_id *id)
{
    struct rig_load *l[LIFE_RANKS_MAX];

    life_load(&c->life, id, l);
    return life_load_is_right(&c->life, l, s, c->why, WHY_BYTES);
}

/* The one that ranks resume from, all together and at once. */
static bool check_resumed(struct check *c)
{
    struct rig_load *l[LIFE_RANKS_MAX];
    struct promise s;

    if (!c->parent)
        return true;
    s = *c->parent;
    s.id = c->life.r[0]->parent;
    life_load(&c->life, NULL, l);
    if (!life_load_is_right(&c->life, l, &s, c->why, WHY_BYTES))
        return false;
    if (l[0]->attempts != 1)
        return fails(c, "I3: step %" PRIu64 " took %u attempts: %s", s.id.step,
                     l[0]->attempts, l[0]->note);
    return true;
}

/* `loaded` (or NULL) was by now, promised or not: it is one of those that the
 * policy keeps. */
static bool check_others(struct check *c, const struct promise *loaded)
{
    const struct promises *p = c->promised;
    uint32_t promised = 0, there = loaded && !must_load(c, loaded);

    for (uint32_t i = 0; i < p->count; i++) {
        const struct promise *s = &p->save[i];
        struct rig_load *l[LIFE_RANKS_MAX];

        if (!must_load(c, s))
            continue;
        promised++;
        life_load(&c->life, &s->id, l);
        if (l[0]->is_done && l[0]->code == -ENOENT && may_be_gone(c, s))
            continue;
        if (!life_load_is_right(&c->life, l, s, c->why, WHY_BYTES))
            return false;
        there++;
    }
    if (there < min_u64(promised, max_u64(p->shape.keep_last, 1)))
        return fails(c, "I3: %u of %u committed ones are left", there,
                     promised);
    return true;
}

/* Every local store is gone. What ranks load then is what was REMOTE, or newer
 * and whole; and each that was is there but for what the policy let go. */
static bool check_remote(struct check *c)
{
    struct rig_load *l[LIFE_RANKS_MAX];
    const struct promise *s;

    life_load(&c->life, NULL, l);
    s = l[0]->is_done && !l[0]->code
            ? promise_of((struct promises *)(uintptr_t)c->promised, &l[0]->id)
            : NULL;
    if (!s || order(s, c->newest) < 0)
        return fails(c,
                     "step %" PRIu64 " was REMOTE; without the local stores "
                     "step %" PRIu64 " was loaded: %s",
                     c->newest->id.step, s ? s->id.step : 0, l[0]->text);
    if (!life_load_is_right(&c->life, l, s, c->why, WHY_BYTES))
        return false;
    return check_others(c, s);
}

/* Two new ones, so that recycled segments are written to as well. */
static bool check_goes_on(struct check *c)
{
    uint64_t step = 10;

    for (uint32_t i = 0; i < c->promised->count; i++)
        step = max_u64(step, c->promised->save[i].id.step);
    for (uint32_t n = 1; n <= 2; n++) {
        struct promise *s = life_save(&c->life, step + 10 * n, 90 + n);

        if (!life_wait(&c->life) || s->committed == DISK_NEVER)
            return fails(c, "a new save does not commit: %s",
                         s->v[0]->text[0] ? s->v[0]->text : "undecided");
    }
    if (!load_as(c, &c->mine.save[1], &c->mine.save[1].id))
        return false;
    return !c->parent || load_as(c, c->parent, &c->life.r[0]->parent);
}

/* Joining may take longer than ranks wait: a save that one daemon has voted for
 * and another has never begun is undecided until the decide deadline. So the
 * job is started again and again, as whoever operates it would. */
#define JOINS_MAX 12

static bool join(struct check *c)
{
    for (uint32_t i = 0; i < JOINS_MAX; i++) {
        char token[32];

        (void)snprintf(token, sizeof token, "after the crash %" PRIu32, i);
        if (life_join(&c->life, token))
            return true;
        for (uint32_t k = 0; k < c->promised->shape.ranks; k++)
            rig_die(c->life.r[k]);
    }
    return false;
}

static bool check_all(struct check *c)
{
    if (!join(c))
        return fails(c, "ranks cannot join: %s", c->life.r[0]->error_text);
    c->newest = newest_of(c);
    if (c->is_local_gone)
        return check_remote(c);
    return check_parent(c) && check_resumed(c) && check_others(c, c->parent) &&
           check_goes_on(c);
}

static bool check_disk(struct check *c, struct disk *disk, uint64_t seed)
{
    bool ok;

    c->why[0] = '\0';
    c->mine.shape = c->promised->shape;
    life_begin(&c->life, disk, &c->mine, seed);
    ok = check_all(c);
    life_end(&c->life);
    return ok;
}

bool crash_check_disk(struct disk *disk, const struct promises *promised,
                      uint32_t at, uint64_t seed, char why[WHY_BYTES])
{
    struct check c = {.promised = promised, .at = at, .why = why};

    return check_disk(&c, disk, seed);
}

static bool check_image(struct check *c, const struct image *left,
                        uint64_t seed)
{
    struct disk *disk = disk_new(seed, left);
    struct disk *before = disk_the(disk);
    bool ok = check_disk(c, disk, seed);

    (void)disk_the(before);
    disk_free(disk);
    return ok;
}

/* The same without any local store. */
static bool check_home_alone(struct check *c, const struct image *left,
                             uint64_t seed)
{
    struct image home;
    bool ok;

    image_copy(&home, left);
    image_remove(&home, 0, "local-a");
    image_remove(&home, 0, "local-b");
    c->is_local_gone = true;
    ok = check_image(c, &home, seed);
    image_free(&home);
    return ok;
}

bool crash_check(const struct image *left, const struct promises *promised,
                 uint32_t at, uint64_t seed, char why[WHY_BYTES])
{
    struct check c = {.promised = promised, .at = at, .why = why};
    struct check remote = c;
    bool is_remote = false;

    for (uint32_t i = 0; i < promised->count; i++)
        is_remote |= is_promised_remote(&promised->save[i], at);
    return check_image(&c, left, seed) &&
           (!is_remote || check_home_alone(&remote, left, seed));
}
