/*
 * engine.h - the daemon's logic, driven by an environment.
 *
 * One thread. The environment calls in here; nothing here blocks. All that
 * the engine owns hangs off struct engine: attached homes and their runs
 * (home.h), sessions (session.h), the segment pool, arenas.
 */
#ifndef CKPTD_ENGINE_H
#define CKPTD_ENGINE_H

#include "ckptd/engine/env.h"
#include "ckptd/engine/home.h"
#include "ckptd/engine/segpool.h"
#include "ckptd/engine/slots.h"

struct save_pipeline; /* save_pipeline.c */

struct engine {
    struct env *env;
    struct segpool *pool;
    struct list homes;    /* struct home */
    struct list sessions; /* struct session */
    struct list arenas;   /* struct slots; orphans stay as a cache */
    struct list readers;  /* reader.c's own */
    bool is_ready;        /* segpool_open is done */
    bool is_closing;
    /* Of every arena and save; CHUNK_BYTES_DEFAULT unless set before the first
     * session (tests do). */
    uint32_t chunk_bytes;
    uint64_t remote_file_bytes; /* likewise: REMOTE_FILE_BYTES */
    struct list awaited;        /* await.c's own */
    struct list buffer_waits;   /* struct buffer_wait, in order */
    bool is_serving_buffers;
    struct save_pipeline *pipeline;
    struct list departed; /* save_gone.c: ranks that left a generation */
    void (*ready)(void *arg, int result, const struct err *err);
    void *ready_arg;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct env_timer stop_timer;
    uint32_t stop_looks_left; /* asked twice: until it is over anyway */
    bool is_halted;
    struct scrub *scrub; /* NULL: switched off */
    struct drain *drain;
};

/*
 * Ready is called when sessions may be served, or with what went wrong (then
 * engine_close() is all that is left to do). Fails itself, without calling
 * ready, with -EINVAL when the environment has fewer than BUFFERS_WANTED_MAX
 * buffers or smaller ones than a chunk needs, and with -ENOMEM.
 */
int engine_open(struct env *env, struct engine **out,
                void (*ready)(void *arg, int result, const struct err *err),
                void *arg, struct err *err) MUST_USE;

/* What the environment tells. A peer's frames arrive whole and in order;
 * pid_gone: the process behind the peer has ended (its pidfd says so), or the
 * connection ended and no pidfd was given. payload is valid during the call. */
void engine_peer_new(struct engine *e, env_peer peer);
void engine_frame(struct engine *e, env_peer peer, const struct wire_header *h,
                  const void *payload);
void engine_peer_gone(struct engine *e, env_peer peer);
/* Pages of the arena that begins at `base` were made: of its first `slots` all
 * are there. The last call is for all of them, even if some could not be. */
void engine_arena_ready(struct engine *e, const void *base, uint32_t slots);

/* Nothing is going on: no session, no undecided save, no work under way. The
 * linger time runs from here. */
bool engine_is_idle(const struct engine *e);
/* A save, a load or retention is at work: others should hold back. */
bool engine_is_working(const struct engine *e);
/* Some rank is being given what it loads. */
bool engine_is_loading(const struct engine *e);
/* Checkpoints are being removed, or it is being seen whether they may be. */
bool engine_is_retaining(const struct engine *e);

/* Stop taking sessions; done when everything undecided is decided or cannot be
 * now, and no request is in flight. Then engine_close(). Asked a second time,
 * undecided saves are aborted, those that voted are left to recovery; `done`
 * is then the later one. done() is never called from inside. */
void engine_stop(struct engine *e, void (*done)(void *arg), void *arg);
/* End without time: no session, no retention, no cached handle, no new work.
 * What is in flight runs out (engine_is_quiet()), then engine_close(). For
 * environments whose clock has stopped; engine_stop() ends with it as well. */
void engine_halt(struct engine *e);
bool engine_is_quiet(const struct engine *e);
/* Quiet, and halted. Takes NULL. */
void engine_close(struct engine *e);

/*
 * Buffers of the environment, shared by all: whoever finds too few free waits
 * in line, all or none, so that two that want several never starve each other.
 */
#define BUFFERS_WANTED_MAX 3

struct buffer_wait {
    struct list link; /* zero it */
    uint32_t want;    /* 1..BUFFERS_WANTED_MAX */
    void *buffer[BUFFERS_WANTED_MAX];
    /* `want` buffers are there. May be called inside engine_buffers_get(). */
    void (*ready)(struct buffer_wait *w);
};

void engine_buffers_get(struct engine *e, struct buffer_wait *w);
/* Give `count` back and serve those who wait. NULLs are passed over. */
void engine_buffers_put(struct engine *e, void **buffers, uint32_t count);

#endif
