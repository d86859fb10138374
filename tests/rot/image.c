/*
 * image.c - see image.h.
 */
#include "tests/rot/image.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCAL "local/"

void image_add(struct image *i, const char *name, const void *data,
               uint64_t bytes)
{
    struct image_file *f;

    i->file = reallocarray(i->file, i->count + 1, sizeof *i->file);
    assert(i->file && strlen(name) < IMAGE_NAME_BYTES);
    f = &i->file[i->count++];
    *f = (struct image_file){.bytes = bytes};
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->data = aligned_alloc(PAGE_BYTES, align_up(bytes + 1, PAGE_BYTES));
    assert(f->data);
    memcpy(f->data, data, bytes);
}

static void take_segment(struct image *i, struct store *s, const char *name)
{
    struct store_req open = {
        .op = STORE_SEG_OPEN, .flags = STORE_SEG_NOLOCK, .name = name};
    int64_t size = store_run(s, &open);
    struct store_req read = {.op = STORE_READ, .seg = open.seg};
    struct store_req close = {.op = STORE_SEG_CLOSE, .seg = open.seg};
    char full[IMAGE_NAME_BYTES + 8];
    int64_t rc;

    assert(size > 0);
    read.len = (uint64_t)size;
    read.buf = aligned_alloc(PAGE_BYTES, (size_t)size);
    assert(read.buf);
    rc = store_run(s, &read);
    assert(rc >= 0);
    rc = store_run(s, &close);
    assert(rc == 0);
    (void)snprintf(full, sizeof full, LOCAL "%s", name);
    image_add(i, full, read.buf, (uint64_t)size);
    free(read.buf);
}

static void take_folder(struct image *i, struct store *s, const char *folder)
{
    struct store_req list = {.op = STORE_LIST, .name = folder};
    static uint8_t data[65536];
    int64_t rc = store_run(s, &list);

    assert(rc == 0);
    for (size_t k = 0; k < list.names.count; k++) {
        char name[IMAGE_NAME_BYTES];
        struct store_req get = {
            .op = STORE_GET, .name = name, .buf = data, .len = sizeof data};

        (void)snprintf(name, sizeof name, "%s%s%s", folder,
                       folder[0] ? "/" : "", list.names.name[k]);
        rc = store_run(s, &get);
        if (rc >= 0)
            image_add(i, name, data, (uint64_t)rc);
        else
            take_folder(i, s, name);
    }
    store_names_free(&list.names);
}

void image_take(struct image *i, struct store *home, struct store *local)
{
    struct store_req list = {.op = STORE_LIST, .name = "seg"};
    int64_t rc = store_run(local, &list);

    assert(rc == 0);
    *i = (struct image){0};
    take_folder(i, home, "");
    for (size_t k = 0; k < list.names.count; k++) {
        char name[IMAGE_NAME_BYTES];

        (void)snprintf(name, sizeof name, "seg/%s", list.names.name[k]);
        take_segment(i, local, name);
    }
    store_names_free(&list.names);
}

void image_free(struct image *i)
{
    for (size_t k = 0; k < i->count; k++)
        free(i->file[k].data);
    free(i->file);
    *i = (struct image){0};
}

struct image_file *image_find(const struct image *i, const char *name)
{
    for (size_t k = 0; k < i->count; k++)
        if (strcmp(i->file[k].name, name) == 0)
            return &i->file[k];
    return NULL;
}

bool image_is_segment(const struct image_file *f)
{
    return strncmp(f->name, LOCAL "seg/", 10) == 0;
}

static void put_segment(struct store *s, const struct image_file *f)
{
    struct store_req open = {.op = STORE_SEG_OPEN,
                             .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                             .name = f->name + strlen(LOCAL),
                             .len = f->bytes / PAGE_BYTES * PAGE_BYTES};
    struct store_req write = {
        .op = STORE_WRITE, .buf = f->data, .len = open.len};
    struct store_req close = {.op = STORE_SEG_CLOSE};
    int64_t rc;

    if (open.len == 0)
        return;
    rc = store_run(s, &open);
    assert(rc > 0);
    write.seg = close.seg = open.seg;
    rc = store_run(s, &write);
    assert(rc >= 0);
    rc = store_run(s, &close);
    assert(rc == 0);
}

struct store *image_store(const struct image *i, bool is_local)
{
    struct store *s;
    struct err err;
    int64_t rc = store_memory_open(0, &s, &err);

    assert(rc == 0);
    for (size_t k = 0; k < i->count; k++) {
        const struct image_file *f = &i->file[k];
        bool is_below = strncmp(f->name, LOCAL, strlen(LOCAL)) == 0;
        struct store_req put = {.op = STORE_PUT,
                                .name = f->name + is_below * strlen(LOCAL),
                                .buf = f->data,
                                .len = f->bytes};

        if (is_below != is_local)
            continue;
        if (image_is_segment(f)) {
            put_segment(s, f);
        } else {
            rc = store_run(s, &put);
            assert(rc == 0);
        }
    }
    return s;
}

/*
 * Folders.
 */

void image_export_file(const struct image_file *f, const char *dir)
{
    char path[2 * IMAGE_NAME_BYTES];
    int fd, rc;

    (void)snprintf(path, sizeof path, "%s/%s", dir, f->name);
    for (char *at = path + strlen(dir) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0);
    for (uint64_t at = 0; at < f->bytes;) {
        ssize_t n = write(fd, f->data + at, f->bytes - at);

        assert(n > 0);
        at += (uint64_t)n;
    }
    rc = close(fd);
    assert(rc == 0);
}

void image_export(const struct image *i, const char *dir)
{
    for (size_t k = 0; k < i->count; k++)
        image_export_file(&i->file[k], dir);
}
