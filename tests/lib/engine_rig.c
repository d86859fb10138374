/*
 * engine_rig.c - see engine_rig.h.
 */
#include "tests/lib/engine_rig.h"

#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/reader.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 60000

/*
 * Bytes that follow from a seed.
 */

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void fill(void *to, uint32_t bytes, uint64_t seed, bool is_random)
{
    uint64_t dull = mix(seed);
    uint8_t *p = to;

    for (uint32_t i = 0; i < bytes && !is_random; i++)
        p[i] = (uint8_t)(dull + i / 512);
    for (uint32_t i = 0; i < bytes && is_random; i += 8) {
        uint64_t z = mix(seed * 0x9e3779b97f4a7c15u + i / 8);
        uint8_t le[8];

        put_u64(le, z);
        memcpy(p + i, le, min_u64(8, bytes - i));
    }
}

static uint64_t chunk_seed(uint32_t rank, const struct rig_save *v,
                           uint32_t chunk)
{
    uint64_t seed = chunk < v->changed ? v->changed_seed << 32 : v->seed;

    return mix(seed + 1) + rank * (uint64_t)1000003 + chunk * (uint64_t)17;
}

/*
 * Life.
 */

static void on_ready(void *arg, int result, const struct err *err)
{
    struct rig *g = arg;

    g->is_ready = true;
    g->ready_result = result;
    if (result)
        g->err = *err;
}

static bool is_ready(void *arg)
{
    return ((struct rig *)arg)->is_ready;
}

struct rig *rig_make(struct test_world *world, const char *name)
{
    struct rig *g = calloc(1, sizeof *g);

    assert(g);
    list_init(&g->ranks);
    g->world = world;
    g->daemon = test_env_new(world, name);
    g->next_peer = 1;
    return g;
}

int rig_boot(struct rig *g)
{
    bool was = test_cross(g->world, true);
    int rc = engine_open(&g->daemon->env, &g->engine, on_ready, g, &g->err);

    if (rc == 0) {
        g->engine->chunk_bytes = RIG_CHUNK_BYTES;
        g->engine->remote_file_bytes = RIG_REMOTE_FILE_BYTES;
        g->daemon->env.buffer_bytes = chunk_extent_bytes(RIG_CHUNK_BYTES);
        (void)test_run(g->world, LIMIT_MS, is_ready, g);
        assert(g->is_ready);
        rc = g->ready_result;
    }
    (void)test_cross(g->world, was);
    return rc;
}

struct rig *rig_new_in(struct test_world *world, const char *name)
{
    struct rig *g = rig_make(world, name);
    int rc = rig_boot(g);

    assert(rc == 0);
    return g;
}

struct rig *rig_new(uint64_t seed)
{
    return rig_new_in(test_world_new(seed), "a");
}

static void on_stopped(void *arg)
{
    ((struct rig *)arg)->is_stopped = true;
}

static bool is_stopped(void *arg)
{
    return ((struct rig *)arg)->is_stopped;
}

static bool is_quiet(void *arg)
{
    return engine_is_quiet(((struct rig *)arg)->engine);
}

static void save_forget(struct rig_save *v)
{
    list_remove(&v->link);
    free(v->order);
    free(v);
}

static void rank_free(struct rig_rank *r)
{
    LIST_FOR_EACH_SAFE (node, after, &r->saves)
        save_forget(container_of(node, struct rig_save, link));
    if (r->on_free)
        r->on_free(r);
    writelist_free(&r->list);
    list_remove(&r->link);
    free(r);
}

void rig_kill(struct rig *g)
{
    test_env_kill(g->daemon);
    engine_halt(g->engine);
    (void)test_run(g->world, LIMIT_MS, is_quiet, g);
    assert(engine_is_quiet(g->engine));
    g->is_stopped = true;
}

void rig_end(struct rig *g)
{
    bool was;

    LIST_FOR_EACH (node, &g->ranks) {
        struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (!r->is_gone)
            rig_die(r);
    }
    was = test_cross(g->world, true);
    if (g->engine && !g->is_stopped) {
        engine_stop(g->engine, on_stopped, g);
        if (!test_run(g->world, (uint64_t)LIMIT_MS * 20, is_stopped, g)) {
            engine_stop(g->engine, on_stopped, g);
            (void)test_run(g->world, LIMIT_MS, is_stopped, g);
        }
        assert(g->is_stopped);
    }
    engine_close(g->engine);
    (void)test_cross(g->world, was);
    assert(g->daemon->arenas == 0 && g->daemon->buffers == 0);
    test_env_free(g->daemon);
    g->engine = NULL;
    g->daemon = NULL;
}

void rig_free(struct rig *g)
{
    if (g->daemon)
        rig_end(g);
    while (!list_is_empty(&g->ranks))
        rank_free(container_of(g->ranks.next, struct rig_rank, link));
    if (!g->has_shared_world && list_is_empty(&g->world->envs))
        test_world_free(g->world);
    free(g);
}

/*
 * Frames to the engine.
 */

void rig_send(struct rig_rank *r, uint16_t type, uint16_t flags, uint64_t id,
              const struct wr *w)
{
    struct wire_header h = {.length = w ? (uint32_t)w->bytes : 0,
                            .type = type,
                            .flags = flags,
                            .id = id};
    /* A copy of exactly its size, so that reading past it is seen. */
    uint8_t *payload = malloc(h.length ? h.length : 1);
    bool was;

    assert(payload);
    if (h.length)
        memcpy(payload, w->data, h.length);
    was = test_cross(r->rig->world, true);
    engine_frame(r->rig->engine, r->peer, &h, payload);
    (void)test_cross(r->rig->world, was);
    free(payload);
}

static void send_once(struct rig_rank *r, uint16_t type, uint64_t id,
                      struct wr *w)
{
    rig_send(r, type, 0, id, w);
    wr_free(w);
}

struct rig_rank *rig_rank_new(struct rig *g, uint32_t rank, uint32_t world_size)
{
    struct rig_rank *r = calloc(1, sizeof *r);
    bool was;

    assert(r);
    r->rig = g;
    r->rank = rank;
    r->world_size = world_size;
    r->peer = g->next_peer++;
    r->next_request = 100;
    r->hold_after = UINT32_MAX;
    r->codec = 1;
    r->entropy = 1;
    list_init(&r->saves);
    list_append(&g->ranks, &r->link);
    was = test_cross(g->world, true);
    engine_peer_new(g->engine, r->peer);
    (void)test_cross(g->world, was);
    return r;
}

void rig_open(struct rig_rank *r, const char *token)
{
    struct wire_hello hello = {.magic = WIRE_MAGIC,
                               .low = WIRE_VERSION_LOW,
                               .high = WIRE_VERSION_HIGH};
    struct wire_open open = {.home = RIG_HOME,
                             .run = RIG_RUN,
                             .rank = r->rank,
                             .world_size = r->world_size,
                             .codec = r->codec,
                             .keep_last = r->keep_last,
                             .keep_every = r->keep_every,
                             .remote_every = r->remote_every,
                             .local_last = r->local_last};
    struct wr w = {0};

    wire_hello_encode(&hello, &w);
    send_once(r, WIRE_HELLO, 1, &w);
    (void)snprintf(open.token, sizeof open.token, "%s", token);
    open.layout.axis_count = 1;
    (void)snprintf(open.layout.axis[0].name, AXIS_NAME_BYTES, "dp");
    open.layout.axis[0].degree = r->world_size;
    open.coordinate[0] = r->rank;
    w = (struct wr){0};
    wire_open_encode(&open, &w);
    send_once(r, WIRE_OPEN, 2, &w);
}

bool rig_joined(const struct rig_rank *r)
{
    return r->generation > 0;
}

void rig_arena(struct rig_rank *r, uint32_t slots)
{
    struct wire_arena v = {
        .bytes =
            PAGE_BYTES + slots * (uint64_t)chunk_extent_bytes(RIG_CHUNK_BYTES)};
    struct wr w = {0};

    wire_arena_encode(&v, &w);
    send_once(r, WIRE_ARENA, 3, &w);
}

void rig_send_entries(struct rig_rank *r, uint32_t number,
                      const struct entry *entries, size_t count)
{
    struct wire_table v = {.number = number};
    struct wr bare = {0}, w = {0};

    table_encode(entries, count, &bare);
    v.data = bare.data;
    v.bytes = (uint32_t)bare.bytes;
    wire_table_encode(&v, &w);
    send_once(r, WIRE_TABLE, 4, &w);
    wr_free(&bare);
}

void rig_table(struct rig_rank *r, uint32_t number, uint32_t count,
               uint64_t bytes)
{
    struct entry *entries = calloc(count + 1, sizeof *entries);
    char(*names)[64] = calloc(count + 1, sizeof *names);
    int rc;

    assert(entries && names);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof names[i], "rank%u.tensor%u", r->rank,
                       i);
        entries[i] = (struct entry){.name = names[i], .replica_count = 1};
        entries[i].geometry.dtype = DTYPE_U16;
        entries[i].geometry.ndim = 1;
        entries[i].geometry.shape[0] = bytes / 2;
    }
    rig_send_entries(r, number, entries, count);
    writelist_free(&r->list);
    rc = writelist_build(entries, count, RIG_CHUNK_BYTES, &r->list);
    assert(rc == 0);
    free(names);
    free(entries);
}

static bool have_answers(void *arg)
{
    struct rig *g = arg;

    LIST_FOR_EACH (node, &g->ranks) {
        const struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (!r->is_gone && !rig_joined(r) && !r->error)
            return false;
    }
    return true;
}

void rig_rank_shape(struct rig_rank *r, const struct rig_shape *shape)
{
    r->codec = shape->codec;
    r->entropy = shape->entropy;
    r->keep_last = shape->keep_last;
    r->keep_every = shape->keep_every;
    r->remote_every = shape->remote_every;
    r->local_last = shape->local_last;
}

void rig_start(struct rig *g, const char *token, const struct rig_shape *shape,
               struct rig_rank *ranks[RIG_RANKS_MAX])
{
    assert(shape->world_size <= RIG_RANKS_MAX);
    for (uint32_t i = 0; i < shape->world_size; i++) {
        ranks[i] = rig_rank_new(g, i, shape->world_size);
        rig_rank_shape(ranks[i], shape);
        rig_open(ranks[i], token);
    }
    (void)rig_run(g, LIMIT_MS, have_answers, g);
    for (uint32_t i = 0; i < shape->world_size; i++) {
        if (!rig_joined(ranks[i]))
            continue;
        rig_arena(ranks[i], shape->slots);
        rig_table(ranks[i], 1, shape->tensors, shape->tensor_bytes);
    }
    (void)rig_run(g, 10, NULL, NULL);
}

struct rig_save *rig_save(struct rig_rank *r, uint64_t step, uint64_t seed,
                          uint32_t overload)
{
    struct wire_save v = {
        .step = step, .table = 1, .overload = overload, .max_uncommitted = 3};
    struct rig_save *s = calloc(1, sizeof *s);
    struct wr values = {0}, w = {0};

    assert(s);
    s->request = r->next_request++;
    s->step = step;
    s->generation = r->generation;
    s->seed = seed;
    s->changed = r->changed;
    s->changed_seed = r->changed_seed;
    s->chunk_count = (uint32_t)r->list.chunk_count + r->own_chunk_count;
    s->order = calloc(s->chunk_count + 1, sizeof *s->order);
    assert(s->order);
    for (uint32_t i = 0; i < s->chunk_count; i++) {
        uint32_t k = (uint32_t)(test_random(r->rig->world) % (i + 1));

        s->order[i] = s->order[k];
        s->order[k] = i;
    }
    list_append(&r->saves, &s->link);
    values_encode(NULL, 0, &values);
    v.values = values.data;
    v.values_bytes = (uint32_t)values.bytes;
    v.has_trust = r->trust != NULL;
    if (r->trust)
        v.trust = *r->trust;
    wire_save_encode(&v, &w);
    send_once(r, WIRE_SAVE, s->request, &w);
    wr_free(&values);
    return s;
}

void rig_die(struct rig_rank *r)
{
    bool was = test_cross(r->rig->world, true);

    r->is_gone = true;
    engine_peer_gone(r->rig->engine, r->peer);
    (void)test_cross(r->rig->world, was);
}

/*
 * Frames from the engine.
 */

static struct rig_save *save_by(struct rig_rank *r, uint64_t number,
                                uint64_t request)
{
    LIST_FOR_EACH (node, &r->saves) {
        struct rig_save *v = container_of(node, struct rig_save, link);

        if (number ? v->number == number : v->request == request)
            return v;
    }
    return NULL;
}

static void slot_fill(struct rig_rank *r, uint32_t slot,
                      const struct rig_save *s, uint32_t chunk)
{
    uint32_t piece;
    uint64_t offset;
    bool is_there = wire_slot_place(&r->arena->shape, slot, &piece, &offset);
    uint8_t *to;

    assert(is_there);
    to = r->arena->base[piece] + offset + PAGE_BYTES;
    if (r->fill)
        r->fill(r, s, chunk, to);
    else
        fill(to, r->list.chunk[chunk].raw_bytes, chunk_seed(r->rank, s, chunk),
             r->entropy > 0.5);
}

static void on_slots(struct rig_rank *r, const struct wire_slots *v)
{
    struct rig_save *s = save_by(r, v->owner, 0);
    struct wire_chunks reply = {.save = v->owner};
    struct wr pairs = {0}, w = {0};

    assert(s && r->arena);
    for (uint32_t i = 0; i < v->count; i++) {
        uint32_t slot = get_u32(v->slots + (size_t)i * 4), chunk;

        assert(s->given_count < s->chunk_count || r->hold_after == 0);
        if (s->given_count >= r->hold_after)
            break;
        chunk = s->order[s->given_count++];
        slot_fill(r, slot, s, chunk);
        wr_u32(&pairs, chunk);
        wr_u32(&pairs, slot);
        reply.count++;
    }
    reply.pairs = pairs.data;
    wire_chunks_encode(&reply, &w);
    if (reply.count > 0)
        rig_send(r, WIRE_CHUNKS, 0, 0, &w);
    wr_free(&w);
    wr_free(&pairs);
}

static void on_state(struct rig_rank *r, const struct wire_state *v)
{
    struct rig_save *s = save_by(r, v->save, 0);

    assert(s && s->number);
    s->id = v->id;
    s->told |= v->state == WIRE_STATE_ABORTED ? 1u << 31 : 1u << v->state;
    if (v->state > s->state)
        s->state = v->state;
    if (v->state >= WIRE_STATE_COMMITTED) {
        s->code = v->code;
        memcpy(s->text, v->text, sizeof s->text);
    }
}

static void on_error(struct rig_rank *r, uint64_t id,
                     const struct wire_error *v)
{
    struct rig_save *s = save_by(r, 0, id);

    r->error = v->code;
    r->error_id = id;
    memcpy(r->error_text, v->text, sizeof r->error_text);
    if (!s)
        return;
    s->code = v->code;
    s->state = WIRE_STATE_ABORTED;
    memcpy(s->text, v->text, sizeof s->text);
}

static void take_up(struct rig_rank *r, const struct test_frame *f)
{
    uint32_t n = f->header.length;
    struct wire_error error;
    struct wire_open_ok open_ok;
    struct wire_save_ok save_ok;
    struct wire_slots slots;
    struct wire_state state;
    struct rig_save *s;
    int rc = 0;

    r->last_reply = f->header.id;
    r->last_type = f->header.type;
    if (r->on_frame)
        r->on_frame(r, f);
    if (f->header.type == WIRE_ERROR) {
        rc = wire_error_decode(f->payload, n, &error);
        on_error(r, f->header.id, &error);
    } else if (f->header.type == WIRE_OPEN_OK) {
        rc = wire_open_ok_decode(f->payload, n, &open_ok);
        r->generation = open_ok.generation;
        r->parent = open_ok.parent;
    } else if (f->header.type == WIRE_ARENA_OK) {
        r->arena = f->arena;
    } else if (f->header.type == WIRE_SAVE_OK) {
        rc = wire_save_ok_decode(f->payload, n, &save_ok);
        s = save_by(r, 0, f->header.id);
        assert(s && !s->number);
        s->number = save_ok.save;
        s->id = save_ok.id;
    } else if (f->header.type == WIRE_SLOTS) {
        rc = wire_slots_decode(f->payload, n, &slots);
        on_slots(r, &slots);
    } else if (f->header.type == WIRE_STATE && f->header.id == 0) {
        rc = wire_state_decode(f->payload, n, &state);
        on_state(r, &state);
    }
    assert(rc == 0);
}

struct turning {
    struct rig *rig;
    test_until until;
    void *arg;
};

void rig_pump(struct rig *g)
{
    LIST_FOR_EACH (node, &g->ranks) {
        struct rig_rank *r = container_of(node, struct rig_rank, link);
        struct test_frame *f;

        while (!r->is_gone &&
               (f = test_env_frame(g->daemon, r->peer)) != NULL) {
            take_up(r, f);
            free(f);
        }
    }
}

static bool turn(void *arg)
{
    struct turning *t = arg;
    bool was = test_cross(t->rig->world, false), is_over;

    rig_pump(t->rig);
    is_over = t->until && t->until(t->arg);
    (void)test_cross(t->rig->world, was);
    return is_over;
}

bool rig_run(struct rig *g, uint64_t limit_ms, test_until until, void *arg)
{
    struct turning t = {g, until, arg};
    bool was = test_cross(g->world, true);
    bool is_over = test_run(g->world, limit_ms, turn, &t);

    (void)test_cross(g->world, was);
    return is_over;
}

bool rig_all_decided(void *arg)
{
    struct rig *g = arg;

    LIST_FOR_EACH (node, &g->ranks) {
        struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (r->is_gone || list_is_empty(&r->saves))
            continue;
        if (container_of(r->saves.prev, struct rig_save, link)->state <
            WIRE_STATE_COMMITTED)
            return false;
    }
    return true;
}

/*
 * Reading back.
 */

struct checking {
    struct rig *rig;
    const struct rig *as;
    struct held_manifest *held;
    bool is_done;
    int result;
    char text[ERR_TEXT_BYTES];
};

static void on_fetched(void *arg, int result, struct held_manifest *held,
                       const struct err *err)
{
    struct checking *c = arg;

    c->held = held;
    c->result = result;
    c->is_done = true;
    if (result)
        memcpy(c->text, err->text, sizeof c->text);
}

static bool is_done(void *arg)
{
    return ((struct checking *)arg)->is_done;
}

static void on_read(struct chunk_read *r, int result)
{
    struct checking *c = r->owner;

    c->result = result;
    c->is_done = true;
    memcpy(c->text, r->err.text, sizeof c->text);
}

static void must(const struct checking *c)
{
    if (c->is_done && !c->result)
        return;
    (void)fprintf(stderr, "rig_check: %d: %s\n", c->result, c->text);
    assert(!"the checkpoint cannot be read");
}

/* What a rank saved under that name. */
static const struct rig_save *save_of(const struct rig *g, uint32_t rank,
                                      const struct save_id *id, double *entropy)
{
    LIST_FOR_EACH (node, &g->ranks) {
        const struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (r->rank != rank)
            continue;
        LIST_FOR_EACH (at, &r->saves) {
            const struct rig_save *v = container_of(at, struct rig_save, link);

            if (v->generation != id->generation || v->step != id->step)
                continue;
            if (v->id.attempt && v->id.attempt != id->attempt)
                continue;
            *entropy = r->entropy;
            return v;
        }
    }
    return NULL;
}

static void check_chunk(struct checking *c, uint64_t index, uint8_t *slot,
                        void *buffers[2])
{
    const struct manifest *m = &c->held->manifest;
    const struct mf_chunk *chunk = &m->chunk[index];
    struct chunk_read read = {.engine = c->rig->engine,
                              .manifest = m,
                              .chunk = index,
                              .slot = slot,
                              .buffer = {buffers[0], buffers[1]},
                              .skip_memory = true,
                              .done = on_read,
                              .owner = c};
    uint8_t *want = malloc(chunk->raw_bytes);
    const struct rig_save *saved;
    double entropy = 1;

    assert(want);
    c->is_done = false;
    chunk_read_begin(&read);
    (void)rig_run(c->rig, LIMIT_MS, is_done, c);
    must(c);
    saved = save_of(c->as, chunk->rank, &c->held->id, &entropy);
    assert(saved);
    for (uint64_t i = 0; i < m->rank_count; i++)
        if (m->rank[i].rank == chunk->rank)
            fill(want, chunk->raw_bytes,
                 chunk_seed(chunk->rank, saved,
                            (uint32_t)(index - m->rank[i].first_chunk)),
                 entropy > 0.5);
    assert(memcmp(want, slot + PAGE_BYTES, chunk->raw_bytes) == 0);
    free(want);
}

struct run *rig_the_run(const struct rig *g)
{
    struct home *home = container_of(g->engine->homes.next, struct home, link);

    return container_of(home->runs.next, struct run, link);
}

uint64_t rig_check_as(struct rig *g, const struct rig *as,
                      const struct save_id *id)
{
    struct checking c = {.rig = g, .as = as};
    uint64_t bytes = chunk_extent_bytes(RIG_CHUNK_BYTES), written;
    void *slot = aligned_alloc(PAGE_BYTES, bytes);
    void *buffers[2] = {aligned_alloc(PAGE_BYTES, bytes),
                        aligned_alloc(PAGE_BYTES, bytes)};
    struct err err = {0};
    int rc;

    assert(slot && buffers[0] && buffers[1]);
    manifest_fetch(rig_the_run(g), id, on_fetched, &c);
    (void)rig_run(g, LIMIT_MS, is_done, &c);
    must(&c);
    rc = manifest_coverage(&c.held->manifest, &err);
    assert(rc == 0);
    for (uint64_t i = 0; i < c.held->manifest.chunk_count; i++)
        check_chunk(&c, i, slot, buffers);
    written = c.held->manifest.info.written_bytes;
    held_manifest_put(c.held);
    free(slot);
    free(buffers[0]);
    free(buffers[1]);
    return written;
}

uint64_t rig_check(struct rig *g, const struct rig_save *v)
{
    return rig_check_as(g, g, &v->id);
}

void rig_bytes(const struct rig_rank *r, const struct rig_save *v,
               uint32_t chunk, void *to, uint32_t bytes)
{
    fill(to, bytes, chunk_seed(r->rank, v, chunk), r->entropy > 0.5);
}

uint32_t rig_slots(const struct rig *g, enum slot_state state)
{
    uint32_t count = 0;

    LIST_FOR_EACH (node, &g->engine->arenas) {
        const struct slots *s = container_of(node, struct slots, link);

        for (uint32_t i = 0; i < s->count; i++)
            count += s->slot[i].state == state;
    }
    return count;
}
