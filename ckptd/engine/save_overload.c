/*
 * save_overload.c - a save comes before those before it have drained.
 *
 * Drained means synced here, or aborted: what is missing then is the home's,
 * and holds no rank. The first local rank's SAVE says what is to happen; it is
 * a decision of the whole job, so what does not go on is given an attempt and
 * decided ABORT, not just left out.
 *
 *   WAIT     the save, and the SAVE that asked for it, waits.
 *   SKIP     the new save is aborted.
 *   REPLACE  at most two that have not voted: the newer of them is aborted in
 *            favour of the new one, never the oldest. So under permanent
 *            overload the oldest completes, and then the newest.
 */
#include "ckptd/engine/save_internal.h"

#include <inttypes.h>

/* As enum ckpt_overload. */
enum { OVERLOAD_WAIT = 0, OVERLOAD_SKIP = 1, OVERLOAD_REPLACE = 2 };

static bool is_drained(const struct save *v)
{
    return save_is_synced(v) || save_is_aborted(v) || v->phase == SAVE_VOTED ||
           v->phase == SAVE_DONE;
}

/* The oldest before `v` that has not drained; NULL: none. */
static struct save *undrained_before(const struct save *v)
{
    LIST_FOR_EACH (node, &v->run->saves) {
        struct save *o = container_of(node, struct save, link);

        if (o == v)
            return NULL;
        if (!is_drained(o))
            return o;
    }
    return NULL;
}

/* Of the saves before `v` that have not drained, the newest, unless it is the
 * only one. */
static struct save *replaceable_before(const struct save *v)
{
    struct save *newest = NULL;
    uint32_t count = 0;

    LIST_FOR_EACH (node, &v->run->saves) {
        struct save *o = container_of(node, struct save, link);

        if (o == v)
            break;
        if (is_drained(o))
            continue;
        newest = o;
        count++;
    }
    return count > 1 ? newest : NULL;
}

void save_admit(struct save *v, uint32_t overload)
{
    struct save *before = undrained_before(v), *replaced;

    if (!before) {
        save_begin(v);
        return;
    }
    switch (overload) {
    case OVERLOAD_SKIP:
        save_abort(v, -CKPT_EOVERLOAD,
                   "skipped: save of step %" PRIu64 " is still being written",
                   before->step);
        return;
    case OVERLOAD_REPLACE:
        replaced = replaceable_before(v);
        if (replaced)
            save_abort(replaced, -CKPT_EOVERLOAD,
                       "replaced by the save of step %" PRIu64
                       ": save of step %" PRIu64 " is still being written",
                       v->step, before->step);
        save_begin(v);
        return;
    default:
        return; /* WAITING */
    }
}

void save_admit_waiting(struct run *run)
{
    LIST_FOR_EACH (node, &run->saves) {
        struct save *v = container_of(node, struct save, link);

        if (v->phase == SAVE_WAITING && !undrained_before(v))
            save_begin(v);
    }
}
