/*
 * manifest_write.c - a builder's content as a container.
 *
 * First the order of everything (manifest_order.c), then the size of every
 * table, one allocation, and then each table is filled at its place. Page
 * digests and the root come last. What is written is opened once more, so that
 * whatever a caller put in, nothing leaves here that manifest_open() refuses.
 */
#include "formats/manifest_builder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct writer {
    const struct manifest_builder *b;
    const struct mb_order *o;
    uint8_t *out;
    uint32_t table_count;
    uint64_t offset[MF_TABLE_KNOWN], count[MF_TABLE_KNOWN];
    uint64_t digests_at, bytes;
    uint64_t blob_used;
};

/* The place of a table in the output. */
#define TABLE(w, table) ((void *)((w)->out + (w)->offset[table]))

static void count_tables(struct writer *w, const struct layout *layout)
{
    const struct manifest_builder *b = w->b;
    const struct mb_order *o = w->o;
    uint64_t blob = 0;

    w->count[MF_AXIS] = layout->axis_count;
    w->count[MF_TENSOR] = MB_COUNT(b->tensors, struct mb_tensor);
    w->count[MF_REGION] = MB_COUNT(b->regions, struct mb_region);
    w->count[MF_DIM] = MB_COUNT(b->dims, uint64_t);
    w->count[MF_PIECE] = MB_COUNT(b->pieces, struct mf_piece);
    w->count[MF_CHUNK] = MB_COUNT(b->chunks, struct mf_chunk);
    w->count[MF_SEGMENT] = o->segment_count;
    w->count[MF_FILE] = o->file_count;
    w->count[MF_LOCATION] = w->count[MF_CHUNK];
    w->count[MF_RANK] = MB_COUNT(b->ranks, struct mf_rank);
    w->count[MF_VALUE] = o->value_count;
    w->count[MF_NOTE] = o->note_count;
    w->count[MF_SLOT] = mf_slot_count(w->count[MF_TENSOR]);
    for (uint64_t i = 0; i < w->count[MF_TENSOR]; i++)
        blob += MB_AT(b->tensors, struct mb_tensor, i)->name_bytes;
    for (uint64_t i = 0; i < o->file_count; i++)
        blob += MB_AT(b->files, struct mf_file, o->file_order[i])->name_bytes;
    for (uint64_t i = 0; i < o->value_count; i++) {
        const struct mb_value *v =
            MB_AT(b->values, struct mb_value, o->value_order[i]);

        blob += v->entry.name_bytes + v->entry.bytes;
    }
    for (uint64_t i = 0; i < o->note_count; i++) {
        const struct mf_note *n =
            MB_AT(b->notes, struct mf_note, o->note_order[i]);

        blob += (uint64_t)n->key_bytes + n->text_bytes;
    }
    w->count[MF_BLOB] = blob;
    w->count[MF_CHECK] = MB_COUNT(b->checks, struct mf_check);
    w->count[MF_TRUST] = MB_COUNT(b->trusts, struct mf_trust);
    w->table_count = w->count[MF_TRUST] ? MF_TABLE_KNOWN : MF_TABLE_COUNT;
}

/* Gives every table its place; the sums cannot overflow, since all of it is in
 * memory already. */
static void place_tables(struct writer *w)
{
    uint64_t at = MF_DIRECTORY_AT + w->table_count * sizeof(struct mf_entry);

    for (uint32_t i = 0; i < w->table_count; i++) {
        w->offset[i] = align_up(at, MF_ALIGN);
        at = w->offset[i] + w->count[i] * mf_entry_bytes[i];
    }
    w->digests_at = align_up(at, MF_ALIGN);
    w->bytes = w->digests_at +
               mf_page_count(w->digests_at) * sizeof(struct digest) +
               sizeof(struct mf_trailer);
}

/* Copies a text from the builder's strings; its place in the blob. */
static uint64_t put_blob(struct writer *w, uint64_t from, uint64_t bytes)
{
    uint64_t at = w->blob_used;

    if (bytes)
        memcpy((uint8_t *)TABLE(w, MF_BLOB) + at, w->b->strings.data + from,
               bytes);
    w->blob_used += bytes;
    return at;
}

static void put_tensors(struct writer *w)
{
    struct mf_tensor *to = TABLE(w, MF_TENSOR);

    for (uint64_t i = 0; i < w->count[MF_TENSOR]; i++, to++) {
        const struct mb_tensor *t =
            MB_AT(w->b->tensors, struct mb_tensor, w->o->tensor_order[i]);

        to->name = put_blob(w, t->name, t->name_bytes);
        to->name_bytes = t->name_bytes;
        to->dtype = (uint8_t)t->geometry.dtype;
        to->ndim = (uint8_t)t->geometry.ndim;
        to->flags = t->name_bytes && w->b->strings.data[t->name] == 1;
        memcpy(to->shape, t->geometry.shape, sizeof to->shape);
        to->logical_bytes = geometry_bytes(&t->geometry);
    }
}

/* Regions with their dims and pieces, and the tensors' ranges of them. */
static void put_regions(struct writer *w)
{
    const struct manifest_builder *b = w->b;
    struct mf_tensor *tensor = TABLE(w, MF_TENSOR);
    struct mf_region *to = TABLE(w, MF_REGION);
    uint64_t *dims = TABLE(w, MF_DIM), dim = 0, piece = 0;
    struct mf_piece *pieces = TABLE(w, MF_PIECE);

    for (uint64_t i = 0; i < w->count[MF_REGION]; i++, to++) {
        const struct mf_region *r =
            &MB_AT(b->regions, struct mb_region, w->o->region_order[i])->entry;
        uint64_t dim_count;

        *to = *r;
        to->tensor = w->o->tensor_place[r->tensor];
        dim_count = (uint64_t)r->box_count * 2 * tensor[to->tensor].ndim;
        if (dim_count)
            memcpy(dims + dim, MB_AT(b->dims, uint64_t, r->first_dim),
                   dim_count * sizeof *dims);
        to->first_dim = dim;
        to->first_piece = piece;
        dim += dim_count;
        for (uint32_t k = 0; k < r->piece_count; k++, piece++) {
            pieces[piece] =
                *MB_AT(b->pieces, struct mf_piece, r->first_piece + k);
            pieces[piece].region = (uint32_t)i;
            pieces[piece].chunk = w->o->chunk_place[pieces[piece].chunk];
        }
        tensor[to->tensor].region_count++;
    }
    for (uint64_t i = 1; i < w->count[MF_TENSOR]; i++)
        tensor[i].first_region =
            tensor[i - 1].first_region + tensor[i - 1].region_count;
}

static void put_chunks(struct writer *w)
{
    const struct manifest_builder *b = w->b;
    struct mf_chunk *chunk = TABLE(w, MF_CHUNK);
    struct mf_location *location = TABLE(w, MF_LOCATION);
    struct mf_segment *segment = TABLE(w, MF_SEGMENT);
    struct mf_file *file = TABLE(w, MF_FILE);

    for (uint64_t i = 0; i < w->count[MF_CHUNK]; i++) {
        uint32_t old = w->o->chunk_order[i];

        chunk[i] = *MB_AT(b->chunks, struct mf_chunk, old);
        chunk[i].segment = w->o->segment_place[chunk[i].segment];
        location[i] = *MB_AT(b->locations, struct mf_location, old);
        location[i].file = w->o->file_place[location[i].file];
    }
    for (uint64_t i = 0; i < w->count[MF_SEGMENT]; i++)
        segment[i] =
            *MB_AT(b->segments, struct mf_segment, w->o->segment_order[i]);
    for (uint64_t i = 0; i < w->count[MF_FILE]; i++) {
        file[i] = *MB_AT(b->files, struct mf_file, w->o->file_order[i]);
        file[i].name = put_blob(w, file[i].name, file[i].name_bytes);
    }
}

static void put_ranks(struct writer *w)
{
    struct mf_rank *to = TABLE(w, MF_RANK);
    uint64_t chunk = 0;

    for (uint64_t i = 0; i < w->count[MF_RANK]; i++) {
        to[i] = *MB_AT(w->b->ranks, struct mf_rank, w->o->rank_order[i]);
        to[i].first_chunk = chunk;
        chunk += to[i].chunk_count;
    }
}

static void put_values(struct writer *w)
{
    struct mf_value *value = TABLE(w, MF_VALUE);
    struct mf_note *note = TABLE(w, MF_NOTE);

    for (uint64_t i = 0; i < w->count[MF_VALUE]; i++) {
        value[i] =
            MB_AT(w->b->values, struct mb_value, w->o->value_order[i])->entry;
        value[i].name = put_blob(w, value[i].name, value[i].name_bytes);
        value[i].data = put_blob(w, value[i].data, value[i].bytes);
    }
    for (uint64_t i = 0; i < w->count[MF_NOTE]; i++) {
        note[i] = *MB_AT(w->b->notes, struct mf_note, w->o->note_order[i]);
        note[i].key = put_blob(w, note[i].key, note[i].key_bytes);
        note[i].text = put_blob(w, note[i].text, note[i].text_bytes);
    }
}

static void put_slots(struct writer *w)
{
    const struct mf_tensor *tensor = TABLE(w, MF_TENSOR);
    const uint8_t *blob = TABLE(w, MF_BLOB);
    struct mf_slot *slot = TABLE(w, MF_SLOT);
    uint64_t mask = w->count[MF_SLOT] - 1;

    for (uint64_t i = 0; i < w->count[MF_TENSOR]; i++) {
        uint64_t hash = hash_64(blob + tensor[i].name, tensor[i].name_bytes);
        uint64_t at = hash & mask;

        while (slot[at].tensor_plus_1)
            at = (at + 1) & mask;
        slot[at] = (struct mf_slot){hash, i + 1};
    }
}

static int check_compare(const void *x, const void *y)
{
    const struct mf_check *one = x, *two = y;

    if (one->region != two->region)
        return one->region < two->region ? -1 : 1;
    return (one->start > two->start) - (one->start < two->start);
}

static int trust_compare(const void *x, const void *y)
{
    const struct mf_trust *one = x, *two = y;

    return (one->rank > two->rank) - (one->rank < two->rank);
}

static void put_trust(struct writer *w)
{
    const struct manifest_builder *b = w->b;
    struct mf_check *check = TABLE(w, MF_CHECK);
    struct mf_trust *trust = TABLE(w, MF_TRUST);

    if (w->count[MF_TRUST] == 0)
        return;
    for (uint64_t i = 0; i < w->count[MF_CHECK]; i++) {
        check[i] = *MB_AT(b->checks, struct mf_check, i);
        check[i].region = w->o->region_place[check[i].region];
    }
    for (uint64_t i = 0; i < w->count[MF_TRUST]; i++)
        trust[i] = *MB_AT(b->trusts, struct mf_trust, i);
    qsort(check, w->count[MF_CHECK], sizeof *check, check_compare);
    qsort(trust, w->count[MF_TRUST], sizeof *trust, trust_compare);
}

static void put_header(struct writer *w, const struct manifest_info *info,
                       const struct layout *layout)
{
    struct mf_header *h = (void *)w->out;
    struct mf_entry *entry = (void *)(w->out + MF_DIRECTORY_AT);
    struct mf_axis *axis = TABLE(w, MF_AXIS);
    const struct mf_location *location = TABLE(w, MF_LOCATION);
    const struct mf_tensor *tensor = TABLE(w, MF_TENSOR);
    const struct mf_rank *rank = TABLE(w, MF_RANK);

    memcpy(h->magic, mf_magic, sizeof h->magic);
    h->major = MF_VERSION_MAJOR;
    h->minor = w->table_count > MF_TABLE_COUNT ? MF_VERSION_MINOR : 0;
    h->total_bytes = w->bytes;
    h->digests_at = w->digests_at;
    h->table_count = w->table_count;
    h->kind = info->kind;
    h->incompatible = info->is_repacked ? MF_FEATURE_REPACKED : 0;
    h->world_size = info->world_size;
    h->chunk_bytes = info->chunk_bytes;
    h->run = info->run;
    h->daemon = info->daemon;
    h->id = info->id;
    h->parent = info->parent;
    h->created_unix_ms = info->created_unix_ms;
    h->written_bytes = w->b->written_bytes;
    for (uint64_t i = 0; i < w->count[MF_LOCATION]; i++)
        h->stored_bytes += chunk_extent_bytes(location[i].payload_bytes);
    if (info->kind != MANIFEST_CHECKPOINT)
        for (uint64_t i = 0; i < w->count[MF_RANK]; i++)
            h->logical_bytes += rank[i].logical_bytes;
    else
        for (uint64_t i = 0; i < w->count[MF_TENSOR]; i++)
            h->logical_bytes += tensor[i].logical_bytes;
    for (uint32_t i = 0; i < w->table_count; i++)
        entry[i] = (struct mf_entry){i, mf_entry_bytes[i], w->offset[i],
                                     w->count[i], 0};
    for (uint32_t i = 0; i < layout->axis_count; i++) {
        memcpy(axis[i].name, layout->axis[i].name,
               strnlen(layout->axis[i].name, AXIS_NAME_BYTES - 1));
        axis[i].degree = layout->axis[i].degree;
    }
}

void mf_seal(void *data, uint64_t digests_at)
{
    uint8_t *out = data;
    uint64_t pages = mf_page_count(digests_at);
    struct digest *digest = (void *)(out + digests_at);
    struct mf_trailer *t = (void *)(digest + pages);

    for (uint64_t i = 0; i < pages; i++) {
        uint64_t start = i * MANIFEST_PAGE_BYTES;

        digest[i] = hash_128(out + start,
                             min_u64(MANIFEST_PAGE_BYTES, digests_at - start));
    }
    t->total_bytes = (uint64_t)((uint8_t *)(t + 1) - out);
    memcpy(t->magic, mf_trailer_magic, sizeof t->magic);
    t->root =
        hash_128(digest, (size_t)((uint8_t *)&t->root - (uint8_t *)digest));
}

static int write_check(struct manifest_builder *b, const struct layout *layout,
                       struct err *err)
{
    if (b->failed)
        return err_set(err, b->failed, "manifest: its builder failed before");
    if (mb_memory(b, err)) /* who added to it need not have asked */
        return b->failed;
    if (MB_COUNT(b->regions, struct mb_region) > UINT32_MAX ||
        MB_COUNT(b->chunks, struct mf_chunk) > UINT32_MAX ||
        MB_COUNT(b->tensors, struct mb_tensor) > UINT32_MAX ||
        MB_COUNT(b->values, struct mb_value) > UINT32_MAX)
        return err_set(err, -EFBIG, "manifest: more than 2^32 - 1 entries");
    if (b->has_vote && !layout_equal(&b->layout, layout))
        return err_set(err, -CKPT_ECONFLICT,
                       "manifest: its layout is not that of its votes");
    return layout_check(layout, err);
}

static int write_out(struct writer *w, const struct manifest_info *info,
                     const struct layout *layout, struct err *err)
{
    struct manifest check;
    int rc;

    count_tables(w, layout);
    place_tables(w);
    if (w->bytes > MANIFEST_MAX_BYTES)
        return err_set(err, -EFBIG, "manifest: %" PRIu64 " bytes", w->bytes);
    w->out = aligned_alloc(MF_ALIGN, align_up(w->bytes, MF_ALIGN));
    if (!w->out)
        return err_set(err, -ENOMEM,
                       "manifest: no memory for %" PRIu64 " bytes", w->bytes);
    memset(w->out, 0, align_up(w->bytes, MF_ALIGN));
    put_tensors(w);
    put_regions(w);
    put_chunks(w);
    put_ranks(w);
    put_values(w);
    put_slots(w);
    put_trust(w);
    put_header(w, info, layout);
    mf_seal(w->out, w->digests_at);
    rc = manifest_open(w->out, w->bytes, &check, err);
    if (rc == 0)
        return 0;
    free(w->out);
    err->code = -EINVAL;
    return err_prefix(err, "what was to be written makes no sense");
}

int manifest_write(struct manifest_builder *b, const struct manifest_info *info,
                   const struct layout *layout, void **data, size_t *bytes,
                   struct err *err)
{
    struct writer w = {.b = b};
    struct mb_order order;
    int rc = write_check(b, layout, err);

    if (rc)
        return rc;
    rc = mb_order_init(&order, b, layout, err);
    if (rc)
        return rc;
    w.o = &order;
    rc = write_out(&w, info, layout, err);
    mb_order_fini(&order);
    if (rc)
        return rc;
    *data = w.out;
    *bytes = w.bytes;
    return 0;
}
