/*
 * wire_save.c - the messages of a save: SAVE, SLOTS, CHUNKS, STATE, CANCEL and
 * WATCH. See wire.h and wire.c.
 */
#include "formats/wire_internal.h"

/* In the field of the overload policy: struct trust follows the values. */
#define HAS_TRUST ((uint32_t)0x100)

static void put_trust(const struct trust *t, struct wr *w)
{
    wr_u32(w, t->replica_check);
    wr_u32(w, t->on_divergence);
    wr_u32(w, t->on_stale);
    wr_u32(w, t->rotation);
    wr_str(w, t->replica_allow);
    wr_str(w, t->optimizer_names);
}

static bool get_trust(struct rd *r, struct trust *t)
{
    t->replica_check = rd_u32(r);
    t->on_divergence = rd_u32(r);
    t->on_stale = rd_u32(r);
    t->rotation = rd_u32(r);
    rd_str(r, t->replica_allow, sizeof t->replica_allow);
    rd_str(r, t->optimizer_names, sizeof t->optimizer_names);
    return t->replica_check <= TRUST_OFF && t->on_divergence <= TRUST_FAIL &&
           t->on_stale <= TRUST_IGNORE;
}

void wire_save_encode(const struct wire_save *v, struct wr *w)
{
    wr_u64(w, v->step);
    wr_u32(w, v->table);
    wr_u32(w, v->overload | (v->has_trust ? HAS_TRUST : 0));
    wr_u32(w, v->max_uncommitted);
    wire_put_blob(w, v->values, v->values_bytes);
    if (v->has_trust)
        put_trust(&v->trust, w);
}

int wire_save_decode(const void *data, size_t bytes, struct wire_save *v)
{
    struct rd r = rd_init(data, bytes);
    bool is_valid = true;

    *v = (struct wire_save){0};
    v->step = rd_u64(&r);
    v->table = rd_u32(&r);
    v->overload = rd_u32(&r);
    v->has_trust = (v->overload & HAS_TRUST) != 0;
    v->overload &= ~HAS_TRUST;
    v->max_uncommitted = rd_u32(&r);
    v->values = wire_get_blob(&r, &v->values_bytes);
    if (v->has_trust)
        is_valid = get_trust(&r, &v->trust);
    return wire_end(&r, is_valid && v->overload <= 2);
}

void wire_save_ok_encode(const struct wire_save_ok *v, struct wr *w)
{
    wr_u64(w, v->save);
    wire_put_save_id(w, &v->id);
}

int wire_save_ok_decode(const void *data, size_t bytes, struct wire_save_ok *v)
{
    struct rd r = rd_init(data, bytes);

    v->save = rd_u64(&r);
    v->id = wire_get_save_id(&r);
    return wire_end(&r, v->id.generation > 0);
}

void wire_slots_encode(const struct wire_slots *v, struct wr *w)
{
    wr_u64(w, v->owner);
    wr_u32(w, v->count);
    wr_bytes(w, v->slots, (size_t)v->count * 4);
}

int wire_slots_decode(const void *data, size_t bytes, struct wire_slots *v)
{
    struct rd r = rd_init(data, bytes);

    v->owner = rd_u64(&r);
    v->count = rd_u32(&r);
    v->slots = wire_get_items(&r, v->count, 4);
    return wire_end(&r, true);
}

void wire_chunks_encode(const struct wire_chunks *v, struct wr *w)
{
    wr_u64(w, v->save);
    wr_u32(w, v->count);
    wr_bytes(w, v->pairs, (size_t)v->count * 8);
}

int wire_chunks_decode(const void *data, size_t bytes, struct wire_chunks *v)
{
    struct rd r = rd_init(data, bytes);

    v->save = rd_u64(&r);
    v->count = rd_u32(&r);
    v->pairs = wire_get_items(&r, v->count, 8);
    return wire_end(&r, true);
}

void wire_state_encode(const struct wire_state *v, struct wr *w)
{
    wr_u64(w, v->save);
    wire_put_save_id(w, &v->id);
    wr_u32(w, v->state);
    wr_u32(w, (uint32_t)v->code);
    wr_str(w, v->text);
}

int wire_state_decode(const void *data, size_t bytes, struct wire_state *v)
{
    struct rd r = rd_init(data, bytes);
    bool is_aborted, is_climbing;

    v->save = rd_u64(&r);
    v->id = wire_get_save_id(&r);
    v->state = rd_u32(&r);
    v->code = wire_get_code(&r);
    rd_str(&r, v->text, sizeof v->text);
    is_aborted = v->state == WIRE_STATE_ABORTED && v->code < 0;
    is_climbing = v->state <= WIRE_STATE_REMOTE && v->code == 0;
    return wire_end(&r, is_aborted || is_climbing);
}

void wire_cancel_encode(const struct wire_cancel *v, struct wr *w)
{
    wr_u64(w, v->save);
    wr_u32(w, (uint32_t)v->code);
    wr_str(w, v->text);
}

int wire_cancel_decode(const void *data, size_t bytes, struct wire_cancel *v)
{
    struct rd r = rd_init(data, bytes);

    v->save = rd_u64(&r);
    v->code = wire_get_code(&r);
    rd_str(&r, v->text, sizeof v->text);
    return wire_end(&r, v->code < 0);
}

void wire_watch_encode(const struct wire_watch *v, struct wr *w)
{
    wire_put_save_id(w, &v->id);
}

int wire_watch_decode(const void *data, size_t bytes, struct wire_watch *v)
{
    struct rd r = rd_init(data, bytes);

    v->id = wire_get_save_id(&r);
    return wire_end(&r, v->id.generation > 0);
}

void wire_await_encode(const struct wire_await *v, struct wr *w)
{
    wire_put_save_id(w, &v->id);
}

int wire_await_decode(const void *data, size_t bytes, struct wire_await *v)
{
    struct rd r = rd_init(data, bytes);

    v->id = wire_get_save_id(&r);
    return wire_end(&r, v->id.generation > 0);
}
