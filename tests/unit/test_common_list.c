/*
 * test_common_list.c - the intrusive list: order, removal anywhere, and walks
 * that remove (and free) what they visit.
 */
#include "common/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
    int value;
    struct list link;
};

static void assert_order(struct list *list, const int *values, size_t count)
{
    size_t at = 0;

    LIST_FOR_EACH (node, list) {
        assert_true(at < count);
        assert_int_equal(container_of(node, struct item, link)->value,
                         values[at]);
        at++;
    }
    assert_int_equal(at, count);
}

static void append_keeps_the_order(void **state)
{
    struct item items[] = {{.value = 1}, {.value = 2}, {.value = 3}};
    struct list list;

    (void)state;
    list_init(&list);
    assert_true(list_is_empty(&list));
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        list_append(&list, &items[i].link);
    assert_false(list_is_empty(&list));
    assert_order(&list, (int[]){1, 2, 3}, 3);
}

static void prepend_goes_to_the_front(void **state)
{
    struct item items[] = {{.value = 1}, {.value = 2}, {.value = 3}};
    struct list list;

    (void)state;
    list_init(&list);
    list_prepend(&list, &items[0].link);
    list_prepend(&list, &items[1].link);
    list_append(&list, &items[2].link);
    assert_order(&list, (int[]){2, 1, 3}, 3);
}

static void remove_works_at_both_ends_and_between(void **state)
{
    struct item items[] = {
        {.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}, {.value = 5}};
    struct list list;

    (void)state;
    list_init(&list);
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        list_append(&list, &items[i].link);
    list_remove(&items[2].link);
    assert_order(&list, (int[]){1, 2, 4, 5}, 4);
    list_remove(&items[0].link);
    list_remove(&items[4].link);
    assert_order(&list, (int[]){2, 4}, 2);
    assert_false(list_is_linked(&items[0].link));
    assert_true(list_is_linked(&items[1].link));
}

static void removing_what_is_not_linked_does_nothing(void **state)
{
    struct item zeroed = {0}, other = {.value = 9};
    struct list list;

    (void)state;
    list_init(&list);
    assert_false(list_is_linked(&zeroed.link));
    list_remove(&zeroed.link);
    list_append(&list, &other.link);
    list_remove(&other.link);
    list_remove(&other.link);
    assert_true(list_is_empty(&list));
    list_append(&list, &other.link);
    assert_order(&list, (int[]){9}, 1);
}

static void pop_takes_the_oldest_until_empty(void **state)
{
    struct item items[] = {{.value = 1}, {.value = 2}};
    struct list list;

    (void)state;
    list_init(&list);
    assert_null(list_pop(&list));
    list_append(&list, &items[0].link);
    list_append(&list, &items[1].link);
    assert_ptr_equal(list_pop(&list), &items[0].link);
    assert_false(list_is_linked(&items[0].link));
    assert_ptr_equal(list_pop(&list), &items[1].link);
    assert_null(list_pop(&list));
}

static void safe_walk_may_free_what_it_visits(void **state)
{
    struct list list;
    size_t count = 0;

    (void)state;
    list_init(&list);
    for (int i = 0; i < 100; i++) {
        struct item *item = calloc(1, sizeof *item);

        assert_non_null(item);
        item->value = i;
        list_append(&list, &item->link);
    }
    LIST_FOR_EACH_SAFE (node, after, &list) {
        struct item *item = container_of(node, struct item, link);

        assert_int_equal(item->value, count);
        list_remove(node);
        free(item);
        count++;
    }
    assert_int_equal(count, 100);
    assert_true(list_is_empty(&list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_keeps_the_order),
        cmocka_unit_test(prepend_goes_to_the_front),
        cmocka_unit_test(remove_works_at_both_ends_and_between),
        cmocka_unit_test(removing_what_is_not_linked_does_nothing),
        cmocka_unit_test(pop_takes_the_oldest_until_empty),
        cmocka_unit_test(safe_walk_may_free_what_it_visits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
