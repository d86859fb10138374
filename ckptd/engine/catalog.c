/*
 * catalog.c - questions to a catalog, and keeping it up to date. Pure.
 *
 * Two sorted arrays: generations by number, saves by id. Steps never decrease
 * within a generation, so a branch is: the commits of a generation downwards,
 * then those of its origin's generation from the origin downwards, and so on.
 * An origin is of an older generation, always: anything else is ignored, so
 * that no walk can go round in circles.
 */
#include "ckptd/engine/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Where nothing is removed there is one for each save that a run ever made. */
_Static_assert(sizeof(struct catalog_save) <= 256,
               "there are many: keep small");

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->save_count; i++)
        free(c->save[i].reason);
    free(c->generation);
    free(c->save);
    save_set_free(&c->over);
    save_set_free(&c->aborted);
    c->generation = NULL;
    c->save = NULL;
    c->generation_count = c->save_count = 0;
}

/* Index of the first save that is not before `id`. */
static size_t save_at(const struct catalog *c, const struct save_id *id)
{
    size_t low = 0, high = c->save_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (save_id_compare(&c->save[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t generation_index(const struct catalog *c, uint32_t generation)
{
    size_t low = 0, high = c->generation_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (c->generation[middle].record.generation < generation)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct catalog_save *catalog_find(const struct catalog *c,
                                  const struct save_id *id)
{
    size_t i = save_at(c, id);

    if (i == c->save_count || save_id_compare(&c->save[i].id, id) != 0)
        return NULL;
    return &c->save[i];
}

enum save_status catalog_status(const struct catalog *c,
                                const struct save_id *id)
{
    const struct catalog_save *s = catalog_find(c, id);

    if (s)
        return s->status;
    if (!save_set_has(&c->over, id))
        return 0;
    return save_set_has(&c->aborted, id) ? SAVE_ABORTED : SAVE_REMOVED;
}

const struct catalog_generation *catalog_newest(const struct catalog *c)
{
    return c->generation_count > 0 ? &c->generation[c->generation_count - 1]
                                   : NULL;
}

const struct catalog_generation *catalog_generation_at(const struct catalog *c,
                                                       uint32_t generation)
{
    size_t i = generation_index(c, generation);

    if (i == c->generation_count ||
        c->generation[i].record.generation != generation)
        return NULL;
    return &c->generation[i];
}

/*
 * Branches.
 */

/* The highest commit of limit's generation that is before `limit`. */
static const struct catalog_save *commit_before(const struct catalog *c,
                                                const struct save_id *limit)
{
    for (size_t i = save_at(c, limit); i > 0; i--) {
        const struct catalog_save *s = &c->save[i - 1];

        if (s->id.generation != limit->generation)
            return NULL;
        if (s->status == SAVE_COMMITTED)
            return s;
    }
    return NULL;
}

/* The id right after this one. */
static struct save_id id_after(const struct save_id *id)
{
    struct save_id next = *id;

    if (++next.attempt == 0 && ++next.step == 0)
        next = (struct save_id){.generation = id->generation + 1};
    return next;
}

/* The newest checkpoint of the branch that lies before `limit`. */
static struct save_id branch_before(const struct catalog *c,
                                    struct save_id limit)
{
    static const struct save_id none;

    for (;;) {
        const struct catalog_save *s = commit_before(c, &limit);
        const struct catalog_generation *g;

        if (s)
            return s->id;
        g = catalog_generation_at(c, limit.generation);
        if (!g || g->origin.generation == 0 ||
            g->origin.generation >= limit.generation)
            return none;
        limit = id_after(&g->origin);
    }
}

struct save_id catalog_latest(const struct catalog *c)
{
    const struct catalog_generation *g = catalog_newest(c);
    struct save_id limit = {0};

    if (!g)
        return limit;
    /* Beyond any save of that generation. */
    limit = (struct save_id){.generation = g->record.generation,
                             .step = UINT64_MAX,
                             .attempt = UINT32_MAX};
    return branch_before(c, limit);
}

struct save_id catalog_older(const struct catalog *c, const struct save_id *id)
{
    return branch_before(c, *id);
}

bool catalog_on_branch(const struct catalog *c, const struct save_id *tip,
                       const struct save_id *id)
{
    struct save_id at = *tip;

    while (at.generation != 0 && save_id_compare(&at, id) > 0)
        at = catalog_older(c, &at);
    return at.generation != 0 && save_id_compare(&at, id) == 0;
}

struct save_id catalog_at_step(const struct catalog *c, uint64_t step,
                               uint32_t generation)
{
    static const struct save_id none;

    for (size_t i = c->save_count; i > 0; i--) {
        const struct catalog_save *s = &c->save[i - 1];

        if (s->status == SAVE_COMMITTED && s->id.step == step &&
            (generation == 0 || s->id.generation == generation))
            return s->id;
    }
    return none;
}

void catalog_nearby(const struct catalog *c, uint64_t step, char *text,
                    size_t capacity)
{
    const struct catalog_save *below = NULL, *above = NULL;

    for (size_t i = 0; i < c->save_count; i++) {
        const struct catalog_save *s = &c->save[i];

        if (s->status != SAVE_COMMITTED)
            continue;
        if (s->id.step <= step && (!below || s->id.step >= below->id.step))
            below = s;
        if (s->id.step >= step && (!above || s->id.step <= above->id.step))
            above = s;
    }
    if (!below && !above)
        (void)snprintf(text, capacity, "it has no checkpoint");
    else if (!below || !above || below == above)
        (void)snprintf(text, capacity,
                       "the nearest is step %" PRIu64 " of generation %u",
                       (below ? below : above)->id.step,
                       (below ? below : above)->id.generation);
    else
        (void)snprintf(text, capacity,
                       "the nearest are step %" PRIu64 " of generation %u and "
                       "step %" PRIu64 " of generation %u",
                       below->id.step, below->id.generation, above->id.step,
                       above->id.generation);
}

uint32_t catalog_next_attempt(const struct catalog *c, uint32_t generation,
                              uint64_t step)
{
    struct save_id first = {.generation = generation, .step = step};
    uint32_t highest = save_set_highest_attempt(&c->aborted, generation, step);

    for (size_t i = save_at(c, &first); i < c->save_count; i++) {
        const struct catalog_save *s = &c->save[i];

        if (s->id.generation != generation || s->id.step != step)
            break;
        if (s->status == SAVE_ABORTED && s->id.attempt > highest)
            highest = s->id.attempt;
    }
    return highest + 1;
}

bool catalog_highest_step(const struct catalog *c, uint32_t generation,
                          uint64_t *step)
{
    struct save_id end = {
        .generation = generation, .step = UINT64_MAX, .attempt = UINT32_MAX};
    bool found = save_set_highest_step(&c->over, generation, step);
    size_t i = save_at(c, &end);

    if (i == 0 || c->save[i - 1].id.generation != generation)
        return found;
    *step =
        found ? max_u64(*step, c->save[i - 1].id.step) : c->save[i - 1].id.step;
    return true;
}

/*
 * Keeping it up to date.
 */

/* Room for one more entry at `at` of an array of `count`; NULL on no memory. */
static void *array_insert(void **array, size_t *count, size_t bytes, size_t at)
{
    uint8_t *grown = realloc(*array, (*count + 1) * bytes);

    if (!grown)
        return NULL;
    *array = grown;
    memmove(grown + (at + 1) * bytes, grown + at * bytes,
            (*count - at) * bytes);
    (*count)++;
    return memset(grown + at * bytes, 0, bytes);
}

static bool gives_way(enum save_status old, enum save_status new)
{
    return old == SAVE_UNDECIDED || new == SAVE_REMOVED ||
           (old == SAVE_UNREADABLE && new != SAVE_UNDECIDED);
}

const char *catalog_reason(const struct catalog_save *s)
{
    return s->reason ? s->reason : "";
}

void catalog_set_reason(struct catalog_save *s, const char *reason)
{
    free(s->reason);
    s->reason = reason[0] ? strdup(reason) : NULL;
}

/* What is told takes the place of what was known. */
static int replace(struct catalog_save *at, const struct catalog_save *save,
                   const char *reason)
{
    char *words = reason[0] ? strdup(reason) : NULL;

    if (reason[0] && !words)
        return -ENOMEM;
    free(at->reason);
    *at = *save;
    at->reason = words;
    return 0;
}

/*
 * What is over.
 */

/* To be asked for one tomb takes as long as to be listed so many. */
#define TOMBS_A_LOOK 16

/* Its entry goes; what is left of it is that it was. -ENOMEM: it stays. */
static int entry_fold(struct catalog *c, size_t at)
{
    struct catalog_save *s = &c->save[at];
    int rc = save_set_add(&c->over, &s->id);

    if (rc == 0 && s->status == SAVE_ABORTED)
        rc = save_set_add(&c->aborted, &s->id);
    if (rc < 0)
        return rc;
    free(s->reason);
    memmove(s, s + 1, (c->save_count - at - 1) * sizeof *s);
    c->save_count--;
    return 0;
}

void catalog_fold(struct catalog *c)
{
    for (size_t i = c->save_count; c->is_compact && i > 0; i--) {
        const struct catalog_save *s = &c->save[i - 1];

        if (s->status == SAVE_REMOVED && s->is_let_go &&
            entry_fold(c, i - 1) < 0)
            return; /* the next time */
    }
}

/* The oldest of too many aborted ones. */
static void fold_aborted(struct catalog *c)
{
    size_t count = 0, oldest = 0;

    for (size_t i = c->save_count; i > 0; i--) {
        if (c->save[i - 1].status != SAVE_ABORTED)
            continue;
        oldest = i - 1;
        count++;
    }
    if (count > CATALOG_ABORTED_KEPT)
        (void)entry_fold(c, oldest); /* else the next time */
}

int catalog_note_tomb(struct catalog *c, const struct save_id *id)
{
    struct catalog_save save = {.id = *id, .status = SAVE_REMOVED};
    const struct catalog_save *known = catalog_find(c, id);

    /* Nothing is held for what this daemon never heard of. */
    if (!known && c->is_compact)
        return save_set_add(&c->over, id);
    if (known && known->status == SAVE_REMOVED)
        return 0;
    return catalog_note_save(c, &save, "");
}

bool catalog_asks_tombs(const struct catalog *c)
{
    uint64_t tombs = c->over.count - c->aborted.count, looks = 0;

    for (size_t i = 0; i < c->save_count; i++)
        looks += catalog_asks_tomb_of(&c->save[i]);
    return tombs > 0 && looks * TOMBS_A_LOOK <= tombs;
}

int catalog_note_save(struct catalog *c, const struct catalog_save *save,
                      const char *reason)
{
    struct catalog_save *at = catalog_find(c, &save->id);
    void *array = c->save;
    bool pinned, verified, leased, damaged, remote, rotten, decided;
    int rc = 0;

    if (!at && save_set_has(&c->over, &save->id))
        return 0; /* that stands */
    if (!at) {
        size_t index = save_at(c, &save->id);

        at = array_insert(&array, &c->save_count, sizeof *at, index);
        if (!at)
            return -ENOMEM;
        c->save = array;
        at->id = save->id;
        at->status = SAVE_UNDECIDED;
    }
    pinned = at->is_pinned || save->is_pinned;
    verified = at->is_verified || save->is_verified;
    leased = at->is_leased || save->is_leased;
    damaged = at->is_damaged || save->is_damaged;
    remote = at->is_marked_remote || save->is_marked_remote;
    rotten = at->is_remote_damaged || save->is_remote_damaged;
    decided = at->has_decision || at->status == SAVE_COMMITTED ||
              at->status == SAVE_UNREADABLE;
    if (at->status != SAVE_REMOVED && gives_way(at->status, save->status))
        rc = replace(at, save, reason);
    at->is_pinned = pinned;
    at->is_verified = verified;
    at->is_leased = leased;
    at->is_damaged = damaged;
    at->is_marked_remote = remote;
    at->is_remote_damaged = rotten;
    at->has_decision = decided && at->status == SAVE_REMOVED;
    if (c->is_compact && at->status == SAVE_ABORTED)
        fold_aborted(c);
    return rc;
}

void catalog_note_lost(struct catalog *c, const struct save_id *id,
                       const struct err *why)
{
    struct catalog_save *s = catalog_find(c, id);

    if (!s || s->status != SAVE_COMMITTED)
        return;
    s->is_lost = true;
    s->code = why->code;
    catalog_set_reason(s, why->text);
}

int catalog_note_generation(struct catalog *c,
                            const struct record_generation *g)
{
    size_t i = generation_index(c, g->generation);
    struct catalog_generation *at;
    void *array = c->generation;

    if (catalog_generation_at(c, g->generation)) {
        c->generation[i].record = *g;
        return 0;
    }
    at = array_insert(&array, &c->generation_count, sizeof *at, i);
    if (!at)
        return -ENOMEM;
    c->generation = array;
    at->record = *g;
    at->origin = g->parent;
    return 0;
}

void catalog_note_closed(struct catalog *c, uint32_t generation)
{
    if (catalog_generation_at(c, generation))
        c->generation[generation_index(c, generation)].is_closed = true;
}

void catalog_note_load(struct catalog *c, uint32_t generation,
                       const struct save_id *origin)
{
    size_t i = generation_index(c, generation);

    if (!catalog_generation_at(c, generation) || origin->generation == 0 ||
        origin->generation >= generation)
        return;
    c->generation[i].origin = *origin;
}

void catalog_save_of(const struct record_decision *d, struct catalog_save *out)
{
    *out = (struct catalog_save){
        .id = d->id,
        .status =
            d->decision == DECISION_COMMIT ? SAVE_COMMITTED : SAVE_ABORTED,
        .code = d->code,
        .created_unix_ms = d->created_unix_ms,
        .logical_bytes = d->logical_bytes,
        .stored_bytes = d->stored_bytes,
        .tensor_count = d->tensor_count,
        .rank_count = d->rank_count,
        .node_count = d->node_count,
        .layout = d->layout,
    };
}
