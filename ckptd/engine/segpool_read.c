/*
 * segpool_read.c - segments opened for reading, shared and cached.
 *
 * One handle per segment serves all readers; after the last one it stays open
 * (its lock is shared, so another life of the daemon could still read) until
 * too many are, or the segment is FREE. Who asks while the handle is on its way
 * (being opened, shared or closed) waits for that to end.
 */
#include "ckptd/engine/segpool_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define IDLE_HANDLES 128

struct getter {
    struct list link; /* segment.waiting */
    struct id128 id;
    segpool_get_fn done;
    void *arg;
};

struct opening {
    struct store_req req;
    struct segment *segment;
};

static void idle_remove(struct segment *s)
{
    if (!list_is_linked(&s->idle_link))
        return;
    list_remove(&s->idle_link);
    s->pool->idle_count--;
}

static void getter_end(struct segment *s, struct getter *g, int result,
                       const char *why)
{
    struct err err = {0};

    if (result)
        (void)err_set(&err, result, "segment %s/%s: %s",
                      s->pool->env->local_path, s->file, why);
    if (result == 0) {
        s->reader_count++;
        idle_remove(s);
    }
    g->done(g->arg, result, result ? NULL : s, &err);
    free(g);
}

/* An incarnation asked for that the segment does not have (any more). */
static bool is_other(const struct segment *s, const struct getter *g)
{
    return s->state != SEGMENT_HELD || !id_equal(&s->id, &g->id);
}

/* A handle that readers can use. */
static bool is_open(const struct segment *s)
{
    return s->seg && !s->is_closing && !s->is_sharing;
}

/* Those who wait by now; who comes during that is served by itself. */
static void serve(struct segment *s, int result, const char *why)
{
    struct list now, *node;

    list_init(&now);
    while ((node = list_pop(&s->waiting)))
        list_append(&now, node);
    while ((node = list_pop(&now))) {
        struct getter *g = container_of(node, struct getter, link);

        if (result)
            getter_end(s, g, result, why);
        else if (is_other(s, g))
            getter_end(s, g, -CKPT_ECORRUPT,
                       "holds another incarnation than the manifest names");
        else if (is_open(s))
            getter_end(s, g, 0, "");
        else
            list_append(&s->waiting, node); /* closed by one before it */
    }
}

static void segment_opened(struct store_req *req, int64_t result)
{
    struct opening *o = container_of(req, struct opening, req);
    struct segment *s = o->segment;

    s->is_opening = false;
    if (result >= 0)
        s->seg = req->seg;
    free(o);
    serve(s, result < 0 ? (int)result : 0,
          result < 0 ? err_text((int)result) : "");
    if (s->seg && s->reader_count == 0)
        segment_idle(s);
    segment_settle(s);
    s->pool->pending--;
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

static bool wants_only_others(const struct segment *s)
{
    LIST_FOR_EACH (node, &s->waiting)
        if (!is_other(s, container_of(node, struct getter, link)))
            return false;
    return true;
}

void segment_known(struct segment *s)
{
    if (list_is_empty(&s->waiting))
        return;
    if (s->state == SEGMENT_UNKNOWN && s->unread)
        serve(s, s->unread, err_text(s->unread));
    else if (s->state == SEGMENT_UNKNOWN)
        serve(s, -EAGAIN, "still locked by a dead writer");
    else if (is_open(s) || wants_only_others(s))
        serve(s, 0, "");
    else if (!s->is_opening && !s->is_closing && !s->is_sharing)
        open_for_reading(s);
}

void segpool_get(struct segpool *pool, const char *file,
                 const struct id128 *segment, segpool_get_fn done, void *arg)
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
    if (list_is_empty(&s->waiting))
        s->waiting_since_ns = pool->env->ops->now_ns(pool->env);
    list_append(&s->waiting, &g->link);
    if (s->state != SEGMENT_UNKNOWN || pool->is_stopping)
        segment_known(s);
    else if (s->unread)
        segment_look(s);
}

struct store_seg *segpool_handle(const struct segment *s)
{
    assert(s->reader_count > 0);
    return s->seg;
}

void segment_idle(struct segment *s)
{
    struct segpool *pool = s->pool;

    assert(s->seg && s->reader_count == 0 && !list_is_linked(&s->idle_link));
    list_append(&pool->idle, &s->idle_link);
    pool->idle_count++;
    if (pool->is_stopping)
        segment_drop_handle(s);
    else if (pool->idle_count > IDLE_HANDLES)
        segment_drop_handle(
            container_of(pool->idle.next, struct segment, idle_link));
}

void segpool_put(struct segment *s)
{
    assert(s->reader_count > 0);
    if (--s->reader_count > 0)
        return;
    segment_idle(s);
    segment_settle(s);
}

void segpool_stop(struct segpool *pool)
{
    if (!pool)
        return;
    pool->is_stopping = true;
    segpool_scan_stop(pool);
    LIST_FOR_EACH (node, &pool->segments)
        segment_drop_handle(container_of(node, struct segment, link));
}
