/*
 * plan_ops.c - operations on the wire.
 *
 * op := u8 ndim, u32 entry, u64 dst, u32 run_bytes,
 *       (u32 count, u64 dst_step) * ndim
 *
 * Sources are not sent: they lie end to end in a slot, so that the decoder
 * lays them out itself. The reader is a trainer that must not write outside
 * its tensors whatever it is sent: every number is held against the bounds
 * before an operation is handed out, and what is wrong is -EBADMSG.
 */
#include "formats/plan.h"

#include <errno.h>

void plan_ops_encode(const struct plan_op *ops, size_t count, struct wr *w)
{
    for (size_t i = 0; i < count; i++) {
        const struct copy_op *c = &ops[i].copy;

        /* Neither exceeds the chunk that it is in. */
        if (copy_bytes(c) > UINT32_MAX) {
            w->failed = true;
            return;
        }
        wr_u8(w, (uint8_t)c->ndim);
        wr_u32(w, ops[i].entry);
        wr_u64(w, c->dst);
        wr_u32(w, (uint32_t)c->run_bytes);
        for (uint32_t d = 0; d < c->ndim; d++) {
            wr_u32(w, (uint32_t)c->count[d]);
            wr_u64(w, c->dst_step[d]);
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
    if (r->bad || c->ndim > COPY_DIMS || c->run_bytes == 0)
        return false;
    for (uint32_t d = 0; d < c->ndim; d++) {
        c->count[d] = rd_u32(r);
        c->dst_step[d] = rd_u64(r);
        if (c->count[d] == 0)
            return false;
    }
    return !r->bad;
}

int plan_ops_decode(struct rd *r, size_t count, size_t entry_count,
                    const uint64_t *local_bytes, uint64_t packed_bytes,
                    struct plan_op *out)
{
    uint64_t at = 0;

    for (size_t i = 0; i < count; i++) {
        struct plan_op *op = &out[i];
        uint64_t bytes, end;

        if (!read_op(r, op) || op->entry >= entry_count)
            return -EBADMSG;
        /* Both answer UINT64_MAX where a sum does not fit. */
        bytes = copy_bytes(&op->copy);
        end = copy_dst_end(&op->copy);
        if (bytes > packed_bytes - at || end == UINT64_MAX ||
            end > local_bytes[op->entry])
            return -EBADMSG;
        copy_pack_src(&op->copy, at);
        at += bytes;
    }
    return 0;
}
