/*
 * save_vote.c - this daemon's vote: what its ranks hold, and where.
 *
 * Where ranks ask for it, their replicas are compared first (save_trust.c).
 * Every part is synced and nothing of it changes any more, so a worker reads
 * tables, write lists and outcomes while the engine goes on; the parts are not
 * let go before vote_built() was called. Chunks that are referred to keep their
 * birth segment, file and digests as the base has them.
 *
 * Failures: no memory, or two ranks that contradict each other
 * (-CKPT_ECONFLICT, both named): the save aborts.
 */
#include "ckptd/engine/save_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define FILE_NAME_BYTES 256

struct save_vote {
    struct env_job job;
    struct save *save;
    bool is_building;
    struct save_compare *compare; /* NULL: no part asks for it */
    struct manifest_info info;
    struct layout layout;
    struct id128 store;
    const char *host;
    void *data;
    size_t bytes;
    struct err err;
};

/* Names of the base's files, as strings: made when one is first used. */
struct file_names {
    const struct manifest *m;
    char (*name)[FILE_NAME_BYTES];
};

static const char *file_name(struct file_names *names, uint32_t file)
{
    const struct manifest *m = names->m;
    const struct mf_file *f = &m->file[file];

    if (!names->name)
        names->name = calloc(m->file_count, sizeof *names->name);
    if (!names->name || f->name_bytes >= FILE_NAME_BYTES)
        return NULL;
    memcpy(names->name[file], m->blob + f->name, f->name_bytes);
    return names->name[file];
}

static int fill_reused(struct file_names *names, uint64_t index,
                       struct built_chunk *out)
{
    const struct manifest *m = names->m;
    const struct mf_chunk *c = &m->chunk[index];
    const struct mf_location *l = &m->location[index];
    const struct mf_segment *segment = &m->segment[c->segment];

    *out = (struct built_chunk){
        .segment = segment->segment,
        .segment_store = segment->store,
        .file_store = m->file[l->file].store,
        .file_segment = m->file[l->file].segment,
        .file_name = file_name(names, l->file),
        .offset = l->offset,
        .number = c->number,
        .raw_bytes = c->raw_bytes,
        .payload_bytes = l->payload_bytes,
        .codec = l->codec,
        .codec_param = l->codec_param,
        .is_reused = true,
        .stored_digest = l->stored_digest,
        .content = c->content,
    };
    return out->file_name ? 0 : -ENOMEM;
}

static void fill_written(const struct save_part *p, uint32_t index,
                         const struct id128 *store, struct built_chunk *out)
{
    const struct part_chunk *c = &p->chunk[index];
    const struct part_segment *s = &p->segment[c->where];

    *out = (struct built_chunk){
        .segment = s->id,
        .segment_store = *store,
        .file_store = *store,
        .file_segment = s->id,
        .file_name = s->file,
        .offset = c->offset,
        .number = c->number,
        .raw_bytes = p->table->list.chunk[index].raw_bytes,
        .payload_bytes = c->payload_bytes,
        .codec = c->codec,
        .codec_param = c->codec_param,
        .stored_digest = c->stored_digest,
        .content = c->content,
    };
}

static int fill_chunks(const struct save_part *p, struct file_names *names,
                       const struct save_vote *vote, struct built_chunk *chunks)
{
    int rc = 0;

    for (uint32_t i = 0; !rc && i < p->written_count; i++) {
        if (p->chunk[i].is_reused)
            rc = fill_reused(names, p->chunk[i].where, &chunks[i]);
        else
            fill_written(p, i, &vote->store, &chunks[i]);
    }
    return rc;
}

static int add_chunks(struct manifest_builder *b, const struct save_part *p,
                      struct file_names *names, struct save_vote *vote)
{
    struct built_rank rank = {
        .rank = p->rank,
        .daemon = vote->store,
        .table = p->table->digest,
        .entries = p->table->table.entry,
        .entry_count = p->table->table.count,
        .list = &p->table->list,
    };
    struct built_chunk *chunks =
        calloc((size_t)p->written_count + 1, sizeof *chunks);
    struct built_check *checks = NULL;
    struct mf_trust trust;
    int rc = chunks ? fill_chunks(p, names, vote, chunks) : -ENOMEM;

    if (!rc && p->has_trust) {
        rc = part_trust_rows(vote->compare, p, &trust, &checks,
                             &rank.check_count);
        rank.trust = &trust;
        rank.checks = checks;
    }
    if (rc) {
        (void)err_set(&vote->err, rc, "no memory for the vote");
    } else {
        memcpy(rank.coordinate, p->coordinate, sizeof rank.coordinate);
        rank.chunks = chunks;
        rc = manifest_add_rank(b, &rank, &vote->err);
    }
    free(checks);
    free(chunks);
    return rc;
}

static int add_parts(struct manifest_builder *b, struct file_names *names,
                     struct save_vote *vote)
{
    int rc = 0;

    LIST_FOR_EACH (node, &vote->save->parts) {
        const struct save_part *p = container_of(node, struct save_part, link);

        rc = add_chunks(b, p, names, vote);
        for (size_t i = 0; !rc && i < p->values.count; i++)
            rc =
                manifest_add_value(b, p->rank, &p->values.value[i], &vote->err);
        if (rc)
            break;
    }
    return rc;
}

static void build_run(struct env_job *job)
{
    struct save_vote *vote = container_of(job, struct save_vote, job);
    struct manifest_builder *b = manifest_builder_new();
    struct file_names names = {.m = base_manifest(vote->save)};
    int rc = -ENOMEM;

    if (b && !manifest_add_note(b, "host", vote->host) &&
        !manifest_add_note(b, "writer", "ckptd " CKPT_VERSION)) {
        rc = add_parts(b, &names, vote);
        if (!rc)
            rc = manifest_write(b, &vote->info, &vote->layout, &vote->data,
                                &vote->bytes, &vote->err);
    } else {
        (void)err_set(&vote->err, rc, "no memory for the vote");
    }
    vote->err.code = rc;
    free(names.name);
    manifest_builder_free(b);
}

static void build_done(struct env_job *job)
{
    struct save_vote *vote = container_of(job, struct save_vote, job);

    vote->is_building = false;
    vote_built(vote->save, vote->err.code, &vote->err);
}

static bool asks_for_trust(const struct save *v)
{
    LIST_FOR_EACH (node, &v->parts)
        if (container_of(node, struct save_part, link)->has_trust)
            return true;
    return false;
}

int vote_build(struct save *v)
{
    struct env *env = v->engine->env;
    const struct catalog_generation *g =
        catalog_generation_at(&v->run->catalog, v->generation);
    struct save_vote *vote = calloc(1, sizeof *vote);

    if (!vote)
        return -ENOMEM;
    if (!g) {
        free(vote);
        return -ESTALE;
    }
    *vote = (struct save_vote){
        .job = {.run = build_run, .done = build_done},
        .save = v,
        .is_building = true,
        .info = {.kind = MANIFEST_VOTE,
                 .world_size = v->run->world_size,
                 .chunk_bytes = v->engine->chunk_bytes,
                 .run = v->run->catalog.uuid,
                 .daemon = env->local_uuid,
                 .id = v->id,
                 .parent = g->record.parent,
                 .created_unix_ms = env->ops->unix_ms(env)},
        .layout = g->record.layout,
        .store = env->local_uuid,
        .host = env->host,
    };
    v->vote = vote;
    if (!asks_for_trust(v)) {
        env->ops->work(env, &vote->job);
        return 0;
    }
    if (save_compare_begin(v, &vote->compare) == 0)
        return 0;
    vote_free(v);
    return -ENOMEM;
}

void vote_compared(struct save *v, int result)
{
    struct save_vote *vote = v->vote;
    struct env *env = v->engine->env;

    if (result == 0) {
        env->ops->work(env, &vote->job);
        return;
    }
    vote->is_building = false;
    (void)err_set(&vote->err, result, "no memory to compare replicas");
    vote_built(v, result, &vote->err);
}

bool vote_is_building(const struct save *v)
{
    return v->vote && v->vote->is_building;
}

void *vote_take(struct save *v, size_t *bytes)
{
    void *data = v->vote->data;

    *bytes = v->vote->bytes;
    v->vote->data = NULL;
    return data;
}

void vote_free(struct save *v)
{
    if (!v->vote)
        return;
    save_compare_free(v->vote->compare);
    free(v->vote->data);
    free(v->vote);
    v->vote = NULL;
}
