/*
 * record.c - see record.h; every byte is in FORMAT.md.
 *
 * envelope_begin() and envelope_end() put the frame around a body that is
 * written between them; envelope_open() checks the frame (digest first, so
 * that a flipped bit is never taken for a version) and gives a reader over the
 * body. Bodies are strict: every byte is used, and every value is in range.
 */
#include "formats/record.h"

#include "common/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define ENVELOPE_BYTES 32
#define RECORD_VERSION 1
/* Of a generation's body that says more than the first version's could. */
#define GENERATION_VERSION 2

static const char record_magic[8] = {'C', 'K', 'P', 'T', 'R', 'E', 'C', 'D'};

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {
        [RECORD_STORE] = "STORE",
        [RECORD_RUN] = "RUN",
        [RECORD_GENERATION] = "gen",
        [RECORD_CLOSED] = "closed",
        [RECORD_MEMBER] = "member",
        [RECORD_INTENT] = "intent",
        [RECORD_DECISION] = "decision",
        [RECORD_TOMB] = "tomb",
        [RECORD_LOAD] = "load",
        [RECORD_VERIFIED] = "verified",
        [RECORD_PIN] = "pin",
        [RECORD_LEASE] = "lease",
        [RECORD_PARTS] = "parts",
        [RECORD_DAMAGED] = "damaged",
        [RECORD_SCRUBBED] = "scrubbed",
        [RECORD_REMOTE] = "remote",
        [RECORD_DAMAGED_REMOTE] = "damaged_remote",
    };

    return kind < ARRAY_LEN(names) && names[kind] ? names[kind] : "unknown";
}

bool record_is(const void *data, size_t bytes)
{
    return bytes >= sizeof record_magic &&
           memcmp(data, record_magic, sizeof record_magic) == 0;
}

/* Returns where the record begins in the writer. */
static size_t envelope_begin_as(struct wr *w, uint32_t kind, uint32_t version)
{
    size_t begin = w->bytes;

    wr_bytes(w, record_magic, sizeof record_magic);
    wr_u32(w, kind);
    wr_u32(w, version);
    wr_u64(w, 0); /* the length, known at the end */
    wr_u64(w, 0);
    return begin;
}

static size_t envelope_begin(struct wr *w, uint32_t kind)
{
    return envelope_begin_as(w, kind, RECORD_VERSION);
}

static void envelope_end(struct wr *w, size_t begin)
{
    size_t length = w->bytes - begin;
    struct digest digest;

    if (length + sizeof digest > RECORD_MAX_BYTES)
        w->failed = true;
    if (w->failed)
        return;
    put_u64(w->data + begin + 16, length + sizeof digest);
    digest = hash_128(w->data + begin, length);
    wr_bytes(w, digest.b, sizeof digest.b);
}

/* The highest version of its body that this build reads; all from 1 on. */
static uint32_t newest_version(uint32_t kind)
{
    return kind == RECORD_GENERATION ? GENERATION_VERSION : RECORD_VERSION;
}

static uint32_t version_of(const void *data)
{
    return get_u32((const uint8_t *)data + 12);
}

static int envelope_open(const void *data, size_t bytes, uint32_t kind,
                         struct rd *body, struct err *err)
{
    const uint8_t *p = data;
    const char *name = kind_name(kind);
    size_t covered = bytes - sizeof(struct digest);
    struct digest digest;

    if (bytes < ENVELOPE_BYTES + sizeof digest || bytes > RECORD_MAX_BYTES)
        return err_set(err, -CKPT_ECORRUPT,
                       "%s record: %zu bytes are no record", name, bytes);
    if (!record_is(data, bytes))
        return err_set(err, -CKPT_ECORRUPT, "%s record: no magic bytes", name);
    if (get_u64(p + 16) != bytes)
        return err_set(err, -CKPT_ECORRUPT,
                       "%s record: %zu bytes, its header says %" PRIu64, name,
                       bytes, get_u64(p + 16));
    digest = hash_128(p, covered);
    if (memcmp(p + covered, digest.b, sizeof digest.b) != 0 &&
        !is_left_out("digest of a record"))
        return err_set(err, -CKPT_ECORRUPT, "%s record: digest mismatch", name);
    if (get_u32(p + 8) != kind)
        return err_set(err, -EBADMSG,
                       "%s record: it is of kind %s (%" PRIu32 ")", name,
                       kind_name(get_u32(p + 8)), get_u32(p + 8));
    if (version_of(p) < 1 || version_of(p) > newest_version(kind))
        return err_set(err, -CKPT_EVERSION,
                       "%s record: version %" PRIu32
                       ", this build reads up to %" PRIu32,
                       name, version_of(p), newest_version(kind));
    if (get_u64(p + 24) != 0)
        return err_set(err, -CKPT_ECORRUPT,
                       "%s record: reserved bytes are not zero", name);
    *body = rd_init(p + ENVELOPE_BYTES, covered - ENVELOPE_BYTES);
    return 0;
}

/* The end of every decoder: all read, and what was read makes sense. */
static int body_end(const struct rd *body, bool is_good, uint32_t kind,
                    struct err *err)
{
    if (rd_done(body) && is_good)
        return 0;
    return err_set(err, -CKPT_ECORRUPT, "%s record: its body is malformed",
                   kind_name(kind));
}

static void save_id_put(struct wr *w, const struct save_id *id)
{
    wr_u32(w, id->generation);
    wr_u32(w, id->attempt);
    wr_u64(w, id->step);
}

static struct save_id save_id_get(struct rd *r)
{
    struct save_id id;

    id.generation = rd_u32(r);
    id.attempt = rd_u32(r);
    id.step = rd_u64(r);
    return id;
}

static void digest_put(struct wr *w, const struct digest *d)
{
    wr_bytes(w, d->b, sizeof d->b);
}

static struct digest digest_get(struct rd *r)
{
    struct digest d = {0};
    const void *p = rd_bytes(r, sizeof d.b);

    if (p)
        memcpy(d.b, p, sizeof d.b);
    return d;
}

/* A save, or none at all. */
static bool save_or_none(const struct save_id *id)
{
    return id->generation != 0 || (id->attempt == 0 && id->step == 0);
}

void record_store_encode(const struct record_store *v, struct wr *w)
{
    size_t begin = envelope_begin(w, RECORD_STORE);

    wr_id(w, &v->uuid);
    envelope_end(w, begin);
}

int record_store_decode(const void *data, size_t bytes, struct record_store *v,
                        struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_STORE, &r, err);

    if (rc)
        return rc;
    v->uuid = rd_id(&r);
    return body_end(&r, true, RECORD_STORE, err);
}

void record_run_encode(const struct record_run *v, struct wr *w)
{
    size_t begin = envelope_begin(w, RECORD_RUN);

    wr_id(w, &v->uuid);
    wr_u64(w, v->created_unix_ms);
    envelope_end(w, begin);
}

int record_run_decode(const void *data, size_t bytes, struct record_run *v,
                      struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_RUN, &r, err);

    if (rc)
        return rc;
    v->uuid = rd_id(&r);
    v->created_unix_ms = rd_u64(&r);
    return body_end(&r, true, RECORD_RUN, err);
}

void record_generation_encode(const struct record_generation *v, struct wr *w)
{
    bool is_first = !v->remote_every && !v->local_last;
    size_t begin = envelope_begin_as(w, RECORD_GENERATION,
                                     is_first ? 1 : GENERATION_VERSION);

    wr_u32(w, v->generation);
    wr_u32(w, v->world_size);
    save_id_put(w, &v->parent);
    wr_u64(w, v->created_unix_ms);
    wr_u32(w, v->keep_last);
    wr_u32(w, v->keep_every);
    wr_u32(w, v->decide_timeout_ms);
    layout_encode(&v->layout, w);
    wr_str(w, v->token);
    if (!is_first) {
        wr_u32(w, v->remote_every);
        wr_u32(w, v->local_last);
    }
    envelope_end(w, begin);
}

int record_generation_decode(const void *data, size_t bytes,
                             struct record_generation *v, struct err *err)
{
    bool is_first;
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_GENERATION, &r, err);

    if (rc)
        return rc;
    v->generation = rd_u32(&r);
    v->world_size = rd_u32(&r);
    v->parent = save_id_get(&r);
    v->created_unix_ms = rd_u64(&r);
    v->keep_last = rd_u32(&r);
    v->keep_every = rd_u32(&r);
    v->decide_timeout_ms = rd_u32(&r);
    rc = layout_decode(&r, &v->layout);
    rd_str(&r, v->token, sizeof v->token);
    is_first = version_of(data) == 1;
    v->remote_every = is_first ? 0 : rd_u32(&r);
    v->local_last = is_first ? 0 : rd_u32(&r);
    return body_end(&r,
                    rc == 0 && v->generation && v->world_size &&
                        save_or_none(&v->parent) &&
                        (is_first || v->remote_every || v->local_last),
                    RECORD_GENERATION, err);
}

void record_member_encode(const struct record_member *v, struct wr *w)
{
    size_t begin = envelope_begin(w, RECORD_MEMBER);

    wr_id(w, &v->daemon);
    wr_str(w, v->host);
    wr_u32(w, v->rank_count);
    for (uint32_t i = 0; i < v->rank_count; i++)
        wr_u32(w, v->rank[i]);
    envelope_end(w, begin);
}

int record_member_decode(const void *data, size_t bytes,
                         struct record_member *v, struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_MEMBER, &r, err);

    *v = (struct record_member){0};
    if (rc)
        return rc;
    v->daemon = rd_id(&r);
    rd_str(&r, v->host, sizeof v->host);
    v->rank_count = rd_u32(&r);
    if ((uint64_t)v->rank_count * 4 != rd_left(&r)) {
        v->rank_count = 0;
        return body_end(&r, false, RECORD_MEMBER, err);
    }
    v->rank = calloc(v->rank_count ? v->rank_count : 1, sizeof *v->rank);
    if (!v->rank) {
        v->rank_count = 0;
        return err_set(err, -ENOMEM, "member record: no memory");
    }
    for (uint32_t i = 0; i < v->rank_count; i++)
        v->rank[i] = rd_u32(&r);
    rc = body_end(&r, true, RECORD_MEMBER, err);
    if (rc)
        record_member_fini(v);
    return rc;
}

void record_member_fini(struct record_member *v)
{
    free(v->rank);
    v->rank = NULL;
    v->rank_count = 0;
}

/* Zeros up to a multiple of 8 from the record's start. */
static void align_in_record(struct wr *w, size_t begin)
{
    (void)wr_room(w,
                  (size_t)(align_up(w->bytes - begin, 8) - (w->bytes - begin)));
}

void record_decision_encode(const struct record_decision *v, struct wr *w)
{
    size_t begin = envelope_begin(w, RECORD_DECISION);

    wr_u32(w, v->decision);
    wr_u32(w, (uint32_t)v->code);
    save_id_put(w, &v->id);
    wr_u64(w, v->created_unix_ms);
    wr_u64(w, v->logical_bytes);
    wr_u64(w, v->stored_bytes);
    wr_u64(w, v->tensor_count);
    wr_u32(w, v->rank_count);
    wr_u32(w, v->node_count);
    wr_id(w, &v->committer);
    wr_u64(w, v->manifest_bytes);
    digest_put(w, &v->manifest_root);
    wr_u32(w, v->part_count);
    layout_encode(&v->layout, w);
    wr_str(w, v->reason);
    align_in_record(w, begin);
    if (v->decision == DECISION_COMMIT && v->part_count == 0)
        wr_bytes(w, v->inline_bytes, v->manifest_bytes);
    envelope_end(w, begin);
}

uint64_t record_decision_room(const struct record_decision *v)
{
    struct record_decision bare = *v;
    struct wr w = {0};
    uint64_t used;

    bare.manifest_bytes = 0;
    bare.part_count = 1;
    record_decision_encode(&bare, &w);
    used = w.failed ? RECORD_MAX_BYTES : w.bytes;
    wr_free(&w);
    return used < RECORD_MAX_BYTES ? RECORD_MAX_BYTES - used : 0;
}

/* Do the fields of a decision go together? */
static bool decision_is_good(const struct record_decision *v)
{
    static const struct digest none;

    if (v->id.generation == 0)
        return false;
    if (v->decision == DECISION_ABORT)
        return v->code < 0 && v->manifest_bytes == 0 && v->part_count == 0 &&
               digest_equal(&v->manifest_root, &none);
    return v->decision == DECISION_COMMIT && v->code == 0 &&
           v->manifest_bytes > 0;
}

/* Padding up to 8, then the manifest if it is inline. */
static void decision_tail(struct rd *r, const uint8_t *start,
                          struct record_decision *v)
{
    size_t at = (size_t)(r->at - start);
    const uint8_t *pad = rd_bytes(r, align_up(at, 8) - at);

    for (size_t i = 0; pad && i < align_up(at, 8) - at; i++)
        if (pad[i])
            r->bad = true;
    if (v->decision == DECISION_COMMIT && v->part_count == 0)
        v->inline_bytes = rd_bytes(r, v->manifest_bytes);
}

int record_decision_decode(const void *data, size_t bytes,
                           struct record_decision *v, struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_DECISION, &r, err);

    *v = (struct record_decision){0};
    if (rc)
        return rc;
    v->decision = rd_u32(&r);
    v->code = (int32_t)rd_u32(&r);
    v->id = save_id_get(&r);
    v->created_unix_ms = rd_u64(&r);
    v->logical_bytes = rd_u64(&r);
    v->stored_bytes = rd_u64(&r);
    v->tensor_count = rd_u64(&r);
    v->rank_count = rd_u32(&r);
    v->node_count = rd_u32(&r);
    v->committer = rd_id(&r);
    v->manifest_bytes = rd_u64(&r);
    v->manifest_root = digest_get(&r);
    v->part_count = rd_u32(&r);
    rc = layout_decode(&r, &v->layout);
    rd_str(&r, v->reason, sizeof v->reason);
    if (!r.bad)
        decision_tail(&r, data, v);
    return body_end(&r, rc == 0 && decision_is_good(v), RECORD_DECISION, err);
}

int record_decision_of(const struct save_id *id, const void *data, size_t bytes,
                       struct record_decision *v, struct err *err)
{
    int rc = record_decision_decode(data, bytes, v, err);

    if (rc == 0 && save_id_compare(&v->id, id) != 0)
        rc = err_set(err, -CKPT_ECORRUPT,
                     "decision record: it speaks of another save");
    return rc;
}

void record_parts_encode(const struct record_parts *v, struct wr *w)
{
    size_t begin = envelope_begin(w, RECORD_PARTS);

    wr_u64(w, v->bytes);
    digest_put(w, &v->root);
    wr_u32(w, v->part_count);
    envelope_end(w, begin);
}

int record_parts_decode(const void *data, size_t bytes, struct record_parts *v,
                        struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_PARTS, &r, err);

    if (rc)
        return rc;
    v->bytes = rd_u64(&r);
    v->root = digest_get(&r);
    v->part_count = rd_u32(&r);
    return body_end(&r, v->bytes && v->part_count, RECORD_PARTS, err);
}

void record_tomb_encode(const struct record_tomb *v, struct wr *w)
{
    size_t begin = envelope_begin(w, RECORD_TOMB);

    save_id_put(w, &v->id);
    wr_u64(w, v->created_unix_ms);
    wr_str(w, v->reason);
    envelope_end(w, begin);
}

int record_tomb_decode(const void *data, size_t bytes, struct record_tomb *v,
                       struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_TOMB, &r, err);

    if (rc)
        return rc;
    v->id = save_id_get(&r);
    v->created_unix_ms = rd_u64(&r);
    rd_str(&r, v->reason, sizeof v->reason);
    return body_end(&r, v->id.generation != 0, RECORD_TOMB, err);
}

void record_load_encode(const struct record_load *v, struct wr *w)
{
    size_t begin = envelope_begin(w, RECORD_LOAD);

    save_id_put(w, &v->id);
    wr_u32(w, v->outcome);
    wr_u32(w, (uint32_t)v->code);
    wr_u32(w, v->rank_count);
    wr_str(w, v->reason);
    envelope_end(w, begin);
}

int record_load_decode(const void *data, size_t bytes, struct record_load *v,
                       struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, RECORD_LOAD, &r, err);
    bool is_good;

    if (rc)
        return rc;
    v->id = save_id_get(&r);
    v->outcome = rd_u32(&r);
    v->code = (int32_t)rd_u32(&r);
    v->rank_count = rd_u32(&r);
    rd_str(&r, v->reason, sizeof v->reason);
    is_good = (v->outcome == LOAD_VERIFIED && v->code == 0) ||
              (v->outcome == LOAD_FAILED && v->code < 0);
    return body_end(&r, is_good && save_or_none(&v->id), RECORD_LOAD, err);
}

void record_mark_encode(enum record_kind kind, const struct record_mark *v,
                        struct wr *w)
{
    size_t begin = envelope_begin(w, kind);

    save_id_put(w, &v->id);
    wr_id(w, &v->daemon);
    wr_u64(w, v->created_unix_ms);
    wr_str(w, v->note);
    envelope_end(w, begin);
}

int record_mark_decode(const void *data, size_t bytes, enum record_kind kind,
                       struct record_mark *v, struct err *err)
{
    struct rd r;
    int rc = envelope_open(data, bytes, kind, &r, err);

    if (rc)
        return rc;
    v->id = save_id_get(&r);
    v->daemon = rd_id(&r);
    v->created_unix_ms = rd_u64(&r);
    rd_str(&r, v->note, sizeof v->note);
    return body_end(&r, save_or_none(&v->id), kind, err);
}
