/*
 * fuzz_plan_ops.c - operations of a plan as a trainer is sent them:
 *
 *     u8 in place, u8 operations, u8 entries (1 to 8 by its low bits),
 *     u8 bytes of each entry, u8 bytes of the slot, operations
 *
 * What decodes is run between a slot and entries of exactly those sizes, where
 * the sanitizer sees a byte too far, and encodes again to the same bytes. Small
 * sizes, and seeds that fill them, so that a bound is met soon.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/plan.h"

#include <stdlib.h>

#define ENTRIES_MAX 8

void fuzz_one(struct rd *in, size_t bytes)
{
    bool in_place = rd_u8(in) & 1;
    size_t count = rd_u8(in), entries = (rd_u8(in) & (ENTRIES_MAX - 1)) + 1U;
    struct plan_op op[UINT8_MAX];
    uint64_t local_bytes[ENTRIES_MAX], slot_bytes;
    uint8_t *slot, *data, *local[ENTRIES_MAX];
    size_t data_bytes;
    struct wr w = {0};
    struct rd r;
    int rc;

    for (size_t i = 0; i < entries; i++)
        local_bytes[i] = rd_u8(in);
    slot_bytes = rd_u8(in);
    data = fuzz_exact(in, bytes, &data_bytes);
    r = rd_init(data, data_bytes);
    rc = in_place
             ? plan_ops_decode_in_place(&r, count, entries, local_bytes,
                                        slot_bytes, op)
             : plan_ops_decode(&r, count, entries, local_bytes, slot_bytes, op);
    if (rc == 0) {
        slot = calloc(1, slot_bytes);
        for (size_t i = 0; i < entries; i++)
            local[i] = calloc(1, local_bytes[i]);
        for (size_t i = 0; i < count; i++)
            copy_run(&op[i].copy, slot, local[op[i].entry]);
        for (size_t i = 0; i < entries; i++)
            free(local[i]);
        free(slot);
        if (in_place)
            plan_ops_encode_in_place(op, count, &w);
        else
            plan_ops_encode(op, count, &w);
        fuzz_same(&w, data, (size_t)(r.at - data));
    }
    free(data);
}
