/*
 * test_daemon.h - a daemon of a test world with homes alone: an engine without
 * sessions, to test joining and committing, and calls that wait.
 */
#ifndef TESTS_LIB_TEST_DAEMON_H
#define TESTS_LIB_TEST_DAEMON_H

#include "ckptd/engine/commit.h"
#include "ckptd/engine/engine.h"
#include "tests/lib/test_env.h"

#define TEST_HOME "/home/h"
#define TEST_RUN  "lm"

struct test_daemon {
    struct test_env *t;
    struct engine engine;
    struct run *run; /* of the last attach */
    struct err err;  /* of the last call that failed */
};

/* The world's home keeps a record of what is asked of it (storage/store.h). */
struct store *test_recorded_home(struct test_world *w);
/* How many requests of this kind it was asked from the `since`-th on. */
size_t test_recorded(const struct store *record, size_t since,
                     enum store_op op);

/* The local store is read; no fault rules are needed for it to succeed. */
struct test_daemon *test_daemon_open(struct test_world *w, const char *name);
/* Ends in order (jobs are finished first) or, after test_daemon_kill(), as it
 * is. Takes NULL. */
void test_daemon_close(struct test_daemon *d);
/* The same, and the end of its world. */
void test_end(struct test_daemon *d);
void test_end_pair(struct test_daemon *d[2]);
/* SIGKILL, and the memory is freed. */
void test_daemon_kill(struct test_daemon *d);

/* The same, and the run's home is read. */
struct test_daemon *test_attached(struct test_world *w, const char *name);

/* Each turns the wheel until it is done. */
int test_attach(struct test_daemon *d, const char *home, const char *run);
/* What OPEN says: world_size ranks, no layout, 5 s to join, 60 s to decide. */
struct wire_open test_open_of(const char *token, uint32_t rank,
                              uint32_t world_size);
int test_join(struct test_daemon *d, const struct wire_open *open,
              struct join *join);
/* join with a plain test_open_of(); the generation, or a failure. */
int test_enter(struct test_daemon *d, const char *token, uint32_t rank,
               uint32_t world_size);

/* A commit and what it told. */
struct test_commit {
    struct commit *c; /* NULL once decided */
    struct test_daemon *d;
    struct save_id id;
    bool is_opened, is_local, is_decided;
    uint32_t told; /* how often `decided` was called */
    bool vote_at_once;
    uint32_t first_rank, rank_count; /* of the vote */
    const char *value;               /* of the vote's value "x" */
    /* What a test does at these moments; NULL: nothing. */
    void (*on_opened)(struct test_commit *v);
    void (*on_local)(struct test_commit *v);
    uint32_t decision;
    struct err err;
};

/* Begin; when opened, vote at once if v->vote_at_once. */
void test_commit_begin(struct test_daemon *d, uint64_t step,
                       struct test_commit *v);
/* The same; false when there is no memory for it. */
bool test_commit_try(struct test_daemon *d, uint64_t step,
                     struct test_commit *v);
void test_commit_vote(struct test_commit *v);
/* Until decided: the decision, 0 when limit_ms have passed. */
uint32_t test_commit_wait(struct test_commit *v, uint64_t limit_ms);
/* One rank's save of this step from begin to decision. */
uint32_t test_save(struct test_daemon *d, uint64_t step, struct test_commit *v);

/* One daemon "a" that is all of generation 1, token "t". */
struct test_daemon *test_alone(struct test_world *w);
/* Daemons "a" and "b", one rank each, in generation 1. */
void test_pair(struct test_world *w, struct test_daemon *d[2]);
/* Both begin this step, and vote when it is open. */
void test_begin_pair(struct test_daemon *d[2], uint64_t step,
                     struct test_commit v[2]);
/* For test_run(): both votes are on record, or more. */
bool test_both_voted(void *pair_of_commits);

/* A vote for ranks [first, first + count): no tensors, one value "x" of no
 * axes. malloc'd. */
void *test_vote(const struct test_daemon *d, const struct save_id *id,
                uint32_t first, uint32_t count, const char *value,
                size_t *bytes);

/* Records of the world's home as they are. */
int64_t test_get(struct test_world *w, const char *name, void *data,
                 size_t capacity);
int64_t test_put(struct test_world *w, const char *name, const void *data,
                 size_t bytes);
int64_t test_remove(struct test_world *w, const char *name);
bool test_has(struct test_world *w, const char *name);
/* Puts a record under a name that is free, and frees it. */
void test_plant(struct test_world *w, const char *name, struct wr *record);
/* A daemon's intent to save this. */
void test_plant_intent(struct test_world *w, const struct save_id *id,
                       const struct id128 *daemon);

#endif
