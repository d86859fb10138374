/*
 * test_session.c - what a session takes and what it refuses: order of frames,
 * versions, bad requests, bytes that are none, and sessions that end at any
 * moment.
 */
#include "tests/lib/engine_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct rig_shape plain = {.world_size = 1,
                                       .slots = 8,
                                       .tensors = 2,
                                       .tensor_bytes =
                                           4 * (uint64_t)RIG_CHUNK_BYTES,
                                       .codec = 1,
                                       .entropy = 1};

static struct rig_rank *joined(struct rig *g)
{
    struct rig_rank *ranks[RIG_RANKS_MAX];

    rig_start(g, "token", &plain, ranks);
    assert_true(rig_joined(ranks[0]));
    assert_non_null(ranks[0]->arena);
    return ranks[0];
}

static void send_w(struct rig_rank *r, uint16_t type, uint64_t id, struct wr *w)
{
    rig_send(r, type, 0, id, w);
    wr_free(w);
    *w = (struct wr){0};
    (void)rig_run(r->rig, 20, NULL, NULL);
}

static bool is_hung_up(const struct rig_rank *r)
{
    return test_env_hung_up(r->rig->daemon, r->peer);
}

static void assert_breach(struct rig_rank *r, const char *part)
{
    (void)rig_run(r->rig, 20, NULL, NULL);
    assert_true(is_hung_up(r));
    assert_int_equal(r->error, -EPROTO);
    assert_int_equal(r->error_id, 0);
    assert_non_null(strstr(r->error_text, part));
}

static void hello(struct rig_rank *r, uint16_t low, uint16_t high)
{
    struct wire_hello v = {.magic = WIRE_MAGIC, .low = low, .high = high};
    struct wr w = {0};

    wire_hello_encode(&v, &w);
    send_w(r, WIRE_HELLO, 1, &w);
}

static struct wire_open good_open(void)
{
    return (struct wire_open){
        .home = RIG_HOME, .run = RIG_RUN, .token = "t", .world_size = 1};
}

static void open_with(struct rig_rank *r, const struct wire_open *v,
                      uint64_t id)
{
    struct wr w = {0};

    r->error = 0;
    wire_open_encode(v, &w);
    send_w(r, WIRE_OPEN, id, &w);
    (void)rig_run(r->rig, 2000, NULL, NULL);
}

/*
 * HELLO and OPEN.
 */

static void a_version_in_common_is_used(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = rig_rank_new(g, 0, 1);

    (void)state;
    hello(r, 0, 9);
    assert_int_equal(r->last_type, WIRE_HELLO_OK);
    assert_false(is_hung_up(r));
    rig_free(g);
}

static void no_version_in_common_names_both_ranges(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = rig_rank_new(g, 0, 1);

    (void)state;
    hello(r, 7, 9);
    assert_int_equal(r->error, -CKPT_EVERSION);
    assert_int_equal(r->error_id, 1);
    assert_non_null(strstr(r->error_text, "7 to 9"));
    assert_non_null(strstr(r->error_text, "1 to 1"));
    assert_true(is_hung_up(r));
    rig_free(g);
}

static void bad_opens_fail_and_a_good_one_may_follow(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = rig_rank_new(g, 0, 1);
    static const char *const homes[] = {"home",   "",     "/a/../b",
                                        "/a/./b", "/a/.", "/.."};
    static const char *const runs[] = {"", ".x", "a/b", "a b"};
    struct wire_open v;

    (void)state;
    hello(r, 1, 1);
    for (size_t i = 0; i < ARRAY_LEN(homes); i++) {
        v = good_open();
        (void)snprintf(v.home, sizeof v.home, "%s", homes[i]);
        open_with(r, &v, 10 + i);
        assert_int_equal(r->error, -EINVAL);
        assert_int_equal(r->error_id, 10 + i);
    }
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        v = good_open();
        (void)snprintf(v.run, sizeof v.run, "%s", runs[i]);
        open_with(r, &v, 20 + i);
        assert_int_equal(r->error, -EINVAL);
    }
    v = good_open();
    v.resume = WIRE_RESUME_STEP;
    v.resume_step = 99;
    open_with(r, &v, 30);
    assert_int_equal(r->error, -ENOENT);
    v = good_open();
    open_with(r, &v, 31);
    assert_int_equal(r->error, 0);
    assert_true(rig_joined(r));
    assert_false(is_hung_up(r));
    rig_free(g);
}

static void a_rank_of_a_world_without_a_token_is_refused(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = rig_rank_new(g, 0, 2);
    struct wire_open v = good_open();

    (void)state;
    hello(r, 1, 1);
    v.token[0] = '\0';
    v.world_size = 2;
    open_with(r, &v, 10);
    assert_int_equal(r->error, -EINVAL);
    rig_free(g);
}

static void a_second_process_of_a_rank_is_stale(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g), *twin = rig_rank_new(g, 0, 1);

    (void)state;
    assert_int_equal(r->rank, 0);
    rig_open(twin, "token");
    (void)rig_run(g, 2000, NULL, NULL);
    assert_int_equal(twin->error, -ESTALE);
    assert_false(is_hung_up(r));
    rig_free(g);
}

static void a_session_may_end_while_it_opens(void **state)
{
    (void)state;
    for (uint64_t turns = 0; turns < 40; turns++) {
        struct rig *g = rig_new(turns + 1);
        struct rig_rank *r = rig_rank_new(g, 0, 1);

        rig_open(r, "token");
        g->world->step_ns = 1000;
        (void)rig_run(g, turns / 4, NULL, NULL);
        rig_die(r);
        (void)rig_run(g, 2000, NULL, NULL);
        assert_true(list_is_empty(&g->engine->sessions));
        rig_free(g);
    }
}

/*
 * Order.
 */

static void every_frame_out_of_order_is_a_breach(void **state)
{
    (void)state;
    for (uint32_t type = 1; type <= WIRE_LAST; type++) {
        struct rig *g = rig_new(1);
        struct rig_rank *fresh = rig_rank_new(g, 0, 1);
        struct rig_rank *greeted = rig_rank_new(g, 0, 1);

        if (type != WIRE_HELLO) {
            rig_send(fresh, (uint16_t)type, 0, 5, NULL);
            assert_breach(fresh, type == WIRE_ERROR ? "not a rank's" : "");
        }
        hello(greeted, 1, 1);
        rig_send(greeted, (uint16_t)type, 0, 5, NULL);
        assert_breach(greeted, "");
        rig_free(g);
    }
}

static void flags_that_mean_nothing_are_a_breach(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);

    (void)state;
    rig_send(r, WIRE_LIST, 0x8000, 5, NULL);
    assert_breach(r, "flags");
    rig_free(g);
}

static void close_ends_the_session_in_order(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);
    struct wire_close v = {0};
    struct wr w = {0};

    (void)state;
    wire_close_encode(&v, &w);
    send_w(r, WIRE_CLOSE, 50, &w);
    assert_int_equal(r->last_type, WIRE_CLOSE_OK);
    assert_int_equal(r->last_reply, 50);
    assert_true(is_hung_up(r));
    assert_true(list_is_empty(&g->engine->sessions));
    assert_int_equal(g->daemon->arenas, 0);
    rig_free(g);
}

/*
 * Arena and tables.
 */

static void a_second_arena_is_refused(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);

    (void)state;
    rig_arena(r, 8);
    (void)rig_run(g, 20, NULL, NULL);
    assert_int_equal(r->error, -EBUSY);
    assert_false(is_hung_up(r));
    rig_free(g);
}

static void no_memory_for_an_arena_fails_the_request(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *ranks[RIG_RANKS_MAX];

    (void)state;
    g->daemon->arena_bytes_max = PAGE_BYTES;
    rig_start(g, "token", &plain, ranks);
    assert_null(ranks[0]->arena);
    assert_int_equal(ranks[0]->error, -ENOMEM);
    assert_false(is_hung_up(ranks[0]));
    rig_free(g);
}

/* Sends the bytes of a table in frames of `piece`. */
static void send_table(struct rig_rank *r, uint32_t number, const struct wr *t,
                       uint32_t piece)
{
    for (size_t at = 0; at < t->bytes || at == 0; at += piece) {
        struct wire_table v = {.number = number, .data = t->data + at};
        bool is_last = at + piece >= t->bytes;
        struct wr w = {0};

        v.bytes = (uint32_t)(is_last ? t->bytes - at : piece);
        wire_table_encode(&v, &w);
        rig_send(r, WIRE_TABLE, is_last ? 0 : WIRE_FLAG_MORE, 60, &w);
        wr_free(&w);
    }
    (void)rig_run(r->rig, 20, NULL, NULL);
}

static void encode_one(struct wr *w, const char *name, uint64_t size)
{
    struct entry e = {.name = name, .replica_count = 1};

    e.geometry =
        (struct geometry){.dtype = DTYPE_F32, .ndim = 1, .shape = {size}};
    table_encode(&e, 1, w);
}

static void a_table_may_come_in_many_frames(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);
    struct wr t = {0};

    (void)state;
    encode_one(&t, "a.tensor", 1000);
    r->last_type = 0;
    send_table(r, 5, &t, 7);
    assert_int_equal(r->last_type, WIRE_TABLE_OK);
    assert_int_equal(r->last_reply, 60);
    wr_free(&t);
    rig_free(g);
}

/* A few bytes on the wire, and about 40 MiB for a list of 2^20 chunks. */
static void tables_that_claim_too_much_are_refused(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);
    struct wr t = {0};

    (void)state;
    encode_one(&t, "a.tensor", ((uint64_t)RIG_CHUNK_BYTES << 20) / 4);
    for (int i = 0; i < 10; i++) /* one in the place of the other */
        send_table(r, 2, &t, 1 << 20);
    assert_int_equal(r->error, 0);
    for (uint32_t number = 3; number < 7; number++)
        send_table(r, number, &t, 1 << 20);
    assert_int_equal(r->error, 0);
    send_table(r, 7, &t, 1 << 20);
    send_table(r, 8, &t, 1 << 20);
    assert_int_equal(r->error, -E2BIG);
    assert_int_equal(r->error_id, 60);
    assert_non_null(strstr(r->error_text, "256 MiB"));
    assert_false(is_hung_up(r));
    wr_free(&t);
    rig_free(g);
}

/* 16 bytes each on the wire, 128 decoded. */
static void a_table_of_too_many_boxes_is_refused(void **state)
{
    enum { BOXES = 2200000 };
    struct box *boxes = calloc(BOXES, sizeof *boxes);
    struct entry e = {.name = "a.tensor", .replica_count = 1};
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);
    struct wr t = {0};

    (void)state;
    assert_non_null(boxes);
    e.geometry =
        (struct geometry){.dtype = DTYPE_F32, .ndim = 1, .shape = {BOXES}};
    e.region = (struct region){.boxes = boxes, .box_count = BOXES};
    for (uint64_t i = 0; i < BOXES; i++)
        boxes[i] = (struct box){.offset = {i}, .size = {1}};
    table_encode(&e, 1, &t);
    assert_false(t.failed);
    send_table(r, 5, &t, 8 << 20);
    assert_int_equal(r->error, -E2BIG);
    assert_false(is_hung_up(r));
    wr_free(&t);
    free(boxes);
    rig_free(g);
}

static void another_frame_within_a_table_is_a_breach(void **state)
{
    struct wr t = {0};

    (void)state;
    encode_one(&t, "a.tensor", 1000);
    for (int is_table = 0; is_table < 2; is_table++) {
        struct rig *g = rig_new(1);
        struct rig_rank *r = joined(g);
        struct wire_table v = {.number = 5, .data = t.data, .bytes = 9};
        struct wr w = {0};

        wire_table_encode(&v, &w);
        rig_send(r, WIRE_TABLE, WIRE_FLAG_MORE, 60, &w);
        if (is_table) {
            put_u32(w.data, 6);
            rig_send(r, WIRE_TABLE, 0, 61, &w);
        } else {
            rig_send(r, WIRE_LIST, 0, 61, NULL);
        }
        wr_free(&w);
        assert_breach(r, "in the middle of");
        rig_free(g);
    }
    wr_free(&t);
}

static void a_table_that_is_too_large_is_a_breach(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);
    uint32_t bytes = WIRE_PAYLOAD_MAX - 4;
    struct wire_table v = {.number = 5, .bytes = bytes};
    void *zeros = calloc(1, bytes);
    struct wr w = {0};

    (void)state;
    assert_non_null(zeros);
    v.data = zeros;
    wire_table_encode(&v, &w);
    for (int i = 0; i < 17 && !is_hung_up(r); i++)
        rig_send(r, WIRE_TABLE, WIRE_FLAG_MORE, 60, &w);
    assert_breach(r, "larger than");
    wr_free(&w);
    free(zeros);
    rig_free(g);
}

static void only_so_many_tables_are_kept(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);
    struct session *s =
        container_of(g->engine->sessions.next, struct session, link);
    struct wr t = {0};

    (void)state;
    encode_one(&t, "a.tensor", 1000);
    for (uint32_t i = 0; i < 3 * SESSION_TABLES; i++)
        send_table(r, i, &t, 4096);
    assert_null(session_table(s, 1));
    for (uint32_t i = 2 * SESSION_TABLES; i < 3 * SESSION_TABLES; i++)
        assert_non_null(session_table(s, i));
    send_table(r, 2 * SESSION_TABLES, &t, 4096);
    assert_non_null(session_table(s, 2 * SESSION_TABLES + 1));
    wr_free(&t);
    rig_free(g);
}

/*
 * Chunks that are not the rank's to give.
 */

static void give(struct rig_rank *r, uint64_t save, uint32_t chunk,
                 uint32_t slot)
{
    struct wire_chunks v = {.save = save, .count = 1};
    uint8_t pair[8];
    struct wr w = {0};

    put_u32(pair, chunk);
    put_u32(pair + 4, slot);
    v.pairs = pair;
    wire_chunks_encode(&v, &w);
    rig_send(r, WIRE_CHUNKS, 0, 0, &w);
    wr_free(&w);
}

static uint32_t granted_slot(struct rig *g)
{
    const struct slots *s =
        container_of(g->engine->arenas.next, struct slots, link);

    for (uint32_t i = 0; i < s->count; i++)
        if (s->slot[i].state == SLOT_GRANTED)
            return i;
    return UINT32_MAX;
}

static void chunks_that_were_not_asked_for_are_a_breach(void **state)
{
    static const struct {
        uint64_t save;
        uint32_t chunk, slot_add;
        const char *part;
        bool twice;
    } cases[] = {
        {1, 1000, 0, "not in the write list", false},
        {1, 0, 1u << 30, "is not there", false},
        {1, 0, 0, "was given before", true},
        {1, 1, 0, "not granted", true},
        {99, 0, 0, "is not there", false},
        {0, 0, 0, "is not there", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig *g = rig_new(1);
        struct rig_rank *r = joined(g);
        struct rig_save *v;
        uint32_t slot;

        r->hold_after = 0;
        v = rig_save(r, 10, 1, 0);
        (void)rig_run(g, 1000, NULL, NULL);
        assert_int_equal(v->number, 1);
        slot = granted_slot(g);
        assert_int_not_equal(slot, UINT32_MAX);
        if (cases[i].twice)
            give(r, 1, 0, slot);
        give(r, cases[i].save, cases[i].chunk, slot + cases[i].slot_add);
        assert_breach(r, cases[i].part);
        (void)rig_run(g, 2000, NULL, NULL);
        assert_false(saves_pending(container_of(
            container_of(g->engine->homes.next, struct home, link)->runs.next,
            struct run, link)));
        rig_free(g);
    }
}

static void a_slot_of_another_save_is_a_breach(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);
    const struct slots *s =
        container_of(g->engine->arenas.next, struct slots, link);
    uint32_t slot = 0;

    (void)state;
    rig_table(r, 1, 1, 2 * (uint64_t)RIG_CHUNK_BYTES);
    r->hold_after = 0;
    (void)rig_save(r, 10, 1, 2);
    (void)rig_save(r, 20, 2, 2);
    (void)rig_run(g, 1000, NULL, NULL);
    while (slot < s->count && s->slot[slot].owner != 2)
        slot++;
    assert_true(slot < s->count);
    assert_int_equal(s->slot[slot].state, SLOT_GRANTED);
    give(r, 1, 0, slot);
    assert_breach(r, "not granted");
    rig_free(g);
}

/*
 * Bytes at random.
 */

static void spoil(struct test_world *w, struct wr *frame)
{
    uint64_t how = test_random(w) % 4;

    if (frame->bytes == 0)
        return;
    if (how == 0) {
        frame->bytes = test_random(w) % (frame->bytes + 1);
        return;
    }
    for (uint64_t i = 0; i < how; i++) {
        size_t at = test_random(w) % frame->bytes;

        if (test_random(w) % 2)
            frame->data[at] ^= (uint8_t)(1u << (test_random(w) % 8));
        else
            frame->data[at] = (uint8_t)(test_random(w) % 2 ? 0xff : 0);
    }
}

static void encode_any(struct test_world *world, uint16_t type, struct wr *w)
{
    struct wire_open open = good_open();
    struct wire_hello greeting = {.magic = WIRE_MAGIC, .low = 1, .high = 1};
    struct wire_save save = {.step = test_random(world) % 4,
                             .table = 1,
                             .overload = (uint32_t)test_random(world) % 3};
    struct wire_chunks chunks = {.save = 1 + test_random(world) % 3};
    struct wire_arena arena = {.bytes = 1 << 20};
    struct wire_load load = {.table = 1, .is_collective = 1};
    struct wr inner = {0};

    switch (type) {
    case WIRE_HELLO:
        wire_hello_encode(&greeting, w);
        break;
    case WIRE_OPEN:
        wire_open_encode(&open, w);
        break;
    case WIRE_ARENA:
        wire_arena_encode(&arena, w);
        break;
    case WIRE_TABLE:
        wr_u32(w, (uint32_t)test_random(world) % 3);
        encode_one(&inner, "a.tensor", 200000);
        wr_bytes(w, inner.data, inner.bytes);
        break;
    case WIRE_SAVE:
        values_encode(NULL, 0, &inner);
        save.values = inner.data;
        save.values_bytes = (uint32_t)inner.bytes;
        wire_save_encode(&save, w);
        break;
    case WIRE_CHUNKS:
        for (uint32_t i = 0; i < 8; i++)
            wr_u32(&inner, (uint32_t)test_random(world) % 16);
        chunks.count = 4;
        chunks.pairs = inner.data;
        wire_chunks_encode(&chunks, w);
        break;
    case WIRE_LOAD:
        wire_load_encode(&load, w);
        break;
    default:
        for (uint64_t i = test_random(world) % 64; i > 0; i--)
            wr_u8(w, (uint8_t)(test_random(world) % 3));
        break;
    }
    wr_free(&inner);
}

static void hostile_frames_end_at_most_their_session(void **state)
{
    struct rig *g = rig_new(77);
    uint32_t breaches = 0;

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct rig_rank *r = rig_rank_new(g, 0, 1);
        char token[32];

        if (round % 3) {
            (void)snprintf(token, sizeof token, "token%d", round);
            rig_open(r, token);
            (void)rig_run(g, 2000, NULL, NULL);
            if (round % 3 == 2 && rig_joined(r)) {
                rig_arena(r, 8);
                rig_table(r, 1, 2, 4 * (uint64_t)RIG_CHUNK_BYTES);
            }
        }
        for (int i = 0; i < 60 && !is_hung_up(r); i++) {
            uint16_t type = (uint16_t)(test_random(g->world) % (WIRE_LAST + 3));
            struct wr w = {0};

            encode_any(g->world, type, &w);
            if (test_random(g->world) % 2)
                spoil(g->world, &w);
            rig_send(r, type, test_random(g->world) % 32 == 0, i, &w);
            wr_free(&w);
            (void)test_run(g->world, 1, NULL, NULL);
        }
        breaches += is_hung_up(r);
        rig_die(r);
        (void)test_run(g->world, 3000, NULL, NULL);
    }
    assert_true(breaches > 200);
    rig_free(g);
}

static void a_ninth_undecided_save_is_refused(void **state)
{
    struct rig *g = rig_new(1);
    struct rig_rank *r = joined(g);

    (void)state;
    r->hold_after = 0;
    for (uint64_t step = 1; step <= SESSION_SAVES_MAX; step++)
        (void)rig_save(r, step, step, 0);
    (void)rig_run(g, 50, NULL, NULL);
    assert_int_equal(r->error, 0);
    (void)rig_save(r, 9, 9, 0);
    (void)rig_run(g, 50, NULL, NULL);
    assert_int_equal(r->error, -EBUSY);
    assert_non_null(strstr(r->error_text, "undecided"));
    assert_false(is_hung_up(r));
    rig_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_in_common_is_used),
        cmocka_unit_test(no_version_in_common_names_both_ranges),
        cmocka_unit_test(bad_opens_fail_and_a_good_one_may_follow),
        cmocka_unit_test(a_rank_of_a_world_without_a_token_is_refused),
        cmocka_unit_test(a_second_process_of_a_rank_is_stale),
        cmocka_unit_test(a_session_may_end_while_it_opens),
        cmocka_unit_test(every_frame_out_of_order_is_a_breach),
        cmocka_unit_test(flags_that_mean_nothing_are_a_breach),
        cmocka_unit_test(close_ends_the_session_in_order),
        cmocka_unit_test(a_second_arena_is_refused),
        cmocka_unit_test(no_memory_for_an_arena_fails_the_request),
        cmocka_unit_test(a_table_may_come_in_many_frames),
        cmocka_unit_test(tables_that_claim_too_much_are_refused),
        cmocka_unit_test(a_table_of_too_many_boxes_is_refused),
        cmocka_unit_test(another_frame_within_a_table_is_a_breach),
        cmocka_unit_test(a_ninth_undecided_save_is_refused),
        cmocka_unit_test(a_table_that_is_too_large_is_a_breach),
        cmocka_unit_test(only_so_many_tables_are_kept),
        cmocka_unit_test(chunks_that_were_not_asked_for_are_a_breach),
        cmocka_unit_test(a_slot_of_another_save_is_a_breach),
        cmocka_unit_test(hostile_frames_end_at_most_their_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
