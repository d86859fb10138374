/*
 * retain.c - a pass of retention over one run.
 *
 * Happy path: look at pins and leases, choose, read the newest checkpoint back
 * unless verified/SAVE says that was done, then remove the chosen saves one by
 * one. While ranks load, or an undecided save refers to a victim, the pass is
 * put off. Any failure ends the pass with a line in the log and removes
 * nothing more; the next commit starts another.
 */
#include "ckptd/engine/retain_internal.h"
#include "ckptd/engine/load.h"
#include "ckptd/engine/save.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Reading back takes at most this share of what the drive was seen to do. */
#define READ_BACK_SHARE 0.25
#define READ_BACK_DEPTH 2
#define RETRY_NS        ((uint64_t)500 * 1000 * 1000)

static const bool allowed[RETAIN_PHASES][RETAIN_PHASES] = {
    [RETAIN_IDLE] = {[RETAIN_LOOKING] = true},
    [RETAIN_LOOKING] = {[RETAIN_READING_BACK] = true, [RETAIN_IDLE] = true},
    [RETAIN_READING_BACK] = {[RETAIN_REMOVING] = true, [RETAIN_IDLE] = true},
    [RETAIN_REMOVING] = {[RETAIN_IDLE] = true},
};

void retain_move(struct retention *t, enum retain_phase to)
{
    assert(allowed[t->phase][to]);
    t->phase = to;
}

static void pass_begin(struct retention *t)
{
    t->is_wanted = false;
    retain_move(t, RETAIN_LOOKING);
    retain_look(t);
}

void retain_end(struct retention *t, int result, const char *what)
{
    if (result && result != -ECANCELED)
        t->env->ops->log(t->env, LOG_LEVEL_ERROR,
                         "retention of run %s: %s: %s; nothing more is removed",
                         t->run->name, what, err_text(result));
    held_manifest_put(t->held);
    t->held = NULL;
    free(t->victim);
    t->victim = NULL;
    t->victim_count = t->next_victim = 0;
    retain_move(t, RETAIN_IDLE);
    if (t->is_wanted && !t->is_stopping)
        pass_begin(t);
}

/*
 * Removing.
 */

static void try_later(struct env_timer *timer)
{
    struct retention *t = container_of(timer, struct retention, retry);

    if (t->phase == RETAIN_IDLE && !t->is_stopping)
        pass_begin(t);
}

static void remove_next(struct retention *t)
{
    struct env *env = t->env;

    while (t->next_victim < t->victim_count && !t->is_stopping) {
        const struct save_id *id = &t->victim[t->next_victim++];

        if (loads_pending(t->run) || saves_use_base(t->run, id)) {
            t->retry.fire = try_later;
            env->ops->timer_set(env, &t->retry,
                                env->ops->now_ns(env) + RETRY_NS);
            continue;
        }
        retain_remove(t, id);
        return;
    }
    retain_end(t, 0, "");
}

void retain_removed(struct retention *t, int result)
{
    if (result)
        retain_end(t, result, "removing a save");
    else
        remove_next(t);
}

/*
 * Reading back.
 */

static void verified_put(void *arg, int result)
{
    struct retention *t = arg;
    struct catalog_save *s = catalog_find(&t->run->catalog, &t->newest);

    if (result && result != -EEXIST) {
        retain_end(t, result, "cannot write that a save was read back");
        return;
    }
    if (s)
        s->is_verified = true;
    retain_move(t, RETAIN_REMOVING);
    remove_next(t);
}

static void was_read_back(void *arg, int result, const struct err *err)
{
    struct retention *t = arg;
    struct record_mark mark = {.id = t->newest, .daemon = t->env->local_uuid};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    t->back = NULL;
    if (result) {
        retain_end(t, result, err->text);
        return;
    }
    mark.created_unix_ms = t->env->ops->unix_ms(t->env);
    (void)snprintf(mark.note, sizeof mark.note, "read back on %.200s",
                   t->env->host);
    record_mark_encode(RECORD_VERIFIED, &mark, &w);
    recio_put(t->run->home->store,
              name_save(name, t->run->name, "verified", &t->newest), &w,
              verified_put, t);
}

static void newest_here(void *arg, int result, struct held_manifest *held,
                        const struct err *err)
{
    struct retention *t = arg;

    t->held = held;
    if (result || t->is_stopping) {
        retain_end(t, result ? result : -ECANCELED, err->text);
        return;
    }
    t->back = read_back_begin(
        t->run->home->engine, &held->manifest, READ_BACK_DEPTH,
        t->env->tier_bytes_s * READ_BACK_SHARE, was_read_back, t);
    if (!t->back)
        retain_end(t, -ENOMEM, "reading back");
}

void retain_looked(struct retention *t)
{
    const struct catalog *c = &t->run->catalog;
    const struct catalog_generation *g = catalog_newest(c);
    const struct catalog_save *newest;

    t->victim = calloc(c->save_count + 1, sizeof *t->victim);
    if (!t->victim || !g || t->is_stopping) {
        retain_end(t, t->victim ? 0 : -ENOMEM, "choosing");
        return;
    }
    t->victim_count =
        retain_choose(c, g->record.keep_last, g->record.keep_every, t->victim);
    t->newest = catalog_latest(c);
    newest = catalog_find(c, &t->newest);
    if (t->victim_count == 0 || !newest) {
        retain_end(t, 0, "");
        return;
    }
    retain_move(t, RETAIN_READING_BACK);
    if (newest->is_verified) {
        retain_move(t, RETAIN_REMOVING);
        remove_next(t);
        return;
    }
    manifest_fetch(t->run, &t->newest, newest_here, t);
}

/*
 * Life.
 */

static bool has_policy(const struct run *run)
{
    const struct catalog_generation *g = catalog_newest(&run->catalog);

    return g && (g->record.keep_last || g->record.keep_every);
}

void retain_run(struct run *run)
{
    struct retention *t = run->retention;

    if (!has_policy(run))
        return;
    if (!t) {
        t = calloc(1, sizeof *t);
        if (!t)
            return; /* the next commit tries again */
        t->run = run;
        t->env = run->home->engine->env;
        run->retention = t;
    }
    if (t->is_stopping)
        return;
    t->is_wanted = true;
    if (t->phase == RETAIN_IDLE)
        pass_begin(t);
}

void retain_stop(struct run *run)
{
    struct retention *t = run->retention;

    if (!t)
        return;
    t->is_stopping = true;
    t->env->ops->timer_stop(t->env, &t->retry);
    if (t->back)
        read_back_cancel(t->back);
}

bool retain_is_busy(const struct run *run)
{
    const struct retention *t = run->retention;

    return t && t->phase != RETAIN_IDLE;
}

void retain_close(struct run *run)
{
    struct retention *t = run->retention;

    if (!t)
        return;
    assert(t->phase == RETAIN_IDLE);
    t->env->ops->timer_stop(t->env, &t->retry);
    free(t->lease);
    free(t);
    run->retention = NULL;
}
