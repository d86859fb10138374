/*
 * gc_segments.c - segments of the local store that nothing references.
 *
 * Only the holder of the store's lock may free segments. If a daemon has it,
 * it frees them by itself and nothing is done here. Otherwise the lock is held
 * while all headers are read: a segment is unlinked when its header names this
 * home and a run whose every save is accounted for, and no committed or
 * undecided save of that run references it; or when it was never used. One of
 * another home, or with a damaged header, stays.
 */
#include "tools/ckpt/gc.h"
#include "common/array.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* What is referenced, over all runs of the home. */
struct references {
    struct id128 home;
    struct id128 *run; /* whose saves are all accounted for */
    size_t run_count;
    struct id128 *segment;
    size_t segment_count, segment_capacity;
};

static bool has(const struct id128 *list, size_t count, const struct id128 *id)
{
    for (size_t i = 0; i < count; i++)
        if (id_equal(&list[i], id))
            return true;
    return false;
}

static int add_segment(struct references *r, const struct id128 *id)
{
    struct id128 *grown = array_room(r->segment, r->segment_count,
                                     &r->segment_capacity, sizeof *grown);

    if (!grown)
        return -ENOMEM;
    r->segment = grown;
    r->segment[r->segment_count++] = *id;
    return 0;
}

static int note_save(struct tool *t, struct references *r, const char *run,
                     const struct save_id *id)
{
    struct manifest m;
    void *data = NULL;
    int code = tool_manifest(t, run, id, &data, &m);

    for (uint64_t i = 0; !code && i < m.file_count; i++)
        if (!has(r->segment, r->segment_count, &m.file[i].segment) &&
            add_segment(r, &m.file[i].segment))
            code = complain(t, EXIT_ERROR, "out of memory");
    free(data);
    return code;
}

/* A run with an undecided save is not accounted for: its segments stay. */
static int note_run(struct tool *t, struct references *r, const char *run)
{
    struct catalog c;
    int code = tool_catalog(t, run, &c);
    bool is_settled = true;

    for (size_t i = 0; !code && i < c.save_count; i++) {
        if (c.save[i].status == SAVE_UNDECIDED ||
            c.save[i].status == SAVE_UNREADABLE)
            is_settled = false;
        if (c.save[i].status == SAVE_COMMITTED)
            code = note_save(t, r, run, &c.save[i].id);
    }
    if (code == 0 && is_settled)
        r->run[r->run_count++] = c.uuid;
    catalog_free(&c);
    return code;
}

static int note_home(struct tool *t, struct references *r)
{
    struct record_store record;
    struct err err;
    int rc = tool_identity(t->home, &record, &err);

    if (rc)
        return complain(t, exit_code_of(rc), "home %s: STORE: %s",
                        t->options.home, err.text);
    r->home = record.uuid;
    return EXIT_FINE;
}

static int note_all(struct tool *t, struct references *r)
{
    struct store_names runs;
    int code = note_home(t, r);

    if (code)
        return code;
    code = tool_runs(t, &runs);
    if (code)
        return code;
    r->run = calloc(runs.count + 1, sizeof *r->run);
    for (size_t i = 0; r->run && !code && i < runs.count; i++)
        code = note_run(t, r, runs.name[i]);
    store_names_free(&runs);
    return r->run ? code : complain(t, EXIT_ERROR, "out of memory");
}

/* Reads the header page; -EAGAIN when a writer holds the lock. */
static int64_t read_header(struct store *local, const char *name, void *page)
{
    struct store_req open = {.op = STORE_SEG_OPEN, .name = name};
    int64_t size = store_run(local, &open);
    struct store_req read = {
        .op = STORE_READ, .seg = open.seg, .buf = page, .len = PAGE_BYTES};
    struct store_req close = {.op = STORE_SEG_CLOSE, .seg = open.seg};
    int64_t rc;

    if (size < 0)
        return size;
    rc = store_run(local, &read);
    if (store_run(local, &close) < 0)
        rc = -EIO;
    return rc < 0 ? rc : size;
}

static bool is_unused(const struct references *r, const uint8_t *page)
{
    struct segment_header h;
    struct err err;

    if (page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0)
        return true;
    return segment_header_decode(page, &h, &err) == 0 &&
           id_equal(&h.home, &r->home) && has(r->run, r->run_count, &h.run) &&
           !has(r->segment, r->segment_count, &h.segment);
}

static int sweep_one(struct gc *g, struct store *local,
                     const struct references *r, const char *leaf, void *page)
{
    char name[300];
    struct store_req remove = {.op = STORE_SEG_REMOVE, .name = name};
    int64_t size;

    (void)snprintf(name, sizeof name, "seg/%s", leaf);
    size = read_header(local, name, page);
    /* What a repair that was cut short left: nobody's. */
    if (size < 0 || (strcmp(leaf, "repair") != 0 && !is_unused(r, page)))
        return EXIT_FINE; /* in use, or nobody can tell: it stays */
    gc_say(g, "segment", name, (uint64_t)size);
    if (!g->is_for_real)
        return EXIT_FINE;
    size = store_run(local, &remove);
    return size < 0 ? complain(g->tool, EXIT_ERROR, "%s: %s", name,
                               err_text((int)size))
                    : EXIT_FINE;
}

static int sweep_all(struct gc *g, const char *path, const struct references *r)
{
    struct store_req list = {.op = STORE_LIST, .name = "seg"};
    void *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store *local = NULL;
    struct err err;
    int64_t rc = -ENOMEM;
    int code = EXIT_FINE;

    if (page)
        rc = store_file_open(path, g->is_for_real ? STORE_OPEN_WRITE : 0,
                             STORE_ENGINE_AUTO, &local, &err);
    else
        (void)err_set(&err, -ENOMEM, "out of memory");
    if (rc < 0) {
        free(page);
        return complain(g->tool, exit_code_of((int)rc), "%s", err.text);
    }
    rc = store_run(local, &list);
    if (rc < 0)
        code = complain(g->tool, EXIT_ERROR, "%s/seg: %s", path,
                        err_text((int)rc));
    for (size_t i = 0; !code && i < list.names.count; i++)
        code = sweep_one(g, local, r, list.names.name[i], page);
    store_names_free(&list.names);
    store_close(local);
    free(page);
    return code;
}

int gc_segments(struct gc *g)
{
    struct references r = {0};
    char path[1024], lock[1100];
    int code = EXIT_FINE, fd;

    if (!tool_local_path(g->tool, path, sizeof path))
        return EXIT_FINE;
    (void)snprintf(lock, sizeof lock, "%s/lock", path);
    fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return EXIT_FINE; /* no local store here, or not ours to change */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        code = note_all(g->tool, &r);
    else if (!g->told_served)
        g->told_served = fprintf(stderr,
                                 "ckpt gc: a daemon serves %s and frees "
                                 "segments by itself\n",
                                 path) > 0;
    if (code == 0 && r.run)
        code = sweep_all(g, path, &r);
    free(r.run);
    free(r.segment);
    close(fd);
    return code;
}
