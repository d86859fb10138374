/*
 * test_save.c - saves as ranks see them: from SAVE to COMMITTED, through small
 * arenas, again with chunks that have not changed, and when they come faster
 * than they drain.
 */
#include "tests/lib/rig_job.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STORM_STEPS 200

enum { WAIT, SKIP, REPLACE };

static const struct rig_shape plain = {.world_size = 1,
                                       .slots = 64,
                                       .tensors = 3,
                                       .tensor_bytes =
                                           10 * RIG_CHUNK_BYTES - 100,
                                       .codec = 1,
                                       .entropy = 1};

static void assert_committed(const struct rig_save *v)
{
    if (v->state != WIRE_STATE_COMMITTED)
        (void)fprintf(stderr, "step %llu: state %u: %s\n",
                      (unsigned long long)v->step, v->state, v->text);
    assert_int_equal(v->state, WIRE_STATE_COMMITTED);
    assert_int_equal(v->told, 1u << WIRE_STATE_STAGED | 1u << WIRE_STATE_LOCAL |
                                  1u << WIRE_STATE_COMMITTED);
}

/* A save may be decided before an older one is. */
static bool is_every_one_decided(void *rig)
{
    struct rig *g = rig;

    LIST_FOR_EACH (node, &g->ranks) {
        struct rig_rank *r = container_of(node, struct rig_rank, link);

        LIST_FOR_EACH (at, &r->saves)
            if (!r->is_gone && container_of(at, struct rig_save, link)->state <
                                   WIRE_STATE_COMMITTED)
                return false;
    }
    return true;
}

static void decide_all(struct rig_job *f)
{
    assert_true(rig_run(f->g, RIG_JOB_LIMIT_MS, is_every_one_decided, f->g));
}

static void commit_all(struct rig_job *f, uint64_t step, uint64_t seed)
{
    rig_job_save(f, step, seed, WAIT);
    decide_all(f);
    for (uint32_t i = 0; i < f->n; i++)
        assert_committed(f->v[i]);
}

/*
 * To COMMITTED.
 */

static void saves_of_one_to_eight_ranks_commit_and_read_back(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 8; n *= 2) {
        struct rig_shape shape = plain;
        struct rig_job f;

        shape.world_size = n;
        rig_job_begin(&f, n, &shape);
        commit_all(&f, 10, 1);
        (void)rig_check(f.g, f.v[0]);
        assert_int_equal(rig_slots(f.g, SLOT_GRANTED), 0);
        assert_int_equal(rig_slots(f.g, SLOT_FULL), 0);
        rig_free(f.g);
    }
}

static void a_state_larger_than_the_arena_goes_through_in_waves(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;

    (void)state;
    shape.slots = 4;
    shape.world_size = 2;
    for (uint64_t seed = 0; seed < 5; seed++) {
        rig_job_begin(&f, seed, &shape);
        assert_true(f.r[0]->list.chunk_count > 24);
        commit_all(&f, 10, 1);
        (void)rig_check(f.g, f.v[0]);
        rig_free(f.g);
    }
}

static void an_empty_part_commits_beside_others(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;

    (void)state;
    shape.world_size = 2;
    rig_job_begin(&f, 3, &shape);
    rig_table(f.r[1], 1, 0, 0);
    commit_all(&f, 10, 1);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

static void chunks_are_encoded_where_that_is_asked_for_or_pays(void **state)
{
    struct rig_shape shape = plain;

    (void)state;
    for (uint32_t codec = 0; codec <= 2; codec++) {
        for (int is_random = 0; is_random < 2; is_random++) {
            struct rig_job f;
            uint64_t written, raw;

            shape.codec = codec;
            shape.entropy = is_random;
            rig_job_begin(&f, 5 + codec, &shape);
            f.g->daemon->env.tier_bytes_s = 1e8;
            f.g->daemon->env.encode_bytes_s = 1e10;
            commit_all(&f, 10, 1);
            written = rig_check(f.g, f.v[0]);
            raw = f.r[0]->list.raw_bytes;
            if (codec == 1 || is_random)
                assert_true(written > raw);
            else
                assert_true(written < raw / 2);
            rig_free(f.g);
        }
    }
}

static void auto_stays_raw_where_encoding_does_not_pay(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;

    (void)state;
    shape.codec = 0;
    shape.entropy = 0;
    rig_job_begin(&f, 5, &shape);
    f.g->daemon->env.tier_bytes_s = 1e10;
    f.g->daemon->env.encode_bytes_s = 1e8;
    commit_all(&f, 10, 1);
    assert_true(rig_check(f.g, f.v[0]) > f.r[0]->list.raw_bytes);
    rig_free(f.g);
}

static void encoding_waits_for_buffers_that_others_hold(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;
    void *held[3];

    (void)state;
    shape.codec = 2;
    shape.entropy = 0;
    rig_job_begin(&f, 6, &shape);
    for (int i = 0; i < 3; i++)
        held[i] = f.g->daemon->env.ops->buffer_get(&f.g->daemon->env);
    rig_job_save(&f, 10, 1, WAIT);
    assert_false(rig_run(f.g, 1000, rig_all_decided, f.g));
    assert_int_equal(f.v[0]->state, WIRE_STATE_STAGED);
    engine_buffers_put(f.g->engine, held, 3);
    decide_all(&f);
    assert_committed(f.v[0]);
    assert_true(rig_check(f.g, f.v[0]) < f.r[0]->list.raw_bytes / 2);
    rig_free(f.g);
}

static void many_saves_in_a_row_commit_and_the_last_reads_back(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;

    (void)state;
    shape.world_size = 2;
    shape.slots = 12;
    rig_job_begin(&f, 7, &shape);
    for (uint64_t step = 1; step <= 12; step++)
        commit_all(&f, step, step);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

/*
 * Reuse.
 */

static void equal_chunks_are_referred_to_and_not_written(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;

    (void)state;
    shape.world_size = 2;
    rig_job_begin(&f, 8, &shape);
    commit_all(&f, 10, 1);
    assert_true(rig_check(f.g, f.v[0]) > 2 * f.r[0]->list.raw_bytes);
    commit_all(&f, 20, 1);
    assert_int_equal(rig_check(f.g, f.v[0]), 0);
    commit_all(&f, 30, 2);
    assert_true(rig_check(f.g, f.v[0]) > 2 * f.r[0]->list.raw_bytes);
    rig_free(f.g);
}

static void another_table_reuses_nothing(void **state)
{
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 9, &plain);
    commit_all(&f, 10, 1);
    rig_table(f.r[0], 1, 3, 10 * (uint64_t)RIG_CHUNK_BYTES - 102);
    commit_all(&f, 20, 1);
    assert_true(rig_check(f.g, f.v[0]) > f.r[0]->list.raw_bytes);
    rig_free(f.g);
}

static void a_new_generation_reuses_what_it_started_from(void **state)
{
    struct rig_job f;
    struct rig_rank *again[RIG_RANKS_MAX];

    (void)state;
    rig_job_begin(&f, 10, &plain);
    commit_all(&f, 10, 1);
    rig_die(f.r[0]);
    rig_start(f.g, "second", &plain, again);
    assert_int_equal(again[0]->generation, f.r[0]->generation + 1);
    assert_int_equal(again[0]->parent.step, 10);
    f.r[0] = again[0];
    commit_all(&f, 11, 1);
    assert_int_equal(rig_check(f.g, f.v[0]), 0);
    rig_free(f.g);
}

/*
 * Overload.
 */

static bool is_staged(void *arg)
{
    return ((struct rig_save *)arg)->state >= WIRE_STATE_STAGED;
}

static void wait_begins_when_the_one_before_has_drained(void **state)
{
    struct rig_job f;
    struct rig_save *first;

    (void)state;
    rig_job_begin(&f, 11, &plain);
    f.r[0]->hold_after = 5;
    first = rig_save(f.r[0], 10, 1, WAIT);
    (void)rig_run(f.g, 1000, is_staged, first);
    f.v[0] = rig_save(f.r[0], 20, 2, WAIT);
    (void)rig_run(f.g, 1000, NULL, NULL);
    assert_int_equal(f.v[0]->number, 0);
    assert_int_equal(first->given_count, 5);
    rig_die(f.r[0]);
    (void)rig_run(f.g, 1000, NULL, NULL);
    assert_false(engine_is_idle(f.g->engine) &&
                 !list_is_empty(&f.g->engine->sessions));
    rig_free(f.g);
}

static void waiting_saves_all_commit_in_order(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;
    struct rig_save *v[2][3];

    (void)state;
    shape.world_size = 2;
    rig_job_begin(&f, 12, &shape);
    for (uint32_t k = 0; k < 3; k++)
        for (uint32_t i = 0; i < 2; i++)
            v[i][k] = rig_save(f.r[i], 10 * (uint64_t)(k + 1), k, WAIT);
    decide_all(&f);
    for (uint32_t k = 0; k < 3; k++) {
        assert_committed(v[0][k]);
        assert_committed(v[1][k]);
        (void)rig_check(f.g, v[0][k]);
    }
    rig_free(f.g);
}

static void skip_aborts_the_new_save_on_every_rank(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;
    struct rig_save *v[2];

    (void)state;
    shape.world_size = 2;
    rig_job_begin(&f, 13, &shape);
    rig_job_save(&f, 10, 1, SKIP);
    v[0] = rig_save(f.r[0], 20, 2, SKIP);
    assert_true(rig_run(f.g, RIG_JOB_LIMIT_MS, rig_all_decided, f.g));
    (void)rig_run(f.g, 1000, NULL, NULL);
    /* The other rank comes when all is over, and is told the same. */
    v[1] = rig_save(f.r[1], 20, 2, SKIP);
    decide_all(&f);
    assert_committed(f.v[0]);
    assert_committed(f.v[1]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(v[i]->state, WIRE_STATE_ABORTED);
        assert_int_equal(v[i]->code, -CKPT_EOVERLOAD);
        assert_non_null(strstr(v[i]->text, "skipped: save of step 10"));
        assert_int_not_equal(v[i]->number, 0);
        assert_int_equal(save_id_compare(&v[i]->id, &v[0]->id), 0);
    }
    /* And may try again: another attempt. */
    rig_job_save(&f, 20, 3, SKIP);
    decide_all(&f);
    assert_committed(f.v[1]);
    assert_int_equal(f.v[1]->id.attempt, v[1]->id.attempt + 1);
    rig_free(f.g);
}

static void replace_aborts_the_newer_one_and_never_the_oldest(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;
    struct rig_save *v[4];

    (void)state;
    rig_job_begin(&f, 14, &shape);
    for (uint32_t k = 0; k < 4; k++)
        v[k] = rig_save(f.r[0], 10 * (uint64_t)(k + 1), k, REPLACE);
    decide_all(&f);
    assert_committed(v[0]);
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(v[i]->state, WIRE_STATE_ABORTED);
        assert_int_equal(v[i]->code, -CKPT_EOVERLOAD);
    }
    assert_non_null(strstr(v[1]->text, "replaced by the save of step 30"));
    assert_non_null(strstr(v[2]->text, "replaced by the save of step 40"));
    assert_committed(v[3]);
    (void)rig_check(f.g, v[0]);
    (void)rig_check(f.g, v[3]);
    rig_free(f.g);
}

struct storm {
    struct rig_job *f;
    uint64_t step;
    uint32_t mode;
};

/* Another save whenever the wheel has turned a little. */
static bool one_more(void *arg)
{
    struct storm *s = arg;

    if (test_random(s->f->g->world) % 16 == 0) {
        s->step++;
        rig_job_save(s->f, s->step, s->step, s->mode);
    }
    return s->step >= STORM_STEPS;
}

static void permanent_overload_still_makes_progress(void **state)
{
    struct rig_shape shape = plain;

    (void)state;
    shape.slots = 4;
    shape.tensors = 1;
    shape.world_size = 2;
    for (uint32_t mode = SKIP; mode <= REPLACE; mode++) {
        struct rig_job f;
        struct storm storm = {&f, 0, mode};
        uint32_t committed = 0;

        rig_job_begin(&f, 15 + mode, &shape);
        rig_job_save(&f, 0, 1, mode);
        while (storm.step < STORM_STEPS)
            (void)rig_run(f.g, RIG_JOB_LIMIT_MS, one_more, &storm);
        (void)rig_run(f.g, RIG_JOB_LIMIT_MS, NULL, NULL);
        LIST_FOR_EACH (node, &f.r[0]->saves) {
            const struct rig_save *v =
                container_of(node, struct rig_save, link);

            assert_true(v->state == WIRE_STATE_COMMITTED ||
                        v->state == WIRE_STATE_ABORTED);
            committed += v->state == WIRE_STATE_COMMITTED;
        }
        assert_committed(
            container_of(f.r[0]->saves.next, struct rig_save, link));
        print_message("overload %u: %u of %d saves committed\n", mode,
                      committed, STORM_STEPS + 1);
        assert_true(committed >= 10);
        assert_int_equal(rig_slots(f.g, SLOT_GRANTED), 0);
        assert_int_equal(rig_slots(f.g, SLOT_FULL), 0);
        rig_free(f.g);
    }
}

/*
 * Requests that cannot be.
 */

static void the_same_step_twice_is_a_conflict(void **state)
{
    struct rig_job f;
    struct rig_save *again;

    (void)state;
    rig_job_begin(&f, 20, &plain);
    f.v[0] = rig_save(f.r[0], 10, 1, WAIT);
    again = rig_save(f.r[0], 10, 2, WAIT);
    (void)rig_run(f.g, 0, NULL, NULL);
    assert_int_equal(again->code, -CKPT_ECONFLICT);
    assert_non_null(strstr(again->text, "rank 0 step 10"));
    again = rig_save(f.r[0], 9, 2, WAIT);
    (void)rig_run(f.g, RIG_JOB_LIMIT_MS, NULL, NULL);
    assert_int_equal(again->code, -CKPT_ECONFLICT);
    assert_committed(f.v[0]);
    again = rig_save(f.r[0], 10, 2, WAIT);
    decide_all(&f);
    assert_int_equal(again->code, -CKPT_ECONFLICT);
    assert_int_equal(again->number, 0);
    assert_committed(f.v[0]);
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

static void send_save(struct rig_rank *r, const struct wire_save *v)
{
    struct wr w = {0};

    wire_save_encode(v, &w);
    rig_send(r, WIRE_SAVE, 0, 77, &w);
    wr_free(&w);
    r->error = 0;
    (void)rig_run(r->rig, 10, NULL, NULL);
}

static void a_save_without_its_table_or_values_fails_alone(void **state)
{
    struct rig_job f;
    struct axis axis = {.name = "dp", .degree = 4};
    struct layout layout = {.axis = {axis}, .axis_count = 1};
    uint64_t eight = 8;
    struct value value = {.name = "rng",
                          .name_bytes = 3,
                          .type = VALUE_U64,
                          .axes = 1,
                          .coordinate = {3},
                          .data = &eight,
                          .bytes = 8};
    struct wire_save v = {.step = 10, .table = 9};
    struct rig_shape shape = plain;
    struct wr values = {0};

    (void)state;
    (void)layout;
    shape.world_size = 4;
    rig_job_begin(&f, 21, &shape);
    values_encode(NULL, 0, &values);
    v.values = values.data;
    v.values_bytes = (uint32_t)values.bytes;
    send_save(f.r[0], &v);
    assert_int_equal(f.r[0]->error, -ENOENT);
    assert_int_equal(f.r[0]->error_id, 77);
    wr_free(&values);
    values = (struct wr){0};
    values_encode(&value, 1, &values);
    v.table = 1;
    v.values = values.data;
    v.values_bytes = (uint32_t)values.bytes;
    send_save(f.r[0], &v);
    assert_int_equal(f.r[0]->error, -EINVAL);
    assert_non_null(strstr(f.r[0]->error_text, "rng"));
    v.values_bytes -= 1;
    send_save(f.r[0], &v);
    assert_true(f.r[0]->error < 0);
    wr_free(&values);
    commit_all(&f, 10, 1);
    rig_free(f.g);
}

/* The only one. */
static struct run *the_run(const struct rig *g)
{
    const struct home *h =
        container_of(g->engine->homes.next, struct home, link);

    return container_of(h->runs.next, struct run, link);
}

static void watch_tells_what_is_known(void **state)
{
    struct rig_job f;
    struct wire_watch v;
    struct wr w = {0};

    (void)state;
    rig_job_begin(&f, 22, &plain);
    commit_all(&f, 10, 1);
    v.id = f.v[0]->id;
    wire_watch_encode(&v, &w);
    rig_send(f.r[0], WIRE_WATCH, 0, 90, &w);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(f.r[0]->last_reply, 90);
    assert_int_equal(f.r[0]->last_type, WIRE_STATE);
    wr_free(&w);
    w = (struct wr){0};
    v.id.step = 11;
    wire_watch_encode(&v, &w);
    rig_send(f.r[0], WIRE_WATCH, 0, 91, &w);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(f.r[0]->error_id, 91);
    assert_int_equal(f.r[0]->error, -ENOENT);
    wr_free(&w);
    rig_free(f.g);
}

/* It may be either: only what stands on record is told. */
static void watch_of_an_unreadable_decision_is_an_error(void **state)
{
    struct rig_job f;
    struct catalog_save unreadable = {.status = SAVE_UNREADABLE,
                                      .id = {.generation = 1, .step = 11},
                                      .code = -EIO};
    struct wire_watch v = {unreadable.id};
    struct wr w = {0};

    (void)state;
    rig_job_begin(&f, 22, &plain);
    assert_int_equal(catalog_note_save(&the_run(f.g)->catalog, &unreadable,
                                       "the disk is gone"),
                     0);
    wire_watch_encode(&v, &w);
    rig_send(f.r[0], WIRE_WATCH, 0, 90, &w);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_int_equal(f.r[0]->error_id, 90);
    assert_int_equal(f.r[0]->error, -EIO);
    assert_non_null(strstr(f.r[0]->error_text, "the disk is gone"));
    wr_free(&w);
    rig_free(f.g);
}

static void on_stopped(void *rig)
{
    ((struct rig *)rig)->is_stopped = true;
}

static bool is_stopped(void *rig)
{
    return ((struct rig *)rig)->is_stopped;
}

/* Else the ranks that began it, and the daemon itself, wait for a rank that was
 * turned away until the deadline. */
static void an_engine_that_stops_finishes_what_was_begun(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;

    (void)state;
    shape.world_size = 3;
    rig_job_begin(&f, 4, &shape);
    f.v[0] = rig_save(f.r[0], 10, 1, WAIT);
    (void)rig_run(f.g, 10, NULL, NULL);
    engine_stop(f.g->engine, on_stopped, f.g);
    (void)rig_run(f.g, 1000, NULL, NULL);
    f.v[1] = rig_save(f.r[1], 10, 1, WAIT);
    (void)rig_run(f.g, 1000, NULL, NULL);
    f.v[2] = rig_save(f.r[2], 11, 1, WAIT); /* nobody has begun that one */
    (void)rig_run(f.g, 1000, NULL, NULL);
    assert_int_equal(f.v[2]->code, -ECANCELED);
    f.v[2] = rig_save(f.r[2], 10, 1, WAIT);
    assert_true(rig_run(f.g, 10000, is_stopped, f.g));
    for (uint32_t i = 0; i < f.n; i++)
        assert_committed(f.v[i]);
    rig_free(f.g);
}

/* Some save's votes are being made a manifest. */
static bool is_merging(void *rig)
{
    return commits_at_work(the_run(rig));
}

static void an_engine_that_ends_waits_for_its_workers(void **state)
{
    struct rig_shape shape = plain;
    struct rig_job f;

    (void)state;
    shape.slots = 256;
    rig_job_begin(&f, 23, &shape);
    rig_job_save(&f, 10, 1, WAIT);
    rig_job_save(&f, 20, 2, REPLACE); /* keeps the worker busy meanwhile */
    assert_true(rig_run(f.g, RIG_JOB_LIMIT_MS, is_merging, f.g));
    assert_false(engine_is_quiet(f.g->engine));
    rig_kill(f.g);
    assert_false(is_merging(f.g));
    rig_free(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saves_of_one_to_eight_ranks_commit_and_read_back),
        cmocka_unit_test(a_state_larger_than_the_arena_goes_through_in_waves),
        cmocka_unit_test(an_empty_part_commits_beside_others),
        cmocka_unit_test(chunks_are_encoded_where_that_is_asked_for_or_pays),
        cmocka_unit_test(auto_stays_raw_where_encoding_does_not_pay),
        cmocka_unit_test(encoding_waits_for_buffers_that_others_hold),
        cmocka_unit_test(many_saves_in_a_row_commit_and_the_last_reads_back),
        cmocka_unit_test(equal_chunks_are_referred_to_and_not_written),
        cmocka_unit_test(another_table_reuses_nothing),
        cmocka_unit_test(a_new_generation_reuses_what_it_started_from),
        cmocka_unit_test(wait_begins_when_the_one_before_has_drained),
        cmocka_unit_test(waiting_saves_all_commit_in_order),
        cmocka_unit_test(skip_aborts_the_new_save_on_every_rank),
        cmocka_unit_test(replace_aborts_the_newer_one_and_never_the_oldest),
        cmocka_unit_test(permanent_overload_still_makes_progress),
        cmocka_unit_test(the_same_step_twice_is_a_conflict),
        cmocka_unit_test(a_save_without_its_table_or_values_fails_alone),
        cmocka_unit_test(watch_tells_what_is_known),
        cmocka_unit_test(watch_of_an_unreadable_decision_is_an_error),
        cmocka_unit_test(an_engine_that_stops_finishes_what_was_begun),
        cmocka_unit_test(an_engine_that_ends_waits_for_its_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
