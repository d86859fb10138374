/*
 * segments.c - see segments.h.
 */
#include "tools/ckpt/segments.h"
#include "formats/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int read_uuid(struct segments *s, struct err *err)
{
    struct record_store record;

    if (tool_identity(s->local, &record, err))
        return err_prefix(err, "local store %s: STORE", s->path);
    s->uuid = record.uuid;
    return 0;
}

int segments_open(const struct tool *t, const struct manifest *m,
                  struct segments *out, struct err *err)
{
    size_t files = m->file_count + 1;
    int rc;

    *out = (struct segments){.manifest = m};
    if (!tool_local_path(t, out->path, sizeof out->path))
        return err_set(err, -ENOENT, NO_LOCAL);
    rc = store_file_open(out->path, 0, STORE_ENGINE_AUTO, &out->local, err);
    if (rc == 0)
        rc = read_uuid(out, err);
    if (rc)
        return rc;
    out->seg = calloc(files, sizeof(struct store_seg *));
    out->failed = calloc(files, sizeof *out->failed);
    out->size = calloc(files, sizeof *out->size);
    out->page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    if (!out->seg || !out->failed || !out->size || !out->page)
        return err_set(err, -ENOMEM, "out of memory");
    return 0;
}

void segments_close(struct segments *s)
{
    for (uint64_t i = 0; s->seg && i < s->manifest->file_count; i++) {
        struct store_req close = {.op = STORE_SEG_CLOSE, .seg = s->seg[i]};

        if (s->seg[i] && store_run(s->local, &close) < 0)
            (void)fprintf(stderr, "ckpt: a segment did not close\n");
    }
    store_close(s->local);
    free(s->seg);
    free(s->failed);
    free(s->size);
    free(s->page);
    *s = (struct segments){0};
}

static int check_header(struct segments *s, uint32_t file, struct err *err)
{
    struct store_req read = {.op = STORE_READ,
                             .seg = s->seg[file],
                             .buf = s->page,
                             .len = PAGE_BYTES};
    struct segment_header header;
    int64_t rc = store_run(s->local, &read);

    if (rc < 0)
        return err_set(err, (int)rc, "its header cannot be read: %s",
                       err_text((int)rc));
    rc = segment_header_decode(s->page, &header, err);
    if (rc < 0)
        return (int)rc;
    if (!id_equal(&header.segment, &s->manifest->file[file].segment))
        return err_set(err, -CKPT_ECORRUPT,
                       "holds another segment than the manifest names: it was "
                       "recycled");
    return 0;
}

static int open_file(struct segments *s, uint32_t file, const char *name,
                     struct err *err)
{
    struct store_req open = {
        .op = STORE_SEG_OPEN, .flags = STORE_SEG_NOLOCK, .name = name};
    int64_t size = store_run(s->local, &open);

    if (size < 0)
        return err_set(err, (int)size, "%s", err_text((int)size));
    s->seg[file] = open.seg;
    s->size[file] = (uint64_t)size;
    return check_header(s, file, err);
}

int segments_get(struct segments *s, uint32_t file, struct store_seg **seg,
                 struct err *err)
{
    const struct mf_file *f = &s->manifest->file[file];
    char name[512];
    int rc = s->failed[file];

    if (f->name_bytes >= sizeof name)
        return err_set(err, -CKPT_ECORRUPT, "file name too long");
    memcpy(name, s->manifest->blob + f->name, f->name_bytes);
    name[f->name_bytes] = '\0';
    if (!id_equal(&f->store, &s->uuid)) {
        (void)manifest_elsewhere(s->manifest, file, -EXDEV, err);
        return err_prefix(err, "%s", name);
    }
    if (rc)
        return err_set(err, rc, "%s/%s: %s, as before", s->path, name,
                       err_text(rc));
    if (!s->seg[file])
        rc = open_file(s, file, name, err);
    if (rc) {
        s->failed[file] = rc;
        return err_prefix(err, "%s/%s", s->path, name);
    }
    *seg = s->seg[file];
    return 0;
}
