/*
 * test_daemon.c - see test_daemon.h.
 */
#include "tests/lib/test_daemon.h"
#include "tests/lib/media.h"

#include "ckptd/engine/drain.h"
#include "formats/manifest.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct answer {
    bool is_done;
    int result;
    struct run *run;
    struct err err;
};

static bool is_done(void *arg)
{
    return ((struct answer *)arg)->is_done;
}

static void pool_opened(void *arg, int result, const struct err *err)
{
    struct answer *a = arg;

    (void)err;
    a->result = result;
    a->is_done = true;
}

struct store *test_recorded_home(struct test_world *w)
{
    struct store *below, *record;
    struct err err;
    int rc = store_memory_open(7, &below, &err);

    assert(rc == 0);
    rc = store_record_open(below, &record, &err);
    assert(rc == 0);
    test_world_add(w, TEST_HOME, record);
    return record;
}

size_t test_recorded(const struct store *record, size_t since, enum store_op op)
{
    size_t count = 0;

    for (size_t i = since; i < store_record_count(record); i++)
        count += store_record_at(record, i)->op == op;
    return count;
}

struct test_daemon *test_daemon_open(struct test_world *w, const char *name)
{
    struct test_daemon *d = calloc(1, sizeof *d);
    struct answer a = {0};
    bool done;
    int rc;

    assert(d);
    d->t = test_env_new(w, name);
    d->engine.env = &d->t->env;
    list_init(&d->engine.homes);
    list_init(&d->engine.sessions);
    list_init(&d->engine.arenas);
    list_init(&d->engine.readers);
    rc = drain_open(&d->engine);
    assert(rc == 0);
    segpool_open(&d->t->env, &d->engine.pool, pool_opened, &a);
    done = test_run(w, 10000, is_done, &a);
    assert(done && a.result == 0);
    return d;
}

/* No job of anybody, nothing of our pool. */
static bool is_quiet(void *arg)
{
    const struct test_daemon *d = arg;

    return list_is_empty(&d->t->world->jobs) && !homes_opening(&d->engine) &&
           !drain_is_busy(&d->engine) && !segpool_is_busy(d->engine.pool);
}

void test_daemon_close(struct test_daemon *d)
{
    bool done;

    if (!d)
        return;
    d->engine.is_halted = d->engine.is_closing = true; /* as engine_halt() */
    drain_stop(&d->engine);
    segpool_stop(d->engine.pool);
    done = test_run(d->t->world, 10000, is_quiet, d);
    assert(done);
    drain_close(&d->engine);
    homes_close(&d->engine);
    segpool_close(d->engine.pool);
    test_env_free(d->t);
    free(d);
}

void test_end(struct test_daemon *d)
{
    struct test_world *w = d->t->world;

    test_daemon_close(d);
    test_world_free(w);
}

void test_end_pair(struct test_daemon *d[2])
{
    test_daemon_close(d[0]);
    test_end(d[1]);
}

void test_daemon_kill(struct test_daemon *d)
{
    test_env_kill(d->t);
    test_daemon_close(d);
}

static void attached(void *arg, int result, struct run *run,
                     const struct err *err)
{
    struct answer *a = arg;

    a->is_done = true;
    a->result = result;
    a->run = run;
    a->err = *err;
}

int test_attach(struct test_daemon *d, const char *home, const char *run)
{
    struct answer a = {0};
    bool done;

    run_attach(&d->engine, home, run, attached, &a);
    assert(!a.is_done || a.result == -ENOMEM);
    done = test_run(d->t->world, 100000, is_done, &a);
    assert(done);
    d->run = a.run;
    d->err = a.err;
    return a.result;
}

struct test_daemon *test_attached(struct test_world *w, const char *name)
{
    struct test_daemon *d = test_daemon_open(w, name);
    int rc = test_attach(d, TEST_HOME, TEST_RUN);

    assert(rc == 0);
    return d;
}

struct wire_open test_open_of(const char *token, uint32_t rank,
                              uint32_t world_size)
{
    struct wire_open o = {.rank = rank,
                          .world_size = world_size,
                          .open_timeout_ms = 5000,
                          .decide_timeout_ms = 60000};

    (void)snprintf(o.home, sizeof o.home, "%s", TEST_HOME);
    (void)snprintf(o.run, sizeof o.run, "%s", TEST_RUN);
    (void)snprintf(o.token, sizeof o.token, "%s", token);
    return o;
}

static void joined(struct join *join, int result)
{
    struct answer *a = join->owner;

    a->is_done = true;
    a->result = result;
}

int test_join(struct test_daemon *d, const struct wire_open *open,
              struct join *join)
{
    struct answer a = {0};
    bool done;

    *join =
        (struct join){.open = open, .run = d->run, .done = joined, .owner = &a};
    join_begin(join);
    assert(!a.is_done);
    done = test_run(d->t->world, 200000, is_done, &a);
    assert(done);
    d->err = join->err;
    return a.result;
}

int test_enter(struct test_daemon *d, const char *token, uint32_t rank,
               uint32_t world_size)
{
    struct wire_open open = test_open_of(token, rank, world_size);
    struct join join;
    int rc = test_join(d, &open, &join);

    return rc < 0 ? rc : (int)join.generation;
}

/*
 * Commits.
 */

static struct manifest_builder *vote_fill(const struct test_daemon *d,
                                          uint32_t first, uint32_t count,
                                          const char *value)
{
    struct manifest_builder *b = manifest_builder_new();
    struct writelist list = {0};
    struct value v = {.name = "x",
                      .name_bytes = 1,
                      .type = VALUE_STRING,
                      .data = value,
                      .bytes = strlen(value)};
    struct err err;
    int rc = 0;

    assert(b);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct built_rank rank = {
            .rank = first + i, .daemon = d->t->env.local_uuid, .list = &list};

        rc = manifest_add_rank(b, &rank, &err);
        if (rc == 0)
            rc = manifest_add_value(b, rank.rank, &v, &err);
    }
    assert(rc == 0);
    return b;
}

void *test_vote(const struct test_daemon *d, const struct save_id *id,
                uint32_t first, uint32_t count, const char *value,
                size_t *bytes)
{
    struct manifest_builder *b = vote_fill(d, first, count, value);
    struct manifest_info info = {
        .kind = MANIFEST_VOTE,
        .world_size = d->run->world_size,
        .chunk_bytes = 1 << 20,
        .run = d->run->catalog.uuid,
        .daemon = d->t->env.local_uuid,
        .id = *id,
        .created_unix_ms = 1700000000000u + id->step,
    };
    struct layout none = {0};
    void *data = NULL;
    struct err err;
    int rc = manifest_write(b, &info, &none, &data, bytes, &err);

    if (rc < 0)
        (void)fprintf(stderr, "vote: %s\n", err.text);
    assert(rc == 0);
    manifest_builder_free(b);
    return data;
}

void test_commit_vote(struct test_commit *v)
{
    size_t bytes;
    bool was = test_cross(v->d->t->world, false);
    void *vote = test_vote(v->d, &v->c->id, v->first_rank, v->rank_count,
                           v->value ? v->value : "same", &bytes);

    (void)test_cross(v->d->t->world, was);
    commit_vote(v->c, vote, bytes);
}

static void opened(void *arg, struct commit *c)
{
    struct test_commit *v = arg;

    assert(c->phase == COMMIT_OPEN && !v->is_opened);
    v->is_opened = true;
    v->id = c->id;
    if (v->vote_at_once)
        test_commit_vote(v);
    if (v->on_opened)
        v->on_opened(v);
}

static void local(void *arg, struct commit *c)
{
    struct test_commit *v = arg;

    (void)c;
    assert(v->is_opened && !v->is_local);
    v->is_local = true;
    if (v->on_local)
        v->on_local(v);
}

static void decided(void *arg, struct commit *c)
{
    struct test_commit *v = arg;

    v->told++;
    v->is_decided = true;
    v->decision = c->decision;
    v->err = c->error;
    v->id = c->id;
    v->c = NULL;
}

static const struct commit_events events = {opened, local, decided};

bool test_commit_try(struct test_daemon *d, uint64_t step,
                     struct test_commit *v)
{
    v->d = d;
    if (v->rank_count == 0)
        v->rank_count = 1;
    v->c = commit_begin(d->run, step, &events, v);
    return v->c != NULL;
}

void test_commit_begin(struct test_daemon *d, uint64_t step,
                       struct test_commit *v)
{
    bool begun = test_commit_try(d, step, v);

    assert(begun && !v->is_decided);
}

static bool commit_is_decided(void *arg)
{
    return ((struct test_commit *)arg)->is_decided;
}

uint32_t test_commit_wait(struct test_commit *v, uint64_t limit_ms)
{
    (void)test_run(v->d->t->world, limit_ms, commit_is_decided, v);
    return v->is_decided ? v->decision : 0;
}

uint32_t test_save(struct test_daemon *d, uint64_t step, struct test_commit *v)
{
    *v = (struct test_commit){.vote_at_once = true};
    v->rank_count = d->run->world_size;
    test_commit_begin(d, step, v);
    return test_commit_wait(v, 100000);
}

static void enter(struct test_daemon *d, uint32_t rank, uint32_t world_size)
{
    int rc = test_attach(d, TEST_HOME, TEST_RUN);

    assert(rc == 0);
    rc = test_enter(d, "t", rank, world_size);
    assert(rc == 1);
}

struct test_daemon *test_alone(struct test_world *w)
{
    struct test_daemon *d = test_daemon_open(w, "a");

    enter(d, 0, 1);
    return d;
}

void test_pair(struct test_world *w, struct test_daemon *d[2])
{
    for (uint32_t i = 0; i < 2; i++) {
        d[i] = test_daemon_open(w, i ? "b" : "a");
        enter(d[i], i, 2);
    }
}

void test_begin_pair(struct test_daemon *d[2], uint64_t step,
                     struct test_commit v[2])
{
    for (uint32_t i = 0; i < 2; i++) {
        v[i] = (struct test_commit){.vote_at_once = true, .first_rank = i};
        test_commit_begin(d[i], step, &v[i]);
    }
}

bool test_both_voted(void *pair_of_commits)
{
    const struct test_commit *v = pair_of_commits;

    return v[0].is_decided || v[1].is_decided ||
           (v[0].c->phase >= COMMIT_VOTED && v[1].c->phase >= COMMIT_VOTED);
}

/*
 * The home as it is.
 */

int64_t test_get(struct test_world *w, const char *name, void *data,
                 size_t capacity)
{
    return media_get(test_world_store(w, TEST_HOME), name, data, capacity);
}

int64_t test_put(struct test_world *w, const char *name, const void *data,
                 size_t bytes)
{
    return media_put(test_world_store(w, TEST_HOME), name, data, bytes);
}

int64_t test_remove(struct test_world *w, const char *name)
{
    return media_remove(test_world_store(w, TEST_HOME), name);
}

bool test_has(struct test_world *w, const char *name)
{
    return media_has(test_world_store(w, TEST_HOME), name);
}

void test_plant(struct test_world *w, const char *name, struct wr *record)
{
    int64_t rc = test_put(w, name, record->data, record->bytes);

    assert(!record->failed && rc == 0);
    wr_free(record);
}

void test_plant_intent(struct test_world *w, const struct save_id *id,
                       const struct id128 *daemon)
{
    struct record_mark mark = {.id = *id, .daemon = *daemon};
    char name[RECORD_NAME_BYTES];
    struct wr r = {0};

    record_mark_encode(RECORD_INTENT, &mark, &r);
    test_plant(w, name_save_daemon(name, TEST_RUN, "intent", id, daemon), &r);
}
