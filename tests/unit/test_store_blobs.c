/*
 * test_store_blobs.c - what every store that has blobs does with them:
 * exclusive creation, reading whole and in part, limits, listing beside
 * records, removal. Runs over all kinds.
 */
#include "tests/lib/store_kinds.h"

#define MIB   ((size_t)1 << 20)
#define PIECE (MIB / 2)

static uint8_t *painted(size_t bytes, uint32_t seed)
{
    uint8_t *data = malloc(bytes + 1);

    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((i + seed) * 2654435761U >> 13);
    return data;
}

static int64_t do_blob_get(struct store *store, const char *name, void *buf,
                           uint64_t len, uint64_t off)
{
    struct store_req req = {
        .op = STORE_BLOB_GET, .name = name, .buf = buf, .len = len, .off = off};

    return store_run(store, &req);
}

static void a_blob_reads_back_whole_and_in_part(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const size_t sizes[] = {1, 4095, 4096, MIB + 13,
                            store->limits.max_blob_bytes};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t bytes = sizes[i], middle = bytes / 3, part = bytes / 2 + 1;
        uint8_t *put = painted(bytes, (uint32_t)i), *got = calloc(1, bytes);
        char name[32];

        assert_non_null(got);
        part = min_u64(part, bytes - middle);
        (void)snprintf(name, sizeof name, "data/b%zu", i);
        assert_int_equal(do_record(store, STORE_BLOB_PUT, name, put, bytes), 0);
        assert_int_equal(do_blob_get(store, name, got, bytes, 0), bytes);
        assert_memory_equal(put, got, bytes);
        memset(got, 0, bytes);
        assert_int_equal(do_blob_get(store, name, got, part, middle), part);
        assert_memory_equal(put + middle, got, part);
        assert_int_equal(do_blob_get(store, name, got, 1, bytes - 1), 1);
        assert_int_equal(got[0], put[bytes - 1]);
        assert_int_equal(do_record(store, STORE_BLOB_STAT, name, NULL, 0),
                         bytes);
        free(put);
        free(got);
    }
}

static void what_is_absent_or_beyond_the_end_says_so(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    char buf[16];

    assert_int_equal(do_blob_get(store, "no", buf, 1, 0), -ENOENT);
    assert_int_equal(do_blob_get(store, "no/such", buf, 1, 0), -ENOENT);
    assert_int_equal(do_record(store, STORE_BLOB_STAT, "no", NULL, 0), -ENOENT);
    assert_int_equal(do_record(store, STORE_BLOB_REMOVE, "no", NULL, 0),
                     -ENOENT);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "five", "12345", 5), 0);
    assert_int_equal(do_blob_get(store, "five", buf, 6, 0), -EIO);
    assert_int_equal(do_blob_get(store, "five", buf, 1, 5), -EIO);
    assert_int_equal(do_blob_get(store, "five", buf, 5, 1), -EIO);
    assert_int_equal(
        do_blob_get(store, "five", buf, 16, store->limits.max_blob_bytes),
        -EIO);
    assert_int_equal(do_blob_get(store, "five", buf, 16, UINT64_MAX - 4),
                     -EINVAL);
}

static void what_breaks_the_contract_is_refused(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    size_t most = store->limits.max_blob_bytes;
    uint8_t *data = painted(most + 1, 0);
    struct store_req off = {.op = STORE_BLOB_PUT,
                            .name = "b",
                            .buf = data,
                            .len = 4096,
                            .off = 4096};

    assert_int_equal(do_record(store, STORE_BLOB_PUT, "../b", data, 1),
                     -EINVAL);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "b", data, 0), -EINVAL);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "b", NULL, 1), -EINVAL);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "b", data, most + 1),
                     -EINVAL);
    assert_int_equal(store_run(store, &off), -EINVAL);
    assert_int_equal(do_blob_get(store, "b", data, 0, 0), -EINVAL);
    assert_int_equal(do_blob_get(store, "b", NULL, 1, 0), -EINVAL);
    assert_int_equal(do_record(store, STORE_BLOB_STAT, "b", NULL, 0), -ENOENT);
    free(data);
}

static void of_concurrent_puts_exactly_one_wins(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch batch = batch_new(16);
    uint8_t *data[16], *got = calloc(1, PIECE), *won = NULL;

    assert_non_null(got);
    for (size_t i = 0; i < batch.count; i++) {
        data[i] = painted(PIECE, (uint32_t)i * 7919);
        batch.req[i] = (struct store_req){.op = STORE_BLOB_PUT,
                                          .name = "data/one",
                                          .buf = data[i],
                                          .len = PIECE};
    }
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++) {
        if (batch.req[i].result == 0) {
            assert_null(won);
            won = data[i];
        } else {
            assert_int_equal(batch.req[i].result, -EEXIST);
        }
    }
    assert_non_null(won);
    assert_int_equal(do_blob_get(store, "data/one", got, PIECE, 0), PIECE);
    assert_memory_equal(got, won, PIECE);
    for (size_t i = 0; i < batch.count; i++)
        free(data[i]);
    free(got);
    free(batch.req);
}

static void many_at_once_all_land(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct batch put = batch_new(24), get = batch_new(24);
    uint8_t *data[24], *got = calloc(24, PIECE);
    char name[24][32];

    assert_non_null(got);
    for (size_t i = 0; i < put.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "data/s.%zu", i);
        data[i] = painted(PIECE, (uint32_t)i);
        put.req[i] = (struct store_req){.op = STORE_BLOB_PUT,
                                        .name = name[i],
                                        .buf = data[i],
                                        .len = PIECE};
        get.req[i] = (struct store_req){.op = STORE_BLOB_GET,
                                        .name = name[i],
                                        .buf = got + i * PIECE,
                                        .len = PIECE};
    }
    batch_submit(store, &put);
    batch_wait(store, &put);
    batch_submit(store, &get);
    batch_wait(store, &get);
    for (size_t i = 0; i < put.count; i++) {
        assert_int_equal(put.req[i].result, 0);
        assert_int_equal(get.req[i].result, PIECE);
        assert_memory_equal(got + i * PIECE, data[i], PIECE);
        free(data[i]);
    }
    free(got);
    free(put.req);
    free(get.req);
}

static void blobs_and_records_of_a_folder_are_listed_together(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_req list = {.op = STORE_LIST, .name = "l"};
    static const char *const expect[] = {"a", "b", "c", "sub"};

    assert_int_equal(do_put(store, "l/b", "record"), 0);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "l/c", "blob", 4), 0);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "l/a", "blob", 4), 0);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "l/sub/x", "blob", 4), 0);
    assert_int_equal(store_run(store, &list), 0);
    assert_int_equal(list.names.count, ARRAY_LEN(expect));
    for (size_t i = 0; i < ARRAY_LEN(expect); i++)
        assert_string_equal(list.names.name[i], expect[i]);
    store_names_free(&list.names);
}

static void a_removed_blob_is_gone_and_its_name_free(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_req list = {.op = STORE_LIST, .name = "d"};
    char got[4];

    assert_int_equal(do_record(store, STORE_BLOB_PUT, "d/b", "old!", 4), 0);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "d/b", "new!", 4),
                     -EEXIST);
    assert_int_equal(do_record(store, STORE_BLOB_REMOVE, "d/b", NULL, 0), 0);
    assert_int_equal(do_record(store, STORE_BLOB_REMOVE, "d/b", NULL, 0),
                     -ENOENT);
    assert_int_equal(do_blob_get(store, "d/b", got, 4, 0), -ENOENT);
    assert_int_equal(store_run(store, &list), 0);
    assert_int_equal(list.names.count, 0);
    store_names_free(&list.names);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "d/b", "new!", 4), 0);
    assert_int_equal(do_blob_get(store, "d/b", got, 4, 0), 4);
    assert_memory_equal(got, "new!", 4);
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_blob_reads_back_whole_and_in_part),
        cmocka_unit_test(what_is_absent_or_beyond_the_end_says_so),
        cmocka_unit_test(what_breaks_the_contract_is_refused),
        cmocka_unit_test(of_concurrent_puts_exactly_one_wins),
        cmocka_unit_test(many_at_once_all_land),
        cmocka_unit_test(blobs_and_records_of_a_folder_are_listed_together),
        cmocka_unit_test(a_removed_blob_is_gone_and_its_name_free),
    };

    return run_all_kinds(cases, ARRAY_LEN(cases));
}
