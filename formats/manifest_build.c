/*
 * manifest_build.c - filling a builder with ranks, values and notes.
 *
 * Tensors, segments, files and ranks are found again through hash tables
 * (manifest_intern.c), so the time is linear in what is added. A failure (no
 * memory, a conflict) stays with the builder: it can only be freed then.
 */
#include "formats/manifest_builder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct manifest_builder *manifest_builder_new(void)
{
    return calloc(1, sizeof(struct manifest_builder));
}

void manifest_builder_free(struct manifest_builder *b)
{
    if (!b)
        return;
    wr_free(&b->strings);
    wr_free(&b->tensors);
    wr_free(&b->regions);
    wr_free(&b->dims);
    wr_free(&b->pieces);
    wr_free(&b->chunks);
    wr_free(&b->locations);
    wr_free(&b->segments);
    wr_free(&b->files);
    wr_free(&b->ranks);
    wr_free(&b->values);
    wr_free(&b->notes);
    wr_free(&b->checks);
    wr_free(&b->trusts);
    free(b->tensor_index.slot);
    free(b->segment_index.slot);
    free(b->file_index.slot);
    free(b->rank_index.slot);
    free(b);
}

int mb_memory(struct manifest_builder *b, struct err *err)
{
    if (b->strings.failed || b->tensors.failed || b->regions.failed ||
        b->dims.failed || b->pieces.failed || b->chunks.failed ||
        b->locations.failed || b->segments.failed || b->files.failed ||
        b->ranks.failed || b->values.failed || b->notes.failed ||
        b->checks.failed || b->trusts.failed)
        b->failed = err_set(err, -ENOMEM, "manifest: no memory to build it");
    return b->failed;
}

uint64_t mb_string(struct manifest_builder *b, const void *text, size_t bytes)
{
    uint64_t at = b->strings.bytes;

    wr_bytes(&b->strings, text, bytes);
    return at;
}

static int add_chunk(struct manifest_builder *b, uint32_t rank,
                     const struct built_chunk *from, struct err *err)
{
    struct mf_segment segment = {from->segment, from->segment_store};
    struct mf_file file = {.name_bytes = (uint32_t)strlen(from->file_name),
                           .store = from->file_store,
                           .segment = from->file_segment};
    int64_t s = mb_segment(b, &segment);
    int64_t f = mb_file(b, &file, from->file_name);
    struct mf_chunk *c = MB_ADD(b->chunks, struct mf_chunk, 1);
    struct mf_location *at = MB_ADD(b->locations, struct mf_location, 1);

    if (s < 0 || f < 0 || !c || !at) {
        b->chunks.failed = true;
        return mb_memory(b, err);
    }
    if (!chunk_sizes_are_good(from->raw_bytes, from->payload_bytes, from->codec,
                              from->codec_param)) {
        b->failed =
            err_set(err, -EINVAL,
                    "rank %" PRIu32 ": a chunk of %" PRIu32 " bytes, %" PRIu32
                    " stored, codec %" PRIu32,
                    rank, from->raw_bytes, from->payload_bytes, from->codec);
        return b->failed;
    }
    *c = (struct mf_chunk){(uint32_t)s, from->number, from->raw_bytes, rank,
                           from->content};
    *at = (struct mf_location){(uint32_t)f,       from->codec,
                               from->offset,      from->payload_bytes,
                               from->codec_param, from->stored_digest};
    if (!from->is_reused)
        b->written_bytes += chunk_extent_bytes(from->payload_bytes);
    return 0;
}

/* Boxes as they lie on media: ndim offsets, then ndim sizes, of each. */
static void add_boxes(struct manifest_builder *b, const struct entry *e)
{
    uint32_t ndim = e->geometry.ndim;

    for (uint32_t k = 0; k < e->region.box_count; k++) {
        const struct box *box = &e->region.boxes[k];
        uint64_t *to = MB_ADD(b->dims, uint64_t, 2 * (size_t)ndim);

        if (to && ndim) {
            memcpy(to, box->offset, ndim * sizeof *to);
            memcpy(to + ndim, box->size, ndim * sizeof *to);
        }
    }
}

static void add_pieces(struct manifest_builder *b, const struct wl_piece *from,
                       uint32_t count, uint64_t first_chunk)
{
    struct mf_piece *to = MB_ADD(b->pieces, struct mf_piece, count);

    for (uint32_t k = 0; to && k < count; k++)
        to[k] = (struct mf_piece){
            .region_start = from[k].region_start,
            .chunk = (uint32_t)(first_chunk + from[k].chunk),
            .chunk_start = from[k].chunk_start,
            .bytes = from[k].bytes,
        };
}

static int add_entry(struct manifest_builder *b, const struct built_rank *r,
                     size_t i, const struct mf_rank *rank, struct err *err)
{
    const struct entry *e = &r->entries[i];
    const struct wl_slice *slice = &r->list->slice[i];
    struct mb_tensor want = {.name_bytes = (uint32_t)strlen(e->name),
                             .first_rank = r->rank,
                             .geometry.dtype = e->geometry.dtype,
                             .geometry.ndim = e->geometry.ndim};
    struct mb_region *region;
    int64_t tensor;

    memcpy(want.geometry.shape, e->geometry.shape,
           e->geometry.ndim * sizeof e->geometry.shape[0]);
    tensor = mb_tensor(b, &want, e->name, err);
    if (tensor < 0)
        return (int)tensor;
    if (e->geometry.ndim == 0 && e->region.box_count > 1) {
        b->failed = err_set(err, -CKPT_ESHAPE,
                            "tensor %s: %" PRIu32 " boxes of no dimensions",
                            e->name, e->region.box_count);
        return b->failed;
    }
    region = MB_ADD(b->regions, struct mb_region, 1);
    if (!region)
        return mb_memory(b, err);
    region->rank_index = (uint32_t)(MB_COUNT(b->ranks, struct mf_rank) - 1);
    region->entry = (struct mf_region){
        .tensor = (uint32_t)tensor,
        .rank = r->rank,
        .first_dim = MB_COUNT(b->dims, uint64_t),
        .box_count = e->region.box_count,
        .is_cut = e->region.is_cut,
        .cut_start = e->region.is_cut ? e->region.cut_start : 0,
        .cut_count = e->region.is_cut ? e->region.cut_count : 0,
        .packed_bytes = slice->packed_bytes,
        .slice_start = slice->start,
        .slice_bytes = slice->bytes,
        .first_piece = MB_COUNT(b->pieces, struct mf_piece),
        .piece_count = slice->piece_count,
        .replica_index = e->replica_index,
        .replica_count = e->replica_count,
    };
    add_boxes(b, e);
    add_pieces(b, r->list->piece + slice->first_piece, slice->piece_count,
               rank->first_chunk);
    return 0;
}

/* Entry i became region first + i. */
static void add_trust(struct manifest_builder *b, const struct built_rank *r,
                      uint64_t first)
{
    struct mf_check *to;

    if (!r->trust)
        return;
    wr_bytes(&b->trusts, r->trust, sizeof *r->trust);
    to = MB_ADD(b->checks, struct mf_check, r->check_count);
    for (size_t i = 0; to && i < r->check_count; i++) {
        assert(r->checks[i].entry < r->entry_count);
        to[i] = r->checks[i].row;
        to[i].region = (uint32_t)(first + r->checks[i].entry);
    }
}

int manifest_add_rank(struct manifest_builder *b, const struct built_rank *r,
                      struct err *err)
{
    struct mf_rank rank = {
        .rank = r->rank,
        .daemon = r->daemon,
        .table = r->table,
        .first_chunk = MB_COUNT(b->chunks, struct mf_chunk),
        .chunk_count = r->list->chunk_count,
        .logical_bytes = r->list->bytes,
    };
    uint64_t first_region = MB_COUNT(b->regions, struct mb_region);
    int64_t rc;

    assert(r->list->slice_count == r->entry_count);
    if (b->failed)
        return err_set(err, b->failed, "manifest: its builder failed before");
    memcpy(rank.coordinate, r->coordinate, sizeof rank.coordinate);
    rc = mb_rank(b, &rank, err);
    for (size_t i = 0; i < r->list->chunk_count && rc >= 0; i++) {
        assert(r->chunks[i].raw_bytes == r->list->chunk[i].raw_bytes);
        rc = add_chunk(b, r->rank, &r->chunks[i], err);
    }
    for (size_t i = 0; i < r->entry_count && rc >= 0; i++)
        rc = add_entry(b, r, i, &rank, err);
    if (rc >= 0)
        add_trust(b, r, first_region);
    return rc < 0 ? (int)rc : mb_memory(b, err);
}

int manifest_add_value(struct manifest_builder *b, uint32_t rank,
                       const struct value *v, struct err *err)
{
    struct mb_value *to;

    if (b->failed)
        return err_set(err, b->failed, "manifest: its builder failed before");
    if (v->bytes > VALUE_INLINE_MAX) {
        b->failed = err_set(err, -EINVAL,
                            "value %.*s: %" PRIu64 " bytes do not go inline",
                            (int)v->name_bytes, v->name, v->bytes);
        return b->failed;
    }
    to = MB_ADD(b->values, struct mb_value, 1);
    if (!to)
        return mb_memory(b, err);
    to->rank = rank;
    to->entry = (struct mf_value){
        .name = mb_string(b, v->name, v->name_bytes),
        .data = mb_string(b, v->data, v->bytes),
        .bytes = v->bytes,
        .name_bytes = v->name_bytes,
        .type = v->type,
        .axes = v->axes,
    };
    memcpy(to->entry.coordinate, v->coordinate, sizeof to->entry.coordinate);
    return mb_memory(b, err);
}

int manifest_add_note(struct manifest_builder *b, const char *key,
                      const char *text)
{
    struct mf_note *note = MB_ADD(b->notes, struct mf_note, 1);
    struct err ignored;

    if (note) {
        note->key_bytes = (uint32_t)strlen(key);
        note->text_bytes = (uint32_t)strlen(text);
        note->key = mb_string(b, key, note->key_bytes);
        note->text = mb_string(b, text, note->text_bytes);
    }
    return mb_memory(b, &ignored);
}
