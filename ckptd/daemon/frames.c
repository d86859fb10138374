/*
 * frames.c - frames in and out of one peer's socket.
 *
 * Reading stops after READ_BUDGET bytes per turn so that one rank cannot keep
 * the loop for itself. Sending tries at once and queues the rest.
 *
 * A frame that has begun must be whole within FRAME_NS, the first one of a
 * connection within FIRST_NS of it: what comes a byte at a time, or never, must
 * not hold memory and a place for ever.
 *
 * Ends. A peer that breaks the protocol or is hung up on gets what was queued
 * for it, within HANG_UP_NS; nothing more is read of it. One that lets its
 * queue overflow is cut off at once. Either way the socket is shut down, so
 * that the loop sees its end even when nothing can be read or written.
 */
#include "ckptd/daemon/peers.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define OUT_BYTES_MAX ((size_t)64 << 20)
#define READ_STEP     ((size_t)64 << 10)
#define READ_BUDGET   ((size_t)4 << 20)
#define HANG_UP_NS    ((uint64_t)10 * 1000 * 1000 * 1000)
#define FIRST_NS      ((uint64_t)10 * 1000 * 1000 * 1000)
#define FRAME_NS      ((uint64_t)60 * 1000 * 1000 * 1000)

/* One recvmsg into `to`; descriptors are taken. Bytes, 0 for "no more now",
 * or negative for the end. */
static ssize_t receive(struct peer *p, void *to, size_t bytes)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct iovec iov = {to, bytes};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t n;

    do
        n = recvmsg(p->socket.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    peer_take_descriptors(p, &msg);
    return n == 0 ? -ECONNRESET : n;
}

static int in_grow(struct peer *p)
{
    size_t room = min_u64(p->frame.length, p->in_bytes + READ_STEP);
    uint8_t *grown;

    if (room <= p->in_capacity)
        return 0;
    room = min_u64(p->frame.length, max_u64(room, p->in_capacity * 2));
    grown = realloc(p->in, room);
    if (!grown)
        return -ENOMEM;
    p->in = grown;
    p->in_capacity = room;
    return 0;
}

/* Says why, and hangs up. */
static void breach(struct peer *p, int code, const char *text)
{
    struct wire_error v = {.code = code};
    struct wire_header h = {.type = WIRE_ERROR};
    struct wr w = {0};

    (void)snprintf(v.text, sizeof v.text, "%s", text);
    wire_error_encode(&v, &w);
    if (!w.failed) {
        h.length = (uint32_t)w.bytes;
        peers_send(&p->reactor->env, p->number, &h, w.data, NULL);
    }
    wr_free(&w);
    peers_hang_up(&p->reactor->env, p->number);
}

static void too_slow(struct env_timer *timer)
{
    struct peer *p = container_of(timer, struct peer, patience);

    log_line(LOG_LEVEL_WARN, "peers",
             "pid %d: a frame was not whole in time (%zu of %zu bytes); cut "
             "off",
             p->pid_number, p->header_bytes + p->in_bytes,
             p->header_bytes < WIRE_HEADER_BYTES
                 ? (size_t)WIRE_HEADER_BYTES
                 : WIRE_HEADER_BYTES + (size_t)p->frame.length);
    breach(p, -ETIMEDOUT, "a frame was not whole in time");
}

static void await_frame(struct peer *p, uint64_t ns)
{
    struct env *env = &p->reactor->env;

    p->patience.fire = too_slow;
    reactor_timer_set(env, &p->patience, reactor_now_ns(env) + ns);
}

void peer_await(struct peer *p)
{
    await_frame(p, FIRST_NS);
}

static void frame_is_whole(struct peer *p)
{
    uint8_t *payload = p->in;

    p->is_greeted = true;
    reactor_timer_stop(&p->reactor->env, &p->patience);
    p->in = NULL;
    p->in_bytes = p->in_capacity = p->header_bytes = 0;
    engine_frame(p->reactor->engine, p->number, &p->frame, payload);
    free(payload);
}

/* One step; bytes read, 0 for "no more now", negative for the end. */
static ssize_t receive_step(struct peer *p)
{
    ssize_t n;

    if (p->header_bytes < WIRE_HEADER_BYTES) {
        n = receive(p, p->header + p->header_bytes,
                    WIRE_HEADER_BYTES - p->header_bytes);
        if (n <= 0)
            return n;
        if (p->header_bytes == 0 && p->is_greeted)
            await_frame(p, FRAME_NS);
        p->header_bytes += (size_t)n;
        if (p->header_bytes < WIRE_HEADER_BYTES)
            return n;
        if (wire_header_decode(p->header, &p->frame)) {
            breach(p, -EBADMSG, "this is not a frame of ckptd's protocol");
            return n;
        }
    } else {
        if (in_grow(p))
            return -ENOMEM;
        n = receive(p, p->in + p->in_bytes, p->in_capacity - p->in_bytes);
        if (n <= 0)
            return n;
        p->in_bytes += (size_t)n;
    }
    if (p->in_bytes == p->frame.length)
        frame_is_whole(p);
    return n;
}

int peer_receive(struct peer *p)
{
    size_t budget = READ_BUDGET;

    while (!p->is_hanging_up && !p->is_broken) {
        ssize_t n = receive_step(p);

        if (n <= 0)
            return (int)n;
        if ((size_t)n >= budget)
            return 1;
        budget -= (size_t)n;
    }
    return p->is_broken ? -ECONNRESET : 0;
}

void out_frame_free(struct out_frame *f)
{
    for (int i = 0; i < f->fd_count; i++)
        close(f->fd[i]);
    free(f);
}

/* The frame's own: the arena may go before the frame is out. */
static int take_descriptors(struct out_frame *f, const struct env_arena *arena)
{
    for (uint32_t i = 0; arena && i < arena->shape.piece_count; i++) {
        int fd = fcntl(arena->fd[i], F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
            return -errno;
        f->fd[f->fd_count++] = fd;
    }
    return 0;
}

static ssize_t send_some(struct peer *p, struct out_frame *f)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * WIRE_PIECES_MAX)];
    } control = {0};
    struct iovec iov = {f->data + f->sent, f->bytes - f->sent};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (f->sent == 0 && f->fd_count) {
        struct cmsghdr *c = &control.align;

        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)f->fd_count);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)f->fd_count);
        memcpy(CMSG_DATA(c), f->fd, sizeof(int) * (size_t)f->fd_count);
    }
    do
        n = sendmsg(p->socket.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int peer_flush(struct peer *p)
{
    while (!list_is_empty(&p->out)) {
        struct out_frame *f = container_of(p->out.next, struct out_frame, link);
        ssize_t n = send_some(p, f);

        if (n == -EAGAIN)
            return reactor_rewatch(p->reactor, &p->socket,
                                   p->is_hanging_up ? EPOLLOUT
                                                    : EPOLLIN | EPOLLOUT);
        if (n < 0)
            return (int)n;
        f->sent += (size_t)n;
        p->out_bytes -= (size_t)n;
        if (f->sent < f->bytes)
            continue;
        list_remove(&f->link);
        p->out_bytes -= sizeof *f;
        out_frame_free(f);
    }
    if (p->is_hanging_up)
        return -ECONNRESET;
    return reactor_rewatch(p->reactor, &p->socket, EPOLLIN);
}

static struct peer *peer_find(struct env *env, env_peer number)
{
    LIST_FOR_EACH (node, &reactor_of(env)->peers) {
        struct peer *p = container_of(node, struct peer, link);

        if (p->number == number)
            return p;
    }
    return NULL;
}

/* The engine is never called from inside its own send: the loop notices that
 * the socket was shut down. What had been sent before still arrives. */
static void break_later(struct peer *p)
{
    p->is_broken = true;
    (void)shutdown(p->socket.fd, SHUT_RDWR); /* -ENOTCONN: it is over anyway */
    if (reactor_rewatch(p->reactor, &p->socket, EPOLLIN | EPOLLOUT))
        log_line(LOG_LEVEL_ERROR, "peers", "epoll refuses a known socket");
}

void peers_send(struct env *env, env_peer peer, const struct wire_header *h,
                const void *payload, const struct env_arena *arena)
{
    struct peer *p = peer_find(env, peer);
    struct out_frame *f;

    if (!p || p->is_hanging_up || p->is_broken)
        return;
    if (p->out_bytes + h->length + sizeof *f > OUT_BYTES_MAX) {
        log_line(LOG_LEVEL_WARN, "peers",
                 "pid %d does not read its messages; cut off", p->pid_number);
        break_later(p);
        return;
    }
    f = calloc(1, sizeof *f + WIRE_HEADER_BYTES + h->length);
    if (!f) {
        break_later(p);
        return;
    }
    wire_header_encode(h, f->data);
    if (h->length)
        memcpy(f->data + WIRE_HEADER_BYTES, payload, h->length);
    f->bytes = WIRE_HEADER_BYTES + h->length;
    if (take_descriptors(f, arena)) {
        out_frame_free(f);
        break_later(p);
        return;
    }
    list_append(&p->out, &f->link);
    p->out_bytes += f->bytes + sizeof *f; /* many small ones count as well */
    if (peer_flush(p) < 0)
        break_later(p);
}

static void out_of_patience(struct env_timer *timer)
{
    struct peer *p = container_of(timer, struct peer, patience);

    log_line(LOG_LEVEL_WARN, "peers",
             "pid %d does not read its last messages; cut off", p->pid_number);
    break_later(p);
}

void peers_hang_up(struct env *env, env_peer peer)
{
    struct peer *p = peer_find(env, peer);

    if (!p || p->is_hanging_up || p->is_broken)
        return;
    p->is_hanging_up = true;
    p->patience.fire = out_of_patience;
    reactor_timer_set(env, &p->patience, reactor_now_ns(env) + HANG_UP_NS);
    if (peer_flush(p) < 0)
        break_later(p);
}
