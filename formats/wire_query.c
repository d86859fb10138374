/*
 * wire_query.c - the messages that ask: VALUES, LIST, DESCRIBE and DRAIN. See
 * wire.h and wire.c.
 */
#include "formats/wire_internal.h"

void wire_values_encode(const struct wire_values *v, struct wr *w)
{
    wire_put_save_id(w, &v->id);
}

int wire_values_decode(const void *data, size_t bytes, struct wire_values *v)
{
    struct rd r = rd_init(data, bytes);

    v->id = wire_get_save_id(&r);
    return wire_end(&r, true);
}

void wire_values_ok_encode(const struct wire_values_ok *v, struct wr *w)
{
    wire_put_save_id(w, &v->id);
    layout_encode(&v->layout, w);
    wire_put_blob(w, v->values, v->values_bytes);
    wire_put_blob(w, v->large, v->large_bytes);
}

int wire_values_ok_decode(const void *data, size_t bytes,
                          struct wire_values_ok *v)
{
    struct rd r = rd_init(data, bytes);

    *v = (struct wire_values_ok){0};
    v->id = wire_get_save_id(&r);
    if (layout_decode(&r, &v->layout))
        return -EBADMSG;
    v->values = wire_get_blob(&r, &v->values_bytes);
    v->large = wire_get_blob(&r, &v->large_bytes);
    return wire_end(&r, true);
}

void wire_info_encode(const struct wire_info *v, struct wr *w)
{
    wire_put_save_id(w, &v->id);
    wr_u64(w, v->logical_bytes);
    wr_u64(w, v->stored_bytes);
    wr_u64(w, v->tensor_count);
    wr_u64(w, v->rank_count);
    wr_u64(w, v->created_unix_ms);
}

int wire_info_decode(struct rd *r, struct wire_info *v)
{
    v->id = wire_get_save_id(r);
    v->logical_bytes = rd_u64(r);
    v->stored_bytes = rd_u64(r);
    v->tensor_count = rd_u64(r);
    v->rank_count = rd_u64(r);
    v->created_unix_ms = rd_u64(r);
    return r->bad ? -EBADMSG : 0;
}

/* With `count`: states follow. */
#define LIST_HAS_STATES ((uint32_t)1 << 31)

void wire_list_ok_encode(const struct wire_list_ok *v, struct wr *w)
{
    wr_u32(w, v->count | (v->states ? LIST_HAS_STATES : 0));
    wr_bytes(w, v->infos, (size_t)v->count * WIRE_INFO_BYTES);
    if (v->states)
        wr_bytes(w, v->states, (size_t)v->count * WIRE_INFO_STATE_BYTES);
}

int wire_list_ok_decode(const void *data, size_t bytes, struct wire_list_ok *v)
{
    struct rd r = rd_init(data, bytes);
    uint32_t has_states;

    has_states = rd_u32(&r);
    v->count = has_states & ~LIST_HAS_STATES;
    v->infos = wire_get_items(&r, v->count, WIRE_INFO_BYTES);
    v->states = NULL;
    if (has_states & LIST_HAS_STATES)
        v->states = wire_get_items(&r, v->count, WIRE_INFO_STATE_BYTES);
    return wire_end(&r, true);
}

void wire_describe_encode(const struct wire_describe *v, struct wr *w)
{
    wire_put_save_id(w, &v->id);
    wr_u64(w, v->index);
}

int wire_describe_decode(const void *data, size_t bytes,
                         struct wire_describe *v)
{
    struct rd r = rd_init(data, bytes);

    v->id = wire_get_save_id(&r);
    v->index = rd_u64(&r);
    return wire_end(&r, true);
}

void wire_describe_ok_encode(const struct wire_describe_ok *v, struct wr *w)
{
    wr_bytes(w, v->table, v->table_bytes);
}

int wire_describe_ok_decode(const void *data, size_t bytes,
                            struct wire_describe_ok *v)
{
    struct rd r = rd_init(data, bytes);

    v->table = wire_get_rest(&r, &v->table_bytes);
    return wire_end(&r, true);
}

void wire_drain_encode(const struct wire_drain *v, struct wr *w)
{
    wr_str(w, v->home);
    wr_str(w, v->run);
    wire_put_save_id(w, &v->id);
}

int wire_drain_decode(const void *data, size_t bytes, struct wire_drain *v)
{
    struct rd r = rd_init(data, bytes);

    rd_str(&r, v->home, sizeof v->home);
    rd_str(&r, v->run, sizeof v->run);
    v->id = wire_get_save_id(&r);
    return wire_end(&r, v->id.generation > 0);
}

void wire_drain_ok_encode(const struct wire_drain_ok *v, struct wr *w)
{
    wr_u32(w, v->state);
    wr_u64(w, v->bytes);
    wr_u64(w, v->done_bytes);
    wr_u32(w, (uint32_t)v->code);
    wr_str(w, v->text);
}

int wire_drain_ok_decode(const void *data, size_t bytes,
                         struct wire_drain_ok *v)
{
    struct rd r = rd_init(data, bytes);

    v->state = rd_u32(&r);
    v->bytes = rd_u64(&r);
    v->done_bytes = rd_u64(&r);
    v->code = wire_get_code(&r);
    rd_str(&r, v->text, sizeof v->text);
    return wire_end(&r, v->state <= WIRE_DRAIN_REMOTE && v->code <= 0 &&
                            v->done_bytes <= v->bytes);
}
