/*
 * dispatch.c - one received frame to the one it is for; see io.h.
 *
 * Replies go to the request of their id; what the daemon sends unasked (id 0)
 * goes to saves and the load. A frame that does not decode, or that nobody can
 * have sent in good faith, breaks the link; a reply to a request that gave up
 * is dropped.
 */
#include "trainer/io.h"
#include "trainer/load.h"
#include "trainer/save.h"

#include <errno.h>
#include <stdlib.h>

static int damaged(const struct frame *f, struct err *err)
{
    return err_set(err, -EBADMSG, "a frame of type %u is damaged",
                   f->header.type);
}

static struct request *find_request(struct ckpt *ctx, uint64_t id)
{
    LIST_FOR_EACH (node, &ctx->requests) {
        struct request *r = container_of(node, struct request, link);

        if (r->id == id)
            return r;
    }
    return NULL;
}

/* The daemon refused it. */
static int refuse(struct ckpt *ctx, struct request *r, const struct frame *f,
                  struct err *err)
{
    struct wire_error v;

    if (wire_error_decode(f->payload, f->header.length, &v))
        return damaged(f, err);
    (void)err_set(&r->err, v.code, "%s", v.text[0] ? v.text : err_text(v.code));
    r->is_done = true;
    if (r->on_fail)
        r->on_fail(ctx, r, &r->err);
    return 0;
}

static int keep_payload(struct request *r, const struct frame *f,
                        struct err *err)
{
    r->payload = malloc(f->header.length ? f->header.length : 1);
    if (!r->payload)
        return err_set(err, -ENOMEM, "no memory for a reply");
    memcpy(r->payload, f->payload, f->header.length);
    r->bytes = f->header.length;
    return 0;
}

static int on_reply(struct ckpt *ctx, const struct frame *f, struct err *err)
{
    struct request *r = find_request(ctx, f->header.id);
    int rc;

    if (!r && f->header.type == WIRE_SAVE_OK)
        return save_on_late_ok(ctx, f, err);
    if (!r)
        return 0;
    request_forget(r);
    if (f->header.type == WIRE_ERROR)
        return refuse(ctx, r, f, err);
    if (f->header.type != r->want)
        return err_set(err, -EBADMSG, "a reply of type %u, %d was due",
                       f->header.type, (int)r->want);
    /* From here on only a failed on_reply leaves r for certain. */
    r->is_done = true;
    rc = r->on_reply ? r->on_reply(ctx, r, f, err) : keep_payload(r, f, err);
    if (rc) {
        r->err = *err;
        /* Our own lack of memory or a refused arena is the request's. */
        rc = rc == -EBADMSG ? rc : 0;
    }
    return rc;
}

static int on_hang_up(const struct frame *f, struct err *err)
{
    struct wire_error v;

    if (wire_error_decode(f->payload, f->header.length, &v))
        return damaged(f, err);
    return err_set(err, v.code, "it said: %s", v.text);
}

static int on_slots(struct ckpt *ctx, const struct frame *f, struct err *err)
{
    struct wire_slots v;

    if (wire_slots_decode(f->payload, f->header.length, &v))
        return damaged(f, err);
    return save_on_slots(ctx, &v, err);
}

static int on_state(struct ckpt *ctx, const struct frame *f, struct err *err)
{
    struct wire_state v;

    if (wire_state_decode(f->payload, f->header.length, &v))
        return damaged(f, err);
    (void)save_on_state(ctx, &v);
    return 0;
}

static int on_load(struct ckpt *ctx, const struct frame *f, struct err *err)
{
    const void *data = f->payload;
    size_t bytes = f->header.length;
    struct wire_load_begin begin;
    struct wire_deliver deliver;
    struct wire_delivered delivered;
    struct wire_load_done done;

    if (f->header.type == WIRE_LOAD_BEGIN)
        return wire_load_begin_decode(data, bytes, &begin)
                   ? damaged(f, err)
                   : load_on_begin(ctx, &begin, err);
    if (f->header.type == WIRE_DELIVER)
        return wire_deliver_decode(data, bytes, &deliver)
                   ? damaged(f, err)
                   : load_on_deliver(ctx, &deliver, err);
    if (f->header.type == WIRE_DELIVERED) {
        if (wire_delivered_decode(data, bytes, &delivered))
            return damaged(f, err);
        load_on_delivered(ctx, &delivered);
        return 0;
    }
    if (wire_load_done_decode(data, bytes, &done))
        return damaged(f, err);
    load_on_done(ctx, &done);
    return 0;
}

static int on_event(struct ckpt *ctx, const struct frame *f, struct err *err)
{
    switch (f->header.type) {
    case WIRE_ERROR:
        return on_hang_up(f, err);
    case WIRE_SLOTS:
        return on_slots(ctx, f, err);
    case WIRE_STATE:
        return on_state(ctx, f, err);
    case WIRE_LOAD_BEGIN:
    case WIRE_DELIVER:
    case WIRE_DELIVERED:
    case WIRE_LOAD_DONE:
        return on_load(ctx, f, err);
    default:
        return err_set(err, -EBADMSG, "a frame of type %u came unasked",
                       f->header.type);
    }
}

int dispatch(struct ckpt *ctx, const struct frame *f, struct err *err)
{
    int rc;

    sync_lock(ctx->sync);
    rc = f->header.id ? on_reply(ctx, f, err) : on_event(ctx, f, err);
    if (f->header.id)
        (void)pthread_cond_broadcast(&ctx->sync->changed);
    sync_unlock(ctx->sync);
    return rc;
}
