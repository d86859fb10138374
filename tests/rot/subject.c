/*
 * subject.c - see subject.h.
 *
 * Five steps with keep-last 2: the last one lands in segments that earlier ones
 * have used. Rank 1 saves the same bytes each time, so that its chunk is
 * referred to and not written again.
 */
#include "tests/rot/subject.h"

#include "formats/record.h"
#include "tests/lib/engine_rig.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS    5
#define LIMIT_MS 600000

const char *const part_name[PARTS] = {"decision with manifest",
                                      "segment header",
                                      "chunk header",
                                      "payload",
                                      "padding",
                                      "other record",
                                      "space of nobody"};

static void take(struct rig *g, struct image *out)
{
    struct record_store record = {.uuid = g->daemon->env.local_uuid};
    struct wr w = {0};

    /* Retention passes, and handles with their locks are let go. */
    (void)rig_run(g, 60000, NULL, NULL);
    image_take(out, test_world_store(g->world, RIG_HOME),
               test_world_store(g->world, "local/a"));
    record_store_encode(&record, &w);
    assert(!w.failed);
    image_add(out, "local/STORE", w.data, w.bytes);
    wr_free(&w);
}

/* What both ranks have saved, by tensors. */
static void note_truth(struct subject *s, int which, struct rig_rank **rank,
                       struct rig_save **save)
{
    for (uint32_t r = 0; r < SUBJECT_RANKS; r++) {
        uint32_t bytes = rank[r]->list.chunk[0].raw_bytes;
        uint8_t *raw = malloc(bytes);

        assert(raw && rank[r]->list.chunk_count == 1 &&
               rank[r]->list.piece_count == SUBJECT_TENSORS);
        rig_bytes(rank[r], save[r], 0, raw, bytes);
        for (uint32_t t = 0; t < SUBJECT_TENSORS; t++)
            memcpy(s->truth[which][r][t],
                   raw + rank[r]->list.piece[t].chunk_start, SUBJECT_BYTES);
        free(raw);
    }
}

static void save_all(struct subject *s)
{
    struct rig_shape shape = {.world_size = SUBJECT_RANKS,
                              .slots = 6,
                              .tensors = SUBJECT_TENSORS,
                              .tensor_bytes = SUBJECT_BYTES,
                              .codec = s->codec,
                              .entropy = s->codec == 1,
                              .keep_last = 2};
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig *g = rig_new(s->codec);

    rig_start(g, "saves", &shape, r);
    for (uint64_t i = 1; i <= STEPS; i++) {
        struct rig_save *v[SUBJECT_RANKS];

        if (i == STEPS)
            take(g, &s->before);
        v[0] = rig_save(r[0], 10 * i, i, 0);
        v[1] = rig_save(r[1], 10 * i, 1000, 0);
        (void)rig_run(g, LIMIT_MS, rig_all_decided, g);
        assert(v[0]->state == WIRE_STATE_COMMITTED);
        s->older = s->newest;
        s->newest = v[0]->id;
        memcpy(s->truth[1], s->truth[0], sizeof s->truth[0]);
        note_truth(s, 0, r, v);
    }
    take(g, &s->now);
    rig_free(g);
}

static void open_manifest(struct subject *s)
{
    char name[RECORD_NAME_BYTES];
    const struct image_file *f =
        image_find(&s->now, name_save(name, RIG_RUN, "decision", &s->newest));
    struct record_decision d;
    struct err err;
    int rc;

    assert(f);
    s->decision = aligned_alloc(64, align_up(f->bytes, 64));
    assert(s->decision);
    memcpy(s->decision, f->data, f->bytes);
    rc = record_decision_decode(s->decision, f->bytes, &d, &err);
    assert(rc == 0 && d.part_count == 0);
    rc = manifest_open(d.inline_bytes, d.manifest_bytes, &s->manifest, &err);
    assert(rc == 0);
    memset(s->part[f - s->now.file], PART_DECISION, f->bytes);
}

static void mark(struct subject *s, const struct image_file *f, uint64_t at,
                 uint64_t bytes, enum part part)
{
    assert(at + bytes <= f->bytes);
    memset(s->part[f - s->now.file] + at, (int)part, bytes);
}

static void mark_chunk(struct subject *s, uint64_t chunk)
{
    const struct manifest *m = &s->manifest;
    const struct mf_location *l = &m->location[chunk];
    const struct mf_file *file = &m->file[l->file];
    uint64_t extent = chunk_extent_bytes(l->payload_bytes);
    char name[IMAGE_NAME_BYTES];
    const struct image_file *f;

    (void)snprintf(name, sizeof name, "local/%.*s", (int)file->name_bytes,
                   m->blob + file->name);
    f = image_find(&s->now, name);
    assert(f);
    mark(s, f, 0, PAGE_BYTES, PART_SEGMENT_HEADER);
    mark(s, f, l->offset, PAGE_BYTES, PART_CHUNK_HEADER);
    mark(s, f, l->offset + PAGE_BYTES, l->payload_bytes, PART_PAYLOAD);
    mark(s, f, l->offset + PAGE_BYTES + l->payload_bytes,
         extent - PAGE_BYTES - l->payload_bytes, PART_PADDING);
}

void subject_make(struct subject *s, uint32_t codec)
{
    *s = (struct subject){.codec = codec};
    save_all(s);
    assert(s->now.count <= ARRAY_LEN(s->part));
    for (size_t i = 0; i < s->now.count; i++) {
        const struct image_file *f = &s->now.file[i];

        s->part[i] = malloc(f->bytes + 1);
        assert(s->part[i]);
        memset(s->part[i], image_is_segment(f) ? PART_SPARE : PART_RECORD,
               f->bytes);
    }
    open_manifest(s);
    for (uint64_t i = 0; i < s->manifest.chunk_count; i++)
        mark_chunk(s, i);
    for (size_t i = 0; i < s->now.count; i++)
        for (uint64_t k = 0; k < s->now.file[i].bytes; k++)
            s->owned_bytes += s->part[i][k] < PART_RECORD;
}

void subject_free(struct subject *s)
{
    for (size_t i = 0; i < s->now.count; i++)
        free(s->part[i]);
    image_free(&s->now);
    image_free(&s->before);
    free(s->decision);
}
