/*
 * commit_recover.c - what an earlier life of this daemon left undecided.
 *
 * The intents of a run are listed. Each of our own whose save is undecided goes
 * on as a commit in VOTED: its own vote is looked for first. Not there: the
 * daemon ended before it voted, ABORT. There, but a segment that it names is
 * gone: ABORT. Else its segments are kept for it, and it goes the way of any
 * vote: others' votes, the decision. Commits are then
 * under way like any other; who waits is told when all own votes were looked
 * at, and whether one could not be (its segments are then not known).
 */
#include "ckptd/engine/commit_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct recovery {
    struct run *run;
    catalog_fn done;
    void *arg;
    uint32_t pending;
    struct err err; /* the first failure */
};

static void recovery_drop(struct recovery *r)
{
    catalog_fn done = r->done;
    void *arg = r->arg;
    struct err err = r->err;

    if (--r->pending > 0)
        return;
    free(r);
    done(arg, err.code, &err);
}

static void vote_settled(void *arg, int result, const struct err *err)
{
    struct recovery *r = arg;

    if (result < 0 && r->err.code == 0)
        r->err = *err;
    recovery_drop(r);
}

void commit_recovery_forget(void *recovery)
{
    struct recovery *r = recovery;

    if (--r->pending == 0)
        free(r);
}

/* Of our own, and not decided yet? All of our own count as begun; they come in
 * the order of their names, the newest last. */
static bool is_ours(struct run *run, const char *name, struct save_id *id)
{
    enum save_status status;
    struct id128 daemon;
    const char *rest;

    if (save_id_parse(name, id, &rest) < 0 || rest[0] != '.' ||
        strlen(rest + 1) != 32 || id_parse(rest + 1, 32, &daemon) < 0 ||
        !id_equal(&daemon, &run_env(run)->local_uuid))
        return false;
    run->begun = *id;
    status = catalog_status(&run->catalog, id);
    return status == 0 || status == SAVE_UNDECIDED;
}

static int recover_one(struct recovery *r, const struct save_id *id)
{
    struct run *run = r->run;
    const struct catalog_generation *g =
        catalog_generation_at(&run->catalog, id->generation);
    struct commit_state *s;
    struct commit *c;
    char text[SAVE_ID_TEXT_BYTES];

    if (!g)
        return err_set(&r->err, -CKPT_ECORRUPT,
                       "save %s was begun, but its generation has no record",
                       save_id_format(id, text));
    c = commit_new(run, id);
    if (!c)
        return err_set(&r->err, -ENOMEM, "no memory to recover save %s",
                       save_id_format(id, text));
    s = state_of(c);
    s->is_recovered = true;
    s->has_voted = true; /* perhaps */
    s->deadline_ns = env_now(commit_env(c)) +
                     decide_timeout(g->record.decide_timeout_ms) * NS_PER_MS;
    s->settled = vote_settled;
    s->settled_arg = r;
    r->pending++;
    commit_move(c, COMMIT_VOTED);
    commit_later(c, 0);
    return 0;
}

static void intents_done(void *arg, int result, struct store_names *names)
{
    struct recovery *r = arg;
    struct save_id id;

    if (result < 0)
        (void)err_set(&r->err, result, "intents: %s", err_text(result));
    for (size_t i = 0; result >= 0 && i < names->count; i++) {
        if (is_ours(r->run, names->name[i], &id))
            result = recover_one(r, &id);
    }
    recovery_drop(r);
}

void commit_recover(struct run *run, catalog_fn done, void *arg)
{
    struct recovery *r = calloc(1, sizeof *r);
    char name[RECORD_NAME_BYTES];
    struct err err;

    if (!r) {
        (void)err_set(&err, -ENOMEM, "no memory to recover");
        done(arg, -ENOMEM, &err);
        return;
    }
    r->run = run;
    r->done = done;
    r->arg = arg;
    r->pending = 1;
    recio_list(run->home->store, name_run(name, run->name, "intent"),
               intents_done, r);
}
