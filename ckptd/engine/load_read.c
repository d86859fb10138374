/*
 * load_read.c - plan, chunk reads, and delivery into the ranks' slots.
 *
 * Chunks go in the plan's order, LOAD_DEPTH at a time. One that has a single
 * user is read straight into that rank's slot and delivered in place; one with
 * several is read into a buffer, and a worker gathers each rank's bytes into
 * its slot. A chunk starts only when all its users have a free slot, so nothing
 * waits while holding slots, and an arena of any size makes progress as its
 * rank consumes.
 */
#include "ckptd/engine/load_internal.h"
#include "ckptd/engine/scrub.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static const struct plan_chunk *chunk_of(const struct load_lane *lane)
{
    return &lane->load->plan.chunk[lane->chunk];
}

static const struct plan_use *use_of(const struct load_lane *lane, uint32_t i)
{
    return &lane->load->plan.use[chunk_of(lane)->first_use + i];
}

static struct load_rank *user_of(const struct load_lane *lane, uint32_t i)
{
    return &lane->load->rank[use_of(lane, i)->request];
}

/* Gathered bytes may be more than the chunk (an element wanted twice): then
 * the rank is given a copy of the chunk. */
static bool is_in_place(const struct load_lane *lane, uint32_t i)
{
    const struct manifest *m = &lane->load->held->manifest;

    return chunk_of(lane)->use_count == 1 ||
           use_of(lane, i)->packed_bytes >=
               m->chunk[chunk_of(lane)->chunk].raw_bytes;
}

static void lane_end(struct load_lane *lane)
{
    struct load *l = lane->load;

    if (lane->wait.want)
        engine_buffers_put(l->engine, lane->wait.buffer, lane->wait.want);
    lane->wait.want = 0;
    free(lane->slot);
    lane->slot = NULL;
    lane->is_running = false;
    l->running--;
    l->read_bytes += lane->read.read_bytes;
    if (lane->read.is_remote)
        l->remote_bytes += lane->read.read_bytes;
    if (lane->read.is_bad_here || lane->read.is_bad_there)
        scrub_soon(l->run, &l->id, lane->read.is_bad_there);
    if (l->err.code)
        load_attempt_failed(l);
    else
        load_feed(l);
}

static void give_slots_back(struct load_lane *lane, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        slot_move(user_of(lane, i)->slots, lane->slot[i], SLOT_FREE);
}

/*
 * Delivery.
 */

static void deliver(struct load_lane *lane, uint32_t i)
{
    struct load *l = lane->load;
    struct load_rank *r = user_of(lane, i);
    const struct plan_use *use = use_of(lane, i);
    const struct manifest *m = &l->held->manifest;
    bool in_place = is_in_place(lane, i);
    struct wire_deliver v = {.load = r->number,
                             .slot = lane->slot[i],
                             .is_in_place = in_place,
                             .op_count = use->op_count};
    struct wr ops = {0}, w = {0};

    if (in_place)
        plan_ops_encode_in_place(&l->plan.op[use->first_op], use->op_count,
                                 &ops);
    else
        plan_ops_encode(&l->plan.op[use->first_op], use->op_count, &ops);
    v.payload_bytes = in_place ? m->chunk[chunk_of(lane)->chunk].raw_bytes
                               : (uint32_t)use->packed_bytes;
    v.ops = ops.data;
    v.ops_bytes = (uint32_t)ops.bytes;
    wire_deliver_encode(&v, &w);
    if (ops.failed || w.failed || w.bytes > WIRE_PAYLOAD_MAX) {
        if (!l->err.code)
            (void)err_set(&l->err, ops.failed || w.failed ? -ENOMEM : -EFBIG,
                          "rank %u: a chunk in %u pieces cannot be described",
                          r->session->open.rank, use->op_count);
        l->is_wish_failed = true;
        wr_free(&w);
        slot_move(r->slots, lane->slot[i], SLOT_FREE);
    } else {
        slot_move(r->slots, lane->slot[i], SLOT_DELIVERED);
        session_send(r->session, WIRE_DELIVER, 0, &w);
        r->uses_left--;
    }
    wr_free(&ops);
}

static void tell_delivered(struct load_rank *r)
{
    struct wire_delivered v = {.load = r->number};
    struct wr w = {0};

    r->is_delivered = true;
    wire_delivered_encode(&v, &w);
    session_send(r->session, WIRE_DELIVERED, 0, &w);
}

static void chunk_ready(struct load_lane *lane)
{
    struct load *l = lane->load;

    load_progress(l);
    if (l->err.code) {
        give_slots_back(lane, chunk_of(lane)->use_count);
        lane_end(lane);
        return;
    }
    for (uint32_t i = 0; i < chunk_of(lane)->use_count; i++)
        deliver(lane, i);
    lane_end(lane);
}

/*
 * Gathering for several ranks.
 */

static void gather_run(struct env_job *job)
{
    struct load_lane *lane = container_of(job, struct load_lane, gather);
    const struct load *l = lane->load;
    const uint8_t *raw = (uint8_t *)lane->wait.buffer[0] + PAGE_BYTES;
    uint32_t raw_bytes =
        l->held->manifest.chunk[chunk_of(lane)->chunk].raw_bytes;

    for (uint32_t i = 0; i < chunk_of(lane)->use_count; i++) {
        const struct plan_use *use = use_of(lane, i);
        uint8_t *to = slot_payload(user_of(lane, i)->slots, lane->slot[i]);

        if (is_in_place(lane, i)) {
            memcpy(to, raw, raw_bytes);
            continue;
        }
        for (uint32_t k = 0; k < use->op_count; k++) {
            const struct copy_op *op = &l->plan.op[use->first_op + k].copy;

            copy_gather(op, raw, to);
            to += copy_bytes(op);
        }
    }
}

static void gather_done(struct env_job *job)
{
    chunk_ready(container_of(job, struct load_lane, gather));
}

static void chunk_done(struct chunk_read *read, int result)
{
    struct load_lane *lane = read->owner;
    struct load *l = lane->load;
    struct env *env = l->engine->env;

    if (result && !l->err.code)
        l->err = read->err;
    if (l->err.code || chunk_of(lane)->use_count == 1) {
        chunk_ready(lane);
        return;
    }
    lane->gather.run = gather_run;
    lane->gather.done = gather_done;
    env->ops->work(env, &lane->gather);
}

/*
 * Starting chunks.
 */

static void lane_buffers_ready(struct buffer_wait *wait)
{
    struct load_lane *lane = container_of(wait, struct load_lane, wait);
    bool is_single = chunk_of(lane)->use_count == 1;
    uint32_t next = 0;

    lane->read.slot = is_single
                          ? slot_address(user_of(lane, 0)->slots, lane->slot[0])
                          : wait->buffer[next++];
    if (wait->want > next) {
        lane->read.buffer[0] = wait->buffer[next];
        lane->read.buffer[1] = wait->buffer[next + 1];
    }
    chunk_read_begin(&lane->read);
}

/* A slot of every user, or none. */
static bool take_slots(struct load_lane *lane)
{
    uint32_t count = chunk_of(lane)->use_count;

    lane->slot = calloc(count, sizeof *lane->slot);
    if (!lane->slot) {
        (void)err_set(&lane->load->err, -ENOMEM, "no memory for a load");
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct load_rank *r = user_of(lane, i);
        int64_t slot = slot_take(r->slots, SLOT_LOADING, r->number);

        if (slot < 0) {
            give_slots_back(lane, i);
            free(lane->slot);
            lane->slot = NULL;
            return false;
        }
        lane->slot[i] = (uint32_t)slot;
    }
    return true;
}

static bool lane_start(struct load *l, struct load_lane *lane)
{
    uint32_t chunk = l->plan.chunk[l->next_chunk].chunk;

    lane->chunk = l->next_chunk;
    if (!take_slots(lane))
        return false;
    l->next_chunk++;
    l->running++;
    lane->is_running = true;
    lane->read = (struct chunk_read){.engine = l->engine,
                                     .manifest = &l->held->manifest,
                                     .chunk = chunk,
                                     .remote = l->remote,
                                     .done = chunk_done,
                                     .owner = lane};
    lane->wait.want = chunk_read_buffers(&l->held->manifest, chunk) +
                      (chunk_of(lane)->use_count > 1);
    lane->wait.ready = lane_buffers_ready;
    if (lane->wait.want)
        engine_buffers_get(l->engine, &lane->wait);
    else
        lane_buffers_ready(&lane->wait);
    return true;
}

/* Ranks that have all of theirs; true when that is every rank. */
static bool tell_complete(struct load *l)
{
    bool all = true;

    for (uint32_t i = 0; i < l->rank_count; i++) {
        struct load_rank *r = &l->rank[i];

        if (r->uses_left > 0)
            all = false;
        else if (!r->is_delivered)
            tell_delivered(r);
    }
    return all;
}

void load_feed(struct load *l)
{
    for (uint32_t i = 0; i < LOAD_DEPTH && !l->err.code; i++)
        if (!l->lane[i].is_running && l->next_chunk < l->plan.chunk_count &&
            !lane_start(l, &l->lane[i]))
            break;
    if (l->err.code) {
        load_attempt_failed(l);
        return;
    }
    if (tell_complete(l) && l->running == 0)
        load_all_delivered(l);
}

/*
 * Planning.
 */

static void tell_begin(struct load *l, const struct load_rank *r)
{
    struct wire_load_begin v = {
        .load = r->number, .id = l->id, .attempt = l->attempt};
    struct wr w = {0};

    memcpy(v.note, l->note, sizeof v.note);
    for (size_t i = 0; i < l->plan.use_count; i++)
        if (&l->rank[l->plan.use[i].request] == r)
            v.bytes += l->plan.use[i].packed_bytes;
    wire_load_begin_encode(&v, &w);
    session_send(r->session, WIRE_LOAD_BEGIN, 0, &w);
}

static int plan(struct load *l)
{
    struct plan_request *requests = calloc(l->rank_count, sizeof *requests);
    size_t failed = 0;
    int rc;

    if (!requests)
        return err_set(&l->err, -ENOMEM, "no memory for a plan");
    for (uint32_t i = 0; i < l->rank_count; i++)
        requests[i] =
            (struct plan_request){.entries = l->rank[i].table->table.entry,
                                  .entry_count = l->rank[i].table->table.count};
    rc = plan_build(&l->held->manifest, requests, l->rank_count, &l->plan,
                    &failed, &l->err);
    free(requests);
    if (rc)
        (void)err_prefix(&l->err, "run %s step %" PRIu64 ", rank %u",
                         l->run->name, l->id.step,
                         l->rank[failed].session->open.rank);
    return rc;
}

void load_plan(struct load *l)
{
    l->next_chunk = 0;
    l->remote_bytes = 0;
    l->remote = remote_new(l->run, &l->held->manifest);
    if (!l->remote) {
        (void)err_set(&l->err, -ENOMEM, "no memory for a load");
        load_attempt_failed(l);
        return;
    }
    if (plan(l)) {
        /* A wish that does not fit the checkpoint fits no older one either;
         * tables that contradict each other are the checkpoint's fault. */
        l->is_wish_failed = l->err.code != -CKPT_ECORRUPT;
        load_attempt_failed(l);
        return;
    }
    for (size_t i = 0; i < l->plan.use_count; i++)
        l->rank[l->plan.use[i].request].uses_left++;
    for (uint32_t i = 0; i < l->rank_count; i++)
        tell_begin(l, &l->rank[i]);
    load_move(l, LOAD_READING);
    load_feed(l);
}

void load_read_free(struct load *l)
{
    assert(l->running == 0);
    remote_free(l->remote);
    l->remote = NULL;
    plan_free(&l->plan);
    l->plan = (struct plan){0};
    l->next_chunk = 0;
}
