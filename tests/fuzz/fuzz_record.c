/*
 * fuzz_record.c - the records of homes and local stores:
 *
 *     u8 kind, u8 whole, bytes    whole 0: a body, the envelope is forged
 *                                 whole 1: the record as it lies on media
 *
 * What decodes encodes again to the same bytes. Every record is given to the
 * decoder of its kind and to one of another.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/record.h"

#include <stdlib.h>

struct media {
    const uint8_t *data;
    size_t bytes;
};

/* 0 when it decoded. */
#define ROUND_TRIP(name)                                                       \
    static int try_##name(const struct media *m)                               \
    {                                                                          \
        struct record_##name v;                                                \
        struct wr w = {0};                                                     \
        struct err err;                                                        \
        int rc = record_##name##_decode(m->data, m->bytes, &v, &err);          \
                                                                               \
        if (rc)                                                                \
            return rc;                                                         \
        record_##name##_encode(&v, &w);                                        \
        fuzz_same(&w, m->data, m->bytes);                                      \
        return 0;                                                              \
    }
ROUND_TRIP(store)
ROUND_TRIP(run)
ROUND_TRIP(generation)
ROUND_TRIP(parts)
ROUND_TRIP(tomb)
ROUND_TRIP(load)

static int try_member(const struct media *m)
{
    struct record_member v;
    struct wr w = {0};
    struct err err;
    int rc = record_member_decode(m->data, m->bytes, &v, &err);

    if (rc)
        return rc;
    record_member_encode(&v, &w);
    fuzz_same(&w, m->data, m->bytes);
    record_member_fini(&v);
    return 0;
}

static int try_decision(const struct media *m)
{
    struct record_decision v;
    struct wr w = {0};
    struct err err;
    int rc = record_decision_decode(m->data, m->bytes, &v, &err);

    if (rc)
        return rc;
    if (v.inline_bytes)
        fuzz_check(v.manifest_bytes <= record_decision_room(&v));
    record_decision_encode(&v, &w);
    fuzz_same(&w, m->data, m->bytes);
    return 0;
}

static int try_mark(const struct media *m, enum record_kind kind)
{
    struct record_mark v;
    struct wr w = {0};
    struct err err;
    int rc = record_mark_decode(m->data, m->bytes, kind, &v, &err);

    if (rc)
        return rc;
    record_mark_encode(kind, &v, &w);
    fuzz_same(&w, m->data, m->bytes);
    return 0;
}

static int try_kind(const struct media *m, uint32_t kind)
{
    switch (kind) {
    case RECORD_STORE:
        return try_store(m);
    case RECORD_RUN:
        return try_run(m);
    case RECORD_GENERATION:
        return try_generation(m);
    case RECORD_MEMBER:
        return try_member(m);
    case RECORD_DECISION:
        return try_decision(m);
    case RECORD_TOMB:
        return try_tomb(m);
    case RECORD_LOAD:
        return try_load(m);
    case RECORD_PARTS:
        return try_parts(m);
    case RECORD_CLOSED:
    case RECORD_INTENT:
    case RECORD_VERIFIED:
    case RECORD_PIN:
    case RECORD_LEASE:
    case RECORD_DAMAGED:
    case RECORD_SCRUBBED:
    case RECORD_REMOTE:
    case RECORD_DAMAGED_REMOTE:
        return try_mark(m, kind);
    default:
        return -1;
    }
}

void fuzz_one(struct rd *in, size_t bytes)
{
    uint8_t kind = rd_u8(in), whole = rd_u8(in);
    size_t body_bytes, record_bytes;
    uint8_t *body = fuzz_exact(in, bytes, &body_bytes), *record = body;
    struct media m;

    if (whole)
        record_bytes = body_bytes;
    else
        record = forge_record(kind, body, body_bytes, &record_bytes);
    m = (struct media){record, record_bytes};
    (void)record_is(m.data, m.bytes);
    if (try_kind(&m, kind) == 0)
        fuzz_check(try_kind(&m, kind % RECORD_DAMAGED_REMOTE + 1) != 0);
    if (record != body)
        free(record);
    free(body);
}
