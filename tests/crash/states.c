/*
 * states.c - see states.h.
 */
#include "tests/crash/states.h"

#include "common/hash.h"

#include <assert.h>
#include <stdlib.h>

#define ALL_SUBSETS_MAX 12
#define BY_CHANCE       256
#define MIXED           64

static const enum landing tears[] = {LAND_TORN, LAND_HEAD, LAND_TAIL,
                                     LAND_SIZE};
#define RESTS 3 /* of a torn write: all there, none, by chance */

static uint64_t chance(const struct disk_walk *w, uint64_t number, uint64_t i)
{
    uint64_t from[3] = {w->at, number, i};

    return hash_64(from, sizeof from);
}

static uint64_t subsets_count(const struct disk_walk *w)
{
    uint64_t n = w->pending_count;

    if (n <= ALL_SUBSETS_MAX)
        return (uint64_t)1 << n;
    return n + 1 + n + n + BY_CHANCE;
}

static bool is_write(const struct disk_walk *w, uint32_t i)
{
    return w->disk->op[w->pending[i]].kind == DISK_WRITE;
}

static uint64_t writes_count(const struct disk_walk *w)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < w->pending_count; i++)
        count += is_write(w, i);
    return count;
}

uint64_t states_count(const struct disk_walk *w)
{
    uint64_t writes = writes_count(w);

    return subsets_count(w) + writes * ARRAY_LEN(tears) * RESTS +
           (writes ? MIXED : 0);
}

/* Does pending operation i land in subset `number` of more than 12? */
static bool in_large_subset(const struct disk_walk *w, uint64_t number,
                            uint64_t i)
{
    uint64_t n = w->pending_count, k = number;

    if (k <= n)
        return i < k; /* a prefix */
    k -= n + 1;
    if (k < n)
        return i != k;
    k -= n;
    if (k < n)
        return i == k;
    return chance(w, number, i) & 1;
}

static void land_torn(const struct disk_walk *w, uint64_t number, uint64_t k,
                      enum landing *landing)
{
    uint64_t write = k / (ARRAY_LEN(tears) * RESTS);
    uint64_t rest = k % RESTS;

    for (uint32_t i = 0; i < w->pending_count; i++) {
        bool lands = rest == 0 || (rest == 2 && (chance(w, number, i) & 1));

        landing[i] = lands ? LAND_WHOLE : LAND_NOT;
        if (is_write(w, i) && write-- == 0)
            landing[i] = tears[k / RESTS % ARRAY_LEN(tears)];
    }
}

void state_landing(const struct disk_walk *w, uint64_t number,
                   enum landing *landing)
{
    uint64_t subsets = subsets_count(w);
    uint64_t torn = writes_count(w) * ARRAY_LEN(tears) * RESTS;

    if (number >= subsets && number < subsets + torn) {
        land_torn(w, number, number - subsets, landing);
        return;
    }
    for (uint32_t i = 0; i < w->pending_count; i++) {
        bool lands;

        if (number >= subsets) {
            landing[i] = (enum landing)(chance(w, number, i) % LANDINGS);
            continue;
        }
        lands = w->pending_count <= ALL_SUBSETS_MAX
                    ? number >> i & 1
                    : in_large_subset(w, number, i);
        landing[i] = lands ? LAND_WHOLE : LAND_NOT;
    }
}

void state_make(const struct disk_walk *w, uint64_t number, struct image *out)
{
    enum landing *landing =
        calloc(w->pending_count + (size_t)1, sizeof *landing);

    assert(landing);
    state_landing(w, number, landing);
    disk_crash(w, landing, chance(w, number, UINT32_MAX), out);
    free(landing);
}

/* The promises as they stand after `at` operations, from now on. */
static void promises_rebase(struct promises *p, uint32_t at)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < p->count; i++) {
        struct promise s = p->save[i];

        if (s.begun > at)
            continue;
        s.begun = 0;
        s.committed = s.committed <= at ? 0 : DISK_NEVER;
        s.aborted = s.aborted <= at ? 0 : DISK_NEVER;
        p->save[kept++] = s;
    }
    p->count = kept;
}

void state_by_chance(const struct disk *disk, struct promises *p,
                     uint64_t after, uint64_t seed, struct image *out)
{
    struct disk_walk w;
    uint32_t first = 0, point;

    for (uint32_t i = 0; i < p->count; i++)
        if (p->save[i].id.step > after && first == 0)
            first = p->save[i].begun;
    point = first + 1 +
            (uint32_t)(hash_64(&seed, sizeof seed) % (disk->op_count - first));
    disk_walk_begin(&w, disk);
    while (w.at < point && disk_walk_next(&w))
        ;
    state_make(&w, hash_64(&point, sizeof point) % states_count(&w), out);
    promises_rebase(p, w.at);
    disk_walk_end(&w);
}
