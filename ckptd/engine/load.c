/*
 * load.c - the life of a load, and falling back.
 *
 * Happy path: the first LOAD makes the load, the last rank's starts it
 * (load_rank.c): manifest, plan, reads, deliveries, a vote of every rank, the
 * outcome on record, LOAD_DONE to all. A checkpoint that fails is passed over:
 * reads under way end, the failure goes on record, and the next older save of
 * the branch is tried with LOAD_BEGIN. A rank that dies, or the deadline
 * without progress, ends the load for all.
 *
 * A load that has failed ends when nothing of it is under way any more: chunk
 * reads, the manifest, the members, or the record, each of which comes back to
 * load_attempt_failed() or load_recorded().
 */
#include "ckptd/engine/load_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS ((uint64_t)1000 * 1000)

static const bool allowed[LOAD_PHASES][LOAD_PHASES] = {
    [LOAD_GATHERING] =
        {[LOAD_PLANNING] = true, [LOAD_RECORDING] = true, [LOAD_DONE] = true},
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

static bool is_awaited(const struct load *l, uint32_t rank)
{
    struct id128 daemon;

    for (uint32_t i = 0; i < l->rank_count; i++)
        if (l->rank[i].session && l->rank[i].session->open.rank == rank)
            return l->phase != LOAD_GATHERING && !l->rank[i].has_voted;
    /* Ranks of other daemons ask there. */
    return l->phase == LOAD_GATHERING &&
           (members_find(&l->run->members, rank, &daemon) < 0 ||
            id_equal(&daemon, &l->engine->env->local_uuid));
}

/* Who is waited for, in words. */
static void say_waiting(const struct load *l, char *text, size_t capacity)
{
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < l->run->world_size && used + 16 < capacity; i++)
        if (is_awaited(l, i))
            used += (size_t)snprintf(text + used, capacity - used, "%s%u",
                                     used ? ", " : "", i);
}

static void say_late(struct load *l)
{
    char ranks[256];

    say_waiting(l, ranks, sizeof ranks);
    if (l->phase == LOAD_GATHERING)
        (void)err_set(&l->err, -ETIMEDOUT,
                      "load in generation %u: only %u of %u ranks asked for "
                      "it; waiting for ranks %s",
                      l->generation, l->rank_count, l->run->world_size, ranks);
    else
        (void)err_set(&l->err, -ETIMEDOUT,
                      "load of step %" PRIu64 ": no progress for %u ms; "
                      "waiting for ranks %s",
                      l->id.step, timeout_ms(l), ranks);
}

static void deadline(struct env_timer *timer)
{
    struct load *l = container_of(timer, struct load, timer);
    struct env *env = l->engine->env;
    uint64_t end = l->progress_ns + timeout_ms(l) * NS_PER_MS;

    if (env->ops->now_ns(env) < end) {
        env->ops->timer_set(env, timer, end);
        return;
    }
    if (l->phase == LOAD_RECORDING) {
        load_record_late(l);
        return;
    }
    if (!l->err.code)
        say_late(l);
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

    assert(l->running == 0 && !l->is_fetching && !l->is_refreshing);
    env->ops->timer_stop(env, &l->timer);
    env->ops->timer_stop(env, &l->members_timer);
    load_read_free(l);
    held_manifest_put(l->held);
    list_remove(&l->link);
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

/* A job whose own copies are not what they should be is to know. */
static void say_remote(struct load *l)
{
    struct env *env = l->engine->env;
    size_t used = strlen(l->note);
    char words[128];

    (void)snprintf(words, sizeof words,
                   "step %" PRIu64 ": %" PRIu64
                   " bytes of it were read from the remote tier",
                   l->id.step, l->remote_bytes);
    env->ops->log(env, LOG_LEVEL_INFO, "run %s %s", l->run->name, words);
    (void)snprintf(l->note + used, sizeof l->note - used, "%s%s",
                   used ? "; " : "", words);
}

void load_finish(struct load *l)
{
    struct load_rank *rank = l->rank;
    uint32_t count = l->rank_count;

    load_move(l, LOAD_DONE);
    if (l->err.code == 0 && l->remote_bytes)
        say_remote(l);
    for (uint32_t i = 0; i < count; i++) {
        slots_release(rank[i].slots, rank[i].number);
        slots_unuse(rank[i].slots);
        rank_table_put(rank[i].table);
        if (rank[i].session)
            tell_done(l, &rank[i]);
    }
    load_free(l);
    /* Others may have waited for these slots. */
    for (uint32_t i = 0; i < count; i++)
        if (rank[i].session)
            session_slots_freed(rank[i].session);
    free(rank);
}

/*
 * Attempts.
 */

/* Being removed, or removed since it was chosen: its segments may go at any
 * time. Who is in LOAD_READING is waited for by retention. */
static bool is_removed(const struct load *l)
{
    return catalog_status(&l->run->catalog, &l->id) == SAVE_REMOVED;
}

static void manifest_here(void *arg, int result, struct held_manifest *held,
                          const struct err *err)
{
    struct load *l = arg;

    l->is_fetching = false;
    l->held = held;
    if (!l->err.code && result) /* else a rank was lost meanwhile */
        l->err = *err;
    if (!l->err.code && is_removed(l))
        (void)err_set(&l->err, -ENOENT,
                      "run %s step %" PRIu64 " (generation %u): it was removed",
                      l->run->name, l->id.step, l->id.generation);
    if (l->err.code)
        load_attempt_failed(l);
    else
        load_plan(l);
}

void load_attempt_begin(struct load *l)
{
    load_move(l, LOAD_PLANNING);
    load_progress(l);
    l->attempt++;
    for (uint32_t i = 0; i < l->rank_count; i++) {
        struct load_rank *r = &l->rank[i];

        r->is_delivered = r->has_voted = false;
        r->uses_left = 0;
    }
    l->is_fetching = true;
    manifest_fetch(l->run, &l->id, manifest_here, l);
}

bool load_is_checkpoints(int code)
{
    return code == -CKPT_ECORRUPT || code == -EIO || code == -ENOENT ||
           code == -CKPT_EVERSION;
}

static bool is_under_way(const struct load *l)
{
    return l->running > 0 || l->is_fetching || l->is_refreshing;
}

/* Other daemons hear of every attempt's end; ranks of this one alone, only as
 * long as there are any. */
static bool is_to_be_recorded(const struct load *l)
{
    if (!l->is_collective)
        return false;
    return !load_is_alone(l) ||
           (l->phase != LOAD_GATHERING && load_ranks_alive(l) > 0);
}

void load_attempt_failed(struct load *l)
{
    assert(l->err.code);
    if (l->phase == LOAD_READING)
        load_move(l, LOAD_DRAINING);
    if (is_under_way(l) || l->phase == LOAD_RECORDING)
        return;
    if (is_to_be_recorded(l)) {
        load_move(l, LOAD_RECORDING);
        load_record(l);
    } else {
        load_finish(l);
    }
}

static void say_passed_over(struct load *l, const struct save_id *older)
{
    struct env *env = l->engine->env;
    size_t used = strlen(l->note);

    env->ops->log(env, LOG_LEVEL_ERROR, "%s; falling back to step %" PRIu64,
                  l->err.text, older->step);
    (void)snprintf(l->note + used, sizeof l->note - used, "%s%s",
                   used ? "; " : "", l->err.text);
}

/* Newer checkpoints that could not even be a candidate: their records cannot be
 * read. A job that resumes from an older one is to know. */
static void say_unreadable(struct load *l)
{
    const struct catalog *c = &l->run->catalog;

    for (size_t i = 0; i < c->save_count; i++) {
        const struct catalog_save *s = &c->save[i];
        size_t used = strlen(l->note);

        if (s->status != SAVE_UNREADABLE || save_id_compare(&s->id, &l->id) < 0)
            continue;
        (void)snprintf(l->note + used, sizeof l->note - used,
                       "%sstep %" PRIu64 "/%u: its decision cannot be read: "
                       "passed over (%s)",
                       used ? "; " : "", s->id.step, s->id.generation,
                       catalog_reason(s));
    }
}

/* The outcome is on record. With several daemons all of them follow what it
 * says, so that all fall back or none; one whose ranks have died meanwhile
 * says so at the next attempt. */
void load_recorded(struct load *l)
{
    bool is_whole = load_ranks_alive(l) == l->rank_count;
    struct save_id older;

    if (l->err.code == 0) {
        catalog_note_load(&l->run->catalog, l->generation, &l->id);
        say_unreadable(l);
        load_finish(l);
        return;
    }
    older = catalog_older(&l->run->catalog, &l->id);
    if (l->is_wish_failed || !load_is_checkpoints(l->err.code) ||
        older.generation == 0 || (!is_whole && load_is_alone(l))) {
        load_finish(l);
        return;
    }
    say_passed_over(l, &older);
    load_read_free(l);
    held_manifest_put(l->held);
    l->held = NULL;
    l->id = older;
    l->err = (struct err){0};
    if (!is_whole) {
        (void)err_set(&l->err, -ECONNRESET, "a rank died during the load");
        l->is_wish_failed = true;
    }
    load_attempt_begin(l);
}

void load_all_delivered(struct load *l)
{
    load_move(l, LOAD_VOTING);
}
