/*
 * tier.c - tables of the remote tier; see tier.h.
 */
#include "formats/tier.h"
#include "formats/manifest_builder.h"
#include "formats/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct packing {
    const struct manifest *m;
    const struct mf_location *rows; /* of m's chunks; NULL: as in m, in files */
    const uint8_t *again;           /* by file; NULL: none is */
    struct manifest_builder *b;
    struct id128 daemon;
    uint64_t file_bytes; /* at most */
    uint32_t file_count;
    uint32_t file;     /* the builder's, of the one that is being filled */
    uint64_t used;     /* bytes of it; 0: there is none yet */
    uint32_t *segment; /* the builder's, + 1, by the manifest's; 0: not yet */
};

/* Unique as the name is: nobody else writes that file. */
static struct id128 file_id(const struct packing *p, uint32_t n)
{
    struct {
        struct id128 run, daemon;
        struct save_id save;
        uint64_t n;
    } key = {p->m->info.run, p->daemon, p->m->info.id, n};
    struct digest d = hash_128(&key, sizeof key);
    struct id128 id;

    static_assert(sizeof id == sizeof d, "an id from a digest");
    static_assert(sizeof key == 56, "no padding");
    memcpy(&id, &d, sizeof id);
    return id;
}

static int file_begin(struct packing *p)
{
    struct mf_file f = {.store = p->daemon};
    char name[RECORD_NAME_BYTES];
    int64_t index;

    (void)name_tier_file(name, &p->m->info.id, &p->daemon, p->file_count,
                         p->again ? p->again[p->file_count] : 0);
    f.name_bytes = (uint32_t)strlen(name);
    f.segment = file_id(p, p->file_count++);
    index = mb_file(p->b, &f, name);
    p->file = (uint32_t)index;
    p->used = PAGE_BYTES;
    return index < 0 ? (int)index : 0;
}

static int segment_of(struct packing *p, uint32_t index, uint32_t *out)
{
    if (!p->segment[index]) {
        int64_t at = mb_segment(p->b, &p->m->segment[index]);

        if (at < 0)
            return (int)at;
        p->segment[index] = (uint32_t)at + 1;
    }
    *out = p->segment[index] - 1;
    return 0;
}

static bool wants_file(const struct packing *p, const struct mf_location *from)
{
    if (p->rows)
        return from->file >= p->file_count;
    return p->used == 0 ||
           p->used + chunk_extent_bytes(from->payload_bytes) > p->file_bytes;
}

static int add_chunk(struct packing *p, uint64_t i)
{
    const struct mf_location *from = p->rows ? &p->rows[i] : &p->m->location[i];
    struct mf_location *at = MB_ADD(p->b->locations, struct mf_location, 1);
    struct mf_chunk *c = MB_ADD(p->b->chunks, struct mf_chunk, 1);
    int rc = 0;

    if (!at || !c)
        return -ENOMEM;
    if (wants_file(p, from))
        rc = file_begin(p);
    *c = p->m->chunk[i];
    if (rc == 0)
        rc = segment_of(p, c->segment, &c->segment);
    *at = *from;
    at->file = p->file;
    at->offset = p->used;
    p->used += chunk_extent_bytes(from->payload_bytes);
    return rc;
}

static int add_rank(struct packing *p, const struct mf_rank *from,
                    struct err *err)
{
    struct mf_rank rank = *from;
    int64_t index;
    int rc = 0;

    rank.first_chunk = MB_COUNT(p->b->chunks, struct mf_chunk);
    index = mb_rank(p->b, &rank, err);
    if (index < 0)
        return (int)index;
    for (uint64_t k = 0; k < from->chunk_count && rc == 0; k++)
        rc = add_chunk(p, from->first_chunk + k);
    return rc ? err_set(err, rc, "remote table: %s", err_text(rc)) : 0;
}

static bool is_repacked(const struct packing *p)
{
    for (uint64_t i = 0; p->rows && i < p->m->chunk_count; i++)
        if (p->rows[i].codec != p->m->location[i].codec)
            return true;
    return false;
}

static int pack(struct packing *p, void **data, size_t *bytes, struct err *err)
{
    struct manifest_info info = p->m->info;
    uint64_t ranks = 0;
    int rc = 0;

    for (uint64_t i = 0; i < p->m->rank_count && rc == 0; i++) {
        if (!id_equal(&p->m->rank[i].daemon, &p->daemon))
            continue;
        rc = add_rank(p, &p->m->rank[i], err);
        ranks++;
    }
    if (rc)
        return rc;
    if (ranks == 0)
        return err_set(err, -ENOENT, "remote table: no rank is this daemon's");
    info.kind = MANIFEST_TIER;
    info.daemon = p->daemon;
    info.is_repacked = is_repacked(p);
    return manifest_write(p->b, &info, &p->m->layout, data, bytes, err);
}

static int build(struct packing *p, void **data, size_t *bytes, struct err *err)
{
    int rc;

    p->b = manifest_builder_new();
    p->segment = calloc(p->m->segment_count + 1, sizeof *p->segment);
    if (p->b && p->segment)
        rc = pack(p, data, bytes, err);
    else
        rc = err_set(err, -ENOMEM, "no memory for a remote table");
    manifest_builder_free(p->b);
    free(p->segment);
    return rc;
}

int tier_build(const struct manifest *m, const struct id128 *daemon,
               uint64_t file_bytes, void **data, size_t *bytes, struct err *err)
{
    struct packing p = {.m = m, .daemon = *daemon, .file_bytes = file_bytes};

    return build(&p, data, bytes, err);
}

int tier_rebuild(const struct manifest *tier, const struct mf_location *rows,
                 const uint8_t *again, void **data, size_t *bytes,
                 struct err *err)
{
    struct packing p = {
        .m = tier, .daemon = tier->info.daemon, .rows = rows, .again = again};

    return build(&p, data, bytes, err);
}

/*
 * Reading.
 */

/* The same extent, byte for byte, or what was raw encoded. */
static bool is_same_extent(const struct mf_location *at,
                           const struct mf_location *of, bool is_repacked)
{
    if (is_repacked && of->codec == CODEC_RAW && at->codec != CODEC_RAW)
        return true;
    return at->codec == of->codec && at->codec_param == of->codec_param &&
           at->payload_bytes == of->payload_bytes &&
           at->stored_digest == of->stored_digest;
}

/* Wherever it lies. */
static bool is_same_chunk(const struct manifest *tier, uint64_t i,
                          const struct manifest *m, uint64_t k)
{
    const struct mf_chunk *x = &tier->chunk[i], *y = &m->chunk[k];

    return x->number == y->number && x->raw_bytes == y->raw_bytes &&
           digest_equal(&x->content, &y->content) &&
           is_same_extent(&tier->location[i], &m->location[k],
                          tier->info.is_repacked) &&
           id_equal(&tier->segment[x->segment].segment,
                    &m->segment[y->segment].segment);
}

static int check_rank(const struct manifest *tier, const struct mf_rank *r,
                      const struct manifest *m, struct err *err)
{
    const struct mf_rank *of = manifest_rank(m, r->rank);

    if (!of || of->chunk_count != r->chunk_count ||
        !id_equal(&of->daemon, &tier->info.daemon))
        return err_set(err, -CKPT_ECORRUPT,
                       "the remote table's rank %u is not the manifest's",
                       r->rank);
    for (uint64_t i = 0; i < r->chunk_count; i++)
        if (!is_same_chunk(tier, r->first_chunk + i, m, of->first_chunk + i))
            return err_set(err, -CKPT_ECORRUPT,
                           "the remote table's chunk %" PRIu64
                           " of rank %u is not the manifest's",
                           i, r->rank);
    return 0;
}

/* Below the run's folder there is more than data. */
static int check_files(const struct manifest *tier, struct err *err)
{
    static const char folder[] = "data/";

    for (uint64_t i = 0; i < tier->file_count; i++)
        if (tier->file[i].name_bytes < sizeof folder ||
            memcmp(tier->blob + tier->file[i].name, folder,
                   sizeof folder - 1) != 0)
            return err_set(err, -CKPT_ECORRUPT,
                           "the remote table's file %" PRIu64
                           " is not in the folder of remote files",
                           i);
    return 0;
}

int tier_check(const struct manifest *tier, const struct manifest *m,
               struct err *err)
{
    uint64_t ranks = 0;
    int rc;

    if (tier->info.kind != MANIFEST_TIER ||
        !id_equal(&tier->info.run, &m->info.run) ||
        save_id_compare(&tier->info.id, &m->info.id) != 0)
        return err_set(err, -CKPT_ECORRUPT,
                       "what should be a remote table is of another save");
    rc = check_files(tier, err);
    for (uint64_t i = 0; i < tier->rank_count && rc == 0; i++)
        rc = check_rank(tier, &tier->rank[i], m, err);
    for (uint64_t i = 0; i < m->rank_count; i++)
        ranks += id_equal(&m->rank[i].daemon, &tier->info.daemon);
    if (rc == 0 && ranks != tier->rank_count)
        rc = err_set(err, -CKPT_ECORRUPT,
                     "the remote table lacks ranks of its daemon");
    return rc;
}

int64_t tier_chunk(const struct manifest *tier, const struct manifest *m,
                   uint64_t chunk)
{
    uint32_t rank = m->chunk[chunk].rank;
    const struct mf_rank *of = manifest_rank(m, rank),
                         *r = manifest_rank(tier, rank);

    if (!r)
        return -ENOENT;
    return (int64_t)(r->first_chunk + (chunk - of->first_chunk));
}

uint64_t tier_source(const struct manifest *tier, const struct manifest *m,
                     uint64_t chunk)
{
    uint32_t rank = tier->chunk[chunk].rank;

    return manifest_rank(m, rank)->first_chunk +
           (chunk - manifest_rank(tier, rank)->first_chunk);
}

uint64_t tier_file_chunks(const struct manifest *tier, uint32_t file,
                          uint64_t *first)
{
    uint64_t low = 0, high = tier->chunk_count, end;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (tier->location[middle].file < file)
            low = middle + 1;
        else
            high = middle;
    }
    for (end = low; end < tier->chunk_count && tier->location[end].file == file;
         end++)
        continue;
    *first = low;
    return end - low;
}

uint64_t tier_file_bytes(const struct manifest *tier, uint32_t file)
{
    uint64_t first, count = tier_file_chunks(tier, file, &first);
    const struct mf_location *last;

    if (count == 0)
        return PAGE_BYTES;
    last = &tier->location[first + count - 1];
    return last->offset + chunk_extent_bytes(last->payload_bytes);
}

uint32_t tier_daemons(const struct manifest *m, struct id128 *out,
                      uint32_t capacity)
{
    uint32_t count = 0;

    for (uint64_t i = 0; i < m->rank_count && count < capacity; i++) {
        uint32_t k = 0;

        while (k < count && !id_equal(&out[k], &m->rank[i].daemon))
            k++;
        if (k == count)
            out[count++] = m->rank[i].daemon;
    }
    return count;
}
