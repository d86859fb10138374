/*
 * table.c - descriptors on the wire; see table.h.
 *
 * table := u32 count, entry * count
 * entry := u16 name bytes, name, u8 dtype, u8 ndim, u16 0,
 *          u32 replica_index, u32 replica_count, u64 shape * ndim, region
 * region := u32 box_count, u32 is_cut,
 *           (u64 offset * ndim, u64 size * ndim) * box_count,
 *           if is_cut: u64 cut_start, u64 cut_count
 *
 * Decoding goes over the bytes twice: the first time it only follows the
 * lengths and adds up what must be allocated, at most a small multiple of what
 * was sent; the second time it fills one block. After that every entry is
 * checked. Whatever is wrong, nothing stays allocated.
 */
#include "formats/table.h"
#include "common/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* A scalar whose name is empty, which the check then refuses. */
#define ENTRY_BYTES_MIN   ((uint64_t)(2 + 4 + 8 + 8))
#define REPLICA_COUNT_MAX 65536

bool table_name_ok(const char *name, size_t bytes)
{
    static const char reserved[] = TABLE_RESERVED_PREFIX;
    const size_t prefix = sizeof reserved - 1;
    const uint8_t *p = (const uint8_t *)name;
    size_t at = 0, step;

    if (bytes == 0 || bytes > TABLE_NAME_MAX)
        return false;
    if (bytes > prefix && memcmp(name, reserved, prefix) == 0)
        at = prefix;
    for (; at < bytes; at += step) {
        step = text_character(p + at, bytes - at);
        if (step == 0)
            return false;
    }
    return true;
}

static int replica_check(const struct entry *e, struct err *err)
{
    if (e->replica_count == 0 || e->replica_count > REPLICA_COUNT_MAX ||
        e->replica_index >= e->replica_count)
        return err_set(err, -EINVAL, "replica %" PRIu32 " of %" PRIu32,
                       e->replica_index, e->replica_count);
    return 0;
}

int entry_check(const struct entry *e, struct err *err)
{
    int rc;

    if (!e->name ||
        !table_name_ok(e->name, strnlen(e->name, TABLE_NAME_MAX + 1)))
        return err_set(err, -EINVAL,
                       "tensor (not a name): names have 1 to %d bytes of UTF-8 "
                       "without control characters",
                       TABLE_NAME_MAX);
    rc = geometry_check(&e->geometry, err);
    if (!rc)
        rc = region_check(&e->geometry, &e->region, NULL, err);
    if (!rc)
        rc = replica_check(e, err);
    if (rc)
        return err_prefix(err, "tensor %s", e->name);
    return 0;
}

void region_encode(const struct region *r, uint32_t ndim, struct wr *w)
{
    wr_u32(w, r->box_count);
    wr_u32(w, r->is_cut);
    for (uint32_t k = 0; k < r->box_count; k++) {
        for (uint32_t d = 0; d < ndim; d++)
            wr_u64(w, r->boxes[k].offset[d]);
        for (uint32_t d = 0; d < ndim; d++)
            wr_u64(w, r->boxes[k].size[d]);
    }
    if (r->is_cut) {
        wr_u64(w, r->cut_start);
        wr_u64(w, r->cut_count);
    }
}

void table_encode(const struct entry *entries, size_t count, struct wr *w)
{
    if (count > UINT32_MAX) {
        w->failed = true;
        return;
    }
    wr_u32(w, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = &entries[i];

        wr_str(w, e->name);
        wr_u8(w, (uint8_t)e->geometry.dtype);
        wr_u8(w, (uint8_t)e->geometry.ndim);
        wr_u16(w, 0);
        wr_u32(w, e->replica_index);
        wr_u32(w, e->replica_count);
        for (uint32_t d = 0; d < e->geometry.ndim; d++)
            wr_u64(w, e->geometry.shape[d]);
        region_encode(&e->region, e->geometry.ndim, w);
    }
}

/* Where the next name and the next boxes of a table go. NULL: only count. */
struct room {
    char *name;
    struct box *box;
    uint64_t name_bytes, box_count;
};

static void read_boxes(struct rd *r, struct entry *e, struct room *room)
{
    uint32_t ndim = e->geometry.ndim, count = e->region.box_count;
    uint64_t bytes;

    /* A box without dimensions takes no bytes: there can be only one. */
    if (ndim == 0 && count > 1)
        r->bad = true;
    if (!mul_u64(count, (uint64_t)ndim * 16, &bytes) || bytes > rd_left(r))
        r->bad = true;
    if (r->bad)
        return;
    room->box_count += count;
    if (!room->box) {
        (void)rd_bytes(r, bytes);
        return;
    }
    e->region.boxes = count ? room->box : NULL;
    for (uint32_t k = 0; k < count; k++, room->box++) {
        *room->box = (struct box){0};
        for (uint32_t d = 0; d < ndim; d++)
            room->box->offset[d] = rd_u64(r);
        for (uint32_t d = 0; d < ndim; d++)
            room->box->size[d] = rd_u64(r);
    }
}

static void read_region(struct rd *r, struct entry *e, struct room *room)
{
    uint32_t is_cut;

    e->region.box_count = rd_u32(r);
    is_cut = rd_u32(r);
    if (is_cut > 1)
        r->bad = true;
    e->region.is_cut = is_cut == 1;
    read_boxes(r, e, room);
    if (e->region.is_cut) {
        e->region.cut_start = rd_u64(r);
        e->region.cut_count = rd_u64(r);
    }
}

static void read_entry(struct rd *r, struct entry *e, struct room *room)
{
    uint16_t name_bytes = rd_u16(r);
    const char *name = rd_bytes(r, name_bytes);

    *e = (struct entry){0};
    if (!name || memchr(name, 0, name_bytes)) {
        r->bad = true;
        return;
    }
    room->name_bytes += name_bytes + 1U;
    if (room->name) {
        memcpy(room->name, name, name_bytes);
        room->name[name_bytes] = '\0';
        e->name = room->name;
        room->name += name_bytes + 1;
    }
    e->geometry.dtype = rd_u8(r);
    e->geometry.ndim = rd_u8(r);
    if (rd_u16(r) != 0 || e->geometry.ndim > MAX_DIMS)
        r->bad = true;
    e->replica_index = rd_u32(r);
    e->replica_count = rd_u32(r);
    for (uint32_t d = 0; !r->bad && d < e->geometry.ndim; d++)
        e->geometry.shape[d] = rd_u64(r);
    if (!r->bad)
        read_region(r, e, room);
}

/* The first pass. */
static int measure(const void *data, size_t bytes, uint32_t *count,
                   struct room *need)
{
    struct rd r = rd_init(data, bytes);
    struct entry e;

    *need = (struct room){0};
    *count = rd_u32(&r);
    if (*count > rd_left(&r) / ENTRY_BYTES_MIN)
        return -EBADMSG;
    for (uint32_t i = 0; !r.bad && i < *count; i++)
        read_entry(&r, &e, need);
    return rd_done(&r) ? 0 : -EBADMSG;
}

static size_t block_bytes(size_t count, const struct room *need)
{
    return count * sizeof(struct entry) + need->box_count * sizeof(struct box) +
           need->name_bytes + 1;
}

int table_decoded_bytes(const void *data, size_t bytes, uint64_t *out)
{
    struct room need;
    uint32_t count;
    int rc = measure(data, bytes, &count, &need);

    *out = rc ? 0 : block_bytes(count, &need);
    return rc;
}

/* The second pass, into one block: entries, boxes, names. */
static int fill(const void *data, size_t bytes, const struct room *need,
                struct table *out)
{
    struct rd r = rd_init(data, bytes);
    size_t entry_bytes = out->count * sizeof(struct entry);
    size_t box_bytes = need->box_count * sizeof(struct box);
    struct room room = {0};
    uint8_t *memory = malloc(block_bytes(out->count, need));

    if (!memory)
        return -ENOMEM;
    out->memory = memory;
    out->entry = (struct entry *)(void *)memory;
    room.box = (struct box *)(void *)(memory + entry_bytes);
    room.name = (char *)(memory + entry_bytes + box_bytes);
    (void)rd_u32(&r);
    for (size_t i = 0; i < out->count; i++)
        read_entry(&r, &out->entry[i], &room);
    return 0;
}

int table_decode(const void *data, size_t bytes, struct table *out,
                 struct err *err)
{
    struct room need;
    uint32_t count;
    int rc;

    *out = (struct table){0};
    rc = measure(data, bytes, &count, &need);
    if (rc)
        return err_set(err, rc, "%zu bytes that are no table", bytes);
    out->count = count;
    rc = fill(data, bytes, &need, out);
    if (rc) {
        (void)err_set(err, rc, "no memory for a table of %" PRIu32 " entries",
                      count);
        goto err_free;
    }
    for (size_t i = 0; i < out->count; i++) {
        rc = entry_check(&out->entry[i], err);
        if (rc)
            goto err_free;
    }
    return 0;

err_free:
    table_free(out);
    return rc;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    free(t->memory);
    *t = (struct table){0};
}

struct digest table_digest(const void *data, size_t bytes)
{
    return hash_128(data, bytes);
}
