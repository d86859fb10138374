/*
 * state.c - tensors and their bytes.
 *
 * A checkpoint can only be loaded where it was saved, so every node has tensors
 * of its own. The ranks of a node share them: each holds a cut, uneven, of
 * three of each four and a replica of the fourth. A job with another number of
 * ranks per node loads other cuts.
 *
 * Bytes follow from the name of the save alone, so that nothing needs keeping.
 * Two attempts at one step differ, but for one tensor in four, which changes at
 * every fourth step only: it is there to be referred to.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Every fourth tensor is of one of these kinds. */
enum { KIND_FROZEN = 1, KIND_REPLICA = 3, KINDS };

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t base_of(const struct sim_rank *r, uint32_t tensor,
                        const struct save_id *id)
{
    bool is_frozen = tensor % KINDS == KIND_FROZEN;
    uint64_t z = mix(r->sim->seed + tensor * 1000003u + r->node->index);

    z = mix(z + id->generation);
    z = mix(z + (is_frozen ? id->step / 4 : id->step));
    return mix(z + (is_frozen ? 0 : id->attempt));
}

static uint64_t element(const struct sim_rank *r, uint64_t base, uint64_t index)
{
    return mix(base + index * 0x9e3779b97f4a7c15u) & r->sim->plan.mask;
}

/* Where the i-th of `count` ranks begins. */
static uint64_t cut_at(uint64_t elements, uint32_t count, uint32_t i)
{
    uint64_t at = elements * i / count;

    return i > 0 && i < count && at % 2 == 0 ? at + 1 : at;
}

void state_describe(struct sim_rank *r)
{
    uint64_t elements = r->sim->plan.elements;
    uint32_t count = r->job->per_node;
    int rc;

    for (uint32_t t = 0; t < r->sim->plan.tensors; t++) {
        struct entry *e = &r->entry[t];

        (void)snprintf(r->name[t], sizeof r->name[t],
                       "node%" PRIu32 ".t%" PRIu32, r->node->index, t);
        *e = (struct entry){.name = r->name[t], .replica_count = 1};
        e->geometry.dtype = DTYPE_U64;
        e->geometry.ndim = 1;
        e->geometry.shape[0] = elements;
        if (t % KINDS == KIND_REPLICA) {
            e->replica_index = r->local;
            e->replica_count = count;
        } else if (count > 1) {
            e->region.is_cut = true;
            e->region.cut_start = cut_at(elements, count, r->local);
            e->region.cut_count =
                cut_at(elements, count, r->local + 1) - e->region.cut_start;
        }
        r->bytes[t] = region_local_bytes(&e->geometry, &e->region, NULL);
        r->data[t] = calloc(1, r->bytes[t]);
        assert(r->data[t]);
    }
    rc = writelist_build(r->entry, r->sim->plan.tensors, CHUNK_BYTES_MIN,
                         &r->list);
    assert(rc == 0);
}

void state_chunk(const struct sim_rank *r, const struct save_id *id,
                 uint32_t chunk, uint8_t *to)
{
    const struct wl_chunk *c = &r->list.chunk[chunk];

    memset(to, 0, c->raw_bytes);
    for (uint32_t i = 0; i < c->piece_count; i++) {
        const struct wl_piece *p = &r->list.piece[c->first_piece + i];
        const struct entry *e = &r->entry[p->entry];
        uint64_t base = base_of(r, p->entry, id);
        uint64_t first = e->region.cut_start + p->region_start / 8;

        for (uint32_t k = 0; k < p->bytes / 8; k++)
            put_u64(to + p->chunk_start + (size_t)k * 8,
                    element(r, base, first + k));
    }
}

bool state_check(const struct sim_rank *r, const struct save_id *id, char *text,
                 size_t capacity)
{
    for (uint32_t t = 0; t < r->sim->plan.tensors; t++) {
        const struct entry *e = &r->entry[t];
        uint64_t base = base_of(r, t, id);

        for (uint64_t i = 0; i < r->bytes[t] / 8; i++) {
            uint64_t want = element(r, base, e->region.cut_start + i);
            uint64_t got = get_u64(r->data[t] + i * 8);

            if (want == got)
                continue;
            (void)snprintf(text, capacity,
                           "tensor %s element %" PRIu64 " is %016" PRIx64
                           ", not %016" PRIx64,
                           e->name, e->region.cut_start + i, got, want);
            return false;
        }
    }
    return true;
}
