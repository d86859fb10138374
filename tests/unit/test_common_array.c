/*
 * test_common_array.c - room for one more: what was there stays, memory is
 * asked for only when the room is used up, and without memory nothing changes.
 */
#include "common/array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void items_stay_and_the_room_doubles(void **state)
{
    size_t capacity = 0, count = 0, grown = 0;
    uint64_t *items = NULL;

    (void)state;
    while (count < 1000) {
        size_t before = capacity;
        uint64_t *room = array_room(items, count, &capacity, sizeof *room);

        assert_non_null(room);
        if (capacity == before) {
            assert_ptr_equal(room, items);
        } else {
            assert_int_equal(count, before);
            assert_true(before == 0 || capacity == 2 * before);
            grown++;
        }
        items = room;
        items[count] = count * 7;
        count++;
    }
    assert_true(grown < 10);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(items[i], i * 7);
    free(items);
}

/* 2^40 items of 2^40 bytes: their product is 0 in 64 bits. */
static void without_memory_it_is_as_it_was(void **state)
{
    size_t capacity = (size_t)1 << 39;
    uint8_t item;

    (void)state;
    assert_null(array_room(&item, capacity, &capacity, (size_t)1 << 40));
    assert_int_equal(capacity, (size_t)1 << 39);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_stay_and_the_room_doubles),
        cmocka_unit_test(without_memory_it_is_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
