/*
 * Every message of the wire: what is encoded decodes to the same, a payload
 * that is cut short or too long does not decode, numbers out of their range
 * are refused, noise never reads past its end (the sanitizers watch), and the
 * bytes of some frames are exactly those that wire.h gives.
 */
#include "tests/lib/wire_messages.h"
#include "tests/lib/xorshift.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* One message: a sample, and its codec without its type. */
struct message {
    const char *name;
    const void *sample;
    size_t struct_bytes;
    void (*encode)(const void *v, struct wr *w);
    int (*decode)(const void *data, size_t bytes, void *v);
    bool takes_rest; /* one byte more is still a payload */
};

WIRE_MESSAGES(WIRE_UNTYPED)

#define ID                                                                     \
    {                                                                          \
        7, 2, 123456789012                                                     \
    }
static const uint8_t noise[56] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static const struct wire_error error = {-28, "disk full"};
static const struct wire_hello hello = {WIRE_MAGIC, 1, 3, 5};
static const struct wire_hello_ok hello_ok = {1, 2, {{3, 4}}, 1, "survives"};
static const struct wire_open open_message = {
    .home = "/home/x",
    .run = "run",
    .token = "token",
    .host = "host",
    .rank = 3,
    .world_size = 8,
    .resume = WIRE_RESUME_STEP,
    .resume_step = (uint64_t)1 << 40,
    .resume_generation = 2,
    .keep_last = 5,
    .keep_every = 1000,
    .open_timeout_ms = 1,
    .decide_timeout_ms = 2,
    .load_timeout_ms = 3,
    .codec = 2,
    .rejoin = 1,
    .layout = {{{"dp", 4}, {"tp", 2}}, 2},
    .coordinate = {3, 1},
};
static const struct wire_open draining = {.home = "/h",
                                          .run = "r",
                                          .host = "h",
                                          .world_size = 1,
                                          .remote_every = 7,
                                          .local_last = 2};
static const struct wire_open_ok open_ok = {{{9}}, 4, ID};
static const struct wire_arena arena = {(uint64_t)1 << 33};
static const struct wire_arena_ok arena_ok = {
    65536, 2, {4096 + 2 * 69632, 69632}, 3};
static const struct wire_table table = {6, noise, sizeof noise};
static const struct wire_save save = {99, 1, 2, 3, noise, 9, false, {0}};
static const struct wire_save trusting = {
    .step = 99,
    .table = 1,
    .overload = 2,
    .values = noise,
    .values_bytes = 9,
    .has_trust = true,
    .trust = {TRUST_ALL, TRUST_FAIL, TRUST_IGNORE, 77, "a*,b", "optim*"}};
static const struct wire_save_ok save_ok = {17, ID};
static const struct wire_slots slots = {17, 3, noise};
static const struct wire_chunks chunks = {17, 2, noise};
static const struct wire_state state = {17, ID, WIRE_STATE_ABORTED, -5, "EIO"};
static const struct wire_cancel cancel = {17, -125, "fence"};
static const struct wire_watch watch = {ID};
static const struct wire_await await = {ID};
static const struct wire_load load = {2, 1, ID};
static const struct wire_load_ok load_ok = {18};
static const struct wire_load_begin load_begin = {18, ID, 2, 1 << 20, "why"};
static const struct wire_deliver deliver = {18, 4, 1, 65536, 2, noise, 40};
static const struct wire_delivered delivered = {18};
static const struct wire_load_vote load_vote = {18, 2, -4001, "bad"};
static const struct wire_load_done load_done = {18, ID, 0, 2, 1 << 30, "note"};
static const struct wire_values values = {ID};
static const struct wire_values_ok values_ok = {
    ID, {{{"dp", 4}}, 1}, noise, noise + 8, 8, 4};
static const struct wire_list_ok list_ok = {1, noise, NULL};
static const struct wire_list_ok states_ok = {1, noise, noise};
static const struct wire_describe describe = {ID, 5};
static const struct wire_describe_ok describe_ok = {noise, 20};
static const struct wire_drain drain = {"/h", "r", ID};
static const struct wire_drain_ok drain_ok = {1, 9, 8, -28, "full"};
static const struct wire_close close_message = {0};

#define MESSAGE(name, sample, rest)                                            \
    {                                                                          \
#name, &(sample), sizeof(struct wire_##name), encode_##name,           \
            decode_##name, rest                                                \
    }
static const struct message messages[] = {
    MESSAGE(error, error, false),
    MESSAGE(hello, hello, false),
    MESSAGE(hello_ok, hello_ok, false),
    MESSAGE(open, open_message, false),
    MESSAGE(open, draining, false),
    MESSAGE(open_ok, open_ok, false),
    MESSAGE(arena, arena, false),
    MESSAGE(arena_ok, arena_ok, false),
    MESSAGE(table, table, true),
    MESSAGE(save, save, false),
    MESSAGE(save, trusting, false),
    MESSAGE(save_ok, save_ok, false),
    MESSAGE(slots, slots, false),
    MESSAGE(chunks, chunks, false),
    MESSAGE(state, state, false),
    MESSAGE(cancel, cancel, false),
    MESSAGE(watch, watch, false),
    MESSAGE(await, await, false),
    MESSAGE(load, load, false),
    MESSAGE(load_ok, load_ok, false),
    MESSAGE(load_begin, load_begin, false),
    MESSAGE(deliver, deliver, true),
    MESSAGE(delivered, delivered, false),
    MESSAGE(load_vote, load_vote, false),
    MESSAGE(load_done, load_done, false),
    MESSAGE(values, values, false),
    MESSAGE(values_ok, values_ok, false),
    MESSAGE(list_ok, list_ok, false),
    MESSAGE(list_ok, states_ok, false),
    MESSAGE(describe, describe, false),
    MESSAGE(describe_ok, describe_ok, true),
    MESSAGE(drain, drain, false),
    MESSAGE(drain_ok, drain_ok, false),
    MESSAGE(close, close_message, false),
};

/* Room for any decoded message. */
static union {
    struct wire_open open;
    struct wire_load_done done;
    uint8_t bytes[8192];
} out;

/* A copy of exactly `bytes`, so that a read beyond is seen. */
static uint8_t *exact(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);

    assert_non_null(copy);
    if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

static int decode_exact(const struct message *m, const uint8_t *data,
                        size_t bytes)
{
    uint8_t *copy = exact(data, bytes);
    int rc = m->decode(copy, bytes, &out);

    free(copy);
    return rc;
}

static void messages_come_back(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        const struct message *m = &messages[i];
        struct wr w = {0}, again = {0};

        assert_true(m->struct_bytes <= sizeof out);
        m->encode(m->sample, &w);
        assert_false(w.failed);
        if (m->decode(w.data, w.bytes, &out))
            fail_msg("%s does not decode", m->name);
        m->encode(&out, &again);
        assert_int_equal(w.bytes, again.bytes);
        assert_memory_equal(w.data, again.data, w.bytes);
        wr_free(&w);
        wr_free(&again);
    }
}

static void fields_come_back(void **unused)
{
    struct wire_open v;
    struct wire_deliver d;
    struct wire_state s;
    struct wire_save t;
    struct wr w = {0};

    (void)unused;
    wire_open_encode(&open_message, &w);
    assert_int_equal(wire_open_decode(w.data, w.bytes, &v), 0);
    assert_string_equal(v.home, "/home/x");
    assert_string_equal(v.host, "host");
    assert_int_equal(v.resume_step, (uint64_t)1 << 40);
    assert_int_equal(v.layout.axis[1].degree, 2);
    assert_int_equal(v.coordinate[0], 3);
    w.bytes = 0;
    wire_deliver_encode(&deliver, &w);
    assert_int_equal(wire_deliver_decode(w.data, w.bytes, &d), 0);
    assert_int_equal(d.payload_bytes, 65536);
    assert_int_equal(d.ops_bytes, 40);
    assert_memory_equal(d.ops, noise, 40);
    w.bytes = 0;
    wire_state_encode(&state, &w);
    assert_int_equal(wire_state_decode(w.data, w.bytes, &s), 0);
    assert_int_equal(s.code, -5);
    assert_int_equal(s.id.step, 123456789012);
    w.bytes = 0;
    wire_save_encode(&trusting, &w);
    assert_int_equal(wire_save_decode(w.data, w.bytes, &t), 0);
    assert_true(t.has_trust);
    assert_int_equal(t.overload, 2);
    assert_int_equal(t.trust.rotation, 77);
    assert_string_equal(t.trust.replica_allow, "a*,b");
    assert_string_equal(t.trust.optimizer_names, "optim*");
    wr_free(&w);
}

static void truncated_or_longer_is_refused(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        const struct message *m = &messages[i];
        struct wr w = {0};
        size_t whole;

        m->encode(m->sample, &w);
        whole = w.bytes;
        wr_u8(&w, 0);
        for (size_t n = 0; n < whole && !m->takes_rest; n++)
            if (decode_exact(m, w.data, n) != -EBADMSG)
                fail_msg("%s decodes from %zu of %zu bytes", m->name, n, whole);
        if (!m->takes_rest && decode_exact(m, w.data, whole + 1) != -EBADMSG)
            fail_msg("%s decodes with a byte too many", m->name);
        wr_free(&w);
    }
}

static void head_of_an_open_ended_message_is_needed(void **unused)
{
    (void)unused;
    assert_int_equal(wire_table_decode(noise, 3, (void *)&out), -EBADMSG);
    assert_int_equal(wire_deliver_decode(noise, 23, (void *)&out), -EBADMSG);
}

/* Single changed bytes and random payloads: any answer, no bad read. */
static void noise_is_survived(void **unused)
{
    uint64_t x = XORSHIFT_SEED;
    uint8_t bytes[300];

    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        const struct message *m = &messages[i];
        struct wr w = {0};

        m->encode(m->sample, &w);
        for (size_t at = 0; at < w.bytes; at++)
            for (uint32_t to = 0; to < 256; to += 51) {
                uint8_t was = w.data[at];

                w.data[at] = (uint8_t)to;
                (void)decode_exact(m, w.data, w.bytes);
                w.data[at] = was;
            }
        wr_free(&w);
        for (size_t round = 0; round < 3000; round++) {
            for (size_t k = 0; k < sizeof bytes; k++) {
                (void)xorshift(&x);
                bytes[k] = x & 0x300 ? 0 : (uint8_t)x;
            }
            (void)decode_exact(m, bytes, x % sizeof bytes);
        }
    }
}

/* A changed sample must not decode. */
#define REFUSED(name, from, field, value)                                      \
    do {                                                                       \
        struct wire_##name v = from;                                           \
        struct wr w = {0};                                                     \
        v.field = (value);                                                     \
        wire_##name##_encode(&v, &w);                                          \
        assert_int_equal(wire_##name##_decode(w.data, w.bytes, (void *)&out),  \
                         -EBADMSG);                                            \
        wr_free(&w);                                                           \
    } while (0)

static void numbers_out_of_range_are_refused(void **unused)
{
    (void)unused;
    REFUSED(error, error, code, 0);
    REFUSED(error, error, code, 5);
    REFUSED(hello, hello, magic, 1);
    REFUSED(hello, hello, low, 4);
    REFUSED(hello_ok, hello_ok, is_service, 2);
    REFUSED(open, open_message, rank, 8);
    REFUSED(open, open_message, world_size, 0);
    REFUSED(open, open_message, resume, 3);
    REFUSED(open, open_message, codec, 3);
    REFUSED(open, open_message, rejoin, 4);
    REFUSED(open, open_message, coordinate[1], 2);
    REFUSED(open, open_message, layout.axis[0].degree, 0);
    REFUSED(open_ok, open_ok, generation, 0);
    REFUSED(arena_ok, arena_ok, chunk_bytes, 65535);
    REFUSED(arena_ok, arena_ok, chunk_bytes, 3 << 16);
    REFUSED(arena_ok, arena_ok, chunk_bytes, 1 << 23);
    REFUSED(arena_ok, arena_ok, piece_bytes[1], 69633);
    REFUSED(arena_ok, arena_ok, piece_bytes[1], WIRE_PIECE_BYTES + PAGE_BYTES);
    REFUSED(arena_ok, arena_ok, slot_count, 4);
    REFUSED(arena_ok, arena_ok, piece_count, 0);
    REFUSED(save, save, overload, 3);
    REFUSED(save, trusting, overload, 0x200);
    REFUSED(save, trusting, trust.replica_check, 3);
    REFUSED(save, trusting, trust.on_divergence, TRUST_IGNORE);
    REFUSED(save, trusting, trust.on_stale, 3);
    REFUSED(save_ok, save_ok, id.generation, 0);
    REFUSED(state, state, state, 5);
    REFUSED(state, state, code, 0);
    REFUSED(state, state, state, WIRE_STATE_LOCAL);
    REFUSED(cancel, cancel, code, 0);
    REFUSED(watch, watch, id.generation, 0);
    REFUSED(load, load, is_collective, 2);
    REFUSED(load_begin, load_begin, attempt, 0);
    REFUSED(deliver, deliver, is_in_place, 2);
    REFUSED(deliver, deliver, op_count, 41);
    REFUSED(load_vote, load_vote, attempt, 0);
    REFUSED(load_vote, load_vote, code, 1);
    REFUSED(load_done, load_done, code, 1);
    REFUSED(await, await, id.generation, 0);
    REFUSED(drain, drain, id.generation, 0);
    REFUSED(drain_ok, drain_ok, state, 4);
    REFUSED(drain_ok, drain_ok, code, 1);
    REFUSED(drain_ok, drain_ok, done_bytes, 10);
    REFUSED(close, close_message, unused, 1);
}

static void counts_are_held_against_the_payload(void **unused)
{
    uint8_t bytes[16] = {0};
    struct wire_slots s;
    struct wire_chunks c;
    struct wire_list_ok l;

    (void)unused;
    put_u32(bytes + 8, UINT32_MAX);
    assert_int_equal(wire_slots_decode(bytes, sizeof bytes, &s), -EBADMSG);
    assert_int_equal(wire_chunks_decode(bytes, sizeof bytes, &c), -EBADMSG);
    put_u32(bytes, UINT32_MAX);
    assert_int_equal(wire_list_ok_decode(bytes, sizeof bytes, &l), -EBADMSG);
}

static void bytes_are_those_of_the_format(void **unused)
{
    static const uint8_t header[WIRE_HEADER_BYTES] = {
        0x18, 0, 0, 0, 10, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
    static const uint8_t greeting[] = {'C', 'K', 'W', '1', 1, 0, 3, 0,
                                       5,   0,   0,   0,   0, 0, 0, 0};
    static const uint8_t pair[] = {17, 0,  0,  0,  0, 0, 0, 0, 2, 0,
                                   0,  0,  1,  2,  3, 4, 5, 6, 7, 8,
                                   9,  10, 11, 12, 0, 0, 0, 0};
    static const uint8_t decided[] = {
        17,   0,    0,    0,    0,    0,    0,    0, /* save */
        7,    0,    0,    0,    2,    0,    0,    0, /* generation, attempt */
        0x14, 0x1a, 0x99, 0xbe, 0x1c, 0,    0,    0, /* step */
        100,  0,    0,    0,    0xfb, 0xff, 0xff, 0xff, /* aborted, -5 */
        3,    0,    'E',  'I',  'O'};
    struct wire_header h = {24, WIRE_SAVE, 0, 0x0102030405060708};
    uint8_t raw[WIRE_HEADER_BYTES];
    struct wr w = {0};

    (void)unused;
    wire_header_encode(&h, raw);
    assert_memory_equal(raw, header, sizeof raw);
    wire_hello_encode(&hello, &w);
    assert_int_equal(w.bytes, sizeof greeting);
    assert_memory_equal(w.data, greeting, sizeof greeting);
    w.bytes = 0;
    wire_chunks_encode(&chunks, &w);
    assert_int_equal(w.bytes, sizeof pair);
    assert_memory_equal(w.data, pair, sizeof pair);
    w.bytes = 0;
    wire_state_encode(&state, &w);
    assert_int_equal(w.bytes, sizeof decided);
    assert_memory_equal(w.data, decided, sizeof decided);
    wr_free(&w);
}

static void hostile_headers_are_refused(void **unused)
{
    static const struct wire_header wrong[] = {
        {WIRE_PAYLOAD_MAX + 1, WIRE_SAVE, 0, 1},
        {0, 0, 0, 1},
        {0, WIRE_LAST + 1, 0, 1},
        {0, UINT16_MAX, 0, 1},
        {0, WIRE_SAVE, WIRE_FLAG_MORE, 1},
        {0, WIRE_TABLE, 2, 1},
    };
    struct wire_header h = {WIRE_PAYLOAD_MAX, WIRE_TABLE, WIRE_FLAG_MORE, 9};
    uint8_t raw[WIRE_HEADER_BYTES];

    (void)unused;
    wire_header_encode(&h, raw);
    assert_int_equal(wire_header_decode(raw, &h), 0);
    assert_int_equal(h.id, 9);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        wire_header_encode(&wrong[i], raw);
        assert_int_equal(wire_header_decode(raw, &h), -EBADMSG);
    }
}

static void slots_do_not_straddle_pieces(void **unused)
{
    struct wire_arena_ok a = arena_ok;
    uint32_t piece;
    uint64_t offset;

    (void)unused;
    assert_int_equal(wire_slot_count(&a), 3);
    assert_true(wire_slot_place(&a, 1, &piece, &offset));
    assert_int_equal(piece, 0);
    assert_int_equal(offset, 4096 + 69632);
    assert_true(wire_slot_place(&a, 2, &piece, &offset));
    assert_int_equal(piece, 1);
    assert_int_equal(offset, 0);
    assert_false(wire_slot_place(&a, 3, &piece, &offset));
    assert_false(wire_slot_place(&a, UINT32_MAX, &piece, &offset));
    a.piece_bytes[0] = 4096; /* the mirror alone */
    assert_true(wire_slot_place(&a, 0, &piece, &offset));
    assert_int_equal(piece, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(fields_come_back),
        cmocka_unit_test(truncated_or_longer_is_refused),
        cmocka_unit_test(head_of_an_open_ended_message_is_needed),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(counts_are_held_against_the_payload),
        cmocka_unit_test(bytes_are_those_of_the_format),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(slots_do_not_straddle_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
