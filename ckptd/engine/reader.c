/*
 * reader.c - one chunk, verified. See reader.h.
 *
 *   memory: hold the slot -> copy and digest on a worker -> unhold
 *   media:  open the segment -> read the extent -> check, decode, digest on a
 *           worker -> done
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

/* Prefix r->err with where it happened. */
static void name_place(struct chunk_read *r, const char *root)
{
    const struct manifest *m = r->manifest;
    const struct mf_file *f = file_of(r);
    const char *tensor;
    uint32_t bytes;

    name_tensor(r, &tensor, &bytes);
    (void)err_prefix(&r->err,
                     "step %" PRIu64
                     ", rank %u, tensor %.*s: %s/%.*s at %" PRIu64
                     " (chunk %u)",
                     m->info.id.step, m->chunk[r->chunk].rank, (int)bytes,
                     tensor, root, (int)f->name_bytes, m->blob + f->name,
                     location_of(r)->offset, m->chunk[r->chunk].number);
}

static void read_end(struct chunk_read *r)
{
    if (r->segment)
        segpool_put(r->segment);
    r->segment = NULL;
    r->done(r, r->result);
}

/*
 * Media.
 */

static void check_run(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);
    const struct mf_chunk *c = &r->manifest->chunk[r->chunk];
    uint8_t *raw = (uint8_t *)r->slot + PAGE_BYTES;
    struct chunk_header want;
    struct digest content;

    manifest_chunk_header(r->manifest, r->chunk, &want);
    if (!is_left_out("digest of a chunk"))
        r->result = chunk_check(extent_target(r), extent_of(r), &want, &r->err);
    if (r->result || r->as_stored || want.codec == CODEC_RAW)
        return;
    r->result = codec_decode(
        want.codec, want.codec_param, (uint8_t *)r->buffer[0] + PAGE_BYTES,
        want.payload_bytes, raw, c->raw_bytes, r->buffer[1]);
    if (r->result) {
        (void)err_set(&r->err, r->result, "its payload does not decode");
        return;
    }
    content = hash_128(raw, c->raw_bytes);
    if (!digest_equal(&content, &c->content) &&
        !is_left_out("digest of what was decoded"))
        r->result = err_set(&r->err, -CKPT_ECORRUPT,
                            "decoded bytes do not match their digest");
}

static void check_done(struct env_job *job)
{
    struct chunk_read *r = container_of(job, struct chunk_read, job);

    if (r->result)
        name_place(r, r->engine->env->local_path);
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
    read_end(req->owner);
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
        read_end(r);
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
        name_place(r, env->local_path);
        read_end(r);
        return;
    }
    r->read_bytes = extent_of(r);
    r->job.run = check_run;
    r->job.done = check_done;
    env->ops->work(env, &r->job);
}

static void nothing_run(struct env_job *job)
{
    (void)job;
}

static void failed_done(struct env_job *job)
{
    read_end(container_of(job, struct chunk_read, job));
}

/* Fail, but not from inside the call that began it. */
static void fail_later(struct chunk_read *r, int result, const struct err *err)
{
    struct env *env = r->engine->env;

    r->err = *err;
    r->result = result;
    name_place(r, env->local_path);
    r->job.run = nothing_run;
    r->job.done = failed_done;
    env->ops->work(env, &r->job);
}

static void segment_open(void *arg, int result, struct segment *segment,
                         const struct err *err)
{
    struct chunk_read *r = arg;
    struct env *env = r->engine->env;
    struct err gone;

    if (result == -ENOENT) { /* for a load that code is a missing tensor */
        (void)err_set(&gone, -EIO, "its segment is gone");
        fail_later(r, gone.code, &gone);
        return;
    }
    if (result) {
        fail_later(r, result, err);
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
    struct err err;

    if (!id_equal(&f->store, &r->engine->env->local_uuid)) {
        (void)manifest_elsewhere(r->manifest, (uint32_t)(f - r->manifest->file),
                                 -EIO, &err);
        fail_later(r, err.code, &err);
        return;
    }
    if (f->name_bytes >= sizeof r->file) {
        (void)err_set(&err, -CKPT_ECORRUPT, "file name too long");
        fail_later(r, err.code, &err);
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
    struct err err;

    r->err = (struct err){0};
    r->result = 0;
    r->read_bytes = 0;
    if (!fits(r)) {
        (void)err_set(&err, -CKPT_EVERSION,
                      "its chunk is larger than this daemon's (%u bytes)",
                      r->engine->chunk_bytes);
        fail_later(r, err.code, &err);
        return;
    }
    if (!from_memory(r))
        from_media(r);
}
