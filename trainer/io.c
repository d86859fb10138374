/*
 * io.c - the I/O thread and requests; see io.h and context.h.
 *
 * The thread polls the socket and wake_fd. Frames that other threads put into
 * the outbox are taken over as one block and written; what comes in goes to
 * dispatch(). It stops reading while deliveries of a load pile up, which bounds
 * our memory. When the connection breaks, every request ends with an error,
 * saves and loads are told (save_events.c, load.c), and a daemon is looked for
 * for RECONNECT_MS; after that the link is dead until somebody asks again.
 */
#include "trainer/io.h"
#include "trainer/arena.h"
#include "trainer/load.h"
#include "trainer/save.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

void io_wake(const struct ckpt *ctx)
{
    uint64_t one = 1;

    /* It only fails when it is readable already, which is all we want. */
    if (write(ctx->wake_fd, &one, sizeof one) < 0)
        return;
}

void outbox_add(struct ckpt *ctx, struct wr *frames)
{
    if (ctx->link != LINK_UP) {
        wr_free(frames);
        return;
    }
    if (frames->failed) {
        /* Nothing may be left out in silence: the link breaks over it. */
        wr_free(frames);
        ctx->outbox.failed = true;
    } else if (ctx->outbox.bytes == 0 && !ctx->outbox.failed) {
        wr_free(&ctx->outbox);
        ctx->outbox = *frames;
        *frames = (struct wr){0};
    } else {
        wr_bytes(&ctx->outbox, frames->data, frames->bytes);
        wr_free(frames);
    }
    io_wake(ctx);
}

void outbox_frame(struct ckpt *ctx, struct wr *w, size_t begin)
{
    if (frame_end(w, begin))
        w->failed = true;
    outbox_add(ctx, w);
}

void request_init(struct ckpt *ctx, struct request *r, enum wire_type want)
{
    *r = (struct request){.want = want};
    sync_lock(ctx->sync);
    r->id = ++ctx->next_request;
    sync_unlock(ctx->sync);
}

size_t request_frame(struct request *r, enum wire_type type)
{
    return frame_begin(&r->frames, type, 0, r->id);
}

void request_post(struct ckpt *ctx, struct request *r)
{
    r->is_done = false;
    r->err = (struct err){0};
    list_append(&ctx->requests, &r->link);
    outbox_add(ctx, &r->frames);
}

void request_forget(struct request *r)
{
    list_remove(&r->link);
}

void request_fini(struct request *r)
{
    wr_free(&r->frames);
    free(r->payload);
    r->payload = NULL;
}

void link_retry(struct ckpt *ctx)
{
    ctx->link = LINK_DOWN;
    ctx->is_retry_wanted = true;
    io_wake(ctx);
}

/* The link is not up: have the I/O thread try again if it has given up. */
int link_wait(struct ckpt *ctx, struct err *err)
{
    uint64_t deadline = clock_ms() + RECONNECT_MS + GRACE_MS;

    if (ctx->link == LINK_DEAD)
        link_retry(ctx);
    while (ctx->link == LINK_DOWN && !ctx->is_closing)
        if (!sync_wait(ctx->sync, deadline))
            break;
    if (ctx->link == LINK_UP)
        return 0;
    return err_set(err, -ENOTCONN, "no daemon: %s",
                   ctx->link_error.code ? ctx->link_error.text
                                        : "still looking for one");
}

int request_run(struct ckpt *ctx, struct request *r, uint32_t timeout_ms,
                struct err *err)
{
    uint64_t deadline = clock_ms() + timeout_ms;
    int rc;

    if (r->frames.failed)
        return err_set(err, -ENOMEM, "no memory for a request");
    sync_lock(ctx->sync);
    rc = link_wait(ctx, err);
    if (rc)
        goto unlock;
    request_post(ctx, r);
    while (!r->is_done && sync_wait(ctx->sync, deadline))
        continue;
    request_forget(r);
    if (!r->is_done)
        rc = err_set(err, -ETIMEDOUT, "the daemon has not answered in %u ms",
                     timeout_ms);
    else if (r->err.code)
        rc = err_set(err, r->err.code, "%s", r->err.text);
unlock:
    sync_unlock(ctx->sync);
    return rc;
}

int request_ask(struct ckpt *ctx, struct request *r, size_t begin,
                uint32_t timeout_ms, struct err *err)
{
    int rc = frame_end(&r->frames, begin);

    return rc ? err_set(err, rc, "a request: %s", err_text(rc))
              : request_run(ctx, r, timeout_ms, err);
}

/* Every request ends with these words. Lock held. */
static void fail_requests(struct ckpt *ctx, const struct err *err)
{
    struct list *node;

    while ((node = list_pop(&ctx->requests))) {
        struct request *r = container_of(node, struct request, link);

        r->err = *err;
        r->is_done = true;
        if (r->on_fail)
            r->on_fail(ctx, r, err);
    }
}

static void link_lost(struct ckpt *ctx, const struct err *why)
{
    struct err err;

    (void)err_set(&err, -ECONNRESET,
                  "the daemon was lost (%s); see %s/ckptd.log; the next call "
                  "goes on with another one",
                  why->text, ctx->place.local);
    conn_fini(&ctx->conn);
    wr_free(&ctx->sending);
    ctx->sent_bytes = 0;
    sync_lock(ctx->sync);
    ctx->link = LINK_DOWN;
    ctx->epoch++;
    wr_free(&ctx->outbox);
    arena_put(ctx->arena);
    ctx->arena = NULL;
    fail_requests(ctx, &err);
    saves_on_loss(ctx, &err);
    load_on_loss(ctx, &err);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    sync_unlock(ctx->sync);
}

/* The link is dead. Lock held. */
static void link_dead(struct ckpt *ctx, const struct err *why)
{
    ctx->link = LINK_DEAD;
    ctx->link_error = *why;
    saves_give_up(ctx, why);
}

/* Whoever leaves starts no other daemon in place of one that ends, as a daemon
 * does that the last one leaves. */
static bool is_left(struct ckpt *ctx)
{
    struct err err;
    bool is_leaving;

    sync_lock(ctx->sync);
    is_leaving = ctx->is_leaving;
    if (is_leaving) {
        (void)err_set(&err, -ECONNRESET,
                      "the daemon was lost while the context was closed");
        link_dead(ctx, &err);
        (void)pthread_cond_broadcast(&ctx->sync->changed);
    }
    sync_unlock(ctx->sync);
    return is_leaving;
}

/* Look for a daemon once more; the link is up or dead afterwards. */
static void link_again(struct ckpt *ctx)
{
    struct link_wish wish = {
        .is_rejoin = true,
        .patience = {clock_ms() +
                         min_u64(RECONNECT_MS, ctx->open.open_timeout_ms),
                     ctx->quit_fd},
    };
    struct link_result result = {0};
    struct err err = {0};
    pid_t child;
    int rc;

    if (is_left(ctx))
        return;
    sync_lock(ctx->sync);
    wish.arena_bytes = ctx->arena_wanted;
    child = ctx->child;
    sync_unlock(ctx->sync);
    rc = link_open(ctx, &wish, &child, &ctx->conn, &result, &err);
    sync_lock(ctx->sync);
    ctx->child = child;
    ctx->is_retry_wanted = false;
    if (rc == 0 && result.open.generation != ctx->generation)
        rc = err_set(&err, -ESTALE,
                     "the daemon is at generation %u, we belong to %u",
                     result.open.generation, ctx->generation);
    if (rc == 0) {
        ctx->link = LINK_UP;
        ctx->link_error = (struct err){0};
        ctx->arena = result.arena;
        ctx->daemon_pid = result.daemon_pid;
        ctx->is_service = result.hello.is_service;
        ctx->features = result.hello.features;
        saves_watch(ctx);
    } else {
        arena_put(result.arena);
        conn_fini(&ctx->conn);
        link_dead(ctx, &err);
    }
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    sync_unlock(ctx->sync);
}

/* Take the outbox over when the last block is written; write. */
static int write_some(struct ckpt *ctx)
{
    int64_t n;

    if (ctx->sent_bytes == ctx->sending.bytes) {
        wr_free(&ctx->sending);
        ctx->sent_bytes = 0;
        sync_lock(ctx->sync);
        ctx->sending = ctx->outbox;
        ctx->outbox = (struct wr){0};
        sync_unlock(ctx->sync);
    }
    if (ctx->sending.failed)
        return -ENOMEM;
    if (ctx->sending.bytes == ctx->sent_bytes)
        return 0;
    n = conn_write(&ctx->conn, ctx->sending.data + ctx->sent_bytes,
                   ctx->sending.bytes - ctx->sent_bytes, -1);
    if (n < 0)
        return (int)n;
    ctx->sent_bytes += (size_t)n;
    return 0;
}

/* Everything that is there, unless deliveries pile up: what is then left in
 * the conn is taken when a copy thread has made room and wakes us. */
static int read_some(struct ckpt *ctx, struct err *err)
{
    struct frame f;
    int rc;

    do {
        while ((rc = conn_next(&ctx->conn, &f)) > 0) {
            rc = dispatch(ctx, &f, err);
            if (rc)
                return rc;
            if (load_is_piled_up(ctx))
                return 0;
        }
        if (rc == 0)
            rc = conn_read(&ctx->conn);
    } while (rc > 0);
    if (rc < 0)
        return err_set(err, rc, "%s", err_text(rc));
    return 0;
}

/* How long to sleep at most: until fates are to be asked for again. */
static int nap_ms(struct ckpt *ctx)
{
    uint64_t now = clock_ms();
    int nap = -1;

    sync_lock(ctx->sync);
    if (ctx->watch_at_ms && ctx->watch_at_ms <= now)
        saves_watch(ctx);
    else if (ctx->watch_at_ms)
        nap = (int)(ctx->watch_at_ms - now);
    sync_unlock(ctx->sync);
    return nap;
}

/* One round while the link is up. Negative with words: it is lost. */
static int io_round(struct ckpt *ctx, struct err *err)
{
    struct pollfd fds[3] = {{ctx->conn.fd, 0, 0},
                            {ctx->wake_fd, POLLIN, 0},
                            {ctx->quit_fd, POLLIN, 0}};
    bool is_piled = load_is_piled_up(ctx);
    uint64_t count;
    int rc;

    fds[0].events =
        (short)((is_piled ? 0 : POLLIN) |
                (ctx->sent_bytes < ctx->sending.bytes ? POLLOUT : 0));
    if (poll(fds, 3, nap_ms(ctx)) < 0 && errno != EINTR)
        return err_set(err, -errno, "poll: %s", err_text(errno));
    if (fds[1].revents & POLLIN &&
        read(ctx->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return err_set(err, -errno, "eventfd: %s", err_text(errno));
    /* Anew: what piled up before may be gone, and then nothing else tells of
     * the frames that were left in the conn. */
    if (!load_is_piled_up(ctx)) {
        rc = read_some(ctx, err);
        if (rc)
            return rc;
    }
    rc = write_some(ctx);
    if (rc)
        return err_set(err, rc, "%s", err_text(rc));
    return 0;
}

/* The link is dead: sleep until somebody wants it again. */
static void io_sleep(struct ckpt *ctx)
{
    struct pollfd fds[2] = {{ctx->wake_fd, POLLIN, 0},
                            {ctx->quit_fd, POLLIN, 0}};
    uint64_t count;
    bool is_wanted;

    if (poll(fds, 2, -1) > 0 && fds[0].revents & POLLIN &&
        read(ctx->wake_fd, &count, sizeof count) < 0)
        return;
    sync_lock(ctx->sync);
    is_wanted = ctx->is_retry_wanted;
    sync_unlock(ctx->sync);
    if (is_wanted)
        link_again(ctx);
}

static bool is_quitting(struct ckpt *ctx, enum link_state *link)
{
    bool is_closing;

    sync_lock(ctx->sync);
    is_closing = ctx->is_closing;
    *link = ctx->link;
    sync_unlock(ctx->sync);
    return is_closing;
}

void *io_main(void *arg)
{
    struct ckpt *ctx = arg;
    enum link_state link;

    while (!is_quitting(ctx, &link)) {
        struct err err = {0};

        if (link != LINK_UP) {
            io_sleep(ctx);
        } else if (io_round(ctx, &err)) {
            link_lost(ctx, &err);
            link_again(ctx);
        }
    }
    return NULL;
}
