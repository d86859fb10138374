/*
 * plan_place.c - operations on the wire for a slot that holds a whole chunk.
 *
 * op := u8 ndim, u32 entry, u64 dst, u32 run_bytes, u32 src,
 *       (u32 count, u64 dst_step, u64 src_step) * ndim
 *
 * Like plan_ops.c, but nothing was gathered: the sources lie anywhere in the
 * chunk and are sent. The same bytes may be the source of several operations,
 * so that each is held against the slot for itself.
 */
#include "formats/plan.h"

#include <errno.h>

void plan_ops_encode_in_place(const struct plan_op *ops, size_t count,
                              struct wr *w)
{
    for (size_t i = 0; i < count; i++) {
        const struct copy_op *c = &ops[i].copy;

        /* All of it lies in one chunk. */
        if (copy_bytes(c) > UINT32_MAX || c->src > UINT32_MAX) {
            w->failed = true;
            return;
        }
        wr_u8(w, (uint8_t)c->ndim);
        wr_u32(w, ops[i].entry);
        wr_u64(w, c->dst);
        wr_u32(w, (uint32_t)c->run_bytes);
        wr_u32(w, (uint32_t)c->src);
        for (uint32_t d = 0; d < c->ndim; d++) {
            wr_u32(w, (uint32_t)c->count[d]);
            wr_u64(w, c->dst_step[d]);
            wr_u64(w, c->src_step[d]);
        }
    }
}

static bool read_op(struct rd *r, struct plan_op *out)
{
    struct copy_op *c = &out->copy;

    *out = (struct plan_op){0};
    c->ndim = rd_u8(r);
    out->entry = rd_u32(r);
    c->dst = rd_u64(r);
    c->run_bytes = rd_u32(r);
    c->src = rd_u32(r);
    if (r->bad || c->ndim > COPY_DIMS || c->run_bytes == 0)
        return false;
    for (uint32_t d = 0; d < c->ndim; d++) {
        c->count[d] = rd_u32(r);
        c->dst_step[d] = rd_u64(r);
        c->src_step[d] = rd_u64(r);
        if (c->count[d] == 0)
            return false;
    }
    return !r->bad;
}

int plan_ops_decode_in_place(struct rd *r, size_t count, size_t entry_count,
                             const uint64_t *local_bytes, uint64_t slot_bytes,
                             struct plan_op *out)
{
    for (size_t i = 0; i < count; i++) {
        struct plan_op *op = &out[i];
        uint64_t bytes, src_end, dst_end;

        if (!read_op(r, op) || op->entry >= entry_count)
            return -EBADMSG;
        /* All three answer UINT64_MAX where a sum does not fit. */
        bytes = copy_bytes(&op->copy);
        src_end = copy_src_end(&op->copy);
        dst_end = copy_dst_end(&op->copy);
        if (bytes > slot_bytes || src_end == UINT64_MAX ||
            src_end > slot_bytes || dst_end == UINT64_MAX ||
            dst_end > local_bytes[op->entry])
            return -EBADMSG;
    }
    return 0;
}
