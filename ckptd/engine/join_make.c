/*
 * join_make.c - making a generation.
 *
 * CLOSE: closed/G says that no save of G may begin any more; a daemon that
 * wrote its intent before that is seen by the listing that follows, one that
 * writes it later finds closed/G.
 *
 * RESOLVE: until no save of before is undecided. Those that run in this daemon
 * are waited for; of others the decisions are looked for with back-off. What is
 * undecided at the decide deadline, counted from when this daemon first saw it
 * so, gets ABORT, with the daemon named that did not vote. This goes on without
 * any caller left, so that the next one finds it done.
 *
 * CREATE: parent fixed by the resume mode, gen/G+1 created exclusively. Who
 * finds another's generation there looks again from the beginning.
 */
#include "ckptd/engine/commit.h"

#include "common/plant.h"
#include "ckptd/engine/join_internal.h"
#include "ckptd/engine/drain.h"
#include "ckptd/engine/retain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OWN_DELAY (BACK_OFF_LEAST) /* to look at our own saves: no I/O */

static void resolve_refresh(struct joining *j);
static void create(struct joining *j);

/*
 * CREATE.
 */

static int parent_choose(struct joining *j, struct save_id *parent)
{
    const struct catalog *c = &j->run->catalog;
    const struct wire_open *o = &j->open;
    char nearby[256], at[32] = "";

    *parent = (struct save_id){0};
    if (o->resume == WIRE_RESUME_NONE)
        return 0;
    if (o->resume == WIRE_RESUME_LATEST) {
        *parent = catalog_latest(c);
        return 0;
    }
    *parent = catalog_at_step(c, o->resume_step, o->resume_generation);
    if (parent->generation != 0)
        return 0;
    catalog_nearby(c, o->resume_step, nearby, sizeof nearby);
    if (o->resume_generation)
        (void)snprintf(at, sizeof at, " in generation %" PRIu32,
                       o->resume_generation);
    joining_fail(j, -ENOENT,
                 "there is no checkpoint of step %" PRIu64 "%s to resume from; "
                 "%s",
                 o->resume_step, at, nearby);
    return -ENOENT;
}

static struct record_generation generation_of(const struct joining *j,
                                              const struct save_id *parent)
{
    struct env *env = run_env(j->run);
    const struct wire_open *o = &j->open;
    struct record_generation g = {
        .generation = j->closing + 1,
        .world_size = o->world_size,
        .parent = *parent,
        .created_unix_ms = env->ops->unix_ms(env),
        .keep_last = o->keep_last,
        .keep_every = o->keep_every,
        .remote_every = o->remote_every,
        .local_last = o->local_last,
        .decide_timeout_ms = decide_timeout(o->decide_timeout_ms),
        .layout = o->layout,
    };

    (void)snprintf(g.token, sizeof g.token, "%s", o->token);
    return g;
}

/* Whatever came of it is on record: look. */
static void create_done(void *arg, int result)
{
    struct joining *j = arg;

    if (result == 0 || result == -EEXIST) {
        joining_move(j, JOINING_READ);
        joining_read(j);
        return;
    }
    if (j->tries++ == 0 && result != -ECANCELED)
        create(j);
    else
        joining_fail(j, result, "generation %" PRIu32 ": %s", j->closing + 1,
                     err_text(result));
}

static void warn_unreadable(struct joining *j, const struct save_id *parent)
{
    const struct catalog *c = &j->run->catalog;
    struct env *env = run_env(j->run);
    char id[SAVE_ID_TEXT_BYTES];

    if (c->bad_load.code)
        env->ops->log(env, LOG_LEVEL_WARN,
                      "home %s: %s: what came of that load does not count",
                      j->run->home->path, c->bad_load.text);
    for (size_t i = 0; i < c->save_count; i++) {
        const struct catalog_save *s = &c->save[i];

        if (s->status == SAVE_UNREADABLE && save_id_compare(&s->id, parent) > 0)
            env->ops->log(env, LOG_LEVEL_WARN,
                          "home %s: run %s: save %s is newer than what is "
                          "resumed from, but cannot be read: %s",
                          j->run->home->path, j->run->name,
                          save_id_format(&s->id, id), catalog_reason(s));
    }
}

static void create(struct joining *j)
{
    struct record_generation g;
    struct save_id parent;
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    if (list_is_empty(&j->joins)) { /* nobody waits for it any more */
        joining_settle(j);
        return;
    }
    if (parent_choose(j, &parent) < 0)
        return;
    if (j->open.resume == WIRE_RESUME_LATEST)
        warn_unreadable(j, &parent);
    g = generation_of(j, &parent);
    record_generation_encode(&g, &w);
    recio_put(j->run->home->store,
              name_gen(name, j->run->name, "gen", g.generation), &w,
              create_done, j);
}

static void create_begin(struct joining *j)
{
    j->tries = 0;
    joining_move(j, JOINING_CREATE);
    create(j);
}

/*
 * RESOLVE.
 */

static struct commit *commit_running(const struct run *run,
                                     const struct save_id *id)
{
    LIST_FOR_EACH (node, &run->commits) {
        struct commit *c = container_of(node, struct commit, link);

        if (save_id_compare(&c->id, id) == 0)
            return c;
    }
    return NULL;
}

static uint32_t closing_timeout(const struct joining *j)
{
    const struct catalog_generation *g =
        catalog_generation_at(&j->run->catalog, j->closing);

    return decide_timeout(g ? g->record.decide_timeout_ms : 0);
}

static void abort_done(void *arg, int result)
{
    struct joining *j = arg;

    if (result < 0 && result != -EEXIST)
        joining_fail(j, result, "to abort an undecided save: %s",
                     err_text(result));
    else
        resolve_refresh(j);
}

/* "SAVE.DAEMON" among the votes? */
static bool has_voted(const struct store_names *votes, const struct save_id *id,
                      const struct id128 *daemon)
{
    char save[SAVE_ID_TEXT_BYTES], text[ID_TEXT_BYTES], name[128];

    (void)snprintf(name, sizeof name, "%s.%s", save_id_format(id, save),
                   id_format(daemon, text));
    for (size_t i = 0; i < votes->count; i++) {
        if (strcmp(votes->name[i], name) == 0)
            return true;
    }
    return false;
}

static void abort_reason(const struct joining *j,
                         const struct store_names *votes, char *text,
                         size_t capacity)
{
    const struct members *m = &j->members;
    char daemon[400];

    for (uint32_t i = 0; i < m->daemon_count; i++) {
        if (has_voted(votes, &j->leftover, &m->daemon[i].daemon))
            continue;
        daemon_text(m, &m->daemon[i].daemon, daemon, sizeof daemon);
        (void)snprintf(text, capacity,
                       "%s had not voted %" PRIu32 " ms after generation "
                       "%" PRIu32 " was closed",
                       daemon, closing_timeout(j), j->closing);
        return;
    }
    (void)snprintf(text, capacity,
                   "nobody had decided it %" PRIu32 " ms after generation "
                   "%" PRIu32 " was closed; %" PRIu32 " of %" PRIu32
                   " ranks had joined that",
                   closing_timeout(j), j->closing, m->member_count,
                   m->world_size);
}

static void abort_put(void *arg, int result, struct store_names *votes)
{
    struct joining *j = arg;
    struct env *env = run_env(j->run);
    struct record_decision d = {
        .decision = DECISION_ABORT,
        .id = j->leftover,
        .code = -ETIMEDOUT,
        .created_unix_ms = env->ops->unix_ms(env),
        .committer = env->local_uuid,
    };
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    if (result < 0) {
        joining_fail(j, result, "votes: %s", err_text(result));
        return;
    }
    abort_reason(j, votes, d.reason, sizeof d.reason);
    record_decision_encode(&d, &w);
    recio_put(j->run->home->store,
              name_save(name, j->run->name, "decision", &j->leftover), &w,
              abort_done, j);
}

/* Who was a member is for the words alone: a conflict there does no harm. */
static void abort_members_done(void *arg, int result)
{
    struct joining *j = arg;
    char name[RECORD_NAME_BYTES];

    if (result < 0 && j->members.conflict.code == 0) {
        joining_fail(j, result, "members of generation %" PRIu32 ": %s",
                     j->closing, err_text(result));
        return;
    }
    recio_list(j->run->home->store, name_run(name, j->run->name, "vote"),
               abort_put, j);
}

static void leftover_abort(struct joining *j, const struct save_id *id)
{
    const struct catalog_generation *g =
        catalog_generation_at(&j->run->catalog, j->closing);

    j->leftover = *id;
    members_fini(&j->members);
    members_init(&j->members, id->generation, g ? g->record.world_size : 0);
    members_read(j->run, &j->members, abort_members_done, j);
}

/* Counted from the first sight by this daemon, whoever asks. */
static bool is_overdue(struct joining *j)
{
    struct run *run = j->run;
    uint64_t now = env_now(run_env(run));

    if (run->leftover_generation != j->closing) {
        run->leftover_generation = j->closing;
        run->leftover_since_ns = now;
    }
    return now - run->leftover_since_ns >= closing_timeout(j) * NS_PER_MS;
}

static void resolve_fire(struct env_timer *timer);

static void resolve_refresh_fire(struct env_timer *timer)
{
    resolve_refresh(container_of(timer, struct joining, timer));
}

/* What the catalog knows of saves of before. */
static void resolve_look(struct joining *j)
{
    const struct catalog *c = &j->run->catalog;
    const struct save_id *foreign = NULL;
    bool own = false, overdue;

    for (size_t i = 0; i < c->save_count; i++) {
        if (c->save[i].status != SAVE_UNDECIDED)
            continue;
        if (commit_running(j->run, &c->save[i].id))
            own = true;
        else
            foreign = &c->save[i].id;
    }
    if ((!own && !foreign) ||
        is_left_out("decisions before a new generation")) {
        create_begin(j);
        return;
    }
    overdue = is_overdue(j);
    for (size_t i = 0; overdue && i < c->save_count; i++) {
        struct commit *running = commit_running(j->run, &c->save[i].id);

        if (running && c->save[i].status == SAVE_UNDECIDED)
            commit_abort(running, -ETIMEDOUT,
                         "its generation was closed, and it was undecided at "
                         "the deadline");
    }
    if (foreign && overdue)
        leftover_abort(j, foreign);
    else if (foreign)
        joining_later(j, back_off(&j->delay_ns), resolve_refresh_fire);
    else
        joining_later(j, OWN_DELAY, resolve_fire);
}

static void resolve_fire(struct env_timer *timer)
{
    resolve_look(container_of(timer, struct joining, timer));
}

static void refresh_done(void *arg, int result, const struct err *err)
{
    struct joining *j = arg;
    const struct catalog_generation *g = catalog_newest(&j->run->catalog);

    if (result < 0) {
        joining_fail(j, result, "%s", err->text);
        return;
    }
    retain_tombs(j->run);
    drain_run(j->run);
    if (g && g->record.generation != j->closing) { /* one was made meanwhile */
        joining_move(j, JOINING_READ);
        joining_look(j);
        return;
    }
    resolve_look(j);
}

static void resolve_refresh(struct joining *j)
{
    catalog_load(j->run->home->store, j->run->name, &j->run->catalog,
                 refresh_done, j);
}

/*
 * CLOSE.
 */

static void close_put(struct joining *j);

static void close_done(void *arg, int result)
{
    struct joining *j = arg;

    if (result == 0 || result == -EEXIST) {
        j->delay_ns = 0;
        joining_move(j, JOINING_RESOLVE);
        resolve_refresh(j);
        return;
    }
    if (j->tries++ == 0 && result != -ECANCELED)
        close_put(j);
    else
        joining_fail(j, result, "to close generation %" PRIu32 ": %s",
                     j->closing, err_text(result));
}

static void close_put(struct joining *j)
{
    char name[RECORD_NAME_BYTES];
    struct record_mark mark;
    struct wr w = {0};

    mark_fill(run_env(j->run), &mark, NULL);
    record_mark_encode(RECORD_CLOSED, &mark, &w);
    recio_put(j->run->home->store,
              name_gen(name, j->run->name, "closed", j->closing), &w,
              close_done, j);
}

void joining_make(struct joining *j)
{
    const struct catalog_generation *g = catalog_newest(&j->run->catalog);

    j->closing = g ? g->record.generation : 0;
    j->tries = 0;
    if (!g) {
        create_begin(j);
        return;
    }
    joining_move(j, JOINING_CLOSE);
    close_put(j);
}
