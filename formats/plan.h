/*
 * plan.h - the pure planner: manifest x wanted tables -> reads and copies.
 *
 * No I/O, no threads, no globals. For every rank's wanted table it finds which
 * chunks hold bytes of it and how they move from the decoded chunk into the
 * rank's local buffers. Each chunk appears once, however many ranks want it;
 * chunks are sorted by (file, offset), so that reading them in order is
 * sequential, and neighbours in a file can be read together.
 *
 * A use is one (chunk, rank). Its operations copy from the decoded chunk (src:
 * byte in the chunk) to the rank's entry (dst: byte in the local buffer of
 * that entry). The daemon runs the source side (copy_gather, operations end to
 * end) into a slot, or hands over the whole chunk in place; the trainer the
 * destination side.
 *
 * Padding beyond the logical shape is in no operation: the trainer zeroes it.
 */
#ifndef FORMATS_PLAN_H
#define FORMATS_PLAN_H

#include "formats/manifest.h"

struct plan_op {
    uint32_t entry; /* of the rank's table */
    struct copy_op copy;
};

struct plan_use {
    uint32_t request; /* index of the rank's table in the request array */
    uint32_t op_count;
    uint64_t first_op;
    uint64_t packed_bytes; /* of all its operations */
};

struct plan_chunk {
    uint32_t chunk; /* of the manifest */
    uint32_t use_count;
    uint64_t first_use;
};

struct plan {
    struct plan_chunk *chunk;
    struct plan_use *use;
    struct plan_op *op;
    size_t chunk_count, use_count, op_count;
    uint64_t wanted_bytes; /* logical, over all requests */
    uint64_t stored_bytes; /* extents of the distinct chunks */
};

/* One rank's wish. Strides per entry (array of entry_count pointers, each NULL
 * or ndim values in elements), or NULL when all are dense: the destination
 * side of operations honours them. */
struct plan_request {
    const struct entry *entries;
    size_t entry_count;
    const uint64_t *const *strides;
};

/*
 * The entries were checked (entry_check). -ENOENT: a tensor is not in the
 * checkpoint; -CKPT_ESHAPE: dtype or logical shape differ (both are told);
 * -CKPT_EPARTIAL: elements that no chunk holds (cannot happen for a manifest
 * that passed manifest_coverage); -CKPT_ECORRUPT: pieces or regions of the
 * manifest that contradict each other; -ENOMEM. The words begin with "tensor
 * NAME: ". *failed_request names whose wish it was. Time: near-linear in
 * regions touched plus operations made.
 */
int plan_build(const struct manifest *m, const struct plan_request *requests,
               size_t request_count, struct plan *out, size_t *failed_request,
               struct err *err) MUST_USE;
void plan_free(struct plan *p);

/* Operations on the wire: what a trainer needs to scatter one slot. Each takes
 * PLAN_OP_WIRE_MIN bytes or more: hold `count` against that before making
 * room for it. */
#define PLAN_OP_WIRE_MIN 17
void plan_ops_encode(const struct plan_op *ops, size_t count, struct wr *w);
/* Checks every bound: entries below entry_count, destination ends within
 * local_bytes[entry], sources end to end within packed_bytes. A decoded
 * operation's source is its place in the slot, so that copy_run(op, slot,
 * local) scatters it. -EBADMSG. */
int plan_ops_decode(struct rd *r, size_t count, size_t entry_count,
                    const uint64_t *local_bytes, uint64_t packed_bytes,
                    struct plan_op *out) MUST_USE;

/* The same for a slot that holds the whole decoded chunk (WIRE_DELIVER in
 * place): sources are sent too, and count from the chunk's first byte. Each
 * source ends within slot_bytes and none has more bytes than that, or
 * -EBADMSG. */
void plan_ops_encode_in_place(const struct plan_op *ops, size_t count,
                              struct wr *w);
int plan_ops_decode_in_place(struct rd *r, size_t count, size_t entry_count,
                             const uint64_t *local_bytes, uint64_t slot_bytes,
                             struct plan_op *out) MUST_USE;

#endif
