/*
 * The library when the daemon dies, stalls, refuses or talks nonsense at any
 * message: a typed error within a bounded time, and work goes on with the next
 * daemon. And the caller's own mistakes, told by name.
 */
#include "client/conn.h"
#include "common/util.h"
#include "tests/lib/trainer_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG_BYTES ((size_t)512 << 10)

/* Whatever happened before, a save and a load work now. */
static void all_is_well(struct ckpt *ctx, struct state *s, uint64_t step)
{
    struct ckpt_error error;
    struct ckpt_save *save;
    struct ckpt_id id;

    state_fill(s, step);
    if (ckpt_save(ctx, step, s->tensor, s->count, NULL, 0, &save, &error))
        fail_msg("%s", error.message);
    if (ckpt_fence(save, NULL, &error))
        fail_msg("%s", error.message);
    if (ckpt_wait(save, CKPT_COMMITTED, 10000, &error))
        fail_msg("%s", error.message);
    ckpt_save_id(save, &id);
    ckpt_save_free(save);
    state_clear(s);
    if (ckpt_read(ctx, &id, s->tensor, s->count, NULL, NULL, &error))
        fail_msg("%s", error.message);
    state_check(s, step);
}

static bool is_typed(int rc)
{
    return rc == -ECONNRESET || rc == -ENOTCONN || rc == -EBADMSG ||
           rc == -EIO || rc == -CKPT_EABORTED;
}

/* A save that may fail in any typed way, and must not hang. True: it was
 * committed. */
static bool try_save(struct ckpt *ctx, struct state *s, uint64_t step)
{
    struct ckpt_error error = {0};
    struct ckpt_save_status status;
    struct ckpt_save *save;
    int rc;

    state_fill(s, step);
    rc = ckpt_save(ctx, step, s->tensor, s->count, NULL, 0, &save, &error);
    if (rc) {
        assert_true(is_typed(rc));
        assert_int_equal(error.code, rc);
        assert_non_null(strstr(error.message, "rank 0 of 1"));
        assert_null(save);
        return false;
    }
    assert_int_equal(ckpt_fence(save, NULL, &error), 0);
    rc = ckpt_wait(save, CKPT_COMMITTED, 20000, &error);
    ckpt_save_status(save, &status);
    if (rc) {
        assert_true(is_typed(rc));
        assert_non_null(strstr(error.message, "save of step"));
        assert_true(status.error.code < 0);
        assert_true(status.failed_count >= 1);
    } else {
        assert_int_equal(status.state, CKPT_COMMITTED);
    }
    ckpt_save_free(save);
    return rc == 0;
}

static void dies_at(enum wire_type type, uint32_t count,
                    enum fake_mischief mischief)
{
    const struct fake_options o = {.slot_count = 4,
                                   .at = type,
                                   .at_count = count,
                                   .mischief = mischief,
                                   .refusal = -EIO};
    uint64_t began = clock_ms();
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;

    ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
    (void)try_save(ctx, &s, 1);
    all_is_well(ctx, &s, 2);
    trainer_end(&w, &s, ctx);
    assert_true(clock_ms() - began < 8000);
}

static const enum wire_type save_messages[] = {
    WIRE_HELLO, WIRE_OPEN, WIRE_ARENA, WIRE_TABLE, WIRE_SAVE, WIRE_CHUNKS,
};

static void daemon_dies_at_each_message_of_a_save(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(save_messages); i++)
        dies_at(save_messages[i], 1, FAKE_DIES);
    dies_at(WIRE_CHUNKS, 2, FAKE_DIES);
    dies_at(WIRE_CHUNKS, 9, FAKE_DIES);
}

static void daemon_talks_nonsense_at_each_message_of_a_save(void **unused)
{
    (void)unused;
    for (size_t i = 2; i < ARRAY_LEN(save_messages); i++)
        dies_at(save_messages[i], 1, FAKE_GARBAGE);
}

static void daemon_refuses_each_message_of_a_save(void **unused)
{
    (void)unused;
    for (size_t i = 2; i < ARRAY_LEN(save_messages); i++)
        dies_at(save_messages[i], 1, FAKE_REFUSES);
}

static void daemon_aborts_in_the_middle(void **unused)
{
    (void)unused;
    dies_at(WIRE_SAVE, 1, FAKE_ABORTS);
    dies_at(WIRE_CHUNKS, 1, FAKE_ABORTS);
    dies_at(WIRE_CHUNKS, 3, FAKE_ABORTS);
}

/* The extra state is asked of the next one: other ranks may have theirs. */
static void daemon_dies_at_each_message_of_a_load(void **unused)
{
    static const enum wire_type messages[] = {WIRE_LOAD, WIRE_CONSUMED,
                                              WIRE_LOAD_VOTE, WIRE_VALUES};

    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(messages) * 2; i++) {
        const struct fake_options o = {.slot_count = 4,
                                       .at = messages[i / 2],
                                       .at_count = 1,
                                       .mischief =
                                           i % 2 ? FAKE_GARBAGE : FAKE_DIES};
        struct trainer_world w;
        struct state s;
        struct ckpt *ctx;
        struct ckpt_error error;
        struct ckpt_values *values;
        struct ckpt_id id = {1, 1, 1};
        int rc;

        ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
        assert_true(try_save(ctx, &s, 1));
        state_clear(&s);
        rc = ckpt_read(ctx, &id, s.tensor, s.count, &values, NULL, &error);
        if (messages[i / 2] == WIRE_VALUES) {
            assert_int_equal(rc, 0);
            state_check(&s, 1);
            ckpt_values_free(values);
        } else {
            assert_true(is_typed(rc));
            assert_null(values);
            assert_non_null(strstr(error.message, "read of step 1"));
        }
        all_is_well(ctx, &s, 2);
        trainer_end(&w, &s, ctx);
    }
}

/* All bytes had left: the next daemon knows the outcome, has forgotten the
 * save, or does not know yet and is asked again. */
static void fate_of_a_staged_save_is_asked_of_the_next_daemon(void **unused)
{
    struct fake_options o = {.slot_count = 8,
                             .stop_at = WIRE_STATE_STAGED,
                             .at = WIRE_LIST,
                             .at_count = 1,
                             .mischief = FAKE_DIES};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct ckpt_error error;
    enum { KNOWS, FORGETS, DECIDES_LATER, CASES };

    (void)unused;
    for (int i = 0; i < CASES; i++) {
        o.forgets = i == FORGETS;
        ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
        state_fill(&s, 1);
        assert_int_equal(
            ckpt_save(ctx, 1, s.tensor, s.count, NULL, 0, &save, &error), 0);
        assert_int_equal(ckpt_fence(save, NULL, &error), 0);
        assert_int_equal(ckpt_wait(save, CKPT_STAGED, 5000, &error), 0);
        assert_int_equal(ckpt_wait(save, CKPT_LOCAL, 50, &error), -ETIMEDOUT);
        assert_non_null(strstr(error.message, "STAGED, not LOCAL"));
        if (i != DECIDES_LATER)
            fake_set_stop_at(w.fake, WIRE_STATE_COMMITTED);
        assert_int_equal(ckpt_list(ctx, NULL, 0, &error), -ECONNRESET);
        if (i == DECIDES_LATER) {
            assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, 300, &error),
                             -ETIMEDOUT);
            fake_set_stop_at(w.fake, WIRE_STATE_COMMITTED);
        }
        assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, 5000, &error),
                         i == FORGETS ? -CKPT_EABORTED : 0);
        assert_int_equal(fake_count(w.fake, WIRE_WATCH) > 1,
                         i == DECIDES_LATER);
        ckpt_save_free(save);
        trainer_end(&w, &s, ctx);
    }
}

static void daemon_that_is_gone_for_good_is_told_in_words(void **unused)
{
    const struct fake_options o = {.slot_count = 4,
                                   .at = WIRE_CHUNKS,
                                   .at_count = 2,
                                   .mischief = FAKE_DIES_FOR_GOOD};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct ckpt_save_status status;
    struct ckpt_error error;

    (void)unused;
    ctx = trainer_begin_within(&w, &s, &o, BIG_BYTES, 500);
    assert_int_equal(
        ckpt_save(ctx, 1, s.tensor, s.count, NULL, 0, &save, &error), 0);
    assert_int_equal(ckpt_fence(save, NULL, &error), 0);
    assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, -1, &error),
                     -CKPT_EABORTED);
    ckpt_save_status(save, &status);
    assert_true(status.aborted);
    assert_int_equal(status.error.code, -ECONNRESET);
    ckpt_save_free(save);
    assert_int_equal(ckpt_list(ctx, NULL, 0, &error), -ENOTCONN);
    assert_non_null(strstr(error.message, w.socket));
    trainer_end(&w, &s, ctx);
}

/* The other ranks hear at once that nobody will give its chunks. */
static void a_save_that_nobody_waits_for_is_cancelled(void **unused)
{
    const struct fake_options o = {
        .at = WIRE_SAVE, .at_count = 1, .mischief = FAKE_LATE_OK};
    struct trainer_world w;
    struct ckpt *ctx;
    struct state s;

    (void)unused;
    ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
    all_is_well(ctx, &s, 1);
    assert_int_equal(fake_count(w.fake, WIRE_CANCEL), 1);
    trainer_end(&w, &s, ctx);
}

static void load_without_progress_times_out(void **unused)
{
    const struct fake_options o = {.slot_count = 4,
                                   .at = WIRE_CONSUMED,
                                   .at_count = 1,
                                   .mischief = FAKE_STALLS};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_options options;
    struct ckpt_error error;
    struct ckpt_id id = {1, 1, 1};

    (void)unused;
    trainer_world_init(&w, &o);
    state_init(&s, BIG_BYTES);
    trainer_world_options(&w, &options);
    options.load_timeout_ms = 300;
    assert_int_equal(ckpt_open(&options, &ctx, &error), 0);
    assert_true(try_save(ctx, &s, 1));
    assert_int_equal(ckpt_read(ctx, &id, s.tensor, s.count, NULL, NULL, &error),
                     -ETIMEDOUT);
    assert_non_null(strstr(error.message, "waits for bytes"));
    trainer_end(&w, &s, ctx);
}

static void fewer_bytes_than_announced_are_no_load(void **unused)
{
    const struct fake_options o = {.slot_count = 4, .flips_a_byte = true};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_error error;
    struct ckpt_id id = {1, 1, 1};

    (void)unused;
    ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
    assert_true(try_save(ctx, &s, 1));
    assert_int_equal(ckpt_read(ctx, &id, s.tensor, s.count, NULL, NULL, &error),
                     -CKPT_ECORRUPT);
    trainer_end(&w, &s, ctx);
}

static void arena_without_seals_is_refused(void **unused)
{
    const struct fake_options o = {.slot_count = 4, .is_unsealed = true};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct ckpt_error error;

    (void)unused;
    ctx = trainer_begin(&w, &s, &o, 1000);
    assert_int_equal(
        ckpt_save(ctx, 1, s.tensor, s.count, NULL, 0, &save, &error), -EPERM);
    assert_non_null(strstr(error.message, "not sealed"));
    trainer_end(&w, &s, ctx);
}

static void no_save_is_told_and_not_followed(void **unused)
{
    struct ckpt_error error = {0};
    struct ckpt_save_status status = {.aborted = true, .failed_count = 7};
    struct ckpt_id id = {1, 2, 3};

    (void)unused;
    assert_int_equal(ckpt_wait(NULL, CKPT_COMMITTED, -1, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_non_null(strstr(error.message, "NULL"));
    assert_int_equal(ckpt_wait(NULL, CKPT_STAGED, 0, NULL), -EINVAL);
    ckpt_save_status(NULL, &status);
    assert_int_equal(status.state, 0);
    assert_false(status.aborted);
    assert_int_equal(status.failed_count, 0);
    assert_int_equal(status.error.code, 0);
    ckpt_save_id(NULL, &id);
    assert_int_equal(id.generation, 0);
    assert_int_equal(id.step, 0);
    ckpt_save_free(NULL);
}

/* The next save and the close fence what nobody can fence any more. */
static void freed_handles_are_fenced_for_their_owner(void **unused)
{
    const struct fake_options o = {.slot_count = 4, .delay_ms = 2};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct ckpt_error error;
    struct ckpt_id id;

    (void)unused;
    ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
    state_fill(&s, 1);
    assert_int_equal(
        ckpt_save(ctx, 1, s.tensor, s.count, NULL, 0, &save, &error), 0);
    ckpt_save_id(save, &id);
    ckpt_save_free(save);
    if (ckpt_save(ctx, 2, s.tensor, 1, NULL, 0, &save, &error))
        fail_msg("%s", error.message);
    state_spoil(&s, CKPT_UNTIL_FENCE);
    state_spoil(&s, CKPT_CAPTURE_NOW);
    if (ckpt_wait(save, CKPT_COMMITTED, 10000, &error))
        fail_msg("%s", error.message);
    ckpt_save_free(save);
    state_clear(&s);
    if (ckpt_read(ctx, &id, s.tensor, s.count, NULL, NULL, &error))
        fail_msg("%s", error.message);
    state_check(&s, 1);
    state_fill(&s, 3);
    assert_int_equal(
        ckpt_save(ctx, 3, s.tensor, s.count, NULL, 0, &save, &error), 0);
    ckpt_save_free(save);
    ckpt_close(ctx);
    ctx = trainer_world_open(&w);
    ckpt_parent(ctx, &id);
    assert_int_equal(id.step, 3);
    state_clear(&s);
    if (ckpt_load(ctx, s.tensor, s.count, NULL, NULL, &error))
        fail_msg("%s", error.message);
    state_check(&s, 3);
    trainer_end(&w, &s, ctx);
}

static void unfenced_save_is_busy(void **unused)
{
    const struct fake_options o = {.slot_count = 40};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_save *first, *second;
    struct ckpt_error error;

    (void)unused;
    trainer_world_init(&w, &o);
    state_init(&s, BIG_BYTES);
    state_fill(&s, 1);
    ctx = trainer_world_open(&w);
    assert_int_equal(
        ckpt_save(ctx, 1, s.tensor, s.count, NULL, 0, &first, &error), 0);
    assert_int_equal(
        ckpt_save(ctx, 2, s.tensor, s.count, NULL, 0, &second, &error), -EBUSY);
    assert_non_null(strstr(error.message, "step 1 was not fenced"));
    assert_int_equal(ckpt_fence(first, NULL, &error), 0);
    assert_int_equal(ckpt_save(ctx, 2, s.tensor, 1, NULL, 0, &second, &error),
                     0);
    ckpt_save_free(first);
    ckpt_save_free(second);
    /* Nothing was lazy in the second: the third may follow at once. */
    assert_int_equal(ckpt_save(ctx, 3, s.tensor, 1, NULL, 0, &second, &error),
                     0);
    ckpt_save_free(second);
    trainer_end(&w, &s, ctx);
}

static void failures_in_a_row_surface_once(void **unused)
{
    const struct fake_options o = {.slot_count = 4,
                                   .stop_at = WIRE_STATE_STAGED};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_options options;
    struct ckpt_save *save;
    struct ckpt_save_status status;
    struct ckpt_error error;

    (void)unused;
    trainer_world_init(&w, &o);
    state_init(&s, 1000);
    state_fill(&s, 1);
    trainer_world_options(&w, &options);
    options.max_uncommitted = 2;
    options.decide_timeout_ms = 100;
    assert_int_equal(ckpt_open(&options, &ctx, &error), 0);
    for (uint64_t step = 1; step <= 2; step++) {
        assert_int_equal(
            ckpt_save(ctx, step, s.tensor, s.count, NULL, 0, &save, &error), 0);
        assert_int_equal(ckpt_fence(save, NULL, &error), 0);
        fake_abort_all(w.fake, -ENOSPC);
        assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, 5000, &error),
                         -CKPT_EABORTED);
        ckpt_save_status(save, &status);
        assert_int_equal(status.error.code, -ENOSPC);
        assert_int_equal(status.failed_count, step);
        ckpt_save_free(save);
    }
    assert_int_equal(
        ckpt_save(ctx, 3, s.tensor, s.count, NULL, 0, &save, &error),
        -CKPT_EUNCOMMITTED);
    assert_non_null(strstr(error.message, "save of step 1"));
    fake_set_stop_at(w.fake, WIRE_STATE_COMMITTED);
    all_is_well(ctx, &s, 3);
    trainer_end(&w, &s, ctx);
}

/* What the user's own policy drops is no failure; whatever else ends with ABORT
 * is one, under every policy. */
static void skipped_saves_are_not_counted(void **unused)
{
    static const int codes[] = {-CKPT_EOVERLOAD, -CKPT_EABORTED};

    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        const struct fake_options o = {.slot_count = 4,
                                       .at = WIRE_SAVE,
                                       .at_count = 1,
                                       .mischief = FAKE_ABORTS,
                                       .refusal = codes[i]};
        struct trainer_world w;
        struct state s;
        struct ckpt *ctx;
        struct ckpt_options options;
        struct ckpt_save *save;
        struct ckpt_save_status status;
        struct ckpt_error error;

        trainer_world_init(&w, &o);
        state_init(&s, 1000);
        trainer_world_options(&w, &options);
        options.overload = CKPT_SKIP;
        assert_int_equal(ckpt_open(&options, &ctx, &error), 0);
        assert_int_equal(
            ckpt_save(ctx, 1, s.tensor, s.count, NULL, 0, &save, &error), 0);
        assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, 5000, &error),
                         -CKPT_EABORTED);
        assert_int_equal(ckpt_fence(save, NULL, &error), 0);
        ckpt_save_status(save, &status);
        assert_true(status.aborted);
        assert_int_equal(status.failed_count, codes[i] == -CKPT_EABORTED);
        ckpt_save_free(save);
        all_is_well(ctx, &s, 1);
        trainer_end(&w, &s, ctx);
    }
}

static void handles_outlive_the_context(void **unused)
{
    const struct fake_options o = {.slot_count = 4,
                                   .stop_at = WIRE_STATE_STAGED};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_options options;
    struct ckpt_save *save;
    struct ckpt_error error;

    (void)unused;
    trainer_world_init(&w, &o);
    state_init(&s, 1000);
    trainer_world_options(&w, &options);
    options.decide_timeout_ms = 200;
    assert_int_equal(ckpt_open(&options, &ctx, &error), 0);
    assert_int_equal(
        ckpt_save(ctx, 1, s.tensor, s.count, NULL, 0, &save, &error), 0);
    assert_int_equal(ckpt_fence(save, NULL, &error), 0);
    ckpt_close(ctx);
    assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, -1, &error), -ENOTCONN);
    assert_int_equal(ckpt_fence(save, NULL, &error), 0);
    ckpt_save_free(save);
    state_fini(&s);
    trainer_world_fini(&w);
}

static void mistakes_name_the_tensor(void **unused)
{
    const struct fake_options o = {.slot_count = 4};
    static const struct {
        struct ckpt_tensor tensor;
        int code;
        const char *words;
    } wrong[] = {
        {{.name = "a", .dtype = (enum ckpt_dtype)77}, -CKPT_ESHAPE, "tensor a"},
        {{.name = "b", .dtype = CKPT_U8, .ndim = 9}, -CKPT_ESHAPE, "tensor b"},
        {{.name = "c", .dtype = CKPT_U8, .ndim = 1, .shape = {4}},
         -EINVAL,
         "tensor c: data is NULL"},
        {{.name = "d", .dtype = CKPT_U8, .device = (enum ckpt_device)1},
         -ENOTSUP,
         "tensor d"},
        {{.name = "e", .dtype = CKPT_U8, .box_count = 1}, -EINVAL, "tensor e"},
        {{.name = "\001extra///x", .dtype = CKPT_U8}, -EINVAL, "reserved"},
        {{.name = NULL, .dtype = CKPT_U8}, -EINVAL, "no name"},
        {{.name = "", .dtype = CKPT_U8}, -EINVAL, "names"},
        {{.name = "f",
          .dtype = CKPT_U8,
          .replica_index = 2,
          .replica_count = 2},
         -EINVAL,
         "tensor f"},
        {{.name = "g",
          .dtype = CKPT_U8,
          .ndim = 1,
          .shape = {4},
          .is_cut = true,
          .cut_start = 3,
          .cut_count = 2},
         -CKPT_ESHAPE,
         "tensor g"},
    };
    struct trainer_world w;
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct ckpt_error error;

    (void)unused;
    trainer_world_init(&w, &o);
    ctx = trainer_world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        int rc = ckpt_save(ctx, 1, &wrong[i].tensor, 1, NULL, 0, &save, &error);

        if (rc != wrong[i].code || !strstr(error.message, wrong[i].words))
            fail_msg("%zu: %d %s", i, rc, error.message);
        assert_non_null(strstr(error.message, "save of step 1"));
    }
    assert_int_equal(fake_count(w.fake, WIRE_SAVE), 0);
    ckpt_close(ctx);
    trainer_world_fini(&w);
}

static void mistakes_of_options_are_told(void **unused)
{
    struct ckpt_options o;
    struct ckpt_error error;
    struct ckpt *ctx;

    (void)unused;
    ckpt_options_init(&o);
    o.home = "/tmp";
    assert_int_equal(ckpt_open(&o, &ctx, &error), -EINVAL);
    assert_non_null(strstr(error.message, "no run"));
    o.run = "a/b";
    assert_int_equal(ckpt_open(&o, &ctx, &error), -EINVAL);
    o.run = "r";
    o.rank = 1;
    o.world_size = 2;
    assert_int_equal(ckpt_open(&o, &ctx, &error), -EINVAL);
    assert_non_null(strstr(error.message, "without a token"));
    o.token = "t";
    o.rank = 2;
    assert_int_equal(ckpt_open(&o, &ctx, &error), -EINVAL);
    o.rank = 1;
    o.home = "/nonexistent/home";
    assert_int_equal(ckpt_open(&o, &ctx, &error), -ENOENT);
    assert_non_null(strstr(error.message, "/nonexistent/home"));
    o.home = "/tmp";
    o.axis_count = 1;
    o.axes[0] = (struct ckpt_axis){"dp", 2, 2};
    assert_int_equal(ckpt_open(&o, &ctx, &error), -EINVAL);
    assert_null(ctx);
    ckpt_close(NULL);
    ckpt_save_free(NULL);
    ckpt_values_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(daemon_dies_at_each_message_of_a_save),
        cmocka_unit_test(daemon_talks_nonsense_at_each_message_of_a_save),
        cmocka_unit_test(daemon_refuses_each_message_of_a_save),
        cmocka_unit_test(daemon_aborts_in_the_middle),
        cmocka_unit_test(daemon_dies_at_each_message_of_a_load),
        cmocka_unit_test(fate_of_a_staged_save_is_asked_of_the_next_daemon),
        cmocka_unit_test(daemon_that_is_gone_for_good_is_told_in_words),
        cmocka_unit_test(a_save_that_nobody_waits_for_is_cancelled),
        cmocka_unit_test(load_without_progress_times_out),
        cmocka_unit_test(fewer_bytes_than_announced_are_no_load),
        cmocka_unit_test(arena_without_seals_is_refused),
        cmocka_unit_test(no_save_is_told_and_not_followed),
        cmocka_unit_test(unfenced_save_is_busy),
        cmocka_unit_test(freed_handles_are_fenced_for_their_owner),
        cmocka_unit_test(failures_in_a_row_surface_once),
        cmocka_unit_test(skipped_saves_are_not_counted),
        cmocka_unit_test(handles_outlive_the_context),
        cmocka_unit_test(mistakes_name_the_tensor),
        cmocka_unit_test(mistakes_of_options_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
