/*
 * test_drain_wish.c - what `ckpt drain` asks of a daemon (DRAIN): a checkpoint
 * that no policy sends goes to the remote tier, before others and at full
 * speed; how far it is; failures; retention; a run that nobody has attached.
 */
#include "ckptd/engine/drain.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_drain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct rig_shape plain = {.world_size = 2,
                                       .slots = 12,
                                       .tensors = 2,
                                       .tensor_bytes = 4 * RIG_CHUNK_BYTES,
                                       .codec = 1,
                                       .entropy = 1,
                                       .remote_every = 10};

static struct wire_drain_ok last; /* the last answer */

static void take(struct rig_rank *r, const struct test_frame *f)
{
    (void)r;
    if (f->header.type == WIRE_DRAIN_OK)
        assert_int_equal(
            wire_drain_ok_decode(f->payload, f->header.length, &last), 0);
}

/* A tool that has said HELLO. */
static struct rig_rank *tool_of(struct rig *g)
{
    const struct wire_hello v = {WIRE_MAGIC, 1, 1, WIRE_FEATURE_REMOTE};
    struct rig_rank *r = rig_rank_new(g, 0, 1);
    struct wr w = {0};

    wire_hello_encode(&v, &w);
    rig_send(r, WIRE_HELLO, 0, 1, &w);
    wr_free(&w);
    r->on_frame = take;
    (void)rig_run(g, 1, NULL, NULL);
    assert_int_equal(r->last_type, WIRE_HELLO_OK);
    return r;
}

static int ask(struct rig *g, struct rig_rank *r, const char *run,
               const struct save_id *id)
{
    static uint64_t request = 100;
    struct wire_drain v = {.home = RIG_HOME, .id = *id};
    struct wr w = {0};

    (void)strcpy(v.run, run);
    last.state = 99;
    wire_drain_encode(&v, &w);
    rig_send(r, WIRE_DRAIN, 0, ++request, &w);
    wr_free(&w);
    for (int i = 0; i < 1000 && last.state == 99 && r->error_id != request; i++)
        (void)rig_run(g, 1, NULL, NULL);
    return r->error_id == request ? r->error : 0;
}

/* Until it says so; false: not in so many s. */
static bool becomes(struct rig *g, struct rig_rank *r, const struct save_id *id,
                    uint32_t state, uint32_t seconds)
{
    for (uint32_t i = 0; i < 10 * seconds; i++) {
        assert_int_equal(ask(g, r, RIG_RUN, id), 0);
        if (last.state == state)
            return true;
        (void)rig_run(g, 100, NULL, NULL);
    }
    return false;
}

static const struct catalog_save *save_of(const struct rig *g,
                                          const struct save_id *id)
{
    return catalog_find(&rig_the_run(g)->catalog, id);
}

/* A slow drain of step 10 is under way; 11 is wished for. */
static void it_goes_first_and_at_full_speed(void **state)
{
    struct rig_job f;
    struct rig_rank *tool;
    struct save_id ten, eleven;

    (void)state;
    rig_job_begin(&f, 1, &plain);
    f.g->daemon->env.drain_bytes_s = RIG_CHUNK_BYTES / 100.0;
    rig_job_commit(&f, 10, 10);
    ten = f.v[0]->id;
    (void)rig_run(f.g, 3000, NULL, NULL);
    assert_true(drain_uses(rig_the_run(f.g), &ten));
    rig_job_commit(&f, 11, 11);
    eleven = f.v[0]->id;
    tool = tool_of(f.g);
    assert_int_equal(ask(f.g, tool, RIG_RUN, &eleven), 0);
    assert_true(last.state < WIRE_DRAIN_SHARED);
    assert_true(becomes(f.g, tool, &eleven, WIRE_DRAIN_REMOTE, 20));
    assert_false(catalog_is_remote(save_of(f.g, &ten)));
    assert_false(save_of(f.g, &eleven)->is_wished);
    /* The other one goes on, and has not failed. */
    assert_int_equal(save_of(f.g, &ten)->drain_failures, 0);
    assert_false(test_env_logged(f.g->daemon, "not in the remote tier yet"));
    (void)rig_run(f.g, 3000, NULL, NULL);
    assert_true(becomes(f.g, tool, &ten, WIRE_DRAIN_REMOTE, 20));
    rig_free(f.g);
}

/* One that is being copied slowly is hurried, and its progress told. */
static void one_under_way_is_hurried(void **state)
{
    struct rig_job f;
    struct rig_rank *tool;
    uint64_t before = 0;

    (void)state;
    rig_job_begin(&f, 2, &plain);
    f.g->daemon->env.drain_bytes_s = RIG_CHUNK_BYTES / 100.0;
    rig_job_commit(&f, 10, 10);
    (void)rig_run(f.g, 3000, NULL, NULL);
    tool = tool_of(f.g);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(ask(f.g, tool, RIG_RUN, &f.v[0]->id), 0);
        if (last.state >= WIRE_DRAIN_SHARED)
            break;
        assert_true(last.done_bytes >= before);
        before = last.done_bytes;
        (void)rig_run(f.g, 1, NULL, NULL);
    }
    assert_int_equal(last.state, WIRE_DRAIN_REMOTE);
    assert_true(before > 0);
    rig_free(f.g);
}

static void a_failure_is_told_and_mended(void **state)
{
    const struct store_fault full = {.op = STORE_SEG_OPEN,
                                     .name_part = "/data/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -ENOSPC};
    struct rig_job f;
    struct rig_rank *tool;
    struct save_id id;

    (void)state;
    rig_job_begin(&f, 3, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &full);
    rig_job_commit(&f, 11, 11);
    id = f.v[0]->id;
    tool = tool_of(f.g);
    assert_int_equal(ask(f.g, tool, RIG_RUN, &id), 0);
    (void)rig_run(f.g, 500, NULL, NULL);
    assert_int_equal(ask(f.g, tool, RIG_RUN, &id), 0);
    assert_int_equal(last.state, WIRE_DRAIN_WAITING);
    assert_int_equal(last.code, -ENOSPC);
    assert_non_null(strstr(last.text, "No space"));
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    assert_true(becomes(f.g, tool, &id, WIRE_DRAIN_REMOTE, 70));
    assert_int_equal(last.code, 0);
    rig_free(f.g);
}

/* What failed before it was wished for is no answer to the wish; nor is it to
 * that of the next command. */
static void an_old_failure_is_not_told_of_a_new_wish(void **state)
{
    const struct store_fault full = {.op = STORE_SEG_OPEN,
                                     .name_part = "/data/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -ENOSPC};
    struct rig_job f;
    struct save_id id;

    (void)state;
    rig_job_begin(&f, 9, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &full);
    rig_job_commit(&f, 10, 10);
    id = f.v[0]->id;
    (void)rig_run(f.g, 5000, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        struct rig_rank *tool = tool_of(f.g);

        assert_true(save_of(f.g, &id)->drain_failures > 0);
        assert_int_equal(ask(f.g, tool, RIG_RUN, &id), 0);
        assert_int_equal(last.code, 0);
        (void)rig_run(f.g, 500, NULL, NULL); /* less than it waits for */
        assert_int_equal(ask(f.g, tool, RIG_RUN, &id), 0);
        assert_int_equal(last.code, -ENOSPC);
        /* Asked again and again by one it keeps to its time. */
        assert_int_equal(save_of(f.g, &id)->drain_failures, 1);
        rig_die(tool);
    }
    rig_free(f.g);
}

static void attached(void *arg, int result, struct run *run,
                     const struct err *err)
{
    (void)err;
    assert_int_equal(result, 0);
    *(struct run **)arg = run;
}

/* A save's id does not say of which run it is. */
static void a_failure_is_not_told_of_another_run(void **state)
{
    const struct store_fault full = {.op = STORE_SEG_OPEN,
                                     .name_part = "/data/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -ENOSPC};
    struct catalog_save same = {.status = SAVE_COMMITTED};
    struct run *other = NULL, *run;
    struct wire_drain_ok ok;
    struct rig_job f;

    (void)state;
    rig_job_begin(&f, 10, &plain);
    test_env_fail(f.g->daemon, RIG_HOME, &full);
    rig_job_commit(&f, 10, 10);
    run = rig_the_run(f.g);
    (void)rig_run(f.g, 5000, NULL, NULL);
    run_attach(f.g->engine, RIG_HOME, "other", attached, &other);
    (void)rig_run(f.g, 1000, NULL, NULL);
    assert_non_null(other);
    same.id = f.v[0]->id;
    assert_int_equal(catalog_note_save(&other->catalog, &same, ""), 0);
    drain_progress(run, catalog_find(&run->catalog, &same.id), &ok);
    assert_int_equal(ok.code, -ENOSPC);
    drain_progress(other, catalog_find(&other->catalog, &same.id), &ok);
    assert_int_equal(ok.code, 0);
    assert_string_equal(ok.text, "");
    rig_free(f.g);
}

/* This daemon's table landed though it was said that it had not, and a rank
 * that waits has seen that others have put the mark: nothing is left to do. */
static void what_others_made_remote_is_wished_for_no_more(void **state)
{
    const struct store_fault unknown = {.op = STORE_PUT,
                                        .name_part = "/remote/",
                                        .nth = 1,
                                        .persistent = true,
                                        .after = true,
                                        .error = -ETIMEDOUT};
    const struct wire_await v = {{.generation = 1, .attempt = 1, .step = 11}};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};
    struct rig_job f;
    struct run *run;

    (void)state;
    rig_job_begin(&f, 11, &plain);
    run = rig_the_run(f.g);
    test_env_fail(f.g->daemon, RIG_HOME, &unknown);
    rig_job_commit(&f, 11, 11);
    drain_wish(run, catalog_find(&run->catalog, &v.id));
    (void)rig_run(f.g, 500, NULL, NULL);
    assert_true(drain_uses(run, &v.id));
    catalog_find(&run->catalog, &v.id)->drain_at_s = UINT32_MAX;
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    rig_put_mark(f.g, RECORD_REMOTE, name_save(name, RIG_RUN, "remote", &v.id),
                 &v.id);
    wire_await_encode(&v, &w);
    rig_send(f.r[0], WIRE_AWAIT, 0, 900, &w);
    wr_free(&w);
    (void)rig_run(f.g, 3000, NULL, NULL);
    assert_true(catalog_is_remote(save_of(f.g, &v.id)));
    assert_false(drain_uses(run, &v.id));
    rig_free(f.g);
}

/* Whoever sent it there, what is removed goes from there too. */
static void what_was_wished_for_is_removed_from_there(void **state)
{
    struct rig_shape shape = plain;
    struct save_id first, second;
    struct rig_rank *tool;
    struct rig_job f;

    (void)state;
    shape.keep_last = 1;
    shape.remote_every = 0;
    rig_job_begin(&f, 12, &shape);
    rig_job_commit(&f, 11, 11);
    first = f.v[0]->id;
    tool = tool_of(f.g);
    assert_true(becomes(f.g, tool, &first, WIRE_DRAIN_REMOTE, 20));
    assert_true(rig_drain_files(f.g, &first) > 0);
    rig_job_commit(&f, 12, 12);
    second = f.v[0]->id;
    assert_true(becomes(f.g, tool, &second, WIRE_DRAIN_REMOTE, 20));
    rig_job_commit(&f, 13, 13);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 11), SAVE_REMOVED);
    assert_int_equal(rig_drain_files(f.g, &first), 0);
    assert_true(rig_drain_files(f.g, &second) > 0);
    rig_free(f.g);
}

/* What is wished for and cannot go yet is not removed meanwhile. */
static void retention_leaves_it(void **state)
{
    const struct store_fault full = {.op = STORE_SEG_OPEN,
                                     .name_part = "/data/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -ENOSPC};
    struct rig_shape shape = plain;
    struct rig_job f;
    struct rig_rank *tool;
    struct save_id id;

    (void)state;
    shape.keep_last = 1;
    shape.remote_every = 0;
    rig_job_begin(&f, 4, &shape);
    test_env_fail(f.g->daemon, RIG_HOME, &full);
    rig_job_commit(&f, 11, 11);
    id = f.v[0]->id;
    tool = tool_of(f.g);
    assert_int_equal(ask(f.g, tool, RIG_RUN, &id), 0);
    for (uint64_t step = 12; step < 15; step++)
        rig_job_commit(&f, step, step);
    (void)rig_run(f.g, 20000, NULL, NULL);
    assert_int_equal(save_of(f.g, &id)->status, SAVE_COMMITTED);
    store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
    assert_true(becomes(f.g, tool, &id, WIRE_DRAIN_REMOTE, 200));
    rig_free(f.g);
}

static void what_is_no_checkpoint_is_refused(void **state)
{
    struct save_id id = {.generation = 1, .attempt = 1, .step = 77};
    struct rig_job f;
    struct rig_rank *tool;
    struct rig *g;

    (void)state;
    rig_job_begin(&f, 5, &plain);
    tool = tool_of(f.g);
    assert_int_equal(ask(f.g, tool, RIG_RUN, &id), -ENOENT);
    assert_int_equal(ask(f.g, tool, ".bad", &id), -EINVAL);
    rig_free(f.g);
    /* A rank in its generation has no use for it. */
    rig_job_begin(&f, 6, &plain);
    rig_send(f.r[0], WIRE_DRAIN, 0, 5, NULL);
    (void)rig_run(f.g, 10, NULL, NULL);
    assert_true(test_env_hung_up(f.g->daemon, f.r[0]->peer));
    rig_free(f.g);
    /* The tool is gone before the run is attached. */
    for (uint64_t ms = 0; ms < 6; ms++) {
        struct wire_drain v = {.home = RIG_HOME, .run = "other", .id = id};
        struct wr w = {0};

        g = rig_new(7);
        tool = tool_of(g);
        wire_drain_encode(&v, &w);
        rig_send(tool, WIRE_DRAIN, 0, 5, &w);
        wr_free(&w);
        (void)rig_run(g, ms, NULL, NULL);
        rig_die(tool);
        rig_free(g);
    }
}

/* The daemon of the local store, started again: no rank has come yet. */
static void a_run_that_is_not_attached_gets_so(void **state)
{
    struct rig_job f;
    struct test_world *world;
    struct rig_rank *tool;
    struct save_id id;
    struct rig *g;

    (void)state;
    rig_job_begin(&f, 8, &plain);
    rig_job_commit(&f, 11, 11);
    id = f.v[0]->id;
    world = f.g->world;
    f.g->has_shared_world = true;
    rig_free(f.g);
    g = rig_new_in(world, "a");
    tool = tool_of(g);
    assert_true(becomes(g, tool, &id, WIRE_DRAIN_REMOTE, 20));
    assert_true(rig_home_has(g, "remote", &id));
    g->has_shared_world = false;
    rig_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_first_and_at_full_speed),
        cmocka_unit_test(one_under_way_is_hurried),
        cmocka_unit_test(a_failure_is_told_and_mended),
        cmocka_unit_test(an_old_failure_is_not_told_of_a_new_wish),
        cmocka_unit_test(a_failure_is_not_told_of_another_run),
        cmocka_unit_test(what_others_made_remote_is_wished_for_no_more),
        cmocka_unit_test(what_was_wished_for_is_removed_from_there),
        cmocka_unit_test(retention_leaves_it),
        cmocka_unit_test(what_is_no_checkpoint_is_refused),
        cmocka_unit_test(a_run_that_is_not_attached_gets_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
