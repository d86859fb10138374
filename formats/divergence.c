/*
 * divergence.c - rows of replicas: keys, groups, and where two copies differ.
 * See divergence.h; what is made of them is judge.c's.
 */
#include "formats/divergence.h"

#include <stdlib.h>

struct digest replica_key(const char *name, size_t name_bytes,
                          const struct geometry *g, const struct region *r,
                          struct wr *w)
{
    w->bytes = 0;
    wr_u64(w, name_bytes);
    wr_bytes(w, name, name_bytes);
    wr_u32(w, g->dtype);
    wr_u32(w, g->ndim);
    for (uint32_t d = 0; d < g->ndim; d++)
        wr_u64(w, g->shape[d]);
    region_encode(r, g->ndim, w);
    return hash_128(w->data, w->failed ? 0 : w->bytes);
}

static int compare_blocks(const struct replica_row *a,
                          const struct replica_row *b)
{
    int c = memcmp(a->key.b, b->key.b, sizeof a->key.b);

    if (c)
        return c;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int compare_rows(const void *x, const void *y)
{
    const struct replica_row *a = x, *b = y;
    int c = compare_blocks(a, b);

    return c ? c : (a->rank > b->rank) - (a->rank < b->rank);
}

void replica_rows_sort(struct replica_row *rows, size_t count)
{
    if (count > 1)
        qsort(rows, count, sizeof *rows, compare_rows);
}

size_t replica_group_end(const struct replica_row *rows, size_t count,
                         size_t from)
{
    size_t end = from + 1;

    while (end < count && compare_blocks(&rows[from], &rows[end]) == 0)
        end++;
    return end;
}

bool replica_group_differs(const struct replica_row *rows, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (!digest_equal(&rows[0].content, &rows[i].content))
            return true;
    return false;
}

/* A group is as large as a tensor has replicas and seldom differs, and what
 * most have is soon found to be most: counting each content is good enough. */
size_t replica_group_right(const struct replica_row *rows, size_t count)
{
    size_t best = 0, most = 0;

    for (size_t i = 0; i < count && most <= count - i; i++) {
        size_t same = 0;

        for (size_t k = i; k < count; k++)
            same += digest_equal(&rows[i].content, &rows[k].content);
        if (same > most) {
            most = same;
            best = i;
        }
    }
    return best;
}

uint64_t replica_first_difference(const void *a, const void *b, uint64_t bytes,
                                  uint32_t unit_bytes)
{
    const uint8_t *x = a, *y = b;
    uint64_t at = 0;

    while (at + 4096 <= bytes && memcmp(x + at, y + at, 4096) == 0)
        at += 4096;
    while (at < bytes && x[at] == y[at])
        at++;
    return at < bytes ? at - at % unit_bytes : bytes;
}
