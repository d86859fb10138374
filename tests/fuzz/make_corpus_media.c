/*
 * make_corpus_media.c - what lies on media: extra state, records, header pages
 * and payloads, manifests, a home (see make_corpus.c).
 */
#include "tests/fuzz/make_corpus.h"

#include "formats/codec.h"
#include "formats/manifest_media.h"
#include "formats/record.h"

#include <stdio.h>
#include <stdlib.h>

#define RUN            "golden"
#define ENVELOPE_BYTES 32
#define DIGEST_BYTES   sizeof(struct digest)
#define CHUNK_HEADER   80
#define SEGMENT_HEADER 1384

static const struct layout layout = {{{"dp", 2}, {"tp", 4}}, 2};
static const struct save_id save = {3, 1, 77};
static const uint8_t data[16] = {1, 2, 3, 4, 5, 6, 7, 8};

/*
 * Extra state.
 */

static void values(void)
{
    const struct value v[] = {
        {"step", 4, VALUE_U64, 0, {0}, data, 8},
        {"lr", 2, VALUE_F64, 1, {1}, data, 8},
        {"loader", 6, VALUE_STRING, 2, {0, 3}, "shard 3", 7},
        {"rng/a", 5, VALUE_BYTES, 3, {1, 2}, data, sizeof data},
    };
    static const char *const words[] = {
        "\1\001extra///rng", "\1\001extra/dp,tp/1,3/rng/a", "\2dp,tp", "\2tp"};
    struct wr w = {0};
    char name[16];

    layout_encode(&layout, &w);
    wr_u8(&w, 0);
    values_encode(v, ARRAY_LEN(v), &w);
    corpus_put("values", "values", &w);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        layout_encode(&layout, &w);
        wr_bytes(&w, words[i], strlen(words[i]));
        (void)snprintf(name, sizeof name, "words%zu", i);
        corpus_put("values", name, &w);
    }
}

/*
 * Records.
 */

/* The body of an encoded record; empties `record`. */
static void record(uint8_t kind, const char *name, struct wr *encoded)
{
    struct wr w = {0};

    wr_u8(&w, kind);
    wr_u8(&w, 0);
    wr_bytes(&w, encoded->data + ENVELOPE_BYTES,
             encoded->bytes - ENVELOPE_BYTES - DIGEST_BYTES);
    corpus_put("record", name, &w);
    wr_free(encoded);
    *encoded = (struct wr){0};
}

static void small_records(void)
{
    uint32_t ranks[] = {0, 1, 5};
    const struct record_member member = {{{2}}, "node7", 3, ranks};
    const struct record_generation generation = {
        .generation = 2,
        .world_size = 8,
        .token = "job.1",
        .parent = save,
        .keep_last = 3,
        .layout = layout,
    };
    const struct record_load load = {.id = save,
                                     .outcome = LOAD_FAILED,
                                     .code = -CKPT_ECORRUPT,
                                     .reason = "segment gone",
                                     .rank_count = 3};
    const struct record_tomb tomb = {save, 5, "keep-last 2"};
    const struct record_mark mark = {save, {{2}}, 6, "note"};
    struct wr w = {0};

    record_store_encode(&(struct record_store){{{1}}}, &w);
    record(RECORD_STORE, "store", &w);
    record_run_encode(&(struct record_run){{{1}}, 7}, &w);
    record(RECORD_RUN, "run", &w);
    record_generation_encode(&generation, &w);
    record(RECORD_GENERATION, "generation", &w);
    record_member_encode(&member, &w);
    record(RECORD_MEMBER, "member", &w);
    record_load_encode(&load, &w);
    record(RECORD_LOAD, "load", &w);
    record_tomb_encode(&tomb, &w);
    record(RECORD_TOMB, "tomb", &w);
    record_parts_encode(&(struct record_parts){99, {{1}}, 2}, &w);
    record(RECORD_PARTS, "parts", &w);
    record_mark_encode(RECORD_PIN, &mark, &w);
    record(RECORD_PIN, "pin", &w);
    record_mark_encode(RECORD_INTENT, &mark, &w);
    record(RECORD_INTENT, "intent", &w);
}

static void decisions(void)
{
    struct record_decision d = {.decision = DECISION_COMMIT,
                                .id = save,
                                .logical_bytes = 9,
                                .tensor_count = 1,
                                .rank_count = 8,
                                .node_count = 2,
                                .layout = layout,
                                .manifest_bytes = sizeof data,
                                .manifest_root = {{1}},
                                .inline_bytes = data};
    struct wr w = {0};

    record_decision_encode(&d, &w);
    record(RECORD_DECISION, "commit", &w);
    d.part_count = 2;
    record_decision_encode(&d, &w);
    record(RECORD_DECISION, "commit_parts", &w);
    d = (struct record_decision){.decision = DECISION_ABORT,
                                 .id = save,
                                 .code = -CKPT_EABORTED,
                                 .reason = "rank 1 died",
                                 .layout = layout};
    record_decision_encode(&d, &w);
    record(RECORD_DECISION, "abort", &w);
}

/* As they lie on media: one of each folder of the golden home. */
static const struct {
    const char *folder, *name;
    uint8_t kind;
} lying[] = {
    {NULL, "RUN", RECORD_RUN},
    {"gen", "00000002", RECORD_GENERATION},
    {"gen", "00000003", RECORD_GENERATION},
    {"closed", "00000002", RECORD_CLOSED},
    {"decision", "00000001-00000000000000000100-0000", RECORD_DECISION},
    {"decision", "00000001-00000000000000000200-0000", RECORD_DECISION},
    {"tomb", "00000001-00000000000000000300-0000", RECORD_TOMB},
    {"load", "00000003.0", RECORD_LOAD},
    {"load", "00000003.1", RECORD_LOAD},
    {"pin", "00000001-00000000000000000100-0000", RECORD_PIN},
};

static void golden_record(size_t i, struct wr *home)
{
    char path[RECORD_NAME_BYTES], name[32];
    size_t bytes;
    struct wr w = {0};
    uint8_t *raw;

    (void)snprintf(path, sizeof path, "runs/" RUN "/%s%s%s",
                   lying[i].folder ? lying[i].folder : "",
                   lying[i].folder ? "/" : "", lying[i].name);
    raw = corpus_golden(path, &bytes);
    wr_u8(&w, lying[i].kind);
    wr_u8(&w, 1);
    wr_bytes(&w, raw, bytes);
    (void)snprintf(name, sizeof name, "golden%zu", i);
    corpus_put("record", name, &w);
    /* In a home small ones only, with a forged envelope. */
    if (lying[i].folder && bytes < 1024) {
        static const char *const folders[] = {
            "gen",      "closed", "member", "intent",   "vote", "manifest",
            "decision", "tomb",   "load",   "verified", "pin",  "lease"};
        uint8_t folder = 0;

        while (strcmp(folders[folder], lying[i].folder) != 0)
            folder++;
        wr_u8(home, folder);
        wr_u8(home, (uint8_t)strlen(lying[i].name));
        wr_bytes(home, lying[i].name, strlen(lying[i].name));
        wr_u8(home, lying[i].kind);
        wr_u16(home, (uint16_t)(bytes - ENVELOPE_BYTES - DIGEST_BYTES));
        wr_bytes(home, raw + ENVELOPE_BYTES,
                 bytes - ENVELOPE_BYTES - DIGEST_BYTES);
    }
    free(raw);
}

/*
 * Header pages and payloads.
 */

static void pages(void)
{
    struct chunk_header h = {.segment = {{9}},
                             .number = 3,
                             .raw_bytes = sizeof data,
                             .payload_bytes = sizeof data,
                             .rank = 1};
    struct segment_header s = {.segment = {{9}},
                               .size_bytes = 1 << 20,
                               .save = {3, 1, 77},
                               .home_path = "/home",
                               .run_name = "run"};
    uint8_t page[PAGE_BYTES];
    struct wr w = {0};

    chunk_header_encode(&h, page);
    wr_u16(&w, 0x100); /* 0, and to be made to fit */
    wr_bytes(&w, page, CHUNK_HEADER);
    wr_bytes(&w, data, sizeof data);
    corpus_put("chunk", "raw", &w);
    segment_header_encode(&s, page);
    wr_u8(&w, 1);
    wr_bytes(&w, page, SEGMENT_HEADER);
    corpus_put("chunk", "segment", &w);
}

static void payloads(void)
{
    uint8_t raw[1003], payload[sizeof raw], scratch[sizeof raw + 64];
    uint8_t page[PAGE_BYTES];
    struct wr w = {0};
    char name[16];

    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(i % 4 == 3 ? 0x3f : i * i / 50);
    for (uint8_t unit = 1; unit <= 8; unit = (uint8_t)(unit * 2)) {
        size_t bytes = codec_encode(CODEC_PLANES_LZ4, unit, raw, sizeof raw,
                                    payload, sizeof payload, scratch);
        struct chunk_header h = {.segment = {{9}},
                                 .raw_bytes = sizeof raw,
                                 .payload_bytes = (uint32_t)bytes,
                                 .codec = CODEC_PLANES_LZ4,
                                 .codec_param = unit};

        if (bytes == 0)
            continue;
        wr_u8(&w, 2);
        wr_u8(&w, CODEC_PLANES_LZ4);
        wr_u8(&w, unit);
        wr_u32(&w, sizeof raw);
        wr_bytes(&w, payload, bytes);
        (void)snprintf(name, sizeof name, "planes%u", unit);
        corpus_put("chunk", name, &w);
        chunk_header_encode(&h, page);
        wr_u16(&w, 0x100);
        wr_bytes(&w, page, CHUNK_HEADER);
        wr_bytes(&w, payload, bytes);
        (void)snprintf(name, sizeof name, "extent%u", unit);
        corpus_put("chunk", name, &w);
    }
}

void corpus_media(void)
{
    struct wr home = {0};

    values();
    small_records();
    decisions();
    for (size_t i = 0; i < ARRAY_LEN(lying); i++)
        golden_record(i, &home);
    corpus_put("home", "golden", &home);
    pages();
    payloads();
}
