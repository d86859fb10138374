/*
 * fuzz_session.c - ranks that send what they like to a whole engine, in the
 * virtual world of tests/lib/test_env.h:
 *
 *     steps: u8 what (modulo STEPS), then
 *       connect
 *       join    u8 rank, u8 world size, u8 token: HELLO and OPEN as they
 *               should be
 *       frame   u8 peer, u8 type, u8 flags, u8 id, u16 length, payload
 *       gone    u8 peer
 *       time    u8: that many squared milliseconds
 *       fill    u8: all arenas, with that byte
 *
 * Up to PEERS_MAX peers, numbered as they connect. Whatever they do, a frame
 * that the engine sends has a good header, and in the end the engine stops in
 * order and gives back every arena and buffer.
 */
#include "tests/fuzz/fuzz.h"

#include "ckptd/engine/session.h"
#include "formats/chunk.h"
#include "formats/writelist.h"
#include "tests/lib/test_env.h"

#include <stdio.h>
#include <stdlib.h>

#define PEERS_MAX   4
#define STEPS_MAX   64
#define ARENA_BYTES ((uint64_t)512 << 10)
#define STATE_MAX   ((uint64_t)1 << 20)
#define STOP_MS     ((uint64_t)1000 * 1000 * 1000)

struct daemon {
    struct test_world *world;
    struct test_env *env;
    struct engine *engine;
    uint32_t peers;
    uint32_t gone; /* mask */
    bool is_ready, is_stopped;
};

static void on_ready(void *arg, int result, const struct err *err)
{
    (void)err;
    fuzz_check(result == 0);
    ((struct daemon *)arg)->is_ready = true;
}

static bool is_ready(void *arg)
{
    return ((struct daemon *)arg)->is_ready;
}

static void on_stopped(void *arg)
{
    ((struct daemon *)arg)->is_stopped = true;
}

static bool is_stopped(void *arg)
{
    return ((struct daemon *)arg)->is_stopped;
}

static void start(struct daemon *d)
{
    struct err err;

    *d = (struct daemon){.world = test_world_new(0)};
    d->env = test_env_new(d->world, "a");
    d->env->arena_bytes_max = ARENA_BYTES;
    fuzz_check(engine_open(&d->env->env, &d->engine, on_ready, d, &err) == 0);
    d->engine->chunk_bytes = CHUNK_BYTES_MIN;
    d->env->env.buffer_bytes = chunk_extent_bytes(CHUNK_BYTES_MIN);
    (void)test_run(d->world, 1000, is_ready, d);
    fuzz_check(d->is_ready);
}

/* Takes up what was sent. */
static void receive(struct daemon *d)
{
    for (uint32_t i = 0; i < d->peers; i++) {
        struct test_frame *f;

        while ((f = test_env_frame(d->env, i + 1))) {
            uint8_t header[WIRE_HEADER_BYTES];
            struct wire_header h;

            wire_header_encode(&f->header, header);
            fuzz_check(wire_header_decode(header, &h) == 0);
            free(f);
        }
    }
}

static void leave(struct daemon *d, uint32_t peer)
{
    if (d->gone & 1u << peer)
        return;
    d->gone |= 1u << peer;
    engine_peer_gone(d->engine, peer + 1);
}

static void give(struct daemon *d, uint32_t peer, const struct wire_header *h,
                 const void *payload)
{
    if (d->gone & 1u << peer)
        return;
    /* A connection that was hung up on ends. */
    if (test_env_hung_up(d->env, peer + 1))
        leave(d, peer);
    else
        engine_frame(d->engine, peer + 1, h, payload);
    receive(d);
}

static void turn(struct daemon *d, uint64_t ms)
{
    (void)test_run(d->world, ms, NULL, NULL);
    receive(d);
}

/* Whether this TABLE, with the frames before it, claims more than the stores
 * in memory should be asked for: that large tensors are found room for or
 * refused is not what is looked at here. */
static bool is_large_table(const struct daemon *d, uint32_t peer,
                           const struct wire_header *h, const uint8_t *payload)
{
    struct wire_table v;
    struct table t;
    struct wr w = {0};
    struct err err;
    uint64_t sum = 0;

    if (h->type != WIRE_TABLE || wire_table_decode(payload, h->length, &v))
        return false;
    LIST_FOR_EACH (node, &d->engine->sessions) {
        const struct session *s = container_of(node, struct session, link);

        if (s->peer == peer + 1 && s->partial_bytes.bytes)
            wr_bytes(&w, s->partial_bytes.data, s->partial_bytes.bytes);
    }
    wr_bytes(&w, v.data, v.bytes);
    if (table_decode(w.data, w.bytes, &t, &err) == 0) {
        for (size_t i = 0; i < t.count && sum <= STATE_MAX; i++)
            sum += min_u64(geometry_bytes(&t.entry[i].geometry), STATE_MAX + 1);
        table_free(&t);
    }
    wr_free(&w);
    return sum > STATE_MAX;
}

static void frame(struct daemon *d, struct rd *in)
{
    uint32_t peer = rd_u8(in) % PEERS_MAX;
    uint8_t raw[WIRE_HEADER_BYTES] = {0};
    struct wire_header h = {.type = rd_u8(in), .flags = rd_u8(in) & 1};
    size_t bytes;
    uint8_t *payload;

    h.id = rd_u8(in);
    payload = fuzz_exact(in, rd_u16(in), &bytes);
    h.length = (uint32_t)bytes;
    wire_header_encode(&h, raw);
    /* What does not pass here never gets to the engine (fuzz_frames.c). */
    if (peer < d->peers && wire_header_decode(raw, &h) == 0 &&
        !is_large_table(d, peer, &h, payload))
        give(d, peer, &h, payload);
    free(payload);
}

static void send_one(struct daemon *d, uint32_t peer, uint16_t type,
                     struct wr *w)
{
    struct wire_header h = {
        .length = (uint32_t)w->bytes, .type = type, .id = type};

    give(d, peer, &h, w->data);
    wr_free(w);
    *w = (struct wr){0};
}

static void join(struct daemon *d, struct rd *in)
{
    struct wire_hello hello = {WIRE_MAGIC, WIRE_VERSION_LOW, WIRE_VERSION_HIGH,
                               0};
    struct wire_open open = {.home = "/home", .run = "run", .host = "host"};
    struct wr w = {0};

    if (d->peers == 0)
        return;
    open.rank = rd_u8(in) & 3;
    open.world_size = open.rank + 1 + (rd_u8(in) & 1);
    (void)snprintf(open.token, sizeof open.token, "%u", rd_u8(in) & 3U);
    wire_hello_encode(&hello, &w);
    send_one(d, d->peers - 1, WIRE_HELLO, &w);
    wire_open_encode(&open, &w);
    send_one(d, d->peers - 1, WIRE_OPEN, &w);
    turn(d, 2000);
}

/* A rank may write into its arena whenever it likes; orphans are nobody's. */
static void fill(const struct daemon *d, uint8_t byte)
{
    LIST_FOR_EACH (node, &d->engine->arenas) {
        const struct env_arena *a =
            &container_of(node, struct slots, link)->arena;

        for (uint32_t i = 0; i < a->shape.piece_count; i++)
            memset(a->base[i] + PAGE_BYTES, byte,
                   a->shape.piece_bytes[i] - PAGE_BYTES);
    }
}

enum step {
    STEP_CONNECT,
    STEP_JOIN,
    STEP_FRAME,
    STEP_GONE,
    STEP_TIME,
    STEP_FILL,
    STEPS,
};

static void step(struct daemon *d, struct rd *in)
{
    uint64_t ms;
    uint32_t peer;

    switch ((enum step)(rd_u8(in) % STEPS)) {
    case STEP_CONNECT:
        if (d->peers < PEERS_MAX)
            engine_peer_new(d->engine, ++d->peers);
        break;
    case STEP_JOIN:
        join(d, in);
        break;
    case STEP_FRAME:
        frame(d, in);
        break;
    case STEP_GONE:
        peer = rd_u8(in) % PEERS_MAX;
        if (peer < d->peers)
            leave(d, peer);
        break;
    case STEP_TIME:
        ms = rd_u8(in);
        turn(d, ms * ms);
        break;
    case STEP_FILL:
        fill(d, rd_u8(in));
        break;
    case STEPS:
        break;
    }
}

static void end(struct daemon *d)
{
    for (uint32_t i = 0; i < d->peers; i++)
        leave(d, i);
    engine_stop(d->engine, on_stopped, d);
    if (!test_run(d->world, STOP_MS, is_stopped, d)) {
        engine_stop(d->engine, on_stopped, d);
        (void)test_run(d->world, STOP_MS, is_stopped, d);
    }
    fuzz_check(d->is_stopped);
    engine_close(d->engine);
    fuzz_check(d->env->arenas == 0 && d->env->buffers == 0);
    test_env_free(d->env);
    test_world_free(d->world);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    struct daemon d;

    (void)bytes;
    fuzz_allocations(0); /* a world is larger than its input */
    start(&d);
    for (uint32_t i = 0; i < STEPS_MAX && rd_left(in); i++)
        step(&d, in);
    end(&d);
}
