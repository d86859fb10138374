/*
 * test_store_wrap.c - the wrappers that make requests fail and that remember
 * them, and the order of the memory store.
 */
#include "tests/lib/store_kinds.h"

static const struct store_kind memory_kind = {.name = "memory",
                                              .open = open_memory};

static int fault_setup(void **state)
{
    struct store *below, **store = calloc(1, sizeof *store);
    struct err err;

    assert_non_null(store);
    assert_int_equal(memory_kind.open(NULL, &below, &err), 0);
    assert_int_equal(store_fault_open(below, store, &err), 0);
    *state = store;
    return 0;
}

static int record_setup(void **state)
{
    struct store *below, **store = calloc(1, sizeof *store);
    struct err err;

    assert_non_null(store);
    assert_int_equal(memory_kind.open(NULL, &below, &err), 0);
    assert_int_equal(store_record_open(below, store, &err), 0);
    *state = store;
    return 0;
}

static int wrap_teardown(void **state)
{
    struct store **store = *state;

    store_close(*store);
    free(store);
    return 0;
}

static void add(struct store *store, struct store_fault fault)
{
    assert_int_equal(store_fault_add(store, &fault), 0);
}

static void the_nth_match_fails_and_no_other(void **state)
{
    struct store *store = *(struct store **)*state;

    add(store, (struct store_fault){
                   .op = STORE_PUT, .name_part = "x", .nth = 2, .error = -EIO});
    assert_int_equal(do_put(store, "x1", "1"), 0);
    assert_int_equal(do_put(store, "y", "1"), 0);
    assert_int_equal(do_record(store, STORE_REMOVE, "x1", NULL, 0), 0);
    assert_int_equal(do_put(store, "x2", "1"), -EIO);
    assert_null(do_get(store, "x2"));
    assert_int_equal(do_put(store, "x3", "1"), 0);
    assert_int_equal(store_fault_count(store), 1);
}

static void a_persistent_rule_fires_until_cleared(void **state)
{
    struct store *store = *(struct store **)*state;

    add(store, (struct store_fault){
                   .op = -1, .nth = 2, .persistent = true, .error = -ENOSPC});
    assert_int_equal(do_put(store, "a", "1"), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(do_put(store, "b", "1"), -ENOSPC);
    store_fault_clear(store);
    assert_int_equal(do_put(store, "b", "1"), 0);
    assert_int_equal(store_fault_count(store), 3);
}

static void done_but_reported_as_failed(void **state)
{
    struct store *store = *(struct store **)*state;
    struct store_seg *seg;

    add(store,
        (struct store_fault){
            .op = STORE_PUT, .nth = 1, .after = true, .error = -ETIMEDOUT});
    assert_int_equal(do_put(store, "a", "1"), -ETIMEDOUT);
    assert_record(store, "a", "1");
    add(store,
        (struct store_fault){
            .op = STORE_SEG_OPEN, .nth = 1, .after = true, .error = -EIO});
    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE,
                             PAGE_BYTES, &seg),
                     -EIO);
    assert_null(seg);
    /* It is there, and nobody holds its lock. */
    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE, 0, &seg), PAGE_BYTES);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
}

static void a_delayed_request_waits_its_polls(void **state)
{
    struct store *store = *(struct store **)*state;
    struct batch batch = batch_new(2);

    add(store,
        (struct store_fault){
            .op = STORE_PUT, .name_part = "slow", .nth = 1, .delay_polls = 5});
    batch.req[0] = (struct store_req){.op = STORE_PUT, .name = "slow"};
    batch.req[1] = (struct store_req){.op = STORE_GET, .name = "slow"};
    batch_submit(store, &batch);
    for (int i = 0; i < 4; i++)
        assert_int_equal(store_poll(store, 0), 0);
    assert_int_equal(batch.ended, 1);
    assert_int_equal(batch.req[1].result, -ENOENT);
    assert_int_equal(store_poll(store, 0), 0);
    assert_int_equal(batch.ended, 2);
    assert_int_equal(batch.req[0].result, 0);
    free(batch.req);
}

static void closing_does_not_wait_for_ever_on_the_delayed(void **state)
{
    struct store **store = *state;
    struct batch batch = batch_new(1);

    add(*store, (struct store_fault){.op = -1, .nth = 1, .delay_polls = 1000});
    batch.req[0] = (struct store_req){.op = STORE_PUT, .name = "a"};
    batch_submit(*store, &batch);
    store_close(*store);
    *store = NULL;
    assert_int_equal(batch.ended, 1);
    free(batch.req);
}

static void an_injected_sync_failure_poisons(void **state)
{
    struct store *store = *(struct store **)*state;
    void *data = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store_seg *seg;

    assert_non_null(data);
    memset(data, 1, PAGE_BYTES);
    add(store,
        (struct store_fault){
            .op = STORE_SYNC, .name_part = "seg/a", .nth = 2, .error = -EIO});
    assert_int_equal(do_open(store, "seg/a", STORE_SEG_WRITE | STORE_SEG_CREATE,
                             PAGE_BYTES, &seg),
                     PAGE_BYTES);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), -EIO);
    for (int i = 0; i < 3; i++)
        assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), -EIO);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, PAGE_BYTES, 0), -EIO);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
    assert_int_equal(store_fault_count(store), 1);
    free(data);
}

static void
a_write_that_failed_with_eio_poisons_and_enospc_does_not(void **state)
{
    struct store *store = *(struct store **)*state;
    void *data = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store_seg *seg;

    assert_non_null(data);
    memset(data, 1, PAGE_BYTES);
    assert_int_equal(do_open(store, "a", STORE_SEG_WRITE | STORE_SEG_CREATE,
                             PAGE_BYTES, &seg),
                     PAGE_BYTES);
    add(store,
        (struct store_fault){.op = STORE_WRITE, .nth = 1, .error = -ENOSPC});
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, PAGE_BYTES, 0),
                     -ENOSPC);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    add(store,
        (struct store_fault){.op = STORE_WRITE, .nth = 1, .error = -EIO});
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, PAGE_BYTES, 0), -EIO);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), -EIO);
    free(data);
}

static void nonsense_rules_are_refused(void **state)
{
    struct store *store = *(struct store **)*state;
    struct store_fault never = {.op = -1, .nth = 0, .error = -EIO};
    struct store_fault positive = {.op = -1, .nth = 1, .error = EIO};

    assert_int_equal(store_fault_add(store, &never), -EINVAL);
    assert_int_equal(store_fault_add(store, &positive), -EINVAL);
}

static void everything_that_was_done_is_recorded(void **state)
{
    struct store *store = *(struct store **)*state;
    char *data = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    const struct store_entry *put, *write, *sync, *get;
    struct store_seg *seg;

    assert_non_null(data);
    assert_int_equal(do_put(store, "rec", "bytes"), 0);
    assert_int_equal(do_open(store, "seg", STORE_SEG_WRITE | STORE_SEG_CREATE,
                             2 * PAGE_BYTES, &seg),
                     2 * PAGE_BYTES);
    memset(data, 'w', PAGE_BYTES);
    assert_int_equal(
        do_io(store, STORE_WRITE, seg, data, PAGE_BYTES, PAGE_BYTES),
        PAGE_BYTES);
    memset(data, 0, PAGE_BYTES);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
    assert_null(do_get(store, "none"));
    assert_int_equal(store_record_count(store), 6);
    put = store_record_at(store, 0);
    write = store_record_at(store, 2);
    sync = store_record_at(store, 3);
    get = store_record_at(store, 5);
    assert_true(put->op == STORE_PUT && put->is_done && put->len == 5);
    assert_string_equal(put->name, "rec");
    assert_memory_equal(put->data, "bytes", 5);
    assert_true(write->op == STORE_WRITE && write->off == PAGE_BYTES);
    assert_string_equal(write->name, "seg");
    assert_int_equal(((const char *)write->data)[PAGE_BYTES - 1], 'w');
    assert_true(put->done_at < write->submitted_at);
    assert_true(write->submitted_at < write->done_at);
    assert_true(sync->op == STORE_SYNC && sync->result == 0 && !sync->data);
    assert_true(get->op == STORE_GET && get->result == -ENOENT);
    free(data);
}

static void what_is_in_flight_is_recorded_as_such(void **state)
{
    struct store *store = *(struct store **)*state;
    struct batch batch = batch_new(2);

    batch.req[0] = (struct store_req){.op = STORE_PUT, .name = "a"};
    batch.req[1] = (struct store_req){.op = STORE_GET, .name = "../bad"};
    batch_submit(store, &batch);
    assert_int_equal(store_record_count(store), 1);
    assert_false(store_record_at(store, 0)->is_done);
    batch_wait(store, &batch);
    assert_true(store_record_at(store, 0)->is_done);
    free(batch.req);
}

#define ORDER 40

struct order {
    size_t count;
    struct store_req req[ORDER];
    size_t ended[ORDER];
};

static void note_order(struct store_req *req, int64_t result)
{
    struct order *order = req->owner;

    (void)result;
    order->ended[order->count++] = (size_t)(req - order->req);
}

static void run_order(uint64_t seed, struct order *order)
{
    struct store *store;
    struct err err;

    *order = (struct order){0};
    assert_int_equal(store_memory_open(seed, &store, &err), 0);
    for (size_t i = 0; i < ORDER; i++) {
        order->req[i] = (struct store_req){.op = STORE_LIST,
                                           .name = "none",
                                           .done = note_order,
                                           .owner = order};
        store_submit(store, &order->req[i]);
    }
    while (order->count < ORDER)
        assert_int_equal(store_poll(store, 0), 0);
    store_close(store);
}

static void the_seed_alone_fixes_the_order(void **state)
{
    struct order *a = calloc(3, sizeof *a);

    (void)state;
    assert_non_null(a);
    run_order(0, &a[0]);
    for (size_t i = 0; i < ORDER; i++)
        assert_int_equal(a[0].ended[i], i);
    run_order(7, &a[0]);
    run_order(7, &a[1]);
    run_order(8, &a[2]);
    assert_memory_equal(a[0].ended, a[1].ended, sizeof a[0].ended);
    assert_memory_not_equal(a[0].ended, a[2].ended, sizeof a[0].ended);
    free(a);
}

#define WITH_FAULT(name)                                                       \
    cmocka_unit_test_setup_teardown(name, fault_setup, wrap_teardown)
#define WITH_RECORD(name)                                                      \
    cmocka_unit_test_setup_teardown(name, record_setup, wrap_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WITH_FAULT(the_nth_match_fails_and_no_other),
        WITH_FAULT(a_persistent_rule_fires_until_cleared),
        WITH_FAULT(done_but_reported_as_failed),
        WITH_FAULT(a_delayed_request_waits_its_polls),
        WITH_FAULT(closing_does_not_wait_for_ever_on_the_delayed),
        WITH_FAULT(an_injected_sync_failure_poisons),
        WITH_FAULT(a_write_that_failed_with_eio_poisons_and_enospc_does_not),
        WITH_FAULT(nonsense_rules_are_refused),
        WITH_RECORD(everything_that_was_done_is_recorded),
        WITH_RECORD(what_is_in_flight_is_recorded_as_such),
        cmocka_unit_test(the_seed_alone_fixes_the_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
