/*
 * retain_bury.c - letting go of saves that somebody else has removed.
 *
 *   tomb/ listed -> of each save with a tomb: tomb/SAVE -> references dropped
 *
 * Where there are many more tombs than saves, each save is asked for its tomb
 * instead (catalog_asks_tombs()).
 *
 * `ckpt gc`, or another daemon, writes a tomb; what the save held in this
 * daemon's store is free from then on. A tomb that was only seen may not be
 * durable, and what is freed is written over: so it is created once more, and
 * the answer that it is there says that it stays. The records are swept by
 * whoever removed the save.
 *
 * A save that is being decided, that ranks may be reading, or that an undecided
 * one refers to is looked at again later.
 */
#include "ckptd/engine/commit.h"

#include "common/plant.h"
#include "ckptd/engine/drain.h"
#include "ckptd/engine/load.h"
#include "ckptd/engine/retain_internal.h"
#include "ckptd/engine/save.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static void next_burial(struct retention *t);
static void next_look(struct retention *t);

/* Is it being decided right now? What it holds is its own until then. */
static bool is_running(const struct run *run, const struct save_id *id)
{
    LIST_FOR_EACH (node, &run->commits) {
        const struct commit *c = container_of(node, struct commit, link);

        if (save_id_compare(&c->id, id) == 0)
            return true;
    }
    return false;
}

static void tomb_stays(void *arg, int result)
{
    struct retention *t = arg;
    struct run *run = t->run;

    if (result && result != -EEXIST) {
        retain_buried(t, result);
        return;
    }
    retain_let_go(t, &t->burying);
    t->env->ops->log(t->env, LOG_LEVEL_INFO,
                     "run %s: step %" PRIu64 " (generation %" PRIu32
                     ") was removed: its space is free",
                     run->name, t->burying.step, t->burying.generation);
    next_burial(t);
}

static void next_burial(struct retention *t)
{
    const struct catalog *c = &t->run->catalog;

    for (size_t i = 0; i < c->save_count && !t->is_stopping; i++) {
        const struct catalog_save *s = &c->save[i];

        if (s->status != SAVE_REMOVED || s->is_let_go ||
            save_id_compare(&s->id, &t->burying) <= 0)
            continue;
        t->burying = s->id;
        if (is_running(t->run, &s->id) ||
            (loads_pending(t->run) && !is_left_out("hold of a load")) ||
            drain_uses(t->run, &s->id) || saves_use_base(t->run, &s->id)) {
            retain_later(t);
            continue;
        }
        if (is_left_out("tomb of others made durable"))
            tomb_stays(t, 0);
        else
            retain_put_tomb(t->run, &s->id, "removed by others", tomb_stays, t);
        return;
    }
    retain_buried(t, 0);
}

static void tombs_listed(void *arg, int result, struct store_names *names)
{
    struct retention *t = arg;

    if (result < 0) {
        retain_buried(t, result);
        return;
    }
    for (size_t i = 0; i < names->count; i++) {
        struct catalog_save *s =
            catalog_named(&t->run->catalog, names->name[i], '\0');

        if (s && s->status != SAVE_UNDECIDED)
            s->status = SAVE_REMOVED;
    }
    next_burial(t);
}

static void looked(void *arg, int64_t result, void *data)
{
    struct retention *t = arg;
    int rc = result == -ENOENT ? 0 : (int)result;

    free(data);
    if (result >= 0)
        rc = catalog_note_tomb(&t->run->catalog, &t->burying);
    if (rc < 0)
        retain_buried(t, rc);
    else
        next_look(t);
}

/* The next save after t->burying that is asked for its tomb. */
static void next_look(struct retention *t)
{
    const struct catalog *c = &t->run->catalog;
    char name[RECORD_NAME_BYTES];

    for (size_t i = 0; i < c->save_count && !t->is_stopping; i++) {
        const struct catalog_save *s = &c->save[i];

        if (!catalog_asks_tomb_of(s) || s->status == SAVE_UNDECIDED ||
            save_id_compare(&s->id, &t->burying) <= 0)
            continue;
        t->burying = s->id;
        recio_get(t->run->home->store,
                  name_save(name, t->run->name, "tomb", &t->burying),
                  RECORD_MAX_BYTES, looked, t);
        return;
    }
    t->burying = (struct save_id){0};
    next_burial(t);
}

void retain_bury(struct retention *t)
{
    char name[RECORD_NAME_BYTES];

    t->burying = (struct save_id){0};
    if (catalog_asks_tombs(&t->run->catalog)) {
        next_look(t);
        return;
    }
    recio_list(t->run->home->store, name_run(name, t->run->name, "tomb"),
               tombs_listed, t);
}
