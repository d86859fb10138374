/*
 * pool_rig.c - see pool_rig.h.
 */
#include "tests/lib/pool_rig.h"
#include "tests/lib/media.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct waiting {
    bool is_done;
    int result;
    struct seg_writer *writer;
    struct segment *segment;
    struct err err;
};

static bool is_done(void *arg)
{
    return ((struct waiting *)arg)->is_done;
}

static void on_done(void *arg, int result, const struct err *err)
{
    struct waiting *w = arg;

    assert(!w->is_done);
    w->is_done = true;
    w->result = result;
    w->err = *err;
}

static int wait(struct pool_rig *r, struct waiting *w)
{
    (void)test_run(r->world, POOL_LIMIT_MS, is_done, w);
    assert(w->is_done);
    if (w->result)
        r->err = w->err;
    return w->result;
}

void pool_rig_new(struct pool_rig *r, uint64_t seed)
{
    *r = (struct pool_rig){.world = test_world_new(seed)};
    r->t = test_env_new(r->world, "a");
    r->base = (struct segment_header){
        .save = {.generation = 1, .step = 1, .attempt = 1}};
    memset(r->base.run.b, 1, sizeof r->base.run.b);
    (void)snprintf(r->base.home_path, sizeof r->base.home_path, "/home");
    (void)snprintf(r->base.run_name, sizeof r->base.run_name, "run");
}

int pool_rig_open(struct pool_rig *r)
{
    struct waiting w = {0};

    segpool_open(&r->t->env, &r->pool, on_done, &w);
    return wait(r, &w);
}

static bool is_quiet(void *arg)
{
    return !segpool_is_busy(((struct pool_rig *)arg)->pool);
}

void pool_settle(struct pool_rig *r)
{
    (void)test_run(r->world, POOL_LIMIT_MS, is_quiet, r);
    assert(!segpool_is_busy(r->pool));
}

void pool_rig_stop(struct pool_rig *r)
{
    segpool_stop(r->pool);
    pool_settle(r);
    segpool_close(r->pool);
    r->pool = NULL;
}

int pool_rig_restart(struct pool_rig *r)
{
    pool_rig_stop(r);
    return pool_rig_open(r);
}

void pool_rig_free(struct pool_rig *r)
{
    if (r->pool)
        pool_rig_stop(r);
    test_env_free(r->t);
    test_world_free(r->world);
}

static void on_writer(void *arg, int result, struct seg_writer *writer,
                      const struct err *err)
{
    struct waiting *w = arg;

    w->writer = writer;
    on_done(arg, result, err);
}

int pool_writer(struct pool_rig *r, uint64_t bytes, struct seg_writer **out)
{
    struct waiting w = {0};

    seg_writer_open(r->pool, &r->base, bytes, POOL_EXTENT, on_writer, &w);
    (void)wait(r, &w);
    *out = w.writer;
    assert(!w.writer == !!w.result);
    return w.result;
}

static void on_written(struct store_req *req, int64_t result)
{
    struct waiting *w = req->owner;

    w->is_done = true;
    w->result = result < 0 ? (int)result : 0;
}

int pool_write(struct pool_rig *r, struct seg_writer *writer, uint32_t count,
               struct seg_place *last)
{
    void *page = aligned_alloc(PAGE_BYTES, POOL_EXTENT);
    int rc = 0;

    assert(page);
    memset(page, 7, POOL_EXTENT);
    for (uint32_t i = 0; i < count && !rc; i++) {
        struct waiting w = {0};
        struct store_req req = {.op = STORE_WRITE,
                                .buf = page,
                                .len = POOL_EXTENT,
                                .done = on_written,
                                .owner = &w};

        rc = seg_writer_place(writer, POOL_EXTENT, last);
        if (rc)
            break;
        req.seg = last->seg;
        req.off = last->offset;
        store_submit(r->t->env.local, &req);
        rc = wait(r, &w);
        if (rc)
            seg_writer_doom(writer, last->index);
    }
    free(page);
    return rc;
}

int pool_sync(struct pool_rig *r, struct seg_writer *writer)
{
    struct waiting w = {0};

    seg_writer_sync(writer, on_done, &w);
    return wait(r, &w);
}

static void on_got(void *arg, int result, struct segment *s,
                   const struct err *err)
{
    struct waiting *w = arg;

    w->segment = s;
    on_done(arg, result, err);
}

int pool_get(struct pool_rig *r, const char *file, const struct id128 *id,
             struct segment **out)
{
    struct waiting w = {0};

    segpool_get(r->pool, file, id, on_got, &w);
    (void)wait(r, &w);
    *out = w.segment;
    return w.result;
}

struct seg_place pool_segment(struct pool_rig *r, uint32_t count)
{
    struct seg_writer *w;
    struct seg_place p = {0};
    int rc = pool_writer(r, count * POOL_EXTENT, &w);

    if (rc == 0)
        rc = pool_write(r, w, count, &p);
    if (rc == 0)
        rc = pool_sync(r, w);
    assert(rc == 0);
    seg_writer_close(w, true);
    pool_settle(r);
    return p;
}

const struct manifest *pool_manifest(const struct pool_rig *r, uint64_t step,
                                     const struct seg_place *p, uint32_t count)
{
    static struct mf_location location[64];
    static struct mf_file file;
    static char blob[64];
    static struct manifest m;

    assert(count <= ARRAY_LEN(location));
    memcpy(blob, p->file, sizeof blob);
    file = (struct mf_file){.segment = p->segment,
                            .store = r->t->env.local_uuid,
                            .name_bytes = (uint32_t)strlen(p->file)};
    for (uint32_t i = 0; i < count; i++)
        location[i] = (struct mf_location){
            .payload_bytes = (uint32_t)(POOL_EXTENT - PAGE_BYTES)};
    m = (struct manifest){.file = &file,
                          .file_count = 1,
                          .blob = blob,
                          .location = location,
                          .location_count = count};
    m.info.id = (struct save_id){.generation = 1, .step = step, .attempt = 1};
    return &m;
}

uint32_t pool_count(const struct pool_rig *r, enum segment_state state)
{
    struct segpool_stats stats;

    segpool_stats(r->pool, &stats);
    return stats.count[state];
}

/*
 * The back door.
 */

static struct store *behind(struct pool_rig *r)
{
    return test_world_store(r->world, "local/a");
}

struct store_seg *pool_lock(struct pool_rig *r, const char *file)
{
    return media_open(behind(r), file, STORE_SEG_WRITE, NULL);
}

void pool_unlock(struct pool_rig *r, struct store_seg *seg)
{
    media_close(behind(r), seg);
}

void pool_plant(struct pool_rig *r, const char *file, uint64_t bytes,
                const void *page)
{
    uint8_t *data = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store_seg *seg =
        media_open(behind(r), file, STORE_SEG_WRITE | STORE_SEG_CREATE, &bytes);

    assert(data);
    memset(data, 0, PAGE_BYTES);
    if (page)
        memcpy(data, page, PAGE_BYTES);
    media_write(behind(r), seg, 0, data);
    pool_unlock(r, seg);
    free(data);
}

bool pool_has_file(struct pool_rig *r, const char *file)
{
    struct store_req req = {.op = STORE_LIST, .name = "seg"};
    int64_t rc = store_run(behind(r), &req);
    bool has = false;

    assert(rc >= 0);
    for (size_t i = 0; i < req.names.count; i++)
        has = has || strcmp(req.names.name[i], file + strlen("seg/")) == 0;
    store_names_free(&req.names);
    return has;
}
