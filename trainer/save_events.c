/*
 * save_events.c - what happens to a save after SAVE_OK: slots, copies, states,
 * failure, the loss of the daemon. Everything here runs with the lock held;
 * only the copying of a chunk lets go of it. See save.h.
 *
 * A daemon that died takes with it what was not copied to the end; a save
 * whose bytes had all been handed over may have been voted for, so that its
 * fate is asked of the next daemon (WATCH).
 */
#include "trainer/arena.h"
#include "trainer/load.h"
#include "trainer/save.h"

#include <errno.h>
#include <stdlib.h>

/* A daemon that did not take the save itself answers each question once. */
#define WATCH_MS 200

void save_prefix(const struct ckpt_save *save, struct err *err)
{
    (void)err_prefix(err, "rank %u: save of step %llu", save->rank,
                     (unsigned long long)save->id.step);
}

/* What only capturing needs. Nobody copies any more. */
static void drop_capture(struct ckpt_save *save)
{
    if (save->busy)
        return;
    capture_map_put(save->map);
    own_chunks_fini(&save->own);
    arena_put(save->arena);
    free(save->data);
    free(save->slot);
    save->map = NULL;
    save->arena = NULL;
    save->data = NULL;
    save->slot = NULL;
    save->slot_count = save->slot_capacity = 0;
}

void save_put(struct ckpt_save *save)
{
    struct sync *sync = save->sync;

    if (--save->references)
        return;
    drop_capture(save);
    request_fini(&save->watch);
    request_forget(&save->remote);
    request_fini(&save->remote);
    list_remove(&save->handle);
    sync->references--; /* never the last: the caller holds the lock by one */
    free(save);
}

/* Decided or given up: the context forgets it. */
static void save_leave(struct ckpt_save *save)
{
    if (!list_is_linked(&save->link))
        return;
    list_remove(&save->link);
    request_forget(&save->watch);
    save_put(save);
}

static void count_failure(struct ckpt *ctx, const struct err *err)
{
    if (err->code == -CKPT_EOVERLOAD) /* the user's own policy: no failure */
        return;
    ctx->sync->failed_count++;
    if (ctx->failed_in_a_row++ == 0)
        ctx->first_failure = *err;
}

void save_fail(struct ckpt *ctx, struct ckpt_save *save, const struct err *err,
               bool is_unknown)
{
    if (save->is_failed || save->state >= WIRE_STATE_COMMITTED)
        return;
    save->is_failed = true;
    save->is_unknown = is_unknown;
    save->error = *err;
    save_prefix(save, &save->error);
    count_failure(ctx, &save->error);
    drop_capture(save);
    save_leave(save);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
}

struct ckpt_save *save_with_work(struct ckpt *ctx)
{
    LIST_FOR_EACH (node, &ctx->saves) {
        struct ckpt_save *save = container_of(node, struct ckpt_save, link);

        if (save->slot_count && save->next < save->chunk_count)
            return save;
    }
    return NULL;
}

static void send_chunk(struct ckpt *ctx, const struct ckpt_save *save,
                       uint32_t chunk, uint32_t slot)
{
    uint8_t pair[8];
    struct wire_chunks v = {save->number, 1, pair};
    struct wr w = {0};
    size_t begin = frame_begin(&w, WIRE_CHUNKS, 0, 0);

    put_u32(pair, chunk);
    put_u32(pair + 4, slot);
    wire_chunks_encode(&v, &w);
    outbox_frame(ctx, &w, begin);
}

bool save_copy_one(struct ckpt *ctx, struct ckpt_save *save, uint32_t limit)
{
    const struct capture_map *map = save->map;
    struct arena *arena = save->arena;
    uint32_t chunk, slot, position;

    if (save->is_failed || !save->slot_count || save->next >= limit)
        return false;
    slot = save->slot[--save->slot_count];
    position = save->next++;
    chunk = own_chunks_at(&save->own, map, position);
    save->busy++;
    save->references++;
    sync_unlock(ctx->sync);
    own_chunks_capture(&save->own, map, chunk, save->data,
                       arena_payload(arena, slot));
    sync_lock(ctx->sync);
    save->busy--;
    if (!save->is_failed) {
        save->done++;
        save->done_now += position < save->now_count;
        send_chunk(ctx, save, chunk, slot);
    }
    if (save->is_failed || save->done == save->chunk_count)
        drop_capture(save);
    save_put(save);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    return true;
}

static struct ckpt_save *find_number(struct ckpt *ctx, uint64_t number)
{
    LIST_FOR_EACH (node, &ctx->saves) {
        struct ckpt_save *save = container_of(node, struct ckpt_save, link);

        if (save->epoch == ctx->epoch && save->number == number)
            return save;
    }
    return NULL;
}

static struct ckpt_save *find_id(struct ckpt *ctx, const struct save_id *id)
{
    LIST_FOR_EACH (node, &ctx->saves) {
        struct ckpt_save *save = container_of(node, struct ckpt_save, link);

        if (save_id_compare(&save->id, id) == 0)
            return save;
    }
    return NULL;
}

/* Slots of a save that has ended crossed its end on the way: no matter. */
int save_on_slots(struct ckpt *ctx, const struct wire_slots *v, struct err *err)
{
    struct ckpt_save *save = find_number(ctx, v->owner);

    if (!save || !save->slot)
        return 0;
    if (v->count > save->slot_capacity - save->slot_count)
        return err_set(err, -EBADMSG,
                       "the daemon granted more slots than "
                       "there are");
    for (uint32_t i = 0; i < v->count; i++) {
        uint32_t slot = get_u32(v->slots + (size_t)i * 4);

        if (slot >= save->arena->ok.slot_count)
            return err_set(err, -EBADMSG, "the daemon granted slot %u of %u",
                           slot, save->arena->ok.slot_count);
        save->slot[save->slot_count++] = slot;
    }
    (void)pthread_cond_broadcast(&ctx->sync->work);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    return 0;
}

/* Committed, but. For whoever calls ckpt_warning(). */
static void warn(struct ckpt *ctx, const struct wire_state *v)
{
    if (v->text[0] == '\0' || ctx->warning_count == WARNINGS_MAX)
        return;
    (void)err_set(&ctx->warning[ctx->warning_count++], 0,
                  "run %s, step %llu was committed, but %s", ctx->open.run,
                  (unsigned long long)v->id.step, v->text);
}

bool save_on_state(struct ckpt *ctx, const struct wire_state *v)
{
    struct ckpt_save *save = find_id(ctx, &v->id);
    struct err err;

    if (!save)
        return false;
    if (v->state == WIRE_STATE_ABORTED) {
        (void)err_set(&err, v->code, "%s",
                      v->text[0] ? v->text : err_text(v->code));
        save_fail(ctx, save, &err, false);
        return false;
    }
    if (v->state > save->state)
        save->state = v->state;
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    if (save->state < WIRE_STATE_COMMITTED)
        return true;
    ctx->failed_in_a_row = 0;
    warn(ctx, v);
    save_leave(save);
    return false;
}

static int on_watch(struct ckpt *ctx, struct request *r, const struct frame *f,
                    struct err *err)
{
    struct wire_state v;

    (void)r;
    if (wire_state_decode(f->payload, f->header.length, &v))
        return err_set(err, -EBADMSG, "a STATE is damaged");
    if (save_on_state(ctx, &v))
        ctx->watch_at_ms = clock_ms() + WATCH_MS;
    return 0;
}

/* The next daemon does not know it, or cannot tell. If the link broke once
 * more, the save is asked about on the next one. */
static void on_watch_failed(struct ckpt *ctx, struct request *r,
                            const struct err *why)
{
    struct ckpt_save *save = r->object;
    bool is_lost = why->code == -ENOENT;
    struct err err = *why;

    if (ctx->link != LINK_UP)
        return;
    (void)err_prefix(&err,
                     is_lost ? "lost with its daemon" : "its fate is unknown");
    save_fail(ctx, save, &err, !is_lost);
}

void saves_on_loss(struct ckpt *ctx, const struct err *err)
{
    LIST_FOR_EACH_SAFE (node, after, &ctx->saves) {
        struct ckpt_save *save = container_of(node, struct ckpt_save, link);

        if (save->done < save->chunk_count)
            save_fail(ctx, save, err, false);
    }
}

void saves_watch(struct ckpt *ctx)
{
    ctx->watch_at_ms = 0;
    LIST_FOR_EACH_SAFE (node, after, &ctx->saves) {
        struct ckpt_save *save = container_of(node, struct ckpt_save, link);
        struct wire_watch v = {save->id};
        struct request *r = &save->watch;
        struct err err;
        size_t begin;

        if (save->epoch == ctx->epoch || list_is_linked(&r->link))
            continue;
        request_fini(r);
        *r = (struct request){.id = ++ctx->next_request,
                              .want = WIRE_STATE,
                              .on_reply = on_watch,
                              .on_fail = on_watch_failed,
                              .object = save};
        begin = request_frame(r, WIRE_WATCH);
        wire_watch_encode(&v, &r->frames);
        if (frame_end(&r->frames, begin)) {
            (void)err_set(&err, -ENOMEM, "no memory to ask for its fate");
            save_fail(ctx, save, &err, true);
        } else {
            request_post(ctx, r);
        }
    }
}

void saves_give_up(struct ckpt *ctx, const struct err *why)
{
    struct err err;

    (void)err_set(&err, -ECONNRESET,
                  "its fate is unknown: the daemon was lost and none could be "
                  "had again: %s; look with `ckpt ls`",
                  why->text);
    LIST_FOR_EACH_SAFE (node, after, &ctx->saves) {
        save_fail(ctx, container_of(node, struct ckpt_save, link), &err, true);
    }
}

void saves_orphan(struct ckpt *ctx)
{
    struct err err;

    (void)err_set(&err, -ENOTCONN,
                  "the context was closed before it was decided; look with "
                  "`ckpt ls`");
    LIST_FOR_EACH_SAFE (node, after, &ctx->saves) {
        save_fail(ctx, container_of(node, struct ckpt_save, link), &err, true);
    }
    if (ctx->newest)
        save_put(ctx->newest);
    ctx->newest = NULL;
    LIST_FOR_EACH_SAFE (node, after, &ctx->handles) {
        struct ckpt_save *save = container_of(node, struct ckpt_save, handle);

        request_forget(&save->remote);
        list_remove(&save->handle);
        save->ctx = NULL;
    }
    (void)pthread_cond_broadcast(&ctx->sync->changed);
}
