/*
 * commit_gather.c - VOTED: until the votes of all members are here.
 *
 * Rounds: read the members if they are not all known, then the vote of each
 * that is missing, by its name. When all are there the save is LOCAL, and the
 * committer, hash(save) mod members, decides; the others look for the decision
 * and step in after a jittered delay, longer for those further away. With one
 * daemon all this is over before anything is read.
 *
 * A vote that does not decode, or is another's, can never make a checkpoint:
 * ABORT; nor can an own one, read in recovery, whose segments are gone. One
 * that cannot be read now is read again. At the deadline ABORT names who has
 * not voted.
 */
#include "ckptd/engine/commit_internal.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP_IN_MS 1000

struct ballot *ballot_of(const struct commit *c, const struct id128 *daemon)
{
    struct commit_state *s = state_of(c);

    for (uint32_t i = 0; i < s->ballot_count; i++) {
        if (id_equal(&s->ballot[i].daemon, daemon))
            return &s->ballot[i];
    }
    return NULL;
}

int ballot_add(struct commit *c, const struct id128 *daemon, void *data,
               size_t bytes)
{
    struct commit_state *s = state_of(c);
    struct ballot *grown =
        realloc(s->ballot, (s->ballot_count + 1) * sizeof *grown);

    if (!grown) {
        free(data);
        return -ENOMEM;
    }
    s->ballot = grown;
    s->ballot[s->ballot_count++] =
        (struct ballot){.daemon = *daemon, .data = data, .bytes = bytes};
    return 0;
}

int ballot_open(const struct commit *c, const struct ballot *b,
                struct manifest *m, struct err *err)
{
    int rc = manifest_open(b->data, b->bytes, m, err);

    if (rc < 0)
        return rc;
    if (m->info.kind != MANIFEST_VOTE ||
        !id_equal(&m->info.run, &c->run->catalog.uuid) ||
        !id_equal(&m->info.daemon, &b->daemon) ||
        save_id_compare(&m->info.id, &c->id) != 0)
        return err_set(err, -CKPT_ECORRUPT,
                       "it is not this daemon's vote on this save");
    return 0;
}

/* Recovery waits for what became of the own vote. */
static void tell_settled(struct commit *c, int result, const struct err *err)
{
    struct commit_state *s = state_of(c);
    void (*settled)(void *, int, const struct err *) = s->settled;

    s->settled = NULL;
    if (settled)
        settled(s->settled_arg, result, err);
}

/*
 * The end of a round.
 */

/* When this daemon may decide; at once for the committer. */
static uint64_t step_in_time(const struct commit *c)
{
    const struct members *m = commit_members(c);
    struct env *env = commit_env(c);
    uint8_t id[16];
    uint32_t first, mine = 0, distance;
    uint64_t jitter;

    put_u32(id, c->id.generation);
    put_u32(id + 4, c->id.attempt);
    put_u64(id + 8, c->id.step);
    first = (uint32_t)(hash_64(id, sizeof id) % m->daemon_count);
    while (mine < m->daemon_count &&
           !id_equal(&m->daemon[mine].daemon, &env->local_uuid))
        mine++;
    distance = (mine + m->daemon_count - first) % m->daemon_count;
    if (distance == 0)
        return env_now(env);
    env->ops->random(env, &jitter, sizeof jitter);
    return env_now(env) +
           (distance * (uint64_t)STEP_IN_MS + jitter % STEP_IN_MS) * NS_PER_MS;
}

/* The pool keeps what the own vote, read in recovery, names. If that is gone,
 * ABORT is wished; 0 or a failure that leaves it unknown what is kept. */
static int own_keep(struct commit *c, const struct manifest *m, struct err *err)
{
    struct run *run = c->run;
    int rc =
        segpool_commit(run->home->engine->pool, &run->catalog.uuid, m, err);

    if (is_left_out("look for the segments of a vote"))
        rc = 0;
    state_of(c)->is_unjudged = rc == SEGPOOL_UNJUDGED;
    if (!segpool_has_lost(rc))
        return rc < 0 ? rc : 0;
    commit_wish(c, rc, "host %s: %.500s", commit_env(c)->host, err->text);
    return 0;
}

/* A segment of the own vote was locked by a dead writer: what is it? True: not
 * to be decided now. */
static bool is_unjudged(struct commit *c)
{
    struct commit_state *s = state_of(c);
    struct manifest m;
    struct err err;
    int rc;

    if (!s->is_unjudged)
        return false;
    rc = ballot_open(c, ballot_of(c, &commit_env(c)->local_uuid), &m, &err);
    assert(rc == 0); /* as when it was read */
    if (own_keep(c, &m, &err) < 0)
        s->is_unjudged = true; /* no memory to tell */
    if (s->wish.code != 0)
        commit_later(c, 0);
    else if (s->is_unjudged)
        commit_later(c, back_off(&s->delay_ns));
    else
        return false;
    return true;
}

static void all_voted(struct commit *c)
{
    struct commit_state *s = state_of(c);
    uint64_t now = env_now(commit_env(c));

    if (!s->is_local) {
        s->is_local = true;
        s->step_in_ns = step_in_time(c);
        if (c->events)
            c->events->local(c->arg, c);
        if (s->wish.code != 0) { /* the owner gave it up just now */
            commit_step(c);
            return;
        }
    }
    if (now >= s->step_in_ns) {
        if (!is_unjudged(c))
            commit_decide(c, DECISION_COMMIT);
        return;
    }
    if (!s->is_looked_up) {
        commit_look(c);
        return;
    }
    s->is_looked_up = false;
    commit_later(c, min_u64(back_off(&s->delay_ns), s->step_in_ns - now));
}

/* The first member whose vote is missing. */
static const struct member_daemon *missing(const struct commit *c)
{
    const struct members *m = commit_members(c);

    for (uint32_t i = 0; i < m->daemon_count; i++) {
        if (!ballot_of(c, &m->daemon[i].daemon))
            return &m->daemon[i];
    }
    return NULL;
}

void commit_wish_overdue(struct commit *c)
{
    const struct members *m = commit_members(c);
    const struct member_daemon *d = missing(c);
    uint32_t ms = decide_timeout(c->run->decide_timeout_ms);
    struct commit_state *s = state_of(c);
    char text[400];

    if (c->phase == COMMIT_OPEN) {
        commit_wish(c, -ETIMEDOUT,
                    "host %s had not staged it %" PRIu32 " ms after it began",
                    commit_env(c)->host, ms);
        return;
    }
    if (!members_are_complete(m)) {
        commit_wish(c, -ETIMEDOUT,
                    "%" PRIu32 " of %" PRIu32 " ranks had joined generation "
                    "%" PRIu32 " at the decide deadline of %" PRIu32 " ms",
                    m->member_count, m->world_size, c->id.generation, ms);
        return;
    }
    if (!d) {
        commit_wish(c, -ETIMEDOUT, "it was not decided within %" PRIu32 " ms",
                    ms);
        return;
    }
    daemon_text(m, &d->daemon, text, sizeof text);
    commit_wish(c, -ETIMEDOUT, "%s had not voted within %" PRIu32 " ms%s%s",
                text, ms, s->last.code ? ": " : "", s->last.text);
}

static void round_end(struct commit *c)
{
    struct commit_state *s = state_of(c);
    const struct members *m = commit_members(c);
    uint64_t now = env_now(commit_env(c));

    s->cursor = 0;
    if (members_are_complete(m) &&
        (!missing(c) || is_left_out("votes of all members"))) {
        all_voted(c);
        return;
    }
    if (!s->is_looked_up) {
        commit_look(c);
        return;
    }
    s->is_looked_up = false;
    commit_later(c, min_u64(back_off(&s->delay_ns), s->deadline_ns - now));
}

/*
 * A round.
 */

/* A vote is here: is it good? An own one that is read in recovery names the
 * segments that must be kept. */
static void ballot_check(struct commit *c, const struct ballot *b)
{
    bool own = id_equal(&b->daemon, &commit_env(c)->local_uuid);
    struct manifest m;
    struct err err;
    char text[400];
    int rc = ballot_open(c, b, &m, &err);

    if (rc < 0) {
        daemon_text(commit_members(c), &b->daemon, text, sizeof text);
        commit_wish(c, rc, "vote of %s: %.500s", text, err.text);
    } else if (own) {
        rc = own_keep(c, &m, &err);
    }
    if (own)
        tell_settled(c, rc, &err);
}

/* Only in recovery: else the own vote never left the memory. */
static void own_ballot_done(void *arg, int64_t result, void *data)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);
    const struct id128 *own = &commit_env(c)->local_uuid;
    struct err err;

    if (!commit_resume(c, result)) {
        free(data);
        return;
    }
    if (result >= 0 && ballot_add(c, own, data, (size_t)result) < 0)
        result = -ENOMEM;
    if (result >= 0) {
        ballot_check(c, ballot_of(c, own));
        commit_step(c);
        return;
    }
    (void)err_set(&err, (int)result, "own vote: %s", err_text((int)result));
    if (result == -ENOENT)
        commit_wish(c, -CKPT_EABORTED,
                    "host %s was restarted before it had voted",
                    commit_env(c)->host);
    else if (result == -CKPT_ECORRUPT)
        commit_wish(c, (int)result, "vote of host %s: %s", commit_env(c)->host,
                    err_text((int)result));
    commit_later(c, s->wish.code != 0 ? 0 : back_off(&s->delay_ns));
    tell_settled(c, result == -ENOENT ? 0 : (int)result, &err);
}

static void ballot_done(void *arg, int64_t result, void *data)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);
    const struct members *m = commit_members(c);
    struct id128 daemon;
    char text[400];

    if (!commit_resume(c, result)) {
        free(data);
        return;
    }
    if (s->cursor >= m->daemon_count) { /* its members were read anew */
        free(data);
        round_end(c);
        return;
    }
    daemon = m->daemon[s->cursor++].daemon;
    if (result >= 0 && ballot_add(c, &daemon, data, (size_t)result) < 0)
        result = -ENOMEM;
    if (result >= 0) {
        s->last = (struct err){0};
        ballot_check(c, ballot_of(c, &daemon));
    } else if (result == -CKPT_ECORRUPT) {
        daemon_text(m, &daemon, text, sizeof text);
        commit_wish(c, (int)result, "vote of %s: %s", text,
                    err_text((int)result));
    } else if (result != -ENOENT) {
        (void)err_set(&s->last, (int)result, "%s", err_text((int)result));
    }
    commit_step(c);
}

static void ballot_read(struct commit *c, const struct id128 *daemon,
                        recio_get_fn done)
{
    struct recio_place place = commit_place(c, "vote", daemon);

    state_of(c)->is_busy = true;
    recio_get_container(c->run->home->store, &place, done, c);
}

static void members_done(void *arg, int result)
{
    struct commit *c = arg;
    const struct members *m = commit_members(c);

    if (!commit_resume(c, result))
        return;
    if (m->conflict.code != 0)
        commit_wish(c, m->conflict.code, "%s", m->conflict.text);
    if (state_of(c)->wish.code == 0 && members_are_complete(m))
        commit_gather(c);
    else if (state_of(c)->wish.code == 0)
        round_end(c);
    else
        commit_step(c);
}

/* Of an older generation than the run's, members are kept with the commit. */
static void members_need(struct commit *c)
{
    struct members *m = commit_members(c);
    const struct catalog_generation *g =
        catalog_generation_at(&c->run->catalog, c->id.generation);

    assert(g); /* nothing is begun, or recovered, in an unknown one */
    if (m->generation == 0)
        members_init(m, c->id.generation, g->record.world_size);
    state_of(c)->is_busy = true;
    members_read(c->run, m, members_done, c);
}

void commit_gather(struct commit *c)
{
    struct commit_state *s = state_of(c);
    const struct members *m = commit_members(c);

    if (s->wish.code == 0 && commit_is_overdue(c))
        commit_wish_overdue(c);
    if (s->wish.code != 0) {
        commit_decide(c, DECISION_ABORT);
        return;
    }
    if (s->is_looked_up) { /* just looked: no decision yet */
        round_end(c);
        return;
    }
    if (!ballot_of(c, &commit_env(c)->local_uuid)) {
        ballot_read(c, &commit_env(c)->local_uuid, own_ballot_done);
        return;
    }
    if (!members_are_complete(m)) {
        members_need(c);
        return;
    }
    while (s->cursor < m->daemon_count &&
           ballot_of(c, &m->daemon[s->cursor].daemon))
        s->cursor++;
    if (s->cursor < m->daemon_count)
        ballot_read(c, &m->daemon[s->cursor].daemon, ballot_done);
    else
        round_end(c);
}
