/*
 * cp_files.c - the files of one daemon's share, in the destination; see cp.h.
 *
 * One file after another. What is there under its name is read and each of its
 * extents checked; what is good stays. What is bad, or all of a file that was
 * not there, is filled from the source and written, and then the file is read
 * once more: only what came back good counts.
 *
 * Where the store writes in place, bad extents are written over at their
 * places, which loses nothing: a file that a crash left half written goes on
 * where it ended. A blob is put together in memory, from what is good of the
 * old one and the source, before the old one goes. A file that somebody else is
 * writing (its lock is held) is left to him.
 *
 * Two windows: while one is on its way out the next is filled.
 */
#include "tools/ckpt/cp_files.h"
#include "ckptd/engine/remote_write.h"
#include "formats/tier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOCK_TRIES 20 /* of 0.1 s */

uint64_t files_bytes_max(const struct store *dest)
{
    return dest->limits.max_io_bytes > 0
               ? REMOTE_FILE_BYTES
               : min_u64(dest->limits.max_blob_bytes, REMOTE_WINDOW_BYTES);
}

static int failed(const struct filer *f, int rc, const char *what)
{
    return complain(&f->cp->to, exit_code_of(rc), "%s: %s: %s: %s",
                    f->cp->to.options.home, f->name, what, err_text(rc));
}

static int is_busy(const struct filer *f)
{
    return complain(&f->cp->to, EXIT_LOCKED,
                    "%s: %s: somebody else is writing it; repeat this later",
                    f->cp->to.options.home, f->name);
}

/* Every byte counts twice: once written, or spared; once read back. */
static void tell(struct filer *f, uint64_t bytes)
{
    progress_add(&f->cp->progress, bytes);
    f->told += bytes;
}

static void forget_bad(struct filer *f)
{
    memset(f->is_bad, 0, (f->end - f->first) * sizeof *f->is_bad);
    f->bad_count = 0;
}

static void all_bad(struct filer *f)
{
    for (uint64_t i = f->first; i < f->end; i++)
        filer_mark_bad(f, i);
}

static int read_back_bad(const struct filer *f)
{
    return complain(&f->cp->to, EXIT_CORRUPT,
                    "%s: %s: what was written does not come back: the drive or "
                    "the network spoils it",
                    f->cp->to.options.home, f->name);
}

/*
 * Segments.
 */

static int64_t segment(struct filer *f, enum store_op op, unsigned flags)
{
    struct store_req req = {.op = op,
                            .flags = flags,
                            .name = f->name,
                            .seg = f->seg,
                            .len = flags & STORE_SEG_CREATE ? f->bytes : 0};
    int64_t rc = store_run(f->store, &req);

    if (op == STORE_SEG_OPEN && rc >= 0)
        f->seg = req.seg;
    if (op == STORE_SEG_CLOSE)
        f->seg = NULL;
    return rc;
}

/* All of the open file, window by window; marks what is bad. */
static int look(struct filer *f)
{
    struct window *w = &f->window[0];

    for (uint64_t at = f->first; at < f->end; at = w->end) {
        int rc;

        window_set(f, w, at, f->end);
        window_hand_over(f, w, STORE_READ);
        rc = window_settle(f, w);
        if (rc && rc != -EIO)
            return failed(f, rc, "cannot be read");
        if (rc == 0)
            window_check(f, w);
        for (uint64_t i = w->first; rc && i < w->end; i++)
            filer_mark_bad(f, i);
        if (f->is_written)
            tell(f, w->len);
    }
    return EXIT_FINE;
}

/* A window that was handed over, if it was, is written. */
static int settled(struct filer *f, struct window *w)
{
    bool was_out = w->is_out;
    int rc = window_settle(f, w);

    if (rc) {
        f->is_spoilt = true;
        return failed(f, rc, "cannot be written");
    }
    if (was_out) {
        f->cp->sums.bytes_written += w->len;
        tell(f, w->len);
    }
    return EXIT_FINE;
}

/* Runs of bad chunks, from the source. One that has no healthy copy is said,
 * and the rest is still tried. */
static int mend(struct filer *f)
{
    int code = EXIT_FINE, rc = EXIT_FINE;
    uint32_t turn = 0;

    for (uint64_t at = f->first, end; at < f->end && !rc;) {
        struct window *w = &f->window[turn % WINDOWS];

        if (!f->is_bad[at - f->first]) {
            at++;
            continue;
        }
        for (end = at; end < f->end && f->is_bad[end - f->first];)
            end++;
        rc = settled(f, w);
        if (rc)
            break;
        window_set(f, w, at, end);
        at = w->end;
        turn++;
        rc = window_fill(f, w);
        if (rc == EXIT_FINE)
            window_hand_over(f, w, STORE_WRITE);
        else if (rc != EXIT_ERROR) {
            code = rc;
            rc = EXIT_FINE;
        }
    }
    for (uint32_t i = 0; i < WINDOWS; i++) {
        int last = settled(f, &f->window[i]);

        rc = rc ? rc : last;
    }
    return rc ? rc : code;
}

/* One that is cut off goes, to be written anew. In the home that is copied from
 * it may hold the last good copies of what lies in no local store. */
static int may_go(struct filer *f)
{
    struct cp *cp = f->cp;

    for (uint64_t i = f->first; cp->is_own && i < f->end; i++)
        if (!source_is_near(&cp->source, tier_source(f->table, &cp->m, i)))
            return complain(&cp->to, EXIT_PARTIAL,
                            "%s: %s: it is cut off, and what is left of it may "
                            "be the only copy: run this where the local store "
                            "is, or copy to another home",
                            cp->to.options.home, f->name);
    return EXIT_FINE;
}

/* A writer that was killed has its lock until its last request has ended. */
static int64_t lock_segment(struct filer *f)
{
    const struct timespec nap = {.tv_nsec = 100L * 1000 * 1000};
    int64_t rc = segment(f, STORE_SEG_OPEN, STORE_SEG_WRITE);

    for (int i = 0; rc == -EAGAIN && i < LOCK_TRIES; i++) {
        (void)nanosleep(&nap, NULL);
        rc = segment(f, STORE_SEG_OPEN, STORE_SEG_WRITE);
    }
    return rc;
}

/* For writing: 0, and whether it was there; or an exit code. */
static int open_segment(struct filer *f, bool *is_new)
{
    int64_t rc = lock_segment(f);

    *is_new = false;
    if (rc >= 0 && (uint64_t)rc < f->bytes) {
        int code = may_go(f);

        (void)segment(f, STORE_SEG_CLOSE, 0);
        if (code)
            return code;
        rc = segment(f, STORE_SEG_REMOVE, 0);
        rc = rc < 0 ? rc : -ENOENT;
    }
    if (rc == -ENOENT) {
        *is_new = true;
        rc = segment(f, STORE_SEG_OPEN, STORE_SEG_WRITE | STORE_SEG_CREATE);
    }
    if (rc == -EAGAIN || rc == -EEXIST)
        return is_busy(f);
    return rc < 0 ? failed(f, (int)rc,
                           *is_new ? "cannot be created" : "cannot be opened")
                  : EXIT_FINE;
}

/* What is bad is written; all of it is durable then. A file that could not be
 * written or synced is no more to be trusted. */
static int write_segment(struct filer *f, bool is_new)
{
    int code = EXIT_FINE;
    int64_t rc;

    if (is_new)
        all_bad(f);
    else
        code = look(f);
    if (code == EXIT_FINE && f->bad_count)
        code = mend(f);
    if (code == EXIT_FINE) {
        rc = segment(f, STORE_SYNC, 0);
        f->is_spoilt = rc < 0;
        if (rc < 0)
            code = failed(f, (int)rc, "cannot be synced");
    }
    rc = segment(f, STORE_SEG_CLOSE, 0);
    if (rc < 0 && code == EXIT_FINE)
        code = failed(f, (int)rc, "cannot be closed");
    if (f->is_spoilt && !f->cp->is_decided &&
        segment(f, STORE_SEG_REMOVE, 0) < 0)
        (void)complain(&f->cp->to, 0,
                       "%s: %s: remove it before you repeat this",
                       f->cp->to.options.home, f->name);
    return code;
}

static int segment_begin(struct filer *f)
{
    bool is_new;
    int code = open_segment(f, &is_new);
    int64_t rc;

    if (code == EXIT_FINE)
        code = write_segment(f, is_new);
    if (code || !f->bad_count)
        return code;
    f->cp->sums.files_written++;
    f->is_written = true;
    forget_bad(f);
    rc = segment(f, STORE_SEG_OPEN, STORE_SEG_NOLOCK);
    if (rc < 0)
        return failed(f, (int)rc, "cannot be opened again");
    code = look(f);
    (void)segment(f, STORE_SEG_CLOSE, 0);
    return code == EXIT_FINE && f->bad_count ? read_back_bad(f) : code;
}

/*
 * Blobs.
 */

/* All of it, marking what is bad; -ENOENT, or 0. */
static int get_blob(struct filer *f)
{
    struct window *w = &f->window[0];
    int rc;

    window_set(f, w, f->first, f->end);
    window_hand_over(f, w, STORE_BLOB_GET);
    rc = window_settle(f, w);
    if (rc == 0)
        window_check(f, w);
    else if (rc == -EIO || rc == -CKPT_ECORRUPT || rc == -ENOENT)
        all_bad(f);
    return rc == -EIO || rc == -CKPT_ECORRUPT ? 0 : rc;
}

/* Up to where it is on its way, if it was not there and good. */
static int blob_begin(struct filer *f)
{
    struct store_req remove = {.op = STORE_BLOB_REMOVE, .name = f->name};
    struct window *w = &f->window[0];
    int rc = get_blob(f), code;
    int64_t gone;

    if (rc && rc != -ENOENT)
        return failed(f, rc, "cannot be read");
    if (!f->bad_count)
        return EXIT_FINE;
    code = window_fill(f, w);
    if (code)
        return code;
    gone = rc == -ENOENT ? 0 : store_run(f->store, &remove);
    if (gone < 0 && gone != -ENOENT)
        return failed(f, (int)gone, "cannot be removed");
    window_hand_over(f, w, STORE_BLOB_PUT);
    return EXIT_FINE;
}

static int blob_end(struct filer *f)
{
    struct window *w = &f->window[0];
    int rc = window_settle(f, w);

    if (rc && rc != -EEXIST)
        return failed(f, rc, "cannot be written");
    if (rc == 0) {
        f->cp->sums.files_written++;
        f->cp->sums.bytes_written += w->len;
        tell(f, w->len);
    }
    forget_bad(f);
    rc = get_blob(f);
    if (rc)
        return failed(f, rc, "cannot be read back");
    return f->bad_count ? read_back_bad(f) : EXIT_FINE;
}

/*
 * One after another.
 */

static void filer_name(struct filer *f, uint32_t file)
{
    const struct mf_file *m = &f->table->file[file];
    char leaf[256];

    f->file = file;
    (void)snprintf(leaf, sizeof leaf, "%.*s", (int)m->name_bytes,
                   f->table->blob + m->name);
    (void)name_run(f->name, f->cp->run, leaf);
    f->end = tier_file_chunks(f->table, file, &f->first);
    f->end += f->first;
    f->bytes = tier_file_bytes(f->table, file);
}

static int filer_begin(struct filer *f, uint32_t file)
{
    filer_name(f, file);
    f->bad_count = f->told = 0;
    f->is_written = f->is_spoilt = false;
    f->is_bad = calloc(f->end - f->first + 1, sizeof *f->is_bad);
    f->cp->sums.files++;
    f->cp->sums.bytes += f->bytes;
    if (!f->is_bad)
        return complain(&f->cp->to, EXIT_ERROR, "out of memory");
    return filer_in_place(f) ? segment_begin(f) : blob_begin(f);
}

/* Also of one that was never begun. */
static int filer_end(struct filer *f)
{
    int code = EXIT_FINE;

    if (!f->is_bad)
        return EXIT_FINE;
    if (f->window[0].is_out)
        code = blob_end(f);
    if (code == EXIT_FINE && f->told < 2 * f->bytes)
        tell(f, 2 * f->bytes - f->told);
    free(f->is_bad);
    f->is_bad = NULL;
    return code;
}

int files_copy(struct cp *cp, uint32_t share, const struct manifest *table)
{
    struct filer filer[WINDOWS];
    uint8_t *bytes[WINDOWS];
    int code = EXIT_FINE, last;

    for (uint32_t i = 0; i < WINDOWS; i++) {
        bytes[i] = aligned_alloc(PAGE_BYTES, REMOTE_WINDOW_BYTES);
        if (!bytes[i])
            code = complain(&cp->to, EXIT_ERROR, "out of memory");
    }
    for (uint32_t i = 0; i < WINDOWS; i++) {
        filer[i] = (struct filer){
            .cp = cp, .store = cp->to.home, .table = table, .share = share};
        filer[i].window[0].bytes = bytes[i];
        filer[i].window[1].bytes = bytes[!i];
    }
    for (uint32_t file = 0; file < table->file_count && !code; file++) {
        code = filer_end(&filer[file % WINDOWS]);
        if (code == EXIT_FINE)
            code = filer_begin(&filer[file % WINDOWS], file);
    }
    for (uint32_t i = 0; i < WINDOWS; i++) {
        last = filer_end(&filer[i]);
        code = code ? code : last;
        free(bytes[i]);
    }
    return code;
}

/*
 * Only whether they are there.
 */

static bool is_there(struct filer *f)
{
    struct store_req stat = {.op = STORE_BLOB_STAT, .name = f->name};
    int64_t bytes = filer_in_place(f)
                        ? segment(f, STORE_SEG_OPEN, STORE_SEG_NOLOCK)
                        : store_run(f->store, &stat);

    if (f->seg && segment(f, STORE_SEG_CLOSE, 0) < 0)
        return false;
    return bytes >= 0 && (uint64_t)bytes >= f->bytes;
}

void files_count(struct cp *cp, const struct manifest *table,
                 struct cp_sums *sums)
{
    struct filer f = {.cp = cp, .store = cp->to.home, .table = table};

    for (uint32_t file = 0; file < table->file_count; file++) {
        filer_name(&f, file);
        sums->files++;
        sums->bytes += f.bytes;
        if (f.store && is_there(&f))
            continue;
        sums->files_written++;
        sums->bytes_written += f.bytes;
    }
}
