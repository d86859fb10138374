/*
 * The library against a fake daemon that is as nasty as the protocol allows:
 * what was saved comes back bit for bit, whatever the order of grants, the
 * size of the arena, the way of delivery, and whatever the caller does to its
 * buffers as soon as it may.
 */
#include "formats/writelist.h"
#include "tests/lib/trainer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIG_BYTES ((size_t)1 << 20)

static void load_and_check(struct ckpt *ctx, struct state *s, uint64_t step,
                           uint64_t salt)
{
    struct ckpt_error error;
    struct ckpt_report report;

    state_clear(s);
    if (ckpt_load(ctx, s->tensor, s->count, NULL, &report, &error))
        fail_msg("%s", error.message);
    state_check(s, salt);
    assert_int_equal(report.id.step, step);
    assert_int_equal(report.attempt_count, 1);
    assert_true(report.bytes > BIG_BYTES);
}

/* Two saves in one layout, then a load by the next generation. */
static void round_trip(const struct fake_options *o)
{
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_id parent;

    ctx = trainer_begin(&w, &s, o, BIG_BYTES);
    ckpt_parent(ctx, &parent);
    assert_int_equal(parent.generation, 0);
    state_save(ctx, &s, 10, 1);
    state_save(ctx, &s, 20, 2);
    assert_int_equal(fake_count(w.fake, WIRE_TABLE), 1);
    ckpt_close(ctx);
    ctx = trainer_world_open(&w);
    ckpt_parent(ctx, &parent);
    assert_int_equal(parent.step, 20);
    load_and_check(ctx, &s, 20, 2);
    trainer_end(&w, &s, ctx);
}

static void plain_daemon(void **unused)
{
    (void)unused;
    round_trip(&(struct fake_options){.slot_count = 40});
}

static void arena_of_four_slots(void **unused)
{
    (void)unused;
    round_trip(&(struct fake_options){.slot_count = 4});
}

static void a_larger_arena_takes_the_place_of_the_first(void **unused)
{
    const struct fake_options o = {.slot_count = 4, .slots_later = 40};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;

    (void)unused;
    ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
    for (uint64_t step = 1; step <= 4; step++)
        state_save(ctx, &s, step, step);
    assert_true(fake_count(w.fake, WIRE_ARENA) > 1);
    assert_int_equal(fake_count(w.fake, WIRE_TABLE), 1);
    ckpt_close(ctx);
    ctx = trainer_world_open(&w);
    load_and_check(ctx, &s, 4, 4);
    trainer_end(&w, &s, ctx);
}

static void one_slot_at_a_time_backwards(void **unused)
{
    (void)unused;
    round_trip(&(struct fake_options){
        .slot_count = 4, .grant_max = 1, .is_backwards = true});
}

static void frames_in_single_bytes(void **unused)
{
    (void)unused;
    round_trip(&(struct fake_options){.slot_count = 6, .is_split = true});
}

static void slow_daemon(void **unused)
{
    (void)unused;
    round_trip(&(struct fake_options){.slot_count = 8, .delay_ms = 2});
}

static void gathered_delivery(void **unused)
{
    (void)unused;
    round_trip(&(struct fake_options){.slot_count = 5, .is_gathered = true});
}

static void fall_back_begins_again(void **unused)
{
    const struct fake_options o = {.fail_loads = 2};
    struct trainer_world w;
    struct state s;
    struct ckpt *ctx;
    struct ckpt_report report;
    struct ckpt_error error;

    (void)unused;
    ctx = trainer_begin(&w, &s, &o, BIG_BYTES);
    state_save(ctx, &s, 5, 9);
    ckpt_close(ctx);
    ctx = trainer_world_open(&w);
    state_clear(&s);
    if (ckpt_load(ctx, s.tensor, s.count, NULL, &report, &error))
        fail_msg("%s", error.message);
    state_check(&s, 9);
    assert_int_equal(report.attempt_count, 3);
    assert_non_null(strstr(report.note, "attempt before failed"));
    trainer_end(&w, &s, ctx);
}

/* In the midst of an attempt: what it delivered is queued, or being scattered
 * by the caller and by copy threads, and nothing of it may remain. */
static void a_spoilt_attempt_leaves_nothing_behind(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < 12; i++) {
        const struct fake_options o = {.spoilt_loads = 1 + i % 4,
                                       .fail_loads = i % 2,
                                       .slot_count = 4 + i,
                                       .chunk_bytes = 1 << 20,
                                       .is_gathered = i % 3 == 0};
        struct trainer_world w;
        struct state s;
        struct ckpt *ctx;
        struct ckpt_report report;
        struct ckpt_error error;

        ctx = trainer_begin(&w, &s, &o, 4 * BIG_BYTES);
        state_save(ctx, &s, 5, i);
        ckpt_close(ctx);
        ctx = trainer_world_open(&w);
        state_clear(&s);
        if (ckpt_load(ctx, s.tensor, s.count, NULL, &report, &error))
            fail_msg("%s", error.message);
        state_check(&s, i);
        assert_int_equal(report.attempt_count,
                         1 + o.spoilt_loads + o.fail_loads);
        trainer_end(&w, &s, ctx);
    }
}

/* Every tensor whole and plain, in one buffer each. */
static void loads_into_another_layout(void **unused)
{
    const struct fake_options o = {.slot_count = 7};
    struct trainer_world w;
    struct state s, plain;
    struct ckpt *ctx;
    struct ckpt_error error;
    struct ckpt_id id;

    (void)unused;
    trainer_world_init(&w, &o);
    state_init(&s, BIG_BYTES);
    state_init(&plain, BIG_BYTES);
    ctx = trainer_world_open(&w);
    state_save(ctx, &s, 1, 3);
    for (size_t i = 0; i < plain.count; i++) {
        plain.tensor[i].box_count = 0;
        plain.tensor[i].is_cut = false;
        plain.tensor[i].strides = NULL;
        /* The largest of them has as many bytes as any piece of it. */
        free(plain.tensor[i].data);
        plain.bytes[i] = 8;
        for (uint32_t d = 0; d < plain.tensor[i].ndim; d++)
            plain.bytes[i] *= plain.tensor[i].shape[d];
        plain.tensor[i].data = calloc(1, plain.bytes[i] + 8);
        assert_non_null(plain.tensor[i].data);
    }
    state_clear(&plain);
    id = (struct ckpt_id){1, 1, 1};
    if (ckpt_read(ctx, &id, plain.tensor, plain.count, NULL, NULL, &error))
        fail_msg("%s", error.message);
    state_check(&plain, 3);
    ckpt_close(ctx);
    state_fini(&s);
    state_fini(&plain);
    trainer_world_fini(&w);
}

/* Of two replicas this rank writes one half of what is large. */
static void replica_hands_over_its_slice_only(void **unused)
{
    const struct fake_options o = {.slot_count = 8};
    struct trainer_world w;
    struct ckpt_error error;
    struct ckpt_save *save;
    struct ckpt *ctx;
    size_t bytes = (size_t)4 << 20;
    struct ckpt_tensor t = {.name = "w",
                            .dtype = CKPT_U8,
                            .ndim = 1,
                            .shape = {bytes},
                            .replica_index = 1,
                            .replica_count = 2,
                            .data = calloc(1, bytes)};

    (void)unused;
    trainer_world_init(&w, &o);
    ctx = trainer_world_open(&w);
    assert_int_equal(ckpt_save(ctx, 1, &t, 1, NULL, 0, &save, &error), 0);
    assert_int_equal(ckpt_wait(save, CKPT_STAGED, 5000, &error), 0);
    assert_int_equal(fake_chunk_count(w.fake), bytes / 2 / CHUNK_BYTES_MIN);
    ckpt_save_free(save);
    ckpt_close(ctx);
    free(t.data);
    trainer_world_fini(&w);
}

/* Extra state, inline and as reserved tensors. */
static void values_come_back_typed(void **unused)
{
    const struct fake_options o = {.slot_count = 4};
    static char large[200000];
    const struct ckpt_value values[] = {
        {.name = "step", .axes = "", .type = CKPT_VALUE_U64, .scalar.u = 7},
        {.name = "lr", .type = CKPT_VALUE_F64, .scalar.f = 1.5e-4},
        {.name = "neg", .axes = "tp", .type = CKPT_VALUE_I64, .scalar.i = -3},
        {.name = "text",
         .axes = "dp,tp",
         .type = CKPT_VALUE_STRING,
         .data = "hello",
         .bytes = 5},
        {.name = "rng",
         .axes = "tp",
         .type = CKPT_VALUE_BYTES,
         .data = large,
         .bytes = sizeof large},
    };
    struct trainer_world w;
    struct ckpt_error error;
    struct ckpt_values *got;
    struct ckpt_save *save;
    struct ckpt *ctx;

    (void)unused;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 31 >> 3);
    trainer_world_init(&w, &o);
    ctx = trainer_world_open(&w);
    assert_int_equal(ckpt_load_extra(ctx, &got, &error), -61);
    if (ckpt_save(ctx, 1, NULL, 0, values, 5, &save, &error))
        fail_msg("%s", error.message);
    assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, 5000, &error), 0);
    ckpt_save_free(save);
    ckpt_close(ctx);
    ctx = trainer_world_open(&w);
    if (ckpt_load_extra(ctx, &got, &error))
        fail_msg("%s", error.message);
    assert_int_equal(ckpt_values_count(got), 5);
    assert_int_equal(ckpt_values_find(got, "step")->scalar.u, 7);
    assert_true(ckpt_values_find(got, "lr")->scalar.f == 1.5e-4);
    assert_int_equal(ckpt_values_find(got, "neg")->scalar.i, -3);
    assert_int_equal(ckpt_values_find(got, "neg")->coordinate[0], 1);
    assert_string_equal(ckpt_values_find(got, "text")->data, "hello");
    assert_string_equal(ckpt_values_find(got, "text")->axes, "dp,tp");
    assert_int_equal(ckpt_values_find(got, "rng")->bytes, sizeof large);
    assert_memory_equal(ckpt_values_find(got, "rng")->data, large,
                        sizeof large);
    assert_null(ckpt_values_find(got, "none"));
    ckpt_values_free(got);
    ckpt_close(ctx);
    trainer_world_fini(&w);
}

/* With another degree on its axes a value is only to be walked. */
static void values_of_another_degree_are_not_ours(void **unused)
{
    const struct fake_options o = {.slot_count = 4};
    const struct ckpt_value values[] = {
        {.name = "rng", .axes = "tp", .type = CKPT_VALUE_U64, .scalar.u = 9},
        {.name = "all", .axes = "dp", .type = CKPT_VALUE_U64, .scalar.u = 8},
    };
    struct trainer_world w;
    struct ckpt_options options;
    struct ckpt_error error;
    struct ckpt_values *got;
    struct ckpt_save *save;
    struct ckpt *ctx;

    (void)unused;
    trainer_world_init(&w, &o);
    ctx = trainer_world_open(&w);
    assert_int_equal(ckpt_save(ctx, 1, NULL, 0, values, 2, &save, &error), 0);
    assert_int_equal(ckpt_wait(save, CKPT_COMMITTED, 5000, &error), 0);
    ckpt_save_free(save);
    ckpt_close(ctx);
    trainer_world_options(&w, &options);
    options.axes[1].degree = 4;
    assert_int_equal(ckpt_open(&options, &ctx, &error), 0);
    assert_int_equal(ckpt_load_extra(ctx, &got, &error), 0);
    assert_null(ckpt_values_find(got, "rng"));
    assert_int_equal(ckpt_values_find(got, "all")->scalar.u, 8);
    assert_int_equal(ckpt_values_at(got, 0)->scalar.u, 9);
    assert_int_equal(ckpt_values_at(got, 0)->coordinate[0], 1);
    assert_null(ckpt_values_at(got, 2));
    ckpt_values_free(got);
    ckpt_close(ctx);
    trainer_world_fini(&w);
}

static void lists_and_describes(void **unused)
{
    const struct fake_options o = {.slot_count = 4};
    struct trainer_world w;
    struct state s;
    struct ckpt_info infos[1];
    struct ckpt_tensor t;
    struct ckpt_error error;
    struct ckpt *ctx;

    (void)unused;
    ctx = trainer_begin(&w, &s, &o, 1000);
    assert_int_equal(ckpt_list(ctx, infos, 1, &error), 0);
    state_save(ctx, &s, 3, 1);
    state_save(ctx, &s, 4, 1);
    assert_int_equal(ckpt_list(ctx, infos, 1, &error), 2);
    assert_int_equal(infos[0].id.step, 3);
    assert_int_equal(infos[0].tensor_count, s.count);
    assert_int_equal(ckpt_describe(ctx, &infos[0].id, 0, &t, &error), 0);
    assert_string_equal(t.name, "boxes");
    assert_int_equal(t.dtype, CKPT_F32);
    assert_int_equal(t.shape[1], 7);
    assert_null(t.boxes);
    assert_int_equal(ckpt_describe(ctx, &infos[0].id, 99, &t, &error), -34);
    assert_false(ckpt_should_save(ctx, 0, 2));
    assert_true(ckpt_should_save(ctx, 4, 2));
    assert_false(ckpt_should_save(ctx, 5, 2));
    assert_false(ckpt_should_save(ctx, 4, 0));
    ckpt_close(ctx);
    ctx = trainer_world_open(&w);
    assert_false(ckpt_should_save(ctx, 4, 2));
    assert_true(ckpt_should_save(ctx, 2, 2));
    trainer_end(&w, &s, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_daemon),
        cmocka_unit_test(arena_of_four_slots),
        cmocka_unit_test(a_larger_arena_takes_the_place_of_the_first),
        cmocka_unit_test(one_slot_at_a_time_backwards),
        cmocka_unit_test(frames_in_single_bytes),
        cmocka_unit_test(slow_daemon),
        cmocka_unit_test(gathered_delivery),
        cmocka_unit_test(fall_back_begins_again),
        cmocka_unit_test(a_spoilt_attempt_leaves_nothing_behind),
        cmocka_unit_test(loads_into_another_layout),
        cmocka_unit_test(replica_hands_over_its_slice_only),
        cmocka_unit_test(values_come_back_typed),
        cmocka_unit_test(values_of_another_degree_are_not_ours),
        cmocka_unit_test(lists_and_describes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
