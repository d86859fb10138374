/*
 * seg_reserve.c - getting segments for a writer, and giving them back.
 *
 * Reserving cuts the wanted bytes into segment sizes, takes FREE segments that
 * fit or creates new ones (space reserved by the store), and makes a fresh id
 * durable in each header before any data may go there. When the disk is full,
 * FREE segments that did not fit are unlinked and it is tried once more. What
 * fails gives everything back and says why.
 */
#include "ckptd/engine/seg_writer_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define RETRY_NS ((uint64_t)20 * 1000 * 1000)

static void retry_reservation(struct env_timer *timer);
static void prepare_part(struct part *p);

static bool is_takeable(const struct segment *s)
{
    return s->state == SEGMENT_FREE && !s->seg && !s->is_opening &&
           !s->is_unlinking && !s->is_closing && s->reader_count == 0 &&
           list_is_empty(&s->waiting);
}

/* The smallest FREE segment that fits without wasting a quarter. */
static struct segment *take_free(struct segpool *pool, uint64_t bytes)
{
    struct segment *best = NULL;

    LIST_FOR_EACH (node, &pool->segments) {
        struct segment *s = container_of(node, struct segment, link);

        if (is_takeable(s) && s->size_bytes >= bytes &&
            s->size_bytes - bytes <= bytes / 4 &&
            (!best || s->size_bytes < best->size_bytes))
            best = s;
    }
    if (best)
        segment_move(best, SEGMENT_TAKEN);
    return best;
}

static int part_add(struct seg_writer *w, uint64_t size_bytes)
{
    struct part *p;

    if (w->part_count == w->part_capacity) {
        uint32_t capacity = w->part_capacity ? w->part_capacity * 2 : 8;
        struct part **grown =
            realloc(w->part, capacity * sizeof(struct part *));

        if (!grown)
            return -ENOMEM;
        w->part = grown;
        w->part_capacity = capacity;
    }
    p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    if (!p->page) {
        free(p);
        return -ENOMEM;
    }
    p->writer = w;
    p->size_bytes = size_bytes;
    p->at = PAGE_BYTES;
    w->part[w->part_count++] = p;
    return 0;
}

/* Sizes for `bytes` of extents: a full segment may waste what is just less
 * than the largest extent. */
static int plan_parts(struct seg_writer *w, uint64_t bytes)
{
    uint64_t extents = (SEGMENT_BYTES_MAX - PAGE_BYTES) / w->largest_extent;
    uint64_t room = max_u64(extents, 1) * w->largest_extent;
    uint64_t sure = room - (w->largest_extent - PAGE_BYTES);

    while (bytes > room) {
        int rc = part_add(w, PAGE_BYTES + room);

        if (rc)
            return rc;
        bytes -= sure;
    }
    return bytes ? part_add(w, PAGE_BYTES + bytes) : 0;
}

static void header_synced(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;

    if (result < 0) {
        p->segment->is_doomed = true;
        seg_writer_fail(p->writer, p, (int)result, "cannot sync its header");
    } else {
        p->is_ready = true;
    }
    seg_writer_request_ends(p->writer);
}

static void header_written(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;

    if (result < 0) {
        p->segment->is_doomed = true;
        seg_writer_fail(p->writer, p, (int)result, "cannot write its header");
        seg_writer_request_ends(p->writer);
        return;
    }
    p->req = (struct store_req){.op = STORE_SYNC,
                                .seg = p->segment->seg,
                                .done = header_synced,
                                .owner = p};
    store_submit(p->writer->pool->env->local, &p->req);
}

static void part_opened(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;
    struct segment *s = p->segment;
    struct env *env = p->writer->pool->env;
    struct segment_header header = p->writer->base;

    if (result == -EAGAIN && !p->wants_new) {
        segment_move(s, SEGMENT_FREE);
        p->wants_new = true;
        prepare_part(p);
        seg_writer_request_ends(p->writer);
        return;
    }
    if (result < 0) {
        seg_writer_fail(p->writer, p, (int)result,
                        result == -ENOSPC || result == -EDQUOT
                            ? "no room on the local drive for this save"
                            : "cannot open it for writing");
        seg_writer_request_ends(p->writer);
        return;
    }
    s->seg = req->seg;
    s->size_bytes = (uint64_t)result;
    s->used_bytes = PAGE_BYTES;
    env->ops->random(env, &s->id, sizeof s->id);
    s->run = header.run;
    if (segment_ref_add(s, &header.run, &header.save)) {
        seg_writer_fail(p->writer, p, -ENOMEM, "cannot note who needs it");
        seg_writer_request_ends(p->writer);
        return;
    }
    header.segment = s->id;
    header.store = env->local_uuid;
    header.size_bytes = s->size_bytes;
    segment_header_encode(&header, p->page);
    p->req = (struct store_req){.op = STORE_WRITE,
                                .seg = s->seg,
                                .buf = p->page,
                                .len = PAGE_BYTES,
                                .done = header_written,
                                .owner = p};
    store_submit(env->local, &p->req);
}

/* Takes or creates the segment and starts its header on the way. */
static void prepare_part(struct part *p)
{
    struct seg_writer *w = p->writer;
    struct segpool *pool = w->pool;
    unsigned flags = STORE_SEG_WRITE;

    seg_writer_request_begins(w);
    p->segment = p->wants_new ? NULL : take_free(pool, p->size_bytes);
    if (!p->segment) {
        flags |= STORE_SEG_CREATE;
        p->segment = segment_new(pool, pool->next_number);
        if (p->segment) {
            segment_move(p->segment, SEGMENT_FREE);
            segment_move(p->segment, SEGMENT_TAKEN);
        }
    }
    if (!p->segment) {
        seg_writer_fail(w, p, -ENOMEM, "cannot be added");
        seg_writer_request_ends(p->writer);
        return;
    }
    p->req = (struct store_req){.op = STORE_SEG_OPEN,
                                .flags = flags,
                                .name = p->segment->file,
                                .len = p->size_bytes,
                                .done = part_opened,
                                .owner = p};
    store_submit(pool->env->local, &p->req);
}

void seg_reserve(struct seg_writer *w)
{
    seg_writer_request_begins(w); /* holds the end back until all are started */
    if (plan_parts(w, w->batch_bytes))
        (void)err_set(&w->err, -ENOMEM, "no memory for a segment writer");
    for (uint32_t i = w->batch; i < w->part_count; i++)
        prepare_part(w->part[i]);
    seg_writer_request_ends(w);
}

static void count_spare(struct seg_writer *w)
{
    struct segpool *pool = w->pool;

    if (pool->spare_bytes == UINT64_MAX ||
        save_id_compare(&pool->spare_save, &w->base.save) != 0) {
        pool->spare_save = w->base.save;
        pool->spare_bytes = 0;
    }
    for (uint32_t i = w->batch; i < w->part_count; i++)
        pool->spare_bytes += w->part[i]->size_bytes;
}

static void part_released(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;
    struct seg_writer *w = p->writer;
    struct segment *s = p->segment;
    struct segpool *pool = w->pool;
    bool held = req->op == STORE_SEG_SHARE;

    if (held && result < 0)
        pool->env->ops->log(
            pool->env, LOG_LEVEL_ERROR, "%s/%s: cannot share its lock: %s",
            pool->env->local_path, s->file, err_text((int)result));
    if (held) {
        list_append(&pool->idle, &s->idle_link);
        pool->idle_count++;
    } else {
        s->seg = NULL;
        segment_move(s, s->is_doomed ? SEGMENT_POISONED : SEGMENT_FREE);
    }
    p->segment = NULL;
    seg_writer_request_ends(w);
}

/* keep: HELD for the save; else FREE, or POISONED when doomed. */
void seg_part_release(struct part *p, bool keep)
{
    struct seg_writer *w = p->writer;
    struct segment *s = p->segment;

    if (!s)
        return;
    if (!s->seg) { /* was never opened: a new name that may not exist */
        s->is_doomed = true;
        segment_move(s, SEGMENT_POISONED);
        p->segment = NULL;
        return;
    }
    if (keep)
        segment_move(s, SEGMENT_HELD);
    else
        s->ref_count = 0; /* the writer's save was its only one */
    p->req = (struct store_req){.op = keep ? STORE_SEG_SHARE : STORE_SEG_CLOSE,
                                .seg = s->seg,
                                .done = part_released,
                                .owner = p};
    seg_writer_request_begins(w);
    store_submit(w->pool->env->local, &p->req);
}

/* Forget the parts from w->batch on; their segments were released. */
static void drop_batch(struct seg_writer *w)
{
    while (w->part_count > w->batch) {
        struct part *p = w->part[--w->part_count];

        free(p->page);
        free(p);
    }
}

static void retry_later(struct seg_writer *w)
{
    struct env *env = w->pool->env;

    w->retry.fire = retry_reservation;
    env->ops->timer_set(env, &w->retry, env->ops->now_ns(env) + RETRY_NS);
}

/* FREE segments are unlinked by now: is there room? */
static void retry_reservation(struct env_timer *timer)
{
    struct seg_writer *w = container_of(timer, struct seg_writer, retry);

    LIST_FOR_EACH (node, &w->pool->segments)
        if (container_of(node, struct segment, link)->is_unlinking) {
            retry_later(w);
            return;
        }
    w->pool->pending--;
    w->err = (struct err){0};
    seg_writer_move(w, WRITER_RESERVING);
    seg_reserve(w);
}

void seg_reserve_undone(struct seg_writer *w)
{
    struct segpool *pool = w->pool;
    bool is_full = w->err.code == -ENOSPC || w->err.code == -EDQUOT;

    drop_batch(w);
    segpool_settle(pool);
    if (is_full && !w->has_retried) {
        w->has_retried = true;
        segpool_trim(pool, 0);
        pool->pending++;
        retry_later(w);
        return;
    }
    seg_writer_move(w, WRITER_READY);
    seg_writer_answer(w);
}

void seg_reserve_ended(struct seg_writer *w)
{
    if (!w->err.code) {
        count_spare(w);
        seg_writer_move(w, WRITER_READY);
        seg_writer_answer(w);
        return;
    }
    seg_writer_move(w, WRITER_UNDOING);
    seg_writer_request_begins(w);
    for (uint32_t i = w->batch; i < w->part_count; i++)
        seg_part_release(w->part[i], false);
    seg_writer_request_ends(w);
}
