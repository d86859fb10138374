/*
 * load.c - run a load; see load.h.
 *
 * The I/O thread queues what is delivered, copy threads and the caller scatter
 * it, slots go back in small batches. When all of an attempt has been scattered
 * and counted, this rank votes; the daemon answers with the outcome of all
 * ranks or begins again with an older checkpoint. Then what is queued is given
 * back, and nothing new is scattered before what is being scattered has ended:
 * no older byte is to land on a newer one. Without progress for the
 * load's time-out the caller is told what it waits for; what is delivered to
 * nobody is given straight back.
 */
#include "trainer/load.h"
#include "trainer/arena.h"
#include "trainer/prepare.h"
#include "trainer/save.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define QUEUED_BYTES_MAX ((size_t)4 << 20)
#define CONSUMED_BATCH   4

bool load_is_piled_up(struct ckpt *ctx)
{
    bool is_piled;

    sync_lock(ctx->sync);
    is_piled = ctx->load && ctx->load->queued_bytes > QUEUED_BYTES_MAX;
    sync_unlock(ctx->sync);
    return is_piled;
}

static void give_back(struct ckpt *ctx, uint64_t owner, const void *slots,
                      size_t bytes)
{
    struct wire_slots v = {owner, (uint32_t)(bytes / 4), slots};
    struct wr w = {0};
    size_t begin = frame_begin(&w, WIRE_CONSUMED, 0, 0);

    wire_slots_encode(&v, &w);
    outbox_frame(ctx, &w, begin);
}

/* Another daemon may be there by now: it knows neither this load nor its
 * slots, and must not hear of them. */
static bool is_of_this_link(const struct ckpt *ctx, const struct load *load)
{
    return load->epoch == ctx->epoch;
}

static void flush_consumed(struct ckpt *ctx, struct load *load)
{
    struct wr broken = {.failed = true};

    if (!is_of_this_link(ctx, load)) {
        wr_free(&load->consumed);
        return;
    }
    if (load->consumed.failed)
        outbox_add(ctx, &broken);
    if (load->consumed.bytes)
        give_back(ctx, load->number, load->consumed.data, load->consumed.bytes);
    load->consumed.bytes = 0;
}

static void send_vote(struct ckpt *ctx, struct load *load)
{
    struct wire_load_vote v = {.load = load->number,
                               .attempt = load->attempt,
                               .code = load->failure.code};
    struct wr w = {0};
    size_t begin = frame_begin(&w, WIRE_LOAD_VOTE, 0, 0);

    memcpy(v.text, load->failure.text, sizeof v.text);
    wire_load_vote_encode(&v, &w);
    outbox_frame(ctx, &w, begin);
}

/* Once everything of the attempt is in place: count, then vote. */
static void settle(struct ckpt *ctx, struct load *load)
{
    if (!load->is_delivered || load->is_voted || load->busy ||
        !list_is_empty(&load->queue) || !is_of_this_link(ctx, load))
        return;
    load->is_voted = true;
    if (!load->failure.code && load->scattered_bytes != load->expected_bytes)
        (void)err_set(&load->failure, -CKPT_ECORRUPT,
                      "%" PRIu64 " bytes were delivered, %" PRIu64
                      " were announced",
                      load->scattered_bytes, load->expected_bytes);
    send_vote(ctx, load);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
}

/* What is queued goes back as it came. */
static void drop_queue(struct ckpt *ctx, struct load *load)
{
    struct list *node;

    while ((node = list_pop(&load->queue))) {
        struct delivery *d = container_of(node, struct delivery, link);

        load->queued_bytes -= d->ops_bytes;
        wr_u32(&load->consumed, d->slot);
        arena_put(d->arena);
        free(d);
    }
    flush_consumed(ctx, load);
}

/* What became of a delivery of this attempt, or of one before. */
static void account(struct ckpt *ctx, struct load *load,
                    const struct delivery *d, int rc, uint64_t bytes)
{
    if (d->attempt != load->attempt) {
        if (--load->stale_busy == 0)
            (void)pthread_cond_broadcast(&ctx->sync->work);
        return;
    }
    load->scattered_bytes += bytes;
    if (rc && !load->failure.code)
        (void)err_set(&load->failure, -CKPT_ECORRUPT,
                      "slot %u came with operations that do not fit", d->slot);
}

bool load_scatter_one(struct ckpt *ctx)
{
    struct load *load = ctx->load;
    struct list *node =
        load && load->stale_busy == 0 ? list_pop(&load->queue) : NULL;
    struct delivery *d;
    uint64_t bytes = 0;
    int rc;

    if (!node)
        return false;
    d = container_of(node, struct delivery, link);
    load->busy++;
    sync_unlock(ctx->sync);
    rc = scatter(load, d, arena_payload(d->arena, d->slot), &bytes);
    sync_lock(ctx->sync);
    load->busy--;
    load->progress_ms = clock_ms();
    account(ctx, load, d, rc, bytes);
    if (load->queued_bytes > QUEUED_BYTES_MAX)
        io_wake(ctx);
    load->queued_bytes -= d->ops_bytes;
    wr_u32(&load->consumed, d->slot);
    if (load->consumed.bytes >= (size_t)CONSUMED_BATCH * 4 ||
        list_is_empty(&load->queue))
        flush_consumed(ctx, load);
    arena_put(d->arena);
    free(d);
    settle(ctx, load);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    return true;
}

static struct load *find(struct ckpt *ctx, uint64_t number)
{
    struct load *load = ctx->load;

    if (!load || !is_of_this_link(ctx, load) || load->number != number ||
        load->is_done)
        return NULL;
    load->progress_ms = clock_ms();
    return load;
}

int load_on_begin(struct ckpt *ctx, const struct wire_load_begin *v,
                  struct err *err)
{
    struct load *load = find(ctx, v->load);

    if (!load)
        return 0;
    if (v->attempt <= load->attempt)
        return err_set(err, -EBADMSG,
                       "the daemon began attempt %u of a load out of turn",
                       v->attempt);
    drop_queue(ctx, load);
    load->stale_busy = load->busy;
    load->is_begun = true;
    load->is_delivered = load->is_voted = false;
    load->attempt = v->attempt;
    load->id = v->id;
    load->expected_bytes = v->bytes;
    load->scattered_bytes = 0;
    load->failure = (struct err){0};
    if (v->note[0])
        memcpy(load->note, v->note, sizeof load->note);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    return 0;
}

int load_on_deliver(struct ckpt *ctx, const struct wire_deliver *v,
                    struct err *err)
{
    struct load *load = find(ctx, v->load);
    struct delivery *d;
    uint8_t slot[4];

    if (!load || !load->is_begun) {
        put_u32(slot, v->slot);
        give_back(ctx, v->load, slot, sizeof slot);
        return 0;
    }
    if (!ctx->arena || v->slot >= ctx->arena->ok.slot_count ||
        v->payload_bytes > ctx->arena->ok.chunk_bytes || load->is_delivered)
        return err_set(err, -EBADMSG,
                       "the daemon delivered slot %u of %u bytes, which cannot "
                       "be",
                       v->slot, v->payload_bytes);
    d = malloc(sizeof *d + v->ops_bytes);
    if (!d)
        return err_set(err, -ENOMEM, "no memory for a delivery");
    *d = (struct delivery){.arena = arena_get(ctx->arena),
                           .slot = v->slot,
                           .payload_bytes = v->payload_bytes,
                           .op_count = v->op_count,
                           .attempt = load->attempt,
                           .is_in_place = v->is_in_place,
                           .ops_bytes = v->ops_bytes};
    memcpy(d->ops, v->ops, v->ops_bytes);
    load->queued_bytes += d->ops_bytes;
    list_append(&load->queue, &d->link);
    (void)pthread_cond_signal(&ctx->sync->work);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    return 0;
}

void load_on_delivered(struct ckpt *ctx, const struct wire_delivered *v)
{
    struct load *load = find(ctx, v->load);

    if (!load || !load->is_begun)
        return;
    load->is_delivered = true;
    settle(ctx, load);
}

void load_on_done(struct ckpt *ctx, const struct wire_load_done *v)
{
    struct load *load = find(ctx, v->load);

    if (!load)
        return;
    load->is_done = true;
    load->done = *v;
    (void)pthread_cond_broadcast(&ctx->sync->changed);
}

void load_on_loss(struct ckpt *ctx, const struct err *err)
{
    struct load *load = ctx->load;

    if (!load || load->is_done)
        return;
    load->is_done = true;
    load->done.code = err->code;
    memcpy(load->done.text, err->text, sizeof load->done.text);
}

static int on_load_ok(struct ckpt *ctx, struct request *r,
                      const struct frame *f, struct err *err)
{
    struct load *load = r->object;
    struct wire_load_ok v;

    if (wire_load_ok_decode(f->payload, f->header.length, &v))
        return err_set(err, -EBADMSG, "a LOAD_OK is damaged");
    load->number = v.load;
    load->epoch = ctx->epoch;
    return 0;
}

static int send_load(struct ckpt *ctx, const struct load_wish *wish,
                     struct load *load, struct err *err)
{
    struct wire_load v = {wish->table, wish->is_collective, wish->id};
    struct request r;
    size_t begin;
    int rc;

    request_init(ctx, &r, WIRE_LOAD_OK);
    r.on_reply = on_load_ok;
    r.object = load;
    begin = request_frame(&r, WIRE_LOAD);
    wire_load_encode(&v, &r.frames);
    rc = request_ask(ctx, &r, begin, ctx->open.load_timeout_ms + GRACE_MS, err);
    request_fini(&r);
    return rc;
}

static const char *waits_for(const struct load *load)
{
    if (!load->is_begun)
        return load->is_collective
                   ? "all ranks to call ckpt_load and the daemon to plan"
                   : "the daemon to plan";
    if (!load->is_delivered)
        return "bytes of the checkpoint";
    return "the verdict of all ranks";
}

/* Scatter and wait until the end. Lock held. */
static int wait_end(struct ckpt *ctx, struct load *load, struct err *err)
{
    uint64_t patience = ctx->open.load_timeout_ms;

    while (!load->is_done || load->busy || !list_is_empty(&load->queue)) {
        if (load_scatter_one(ctx))
            continue;
        if (sync_wait(ctx->sync, load->progress_ms + patience) ||
            clock_ms() < load->progress_ms + patience)
            continue;
        if (load->busy == 0)
            return err_set(err, -ETIMEDOUT,
                           "no progress for %" PRIu64 " ms; it waits for %s "
                           "(%" PRIu64 " of %" PRIu64 " bytes are here)",
                           patience, waits_for(load), load->scattered_bytes,
                           load->expected_bytes);
    }
    if (load->done.code)
        return err_set(err, load->done.code, "%s",
                       load->done.text[0] ? load->done.text
                                          : err_text(load->done.code));
    if (load->failure.code)
        return err_set(err, load->failure.code, "%s", load->failure.text);
    if (!load->is_delivered || load->scattered_bytes != load->expected_bytes)
        return err_set(err, -CKPT_ECORRUPT,
                       "the daemon ended the load after %" PRIu64 " of %" PRIu64
                       " bytes",
                       load->scattered_bytes, load->expected_bytes);
    return 0;
}

/* Nobody scatters any more; what was not scattered is given back. Lock held. */
static void leave(struct ckpt *ctx, struct load *load)
{
    ctx->load = NULL;
    drop_queue(ctx, load);
    wr_free(&load->consumed);
}

/* Targets as a table of their own, and the arena to be served through. */
static int prepare(struct ckpt *ctx, const struct load_wish *wish,
                   struct err *err)
{
    const struct descriptors *d = wish->target;
    uint32_t chunk_bytes;
    struct wr encoded = {0};
    uint64_t bytes;
    int rc = arena_need(ctx, d, &bytes, err);

    if (rc == 0)
        rc = arena_want(ctx, bytes, &chunk_bytes, err);
    if (rc)
        return rc;
    table_encode(d->entry, d->count, &encoded);
    if (encoded.failed)
        rc = err_set(err, -ENOMEM, "no memory for %zu descriptors", d->count);
    else if (encoded.bytes > WIRE_TABLE_MAX)
        rc = err_set(err, -E2BIG, "the descriptors take %zu bytes",
                     encoded.bytes);
    else
        rc = table_send(ctx, wish->table, &encoded, err);
    wr_free(&encoded);
    return rc;
}

static int run(struct ckpt *ctx, const struct load_wish *wish,
               struct load *load, struct err *err)
{
    int rc = prepare(ctx, wish, err);

    if (rc)
        return rc;
    sync_lock(ctx->sync);
    while (ctx->newest && ctx->newest->busy)
        (void)sync_wait(ctx->sync, UINT64_MAX);
    load->progress_ms = clock_ms();
    ctx->load = load;
    sync_unlock(ctx->sync);
    rc = send_load(ctx, wish, load, err);
    sync_lock(ctx->sync);
    load->progress_ms = clock_ms();
    if (rc == 0)
        rc = wait_end(ctx, load, err);
    while (load->busy)
        (void)sync_wait(ctx->sync, UINT64_MAX);
    leave(ctx, load);
    sync_unlock(ctx->sync);
    return rc;
}

int load_run(struct ckpt *ctx, const struct load_wish *wish,
             struct wire_load_done *out, char note[512], struct err *err)
{
    const struct descriptors *d = wish->target;
    struct load load = {.target = d, .is_collective = wish->is_collective};
    uint64_t *local_bytes = calloc(d->count ? d->count : 1, sizeof(uint64_t));
    int rc = 0;

    if (!local_bytes)
        return err_set(err, -ENOMEM, "no memory for %zu targets", d->count);
    for (size_t i = 0; i < d->count; i++)
        local_bytes[i] = region_local_bytes(&d->entry[i].geometry,
                                            &d->entry[i].region, NULL);
    load.local_bytes = local_bytes;
    list_init(&load.queue);
    rc = zero_padding(d, err);
    if (rc == 0)
        rc = run(ctx, wish, &load, err);
    *out = load.done;
    memcpy(note, load.note, sizeof load.note);
    free(local_bytes);
    return rc;
}
