/*
 * manifest.c - what stands in an open manifest (manifest.h): look-ups that
 * trust what manifest_open() has checked. Nothing here fails on content.
 */
#include "formats/manifest_media.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static_assert(sizeof(struct mf_axis) == 24, "axis");
static_assert(sizeof(struct mf_tensor) == 104, "tensor");
static_assert(offsetof(struct mf_tensor, shape) == 16, "tensor.shape");
static_assert(offsetof(struct mf_tensor, first_region) == 80, "tensor");
static_assert(sizeof(struct mf_region) == 88, "region");
static_assert(offsetof(struct mf_region, cut_start) == 24, "region.cut");
static_assert(offsetof(struct mf_region, first_piece) == 64, "region.piece");
static_assert(sizeof(struct mf_piece) == 24, "piece");
static_assert(sizeof(struct mf_chunk) == 32, "chunk");
static_assert(offsetof(struct mf_chunk, content) == 16, "chunk.content");
static_assert(sizeof(struct mf_segment) == 32, "segment");
static_assert(sizeof(struct mf_file) == 48, "file");
static_assert(offsetof(struct mf_file, store) == 16, "file.store");
static_assert(sizeof(struct mf_location) == 32, "location");
static_assert(offsetof(struct mf_location, payload_bytes) == 16, "location");
static_assert(sizeof(struct mf_rank) == 96, "rank");
static_assert(offsetof(struct mf_rank, daemon) == 40, "rank.daemon");
static_assert(offsetof(struct mf_rank, first_chunk) == 72, "rank.chunks");
static_assert(sizeof(struct mf_value) == 72, "value");
static_assert(offsetof(struct mf_value, name_bytes) == 24, "value.name");
static_assert(sizeof(struct mf_note) == 24, "note");
static_assert(sizeof(struct mf_slot) == 16, "slot");
static_assert(sizeof(struct mf_check) == 64, "check");
static_assert(offsetof(struct mf_check, content) == 16, "check.content");
static_assert(offsetof(struct mf_check, own) == 48, "check.own");
static_assert(sizeof(struct mf_trust) == 64, "trust");
static_assert(offsetof(struct mf_trust, optimizer) == 32, "trust.optimizer");

const uint8_t mf_magic[8] = {'C', 'K', 'P', 'T', 'M', 'A', 'N', 'I'};
const uint8_t mf_trailer_magic[8] = {'C', 'K', 'P', 'T', 'M', 'E', 'N', 'D'};

const uint32_t mf_entry_bytes[MF_TABLE_KNOWN] = {
    [MF_AXIS] = sizeof(struct mf_axis),
    [MF_TENSOR] = sizeof(struct mf_tensor),
    [MF_REGION] = sizeof(struct mf_region),
    [MF_DIM] = sizeof(uint64_t),
    [MF_PIECE] = sizeof(struct mf_piece),
    [MF_CHUNK] = sizeof(struct mf_chunk),
    [MF_SEGMENT] = sizeof(struct mf_segment),
    [MF_FILE] = sizeof(struct mf_file),
    [MF_LOCATION] = sizeof(struct mf_location),
    [MF_RANK] = sizeof(struct mf_rank),
    [MF_VALUE] = sizeof(struct mf_value),
    [MF_NOTE] = sizeof(struct mf_note),
    [MF_SLOT] = sizeof(struct mf_slot),
    [MF_BLOB] = 1,
    [MF_CHECK] = sizeof(struct mf_check),
    [MF_TRUST] = sizeof(struct mf_trust),
};

const char *const mf_table_name[MF_TABLE_KNOWN] = {
    [MF_AXIS] = "axis",         [MF_TENSOR] = "tensor",
    [MF_REGION] = "region",     [MF_DIM] = "dim",
    [MF_PIECE] = "piece",       [MF_CHUNK] = "chunk",
    [MF_SEGMENT] = "segment",   [MF_FILE] = "file",
    [MF_LOCATION] = "location", [MF_RANK] = "rank",
    [MF_VALUE] = "value",       [MF_NOTE] = "note",
    [MF_SLOT] = "slot",         [MF_BLOB] = "blob",
    [MF_CHECK] = "check",       [MF_TRUST] = "trust",
};

int64_t manifest_find(const struct manifest *m, const char *name,
                      size_t name_bytes)
{
    uint64_t hash = hash_64(name, name_bytes);
    uint64_t mask = m->slot_count - 1;

    if (m->slot_count == 0)
        return -ENOENT;
    /* manifest_open() made sure that an empty slot ends every walk. */
    for (uint64_t at = hash & mask; m->slot[at].tensor_plus_1;
         at = (at + 1) & mask) {
        uint64_t index = m->slot[at].tensor_plus_1 - 1;
        const struct mf_tensor *t = &m->tensor[index];

        if (m->slot[at].hash == hash &&
            mf_name_compare(m->blob + t->name, t->name_bytes, name,
                            name_bytes) == 0)
            return (int64_t)index;
    }
    return -ENOENT;
}

void manifest_geometry(const struct manifest *m, uint64_t tensor,
                       struct geometry *out)
{
    const struct mf_tensor *t = &m->tensor[tensor];

    assert(tensor < m->tensor_count);
    out->dtype = t->dtype;
    out->ndim = t->ndim;
    memcpy(out->shape, t->shape, sizeof out->shape);
}

int manifest_region(const struct manifest *m, uint64_t region,
                    struct box **boxes, size_t *capacity, struct region *out)
{
    const struct mf_region *r = &m->region[region];
    uint32_t ndim = m->tensor[r->tensor].ndim;
    const uint64_t *dim = m->dim + r->first_dim;

    assert(region < m->region_count);
    if (r->box_count > *capacity) {
        size_t wanted = max_u64(r->box_count, *capacity * 2);
        struct box *grown = reallocarray(*boxes, wanted, sizeof *grown);

        if (!grown)
            return -ENOMEM;
        *boxes = grown;
        *capacity = wanted;
    }
    for (uint32_t k = 0; k < r->box_count; k++, dim += 2 * (size_t)ndim) {
        struct box *box = &(*boxes)[k];

        *box = (struct box){0};
        memcpy(box->offset, dim, ndim * sizeof *dim);
        memcpy(box->size, dim + ndim, ndim * sizeof *dim);
    }
    *out = (struct region){
        .boxes = r->box_count ? *boxes : NULL,
        .box_count = r->box_count,
        .is_cut = r->is_cut != 0,
        .cut_start = r->cut_start,
        .cut_count = r->cut_count,
    };
    return 0;
}

void manifest_chunk_header(const struct manifest *m, uint64_t chunk,
                           struct chunk_header *out)
{
    const struct mf_chunk *c = &m->chunk[chunk];
    const struct mf_location *at = &m->location[chunk];

    assert(chunk < m->chunk_count);
    *out = (struct chunk_header){
        .segment = m->segment[c->segment].segment,
        .number = c->number,
        .raw_bytes = c->raw_bytes,
        .payload_bytes = at->payload_bytes,
        .codec = at->codec,
        .codec_param = at->codec_param,
        .rank = c->rank,
        .stored_digest = at->stored_digest,
        .content = c->content,
    };
}

const struct mf_rank *manifest_rank(const struct manifest *m, uint32_t rank)
{
    uint64_t low = 0, high = m->rank_count;

    if (rank < m->rank_count && m->rank[rank].rank == rank)
        return &m->rank[rank];
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (m->rank[middle].rank == rank)
            return &m->rank[middle];
        if (m->rank[middle].rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct mf_trust *manifest_trust(const struct manifest *m, uint32_t rank)
{
    uint64_t low = 0, high = m->trust_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (m->trust[middle].rank == rank)
            return &m->trust[middle];
        if (m->trust[middle].rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *manifest_note(const struct manifest *m, const char *key,
                          size_t *bytes)
{
    size_t key_bytes = strlen(key);

    for (uint64_t i = 0; i < m->note_count; i++) {
        const struct mf_note *n = &m->note[i];

        if (n->key_bytes == key_bytes &&
            memcmp(m->blob + n->key, key, key_bytes) == 0) {
            *bytes = n->text_bytes;
            return m->blob + n->text;
        }
    }
    return NULL;
}

int manifest_elsewhere(const struct manifest *m, uint32_t file, int code,
                       struct err *err)
{
    const struct id128 *store = &m->file[file].store;
    char text[ID_TEXT_BYTES], host[300] = "";
    uint64_t stores = 1;
    const char *note;
    size_t bytes;

    for (uint64_t i = 1; i < m->file_count; i++) {
        bool is_new = true;

        /* Files of one store lie together: the last ones first. */
        for (uint64_t j = i; j-- > 0 && is_new;)
            is_new = !id_equal(&m->file[i].store, &m->file[j].store);
        stores += is_new;
    }
    /* The note is of who committed. */
    note = manifest_note(m, "host", &bytes);
    if (note && id_equal(store, &m->info.daemon))
        (void)snprintf(host, sizeof host, ", on host %.*s",
                       (int)min_u64(bytes, 255), note);
    (void)id_format(store, text);
    if (stores > 1)
        return err_set(err, code,
                       "it is in another local store (%s%s), and the save is "
                       "spread over %llu: but for what is in the remote tier, "
                       "a load reads from one, so give all ranks of a job one "
                       "CKPT_LOCAL",
                       text, host, (unsigned long long)stores);
    return err_set(err, code,
                   "it is in another local store (%s%s): the daemon of that "
                   "one must serve the ranks, so name its folder (CKPT_LOCAL)",
                   text, host);
}
