/*
 * prepare.c - see prepare.h.
 */
#include "trainer/prepare.h"
#include "formats/checklist.h"
#include "trainer/arena.h"

#include <errno.h>
#include <inttypes.h>

#define TABLE_PART_BYTES ((size_t)8 << 20)

static int on_arena(struct ckpt *ctx, struct request *r, const struct frame *f,
                    struct err *err)
{
    struct arena *arena;
    int rc = arena_map(f, &ctx->conn, false, &arena, err);

    (void)r;
    if (rc)
        return rc;
    arena_put(ctx->arena);
    ctx->arena = arena;
    return 0;
}

int arena_need(const struct ckpt *ctx, const struct descriptors *d,
               uint64_t *bytes, struct err *err)
{
    struct writelist list;
    struct checklist check = {0};
    int rc;

    /* Only calls of this thread change what was wanted. */
    *bytes = ctx->arena_bytes ? ctx->arena_bytes : ctx->arena_wanted;
    if (*bytes)
        return 0;
    /* A slot holds one chunk, of whatever size, behind its header. */
    rc = writelist_build(d->entry, d->count, CHUNK_BYTES_DEFAULT, &list);
    if (rc == 0)
        rc = checklist_build(d->entry, d->count, &list, CHUNK_BYTES_DEFAULT,
                             &ctx->trust, &check);
    *bytes = PAGE_BYTES + (list.chunk_count + check.own_count) *
                              (PAGE_BYTES + CHUNK_BYTES_DEFAULT);
    checklist_free(&check);
    writelist_free(&list);
    if (rc)
        return err_set(err, rc, "the list of what is written: %s",
                       err_text(rc));
    return 0;
}

static int ask(struct ckpt *ctx, uint64_t bytes, struct err *err)
{
    struct wire_arena v = {bytes};
    struct request r;
    size_t begin;
    int rc;

    request_init(ctx, &r, WIRE_ARENA_OK);
    r.on_reply = on_arena;
    begin = request_frame(&r, WIRE_ARENA);
    wire_arena_encode(&v, &r.frames);
    rc = request_ask(ctx, &r, begin, ctx->open.decide_timeout_ms + GRACE_MS,
                     err);
    request_fini(&r);
    return rc;
}

int arena_want(struct ckpt *ctx, uint64_t bytes, uint32_t *chunk_bytes,
               struct err *err)
{
    int rc;

    sync_lock(ctx->sync);
    rc = link_wait(ctx, err);
    *chunk_bytes = ctx->arena ? ctx->arena->ok.chunk_bytes : 0;
    if (rc == 0 && !*chunk_bytes)
        ctx->arena_wanted = bytes;
    sync_unlock(ctx->sync);
    if (rc || *chunk_bytes)
        return rc;
    rc = ask(ctx, bytes, err);
    sync_lock(ctx->sync);
    if (rc == 0 && !ctx->arena)
        rc = err_set(err, -ECONNRESET, "the daemon was lost again");
    *chunk_bytes = ctx->arena ? ctx->arena->ok.chunk_bytes : 0;
    sync_unlock(ctx->sync);
    return rc ? err_prefix(err, "arena of %" PRIu64 " bytes", bytes) : 0;
}

/* The daemon gave less, and nothing is under way in what it gave. */
static bool is_short(const struct ckpt *ctx, uint64_t bytes)
{
    const struct arena *a = ctx->arena;

    return a && list_is_empty(&ctx->saves) &&
           a->ok.slot_count < wire_slots_in(bytes, a->ok.chunk_bytes);
}

int arena_enlarge(struct ckpt *ctx, uint64_t bytes, struct err *err)
{
    struct err why;
    bool is_wanted;
    int rc;

    sync_lock(ctx->sync);
    is_wanted = is_short(ctx, bytes);
    sync_unlock(ctx->sync);
    if (!is_wanted)
        return 0;
    rc = ask(ctx, bytes, &why);
    if (rc == 0 || rc == -EBUSY) /* -EBUSY: there is no more to be had */
        return 0;
    *err = why;
    return err_prefix(err, "a larger arena of %" PRIu64 " bytes", bytes);
}

int table_send(struct ckpt *ctx, uint32_t number, const struct wr *encoded,
               struct err *err)
{
    struct request r;
    size_t at = 0;
    int rc = 0;

    request_init(ctx, &r, WIRE_TABLE_OK);
    do {
        size_t bytes = min_u64(TABLE_PART_BYTES, encoded->bytes - at);
        struct wire_table v = {number, encoded->data + at, (uint32_t)bytes};
        size_t begin =
            frame_begin(&r.frames, WIRE_TABLE,
                        at + bytes < encoded->bytes ? WIRE_FLAG_MORE : 0, r.id);

        wire_table_encode(&v, &r.frames);
        rc = frame_end(&r.frames, begin);
        at += bytes;
    } while (rc == 0 && at < encoded->bytes);
    if (rc)
        rc = err_set(err, rc, "no memory for the table");
    else
        rc = request_run(ctx, &r, ctx->open.decide_timeout_ms + GRACE_MS, err);
    request_fini(&r);
    return rc ? err_prefix(err, "the table of descriptors") : 0;
}
