/*
 * disk_io.c - carries out a store's primitive operations on a disk (disk.h):
 * one at a time, in an order that follows from a seed, by the same code that
 * the threads of storage/ run.
 *
 * A sync covers what had been carried out when it was submitted, not when its
 * turn comes. A process that was killed leaves its writes to the drive; all
 * else that it had submitted has no effect.
 */
#include "tests/crash/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct disk_io {
    struct fileio io;
    struct disk *disk;
    struct list queue;
    uint64_t queued;
    uint64_t random;
    uint32_t process;
    bool is_dead;
};

static struct disk_io *io_of(struct fileio *io)
{
    return container_of(io, struct disk_io, io);
}

static uint64_t next_random(struct disk_io *o)
{
    uint64_t z = o->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void disk_submit(struct fileio *io, struct fileio_op *op)
{
    struct disk_io *o = io_of(io);

    op->result = o->disk->op_count; /* what has happened by now */
    list_append(&o->queue, &op->link);
    o->queued++;
    io->wants_poll = true;
}

/* One of so many, by chance. */
static struct fileio_op *take(struct disk_io *o, struct list *from,
                              uint64_t count)
{
    uint64_t skip = next_random(o) % count;
    struct list *node = from->next;

    while (skip-- > 0)
        node = node->next;
    list_remove(node);
    return container_of(node, struct fileio_op, link);
}

static void carry_out(struct disk_io *o, struct fileio_op *op)
{
    o->disk->mark = (uint32_t)op->result;
    o->disk->process = o->process;
    op->result = fileio_execute(op);
    o->disk->mark = DISK_NEVER;
}

static int disk_poll(struct fileio *io, int timeout_ms)
{
    struct disk_io *o = io_of(io);
    uint64_t count = o->queued ? 1 + next_random(o) % o->queued : 0, ended = 0;
    struct list done;

    (void)timeout_ms;
    list_init(&done);
    for (; count > 0; count--) {
        struct fileio_op *op;

        if (!o->is_dead && o->disk->op_count >= o->disk->stop_at)
            break;
        op = take(o, &o->queue, o->queued--);
        if (o->is_dead) {
            op->done(op, -ECANCELED);
            continue;
        }
        carry_out(o, op);
        if (o->disk->answers_in_any_order) {
            list_append(&done, &op->link);
            ended++;
        } else {
            op->done(op, op->result);
        }
    }
    while (ended > 0) {
        struct fileio_op *op = take(o, &done, ended--);

        op->done(op, op->result);
    }
    io->wants_poll = o->queued > 0;
    return 0;
}

static int disk_poll_fd(struct fileio *io)
{
    (void)io;
    return -1;
}

static int disk_buffer_add(struct fileio *io, void *base, size_t bytes)
{
    (void)io;
    (void)base;
    (void)bytes;
    return 0;
}

static void disk_buffer_remove(struct fileio *io, void *base)
{
    (void)io;
    (void)base;
}

static int disk_file_add(struct fileio *io, int fd)
{
    (void)io;
    (void)fd;
    return -1;
}

static void disk_file_remove(struct fileio *io, int slot)
{
    (void)io;
    (void)slot;
}

static void disk_describe(struct fileio *io, char *text, size_t capacity)
{
    (void)io;
    (void)snprintf(text, capacity, "a disk in memory");
}

static void disk_close(struct fileio *io)
{
    struct disk_io *o = io_of(io);

    assert(o->queued == 0);
    free(o);
}

static const struct fileio_ops disk_ops = {
    .kind = "disk",
    .submit = disk_submit,
    .poll = disk_poll,
    .poll_fd = disk_poll_fd,
    .buffer_add = disk_buffer_add,
    .buffer_remove = disk_buffer_remove,
    .file_add = disk_file_add,
    .file_remove = disk_file_remove,
    .describe = disk_describe,
    .close = disk_close,
};

struct fileio *disk_io_new(struct disk *disk, uint32_t process, uint64_t seed)
{
    struct disk_io *o = calloc(1, sizeof *o);

    assert(o);
    o->io.ops = &disk_ops;
    o->disk = disk;
    o->process = process;
    o->random = seed;
    list_init(&o->queue);
    return &o->io;
}

void disk_io_kill(struct fileio *io)
{
    struct disk_io *o = io_of(io);

    o->is_dead = true;
    LIST_FOR_EACH (node, &o->queue) {
        const struct fileio_op *op = container_of(node, struct fileio_op, link);

        if (op->kind == FILEIO_WRITE)
            disk_late_add(o->disk, op);
    }
}
