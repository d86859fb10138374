/*
 * store_fault.c - a wrapper that makes requests fail, or late.
 *
 * Each request that matches a rule on its turn (see store.h) is answered with
 * the rule's error, handed down and then answered with it, answered with it
 * and kept to be handed down much later, or held back for a number of polls.
 * All others go down as a copy and their answer comes back. The segment of the
 * store below is handed through, so that poisoning and its name are there for
 * both layers.
 */
#include "storage/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    struct list link;
    struct store_fault fault;
    uint64_t seen;
};

struct store_wrap_fault {
    struct store store;
    struct store *below;
    struct list rules;
    struct list delayed; /* struct passage */
    struct list late;    /* struct removal */
    uint64_t fired;
};

/* A request on its way through. */
struct passage {
    struct store_req down;
    struct store_req *up;
    struct list link; /* of the delayed */
    uint32_t polls_left;
    int error; /* to report after success below, or 0 */
};

/* One that was answered, and is still to be carried out. */
struct removal {
    struct list link;
    enum store_op op;
    char name[];
};

static struct store_wrap_fault *wrap_of(struct store *store)
{
    return container_of(store, struct store_wrap_fault, store);
}

/* The store is its first member. */
static const struct store_wrap_fault *wrap_of_const(const struct store *store)
{
    return (const void *)store;
}

/*
 * Rules.
 */

static const char *name_of(const struct store_req *req)
{
    if (req->op == STORE_SEG_CLOSE || req->op == STORE_SEG_SHARE ||
        req->op == STORE_SEG_TRIM || req->op == STORE_READ ||
        req->op == STORE_WRITE || req->op == STORE_SYNC)
        return req->seg->name;
    return req->name;
}

static bool matches(const struct store_fault *fault,
                    const struct store_req *req)
{
    if (fault->op >= 0 ? fault->op != (int)req->op : req->op == STORE_SEG_CLOSE)
        return false;
    return !fault->name_part || strstr(name_of(req), fault->name_part);
}

/* The rule that fires for this request, or NULL. */
static const struct store_fault *fire(struct store_wrap_fault *wrap,
                                      const struct store_req *req)
{
    LIST_FOR_EACH (node, &wrap->rules) {
        struct rule *rule = container_of(node, struct rule, link);

        if (!matches(&rule->fault, req))
            continue;
        rule->seen++;
        if (rule->seen == rule->fault.nth ||
            (rule->fault.persistent && rule->seen > rule->fault.nth)) {
            wrap->fired++;
            return &rule->fault;
        }
    }
    return NULL;
}

/*
 * Passages.
 */

static void passage_end(struct passage *passage, int64_t result)
{
    struct store_req *up = passage->up;

    free(passage);
    store_complete(up, result);
}

/* The segment that was opened all the same is closed again. */
static void undone(struct store_req *down, int64_t result)
{
    struct passage *passage = down->owner;

    assert(result == 0);
    passage_end(passage, passage->error);
}

static void passed(struct store_req *down, int64_t result)
{
    struct passage *passage = down->owner;
    struct store_req *up = passage->up;
    struct store *below = wrap_of(up->store)->below;

    if (passage->error == 0) {
        up->seg = down->seg;
        up->names = down->names;
        up->stat_mtime_ms = down->stat_mtime_ms;
        passage_end(passage, result);
    } else if (down->op == STORE_SEG_OPEN && result >= 0) {
        down->op = STORE_SEG_CLOSE;
        down->done = undone;
        store_submit(below, down);
    } else {
        if (down->op == STORE_LIST && result >= 0)
            store_names_free(&down->names);
        passage_end(passage, passage->error);
    }
}

static void keep(struct store_wrap_fault *wrap, const struct store_req *req)
{
    size_t bytes = strlen(req->name) + 1;
    struct removal *r = malloc(sizeof *r + bytes);

    assert(r && (req->op == STORE_REMOVE || req->op == STORE_SEG_REMOVE ||
                 req->op == STORE_BLOB_REMOVE));
    r->op = req->op;
    memcpy(r->name, req->name, bytes);
    list_append(&wrap->late, &r->link);
}

static void fault_submit(struct store *store, struct store_req *req)
{
    struct store_wrap_fault *wrap = wrap_of(store);
    const struct store_fault *fault = fire(wrap, req);
    struct passage *passage;

    if (fault && fault->error != 0 && !fault->after) {
        if (fault->late)
            keep(wrap, req);
        store_complete(req, fault->error);
        return;
    }
    passage = calloc(1, sizeof *passage);
    if (!passage) {
        store_complete(req, -ENOMEM);
        return;
    }
    passage->up = req;
    passage->error = fault ? fault->error : 0;
    passage->down = *req;
    passage->down.link = (struct list){0};
    passage->down.done = passed;
    passage->down.owner = passage;
    if (fault && fault->error == 0 && fault->delay_polls > 0) {
        passage->polls_left = fault->delay_polls;
        list_append(&wrap->delayed, &passage->link);
        store->wants_poll = true;
        return;
    }
    store_submit(wrap->below, &passage->down);
}

static int fault_poll(struct store *store, int timeout_ms)
{
    struct store_wrap_fault *wrap = wrap_of(store);

    LIST_FOR_EACH_SAFE (node, after, &wrap->delayed) {
        struct passage *passage = container_of(node, struct passage, link);

        if (--passage->polls_left > 0)
            continue;
        list_remove(&passage->link);
        store_submit(wrap->below, &passage->down);
    }
    store->wants_poll = !list_is_empty(&wrap->delayed);
    return store_poll(wrap->below, store->wants_poll ? 0 : timeout_ms);
}

static int fault_poll_fd(struct store *store)
{
    return store_poll_fd(wrap_of(store)->below);
}

static int fault_buffer_add(struct store *store, void *base, size_t bytes)
{
    return store_buffer_add(wrap_of(store)->below, base, bytes);
}

static void fault_buffer_remove(struct store *store, void *base)
{
    store_buffer_remove(wrap_of(store)->below, base);
}

static void fault_describe(struct store *store, char *text, size_t capacity)
{
    int used = snprintf(text, capacity, "faults over ");

    if (used >= 0 && (size_t)used < capacity)
        store_describe(wrap_of(store)->below, text + used,
                       capacity - (size_t)used);
}

static void fault_close(struct store *store)
{
    struct store_wrap_fault *wrap = wrap_of(store);
    struct list *node;

    store_fault_clear(store);
    while ((node = list_pop(&wrap->late)))
        free(container_of(node, struct removal, link));
    store_close(wrap->below);
    free(wrap);
}

static const struct store_ops fault_ops = {
    .kind = "fault",
    .submit = fault_submit,
    .poll = fault_poll,
    .poll_fd = fault_poll_fd,
    .buffer_add = fault_buffer_add,
    .buffer_remove = fault_buffer_remove,
    .describe = fault_describe,
    .close = fault_close,
};

int store_fault_open(struct store *below, struct store **out, struct err *err)
{
    struct store_wrap_fault *wrap = calloc(1, sizeof *wrap);

    if (!wrap)
        return err_set(err, -ENOMEM, "no memory for the fault wrapper");
    store_init(&wrap->store, &fault_ops, &below->limits);
    wrap->below = below;
    list_init(&wrap->rules);
    list_init(&wrap->delayed);
    list_init(&wrap->late);
    *out = &wrap->store;
    return 0;
}

int store_fault_add(struct store *store, const struct store_fault *fault)
{
    struct rule *rule;

    assert(store->ops == &fault_ops);
    if (fault->error > 0 || fault->nth == 0)
        return -EINVAL;
    rule = calloc(1, sizeof *rule);
    if (!rule)
        return -ENOMEM;
    rule->fault = *fault;
    list_append(&wrap_of(store)->rules, &rule->link);
    return 0;
}

void store_fault_clear(struct store *store)
{
    struct list *node;

    assert(store->ops == &fault_ops);
    while ((node = list_pop(&wrap_of(store)->rules)))
        free(container_of(node, struct rule, link));
}

size_t store_fault_land(struct store *store)
{
    struct store_wrap_fault *wrap = wrap_of(store);
    struct list *node;
    size_t count = 0;

    assert(store->ops == &fault_ops);
    for (; (node = list_pop(&wrap->late)); count++) {
        struct removal *r = container_of(node, struct removal, link);
        struct store_req req = {.op = r->op, .name = r->name};
        int64_t rc = store_run(wrap->below, &req);

        assert(rc == 0 || rc == -ENOENT);
        free(r);
    }
    return count;
}

uint64_t store_fault_count(const struct store *store)
{
    assert(store->ops == &fault_ops);
    return wrap_of_const(store)->fired;
}
