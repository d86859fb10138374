/*
 * reader.c - one chunk, verified. See reader.h.
 *
 *   memory: hold the slot -> copy and digest on a worker -> unhold
 *   media:  open the segment -> read the extent -> check, decode, digest on a
 *           worker -> done
 *   remote: the same, of what remote_read.c brings
 *
 * What was wrong with the local copy is kept until the remote one is there: it
 * is logged then, or told together with what is wrong with that.
 *
 * A raw extent is read straight into the caller's slot, since a slot has an
 * extent's shape; an encoded one goes through the first buffer, with the second
 * as the decoder's scratch.
 */
#include "ckptd/engine/reader.h"

#include "common/plant.h"
#include "formats/codec.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const struct mf_location *location_of(const struct chunk_read *r)
{
    return &r->manifest->location[r->chunk];
}

uint32_t chunk_read_buffers(const struct manifest *m, uint64_t chunk)
{
    return m->location[chunk].codec == CODEC_RAW ? 0 : 2;
}

static const struct mf_file *file_of(const struct chunk_read *r)
{
    return &r->manifest->file[location_of(r)->file];
}

static uint64_t extent_of(const struct chunk_read *r)
{
    return chunk_extent_bytes(location_of(r)->payload_bytes);
}

static void *extent_target(const struct chunk_read *r)
{
    return r->as_stored || location_of(r)->codec == CODEC_RAW ? r->slot
                                                              : r->buffer[0];
}

/* The first tensor with bytes in the chunk, for words. */
static void name_tensor(const struct chunk_read *r, const char **name,
                        uint32_t *bytes)
{
    const struct manifest *m = r->manifest;

    *name = "?";
    *bytes = 1;
    for (uint64_t i = 0; i < m->piece_count; i++) {
        const struct mf_tensor *t;

        if (m->piece[i].chunk != r->chunk)
            continue;
        t = &m->tensor[m->region[m->piece[i].region].tensor];
        *name = m->blob + t->name;
        *bytes = t->name_bytes;
        return;
    }
}

/* Prefix r->err with whose bytes they are. */
static void name_owner(struct chunk_read *r)
{
    const struct manifest *m = r->manifest;
    const char *tensor;
    uint32_t bytes;

    name_tensor(r, &tensor, &bytes);
    (void)err_prefix(&r->err, "step %" PRIu64 ", rank %u, tensor %.*s",
                     m->info.id.step, m->chunk[r->chunk].rank, (int)bytes,
                     tensor);
}

/* And with where it happened. */
static void name_place(struct chunk_read *r, const char *root)
{
    const struct manifest *m = r->manifest;
    const struct mf_file *f = file_of(r);

    (void)err_prefix(&r->err, "%s/%.*s at %" PRIu64 " (chunk %u)", root,
                     (int)f->name_bytes, m->blob + f->name,
                     location_of(r)->offset, m->chunk[r->chunk].number);
    name_owner(r);
}

static void read_end(struct chunk_read *r)
{
    if (r->segment)
        segpool_put(r->segment);
    r->segment = NULL;
    r->done(r, r->result);
}

/* What has been read into extent_target(). */
static int check(const struct chunk_read *r, struct err *err)
{
    const struct mf_chunk *c = &r->manifest->chunk[r->chunk];
    uint8_t *raw = (uint8_t *)r->slot + PAGE_BYTES;
    struct chunk_header want;
    struct digest content;
    int rc = 0;

    manifest_chunk_header(r->manifest, r->chunk, &want);
    if (!is_left_out("digest of a chunk"))
        rc = chunk_check(extent_target(r), extent_of(r), &want, err);
    if (rc || r->as_stored || want.codec == CODEC_RAW)
        return rc;
    rc = codec_decode(want.codec, want.codec_param,
                      (uint8_t *)r->buffer[0] + PAGE_BYTES, want.payload_bytes,
                      raw, c->raw_bytes, r->buffer[1]);
    if (rc)
        return err_set(err, rc, "its payload does not decode");
    content = hash_128(raw, c->raw_bytes);
    if (!digest_equal(&content, &c->content) &&
        !is_left_out("digest of what was decoded"))
        return err_set(err, -CKPT_ECORRUPT,
                       "decoded bytes do not match their digest");
    return 0;
}

static void check_run(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);

    r->result = check(r, &r->err);
}

static void nothing_run(struct env_job *job)
{
    (void)job;
}

static void failed_done(struct env_job *job)
{
    read_end(container_of(job, struct chunk_read, job));
}

/* Not from inside the call that began it. */
static void end_later(struct chunk_read *r)
{
    r->job.run = nothing_run;
    r->job.done = failed_done;
    r->engine->env->ops->work(r->engine->env, &r->job);
}

/*
 * The remote tier.
 */

/* Of a copy itself, and not of the way to it. */
static bool is_copys(int remote)
{
    return remote == -ENOENT || remote == -EIO || remote == -CKPT_ECORRUPT ||
           remote == -CKPT_EVERSION;
}

/* A failure that is nobody's fault outweighs one of the checkpoint's: an older
 * one is no better, and this one may be good. */
static int worse(int local, int remote)
{
    return is_copys(remote) ? local : remote;
}

static void remote_failed(struct chunk_read *r)
{
    size_t used = strlen(r->err.text);

    r->is_bad_there = is_copys(r->fetch.err.code);
    if (r->skip_local) {
        r->err = r->fetch.err;
        r->result = r->err.code;
        name_owner(r);
        end_later(r);
        return;
    }
    (void)snprintf(r->err.text + used, sizeof r->err.text - used, "; %s",
                   r->fetch.err.text);
    r->result = r->err.code = worse(r->result, r->fetch.err.code);
    end_later(r);
}

/* What is here is not good, and a copy was. Of a file that nobody here can read
 * that is said once, and of another store's it is no fault. */
static void say_replaced(struct chunk_read *r)
{
    struct env *env = r->engine->env;
    bool is_other = !id_equal(&file_of(r)->store, &env->local_uuid);
    bool is_known =
        is_other || (r->is_file_lost && remote_is_needed(r->remote));

    if (is_other && !remote_is_news(r->remote, UINT32_MAX))
        return;
    if (!is_other && r->is_file_lost &&
        !remote_is_news(r->remote, location_of(r)->file))
        return;
    env->ops->log(env, is_known ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
                  "%s; read from the remote tier instead", r->err.text);
}

static void remote_check_run(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);

    (void)check(r, &r->fetch.err);
}

static void remote_check_done(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);

    if (r->fetch.err.code) {
        remote_read_place(&r->fetch);
        remote_failed(r);
        return;
    }
    if (!r->skip_local)
        say_replaced(r);
    r->err = (struct err){0};
    r->result = 0;
    r->is_remote = true;
    read_end(r);
}

static void remote_here(struct remote_read *fetch, int result)
{
    struct chunk_read *r = fetch->owner;
    struct env *env = r->engine->env;

    if (result) {
        remote_failed(r);
        return;
    }
    r->read_bytes = fetch->read_bytes;
    r->job.run = remote_check_run;
    r->job.done = remote_check_done;
    env->ops->work(env, &r->job);
}

/* r->err says what is wrong with what is here, if that was looked at. */
static void from_remote(struct chunk_read *r)
{
    r->is_bad_here = is_copys(r->result) &&
                     id_equal(&file_of(r)->store, &r->engine->env->local_uuid);
    if (r->segment)
        segpool_put(r->segment);
    r->segment = NULL;
    if (!r->remote || r->result == -ECANCELED) {
        end_later(r);
        return;
    }
    r->fetch = (struct remote_read){.remote = r->remote,
                                    .chunk = r->chunk,
                                    .extent = extent_target(r),
                                    .done = remote_here,
                                    .owner = r};
    remote_read_begin(&r->fetch);
}

/*
 * Media.
 */

static void local_failed(struct chunk_read *r)
{
    name_place(r, r->engine->env->local_path);
    from_remote(r);
}

static void check_done(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);

    if (r->result)
        local_failed(r);
    else
        read_end(r);
}

/* Drives have many names for what is lost (-EIO, -ENODATA for a bad sector,
 * -EILSEQ for a failed check, ...); our own troubles stay what they are. */
static int read_code(int result)
{
    return result == -ENOMEM || result == -ECANCELED ? result : -EIO;
}

static void look_closed(struct store_req *req, int64_t result)
{
    (void)result; /* nothing was written */
    from_remote(req->owner);
}

/* The size of a file whose end may have been met; r->result is set. */
static void size_known(struct store_req *req, int64_t size)
{
    struct chunk_read *r = req->owner;
    struct env *env = r->engine->env;
    uint64_t offset = location_of(r)->offset;

    if (size >= 0 &&
        (offset > (uint64_t)size || extent_of(r) > (uint64_t)size - offset))
        (void)err_set(&r->err, r->result,
                      "lies behind the end of its file: it was truncated");
    name_place(r, env->local_path);
    if (size < 0) {
        from_remote(r);
        return;
    }
    r->req = (struct store_req){.op = STORE_SEG_CLOSE,
                                .seg = req->seg,
                                .done = look_closed,
                                .owner = r};
    store_submit(env->local, &r->req);
}

static void extent_read(struct store_req *req, int64_t result)
{
    struct chunk_read *r = req->owner;
    struct env *env = r->engine->env;

    if (result < 0) {
        r->result = err_set(&r->err, read_code((int)result),
                            "cannot be read: %s", err_text((int)result));
        if (result == -EIO) { /* the drive, or the end of the file? */
            r->req = (struct store_req){.op = STORE_SEG_OPEN,
                                        .flags = STORE_SEG_NOLOCK,
                                        .name = r->file,
                                        .done = size_known,
                                        .owner = r};
            store_submit(env->local, &r->req);
            return;
        }
        local_failed(r);
        return;
    }
    r->read_bytes = extent_of(r);
    r->job.run = check_run;
    r->job.done = check_done;
    env->ops->work(env, &r->job);
}

static void segment_open(void *arg, int result, struct segment *segment,
                         const struct err *err)
{
    struct chunk_read *r = arg;
    struct env *env = r->engine->env;

    if (result) {
        r->err = *err;
        if (result == -ENOENT) /* for a load that code is a missing tensor */
            result = err_set(&r->err, -EIO, "its segment is gone");
        r->result = result;
        r->is_file_lost = true;
        local_failed(r);
        return;
    }
    r->segment = segment;
    r->req = (struct store_req){.op = STORE_READ,
                                .seg = segpool_handle(segment),
                                .buf = extent_target(r),
                                .len = extent_of(r),
                                .off = location_of(r)->offset,
                                .done = extent_read,
                                .owner = r};
    store_submit(env->local, &r->req);
}

static void from_media(struct chunk_read *r)
{
    const struct mf_file *f = file_of(r);

    if (!id_equal(&f->store, &r->engine->env->local_uuid))
        r->result = manifest_elsewhere(r->manifest, location_of(r)->file, -EIO,
                                       &r->err);
    else if (f->name_bytes >= sizeof r->file)
        r->result = err_set(&r->err, -CKPT_ECORRUPT, "file name too long");
    if (r->result) {
        local_failed(r);
        return;
    }
    memcpy(r->file, r->manifest->blob + f->name, f->name_bytes);
    r->file[f->name_bytes] = '\0';
    segpool_get(r->engine->pool, r->file, &f->segment, segment_open, r);
}

/*
 * Memory.
 */

static void copy_run_job(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);
    const struct mf_chunk *c = &r->manifest->chunk[r->chunk];
    uint8_t *raw = (uint8_t *)r->slot + PAGE_BYTES;
    struct digest content;

    /* The dead rank's memory may still be mapped by somebody: copy, then look
     * at the copy. */
    memcpy(raw, slot_payload(r->cached, r->cached_index), c->raw_bytes);
    content = hash_128(raw, c->raw_bytes);
    if (!digest_equal(&content, &c->content) &&
        !is_left_out("digest of what is in memory"))
        r->result = -CKPT_ECORRUPT;
}

static void copy_done(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);
    struct env *env = r->engine->env;

    slot_unhold(r->cached, r->cached_index);
    r->cached = NULL;
    if (r->result == 0) {
        read_end(r);
        return;
    }
    (void)err_set(&r->err, r->result,
                  "the copy in memory does not match its digest");
    name_place(r, env->local_path);
    env->ops->log(env, LOG_LEVEL_ERROR, "%s; reading the drive", r->err.text);
    r->err = (struct err){0};
    r->result = 0;
    from_media(r);
}

static bool from_memory(struct chunk_read *r)
{
    const struct mf_chunk *c = &r->manifest->chunk[r->chunk];
    const struct id128 *segment = &r->manifest->segment[c->segment].segment;
    struct env *env = r->engine->env;
    struct slots *slots;
    uint32_t index;

    if (r->skip_memory || r->as_stored ||
        !slots_find(&r->engine->arenas, segment, c->number, &slots, &index))
        return false;
    if (slots->slot[index].raw_bytes != c->raw_bytes)
        return false;
    slot_hold(slots, index);
    r->cached = slots;
    r->cached_index = index;
    r->job.run = copy_run_job;
    r->job.done = copy_done;
    env->ops->work(env, &r->job);
    return true;
}

/* Numbers of the manifest against the memory that there is. */
static bool fits(const struct chunk_read *r)
{
    uint32_t most = r->engine->chunk_bytes;
    const struct mf_location *l = location_of(r);
    uint32_t raw_bytes = r->manifest->chunk[r->chunk].raw_bytes;

    return raw_bytes <= most && l->payload_bytes <= most &&
           (l->codec != CODEC_RAW || l->payload_bytes == raw_bytes);
}

void chunk_read_begin(struct chunk_read *r)
{
    r->err = (struct err){0};
    r->result = 0;
    r->read_bytes = 0;
    r->is_remote = r->is_file_lost = r->is_bad_here = r->is_bad_there = false;
    if (!fits(r)) {
        r->result = err_set(&r->err, -CKPT_EVERSION,
                            "its chunk is larger than this daemon's (%u bytes)",
                            r->engine->chunk_bytes);
        name_place(r, r->engine->env->local_path);
        end_later(r);
        return;
    }
    assert(r->remote || !r->skip_local);
    if (r->skip_local)
        from_remote(r);
    else if (!from_memory(r))
        from_media(r);
}
