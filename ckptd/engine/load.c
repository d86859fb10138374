/*
 * load.c - requests of ranks, the life of a load, and falling back.
 *
 * Happy path: the first LOAD makes the load, the last rank's starts it:
 * manifest, plan, reads, deliveries, a vote of every rank, the outcome on
 * record, LOAD_DONE to all. A checkpoint that fails is passed over: reads
 * under way end, the failure goes on record, and the next older save of the
 * branch is tried with LOAD_BEGIN. A rank that dies, or the deadline without
 * progress, ends the load for all.
 */
#include "ckptd/engine/load_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS ((uint64_t)1000 * 1000)

static const bool allowed[LOAD_PHASES][LOAD_PHASES] = {
    [LOAD_GATHERING] = {[LOAD_PLANNING] = true, [LOAD_DONE] = true},
    [LOAD_PLANNING] =
        {[LOAD_READING] = true, [LOAD_RECORDING] = true, [LOAD_DONE] = true},
    [LOAD_READING] = {[LOAD_DRAINING] = true, [LOAD_VOTING] = true},
    [LOAD_DRAINING] = {[LOAD_RECORDING] = true, [LOAD_DONE] = true},
    [LOAD_VOTING] = {[LOAD_RECORDING] = true, [LOAD_DONE] = true},
    [LOAD_RECORDING] = {[LOAD_PLANNING] = true, [LOAD_DONE] = true},
};

void load_move(struct load *l, enum load_phase to)
{
    assert(allowed[l->phase][to]);
    l->phase = to;
}

bool loads_pending(const struct run *run)
{
    return !list_is_empty(&run->loads);
}

static uint32_t timeout_ms(const struct load *l)
{
    for (uint32_t i = 0; i < l->rank_count; i++)
        if (l->rank[i].session)
            return l->rank[i].session->open.load_timeout_ms
                       ? l->rank[i].session->open.load_timeout_ms
                       : LOAD_TIMEOUT_MS;
    return LOAD_TIMEOUT_MS;
}

/* Who is waited for, in words. */
static void say_waiting(const struct load *l, char *text, size_t capacity)
{
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < l->rank_count && used + 16 < capacity; i++)
        if (l->rank[i].session && !l->rank[i].has_voted)
            used += (size_t)snprintf(text + used, capacity - used, "%s%u",
                                     used ? ", " : "",
                                     l->rank[i].session->open.rank);
}

static void deadline(struct env_timer *timer)
{
    struct load *l = container_of(timer, struct load, timer);
    struct env *env = l->engine->env;
    uint64_t end = l->progress_ns + timeout_ms(l) * NS_PER_MS;
    char ranks[256];

    if (env->ops->now_ns(env) < end) {
        env->ops->timer_set(env, timer, end);
        return;
    }
    say_waiting(l, ranks, sizeof ranks);
    if (l->phase == LOAD_GATHERING)
        (void)err_set(&l->err, -ETIMEDOUT,
                      "load in generation %u: only %u of %u ranks asked for it",
                      l->generation, l->rank_count, l->run->world_size);
    else
        (void)err_set(&l->err, -ETIMEDOUT,
                      "load of step %" PRIu64 ": no progress for %u ms; "
                      "waiting for ranks %s",
                      l->id.step, timeout_ms(l), ranks);
    l->is_wish_failed = true;
    load_attempt_failed(l);
}

void load_progress(struct load *l)
{
    struct env *env = l->engine->env;

    l->progress_ns = env->ops->now_ns(env);
    if (list_is_linked(&l->timer.link))
        return;
    l->timer.fire = deadline;
    env->ops->timer_set(env, &l->timer,
                        l->progress_ns + timeout_ms(l) * NS_PER_MS);
}

/*
 * Ends.
 */

static void load_free(struct load *l)
{
    struct env *env = l->engine->env;

    env->ops->timer_stop(env, &l->timer);
    env->ops->timer_stop(env, &l->members_timer);
    load_read_free(l);
    held_manifest_put(l->held);
    for (uint32_t i = 0; i < l->rank_count; i++) {
        struct load_rank *r = &l->rank[i];

        slots_release(r->slots, r->number);
        slots_unuse(r->slots);
        rank_table_put(r->table);
    }
    list_remove(&l->link);
    free(l->rank);
    free(l);
}

static void tell_done(const struct load *l, const struct load_rank *r)
{
    struct wire_load_done v = {.load = r->number,
                               .id = l->id,
                               .code = l->err.code,
                               .attempts = l->attempt,
                               .read_bytes = l->read_bytes};
    struct wr w = {0};

    (void)snprintf(v.text, sizeof v.text, "%s",
                   l->err.code ? l->err.text : l->note);
    wire_load_done_encode(&v, &w);
    session_send(r->session, WIRE_LOAD_DONE, 0, &w);
}

void load_finish(struct load *l)
{
    load_move(l, LOAD_DONE);
    for (uint32_t i = 0; i < l->rank_count; i++)
        if (l->rank[i].session)
            tell_done(l, &l->rank[i]);
    load_free(l);
}

/*
 * Attempts.
 */

static void manifest_here(void *arg, int result, struct held_manifest *held,
                          const struct err *err)
{
    struct load *l = arg;

    l->held = held;
    if (result)
        l->err = *err;
    if (l->err.code) /* also a rank that was lost meanwhile */
        load_attempt_failed(l);
    else
        load_plan(l);
}

static void attempt_begin(struct load *l)
{
    load_progress(l);
    l->err = (struct err){0};
    for (uint32_t i = 0; i < l->rank_count; i++) {
        struct load_rank *r = &l->rank[i];

        r->is_delivered = r->has_voted = false;
        r->uses_left = 0;
    }
    manifest_fetch(l->run, &l->id, manifest_here, l);
}

/* Which failures are the checkpoint's own, so that an older one may be good. */
static bool is_checkpoints(int code)
{
    return code == -CKPT_ECORRUPT || code == -EIO || code == -ENOENT ||
           code == -CKPT_EVERSION;
}

void load_attempt_failed(struct load *l)
{
    if (l->running > 0) {
        if (l->phase == LOAD_READING)
            load_move(l, LOAD_DRAINING);
        return; /* load_read.c comes back when the last lane has ended */
    }
    if (l->phase == LOAD_READING)
        load_move(l, LOAD_DRAINING);
    if (l->is_collective && l->phase != LOAD_GATHERING &&
        l->phase != LOAD_RECORDING && load_ranks_alive(l) > 0) {
        load_move(l, LOAD_RECORDING);
        load_record(l);
        return;
    }
    if (l->phase != LOAD_RECORDING) /* else load_recorded() is to come */
        load_finish(l);
}

/* The outcome is on record. */
void load_recorded(struct load *l)
{
    struct save_id older;
    size_t used = strlen(l->note);

    if (l->err.code == 0) {
        catalog_note_load(&l->run->catalog, l->generation, &l->id);
        load_finish(l);
        return;
    }
    older = catalog_older(&l->run->catalog, &l->id);
    if (l->is_wish_failed || !is_checkpoints(l->err.code) ||
        older.generation == 0 || load_ranks_alive(l) < l->rank_count) {
        load_finish(l);
        return;
    }
    l->engine->env->ops->log(l->engine->env, LOG_LEVEL_ERROR,
                             "%s; falling back to step %" PRIu64, l->err.text,
                             older.step);
    (void)snprintf(l->note + used, sizeof l->note - used, "%s%s",
                   used ? "; " : "", l->err.text);
    load_read_free(l);
    held_manifest_put(l->held);
    l->held = NULL;
    l->id = older;
    l->attempt++;
    load_move(l, LOAD_PLANNING);
    attempt_begin(l);
}

void load_all_delivered(struct load *l)
{
    load_move(l, LOAD_VOTING);
}

/*
 * Gathering.
 */

static void members_known(void *arg, int result);

static void consider_start(struct load *l)
{
    if (l->phase != LOAD_GATHERING || l->is_refreshing || l->err.code)
        return;
    if (l->is_collective && !members_complete(l->run)) {
        l->is_refreshing = true;
        members_refresh(l->run, members_known, l);
        return;
    }
    if (l->is_collective && l->rank_count < members_here(l->run))
        return;
    load_move(l, LOAD_PLANNING);
    l->attempt = 1;
    attempt_begin(l);
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
    list_append(&s->run->loads, &l->link);
    load_progress(l);
    return l;
}

static int rank_add(struct load *l, struct session *s, struct rank_table *t)
{
    struct load_rank *grown;

    if (l->rank_count == l->rank_capacity) {
        uint32_t capacity = l->rank_capacity ? l->rank_capacity * 2 : 8;

        grown = realloc(l->rank, capacity * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        l->rank = grown;
        l->rank_capacity = capacity;
    }
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
    struct load_rank *r;
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

void load_slots_freed(struct session *s)
{
    if (!s->run)
        return;
    LIST_FOR_EACH_SAFE (node, after, &s->run->loads) {
        struct load *l = container_of(node, struct load, link);

        if (l->phase == LOAD_READING && is_in(l, s))
            load_feed(l);
    }
}

void load_vote(struct session *s, const struct wire_load_vote *v)
{
    struct load_rank *r;
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
        if (!l->rank[i].has_voted)
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
    if (!l->err.code)
        (void)err_set(&l->err, -ECONNRESET,
                      "rank %u died during the load of step %" PRIu64, rank,
                      l->id.step);
    l->is_wish_failed = true;
    if (l->phase == LOAD_GATHERING && l->is_refreshing)
        return; /* members_known() goes on */
    if (l->phase == LOAD_PLANNING && !l->held)
        return; /* manifest_here() goes on */
    load_attempt_failed(l);
}

void load_session_gone(struct session *s)
{
    if (!s->run)
        return;
    LIST_FOR_EACH_SAFE (node, after, &s->run->loads) {
        struct load *l = container_of(node, struct load, link);

        for (uint32_t i = 0; i < l->rank_count; i++)
            if (l->rank[i].session == s) {
                rank_lost(l, &l->rank[i]);
                break;
            }
    }
}
