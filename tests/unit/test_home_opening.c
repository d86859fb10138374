/*
 * test_home_opening.c - a home that takes long to open holds up nobody else,
 * and the engine does not end before the answer; one that cannot be opened is
 * told in its own words, to all who wait for it. A home in RADOS has one name
 * here, however its options were ordered.
 */
#include "tests/lib/engine_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLOW    "rados://pool/slow"
#define OPTIONS SLOW "?data_pool=d&conf=/c&user=u"

static struct env_ops ops;
static const struct env_ops *below;
static struct env_opening *held; /* of SLOW, until the test lets it go */
static uint32_t begun;

static void hold(struct env *env, struct env_opening *o)
{
    if (strncmp(o->path, SLOW, strlen(SLOW)) != 0) {
        below->home_open(env, o);
        return;
    }
    assert_null(held);
    held = o;
    begun++;
}

/* What became of it. */
static void let_go(struct rig *g, int result, const char *words)
{
    struct env_opening *o = held;

    held = NULL;
    if (result == 0) {
        below->home_open(&g->daemon->env, o);
        return;
    }
    o->result = err_set(&o->err, result, "%s", words);
    o->done(o);
}

static struct rig *rig_held(void)
{
    struct rig *g = rig_new(1);

    below = g->daemon->env.ops;
    ops = *below;
    ops.home_open = hold;
    g->daemon->env.ops = &ops;
    held = NULL;
    begun = 0;
    return g;
}

static struct rig_rank *rank_opens(struct rig *g, const char *home,
                                   const char *run)
{
    const struct wire_hello hello = {.magic = WIRE_MAGIC,
                                     .low = WIRE_VERSION_LOW,
                                     .high = WIRE_VERSION_HIGH};
    struct wire_open open = {.token = "t", .world_size = 1};
    struct rig_rank *r = rig_rank_new(g, 0, 1);
    struct wr w = {0};

    wire_hello_encode(&hello, &w);
    rig_send(r, WIRE_HELLO, 0, 1, &w);
    wr_free(&w);
    (void)snprintf(open.home, sizeof open.home, "%s", home);
    (void)snprintf(open.run, sizeof open.run, "%s", run);
    w = (struct wr){0};
    wire_open_encode(&open, &w);
    rig_send(r, WIRE_OPEN, 0, 2, &w);
    wr_free(&w);
    (void)rig_run(g, 1000, NULL, NULL);
    return r;
}

static void others_go_on_while_a_home_is_being_opened(void **state)
{
    struct rig *g = rig_held();
    struct rig_rank *slow = rank_opens(g, SLOW, "a");

    (void)state;
    assert_non_null(held);
    assert_true(rig_joined(rank_opens(g, RIG_HOME, "a")));
    assert_false(rig_joined(slow));
    assert_int_equal(slow->error, 0);
    let_go(g, 0, "");
    (void)rig_run(g, 1000, NULL, NULL);
    assert_true(rig_joined(slow));
    rig_free(g);
}

static void all_who_wait_share_one_opening(void **state)
{
    struct rig *g = rig_held();
    struct rig_rank *first, *second, *gone;

    (void)state;
    first = rank_opens(g, OPTIONS, "a");
    second = rank_opens(g, SLOW "?user=u&conf=/c&data_pool=d", "b");
    gone = rank_opens(g, OPTIONS "/", "c");
    rig_die(gone);
    (void)rig_run(g, 1000, NULL, NULL);
    assert_int_equal(begun, 1);
    assert_string_equal(held->path, OPTIONS);
    let_go(g, 0, "");
    (void)rig_run(g, 1000, NULL, NULL);
    assert_true(rig_joined(first) && rig_joined(second));
    rig_free(g);
}

static void what_cannot_be_opened_is_told_and_tried_again(void **state)
{
    struct rig *g = rig_held();
    struct rig_rank *r = rank_opens(g, SLOW, "a"), *again;

    (void)state;
    let_go(g, -ETIMEDOUT, "rados://pool/slow: the monitors (m) are silent");
    (void)rig_run(g, 1000, NULL, NULL);
    assert_int_equal(r->error, -ETIMEDOUT);
    assert_non_null(strstr(r->error_text, "the monitors (m) are silent"));
    again = rank_opens(g, SLOW, "a");
    assert_int_equal(begun, 2);
    let_go(g, 0, "");
    (void)rig_run(g, 1000, NULL, NULL);
    assert_true(rig_joined(again));
    rig_free(g);
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool is_set(void *arg)
{
    return *(bool *)arg;
}

/* What is being opened is the environment's: nothing of it may be freed. */
static void an_engine_that_ends_waits_for_the_answer(void **state)
{
    static const int results[] = {0, -ETIMEDOUT};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        struct rig *g = rig_held();
        bool is_stopped = false;

        (void)rank_opens(g, SLOW, "a");
        engine_stop(g->engine, on_stopped, &is_stopped);
        assert_false(rig_run(g, 60000, is_set, &is_stopped));
        assert_false(engine_is_quiet(g->engine));
        let_go(g, results[i], "silent");
        assert_true(rig_run(g, 60000, is_set, &is_stopped));
        g->is_stopped = true;
        rig_free(g);
    }
}

static void a_bad_name_is_refused_before_it_is_opened(void **state)
{
    static const struct {
        const char *home, *words;
    } bad[] = {
        {"rados://pool", "home 'rados://pool': "},
        {"rados://pool/a/b", "namespace 'a/b'"},
        {"rados://pool/n?user=a&user=b", "given twice"},
        {"rados://pool/n?conf=relative", "absolute path"},
        {"relative", "an absolute path"},
        {"s3://bucket", "an absolute path"},
    };
    struct rig *g = rig_held();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct rig_rank *r = rank_opens(g, bad[i].home, "a");

        assert_int_equal(r->error, -EINVAL);
        if (!strstr(r->error_text, bad[i].words))
            fail_msg("%s: %s", bad[i].home, r->error_text);
    }
    assert_int_equal(begun, 0);
    rig_free(g);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_go_on_while_a_home_is_being_opened),
        cmocka_unit_test(all_who_wait_share_one_opening),
        cmocka_unit_test(what_cannot_be_opened_is_told_and_tried_again),
        cmocka_unit_test(an_engine_that_ends_waits_for_the_answer),
        cmocka_unit_test(a_bad_name_is_refused_before_it_is_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
