/*
 * plan_ops.c - operations on the wire, for a slot with gathered bytes or one
 * with a whole chunk.
 *
 * op := u8 ndim, u32 entry, u64 dst, u32 run_bytes, [u32 src],
 *       (u32 count, u64 dst_step, [u64 src_step]) * ndim
 *
 * What stands in brackets is sent in place only. Of gathered bytes the sources
 * lie end to end in the slot, so that the decoder lays them out itself; in
 * place they lie anywhere in the chunk, and the same bytes may be the source
 * of several operations, so that each is held against the slot for itself.
 *
 * The reader is a trainer that must not write outside its tensors whatever it
 * is sent: every number is held against the bounds before an operation is
 * handed out, and what is wrong is -EBADMSG.
 */
#include "formats/plan.h"

#include <errno.h>

static void write_op(struct wr *w, const struct plan_op *op, bool in_place)
{
    const struct copy_op *c = &op->copy;

    /* Neither exceeds the chunk that it is in. */
    if (copy_bytes(c) > UINT32_MAX || (in_place && c->src > UINT32_MAX)) {
        w->failed = true;
        return;
    }
    wr_u8(w, (uint8_t)c->ndim);
    wr_u32(w, op->entry);
    wr_u64(w, c->dst);
    wr_u32(w, (uint32_t)c->run_bytes);
    if (in_place)
        wr_u32(w, (uint32_t)c->src);
    for (uint32_t d = 0; d < c->ndim; d++) {
        wr_u32(w, (uint32_t)c->count[d]);
        wr_u64(w, c->dst_step[d]);
        if (in_place)
            wr_u64(w, c->src_step[d]);
    }
}

void plan_ops_encode(const struct plan_op *ops, size_t count, struct wr *w)
{
    for (size_t i = 0; i < count && !w->failed; i++)
        write_op(w, &ops[i], false);
}

void plan_ops_encode_in_place(const struct plan_op *ops, size_t count,
                              struct wr *w)
{
    for (size_t i = 0; i < count && !w->failed; i++)
        write_op(w, &ops[i], true);
}

static bool read_op(struct rd *r, bool in_place, struct plan_op *out)
{
    struct copy_op *c = &out->copy;

    *out = (struct plan_op){0};
    c->ndim = rd_u8(r);
    out->entry = rd_u32(r);
    c->dst = rd_u64(r);
    c->run_bytes = rd_u32(r);
    if (in_place)
        c->src = rd_u32(r);
    if (r->bad || c->ndim > COPY_DIMS || c->run_bytes == 0)
        return false;
    for (uint32_t d = 0; d < c->ndim; d++) {
        c->count[d] = rd_u32(r);
        c->dst_step[d] = rd_u64(r);
        if (in_place)
            c->src_step[d] = rd_u64(r);
        /* The planner makes no loop of one, whose step would have no bound. */
        if (c->count[d] < 2)
            return false;
    }
    return !r->bad;
}

/* Ends answer UINT64_MAX where a sum does not fit. */
static bool ends_within(uint64_t end, uint64_t most)
{
    return end != UINT64_MAX && end <= most;
}

int plan_ops_decode(struct rd *r, size_t count, size_t entry_count,
                    const uint64_t *local_bytes, uint64_t packed_bytes,
                    struct plan_op *out)
{
    uint64_t at = 0;

    for (size_t i = 0; i < count; i++) {
        struct plan_op *op = &out[i];
        uint64_t bytes;

        if (!read_op(r, false, op) || op->entry >= entry_count)
            return -EBADMSG;
        bytes = copy_bytes(&op->copy);
        if (bytes > packed_bytes - at ||
            !ends_within(copy_dst_end(&op->copy), local_bytes[op->entry]))
            return -EBADMSG;
        copy_pack_src(&op->copy, at);
        at += bytes;
    }
    return 0;
}

int plan_ops_decode_in_place(struct rd *r, size_t count, size_t entry_count,
                             const uint64_t *local_bytes, uint64_t slot_bytes,
                             struct plan_op *out)
{
    for (size_t i = 0; i < count; i++) {
        struct plan_op *op = &out[i];

        if (!read_op(r, true, op) || op->entry >= entry_count)
            return -EBADMSG;
        if (copy_bytes(&op->copy) > slot_bytes ||
            !ends_within(copy_src_end(&op->copy), slot_bytes) ||
            !ends_within(copy_dst_end(&op->copy), local_bytes[op->entry]))
            return -EBADMSG;
    }
    return 0;
}
