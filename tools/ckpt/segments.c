/*
 * segments.c - see segments.h.
 */
#include "tools/ckpt/segments.h"
#include "ckptd/engine/remote_read.h"
#include "formats/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_uuid(struct segments *s, struct err *err)
{
    struct record_store record;

    if (tool_identity(s->store, &record, err))
        return err_prefix(err, "local store %s: STORE", s->path);
    s->uuid = record.uuid;
    return 0;
}

static int memory(struct segments *s, struct err *err)
{
    s->file = calloc(s->manifest->file_count + 1, sizeof *s->file);
    s->page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    return s->file && s->page ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int segments_open(const struct tool *t, const struct manifest *m,
                  struct segments *out, struct err *err)
{
    int rc;

    *out = (struct segments){.manifest = m};
    if (!tool_local_path(t, out->path, sizeof out->path))
        return err_set(err, -ENOENT, NO_LOCAL);
    rc = store_file_open(out->path, 0, STORE_ENGINE_AUTO, &out->store, err);
    if (rc == 0)
        rc = read_uuid(out, err);
    return rc ? rc : memory(out, err);
}

int segments_open_remote(const struct tool *t, const char *run,
                         const struct manifest *tier, struct segments *out,
                         struct err *err)
{
    *out = (struct segments){
        .manifest = tier, .is_remote = true, .store = t->home};
    (void)snprintf(out->prefix, sizeof out->prefix, "runs/%s/", run);
    (void)snprintf(out->path, sizeof out->path, "%s/runs/%s", t->options.home,
                   run);
    return memory(out, err);
}

void segments_close(struct segments *s)
{
    for (uint64_t i = 0; s->file && i < s->manifest->file_count; i++) {
        struct segments_file *f = &s->file[i];
        struct store_req close = {.op = STORE_SEG_CLOSE, .seg = f->seg};

        if (f->seg && store_run(s->store, &close) < 0)
            (void)fprintf(stderr, "ckpt: a segment did not close\n");
        free(f->name);
    }
    if (!s->is_remote)
        store_close(s->store);
    free(s->file);
    free(s->page);
    *s = (struct segments){0};
}

static bool has_segments(const struct segments *s)
{
    return s->store->limits.max_io_bytes > 0;
}

static void read_prepare(const struct segments *s, uint32_t file,
                         struct store_req *req)
{
    req->op = has_segments(s) ? STORE_READ : STORE_BLOB_GET;
    req->seg = s->file[file].seg;
    req->name = has_segments(s) ? NULL : s->file[file].name;
}

/* Of the remote tier, asked again before it is believed. */
static int64_t run(struct segments *s, struct store_req *req)
{
    int64_t rc = store_run(s->store, req);

    for (int i = 1; s->is_remote && remote_asks_again(rc) && i < REMOTE_TRIES;
         i++)
        rc = store_run(s->store, req);
    return rc;
}

void segments_read(struct segments *s, uint32_t file, struct store_req *req)
{
    read_prepare(s, file, req);
    store_submit(s->store, req);
}

int64_t segments_run(struct segments *s, uint32_t file, struct store_req *req)
{
    read_prepare(s, file, req);
    return run(s, req);
}

static int check_header(struct segments *s, uint32_t file, struct err *err)
{
    struct store_req read = {.buf = s->page, .len = PAGE_BYTES};
    struct segment_header header;
    int64_t rc;

    if (s->file[file].bytes < PAGE_BYTES)
        return err_set(err, -EIO, "is cut off: not even a page is left");
    rc = segments_run(s, file, &read);
    if (rc < 0)
        return err_set(err, (int)rc, "its header cannot be read: %s",
                       err_text((int)rc));
    rc = segment_header_decode(s->page, &header, err);
    if (rc < 0)
        return (int)rc;
    if (!id_equal(&header.segment, &s->manifest->file[file].segment))
        return s->is_remote
                   ? err_set(err, -CKPT_ECORRUPT,
                             "is another file than the remote table names")
                   : err_set(err, -ESTALE,
                             "holds another segment than the manifest names: "
                             "it was recycled");
    return 0;
}

static int open_file(struct segments *s, uint32_t file, struct err *err)
{
    struct segments_file *f = &s->file[file];
    struct store_req open = {
        .op = STORE_SEG_OPEN, .flags = STORE_SEG_NOLOCK, .name = f->name};
    struct store_req stat = {.op = STORE_BLOB_STAT, .name = f->name};
    int64_t size = run(s, has_segments(s) ? &open : &stat);

    if (size < 0)
        return err_set(err, (int)size, "%s", err_text((int)size));
    f->is_open = true;
    f->seg = open.seg;
    f->bytes = (uint64_t)size;
    return check_header(s, file, err);
}

int segments_get(struct segments *s, uint32_t file, struct err *err)
{
    const struct mf_file *of = &s->manifest->file[file];
    const char *leaf = s->manifest->blob + of->name;
    size_t room = strlen(s->prefix) + of->name_bytes + 1;
    struct segments_file *f = &s->file[file];
    int rc;

    if (f->failed == -EXDEV)
        return err_set(err, f->failed,
                       "%.*s: it is in another local store, as before",
                       (int)of->name_bytes, leaf);
    if (!s->is_remote && !id_equal(&of->store, &s->uuid)) {
        f->failed = manifest_elsewhere(s->manifest, file, -EXDEV, err);
        return err_prefix(err, "%.*s", (int)of->name_bytes, leaf);
    }
    if (f->failed)
        return err_set(err, f->failed, "%s/%.*s: %s, as before", s->path,
                       (int)of->name_bytes, leaf, err_text(f->failed));
    if (f->is_open)
        return 0;
    f->name = malloc(room);
    if (!f->name)
        return err_set(err, -ENOMEM, "out of memory");
    (void)snprintf(f->name, room, "%s%.*s", s->prefix, (int)of->name_bytes,
                   leaf);
    rc = open_file(s, file, err);
    f->failed = rc;
    return rc ? err_prefix(err, "%s/%.*s", s->path, (int)of->name_bytes, leaf)
              : 0;
}
