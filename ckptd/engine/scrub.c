/*
 * scrub.c - see scrub.h. A look once a second: is all quiet, and what is due?
 *
 * When it is due is kept in the catalog, by our own clock: a new life of the
 * daemon begins anew. Reading is scrub_read.c's.
 */
#include "ckptd/engine/scrub_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define LOOK_NS  ((uint64_t)1000 * 1000 * 1000)
#define QUIET_NS ((uint64_t)2 * 1000 * 1000 * 1000)
/* What is bad, or could not be read, comes so many times as often. */
#define SOONER 7

/*
 * Whose turn it is.
 */

/* Of our own clock, never 0. */
static uint32_t seconds(const struct scrub *s)
{
    return (uint32_t)(env_now(scrub_env(s)) / LOOK_NS) + 1;
}

void scrub_end(struct scrub *s)
{
    uint64_t every_s = scrub_env(s)->scrub_every_ns / LOOK_NS;
    struct catalog_save *save = scrub_save(s);
    uint32_t at;

    if (s->is_bad)
        every_s = max_u64(every_s / SOONER, 1);
    at = (uint32_t)min_u64(seconds(s) + every_s, UINT32_MAX);
    if (save && scrub_is_remote(s))
        save->scrub_remote_at_s = at;
    else if (save)
        save->scrub_at_s = at;
    remote_free(s->remote);
    free(s->whose);
    held_manifest_put(s->held);
    s->remote = NULL;
    s->whose = NULL;
    s->held = NULL;
    s->is_busy = false;
}

void scrub_soon(struct run *run, const struct save_id *id, bool is_remote_too)
{
    struct catalog_save *save = catalog_find(&run->catalog, id);

    if (!save)
        return;
    save->scrub_at_s = 0;
    if (is_remote_too)
        save->scrub_remote_at_s = 0;
}

/* What has waited longest. */
static void consider(struct scrub *s, struct run *run,
                     const struct catalog_save *save,
                     const struct scrub_place *place, uint32_t *best)
{
    uint32_t at =
        place == &scrub_here ? save->scrub_at_s : save->scrub_remote_at_s;

    if (at > seconds(s) || at >= *best)
        return;
    *best = at;
    s->run = run;
    s->id = save->id;
    s->place = place;
}

static void consider_run(struct scrub *s, struct run *run, uint32_t *best)
{
    for (size_t i = 0; i < run->catalog.save_count; i++) {
        const struct catalog_save *save = &run->catalog.save[i];

        if (save->status != SAVE_COMMITTED)
            continue;
        if (!save->is_lost && !save->is_released)
            consider(s, run, save, &scrub_here, best);
        if (save->is_marked_remote)
            consider(s, run, save, &scrub_remote_tier, best);
    }
}

static void begin_next(struct scrub *s)
{
    uint32_t best = UINT32_MAX;

    LIST_FOR_EACH (node, &s->engine->homes) {
        struct home *home = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &home->runs) {
            struct run *run = container_of(at, struct run, link);

            if (run->is_attached)
                consider_run(s, run, &best);
        }
    }
    if (best == UINT32_MAX)
        return;
    s->is_busy = true;
    scrub_read(s);
}

static void look(struct env_timer *timer)
{
    struct scrub *s = container_of(timer, struct scrub, timer);
    uint64_t now = scrub_env(s)->ops->now_ns(scrub_env(s));

    scrub_env(s)->ops->timer_set(scrub_env(s), &s->timer, now + LOOK_NS);
    if (engine_is_working(s->engine)) {
        s->quiet_since_ns = 0;
        if (s->back)
            read_back_rest(s->back, true);
        return;
    }
    if (!s->quiet_since_ns)
        s->quiet_since_ns = now;
    if (now - s->quiet_since_ns < QUIET_NS || s->is_stopping)
        return;
    if (s->back)
        read_back_rest(s->back, false);
    else if (!s->is_busy)
        begin_next(s);
}

/*
 * Life.
 */

int scrub_open(struct engine *e)
{
    struct env *env = e->env;
    struct scrub *s;

    if (!env->scrub_every_ns)
        return 0;
    s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->engine = e;
    s->timer.fire = look;
    env->ops->timer_set(env, &s->timer, env->ops->now_ns(env) + LOOK_NS);
    e->scrub = s;
    return 0;
}

void scrub_stop(struct engine *e)
{
    struct scrub *s = e->scrub;

    if (!s)
        return;
    s->is_stopping = true;
    e->env->ops->timer_stop(e->env, &s->timer);
    if (s->back)
        read_back_cancel(s->back);
}

bool scrub_is_busy(const struct engine *e)
{
    return e->scrub && e->scrub->is_busy;
}

void scrub_close(struct engine *e)
{
    if (!e->scrub)
        return;
    assert(!e->scrub->is_busy);
    e->env->ops->timer_stop(e->env, &e->scrub->timer);
    free(e->scrub);
    e->scrub = NULL;
}
