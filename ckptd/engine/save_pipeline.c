/*
 * save_pipeline.c - chunks on their way from slots to the store.
 *
 * A chunk that was given waits in its part's queue, a part with a queue in the
 * engine's list. At most SAVE_OPS_MAX operations are under way; a free one
 * takes the next chunk of the oldest save, its parts in turn, so that however
 * much is queued behind it the oldest save completes.
 *
 *   digest and sample (worker) -> only to be digested -> CLEAN
 *                              -> found in the base -> CLEAN
 *                              -> buffers -> encode, decode, compare (worker)
 *                              -> save_write.c: place, write -> CLEAN
 *
 * A worker sees the operation, the slot's bytes, and the list of blocks that
 * are digested beside the chunk, whose digests it fills in; nothing else. The
 * bytes are shared with the trainer, who could change them: that spoils its own
 * save, and nothing here relies on their staying as they are.
 *
 * Failures: what cannot be encoded, or does not decode to the same bytes, goes
 * raw and is logged. A save that is over lets its operations run out.
 */
#include "ckptd/engine/save_internal.h"

#include "common/plant.h"
#include "formats/codec.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* A fraction that few chunks reach: when not even that pays, none is tried. */
#define BEST_FRACTION 0.1

struct save_pipeline {
    struct list parts; /* save_part.ready, by turns */
    struct list idle;  /* struct save_op */
    uint32_t idle_count;
    bool is_running;
    struct save_op op[SAVE_OPS_MAX];
};

int save_pipeline_open(struct engine *e)
{
    struct save_pipeline *l = calloc(1, sizeof *l);

    if (!l)
        return -ENOMEM;
    list_init(&l->parts);
    list_init(&l->idle);
    for (uint32_t i = 0; i < SAVE_OPS_MAX; i++)
        list_append(&l->idle, &l->op[i].link);
    l->idle_count = SAVE_OPS_MAX;
    e->pipeline = l;
    return 0;
}

void save_pipeline_close(struct engine *e)
{
    if (!e->pipeline)
        return;
    assert(save_pipeline_is_idle(e));
    free(e->pipeline);
    e->pipeline = NULL;
}

bool save_pipeline_is_idle(const struct engine *e)
{
    return e->pipeline->idle_count == SAVE_OPS_MAX;
}

/*
 * The queues.
 */

void pipeline_push(struct save_part *p, uint32_t chunk)
{
    struct part_chunk *c = &p->chunk[chunk];

    c->state = CHUNK_QUEUED;
    c->next = NO_CHUNK;
    if (p->queue_tail == NO_CHUNK)
        p->queue_head = chunk;
    else
        p->chunk[p->queue_tail].next = chunk;
    p->queue_tail = chunk;
    if (!list_is_linked(&p->ready))
        list_append(&p->save->engine->pipeline->parts, &p->ready);
}

static uint32_t queue_pop(struct save_part *p)
{
    uint32_t chunk = p->queue_head;

    p->queue_head = p->chunk[chunk].next;
    p->chunk[chunk].next = NO_CHUNK;
    if (p->queue_head == NO_CHUNK)
        p->queue_tail = NO_CHUNK;
    return chunk;
}

void pipeline_forget(struct save_part *p)
{
    list_remove(&p->ready);
    p->queue_head = p->queue_tail = NO_CHUNK;
}

/* Of the oldest save with something to do, the part whose turn it is. */
static struct save_part *next_part(const struct save_pipeline *l)
{
    struct save_part *best = NULL;

    LIST_FOR_EACH (node, &l->parts) {
        struct save_part *p = container_of(node, struct save_part, ready);

        if (!part_is_taking(p) || p->is_replacing || base_is_pending(p->save))
            continue;
        if (!best || p->save->sequence < best->save->sequence)
            best = p;
    }
    return best;
}

/*
 * One operation.
 */

void pipeline_op_ended(struct save_op *op)
{
    struct engine *e = op->engine;
    struct save_part *p = op->part;
    struct save_pipeline *l = e->pipeline;

    engine_buffers_put(e, op->wait.buffer, BUFFERS_WANTED_MAX);
    memset(op->wait.buffer, 0, sizeof op->wait.buffer);
    op->part = NULL;
    list_append(&l->idle, &op->link);
    l->idle_count++;
    p->active_count--;
    part_progress(p);
    pipeline_run(e);
}

void save_chunk_done(struct save_op *op, const struct id128 *segment,
                     uint32_t number)
{
    struct save_part *p = op->part;
    struct slot *slot = &p->slots->slot[op->slot];

    slot->raw_bytes = op->raw_bytes;
    slot->segment = *segment;
    slot->number = number;
    slot->content = op->content;
    p->chunk[op->chunk].state = CHUNK_DONE;
    p->chunk[op->chunk].number = number;
    p->done_count++;
    slot_move(p->slots, op->slot, SLOT_CLEAN);
    if (p->session)
        session_slots_freed(p->session);
}

static void encode_run(struct env_job *job)
{
    struct save_op *op = container_of(job, struct save_op, job);
    const uint8_t *raw = (uint8_t *)op->extent + PAGE_BYTES;
    uint8_t *payload = (uint8_t *)op->wait.buffer[0] + PAGE_BYTES;
    void *scratch = op->wait.buffer[1], *back = op->wait.buffer[2];
    size_t capacity = align_up(op->raw_bytes, PAGE_BYTES) - PAGE_BYTES;
    struct digest decoded;
    int rc;

    op->payload_bytes = codec_encode(CODEC_PLANES_LZ4, op->unit_bytes, raw,
                                     op->raw_bytes, payload, capacity, scratch);
    if (op->payload_bytes == 0)
        return;
    op->payload = hash_128(payload, op->payload_bytes);
    if (is_left_out("decoding what was encoded"))
        return;
    rc = codec_decode(CODEC_PLANES_LZ4, op->unit_bytes, payload,
                      op->payload_bytes, back, op->raw_bytes, scratch);
    decoded = hash_128(back, op->raw_bytes);
    op->is_mismatch = rc || !digest_equal(&decoded, &op->content);
}

static void encode_done(struct env_job *job)
{
    struct save_op *op = container_of(job, struct save_op, job);
    struct env *env = op->engine->env;
    uint32_t kept = 1;

    if (op->is_mismatch) {
        env->ops->log(env, LOG_LEVEL_ERROR,
                      "rank %" PRIu32 " step %" PRIu64 " chunk %" PRIu32
                      ": does not decode to what was encoded; stored raw",
                      op->part->rank, op->part->save->step, op->chunk);
        op->payload_bytes = 0;
    }
    if (op->payload_bytes == 0)
        kept = 0;
    engine_buffers_put(op->engine, &op->wait.buffer[kept],
                       BUFFERS_WANTED_MAX - kept);
    for (uint32_t i = kept; i < BUFFERS_WANTED_MAX; i++)
        op->wait.buffer[i] = NULL;
    save_write(op);
}

static void buffers_ready(struct buffer_wait *wait)
{
    struct save_op *op = container_of(wait, struct save_op, wait);

    if (!part_is_taking(op->part)) {
        pipeline_op_ended(op);
        return;
    }
    op->job = (struct env_job){.run = encode_run, .done = encode_done};
    op->engine->env->ops->work(op->engine->env, &op->job);
}

/* Raw when it is asked for, cannot shrink by a page, or does not pay. */
static bool wants_codec(const struct save_op *op)
{
    const struct env *env = op->engine->env;
    const struct save_part *p = op->part;

    if (p->codec == CODEC_RAW || op->raw_bytes <= PAGE_BYTES)
        return false;
    return !p->is_codec_sampled ||
           (op->wants_sample &&
            codec_pays(op->fraction, env->encode_bytes_s, env->tier_bytes_s));
}

static void encode_or_write(struct save_op *op)
{
    op->payload_bytes = 0;
    op->is_mismatch = false;
    if (!wants_codec(op)) {
        save_write(op);
        return;
    }
    op->wait.want = BUFFERS_WANTED_MAX;
    op->wait.ready = buffers_ready;
    engine_buffers_get(op->engine, &op->wait);
}

/* A replica's blocks that another rank writes. */
static bool is_only_digested(const struct save_op *op)
{
    return op->chunk >= op->part->written_count;
}

static void digest_run(struct env_job *job)
{
    struct save_op *op = container_of(job, struct save_op, job);
    const uint8_t *raw = (uint8_t *)op->extent + PAGE_BYTES;

    if (is_only_digested(op)) {
        part_digest_blocks(op->part, op->chunk, raw, op->raw_bytes, NULL);
        return;
    }
    op->content = hash_128(raw, op->raw_bytes);
    op->payload = op->content;
    part_digest_blocks(op->part, op->chunk, raw, op->raw_bytes, &op->content);
    if (op->wants_sample)
        op->fraction = codec_sample(CODEC_PLANES_LZ4, op->unit_bytes, raw,
                                    op->raw_bytes, op->sample);
}

static void digest_done(struct env_job *job)
{
    struct save_op *op = container_of(job, struct save_op, job);
    struct save_part *p = op->part;
    struct part_chunk *c = &p->chunk[op->chunk];
    struct id128 segment = {{0}};
    uint32_t number;
    int64_t found;

    if (!part_is_taking(p)) {
        pipeline_op_ended(op);
        return;
    }
    c->content = op->content;
    if (is_only_digested(op)) {
        save_chunk_done(op, &segment, op->chunk);
        pipeline_op_ended(op);
        return;
    }
    found = base_find(p, op->chunk, &op->content);
    if (found < 0) {
        encode_or_write(op);
        return;
    }
    c->is_reused = true;
    c->where = (uint32_t)found;
    base_origin(p->save, c->where, &segment, &number);
    save_chunk_done(op, &segment, number);
    pipeline_op_ended(op);
}

static void op_begin(struct save_op *op, struct save_part *p)
{
    const struct env *env = p->save->engine->env;

    op->engine = p->save->engine;
    op->part = p;
    op->chunk = queue_pop(p);
    op->slot = p->chunk[op->chunk].slot;
    op->extent = slot_address(p->slots, op->slot);
    op->content = (struct digest){{0}};
    if (is_only_digested(op)) {
        op->raw_bytes = p->check.own_bytes[op->chunk - p->written_count];
        op->unit_bytes = 1;
    } else {
        op->raw_bytes = p->table->list.chunk[op->chunk].raw_bytes;
        op->unit_bytes = p->table->list.chunk[op->chunk].unit_bytes;
    }
    op->wants_sample =
        p->is_codec_sampled &&
        codec_pays(BEST_FRACTION, env->encode_bytes_s, env->tier_bytes_s);
    op->wait = (struct buffer_wait){0};
    p->chunk[op->chunk].state = CHUNK_ACTIVE;
    p->active_count++;
    op->job = (struct env_job){.run = digest_run, .done = digest_done};
    op->engine->env->ops->work(op->engine->env, &op->job);
}

void pipeline_run(struct engine *e)
{
    struct save_pipeline *l = e->pipeline;
    struct save_part *p;

    if (l->is_running)
        return;
    l->is_running = true;
    while (l->idle_count > 0 && (p = next_part(l)) != NULL) {
        list_remove(&p->ready);
        l->idle_count--;
        op_begin(container_of(list_pop(&l->idle), struct save_op, link), p);
        if (p->queue_head != NO_CHUNK)
            list_append(&l->parts, &p->ready);
    }
    l->is_running = false;
}
