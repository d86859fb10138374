/*
 * remote_write.c - see remote_write.h.
 */
#include "ckptd/engine/remote_write.h"
#include "ckptd/engine/home_internal.h"

#include "formats/tier.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const bool allowed[REMOTE_PHASES][REMOTE_PHASES] = {
    [REMOTE_IDLE] = {[REMOTE_CREATING] = true, [REMOTE_FILLING] = true},
    [REMOTE_CREATING] = {[REMOTE_FILLING] = true, [REMOTE_OPENING] = true},
    [REMOTE_FILLING] = {[REMOTE_PUTTING] = true,
                        [REMOTE_WRITING] = true,
                        [REMOTE_CLOSING] = true},
    [REMOTE_PUTTING] = {[REMOTE_READING] = true},
    [REMOTE_WRITING] = {[REMOTE_FILLING] = true,
                        [REMOTE_SYNCING] = true,
                        [REMOTE_CLOSING] = true},
    [REMOTE_SYNCING] = {[REMOTE_CLOSING] = true},
    [REMOTE_CLOSING] = {[REMOTE_OPENING] = true, [REMOTE_REMOVING] = true},
    [REMOTE_OPENING] = {[REMOTE_READING] = true, [REMOTE_REMOVING] = true},
    [REMOTE_READING] = {[REMOTE_CHECKING] = true,
                        [REMOTE_SHUTTING] = true,
                        [REMOTE_REMOVING] = true},
    [REMOTE_CHECKING] = {[REMOTE_READING] = true,
                         [REMOTE_SHUTTING] = true,
                         [REMOTE_REMOVING] = true},
    [REMOTE_SHUTTING] = {[REMOTE_REMOVING] = true},
    [REMOTE_REMOVING] = {[REMOTE_CREATING] = true, [REMOTE_FILLING] = true},
};

static void move(struct remote_write *w, enum remote_phase to)
{
    assert(allowed[w->phase][to] || to == REMOTE_IDLE);
    w->phase = to;
}

static struct env *env_of(const struct remote_write *w)
{
    return run_env(w->run);
}

bool remote_in_place(const struct home *home)
{
    return home->store->limits.max_io_bytes > 0;
}

uint64_t remote_file_bytes(const struct home *home)
{
    return remote_in_place(home) ? home->engine->remote_file_bytes
                                 : min_u64(home->store->limits.max_blob_bytes,
                                           REMOTE_WINDOW_BYTES);
}

static bool in_place(const struct remote_write *w)
{
    return remote_in_place(w->run->home);
}

static void end(struct remote_write *w)
{
    move(w, REMOTE_IDLE);
    w->done(w, w->err.code);
}

/* The first failure counts. */
static void fail(struct remote_write *w, int code, const char *what)
{
    if (!w->err.code)
        (void)err_set(&w->err, code, "%s: %s: %s", w->name, what,
                      err_text(code));
}

/*
 * Windows.
 */

static uint64_t place_in_window(const struct remote_write *w, uint64_t chunk)
{
    return w->tier->location[chunk].offset - w->window_at;
}

static uint64_t extent_of(const struct remote_write *w, uint64_t chunk)
{
    return chunk_extent_bytes(w->tier->location[chunk].payload_bytes);
}

/* The window that begins with this chunk: all that follows and fits. */
static void window_set(struct remote_write *w, uint64_t chunk)
{
    w->window_first = w->window_end = chunk;
    w->window_at = chunk == w->first ? 0 : w->tier->location[chunk].offset;
    w->window_bytes = chunk == w->first ? PAGE_BYTES : 0;
    while (w->window_end < w->end &&
           w->window_bytes + extent_of(w, w->window_end) <= REMOTE_WINDOW_BYTES)
        w->window_bytes += extent_of(w, w->window_end++);
}

static bool has_header(const struct remote_write *w)
{
    return w->window_at == 0;
}

static void put_header(struct remote_write *w)
{
    const struct run *run = w->run;
    struct segment_header h = {
        .segment = w->tier->file[w->file].segment,
        .store = w->tier->info.daemon,
        .home = run->home->uuid,
        .run = w->tier->info.run,
        .size_bytes = tier_file_bytes(w->tier, w->file),
        .save = w->tier->info.id,
    };

    (void)snprintf(h.home_path, sizeof h.home_path, "%s", run->home->path);
    (void)snprintf(h.run_name, sizeof h.run_name, "%s", run->name);
    segment_header_encode(&h, w->window);
}

/*
 * Requests to the home's store.
 */

static void submit(struct remote_write *w, enum store_op op,
                   void (*done)(struct store_req *req, int64_t result))
{
    w->req.op = op;
    w->req.name = w->name;
    w->req.seg = w->seg;
    w->req.done = done;
    w->req.owner = w;
    store_submit(w->run->home->store, &w->req);
}

static void start(struct remote_write *w);
static void fill(struct remote_write *w);
static void read_window(struct remote_write *w);

static void shut_done(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    (void)result; /* it was open for reading */
    w->seg = NULL;
    end(w);
}

/* Nothing more is done with the file. */
static void finish(struct remote_write *w)
{
    if (!w->seg) {
        end(w);
        return;
    }
    move(w, REMOTE_SHUTTING);
    submit(w, STORE_SEG_CLOSE, shut_done);
}

/*
 * What was there, or came back, is not what it should be: once more, once.
 */

static void removed(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0 && result != -ENOENT) {
        fail(w, (int)result, "cannot be removed");
        end(w);
        return;
    }
    w->err = (struct err){0};
    start(w);
}

static void remove_it(struct remote_write *w)
{
    move(w, REMOTE_REMOVING);
    submit(w, in_place(w) ? STORE_SEG_REMOVE : STORE_BLOB_REMOVE, removed);
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
    struct env *env = env_of(w);

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
    move(w, REMOTE_SHUTTING);
    submit(w, STORE_SEG_CLOSE, bad_shut);
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

    if (has_header(w)) {
        rc = segment_header_decode(w->window, &h, &err);
        if (rc == 0 && !id_equal(&h.segment, &w->tier->file[w->file].segment))
            rc = err_set(&err, -CKPT_ECORRUPT, "it is another file");
    }
    for (uint64_t i = w->window_first; i < w->window_end && rc == 0; i++) {
        struct chunk_header want;

        manifest_chunk_header(w->tier, i, &want);
        rc = chunk_check(w->window + place_in_window(w, i), extent_of(w, i),
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
            fail(w, -ECANCELED, "reading back");
        finish(w);
        return;
    }
    window_set(w, w->window_end);
    read_window(w);
}

static void window_read(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result == -EIO || result == -CKPT_ECORRUPT || result == -ENOENT) {
        fail(w, (int)result, "cannot be read back");
        is_bad(w);
        return;
    }
    if (result < 0) {
        fail(w, (int)result, "cannot be read back");
        finish(w);
        return;
    }
    move(w, REMOTE_CHECKING);
    w->job.run = check_run;
    w->job.done = check_done;
    env_of(w)->ops->work(env_of(w), &w->job);
}

static void read_window(struct remote_write *w)
{
    move(w, REMOTE_READING);
    w->req.buf = w->window;
    w->req.len = w->window_bytes;
    w->req.off = w->window_at;
    submit(w, in_place(w) ? STORE_READ : STORE_BLOB_GET, window_read);
}

static void opened(struct store_req *req, int64_t size)
{
    struct remote_write *w = req->owner;

    if (size < 0) {
        fail(w, (int)size, "cannot be opened again");
        if (size == -ENOENT)
            is_bad(w);
        else
            end(w);
        return;
    }
    w->seg = req->seg;
    window_set(w, w->first);
    read_window(w);
}

static void open_again(struct remote_write *w)
{
    move(w, REMOTE_OPENING);
    w->req.flags = STORE_SEG_NOLOCK;
    submit(w, STORE_SEG_OPEN, opened);
}

/*
 * Writing.
 */

/* err has said why. */
static void given_up(struct store_req *req, int64_t result)
{
    (void)result;
    end(req->owner);
}

static void closed(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    w->seg = NULL;
    if (result < 0)
        fail(w, (int)result, "cannot be closed");
    if (!w->err.code) {
        open_again(w);
    } else if (w->is_cancelled) { /* the next life sees to it */
        end(w);
    } else {
        move(w, REMOTE_REMOVING);
        submit(w, STORE_SEG_REMOVE, given_up);
    }
}

static void close_it(struct remote_write *w)
{
    move(w, REMOTE_CLOSING);
    submit(w, STORE_SEG_CLOSE, closed);
}

static void synced(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0)
        fail(w, (int)result, "cannot be synced");
    close_it(w);
}

static void window_written(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0) {
        fail(w, (int)result, "cannot be written");
        close_it(w);
        return;
    }
    w->written_bytes += w->window_bytes;
    if (w->window_end == w->end) {
        move(w, REMOTE_SYNCING);
        submit(w, STORE_SYNC, synced);
        return;
    }
    window_set(w, w->window_end);
    fill(w);
}

static void blob_put(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0 && result != -EEXIST) {
        fail(w, (int)result, "cannot be written");
        end(w);
        return;
    }
    if (result == 0)
        w->written_bytes += w->window_bytes;
    read_window(w);
}

/* All extents of the window are in place, or one could not be read. */
static void filled(struct remote_write *w)
{
    if (w->is_cancelled)
        fail(w, -ECANCELED, "draining");
    if (w->err.code) {
        if (w->seg)
            close_it(w);
        else
            end(w);
        return;
    }
    move(w, w->seg ? REMOTE_WRITING : REMOTE_PUTTING);
    w->req.buf = w->window;
    w->req.len = w->window_bytes;
    w->req.off = w->window_at;
    submit(w, w->seg ? STORE_WRITE : STORE_BLOB_PUT,
           w->seg ? window_written : blob_put);
}

static void read_more(struct remote_write *w);

static void lane_done(struct chunk_read *r, int result)
{
    struct remote_lane *lane = r->owner;
    struct remote_write *w = lane->w;

    lane->is_running = false;
    w->reading--;
    if (result && !w->err.code)
        w->err = r->err;
    read_more(w);
}

static void lane_start(struct remote_write *w, struct remote_lane *lane)
{
    uint64_t chunk = w->next_read++;

    lane->w = w;
    lane->is_running = true;
    w->reading++;
    lane->read = (struct chunk_read){
        .engine = w->run->home->engine,
        .manifest = w->manifest,
        .chunk = tier_source(w->tier, w->manifest, chunk),
        .slot = w->window + place_in_window(w, chunk),
        .as_stored = true,
        .done = lane_done,
        .owner = lane,
    };
    chunk_read_begin(&lane->read);
}

static void read_more(struct remote_write *w)
{
    for (size_t i = 0; i < REMOTE_READS; i++) {
        if (w->err.code || w->is_cancelled || w->next_read == w->window_end)
            break;
        if (!w->lane[i].is_running)
            lane_start(w, &w->lane[i]);
    }
    if (w->reading == 0)
        filled(w);
}

static void paced(struct env_timer *timer)
{
    struct remote_write *w = container_of(timer, struct remote_write, timer);

    w->is_pacing = false;
    read_more(w);
}

static void fill(struct remote_write *w)
{
    struct env *env = env_of(w);

    move(w, REMOTE_FILLING);
    w->next_read = w->window_first;
    if (has_header(w))
        put_header(w);
    w->timer.fire = paced;
    w->is_pacing = true;
    env->ops->timer_set(env, &w->timer,
                        env_now(env) + w->pace(w, w->window_bytes));
}

static void created(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result == -EEXIST) { /* of an earlier life: is it whole? */
        open_again(w);
        return;
    }
    if (result < 0) {
        fail(w, (int)result, "cannot be created");
        end(w);
        return;
    }
    w->seg = req->seg;
    fill(w);
}

static void start(struct remote_write *w)
{
    window_set(w, w->first);
    if (!in_place(w)) {
        fill(w);
        return;
    }
    move(w, REMOTE_CREATING);
    w->req.flags = STORE_SEG_WRITE | STORE_SEG_CREATE;
    w->req.len = tier_file_bytes(w->tier, w->file);
    submit(w, STORE_SEG_OPEN, created);
}

void remote_write_begin(struct remote_write *w)
{
    const struct mf_file *f = &w->tier->file[w->file];
    char leaf[256];

    assert(f->name_bytes < sizeof leaf);
    memcpy(leaf, w->tier->blob + f->name, f->name_bytes);
    leaf[f->name_bytes] = '\0';
    (void)name_run(w->name, w->run->name, leaf);
    w->first = 0;
    w->end = tier_file_chunks(w->tier, w->file, &w->first);
    w->end += w->first;
    w->written_bytes = 0;
    w->is_retried = w->is_cancelled = false;
    w->err = (struct err){0};
    start(w);
}

static void nothing_run(struct env_job *job)
{
    (void)job;
}

static void cancel_done(struct env_job *job)
{
    read_more(container_of(job, struct remote_write, job));
}

void remote_write_cancel(struct remote_write *w)
{
    struct env *env = env_of(w);

    if (w->phase == REMOTE_IDLE || w->is_cancelled)
        return;
    w->is_cancelled = true;
    if (!w->is_pacing)
        return;
    /* It cannot wait for the timer: the clock may have stopped. */
    w->is_pacing = false;
    env->ops->timer_stop(env, &w->timer);
    w->job.run = nothing_run;
    w->job.done = cancel_done;
    env->ops->work(env, &w->job);
}
