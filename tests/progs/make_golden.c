/*
 * make_golden.c - writes the golden home of format version 1 (tests/golden/v1):
 *
 *     make_golden FOLDER
 *
 * FOLDER/home is a home with its local store, FOLDER/expected.json what any
 * reader must find in it. Ids, times and contents are fixed, so that the same
 * sources (and the same liblz4) always write the same bytes.
 *
 * It uses formats/ for encoding and plain file I/O; which bytes a region holds
 * is worked out element by element here, from the whole tensor, so that the
 * expected digests depend on nothing that formats/ computes.
 *
 * The run "golden" has two ranks (dp=1, tp=2) under one daemon:
 *   gen 1  step 100 COMMIT, pinned; 200 ABORT; 200 attempt 1 COMMIT (manifest
 *          in two parts, one chunk reused from step 100's segment); 300 COMMIT
 *          and then removed
 *   gen 2  back at step 100; step 150 COMMIT
 *   gen 3  resumed at 150, whose load failed, then at 200: `latest` is 200
 */
#include "formats/codec.h"
#include "formats/manifest.h"
#include "formats/record.h"

#include <lz4.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define RUN       "golden"
#define RANKS     2
#define CREATED   1767225600000ull
#define TENSORS   64
#define BOXES     4
#define CHUNKS    64
#define VALUE_BIG ((uint64_t)66000)

/* How the two ranks share a tensor. */
enum how {
    HOW_VOCAB,   /* rows, padded to 64 */
    HOW_FUSED,   /* two boxes each */
    HOW_COLUMNS, /* halves of the columns */
    HOW_REPLICA, /* both hold all of it */
    HOW_ZERO,    /* four boxes in another order, cut unevenly */
    HOW_FLAT,    /* a flat cut of the whole */
    HOW_RANK0,
    HOW_RANK1,
};

struct spec {
    const char *name;
    struct geometry geometry;
    enum how how;
    bool is_smooth; /* compressible, and the same at every step */
    uint8_t *data;  /* the whole tensor */
    uint64_t bytes;
};

/* One save: its tensors, and what became of each rank's chunks. */
struct save {
    struct save_id id, parent;
    uint32_t segment; /* number of the file that it writes */
    bool has_big;
    struct spec spec[TENSORS];
    size_t count;
    struct built_chunk chunk[RANKS][CHUNKS];
    uint32_t chunk_count[RANKS];
    char zoo_name[DTYPE_LAST + 1][32];
};

/* A segment while it is filled. */
struct segment {
    struct id128 id;
    char name[16];
    uint32_t next;
    uint64_t bytes;
    uint8_t data[256 << 10];
};

static const struct layout layout = {.axis = {{"dp", 1}, {"tp", 2}},
                                     .axis_count = 2};
static struct segment segment;
static struct id128 home_id, store_id, run_id, daemon_id;
static char folder[512];
static struct err err;

static void die(const char *what)
{
    (void)fprintf(stderr, "make_golden: %s: %s\n", what, err.text);
    exit(1);
}

static void check(bool is_good, const char *what)
{
    if (!is_good)
        die(what);
}

/* Writes FOLDER/home/NAME with its folders. */
static void write_file(const char *name, const void *data, size_t bytes)
{
    char path[1200];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/home/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        (void)mkdir(path, 0755);
        *p = '/';
    }
    f = fopen(path, "wb");
    check(f && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0, path);
}

static void write_record(const char *name, struct wr *w)
{
    check(!w->failed, name);
    write_file(name, w->data, w->bytes);
    wr_free(w);
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static void fill(struct spec *s, uint64_t step)
{
    uint64_t seed = s->is_smooth ? 1 : step;

    for (const char *p = s->name; *p; p++)
        seed = mix(seed ^ (uint8_t)*p);
    s->bytes = geometry_bytes(&s->geometry);
    s->data = malloc(s->bytes + 1);
    check(s->data != NULL, "no memory");
    for (uint64_t i = 0; i < s->bytes; i++)
        s->data[i] = (uint8_t)mix(seed + i);
    for (uint64_t i = 0; s->geometry.dtype == DTYPE_BOOL && i < s->bytes; i++)
        s->data[i] &= 1;
    for (uint64_t i = 0; s->is_smooth && i + 4 <= s->bytes; i += 4) {
        float v = (float)((int)(mix(seed + i) % 401) - 200) / 1024;

        if (s->geometry.dtype == DTYPE_F32)
            memcpy(s->data + i, &v, 4);
        else
            memset(s->data + i, (int)(i / 64 % 251), 4);
    }
}

static struct spec *add(struct save *s, const char *name, enum how how,
                        struct geometry geometry)
{
    struct spec *spec = &s->spec[s->count++];

    *spec = (struct spec){.name = name, .geometry = geometry, .how = how};
    check(geometry_check(&spec->geometry, &err) == 0, name);
    return spec;
}

static void make_tensors(struct save *s)
{
    if (s->has_big)
        add(s, "model.big.weight", HOW_RANK0,
            (struct geometry){DTYPE_F32, 2, {136, 128}})
            ->is_smooth = true;
    add(s, "model.embed.weight", HOW_VOCAB,
        (struct geometry){DTYPE_BF16, 2, {50, 16}});
    add(s, "model.0.gate_up.weight", HOW_FUSED,
        (struct geometry){DTYPE_BF16, 2, {64, 16}});
    add(s, "model.0.down.weight", HOW_COLUMNS,
        (struct geometry){DTYPE_F16, 2, {16, 32}});
    add(s, "model.norm.weight", HOW_REPLICA,
        (struct geometry){DTYPE_F32, 1, {16}});
    add(s, "optim.0.gate_up.exp_avg", HOW_ZERO,
        (struct geometry){DTYPE_F32, 2, {64, 16}});
    add(s, "optim.flat", HOW_FLAT, (struct geometry){DTYPE_F64, 2, {7, 5}});
    add(s, "optim.step", HOW_REPLICA, (struct geometry){DTYPE_I64, 0, {0, 0}});
    add(s, "empty", HOW_REPLICA, (struct geometry){DTYPE_F32, 2, {0, 4}});
    add(s, "zoo.fp4.columns", HOW_COLUMNS,
        (struct geometry){DTYPE_F4, 2, {4, 16}});
    for (uint32_t d = DTYPE_BOOL; d <= DTYPE_LAST; d++) {
        (void)snprintf(s->zoo_name[d], sizeof s->zoo_name[d], "zoo.%s",
                       dtype_name(d));
        add(s, s->zoo_name[d], d % 2 ? HOW_RANK1 : HOW_RANK0,
            (struct geometry){d, 2, {3, 8}});
    }
    if (s->has_big)
        add(s, "\001extra/tp/0/table", HOW_RANK0,
            (struct geometry){DTYPE_U8, 1, {VALUE_BIG}})
            ->is_smooth = true;
    for (size_t i = 0; i < s->count; i++)
        fill(&s->spec[i], s->id.step * 10 + s->id.generation);
}

/* What a rank holds of a tensor; false: nothing. */
static bool make_entry(const struct spec *s, uint64_t rank, struct entry *e,
                       struct box box[BOXES])
{
    uint64_t rows = s->geometry.shape[0], columns = s->geometry.shape[1];
    static const uint64_t order[BOXES] = {1, 3, 0, 2};

    *e = (struct entry){s->name, s->geometry, {.boxes = box}, 0, 1};
    memset(box, 0, BOXES * sizeof *box);
    switch (s->how) {
    case HOW_VOCAB:
        e->region.box_count = 1;
        box[0] = (struct box){{rank * 32, 0}, {32, columns}};
        return true;
    case HOW_FUSED:
        e->region.box_count = 2;
        for (uint64_t k = 0; k < 2; k++)
            box[k] = (struct box){{k * rows / 2 + rank * rows / 4, 0},
                                  {rows / 4, columns}};
        return true;
    case HOW_COLUMNS:
        e->region.box_count = 1;
        box[0] = (struct box){{0, rank * columns / 2}, {rows, columns / 2}};
        return true;
    case HOW_REPLICA:
        e->replica_index = (uint32_t)rank;
        e->replica_count = RANKS;
        return true;
    case HOW_ZERO:
        e->region.box_count = BOXES;
        for (uint64_t k = 0; k < BOXES; k++)
            box[k] =
                (struct box){{order[k] * rows / 4, 0}, {rows / 4, columns}};
        e->region.is_cut = true;
        e->region.cut_start = rank ? 500 : 0;
        e->region.cut_count = rank ? rows * columns - 500 : 500;
        return true;
    case HOW_FLAT:
        e->region.is_cut = true;
        e->region.cut_start = rank ? 23 : 0;
        e->region.cut_count = rank ? rows * columns - 23 : 23;
        return true;
    case HOW_RANK0:
        return rank == 0;
    case HOW_RANK1:
        return rank == 1;
    }
    return false;
}

/* The packed bytes of an entry, unit by unit in local order. */
static void pack(const struct spec *s, const struct entry *e, struct wr *out)
{
    const struct geometry *g = &s->geometry;
    uint32_t bits = dtype_bits(g->dtype);
    uint64_t unit = bits < 8 ? 1 : bits / 8, at = 0;
    uint64_t scale = bits < 8 ? bits : 8; /* of the last dimension, in 8ths */
    uint64_t start = e->region.cut_start * scale / 8;
    uint64_t end = start + e->region.cut_count * scale / 8;
    uint64_t shape[2] = {1, 1};

    out->bytes = 0;
    for (uint32_t d = 0; d < g->ndim; d++)
        shape[2 - g->ndim + d] =
            d + 1 == g->ndim ? g->shape[d] * scale / 8 : g->shape[d];
    for (uint32_t k = 0; k < max_u64(e->region.box_count, 1); k++) {
        uint64_t offset[2] = {0, 0}, size[2] = {shape[0], shape[1]};

        for (uint32_t d = 0; e->region.box_count && d < g->ndim; d++) {
            uint64_t by = d + 1 == g->ndim ? scale : 8;

            offset[2 - g->ndim + d] = e->region.boxes[k].offset[d] * by / 8;
            size[2 - g->ndim + d] = e->region.boxes[k].size[d] * by / 8;
        }
        for (uint64_t i = 0; i < size[0] * size[1]; i++, at++) {
            uint64_t row = offset[0] + i / size[1];
            uint64_t column = offset[1] + i % size[1];

            if (row < shape[0] && column < shape[1] &&
                (!e->region.is_cut || (at >= start && at < end)))
                wr_bytes(out, s->data + (row * shape[1] + column) * unit, unit);
        }
    }
    check(!out->failed, "no memory");
}

/* Appends a chunk to the segment. */
static void put_chunk(struct built_chunk *c, uint32_t rank, const uint8_t *raw)
{
    static uint8_t payload[CHUNK_BYTES_MIN], scratch[CHUNK_BYTES_MIN + 64];
    uint8_t *at = segment.data + segment.bytes;
    struct chunk_header h = {.segment = segment.id,
                             .number = segment.next++,
                             .raw_bytes = c->raw_bytes,
                             .codec_param = c->codec_param,
                             .rank = rank,
                             .content = c->content};
    const void *from = raw;
    struct digest digest;

    h.payload_bytes = (uint32_t)codec_encode(
        CODEC_PLANES_LZ4, h.codec_param, raw, h.raw_bytes, payload,
        (size_t)h.raw_bytes * 3 / 4, scratch);
    if (h.payload_bytes) {
        h.codec = CODEC_PLANES_LZ4;
        from = payload;
    } else {
        h.payload_bytes = h.raw_bytes;
    }
    digest = hash_128(from, h.payload_bytes);
    h.stored_digest =
        chunk_stored_digest(&h.segment, h.number, h.payload_bytes, &digest);
    check(segment.bytes + chunk_extent_bytes(h.payload_bytes) <=
              sizeof segment.data,
          "segment is full");
    chunk_header_encode(&h, at);
    memcpy(at + PAGE_BYTES, from, h.payload_bytes);
    c->segment = c->file_segment = segment.id;
    c->segment_store = c->file_store = store_id;
    c->file_name = strdup(segment.name);
    c->offset = segment.bytes;
    c->number = h.number;
    c->payload_bytes = h.payload_bytes;
    c->codec = h.codec;
    c->stored_digest = h.stored_digest;
    segment.bytes += chunk_extent_bytes(h.payload_bytes);
}

/* A rank's raw chunks, laid out by its write list, reused or written. */
static void put_chunks(struct save *s, uint32_t rank, const struct writelist *l,
                       const struct wr *packed, const struct save *before)
{
    uint8_t raw[CHUNK_BYTES_MIN];

    check(l->chunk_count <= CHUNKS, "too many chunks");
    s->chunk_count[rank] = (uint32_t)l->chunk_count;
    for (uint32_t i = 0; i < l->chunk_count; i++) {
        const struct wl_chunk *w = &l->chunk[i];
        struct built_chunk *c = &s->chunk[rank][i];

        memset(raw, 0, sizeof raw);
        for (uint32_t k = 0; k < w->piece_count; k++) {
            const struct wl_piece *p = &l->piece[w->first_piece + k];

            memcpy(raw + p->chunk_start,
                   packed[p->entry].data + p->region_start, p->bytes);
        }
        c->raw_bytes = w->raw_bytes;
        c->codec_param = w->unit_bytes;
        c->content = hash_128(raw, w->raw_bytes);
        if (before && i < before->chunk_count[rank] &&
            digest_equal(&c->content, &before->chunk[rank][i].content)) {
            *c = before->chunk[rank][i];
            c->is_reused = true;
        } else {
            put_chunk(c, rank, raw);
        }
    }
}

static void put_rank(struct save *s, uint32_t rank, struct manifest_builder *b,
                     const struct save *before)
{
    static struct box box[TENSORS][BOXES];
    struct entry entry[TENSORS];
    struct wr packed[TENSORS] = {0}, table = {0};
    struct built_rank r = {.rank = rank,
                           .coordinate = {0, rank},
                           .daemon = daemon_id,
                           .entries = entry};
    struct writelist list;

    for (size_t i = 0; i < s->count; i++) {
        size_t n = r.entry_count;

        if (!make_entry(&s->spec[i], rank, &entry[n], box[n]))
            continue;
        check(entry_check(&entry[n], &err) == 0, s->spec[i].name);
        pack(&s->spec[i], &entry[n], &packed[n]);
        r.entry_count++;
    }
    check(writelist_build(entry, r.entry_count, CHUNK_BYTES_MIN, &list) == 0,
          "write list");
    for (size_t i = 0; i < r.entry_count; i++)
        check(packed[i].bytes == list.slice[i].packed_bytes, entry[i].name);
    put_chunks(s, rank, &list, packed, before);
    table_encode(entry, r.entry_count, &table);
    r.table = table_digest(table.data, table.bytes);
    r.list = &list;
    r.chunks = s->chunk[rank];
    check(manifest_add_rank(b, &r, &err) == 0, "add rank");
    for (size_t i = 0; i < r.entry_count; i++)
        wr_free(&packed[i]);
    wr_free(&table);
    writelist_free(&list);
}

/* The values of a rank; expected.json is written from the same list. */
static size_t make_values(const struct save *s, uint32_t rank,
                          struct value out[8], uint8_t scalar[8][32])
{
    double lr = 3.5e-4;
    size_t n = 0;

    put_u64(scalar[0], s->id.step * 4096);
    out[n++] = (struct value){"tokens", 6, VALUE_U64, 0, {0}, scalar[0], 8};
    put_u64(scalar[1], (uint64_t)-42);
    out[n++] = (struct value){"delta", 5, VALUE_I64, 0, {0}, scalar[1], 8};
    memcpy(scalar[2], &lr, 8);
    out[n++] = (struct value){"lr", 2, VALUE_F64, 0, {0}, scalar[2], 8};
    out[n++] = (struct value){
        "loader", 6, VALUE_STRING, 1, {0}, "shard 3, line 1.204.117", 23};
    for (size_t i = 0; i < 32; i++)
        scalar[4][i] = (uint8_t)mix(s->id.step + rank * 100ull + i);
    out[n++] =
        (struct value){"rng", 3, VALUE_BYTES, 3, {0, rank}, scalar[4], 32};
    return n;
}

/* The vote of the daemon; free() it. */
static void make_vote(struct save *s, const struct save *before, void **data,
                      size_t *bytes)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = RANKS,
                                 .chunk_bytes = CHUNK_BYTES_MIN,
                                 .run = run_id,
                                 .daemon = daemon_id,
                                 .id = s->id,
                                 .parent = s->parent,
                                 .created_unix_ms = CREATED + s->id.step};
    uint8_t scalar[8][32];
    struct value value[8];

    check(b != NULL, "no memory");
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        size_t n = make_values(s, rank, value, scalar);

        put_rank(s, rank, b, before);
        for (size_t i = 0; i < n; i++)
            check(manifest_add_value(b, rank, &value[i], &err) == 0, "value");
    }
    check(manifest_add_note(b, "host", "golden.example") == 0, "note");
    check(manifest_add_note(b, "job", "4711") == 0, "note");
    check(manifest_write(b, &info, &layout, data, bytes, &err) == 0, "vote");
    manifest_builder_free(b);
}

static void make_manifest(struct save *s, const void *vote, size_t vote_bytes,
                          void **data, size_t *bytes)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info;
    struct manifest m;

    check(manifest_open(vote, vote_bytes, &m, &err) == 0, "open vote");
    check(manifest_add_vote(b, &m, &err) == 0, "merge");
    info = m.info;
    info.kind = MANIFEST_CHECKPOINT;
    info.created_unix_ms += 5;
    check(manifest_write(b, &info, &layout, data, bytes, &err) == 0,
          "manifest");
    manifest_builder_free(b);
    (void)s;
}

static void put_mark(enum record_kind kind, const char *name,
                     const struct save_id *id, const char *note)
{
    struct record_mark mark = {.daemon = daemon_id, .created_unix_ms = CREATED};
    struct wr w = {0};

    if (id)
        mark.id = *id;
    (void)snprintf(mark.note, sizeof mark.note, "%s", note);
    record_mark_encode(kind, &mark, &w);
    write_record(name, &w);
}

/* The decision; its manifest inline, or in two parts before it. */
static void put_commit(const struct save *s, const uint8_t *data, size_t bytes,
                       bool in_parts)
{
    struct record_decision d = {.decision = DECISION_COMMIT,
                                .id = s->id,
                                .created_unix_ms = CREATED + s->id.step + 5,
                                .rank_count = RANKS,
                                .node_count = 1,
                                .layout = layout,
                                .committer = daemon_id,
                                .manifest_bytes = bytes,
                                .inline_bytes = data,
                                .part_count = in_parts ? 2 : 0};
    char name[RECORD_NAME_BYTES];
    struct manifest m;
    struct wr w = {0};

    check(manifest_open(data, bytes, &m, &err) == 0, "open manifest");
    d.logical_bytes = m.info.logical_bytes;
    d.stored_bytes = m.info.stored_bytes;
    d.tensor_count = m.tensor_count;
    d.manifest_root = m.root;
    if (in_parts) {
        write_file(name_part(name, RUN, "manifest", &s->id, &daemon_id, 0),
                   data, bytes / 2);
        write_file(name_part(name, RUN, "manifest", &s->id, &daemon_id, 1),
                   data + bytes / 2, bytes - bytes / 2);
    }
    record_decision_encode(&d, &w);
    write_record(name_save(name, RUN, "decision", &s->id), &w);
}

static void put_segment(const struct save *s)
{
    struct segment_header h = {.segment = segment.id,
                               .store = store_id,
                               .home = home_id,
                               .run = run_id,
                               .size_bytes = segment.bytes,
                               .save = s->id,
                               .home_path = "/golden/home",
                               .run_name = RUN};
    char name[64];

    segment_header_encode(&h, segment.data);
    (void)snprintf(name, sizeof name, "local/%s", segment.name);
    write_file(name, segment.data, segment.bytes);
}

static void put_save(struct save *s, const struct save *before, bool in_parts)
{
    char name[RECORD_NAME_BYTES];
    void *vote, *manifest;
    size_t vote_bytes, bytes;

    memset(&segment, 0, sizeof segment);
    memset(segment.id.b, (int)(0xa0 + s->segment), 16);
    (void)snprintf(segment.name, sizeof segment.name, "seg/%06u", s->segment);
    segment.bytes = PAGE_BYTES;
    make_tensors(s);
    put_mark(RECORD_INTENT,
             name_save_daemon(name, RUN, "intent", &s->id, &daemon_id), &s->id,
             "");
    make_vote(s, before, &vote, &vote_bytes);
    put_segment(s);
    write_file(name_save_daemon(name, RUN, "vote", &s->id, &daemon_id), vote,
               vote_bytes);
    make_manifest(s, vote, vote_bytes, &manifest, &bytes);
    put_commit(s, manifest, bytes, in_parts);
    free(vote);
    free(manifest);
}

static void put_abort(const struct save_id *id)
{
    struct record_decision d = {.decision = DECISION_ABORT,
                                .id = *id,
                                .code = -CKPT_EABORTED,
                                .reason = "rank 1 died before it was staged",
                                .created_unix_ms = CREATED + id->step,
                                .layout = layout,
                                .committer = daemon_id};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    put_mark(RECORD_INTENT,
             name_save_daemon(name, RUN, "intent", id, &daemon_id), id, "");
    record_decision_encode(&d, &w);
    write_record(name_save(name, RUN, "decision", id), &w);
}

static void put_generation(uint32_t generation, const struct save_id *parent)
{
    struct record_generation g = {.generation = generation,
                                  .world_size = RANKS,
                                  .created_unix_ms = CREATED + generation,
                                  .keep_last = 2,
                                  .decide_timeout_ms = 600000,
                                  .layout = layout};
    struct record_member m = {.daemon = daemon_id,
                              .host = "golden.example",
                              .rank_count = RANKS,
                              .rank = (uint32_t[]){0, 1}};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    if (parent)
        g.parent = *parent;
    (void)snprintf(g.token, sizeof g.token, "job.4711.%u", generation);
    record_generation_encode(&g, &w);
    write_record(name_gen(name, RUN, "gen", generation), &w);
    if (generation > 1)
        put_mark(RECORD_CLOSED, name_gen(name, RUN, "closed", generation - 1),
                 NULL, "");
    record_member_encode(&m, &w);
    write_record(name_member(name, RUN, generation, &daemon_id, 0), &w);
}

static void put_load(uint32_t generation, uint32_t k, const struct save_id *id,
                     uint32_t outcome)
{
    struct record_load l = {.id = *id,
                            .outcome = outcome,
                            .code = outcome == LOAD_FAILED ? -CKPT_ECORRUPT : 0,
                            .rank_count = RANKS};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    record_load_encode(&l, &w);
    write_record(name_load(name, RUN, generation, k, NULL), &w);
}

static void put_roots(void)
{
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    memset(home_id.b, 0x10, 16);
    memset(store_id.b, 0x20, 16);
    memset(run_id.b, 0x30, 16);
    daemon_id = store_id; /* a private daemon is named after its store */
    record_store_encode(&(struct record_store){home_id}, &w);
    write_record("STORE", &w);
    record_store_encode(&(struct record_store){store_id}, &w);
    write_record("local/STORE", &w);
    record_run_encode(&(struct record_run){run_id, CREATED}, &w);
    write_record(name_run(name, RUN, "RUN"), &w);
}

static void print_sha256(FILE *f, const void *data, size_t bytes)
{
    uint8_t sum[SHA256_DIGEST_LENGTH];

    SHA256(data, bytes, sum);
    for (size_t i = 0; i < sizeof sum; i++)
        (void)fprintf(f, "%02x", sum[i]);
}

static void print_values(FILE *f, const struct save *s)
{
    const char *comma = "";

    for (uint32_t rank = 0; rank < RANKS; rank++) {
        uint8_t scalar[8][32];
        struct value v[8];
        size_t n = make_values(s, rank, v, scalar);
        char at[64];

        for (size_t i = 0; i < n; i++) {
            if (rank && !(v[i].axes & 2))
                continue;
            coordinates_text(&layout, v[i].axes, v[i].coordinate, at,
                             sizeof at);
            (void)fprintf(f, "%s\n        \"%s at %s\": \"", comma, v[i].name,
                          at);
            for (size_t k = 0; k < v[i].bytes; k++)
                (void)fprintf(f, "%02x", ((const uint8_t *)v[i].data)[k]);
            (void)fprintf(f, "\"");
            comma = ",";
        }
    }
    if (s->has_big) {
        const struct spec *big = &s->spec[s->count - 1];

        (void)fprintf(f, "%s\n        \"table at tp=0\": \"sha256:", comma);
        print_sha256(f, big->data, big->bytes);
        (void)fprintf(f, "\"");
    }
}

static void print_save(FILE *f, const struct save *s, const char *comma)
{
    char id[SAVE_ID_TEXT_BYTES];
    const char *between = "";

    (void)fprintf(f, "    \"%s\": {\n      \"tensors\": {",
                  save_id_format(&s->id, id));
    for (size_t i = 0; i < s->count; i++) {
        const struct spec *t = &s->spec[i];

        if (t->name[0] == 1)
            continue;
        (void)fprintf(f, "%s\n        \"%s\": [\"%s\", [", between, t->name,
                      dtype_name(t->geometry.dtype));
        for (uint32_t d = 0; d < t->geometry.ndim; d++)
            (void)fprintf(f, "%s%lu", d ? ", " : "",
                          (unsigned long)t->geometry.shape[d]);
        (void)fprintf(f, "], \"");
        print_sha256(f, t->data, t->bytes);
        (void)fprintf(f, "\"]");
        between = ",";
    }
    (void)fprintf(f, "\n      },\n      \"values\": {");
    print_values(f, s);
    (void)fprintf(f, "\n      }\n    }%s\n", comma);
}

/* Saves in this order: 100, 200 attempt 1, 300 (removed), generation 2's 150.
 */
static void print_expected(const struct save save[4])
{
    char path[600], id[SAVE_ID_TEXT_BYTES];
    static const char *const state[] = {"committed", "committed", "removed",
                                        "committed"};
    struct save_id aborted = {1, 0, 200};
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/expected.json", folder);
    f = fopen(path, "w");
    check(f != NULL, path);
    (void)fprintf(f, "{\n  \"lz4\": %d,\n  \"run\": \"%s\",\n  \"saves\": {\n",
                  LZ4_versionNumber(), RUN);
    for (size_t i = 0; i < 4; i++)
        (void)fprintf(f, "    \"%s\": \"%s\",\n",
                      save_id_format(&save[i].id, id), state[i]);
    (void)fprintf(f, "    \"%s\": \"aborted\"\n  },\n",
                  save_id_format(&aborted, id));
    (void)fprintf(f, "  \"latest\": \"%s\",\n  \"checkpoints\": {\n",
                  save_id_format(&save[1].id, id));
    print_save(f, &save[0], ",");
    print_save(f, &save[1], ",");
    print_save(f, &save[3], "");
    (void)fprintf(f, "  }\n}\n");
    check(fclose(f) == 0, path);
}

int main(int argc, char **argv)
{
    static struct save save[4] = {
        {.id = {1, 0, 100}, .segment = 1, .has_big = true},
        {.id = {1, 1, 200}, .segment = 2, .has_big = true},
        {.id = {1, 0, 300}, .segment = 3},
        {.id = {2, 0, 150}, .parent = {1, 0, 100}, .segment = 4},
    };
    struct record_tomb tomb = {save[2].id, CREATED + 400, "keep-last 2"};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    if (argc != 2) {
        (void)fprintf(stderr, "usage: make_golden FOLDER\n");
        return 2;
    }
    (void)snprintf(folder, sizeof folder, "%s", argv[1]);
    put_roots();
    put_generation(1, NULL);
    put_save(&save[0], NULL, false);
    put_mark(RECORD_PIN, name_save(name, RUN, "pin", &save[0].id), &save[0].id,
             "the first");
    put_abort(&(struct save_id){1, 0, 200});
    put_save(&save[1], &save[0], true);
    put_mark(RECORD_VERIFIED, name_save(name, RUN, "verified", &save[1].id),
             &save[1].id, "");
    put_save(&save[2], NULL, false);
    record_tomb_encode(&tomb, &w);
    write_record(name_save(name, RUN, "tomb", &save[2].id), &w);
    put_generation(2, &save[0].id);
    put_load(2, 0, &save[0].id, LOAD_VERIFIED);
    put_save(&save[3], NULL, false);
    put_generation(3, &save[3].id);
    put_load(3, 0, &save[3].id, LOAD_FAILED);
    put_load(3, 1, &save[1].id, LOAD_VERIFIED);
    print_expected(save);
    return 0;
}
