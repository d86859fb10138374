/*
 * retain_choose.c - the pure half of retention: which saves the policy lets go.
 */
#include "ckptd/engine/retain.h"

#include "common/plant.h"

#include <assert.h>

static bool is_same(const struct save_id *a, const struct save_id *b)
{
    return save_id_compare(a, b) == 0;
}

/* What the newest generation stands on. */
static bool is_footing(const struct catalog *c, const struct save_id *id)
{
    const struct catalog_generation *g = catalog_newest(c);

    assert(g); /* there is a latest one */
    return is_same(&g->record.parent, id) || is_same(&g->origin, id);
}

/* What does not load stands for nothing. */
static bool is_sound(const struct catalog_save *s)
{
    bool is_damaged = s->is_damaged || (s->is_released && s->is_remote_damaged);

    return (!s->is_lost || is_left_out("lost ones stand for nothing")) &&
           (!is_damaged || is_left_out("damaged ones stand for nothing"));
}

/* Found from the newest on; wanted oldest first. */
static void reverse(struct save_id *id, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct save_id swap = id[i];

        id[i] = id[count - 1 - i];
        id[count - 1 - i] = swap;
    }
}

size_t retain_choose(const struct catalog *c, uint32_t keep_last,
                     uint32_t keep_every, struct save_id *victims)
{
    struct save_id latest = catalog_latest(c);
    size_t newer = 0, count = 0;
    bool has_remote = false; /* a newer one that is good */

    if (keep_last == 0 && keep_every == 0)
        return 0;
    for (size_t i = c->save_count; i-- > 0;) {
        const struct catalog_save *s = &c->save[i];
        bool is_recent, is_last_remote;

        if (s->status == SAVE_UNREADABLE &&
            !is_left_out("stop at the unreadable"))
            return 0;
        if (s->status != SAVE_COMMITTED)
            continue;
        is_recent = newer < keep_last;
        is_last_remote = catalog_is_remote(s) && !has_remote;
        has_remote |= catalog_is_remote(s);
        newer += is_sound(s);
        /* What is not older than `latest` has nothing newer behind it. */
        if (is_recent || save_id_compare(&s->id, &latest) >= 0 ||
            (is_last_remote && !is_left_out("hold of the last remote one")) ||
            (keep_every && s->id.step % keep_every == 0) ||
            (s->is_pinned && !is_left_out("pin")) ||
            (s->is_leased && !is_left_out("lease")) ||
            (is_footing(c, &s->id) && !is_left_out("hold of a parent")))
            continue;
        victims[count++] = s->id;
    }
    reverse(victims, count);
    return count;
}

size_t retain_choose_local(const struct catalog *c, uint32_t local_last,
                           struct save_id *out)
{
    size_t newer = 0, count = 0;

    for (size_t i = c->save_count; local_last > 0 && i-- > 0;) {
        const struct catalog_save *s = &c->save[i];

        if (s->status != SAVE_COMMITTED)
            continue;
        if (newer >= local_last && !s->is_released && !s->is_leased &&
            (catalog_is_remote(s) ||
             is_left_out("release of what is remote only")))
            out[count++] = s->id;
        newer += is_sound(s);
    }
    reverse(out, count);
    return count;
}
