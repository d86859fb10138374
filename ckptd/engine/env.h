/*
 * env.h - everything the engine knows of the world.
 *
 * The engine is one thread of pure logic. Time, randomness, storage, workers,
 * shared memory and messages reach it through this table, which the reactor
 * provides in the daemon and a simulator provides in tests. No file of the
 * engine includes pthread.h, calls a clock or does a system call
 * (tools/lint/symbols.sh looks at its object files).
 */
#ifndef CKPTD_ENV_H
#define CKPTD_ENV_H

#include "common/err.h"
#include "common/id.h"
#include "common/list.h"
#include "common/log.h"
#include "formats/wire.h"
#include "storage/store.h"

struct env;

/* Work for another thread. run() touches nothing but the job and memory that
 * the job alone may use; done() is called on the engine's thread. Every job
 * that was given gets its done(). */
struct env_job {
    void (*run)(struct env_job *job);
    void (*done)(struct env_job *job);
    struct list link;
};

/* One-shot. Zero it, set fire, then env->ops->timer_set(). */
struct env_timer {
    void (*fire)(struct env_timer *timer);
    uint64_t at_ns;
    struct list link;
};

/* Shared memory of one rank: what ARENA_OK describes, mapped here too. */
struct env_arena {
    struct wire_arena_ok shape;
    uint8_t *base[WIRE_PIECES_MAX];
    int fd[WIRE_PIECES_MAX]; /* the environment's */
    uint32_t ready_slots;    /* the first ones: their pages are there */
};

/* One connection, named by number; numbers are never used again. */
typedef uint64_t env_peer;

/* A home being opened. The caller's, until done(). */
struct env_opening {
    const char *path; /* an absolute path, or rados://... */
    void (*done)(struct env_opening *opening);
    /* Out, for done(): */
    int result; /* 0, or negative and `err` has words */
    struct store *store;
    struct err err;
    /* The environment's: */
    struct env *env;
    struct env_job job;
};

struct env_ops {
    uint64_t (*now_ns)(struct env *env);  /* monotonic */
    uint64_t (*unix_ms)(struct env *env); /* for people only */
    void (*random)(struct env *env, void *to, size_t bytes);
    void (*timer_set)(struct env *env, struct env_timer *timer, uint64_t at_ns);
    void (*timer_stop)(struct env *env, struct env_timer *timer); /* any time */
    void (*work)(struct env *env, struct env_job *job);
    /* Queue a frame; what cannot be sent now waits in a bounded queue, a peer
     * that lets it overflow is cut off (peer_gone follows). Never blocks,
     * never fails for the caller. arena: its descriptors go along. */
    void (*send)(struct env *env, env_peer peer, const struct wire_header *h,
                 const void *payload, const struct env_arena *arena);
    /* End the connection once what was queued is out. */
    void (*hang_up)(struct env *env, env_peer peer);
    /* Open a home's store for writing, which may take many seconds: so it is
     * done elsewhere. done() is called once, on the engine's thread, and never
     * from inside the call. */
    void (*home_open)(struct env *env, struct env_opening *opening);
    /* Closes it: nothing of the engine's is in flight there. */
    void (*home_close)(struct env *env, struct store *store);
    /* What arenas may take beyond those that there are; UINT64_MAX: there is
     * no limit. */
    uint64_t (*arena_left)(struct env *env);
    /* Sealed, mapped, pre-faulted by and by, from the first slot on, and
     * engine_arena_ready() told; registered with `local`'s I/O. Whole slots
     * that fit into `bytes`, but at least four; -ENOMEM. The caller minds
     * arena_left(). */
    int (*arena_new)(struct env *env, uint64_t bytes, uint32_t chunk_bytes,
                     struct env_arena *out, struct err *err);
    void (*arena_free)(struct env *env, struct env_arena *arena);
    /* Page-aligned buffers of equal size for decoding and packed chunks, each
     * env->buffer_bytes; a fixed number exists; NULL when all are out. */
    void *(*buffer_get)(struct env *env);
    void (*buffer_put)(struct env *env, void *buffer);
    void (*log)(struct env *env, enum log_level level, const char *format, ...)
        PRINTF_LIKE(3, 4);
};

/* What is raw in the local store, on its way to the remote tier. */
enum drain_codec {
    DRAIN_AUTO,   /* encoded where it gets there sooner so */
    DRAIN_RAW,    /* as it is */
    DRAIN_PLANES, /* encoded wherever it gets smaller */
    DRAIN_CODECS,
};

struct env {
    const struct env_ops *ops;
    struct store *local;     /* segments */
    struct id128 local_uuid; /* of that store: this daemon's id */
    char local_path[1024];
    char host[256];
    char mode[512]; /* HELLO_OK.mode */
    uint32_t worker_count;
    uint32_t buffer_count;
    uint64_t buffer_bytes; /* >= chunk_extent_bytes(CHUNK_BYTES_DEFAULT) */
    double tier_bytes_s;   /* what the local store was seen to write */
    double encode_bytes_s; /* what all workers were seen to encode */
    /* For trainers that give no policy. */
    uint32_t keep_last, keep_every, remote_every, local_last;
    double drain_bytes_s; /* at most, to the remote tier; 0: no limit */
    enum drain_codec drain_codec;
    bool is_service;
    uint64_t scrub_every_ns; /* 0: checkpoints are not read again */
    double scrub_bytes_s;
};

#endif
