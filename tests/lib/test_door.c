/*
 * test_door.c - how the daemons of a test reach the world's stores.
 *
 *   engine -> fault wrapper -> door (one per daemon and home) -> world's store
 *
 * A door passes requests on, one poll later, so that there is a moment in which
 * a killed daemon has submitted what never gets out. Closing a door leaves the
 * store behind it open, but closes the segments that were opened through it, as
 * the end of a process does.
 */
#include "tests/lib/test_env_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct world_store {
    struct list link; /* world.stores */
    char path[1024];
    struct store *store;
    bool is_alias; /* another entry owns it */
};

struct door {
    struct store store; /* what the fault wrapper holds */
    struct list link;   /* test_env.doors */
    struct test_env *env;
    struct store *behind;
    struct store *fault; /* above */
    struct list queue;   /* struct passing, not handed on yet */
    struct list passed;
    struct list segs; /* struct opened */
    bool is_cut;
    char path[1024];
};

struct passing {
    struct list link; /* door.queue or door.passed */
    struct door *door;
    struct store_req *outer;
    struct store_req inner;
};

struct opened {
    struct list link;
    struct store_seg *seg;
};

static struct door *door_of(struct store *store)
{
    return container_of(store, struct door, store);
}

static void seg_add(struct door *d, struct store_seg *seg)
{
    struct opened *o = calloc(1, sizeof *o);

    assert(o);
    o->seg = seg;
    list_append(&d->segs, &o->link);
}

static void seg_forget(struct door *d, const struct store_seg *seg)
{
    LIST_FOR_EACH_SAFE (node, after, &d->segs) {
        struct opened *o = container_of(node, struct opened, link);

        if (o->seg != seg)
            continue;
        list_remove(&o->link);
        free(o);
    }
}

static void passing_done(struct store_req *req, int64_t result)
{
    struct passing *p = req->owner;
    struct store_req *outer = p->outer;

    list_remove(&p->link);
    if (req->op == STORE_SEG_OPEN && result >= 0)
        seg_add(p->door, req->seg);
    if (req->op == STORE_SEG_CLOSE && result >= 0)
        seg_forget(p->door, outer->seg); /* the inner one is let go */
    if (p->door->is_cut) {
        store_names_free(&req->names);
        result = -ECANCELED;
    } else {
        if (req->op == STORE_SEG_OPEN)
            outer->seg = req->seg;
        outer->names = req->names;
        outer->stat_mtime_ms = req->stat_mtime_ms;
    }
    free(p);
    store_complete(outer, result);
}

static void door_submit(struct store *store, struct store_req *req)
{
    struct door *d = door_of(store);
    struct passing *p = calloc(1, sizeof *p);

    assert(p);
    p->door = d;
    p->outer = req;
    p->inner = (struct store_req){
        .op = req->op,
        .flags = req->flags,
        .name = req->name,
        .seg = req->seg,
        .buf = req->buf,
        .len = req->len,
        .off = req->off,
        .done = passing_done,
        .owner = p,
    };
    list_append(&d->queue, &p->link);
}

static bool has_work(const struct store *s)
{
    return s->inflight > 0 || !list_is_empty(&s->finished);
}

/* Drops what was not handed on: the process is gone. */
static void queue_cancel(struct door *d)
{
    struct list *node;

    while ((node = list_pop(&d->queue))) {
        struct passing *p = container_of(node, struct passing, link);
        struct store_req *outer = p->outer;

        free(p);
        store_complete(outer, -ECANCELED);
    }
}

static int door_poll(struct store *store, int timeout_ms)
{
    struct door *d = door_of(store);
    struct list *node;

    (void)timeout_ms;
    if (d->is_cut)
        queue_cancel(d);
    while ((node = list_pop(&d->queue))) {
        struct passing *p = container_of(node, struct passing, link);

        list_append(&d->passed, &p->link);
        store_submit(d->behind, &p->inner);
    }
    return has_work(d->behind) ? store_poll(d->behind, 0) : 0;
}

static int door_poll_fd(struct store *store)
{
    (void)store;
    return -1;
}

static int door_buffer_add(struct store *store, void *base, size_t bytes)
{
    return store_buffer_add(door_of(store)->behind, base, bytes);
}

static void door_buffer_remove(struct store *store, void *base)
{
    store_buffer_remove(door_of(store)->behind, base);
}

static void door_describe(struct store *store, char *text, size_t capacity)
{
    store_describe(door_of(store)->behind, text, capacity);
}

static void close_done(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
}

static void door_close(struct store *store)
{
    struct door *d = door_of(store);
    struct list *node;

    assert(list_is_empty(&d->queue) && list_is_empty(&d->passed));
    while ((node = list_pop(&d->segs))) {
        struct opened *o = container_of(node, struct opened, link);
        struct store_req req = {
            .op = STORE_SEG_CLOSE, .seg = o->seg, .done = close_done};
        int64_t rc = store_run(d->behind, &req);

        assert(rc == 0);
        free(o);
    }
    list_remove(&d->link);
    free(d);
}

static const struct store_ops door_ops = {
    .kind = "door",
    .submit = door_submit,
    .poll = door_poll,
    .poll_fd = door_poll_fd,
    .buffer_add = door_buffer_add,
    .buffer_remove = door_buffer_remove,
    .describe = door_describe,
    .close = door_close,
};

/*
 * The world's side.
 */

void test_world_add(struct test_world *w, const char *path, struct store *store)
{
    struct world_store *s = calloc(1, sizeof *s);

    assert(s && strlen(path) < sizeof s->path);
    (void)snprintf(s->path, sizeof s->path, "%s", path);
    s->store = store;
    list_append(&w->stores, &s->link);
}

void test_world_alias(struct test_world *w, const char *path, const char *to)
{
    test_world_add(w, path, test_world_store(w, to));
    container_of(w->stores.prev, struct world_store, link)->is_alias = true;
}

struct store *test_world_store(struct test_world *w, const char *path)
{
    struct store *made;
    struct err err = {0};
    int rc;

    LIST_FOR_EACH (node, &w->stores) {
        struct world_store *s = container_of(node, struct world_store, link);

        if (strcmp(s->path, path) == 0)
            return s->store;
    }
    rc = store_memory_open(w->is_plain ? 0 : test_random(w) | 1, &made, &err);
    assert(rc == 0);
    test_world_add(w, path, made);
    return made;
}

void doors_close_stores(struct test_world *w)
{
    struct list *node;

    while ((node = list_pop(&w->stores))) {
        struct world_store *s = container_of(node, struct world_store, link);

        if (!s->is_alias)
            store_close(s->store);
        free(s);
    }
}

int door_home_open(struct env *env, const char *path, struct store **out,
                   struct err *err)
{
    struct test_env *t = container_of(env, struct test_env, env);
    struct door *d = calloc(1, sizeof *d);
    int rc;

    assert(d && strlen(path) < sizeof d->path);
    (void)snprintf(d->path, sizeof d->path, "%s", path);
    d->env = t;
    d->behind = test_world_store(t->world, path);
    d->is_cut = t->is_dead;
    list_init(&d->queue);
    list_init(&d->passed);
    list_init(&d->segs);
    store_init(&d->store, &door_ops, &d->behind->limits);
    list_append(&t->doors, &d->link);
    rc = store_fault_open(&d->store, &d->fault, err);
    assert(rc == 0);
    for (uint32_t i = 0; i < t->fault_count; i++) {
        rc = store_fault_add(d->fault, &t->fault[i]);
        assert(rc == 0);
    }
    *out = d->fault;
    return 0;
}

struct store *test_env_fault(struct test_env *t, const char *path)
{
    const char *full = strcmp(path, "local") == 0 ? t->env.local_path : path;

    LIST_FOR_EACH (node, &t->doors) {
        struct door *d = container_of(node, struct door, link);

        if (strcmp(d->path, full) == 0)
            return d->fault;
    }
    return NULL;
}

void test_env_fail(struct test_env *t, const char *path,
                   const struct store_fault *fault)
{
    int rc = store_fault_add(test_env_fault(t, path), fault);

    assert(rc == 0);
}

void doors_cut(struct test_env *t)
{
    LIST_FOR_EACH (node, &t->doors) {
        struct door *d = container_of(node, struct door, link);

        /* What was just submitted gets out or not, each by chance. */
        LIST_FOR_EACH_SAFE (each, after, &d->queue) {
            struct passing *p = container_of(each, struct passing, link);

            if (test_random(t->world) % 2)
                continue;
            list_remove(&p->link);
            list_append(&d->passed, &p->link);
            store_submit(d->behind, &p->inner);
        }
        d->is_cut = true;
    }
}

bool doors_poll(struct test_world *w)
{
    bool busy = false;

    LIST_FOR_EACH_SAFE (node, after, &w->envs) {
        struct test_env *t = container_of(node, struct test_env, link);

        LIST_FOR_EACH_SAFE (each, next, &t->doors) {
            struct door *d = container_of(each, struct door, link);
            int rc = 0;

            if (!has_work(d->fault))
                continue;
            busy = true;
            rc = store_poll(d->fault, 0);
            assert(rc == 0);
        }
    }
    return busy;
}
