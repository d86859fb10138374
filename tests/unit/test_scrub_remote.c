/*
 * test_scrub_remote.c - copies in the remote tier are read again: each daemon
 * its own share, and what daemons that have left had. What is bad there, and
 * nothing else, goes on record until it is good.
 */
#include "ckptd/engine/scrub.h"
#include "tests/lib/drained.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_drain.h"
#include "tests/lib/rig_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NS_PER_S ((uint64_t)1000 * 1000 * 1000)
#define EVERY_S  70u
#define SOON_MS  (20 * 1000) /* what is bad is read again within this time */
#define ALL_MS   (100 * 1000)

static void begin_scrub(struct rig *g)
{
    g->engine->env->scrub_every_ns = EVERY_S * NS_PER_S;
    assert_int_equal(scrub_open(g->engine), 0);
}

/* A checkpoint of step 10 that is REMOTE, and was read there once. */
static struct save_id begin(struct rig_job *f, uint64_t seed, bool in_place)
{
    rig_drain_begin(f, seed, in_place, 1, 0);
    rig_job_commit(f, 10, 10);
    rig_drain_settle(f->g);
    assert_true(rig_is_remote(f->g, 10));
    begin_scrub(f->g);
    (void)rig_run(f->g, 10000, NULL, NULL);
    assert_true(rig_save_at(f->g, 10)->scrub_remote_at_s > EVERY_S);
    assert_false(rig_save_at(f->g, 10)->is_remote_damaged);
    return rig_save_at(f->g, 10)->id;
}

/* Is it on record that the share of this daemon is bad? */
static bool is_noted(const struct rig *g, const struct save_id *id,
                     const char *daemon)
{
    struct digest of = hash_128(daemon, strlen(daemon));
    char name[RECORD_NAME_BYTES];
    struct id128 uuid; /* as test_env_new() makes it */

    memcpy(uuid.b, of.b, sizeof uuid.b);
    return media_has(
        rig_home(g),
        name_save_daemon(name, RIG_RUN, "damaged_remote", id, &uuid));
}

static void what_is_bad_is_on_record_until_it_is_good(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct drained d;
        struct rig_job f;
        struct save_id id = begin(&f, seed, seed % 4 < 2);
        uint64_t at = seed % 3 ? PAGE_BYTES + 5 : 9; /* payload, or header */

        drained_begin(&d, f.g->world, "a", &id);
        drained_flip(&d, seed, at);
        (void)rig_run(f.g, ALL_MS, NULL, NULL);
        assert_true(is_noted(f.g, &id, "a"));
        assert_false(rig_is_remote(f.g, 10));
        assert_false(rig_save_at(f.g, 10)->is_damaged);
        assert_false(rig_home_has(f.g, "damaged", &id));
        assert_true(
            test_env_logged(f.g->daemon, ", its remote copy: step 10, rank"));
        drained_flip(&d, seed, at);
        (void)rig_run(f.g, SOON_MS, NULL, NULL);
        assert_false(is_noted(f.g, &id, "a"));
        assert_true(rig_is_remote(f.g, 10));
        drained_end(&d);
        rig_free(f.g);
    }
}

static void a_file_or_a_table_that_is_gone_is_damage(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        char name[RECORD_NAME_BYTES];
        struct drained d;
        struct rig_job f;
        struct save_id id = begin(&f, seed, seed % 2);

        drained_begin(&d, f.g->world, "a", &id);
        if (seed < 2)
            drained_remove(&d, 1);
        else
            assert_int_equal(
                media_remove(rig_home(f.g),
                             name_save_daemon(name, RIG_RUN, "remote", &id,
                                              &d.tier.info.daemon)),
                0);
        (void)rig_run(f.g, ALL_MS, NULL, NULL);
        assert_true(is_noted(f.g, &id, "a"));
        assert_false(rig_is_remote(f.g, 10));
        drained_end(&d);
        rig_free(f.g);
    }
}

/* A home that does not answer says nothing of a copy, and is asked again soon.
 */
static void no_answer_is_no_damage(void **state)
{
    (void)state;
    for (int in_place = 0; in_place < 2; in_place++) {
        struct store_fault silent = {.op =
                                         in_place ? STORE_READ : STORE_BLOB_GET,
                                     .name_part = "/data/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -ETIMEDOUT};
        struct rig_job f;
        struct save_id id = begin(&f, 20, in_place);
        uint32_t at;

        test_env_fail(f.g->daemon, RIG_HOME, &silent);
        while (!test_env_logged(f.g->daemon, "its remote copy"))
            (void)rig_run(f.g, 1000, NULL, NULL);
        (void)rig_run(f.g, 1000, NULL, NULL);
        at = rig_save_at(f.g, 10)->scrub_remote_at_s;
        assert_false(is_noted(f.g, &id, "a"));
        assert_true(rig_is_remote(f.g, 10));
        store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
        (void)rig_run(f.g, SOON_MS, NULL, NULL);
        assert_true(rig_save_at(f.g, 10)->scrub_remote_at_s > at + EVERY_S / 2);
        rig_free(f.g);
    }
}

/* Another daemon, or `ckpt gc`, has removed it: nobody has told this one. */
static void what_was_removed_is_not_damaged(void **state)
{
    struct drained d;
    struct rig_job f;
    struct save_id id = begin(&f, 30, true);

    (void)state;
    rig_save_at(f.g, 10)->scrub_at_s = UINT32_MAX; /* not what is here */
    f.g->engine->env->scrub_bytes_s = 20000;       /* a minute */
    (void)rig_run(f.g, EVERY_S * 1000, NULL, NULL);
    assert_true(scrub_is_busy(f.g->engine));
    drained_begin(&d, f.g->world, "a", &id);
    rig_bury(f.g, &id);
    for (uint32_t i = 0; i < d.tier.file_count; i++)
        drained_remove(&d, i);
    (void)rig_run(f.g, ALL_MS, NULL, NULL);
    assert_true(test_env_logged(f.g->daemon, "its remote copy"));
    assert_false(is_noted(f.g, &id, "a"));
    drained_end(&d);
    rig_free(f.g);
}

/*
 * Several daemons.
 */

static struct save_id pair_begin(struct rig_pair *p, uint64_t seed,
                                 uint64_t step)
{
    struct rig_shape shape = rig_drain_shape(1, 0);

    rig_pair_begin(p, seed, &shape);
    rig_pair_save(p, step, 0);
    rig_pair_decide(p);
    rig_pair_turn(p, 200000);
    assert_true(rig_is_remote(p->g[0], step) && rig_is_remote(p->g[1], step));
    return p->v[0]->id;
}

static void flip(struct test_world *w, const char *daemon,
                 const struct save_id *id)
{
    struct drained d;

    drained_begin(&d, w, daemon, id);
    drained_flip(&d, 1, PAGE_BYTES + 5);
    drained_end(&d);
}

static void each_reads_its_own_share_and_all_know(void **state)
{
    struct save_id id;
    struct rig_pair p;

    (void)state;
    id = pair_begin(&p, 40, 10);
    begin_scrub(p.g[0]);
    begin_scrub(p.g[1]);
    flip(p.world, "b", &id);
    rig_pair_turn(&p, 2 * ALL_MS);
    assert_true(is_noted(p.g[0], &id, "b"));
    assert_false(is_noted(p.g[0], &id, "a"));
    assert_true(test_env_logged(p.g[1]->daemon, "its remote copy"));
    assert_false(test_env_logged(p.g[0]->daemon, "its remote copy"));
    assert_false(rig_is_remote(p.g[0], 10) || rig_is_remote(p.g[1], 10));
    flip(p.world, "b", &id);
    rig_pair_turn(&p, 2 * ALL_MS);
    assert_false(is_noted(p.g[0], &id, "b"));
    assert_true(rig_is_remote(p.g[0], 10) && rig_is_remote(p.g[1], 10));
    rig_pair_end(&p);
}

/* The job goes on at two others: either share is read by one of them. */
static void shares_of_those_that_left_are_read_by_one(void **state)
{
    uint32_t readers[2] = {0};

    (void)state;
    for (uint64_t seed = 50; seed < 58; seed++) {
        struct rig_shape shape = rig_drain_shape(1, 0);
        struct rig *left[2];
        struct save_id id;
        struct rig_pair p;
        bool seen[2];

        id = pair_begin(&p, seed, seed);
        for (int i = 0; i < 2; i++) {
            left[i] = p.g[i];
            left[i]->has_shared_world = true;
            rig_end(left[i]);
        }
        p.g[0] = rig_new_in(p.world, "c");
        p.g[1] = rig_new_in(p.world, "d");
        rig_pair_join(&p, "goes on", &shape);
        flip(p.world, "b", &id);
        begin_scrub(p.g[0]);
        begin_scrub(p.g[1]);
        rig_pair_turn(&p, ALL_MS);
        assert_true(is_noted(p.g[0], &id, "b"));
        assert_false(is_noted(p.g[0], &id, "a"));
        for (int i = 0; i < 2; i++) {
            seen[i] = test_env_logged(p.g[i]->daemon, "its remote copy");
            readers[i] += seen[i];
        }
        assert_int_equal(seen[0] + seen[1], 1);
        rig_free(left[0]);
        rig_free(left[1]);
        rig_pair_end(&p);
    }
    assert_true(readers[0] > 0 && readers[1] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_bad_is_on_record_until_it_is_good),
        cmocka_unit_test(a_file_or_a_table_that_is_gone_is_damage),
        cmocka_unit_test(no_answer_is_no_damage),
        cmocka_unit_test(what_was_removed_is_not_damaged),
        cmocka_unit_test(each_reads_its_own_share_and_all_know),
        cmocka_unit_test(shares_of_those_that_left_are_read_by_one),
    };

    return cmocka_run_group_tests_name("scrub_remote", tests, NULL, NULL);
}
