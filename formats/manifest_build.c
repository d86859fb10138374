/*
 * manifest_build.c - filling a builder with ranks, values and notes.
 *
 * Tensors, segments, files and ranks are found again through hash tables, so
 * the time is linear in what is added. A failure (no memory, a conflict) stays
 * with the builder: it can only be freed then.
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
        b->ranks.failed || b->values.failed || b->notes.failed)
        b->failed = err_set(err, -ENOMEM, "manifest: no memory to build it");
    return b->failed;
}

static int intern_grow(struct intern *t)
{
    size_t capacity = t->capacity ? t->capacity * 2 : 64;
    struct intern_slot *slot;

    if (t->used * 2 < t->capacity)
        return 0;
    slot = calloc(capacity, sizeof *slot);
    if (!slot)
        return -ENOMEM;
    for (size_t i = 0; i < t->capacity; i++) {
        size_t at = t->slot[i].hash & (capacity - 1);

        if (!t->slot[i].index_plus_1)
            continue;
        while (slot[at].index_plus_1)
            at = (at + 1) & (capacity - 1);
        slot[at] = t->slot[i];
    }
    free(t->slot);
    t->slot = slot;
    t->capacity = capacity;
    return 0;
}

/*
 * Walks the entries of that hash: start with *at = hash; the next index, or -1
 * when there is none; then *at is the slot for a new one. Room was made by
 * intern_grow().
 */
static int64_t intern_next(const struct intern *t, uint64_t hash, uint64_t *at)
{
    for (;; (*at)++) {
        const struct intern_slot *s = &t->slot[*at & (t->capacity - 1)];

        if (!s->index_plus_1)
            return -1;
        if (s->hash == hash) {
            (*at)++;
            return (int64_t)(s->index_plus_1 - 1);
        }
    }
}

static void intern_add(struct intern *t, uint64_t hash, uint64_t at,
                       uint64_t index)
{
    t->slot[at & (t->capacity - 1)] = (struct intern_slot){hash, index + 1};
    t->used++;
}

uint64_t mb_string(struct manifest_builder *b, const void *text, size_t bytes)
{
    uint64_t at = b->strings.bytes;

    wr_bytes(&b->strings, text, bytes);
    return at;
}

static int tensor_conflict(struct manifest_builder *b,
                           const struct mb_tensor *there,
                           const struct mb_tensor *want, const char *name,
                           struct err *err)
{
    char one[GEOMETRY_TEXT_BYTES], two[GEOMETRY_TEXT_BYTES];

    geometry_text(&there->geometry, one, sizeof one);
    geometry_text(&want->geometry, two, sizeof two);
    b->failed = err_set(err, -CKPT_ECONFLICT,
                        "tensor %.*s: rank %" PRIu32 " says %s, rank %" PRIu32
                        " says %s",
                        (int)want->name_bytes, name, there->first_rank, one,
                        want->first_rank, two);
    return b->failed;
}

static bool geometry_equal(const struct geometry *a, const struct geometry *b)
{
    return a->dtype == b->dtype && a->ndim == b->ndim &&
           memcmp(a->shape, b->shape, a->ndim * sizeof a->shape[0]) == 0;
}

int64_t mb_tensor(struct manifest_builder *b, const struct mb_tensor *want,
                  const char *name, struct err *err)
{
    uint64_t hash = hash_64(name, want->name_bytes), at = hash;
    struct mb_tensor *t;
    int64_t i;

    if (intern_grow(&b->tensor_index))
        goto err_memory;
    while ((i = intern_next(&b->tensor_index, hash, &at)) >= 0) {
        t = MB_AT(b->tensors, struct mb_tensor, i);
        if (t->name_bytes != want->name_bytes ||
            memcmp(b->strings.data + t->name, name, t->name_bytes) != 0)
            continue;
        if (geometry_equal(&t->geometry, &want->geometry))
            return i;
        return tensor_conflict(b, t, want, name, err);
    }
    t = MB_ADD(b->tensors, struct mb_tensor, 1);
    if (!t)
        goto err_memory;
    *t = *want;
    t->name = mb_string(b, name, want->name_bytes);
    i = (int64_t)MB_COUNT(b->tensors, struct mb_tensor) - 1;
    intern_add(&b->tensor_index, hash, at, (uint64_t)i);
    return i;
err_memory:
    b->tensors.failed = true;
    return mb_memory(b, err);
}

int64_t mb_segment(struct manifest_builder *b, const struct mf_segment *want)
{
    uint64_t hash = hash_64(want, sizeof *want), at = hash;
    struct mf_segment *s;
    int64_t i;

    if (intern_grow(&b->segment_index))
        return -ENOMEM;
    while ((i = intern_next(&b->segment_index, hash, &at)) >= 0)
        if (memcmp(MB_AT(b->segments, struct mf_segment, i), want,
                   sizeof *want) == 0)
            return i;
    s = MB_ADD(b->segments, struct mf_segment, 1);
    if (!s)
        return -ENOMEM;
    *s = *want;
    i = (int64_t)MB_COUNT(b->segments, struct mf_segment) - 1;
    intern_add(&b->segment_index, hash, at, (uint64_t)i);
    return i;
}

static bool file_is(const struct manifest_builder *b, const struct mf_file *f,
                    const struct mf_file *want, const char *name)
{
    return f->name_bytes == want->name_bytes &&
           id_equal(&f->store, &want->store) &&
           id_equal(&f->segment, &want->segment) &&
           memcmp(b->strings.data + f->name, name, f->name_bytes) == 0;
}

int64_t mb_file(struct manifest_builder *b, const struct mf_file *want,
                const char *name)
{
    uint64_t hash = hash_64(&want->segment, sizeof want->segment) ^
                    hash_64(name, want->name_bytes),
             at = hash;
    struct mf_file *f;
    int64_t i;

    if (intern_grow(&b->file_index))
        return -ENOMEM;
    while ((i = intern_next(&b->file_index, hash, &at)) >= 0)
        if (file_is(b, MB_AT(b->files, struct mf_file, i), want, name))
            return i;
    f = MB_ADD(b->files, struct mf_file, 1);
    if (!f)
        return -ENOMEM;
    *f = *want;
    f->name = mb_string(b, name, want->name_bytes);
    i = (int64_t)MB_COUNT(b->files, struct mf_file) - 1;
    intern_add(&b->file_index, hash, at, (uint64_t)i);
    return i;
}

int64_t mb_rank(struct manifest_builder *b, const struct mf_rank *want,
                struct err *err)
{
    uint64_t hash = hash_64(&want->rank, sizeof want->rank), at = hash;
    struct mf_rank *r;
    int64_t i;

    if (intern_grow(&b->rank_index))
        goto err_memory;
    while ((i = intern_next(&b->rank_index, hash, &at)) >= 0)
        if (MB_AT(b->ranks, struct mf_rank, i)->rank == want->rank) {
            b->failed = err_set(err, -CKPT_ECONFLICT,
                                "rank %" PRIu32 " is there twice", want->rank);
            return b->failed;
        }
    r = MB_ADD(b->ranks, struct mf_rank, 1);
    if (!r)
        goto err_memory;
    *r = *want;
    i = (int64_t)MB_COUNT(b->ranks, struct mf_rank) - 1;
    intern_add(&b->rank_index, hash, at, (uint64_t)i);
    return i;
err_memory:
    b->ranks.failed = true;
    return mb_memory(b, err);
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
