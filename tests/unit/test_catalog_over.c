/*
 * test_catalog_over.c - what a daemon keeps of saves that are over: next to
 * nothing, and yet it knows them.
 */
#include "tests/lib/test_daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SAVES      100000
#define LIVE       4
#define FAIL_EVERY 37
/* Live entries, aborted ones with their reasons, ranges of both sets. */
#define BYTES_MOST ((uint64_t)(LIVE + CATALOG_ABORTED_KEPT) * 512 + 65536)

static struct save_id id(uint64_t step)
{
    return (struct save_id){.generation = 1, .step = step, .attempt = 1};
}

static void note(struct catalog *c, uint64_t step, enum save_status status)
{
    struct catalog_save s = {.id = id(step), .status = status};

    assert_int_equal(
        catalog_note_save(c, &s, status == SAVE_ABORTED ? "the reason" : ""),
        0);
}

static void begin(struct catalog *c)
{
    struct record_generation g = {
        .generation = 1, .world_size = 1, .token = "t"};

    c->is_compact = true;
    assert_int_equal(catalog_note_generation(c, &g), 0);
}

/* What its tables take; a reason counts for 64. */
static uint64_t bytes_of(const struct catalog *c)
{
    uint64_t bytes = c->save_count * sizeof *c->save +
                     (c->over.range_capacity + c->aborted.range_capacity) *
                         sizeof *c->over.range;

    for (size_t i = 0; i < c->save_count; i++)
        bytes += c->save[i].reason ? 64 : 0;
    return bytes;
}

static void remove_save(struct catalog *c, uint64_t step)
{
    struct save_id old = id(step);
    struct catalog_save *s = catalog_find(c, &old);

    if (!s || s->status != SAVE_COMMITTED)
        return;
    s->status = SAVE_REMOVED;
    s->is_let_go = true;
    catalog_fold(c);
}

static void memory_does_not_grow_with_the_saves_that_are_over(void **state)
{
    struct catalog c = {0};
    uint64_t early = 0, step;

    (void)state;
    begin(&c);
    for (uint64_t i = 1; i <= SAVES; i++) {
        note(&c, 10 * i, SAVE_UNDECIDED);
        note(&c, 10 * i, i % FAIL_EVERY ? SAVE_COMMITTED : SAVE_ABORTED);
        if (i > LIVE)
            remove_save(&c, 10 * (i - LIVE));
        if (i == SAVES / 20)
            early = bytes_of(&c);
    }
    (void)printf("  %u saves: %" PRIu64 " bytes, after a twentieth of them "
                 "%" PRIu64 "\n",
                 SAVES, bytes_of(&c), early);
    assert_true(c.save_count <= LIVE + CATALOG_ABORTED_KEPT);
    assert_true(bytes_of(&c) <= BYTES_MOST);
    assert_true(bytes_of(&c) <= early + 2048);
    /* And all are known. */
    for (uint64_t i = 1; i <= SAVES; i++) {
        struct save_id one = id(10 * i);

        assert_int_equal(catalog_status(&c, &one),
                         i % FAIL_EVERY == 0 ? SAVE_ABORTED
                         : i > SAVES - LIVE  ? SAVE_COMMITTED
                                             : SAVE_REMOVED);
        one.step++;
        assert_int_equal(catalog_status(&c, &one), 0);
    }
    assert_true(catalog_asks_tombs(&c));
    assert_int_equal(catalog_next_attempt(&c, 1, 10 * FAIL_EVERY), 2);
    assert_int_equal(catalog_next_attempt(&c, 1, 10), 1);
    assert_true(catalog_highest_step(&c, 1, &step));
    assert_int_equal(step, 10 * SAVES);
    assert_false(catalog_highest_step(&c, 2, &step));
    catalog_free(&c);
}

static void what_is_over_stays_so(void **state)
{
    struct catalog c = {0};
    struct save_id one = id(10), two = id(20);
    struct catalog_save *s;
    uint64_t step = 0;

    (void)state;
    begin(&c);
    assert_int_equal(catalog_note_tomb(&c, &one), 0);
    assert_null(catalog_find(&c, &one));
    assert_int_equal(catalog_status(&c, &one), SAVE_REMOVED);
    note(&c, 10, SAVE_UNDECIDED);
    note(&c, 10, SAVE_COMMITTED);
    assert_int_equal(c.save_count, 0);
    assert_int_equal(catalog_latest(&c).generation, 0);
    assert_true(catalog_highest_step(&c, 1, &step));
    assert_int_equal(step, 10);
    /* What may be held here has an entry until it was let go. */
    note(&c, 20, SAVE_COMMITTED);
    assert_int_equal(catalog_note_tomb(&c, &two), 0);
    catalog_fold(&c);
    s = catalog_find(&c, &two);
    assert_non_null(s);
    assert_int_equal(s->status, SAVE_REMOVED);
    s->is_let_go = true;
    catalog_fold(&c);
    assert_null(catalog_find(&c, &two));
    assert_int_equal(catalog_status(&c, &two), SAVE_REMOVED);
    catalog_free(&c);
}

static void a_catalog_of_a_tool_keeps_them_all(void **state)
{
    struct catalog c = {0};
    struct save_id one = id(1);

    (void)state;
    begin(&c);
    c.is_compact = false;
    assert_int_equal(catalog_note_tomb(&c, &one), 0);
    catalog_find(&c, &one)->is_let_go = true;
    catalog_fold(&c);
    for (uint64_t i = 2; i <= 2 * CATALOG_ABORTED_KEPT; i++)
        note(&c, i, SAVE_ABORTED);
    assert_int_equal(c.save_count, 2 * CATALOG_ABORTED_KEPT);
    assert_string_equal(catalog_reason(&c.save[1]), "the reason");
    assert_int_equal(c.over.count, 0);
    catalog_free(&c);
}

/*
 * From a home.
 */

#define TOMBS  3000
#define ABORTS 200

struct answer {
    bool is_done;
    int result;
};

static void loaded(void *arg, int result, const struct err *err)
{
    struct answer *a = arg;

    (void)err;
    a->is_done = true;
    a->result = result;
}

static void load(struct test_world *w, struct catalog *c)
{
    struct store *s = test_world_store(w, TEST_HOME);
    struct answer a = {0};

    catalog_load(s, TEST_RUN, c, loaded, &a);
    while (!a.is_done)
        assert_int_equal(store_poll(s, 0), 0);
    assert_int_equal(a.result, 0);
}

static void plant(struct test_world *w)
{
    char name[RECORD_NAME_BYTES];
    struct record_tomb tomb = {0};
    struct wr wr;

    for (uint64_t i = 1; i <= TOMBS; i++) {
        tomb.id = id(i);
        wr = (struct wr){0};
        record_tomb_encode(&tomb, &wr);
        test_plant(w, name_save(name, TEST_RUN, "tomb", &tomb.id), &wr);
    }
    for (uint64_t i = 1; i <= ABORTS; i++) {
        struct record_decision d = {.id = id(i),
                                    .decision = DECISION_ABORT,
                                    .code = -EIO,
                                    .reason = "the reason"};

        d.id.attempt = 2;
        wr = (struct wr){0};
        record_decision_encode(&d, &wr);
        test_plant(w, name_save(name, TEST_RUN, "decision", &d.id), &wr);
        test_plant_intent(w, &d.id, &(struct id128){{7}});
    }
}

static void a_home_with_many_tombs_takes_no_room(void **state)
{
    struct test_world *w = test_world_new(1);
    struct catalog full = {0}, c = {.is_compact = true};
    struct store *record = test_recorded_home(w);
    struct test_daemon *d;
    size_t before;

    (void)state;
    d = test_attached(w, "a");
    assert_int_equal(test_enter(d, "t", 0, 1), 1);
    plant(w);
    load(w, &full);
    load(w, &c);
    assert_int_equal(full.save_count, TOMBS + ABORTS);
    assert_int_equal(c.save_count, CATALOG_ABORTED_KEPT);
    assert_true(c.over.range_count + c.aborted.range_count < 10);
    for (size_t i = 0; i < full.save_count; i++)
        assert_int_equal(catalog_status(&c, &full.save[i].id),
                         full.save[i].status);
    /* What is known is not read again. */
    before = store_record_count(record);
    load(w, &c);
    assert_int_equal(test_recorded(record, before, STORE_GET), 1); /* RUN */
    assert_int_equal(c.save_count, CATALOG_ABORTED_KEPT);
    catalog_free(&full);
    catalog_free(&c);
    test_end(d);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_does_not_grow_with_the_saves_that_are_over),
        cmocka_unit_test(what_is_over_stays_so),
        cmocka_unit_test(a_catalog_of_a_tool_keeps_them_all),
        cmocka_unit_test(a_home_with_many_tombs_takes_no_room),
    };

    return cmocka_run_group_tests_name("catalog_over", tests, NULL, NULL);
}
