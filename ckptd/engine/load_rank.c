/*
 * load_rank.c - what ranks ask and say about a load, and their leaving.
 *
 * A collective load is gathered from the LOADs of all members of the generation
 * that came through this daemon; a member that has left is not waited for. An
 * independent read starts at once.
 */
#include "ckptd/engine/load_internal.h"

#include "common/array.h"
#include "common/plant.h"
#include "ckptd/engine/save.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define NS_PER_MS ((uint64_t)1000 * 1000)

/*
 * Gathering.
 */

static void members_known(void *arg, int result);

static bool has_asked(const struct load *l, uint32_t rank)
{
    for (uint32_t i = 0; i < l->rank_count; i++)
        if (l->rank[i].session && l->rank[i].session->open.rank == rank)
            return true;
    return false;
}

/* A member that left before it asked will not ask. Of several the first that
 * left is named: the others may have gone because of it. */
static bool is_hopeless(struct load *l)
{
    uint32_t rank;

    for (size_t i = 0; save_departed_at(l->run, l->generation, i, &rank); i++) {
        if (has_asked(l, rank))
            continue;
        (void)err_set(&l->err, -ECONNRESET,
                      "load in generation %u: rank %u has left without asking "
                      "for it",
                      l->generation, rank);
        l->is_wish_failed = true;
        return true;
    }
    return false;
}

static bool is_stale(struct load *l)
{
    if (l->generation == l->run->generation)
        return false;
    l->is_wish_failed = true;
    (void)err_set(&l->err, -ESTALE, "run %s: generation %u has ended",
                  l->run->name, l->generation);
    return true;
}

/* The last thing that a caller does with `l`. */
static void consider_start(struct load *l)
{
    if (l->phase != LOAD_GATHERING || l->is_refreshing || l->err.code)
        return;
    if (l->is_collective && (is_stale(l) || is_hopeless(l))) {
        load_attempt_failed(l);
        return;
    }
    if (l->is_collective && !members_complete(l->run)) {
        l->is_refreshing = true;
        members_refresh(l->run, members_known, l);
        return;
    }
    if (!l->is_collective || l->rank_count >= members_here(l->run))
        load_attempt_begin(l);
}

static void look_again(struct env_timer *timer)
{
    struct load *l = container_of(timer, struct load, members_timer);

    consider_start(l);
}

static void members_known(void *arg, int result)
{
    struct load *l = arg;
    struct env *env = l->engine->env;

    l->is_refreshing = false;
    if (l->err.code) {
        load_attempt_failed(l);
        return;
    }
    if (result == 0 && members_complete(l->run)) {
        consider_start(l);
        return;
    }
    l->members_timer.fire = look_again;
    env->ops->timer_set(env, &l->members_timer,
                        env->ops->now_ns(env) + 50 * NS_PER_MS);
}

static struct load *load_find(struct session *s, uint64_t number,
                              struct load_rank **rank)
{
    if (!s->run)
        return NULL;
    LIST_FOR_EACH (node, &s->run->loads) {
        struct load *l = container_of(node, struct load, link);

        for (uint32_t i = 0; i < l->rank_count; i++)
            if (l->rank[i].session == s && l->rank[i].number == number) {
                *rank = &l->rank[i];
                return l;
            }
    }
    return NULL;
}

/* The collective load of this generation that this rank is not in yet. */
static struct load *load_gathering(const struct session *s)
{
    LIST_FOR_EACH (node, &s->run->loads) {
        struct load *l = container_of(node, struct load, link);

        if (l->is_collective && l->phase == LOAD_GATHERING &&
            l->generation == s->generation)
            return l;
    }
    return NULL;
}

static struct load *load_new(struct session *s, const struct wire_load *v)
{
    struct load *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->engine = s->engine;
    l->run = s->run;
    l->generation = s->generation;
    l->is_collective = v->is_collective != 0;
    l->id = l->is_collective ? s->parent : v->id;
    l->phase = LOAD_GATHERING;
    for (uint32_t i = 0; i < LOAD_DEPTH; i++)
        l->lane[i].load = l;
    list_append(&s->run->loads, &l->link);
    load_progress(l);
    return l;
}

static int rank_add(struct load *l, struct session *s, struct rank_table *t)
{
    struct load_rank *grown =
        array_room(l->rank, l->rank_count, &l->rank_capacity, sizeof *grown);

    if (!grown)
        return -ENOMEM;
    l->rank = grown;
    t->references++;
    slots_use(s->slots);
    l->rank[l->rank_count++] = (struct load_rank){.session = s,
                                                  .slots = s->slots,
                                                  .table = t,
                                                  .number = s->next_number++};
    return 0;
}

static bool is_in(const struct load *l, const struct session *s)
{
    for (uint32_t i = 0; i < l->rank_count; i++)
        if (l->rank[i].session == s)
            return true;
    return false;
}

static uint32_t loads_of(const struct session *s)
{
    uint32_t count = 0;

    LIST_FOR_EACH (node, &s->run->loads)
        count += is_in(container_of(node, struct load, link), s);
    return count;
}

void load_request(struct session *s, uint64_t request_id,
                  const struct wire_load *v)
{
    struct rank_table *t = session_table(s, v->table);
    struct wire_load_ok ok;
    struct wr w = {0};
    struct load *l;

    if (!t || !s->slots) {
        session_error(s, request_id, -EINVAL,
                      "rank %u: LOAD names a table or arena that it never sent",
                      s->open.rank);
        return;
    }
    if (v->is_collective && s->parent.generation == 0) {
        session_error(s, request_id, -ENODATA,
                      "run %s, generation %u: a fresh start, there is nothing "
                      "to load",
                      s->open.run, s->generation);
        return;
    }
    if (loads_of(s) >= SESSION_LOADS_MAX) {
        session_error(s, request_id, -EBUSY,
                      "rank %u: %d loads of it are under way, the most there "
                      "may be: wait for one",
                      s->open.rank, SESSION_LOADS_MAX);
        return;
    }
    l = v->is_collective ? load_gathering(s) : NULL;
    if (l && is_in(l, s)) {
        session_error(s, request_id, -EBUSY,
                      "rank %u: its load is waiting for other ranks already",
                      s->open.rank);
        return;
    }
    if (!l)
        l = load_new(s, v);
    if (!l || rank_add(l, s, t)) {
        session_error(s, request_id, -ENOMEM, "no memory for a load");
        if (l && l->rank_count == 0)
            load_finish(l);
        return;
    }
    ok.load = l->rank[l->rank_count - 1].number;
    wire_load_ok_encode(&ok, &w);
    session_send(s, WIRE_LOAD_OK, request_id, &w);
    load_progress(l);
    consider_start(l);
}

/*
 * What ranks say.
 */

void load_consumed(struct session *s, const struct wire_slots *v)
{
    struct load_rank *r = NULL;
    struct load *l = load_find(s, v->owner, &r);

    if (!l)
        return; /* of a load that has ended: its slots are free already */
    for (uint32_t i = 0; i < v->count; i++) {
        uint32_t slot = get_u32(v->slots + (size_t)i * 4);

        if (slot >= s->slots->count ||
            s->slots->slot[slot].state != SLOT_DELIVERED ||
            s->slots->slot[slot].owner != v->owner) {
            session_breach(s, "CONSUMED slot %u, which was not delivered",
                           slot);
            return;
        }
        slot_move(s->slots, slot, SLOT_FREE);
    }
    load_progress(l);
    session_slots_freed(s);
}

/* Feeding one load may end it, and with it others wait no longer. */
void load_slots_freed(struct session *s)
{
    struct list *node;

    if (!s->run)
        return;
    LIST_FOR_EACH (each, &s->run->loads) {
        struct load *l = container_of(each, struct load, link);

        l->wants_feed |= l->phase == LOAD_READING && is_in(l, s);
    }
    for (node = s->run->loads.next; node != &s->run->loads;) {
        struct load *l = container_of(node, struct load, link);

        node = node->next;
        if (!l->wants_feed)
            continue;
        l->wants_feed = false;
        if (l->phase != LOAD_READING)
            continue;
        load_feed(l);
        node = s->run->loads.next;
    }
}

void load_vote(struct session *s, const struct wire_load_vote *v)
{
    struct load_rank *r = NULL;
    struct load *l = load_find(s, v->load, &r);

    if (!l || v->attempt != l->attempt)
        return; /* of an attempt that is over */
    if (l->phase != LOAD_READING && l->phase != LOAD_VOTING)
        return;
    if (!r->is_delivered && v->code == 0) {
        session_breach(s, "voted on a load before all was delivered");
        return;
    }
    r->has_voted = true;
    load_progress(l);
    if (v->code) {
        (void)err_set(&l->err, v->code, "rank %u: %s", s->open.rank, v->text);
        l->is_wish_failed = true;
        load_attempt_failed(l);
        return;
    }
    if (l->phase != LOAD_VOTING)
        return;
    for (uint32_t i = 0; i < l->rank_count; i++)
        if (!l->rank[i].has_voted && !is_left_out("word of all ranks"))
            return;
    if (l->is_collective) {
        load_move(l, LOAD_RECORDING);
        load_record(l);
    } else {
        load_finish(l);
    }
}

static void rank_lost(struct load *l, struct load_rank *r)
{
    uint32_t rank = r->session->open.rank;

    r->session = NULL;
    if (l->phase == LOAD_RECORDING) { /* it has voted; the record decides */
        load_record_poke(l);
        return;
    }
    if (!l->err.code)
        (void)err_set(&l->err, -ECONNRESET,
                      "rank %u died during the load of step %" PRIu64, rank,
                      l->id.step);
    l->is_wish_failed = true;
    load_attempt_failed(l);
}

/* The load that this session is in and has not left yet. */
static struct load *load_of(const struct session *s, struct load_rank **rank)
{
    LIST_FOR_EACH (node, &s->run->loads) {
        struct load *l = container_of(node, struct load, link);

        for (uint32_t i = 0; i < l->rank_count; i++)
            if (l->rank[i].session == s) {
                *rank = &l->rank[i];
                return l;
            }
    }
    return NULL;
}

void load_session_gone(struct session *s)
{
    struct load_rank *r = NULL;
    struct load *l;

    if (!s->run)
        return;
    while ((l = load_of(s, &r)))
        rank_lost(l, r);
    l = load_gathering(s);
    if (l)
        consider_start(l); /* it may have waited for this rank */
}
