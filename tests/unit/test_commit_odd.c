/*
 * test_commit_odd.c - commits that meet what is rare: an owner who leaves,
 * records of others under their name, generations that change, votes and
 * records that are damaged.
 */
#include "tests/lib/test_daemon.h"

#include "formats/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECONDS ((uint64_t)1000)

static const struct save_id first = {.generation = 1, .attempt = 1, .step = 5};

/* A decision under the name of `name`, which speaks of `id`. */
static void plant_decision(struct test_world *w, const struct save_id *name,
                           const struct save_id *id, uint32_t decision)
{
    struct record_decision d = {.decision = decision, .id = *id};
    char path[RECORD_NAME_BYTES];
    struct wr r = {0};

    if (decision == DECISION_COMMIT) {
        d.manifest_bytes = 8;
        d.part_count = 1;
    } else {
        d.code = -ECANCELED;
        (void)snprintf(d.reason, sizeof d.reason, "planted");
    }
    record_decision_encode(&d, &r);
    test_plant(w, name_save(path, TEST_RUN, "decision", name), &r);
}

static void plant_vote(struct test_world *w, const struct save_id *id,
                       const struct id128 *daemon, const void *data,
                       size_t bytes)
{
    char path[RECORD_NAME_BYTES];

    assert_int_equal(
        test_put(w, name_save_daemon(path, TEST_RUN, "vote", id, daemon), data,
                 bytes),
        0);
}

/*
 * Owners.
 */

static void give_up(struct test_commit *v)
{
    commit_abort(v->c, -ENOSPC, "no room");
    commit_abort(v->c, -EIO, "and a drive is broken"); /* the first counts */
}

static void leave(struct test_commit *v)
{
    commit_disown(v->c);
}

static void an_owner_may_give_up_at_each_moment(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) {
        struct test_world *w = test_world_new(1);
        struct test_daemon *d = test_alone(w);
        struct test_commit v = {.vote_at_once = true};

        if (when == 1)
            v.on_opened = give_up;
        else if (when == 2)
            v.on_local = give_up;
        test_commit_begin(d, 5, &v);
        if (when == 0) /* before it has begun to */
            give_up(&v);
        assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
        assert_int_equal(v.err.code, -ENOSPC);
        assert_string_equal(v.err.text, "no room");
        test_end(d);
    }
}

/* A reason that is no failure is told as ABORTED. */
static void an_abort_without_a_code_has_one(void **state)
{
    struct test_world *w = test_world_new(1);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {0};

    (void)state;
    test_commit_begin(d, 5, &v);
    (void)test_run(w, 100, NULL, NULL);
    commit_abort(v.c, 0, "replaced by step 6");
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -CKPT_EABORTED);
    test_end(d);
}

/* Without its owner a commit ends as it would have, and nobody is told. */
static void an_owner_may_leave(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) {
        struct test_world *w = test_world_new(2);
        struct test_daemon *d = test_alone(w);
        struct store_fault broken = {
            .op = -1, .nth = 1, .persistent = true, .error = -EIO};
        struct test_commit v = {.vote_at_once = true};
        struct catalog_save *s;

        commit_disown(NULL);
        if (when == 2)
            test_env_fail(d->t, TEST_HOME, &broken);
        if (when == 1)
            v.on_opened = leave;
        test_commit_begin(d, 5, &v);
        if (when != 1)
            leave(&v);
        (void)test_run(w, 70 * SECONDS, NULL, NULL);
        store_fault_clear(test_env_fault(d->t, TEST_HOME));
        (void)test_run(w, 70 * SECONDS, NULL, NULL);
        assert_int_equal(v.told, 0);
        assert_true(list_is_empty(&d->run->commits));
        s = catalog_find(&d->run->catalog, &first);
        assert_non_null(s);
        assert_int_equal(s->status, when == 1 ? SAVE_COMMITTED : SAVE_ABORTED);
        test_end(d);
    }
}

static void nothing_to_do(struct env_job *job)
{
    (void)job;
}

/* Work of others, so that ours waits. */
static void keep_busy(struct test_commit *v)
{
    static struct env_job jobs[8];
    struct env *env = &v->d->t->env;

    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        jobs[i] = (struct env_job){.run = nothing_to_do, .done = nothing_to_do};
        env->ops->work(env, &jobs[i]);
    }
}

/* While the votes are being merged. */
static void an_owner_may_give_up_while_it_is_decided(void **state)
{
    uint32_t merging = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d = test_alone(w);
        struct test_commit v = {.vote_at_once = true, .on_local = keep_busy};
        bool was_merging;

        test_commit_begin(d, 5, &v);
        assert_false(commits_at_work(d->run));
        while (!v.is_local)
            (void)test_run(w, 0, NULL, NULL);
        was_merging = commits_at_work(d->run);
        if (v.c)
            commit_abort(v.c, -ECANCELED, "late");
        assert_int_not_equal(test_commit_wait(&v, SECONDS), 0);
        if (was_merging)
            assert_int_equal(v.decision, DECISION_ABORT);
        merging += was_merging;
        test_end(d);
    }
    assert_true(merging > 2);
}

/* It votes while it is being looked whether others have decided. */
static void a_vote_may_come_while_the_decision_is_looked_for(void **state)
{
    struct store_fault slow = {.op = STORE_GET,
                               .name_part = "/decision/",
                               .nth = 2,
                               .persistent = true,
                               .delay_polls = 50};
    struct test_world *w = test_world_new(21);
    struct test_daemon *d[2];
    struct test_commit v[2] = {{0}, {.vote_at_once = true, .first_rank = 1}};

    (void)state;
    test_pair(w, d);
    test_env_fail(d[0]->t, TEST_HOME, &slow);
    for (uint32_t i = 0; i < 2; i++)
        test_commit_begin(d[i], 5, &v[i]);
    while (!v[0].is_opened)
        (void)test_run(w, 0, NULL, NULL);
    for (int i = 0; i < 5; i++)
        (void)test_run(w, 0, NULL, NULL);
    test_commit_vote(&v[0]);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(test_commit_wait(&v[i], 30 * SECONDS),
                         DECISION_COMMIT);
    test_end_pair(d);
}

static void a_vote_that_is_none_aborts(void **state)
{
    struct test_world *w = test_world_new(4);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {0};

    (void)state;
    test_commit_begin(d, 5, &v);
    (void)test_run(w, 100, NULL, NULL);
    commit_vote(v.c, calloc(1, 512), 512);
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -CKPT_ECORRUPT);
    test_end(d);
}

/* One of two, and the other is no more when it is found. */
static void a_vote_that_is_none_aborts_among_others(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d[2];
        struct test_commit v[2] = {{0}, {0}};
        uint32_t bad = seed % 2;

        test_pair(w, d);
        for (uint32_t i = 0; i < 2; i++) {
            v[i].first_rank = i;
            test_commit_begin(d[i], 5, &v[i]);
        }
        while (!v[0].is_opened || !v[1].is_opened)
            (void)test_run(w, 0, NULL, NULL);
        test_commit_vote(&v[!bad]);
        while (v[!bad].c->phase < COMMIT_VOTED)
            (void)test_run(w, 0, NULL, NULL);
        test_env_kill(d[!bad]->t);
        commit_vote(v[bad].c, calloc(1, 512), 512);
        assert_int_equal(test_commit_wait(&v[bad], 30 * SECONDS),
                         DECISION_ABORT);
        assert_int_equal(v[bad].err.code, -CKPT_ECORRUPT);
        test_end_pair(d);
    }
}

/*
 * What stands under its name already.
 */

static void a_name_that_is_committed_is_refused(void **state)
{
    struct test_world *w = test_world_new(5);
    struct test_daemon *d[2];
    struct test_commit v[2] = {{0}};
    const struct save_id later = {.generation = 1, .attempt = 1, .step = 7};

    (void)state;
    test_pair(w, d);
    plant_decision(w, &later, &later, DECISION_COMMIT);
    test_commit_begin(d[0], 7, &v[0]);
    assert_int_equal(test_commit_wait(&v[0], SECONDS), DECISION_ABORT);
    assert_int_equal(v[0].err.code, -CKPT_ECONFLICT);
    assert_non_null(strstr(v[0].err.text, "lm@7"));
    /* That was nothing of this daemon's: an earlier step still goes. */
    test_begin_pair(d, 5, v);
    for (int i = 0; i < 2; i++)
        assert_int_equal(test_commit_wait(&v[i], 30 * SECONDS),
                         DECISION_COMMIT);
    test_end_pair(d);
}

/* Found only when this attempt is given up: COMMIT without our vote. */
static void a_commit_that_is_not_ours_is_refused(void **state)
{
    struct test_world *w = test_world_new(6);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {0};

    (void)state;
    test_commit_begin(d, 5, &v);
    (void)test_run(w, 100, NULL, NULL);
    plant_decision(w, &first, &first, DECISION_COMMIT);
    commit_abort(v.c, -ECANCELED, "enough");
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -CKPT_ECONFLICT);
    assert_int_equal(catalog_find(&d->run->catalog, &first)->status,
                     SAVE_COMMITTED);
    test_end(d);
}

/* A decision that does not decode, or speaks of another save, decides nothing:
 * nobody is told COMMIT or ABORT by it. */
static void a_decision_of_something_else_is_none(void **state)
{
    const struct save_id other = {.generation = 1, .attempt = 1, .step = 9};

    (void)state;
    for (int how = 0; how < 2; how++) {
        struct test_world *w = test_world_new(7);
        struct test_daemon *d[2];
        struct test_commit v[2];
        char name[RECORD_NAME_BYTES];

        test_pair(w, d);
        test_begin_pair(d, 5, v);
        while (!v[0].is_opened || !v[1].is_opened)
            (void)test_run(w, 0, NULL, NULL);
        if (how == 0)
            plant_decision(w, &first, &other, DECISION_ABORT);
        else
            assert_int_equal(
                test_put(w, name_save(name, TEST_RUN, "decision", &first),
                         "noise", 5),
                0);
        (void)test_run(w, 30 * SECONDS, NULL, NULL);
        for (int i = 0; i < 2; i++) {
            assert_false(v[i].is_decided);
            assert_true(test_env_logged(d[i]->t, "cannot be read"));
        }
        test_end_pair(d);
    }
}

/* The same when it is there before the save begins, which it then fails, as
 * nobody can say what was decided; but its reason counts for nothing. */
static void a_decision_of_something_else_ends_no_attempt(void **state)
{
    const struct save_id other = {.generation = 1, .attempt = 1, .step = 9};
    struct test_world *w = test_world_new(7);
    struct test_daemon *d[2];
    struct test_commit v[2];

    (void)state;
    test_pair(w, d);
    plant_decision(w, &first, &other, DECISION_ABORT);
    test_begin_pair(d, 5, v);
    (void)test_run(w, 30 * SECONDS, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(v[i].decision, DECISION_ABORT);
        assert_int_equal(v[i].err.code, -CKPT_ECORRUPT);
        assert_non_null(strstr(v[i].err.text, "speaks of another save"));
        assert_null(strstr(v[i].err.text, "planted"));
    }
    test_end_pair(d);
}

/* Creation answers that it is there, and it is not. */
static void a_name_that_is_there_and_is_not_is_tried_again(void **state)
{
    static const struct store_fault fault = {
        .op = STORE_PUT, .name_part = "/decision/", .nth = 1, .error = -EEXIST};
    struct test_world *w = test_world_new(8);
    struct test_daemon *d = test_alone(w);
    struct test_commit v;

    (void)state;
    test_env_fail(d->t, TEST_HOME, &fault);
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_true(test_env_logged(d->t, "could not be created"));
    test_end(d);
}

static void an_intent_of_an_earlier_life_is_taken_over(void **state)
{
    struct test_world *w = test_world_new(9);
    struct test_daemon *d = test_alone(w);
    struct test_commit v;

    (void)state;
    test_plant_intent(w, &first, &d->t->env.local_uuid);
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    test_end(d);
}

/*
 * Several at once.
 */

static void two_of_one_step_at_once_are_one(void **state)
{
    struct test_world *w = test_world_new(10);
    struct test_daemon *d = test_alone(w);
    struct test_commit v[4];
    uint32_t commits = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = (struct test_commit){.vote_at_once = true};
        test_commit_begin(d, i < 2 ? 5 : 6, &v[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        uint32_t decision = test_commit_wait(&v[i], 5 * SECONDS);

        commits += decision == DECISION_COMMIT;
        if (decision == DECISION_ABORT)
            assert_int_equal(v[i].err.code, -CKPT_ECONFLICT);
    }
    assert_int_equal(commits, 2);
    test_end(d);
}

/* The owner was told ABORT because the home cannot be reached: it may save the
 * step again while that is still being put on record. */
static void a_step_that_was_told_aborted_is_saved_again(void **state)
{
    struct store_fault broken = {
        .op = -1, .nth = 1, .persistent = true, .error = -EIO};
    struct test_world *w = test_world_new(11);
    struct test_daemon *d = test_alone(w);
    struct store *store = test_env_fault(d->t, TEST_HOME);
    struct test_commit v[2] = {{0}, {.vote_at_once = true}};

    (void)state;
    assert_int_equal(store_fault_add(store, &broken), 0);
    test_commit_begin(d, 5, &v[0]);
    assert_int_equal(test_commit_wait(&v[0], SECONDS), DECISION_ABORT);
    assert_false(list_is_empty(&d->run->commits));
    store_fault_clear(store);
    test_commit_begin(d, 5, &v[1]);
    assert_int_equal(test_commit_wait(&v[1], 5 * SECONDS), DECISION_COMMIT);
    assert_int_equal(v[1].id.attempt, 2);
    test_end(d);
}

/*
 * Generations that change meanwhile.
 */

/* Daemon b starts the job anew, and a comes along: a's save is aborted by b. */
static void start_anew(struct test_daemon *d[2])
{
    struct wire_open open = test_open_of("u", 0, 2);
    struct join join;

    open.open_timeout_ms = 100 * SECONDS;
    assert_int_equal(test_join(d[1], &open, &join), 0);
    open.rank = 1;
    assert_int_equal(test_join(d[0], &open, &join), 0);
    assert_int_equal(join.generation, 2);
}

/* It cannot be put on record here; the next generation goes on meanwhile. */
static void a_save_of_the_last_generation_is_decided_in_the_next(void **state)
{
    struct store_fault broken = {.op = STORE_PUT,
                                 .name_part = "/decision/00000001",
                                 .nth = 1,
                                 .persistent = true,
                                 .error = -EIO};
    struct test_world *w = test_world_new(20);
    struct test_daemon *d[2];
    struct test_commit v = {.vote_at_once = true}, next[2];
    struct store *store;

    (void)state;
    test_pair(w, d);
    store = test_env_fault(d[0]->t, TEST_HOME);
    assert_int_equal(store_fault_add(store, &broken), 0);
    test_commit_begin(d[0], 5, &v);
    start_anew(d);
    assert_false(v.is_decided);
    for (uint32_t i = 0; i < 2; i++) {
        next[i] = (struct test_commit){.vote_at_once = true, .first_rank = !i};
        test_commit_begin(d[i], 3, &next[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(test_commit_wait(&next[i], 30 * SECONDS),
                         DECISION_COMMIT);
        assert_int_equal(next[i].id.generation, 2);
    }
    store_fault_clear(store);
    assert_int_equal(test_commit_wait(&v, 90 * SECONDS), DECISION_ABORT);
    test_end_pair(d);
}

/* A vote is still being read when the generation changes. */
static void a_slow_read_of_a_vote_may_end_in_the_next_generation(void **state)
{
    (void)state;
    for (uint32_t polls = 100; polls < 200; polls += 10) {
        struct store_fault slow = {.op = STORE_GET,
                                   .name_part = "/vote/",
                                   .nth = 1,
                                   .persistent = true,
                                   .delay_polls = polls};
        struct test_world *w = test_world_new(polls);
        struct test_daemon *d[2];
        struct test_commit v = {.vote_at_once = true};

        test_pair(w, d);
        test_env_fail(d[0]->t, TEST_HOME, &slow);
        test_commit_begin(d[0], 5, &v);
        (void)test_run(w, 10, NULL, NULL);
        w->step_ns = SECONDS / 2 * 1000 * 1000; /* polls take long */
        start_anew(d);
        w->step_ns = (uint64_t)10 * 1000;
        assert_int_equal(test_commit_wait(&v, 90 * SECONDS), DECISION_ABORT);
        test_end_pair(d);
    }
}

static void a_rank_that_never_joined_is_told_of(void **state)
{
    struct test_world *w = test_world_new(12);
    struct test_daemon *d = test_daemon_open(w, "a");
    struct test_commit v = {.vote_at_once = true};

    (void)state;
    assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
    assert_int_equal(test_enter(d, "t", 0, 2), 1);
    test_commit_begin(d, 5, &v);
    assert_int_equal(test_commit_wait(&v, 70 * SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -ETIMEDOUT);
    assert_non_null(strstr(v.err.text, "1 of 2 ranks had joined"));
    test_end(d);
}

static void a_vote_that_cannot_be_read_is_told_with_its_cause(void **state)
{
    struct store_fault broken = {.op = STORE_GET,
                                 .name_part = "/vote/",
                                 .nth = 1,
                                 .persistent = true,
                                 .error = -EIO};
    struct test_world *w = test_world_new(13);
    struct test_daemon *d[2];
    struct test_commit v[2];

    (void)state;
    test_pair(w, d);
    for (int i = 0; i < 2; i++)
        test_env_fail(d[i]->t, TEST_HOME, &broken);
    test_begin_pair(d, 5, v);
    assert_int_equal(test_commit_wait(&v[0], 70 * SECONDS), DECISION_ABORT);
    assert_int_equal(v[0].err.code, -ETIMEDOUT);
    assert_non_null(strstr(v[0].err.text, "had not voted"));
    assert_non_null(strstr(v[0].err.text, err_text(-EIO)));
    test_end_pair(d);
}

/* A COMMIT that cannot be created by the deadline becomes an ABORT. */
static void what_cannot_be_decided_in_time_is_aborted(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct store_fault broken = {.op = STORE_PUT,
                                     .name_part = "/decision/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = how ? -EEXIST : -EIO};
        struct test_world *w = test_world_new(14);
        struct test_daemon *d = test_alone(w);
        struct store *store = test_env_fault(d->t, TEST_HOME);
        struct test_commit v = {.vote_at_once = true};

        assert_int_equal(store_fault_add(store, &broken), 0);
        test_commit_begin(d, 5, &v);
        assert_int_equal(test_commit_wait(&v, 80 * SECONDS), 0);
        store_fault_clear(store);
        assert_int_equal(test_commit_wait(&v, 30 * SECONDS), DECISION_ABORT);
        assert_int_equal(v.err.code, -ETIMEDOUT);
        assert_non_null(strstr(v.err.text, how ? "unknown" : err_text(-EIO)));
        test_end(d);
    }
}

static void a_rank_that_came_through_two_daemons_aborts(void **state)
{
    struct record_member twice = {
        .host = "c", .rank_count = 1, .rank = (uint32_t[]){0}};
    struct test_world *w = test_world_new(15);
    struct test_daemon *d = test_daemon_open(w, "a");
    struct test_commit v = {.vote_at_once = true};
    char name[RECORD_NAME_BYTES];
    struct wr r = {0};

    (void)state;
    assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
    assert_int_equal(test_enter(d, "t", 0, 2), 1);
    memset(&twice.daemon, 7, sizeof twice.daemon);
    record_member_encode(&twice, &r);
    test_plant(w, name_member(name, TEST_RUN, 1, &twice.daemon, 0), &r);
    test_commit_begin(d, 5, &v);
    assert_int_equal(test_commit_wait(&v, 5 * SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -ESTALE);
    test_end(d);
}

/*
 * Votes of others that are none.
 */

static void a_vote_must_be_that_daemons_on_that_save(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct test_world *w = test_world_new(16);
        struct test_daemon *d[2];
        struct test_commit v = {.vote_at_once = true};
        struct save_id id = first;
        struct run *run;
        struct id128 uuid;
        size_t bytes;
        uint8_t *vote;

        test_pair(w, d);
        run = d[1]->run;
        uuid = run->catalog.uuid;
        if (how == 0)
            id.step = 6;
        if (how == 1)
            memset(&run->catalog.uuid, 9, sizeof uuid);
        vote = test_vote(d[how == 2 ? 0 : 1], &id, 1, 1, "same", &bytes);
        run->catalog.uuid = uuid;
        if (how == 3) { /* a manifest where a vote should be */
            struct manifest_builder *b = manifest_builder_new();
            struct manifest m;
            struct err err;
            void *whole;

            assert_int_equal(manifest_open(vote, bytes, &m, &err), 0);
            assert_int_equal(manifest_add_vote(b, &m, &err), 0);
            m.info.kind = MANIFEST_CHECKPOINT;
            assert_int_equal(
                manifest_write(b, &m.info, &m.layout, &whole, &bytes, &err), 0);
            manifest_builder_free(b);
            free(vote);
            vote = whole;
        }
        plant_vote(w, &first, &d[1]->t->env.local_uuid, vote, bytes);
        free(vote);
        test_commit_begin(d[0], 5, &v);
        assert_int_equal(test_commit_wait(&v, 5 * SECONDS), DECISION_ABORT);
        assert_int_equal(v.err.code, -CKPT_ECORRUPT);
        assert_non_null(strstr(v.err.text, "not this daemon's vote"));
        test_end_pair(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_may_give_up_at_each_moment),
        cmocka_unit_test(an_abort_without_a_code_has_one),
        cmocka_unit_test(an_owner_may_leave),
        cmocka_unit_test(an_owner_may_give_up_while_it_is_decided),
        cmocka_unit_test(a_vote_may_come_while_the_decision_is_looked_for),
        cmocka_unit_test(a_vote_that_is_none_aborts),
        cmocka_unit_test(a_vote_that_is_none_aborts_among_others),
        cmocka_unit_test(a_name_that_is_committed_is_refused),
        cmocka_unit_test(a_commit_that_is_not_ours_is_refused),
        cmocka_unit_test(a_decision_of_something_else_is_none),
        cmocka_unit_test(a_decision_of_something_else_ends_no_attempt),
        cmocka_unit_test(a_name_that_is_there_and_is_not_is_tried_again),
        cmocka_unit_test(an_intent_of_an_earlier_life_is_taken_over),
        cmocka_unit_test(two_of_one_step_at_once_are_one),
        cmocka_unit_test(a_step_that_was_told_aborted_is_saved_again),
        cmocka_unit_test(a_save_of_the_last_generation_is_decided_in_the_next),
        cmocka_unit_test(a_slow_read_of_a_vote_may_end_in_the_next_generation),
        cmocka_unit_test(a_rank_that_never_joined_is_told_of),
        cmocka_unit_test(a_vote_that_cannot_be_read_is_told_with_its_cause),
        cmocka_unit_test(what_cannot_be_decided_in_time_is_aborted),
        cmocka_unit_test(a_rank_that_came_through_two_daemons_aborts),
        cmocka_unit_test(a_vote_must_be_that_daemons_on_that_save),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
