/*
 * test_manifest_forged.c - random content with right digests: a manifest is
 * refused, or safe to use; a region's packed bytes are found wrong or are what
 * its slabs say.
 */
#include "formats/manifest_media.h"
#include "tests/lib/small_manifest.h"
#include "tests/lib/xorshift.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = XORSHIFT_SEED;

static uint64_t next(void)
{
    return xorshift(&seed);
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
    small_make(MANIFEST_CHECKPOINT, (const uint32_t[]){0, 1}, 2, &data, &bytes);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forged_content_is_refused_or_harmless),
        cmocka_unit_test(packed_bytes_agree_with_slabs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
