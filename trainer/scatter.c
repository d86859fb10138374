/*
 * scatter.c - from a delivered slot into the targets; see load.h.
 *
 * Operations are decoded in small batches, so that a slot full of tiny pieces
 * takes no memory. Their destinations count in the dense local order of an
 * entry, which is the buffer itself unless the caller gave strides; then each
 * run is walked row by row of the one box. Padding is zeroed once, before the
 * first attempt, since no operation ever touches it.
 */
#include "trainer/arena.h"
#include "formats/plan.h"
#include "trainer/load.h"

#include <errno.h>

#define OPS_BATCH 32

/* How the elements of a strided entry lie; in units, innermost last. */
struct strided {
    uint64_t size[MAX_DIMS], stride[MAX_DIMS];
    uint32_t ndim, unit_bytes;
};

/* Sub-byte types count their innermost dimension in bytes; strides of the
 * others too, since rows are whole bytes (region_check()). */
static void strided_init(struct strided *s, const struct entry *e,
                         const uint64_t *strides)
{
    const struct geometry *g = &e->geometry;
    uint32_t bits = dtype_bits(g->dtype), last = g->ndim - 1;

    *s =
        (struct strided){.ndim = g->ndim, .unit_bytes = geometry_unit_bytes(g)};
    for (uint32_t i = 0; i < g->ndim; i++) {
        s->size[i] =
            e->region.box_count ? e->region.boxes[0].size[i] : g->shape[i];
        s->stride[i] =
            bits < 8 && i != last ? strides[i] * bits / 8 : strides[i];
        if (bits < 8 && i == last)
            s->size[i] = s->size[i] * bits / 8;
    }
}

/* Where the dense unit `index` lies, and how many follow it in its row. */
static uint64_t strided_place(const struct strided *s, uint64_t index,
                              uint64_t *left_in_row)
{
    uint64_t place = 0;

    *left_in_row = 1;
    for (uint32_t i = s->ndim; i-- > 0;) {
        uint64_t k = index % s->size[i];

        if (i == s->ndim - 1)
            *left_in_row = s->size[i] - k;
        place += k * s->stride[i];
        index /= s->size[i];
    }
    return place;
}

/* `bytes` from `from` (NULL: zeros) to the dense position `at`. */
static void strided_put(const struct strided *s, uint8_t *base, uint64_t at,
                        uint64_t bytes, const uint8_t *from)
{
    uint64_t unit = s->unit_bytes, step;

    step = s->ndim ? s->stride[s->ndim - 1] * unit : unit;
    for (uint64_t done = 0; done < bytes;) {
        uint64_t row;
        uint8_t *to = base + strided_place(s, (at + done) / unit, &row) * unit;

        row = min_u64(row, (bytes - done) / unit);
        for (uint64_t k = 0; k < row; k++) {
            if (from)
                memcpy(to + k * step, from + done + k * unit, unit);
            else
                memset(to + k * step, 0, unit);
        }
        done += row * unit;
    }
}

/* The runs of one operation, destination by destination. */
static void strided_scatter(const struct strided *s, uint8_t *base,
                            const struct copy_op *op, const uint8_t *payload)
{
    uint64_t index[COPY_DIMS] = {0}, runs = 1, from = op->src;

    for (uint32_t i = 0; i < op->ndim; i++)
        runs *= op->count[i];
    for (uint64_t run = 0; run < runs; run++, from += op->run_bytes) {
        uint64_t at = op->dst;

        for (uint32_t i = 0; i < op->ndim; i++)
            at += index[i] * op->dst_step[i];
        strided_put(s, base, at, op->run_bytes, payload + from);
        for (uint32_t i = op->ndim; i-- > 0;) {
            if (++index[i] < op->count[i])
                break;
            index[i] = 0;
        }
    }
}

/* Whole units only: what strided_put() can lay out. */
static bool is_in_units(const struct strided *s, const struct copy_op *op)
{
    if (op->dst % s->unit_bytes || op->run_bytes % s->unit_bytes)
        return false;
    for (uint32_t i = 0; i < op->ndim; i++)
        if (op->dst_step[i] % s->unit_bytes)
            return false;
    return true;
}

static int scatter_op(const struct load *load, const struct plan_op *op,
                      const uint8_t *payload)
{
    const struct descriptors *t = load->target;
    uint8_t *base = t->data[op->entry];
    struct strided s;

    if (!t->strides[op->entry] || t->entry[op->entry].geometry.ndim == 0) {
        copy_run(&op->copy, payload, base);
        return 0;
    }
    strided_init(&s, &t->entry[op->entry], t->strides[op->entry]);
    if (!is_in_units(&s, &op->copy))
        return -EBADMSG;
    strided_scatter(&s, base, &op->copy, payload);
    return 0;
}

/* The next `count` operations; of gathered ones the sources go on at `at`. */
static int next_ops(const struct load *load, const struct delivery *d,
                    struct rd *r, uint32_t count, uint64_t at,
                    struct plan_op *op)
{
    const size_t entries = load->target->count;
    int rc;

    if (d->is_in_place)
        return plan_ops_decode_in_place(r, count, entries, load->local_bytes,
                                        d->payload_bytes, op);
    rc = plan_ops_decode(r, count, entries, load->local_bytes,
                         d->payload_bytes - at, op);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        op[i].copy.src += at;
    return rc;
}

int scatter(const struct load *load, const struct delivery *d,
            const uint8_t *payload, uint64_t *bytes)
{
    struct rd r = rd_init(d->ops, d->ops_bytes);
    struct plan_op op[OPS_BATCH];

    *bytes = 0;
    for (uint32_t i = 0; i < d->op_count;) {
        uint32_t count = (uint32_t)min_u64(OPS_BATCH, d->op_count - i);

        if (next_ops(load, d, &r, count, *bytes, op))
            return -EBADMSG;
        for (uint32_t k = 0; k < count; k++) {
            *bytes += copy_bytes(&op[k].copy);
            if (scatter_op(load, &op[k], payload))
                return -EBADMSG;
        }
        i += count;
    }
    return rd_done(&r) ? 0 : -EBADMSG;
}

int zero_padding(const struct descriptors *target, struct err *err)
{
    for (size_t i = 0; i < target->count; i++) {
        const struct entry *e = &target->entry[i];
        uint64_t local = region_local_bytes(&e->geometry, &e->region, NULL);
        struct strided s;

        if (local == region_packed_bytes(&e->geometry, &e->region))
            continue;
        if (!target->data[i])
            return err_set(err, -EINVAL, "tensor %s: data is NULL", e->name);
        if (!target->strides[i] || e->geometry.ndim == 0) {
            memset(target->data[i], 0, local);
            continue;
        }
        strided_init(&s, e, target->strides[i]);
        strided_put(&s, target->data[i], 0, local, NULL);
    }
    return 0;
}
