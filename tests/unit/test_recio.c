/*
 * test_recio.c - records and containers of a home, asynchronously: one callback
 * each, never from inside the call, whatever the store answers.
 */
#include "ckptd/engine/recio.h"
#include "tests/lib/media.h"
#include "tests/lib/test_daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RUN "lm"

static const struct save_id save = {.generation = 1, .attempt = 1, .step = 9};
static const struct id128 daemon_id = {{0xda}};
static const struct recio_place vote_place = {RUN, "vote", {1, 1, 9}, {{0xda}}};
static const struct recio_place manifest_place = {
    RUN, "manifest", {1, 1, 9}, {{0xda}}};

/* Memory under a fault wrapper. */
static struct store *open_store(uint64_t seed)
{
    struct store *memory, *fault;
    struct err err;

    assert_int_equal(store_memory_open(seed, &memory, &err), 0);
    assert_int_equal(store_fault_open(memory, &fault, &err), 0);
    return fault;
}

static void inject(struct store *s, int op, uint64_t nth, bool after, int error)
{
    struct store_fault fault = {
        .op = op, .nth = nth, .after = after, .error = error};

    store_fault_clear(s);
    assert_int_equal(store_fault_add(s, &fault), 0);
}

struct answer {
    uint32_t calls;
    int64_t result;
    uint8_t *data;
    size_t names;
};

static void on_put(void *arg, int result)
{
    struct answer *a = arg;

    a->calls++;
    a->result = result;
}

static void on_get(void *arg, int64_t result, void *data)
{
    struct answer *a = arg;

    a->calls++;
    a->result = result;
    a->data = data;
    assert_true((result < 0) == (data == NULL));
}

static void on_list(void *arg, int result, struct store_names *names)
{
    struct answer *a = arg;

    a->calls++;
    a->result = result;
    a->names = names->count;
}

static void wait_for(struct store *s, const struct answer *a)
{
    assert_int_equal(a->calls, 0);
    while (a->calls == 0)
        assert_int_equal(store_poll(s, 0), 0);
    assert_int_equal(store_poll(s, 0), 0);
    assert_int_equal(a->calls, 1);
}

static int put_text(struct store *s, const char *name, const char *text)
{
    struct answer a = {0};
    struct wr w = {0};

    wr_bytes(&w, text, strlen(text));
    recio_put(s, name, &w, on_put, &a);
    assert_null(w.data);
    wait_for(s, &a);
    return (int)a.result;
}

static void a_record_is_put_once_and_got(void **state)
{
    struct store *s = open_store(3);
    struct answer a = {0};

    (void)state;
    assert_int_equal(put_text(s, "a/b", "hello"), 0);
    assert_int_equal(put_text(s, "a/b", "other"), -EEXIST);
    recio_get(s, "a/b", 100, on_get, &a);
    wait_for(s, &a);
    assert_int_equal(a.result, 5);
    assert_memory_equal(a.data, "hello", 5);
    free(a.data);
    a = (struct answer){0};
    recio_get(s, "a/b", 4, on_get, &a);
    wait_for(s, &a);
    assert_int_equal(a.result, -EFBIG);
    a = (struct answer){0};
    recio_get(s, "a/c", 4, on_get, &a);
    wait_for(s, &a);
    assert_int_equal(a.result, -ENOENT);
    store_close(s);
}

static void a_writer_that_failed_is_enomem(void **state)
{
    struct store *s = open_store(0);
    struct answer a = {0};
    struct wr w = {0};

    (void)state;
    wr_u8(&w, 1);
    w.failed = true;
    recio_put(s, "a", &w, on_put, &a);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.result, -ENOMEM);
    store_close(s);
}

static void folders_are_listed_and_records_removed(void **state)
{
    struct store *s = open_store(0);
    struct answer a = {0};

    (void)state;
    assert_int_equal(put_text(s, "a/b", "1"), 0);
    assert_int_equal(put_text(s, "a/c", "2"), 0);
    recio_list(s, "a", on_list, &a);
    wait_for(s, &a);
    assert_int_equal(a.names, 2);
    a = (struct answer){0};
    recio_remove(s, "a/b", on_put, &a);
    wait_for(s, &a);
    assert_int_equal(a.result, 0);
    a = (struct answer){0};
    recio_remove(s, "a/b", on_put, &a);
    wait_for(s, &a);
    assert_int_equal(a.result, -ENOENT);
    a = (struct answer){0};
    inject(s, STORE_LIST, 1, true, -EIO);
    recio_list(s, "a", on_list, &a);
    wait_for(s, &a);
    assert_int_equal(a.result, -EIO);
    assert_int_equal(a.names, 0);
    store_close(s);
}

/* A container of a little more than `values` * 64 KiB. */
static void *container(uint32_t values, size_t *bytes)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = 1,
                                 .chunk_bytes = 1 << 20,
                                 .id = save};
    struct writelist list = {0};
    struct built_rank rank = {.daemon = daemon_id, .list = &list};
    static uint8_t text[VALUE_INLINE_MAX];
    struct layout none = {0};
    char name[16];
    struct err err;
    void *data;

    assert_int_equal(manifest_add_rank(b, &rank, &err), 0);
    for (uint32_t i = 0; i < values; i++) {
        int length = snprintf(name, sizeof name, "v%u", i);
        struct value v = {.name = name,
                          .name_bytes = (uint32_t)length,
                          .type = VALUE_BYTES,
                          .data = text,
                          .bytes = sizeof text};

        memset(text, (int)i, sizeof text);
        assert_int_equal(manifest_add_value(b, 0, &v, &err), 0);
    }
    assert_int_equal(manifest_write(b, &info, &none, &data, bytes, &err), 0);
    manifest_builder_free(b);
    return data;
}

static int put_container(struct store *s, const void *data, size_t bytes)
{
    struct answer a = {0};

    recio_put_container(s, &vote_place, data, bytes, on_put, &a);
    wait_for(s, &a);
    return (int)a.result;
}

static int remove_container(struct store *s)
{
    struct answer a = {0};

    recio_remove_container(s, &vote_place, on_put, &a);
    wait_for(s, &a);
    return (int)a.result;
}

static struct answer get_container(struct store *s)
{
    struct answer a = {0};

    recio_get_container(s, &vote_place, on_get, &a);
    wait_for(s, &a);
    return a;
}

static void containers_come_back_whole_or_in_parts(void **state)
{
    /* Inside a record's limit, beyond it, and beyond a part. */
    static const uint32_t values[] = {0, 3, 300};
    char name[RECORD_NAME_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct store *s = open_store(i);
        size_t bytes;
        void *data = container(values[i], &bytes);
        struct answer a;

        assert_int_equal(get_container(s).result, -ENOENT);
        assert_int_equal(put_container(s, data, bytes), 0);
        assert_int_equal(
            media_has(s, name_part(name, RUN, "vote", &save, &daemon_id, 1)),
            bytes > RECORD_PART_BYTES);
        a = get_container(s);
        assert_int_equal(a.result, bytes);
        assert_memory_equal(a.data, data, bytes);
        free(a.data);
        /* Once more is fine, other bytes are not. */
        assert_int_equal(put_container(s, data, bytes), 0);
        free(data);
        data = container(values[i] + 1, &bytes);
        assert_int_equal(put_container(s, data, bytes), -EEXIST);
        /* Unless what is there goes, be it in several goes. */
        inject(s, STORE_REMOVE, 1 + i % 2, false, -EIO);
        (void)remove_container(s);
        assert_int_equal(remove_container(s), 0);
        assert_int_equal(get_container(s).result, -ENOENT);
        assert_int_equal(put_container(s, data, bytes), 0);
        free(data);
        store_close(s);
    }
}

static void parts_that_are_missing_or_damaged_are_found(void **state)
{
    struct store *s = open_store(0);
    char name[RECORD_NAME_BYTES];
    struct answer a = {0};
    size_t bytes;
    uint8_t *data = container(300, &bytes);

    (void)state;
    assert_int_equal(put_container(s, data, bytes), 0);
    recio_remove(s, name_part(name, RUN, "vote", &save, &daemon_id, 1), on_put,
                 &a);
    wait_for(s, &a);
    assert_int_equal(get_container(s).result, -CKPT_ECORRUPT);
    /* The right length, one bit wrong. */
    data[RECORD_PART_BYTES + 100] ^= 1;
    a = (struct answer){0};
    {
        struct wr w = {0};

        wr_bytes(&w, data + RECORD_PART_BYTES, bytes - RECORD_PART_BYTES);
        recio_put(s, name, &w, on_put, &a);
        wait_for(s, &a);
    }
    assert_int_equal(get_container(s).result, -CKPT_ECORRUPT);
    free(data);
    store_close(s);
}

/* Whatever fails, once: a typed answer, and trying again succeeds. */
static void every_failing_request_of_a_container_is_told(void **state)
{
    size_t bytes;
    void *data = container(300, &bytes);
    uint32_t cases = 0;

    (void)state;
    for (int after = 0; after < 2; after++) {
        for (uint64_t nth = 1;; nth++) {
            struct store *s = open_store(nth);
            struct answer a;
            int rc;

            inject(s, -1, nth, after, -EIO);
            rc = put_container(s, data, bytes);
            assert_true(rc == 0 || rc == -EIO);
            assert_int_equal(rc == 0, store_fault_count(s) == 0);
            if (rc == 0) {
                store_close(s);
                break;
            }
            assert_int_equal(put_container(s, data, bytes), 0);
            a = get_container(s);
            assert_int_equal(a.result, bytes);
            free(a.data);
            store_close(s);
            cases++;
        }
        for (uint64_t nth = 1;; nth++) {
            struct store *s = open_store(nth);
            struct answer a;

            assert_int_equal(put_container(s, data, bytes), 0);
            inject(s, STORE_GET, nth, after, -EIO);
            a = get_container(s);
            free(a.data);
            if (a.result > 0) {
                store_close(s);
                break;
            }
            assert_int_equal(a.result, -EIO);
            store_close(s);
            cases++;
        }
    }
    assert_true(cases >= 8);
    free(data);
}

static struct record_decision decision_of(const void *data, size_t bytes)
{
    struct record_decision d = {.decision = DECISION_COMMIT,
                                .id = save,
                                .committer = daemon_id,
                                .manifest_bytes = bytes};
    struct manifest m;
    struct err err;

    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    d.manifest_root = m.root;
    return d;
}

static int64_t get_manifest(struct store *s, const struct record_decision *d,
                            const void *data)
{
    struct answer a = {0};

    recio_get_manifest(s, RUN, d, on_get, &a);
    wait_for(s, &a);
    if (a.result >= 0)
        assert_memory_equal(a.data, data, (size_t)a.result);
    free(a.data);
    return a.result;
}

static void a_manifest_must_be_what_its_decision_says(void **state)
{
    (void)state;
    for (uint32_t values = 0; values <= 300; values += 300) {
        struct store *s = open_store(values);
        size_t bytes;
        void *data = container(values, &bytes);
        struct record_decision d = decision_of(data, bytes), bad;
        char name[RECORD_NAME_BYTES];
        struct answer a = {0};

        if (values == 0) {
            d.inline_bytes = data;
        } else {
            d.part_count = recio_part_count(bytes);
            recio_put_parts(s, &manifest_place, data, bytes, on_put, &a);
            wait_for(s, &a);
            assert_int_equal(a.result, 0);
        }
        assert_int_equal(get_manifest(s, &d, data), -ENOENT);
        assert_int_equal(
            put_text(s, name_save(name, RUN, "decision", &save), "x"), 0);
        assert_int_equal(get_manifest(s, &d, data), bytes);
        bad = d;
        bad.manifest_root.b[0] ^= 1;
        assert_int_equal(get_manifest(s, &bad, data), -CKPT_ECORRUPT);
        free(data);
        store_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_put_once_and_got),
        cmocka_unit_test(a_writer_that_failed_is_enomem),
        cmocka_unit_test(folders_are_listed_and_records_removed),
        cmocka_unit_test(containers_come_back_whole_or_in_parts),
        cmocka_unit_test(parts_that_are_missing_or_damaged_are_found),
        cmocka_unit_test(every_failing_request_of_a_container_is_told),
        cmocka_unit_test(a_manifest_must_be_what_its_decision_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
