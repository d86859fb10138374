/*
 * world.c - see world.h.
 */
#include "tests/lib/world.h"

#include <errno.h>
#include <stdlib.h>

/* One rank on its way into the builder. */
struct part {
    const struct world_rank *rank;
    struct writelist list;
    struct built_chunk *built;
    uint8_t **chunk;
};

static int gather_entry(const struct world_rank *r, size_t entry,
                        const struct part *p)
{
    const struct entry *e = &r->entries[entry];
    const uint64_t *strides = r->strides ? r->strides[entry] : NULL;
    const struct wl_slice *slice = &p->list.slice[entry];
    struct slabs local, packed;
    int rc;

    if (!r->local || slice->piece_count == 0)
        return 0;
    rc = region_slabs(&e->geometry, &e->region, REGION_LOCAL, strides, &local);
    if (rc)
        return rc;
    rc = region_slabs(&e->geometry, &e->region, REGION_PACKED, NULL, &packed);
    for (uint32_t i = 0; rc == 0 && i < slice->piece_count; i++) {
        const struct wl_piece *piece = &p->list.piece[slice->first_piece + i];

        region_gather(&local, &packed, piece->region_start, piece->bytes,
                      r->local[entry],
                      p->chunk[piece->chunk] + piece->chunk_start);
    }
    slabs_free(&packed);
    slabs_free(&local);
    return rc;
}

/* Where the chunks lie: one file per rank, the last chunk first, so that the
 * order in files is not that of the manifest. */
static void place_chunks(struct part *p, uint32_t rank, uint32_t chunk_bytes)
{
    for (size_t i = 0; i < p->list.chunk_count; i++) {
        const struct wl_chunk *c = &p->list.chunk[i];
        struct built_chunk *b = &p->built[i];
        uint64_t slot = p->list.chunk_count - 1 - i;

        *b = (struct built_chunk){
            .segment.b = {1, (uint8_t)rank},
            .segment_store.b = {2},
            .file_store.b = {2},
            .file_segment.b = {1, (uint8_t)rank},
            .file_name = "seg/000001",
            .offset = PAGE_BYTES + slot * (PAGE_BYTES + chunk_bytes),
            .number = (uint32_t)i,
            .raw_bytes = c->raw_bytes,
            .payload_bytes = c->raw_bytes,
            .codec_param = 0,
            .content = hash_128(p->chunk[i], c->raw_bytes),
        };
        b->stored_digest = chunk_stored_digest(&b->segment, b->number,
                                               b->payload_bytes, &b->content);
    }
}

static int add_part(struct manifest_builder *b, struct part *p, uint32_t rank,
                    uint32_t chunk_bytes, struct err *err)
{
    const struct world_rank *r = p->rank;
    struct built_rank built = {.rank = rank,
                               .entries = r->entries,
                               .entry_count = r->count,
                               .list = &p->list};
    int rc = writelist_build(r->entries, r->count, chunk_bytes, &p->list);

    if (rc)
        return err_set(err, rc, "write list");
    p->built = calloc(p->list.chunk_count + 1, sizeof *p->built);
    p->chunk = calloc(p->list.chunk_count + 1, sizeof *p->chunk);
    if (!p->built || !p->chunk)
        return err_set(err, -ENOMEM, "chunks");
    for (size_t i = 0; i < p->list.chunk_count; i++) {
        p->chunk[i] = calloc(1, p->list.chunk[i].raw_bytes);
        if (!p->chunk[i])
            return err_set(err, -ENOMEM, "chunk");
    }
    for (size_t i = 0; rc == 0 && i < r->count; i++)
        rc = gather_entry(r, i, p);
    if (rc)
        return err_set(err, rc, "gather");
    place_chunks(p, rank, chunk_bytes);
    built.chunks = p->built;
    return manifest_add_rank(b, &built, err);
}

static void part_free(struct part *p)
{
    for (size_t i = 0; p->chunk && i < p->list.chunk_count; i++)
        free(p->chunk[i]);
    free(p->chunk);
    free(p->built);
    writelist_free(&p->list);
}

/* Hands the chunks over, in the manifest's order: that of ranks. */
static int take_chunks(struct world *w, struct part *parts, uint32_t count)
{
    w->chunk = calloc(w->m.chunk_count + 1, sizeof *w->chunk);
    if (!w->chunk)
        return -ENOMEM;
    for (uint32_t r = 0; r < count; r++) {
        for (size_t i = 0; i < parts[r].list.chunk_count; i++) {
            w->chunk[w->chunk_count++] = parts[r].chunk[i];
            parts[r].chunk[i] = NULL;
        }
    }
    return 0;
}

int world_save(struct world *w, const struct world_rank *ranks, uint32_t count,
               uint32_t chunk_bytes, struct err *err)
{
    struct manifest_builder *b = manifest_builder_new();
    struct part *parts = calloc(count + 1, sizeof *parts);
    struct manifest_info info = {
        .kind = MANIFEST_CHECKPOINT,
        .world_size = count,
        .chunk_bytes = chunk_bytes,
        .run.b = {3},
        .daemon.b = {4},
        .id = {.generation = 1, .attempt = 1, .step = 7},
    };
    struct layout layout = {0};
    size_t bytes;
    int rc = b && parts ? 0 : err_set(err, -ENOMEM, "no memory");

    *w = (struct world){0};
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        parts[i].rank = &ranks[i];
        rc = add_part(b, &parts[i], i, chunk_bytes, err);
    }
    if (rc == 0)
        rc = manifest_write(b, &info, &layout, &w->media, &bytes, err);
    if (rc == 0)
        rc = manifest_open(w->media, bytes, &w->m, err);
    if (rc == 0)
        rc = take_chunks(w, parts, count);
    for (uint32_t i = 0; parts && i < count; i++)
        part_free(&parts[i]);
    free(parts);
    manifest_builder_free(b);
    return rc;
}

void world_free(struct world *w)
{
    for (uint64_t i = 0; i < w->chunk_count; i++)
        free(w->chunk[i]);
    free(w->chunk);
    free(w->media);
    *w = (struct world){0};
}
