/*
 * save_gone.c - ranks that leave, and who is waited for.
 *
 * A rank that leaves before its part is STAGED aborts the save at once, and so
 * does one that leaves before its SAVE has come: there is no use in waiting for
 * the deadline. That it has left is remembered for its generation, until the
 * same rank joins it again (a rank that lost its daemon may), so that a save
 * that begins later knows as well. Parts that are STAGED go on without it.
 *
 * A session is gone only if no other one is of the same rank and generation:
 * the next life of a rank may have joined before the end of the last is seen.
 */
#include "ckptd/engine/save_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMED_MAX 16

struct departed {
    struct list link; /* engine.departed */
    const struct run *run;
    uint32_t generation, rank;
};

static struct departed *find_departed(const struct run *run,
                                      uint32_t generation, uint32_t rank)
{
    struct engine *e = run->home->engine;

    LIST_FOR_EACH (node, &e->departed) {
        struct departed *d = container_of(node, struct departed, link);

        if (d->run == run && d->generation == generation && d->rank == rank)
            return d;
    }
    return NULL;
}

bool save_rank_departed(const struct run *run, uint32_t generation,
                        uint32_t rank)
{
    return find_departed(run, generation, rank) != NULL;
}

bool save_departed_at(const struct run *run, uint32_t generation, size_t index,
                      uint32_t *rank)
{
    LIST_FOR_EACH (node, &run->home->engine->departed) {
        const struct departed *d = container_of(node, struct departed, link);

        if (d->run != run || d->generation != generation || index-- > 0)
            continue;
        *rank = d->rank;
        return true;
    }
    return false;
}

static void forget(struct departed *d)
{
    list_remove(&d->link);
    free(d);
}

void save_departed_free(struct engine *e)
{
    struct list *node;

    while ((node = list_pop(&e->departed)) != NULL)
        free(container_of(node, struct departed, link));
}

/* Those of earlier generations of the run are of no use any more. */
static void forget_earlier(const struct session *s)
{
    LIST_FOR_EACH_SAFE (node, after, &s->engine->departed) {
        struct departed *d = container_of(node, struct departed, link);

        if (d->run == s->run && d->generation < s->generation)
            forget(d);
    }
}

void save_session_joined(struct session *s)
{
    struct departed *d = find_departed(s->run, s->generation, s->open.rank);

    if (d)
        forget(d);
    forget_earlier(s);
}

static bool has_successor(const struct session *s)
{
    LIST_FOR_EACH (node, &s->engine->sessions) {
        const struct session *o = container_of(node, struct session, link);

        if (o != s && o->state == SESSION_JOINED && o->run == s->run &&
            o->generation == s->generation && o->open.rank == s->open.rank)
            return true;
    }
    return false;
}

static void remember(const struct session *s)
{
    struct departed *d;

    if (find_departed(s->run, s->generation, s->open.rank))
        return;
    d = calloc(1, sizeof *d);
    if (!d)
        return; /* the deadline finds it */
    d->run = s->run;
    d->generation = s->generation;
    d->rank = s->open.rank;
    list_append(&s->engine->departed, &d->link);
}

void save_session_gone(struct session *s)
{
    bool is_gone = !has_successor(s);

    if (is_gone)
        remember(s);
    LIST_FOR_EACH (node, &s->run->saves) {
        struct save *v = container_of(node, struct save, link);
        struct save_part *p = part_of_rank(v, s->open.rank);

        if (v->generation != s->generation || (p && p->session != s))
            continue;
        if (p)
            p->session = NULL;
        if ((p && !p->is_staged) || (!p && is_gone))
            save_abort(v, -CKPT_EABORTED, "rank %" PRIu32 " died before STAGED",
                       s->open.rank);
        if (p)
            part_progress(p);
    }
}

void save_check_departed(struct save *v)
{
    LIST_FOR_EACH (node, &v->engine->departed) {
        const struct departed *d = container_of(node, struct departed, link);

        if (d->run == v->run && d->generation == v->generation &&
            !part_of_rank(v, d->rank)) {
            save_abort(v, -CKPT_EABORTED,
                       "rank %" PRIu32 " died before this save", d->rank);
            return;
        }
    }
}

bool save_all_seen(const struct save *v)
{
    const struct members *m = &v->run->members;

    if (v->run->generation != v->generation)
        return true;
    for (uint32_t i = 0; i < m->member_count; i++) {
        uint32_t rank = m->member[i].rank;

        if (id_equal(&m->member[i].daemon, &v->engine->env->local_uuid) &&
            !part_of_rank(v, rank) &&
            !save_rank_departed(v->run, v->generation, rank))
            return false;
    }
    return true;
}

/*
 * Who is missing.
 */

static bool is_missing(const struct save *v, uint32_t rank)
{
    const struct save_part *p = part_of_rank(v, rank);
    struct id128 daemon;

    if (p)
        return !p->is_staged;
    return members_find(&v->run->members, rank, &daemon) < 0 ||
           id_equal(&daemon, &v->engine->env->local_uuid);
}

void save_missing_text(const struct save *v, char *text, size_t capacity)
{
    uint32_t world_size = v->run->world_size, count = 0;
    char list[256] = "";
    size_t at = 0;

    for (uint32_t rank = 0; rank < world_size; rank++) {
        int n;

        if (!is_missing(v, rank) || count++ >= NAMED_MAX)
            continue;
        n = snprintf(list + at, sizeof list - at, "%s%" PRIu32, at ? ", " : "",
                     rank);
        if (n > 0 && (size_t)n < sizeof list - at)
            at += (size_t)n;
    }
    if (count == 0)
        (void)snprintf(text, capacity, "its chunks to be written");
    else if (count > NAMED_MAX)
        (void)snprintf(text, capacity,
                       "ranks %s and %" PRIu32 " more of %" PRIu32, list,
                       count - NAMED_MAX, world_size);
    else
        (void)snprintf(text, capacity, "%s %s of %" PRIu32,
                       count == 1 ? "rank" : "ranks", list, world_size);
}
