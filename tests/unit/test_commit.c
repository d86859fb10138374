/*
 * test_commit.c - intent, vote, decision: one outcome, whoever decides it and
 * whatever fails.
 */
#include "tests/lib/test_daemon.h"

#include "formats/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECONDS ((uint64_t)1000)

static const struct save_id first = {.generation = 1, .attempt = 1, .step = 5};

static void one_daemon_commits_with_three_puts(void **state)
{
    struct test_world *w = test_world_new(1);
    struct store *record = test_recorded_home(w);
    struct test_daemon *d;
    struct test_commit v;
    size_t puts = 0, before;

    (void)state;
    d = test_alone(w);
    before = store_record_count(record);
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_true(v.is_opened && v.is_local && v.told == 1);
    for (size_t i = before; i < store_record_count(record); i++) {
        const struct store_entry *e = store_record_at(record, i);

        puts += e->op == STORE_PUT;
        assert_true(e->op == STORE_PUT || e->op == STORE_STAT);
    }
    assert_int_equal(puts, 3);
    assert_int_equal(catalog_find(&d->run->catalog, &first)->status,
                     SAVE_COMMITTED);
    assert_true(list_is_empty(&d->run->commits));
    test_end(d);
}

static void the_manifest_is_inline_with_notes(void **state)
{
    struct test_world *w = test_world_new(2);
    struct test_daemon *d = test_alone(w);
    struct test_commit v;
    uint8_t *data = aligned_alloc(64, RECORD_MAX_BYTES);
    char name[RECORD_NAME_BYTES];
    struct record_decision r;
    struct manifest m;
    struct err err;
    size_t bytes;
    int64_t got;

    (void)state;
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    got = test_get(w, name_save(name, TEST_RUN, "decision", &first), data,
                   RECORD_MAX_BYTES);
    assert_true(got > 0);
    assert_int_equal(record_decision_decode(data, (size_t)got, &r, &err), 0);
    assert_int_equal(r.part_count, 0);
    assert_int_equal(r.rank_count, 1);
    assert_int_equal(r.node_count, 1);
    assert_int_equal(manifest_open(r.inline_bytes, r.manifest_bytes, &m, &err),
                     0);
    assert_int_equal(m.info.kind, MANIFEST_CHECKPOINT);
    assert_int_equal(m.info.id.step, 5);
    assert_memory_equal(manifest_note(&m, "job", &bytes), "t", 1);
    assert_memory_equal(manifest_note(&m, "host", &bytes), "a", 1);
    assert_memory_equal(manifest_note(&m, "parent", &bytes), "-", 1);
    assert_non_null(manifest_note(&m, "ckptd", &bytes));
    assert_non_null(manifest_note(&m, "codecs", &bytes));
    assert_non_null(manifest_note(&m, "created_unix_ms", &bytes));
    free(data);
    test_end(d);
}

static void a_committed_step_conflicts_within_its_generation(void **state)
{
    struct test_world *w = test_world_new(3);
    struct test_daemon *d = test_alone(w);
    struct test_commit v;

    (void)state;
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_int_equal(test_save(d, 5, &v), DECISION_ABORT);
    assert_int_equal(v.err.code, -CKPT_ECONFLICT);
    assert_non_null(strstr(v.err.text, "lm@5"));
    assert_non_null(strstr(v.err.text, "generation 1"));
    assert_false(v.is_opened);
    assert_int_equal(test_save(d, 4, &v), DECISION_ABORT);
    assert_int_equal(v.err.code, -CKPT_ECONFLICT);
    assert_non_null(strstr(v.err.text, "never decrease"));
    assert_int_equal(test_save(d, 6, &v), DECISION_COMMIT);
    assert_int_equal(test_enter(d, "u", 0, 1), 2);
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    test_end(d);
}

/* What were committed then nobody would find: no record, and words. */
static void a_run_that_was_removed_takes_no_save(void **state)
{
    struct test_world *w = test_world_new(3);
    struct test_daemon *d = test_alone(w);
    struct store_req list = {.op = STORE_LIST};
    char name[RECORD_NAME_BYTES];
    struct test_commit v;
    uint8_t run[PAGE_BYTES];
    int64_t bytes;

    (void)state;
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    (void)name_run(name, TEST_RUN, "RUN");
    bytes = test_get(w, name, run, sizeof run);
    assert_true(bytes > 0);
    assert_int_equal(test_remove(w, name), 0);
    assert_int_equal(test_save(d, 6, &v), DECISION_ABORT);
    assert_int_equal(v.err.code, -ENOENT);
    assert_non_null(strstr(v.err.text, "runs/lm/RUN is gone"));
    assert_false(v.is_opened);
    list.name = name_run(name, TEST_RUN, "intent");
    assert_int_equal(store_run(test_world_store(w, TEST_HOME), &list), 0);
    assert_int_equal(list.names.count, 1); /* of step 5 */
    store_names_free(&list.names);
    (void)name_run(name, TEST_RUN, "RUN");
    assert_int_equal(test_put(w, name, run, (size_t)bytes), 0);
    assert_int_equal(test_save(d, 6, &v), DECISION_COMMIT);
    test_end(d);
}

static void a_step_that_is_under_way_conflicts(void **state)
{
    struct test_world *w = test_world_new(3);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {0}, again;

    (void)state;
    test_commit_begin(d, 5, &v);
    (void)test_run(w, 100, NULL, NULL);
    assert_true(v.is_opened);
    assert_int_equal(test_save(d, 5, &again), DECISION_ABORT);
    assert_int_equal(again.err.code, -CKPT_ECONFLICT);
    assert_int_equal(test_save(d, 4, &again), DECISION_ABORT);
    assert_int_equal(again.err.code, -CKPT_ECONFLICT);
    commit_abort(v.c, -ECANCELED, "enough");
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
    test_end(d);
}

static void an_abort_is_published_and_the_next_attempt_commits(void **state)
{
    struct test_world *w = test_world_new(4);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {0};
    char name[RECORD_NAME_BYTES];

    (void)state;
    test_commit_begin(d, 5, &v);
    commit_abort(v.c, -ENOSPC, "no room: tensor w of rank 0");
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -ENOSPC);
    assert_string_equal(v.err.text, "no room: tensor w of rank 0");
    assert_true(test_has(w, name_save(name, TEST_RUN, "decision", &first)));
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_int_equal(v.id.attempt, 2);
    test_end(d);
}

static void an_abort_after_the_vote_is_one_outcome(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d = test_alone(w);
        struct test_commit v = {.vote_at_once = true};
        uint64_t turns = test_random(w) % 200;
        struct catalog_save *s;

        test_commit_begin(d, 5, &v);
        (void)test_run(w, 0, NULL, NULL);
        for (uint64_t i = 0; i < turns && !v.is_decided; i++)
            (void)test_run(w, 0, NULL, NULL);
        if (!v.is_decided)
            commit_abort(v.c, -ECANCELED, "changed my mind");
        assert_int_not_equal(test_commit_wait(&v, 10 * SECONDS), 0);
        s = catalog_find(&d->run->catalog, &first);
        assert_non_null(s);
        assert_int_equal(s->status, v.decision == DECISION_COMMIT
                                        ? SAVE_COMMITTED
                                        : SAVE_ABORTED);
        test_end(d);
    }
}

static void a_closed_generation_is_stale(void **state)
{
    struct test_world *w = test_world_new(5);
    struct test_daemon *a = test_alone(w), *b = test_daemon_open(w, "b");
    struct test_commit v;

    (void)state;
    assert_int_equal(test_attach(b, TEST_HOME, TEST_RUN), 0);
    assert_int_equal(test_enter(b, "u", 0, 1), 2);
    assert_int_equal(test_save(a, 5, &v), DECISION_ABORT);
    assert_int_equal(v.err.code, -ESTALE);
    assert_non_null(strstr(v.err.text, "generation 1"));
    test_daemon_close(a);
    test_daemon_close(b);
    test_world_free(w);
}

static void capture_that_never_ends_is_aborted_at_the_deadline(void **state)
{
    struct test_world *w = test_world_new(6);
    struct test_daemon *d = test_alone(w);
    struct test_commit v = {0};

    (void)state;
    test_commit_begin(d, 5, &v);
    assert_int_equal(test_commit_wait(&v, 59 * SECONDS), 0);
    assert_int_equal(test_commit_wait(&v, 2 * SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -ETIMEDOUT);
    assert_non_null(strstr(v.err.text, "host a"));
    test_end(d);
}

/*
 * Two daemons.
 */

static void two_daemons_commit_together(void **state)
{
    struct test_world *w = test_world_new(10);
    struct test_daemon *d[2];
    struct test_commit v[2];
    const struct catalog_save *s;

    (void)state;
    test_pair(w, d);
    test_begin_pair(d, 5, v);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(test_commit_wait(&v[i], 30 * SECONDS),
                         DECISION_COMMIT);
        assert_true(v[i].is_local);
        s = catalog_find(&d[i]->run->catalog, &first);
        assert_int_equal(s->status, SAVE_COMMITTED);
        assert_int_equal(s->rank_count, 2);
        assert_int_equal(s->node_count, 2);
    }
    test_end_pair(d);
}

static void one_that_never_votes_is_named_at_the_deadline(void **state)
{
    struct test_world *w = test_world_new(11);
    struct test_daemon *d[2];
    struct test_commit v[2];
    char id[ID_TEXT_BYTES];

    (void)state;
    test_pair(w, d);
    for (uint32_t i = 0; i < 2; i++) {
        v[i] = (struct test_commit){.vote_at_once = i == 0, .first_rank = i};
        test_commit_begin(d[i], 5, &v[i]);
    }
    (void)id_format(&d[1]->t->env.local_uuid, id);
    test_env_kill(d[1]->t);
    assert_int_equal(test_commit_wait(&v[0], 59 * SECONDS), 0);
    assert_int_equal(test_commit_wait(&v[0], 5 * SECONDS), DECISION_ABORT);
    assert_false(v[0].is_local);
    assert_int_equal(v[0].err.code, -ETIMEDOUT);
    assert_non_null(strstr(v[0].err.text, id));
    assert_non_null(strstr(v[0].err.text, "host b"));
    test_end_pair(d);
}

static void an_abort_of_one_reaches_the_other_while_it_captures(void **state)
{
    struct test_world *w = test_world_new(12);
    struct test_daemon *d[2];
    struct test_commit v[2] = {{0}};

    (void)state;
    test_pair(w, d);
    for (uint32_t i = 0; i < 2; i++)
        test_commit_begin(d[i], 5, &v[i]);
    (void)test_run(w, 100, NULL, NULL);
    commit_abort(v[0].c, -ECANCELED, "skipped: overload on host a");
    assert_int_equal(test_commit_wait(&v[1], 5 * SECONDS), DECISION_ABORT);
    assert_string_equal(v[1].err.text, "skipped: overload on host a");
    assert_int_equal(test_commit_wait(&v[0], SECONDS), DECISION_ABORT);
    /* The next attempt is the same one on both. */
    test_begin_pair(d, 5, v);
    assert_int_equal(test_commit_wait(&v[0], 30 * SECONDS), DECISION_COMMIT);
    assert_int_equal(test_commit_wait(&v[1], 30 * SECONDS), DECISION_COMMIT);
    assert_int_equal(v[0].id.attempt, 2);
    assert_int_equal(v[1].id.attempt, 2);
    test_end_pair(d);
}

/* A call that comes after the attempt was given up elsewhere (skip, replace)
 * belongs to that attempt: it must not stage and wait for the deadline. */
static void a_call_after_the_abort_hears_of_it_at_once(void **state)
{
    struct test_world *w = test_world_new(15);
    struct test_daemon *d[2];
    struct test_commit v[2] = {{0}};

    (void)state;
    test_pair(w, d);
    test_commit_begin(d[0], 5, &v[0]);
    commit_abort(v[0].c, -ECANCELED, "skipped: overload on host a");
    assert_int_equal(test_commit_wait(&v[0], SECONDS), DECISION_ABORT);
    test_commit_begin(d[1], 5, &v[1]);
    assert_int_equal(test_commit_wait(&v[1], SECONDS), DECISION_ABORT);
    assert_false(v[1].is_opened);
    assert_int_equal(v[1].id.attempt, 1);
    assert_string_equal(v[1].err.text, "skipped: overload on host a");
    test_begin_pair(d, 6, v);
    assert_int_equal(test_commit_wait(&v[0], 30 * SECONDS), DECISION_COMMIT);
    assert_int_equal(test_commit_wait(&v[1], 30 * SECONDS), DECISION_COMMIT);
    test_end_pair(d);
}

/* Who has not voted knows that there can be no COMMIT. */
static void an_unreachable_home_fails_a_save_without_vote_at_once(void **state)
{
    struct test_world *w = test_world_new(16);
    struct test_daemon *d = test_alone(w);
    struct store *store = test_env_fault(d->t, TEST_HOME);
    struct store_fault fault = {
        .op = -1, .nth = 1, .persistent = true, .error = -EIO};
    struct test_commit v = {0};
    char name[RECORD_NAME_BYTES];

    (void)state;
    assert_int_equal(store_fault_add(store, &fault), 0);
    test_commit_begin(d, 5, &v);
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
    assert_int_equal(v.err.code, -EIO);
    assert_true(test_env_logged(d->t, "trying on"));
    store_fault_clear(store);
    (void)test_run(w, 5 * SECONDS, NULL, NULL);
    assert_true(test_has(w, name_save(name, TEST_RUN, "decision", &first)));
    assert_true(list_is_empty(&d->run->commits));
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_int_equal(v.id.attempt, 2);
    test_end(d);
}

static void a_vote_that_comes_too_late_is_ignored(void **state)
{
    struct test_world *w = test_world_new(17);
    struct test_daemon *d = test_alone(w);
    struct store_fault slow = {
        .op = STORE_PUT, .name_part = "decision", .nth = 1, .delay_polls = 100};
    struct test_commit v = {0};

    (void)state;
    test_env_fail(d->t, TEST_HOME, &slow);
    test_commit_begin(d, 5, &v);
    (void)test_run(w, 100, NULL, NULL);
    commit_abort(v.c, -ECANCELED, "enough");
    while (v.c && v.c->phase < COMMIT_DECIDING)
        (void)test_run(w, 0, NULL, NULL);
    assert_non_null(v.c);
    test_commit_vote(&v);
    assert_int_equal(test_commit_wait(&v, SECONDS), DECISION_ABORT);
    assert_false(v.is_local);
    test_end(d);
}

static void a_vote_that_is_damaged_or_anothers_aborts(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct test_world *w = test_world_new(18);
        struct test_daemon *d[2];
        struct test_commit v = {.vote_at_once = true};
        char name[RECORD_NAME_BYTES];
        size_t bytes = 100;
        void *vote = calloc(1, bytes);

        test_pair(w, d);
        if (kind == 1) {
            free(vote);
            vote = test_vote(d[0], &first, 0, 1, "same", &bytes);
        }
        assert_int_equal(
            test_put(w,
                     name_save_daemon(name, TEST_RUN, "vote", &first,
                                      &d[1]->t->env.local_uuid),
                     vote, bytes),
            0);
        free(vote);
        test_commit_begin(d[0], 5, &v);
        assert_int_equal(test_commit_wait(&v, 5 * SECONDS), DECISION_ABORT);
        assert_int_equal(v.err.code, -CKPT_ECORRUPT);
        assert_non_null(strstr(v.err.text, "host b"));
        test_end_pair(d);
    }
}

static void the_other_steps_in_for_a_dead_committer(void **state)
{
    uint32_t stepped_in = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d[2];
        struct test_commit v[2];
        uint32_t dead = (uint32_t)seed % 2;

        test_pair(w, d);
        test_begin_pair(d, 5, v);
        assert_true(test_run(w, 30 * SECONDS, test_both_voted, v));
        stepped_in += !v[!dead].is_decided;
        test_env_kill(d[dead]->t);
        assert_int_equal(test_commit_wait(&v[!dead], 30 * SECONDS),
                         DECISION_COMMIT);
        test_end_pair(d);
    }
    assert_true(stepped_in > 10);
}

static void a_late_vote_after_abort_changes_nothing(void **state)
{
    struct test_world *w = test_world_new(13);
    struct test_daemon *d[2];
    struct test_commit v[2];
    char name[RECORD_NAME_BYTES];
    size_t bytes;
    void *vote;

    (void)state;
    test_pair(w, d);
    v[0] = (struct test_commit){.vote_at_once = true};
    test_commit_begin(d[0], 5, &v[0]);
    assert_int_equal(test_commit_wait(&v[0], 70 * SECONDS), DECISION_ABORT);
    vote = test_vote(d[1], &first, 1, 1, "same", &bytes);
    assert_int_equal(test_put(w,
                              name_save_daemon(name, TEST_RUN, "vote", &first,
                                               &d[1]->t->env.local_uuid),
                              vote, bytes),
                     0);
    free(vote);
    (void)test_run(w, 100 * SECONDS, NULL, NULL);
    assert_int_equal(catalog_find(&d[0]->run->catalog, &first)->status,
                     SAVE_ABORTED);
    assert_int_equal(test_attach(d[1], TEST_HOME, "lm"), 0);
    assert_int_equal(test_enter(d[1], "u", 0, 1), 2);
    assert_int_equal(catalog_find(&d[1]->run->catalog, &first)->status,
                     SAVE_ABORTED);
    assert_int_equal(catalog_latest(&d[1]->run->catalog).generation, 0);
    test_end_pair(d);
}

static void values_that_differ_are_a_conflict(void **state)
{
    struct test_world *w = test_world_new(14);
    struct test_daemon *d[2];
    struct test_commit v[2];

    (void)state;
    test_pair(w, d);
    for (uint32_t i = 0; i < 2; i++) {
        v[i] = (struct test_commit){.vote_at_once = true,
                                    .first_rank = i,
                                    .value = i ? "this" : "that"};
        test_commit_begin(d[i], 5, &v[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(test_commit_wait(&v[i], 30 * SECONDS), DECISION_ABORT);
        assert_int_equal(v[i].err.code, -CKPT_ECONFLICT);
        assert_non_null(strstr(v[i].err.text, "x"));
    }
    test_end_pair(d);
}

static void racing_deciders_have_one_outcome(void **state)
{
    uint32_t commits = 0, aborts = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct test_world *w = test_world_new(seed);
        struct test_daemon *d[2];
        struct test_commit v[2];

        test_pair(w, d);
        test_begin_pair(d, 5, v);
        /* Somewhere between the first intent and both decisions. */
        for (uint64_t i = test_random(w) % 24; i > 0; i--)
            (void)test_run(w, 0, NULL, NULL);
        for (uint32_t i = 0; i < 2; i++) {
            if (v[i].c && test_random(w) % 2)
                commit_abort(v[i].c, -ECANCELED, "by chance");
        }
        assert_int_not_equal(test_commit_wait(&v[0], 30 * SECONDS), 0);
        assert_int_not_equal(test_commit_wait(&v[1], 30 * SECONDS), 0);
        assert_int_equal(v[0].decision, v[1].decision);
        assert_int_equal(v[0].told + v[1].told, 2);
        commits += v[0].decision == DECISION_COMMIT;
        aborts += v[0].decision == DECISION_ABORT;
        test_end_pair(d);
    }
    print_message("%u commits, %u aborts\n", commits, aborts);
    assert_true(commits > 100 && aborts > 100);
}

/* Creations of decisions on the way into a recorded store, and of those how
 * many answered -EEXIST. */
static size_t decisions_put(struct store *record, size_t *refused)
{
    size_t puts = 0;

    *refused = 0;
    for (size_t i = 0; i < store_record_count(record); i++) {
        const struct store_entry *e = store_record_at(record, i);

        if (e->op != STORE_PUT || !strstr(e->name, "/decision/"))
            continue;
        puts++;
        *refused += e->is_done && e->result == -EEXIST;
    }
    return puts;
}

/* A name that reading finds may not be durable yet: who has voted lets go of
 * nothing, and tells nobody, before a creation has said that it is. */
static void a_decision_that_was_read_is_made_sure_of(void **state)
{
    struct test_world *w = test_world_new(14);
    struct store *record = test_recorded_home(w);
    struct test_daemon *d[2];
    struct test_commit v[2];
    size_t refused;

    (void)state;
    test_pair(w, d);
    test_begin_pair(d, 5, v);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(test_commit_wait(&v[i], 30 * SECONDS),
                         DECISION_COMMIT);
    assert_int_equal(decisions_put(record, &refused), 2);
    assert_int_equal(refused, 1);
    test_end_pair(d);
}

/* The name was given, and making it durable failed. */
static void a_decision_whose_sync_failed_is_created_again(void **state)
{
    static const struct store_fault fault = {.op = STORE_PUT,
                                             .name_part = "/decision/",
                                             .nth = 1,
                                             .after = true,
                                             .error = -EIO};
    struct test_world *w = test_world_new(15);
    struct store *record = test_recorded_home(w);
    struct test_daemon *d;
    struct test_commit v;
    size_t refused;

    (void)state;
    d = test_alone(w);
    test_env_fail(d->t, TEST_HOME, &fault);
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_int_equal(decisions_put(record, &refused), 2);
    assert_int_equal(refused, 1);
    assert_true(test_env_logged(d->t, "may not be durable"));
    test_end(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_daemon_commits_with_three_puts),
        cmocka_unit_test(the_manifest_is_inline_with_notes),
        cmocka_unit_test(a_committed_step_conflicts_within_its_generation),
        cmocka_unit_test(a_run_that_was_removed_takes_no_save),
        cmocka_unit_test(a_step_that_is_under_way_conflicts),
        cmocka_unit_test(an_abort_is_published_and_the_next_attempt_commits),
        cmocka_unit_test(an_abort_after_the_vote_is_one_outcome),
        cmocka_unit_test(a_closed_generation_is_stale),
        cmocka_unit_test(capture_that_never_ends_is_aborted_at_the_deadline),
        cmocka_unit_test(two_daemons_commit_together),
        cmocka_unit_test(one_that_never_votes_is_named_at_the_deadline),
        cmocka_unit_test(an_abort_of_one_reaches_the_other_while_it_captures),
        cmocka_unit_test(a_call_after_the_abort_hears_of_it_at_once),
        cmocka_unit_test(an_unreachable_home_fails_a_save_without_vote_at_once),
        cmocka_unit_test(a_vote_that_comes_too_late_is_ignored),
        cmocka_unit_test(a_vote_that_is_damaged_or_anothers_aborts),
        cmocka_unit_test(the_other_steps_in_for_a_dead_committer),
        cmocka_unit_test(a_late_vote_after_abort_changes_nothing),
        cmocka_unit_test(values_that_differ_are_a_conflict),
        cmocka_unit_test(racing_deciders_have_one_outcome),
        cmocka_unit_test(a_decision_that_was_read_is_made_sure_of),
        cmocka_unit_test(a_decision_whose_sync_failed_is_created_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
