/*
 * seg_reserve.c - getting segments for a writer, and giving them back.
 *
 * Reserving cuts the wanted bytes into segment sizes, takes FREE segments that
 * fit or creates new ones (space reserved by the store), and makes a fresh id
 * durable in each header before any data may go there. The drive is asked first
 * whether all that is new would fit: what cannot must not fill it while it
 * finds out. When there is no room, FREE segments that did not fit are unlinked
 * and it is tried once more. What fails gives everything back and says why.
 */
#include "ckptd/engine/seg_writer_internal.h"

#include "common/array.h"
#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

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
    struct part **grown = array_room(w->part, w->part_count, &w->part_capacity,
                                     sizeof(struct part *));
    struct part *p;

    if (!grown)
        return -ENOMEM;
    w->part = grown;
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

    if (result < 0 && !is_left_out("failure of a header's sync")) {
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
    if (is_left_out("sync of a header")) {
        header_synced(&p->req, 0);
        return;
    }
    p->req = (struct store_req){.op = STORE_SYNC,
                                .seg = p->segment->seg,
                                .done = header_synced,
                                .owner = p};
    store_submit(p->writer->pool->env->local, &p->req);
}

/* A FREE segment that cannot be opened: another will do. One whose lock is
 * held by somebody from outside may be used later, any other is unlinked. */
static void part_refused(struct part *p, int result)
{
    struct segment *s = p->segment;
    struct env *env = p->writer->pool->env;

    p->wants_new = true;
    p->segment = NULL;
    if (result == -EAGAIN) {
        segment_move(s, SEGMENT_FREE);
    } else {
        env->ops->log(env, LOG_LEVEL_WARN, "%s/%s: cannot open it again: %s",
                      env->local_path, s->file, err_text(result));
        s->is_doomed = true;
        segment_move(s, SEGMENT_POISONED);
    }
    segment_settle(s);
    prepare_part(p);
    seg_writer_request_ends(p->writer);
}

static void write_header(struct part *p)
{
    struct segment *s = p->segment;
    struct env *env = p->writer->pool->env;
    struct segment_header header = p->writer->base;

    env->ops->random(env, &s->id, sizeof s->id);
    s->run = header.run;
    if (segment_ref_add(s, &header.run, &header.save, &s->id)) {
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

static void part_opened(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;
    struct segment *s = p->segment;

    if (result >= 0) {
        s->seg = req->seg;
        s->size_bytes = (uint64_t)result;
        s->used_bytes = PAGE_BYTES;
        write_header(p);
        return;
    }
    if (!(req->flags & STORE_SEG_CREATE) && result != -ECANCELED &&
        result != -ENOMEM) {
        part_refused(p, (int)result);
        return;
    }
    seg_writer_fail(p->writer, p, (int)result,
                    result == -ENOSPC || result == -EDQUOT
                        ? "no room on the local drive for this save"
                        : "cannot open it for writing");
    seg_writer_request_ends(p->writer);
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

static void prepare_batch(struct seg_writer *w)
{
    for (uint32_t i = w->batch; i < w->part_count; i++)
        prepare_part(w->part[i]);
}

/* What of the batch would have to be created as things are. */
static uint64_t new_bytes(struct seg_writer *w)
{
    uint64_t bytes = 0;

    for (uint32_t i = w->batch; i < w->part_count; i++) {
        struct part *p = w->part[i];

        p->segment = take_free(w->pool, p->size_bytes);
        if (!p->segment)
            bytes += p->size_bytes;
    }
    for (uint32_t i = w->batch; i < w->part_count; i++) {
        if (w->part[i]->segment)
            segment_move(w->part[i]->segment, SEGMENT_FREE);
        w->part[i]->segment = NULL;
    }
    return bytes;
}

/* Whatever else is wrong with the answer, creating them will tell. */
static void room_known(struct store_req *req, int64_t result)
{
    struct seg_writer *w = req->owner;

    if (result == -ENOSPC)
        (void)err_set(&w->err, -ENOSPC,
                      "%s: no room on the local drive for this save, which "
                      "needs %" PRIu64 " MiB more: %s%s",
                      w->pool->env->local_path, (req->len >> 20) + 1,
                      err_text(-ENOSPC), err_advice(-ENOSPC));
    else
        prepare_batch(w);
    seg_writer_request_ends(w);
}

void seg_reserve(struct seg_writer *w)
{
    seg_writer_request_begins(w); /* holds the end back until all are started */
    if (plan_parts(w, w->batch_bytes)) {
        (void)err_set(&w->err, -ENOMEM, "no memory for a segment writer");
        seg_writer_request_ends(w);
        return;
    }
    w->room = (struct store_req){.op = STORE_ROOM,
                                 .name = "",
                                 .len = new_bytes(w),
                                 .done = room_known,
                                 .owner = w};
    if (w->room.len > 0) {
        store_submit(w->pool->env->local, &w->room);
        return;
    }
    prepare_batch(w);
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

/* What comes behind a handle's last use by the writer. */
static void part_let_go(struct part *p)
{
    struct seg_writer *w = p->writer;
    struct segment *s = p->segment;

    p->segment = NULL;
    segment_known(s);
    seg_writer_request_ends(w);
}

static void part_closed(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;
    struct segment *s = p->segment;

    (void)result; /* the descriptor is gone either way */
    s->seg = NULL;
    s->is_closing = false;
    if (s->state == SEGMENT_TAKEN)
        segment_move(s, s->is_doomed ? SEGMENT_POISONED : SEGMENT_FREE);
    part_let_go(p);
}

static void part_close(struct part *p)
{
    struct segment *s = p->segment;

    s->is_closing = true;
    p->req = (struct store_req){
        .op = STORE_SEG_CLOSE, .seg = s->seg, .done = part_closed, .owner = p};
    store_submit(p->writer->pool->env->local, &p->req);
}

/* A handle whose lock could not be shared is of no use to readers: they open
 * the segment anew. */
static void part_shared(struct store_req *req, int64_t result)
{
    struct part *p = req->owner;
    struct segment *s = p->segment;
    struct env *env = s->pool->env;

    s->is_sharing = false;
    if (result < 0) {
        env->ops->log(env, LOG_LEVEL_WARN, "%s/%s: cannot share its lock: %s",
                      env->local_path, s->file, err_text((int)result));
        part_close(p);
        return;
    }
    segment_idle(s);
    part_let_go(p);
}

/* keep: HELD for the save; else FREE, or POISONED when doomed. */
void seg_part_release(struct part *p, bool keep)
{
    struct segment *s = p->segment;

    if (!s)
        return;
    if (!s->seg) { /* was never opened: a new name that may not exist */
        s->is_doomed = true;
        segment_move(s, SEGMENT_POISONED);
        p->segment = NULL;
        return;
    }
    seg_writer_request_begins(p->writer);
    if (!keep) {
        s->ref_count = 0; /* the writer's save was its only one */
        part_close(p);
        return;
    }
    segment_move(s, SEGMENT_HELD);
    s->is_sharing = true;
    p->req = (struct store_req){
        .op = STORE_SEG_SHARE, .seg = s->seg, .done = part_shared, .owner = p};
    store_submit(p->writer->pool->env->local, &p->req);
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

/*
 * Full: everything FREE goes, and when it is gone all who wait try again.
 */

static bool is_on_its_way_out(const struct segment *s)
{
    return s->is_unlinking || (s->is_closing && s->state != SEGMENT_HELD);
}

void seg_reserve_squeezed(struct segpool *pool)
{
    struct list ready, *node;

    if (list_is_empty(&pool->squeezers))
        return;
    LIST_FOR_EACH (each, &pool->segments)
        if (is_on_its_way_out(container_of(each, struct segment, link)))
            return;
    list_init(&ready);
    while ((node = list_pop(&pool->squeezers)))
        list_append(&ready, node);
    while ((node = list_pop(&ready))) {
        struct seg_writer *w =
            container_of(node, struct seg_writer, squeeze_link);

        pool->pending--;
        w->err = (struct err){0};
        seg_writer_move(w, WRITER_RESERVING);
        seg_reserve(w);
    }
}

void seg_reserve_undone(struct seg_writer *w)
{
    struct segpool *pool = w->pool;
    bool is_full = w->err.code == -ENOSPC || w->err.code == -EDQUOT;

    drop_batch(w);
    if (is_full && !w->has_squeezed) {
        w->has_squeezed = true;
        pool->pending++;
        list_append(&pool->squeezers, &w->squeeze_link);
        segpool_settle(pool);
        seg_reserve_squeezed(pool);
        return;
    }
    segpool_settle(pool);
    seg_writer_move(w, WRITER_READY);
    seg_writer_answer(w);
}

void seg_reserve_ended(struct seg_writer *w)
{
    if (!w->err.code) {
        count_spare(w);
        seg_writer_move(w, WRITER_READY);
        seg_writer_reserved(w);
        return;
    }
    seg_writer_move(w, WRITER_UNDOING);
    seg_writer_request_begins(w);
    for (uint32_t i = w->batch; i < w->part_count; i++)
        seg_part_release(w->part[i], false);
    seg_writer_request_ends(w);
}
