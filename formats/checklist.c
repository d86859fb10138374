/*
 * checklist.c - the rule of checklist.h, computed.
 *
 * One walk over the pieces that are written, then one over the entries for the
 * blocks that others write. Both append; `first` is made at the end. Failures
 * are -ENOMEM and -EFBIG, after which nothing is held.
 */
#include "formats/checklist.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct listing {
    const struct entry *entry;
    const struct writelist *list;
    const struct trust *trust;
    uint32_t chunk_bytes;
    size_t held_count;
    struct wr blocks;    /* struct check_block */
    struct wr own_bytes; /* uint32_t, of each own chunk */
};

static void append(struct listing *l, const struct check_block *block)
{
    wr_bytes(&l->blocks, block, sizeof *block);
}

static uint64_t name_hash(const struct entry *e)
{
    return hash_64(e->name, strlen(e->name));
}

/* What this rank writes of entry `index`. */
static void list_written(struct listing *l, uint32_t index)
{
    const struct entry *e = &l->entry[index];
    const struct wl_slice *s = &l->list->slice[index];
    bool is_compared = trust_compares(l->trust, e);
    bool is_optimizer = trust_is_optimizer(l->trust, e);
    uint64_t hash = is_compared ? name_hash(e) : 0;

    for (uint32_t i = 0; (is_compared || is_optimizer) && i < s->piece_count;
         i++) {
        const struct wl_piece *p = &l->list->piece[s->first_piece + i];
        struct check_block block = {
            .region_start = p->region_start,
            .entry = index,
            .bytes = p->bytes,
            .chunk = p->chunk,
            .chunk_start = p->chunk_start,
            .is_optimizer = is_optimizer,
            .is_replica = is_compared &&
                          trust_takes_block(l->trust, hash,
                                            p->region_start / l->chunk_bytes),
        };

        assert(p->region_start % l->chunk_bytes == 0);
        if (block.is_replica || block.is_optimizer)
            append(l, &block);
    }
}

/* Puts a block behind the others of the last own chunk, or into a new one. */
static void place(struct listing *l, struct check_block *block)
{
    size_t count = l->own_bytes.bytes / sizeof(uint32_t);
    uint32_t *used =
        count ? (uint32_t *)(void *)l->own_bytes.data + count - 1 : NULL;
    uint64_t at = used ? align_up(*used, PIECE_ALIGN) : 0;

    if (!used || at + block->bytes > l->chunk_bytes) {
        used = wr_room(&l->own_bytes, sizeof *used);
        at = 0;
        count++;
    }
    if (!used)
        return;
    block->chunk = (uint32_t)(l->list->chunk_count + count - 1);
    block->chunk_start = (uint32_t)at;
    *used = (uint32_t)at + block->bytes;
    append(l, block);
}

/* What others write of entry `index`. */
static int list_held(struct listing *l, uint32_t index)
{
    const struct entry *e = &l->entry[index];
    const struct wl_slice *s = &l->list->slice[index];
    uint64_t blocks = s->packed_bytes / l->chunk_bytes +
                      (s->packed_bytes % l->chunk_bytes != 0);
    uint64_t hash, first = 0, step = 1;

    if (!trust_compares(l->trust, e))
        return 0;
    hash = name_hash(e);
    if (l->trust->replica_check == TRUST_SAMPLE) {
        first = (l->trust->rotation - hash) % TRUST_PERIOD;
        step = TRUST_PERIOD;
    }
    for (uint64_t i = first; i < blocks; i += step) {
        uint64_t start = i * l->chunk_bytes;
        struct check_block block = {
            .region_start = start,
            .entry = index,
            .bytes = (uint32_t)min_u64(l->chunk_bytes, s->packed_bytes - start),
            .is_replica = true,
        };

        assert(trust_takes_block(l->trust, hash, i));
        if (start >= s->start && start < s->start + s->bytes)
            continue; /* listed as written */
        place(l, &block);
        if (l->blocks.failed || l->own_bytes.failed)
            return -ENOMEM;
        if (++l->held_count > CHECKLIST_HELD_MAX)
            return -EFBIG;
    }
    return 0;
}

static int fill_first(struct checklist *c)
{
    size_t chunks = (size_t)c->written_count + c->own_count, at = 0;

    c->first = calloc(chunks + 1, sizeof *c->first);
    if (!c->first)
        return -ENOMEM;
    for (size_t i = 0; i <= chunks; i++) {
        while (at < c->block_count && c->block[at].chunk < i)
            at++;
        c->first[i] = (uint32_t)at;
    }
    return 0;
}

int checklist_build(const struct entry *entries, size_t count,
                    const struct writelist *list, uint32_t chunk_bytes,
                    const struct trust *trust, struct checklist *out)
{
    struct listing l = {.entry = entries,
                        .list = list,
                        .trust = trust,
                        .chunk_bytes = chunk_bytes};
    int rc = 0;

    assert(list->slice_count == count);
    for (size_t i = 0; i < count; i++)
        list_written(&l, (uint32_t)i);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = list_held(&l, (uint32_t)i);
    if (rc == 0 && (l.blocks.failed || l.own_bytes.failed))
        rc = -ENOMEM;
    *out = (struct checklist){
        .block = (void *)l.blocks.data,
        .own_bytes = (void *)l.own_bytes.data,
        .block_count = l.blocks.bytes / sizeof(struct check_block),
        .written_count = (uint32_t)list->chunk_count,
        .own_count = (uint32_t)(l.own_bytes.bytes / sizeof(uint32_t)),
    };
    if (rc == 0)
        rc = fill_first(out);
    if (rc)
        checklist_free(out);
    return rc;
}

void checklist_free(struct checklist *c)
{
    if (!c)
        return;
    free(c->block);
    free(c->first);
    free(c->own_bytes);
    *c = (struct checklist){0};
}
