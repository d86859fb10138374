/*
 * load_record.c - the outcome of a collective load, on record in the home.
 *
 * load/GEN.K is created exclusively and is the answer for the whole job. With
 * one daemon it is written at once. With several, each writes its vote
 * load/GEN.K.DAEMON first; whoever sees all votes, or a failed one, creates the
 * outcome; the others find it. K counts up over the generation's life; which K
 * is next is read from the home once per load.
 */
#include "ckptd/engine/load_internal.h"

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
    uint32_t next_member; /* daemon whose vote is looked for next */
    struct record_load worst;
    struct env_timer timer;
};

static void look_for_outcome(struct recording *r);

static struct store *home_of(const struct recording *r)
{
    return r->load->run->home->store;
}

static void recording_end(struct recording *r)
{
    struct load *l = r->load;

    free(r);
    load_recorded(l);
}

static void fail(struct recording *r, int code, const char *what)
{
    struct load *l = r->load;

    if (!l->err.code)
        (void)err_set(&l->err, code, "run %s: %s %s: %s", l->run->name, what,
                      r->name, err_text(code));
    l->is_wish_failed = true;
    recording_end(r);
}

static struct record_load own_vote(const struct load *l)
{
    struct record_load v = {.id = l->id,
                            .outcome =
                                l->err.code ? LOAD_FAILED : LOAD_VERIFIED,
                            .code = l->err.code,
                            .rank_count = l->rank_count};

    (void)snprintf(v.reason, sizeof v.reason, "%s", l->err.text);
    return v;
}

static void outcome_name(struct recording *r)
{
    struct load *l = r->load;

    (void)name_load(r->name, l->run->name, l->generation, l->record_k, NULL);
}

/* Follow what stands on record. */
static void outcome_read(void *arg, int64_t result, void *data)
{
    struct recording *r = arg;
    struct load *l = r->load;
    struct record_load v;
    struct err err;

    if (result == -ENOENT) {
        free(data);
        look_for_outcome(r);
        return;
    }
    if (result < 0) {
        fail(r, (int)result, "cannot read");
        return;
    }
    if (record_load_decode(data, (size_t)result, &v, &err))
        fail(r, err.code, "damaged outcome");
    else if (save_id_compare(&v.id, &l->id) != 0)
        fail(r, -CKPT_ECONFLICT, "another save was loaded by other ranks");
    else {
        if (v.outcome == LOAD_FAILED && !l->err.code)
            (void)err_set(&l->err, v.code, "%s", v.reason);
        recording_end(r);
    }
    free(data);
}

static void outcome_put(void *arg, int result)
{
    struct recording *r = arg;

    if (result == 0)
        recording_end(r);
    else if (result == -EEXIST)
        recio_get(home_of(r), r->name, RECORD_MAX_BYTES, outcome_read, r);
    else
        fail(r, result, "cannot write");
}

static void put_outcome(struct recording *r, const struct record_load *v)
{
    struct wr w = {0};

    outcome_name(r);
    record_load_encode(v, &w);
    if (v->outcome == LOAD_FAILED && !r->load->err.code)
        (void)err_set(&r->load->err, v->code, "%s", v->reason);
    recio_put(home_of(r), r->name, &w, outcome_put, r);
}

/*
 * Several daemons.
 */

static void look_again(struct env_timer *timer)
{
    struct recording *r = container_of(timer, struct recording, timer);

    outcome_name(r);
    recio_get(home_of(r), r->name, RECORD_MAX_BYTES, outcome_read, r);
}

static void vote_read(void *arg, int64_t result, void *data)
{
    struct recording *r = arg;
    struct env *env = r->load->engine->env;
    struct record_load v;
    struct err err;

    if (result >= 0 &&
        record_load_decode(data, (size_t)result, &v, &err) == 0) {
        if (v.outcome == LOAD_FAILED)
            r->worst = v;
    }
    free(data);
    if (r->worst.outcome == LOAD_FAILED)
        put_outcome(r, &r->worst);
    else if (result >= 0)
        look_for_outcome(r); /* the next daemon's */
    else {
        r->next_member = 0;
        r->timer.fire = look_again;
        env->ops->timer_set(env, &r->timer,
                            env->ops->now_ns(env) + LOOK_MS * NS_PER_MS);
    }
}

static void look_for_outcome(struct recording *r)
{
    struct load *l = r->load;
    const struct members *m = &l->run->members;
    struct record_load v = own_vote(l);

    if (r->next_member == m->daemon_count) { /* all have voted */
        put_outcome(r, &v);
        return;
    }
    (void)name_load(r->name, l->run->name, l->generation, l->record_k,
                    &m->daemon[r->next_member++].daemon);
    recio_get(home_of(r), r->name, RECORD_MAX_BYTES, vote_read, r);
}

static void vote_put(void *arg, int result)
{
    struct recording *r = arg;

    if (result && result != -EEXIST) {
        fail(r, result, "cannot write");
        return;
    }
    r->next_member = 0;
    look_for_outcome(r);
}

static bool is_alone(const struct run *run)
{
    return members_here(run) == run->world_size;
}

static void record(struct recording *r)
{
    struct load *l = r->load;
    struct record_load v = own_vote(l);
    struct wr w = {0};

    if (is_alone(l->run)) {
        put_outcome(r, &v);
        return;
    }
    (void)name_load(r->name, l->run->name, l->generation, l->record_k,
                    &l->engine->env->local_uuid);
    record_load_encode(&v, &w);
    recio_put(home_of(r), r->name, &w, vote_put, r);
}

/* "GEN.K" is an outcome, "GEN.K.DAEMON" a vote; the one that counts here. */
static bool parse_name(const struct load *l, const char *name, uint32_t *k)
{
    char own[ID_TEXT_BYTES + 1] = "", *rest;
    unsigned long generation = strtoul(name, &rest, 10);
    unsigned long number;

    if (generation != l->generation || *rest != '.')
        return false;
    number = strtoul(rest + 1, &rest, 10);
    if (number == 0 || number >= UINT32_MAX)
        return false;
    *k = (uint32_t)number;
    if (!is_alone(l->run)) {
        own[0] = '.';
        (void)id_format(&l->engine->env->local_uuid, own + 1);
    }
    return strcmp(rest, own) == 0;
}

/* K: behind what is on record of this generation. With one daemon those are
 * outcomes; with several it counts its own votes, since all daemons take part
 * in the same loads, but not at the same moment. */
static void listed(void *arg, int result, struct store_names *names)
{
    struct recording *r = arg;
    struct load *l = r->load;
    uint32_t k;

    if (result < 0) {
        fail(r, result, "cannot list");
        return;
    }
    l->record_k = 1;
    for (size_t i = 0; i < names->count; i++)
        if (parse_name(l, names->name[i], &k) && k >= l->record_k)
            l->record_k = k + 1;
    record(r);
}

void load_record(struct load *l)
{
    struct recording *r = calloc(1, sizeof *r);

    if (!r) {
        if (!l->err.code)
            (void)err_set(&l->err, -ENOMEM, "no memory to record a load");
        l->is_wish_failed = true;
        load_recorded(l);
        return;
    }
    r->load = l;
    if (l->record_k) {
        l->record_k++;
        record(r);
        return;
    }
    recio_list(home_of(r), name_run(r->name, l->run->name, "load"), listed, r);
}
