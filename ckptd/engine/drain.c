/*
 * drain.c - see drain.h: which checkpoint, and the way of one.
 *
 * A look when something was committed or is over, and then once a second while
 * there is what waits for its time, or for others.
 */
#include "ckptd/engine/drain_internal.h"

#include "ckptd/engine/await.h"
#include "ckptd/engine/home_internal.h"
#include "ckptd/engine/retain.h"
#include "formats/tier.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define LOOK_NS ((uint64_t)1000 * 1000 * 1000)
/* After a failure, twice as long after each more; and before others are asked
 * once more. */
#define AGAIN_S       2u
#define AGAIN_DOUBLED 5 /* times at most */
/* Bytes a second while a save, a load or retention is at work. */
#define BESIDE_BYTES_S 256e6

static const bool allowed[DRAIN_PHASES][DRAIN_PHASES] = {
    [DRAIN_IDLE] = {[DRAIN_FETCHING] = true},
    [DRAIN_FETCHING] =
        {[DRAIN_BUILDING] = true, [DRAIN_LOOKING] = true, [DRAIN_IDLE] = true},
    [DRAIN_BUILDING] =
        {[DRAIN_WRITING] = true, [DRAIN_LOOKING] = true, [DRAIN_IDLE] = true},
    [DRAIN_WRITING] = {[DRAIN_TABLE] = true, [DRAIN_IDLE] = true},
    [DRAIN_TABLE] = {[DRAIN_LOOKING] = true, [DRAIN_IDLE] = true},
    [DRAIN_LOOKING] = {[DRAIN_MARKING] = true, [DRAIN_IDLE] = true},
    [DRAIN_MARKING] = {[DRAIN_IDLE] = true},
};

void drain_move(struct drain *d, enum drain_phase to)
{
    assert(allowed[d->phase][to]);
    d->phase = to;
}

static struct env *env_of(const struct drain *d)
{
    return d->engine->env;
}

struct catalog_save *drain_save(const struct drain *d)
{
    struct catalog_save *s = catalog_find(&d->run->catalog, &d->id);

    return s && s->status == SAVE_COMMITTED ? s : NULL;
}

static bool is_wished(const struct drain *d)
{
    const struct catalog_save *s = drain_save(d);

    return s && s->is_wished;
}

/* By our own clock. */
static uint32_t seconds(const struct engine *e)
{
    return (uint32_t)(env_now(e->env) / LOOK_NS);
}

/*
 * Whose turn it is.
 */

/* Does the policy of its generation, or a wish, send it there? What this daemon
 * has copied is seen through: the mark may be what is missing. */
static bool is_meant(const struct run *run, const struct catalog_save *s)
{
    const struct catalog_generation *g =
        catalog_generation_at(&run->catalog, s->id.generation);

    if (s->status != SAVE_COMMITTED)
        return false;
    if (s->is_drained || s->is_lost)
        return s->is_drained;
    return s->is_wished || (g && g->record.remote_every &&
                            s->id.step % g->record.remote_every == 0);
}

static bool is_due(const struct run *run, const struct catalog_save *s,
                   uint32_t now_s)
{
    return is_meant(run, s) && !s->is_marked_remote && s->drain_at_s <= now_s;
}

/* What is wished for comes first, then what this daemon's share of is not there
 * before what waits for others, what has not failed before what has; of equal
 * ones the newest. */
static bool is_before(const struct catalog_save *a,
                      const struct catalog_save *b)
{
    if (a->is_wished != b->is_wished)
        return a->is_wished;
    if (a->is_drained != b->is_drained)
        return b->is_drained;
    if (a->drain_failures != b->drain_failures)
        return a->drain_failures < b->drain_failures;
    return save_id_compare(&a->id, &b->id) > 0;
}

static const struct catalog_save *best_of(const struct run *run, uint32_t now,
                                          const struct catalog_save *best)
{
    for (size_t i = run->catalog.save_count; i-- > 0;) {
        const struct catalog_save *s = &run->catalog.save[i];

        if (is_due(run, s, now) && (!best || is_before(s, best)))
            best = s;
    }
    return best;
}

/* The next one, and its run. */
static const struct catalog_save *choose(const struct engine *e,
                                         struct run **run)
{
    uint32_t now = seconds(e);
    const struct catalog_save *best = NULL;

    LIST_FOR_EACH (node, &e->homes) {
        struct home *home = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &home->runs) {
            struct run *r = container_of(at, struct run, link);
            const struct catalog_save *s =
                r->is_attached ? best_of(r, now, best) : best;

            if (s != best)
                *run = r;
            best = s;
        }
    }
    return best;
}

/* Is something not there yet, be it that it cannot be for now? */
static bool is_any_left(const struct engine *e)
{
    LIST_FOR_EACH (node, &e->homes) {
        struct home *home = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &home->runs) {
            const struct run *run = container_of(at, struct run, link);

            if (best_of(run, UINT32_MAX, NULL))
                return true;
        }
    }
    return false;
}

/*
 * The way of one.
 */

static void look_later(struct drain *d, uint64_t ns)
{
    env_of(d)->ops->timer_set(env_of(d), &d->timer, env_now(env_of(d)) + ns);
}

/* Is it the last that failed? */
static bool has_failed(const struct drain *d, const struct run *run,
                       const struct save_id *id)
{
    return d->failed_run == run && save_id_compare(&d->failed, id) == 0;
}

static bool is_failed_wished(const struct drain *d)
{
    const struct catalog_save *s =
        d->failed_run ? catalog_find(&d->failed_run->catalog, &d->failed)
                      : NULL;

    return s && s->is_wished;
}

/* The cause is named once, whoever has named it. */
static void failure_words(struct err *out, int result, const char *what)
{
    bool has_cause = strstr(what, err_text(result)) != NULL;

    (void)err_set(out, result, "%s%s%s", what, has_cause ? "" : ": ",
                  has_cause ? "" : err_text(result));
}

/* Of a wish it stays known while others, tried meanwhile, fail as well. */
static void note_failure(struct drain *d, int result, const char *what)
{
    bool is_same = has_failed(d, d->run, &d->id);

    if (result == 0 && is_same)
        d->failed_run = NULL;
    if (result == 0 || (!is_same && is_failed_wished(d) && !is_wished(d)))
        return;
    d->failed_run = d->run;
    d->failed = d->id;
    failure_words(&d->failure, result, what);
}

static void drain_end(struct drain *d, int result, const char *what)
{
    struct catalog_save *s = drain_save(d);
    struct err why;

    failure_words(&why, result, what);
    if (result && result != -ECANCELED && s)
        env_of(d)->ops->log(env_of(d), LOG_LEVEL_ERROR,
                            "run %s step %" PRIu64
                            " (generation %u): not in the remote tier yet: %s; "
                            "it is tried again",
                            d->run->name, d->id.step, d->id.generation,
                            why.text);
    if (s && !s->is_marked_remote && !d->is_yielding) {
        s->drain_at_s = seconds(d->engine) + (AGAIN_S << s->drain_failures);
        if ((result || d->is_second_look) && s->drain_failures < AGAIN_DOUBLED)
            s->drain_failures++;
    }
    note_failure(d, result, what);
    if (s && (s->is_marked_remote || s->is_drained))
        s->is_wished = false;
    d->is_second_look = false;
    d->is_yielding = false;
    held_manifest_put(d->held);
    free(d->table);
    free(d->unit);
    free(d->row);
    free(d->again);
    d->held = NULL;
    d->table = NULL;
    d->unit = NULL;
    d->row = NULL;
    d->again = NULL;
    drain_move(d, DRAIN_IDLE);
    if (!d->is_stopping)
        look_later(d, 0);
}

/* All that is here has been copied: it is only seen whether others have. */
static void others_yet_to(struct drain *d)
{
    d->is_second_look = true;
    drain_move(d, DRAIN_LOOKING);
    drain_look(d);
}

/* What goes where, if nothing is encoded. */
static int plan(struct drain *d)
{
    const struct manifest *m = &d->held->manifest;
    int rc = tier_build(m, &d->engine->env->local_uuid, d->file_bytes,
                        &d->table, &d->table_bytes, &d->err);

    if (rc == 0)
        rc = manifest_open(d->table, d->table_bytes, &d->tier, &d->err);
    if (rc)
        return rc;
    d->unit = malloc(m->chunk_count + 1);
    d->row = calloc(d->tier.chunk_count + 1, sizeof *d->row);
    d->again = calloc(d->tier.file_count + 1, 1);
    if (!d->unit || !d->row || !d->again || tier_units(m, d->unit))
        return err_set(&d->err, -ENOMEM, "no memory to copy it");
    return 0;
}

static void build_run(struct env_job *job)
{
    struct drain *d = container_of(job, struct drain, job);

    d->result = plan(d);
}

static void built(struct env_job *job)
{
    struct drain *d = container_of(job, struct drain, job);

    if (d->is_stopping || !drain_save(d)) {
        drain_end(d, -ECANCELED, "");
    } else if (d->result == -ENOENT) { /* no rank is ours: nothing to copy */
        drain_save(d)->is_drained = true;
        others_yet_to(d);
    } else if (d->result) {
        drain_end(d, d->result, d->err.text);
    } else {
        drain_move(d, DRAIN_WRITING);
        drain_write(d);
    }
}

static void manifest_here(void *arg, int result, struct held_manifest *held,
                          const struct err *err)
{
    struct drain *d = arg;
    struct catalog_save *s = drain_save(d);

    d->held = held;
    if (result || d->is_stopping || !s) {
        drain_end(d, result ? result : -ECANCELED, err->text);
        return;
    }
    if (s->is_drained) {
        others_yet_to(d);
        return;
    }
    drain_move(d, DRAIN_BUILDING);
    d->job.run = build_run;
    d->job.done = built;
    env_of(d)->ops->work(env_of(d), &d->job);
}

/* The table of what is there. */
static void rebuild_run(struct env_job *job)
{
    struct drain *d = container_of(job, struct drain, job);
    void *planned = d->table;

    d->table = NULL;
    d->result = tier_rebuild(&d->tier, d->row, d->again, &d->table,
                             &d->table_bytes, &d->err);
    free(planned);
    if (d->result == 0)
        d->result = manifest_open(d->table, d->table_bytes, &d->tier, &d->err);
}

static void rebuilt(struct env_job *job)
{
    struct drain *d = container_of(job, struct drain, job);

    if (d->is_stopping || !drain_save(d))
        drain_end(d, -ECANCELED, "");
    else if (d->result)
        drain_end(d, d->result, d->err.text);
    else
        drain_put_table(d);
}

void drain_written(struct drain *d, int result)
{
    if (result == 0 && !drain_save(d))
        result = -ECANCELED; /* it was removed meanwhile */
    if (result) {
        drain_end(d, result, d->err.text);
        return;
    }
    drain_move(d, DRAIN_TABLE);
    d->job.run = rebuild_run;
    d->job.done = rebuilt;
    env_of(d)->ops->work(env_of(d), &d->job);
}

void drain_table_put(struct drain *d, int result)
{
    struct catalog_save *s = drain_save(d);

    if (result || !s) {
        drain_end(d, result ? result : -ECANCELED,
                  "cannot write where it is (remote/)");
        return;
    }
    s->is_drained = true;
    d->is_new = true;
    drain_move(d, DRAIN_LOOKING);
    drain_look(d);
}

void drain_looked(struct drain *d, int result, bool is_complete)
{
    if (result == 0 && !is_complete && d->is_new)
        drain_log_share(d);
    if (result || !is_complete || d->is_stopping) {
        drain_end(d, result, "cannot tell what others have");
        return;
    }
    drain_move(d, DRAIN_MARKING);
    drain_mark(d);
}

void drain_marked(struct drain *d, int result)
{
    struct catalog_save *s = drain_save(d);

    if (result == 0 && s) {
        s->is_marked_remote = true;
        await_changed(d->run, &d->id);
        drain_log_remote(d, s);
        retain_run(d->run);
    }
    drain_end(d, result, "cannot write that all of it is there");
}

static void look(struct env_timer *timer)
{
    struct drain *d = container_of(timer, struct drain, timer);
    const struct catalog_save *next;

    if (d->phase != DRAIN_IDLE || d->is_stopping)
        return;
    next = choose(d->engine, &d->run);
    if (!next) {
        if (is_any_left(d->engine))
            look_later(d, LOOK_NS);
        return;
    }
    d->id = next->id;
    d->begun_ns = env_now(env_of(d));
    d->is_new = d->is_replaced = false;
    d->err = (struct err){0};
    d->file_bytes = remote_file_bytes(d->run->home);
    drain_move(d, DRAIN_FETCHING);
    manifest_fetch(d->run, &d->id, manifest_here, d);
}

double drain_rate(const struct drain *d)
{
    double rate = env_of(d)->drain_bytes_s;

    if (is_wished(d))
        return 0;
    if (engine_is_working(d->engine) && (rate <= 0 || rate > BESIDE_BYTES_S))
        rate = BESIDE_BYTES_S;
    return rate;
}

uint64_t drain_pace(struct drain *d, uint64_t bytes)
{
    struct env *env = env_of(d);
    uint64_t now = env_now(env), start = max_u64(d->next_start_ns, now);
    double rate = drain_rate(d);

    if (rate > 0)
        d->next_start_ns = start + (uint64_t)((double)bytes / rate * 1e9);
    return rate > 0 ? start - now : 0;
}

/*
 * Life.
 */

int drain_open(struct engine *e)
{
    struct drain *d = calloc(1, sizeof *d);

    if (!d)
        return -ENOMEM;
    d->engine = e;
    d->timer.fire = look;
    e->drain = d;
    return 0;
}

void drain_run(const struct run *run)
{
    struct drain *d = run->home->engine->drain;

    if (!d->is_stopping && d->phase == DRAIN_IDLE)
        look_later(d, 0);
}

void drain_stop(struct engine *e)
{
    struct drain *d = e->drain;

    if (d->is_stopping)
        return;
    d->is_stopping = true;
    e->env->ops->timer_stop(e->env, &d->timer);
    drain_write_cancel(d);
}

bool drain_is_busy(const struct engine *e)
{
    return e->drain->phase != DRAIN_IDLE;
}

bool drain_is_at_work(const struct engine *e)
{
    return drain_is_busy(e) && !e->drain->is_second_look;
}

/* Whoever ends now would leave it undone though it could be done. */
static bool is_open(const struct run *run, const struct catalog_save *s)
{
    return is_meant(run, s) && !s->is_marked_remote && !s->is_drained &&
           s->drain_failures == 0;
}

int drain_is_meant(const struct run *run, const struct catalog_save *s,
                   struct err *err)
{
    const struct catalog_generation *g =
        catalog_generation_at(&run->catalog, s->id.generation);
    uint32_t every = g ? g->record.remote_every : 0;

    if (is_meant(run, s))
        return 0;
    if (s->is_lost)
        return err_set(err, -ENOTSUP,
                       "it cannot be copied to the home's remote tier: %s",
                       catalog_reason(s));
    if (every)
        return err_set(err, -ENOTSUP,
                       "it is not sent to the home's remote tier: only steps "
                       "that are multiples of %u are (remote_every)",
                       every);
    return err_set(err, -ENOTSUP,
                   "nothing of its generation is sent to the home's remote "
                   "tier (remote_every, CKPT_REMOTE_EVERY)");
}

bool drain_is_wanted(const struct run *run)
{
    for (size_t i = run->catalog.save_count; i-- > 0;)
        if (is_open(run, &run->catalog.save[i]))
            return true;
    return false;
}

static bool is_at(const struct drain *d, const struct run *run,
                  const struct save_id *id)
{
    return d->phase != DRAIN_IDLE && d->run == run &&
           save_id_compare(&d->id, id) == 0;
}

void drain_wish(struct run *run, struct catalog_save *s)
{
    struct drain *d = run->home->engine->drain;

    if (s->is_marked_remote)
        return;
    s->drain_at_s = 0;
    if (has_failed(d, run, &s->id))
        d->failed_run = NULL; /* that is no answer to this wish */
    if (s->is_drained) { /* a look is all it takes: nothing yields to that */
        drain_run(run);
        return;
    }
    s->is_wished = true;
    s->drain_failures = 0;
    if (d->phase == DRAIN_IDLE) {
        drain_run(run);
        return;
    }
    if (is_at(d, run, &s->id)) {
        drain_write_hurry(d);
        return;
    }
    d->is_yielding = d->phase < DRAIN_TABLE && !is_wished(d);
    if (d->is_yielding)
        drain_write_cancel(d);
}

void drain_progress(const struct run *run, const struct catalog_save *s,
                    struct wire_drain_ok *out)
{
    const struct drain *d = run->home->engine->drain;

    *out = (struct wire_drain_ok){0};
    if (s->is_marked_remote) {
        out->state = WIRE_DRAIN_REMOTE;
    } else if (s->is_drained) {
        out->state = WIRE_DRAIN_SHARED;
    } else if (is_at(d, run, &s->id)) {
        out->state = WIRE_DRAIN_COPYING;
        if (d->phase == DRAIN_WRITING)
            drain_write_progress(d, &out->bytes, &out->done_bytes);
    }
    if (out->state < WIRE_DRAIN_SHARED && has_failed(d, run, &s->id)) {
        out->code = d->failure.code;
        memcpy(out->text, d->failure.text, sizeof out->text);
    }
}

bool drain_uses(const struct run *run, const struct save_id *id)
{
    const struct catalog_save *s = catalog_find(&run->catalog, id);

    /* Others may have told this daemon that it is there: nothing is left. */
    return (s && s->status == SAVE_COMMITTED && s->is_wished &&
            !s->is_marked_remote) ||
           is_at(run->home->engine->drain, run, id);
}

void drain_close(struct engine *e)
{
    assert(e->drain->phase == DRAIN_IDLE);
    e->env->ops->timer_stop(e->env, &e->drain->timer);
    free(e->drain);
    e->drain = NULL;
}
