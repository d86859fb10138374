/*
 * save_reuse.c - the base of a save, and which of its chunks are referred to.
 *
 * The base is what `latest` means for this generation when the save begins: its
 * own highest commit, else its origin. It is fetched once for all saves that
 * have the same one, and held until they are over; saves_use_base() tells
 * retention. A chunk of it is referred to when the same rank had an equal
 * table, so that its place is the same, its content is equal, its file is in
 * this daemon's store, and at least half of its segment is still referred to;
 * chunks of emptier segments are written again, which is what frees those.
 *
 * Failures: a base that cannot be read is logged, and nothing is reused.
 */
#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/save_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct save_base {
    uint32_t references; /* saves, and the fetch while it is under way */
    struct run *run;
    struct save_id id;
    bool is_pending;
    struct held_manifest *held; /* NULL: pending, or could not be read */
    double *live;               /* share of each file, see segpool_live() */
};

static void base_put(struct save_base *b)
{
    if (!b || --b->references > 0)
        return;
    held_manifest_put(b->held);
    free(b->live);
    free(b);
}

static void use_by_parts(struct save *v)
{
    LIST_FOR_EACH (node, &v->parts) {
        struct save_part *p = container_of(node, struct save_part, link);

        if (p->phase != PART_ENDED)
            base_match(p);
        part_progress(p);
    }
}

static void on_fetched(void *arg, int result, struct held_manifest *held,
                       const struct err *err)
{
    struct save_base *b = arg;
    struct run *run = b->run;
    struct engine *e = run->home->engine;

    b->is_pending = false;
    b->held = held;
    if (held)
        b->live = calloc(held->manifest.file_count + 1, sizeof *b->live);
    if (b->live)
        segpool_live(e->pool, &held->manifest, b->live);
    else
        e->env->ops->log(e->env, LOG_LEVEL_WARN,
                         "run %s: nothing is reused of step %" PRIu64 ": %s",
                         run->name, b->id.step,
                         result ? err->text : "no memory");
    LIST_FOR_EACH (node, &run->saves) {
        struct save *v = container_of(node, struct save, link);

        if (v->base == b)
            use_by_parts(v);
    }
    base_put(b);
    pipeline_run(e);
}

static struct save_base *find_base(struct run *run, const struct save_id *id)
{
    LIST_FOR_EACH (node, &run->saves) {
        const struct save *v = container_of(node, struct save, link);

        if (v->base && save_id_compare(&v->base->id, id) == 0)
            return v->base;
    }
    return NULL;
}

void base_choose(struct save *v)
{
    const struct catalog *c = &v->run->catalog;
    const struct catalog_generation *newest = catalog_newest(c);
    struct save_id id = catalog_latest(c);
    const struct catalog_save *latest = catalog_find(c, &id);
    struct save_base *b;

    if (!latest || !newest || newest->record.generation != v->generation)
        return;
    /* What it refers to here is not there, or may be written over. */
    if (latest->is_lost || latest->is_damaged || latest->is_released)
        return;
    b = find_base(v->run, &id);
    if (b) {
        b->references++;
        v->base = b;
        return;
    }
    b = calloc(1, sizeof *b);
    if (!b)
        return; /* everything is written then */
    b->references = 2;
    b->run = v->run;
    b->id = id;
    b->is_pending = true;
    v->base = b;
    manifest_fetch(v->run, &id, on_fetched, b);
}

void base_drop(struct save *v)
{
    base_put(v->base);
    v->base = NULL;
}

bool base_is_pending(const struct save *v)
{
    return v->base && v->base->is_pending;
}

bool base_is_of(const struct save *v, const struct save_id *id)
{
    return v->base && v->phase != SAVE_DONE &&
           save_id_compare(&v->base->id, id) == 0;
}

const struct manifest *base_manifest(const struct save *v)
{
    return v->base && v->base->held ? &v->base->held->manifest : NULL;
}

void base_match(struct save_part *p)
{
    const struct save *v = p->save;
    const struct manifest *m = base_manifest(v);

    p->base_rank = -1;
    if (!m || !v->base->live || m->info.chunk_bytes != v->engine->chunk_bytes)
        return;
    for (uint64_t i = 0; i < m->rank_count; i++) {
        const struct mf_rank *r = &m->rank[i];

        if (r->rank == p->rank &&
            id_equal(&r->daemon, &v->engine->env->local_uuid) &&
            digest_equal(&r->table, &p->table->digest) &&
            r->chunk_count == p->written_count)
            p->base_rank = (int64_t)i;
    }
}

const struct mf_trust *base_trust(const struct save_part *p, struct save_id *id)
{
    const struct manifest *m = base_manifest(p->save);

    for (uint64_t i = 0; m && i < m->rank_count; i++) {
        if (m->rank[i].rank != p->rank)
            continue;
        *id = m->info.id;
        return digest_equal(&m->rank[i].table, &p->table->digest)
                   ? manifest_trust(m, p->rank)
                   : NULL;
    }
    return NULL;
}

int64_t base_find(struct save_part *p, uint32_t chunk,
                  const struct digest *content)
{
    const struct save *v = p->save;
    const struct manifest *m = base_manifest(v);
    const struct mf_chunk *c;
    uint64_t index;
    uint32_t file;

    if (p->base_rank < 0)
        return -1;
    index = m->rank[p->base_rank].first_chunk + chunk;
    c = &m->chunk[index];
    file = m->location[index].file;
    if (c->raw_bytes != p->table->list.chunk[chunk].raw_bytes ||
        !digest_equal(&c->content, content) ||
        !id_equal(&m->file[file].store, &v->engine->env->local_uuid) ||
        v->base->live[file] < SAVE_LIVE_MIN)
        return -1;
    return (int64_t)index;
}

void base_origin(const struct save *v, uint32_t chunk, struct id128 *segment,
                 uint32_t *number)
{
    const struct manifest *m = base_manifest(v);

    *segment = m->segment[m->chunk[chunk].segment].segment;
    *number = m->chunk[chunk].number;
}
