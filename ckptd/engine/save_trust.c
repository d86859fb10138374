/*
 * save_trust.c - what a save finds out about its own bytes (formats/trust.h):
 * the blocks that a part digests beside its chunks, which ranks of this daemon
 * hold other bytes of one replica and in which element, and whether the
 * optimizer's state is still that of the base.
 *
 * Digests are taken by the pipeline's workers while a chunk is in its slot.
 * Before the vote a worker sorts the blocks of all parts; for those that differ
 * the engine then looks at the bytes of both sides, as long as they are still
 * in their slots: one block for each of the first few regions, which is rare
 * and short. What cannot be located so is told by its digests alone.
 *
 * Failures: no memory fails the part or the vote.
 */
#include "ckptd/engine/save_internal.h"
#include "formats/divergence.h"

#include <errno.h>
#include <stdlib.h>

/* Regions of which the differing element is looked for, per save. */
#define LOCATE_MAX 16

struct located {
    uint32_t part, block;
    uint64_t at; /* byte in packed order */
    uint32_t other;
    uint8_t own[8], others[8];
};

/* A block that differs from the one that is taken for right. */
struct suspect {
    uint32_t part, block, right_part, right_block;
};

struct save_compare {
    struct env_job job;
    struct save *save;
    struct save_part **part;
    uint32_t part_count;
    struct suspect suspect[LOCATE_MAX];
    struct located located[LOCATE_MAX];
    uint32_t suspect_count, located_count;
    int result;
};

/*
 * A part's blocks.
 */

int part_trust_init(struct save_part *p, uint32_t chunk_bytes,
                    const struct trust *trust)
{
    const struct rank_table *t = p->table;
    int rc;

    if (!trust)
        return 0;
    rc = checklist_build(t->table.entry, t->table.count, &t->list, chunk_bytes,
                         trust, &p->check);
    if (rc)
        return rc;
    p->block_digest = calloc(p->check.block_count + 1, sizeof *p->block_digest);
    if (!p->block_digest)
        return -ENOMEM;
    p->has_trust = true;
    if (trust->on_divergence == TRUST_FAIL)
        p->trust_flags |= MF_TRUST_FAIL_DIVERGENCE;
    if (trust->on_stale == TRUST_FAIL)
        p->trust_flags |= MF_TRUST_FAIL_STALE;
    return 0;
}

void part_trust_fini(struct save_part *p)
{
    checklist_free(&p->check);
    free(p->block_digest);
    p->block_digest = NULL;
}

void part_digest_blocks(struct save_part *p, uint32_t chunk, const uint8_t *raw,
                        uint32_t raw_bytes, const struct digest *content)
{
    if (!p->has_trust)
        return;
    for (uint32_t i = p->check.first[chunk]; i < p->check.first[chunk + 1];
         i++) {
        const struct check_block *b = &p->check.block[i];

        p->block_digest[i] = b->bytes == raw_bytes && content
                                 ? *content
                                 : hash_128(raw + b->chunk_start, b->bytes);
    }
}

/*
 * Comparing the parts.
 */

static struct digest block_key(const struct save_part *p,
                               const struct check_block *b, struct wr *w)
{
    const struct entry *e = &p->table->table.entry[b->entry];

    return replica_key(e->name, strlen(e->name), &e->geometry, &e->region, w);
}

/* Everybody's replica blocks; returns how many. */
static size_t fill_rows(const struct save_compare *c, struct replica_row *rows,
                        struct wr *w)
{
    size_t count = 0;

    for (uint32_t i = 0; i < c->part_count; i++) {
        const struct save_part *p = c->part[i];
        uint32_t entry = UINT32_MAX;
        struct digest key = {{0}};

        for (uint32_t k = 0; k < p->check.block_count; k++) {
            const struct check_block *b = &p->check.block[k];

            if (!b->is_replica)
                continue;
            if (b->entry != entry)
                key = block_key(p, b, w);
            entry = b->entry;
            rows[count++] = (struct replica_row){
                .key = key,
                .content = p->block_digest[k],
                .start = b->region_start,
                .bytes = b->bytes,
                .rank = p->rank,
                .source = i,
                .index = k,
            };
        }
    }
    return count;
}

/* The first other row of the first block that differs, of each region. */
static void find_suspects(struct save_compare *c,
                          const struct replica_row *rows, size_t count)
{
    const struct digest *told = NULL;
    size_t end;

    for (size_t i = 0; i < count && c->suspect_count < LOCATE_MAX; i = end) {
        const struct replica_row *right, *wrong = &rows[i];

        end = replica_group_end(rows, count, i);
        if (!replica_group_differs(wrong, end - i) ||
            (told && digest_equal(told, &rows[i].key)))
            continue;
        told = &rows[i].key;
        right = &rows[i + replica_group_right(wrong, end - i)];
        while (digest_equal(&wrong->content, &right->content))
            wrong++;
        c->suspect[c->suspect_count++] = (struct suspect){
            wrong->source, wrong->index, right->source, right->index};
    }
}

static void compare_run(struct env_job *job)
{
    struct save_compare *c = container_of(job, struct save_compare, job);
    struct replica_row *rows;
    struct wr w = {0};
    size_t count = 0;

    for (uint32_t i = 0; i < c->part_count; i++)
        count += c->part[i]->check.block_count;
    rows = calloc(count + 1, sizeof *rows);
    if (!rows) {
        c->result = -ENOMEM;
        return;
    }
    count = fill_rows(c, rows, &w);
    if (w.failed)
        c->result = -ENOMEM;
    replica_rows_sort(rows, count);
    find_suspects(c, rows, count);
    wr_free(&w);
    free(rows);
}

/* The block's bytes, if they are still where they were given. */
static const uint8_t *block_bytes(const struct save_part *p, uint32_t block)
{
    const struct check_block *b = &p->check.block[block];
    const struct part_chunk *chunk = &p->chunk[b->chunk];
    const struct slot *slot = &p->slots->slot[chunk->slot];

    if (slot->state != SLOT_CLEAN || slot->owner != p->number ||
        slot->number != chunk->number ||
        !digest_equal(&slot->content, &chunk->content))
        return NULL;
    return (const uint8_t *)slot_payload(p->slots, chunk->slot) +
           b->chunk_start;
}

/* Ranks may write to their arenas at any time: that both sides are equal now,
 * though their digests were not, means only that it cannot be located. */
static void locate(struct save_compare *c, const struct suspect *s)
{
    const struct save_part *p = c->part[s->part];
    const struct save_part *right = c->part[s->right_part];
    const struct check_block *b = &p->check.block[s->block];
    const uint8_t *own = block_bytes(p, s->block);
    const uint8_t *others = block_bytes(right, s->right_block);
    uint32_t unit =
        geometry_unit_bytes(&p->table->table.entry[b->entry].geometry);
    struct located *to = &c->located[c->located_count];
    uint64_t at;

    if (!own || !others)
        return;
    at = replica_first_difference(own, others, b->bytes, unit);
    if (at == b->bytes)
        return;
    *to = (struct located){.part = s->part,
                           .block = s->block,
                           .at = b->region_start + at,
                           .other = right->rank};
    memcpy(to->own, own + at, unit);
    memcpy(to->others, others + at, unit);
    c->located_count++;
}

static void compare_done(struct env_job *job)
{
    struct save_compare *c = container_of(job, struct save_compare, job);

    for (uint32_t i = 0; c->result == 0 && i < c->suspect_count; i++)
        locate(c, &c->suspect[i]);
    vote_compared(c->save, c->result);
}

int save_compare_begin(struct save *v, struct save_compare **out)
{
    struct save_compare *c = calloc(1, sizeof *c);
    uint32_t count = 0;

    if (!c)
        return -ENOMEM;
    LIST_FOR_EACH (node, &v->parts)
        count++;
    c->save = v;
    c->part = calloc((size_t)count + 1, sizeof(struct save_part *));
    if (!c->part) {
        free(c);
        return -ENOMEM;
    }
    LIST_FOR_EACH (node, &v->parts)
        c->part[c->part_count++] = container_of(node, struct save_part, link);
    c->job.run = compare_run;
    c->job.done = compare_done;
    *out = c;
    v->engine->env->ops->work(v->engine->env, &c->job);
    return 0;
}

void save_compare_free(struct save_compare *c)
{
    if (!c)
        return;
    free(c->part);
    free(c);
}

/*
 * Into the vote.
 */

static void fill_check(const struct save_compare *c, const struct save_part *p,
                       uint32_t block, struct built_check *out)
{
    const struct check_block *b = &p->check.block[block];

    *out = (struct built_check){.entry = b->entry,
                                .row = {.bytes = b->bytes,
                                        .start = b->region_start,
                                        .content = p->block_digest[block],
                                        .differs_at = CHECK_UNKNOWN}};
    for (uint32_t i = 0; i < c->located_count; i++) {
        const struct located *l = &c->located[i];

        if (c->part[l->part] != p || l->block != block)
            continue;
        out->row.differs_at = l->at;
        out->row.other = l->other;
        memcpy(out->row.own, l->own, sizeof out->row.own);
        memcpy(out->row.others, l->others, sizeof out->row.others);
    }
}

/* One digest of all that this part writes of the optimizer's state. */
static int fill_optimizer(const struct save_part *p, struct mf_trust *out)
{
    const struct mf_trust *base;
    struct wr w = {0};
    int rc;

    for (uint32_t i = 0; i < p->check.block_count; i++) {
        if (!p->check.block[i].is_optimizer)
            continue;
        out->optimizer_bytes += p->check.block[i].bytes;
        wr_bytes(&w, p->block_digest[i].b, sizeof p->block_digest[i].b);
    }
    rc = w.failed ? -ENOMEM : 0;
    if (out->optimizer_bytes)
        out->optimizer = hash_128(w.data, rc ? 0 : w.bytes);
    wr_free(&w);
    base = base_trust(p, &out->same);
    if (!base || out->optimizer_bytes == 0 ||
        base->optimizer_bytes != out->optimizer_bytes ||
        !digest_equal(&base->optimizer, &out->optimizer) ||
        out->same.step >= p->save->id.step)
        out->same = (struct save_id){0};
    return rc;
}

int part_trust_rows(const struct save_compare *c, const struct save_part *p,
                    struct mf_trust *trust, struct built_check **checks,
                    size_t *count)
{
    *checks = NULL;
    *count = 0;
    *trust = (struct mf_trust){.rank = p->rank, .flags = p->trust_flags};
    *checks = calloc(p->check.block_count + 1, sizeof(struct built_check));
    if (!*checks)
        return -ENOMEM;
    for (uint32_t i = 0; i < p->check.block_count; i++) {
        if (!p->check.block[i].is_replica)
            continue;
        trust->compared_bytes += p->check.block[i].bytes;
        fill_check(c, p, i, &(*checks)[(*count)++]);
    }
    return fill_optimizer(p, trust);
}
