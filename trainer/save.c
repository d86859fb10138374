/*
 * save.c - ckpt_save() and ckpt_fence(); see save.h for the life of a save,
 * save_events.c for what happens to it and save_handle.c for looking at it.
 *
 * ckpt_save(): check and encode the descriptors, have an arena, send the table
 * if the daemon does not know it yet, SAVE, then copy the CAPTURE_NOW chunks on
 * this thread and the copy threads as slots come in. The lazy rest goes on
 * behind the caller's back until ckpt_fence().
 */
#include "trainer/save.h"
#include "trainer/arena.h"
#include "trainer/prepare.h"
#include "trainer/values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define TABLE_OF_SAVES 1

/* What one call of ckpt_save() builds up. */
struct saving {
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct capture_map *map; /* a reference */
    struct descriptors d;
    struct wr values;      /* encoded */
    struct own_chunks own; /* until the save takes it over */
    struct trust trust;
    bool has_trust; /* the daemon knows it */
};

/* Arena, map and table, on one link. */
static int prepare(struct saving *s, struct err *err)
{
    struct ckpt *ctx = s->ctx;
    uint32_t chunk_bytes;
    uint64_t epoch, wanted;
    int rc = arena_need(ctx, &s->d, &wanted, err);

    if (rc == 0)
        rc = arena_want(ctx, wanted, &chunk_bytes, err);
    if (rc == 0)
        rc = arena_enlarge(ctx, wanted, err);
    if (rc)
        return rc;
    sync_lock(ctx->sync);
    epoch = ctx->epoch;
    s->has_trust = (ctx->features & WIRE_FEATURE_TRUST) != 0;
    sync_unlock(ctx->sync);
    rc = capture_map_make(ctx->map, &s->d, ctx, chunk_bytes, &s->map, err);
    if (rc == 0)
        rc = own_chunks_init(&s->own, s->map, s->has_trust ? &s->trust : NULL,
                             err);
    if (rc || (s->map == ctx->map && ctx->map_epoch == epoch))
        return rc;
    rc = table_send(ctx, TABLE_OF_SAVES, &s->map->encoded, err);
    if (rc)
        return rc;
    sync_lock(ctx->sync);
    capture_map_put(ctx->map);
    ctx->map = s->map;
    s->map->references++;
    ctx->map_epoch = epoch;
    sync_unlock(ctx->sync);
    return 0;
}

/* Nobody of this rank wants the daemon's save `number`: the other ranks are
 * told now, and not at the decide deadline. Lock held. */
static void send_cancel(struct ckpt *ctx, uint64_t number,
                        const struct err *err)
{
    struct wire_cancel v = {.save = number, .code = err->code};
    struct wr w = {0};
    size_t begin = frame_begin(&w, WIRE_CANCEL, 0, 0);

    memcpy(v.text, err->text, sizeof v.text);
    wire_cancel_encode(&v, &w);
    outbox_frame(ctx, &w, begin);
}

int save_on_late_ok(struct ckpt *ctx, const struct frame *f, struct err *err)
{
    struct wire_save_ok v;
    struct err why;

    if (wire_save_ok_decode(f->payload, f->header.length, &v))
        return err_set(err, -EBADMSG, "a SAVE_OK is damaged");
    (void)err_set(&why, -ETIMEDOUT,
                  "it began so late that the rank no longer waited for it");
    send_cancel(ctx, v.save, &why);
    return 0;
}

/* SAVE_OK: the save begins to live before its first SLOTS are looked at. */
static int on_save_ok(struct ckpt *ctx, struct request *r,
                      const struct frame *f, struct err *err)
{
    struct ckpt_save *save = r->object;
    struct wire_save_ok v;

    if (wire_save_ok_decode(f->payload, f->header.length, &v) ||
        v.id.step != save->id.step)
        return err_set(err, -EBADMSG, "a SAVE_OK is damaged");
    if (!ctx->arena || ctx->arena->ok.chunk_bytes != save->map->chunk_bytes)
        return err_set(err, -EBADMSG, "a SAVE_OK without an arena");
    save->slot_capacity = ctx->arena->ok.slot_count;
    save->slot = calloc(save->slot_capacity, sizeof *save->slot);
    if (!save->slot) {
        (void)err_set(err, -ENOMEM, "no memory for the list of slots");
        send_cancel(ctx, v.save, err);
        return err->code;
    }
    save->number = v.save;
    save->epoch = ctx->epoch;
    save->id = v.id;
    save->arena = arena_get(ctx->arena);
    save->references += 2;
    list_append(&ctx->saves, &save->link);
    list_append(&ctx->handles, &save->handle);
    if (ctx->newest)
        save_put(ctx->newest);
    ctx->newest = save;
    return 0;
}

static struct ckpt_save *save_new(struct saving *s, uint64_t step)
{
    struct ckpt_save *save = calloc(1, sizeof *save);

    if (!save)
        return NULL;
    save->data = s->d.data;
    s->d.data = NULL;
    save->sync = s->ctx->sync;
    save->ctx = s->ctx;
    save->references = 1;
    save->rank = s->ctx->open.rank;
    save->decide_timeout_ms = s->ctx->open.decide_timeout_ms;
    save->id.step = step;
    save->map = s->map;
    save->own = s->own;
    s->own = (struct own_chunks){0};
    save->chunk_count =
        (uint32_t)s->map->list.chunk_count + save->own.check.own_count;
    save->now_count = save->own.now_count;
    sync_lock(save->sync);
    save->sync->references++;
    s->map->references++;
    sync_unlock(save->sync);
    return save;
}

static int send_save(struct saving *s, uint64_t step, struct err *err)
{
    struct ckpt *ctx = s->ctx;
    struct wire_save v = {
        .step = step,
        .table = TABLE_OF_SAVES,
        .overload = ctx->overload,
        .max_uncommitted = ctx->max_uncommitted,
        .values = s->values.data,
        .values_bytes = (uint32_t)s->values.bytes,
        .has_trust = s->has_trust,
        .trust = s->trust,
    };
    struct request r;
    size_t begin;
    int rc;

    s->save = save_new(s, step);
    if (!s->save)
        return err_set(err, -ENOMEM, "no memory");
    request_init(ctx, &r, WIRE_SAVE_OK);
    r.on_reply = on_save_ok;
    r.object = s->save;
    begin = request_frame(&r, WIRE_SAVE);
    wire_save_encode(&v, &r.frames);
    rc = frame_end(&r.frames, begin);
    if (rc)
        rc = err_set(err, rc, "extra state of %zu bytes: %s", s->values.bytes,
                     err_text(rc));
    else
        rc = request_run(ctx, &r, ctx->open.decide_timeout_ms + GRACE_MS, err);
    request_fini(&r);
    return rc;
}

static void cancel(struct ckpt *ctx, struct ckpt_save *save,
                   const struct err *err)
{
    if (save->epoch == ctx->epoch)
        send_cancel(ctx, save->number, err);
    save_fail(ctx, save, err, false);
}

/*
 * Copy, and wait for others' copies, until the first `limit` chunks of the
 * order are done or the save has failed, and nobody reads the tensors for a
 * failed one. After timeout_ms in all it is cancelled with `code`. Lock held.
 */
static int capture_until(struct ckpt *ctx, struct ckpt_save *save,
                         uint32_t limit, uint32_t timeout_ms, int code)
{
    bool is_all = limit == save->chunk_count;
    uint64_t deadline = clock_ms() + timeout_ms;
    struct err err;

    while (!save->is_failed && (is_all ? save->done : save->done_now) < limit) {
        if (save_copy_one(ctx, save, limit))
            continue;
        if (sync_wait(save->sync, deadline) || save->is_failed)
            continue;
        (void)err_set(&err, code,
                      "%u of %u chunks were copied within %u ms: the daemon "
                      "gave no more slots; its drives may be too slow or stuck",
                      save->done, save->chunk_count, timeout_ms);
        cancel(ctx, save, &err);
    }
    while (save->is_failed && save->busy)
        (void)sync_wait(save->sync, UINT64_MAX);
    return save->is_failed && save->error.code == code ? code : 0;
}

/* A fence is due and was not made. Lock held. */
static bool is_unfenced(const struct ckpt_save *save)
{
    return save && !save->is_failed && !save->is_fenced &&
           save->now_count < save->chunk_count;
}

/* A failure is counted, and so told with the status of later saves. */
void save_fence_let_go(struct ckpt *ctx)
{
    struct ckpt_save *last = ctx->newest;

    if (!is_unfenced(last) || !last->is_let_go)
        return;
    (void)capture_until(ctx, last, last->chunk_count, FENCE_MS, -ECANCELED);
    last->is_fenced = true;
}

/* Refuse what must not begin now. Lock held. */
static int check_turn(struct ckpt *ctx, struct err *err)
{
    const struct ckpt_save *last = ctx->newest;

    save_fence_let_go(ctx);
    if (is_unfenced(last))
        return err_set(err, -EBUSY,
                       "the save of step %" PRIu64
                       " was not fenced; call ckpt_fence() first",
                       last->id.step);
    if (ctx->failed_in_a_row >= ctx->max_uncommitted) {
        (void)err_set(err, -CKPT_EUNCOMMITTED,
                      "%u saves in a row failed; the first: %s; another call "
                      "tries again",
                      ctx->failed_in_a_row, ctx->first_failure.text);
        ctx->failed_in_a_row = 0;
        return err->code;
    }
    /* A copy that an abort overtook must not land in a slot granted anew. */
    while (last && last->busy)
        (void)sync_wait(ctx->sync, UINT64_MAX);
    return 0;
}

static int run_save(struct saving *s, uint64_t step, struct err *err)
{
    struct ckpt *ctx = s->ctx;
    int rc;

    sync_lock(ctx->sync);
    rc = check_turn(ctx, err);
    sync_unlock(ctx->sync);
    if (rc == 0)
        rc = prepare(s, err);
    if (rc == 0)
        rc = send_save(s, step, err);
    if (rc)
        return rc;
    sync_lock(ctx->sync);
    (void)capture_until(ctx, s->save, s->save->now_count,
                        ctx->open.decide_timeout_ms + GRACE_MS, -ETIMEDOUT);
    sync_unlock(ctx->sync);
    return 0;
}

static void saving_fini(struct saving *s)
{
    sync_lock(s->ctx->sync);
    capture_map_put(s->map);
    if (s->save)
        save_put(s->save);
    sync_unlock(s->ctx->sync);
    own_chunks_fini(&s->own);
    descriptors_fini(&s->d);
    wr_free(&s->values);
}

/* NOLINTNEXTLINE(readability-function-size): the public signature */
int ckpt_save(struct ckpt *ctx, uint64_t step,
              const struct ckpt_tensor *tensors, size_t count,
              const struct ckpt_value *values, size_t value_count,
              struct ckpt_save **out, struct ckpt_error *error)
{
    struct saving s = {.ctx = ctx};
    struct own_values own;
    struct saved_state state = {tensors, count, NULL, 0};
    struct err err = {0};
    int rc = own_values_make(&own, &ctx->open, values, value_count, &err);

    *out = NULL;
    s.trust = ctx->trust;
    s.trust.rotation = ctx->save_calls++;
    if (rc == 0) {
        state.values = own.value;
        state.value_count = own.count;
        rc = own_values_encode(&own, &s.values, &err);
        if (rc == 0)
            rc = descriptors_of_save(&s.d, &ctx->open, &state, &err);
        if (rc == 0)
            rc = run_save(&s, step, &err);
        own_values_fini(&own);
    }
    if (rc == 0) {
        *out = s.save;
        s.save = NULL;
    }
    saving_fini(&s);
    if (rc == 0)
        return 0;
    (void)err_prefix(&err, "save of step %" PRIu64, step);
    (void)context_prefix(ctx, &err);
    return give_error(error, &err);
}

int ckpt_fence(struct ckpt_save *save, void *stream, struct ckpt_error *error)
{
    struct err err = {0};
    int rc = 0;

    if (stream) {
        (void)err_set(&err, -ENOTSUP, "a stream: only host memory for now");
        return give_error(error, &err);
    }
    if (!save)
        return 0; /* nothing was saved yet, so nothing is due */
    sync_lock(save->sync);
    if (!save->is_failed && save->done < save->chunk_count)
        rc = capture_until(save->ctx, save, save->chunk_count, FENCE_MS,
                           -ECANCELED);
    while (save->busy)
        (void)sync_wait(save->sync, UINT64_MAX);
    save->is_fenced = true;
    if (rc)
        rc = give_error(error, &save->error);
    sync_unlock(save->sync);
    return rc;
}
