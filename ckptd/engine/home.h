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
    double remote_bytes_s; /* as a drain saw it write and sync; 0: not yet */
    void *attaching;       /* home.c's own, until STORE is read */
    bool is_opening;       /* its store: nothing may be freed */
};

struct member {
    uint32_t rank;
    struct id128 daemon;
};

struct member_daemon {
    struct id128 daemon;
    uint32_t rank_count;
    uint32_t next_record; /* higher than any N of its records */
    char host[256];
};

/* Who is in one generation, as far as its member records were read. */
struct members {
    uint32_t generation, world_size;
    struct member *member; /* ascending by rank */
    uint32_t member_count;
    struct member_daemon *daemon; /* ascending by id */
    uint32_t daemon_count;
    struct member_record {
        struct id128 daemon;
        uint32_t n;
    } * record; /* those that were read */
    uint32_t record_count;
    struct err conflict; /* code 0: no rank came through two daemons */
};

struct run {
    struct list link; /* home.runs */
    struct home *home;
    char name[RUN_NAME_MAX + 1];
    struct catalog catalog;
    bool is_attached;
    void *attaching; /* attach.c's own, until is_attached */
    /* The generation that sessions of this daemon are in; 0: none yet. */
    uint32_t generation;
    uint32_t world_size;
    uint32_t decide_timeout_ms;
    struct members members; /* of it */
    struct list joinings;   /* join.c's own */
    /* Since when undecided saves of a closed generation were seen here. */
    uint32_t leftover_generation;
    uint64_t leftover_since_ns;
    struct save_id begun; /* the newest save that this daemon took part in */
    struct list saves;    /* struct save (save.h), oldest first */
    struct list commits;  /* struct commit (commit.h) */
    struct list loads;    /* struct load (load.h) */
    void *retention;      /* retain.h's own */
};

typedef void (*run_fn)(void *arg, int result, struct run *run,
                       const struct err *err);

/* Home and run ready for use. Creates runs/NAME if it is not there. Many calls
 * for one run share the work. -ECANCELED when the homes are closed first. */
void run_attach(struct engine *engine, const char *home_path,
                const char *run_name, run_fn done, void *arg);
/* Whether the environment is opening a store for us. */
bool homes_opening(const struct engine *engine);
/* Everything of all homes is freed; stores are closed. What was undecided
 * stays so, without an event. No job of the engine, and no opening, is under
 * way. */
void homes_close(struct engine *engine);
/* Deadline of a generation whose record says `ms` (0: 600 s). */
uint32_t decide_timeout(uint32_t ms);

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

/* Read the member records of the run's generation that are not known yet (with
 * one daemon there is nothing to read). -ESTALE when a rank came through two
 * daemons: run->members.conflict has the words. */
typedef void (*members_fn)(void *arg, int result);
void members_refresh(struct run *run, members_fn done, void *arg);
/* Whether every rank of the run's generation is known to be a member once. */
bool members_complete(const struct run *run);
/* How many of them came through this daemon. */
uint32_t members_here(const struct run *run);
/* -ENOENT when no member of that rank is known. */
int members_find(const struct members *m, uint32_t rank,
                 struct id128 *daemon) MUST_USE;

#endif
