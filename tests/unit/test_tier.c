/*
 * Tables of the remote tier: every chunk of a daemon's ranks once, in files
 * that are no longer than asked, with the digests of the manifest; and what is
 * no table of this checkpoint is refused.
 */
#include "formats/tier.h"
#include "tests/lib/small_manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_BYTES ((uint64_t)5 * (CHUNK_BYTES_MIN + PAGE_BYTES) + PAGE_BYTES)

struct world {
    void *data;
    size_t bytes;
    struct manifest m;
    struct id128 daemon; /* of rank 1 */
    void *tier_data;
    size_t tier_bytes;
    struct manifest tier;
};

static int begin(void **state)
{
    static const uint32_t ranks[] = {0, 1};
    static struct world w;
    struct err err;

    w = (struct world){0};
    small_make(MANIFEST_CHECKPOINT, ranks, 2, &w.data, &w.bytes);
    assert_int_equal(manifest_open(w.data, w.bytes, &w.m, &err), 0);
    w.daemon = w.m.rank[1].daemon;
    if (tier_build(&w.m, &w.daemon, FILE_BYTES, &w.tier_data, &w.tier_bytes,
                   &err))
        fail_msg("%s", err.text);
    assert_int_equal(manifest_open(w.tier_data, w.tier_bytes, &w.tier, &err),
                     0);
    *state = &w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;

    free(w->data);
    free(w->tier_data);
    return 0;
}

static void every_chunk_has_its_place(void **state)
{
    const struct world *w = *state;
    const struct mf_rank *r = &w->m.rank[1];
    uint64_t end = 0;
    uint32_t file = UINT32_MAX;

    assert_int_equal(w->tier.rank_count, 1);
    assert_int_equal(w->tier.chunk_count, r->chunk_count);
    assert_true(w->tier.file_count > 1);
    assert_int_equal(tier_chunk(&w->tier, &w->m, 0), -ENOENT); /* rank 0's */
    for (uint64_t i = 0; i < r->chunk_count; i++) {
        int64_t k = tier_chunk(&w->tier, &w->m, r->first_chunk + i);
        struct chunk_header a, b;
        const struct mf_location *at;

        assert_int_equal(k, i);
        assert_int_equal(tier_source(&w->tier, &w->m, i), r->first_chunk + i);
        manifest_chunk_header(&w->m, r->first_chunk + i, &a);
        manifest_chunk_header(&w->tier, (uint64_t)k, &b);
        assert_memory_equal(&a, &b, sizeof a);
        at = &w->tier.location[k];
        if (at->file != file) {
            assert_int_equal(at->file, file + 1);
            file = at->file;
            end = PAGE_BYTES;
        }
        assert_int_equal(at->offset, end);
        end += chunk_extent_bytes(at->payload_bytes);
        assert_true(end <= FILE_BYTES);
    }
    assert_int_equal(file + 1, w->tier.file_count);
}

static void files_are_named_and_measured(void **state)
{
    const struct world *w = *state;
    uint64_t next = 0;

    for (uint32_t i = 0; i < w->tier.file_count; i++) {
        const struct mf_file *f = &w->tier.file[i];
        uint64_t first, count = tier_file_chunks(&w->tier, i, &first);
        uint64_t bytes = PAGE_BYTES;
        char want[128], text[ID_TEXT_BYTES], save[SAVE_ID_TEXT_BYTES];

        assert_int_equal(first, next);
        assert_true(count > 0);
        for (uint64_t k = first; k < first + count; k++)
            bytes += chunk_extent_bytes(w->tier.location[k].payload_bytes);
        assert_int_equal(tier_file_bytes(&w->tier, i), bytes);
        next += count;
        (void)snprintf(want, sizeof want, "data/%s.%s.%u",
                       save_id_format(&w->m.info.id, save),
                       id_format(&w->daemon, text), i);
        assert_int_equal(f->name_bytes, strlen(want));
        assert_memory_equal(w->tier.blob + f->name, want, f->name_bytes);
        assert_true(id_equal(&f->store, &w->daemon));
        for (uint32_t k = 0; k < i; k++)
            assert_false(id_equal(&f->segment, &w->tier.file[k].segment));
    }
    assert_int_equal(next, w->tier.chunk_count);
}

static void made_twice_it_is_the_same(void **state)
{
    const struct world *w = *state;
    struct err err;
    void *data;
    size_t bytes;

    assert_int_equal(
        tier_build(&w->m, &w->daemon, FILE_BYTES, &data, &bytes, &err), 0);
    assert_int_equal(bytes, w->tier_bytes);
    assert_memory_equal(data, w->tier_data, bytes);
    free(data);
}

static void who_has_no_rank_has_no_table(void **state)
{
    const struct world *w = *state;
    const struct id128 nobody = {{9}};
    struct id128 daemons[4];
    struct err err;
    void *data;
    size_t bytes;

    assert_int_equal(
        tier_build(&w->m, &nobody, FILE_BYTES, &data, &bytes, &err), -ENOENT);
    assert_int_equal(tier_daemons(&w->m, daemons, 4), 2);
    assert_true(id_equal(&daemons[0], &w->m.rank[0].daemon));
    assert_true(id_equal(&daemons[1], &w->daemon));
    assert_int_equal(tier_daemons(&w->m, daemons, 1), 1);
}

static void tables_of_others_are_refused(void **state)
{
    const struct world *w = *state;
    struct manifest other = w->m;
    struct mf_chunk chunks[64];
    struct mf_rank ranks[2];
    struct err err;

    assert_int_equal(tier_check(&w->tier, &w->m, &err), 0);
    assert_int_equal(tier_check(&w->m, &w->m, &err), -CKPT_ECORRUPT);
    other.info.id.step++;
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);
    other = w->m;
    other.info.run.b[3] ^= 1;
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);

    other = w->m;
    memcpy(ranks, w->m.rank, sizeof ranks);
    other.rank = ranks;
    other.rank_count = 1; /* rank 1 is not there */
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);
    other.rank_count = 2;
    ranks[1].chunk_count--;
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);

    other = w->m;
    assert_true(w->m.chunk_count <= 64);
    memcpy(chunks, w->m.chunk, w->m.chunk_count * sizeof *chunks);
    other.chunk = chunks;
    chunks[w->m.chunk_count - 1].content.b[15] ^= 1;
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);
    chunks[w->m.chunk_count - 1] = w->m.chunk[w->m.chunk_count - 1];
    chunks[w->m.chunk_count - 1].number++;
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);
}

/* Of the same chunks, but not of the bytes that are in the local store. */
static void other_bytes_are_refused(void **state)
{
    const struct world *w = *state;
    uint64_t last = w->m.chunk_count - 1;
    struct mf_location locations[64];
    struct manifest other = w->m;
    struct mf_rank ranks[2];
    struct err err;

    assert_true(w->m.chunk_count <= 64);
    other.location = locations;
    for (int what = 0; what < 4; what++) {
        memcpy(locations, w->m.location, (last + 1) * sizeof locations[0]);
        locations[last].codec ^= what == 0;
        locations[last].codec_param += what == 1;
        locations[last].payload_bytes -= what == 2;
        locations[last].stored_digest ^= (uint64_t)(what == 3) << 63;
        assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);
    }
    /* Another daemon's rank. */
    other = w->m;
    memcpy(ranks, w->m.rank, sizeof ranks);
    other.rank = ranks;
    ranks[1].daemon.b[0] ^= 1;
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, "rank 1"));
}

static void a_table_lacks_no_rank(void **state)
{
    const struct world *w = *state;
    struct manifest other = w->m;
    struct mf_rank ranks[2];
    struct err err;

    memcpy(ranks, w->m.rank, sizeof ranks);
    ranks[0].daemon = w->daemon; /* both are this daemon's */
    other.rank = ranks;
    assert_int_equal(tier_check(&w->tier, &other, &err), -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, "lacks ranks"));
}

/* Whoever opens its files opens nothing else of the run. */
static void files_elsewhere_are_refused(void **state)
{
    const struct world *w = *state;
    struct manifest other = w->tier;
    struct mf_file files[64];
    char *blob = malloc(w->tier.blob_bytes);
    struct err err;

    assert_non_null(blob);
    memcpy(blob, w->tier.blob, w->tier.blob_bytes);
    other.blob = blob;
    blob[w->tier.file[1].name] = 'v';
    assert_int_equal(tier_check(&other, &w->m, &err), -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, "file 1"));
    blob[w->tier.file[1].name] = 'd';
    assert_int_equal(tier_check(&other, &w->m, &err), 0);
    assert_true(w->tier.file_count <= 64);
    memcpy(files, w->tier.file, w->tier.file_count * sizeof files[0]);
    other.file = files;
    files[0].name_bytes = 5; /* the folder itself */
    assert_int_equal(tier_check(&other, &w->m, &err), -CKPT_ECORRUPT);
    free(blob);
}

/* Only of a checkpoint or a vote are there tensors. */
static void a_table_with_tensors_is_none(void **state)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = small_info(MANIFEST_TIER);
    const struct world *w = *state;
    struct err err;
    void *data;
    size_t bytes;

    assert_int_equal(manifest_add_vote(b, &w->m, &err), 0);
    assert_int_equal(
        manifest_write(b, &info, &w->m.layout, &data, &bytes, &err), -EINVAL);
    assert_non_null(strstr(err.text, "tensors"));
    manifest_builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_chunk_has_its_place, begin, end),
        cmocka_unit_test_setup_teardown(files_are_named_and_measured, begin,
                                        end),
        cmocka_unit_test_setup_teardown(made_twice_it_is_the_same, begin, end),
        cmocka_unit_test_setup_teardown(who_has_no_rank_has_no_table, begin,
                                        end),
        cmocka_unit_test_setup_teardown(tables_of_others_are_refused, begin,
                                        end),
        cmocka_unit_test_setup_teardown(other_bytes_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_table_lacks_no_rank, begin, end),
        cmocka_unit_test_setup_teardown(files_elsewhere_are_refused, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_table_with_tensors_is_none, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
