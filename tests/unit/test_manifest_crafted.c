/*
 * test_manifest_crafted.c - manifests that no writer makes: names of equal
 * hashes, indices that lead astray, tables of a later version, ranks with gaps.
 */
#include "formats/manifest_media.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct manifest_info info = {.kind = MANIFEST_VOTE,
                                          .world_size = 16,
                                          .chunk_bytes = CHUNK_BYTES_MIN,
                                          .id = {2, 0, 5}};
static const struct layout none;

/* Rank `rank` has these tensors, of one byte each. */
static void add_rank(struct manifest_builder *b, uint32_t rank,
                     const char *const *names, size_t count)
{
    struct entry *e = calloc(count + 1, sizeof *e);
    struct built_chunk chunk = {.file_name = "seg/000001",
                                .offset = PAGE_BYTES};
    struct built_rank r = {
        .rank = rank, .entries = e, .entry_count = count, .chunks = &chunk};
    struct writelist list;
    struct err err;

    for (size_t i = 0; i < count; i++)
        e[i] = (struct entry){names[i], {DTYPE_U8, 0, {0}}, {0}, 0, 1};
    assert_int_equal(writelist_build(e, count, CHUNK_BYTES_MAX, &list), 0);
    assert_true(list.chunk_count <= 1);
    if (list.chunk_count)
        chunk.raw_bytes = chunk.payload_bytes = list.chunk[0].raw_bytes;
    r.list = &list;
    assert_int_equal(manifest_add_rank(b, &r, &err), 0);
    writelist_free(&list);
    free(e);
}

static uint8_t *write_out(struct manifest_builder *b, size_t *bytes)
{
    struct manifest_info big = info;
    struct err err;
    void *data;

    big.chunk_bytes = CHUNK_BYTES_MAX;
    assert_int_equal(manifest_write(b, &big, &none, &data, bytes, &err), 0);
    manifest_builder_free(b);
    return data;
}

static uint8_t *make(const char *const *names, size_t count, size_t *bytes)
{
    struct manifest_builder *b = manifest_builder_new();

    add_rank(b, 0, names, count);
    assert_int_equal(manifest_add_note(b, "host", "a"), 0);
    assert_int_equal(manifest_add_note(b, "job", "b"), 0);
    return write_out(b, bytes);
}

static void seal(uint8_t *data)
{
    mf_seal(data, ((const struct mf_header *)(const void *)data)->digests_at);
}

static void refused(uint8_t *data, size_t bytes, const char *words)
{
    struct manifest m;
    struct err err = {0};

    seal(data);
    assert_int_equal(manifest_open(data, bytes, &m, &err), -CKPT_ECORRUPT);
    if (!strstr(err.text, words))
        fail_msg("%s, not: %s", err.text, words);
}

/*
 * Names and hashes.
 */

/* XXH3-64 is the same of both: found by computing it backwards. */
static const char *const twins[] = {"layer.119020.w", "poze4.p1"};

static void names_of_equal_hashes_are_told_apart(void **state)
{
    size_t bytes;
    uint8_t *data;
    struct manifest m;
    struct err err;

    (void)state;
    assert_true(hash_64(twins[0], strlen(twins[0])) ==
                hash_64(twins[1], strlen(twins[1])));
    data = make(twins, 2, &bytes);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(manifest_find(&m, twins[i], strlen(twins[i])), i);
    free(data);
    /* And one is not taken for the other when that is not there. */
    data = make(twins, 1, &bytes);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(manifest_find(&m, twins[1], strlen(twins[1])), -ENOENT);
    free(data);
}

static void what_is_not_there_is_not_found(void **state)
{
    size_t bytes, text_bytes;
    uint8_t *data = make(NULL, 0, &bytes);
    struct manifest m;
    struct err err;

    (void)state;
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(manifest_find(&m, "w", 1), -ENOENT);
    assert_memory_equal(manifest_note(&m, "job", &text_bytes), "b", 1);
    assert_null(manifest_note(&m, "jab", &text_bytes));
    assert_null(manifest_note(&m, "jobs", &text_bytes));
    free(data);
}

/* Words for data that is in no store of this machine. */
static void where_data_is_instead_is_told(void **state)
{
    struct mf_file files[] = {
        {.store = {{1}}}, {.store = {{2}}}, {.store = {{1}}}};
    size_t bytes;

    (void)state;
    for (int how = 0; how < 4; how++) {
        uint8_t *data = make(NULL, 0, &bytes);
        struct manifest m;
        struct err err;

        assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
        m.file = files;
        m.file_count = how == 0 ? 1 : 3;
        if (how != 1) /* else the committer was another */
            m.info.daemon = files[0].store;
        if (how == 2)
            m.note_count = 0;
        assert_int_equal(
            manifest_elsewhere(&m, how == 3 ? 1 : 0, -ENOENT, &err), -ENOENT);
        assert_int_equal(strstr(err.text, "host a") != NULL, how == 0);
        assert_non_null(strstr(err.text, how == 3 ? "02000000" : "01000000"));
        free(data);
    }
}

/*
 * The index.
 */

static struct mf_slot *slots_of(uint8_t *data, uint64_t *count)
{
    const struct mf_entry *e = (const void *)(data + MF_DIRECTORY_AT);

    *count = e[MF_SLOT].count;
    return (struct mf_slot *)(void *)(data + e[MF_SLOT].offset);
}

/* A slot that is used, or one that is not. */
static struct mf_slot *slot_of(uint8_t *data, bool is_used)
{
    uint64_t count;
    struct mf_slot *s = slots_of(data, &count);

    while ((s->tensor_plus_1 != 0) != is_used)
        s++;
    return s;
}

static void an_index_that_lies_is_refused(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    uint64_t count;
    size_t bytes;

    (void)state;
    for (int how = 0; how < 6; how++) {
        uint8_t *data = make(names, ARRAY_LEN(names), &bytes);
        struct mf_entry *e = (void *)(data + MF_DIRECTORY_AT);
        struct mf_slot *s = slots_of(data, &count);
        const char *words = "is out of range";

        assert_int_equal(count, 8);
        switch (how) {
        case 0:
            slot_of(data, true)->tensor_plus_1 = 4;
            break;
        case 1:
            slot_of(data, false)->hash = 1;
            break;
        case 2:
            *slot_of(data, true) = (struct mf_slot){0};
            words = "incomplete";
            break;
        case 3:
            slot_of(data, true)->hash++;
            words = "is not in the index";
            break;
        case 4: /* all of one tensor */
            for (uint64_t i = 0; i < count; i++)
                if (s[i].tensor_plus_1)
                    s[i].tensor_plus_1 = 1;
            words = "is not in the index";
            break;
        default: /* fewer than there must be; what is behind them is padding */
            e[MF_SLOT].count = 5;
            memset(s, 0, count * sizeof *s);
            words = "index has 5 slots";
        }
        refused(data, bytes, words);
        free(data);
    }
}

/* Every walk through the index goes over nearly all that is in it: refused
 * before that has taken a time that grows with the square. */
static void an_index_of_long_walks_is_refused(void **state)
{
    enum { COUNT = 1024, FAR = 100 };
    char(*text)[16] = calloc(COUNT, sizeof *text);
    const char **names = calloc(COUNT, sizeof *names);
    struct mf_slot *s, *old;
    size_t made = 0, bytes;
    uint64_t count, at = 0;
    uint8_t *data;

    (void)state;
    /* The first by name all want one of the first 16 slots. */
    for (uint32_t i = 0; made < COUNT; i++) {
        (void)snprintf(text[made], sizeof text[made], "%s.%08u",
                       made < FAR ? "a" : "b", i);
        names[made] = text[made];
        if (made >= FAR ||
            (hash_64(text[made], strlen(text[made])) & (2 * COUNT - 1)) < 16)
            made++;
    }
    data = make(names, COUNT, &bytes);
    s = slots_of(data, &count);
    assert_int_equal(count, 2 * COUNT);
    old = malloc(count * sizeof *old);
    memcpy(old, s, count * sizeof *old);
    memset(s, 0, count * sizeof *s);
    for (int is_far = 0; is_far < 2; is_far++)
        for (uint64_t i = 0; i < count; i++)
            if (old[i].tensor_plus_1 &&
                (old[i].tensor_plus_1 <= FAR) == (is_far == 1))
                s[at++] = old[i];
    assert_int_equal(at, COUNT);
    refused(data, bytes, "is not in the index");
    free(old);
    free(data);
    free(names);
    free(text);
}

/*
 * Ranks with gaps.
 */

static void ranks_with_gaps_are_found(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    static const uint32_t ranks[] = {1, 4, 7, 9};
    struct manifest_builder *b = manifest_builder_new();
    const struct mf_entry *e;
    struct mf_region *region;
    struct manifest m;
    struct err err;
    size_t bytes;
    uint8_t *data;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ranks); i++)
        add_rank(b, ranks[i], &names[i], 1);
    data = write_out(b, &bytes);
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(m.rank_count, 4);
    e = (const void *)(data + MF_DIRECTORY_AT);
    region = (void *)(data + e[MF_REGION].offset);
    for (uint32_t rank = 0; rank < 12; rank++) {
        if (rank == 1)
            continue;
        region[0].rank = rank;
        /* One that is there has other chunks. */
        refused(data, bytes,
                rank == 4 || rank == 7 || rank == 9
                    ? "in a chunk of another rank"
                    : "tensor or rank is out of order");
    }
    free(data);
}

static void notes_are_in_order(void **state)
{
    size_t bytes;
    uint8_t *data = make(NULL, 0, &bytes);
    const struct mf_entry *e = (const void *)(data + MF_DIRECTORY_AT);
    struct mf_note *note = (void *)(data + e[MF_NOTE].offset);

    (void)state;
    note[1].key = note[0].key;
    note[1].key_bytes = note[0].key_bytes;
    refused(data, bytes, "note 1: is out of order");
    free(data);
}

/*
 * Frames.
 */

static void lengths_of_no_manifest_are_refused(void **state)
{
    static const size_t lengths[] = {0, 287, 289, MANIFEST_MAX_BYTES + 8};
    size_t bytes;
    uint8_t *data = make(NULL, 0, &bytes);
    struct manifest m;
    struct err err;

    (void)state;
    /* Nothing is read before the length is known to be one. */
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        assert_int_equal(manifest_open(data, lengths[i], &m, &err),
                         -CKPT_ECORRUPT);
        assert_non_null(strstr(err.text, "are no manifest"));
    }
    free(data);
}

/* A manifest of nothing, with `count` tables, of which the axes have
 * axes_bytes and each later one later_bytes. */
static uint8_t *bare(uint32_t count, uint64_t axes, uint64_t later_bytes,
                     size_t *bytes)
{
    uint64_t at =
        align_up(MF_DIRECTORY_AT + count * sizeof(struct mf_entry), MF_ALIGN);
    uint64_t end = at + align_up(axes * sizeof(struct mf_axis), MF_ALIGN) +
                   (count > MF_TABLE_COUNT ? count - MF_TABLE_COUNT : 0) *
                       align_up(later_bytes, MF_ALIGN);
    uint8_t *data;
    struct mf_header *h;
    struct mf_entry *e;

    *bytes = end + mf_page_count(end) * sizeof(struct digest) +
             sizeof(struct mf_trailer);
    data = aligned_alloc(64, align_up(*bytes, 64));
    memset(data, 0, *bytes);
    h = (void *)data;
    memcpy(h->magic, mf_magic, sizeof mf_magic);
    h->major = MF_VERSION_MAJOR;
    h->total_bytes = *bytes;
    h->digests_at = end;
    h->table_count = count;
    h->kind = MANIFEST_CHECKPOINT;
    h->world_size = 1;
    h->chunk_bytes = CHUNK_BYTES_MIN;
    h->id.generation = 1;
    e = (void *)(data + MF_DIRECTORY_AT);
    for (uint32_t i = 0; i < count; i++) {
        e[i].table = i < MF_TABLE_COUNT ? i : i * 2;
        e[i].entry_bytes = i < MF_TABLE_COUNT ? mf_entry_bytes[i] : 1;
        e[i].offset = at;
        e[i].count = i == 0 ? axes : i < MF_TABLE_COUNT ? 0 : later_bytes;
        at = align_up(at + e[i].count * e[i].entry_bytes, MF_ALIGN);
    }
    mf_seal(data, end);
    return data;
}

static void tables_of_a_later_version_are_passed_over(void **state)
{
    size_t bytes;
    uint8_t *data = bare(MF_TABLE_COUNT + 3, 0, 100, &bytes);
    struct mf_entry *e = (void *)(data + MF_DIRECTORY_AT);
    struct manifest m;
    struct err err = {0};

    (void)state;
    assert_int_equal(manifest_open(data, bytes, &m, &err), 0);
    assert_int_equal(m.tensor_count, 0);
    e[MF_TABLE_COUNT + 1].table = e[MF_TABLE_COUNT].table;
    refused(data, bytes, "directory entry 15 is malformed");
    e[MF_TABLE_COUNT + 1].table++;
    e[MF_TABLE_COUNT + 1].count = 1 << 20;
    refused(data, bytes, "of a later version does not fit");
    free(data);
}

static void a_directory_that_does_not_fit_is_refused(void **state)
{
    size_t bytes;
    uint8_t *data = bare(MF_TABLE_COUNT, 0, 0, &bytes);

    (void)state;
    ((struct mf_header *)(void *)data)->table_count = MF_TABLES_MAX;
    refused(data, bytes, "header is malformed");
    free(data);
}

static void more_axes_than_there_may_be_are_refused(void **state)
{
    size_t bytes;
    uint8_t *data = bare(MF_TABLE_COUNT, MAX_AXES + 1, 0, &bytes);

    (void)state;
    refused(data, bytes, "9 axes");
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_equal_hashes_are_told_apart),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(where_data_is_instead_is_told),
        cmocka_unit_test(an_index_that_lies_is_refused),
        cmocka_unit_test(an_index_of_long_walks_is_refused),
        cmocka_unit_test(ranks_with_gaps_are_found),
        cmocka_unit_test(notes_are_in_order),
        cmocka_unit_test(lengths_of_no_manifest_are_refused),
        cmocka_unit_test(tables_of_a_later_version_are_passed_over),
        cmocka_unit_test(a_directory_that_does_not_fit_is_refused),
        cmocka_unit_test(more_axes_than_there_may_be_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
