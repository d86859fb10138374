/*
 * copy.c - strided copies; see region.h.
 *
 * Runs of 1, 2, 4, 8 and 16 bytes (single elements of a transposed or strided
 * buffer) get loops of their own, in which the compiler turns memcpy into
 * plain moves; all others are memcpy. Nothing here can fail: who makes an
 * operation from foreign bytes checks its ends first (plan_ops.c).
 */
#include "formats/region.h"

#include <string.h>

/* a * b + c, UINT64_MAX when that does not fit. */
static uint64_t mul_add(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t product, sum;

    if (!mul_u64(a, b, &product) || !add_u64(product, c, &sum))
        return UINT64_MAX;
    return sum;
}

uint64_t copy_bytes(const struct copy_op *op)
{
    uint64_t bytes = op->run_bytes;

    for (uint32_t d = 0; d < op->ndim; d++)
        bytes = mul_add(bytes, op->count[d], 0);
    return bytes;
}

static uint64_t copy_end(const struct copy_op *op, uint64_t at,
                         const uint64_t *step)
{
    uint64_t end = mul_add(1, at, op->run_bytes);

    for (uint32_t d = 0; d < op->ndim; d++) {
        if (op->count[d] == 0)
            return at;
        end = mul_add(op->count[d] - 1, step[d], end);
    }
    return end;
}

uint64_t copy_src_end(const struct copy_op *op)
{
    return copy_end(op, op->src, op->src_step);
}

uint64_t copy_dst_end(const struct copy_op *op)
{
    return copy_end(op, op->dst, op->dst_step);
}

struct lane {
    const uint8_t *src;
    uint8_t *dst;
    uint64_t src_step, dst_step, count;
};

__attribute__((always_inline)) static inline void
copy_lane_of(const struct lane *lane, size_t bytes)
{
    const uint8_t *src = lane->src;
    uint8_t *dst = lane->dst;

    for (uint64_t i = 0; i < lane->count; i++) {
        memcpy(dst, src, bytes);
        src += lane->src_step;
        dst += lane->dst_step;
    }
}

static void copy_lane(const struct lane *lane, uint64_t run_bytes)
{
    switch (run_bytes) {
    case 1:
        copy_lane_of(lane, 1);
        break;
    case 2:
        copy_lane_of(lane, 2);
        break;
    case 4:
        copy_lane_of(lane, 4);
        break;
    case 8:
        copy_lane_of(lane, 8);
        break;
    case 16:
        copy_lane_of(lane, 16);
        break;
    default:
        copy_lane_of(lane, run_bytes);
        break;
    }
}

void copy_run(const struct copy_op *op, const void *src, void *dst)
{
    uint32_t outer = op->ndim ? op->ndim - 1 : 0, d;
    uint64_t at[COPY_DIMS] = {0};
    struct lane lane = {
        .src = (const uint8_t *)src + op->src,
        .dst = (uint8_t *)dst + op->dst,
        .src_step = op->ndim ? op->src_step[outer] : 0,
        .dst_step = op->ndim ? op->dst_step[outer] : 0,
        .count = op->ndim ? op->count[outer] : 1,
    };

    for (d = 0; d < op->ndim; d++) {
        if (op->count[d] == 0)
            return;
    }
    for (;;) {
        copy_lane(&lane, op->run_bytes);
        /* Count up the outer loops like an odometer. */
        for (d = outer; d > 0; d--) {
            if (++at[d - 1] < op->count[d - 1])
                break;
            at[d - 1] = 0;
            lane.src -= (op->count[d - 1] - 1) * op->src_step[d - 1];
            lane.dst -= (op->count[d - 1] - 1) * op->dst_step[d - 1];
        }
        if (d == 0)
            return;
        lane.src += op->src_step[d - 1];
        lane.dst += op->dst_step[d - 1];
    }
}

/* The steps of an operation's bytes laid end to end in loop order. */
static void dense_steps(const struct copy_op *op, uint64_t *step)
{
    uint64_t bytes = op->run_bytes;

    for (uint32_t d = op->ndim; d > 0; d--) {
        step[d - 1] = bytes;
        bytes *= op->count[d - 1];
    }
}

void copy_pack_src(struct copy_op *op, uint64_t at)
{
    op->src = at;
    dense_steps(op, op->src_step);
}

void copy_gather(const struct copy_op *op, const void *src, void *packed)
{
    struct copy_op dense = *op;

    dense.dst = 0;
    dense_steps(op, dense.dst_step);
    copy_run(&dense, src, packed);
}

void copy_scatter(const struct copy_op *op, const void *packed, void *dst)
{
    struct copy_op dense = *op;

    copy_pack_src(&dense, 0);
    copy_run(&dense, packed, dst);
}
