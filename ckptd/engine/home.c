/*
 * home.c - homes: opened at the first call that names them, closed at the end.
 *
 *   OPEN -> READ -> (LOOK -> MAKE -> READ)* -> open | failed | a twin of
 * another
 *
 * The environment opens its store, which may take long. STORE is read; when it
 * is absent the folder must be empty (our own local store and what a file
 * system puts there aside), and STORE is created exclusively and read again, so
 * that of two daemons that come at once both use what one of them wrote. A home
 * whose uuid is attached already under another path is a twin: its store is
 * closed, and its callers go to the first.
 *
 * What ends an opening runs from a timer, never from a callback of the very
 * store that it may close.
 */
#include "ckptd/engine/home_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* home.attaching until STORE is read. */
struct opening {
    struct home *home;
    struct list waiters; /* struct attach_waiter */
    struct env_opening store;
    struct env_timer timer;
    uint32_t tries;
    struct err err; /* code: the result */
};

uint32_t decide_timeout(uint32_t ms)
{
    return ms > 0 ? ms : DECIDE_MS;
}

void mark_fill(struct env *env, struct record_mark *mark,
               const struct save_id *id)
{
    *mark = (struct record_mark){.daemon = env->local_uuid,
                                 .created_unix_ms = env->ops->unix_ms(env)};
    if (id)
        mark->id = *id;
    (void)snprintf(mark->note, sizeof mark->note, "%s", env->host);
}

static void home_free(struct home *h)
{
    struct opening *o = h->attaching;
    struct env *env = h->engine->env;
    struct list *node;

    assert(!h->is_opening);
    env->ops->home_close(env, h->store);
    while ((node = h->runs.next) != &h->runs)
        run_free(container_of(node, struct run, link));
    if (o) {
        env->ops->timer_stop(env, &o->timer);
        attach_waiters_cancel(&o->waiters);
        free(o);
    }
    list_remove(&h->link);
    free(h);
}

void homes_close(struct engine *engine)
{
    struct list *node;

    engine->is_closing = true;
    while ((node = engine->homes.next) != &engine->homes)
        home_free(container_of(node, struct home, link));
}

static struct home *home_find(struct engine *engine, const char *path)
{
    LIST_FOR_EACH (node, &engine->homes) {
        struct home *h = container_of(node, struct home, link);

        if (strcmp(h->path, path) == 0)
            return h;
    }
    return NULL;
}

static struct home *home_twin(const struct home *home)
{
    LIST_FOR_EACH (node, &home->engine->homes) {
        struct home *h = container_of(node, struct home, link);

        if (h != home && !h->attaching && id_equal(&h->uuid, &home->uuid))
            return h;
    }
    return NULL;
}

static void opening_end(struct opening *o);

/* From the timer: hand the callers on. */
static void opening_fire(struct env_timer *timer)
{
    struct opening *o = container_of(timer, struct opening, timer);
    struct home *h = o->home, *target = h;
    struct err err = o->err;
    struct list waiters, *node;

    list_init(&waiters);
    while ((node = list_pop(&o->waiters)))
        list_append(&waiters, node);
    h->attaching = NULL;
    free(o);
    if (err.code == 0)
        target = home_twin(h) ? home_twin(h) : h;
    if (err.code < 0 || target != h)
        home_free(h);
    if (err.code < 0) {
        attach_waiters_end(&waiters, NULL, &err);
        return;
    }
    while ((node = list_pop(&waiters)))
        attach_to_run(target, container_of(node, struct attach_waiter, link));
}

static void opening_end(struct opening *o)
{
    struct env *env = o->home->engine->env;

    o->timer.fire = opening_fire;
    env->ops->timer_set(env, &o->timer, env_now(env));
}

static void opening_fail(struct opening *o, int code, const char *what,
                         const char *why)
{
    (void)err_set(&o->err, code, "home %s: %s%s", o->home->path, what, why);
    opening_end(o);
}

static void store_read(struct opening *o);

/* The local store that this daemon has just made, straight in the home? */
static bool is_own_store(const struct home *h, const char *name)
{
    const char *local = h->engine->env->local_path;
    size_t bytes = strlen(h->path);

    return strncmp(local, h->path, bytes) == 0 && local[bytes] == '/' &&
           strcmp(local + bytes + 1, name) == 0;
}

static void store_put_done(void *arg, int result)
{
    struct opening *o = arg;

    if (result < 0 && result != -EEXIST)
        opening_fail(o, result, "STORE: ", err_text(result));
    else
        store_read(o); /* ours, or of who came first */
}

/* Only an empty folder becomes a home. */
static void root_done(void *arg, int result, struct store_names *names)
{
    struct opening *o = arg;
    struct env *env = o->home->engine->env;
    struct record_store record;
    struct wr w = {0};

    if (result < 0) {
        opening_fail(o, result, "", err_text(result));
        return;
    }
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->name[i];

        if (strcmp(name, "STORE") == 0)
            break; /* somebody made it just now */
        if (strcmp(name, "runs") == 0) {
            opening_fail(o, -CKPT_ECORRUPT, "",
                         "it has runs, but its STORE record is gone: put it "
                         "back from a backup");
            return;
        }
        if (strcmp(name, "local") != 0 && strcmp(name, "lost+found") != 0 &&
            !is_own_store(o->home, name)) {
            opening_fail(o, -ENOTEMPTY, "not empty and no home: it has ", name);
            return;
        }
    }
    env->ops->random(env, record.uuid.b, sizeof record.uuid.b);
    record_store_encode(&record, &w);
    recio_put(o->home->store, "STORE", &w, store_put_done, o);
}

static void store_read_done(void *arg, int64_t result, void *data)
{
    struct opening *o = arg;
    struct record_store record;
    struct err err;
    int rc;

    if (result == -ENOENT && o->tries++ < 2) {
        recio_list(o->home->store, "", root_done, o);
        return;
    }
    if (result < 0) {
        opening_fail(o, (int)result, "STORE: ", err_text((int)result));
        return;
    }
    rc = record_store_decode(data, (size_t)result, &record, &err);
    free(data);
    if (rc < 0) {
        opening_fail(o, rc,
                     "its STORE record is damaged, put it back from a "
                     "backup: ",
                     err.text);
        return;
    }
    o->home->uuid = record.uuid;
    opening_end(o);
}

static void store_read(struct opening *o)
{
    recio_get(o->home->store, "STORE", RECORD_MAX_BYTES, store_read_done, o);
}

static void store_opened(struct env_opening *opening)
{
    struct opening *o = container_of(opening, struct opening, store);

    o->home->is_opening = false;
    if (opening->result < 0) { /* in words that name the home */
        o->err = opening->err;
        o->err.code = opening->result;
        opening_end(o);
        return;
    }
    o->home->store = opening->store;
    store_read(o);
}

/* NULL on no memory. A failure to open is told later, like any other. */
static struct home *home_new(struct engine *engine, const char *path)
{
    struct home *h = calloc(1, sizeof *h);
    struct opening *o = calloc(1, sizeof *o);

    if (!h || !o) {
        free(h);
        free(o);
        return NULL;
    }
    h->engine = engine;
    h->attaching = o;
    h->is_opening = true;
    list_init(&h->runs);
    list_append(&engine->homes, &h->link);
    (void)snprintf(h->path, sizeof h->path, "%s", path);
    o->home = h;
    list_init(&o->waiters);
    o->store.path = h->path;
    o->store.done = store_opened;
    engine->env->ops->home_open(engine->env, &o->store);
    return h;
}

bool homes_opening(const struct engine *engine)
{
    LIST_FOR_EACH (node, &engine->homes) {
        if (container_of(node, struct home, link)->is_opening)
            return true;
    }
    return false;
}

void run_attach(struct engine *engine, const char *home_path,
                const char *run_name, run_fn done, void *arg)
{
    struct attach_waiter *w = calloc(1, sizeof *w);
    struct home *h = home_find(engine, home_path);
    struct opening *o;
    struct err err;

    if (w && !h)
        h = home_new(engine, home_path);
    if (!w || !h) {
        free(w);
        (void)err_set(&err, -ENOMEM, "home %s: no memory", home_path);
        done(arg, -ENOMEM, NULL, &err);
        return;
    }
    w->done = done;
    w->arg = arg;
    (void)snprintf(w->run_name, sizeof w->run_name, "%s", run_name);
    o = h->attaching;
    if (o)
        list_append(&o->waiters, &w->link);
    else
        attach_to_run(h, w);
}
