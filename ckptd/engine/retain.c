/*
 * retain.c - a pass of retention over one run.
 *
 * Happy path: let go of what others have removed; if there is a policy, look at
 * pins and leases, choose, have the newest checkpoint read
 * back unless verified/SAVE says that was done, look once more, since that may
 * take long, and remove what was chosen both times, one by one. While ranks
 * load, or an undecided save refers to a victim, or other daemons read back,
 * the pass is put off. Any failure ends the pass with a line in the log and
 * removes nothing more; the next commit starts another.
 */
#include "ckptd/engine/retain_internal.h"

#include "common/plant.h"
#include "ckptd/engine/drain.h"
#include "ckptd/engine/load.h"
#include "ckptd/engine/save.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RETRY_NS          ((uint64_t)500 * 1000 * 1000)
#define RETRY_VERIFIED_NS ((uint64_t)2 * 1000 * 1000 * 1000)

static const bool allowed[RETAIN_PHASES][RETAIN_PHASES] = {
    [RETAIN_IDLE] = {[RETAIN_BURYING] = true},
    [RETAIN_BURYING] = {[RETAIN_LOOKING] = true, [RETAIN_IDLE] = true},
    [RETAIN_LOOKING] = {[RETAIN_READING_BACK] = true,
                        [RETAIN_REMOVING] = true,
                        [RETAIN_RELEASING] = true,
                        [RETAIN_IDLE] = true},
    [RETAIN_READING_BACK] = {[RETAIN_LOOKING] = true, [RETAIN_IDLE] = true},
    [RETAIN_REMOVING] = {[RETAIN_RELEASING] = true, [RETAIN_IDLE] = true},
    [RETAIN_RELEASING] = {[RETAIN_IDLE] = true},
};

struct catalog_save *retain_save(const struct retention *t,
                                 const struct save_id *id)
{
    struct catalog_save *s = catalog_find(&t->run->catalog, id);

    assert(s);
    return s;
}

void retain_move(struct retention *t, enum retain_phase to)
{
    assert(allowed[t->phase][to]);
    t->phase = to;
}

static void pass_begin(struct retention *t)
{
    t->has_policy = t->is_policy_wanted;
    t->is_wanted = t->is_policy_wanted = t->is_read_back = false;
    retain_move(t, RETAIN_BURYING);
    retain_bury(t);
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
    catalog_fold(&t->run->catalog); /* nothing of the pass refers to entries */
    retain_move(t, RETAIN_IDLE);
    if (t->is_wanted && !t->is_stopping)
        pass_begin(t);
}

/*
 * Removing.
 */

static void retry_fired(struct env_timer *timer)
{
    struct retention *t = container_of(timer, struct retention, retry);

    if (t->phase == RETAIN_IDLE)
        pass_begin(t);
}

static void try_later(struct retention *t, uint64_t ns)
{
    struct env *env = t->env;

    if (t->is_stopping)
        return;
    t->retry.fire = retry_fired;
    t->is_policy_wanted |= t->has_policy;
    env->ops->timer_set(env, &t->retry, env->ops->now_ns(env) + ns);
}

void retain_later(struct retention *t)
{
    try_later(t, RETRY_NS);
}

static void remove_next(struct retention *t)
{
    while (t->next_victim < t->victim_count && !t->is_stopping) {
        const struct save_id *id = &t->victim[t->next_victim++];

        bool is_read = loads_pending(t->run) && !is_left_out("hold of a load");
        bool is_base =
            saves_use_base(t->run, id) && !is_left_out("hold of a base");

        bool is_drained = drain_uses(t->run, id);

        if (is_read || is_base || is_drained) {
            try_later(t, RETRY_NS);
            continue;
        }
        retain_remove(t, id);
        return;
    }
    retain_release(t);
}

void retain_removed(struct retention *t, int result)
{
    if (result)
        retain_end(t, result, "removing a save");
    else
        remove_next(t);
}

void retain_buried(struct retention *t, int result)
{
    if (result || !t->has_policy || t->is_stopping) {
        retain_end(t, result, "letting go of what was removed");
        return;
    }
    retain_move(t, RETAIN_LOOKING);
    retain_look(t);
}

/*
 * Choosing.
 */

void retain_verified(struct retention *t, int result, const char *what)
{
    held_manifest_put(t->held);
    t->held = NULL;
    if (result == -EAGAIN)
        try_later(t, RETRY_VERIFIED_NS);
    if (result) {
        retain_end(t, result == -EAGAIN ? 0 : result, what);
        return;
    }
    retain_save(t, &t->newest)->is_verified = true;
    t->is_read_back = true;
    retain_move(t, RETAIN_LOOKING);
    retain_look(t);
}

/* Of those in `chosen`, what is in `before` too: how many are left. */
static size_t keep_both(struct save_id *chosen, size_t count,
                        const struct save_id *before, size_t before_count)
{
    size_t kept = 0, k = 0;

    for (size_t i = 0; i < count; i++) {
        while (k < before_count && save_id_compare(&before[k], &chosen[i]) < 0)
            k++;
        if (k < before_count && save_id_compare(&before[k], &chosen[i]) == 0)
            chosen[kept++] = chosen[i];
    }
    return kept;
}

/* Nothing is removed behind a newest checkpoint that does not load; then the
 * pass is over. */
static bool is_newest_sound(struct retention *t)
{
    const struct catalog_save *newest = retain_save(t, &t->newest);

    if (newest->is_damaged &&
        !is_left_out("hold behind the damaged")) { /* whoever verified it saw it
                                                      before that */
        retain_end(t, -CKPT_ECORRUPT,
                   "the newest checkpoint was found damaged (ckpt verify)");
        return false;
    }
    if (newest->is_lost)
        retain_end(t, newest->code, catalog_reason(newest));
    return !newest->is_lost;
}

/* What the policy lets go, as far as it did before the newest was read back. */
static int choose(struct retention *t)
{
    const struct catalog *c = &t->run->catalog;
    const struct catalog_generation *g = catalog_newest(c);
    struct save_id *chosen = calloc(c->save_count + 1, sizeof *chosen);
    size_t count;

    assert(g); /* it has a policy */
    if (!chosen)
        return -ENOMEM;
    count = retain_choose(c, g->record.keep_last, g->record.keep_every, chosen);
    if (t->is_read_back)
        count = keep_both(chosen, count, t->victim, t->victim_count);
    free(t->victim);
    t->victim = chosen;
    t->victim_count = count;
    return 0;
}

void retain_looked(struct retention *t)
{
    int rc = t->is_stopping ? 0 : choose(t);

    if (rc || t->is_stopping) {
        retain_end(t, rc, "choosing");
        return;
    }
    if (t->victim_count == 0) {
        retain_release(t);
        return;
    }
    if (!t->is_read_back) /* without one there are no victims */
        t->newest = catalog_latest(&t->run->catalog);
    if (!is_newest_sound(t))
        return;
    if (retain_save(t, &t->newest)->is_verified ||
        is_left_out("reading back")) {
        retain_move(t, RETAIN_REMOVING);
        remove_next(t);
        return;
    }
    retain_move(t, RETAIN_READING_BACK);
    retain_verify(t);
}

/*
 * Life.
 */

static bool has_policy(const struct run *run)
{
    const struct catalog_generation *g = catalog_newest(&run->catalog);

    assert(g); /* something was committed in it */
    return g->record.keep_last || g->record.keep_every || g->record.local_last;
}

static void pass_want(struct run *run, bool with_policy)
{
    struct retention *t = run->retention;

    if (run->home->engine->is_halted)
        return;
    if (!t) {
        t = calloc(1, sizeof *t);
        if (!t)
            return; /* the next commit tries again */
        t->run = run;
        t->env = run->home->engine->env;
        run->retention = t;
    }
    t->is_wanted = true;
    t->is_policy_wanted |= with_policy;
    if (t->phase == RETAIN_IDLE)
        pass_begin(t);
}

void retain_run(struct run *run)
{
    pass_want(run, has_policy(run));
}

void retain_tombs(struct run *run)
{
    const struct catalog *c = &run->catalog;

    for (size_t i = 0; i < c->save_count; i++) {
        if (c->save[i].status == SAVE_REMOVED) { /* let go: has no entry */
            pass_want(run, false);
            return;
        }
    }
}

void retain_no_room(struct engine *e)
{
    LIST_FOR_EACH (node, &e->homes) {
        struct home *home = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &home->runs) {
            struct run *run = container_of(at, struct run, link);

            if (run->is_attached)
                pass_want(run, false);
        }
    }
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
