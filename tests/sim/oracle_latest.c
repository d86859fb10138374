/*
 * oracle_latest.c - what `latest` means, by the book and from the records
 * alone: the highest commit of the newest generation, else what that generation
 * stands on (its last VERIFIED load, else its parent) or the newest one below
 * that of the same branch.
 */
#include "tests/sim/oracle.h"

#include <assert.h>
#include <stdlib.h>

/* The highest one of that generation that is not above `most`. */
static const struct saw *highest(const struct oracle *o, uint32_t generation,
                                 const struct save_id *most)
{
    const struct saw *best = NULL;

    for (size_t i = 0; i < o->saw_count; i++) {
        const struct saw *a = &o->saw[i];

        if (a->id.generation != generation || a->seen != DECISION_COMMIT ||
            a->is_removed || save_id_compare(&a->id, most) > 0)
            continue;
        if (!best || save_id_compare(&a->id, &best->id) > 0)
            best = a;
    }
    return best;
}

static struct save_id latest(const struct oracle *o)
{
    struct save_id at = {0};

    for (size_t i = o->gen_count; i > 1 && at.generation == 0; i--)
        if (o->gen[i - 1].generation)
            at = (struct save_id){(uint32_t)(i - 1), UINT32_MAX, UINT64_MAX};
    while (at.generation > 0) {
        const struct saw *a = highest(o, at.generation, &at);
        const struct gen *g = &o->gen[at.generation];

        if (a)
            return a->id;
        at = g->origin.generation < at.generation ? g->origin
                                                  : (struct save_id){0};
    }
    return at;
}

void oracle_note_latest(struct oracle *o)
{
    struct save_id now = latest(o);

    if (o->latest_count > 0 &&
        save_id_compare(&o->latest[o->latest_count - 1], &now) == 0)
        return;
    o->latest =
        realloc(o->latest, (o->latest_count + 1) * sizeof(struct save_id));
    assert(o->latest);
    o->latest[o->latest_count++] = now;
}

bool oracle_was_latest(const struct oracle *o, const struct gen *g,
                       const struct save_id *id)
{
    for (size_t i = g->closed_at; i < o->latest_count; i++)
        if (save_id_compare(&o->latest[i], id) == 0)
            return true;
    return false;
}
