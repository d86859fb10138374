/*
 * test_common_hash.c - the checksums are the published ones (they stand in
 * files that others read), and see every byte. The expected values are those
 * of the xxHash project's own command, xxhsum.
 */
#include "common/hash.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void digest_text(const struct digest *digest, char text[33])
{
    for (size_t i = 0; i < sizeof digest->b; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest->b[i]);
}

static void hash_128_is_xxh3_128_in_canonical_order(void **state)
{
    struct digest digest;
    char text[33];

    (void)state;
    digest = hash_128("", 0);
    digest_text(&digest, text);
    assert_string_equal(text, "99aa06d3014798d86001c324468d497f");
    digest = hash_128("ckptd", 5);
    digest_text(&digest, text);
    assert_string_equal(text, "49a03db99f3ef0c450a6de4990693d95");
}

static void hash_64_is_xxh3_64(void **state)
{
    (void)state;
    assert_true(hash_64("", 0) == 0x2d06800538d394c2);
    assert_true(hash_64("ckptd", 5) == 0xf17738a15c790b97);
}

static void hash_xxh64_is_xxh64_with_seed_0(void **state)
{
    (void)state;
    assert_true(hash_xxh64("", 0) == 0xef46db3751d8e999);
    assert_true(hash_xxh64("ckptd", 5) == 0x0c0c09d8992730a7);
}

static void every_flipped_bit_changes_both_digests(void **state)
{
    enum { BYTES = 300 };
    uint8_t data[BYTES];
    struct digest whole;
    uint64_t narrow;

    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 31);
    whole = hash_128(data, BYTES);
    narrow = hash_64(data, BYTES);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        struct digest flipped;

        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        flipped = hash_128(data, BYTES);
        assert_false(digest_equal(&whole, &flipped));
        assert_true(hash_64(data, BYTES) != narrow);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(hash_64(data, BYTES) == narrow);
}

static void length_is_part_of_the_digest(void **state)
{
    static const uint8_t zeros[4097];
    struct digest a = hash_128(zeros, 4096), b = hash_128(zeros, 4097);

    (void)state;
    assert_false(digest_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_128_is_xxh3_128_in_canonical_order),
        cmocka_unit_test(hash_64_is_xxh3_64),
        cmocka_unit_test(hash_xxh64_is_xxh64_with_seed_0),
        cmocka_unit_test(every_flipped_bit_changes_both_digests),
        cmocka_unit_test(length_is_part_of_the_digest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
