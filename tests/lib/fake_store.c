/*
 * fake_store.c - the saves that the fake daemon keeps in memory, and loads from
 * them by the real planner; see fake_daemon.h.
 */
#include "tests/lib/fake_daemon_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static uint8_t *slot_payload(struct fake *f, uint32_t slot)
{
    uint32_t piece;
    uint64_t offset;

    if (!wire_slot_place(&f->arena, slot, &piece, &offset))
        abort();
    return f->base[piece] + offset + PAGE_BYTES;
}

static bool slot_take(struct fake *f, uint32_t *slot)
{
    for (uint32_t i = 0; i < f->o.slot_count; i++) {
        uint32_t k = f->o.is_backwards ? f->o.slot_count - 1 - i : i;

        if (!f->is_free[k])
            continue;
        f->is_free[k] = false;
        *slot = k;
        return true;
    }
    return false;
}

static struct fake_save *find_save(struct fake *f, const struct save_id *id)
{
    LIST_FOR_EACH (node, &f->saves) {
        struct fake_save *s = container_of(node, struct fake_save, link);

        if (save_id_compare(&s->id, id) == 0)
            return s;
    }
    return NULL;
}

static struct fake_save *find_number(struct fake *f, uint64_t number)
{
    LIST_FOR_EACH (node, &f->saves) {
        struct fake_save *s = container_of(node, struct fake_save, link);

        if (s->is_here && s->number == number)
            return s;
    }
    return NULL;
}

struct save_id fake_newest(struct fake *f)
{
    struct save_id id = {0};

    LIST_FOR_EACH (node, &f->saves) {
        struct fake_save *s = container_of(node, struct fake_save, link);

        if (s->state == WIRE_STATE_COMMITTED)
            id = s->id;
    }
    return id;
}

static void tell_state(struct fake *f, struct fake_save *s, uint64_t request,
                       uint32_t state, int code)
{
    struct wire_state v = {
        .save = s->number, .id = s->id, .state = state, .code = code};
    struct wr w = {0};

    if (code)
        (void)strcpy(v.text, "fake: aborted");
    s->state = state;
    wire_state_encode(&v, &w);
    fake_send(f, WIRE_STATE, request, &w);
    wr_free(&w);
}

static void on_save(struct fake *f, const struct frame *in)
{
    struct fake_save *s = calloc(1, sizeof *s);
    struct wire_save_ok ok;
    struct wire_save v;
    struct err err;
    struct wr w = {0};

    assert(s && wire_save_decode(in->payload, in->header.length, &v) == 0);
    if (v.table >= FAKE_TABLES || !f->table[v.table].bytes) {
        fake_refuse(f, in->header.id, -EINVAL, "fake: no such table");
        free(s);
        return;
    }
    s->number = ++f->next_number;
    s->id = (struct save_id){f->generation, 1, v.step};
    while (find_save(f, &s->id))
        s->id.attempt++;
    s->layout = f->open.layout;
    memcpy(s->coordinate, f->open.coordinate, sizeof s->coordinate);
    s->is_here = true;
    wr_bytes(&s->values, v.values, v.values_bytes);
    if (table_decode(f->table[v.table].data, f->table[v.table].bytes, &s->table,
                     &err) ||
        writelist_build(s->table.entry, s->table.count, f->o.chunk_bytes,
                        &s->list))
        abort();
    s->chunk = calloc(s->list.chunk_count + 1, sizeof *s->chunk);
    assert(s->chunk);
    list_append(&f->saves, &s->link);
    ok = (struct wire_save_ok){s->number, s->id};
    wire_save_ok_encode(&ok, &w);
    fake_send(f, WIRE_SAVE_OK, in->header.id, &w);
    wr_free(&w);
}

static void abort_saves(struct fake *f)
{
    f->is_aborting = false;
    LIST_FOR_EACH (node, &f->saves) {
        struct fake_save *s = container_of(node, struct fake_save, link);

        if (s->is_here && s->state < WIRE_STATE_COMMITTED) {
            tell_state(f, s, 0, WIRE_STATE_ABORTED, f->o.refusal);
            memset(f->is_free, 1, sizeof f->is_free);
        }
    }
}

void fake_abort_all(struct fake *f, int code)
{
    (void)pthread_mutex_lock(&f->lock);
    f->o.refusal = code;
    abort_saves(f);
    (void)pthread_mutex_unlock(&f->lock);
}

static void on_chunks(struct fake *f, const struct frame *in)
{
    struct wire_chunks v;
    struct fake_save *s;

    assert(wire_chunks_decode(in->payload, in->header.length, &v) == 0);
    s = find_number(f, v.save);
    assert(s);
    for (uint32_t i = 0; i < v.count && s->state < WIRE_STATE_STAGED; i++) {
        uint32_t chunk = get_u32(v.pairs + (size_t)i * 8);
        uint32_t slot = get_u32(v.pairs + (size_t)i * 8 + 4);
        uint32_t bytes;

        assert(chunk < s->list.chunk_count && slot < f->o.slot_count);
        assert(!f->is_free[slot] && !s->chunk[chunk]);
        bytes = s->list.chunk[chunk].raw_bytes;
        s->chunk[chunk] = malloc(bytes);
        assert(s->chunk[chunk]);
        memcpy(s->chunk[chunk], slot_payload(f, slot), bytes);
        /* Whoever still relies on the slot's bytes sees this instead. */
        memset(slot_payload(f, slot), 0xdb, f->o.chunk_bytes);
        f->is_free[slot] = true;
        s->chunks_here++;
        s->granted--;
        f->chunks_taken++;
    }
}

static void on_cancel(struct fake *f, const struct frame *in)
{
    struct wire_cancel v;
    struct fake_save *s;

    assert(wire_cancel_decode(in->payload, in->header.length, &v) == 0);
    if (v.save == FAKE_LATE_NUMBER) /* counted, that is all */
        return;
    s = find_number(f, v.save);
    assert(s);
    tell_state(f, s, 0, WIRE_STATE_ABORTED, v.code);
    memset(f->is_free, 1, sizeof f->is_free);
}

static void on_watch(struct fake *f, const struct frame *in)
{
    struct wire_watch v;
    struct fake_save *s;

    assert(wire_watch_decode(in->payload, in->header.length, &v) == 0);
    s = find_save(f, &v.id);
    if (!s || f->o.forgets) {
        fake_refuse(f, in->header.id, -ENOENT, "fake: no such save");
        return;
    }
    tell_state(f, s, in->header.id,
               s->state == WIRE_STATE_ABORTED ? s->state : f->o.stop_at,
               s->state == WIRE_STATE_ABORTED ? -EIO : 0);
}

/* As if its time were over, then REMOTE. */
static void on_await(struct fake *f, const struct frame *in)
{
    struct wire_await v;
    struct fake_save *s;

    assert(wire_await_decode(in->payload, in->header.length, &v) == 0);
    s = find_save(f, &v.id);
    if (!s || f->o.remote_refusal) {
        fake_refuse(f, in->header.id, s ? f->o.remote_refusal : -ENOENT,
                    "fake: not sent there");
        return;
    }
    tell_state(f, s, in->header.id,
               f->o.remote_after ? WIRE_STATE_COMMITTED : WIRE_STATE_REMOTE, 0);
    s->state = WIRE_STATE_COMMITTED;
    f->o.remote_after -= f->o.remote_after > 0;
}

static void grant(struct fake *f, struct fake_save *s)
{
    uint32_t most = f->o.grant_max ? f->o.grant_max : FAKE_SLOTS, slot;
    uint8_t raw[4];
    struct wire_slots v = {s->number, 1, raw};
    struct wr w = {0};

    while (s->granted < most &&
           s->chunks_here + s->granted < s->list.chunk_count &&
           slot_take(f, &slot)) {
        s->granted++;
        put_u32(raw, slot);
        w.bytes = 0;
        wire_slots_encode(&v, &w);
        fake_send(f, WIRE_SLOTS, 0, &w);
    }
    wr_free(&w);
}

static void pump_save(struct fake *f, struct fake_save *s)
{
    if (!s->is_here || s->state == WIRE_STATE_ABORTED)
        return;
    if (s->chunks_here < s->list.chunk_count) {
        grant(f, s);
        return;
    }
    while (s->state < f->o.stop_at)
        tell_state(f, s, 0, s->state + 1, 0);
}

/*
 * Loads.
 */

static void add_chunks(struct fake_save *s, struct manifest_builder *b)
{
    size_t count = s->list.chunk_count;
    struct built_chunk *chunks = calloc(count + 1, sizeof *chunks);
    struct built_rank rank = {.entries = s->table.entry,
                              .entry_count = s->table.count,
                              .list = &s->list,
                              .chunks = chunks};
    struct err err;

    assert(chunks);
    memcpy(rank.coordinate, s->coordinate, sizeof rank.coordinate);
    for (size_t i = 0; i < count; i++)
        chunks[i] = (struct built_chunk){
            .segment = {{1}},
            .segment_store = {{2}},
            .file_store = {{2}},
            .file_segment = {{1}},
            .file_name = "seg/000001",
            .offset = 65536 + i * ((uint64_t)CHUNK_BYTES_MAX + PAGE_BYTES),
            .number = (uint32_t)i,
            .raw_bytes = s->list.chunk[i].raw_bytes,
            .payload_bytes = s->list.chunk[i].raw_bytes,
        };
    if (manifest_add_rank(b, &rank, &err)) {
        (void)fprintf(stderr, "fake: %s\n", err.text);
        abort();
    }
    free(chunks);
}

static void open_manifest(struct fake *f, struct fake_load *l)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = {.kind = MANIFEST_CHECKPOINT,
                                 .world_size = 1,
                                 .chunk_bytes = f->o.chunk_bytes,
                                 .id = l->from->id};
    struct err err;
    size_t bytes;

    assert(b);
    add_chunks(l->from, b);
    if (manifest_write(b, &info, &l->from->layout, &l->manifest_bytes, &bytes,
                       &err) ||
        manifest_open(l->manifest_bytes, bytes, &l->manifest, &err)) {
        (void)fprintf(stderr, "fake: %s\n", err.text);
        abort();
    }
    manifest_builder_free(b);
}

static void load_end(struct fake *f)
{
    struct fake_load *l = &f->load;

    if (!l->from)
        return;
    plan_free(&l->plan);
    table_free(&l->wanted);
    free(l->manifest_bytes);
    *l = (struct fake_load){0};
}

static void begin_attempt(struct fake *f)
{
    struct fake_load *l = &f->load;
    struct wire_load_begin v = {.load = l->number,
                                .id = l->from->id,
                                .attempt = ++l->attempt,
                                .bytes =
                                    l->plan.wanted_bytes + f->o.flips_a_byte};
    struct wr w = {0};

    if (l->attempt > 1)
        (void)strcpy(v.note, "fake: the attempt before failed");
    l->next = 0;
    l->is_delivered = false;
    wire_load_begin_encode(&v, &w);
    fake_send(f, WIRE_LOAD_BEGIN, 0, &w);
    wr_free(&w);
}

static void on_load(struct fake *f, const struct frame *in)
{
    struct fake_load *l = &f->load;
    struct wire_load v;
    struct wire_load_ok ok;
    struct plan_request request;
    struct save_id id;
    struct wr w = {0};
    size_t failed;
    struct err err;
    int rc;

    assert(wire_load_decode(in->payload, in->header.length, &v) == 0);
    id = v.is_collective ? f->parent : v.id;
    load_end(f);
    l->from = find_save(f, &id);
    if (!l->from) {
        fake_refuse(f, in->header.id, -ENODATA, "fake: nothing to load");
        return;
    }
    if (table_decode(f->table[v.table].data, f->table[v.table].bytes,
                     &l->wanted, &err))
        abort();
    open_manifest(f, l);
    request = (struct plan_request){l->wanted.entry, l->wanted.count, NULL};
    rc = plan_build(&l->manifest, &request, 1, &l->plan, &failed, &err);
    if (rc) {
        fake_refuse(f, in->header.id, rc, err.text);
        l->plan = (struct plan){0};
        load_end(f);
        return;
    }
    l->number = ++f->next_number;
    l->is_active = true;
    ok = (struct wire_load_ok){l->number};
    wire_load_ok_encode(&ok, &w);
    fake_send(f, WIRE_LOAD_OK, in->header.id, &w);
    wr_free(&w);
    begin_attempt(f);
}

static void deliver(struct fake *f, uint32_t slot)
{
    struct fake_load *l = &f->load;
    const struct plan_chunk *c = &l->plan.chunk[l->next++];
    const struct plan_use *use = &l->plan.use[c->first_use];
    const struct plan_op *op = &l->plan.op[use->first_op];
    uint32_t chunk = c->chunk;
    struct wire_deliver v = {.load = l->number,
                             .slot = slot,
                             .is_in_place = !f->o.is_gathered,
                             .payload_bytes =
                                 l->manifest.chunk[chunk].raw_bytes,
                             .op_count = use->op_count};
    const uint8_t *raw = l->from->chunk[l->manifest.chunk[chunk].number];
    uint8_t *to = slot_payload(f, slot);
    struct wr ops = {0}, w = {0};

    if (f->o.is_gathered) {
        for (uint32_t i = 0; i < use->op_count; i++) {
            copy_gather(&op[i].copy, raw, to);
            to += copy_bytes(&op[i].copy);
        }
        v.payload_bytes = (uint32_t)use->packed_bytes;
        plan_ops_encode(op, use->op_count, &ops);
    } else {
        memcpy(to, raw, v.payload_bytes);
        plan_ops_encode_in_place(op, use->op_count, &ops);
    }
    v.ops = ops.data;
    v.ops_bytes = (uint32_t)ops.bytes;
    if (f->o.spoilt_loads)
        memset(to - (f->o.is_gathered ? v.payload_bytes : 0), 0xee,
               v.payload_bytes);
    wire_deliver_encode(&v, &w);
    fake_send(f, WIRE_DELIVER, 0, &w);
    wr_free(&ops);
    wr_free(&w);
}

static void pump_load(struct fake *f)
{
    struct fake_load *l = &f->load;
    struct wire_delivered v = {l->number};
    struct wr w = {0};
    uint32_t slot;

    if (!l->is_active || l->is_delivered)
        return;
    while (l->next < l->plan.chunk_count && slot_take(f, &slot))
        deliver(f, slot);
    if (f->o.spoilt_loads && l->next > 0) {
        f->o.spoilt_loads--;
        begin_attempt(f);
        return;
    }
    if (l->next < l->plan.chunk_count)
        return;
    l->is_delivered = true;
    wire_delivered_encode(&v, &w);
    fake_send(f, WIRE_DELIVERED, 0, &w);
    wr_free(&w);
}

static void on_consumed(struct fake *f, const struct frame *in)
{
    struct wire_slots v;

    assert(wire_slots_decode(in->payload, in->header.length, &v) == 0);
    assert(v.owner > f->last_before); /* of this connection */
    for (uint32_t i = 0; i < v.count; i++) {
        uint32_t slot = get_u32(v.slots + (size_t)i * 4);

        assert(slot < f->o.slot_count && !f->is_free[slot]);
        memset(slot_payload(f, slot), 0xbd, f->o.chunk_bytes);
        f->is_free[slot] = true;
    }
}

static void on_vote(struct fake *f, const struct frame *in)
{
    struct fake_load *l = &f->load;
    struct wire_load_vote v;
    struct wire_load_done done = {.id = l->from->id, .attempts = l->attempt};
    struct wr w = {0};

    assert(wire_load_vote_decode(in->payload, in->header.length, &v) == 0);
    assert(v.load == l->number && v.attempt == l->attempt);
    assert(l->is_delivered);
    if (f->o.fail_loads) {
        f->o.fail_loads--;
        begin_attempt(f);
        return;
    }
    done.load = l->number;
    done.code = v.code;
    done.read_bytes = l->plan.stored_bytes;
    memcpy(done.text, v.text, sizeof done.text);
    wire_load_done_encode(&done, &w);
    fake_send(f, WIRE_LOAD_DONE, 0, &w);
    wr_free(&w);
    load_end(f);
}

/*
 * Looking.
 */

static void add_large(const struct fake_save *s, struct wr *out)
{
    struct value *large = calloc(s->table.count + 1, sizeof *large);
    uint64_t *length = calloc(s->table.count + 1, sizeof *length);
    size_t count = 0;

    assert(large && length);
    for (size_t i = 0; i < s->table.count; i++) {
        const struct entry *e = &s->table.entry[i];
        struct value *v = &large[count];

        if (value_reserved_parse(&s->layout, e->name, strlen(e->name), v))
            continue;
        if (e->geometry.dtype == DTYPE_I8)
            v->type = VALUE_STRING;
        put_u64(&length[count], e->geometry.shape[0]);
        v->data = &length[count++];
        v->bytes = 8;
    }
    values_encode(large, count, out);
    free(large);
    free(length);
}

static void on_values(struct fake *f, const struct frame *in)
{
    struct wire_values v;
    struct wire_values_ok ok = {0};
    struct fake_save *s;
    struct wr large = {0}, w = {0};

    assert(wire_values_decode(in->payload, in->header.length, &v) == 0);
    ok.id = v.id.generation ? v.id : f->parent;
    s = find_save(f, &ok.id);
    if (!s) {
        fake_refuse(f, in->header.id, -ENODATA, "fake: nothing there");
        return;
    }
    add_large(s, &large);
    ok.layout = s->layout;
    ok.values = s->values.data;
    ok.values_bytes = (uint32_t)s->values.bytes;
    ok.large = large.data;
    ok.large_bytes = (uint32_t)large.bytes;
    wire_values_ok_encode(&ok, &w);
    fake_send(f, WIRE_VALUES_OK, in->header.id, &w);
    wr_free(&large);
    wr_free(&w);
}

static void on_list(struct fake *f, const struct frame *in)
{
    struct wr infos = {0}, w = {0};
    struct wire_list_ok ok = {0};

    LIST_FOR_EACH (node, &f->saves) {
        struct fake_save *s = container_of(node, struct fake_save, link);
        struct wire_info info = {.id = s->id,
                                 .logical_bytes = s->list.bytes,
                                 .stored_bytes = s->list.raw_bytes,
                                 .tensor_count = s->table.count,
                                 .rank_count = 1};

        if (s->state != WIRE_STATE_COMMITTED)
            continue;
        ok.count++;
        wire_info_encode(&info, &infos);
    }
    ok.infos = infos.data;
    wire_list_ok_encode(&ok, &w);
    fake_send(f, WIRE_LIST_OK, in->header.id, &w);
    wr_free(&infos);
    wr_free(&w);
}

static void on_describe(struct fake *f, const struct frame *in)
{
    struct wire_describe v;
    struct fake_save *s;
    struct wr w = {0};

    assert(wire_describe_decode(in->payload, in->header.length, &v) == 0);
    s = find_save(f, &v.id);
    if (!s || v.index >= s->table.count) {
        fake_refuse(f, in->header.id, -ERANGE, "fake: past the last tensor");
        return;
    }
    table_encode(&s->table.entry[v.index], 1, &w);
    fake_send(f, WIRE_DESCRIBE_OK, in->header.id, &w);
    wr_free(&w);
}

void fake_store_handle(struct fake *f, const struct frame *in)
{
    static void (*const handler[])(struct fake *, const struct frame *) = {
        [WIRE_SAVE] = on_save,         [WIRE_CHUNKS] = on_chunks,
        [WIRE_CANCEL] = on_cancel,     [WIRE_WATCH] = on_watch,
        [WIRE_AWAIT] = on_await,       [WIRE_LOAD] = on_load,
        [WIRE_CONSUMED] = on_consumed, [WIRE_LOAD_VOTE] = on_vote,
        [WIRE_VALUES] = on_values,     [WIRE_LIST] = on_list,
        [WIRE_DESCRIBE] = on_describe,
    };

    assert(in->header.type < ARRAY_LEN(handler) && handler[in->header.type]);
    handler[in->header.type](f, in);
    if (f->is_aborting)
        abort_saves(f);
}

void fake_store_pump(struct fake *f)
{
    LIST_FOR_EACH (node, &f->saves)
        pump_save(f, container_of(node, struct fake_save, link));
    pump_load(f);
}

void fake_store_hang_up(struct fake *f)
{
    load_end(f);
    f->last_before = f->next_number;
    LIST_FOR_EACH (node, &f->saves) {
        struct fake_save *s = container_of(node, struct fake_save, link);

        s->is_here = false;
        if (s->chunks_here < s->list.chunk_count)
            s->state = WIRE_STATE_ABORTED;
    }
}

void fake_store_fini(struct fake *f)
{
    struct list *node;

    while ((node = list_pop(&f->saves))) {
        struct fake_save *s = container_of(node, struct fake_save, link);

        for (size_t i = 0; i < s->list.chunk_count; i++)
            free(s->chunk[i]);
        free(s->chunk);
        wr_free(&s->values);
        writelist_free(&s->list);
        table_free(&s->table);
        free(s);
    }
}
