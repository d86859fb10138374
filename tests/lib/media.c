/*
 * media.c - see media.h.
 */
#include "tests/lib/media.h"

#include <assert.h>

int64_t media_put(struct store *s, const char *name, const void *data,
                  size_t bytes)
{
    struct store_req req = {.op = STORE_PUT,
                            .name = name,
                            .buf = (void *)(uintptr_t)data,
                            .len = bytes};

    return store_run(s, &req);
}

int64_t media_get(struct store *s, const char *name, void *data,
                  size_t capacity)
{
    struct store_req req = {
        .op = STORE_GET, .name = name, .buf = data, .len = capacity};

    return store_run(s, &req);
}

int64_t media_remove(struct store *s, const char *name)
{
    struct store_req req = {.op = STORE_REMOVE, .name = name};

    return store_run(s, &req);
}

int64_t media_remove_segment(struct store *s, const char *name)
{
    struct store_req req = {.op = STORE_SEG_REMOVE, .name = name};

    return store_run(s, &req);
}

bool media_has(struct store *s, const char *name)
{
    struct store_req req = {.op = STORE_STAT, .name = name};

    return store_run(s, &req) >= 0;
}

struct store_seg *media_open(struct store *s, const char *name, unsigned flags,
                             uint64_t *bytes)
{
    struct store_req req = {.op = STORE_SEG_OPEN, .name = name, .flags = flags};
    int64_t rc;

    if (flags & STORE_SEG_CREATE)
        req.len = *bytes;
    rc = store_run(s, &req);
    assert(rc > 0);
    if (bytes)
        *bytes = (uint64_t)rc;
    return req.seg;
}

void media_close(struct store *s, struct store_seg *seg)
{
    struct store_req req = {.op = STORE_SEG_CLOSE, .seg = seg};
    int64_t rc = store_run(s, &req);

    assert(rc == 0);
}

static void page_io(struct store *s, struct store_req req)
{
    int64_t rc;

    req.len = PAGE_BYTES;
    rc = store_run(s, &req);
    assert(rc == (int64_t)PAGE_BYTES);
}

void media_read(struct store *s, struct store_seg *seg, uint64_t off,
                void *page)
{
    page_io(s, (struct store_req){
                   .op = STORE_READ, .seg = seg, .buf = page, .off = off});
}

void media_write(struct store *s, struct store_seg *seg, uint64_t off,
                 void *page)
{
    page_io(s, (struct store_req){
                   .op = STORE_WRITE, .seg = seg, .buf = page, .off = off});
}
