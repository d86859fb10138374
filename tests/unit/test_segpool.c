/*
 * test_segpool.c - the segments of the local store: what is found at start,
 * references, reading, locks of dead writers, and every request that fails.
 */
#include "tests/lib/pool_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NS_PER_S ((uint64_t)1000000000)

static const struct save_id first = {.generation = 1, .step = 1, .attempt = 1};

static struct store *fault_of(struct pool_rig *r)
{
    return test_env_fault(r->t, "local");
}

static void add_fault(struct pool_rig *r, struct store_fault fault)
{
    assert_int_equal(store_fault_add(fault_of(r), &fault), 0);
}

static int refer(struct pool_rig *r, const struct manifest *m)
{
    return segpool_commit(r->pool, &r->base.run, m, &r->err);
}

/*
 * What is found at start.
 */

static void what_is_found_is_told_apart(void **state)
{
    uint8_t header[PAGE_BYTES], garbage[PAGE_BYTES];
    struct segment_header h;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 1);
    h = r.base;
    h.store = r.t->env.local_uuid;
    h.size_bytes = 8 * PAGE_BYTES;
    memset(&h.segment, 5, sizeof h.segment);
    segment_header_encode(&h, header);
    memset(garbage, 0x5a, sizeof garbage);
    pool_plant(&r, "seg/000003", 8 * PAGE_BYTES, header);
    pool_plant(&r, "seg/000005", 8 * PAGE_BYTES, NULL);
    pool_plant(&r, "seg/000007", 8 * PAGE_BYTES, garbage);
    memset(&h.store, 9, sizeof h.store);
    segment_header_encode(&h, header);
    pool_plant(&r, "seg/000009", 8 * PAGE_BYTES, header);
    /* Not ours: other names, also of the same number. */
    pool_plant(&r, "seg/11", 8 * PAGE_BYTES, NULL);
    pool_plant(&r, "seg/000012x", 8 * PAGE_BYTES, NULL);
    pool_plant(&r, "seg/99999999999999999999", 8 * PAGE_BYTES, NULL);
    assert_int_equal(pool_rig_open(&r), 0);
    assert_int_equal(pool_count(&r, SEGMENT_FREE), 1);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 3);
    assert_int_equal(r.pool->next_number, 10);
    assert_true(test_env_logged(r.t, "seg/000009 belongs to another store"));
    assert_true(test_env_logged(r.t, "seg/000007"));
    /* Only what names a run that is known may go. */
    segpool_run_known(r.pool, &r.base.run);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_FREE), 2);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 2);
    pool_rig_free(&r);
}

static void an_empty_store_is_fine(void **state)
{
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 2);
    assert_int_equal(pool_rig_open(&r), 0);
    assert_int_equal(r.pool->next_number, 1);
    pool_rig_free(&r);
}

/* Opening may fail, or goes on without what it could not read, which is then
 * not used. */
static void every_request_of_opening_may_fail(void **state)
{
    (void)state;
    for (int persistent = 0; persistent < 2; persistent++)
        for (uint64_t nth = 1;; nth++) {
            struct seg_place p[3];
            struct pool_rig r;
            bool has_fired;
            int rc;

            pool_rig_new(&r, nth);
            assert_int_equal(pool_rig_open(&r), 0);
            for (int i = 0; i < 3; i++)
                p[i] = pool_segment(&r, 2);
            pool_rig_stop(&r);
            add_fault(&r, (struct store_fault){.op = -1,
                                               .nth = nth,
                                               .persistent = persistent,
                                               .error = -EIO});
            rc = pool_rig_open(&r);
            has_fired = store_fault_count(fault_of(&r)) > 0;
            store_fault_clear(fault_of(&r));
            if (rc) {
                assert_int_equal(rc, -EIO);
                assert_non_null(strstr(r.err.text, "local/a"));
            } else {
                segpool_run_known(r.pool, &r.base.run);
                pool_settle(&r);
                assert_int_equal(pool_count(&r, SEGMENT_FREE) +
                                     pool_count(&r, SEGMENT_HELD),
                                 3);
                assert_true(r.pool->next_number == 4);
            }
            for (int i = 0; i < 3; i++)
                assert_true(pool_has_file(&r, p[i].file));
            pool_rig_free(&r);
            if (!has_fired)
                break;
        }
}

/*
 * References.
 */

static void what_is_referred_to_stays(void **state)
{
    const struct save_id second = {.generation = 1, .step = 2, .attempt = 1};
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 3);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 4);
    assert_int_equal(pool_rig_restart(&r), 0);
    assert_int_equal(refer(&r, pool_manifest(&r, 1, &p, 4)), 0);
    assert_int_equal(refer(&r, pool_manifest(&r, 1, &p, 4)),
                     0); /* told twice, held once */
    assert_int_equal(refer(&r, pool_manifest(&r, 2, &p, 2)), 0);
    segpool_run_known(r.pool, &r.base.run);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 1);
    segpool_release(r.pool, &r.base.run, &first);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 1);
    segpool_release(r.pool, &r.base.run, &second);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 0);
    assert_int_equal(pool_count(&r, SEGMENT_FREE), 1);
    pool_rig_free(&r);
}

/* Free, and still itself: a manifest that turns up late keeps it. */
static void a_free_segment_may_be_referred_to_after_all(void **state)
{
    struct segment *s;
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 4);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 4);
    segpool_run_known(r.pool, &r.base.run);
    segpool_release(r.pool, &r.base.run, &first);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_FREE), 1);
    assert_int_equal(pool_get(&r, p.file, &p.segment, &s), -CKPT_ECORRUPT);
    assert_int_equal(refer(&r, pool_manifest(&r, 1, &p, 4)), 0);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 1);
    assert_int_equal(pool_get(&r, p.file, &p.segment, &s), 0);
    segpool_put(s);
    pool_rig_free(&r);
}

static void what_is_not_there_is_said(void **state)
{
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 5);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 1);
    p.segment.b[0] ^= 1;
    assert_int_equal(refer(&r, pool_manifest(&r, 1, &p, 1)), -CKPT_ECORRUPT);
    assert_non_null(strstr(r.err.text, "another incarnation by now"));
    (void)snprintf(p.file, sizeof p.file, "seg/000099");
    assert_int_equal(refer(&r, pool_manifest(&r, 1, &p, 1)), -ENOENT);
    assert_non_null(strstr(r.err.text, "seg/000099, which is not there"));
    pool_rig_free(&r);
}

static void liveness_is_the_share_of_what_is_allocated(void **state)
{
    struct seg_place p;
    struct pool_rig r;
    double live = -1;

    (void)state;
    pool_rig_new(&r, 6);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 10);
    segpool_live(r.pool, pool_manifest(&r, 1, &p, 10), &live);
    assert_true(live > 0.99 && live < 1);
    segpool_live(r.pool, pool_manifest(&r, 1, &p, 3), &live);
    assert_true(live > 0.29 && live < 0.31);
    p.segment.b[0] ^= 1; /* another incarnation */
    segpool_live(r.pool, pool_manifest(&r, 1, &p, 3), &live);
    assert_true(live <= 0);
    pool_rig_free(&r);
}

/*
 * Reading.
 */

static void handles_are_shared_and_bounded(void **state)
{
    enum { COUNT = 150 };
    static struct seg_place p[COUNT];
    struct segment *a, *b;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 7);
    assert_int_equal(pool_rig_open(&r), 0);
    for (int i = 0; i < COUNT; i++)
        p[i] = pool_segment(&r, 1);
    pool_settle(&r);
    assert_true(r.pool->idle_count <= 128); /* writers' handles count */
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pool_get(&r, p[i].file, &p[i].segment, &a), 0);
        assert_int_equal(pool_get(&r, p[i].file, &p[i].segment, &b), 0);
        assert_true(a == b && segpool_handle(a));
        segpool_put(a);
        segpool_put(b);
    }
    pool_settle(&r);
    assert_true(r.pool->idle_count <= 128);
    assert_int_equal(pool_get(&r, "seg/999999", &p[0].segment, &a), -ENOENT);
    assert_int_equal(pool_get(&r, "", &p[0].segment, &a), -ENOENT);
    assert_int_equal(pool_get(&r, p[0].file, &p[1].segment, &a),
                     -CKPT_ECORRUPT);
    pool_rig_free(&r);
}

/* What somebody reads is not freed under him. */
static void readers_hold_what_they_read(void **state)
{
    struct segment *s;
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 8);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 1);
    segpool_run_known(r.pool, &r.base.run);
    assert_int_equal(pool_get(&r, p.file, &p.segment, &s), 0);
    segpool_release(r.pool, &r.base.run, &first);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_HELD), 1);
    segpool_put(s);
    pool_settle(&r);
    assert_int_equal(pool_count(&r, SEGMENT_FREE), 1);
    assert_int_equal(r.pool->idle_count, 0);
    pool_rig_free(&r);
}

static void opening_for_reading_may_fail(void **state)
{
    struct segment *s;
    struct seg_place p;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 9);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 1);
    assert_int_equal(pool_rig_restart(&r), 0);
    add_fault(&r, (struct store_fault){
                      .op = STORE_SEG_OPEN, .nth = 1, .error = -EMFILE});
    assert_int_equal(pool_get(&r, p.file, &p.segment, &s), -EMFILE);
    assert_non_null(strstr(r.err.text, p.file));
    assert_int_equal(pool_get(&r, p.file, &p.segment, &s), 0);
    segpool_put(s);
    pool_rig_free(&r);
}

/*
 * Locks of dead writers.
 */

struct got {
    int result;
    bool is_done;
    struct segment *s;
};

static void on_got(void *arg, int result, struct segment *s,
                   const struct err *err)
{
    struct got *g = arg;

    (void)err;
    *g = (struct got){result, true, s};
}

static bool has_got(void *arg)
{
    return ((struct got *)arg)->is_done;
}

static void a_locked_segment_is_neither_read_nor_used(void **state)
{
    struct store_seg *lock;
    struct got got = {0};
    struct seg_place p, other;
    struct pool_rig r;

    (void)state;
    pool_rig_new(&r, 10);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 2);
    pool_rig_stop(&r);
    lock = pool_lock(&r, p.file);
    assert_int_equal(pool_rig_open(&r), 0); /* does not wait for it */
    assert_true(test_env_logged(r.t, "a write of a dead process"));
    assert_int_equal(refer(&r, pool_manifest(&r, 1, &p, 2)), SEGPOOL_UNJUDGED);
    segpool_run_known(r.pool, &r.base.run);
    segpool_get(r.pool, p.file, &p.segment, on_got, &got);
    assert_false(test_run(r.world, 7500, has_got, &got));
    assert_int_equal(pool_count(&r, SEGMENT_UNKNOWN), 1);
    r.base.save.step = 2;
    {
        struct seg_writer *w;

        assert_int_equal(pool_writer(&r, 2 * POOL_EXTENT, &w), 0);
        assert_int_equal(pool_write(&r, w, 2, &other), 0);
        assert_string_not_equal(other.file, p.file);
        seg_writer_close(w, false);
    }
    pool_unlock(&r, lock);
    assert_true(test_run(r.world, 1000, has_got, &got));
    assert_int_equal(got.result, 0);
    assert_int_equal(pool_count(&r, SEGMENT_UNKNOWN), 0);
    segpool_put(got.s);
    pool_rig_free(&r);
}

static void waiting_for_a_lock_is_bounded(void **state)
{
    struct store_seg *lock;
    struct got got = {0};
    struct seg_place p;
    struct pool_rig r;
    uint64_t before;

    (void)state;
    pool_rig_new(&r, 11);
    assert_int_equal(pool_rig_open(&r), 0);
    p = pool_segment(&r, 2);
    pool_rig_stop(&r);
    lock = pool_lock(&r, p.file);
    assert_int_equal(pool_rig_open(&r), 0);
    (void)test_run(r.world, 20000, NULL, NULL);
    before = r.world->now_ns;
    segpool_get(r.pool, p.file, &p.segment, on_got, &got);
    assert_true(test_run(r.world, POOL_LIMIT_MS, has_got, &got));
    assert_int_equal(got.result, -EAGAIN);
    assert_true(r.world->now_ns - before >= SEGPOOL_LOCK_WAIT_NS);
    assert_true(r.world->now_ns - before < SEGPOOL_LOCK_WAIT_NS + NS_PER_S);
    /* And when the pool stops, which needs no clock. */
    got = (struct got){0};
    segpool_get(r.pool, p.file, &p.segment, on_got, &got);
    before = r.world->now_ns;
    segpool_stop(r.pool);
    pool_settle(&r);
    assert_true(got.is_done);
    assert_int_equal(got.result, -EAGAIN);
    assert_true(r.world->now_ns - before < NS_PER_S / 1000);
    pool_unlock(&r, lock);
    pool_rig_free(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found_is_told_apart),
        cmocka_unit_test(an_empty_store_is_fine),
        cmocka_unit_test(every_request_of_opening_may_fail),
        cmocka_unit_test(what_is_referred_to_stays),
        cmocka_unit_test(a_free_segment_may_be_referred_to_after_all),
        cmocka_unit_test(what_is_not_there_is_said),
        cmocka_unit_test(liveness_is_the_share_of_what_is_allocated),
        cmocka_unit_test(handles_are_shared_and_bounded),
        cmocka_unit_test(readers_hold_what_they_read),
        cmocka_unit_test(opening_for_reading_may_fail),
        cmocka_unit_test(a_locked_segment_is_neither_read_nor_used),
        cmocka_unit_test(waiting_for_a_lock_is_bounded),
    };

    return cmocka_run_group_tests_name("segpool", tests, NULL, NULL);
}
