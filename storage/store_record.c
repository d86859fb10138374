/*
 * store_record.c - a wrapper that remembers every request and its result.
 *
 * Each request goes down as a copy; its entry is made at submission, with a
 * copy of the name and of the bytes of PUT and WRITE, and completed when its
 * answer comes back. A request for which there is no memory to remember it
 * fails with -ENOMEM and does not go down: the record has no gaps.
 */
#include "storage/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct recorded {
    struct store_entry entry;
    char *name;
    void *data;
    struct store_req down;
    struct store_req *up;
};

struct store_wrap_record {
    struct store store;
    struct store *below;
    struct recorded **recorded;
    size_t count, capacity;
    uint64_t clock;
};

static struct store_wrap_record *wrap_of(struct store *store)
{
    return container_of(store, struct store_wrap_record, store);
}

/* The store is its first member. */
static const struct store_wrap_record *wrap_of_const(const struct store *store)
{
    return (const void *)store;
}

static void recorded_free(struct recorded *recorded)
{
    if (!recorded)
        return;
    free(recorded->name);
    free(recorded->data);
    free(recorded);
}

static bool is_on_segment(enum store_op op)
{
    return op == STORE_SEG_CLOSE || op == STORE_SEG_SHARE ||
           op == STORE_SEG_TRIM || op == STORE_READ || op == STORE_WRITE ||
           op == STORE_SYNC;
}

static struct recorded *recorded_new(const struct store_req *req)
{
    bool has_data = req->op == STORE_PUT || req->op == STORE_BLOB_PUT ||
                    req->op == STORE_WRITE;
    struct recorded *recorded = calloc(1, sizeof *recorded);

    if (!recorded)
        return NULL;
    recorded->name =
        strdup(is_on_segment(req->op) ? req->seg->name : req->name);
    if (has_data)
        recorded->data = malloc(req->len ? req->len : 1);
    if (!recorded->name || (has_data && !recorded->data)) {
        recorded_free(recorded);
        return NULL;
    }
    if (has_data && req->len > 0)
        memcpy(recorded->data, req->buf, req->len);
    recorded->entry = (struct store_entry){.op = req->op,
                                           .flags = req->flags,
                                           .name = recorded->name,
                                           .off = req->off,
                                           .len = req->len,
                                           .data = recorded->data};
    return recorded;
}

static int append(struct store_wrap_record *wrap, struct recorded *recorded)
{
    if (wrap->count == wrap->capacity) {
        size_t capacity = 2 * wrap->capacity + 64;
        struct recorded **grown =
            realloc(wrap->recorded, capacity * sizeof(struct recorded *));

        if (!grown)
            return -ENOMEM;
        wrap->recorded = grown;
        wrap->capacity = capacity;
    }
    wrap->recorded[wrap->count++] = recorded;
    return 0;
}

static void passed(struct store_req *down, int64_t result)
{
    struct recorded *recorded = down->owner;
    struct store_req *up = recorded->up;

    recorded->entry.is_done = true;
    recorded->entry.result = result;
    recorded->entry.done_at = wrap_of(up->store)->clock++;
    up->seg = down->seg;
    up->names = down->names;
    up->stat_mtime_ms = down->stat_mtime_ms;
    store_complete(up, result);
}

static void record_submit(struct store *store, struct store_req *req)
{
    struct store_wrap_record *wrap = wrap_of(store);
    struct recorded *recorded = recorded_new(req);

    if (!recorded || append(wrap, recorded) < 0) {
        recorded_free(recorded);
        store_complete(req, -ENOMEM);
        return;
    }
    recorded->entry.submitted_at = wrap->clock++;
    recorded->up = req;
    recorded->down = *req;
    recorded->down.link = (struct list){0};
    recorded->down.done = passed;
    recorded->down.owner = recorded;
    store_submit(wrap->below, &recorded->down);
}

static int record_poll(struct store *store, int timeout_ms)
{
    return store_poll(wrap_of(store)->below, timeout_ms);
}

static int record_poll_fd(struct store *store)
{
    return store_poll_fd(wrap_of(store)->below);
}

static int record_buffer_add(struct store *store, void *base, size_t bytes)
{
    return store_buffer_add(wrap_of(store)->below, base, bytes);
}

static void record_buffer_remove(struct store *store, void *base)
{
    store_buffer_remove(wrap_of(store)->below, base);
}

static void record_describe(struct store *store, char *text, size_t capacity)
{
    int used = snprintf(text, capacity, "record of ");

    if (used >= 0 && (size_t)used < capacity)
        store_describe(wrap_of(store)->below, text + used,
                       capacity - (size_t)used);
}

static void record_close(struct store *store)
{
    struct store_wrap_record *wrap = wrap_of(store);

    store_close(wrap->below);
    for (size_t i = 0; i < wrap->count; i++)
        recorded_free(wrap->recorded[i]);
    free(wrap->recorded);
    free(wrap);
}

static const struct store_ops record_ops = {
    .kind = "record",
    .submit = record_submit,
    .poll = record_poll,
    .poll_fd = record_poll_fd,
    .buffer_add = record_buffer_add,
    .buffer_remove = record_buffer_remove,
    .describe = record_describe,
    .close = record_close,
};

int store_record_open(struct store *below, struct store **out, struct err *err)
{
    struct store_wrap_record *wrap = calloc(1, sizeof *wrap);

    if (!wrap)
        return err_set(err, -ENOMEM, "no memory for the record wrapper");
    store_init(&wrap->store, &record_ops, &below->limits);
    wrap->below = below;
    *out = &wrap->store;
    return 0;
}

size_t store_record_count(const struct store *store)
{
    assert(store->ops == &record_ops);
    return wrap_of_const(store)->count;
}

const struct store_entry *store_record_at(const struct store *store,
                                          size_t index)
{
    const struct store_wrap_record *wrap = wrap_of_const(store);

    assert(store->ops == &record_ops && index < wrap->count);
    return &wrap->recorded[index]->entry;
}
