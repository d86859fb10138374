/*
 * segpool_read.c - segments opened for reading, shared and cached.
 *
 * One handle per segment serves all readers; after the last one it stays open
 * (its lock is shared, so another life of the daemon could still read) until
 * too many are, or the segment is FREE.
 */
#include "ckptd/engine/segpool_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define IDLE_HANDLES 128

struct getter {
    struct list link; /* segment.waiting */
    struct id128 id;
    void (*done)(void *arg, int result, struct store_seg *seg,
                 const struct err *err);
    void *arg;
};

struct opening {
    struct store_req req;
    struct segment *segment;
};

static void getter_end(struct segment *s, struct getter *g, int result,
                       const char *why)
{
    struct err err = {0};

    if (result)
        (void)err_set(&err, result, "segment %s/%s: %s",
                      s->pool->env->local_path, s->file, why);
    if (result == 0) {
        s->reader_count++;
        if (list_is_linked(&s->idle_link)) {
            list_remove(&s->idle_link);
            s->pool->idle_count--;
        }
    }
    g->done(g->arg, result, result ? NULL : s->seg, &err);
    free(g);
}

/* An incarnation asked for that the segment does not have (any more). */
static bool is_other(const struct segment *s, const struct getter *g)
{
    return s->state == SEGMENT_FREE || !id_equal(&s->id, &g->id);
}

static void serve(struct segment *s, int result, const char *why)
{
    struct list *node;

    while ((node = list_pop(&s->waiting))) {
        struct getter *g = container_of(node, struct getter, link);

        if (!result && is_other(s, g))
            getter_end(s, g, -CKPT_ECORRUPT,
                       "holds another incarnation than the manifest names");
        else
            getter_end(s, g, result, why);
    }
}

static void segment_opened(struct store_req *req, int64_t result)
{
    struct opening *o = container_of(req, struct opening, req);
    struct segment *s = o->segment;
    struct segpool *pool = s->pool;

    s->is_opening = false;
    pool->pending--;
    if (result >= 0)
        s->seg = req->seg;
    free(o);
    serve(s, result < 0 ? (int)result : 0,
          result < 0 ? err_text((int)result) : "");
    segpool_settle(pool);
}

static void open_for_reading(struct segment *s)
{
    struct opening *o = calloc(1, sizeof *o);

    if (!o) {
        serve(s, -ENOMEM, "no memory");
        return;
    }
    o->segment = s;
    o->req = (struct store_req){
        .op = STORE_SEG_OPEN, .name = s->file, .done = segment_opened};
    s->is_opening = true;
    s->pool->pending++;
    store_submit(s->pool->env->local, &o->req);
}

void segment_known(struct segment *s)
{
    if (list_is_empty(&s->waiting))
        return;
    if (s->state == SEGMENT_UNKNOWN)
        serve(s, -EAGAIN, "still locked by a dead writer");
    else if (s->seg && !s->is_closing)
        serve(s, 0, "");
    else if (!s->is_opening && !s->is_closing)
        open_for_reading(s);
}

void segpool_get(struct segpool *pool, const char *file,
                 const struct id128 *segment,
                 void (*done)(void *arg, int result, struct store_seg *seg,
                              const struct err *err),
                 void *arg)
{
    struct segment *s = segment_by_file(pool, file, strlen(file));
    struct getter *g;
    struct err err;

    if (!s || s->is_unlinking) {
        done(arg,
             err_set(&err, -ENOENT, "segment %s/%s is not there",
                     pool->env->local_path, file),
             NULL, &err);
        return;
    }
    g = calloc(1, sizeof *g);
    if (!g) {
        done(arg, err_set(&err, -ENOMEM, "no memory to open %s", file), NULL,
             &err);
        return;
    }
    *g = (struct getter){.id = *segment, .done = done, .arg = arg};
    list_append(&s->waiting, &g->link);
    if (s->state != SEGMENT_UNKNOWN)
        segment_known(s);
}

void segpool_put(struct segpool *pool, struct store_seg *seg)
{
    LIST_FOR_EACH (node, &pool->segments) {
        struct segment *s = container_of(node, struct segment, link);

        if (s->seg != seg)
            continue;
        assert(s->reader_count > 0);
        if (--s->reader_count > 0 || s->state == SEGMENT_TAKEN)
            return;
        list_append(&pool->idle, &s->idle_link);
        pool->idle_count++;
        if (pool->idle_count > IDLE_HANDLES)
            segment_drop_handle(
                container_of(pool->idle.next, struct segment, idle_link));
        segpool_settle(pool);
        return;
    }
    assert(!"segpool_put of a handle that is not open");
}

void segpool_stop(struct segpool *pool)
{
    pool->is_stopping = true;
    LIST_FOR_EACH (node, &pool->segments)
        segment_drop_handle(container_of(node, struct segment, link));
}
