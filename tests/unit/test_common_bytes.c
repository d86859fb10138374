/*
 * test_common_bytes.c - the bounded reader and the growing writer: what one
 * writes the other reads, in little-endian bytes; neither leaves its bounds,
 * and the first failure sticks.
 */
#include "common/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void written_values_are_little_endian(void **state)
{
    static const uint8_t expected[] = {
        0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f,
        0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08,
    };
    struct wr w = {0};

    (void)state;
    wr_u8(&w, 0x01);
    wr_u16(&w, 0x0203);
    wr_u32(&w, 0x04050607);
    wr_u64(&w, 0x08090a0b0c0d0e0f);
    assert_false(w.failed);
    assert_int_equal(w.bytes, sizeof expected);
    assert_memory_equal(w.data, expected, sizeof expected);
    wr_free(&w);
}

static void reader_returns_what_was_written(void **state)
{
    struct id128 id = {{0xfe, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}};
    struct id128 id_read;
    struct wr w = {0};
    struct rd r;
    char text[16];

    (void)state;
    wr_u8(&w, 0xff);
    wr_u16(&w, 0xfffe);
    wr_u32(&w, 0xfffffffd);
    wr_u64(&w, 0xfffffffffffffffc);
    wr_id(&w, &id);
    wr_str(&w, "layers.0.w");
    wr_str(&w, "");
    assert_false(w.failed);

    r = rd_init(w.data, w.bytes);
    assert_int_equal(rd_u8(&r), 0xff);
    assert_int_equal(rd_u16(&r), 0xfffe);
    assert_int_equal(rd_u32(&r), 0xfffffffd);
    assert_true(rd_u64(&r) == 0xfffffffffffffffc);
    id_read = rd_id(&r);
    assert_true(id_equal(&id, &id_read));
    rd_str(&r, text, sizeof text);
    assert_string_equal(text, "layers.0.w");
    assert_false(rd_done(&r));
    rd_str(&r, text, sizeof text);
    assert_string_equal(text, "");
    assert_true(rd_done(&r));
    wr_free(&w);
}

static void reading_past_the_end_is_bad_for_good(void **state)
{
    static const uint8_t data[] = {1, 2, 3};
    struct rd r = rd_init(data, sizeof data);

    (void)state;
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_u32(&r), 0);
    assert_true(r.bad);
    /* Two bytes would be there, but what they mean is lost. */
    assert_int_equal(rd_u16(&r), 0);
    assert_int_equal(rd_left(&r), 0);
    assert_null(rd_bytes(&r, 0));
    assert_false(rd_done(&r));
}

static void huge_length_is_bad_and_reads_nothing(void **state)
{
    static const uint8_t data[8];
    struct rd r = rd_init(data, sizeof data);

    (void)state;
    assert_null(rd_bytes(&r, UINT64_MAX));
    assert_true(r.bad);
}

static void empty_reader_is_done_at_once(void **state)
{
    struct rd r = rd_init(NULL, 0);

    (void)state;
    assert_true(rd_done(&r));
    assert_int_equal(rd_u8(&r), 0);
    assert_false(rd_done(&r));
}

static void zero_length_is_not_null(void **state)
{
    static const uint8_t data[] = {7};
    struct rd r = rd_init(data, sizeof data);

    (void)state;
    assert_ptr_equal(rd_bytes(&r, 0), data);
    assert_int_equal(rd_left(&r), 1);
}

static void string_beyond_capacity_is_bad(void **state)
{
    struct wr w = {0};
    struct rd r;
    char text[4];

    (void)state;
    wr_str(&w, "abcd");
    r = rd_init(w.data, w.bytes);
    rd_str(&r, text, sizeof text);
    assert_true(r.bad);
    assert_string_equal(text, "");
    wr_free(&w);
}

static void string_that_just_fits_is_read(void **state)
{
    struct wr w = {0};
    struct rd r;
    char text[5];

    (void)state;
    wr_str(&w, "abcd");
    r = rd_init(w.data, w.bytes);
    rd_str(&r, text, sizeof text);
    assert_string_equal(text, "abcd");
    assert_true(rd_done(&r));
    wr_free(&w);
}

static void string_with_a_nul_inside_is_bad(void **state)
{
    static const uint8_t data[] = {3, 0, 'a', 0, 'b'};
    struct rd r = rd_init(data, sizeof data);
    char text[8];

    (void)state;
    rd_str(&r, text, sizeof text);
    assert_true(r.bad);
    assert_string_equal(text, "");
}

static void string_cut_off_by_the_end_is_bad(void **state)
{
    static const uint8_t data[] = {3, 0, 'a', 'b'};
    struct rd r = rd_init(data, sizeof data);
    char text[8];

    (void)state;
    rd_str(&r, text, sizeof text);
    assert_true(r.bad);
    assert_string_equal(text, "");
}

static void string_beyond_u16_fails_the_writer(void **state)
{
    char *text = malloc(UINT16_MAX + 2);
    struct wr w = {0};

    (void)state;
    assert_non_null(text);
    memset(text, 'x', UINT16_MAX + 1);
    text[UINT16_MAX + 1] = '\0';
    wr_str(&w, text);
    assert_true(w.failed);
    free(text);
    wr_free(&w);
}

static void impossible_room_fails_the_writer_for_good(void **state)
{
    struct wr w = {0};

    (void)state;
    wr_u32(&w, 1);
    assert_null(wr_room(&w, SIZE_MAX));
    assert_true(w.failed);
    wr_u32(&w, 2);
    assert_true(w.failed);
    assert_int_equal(w.bytes, 4);
    wr_free(&w);
}

static void room_and_padding_are_zeroed(void **state)
{
    static const uint8_t zeros[64];
    struct wr w = {0};

    (void)state;
    /* Leave non-zero bytes beyond the end of the buffer. */
    memset(wr_room(&w, 64), 0xaa, 64);
    w.bytes = 0;
    wr_u8(&w, 1);
    wr_align(&w, 16);
    assert_int_equal(w.bytes, 16);
    assert_memory_equal(w.data + 1, zeros, 15);
    assert_memory_equal(wr_room(&w, 8), zeros, 8);
    wr_align(&w, 8);
    assert_int_equal(w.bytes, 24);
    wr_free(&w);
}

static void growing_keeps_what_is_there(void **state)
{
    struct wr w = {0};
    struct rd r;

    (void)state;
    for (uint32_t i = 0; i < 10000; i++)
        wr_u32(&w, i * 2654435761u);
    assert_false(w.failed);
    r = rd_init(w.data, w.bytes);
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(rd_u32(&r), i * 2654435761u);
    assert_true(rd_done(&r));
    wr_free(&w);
    assert_null(w.data);
    wr_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_values_are_little_endian),
        cmocka_unit_test(reader_returns_what_was_written),
        cmocka_unit_test(reading_past_the_end_is_bad_for_good),
        cmocka_unit_test(huge_length_is_bad_and_reads_nothing),
        cmocka_unit_test(empty_reader_is_done_at_once),
        cmocka_unit_test(zero_length_is_not_null),
        cmocka_unit_test(string_beyond_capacity_is_bad),
        cmocka_unit_test(string_that_just_fits_is_read),
        cmocka_unit_test(string_with_a_nul_inside_is_bad),
        cmocka_unit_test(string_cut_off_by_the_end_is_bad),
        cmocka_unit_test(string_beyond_u16_fails_the_writer),
        cmocka_unit_test(impossible_room_fails_the_writer_for_good),
        cmocka_unit_test(room_and_padding_are_zeroed),
        cmocka_unit_test(growing_keeps_what_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
