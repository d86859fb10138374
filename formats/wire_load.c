/*
 * wire_load.c - the messages of a load: LOAD, its attempts (LOAD_BEGIN,
 * DELIVER, DELIVERED), the vote and the end. CONSUMED is a wire_slots. See
 * wire.h and wire.c.
 */
#include "formats/wire_internal.h"

void wire_load_encode(const struct wire_load *v, struct wr *w)
{
    wr_u32(w, v->table);
    wr_u32(w, v->is_collective);
    wire_put_save_id(w, &v->id);
}

int wire_load_decode(const void *data, size_t bytes, struct wire_load *v)
{
    struct rd r = rd_init(data, bytes);

    v->table = rd_u32(&r);
    v->is_collective = rd_u32(&r);
    v->id = wire_get_save_id(&r);
    return wire_end(&r, v->is_collective <= 1);
}

void wire_load_ok_encode(const struct wire_load_ok *v, struct wr *w)
{
    wr_u64(w, v->load);
}

int wire_load_ok_decode(const void *data, size_t bytes, struct wire_load_ok *v)
{
    struct rd r = rd_init(data, bytes);

    v->load = rd_u64(&r);
    return wire_end(&r, true);
}

void wire_load_begin_encode(const struct wire_load_begin *v, struct wr *w)
{
    wr_u64(w, v->load);
    wire_put_save_id(w, &v->id);
    wr_u32(w, v->attempt);
    wr_u64(w, v->bytes);
    wr_str(w, v->note);
}

int wire_load_begin_decode(const void *data, size_t bytes,
                           struct wire_load_begin *v)
{
    struct rd r = rd_init(data, bytes);

    v->load = rd_u64(&r);
    v->id = wire_get_save_id(&r);
    v->attempt = rd_u32(&r);
    v->bytes = rd_u64(&r);
    rd_str(&r, v->note, sizeof v->note);
    return wire_end(&r, v->attempt > 0);
}

void wire_deliver_encode(const struct wire_deliver *v, struct wr *w)
{
    wr_u64(w, v->load);
    wr_u32(w, v->slot);
    wr_u32(w, v->is_in_place);
    wr_u32(w, v->payload_bytes);
    wr_u32(w, v->op_count);
    wr_bytes(w, v->ops, v->ops_bytes);
}

int wire_deliver_decode(const void *data, size_t bytes, struct wire_deliver *v)
{
    struct rd r = rd_init(data, bytes);

    v->load = rd_u64(&r);
    v->slot = rd_u32(&r);
    v->is_in_place = rd_u32(&r);
    v->payload_bytes = rd_u32(&r);
    v->op_count = rd_u32(&r);
    v->ops = wire_get_rest(&r, &v->ops_bytes);
    return wire_end(&r, v->is_in_place <= 1 && v->op_count <= v->ops_bytes);
}

void wire_delivered_encode(const struct wire_delivered *v, struct wr *w)
{
    wr_u64(w, v->load);
}

int wire_delivered_decode(const void *data, size_t bytes,
                          struct wire_delivered *v)
{
    struct rd r = rd_init(data, bytes);

    v->load = rd_u64(&r);
    return wire_end(&r, true);
}

void wire_load_vote_encode(const struct wire_load_vote *v, struct wr *w)
{
    wr_u64(w, v->load);
    wr_u32(w, v->attempt);
    wr_u32(w, (uint32_t)v->code);
    wr_str(w, v->text);
}

int wire_load_vote_decode(const void *data, size_t bytes,
                          struct wire_load_vote *v)
{
    struct rd r = rd_init(data, bytes);

    v->load = rd_u64(&r);
    v->attempt = rd_u32(&r);
    v->code = wire_get_code(&r);
    rd_str(&r, v->text, sizeof v->text);
    return wire_end(&r, v->attempt > 0 && v->code <= 0);
}

void wire_load_done_encode(const struct wire_load_done *v, struct wr *w)
{
    wr_u64(w, v->load);
    wire_put_save_id(w, &v->id);
    wr_u32(w, (uint32_t)v->code);
    wr_u32(w, v->attempts);
    wr_u64(w, v->read_bytes);
    wr_str(w, v->text);
}

int wire_load_done_decode(const void *data, size_t bytes,
                          struct wire_load_done *v)
{
    struct rd r = rd_init(data, bytes);

    v->load = rd_u64(&r);
    v->id = wire_get_save_id(&r);
    v->code = wire_get_code(&r);
    v->attempts = rd_u32(&r);
    v->read_bytes = rd_u64(&r);
    rd_str(&r, v->text, sizeof v->text);
    return wire_end(&r, v->code <= 0);
}
