/*
 * attach.c - attaching a run: RUN, catalog, recovery, references.
 *
 *   READ (-> MAKE -> READ) -> CATALOG -> RECOVER -> REFER* -> TOMBS* -> KNOWN
 *   -> attached
 *
 * REFER tells the segment pool, checkpoint by checkpoint, what is referenced;
 * recovery has told it the same of undecided saves of our own. Only when not
 * one of them was unreadable is the pool told that all is known, since then it
 * frees what nobody referred to. Nor is it told before the tombs of what an
 * earlier life was about to remove are known to be durable: a tomb that was
 * only seen may be lost in a crash, and its save be a checkpoint again.
 *
 * A failure up to the catalog fails the callers and forgets the run, so that
 * the next call tries again. From recovery on nothing fails any more: there
 * are commits under way by then. All callbacks run from a timer.
 */
#include "ckptd/engine/commit.h"

#include "common/plant.h"
#include "ckptd/engine/home_internal.h"
#include "ckptd/engine/retain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* run.attaching until all callers are served. */
struct attaching {
    struct run *run;
    struct list waiters;
    struct env_timer timer;
    uint32_t tries;
    struct save_id id;  /* of the checkpoint, or the tomb, being looked at */
    bool is_incomplete; /* something was unreadable */
    struct err err;     /* code: the result */
};

void attach_waiters_end(struct list *waiters, struct run *run,
                        const struct err *err)
{
    struct list *node;

    while ((node = list_pop(waiters))) {
        struct attach_waiter *w =
            container_of(node, struct attach_waiter, link);

        w->done(w->arg, err->code, run, err);
        free(w);
    }
}

void attach_waiters_cancel(struct list *waiters)
{
    struct err err;

    (void)err_set(&err, -ECANCELED, "the daemon ends");
    attach_waiters_end(waiters, NULL, &err);
}

void run_free(struct run *run)
{
    struct attaching *a = run->attaching;

    joinings_free(run);
    commits_free(run);
    if (a) {
        run_env(run)->ops->timer_stop(run_env(run), &a->timer);
        attach_waiters_cancel(&a->waiters);
        free(a);
    }
    members_fini(&run->members);
    catalog_free(&run->catalog);
    list_remove(&run->link);
    free(run);
}

static void attaching_fire(struct env_timer *timer)
{
    struct attaching *a = container_of(timer, struct attaching, timer);
    struct run *run = a->run;
    struct err err = a->err;
    struct list waiters, *node;

    list_init(&waiters);
    while ((node = list_pop(&a->waiters)))
        list_append(&waiters, node);
    run->attaching = NULL;
    free(a);
    if (err.code < 0) {
        run_free(run);
        run = NULL;
    }
    attach_waiters_end(&waiters, run, &err);
}

static void attaching_end(struct attaching *a)
{
    struct env *env = run_env(a->run);

    a->timer.fire = attaching_fire;
    env->ops->timer_set(env, &a->timer, env_now(env));
}

static void attaching_fail(struct attaching *a, int code, const char *what,
                           const char *why)
{
    (void)err_set(&a->err, code, "home %s: run %s: %s%s", a->run->home->path,
                  a->run->name, what, why);
    attaching_end(a);
}

/*
 * References.
 */

/* A checkpoint that cannot be read: nothing of this run may be freed. */
static void refer_unreadable(struct attaching *a, int code, const char *why)
{
    struct catalog_save *s = catalog_find(&a->run->catalog, &a->id);
    struct env *env = run_env(a->run);
    char id[SAVE_ID_TEXT_BYTES];

    a->is_incomplete = true;
    env->ops->log(env, LOG_LEVEL_WARN,
                  "home %s: run %s: checkpoint %s cannot be read (%s): no "
                  "space of this run is freed until that is mended",
                  a->run->home->path, a->run->name, save_id_format(&a->id, id),
                  why);
    if (s && s->status == SAVE_COMMITTED) {
        s->status = SAVE_UNREADABLE;
        s->code = code;
        catalog_set_reason(s, why);
    }
}

/* Its manifest is good, but data of it is not there any more. It holds nothing
 * back: who loads it is told, and falls back to an older one. What is REMOTE
 * may have been let go here on purpose. */
static void refer_lost(struct attaching *a, const struct err *why)
{
    const struct catalog_save *s = catalog_find(&a->run->catalog, &a->id);
    struct env *env = run_env(a->run);
    bool is_remote = s && catalog_is_remote(s);

    env->ops->log(env, is_remote ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
                  is_remote ? "home %s: run %s: %s; that checkpoint is REMOTE, "
                              "and loads from there"
                            : "home %s: run %s: %s; without a copy in the "
                              "remote tier that checkpoint cannot be loaded",
                  a->run->home->path, a->run->name, why->text);
    catalog_note_lost(&a->run->catalog, &a->id, why);
}

static void refer_next(struct attaching *a);

static void manifest_done(void *arg, int64_t result, void *data)
{
    struct attaching *a = arg;
    struct manifest m;
    struct err err;
    int rc;

    if (result < 0)
        rc = err_set(&err, (int)result, "manifest: %s", err_text((int)result));
    else
        rc = manifest_open(data, (size_t)result, &m, &err);
    if (rc == 0) {
        rc = segpool_commit(a->run->home->engine->pool, &a->run->catalog.uuid,
                            &m, &err);
        if (segpool_has_lost(rc)) {
            refer_lost(a, &err);
            rc = 0;
        }
    }
    free(data);
    if (rc < 0)
        refer_unreadable(a, rc, err.text);
    refer_next(a);
}

static void tomb_done(void *arg, int64_t result, void *data)
{
    struct attaching *a = arg;

    free(data);
    if (result < 0)
        refer_unreadable(a, -ENOENT, "its decision is gone without a tomb");
    refer_next(a);
}

static void decision_done(void *arg, int64_t result, void *data)
{
    struct attaching *a = arg;
    char name[RECORD_NAME_BYTES];
    struct record_decision d;
    struct err err;
    int rc;

    if (result == -ENOENT) { /* removed just now? */
        recio_get(a->run->home->store,
                  name_save(name, a->run->name, "tomb", &a->id),
                  RECORD_MAX_BYTES, tomb_done, a);
        return;
    }
    if (result < 0)
        rc = err_set(&err, (int)result, "decision: %s", err_text((int)result));
    else
        rc = record_decision_of(&a->id, data, (size_t)result, &d, &err);
    if (rc < 0) {
        free(data);
        refer_unreadable(a, rc, err.text);
        refer_next(a);
        return;
    }
    /* What it needs of `data` it takes during the call. */
    recio_get_manifest(a->run->home->store, a->run->name, &d, manifest_done, a);
    free(data);
}

/* The first checkpoint, or unreadable one, after a->id. */
static const struct catalog_save *refer_find(const struct attaching *a)
{
    const struct catalog *c = &a->run->catalog;

    for (size_t i = 0; i < c->save_count; i++) {
        const struct catalog_save *s = &c->save[i];

        if (save_id_compare(&s->id, &a->id) > 0 &&
            (s->status == SAVE_COMMITTED || s->status == SAVE_UNREADABLE))
            return s;
    }
    return NULL;
}

/* Nothing is held for what was removed. */
static void known(struct attaching *a)
{
    struct run *run = a->run;

    for (size_t i = 0; i < run->catalog.save_count; i++)
        run->catalog.save[i].is_let_go =
            run->catalog.save[i].status == SAVE_REMOVED;
    catalog_fold(&run->catalog);
    if (!a->is_incomplete || is_left_out("hold while one is unreadable"))
        segpool_run_known(run->home->engine->pool, &run->catalog.uuid);
    run->is_attached = true;
    attaching_end(a);
}

static void tombs_next(struct attaching *a);

static void tomb_stays(void *arg, int result)
{
    struct attaching *a = arg;
    struct env *env = run_env(a->run);
    char id[SAVE_ID_TEXT_BYTES];

    if (result < 0 && result != -EEXIST) {
        a->is_incomplete = true;
        env->ops->log(env, LOG_LEVEL_WARN,
                      "home %s: run %s: the tomb of save %s: %s: no space of "
                      "this run is freed until that is mended",
                      a->run->home->path, a->run->name,
                      save_id_format(&a->id, id), err_text(result));
    }
    tombs_next(a);
}

/* Of saves whose decision is gone too the tomb was durable before that went. */
static void tombs_next(struct attaching *a)
{
    const struct catalog *c = &a->run->catalog;

    for (size_t i = 0; i < c->save_count; i++) {
        const struct catalog_save *s = &c->save[i];

        if (!s->has_decision || is_left_out("tombs of an earlier life") ||
            save_id_compare(&s->id, &a->id) <= 0)
            continue;
        a->id = s->id;
        retain_put_tomb(a->run, &s->id, "removed before", tomb_stays, a);
        return;
    }
    known(a);
}

static void refer_next(struct attaching *a)
{
    const struct catalog_save *s;
    char name[RECORD_NAME_BYTES];
    struct run *run = a->run;

    while ((s = refer_find(a)) && s->status == SAVE_UNREADABLE) {
        a->id = s->id;
        refer_unreadable(a, s->code, catalog_reason(s));
    }
    if (s) {
        a->id = s->id;
        recio_get(run->home->store,
                  name_save(name, run->name, "decision", &a->id),
                  RECORD_MAX_BYTES, decision_done, a);
        return;
    }
    a->id = (struct save_id){0};
    tombs_next(a);
}

/*
 * RUN, catalog, recovery.
 */

static void recover_done(void *arg, int result, const struct err *err)
{
    struct attaching *a = arg;
    struct env *env = run_env(a->run);

    if (result < 0 && result != -CKPT_ECORRUPT &&
        list_is_empty(&a->run->commits)) {
        attaching_fail(a, result, "", err->text);
        return;
    }
    if (result < 0) {
        a->is_incomplete = true;
        env->ops->log(env, LOG_LEVEL_WARN,
                      "home %s: run %s: %s: no space of this run is freed "
                      "until that is mended",
                      a->run->home->path, a->run->name, err->text);
    }
    refer_next(a);
}

static void catalog_done(void *arg, int result, const struct err *err)
{
    struct attaching *a = arg;

    if (result < 0)
        attaching_fail(a, result, "", err->text);
    else
        commit_recover(a->run, recover_done, a);
}

static void record_read(struct attaching *a);

static void record_put_done(void *arg, int result)
{
    struct attaching *a = arg;

    if (result < 0 && result != -EEXIST)
        attaching_fail(a, result, "RUN: ", err_text(result));
    else
        record_read(a);
}

static void record_make(struct attaching *a)
{
    struct env *env = run_env(a->run);
    struct record_run r = {.created_unix_ms = env->ops->unix_ms(env)};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    env->ops->random(env, r.uuid.b, sizeof r.uuid.b);
    record_run_encode(&r, &w);
    recio_put(a->run->home->store, name_run(name, a->run->name, "RUN"), &w,
              record_put_done, a);
}

static void record_done(void *arg, int64_t result, void *data)
{
    struct attaching *a = arg;
    struct record_run r;
    struct err err;
    int rc;

    if (result == -ENOENT && a->tries++ < 2) {
        record_make(a);
        return;
    }
    if (result < 0) {
        attaching_fail(a, (int)result, "RUN: ", err_text((int)result));
        return;
    }
    rc = record_run_decode(data, (size_t)result, &r, &err);
    free(data);
    if (rc < 0) {
        attaching_fail(a, rc, "", err.text);
        return;
    }
    a->run->catalog.uuid = r.uuid;
    catalog_load(a->run->home->store, a->run->name, &a->run->catalog,
                 catalog_done, a);
}

static void record_read(struct attaching *a)
{
    char name[RECORD_NAME_BYTES];

    recio_get(a->run->home->store, name_run(name, a->run->name, "RUN"),
              RECORD_MAX_BYTES, record_done, a);
}

static struct run *run_find(struct home *home, const char *name)
{
    LIST_FOR_EACH (node, &home->runs) {
        struct run *run = container_of(node, struct run, link);

        if (strcmp(run->name, name) == 0)
            return run;
    }
    return NULL;
}

static struct run *run_new(struct home *home, const char *name)
{
    struct run *run = calloc(1, sizeof *run);

    if (!run)
        return NULL;
    run->home = home;
    run->catalog.is_compact = true;
    (void)snprintf(run->name, sizeof run->name, "%s", name);
    list_init(&run->joinings);
    list_init(&run->saves);
    list_init(&run->commits);
    list_init(&run->loads);
    list_append(&home->runs, &run->link);
    return run;
}

/* The list of callers, made when there is none; NULL on no memory. */
static struct attaching *attaching_of(struct run *run)
{
    struct attaching *a = run->attaching;

    if (a)
        return a;
    a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->run = run;
    list_init(&a->waiters);
    run->attaching = a;
    return a;
}

void attach_to_run(struct home *home, struct attach_waiter *waiter)
{
    struct run *run = run_find(home, waiter->run_name);
    bool is_new = !run;
    struct attaching *a;
    struct err err;

    if (is_new)
        run = run_new(home, waiter->run_name);
    a = run ? attaching_of(run) : NULL;
    if (!a) {
        if (run && is_new)
            run_free(run);
        (void)err_set(&err, -ENOMEM, "run %s: no memory", waiter->run_name);
        waiter->done(waiter->arg, -ENOMEM, NULL, &err);
        free(waiter);
        return;
    }
    list_append(&a->waiters, &waiter->link);
    if (is_new && run_name_is_good(run->name))
        record_read(a);
    else if (is_new)
        attaching_fail(a, -EINVAL, "",
                       "a run's name is made of letters, digits, '.', '_' and "
                       "'-', and does not begin with '.'");
    else if (run->is_attached)
        attaching_end(a);
}
