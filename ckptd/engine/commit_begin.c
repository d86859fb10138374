/*
 * commit_begin.c - the start of a commit, to the intent that is on record.
 *
 *   NEW      RUN is looked for: what is saved into a run that was removed
 *            under its job nobody finds. The attempt is settled: from the
 *            catalog when this daemon is the only member, else decisions are
 *            read afresh
 *   INTENT   intent/SAVE.DAEMON is created, then closed/GENERATION looked for
 *
 * A commit that was refused (a conflict of steps) leaves no record; what cannot
 * be read, or a generation that was closed, becomes the wish for ABORT.
 */
#include "ckptd/engine/commit_internal.h"

#include "common/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define SETTLE_TRIES 5

/*
 * NEW.
 */

/* The highest step that this generation knows of, and whether there is one. */
static bool highest_step(const struct commit *c, uint64_t *step)
{
    bool found = catalog_highest_step(&c->run->catalog, c->id.generation, step);

    LIST_FOR_EACH (node, &c->run->commits) {
        const struct commit *other = container_of(node, struct commit, link);

        if (other == c || other->id.generation != c->id.generation)
            continue;
        *step = found ? max_u64(*step, other->id.step) : other->id.step;
        found = true;
    }
    return found;
}

void commit_refuse_committed(struct commit *c)
{
    commit_refuse(c, -CKPT_ECONFLICT,
                  "%s@%" PRIu64 " is committed already in generation %" PRIu32
                  "; to save it again, start the job anew from an older step",
                  c->run->name, c->id.step, c->id.generation);
}

/* The attempt as far as this daemon knows; false: refused. */
static bool attempt_choose(struct commit *c)
{
    const struct catalog *all = &c->run->catalog;
    struct save_id *begun = &c->run->begun;
    struct save_id done;
    uint64_t highest;

    done = catalog_at_step(all, c->id.step, c->id.generation);
    if (done.generation != 0) {
        commit_refuse_committed(c);
        return false;
    }
    highest = state_of(c)->highest_step;
    if (c->id.step < highest) {
        commit_refuse(c, -CKPT_ECONFLICT,
                      "%s@%" PRIu64 " comes after step %" PRIu64
                      " of generation %" PRIu32
                      ": steps never decrease within a generation",
                      c->run->name, c->id.step, highest, c->id.generation);
        return false;
    }
    LIST_FOR_EACH (node, &c->run->commits) {
        const struct commit *o = container_of(node, struct commit, link);

        if (o == c || o->id.generation != c->id.generation ||
            o->id.step != c->id.step || o->id.attempt == 0 ||
            state_of(o)->is_told)
            continue;
        commit_refuse(c, -CKPT_ECONFLICT,
                      "%s@%" PRIu64 " is being saved already in generation "
                      "%" PRIu32,
                      c->run->name, c->id.step, c->id.generation);
        return false;
    }
    c->id.attempt = 1;
    if (begun->generation == c->id.generation && begun->step == c->id.step)
        c->id.attempt = begun->attempt + 1;
    if (commit_is_alone(c)) /* what was aborted before it was so */
        c->id.attempt = (uint32_t)max_u64(
            c->id.attempt,
            catalog_next_attempt(all, c->id.generation, c->id.step));
    if (c->id.attempt > SAVE_ATTEMPT_MAX) {
        commit_refuse(c, -EOVERFLOW,
                      "%s@%" PRIu64 " was aborted %d times in generation "
                      "%" PRIu32 ", and has no name left; save another step",
                      c->run->name, c->id.step, SAVE_ATTEMPT_MAX,
                      c->id.generation);
        return false;
    }
    if (save_id_compare(&c->id, begun) > 0)
        *begun = c->id;
    return true;
}

static void intent_put(struct commit *c);

/* Is a record there? */
struct record_look {
    struct store_req req;
    struct commit *c;
    char name[RECORD_NAME_BYTES];
};

/* NULL, and a wish, without memory; then the caller fills in the name. */
static struct record_look *look_new(struct commit *c)
{
    struct record_look *l = calloc(1, sizeof *l);

    if (!l) {
        commit_wish(c, -ENOMEM, "no memory to begin the save");
        return NULL;
    }
    l->c = c;
    l->req.op = STORE_STAT;
    l->req.name = l->name;
    l->req.owner = l;
    return l;
}

static void look_submit(struct record_look *l,
                        void (*done)(struct store_req *req, int64_t result))
{
    l->req.done = done;
    state_of(l->c)->is_busy = true;
    store_submit(l->c->run->home->store, &l->req);
}

/* Whether this attempt was decided already by others. */
static void attempt_done(void *arg, int64_t result, void *data)
{
    struct commit *c = arg;
    struct commit_state *s = state_of(c);
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
    if (rc == -ENOENT)
        intent_put(c);
    else if (rc == 0 && d.decision == DECISION_COMMIT)
        commit_refuse_committed(c);
    else if (rc == 0)
        commit_follow(c, &d);
    else if (s->tries++ < SETTLE_TRIES)
        commit_later(c, back_off(&s->delay_ns));
    else { /* the other members must not wait for a vote that never comes */
        commit_wish(c, rc,
                    "host %s cannot read whether it was aborted already: %s",
                    commit_env(c)->host, err.text);
        commit_decide(c, DECISION_ABORT);
    }
    free(data);
}

static void run_looked(struct store_req *req, int64_t result)
{
    struct record_look *l = req->owner;
    struct commit *c = l->c;
    char name[RECORD_NAME_BYTES];

    free(l);
    if (!commit_resume(c, result))
        return;
    if (result == -ENOENT) {
        commit_refuse(c, -ENOENT,
                      "run %s: its record runs/%s/RUN is gone: it was removed "
                      "under the job, and nobody would find what is saved. Put "
                      "it back, or end the job and its daemon",
                      c->run->name, c->run->name);
        return;
    }
    if (result == -ETIMEDOUT) { /* nothing else would be answered now */
        commit_wish_home(c, -ETIMEDOUT, "looking for RUN");
        commit_decide(c, DECISION_ABORT);
        return;
    }
    if (commit_is_alone(c)) {
        intent_put(c);
        return;
    }
    state_of(c)->is_busy = true;
    recio_get(c->run->home->store,
              name_save(name, c->run->name, "decision", &c->id),
              RECORD_MAX_BYTES, attempt_done, c);
}

void commit_start(struct commit *c)
{
    struct record_look *l;

    if (c->id.attempt == 0 && !attempt_choose(c))
        return;
    l = look_new(c);
    if (!l) {
        intent_put(c);
        return;
    }
    (void)name_run(l->name, c->run->name, "RUN");
    look_submit(l, run_looked);
}

/*
 * INTENT.
 */

static void closed_done(struct store_req *req, int64_t result)
{
    struct record_look *l = req->owner;
    struct commit *c = l->c;
    struct commit_state *s = state_of(c);

    free(l);
    if (!commit_resume(c, result))
        return;
    if (result < 0 && result != -ENOENT)
        commit_wish(c, (int)result,
                    "whether generation %" PRIu32
                    " was closed cannot be read: %s",
                    c->id.generation, err_text((int)result));
    else if (result >= 0 && !is_left_out("look for a closed generation")) {
        catalog_note_closed(&c->run->catalog, c->id.generation);
        commit_wish(c, -ESTALE,
                    "generation %" PRIu32
                    " was closed: the job was started anew",
                    c->id.generation);
    }
    if (s->wish.code == 0) {
        commit_move(c, COMMIT_OPEN);
        s->delay_ns = 0;
        if (c->events)
            c->events->opened(c->arg, c);
    }
    if (!s->is_busy)
        commit_step(c);
}

static void closed_look(struct commit *c)
{
    struct record_look *l = look_new(c);

    if (!l) {
        commit_step(c);
        return;
    }
    (void)name_gen(l->name, c->run->name, "closed", c->id.generation);
    look_submit(l, closed_done);
}

static void intent_done(void *arg, int result)
{
    struct commit *c = arg;
    struct catalog_save save = {.id = c->id, .status = SAVE_UNDECIDED};

    if (!commit_resume(c, result))
        return;
    /* -EEXIST: written in an earlier life of this daemon, after recovery had
     * looked. It is durable, and no vote follows from that life. */
    if (result < 0 && result != -EEXIST)
        commit_wish_home(c, result, "intent");
    else if (catalog_note_save(&c->run->catalog, &save, "") < 0)
        commit_wish(c, -ENOMEM, "no memory to begin the save");
    if (state_of(c)->wish.code != 0)
        commit_step(c);
    else
        closed_look(c);
}

static void intent_put(struct commit *c)
{
    char name[RECORD_NAME_BYTES];
    struct record_mark mark;
    struct wr w = {0};

    if (state_of(c)->wish.code != 0) { /* given up before it began */
        commit_decide(c, DECISION_ABORT);
        return;
    }
    mark_fill(commit_env(c), &mark, &c->id);
    record_mark_encode(RECORD_INTENT, &mark, &w);
    commit_move(c, COMMIT_INTENT);
    state_of(c)->is_busy = true;
    recio_put(c->run->home->store,
              name_save_daemon(name, c->run->name, "intent", &c->id,
                               &commit_env(c)->local_uuid),
              &w, intent_done, c);
}

struct commit *commit_begin(struct run *run, uint64_t step,
                            const struct commit_events *events, void *arg)
{
    struct save_id id = {.generation = run->generation, .step = step};
    struct commit *c = commit_new(run, &id);
    uint64_t highest = 0;

    if (!c)
        return NULL;
    c->events = events;
    c->arg = arg;
    if (highest_step(c, &highest))
        state_of(c)->highest_step = highest;
    state_of(c)->deadline_ns =
        env_now(commit_env(c)) +
        decide_timeout(run->decide_timeout_ms) * NS_PER_MS;
    commit_later(c, 0);
    return c;
}
