/*
 * reactor.h - the real environment of the engine: one epoll loop.
 *
 * Thread map. The loop's thread is the engine's: it owns the rings, sockets,
 * timers and everything hanging off struct reactor. Workers (workers.h) run
 * jobs and know nothing else. Sources are told apart by their own callback;
 * nothing here looks at what the engine decides.
 */
#ifndef CKPTD_REACTOR_H
#define CKPTD_REACTOR_H

#include "ckptd/daemon/workers.h"
#include "ckptd/engine/engine.h"

#include <sys/epoll.h>
#include <sys/types.h>

struct reactor;

/* A descriptor in the epoll set. ready() may remove and free its own source. */
struct source {
    int fd;
    void (*ready)(struct source *source, uint32_t events);
};

struct home_source {
    struct source source;
    struct list link;
    struct store *store;
};

struct reactor_options {
    const char *local;  /* folder of the local store, made if need be */
    const char *socket; /* NULL: LOCAL/ckptd.sock */
    bool is_foreground; /* run by somebody, for ever; else private: lingers */
    bool has_network;   /* homes in RADOS can be had */
    uint64_t linger_ms; /* private: ends after so long without work */
    /* For trainers that give no policy. */
    uint32_t keep_last, keep_every, remote_every, local_last;
    uint64_t drain_bytes_s; /* 0: no limit */
    enum drain_codec drain_codec;
    uint64_t scrub_every_ms, scrub_bytes_s; /* 0 ms: never */
};

#define REACTOR_EVENTS 64

struct reactor {
    struct env env; /* first: env_ops get a pointer to it */
    struct engine *engine;
    struct workers *workers, *openers;
    const struct reactor_options *options;
    int epoll_fd;
    struct epoll_event event[REACTOR_EVENTS]; /* being handled */
    int event_count;
    int lock_fd; /* LOCAL/lock, held for life */
    int local_dir_fd;
    struct source signals, worker_done, opener_done, listener;
    struct env_timer listener_rest; /* peers.c */
    bool is_listening;              /* the socket's name is ours */
    struct home_source local_source;
    struct list homes; /* struct home_source */
    struct err
        no_rados;       /* why homes in RADOS cannot be had; code 0: they can */
    struct list timers; /* struct env_timer, unordered */
    struct list peers;  /* struct peer (peers.c) */
    env_peer next_peer;
    uint32_t peer_count;
    struct list arenas;                  /* struct arena_block (memory.c) */
    uint64_t arena_bytes, touched_bytes; /* of them: see budget.h */
    uint8_t *buffers;       /* env.buffer_count of env.buffer_bytes */
    uint64_t buffers_free;  /* a bit each */
    uint64_t idle_since_ns; /* 0: not idle */
    bool had_work;          /* somebody has connected */
    pid_t starter;          /* our parent when we began */
    bool is_ready, is_stopping, is_done;
    int stop_count;
    struct err start_error;
};

/* Add, change or remove a descriptor; -errno. */
int reactor_watch(struct reactor *r, struct source *source,
                  uint32_t events) MUST_USE;
int reactor_rewatch(struct reactor *r, struct source *source,
                    uint32_t events) MUST_USE;
void reactor_unwatch(struct reactor *r, struct source *source);

/* Serve until stopped or lingered out. 0; -EBUSY when another daemon has the
 * local store; else a failure in words. Blocks for the daemon's life. */
int reactor_run(const struct reactor_options *options,
                struct err *err) MUST_USE;

/* homes.c: env_ops.home_open and home_close; openers before the daemon is
 * confined, and their end. */
void homes_begin(struct env *env, struct env_opening *o);
void homes_end(struct env *env, struct store *store);
int homes_open(struct reactor *r) MUST_USE;
void homes_close_openers(struct reactor *r);
/* Among what the loop waits for; -errno. */
int store_watch(struct reactor *r, struct home_source *h,
                struct store *store) MUST_USE;

/* timers.c */
void reactor_timer_set(struct env *env, struct env_timer *t, uint64_t at_ns);
void reactor_timer_stop(struct env *env, struct env_timer *t);
void reactor_timers_fire(struct reactor *r);
/* Until the next timer, for epoll: -1 when there is none. */
int reactor_timers_wait_ms(const struct reactor *r);
uint64_t reactor_now_ns(struct env *env);
uint64_t reactor_unix_ms(struct env *env);

/* peers.c */
int peers_listen(struct reactor *r, struct err *err) MUST_USE;
void peers_unlisten(struct reactor *r);
void peers_close(struct reactor *r);
void peers_send(struct env *env, env_peer peer, const struct wire_header *h,
                const void *payload, const struct env_arena *arena);
void peers_hang_up(struct env *env, env_peer peer);

/* memory.c */
int memory_init(struct reactor *r, struct err *err) MUST_USE;
/* Free all arenas; those being touched go when the workers are closed, which
 * comes between this and memory_fini(). */
void memory_stop(struct reactor *r);
void memory_fini(struct reactor *r);
uint64_t memory_arena_left(struct env *env);
int memory_arena_new(struct env *env, uint64_t bytes, uint32_t chunk_bytes,
                     struct env_arena *out, struct err *err);
void memory_arena_free(struct env *env, struct env_arena *arena);
void *memory_buffer_get(struct env *env);
void memory_buffer_put(struct env *env, void *buffer);

/* local.c: lock and open the local store, read or make its STORE; the lock is
 * the first step. */
int local_lock(struct reactor *r, struct err *err) MUST_USE;
int local_open(struct reactor *r, struct err *err) MUST_USE;
void local_close(struct reactor *r);

static inline struct reactor *reactor_of(struct env *env)
{
    return container_of(env, struct reactor, env);
}

#endif
