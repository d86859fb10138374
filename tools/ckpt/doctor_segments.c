/*
 * doctor_segments.c - segments of the local store whose header page is damaged,
 * as a crash may leave it. The daemon never uses such a file again, since
 * somebody may need what is behind it, nor does `ckpt gc` remove it: its space
 * is lost until somebody looks.
 *
 * A header that a daemon writes at this moment may be read in halves: what
 * looks bad is read once more.
 */
#include "formats/chunk.h"
#include "tools/ckpt/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* 0, or a negative code with words. What may not be read, or is of a later
 * version, is not damaged. */
static int read_header(struct store *local, const char *name, void *page,
                       struct err *err)
{
    struct store_req open = {
        .op = STORE_SEG_OPEN, .flags = STORE_SEG_NOLOCK, .name = name};
    int64_t rc = store_run(local, &open);
    struct store_req read = {
        .op = STORE_READ, .seg = open.seg, .buf = page, .len = PAGE_BYTES};
    struct store_req close = {.op = STORE_SEG_CLOSE, .seg = open.seg};
    struct segment_header header;
    const uint8_t *p = page;

    if (rc < 0)
        return 0;
    rc = store_run(local, &read);
    if (store_run(local, &close) < 0)
        rc = -EIO;
    if (rc < 0)
        return err_set(err, (int)rc, "segment header: %s", err_text((int)rc));
    if (p[0] == 0 && memcmp(p, p + 1, PAGE_BYTES - 1) == 0)
        return 0; /* never used */
    return segment_header_decode(page, &header, err) == -CKPT_ECORRUPT
               ? -CKPT_ECORRUPT
               : 0;
}

static bool is_bad(struct store *local, const char *name, void *page,
                   struct err *err)
{
    const struct timespec moment = {.tv_nsec = 50L * 1000 * 1000};

    if (read_header(local, name, page, err) == 0)
        return false;
    (void)nanosleep(&moment, NULL);
    return read_header(local, name, page, err) != 0;
}

static void look(struct doctor *d, struct store *local, const char *path,
                 void *page)
{
    struct store_req list = {.op = STORE_LIST, .name = "seg"};
    int64_t rc = store_run(local, &list);
    char first[1600] = "", more[64] = "", seen[1700];
    size_t bad = 0;

    for (size_t i = 0; rc >= 0 && i < list.names.count; i++) {
        char name[300];
        struct err err;

        if (strcmp(list.names.name[i], "repair") == 0)
            continue; /* `ckpt gc` removes that */
        (void)snprintf(name, sizeof name, "seg/%s", list.names.name[i]);
        if (is_bad(local, name, page, &err) && bad++ == 0)
            (void)snprintf(first, sizeof first, "%s/%s: %.200s", path, name,
                           err.text);
    }
    store_names_free(&list.names);
    if (rc < 0)
        (void)snprintf(first, sizeof first, "%s/seg cannot be listed: %s", path,
                       err_text((int)rc));
    if (rc < 0)
        found(d, "segment", FINDING_WARN, first, "look at the drive");
    if (bad == 0)
        return;
    if (bad > 1)
        (void)snprintf(more, sizeof more, ", and %zu more like it", bad - 1);
    (void)snprintf(seen, sizeof seen, "%s%s", first, more);
    found(d, "segment", FINDING_WARN, seen,
          "ckpt verify --repair heals it where a checkpoint needs it; if ckpt "
          "verify finds all good, move it away while no daemon serves the "
          "store: its space is lost else");
}

void check_segments(struct doctor *d)
{
    void *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store *local;
    char path[1024];
    struct err err;

    if (!tool_local_path(d->tool, path, sizeof path)) {
        free(page);
        return; /* check_local() has said so */
    }
    if (!page)
        found(d, "segment", FINDING_WARN, "no memory to look at segments",
              "try again");
    /* What is wrong with the store itself, check_local() has said. */
    if (page && access(path, F_OK) == 0 &&
        store_file_open(path, 0, STORE_ENGINE_AUTO, &local, &err) == 0) {
        look(d, local, path, page);
        store_close(local);
    }
    free(page);
}
