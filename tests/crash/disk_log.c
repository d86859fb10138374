/*
 * disk_log.c - what has happened to a disk, and what a crash leaves of it
 * (disk.h).
 *
 * Happy path: disk_record() takes what is there as durable; every change after
 * that is logged; disk_log_end() finds for each the first sync that covers it.
 * A walk then goes from operation to operation and keeps the tree of what is
 * durable by then; disk_crash() lays any part of what is pending on top.
 *
 * Of one file, and of one folder, what is durable always comes before what is
 * pending (a sync covers all that went before it), so that laying the pending
 * part on top keeps the order; only a file's shortening may be passed by, and
 * what a failed sync lost.
 */
#include "tests/crash/disk_internal.h"

#include "common/hash.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BUCKETS 4096 /* a power of two */

struct known_name {
    struct known_name *next;
    char text[];
};

const char *disk_name(const char *text)
{
    static struct known_name *bucket[NAME_BUCKETS];
    size_t bytes = strlen(text);
    struct known_name **at = &bucket[hash_64(text, bytes) & (NAME_BUCKETS - 1)];
    struct known_name *n;

    for (n = *at; n; n = n->next)
        if (strcmp(n->text, text) == 0)
            return n->text;
    n = malloc(sizeof *n + bytes + 1);
    assert(n);
    memcpy(n->text, text, bytes + 1);
    n->next = *at;
    *at = n;
    return n->text;
}

/*
 * Trees, changed.
 */

static void entry_add(struct image *image, uint32_t folder, const char *name,
                      uint32_t node)
{
    struct disk_node *n = &image->node[folder];

    for (uint32_t i = 0; i < n->entry_count; i++) {
        if (n->entry[i].name == name) { /* its taking away did not land */
            n->entry[i].node = node;
            return;
        }
    }
    if (n->entry_count == n->entry_capacity) {
        uint32_t want = n->entry_capacity ? n->entry_capacity * 2 : 8;

        n->entry = realloc(n->entry, want * sizeof *n->entry);
        assert(n->entry);
        n->entry_capacity = want;
    }
    n->entry[n->entry_count++] = (struct disk_entry){name, node};
}

static void entry_drop(struct image *image, uint32_t folder, const char *name)
{
    struct disk_node *n = &image->node[folder];

    for (uint32_t i = 0; i < n->entry_count; i++) {
        if (n->entry[i].name != name)
            continue;
        n->entry[i] = n->entry[--n->entry_count];
        return;
    }
}

static void apply(struct image *image, const struct disk_op *op,
                  const uint64_t *sectors)
{
    switch (op->kind) {
    case DISK_WRITE:
        content_write(&image->node[op->node].content, op->off, op->data,
                      op->len, sectors);
        break;
    case DISK_SIZE:
        content_resize(&image->node[op->node].content, op->len);
        break;
    case DISK_NAME:
        if (op->from)
            entry_drop(image, op->from_folder, op->from);
        entry_add(image, op->folder, op->name, op->node);
        break;
    case DISK_UNNAME:
        entry_drop(image, op->folder, op->name);
        break;
    case DISK_SYNC:
        break;
    }
}

/*
 * Recording.
 */

struct disk *disk_new(uint64_t seed, const struct image *start)
{
    struct disk *d = calloc(1, sizeof *d);

    assert(d);
    d->random = seed;
    d->mark = d->stop_at = DISK_NEVER;
    list_init(&d->late);
    if (start)
        image_copy(&d->live, start);
    else
        image_init(&d->live);
    for (uint32_t i = 0; i < d->live.node_count; i++)
        d->live.node[i].links = 0;
    for (uint32_t i = 0; i < d->live.node_count; i++) {
        const struct disk_node *n = &d->live.node[i];

        for (uint32_t k = 0; k < n->entry_count; k++) {
            d->live.node[n->entry[k].node].links++;
            d->live.node[n->entry[k].node].parent = i;
        }
    }
    return d;
}

uint64_t disk_random(struct disk *disk)
{
    uint64_t z = disk->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void disk_record(struct disk *disk)
{
    assert(!disk->is_recording);
    image_copy(&disk->base, &disk->live);
    disk->is_recording = true;
}

struct disk_op *disk_log(struct disk *disk, enum disk_op_kind kind)
{
    struct disk_op *op;

    if (!disk->is_recording)
        return NULL;
    if (disk->op_count == disk->op_capacity) {
        uint32_t want = disk->op_capacity ? disk->op_capacity * 2 : 256;

        disk->op = realloc(disk->op, want * sizeof *disk->op);
        assert(disk->op);
        disk->op_capacity = want;
    }
    op = &disk->op[disk->op_count++];
    *op = (struct disk_op){.kind = kind, .durable = DISK_NEVER};
    return op;
}

void disk_write(struct disk *disk, uint32_t node, uint64_t off,
                const void *from, size_t bytes)
{
    struct disk_op *op = disk_log(disk, DISK_WRITE);

    content_write(&disk->live.node[node].content, off, from, bytes, NULL);
    if (!op)
        return;
    op->node = node;
    op->off = off;
    op->len = bytes;
    op->data = malloc(bytes + 1);
    assert(op->data);
    memcpy(op->data, from, bytes);
}

void disk_resize(struct disk *disk, uint32_t node, uint64_t bytes)
{
    struct disk_op *op;
    uint64_t was = content_size(disk->live.node[node].content);

    if (was == bytes)
        return;
    op = disk_log(disk, DISK_SIZE);
    content_resize(&disk->live.node[node].content, bytes);
    if (!op)
        return;
    op->node = node;
    op->len = bytes;
    op->is_shrinking = bytes < was;
}

void disk_give_name(struct disk *disk, uint32_t folder, const char *name,
                    uint32_t node)
{
    struct disk_op *op = disk_log(disk, DISK_NAME);

    uint32_t old = image_find(&disk->live, folder, name);

    name = disk_name(name);
    if (old != UINT32_MAX)
        disk->live.node[old].links--;
    entry_add(&disk->live, folder, name, node);
    disk->live.node[node].links++;
    disk->live.node[node].parent = folder;
    if (!op)
        return;
    op->folder = folder;
    op->name = name;
    op->node = node;
}

/* Journals carry both or none. */
void disk_rename(struct disk *disk, uint32_t from_folder, const char *from,
                 uint32_t folder, const char *name)
{
    uint32_t node = image_find(&disk->live, from_folder, from);

    disk_give_name(disk, folder, name, node);
    from = disk_name(from);
    entry_drop(&disk->live, from_folder, from);
    disk->live.node[node].links--;
    if (disk->is_recording) {
        disk->op[disk->op_count - 1].from_folder = from_folder;
        disk->op[disk->op_count - 1].from = from;
    }
}

void disk_take_name(struct disk *disk, uint32_t folder, const char *name)
{
    uint32_t node = image_find(&disk->live, folder, name);
    struct disk_op *op = disk_log(disk, DISK_UNNAME);

    assert(node != UINT32_MAX);
    name = disk_name(name);
    entry_drop(&disk->live, folder, name);
    disk->live.node[node].links--;
    if (!op)
        return;
    op->folder = folder;
    op->name = name;
    op->node = node;
}

static bool has_name(const struct disk *disk, uint32_t node, const char *name)
{
    return image_find(&disk->live, disk->live.node[node].parent, name) == node;
}

/* Is it this sync's turn to fail? */
static bool is_failing(struct disk *disk, uint32_t node)
{
    uint32_t *left = disk->live.node[node].is_folder ? &disk->fail_folder_syncs
                                                     : &disk->fail_syncs;

    if (*left == 0 ||
        (left == &disk->fail_folder_syncs && disk->failing_folder &&
         !has_name(disk, node, disk->failing_folder)))
        return false;
    return --*left == 0;
}

int disk_sync(struct disk *disk, uint32_t node, bool is_data_only)
{
    bool fails = is_failing(disk, node);
    struct disk_op *op = disk_log(disk, DISK_SYNC);

    if (op) {
        op->node = node;
        op->is_data_only = is_data_only;
        op->is_failed = fails;
        /* What it loses is not up to when it was asked for. */
        op->mark = disk->op_count - 1;
        if (!fails)
            op->mark = (uint32_t)min_u64(disk->mark, op->mark);
    }
    return fails ? -EIO : 0;
}

void disk_op_text(const struct disk *disk, const struct disk_op *op, char *text,
                  size_t capacity)
{
    static const char *const kinds[] = {[DISK_WRITE] = "write",
                                        [DISK_SIZE] = "size of",
                                        [DISK_NAME] = "name",
                                        [DISK_UNNAME] = "unname",
                                        [DISK_SYNC] = "sync"};
    const char *name = op->name ? op->name : "(nameless)";

    for (uint32_t i = 0; i < disk->op_count && !op->name; i++)
        if (disk->op[i].kind == DISK_NAME && disk->op[i].node == op->node)
            name = disk->op[i].name;
    (void)snprintf(text, capacity, "%s %s %" PRIu64 "+%" PRIu64,
                   kinds[op->kind], name, op->off, op->len);
}

/*
 * What is durable when.
 */

static bool covers(const struct disk_op *sync, const struct disk_op *op)
{
    if (op->kind == DISK_NAME || op->kind == DISK_UNNAME)
        return sync->node == op->folder;
    return sync->node == op->node && !(sync->is_data_only && op->is_shrinking);
}

void disk_log_end(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->op_count; i++) {
        struct disk_op *sync = &disk->op[i];

        if (sync->kind != DISK_SYNC)
            continue;
        for (uint32_t k = 0; k < sync->mark; k++) {
            struct disk_op *op = &disk->op[k];

            /* What a failed sync lost has its own name for "never". */
            if (op->kind != DISK_SYNC && op->durable == DISK_NEVER &&
                covers(sync, op))
                op->durable = sync->is_failed ? DISK_NEVER - 1 : i + 1;
        }
    }
}

/*
 * Walking.
 */

void disk_walk_begin(struct disk_walk *w, const struct disk *disk)
{
    *w = (struct disk_walk){.disk = disk};
    image_copy(&w->durable, &disk->base);
    w->pending = malloc((disk->op_count + (size_t)1) * sizeof *w->pending);
    assert(w->pending);
}

static void node_known(struct image *image, const struct disk *disk,
                       const struct disk_op *op)
{
    uint32_t most = (uint32_t)max_u64(op->node, op->folder);

    while (image->node_count <= most)
        (void)image_add_node(image,
                             disk->live.node[image->node_count].is_folder);
}

/* What a failed sync lost of a name is of no account once a later change of
 * that name is durable. */
static uint32_t outlive(struct disk_walk *w, uint32_t count,
                        const struct disk_op *by)
{
    uint32_t kept = 0;

    if (by->kind != DISK_NAME && by->kind != DISK_UNNAME)
        return count;
    for (uint32_t i = 0; i < count; i++) {
        const struct disk_op *op = &w->disk->op[w->pending[i]];
        bool is_name = op->kind == DISK_NAME || op->kind == DISK_UNNAME;

        if (!is_name || op->folder != by->folder || op->name != by->name)
            w->pending[kept++] = w->pending[i];
    }
    return kept;
}

bool disk_walk_next(struct disk_walk *w)
{
    const struct disk *disk = w->disk;
    const struct disk_op *op;
    uint32_t kept = 0;

    if (w->at == disk->op_count)
        return false;
    op = &disk->op[w->at++];
    node_known(&w->durable, disk, op);
    if (op->kind != DISK_SYNC) {
        w->pending[w->pending_count++] = w->at - 1;
        return true;
    }
    for (uint32_t i = 0; i < w->pending_count; i++) {
        const struct disk_op *each = &disk->op[w->pending[i]];

        if (each->durable <= w->at) {
            apply(&w->durable, each, NULL);
            kept = outlive(w, kept, each);
        } else {
            w->pending[kept++] = w->pending[i];
        }
    }
    w->pending_count = kept;
    return true;
}

void disk_walk_end(struct disk_walk *w)
{
    image_free(&w->durable);
    free(w->pending);
    *w = (struct disk_walk){0};
}

#define SECTORS_MAX ((16 << 20) / SECTOR_BYTES)

static void land(struct image *out, const struct disk_op *op, enum landing how,
                 uint64_t seed)
{
    uint64_t sectors[SECTORS_MAX / 64];
    size_t words = op->len / SECTOR_BYTES / 64 + 1;

    if (how == LAND_NOT)
        return;
    if (how == LAND_WHOLE || op->kind != DISK_WRITE) {
        apply(out, op, NULL);
        return;
    }
    assert(words <= ARRAY_LEN(sectors));
    for (size_t i = 0; i < words; i++) {
        uint64_t mix[2] = {seed, i};

        sectors[i] = how == LAND_TORN   ? hash_64(mix, sizeof mix)
                     : how == LAND_TAIL ? UINT64_MAX
                                        : 0;
    }
    if (how == LAND_HEAD)
        sectors[0] |= 1;
    if (how == LAND_TAIL)
        sectors[0] &= ~(uint64_t)1;
    apply(out, op, sectors);
}

void disk_crash(const struct disk_walk *w, const enum landing *landing,
                uint64_t seed, struct image *out)
{
    image_copy(out, &w->durable);
    for (uint32_t i = 0; i < w->pending_count; i++)
        land(out, &w->disk->op[w->pending[i]], landing[i],
             seed + w->pending[i]);
}
