/*
 * commit_decide.c - DECIDING: one decision record, created exclusively.
 *
 * COMMIT: merge the votes and check coverage (commit_merge.c), write a manifest
 * that does not fit inline as parts, then create decision/SAVE. ABORT: create
 * decision/SAVE. Whoever creates it first has decided. After -EEXIST, and after
 * any outcome that is not known, the decision is read back; when it is not
 * there, or cannot be read, creating it is tried again with back-off for as
 * long as that takes: nothing is ever concluded from an absent read. Nor from
 * one that finds it while its name may not be durable: creating it must have
 * answered 0 or -EEXIST, which say that it is.
 *
 * A COMMIT that could not be created by the deadline is tried as an ABORT from
 * then on, which needs less room; a COMMIT that landed late is found by the
 * read back like anybody else's.
 */
#include "ckptd/engine/commit_internal.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static_assert(REASON_MAX + 1 == ERR_TEXT_BYTES, "a reason is an error's text");

static void decision_put(struct commit *c);

/*
 * The outcome.
 */

/* What this save refers to in the local store is kept for it from now on. */
static int pool_note(struct commit *c, struct err *err)
{
    struct run *run = c->run;
    const struct ballot *own = ballot_of(c, &commit_env(c)->local_uuid);
    struct manifest m;
    int rc;

    if (!own || /* no rank of this daemon took part */
        is_left_out("references of a commit"))
        return 0;
    rc = ballot_open(c, own, &m, err);
    if (rc < 0)
        return rc;
    rc = segpool_commit(run->home->engine->pool, &run->catalog.uuid, &m, err);
    if (!segpool_has_lost(rc))
        return rc < 0 ? rc : 0;
    catalog_note_lost(&run->catalog, &c->id, err);
    commit_env(c)->ops->log(commit_env(c), LOG_LEVEL_ERROR,
                            "home %s: run %s: %s; that checkpoint is committed "
                            "but cannot be loaded without a copy in the remote "
                            "tier",
                            run->home->path, run->name, err->text);
    return 0; /* it does not come back by trying again */
}

/* A COMMIT whose segments cannot be noted must not be let go: the pool would
 * free them. No memory passes; damage of our own memory does not. */
void commit_settle(struct commit *c)
{
    struct commit_state *s = state_of(c);
    struct err err = {0};
    int rc = catalog_note_save(&c->run->catalog, &s->outcome, s->reason);

    if (rc == 0 && s->outcome.status == SAVE_COMMITTED)
        rc = pool_note(c, &err);
    if (rc < 0) {
        commit_env(c)->ops->log(commit_env(c), LOG_LEVEL_ERROR,
                                "run %s step %" PRIu64 ": committed, but not "
                                "noted yet: %s",
                                c->run->name, c->id.step,
                                err.code ? err.text : err_text(rc));
        commit_later(c, back_off(&s->delay_ns));
        return;
    }
    c->decision =
        s->outcome.status == SAVE_ABORTED ? DECISION_ABORT : DECISION_COMMIT;
    if (c->decision == DECISION_ABORT)
        (void)err_set(&c->error, s->outcome.code, "%s", s->reason);
    else
        (void)err_set(&c->error, 0, "%s", s->reason);
    commit_move(c, COMMIT_DECIDED);
    commit_later(c, 0);
}

static void outcome_is(struct commit_state *s, const struct record_decision *d)
{
    catalog_save_of(d, &s->outcome);
    memcpy(s->reason, d->reason, sizeof s->reason);
}

/*
 * Removed meanwhile.
 *
 * A daemon may be so late that the others have committed a save, and retention
 * has removed it, decision and all. The name is then free for an ABORT, which
 * the tomb outranks: what was removed had been committed. The tomb is there
 * before the decision goes, so that looking for it after ABORT was created, or
 * found, misses nothing.
 */

static void tomb_done(void *arg, int64_t result, void *data)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);

    free(data);
    if (!commit_resume(c, result))
        return;
    if (result >= 0) {
        if (c->phase != COMMIT_DECIDING)
            commit_move(c, COMMIT_DECIDING);
        s->outcome = (struct catalog_save){.id = c->id, .status = SAVE_REMOVED};
        s->reason[0] = '\0';
        commit_settle(c);
    } else if (c->phase != COMMIT_DECIDING) {
        commit_step(c);
    } else if (result == -ENOENT) {
        commit_settle(c);
    } else {
        commit_later(c, back_off(&s->delay_ns));
    }
}

void commit_look_for_tomb(struct commit *c)
{
    char name[RECORD_NAME_BYTES];

    state_of(c)->is_busy = true;
    recio_get(c->run->home->store,
              name_save(name, c->run->name, "tomb", &c->id), RECORD_MAX_BYTES,
              tomb_done, c);
}

/* The outcome stands, unless it is an ABORT that a tomb outranks. */
static void outcome_settle(struct commit *c)
{
    const struct commit_state *s = state_of(c);

    if (s->outcome.status == SAVE_ABORTED && s->has_voted &&
        !commit_is_alone(c) && !is_left_out("tomb over an abort"))
        commit_look_for_tomb(c);
    else
        commit_settle(c);
}

void commit_follow(struct commit *c, const struct record_decision *d)
{
    struct commit_state *s = state_of(c);

    assert(!s->is_busy);
    if (c->phase != COMMIT_DECIDING)
        commit_move(c, COMMIT_DECIDING);
    outcome_is(s, d);
    s->outcome.id = c->id;
    s->delay_ns = 0;
    outcome_settle(c);
}

/* Without our vote there is no COMMIT: the owner need not wait for ABORT. */
static bool may_tell_early(const struct commit_state *s)
{
    return s->trying == DECISION_ABORT && !s->is_told &&
           (!s->has_voted || is_left_out("voted segments until the decision"));
}

/* A decision that cannot be had yet. */
static void decide_again(struct commit *c, const char *what, const char *why)
{
    struct commit_state *s = state_of(c);
    char id[SAVE_ID_TEXT_BYTES];

    if (!s->is_warned)
        commit_env(c)->ops->log(
            commit_env(c), LOG_LEVEL_WARN,
            "home %s: run %s: the decision on save %s %s: %s; trying on",
            c->run->home->path, c->run->name, save_id_format(&c->id, id), what,
            why);
    s->is_warned = true;
    commit_later(c, back_off(&s->delay_ns));
    if (may_tell_early(s))
        commit_tell_early(c);
}

/* COMMIT without a vote of this life: an earlier one's, and not of what is
 * saved now. */
static void refuse_other(struct commit *c, const struct record_decision *d)
{
    struct commit_state *s = state_of(c);
    struct catalog_save save;

    catalog_save_of(d, &save);
    if (catalog_note_save(&c->run->catalog, &save, d->reason) < 0)
        commit_later(c, back_off(&s->delay_ns));
    else
        commit_refuse_committed(c);
}

static void back_done(void *arg, int64_t result, void *data)
{
    struct commit *c = arg;
    struct record_decision d;
    struct err err;
    int rc = result < 0 ? (int)result : 0;

    if (!commit_resume(c, result)) {
        free(data);
        return;
    }
    if (rc == 0)
        rc = record_decision_of(&c->id, data, (size_t)result, &d, &err);
    else
        (void)err_set(&err, rc, "%s", err_text(rc));
    if (rc == 0 && d.decision == DECISION_COMMIT && !state_of(c)->has_voted)
        refuse_other(c, &d);
    else if (rc == 0 && state_of(c)->put_result == -EEXIST)
        commit_follow(c, &d);
    else if (rc == 0)
        decide_again(c, "is there, but may not be durable yet",
                     err_text(state_of(c)->put_result));
    else if (rc == -ENOENT)
        decide_again(c, "could not be created",
                     state_of(c)->last.code ? state_of(c)->last.text
                                            : err.text);
    else
        decide_again(c, "cannot be read", err.text);
    free(data);
}

static void put_done(void *arg, int result)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);
    char name[RECORD_NAME_BYTES];

    if (!commit_resume(c, result))
        return;
    if (result == -EEXIST && is_left_out("answer that others have decided"))
        result = 0;
    s->put_result = result;
    if (result == 0) { /* ours; the outcome stands ready */
        outcome_settle(c);
        return;
    }
    if (result != -EEXIST)
        (void)err_set(&s->last, result, "%s", err_text(result));
    s->outcome.status = 0;
    s->is_busy = true;
    recio_get(c->run->home->store,
              name_save(name, c->run->name, "decision", &c->id),
              RECORD_MAX_BYTES, back_done, c);
}

/*
 * Creating it.
 */

/* s->record is the decision; the store takes a copy. */
static void decision_put(struct commit *c)
{
    struct commit_state *s = state_of(c);
    char name[RECORD_NAME_BYTES];
    struct record_decision d;
    struct wr w = {0};
    struct err err;
    int rc = record_decision_decode(s->record.data, s->record.bytes, &d, &err);

    assert(rc == 0); /* we encoded it */
    outcome_is(s, &d);
    wr_bytes(&w, s->record.data, s->record.bytes);
    s->is_busy = true;
    recio_put(c->run->home->store,
              name_save(name, c->run->name, "decision", &c->id), &w, put_done,
              c);
}

void commit_confirm(struct commit *c, const void *data, size_t bytes)
{
    struct commit_state *s = state_of(c);
    struct record_decision d;
    struct wr copy = {0};
    struct err err;
    int rc = record_decision_decode(data, bytes, &d, &err);

    assert(rc == 0 && !s->is_busy); /* the caller has decoded it */
    wr_bytes(&copy, data, bytes);
    if (copy.failed) { /* seen again later */
        wr_free(&copy);
        commit_later(c, back_off(&s->delay_ns));
        return;
    }
    commit_move(c, COMMIT_DECIDING);
    wr_free(&s->record);
    s->record = copy;
    s->trying = d.decision;
    s->delay_ns = 0;
    s->last = (struct err){0};
    decision_put(c);
}

/* false: no memory; it is tried again. */
static bool record_make(struct commit *c, const struct record_decision *d)
{
    struct commit_state *s = state_of(c);

    wr_free(&s->record);
    s->record = (struct wr){0};
    record_decision_encode(d, &s->record);
    if (!s->record.failed)
        return true;
    wr_free(&s->record);
    s->record = (struct wr){0};
    decide_again(c, "could not be written", err_text(-ENOMEM));
    return false;
}

static void abort_begin(struct commit *c)
{
    struct commit_state *s = state_of(c);
    struct env *env = commit_env(c);
    struct record_decision d = {
        .decision = DECISION_ABORT,
        .id = c->id,
        .code = s->wish.code,
        .created_unix_ms = env->ops->unix_ms(env),
        .committer = env->local_uuid,
    };

    s->trying = DECISION_ABORT;
    (void)snprintf(d.reason, sizeof d.reason, "%s", s->wish.text);
    if (record_make(c, &d))
        decision_put(c);
    /* Publishing this may take as long again as what was waited for. */
    if (s->is_home_silent && may_tell_early(s))
        commit_tell_early(c);
}

/* What commit_merge.c found is in the manifest's notes; listings see it too. */
static void warnings_text(const struct manifest *m, char text[REASON_MAX + 1])
{
    size_t stale_bytes = 0, bytes = 0;
    const char *stale = manifest_note(m, COMMIT_NOTE_STALE, &stale_bytes);
    const char *diverged = manifest_note(m, COMMIT_NOTE_DIVERGENCE, &bytes);
    struct err e;

    (void)err_set(&e, 0, "%s%.*s%s%s%.*s", stale ? "stale: " : "",
                  (int)min_u64(stale_bytes, REASON_MAX), stale ? stale : "",
                  stale && diverged ? "; " : "",
                  diverged ? "replicas differ: " : "",
                  (int)min_u64(bytes, REASON_MAX), diverged ? diverged : "");
    memcpy(text, e.text, sizeof e.text);
}

static struct record_decision commit_record(const struct commit *c,
                                            const struct manifest *m)
{
    struct env *env = commit_env(c);
    struct record_decision d = {
        .decision = DECISION_COMMIT,
        .id = c->id,
        .created_unix_ms = env->ops->unix_ms(env),
        .logical_bytes = m->info.logical_bytes,
        .stored_bytes = m->info.stored_bytes,
        .rank_count = (uint32_t)m->rank_count,
        .node_count = state_of(c)->ballot_count,
        .layout = m->layout,
        .committer = env->local_uuid,
        .manifest_bytes = m->bytes,
        .manifest_root = m->root,
    };

    for (uint64_t i = 0; i < m->tensor_count; i++)
        d.tensor_count += (m->tensor[i].flags & 1) == 0;
    warnings_text(m, d.reason);
    return d;
}

static void parts_done(void *arg, int result)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);

    if (!commit_resume(c, result))
        return;
    free(s->manifest);
    s->manifest = NULL;
    if (result == 0) {
        decision_put(c);
        return;
    }
    commit_wish_home(c, result, "manifest");
    abort_begin(c);
}

void merge_done(struct commit *c, int result, void *data, size_t bytes,
                const struct err *err)
{
    struct commit_state *s = state_of(c);
    struct recio_place place;
    struct record_decision d;
    struct err why = *err;
    struct manifest m;
    bool is_inline;

    s->is_busy = false;
    if (result == 0)
        result = manifest_open(data, bytes, &m, &why);
    if (result != 0 || s->wish.code != 0) {
        free(data);
        commit_wish(c, result, "%s", why.text);
        abort_begin(c);
        return;
    }
    d = commit_record(c, &m);
    is_inline = bytes <= record_decision_room(&d);
    if (is_inline)
        d.inline_bytes = data;
    else
        d.part_count = recio_part_count(bytes);
    if (!record_make(c, &d)) {
        free(data);
        return;
    }
    if (is_inline) {
        free(data);
        decision_put(c);
        return;
    }
    s->manifest = data;
    s->manifest_bytes = bytes;
    if (is_left_out("manifest before its decision")) {
        decision_put(c);
        return;
    }
    s->is_busy = true;
    place = commit_place(c, "manifest", &commit_env(c)->local_uuid);
    recio_put_parts(c->run->home->store, &place, data, bytes, parts_done, c);
}

void commit_decide(struct commit *c, enum decision decision)
{
    struct commit_state *s = state_of(c);

    commit_move(c, COMMIT_DECIDING);
    s->delay_ns = 0;
    s->last = (struct err){0};
    if (decision == DECISION_ABORT) {
        abort_begin(c);
        return;
    }
    s->trying = DECISION_COMMIT;
    s->is_busy = true;
    merge_begin(c);
}

/* After back-off: note the outcome, or create the decision, once more. */
void commit_decide_step(struct commit *c)
{
    struct commit_state *s = state_of(c);

    if (s->outcome.status != 0) {
        outcome_settle(c);
        return;
    }
    if (s->trying == DECISION_COMMIT && commit_is_overdue(c))
        commit_wish(c, -ETIMEDOUT, "it could not be decided in time: %s",
                    s->last.code ? s->last.text : "unknown");
    if (s->record.data && (s->trying == DECISION_ABORT || s->wish.code == 0)) {
        decision_put(c);
        return;
    }
    if (s->wish.code != 0) {
        abort_begin(c);
        return;
    }
    s->is_busy = true;
    merge_begin(c);
}
