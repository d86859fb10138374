/*
 * manifest_open.c - the container of a manifest or vote: from bytes to a view.
 *
 * Order of the checks: frame (magic, lengths), root digest, page digests, then
 * version and flags, then the directory, then every table's content (in
 * manifest_check.c). Digests come before versions, so that a flipped bit is
 * called corruption; the frame is the same in all major versions (FORMAT.md).
 * Linear in the bytes, allocates nothing, keeps pointers into the bytes.
 */
#include "formats/manifest_media.h"

#include "common/plant.h"

#include <inttypes.h>

static const struct mf_trailer *trailer_of(const uint8_t *data, size_t bytes)
{
    return (const void *)(data + bytes - sizeof(struct mf_trailer));
}

/* Lengths and places of the frame, so that digests can be found. */
static int frame_check(const uint8_t *data, size_t bytes, struct err *err)
{
    const struct mf_header *h = (const void *)data;
    const struct mf_trailer *t;
    uint64_t pages;

    if (bytes < sizeof *h + sizeof *t || bytes > MANIFEST_MAX_BYTES ||
        bytes % 8)
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: %zu bytes are no manifest", bytes);
    if (memcmp(h->magic, mf_magic, sizeof mf_magic) != 0)
        return err_set(err, -CKPT_ECORRUPT, "manifest: no magic bytes");
    if (h->total_bytes != bytes)
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: %zu bytes, its header says %" PRIu64, bytes,
                       h->total_bytes);
    if (h->digests_at > bytes || h->digests_at % MF_ALIGN ||
        h->digests_at < sizeof *h)
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: page digests at %" PRIu64 " are not inside",
                       h->digests_at);
    pages = mf_page_count(h->digests_at);
    if (bytes - h->digests_at != pages * sizeof(struct digest) + sizeof *t)
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: no room for %" PRIu64 " page digests", pages);
    t = trailer_of(data, bytes);
    if (memcmp(t->magic, mf_trailer_magic, sizeof mf_trailer_magic) != 0 ||
        t->total_bytes != bytes)
        return err_set(err, -CKPT_ECORRUPT, "manifest: its end is damaged");
    return 0;
}

static int digests_check(const uint8_t *data, const struct mf_header *h,
                         const struct mf_trailer *t, struct err *err)
{
    const uint8_t *digests = data + h->digests_at;
    size_t covered = (size_t)((const uint8_t *)&t->root - digests);
    struct digest digest = hash_128(digests, covered);
    uint64_t pages = mf_page_count(h->digests_at);

    if (is_left_out("digests of a manifest"))
        return 0;
    if (!digest_equal(&digest, &t->root))
        return err_set(err, -CKPT_ECORRUPT, "manifest: root digest mismatch");
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t start = i * MANIFEST_PAGE_BYTES;

        digest = hash_128(data + start,
                          min_u64(MANIFEST_PAGE_BYTES, h->digests_at - start));
        if (memcmp(digest.b, digests + i * sizeof digest, sizeof digest) != 0)
            return err_set(err, -CKPT_ECORRUPT,
                           "manifest: page %" PRIu64 " digest mismatch", i);
    }
    return 0;
}

static int version_check(const struct mf_header *h, struct err *err)
{
    uint64_t unknown = h->incompatible & ~MF_FEATURE_REPACKED;

    if (h->major != MF_VERSION_MAJOR)
        return err_set(err, -CKPT_EVERSION,
                       "manifest: version %" PRIu32 ".%" PRIu32
                       ", this build reads %d.x",
                       h->major, h->minor, MF_VERSION_MAJOR);
    if (unknown)
        return err_set(err, -CKPT_EVERSION,
                       "manifest: needs features this build does not know: "
                       "flag %d (of 0x%" PRIx64 ")",
                       __builtin_ctzll(unknown), h->incompatible);
    return 0;
}

static bool is_zero(const uint8_t *p, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (p[i])
            return false;
    return true;
}

/* Walks the directory: tables lie end to end, aligned, zeros between. None ends
 * behind digests_at, which is aligned, so that none begins there either. */
static int directory_check(const uint8_t *data, const struct mf_header *h,
                           struct err *err)
{
    const struct mf_entry *entry = (const void *)(data + MF_DIRECTORY_AT);
    uint64_t end = MF_DIRECTORY_AT + h->table_count * sizeof *entry;

    if (h->table_count < MF_TABLE_COUNT || h->table_count > MF_TABLES_MAX ||
        end > h->digests_at || !is_zero(h->reserved, sizeof h->reserved))
        return err_set(err, -CKPT_ECORRUPT, "manifest: header is malformed");
    for (uint32_t i = 0; i < h->table_count; i++, entry++) {
        bool is_known = entry->table < MF_TABLE_KNOWN;
        uint64_t start = align_up(end, MF_ALIGN), bytes;

        if ((i < MF_TABLE_COUNT ? entry->table != i
                                : entry->table <= entry[-1].table) ||
            (is_known && entry->entry_bytes != mf_entry_bytes[entry->table]))
            return err_set(err, -CKPT_ECORRUPT,
                           "manifest: directory entry %" PRIu32 " is malformed",
                           i);
        if (!mul_u64(entry->count, entry->entry_bytes, &bytes) ||
            entry->reserved || entry->offset != start ||
            bytes > h->digests_at - start || !is_zero(data + end, start - end))
            return err_set(
                err, -CKPT_ECORRUPT, "manifest: table %s does not fit",
                is_known ? mf_table_name[entry->table] : "of a later version");
        end = start + bytes;
    }
    if (align_up(end, MF_ALIGN) != h->digests_at ||
        !is_zero(data + end, h->digests_at - end))
        return err_set(err, -CKPT_ECORRUPT,
                       "manifest: bytes that belong to no table");
    return 0;
}

static int layout_open(const struct mf_axis *axis, uint64_t count,
                       struct layout *out, struct err *err)
{
    if (count > MAX_AXES)
        return err_set(err, -CKPT_ECORRUPT, "manifest: %" PRIu64 " axes",
                       count);
    out->axis_count = (uint32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        size_t length = strnlen(axis[i].name, AXIS_NAME_BYTES);

        memcpy(out->axis[i].name, axis[i].name, AXIS_NAME_BYTES);
        out->axis[i].degree = axis[i].degree;
        if (length == AXIS_NAME_BYTES || axis[i].reserved ||
            !is_zero((const uint8_t *)axis[i].name + length,
                     AXIS_NAME_BYTES - length))
            return err_set(err, -CKPT_ECORRUPT,
                           "manifest: axis %" PRIu32 " is malformed", i);
    }
    if (layout_check(out, err)) {
        err->code = -CKPT_ECORRUPT;
        return err_prefix(err, "manifest");
    }
    return 0;
}

static void info_open(const struct mf_header *h, struct manifest_info *info)
{
    *info = (struct manifest_info){
        .kind = h->kind,
        .world_size = h->world_size,
        .chunk_bytes = h->chunk_bytes,
        .run = h->run,
        .daemon = h->daemon,
        .id = h->id,
        .parent = h->parent,
        .created_unix_ms = h->created_unix_ms,
        .logical_bytes = h->logical_bytes,
        .stored_bytes = h->stored_bytes,
        .written_bytes = h->written_bytes,
        .is_repacked = h->incompatible & MF_FEATURE_REPACKED,
    };
}

/* The view's pointers, from a directory that was checked. */
static void tables_open(const uint8_t *data, struct manifest *m)
{
    const struct mf_entry *e = (const void *)(data + MF_DIRECTORY_AT);
    uint32_t table_count =
        ((const struct mf_header *)(const void *)data)->table_count;

#define OPEN(table, field)                                                     \
    (m->field = (const void *)(data + e[table].offset),                        \
     m->field##_count = e[table].count)
    OPEN(MF_TENSOR, tensor);
    OPEN(MF_REGION, region);
    OPEN(MF_DIM, dim);
    OPEN(MF_PIECE, piece);
    OPEN(MF_CHUNK, chunk);
    OPEN(MF_SEGMENT, segment);
    OPEN(MF_FILE, file);
    OPEN(MF_LOCATION, location);
    OPEN(MF_RANK, rank);
    OPEN(MF_VALUE, value);
    OPEN(MF_NOTE, note);
    OPEN(MF_SLOT, slot);
    for (uint32_t i = MF_TABLE_COUNT; i < table_count; i++) {
        if (e[i].table == MF_CHECK)
            OPEN(i, check);
        else if (e[i].table == MF_TRUST)
            OPEN(i, trust);
    }
#undef OPEN
    m->blob = (const char *)data + e[MF_BLOB].offset;
    m->blob_bytes = e[MF_BLOB].count;
}

int manifest_open(const void *data, size_t bytes, struct manifest *out,
                  struct err *err)
{
    const uint8_t *p = data;
    const struct mf_header *h = data;
    const struct mf_entry *axes;
    int rc;

    assert((uintptr_t)data % 8 == 0);
    *out = (struct manifest){.data = data, .bytes = bytes};
    rc = frame_check(p, bytes, err);
    if (rc)
        return rc;
    rc = digests_check(p, h, trailer_of(p, bytes), err);
    if (rc == 0)
        rc = version_check(h, err);
    if (rc == 0)
        rc = directory_check(p, h, err);
    if (rc)
        return rc;
    out->root = trailer_of(p, bytes)->root;
    info_open(h, &out->info);
    tables_open(p, out);
    axes = (const void *)(p + MF_DIRECTORY_AT);
    rc = layout_open((const void *)(p + axes->offset), axes->count,
                     &out->layout, err);
    return rc ? rc : mf_check_tables(out, err);
}
