/*
 * make_corpus_wire.c - messages, streams of frames, ranks' doings, and what
 * users write (see make_corpus.c).
 */
#include "tests/fuzz/make_corpus.h"

#include "formats/wire.h"

#include <stdio.h>

#define ID                                                                     \
    {                                                                          \
        7, 2, 123456789012                                                     \
    }

static const uint8_t data[64] = {1, 0, 0, 0, 2, 0, 0, 0, 3};

/* One message alone, without its length. */
#define PUT(name, type, ...)                                                   \
    do {                                                                       \
        const struct wire_##name v = {__VA_ARGS__};                            \
                                                                               \
        wr_u8(&w, type);                                                       \
        wire_##name##_encode(&v, &w);                                          \
        corpus_put("wire", #name, &w);                                         \
    } while (0)

static const struct wire_open open_message = {
    .home = "/home",
    .run = "run",
    .token = "0",
    .host = "node7",
    .rank = 0,
    .world_size = 1,
    .layout = {{{"dp", 1}}, 1},
};

static void to_rank(void)
{
    struct wr w = {0};

    PUT(error, WIRE_ERROR, -28, "disk full");
    PUT(hello_ok, WIRE_HELLO_OK, 1, 2, {{3, 4}}, 1, "survives");
    PUT(open_ok, WIRE_OPEN_OK, {{9}}, 4, ID);
    PUT(arena_ok, WIRE_ARENA_OK, 65536, 2, {4096 + 2 * 69632, 69632}, 3);
    PUT(save_ok, WIRE_SAVE_OK, 17, ID);
    PUT(slots, WIRE_SLOTS, 17, 3, data);
    PUT(state, WIRE_STATE, 17, ID, WIRE_STATE_ABORTED, -5, "EIO");
    PUT(load_ok, WIRE_LOAD_OK, 18);
    PUT(load_begin, WIRE_LOAD_BEGIN, 18, ID, 2, 1 << 20, "why");
    PUT(deliver, WIRE_DELIVER, 18, 4, 1, 65536, 2, data, 40);
    PUT(delivered, WIRE_DELIVERED, 18);
    PUT(load_done, WIRE_LOAD_DONE, 18, ID, 0, 2, 1 << 30, "note");
    PUT(values_ok, WIRE_VALUES_OK, ID, {{{"dp", 4}}, 1}, data, data + 8, 8, 4);
    PUT(list_ok, WIRE_LIST_OK, 1, data, data);
    PUT(describe_ok, WIRE_DESCRIBE_OK, data, 20);
    PUT(drain_ok, WIRE_DRAIN_OK, 1, 9, 8, -28, "full");
}

static void to_daemon(void)
{
    const struct wire_header h = {64, WIRE_TABLE, WIRE_FLAG_MORE, 3};
    uint8_t header[WIRE_HEADER_BYTES];
    struct wr w = {0};

    PUT(hello, WIRE_HELLO, WIRE_MAGIC, 1, 3, 5);
    wr_u8(&w, WIRE_OPEN);
    wire_open_encode(&open_message, &w);
    corpus_put("wire", "open", &w);
    PUT(arena, WIRE_ARENA, (uint64_t)1 << 33);
    PUT(table, WIRE_TABLE, 6, data, sizeof data);
    PUT(save, WIRE_SAVE, .step = 99, .table = 1, .overload = 2,
        .max_uncommitted = 3, .values = data, .values_bytes = 9);
    PUT(chunks, WIRE_CHUNKS, 17, 2, data);
    PUT(cancel, WIRE_CANCEL, 17, -125, "fence");
    PUT(watch, WIRE_WATCH, ID);
    PUT(await, WIRE_AWAIT, ID);
    PUT(drain, WIRE_DRAIN, "/home", "run", ID);
    PUT(load, WIRE_LOAD, 2, 1, ID);
    PUT(load_vote, WIRE_LOAD_VOTE, 18, 2, -4001, "bad");
    PUT(values, WIRE_VALUES, ID);
    PUT(describe, WIRE_DESCRIBE, ID, 5);
    PUT(close, WIRE_CLOSE, 0);
    wr_u8(&w, 0);
    wire_header_encode(&h, header);
    wr_bytes(&w, header, sizeof header);
    corpus_put("wire", "header", &w);
    wr_u8(&w, WIRE_LAST + 1);
    wire_info_encode(&(struct wire_info){.id = ID, .tensor_count = 3}, &w);
    corpus_put("wire", "info", &w);
}

static void add_frame(struct wr *w, uint16_t type, uint16_t flags, uint64_t id,
                      struct wr *payload)
{
    const struct wire_header h = {(uint32_t)payload->bytes, type, flags, id};
    uint8_t header[WIRE_HEADER_BYTES];

    wire_header_encode(&h, header);
    wr_bytes(w, header, sizeof header);
    wr_bytes(w, payload->data, payload->bytes);
    wr_free(payload);
    *payload = (struct wr){0};
}

static void streams(void)
{
    struct wr w = {0}, p = {0};

    wr_u8(&w, 3);
    wire_hello_encode(&(struct wire_hello){WIRE_MAGIC, 1, 1, 0}, &p);
    add_frame(&w, WIRE_HELLO, 0, 1, &p);
    wire_open_encode(&open_message, &p);
    add_frame(&w, WIRE_OPEN, 0, 2, &p);
    wr_bytes(&p, data, sizeof data);
    add_frame(&w, WIRE_TABLE, WIRE_FLAG_MORE, 3, &p);
    add_frame(&w, WIRE_LIST, 0, 4, &p);
    wr_bytes(&w, data, 7);
    corpus_put("frames", "stream", &w);
    wr_u8(&w, 9);
    wr_bytes(&p, data, sizeof data);
    add_frame(&w, WIRE_TABLE, 0, 3, &p);
    wr_u16(&w, 200); /* a length that is too much */
    wr_u16(&w, 200);
    wr_bytes(&w, data, 20);
    corpus_put("frames", "breach", &w);
}

void corpus_wire(void)
{
    to_rank();
    to_daemon();
    streams();
}

/*
 * A rank of an engine, as fuzz_session.c plays it.
 */

static void step(struct wr *w, uint16_t type, struct wr *payload)
{
    wr_u8(w, 2); /* a frame, of peer 0 */
    wr_u8(w, 0);
    wr_u8(w, (uint8_t)type);
    wr_u8(w, 0);
    wr_u8(w, (uint8_t)type);
    wr_u16(w, (uint16_t)payload->bytes);
    wr_bytes(w, payload->data, payload->bytes);
    wr_free(payload);
    *payload = (struct wr){0};
    wr_u8(w, 4); /* time */
    wr_u8(w, 20);
}

static void begin(struct wr *w)
{
    struct wr p = {0};

    wr_u8(w, 0); /* connect, join as rank 0 of 1 */
    wr_u32(w, 1);
    wire_arena_encode(&(struct wire_arena){1 << 19}, &p);
    step(w, WIRE_ARENA, &p);
    wr_u32(&p, 1);
    corpus_table_add(&p, 0);
    step(w, WIRE_TABLE, &p);
}

static void saving(struct wr *w)
{
    static const uint8_t no_values[4];
    static const uint8_t pair[8];
    const struct wire_save v = {.step = 5,
                                .table = 1,
                                .max_uncommitted = 3,
                                .values = no_values,
                                .values_bytes = sizeof no_values};
    struct wr p = {0};

    wire_save_encode(&v, &p);
    step(w, WIRE_SAVE, &p);
    wr_u16(w, 5); /* fill the arenas with zeros */
    wire_chunks_encode(&(struct wire_chunks){1, 1, pair}, &p);
    step(w, WIRE_CHUNKS, &p);
    wr_u16(w, 0xff04); /* 65 s pass */
}

static void loading(struct wr *w)
{
    struct wr p = {0};

    wire_load_encode(&(struct wire_load){1, 0, {1, 0, 5}}, &p);
    step(w, WIRE_LOAD, &p);
    wire_slots_encode(&(struct wire_slots){2, 1, data + 4}, &p);
    step(w, WIRE_CONSUMED, &p);
    wire_load_vote_encode(&(struct wire_load_vote){2, 1, 0, ""}, &p);
    step(w, WIRE_LOAD_VOTE, &p);
}

void corpus_session(void)
{
    struct wr w = {0}, p = {0};

    begin(&w);
    saving(&w);
    corpus_put("session", "save", &w);
    begin(&w);
    saving(&w);
    loading(&w);
    step(&w, WIRE_LIST, &p);
    wire_values_encode(&(struct wire_values){{1, 0, 5}}, &p);
    step(&w, WIRE_VALUES, &p);
    wire_describe_encode(&(struct wire_describe){{1, 0, 5}, 0}, &p);
    step(&w, WIRE_DESCRIBE, &p);
    wire_watch_encode(&(struct wire_watch){{1, 0, 5}}, &p);
    step(&w, WIRE_WATCH, &p);
    wire_await_encode(&(struct wire_await){{1, 1, 5}}, &p);
    step(&w, WIRE_AWAIT, &p);
    wire_close_encode(&(struct wire_close){0}, &p);
    step(&w, WIRE_CLOSE, &p);
    corpus_put("session", "load", &w);
    begin(&w);
    wire_cancel_encode(&(struct wire_cancel){1, -125, "fence"}, &p);
    step(&w, WIRE_CANCEL, &p);
    wr_u16(&w, 3); /* peer 0 is gone; the next one has its token */
    wr_u8(&w, 0);
    wr_u32(&w, 1);
    corpus_put("session", "gone", &w);
    wr_u8(&w, 0); /* one that joins no run */
    wire_hello_encode(&(struct wire_hello){WIRE_MAGIC, 1, 1, 2}, &p);
    step(&w, WIRE_HELLO, &p);
    wire_drain_encode(&(struct wire_drain){"/home", "run", {1, 1, 5}}, &p);
    step(&w, WIRE_DRAIN, &p);
    corpus_put("session", "drain", &w);
}

/*
 * What users write. Texts are ended by NULs.
 */

static void text(const char *name, uint8_t what, const char *const texts[],
                 size_t count)
{
    struct wr w = {0};

    wr_u8(&w, what);
    if (what == 0) {
        wr_u8(&w, 0);
        wr_u32(&w, 0);
    }
    for (size_t i = 0; i < count; i++)
        wr_bytes(&w, texts[i], strlen(texts[i]) + 1);
    corpus_put("text", name, &w);
}

#define TEXT(name, what, ...)                                                  \
    do {                                                                       \
        static const char *const texts[] = {__VA_ARGS__};                      \
                                                                               \
        text(name, what, texts, ARRAY_LEN(texts));                             \
    } while (0)

void corpus_text(void)
{
    TEXT("open", 0, "run", "token", "RANK=1", "WORLD_SIZE=2", "CKPT_RANK=0",
         "CKPT_HOME=/tmp", "CKPT_LOCAL=x/y", "CKPT_SOCKET=/s");
    TEXT("slurm", 0, "run-2.x", "", "SLURM_PROCID=1", "SLURM_NTASKS=4",
         "SLURM_JOB_ID=7", "SLURM_STEP_ID=0", "SLURM_RESTART_COUNT=2");
    TEXT("pmix", 0, "r", "", "PMIX_RANK=0", "OMPI_COMM_WORLD_RANK=0",
         "OMPI_COMM_WORLD_SIZE=1", "PMIX_NAMESPACE=n",
         "OMPI_COMM_WORLD_LOCAL_SIZE=1");
    TEXT("ckptd", 1, "--local", "/x", "--foreground", "--linger", "5",
         "--keep-last=3", "--keep-every", "10", "--log-level", "debug",
         "--socket", "/s");
    TEXT("ls", 2, "ls", "--all", "--json", "run");
    TEXT("show", 2, "show", "--home", "file:///x", "run@100/2:a.b");
    TEXT("gc", 2, "gc", "--keep-last", "3", "--keep-every=2", "--dry-run",
         "--yes", "run");
    TEXT("verify", 2, "--deep", "verify", "run@latest", "--local", "/l");
    TEXT("train_lm", 3, "--home", "/x", "--dp", "2", "--tp", "2", "--steps",
         "10", "--lr", "1e-3", "--arena", "64M");
    TEXT("words", 4, "BF16", "F4", "debug", "F8_E4M3FNUZ");
}
