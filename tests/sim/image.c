/*
 * image.c - records and segments of a simulated disk, and what a loss of power
 * leaves of them; see disk.h.
 */
#include "tests/sim/image.h"

#include "tests/sim/sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512

static size_t place_of(const struct image *m, const char *name, bool *is_there)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(m->thing[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < m->count && strcmp(m->thing[low]->name, name) == 0;
    return low;
}

struct thing *image_find(const struct image *m, const char *name)
{
    bool is_there;
    size_t at = place_of(m, name, &is_there);

    return is_there && !m->thing[at]->is_leaving ? m->thing[at] : NULL;
}

static void *bytes_new(uint64_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);

    assert(p);
    return p;
}

static void writes_free(struct thing *t)
{
    struct list *node;

    while ((node = list_pop(&t->writes)))
        free(container_of(node, struct image_write, link));
}

void thing_put(struct thing *t)
{
    assert(t->users > 0);
    if (--t->users > 0)
        return;
    writes_free(t);
    free(t->name);
    free(t->data);
    free(t->stable);
    free(t);
}

void image_drop(struct image *m, struct thing *t)
{
    bool is_there;
    size_t at;

    if (t->is_gone)
        return;
    at = place_of(m, t->name, &is_there);
    assert(is_there && m->thing[at] == t);
    m->count--;
    memmove(&m->thing[at], &m->thing[at + 1],
            (m->count - at) * sizeof(struct thing *));
    t->is_gone = true;
    thing_put(t);
}

int image_add(struct image *m, const char *name, const void *data,
              uint64_t bytes, bool is_segment, struct thing **out)
{
    bool is_there;
    size_t at = place_of(m, name, &is_there);
    struct thing *t;

    if (is_there && !m->thing[at]->is_leaving)
        return -EEXIST;
    if (is_there) /* a name taken anew: it does not come back */
        image_drop(m, m->thing[at]);
    if (m->count == m->capacity) {
        m->capacity = 2 * m->capacity + 64;
        m->thing = realloc(m->thing, m->capacity * sizeof(struct thing *));
        assert(m->thing);
    }
    t = bytes_new(sizeof *t);
    t->name = strdup(name);
    assert(t->name);
    t->data = bytes_new(bytes);
    t->bytes = t->stable_bytes = bytes;
    t->is_segment = is_segment;
    t->users = 1;
    t->mtime = ++m->put_count;
    if (is_segment)
        t->stable = bytes_new(bytes);
    else if (bytes > 0)
        memcpy(t->data, data, bytes);
    list_init(&t->writes);
    memmove(&m->thing[at + 1], &m->thing[at],
            (m->count - at) * sizeof(struct thing *));
    m->thing[at] = t;
    m->count++;
    *out = t;
    return 0;
}

void image_hide(struct thing *t)
{
    t->is_leaving = true;
}

void thing_write(struct thing *t, uint64_t off, const void *data, uint64_t len)
{
    struct image_write *w = malloc(sizeof *w + len);

    assert(w && off + len <= t->bytes);
    *w = (struct image_write){.off = off, .len = len};
    memcpy(w->data, data, len);
    list_append(&t->writes, &w->link);
    memcpy(t->data + off, data, len);
}

void thing_sync(struct thing *t)
{
    LIST_FOR_EACH (node, &t->writes) {
        const struct image_write *w =
            container_of(node, struct image_write, link);

        memcpy(t->stable + w->off, w->data, w->len);
    }
    writes_free(t);
    t->stable_bytes = t->bytes;
}

/*
 * Loss of power.
 */

/* A write lands whole, not at all, or some of its sectors do. */
static void land(struct sim *s, struct thing *t, const struct image_write *w)
{
    uint64_t kind = sim_random(s, 3);

    s->stats.lost_writes += kind == 0;
    s->stats.torn_writes += kind == 1;
    for (uint64_t at = 0; kind > 0 && at < w->len; at += SECTOR_BYTES) {
        if (kind == 1 && sim_random(s, 2))
            continue;
        if (w->off + at + SECTOR_BYTES <= t->stable_bytes)
            memcpy(t->stable + w->off + at, w->data + at, SECTOR_BYTES);
    }
}

static void segment_power_loss(struct sim *s, struct thing *t)
{
    LIST_FOR_EACH (node, &t->writes)
        land(s, t, container_of(node, struct image_write, link));
    writes_free(t);
    /* A cut that no sync covered: the old size may be back. */
    if (t->stable_bytes != t->bytes && sim_random(s, 2))
        t->bytes = t->stable_bytes;
    memcpy(t->data, t->stable, t->bytes);
    t->stable_bytes = t->bytes;
    t->shared = 0;
    t->is_exclusive = false;
}

void image_power_loss(struct image *m,
                      void (*settled)(void *arg, const struct thing *t,
                                      bool is_kept),
                      void *arg)
{
    for (size_t i = m->count; i-- > 0;) {
        struct thing *t = m->thing[i];
        bool is_unsure = t->is_leaving || !t->is_durable;

        if (t->is_segment)
            segment_power_loss(m->sim, t);
        if (is_unsure && sim_random(m->sim, 2)) {
            m->sim->stats.lost_names++;
            settled(arg, t, false);
            image_drop(m, t);
            continue;
        }
        t->is_leaving = false;
        t->is_durable = true; /* it has been there across a restart */
        if (is_unsure)
            settled(arg, t, true);
    }
}

void image_fini(struct image *m)
{
    while (m->count > 0)
        image_drop(m, m->thing[m->count - 1]);
    free(m->thing);
}
