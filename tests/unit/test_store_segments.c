/*
 * test_store_segments.c - what every store does with segments: exclusive
 * creation, locks, reading and writing beyond the depth, limits, syncing,
 * sharing, trimming, removing, closing. Runs over all kinds.
 */
#include "tests/lib/store_kinds.h"

#define MIB ((uint64_t)1 << 20)

static void *pages(uint64_t bytes)
{
    void *at = aligned_alloc(PAGE_BYTES, bytes);

    assert_non_null(at);
    return at;
}

/* Every 8 bytes tell the place that they belong to. */
static void paint(void *data, uint64_t bytes, uint64_t seed)
{
    uint64_t *word = data;

    for (uint64_t i = 0; i < bytes / 8; i++)
        word[i] = (seed + i) * 0x9E3779B97F4A7C15;
}

static bool is_painted(const void *data, uint64_t bytes, uint64_t seed)
{
    const uint64_t *word = data;

    for (uint64_t i = 0; i < bytes / 8; i++) {
        if (word[i] != (seed + i) * 0x9E3779B97F4A7C15)
            return false;
    }
    return true;
}

static struct store_seg *create(struct store *store, const char *name,
                                uint64_t size)
{
    struct store_seg *seg;

    assert_int_equal(
        do_open(store, name, STORE_SEG_WRITE | STORE_SEG_CREATE, size, &seg),
        size);
    assert_non_null(seg);
    return seg;
}

static void assert_closes(struct store *store, struct store_seg *seg)
{
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
}

static void what_was_written_reads_back_after_reopening(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "segs/one", 4 * MIB);
    void *data = pages(MIB);

    paint(data, MIB, 7);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, MIB, 2 * MIB), MIB);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    assert_closes(store, seg);
    assert_int_equal(do_open(store, "segs/one", 0, 0, &seg), 4 * MIB);
    memset(data, 0, MIB);
    assert_int_equal(do_io(store, STORE_READ, seg, data, MIB, 2 * MIB), MIB);
    assert_true(is_painted(data, MIB, 7));
    assert_int_equal(do_io(store, STORE_READ, seg, data, MIB, 0), MIB);
    for (uint64_t i = 0; i < MIB; i++)
        assert_int_equal(((uint8_t *)data)[i], 0);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, MIB, 0), -EBADF);
    assert_closes(store, seg);
    free(data);
}

static void creation_is_exclusive_and_opening_wants_it_there(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "segs/one", MIB), *other;

    assert_int_equal(do_open(store, "segs/one",
                             STORE_SEG_WRITE | STORE_SEG_CREATE, MIB, &other),
                     -EEXIST);
    assert_null(other);
    assert_int_equal(do_open(store, "segs/two", STORE_SEG_WRITE, 0, &other),
                     -ENOENT);
    assert_int_equal(do_open(store, "no/two", 0, 0, &other), -ENOENT);
    assert_null(other);
    assert_closes(store, seg);
}

/* Whoever asks for room takes nothing. */
static void room_is_looked_for_without_taking_it(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_req list = {.op = STORE_LIST, .name = ""};

    assert_int_equal(do_record(store, STORE_ROOM, "", NULL, PAGE_BYTES), 0);
    assert_int_equal(do_record(store, STORE_ROOM, "no/../name", NULL, 1),
                     -EINVAL);
    assert_int_equal(store_run(store, &list), 0);
    assert_int_equal(list.names.count, 0);
    store_names_free(&list.names);
    assert_closes(store, create(store, "s", PAGE_BYTES));
}

static void many_creators_of_a_name_leave_one(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch batch = batch_new(16);
    struct store_seg *seg = NULL;

    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] =
            (struct store_req){.op = STORE_SEG_OPEN,
                               .name = "s/one",
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .len = MIB};
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++) {
        if (batch.req[i].result >= 0) {
            assert_null(seg);
            seg = batch.req[i].seg;
        } else {
            assert_int_equal(batch.req[i].result, -EEXIST);
        }
    }
    assert_non_null(seg);
    assert_closes(store, seg);
    free(batch.req);
}

static void locks_exclude_as_they_should(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *writer = create(store, "s", MIB), *a, *b;

    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE, 0, &a), -EAGAIN);
    assert_int_equal(do_open(store, "s", 0, 0, &a), -EAGAIN);
    assert_int_equal(do_open(store, "s", STORE_SEG_NOLOCK, 0, &a), MIB);
    assert_closes(store, a);
    assert_closes(store, writer);
    assert_int_equal(do_open(store, "s", 0, 0, &a), MIB);
    assert_int_equal(do_open(store, "s", 0, 0, &b), MIB);
    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE, 0, &writer), -EAGAIN);
    assert_closes(store, a);
    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE, 0, &writer), -EAGAIN);
    assert_closes(store, b);
    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE, 0, &writer), MIB);
    assert_closes(store, writer);
}

static void sharing_lets_readers_in_and_ends_writing(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *writer = create(store, "s", MIB), *reader;
    void *data = pages(PAGE_BYTES);

    paint(data, PAGE_BYTES, 1);
    assert_int_equal(do_io(store, STORE_WRITE, writer, data, PAGE_BYTES, 0),
                     PAGE_BYTES);
    assert_int_equal(do_seg(store, STORE_SEG_SHARE, writer, 0), 0);
    assert_int_equal(do_io(store, STORE_WRITE, writer, data, PAGE_BYTES, 0),
                     -EBADF);
    assert_int_equal(do_open(store, "s", 0, 0, &reader), MIB);
    memset(data, 0, PAGE_BYTES);
    assert_int_equal(do_io(store, STORE_READ, reader, data, PAGE_BYTES, 0),
                     PAGE_BYTES);
    assert_true(is_painted(data, PAGE_BYTES, 1));
    assert_int_equal(do_seg(store, STORE_SYNC, writer, 0), 0);
    assert_closes(store, reader);
    assert_closes(store, writer);
    free(data);
}

#define PIECES 300
#define PIECE  (4 * PAGE_BYTES)

/* Pieces in an order that jumps about, far more than fit at once. */
static void io_beyond_the_depth_lands_where_it_should(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "s", PIECES * PIECE);
    uint8_t *data = pages(PIECES * PIECE);
    struct batch batch = batch_new(PIECES);

    for (int pass = 0; pass < 2; pass++) {
        batch.ended = 0;
        for (uint64_t i = 0; i < PIECES; i++) {
            uint64_t at = i * 7 % PIECES;

            if (pass == 0)
                paint(data + at * PIECE, PIECE, at * 1000);
            else
                memset(data + at * PIECE, 0, PIECE);
            batch.req[i] =
                (struct store_req){.op = pass == 0 ? STORE_WRITE : STORE_READ,
                                   .seg = seg,
                                   .buf = data + at * PIECE,
                                   .len = PIECE,
                                   .off = at * PIECE};
        }
        batch_submit(store, &batch);
        batch_wait(store, &batch);
        for (uint64_t i = 0; i < PIECES; i++)
            assert_int_equal(batch.req[i].result, PIECE);
        assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    }
    for (uint64_t i = 0; i < PIECES; i++)
        assert_true(is_painted(data + i * PIECE, PIECE, i * 1000));
    assert_closes(store, seg);
    free(batch.req);
    free(data);
}

static void io_that_breaks_the_contract_is_refused(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "s", 32 * MIB);
    uint8_t *data = pages(32 * MIB);
    const struct {
        enum store_op op;
        uint8_t *buf;
        uint64_t len, off;
        int64_t result;
    } cases[] = {
        {STORE_WRITE, data + 512, PAGE_BYTES, 0, -EINVAL},
        {STORE_WRITE, data, PAGE_BYTES + 512, 0, -EINVAL},
        {STORE_WRITE, data, PAGE_BYTES, 512, -EINVAL},
        {STORE_WRITE, data, 0, 0, -EINVAL},
        {STORE_WRITE, NULL, PAGE_BYTES, 0, -EINVAL},
        {STORE_WRITE, data, store->limits.max_io_bytes + PAGE_BYTES, 0,
         -EINVAL},
        {STORE_WRITE, data, PAGE_BYTES, 32 * MIB, -EINVAL},
        {STORE_WRITE, data, 2 * PAGE_BYTES, 32 * MIB - PAGE_BYTES, -EINVAL},
        {STORE_WRITE, data, PAGE_BYTES, UINT64_MAX - PAGE_BYTES + 1, -EINVAL},
        {STORE_READ, data, PAGE_BYTES, 32 * MIB, -EIO},
        {STORE_READ, data, 2 * PAGE_BYTES, 32 * MIB - PAGE_BYTES, -EIO},
        {STORE_READ, data + 1, PAGE_BYTES, 0, -EINVAL},
        {STORE_READ, data, store->limits.max_io_bytes, 0,
         (int64_t)store->limits.max_io_bytes},
        {STORE_READ, data, PAGE_BYTES, 32 * MIB - PAGE_BYTES, PAGE_BYTES},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(do_io(store, cases[i].op, seg, cases[i].buf,
                               cases[i].len, cases[i].off),
                         cases[i].result);
    assert_int_equal(do_io(store, STORE_READ, NULL, data, PAGE_BYTES, 0),
                     -EINVAL);
    assert_closes(store, seg);
    free(data);
}

static void opening_with_nonsense_is_refused(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const struct {
        const char *name;
        unsigned flags;
        uint64_t len;
    } cases[] = {
        {"../s", 0, 0},
        {"s", STORE_SEG_CREATE, MIB},
        {"s", STORE_SEG_WRITE | STORE_SEG_NOLOCK, 0},
        {"s", STORE_SEG_WRITE | STORE_SEG_CREATE, 0},
        {"s", STORE_SEG_WRITE | STORE_SEG_CREATE, 1000},
        {"s", STORE_SEG_WRITE | STORE_SEG_CREATE, UINT64_MAX - 4095},
        {"s", 64, 0},
    };
    struct store_seg *seg;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(
            do_open(store, cases[i].name, cases[i].flags, cases[i].len, &seg),
            -EINVAL);
}

static void a_segment_with_io_in_flight_does_not_close(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "s", MIB);
    struct batch batch = batch_new(1);
    void *data = pages(MIB);

    paint(data, MIB, 0);
    batch.req[0] = (struct store_req){
        .op = STORE_WRITE, .seg = seg, .buf = data, .len = MIB};
    batch_submit(store, &batch);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), -EBUSY);
    batch_wait(store, &batch);
    assert_closes(store, seg);
    free(batch.req);
    free(data);
}

static void a_trimmed_segment_keeps_its_start(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "s", 4 * MIB);
    struct batch batch = batch_new(1);
    void *data = pages(MIB);

    paint(data, MIB, 3);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, MIB, 0), MIB);
    batch.req[0] = (struct store_req){
        .op = STORE_READ, .seg = seg, .buf = data, .len = MIB};
    batch_submit(store, &batch);
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, 2 * MIB), -EBUSY);
    batch_wait(store, &batch);
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, 0), -EINVAL);
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, 100), -EINVAL);
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, 8 * MIB), -EINVAL);
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, 2 * MIB), 2 * MIB);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, MIB, 2 * MIB),
                     -EINVAL);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    assert_closes(store, seg);
    assert_int_equal(do_open(store, "s", 0, 0, &seg), 2 * MIB);
    memset(data, 0, MIB);
    assert_int_equal(do_io(store, STORE_READ, seg, data, MIB, 0), MIB);
    assert_true(is_painted(data, MIB, 3));
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, MIB), -EBADF);
    assert_closes(store, seg);
    free(batch.req);
    free(data);
}

static void a_removed_segment_lives_while_it_is_open(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "segs/s", MIB), *other;
    struct store_req remove = {.op = STORE_SEG_REMOVE, .name = "segs/s"};
    void *data = pages(PAGE_BYTES);

    assert_int_equal(store_run(store, &remove), 0);
    assert_int_equal(store_run(store, &remove), -ENOENT);
    assert_int_equal(do_open(store, "segs/s", 0, 0, &other), -ENOENT);
    paint(data, PAGE_BYTES, 9);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, PAGE_BYTES, 0),
                     PAGE_BYTES);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    other = create(store, "segs/s", MIB);
    assert_closes(store, other);
    assert_closes(store, seg);
    free(data);
}

static void concurrent_syncs_all_end(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "s", MIB);
    struct batch batch = batch_new(20);

    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){.op = STORE_SYNC, .seg = seg};
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++)
        assert_int_equal(batch.req[i].result, 0);
    assert_closes(store, seg);
    free(batch.req);
}

/* I/O inside, across the border of, and outside registered memory. */
static void registered_memory_works_like_any_other(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg = create(store, "s", 8 * MIB);
    uint8_t *data = pages(8 * MIB);

    paint(data, 8 * MIB, 0);
    assert_int_equal(store_buffer_add(store, data + MIB, 2 * MIB), 0);
    assert_int_equal(store_buffer_add(store, data + 4 * MIB, MIB), 0);
    for (uint64_t at = 0; at < 8 * MIB; at += MIB / 2)
        assert_int_equal(do_io(store, STORE_WRITE, seg, data + at, MIB / 2, at),
                         MIB / 2);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data + 3 * MIB / 2, 2 * MIB,
                           3 * MIB / 2),
                     2 * MIB);
    store_buffer_remove(store, data + 4 * MIB);
    memset(data, 0, 8 * MIB);
    for (uint64_t at = 0; at < 8 * MIB; at += MIB / 2)
        assert_int_equal(do_io(store, STORE_READ, seg, data + at, MIB / 2, at),
                         MIB / 2);
    assert_true(is_painted(data, 8 * MIB, 0));
    store_buffer_remove(store, data + MIB);
    store_buffer_remove(store, data);
    assert_closes(store, seg);
    free(data);
}

static void closing_the_store_closes_its_segments(void **state)
{
    struct store_fixture *fixture = *state;
    struct batch batch = batch_new(100);
    struct store_seg *seg = create(fixture->store, "s", MIB);
    void *data = pages(PAGE_BYTES);

    memset(data, 1, PAGE_BYTES);
    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){
            .op = STORE_WRITE, .seg = seg, .buf = data, .len = PAGE_BYTES};
    batch_submit(fixture->store, &batch);
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(batch.ended, batch.count);
    for (size_t i = 0; i < batch.count; i++)
        assert_true(batch.req[i].result == (int64_t)PAGE_BYTES ||
                    batch.req[i].result == -ECANCELED);
    free(batch.req);
    free(data);
    if (fixture->kind->open(fixture->dir, &fixture->store, &fixture->err) < 0)
        fail_msg("%s", fixture->err.text);
    /* Nothing of a memory store is left; on disk, the lock is. */
    if (do_open(fixture->store, "s", STORE_SEG_WRITE, 0, &seg) != -ENOENT) {
        assert_non_null(seg);
        assert_closes(fixture->store, seg);
    }
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_was_written_reads_back_after_reopening),
        cmocka_unit_test(creation_is_exclusive_and_opening_wants_it_there),
        cmocka_unit_test(room_is_looked_for_without_taking_it),
        cmocka_unit_test(many_creators_of_a_name_leave_one),
        cmocka_unit_test(locks_exclude_as_they_should),
        cmocka_unit_test(sharing_lets_readers_in_and_ends_writing),
        cmocka_unit_test(io_beyond_the_depth_lands_where_it_should),
        cmocka_unit_test(io_that_breaks_the_contract_is_refused),
        cmocka_unit_test(opening_with_nonsense_is_refused),
        cmocka_unit_test(a_segment_with_io_in_flight_does_not_close),
        cmocka_unit_test(a_trimmed_segment_keeps_its_start),
        cmocka_unit_test(a_removed_segment_lives_while_it_is_open),
        cmocka_unit_test(concurrent_syncs_all_end),
        cmocka_unit_test(registered_memory_works_like_any_other),
        cmocka_unit_test(closing_the_store_closes_its_segments),
    };

    return run_kinds_with_segments(cases, ARRAY_LEN(cases));
}
