/*
 * fuzz_manifest.c - containers: manifests and votes:
 *
 *     u8 whole, bytes    whole 0: up to the page digests, which are forged
 *                        whole 1: the container as it lies on media
 *
 * Of one that opens, everything that the accessors give is asked for. Written
 * again through the builder it opens, says the same, and the next time comes
 * out byte for byte: one form for one content.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/divergence.h"
#include "formats/manifest_media.h"

#include <stdlib.h>

static void look(const struct manifest *m)
{
    struct chunk_header header;
    struct box *boxes = NULL;
    size_t capacity = 0, bytes;
    struct geometry g;
    struct region r;
    struct err err;

    for (uint64_t i = 0; i < m->tensor_count; i++) {
        const struct mf_tensor *t = &m->tensor[i];

        fuzz_check(manifest_find(m, m->blob + t->name, t->name_bytes) ==
                   (int64_t)i);
        manifest_geometry(m, i, &g);
        fuzz_check(geometry_check(&g, &err) == 0);
        fuzz_check(geometry_bytes(&g) == t->logical_bytes);
        for (uint64_t k = 0; k < t->region_count; k++) {
            uint64_t at = t->first_region + k;

            fuzz_check(manifest_region(m, at, &boxes, &capacity, &r) == 0);
            fuzz_check(region_check(&g, &r, NULL, &err) == 0);
            fuzz_check(region_packed_bytes(&g, &r) ==
                       m->region[at].packed_bytes);
        }
    }
    free(boxes);
    for (uint64_t i = 0; i < m->chunk_count; i++) {
        manifest_chunk_header(m, i, &header);
        fuzz_check(chunk_sizes_are_good(header.raw_bytes, header.payload_bytes,
                                        header.codec, header.codec_param));
    }
    (void)manifest_note(m, "host", &bytes);
    for (uint64_t i = 0; i < m->trust_count; i++)
        fuzz_check(manifest_trust(m, m->trust[i].rank) == &m->trust[i]);
}

/* What the committer makes of it as a vote. */
static void judge_it(const struct manifest *m)
{
    static struct judgement j;
    struct err err;

    if (m->info.kind != MANIFEST_VOTE || judge(m, 1, &j, &err))
        return;
    fuzz_check(j.diverged_blocks <= m->check_count);
    fuzz_check(strnlen(j.divergence, sizeof j.divergence) <
               sizeof j.divergence);
    fuzz_check(strnlen(j.stale, sizeof j.stale) < sizeof j.stale);
}

/* Written again; NULL when the builder has a reason not to. */
static uint8_t *rewrite(const struct manifest *m, size_t *bytes)
{
    struct manifest_builder *b = manifest_builder_new();
    void *data = NULL;
    struct err err;

    fuzz_check(b);
    if (manifest_add_vote(b, m, &err) ||
        manifest_write(b, &m->info, &m->layout, &data, bytes, &err))
        data = NULL;
    manifest_builder_free(b);
    return data;
}

static void same_content(const struct manifest *a, const struct manifest *b)
{
    fuzz_check(a->tensor_count == b->tensor_count);
    fuzz_check(a->region_count == b->region_count);
    fuzz_check(a->piece_count == b->piece_count);
    fuzz_check(a->chunk_count == b->chunk_count);
    fuzz_check(a->rank_count == b->rank_count);
    fuzz_check(a->value_count == b->value_count);
    fuzz_check(layout_equal(&a->layout, &b->layout));
    for (uint64_t i = 0; i < a->tensor_count; i++)
        fuzz_check(a->tensor[i].logical_bytes == b->tensor[i].logical_bytes);
    for (uint64_t i = 0; i < a->piece_count; i++)
        fuzz_check(a->piece[i].bytes == b->piece[i].bytes);
}

static void write_again(const struct manifest *m)
{
    size_t bytes, again_bytes;
    uint8_t *data, *again;
    struct manifest first, second;
    struct err err;

    data = rewrite(m, &bytes);
    if (!data)
        return;
    fuzz_check(manifest_open(data, bytes, &first, &err) == 0);
    same_content(m, &first);
    again = rewrite(&first, &again_bytes);
    fuzz_check(again && manifest_open(again, again_bytes, &second, &err) == 0);
    fuzz_check(again_bytes == bytes && memcmp(again, data, bytes) == 0);
    free(again);
    free(data);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    uint8_t whole = rd_u8(in);
    size_t given_bytes, container_bytes;
    uint8_t *given = fuzz_exact(in, bytes, &given_bytes), *container = given;
    struct manifest m;
    struct err err;

    if (whole)
        container_bytes = given_bytes;
    else
        container = forge_container(given, given_bytes, &container_bytes);
    if (container && manifest_open(container, container_bytes, &m, &err) == 0) {
        /* Its boxes and slabs are structs of a few words per byte. */
        fuzz_allocations(256);
        look(&m);
        judge_it(&m);
        (void)manifest_coverage(&m, &err);
        write_again(&m);
    }
    if (container != given)
        free(container);
    free(given);
}
