/*
 * io.h - requests to the daemon, and the thread that carries them.
 */
#ifndef TRAINER_IO_H
#define TRAINER_IO_H

#include "trainer/context.h"

/*
 * One request and its reply. The caller fills `frames` with whole frames that
 * carry `id`, and runs it. on_reply, if there is one, is called by the I/O
 * thread with the lock held before any later frame is looked at, so that what
 * it registers is there when the daemon's next message names it; otherwise the
 * payload is copied. on_reply may also be set without anybody waiting
 * (request_post); then on_fail tells of an error or of the link's loss, and
 * `object` must live until one of the two was called or request_forget().
 */
struct request {
    struct list link; /* lock; context.requests */
    uint64_t id;
    enum wire_type want;
    struct wr frames;
    int (*on_reply)(struct ckpt *ctx, struct request *r, const struct frame *f,
                    struct err *err);
    void (*on_fail)(struct ckpt *ctx, struct request *r, const struct err *err);
    void *object;
    bool is_done;     /* lock */
    struct err err;   /* lock; code 0: answered */
    uint8_t *payload; /* malloc'd copy; request_fini() */
    size_t bytes;
};

void request_init(struct ckpt *ctx, struct request *r, enum wire_type want);
/* Begin the request's one frame. */
size_t request_frame(struct request *r, enum wire_type type);
/* Waits for the link, sends, waits for the reply at most timeout_ms. 0, the
 * code of the daemon's error, -ETIMEDOUT, -ENOTCONN, -ECONNRESET. */
int request_run(struct ckpt *ctx, struct request *r, uint32_t timeout_ms,
                struct err *err) MUST_USE;
/* End the request's last frame, begun at `begin`, and run it. */
int request_ask(struct ckpt *ctx, struct request *r, size_t begin,
                uint32_t timeout_ms, struct err *err) MUST_USE;
/* Lock held, link up: send and return. */
void request_post(struct ckpt *ctx, struct request *r);
void request_forget(struct request *r);
void request_fini(struct request *r);

/* Lock held: the link is dead, have the I/O thread try again. */
void link_retry(struct ckpt *ctx);
/* Make the I/O thread look at the outbox and the socket again. */
void io_wake(const struct ckpt *ctx);

/* The I/O thread's main function; arg is the context. Ends when
 * is_closing is set and quit_fd readable. */
void *io_main(void *arg);

/* dispatch.c: one received frame. Negative with words: the link is broken. */
int dispatch(struct ckpt *ctx, const struct frame *f, struct err *err) MUST_USE;

/* link.c: connect, HELLO, OPEN and, if one is wanted, ARENA. On success
 * *conn is ready and *result is filled; the caller of the first one keeps it
 * all. Called without the lock. */
struct link_result {
    struct wire_hello_ok hello;
    struct wire_open_ok open;
    struct arena *arena; /* NULL when none was asked for */
    pid_t daemon_pid;
    bool has_said_open; /* in this call: we may have joined */
};

struct link_wish {
    bool is_rejoin;
    uint64_t arena_bytes; /* 0: no arena yet */
    struct patience patience;
};

int link_open(struct ckpt *ctx, const struct link_wish *wish, pid_t *child,
              struct conn *conn, struct link_result *result,
              struct err *err) MUST_USE;

#endif
