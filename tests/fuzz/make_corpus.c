/*
 * make_corpus.c - seeds for the fuzzers, through the encoders:
 *
 *     make_corpus FOLDER GOLDEN      (GOLDEN: tests/golden/v1/home)
 *
 * writes FOLDER/KIND/NAME for every kind, always the same bytes. What they
 * mean is at the top of fuzz_KIND.c. make_corpus.sh keeps what covers
 * something. This file: files, tables, plan operations, and main(); the other
 * kinds are in make_corpus_media.c, make_corpus_rados.c and make_corpus_wire.c.
 */
#include "tests/fuzz/make_corpus.h"

#include "formats/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *folder, *golden;

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "make_corpus: %s\n", what);
    exit(1);
}

void corpus_put(const char *kind, const char *name, struct wr *w)
{
    char path[1024];
    bool is_written;
    FILE *f;

    check(!w->failed, "no memory");
    (void)snprintf(path, sizeof path, "%s/%s", folder, kind);
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof path, "%s/%s/%s", folder, kind, name);
    f = fopen(path, "wb");
    check(f != NULL, path);
    is_written = fwrite(w->data, 1, w->bytes, f) == w->bytes;
    check(fclose(f) == 0 && is_written, path);
    wr_free(w);
    *w = (struct wr){0};
}

uint8_t *corpus_golden(const char *name, size_t *bytes)
{
    char path[1024];
    uint8_t *data;
    struct stat st;
    bool is_read;
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", golden, name);
    check(stat(path, &st) == 0, path);
    *bytes = (size_t)st.st_size;
    data = aligned_alloc(64, align_up(*bytes + 1, 64));
    f = fopen(path, "rb");
    check(f && data, path);
    is_read = fread(data, 1, *bytes, f) == *bytes;
    check(fclose(f) == 0 && is_read, path);
    return data;
}

/*
 * Tables.
 */

static const struct box half = {{4, 0}, {4, 16}};
static const struct box fused[] = {{{0, 0}, {2, 16}}, {{4, 0}, {2, 16}}};
static const struct box padded = {{6, 0}, {4, 16}};
static const struct box quarter = {{1, 4}, {1, 8}};
static const struct box columns = {{0, 8}, {4, 8}};

static struct entry one[] = {
    {"w", {DTYPE_F32, 2, {8, 16}}, {0}, 0, 1},
};
static struct entry several[] = {
    {"a", {DTYPE_BF16, 2, {8, 16}}, {&half, 1, false, 0, 0}, 0, 1},
    {"b", {DTYPE_BF16, 2, {8, 16}}, {fused, 2, false, 0, 0}, 0, 1},
    {"c", {DTYPE_F16, 2, {8, 16}}, {&padded, 1, true, 5, 40}, 0, 1},
    {"d", {DTYPE_F4, 2, {4, 16}}, {&columns, 1, false, 0, 0}, 0, 1},
    {"e", {DTYPE_I64, 0, {0}}, {0}, 1, 2},
    {"\001extra///rng", {DTYPE_U8, 1, {66000}}, {0}, 0, 1},
};
static struct entry odd[] = {
    {"flat", {DTYPE_F64, 3, {7, 5, 3}}, {NULL, 0, true, 23, 50}, 0, 1},
    {"empty", {DTYPE_F32, 2, {0, 4}}, {0}, 0, 1},
    {"large", {DTYPE_F32, 2, {2048, 1024}}, {0}, 1, 4},
    {"\xc3\xa9", {DTYPE_F6_E2M3, 2, {3, 8}}, {0}, 0, 1},
};
/* What `several` has, by another layout. */
static struct entry other[] = {
    {"a", {DTYPE_BF16, 2, {8, 16}}, {fused, 2, true, 10, 40}, 0, 1},
    {"b", {DTYPE_BF16, 2, {8, 16}}, {&quarter, 1, false, 0, 0}, 0, 1},
    {"d", {DTYPE_F4, 2, {4, 16}}, {&columns, 1, false, 0, 0}, 0, 1},
    {"e", {DTYPE_I64, 0, {0}}, {0}, 0, 1},
};
const struct table corpus_table[CORPUS_TABLES] = {
    {one, ARRAY_LEN(one), NULL},     {several, ARRAY_LEN(several), NULL},
    {odd, ARRAY_LEN(odd), NULL},     {NULL, 0, NULL},
    {other, ARRAY_LEN(other), NULL},
};

void corpus_table_add(struct wr *w, size_t i)
{
    const struct table *t = &corpus_table[i];
    struct err err;

    for (size_t k = 0; k < t->count; k++)
        check(entry_check(&t->entry[k], &err) == 0, err.text);
    table_encode(t->entry, t->count, w);
}

static void corpus_tables(void)
{
    struct wr w = {0};
    char name[16];

    for (size_t i = 0; i < CORPUS_TABLES; i++) {
        (void)snprintf(name, sizeof name, "table%zu", i);
        corpus_table_add(&w, i);
        corpus_put("table", name, &w);
    }
}

/*
 * Operations.
 */

static void corpus_ops(void)
{
    const struct plan_op ops[] = {
        {0, {0, 16, 64, 0, {0}, {0}, {0}}},
        {1, {64, 0, 4, 1, {8}, {4}, {16}}},
        {2, {96, 8, 2, 2, {3, 5}, {10, 2}, {64, 4}}},
    };
    struct wr w = {0};

    for (uint8_t in_place = 0; in_place < 2; in_place++) {
        wr_u8(&w, in_place);
        wr_u8(&w, ARRAY_LEN(ops));
        wr_u8(&w, 2);
        for (size_t i = 0; i < ARRAY_LEN(ops); i++)
            wr_u8(&w, (uint8_t)copy_dst_end(&ops[i].copy));
        wr_u8(&w, (uint8_t)copy_src_end(&ops[ARRAY_LEN(ops) - 1].copy));
        if (in_place)
            plan_ops_encode_in_place(ops, ARRAY_LEN(ops), &w);
        else
            plan_ops_encode(ops, ARRAY_LEN(ops), &w);
        corpus_put("plan_ops", in_place ? "in_place" : "gathered", &w);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: make_corpus FOLDER GOLDEN\n");
        return 2;
    }
    folder = argv[1];
    golden = argv[2];
    corpus_tables();
    corpus_ops();
    corpus_media();
    corpus_manifests();
    corpus_wire();
    corpus_session();
    corpus_text();
    corpus_rados();
    return 0;
}
