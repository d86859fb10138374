/*
 * test_join.c - attaching homes and runs, and joining generations.
 */
#include "tests/lib/test_daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECONDS ((uint64_t)1000)

static void finish(struct test_world *w, struct test_daemon *a,
                   struct test_daemon *b)
{
    test_daemon_close(a);
    test_daemon_close(b);
    test_world_free(w);
}

static const struct record_generation *newest(const struct test_daemon *d)
{
    return &catalog_newest(&d->run->catalog)->record;
}

/*
 * Attaching.
 */

static void an_empty_folder_becomes_a_home_once(void **state)
{
    struct test_world *w = test_world_new(1);
    struct test_daemon *a = test_attached(w, "a");
    struct test_daemon *b = test_attached(w, "b");
    struct run *run = a->run;

    (void)state;
    assert_true(test_has(w, "STORE"));
    assert_true(test_has(w, "runs/lm/RUN"));
    assert_true(id_equal(&a->run->home->uuid, &b->run->home->uuid));
    assert_true(id_equal(&a->run->catalog.uuid, &b->run->catalog.uuid));
    assert_int_equal(test_attach(a, TEST_HOME, TEST_RUN), 0);
    assert_ptr_equal(a->run, run);
    assert_int_equal(test_attach(a, TEST_HOME, "other"), 0);
    assert_ptr_not_equal(a->run, run);
    assert_ptr_equal(a->run->home, run->home);
    finish(w, a, b);
}

static void two_spellings_are_one_home(void **state)
{
    struct test_world *w = test_world_new(2);
    struct test_daemon *d = test_attached(w, "a");
    struct run *run = d->run;

    (void)state;
    test_world_alias(w, "/mnt/h", TEST_HOME);
    assert_int_equal(test_attach(d, "/mnt/h", TEST_RUN), 0);
    assert_ptr_equal(d->run, run);
    assert_ptr_equal(d->engine.homes.next, d->engine.homes.prev);
    finish(w, d, NULL);
}

static void a_folder_with_other_things_is_refused(void **state)
{
    struct test_world *w = test_world_new(3);
    struct test_daemon *d = test_daemon_open(w, "a");

    (void)state;
    assert_int_equal(test_put(w, "holiday.jpg", "x", 1), 0);
    assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), -ENOTEMPTY);
    assert_non_null(strstr(d->err.text, TEST_HOME));
    assert_non_null(strstr(d->err.text, "holiday.jpg"));
    assert_false(test_has(w, "STORE"));
    assert_true(list_is_empty(&d->engine.homes));
    finish(w, d, NULL);
}

static void a_home_that_lost_its_store_record_is_refused(void **state)
{
    struct test_world *w = test_world_new(4);
    struct test_daemon *d = test_daemon_open(w, "a");

    (void)state;
    assert_int_equal(test_put(w, "runs/lm/RUN", "x", 1), 0);
    assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), -CKPT_ECORRUPT);
    assert_non_null(strstr(d->err.text, "STORE"));
    finish(w, d, NULL);
}

static void bad_names_and_damage_are_told_in_words(void **state)
{
    struct test_world *w = test_world_new(5);
    struct test_daemon *d = test_attached(w, "a");

    (void)state;
    assert_int_equal(test_attach(d, TEST_HOME, ".."), -EINVAL);
    assert_int_equal(test_attach(d, TEST_HOME, "a/b"), -EINVAL);
    assert_int_equal(test_put(w, "runs/bad/RUN", "junk", 4), 0);
    assert_int_equal(test_attach(d, TEST_HOME, "bad"), -CKPT_ECORRUPT);
    assert_non_null(strstr(d->err.text, TEST_HOME));
    assert_non_null(strstr(d->err.text, "bad"));
    finish(w, d, NULL);
}

static void an_unreadable_decision_does_not_keep_the_run_from_use(void **state)
{
    struct test_world *w = test_world_new(6);
    struct test_daemon *d = test_attached(w, "a");
    struct save_id six = {.generation = 1, .attempt = 1, .step = 6};
    char name[RECORD_NAME_BYTES];
    struct test_commit v;

    (void)state;
    assert_int_equal(test_enter(d, "t", 0, 1), 1);
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_int_equal(
        test_put(w, name_save(name, TEST_RUN, "decision", &six), "junk", 4), 0);
    test_daemon_close(d);
    d = test_attached(w, "a");
    assert_int_equal(catalog_find(&d->run->catalog, &six)->status,
                     SAVE_UNREADABLE);
    assert_true(test_env_logged(d->t, "cannot be read"));
    assert_int_equal(test_enter(d, "u", 0, 1), 2);
    assert_int_equal(newest(d)->parent.step, 5);
    finish(w, d, NULL);
}

/*
 * Joining.
 */

static void one_rank_needs_no_token(void **state)
{
    struct test_world *w = test_world_new(10);
    struct test_daemon *d = test_attached(w, "a");

    (void)state;
    assert_int_equal(test_enter(d, "", 0, 1), 1);
    assert_int_equal(newest(d)->parent.generation, 0);
    assert_int_equal(strlen(newest(d)->token), 32);
    assert_true(members_complete(d->run));
    assert_int_equal(members_here(d->run), 1);
    assert_int_equal(test_enter(d, "", 0, 1), 2);
    assert_int_equal(test_enter(d, "", 0, 2), -EINVAL);
    assert_non_null(strstr(d->err.text, "token"));
    assert_int_equal(test_enter(d, "t", 2, 2), -EINVAL);
    assert_int_equal(test_enter(d, "t", 0, UINT32_MAX), -EINVAL);
    finish(w, d, NULL);
}

struct ranks {
    struct wire_open open[16];
    struct join join[16];
    int result[16];
    uint32_t pending;
};

static void rank_joined(struct join *join, int result)
{
    struct ranks *r = join->owner;

    r->result[join->open->rank] = result;
    r->pending--;
}

static bool all_joined(void *arg)
{
    return ((struct ranks *)arg)->pending == 0;
}

/* Ranks [from, to) of `of`, at once. */
static void join_many(struct test_daemon *d, struct ranks *r, uint32_t from,
                      uint32_t to, uint32_t of)
{
    for (uint32_t i = from; i < to; i++) {
        r->open[i] = test_open_of("t", i, of);
        r->join[i] = (struct join){.open = &r->open[i],
                                   .run = d->run,
                                   .done = rank_joined,
                                   .owner = r};
        r->result[i] = 1;
        r->pending++;
        join_begin(&r->join[i]);
    }
}

static uint32_t member_records(struct test_world *w)
{
    struct store *s = test_world_store(w, TEST_HOME);
    struct store_req req = {.op = STORE_LIST, .name = "runs/lm/member"};
    uint32_t count;

    assert_int_equal(store_run(s, &req), 0);
    count = (uint32_t)req.names.count;
    store_names_free(&req.names);
    return count;
}

static void ranks_of_two_daemons_join_one_generation(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *a = test_attached(w, "a");
        struct test_daemon *b = test_attached(w, "b");
        struct ranks r = {.pending = 0};

        join_many(a, &r, 0, 8, 16);
        join_many(b, &r, 8, 16, 16);
        assert_true(test_run(w, 20 * SECONDS, all_joined, &r));
        for (uint32_t i = 0; i < 16; i++) {
            assert_int_equal(r.result[i], 0);
            assert_int_equal(r.join[i].generation, r.join[0].generation);
        }
        assert_int_equal(catalog_newest(&a->run->catalog)->record.generation,
                         1);
        assert_int_equal(members_here(a->run), 8);
        assert_int_equal(members_here(b->run), 8);
        assert_true(member_records(w) <= 4);
        finish(w, a, b);
    }
}

static void refreshed(void *arg, int result)
{
    int *to = arg;

    *to = result;
}

static void members_are_complete_when_every_rank_is_read(void **state)
{
    struct test_world *w = test_world_new(11);
    struct test_daemon *a = test_attached(w, "a");
    struct test_daemon *b = test_attached(w, "b");
    struct id128 daemon;
    int result = 1;

    (void)state;
    assert_int_equal(test_enter(a, "t", 0, 2), 1);
    assert_false(members_complete(a->run));
    assert_int_equal(test_enter(b, "t", 1, 2), 1);
    assert_true(members_complete(b->run));
    assert_false(members_complete(a->run));
    members_refresh(a->run, refreshed, &result);
    assert_int_equal(result, 1);
    (void)test_run(w, SECONDS, NULL, NULL);
    assert_int_equal(result, 0);
    assert_true(members_complete(a->run));
    assert_int_equal(members_here(a->run), 1);
    assert_int_equal(members_find(&a->run->members, 1, &daemon), 0);
    assert_true(id_equal(&daemon, &b->t->env.local_uuid));
    finish(w, a, b);
}

static void a_second_process_of_a_rank_is_stale(void **state)
{
    struct test_world *w = test_world_new(12);
    struct test_daemon *a = test_attached(w, "a");
    struct test_daemon *b = test_attached(w, "b");
    struct wire_open again = test_open_of("t", 0, 2);
    struct join join;

    (void)state;
    assert_int_equal(test_enter(a, "t", 0, 2), 1);
    assert_int_equal(test_enter(a, "t", 0, 2), -ESTALE);
    assert_non_null(strstr(a->err.text, "rank 0"));
    assert_int_equal(test_enter(b, "t", 0, 2), -ESTALE);
    assert_non_null(strstr(b->err.text, "host a"));
    /* The same process, after its daemon was lost: only there. */
    again.rejoin = 1;
    assert_int_equal(test_join(b, &again, &join), -ESTALE);
    assert_int_equal(test_join(a, &again, &join), 0);
    assert_int_equal(join.generation, 1);
    test_daemon_kill(a);
    a = test_attached(w, "a");
    assert_int_equal(test_join(a, &again, &join), 0);
    assert_int_equal(join.generation, 1);
    assert_int_equal(test_enter(a, "t", 1, 2), 1);
    assert_true(members_complete(a->run));
    finish(w, a, b);
}

static void the_same_rank_twice_at_once_is_one_member(void **state)
{
    struct test_world *w = test_world_new(13);
    struct test_daemon *d = test_attached(w, "a");
    struct ranks one = {.pending = 0}, two = {.pending = 0};

    (void)state;
    join_many(d, &one, 0, 1, 1);
    join_many(d, &two, 0, 1, 1);
    assert_true(test_run(w, SECONDS, all_joined, &one));
    assert_true(test_run(w, SECONDS, all_joined, &two));
    assert_true((one.result[0] == 0 && two.result[0] == -ESTALE) ||
                (two.result[0] == 0 && one.result[0] == -ESTALE));
    finish(w, d, NULL);
}

static void a_rank_through_two_daemons_is_a_conflict_that_stays(void **state)
{
    struct test_world *w = test_world_new(14);
    struct test_daemon *a = test_attached(w, "a");
    struct test_daemon *b = test_attached(w, "b");
    uint32_t rank = 0;
    struct record_member record = {.daemon = b->t->env.local_uuid,
                                   .host = "b",
                                   .rank = &rank,
                                   .rank_count = 1};
    char name[RECORD_NAME_BYTES];
    struct wr wr = {0};
    int result = 0;

    (void)state;
    assert_int_equal(test_enter(a, "t", 0, 1), 1);
    record_member_encode(&record, &wr); /* b was at it at the same moment */
    assert_int_equal(test_put(w,
                              name_member(name, TEST_RUN, 1, &record.daemon, 0),
                              wr.data, wr.bytes),
                     0);
    wr_free(&wr);
    members_refresh(a->run, refreshed, &result);
    (void)test_run(w, SECONDS, NULL, NULL);
    assert_int_equal(result, -ESTALE);
    assert_false(members_complete(a->run));
    assert_non_null(strstr(a->run->members.conflict.text, "rank 0"));
    assert_non_null(strstr(a->run->members.conflict.text, "host b"));
    finish(w, a, b);
}

static void another_shape_of_the_job_is_refused(void **state)
{
    struct test_world *w = test_world_new(15);
    struct test_daemon *d = test_attached(w, "a");
    struct wire_open open = test_open_of("t", 1, 2);
    struct join join;

    (void)state;
    open.layout.axis_count = 1;
    open.layout.axis[0] = (struct axis){.name = "dp", .degree = 2};
    assert_int_equal(test_enter(d, "t", 0, 2), 1);
    assert_int_equal(test_enter(d, "t", 1, 4), -EINVAL);
    assert_non_null(strstr(d->err.text, "4 ranks"));
    assert_int_equal(test_join(d, &open, &join), -EINVAL);
    assert_non_null(strstr(d->err.text, "dp=2"));
    assert_int_equal(test_enter(d, "t", 1, 2), 1);
    finish(w, d, NULL);
}

static void an_older_token_is_stale(void **state)
{
    struct test_world *w = test_world_new(16);
    struct test_daemon *a = test_attached(w, "a");
    struct test_daemon *b = test_attached(w, "b");

    (void)state;
    assert_int_equal(test_enter(a, "t", 0, 2), 1);
    assert_int_equal(test_enter(a, "u", 0, 2), 2);
    assert_int_equal(test_enter(b, "t", 1, 2), -ESTALE);
    assert_non_null(strstr(b->err.text, "generation 1"));
    assert_non_null(strstr(b->err.text, "generation 2"));
    assert_int_equal(test_enter(a, "t", 1, 2), -ESTALE);
    assert_int_equal(test_enter(b, "u", 1, 2), 2);
    finish(w, a, b);
}

static void jobs_that_race_never_share_a_generation(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d[2] = {test_attached(w, "a"),
                                    test_attached(w, "b")};
        struct wire_open open[2];
        struct ranks r[2] = {{.pending = 1}, {.pending = 1}};
        struct join join[2];

        for (uint32_t i = 0; i < 2; i++) {
            open[i] = test_open_of(i ? "one" : "two", 0, 1);
            join[i] = (struct join){.open = &open[i],
                                    .run = d[i]->run,
                                    .done = rank_joined,
                                    .owner = &r[i]};
            join_begin(&join[i]);
        }
        assert_true(test_run(w, 20 * SECONDS, all_joined, &r[0]));
        assert_true(test_run(w, 20 * SECONDS, all_joined, &r[1]));
        for (uint32_t i = 0; i < 2; i++)
            assert_true(r[i].result[0] == 0 || r[i].result[0] == -ESTALE);
        assert_true(r[0].result[0] == 0 || r[1].result[0] == 0);
        if (r[0].result[0] == 0 && r[1].result[0] == 0)
            assert_int_not_equal(join[0].generation, join[1].generation);
        finish(w, d[0], d[1]);
    }
}

/*
 * Parents.
 */

static void resume_fixes_the_parent(void **state)
{
    struct test_world *w = test_world_new(20);
    struct test_daemon *d = test_attached(w, "a");
    struct wire_open open = test_open_of("step", 0, 1);
    struct test_commit v;
    struct join join;

    (void)state;
    assert_int_equal(test_enter(d, "t", 0, 1), 1);
    assert_int_equal(test_save(d, 10, &v), DECISION_COMMIT);
    assert_int_equal(test_save(d, 20, &v), DECISION_COMMIT);
    open.resume = WIRE_RESUME_STEP;
    open.resume_step = 10;
    open.keep_last = 3;
    open.keep_every = 100;
    assert_int_equal(test_join(d, &open, &join), 0);
    assert_int_equal(join.parent.generation, 1);
    assert_int_equal(join.parent.step, 10);
    assert_int_equal(newest(d)->keep_last, 3);
    assert_int_equal(newest(d)->keep_every, 100);
    /* A branch: the same step again, and latest follows it. */
    assert_int_equal(test_save(d, 15, &v), DECISION_COMMIT);
    assert_int_equal(test_enter(d, "latest", 0, 1), 3);
    assert_int_equal(newest(d)->parent.generation, 2);
    assert_int_equal(newest(d)->parent.step, 15);
    open = test_open_of("none", 0, 1);
    open.resume = WIRE_RESUME_NONE;
    assert_int_equal(test_join(d, &open, &join), 0);
    assert_int_equal(join.parent.generation, 0);
    open = test_open_of("absent", 0, 1);
    open.resume = WIRE_RESUME_STEP;
    open.resume_step = 12;
    assert_int_equal(test_join(d, &open, &join), -ENOENT);
    assert_non_null(strstr(d->err.text, "step 12"));
    assert_non_null(strstr(d->err.text, "step 10 of generation 1"));
    assert_non_null(strstr(d->err.text, "step 15 of generation 2"));
    open.resume_step = 20;
    open.resume_generation = 1;
    assert_int_equal(test_join(d, &open, &join), 0);
    assert_int_equal(join.parent.step, 20);
    finish(w, d, NULL);
}

static void own_undecided_saves_are_waited_for(void **state)
{
    struct test_world *w = test_world_new(21);
    struct test_daemon *d = test_attached(w, "a");
    struct test_commit v = {0};
    struct ranks r = {.pending = 0};

    (void)state;
    assert_int_equal(test_enter(d, "s", 0, 1), 1);
    test_commit_begin(d, 10, &v);
    (void)test_run(w, 100, NULL, NULL);
    join_many(d, &r, 0, 1, 1);
    assert_false(test_run(w, 2 * SECONDS, all_joined, &r));
    test_commit_vote(&v); /* staged: it goes on though its rank is gone */
    assert_true(test_run(w, 2 * SECONDS, all_joined, &r));
    assert_int_equal(r.result[0], 0);
    assert_int_equal(v.decision, DECISION_COMMIT);
    assert_int_equal(r.join[0].parent.step, 10);
    finish(w, d, NULL);
}

static void what_is_undecided_at_the_deadline_is_aborted(void **state)
{
    struct test_world *w = test_world_new(22);
    struct test_daemon *a = test_attached(w, "a");
    struct test_daemon *b = test_attached(w, "b");
    struct save_id id = {.generation = 1, .attempt = 1, .step = 10};
    struct wire_open open = test_open_of("u", 0, 1);
    const struct catalog_save *s;
    struct test_commit v = {0};
    struct join join;

    (void)state;
    assert_int_equal(test_enter(a, "t", 0, 1), 1);
    test_commit_begin(a, 10, &v);
    (void)test_run(w, 100, NULL, NULL);
    test_env_kill(a->t);
    /* Longer than OPEN's own patience: told so, and found done later. */
    assert_int_equal(test_join(b, &open, &join), -ETIMEDOUT);
    assert_non_null(strstr(b->err.text, "undecided"));
    open.open_timeout_ms = 100 * SECONDS;
    assert_int_equal(test_join(b, &open, &join), 0);
    assert_int_equal(join.generation, 2);
    s = catalog_find(&b->run->catalog, &id);
    assert_int_equal(s->status, SAVE_ABORTED);
    assert_int_equal(s->code, -ETIMEDOUT);
    assert_non_null(strstr(catalog_reason(s), "host a"));
    finish(w, a, b);
}

static void who_gives_up_is_not_called_back(void **state)
{
    struct test_world *w = test_world_new(23);
    struct test_daemon *d = test_attached(w, "a");
    struct ranks r = {.pending = 0};

    (void)state;
    for (uint32_t turns = 0; turns < 30; turns++) {
        r.pending = 0;
        join_many(d, &r, 0, 2, 2);
        for (uint32_t i = 0; i < turns; i++)
            (void)test_run(w, 0, NULL, NULL);
        if (r.result[0] == 1) {
            join_cancel(&r.join[0]);
            r.result[0] = 2;
            r.pending--;
        }
        assert_true(test_run(w, 10 * SECONDS, all_joined, &r));
        (void)test_run(w, SECONDS, NULL, NULL);
        assert_true(r.result[0] == 2 || r.result[0] <= 0);
    }
    finish(w, d, NULL);
}

static void on_attached(void *arg, int result, struct run *run,
                        const struct err *err)
{
    struct test_daemon *d = arg;

    (void)err;
    if (result == 0)
        d->run = run;
}

/* The end may come at any moment; the next life joins all the same. */
static void a_kill_at_any_moment_leaves_a_home_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d = test_daemon_open(w, "a");
        struct ranks r = {.pending = 0};
        uint64_t turns = test_random(w) % 30;
        bool began = false;

        run_attach(&d->engine, TEST_HOME, TEST_RUN, on_attached, d);
        run_attach(&d->engine, TEST_HOME, TEST_RUN, on_attached, d);
        for (uint64_t i = 0; i < turns; i++) {
            (void)test_run(w, 0, NULL, NULL);
            if (d->run && !began)
                join_many(d, &r, 0, 2, 2);
            began = d->run != NULL;
        }
        test_daemon_kill(d);
        d = test_attached(w, "a");
        assert_true(test_enter(d, "u", 0, 1) >= 1);
        assert_true(members_complete(d->run));
        finish(w, d, NULL);
    }
}

/*
 * Failures of the store.
 */

static bool fail_nth(uint64_t nth, bool after, bool persistent)
{
    struct test_world *w = test_world_new(nth);
    struct test_daemon *d = test_attached(w, "a");
    struct store_fault fault = {.op = -1,
                                .nth = nth,
                                .after = after,
                                .persistent = persistent,
                                .error = -EIO};
    struct test_commit v;
    uint64_t fired = 0;
    int rc;

    assert_int_equal(test_enter(d, "s", 0, 1), 1);
    assert_int_equal(test_save(d, 10, &v), DECISION_COMMIT);
    test_daemon_close(d);
    d = test_daemon_open(w, "a");
    d->t->fault[0] = fault;
    d->t->fault_count = 1;
    rc = test_attach(d, TEST_HOME, TEST_RUN);
    if (rc == 0)
        rc = test_enter(d, "t", 0, 1);
    if (rc < 0)
        assert_true(d->err.code == rc && strlen(d->err.text) > 10);
    if (rc >= 0) {
        assert_int_equal(rc, 2);
        fired = store_fault_count(test_env_fault(d->t, TEST_HOME));
    }
    test_daemon_kill(d);
    /* A later engine finds its way: the same process may have to take a new
     * token when its record landed though it was told that it failed. */
    d = test_attached(w, "a");
    assert_true(test_enter(d, "u", 0, 1) >= 2);
    assert_int_equal(newest(d)->parent.step, 10);
    test_end(d);
    return rc < 0 || fired > 0;
}

static void every_failing_request_is_told_in_words(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        uint64_t nth = 1;

        while (fail_nth(nth, how & 1, how & 2))
            nth++;
        assert_true(nth > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_folder_becomes_a_home_once),
        cmocka_unit_test(two_spellings_are_one_home),
        cmocka_unit_test(a_folder_with_other_things_is_refused),
        cmocka_unit_test(a_home_that_lost_its_store_record_is_refused),
        cmocka_unit_test(bad_names_and_damage_are_told_in_words),
        cmocka_unit_test(an_unreadable_decision_does_not_keep_the_run_from_use),
        cmocka_unit_test(one_rank_needs_no_token),
        cmocka_unit_test(ranks_of_two_daemons_join_one_generation),
        cmocka_unit_test(members_are_complete_when_every_rank_is_read),
        cmocka_unit_test(a_second_process_of_a_rank_is_stale),
        cmocka_unit_test(the_same_rank_twice_at_once_is_one_member),
        cmocka_unit_test(a_rank_through_two_daemons_is_a_conflict_that_stays),
        cmocka_unit_test(another_shape_of_the_job_is_refused),
        cmocka_unit_test(an_older_token_is_stale),
        cmocka_unit_test(jobs_that_race_never_share_a_generation),
        cmocka_unit_test(resume_fixes_the_parent),
        cmocka_unit_test(own_undecided_saves_are_waited_for),
        cmocka_unit_test(what_is_undecided_at_the_deadline_is_aborted),
        cmocka_unit_test(who_gives_up_is_not_called_back),
        cmocka_unit_test(a_kill_at_any_moment_leaves_a_home_in_order),
        cmocka_unit_test(every_failing_request_is_told_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
