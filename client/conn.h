/*
 * conn.h - one connection to a daemon: whole frames in, whole frames out.
 *
 * A conn belongs to one thread at a time. The socket is non-blocking; what
 * blocks says so and takes a struct patience. Nothing here knows what the
 * messages mean.
 */
#ifndef CLIENT_CONN_H
#define CLIENT_CONN_H

#include "common/bytes.h"
#include "common/err.h"
#include "formats/wire.h"

/* How long a blocking call may take. */
struct patience {
    uint64_t deadline_ms; /* clock_ms() at which it gives up: -ETIMEDOUT */
    int cancel_fd;        /* readable: -ECANCELED at once; -1 for none */
};

/* Milliseconds of the monotonic clock. */
uint64_t clock_ms(void);
/* Wait for `events` of fd (-1: only for time to pass). 0 when they are there;
 * -ETIMEDOUT, -ECANCELED, -errno. */
int patience_poll(const struct patience *p, int fd, short events) MUST_USE;
/* Let `ms` pass, or less when p says so: 0, -ETIMEDOUT or -ECANCELED. */
int patience_sleep(const struct patience *p, uint32_t ms) MUST_USE;

struct conn {
    int fd;      /* -1: closed */
    uint8_t *in; /* received and not yet taken: [in_at, in_bytes) */
    size_t in_at, in_bytes, in_capacity;
    int fds[WIRE_PIECES_MAX]; /* received with SCM_RIGHTS, not yet taken */
    uint32_t fd_count;
};

/* A received frame; the payload is in the conn and lives until the next
 * conn_read() or conn_fini(). */
struct frame {
    struct wire_header header;
    const uint8_t *payload;
};

/* Takes over fd and makes it non-blocking. */
int conn_init(struct conn *c, int fd) MUST_USE;
/* Closes the socket and every descriptor that nobody took. */
void conn_fini(struct conn *c);

/* Read what there is: the number of bytes, 0 when there is nothing now,
 * -ECONNRESET at the end of the stream, -EBADMSG, -EMFILE (descriptors that
 * did not fit into this process), -ENOMEM, -errno. */
int conn_read(struct conn *c) MUST_USE;
/* The next whole frame: 1, 0 when it is not all there, -EBADMSG. */
int conn_next(struct conn *c, struct frame *out) MUST_USE;
/* The descriptors received so far are the caller's; returns how many. */
uint32_t conn_take_fds(struct conn *c, int fds[WIRE_PIECES_MAX]);

/* Write what fits: the number of bytes, 0 when nothing fits, -errno. pass_fd
 * (-1: none) travels with the first byte. */
int64_t conn_write(struct conn *c, const void *data, size_t bytes,
                   int pass_fd) MUST_USE;

/* Append a frame to w: begin, encode the payload, end. frame_end() returns
 * -EMSGSIZE (the frame is taken back) or -ENOMEM. */
size_t frame_begin(struct wr *w, enum wire_type type, uint16_t flags,
                   uint64_t id);
int frame_end(struct wr *w, size_t begin) MUST_USE;

/* Blocking: send all of `bytes`; receive one frame. */
int conn_send_all(struct conn *c, const struct wr *bytes, int pass_fd,
                  const struct patience *p) MUST_USE;
int conn_recv(struct conn *c, const struct patience *p,
              struct frame *out) MUST_USE;

#endif
