/*
 * boxtree.c - see boxtree.h.
 *
 * Both walks keep their own stack: halves differ by at most one slab, so 64
 * entries are more than 2^31 slabs can need. The order of slabs within a leaf
 * depends on the slabs alone, thus plans are the same on every machine.
 */
#include "formats/boxtree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define LEAF_SLABS  8
#define STACK_DEPTH 64

struct item {
    uint64_t key; /* twice the middle along the dimension of the split */
    uint32_t slab;
};

static uint64_t *bound_of(const struct boxtree *t, uint32_t node)
{
    return t->bound + (size_t)2 * t->ndim * node;
}

/* The box around a node's slabs; returns the dimension whose middles lie
 * furthest apart. */
static uint32_t measure(const struct boxtree *t, uint32_t node, uint32_t first,
                        uint32_t count)
{
    uint64_t *from = bound_of(t, node), *to = from + t->ndim;
    uint64_t widest = 0;
    uint32_t dim = 0;

    for (uint32_t d = 0; d < t->ndim; d++) {
        uint64_t low = UINT64_MAX, high = 0;

        from[d] = UINT64_MAX;
        to[d] = 0;
        for (uint32_t i = first; i < first + count; i++) {
            const struct slab *s = &t->slab[t->order[i]];
            uint64_t end = s->offset[d] + s->size[d];

            from[d] = min_u64(from[d], s->offset[d]);
            to[d] = max_u64(to[d], end);
            low = min_u64(low, s->offset[d] + end);
            high = max_u64(high, s->offset[d] + end);
        }
        if (high - low > widest) {
            widest = high - low;
            dim = d;
        }
    }
    return dim;
}

static void swap_items(struct item *a, struct item *b)
{
    struct item t = *a;

    *a = *b;
    *b = t;
}

/* Quickselect: afterwards nothing before item[middle] is greater than it and
 * nothing behind it is less. The pivots are drawn from a fixed sequence. */
static void select_middle(struct item *item, int64_t count, int64_t middle)
{
    int64_t low = 0, high = count - 1;
    uint64_t draw = (uint64_t)count;

    while (low < high) {
        int64_t i = low, j = high;
        uint64_t pivot;

        draw = draw * 6364136223846793005U + 1442695040888963407U;
        pivot = item[low + (int64_t)(draw >> 33) % (high - low + 1)].key;
        while (i <= j) {
            while (item[i].key < pivot)
                i++;
            while (item[j].key > pivot)
                j--;
            if (i <= j)
                swap_items(&item[i++], &item[j--]);
        }
        if (middle <= j)
            high = j;
        else if (middle >= i)
            low = i;
        else
            return;
    }
}

/* Orders the node's slabs so that those of the lower half come first. */
static void split(const struct boxtree *t, const struct boxtree_node *n,
                  uint32_t dim, struct item *item)
{
    for (uint32_t i = 0; i < n->count; i++) {
        const struct slab *s = &t->slab[t->order[n->first + i]];

        item[i].key = t->ndim ? 2 * s->offset[dim] + s->size[dim] : 0;
        item[i].slab = t->order[n->first + i];
    }
    select_middle(item, n->count, n->count / 2);
    for (uint32_t i = 0; i < n->count; i++)
        t->order[n->first + i] = item[i].slab;
}

/* Measures and splits one node after another; `item` has room for all slabs. */
static void grow(struct boxtree *t, uint32_t count, struct item *item)
{
    uint32_t stack[STACK_DEPTH], depth = 0;

    t->node[0] = (struct boxtree_node){.count = count};
    t->node_count = 1;
    stack[depth++] = 0;
    while (depth > 0) {
        uint32_t at = stack[--depth];
        struct boxtree_node *n = &t->node[at];
        uint32_t half = n->count / 2;
        uint32_t dim = measure(t, at, n->first, n->count);

        if (n->count <= LEAF_SLABS)
            continue;
        split(t, n, dim, item);
        n->child = t->node_count;
        t->node_count += 2;
        t->node[n->child] =
            (struct boxtree_node){.first = n->first, .count = half};
        t->node[n->child + 1] = (struct boxtree_node){.first = n->first + half,
                                                      .count = n->count - half};
        n->count = 0;
        assert(depth + 2 <= STACK_DEPTH);
        stack[depth++] = n->child + 1;
        stack[depth++] = n->child;
    }
}

int boxtree_build(const struct slab *slabs, size_t count, uint32_t ndim,
                  struct boxtree *out)
{
    /* Every leaf but a lone root has at least LEAF_SLABS / 2 slabs. */
    size_t nodes = count / (LEAF_SLABS / 2) * 2 + 1;
    struct item *item = NULL;

    *out = (struct boxtree){.slab = slabs, .ndim = ndim};
    if (count > INT32_MAX)
        return -EFBIG;
    if (count == 0)
        return 0;
    out->order = calloc(count, sizeof *out->order);
    out->node = calloc(nodes, sizeof *out->node);
    out->bound = calloc(nodes * ndim * 2 + 1, sizeof *out->bound);
    item = calloc(count, sizeof *item);
    if (!out->order || !out->node || !out->bound || !item)
        goto err_free;
    for (uint32_t i = 0; i < count; i++)
        out->order[i] = i;
    grow(out, (uint32_t)count, item);
    free(item);
    return 0;

err_free:
    free(item);
    boxtree_free(out);
    return -ENOMEM;
}

void boxtree_free(struct boxtree *t)
{
    if (!t)
        return;
    free(t->order);
    free(t->node);
    free(t->bound);
    *t = (struct boxtree){0};
}

static bool node_meets(const struct boxtree *t, uint32_t node,
                       const struct slab *q)
{
    const uint64_t *from = bound_of(t, node), *to = from + t->ndim;

    for (uint32_t d = 0; d < t->ndim; d++) {
        if (q->offset[d] >= to[d] || q->offset[d] + q->size[d] <= from[d])
            return false;
    }
    return true;
}

static bool slabs_meet(const struct slab *a, const struct slab *b,
                       uint32_t ndim)
{
    for (uint32_t d = 0; d < ndim; d++) {
        if (a->offset[d] >= b->offset[d] + b->size[d] ||
            b->offset[d] >= a->offset[d] + a->size[d])
            return false;
    }
    return true;
}

static int visit_leaf(const struct boxtree *t, const struct boxtree_node *n,
                      const struct slab *query, boxtree_visit *visit,
                      void *context)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < n->count; i++) {
        uint32_t slab = t->order[n->first + i];

        if (slabs_meet(&t->slab[slab], query, t->ndim))
            rc = visit(context, slab);
    }
    return rc;
}

int boxtree_query(const struct boxtree *t, const struct slab *query,
                  boxtree_visit *visit, void *context)
{
    uint32_t stack[STACK_DEPTH], depth = 0;
    int rc = 0;

    if (t->node_count)
        stack[depth++] = 0;
    while (depth > 0 && rc == 0) {
        uint32_t at = stack[--depth];
        const struct boxtree_node *n = &t->node[at];

        if (!node_meets(t, at, query))
            continue;
        if (n->count) {
            rc = visit_leaf(t, n, query, visit, context);
            continue;
        }
        stack[depth++] = n->child + 1;
        stack[depth++] = n->child;
    }
    return rc;
}
