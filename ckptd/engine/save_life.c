/*
 * save_life.c - one save from its beginning to its decision.
 *
 * Happy path: save_begin() asks commit.c for an attempt and looks for a base;
 * opened(), or a home that is slow, lets the parts reserve room; when all
 * members' parts are synced, and it is open, save_try_vote() has the vote
 * built, gives it to commit.c and leaves the segments HELD; local() and
 * decided() tell the ranks.
 *
 * Failures: save_abort() may be called at any time, by whoever finds that the
 * save cannot be. It publishes ABORT through commit.c; the ranks are told when
 * that is on record, because a save that has voted may still win, or when they
 * have waited long enough for it and it has not. Until then nothing new is
 * begun, and what is under way runs out. Segments go back at
 * once unless they were voted for, slots when the ranks are told: a rank may
 * be filling them until it hears of it.
 *
 * A save that is over is freed by save_reap(), never while it is being used.
 */
#include "ckptd/engine/drain.h"
#include "ckptd/engine/retain.h"
#include "ckptd/engine/save_internal.h"

#include "common/text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS        ((uint64_t)1000000)
#define MEMBERS_RETRY_MS 200

static const bool allowed[SAVE_PHASES][SAVE_PHASES] = {
    [SAVE_WAITING] = {[SAVE_OPENING] = true, [SAVE_DONE] = true},
    [SAVE_OPENING] =
        {[SAVE_RUNNING] = true, [SAVE_ABORTING] = true, [SAVE_DONE] = true},
    [SAVE_RUNNING] =
        {[SAVE_VOTED] = true, [SAVE_ABORTING] = true, [SAVE_DONE] = true},
    [SAVE_VOTED] = {[SAVE_DONE] = true},
    [SAVE_ABORTING] = {[SAVE_DONE] = true},
};

void save_move(struct save *v, enum save_phase to)
{
    assert(allowed[v->phase][to]);
    v->phase = to;
}

static void timer_in(struct save *v, struct env_timer *timer, uint64_t ms)
{
    struct env *env = v->engine->env;

    env->ops->timer_set(env, timer, env->ops->now_ns(env) + ms * NS_PER_MS);
}

static void timers_stop(struct save *v)
{
    struct env *env = v->engine->env;

    env->ops->timer_stop(env, &v->deadline);
    env->ops->timer_stop(env, &v->retry);
    env->ops->timer_stop(env, &v->hold);
}

/* After this a part may have ended, but none is freed. */
static void parts_progress(struct save *v)
{
    LIST_FOR_EACH (node, &v->parts)
        part_progress(container_of(node, struct save_part, link));
}

/*
 * What commit.c tells.
 */

static void parts_open(struct save *v, const struct save_id *id)
{
    v->id = *id;
    save_move(v, SAVE_RUNNING);
    LIST_FOR_EACH (node, &v->parts)
        part_open(container_of(node, struct save_part, link));
}

static void on_opened(void *arg, struct commit *c)
{
    struct save *v = arg;

    v->is_open = true;
    if (v->phase == SAVE_OPENING)
        parts_open(v, &c->id);
    else
        save_try_vote(v);
}

static void on_local(void *arg, struct commit *c)
{
    struct save *v = arg;

    (void)c;
    v->is_local = true;
    LIST_FOR_EACH (node, &v->parts)
        part_state(container_of(node, struct save_part, link),
                   WIRE_STATE_LOCAL);
    save_admit_waiting(v->run);
}

static void tell_committed(struct save *v)
{
    struct env *env = v->engine->env;

    if (v->err.text[0])
        env->ops->log(env, LOG_LEVEL_WARN,
                      "run %s step %" PRIu64 ": committed, but %s",
                      v->run->name, v->step, v->err.text);
    LIST_FOR_EACH (node, &v->parts) {
        struct save_part *p = container_of(node, struct save_part, link);

        part_state(p, WIRE_STATE_COMMITTED);
        if (p->session)
            p->session->failed_in_a_row = 0;
    }
}

/* An attempt that never began is the request's failure, not the save's. */
static bool is_refusal(const struct save *v, enum save_phase was)
{
    return was == SAVE_OPENING &&
           (v->err.code == -CKPT_ECONFLICT || v->err.code == -ESTALE);
}

static void tell_aborted(struct save *v, enum save_phase was)
{
    struct engine *e = v->engine;

    v->is_refused = is_refusal(v, was);
    if (v->is_voted)
        segpool_release(e->pool, &v->run->catalog.uuid, &v->id);
    e->env->ops->log(e->env, LOG_LEVEL_WARN,
                     "run %s step %" PRIu64 ": aborted: %s", v->run->name,
                     v->step, v->err.text);
    LIST_FOR_EACH (node, &v->parts) {
        struct save_part *p = container_of(node, struct save_part, link);

        if (p->session)
            p->session->failed_in_a_row++;
        part_open(p);
    }
}

static void save_over(struct save *v)
{
    enum save_phase was = v->phase;

    timers_stop(v);
    save_move(v, SAVE_DONE);
    if (!v->is_committed)
        tell_aborted(v, was);
    else
        tell_committed(v);
    parts_progress(v);
    save_part_ended(v);
    if (v->is_committed) {
        retain_run(v->run);
        drain_run(v->run);
    }
    save_admit_waiting(v->run);
}

static void on_decided(void *arg, struct commit *c)
{
    struct save *v = arg;

    if (c->id.generation)
        v->id = c->id;
    v->commit = NULL;
    v->is_committed = c->decision == DECISION_COMMIT;
    v->err = c->error;
    if (!v->is_committed && v->err.code >= 0)
        (void)err_set(&v->err, -CKPT_EABORTED, "aborted");
    save_over(v);
}

static const struct commit_events events = {
    .opened = on_opened,
    .local = on_local,
    .decided = on_decided,
};

/*
 * Beginning.
 */

/* The home has not answered yet: that is not for the ranks to wait for. */
static void on_hold(struct env_timer *timer)
{
    struct save *v = container_of(timer, struct save, hold);

    if (v->phase == SAVE_OPENING && v->commit->id.attempt)
        parts_open(v, &v->commit->id);
    else if (v->phase == SAVE_OPENING)
        timer_in(v, &v->hold, SAVE_HOLD_MS);
    else if (v->phase == SAVE_ABORTING)
        commit_abort_told(v->commit);
}

static void on_deadline(struct env_timer *timer)
{
    struct save *v = container_of(timer, struct save, deadline);
    char missing[512];

    if (!v->is_open) {
        save_abort(
            v, -ETIMEDOUT,
            "no answer within the deadline of %" PRIu32 " ms from home %.*s",
            v->run->decide_timeout_ms, (int)text_home_bytes(v->run->home->path),
            v->run->home->path);
        return;
    }
    save_missing_text(v, missing, sizeof missing);
    save_abort(v, -ETIMEDOUT,
               "not staged within the deadline of %" PRIu32
               " ms: waiting for %s",
               v->run->decide_timeout_ms, missing);
}

static void on_retry(struct env_timer *timer)
{
    save_try_vote(container_of(timer, struct save, retry));
}

struct save *save_new(struct session *s, uint64_t step)
{
    struct save *v = calloc(1, sizeof *v);
    struct list *last = s->run->saves.prev;

    if (!v)
        return NULL;
    v->engine = s->engine;
    v->run = s->run;
    v->generation = s->generation;
    v->step = step;
    v->id = (struct save_id){.generation = s->generation, .step = step};
    v->deadline.fire = on_deadline;
    v->retry.fire = on_retry;
    v->hold.fire = on_hold;
    list_init(&v->parts);
    if (last != &s->run->saves)
        v->sequence = container_of(last, struct save, link)->sequence + 1;
    list_append(&s->run->saves, &v->link);
    return v;
}

static void begin(struct save *v)
{
    save_move(v, SAVE_OPENING);
    v->commit = commit_begin(v->run, v->step, &events, v);
    if (!v->commit) {
        (void)err_set(&v->err, -ENOMEM, "no memory to begin the save");
        save_over(v);
        return;
    }
    timer_in(v, &v->hold, SAVE_HOLD_MS);
}

void save_begin(struct save *v)
{
    begin(v);
    if (v->phase != SAVE_OPENING)
        return;
    /* A little before commit.c's, which does not know the ranks. */
    timer_in(v, &v->deadline,
             v->run->decide_timeout_ms - v->run->decide_timeout_ms / 50);
    base_choose(v);
}

/*
 * Abort.
 */

void save_abort(struct save *v, int code, const char *format, ...)
{
    struct err reason;
    va_list args;

    if (v->phase == SAVE_DONE || v->phase == SAVE_ABORTING)
        return;
    va_start(args, format);
    if (vsnprintf(reason.text, sizeof reason.text, format, args) < 0)
        reason.text[0] = '\0';
    va_end(args);
    if (v->phase == SAVE_WAITING)
        begin(v); /* so that the whole job hears of it */
    if (v->phase == SAVE_DONE)
        return;
    if (v->phase != SAVE_VOTED) {
        save_move(v, SAVE_ABORTING);
        timers_stop(v);
        timer_in(v, &v->hold, SAVE_HOLD_MS);
        parts_progress(v);
    }
    commit_abort(v->commit, code, reason.text);
}

/*
 * Voting.
 */

static void on_members(void *arg, int result)
{
    struct save *v = arg;

    (void)result; /* what could not be read now is read again */
    v->is_refreshing = false;
    if (v->phase != SAVE_RUNNING)
        return;
    if (members_complete(v->run))
        save_try_vote(v);
    else
        timer_in(v, &v->retry, MEMBERS_RETRY_MS);
}

bool save_is_synced(const struct save *v)
{
    uint32_t count = 0;

    LIST_FOR_EACH (node, &v->parts) {
        const struct save_part *p = container_of(node, struct save_part, link);

        if (p->phase != PART_SYNCED)
            return false;
        count++;
    }
    return count > 0 && count >= members_here(v->run);
}

void save_try_vote(struct save *v)
{
    int rc;

    if (v->phase == SAVE_RUNNING && save_is_synced(v))
        save_admit_waiting(v->run);
    if (v->phase != SAVE_RUNNING || !v->is_open || v->is_refreshing ||
        vote_is_building(v))
        return;
    if (v->generation != v->run->generation) {
        save_abort(v, -ESTALE, "generation %" PRIu32 " has ended",
                   v->generation);
        return;
    }
    if (!save_is_synced(v))
        return;
    if (!members_complete(v->run)) {
        v->is_refreshing = true;
        members_refresh(v->run, on_members, v);
        return;
    }
    rc = vote_build(v);
    if (rc)
        save_abort(v, rc, "no memory for the vote");
}

void vote_built(struct save *v, int result, const struct err *err)
{
    size_t bytes;
    void *vote;

    if (v->phase != SAVE_RUNNING) {
        parts_progress(v);
        return;
    }
    if (result) {
        save_abort(v, result, "%s", err->text);
        return;
    }
    timers_stop(v);
    LIST_FOR_EACH (node, &v->parts) {
        struct save_part *p = container_of(node, struct save_part, link);

        if (p->writer)
            seg_writer_close(p->writer, true);
        p->writer = NULL;
    }
    save_move(v, SAVE_VOTED);
    v->is_voted = true;
    vote = vote_take(v, &bytes);
    commit_vote(v->commit, vote, bytes);
}

/*
 * The end.
 */

static bool is_settled(const struct save *v)
{
    if (v->phase != SAVE_DONE || v->is_refreshing || vote_is_building(v) ||
        base_is_pending(v))
        return false;
    LIST_FOR_EACH (node, &v->parts) {
        const struct save_part *p = container_of(node, struct save_part, link);

        if (p->phase != PART_ENDED)
            return false;
    }
    return true;
}

/* What a save that is over held, but for its marks. */
void save_part_ended(struct save *v)
{
    if (!is_settled(v))
        return;
    base_drop(v);
    vote_free(v);
}

static void save_free(struct save *v)
{
    timers_stop(v);
    commit_disown(v->commit);
    list_remove(&v->link);
    LIST_FOR_EACH_SAFE (node, after, &v->parts)
        part_free(container_of(node, struct save_part, link));
    base_drop(v);
    vote_free(v);
    free(v);
}

void save_reap(struct run *run)
{
    uint32_t remembered = 0;

    for (struct list *node = run->saves.prev, *before; node != &run->saves;
         node = before) {
        struct save *v = container_of(node, struct save, link);

        before = node->prev;
        if (!is_settled(v))
            continue;
        if (v->is_committed || save_all_seen(v) ||
            ++remembered > SAVE_REMEMBERED_MAX)
            save_free(v);
    }
}

bool saves_pending(const struct run *run)
{
    LIST_FOR_EACH (node, &run->saves)
        if (!is_settled(container_of(node, struct save, link)))
            return true;
    return false;
}

bool saves_in_flight(const struct run *run)
{
    LIST_FOR_EACH (node, &run->saves) {
        const struct save *v = container_of(node, struct save, link);

        if (v->is_refreshing || vote_is_building(v) || base_is_pending(v))
            return true;
        LIST_FOR_EACH (at, &v->parts)
            if (part_is_in_flight(container_of(at, struct save_part, link)))
                return true;
    }
    return false;
}

bool saves_use_base(const struct run *run, const struct save_id *id)
{
    LIST_FOR_EACH (node, &run->saves)
        if (base_is_of(container_of(node, struct save, link), id))
            return true;
    return false;
}

void saves_abort_all(struct run *run, const char *reason)
{
    LIST_FOR_EACH (node, &run->saves) {
        struct save *v = container_of(node, struct save, link);

        if (v->phase != SAVE_VOTED)
            save_abort(v, -ECANCELED, "%s", reason);
    }
}

void saves_close(struct run *run)
{
    LIST_FOR_EACH_SAFE (node, after, &run->saves)
        save_free(container_of(node, struct save, link));
}
