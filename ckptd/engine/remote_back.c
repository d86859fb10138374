/*
 * remote_back.c - a file of the remote tier is read back and checked; what is
 * not what it should be is removed and written anew, once. See remote_write.h.
 */
#include "ckptd/engine/remote_internal.h"

#include "common/plant.h"

#include <errno.h>
#include <inttypes.h>

static void shut_done(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    (void)result; /* it was open for reading */
    w->seg = NULL;
    remote_end(w);
}

/* Nothing more is done with the file. */
static void finish(struct remote_write *w)
{
    if (!w->seg) {
        remote_end(w);
        return;
    }
    remote_move(w, REMOTE_SHUTTING);
    remote_submit(w, STORE_SEG_CLOSE, shut_done);
}

/*
 * What was there, or came back, is not what it should be: once more, once.
 */

static void removed(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0 && result != -ENOENT) {
        remote_fail(w, (int)result, "cannot be removed");
        remote_end(w);
        return;
    }
    w->err = (struct err){0};
    remote_start(w);
}

static void remove_it(struct remote_write *w)
{
    remote_move(w, REMOTE_REMOVING);
    remote_submit(
        w, remote_in_place(w->run->home) ? STORE_SEG_REMOVE : STORE_BLOB_REMOVE,
        removed);
}

static void bad_shut(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    (void)result;
    w->seg = NULL;
    remove_it(w);
}

/* err has the words. */
static void is_bad(struct remote_write *w)
{
    struct env *env = run_env(w->run);

    if (w->is_retried || w->is_cancelled) {
        finish(w);
        return;
    }
    w->is_retried = true;
    env->ops->log(env, LOG_LEVEL_WARN, "%s; it is written anew", w->err.text);
    if (!w->seg) {
        remove_it(w);
        return;
    }
    remote_move(w, REMOTE_SHUTTING);
    remote_submit(w, STORE_SEG_CLOSE, bad_shut);
}

/*
 * Reading back.
 */

static void check_run(struct env_job *job)
{
    struct remote_write *w = container_of(job, struct remote_write, job);
    struct segment_header h;
    struct err err;
    int rc = 0;

    if (is_left_out("check of what was read back"))
        return;
    if (remote_has_header(w)) {
        rc = segment_header_decode(w->window, &h, &err);
        if (rc == 0 && !id_equal(&h.segment, &w->tier->file[w->file].segment))
            rc = err_set(&err, -CKPT_ECORRUPT, "it is another file");
    }
    for (uint64_t i = w->window_first; i < w->window_end && rc == 0; i++) {
        struct chunk_header want;

        manifest_chunk_header(w->tier, i, &want);
        rc = chunk_check(w->window + remote_place(w, i), remote_extent(w, i),
                         &want, &err);
    }
    if (rc)
        (void)err_set(&w->err, rc, "%s: what was read back at %" PRIu64 ": %s",
                      w->name, w->window_at, err.text);
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
    remote_window_set(w, w->window_end);
    remote_read_window(w);
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

void remote_read_window(struct remote_write *w)
{
    remote_move(w, REMOTE_READING);
    w->req.buf = w->window;
    w->req.len = w->window_bytes;
    w->req.off = w->window_at;
    remote_submit(w,
                  remote_in_place(w->run->home) ? STORE_READ : STORE_BLOB_GET,
                  window_read);
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
    remote_window_set(w, w->first);
    remote_read_window(w);
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
    if (w->req.flags & STORE_SEG_WRITE &&
        !is_left_out("sync of a remote file that was there")) {
        remote_move(w, REMOTE_ADOPTING);
        remote_submit(w, STORE_SYNC, adopted);
        return;
    }
    remote_window_set(w, w->first);
    remote_read_window(w);
}

void remote_open_again(struct remote_write *w, bool is_anothers)
{
    remote_move(w, REMOTE_OPENING);
    w->req.flags = is_anothers ? STORE_SEG_WRITE : STORE_SEG_NOLOCK;
    remote_submit(w, STORE_SEG_OPEN, opened);
}
