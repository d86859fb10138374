/*
 * hole.c - slabs_first_hole(); see boxtree.h.
 *
 * One dimension after another: a sweep along it keeps how many elements of the
 * cross-section the slabs under the sweep hold, and stops at the first place
 * where these are too few. Disjoint slabs cannot hide a hole there, so the
 * search goes on only among them, one dimension deeper.
 */
#include "formats/boxtree.h"

#include <errno.h>
#include <stdlib.h>

/* At `at` the cross-section gains (or, negative in two's complement, loses). */
struct event {
    uint64_t at, gain;
};

static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

static uint64_t low_of(const struct slab *s, const struct slab *within,
                       uint32_t d)
{
    return max_u64(s->offset[d], within->offset[d]);
}

static uint64_t high_of(const struct slab *s, const struct slab *within,
                        uint32_t d)
{
    return min_u64(s->offset[d] + s->size[d],
                   within->offset[d] + within->size[d]);
}

/* Elements of the slab in `within`, of the dimensions after d only. */
static uint64_t cross_section(const struct slab *s, const struct slab *within,
                              uint32_t d, uint32_t ndim)
{
    uint64_t units = 1;

    while (++d < ndim)
        units *= high_of(s, within, d) - low_of(s, within, d);
    return units;
}

/* The first place along d where less than `full` is held. */
static bool sweep(const struct event *event, size_t count, uint64_t full,
                  uint64_t end, uint64_t *at)
{
    uint64_t held = 0;
    size_t i = 0;

    while (*at < end) {
        while (i < count && event[i].at <= *at)
            held += event[i++].gain;
        if (held < full)
            return true;
        *at = i < count ? event[i].at : end;
    }
    return false;
}

/* Goes one dimension deeper; leaves in `live` the slabs at hole[d]. */
static bool narrow(const struct slab *within, const struct slab **live,
                   size_t *count, const uint32_t dims[2], struct event *event,
                   uint64_t *hole)
{
    uint32_t d = dims[0], ndim = dims[1];
    uint64_t end = within->offset[d] + within->size[d];
    size_t left = 0;

    for (size_t i = 0; i < *count; i++) {
        uint64_t gain = cross_section(live[i], within, d, ndim);

        event[2 * i] = (struct event){low_of(live[i], within, d), gain};
        event[2 * i + 1] = (struct event){high_of(live[i], within, d), -gain};
    }
    qsort(event, 2 * *count, sizeof *event, compare_events);
    hole[d] = within->offset[d];
    if (!sweep(event, 2 * *count, cross_section(within, within, d, ndim), end,
               &hole[d]))
        return false;
    for (size_t i = 0; i < *count; i++) {
        if (low_of(live[i], within, d) <= hole[d] &&
            hole[d] < high_of(live[i], within, d))
            live[left++] = live[i];
    }
    *count = left;
    return true;
}

int slabs_first_hole(const struct slab *within, const struct slab *const *slabs,
                     size_t count, uint32_t ndim, uint64_t hole[MAX_DIMS])
{
    const struct slab **live = calloc(count + 1, sizeof(*live));
    struct event *event = calloc(2 * count + 1, sizeof *event);
    int rc = 1;

    if (!live || !event) {
        rc = -ENOMEM;
        goto err_free;
    }
    for (size_t i = 0; i < count; i++)
        live[i] = slabs[i];
    for (uint32_t d = 0; rc == 1 && d < ndim; d++) {
        const uint32_t dims[2] = {d, ndim};

        rc = narrow(within, live, &count, dims, event, hole) ? 1 : 0;
    }
    if (ndim == 0)
        rc = count == 0;
err_free:
    free(event);
    free(live);
    return rc;
}
