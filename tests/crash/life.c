/*
 * life.c - see life.h.
 */
#include "tests/crash/life.h"

#include "storage/store_file.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENSOR_BYTES    ((uint64_t)RIG_CHUNK_BYTES)
#define LOAD_TABLE      7
#define LONG_NAME_BYTES 1000

static const char *const daemon_names[LIFE_DAEMONS_MAX] = {"a", "b"};

/*
 * Turning the wheel.
 */

struct turning {
    struct life *life;
    test_until until;
    void *arg;
};

/* Does a daemon take it for REMOTE? */
static void note_remote(struct life *life, struct promise *s)
{
    for (uint32_t i = 0; i < life->promises->shape.daemons; i++) {
        LIST_FOR_EACH (node, &life->g[i]->engine->homes) {
            struct home *home = container_of(node, struct home, link);

            LIST_FOR_EACH (at, &home->runs) {
                const struct run *run = container_of(at, struct run, link);
                const struct catalog_save *c =
                    catalog_find(&run->catalog, &s->id);

                if (run->is_attached && c && catalog_is_remote(c))
                    s->remote =
                        (uint32_t)min_u64(s->remote, life->disk->op_count);
            }
        }
    }
}

/* What the ranks have been told by now. */
static void note_promises(struct life *life)
{
    struct promises *p = life->promises;

    for (uint32_t i = 0; i < p->count; i++) {
        struct promise *s = &p->save[i];

        for (uint32_t k = 0; k < p->shape.ranks; k++) {
            const struct rig_save *v = s->v[k];

            if (!v)
                continue;
            if (v->id.attempt)
                s->id = v->id;
            if (v->state == WIRE_STATE_COMMITTED)
                s->committed =
                    (uint32_t)min_u64(s->committed, life->disk->op_count);
            if (v->state == WIRE_STATE_ABORTED)
                s->aborted =
                    (uint32_t)min_u64(s->aborted, life->disk->op_count);
        }
        if (p->shape.remote_every)
            note_remote(life, s);
    }
}

static bool turn(void *arg)
{
    struct turning *t = arg;
    struct life *life = t->life;

    for (uint32_t i = 0; i < life->promises->shape.daemons; i++)
        rig_pump(life->g[i]);
    note_promises(life);
    if (life->lands_late && test_random(life->world) % 16 == 0)
        (void)disk_late_land(life->disk);
    return t->until && t->until(t->arg);
}

static bool run(struct life *life, uint64_t limit_ms, test_until until,
                void *arg)
{
    struct turning t = {life, until, arg};

    return test_run(life->world, limit_ms, turn, &t);
}

bool life_until(struct life *life, test_until until, void *arg)
{
    return run(life, LIFE_LIMIT_MS, until, arg);
}

void life_turn(struct life *life, uint64_t ms)
{
    (void)run(life, ms, NULL, NULL);
}

/*
 * Beginning and ending.
 */

static void open_store(struct life *life, uint32_t process, const char *folder,
                       const char *path)
{
    uint64_t seed = test_random(life->world);
    struct fileio *io = disk_io_new(life->disk, process, seed);
    struct err err = {0};
    struct store *store;
    int rc;

    life->disk->process = process;
    rc = store_file_open_on(folder, STORE_OPEN_WRITE | STORE_OPEN_CREATE, io,
                            &store, &err);
    if (rc < 0)
        (void)fprintf(stderr, "%s\n", err.text);
    assert(rc == 0);
    life->io[process] = io;
    test_world_add(life->world, path, store);
}

void life_begin(struct life *life, struct disk *disk, struct promises *p,
                uint64_t seed)
{
    char folder[64], path[64];

    *life = (struct life){
        .disk = disk, .promises = p, .world = test_world_new(seed | 1)};
    for (uint32_t i = 0; i < p->count; i++)
        memset((void *)p->save[i].v, 0, sizeof p->save[i].v);
    open_store(life, LIFE_DAEMONS_MAX, DISK_PATH "/home", RIG_HOME);
    for (uint32_t i = 0; i < p->shape.daemons; i++) {
        (void)snprintf(folder, sizeof folder, DISK_PATH "/local-%s",
                       daemon_names[i]);
        (void)snprintf(path, sizeof path, "local/%s", daemon_names[i]);
        open_store(life, i, folder, path);
        life->g[i] = rig_new_in(life->world, daemon_names[i]);
        life->g[i]->has_shared_world = true;
    }
}

static void forget(struct life *life)
{
    for (uint32_t i = 0; i < life->promises->shape.daemons; i++)
        rig_free(life->g[i]);
    test_world_free(life->world);
    for (uint32_t i = 0; i < life->promises->count; i++)
        memset((void *)life->promises->save[i].v, 0,
               sizeof life->promises->save[i].v);
}

void life_end(struct life *life)
{
    forget(life);
}

void life_kill(struct life *life)
{
    uint32_t n = life->promises->shape.daemons;

    note_promises(life);
    for (uint32_t i = 0; i <= LIFE_DAEMONS_MAX; i++) {
        if (life->io[i])
            disk_io_kill(life->io[i]);
        disk_process_kill(life->disk, i);
    }
    for (uint32_t i = 0; i < n; i++)
        rig_kill(life->g[i]);
    forget(life);
}

/*
 * Ranks.
 */

static bool have_answers(void *arg)
{
    const struct life *life = arg;

    for (uint32_t i = 0; i < life->promises->shape.ranks; i++)
        if (!rig_joined(life->r[i]) && !life->r[i]->error)
            return false;
    return true;
}

/* As rig_table() does it, and the tiny ones behind. */
static void table(struct rig_rank *r, const struct life_shape *shape)
{
    uint32_t count = shape->tensors + shape->names;
    struct entry *entries = calloc(count, sizeof *entries);
    char(*names)[LONG_NAME_BYTES] = calloc(count, sizeof *names);
    struct wire_table v = {.number = 1};
    struct wr bare = {0}, w = {0};
    int rc;

    assert(entries && names);
    for (uint32_t i = 0; i < count; i++) {
        bool is_tiny = i >= shape->tensors;
        int bytes =
            snprintf(names[i], sizeof names[i], "rank%u.tensor%u", r->rank, i);

        if (is_tiny)
            memset(names[i] + bytes, '_', sizeof names[i] - 1 - (size_t)bytes);
        entries[i] = (struct entry){.name = names[i], .replica_count = 1};
        entries[i].geometry.dtype = DTYPE_U16;
        entries[i].geometry.ndim = 1;
        entries[i].geometry.shape[0] = is_tiny ? 8 : TENSOR_BYTES / 2;
    }
    table_encode(entries, count, &bare);
    v.data = bare.data;
    v.bytes = (uint32_t)bare.bytes;
    wire_table_encode(&v, &w);
    rig_send(r, WIRE_TABLE, 0, 4, &w);
    wr_free(&w);
    wr_free(&bare);
    writelist_free(&r->list);
    rc = writelist_build(entries, count, RIG_CHUNK_BYTES, &r->list);
    assert(rc == 0);
    free(names);
    free(entries);
}

/* Each rank loads what the next one has saved, where it can reach that. */
static void wish(const struct life *life, uint32_t rank)
{
    const struct life_shape *shape = &life->promises->shape;
    struct rig_want want[RIG_WANTS_MAX] = {0};
    bool is_shared = shape->daemons == 1 || shape->is_at_first;
    uint32_t owner = is_shared ? (rank + 1) % shape->ranks : rank;

    assert(shape->tensors <= RIG_WANTS_MAX);
    for (uint32_t i = 0; i < shape->tensors; i++)
        want[i] = (struct rig_want){.owner = owner, .tensor = i};
    rig_wish(life->r[rank], LOAD_TABLE, want, shape->tensors, TENSOR_BYTES);
}

bool life_join(struct life *life, const char *token)
{
    const struct life_shape *shape = &life->promises->shape;
    bool all = true;

    for (uint32_t i = 0; i < shape->ranks; i++) {
        life->r[i] =
            rig_rank_new(life->g[shape->is_at_first ? 0 : i % shape->daemons],
                         i, shape->ranks);
        life->r[i]->keep_last = shape->keep_last;
        life->r[i]->remote_every = shape->remote_every;
        life->r[i]->local_last = shape->local_last;
        life->r[i]->codec = shape->is_packed && !shape->remote_every ? 2 : 1;
        life->r[i]->entropy = shape->is_packed ? 0 : 1;
        rig_open(life->r[i], token);
    }
    (void)run(life, LIFE_LIMIT_MS, have_answers, life);
    for (uint32_t i = 0; i < shape->ranks; i++) {
        if (!rig_joined(life->r[i])) {
            all = false;
            continue;
        }
        rig_arena(life->r[i], shape->slots);
        table(life->r[i], shape);
        wish(life, i);
    }
    life_turn(life, 10);
    return all;
}

struct promise *promise_of(struct promises *p, const struct save_id *id)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->save[i].id.generation == id->generation &&
            p->save[i].id.step == id->step &&
            (p->save[i].id.attempt == id->attempt || !p->save[i].id.attempt))
            return &p->save[i];
    return NULL;
}

void promises_resume(struct life *life)
{
    struct promises *p = life->promises;
    struct promise *s = promise_of(p, &life->r[0]->parent);
    uint32_t now = life->disk->op_count;

    if (s) {
        s->id = life->r[0]->parent;
        s->committed = (uint32_t)min_u64(s->committed, now);
    }
    for (uint32_t i = 0; i < p->count; i++) {
        struct promise *o = &p->save[i];

        if (o != s && o->committed == DISK_NEVER && !o->v[0])
            o->aborted = (uint32_t)min_u64(o->aborted, now);
    }
}

struct promise *life_save_begin(struct life *life, uint64_t step)
{
    struct promises *p = life->promises;
    struct promise *s = &p->save[p->count++];

    assert(p->count <= PROMISES_MAX);
    *s = (struct promise){
        .id = {.generation = life->r[0]->generation, .step = step},
        .changed = life->changed,
        .changed_seed = life->changed_seed,
        .begun = life->disk->op_count,
        .committed = DISK_NEVER,
        .aborted = DISK_NEVER,
        .remote = DISK_NEVER};
    return s;
}

void life_save_rank(struct life *life, struct promise *s, uint32_t rank,
                    uint64_t seed)
{
    struct rig_rank *r = life->r[rank];

    r->changed = s->changed;
    r->changed_seed = s->changed_seed;
    s->seed[rank] = seed;
    s->v[rank] = rig_save(r, s->id.step, seed, 0);
}

struct promise *life_save(struct life *life, uint64_t step, uint64_t seed)
{
    struct promise *s = life_save_begin(life, step);

    for (uint32_t i = 0; i < life->promises->shape.ranks; i++)
        life_save_rank(life, s, i, seed);
    return s;
}

static bool all_decided(void *arg)
{
    const struct life *life = arg;

    for (uint32_t i = 0; i < life->promises->shape.daemons; i++)
        if (!rig_all_decided(life->g[i]))
            return false;
    return true;
}

bool life_wait(struct life *life)
{
    return run(life, LIFE_LIMIT_MS, all_decided, life);
}

/*
 * Loading.
 */

static bool all_loaded(void *arg)
{
    const struct life *life = arg;

    for (uint32_t i = 0; i < life->promises->shape.daemons; i++)
        if (!rig_loads_done(life->g[i]))
            return false;
    return true;
}

void life_load(struct life *life, const struct save_id *id,
               struct rig_load *l[LIFE_RANKS_MAX])
{
    for (uint32_t i = 0; i < life->promises->shape.ranks; i++)
        l[i] = rig_load(life->r[i], id);
    (void)run(life, LIFE_LIMIT_MS, all_loaded, life);
}

/* The bytes of a chunk as they were saved; the last few are kept, since many
 * states ask for the same. */
static const uint8_t *saved_bytes(const struct rig_rank *as,
                                  const struct promise *s, uint32_t chunk)
{
    static struct kept {
        uint64_t seed;
        uint32_t rank, chunk;
        bool is_used, is_packed;
        uint8_t bytes[RIG_CHUNK_BYTES];
    } kept[64];
    static uint32_t next;
    bool is_packed = as->entropy < 0.5;
    const struct rig_save v = {
        .seed = chunk < s->changed ? s->changed_seed << 32 : s->seed[as->rank]};
    struct kept *k;

    for (uint32_t i = 0; i < ARRAY_LEN(kept); i++) {
        k = &kept[i];
        if (k->is_used && k->seed == v.seed && k->rank == as->rank &&
            k->chunk == chunk && k->is_packed == is_packed)
            return k->bytes;
    }
    k = &kept[next++ % ARRAY_LEN(kept)];
    k->is_used = true;
    k->seed = v.seed;
    k->rank = as->rank;
    k->is_packed = is_packed;
    k->chunk = chunk;
    rig_bytes(as, &v, chunk, k->bytes, RIG_CHUNK_BYTES);
    return k->bytes;
}

bool life_load_is_right(const struct life *life, struct rig_load *const *l,
                        const struct promise *s, char *why, size_t capacity)
{
    for (uint32_t i = 0; i < life->promises->shape.ranks; i++) {
        if (!l[i]->is_done || l[i]->code) {
            (void)snprintf(why, capacity, "step %" PRIu64 ", rank %u: %d: %s",
                           s->id.step, i, l[i]->code,
                           l[i]->is_done ? l[i]->text : "it never ends");
            return false;
        }
        if (save_id_compare(&l[i]->id, &s->id) != 0) {
            (void)snprintf(why, capacity,
                           "step %" PRIu64 ", rank %u: given step %" PRIu64
                           " instead: %s",
                           s->id.step, i, l[i]->id.step, l[i]->note);
            return false;
        }
        for (size_t k = 0; k < l[i]->want_count; k++) {
            const struct rig_want *w = &l[i]->want[k];
            const struct rig_rank as = {
                .rank = w->owner,
                .entropy = life->promises->shape.is_packed ? 0 : 1};

            if (memcmp(l[i]->data[k], saved_bytes(&as, s, w->tensor),
                       RIG_CHUNK_BYTES) == 0)
                continue;
            (void)snprintf(why, capacity,
                           "I2: step %" PRIu64 ", rank %u: wrong bytes in "
                           "rank%u.tensor%u",
                           s->id.step, i, w->owner, w->tensor);
            return false;
        }
    }
    return true;
}
