/*
 * disk.c - simulated disks, and what power and time do to them: see disk.h.
 */
#include "tests/sim/port.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_disk *disk_new(struct sim *s, const char *name)
{
    struct sim_disk *d = calloc(1, sizeof *d);

    assert(d);
    d->sim = d->image.sim = s;
    (void)snprintf(d->name, sizeof d->name, "%s", name);
    list_init(&d->ports);
    list_init(&d->ops);
    return d;
}

void disk_free(struct sim_disk *d)
{
    while (!list_is_empty(&d->ops)) {
        struct op *op = container_of(d->ops.next, struct op, link);

        assert(!op->req);
        op->events = 0;
        op->is_held = false;
        op->is_dead = true;
        op_put(op);
    }
    image_fini(&d->image);
    while (!list_is_empty(&d->ports)) {
        struct port *p = container_of(d->ports.next, struct port, link);

        list_remove(&p->link);
        free(p);
    }
    free(d);
}

struct disk_model *disk_model(struct sim_disk *d)
{
    return &d->model;
}

void disk_watch(struct sim_disk *d,
                void (*news)(struct sim *s, enum disk_news news,
                             const struct disk_record *r))
{
    d->news = news;
}

static void fill_record(struct thing *t)
{
    t->record = (struct disk_record){t->name, t->data, t->bytes, t->is_durable};
}

const struct disk_record *disk_record(struct sim_disk *d, const char *name)
{
    struct thing *t = image_find(&d->image, name);

    if (!t)
        return NULL;
    fill_record(t);
    return &t->record;
}

void disk_each(struct sim_disk *d, const char *prefix,
               void (*visit)(void *arg, const struct disk_record *r), void *arg)
{
    for (size_t i = 0; i < d->image.count; i++) {
        struct thing *t = d->image.thing[i];

        if (t->is_leaving || strncmp(t->name, prefix, strlen(prefix)) != 0)
            continue;
        fill_record(t);
        visit(arg, &t->record);
    }
}

static void settled(void *arg, const struct thing *t, bool is_kept)
{
    struct sim_disk *d = arg;

    sim_trace(d->sim, "%s %s %s", d->name, is_kept ? "keeps" : "loses",
              t->name);
    if (is_kept)
        disk_tell(d, DISK_DURABLE, t);
    else if (!t->is_leaving) /* else its removal was not lost */
        disk_tell(d, DISK_LOST, t);
}

static void op_power_loss(struct op *op)
{
    op->is_held = false;
    op->is_dead = true;
    if (op->lock)
        op->lock->kind = LOCK_NONE;
    if (op->req && op->kind == STORE_LIST)
        store_names_free(&op->req->names);
    op_reply(op, -EIO);
}

void disk_lose(struct sim_disk *d)
{
    while (d->image.count > 0)
        image_drop(&d->image, d->image.thing[d->image.count - 1]);
}

void disk_power_loss(struct sim_disk *d)
{
    struct list all;

    /* Callbacks submit anew: only what is there now. Of a write that is under
     * way some sectors may land. */
    list_init(&all);
    while (!list_is_empty(&d->ops)) {
        struct op *op = container_of(d->ops.next, struct op, link);

        list_remove(&op->link);
        list_append(&all, &op->link);
        if (op->kind == STORE_WRITE && !op->has_effect && !op->is_dead &&
            sim_random(d->sim, 2))
            (void)op_carry_out(op);
    }
    LIST_FOR_EACH (node, &d->ports) {
        struct port *p = container_of(node, struct port, link);

        LIST_FOR_EACH (at, &p->handles)
            container_of(at, struct handle, link)->lock->kind = LOCK_NONE;
    }
    image_power_loss(&d->image, settled, d);
    while (!list_is_empty(&all)) {
        struct op *op = container_of(all.next, struct op, link);

        list_remove(&op->link);
        list_append(&d->ops, &op->link);
        op_power_loss(op);
        op_put(op);
    }
}

void disk_when_unsynced(struct sim_disk *d, uint32_t nth,
                        void (*fn)(struct sim *s, void *arg, uint64_t unused),
                        void *arg)
{
    d->unsynced_nth = nth;
    d->unsynced = fn;
    d->unsynced_arg = arg;
}

void disk_set_down(struct sim_disk *d, bool is_down)
{
    d->is_down = is_down;
    ops_release(d);
}

bool disk_rot(struct sim_disk *d)
{
    struct thing *picked = NULL;
    uint64_t count = 0, at;

    for (size_t i = 0; i < d->image.count; i++) {
        struct thing *t = d->image.thing[i];

        if (t->is_segment && !t->is_leaving && !t->is_exclusive &&
            sim_random(d->sim, ++count) == 0)
            picked = t;
    }
    if (!picked)
        return false;
    at = sim_random(d->sim, picked->bytes);
    picked->data[at] ^= 1;
    if (at < picked->stable_bytes)
        picked->stable[at] = picked->data[at];
    sim_trace(d->sim, "%s: a bit of %s flips at %llu", d->name, picked->name,
              (unsigned long long)at);
    return true;
}
