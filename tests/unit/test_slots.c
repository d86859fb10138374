/*
 * test_slots.c - slots of an arena: which one is taken, what is found as a
 * cache, and when an arena goes.
 */
#include "ckptd/engine/slots.h"
#include "tests/lib/test_env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define CHUNK 65536

struct fixture {
    struct test_world *world;
    struct test_env *t;
    struct list arenas;
};

static struct slots *arena_of(struct fixture *f, uint32_t count)
{
    uint64_t bytes = PAGE_BYTES + count * (PAGE_BYTES + CHUNK);
    struct env_arena arena;
    struct slots *s;
    struct err err;

    assert_int_equal(
        f->t->env.ops->arena_new(&f->t->env, bytes, CHUNK, &arena, &err), 0);
    assert_int_equal(slots_open(&f->t->env, &arena, &s), 0);
    assert_int_equal(s->count, count);
    list_append(&f->arenas, &s->link);
    return s;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->world = test_world_new(0);
    f->t = test_env_new(f->world, "a");
    list_init(&f->arenas);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    while (!list_is_empty(&f->arenas))
        slots_close(container_of(f->arenas.next, struct slots, link));
    assert_int_equal(f->t->arenas, 0);
    test_env_free(f->t);
    test_world_free(f->world);
    free(f);
    return 0;
}

static uint32_t take(struct slots *s, uint64_t owner)
{
    int64_t slot = slot_take(s, SLOT_GRANTED, owner);

    assert_true(slot >= 0);
    return (uint32_t)slot;
}

/* A slot through all moves to CLEAN, holding chunk `number`. */
static uint32_t make_clean(struct slots *s, uint64_t owner, uint32_t number)
{
    uint32_t slot = take(s, owner);

    slot_move(s, slot, SLOT_FULL);
    s->slot[slot].segment = (struct id128){{7}};
    s->slot[slot].number = number;
    s->slot[slot].raw_bytes = CHUNK;
    slot_move(s, slot, SLOT_CLEAN);
    return slot;
}

static void free_slots_are_taken_before_clean_ones(void **state)
{
    struct slots *s = arena_of(*state, 4);
    uint32_t first = make_clean(s, 1, 0), second = make_clean(s, 1, 1);

    assert_int_equal(s->free_count, 4);
    for (int i = 0; i < 2; i++) {
        uint32_t slot = take(s, 2);

        assert_true(slot != first && slot != second);
    }
    assert_int_equal(take(s, 2), first);
    assert_int_equal(take(s, 2), second);
    assert_int_equal(slot_take(s, SLOT_GRANTED, 2), -EAGAIN);
    assert_int_equal(s->free_count, 0);
}

static void the_slot_freed_last_is_taken_first(void **state)
{
    struct slots *s = arena_of(*state, 4);
    uint32_t first = take(s, 1), second = take(s, 1);

    slot_move(s, first, SLOT_FREE);
    slot_move(s, second, SLOT_FREE);
    assert_int_equal(take(s, 2), second);
    assert_int_equal(take(s, 2), first);
}

static void a_load_takes_no_slot_whose_pages_are_not_there(void **state)
{
    struct slots *s = arena_of(*state, 4);

    s->arena.ready_slots = 0;
    assert_int_equal(slot_take(s, SLOT_LOADING, 1), -EAGAIN);
    s->arena.ready_slots = 1;
    assert_int_equal(slot_take(s, SLOT_LOADING, 1), 0);
    assert_int_equal(slot_take(s, SLOT_LOADING, 1), -EAGAIN);
    assert_int_equal(take(s, 2), 1); /* its rank makes the pages itself */
    slot_move(s, 1, SLOT_FREE);
    assert_int_equal(slot_take(s, SLOT_LOADING, 1), 1);
    assert_int_equal(slot_take(s, SLOT_LOADING, 1), -EAGAIN);
    s->arena.ready_slots = 4;
    assert_int_equal(slot_take(s, SLOT_LOADING, 1), 2);
}

static void the_oldest_clean_slot_goes_first(void **state)
{
    struct slots *s = arena_of(*state, 4);
    uint32_t order[4];

    for (uint32_t i = 0; i < 4; i++)
        order[i] = take(s, 1);
    for (uint32_t i = 4; i-- > 0;) {
        slot_move(s, order[i], SLOT_FULL);
        slot_move(s, order[i], SLOT_CLEAN);
    }
    for (uint32_t i = 4; i-- > 0;)
        assert_int_equal(take(s, 2), order[i]);
}

static void a_held_slot_is_not_taken(void **state)
{
    struct slots *s = arena_of(*state, 4);
    uint32_t kept = make_clean(s, 1, 5);

    slot_cache(s, kept);
    slot_hold(s, kept);
    slot_hold(s, kept);
    assert_int_equal(s->free_count, 3);
    for (int i = 0; i < 3; i++)
        assert_true(take(s, 2) != kept);
    assert_int_equal(slot_take(s, SLOT_LOADING, 3), -EAGAIN);
    slot_unhold(s, kept);
    assert_int_equal(slot_take(s, SLOT_LOADING, 3), -EAGAIN);
    slot_unhold(s, kept);
    assert_int_equal(slot_take(s, SLOT_LOADING, 3), kept);
}

static void only_committed_chunks_are_found(void **state)
{
    struct fixture *f = *state;
    struct slots *s = arena_of(f, 8), *found;
    struct slots *other = arena_of(f, 4);
    struct id128 segment = {{7}}, wrong = {{8}};
    uint32_t slot = make_clean(s, 1, 5), index;

    (void)make_clean(other, 1, 6);
    assert_false(slots_find(&f->arenas, &segment, 5, &found, &index));
    slot_cache(s, slot);
    assert_true(slots_find(&f->arenas, &segment, 5, &found, &index));
    assert_ptr_equal(found, s);
    assert_int_equal(index, slot);
    assert_false(slots_find(&f->arenas, &segment, 6, &found, &index));
    assert_false(slots_find(&f->arenas, &wrong, 5, &found, &index));
    /* Cached slots are no longer their save's to release. */
    slots_release(s, 1);
    assert_true(slots_find(&f->arenas, &segment, 5, &found, &index));
    slot_move(s, slot, SLOT_FREE);
    assert_false(slots_find(&f->arenas, &segment, 5, &found, &index));
    assert_int_equal(s->cached_count, 0);
}

static void release_frees_what_its_owner_has_and_nothing_else(void **state)
{
    struct slots *s = arena_of(*state, 8);
    uint32_t other = take(s, 2);

    (void)take(s, 1);
    (void)make_clean(s, 1, 1);
    slot_move(s, take(s, 1), SLOT_FULL);
    assert_true(slot_take(s, SLOT_LOADING, 1) >= 0);
    slots_release(s, 1);
    assert_int_equal(s->free_count, 7);
    assert_int_equal(s->slot[other].state, SLOT_GRANTED);
}

static void a_written_slot_may_be_taken_back_to_be_written_again(void **state)
{
    struct slots *s = arena_of(*state, 4);
    uint32_t slot = make_clean(s, 1, 1);

    slot_move(s, slot, SLOT_FULL);
    assert_int_equal(s->free_count, 3);
    slot_move(s, slot, SLOT_CLEAN);
    assert_int_equal(s->free_count, 4);
}

static void an_orphan_stays_while_it_is_used_or_cached(void **state)
{
    struct fixture *f = *state;
    struct slots *s = arena_of(f, 4);
    uint32_t slot = make_clean(s, 1, 1);

    slots_use(s); /* a save */
    slots_orphan(s);
    assert_int_equal(f->t->arenas, 1);
    slot_cache(s, slot);
    slots_unuse(s);
    assert_int_equal(f->t->arenas, 1);
    slot_hold(s, slot);
    assert_int_equal(slots_drop_orphans(&f->arenas, NULL, 0), 0);
    slot_unhold(s, slot);
    assert_int_equal(f->t->arenas, 1);
    assert_int_equal(slots_drop_orphans(&f->arenas, NULL, 0), 1);
    assert_int_equal(f->t->arenas, 0);
}

static void an_orphan_that_holds_nothing_goes_at_once(void **state)
{
    struct fixture *f = *state;
    struct slots *s = arena_of(f, 4);

    (void)take(s, 1);
    slots_orphan(s);
    assert_int_equal(f->t->arenas, 0);
    assert_true(list_is_empty(&f->arenas));
}

static void orphans_of_earlier_generations_of_a_run_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct id128 run = {{1}}, other = {{2}};
    struct slots *s[3];

    for (uint32_t i = 0; i < 3; i++) {
        s[i] = arena_of(f, 4);
        s[i]->run = i == 2 ? other : run;
        s[i]->generation = i + 1;
        slot_cache(s[i], make_clean(s[i], 1, 1));
        slots_orphan(s[i]);
    }
    assert_int_equal(slots_drop_orphans(&f->arenas, &run, 2), 1);
    assert_int_equal(f->t->arenas, 2);
    assert_ptr_equal(container_of(f->arenas.next, struct slots, link), s[1]);
}

static void page_zero_shows_the_states(void **state)
{
    struct slots *s = arena_of(*state, 4);
    uint32_t slot = make_clean(s, 1, 1);
    struct slots_mirror m;

    memcpy(&m, s->arena.base[0], sizeof m);
    assert_int_equal(m.magic, SLOTS_MIRROR_MAGIC);
    assert_int_equal(m.slot_count, 4);
    assert_int_equal(m.shown_count, 4);
    assert_int_equal(s->arena.base[0][sizeof m + slot], SLOT_CLEAN);
    assert_ptr_equal(slot_address(s, 0), s->arena.base[0] + PAGE_BYTES);
}

/* Against counts kept by hand, many moves at random. */
static void counts_hold_over_many_moves(void **state)
{
    struct fixture *f = *state;
    struct slots *s = arena_of(f, 64), *found;
    struct id128 segment = {{7}};
    uint32_t index, number = 0;

    for (int round = 0; round < 20000; round++) {
        uint32_t at = (uint32_t)(test_random(f->world) % 64), free_count = 0;
        uint32_t cached = 0;
        struct slot *slot = &s->slot[at];

        if (slot->state == SLOT_FREE && s->free_count > 0)
            (void)take(s, 1 + test_random(f->world) % 3);
        else if (slot->state == SLOT_GRANTED)
            slot_move(s, at, SLOT_FULL);
        else if (slot->state == SLOT_FULL) {
            slot->segment = segment;
            slot->number = number++;
            slot_move(s, at, SLOT_CLEAN);
        } else if (slot->held)
            slot_unhold(s, at);
        else if (slot->is_cached)
            slot_hold(s, at);
        else if (test_random(f->world) % 4)
            slot_cache(s, at);
        else
            slot_move(s, at, SLOT_FREE);
        for (uint32_t i = 0; i < 64; i++) {
            const struct slot *o = &s->slot[i];

            free_count +=
                o->state == SLOT_FREE || (o->state == SLOT_CLEAN && !o->held);
            cached += o->is_cached;
            if (o->is_cached)
                assert_true(slots_find(&f->arenas, &segment, o->number, &found,
                                       &index) &&
                            index == i);
        }
        assert_int_equal(free_count, s->free_count);
        assert_int_equal(cached, s->cached_count);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(free_slots_are_taken_before_clean_ones),
        TEST(the_slot_freed_last_is_taken_first),
        TEST(a_load_takes_no_slot_whose_pages_are_not_there),
        TEST(the_oldest_clean_slot_goes_first),
        TEST(a_held_slot_is_not_taken),
        TEST(only_committed_chunks_are_found),
        TEST(release_frees_what_its_owner_has_and_nothing_else),
        TEST(a_written_slot_may_be_taken_back_to_be_written_again),
        TEST(an_orphan_stays_while_it_is_used_or_cached),
        TEST(an_orphan_that_holds_nothing_goes_at_once),
        TEST(orphans_of_earlier_generations_of_a_run_are_dropped),
        TEST(page_zero_shows_the_states),
        TEST(counts_hold_over_many_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
