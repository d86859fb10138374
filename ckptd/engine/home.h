/*
 * home.h - attached homes and runs, and joining a generation.
 *
 * A home is attached at the first OPEN that names it and stays. Attaching
 * reads (or, in an empty directory, creates) STORE. A run is attached at the
 * first OPEN that names it: its catalog is loaded, this daemon's undecided
 * saves from before are settled (commit.h: recovery), and the segment pool is
 * told what is referenced.
 */
#ifndef CKPTD_HOME_H
#define CKPTD_HOME_H

#include "ckptd/engine/catalog.h"
#include "ckptd/engine/env.h"

struct engine;

struct home {
    struct list link; /* engine.homes */
    struct engine *engine;
    char path[1024];
    struct id128 uuid;
    struct store *store;
    struct list runs;
};

struct member {
    uint32_t rank;
    struct id128 daemon;
};

struct run {
    struct list link; /* home.runs */
    struct home *home;
    char name[RUN_NAME_MAX + 1];
    struct catalog catalog;
    bool is_attached;
    /* The generation that sessions of this daemon are in; 0: none yet. */
    uint32_t generation;
    uint32_t world_size;
    uint32_t decide_timeout_ms;
    struct member *member; /* known members of it, by rank */
    uint32_t member_count;
    struct list saves;   /* struct save (save.h), oldest first */
    struct list commits; /* struct commit (commit.h) */
    struct list loads;   /* struct load (load.h) */
    void *retention;     /* retain.h's own */
};

typedef void (*run_fn)(void *arg, int result, struct run *run,
                       const struct err *err);

/* Home and run ready for use. Creates runs/NAME if it is not there. Many calls
 * for one run share the work. */
void run_attach(struct engine *engine, const char *home_path,
                const char *run_name, run_fn done, void *arg);
void homes_close(struct engine *engine);

/*
 * Join (or make) the generation of this token. The caller allocates and fills
 * the upper part; done() is called once; the request is then the caller's
 * again. A request may be given up with join_cancel(): no done().
 *
 * Failures: -ESTALE (token of an older generation; or rank joined already,
 * except with `rejoin` through this same daemon), -EINVAL (other world_size or
 * layout than the generation's), -ENOENT (resume step not there),
 * -ETIMEDOUT. world_size 1 without a token: the daemon makes one.
 */
struct join {
    const struct wire_open *open;
    struct run *run;
    void (*done)(struct join *join, int result);
    void *owner;
    /* Out: */
    uint32_t generation;
    struct save_id parent;
    struct err err;
    /* join.c's own: */
    struct list link;
    struct env_timer timer;
    void *state;
};

void join_begin(struct join *join);
void join_cancel(struct join *join);

/* Whether every rank of the run's generation is known to be a member once.
 * With several daemons this re-reads member/ first. */
typedef void (*members_fn)(void *arg, int result);
void members_refresh(struct run *run, members_fn done, void *arg);
bool members_complete(const struct run *run);
/* How many of them came through this daemon. */
uint32_t members_here(const struct run *run);

#endif
