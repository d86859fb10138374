/*
 * save_remote.c - waiting until a committed save is REMOTE.
 *
 * The daemon answers AWAIT when it is, or after some seconds by COMMITTED:
 * whoever still waits asks again, so that a wait that was given up ends by
 * itself. What is lost with a link is asked of the next daemon. See save.h.
 */
#include "trainer/save.h"

#include <errno.h>

static int on_reply(struct ckpt *ctx, struct request *r, const struct frame *f,
                    struct err *err)
{
    struct ckpt_save *save = r->object;
    struct wire_state v;

    (void)ctx;
    if (wire_state_decode(f->payload, f->header.length, &v) ||
        (v.state != WIRE_STATE_COMMITTED && v.state != WIRE_STATE_REMOTE))
        return err_set(err, -EBADMSG, "a STATE is damaged");
    save->state = v.state;
    return 0;
}

/* On a link that broke it is asked again. */
static void on_fail(struct ckpt *ctx, struct request *r, const struct err *why)
{
    struct ckpt_save *save = r->object;

    if (ctx->link != LINK_UP)
        return;
    save->remote_error = *why;
    save_prefix(save, &save->remote_error);
}

/* Lock held, link up. */
static int ask(struct ckpt *ctx, struct ckpt_save *save, struct err *err)
{
    const struct wire_await v = {save->id};
    struct request *r = &save->remote;
    size_t begin;

    if (!(ctx->features & WIRE_FEATURE_REMOTE))
        return err_set(err, -ENOTSUP,
                       "this daemon is too old to know of a remote tier");
    request_fini(r);
    *r = (struct request){.id = ++ctx->next_request,
                          .want = WIRE_STATE,
                          .on_reply = on_reply,
                          .on_fail = on_fail,
                          .object = save};
    begin = request_frame(r, WIRE_AWAIT);
    wire_await_encode(&v, &r->frames);
    if (frame_end(&r->frames, begin))
        return err_set(err, -ENOMEM, "no memory to ask whether it is REMOTE");
    request_post(ctx, r);
    return 0;
}

/* One look: 0 to sleep and look again, 1: it is over. */
static int look(struct ckpt_save *save, bool *is_retried, struct err *err)
{
    struct ckpt *ctx = save->ctx;

    if (save->state >= WIRE_STATE_REMOTE || save->is_failed)
        return 1;
    if (save->state < WIRE_STATE_COMMITTED)
        return 0;
    if (!ctx) {
        (void)err_set(err, -ENOTCONN,
                      "the context was closed before it was REMOTE; look with "
                      "`ckpt ls`");
    } else if (save->remote_error.code) {
        *err = save->remote_error;
        return 1;
    } else if (ctx->link == LINK_DEAD && *is_retried) {
        (void)err_set(err, -ENOTCONN,
                      "whether it is REMOTE is unknown, as there is no daemon: "
                      "%s; look with `ckpt ls`",
                      ctx->link_error.text);
    } else if (ctx->link == LINK_DEAD) {
        *is_retried = true;
        link_retry(ctx);
    } else if (ctx->link == LINK_UP && !list_is_linked(&save->remote.link)) {
        (void)ask(ctx, save, err);
    }
    if (err->code)
        save_prefix(save, err);
    return err->code != 0;
}

int save_wait_remote(struct ckpt_save *save, uint64_t deadline_ms,
                     struct err *err)
{
    bool is_retried = false;

    save->remote_error = (struct err){0};
    while (!look(save, &is_retried, err))
        if (!sync_wait(save->sync, deadline_ms))
            break;
    return err->code;
}
