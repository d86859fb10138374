/*
 * segpool.c - the segments of the local store: states and references.
 *
 * Happy path: segpool_open() reads every header (segpool_scan.c), attaching a
 * run adds the references of its manifests, segpool_run_known() then frees
 * what nothing references; writers (seg_writer.c) take FREE segments or new
 * ones and leave them HELD; retention releases a save's references and
 * settling frees, trims and unlinks.
 *
 * Failures: an unlink that fails is logged and tried again at the next
 * settling. Nothing here ever frees a segment of a run that is not known.
 * Shutdown: segpool_close() once no request of the pool is under way.
 */
#include "ckptd/engine/segpool_internal.h"

#include "common/array.h"
#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const bool allowed[SEGMENT_STATES][SEGMENT_STATES] = {
    [SEGMENT_UNKNOWN] = {[SEGMENT_FREE] = true, [SEGMENT_HELD] = true},
    [SEGMENT_FREE] = {[SEGMENT_TAKEN] = true, [SEGMENT_HELD] = true},
    [SEGMENT_TAKEN] = {[SEGMENT_HELD] = true,
                       [SEGMENT_FREE] = true,
                       [SEGMENT_POISONED] = true},
    [SEGMENT_HELD] = {[SEGMENT_FREE] = true, [SEGMENT_POISONED] = true},
};

void segment_move(struct segment *s, enum segment_state to)
{
    assert(allowed[s->state][to]);
    s->state = to;
}

void segment_file(char file[SEGMENT_FILE_BYTES], uint32_t number)
{
    (void)snprintf(file, SEGMENT_FILE_BYTES, "seg/%06" PRIu32, number);
}

static uint32_t bucket_of(uint32_t number)
{
    return number & (SEGMENT_BUCKETS - 1);
}

struct segment *segment_new(struct segpool *pool, uint32_t number)
{
    struct segment **bucket = &pool->bucket[bucket_of(number)];
    struct segment *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->pool = pool;
    s->number = number;
    segment_file(s->file, number);
    list_init(&s->waiting);
    s->hash_next = *bucket;
    *bucket = s;
    list_append(&pool->segments, &s->link);
    if (number >= pool->next_number)
        pool->next_number = number + 1;
    return s;
}

static void segment_free(struct segment *s)
{
    struct segment **at = &s->pool->bucket[bucket_of(s->number)];

    while (*at != s)
        at = &(*at)->hash_next;
    *at = s->hash_next;
    list_remove(&s->link);
    assert(!list_is_linked(&s->idle_link) && list_is_empty(&s->waiting));
    free(s->ref);
    free(s);
}

struct segment *segment_by_file(const struct segpool *pool, const char *file,
                                size_t bytes)
{
    char name[SEGMENT_FILE_BYTES];
    struct segment *s;

    if (bytes < sizeof "seg/" || bytes >= sizeof name)
        return NULL;
    memcpy(name, file, bytes);
    name[bytes] = '\0';
    s = pool->bucket[bucket_of((uint32_t)strtoul(name + 4, NULL, 10))];
    while (s && strcmp(s->file, name) != 0)
        s = s->hash_next;
    return s;
}

static bool ref_is(const struct segment_ref *ref, const struct id128 *run,
                   const struct save_id *save)
{
    return id_equal(&ref->run, run) && save_id_compare(&ref->save, save) == 0;
}

int segment_ref_add(struct segment *s, const struct id128 *run,
                    const struct save_id *save, const struct id128 *segment)
{
    struct segment_ref *grown;

    for (size_t i = 0; i < s->ref_count; i++)
        if (ref_is(&s->ref[i], run, save))
            return 0;
    grown = array_room(s->ref, s->ref_count, &s->ref_capacity, sizeof *grown);
    if (!grown)
        return -ENOMEM;
    s->ref = grown;
    s->ref[s->ref_count++] = (struct segment_ref){*run, *save, *segment};
    return 0;
}

bool segpool_knows_run(const struct segpool *pool, const struct id128 *run)
{
    for (size_t i = 0; i < pool->known_count; i++)
        if (id_equal(&pool->known_run[i], run))
            return true;
    return false;
}

/*
 * Closing and unlinking.
 */

struct own_req {
    struct store_req req;
    struct segpool *pool;
    struct segment *segment;
};

static struct own_req *own_new(struct segment *s, enum store_op op)
{
    struct own_req *o = calloc(1, sizeof *o);

    if (!o)
        return NULL;
    o->pool = s->pool;
    o->segment = s;
    o->req.op = op;
    o->req.name = s->file;
    o->req.seg = s->seg;
    o->req.owner = o;
    return o;
}

static void handle_closed(struct store_req *req, int64_t result)
{
    struct segment *s = req->owner;
    struct segpool *pool = s->pool;

    (void)result; /* the descriptor is gone either way */
    s->seg = NULL;
    s->is_closing = false;
    segment_known(s);
    segment_settle(s);
    pool->pending--;
    seg_reserve_squeezed(pool);
}

void segment_drop_handle(struct segment *s)
{
    if (!s->seg || s->reader_count || s->is_closing || s->is_sharing ||
        s->state == SEGMENT_TAKEN)
        return;
    if (list_is_linked(&s->idle_link)) {
        list_remove(&s->idle_link);
        s->pool->idle_count--;
    }
    s->is_closing = true;
    s->close = (struct store_req){.op = STORE_SEG_CLOSE,
                                  .seg = s->seg,
                                  .done = handle_closed,
                                  .owner = s};
    s->pool->pending++;
    store_submit(s->pool->env->local, &s->close);
}

static void unlinked(struct store_req *req, int64_t result)
{
    struct own_req *o = req->owner;
    struct segpool *pool = o->pool;
    struct segment *s = o->segment;

    s->is_unlinking = false;
    if (result == 0 || result == -ENOENT)
        segment_free(s);
    else
        pool->env->ops->log(pool->env, LOG_LEVEL_WARN,
                            "cannot unlink %s/%s: %s", pool->env->local_path,
                            s->file, err_text((int)result));
    free(o);
    pool->pending--;
    seg_reserve_squeezed(pool);
}

void segment_unlink(struct segment *s)
{
    struct own_req *o;

    if (s->is_unlinking || s->seg || s->reader_count || s->is_opening ||
        !list_is_empty(&s->waiting))
        return;
    o = own_new(s, STORE_SEG_REMOVE);
    if (!o)
        return;
    s->is_unlinking = true;
    o->req.done = unlinked;
    s->pool->pending++;
    store_submit(s->pool->env->local, &o->req);
}

/*
 * Settling.
 */

static bool is_spare(const struct segment *s)
{
    return s->state == SEGMENT_FREE && !s->is_unlinking;
}

/* Whether it can be used or unlinked now and could not before. */
static bool settle_one(struct segment *s)
{
    enum segment_state was = s->state;

    if (s->state == SEGMENT_HELD && s->ref_count == 0 && !s->reader_count &&
        segpool_knows_run(s->pool, &s->run))
        segment_move(s, s->is_doomed ? SEGMENT_POISONED : SEGMENT_FREE);
    if (s->state == SEGMENT_FREE || s->state == SEGMENT_POISONED)
        segment_drop_handle(s);
    if (s->state == SEGMENT_POISONED)
        segment_unlink(s);
    return s->state == SEGMENT_FREE && (was != SEGMENT_FREE || !s->seg);
}

static uint64_t spare_total(const struct segpool *pool)
{
    uint64_t total = 0;

    LIST_FOR_EACH (node, &pool->segments) {
        const struct segment *s = container_of(node, struct segment, link);

        if (is_spare(s))
            total += s->size_bytes;
    }
    return total;
}

static void trim(struct segpool *pool)
{
    uint64_t keep_bytes =
        list_is_empty(&pool->squeezers) ? pool->spare_bytes : 0;
    uint64_t total = spare_total(pool);

    LIST_FOR_EACH (node, &pool->segments) {
        struct segment *s = container_of(node, struct segment, link);

        if (total <= keep_bytes)
            return;
        if (!is_spare(s))
            continue;
        segment_unlink(s);
        if (s->is_unlinking)
            total -= s->size_bytes;
    }
}

void segpool_settle(struct segpool *pool)
{
    LIST_FOR_EACH (node, &pool->segments)
        (void)settle_one(container_of(node, struct segment, link));
    trim(pool);
}

void segment_settle(struct segment *s)
{
    if (settle_one(s))
        trim(s->pool);
}

/*
 * References.
 */

/* 0: the file is what a manifest names; SEGPOOL_UNJUDGED: it may turn out to be
 * that; else in what way it is gone. */
static int judge(const struct segpool *pool, const struct segment *s,
                 const struct manifest *m, const struct mf_file *f,
                 struct err *err)
{
    const char *name = m->blob + f->name;
    int bytes = (int)f->name_bytes;

    if (!s || s->is_unlinking)
        return err_set(err, -ENOENT,
                       "step %" PRIu64 " refers to segment %s/%.*s, which is "
                       "not there",
                       m->info.id.step, pool->env->local_path, bytes, name);
    if (s->state == SEGMENT_UNKNOWN && s->unread)
        return err_set(err, -CKPT_ECORRUPT,
                       "step %" PRIu64 " refers to segment %s/%.*s, whose "
                       "header cannot be read: %s",
                       m->info.id.step, pool->env->local_path, bytes, name,
                       err_text(s->unread));
    if (s->state == SEGMENT_UNKNOWN)
        return SEGPOOL_UNJUDGED;
    if (s->state == SEGMENT_POISONED ||
        (!id_equal(&s->id, &f->segment) && !is_left_out("incarnation")))
        return err_set(err, -CKPT_ECORRUPT,
                       "step %" PRIu64 " refers to segment %s/%.*s, which "
                       "holds another incarnation by now",
                       m->info.id.step, pool->env->local_path, bytes, name);
    return 0;
}

/* Takes one file of `m`; as segpool_commit(). */
static int file_commit(const struct segpool *pool, const struct id128 *run,
                       const struct manifest *m, const struct mf_file *f,
                       struct err *err)
{
    struct segment *s = segment_by_file(pool, m->blob + f->name, f->name_bytes);
    int rc = judge(pool, s, m, f, err);

    /* What could not be read may be read after all some day. */
    if (rc < 0 && (!s || s->state != SEGMENT_UNKNOWN))
        return rc;
    if (segment_ref_add(s, run, &m->info.id, &f->segment) < 0)
        return err_set(err, -ENOMEM, "no memory to note its segments");
    if (s->state == SEGMENT_FREE)
        segment_move(s, SEGMENT_HELD);
    return rc;
}

int segpool_commit(struct segpool *pool, const struct id128 *run,
                   const struct manifest *m, struct err *err)
{
    bool is_unjudged = false;
    int gone = 0;

    for (uint64_t i = 0; i < m->file_count; i++) {
        const struct mf_file *f = &m->file[i];
        struct err why;
        int rc;

        if (!id_equal(&f->store, &pool->env->local_uuid))
            continue;
        rc = file_commit(pool, run, m, f, &why);
        is_unjudged = is_unjudged || rc == SEGPOOL_UNJUDGED;
        if (rc >= 0 || (gone && segpool_has_lost(rc)))
            continue;
        *err = why;
        if (!segpool_has_lost(rc))
            return rc;
        gone = rc; /* what is left of it is kept all the same */
    }
    if (gone)
        return gone;
    return is_unjudged ? SEGPOOL_UNJUDGED : 0;
}

void segment_refs_judge(struct segment *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->ref_count; i++) {
        const struct segment_ref *ref = &s->ref[i];
        char id[SAVE_ID_TEXT_BYTES];

        if (id_equal(&ref->segment, &s->id)) {
            s->ref[kept++] = *ref;
            continue;
        }
        s->pool->env->ops->log(s->pool->env, LOG_LEVEL_ERROR,
                               "save %s refers to segment %s/%s, which holds "
                               "another incarnation by now",
                               save_id_format(&ref->save, id),
                               s->pool->env->local_path, s->file);
    }
    s->ref_count = kept;
}

void segpool_release(struct segpool *pool, const struct id128 *run,
                     const struct save_id *id)
{
    LIST_FOR_EACH (node, &pool->segments) {
        struct segment *s = container_of(node, struct segment, link);

        for (size_t i = 0; i < s->ref_count; i++)
            if (ref_is(&s->ref[i], run, id)) {
                s->ref[i] = s->ref[--s->ref_count];
                break;
            }
    }
    segpool_settle(pool);
}

void segpool_run_known(struct segpool *pool, const struct id128 *run)
{
    struct id128 *grown;

    if (segpool_knows_run(pool, run))
        return;
    grown = array_room(pool->known_run, pool->known_count,
                       &pool->known_capacity, sizeof *grown);
    if (!grown)
        return; /* its segments stay held: safe, and said by stats */
    pool->known_run = grown;
    pool->known_run[pool->known_count++] = *run;
    segpool_settle(pool);
}

void segpool_live(const struct segpool *pool, const struct manifest *m,
                  double *live)
{
    for (uint64_t i = 0; i < m->file_count; i++)
        live[i] = 0;
    for (uint64_t i = 0; i < m->location_count; i++)
        live[m->location[i].file] +=
            (double)chunk_extent_bytes(m->location[i].payload_bytes);
    for (uint64_t i = 0; i < m->file_count; i++) {
        const struct mf_file *f = &m->file[i];
        const struct segment *s =
            segment_by_file(pool, m->blob + f->name, f->name_bytes);

        if (s && s->size_bytes && id_equal(&s->id, &f->segment) &&
            id_equal(&f->store, &pool->env->local_uuid))
            live[i] /= (double)s->size_bytes;
        else
            live[i] = 0;
    }
}

void segpool_stats(const struct segpool *pool, struct segpool_stats *out)
{
    *out = (struct segpool_stats){0};
    LIST_FOR_EACH (node, &pool->segments) {
        const struct segment *s = container_of(node, struct segment, link);

        out->count[s->state]++;
        out->allocated_bytes += s->size_bytes;
        if (s->state == SEGMENT_FREE)
            out->free_bytes += s->size_bytes;
        if (s->state == SEGMENT_POISONED)
            out->poisoned_bytes += s->size_bytes;
        if (s->ref_count)
            out->referenced_bytes += s->used_bytes;
        else if (s->state == SEGMENT_HELD && !segpool_knows_run(pool, &s->run))
            out->unopened_bytes += s->size_bytes;
    }
}

bool segpool_is_busy(const struct segpool *pool)
{
    return pool && pool->pending > 0;
}

void segpool_close(struct segpool *pool)
{
    if (!pool)
        return;
    assert(pool->pending == 0);
    LIST_FOR_EACH_SAFE (node, after, &pool->segments) {
        struct segment *s = container_of(node, struct segment, link);

        assert(s->state != SEGMENT_TAKEN && s->reader_count == 0 && !s->seg);
        segment_free(s);
    }
    free(pool->known_run);
    free(pool);
}
