/*
 * manifest_order.c - the one order that a manifest's entries have, whatever
 * the order in which they came: ranks by number, tensors by name, regions by
 * (tensor, rank, the rank's own order), chunks by rank, segments and files by
 * first use, values and notes by key. So two committers write the same tables.
 *
 * Ranks, tensors, values and notes are sorted; all else follows by counting.
 * Values of one key must be equal: here is where they are compared.
 */
#include "formats/manifest_builder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static uint32_t *order_new(size_t count)
{
    uint32_t *order = calloc(count ? count : 1, sizeof *order);

    for (size_t i = 0; order && i < count; i++)
        order[i] = (uint32_t)i;
    return order;
}

static int rank_compare(const void *x, const void *y, void *context)
{
    const struct manifest_builder *b = context;
    uint32_t one = MB_AT(b->ranks, struct mf_rank, *(const uint32_t *)x)->rank;
    uint32_t two = MB_AT(b->ranks, struct mf_rank, *(const uint32_t *)y)->rank;

    return one < two ? -1 : one > two;
}

static int text_compare(const struct manifest_builder *b, uint64_t x,
                        size_t x_bytes, uint64_t y, size_t y_bytes)
{
    const char *s = (const char *)b->strings.data;

    return mf_name_compare(s + x, x_bytes, s + y, y_bytes);
}

static int tensor_compare(const void *x, const void *y, void *context)
{
    const struct manifest_builder *b = context;
    const struct mb_tensor *one =
        MB_AT(b->tensors, struct mb_tensor, *(const uint32_t *)x);
    const struct mb_tensor *two =
        MB_AT(b->tensors, struct mb_tensor, *(const uint32_t *)y);

    return text_compare(b, one->name, one->name_bytes, two->name,
                        two->name_bytes);
}

static int note_compare(const void *x, const void *y, void *context)
{
    const struct manifest_builder *b = context;
    uint32_t i = *(const uint32_t *)x, k = *(const uint32_t *)y;
    const struct mf_note *one = MB_AT(b->notes, struct mf_note, i);
    const struct mf_note *two = MB_AT(b->notes, struct mf_note, k);
    int c = text_compare(b, one->key, one->key_bytes, two->key, two->key_bytes);

    return c ? c : i < k ? -1 : i > k;
}

static int value_key_compare(const struct manifest_builder *b,
                             const struct mf_value *x, const struct mf_value *y)
{
    int c = text_compare(b, x->name, x->name_bytes, y->name, y->name_bytes);

    if (c)
        return c;
    if (x->axes != y->axes)
        return x->axes < y->axes ? -1 : 1;
    for (uint32_t i = 0; i < MAX_AXES; i++)
        if (x->coordinate[i] != y->coordinate[i])
            return x->coordinate[i] < y->coordinate[i] ? -1 : 1;
    return 0;
}

static int value_compare(const void *x, const void *y, void *context)
{
    const struct manifest_builder *b = context;
    const struct mb_value *one =
        MB_AT(b->values, struct mb_value, *(const uint32_t *)x);
    const struct mb_value *two =
        MB_AT(b->values, struct mb_value, *(const uint32_t *)y);
    int c = value_key_compare(b, &one->entry, &two->entry);

    return c ? c : one->rank < two->rank ? -1 : one->rank > two->rank;
}

/* order -> place, its inverse. */
static uint32_t *place_new(const uint32_t *order, size_t count)
{
    uint32_t *place = calloc(count ? count : 1, sizeof *place);

    for (size_t i = 0; place && i < count; i++)
        place[order[i]] = (uint32_t)i;
    return place;
}

/* Stable: `in` (a list of regions) by key[], which is below `keys`. */
static int counting_sort(const uint32_t *in, uint32_t *out, size_t count,
                         const uint32_t *key, size_t keys)
{
    size_t *start = calloc(keys + 1, sizeof *start);

    if (!start)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        start[key[in[i]] + 1]++;
    for (size_t i = 0; i < keys; i++)
        start[i + 1] += start[i];
    for (size_t i = 0; i < count; i++)
        out[start[key[in[i]]]++] = in[i];
    free(start);
    return 0;
}

/* Regions by tensor, then rank, then as they came. */
static int regions_sort(struct mb_order *o, const struct manifest_builder *b)
{
    size_t count = MB_COUNT(b->regions, struct mb_region);
    size_t ranks = MB_COUNT(b->ranks, struct mf_rank);
    uint32_t *rank_place = place_new(o->rank_order, ranks);
    uint32_t *key = order_new(count), *by_rank = order_new(count);
    int rc = -ENOMEM;

    o->region_order = order_new(count);
    if (!rank_place || !key || !by_rank || !o->region_order)
        goto err_free;
    for (size_t i = 0; i < count; i++)
        key[i] = rank_place[MB_AT(b->regions, struct mb_region, i)->rank_index];
    rc = counting_sort(o->region_order, by_rank, count, key, ranks);
    if (rc)
        goto err_free;
    for (size_t i = 0; i < count; i++)
        key[i] = o->tensor_place[MB_AT(b->regions, struct mb_region, i)
                                     ->entry.tensor];
    rc = counting_sort(by_rank, o->region_order, count, key,
                       MB_COUNT(b->tensors, struct mb_tensor));
err_free:
    free(rank_place);
    free(key);
    free(by_rank);
    return rc;
}

/* Chunks rank by rank; segments and files as they are first referred to. */
static int chunks_sort(struct mb_order *o, const struct manifest_builder *b)
{
    size_t chunks = MB_COUNT(b->chunks, struct mf_chunk), at = 0;
    size_t segments = MB_COUNT(b->segments, struct mf_segment);
    size_t files = MB_COUNT(b->files, struct mf_file);

    o->chunk_order = order_new(chunks);
    o->segment_order = order_new(segments);
    o->segment_place = order_new(segments);
    o->file_order = order_new(files);
    o->file_place = order_new(files);
    if (!o->chunk_order || !o->segment_order || !o->segment_place ||
        !o->file_order || !o->file_place)
        return -ENOMEM;
    for (size_t i = 0; i < MB_COUNT(b->ranks, struct mf_rank); i++) {
        const struct mf_rank *r =
            MB_AT(b->ranks, struct mf_rank, o->rank_order[i]);

        for (uint64_t k = 0; k < r->chunk_count; k++)
            o->chunk_order[at++] = (uint32_t)(r->first_chunk + k);
    }
    o->chunk_place = place_new(o->chunk_order, chunks);
    memset(o->segment_place, 0xff, segments * sizeof *o->segment_place);
    memset(o->file_place, 0xff, files * sizeof *o->file_place);
    for (size_t i = 0; i < chunks; i++) {
        uint32_t old = o->chunk_order[i];
        uint32_t s = MB_AT(b->chunks, struct mf_chunk, old)->segment;
        uint32_t f = MB_AT(b->locations, struct mf_location, old)->file;

        if (o->segment_place[s] == UINT32_MAX) {
            o->segment_place[s] = (uint32_t)o->segment_count;
            o->segment_order[o->segment_count++] = s;
        }
        if (o->file_place[f] == UINT32_MAX) {
            o->file_place[f] = (uint32_t)o->file_count;
            o->file_order[o->file_count++] = f;
        }
    }
    return o->chunk_place ? 0 : -ENOMEM;
}

static bool value_equal(const struct manifest_builder *b,
                        const struct mf_value *x, const struct mf_value *y)
{
    return x->type == y->type && x->bytes == y->bytes &&
           (x->bytes == 0 || memcmp(b->strings.data + x->data,
                                    b->strings.data + y->data, x->bytes) == 0);
}

/* Sorted, each key once; told twice they must be equal. */
static int values_sort(struct mb_order *o, struct manifest_builder *b,
                       const struct layout *layout, struct err *err)
{
    size_t count = MB_COUNT(b->values, struct mb_value);
    char at[256];

    o->value_order = order_new(count);
    if (!o->value_order)
        return -ENOMEM;
    qsort_r(o->value_order, count, sizeof(uint32_t), value_compare, b);
    for (size_t i = 0; i < count; i++) {
        const struct mb_value *v =
            MB_AT(b->values, struct mb_value, o->value_order[i]);
        const struct mb_value *last =
            o->value_count ? MB_AT(b->values, struct mb_value,
                                   o->value_order[o->value_count - 1])
                           : NULL;

        if (!last || value_key_compare(b, &last->entry, &v->entry) != 0) {
            o->value_order[o->value_count++] = o->value_order[i];
            continue;
        }
        if (value_equal(b, &last->entry, &v->entry))
            continue;
        coordinates_text(layout, v->entry.axes, v->entry.coordinate, at,
                         sizeof at);
        return err_set(err, -CKPT_ECONFLICT,
                       "value %.*s at %s: rank %" PRIu32 " and rank %" PRIu32
                       " differ",
                       (int)v->entry.name_bytes,
                       (const char *)b->strings.data + v->entry.name, at,
                       last->rank, v->rank);
    }
    return 0;
}

/* Sorted, the first of each key. */
static int notes_sort(struct mb_order *o, struct manifest_builder *b)
{
    size_t count = MB_COUNT(b->notes, struct mf_note);

    o->note_order = order_new(count);
    if (!o->note_order)
        return -ENOMEM;
    qsort_r(o->note_order, count, sizeof(uint32_t), note_compare, b);
    for (size_t i = 0; i < count; i++) {
        const struct mf_note *n =
            MB_AT(b->notes, struct mf_note, o->note_order[i]);
        const struct mf_note *last =
            o->note_count ? MB_AT(b->notes, struct mf_note,
                                  o->note_order[o->note_count - 1])
                          : NULL;

        if (!last || text_compare(b, last->key, last->key_bytes, n->key,
                                  n->key_bytes) != 0)
            o->note_order[o->note_count++] = o->note_order[i];
    }
    return 0;
}

int mb_order_init(struct mb_order *o, struct manifest_builder *b,
                  const struct layout *layout, struct err *err)
{
    size_t tensors = MB_COUNT(b->tensors, struct mb_tensor);
    size_t ranks = MB_COUNT(b->ranks, struct mf_rank);
    int rc = -ENOMEM;

    *o = (struct mb_order){0};
    o->rank_order = order_new(ranks);
    o->tensor_order = order_new(tensors);
    if (!o->rank_order || !o->tensor_order)
        goto err_fini;
    qsort_r(o->rank_order, ranks, sizeof(uint32_t), rank_compare, b);
    qsort_r(o->tensor_order, tensors, sizeof(uint32_t), tensor_compare, b);
    o->tensor_place = place_new(o->tensor_order, tensors);
    if (!o->tensor_place)
        goto err_fini;
    rc = regions_sort(o, b);
    if (rc == 0 && b->checks.bytes) {
        o->region_place =
            place_new(o->region_order, MB_COUNT(b->regions, struct mb_region));
        rc = o->region_place ? 0 : -ENOMEM;
    }
    if (rc == 0)
        rc = chunks_sort(o, b);
    if (rc == 0)
        rc = notes_sort(o, b);
    if (rc == 0)
        rc = values_sort(o, b, layout, err);
    if (rc == 0)
        return 0;
err_fini:
    mb_order_fini(o);
    return rc == -ENOMEM ? err_set(err, rc, "manifest: no memory to sort it")
                         : rc;
}

void mb_order_fini(struct mb_order *o)
{
    free(o->rank_order);
    free(o->tensor_order);
    free(o->tensor_place);
    free(o->region_order);
    free(o->region_place);
    free(o->chunk_order);
    free(o->chunk_place);
    free(o->segment_order);
    free(o->segment_place);
    free(o->file_order);
    free(o->file_place);
    free(o->value_order);
    free(o->note_order);
    *o = (struct mb_order){0};
}
