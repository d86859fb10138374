/*
 * test_crc32c.c - CRC-32C against the vectors of RFC 3720 (iSCSI), by the
 * processor's instruction and without, in one piece and in any two.
 */
#include "storage/crc32c.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_vectors_of_iscsi_hold(void **state)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];

    (void)state;
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < sizeof up; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    const struct {
        const void *data;
        size_t bytes;
        uint32_t crc;
    } vectors[] = {
        {"", 0, 0},
        {"123456789", 9, 0xE3069283},
        {zeros, 32, 0x8A9136AA},
        {ones, 32, 0x62A8AB43},
        {up, 32, 0x46DD794E},
        {down, 32, 0x113FDB5C},
    };

    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        assert_int_equal(crc32c(0, vectors[i].data, vectors[i].bytes),
                         vectors[i].crc);
        assert_int_equal(crc32c_portable(0, vectors[i].data, vectors[i].bytes),
                         vectors[i].crc);
    }
}

static void pieces_add_up_at_any_alignment(void **state)
{
    uint8_t data[300];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 167 + 13);
    for (size_t from = 0; from < 9; from++) {
        size_t bytes = sizeof data - from;
        uint32_t whole = crc32c_portable(0, data + from, bytes);

        for (size_t cut = 0; cut <= bytes; cut++) {
            uint32_t first = crc32c(0, data + from, cut);

            assert_int_equal(crc32c(first, data + from + cut, bytes - cut),
                             whole);
        }
    }
}

static void long_ones_are_as_short_ones_add_up(void **state)
{
    enum { BYTES = 20000 };
    uint8_t *data = malloc(BYTES + 9);

    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < BYTES + 9; i++)
        data[i] = (uint8_t)((i * 2654435761U) >> 13);
    for (size_t from = 0; from < 9; from++) {
        for (size_t bytes = 0; bytes <= BYTES; bytes += 1 + bytes % 61) {
            uint32_t first = (uint32_t)(bytes * 40503 + from);

            assert_int_equal(crc32c(first, data + from, bytes),
                             crc32c_portable(first, data + from, bytes));
        }
    }
    free(data);
}

static void every_flipped_bit_shows(void **state)
{
    uint8_t data[64] = "a record of some length, and then zeros";
    uint32_t crc = crc32c(0, data, sizeof data);

    (void)state;
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(crc32c(0, data, sizeof data), crc);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_iscsi_hold),
        cmocka_unit_test(pieces_add_up_at_any_alignment),
        cmocka_unit_test(long_ones_are_as_short_ones_add_up),
        cmocka_unit_test(every_flipped_bit_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
