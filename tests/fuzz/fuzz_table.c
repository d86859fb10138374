/*
 * fuzz_table.c - tables of descriptors, region lists, and the write lists that
 * follow from them:
 *
 *     encoded table (table.h)
 *
 * What decodes encodes again to the same bytes and takes the memory that was
 * announced. Every region is walked in both orders: the same elements, inside
 * the buffers that its sizes promise; small ones are gathered for real. The
 * write list's pieces tile its slices.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/writelist.h"

#include <stdlib.h>

#define SMALL_BYTES ((uint64_t)16 << 10)
#define LIST_BYTES  ((uint64_t)1 << 20)

/* One behind the last byte that the slab touches. */
static uint64_t slab_end(const struct slab *s, const struct slabs *all)
{
    uint64_t last = s->base;

    for (uint32_t d = 0; d < all->ndim; d++)
        last += (s->size[d] - 1) * s->stride[d];
    return (last + 1) * all->unit_bytes;
}

static void gather(const struct slabs *local, const struct slabs *packed,
                   uint64_t local_bytes)
{
    uint8_t *from = calloc(1, local_bytes), *to = malloc(packed->bytes);

    region_gather(local, packed, 0, packed->bytes, from, to);
    free(from);
    free(to);
}

static void region(const struct entry *e)
{
    uint64_t bytes = region_local_bytes(&e->geometry, &e->region, NULL);
    uint64_t sum = 0, units;
    struct slabs local, packed;

    /* Boxes can be cut into a few slabs each, which is all there is to it. */
    fuzz_allocations(256);
    fuzz_check(region_slabs(&e->geometry, &e->region, REGION_LOCAL, NULL,
                            &local) == 0);
    fuzz_check(region_slabs(&e->geometry, &e->region, REGION_PACKED, NULL,
                            &packed) == 0);
    fuzz_check(local.count == packed.count);
    fuzz_check(packed.bytes == region_packed_bytes(&e->geometry, &e->region));
    fuzz_check(packed.bytes <= bytes);
    for (size_t i = 0; i < local.count; i++) {
        const struct slab *a = &local.slab[i], *b = &packed.slab[i];

        units = slab_units(a, local.ndim);
        fuzz_check(units > 0 && units == slab_units(b, packed.ndim));
        fuzz_check(memcmp(a->offset, b->offset, sizeof a->offset) == 0);
        fuzz_check(b->base == sum);
        fuzz_check(slab_end(a, &local) <= bytes);
        sum += units;
    }
    fuzz_check(sum * packed.unit_bytes == packed.bytes);
    if (bytes <= SMALL_BYTES)
        gather(&local, &packed, bytes);
    slabs_free(&local);
    slabs_free(&packed);
}

static void pieces(const struct table *t, const struct writelist *l)
{
    uint64_t sum = 0;

    fuzz_check(l->slice_count == t->count);
    for (size_t i = 0; i < l->slice_count; i++) {
        const struct wl_slice *s = &l->slice[i];
        uint64_t at = s->start;

        for (uint32_t k = 0; k < s->piece_count; k++) {
            const struct wl_piece *p = &l->piece[s->first_piece + k];

            fuzz_check(s->first_piece + k < l->piece_count);
            fuzz_check(p->entry == i && p->region_start == at && p->bytes);
            fuzz_check(p->chunk < l->chunk_count);
            fuzz_check(p->chunk_start % PIECE_ALIGN == 0 &&
                       (uint64_t)p->chunk_start + p->bytes <=
                           l->chunk[p->chunk].raw_bytes);
            at += p->bytes;
        }
        fuzz_check(at == s->start + s->bytes && at <= s->packed_bytes);
        sum += s->bytes;
    }
    fuzz_check(sum == l->bytes);
}

static void write_list(const struct table *t, uint32_t chunk_bytes)
{
    struct writelist list;
    uint64_t bytes;
    int rc = writelist_bytes(t->entry, t->count, chunk_bytes, &bytes);

    /* A few bytes may claim a large tensor: the daemon asks first, too. */
    if (rc || bytes > LIST_BYTES)
        return;
    fuzz_allocations(0);
    fuzz_check(writelist_build(t->entry, t->count, chunk_bytes, &list) == 0);
    pieces(t, &list);
    writelist_free(&list);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    size_t table_bytes;
    uint8_t *data = fuzz_exact(in, bytes, &table_bytes);
    struct table t;
    struct wr w = {0};
    struct err err;
    uint64_t announced;
    int rc = table_decoded_bytes(data, table_bytes, &announced);

    if (rc == 0)
        fuzz_check(announced <= table_bytes * 16 + 64);
    if (table_decode(data, table_bytes, &t, &err) == 0) {
        fuzz_check(rc == 0);
        table_encode(t.entry, t.count, &w);
        fuzz_same(&w, data, table_bytes);
        for (size_t i = 0; i < t.count; i++)
            region(&t.entry[i]);
        write_list(&t, CHUNK_BYTES_MIN);
        write_list(&t, CHUNK_BYTES_MAX);
        table_free(&t);
    }
    free(data);
}
