/*
 * test_save_set.c - a set of saves: exact in any order of adding, and small
 * where steps are regular.
 */
#include "ckptd/engine/save_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define STEPS    200
#define ATTEMPTS 3
#define MILLION  1000000

static uint64_t draw(uint64_t *random, uint64_t limit)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (*random >> 33) % limit;
}

static struct save_id id(uint32_t generation, uint64_t step, uint32_t attempt)
{
    return (struct save_id){
        .generation = generation, .step = step, .attempt = attempt};
}

static void add(struct save_set *set, uint64_t step)
{
    struct save_id one = id(1, step, 1);

    assert_int_equal(save_set_add(set, &one), 0);
}

/* Steps in order, none within another's range, what is equal joined. */
static void check_shape(const struct save_set *set)
{
    uint64_t count = 0;

    for (size_t i = 0; i < set->range_count; i++) {
        const struct save_range *r = &set->range[i];

        assert_true(r->count > 0);
        assert_int_equal(r->stride == 0, r->count == 1);
        count += r->count;
        if (i == 0 || r[-1].generation != r->generation ||
            r[-1].attempt != r->attempt)
            continue;
        assert_true(r[-1].first + (uint64_t)r[-1].stride * (r[-1].count - 1) <
                    r->first);
    }
    assert_int_equal(count, set->count);
}

/* Compared with a plain table. */
static void check_generation(const struct save_set *set, uint32_t generation,
                             bool is_in[STEPS][ATTEMPTS])
{
    uint64_t highest = 0, got = 0;
    bool has_any = false;

    for (uint64_t s = 0; s < STEPS; s++) {
        uint32_t most = 0;

        for (uint32_t a = 0; a < ATTEMPTS; a++) {
            struct save_id one = id(generation, s, a + 1);

            assert_int_equal(save_set_has(set, &one), is_in[s][a]);
            most = is_in[s][a] ? a + 1 : most;
        }
        assert_int_equal(save_set_highest_attempt(set, generation, s), most);
        has_any |= most > 0;
        highest = most > 0 ? s : highest;
    }
    assert_int_equal(save_set_highest_step(set, generation, &got), has_any);
    assert_int_equal(got, highest);
}

static void it_has_what_was_added_and_nothing_else(void **state)
{
    static bool is_in[2][STEPS][ATTEMPTS];

    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct save_set set = {0};
        uint64_t random = seed, adds = draw(&random, STEPS * 4);

        memset(is_in, 0, sizeof is_in);
        for (uint64_t k = 0; k < adds; k++) {
            uint32_t g = (uint32_t)draw(&random, 2);
            uint64_t s = draw(&random, seed % 2 ? STEPS : STEPS / 8);
            uint32_t a = (uint32_t)draw(&random, ATTEMPTS);
            struct save_id one = id(g + 1, s, a + 1);

            assert_int_equal(save_set_add(&set, &one), 0);
            is_in[g][s][a] = true;
            check_shape(&set);
        }
        check_generation(&set, 1, is_in[0]);
        check_generation(&set, 2, is_in[1]);
        save_set_free(&set);
    }
}

static void a_million_regular_saves_are_one_range(void **state)
{
    struct save_set set = {0};
    struct save_id one;

    (void)state;
    for (uint64_t i = 0; i < MILLION; i++)
        add(&set, 500 * i);
    assert_int_equal(set.range_count, 1);
    assert_int_equal(set.count, MILLION);
    one = id(1, 500 * 777, 1);
    assert_true(save_set_has(&set, &one));
    one.step++;
    assert_false(save_set_has(&set, &one));
    save_set_free(&set);
}

/* Every hundredth is kept, and goes in the end after all. */
static void gaps_that_are_filled_leave_no_trace(void **state)
{
    struct save_set set = {0};

    (void)state;
    for (uint64_t i = 1; i <= 10000; i++)
        if (i % 100)
            add(&set, 10 * i);
    assert_int_equal(set.range_count, 100);
    for (uint64_t i = 100; i <= 10000; i += 100)
        add(&set, 10 * i);
    assert_int_equal(set.range_count, 1);
    save_set_free(&set);
}

static void the_order_of_a_regular_pattern_does_not_matter(void **state)
{
    static uint64_t step[10000];

    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct save_set set = {0};
        uint64_t random = seed;

        for (size_t i = 0; i < ARRAY_LEN(step); i++)
            step[i] = i;
        for (size_t i = ARRAY_LEN(step); i > 1; i--) {
            size_t k = draw(&random, i);
            uint64_t swap = step[i - 1];

            step[i - 1] = step[k];
            step[k] = swap;
        }
        for (size_t i = 0; i < ARRAY_LEN(step); i++)
            add(&set, 3 * step[i] + 7);
        assert_int_equal(set.range_count, 1);
        save_set_free(&set);
    }
}

static void steps_at_the_ends_of_the_numbers_are_kept_apart(void **state)
{
    static const uint64_t step[] = {0, UINT64_MAX, UINT32_MAX,
                                    (uint64_t)UINT32_MAX + 1, 1};
    struct save_set set = {0};
    struct save_id one;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(step); i++)
        add(&set, step[i]);
    for (size_t i = 0; i < ARRAY_LEN(step); i++) {
        one = id(1, step[i], 1);
        assert_true(save_set_has(&set, &one));
    }
    one.step = 2;
    assert_false(save_set_has(&set, &one));
    one.step = UINT64_MAX - 1;
    assert_false(save_set_has(&set, &one));
    assert_int_equal(set.count, ARRAY_LEN(step));
    save_set_free(&set);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_what_was_added_and_nothing_else),
        cmocka_unit_test(a_million_regular_saves_are_one_range),
        cmocka_unit_test(gaps_that_are_filled_leave_no_trace),
        cmocka_unit_test(the_order_of_a_regular_pattern_does_not_matter),
        cmocka_unit_test(steps_at_the_ends_of_the_numbers_are_kept_apart),
    };

    return cmocka_run_group_tests_name("save_set", tests, NULL, NULL);
}
