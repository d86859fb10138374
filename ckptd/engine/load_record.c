/*
 * load_record.c - the outcome of a collective load, on record in the home.
 *
 * load/GEN.K is created exclusively and is the answer for the whole job: who
 * finds another's there follows it. With one daemon it is written at once. With
 * several, each writes its vote load/GEN.K.DAEMON first; whoever sees all votes
 * good, a failed one, or the deadline pass, creates the outcome.
 *
 * K. All daemons take part in the same loads of a generation, but not at the
 * same moment, so each counts its own votes: its next K is one more than the
 * last that it voted in, as the home has it. A daemon that missed an attempt
 * votes in an old one, finds its outcome on record, and catches up. Votes say
 * which save they are about; different ones in one attempt are a failure.
 *
 * Failures: the home may answer nothing or errors for a while. With one daemon
 * that fails the load; with several it is tried again until the deadline, since
 * the others may have the outcome already.
 */
#include "ckptd/engine/load_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS ((uint64_t)1000 * 1000)
#define LOOK_MS   50

/* Lives from load_record() to load_recorded(). */
struct recording {
    struct load *load;
    char name[RECORD_NAME_BYTES];
    struct record_load vote;    /* our own */
    struct record_load outcome; /* that we try to put */
    bool is_alone, has_voted;
    bool is_late, has_put_late;
    bool is_waiting;      /* for the timer */
    uint32_t next_member; /* daemon whose vote is looked for next */
    int last_error;       /* of the home */
    struct env_timer timer;
};

static void look_for_votes(struct recording *r);

bool load_is_alone(const struct load *l)
{
    return members_here(l->run) == l->run->world_size;
}

static struct store *home_of(const struct recording *r)
{
    return r->load->run->home->store;
}

static void recording_end(struct recording *r)
{
    struct load *l = r->load;

    l->recording = NULL;
    free(r);
    load_recorded(l);
}

static void fail(struct recording *r, int code)
{
    struct load *l = r->load;

    if (!l->err.code)
        (void)err_set(&l->err, code, "run %s: outcome of the load (%s): %s",
                      l->run->name, r->name, err_text(code));
    l->is_wish_failed = true;
    recording_end(r);
}

/* A wish that failed must not make others fall back: its code is then one that
 * does not. */
static void fill_vote(struct recording *r)
{
    const struct load *l = r->load;
    struct record_load *v = &r->vote;

    v->id = l->id;
    v->outcome = l->err.code ? LOAD_FAILED : LOAD_VERIFIED;
    v->code = l->err.code;
    if (l->is_wish_failed && load_is_checkpoints(v->code))
        v->code = -ECANCELED;
    v->rank_count = l->rank_count;
    (void)snprintf(v->reason, sizeof v->reason, "%s",
                   l->err.code ? l->err.text : "");
}

static void name_of(struct recording *r, const struct id128 *daemon)
{
    const struct load *l = r->load;

    (void)name_load(r->name, l->run->name, l->generation, l->record_k, daemon);
}

/*
 * The outcome.
 */

/* Follow what stands on record. */
static void follow(struct recording *r, const struct record_load *v)
{
    struct load *l = r->load;

    if (v->outcome == LOAD_VERIFIED && l->err.code) {
        l->is_wish_failed = true; /* cannot be: our vote was not good */
    } else if (v->outcome == LOAD_VERIFIED) {
        if (save_id_compare(&v->id, &l->id) != 0)
            (void)err_set(&l->err, -CKPT_ECONFLICT,
                          "other ranks have loaded step %" PRIu64
                          " (generation %u) instead of step %" PRIu64,
                          v->id.step, v->id.generation, l->id.step);
    } else {
        if (!l->err.code)
            (void)err_set(&l->err, v->code, "%s", v->reason);
        l->is_wish_failed |= !load_is_checkpoints(v->code);
    }
    recording_end(r);
}

static void put_outcome(struct recording *r, const struct record_load *v);

static void vote_late(struct recording *r)
{
    const struct members *m = &r->load->run->members;
    struct record_load v = r->vote;

    r->has_put_late = true;
    v.outcome = LOAD_FAILED;
    v.code = -ETIMEDOUT;
    (void)snprintf(v.reason, sizeof v.reason,
                   "load of step %" PRIu64 ": no vote of host %s within the "
                   "deadline",
                   r->load->id.step,
                   r->next_member < m->daemon_count
                       ? m->daemon[r->next_member].host
                       : "?");
    put_outcome(r, &v);
}

/* No rank is left to be told, and what came of it is not known here: least of
 * all that it is VERIFIED. */
static void forsaken(struct recording *r)
{
    struct load *l = r->load;

    if (!l->err.code)
        (void)err_set(&l->err, -ECONNRESET,
                      "load of step %" PRIu64 ": all its ranks here have gone",
                      l->id.step);
    l->is_wish_failed = true;
    recording_end(r);
}

static void look_again(struct env_timer *timer);

/* For others, or for a home that answers errors. */
static void wait(struct recording *r)
{
    struct env *env = r->load->engine->env;

    if (load_ranks_alive(r->load) == 0) {
        forsaken(r); /* others go by our vote */
    } else if (r->is_late && !r->has_put_late && r->load->record_k) {
        vote_late(r);
    } else if (r->is_late) {
        fail(r, r->last_error ? r->last_error : -ETIMEDOUT);
    } else {
        r->is_waiting = true;
        r->timer.fire = look_again;
        env->ops->timer_set(env, &r->timer,
                            env->ops->now_ns(env) + LOOK_MS * NS_PER_MS);
    }
}

static void outcome_read(void *arg, int64_t result, void *data)
{
    struct recording *r = arg;
    struct record_load v;
    struct err err;

    if (result < 0 && result != -ENOENT)
        r->last_error = (int)result;
    if (result >= 0 && record_load_decode(data, (size_t)result, &v, &err))
        fail(r, err.code);
    else if (result >= 0)
        follow(r, &v);
    else if (r->is_alone)
        fail(r, r->last_error);
    else
        wait(r);
    free(data);
}

static void read_outcome(struct recording *r)
{
    name_of(r, NULL);
    recio_get(home_of(r), r->name, RECORD_MAX_BYTES, outcome_read, r);
}

/* Whatever went wrong: what stands there counts. */
static void outcome_put(void *arg, int result)
{
    struct recording *r = arg;

    if (result == 0) {
        follow(r, &r->outcome);
        return;
    }
    r->last_error = result;
    read_outcome(r);
}

static void put_outcome(struct recording *r, const struct record_load *v)
{
    struct wr w = {0};

    r->outcome = *v;
    name_of(r, NULL);
    record_load_encode(v, &w);
    recio_put(home_of(r), r->name, &w, outcome_put, r);
}

/*
 * Several daemons.
 */

static void vote_read(void *arg, int64_t result, void *data)
{
    struct recording *r = arg;
    struct record_load v;
    struct err err;
    int rc = 0;

    if (result >= 0)
        rc = record_load_decode(data, (size_t)result, &v, &err);
    free(data);
    if (result < 0) {
        if (result != -ENOENT)
            r->last_error = (int)result;
        read_outcome(r); /* somebody may have given up on it */
        return;
    }
    if (!rc && v.outcome == LOAD_VERIFIED &&
        save_id_compare(&v.id, &r->load->id) == 0) {
        r->next_member++;
        look_for_votes(r);
        return;
    }
    if (rc || v.outcome == LOAD_VERIFIED) {
        v = r->vote;
        v.outcome = LOAD_FAILED;
        v.code = rc ? rc : -CKPT_ECONFLICT;
        (void)snprintf(v.reason, sizeof v.reason, "%s",
                       rc ? err.text : "daemons have loaded different saves");
        if (load_is_checkpoints(v.code))
            v.code = -EBADMSG; /* a damaged vote says nothing of the save */
    }
    put_outcome(r, &v);
}

static void look_for_votes(struct recording *r)
{
    struct load *l = r->load;
    const struct members *m = &l->run->members;

    if (l->generation != l->run->generation) {
        fail(r, -ESTALE);
        return;
    }
    if (r->next_member < m->daemon_count &&
        id_equal(&m->daemon[r->next_member].daemon,
                 &l->engine->env->local_uuid))
        r->next_member++;
    if (r->next_member == m->daemon_count) { /* all have voted */
        put_outcome(r, &r->vote);
        return;
    }
    name_of(r, &m->daemon[r->next_member].daemon);
    recio_get(home_of(r), r->name, RECORD_MAX_BYTES, vote_read, r);
}

static void after_vote(struct recording *r)
{
    if (r->vote.outcome == LOAD_FAILED)
        put_outcome(r, &r->vote);
    else
        look_for_votes(r);
}

static void vote_put(void *arg, int result)
{
    struct recording *r = arg;

    r->has_voted = result == 0 || result == -EEXIST;
    if (r->has_voted) {
        after_vote(r);
        return;
    }
    r->last_error = result;
    wait(r);
}

static void listed(void *arg, int result, struct store_names *names);

static void record(struct recording *r)
{
    struct load *l = r->load;
    struct wr w = {0};

    if (!l->record_k) {
        recio_list(home_of(r), name_run(r->name, l->run->name, "load"), listed,
                   r);
        return;
    }
    if (r->is_alone) {
        put_outcome(r, &r->vote);
        return;
    }
    if (r->has_voted) {
        after_vote(r);
        return;
    }
    name_of(r, &l->engine->env->local_uuid);
    record_load_encode(&r->vote, &w);
    recio_put(home_of(r), r->name, &w, vote_put, r);
}

static void look_again(struct env_timer *timer)
{
    struct recording *r = container_of(timer, struct recording, timer);

    r->is_waiting = false;
    record(r);
}

static void stop_waiting(struct recording *r)
{
    struct env *env = r->load->engine->env;

    env->ops->timer_stop(env, &r->timer);
    r->is_waiting = false;
}

void load_record_late(struct load *l)
{
    struct recording *r = l->recording;

    r->is_late = true;
    if (!r->is_waiting)
        return; /* the request under way comes back to it */
    stop_waiting(r);
    wait(r);
}

void load_record_poke(struct load *l)
{
    struct recording *r = l->recording;

    if (!r || !r->is_waiting || load_ranks_alive(l) > 0)
        return;
    stop_waiting(r);
    forsaken(r);
}

/*
 * Beginning.
 */

/* "GEN.K" is an outcome, "GEN.K.DAEMON" a vote; the one that counts here. */
static bool parse_name(const struct recording *r, const char *name, uint32_t *k)
{
    const struct load *l = r->load;
    char own[ID_TEXT_BYTES + 1] = "", *rest;
    unsigned long generation = strtoul(name, &rest, 10);
    unsigned long number;

    if (generation != l->generation || *rest != '.')
        return false;
    number = strtoul(rest + 1, &rest, 10);
    if (number == 0 || number >= UINT32_MAX)
        return false;
    *k = (uint32_t)number;
    if (!r->is_alone) {
        own[0] = '.';
        (void)id_format(&l->engine->env->local_uuid, own + 1);
    }
    return strcmp(rest, own) == 0;
}

static void listed(void *arg, int result, struct store_names *names)
{
    struct recording *r = arg;
    struct load *l = r->load;
    uint32_t k;

    if (result < 0) {
        r->last_error = result;
        if (r->is_alone)
            fail(r, result);
        else
            wait(r);
        return;
    }
    l->record_k = 1;
    for (size_t i = 0; i < names->count; i++)
        if (parse_name(r, names->name[i], &k) && k >= l->record_k)
            l->record_k = k + 1;
    record(r);
}

void load_record(struct load *l)
{
    struct recording *r = calloc(1, sizeof *r);

    assert(!l->recording);
    if (!r) {
        if (!l->err.code)
            (void)err_set(&l->err, -ENOMEM, "no memory to record a load");
        l->is_wish_failed = true;
        load_recorded(l);
        return;
    }
    l->recording = r;
    r->load = l;
    r->is_alone = load_is_alone(l);
    fill_vote(r);
    load_progress(l);
    if (l->record_k)
        l->record_k++;
    record(r);
}
