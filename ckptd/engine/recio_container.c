/*
 * recio_container.c - containers, whole or in parts (recio.h).
 *
 * Writing: parts one after the other, then the parts record, each created
 * exclusively. A name that is there already is read and compared: the same
 * bytes are as good as written by us (an earlier attempt's outcome was
 * unknown), others are -EEXIST.
 *
 * Removing: the name first, so that nothing is half there.
 *
 * Reading: the record under the name is the container, or a parts record that
 * says how many parts to read behind one another. What was put together from
 * parts is opened once, so that its root can be compared with the one on
 * record; nothing is allocated for more bytes than the parts can hold.
 */
#include "ckptd/engine/recio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct container {
    struct store *store;
    char run[RUN_NAME_MAX + 1];
    char folder[16];
    struct save_id id;
    struct id128 daemon;
    char name[RECORD_NAME_BYTES]; /* of the request under way */
    struct store_req req;
    /* The bytes: the caller's when writing, ours when reading. */
    const uint8_t *out;
    uint8_t *in;
    uint64_t bytes;
    uint32_t part, part_count;
    struct digest root;
    struct wr parts; /* the parts record, last to be written */
    uint8_t *seen;   /* what is there already, to compare */
    uint64_t piece_bytes;
    const void *piece;
    recio_put_fn put_done;
    recio_get_fn get_done;
    void *arg;
};

static struct container *container_new(struct store *s,
                                       const struct recio_place *place)
{
    struct container *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->store = s;
    (void)snprintf(c->run, sizeof c->run, "%s", place->run);
    (void)snprintf(c->folder, sizeof c->folder, "%s", place->folder);
    c->id = place->id;
    c->daemon = place->daemon;
    c->req.name = c->name;
    c->req.owner = c;
    return c;
}

static uint64_t part_bytes(const struct container *c, uint32_t part)
{
    return min_u64(c->bytes - part * RECORD_PART_BYTES, RECORD_PART_BYTES);
}

static void container_put_end(struct container *c, int result)
{
    recio_put_fn done = c->put_done;
    void *arg = c->arg;

    wr_free(&c->parts);
    free(c->seen);
    free(c);
    done(arg, result);
}

/*
 * Writing.
 */

static void put_next(struct container *c);

static void compare_done(struct store_req *req, int64_t result)
{
    struct container *c = req->owner;

    if (result < 0 && result != -EFBIG) {
        container_put_end(c, (int)result);
        return;
    }
    if (result < 0 || (uint64_t)result != c->piece_bytes ||
        memcmp(c->seen, c->piece, c->piece_bytes) != 0) {
        container_put_end(c, -EEXIST);
        return;
    }
    put_next(c);
}

static void piece_done(struct store_req *req, int64_t result)
{
    struct container *c = req->owner;

    if (result != -EEXIST) {
        if (result < 0)
            container_put_end(c, (int)result);
        else
            put_next(c);
        return;
    }
    free(c->seen);
    c->seen = malloc(c->piece_bytes);
    if (!c->seen) {
        container_put_end(c, -ENOMEM);
        return;
    }
    c->req.op = STORE_GET;
    c->req.buf = c->seen;
    c->req.len = c->piece_bytes;
    c->req.done = compare_done;
    store_submit(c->store, &c->req);
}

/* A PUT does not write to its buffer: the request is one type for both. */
static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

static void put_piece(struct container *c, const void *piece, uint64_t bytes)
{
    c->piece = piece;
    c->piece_bytes = bytes;
    c->req.op = STORE_PUT;
    c->req.buf = unconst(piece);
    c->req.len = bytes;
    c->req.done = piece_done;
    store_submit(c->store, &c->req);
}

/* The next of: part 0, ..., the last part, what stands under the name itself
 * (piece number part_count; none when there are parts alone). */
static void put_next(struct container *c)
{
    uint32_t part = c->part++;

    if (part < c->part_count) {
        (void)name_part(c->name, c->run, c->folder, &c->id, &c->daemon, part);
        put_piece(c, c->out + part * RECORD_PART_BYTES, part_bytes(c, part));
        return;
    }
    if (part > c->part_count || (c->part_count > 0 && !c->parts.data)) {
        container_put_end(c, 0);
        return;
    }
    (void)name_save_daemon(c->name, c->run, c->folder, &c->id, &c->daemon);
    if (c->part_count > 0)
        put_piece(c, c->parts.data, c->parts.bytes);
    else
        put_piece(c, c->out, c->bytes);
}

/* The record that stands for the parts. */
static int parts_prepare(struct container *c)
{
    struct record_parts parts = {.bytes = c->bytes,
                                 .part_count = recio_part_count(c->bytes)};
    struct manifest m;
    struct err err;
    int rc = manifest_open(c->out, c->bytes, &m, &err);

    if (rc < 0)
        return rc;
    parts.root = m.root;
    record_parts_encode(&parts, &c->parts);
    c->part_count = parts.part_count;
    return c->parts.failed ? -ENOMEM : 0;
}

/* NULL without memory, and then `done` was told. */
static struct container *put_new(struct store *s,
                                 const struct recio_place *place,
                                 recio_put_fn done, void *arg)
{
    struct container *c = container_new(s, place);

    if (!c) {
        done(arg, -ENOMEM);
        return NULL;
    }
    c->put_done = done;
    c->arg = arg;
    return c;
}

void recio_put_container(struct store *s, const struct recio_place *place,
                         const void *data, uint64_t bytes, recio_put_fn done,
                         void *arg)
{
    struct container *c = put_new(s, place, done, arg);
    int rc;

    if (!c)
        return;
    c->out = data;
    c->bytes = bytes;
    rc = bytes > RECORD_PART_BYTES ? parts_prepare(c) : 0;
    if (rc < 0)
        container_put_end(c, rc);
    else
        put_next(c);
}

void recio_put_parts(struct store *s, const struct recio_place *place,
                     const void *data, uint64_t bytes, recio_put_fn done,
                     void *arg)
{
    struct container *c = put_new(s, place, done, arg);

    if (!c)
        return;
    c->out = data;
    c->bytes = bytes;
    c->part_count = recio_part_count(bytes);
    put_next(c);
}

/*
 * Removing. How many parts there are nobody says once their record is gone:
 * they end where there is none.
 */

static void piece_removed(struct store_req *req, int64_t result)
{
    struct container *c = req->owner;
    bool is_last = result == -ENOENT && c->part > 0;

    if (is_last || (result < 0 && result != -ENOENT)) {
        container_put_end(c, is_last ? 0 : (int)result);
        return;
    }
    (void)name_part(c->name, c->run, c->folder, &c->id, &c->daemon, c->part++);
    store_submit(c->store, &c->req);
}

void recio_remove_container(struct store *s, const struct recio_place *place,
                            recio_put_fn done, void *arg)
{
    struct container *c = put_new(s, place, done, arg);

    if (!c)
        return;
    (void)name_save_daemon(c->name, c->run, c->folder, &c->id, &c->daemon);
    c->req.op = STORE_REMOVE;
    c->req.done = piece_removed;
    store_submit(s, &c->req);
}

/*
 * Reading.
 */

static void container_get_end(struct container *c, int64_t result)
{
    recio_get_fn done = c->get_done;
    void *arg = c->arg, *data = c->in;

    free(c);
    if (result < 0) {
        free(data);
        data = NULL;
    }
    done(arg, result, data);
}

static void get_part(struct container *c);

static int check_whole(const struct container *c)
{
    struct manifest m;
    struct err err;
    int rc = manifest_open(c->in, c->bytes, &m, &err);

    if (rc < 0)
        return rc;
    return digest_equal(&m.root, &c->root) ? 0 : -CKPT_ECORRUPT;
}

static void part_done(struct store_req *req, int64_t result)
{
    struct container *c = req->owner;
    int rc;

    /* A part that is missing is damage: the record says that it is there. */
    if (result == -ENOENT || result == -EFBIG ||
        (result >= 0 && (uint64_t)result != part_bytes(c, c->part)))
        result = -CKPT_ECORRUPT;
    if (result < 0) {
        container_get_end(c, result);
        return;
    }
    if (++c->part < c->part_count) {
        get_part(c);
        return;
    }
    rc = check_whole(c);
    container_get_end(c, rc < 0 ? rc : (int64_t)c->bytes);
}

static void get_part(struct container *c)
{
    (void)name_part(c->name, c->run, c->folder, &c->id, &c->daemon, c->part);
    c->req.op = STORE_GET;
    c->req.buf = c->in + c->part * RECORD_PART_BYTES;
    c->req.len = part_bytes(c, c->part);
    c->req.done = part_done;
    store_submit(c->store, &c->req);
}

/* Length, root and count are known; room for all. */
static int parts_begin(struct container *c)
{
    if (c->bytes == 0 || c->bytes > MANIFEST_MAX_BYTES ||
        c->part_count != recio_part_count(c->bytes))
        return -CKPT_ECORRUPT;
    free(c->in);
    c->in = aligned_alloc(64, align_up(c->bytes, 64));
    return c->in ? 0 : -ENOMEM;
}

static void get_name(struct container *c, uint64_t most);

static void name_done(struct store_req *req, int64_t result)
{
    struct container *c = req->owner;
    struct record_parts parts;
    uint8_t *smaller;
    struct err err;
    int rc;

    if (result == -EFBIG && c->req.len < RECORD_PART_BYTES) {
        get_name(c, RECORD_PART_BYTES);
        return;
    }
    if (result < 0) {
        container_get_end(c, result == -EFBIG ? -CKPT_ECORRUPT : result);
        return;
    }
    if (!record_is(c->in, (size_t)result)) {
        smaller = realloc(c->in, (size_t)max_u64((uint64_t)result, 1));
        c->in = smaller ? smaller : c->in;
        container_get_end(c, result);
        /* cppcheck-suppress memleak ; it lives on as c->in */
        return;
    }
    rc = record_parts_decode(c->in, (size_t)result, &parts, &err);
    if (rc == 0) {
        c->bytes = parts.bytes;
        c->root = parts.root;
        c->part_count = parts.part_count;
        rc = parts_begin(c);
    }
    if (rc < 0)
        container_get_end(c, rc);
    else
        get_part(c);
}

static void get_name(struct container *c, uint64_t most)
{
    free(c->in);
    c->in = malloc(most);
    if (!c->in) {
        container_get_end(c, -ENOMEM);
        return;
    }
    c->req.op = STORE_GET;
    c->req.buf = c->in;
    c->req.len = most;
    c->req.done = name_done;
    store_submit(c->store, &c->req);
}

void recio_get_container(struct store *s, const struct recio_place *place,
                         recio_get_fn done, void *arg)
{
    struct container *c = container_new(s, place);

    if (!c) {
        done(arg, -ENOMEM, NULL);
        return;
    }
    c->get_done = done;
    c->arg = arg;
    (void)name_save_daemon(c->name, c->run, c->folder, &c->id, &c->daemon);
    get_name(c, RECORD_MAX_BYTES); /* most are small */
}

/* The decision is still there; c->in holds its manifest if that was inline. */
static void decision_done(struct store_req *req, int64_t result)
{
    struct container *c = req->owner;
    int rc;

    if (result < 0) {
        container_get_end(c, result);
        return;
    }
    if (c->part_count > 0) {
        get_part(c);
        return;
    }
    rc = check_whole(c);
    container_get_end(c, rc < 0 ? rc : (int64_t)c->bytes);
}

void recio_get_manifest(struct store *s, const char *run,
                        const struct record_decision *d, recio_get_fn done,
                        void *arg)
{
    struct recio_place place = {
        .run = run, .folder = "manifest", .id = d->id, .daemon = d->committer};
    struct container *c = container_new(s, &place);
    int rc;

    if (!c) {
        done(arg, -ENOMEM, NULL);
        return;
    }
    c->get_done = done;
    c->arg = arg;
    c->bytes = d->manifest_bytes;
    c->root = d->manifest_root;
    c->part_count = d->part_count > 0 ? d->part_count : 1;
    rc = d->decision == DECISION_COMMIT ? parts_begin(c) : -EINVAL;
    if (rc < 0) {
        container_get_end(c, rc);
        return;
    }
    c->part_count = d->part_count;
    if (d->part_count == 0)
        memcpy(c->in, d->inline_bytes, c->bytes);
    (void)name_save(c->name, run, "decision", &d->id);
    c->req.op = STORE_STAT;
    c->req.done = decision_done;
    store_submit(s, &c->req);
}
