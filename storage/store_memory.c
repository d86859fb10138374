/*
 * store_memory.c - a store in memory: for tests and the simulator.
 *
 * Submitting only queues. store_poll() picks requests from the queue in the
 * order of a seeded shuffle, and only then does each take effect and complete:
 * two requests that are in flight together race here as they do on a disk, yet
 * the same seed gives the same race. With seed 0 they run in order.
 *
 * Records and segments are `things` under a name in one sorted array. A
 * segment that was removed lives on until its last handle is closed. Locks are
 * kept as flock() keeps them, between handles of this one store.
 */
#include "storage/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct thing {
    char *name; /* NULL once removed */
    uint8_t *data;
    uint64_t bytes;
    int64_t mtime;
    uint32_t handles; /* open segments */
    uint32_t shared;  /* locks */
    bool is_exclusive;
};

enum lock_kind { LOCK_NONE, LOCK_SHARED, LOCK_EXCLUSIVE };

struct memory_seg {
    struct store_seg seg;
    struct list link;
    struct thing *thing;
    enum lock_kind lock;
};

struct store_memory {
    struct store store;
    struct list queue; /* struct store_req */
    uint32_t queued;
    uint64_t seed, state;
    int64_t put_count;
    struct list segments;
    struct thing **thing; /* sorted by name */
    size_t count, capacity;
};

static struct store_memory *memory_of(struct store *store)
{
    return container_of(store, struct store_memory, store);
}

static struct memory_seg *memory_seg_of(struct store_seg *seg)
{
    return container_of(seg, struct memory_seg, seg);
}

/*
 * Things.
 */

/* The index of `name`, or of where it would be. */
static size_t find(const struct store_memory *memory, const char *name,
                   bool *is_there)
{
    size_t low = 0, high = memory->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(memory->thing[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there =
        low < memory->count && strcmp(memory->thing[low]->name, name) == 0;
    return low;
}

static struct thing *look_up(const struct store_memory *memory,
                             const char *name)
{
    bool is_there;
    size_t at = find(memory, name, &is_there);

    return is_there ? memory->thing[at] : NULL;
}

static void thing_free(struct thing *thing)
{
    free(thing->name);
    free(thing->data);
    free(thing);
}

/* A new zeroed thing, already under its name; -EEXIST, -ENOMEM. */
static int thing_new(struct store_memory *memory, const char *name,
                     uint64_t bytes, struct thing **out)
{
    struct thing *thing;
    bool is_there;
    size_t at = find(memory, name, &is_there);

    if (is_there)
        return -EEXIST;
    if (memory->count == memory->capacity) {
        size_t capacity = 2 * memory->capacity + 16;
        struct thing **grown =
            realloc(memory->thing, capacity * sizeof(struct thing *));

        if (!grown)
            return -ENOMEM;
        memory->thing = grown;
        memory->capacity = capacity;
    }
    thing = calloc(1, sizeof *thing);
    if (!thing)
        return -ENOMEM;
    thing->name = strdup(name);
    thing->data = calloc(1, bytes ? bytes : 1);
    if (!thing->name || !thing->data) {
        thing_free(thing);
        return -ENOMEM;
    }
    thing->bytes = bytes;
    memmove(&memory->thing[at + 1], &memory->thing[at],
            (memory->count - at) * sizeof(struct thing *));
    memory->thing[at] = thing;
    memory->count++;
    *out = thing;
    return 0;
}

static int thing_remove(struct store_memory *memory, const char *name)
{
    bool is_there;
    size_t at = find(memory, name, &is_there);
    struct thing *thing;

    if (!is_there)
        return -ENOENT;
    thing = memory->thing[at];
    memory->count--;
    memmove(&memory->thing[at], &memory->thing[at + 1],
            (memory->count - at) * sizeof(struct thing *));
    free(thing->name);
    thing->name = NULL;
    if (thing->handles == 0)
        thing_free(thing);
    return 0;
}

/*
 * Records.
 */

static int64_t put(struct store_memory *memory, const struct store_req *req)
{
    struct thing *thing;
    int rc = thing_new(memory, req->name, req->len, &thing);

    if (rc < 0)
        return rc;
    if (req->len > 0)
        memcpy(thing->data, req->buf, req->len);
    thing->mtime = ++memory->put_count;
    return 0;
}

static int64_t get(const struct store_memory *memory, struct store_req *req)
{
    const struct thing *thing = look_up(memory, req->name);

    if (!thing)
        return -ENOENT;
    if (req->op == STORE_STAT || req->op == STORE_BLOB_STAT) {
        req->stat_mtime_ms = thing->mtime;
        return (int64_t)thing->bytes;
    }
    if (req->op == STORE_BLOB_GET) {
        if (req->off + req->len > thing->bytes)
            return -EIO;
        memcpy(req->buf, thing->data + req->off, req->len);
        return (int64_t)req->len;
    }
    if (thing->bytes > req->len)
        return -EFBIG;
    if (thing->bytes > 0)
        memcpy(req->buf, thing->data, thing->bytes);
    return (int64_t)thing->bytes;
}

/* The component of `name` right below `folder`, or false. */
static bool child_of(const char *name, const char *folder,
                     char child[STORE_NAME_MAX + 1])
{
    size_t bytes = strlen(folder), length;

    if (bytes > 0) {
        if (strncmp(name, folder, bytes) != 0 || name[bytes] != '/')
            return false;
        name += bytes + 1;
    }
    length = strcspn(name, "/");
    memcpy(child, name, length);
    child[length] = '\0';
    return true;
}

static int64_t list(const struct store_memory *memory, struct store_req *req)
{
    struct store_names_builder builder = {0};
    char child[STORE_NAME_MAX + 1];
    int rc = 0;

    req->names = (struct store_names){0};
    for (size_t i = 0; rc == 0 && i < memory->count; i++) {
        if (child_of(memory->thing[i]->name, req->name, child))
            rc = store_names_add(&builder, child);
    }
    if (rc < 0) {
        store_names_fini(&builder);
        return rc;
    }
    return store_names_finish(&builder, &req->names);
}

/*
 * Segments.
 */

static bool lock_take(struct thing *thing, enum lock_kind kind)
{
    if (kind == LOCK_NONE)
        return true;
    if (thing->is_exclusive || (kind == LOCK_EXCLUSIVE && thing->shared > 0))
        return false;
    if (kind == LOCK_EXCLUSIVE)
        thing->is_exclusive = true;
    else
        thing->shared++;
    return true;
}

static void lock_drop(struct thing *thing, enum lock_kind kind)
{
    if (kind == LOCK_EXCLUSIVE)
        thing->is_exclusive = false;
    else if (kind == LOCK_SHARED)
        thing->shared--;
}

static int64_t handle_new(struct store_memory *memory, struct store_req *req,
                          struct thing *thing)
{
    struct memory_seg *seg = calloc(1, sizeof *seg);

    if (!seg)
        return -ENOMEM;
    if (store_seg_init(&seg->seg, req->name, thing->bytes) < 0) {
        free(seg);
        return -ENOMEM;
    }
    if (req->flags & STORE_SEG_NOLOCK)
        seg->lock = LOCK_NONE;
    else
        seg->lock = req->flags & STORE_SEG_WRITE ? LOCK_EXCLUSIVE : LOCK_SHARED;
    if (!lock_take(thing, seg->lock)) {
        store_seg_fini(&seg->seg);
        free(seg);
        return -EAGAIN;
    }
    seg->seg.is_writable = req->flags & STORE_SEG_WRITE;
    seg->thing = thing;
    thing->handles++;
    list_append(&memory->segments, &seg->link);
    req->seg = &seg->seg;
    return (int64_t)thing->bytes;
}

static int64_t seg_open(struct store_memory *memory, struct store_req *req)
{
    struct thing *thing;
    int64_t result;
    int rc;

    req->seg = NULL;
    if (!(req->flags & STORE_SEG_CREATE)) {
        thing = look_up(memory, req->name);
        return thing ? handle_new(memory, req, thing) : -ENOENT;
    }
    rc = thing_new(memory, req->name, req->len, &thing);
    if (rc < 0)
        return rc;
    result = handle_new(memory, req, thing);
    if (result < 0)
        (void)thing_remove(memory, req->name);
    return result;
}

static void seg_close(struct memory_seg *seg)
{
    struct thing *thing = seg->thing;

    lock_drop(thing, seg->lock);
    thing->handles--;
    if (thing->handles == 0 && !thing->name)
        thing_free(thing);
    list_remove(&seg->link);
    store_seg_fini(&seg->seg);
    free(seg);
}

static int64_t seg_share(struct memory_seg *seg)
{
    if (seg->lock == LOCK_NONE)
        return -EBADF;
    lock_drop(seg->thing, seg->lock);
    seg->thing->shared++;
    seg->lock = LOCK_SHARED;
    seg->seg.is_writable = false;
    return 0;
}

static int64_t seg_trim(struct memory_seg *seg, uint64_t bytes)
{
    uint8_t *data = realloc(seg->thing->data, bytes);

    if (!data)
        return -ENOMEM;
    seg->thing->data = data;
    seg->thing->bytes = seg->seg.size = bytes;
    return (int64_t)bytes;
}

/* Another handle may have trimmed what this one was opened on. */
static int64_t seg_io(const struct store_req *req)
{
    struct thing *thing = memory_seg_of(req->seg)->thing;

    if (req->off + req->len > thing->bytes)
        return -EIO;
    if (req->op == STORE_READ)
        memcpy(req->buf, thing->data + req->off, req->len);
    else
        memcpy(thing->data + req->off, req->buf, req->len);
    return (int64_t)req->len;
}

/*
 * The table of operations.
 */

static int64_t carry_out(struct store_memory *memory, struct store_req *req)
{
    switch (req->op) {
    case STORE_PUT:
    case STORE_BLOB_PUT:
        return put(memory, req);
    case STORE_GET:
    case STORE_STAT:
    case STORE_BLOB_GET:
    case STORE_BLOB_STAT:
        return get(memory, req);
    case STORE_ROOM:
        return 0; /* as much as there is memory: creating one tells */
    case STORE_LIST:
        return list(memory, req);
    case STORE_REMOVE:
    case STORE_SEG_REMOVE:
    case STORE_BLOB_REMOVE:
        return thing_remove(memory, req->name);
    case STORE_SEG_OPEN:
        return seg_open(memory, req);
    case STORE_SEG_CLOSE:
        seg_close(memory_seg_of(req->seg));
        req->seg = NULL;
        return 0;
    case STORE_SEG_SHARE:
        return seg_share(memory_seg_of(req->seg));
    case STORE_SEG_TRIM:
        return seg_trim(memory_seg_of(req->seg), req->len);
    case STORE_READ:
    case STORE_WRITE:
        return seg_io(req);
    case STORE_SYNC:
        return 0;
    }
    return -EINVAL;
}

static void memory_submit(struct store *store, struct store_req *req)
{
    struct store_memory *memory = memory_of(store);

    list_append(&memory->queue, &req->link);
    memory->queued++;
    store->wants_poll = true;
}

/* splitmix64: enough to shuffle by. */
static uint64_t next_random(struct store_memory *memory)
{
    uint64_t z = (memory->state += 0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

static struct store_req *take(struct store_memory *memory)
{
    uint64_t skip = memory->seed ? next_random(memory) % memory->queued : 0;
    struct list *node = memory->queue.next;

    while (skip-- > 0)
        node = node->next;
    list_remove(node);
    memory->queued--;
    return container_of(node, struct store_req, link);
}

static int memory_poll(struct store *store, int timeout_ms)
{
    struct store_memory *memory = memory_of(store);
    uint64_t count = memory->queued;

    (void)timeout_ms;
    if (memory->seed && count > 0)
        count = 1 + next_random(memory) % count;
    for (; count > 0; count--) {
        struct store_req *req = take(memory);

        store_complete(req, carry_out(memory, req));
    }
    store->wants_poll = memory->queued > 0;
    return 0;
}

static int memory_poll_fd(struct store *store)
{
    (void)store;
    return -1;
}

static int memory_buffer_add(struct store *store, void *base, size_t bytes)
{
    (void)store;
    (void)base;
    (void)bytes;
    return 0;
}

static void memory_buffer_remove(struct store *store, void *base)
{
    (void)store;
    (void)base;
}

static void memory_describe(struct store *store, char *text, size_t capacity)
{
    const struct store_memory *memory = memory_of(store);

    (void)snprintf(text, capacity,
                   "memory: %zu records and segments, seed %llu", memory->count,
                   (unsigned long long)memory->seed);
}

static void memory_close(struct store *store)
{
    struct store_memory *memory = memory_of(store);

    LIST_FOR_EACH_SAFE (node, after, &memory->segments)
        seg_close(container_of(node, struct memory_seg, link));
    for (size_t i = 0; i < memory->count; i++)
        thing_free(memory->thing[i]);
    free(memory->thing);
    free(memory);
}

static const struct store_ops memory_ops = {
    .kind = "memory",
    .submit = memory_submit,
    .poll = memory_poll,
    .poll_fd = memory_poll_fd,
    .buffer_add = memory_buffer_add,
    .buffer_remove = memory_buffer_remove,
    .describe = memory_describe,
    .close = memory_close,
};

int store_memory_open(uint64_t seed, struct store **out, struct err *err)
{
    static const struct store_limits limits = {
        .align_bytes = PAGE_BYTES,
        .max_inflight = 64,
        .max_io_bytes = (uint64_t)16 << 20,
        .max_record_bytes = (uint64_t)16 << 20,
        .max_blob_bytes = (uint64_t)16 << 20};
    struct store_memory *memory = calloc(1, sizeof *memory);

    if (!memory)
        return err_set(err, -ENOMEM, "no memory for a store in memory");
    store_init(&memory->store, &memory_ops, &limits);
    list_init(&memory->queue);
    list_init(&memory->segments);
    memory->seed = memory->state = seed;
    *out = &memory->store;
    return 0;
}
