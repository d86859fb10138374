/*
 * fuzz_tier.c - a table of the remote tier, and the checkpoint of which it says
 * that it is:
 *
 *     u16 n, the container of a checkpoint up to its page digests (n x 64
 *     bytes), that of a table likewise; the digests are forged
 *
 * What is accepted names for each of its daemon's chunks one extent of the same
 * bytes, or of the same content encoded where it was raw, in a file of the
 * folder of remote files. What is refused may be asked
 * all the same which chunks a file has. Of every checkpoint each daemon's table
 * can be made, is accepted, and has its chunks end to end.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/tier.h"

#include <errno.h>
#include <stdlib.h>

#define DAEMONS_MAX 8

static void same_extent(const struct manifest *tier, uint64_t at,
                        const struct manifest *m, uint64_t chunk)
{
    struct chunk_header a, b;

    fuzz_check(at < tier->chunk_count);
    manifest_chunk_header(tier, at, &a);
    manifest_chunk_header(m, chunk, &b);
    fuzz_check(a.number == b.number && a.raw_bytes == b.raw_bytes &&
               a.rank == b.rank && id_equal(&a.segment, &b.segment) &&
               digest_equal(&a.content, &b.content));
    if (tier_is_packed(tier, at, m, chunk)) {
        fuzz_check(tier->info.is_repacked && b.codec == CODEC_RAW &&
                   a.payload_bytes < a.raw_bytes);
        return;
    }
    fuzz_check(a.payload_bytes == b.payload_bytes &&
               a.codec_param == b.codec_param &&
               a.stored_digest == b.stored_digest);
}

static bool is_its(const struct manifest *m, uint64_t chunk,
                   const struct id128 *daemon)
{
    for (uint64_t i = 0; i < m->rank_count; i++)
        if (m->rank[i].rank == m->chunk[chunk].rank)
            return id_equal(&m->rank[i].daemon, daemon);
    fuzz_check(!"a chunk of a rank");
    return false;
}

/* Of one that was accepted; how many chunks it has of m's. */
static uint64_t look(const struct manifest *tier, const struct manifest *m)
{
    uint64_t found = 0;

    for (uint64_t i = 0; i < m->chunk_count; i++) {
        int64_t at = tier_chunk(tier, m, i);

        fuzz_check((at >= 0) == is_its(m, i, &tier->info.daemon));
        fuzz_check(at >= 0 || at == -ENOENT);
        if (at < 0)
            continue;
        same_extent(tier, (uint64_t)at, m, i);
        found++;
    }
    for (uint64_t i = 0; i < tier->file_count; i++) {
        const struct mf_file *f = &tier->file[i];

        fuzz_check(f->name_bytes > 5 &&
                   memcmp(tier->blob + f->name, "data/", 5) == 0);
    }
    return found;
}

static void look_at_files(const struct manifest *tier)
{
    for (uint64_t i = 0; i < tier->file_count; i++) {
        uint64_t first, count = tier_file_chunks(tier, (uint32_t)i, &first);

        fuzz_check(first <= tier->chunk_count &&
                   count <= tier->chunk_count - first);
        for (uint64_t k = first; k < first + count; k++)
            fuzz_check(tier->location[k].file == i);
    }
}

static void end_to_end(const struct manifest *tier, uint64_t file_bytes)
{
    uint64_t next = 0;

    for (uint32_t i = 0; i < tier->file_count; i++) {
        uint64_t first, count = tier_file_chunks(tier, i, &first);
        uint64_t end = PAGE_BYTES;

        fuzz_check(first == next && count > 0);
        for (uint64_t k = first; k < first + count; k++) {
            fuzz_check(tier->location[k].offset == end);
            end += chunk_extent_bytes(tier->location[k].payload_bytes);
        }
        fuzz_check(tier_file_bytes(tier, i) == end && end <= file_bytes);
        next += count;
    }
    fuzz_check(next == tier->chunk_count);
}

static void make_each(const struct manifest *m)
{
    uint64_t file_bytes =
        PAGE_BYTES + 2 * chunk_extent_bytes(m->info.chunk_bytes);
    struct id128 daemons[DAEMONS_MAX];
    uint32_t count = tier_daemons(m, daemons, DAEMONS_MAX);

    for (uint32_t i = 0; i < count; i++) {
        struct manifest tier;
        struct err err;
        void *data;
        size_t bytes;

        /* Names and ids are the least of what may not fit. */
        if (tier_build(m, &daemons[i], file_bytes, &data, &bytes, &err))
            continue;
        fuzz_check(manifest_open(data, bytes, &tier, &err) == 0);
        fuzz_check(tier_check(&tier, m, &err) == 0);
        fuzz_check(look(&tier, m) == tier.chunk_count);
        end_to_end(&tier, file_bytes);
        free(data);
    }
}

/* The next `most` bytes as a container; NULL: not one. */
static uint8_t *take(struct rd *in, size_t most, struct manifest *m)
{
    size_t given_bytes, bytes;
    uint8_t *given = fuzz_exact(in, most, &given_bytes);
    uint8_t *container = forge_container(given, given_bytes, &bytes);
    struct err err;

    free(given);
    if (container && manifest_open(container, bytes, m, &err) == 0)
        return container;
    free(container);
    return NULL;
}

void fuzz_one(struct rd *in, size_t bytes)
{
    size_t front = (size_t)rd_u16(in) * 64;
    struct manifest m, tier;
    uint8_t *a = take(in, front, &m), *b = take(in, bytes, &tier);
    struct err err;

    /* Rows of the builder's tables are no larger than the manifest's. */
    fuzz_allocations(256);
    if (a && m.info.kind == MANIFEST_CHECKPOINT)
        make_each(&m);
    if (b)
        look_at_files(&tier);
    if (a && b && tier_check(&tier, &m, &err) == 0)
        (void)look(&tier, &m);
    free(a);
    free(b);
}
