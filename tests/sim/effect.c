/*
 * effect.c - what requests do to a simulated disk: see disk.h and port.h.
 */
#include "tests/sim/port.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Locks.
 */

static void lock_drop(struct lock *l)
{
    if (l->kind == LOCK_EXCLUSIVE)
        l->thing->is_exclusive = false;
    else if (l->kind == LOCK_SHARED)
        l->thing->shared--;
    l->kind = LOCK_NONE;
}

void lock_put(struct lock *l)
{
    if (--l->users > 0)
        return;
    lock_drop(l);
    thing_put(l->thing);
    free(l);
}

static struct lock *lock_new(struct thing *t, unsigned flags)
{
    struct lock *l;
    bool is_writer = flags & STORE_SEG_WRITE;

    if (!(flags & STORE_SEG_NOLOCK) &&
        (t->is_exclusive || (is_writer && t->shared > 0)))
        return NULL;
    l = calloc(1, sizeof *l);
    assert(l);
    l->thing = t;
    l->users = 1;
    t->users++;
    if (flags & STORE_SEG_NOLOCK)
        return l;
    l->kind = is_writer ? LOCK_EXCLUSIVE : LOCK_SHARED;
    if (is_writer)
        t->is_exclusive = true;
    else
        t->shared++;
    return l;
}

static int64_t share(struct lock *l)
{
    if (l->kind == LOCK_NONE)
        return -EBADF;
    lock_drop(l);
    l->thing->shared++;
    l->kind = LOCK_SHARED;
    return 0;
}

/*
 * Effects.
 */

void disk_tell(struct sim_disk *d, enum disk_news news, const struct thing *t)
{
    struct disk_record r = {t->name, t->data, t->bytes, t->is_durable};

    if (d->news && !t->is_segment)
        d->news(d->sim, news, &r);
}

static int64_t put(struct op *op)
{
    struct image *m = &op->disk->image;
    int rc = image_add(m, op->name, op->data, op->len, false, &op->made);

    if (rc == -EEXIST) {
        op->made = image_find(m, op->name); /* to be durable before we say so */
    } else {
        disk_tell(op->disk, DISK_SEEN, op->made);
    }
    op->made->users++;
    return rc;
}

static int64_t get(const struct op *op)
{
    struct thing *t = image_find(&op->disk->image, op->name);

    if (!t)
        return -ENOENT;
    if (op->req)
        op->req->stat_mtime_ms = t->mtime;
    if (op->kind == STORE_STAT)
        return (int64_t)t->bytes;
    if (t->bytes > op->len)
        return -EFBIG;
    if (op->req && t->bytes > 0)
        memcpy(op->req->buf, t->data, t->bytes);
    return (int64_t)t->bytes;
}

static int64_t list(const struct op *op)
{
    struct store_names_builder builder = {0};
    const struct image *m = &op->disk->image;
    size_t bytes = strlen(op->name);
    char child[STORE_NAME_MAX + 1];

    if (!op->req)
        return 0;
    for (size_t i = 0; i < m->count; i++) {
        const char *name = m->thing[i]->name;
        int rc;

        if (m->thing[i]->is_leaving)
            continue;
        if (bytes > 0) {
            if (strncmp(name, op->name, bytes) != 0 || name[bytes] != '/')
                continue;
            name += bytes + 1;
        }
        (void)snprintf(child, sizeof child, "%.*s", (int)strcspn(name, "/"),
                       name);
        rc = store_names_add(&builder, child);
        assert(rc == 0);
    }
    return store_names_finish(&builder, &op->req->names);
}

static int64_t remove_name(struct op *op)
{
    struct thing *t = image_find(&op->disk->image, op->name);

    if (!t)
        return -ENOENT;
    image_hide(t);
    t->users++;
    op->made = t;
    return 0;
}

static int64_t seg_open(struct op *op)
{
    struct image *m = &op->disk->image;
    struct thing *t = image_find(m, op->name);
    int rc = 0;

    if (op->flags & STORE_SEG_CREATE) {
        rc = image_add(m, op->name, NULL, op->len, true, &t);
        if (rc == 0) {
            op->made = t;
            t->users++;
        }
    }
    if (rc || !t)
        return rc ? rc : -ENOENT;
    op->lock = lock_new(t, op->flags);
    return op->lock ? (int64_t)t->bytes : -EAGAIN;
}

static int64_t seg_io(struct op *op)
{
    struct thing *t = op->lock->thing;

    if (op->kind == STORE_SYNC) {
        thing_sync(t);
        return 0;
    }
    if (op->kind == STORE_SEG_TRIM) {
        t->bytes = op->len;
        return (int64_t)op->len;
    }
    if (op->off + op->len > t->bytes)
        return -EIO;
    if (op->kind == STORE_WRITE)
        thing_write(t, op->off, op->data, op->len);
    else if (op->req)
        memcpy(op->req->buf, t->data + op->off, op->len);
    return (int64_t)op->len;
}

int64_t op_carry_out(struct op *op)
{
    switch (op->kind) {
    case STORE_PUT:
        return put(op);
    case STORE_GET:
    case STORE_STAT:
        return get(op);
    case STORE_ROOM:
        return 0;
    case STORE_LIST:
        return list(op);
    case STORE_REMOVE:
    case STORE_SEG_REMOVE:
        return remove_name(op);
    case STORE_SEG_OPEN:
        return seg_open(op);
    case STORE_SEG_CLOSE:
        return 0;
    case STORE_SEG_SHARE:
        return share(op->lock);
    case STORE_SEG_TRIM:
    case STORE_READ:
    case STORE_WRITE:
    case STORE_SYNC:
        return seg_io(op);
    case STORE_BLOB_PUT:
    case STORE_BLOB_GET:
    case STORE_BLOB_REMOVE:
    case STORE_BLOB_STAT:
        break; /* a simulated store has no blobs: store.c refuses */
    }
    return -EINVAL;
}

void op_make_durable(struct op *op)
{
    struct thing *t = op->made;

    if (!t)
        return;
    if (op->kind == STORE_REMOVE || op->kind == STORE_SEG_REMOVE) {
        if (t->is_leaving)
            image_drop(&op->disk->image, t);
    } else if (!t->is_durable && !t->is_gone) {
        t->is_durable = true;
        disk_tell(op->disk, DISK_DURABLE, t);
    }
}
