/*
 * test_golden.c - the committed golden home (tests/golden/v1) read with the
 * library: every record decodes, every chunk checks, every tensor has the
 * SHA-256 that expected.json tells. Runs in the repository's root, or where
 * ROOT says that it is.
 */
#include "formats/codec.h"
#include "formats/manifest.h"
#include "formats/record.h"

#include <jansson.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#define RUN "golden"

static const struct save_id committed[] = {
    {1, 0, 100}, {1, 1, 200}, {2, 0, 150}};

struct file {
    uint8_t *data;
    size_t bytes;
};

static void golden_path(char path[2048], const char *name)
{
    const char *root = getenv("ROOT");

    (void)snprintf(path, 2048, "%s/tests/golden/v1/%s", root ? root : ".",
                   name);
}

/* A whole file below v1/, 64-byte aligned; free() its data. */
static struct file get(const char *name)
{
    struct file f;
    char path[2048];
    FILE *in;
    long bytes;

    golden_path(path, name);
    in = fopen(path, "rb");
    if (!in)
        fail_msg("%s: cannot be opened", path);
    assert_int_equal(fseek(in, 0, SEEK_END), 0);
    bytes = ftell(in);
    assert_true(bytes > 0);
    rewind(in);
    f.bytes = (size_t)bytes;
    f.data = aligned_alloc(64, align_up(f.bytes, 64));
    assert_int_equal(fread(f.data, 1, f.bytes, in), f.bytes);
    assert_int_equal(fclose(in), 0);
    return f;
}

static struct file get_home(const char *name)
{
    char path[RECORD_NAME_BYTES + 8];

    (void)snprintf(path, sizeof path, "home/%s", name);
    return get(path);
}

/* The manifest of a save, inline or from its parts; free() its data. */
static struct file get_manifest(const struct save_id *id, struct manifest *m)
{
    char name[RECORD_NAME_BYTES];
    struct file f = get_home(name_save(name, RUN, "decision", id)), out;
    struct record_decision d;
    struct err err;
    size_t at = 0;

    assert_int_equal(record_decision_decode(f.data, f.bytes, &d, &err), 0);
    assert_int_equal(d.decision, DECISION_COMMIT);
    assert_int_equal(save_id_compare(&d.id, id), 0);
    out.bytes = d.manifest_bytes;
    out.data = aligned_alloc(64, align_up(out.bytes, 64));
    if (d.part_count == 0)
        memcpy(out.data, d.inline_bytes, out.bytes);
    for (uint32_t n = 0; n < d.part_count; n++) {
        struct file part =
            get_home(name_part(name, RUN, "manifest", id, &d.committer, n));

        assert_true(at + part.bytes <= out.bytes);
        memcpy(out.data + at, part.data, part.bytes);
        at += part.bytes;
        free(part.data);
    }
    if (manifest_open(out.data, out.bytes, m, &err))
        fail_msg("%s", err.text);
    assert_true(digest_equal(&m->root, &d.manifest_root));
    assert_int_equal(m->tensor_count, d.tensor_count);
    assert_int_equal(m->info.stored_bytes, d.stored_bytes);
    assert_true(layout_equal(&m->layout, &d.layout));
    free(f.data);
    return out;
}

static void every_record_decodes(void **state)
{
    struct save_id first = committed[0], aborted = {1, 0, 200},
                   removed = {1, 0, 300};
    char name[RECORD_NAME_BYTES];
    struct record_generation g;
    struct record_decision d;
    struct record_store s;
    struct record_mark k;
    struct record_load l;
    struct record_tomb t;
    struct record_run r;
    struct err err;
    struct file f;

    (void)state;
#define DECODE(name, kind, ...)                                                \
    (f = get_home(name), kind##_decode(f.data, f.bytes, __VA_ARGS__, &err))
    assert_int_equal(DECODE("STORE", record_store, &s), 0);
    assert_int_equal(s.uuid.b[0], 0x10);
    free(f.data);
    assert_int_equal(DECODE(name_run(name, RUN, "RUN"), record_run, &r), 0);
    free(f.data);
    assert_int_equal(
        DECODE(name_gen(name, RUN, "gen", 2), record_generation, &g), 0);
    assert_int_equal(g.parent.step, 100);
    assert_string_equal(g.token, "job.4711.2");
    free(f.data);
    assert_int_equal(
        DECODE(name_save(name, RUN, "decision", &aborted), record_decision, &d),
        0);
    assert_int_equal(d.decision, DECISION_ABORT);
    assert_int_equal(d.code, -CKPT_EABORTED);
    free(f.data);
    assert_int_equal(
        DECODE(name_save(name, RUN, "tomb", &removed), record_tomb, &t), 0);
    assert_string_equal(t.reason, "keep-last 2");
    free(f.data);
    assert_int_equal(DECODE(name_load(name, RUN, 3, 0, NULL), record_load, &l),
                     0);
    assert_int_equal(l.outcome, LOAD_FAILED);
    free(f.data);
    assert_int_equal(DECODE(name_save(name, RUN, "pin", &first), record_mark,
                            RECORD_PIN, &k),
                     0);
    assert_string_equal(k.note, "the first");
    free(f.data);
#undef DECODE
}

/* Chunk i, checked and decoded into raw (chunk_bytes of room). */
static void read_chunk(const struct manifest *m, uint64_t i, uint8_t *raw)
{
    const struct mf_location *at = &m->location[i];
    const struct mf_file *file = &m->file[at->file];
    struct segment_header segment;
    struct chunk_header want;
    struct digest digest;
    struct err err;
    char name[300];
    struct file f;
    void *scratch;

    (void)snprintf(name, sizeof name, "home/local/%.*s", (int)file->name_bytes,
                   m->blob + file->name);
    f = get(name);
    assert_int_equal(segment_header_decode(f.data, &segment, &err), 0);
    assert_true(id_equal(&segment.segment, &file->segment));
    assert_string_equal(segment.run_name, RUN);
    manifest_chunk_header(m, i, &want);
    assert_true(at->offset + chunk_extent_bytes(at->payload_bytes) <= f.bytes);
    if (chunk_check(f.data + at->offset, chunk_extent_bytes(at->payload_bytes),
                    &want, &err))
        fail_msg("%s", err.text);
    scratch = malloc(codec_scratch_bytes(want.raw_bytes));
    assert_int_equal(codec_decode(want.codec, want.codec_param,
                                  f.data + at->offset + PAGE_BYTES,
                                  want.payload_bytes, raw, want.raw_bytes,
                                  scratch),
                     0);
    digest = hash_128(raw, want.raw_bytes);
    assert_true(digest_equal(&digest, &want.content));
    free(scratch);
    free(f.data);
}

/* The written bytes of a region in packed order; free(). */
static uint8_t *read_region(const struct manifest *m, const struct mf_region *r)
{
    uint8_t *packed = calloc(1, r->packed_bytes + 1);
    uint8_t *raw = malloc(m->info.chunk_bytes);

    for (uint32_t k = 0; k < r->piece_count; k++) {
        const struct mf_piece *p = &m->piece[r->first_piece + k];

        read_chunk(m, p->chunk, raw);
        memcpy(packed + p->region_start, raw + p->chunk_start, p->bytes);
    }
    free(raw);
    return packed;
}

/* Puts the written slice of a region into the whole tensor. */
static void scatter(const struct manifest *m, uint64_t tensor, uint64_t index,
                    uint8_t *whole)
{
    const struct mf_region *r = &m->region[index];
    uint8_t *packed = read_region(m, r);
    struct slabs slabs, all;
    struct box *boxes = NULL;
    struct region region, full = {0};
    struct geometry g;
    size_t capacity = 0;

    manifest_geometry(m, tensor, &g);
    assert_int_equal(manifest_region(m, index, &boxes, &capacity, &region), 0);
    assert_int_equal(region_slabs(&g, &region, REGION_PACKED, NULL, &slabs), 0);
    assert_int_equal(region_slabs(&g, &full, REGION_PACKED, NULL, &all), 0);
    assert_int_equal(slabs.bytes, r->packed_bytes);
    for (size_t i = 0; r->slice_bytes && i < slabs.count; i++) {
        struct copy_op op;

        /* Every slice of the golden job is the whole region or nothing. */
        assert_int_equal(r->slice_bytes, r->packed_bytes);
        assert_true(slab_intersect(&slabs.slab[i], &all.slab[0], g.ndim,
                                   slabs.unit_bytes, &op));
        copy_run(&op, packed, whole);
    }
    slabs_free(&slabs);
    slabs_free(&all);
    free(boxes);
    free(packed);
}

static void check_tensor(const struct manifest *m, uint64_t t,
                         const json_t *want)
{
    const struct mf_tensor *tensor = &m->tensor[t];
    uint8_t *whole = calloc(1, tensor->logical_bytes + 1);
    uint8_t sum[SHA256_DIGEST_LENGTH];
    char hex[2 * sizeof sum + 1];

    for (uint64_t i = 0; i < tensor->region_count; i++)
        scatter(m, t, tensor->first_region + i, whole);
    SHA256(whole, tensor->logical_bytes, sum);
    for (size_t i = 0; i < sizeof sum; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    assert_string_equal(json_string_value(json_array_get(want, 0)),
                        dtype_name(tensor->dtype));
    assert_string_equal(json_string_value(json_array_get(want, 2)), hex);
    free(whole);
}

static void every_tensor_is_as_expected(void **state)
{
    json_error_t error;
    char path[2048];
    json_t *expected, *saves;

    (void)state;
    golden_path(path, "expected.json");
    expected = json_load_file(path, 0, &error);
    if (!expected)
        fail_msg("%s: %s", path, error.text);
    saves = json_object_get(expected, "checkpoints");
    for (size_t i = 0; i < ARRAY_LEN(committed); i++) {
        char id[SAVE_ID_TEXT_BYTES];
        struct manifest m;
        struct file f = get_manifest(&committed[i], &m);
        json_t *tensors = json_object_get(
            json_object_get(saves, save_id_format(&committed[i], id)),
            "tensors");
        size_t seen = 0;

        for (uint64_t t = 0; t < m.tensor_count; t++) {
            char name[TABLE_NAME_MAX + 1];

            if (m.tensor[t].flags & 1)
                continue;
            (void)snprintf(name, sizeof name, "%.*s",
                           (int)m.tensor[t].name_bytes,
                           m.blob + m.tensor[t].name);
            assert_non_null(json_object_get(tensors, name));
            check_tensor(&m, t, json_object_get(tensors, name));
            seen++;
        }
        assert_int_equal(seen, json_object_size(tensors));
        free(f.data);
    }
    json_decref(expected);
}

static void one_chunk_is_reused_and_one_is_encoded(void **state)
{
    struct manifest m;
    struct file f = get_manifest(&committed[1], &m);
    size_t encoded = 0, elsewhere = 0;

    (void)state;
    for (uint64_t i = 0; i < m.chunk_count; i++) {
        encoded += m.location[i].codec == CODEC_PLANES_LZ4;
        elsewhere += m.segment[m.chunk[i].segment].segment.b[0] == 0xa1;
    }
    assert_true(encoded > 0 && encoded < m.chunk_count);
    assert_true(elsewhere > 0 && elsewhere < m.chunk_count);
    assert_true(m.info.written_bytes < m.info.stored_bytes);
    free(f.data);
}

static void a_large_value_is_a_reserved_tensor(void **state)
{
    static const char name[] = "\001extra/tp/0/table";
    struct manifest m;
    struct file f = get_manifest(&committed[0], &m);
    int64_t t = manifest_find(&m, name, sizeof name - 1);
    struct value v;

    (void)state;
    assert_true(t >= 0);
    assert_int_equal(m.tensor[t].flags, 1);
    assert_int_equal(value_reserved_parse(&m.layout, name, sizeof name - 1, &v),
                     0);
    assert_int_equal(v.axes, 2);
    assert_memory_equal(v.name, "table", 5);
    free(f.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_decodes),
        cmocka_unit_test(every_tensor_is_as_expected),
        cmocka_unit_test(one_chunk_is_reused_and_one_is_encoded),
        cmocka_unit_test(a_large_value_is_a_reserved_tensor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
