/*
 * read_back.c - reading a whole save from the media, to know that it is good.
 *
 * A few chunk reads run side by side, each with memory of its own, and none
 * starts before the rate allows. The first failure, or a cancel, lets those
 * under way end and starts no more. Chunks in other daemons' stores, or of
 * other daemons' shares, are passed over.
 */
#include "ckptd/engine/reader.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1e9

struct read_lane {
    struct read_back *back;
    struct chunk_read read;
    struct buffer_wait wait;
    bool is_running;
};

struct read_back {
    struct engine *engine;
    struct read_back_plan plan;
    uint64_t next_chunk;
    uint64_t next_start_ns;
    struct env_timer timer;
    struct err err;
    struct env_job ending; /* of a cancel: it cannot wait for the timer */
    bool is_cancelled;
    bool is_resting;
    uint32_t running; /* lanes, and the job */
    struct read_lane lane[];
};

static void lanes_start(struct read_back *b);

static void timer_fired(struct env_timer *timer)
{
    lanes_start(container_of(timer, struct read_back, timer));
}

static void wake_at(struct read_back *b, uint64_t at_ns)
{
    struct env *env = b->engine->env;

    b->timer.fire = timer_fired;
    env->ops->timer_set(env, &b->timer, at_ns);
}

/* The first one, and what it takes along. */
static void note_failure(struct read_back *b, const struct chunk_read *r)
{
    size_t used = strlen(r->err.text);

    b->err = r->err;
    if (used + 4 > sizeof b->err.text)
        return;
    manifest_chunk_words(b->plan.manifest, r->chunk, b->err.text + used + 2,
                         sizeof b->err.text - used - 3);
    memcpy(b->err.text + used, " (", 2);
    memcpy(b->err.text + strlen(b->err.text), ")", 2);
}

static void lane_read_done(struct chunk_read *r, int result)
{
    struct read_lane *lane = r->owner;
    struct read_back *b = lane->back;

    engine_buffers_put(b->engine, lane->wait.buffer, lane->wait.want);
    lane->is_running = false;
    b->running--;
    if (result && !b->err.code)
        note_failure(b, r);
    lanes_start(b);
}

static void lane_buffers_ready(struct buffer_wait *w)
{
    struct read_lane *lane = container_of(w, struct read_lane, wait);

    lane->read.slot = w->buffer[0];
    lane->read.buffer[0] = w->want > 1 ? w->buffer[1] : NULL;
    lane->read.buffer[1] = w->want > 2 ? w->buffer[2] : NULL;
    chunk_read_begin(&lane->read);
}

static void lane_start(struct read_back *b, struct read_lane *lane)
{
    uint64_t chunk = b->next_chunk++;

    lane->back = b;
    lane->is_running = true;
    b->running++;
    lane->read = (struct chunk_read){.engine = b->engine,
                                     .manifest = b->plan.manifest,
                                     .chunk = chunk,
                                     .skip_memory = true,
                                     .skip_local = b->plan.remote != NULL,
                                     .remote = b->plan.remote,
                                     .done = lane_read_done,
                                     .owner = lane};
    lane->wait = (struct buffer_wait){
        .want = 1 + chunk_read_buffers(b->plan.manifest, chunk),
        .ready = lane_buffers_ready};
    engine_buffers_get(b->engine, &lane->wait);
}

static bool is_meant(const struct read_back *b, uint64_t chunk)
{
    const struct manifest *m = b->plan.manifest;

    if (b->plan.remote)
        return id_equal(&manifest_rank(m, m->chunk[chunk].rank)->daemon,
                        &b->plan.share);
    return id_equal(&m->file[m->location[chunk].file].store,
                    &b->engine->env->local_uuid);
}

static bool is_at_end(struct read_back *b)
{
    uint64_t end = b->plan.manifest->chunk_count;

    while (b->next_chunk < end && !is_meant(b, b->next_chunk))
        b->next_chunk++;
    return b->next_chunk == end;
}

/* When the next chunk may start, by the rate. */
static void account(struct read_back *b, uint64_t now)
{
    const struct mf_location *l = &b->plan.manifest->location[b->next_chunk];
    double bytes = (double)chunk_extent_bytes(l->payload_bytes);

    if (b->plan.rate_bytes_s > 0)
        b->next_start_ns = max_u64(b->next_start_ns, now) +
                           (uint64_t)(bytes / b->plan.rate_bytes_s * NS_PER_S);
}

static void lanes_start(struct read_back *b)
{
    struct env *env = b->engine->env;

    for (uint32_t i = 0; i < b->plan.depth; i++) {
        uint64_t now = env->ops->now_ns(env);

        if (b->err.code || is_at_end(b) || b->is_resting)
            break;
        if (b->lane[i].is_running)
            continue;
        if (b->next_start_ns > now) {
            wake_at(b, b->next_start_ns);
            return;
        }
        account(b, now);
        lane_start(b, &b->lane[i]);
    }
    if (b->running > 0 || (!b->err.code && !is_at_end(b)))
        return;
    env->ops->timer_stop(env, &b->timer);
    b->plan.done(b->plan.arg, b->err.code, &b->err);
    free(b);
}

struct read_back *read_back_begin(struct engine *engine,
                                  const struct read_back_plan *plan)
{
    struct read_back *b =
        calloc(1, sizeof *b + plan->depth * sizeof b->lane[0]);

    assert(plan->depth >= 1 && plan->depth <= 8);
    if (!b)
        return NULL;
    b->engine = engine;
    b->plan = *plan;
    wake_at(b, engine->env->ops->now_ns(engine->env));
    return b;
}

void read_back_rest(struct read_back *b, bool rests)
{
    if (b->is_resting && !rests)
        wake_at(b, b->engine->env->ops->now_ns(b->engine->env));
    b->is_resting = rests;
}

static void nothing_run(struct env_job *job)
{
    (void)job;
}

static void cancel_done(struct env_job *job)
{
    struct read_back *b = container_of(job, struct read_back, ending);

    b->running--;
    lanes_start(b);
}

void read_back_cancel(struct read_back *b)
{
    struct env *env = b->engine->env;

    if (b->is_cancelled)
        return;
    b->is_cancelled = true;
    if (!b->err.code)
        (void)err_set(&b->err, -ECANCELED, "reading back was cancelled");
    b->running++;
    b->ending.run = nothing_run;
    b->ending.done = cancel_done;
    env->ops->work(env, &b->ending);
}
