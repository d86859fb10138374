/*
 * test_env.h - a world in one thread, for tests of the engine.
 *
 * A world has a virtual clock, one seeded source of randomness, stores in
 * memory named by a path, and any number of daemons, each a struct env of its
 * own. Everything that happens is decided by the seed: a failing run is
 * repeated by its seed alone.
 *
 * test_run() turns the wheel: it polls stores, runs jobs one at a time in
 * random order, fires timers that are due, and when nothing else is left to do
 * it moves the clock to the next timer. Stores belong to the world and outlive
 * daemons: a daemon reaches one through a fault wrapper over a thin door of its
 * own, so that two daemons share a home, and test_env_kill() cuts one off as
 * SIGKILL would (what it had just submitted lands or not, by chance).
 *
 * Failures of memory in the world itself end the test by assert().
 */
#ifndef TESTS_LIB_TEST_ENV_H
#define TESTS_LIB_TEST_ENV_H

#include "ckptd/engine/env.h"

struct test_world {
    uint64_t now_ns;  /* the clock; starts at one hour */
    uint64_t step_ns; /* how far it moves while work is going on: 10 us */
    uint64_t random;  /* state of the generator */
    bool is_plain;    /* seed 0 */
    struct list envs;
    struct list stores; /* by path */
    struct list timers; /* of all daemons */
    struct list jobs;
    struct list openings; /* of homes, done when the wheel turns */
    /* Told whenever a rig enters the code under test (true) or comes back from
     * it (false); returns what it was told before. NULL: nobody cares. */
    bool (*cross)(bool inside);
};

/* w->cross(), if there is one. */
static inline bool test_cross(const struct test_world *w, bool inside)
{
    return w->cross ? w->cross(inside) : inside;
}

/* A frame that the engine sent; free()d with the daemon or by the receiver. */
struct test_frame {
    struct list link; /* test_env.frames */
    env_peer peer;
    struct wire_header header;
    const struct env_arena *arena; /* that came along, or NULL */
    uint8_t payload[];
};

struct test_env {
    struct env env; /* hand out &t->env */
    /* Opens the store of a home: of the world, by its path. */
    int (*home_open)(struct env *env, const char *path, struct store **out,
                     struct err *err);
    struct test_world *world;
    struct list link;     /* world.envs */
    struct list frames;   /* struct test_frame, in order of sending */
    struct list hang_ups; /* see test_env_hung_up() */
    struct list doors;    /* open ways into stores */
    char *log;            /* all lines, NUL-terminated */
    size_t log_bytes;
    uint64_t arena_bytes_max;    /* what arena_new gives at most: 64 MiB */
    uint64_t arena_piece_bytes;  /* of one piece: 1 GiB */
    uint64_t arena_bytes_all;    /* of all together: no limit */
    uint32_t arenas;             /* alive */
    uint64_t arena_bytes;        /* of those */
    uint32_t buffers;            /* handed out */
    struct store_fault fault[8]; /* for stores opened from now on */
    uint32_t fault_count;
    bool is_dead;
    bool is_verbose; /* log lines go to stderr too */
    /* This machine's clocks, ahead of the world's; the first stays as it is
     * while the daemon lives, the second may jump at any time. */
    int64_t ahead_ns, unix_ahead_ms;
    void *owner; /* the test's */
};

/* Seed 0: stores answer in order and at once. */
struct test_world *test_world_new(uint64_t seed);
/* All daemons were freed. */
void test_world_free(struct test_world *w);
uint64_t test_random(struct test_world *w);
/* The store behind a path as it is, made when it is not there: to look into
 * and to plant records. */
struct store *test_world_store(struct test_world *w, const char *path);
/* Use this store (taken over) for a path that was not opened yet. */
void test_world_add(struct test_world *w, const char *path,
                    struct store *store);

/* Another path to the same store. */
void test_world_alias(struct test_world *w, const char *path, const char *to);

/* A daemon. Its local store is the world's "local/NAME", its uuid depends on
 * the name alone: the same name again is the same daemon restarted. */
struct test_env *test_env_new(struct test_world *w, const char *name);
/* What the engine had is freed already (engine_close() or homes_close()). */
void test_env_free(struct test_env *t);
/* The end by SIGKILL: nothing more gets out of it, every request ends with
 * -ECANCELED, no timer fires. The engine's memory is still to be freed. */
void test_env_kill(struct test_env *t);

/* The fault wrapper over this daemon's way into a store ("local" for its local
 * one), NULL when it has not opened it. */
struct store *test_env_fault(struct test_env *t, const char *path);
/* From now on this happens to what the daemon asks of that store. */
void test_env_fail(struct test_env *t, const char *path,
                   const struct store_fault *fault);

/* Frames sent to a peer: the oldest, unlinked (free() it), or NULL. */
struct test_frame *test_env_frame(struct test_env *t, env_peer peer);
bool test_env_hung_up(const struct test_env *t, env_peer peer);
bool test_env_logged(const struct test_env *t, const char *part);

typedef bool (*test_until)(void *arg);

/* Run until `until` holds (true), or nothing is left to do or `limit_ms` of
 * virtual time have passed (false, or true when until is NULL and nothing is
 * left to do). */
bool test_run(struct test_world *w, uint64_t limit_ms, test_until until,
              void *arg);

#endif
