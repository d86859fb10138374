/*
 * writelist.c - the rule of writelist.h, computed.
 *
 * Three steps: which slice of each entry this rank writes; how many pieces and
 * chunks that can make at most, so that everything is allocated once; then the
 * entries are laid into chunks in table order. Failures are -ENOMEM and
 * -EFBIG, after which nothing is held.
 */
#include "formats/writelist.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* The replica that writes all of a small region: -ENOMEM or its index. */
static int64_t small_writer(const struct entry *e, struct wr *key)
{
    uint64_t hash;

    key->bytes = 0;
    wr_bytes(key, e->name, strlen(e->name));
    region_encode(&e->region, e->geometry.ndim, key);
    if (key->failed)
        return -ENOMEM;
    hash = hash_xxh64(key->data, key->bytes);
    return (int64_t)(hash % e->replica_count);
}

static int slice_of(const struct entry *e, uint32_t chunk_bytes, struct wr *key,
                    struct wl_slice *out)
{
    uint64_t packed = region_packed_bytes(&e->geometry, &e->region);
    uint64_t chunks = packed / chunk_bytes + (packed % chunk_bytes != 0);
    uint64_t n = e->replica_count, i = e->replica_index, end;
    int64_t writer;

    *out = (struct wl_slice){.bytes = packed, .packed_bytes = packed};
    if (n == 1)
        return 0;
    if (packed >= n * REPLICA_SLICE_BYTES) {
        out->start = min_u64(chunks * i / n * chunk_bytes, packed);
        end = min_u64(chunks * (i + 1) / n * chunk_bytes, packed);
        out->bytes = end - out->start;
        return 0;
    }
    writer = small_writer(e, key);
    if (writer < 0)
        return (int)writer;
    if ((uint64_t)writer != i)
        out->bytes = 0;
    return 0;
}

static int slices(const struct entry *entries, size_t count,
                  uint32_t chunk_bytes, struct writelist *out)
{
    struct wr key = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = slice_of(&entries[i], chunk_bytes, &key, &out->slice[i]);
    wr_free(&key);
    return rc;
}

/* How many pieces more: that many chunks suffice too. */
static int add_pieces(const struct wl_slice *slice, uint32_t chunk_bytes,
                      uint64_t *pieces)
{
    *pieces += slice->bytes / chunk_bytes + (slice->bytes % chunk_bytes != 0);
    return *pieces > WRITELIST_PIECES_MAX ? -EFBIG : 0;
}

static int count_pieces(const struct writelist *w, uint32_t chunk_bytes,
                        uint64_t *pieces)
{
    int rc = 0;

    *pieces = 0;
    for (size_t i = 0; rc == 0 && i < w->slice_count; i++)
        rc = add_pieces(&w->slice[i], chunk_bytes, pieces);
    return rc;
}

int writelist_bytes(const struct entry *entries, size_t count,
                    uint32_t chunk_bytes, uint64_t *out)
{
    struct wl_slice slice;
    struct wr key = {0};
    uint64_t pieces = 0;
    int rc = count > UINT32_MAX ? -EFBIG : 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = slice_of(&entries[i], chunk_bytes, &key, &slice);
        if (rc == 0)
            rc = add_pieces(&slice, chunk_bytes, &pieces);
    }
    wr_free(&key);
    *out = (count + 1) * sizeof(struct wl_slice) +
           (pieces + 1) * (sizeof(struct wl_piece) + sizeof(struct wl_chunk));
    return rc;
}

/* The chunk being filled, and how many bytes of each unit size (1, 2, 4, 8) it
 * has. None is open while room is 0. */
struct filling {
    struct writelist *list;
    uint32_t chunk_bytes, room;
    uint64_t unit_sum[4];
};

static void open_chunk(struct filling *f)
{
    struct writelist *w = f->list;

    w->chunk[w->chunk_count++] =
        (struct wl_chunk){.first_piece = (uint32_t)w->piece_count};
    f->room = f->chunk_bytes;
    for (size_t i = 0; i < ARRAY_LEN(f->unit_sum); i++)
        f->unit_sum[i] = 0;
}

/* Of the unit sizes with most bytes the smallest. */
static uint32_t main_unit(const struct filling *f)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < ARRAY_LEN(f->unit_sum); i++) {
        if (f->unit_sum[i] > f->unit_sum[best])
            best = i;
    }
    return 1U << best;
}

/* Puts `bytes` of an entry, from `start` on, at the next place of the open
 * chunk, where they fit. */
static void put(struct filling *f, const struct entry *entries, uint32_t entry,
                uint64_t start, uint32_t bytes)
{
    struct writelist *w = f->list;
    struct wl_chunk *chunk = &w->chunk[w->chunk_count - 1];
    uint64_t at = align_up(chunk->raw_bytes, PIECE_ALIGN);
    uint32_t unit = geometry_unit_bytes(&entries[entry].geometry);

    assert(at + bytes <= f->chunk_bytes);
    w->piece[w->piece_count++] = (struct wl_piece){
        .region_start = start,
        .entry = entry,
        .chunk = (uint32_t)(w->chunk_count - 1),
        .chunk_start = (uint32_t)at,
        .bytes = bytes,
    };
    w->slice[entry].piece_count++;
    chunk->piece_count++;
    chunk->raw_bytes = (uint32_t)at + bytes;
    f->room =
        f->chunk_bytes -
        (uint32_t)min_u64(f->chunk_bytes, align_up(at + bytes, PIECE_ALIGN));
    f->unit_sum[__builtin_ctz(unit)] += bytes;
    chunk->unit_bytes = main_unit(f);
}

static void lay_out(struct filling *f, const struct entry *entries)
{
    struct writelist *w = f->list;

    for (uint32_t i = 0; i < w->slice_count; i++) {
        struct wl_slice *s = &w->slice[i];
        uint64_t at = s->start, end = s->start + s->bytes;

        s->first_piece = (uint32_t)w->piece_count;
        w->bytes += s->bytes;
        while (at < end) {
            uint32_t bytes = (uint32_t)min_u64(end - at, f->chunk_bytes);

            /* The rest of a large one follows a full chunk: room is 0. */
            if (s->bytes >= f->chunk_bytes || bytes > f->room)
                open_chunk(f);
            put(f, entries, i, at, bytes);
            at += bytes;
        }
    }
    for (size_t i = 0; i < w->chunk_count; i++)
        w->raw_bytes += w->chunk[i].raw_bytes;
}

int writelist_build(const struct entry *entries, size_t count,
                    uint32_t chunk_bytes, struct writelist *out)
{
    struct filling f = {.list = out, .chunk_bytes = chunk_bytes};
    uint64_t pieces;
    int rc;

    assert(chunk_bytes >= CHUNK_BYTES_MIN && chunk_bytes <= CHUNK_BYTES_MAX);
    assert((chunk_bytes & (chunk_bytes - 1)) == 0);
    *out = (struct writelist){.slice_count = count};
    if (count > UINT32_MAX)
        return -EFBIG;
    out->slice = calloc(count + 1, sizeof *out->slice);
    if (!out->slice)
        return -ENOMEM;
    rc = slices(entries, count, chunk_bytes, out);
    if (!rc)
        rc = count_pieces(out, chunk_bytes, &pieces);
    if (rc)
        goto err_free;
    rc = -ENOMEM;
    out->piece = calloc(pieces + 1, sizeof *out->piece);
    out->chunk = calloc(pieces + 1, sizeof *out->chunk);
    if (!out->piece || !out->chunk)
        goto err_free;
    lay_out(&f, entries);
    return 0;

err_free:
    writelist_free(out);
    return rc;
}

void writelist_free(struct writelist *w)
{
    if (!w)
        return;
    free(w->piece);
    free(w->chunk);
    free(w->slice);
    *w = (struct writelist){0};
}
