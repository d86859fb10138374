/*
 * port.c - requests to a simulated disk: see disk.h.
 *
 * submit -> (held) -> effect -> end. Each arrow is an event of the world; a
 * request has at most one that carries it on and one that ends its patience.
 * What has no asker any more (its port was cut, its time was out) goes the same
 * way without telling anybody.
 */
#include "tests/sim/port.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct port *port_of(struct store *store)
{
    return container_of(store, struct port, store);
}

/*
 * The way of a request.
 */

static void op_trace(const struct op *op, const char *what, int64_t result)
{
    static const char *const names[] = {
        [STORE_PUT] = "put",           [STORE_GET] = "get",
        [STORE_LIST] = "list",         [STORE_REMOVE] = "remove",
        [STORE_STAT] = "stat",         [STORE_ROOM] = "room",
        [STORE_SEG_OPEN] = "open",     [STORE_SEG_CLOSE] = "close",
        [STORE_SEG_SHARE] = "share",   [STORE_SEG_TRIM] = "trim",
        [STORE_SEG_REMOVE] = "unlink", [STORE_READ] = "read",
        [STORE_WRITE] = "write",       [STORE_SYNC] = "sync"};

    sim_trace(op->disk->sim, "%s %s %s %s%s%s -> %lld", op->port->who,
              op->disk->name, names[op->kind], op->name, what[0] ? " " : "",
              what, (long long)result);
}

void op_put(struct op *op)
{
    if (op->events > 0 || op->is_held || !op->is_dead || op->req)
        return;
    list_remove(&op->link);
    if (op->lock)
        lock_put(op->lock);
    if (op->made)
        thing_put(op->made);
    free(op->name);
    free(op->data);
    free(op);
}

static void handle_add(struct op *op)
{
    struct handle *h = calloc(1, sizeof *h);
    int rc;

    assert(h);
    rc = store_seg_init(&h->seg, op->name, op->lock->thing->bytes);
    assert(rc == 0);
    h->seg.is_writable = op->flags & STORE_SEG_WRITE;
    h->lock = op->lock;
    h->lock->users++;
    list_append(&op->port->handles, &h->link);
    op->req->seg = &h->seg;
}

static void handle_free(struct handle *h)
{
    lock_put(h->lock);
    list_remove(&h->link);
    store_seg_fini(&h->seg);
    free(h);
}

void op_reply(struct op *op, int64_t result)
{
    struct store_req *req = op->req;

    if (!req)
        return;
    op->req = NULL;
    if (op->kind == STORE_SEG_OPEN && result >= 0) {
        op->req = req;
        handle_add(op);
        op->req = NULL;
    } else if (op->kind == STORE_SEG_SHARE && result >= 0) {
        req->seg->is_writable = false;
    } else if (op->kind == STORE_SEG_TRIM && result >= 0) {
        req->seg->size = (uint64_t)result;
    } else if (op->kind == STORE_SEG_CLOSE && result >= 0) {
        handle_free(handle_of(req->seg));
        req->seg = NULL;
    } else if (op->kind == STORE_LIST && result < 0) {
        store_names_free(&req->names);
    }
    store_complete(req, result);
    (void)port_turn(&op->port->store);
}

static void event_end(struct sim *s, void *arg, uint64_t unused);

static uint64_t half(const struct sim_disk *d)
{
    return sim_between(d->sim, d->model.least_ns, d->model.most_ns);
}

static void go_on(struct op *op, uint64_t delay_ns,
                  void (*fn)(struct sim *s, void *arg, uint64_t n))
{
    op->events++;
    sim_after(op->disk->sim, delay_ns, fn, op, 0);
}

/* Its time is out; what is under way goes on. */
static void event_late(struct sim *s, void *arg, uint64_t unused)
{
    struct op *op = arg;

    (void)s;
    (void)unused;
    op->events--;
    if (op->req && !op->is_dead) {
        if (op->kind == STORE_LIST)
            store_names_free(&op->req->names);
        op->disk->sim->stats.late_requests++;
        op_trace(op, "(may still land)", -ETIMEDOUT);
        op_reply(op, -ETIMEDOUT);
    }
    op_put(op);
}

/* Has one that was submitted before it had no effect yet? */
static bool overtakes(const struct op *op)
{
    struct list *before = op->link.prev;

    if (before == &op->disk->ops)
        return false;
    return !container_of(before, struct op, link)->has_effect;
}

/* Tells who waits for it; a part of the time a sync may take. */
static void tell_unsynced(const struct op *op)
{
    struct sim_disk *d = op->disk;
    bool is_unsynced = op->kind == STORE_WRITE || op->kind == STORE_PUT ||
                       (op->kind == STORE_SEG_OPEN && op->made);

    if (op->result < 0 || !is_unsynced || d->unsynced_nth == 0 ||
        --d->unsynced_nth > 0)
        return;
    sim_after(d->sim, sim_random(d->sim, d->model.most_ns), d->unsynced,
              d->unsynced_arg, 0);
}

static void event_effect(struct sim *s, void *arg, uint64_t unused)
{
    struct op *op = arg;

    (void)unused;
    op->events--;
    if (op->is_dead) {
        op_put(op);
        return;
    }
    if (op->disk->is_down || op->port->is_held) {
        op->is_held = true;
        if (op->disk->model.timeout_ns)
            go_on(op, op->disk->model.timeout_ns, event_late);
        return;
    }
    op->result = op->fault == -EIO || op->fault == -ENOSPC ? op->fault
                                                           : op_carry_out(op);
    op->has_effect = true;
    s->stats.overtaken += overtakes(op);
    tell_unsynced(op);
    ++*op->port->ops;
    go_on(op, half(op->disk), event_end);
}

static void event_end(struct sim *s, void *arg, uint64_t unused)
{
    struct op *op = arg;

    (void)s;
    (void)unused;
    op->events--;
    if (!op->is_dead) {
        int64_t result = op->fault ? op->fault : op->result;

        op_make_durable(op);
        op_trace(op, op->req ? "" : "(late)", result);
        if (op->fault && op->kind == STORE_LIST && op->req)
            store_names_free(&op->req->names);
        op->is_dead = true;
        op_reply(op, result);
    }
    op_put(op);
}

/* What may fail, and how. A GET or STAT that fails says so as an error of the
 * way there: the record is not to blame. */
static void choose_fault(struct op *op, uint64_t *delay_ns)
{
    const struct disk_model *m = &op->disk->model;
    struct sim *s = op->disk->sim;

    bool is_new = op->kind == STORE_PUT ||
                  (op->kind == STORE_SEG_OPEN && op->flags & STORE_SEG_CREATE);

    if (m->is_full && is_new)
        op->fault = -ENOSPC;
    if (op->fault || sim_random(s, 1000000) >= m->fail_ppm)
        return;
    if (!m->is_local) {
        if (op->kind == STORE_PUT && sim_random(s, 4) == 0)
            op->fault = -ENOSPC;
        else if (sim_random(s, 2))
            op->fault = -ETIMEDOUT; /* and it has taken effect */
        else {                      /* it takes effect after it was given up */
            go_on(op, sim_between(s, 0, m->most_ns), event_late);
            *delay_ns = sim_between(s, 0, 5000 * SIM_MS);
        }
        return;
    }
    if (op->kind == STORE_WRITE || op->kind == STORE_SYNC)
        op->fault = -EIO;
    else if (op->kind == STORE_SEG_OPEN && op->flags & STORE_SEG_CREATE)
        op->fault = -ENOSPC;
}

static void op_begin(struct op *op)
{
    uint64_t delay_ns = half(op->disk);

    choose_fault(op, &delay_ns);
    go_on(op, delay_ns, event_effect);
}

static bool has_name(enum store_op op)
{
    return op == STORE_PUT || op == STORE_GET || op == STORE_LIST ||
           op == STORE_REMOVE || op == STORE_STAT || op == STORE_ROOM ||
           op == STORE_SEG_OPEN || op == STORE_SEG_REMOVE;
}

static void port_submit(struct store *store, struct store_req *req)
{
    struct port *p = port_of(store);
    struct op *op;

    if (p->is_cut) {
        store_complete(req, -ECANCELED);
        return;
    }
    op = calloc(1, sizeof *op);
    assert(op);
    op->disk = p->disk;
    op->port = p;
    op->req = req;
    op->kind = req->op;
    op->flags = req->flags;
    op->len = req->len;
    op->off = req->off;
    op->name = strdup(has_name(req->op) ? req->name : req->seg->name);
    assert(op->name);
    if (req->op == STORE_PUT || req->op == STORE_WRITE) {
        op->data = malloc(req->len ? req->len : 1);
        assert(op->data);
        if (req->len)
            memcpy(op->data, req->buf, req->len);
    }
    if (!has_name(req->op)) {
        op->lock = handle_of(req->seg)->lock;
        op->lock->users++;
    }
    list_append(&p->disk->ops, &op->link);
    op_begin(op);
}

/*
 * The table.
 */

static int port_poll(struct store *store, int timeout_ms)
{
    (void)store;
    (void)timeout_ms;
    return 0;
}

static int port_poll_fd(struct store *store)
{
    (void)store;
    return -1;
}

static int port_buffer_add(struct store *store, void *base, size_t bytes)
{
    (void)store;
    (void)base;
    (void)bytes;
    return 0;
}

static void port_buffer_remove(struct store *store, void *base)
{
    (void)store;
    (void)base;
}

static void port_describe(struct store *store, char *text, size_t capacity)
{
    (void)snprintf(text, capacity, "simulated: %s", port_of(store)->disk->name);
}

static void handles_free(struct port *p)
{
    while (!list_is_empty(&p->handles))
        handle_free(container_of(p->handles.next, struct handle, link));
}

/* Its operations may still be under way: they keep what they need. */
static void port_close(struct store *store)
{
    struct port *p = port_of(store);

    handles_free(p);
    p->is_cut = true;
}

static const struct store_ops port_ops = {
    .kind = "simulated",
    .submit = port_submit,
    .poll = port_poll,
    .poll_fd = port_poll_fd,
    .buffer_add = port_buffer_add,
    .buffer_remove = port_buffer_remove,
    .describe = port_describe,
    .close = port_close,
};

/* A port stays with its disk to the end. */
struct store *port_open(struct sim_disk *d, const char *who, uint64_t *ops)
{
    static const struct store_limits limits = {
        .align_bytes = PAGE_BYTES,
        .max_inflight = 64,
        .max_io_bytes = (uint64_t)16 << 20,
        .max_record_bytes = (uint64_t)16 << 20};
    struct port *p = calloc(1, sizeof *p);

    assert(p);
    store_init(&p->store, &port_ops, &limits);
    p->disk = d;
    p->ops = ops;
    (void)snprintf(p->who, sizeof p->who, "%s", who);
    list_init(&p->handles);
    list_append(&d->ports, &p->link);
    return &p->store;
}

bool port_turn(struct store *store)
{
    int rc;

    if (list_is_empty(&store->finished))
        return false;
    rc = store_poll(store, 0);
    assert(rc == 0);
    return true;
}

bool port_is_of(const struct store *port, const struct sim_disk *d)
{
    const struct port *p = (const void *)port;

    return p->disk == d;
}

void port_cut(struct store *store)
{
    struct port *p = port_of(store);

    p->is_cut = true;
    p->is_held = false;
    LIST_FOR_EACH_SAFE (node, after, &p->disk->ops) {
        struct op *op = container_of(node, struct op, link);
        struct store_req *req = op->req;

        if (op->port != p)
            continue;
        if (op->is_held) { /* it never left */
            op->is_held = false;
            op->is_dead = true;
        }
        op->req = NULL;
        if (req) {
            if (op->kind == STORE_LIST && op->has_effect)
                store_names_free(&req->names);
            store_complete(req, -ECANCELED);
        }
        op_put(op);
    }
}

void ops_release(struct sim_disk *d)
{
    LIST_FOR_EACH (node, &d->ops) {
        struct op *op = container_of(node, struct op, link);

        if (!op->is_held || d->is_down || op->port->is_held)
            continue;
        op->is_held = false;
        go_on(op, half(d), event_effect);
    }
}

void port_hold(struct store *store, bool is_held)
{
    struct port *p = port_of(store);

    p->is_held = is_held;
    ops_release(p->disk);
}
