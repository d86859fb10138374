/*
 * load_rig.c - see load_rig.h.
 */
#include "tests/lib/load_rig.h"

#include "formats/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* rig_rank.player */
struct loader {
    uint32_t table;
    uint64_t tensor_bytes;
    size_t want_count;
    struct rig_want want[RIG_WANTS_MAX];
    struct list loads;
};

static struct loader *loader_of(struct rig_rank *r);

static struct rig_load *load_by(struct rig_rank *r, uint64_t number,
                                uint64_t request)
{
    LIST_FOR_EACH (node, &loader_of(r)->loads) {
        struct rig_load *l = container_of(node, struct rig_load, link);

        if (number ? l->number == number : l->request == request)
            return l;
    }
    return NULL;
}

static void give(struct rig_load *l, const uint32_t *slot, uint32_t count)
{
    struct wire_slots v = {.owner = l->number, .count = count};
    struct wr slots = {0}, w = {0};

    for (uint32_t i = 0; i < count; i++)
        wr_u32(&slots, slot[i]);
    v.slots = slots.data;
    wire_slots_encode(&v, &w);
    if (!l->rank->is_gone)
        rig_send(l->rank, WIRE_CONSUMED, 0, 0, &w);
    wr_free(&slots);
    wr_free(&w);
}

void rig_load_consume(struct rig_load *l)
{
    uint32_t count = l->held_count, slot[ARRAY_LEN(l->held)];

    memcpy(slot, l->held, sizeof slot);
    l->held_count = 0;
    l->is_holding = false;
    if (count > 0)
        give(l, slot, count);
}

void rig_load_vote(struct rig_load *l)
{
    struct wire_load_vote v = {
        .load = l->number, .attempt = l->attempt, .code = l->vote};
    struct wr w = {0};

    if (l->vote)
        (void)snprintf(v.text, sizeof v.text, "so the test wants it");
    wire_load_vote_encode(&v, &w);
    rig_send(l->rank, WIRE_LOAD_VOTE, 0, 0, &w);
    wr_free(&w);
}

static void scatter(struct rig_load *l, const struct wire_deliver *v)
{
    struct plan_op *ops = calloc(v->op_count + 1, sizeof *ops);
    struct rd rd = rd_init(v->ops, v->ops_bytes);
    const struct env_arena *arena = l->rank->arena;
    const uint8_t *payload;
    uint32_t piece;
    uint64_t offset;
    bool is_there = wire_slot_place(&arena->shape, v->slot, &piece, &offset);
    int rc;

    assert(ops && is_there);
    payload = arena->base[piece] + offset + PAGE_BYTES;
    if (v->is_in_place)
        rc = plan_ops_decode_in_place(&rd, v->op_count, l->want_count, l->bytes,
                                      v->payload_bytes, ops);
    else
        rc = plan_ops_decode(&rd, v->op_count, l->want_count, l->bytes,
                             v->payload_bytes, ops);
    assert(rc == 0);
    for (uint32_t i = 0; i < v->op_count; i++)
        copy_run(&ops[i].copy, payload, l->data[ops[i].entry]);
    free(ops);
}

static void on_deliver(struct rig_rank *r, const struct wire_deliver *v)
{
    struct rig_load *l = load_by(r, v->load, 0);

    assert(l && l->is_begun && !l->is_delivered && !l->is_done);
    l->delivered_count++;
    scatter(l, v);
    if (!l->is_holding) {
        give(l, &v->slot, 1);
        return;
    }
    assert(l->held_count < ARRAY_LEN(l->held));
    l->held[l->held_count++] = v->slot;
}

static void on_begin(struct rig_rank *r, const struct wire_load_begin *v)
{
    struct rig_load *l = load_by(r, v->load, 0);

    assert(l && !l->is_done);
    l->is_begun = true;
    l->is_delivered = false;
    l->delivered_count = 0;
    l->attempt = v->attempt;
    l->id = v->id;
    memcpy(l->note, v->note, sizeof l->note);
    for (size_t i = 0; i < l->want_count; i++)
        memset(l->data[i], 0xa5, l->bytes[i]);
}

static void on_done(struct rig_rank *r, const struct wire_load_done *v)
{
    struct rig_load *l = load_by(r, v->load, 0);

    assert(l && !l->is_done);
    l->is_done = true;
    l->code = v->code;
    l->attempts = v->attempts;
    l->id = v->id;
    memcpy(l->text, v->text, sizeof l->text);
}

static void on_error(struct rig_rank *r, uint64_t request,
                     const struct wire_error *v)
{
    struct rig_load *l = load_by(r, 0, request);

    if (!l)
        return;
    l->is_done = true;
    l->code = v->code;
    memcpy(l->text, v->text, sizeof l->text);
}

static void on_delivered(struct rig_rank *r, uint64_t number)
{
    struct rig_load *l = load_by(r, number, 0);

    assert(l && !l->is_delivered);
    l->is_delivered = true;
    if (!l->is_silent)
        rig_load_vote(l);
}

static void on_frame(struct rig_rank *r, const struct test_frame *f)
{
    uint32_t n = f->header.length;
    struct wire_load_ok ok;
    struct wire_load_begin begin;
    struct wire_deliver deliver;
    struct wire_delivered delivered;
    struct wire_load_done done;
    struct wire_error error;
    int rc = 0;

    if (f->header.type == WIRE_LOAD_OK) {
        struct rig_load *l = load_by(r, 0, f->header.id);

        rc = wire_load_ok_decode(f->payload, n, &ok);
        assert(l);
        l->is_answered = true;
        l->number = ok.load;
    } else if (f->header.type == WIRE_LOAD_BEGIN) {
        rc = wire_load_begin_decode(f->payload, n, &begin);
        on_begin(r, &begin);
    } else if (f->header.type == WIRE_DELIVER) {
        rc = wire_deliver_decode(f->payload, n, &deliver);
        on_deliver(r, &deliver);
    } else if (f->header.type == WIRE_DELIVERED) {
        rc = wire_delivered_decode(f->payload, n, &delivered);
        on_delivered(r, delivered.load);
    } else if (f->header.type == WIRE_LOAD_DONE) {
        rc = wire_load_done_decode(f->payload, n, &done);
        on_done(r, &done);
    } else if (f->header.type == WIRE_ERROR) {
        rc = wire_error_decode(f->payload, n, &error);
        on_error(r, f->header.id, &error);
    }
    assert(rc == 0);
}

static void on_free(struct rig_rank *r)
{
    struct loader *o = r->player;
    struct list *node;

    while ((node = list_pop(&o->loads))) {
        struct rig_load *l = container_of(node, struct rig_load, link);

        for (size_t i = 0; i < l->want_count; i++)
            free(l->data[i]);
        free(l);
    }
    free(o);
}

static struct loader *loader_of(struct rig_rank *r)
{
    struct loader *o = r->player;

    if (o)
        return o;
    o = calloc(1, sizeof *o);
    assert(o);
    list_init(&o->loads);
    r->player = o;
    r->on_frame = on_frame;
    r->on_free = on_free;
    return o;
}

void rig_wish(struct rig_rank *r, uint32_t number, const struct rig_want *want,
              size_t count, uint64_t tensor_bytes)
{
    struct loader *o = loader_of(r);
    struct entry entries[RIG_WANTS_MAX] = {0};
    char names[RIG_WANTS_MAX][64];

    assert(count <= RIG_WANTS_MAX);
    o->table = number;
    o->tensor_bytes = tensor_bytes;
    o->want_count = count;
    for (size_t i = 0; i < count; i++) {
        struct entry *e = &entries[i];

        o->want[i] = want[i];
        (void)snprintf(names[i], sizeof names[i], "rank%u.tensor%u",
                       want[i].owner, want[i].tensor);
        e->name = names[i];
        e->replica_count = 1;
        e->geometry.dtype = DTYPE_U16;
        e->geometry.ndim = 1;
        e->geometry.shape[0] = want[i].shape ? want[i].shape : tensor_bytes / 2;
        e->region.is_cut = want[i].count > 0;
        e->region.cut_start = want[i].start;
        e->region.cut_count = want[i].count;
    }
    rig_send_entries(r, number, entries, count);
}

struct rig_load *rig_load(struct rig_rank *r, const struct save_id *id)
{
    struct loader *o = loader_of(r);
    struct wire_load v = {.table = o->table, .is_collective = id == NULL};
    struct rig_load *l = calloc(1, sizeof *l);
    struct wr w = {0};

    assert(l);
    if (id)
        v.id = *id;
    l->rank = r;
    l->request = r->next_request++;
    l->want_count = o->want_count;
    for (size_t i = 0; i < o->want_count; i++) {
        l->want[i] = o->want[i];
        l->bytes[i] = o->want[i].count ? o->want[i].count * 2 : o->tensor_bytes;
        l->data[i] = calloc(1, l->bytes[i] + 1);
        assert(l->data[i]);
    }
    list_append(&o->loads, &l->link);
    wire_load_encode(&v, &w);
    rig_send(r, WIRE_LOAD, 0, l->request, &w);
    wr_free(&w);
    return l;
}

bool rig_loads_done(void *arg)
{
    struct rig *g = arg;

    LIST_FOR_EACH (node, &g->ranks) {
        struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (r->is_gone || !r->player)
            continue;
        LIST_FOR_EACH (at, &loader_of(r)->loads)
            if (!container_of(at, struct rig_load, link)->is_done)
                return false;
    }
    return true;
}

void rig_each_load(const struct rig_rank *r,
                   void (*visit)(const struct rig_load *l, void *arg),
                   void *arg)
{
    const struct loader *o = r->player;

    if (!o)
        return;
    LIST_FOR_EACH (node, &o->loads)
        visit(container_of(node, struct rig_load, link), arg);
}

static const struct rig_rank *saver_of(const struct rig *g, uint32_t rank,
                                       const struct save_id *id,
                                       const struct rig_save **saved)
{
    LIST_FOR_EACH (node, &g->ranks) {
        const struct rig_rank *r = container_of(node, struct rig_rank, link);

        if (r->rank != rank)
            continue;
        LIST_FOR_EACH (at, &r->saves) {
            const struct rig_save *v = container_of(at, struct rig_save, link);

            if (save_id_compare(&v->id, id) != 0)
                continue;
            *saved = v;
            return r;
        }
    }
    return NULL;
}

/* Tensors are larger than a chunk, so each begins with a chunk of its own. */
static void tensor_bytes(const struct rig_rank *r, const struct rig_save *v,
                         uint32_t tensor, uint8_t *to, uint64_t bytes)
{
    uint64_t per = (bytes + RIG_CHUNK_BYTES - 1) / RIG_CHUNK_BYTES;

    assert(bytes >= RIG_CHUNK_BYTES && v->chunk_count % per == 0);
    for (uint64_t i = 0; i < per; i++) {
        uint64_t at = i * RIG_CHUNK_BYTES;

        rig_bytes(r, v, (uint32_t)(tensor * per + i), to + at,
                  (uint32_t)min_u64(RIG_CHUNK_BYTES, bytes - at));
    }
}

void rig_load_check(const struct rig_load *l, const struct rig *saver,
                    const struct save_id *id)
{
    uint64_t bytes = loader_of(l->rank)->tensor_bytes;
    uint8_t *whole = malloc(bytes);

    assert(whole);
    for (size_t i = 0; i < l->want_count; i++) {
        const struct rig_want *want = &l->want[i];
        const struct rig_save *v = NULL;
        const struct rig_rank *r = saver_of(saver, want->owner, id, &v);
        bool is_equal;

        assert(r);
        tensor_bytes(r, v, want->tensor, whole, bytes);
        is_equal =
            memcmp(whole + want->start * 2, l->data[i], l->bytes[i]) == 0;
        assert(is_equal);
    }
    free(whole);
}
