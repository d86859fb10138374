/*
 * reactor.c - the loop, and the life of the daemon.
 *
 * Start: lock and open the local store, workers, memory, engine (which reads
 * the segments' headers), then listen and give up what is not needed any more
 * (confine.h): nobody is served before the engine is ready. End: a signal, or a
 * private daemon that had nothing to do for its linger time: stop listening,
 * let the engine finish what is undecided (a second signal: abort it), close.
 * Nothing is closed while the engine has something in flight, however it ends.
 */
#include "ckptd/daemon/reactor.h"
#include "ckptd/daemon/confine.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define NS_PER_MS ((uint64_t)1000 * 1000)

int reactor_watch(struct reactor *r, struct source *source, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = source};

    return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, source->fd, &e) < 0 ? -errno
                                                                     : 0;
}

int reactor_rewatch(struct reactor *r, struct source *source, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = source};

    return epoll_ctl(r->epoll_fd, EPOLL_CTL_MOD, source->fd, &e) < 0 ? -errno
                                                                     : 0;
}

void reactor_unwatch(struct reactor *r, struct source *source)
{
    /* Events of this turn that were not handled yet are void. */
    for (int i = 0; i < r->event_count; i++)
        if (r->event[i].data.ptr == source)
            r->event[i].data.ptr = NULL;
    if (source->fd >= 0)
        (void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
}

/*
 * The environment's smaller parts.
 */

static void env_random(struct env *env, void *to, size_t bytes)
{
    uint8_t *p = to;

    (void)env;
    while (bytes) {
        ssize_t n = getrandom(p, bytes, 0);

        assert(n > 0 || errno == EINTR);
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        }
    }
}

static void env_work(struct env *env, struct env_job *job)
{
    workers_give(reactor_of(env)->workers, job);
}

PRINTF_LIKE(3, 4)
static void env_log(struct env *env, enum log_level level, const char *format,
                    ...)
{
    char text[LOG_LINE_BYTES];
    va_list args;

    (void)env;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_line(level, "engine", "%s", text);
}

static const struct env_ops env_ops = {
    .now_ns = reactor_now_ns,
    .unix_ms = reactor_unix_ms,
    .random = env_random,
    .timer_set = reactor_timer_set,
    .timer_stop = reactor_timer_stop,
    .work = env_work,
    .send = peers_send,
    .hang_up = peers_hang_up,
    .home_open = homes_begin,
    .home_close = homes_end,
    .arena_left = memory_arena_left,
    .arena_new = memory_arena_new,
    .arena_free = memory_arena_free,
    .buffer_get = memory_buffer_get,
    .buffer_put = memory_buffer_put,
    .log = env_log,
};

/*
 * Start.
 */

static void env_init(struct reactor *r)
{
    struct env *env = &r->env;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    env->ops = &env_ops;
    env->is_service = r->options->is_foreground;
    env->keep_last = r->options->keep_last;
    env->keep_every = r->options->keep_every;
    env->remote_every = r->options->remote_every;
    env->local_last = r->options->local_last;
    env->drain_bytes_s = (double)r->options->drain_bytes_s;
    env->drain_codec = r->options->drain_codec;
    env->scrub_every_ns = r->options->scrub_every_ms * NS_PER_MS;
    env->scrub_bytes_s = (double)r->options->scrub_bytes_s;
    /* The cap on what the daemon takes: two cores, or 5 % of many. */
    env->worker_count = (uint32_t)max_u64(2, (uint64_t)cpus / 20);
    env->buffer_count = (uint32_t)min_u64(2 * env->worker_count + 4, 64);
    env->buffer_bytes = chunk_extent_bytes(CHUNK_BYTES_DEFAULT);
    env->tier_bytes_s = 2e9;
    env->encode_bytes_s = 5e8 * env->worker_count;
    if (gethostname(env->host, sizeof env->host - 1) < 0)
        (void)snprintf(env->host, sizeof env->host, "unknown");
    (void)snprintf(
        env->mode, sizeof env->mode, "%s",
        r->options->is_foreground
            ? "foreground daemon: staged saves survive the death of ranks and "
              "the end of the job; lost with the node or with this daemon's "
              "own cgroup or container"
            : "private daemon: staged saves survive the death of ranks; lost "
              "with the job's cgroup or container, or with the node");
}

static void engine_stopped(void *arg)
{
    struct reactor *r = arg;

    r->is_done = true;
}

/* All is open that is not opened for a trainer. What is in force is said in
 * the mode, which every trainer is told. */
static void give_up_rights(struct reactor *r)
{
    size_t used = strlen(r->env.mode);
    char text[160];
    int rc = confine(r->options->has_network, text, sizeof text);

    (void)snprintf(r->env.mode + used, sizeof r->env.mode - used, "; %s", text);
    if (rc && rc != -EOPNOTSUPP)
        log_line(LOG_LEVEL_WARN, "daemon", "%s", text);
}

static void engine_ready(void *arg, int result, const struct err *err)
{
    struct reactor *r = arg;

    r->is_ready = true;
    if (result)
        r->start_error = *err;
    if (result || r->is_stopping || peers_listen(r, &r->start_error)) {
        r->is_stopping = true;
        engine_stop(r->engine, engine_stopped, r);
        return;
    }
    give_up_rights(r);
    log_line(LOG_LEVEL_INFO, "daemon", "ckptd %s serves local store %s (%s)",
             CKPT_VERSION, r->env.local_path, r->env.mode);
}

static void stop(struct reactor *r, const char *why)
{
    log_line(LOG_LEVEL_INFO, "daemon", "ending: %s", why);
    r->is_stopping = true;
    peers_unlisten(r);
    if (r->is_ready && r->stop_count++ < 2)
        engine_stop(r->engine, engine_stopped,
                    r); /* engine_ready() does else */
}

static void signal_ready(struct source *source, uint32_t events)
{
    struct reactor *r = container_of(source, struct reactor, signals);
    struct signalfd_siginfo info;

    (void)events;
    while (read(source->fd, &info, sizeof info) == (ssize_t)sizeof info)
        stop(r, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void jobs_done(struct source *source, uint32_t events)
{
    (void)events;
    workers_collect(container_of(source, struct reactor, worker_done)->workers);
}

static void signals_fill(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
}

/* Before there are threads, which inherit it: those of a store do not know the
 * signalfd, and one that they get would end the process. */
static void signals_block(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;
    int rc;

    signals_fill(&set);
    rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc == 0)
        rc = sigaction(SIGPIPE, &ignore, NULL);
    if (rc == 0)
        rc = sigaction(SIGHUP, &ignore, NULL);
    /* A limit on the size of files is told by -EFBIG, not by our end. */
    if (rc == 0)
        rc = sigaction(SIGXFSZ, &ignore, NULL);
    assert(rc == 0);
}

static int sources_open(struct reactor *r, struct err *err)
{
    sigset_t set;
    int rc;

    signals_fill(&set);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (r->epoll_fd < 0)
        return err_set(err, -errno, "epoll_create1: %s", err_text(-errno));
    r->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r->signals.ready = signal_ready;
    if (r->signals.fd < 0)
        return err_set(err, -errno, "signalfd: %s", err_text(-errno));
    rc = workers_open(r->env.worker_count, &r->workers);
    if (rc)
        return err_set(err, rc, "cannot start workers: %s", err_text(rc));
    r->worker_done.fd = workers_fd(r->workers);
    r->worker_done.ready = jobs_done;
    rc = reactor_watch(r, &r->signals, EPOLLIN);
    if (rc == 0)
        rc = reactor_watch(r, &r->worker_done, EPOLLIN);
    if (rc == 0)
        rc = homes_open(r);
    return rc ? err_set(err, rc, "epoll or openers: %s", err_text(rc)) : 0;
}

static int reactor_open(struct reactor *r, struct err *err)
{
    char text[512];
    int rc = local_open(r, err);

    if (rc == 0)
        rc = sources_open(r, err);
    if (rc == 0)
        rc = memory_init(r, err);
    if (rc)
        return rc;
    store_describe(r->env.local, text, sizeof text);
    log_line(LOG_LEVEL_INFO, "store", "local store %s: %s", r->env.local_path,
             text);
    rc = store_buffer_add(r->env.local, r->buffers,
                          r->env.buffer_count * r->env.buffer_bytes);
    if (rc)
        log_line(LOG_LEVEL_INFO, "store", "buffers are not registered: %s",
                 err_text(rc));
    rc = store_watch(r, &r->local_source, r->env.local);
    if (rc)
        return err_set(err, rc, "local store: epoll: %s", err_text(rc));
    return engine_open(&r->env, &r->engine, engine_ready, r, err);
}

static void reactor_close(struct reactor *r)
{
    if (r->listener.fd >= 0 || !list_is_empty(&r->peers))
        peers_close(r);
    if (r->engine)
        engine_close(r->engine);
    homes_close_openers(r);
    memory_stop(r);
    workers_close(r->workers);
    local_close(r);
    memory_fini(r);
    if (r->signals.fd >= 0)
        close(r->signals.fd);
    if (r->epoll_fd >= 0)
        close(r->epoll_fd);
}

/*
 * The loop.
 */

/* A daemon that nobody has reached yet gives its starter time to connect, as
 * long as there is one: it may have found another daemon and ended. */
#define FIRST_PEER_MS   ((uint64_t)10 * 1000)
#define STARTER_LOOK_MS 200

static bool awaits_starter(const struct reactor *r)
{
    return !r->had_work && getppid() == r->starter;
}

static uint64_t linger_ns(const struct reactor *r)
{
    uint64_t ms = r->options->linger_ms;

    return NS_PER_MS * (awaits_starter(r) ? max_u64(ms, FIRST_PEER_MS) : ms);
}

/* A private daemon without work ends after its linger time. */
static void consider_linger(struct reactor *r)
{
    uint64_t now = reactor_now_ns(&r->env);

    if (r->options->is_foreground || r->is_stopping || !r->is_ready)
        return;
    if (r->peer_count > 0 || !engine_is_idle(r->engine)) {
        r->idle_since_ns = 0;
        r->had_work = r->had_work || r->peer_count > 0;
        return;
    }
    if (!r->idle_since_ns)
        r->idle_since_ns = now;
    if (now - r->idle_since_ns >= linger_ns(r))
        stop(r, "nothing to do");
}

static int loop_wait_ms(const struct reactor *r)
{
    int ms = reactor_timers_wait_ms(r);
    uint64_t now = reactor_now_ns(NULL);
    uint64_t end = r->idle_since_ns + linger_ns(r);
    int linger;

    if (!r->idle_since_ns || r->is_stopping)
        return ms;
    linger = end > now ? (int)min_u64((end - now) / NS_PER_MS + 1, 60000) : 0;
    if (awaits_starter(r) && linger > STARTER_LOOK_MS)
        linger = STARTER_LOOK_MS;
    return ms < 0 || linger < ms ? linger : ms;
}

static int loop(struct reactor *r, struct err *err)
{
    while (!r->is_done) {
        int n =
            epoll_wait(r->epoll_fd, r->event, REACTOR_EVENTS, loop_wait_ms(r));

        assert(n >= 0 || errno == EINTR);
        r->event_count = n < 0 ? 0 : n;
        for (int i = 0; i < r->event_count; i++) {
            struct source *source = r->event[i].data.ptr;

            if (source)
                source->ready(source, r->event[i].events);
        }
        r->event_count = 0;
        reactor_timers_fire(r);
        consider_linger(r);
    }
    if (r->start_error.code)
        *err = r->start_error;
    return r->start_error.code;
}

int reactor_run(const struct reactor_options *options, struct err *err)
{
    struct reactor *r = calloc(1, sizeof *r);
    int rc;

    if (!r)
        return err_set(err, -ENOMEM, "no memory for the daemon");
    r->starter = getppid();
    r->options = options;
    r->epoll_fd = r->lock_fd = r->local_dir_fd = -1;
    r->signals.fd = r->listener.fd = -1;
    list_init(&r->homes);
    list_init(&r->timers);
    list_init(&r->peers);
    list_init(&r->arenas);
    signals_block();
    env_init(r);
    rc = reactor_open(r, err);
    if (rc == 0)
        rc = loop(r, err);
    reactor_close(r);
    free(r);
    return rc;
}
