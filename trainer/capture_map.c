/*
 * capture_map.c - see capture_map.h.
 *
 * An unchanged layout is recognised by the digest of the encoded table and of
 * what the table leaves out (strides, capture classes): encoding is the only
 * cost that each save pays again. Entries without padding and strides are
 * copied straight; only the others get lists of slabs.
 */
#include "trainer/capture_map.h"
#include "trainer/copy.h"

#include <errno.h>
#include <stdlib.h>

/* Digest of everything that the map depends on, chunk_bytes apart. */
static int make_key(const struct wr *encoded, const struct descriptors *d,
                    struct digest *key)
{
    struct digest table = hash_128(encoded->data, encoded->bytes);
    struct wr w = {0};

    wr_bytes(&w, table.b, sizeof table.b);
    for (size_t i = 0; i < d->count; i++) {
        wr_u8(&w, d->is_now[i]);
        wr_u8(&w, d->strides[i] != NULL);
        for (uint32_t k = 0; d->strides[i] && k < d->entry[i].geometry.ndim;
             k++)
            wr_u64(&w, d->strides[i][k]);
    }
    if (!w.failed)
        *key = hash_128(w.data, w.bytes);
    wr_free(&w);
    return w.failed ? -ENOMEM : 0;
}

static int map_entry_fill(struct map_entry *m, const struct entry *e,
                          const uint64_t *strides, bool is_read)
{
    uint64_t packed = region_packed_bytes(&e->geometry, &e->region);
    int rc;

    m->is_plain = !strides &&
                  packed == region_local_bytes(&e->geometry, &e->region, NULL);
    if (m->is_plain || !is_read)
        return 0;
    rc = region_slabs(&e->geometry, &e->region, REGION_LOCAL, strides,
                      &m->local);
    if (rc == 0)
        rc = region_slabs(&e->geometry, &e->region, REGION_PACKED, NULL,
                          &m->packed);
    return rc;
}

static bool has_now(const struct capture_map *map, const struct wl_chunk *c)
{
    for (uint32_t i = 0; i < c->piece_count; i++)
        if (map->entry[map->list.piece[c->first_piece + i].entry].is_now)
            return true;
    return false;
}

/* Chunks that hold a CAPTURE_NOW piece first, each part in its order. */
static int fill_order(struct capture_map *map)
{
    size_t count = map->list.chunk_count;
    uint32_t lazy = 0;

    map->order = calloc(count ? count : 1, sizeof *map->order);
    if (!map->order)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        map->now_count += has_now(map, &map->list.chunk[i]);
    for (uint32_t i = 0, now = 0; i < count; i++)
        if (has_now(map, &map->list.chunk[i]))
            map->order[now++] = i;
        else
            map->order[map->now_count + lazy++] = i;
    return 0;
}

static int fill(struct capture_map *map, const struct descriptors *d,
                const struct trust *trust, struct err *err)
{
    int rc =
        table_decode(map->encoded.data, map->encoded.bytes, &map->table, err);

    if (rc)
        return rc;
    map->entry = calloc(d->count ? d->count : 1, sizeof *map->entry);
    if (!map->entry)
        return err_set(err, -ENOMEM, "no memory for %zu descriptors", d->count);
    rc = writelist_build(map->table.entry, map->table.count, map->chunk_bytes,
                         &map->list);
    for (size_t i = 0; i < d->count && rc == 0; i++) {
        map->entry[i].is_now = d->is_now[i];
        rc = map_entry_fill(&map->entry[i], &map->table.entry[i], d->strides[i],
                            map->list.slice[i].bytes > 0 ||
                                trust_compares(trust, &map->table.entry[i]));
    }
    if (rc == 0)
        rc = fill_order(map);
    if (rc)
        return err_set(err, rc, "the list of what is written: %s",
                       err_text(rc));
    return 0;
}

int capture_map_make(struct capture_map *old, const struct descriptors *d,
                     const struct ckpt *ctx, uint32_t chunk_bytes,
                     struct capture_map **out, struct err *err)
{
    struct capture_map *map = calloc(1, sizeof *map);
    int rc;

    if (!map)
        return err_set(err, -ENOMEM, "no memory");
    map->references = 1;
    map->chunk_bytes = chunk_bytes;
    table_encode(d->entry, d->count, &map->encoded);
    if (map->encoded.failed || make_key(&map->encoded, d, &map->key)) {
        rc = err_set(err, -ENOMEM, "no memory for %zu descriptors", d->count);
    } else if (map->encoded.bytes > WIRE_TABLE_MAX) {
        rc =
            err_set(err, -E2BIG, "the descriptors take %zu bytes, at most %llu",
                    map->encoded.bytes, (unsigned long long)WIRE_TABLE_MAX);
    } else if (old && old->chunk_bytes == chunk_bytes &&
               digest_equal(&old->key, &map->key)) {
        capture_map_put(map);
        sync_lock(ctx->sync);
        old->references++;
        sync_unlock(ctx->sync);
        *out = old;
        return 0;
    } else {
        rc = fill(map, d, &ctx->trust, err);
    }
    if (rc)
        capture_map_put(map);
    else
        *out = map;
    return rc;
}

void capture_map_put(struct capture_map *map)
{
    if (!map || --map->references)
        return;
    for (size_t i = 0; map->entry && i < map->table.count; i++) {
        slabs_free(&map->entry[i].local);
        slabs_free(&map->entry[i].packed);
    }
    free(map->entry);
    free(map->order);
    writelist_free(&map->list);
    table_free(&map->table);
    wr_free(&map->encoded);
    free(map);
}

void capture_piece(const struct capture_map *map, uint32_t entry,
                   void *const *data, uint64_t start, uint32_t bytes,
                   uint8_t *to)
{
    const struct map_entry *m = &map->entry[entry];
    const uint8_t *from = data[entry];

    if (m->is_plain)
        copy_to_slot(to, from + start, bytes);
    else
        region_gather(&m->local, &m->packed, start, bytes, from, to);
}

void capture_chunk(const struct capture_map *map, uint32_t chunk,
                   void *const *data, uint8_t *slot)
{
    const struct wl_chunk *c = &map->list.chunk[chunk];
    uint32_t at = 0;

    for (uint32_t i = 0; i < c->piece_count; i++) {
        const struct wl_piece *p = &map->list.piece[c->first_piece + i];

        memset(slot + at, 0, p->chunk_start - at);
        capture_piece(map, p->entry, data, p->region_start, p->bytes,
                      slot + p->chunk_start);
        at = p->chunk_start + p->bytes;
    }
    memset(slot + at, 0, c->raw_bytes - at);
}
