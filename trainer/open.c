/*
 * open.c - ckpt_open() and ckpt_close(): the life of a context.
 *
 * Opening: options, connection and handshake on the caller's thread, then the
 * threads. Closing: inside a job's control group a private daemon dies with
 * the job, so that staged saves are waited for; then CLOSE, the threads end,
 * and handles of saves live on alone.
 */
#include "trainer/arena.h"
#include "trainer/capture_map.h"
#include "trainer/options.h"
#include "trainer/save.h"
#include "trainer/workers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int context_init(struct ckpt *ctx, struct err *err)
{
    ctx->conn.fd = -1;
    ctx->wake_fd = ctx->quit_fd = -1;
    list_init(&ctx->requests);
    list_init(&ctx->saves);
    list_init(&ctx->handles);
    ctx->sync = sync_new();
    if (!ctx->sync)
        return err_set(err, -ENOMEM, "no memory");
    ctx->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ctx->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ctx->wake_fd < 0 || ctx->quit_fd < 0)
        return err_set(err, -errno, "no eventfd: %s", err_text(errno));
    return 0;
}

/* No thread runs any more. */
static void context_fini(struct ckpt *ctx)
{
    conn_fini(&ctx->conn);
    wr_free(&ctx->sending);
    wr_free(&ctx->outbox);
    if (ctx->wake_fd >= 0)
        (void)close(ctx->wake_fd);
    if (ctx->quit_fd >= 0)
        (void)close(ctx->quit_fd);
    daemon_reap(&ctx->child);
    if (ctx->sync) {
        sync_lock(ctx->sync);
        saves_orphan(ctx);
        capture_map_put(ctx->map);
        arena_put(ctx->arena);
        sync_put(ctx->sync);
    }
    free(ctx);
}

static int first_link(struct ckpt *ctx, struct err *err)
{
    struct link_wish wish = {
        .arena_bytes = ctx->arena_bytes,
        .patience = {clock_ms() + ctx->open.open_timeout_ms, -1},
    };
    struct link_result result;
    int rc = link_open(ctx, &wish, &ctx->child, &ctx->conn, &result, err);

    if (rc)
        return rc;
    ctx->epoch = 1;
    ctx->place.has_served = true;
    ctx->link = LINK_UP;
    ctx->generation = result.open.generation;
    ctx->parent = result.open.parent;
    ctx->resumed_step = ctx->parent.step;
    ctx->arena = result.arena;
    ctx->arena_wanted = ctx->arena_bytes;
    ctx->daemon_pid = result.daemon_pid;
    ctx->is_service = result.hello.is_service;
    ctx->features = result.hello.features;
    memcpy(ctx->mode, result.hello.mode, sizeof ctx->mode);
    return 0;
}

int ckpt_open(const struct ckpt_options *options, struct ckpt **out,
              struct ckpt_error *error)
{
    struct ckpt *ctx = calloc(1, sizeof *ctx);
    struct err err = {0};
    int rc;

    *out = NULL;
    if (!ctx) {
        (void)err_set(&err, -ENOMEM, "ckpt_open: no memory");
        return give_error(error, &err);
    }
    rc = context_init(ctx, &err);
    if (rc)
        goto err_after_context;
    rc = options_apply(options, ctx, &err);
    if (rc)
        goto err_after_context;
    rc = first_link(ctx, &err);
    if (rc == 0)
        rc = threads_start(ctx, &err);
    if (rc) {
        (void)err_prefix(&err, "ckpt_open");
        (void)context_prefix(ctx, &err);
        goto err_after_context;
    }
    *out = ctx;
    return 0;
err_after_context:
    context_fini(ctx);
    return give_error(error, &err);
}

/* Whether the daemon's end would come with that of our job. Lock held. */
static bool daemon_ends_with_us(const struct ckpt *ctx)
{
    return ctx->link == LINK_UP && !ctx->is_service &&
           daemon_is_in_our_cgroup(ctx->daemon_pid);
}

static bool is_staged_save_pending(struct ckpt *ctx)
{
    LIST_FOR_EACH (node, &ctx->saves) {
        const struct ckpt_save *save =
            container_of(node, struct ckpt_save, link);

        if (save->done == save->chunk_count && save->state < WIRE_STATE_LOCAL)
            return true;
    }
    return false;
}

static void wait_local(struct ckpt *ctx)
{
    uint64_t deadline = clock_ms() + ctx->open.decide_timeout_ms;

    sync_lock(ctx->sync);
    if (daemon_ends_with_us(ctx))
        while (is_staged_save_pending(ctx) && ctx->link == LINK_UP &&
               sync_wait(ctx->sync, deadline))
            continue;
    sync_unlock(ctx->sync);
}

/* A save that was let go is fenced; others that are not all copied abort;
 * nobody reads tensors afterwards. */
static void abandon_captures(struct ckpt *ctx)
{
    struct err err;

    (void)err_set(&err, -ECANCELED,
                  "the context was closed before its bytes had left");
    sync_lock(ctx->sync);
    save_fence_let_go(ctx);
    LIST_FOR_EACH_SAFE (node, after, &ctx->saves) {
        struct ckpt_save *save = container_of(node, struct ckpt_save, link);

        if (save->done < save->chunk_count)
            save_fail(ctx, save, &err, false);
    }
    while (ctx->newest && ctx->newest->busy)
        (void)sync_wait(ctx->sync, UINT64_MAX);
    sync_unlock(ctx->sync);
}

static void say_close(struct ckpt *ctx)
{
    struct wire_close v = {0};
    struct err err;
    struct request r;
    bool is_up;
    size_t begin;
    int rc;

    sync_lock(ctx->sync);
    is_up = ctx->link == LINK_UP;
    ctx->is_leaving = true;
    sync_unlock(ctx->sync);
    if (!is_up)
        return;
    request_init(ctx, &r, WIRE_CLOSE_OK);
    begin = request_frame(&r, WIRE_CLOSE);
    wire_close_encode(&v, &r.frames);
    rc = request_ask(ctx, &r, begin, CLOSE_WAIT_MS, &err);
    /* A daemon that does not answer sees the connection end instead. */
    (void)rc;
    request_fini(&r);
}

void ckpt_close(struct ckpt *ctx)
{
    if (!ctx)
        return;
    abandon_captures(ctx);
    wait_local(ctx);
    say_close(ctx);
    threads_stop(ctx);
    context_fini(ctx);
}
