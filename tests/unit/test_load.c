/*
 * test_load.c - loads through one daemon: any layout, memory or media, fall
 * back, every failing request, its end. What must hold: all ranks load the same
 * save bit for bit or all fail with a typed error, nothing hangs or leaks,
 * every slot comes back. (What ranks do: test_load_ranks.c.)
 */
#include "ckptd/engine/load.h"
#include "tests/lib/load_job.h"
#include "tests/lib/media.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct store *home_of(const struct load_job *j)
{
    return test_env_fault(j->g->daemon, RIG_HOME);
}

static struct store *local_of(const struct load_job *j)
{
    return test_env_fault(j->g->daemon, "local");
}

/*
 * What works.
 */

static void any_layout_loads_within_four_slots(void **state)
{
    static const uint32_t counts[] = {1, 2, 4};

    (void)state;
    for (uint32_t i = 0; i < 18; i++) {
        struct load_job j;

        load_job_save(&j, i, counts[i % 3], i % 2 ? 1 : 2);
        load_job_start(&j, counts[i / 3 % 3], 4, i % 4 < 2);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, 2);
        assert_int_equal(j.l[0]->attempts, 1);
        load_job_end(&j);
    }
}

static void a_load_may_be_repeated(void **state)
{
    struct load_job j;

    (void)state;
    load_job_save(&j, 3, 2, 1);
    load_job_start(&j, 2, 4, true);
    for (int i = 0; i < 3; i++) {
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, 2);
    }
    load_job_end(&j);
}

/* Says of every arena that the pages of its first `slots` are there. */
static void pages_are_there(struct load_job *j, uint32_t slots)
{
    LIST_FOR_EACH (node, &j->g->engine->arenas)
        engine_arena_ready(
            j->g->engine, container_of(node, struct slots, link)->arena.base[0],
            slots);
}

static void a_load_waits_for_the_pages_of_its_arenas(void **state)
{
    (void)state;
    for (uint32_t ready = 1; ready <= 3; ready++) {
        struct store_fault read = {
            .op = STORE_READ, .nth = 1, .persistent = true, .delay_polls = 1};
        struct load_job j;

        load_job_save(&j, ready, 2, 1);
        load_job_start(&j, 3, 4, ready % 2);
        pages_are_there(&j, 0);
        test_env_fail(j.g->daemon, "local", &read);
        load_job_load(&j);
        assert_false(rig_run(j.g, 500, rig_loads_done, j.g));
        assert_int_equal(store_fault_count(local_of(&j)), 0);
        pages_are_there(&j, ready);
        load_job_finish(&j);
        load_job_check(&j, 2);
        load_job_end(&j);
    }
}

static void what_is_in_memory_is_not_read(void **state)
{
    struct store_fault fault = {
        .op = STORE_READ, .nth = 1, .persistent = true, .error = -EIO};
    struct rig_shape shape = {.world_size = 2,
                              .slots = 32,
                              .tensors = JOB_TENSORS,
                              .tensor_bytes = JOB_TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1};
    struct rig_want want[2] = {{.owner = 0}, {.owner = 0, .tensor = 1}};
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig *g = rig_new(4);
    struct rig_save *v;
    struct rig_load *l;

    (void)state;
    rig_start(g, "token", &shape, r);
    v = rig_save(r[0], 10, 1, 0);
    (void)rig_save(r[1], 10, 1, 0);
    assert_true(rig_run(g, JOB_LIMIT_MS, rig_all_decided, g));
    test_env_fail(g->daemon, "local", &fault);
    rig_wish(r[1], 7, want, 2, JOB_TENSOR_BYTES);
    l = rig_load(r[1], &v->id);
    assert_true(rig_run(g, JOB_LIMIT_MS, rig_loads_done, g));
    assert_int_equal(l->code, 0);
    rig_load_check(l, g, &v->id);
    rig_free(g);
}

static void a_spoilt_copy_in_memory_is_passed_over(void **state)
{
    struct rig_shape shape = {.world_size = 1,
                              .slots = 32,
                              .tensors = JOB_TENSORS,
                              .tensor_bytes = JOB_TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1};
    struct rig_want want = {.owner = 0};
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig *g = rig_new(5);
    struct rig_save *v;
    struct rig_load *l;

    (void)state;
    rig_start(g, "token", &shape, r);
    v = rig_save(r[0], 10, 1, 0);
    assert_true(rig_run(g, JOB_LIMIT_MS, rig_all_decided, g));
    for (uint32_t i = 0; i < 32; i++) {
        struct slots *s =
            container_of(g->engine->arenas.next, struct slots, link);

        if (s->slot[i].state == SLOT_CLEAN)
            ((uint8_t *)slot_payload(s, i))[100] ^= 1;
    }
    rig_wish(r[0], 7, &want, 1, JOB_TENSOR_BYTES);
    l = rig_load(r[0], &v->id);
    assert_true(rig_run(g, JOB_LIMIT_MS, rig_loads_done, g));
    assert_int_equal(l->code, 0);
    rig_load_check(l, g, &v->id);
    assert_true(test_env_logged(g->daemon, "copy in memory does not match"));
    rig_free(g);
}

/* Slots that one load lets go are offered to those that wait for some. */
static void reads_that_share_an_arena_take_turns(void **state)
{
    struct rig_want want[4] = {{.owner = 0},
                               {.owner = 0, .tensor = 1},
                               {.owner = 1},
                               {.owner = 1, .tensor = 1}};
    struct load_job j;
    struct rig_load *a, *b, *c;
    uint64_t before;

    (void)state;
    load_job_save(&j, 6, 2, 1);
    load_job_start(&j, 1, 4, false);
    rig_wish(j.r[0], 7, want, 4, JOB_TENSOR_BYTES);
    a = rig_load(j.r[0], &j.id[2]);
    a->is_holding = true;
    (void)rig_run(j.g, 1000, NULL, NULL);
    assert_int_equal(a->held_count, 4);
    b = rig_load(j.r[0], &j.id[1]);
    c = rig_load(j.r[0], &j.id[0]);
    (void)rig_run(j.g, 1000, NULL, NULL);
    assert_int_equal(b->delivered_count, 0);
    before = j.g->world->now_ns;
    a->vote = -EINVAL; /* gives up without giving its slots back */
    rig_load_vote(a);
    load_job_finish(&j);
    assert_int_equal(a->code, -EINVAL);
    assert_int_equal(b->code, 0);
    assert_int_equal(c->code, 0);
    rig_load_check(b, j.saver, &j.id[1]);
    rig_load_check(c, j.saver, &j.id[0]);
    assert_true(j.g->world->now_ns - before < (uint64_t)10 * 1000000000);
    load_job_end(&j);
}

static void a_ninth_load_at_once_is_refused(void **state)
{
    const struct rig_want want = {.owner = 0};
    struct rig_load *l[SESSION_LOADS_MAX + 1];
    struct load_job j;

    (void)state;
    load_job_save(&j, 7, 1, 1);
    load_job_start(&j, 1, 4, false);
    rig_wish(j.r[0], 7, &want, 1, JOB_TENSOR_BYTES);
    for (int i = 0; i <= SESSION_LOADS_MAX; i++) {
        l[i] = rig_load(j.r[0], &j.id[2]);
        l[i]->is_silent = true;
    }
    (void)rig_run(j.g, 1000, NULL, NULL);
    assert_int_equal(l[SESSION_LOADS_MAX]->code, -EBUSY);
    for (int i = 0; i < SESSION_LOADS_MAX; i++) {
        assert_int_equal(l[i]->code, 0);
        assert_true(l[i]->is_delivered && !l[i]->is_done);
        rig_load_vote(l[i]);
    }
    load_job_finish(&j);
    for (int i = 0; i < SESSION_LOADS_MAX; i++)
        rig_load_check(l[i], j.saver, &j.id[2]);
    load_job_end(&j);
}

/*
 * What a checkpoint may lack.
 */

static void damage_falls_back_down_the_branch(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        int bad = 1 + (int)(seed % 3);
        struct load_job j;

        load_job_save(&j, seed, 2, seed % 2 ? 1 : 2);
        for (int i = 0; i < bad; i++)
            load_job_damage(&j, JOB_STEPS - 1 - i);
        load_job_start(&j, 2, 6, seed % 2);
        load_job_load(&j);
        load_job_finish(&j);
        if (bad == JOB_STEPS) {
            load_job_check_failed(&j, -CKPT_ECORRUPT, "step 10");
        } else {
            load_job_check(&j, JOB_STEPS - 1 - bad);
            assert_int_equal(j.l[0]->attempts, bad + 1);
            assert_non_null(strstr(j.l[1]->text, "step 30"));
            assert_non_null(strstr(j.l[1]->text, "tensor"));
        }
        load_job_end(&j);
    }
}

static void what_was_fallen_back_to_is_the_origin(void **state)
{
    struct load_job j;

    (void)state;
    load_job_save(&j, 9, 1, 1);
    load_job_damage(&j, 2);
    load_job_start(&j, 1, 6, false);
    assert_int_equal(j.r[0]->parent.step, 30);
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, 1);
    rig_die(j.r[0]);
    /* The next life of the job starts from it, also after a restart. */
    load_job_join(&j, "again", 1, 6, false);
    assert_int_equal(j.r[0]->parent.step, 20);
    rig_free(j.g);
    load_job_start(&j, 1, 6, false);
    assert_int_equal(j.r[0]->parent.step, 20);
    load_job_end(&j);
}

static void whatever_the_drive_calls_it_falls_back(void **state)
{
    static const int codes[] = {-EIO, -ENODATA, -EILSEQ, -ETIMEDOUT};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct store_fault fault = {
            .op = STORE_READ, .nth = 3, .persistent = true, .error = codes[i]};
        struct load_job j;

        load_job_save(&j, i, 2, 1);
        load_job_start(&j, 2, 6, true);
        fault.name_part = j.file[2];
        test_env_fail(j.g->daemon, "local", &fault);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, 1);
        load_job_end(&j);
    }
}

static void a_segment_that_is_gone_falls_back(void **state)
{
    struct load_job j;

    (void)state;
    load_job_save(&j, 10, 2, 1);
    assert_int_equal(
        media_remove_segment(test_world_store(j.world, "local/a"), j.file[2]),
        0);
    load_job_start(&j, 2, 6, true);
    assert_true(test_env_logged(j.g->daemon, "not there"));
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, 1);
    load_job_end(&j);
}

static void a_wish_that_does_not_fit_fails_at_once(void **state)
{
    struct rig_want none = {.owner = 9},
                    other = {.owner = 0, .shape = 12345, .count = 5};
    struct load_job j;

    (void)state;
    load_job_save(&j, 11, 2, 1);
    load_job_start(&j, 2, 6, false);
    rig_wish(j.r[1], 7, &none, 1, JOB_TENSOR_BYTES);
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check_failed(&j, -ENOENT, "rank9.tensor0");
    assert_int_equal(j.l[0]->attempts, 1);
    rig_wish(j.r[1], 7, &other, 1, JOB_TENSOR_BYTES);
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check_failed(&j, -CKPT_ESHAPE, "rank 1");
    assert_int_equal(j.l[0]->attempts, 1);
    load_job_wish(&j, false);
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, 2);
    load_job_end(&j);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct save_id id = {.generation = 1, .step = 11, .attempt = 1};
    struct rig_want want = {.owner = 0};
    struct rig_load *l;
    struct load_job j;

    (void)state;
    load_job_save(&j, 12, 1, 1);
    load_job_start(&j, 1, 6, false);
    rig_wish(j.r[0], 7, &want, 1, JOB_TENSOR_BYTES);
    l = rig_load(j.r[0], &id);
    load_job_finish(&j);
    assert_int_equal(l->code, -ENOENT);
    assert_non_null(strstr(l->text, "step 11"));
    load_job_end(&j);
}

/* What was newer, and could not even be a candidate. */
static void a_newer_decision_that_is_damaged_is_noted(void **state)
{
    struct save_id newer = {.generation = 1, .step = 900, .attempt = 1};
    char name[RECORD_NAME_BYTES];
    struct load_job j;

    (void)state;
    load_job_save(&j, 26, 2, 1);
    assert_int_equal(media_put(test_world_store(j.world, RIG_HOME),
                               name_save(name, RIG_RUN, "decision", &newer),
                               "junk", 4),
                     0);
    load_job_start(&j, 2, 4, true);
    assert_true(test_env_logged(j.g->daemon, "cannot be read"));
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, 2);
    for (uint32_t i = 0; i < 2; i++)
        assert_ptr_equal(
            strstr(j.l[i]->text,
                   "step 900/1: its decision cannot be read: passed over"),
            j.l[i]->text);
    load_job_end(&j);
}

static void a_fresh_start_has_nothing_to_load(void **state)
{
    struct rig_shape shape = {.world_size = 1,
                              .slots = 4,
                              .tensors = 1,
                              .tensor_bytes = JOB_TENSOR_BYTES,
                              .codec = 1};
    struct rig_want want = {.owner = 0};
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig *g = rig_new(24);
    struct rig_load *l;

    (void)state;
    rig_start(g, "token", &shape, r);
    rig_wish(r[0], 7, &want, 1, JOB_TENSOR_BYTES);
    l = rig_load(r[0], NULL);
    assert_true(rig_run(g, 1000, rig_loads_done, g));
    assert_int_equal(l->code, -ENODATA);
    rig_free(g);
}

/*
 * Requests.
 */

/* One load with the nth request of a store failing; false: it never fired. */
static bool one_failure(bool is_local, uint64_t nth, bool persistent, int error)
{
    struct store_fault fault = {
        .op = -1, .nth = nth, .persistent = persistent, .error = error};
    struct load_job j;
    struct store *s;
    bool has_fired;

    load_job_save(&j, nth, 2, nth % 2 ? 1 : 2);
    load_job_start(&j, 2, 4, nth % 3 == 0);
    s = is_local ? local_of(&j) : home_of(&j);
    assert_int_equal(store_fault_add(s, &fault), 0);
    load_job_load(&j);
    load_job_finish(&j);
    has_fired = store_fault_count(s) > 0;
    store_fault_clear(s);
    assert_int_equal(j.l[0]->code, j.l[1]->code);
    assert_int_equal(save_id_compare(&j.l[0]->id, &j.l[1]->id), 0);
    if (j.l[0]->code == 0)
        load_job_check(&j, (int)(j.l[0]->id.step / 10 - 1));
    else
        assert_true(j.l[0]->code < 0 && j.l[0]->text[0]);
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, 2);
    load_job_end(&j);
    return has_fired;
}

static void every_request_may_fail(void **state)
{
    (void)state;
    for (int is_local = 0; is_local < 2; is_local++)
        for (int persistent = 0; persistent < 2; persistent++) {
            uint64_t nth = 1;

            while (one_failure(is_local, nth, persistent,
                               nth % 2 ? -EIO : -ENOMEM))
                nth++;
            assert_true(nth > 5);
        }
}

/*
 * Ends.
 */

static void a_daemon_may_stop_or_die_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 60; i++) {
        struct load_job j;

        load_job_save(&j, i, 2, i % 2 ? 1 : 2);
        load_job_start(&j, 2, 4, true);
        if (i % 3 == 0)
            load_job_damage(&j, 2);
        load_job_cut_short(&j, i, i % 2);
        assert_int_equal(j.l[0]->code, 0);
        load_job_end(&j);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_layout_loads_within_four_slots),
        cmocka_unit_test(a_load_may_be_repeated),
        cmocka_unit_test(a_load_waits_for_the_pages_of_its_arenas),
        cmocka_unit_test(what_is_in_memory_is_not_read),
        cmocka_unit_test(a_spoilt_copy_in_memory_is_passed_over),
        cmocka_unit_test(reads_that_share_an_arena_take_turns),
        cmocka_unit_test(a_ninth_load_at_once_is_refused),
        cmocka_unit_test(damage_falls_back_down_the_branch),
        cmocka_unit_test(what_was_fallen_back_to_is_the_origin),
        cmocka_unit_test(whatever_the_drive_calls_it_falls_back),
        cmocka_unit_test(a_segment_that_is_gone_falls_back),
        cmocka_unit_test(a_wish_that_does_not_fit_fails_at_once),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(a_newer_decision_that_is_damaged_is_noted),
        cmocka_unit_test(a_fresh_start_has_nothing_to_load),
        cmocka_unit_test(every_request_may_fail),
        cmocka_unit_test(a_daemon_may_stop_or_die_at_any_moment),
    };

    return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
