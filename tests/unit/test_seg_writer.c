/*
 * test_seg_writer.c - the segments that one save writes: room, placing, what
 * fails, what is kept, what is used again, and full drives.
 */
#include "tests/lib/pool_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct save_id first = {.generation = 1, .step = 1, .attempt = 1};

static struct store *fault_of(struct pool_rig *r)
{
    return test_env_fault(r->t, "local");
}

static void add_fault(struct pool_rig *r, struct store_fault fault)
{
    assert_int_equal(store_fault_add(fault_of(r), &fault), 0);
}

static void begin(struct pool_rig *r, uint64_t seed)
{
    pool_rig_new(r, seed);
    assert_int_equal(pool_rig_open(r), 0);
    segpool_run_known(r->pool, &r->base.run);
}

static void what_was_reserved_can_be_placed(void **state)
{
    /* Up to several segments of 256 MiB, all in memory: few. */
    static const uint32_t counts[] = {1, 2, 7, 100, 4095, 4096, 9000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct seg_writer *w;
        struct seg_place p;
        struct pool_rig r;
        struct id128 segment = {0};
        uint64_t end = 0;
        uint32_t number = 0;

        begin(&r, i);
        assert_int_equal(pool_writer(&r, counts[i] * POOL_EXTENT, &w), 0);
        for (uint32_t k = 0; k < counts[i]; k++) {
            assert_int_equal(seg_writer_place(w, POOL_EXTENT, &p), 0);
            if (!id_equal(&p.segment, &segment)) {
                segment = p.segment;
                end = PAGE_BYTES;
                number = 0;
            }
            assert_int_equal(p.offset, end);
            assert_int_equal(p.number, number++);
            end += POOL_EXTENT;
        }
        seg_writer_close(w, false);
        pool_rig_free(&r);
    }
}

/* Extents of any size, none over the largest: the reserve holds. */
static void mixed_sizes_fit(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t sizes[3000], bytes = 0;
        struct seg_writer *w;
        struct seg_place p;
        struct pool_rig r;

        begin(&r, seed);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            uint64_t pages = POOL_EXTENT / PAGE_BYTES;

            sizes[i] = (2 + test_random(r.world) % (pages - 1)) * PAGE_BYTES;
            bytes += sizes[i];
        }
        assert_int_equal(pool_writer(&r, bytes, &w), 0);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
            assert_int_equal(seg_writer_place(w, sizes[i], &p), 0);
        seg_writer_close(w, false);
        pool_rig_free(&r);
    }
}

static void nothing_needs_no_room(void **state)
{
    struct seg_writer *w;
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    begin(&r, 1);
    assert_int_equal(pool_writer(&r, 0, &w), 0);
    assert_int_equal(seg_writer_place(w, POOL_EXTENT, &p), -ENOSPC);
    assert_int_equal(pool_sync(&r, w), 0);
    seg_writer_close(w, true);
    pool_rig_free(&r);
}

static void what_is_not_kept_is_used_again(void **state)
{
    struct seg_writer *w;
    struct seg_place p, again;
    struct pool_rig r;

    (void)state;
    begin(&r, 2);
    assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
    assert_int_equal(pool_write(&r, w, 4, &p), 0);
    seg_writer_close(w, false);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_FREE), 1);
    again = pool_segment(&r, 4);
    assert_string_equal(again.file, p.file);
    assert_false(id_equal(&again.segment, &p.segment));
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 1);
    assert_int_equal(pool_count(&r, SEGMENT_FREE), 0);
    pool_rig_free(&r);
}

static void what_is_not_used_is_given_back(void **state)
{
    struct segpool_stats stats;
    struct seg_writer *w;
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    begin(&r, 3);
    assert_int_equal(pool_writer(&r, 100 * POOL_EXTENT, &w), 0);
    assert_int_equal(pool_write(&r, w, 3, &p), 0);
    assert_int_equal(pool_sync(&r, w), 0);
    seg_writer_close(w, true);
    pool_settle(&r);
    segpool_stats(r.pool, &stats);
    assert_int_equal(stats.allocated_bytes, PAGE_BYTES + 3 * POOL_EXTENT);
    pool_rig_free(&r);
}

/* At most one save's worth of FREE is kept. */
static void spare_segments_are_one_save(void **state)
{
    struct segpool_stats stats;
    struct pool_rig r;

    (void)state;
    begin(&r, 4);
    for (uint64_t step = 1; step <= 8; step++) {
        r.base.save.step = step;
        (void)pool_segment(&r, 10);
    }
    for (uint64_t step = 1; step <= 7; step++)
        segpool_release(
            r.pool, &r.base.run,
            &(struct save_id){.generation = 1, .step = step, .attempt = 1});
    pool_settle(&r);
    segpool_stats(r.pool, &stats);
    assert_int_equal(stats.count[SEGMENT_HELD], 1);
    assert_int_equal(stats.count[SEGMENT_FREE], 1);
    assert_int_equal(stats.free_bytes, PAGE_BYTES + 10 * POOL_EXTENT);
    pool_rig_free(&r);
}

/*
 * What fails.
 */

static void on_failed(void *arg, int result, const struct err *err)
{
    (void)err;
    *(int *)arg = result;
}

static bool is_known(void *arg)
{
    return *(int *)arg != 1;
}

static void a_failed_segment_is_replaced_and_unlinked(void **state)
{
    struct seg_place bad, good;
    struct seg_writer *w;
    struct pool_rig r;
    int result = 1;

    (void)state;
    begin(&r, 5);
    assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
    assert_int_equal(pool_write(&r, w, 2, &bad), 0);
    seg_writer_failed(w, bad.index, on_failed, &result);
    assert_true(test_run(r.world, POOL_LIMIT_MS, is_known, &result));
    assert_int_equal(result, 0);
    assert_int_equal(pool_write(&r, w, 4, &good), 0);
    assert_string_not_equal(good.file, bad.file);
    assert_int_equal(pool_sync(&r, w), 0);
    seg_writer_close(w, true);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 1);
    assert_int_equal(pool_count(&r, SEGMENT_POISONED), 0);
    assert_false(pool_has_file(&r, bad.file));
    assert_true(pool_has_file(&r, good.file));
    pool_rig_free(&r);
}

/* Two segments fail before room for the first is there: both are replaced. */
static void failures_at_the_same_time_are_all_replaced(void **state)
{
    uint32_t per = (uint32_t)((SEGMENT_BYTES_MAX - PAGE_BYTES) / POOL_EXTENT);
    struct seg_writer *w;
    struct seg_place p;
    struct pool_rig r;
    int result[2] = {1, 1};

    (void)state;
    begin(&r, 6);
    assert_int_equal(pool_writer(&r, (per + 10) * POOL_EXTENT, &w), 0);
    seg_writer_failed(w, 0, on_failed, &result[0]);
    seg_writer_failed(w, 1, on_failed, &result[1]);
    seg_writer_failed(w, 1, on_failed, &result[1]);
    assert_true(test_run(r.world, POOL_LIMIT_MS, is_known, &result[0]));
    assert_true(test_run(r.world, POOL_LIMIT_MS, is_known, &result[1]));
    assert_int_equal(result[0], 0);
    assert_int_equal(result[1], 0);
    for (uint32_t i = 0; i < per + 10; i++) {
        assert_int_equal(seg_writer_place(w, POOL_EXTENT, &p), 0);
        assert_true(p.index >= 2);
    }
    seg_writer_close(w, false);
    pool_rig_free(&r);
}

static void no_room_for_the_replacement_is_said(void **state)
{
    struct seg_writer *w;
    struct seg_place p;
    struct pool_rig r;
    int result = 1;

    (void)state;
    begin(&r, 7);
    assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
    add_fault(&r, (struct store_fault){.op = STORE_SEG_OPEN,
                                       .nth = 1,
                                       .persistent = true,
                                       .error = -ENOSPC});
    seg_writer_failed(w, 0, on_failed, &result);
    assert_true(test_run(r.world, POOL_LIMIT_MS, is_known, &result));
    assert_int_equal(result, -ENOSPC);
    assert_int_equal(seg_writer_place(w, POOL_EXTENT, &p), -ENOSPC);
    seg_writer_close(w, false);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_POISONED), 0);
    pool_rig_free(&r);
}

static void what_could_not_be_synced_is_never_used_again(void **state)
{
    struct seg_place bad, next;
    struct seg_writer *w;
    struct pool_rig r;

    (void)state;
    begin(&r, 8);
    assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
    assert_int_equal(pool_write(&r, w, 4, &bad), 0);
    add_fault(&r,
              (struct store_fault){.op = STORE_SYNC, .nth = 1, .error = -EIO});
    assert_int_equal(pool_sync(&r, w), -EIO);
    assert_non_null(strstr(r.err.text, bad.file));
    seg_writer_close(w, false);
    pool_settle(&r);
    assert_false(pool_has_file(&r, bad.file));
    next = pool_segment(&r, 4);
    assert_string_not_equal(next.file, bad.file);
    pool_rig_free(&r);
}

/* An unlink that fails is tried again. */
static void poisoned_segments_go_in_the_end(void **state)
{
    struct seg_place bad;
    struct seg_writer *w;
    struct pool_rig r;

    (void)state;
    begin(&r, 9);
    assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
    assert_int_equal(pool_write(&r, w, 4, &bad), 0);
    add_fault(&r,
              (struct store_fault){.op = STORE_SYNC, .nth = 1, .error = -EIO});
    add_fault(&r, (struct store_fault){
                      .op = STORE_SEG_REMOVE, .nth = 1, .error = -EIO});
    assert_int_equal(pool_sync(&r, w), -EIO);
    seg_writer_close(w, false);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_POISONED), 1);
    assert_true(test_env_logged(r.t, "cannot unlink"));
    segpool_release(r.pool, &r.base.run, &first); /* settles */
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_POISONED), 0);
    assert_false(pool_has_file(&r, bad.file));
    pool_rig_free(&r);
}

/* A free segment that somebody has locked, or that cannot be opened any more,
 * is passed over. */
static void what_cannot_be_opened_again_is_passed_over(void **state)
{
    static const int codes[] = {0, -ENOENT, -EIO};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct store_seg *lock = NULL;
        struct seg_place p, next;
        struct seg_writer *w;
        struct pool_rig r;

        begin(&r, i);
        assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
        assert_int_equal(pool_write(&r, w, 4, &p), 0);
        seg_writer_close(w, false);
        pool_settle(&r);
        if (codes[i])
            add_fault(&r, (struct store_fault){.op = STORE_SEG_OPEN,
                                               .name_part = p.file,
                                               .nth = 1,
                                               .error = codes[i]});
        else
            lock = pool_lock(&r, p.file);
        next = pool_segment(&r, 4);
        assert_string_not_equal(next.file, p.file);
        assert_int_equal(pool_count(&r, SEGMENT_FREE), codes[i] == 0);
        assert_int_equal(pool_count(&r, SEGMENT_POISONED), 0);
        if (lock)
            pool_unlock(&r, lock);
        pool_rig_free(&r);
    }
}

/* A full drive: what is free and does not fit is unlinked, then once more. */
static void a_full_drive_is_squeezed(void **state)
{
    struct seg_place p;
    struct seg_writer *w;
    struct pool_rig r;
    uint64_t before;

    (void)state;
    begin(&r, 10);
    assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
    assert_int_equal(pool_write(&r, w, 4, &p), 0);
    seg_writer_close(w, false);
    pool_settle(&r);
    add_fault(&r, (struct store_fault){
                      .op = STORE_SEG_OPEN, .nth = 1, .error = -ENOSPC});
    before = r.world->now_ns;
    assert_int_equal(pool_writer(&r, 100 * POOL_EXTENT, &w), 0);
    assert_false(pool_has_file(&r, p.file));
    seg_writer_close(w, false);
    pool_settle(&r);
    /* Nothing more can be had: said at once. */
    add_fault(&r, (struct store_fault){.op = STORE_SEG_OPEN,
                                       .nth = 1,
                                       .persistent = true,
                                       .error = -EDQUOT});
    assert_int_equal(pool_writer(&r, 200 * POOL_EXTENT, &w), -EDQUOT);
    assert_non_null(strstr(r.err.text, "no room on the local drive"));
    assert_true(r.world->now_ns - before < (uint64_t)1000000000);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_POISONED), 0);
    pool_rig_free(&r);
}

/* The drive says that it has not so much: nothing is created to find out. */
static void what_cannot_fit_is_not_begun(void **state)
{
    struct seg_writer *w;
    struct pool_rig r;

    (void)state;
    begin(&r, 12);
    add_fault(&r, (struct store_fault){.op = STORE_ROOM,
                                       .nth = 1,
                                       .persistent = true,
                                       .error = -ENOSPC});
    add_fault(&r, (struct store_fault){.op = STORE_SEG_OPEN,
                                       .nth = 1,
                                       .persistent = true,
                                       .error = -EIO});
    assert_int_equal(pool_writer(&r, 1000 * POOL_EXTENT, &w), -ENOSPC);
    assert_non_null(strstr(r.err.text, "no room on the local drive"));
    /* Asked again once all that was free had been given back. */
    assert_int_equal(store_fault_count(fault_of(&r)), 2);
    pool_rig_free(&r);
}

/* A lock that cannot be shared: the segment stays, and is opened anew. */
static void a_lock_that_cannot_be_shared_loses_nothing(void **state)
{
    struct segment *s;
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    begin(&r, 11);
    add_fault(&r, (struct store_fault){
                      .op = STORE_SEG_SHARE, .nth = 1, .error = -EAGAIN});
    p = pool_segment(&r, 4);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 1);
    assert_int_equal(pool_get(&r, p.file, &p.segment, &s), 0);
    segpool_put(s);
    pool_rig_free(&r);
}

/* Kept, and let go before its lock is shared. */
static void letting_go_at_once_is_harmless(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct seg_writer *w;
        struct seg_place p;
        struct pool_rig r;

        begin(&r, seed);
        assert_int_equal(pool_writer(&r, 4 * POOL_EXTENT, &w), 0);
        assert_int_equal(pool_write(&r, w, 4, &p), 0);
        assert_int_equal(pool_sync(&r, w), 0);
        seg_writer_close(w, true);
        if (seed % 2)
            segpool_release(r.pool, &r.base.run, &first);
        else
            segpool_stop(r.pool);
        pool_settle(&r);
        assert_int_equal(pool_count(&r, SEGMENT_FREE), seed % 2);
        pool_rig_free(&r); /* asserts that no handle is open */
    }
}

/* Every request of a save, once and for ever: a typed error or success, and
 * the pool goes on. */
static bool one_failure(uint64_t nth, bool persistent, int error)
{
    struct seg_place p = {0}, next;
    struct seg_writer *w;
    struct pool_rig r;
    bool has_fired;
    int rc;

    begin(&r, nth);
    (void)pool_segment(&r, 5);
    segpool_release(r.pool, &r.base.run, &first);
    pool_settle(&r);
    r.base.save.step = 2;
    add_fault(&r, (struct store_fault){.op = -1,
                                       .nth = nth,
                                       .persistent = persistent,
                                       .error = error});
    rc = pool_writer(&r, 9 * POOL_EXTENT, &w);
    if (rc == 0) {
        rc = pool_write(&r, w, 6, &p);
        if (rc == 0)
            rc = pool_sync(&r, w);
        else
            assert_true(persistent || rc == error);
        seg_writer_close(w, rc == 0);
    } else {
        assert_true(strstr(r.err.text, "local/a/seg") ||
                    strstr(r.err.text, "local/a: no room"));
    }
    pool_settle(&r);
    has_fired = store_fault_count(fault_of(&r)) > 0;
    store_fault_clear(fault_of(&r));
    r.base.save.step = 3;
    next = pool_segment(&r, 9);
    if (rc == 0)
        assert_string_not_equal(next.file, p.file);
    assert_int_equal(pool_count(&r, SEGMENT_TAKEN), 0);
    pool_rig_free(&r);
    return has_fired;
}

static void every_request_may_fail(void **state)
{
    (void)state;
    for (int persistent = 0; persistent < 2; persistent++) {
        uint64_t nth = 1;

        while (one_failure(nth, persistent, nth % 3 ? -EIO : -ENOSPC))
            nth++;
        assert_true(nth > 10);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_reserved_can_be_placed),
        cmocka_unit_test(mixed_sizes_fit),
        cmocka_unit_test(nothing_needs_no_room),
        cmocka_unit_test(what_is_not_kept_is_used_again),
        cmocka_unit_test(what_is_not_used_is_given_back),
        cmocka_unit_test(spare_segments_are_one_save),
        cmocka_unit_test(a_failed_segment_is_replaced_and_unlinked),
        cmocka_unit_test(failures_at_the_same_time_are_all_replaced),
        cmocka_unit_test(no_room_for_the_replacement_is_said),
        cmocka_unit_test(what_could_not_be_synced_is_never_used_again),
        cmocka_unit_test(poisoned_segments_go_in_the_end),
        cmocka_unit_test(what_cannot_be_opened_again_is_passed_over),
        cmocka_unit_test(a_full_drive_is_squeezed),
        cmocka_unit_test(what_cannot_fit_is_not_begun),
        cmocka_unit_test(a_lock_that_cannot_be_shared_loses_nothing),
        cmocka_unit_test(letting_go_at_once_is_harmless),
        cmocka_unit_test(every_request_may_fail),
    };

    return cmocka_run_group_tests_name("seg_writer", tests, NULL, NULL);
}
