/*
 * memory.c - arenas (sealed memfds shared with a rank) and a few buffers.
 *
 * An arena is made of pieces of at most 1 GiB, mapped here at once; workers
 * touch its pages in the background, large ones where the kernel gives them,
 * but while a load is under way only as many as it uses over and over. When the
 * last page of a piece is there, it is registered with the local store's I/O.
 * Until then, and where registering is refused, I/O goes on unregistered.
 * An arena that is freed while it is being touched goes when the workers are
 * through.
 *
 * Bound: all arenas together are to take at most 40 % of what the cgroup and
 * the machine leave (budget.h); memory_arena_left() says how much of that is
 * left, and the engine asks for no more, but gets four slots in any case.
 */
#include "ckptd/daemon/budget.h"
#include "ckptd/daemon/reactor.h"
#include "common/huge.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_SLOTS_MIN ((uint64_t)4)
/* A job of it is short, since chunks wait behind it for a worker. */
#define TOUCH_BYTES    HUGE_BYTES
#define TOUCH_PAUSE_NS ((uint64_t)20 * 1000 * 1000)
/* Of an arena that is loaded through: what is read, and what its rank copies
 * from meanwhile. */
#define TOUCH_LOADING_BYTES ((uint64_t)48 << 20)

struct arena_block {
    struct list link; /* reactor.arenas */
    struct reactor *reactor;
    struct env_arena arena;
    uint64_t bytes, touched_bytes;
    struct env_job touch;
    uint32_t piece; /* being touched */
    uint64_t at;
    uint64_t populated_bytes; /* by the last job */
    struct env_timer pause;
    bool is_touching, is_freed;
    bool is_registered[WIRE_PIECES_MAX];
};

/* The first number in a small file; UINT64_MAX for "max" or no file. */
static uint64_t read_number(const char *path)
{
    FILE *f = fopen(path, "re");
    uint64_t value;

    if (!f)
        return UINT64_MAX;
    if (fscanf(f, "%" SCNu64, &value) != 1)
        value = UINT64_MAX;
    (void)fclose(f);
    return value;
}

/* What this process's own cgroup (v2) leaves; UINT64_MAX without a limit. */
static uint64_t cgroup_left(void)
{
    char line[512], path[640];
    FILE *f = fopen("/proc/self/cgroup", "re");
    uint64_t most = UINT64_MAX, used;

    if (!f)
        return UINT64_MAX;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max",
                       line + 3);
        most = read_number(path);
        (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.current",
                       line + 3);
        used = read_number(path);
        if (most != UINT64_MAX && used != UINT64_MAX)
            most = most > used ? most - used : 0;
    }
    (void)fclose(f);
    return most;
}

static uint64_t machine_left(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");

    if (!f)
        return UINT64_MAX;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    (void)fclose(f);
    return kib ? kib << 10 : UINT64_MAX;
}

uint64_t memory_arena_left(struct env *env)
{
    const struct reactor *r = reactor_of(env);

    return budget_left(min_u64(cgroup_left(), machine_left()), r->arena_bytes,
                       r->touched_bytes);
}

static int piece_new(struct env_arena *a, uint32_t piece, uint64_t bytes)
{
    int fd = memfd_create("ckptd-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *base;
    int rc;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)bytes) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        goto err_after_fd;
    rc = huge_map(fd, bytes, &base);
    if (rc) {
        close(fd);
        return rc;
    }
    a->fd[piece] = fd;
    a->base[piece] = base;
    a->shape.piece_bytes[piece] = bytes;
    return 0;

err_after_fd:
    rc = -errno;
    close(fd);
    return rc;
}

static void pieces_free(struct env_arena *a)
{
    for (uint32_t i = 0; i < a->shape.piece_count; i++) {
        int rc = munmap(a->base[i], a->shape.piece_bytes[i]);

        assert(rc == 0);
        close(a->fd[i]);
    }
    a->shape.piece_count = 0;
}

static int pieces_new(struct env_arena *a, uint64_t slots)
{
    uint64_t slot_bytes = PAGE_BYTES + a->shape.chunk_bytes;
    uint64_t per_piece = (WIRE_PIECE_BYTES - PAGE_BYTES) / slot_bytes;

    while (slots && a->shape.piece_count < WIRE_PIECES_MAX) {
        uint64_t here = min_u64(slots, per_piece);
        uint64_t first = a->shape.piece_count == 0 ? PAGE_BYTES : 0;
        int rc = piece_new(a, a->shape.piece_count, first + here * slot_bytes);

        if (rc) {
            pieces_free(a);
            return rc;
        }
        a->shape.piece_count++;
        slots -= here;
    }
    a->shape.slot_count = wire_slot_count(&a->shape);
    return 0;
}

/*
 * Touching pages.
 */

static void block_free(struct arena_block *b)
{
    for (uint32_t i = 0; i < b->arena.shape.piece_count; i++)
        if (b->is_registered[i])
            store_buffer_remove(b->reactor->env.local, b->arena.base[i]);
    reactor_timer_stop(&b->reactor->env, &b->pause);
    b->reactor->touched_bytes -= b->touched_bytes;
    list_remove(&b->link);
    pieces_free(&b->arena);
    free(b);
}

static void touch_on(struct arena_block *b);

static void touch_run(struct env_job *job)
{
    struct arena_block *b = container_of(job, struct arena_block, touch);
    uint64_t bytes =
        min_u64(TOUCH_BYTES, b->arena.shape.piece_bytes[b->piece] - b->at);

    /* Only a head start: what is not there yet is faulted in by its use. */
    b->populated_bytes =
        huge_populate(b->arena.base[b->piece] + b->at, bytes) ? bytes : 0;
    b->at += bytes;
}

static void piece_register(struct arena_block *b)
{
    struct reactor *r = b->reactor;
    int rc = store_buffer_add(r->env.local, b->arena.base[b->piece],
                              b->arena.shape.piece_bytes[b->piece]);

    b->is_registered[b->piece] = rc == 0;
    if (rc)
        log_line(LOG_LEVEL_WARN, "memory",
                 "arena piece of %" PRIu64
                 " MiB is not registered with io_uring (%s); I/O goes on "
                 "without. Raise RLIMIT_MEMLOCK to mend it.",
                 b->arena.shape.piece_bytes[b->piece] >> 20, err_text(rc));
}

static void pause_over(struct env_timer *timer)
{
    touch_on(container_of(timer, struct arena_block, pause));
}

/* A load needs few slots, and the processors. */
static bool is_to_pause(const struct arena_block *b)
{
    return (b->piece > 0 || b->at >= TOUCH_LOADING_BYTES) &&
           engine_is_loading(b->reactor->engine);
}

static void touch_on(struct arena_block *b)
{
    struct reactor *r = b->reactor;
    bool is_left = b->piece < b->arena.shape.piece_count;

    b->is_touching = is_left && !is_to_pause(b);
    if (b->is_touching)
        workers_give(r->workers, &b->touch);
    else if (is_left)
        reactor_timer_set(&r->env, &b->pause,
                          reactor_now_ns(&r->env) + TOUCH_PAUSE_NS);
}

static uint32_t ready_slots(const struct arena_block *b)
{
    struct wire_arena_ok touched = b->arena.shape;

    if (b->piece == touched.piece_count)
        return touched.slot_count;
    touched.piece_count = b->piece + 1;
    touched.piece_bytes[b->piece] = b->at;
    return wire_slot_count(&touched);
}

static void touch_done(struct env_job *job)
{
    struct arena_block *b = container_of(job, struct arena_block, touch);

    if (b->is_freed) {
        block_free(b);
        return;
    }
    b->touched_bytes += b->populated_bytes;
    b->reactor->touched_bytes += b->populated_bytes;
    if (b->at == b->arena.shape.piece_bytes[b->piece]) {
        piece_register(b);
        b->piece++;
        b->at = 0;
    }
    engine_arena_ready(b->reactor->engine, b->arena.base[0], ready_slots(b));
    touch_on(b);
}

int memory_arena_new(struct env *env, uint64_t bytes, uint32_t chunk_bytes,
                     struct env_arena *out, struct err *err)
{
    struct reactor *r = reactor_of(env);
    struct arena_block *b = calloc(1, sizeof *b);
    uint64_t slots = wire_slots_in(bytes, chunk_bytes);
    int rc;

    if (!b)
        return err_set(err, -ENOMEM, "no memory for an arena");
    b->reactor = r;
    b->arena.shape.chunk_bytes = chunk_bytes;
    rc = pieces_new(&b->arena, max_u64(slots, ARENA_SLOTS_MIN));
    if (rc) {
        free(b);
        return err_set(err, rc, "cannot make an arena of %" PRIu64 " MiB: %s%s",
                       bytes >> 20, err_text(rc), err_advice(rc));
    }
    for (uint32_t i = 0; i < b->arena.shape.piece_count; i++)
        b->bytes += b->arena.shape.piece_bytes[i];
    r->arena_bytes += b->bytes;
    list_append(&r->arenas, &b->link);
    b->touch.run = touch_run;
    b->touch.done = touch_done;
    b->pause.fire = pause_over;
    touch_on(b);
    *out = b->arena;
    return 0;
}

/* Its size is for others to have at once; its pages go when nobody touches
 * them. */
static void block_end(struct arena_block *b)
{
    if (!b->is_freed)
        b->reactor->arena_bytes -= b->bytes;
    b->is_freed = true;
    if (!b->is_touching)
        block_free(b);
}

void memory_arena_free(struct env *env, struct env_arena *arena)
{
    struct reactor *r = reactor_of(env);

    LIST_FOR_EACH (node, &r->arenas) {
        struct arena_block *b = container_of(node, struct arena_block, link);

        if (b->arena.base[0] != arena->base[0])
            continue;
        block_end(b);
        return;
    }
    assert(!"an arena that was never made");
}

/*
 * Buffers.
 */

int memory_init(struct reactor *r, struct err *err)
{
    uint64_t bytes = r->env.buffer_count * r->env.buffer_bytes;

    assert(r->env.buffer_count <= 64);
    r->buffers = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r->buffers == MAP_FAILED) {
        r->buffers = NULL;
        return err_set(err, -errno, "no memory for %u buffers: %s",
                       r->env.buffer_count, err_text(-errno));
    }
    r->buffers_free = UINT64_MAX >> (64 - r->env.buffer_count);
    return 0;
}

void memory_stop(struct reactor *r)
{
    LIST_FOR_EACH_SAFE (node, after, &r->arenas)
        block_end(container_of(node, struct arena_block, link));
}

void memory_fini(struct reactor *r)
{
    assert(list_is_empty(&r->arenas));
    if (r->buffers) {
        int rc = munmap(r->buffers, r->env.buffer_count * r->env.buffer_bytes);

        assert(rc == 0);
    }
}

void *memory_buffer_get(struct env *env)
{
    struct reactor *r = reactor_of(env);
    int i;

    if (!r->buffers_free)
        return NULL;
    i = __builtin_ctzll(r->buffers_free);
    r->buffers_free &= r->buffers_free - 1;
    return r->buffers + (uint64_t)i * env->buffer_bytes;
}

void memory_buffer_put(struct env *env, void *buffer)
{
    struct reactor *r = reactor_of(env);
    uint64_t i = (uint64_t)((uint8_t *)buffer - r->buffers) / env->buffer_bytes;

    assert(i < env->buffer_count && !(r->buffers_free >> i & 1));
    r->buffers_free |= (uint64_t)1 << i;
}
