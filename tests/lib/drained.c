/*
 * drained.c - see drained.h.
 */
#include "tests/lib/drained.h"
#include "tests/lib/media.h"

#include "formats/record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static struct store *home_of(struct test_world *w)
{
    return test_world_store(w, RIG_HOME);
}

static bool has_segments(struct test_world *w)
{
    return home_of(w)->limits.max_io_bytes > 0;
}

void drained_as_blobs(struct test_world *w)
{
    home_of(w)->limits.max_io_bytes = 0;
}

#define TABLE_BYTES_MAX ((size_t)1 << 20)

/* Of a small checkpoint: it is in the decision. */
static void manifest_get(struct drained *d, const struct save_id *id)
{
    uint8_t *record = malloc(RECORD_MAX_BYTES);
    char name[RECORD_NAME_BYTES];
    struct record_decision decision;
    struct err err;
    int64_t bytes;
    int rc;

    assert(record);
    bytes =
        media_get(home_of(d->world), name_save(name, RIG_RUN, "decision", id),
                  record, RECORD_MAX_BYTES);
    assert(bytes > 0);
    rc = record_decision_decode(record, (size_t)bytes, &decision, &err);
    assert(rc == 0 && decision.part_count == 0);
    d->data = aligned_alloc(64, align_up(decision.manifest_bytes, 64));
    assert(d->data);
    memcpy(d->data, decision.inline_bytes, decision.manifest_bytes);
    rc = manifest_open(d->data, decision.manifest_bytes, &d->m, &err);
    assert(rc == 0);
    free(record);
}

void drained_end(struct drained *d)
{
    free(d->tier_data);
    free(d->data);
    *d = (struct drained){0};
}

const char *drained_file_name(const struct drained *d, uint32_t file,
                              char *name, size_t capacity)
{
    const struct mf_file *f = &d->tier.file[file];

    (void)snprintf(name, capacity, "runs/%s/%.*s", RIG_RUN, (int)f->name_bytes,
                   d->tier.blob + f->name);
    return name;
}

/* A chunk's extent as it is in the local store. */
static void extent_get(const struct drained *d, uint64_t chunk, uint8_t *to)
{
    char local[64], name[256];
    const struct mf_location *l = &d->m.location[chunk];
    const struct mf_file *f = &d->m.file[l->file];
    struct store_seg *seg;
    struct store *s;

    (void)snprintf(local, sizeof local, "local/%s", d->daemon);
    (void)snprintf(name, sizeof name, "%.*s", (int)f->name_bytes,
                   d->m.blob + f->name);
    s = test_world_store(d->world, local);
    seg = media_open(s, name, STORE_SEG_NOLOCK, NULL);
    for (uint64_t at = 0; at < chunk_extent_bytes(l->payload_bytes);
         at += PAGE_BYTES)
        media_read(s, seg, l->offset + at, to + at);
    media_close(s, seg);
}

static uint64_t chunk_in_manifest(const struct drained *d, uint64_t at)
{
    for (uint64_t i = 0; i < d->m.chunk_count; i++)
        if (tier_chunk(&d->tier, &d->m, i) == (int64_t)at)
            return i;
    assert(!"a chunk of the manifest");
    return 0;
}

/*
 * The table.
 */

static void tier_open(struct drained *d)
{
    struct err err;
    int rc = manifest_open(d->tier_data, d->tier_bytes, &d->tier, &err);

    assert(rc == 0);
}

static bool is_there(struct drained *d, const struct id128 *daemon)
{
    char name[RECORD_NAME_BYTES];
    struct err err;
    int64_t bytes;

    d->tier_data = aligned_alloc(64, TABLE_BYTES_MAX);
    assert(d->tier_data);
    bytes = media_get(
        home_of(d->world),
        name_save_daemon(name, RIG_RUN, "remote", &d->m.info.id, daemon),
        d->tier_data, TABLE_BYTES_MAX);
    d->tier_bytes = bytes > 0 ? (size_t)bytes : 0;
    if (bytes > 0 &&
        manifest_open(d->tier_data, d->tier_bytes, &d->tier, &err) == 0)
        return true;
    free(d->tier_data);
    return false;
}

/* A chunk's extent as it is in the remote tier, and its length there. */
static uint64_t packed_get(const struct drained *d, uint64_t chunk, uint8_t *to)
{
    void *spare = malloc(TIER_SPARE_BYTES);
    uint64_t bytes;

    assert(spare);
    extent_get(d, chunk, to);
    bytes = tier_pack(&d->m, chunk, 1, to, to, spare);
    free(spare);
    return bytes ? bytes
                 : chunk_extent_bytes(d->m.location[chunk].payload_bytes);
}

/* As it is if all is encoded that gets smaller so. */
static void pack(struct drained *d)
{
    uint64_t count = d->tier.chunk_count, offset = 0;
    struct mf_location *row = calloc(count, sizeof *row);
    uint8_t *extent =
        aligned_alloc(PAGE_BYTES, chunk_extent_bytes(RIG_CHUNK_BYTES));
    void *planned = d->tier_data;
    struct err err;
    int rc;

    assert(row && extent);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t chunk = chunk_in_manifest(d, i);
        uint64_t bytes = packed_get(d, chunk, extent);

        row[i].file = d->tier.location[i].file;
        if (i == 0 || row[i].file != row[i - 1].file)
            offset = PAGE_BYTES;
        row[i].offset = offset;
        offset += bytes;
        rc = tier_row(&d->m, chunk, extent, &row[i], &err);
        assert(rc == 0);
    }
    rc = tier_rebuild(&d->tier, row, NULL, &d->tier_data, &d->tier_bytes, &err);
    assert(rc == 0);
    free(planned);
    free(row);
    free(extent);
    tier_open(d);
}

void drained_begin(struct drained *d, struct test_world *w, const char *daemon,
                   const struct save_id *id)
{
    struct digest name = hash_128(daemon, strlen(daemon));
    struct id128 uuid; /* as test_env_new() makes it */
    struct err err;
    int rc;

    *d = (struct drained){.world = w, .daemon = daemon};
    manifest_get(d, id);
    memcpy(uuid.b, name.b, sizeof uuid.b);
    if (is_there(d, &uuid))
        return;
    rc = tier_build(&d->m, &uuid, DRAINED_FILE_BYTES, &d->tier_data,
                    &d->tier_bytes, &err);
    assert(rc == 0);
    tier_open(d);
    pack(d);
}

/*
 * The files.
 */

static void file_put(const struct drained *d, const char *name, uint8_t *bytes,
                     uint64_t count)
{
    struct store *s = home_of(d->world);
    struct store_req put = {
        .op = STORE_BLOB_PUT, .name = name, .buf = bytes, .len = count};
    struct store_seg *seg;
    int64_t rc;

    if (!has_segments(d->world)) {
        rc = store_run(s, &put);
        assert(rc >= 0);
        return;
    }
    seg = media_open(s, name, STORE_SEG_CREATE | STORE_SEG_WRITE, &count);
    for (uint64_t at = 0; at < count; at += PAGE_BYTES)
        media_write(s, seg, at, bytes + at);
    media_close(s, seg);
}

static void file_fill(const struct drained *d, uint64_t at, uint8_t *whole)
{
    uint8_t *extent =
        aligned_alloc(PAGE_BYTES, chunk_extent_bytes(RIG_CHUNK_BYTES));
    uint64_t bytes;

    assert(extent);
    bytes = packed_get(d, chunk_in_manifest(d, at), extent);
    memcpy(whole + d->tier.location[at].offset, extent, bytes);
    free(extent);
}

void drained_files(const struct drained *d)
{
    for (uint32_t i = 0; i < d->tier.file_count; i++) {
        uint64_t bytes = tier_file_bytes(&d->tier, i), first;
        uint64_t count = tier_file_chunks(&d->tier, i, &first);
        uint8_t *whole = aligned_alloc(PAGE_BYTES, bytes);
        struct segment_header header = {.segment = d->tier.file[i].segment,
                                        .store = d->tier.info.daemon,
                                        .run = d->m.info.run,
                                        .size_bytes = bytes,
                                        .save = d->m.info.id};
        char name[512];

        assert(whole);
        segment_header_encode(&header, whole);
        for (uint64_t k = first; k < first + count; k++)
            file_fill(d, k, whole);
        file_put(d, drained_file_name(d, i, name, sizeof name), whole, bytes);
        free(whole);
    }
}

void drained_table(const struct drained *d)
{
    char name[RECORD_NAME_BYTES];
    int64_t rc =
        media_put(home_of(d->world),
                  name_save_daemon(name, RIG_RUN, "remote", &d->m.info.id,
                                   &d->tier.info.daemon),
                  d->tier_data, d->tier_bytes);

    assert(rc >= 0);
}

void drained_save(struct test_world *w, const char *daemon,
                  const struct save_id *id)
{
    struct drained d;

    drained_begin(&d, w, daemon, id);
    drained_files(&d);
    drained_table(&d);
    drained_end(&d);
}

void drained_remove(const struct drained *d, uint32_t file)
{
    char name[512];
    struct store_req req = {
        .op = has_segments(d->world) ? STORE_SEG_REMOVE : STORE_BLOB_REMOVE,
        .name = drained_file_name(d, file, name, sizeof name)};
    int64_t rc = store_run(home_of(d->world), &req);

    assert(rc == 0);
}

void drained_flip(const struct drained *d, uint64_t chunk, uint64_t at)
{
    const struct mf_location *l = &d->tier.location[chunk];
    uint64_t bytes = tier_file_bytes(&d->tier, l->file);
    uint8_t *whole = aligned_alloc(PAGE_BYTES, bytes);
    struct store *s = home_of(d->world);
    char name[512];
    struct store_req get = {
        .op = STORE_BLOB_GET,
        .name = drained_file_name(d, l->file, name, sizeof name),
        .buf = whole,
        .len = bytes};
    struct store_seg *seg;
    int64_t rc;

    assert(whole && at < chunk_extent_bytes(l->payload_bytes));
    if (has_segments(d->world)) {
        seg = media_open(s, name, STORE_SEG_NOLOCK, NULL);
        for (uint64_t i = 0; i < bytes; i += PAGE_BYTES)
            media_read(s, seg, i, whole + i);
        media_close(s, seg);
    } else {
        rc = store_run(s, &get);
        assert(rc == (int64_t)bytes);
    }
    whole[l->offset + at] ^= 1;
    drained_remove(d, l->file);
    file_put(d, name, whole, bytes);
    free(whole);
}

void drained_lose_segments(struct test_world *w, const char *local)
{
    struct store *s = test_world_store(w, local);
    struct store_req list = {.op = STORE_LIST, .name = "seg"};
    int64_t rc = store_run(s, &list);

    assert(rc >= 0 && list.names.count > 0);
    for (size_t i = 0; i < list.names.count; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "seg/%s", list.names.name[i]);
        rc = media_remove_segment(s, name);
        assert(rc == 0);
    }
    store_names_free(&list.names);
}
