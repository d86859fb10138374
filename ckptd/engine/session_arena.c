/*
 * session_arena.c - ARENA: how much shared memory a rank gets.
 *
 * A rank's share is what all arenas may take, divided by the ranks that are
 * here or may yet come. What it asks for beyond its share it does not get; for
 * the rest orphans, which are only a cache, are let go, the oldest first. Those
 * stay that hold the checkpoint which a job on this daemon has still to load:
 * then the rank gets what is left, which is enough to load through.
 *
 * A rank that got less than it wanted asks again before a save. A larger arena
 * takes the place of the first one when no save or load uses that any more;
 * where there is nothing to gain, -EBUSY says so and the first one stays.
 */
#include "ckptd/engine/save.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* A job of this daemon that has not saved yet may still load from it. */
static bool is_wanted(const struct engine *e, const struct slots *orphan)
{
    LIST_FOR_EACH (node, &e->sessions) {
        const struct session *s = container_of(node, struct session, link);

        if (s->state == SESSION_JOINED && !s->has_saved &&
            s->generation == s->run->generation &&
            s->parent.generation == orphan->generation &&
            id_equal(&s->run->catalog.uuid, &orphan->run))
            return true;
    }
    return false;
}

static bool may_drop(const struct engine *e, const struct slots *s)
{
    return slots_is_droppable(s) && !is_wanted(e, s);
}

/* Among how many ranks the memory is shared: those of this run that have not
 * joined through another daemon, and those of other runs that are here. */
static uint64_t sharers(const struct session *asking)
{
    const struct run *run = asking->run;
    const struct members *m = &run->members;
    const struct id128 *here = &asking->engine->env->local_uuid;
    uint64_t elsewhere = 0, others = 0;

    for (uint32_t i = 0; i < m->daemon_count; i++)
        if (!id_equal(&m->daemon[i].daemon, here))
            elsewhere += m->daemon[i].rank_count;
    LIST_FOR_EACH (node, &asking->engine->sessions) {
        const struct session *s = container_of(node, struct session, link);

        others += s->state == SESSION_JOINED && s->run != run;
    }
    /* We at least are here. */
    return others + max_u64(run->world_size, elsewhere + 1) - elsewhere;
}

/* What all arenas may take, without those that stay as a cache. */
static uint64_t all_bytes(const struct engine *e)
{
    uint64_t bytes = e->env->ops->arena_left(e->env);

    LIST_FOR_EACH (node, &e->arenas) {
        const struct slots *s = container_of(node, struct slots, link);

        if (!s->is_orphan || may_drop(e, s))
            bytes = add_capped(bytes, slots_bytes(s));
    }
    return bytes;
}

static bool drop_oldest(struct engine *e)
{
    LIST_FOR_EACH (node, &e->arenas) {
        struct slots *s = container_of(node, struct slots, link);

        if (may_drop(e, s)) {
            slots_close(s);
            return true;
        }
    }
    return false;
}

/* How much to give; the rank's present arena counts as left. */
static uint64_t choose_bytes(struct session *s, uint64_t want)
{
    struct engine *e = s->engine;
    struct env *env = e->env;
    uint64_t own = s->slots ? slots_bytes(s->slots) : 0;
    uint64_t share, left;

    if (env->ops->arena_left(env) == UINT64_MAX)
        return want;
    share = all_bytes(e) / sharers(s);
    want = min_u64(want, share);
    do
        left = add_capped(env->ops->arena_left(env), own);
    while (left < want && drop_oldest(e));
    return min_u64(want, left);
}

static int make_arena(struct session *s, uint64_t bytes, struct slots **out,
                      struct err *err)
{
    struct engine *e = s->engine;
    struct env *env = e->env;
    struct env_arena arena = {0};
    int rc = env->ops->arena_new(env, bytes, e->chunk_bytes, &arena, err);

    if (rc == -ENOMEM && slots_drop_orphans(&e->arenas, NULL, 0) > 0)
        rc = env->ops->arena_new(env, bytes, e->chunk_bytes, &arena, err);
    if (rc)
        return rc;
    rc = slots_open(env, &arena, out);
    if (rc) {
        env->ops->arena_free(env, &arena);
        return err_set(err, rc, "no memory for a table of %u slots",
                       arena.shape.slot_count);
    }
    (*out)->rank = s->open.rank;
    (*out)->run = s->run->catalog.uuid;
    (*out)->generation = s->generation;
    return 0;
}

/* A few slots more are not worth new pages, unless no more are wanted. */
static bool is_worth_it(const struct session *s, uint64_t bytes, uint64_t want)
{
    uint64_t slots = wire_slots_in(bytes, s->engine->chunk_bytes);
    uint64_t count = s->slots->count;

    return slots > count && (bytes == want || slots >= count + count / 4);
}

/* The first one, or a larger one in its place. */
static int give_arena(struct session *s, uint64_t want, struct err *err)
{
    struct slots *made;
    uint64_t bytes;
    int rc;

    if (s->slots && !slots_is_idle(s->slots))
        return err_set(err, -EBUSY, "the present one is in use");
    bytes = choose_bytes(s, want);
    if (s->slots && !is_worth_it(s, bytes, want))
        return err_set(err, -EBUSY, "there is no room for a larger one");
    rc = make_arena(s, bytes, &made, err);
    if (rc)
        return rc;
    slots_close(s->slots);
    s->slots = made;
    list_append(&s->engine->arenas, &made->link);
    return 0;
}

void session_arena(struct session *s, const struct wire_header *h,
                   const void *payload)
{
    struct env *env = s->engine->env;
    struct wire_header reply = {.type = WIRE_ARENA_OK, .id = h->id};
    struct wire_arena v;
    struct wr w = {0};
    struct err err;
    int rc;

    if (wire_arena_decode(payload, h->length, &v)) {
        session_breach(s, "an ARENA of %u bytes does not decode", h->length);
        return;
    }
    rc = give_arena(s, v.bytes, &err);
    if (rc) {
        session_error(s, h->id, rc, "rank %" PRIu32 ": arena: %s", s->open.rank,
                      err.text);
        return;
    }
    wire_arena_ok_encode(&s->slots->arena.shape, &w);
    if (w.failed) {
        session_send(s, WIRE_ARENA_OK, h->id, &w);
        return;
    }
    reply.length = (uint32_t)w.bytes;
    env->ops->send(env, s->peer, &reply, w.data, &s->slots->arena);
    wr_free(&w);
}
