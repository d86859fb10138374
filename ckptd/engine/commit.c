/*
 * commit.c - the life of a commit up to its vote, and its events.
 *
 *   NEW      RUN is looked for: what is saved into a run that was removed
 *            under its job nobody finds. The attempt is settled: from the
 *            catalog when this daemon is the only member, else decisions are
 *            read afresh
 *   INTENT   intent/SAVE.DAEMON is created, then closed/GENERATION looked for
 *   OPEN     the owner captures; an ABORT by others is looked for with back-off
 *   VOTING   the vote is being written
 *   VOTED    commit_gather.c
 *   DECIDING commit_decide.c
 *   DECIDED  the event, from the timer, and the end
 *
 * A failure before the decision becomes the wish for ABORT, and ABORT is
 * created like any decision. A commit that was refused (a conflict of steps)
 * leaves no record. When the engine closes, what ends with -ECANCELED goes no
 * further, and homes_close() frees it.
 */
#include "ckptd/engine/commit_internal.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SETTLE_TRIES 5

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
 * NEW.
 */

/* The highest step that this generation knows of, and whether there is one. */
static bool highest_step(const struct commit *c, uint64_t *step)
{
    const struct catalog *all = &c->run->catalog;
    bool found = false;

    for (size_t i = 0; i < all->save_count; i++) {
        if (all->save[i].id.generation != c->id.generation)
            continue;
        *step =
            found ? max_u64(*step, all->save[i].id.step) : all->save[i].id.step;
        found = true;
    }
    LIST_FOR_EACH (node, &c->run->commits) {
        const struct commit *other = container_of(node, struct commit, link);

        if (other == c || other->id.generation != c->id.generation)
            continue;
        *step = found ? max_u64(*step, other->id.step) : other->id.step;
        found = true;
    }
    return found;
}

void commit_refuse_committed(struct commit *c)
{
    commit_refuse(c, -CKPT_ECONFLICT,
                  "%s@%" PRIu64 " is committed already in generation %" PRIu32
                  "; to save it again, start the job anew from an older step",
                  c->run->name, c->id.step, c->id.generation);
}

/* The attempt as far as this daemon knows; false: refused. */
static bool attempt_choose(struct commit *c)
{
    const struct catalog *all = &c->run->catalog;
    struct save_id *begun = &c->run->begun;
    struct save_id done;
    uint64_t highest;

    done = catalog_at_step(all, c->id.step, c->id.generation);
    if (done.generation != 0) {
        commit_refuse_committed(c);
        return false;
    }
    highest = state_of(c)->highest_step;
    if (c->id.step < highest) {
        commit_refuse(c, -CKPT_ECONFLICT,
                      "%s@%" PRIu64 " comes after step %" PRIu64
                      " of generation %" PRIu32
                      ": steps never decrease within a generation",
                      c->run->name, c->id.step, highest, c->id.generation);
        return false;
    }
    LIST_FOR_EACH (node, &c->run->commits) {
        const struct commit *o = container_of(node, struct commit, link);

        if (o == c || o->id.generation != c->id.generation ||
            o->id.step != c->id.step || o->id.attempt == 0 ||
            state_of(o)->is_told)
            continue;
        commit_refuse(c, -CKPT_ECONFLICT,
                      "%s@%" PRIu64 " is being saved already in generation "
                      "%" PRIu32,
                      c->run->name, c->id.step, c->id.generation);
        return false;
    }
    c->id.attempt = 1;
    if (begun->generation == c->id.generation && begun->step == c->id.step)
        c->id.attempt = begun->attempt + 1;
    if (commit_is_alone(c)) /* what was aborted before it was so */
        c->id.attempt = (uint32_t)max_u64(
            c->id.attempt,
            catalog_next_attempt(all, c->id.generation, c->id.step));
    if (c->id.attempt > SAVE_ATTEMPT_MAX) {
        commit_refuse(c, -EOVERFLOW,
                      "%s@%" PRIu64 " was aborted %d times in generation "
                      "%" PRIu32 ", and has no name left; save another step",
                      c->run->name, c->id.step, SAVE_ATTEMPT_MAX,
                      c->id.generation);
        return false;
    }
    if (save_id_compare(&c->id, begun) > 0)
        *begun = c->id;
    return true;
}

static void intent_put(struct commit *c);

/* Is a record there? */
struct record_look {
    struct store_req req;
    struct commit *c;
    char name[RECORD_NAME_BYTES];
};

/* NULL, and a wish, without memory; then the caller fills in the name. */
static struct record_look *look_new(struct commit *c)
{
    struct record_look *l = calloc(1, sizeof *l);

    if (!l) {
        commit_wish(c, -ENOMEM, "no memory to begin the save");
        return NULL;
    }
    l->c = c;
    l->req.op = STORE_STAT;
    l->req.name = l->name;
    l->req.owner = l;
    return l;
}

static void look_submit(struct record_look *l,
                        void (*done)(struct store_req *req, int64_t result))
{
    l->req.done = done;
    state_of(l->c)->is_busy = true;
    store_submit(l->c->run->home->store, &l->req);
}

/* Whether this attempt was decided already by others. */
static void attempt_done(void *arg, int64_t result, void *data)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);
    struct record_decision d;
    struct err err;
    int rc = result < 0 ? (int)result : 0;

    if (!commit_resume(c, result)) {
        free(data);
        return;
    }
    if (rc == 0)
        rc = record_decision_decode(data, (size_t)result, &d, &err);
    else
        (void)err_set(&err, rc, "%s", err_text(rc));
    if (rc == -ENOENT)
        intent_put(c);
    else if (rc == 0 && d.decision == DECISION_COMMIT)
        commit_refuse_committed(c);
    else if (rc == 0)
        commit_follow(c, &d);
    else if (s->tries++ < SETTLE_TRIES)
        commit_later(c, back_off(&s->delay_ns));
    else { /* the other members must not wait for a vote that never comes */
        commit_wish(c, rc,
                    "host %s cannot read whether it was aborted already: %s",
                    commit_env(c)->host, err.text);
        commit_decide(c, DECISION_ABORT);
    }
    free(data);
}

static void run_looked(struct store_req *req, int64_t result)
{
    struct record_look *l = req->owner;
    struct commit *c = l->c;
    char name[RECORD_NAME_BYTES];

    free(l);
    if (!commit_resume(c, result))
        return;
    if (result == -ENOENT) {
        commit_refuse(c, -ENOENT,
                      "run %s: its record runs/%s/RUN is gone: it was removed "
                      "under the job, and nobody would find what is saved. Put "
                      "it back, or end the job and its daemon",
                      c->run->name, c->run->name);
        return;
    }
    if (commit_is_alone(c)) {
        intent_put(c);
        return;
    }
    state_of(c)->is_busy = true;
    recio_get(c->run->home->store,
              name_save(name, c->run->name, "decision", &c->id),
              RECORD_MAX_BYTES, attempt_done, c);
}

static void step_new(struct commit *c)
{
    struct record_look *l;

    if (c->id.attempt == 0 && !attempt_choose(c))
        return;
    l = look_new(c);
    if (!l) {
        intent_put(c);
        return;
    }
    (void)name_run(l->name, c->run->name, "RUN");
    look_submit(l, run_looked);
}

/*
 * INTENT.
 */

static void closed_done(struct store_req *req, int64_t result)
{
    struct record_look *l = req->owner;
    struct commit *c = l->c;
    struct commit_state *s = state_of(c);

    free(l);
    if (!commit_resume(c, result))
        return;
    if (result < 0 && result != -ENOENT)
        commit_wish(c, (int)result,
                    "whether generation %" PRIu32
                    " was closed cannot be read: %s",
                    c->id.generation, err_text((int)result));
    else if (result >= 0 && !is_left_out("look for a closed generation"))
        commit_wish(c, -ESTALE,
                    "generation %" PRIu32
                    " was closed: the job was started anew",
                    c->id.generation);
    if (s->wish.code == 0) {
        commit_move(c, COMMIT_OPEN);
        s->delay_ns = 0;
        if (c->events)
            c->events->opened(c->arg, c);
    }
    if (!s->is_busy)
        commit_step(c);
}

static void closed_look(struct commit *c)
{
    struct record_look *l = look_new(c);

    if (!l) {
        commit_step(c);
        return;
    }
    (void)name_gen(l->name, c->run->name, "closed", c->id.generation);
    look_submit(l, closed_done);
}

static void intent_done(void *arg, int result)
{
    struct commit *c = arg;
    struct catalog_save save = {.id = c->id, .status = SAVE_UNDECIDED};

    if (!commit_resume(c, result))
        return;
    /* -EEXIST: written in an earlier life of this daemon, after recovery had
     * looked. It is durable, and no vote follows from that life. */
    if (result < 0 && result != -EEXIST)
        commit_wish(c, result, "intent: %s", err_text(result));
    else if (catalog_note_save(&c->run->catalog, &save, "") < 0)
        commit_wish(c, -ENOMEM, "no memory to begin the save");
    if (state_of(c)->wish.code != 0)
        commit_step(c);
    else
        closed_look(c);
}

static void intent_put(struct commit *c)
{
    char name[RECORD_NAME_BYTES];
    struct record_mark mark;
    struct wr w = {0};

    if (state_of(c)->wish.code != 0) { /* given up before it began */
        commit_decide(c, DECISION_ABORT);
        return;
    }
    mark_fill(commit_env(c), &mark, &c->id);
    record_mark_encode(RECORD_INTENT, &mark, &w);
    commit_move(c, COMMIT_INTENT);
    state_of(c)->is_busy = true;
    recio_put(c->run->home->store,
              name_save_daemon(name, c->run->name, "intent", &c->id,
                               &commit_env(c)->local_uuid),
              &w, intent_done, c);
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
    if (c->phase == COMMIT_VOTED && result == -ENOENT)
        commit_look_for_tomb(c);
    else if (c->phase == COMMIT_VOTING || result < 0 ||
             record_decision_decode(data, (size_t)result, &d, &err) < 0 ||
             save_id_compare(&d.id, &c->id) != 0)
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
        commit_wish(c, result, "vote of host %s: %s", commit_env(c)->host,
                    err_text(result));
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
        [COMMIT_NEW] = step_new,         [COMMIT_INTENT] = step_intent,
        [COMMIT_OPEN] = step_open,       [COMMIT_VOTING] = step_voting,
        [COMMIT_VOTED] = commit_gather,  [COMMIT_DECIDING] = commit_decide_step,
        [COMMIT_DECIDED] = decided_fire,
    };

    assert(!state_of(c)->is_busy);
    commit_env(c)->ops->timer_stop(commit_env(c), &state_of(c)->timer);
    step[c->phase](c);
}

struct commit *commit_begin(struct run *run, uint64_t step,
                            const struct commit_events *events, void *arg)
{
    struct save_id id = {.generation = run->generation, .step = step};
    struct commit *c = commit_new(run, &id);
    uint64_t highest = 0;

    if (!c)
        return NULL;
    c->events = events;
    c->arg = arg;
    if (highest_step(c, &highest))
        state_of(c)->highest_step = highest;
    state_of(c)->deadline_ns =
        env_now(commit_env(c)) +
        decide_timeout(run->decide_timeout_ms) * NS_PER_MS;
    commit_later(c, 0);
    return c;
}

void commit_disown(struct commit *c)
{
    if (c)
        c->events = NULL;
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
