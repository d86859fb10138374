/*
 * context.h - what the files of the library share: a context, its threads and
 * its one lock.
 *
 * Threads. The caller's: checks, encodes, sends requests, waits, and helps to
 * copy while it waits. One I/O thread (io.c): owns the socket, sends the
 * outbox, takes every frame in, and finds a lost daemon again (link.c). Copy
 * threads (workers.c): fill slots from tensors (capture.c) and tensors from
 * slots (scatter.c). Only bytes of tensors and slots are touched without the
 * lock.
 *
 * Locks. One: sync->lock guards every field that says so, in every struct of
 * the context. `changed` wakes whoever waits for a state, `work` the copy
 * threads. The struct sync outlives the context as long as a save's handle is
 * held.
 */
#ifndef TRAINER_CONTEXT_H
#define TRAINER_CONTEXT_H

#include "client/daemon.h"
#include "common/hash.h"
#include "common/list.h"
#include "formats/wire.h"
#include "trainer/ckpt.h"

#include <pthread.h>

struct sync {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_cond_t work;
    uint32_t references;   /* lock; the context 1, each save 1 */
    uint64_t failed_count; /* lock; saves that failed */
};

struct sync *sync_new(void);
/* Called with the lock held; lets go of it, and of the struct if this was the
 * last reference. */
void sync_put(struct sync *s);
void sync_lock(struct sync *s);
void sync_unlock(struct sync *s);
/* Wait for `changed` until clock_ms() == deadline_ms; false when it passed. */
bool sync_wait(struct sync *s, uint64_t deadline_ms);

enum link_state {
    LINK_UP,
    LINK_DOWN, /* the I/O thread is looking for a daemon */
    LINK_DEAD, /* it found none; link_error says why */
};

struct arena;
struct capture_map;
struct load;
struct request;

#define COPY_THREADS_MAX 16
#define WARNINGS_MAX     8

struct ckpt {
    struct sync *sync;

    /* Set by ckpt_open(), then constant. */
    struct daemon_place place;
    struct wire_open open;
    uint64_t arena_bytes; /* 0: as much as the first state needs */
    uint32_t overload, max_uncommitted, copy_threads, copier_count;
    struct trust trust; /* all but the rotation */
    struct save_id parent;
    uint64_t resumed_step; /* its step, or of what ckpt_load() took instead */
    uint32_t generation;
    int wake_fd, quit_fd; /* eventfds: the outbox has work; give up waiting */
    char mode[512];
    pthread_t io_thread, copier[COPY_THREADS_MAX];

    /* The I/O thread's alone. */
    struct conn conn;
    struct wr sending; /* being written, from sent_bytes on */
    size_t sent_bytes;

    /* The caller's thread's alone. */
    struct capture_map *map;           /* of the last save; a reference */
    uint64_t map_epoch;                /* the link that knows its table */
    uint32_t save_calls;               /* equal on all ranks: the rotation */
    char described[CKPT_NAME_MAX + 1]; /* ckpt_describe()'s name */

    enum link_state link;     /* lock */
    struct err link_error;    /* lock */
    uint64_t epoch;           /* lock; counts links, from 1 */
    uint64_t watch_at_ms;     /* lock; when to ask for fates again, 0: never */
    bool is_retry_wanted;     /* lock; a dead link is to be tried again */
    bool is_leaving;          /* lock; CLOSE goes out: a lost link stays so */
    bool is_closing;          /* lock; threads end, nothing new begins */
    bool is_service;          /* lock */
    uint64_t features;        /* lock; of the daemon */
    pid_t child;              /* lock, the I/O thread's while it links */
    pid_t daemon_pid;         /* lock */
    struct wr outbox;         /* lock; whole frames */
    struct list requests;     /* lock; struct request.link */
    uint64_t next_request;    /* lock */
    struct arena *arena;      /* lock; NULL until granted; a reference */
    uint64_t arena_wanted;    /* lock; asked for again after a loss */
    struct list saves;        /* lock; struct ckpt_save.link, undecided */
    struct list handles;      /* lock; struct ckpt_save.handle, all of them */
    struct ckpt_save *newest; /* lock; the last save, a reference */
    struct load *load;        /* lock; the one under way */
    uint32_t failed_in_a_row; /* lock */
    struct err first_failure; /* lock; of that row */
    struct err warning[WARNINGS_MAX]; /* lock; not taken yet, oldest first */
    uint32_t warning_count;           /* lock; the newest go when it is full */
};

/* How long one frame's worth of work may wait for the daemon beyond the
 * daemon's own deadlines. */
#define GRACE_MS      10000
#define RECONNECT_MS  10000
#define FENCE_MS      60000
#define CLOSE_WAIT_MS 5000

/* error.c: fill *error (may be NULL) from *err; returns err->code. */
int give_error(struct ckpt_error *error, const struct err *err);
/* Put "run R, rank K of N (home H): " before the words, from which this rank's
 * name is taken out; returns the code. */
int context_prefix(const struct ckpt *ctx, struct err *err);

/* io.c: append whole frames to the outbox and wake the I/O thread; the lock is
 * held. frames is emptied. */
void outbox_add(struct ckpt *ctx, struct wr *frames);
/* The same for one frame that was begun at `begin` and is ended here. What
 * there was no memory for breaks the link, which everybody is told. */
void outbox_frame(struct ckpt *ctx, struct wr *w, size_t begin);
/* Wait until the link is up, asking for a new try if it is dead. Lock held.
 * -ENOTCONN with words. */
int link_wait(struct ckpt *ctx, struct err *err) MUST_USE;

#endif
