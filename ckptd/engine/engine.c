/*
 * engine.c - the parts of the engine put together: opening, what the
 * environment tells, buffers, stopping.
 *
 * Stopping: no session is taken from then on; when nothing is undecided any
 * more the sessions end, and when nothing is under way it is done. Asked a
 * second time it aborts what has not voted and waits only for what is in
 * flight; what stays undecided is settled by the next life's recovery. A timer
 * looks at intervals, because what is waited for ends in many places.
 */
#include "ckptd/engine/await.h"
#include "ckptd/engine/drain.h"
#include "ckptd/engine/load.h"
#include "ckptd/engine/remote_write.h"
#include "ckptd/engine/retain.h"
#include "ckptd/engine/scrub.h"
#include "ckptd/engine/save.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define STOP_LOOK_NS ((uint64_t)5 * 1000 * 1000)
/* How long a stop that was asked twice waits for ABORTs to be on record. */
#define STOP_GRACE_LOOKS 400

/*
 * Opening and closing.
 */

static void on_pool_open(void *arg, int result, const struct err *err)
{
    struct engine *e = arg;

    if (result == 0 && scrub_open(e))
        e->env->ops->log(e->env, LOG_LEVEL_WARN,
                         "no memory: checkpoints are not read again");
    e->is_ready = result == 0;
    e->ready(e->ready_arg, result, err);
}

static int check_buffers(const struct engine *e, struct err *err)
{
    const struct env *env = e->env;

    if (env->buffer_count < BUFFERS_WANTED_MAX)
        return err_set(err, -EINVAL, "%u buffers, at least %u are wanted",
                       env->buffer_count, BUFFERS_WANTED_MAX);
    if (env->buffer_bytes < chunk_extent_bytes(e->chunk_bytes))
        return err_set(err, -EINVAL,
                       "buffers of %llu bytes do not hold a chunk of %u",
                       (unsigned long long)env->buffer_bytes, e->chunk_bytes);
    return 0;
}

int engine_open(struct env *env, struct engine **out,
                void (*ready)(void *arg, int result, const struct err *err),
                void *arg, struct err *err)
{
    struct engine *e = calloc(1, sizeof *e);
    int rc;

    if (!e)
        return err_set(err, -ENOMEM, "no memory for the engine");
    e->env = env;
    e->chunk_bytes = CHUNK_BYTES_DEFAULT;
    e->remote_file_bytes = REMOTE_FILE_BYTES;
    e->ready = ready;
    e->ready_arg = arg;
    list_init(&e->homes);
    list_init(&e->sessions);
    list_init(&e->arenas);
    list_init(&e->readers);
    list_init(&e->awaited);
    list_init(&e->buffer_waits);
    list_init(&e->departed);
    rc = check_buffers(e, err);
    if (rc)
        goto err_after_alloc;
    rc = save_pipeline_open(e);
    if (rc) {
        (void)err_set(err, rc, "no memory for the pipeline");
        goto err_after_alloc;
    }
    rc = drain_open(e);
    if (rc) {
        (void)err_set(err, rc, "no memory for the remote tier");
        goto err_after_pipeline;
    }
    *out = e;
    segpool_open(env, &e->pool, on_pool_open, e);
    return 0;

err_after_pipeline:
    save_pipeline_close(e);
err_after_alloc:
    free(e);
    return rc;
}

/* Each run of each home. */
static void each_run(const struct engine *e, void (*visit)(struct run *run))
{
    LIST_FOR_EACH (node, &e->homes) {
        const struct home *h = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &h->runs)
            visit(container_of(at, struct run, link));
    }
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    e->env->ops->timer_stop(e->env, &e->stop_timer);
    engine_halt(e);
    each_run(e, saves_close);
    each_run(e, retain_close);
    scrub_close(e);
    drain_close(e);
    homes_close(e);
    save_departed_free(e);
    save_pipeline_close(e);
    segpool_close(e->pool);
    while (!list_is_empty(&e->arenas))
        slots_close(container_of(e->arenas.next, struct slots, link));
    assert(list_is_empty(&e->buffer_waits) && list_is_empty(&e->awaited));
    free(e);
}

/*
 * Peers.
 */

static struct session *find_session(const struct engine *e, env_peer peer)
{
    LIST_FOR_EACH (node, &e->sessions) {
        struct session *s = container_of(node, struct session, link);

        if (s->peer == peer)
            return s;
    }
    return NULL;
}

void engine_peer_new(struct engine *e, env_peer peer)
{
    struct env *env = e->env;

    assert(!find_session(e, peer));
    if (!e->is_closing && session_new(e, peer))
        return;
    if (!e->is_closing)
        env->ops->log(env, LOG_LEVEL_ERROR,
                      "peer %llu: no memory for a session; hanging up",
                      (unsigned long long)peer);
    env->ops->hang_up(env, peer);
}

void engine_frame(struct engine *e, env_peer peer, const struct wire_header *h,
                  const void *payload)
{
    struct session *s = find_session(e, peer);

    if (s)
        session_frame(s, h, payload);
}

void engine_peer_gone(struct engine *e, env_peer peer)
{
    struct session *s = find_session(e, peer);

    if (s)
        session_gone(s);
}

void engine_arena_ready(struct engine *e, const void *base, uint32_t slots)
{
    LIST_FOR_EACH (node, &e->sessions) {
        struct session *s = container_of(node, struct session, link);

        if (!s->slots || s->slots->arena.base[0] != base)
            continue;
        s->slots->arena.ready_slots = slots;
        load_slots_freed(s);
        return;
    }
}

/*
 * Idle, and stopping.
 */

/* Looks at runs until one is busy. */
static bool any_run(const struct engine *e, bool (*is)(const struct run *run))
{
    LIST_FOR_EACH (node, &e->homes) {
        const struct home *h = container_of(node, struct home, link);

        LIST_FOR_EACH (at, &h->runs)
            if (is(container_of(at, struct run, link)))
                return true;
    }
    return false;
}

static bool has_undecided(const struct run *run)
{
    return saves_pending(run) || !list_is_empty(&run->commits);
}

bool engine_is_loading(const struct engine *e)
{
    return any_run(e, loads_pending);
}

bool engine_is_retaining(const struct engine *e)
{
    return any_run(e, retain_is_busy);
}

static bool is_at_work(const struct engine *e)
{
    return !save_pipeline_is_idle(e) || engine_is_loading(e);
}

bool engine_is_working(const struct engine *e)
{
    return is_at_work(e) || any_run(e, has_undecided) || engine_is_retaining(e);
}

bool engine_is_idle(const struct engine *e)
{
    return list_is_empty(&e->sessions) && !is_at_work(e) &&
           !any_run(e, has_undecided) && !any_run(e, drain_is_wanted) &&
           !drain_is_at_work(e);
}

static void abort_saves(struct run *run)
{
    saves_abort_all(run, "the daemon is stopping");
}

static void stop_look_later(struct engine *e)
{
    struct env *env = e->env;

    env->ops->timer_set(env, &e->stop_timer,
                        env->ops->now_ns(env) + STOP_LOOK_NS);
}

void engine_halt(struct engine *e)
{
    if (e->is_halted)
        return;
    e->is_halted = e->is_closing = true;
    while (!list_is_empty(&e->sessions))
        session_end(container_of(e->sessions.next, struct session, link));
    each_run(e, abort_saves);
    each_run(e, retain_stop);
    scrub_stop(e);
    drain_stop(e);
    segpool_stop(e->pool);
}

bool engine_is_quiet(const struct engine *e)
{
    return !is_at_work(e) && !any_run(e, saves_in_flight) &&
           !any_run(e, commits_at_work) && !engine_is_retaining(e) &&
           !scrub_is_busy(e) && !drain_is_busy(e) && !await_is_busy(e) &&
           !segpool_is_busy(e->pool) && !homes_opening(e);
}

/* What this life leaves in the local store. */
static void log_space(struct engine *e)
{
    struct segpool_stats s;

    if (!e->pool)
        return;
    segpool_stats(e->pool, &s);
    e->env->ops->log(e->env, LOG_LEVEL_INFO,
                     "%s: %" PRIu64 " bytes of segments: %" PRIu64
                     " referenced, %" PRIu64
                     " of runs that were not opened, %" PRIu64 " free, %" PRIu64
                     " of failed writes; %u not known",
                     e->env->local_path, s.allocated_bytes, s.referenced_bytes,
                     s.unopened_bytes, s.free_bytes, s.poisoned_bytes,
                     s.count[SEGMENT_UNKNOWN]);
}

static void stop_look(struct env_timer *timer)
{
    struct engine *e = container_of(timer, struct engine, stop_timer);
    bool may_wait = e->stop_looks_left != 1;

    if (e->stop_looks_left > 1)
        e->stop_looks_left--;
    stop_look_later(e);
    if (any_run(e, has_undecided) && may_wait)
        return;
    engine_halt(e);
    if (!engine_is_quiet(e))
        return;
    e->env->ops->timer_stop(e->env, &e->stop_timer);
    log_space(e);
    e->stopped(e->stopped_arg);
}

void engine_stop(struct engine *e, void (*done)(void *arg), void *arg)
{
    e->stopped = done;
    e->stopped_arg = arg;
    e->stop_timer.fire = stop_look;
    if (e->is_closing) {
        each_run(e, abort_saves);
        e->stop_looks_left = STOP_GRACE_LOOKS;
    }
    e->is_closing = true;
    stop_look_later(e);
}

/*
 * Buffers.
 */

static bool take(struct engine *e, struct buffer_wait *w)
{
    struct env *env = e->env;
    uint32_t got = 0;

    assert(w->want > 0 && w->want <= BUFFERS_WANTED_MAX);
    while (got < w->want) {
        w->buffer[got] = env->ops->buffer_get(env);
        if (!w->buffer[got])
            break;
        got++;
    }
    if (got == w->want)
        return true;
    while (got > 0) {
        env->ops->buffer_put(env, w->buffer[--got]);
        w->buffer[got] = NULL;
    }
    return false;
}

void engine_buffers_get(struct engine *e, struct buffer_wait *w)
{
    if (list_is_empty(&e->buffer_waits) && take(e, w))
        w->ready(w);
    else
        list_append(&e->buffer_waits, &w->link);
}

void engine_buffers_put(struct engine *e, void **buffers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (buffers[i])
            e->env->ops->buffer_put(e->env, buffers[i]);
    if (e->is_serving_buffers)
        return;
    e->is_serving_buffers = true;
    while (!list_is_empty(&e->buffer_waits)) {
        struct buffer_wait *w =
            container_of(e->buffer_waits.next, struct buffer_wait, link);

        if (!take(e, w))
            break;
        list_remove(&w->link);
        w->ready(w);
    }
    e->is_serving_buffers = false;
}
