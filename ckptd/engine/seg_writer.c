/*
 * seg_writer.c - the segments that one save writes: placing, syncing, closing.
 *
 *   RESERVING -> READY -> TRIMMING -> SYNCING -> READY -> CLOSING
 *   RESERVING -> UNDOING -> RESERVING (once, when the disk is full; all that is
 *                                      FREE is unlinked first) or failure
 *   READY -> RESERVING (a write failed: room in its stead)
 *
 * Closing leaves what was written HELD on behalf of the save, or FREE. A
 * segment whose write failed takes no more chunks and is unlinked once nothing
 * references it; one whose sync failed is poisoned likewise and fails the save.
 */
#include "ckptd/engine/seg_writer_internal.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const bool allowed[WRITER_PHASES][WRITER_PHASES] = {
    [WRITER_RESERVING] = {[WRITER_READY] = true, [WRITER_UNDOING] = true},
    [WRITER_UNDOING] = {[WRITER_RESERVING] = true,
                        [WRITER_READY] = true,
                        [WRITER_CLOSING] = true},
    [WRITER_READY] = {[WRITER_RESERVING] = true,
                      [WRITER_TRIMMING] = true,
                      [WRITER_CLOSING] = true},
    [WRITER_TRIMMING] = {[WRITER_SYNCING] = true},
    [WRITER_SYNCING] = {[WRITER_READY] = true},
};

static void phase_ended(struct seg_writer *w);

void seg_writer_move(struct seg_writer *w, enum writer_phase to)
{
    assert(allowed[w->phase][to]);
    w->phase = to;
}

/* Requests are counted; the last one to end, ends the phase. */
void seg_writer_request_begins(struct seg_writer *w)
{
    w->pending++;
    w->pool->pending++;
}

void seg_writer_request_ends(struct seg_writer *w)
{
    w->pool->pending--;
    if (--w->pending == 0)
        phase_ended(w);
}

void seg_writer_free(struct seg_writer *w)
{
    for (uint32_t i = 0; i < w->part_count; i++) {
        free(w->part[i]->page);
        free(w->part[i]);
    }
    free(w->part);
    free(w);
}

void seg_writer_fail(struct seg_writer *w, const struct part *p, int code,
                     const char *what)
{
    if (w->err.code)
        return;
    (void)err_set(&w->err, code, "%s/%s: %s: %s%s", w->pool->env->local_path,
                  p->segment ? p->segment->file : "seg", what, err_text(code),
                  err_advice(code));
}

/* The answer to an opening or to seg_writer_failed(). */
static void answer(struct seg_writer *w)
{
    struct err err = w->err;
    struct list waiters, *node;

    list_init(&waiters);
    while ((node = list_pop(&w->waiters)))
        list_append(&waiters, node);
    w->err = (struct err){0};
    while ((node = list_pop(&waiters))) { /* any of them may close w */
        struct waiter *one = container_of(node, struct waiter, link);

        one->done(one->arg, err.code, &err);
        free(one);
    }
}

/* The answer to seg_writer_open(). */
static void answer_open(struct seg_writer *w)
{
    struct err err = w->err;
    seg_writer_open_fn opened = w->opened;

    w->err = (struct err){0};
    w->opened = NULL;
    if (err.code) {
        opened(w->arg, err.code, NULL, &err);
        seg_writer_free(w);
    } else {
        opened(w->arg, 0, w, &err);
    }
}

void seg_writer_answer(struct seg_writer *w)
{
    if (w->opened)
        answer_open(w);
    else
        answer(w);
}

static void sync_parts(struct seg_writer *w);

static void phase_ended(struct seg_writer *w)
{
    struct segpool *pool = w->pool;

    switch (w->phase) {
    case WRITER_RESERVING:
        seg_reserve_ended(w);
        break;
    case WRITER_UNDOING:
        seg_reserve_undone(w);
        break;
    case WRITER_TRIMMING:
        seg_writer_move(w, WRITER_SYNCING);
        sync_parts(w);
        break;
    case WRITER_SYNCING:
        seg_writer_move(w, WRITER_READY);
        seg_writer_answer(w);
        break;
    case WRITER_CLOSING:
        seg_writer_free(w);
        segpool_settle(pool);
        break;
    case WRITER_READY:
    case WRITER_PHASES:
        assert(!"no request runs in this phase");
    }
}

void seg_writer_open(struct segpool *pool, const struct segment_header *base,
                     uint64_t bytes, uint64_t largest_extent,
                     seg_writer_open_fn done, void *arg)
{
    struct seg_writer *w = calloc(1, sizeof *w);
    struct err err;

    assert(largest_extent > PAGE_BYTES && largest_extent <= SEGMENT_BYTES_MAX);
    if (!w) {
        done(arg, err_set(&err, -ENOMEM, "no memory for a segment writer"),
             NULL, &err);
        return;
    }
    w->pool = pool;
    w->base = *base;
    w->largest_extent = largest_extent;
    w->batch_bytes = bytes;
    w->opened = done;
    w->arg = arg;
    w->phase = WRITER_RESERVING;
    list_init(&w->waiters);
    seg_reserve(w);
}

static bool add_waiter(struct seg_writer *w, segpool_fn done, void *arg)
{
    struct waiter *one = calloc(1, sizeof *one);
    struct err err;

    if (!one) {
        done(arg, err_set(&err, -ENOMEM, "no memory for a segment writer"),
             &err);
        return false;
    }
    one->done = done;
    one->arg = arg;
    list_append(&w->waiters, &one->link);
    return true;
}

int seg_writer_place(struct seg_writer *w, uint64_t extent_bytes,
                     struct seg_place *out)
{
    assert(extent_bytes % PAGE_BYTES == 0);
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct part *p = w->part[i];
        struct segment *s = p->segment;

        if (!p->is_ready || p->is_bad || s->size_bytes - p->at < extent_bytes)
            continue;
        *out = (struct seg_place){.seg = s->seg,
                                  .segment = s->id,
                                  .offset = p->at,
                                  .number = p->next_number++,
                                  .index = i};
        memcpy(out->file, s->file, sizeof out->file);
        p->at += extent_bytes;
        s->used_bytes = p->at;
        return 0;
    }
    return -ENOSPC;
}

/* READY: reserve in the stead of a bad part that has no successor yet. */
static bool replace_next(struct seg_writer *w)
{
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct part *p = w->part[i];

        if (!p->is_bad || p->is_replaced)
            continue;
        p->is_replaced = true;
        seg_writer_move(w, WRITER_RESERVING);
        w->batch = w->part_count;
        w->batch_bytes = p->size_bytes - PAGE_BYTES;
        w->has_squeezed = false;
        seg_reserve(w);
        return true;
    }
    return false;
}

void seg_writer_reserved(struct seg_writer *w)
{
    if (!replace_next(w))
        seg_writer_answer(w);
}

void seg_writer_doom(struct seg_writer *w, uint32_t index)
{
    w->part[index]->segment->is_doomed = true;
}

void seg_writer_failed(struct seg_writer *w, uint32_t index, segpool_fn done,
                       void *arg)
{
    w->part[index]->is_bad = true;
    seg_writer_doom(w, index);
    if (add_waiter(w, done, arg) && w->phase == WRITER_READY)
        seg_writer_reserved(w);
}

static void part_synced(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;

    if (result < 0 && !is_left_out("failure of a segment's sync")) {
        p->segment->is_doomed = true;
        seg_writer_fail(p->writer, p, (int)result, "cannot sync it");
    }
    seg_writer_request_ends(p->writer);
}

/* Written to, and not lost: the caller has placed again what a bad one held. */
static bool is_used(const struct part *p)
{
    return p->is_ready && !p->is_bad && p->next_number > 0;
}

static void sync_parts(struct seg_writer *w)
{
    seg_writer_request_begins(w);
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct part *p = w->part[i];

        if (!is_used(p))
            continue;
        p->req = (struct store_req){.op = STORE_SYNC,
                                    .seg = p->segment->seg,
                                    .done = part_synced,
                                    .owner = p};
        seg_writer_request_begins(w);
        store_submit(w->pool->env->local, &p->req);
    }
    seg_writer_request_ends(w);
}

static void part_trimmed(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;

    /* Space that cannot be given back is not lost data: sync goes on. */
    if (result > 0)
        p->segment->size_bytes = (uint64_t)result;
    seg_writer_request_ends(p->writer);
}

void seg_writer_sync(struct seg_writer *w, segpool_fn done, void *arg)
{
    if (!add_waiter(w, done, arg))
        return;
    seg_writer_move(w, WRITER_TRIMMING);
    seg_writer_request_begins(w);
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct part *p = w->part[i];

        if (!is_used(p) || p->at >= p->segment->size_bytes / 4 * 3)
            continue;
        p->req = (struct store_req){.op = STORE_SEG_TRIM,
                                    .seg = p->segment->seg,
                                    .len = p->at,
                                    .done = part_trimmed,
                                    .owner = p};
        seg_writer_request_begins(w);
        store_submit(w->pool->env->local, &p->req);
    }
    seg_writer_request_ends(w);
}

void seg_writer_close(struct seg_writer *w, bool keep)
{
    seg_writer_move(w, WRITER_CLOSING);
    seg_writer_request_begins(w);
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct part *p = w->part[i];

        seg_part_release(p, keep && is_used(p));
    }
    seg_writer_request_ends(w);
}
