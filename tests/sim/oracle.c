/*
 * oracle.c - what must be true, known without asking the engine.
 *
 * It sees three things: what ranks hand over, every record of the home as it
 * appears, becomes durable and is lost, and every message from an engine at the
 * moment when it is sent. Nothing is judged by what an engine thinks.
 *
 * I1, I3: what is told COMMITTED is durable, and so are the bytes of all its
 * ranks; a job resumes from what `latest` meant; what is told COMMITTED is not
 * passed over, and is read at the end of every seed; what is REMOTE by then
 * once more after all drives are lost.
 *
 * I2: every byte of every load (rank_load.c).
 *
 * I4: deadlines (rank.c), and words that name what failed.
 *
 * I5: one generation, one parent, one loaded save for all ranks.
 */
#include "tests/sim/oracle.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct saw *saw_of(struct oracle *o, const struct save_id *id)
{
    for (size_t i = o->saw_count; i > 0; i--)
        if (save_id_compare(&o->saw[i - 1].id, id) == 0)
            return &o->saw[i - 1];
    if (o->saw_count == o->saw_capacity) {
        o->saw_capacity = 2 * o->saw_capacity + 32;
        o->saw = realloc(o->saw, o->saw_capacity * sizeof *o->saw);
        assert(o->saw);
    }
    o->saw[o->saw_count] = (struct saw){.id = *id};
    return &o->saw[o->saw_count++];
}

static struct gen *gen_of(struct oracle *o, uint32_t generation)
{
    if (generation >= o->gen_count) {
        size_t count = generation + 1u;

        o->gen = realloc(o->gen, count * sizeof *o->gen);
        assert(o->gen);
        memset(o->gen + o->gen_count, 0,
               (count - o->gen_count) * sizeof *o->gen);
        o->gen_count = count;
    }
    return &o->gen[generation];
}

/*
 * Records.
 */

static const char *after(const char *name, const char *prefix)
{
    size_t bytes = strlen(prefix);

    return strncmp(name, prefix, bytes) == 0 ? name + bytes : NULL;
}

/* The bytes of all ranks must have been there before it, and nobody may have
 * gone on from something else. */
static void check_commit(struct sim *s, const struct saw *a)
{
    const struct gen *g = gen_of(s->oracle, a->id.generation);
    char id[SIM_ID_BYTES];

    for (size_t i = a->id.generation + 1u; i < s->oracle->gen_count; i++)
        if (s->oracle->gen[i].is_durable)
            sim_violation(s,
                          "I3: save %s is committed, and generation %zu had "
                          "gone on already",
                          sim_id(&a->id, id), i);
    if (a->is_told_aborted &&
        (!a->told_life || s->node[a->told_node].lives == a->told_life))
        sim_violation(s, "I1: save %s was told aborted, and is committed now",
                      sim_id(&a->id, id));
    for (uint32_t i = 0; i < g->world_size; i++)
        if (!(a->handed & (uint64_t)1 << i))
            sim_violation(s,
                          "I1: save %s is committed, but rank %u has not "
                          "handed over all its bytes",
                          sim_id(&a->id, id), i);
}

static void decision_news(struct sim *s, enum disk_news news,
                          const struct disk_record *r)
{
    struct record_decision d;
    struct err err;
    struct saw *a;
    char id[SIM_ID_BYTES];

    if (record_decision_decode(r->data, r->bytes, &d, &err)) {
        sim_violation(s, "%s does not decode: %s", r->name, err.text);
        return;
    }
    a = saw_of(s->oracle, &d.id);
    if (a->is_removed) /* what comes under its name now does not count */
        return;
    if (a->durable && (a->durable != d.decision || news == DISK_LOST))
        sim_violation(s, "I1: save %s was decided, and is decided anew",
                      sim_id(&d.id, id));
    a->seen = news == DISK_LOST ? 0 : d.decision;
    if (news == DISK_SEEN && d.decision == DECISION_COMMIT)
        check_commit(s, a);
    if (news != DISK_DURABLE)
        return;
    a->durable = d.decision;
    s->stats.committed += d.decision == DECISION_COMMIT;
    s->stats.aborted += d.decision == DECISION_ABORT;
}

static struct sim_job *job_by_token(struct sim *s, const char *token)
{
    LIST_FOR_EACH (node, &s->jobs) {
        struct sim_job *j = container_of(node, struct sim_job, link);

        if (strcmp(j->token, token) == 0)
            return j;
    }
    return NULL;
}

/* A generation stands on what its job asked for. */
static void check_parent(struct sim *s, const struct record_generation *g)
{
    const struct sim_job *j = job_by_token(s, g->token);
    struct oracle *o = s->oracle;
    const struct saw *a = g->parent.generation ? saw_of(o, &g->parent) : NULL;
    char id[SIM_ID_BYTES];

    (void)sim_id(&g->parent, id);
    if (!j) {
        sim_violation(s, "generation %u is nobody's", g->generation);
        return;
    }
    if (a && a->seen != DECISION_COMMIT)
        sim_violation(s, "I1: generation %u stands on %s, not committed",
                      g->generation, id);
    if (j->resume == WIRE_RESUME_NONE && a)
        sim_violation(s, "generation %u is to be fresh and stands on %s",
                      g->generation, id);
    if (j->resume == WIRE_RESUME_STEP &&
        (g->parent.step != j->resume_step ||
         g->parent.generation != j->resume_generation))
        sim_violation(s, "generation %u stands on %s, not on what was asked",
                      g->generation, id);
    if (j->resume == WIRE_RESUME_LATEST && g->generation > 1 &&
        !oracle_was_latest(o, gen_of(o, g->generation - 1), &g->parent))
        sim_violation(s, "I3: generation %u stands on %s, which was not latest",
                      g->generation, id);
}

static void gen_news(struct sim *s, enum disk_news news,
                     const struct disk_record *r)
{
    struct record_generation v;
    struct err err;
    struct gen *g;

    if (record_generation_decode(r->data, r->bytes, &v, &err)) {
        sim_violation(s, "%s does not decode: %s", r->name, err.text);
        return;
    }
    g = gen_of(s->oracle, v.generation);
    if (news == DISK_LOST) {
        if (g->is_durable)
            sim_violation(s, "generation %u is lost", v.generation);
        *g = (struct gen){0};
        return;
    }
    if (news == DISK_SEEN)
        check_parent(s, &v);
    g = gen_of(s->oracle, v.generation);
    g->generation = v.generation;
    g->world_size = v.world_size;
    g->parent = v.parent;
    if (g->origin_load == 0)
        g->origin = v.parent;
    (void)snprintf(g->token, sizeof g->token, "%s", v.token);
    g->is_durable = news == DISK_DURABLE;
}

/* "GEN.K" */
static void load_news(struct sim *s, enum disk_news news,
                      const struct disk_record *r, const char *rest)
{
    struct record_load v;
    struct err err;
    uint32_t generation, k;
    struct gen *g;

    if (strlen(rest) > 20 || news == DISK_LOST)
        return; /* a daemon's vote */
    if (sscanf(rest, "%" SCNu32 ".%" SCNu32, &generation, &k) != 2 ||
        record_load_decode(r->data, r->bytes, &v, &err))
        return;
    g = gen_of(s->oracle, generation);
    if (v.outcome != LOAD_VERIFIED || k < g->origin_load)
        return;
    g->origin_load = k;
    if (v.id.generation < generation)
        g->origin = v.id;
}

/* Nothing is removed but behind a newer one that was read back. */
static void check_tomb(struct sim *s, const struct save_id *id)
{
    struct oracle *o = s->oracle;
    char name[RECORD_NAME_BYTES], text[SIM_ID_BYTES];

    for (size_t i = 0; i < o->saw_count; i++) {
        const struct saw *a = &o->saw[i];
        const struct disk_record *r;

        if (a->durable != DECISION_COMMIT || a->is_removed ||
            save_id_compare(&a->id, id) <= 0)
            continue;
        r = disk_record(s->home, name_save(name, SIM_RUN, "verified", &a->id));
        if (r) /* that it was read back stays true if the mark is lost */
            return;
    }
    sim_violation(s, "I3: %s is removed, and nothing newer was read back",
                  sim_id(id, text));
}

static void tell_moment(struct sim *s, const char *name)
{
    static const char *const folders[] = {"closed/",   "gen/",      "intent/",
                                          "vote/",     "decision/", "load/",
                                          "verified/", "tomb/"};

    for (uint32_t i = 0; i < ARRAY_LEN(folders); i++)
        if (after(name, folders[i]))
            faults_moment(s, MOMENT_CLOSED + i);
}

void oracle_news(struct sim *s, enum disk_news news,
                 const struct disk_record *r)
{
    const char *name = after(r->name, "runs/" SIM_RUN "/"), *rest;
    struct oracle *o = s->oracle;
    struct save_id id;
    uint32_t generation;

    if (!name)
        return;
    if (news == DISK_SEEN)
        tell_moment(s, name);
    if (after(name, "decision/"))
        decision_news(s, news, r);
    else if (after(name, "gen/"))
        gen_news(s, news, r);
    else if ((rest = after(name, "load/")))
        load_news(s, news, r, rest);
    rest = after(name, "tomb/");
    if (rest && news == DISK_SEEN && save_id_parse(rest, &id, NULL) == 0) {
        check_tomb(s, &id);
        saw_of(o, &id)->is_removed = true;
    }
    rest = after(name, "closed/");
    if (rest && news == DISK_SEEN &&
        sscanf(rest, "%" SCNu32, &generation) == 1) {
        oracle_note_latest(o);
        gen_of(o, generation)->closed_at =
            o->latest_count > 0 ? o->latest_count - 1 : 0;
    }
    oracle_note_latest(o);
}

/*
 * Messages, as they are sent.
 */

static void sent_open_ok(struct sim *s, const struct sim_rank *r,
                         const struct wire_open_ok *v)
{
    const struct gen *g = gen_of(s->oracle, v->generation);

    if (!g->is_durable || strcmp(g->token, r->job->token) != 0 ||
        save_id_compare(&g->parent, &v->parent) != 0)
        sim_violation(s,
                      "I5: job %u rank %u joins generation %u, which is not on "
                      "record so",
                      r->job->number, r->rank, v->generation);
}

static void count(void *arg, const struct disk_record *r)
{
    (void)r;
    ++*(uint32_t *)arg;
}

/* All daemons' votes are on record, or were: retention takes them. */
static void check_local(struct sim *s, const struct save_id *id)
{
    char name[RECORD_NAME_BYTES], text[SIM_ID_BYTES];
    uint32_t votes = 0;

    disk_each(s->home, name_save(name, SIM_RUN, "vote", id), count, &votes);
    if (votes < s->plan.nodes && !saw_of(s->oracle, id)->seen)
        sim_violation(s, "save %s is told local with %u votes of %u",
                      sim_id(id, text), votes, s->plan.nodes);
}

/* A daemon that has not voted may tell of an ABORT that it cannot put on record
 * now: it does not vote, so that there is no COMMIT as long as it lives. */
static void sent_state(struct sim *s, const struct sim_rank *r,
                       const struct wire_state *v)
{
    struct saw *a;
    char id[SIM_ID_BYTES];

    if (v->id.attempt == 0)
        return;
    a = saw_of(s->oracle, &v->id);
    (void)sim_id(&v->id, id);
    if (v->state == WIRE_STATE_COMMITTED) {
        if (a->durable != DECISION_COMMIT)
            sim_violation(s, "I1: save %s is told committed and is not", id);
        a->is_told_committed = true;
    }
    if (v->state == WIRE_STATE_LOCAL)
        check_local(s, &v->id);
    if (v->state != WIRE_STATE_ABORTED)
        return;
    if (v->code >= 0 || !v->text[0])
        sim_violation(s, "I4: save %s is told aborted by %d '%s'", id, v->code,
                      v->text);
    if (v->code == -CKPT_ECONFLICT || v->code == -ESTALE)
        return; /* this attempt of somebody's never was */
    if (a->seen == DECISION_COMMIT)
        sim_violation(s, "I1: save %s is told aborted and is committed", id);
    if (a->seen == DECISION_ABORT || !a->is_told_aborted)
        a->told_life = a->seen == DECISION_ABORT ? 0 : r->node->lives;
    a->told_node = r->node->index;
    a->is_told_aborted = true;
}

static void sent_load_done(struct sim *s, const struct sim_rank *r,
                           const struct wire_load_done *v)
{
    struct gen *g = gen_of(s->oracle, r->generation);
    char one[SIM_ID_BYTES], other[SIM_ID_BYTES];

    if (r->load.id.generation || v->code)
        return;
    if (g->is_load_told && save_id_compare(&g->loaded, &v->id) != 0)
        sim_violation(s, "I5: ranks of generation %u have loaded %s and %s",
                      r->generation, sim_id(&g->loaded, one),
                      sim_id(&v->id, other));
    if (g->origin_load == 0 || save_id_compare(&g->origin, &v->id) != 0)
        sim_violation(s, "I5: generation %u is told %s is loaded, off record",
                      r->generation, sim_id(&v->id, one));
    g->is_load_told = true;
    g->loaded = v->id;
}

void oracle_sent(struct sim *s, const struct sim_rank *r,
                 const struct wire_header *h, const uint8_t *payload)
{
    struct wire_open_ok open_ok;
    struct wire_state state;
    struct wire_load_done done;

    if (h->type == WIRE_OPEN_OK &&
        wire_open_ok_decode(payload, h->length, &open_ok) == 0)
        sent_open_ok(s, r, &open_ok);
    if (h->type == WIRE_STATE &&
        wire_state_decode(payload, h->length, &state) == 0)
        sent_state(s, r, &state);
    if (h->type == WIRE_LOAD_DONE &&
        wire_load_done_decode(payload, h->length, &done) == 0)
        sent_load_done(s, r, &done);
}

/*
 * What ranks do and hear.
 */

void oracle_handed(struct sim *s, const struct sim_rank *r,
                   const struct save_id *id)
{
    saw_of(s->oracle, id)->handed |= (uint64_t)1 << r->rank;
}

void oracle_committed(struct sim *s, const struct sim_rank *r,
                      const struct save_id *id)
{
    struct saw *a = saw_of(s->oracle, id);

    (void)r;
    s->oracle->commits += !a->is_heard_committed;
    a->is_heard_committed = true;
}

void oracle_aborted(struct sim *s, const struct sim_rank *r,
                    const struct save_id *id, int code, const char *text)
{
    const struct saw *a = saw_of(s->oracle, id);
    char one[SIM_ID_BYTES];

    if (code == -CKPT_ECONFLICT || code == -ESTALE)
        return;
    if (a->durable == DECISION_COMMIT && !a->is_removed)
        sim_violation(s,
                      "I1: job %u rank %u hears that save %s is lost (%d %s), "
                      "but it is committed",
                      r->job->number, r->rank, sim_id(id, one), code, text);
}

/* -EIO may be the home's, which passes; who passes a save over for it is found
 * by oracle_passed_over(). */
static bool is_checkpoints(int code)
{
    return code == -CKPT_ECORRUPT || code == -ENOENT ||
           code == -CKPT_EVERSION || code == -CKPT_EPARTIAL ||
           code == -CKPT_ESHAPE || code == -CKPT_ECONFLICT;
}

bool oracle_is_remote(const struct sim *s, const struct save_id *id)
{
    char name[RECORD_NAME_BYTES];

    return disk_record(s->home, name_save(name, SIM_RUN, "remote", id));
}

/* Removed, or lost with a drive. */
static bool is_excused(const struct sim *s, const struct saw *a)
{
    return a->is_removed || s->has_rotted ||
           (s->has_lost && !oracle_is_remote(s, &a->id));
}

void oracle_passed_over(struct sim *s, const struct save_id *id,
                        const char *note)
{
    const struct saw *a = saw_of(s->oracle, id);
    char one[SIM_ID_BYTES];

    if (!is_excused(s, a))
        sim_violation(s, "I1: save %s is passed over: %s", sim_id(id, one),
                      note);
}

void oracle_loaded(struct sim *s, const struct sim_rank *r,
                   const struct wire_load_done *v)
{
    const struct saw *a = saw_of(s->oracle, &v->id);
    const struct gen *g = gen_of(s->oracle, r->generation);
    bool is_read = r->load.id.generation > 0;
    char id[SIM_ID_BYTES];

    (void)sim_id(&v->id, id);
    if (v->code == 0) {
        s->stats.loads += !is_read;
        s->stats.reads += is_read;
        s->stats.remote_reads += is_read && s->has_lost;
        return;
    }
    if (!v->text[0])
        sim_violation(s, "I4: load of %s fails by %d without a word", id,
                      v->code);
    if (is_checkpoints(v->code) && !is_excused(s, a))
        sim_violation(s, "I1: save %s cannot be loaded: %d %s", id, v->code,
                      v->text);
    if (is_read && s->is_calm && !is_excused(s, a))
        sim_violation(s, "I3: save %s cannot be read: %d %s", id, v->code,
                      v->text);
    if (!is_read && g->is_load_told && v->code != -ETIMEDOUT &&
        v->code != -ECONNRESET && v->code != -ESTALE)
        sim_violation(s,
                      "I5: job %u rank %u has failed to load (%d %s), others "
                      "have loaded",
                      r->job->number, r->rank, v->code, v->text);
}

bool oracle_save(const struct sim *s, size_t index, struct save_id *out)
{
    for (size_t i = 0; i < s->oracle->saw_count; i++) {
        const struct saw *a = &s->oracle->saw[i];

        if (!a->is_told_committed || a->is_removed || index-- > 0)
            continue;
        *out = a->id;
        return true;
    }
    return false;
}

bool oracle_is_removed(const struct sim *s, const struct save_id *id)
{
    return saw_of(s->oracle, id)->is_removed;
}

uint64_t oracle_commits(const struct sim *s)
{
    return s->oracle->commits;
}

void oracle_final(struct sim *s)
{
    char name[RECORD_NAME_BYTES], id[SIM_ID_BYTES];

    for (size_t i = 0; i < s->oracle->saw_count; i++) {
        const struct saw *a = &s->oracle->saw[i];
        const struct disk_record *r;

        if (!a->is_told_committed || a->is_removed)
            continue;
        r = disk_record(s->home, name_save(name, SIM_RUN, "decision", &a->id));
        if (!r || a->durable != DECISION_COMMIT)
            sim_violation(s, "I1: save %s was told committed and is gone",
                          sim_id(&a->id, id));
    }
}

void oracle_begin(struct sim *s)
{
    s->oracle = calloc(1, sizeof *s->oracle);
    assert(s->oracle);
}

void oracle_end(struct sim *s)
{
    free(s->oracle->saw);
    free(s->oracle->gen);
    free(s->oracle->latest);
    free(s->oracle);
}
