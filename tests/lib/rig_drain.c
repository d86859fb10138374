/*
 * rig_drain.c - see rig_drain.h.
 */
#include "tests/lib/rig_drain.h"
#include "tests/lib/media.h"

#include "ckptd/engine/drain.h"
#include "ckptd/engine/manifest_hold.h"
#include "formats/tier.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define LIMIT_MS        900000
#define TABLE_BYTES_MAX ((size_t)1 << 20)

struct rig_shape rig_drain_shape(uint32_t remote_every, uint32_t keep_last)
{
    return (struct rig_shape){.world_size = 2,
                              .slots = 12,
                              .tensors = 2,
                              .tensor_bytes = RIG_DRAIN_TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1,
                              .keep_last = keep_last,
                              .remote_every = remote_every};
}

void rig_drain_as_blobs(struct test_world *w)
{
    struct store *home = test_world_store(w, RIG_HOME);

    home->limits.max_io_bytes = 0;
    home->limits.max_blob_bytes = RIG_REMOTE_FILE_BYTES;
}

void rig_drain_begin(struct rig_job *f, uint64_t seed, bool in_place,
                     uint32_t remote_every, uint32_t keep_last)
{
    struct rig_shape shape = rig_drain_shape(remote_every, keep_last);

    if (seed % 2)
        shape.entropy = 0;
    *f = (struct rig_job){.g = rig_new(seed)};
    if (!in_place)
        rig_drain_as_blobs(f->g->world);
    rig_job_enter(f, "one", &shape);
}

struct catalog_save *rig_save_at(const struct rig *g, uint64_t step)
{
    const struct catalog *c = &rig_the_run(g)->catalog;

    for (size_t i = c->save_count; i-- > 0;)
        if (c->save[i].id.step == step)
            return &c->save[i];
    return NULL;
}

bool rig_is_remote(const struct rig *g, uint64_t step)
{
    const struct catalog_save *s = rig_save_at(g, step);

    return s && catalog_is_remote(s);
}

static bool is_undrained(void *arg)
{
    return !drain_is_busy(((struct rig *)arg)->engine);
}

void rig_drain_settle(struct rig *g)
{
    bool is_over;

    (void)rig_run(g, RIG_PASS_MS, NULL, NULL);
    is_over = rig_run(g, LIMIT_MS, is_undrained, g);
    assert(is_over);
}

/*
 * What is there.
 */

static void *table_get(const struct rig *g, const struct save_id *id,
                       const struct id128 *daemon, struct manifest *out)
{
    char name[RECORD_NAME_BYTES];
    void *data = aligned_alloc(64, TABLE_BYTES_MAX);
    struct err err;
    int64_t n;
    int rc;

    assert(data);
    (void)name_save_daemon(name, RIG_RUN, "remote", id, daemon);
    n = media_get(rig_home(g), name, data, TABLE_BYTES_MAX);
    assert(n > 0);
    rc = manifest_open(data, (size_t)n, out, &err);
    assert(rc == 0);
    return data;
}

static void file_name(const struct manifest *tier, uint32_t file, char *name)
{
    char leaf[256];

    (void)snprintf(leaf, sizeof leaf, "%.*s", (int)tier->file[file].name_bytes,
                   tier->blob + tier->file[file].name);
    (void)name_run(name, RIG_RUN, leaf);
}

/* A file's bytes; free(). */
static uint8_t *file_get(const struct rig *g, const struct manifest *tier,
                         uint32_t file, bool in_place)
{
    uint64_t bytes = tier_file_bytes(tier, file), size;
    uint8_t *data = aligned_alloc(PAGE_BYTES, bytes);
    char name[RECORD_NAME_BYTES];
    struct store *home = rig_home(g);
    struct store_req req = {
        .op = STORE_BLOB_GET, .name = name, .buf = data, .len = bytes};
    int64_t n;

    assert(data);
    file_name(tier, file, name);
    if (!in_place) {
        n = store_run(home, &req);
        assert(n == (int64_t)bytes);
        return data;
    }
    req.seg = media_open(home, name, STORE_SEG_NOLOCK, &size);
    assert(size == bytes);
    req.op = STORE_READ;
    n = store_run(home, &req);
    assert(n >= 0);
    media_close(home, req.seg);
    return data;
}

static void check_file(const struct rig *g, const struct manifest *m,
                       const struct manifest *tier, uint32_t file,
                       bool in_place)
{
    uint8_t *data = file_get(g, tier, file, in_place);
    uint64_t first, n = tier_file_chunks(tier, file, &first);
    struct segment_header h;
    void *spare = malloc(TIER_SPARE_BYTES);
    struct err err;
    int rc = segment_header_decode(data, &h, &err);

    assert(rc == 0 && spare);
    assert(id_equal(&h.segment, &tier->file[file].segment));
    assert(id_equal(&h.run, &m->info.run));
    for (uint64_t i = first; i < first + n; i++) {
        const struct mf_location *l = &tier->location[i];
        struct mf_location row = *l;
        uint64_t bytes = chunk_extent_bytes(l->payload_bytes);
        int64_t is = tier_adopt(m, tier_source(tier, m, i), data + l->offset,
                                bytes, spare, &row, &err);

        if (is < 0)
            (void)fprintf(stderr, "file %u: %s\n", file, err.text);
        assert(is == (int64_t)bytes);
        assert(memcmp(&row, l, sizeof row) == 0);
    }
    free(spare);
    free(data);
}

/* Returns how many extents there are. */
static uint64_t check_share(const struct rig *g, const struct manifest *m,
                            const struct id128 *daemon, bool in_place)
{
    struct manifest tier;
    struct err err;
    void *table = table_get(g, &m->info.id, daemon, &tier);
    uint64_t count = tier.chunk_count;
    int rc = tier_check(&tier, m, &err);

    assert(rc == 0);
    for (uint32_t f = 0; f < tier.file_count; f++)
        check_file(g, m, &tier, f, in_place);
    free(table);
    return count;
}

static void manifest_got(void *arg, int result, struct held_manifest *held,
                         const struct err *err)
{
    (void)err;
    assert(result == 0);
    *(struct held_manifest **)arg = held;
}

static bool is_got(void *arg)
{
    return *(struct held_manifest **)arg != NULL;
}

void rig_drain_check(struct rig *g, const struct save_id *id, bool in_place)
{
    struct held_manifest *held = NULL;
    struct id128 daemon[4];
    uint64_t chunks = 0;
    uint32_t daemons;
    bool is_here;

    assert(rig_home_has(g, "remote", id));
    manifest_fetch(rig_the_run(g), id, manifest_got, &held);
    is_here = rig_run(g, LIMIT_MS, is_got, &held);
    assert(is_here);
    daemons = tier_daemons(&held->manifest, daemon, ARRAY_LEN(daemon));
    for (uint32_t i = 0; i < daemons; i++)
        chunks += check_share(g, &held->manifest, &daemon[i], in_place);
    assert(chunks == held->manifest.chunk_count);
    held_manifest_put(held);
}

uint64_t rig_drain_stored(const struct rig *g, const struct save_id *id)
{
    struct manifest tier;
    void *table = table_get(g, id, &g->daemon->env.local_uuid, &tier);
    uint64_t bytes = tier.info.stored_bytes;

    free(table);
    return bytes;
}

uint32_t rig_drain_files(const struct rig *g, const struct save_id *id)
{
    char folder[RECORD_NAME_BYTES];
    struct store_req req = {.op = STORE_LIST,
                            .name = name_run(folder, RIG_RUN, "data")};
    uint32_t count = 0;
    int64_t rc = store_run(rig_home(g), &req);

    assert(rc == 0);
    for (size_t i = 0; i < req.names.count; i++) {
        struct save_id of;

        rc = save_id_parse(req.names.name[i], &of, NULL);
        assert(rc == 0);
        count += save_id_compare(&of, id) == 0;
    }
    store_names_free(&req.names);
    return count;
}
