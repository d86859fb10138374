/*
 * remote_read.c - see remote_read.h.
 *
 *   table: fetched -> checked -> kept, or why not
 *   file:  CLOSED -> OPENING -> OPEN -> CLOSING -> CLOSED (segments only)
 *
 * The file's own first page is not looked at: each extent says what it is, and
 * a spoilt page is no reason to leave good ones unread (`ckpt verify` tells).
 *
 * Where the home has segments a remote file is one, opened without a lock (it
 * was whole before its table was written, and never changes), by whoever needs
 * it first and closed by the last one, so that nothing is open when no read is
 * under way. Elsewhere it is a blob, and there is nothing to open.
 *
 * A home that comes back may answer -EIO to what was under way, and a shared
 * directory -ESTALE: both are tried again before they are believed.
 */
#include "ckptd/engine/remote_read.h"

#include "ckptd/engine/engine.h"
#include "formats/tier.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum file_phase {
    FILE_CLOSED,
    FILE_OPENING,
    FILE_OPEN,
    FILE_CLOSING,
};

struct remote_file {
    enum file_phase phase;
    struct store_seg *seg; /* OPEN */
    uint64_t bytes;        /* OPEN */
    uint32_t reader_count;
    struct list waiting; /* remote_read.link */
};

/* Of one daemon's ranks. */
struct remote_table {
    struct list link; /* remote.tables */
    struct remote *remote;
    struct id128 daemon;
    bool is_here;        /* or err says why not */
    struct list waiting; /* remote_read.link, until is_here or err */
    uint32_t tries;
    void *data;
    struct manifest m;
    struct remote_file *file; /* m.file_count of them */
    struct err err;
};

struct remote {
    struct run *run;
    const struct manifest *m;
    struct list tables;
    struct list spares; /* struct spare: as many as were ever in use at once */
    uint64_t told;
};

/* To unpack an extent. */
struct spare {
    struct list link; /* remote.spares, while it is free */
    uint8_t bytes[TIER_SPARE_BYTES];
};

struct remote *remote_new(struct run *run, const struct manifest *m)
{
    struct remote *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->run = run;
    r->m = m;
    r->told = UINT64_MAX;
    list_init(&r->tables);
    list_init(&r->spares);
    return r;
}

void remote_free(struct remote *r)
{
    struct list *node;

    if (!r)
        return;
    while ((node = list_pop(&r->tables))) {
        struct remote_table *t = container_of(node, struct remote_table, link);

        assert(list_is_empty(&t->waiting));
        free(t->file);
        free(t->data);
        free(t);
    }
    while ((node = list_pop(&r->spares)))
        free(container_of(node, struct spare, link));
    free(r);
}

bool remote_is_needed(const struct remote *r)
{
    const struct catalog_save *s =
        catalog_find(&r->run->catalog, &r->m->info.id);

    return s && (s->is_released || s->is_lost);
}

bool remote_is_news(struct remote *r, uint64_t of)
{
    bool is_news = r->told != of;

    r->told = of;
    return is_news;
}

static struct store *store_of(const struct remote *r)
{
    return r->run->home->store;
}

static bool has_segments(const struct remote *r)
{
    return store_of(r)->limits.max_io_bytes > 0;
}

/* What says that the copy is lost has many names; what says nothing of it (no
 * answer, no memory, no permission) stays what it is. */
static int read_code(int64_t result)
{
    return result == -ENOENT || result == -ESTALE || result == -ENODATA ||
                   result == -EILSEQ
               ? -EIO
               : (int)result;
}

static const struct mf_location *location_of(const struct remote_read *r)
{
    return &r->table->m.location[r->at];
}

static uint64_t extent_of(const struct remote_read *r)
{
    return chunk_extent_bytes(location_of(r)->payload_bytes);
}

void remote_read_place(struct remote_read *r)
{
    (void)err_prefix(&r->err, "%s/%s at %llu", r->remote->run->home->path,
                     r->name, (unsigned long long)location_of(r)->offset);
}

static void read_begin(struct remote_read *r);

static bool is_worth_a_try(const struct remote_read *r, int64_t result)
{
    return remote_asks_again(result) && r->tries < REMOTE_TRIES &&
           !r->remote->run->home->engine->is_halted;
}

/*
 * Files.
 */

static void file_open(struct remote_read *r);
static void file_get(struct remote_read *r);

static void unpack_run(struct env_job *job)
{
    struct remote_read *r = container_of(job, struct remote_read, job);

    r->err.code = tier_unpack(&r->table->m, r->at, r->remote->m, r->chunk,
                              r->extent, r->spare->bytes, &r->err);
}

static void unpack_done(struct env_job *job)
{
    struct remote_read *r = container_of(job, struct remote_read, job);

    list_append(&r->remote->spares, &r->spare->link);
    r->spare = NULL;
    if (r->err.code)
        remote_read_place(r);
    r->done(r, r->err.code);
}

/* It is here, and encoded though it is raw in the manifest. */
static void unpack(struct remote_read *r)
{
    struct env *env = r->remote->run->home->engine->env;
    struct list *node = list_pop(&r->remote->spares);

    r->spare = node ? container_of(node, struct spare, link)
                    : malloc(sizeof *r->spare);
    if (!r->spare) {
        r->done(r, err_set(&r->err, -ENOMEM, "no memory to decode"));
        return;
    }
    r->job.run = unpack_run;
    r->job.done = unpack_done;
    env->ops->work(env, &r->job);
}

/* What became of r->err, when nothing is open any more for it. */
static void read_end(struct remote_read *r)
{
    if (r->err.code && is_worth_a_try(r, r->err.code)) {
        r->err = (struct err){0};
        read_begin(r);
        return;
    }
    if (r->err.code) {
        r->err.code = read_code(r->err.code);
        remote_read_place(r);
    } else if (tier_is_packed(&r->table->m, r->at, r->remote->m, r->chunk)) {
        unpack(r);
        return;
    }
    r->done(r, r->err.code);
}

static void file_closed(struct store_req *req, int64_t result)
{
    struct remote_read *r = req->owner;
    struct remote_file *f = r->file;
    struct list *node;

    (void)result; /* nothing was written */
    f->phase = FILE_CLOSED;
    node = list_pop(&f->waiting);
    if (node)
        file_open(container_of(node, struct remote_read, link));
    read_end(r);
}

static void file_put(struct remote_read *r)
{
    struct remote_file *f = r->file;

    if (!has_segments(r->remote) || --f->reader_count > 0) {
        read_end(r);
        return;
    }
    f->phase = FILE_CLOSING;
    r->req = (struct store_req){
        .op = STORE_SEG_CLOSE, .seg = f->seg, .done = file_closed, .owner = r};
    f->seg = NULL;
    store_submit(store_of(r->remote), &r->req);
}

/* Why there is nothing of the file. */
static void say_why(struct remote_read *r, int64_t result)
{
    (void)err_set(&r->err, (int)result, "cannot be read: %s",
                  result == -ENOENT ? "its file is gone"
                                    : err_text((int)result));
}

static void extent_here(struct store_req *req, int64_t result)
{
    struct remote_read *r = req->owner;

    if (result < 0)
        say_why(r, result);
    else
        r->read_bytes = extent_of(r);
    file_put(r);
}

/* The file is open, if there is anything to open. */
static void file_read(struct remote_read *r)
{
    bool is_segment = has_segments(r->remote);
    uint64_t offset = location_of(r)->offset, bytes = extent_of(r);

    r->file->reader_count += is_segment;
    if (is_segment &&
        (offset > r->file->bytes || bytes > r->file->bytes - offset)) {
        (void)err_set(&r->err, -EIO,
                      "lies behind the end of its file: it was truncated");
        file_put(r);
        return;
    }
    r->req = (struct store_req){.op = is_segment ? STORE_READ : STORE_BLOB_GET,
                                .name = is_segment ? NULL : r->name,
                                .seg = r->file->seg,
                                .buf = r->extent,
                                .len = bytes,
                                .off = offset,
                                .done = extent_here,
                                .owner = r};
    store_submit(store_of(r->remote), &r->req);
}

/* Of OPENING, to all who wait: with what r got. */
static void file_opened(struct store_req *req, int64_t result)
{
    struct remote_read *r = req->owner;
    struct remote_file *f = r->file;
    struct list now, *node;

    list_init(&now);
    while ((node = list_pop(&f->waiting)))
        list_append(&now, node);
    list_append(&now, &r->link);
    f->phase = result < 0 ? FILE_CLOSED : FILE_OPEN;
    if (result >= 0) {
        f->seg = req->seg;
        f->bytes = (uint64_t)result;
    }
    while ((node = list_pop(&now))) {
        r = container_of(node, struct remote_read, link);
        if (result >= 0) {
            file_get(r); /* one before it may have closed it */
            continue;
        }
        say_why(r, result);
        read_end(r);
    }
}

static void file_open(struct remote_read *r)
{
    r->file->phase = FILE_OPENING;
    r->req = (struct store_req){.op = STORE_SEG_OPEN,
                                .flags = STORE_SEG_NOLOCK,
                                .name = r->name,
                                .done = file_opened,
                                .owner = r};
    store_submit(store_of(r->remote), &r->req);
}

static void file_get(struct remote_read *r)
{
    struct remote_file *f = r->file;

    if (!has_segments(r->remote) || f->phase == FILE_OPEN)
        file_read(r);
    else if (f->phase == FILE_CLOSED)
        file_open(r);
    else
        list_append(&f->waiting, &r->link);
}

/*
 * Tables.
 */

/* The table is here, or why it is not. */
static void table_known(struct remote_read *r)
{
    const struct remote *remote = r->remote;
    const struct remote_table *t = r->table;
    const struct mf_file *f;
    int64_t at;

    if (t->err.code) {
        r->err = t->err;
        r->done(r, r->err.code);
        return;
    }
    at = tier_chunk(&t->m, remote->m, r->chunk);
    assert(at >= 0); /* tier_check() */
    r->at = (uint64_t)at;
    r->file = &t->file[location_of(r)->file];
    f = &t->m.file[location_of(r)->file];
    (void)snprintf(r->name, sizeof r->name, "runs/%s/%.*s", remote->run->name,
                   (int)f->name_bytes, t->m.blob + f->name);
    read_begin(r);
}

static void read_begin(struct remote_read *r)
{
    r->tries++;
    file_get(r);
}

static void table_end(struct remote_table *t)
{
    struct list now, *node;

    t->is_here = t->err.code == 0;
    list_init(&now);
    while ((node = list_pop(&t->waiting)))
        list_append(&now, node);
    while ((node = list_pop(&now)))
        table_known(container_of(node, struct remote_read, link));
}

/* Takes over `data`. */
static int table_open(struct remote_table *t, void *data, size_t bytes)
{
    int rc = manifest_open(data, bytes, &t->m, &t->err);

    t->data = data;
    if (rc == 0 && !id_equal(&t->m.info.daemon, &t->daemon))
        rc = err_set(&t->err, -CKPT_ECORRUPT, "it is another daemon's");
    if (rc == 0)
        rc = tier_check(&t->m, t->remote->m, &t->err);
    if (rc)
        return rc;
    t->file = calloc(t->m.file_count + 1, sizeof *t->file);
    if (!t->file)
        return err_set(&t->err, -ENOMEM, "no memory for it");
    for (uint64_t i = 0; i < t->m.file_count; i++)
        list_init(&t->file[i].waiting);
    return 0;
}

static void table_name(const struct remote_table *t, char *name)
{
    (void)name_save_daemon(name, t->remote->run->name, "remote",
                           &t->remote->m->info.id, &t->daemon);
}

static void table_fetch(struct remote_table *t);

static void table_read(void *arg, int64_t result, void *data)
{
    struct remote_table *t = arg;
    const struct home *home = t->remote->run->home;
    char name[RECORD_NAME_BYTES];

    if (remote_asks_again(result) && ++t->tries < REMOTE_TRIES &&
        !home->engine->is_halted) {
        table_fetch(t);
        return;
    }
    table_name(t, name);
    if (result == -ENOENT) {
        (void)err_set(&t->err, -ENOENT, "no copy of it is in the remote tier");
    } else if (result < 0) {
        (void)err_set(&t->err, (int)result, "%s/%s: %s", home->path, name,
                      err_text((int)result));
    } else if (table_open(t, data, (size_t)result)) {
        (void)err_prefix(&t->err, "%s/%s", home->path, name);
    }
    table_end(t);
}

static void table_fetch(struct remote_table *t)
{
    struct recio_place place = {.run = t->remote->run->name,
                                .folder = "remote",
                                .id = t->remote->m->info.id,
                                .daemon = t->daemon};

    recio_get_container(store_of(t->remote), &place, table_read, t);
}

static struct remote_table *table_find(const struct remote *r,
                                       const struct id128 *daemon)
{
    LIST_FOR_EACH (node, &r->tables) {
        struct remote_table *t = container_of(node, struct remote_table, link);

        if (id_equal(&t->daemon, daemon))
            return t;
    }
    return NULL;
}

void remote_read_begin(struct remote_read *r)
{
    const struct manifest *m = r->remote->m;
    const struct id128 *daemon =
        &manifest_rank(m, m->chunk[r->chunk].rank)->daemon; /* who wrote it */
    struct remote_table *t = table_find(r->remote, daemon);

    r->err = (struct err){0};
    r->tries = 0;
    if (t) {
        r->table = t;
        if (t->is_here || t->err.code)
            table_known(r);
        else
            list_append(&t->waiting, &r->link);
        return;
    }
    t = calloc(1, sizeof *t);
    if (!t) {
        r->done(r, err_set(&r->err, -ENOMEM, "no memory for a remote table"));
        return;
    }
    r->table = t;
    t->remote = r->remote;
    t->daemon = *daemon;
    list_init(&t->waiting);
    list_append(&t->waiting, &r->link);
    list_append(&r->remote->tables, &t->link);
    table_fetch(t);
}
