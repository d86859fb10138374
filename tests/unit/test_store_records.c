/*
 * test_store_records.c - what every store does with records, and with requests
 * as such: exclusive creation, whole reads, sorted listings, good names,
 * limits, callbacks, wake-ups, closing. Runs over all kinds.
 */
#include "tests/lib/store_kinds.h"

#include <poll.h>

static void a_record_reads_back_whole(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 1048579};
    struct store *store = ((struct store_fixture *)*state)->store;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t *put = malloc(sizes[i] + 1), *got = calloc(1, sizes[i] + 1);
        char name[32];

        assert_non_null(put);
        assert_non_null(got);
        for (size_t k = 0; k < sizes[i]; k++)
            put[k] = (uint8_t)(k * 31 + i);
        (void)snprintf(name, sizeof name, "sizes/n%zu", sizes[i]);
        assert_int_equal(do_record(store, STORE_PUT, name, put, sizes[i]), 0);
        assert_int_equal(do_record(store, STORE_GET, name, got, sizes[i] + 1),
                         sizes[i]);
        assert_memory_equal(put, got, sizes[i]);
        free(put);
        free(got);
    }
}

static void what_is_absent_or_too_large_says_so(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    char small[4];

    assert_int_equal(do_record(store, STORE_GET, "no", small, 4), -ENOENT);
    assert_int_equal(do_record(store, STORE_GET, "no/such", small, 4), -ENOENT);
    assert_int_equal(do_record(store, STORE_STAT, "no", NULL, 0), -ENOENT);
    assert_int_equal(do_record(store, STORE_REMOVE, "no", NULL, 0), -ENOENT);
    assert_int_equal(do_record(store, STORE_REMOVE, "no/such", NULL, 0),
                     -ENOENT);
    assert_int_equal(do_put(store, "five", "12345"), 0);
    assert_int_equal(do_record(store, STORE_GET, "five", small, 4), -EFBIG);
}

static void the_second_put_of_a_name_changes_nothing(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;

    assert_int_equal(do_put(store, "runs/a/decision", "first"), 0);
    assert_int_equal(do_put(store, "runs/a/decision", "second!"), -EEXIST);
    assert_record(store, "runs/a/decision", "first");
}

static void of_concurrent_puts_of_a_name_exactly_one_wins(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch batch = batch_new(64);
    char text[64][32], *won = NULL;

    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(text[i], sizeof text[i], "writer %zu", i);
        batch.req[i] = (struct store_req){.op = STORE_PUT,
                                          .name = "runs/r/decision/one",
                                          .buf = text[i],
                                          .len = strlen(text[i])};
    }
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++) {
        if (batch.req[i].result == 0) {
            assert_null(won);
            won = text[i];
        } else {
            assert_int_equal(batch.req[i].result, -EEXIST);
        }
    }
    assert_non_null(won);
    assert_record(store, "runs/r/decision/one", won);
    free(batch.req);
}

static void more_requests_than_fit_all_complete(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch batch = batch_new(300);
    struct store_req list = {.op = STORE_LIST, .name = "many"};
    char(*name)[32] = calloc(batch.count, sizeof *name);

    assert_non_null(name);
    assert_true(batch.count > store->limits.max_inflight);
    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "many/f%zu/r%03zu", i % 5, i);
        batch.req[i] = (struct store_req){
            .op = STORE_PUT, .name = name[i], .buf = name[i], .len = 32};
    }
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++) {
        assert_int_equal(batch.req[i].result, 0);
        assert_record(store, name[i], name[i]);
    }
    assert_int_equal(store_run(store, &list), 0);
    assert_int_equal(list.names.count, 5);
    assert_string_equal(list.names.name[4], "f4");
    store_names_free(&list.names);
    free(name);
    free(batch.req);
}

static void a_listing_is_sorted_and_of_one_folder(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    static const char *const names[] = {"l/b",     "l/a",     "l/a-b", "l/B",
                                        "l/sub/x", "l/sub/y", "lx/z"};
    static const char *const expect[] = {"B", "a", "a-b", "b", "sub"};
    struct store_req req = {.op = STORE_LIST, .name = "l"};
    struct store_req none = {.op = STORE_LIST, .name = "no/such"};
    struct store_req root = {.op = STORE_LIST, .name = ""};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(do_put(store, names[i], "x"), 0);
    assert_int_equal(store_run(store, &req), 0);
    assert_int_equal(req.names.count, ARRAY_LEN(expect));
    for (size_t i = 0; i < ARRAY_LEN(expect); i++)
        assert_string_equal(req.names.name[i], expect[i]);
    store_names_free(&req.names);
    assert_int_equal(store_run(store, &none), 0);
    assert_int_equal(none.names.count, 0);
    store_names_free(&none.names);
    assert_int_equal(store_run(store, &root), 0);
    assert_int_equal(root.names.count, 2);
    assert_string_equal(root.names.name[0], "l");
    assert_string_equal(root.names.name[1], "lx");
    store_names_free(&root.names);
}

static void a_removed_record_is_gone_and_its_name_free(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;

    assert_int_equal(do_put(store, "p/pin", "old"), 0);
    assert_int_equal(do_record(store, STORE_REMOVE, "p/pin", NULL, 0), 0);
    assert_null(do_get(store, "p/pin"));
    assert_int_equal(do_record(store, STORE_REMOVE, "p/pin", NULL, 0), -ENOENT);
    assert_int_equal(do_put(store, "p/pin", "new"), 0);
    assert_record(store, "p/pin", "new");
}

static void a_name_that_is_removed_and_taken_at_once_is_told_truly(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    char second[] = "second";

    for (int round = 0; round < 10; round++) {
        struct store_req list = {.op = STORE_LIST, .name = "f"};
        struct batch batch;
        bool is_there;

        assert_int_equal(do_put(store, "f/a", "first"), 0);
        batch = batch_contend(store, "f/a", second);
        assert_true(batch.req[0].result == 0 || batch.req[1].result == 0);
        is_there = do_record(store, STORE_STAT, "f/a", NULL, 0) >= 0;
        assert_int_equal(store_run(store, &list), 0);
        assert_int_equal(list.names.count, is_there);
        store_names_free(&list.names);
        if (is_there) {
            assert_record(store, "f/a", second);
            assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), 0);
        }
        free(batch.req);
    }
}

static void stat_tells_length_and_a_time_that_does_not_go_back(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_req first = {.op = STORE_STAT, .name = "a"};
    struct store_req second = {.op = STORE_STAT, .name = "b"};

    assert_int_equal(do_put(store, "a", "123"), 0);
    assert_int_equal(do_put(store, "b", "1234567"), 0);
    assert_int_equal(store_run(store, &first), 3);
    assert_int_equal(store_run(store, &second), 7);
    assert_true(first.stat_mtime_ms > 0);
    assert_true(second.stat_mtime_ms >= first.stat_mtime_ms);
}

static void bad_names_are_refused(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    static const char *const bad[] = {
        "/etc/passwd", "..",    "../x", "a/../b", "a/./b", ".",
        ".hidden",     "a/.t",  "a//b", "a/",     "/",     "a b",
        "a\nb",        "a\x80", "a*",   "a:b",    "a+b",   "\\",
    };
    char longest[1002];
    struct store_req null = {.op = STORE_GET};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(do_put(store, bad[i], "x"), -EINVAL);
        assert_int_equal(do_record(store, STORE_LIST, bad[i], NULL, 0),
                         -EINVAL);
        assert_int_equal(do_record(store, STORE_REMOVE, bad[i], NULL, 0),
                         -EINVAL);
    }
    assert_int_equal(do_put(store, "", "x"), -EINVAL);
    assert_int_equal(store_run(store, &null), -EINVAL);
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = i % 100 == 99 ? '/' : 'n';
    longest[1001] = '\0';
    assert_false(store_name_is_good(longest));
    assert_int_equal(do_put(store, longest, "x"), -EINVAL);
    longest[1000] = '\0';
    longest[999] = 'n';
    assert_true(store_name_is_good(longest));
    assert_int_equal(do_put(store, longest, "x"), 0);
    assert_record(store, longest, "x");
}

static void what_a_store_has_not_is_refused(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_seg *seg;
    int64_t expect = store->limits.max_io_bytes ? -ENOENT : -EOPNOTSUPP;

    assert_int_equal(do_open(store, "no", 0, 0, &seg), expect);
    assert_int_equal(do_record(store, STORE_SEG_REMOVE, "no", NULL, 0), expect);
    assert_int_equal(do_record(store, STORE_ROOM, "", NULL, PAGE_BYTES),
                     store->limits.max_io_bytes ? 0 : -EOPNOTSUPP);
    assert_int_equal(do_record(store, STORE_BLOB_STAT, "no", NULL, 0),
                     store->limits.max_blob_bytes ? -ENOENT : -EOPNOTSUPP);
    assert_int_equal(do_record(store, STORE_READ, NULL, NULL, 0), -EINVAL);
}

static void a_record_beyond_the_limit_is_refused(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    size_t most = store->limits.max_record_bytes;
    char *data = calloc(1, most + 1);
    struct store_req stat = {.op = STORE_STAT, .name = "big"};

    assert_non_null(data);
    assert_int_equal(do_record(store, STORE_PUT, "big", data, most + 1),
                     -EINVAL);
    assert_int_equal(store_run(store, &stat), -ENOENT);
    assert_int_equal(do_record(store, STORE_PUT, "big", data, most), 0);
    assert_int_equal(store_run(store, &stat), most);
    free(data);
}

static void the_description_is_one_line(void **state)
{
    struct store_fixture *fixture = *state;
    char text[1024] = "", tiny[8];

    store_describe(fixture->store, text, sizeof text);
    assert_true(strlen(text) > 5);
    assert_null(strchr(text, '\n'));
    store_describe(fixture->store, tiny, sizeof tiny);
    assert_true(strlen(tiny) < sizeof tiny);
    if (fixture->kind->refuses_tmpfile)
        assert_non_null(strstr(text, " named temporaries"));
    if (fixture->kind->refuses) {
        assert_non_null(strstr(text, "threads because io_uring is refused: "
                                     "io_uring_setup"));
        assert_non_null(strstr(text, "seccomp"));
        assert_int_equal(
            open_uring(fixture->dir, &fixture->store, &fixture->err),
            -fixture->kind->refuses);
        assert_non_null(strstr(fixture->err.text, fixture->dir));
        assert_non_null(strstr(fixture->err.text, "io_uring_setup"));
    }
}

static void callbacks_run_from_poll_alone(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch batch = batch_new(3);

    batch.req[0] = (struct store_req){.op = STORE_GET, .name = "no"};
    batch.req[1] = (struct store_req){.op = STORE_GET, .name = "../bad"};
    batch.req[2] =
        (struct store_req){.op = STORE_PUT, .name = "a", .buf = "a", .len = 1};
    batch_submit(store, &batch);
    assert_int_equal(batch.ended, 0);
    (void)usleep(20000);
    assert_int_equal(batch.ended, 0);
    batch_wait(store, &batch);
    assert_int_equal(batch.req[0].result, -ENOENT);
    assert_int_equal(batch.req[1].result, -EINVAL);
    assert_int_equal(batch.req[2].result, 0);
    free(batch.req);
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};

    return poll(&event, 1, timeout_ms) == 1 && (event.revents & POLLIN);
}

/* Nothing but the descriptor tells when to poll, and poll never waits. */
static void drive_by_descriptor(struct store *store, struct batch *batch)
{
    int fd = store_poll_fd(store);

    assert_true(fd >= 0);
    batch->ended = 0;
    batch_submit(store, batch);
    while (batch->ended < batch->count) {
        assert_true(is_readable(fd, 10000));
        assert_int_equal(store_poll(store, 0), 0);
    }
    /* It may tell once too often, never for ever. */
    assert_int_equal(store_poll(store, 0), 0);
    assert_false(is_readable(fd, 0));
}

static void the_descriptor_tells_of_every_completion(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch batch = batch_new(200);
    char(*name)[32] = calloc(batch.count, sizeof *name);

    assert_non_null(name);
    assert_false(is_readable(store_poll_fd(store), 0));
    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "d/%zu", i / 2);
        batch.req[i] = (struct store_req){.op = i % 2 ? STORE_STAT : STORE_PUT,
                                          .name = name[i]};
    }
    drive_by_descriptor(store, &batch);
    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){.op = STORE_LIST, .name = "none"};
    drive_by_descriptor(store, &batch);
    /* Those that end inside submit. */
    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){.op = STORE_GET, .name = "../bad"};
    drive_by_descriptor(store, &batch);
    free(name);
    free(batch.req);
}

/* A descriptor that is asked for late knows what has happened before. */
static void a_late_descriptor_misses_nothing(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch batch = batch_new(2);

    batch.req[0] = (struct store_req){.op = STORE_GET, .name = "../bad"};
    batch.req[1] = (struct store_req){.op = STORE_PUT, .name = "x"};
    batch_submit(store, &batch);
    (void)usleep(20000);
    while (batch.ended < batch.count) {
        assert_true(is_readable(store_poll_fd(store), 10000));
        assert_int_equal(store_poll(store, 0), 0);
    }
    free(batch.req);
}

struct again {
    struct store_req req;
    uint32_t left;
    char name[32];
};

static void put_again(struct store_req *req, int64_t result)
{
    struct again *again = container_of(req, struct again, req);

    assert_int_equal(result, 0);
    if (--again->left == 0)
        return;
    (void)snprintf(again->name, sizeof again->name, "again-%u", again->left);
    store_submit(req->store, req);
}

static void a_callback_may_submit_the_same_request(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct again again = {.left = 20, .name = "again"};

    again.req = (struct store_req){
        .op = STORE_PUT, .name = again.name, .done = put_again};
    store_submit(store, &again.req);
    while (again.left > 0)
        assert_int_equal(store_poll(store, -1), 0);
    assert_record(store, "again-1", "");
}

static void polling_an_idle_store_returns(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;

    assert_int_equal(store_poll(store, -1), 0);
    assert_int_equal(store_poll(store, 0), 0);
}

static void closing_ends_every_request_once(void **state)
{
    struct store_fixture *fixture = *state;
    struct batch batch = batch_new(300);
    char(*name)[32] = calloc(batch.count, sizeof *name);
    size_t cancelled = 0;

    assert_non_null(name);
    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "c/%zu", i);
        batch.req[i] = (struct store_req){.op = STORE_PUT, .name = name[i]};
    }
    batch_submit(fixture->store, &batch);
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(batch.ended, batch.count);
    for (size_t i = 0; i < batch.count; i++) {
        assert_true(batch.req[i].result == 0 ||
                    batch.req[i].result == -ECANCELED);
        cancelled += batch.req[i].result == -ECANCELED;
    }
    assert_int_equal(cancelled, 300 - 64);
    free(name);
    free(batch.req);
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_record_reads_back_whole),
        cmocka_unit_test(what_is_absent_or_too_large_says_so),
        cmocka_unit_test(the_second_put_of_a_name_changes_nothing),
        cmocka_unit_test(of_concurrent_puts_of_a_name_exactly_one_wins),
        cmocka_unit_test(more_requests_than_fit_all_complete),
        cmocka_unit_test(a_listing_is_sorted_and_of_one_folder),
        cmocka_unit_test(what_a_store_has_not_is_refused),
        cmocka_unit_test(a_removed_record_is_gone_and_its_name_free),
        cmocka_unit_test(
            a_name_that_is_removed_and_taken_at_once_is_told_truly),
        cmocka_unit_test(stat_tells_length_and_a_time_that_does_not_go_back),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(a_record_beyond_the_limit_is_refused),
        cmocka_unit_test(the_description_is_one_line),
        cmocka_unit_test(callbacks_run_from_poll_alone),
        cmocka_unit_test(the_descriptor_tells_of_every_completion),
        cmocka_unit_test(a_late_descriptor_misses_nothing),
        cmocka_unit_test(a_callback_may_submit_the_same_request),
        cmocka_unit_test(polling_an_idle_store_returns),
        cmocka_unit_test(closing_ends_every_request_once),
    };

    return run_all_kinds(cases, ARRAY_LEN(cases));
}
