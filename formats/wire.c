/*
 * wire.c - frames, slots, and the messages that set a connection up (HELLO to
 * TABLE, CLOSE). The other messages are in wire_save.c, wire_load.c and
 * wire_query.c; see wire.h for who sends what.
 *
 * A decoder reads its fields in order through a bounded reader and ends in
 * wire_end(): one check for "all there, nothing more, every number in its
 * range". Nothing is allocated here: strings are copied into the struct, longer
 * data stays in the frame.
 */
#include "formats/wire_internal.h"
#include "formats/writelist.h"

void wire_header_encode(const struct wire_header *h,
                        uint8_t out[WIRE_HEADER_BYTES])
{
    put_u32(out, h->length);
    put_u16(out + 4, h->type);
    put_u16(out + 6, h->flags);
    put_u64(out + 8, h->id);
}

int wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES],
                       struct wire_header *out)
{
    out->length = get_u32(in);
    out->type = get_u16(in + 4);
    out->flags = get_u16(in + 6);
    out->id = get_u64(in + 8);
    if (out->length > WIRE_PAYLOAD_MAX)
        return -EBADMSG;
    if (out->type < WIRE_ERROR || out->type > WIRE_LAST)
        return -EBADMSG;
    if (out->flags & ~WIRE_FLAG_MORE)
        return -EBADMSG;
    return out->flags && out->type != WIRE_TABLE ? -EBADMSG : 0;
}

/* Slots in one piece; piece 0 gives its first page to the mirror. */
static uint64_t piece_slots(const struct wire_arena_ok *arena, uint32_t piece)
{
    uint64_t first = piece == 0 ? PAGE_BYTES : 0;
    uint64_t bytes = arena->piece_bytes[piece];

    if (bytes <= first)
        return 0;
    return (bytes - first) / (PAGE_BYTES + arena->chunk_bytes);
}

bool wire_slot_place(const struct wire_arena_ok *arena, uint32_t slot,
                     uint32_t *piece, uint64_t *offset)
{
    uint64_t left = slot;

    for (uint32_t i = 0; i < arena->piece_count; i++) {
        uint64_t slots = piece_slots(arena, i);

        if (left < slots) {
            *piece = i;
            *offset = (i == 0 ? PAGE_BYTES : 0) +
                      left * (PAGE_BYTES + arena->chunk_bytes);
            return true;
        }
        left -= slots;
    }
    return false;
}

uint32_t wire_slot_count(const struct wire_arena_ok *arena)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < arena->piece_count; i++)
        count += piece_slots(arena, i);
    return (uint32_t)count;
}

void wire_error_encode(const struct wire_error *v, struct wr *w)
{
    wr_u32(w, (uint32_t)v->code);
    wr_str(w, v->text);
}

int wire_error_decode(const void *data, size_t bytes, struct wire_error *v)
{
    struct rd r = rd_init(data, bytes);

    v->code = wire_get_code(&r);
    rd_str(&r, v->text, sizeof v->text);
    return wire_end(&r, v->code < 0);
}

void wire_hello_encode(const struct wire_hello *v, struct wr *w)
{
    wr_u32(w, v->magic);
    wr_u16(w, v->low);
    wr_u16(w, v->high);
    wr_u64(w, v->features);
}

int wire_hello_decode(const void *data, size_t bytes, struct wire_hello *v)
{
    struct rd r = rd_init(data, bytes);

    v->magic = rd_u32(&r);
    v->low = rd_u16(&r);
    v->high = rd_u16(&r);
    v->features = rd_u64(&r);
    return wire_end(&r, v->magic == WIRE_MAGIC && v->low <= v->high);
}

void wire_hello_ok_encode(const struct wire_hello_ok *v, struct wr *w)
{
    wr_u16(w, v->version);
    wr_u64(w, v->features);
    wr_id(w, &v->daemon);
    wr_u32(w, v->is_service);
    wr_str(w, v->mode);
}

int wire_hello_ok_decode(const void *data, size_t bytes,
                         struct wire_hello_ok *v)
{
    struct rd r = rd_init(data, bytes);

    v->version = rd_u16(&r);
    v->features = rd_u64(&r);
    v->daemon = rd_id(&r);
    v->is_service = rd_u32(&r);
    rd_str(&r, v->mode, sizeof v->mode);
    return wire_end(&r, v->is_service <= 1);
}

/* With `rejoin`: remote_every and local_last follow. */
#define OPEN_HAS_REMOTE 2u

static bool open_has_remote(const struct wire_open *v)
{
    return v->remote_every || v->local_last;
}

void wire_open_encode(const struct wire_open *v, struct wr *w)
{
    wr_str(w, v->home);
    wr_str(w, v->run);
    wr_str(w, v->token);
    wr_str(w, v->host);
    wr_u32(w, v->rank);
    wr_u32(w, v->world_size);
    wr_u32(w, v->resume);
    wr_u64(w, v->resume_step);
    wr_u32(w, v->resume_generation);
    wr_u32(w, v->keep_last);
    wr_u32(w, v->keep_every);
    wr_u32(w, v->open_timeout_ms);
    wr_u32(w, v->decide_timeout_ms);
    wr_u32(w, v->load_timeout_ms);
    wr_u32(w, v->codec);
    wr_u32(w, v->rejoin | (open_has_remote(v) ? OPEN_HAS_REMOTE : 0));
    layout_encode(&v->layout, w);
    for (uint32_t i = 0; i < v->layout.axis_count; i++)
        wr_u32(w, v->coordinate[i]);
    if (open_has_remote(v)) {
        wr_u32(w, v->remote_every);
        wr_u32(w, v->local_last);
    }
}

int wire_open_decode(const void *data, size_t bytes, struct wire_open *v)
{
    struct rd r = rd_init(data, bytes);
    bool is_valid = true, has_remote;

    *v = (struct wire_open){0};
    rd_str(&r, v->home, sizeof v->home);
    rd_str(&r, v->run, sizeof v->run);
    rd_str(&r, v->token, sizeof v->token);
    rd_str(&r, v->host, sizeof v->host);
    v->rank = rd_u32(&r);
    v->world_size = rd_u32(&r);
    v->resume = rd_u32(&r);
    v->resume_step = rd_u64(&r);
    v->resume_generation = rd_u32(&r);
    v->keep_last = rd_u32(&r);
    v->keep_every = rd_u32(&r);
    v->open_timeout_ms = rd_u32(&r);
    v->decide_timeout_ms = rd_u32(&r);
    v->load_timeout_ms = rd_u32(&r);
    v->codec = rd_u32(&r);
    v->rejoin = rd_u32(&r);
    has_remote = v->rejoin & OPEN_HAS_REMOTE;
    v->rejoin &= ~OPEN_HAS_REMOTE;
    if (layout_decode(&r, &v->layout) || v->layout.axis_count > MAX_AXES)
        return -EBADMSG;
    for (uint32_t i = 0; i < v->layout.axis_count; i++) {
        v->coordinate[i] = rd_u32(&r);
        if (v->coordinate[i] >= v->layout.axis[i].degree)
            is_valid = false;
    }
    if (has_remote) {
        v->remote_every = rd_u32(&r);
        v->local_last = rd_u32(&r);
        is_valid = is_valid && open_has_remote(v);
    }
    return wire_end(&r, is_valid && v->rank < v->world_size &&
                            v->resume <= WIRE_RESUME_STEP && v->codec <= 2 &&
                            v->rejoin <= 1);
}

void wire_open_ok_encode(const struct wire_open_ok *v, struct wr *w)
{
    wr_id(w, &v->run);
    wr_u32(w, v->generation);
    wire_put_save_id(w, &v->parent);
}

int wire_open_ok_decode(const void *data, size_t bytes, struct wire_open_ok *v)
{
    struct rd r = rd_init(data, bytes);

    v->run = rd_id(&r);
    v->generation = rd_u32(&r);
    v->parent = wire_get_save_id(&r);
    return wire_end(&r, v->generation > 0);
}

void wire_arena_encode(const struct wire_arena *v, struct wr *w)
{
    wr_u64(w, v->bytes);
}

int wire_arena_decode(const void *data, size_t bytes, struct wire_arena *v)
{
    struct rd r = rd_init(data, bytes);

    v->bytes = rd_u64(&r);
    return wire_end(&r, true);
}

void wire_arena_ok_encode(const struct wire_arena_ok *v, struct wr *w)
{
    wr_u32(w, v->chunk_bytes);
    wr_u32(w, v->piece_count);
    for (uint32_t i = 0; i < v->piece_count; i++)
        wr_u64(w, v->piece_bytes[i]);
    wr_u32(w, v->slot_count);
}

static bool is_chunk_bytes(uint32_t bytes)
{
    return bytes >= CHUNK_BYTES_MIN && bytes <= CHUNK_BYTES_MAX &&
           (bytes & (bytes - 1)) == 0;
}

int wire_arena_ok_decode(const void *data, size_t bytes,
                         struct wire_arena_ok *v)
{
    struct rd r = rd_init(data, bytes);
    bool is_valid;

    *v = (struct wire_arena_ok){0};
    v->chunk_bytes = rd_u32(&r);
    v->piece_count = rd_u32(&r);
    is_valid = is_chunk_bytes(v->chunk_bytes);
    if (v->piece_count == 0 || v->piece_count > WIRE_PIECES_MAX)
        return -EBADMSG;
    for (uint32_t i = 0; i < v->piece_count; i++) {
        v->piece_bytes[i] = rd_u64(&r);
        if (v->piece_bytes[i] > WIRE_PIECE_BYTES ||
            v->piece_bytes[i] % PAGE_BYTES)
            is_valid = false;
    }
    v->slot_count = rd_u32(&r);
    return wire_end(&r, is_valid && v->slot_count > 0 &&
                            v->slot_count == wire_slot_count(v));
}

void wire_table_encode(const struct wire_table *v, struct wr *w)
{
    wr_u32(w, v->number);
    wr_bytes(w, v->data, v->bytes);
}

int wire_table_decode(const void *data, size_t bytes, struct wire_table *v)
{
    struct rd r = rd_init(data, bytes);

    v->number = rd_u32(&r);
    v->data = wire_get_rest(&r, &v->bytes);
    return wire_end(&r, true);
}

void wire_close_encode(const struct wire_close *v, struct wr *w)
{
    wr_u32(w, v->unused);
}

int wire_close_decode(const void *data, size_t bytes, struct wire_close *v)
{
    struct rd r = rd_init(data, bytes);

    v->unused = rd_u32(&r);
    return wire_end(&r, v->unused == 0);
}
