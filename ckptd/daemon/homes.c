/*
 * homes.c - the stores of homes: opened on threads of their own, watched by the
 * loop.
 *
 * Opening may take many seconds (a cluster whose monitors do not answer, a
 * server that is gone), so that it is neither the loop's work nor that of the
 * workers, who digest. A few threads do it; what they open, and why they could
 * not, comes back to the loop, which watches the store from then on.
 *
 * Homes in RADOS need the network and librados, of which a daemon that was not
 * started for them has given up the first and cannot load the other any more
 * (confine.h): they are refused there, in words.
 */
#include "ckptd/daemon/reactor.h"
#include "common/text.h"
#include "storage/rados_api.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* One that gets no answer must not hold up the next. */
#define OPENERS 4

/*
 * A store among what the loop waits for.
 */

static void store_ready(struct source *source, uint32_t events)
{
    struct home_source *h = container_of(source, struct home_source, source);
    int rc = store_poll(h->store, 0);

    (void)events;
    if (rc < 0 && rc != -EINTR)
        log_line(LOG_LEVEL_ERROR, "store", "poll: %s", err_text(rc));
}

int store_watch(struct reactor *r, struct home_source *h, struct store *store)
{
    h->store = store;
    h->source.fd = store_poll_fd(store);
    h->source.ready = store_ready;
    return reactor_watch(r, &h->source, EPOLLIN);
}

static int watch_home(struct reactor *r, struct store *store, struct err *err)
{
    struct home_source *h = calloc(1, sizeof *h);
    int rc;

    if (!h)
        return err_set(err, -ENOMEM, "no memory");
    rc = store_watch(r, h, store);
    if (rc) {
        free(h);
        return err_set(err, rc, "epoll: %s", err_text(rc));
    }
    list_append(&r->homes, &h->link);
    return 0;
}

/*
 * Opening.
 */

static void open_run(struct env_job *job)
{
    struct env_opening *o = container_of(job, struct env_opening, job);

    o->result = store_home_open(o->path, STORE_OPEN_WRITE | STORE_OPEN_CREATE,
                                STORE_ENGINE_AUTO, &o->store, &o->err);
}

static void open_done(struct env_job *job)
{
    struct env_opening *o = container_of(job, struct env_opening, job);
    char text[512];

    if (o->result == 0) {
        o->result = watch_home(reactor_of(o->env), o->store, &o->err);
        if (o->result)
            store_close(o->store);
    }
    if (o->result == 0) {
        store_describe(o->store, text, sizeof text);
        log_line(LOG_LEVEL_INFO, "store", "home %s: %s", o->path, text);
    }
    o->done(o);
}

/* Not for this daemon: only to be told so. */
static void refuse_run(struct env_job *job)
{
    struct env_opening *o = container_of(job, struct env_opening, job);

    o->result = o->err.code;
}

void homes_begin(struct env *env, struct env_opening *o)
{
    struct reactor *r = reactor_of(env);
    bool is_refused = text_home_is_rados(o->path) && r->no_rados.code;

    o->env = env;
    o->err = is_refused ? r->no_rados : (struct err){0};
    o->job.run = is_refused ? refuse_run : open_run;
    o->job.done = open_done;
    workers_give(r->openers, &o->job);
}

void homes_end(struct env *env, struct store *store)
{
    struct reactor *r = reactor_of(env);

    LIST_FOR_EACH_SAFE (node, after, &r->homes) {
        struct home_source *h = container_of(node, struct home_source, link);

        if (h->store != store)
            continue;
        reactor_unwatch(r, &h->source);
        list_remove(&h->link);
        free(h);
    }
    store_close(store);
}

/*
 * Start and end.
 */

/* What cannot be had once the daemon is confined. */
static void find_rados(struct reactor *r)
{
    const struct rados_api *api;

    if (r->options->has_network && rados_api_load(&api, &r->no_rados))
        log_line(LOG_LEVEL_WARN, "daemon", "%s", r->no_rados.text);
    if (!r->options->has_network)
        (void)err_set(&r->no_rados, -EOPNOTSUPP,
                      "this daemon (pid %d) was started without --rados and "
                      "has given up the right to use the network: end it "
                      "(kill %d: it finishes what is undecided) and %s",
                      (int)getpid(), (int)getpid(),
                      r->options->is_foreground
                          ? "start it with --rados"
                          : "the next trainer with a home in RADOS starts "
                            "one that has it");
}

static void openings_done(struct source *source, uint32_t events)
{
    (void)events;
    workers_collect(container_of(source, struct reactor, opener_done)->openers);
}

int homes_open(struct reactor *r)
{
    int rc = workers_open(OPENERS, &r->openers);

    if (rc)
        return rc;
    find_rados(r);
    r->opener_done.fd = workers_fd(r->openers);
    r->opener_done.ready = openings_done;
    return reactor_watch(r, &r->opener_done, EPOLLIN);
}

void homes_close_openers(struct reactor *r)
{
    workers_close(r->openers);
}
