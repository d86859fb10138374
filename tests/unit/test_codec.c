/*
 * test_codec.c - byte planes + lz4: lossless for every unit and length, never
 * larger than allowed, and safe on whatever bytes it is given to decode.
 */
#include "formats/codec.h"
#include "tests/lib/xorshift.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#define BYTES_MAX ((size_t)300000)

static uint64_t seed = XORSHIFT_SEED;

static uint64_t next(void)
{
    return xorshift(&seed);
}

static double uniform(void)
{
    return ((double)(next() >> 11) + 0.5) / 9007199254740992.0;
}

/* Gaussian values of `unit` bytes, the way weights look. */
static void fill_gaussian(uint8_t *to, size_t bytes, uint32_t unit)
{
    for (size_t i = 0; i + unit <= bytes; i += unit) {
        double v =
            0.02 * sqrt(-2 * log(uniform())) * cos(6.2831853 * uniform());
        float f = (float)v;

        if (unit == 8)
            memcpy(to + i, &v, 8);
        else if (unit == 4)
            memcpy(to + i, &f, 4);
        else
            memcpy(to + i, (uint8_t *)&f + 4 - unit, unit);
    }
}

struct buffers {
    uint8_t *raw, *payload, *back, *scratch;
};

static int set_up(void **state)
{
    struct buffers *b = malloc(sizeof *b);

    b->raw = malloc(BYTES_MAX);
    b->payload = malloc(BYTES_MAX);
    b->back = malloc(BYTES_MAX);
    b->scratch = malloc(codec_scratch_bytes(BYTES_MAX));
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct buffers *b = *state;

    free(b->raw);
    free(b->payload);
    free(b->back);
    free(b->scratch);
    free(b);
    return 0;
}

static const uint32_t units[] = {1, 2, 4, 8};

/* Encodes exactly sized copies, so that a sanitizer sees any overrun. */
static void round_trip(struct buffers *b, uint32_t unit, size_t bytes)
{
    uint8_t *raw = malloc(bytes), *back = malloc(bytes);
    size_t n;

    memcpy(raw, b->raw, bytes);
    n = codec_encode(CODEC_PLANES_LZ4, unit, raw, bytes, b->payload, bytes,
                     b->scratch);
    assert_true(n < bytes);
    if (n) {
        uint8_t *payload = malloc(n);

        memcpy(payload, b->payload, n);
        assert_int_equal(codec_decode(CODEC_PLANES_LZ4, unit, payload, n, back,
                                      bytes, b->scratch),
                         0);
        assert_memory_equal(back, raw, bytes);
        free(payload);
    }
    free(raw);
    free(back);
}

static void every_length_and_unit_comes_back(void **state)
{
    struct buffers *b = *state;

    for (size_t u = 0; u < ARRAY_LEN(units); u++) {
        fill_gaussian(b->raw, BYTES_MAX, units[u]);
        for (size_t bytes = 1; bytes < 700; bytes++)
            round_trip(b, units[u], bytes);
        memset(b->raw, 7, BYTES_MAX);
        for (size_t bytes = 1; bytes < 700; bytes++)
            round_trip(b, units[u], bytes);
        for (int i = 0; i < 50; i++) {
            fill_gaussian(b->raw, BYTES_MAX, units[u]);
            round_trip(b, units[u], 1 + next() % BYTES_MAX);
        }
    }
}

static void trained_looking_values_shrink(void **state)
{
    static const double most[] = {0, 0, 0.88, 0, 0.95, 0, 0, 0, 0.97};
    struct buffers *b = *state;

    for (uint32_t unit = 2; unit <= 8; unit *= 2) {
        size_t n;

        fill_gaussian(b->raw, BYTES_MAX, unit);
        n = codec_encode(CODEC_PLANES_LZ4, unit, b->raw, BYTES_MAX, b->payload,
                         BYTES_MAX, b->scratch);
        assert_true(n > 0);
        assert_true((double)n < most[unit] * (double)BYTES_MAX);
        assert_true(codec_sample(CODEC_PLANES_LZ4, unit, b->raw, BYTES_MAX,
                                 b->scratch) < most[unit] + 0.02);
    }
}

static void noise_is_left_raw(void **state)
{
    struct buffers *b = *state;

    for (size_t i = 0; i + 8 <= BYTES_MAX; i += 8) {
        uint64_t v = next();

        memcpy(b->raw + i, &v, 8);
    }
    for (size_t u = 0; u < ARRAY_LEN(units); u++) {
        assert_int_equal(codec_encode(CODEC_PLANES_LZ4, units[u], b->raw,
                                      BYTES_MAX, b->payload, BYTES_MAX,
                                      b->scratch),
                         0);
        assert_true(codec_sample(CODEC_PLANES_LZ4, units[u], b->raw, BYTES_MAX,
                                 b->scratch) == 1.0);
    }
}

static void capacity_is_never_exceeded(void **state)
{
    struct buffers *b = *state;
    size_t full;

    fill_gaussian(b->raw, 65536, 2);
    full = codec_encode(CODEC_PLANES_LZ4, 2, b->raw, 65536, b->payload, 65536,
                        b->scratch);
    assert_true(full > 0);
    for (size_t capacity = 0; capacity < full; capacity += 97) {
        uint8_t *room = malloc(capacity + 1);
        size_t n;

        room[capacity] = 0x5a;
        n = codec_encode(CODEC_PLANES_LZ4, 2, b->raw, 65536, room, capacity,
                         b->scratch);
        assert_true(n <= capacity);
        assert_int_equal(room[capacity], 0x5a);
        free(room);
    }
}

static void damaged_payloads_never_decode_out_of_bounds(void **state)
{
    struct buffers *b = *state;

    for (int i = 0; i < 20000; i++) {
        uint32_t unit = units[next() % ARRAY_LEN(units)];
        size_t bytes = 1 + next() % 3000, n;
        uint8_t *payload, *back = malloc(bytes);

        fill_gaussian(b->raw, 3000, unit > 1 ? unit : 2);
        n = codec_encode(CODEC_PLANES_LZ4, unit, b->raw, bytes, b->payload,
                         bytes, b->scratch);
        if (n == 0)
            n = 1 + next() % bytes;
        if (next() % 4 == 0)
            n = 1 + next() % n;
        payload = malloc(n);
        memcpy(payload, b->payload, n);
        for (uint64_t k = next() % 8; k > 0; k--)
            payload[next() % min_u64(n, k % 2 ? n : 40)] = (uint8_t)next();
        (void)!codec_decode(CODEC_PLANES_LZ4, next() % 8 ? unit : 3, payload, n,
                            back, bytes, b->scratch);
        free(payload);
        free(back);
    }
}

static void what_is_not_a_codec_is_refused(void **state)
{
    struct buffers *b = *state;

    memset(b->raw, 0, 4096);
    assert_int_equal(codec_encode(CODEC_PLANES_LZ4, 3, b->raw, 4096, b->payload,
                                  4096, b->scratch),
                     0);
    assert_int_equal(codec_decode(9, 2, b->raw, 64, b->back, 64, b->scratch),
                     -CKPT_ECORRUPT);
    assert_int_equal(
        codec_decode(CODEC_RAW, 0, b->raw, 64, b->back, 65, b->scratch),
        -CKPT_ECORRUPT);
    assert_int_equal(
        codec_decode(CODEC_RAW, 0, b->raw, 64, b->back, 64, b->scratch), 0);
}

static void it_pays_only_when_both_speeds_say_so(void **state)
{
    (void)state;
    assert_true(codec_pays(0.8, 4e9, 1e9));
    assert_false(codec_pays(1.0, 4e9, 1e9));
    assert_false(codec_pays(0.8, 0.5e9, 1e9));
    assert_false(codec_pays(0.99, 4e9, 1e9));
    assert_false(codec_pays(0.8, 0, 1e9));
    assert_false(codec_pays(0.8, 4e9, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_and_unit_comes_back),
        cmocka_unit_test(trained_looking_values_shrink),
        cmocka_unit_test(noise_is_left_raw),
        cmocka_unit_test(capacity_is_never_exceeded),
        cmocka_unit_test(damaged_payloads_never_decode_out_of_bounds),
        cmocka_unit_test(what_is_not_a_codec_is_refused),
        cmocka_unit_test(it_pays_only_when_both_speeds_say_so),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
