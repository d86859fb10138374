/*
 * manifest_check.c - every index and every range of a manifest's tables, once.
 *
 * After this, accessors and the planner follow any index without a check of
 * their own. Tables that chain (tensor -> regions -> dims and pieces; rank ->
 * chunks) must tile each other exactly, which also makes every entry belong to
 * exactly one owner. Linear (a binary search for a rank aside), no allocation.
 */
#include "formats/manifest_media.h"

#include <inttypes.h>

int manifest_bad(struct err *err, enum mf_table table, uint64_t index,
                 const char *what)
{
    return err_set(err, -CKPT_ECORRUPT, "manifest: %s %" PRIu64 ": %s",
                   mf_table_name[table], index, what);
}

static bool in_blob(const struct manifest *m, uint64_t at, uint64_t bytes)
{
    return at <= m->blob_bytes && bytes <= m->blob_bytes - at;
}

/* A name inside the blob: of a tensor, if it may be reserved; of anything
 * else, if not. */
static bool name_is_good(const struct manifest *m, uint64_t at, uint64_t bytes,
                         bool is_reserved)
{
    return bytes && in_blob(m, at, bytes) &&
           (m->blob[at] == '\001') == is_reserved &&
           table_name_ok(m->blob + at, bytes);
}

/* Indices of entries have 32 bits, and no table has room for more. */
static_assert(MANIFEST_MAX_BYTES / sizeof(struct mf_piece) <= UINT32_MAX,
              "pieces are the smallest entries that are counted");

static int check_info(const struct manifest *m, struct err *err)
{
    const struct manifest_info *i = &m->info;
    const char *what = NULL;

    if (i->kind < MANIFEST_CHECKPOINT || i->kind > MANIFEST_TIER)
        what = "unknown kind";
    else if (i->kind == MANIFEST_TIER &&
             (m->tensor_count || m->value_count || m->note_count))
        what = "a table of locations has tensors, values or notes";
    else if (i->is_repacked && i->kind != MANIFEST_TIER)
        what = "repacked, and no table of locations";
    else if (i->world_size == 0)
        what = "no ranks";
    else if (i->chunk_bytes < CHUNK_BYTES_MIN ||
             i->chunk_bytes > CHUNK_BYTES_MAX ||
             (i->chunk_bytes & (i->chunk_bytes - 1)))
        what = "chunk size out of bounds";
    else if (i->id.generation == 0)
        what = "a save of no generation";
    else if (i->parent.generation == 0 && (i->parent.step || i->parent.attempt))
        what = "a parent of no generation";
    else if (m->location_count != m->chunk_count)
        what = "as many locations as chunks are needed";
    return what ? err_set(err, -CKPT_ECORRUPT, "manifest: %s", what) : 0;
}

static int check_ranks(const struct manifest *m, struct err *err)
{
    uint64_t chunk = 0;

    for (uint64_t i = 0; i < m->rank_count; i++) {
        const struct mf_rank *r = &m->rank[i];

        if (r->rank >= m->info.world_size || (i && r->rank <= r[-1].rank))
            return manifest_bad(err, MF_RANK, i, "number is out of order");
        if (r->reserved ||
            !value_coordinates_are_good(
                &m->layout, (1u << m->layout.axis_count) - 1, r->coordinate))
            return manifest_bad(err, MF_RANK, i,
                                "coordinates are out of range");
        if (r->first_chunk != chunk || r->chunk_count > m->chunk_count - chunk)
            return manifest_bad(err, MF_RANK, i, "chunks are out of range");
        for (uint64_t k = 0; k < r->chunk_count; k++)
            if (m->chunk[chunk + k].rank != r->rank)
                return manifest_bad(err, MF_CHUNK, chunk + k,
                                    "of another rank");
        chunk += r->chunk_count;
    }
    if (chunk != m->chunk_count)
        return manifest_bad(err, MF_CHUNK, chunk, "of no rank");
    return 0;
}

static int check_chunks(const struct manifest *m, struct err *err)
{
    uint64_t stored = 0;

    for (uint64_t i = 0; i < m->chunk_count; i++) {
        const struct mf_chunk *c = &m->chunk[i];
        const struct mf_location *at = &m->location[i];

        if (c->segment >= m->segment_count)
            return manifest_bad(err, MF_CHUNK, i, "segment is out of range");
        if (c->raw_bytes > m->info.chunk_bytes ||
            !chunk_sizes_are_good(c->raw_bytes, at->payload_bytes, at->codec,
                                  at->codec_param))
            return manifest_bad(err, MF_CHUNK, i,
                                "sizes or codec out of bounds");
        if (at->file >= m->file_count)
            return manifest_bad(err, MF_LOCATION, i, "file is out of range");
        if (at->offset % PAGE_BYTES || at->offset < PAGE_BYTES ||
            at->offset > INT64_MAX - chunk_extent_bytes(at->payload_bytes))
            return manifest_bad(err, MF_LOCATION, i, "offset is out of range");
        stored += chunk_extent_bytes(at->payload_bytes);
    }
    if (stored != m->info.stored_bytes)
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: stored bytes are %" PRIu64
                       ", its header says %" PRIu64,
                       stored, m->info.stored_bytes);
    return 0;
}

/* A relative path without empty, "." or ".." parts. */
static bool path_is_good(const char *p, size_t bytes)
{
    size_t start = 0;

    for (size_t i = 0; i <= bytes; i++) {
        size_t part = i - start;

        if (i < bytes && p[i] != '/')
            continue;
        if (part == 0 || (part == 1 && p[start] == '.') ||
            (part == 2 && p[start] == '.' && p[start + 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

static int check_files(const struct manifest *m, struct err *err)
{
    for (uint64_t i = 0; i < m->file_count; i++) {
        const struct mf_file *f = &m->file[i];

        if (f->reserved || f->name_bytes > 255 ||
            !name_is_good(m, f->name, f->name_bytes, false) ||
            !path_is_good(m->blob + f->name, f->name_bytes))
            return manifest_bad(err, MF_FILE, i, "name is malformed");
    }
    return 0;
}

static int check_tensor(const struct manifest *m, uint64_t i, struct err *err)
{
    const struct mf_tensor *t = &m->tensor[i];
    bool reserved = t->flags & 1;
    const char *name;
    int rc;

    if (t->flags > 1 || !name_is_good(m, t->name, t->name_bytes, reserved))
        return manifest_bad(err, MF_TENSOR, i, "name is malformed");
    name = m->blob + t->name;
    if (i && mf_name_compare(m->blob + t[-1].name, t[-1].name_bytes, name,
                             t->name_bytes) >= 0)
        return manifest_bad(err, MF_TENSOR, i, "name is out of order");
    rc = mf_check_geometry(t, err);
    if (rc) {
        err->code = -CKPT_ECORRUPT;
        return err_prefix(err, "manifest: tensor %.*s", (int)t->name_bytes,
                          name);
    }
    if (reserved &&
        (t->ndim != 1 || (t->dtype != DTYPE_U8 && t->dtype != DTYPE_I8)))
        return manifest_bad(err, MF_TENSOR, i, "reserved, but not bytes");
    return 0;
}

/* The pieces of region i tile its slice and lie inside its rank's chunks. */
static int check_pieces(const struct manifest *m, uint64_t i, uint32_t unit,
                        struct err *err)
{
    const struct mf_region *r = &m->region[i];
    uint64_t at = r->slice_start, end = r->slice_start + r->slice_bytes;

    for (uint64_t k = 0; k < r->piece_count; k++) {
        uint64_t index = r->first_piece + k;
        const struct mf_piece *p = &m->piece[index];
        const struct mf_chunk *c;

        if (p->region != i || p->chunk >= m->chunk_count)
            return manifest_bad(err, MF_PIECE, index,
                                "region or chunk out of range");
        c = &m->chunk[p->chunk];
        if (c->rank != r->rank)
            return manifest_bad(err, MF_PIECE, index,
                                "in a chunk of another rank");
        if (p->region_start != at || p->bytes == 0 || p->bytes > end - at)
            return manifest_bad(err, MF_PIECE, index,
                                "is not where the last ended");
        if (p->chunk_start > c->raw_bytes ||
            p->bytes > c->raw_bytes - p->chunk_start)
            return manifest_bad(err, MF_PIECE, index, "is outside its chunk");
        if (p->bytes % unit)
            return manifest_bad(err, MF_PIECE, index, "is not whole units");
        at += p->bytes;
    }
    if (at != end)
        return manifest_bad(err, MF_REGION, i, "pieces are missing");
    return 0;
}

/* Region i of tensor t; *dim and *piece are where the last one ended. */
static int check_region(const struct manifest *m, uint64_t t, uint64_t i,
                        uint64_t *dim, uint64_t *piece, struct err *err)
{
    const struct mf_tensor *tensor = &m->tensor[t];
    const struct mf_region *r = &m->region[i];
    uint64_t dims = (uint64_t)r->box_count * 2 * tensor->ndim;
    uint32_t unit = mf_unit_bytes(tensor->dtype);
    int rc;

    if (r->tensor != t || !manifest_rank(m, r->rank) ||
        (i > tensor->first_region && r->rank < r[-1].rank))
        return manifest_bad(err, MF_REGION, i,
                            "tensor or rank is out of order");
    if (r->reserved || r->is_cut > 1 ||
        (!r->is_cut && (r->cut_start || r->cut_count)) ||
        r->replica_index >= r->replica_count ||
        r->replica_count > REPLICAS_MAX ||
        (tensor->ndim == 0 && r->box_count > 1))
        return manifest_bad(err, MF_REGION, i, "is malformed");
    if (r->first_dim != *dim || dims > m->dim_count - *dim ||
        r->first_piece != *piece || r->piece_count > m->piece_count - *piece)
        return manifest_bad(err, MF_REGION, i,
                            "dims or pieces are out of range");
    rc = mf_check_region(tensor, r, m->dim + *dim, err);
    if (rc)
        return err_prefix(err, "manifest: region %" PRIu64, i);
    if (r->slice_start > r->packed_bytes ||
        r->slice_bytes > r->packed_bytes - r->slice_start ||
        r->slice_start % unit || r->slice_bytes % unit)
        return manifest_bad(err, MF_REGION, i, "slice is out of range");
    *dim += dims;
    *piece += r->piece_count;
    return check_pieces(m, i, unit, err);
}

static int check_tensors(const struct manifest *m, struct err *err)
{
    uint64_t region = 0, dim = 0, piece = 0, logical = 0;

    for (uint64_t t = 0; t < m->tensor_count; t++) {
        const struct mf_tensor *tensor = &m->tensor[t];
        int rc = check_tensor(m, t, err);

        if (rc)
            return rc;
        if (tensor->first_region != region ||
            tensor->region_count > m->region_count - region)
            return manifest_bad(err, MF_TENSOR, t, "regions are out of range");
        for (uint64_t k = 0; k < tensor->region_count; k++) {
            rc = check_region(m, t, region + k, &dim, &piece, err);
            if (rc)
                return rc;
        }
        region += tensor->region_count;
        if (!add_u64(logical, tensor->logical_bytes, &logical))
            return manifest_bad(err, MF_TENSOR, t,
                                "the sum of bytes overflows");
    }
    if (region != m->region_count || dim != m->dim_count ||
        piece != m->piece_count)
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: regions, dims or pieces of no tensor");
    if (m->info.kind == MANIFEST_CHECKPOINT && logical != m->info.logical_bytes)
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: logical bytes are %" PRIu64
                       ", its header says %" PRIu64,
                       logical, m->info.logical_bytes);
    return 0;
}

/* By name, then axes, then coordinates. */
static int value_compare(const struct manifest *m, const struct mf_value *a,
                         const struct mf_value *b)
{
    int c = mf_name_compare(m->blob + a->name, a->name_bytes, m->blob + b->name,
                            b->name_bytes);

    if (c)
        return c;
    if (a->axes != b->axes)
        return a->axes < b->axes ? -1 : 1;
    for (uint32_t i = 0; i < MAX_AXES; i++)
        if (a->coordinate[i] != b->coordinate[i])
            return a->coordinate[i] < b->coordinate[i] ? -1 : 1;
    return 0;
}

static int check_values(const struct manifest *m, struct err *err)
{
    for (uint64_t i = 0; i < m->value_count; i++) {
        const struct mf_value *v = &m->value[i];

        if (v->reserved || !name_is_good(m, v->name, v->name_bytes, false))
            return manifest_bad(err, MF_VALUE, i, "name is malformed");
        if (v->bytes > VALUE_INLINE_MAX || !in_blob(m, v->data, v->bytes) ||
            !value_size_is_good(v->type, v->bytes))
            return manifest_bad(err, MF_VALUE, i,
                                "type or length is out of range");
        if (!value_coordinates_are_good(&m->layout, v->axes, v->coordinate))
            return manifest_bad(err, MF_VALUE, i,
                                "coordinates are out of range");
        if (i && value_compare(m, v - 1, v) >= 0)
            return manifest_bad(err, MF_VALUE, i, "is out of order");
    }
    return 0;
}

static int check_notes(const struct manifest *m, struct err *err)
{
    for (uint64_t i = 0; i < m->note_count; i++) {
        const struct mf_note *n = &m->note[i];

        if (!name_is_good(m, n->key, n->key_bytes, false) ||
            !in_blob(m, n->text, n->text_bytes))
            return manifest_bad(err, MF_NOTE, i, "is out of range");
        if (i && mf_name_compare(m->blob + n[-1].key, n[-1].key_bytes,
                                 m->blob + n->key, n->key_bytes) >= 0)
            return manifest_bad(err, MF_NOTE, i, "is out of order");
    }
    return 0;
}

/*
 * Every tensor is found under its name, every used slot is some tensor's. The
 * walks of an honest index are short (it is half empty); the budget keeps a
 * forged one from making this, and later look-ups, quadratic.
 */
static int check_slots(const struct manifest *m, struct err *err)
{
    uint64_t used = 0, mask = m->slot_count - 1;
    uint64_t budget = 64 * m->tensor_count + 4096;

    if (m->slot_count != mf_slot_count(m->tensor_count))
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: index has %" PRIu64 " slots", m->slot_count);
    for (uint64_t i = 0; i < m->slot_count; i++) {
        if (m->slot[i].tensor_plus_1 > m->tensor_count ||
            (m->slot[i].tensor_plus_1 == 0 && m->slot[i].hash))
            return manifest_bad(err, MF_SLOT, i, "is out of range");
        used += m->slot[i].tensor_plus_1 != 0;
    }
    if (used != m->tensor_count)
        return err_set(err, -CKPT_ECORRUPT, "manifest: index is incomplete");
    for (uint64_t t = 0; t < m->tensor_count; t++) {
        const struct mf_tensor *tensor = &m->tensor[t];
        uint64_t hash = hash_64(m->blob + tensor->name, tensor->name_bytes);
        uint64_t at = hash & mask;

        while (m->slot[at].tensor_plus_1 &&
               m->slot[at].tensor_plus_1 != t + 1 && budget) {
            at = (at + 1) & mask;
            budget--;
        }
        if (m->slot[at].tensor_plus_1 != t + 1 || m->slot[at].hash != hash)
            return manifest_bad(err, MF_TENSOR, t, "is not in the index");
    }
    return 0;
}

int mf_check_tables(const struct manifest *m, struct err *err)
{
    static int (*const checks[])(const struct manifest *, struct err *) = {
        check_info,   check_ranks, check_chunks, check_files,    check_tensors,
        check_values, check_notes, check_slots,  mf_check_trust,
    };
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(checks) && rc == 0; i++)
        rc = checks[i](m, err);
    return rc;
}
