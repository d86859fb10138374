/*
 * save_write.c - a chunk onto the local store, and what a failed write takes
 * with it.
 *
 * Happy path: place the extent, put its header page in front, zero the rest of
 * the last page, write, CLEAN. A raw chunk goes out of its slot as it lies, an
 * encoded one out of the buffer.
 *
 * A write that fails poisons its segment: what was written there before is
 * lost as well, and is written again elsewhere as long as its bytes are still
 * in their slots. The segment pool is told once per segment, and finds room;
 * until it has, the part starts nothing. When bytes are gone, or too many
 * segments fail, the save aborts.
 */
#include "ckptd/engine/save_internal.h"

#include "common/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static void replace_next(struct save_part *p);

/*
 * After a failed write.
 */

/* Are the chunk's bytes still where they were given? */
static bool is_in_memory(const struct save_part *p, const struct part_chunk *c)
{
    const struct slot *slot = &p->slots->slot[c->slot];

    return slot->state == SLOT_CLEAN && slot->owner == p->number &&
           slot->number == c->number &&
           id_equal(&slot->segment, &p->segment[c->where].id);
}

/* What was written to a segment is to be written again. */
static int take_back(struct save_part *p, uint32_t index)
{
    for (uint32_t i = 0; i < p->written_count; i++) {
        struct part_chunk *c = &p->chunk[i];

        if (c->state != CHUNK_DONE || c->is_reused || c->where != index)
            continue;
        if (!is_in_memory(p, c))
            return -EIO;
        slot_move(p->slots, c->slot, SLOT_FULL);
        p->done_count--;
        pipeline_push(p, i);
    }
    return 0;
}

static void on_replaced(void *arg, int result, const struct err *err)
{
    struct save_part *p = arg;

    p->is_replacing = false;
    if (result)
        save_abort(p->save, result,
                   "rank %" PRIu32 ": no room in place of a segment that "
                   "failed: %s",
                   p->rank, err->text);
    replace_next(p);
    part_progress(p);
    pipeline_run(p->save->engine);
}

/* Tells the segment pool, one segment after another. */
static void replace_next(struct save_part *p)
{
    for (uint32_t i = 0; i < p->segment_count; i++) {
        if (p->is_replacing || !part_is_taking(p))
            return;
        if (!p->segment[i].needs_replace)
            continue;
        p->segment[i].needs_replace = false;
        p->is_replacing = true;
        seg_writer_failed(p->writer, i, on_replaced, p);
    }
}

static void segment_failed(struct save_part *p, uint32_t index, int result)
{
    struct env *env = p->save->engine->env;
    struct part_segment *s = &p->segment[index];

    if (s->is_failed)
        return;
    s->is_failed = s->needs_replace = true;
    p->failure_count++;
    env->ops->log(env, LOG_LEVEL_ERROR, "%s/%s: write: %s", env->local_path,
                  s->file, err_text(result));
    if (p->failure_count > SAVE_SEGMENT_FAILURES_MAX)
        save_abort(p->save, result,
                   "rank %" PRIu32 ": %s/%s: write: %s, after %" PRIu32
                   " others failed",
                   p->rank, env->local_path, s->file, err_text(result),
                   p->failure_count - 1);
    else if (take_back(p, index))
        save_abort(p->save, result,
                   "rank %" PRIu32 ": %s/%s: write: %s, and what was written "
                   "to it before is no longer in memory",
                   p->rank, env->local_path, s->file, err_text(result));
    replace_next(p);
}

/*
 * Writing.
 */

static void write_done(struct store_req *req, int64_t result)
{
    struct save_op *op = req->owner;
    struct save_part *p = op->part;
    struct part_chunk *c = &p->chunk[op->chunk];
    bool has_failed = result < 0 && !is_left_out("failure of a write");

    if (has_failed)
        seg_writer_doom(p->writer, op->place.index);
    if (!part_is_taking(p)) {
        pipeline_op_ended(op);
        return;
    }
    c->where = op->place.index;
    if (has_failed)
        segment_failed(p, op->place.index, (int)result);
    if (!part_is_taking(p)) {
        pipeline_op_ended(op);
        return;
    }
    if (p->segment[op->place.index].is_failed) {
        pipeline_push(p, op->chunk);
        pipeline_op_ended(op);
        return;
    }
    c->offset = op->place.offset;
    c->payload_bytes = op->header.payload_bytes;
    c->codec = (uint8_t)op->header.codec;
    c->codec_param = (uint8_t)op->header.codec_param;
    c->stored_digest = op->header.stored_digest;
    save_chunk_done(op, &op->place.segment, op->place.number);
    pipeline_op_ended(op);
}

static int note_segment(struct save_part *p, const struct seg_place *place)
{
    struct part_segment *grown;
    struct part_segment *s;

    if (place->index >= p->segment_count) {
        grown = realloc(p->segment,
                        ((size_t)place->index + 1) * sizeof *p->segment);
        if (!grown)
            return -ENOMEM;
        memset(&grown[p->segment_count], 0,
               (place->index + 1 - p->segment_count) * sizeof *grown);
        p->segment = grown;
        p->segment_count = place->index + 1;
    }
    s = &p->segment[place->index];
    s->id = place->segment;
    memcpy(s->file, place->file, sizeof s->file);
    return 0;
}

static void fill_header(struct save_op *op)
{
    bool is_raw = op->payload_bytes == 0;
    struct chunk_header *h = &op->header;

    *h = (struct chunk_header){
        .segment = op->place.segment,
        .number = op->place.number,
        .raw_bytes = op->raw_bytes,
        .payload_bytes = is_raw ? op->raw_bytes : (uint32_t)op->payload_bytes,
        .codec = is_raw ? CODEC_RAW : CODEC_PLANES_LZ4,
        .codec_param = is_raw ? 0 : op->unit_bytes,
        .rank = op->part->rank,
        .content = op->content,
    };
    h->stored_digest =
        chunk_stored_digest(&h->segment, h->number, h->payload_bytes,
                            is_raw ? &op->content : &op->payload);
}

void save_write(struct save_op *op)
{
    struct save_part *p = op->part;
    bool is_raw = op->payload_bytes == 0;
    uint32_t payload = is_raw ? op->raw_bytes : (uint32_t)op->payload_bytes;
    uint64_t extent = chunk_extent_bytes(payload);
    uint8_t *from = is_raw ? op->extent : op->wait.buffer[0];
    int rc;

    if (!part_is_taking(p)) {
        pipeline_op_ended(op);
        return;
    }
    if (p->is_replacing) { /* room is on its way */
        pipeline_push(p, op->chunk);
        pipeline_op_ended(op);
        return;
    }
    rc = seg_writer_place(p->writer, extent, &op->place);
    if (!rc)
        rc = note_segment(p, &op->place);
    if (rc) {
        save_abort(p->save, rc, "rank %" PRIu32 ": chunk %" PRIu32 ": %s",
                   p->rank, op->chunk, err_text(rc));
        pipeline_op_ended(op);
        return;
    }
    fill_header(op);
    chunk_header_encode(&op->header, from);
    memset(from + PAGE_BYTES + payload, 0, extent - PAGE_BYTES - payload);
    op->req = (struct store_req){.op = STORE_WRITE,
                                 .seg = op->place.seg,
                                 .buf = from,
                                 .len = extent,
                                 .off = op->place.offset,
                                 .done = write_done,
                                 .owner = op};
    store_submit(op->engine->env->local, &op->req);
}
