/*
 * test_trainer_remote.c - ckpt_wait(CKPT_REMOTE) of the library against a fake
 * daemon: asked again as long as somebody waits, and by the next daemon; what
 * is refused, and contexts that are closed meanwhile.
 */
#include "tests/lib/trainer_world.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct scene {
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct ckpt_error error;
};

/* A job with one save, fenced. */
static void begin_within(struct scene *f, const struct fake_options *o,
                         uint32_t open_timeout_ms)
{
    f->ctx = trainer_begin_within(&f->w, &f->s, o, 1000, open_timeout_ms);
    assert_int_equal(ckpt_save(f->ctx, 7, f->s.tensor, f->s.count, NULL, 0,
                               &f->save, &f->error),
                     0);
    assert_int_equal(ckpt_fence(f->save, NULL, &f->error), 0);
}

static void begin(struct scene *f, const struct fake_options *o)
{
    begin_within(f, o, 5000);
}

static void end(struct scene *f)
{
    ckpt_save_free(f->save);
    trainer_end(&f->w, &f->s, f->ctx);
}

static void it_is_asked_again_until_it_is(void **state)
{
    const struct fake_options o = {.slot_count = 4, .remote_after = 3};
    struct ckpt_save_status status;
    struct scene f;

    (void)state;
    begin(&f, &o);
    if (ckpt_wait(f.save, CKPT_REMOTE, -1, &f.error))
        fail_msg("%s", f.error.message);
    assert_int_equal(fake_count(f.w.fake, WIRE_AWAIT), 4);
    ckpt_save_status(f.save, &status);
    assert_int_equal(status.state, CKPT_REMOTE);
    /* What is known is not asked. */
    assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, 0, &f.error), 0);
    assert_int_equal(ckpt_wait(f.save, CKPT_COMMITTED, 0, &f.error), 0);
    assert_int_equal(fake_count(f.w.fake, WIRE_AWAIT), 4);
    end(&f);
}

static void a_refusal_is_told_and_the_save_is_what_it_was(void **state)
{
    static const int codes[] = {-ENOTSUP, -ENOENT};
    struct ckpt_save_status status;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        const struct fake_options o = {.slot_count = 4,
                                       .remote_refusal = codes[i]};
        struct scene f;

        begin(&f, &o);
        assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, -1, &f.error),
                         codes[i]);
        assert_non_null(strstr(f.error.message, "save of step 7"));
        assert_non_null(strstr(f.error.message, "not sent there"));
        ckpt_save_status(f.save, &status);
        assert_int_equal(status.state, CKPT_COMMITTED);
        assert_int_equal(status.error.code, 0);
        assert_int_equal(status.failed_count, 0);
        end(&f);
    }
}

static void a_daemon_that_is_too_old_is_named(void **state)
{
    const struct fake_options o = {.slot_count = 4, .is_old = true};
    struct scene f;

    (void)state;
    begin(&f, &o);
    assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, -1, &f.error), -ENOTSUP);
    assert_non_null(strstr(f.error.message, "too old"));
    assert_int_equal(fake_count(f.w.fake, WIRE_AWAIT), 0);
    end(&f);
}

static void the_next_daemon_is_asked(void **state)
{
    static const enum fake_mischief mischief[] = {FAKE_DIES, FAKE_GARBAGE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mischief); i++) {
        const struct fake_options o = {.slot_count = 4,
                                       .at = WIRE_AWAIT,
                                       .at_count = 1,
                                       .mischief = mischief[i]};
        struct scene f;

        begin(&f, &o);
        if (ckpt_wait(f.save, CKPT_REMOTE, 20000, &f.error))
            fail_msg("%s", f.error.message);
        assert_int_equal(fake_count(f.w.fake, WIRE_AWAIT), 2);
        end(&f);
    }
}

static void without_any_daemon_it_ends_in_words(void **state)
{
    const struct fake_options o = {.slot_count = 4,
                                   .at = WIRE_AWAIT,
                                   .at_count = 1,
                                   .mischief = FAKE_DIES_FOR_GOOD};
    struct scene f;

    (void)state;
    begin_within(&f, &o, 300);
    assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, 20000, &f.error),
                     -ENOTCONN);
    assert_non_null(strstr(f.error.message, "ckpt ls"));
    end(&f);
}

static void time_runs_out_and_a_look_does_not_wait(void **state)
{
    const struct fake_options o = {.slot_count = 4,
                                   .stop_at = WIRE_STATE_LOCAL};
    const struct fake_options stalls = {.slot_count = 4,
                                        .at = WIRE_AWAIT,
                                        .at_count = 1,
                                        .mischief = FAKE_STALLS};
    struct scene f;

    (void)state;
    begin(&f, &o); /* nothing to ask about yet */
    assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, 100, &f.error), -ETIMEDOUT);
    assert_non_null(strstr(f.error.message, "LOCAL, not REMOTE"));
    assert_int_equal(fake_count(f.w.fake, WIRE_AWAIT), 0);
    fake_set_stop_at(f.w.fake, WIRE_STATE_COMMITTED);
    assert_true(ckpt_list(f.ctx, NULL, 0, &f.error) >= 0); /* it wakes up */
    if (ckpt_wait(f.save, CKPT_REMOTE, -1, &f.error))
        fail_msg("%s", f.error.message);
    end(&f);
    begin(&f, &stalls);
    assert_int_equal(ckpt_wait(f.save, CKPT_COMMITTED, -1, &f.error), 0);
    assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, 0, &f.error), -ETIMEDOUT);
    assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, 50, &f.error), -ETIMEDOUT);
    assert_non_null(strstr(f.error.message, "COMMITTED, not REMOTE"));
    assert_int_equal(fake_count(f.w.fake, WIRE_AWAIT), 1);
    ckpt_save_free(f.save); /* with its question open */
    trainer_end(&f.w, &f.s, f.ctx);
}

static void *wait_remote(void *arg)
{
    struct scene *f = arg;

    return ckpt_wait(f->save, CKPT_REMOTE, -1, &f->error) == -ENOTCONN ? f
                                                                       : NULL;
}

static void a_context_that_is_closed_ends_the_wait(void **state)
{
    const struct fake_options o = {.slot_count = 4, .remote_after = UINT32_MAX};
    struct ckpt_error error;
    pthread_t thread;
    struct scene f;
    void *result;

    (void)state;
    begin(&f, &o);
    assert_int_equal(ckpt_wait(f.save, CKPT_COMMITTED, -1, &error), 0);
    /* One more, so that this is not the context's newest. */
    state_save(f.ctx, &f.s, 8, 8);
    assert_int_equal(pthread_create(&thread, NULL, wait_remote, &f), 0);
    while (fake_count(f.w.fake, WIRE_AWAIT) == 0)
        (void)usleep(1000);
    ckpt_close(f.ctx);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &f);
    assert_int_equal(ckpt_wait(f.save, CKPT_REMOTE, -1, &error), -ENOTCONN);
    assert_int_equal(ckpt_wait(f.save, CKPT_COMMITTED, -1, &error), 0);
    ckpt_save_free(f.save);
    state_fini(&f.s);
    trainer_world_fini(&f.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_asked_again_until_it_is),
        cmocka_unit_test(a_refusal_is_told_and_the_save_is_what_it_was),
        cmocka_unit_test(a_daemon_that_is_too_old_is_named),
        cmocka_unit_test(the_next_daemon_is_asked),
        cmocka_unit_test(without_any_daemon_it_ends_in_words),
        cmocka_unit_test(time_runs_out_and_a_look_does_not_wait),
        cmocka_unit_test(a_context_that_is_closed_ends_the_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
