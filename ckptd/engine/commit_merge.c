/*
 * commit_merge.c - the votes of a save made one manifest, on a worker.
 *
 * Everything that goes in is fixed by the votes, the generation's record and
 * who merges: two lives of one committer write the same bytes, which matters
 * when parts of a large manifest are on record already. The job reads the
 * votes' bytes, which stay where they are while it runs, and writes only to
 * itself.
 */
#include "ckptd/engine/commit_internal.h"
#include "formats/divergence.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct commit_merge {
    struct env_job job;
    struct commit *c;
    struct ballot *ballot; /* bytes are the commit's */
    uint32_t count;
    struct manifest_info info;
    struct layout layout;
    char token[TOKEN_MAX + 1];
    char host[256];
    /* Out: */
    void *data;
    size_t bytes;
    int result;
    struct err err;
};

/* "raw 12, planes+lz4 3": chunks by codec. */
static void codecs_text(const struct manifest *votes, uint32_t count,
                        char *text, size_t capacity)
{
    uint64_t chunks[CODEC_LAST + 1] = {0};

    for (uint32_t i = 0; i < count; i++) {
        for (uint64_t k = 0; k < votes[i].location_count; k++)
            chunks[votes[i].location[k].codec]++; /* manifest_open() knows it */
    }
    (void)snprintf(text, capacity, "raw %" PRIu64 ", planes+lz4 %" PRIu64,
                   chunks[CODEC_RAW], chunks[CODEC_PLANES_LZ4]);
}

static int add_notes(struct manifest_builder *b, const struct commit_merge *m,
                     const struct manifest *votes)
{
    char codecs[96], created[32], parent[SAVE_ID_TEXT_BYTES] = "-";
    int rc;

    codecs_text(votes, m->count, codecs, sizeof codecs);
    (void)snprintf(created, sizeof created, "%" PRIu64,
                   m->info.created_unix_ms);
    if (m->info.parent.generation != 0)
        (void)save_id_format(&m->info.parent, parent);
    rc = manifest_add_note(b, "job", m->token);
    if (rc == 0)
        rc = manifest_add_note(b, "host", m->host);
    if (rc == 0)
        rc = manifest_add_note(b, "created_unix_ms", created);
    if (rc == 0)
        rc = manifest_add_note(b, "ckptd", CKPT_VERSION);
    if (rc == 0)
        rc = manifest_add_note(b, "parent", parent);
    if (rc == 0)
        rc = manifest_add_note(b, "codecs", codecs);
    return rc;
}

/* Ascending by daemon, so that who read which vote first does not matter. */
static int ballot_compare(const void *x, const void *y)
{
    const struct ballot *one = x, *two = y;

    return memcmp(one->daemon.b, two->daemon.b, sizeof one->daemon.b);
}

static int merge_votes(struct commit_merge *m, struct manifest *votes,
                       struct manifest_builder *b)
{
    int rc = 0;

    for (uint32_t i = 0; i < m->count && rc == 0; i++) {
        rc = manifest_open(m->ballot[i].data, m->ballot[i].bytes, &votes[i],
                           &m->err);
        if (rc == 0 && i == 0)
            m->info.chunk_bytes = votes[i].info.chunk_bytes;
        if (rc == 0)
            m->info.created_unix_ms =
                max_u64(m->info.created_unix_ms, votes[i].info.created_unix_ms);
    }
    if (rc == 0 && add_notes(b, m, votes) < 0)
        rc = err_set(&m->err, -ENOMEM, "no memory to merge the votes");
    for (uint32_t i = 0; i < m->count && rc == 0; i++)
        rc = manifest_add_vote(b, &votes[i], &m->err);
    return rc;
}

/* The notes on replicas and freshness, or the refusal. */
static int add_judgement(struct commit_merge *m, struct manifest_builder *b,
                         const struct judgement *j)
{
    char text[160];
    int failed = 0; /* every failure is want of memory */

    if (j->diverged_regions && j->must_fail_divergence)
        return err_set(&m->err, -CKPT_EDIVERGED, "replicas differ: %s",
                       j->divergence);
    if (j->is_stale && j->must_fail_stale)
        return err_set(&m->err, -CKPT_ESTALE, "%s", j->stale);
    if (j->compared_blocks || j->alone_blocks) {
        (void)snprintf(text, sizeof text,
                       "%" PRIu64 " blocks of %" PRIu64
                       " bytes compared, %" PRIu64 " differ, %" PRIu64
                       " had no other",
                       j->compared_blocks, j->compared_bytes,
                       j->diverged_blocks, j->alone_blocks);
        failed |= manifest_add_note(b, "replicas", text);
    }
    if (j->diverged_regions)
        failed |= manifest_add_note(b, COMMIT_NOTE_DIVERGENCE, j->divergence);
    if (j->is_stale)
        failed |= manifest_add_note(b, COMMIT_NOTE_STALE, j->stale);
    return failed ? err_set(&m->err, -ENOMEM, "no memory to merge the votes")
                  : 0;
}

static int judge_votes(struct commit_merge *m, const struct manifest *votes,
                       struct manifest_builder *b)
{
    struct judgement *j = calloc(1, sizeof *j);
    int rc;

    if (!j)
        return err_set(&m->err, -ENOMEM, "no memory to compare replicas");
    rc = judge(votes, m->count, j, &m->err);
    if (rc == 0)
        rc = add_judgement(m, b, j);
    free(j);
    return rc;
}

static void merge_run(struct env_job *job)
{
    struct commit_merge *m = container_of(job, struct commit_merge, job);
    struct manifest *votes = calloc(m->count, sizeof *votes);
    struct manifest_builder *b = manifest_builder_new();
    struct manifest whole;
    int rc;

    qsort(m->ballot, m->count, sizeof *m->ballot, ballot_compare);
    if (!votes || !b)
        rc = err_set(&m->err, -ENOMEM, "no memory to merge the votes");
    else
        rc = merge_votes(m, votes, b);
    if (rc == 0)
        rc = judge_votes(m, votes, b);
    if (rc == 0)
        rc = manifest_write(b, &m->info, &m->layout, &m->data, &m->bytes,
                            &m->err);
    if (rc == 0)
        rc = manifest_open(m->data, m->bytes, &whole, &m->err);
    if (rc == 0 && !is_left_out("check of coverage"))
        rc = manifest_coverage(&whole, &m->err);
    manifest_builder_free(b);
    free(votes);
    m->result = rc;
}

static void merge_end(struct env_job *job)
{
    struct commit_merge *m = container_of(job, struct commit_merge, job);
    struct commit *c = m->c;
    void *data = m->data;
    size_t bytes = m->bytes;
    struct err err = m->err;
    int result = m->result;

    free(m->ballot);
    free(m);
    state_of(c)->merge = NULL;
    if (result < 0) {
        free(data);
        data = NULL;
    }
    merge_done(c, result, data, bytes, &err);
}

static struct commit_merge *merge_new(struct commit *c)
{
    const struct commit_state *s = state_of(c);
    const struct catalog_generation *g =
        catalog_generation_at(&c->run->catalog, c->id.generation);
    struct commit_merge *m = calloc(1, sizeof *m);
    struct ballot *copy = calloc(s->ballot_count, sizeof *copy);

    assert(g);
    if (!m || !copy) {
        free(m);
        free(copy);
        return NULL;
    }
    memcpy(copy, s->ballot, s->ballot_count * sizeof *copy);
    m->ballot = copy;
    m->count = s->ballot_count;
    m->c = c;
    m->job.run = merge_run;
    m->job.done = merge_end;
    m->layout = g->record.layout;
    m->info = (struct manifest_info){
        .kind = MANIFEST_CHECKPOINT,
        .world_size = g->record.world_size,
        .run = c->run->catalog.uuid,
        .daemon = commit_env(c)->local_uuid,
        .id = c->id,
        .parent = g->record.parent,
    };
    memcpy(m->token, g->record.token, sizeof m->token);
    (void)snprintf(m->host, sizeof m->host, "%s", commit_env(c)->host);
    return m;
}

void merge_begin(struct commit *c)
{
    struct env *env = commit_env(c);
    struct commit_state *s = state_of(c);
    struct err err;

    if (c->run->home->engine->is_halted) { /* the next life decides */
        s->is_busy = false;
        return;
    }
    s->merge = merge_new(c);
    if (s->merge) {
        env->ops->work(env, &s->merge->job);
        return;
    }
    (void)err_set(&err, -ENOMEM, "no memory to merge the votes");
    merge_done(c, -ENOMEM, NULL, 0, &err);
}
