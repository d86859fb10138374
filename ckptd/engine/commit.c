/*
 * commit.c - the life of a commit up to its vote, and its events.
 *
 *   NEW      commit_begin.c
 *   INTENT   commit_begin.c
 *   OPEN     the owner captures; an ABORT by others is looked for with back-off
 *   VOTING   the vote is being written
 *   VOTED    commit_gather.c
 *   DECIDING commit_decide.c
 *   DECIDED  the event, from the timer, and the end
 *
 * A failure before the decision becomes the wish for ABORT, and ABORT is
 * created like any decision. When the engine closes, what ends with -ECANCELED
 * goes no further, and homes_close() frees it.
 */
#include "ckptd/engine/commit_internal.h"

#include "common/plant.h"
#include "common/text.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const bool allowed[COMMIT_PHASES][COMMIT_PHASES] = {
    [COMMIT_NEW] = {[COMMIT_INTENT] = true,
                    [COMMIT_VOTED] = true, /* recovered */
                    [COMMIT_DECIDING] = true,
                    [COMMIT_DECIDED] = true},
    [COMMIT_INTENT] = {[COMMIT_OPEN] = true, [COMMIT_DECIDING] = true},
    [COMMIT_OPEN] = {[COMMIT_VOTING] = true,
                     [COMMIT_DECIDING] = true,
                     [COMMIT_DECIDED] = true},
    [COMMIT_VOTING] = {[COMMIT_VOTED] = true, [COMMIT_DECIDING] = true},
    [COMMIT_VOTED] = {[COMMIT_DECIDING] = true, [COMMIT_DECIDED] = true},
    [COMMIT_DECIDING] = {[COMMIT_DECIDED] = true},
};

void commit_move(struct commit *c, enum commit_phase to)
{
    assert(allowed[c->phase][to]);
    c->phase = to;
}

/*
 * Life.
 */

static void timer_fire(struct env_timer *timer)
{
    struct commit_state *s = container_of(timer, struct commit_state, timer);

    commit_step(s->c);
}

struct commit *commit_new(struct run *run, const struct save_id *id)
{
    struct commit *c = calloc(1, sizeof *c);
    struct commit_state *s = calloc(1, sizeof *s);

    if (!c || !s) {
        free(c);
        free(s);
        return NULL;
    }
    c->run = run;
    c->id = *id;
    c->state = s;
    s->c = c;
    s->timer.fire = timer_fire;
    list_append(&run->commits, &c->link);
    return c;
}

void commit_free(struct commit *c)
{
    struct commit_state *s = state_of(c);

    assert(!s->merge);
    if (s->settled)
        commit_recovery_forget(s->settled_arg);
    commit_env(c)->ops->timer_stop(commit_env(c), &s->timer);
    for (uint32_t i = 0; i < s->ballot_count; i++)
        free(s->ballot[i].data);
    free(s->ballot);
    free(s->manifest);
    wr_free(&s->record);
    members_fini(&s->own);
    list_remove(&c->link);
    free(s);
    free(c);
}

void commits_free(struct run *run)
{
    struct list *node;

    while ((node = run->commits.next) != &run->commits)
        commit_free(container_of(node, struct commit, link));
}

void commit_later(struct commit *c, uint64_t delay_ns)
{
    struct env *env = commit_env(c);
    struct commit_state *s = state_of(c);

    env->ops->timer_set(env, &s->timer, env_now(env) + delay_ns);
}

bool commit_resume(struct commit *c, int64_t result)
{
    state_of(c)->is_busy = false;
    return result != -ECANCELED || !c->run->home->engine->is_closing;
}

struct members *commit_members(const struct commit *c)
{
    if (c->id.generation == c->run->generation)
        return &c->run->members;
    return &state_of(c)->own;
}

bool commit_is_alone(const struct commit *c)
{
    const struct members *m = commit_members(c);

    return members_are_complete(m) && m->daemon_count == 1 &&
           id_equal(&m->daemon[0].daemon, &commit_env(c)->local_uuid);
}

bool commit_is_overdue(const struct commit *c)
{
    return env_now(commit_env(c)) >= state_of(c)->deadline_ns;
}

void commit_wish(struct commit *c, int code, const char *format, ...)
{
    struct commit_state *s = state_of(c);
    va_list args;

    if (s->wish.code != 0)
        return;
    s->wish.code = code < 0 ? code : -CKPT_EABORTED;
    va_start(args, format);
    (void)vsnprintf(s->wish.text, REASON_MAX, format, args);
    va_end(args);
}

void commit_wish_home(struct commit *c, int code, const char *what)
{
    const char *home = c->run->home->path;

    state_of(c)->is_home_silent = code == -ETIMEDOUT;
    commit_wish(c, code, "%s of host %s in home %.*s: %s", what,
                commit_env(c)->host, (int)text_home_bytes(home), home,
                err_text(code));
}

/*
 * Events.
 */

void commit_refuse(struct commit *c, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    c->error.code = code;
    (void)vsnprintf(c->error.text, sizeof c->error.text, format, args);
    va_end(args);
    c->decision = DECISION_ABORT;
    commit_move(c, COMMIT_DECIDED);
    commit_later(c, 0);
}

void commit_tell_early(struct commit *c)
{
    const struct commit_events *events = c->events;

    c->events = NULL;
    state_of(c)->is_told = true;
    c->decision = DECISION_ABORT;
    c->error = state_of(c)->wish;
    if (events)
        events->decided(c->arg, c);
}

void commit_abort_told(struct commit *c)
{
    const struct commit_state *s = state_of(c);
    bool is_certain = c->phase < COMMIT_VOTING ||
                      (c->phase == COMMIT_DECIDING && !s->has_voted &&
                       s->trying == DECISION_ABORT);

    if (s->wish.code && is_certain)
        commit_tell_early(c);
}

static void decided_fire(struct commit *c)
{
    const struct commit_events *events = c->events;
    struct commit_state *s = state_of(c);
    struct run *run = c->run;
    struct save_id id = c->id;
    bool release = s->is_recovered && c->decision == DECISION_ABORT;

    list_remove(&c->link); /* it is no longer running */
    if (events)
        events->decided(c->arg, c);
    commit_free(c);
    if (release)
        segpool_release(run->home->engine->pool, &run->catalog.uuid, &id);
}

/*
 * OPEN and VOTING.
 */

static void step_open(struct commit *c)
{
    struct commit_state *s = state_of(c);
    uint64_t now = env_now(commit_env(c));

    if (commit_is_overdue(c))
        commit_wish_overdue(c);
    if (s->wish.code != 0)
        commit_decide(c, DECISION_ABORT);
    else if (commit_is_alone(c))
        commit_later(c, s->deadline_ns - now);
    else if (s->is_looked_up) {
        s->is_looked_up = false;
        commit_later(c, min_u64(back_off(&s->delay_ns), s->deadline_ns - now));
    } else {
        commit_look(c);
    }
}

static void look_done(void *arg, int64_t result, void *data)
{
    struct commit *c = arg;
    struct record_decision d;
    struct err err;

    if (!commit_resume(c, result)) {
        free(data);
        return;
    }
    if (c->phase == COMMIT_VOTED && result == -ENOENT &&
        !is_left_out("tomb of what is undecided"))
        commit_look_for_tomb(c);
    else if (c->phase == COMMIT_VOTING || result < 0 ||
             record_decision_of(&c->id, data, (size_t)result, &d, &err) < 0)
        commit_step(c);
    else if (state_of(c)->has_voted &&
             !is_left_out("confirmation of a decision"))
        commit_confirm(c, data, (size_t)result);
    else
        commit_follow(c, &d);
    free(data);
}

void commit_look(struct commit *c)
{
    char name[RECORD_NAME_BYTES];
    struct commit_state *s = state_of(c);

    s->is_looked_up = true;
    s->is_busy = true;
    recio_get(c->run->home->store,
              name_save(name, c->run->name, "decision", &c->id),
              RECORD_MAX_BYTES, look_done, c);
}

static void vote_done(void *arg, int result)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);

    if (!commit_resume(c, result))
        return;
    if (result < 0)
        commit_wish_home(c, result, "vote");
    if (s->wish.code == 0) {
        commit_move(c, COMMIT_VOTED);
        s->delay_ns = 0;
    }
    commit_step(c);
}

static void step_voting(struct commit *c)
{
    struct commit_state *s = state_of(c);
    struct recio_place place;
    const struct ballot *own = ballot_of(c, &commit_env(c)->local_uuid);

    if (s->wish.code != 0) {
        commit_decide(c, DECISION_ABORT);
        return;
    }
    s->has_voted = true;
    s->is_busy = true;
    place = commit_place(c, "vote", &own->daemon);
    recio_put_container(c->run->home->store, &place, own->data, own->bytes,
                        vote_done, c);
}

void commit_vote(struct commit *c, void *vote, size_t bytes)
{
    struct commit_state *s = state_of(c);

    if (c->phase != COMMIT_OPEN) {
        assert(c->phase == COMMIT_DECIDING || c->phase == COMMIT_DECIDED);
        free(vote);
        return;
    }
    if (ballot_add(c, &commit_env(c)->local_uuid, vote, bytes) < 0)
        commit_wish(c, -ENOMEM, "no memory for the vote");
    commit_move(c, COMMIT_VOTING);
    if (!s->is_busy)
        commit_step(c);
}

/*
 * What comes next.
 */

/* Only with a wish. */
static void step_intent(struct commit *c)
{
    commit_decide(c, DECISION_ABORT);
}

void commit_step(struct commit *c)
{
    static void (*const step[COMMIT_PHASES])(struct commit * c) = {
        [COMMIT_NEW] = commit_start,     [COMMIT_INTENT] = step_intent,
        [COMMIT_OPEN] = step_open,       [COMMIT_VOTING] = step_voting,
        [COMMIT_VOTED] = commit_gather,  [COMMIT_DECIDING] = commit_decide_step,
        [COMMIT_DECIDED] = decided_fire,
    };

    assert(!state_of(c)->is_busy);
    commit_env(c)->ops->timer_stop(commit_env(c), &state_of(c)->timer);
    step[c->phase](c);
}

void commit_disown(struct commit *c)
{
    if (c)
        c->events = NULL;
}

uint32_t commits_told(const struct run *run)
{
    uint32_t count = 0;

    LIST_FOR_EACH (node, &run->commits)
        count += state_of(container_of(node, struct commit, link))->is_told;
    return count;
}

bool commits_at_work(const struct run *run)
{
    LIST_FOR_EACH (node, &run->commits)
        if (state_of(container_of(node, struct commit, link))->merge)
            return true;
    return false;
}

void commit_abort(struct commit *c, int code, const char *reason)
{
    struct commit_state *s = state_of(c);

    commit_wish(c, code, "%s", reason);
    if (!s->is_busy && (c->phase == COMMIT_OPEN || c->phase == COMMIT_VOTED))
        commit_later(c, 0);
}
