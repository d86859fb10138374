/*
 * conn.c - see conn.h.
 *
 * Bytes are collected in one buffer until a whole frame is there. The buffer
 * begins small, grows to what a frame's header announces (at most
 * WIRE_PAYLOAD_MAX, checked before it grows) and shrinks again after a big one.
 * Descriptors are queued as they come, at most one arena's worth; a peer that
 * sends more is out of order.
 */
#include "client/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_BYTES ((size_t)64 << 10)

uint64_t clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int patience_poll(const struct patience *p, int fd, short events)
{
    struct pollfd fds[2] = {{fd, events, 0}, {p->cancel_fd, POLLIN, 0}};

    for (;;) {
        uint64_t now = clock_ms();
        uint64_t left = p->deadline_ms > now ? p->deadline_ms - now : 0;
        int n = poll(fds, 2, (int)min_u64(left, 60000));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && fds[1].revents)
            return -ECANCELED;
        if (n > 0 && fds[0].revents)
            return 0;
        if (left == 0)
            return -ETIMEDOUT;
    }
}

int patience_sleep(const struct patience *p, uint32_t ms)
{
    uint64_t until = clock_ms() + ms;
    struct patience nap = *p;
    int rc;

    if (until < p->deadline_ms)
        nap.deadline_ms = until;
    rc = patience_poll(&nap, -1, 0);
    return rc == -ETIMEDOUT && nap.deadline_ms == until ? 0 : rc;
}

int conn_init(struct conn *c, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    *c = (struct conn){.fd = fd};
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

static void close_fds(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)close(fds[i]);
}

void conn_fini(struct conn *c)
{
    close_fds(c->fds, c->fd_count);
    if (c->fd >= 0)
        (void)close(c->fd);
    free(c->in);
    *c = (struct conn){.fd = -1};
}

/* Bytes that the buffer must hold for the frame at its head. */
static int wanted_bytes(const struct conn *c, size_t *wanted)
{
    struct wire_header h;

    *wanted = WIRE_HEADER_BYTES;
    if (c->in_bytes - c->in_at < WIRE_HEADER_BYTES)
        return 0;
    if (wire_header_decode(c->in + c->in_at, &h))
        return -EBADMSG;
    *wanted = WIRE_HEADER_BYTES + (size_t)h.length;
    return 0;
}

/* Move what is left to the front and make room for the frame under way. */
static int make_room(struct conn *c)
{
    size_t wanted, capacity;
    uint8_t *grown;
    int rc = wanted_bytes(c, &wanted);

    if (rc)
        return rc;
    if (c->in_at && c->in_bytes > c->in_at)
        memmove(c->in, c->in + c->in_at, c->in_bytes - c->in_at);
    c->in_bytes -= c->in_at;
    c->in_at = 0;
    capacity = max_u64(IN_BYTES, wanted);
    if (capacity < c->in_bytes)
        capacity = c->in_bytes;
    if (capacity == c->in_capacity)
        return 0;
    grown = realloc(c->in, capacity);
    if (!grown)
        return -ENOMEM;
    c->in = grown;
    c->in_capacity = capacity;
    return 0;
}

/* Queue the descriptors of one message; all are closed when one is too many. */
static int take_rights(struct conn *c, struct msghdr *m)
{
    int rc = m->msg_flags & MSG_CTRUNC ? -EMFILE : 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (c->fd_count < WIRE_PIECES_MAX) {
                c->fds[c->fd_count++] = fd;
                continue;
            }
            (void)close(fd);
            rc = -EBADMSG;
        }
    }
    return rc;
}

int conn_read(struct conn *c)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 253)]; /* SCM_MAX_FD */
        struct cmsghdr align;
    } control;
    struct iovec iov;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t n;
    int rc = make_room(c);

    if (rc)
        return rc;
    if (c->in_bytes == c->in_capacity)
        return 0; /* a whole frame waits to be taken */
    iov.iov_base = c->in + c->in_bytes;
    iov.iov_len = c->in_capacity - c->in_bytes;
    do
        n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    rc = take_rights(c, &m);
    if (rc)
        return rc;
    if (n == 0)
        return -ECONNRESET;
    c->in_bytes += (size_t)n;
    return (int)n;
}

int conn_next(struct conn *c, struct frame *out)
{
    size_t wanted;
    int rc = wanted_bytes(c, &wanted);

    if (rc)
        return rc;
    if (c->in_bytes - c->in_at < wanted)
        return 0;
    rc = wire_header_decode(c->in + c->in_at, &out->header);
    if (rc)
        return rc;
    out->payload = c->in + c->in_at + WIRE_HEADER_BYTES;
    c->in_at += wanted;
    return 1;
}

uint32_t conn_take_fds(struct conn *c, int fds[WIRE_PIECES_MAX])
{
    uint32_t count = c->fd_count;

    memcpy(fds, c->fds, count * sizeof fds[0]);
    c->fd_count = 0;
    return count;
}

int64_t conn_write(struct conn *c, const void *data, size_t bytes, int pass_fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {.iov_len = bytes};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    memcpy(&iov.iov_base, &data, sizeof data);
    if (pass_fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof pass_fd);
        memcpy(CMSG_DATA(&control.align), &pass_fd, sizeof pass_fd);
    }
    do
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    return n;
}

size_t frame_begin(struct wr *w, enum wire_type type, uint16_t flags,
                   uint64_t id)
{
    size_t begin = w->bytes;
    struct wire_header h = {0, (uint16_t)type, flags, id};
    uint8_t *room = wr_room(w, WIRE_HEADER_BYTES);

    if (room)
        wire_header_encode(&h, room);
    return begin;
}

int frame_end(struct wr *w, size_t begin)
{
    size_t bytes;

    if (w->failed)
        return -ENOMEM;
    bytes = w->bytes - begin - WIRE_HEADER_BYTES;
    if (bytes > WIRE_PAYLOAD_MAX) {
        w->bytes = begin;
        return -EMSGSIZE;
    }
    put_u32(w->data + begin, (uint32_t)bytes);
    return 0;
}

int conn_send_all(struct conn *c, const struct wr *bytes, int pass_fd,
                  const struct patience *p)
{
    size_t at = 0;

    if (bytes->failed)
        return -ENOMEM;
    while (at < bytes->bytes) {
        int64_t n = conn_write(c, bytes->data + at, bytes->bytes - at,
                               at == 0 ? pass_fd : -1);
        int rc;

        if (n < 0)
            return (int)n;
        at += (size_t)n;
        rc = n == 0 ? patience_poll(p, c->fd, POLLOUT) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

int conn_recv(struct conn *c, const struct patience *p, struct frame *out)
{
    for (;;) {
        int rc = conn_next(c, out);

        if (rc)
            return rc < 0 ? rc : 0;
        rc = conn_read(c);
        if (rc == 0)
            rc = patience_poll(p, c->fd, POLLIN);
        if (rc < 0)
            return rc;
    }
}
