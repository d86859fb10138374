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

struct engine {
    struct env *env;
    struct segpool *pool;
    struct list homes;    /* struct home */
    struct list sessions; /* struct session */
    struct list arenas;   /* struct slots; orphans stay as a cache */
    struct list readers;  /* chunk reads waiting for a buffer */
    bool is_ready;        /* segpool_open is done */
    bool is_closing;
};

/* Ready is called when sessions may be served. */
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

/* Nothing is going on: no session, no undecided save, no work under way. The
 * linger time runs from here. */
bool engine_is_idle(const struct engine *e);

/* Stop taking sessions; done when everything undecided is decided or cannot be
 * now, and no request is in flight. Then engine_close(). */
void engine_stop(struct engine *e, void (*done)(void *arg), void *arg);
void engine_close(struct engine *e);

#endif
