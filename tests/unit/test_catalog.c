/*
 * test_catalog.c - what a run's records mean: latest, older, branches; and
 * reading them from a home.
 */
#include "tests/lib/test_daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct save_id id(uint32_t generation, uint64_t step)
{
    return (struct save_id){
        .generation = generation, .step = step, .attempt = 1};
}

static void add_generation(struct catalog *c, uint32_t g, struct save_id parent)
{
    struct record_generation r = {
        .generation = g, .world_size = 1, .parent = parent};

    (void)snprintf(r.token, sizeof r.token, "t%u", g);
    assert_int_equal(catalog_note_generation(c, &r), 0);
}

static void add(struct catalog *c, uint32_t g, uint64_t step,
                enum save_status status)
{
    struct catalog_save s = {.id = id(g, step), .status = status};

    assert_int_equal(catalog_note_save(c, &s, ""), 0);
}

#define assert_is(got, g, s)                                                   \
    do {                                                                       \
        struct save_id is = (got);                                             \
                                                                               \
        assert_int_equal(is.generation, (g));                                  \
        assert_int_equal(is.step, (s));                                        \
    } while (0)

static const struct save_id none;

/* 1: 10 20 30;  2 from 1@20: 25 30;  3 from 2@30: nothing yet. */
static void fill(struct catalog *c)
{
    add_generation(c, 1, none);
    add(c, 1, 30, SAVE_COMMITTED);
    add(c, 1, 10, SAVE_COMMITTED);
    add(c, 1, 20, SAVE_COMMITTED);
    add_generation(c, 3, id(2, 30));
    add_generation(c, 2, id(1, 20));
    add(c, 2, 25, SAVE_COMMITTED);
    add(c, 2, 30, SAVE_COMMITTED);
}

static void an_empty_catalog_has_nothing(void **state)
{
    struct catalog c = {0};

    (void)state;
    assert_null(catalog_newest(&c));
    assert_is(catalog_latest(&c), 0, 0);
    assert_is(catalog_older(&c, &none), 0, 0);
    assert_is(catalog_at_step(&c, 5, 0), 0, 0);
    add_generation(&c, 1, none);
    assert_is(catalog_latest(&c), 0, 0);
    catalog_free(&c);
}

static void latest_is_the_highest_commit_of_the_newest_generation(void **state)
{
    struct catalog c = {0};

    (void)state;
    add_generation(&c, 1, none);
    add(&c, 1, 10, SAVE_COMMITTED);
    add(&c, 1, 20, SAVE_COMMITTED);
    add(&c, 1, 30, SAVE_ABORTED);
    add(&c, 1, 40, SAVE_UNDECIDED);
    add(&c, 1, 50, SAVE_UNREADABLE);
    assert_is(catalog_latest(&c), 1, 20);
    /* A rollback: a lower step, but the newer branch. */
    add_generation(&c, 2, id(1, 10));
    assert_is(catalog_latest(&c), 1, 10);
    add(&c, 2, 12, SAVE_COMMITTED);
    assert_is(catalog_latest(&c), 2, 12);
    catalog_free(&c);
}

static void a_generation_without_commits_hands_on_to_its_origin(void **state)
{
    struct catalog c = {0};

    (void)state;
    fill(&c);
    assert_is(catalog_latest(&c), 2, 30);
    add(&c, 3, 35, SAVE_ABORTED);
    assert_is(catalog_latest(&c), 2, 30);
    add_generation(&c, 4, id(2, 30));
    assert_is(catalog_latest(&c), 2, 30);
    /* From the beginning: nothing to go on from. */
    add_generation(&c, 5, none);
    assert_is(catalog_latest(&c), 0, 0);
    catalog_free(&c);
}

static void a_load_that_fell_back_changes_the_origin(void **state)
{
    struct catalog c = {0};
    struct save_id loaded = id(1, 10), own = id(3, 30), newer = id(9, 1);

    (void)state;
    fill(&c);
    catalog_note_load(&c, 3, &loaded);
    assert_is(catalog_latest(&c), 1, 10);
    add(&c, 3, 30, SAVE_COMMITTED);
    assert_is(catalog_latest(&c), 3, 30);
    assert_is(catalog_older(&c, &own), 1, 10);
    /* To load what the generation saved itself, or nonsense, changes nothing.
     */
    catalog_note_load(&c, 3, &own);
    catalog_note_load(&c, 3, &newer);
    catalog_note_load(&c, 3, &none);
    assert_is(catalog_older(&c, &own), 1, 10);
    catalog_free(&c);
}

static void older_walks_down_the_branch(void **state)
{
    struct catalog c = {0};
    struct save_id at;

    (void)state;
    fill(&c);
    at = catalog_latest(&c);
    assert_is(at, 2, 30);
    at = catalog_older(&c, &at);
    assert_is(at, 2, 25);
    at = catalog_older(&c, &at);
    assert_is(at, 1, 20);
    at = catalog_older(&c, &at);
    assert_is(at, 1, 10);
    at = catalog_older(&c, &at);
    assert_is(at, 0, 0);
    catalog_free(&c);
}

static void what_was_removed_is_stepped_over(void **state)
{
    struct catalog c = {0};
    struct save_id tip = id(2, 30);

    (void)state;
    fill(&c);
    add(&c, 1, 20, SAVE_REMOVED);
    add(&c, 2, 25, SAVE_REMOVED);
    assert_is(catalog_older(&c, &tip), 1, 10);
    add(&c, 2, 30, SAVE_REMOVED);
    assert_is(catalog_latest(&c), 1, 10);
    /* A tomb outranks whatever is said later. */
    add(&c, 2, 30, SAVE_COMMITTED);
    assert_is(catalog_latest(&c), 1, 10);
    catalog_free(&c);
}

static void on_branch_follows_origins_only(void **state)
{
    struct catalog c = {0};
    struct save_id tip = id(2, 30), side = id(1, 30), base = id(1, 20),
                   low = id(1, 10), absent = id(1, 15);

    (void)state;
    fill(&c);
    assert_true(catalog_on_branch(&c, &tip, &tip));
    assert_true(catalog_on_branch(&c, &tip, &base));
    assert_true(catalog_on_branch(&c, &tip, &low));
    assert_false(catalog_on_branch(&c, &tip, &side));
    assert_false(catalog_on_branch(&c, &tip, &absent));
    assert_false(catalog_on_branch(&c, &low, &base));
    catalog_free(&c);
}

static void at_step_prefers_the_newest_generation(void **state)
{
    struct catalog c = {0};
    char text[256];

    (void)state;
    fill(&c);
    assert_is(catalog_at_step(&c, 30, 0), 2, 30);
    assert_is(catalog_at_step(&c, 30, 1), 1, 30);
    assert_is(catalog_at_step(&c, 20, 2), 0, 0);
    assert_is(catalog_at_step(&c, 21, 0), 0, 0);
    catalog_nearby(&c, 21, text, sizeof text);
    assert_non_null(strstr(text, "step 20 of generation 1"));
    assert_non_null(strstr(text, "step 25 of generation 2"));
    catalog_nearby(&c, 99, text, sizeof text);
    assert_non_null(strstr(text, "step 30"));
    catalog_free(&c);
}

static void attempts_count_aborts(void **state)
{
    struct catalog c = {0};
    struct catalog_save s = {.id = id(1, 7), .status = SAVE_ABORTED};

    (void)state;
    assert_int_equal(catalog_next_attempt(&c, 1, 7), 1);
    add(&c, 1, 6, SAVE_ABORTED);
    add(&c, 1, 8, SAVE_ABORTED);
    assert_int_equal(catalog_next_attempt(&c, 1, 7), 1);
    s.id.attempt = 3;
    assert_int_equal(catalog_note_save(&c, &s, ""), 0);
    assert_int_equal(catalog_next_attempt(&c, 1, 7), 4);
    s.id.attempt = 4;
    s.status = SAVE_UNDECIDED;
    assert_int_equal(catalog_note_save(&c, &s, ""), 0);
    assert_int_equal(catalog_next_attempt(&c, 1, 7), 4);
    catalog_free(&c);
}

static void a_decision_is_never_taken_back(void **state)
{
    struct catalog c = {0};
    struct save_id one = id(1, 10);
    struct catalog_save pin = {
        .id = one, .status = SAVE_UNDECIDED, .is_pinned = true};

    (void)state;
    add_generation(&c, 1, none);
    add(&c, 1, 10, SAVE_UNDECIDED);
    add(&c, 1, 10, SAVE_UNREADABLE);
    add(&c, 1, 10, SAVE_COMMITTED);
    add(&c, 1, 10, SAVE_ABORTED);
    assert_int_equal(catalog_find(&c, &one)->status, SAVE_COMMITTED);
    assert_int_equal(catalog_note_save(&c, &pin, ""), 0);
    assert_int_equal(catalog_find(&c, &one)->status, SAVE_COMMITTED);
    assert_true(catalog_find(&c, &one)->is_pinned);
    assert_int_equal(c.save_count, 1);
    catalog_free(&c);
}

/* The same as plain arrays. */
struct model {
    struct save_id parent[8];
    bool committed[8][16];
};

static void model_fill(struct test_world *w, struct model *m, struct catalog *c)
{
    for (uint32_t g = 1; g < 8; g++) {
        uint32_t from = (uint32_t)(test_random(w) % g);

        if (from > 0)
            m->parent[g] = id(from, test_random(w) % 16);
        add_generation(c, g, m->parent[g]);
        for (uint64_t step = 0; step < 16; step++) {
            m->committed[g][step] = test_random(w) % 5 == 0;
            if (m->committed[g][step])
                add(c, g, step, SAVE_COMMITTED);
        }
    }
}

/* The first commit at or below (g, step) on the branch; g 0: none. */
static void model_walk(const struct model *m, uint32_t *g, int *step)
{
    while (*g > 0) {
        for (; *step >= 0; (*step)--) {
            if (m->committed[*g][*step])
                return;
        }
        *step = (int)m->parent[*g].step;
        *g = m->parent[*g].generation;
    }
}

static void random_catalogs_agree_with_a_slow_model(void **state)
{
    struct test_world *w = test_world_new(99);

    (void)state;
    for (uint32_t round = 0; round < 500; round++) {
        struct catalog c = {0};
        struct model m = {0};
        struct save_id at;
        uint32_t g = 7;
        int step = 15;

        model_fill(w, &m, &c);
        for (at = catalog_latest(&c);; at = catalog_older(&c, &at)) {
            model_walk(&m, &g, &step);
            assert_is(at, g, g ? (uint64_t)step : 0);
            if (g == 0)
                break;
            step--;
        }
        catalog_free(&c);
    }
    test_world_free(w);
}

/*
 * Reading.
 */

struct answer {
    bool is_done;
    int result;
    struct err err;
};

static void loaded(void *arg, int result, const struct err *err)
{
    struct answer *a = arg;

    a->is_done = true;
    a->result = result;
    a->err = *err;
}

/* As a tool does it: with a store alone. */
static struct answer load(struct test_world *w, struct catalog *c)
{
    struct store *s = test_world_store(w, TEST_HOME);
    struct answer a = {0};

    catalog_load(s, TEST_RUN, c, loaded, &a);
    assert_false(a.is_done);
    while (!a.is_done)
        assert_int_equal(store_poll(s, 0), 0);
    return a;
}

static void put_mark(struct test_world *w, const char *folder,
                     enum record_kind kind, const struct save_id *save)
{
    struct record_mark mark = {.id = *save};
    char name[RECORD_NAME_BYTES];
    struct wr wr = {0};

    record_mark_encode(kind, &mark, &wr);
    test_plant(w, name_save(name, TEST_RUN, folder, save), &wr);
}

static void put_load(struct test_world *w, uint32_t generation, uint32_t k,
                     uint32_t outcome, const struct save_id *save)
{
    struct record_load r = {.id = *save, .outcome = outcome};
    char name[RECORD_NAME_BYTES];
    struct wr wr = {0};

    if (outcome == LOAD_FAILED)
        r.code = -EIO;
    record_load_encode(&r, &wr);
    test_plant(w, name_load(name, TEST_RUN, generation, k, NULL), &wr);
}

static void a_home_is_read_as_the_daemon_left_it(void **state)
{
    struct test_world *w = test_world_new(31);
    struct test_daemon *d = test_daemon_open(w, "a");
    struct catalog c = {0};
    struct test_commit v = {0};
    struct save_id s5 = id(1, 5), s6 = id(1, 6), s7 = id(1, 7);
    struct record_tomb tomb = {.id = s5};
    char name[RECORD_NAME_BYTES], copy[RECORD_NAME_BYTES + 8];
    struct wr wr = {0};

    (void)state;
    assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
    assert_int_equal(test_enter(d, "t", 0, 1), 1);
    assert_int_equal(test_save(d, 5, &v), DECISION_COMMIT);
    assert_int_equal(test_save(d, 6, &v), DECISION_COMMIT);
    v = (struct test_commit){0};
    test_commit_begin(d, 7, &v);
    commit_abort(v.c, -EIO, "the reason");
    assert_int_equal(test_commit_wait(&v, 1000), DECISION_ABORT);
    assert_int_equal(test_enter(d, "u", 0, 1), 2);
    v = (struct test_commit){0};
    test_commit_begin(d, 9, &v);
    (void)test_run(w, 100, NULL, NULL);

    put_mark(w, "pin", RECORD_PIN, &s6);
    put_mark(w, "verified", RECORD_VERIFIED, &s6);
    record_tomb_encode(&tomb, &wr);
    test_plant(w, name_save(name, TEST_RUN, "tomb", &s5), &wr);
    tomb.id = s6; /* a copy beside it means nothing */
    record_tomb_encode(&tomb, &wr);
    (void)snprintf(copy, sizeof copy, "%s.bak",
                   name_save(name, TEST_RUN, "tomb", &s6));
    test_plant(w, copy, &wr);
    put_load(w, 2, 1, LOAD_FAILED, &s6);
    put_load(w, 2, 2, LOAD_VERIFIED, &s5);
    put_load(w, 2, 10, LOAD_VERIFIED, &s6);

    assert_int_equal(load(w, &c).result, 0);
    assert_int_equal(c.save_count, 4);
    assert_int_equal(catalog_find(&c, &s5)->status, SAVE_REMOVED);
    assert_int_equal(catalog_find(&c, &s6)->status, SAVE_COMMITTED);
    assert_true(catalog_find(&c, &s6)->is_pinned);
    assert_true(catalog_find(&c, &s6)->is_verified);
    assert_false(catalog_find(&c, &s6)->is_leased);
    assert_int_equal(catalog_find(&c, &s7)->status, SAVE_ABORTED);
    assert_string_equal(catalog_reason(catalog_find(&c, &s7)), "the reason");
    assert_int_equal(c.save[3].status, SAVE_UNDECIDED);
    assert_true(catalog_generation_at(&c, 1)->is_closed);
    assert_false(catalog_generation_at(&c, 2)->is_closed);
    assert_is(catalog_generation_at(&c, 2)->origin, 1, 6);
    assert_true(id_equal(&c.uuid, &d->run->catalog.uuid));
    assert_is(catalog_latest(&c), 1, 6);
    catalog_free(&c);
    test_end(d);
}

static void a_run_that_is_not_there_is_enoent(void **state)
{
    struct test_world *w = test_world_new(32);
    struct catalog c = {0};
    struct answer a = load(w, &c);

    (void)state;
    assert_int_equal(a.result, -ENOENT);
    assert_non_null(strstr(a.err.text, "runs/lm"));
    catalog_free(&c);
    test_world_free(w);
}

static void damage_is_named_or_marked(void **state)
{
    static const char junk[100] = "junk";
    struct save_id s5 = id(1, 5);
    char name[RECORD_NAME_BYTES];

    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct test_world *w = test_world_new(33);
        struct test_daemon *d = test_daemon_open(w, "a");
        struct catalog c = {0};
        struct answer a;

        assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
        assert_int_equal(test_enter(d, "t", 0, 1), 1);
        if (kind == 0)
            (void)name_save(name, TEST_RUN, "decision", &s5);
        else if (kind == 1)
            (void)name_gen(name, TEST_RUN, "gen", 2);
        else
            (void)name_load(name, TEST_RUN, 1, 1, NULL);
        assert_int_equal(test_put(w, name, junk, sizeof junk), 0);
        a = load(w, &c);
        if (kind == 0) {
            assert_int_equal(a.result, 0);
            assert_int_equal(catalog_find(&c, &s5)->status, SAVE_UNREADABLE);
            assert_true(catalog_reason(catalog_find(&c, &s5))[0] != '\0');
        } else if (kind == 1) {
            assert_int_equal(a.result, -CKPT_ECORRUPT);
            assert_non_null(strstr(a.err.text, name));
            assert_non_null(strstr(a.err.text, "from a backup"));
        } else {
            assert_int_equal(a.result, 0);
            assert_int_equal(c.bad_load.code, -CKPT_ECORRUPT);
            assert_non_null(strstr(c.bad_load.text, name));
            assert_int_equal(test_enter(d, "u", 0, 1), 2);
            assert_true(test_env_logged(d->t, "that load does not count"));
        }
        catalog_free(&c);
        test_end(d);
    }
}

/* It stops those who remove, who ask for it, and nobody else. */
static void a_lease_that_cannot_be_read_is_noted(void **state)
{
    static const char name[] = "runs/" TEST_RUN "/lease/junk.0";
    struct test_world *w = test_world_new(5);
    struct test_daemon *d = test_alone(w);
    struct catalog c = {0};
    struct test_commit v;

    (void)state;
    assert_int_equal(test_save(d, 6, &v), DECISION_COMMIT);
    assert_int_equal(test_put(w, name, "junk", 4), 0);
    assert_int_equal(load(w, &c).result, 0);
    assert_true(c.bad_lease.code < 0);
    assert_non_null(strstr(c.bad_lease.text, name));
    assert_int_equal(catalog_latest(&c).step, 6);
    /* The job starts anew. */
    assert_int_equal(test_enter(d, "u", 0, 1), 2);
    assert_int_equal(d->run->catalog.bad_lease.code, c.bad_lease.code);
    assert_int_equal(test_remove(w, name), 0);
    assert_int_equal(load(w, &c).result, 0);
    assert_int_equal(c.bad_lease.code, 0);
    catalog_free(&c);
    test_end(d);
}

static void a_refresh_reads_only_what_can_have_changed(void **state)
{
    struct test_world *w = test_world_new(34);
    struct store *record = test_recorded_home(w);
    struct test_daemon *d;
    struct catalog c = {0};
    struct test_commit v;
    size_t before;

    (void)state;
    d = test_attached(w, "a");
    assert_int_equal(test_enter(d, "t", 0, 1), 1);
    for (uint64_t step = 1; step <= 40; step++)
        assert_int_equal(test_save(d, step, &v), DECISION_COMMIT);
    assert_int_equal(load(w, &c).result, 0);
    assert_int_equal(c.save_count, 40);
    assert_int_equal(test_save(d, 41, &v), DECISION_COMMIT);
    before = store_record_count(record);
    assert_int_equal(load(w, &c).result, 0);
    assert_int_equal(c.save_count, 41);
    /* RUN and the new decision */
    assert_int_equal(test_recorded(record, before, STORE_GET), 2);
    catalog_free(&c);
    test_end(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_catalog_has_nothing),
        cmocka_unit_test(latest_is_the_highest_commit_of_the_newest_generation),
        cmocka_unit_test(a_generation_without_commits_hands_on_to_its_origin),
        cmocka_unit_test(a_load_that_fell_back_changes_the_origin),
        cmocka_unit_test(older_walks_down_the_branch),
        cmocka_unit_test(what_was_removed_is_stepped_over),
        cmocka_unit_test(on_branch_follows_origins_only),
        cmocka_unit_test(at_step_prefers_the_newest_generation),
        cmocka_unit_test(attempts_count_aborts),
        cmocka_unit_test(a_decision_is_never_taken_back),
        cmocka_unit_test(random_catalogs_agree_with_a_slow_model),
        cmocka_unit_test(a_home_is_read_as_the_daemon_left_it),
        cmocka_unit_test(a_run_that_is_not_there_is_enoent),
        cmocka_unit_test(damage_is_named_or_marked),
        cmocka_unit_test(a_lease_that_cannot_be_read_is_noted),
        cmocka_unit_test(a_refresh_reads_only_what_can_have_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
