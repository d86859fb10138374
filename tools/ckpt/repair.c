/*
 * repair.c - see repair.h. One segment file after another: its bad chunks are
 * healed one by one into a copy of it, which is made when the first one is.
 */
#include "tools/ckpt/repair.h"

#include "common/plant.h"
#include "formats/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REPAIR_LEAF "repair"
#define REPAIR_NAME "seg/" REPAIR_LEAF
#define COPY_BYTES  ((uint64_t)4 << 20)

/* One file under repair. */
struct patient {
    struct repair *repair;
    struct healer *healer;
    const struct copies *copies;
    char path[1024]; /* of the local store */
    char name[512];
    const struct mf_file *file;
    struct store_seg *old, *new;
    uint64_t old_size, size; /* of the file, and of a whole one */
    struct segment_header header;
    bool is_header_bad;
    bool is_proven;   /* a chunk that was born here is good */
    bool is_replaced; /* the copy has its name */
    bool is_dirty;    /* the copy differs from what lies there */
};

/*
 * The store and its lock.
 */

/* The lock's descriptor, or -1 with *code. */
static int take_lock(struct tool *t, const char *path, int *code)
{
    char lock[1100];
    int fd;

    (void)snprintf(lock, sizeof lock, "%s/lock", path);
    fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0 && errno == EWOULDBLOCK)
        *code = complain(t, EXIT_LOCKED,
                         "a daemon serves %s: nothing was changed; end it "
                         "(or wait CKPT_LINGER seconds after the last job) "
                         "and repeat this",
                         path);
    else
        *code = complain(t, EXIT_ERROR, "%s: %s; nothing was changed", lock,
                         err_text(errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/*
 * The copy.
 */

static int64_t io(struct patient *p, enum store_op op, struct store_seg *seg,
                  void *buf, uint64_t len, uint64_t off)
{
    struct store_req req = {
        .op = op, .seg = seg, .buf = buf, .len = len, .off = off};

    return store_run(p->healer->local, &req);
}

/* What cannot be read becomes zeros, page by page: it is bad either way. */
static int64_t copy_piece(struct patient *p, uint8_t *buffer, uint64_t at,
                          uint64_t bytes)
{
    if (at + bytes > p->old_size ||
        io(p, STORE_READ, p->old, buffer, bytes, at) < 0)
        for (uint64_t i = 0; i < bytes; i += PAGE_BYTES)
            if (at + i >= p->old_size ||
                io(p, STORE_READ, p->old, buffer + i, PAGE_BYTES, at + i) < 0)
                memset(buffer + i, 0, PAGE_BYTES);
    return io(p, STORE_WRITE, p->new, buffer, bytes, at);
}

static int copy_all(struct patient *p)
{
    uint8_t *buffer = aligned_alloc(PAGE_BYTES, COPY_BYTES);
    int64_t rc = buffer ? 0 : -ENOMEM;

    for (uint64_t at = 0; rc >= 0 && at < p->size; at += COPY_BYTES)
        rc = copy_piece(p, buffer, at, min_u64(COPY_BYTES, p->size - at));
    free(buffer);
    return rc < 0 ? (int)rc : 0;
}

/* "seg/repair", as large, with the same bytes. */
static int begin_copy(struct patient *p)
{
    struct store_req remove = {.op = STORE_SEG_REMOVE, .name = REPAIR_NAME};
    struct store_req create = {.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .name = REPAIR_NAME,
                               .len = p->size};
    int64_t rc = store_run(p->healer->local, &remove);

    if (rc == 0 || rc == -ENOENT)
        rc = store_run(p->healer->local, &create);
    if (rc < 0)
        return (int)rc;
    p->new = create.seg;
    return copy_all(p);
}

/* The new file takes the old one's name, durably, in one step. */
static int publish(struct patient *p)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                      RESOLVE_NO_MAGICLINKS};
    int root = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), seg, rc = 0;

    if (root < 0)
        return -errno;
    seg = (int)syscall(SYS_openat2, root, "seg", &how, sizeof how);
    if (seg >= 0)
        p->is_replaced =
            renameat(seg, REPAIR_LEAF, seg, &p->name[strlen("seg/")]) == 0;
    if (!p->is_replaced ||
        (!is_left_out("sync of a repaired segment's name") && fsync(seg) < 0))
        rc = -errno;
    if (seg >= 0)
        (void)close(seg);
    (void)close(root);
    return rc;
}

static int end_copy(struct patient *p, int rc)
{
    struct store_req remove = {.op = STORE_SEG_REMOVE, .name = REPAIR_NAME};

    if (rc == 0 && !is_left_out("sync of a repaired segment"))
        rc = (int)io(p, STORE_SYNC, p->new, NULL, 0, 0);
    if (io(p, STORE_SEG_CLOSE, p->new, NULL, 0, 0) < 0 && rc == 0)
        rc = -EIO;
    p->new = NULL;
    if (rc == 0)
        return publish(p);
    /* The failure is told below; a rest is removed by the next repair. */
    (void)!store_run(p->healer->local, &remove);
    return rc;
}

/*
 * Its chunks.
 */

static void say(struct repair *r, const struct patient *p, uint64_t chunk,
                const char *what, const char *from)
{
    uint64_t offset = chunk == UINT64_MAX ? 0 : r->m->location[chunk].offset;
    char tensors[700] = "";

    if (chunk != UINT64_MAX)
        manifest_chunk_words(r->m, chunk, tensors, sizeof tensors);
    if (r->tool->options.json) {
        if (!json_line(
                json_pack("{s:i, s:s, s:s, s:I, s:i, s:s, s:I, s:s, s:o, s:o}",
                          "schema", 1, "kind", "repair", "run", r->run, "step",
                          (json_int_t)r->m->info.id.step, "generation",
                          (int)r->m->info.id.generation, "file", p->name,
                          "offset", (json_int_t)offset, "result", what, "from",
                          json_words(from), "tensors", json_words(tensors))))
            (void)complain(r->tool, EXIT_ERROR, "cannot print");
        return;
    }
    out_words("%s", what);
    (void)putchar('\t');
    out_words("%s at %" PRIu64 "%s%s%s%s%s", p->name, offset,
              from[0] ? " from " : "", from, tensors[0] ? " (" : "", tensors,
              tensors[0] ? ")" : "");
    (void)putchar('\n');
}

/* 0, or a negative code: then nothing of this file is changed. */
static int treat(struct patient *p, uint64_t chunk)
{
    struct repair *r = p->repair;
    const struct mf_location *l = &r->m->location[chunk];
    const struct mf_segment *born = &r->m->segment[r->m->chunk[chunk].segment];
    struct healing one = {.chunk = chunk,
                          .seg = p->old,
                          .size = p->old_size,
                          .copies = p->copies};
    int rc = 0;

    if (l->payload_bytes > CHUNK_RAW_MAX || !heal_chunk(p->healer, r, &one)) {
        r->helpless++;
        say(r, p, chunk, "no copy", "");
        return 0;
    }
    p->is_proven = p->is_proven || id_equal(&born->segment, &p->file->segment);
    if (one.is_whole) /* its file's header is what is bad */
        return 0;
    if (!r->is_dry && !p->new)
        rc = begin_copy(p);
    if (rc == 0 && !r->is_dry)
        rc = (int)io(p, STORE_WRITE, p->new, p->healer->extent,
                     chunk_extent_bytes(l->payload_bytes), l->offset);
    if (rc < 0)
        return rc;
    p->is_dirty = true;
    r->healed++;
    say(r, p, chunk, r->is_dry ? "can be repaired" : "repaired", one.from);
    return 0;
}

/* Who the segment is follows from the manifest, once its chunks prove it. */
static int treat_header(struct patient *p, const struct id128 *store)
{
    struct repair *r = p->repair;
    struct segment_header h = {.segment = p->file->segment,
                               .store = *store,
                               .run = r->m->info.run,
                               .size_bytes = p->size,
                               .save = r->m->info.id};
    struct record_store home;
    struct err err;
    int rc = 0;

    if (!p->is_header_bad)
        return 0;
    if (!p->is_proven || tool_identity(r->tool->home, &home, &err)) {
        r->helpless++;
        say(r, p, UINT64_MAX, "no copy", "");
        return 0;
    }
    h.home = home.uuid;
    if (snprintf(h.home_path, sizeof h.home_path, "%s",
                 r->tool->options.home) >= (int)sizeof h.home_path)
        return -ENAMETOOLONG;
    (void)snprintf(h.run_name, sizeof h.run_name, "%s", r->run);
    if (!r->is_dry && !p->new)
        rc = begin_copy(p);
    segment_header_encode(&h, p->healer->extent);
    if (rc == 0 && !r->is_dry)
        rc = (int)io(p, STORE_WRITE, p->new, p->healer->extent, PAGE_BYTES, 0);
    if (rc < 0)
        return rc;
    p->is_dirty = true;
    r->healed++;
    say(r, p, UINT64_MAX, r->is_dry ? "can be repaired" : "repaired",
        "the manifest, and the chunks behind it");
    return 0;
}

/* At least to the end of the last chunk there: it may have been cut off. */
static uint64_t whole_size(const struct patient *p)
{
    const struct manifest *m = p->repair->m;
    uint64_t size = p->old_size;

    for (uint64_t i = 0; i < m->chunk_count; i++)
        if (&m->file[m->location[i].file] == p->file)
            size = max_u64(
                size, m->location[i].offset +
                          chunk_extent_bytes(m->location[i].payload_bytes));
    return size;
}

/* -ENOENT, or -ESTALE when it holds other things by now. */
static int open_patient(struct patient *p)
{
    struct store_req open = {
        .op = STORE_SEG_OPEN, .flags = STORE_SEG_NOLOCK, .name = p->name};
    struct err err;
    int64_t size;

    if (strncmp(p->name, "seg/", 4) != 0 || strchr(&p->name[4], '/'))
        return -ENOENT; /* nothing that a daemon made */
    size = store_run(p->healer->local, &open);
    if (size < 0 && size != -ENOENT)
        return (int)size;
    if (size >= 0) { /* else it is made anew */
        p->old = open.seg;
        p->old_size = (uint64_t)size;
    }
    p->size = whole_size(p);
    p->is_header_bad =
        !p->old ||
        io(p, STORE_READ, p->old, p->healer->extent, PAGE_BYTES, 0) < 0 ||
        segment_header_decode(p->healer->extent, &p->header, &err);
    if (!p->is_header_bad && !id_equal(&p->header.segment, &p->file->segment))
        return -ESTALE;
    return 0;
}

static int repair_file(struct patient *p, uint32_t file,
                       const struct id128 *store)
{
    struct repair *r = p->repair;
    int rc = open_patient(p);
    bool is_lost = rc == -ENOENT || rc == -ESTALE || rc == -EINVAL;

    for (size_t i = 0; i < r->bad->count && (rc == 0 || is_lost); i++) {
        uint64_t chunk = r->bad->chunk[i];

        if (r->m->location[chunk].file != file)
            continue;
        if (is_lost) {
            r->helpless++;
            say(r, p, chunk, "no copy", "");
        } else {
            rc = treat(p, chunk);
        }
    }
    if (rc == 0 && (p->old || p->is_proven))
        rc = treat_header(p, store);
    if (p->new)
        rc = end_copy(p, p->is_dirty ? rc : -ECANCELED);
    if (p->old && io(p, STORE_SEG_CLOSE, p->old, NULL, 0, 0) < 0 && rc == 0)
        rc = -EIO;
    return is_lost ? 0 : rc;
}

static bool has_bad(const struct repair *r, uint32_t file)
{
    for (size_t i = 0; i < r->bad->count; i++)
        if (r->m->location[r->bad->chunk[i]].file == file)
            return true;
    return false;
}

static int repair_files(struct repair *r, const char *path,
                        struct healer *healer, const struct id128 *store)
{
    struct copies copies;
    int code = copies_find(r, store, &copies);

    for (uint32_t i = 0; !code && i < r->m->file_count; i++) {
        struct patient p = {.repair = r,
                            .healer = healer,
                            .copies = &copies,
                            .file = &r->m->file[i]};
        int rc;

        if (!has_bad(r, i) || !id_equal(&p.file->store, store))
            continue;
        (void)snprintf(p.path, sizeof p.path, "%s", path);
        (void)snprintf(p.name, sizeof p.name, "%.*s", (int)p.file->name_bytes,
                       r->m->blob + p.file->name);
        rc = repair_file(&p, i, store);
        if (rc < 0)
            code = complain(
                r->tool, EXIT_ERROR, "%s/%s: repairing it failed: %s; %s", path,
                p.name, err_text(rc),
                p.is_replaced ? "it is healed, but may be as it was once "
                                "power has failed"
                              : "the file is as it was");
    }
    free(copies.place);
    return code;
}

int repair_save(struct repair *r)
{
    struct store *local = NULL;
    struct healer healer = {0};
    struct record_store own;
    struct err err;
    char path[1024];
    int code = EXIT_FINE, lock, rc;

    if (!tool_local_path(r->tool, path, sizeof path))
        return complain(r->tool, EXIT_USAGE, NO_LOCAL);
    lock = take_lock(r->tool, path, &code);
    if (lock < 0)
        return code;
    rc = store_file_open(path, STORE_OPEN_WRITE | STORE_OPEN_LOCAL,
                         STORE_ENGINE_AUTO, &local, &err);
    if (rc == 0) {
        rc = tool_identity(local, &own, &err);
        if (rc)
            (void)err_prefix(&err, "%s/STORE", path);
    }
    if (rc == 0 && healer_init(&healer, local))
        rc = err_set(&err, -ENOMEM, "out of memory");
    code = rc ? complain(r->tool, exit_code_of(rc), "%s", err.text)
              : repair_files(r, path, &healer, &own.uuid);
    healer_fini(&healer);
    store_close(local);
    (void)close(lock);
    return code;
}
