/*
 * test_manifest.c - the manifest container: building, merging and opening it;
 * every flipped bit is seen, and forged content with right digests is either
 * refused or safe to use.
 */
#include "formats/manifest_media.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <setjmp.h>
#include <cmocka.h>

static const struct layout dp2 = {.axis = {{"dp", 2}}, .axis_count = 1};
static uint64_t seed = 88172645463325252ULL;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct manifest_info make_info(uint32_t kind)
{
    struct manifest_info info = {.kind = kind,
                                 .world_size = 2,
                                 .chunk_bytes = CHUNK_BYTES_MIN,
                                 .id = {2, 0, 500},
                                 .parent = {1, 0, 400},
                                 .created_unix_ms = 1700000000000};

    memset(info.run.b, 0x11, 16);
    memset(info.daemon.b, 0x22, 16);
    return info;
}

/* What chunk i of a rank became: raw, every third one reused from an older
 * segment. */
static struct built_chunk make_chunk(uint32_t rank, uint32_t i,
                                     uint32_t raw_bytes)
{
    struct built_chunk c = {.file_name =
                                i % 3 == 2 ? "seg/000001" : "seg/000002",
                            .offset = (uint64_t)(i + 1) << 20,
                            .number = i,
                            .raw_bytes = raw_bytes,
                            .payload_bytes = raw_bytes,
                            .codec_param = 4,
                            .is_reused = i % 3 == 2};

    memset(c.segment.b, (int)(0x40 + rank * 4 + i % 3), 16);
    memset(c.segment_store.b, 0x33, 16);
    memset(c.file_store.b, 0x33, 16);
    c.file_segment = c.segment;
    c.content = hash_128(&c, 32);
    c.stored_digest = chunk_stored_digest(&c.segment, i, raw_bytes, &c.content);
    return c;
}

static int add_rank(struct manifest_builder *b, uint32_t rank,
                    const struct entry *entries, size_t count, struct err *err)
{
    struct built_rank r = {.rank = rank,
                           .coordinate = {rank},
                           .entries = entries,
                           .entry_count = count};
    struct built_chunk *chunks;
    struct writelist list;
    int rc;

    assert_int_equal(writelist_build(entries, count, CHUNK_BYTES_MIN, &list),
                     0);
    chunks = calloc(list.chunk_count + 1, sizeof *chunks);
    for (uint32_t i = 0; i < list.chunk_count; i++)
        chunks[i] = make_chunk(rank, i, list.chunk[i].raw_bytes);
    memset(r.daemon.b, (int)rank, 16);
    r.list = &list;
    r.chunks = chunks;
    rc = manifest_add_rank(b, &r, err);
    free(chunks);
    writelist_free(&list);
    return rc;
}

/* The entries of rank 0 or 1 of the small job: halves of a matrix, a fused
 * weight in two boxes, a flat cut, a replicated scalar, an empty tensor, and
 * a reserved one. */
static size_t make_entries(uint32_t rank, struct entry out[8],
                           struct box box[8])
{
    uint64_t half = rank;
    size_t n = 0;

    memset(box, 0, 8 * sizeof *box);
    box[0] = (struct box){{half * 256, 0}, {256, 300}};
    out[n++] = (struct entry){
        "w.big", {DTYPE_F32, 2, {500, 300}}, {box, 1, false, 0, 0}, 0, 1};
    box[1] = (struct box){{half * 4, 0}, {4, 8}};
    box[2] = (struct box){{8 + half * 4, 0}, {4, 8}};
    out[n++] = (struct entry){
        "fused", {DTYPE_BF16, 2, {16, 8}}, {box + 1, 2, false, 0, 0}, 0, 1};
    out[n++] = (struct entry){"adam.m",
                              {DTYPE_F32, 2, {4, 8}},
                              {NULL, 0, true, half * 13, 13 + half * 6},
                              0,
                              1};
    out[n++] = (struct entry){
        "step", {DTYPE_I64, 0, {0}}, {NULL, 0, false, 0, 0}, rank, 2};
    out[n++] = (struct entry){
        "none", {DTYPE_U8, 1, {0}}, {NULL, 0, false, 0, 0}, rank, 2};
    out[n++] =
        (struct entry){rank ? "\001extra/dp/1/rng" : "\001extra/dp/0/rng",
                       {DTYPE_U8, 1, {70000}},
                       {NULL, 0, false, 0, 0},
                       0,
                       1};
    return n;
}

static void add_values(struct manifest_builder *b, uint32_t rank)
{
    static const uint64_t seen = 4711;
    struct value v = {"seen", 4, VALUE_U64, 0, {0}, &seen, 8};
    struct err err;

    assert_int_equal(manifest_add_value(b, rank, &v, &err), 0);
    v = (struct value){"loader", 6, VALUE_STRING, 1, {rank}, "at 7", 4};
    assert_int_equal(manifest_add_value(b, rank, &v, &err), 0);
}

/* The small job's manifest (or the vote of some ranks); free() *data. */
static void make(uint32_t kind, const uint32_t *ranks, size_t count,
                 void **data, size_t *bytes)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = make_info(kind);
    struct entry entries[8];
    struct box box[8];
    struct err err;

    for (size_t i = 0; i < count; i++) {
        size_t n = make_entries(ranks[i], entries, box);

        assert_int_equal(add_rank(b, ranks[i], entries, n, &err), 0);
        add_values(b, ranks[i]);
    }
    assert_int_equal(manifest_add_note(b, "host", "node7"), 0);
    assert_int_equal(manifest_add_note(b, "codecs", "raw"), 0);
    assert_int_equal(manifest_write(b, &info, &dp2, data, bytes, &err), 0);
    manifest_builder_free(b);
}

static const uint32_t both[] = {0, 1}, reversed[] = {1, 0};

static void what_was_built_is_found_again(void **state)
{
    struct box *boxes = NULL;
    size_t bytes, capacity = 0, note_bytes;
    struct manifest m;
    struct geometry g;
    struct region r;
    struct err err;
    const char *note;
    void *data;
    int64_t t;

    (void)state;
    make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(m.tensor_count, 7);
    assert_int_equal(m.rank_count, 2);
    assert_true(layout_equal(&m.layout, &dp2));
    assert_int_equal(m.info.id.step, 500);
    assert_int_equal(m.info.logical_bytes,
                     500 * 300 * 4 + 16 * 8 * 2 + 32 * 4 + 8 + 2 * 70000);
    assert_true(m.info.written_bytes < m.info.stored_bytes);
    t = manifest_find(&m, "fused", 5);
    assert_true(t >= 0);
    assert_int_equal(manifest_find(&m, "fuse", 4), -ENOENT);
    manifest_geometry(&m, (uint64_t)t, &g);
    assert_int_equal(g.dtype, DTYPE_BF16);
    assert_int_equal(g.shape[0], 16);
    assert_int_equal(m.tensor[t].region_count, 2);
    assert_int_equal(manifest_region(&m, m.tensor[t].first_region + 1, &boxes,
                                     &capacity, &r),
                     0);
    assert_int_equal(r.box_count, 2);
    assert_int_equal(r.boxes[1].offset[0], 12);
    assert_int_equal(r.boxes[1].size[1], 8);
    note = manifest_note(&m, "host", &note_bytes);
    assert_int_equal(note_bytes, 5);
    assert_memory_equal(note, "node7", 5);
    assert_null(manifest_note(&m, "hos", &note_bytes));
    assert_int_equal(m.value_count, 3);
    assert_int_equal(m.tensor[0].flags, 1);
    free(boxes);
    free(data);
}

static void the_order_of_ranks_does_not_matter(void **state)
{
    size_t a_bytes, b_bytes;
    void *a, *b;

    (void)state;
    make(MANIFEST_CHECKPOINT, both, 2, &a, &a_bytes);
    make(MANIFEST_CHECKPOINT, reversed, 2, &b, &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a, b, a_bytes);
    free(a);
    free(b);
}

static void merged_votes_equal_a_manifest_of_all_ranks(void **state)
{
    size_t bytes[2], all_bytes, merged_bytes;
    void *vote[2], *all, *merged;
    struct err err;

    (void)state;
    make(MANIFEST_CHECKPOINT, both, 2, &all, &all_bytes);
    for (uint32_t i = 0; i < 2; i++)
        make(MANIFEST_VOTE, &both[i], 1, &vote[i], &bytes[i]);
    for (size_t first = 0; first < 2; first++) {
        struct manifest_builder *b = manifest_builder_new();
        struct manifest_info info = make_info(MANIFEST_CHECKPOINT);
        struct manifest m;

        for (size_t i = 0; i < 2; i++) {
            size_t k = i ^ first;

            assert_int_equal(manifest_open(vote[k], bytes[k], &m, &err), 0);
            assert_int_equal(m.info.kind, MANIFEST_VOTE);
            assert_int_equal(manifest_add_vote(b, &m, &err), 0);
        }
        assert_int_equal(
            manifest_write(b, &info, &dp2, &merged, &merged_bytes, &err), 0);
        assert_int_equal(merged_bytes, all_bytes);
        assert_memory_equal(merged, all, all_bytes);
        free(merged);
        manifest_builder_free(b);
    }
    free(vote[0]);
    free(vote[1]);
    free(all);
}

static void a_rank_that_votes_twice_is_a_conflict(void **state)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = make_info(MANIFEST_CHECKPOINT);
    struct manifest m;
    struct err err;
    size_t bytes;
    void *vote;

    (void)state;
    make(MANIFEST_VOTE, both, 1, &vote, &bytes);
    assert_int_equal(manifest_open(vote, bytes, &m, &err), 0);
    assert_int_equal(manifest_add_vote(b, &m, &err), 0);
    assert_int_equal(manifest_add_vote(b, &m, &err), -CKPT_ECONFLICT);
    assert_string_equal(err.text, "rank 0 is there twice");
    assert_int_equal(manifest_write(b, &info, &dp2, &(void *){0}, &bytes, &err),
                     -CKPT_ECONFLICT);
    manifest_builder_free(b);
    free(vote);
}

static void votes_of_other_saves_or_layouts_are_refused(void **state)
{
    struct manifest m;
    struct err err;
    size_t bytes;
    void *vote;

    (void)state;
    make(MANIFEST_VOTE, both, 1, &vote, &bytes);
    for (int what = 0; what < 3; what++) {
        struct manifest_builder *b = manifest_builder_new();

        assert_int_equal(manifest_open(vote, bytes, &m, &err), 0);
        assert_int_equal(manifest_add_vote(b, &m, &err), 0);
        m.info.id.step += what == 0;
        m.info.run.b[0] ^= what == 1;
        m.layout.axis[0].degree += what == 2;
        assert_int_equal(manifest_add_vote(b, &m, &err), -CKPT_ECONFLICT);
        manifest_builder_free(b);
    }
    free(vote);
}

static void tensor_conflicts_name_both_ranks(void **state)
{
    struct entry one = {"w", {DTYPE_F32, 2, {4, 8}}, {0}, 0, 1};
    struct entry two = {"w", {DTYPE_BF16, 2, {4, 8}}, {0}, 0, 1};
    struct manifest_builder *b = manifest_builder_new();
    struct err err;

    (void)state;
    assert_int_equal(add_rank(b, 3, &one, 1, &err), 0);
    assert_int_equal(add_rank(b, 5, &two, 1, &err), -CKPT_ECONFLICT);
    assert_string_equal(
        err.text, "tensor w: rank 3 says F32 [4, 8], rank 5 says BF16 [4, 8]");
    assert_int_equal(add_rank(b, 6, &one, 1, &err), -CKPT_ECONFLICT);
    manifest_builder_free(b);
}

static void value_conflicts_name_both_ranks(void **state)
{
    struct value v = {"lr", 2, VALUE_STRING, 1, {0}, "a", 1};
    struct entry e = {"w", {DTYPE_F32, 1, {4}}, {0}, 0, 1};
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = make_info(MANIFEST_CHECKPOINT);
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    assert_int_equal(add_rank(b, 0, &e, 1, &err), 0);
    assert_int_equal(add_rank(b, 1, &e, 1, &err), 0);
    assert_int_equal(manifest_add_value(b, 0, &v, &err), 0);
    assert_int_equal(manifest_add_value(b, 1, &v, &err), 0);
    assert_int_equal(manifest_write(b, &info, &dp2, &data, &bytes, &err), 0);
    free(data);
    v.data = "b";
    assert_int_equal(manifest_add_value(b, 1, &v, &err), 0);
    assert_int_equal(manifest_write(b, &info, &dp2, &data, &bytes, &err),
                     -CKPT_ECONFLICT);
    assert_string_equal(err.text, "value lr at dp=0: rank 0 and rank 1 differ");
    manifest_builder_free(b);
}

static void a_manifest_of_nothing_opens(void **state)
{
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = make_info(MANIFEST_CHECKPOINT);
    static const struct layout none;
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    assert_int_equal(manifest_write(b, &info, &none, &data, &bytes, &err), 0);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(manifest_find(&m, "w", 1), -ENOENT);
    free(data);
    manifest_builder_free(b);
}

static void nonsense_is_not_written(void **state)
{
    struct entry e = {"w", {DTYPE_F32, 1, {4}}, {0}, 0, 1};
    struct manifest_builder *b = manifest_builder_new();
    struct manifest_info info = make_info(MANIFEST_CHECKPOINT);
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    assert_int_equal(add_rank(b, 2, &e, 1, &err), 0);
    assert_int_equal(manifest_write(b, &info, &dp2, &data, &bytes, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "rank"));
    manifest_builder_free(b);
}

static void every_flipped_bit_is_seen(void **state)
{
    struct manifest m;
    struct err err;
    size_t bytes;
    uint8_t *p;
    void *data;

    (void)state;
    make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    p = data;
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (manifest_open(data, bytes, &m, &err) != -CKPT_ECORRUPT)
            fail_msg("bit %zu of %zu passed", bit, bytes * 8);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    free(data);
}

static void every_truncation_is_seen(void **state)
{
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    for (size_t n = 0; n < bytes; n += n < 2000 ? 1 : 61) {
        void *part = aligned_alloc(64, align_up(n + 1, 64));

        memcpy(part, data, n);
        assert_int_equal(manifest_open(part, n, &m, &err), -CKPT_ECORRUPT);
        free(part);
    }
    free(data);
}

static void versions_and_features_are_refused_by_number(void **state)
{
    struct mf_header *h;
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data;

    (void)state;
    make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    h = data;
    h->minor = 7;
    h->compatible = 0xff;
    mf_seal(data, h->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    h->incompatible = 1 << 5;
    mf_seal(data, h->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), -CKPT_EVERSION);
    assert_non_null(strstr(err.text, "flag 5"));
    h->major = 2;
    mf_seal(data, h->digests_at);
    assert_int_equal(manifest_open(data, bytes, &m, &err), -CKPT_EVERSION);
    assert_non_null(strstr(err.text, "version 2.7"));
    free(data);
}

/* Touches everything that an opened manifest gives access to. */
static uint64_t use(const struct manifest *m)
{
    struct box *boxes = NULL;
    size_t capacity = 0;
    uint64_t sum = 0;

    for (uint64_t t = 0; t < m->tensor_count; t++) {
        const struct mf_tensor *tensor = &m->tensor[t];

        assert_int_equal(
            manifest_find(m, m->blob + tensor->name, tensor->name_bytes), t);
        for (uint64_t i = 0; i < tensor->region_count; i++) {
            uint64_t index = tensor->first_region + i;
            const struct mf_region *r = &m->region[index];
            struct slabs slabs;
            struct geometry g;
            struct region region;
            struct err err;

            manifest_geometry(m, t, &g);
            assert_int_equal(
                manifest_region(m, index, &boxes, &capacity, &region), 0);
            assert_int_equal(region_check(&g, &region, NULL, &err), 0);
            assert_int_equal(
                region_slabs(&g, &region, REGION_PACKED, NULL, &slabs), 0);
            assert_int_equal(slabs.bytes, r->packed_bytes);
            slabs_free(&slabs);
            for (uint32_t k = 0; k < r->piece_count; k++)
                sum += m->chunk[m->piece[r->first_piece + k].chunk].raw_bytes;
        }
    }
    for (uint64_t i = 0; i < m->chunk_count; i++) {
        struct chunk_header h;

        manifest_chunk_header(m, i, &h);
        sum += h.number + (uint8_t)m->blob[m->file[m->location[i].file].name];
    }
    for (uint64_t i = 0; i < m->value_count; i++)
        for (uint64_t k = 0; k < m->value[i].bytes; k++)
            sum += (uint8_t)m->blob[m->value[i].data + k];
    free(boxes);
    return sum;
}

/* A wrong value of the kind that bugs and attackers write. */
static uint64_t odd_value(uint64_t was)
{
    switch (next() % 8) {
    case 0:
        return was + 1;
    case 1:
        return was - 1;
    case 2:
        return UINT64_MAX;
    case 3:
        return 0;
    case 4:
        return 1ULL << next() % 64;
    case 5:
        return was ^ 1ULL << next() % 64;
    case 6:
        return next() % 16;
    default:
        return next();
    }
}

static void forged_content_is_refused_or_harmless(void **state)
{
    size_t bytes, opened = 0,
                  rounds = getenv("CKPT_TEST_LONG") ? 400000 : 40000;
    uint8_t *original;
    void *data;

    (void)state;
    make(MANIFEST_CHECKPOINT, both, 2, &data, &bytes);
    original = data;
    for (size_t i = 0; i < rounds; i++) {
        uint8_t *copy = aligned_alloc(64, align_up(bytes, 64));
        const struct mf_header *h = (void *)copy;
        struct manifest m;
        struct err err;

        memcpy(copy, original, bytes);
        for (uint64_t k = next() % 3 + 1; k > 0; k--) {
            /* Magic, length and digests_at stay: digests can be made right. */
            uint64_t at = (next() % (h->digests_at - 64) + 48) & ~7ULL, v;

            memcpy(&v, copy + at, 8);
            v = next() % 2 ? odd_value(v)
                           : (v & ~0xffffffffULL) | (uint32_t)odd_value(v);
            memcpy(copy + at, &v, 8);
        }
        mf_seal(copy, h->digests_at);
        if (manifest_open(copy, bytes, &m, &err) == 0) {
            opened++;
            (void)use(&m);
        }
        free(copy);
    }
    print_message("%zu of %zu forgeries open\n", opened, rounds);
    assert_true(opened < rounds);
    free(data);
}

/* A small random region of up to three boxes, perhaps cut, some of it outside
 * the shape; its boxes also as they lie in a manifest. */
struct sample {
    struct geometry geometry;
    struct region region;
    struct box box[3];
    uint64_t dims[3 * 2 * MAX_DIMS];
};

static void sample_box(struct sample *s, uint32_t k, uint64_t whole)
{
    uint32_t ndim = s->geometry.ndim;
    uint64_t *dims = s->dims + 2 * (size_t)ndim * k;

    for (uint32_t d = 0; d < ndim; d++) {
        uint64_t step = d + 1 == ndim ? whole : 1;

        s->box[k].offset[d] = dims[d] = next() % 5 * step;
        s->box[k].size[d] = dims[ndim + d] = next() % 5 * step;
    }
}

static void make_sample(struct sample *s)
{
    static const uint32_t dtypes[] = {DTYPE_F4, DTYPE_U8, DTYPE_BF16, DTYPE_F32,
                                      DTYPE_F6_E2M3};
    struct geometry *g = &s->geometry;
    uint64_t whole, total;

    *s = (struct sample){.region.boxes = s->box};
    g->dtype = dtypes[next() % ARRAY_LEN(dtypes)];
    g->ndim = (uint32_t)(next() % 5);
    whole = g->dtype == DTYPE_F4 ? 2 : 4;
    for (uint32_t d = 0; d < g->ndim; d++)
        g->shape[d] = next() % 4 * (d + 1 == g->ndim ? whole : 1);
    s->region.box_count = (uint32_t)(g->ndim ? 1 + next() % 3 : next() % 2);
    for (uint32_t k = 0; k < s->region.box_count; k++)
        sample_box(s, k, whole);
    if (region_check(g, &s->region, NULL, &(struct err){0}) || next() % 2)
        return;
    total = region_local_bytes(g, &s->region, NULL) * 8 / dtype_bits(g->dtype);
    s->region.is_cut = true;
    s->region.cut_start = next() % (total + 1) / 4 * 4;
    s->region.cut_count = next() % (total - s->region.cut_start + 1) / 4 * 4;
}

static void packed_bytes_agree_with_slabs(void **state)
{
    size_t checked = 0;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct sample s;
        struct mf_region r;
        struct mf_tensor t;
        struct slabs slabs;
        struct err err;

        make_sample(&s);
        if (geometry_check(&s.geometry, &err) ||
            region_check(&s.geometry, &s.region, NULL, &err))
            continue;
        t = (struct mf_tensor){.dtype = (uint8_t)s.geometry.dtype,
                               .ndim = (uint8_t)s.geometry.ndim};
        memcpy(t.shape, s.geometry.shape, sizeof t.shape);
        assert_int_equal(
            region_slabs(&s.geometry, &s.region, REGION_PACKED, NULL, &slabs),
            0);
        r = (struct mf_region){.box_count = s.region.box_count,
                               .is_cut = s.region.is_cut,
                               .cut_start = s.region.cut_start,
                               .cut_count = s.region.cut_count,
                               .packed_bytes = slabs.bytes};
        slabs_free(&slabs);
        if (mf_check_region(&t, &r, s.dims, &err))
            fail_msg("region %d: %s", i, err.text);
        r.packed_bytes++;
        assert_int_equal(mf_check_region(&t, &r, s.dims, &err), -CKPT_ECORRUPT);
        checked++;
    }
    assert_true(checked > 10000);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void a_hundred_thousand_regions_merge_in_a_second(void **state)
{
    enum { TENSORS = 50000 };
    struct manifest_builder *all = manifest_builder_new();
    struct manifest_info info = make_info(MANIFEST_CHECKPOINT);
    struct entry *entries = calloc(TENSORS, sizeof *entries);
    char(*names)[24] = calloc(TENSORS, sizeof *names);
    struct box *box = calloc(TENSORS, sizeof *box);
    struct manifest m;
    struct err err;
    size_t bytes;
    void *data, *votes[2];
    double start, merged, opened;

    (void)state;
    for (uint32_t rank = 0; rank < 2; rank++) {
        struct manifest_builder *b = manifest_builder_new();

        info.kind = MANIFEST_VOTE;
        for (uint32_t i = 0; i < TENSORS; i++) {
            (void)snprintf(names[i], sizeof names[i], "layer.%u.w",
                           i * 7919 % TENSORS);
            box[i] = (struct box){{rank * 4ull, 0}, {4, 16}};
            entries[i] = (struct entry){names[i],
                                        {DTYPE_F32, 2, {8, 16}},
                                        {&box[i], 1, false, 0, 0},
                                        0,
                                        1};
        }
        assert_int_equal(add_rank(b, rank, entries, TENSORS, &err), 0);
        assert_int_equal(
            manifest_write(b, &info, &dp2, &votes[rank], &bytes, &err), 0);
        manifest_builder_free(b);
        assert_int_equal(manifest_open(votes[rank], bytes, &m, &err), 0);
        assert_int_equal(manifest_add_vote(all, &m, &err), 0);
    }
    info.kind = MANIFEST_CHECKPOINT;
    start = now();
    assert_int_equal(manifest_write(all, &info, &dp2, &data, &bytes, &err), 0);
    merged = now() - start;
    start = now();
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    opened = now() - start;
    assert_int_equal(m.region_count, 2 * TENSORS);
    print_message("%zu bytes: written in %.0f ms, opened in %.0f ms\n", bytes,
                  merged * 1e3, opened * 1e3);
    /* Sanitizers are several times slower; quadratic would be minutes. */
    assert_true(merged + opened < 10);
    manifest_builder_free(all);
    free(votes[0]);
    free(votes[1]);
    free(data);
    free(entries);
    free(names);
    free(box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_built_is_found_again),
        cmocka_unit_test(the_order_of_ranks_does_not_matter),
        cmocka_unit_test(merged_votes_equal_a_manifest_of_all_ranks),
        cmocka_unit_test(a_rank_that_votes_twice_is_a_conflict),
        cmocka_unit_test(votes_of_other_saves_or_layouts_are_refused),
        cmocka_unit_test(tensor_conflicts_name_both_ranks),
        cmocka_unit_test(value_conflicts_name_both_ranks),
        cmocka_unit_test(a_manifest_of_nothing_opens),
        cmocka_unit_test(nonsense_is_not_written),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(every_truncation_is_seen),
        cmocka_unit_test(versions_and_features_are_refused_by_number),
        cmocka_unit_test(forged_content_is_refused_or_harmless),
        cmocka_unit_test(packed_bytes_agree_with_slabs),
        cmocka_unit_test(a_hundred_thousand_regions_merge_in_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
