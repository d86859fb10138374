/*
 * retain_release.c - local copies that need not stay.
 *
 *   REMOTE, and not one of the local_last newest -> remote/SAVE made sure of ->
 *   nothing on record as damaged there, which may have come since the pass
 *   began -> references of its segments dropped
 *
 * Nothing is put on record: a next life finds what is left of the segments, or
 * that they are gone, and lets go of the rest. What is being loaded, drained,
 * or the base of an undecided save, waits for another pass.
 */
#include "ckptd/engine/drain.h"
#include "ckptd/engine/load.h"
#include "ckptd/engine/retain_internal.h"
#include "ckptd/engine/save.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static void release_next(struct retention *t);

static bool is_in_use(const struct retention *t, const struct save_id *id)
{
    return loads_pending(t->run) || saves_use_base(t->run, id) ||
           drain_uses(t->run, id);
}

static void let_go(struct retention *t, struct catalog_save *s)
{
    const struct save_id *id = &s->id;
    struct run *run = t->run;

    if (is_in_use(t, id)) {
        retain_later(t); /* since the mark was asked for */
    } else if (catalog_is_remote(s)) {
        segpool_release(run->home->engine->pool, &run->catalog.uuid, id);
        s->is_released = true;
        t->env->ops->log(t->env, LOG_LEVEL_INFO,
                         "run %s: step %" PRIu64
                         " (generation %u) is read from the remote tier from "
                         "now on: its local copy is let go",
                         run->name, id->step, id->generation);
    }
}

static void damage_listed(void *arg, int result, struct store_names *names)
{
    struct retention *t = arg;
    struct catalog_save *s = retain_save(t, &t->victim[t->next_victim - 1]);

    if (result) {
        retain_end(t, result, "cannot list damaged_remote/");
        return;
    }
    catalog_set_damaged_remote(&t->run->catalog, names);
    if (s->status == SAVE_COMMITTED)
        let_go(t, s);
    release_next(t);
}

/* The mark was only seen, and what is let go is written over: creating it once
 * more answers that it is there, and stays, and so do the tables beside it. */
static void mark_stays(void *arg, int result)
{
    struct retention *t = arg;
    char name[RECORD_NAME_BYTES];

    if (result && result != -EEXIST) {
        retain_end(t, result, "making sure that a checkpoint is REMOTE");
        return;
    }
    recio_list(t->run->home->store,
               name_run(name, t->run->name, "damaged_remote"), damage_listed,
               t);
}

static void release_next(struct retention *t)
{
    while (t->next_victim < t->victim_count && !t->is_stopping) {
        const struct save_id *id = &t->victim[t->next_victim++];

        if (is_in_use(t, id)) {
            retain_later(t);
            continue;
        }
        drain_put_mark(t->run, id, mark_stays, t);
        return;
    }
    retain_end(t, 0, "");
}

void retain_release(struct retention *t)
{
    const struct catalog *c = &t->run->catalog;
    const struct catalog_generation *g = catalog_newest(c);

    retain_move(t, RETAIN_RELEASING);
    free(t->victim);
    t->victim_count = t->next_victim = 0;
    t->victim = calloc(c->save_count + 1, sizeof *t->victim);
    if (!t->victim) {
        retain_end(t, -ENOMEM, "choosing");
        return;
    }
    t->victim_count = retain_choose_local(c, g->record.local_last, t->victim);
    release_next(t);
}
