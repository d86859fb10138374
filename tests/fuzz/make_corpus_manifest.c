/*
 * make_corpus_manifest.c - votes and manifests, small ones through the builder
 * and the golden ones, alone and with tables that want them (make_corpus.c).
 */
#include "tests/fuzz/make_corpus.h"

#include "formats/manifest_media.h"
#include "formats/tier.h"

#include <stdio.h>
#include <stdlib.h>

#define GOLDEN_VOTE                                                            \
    "runs/golden/vote/00000002-00000000000000000150-0000."                     \
    "20202020202020202020202020202020"

static void check(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    (void)fprintf(stderr, "make_corpus: %s\n", err->text);
    exit(1);
}

static void add_rank(struct manifest_builder *b, const struct table *t,
                     uint32_t rank)
{
    struct writelist list;
    struct built_chunk *chunks;
    struct built_rank r = {.rank = rank,
                           .coordinate = {rank},
                           .daemon = {{7}},
                           .entries = t->entry,
                           .entry_count = t->count,
                           .list = &list};
    struct err err = {.text = "write list"};

    check(writelist_build(t->entry, t->count, CHUNK_BYTES_MIN, &list), &err);
    chunks = calloc(list.chunk_count + 1, sizeof *chunks);
    for (size_t i = 0; i < list.chunk_count; i++)
        chunks[i] = (struct built_chunk){
            .segment = {{1}},
            .segment_store = {{7}},
            .file_store = {{7}},
            .file_segment = {{1}},
            .file_name = "seg/000001",
            .offset = PAGE_BYTES * (1 + i * 17),
            .number = (uint32_t)i,
            .raw_bytes = list.chunk[i].raw_bytes,
            .payload_bytes = list.chunk[i].raw_bytes,
            .content = {{(uint8_t)i}},
        };
    r.chunks = chunks;
    check(manifest_add_rank(b, &r, &err), &err);
    free(chunks);
    writelist_free(&list);
}

/* What is before the page digests. */
static void add_front(struct wr *w, const uint8_t *data)
{
    const struct mf_header *h = (const void *)data;

    wr_bytes(w, data, h->digests_at);
}

static uint8_t *build(const struct table *t, uint32_t kind)
{
    const struct manifest_info info = {.kind = kind,
                                       .world_size = 1,
                                       .chunk_bytes = CHUNK_BYTES_MIN,
                                       .id = {2, 0, 5},
                                       .parent = {1, 0, 4}};
    const struct layout layout = {{{"dp", 2}}, 1};
    const struct value v = {"step", 4, VALUE_U64, 0, {0}, "12345678", 8};
    struct manifest_builder *b = manifest_builder_new();
    void *data;
    size_t bytes;
    struct err err = {.text = "no memory"};

    add_rank(b, t, 0);
    check(manifest_add_value(b, 0, &v, &err), &err);
    check(manifest_add_note(b, "host", "node7"), &err);
    check(manifest_write(b, &info, &layout, &data, &bytes, &err), &err);
    manifest_builder_free(b);
    return data;
}

static void wanted(const uint8_t *front, size_t table, const char *name)
{
    const struct mf_header *h = (const void *)front;
    struct wr w = {0};

    wr_u16(&w, (uint16_t)(h->digests_at / 64));
    add_front(&w, front);
    corpus_table_add(&w, table);
    corpus_put("plan", name, &w);
}

/* A checkpoint, and the table of its one daemon. */
static void tiered(const struct table *t, const char *name)
{
    uint8_t *data = build(t, MANIFEST_CHECKPOINT);
    const struct mf_header *h = (const void *)data;
    const struct id128 daemon = {{7}};
    struct wr w = {0};
    struct manifest m;
    void *tier;
    size_t bytes;
    struct err err;

    check(manifest_open(data, h->total_bytes, &m, &err), &err);
    check(tier_build(&m, &daemon,
                     PAGE_BYTES + 2 * chunk_extent_bytes(CHUNK_BYTES_MIN),
                     &tier, &bytes, &err),
          &err);
    wr_u16(&w, (uint16_t)(h->digests_at / 64));
    add_front(&w, data);
    add_front(&w, tier);
    corpus_put("tier", name, &w);
    free(tier);
    free(data);
}

void corpus_manifests(void)
{
    /* Of what, and who wants it: not of the large ones. */
    static const size_t pairs[][2] = {{0, 0}, {0, 1}, {1, 1}, {1, 4}, {3, 3}};
    struct wr w = {0};
    uint8_t *data;
    size_t bytes;
    char name[32];

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        data = build(&corpus_table[pairs[i][0]],
                     i % 2 ? MANIFEST_VOTE : MANIFEST_CHECKPOINT);
        wr_u8(&w, 0);
        add_front(&w, data);
        (void)snprintf(name, sizeof name, "built%zu", i);
        corpus_put("manifest", name, &w);
        wanted(data, pairs[i][1], name);
        free(data);
    }
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "built%zu", i);
        tiered(&corpus_table[i], name);
    }
    data = corpus_golden(GOLDEN_VOTE, &bytes);
    wr_u8(&w, 1);
    wr_bytes(&w, data, bytes);
    corpus_put("manifest", "golden_whole", &w);
    free(data);
}
