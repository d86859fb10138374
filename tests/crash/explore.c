/*
 * explore.c - see explore.h.
 *
 * States that are equal, and equal in what was promised by then, are checked
 * once for each recording: a set of 64-bit hashes tells.
 */
#include "tests/crash/explore.h"

#include "common/hash.h"
#include "tests/crash/states.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The set of what was checked.
 */

struct seen {
    uint64_t *key; /* 0: none */
    uint64_t count, capacity;
};

static bool seen_put(struct seen *s, uint64_t key)
{
    uint64_t at;

    for (at = key & (s->capacity - 1); s->key[at];
         at = (at + 1) & (s->capacity - 1))
        if (s->key[at] == key)
            return false;
    s->key[at] = key;
    s->count++;
    return true;
}

/* False: it was there. */
static bool seen_add(struct seen *s, uint64_t key)
{
    if (s->count * 2 >= s->capacity) {
        struct seen larger = {.capacity = s->capacity ? s->capacity * 2 : 4096};

        larger.key = calloc(larger.capacity, sizeof *larger.key);
        assert(larger.key);
        for (uint64_t i = 0; i < s->capacity; i++)
            if (s->key[i])
                (void)seen_put(&larger, s->key[i]);
        free(s->key);
        *s = larger;
    }
    return seen_put(s, key | 1);
}

static uint64_t promises_hash(const struct promises *p, uint32_t at)
{
    uint8_t flags[PROMISES_MAX] = {0};

    for (uint32_t i = 0; i < p->count; i++)
        flags[i] = (uint8_t)((p->save[i].begun <= at) |
                             (p->save[i].committed <= at) << 1 |
                             (p->save[i].aborted <= at) << 2 |
                             (p->save[i].remote <= at) << 3);
    return hash_64(flags, sizeof flags);
}

/*
 * Exploring.
 */

static bool violated(struct exploring *e, const char *why)
{
    struct progress *g = e->progress;

    g->violations++;
    (void)snprintf(g->why, sizeof g->why, "%s", why);
    if (!e->stops)
        (void)printf("VIOLATION %s: %s\n", g->name, why);
    return !e->stops;
}

static bool check_one(const struct scenario *s, const struct play *play,
                      const struct disk_walk *w, uint64_t number,
                      struct seen *seen, struct exploring *e)
{
    struct image left;
    char why[WHY_BYTES];
    uint64_t key;
    bool goes_on = true;

    e->progress->states++;
    state_make(w, number, &left);
    key = image_hash(&left) ^ promises_hash(&play->promises, w->at);
    if (seen_add(seen, key)) {
        e->progress->checked++;
        if (!scenario_check(s, play, &left, w->at, key, why))
            goes_on = violated(e, why);
    }
    image_free(&left);
    return goes_on;
}

static bool is_chosen(const struct exploring *e, const struct play *play,
                      uint32_t point, uint64_t number)
{
    uint64_t from[3] = {play->seed, point, number};

    return e->part == 1 || hash_64(from, sizeof from) % e->part == 0;
}

static bool explore_point(const struct scenario *s, const struct play *play,
                          const struct disk_walk *w, struct seen *seen,
                          struct exploring *e)
{
    struct progress *g = e->progress;
    uint64_t count = states_count(w);
    bool is_first = true;

    for (uint64_t i = 0; i < count; i++) {
        if (!is_chosen(e, play, w->at, i) || g->state++ < e->skip)
            continue;
        g->points += is_first; /* one of which no state is tried is none */
        is_first = false;
        (void)snprintf(g->name, sizeof g->name,
                       "%s/%" PRIu64 "/%" PRIu32 "/%" PRIu64, s->name,
                       play->seed, w->at, i);
        if (!check_one(s, play, w, i, seen, e))
            return false;
    }
    return true;
}

bool explore(const struct scenario *s, uint64_t seed, struct exploring *e)
{
    struct progress *g = e->progress;
    struct play play;
    struct disk_walk w;
    struct seen seen = {0};
    bool goes_on = true;

    g->state = 0;
    (void)snprintf(g->name, sizeof g->name, "%s/%" PRIu64, s->name, seed);
    scenario_play(s, seed, &play);
    if (e->skip == 0)
        g->recordings++;
    if (play.why[0] && e->skip == 0)
        goes_on = violated(e, play.why);
    disk_walk_begin(&w, play.disk);
    while (goes_on && disk_walk_next(&w))
        goes_on = explore_point(s, &play, &w, &seen, e);
    disk_walk_end(&w);
    free(seen.key);
    play_end(&play);
    return goes_on;
}

/*
 * Once more.
 */

const struct scenario *scenario_by_name(const char *name, size_t bytes)
{
    for (uint32_t i = 0; i < scenario_count; i++)
        if (strlen(scenarios[i].name) == bytes &&
            strncmp(scenarios[i].name, name, bytes) == 0)
            return &scenarios[i];
    return NULL;
}

static void tell_state(const struct disk_walk *w, uint64_t number)
{
    static const char *const how[LANDINGS] = {
        [LAND_NOT] = "lost",           [LAND_WHOLE] = "there",
        [LAND_TORN] = "torn",          [LAND_HEAD] = "first sector",
        [LAND_TAIL] = "all but first", [LAND_SIZE] = "size only"};
    enum landing *landing =
        calloc(w->pending_count + (size_t)1, sizeof *landing);
    char text[256];

    assert(landing);
    state_landing(w, number, landing);
    for (uint32_t i = 0; i < w->pending_count; i++) {
        disk_op_text(w->disk, &w->disk->op[w->pending[i]], text, sizeof text);
        (void)printf("  pending %" PRIu32 ": %s: %s\n", w->pending[i], text,
                     how[landing[i]]);
    }
    free(landing);
}

static void tell_promises(const struct promises *p, uint32_t at)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct promise *s = &p->save[i];

        (void)printf("  step %" PRIu64 " of generation %" PRIu32 ": %s%s%s%s\n",
                     s->id.step, s->id.generation,
                     s->begun <= at ? "begun" : "not begun",
                     s->committed <= at ? ", COMMITTED" : "",
                     s->aborted <= at ? ", ABORTED" : "",
                     s->remote <= at ? ", REMOTE" : "");
    }
}

static bool again(const struct scenario *s, const struct play *play,
                  uint32_t point, uint64_t number)
{
    struct disk_walk w;
    struct image left;
    char why[WHY_BYTES], text[256];
    bool ok;

    disk_walk_begin(&w, play->disk);
    while (w.at < point && disk_walk_next(&w)) {
        disk_op_text(play->disk, &play->disk->op[w.at - 1], text, sizeof text);
        (void)printf("  %" PRIu32 ": %s\n", w.at - 1, text);
    }
    if (w.at < point || number >= states_count(&w)) {
        (void)printf("there is no such state\n");
        disk_walk_end(&w);
        return false;
    }
    tell_state(&w, number);
    tell_promises(&play->promises, w.at);
    (void)fflush(stdout);
    state_make(&w, number, &left);
    ok = scenario_check(
        s, play, &left, w.at,
        image_hash(&left) ^ promises_hash(&play->promises, w.at), why);
    (void)printf("%s\n", ok ? "all is well" : why);
    image_free(&left);
    disk_walk_end(&w);
    return ok;
}

bool explore_again(const char *name)
{
    size_t bytes = strcspn(name, "/");
    const struct scenario *s = scenario_by_name(name, bytes);
    unsigned long long seed = 0, point = 0, number = 0;
    char *end = NULL;
    struct play play;
    bool ok;

    if (s && name[bytes] == '/')
        seed = strtoull(name + bytes + 1, &end, 10);
    if (end && *end == '/')
        point = strtoull(end + 1, &end, 10);
    if (end && *end == '/')
        number = strtoull(end + 1, &end, 10);
    if (!end || *end) {
        (void)printf("a state's name is SCENARIO/SEED/POINT/NUMBER\n");
        return false;
    }
    scenario_play(s, seed, &play);
    if (play.why[0])
        (void)printf("while it was recorded: %s\n", play.why);
    ok = again(s, &play, (uint32_t)point, number) && !play.why[0];
    play_end(&play);
    return ok;
}
