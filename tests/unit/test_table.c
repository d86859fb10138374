/*
 * test_table.c - tables of descriptors: what is encoded comes back, and no
 * bytes whatsoever do harm: they are a table that encodes to the same bytes,
 * or an error with words.
 */
#include "formats/table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct err err;

static const struct box boxes[] = {
    {.offset = {0, 4}, .size = {2, 4}},
    {.offset = {6, 0}, .size = {9, 8}},
};

static const struct entry entries[] = {
    {
        .name = "embed.weight",
        .geometry = {.dtype = DTYPE_BF16, .ndim = 2, .shape = {8, 8}},
        .replica_count = 1,
    },
    {
        .name = "layers.0.gate_up",
        .geometry = {.dtype = DTYPE_F32, .ndim = 2, .shape = {8, 8}},
        .region = {.boxes = boxes,
                   .box_count = 2,
                   .is_cut = true,
                   .cut_start = 3,
                   .cut_count = 70},
        .replica_index = 2,
        .replica_count = 3,
    },
    {
        .name = "\303\244\342\202\254\360\237\230\200",
        .geometry = {.dtype = DTYPE_I64},
        .replica_count = 65536,
    },
    {
        .name = "none",
        .geometry = {.dtype = DTYPE_F4, .ndim = 3, .shape = {0, 5, 2}},
        .region = {.is_cut = true},
        .replica_count = 1,
    },
};

static struct wr encoded(const struct entry *e, size_t count)
{
    struct wr w = {0};

    table_encode(e, count, &w);
    assert_false(w.failed);
    return w;
}

static void table_comes_back_as_it_was(void **state)
{
    struct wr w = encoded(entries, ARRAY_LEN(entries)), again;
    struct table t;

    (void)state;
    assert_int_equal(table_decode(w.data, w.bytes, &t, &err), 0);
    assert_int_equal(t.count, ARRAY_LEN(entries));
    for (size_t i = 0; i < t.count; i++) {
        assert_string_equal(t.entry[i].name, entries[i].name);
        assert_int_equal(t.entry[i].geometry.dtype, entries[i].geometry.dtype);
        assert_memory_equal(t.entry[i].geometry.shape,
                            entries[i].geometry.shape,
                            sizeof entries[i].geometry.shape);
        assert_int_equal(t.entry[i].replica_count, entries[i].replica_count);
    }
    assert_memory_equal(t.entry[1].region.boxes, boxes, sizeof boxes);
    assert_true(t.entry[1].region.is_cut);
    assert_int_equal(t.entry[1].region.cut_start, 3);
    assert_int_equal(t.entry[1].region.cut_count, 70);
    assert_int_equal(t.entry[1].replica_index, 2);
    again = encoded(t.entry, t.count);
    assert_int_equal(again.bytes, w.bytes);
    assert_memory_equal(again.data, w.data, w.bytes);
    wr_free(&again);
    wr_free(&w);
    table_free(&t);
}

static void empty_table_is_a_table(void **state)
{
    struct wr w = encoded(NULL, 0);
    struct table t;

    (void)state;
    assert_int_equal(table_decode(w.data, w.bytes, &t, &err), 0);
    assert_int_equal(t.count, 0);
    table_free(&t);
    table_free(&t);
    table_free(NULL);
    wr_free(&w);
}

static void digest_tells_tables_apart(void **state)
{
    struct wr a = encoded(entries, 2), b = encoded(entries, 2),
              c = encoded(entries, 3);
    struct digest x = table_digest(a.data, a.bytes);
    struct digest y = table_digest(b.data, b.bytes);
    struct digest z = table_digest(c.data, c.bytes);

    (void)state;
    assert_true(digest_equal(&x, &y));
    assert_false(digest_equal(&x, &z));
    wr_free(&a);
    wr_free(&b);
    wr_free(&c);
}

/* Decodes a copy without a byte to spare: an error, or equal bytes again. */
static void expect_harmless(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    struct table t;
    struct wr w;
    int rc;

    assert_non_null(copy);
    memcpy(copy, data, bytes);
    err = (struct err){0};
    rc = table_decode(copy, bytes, &t, &err);
    if (rc) {
        assert_true(rc == -EBADMSG || rc == -CKPT_ESHAPE || rc == -EINVAL);
        assert_int_equal(err.code, rc);
        assert_true(err.text[0] != '\0');
        assert_null(t.memory);
    } else {
        w = encoded(t.entry, t.count);
        assert_int_equal(w.bytes, bytes);
        assert_memory_equal(w.data, copy, bytes);
        wr_free(&w);
        table_free(&t);
    }
    free(copy);
}

static void truncated_tables_are_refused(void **state)
{
    struct wr w = encoded(entries, ARRAY_LEN(entries));
    struct table t;

    (void)state;
    for (size_t bytes = 0; bytes < w.bytes; bytes++) {
        assert_int_equal(table_decode(w.data, bytes, &t, &err), -EBADMSG);
        expect_harmless(w.data, bytes);
    }
    wr_u8(&w, 0);
    assert_int_equal(table_decode(w.data, w.bytes, &t, &err), -EBADMSG);
    wr_free(&w);
}

static void flipped_bits_are_harmless(void **state)
{
    struct wr w = encoded(entries, ARRAY_LEN(entries));

    (void)state;
    for (size_t bit = 0; bit < w.bytes * 8; bit++) {
        w.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        expect_harmless(w.data, w.bytes);
        w.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    wr_free(&w);
}

static void random_damage_is_harmless(void **state)
{
    struct wr w = encoded(entries, ARRAY_LEN(entries));
    uint8_t *copy = malloc(w.bytes);
    uint64_t draw = 1;

    (void)state;
    assert_non_null(copy);
    for (int i = 0; i < 20000; i++) {
        size_t bytes;

        memcpy(copy, w.data, w.bytes);
        for (int k = 0; k < 1 + i % 4; k++) {
            draw = draw * 6364136223846793005U + 1442695040888963407U;
            copy[(draw >> 33) % w.bytes] = (uint8_t)(i % 3 ? draw >> 25 : 0xff);
        }
        bytes = i % 2 ? w.bytes : (draw >> 40) % w.bytes;
        expect_harmless(copy, bytes);
    }
    free(copy);
    wr_free(&w);
}

static void counts_are_held_against_what_is_left(void **state)
{
    struct wr w = {0};
    struct table t;

    (void)state;
    wr_u32(&w, UINT32_MAX);
    for (int i = 0; i < 100; i++)
        wr_u64(&w, 0);
    assert_int_equal(table_decode(w.data, w.bytes, &t, &err), -EBADMSG);
    wr_free(&w);
    /* Boxes of a scalar take no bytes: billions of them would fit. */
    w = encoded(&entries[2], 1);
    put_u32(w.data + w.bytes - 8, UINT32_MAX);
    assert_int_equal(table_decode(w.data, w.bytes, &t, &err), -EBADMSG);
    put_u32(w.data + w.bytes - 8, 1);
    assert_int_equal(table_decode(w.data, w.bytes, &t, &err), 0);
    table_free(&t);
    wr_free(&w);
}

static void names_are_checked(void **state)
{
    static const char *const good[] = {"a", "a b", "\303\237",
                                       "\001extra///rng", "\364\217\277\277"};
    static const char *const bad[] = {
        "",           "\n",           "a\x7f",        "\001",
        "\001extra/", "\001extra/\n", "\001other/x",  "\300\200",
        "\303",       "\342\202",     "\355\240\200", "\302\205",
        "\377",       "\200",         "\340\200\200", "\364\220\200\200",
    };
    char longest[TABLE_NAME_MAX + 2];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(table_name_ok(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(table_name_ok(bad[i], strlen(bad[i])));
    memset(longest, 'n', sizeof longest);
    assert_true(table_name_ok(longest, TABLE_NAME_MAX));
    assert_false(table_name_ok(longest, TABLE_NAME_MAX + 1));
}

static void errors_name_the_tensor(void **state)
{
    struct entry e = entries[1];

    (void)state;
    assert_int_equal(entry_check(&e, &err), 0);
    e.region.cut_count = 1000;
    assert_int_equal(entry_check(&e, &err), -CKPT_ESHAPE);
    assert_int_equal(strncmp(err.text, "tensor layers.0.gate_up: ", 25), 0);
    e = entries[1];
    e.replica_index = 3;
    assert_int_equal(entry_check(&e, &err), -EINVAL);
    e.replica_index = 0;
    e.replica_count = 65537;
    assert_int_equal(entry_check(&e, &err), -EINVAL);
    e.replica_count = 0;
    assert_int_equal(entry_check(&e, &err), -EINVAL);
    e.name = "\n";
    assert_int_equal(entry_check(&e, &err), -EINVAL);
    assert_null(strchr(err.text, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_comes_back_as_it_was),
        cmocka_unit_test(empty_table_is_a_table),
        cmocka_unit_test(digest_tells_tables_apart),
        cmocka_unit_test(truncated_tables_are_refused),
        cmocka_unit_test(flipped_bits_are_harmless),
        cmocka_unit_test(random_damage_is_harmless),
        cmocka_unit_test(counts_are_held_against_what_is_left),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(errors_name_the_tensor),
    };

    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
