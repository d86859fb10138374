/*
 * remote_write.c - see remote_write.h: its states, and the way from the local
 * store to a file of the remote tier. Reading it back is remote_back.c.
 */
#include "ckptd/engine/remote_internal.h"

#include "common/plant.h"
#include "formats/codec.h"
#include "formats/tier.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

static const bool allowed[REMOTE_PHASES][REMOTE_PHASES] = {
    [REMOTE_IDLE] = {[REMOTE_CREATING] = true, [REMOTE_FILLING] = true},
    [REMOTE_CREATING] = {[REMOTE_FILLING] = true, [REMOTE_OPENING] = true},
    [REMOTE_FILLING] = {[REMOTE_PACKING] = true,
                        [REMOTE_PACING] = true,
                        [REMOTE_CLOSING] = true},
    [REMOTE_PACKING] = {[REMOTE_PACING] = true, [REMOTE_CLOSING] = true},
    [REMOTE_PACING] = {[REMOTE_PUTTING] = true,
                       [REMOTE_WRITING] = true,
                       [REMOTE_CLOSING] = true},
    [REMOTE_PUTTING] = {[REMOTE_READING] = true, [REMOTE_MEASURING] = true},
    [REMOTE_MEASURING] = {[REMOTE_READING] = true, [REMOTE_FILLING] = true},
    [REMOTE_WRITING] = {[REMOTE_FILLING] = true,
                        [REMOTE_TRIMMING] = true,
                        [REMOTE_CLOSING] = true},
    [REMOTE_TRIMMING] = {[REMOTE_SYNCING] = true, [REMOTE_CLOSING] = true},
    [REMOTE_SYNCING] = {[REMOTE_CLOSING] = true},
    [REMOTE_CLOSING] = {[REMOTE_OPENING] = true, [REMOTE_REMOVING] = true},
    [REMOTE_OPENING] = {[REMOTE_READING] = true,
                        [REMOTE_ADOPTING] = true,
                        [REMOTE_CREATING] = true},
    [REMOTE_ADOPTING] = {[REMOTE_READING] = true, [REMOTE_SHUTTING] = true},
    [REMOTE_READING] = {[REMOTE_CHECKING] = true,
                        [REMOTE_SHUTTING] = true,
                        [REMOTE_FILLING] = true},
    [REMOTE_CHECKING] = {[REMOTE_READING] = true,
                         [REMOTE_SHUTTING] = true,
                         [REMOTE_FILLING] = true},
    [REMOTE_SHUTTING] = {[REMOTE_CREATING] = true},
};

void remote_move(struct remote_write *w, enum remote_phase to)
{
    assert(allowed[w->phase][to] || to == REMOTE_IDLE);
    w->phase = to;
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

void remote_end(struct remote_write *w)
{
    remote_move(w, REMOTE_IDLE);
    w->done(w, w->err.code);
}

/* The first failure counts. */
void remote_fail(struct remote_write *w, int code, const char *what)
{
    w->is_silent |= code == -ETIMEDOUT || code == -EIO;
    if (!w->err.code)
        (void)err_set(&w->err, code, "%s: %s: %s", w->name, what,
                      err_text(code));
}

/*
 * Windows.
 */

/* Its extent, as it was planned: in the window until that is packed. */
static uint64_t place_of(const struct remote_write *w, uint64_t chunk)
{
    return w->tier->location[chunk].offset - w->planned_at;
}

static uint64_t extent_of(const struct remote_write *w, uint64_t chunk)
{
    return chunk_extent_bytes(w->tier->location[chunk].payload_bytes);
}

/* The window that begins with this chunk: all that follows and fits. */
static void window_set(struct remote_write *w, uint64_t chunk)
{
    bool is_first = chunk == w->first;

    w->window_first = w->window_end = chunk;
    w->planned_at = is_first ? 0 : w->tier->location[chunk].offset;
    w->window_bytes = is_first ? PAGE_BYTES : 0;
    while (w->window_end < w->end &&
           w->window_bytes + extent_of(w, w->window_end) <= REMOTE_WINDOW_BYTES)
        w->window_bytes += extent_of(w, w->window_end++);
    w->planned_bytes = w->window_bytes;
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

void remote_submit(struct remote_write *w, enum store_op op,
                   void (*done)(struct store_req *req, int64_t result))
{
    w->req.op = op;
    w->req.name = w->name;
    w->req.seg = w->seg;
    w->req.done = done;
    w->req.owner = w;
    store_submit(w->run->home->store, &w->req);
}

static void fill(struct remote_write *w);

/*
 * Writing.
 */

/* err has said why. */
static void given_up(struct store_req *req, int64_t result)
{
    (void)result;
    remote_end(req->owner);
}

/* Then nobody takes it up, and its room is given back. Not in haste. */
static bool is_of_no_use(const struct remote_write *w)
{
    return !w->run->home->engine->is_halted &&
           (w->is_spoilt || (!w->is_silent && !w->is_whole));
}

static void closed(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    w->seg = NULL;
    if (result < 0)
        remote_fail(w, (int)result, "cannot be closed");
    if (!w->err.code) {
        remote_open_again(w, false);
    } else if (is_of_no_use(w)) {
        remote_move(w, REMOTE_REMOVING);
        remote_submit(w, STORE_SEG_REMOVE, given_up);
    } else { /* the next try, or life, sees to it */
        remote_end(w);
    }
}

static void close_it(struct remote_write *w)
{
    remote_move(w, REMOTE_CLOSING);
    remote_submit(w, STORE_SEG_CLOSE, closed);
}

/* What is given to the store is timed. */
static void send(struct remote_write *w, enum store_op op,
                 void (*done)(struct store_req *req, int64_t result))
{
    w->begun_ns = env_now(run_env(w->run));
    remote_submit(w, op, done);
}

static void sent(struct remote_write *w)
{
    w->busy_ns += env_now(run_env(w->run)) - w->begun_ns;
}

static void synced(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    sent(w);
    w->is_spoilt = result < 0;
    if (result < 0)
        remote_fail(w, (int)result, "cannot be synced");
    else
        w->wrote(w, w->window_at, w->busy_ns);
    close_it(w);
}

static void trimmed(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0) {
        remote_fail(w, (int)result, "cannot be cut to its length");
        close_it(w);
        return;
    }
    remote_move(w, REMOTE_SYNCING);
    if (is_left_out("sync of a remote file"))
        close_it(w);
    else
        send(w, STORE_SYNC, synced);
}

static void window_sent(struct remote_write *w)
{
    sent(w);
    w->written_bytes += w->planned_bytes;
    w->window_at += w->window_bytes;
}

static void window_written(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result < 0) {
        w->is_spoilt = result == -EIO;
        remote_fail(w, (int)result, "cannot be written");
        close_it(w);
        return;
    }
    window_sent(w);
    if (w->window_end < w->end) {
        window_set(w, w->window_end);
        fill(w);
        return;
    }
    w->is_whole = true;
    remote_move(w, REMOTE_TRIMMING);
    w->req.len = w->window_at; /* as long as planned, if nothing is encoded */
    remote_submit(w, STORE_SEG_TRIM, trimmed);
}

static void blob_put(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result == -EEXIST) {
        remote_measure(w);
        return;
    }
    if (result < 0) {
        remote_fail(w, (int)result, "cannot be written");
        remote_end(w);
        return;
    }
    window_sent(w);
    w->wrote(w, w->window_at, w->busy_ns);
    w->is_own = true;
    w->file_bytes = w->window_at;
    remote_read_back(w);
}

/* The window goes no further. */
static void give_up(struct remote_write *w)
{
    if (w->seg)
        close_it(w);
    else
        remote_end(w);
}

static void hand_over(struct remote_write *w)
{
    if (w->is_cancelled)
        remote_fail(w, -ECANCELED, "draining");
    if (w->err.code) {
        give_up(w);
        return;
    }
    remote_move(w, w->seg ? REMOTE_WRITING : REMOTE_PUTTING);
    w->req.buf = w->window;
    w->req.len = w->window_bytes;
    w->req.off = w->window_at;
    send(w, w->seg ? STORE_WRITE : STORE_BLOB_PUT,
         w->seg ? window_written : blob_put);
}

static void paced(struct env_timer *timer)
{
    hand_over(container_of(timer, struct remote_write, timer));
}

static void pace(struct remote_write *w)
{
    struct env *env = run_env(w->run);

    if (w->is_cancelled) {
        hand_over(w);
        return;
    }
    remote_move(w, REMOTE_PACING);
    w->timer.fire = paced;
    env->ops->timer_set(env, &w->timer,
                        env_now(env) + w->pace(w, w->window_bytes));
}

/*
 * Packing.
 */

static bool is_worth_it(const struct remote_write *w, uint64_t chunk,
                        const uint8_t *extent)
{
    const struct manifest *m = w->manifest;
    double fraction;

    if (m->location[chunk].codec != CODEC_RAW)
        return false;
    fraction =
        codec_sample(CODEC_PLANES_LZ4, w->unit[chunk], extent + PAGE_BYTES,
                     m->chunk[chunk].raw_bytes, w->spare);
    return codec_pays(fraction, w->encode_bytes_s, w->tier_bytes_s);
}

/* Extents move down over what others no longer need. */
static void pack_run(struct env_job *job)
{
    struct remote_write *w = container_of(job, struct remote_write, job);
    uint64_t to = remote_has_header(w) ? PAGE_BYTES : 0;

    for (uint64_t i = w->window_first; i < w->window_end; i++) {
        uint64_t chunk = tier_source(w->tier, w->manifest, i), bytes = 0;
        const uint8_t *from = w->window + place_of(w, i);

        if (is_worth_it(w, chunk, from))
            bytes = tier_pack(w->manifest, chunk, w->unit[chunk], from,
                              w->window + to, w->spare);
        if (bytes == 0) {
            bytes = extent_of(w, i);
            if (w->window + to != from)
                memmove(w->window + to, from, bytes);
        }
        to += bytes;
    }
    w->window_bytes = to;
}

static void pack_done(struct env_job *job)
{
    pace(container_of(job, struct remote_write, job));
}

/* All extents of the window are in place, or one could not be read. */
static void filled(struct remote_write *w)
{
    struct env *env = run_env(w->run);

    if (w->is_cancelled || w->err.code) {
        hand_over(w);
        return;
    }
    w->speeds(w, &w->encode_bytes_s, &w->tier_bytes_s);
    if (w->is_retried || w->encode_bytes_s <= 0) {
        pace(w);
        return;
    }
    remote_move(w, REMOTE_PACKING);
    w->job.run = pack_run;
    w->job.done = pack_done;
    env->ops->work(env, &w->job);
}

/*
 * Filling.
 */

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
        .slot = w->window + place_of(w, chunk),
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

static void fill(struct remote_write *w)
{
    remote_move(w, REMOTE_FILLING);
    w->next_read = w->window_first;
    if (remote_has_header(w))
        put_header(w);
    read_more(w);
}

static void created(struct store_req *req, int64_t result)
{
    struct remote_write *w = req->owner;

    if (result == -EEXIST) { /* of an earlier life: is it whole? */
        remote_open_again(w, true);
        return;
    }
    if (result < 0) {
        remote_fail(w, (int)result, "cannot be created");
        remote_end(w);
        return;
    }
    w->seg = req->seg;
    w->is_own = true;
    fill(w);
}

static void name_it(struct remote_write *w)
{
    char leaf[RECORD_NAME_BYTES];

    (void)name_tier_file(leaf, &w->tier->info.id, &w->tier->info.daemon,
                         w->file, w->again[w->file]);
    (void)name_run(w->name, w->run->name, leaf);
}

void remote_start(struct remote_write *w)
{
    name_it(w);
    w->is_own = w->is_whole = w->is_spoilt = w->is_adopted = false;
    w->is_silent = false;
    w->window_at = w->busy_ns = 0;
    window_set(w, w->first);
    if (!remote_in_place(w->run->home)) {
        fill(w);
        return;
    }
    remote_move(w, REMOTE_CREATING);
    w->req.flags = STORE_SEG_WRITE | STORE_SEG_CREATE;
    w->req.len = tier_file_bytes(w->tier, w->file);
    remote_submit(w, STORE_SEG_OPEN, created);
}

void remote_write_begin(struct remote_write *w)
{
    w->again[w->file] = 0;
    w->first = 0;
    w->end = tier_file_chunks(w->tier, w->file, &w->first);
    w->end += w->first;
    w->written_bytes = 0;
    w->is_retried = w->is_cancelled = false;
    w->err = (struct err){0};
    remote_start(w);
}

static void nothing_run(struct env_job *job)
{
    (void)job;
}

static void cancel_done(struct env_job *job)
{
    hand_over(container_of(job, struct remote_write, job));
}

void remote_write_cancel(struct remote_write *w)
{
    struct env *env = run_env(w->run);

    if (w->phase == REMOTE_IDLE || w->is_cancelled)
        return;
    w->is_cancelled = true;
    if (w->phase != REMOTE_PACING)
        return;
    /* It cannot wait for the timer: the clock may have stopped. */
    env->ops->timer_stop(env, &w->timer);
    w->job.run = nothing_run;
    w->job.done = cancel_done;
    env->ops->work(env, &w->job);
}

void remote_write_hurry(struct remote_write *w)
{
    struct env *env = run_env(w->run);

    if (w->phase == REMOTE_PACING && !w->is_cancelled)
        env->ops->timer_set(env, &w->timer, env_now(env));
}
