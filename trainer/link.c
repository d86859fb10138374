/*
 * link.c - join the run over a new connection; see io.h.
 *
 * HELLO carries a pidfd of this process: the daemon sees our death by it, even
 * while a forked child keeps the socket open. Where pidfd_open() is refused
 * the daemon has only the socket's end to go by. A daemon that ends between
 * connect and HELLO (its linger ran out) is simply looked for again, and one
 * that has all the connections it takes asked again. Where the connection is
 * lost over OPEN, we may have joined or not: OPEN is then said as by one who
 * comes back.
 */
#include "trainer/arena.h"
#include "trainer/io.h"

#include <errno.h>
#include <sys/pidfd.h>
#include <unistd.h>

/* End and send the one frame that w holds, and free it; receive its reply,
 * which lives in the conn. */
static int call(struct conn *c, struct wr *w, int pass_fd,
                const struct patience *p, struct frame *reply, struct err *err)
{
    enum wire_type sent;
    struct wire_error refusal;
    int rc = frame_end(w, 0);

    if (rc) {
        wr_free(w);
        return err_set(err, rc, "no memory");
    }
    sent = (enum wire_type)get_u16(w->data + 4);
    rc = conn_send_all(c, w, pass_fd, p);
    wr_free(w);
    if (rc == 0 || rc == -EPIPE || rc == -ECONNRESET) { /* its last words */
        int received = conn_recv(c, p, reply);

        rc = rc && received ? rc : received;
    }
    if (rc == -ETIMEDOUT)
        return err_set(err, rc, "the daemon did not answer %s in time",
                       sent == WIRE_OPEN ? "OPEN" : "in the handshake");
    if (rc)
        return err_set(err, rc, "the daemon hung up in the handshake: %s",
                       err_text(rc));
    if (reply->header.type == WIRE_ERROR) {
        if (wire_error_decode(reply->payload, reply->header.length, &refusal))
            return err_set(err, -EBADMSG, "the daemon's refusal is damaged");
        return err_set(err, refusal.code, "%s", refusal.text);
    }
    if (reply->header.type != (uint16_t)sent + 1)
        return err_set(err, -EBADMSG, "the daemon answered %d by %u", (int)sent,
                       reply->header.type);
    return 0;
}

static int say_hello(struct conn *c, const struct patience *p,
                     struct wire_hello_ok *out, struct err *err)
{
    const struct wire_hello hello = {WIRE_MAGIC, WIRE_VERSION_LOW,
                                     WIRE_VERSION_HIGH,
                                     WIRE_FEATURE_TRUST | WIRE_FEATURE_REMOTE};
    struct wr w = {0};
    struct frame reply = {0};
    int self, rc;

    (void)frame_begin(&w, WIRE_HELLO, 0, 1);
    wire_hello_encode(&hello, &w);
    self = pidfd_open(getpid(), 0);
    rc = call(c, &w, self, p, &reply, err);
    if (self >= 0)
        (void)close(self);
    if (rc)
        return rc;
    if (wire_hello_ok_decode(reply.payload, reply.header.length, out))
        return err_set(err, -EBADMSG, "the daemon's greeting is damaged");
    if (out->version < WIRE_VERSION_LOW || out->version > WIRE_VERSION_HIGH)
        return err_set(err, -CKPT_EVERSION,
                       "the daemon speaks version %u, this library %u to %u",
                       out->version, WIRE_VERSION_LOW, WIRE_VERSION_HIGH);
    return 0;
}

static int join(struct conn *c, const struct wire_open *open,
                const struct patience *p, struct wire_open_ok *out,
                struct err *err)
{
    struct wr w = {0};
    struct frame reply = {0};
    int rc;

    (void)frame_begin(&w, WIRE_OPEN, 0, 2);
    wire_open_encode(open, &w);
    rc = call(c, &w, -1, p, &reply, err);
    if (rc)
        return rc;
    if (wire_open_ok_decode(reply.payload, reply.header.length, out))
        return err_set(err, -EBADMSG, "the daemon's answer is damaged");
    return 0;
}

static int ask_arena(struct conn *c, uint64_t bytes, const struct patience *p,
                     struct arena **out, struct err *err)
{
    const struct wire_arena wanted = {bytes};
    struct wr w = {0};
    struct frame reply = {0};
    int rc;

    (void)frame_begin(&w, WIRE_ARENA, 0, 3);
    wire_arena_encode(&wanted, &w);
    rc = call(c, &w, -1, p, &reply, err);
    return rc ? rc : arena_map(&reply, c, true, out, err);
}

static int handshake(const struct ckpt *ctx, const struct link_wish *wish,
                     struct conn *c, struct link_result *out, struct err *err)
{
    const struct patience *p = &wish->patience;
    struct wire_open open = ctx->open;
    struct patience more = *p;
    int rc = daemon_peer(c->fd, &out->daemon_pid);

    if (rc)
        return err_set(err, rc, "the daemon is unknown: %s", err_text(rc));
    open.rejoin = wish->is_rejoin || out->has_said_open;
    /* The daemon's own deadline comes first: it knows whom it waits for. */
    more.deadline_ms += GRACE_MS;
    rc = say_hello(c, p, &out->hello, err);
    if (rc == 0) {
        if ((open.remote_every || open.local_last) &&
            !(out->hello.features & WIRE_FEATURE_REMOTE))
            return err_set(
                err, -EOPNOTSUPP,
                "a remote tier is wanted, and this daemon is too old "
                "to know of one: start a newer one");
        out->has_said_open = true;
        rc = join(c, &open, &more, &out->open, err);
    }
    if (rc == 0 && wish->arena_bytes)
        rc = ask_arena(c, wish->arena_bytes, &more, &out->arena, err);
    return rc;
}

int link_open(struct ckpt *ctx, const struct link_wish *wish, pid_t *child,
              struct conn *conn, struct link_result *result, struct err *err)
{
    *result = (struct link_result){0};
    for (;;) {
        struct err pause;
        int rc = daemon_connect(&ctx->place, &wish->patience, child, err);

        if (rc < 0)
            return rc;
        *result = (struct link_result){.has_said_open = result->has_said_open};
        rc = conn_init(conn, rc);
        if (rc)
            (void)err_set(err, rc, "the socket: %s", err_text(rc));
        else
            rc = handshake(ctx, wish, conn, result, err);
        if (rc == 0)
            return 0;
        conn_fini(conn);
        if (rc != -ECONNRESET && rc != -EPIPE && rc != -EUSERS)
            return rc;
        pause = *err;
        rc = patience_sleep(&wish->patience, 20);
        if (rc) {
            *err = pause;
            return rc;
        }
    }
}
