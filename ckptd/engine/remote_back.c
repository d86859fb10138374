/*
 * remote_back.c - a file of the remote tier is read back and checked; what is
 * not what it should be is written anew beside it. See remote_write.h.
 */
#include "ckptd/engine/remote_internal.h"

#include "common/plant.h"
#include "formats/tier.h"

#include <errno.h>
#include <inttypes.h>

static void shut_done(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    (void)result; /* it was open for reading */
    w->seg = NULL;
    remote_end(w);
}

static void shut(struct remote_write *w)
{
    remote_submit(w, STORE_SEG_CLOSE, shut_done);
}

/* Space that the dead one's plan took; a crash gives it back to nobody. */
static void cut(struct store_req *req, int64_t result)
{
    (void)result;
    shut(req->owner);
}

/* Nothing more is done with the file. */
static void finish(struct remote_write *w)
{
    uint64_t used = w->window_at + w->window_bytes;

    if (!w->seg) {
        remote_end(w);
        return;
    }
    remote_move(w, REMOTE_SHUTTING);
    if (w->err.code || !w->is_adopted || used == w->file_bytes) {
        shut(w);
        return;
    }
    w->req.len = used;
    remote_submit(w, STORE_SEG_TRIM, cut);
}

/*
 * What was there, or came back, is not what it should be: once more, beside it.
 */

static void start_anew(struct remote_write *w)
{
    w->err = (struct err){0};
    w->again[w->file]++;
    remote_start(w);
}

static void bad_shut(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    (void)result;
    w->seg = NULL;
    start_anew(w);
}

static void bad_cut(struct store_req *req, int64_t result)
{
    (void)result;
    remote_submit(req->owner, STORE_SEG_CLOSE, bad_shut);
}

/* What was read and is wrong stays so, however late it is cut; what could not
 * be read may be good. */
static bool is_to_be_cut(const struct remote_write *w)
{
    return w->is_adopted && w->is_only && w->err.code == -CKPT_ECORRUPT &&
           w->file_bytes > PAGE_BYTES;
}

static void leave(struct remote_write *w)
{
    if (!w->seg) {
        start_anew(w);
        return;
    }
    remote_move(w, REMOTE_SHUTTING);
    w->req.len = PAGE_BYTES;
    if (is_to_be_cut(w))
        remote_submit(w, STORE_SEG_TRIM, bad_cut);
    else
        remote_submit(w, STORE_SEG_CLOSE, bad_shut);
}

/* err has the words. */
static void is_bad(struct remote_write *w)
{
    struct env *env = run_env(w->run);

    if ((w->is_own && w->is_retried) || w->is_cancelled) {
        finish(w);
        return;
    }
    if (w->again[w->file] + 1 == REMOTE_NAMES) {
        (void)err_prefix(&w->err, "%u files in its place are bad, the last one",
                         REMOTE_NAMES);
        finish(w);
        return;
    }
    w->is_retried |= w->is_own;
    env->ops->log(env, LOG_LEVEL_WARN, "%s; it is written anew", w->err.text);
    leave(w);
}

/*
 * Reading back.
 */

static void read_window(struct remote_write *w);

static int check_header(const struct remote_write *w, struct err *err)
{
    struct segment_header h;
    int rc = segment_header_decode(w->window, &h, err);

    if (rc == 0 && !id_equal(&h.segment, &w->tier->file[w->file].segment))
        rc = err_set(err, -CKPT_ECORRUPT, "it is another file");
    return rc;
}

/* The extents that are whole in the window, of which w->window_bytes were read
 * from w->window_at on; their rows. What is left of it is read again. */
static int64_t take_rows(struct remote_write *w, struct err *err)
{
    uint64_t at = remote_has_header(w) ? PAGE_BYTES : 0;
    int64_t n = 0;

    if (at > w->window_bytes)
        return err_set(err, -CKPT_ECORRUPT, "it ends in its first page");
    n = at ? check_header(w, err) : 0;
    while (n >= 0 && w->window_end < w->end) {
        uint64_t i = w->window_end;

        w->row[i] = w->tier->location[i];
        w->row[i].offset = w->window_at + at;
        n = tier_adopt(w->manifest, tier_source(w->tier, w->manifest, i),
                       w->window + at, w->window_bytes - at, w->spare,
                       &w->row[i], err);
        at += n < 0 ? 0 : (uint64_t)n;
        w->window_end += n >= 0;
    }
    if (n == -ENODATA && w->window_end == w->window_first)
        return err_set(err, -CKPT_ECORRUPT, "it ends too early");
    return n < 0 && n != -ENODATA ? n : (int64_t)at;
}

static void take_all(struct remote_write *w)
{
    for (uint64_t i = w->first; i < w->end; i++)
        w->row[i] = w->tier->location[i];
    w->window_end = w->end;
}

static void check_run(struct env_job *job)
{
    struct remote_write *w = container_of(job, struct remote_write, job);
    struct err err;
    int64_t used;

    if (is_left_out("check of what was read back")) {
        take_all(w);
        return;
    }
    used = take_rows(w, &err);
    if (used < 0)
        (void)err_set(&w->err, (int)used, "%s: what was read back: %s", w->name,
                      err.text);
    else
        w->window_bytes = (uint64_t)used;
}

static void check_done(struct env_job *job)
{
    struct remote_write *w = container_of(job, struct remote_write, job);

    if (w->err.code) {
        is_bad(w);
        return;
    }
    if (w->window_end == w->end || w->is_cancelled) {
        if (w->window_end < w->end)
            remote_fail(w, -ECANCELED, "reading back");
        finish(w);
        return;
    }
    w->window_at += w->window_bytes;
    read_window(w);
}

static void window_read(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result == -EIO || result == -CKPT_ECORRUPT || result == -ENOENT) {
        remote_fail(w, (int)result, "cannot be read back");
        is_bad(w);
        return;
    }
    if (result < 0) {
        remote_fail(w, (int)result, "cannot be read back");
        finish(w);
        return;
    }
    remote_move(w, REMOTE_CHECKING);
    w->job.run = check_run;
    w->job.done = check_done;
    run_env(w->run)->ops->work(run_env(w->run), &w->job);
}

static void read_window(struct remote_write *w)
{
    remote_move(w, REMOTE_READING);
    w->window_first = w->window_end;
    w->window_bytes =
        min_u64(w->file_bytes - w->window_at, REMOTE_WINDOW_BYTES);
    if (w->window_bytes == 0) {
        remote_fail(w, -CKPT_ECORRUPT, "it ends too early");
        is_bad(w);
        return;
    }
    w->req.buf = w->window;
    w->req.len = w->window_bytes;
    w->req.off = w->window_at;
    remote_submit(w,
                  remote_in_place(w->run->home) ? STORE_READ : STORE_BLOB_GET,
                  window_read);
}

void remote_read_back(struct remote_write *w)
{
    w->window_at = 0;
    w->window_end = w->first;
    read_window(w);
}

/* Whoever wrote it may have died before it was synced: what is read then is
 * not what a power cut leaves. */
static void adopted(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0) {
        remote_fail(w, (int)result, "cannot be synced");
        is_bad(w);
        return;
    }
    remote_read_back(w);
}

static void opened(struct store_req *req, int64_t size)
{
    struct remote_write *w = req->owner;

    if (size < 0) {
        remote_fail(w, (int)size, "cannot be opened again");
        if (size == -ENOENT)
            is_bad(w);
        else
            remote_end(w);
        return;
    }
    w->seg = req->seg;
    w->file_bytes = (uint64_t)size & ~(uint64_t)(PAGE_BYTES - 1);
    w->is_adopted = w->req.flags & STORE_SEG_WRITE;
    if (w->is_adopted && !is_left_out("sync of a remote file that was there")) {
        remote_move(w, REMOTE_ADOPTING);
        remote_submit(w, STORE_SYNC, adopted);
        return;
    }
    remote_read_back(w);
}

void remote_open_again(struct remote_write *w, bool is_anothers)
{
    remote_move(w, REMOTE_OPENING);
    w->req.flags = is_anothers ? STORE_SEG_WRITE : STORE_SEG_NOLOCK;
    remote_submit(w, STORE_SEG_OPEN, opened);
}

static void measured(struct store_req *req, int64_t size)
{
    struct remote_write *w = req->owner;

    if (size < 0) {
        remote_fail(w, (int)size, "cannot be measured");
        if (size == -ENOENT)
            is_bad(w);
        else
            remote_end(w);
        return;
    }
    w->file_bytes = (uint64_t)size;
    remote_read_back(w);
}

void remote_measure(struct remote_write *w)
{
    remote_move(w, REMOTE_MEASURING);
    remote_submit(w, STORE_BLOB_STAT, measured);
}
