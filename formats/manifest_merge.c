/*
 * manifest_merge.c - everything of an opened vote goes into a builder.
 *
 * The vote was checked when it was opened, so its indices are followed without
 * further checks. Tensors, segments and files are mapped once each, then its
 * tables are copied with new numbers: linear in the vote.
 */
#include "formats/manifest_builder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct merge {
    struct manifest_builder *b;
    const struct manifest *vote;
    uint32_t *tensor, *segment, *file; /* the builder's, by the vote's */
    uint64_t first_chunk, first_rank;  /* the builder's */
};

/* Votes must speak of one save in one layout. */
static int merge_agree(struct manifest_builder *b, const struct manifest *vote,
                       struct err *err)
{
    char one[256], two[256];

    if (!b->has_vote) {
        b->has_vote = true;
        b->layout = vote->layout;
        b->run = vote->info.run;
        b->id = vote->info.id;
        return 0;
    }
    if (!id_equal(&b->run, &vote->info.run) ||
        save_id_compare(&b->id, &vote->info.id) != 0) {
        (void)save_id_format(&b->id, one);
        (void)save_id_format(&vote->info.id, two);
        return err_set(err, -CKPT_ECONFLICT,
                       "votes are of different saves: %s and %s", one, two);
    }
    if (layout_equal(&b->layout, &vote->layout))
        return 0;
    layout_text(&b->layout, one, sizeof one);
    layout_text(&vote->layout, two, sizeof two);
    return err_set(err, -CKPT_ECONFLICT,
                   "votes are of different layouts: %s and %s", one, two);
}

static int merge_tensors(struct merge *x, struct err *err)
{
    const struct manifest *v = x->vote;

    for (uint64_t i = 0; i < v->tensor_count; i++) {
        const struct mf_tensor *t = &v->tensor[i];
        struct mb_tensor want = {
            .name_bytes = t->name_bytes,
            .first_rank = t->region_count ? v->region[t->first_region].rank : 0,
        };
        int64_t index;

        manifest_geometry(v, i, &want.geometry);
        index = mb_tensor(x->b, &want, v->blob + t->name, err);
        if (index < 0)
            return (int)index;
        x->tensor[i] = (uint32_t)index;
    }
    return 0;
}

static int merge_places(struct merge *x)
{
    const struct manifest *v = x->vote;

    for (uint64_t i = 0; i < v->segment_count; i++) {
        int64_t index = mb_segment(x->b, &v->segment[i]);

        if (index < 0)
            return (int)index;
        x->segment[i] = (uint32_t)index;
    }
    for (uint64_t i = 0; i < v->file_count; i++) {
        int64_t index = mb_file(x->b, &v->file[i], v->blob + v->file[i].name);

        if (index < 0)
            return (int)index;
        x->file[i] = (uint32_t)index;
    }
    return 0;
}

static int merge_chunks(struct merge *x, struct err *err)
{
    const struct manifest *v = x->vote;
    struct mf_chunk *c = MB_ADD(x->b->chunks, struct mf_chunk, v->chunk_count);
    struct mf_location *at =
        MB_ADD(x->b->locations, struct mf_location, v->chunk_count);

    for (uint64_t i = 0; i < v->chunk_count && c && at; i++) {
        c[i] = v->chunk[i];
        c[i].segment = x->segment[c[i].segment];
        at[i] = v->location[i];
        at[i].file = x->file[at[i].file];
    }
    for (uint64_t i = 0; i < v->rank_count; i++) {
        struct mf_rank rank = v->rank[i];
        int64_t index;

        rank.first_chunk += x->first_chunk;
        index = mb_rank(x->b, &rank, err);
        if (index < 0)
            return (int)index;
    }
    return mb_memory(x->b, err);
}

/* The place of a rank in the vote's table; manifest_open() saw that it is. */
static uint64_t rank_place(const struct manifest *v, uint32_t rank)
{
    return (uint64_t)(manifest_rank(v, rank) - v->rank);
}

static int merge_regions(struct merge *x, struct err *err)
{
    const struct manifest *v = x->vote;
    struct manifest_builder *b = x->b;
    uint64_t first_dim = MB_COUNT(b->dims, uint64_t);
    uint64_t first_piece = MB_COUNT(b->pieces, struct mf_piece);
    struct mb_region *r = MB_ADD(b->regions, struct mb_region, v->region_count);
    struct mf_piece *p = MB_ADD(b->pieces, struct mf_piece, v->piece_count);

    wr_bytes(&b->dims, v->dim, v->dim_count * sizeof *v->dim);
    for (uint64_t i = 0; i < v->region_count && r; i++) {
        r[i].entry = v->region[i];
        r[i].entry.tensor = x->tensor[v->region[i].tensor];
        r[i].entry.first_dim += first_dim;
        r[i].entry.first_piece += first_piece;
        r[i].rank_index =
            (uint32_t)(x->first_rank + rank_place(v, v->region[i].rank));
    }
    for (uint64_t i = 0; i < v->piece_count && p; i++) {
        p[i] = v->piece[i];
        p[i].chunk += (uint32_t)x->first_chunk;
    }
    return mb_memory(b, err);
}

/* The first rank of the vote at a value's coordinates: who told it. */
static uint32_t value_rank(const struct manifest *v, const struct mf_value *at)
{
    for (uint64_t i = 0; i < v->rank_count; i++) {
        bool is_here = true;

        for (uint32_t k = 0; k < MAX_AXES; k++)
            if (at->axes & 1u << k &&
                v->rank[i].coordinate[k] != at->coordinate[k])
                is_here = false;
        if (is_here)
            return v->rank[i].rank;
    }
    return v->rank_count ? v->rank[0].rank : 0;
}

static int merge_values(struct merge *x, struct err *err)
{
    const struct manifest *v = x->vote;
    struct manifest_builder *b = x->b;
    struct mb_value *to = MB_ADD(b->values, struct mb_value, v->value_count);
    struct mf_note *note = MB_ADD(b->notes, struct mf_note, v->note_count);

    for (uint64_t i = 0; i < v->value_count && to; i++) {
        const struct mf_value *from = &v->value[i];

        to[i].entry = *from;
        to[i].entry.name = mb_string(b, v->blob + from->name, from->name_bytes);
        to[i].entry.data = mb_string(b, v->blob + from->data, from->bytes);
        to[i].rank = value_rank(v, from);
    }
    wr_bytes(&b->trusts, v->trust, v->trust_count * sizeof *v->trust);
    for (uint64_t i = 0; i < v->note_count && note; i++) {
        note[i] = v->note[i];
        note[i].key = mb_string(b, v->blob + note[i].key, note[i].key_bytes);
        note[i].text = mb_string(b, v->blob + note[i].text, note[i].text_bytes);
    }
    return mb_memory(b, err);
}

int manifest_add_vote(struct manifest_builder *b, const struct manifest *vote,
                      struct err *err)
{
    struct merge x = {
        .b = b,
        .vote = vote,
        .tensor = calloc(vote->tensor_count + 1, sizeof *x.tensor),
        .segment = calloc(vote->segment_count + 1, sizeof *x.segment),
        .file = calloc(vote->file_count + 1, sizeof *x.file),
        .first_chunk = MB_COUNT(b->chunks, struct mf_chunk),
        .first_rank = MB_COUNT(b->ranks, struct mf_rank),
    };
    int rc;

    if (b->failed) {
        rc = err_set(err, b->failed, "manifest: its builder failed before");
        goto err_free;
    }
    if (!x.tensor || !x.segment || !x.file) {
        rc = err_set(err, -ENOMEM, "manifest: no memory to merge a vote");
        goto err_free;
    }
    rc = merge_agree(b, vote, err);
    if (rc == 0 && merge_places(&x))
        rc = err_set(err, -ENOMEM, "manifest: no memory to merge a vote");
    if (rc == 0)
        rc = merge_tensors(&x, err);
    if (rc == 0)
        rc = merge_chunks(&x, err);
    if (rc == 0)
        rc = merge_regions(&x, err);
    if (rc == 0)
        rc = merge_values(&x, err);
    if (rc == 0)
        b->written_bytes += vote->info.written_bytes;
    else
        b->failed = rc;
err_free:
    free(x.tensor);
    free(x.segment);
    free(x.file);
    return rc;
}
