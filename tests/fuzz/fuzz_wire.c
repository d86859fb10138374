/*
 * fuzz_wire.c - every message of the wire, both directions:
 *
 *     u8 type, payload        type: enum wire_type; 0: a frame's header;
 *                             WIRE_LAST + 1: one entry of LIST_OK
 *
 * What decodes encodes again to the same bytes; the slots that ARENA_OK tells
 * lie inside its pieces, and there are no others.
 */
#include "tests/fuzz/fuzz.h"

#include "tests/lib/wire_messages.h"

#include <stdlib.h>

struct codec {
    void (*encode)(const void *v, struct wr *w);
    int (*decode)(const void *data, size_t bytes, void *v);
};

WIRE_MESSAGES(WIRE_UNTYPED)

/* The others have no payload, or another message's. */
#define ENTRY(name, type) [type] = {encode_##name, decode_##name},
static const struct codec codecs[WIRE_LAST + 1] = {
    WIRE_MESSAGES(ENTRY)[WIRE_CONSUMED] = {encode_slots, decode_slots},
};

#define MEMBER(name, type) struct wire_##name name;
static union {
    WIRE_MESSAGES(MEMBER)
} decoded;

static void header(const uint8_t *data, size_t bytes)
{
    uint8_t again[WIRE_HEADER_BYTES];
    struct wire_header h;

    if (bytes != WIRE_HEADER_BYTES || wire_header_decode(data, &h))
        return;
    fuzz_check(h.length <= WIRE_PAYLOAD_MAX);
    wire_header_encode(&h, again);
    fuzz_check(memcmp(data, again, sizeof again) == 0);
}

static void info(const uint8_t *data, size_t bytes)
{
    struct rd r = rd_init(data, bytes);
    struct wire_info v;
    struct wr w = {0};

    if (wire_info_decode(&r, &v))
        return;
    wire_info_encode(&v, &w);
    fuzz_check(w.bytes == WIRE_INFO_BYTES);
    fuzz_same(&w, data, WIRE_INFO_BYTES);
}

static void arena(const struct wire_arena_ok *v)
{
    uint32_t slots[] = {0, v->slot_count / 2, v->slot_count - 1};
    uint64_t offset;
    uint32_t piece;

    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        fuzz_check(wire_slot_place(v, slots[i], &piece, &offset));
        fuzz_check(piece < v->piece_count);
        fuzz_check(offset + PAGE_BYTES + v->chunk_bytes <=
                   v->piece_bytes[piece]);
    }
    fuzz_check(!wire_slot_place(v, v->slot_count, &piece, &offset));
}

void fuzz_one(struct rd *in, size_t bytes)
{
    uint8_t type = rd_u8(in);
    size_t payload_bytes;
    uint8_t *payload = fuzz_exact(in, bytes, &payload_bytes);
    struct wr w = {0};

    if (type == 0)
        header(payload, payload_bytes);
    else if (type == WIRE_LAST + 1)
        info(payload, payload_bytes);
    else if (type <= WIRE_LAST && codecs[type].decode &&
             codecs[type].decode(payload, payload_bytes, &decoded) == 0) {
        codecs[type].encode(&decoded, &w);
        fuzz_same(&w, payload, payload_bytes);
        if (type == WIRE_ARENA_OK)
            arena(&decoded.arena_ok);
    }
    free(payload);
}
