/*
 * scrub.c - see scrub.h. A look once a second: is all quiet, and what is due?
 *
 *   due -> manifest -> read back (rests while others work) -> damaged/ put, or
 *   removed -> the next look
 *
 * When it was read is kept in the catalog, by our own clock: a new life of the
 * daemon begins anew. Whatever goes wrong but bad bytes is logged, and the
 * checkpoint's turn comes again after the others.
 */
#include "ckptd/engine/scrub.h"
#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/reader.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS  ((uint64_t)1000 * 1000 * 1000)
#define QUIET_NS ((uint64_t)2 * 1000 * 1000 * 1000)

struct scrub {
    struct engine *engine;
    struct env_timer timer;
    uint64_t quiet_since_ns; /* 0: it is not */
    bool is_busy, is_stopping;
    /* Under way: */
    struct run *run;
    struct save_id id;
    struct held_manifest *held;
    struct read_back *back;
    struct err err;
};

static struct env *env_of(const struct scrub *s)
{
    return s->engine->env;
}

/* Of our own clock, never 0. */
static uint32_t seconds(const struct scrub *s)
{
    struct env *env = env_of(s);

    return (uint32_t)(env->ops->now_ns(env) / LOOK_NS) + 1;
}

static struct catalog_save *save_of(const struct scrub *s)
{
    struct catalog_save *save = catalog_find(&s->run->catalog, &s->id);

    return save && save->status == SAVE_COMMITTED ? save : NULL;
}

static void end(struct scrub *s)
{
    struct catalog_save *save = save_of(s);

    if (save)
        save->scrubbed_s = seconds(s);
    held_manifest_put(s->held);
    s->held = NULL;
    s->is_busy = false;
}

/*
 * What was found.
 */

static void noted(void *arg, int result)
{
    struct scrub *s = arg;

    if (result && result != -EEXIST && result != -ENOENT)
        env_of(s)->ops->log(env_of(s), LOG_LEVEL_ERROR,
                            "scrub of run %s step %" PRIu64
                            ": what was found cannot be noted: %s",
                            s->run->name, s->id.step, err_text(result));
    end(s);
}

static void note_damage(struct scrub *s, struct catalog_save *save)
{
    struct record_mark mark = {.id = s->id, .daemon = env_of(s)->local_uuid};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    save->is_damaged = true;
    mark.created_unix_ms = env_of(s)->ops->unix_ms(env_of(s));
    (void)snprintf(mark.note, sizeof mark.note, "%.*s",
                   (int)sizeof mark.note - 1, s->err.text);
    record_mark_encode(RECORD_DAMAGED, &mark, &w);
    recio_put(s->run->home->store,
              name_save_daemon(name, s->run->name, "damaged", &s->id,
                               &env_of(s)->local_uuid),
              &w, noted, s);
}

static bool is_damage(int result)
{
    return result == -CKPT_ECORRUPT || result == -EIO || result == -ENOENT;
}

static void was_read(void *arg, int result, const struct err *err)
{
    struct scrub *s = arg;
    struct catalog_save *save = save_of(s);
    char name[RECORD_NAME_BYTES];

    s->back = NULL;
    s->err = *err;
    /* Stopping; or it was removed, or let go here, while it was read. */
    if (result == -ECANCELED || !save || save->is_released) {
        end(s);
        return;
    }
    if (result)
        env_of(s)->ops->log(
            env_of(s), LOG_LEVEL_ERROR,
            "scrub of run %s step %" PRIu64 " (generation %" PRIu32 "): %s",
            s->run->name, s->id.step, s->id.generation, err->text);
    if (is_damage(result))
        note_damage(s, save);
    else if (result == 0 && save->is_damaged)
        recio_remove(s->run->home->store,
                     name_save_daemon(name, s->run->name, "damaged", &s->id,
                                      &env_of(s)->local_uuid),
                     noted, s);
    else
        end(s);
}

static void manifest_here(void *arg, int result, struct held_manifest *held,
                          const struct err *err)
{
    struct scrub *s = arg;

    s->held = held;
    if (result && result != -ENOENT)
        env_of(s)->ops->log(env_of(s), LOG_LEVEL_ERROR, "scrub: %s", err->text);
    if (result || s->is_stopping) {
        end(s);
        return;
    }
    s->back = read_back_begin(s->engine, &held->manifest, 1,
                              env_of(s)->scrub_bytes_s, was_read, s);
    if (!s->back)
        end(s);
}

/*
 * Whose turn it is.
 */

static void consider(struct scrub *s, struct run *run,
                     const struct catalog_save **best)
{
    uint64_t every_s = env_of(s)->scrub_every_ns / LOOK_NS;

    for (size_t i = 0; i < run->catalog.save_count; i++) {
        const struct catalog_save *save = &run->catalog.save[i];

        if (save->status != SAVE_COMMITTED || save->is_lost ||
            save->is_released)
            continue;
        if (save->scrubbed_s && seconds(s) - save->scrubbed_s < every_s)
            continue;
        if (*best && save->scrubbed_s >= (*best)->scrubbed_s)
            continue;
        *best = save;
        s->run = run;
        s->id = save->id;
    }
}

static void begin_next(struct scrub *s)
{
    const struct catalog_save *best = NULL;

    LIST_FOR_EACH (node, &s->engine->homes) {
        struct home *home = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &home->runs) {
            struct run *run = container_of(at, struct run, link);

            if (run->is_attached)
                consider(s, run, &best);
        }
    }
    if (!best)
        return;
    s->is_busy = true;
    manifest_fetch(s->run, &s->id, manifest_here, s);
}

static void look(struct env_timer *timer)
{
    struct scrub *s = container_of(timer, struct scrub, timer);
    uint64_t now = env_of(s)->ops->now_ns(env_of(s));

    env_of(s)->ops->timer_set(env_of(s), &s->timer, now + LOOK_NS);
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
