/*
 * node.c - machines of the simulated cluster, and the daemons that live there.
 *
 * A daemon is the real engine in an environment of test_env.h, of which the
 * simulator replaces stores, messages and the log. A daemon that was killed
 * gets nothing out any more; what it had under way ends, and then it is freed.
 * A machine that loses its power loses its ranks too, and its monotonic clock
 * begins anew.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HOMES_MAX   4
#define STOP_GRACE  (20000 * SIM_MS)
#define CLOCK_START (3600 * 1000 * SIM_MS)

struct sim_daemon {
    struct list link; /* sim.daemons */
    struct sim *sim;
    struct sim_node *node;
    struct test_env *env;
    struct env_ops ops;
    struct engine *engine;
    struct store *home[HOMES_MAX];
    uint32_t home_count, life;
    bool is_alive, is_ready, is_stopping, is_stopped;
};

static struct sim_daemon *of(struct env *env)
{
    return container_of(env, struct test_env, env)->owner;
}

/*
 * The environment.
 */

static int d_home_open(struct env *env, const char *path, struct store **out,
                       struct err *err)
{
    struct sim_daemon *d = of(env);
    struct store *port;

    if (strcmp(path, SIM_HOME) != 0 || d->home_count == HOMES_MAX)
        return err_set(err, -ENOENT, "no such home");
    port = port_open(d->sim->home, d->node->name, &d->node->ops);
    if (!d->is_alive)
        port_cut(port);
    else if (d->node->is_partitioned)
        port_hold(port, true);
    d->home[d->home_count++] = port;
    *out = port;
    return 0;
}

static void d_home_close(struct env *env, struct store *store)
{
    struct sim_daemon *d = of(env);

    for (uint32_t i = 0; i < d->home_count; i++)
        if (d->home[i] == store)
            d->home[i] = d->home[--d->home_count];
    store_close(store);
}

static void d_send(struct env *env, env_peer peer, const struct wire_header *h,
                   const void *payload, const struct env_arena *arena)
{
    struct sim_daemon *d = of(env);

    if (d->is_alive)
        conn_from_daemon(d->sim, d, peer, h, payload, arena);
}

static void d_hang_up(struct env *env, env_peer peer)
{
    struct sim_daemon *d = of(env);

    conn_hung_up(d->sim, d, peer);
}

static void d_log(struct env *env, enum log_level level, const char *format,
                  ...) PRINTF_LIKE(3, 4);

static void d_log(struct env *env, enum log_level level, const char *format,
                  ...)
{
    struct sim_daemon *d = of(env);
    char line[2048];
    va_list args;

    if (!d->sim->is_traced)
        return;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    sim_trace(d->sim, "%s says (%d): %s", d->node->name, (int)level, line);
}

static struct test_env *env_make(struct sim_daemon *d)
{
    struct sim_node *n = d->node;
    struct test_env *t = test_env_new(d->sim->world, n->name);

    store_close(t->env.local);
    t->env.local = port_open(n->disk, n->name, &n->ops);
    d->ops = *t->env.ops;
    t->home_open = d_home_open;
    d->ops.home_close = d_home_close;
    d->ops.send = d_send;
    d->ops.hang_up = d_hang_up;
    d->ops.log = d_log;
    t->env.ops = &d->ops;
    t->owner = d;
    t->ahead_ns = n->ahead_ns;
    t->unix_ahead_ms = n->unix_ahead_ms;
    return t;
}

/*
 * Lives.
 */

static void event_not_ready(struct sim *s, void *arg, uint64_t life)
{
    struct sim_node *n = arg;

    if (n->daemon && n->lives == life)
        node_kill_daemon(s, n);
}

static void on_ready(void *arg, int result, const struct err *err)
{
    struct sim_daemon *d = arg;

    if (!d->is_alive)
        return;
    sim_trace(d->sim, "%s: its daemon is ready: %d %s", d->node->name, result,
              result ? err->text : "");
    d->is_ready = result == 0;
    if (result)
        sim_after(d->sim, 0, event_not_ready, d->node, d->life);
}

void node_start(struct sim *s, struct sim_node *n)
{
    struct sim_daemon *d;
    struct err err = {0};
    int rc;

    if (n->daemon || n->is_off)
        return;
    d = calloc(1, sizeof *d);
    assert(d);
    d->sim = s;
    d->node = n;
    d->life = ++n->lives;
    d->is_alive = true;
    d->env = env_make(d);
    n->daemon = d;
    list_append(&s->daemons, &d->link);
    sim_trace(s, "%s: daemon %u starts", n->name, d->life);
    rc = engine_open(&d->env->env, &d->engine, on_ready, d, &err);
    assert(rc == 0);
    d->engine->chunk_bytes = CHUNK_BYTES_MIN;
    d->env->env.buffer_bytes = chunk_extent_bytes(CHUNK_BYTES_MIN);
}

/* Whatever is under way there goes on without its process. */
static void ports_cut(struct sim_daemon *d)
{
    port_cut(d->env->env.local);
    for (uint32_t i = 0; i < d->home_count; i++)
        port_cut(d->home[i]);
}

void node_kill_daemon(struct sim *s, struct sim_node *n)
{
    struct sim_daemon *d = n->daemon;

    if (!d)
        return;
    sim_trace(s, "%s: daemon %u is killed", n->name, d->life);
    s->stats.crashes++;
    n->daemon = NULL;
    d->is_alive = false;
    test_env_kill(d->env);
    ports_cut(d);
    conns_daemon_dead(s, d);
    engine_halt(d->engine);
}

static void on_stopped(void *arg)
{
    struct sim_daemon *d = arg;

    d->is_stopped = true;
}

static void event_hurry(struct sim *s, void *arg, uint64_t life)
{
    struct sim_node *n = arg;

    (void)s;
    if (n->daemon && n->daemon->life == life && n->daemon->is_stopping)
        engine_stop(n->daemon->engine, on_stopped, n->daemon);
}

void node_stop_daemon(struct sim *s, struct sim_node *n)
{
    struct sim_daemon *d = n->daemon;

    if (!d || !d->is_ready || d->is_stopping)
        return;
    sim_trace(s, "%s: daemon %u is told to stop", n->name, d->life);
    d->is_stopping = true;
    engine_stop(d->engine, on_stopped, d);
    sim_after(s, STOP_GRACE, event_hurry, n, d->life);
}

static void ranks_die(struct sim *s, const struct sim_node *n)
{
    LIST_FOR_EACH (node, &s->jobs) {
        struct sim_job *j = container_of(node, struct sim_job, link);

        for (uint32_t i = 0; i < j->rank_count; i++)
            if (j->rank[i].node == n)
                rank_die(&j->rank[i], "its machine lost power");
        if (j->twin && j->twin->node == n)
            rank_die(j->twin, "its machine lost power");
    }
}

void node_power_loss(struct sim *s, struct sim_node *n)
{
    if (n->is_off)
        return;
    sim_trace(s, "%s: power is lost", n->name);
    n->is_off = true;
    if (n->daemon)
        node_kill_daemon(s, n);
    else
        s->stats.crashes++;
    ranks_die(s, n);
    disk_power_loss(n->disk);
}

void node_power_on(struct sim *s, struct sim_node *n)
{
    if (!n->is_off)
        return;
    n->is_off = false;
    n->ahead_ns = -(int64_t)(sim_now(s) - sim_between(s, 1, CLOCK_START));
    sim_trace(s, "%s: power is back", n->name);
}

void node_replace(struct sim *s, struct sim_node *n)
{
    node_power_loss(s, n);
    disk_lose(n->disk);
    node_power_on(s, n);
}

void node_partition(struct sim *s, struct sim_node *n, bool is_partitioned)
{
    struct sim_daemon *d = n->daemon;

    if (n->is_partitioned == is_partitioned)
        return;
    sim_trace(s, "%s: %s the home", n->name,
              is_partitioned ? "cut off from" : "reaches");
    n->is_partitioned = is_partitioned;
    for (uint32_t i = 0; d && i < d->home_count; i++)
        port_hold(d->home[i], is_partitioned);
}

void node_jump(struct sim *s, struct sim_node *n, int64_t ms)
{
    sim_trace(s, "%s: its wall clock jumps by %lld ms", n->name, (long long)ms);
    n->unix_ahead_ms += ms;
    if (n->daemon)
        n->daemon->env->unix_ahead_ms = n->unix_ahead_ms;
}

bool node_is_ready(const struct sim_node *n)
{
    return n->daemon && n->daemon->is_ready && !n->daemon->is_stopping;
}

struct engine *daemon_engine(const struct sim_daemon *d)
{
    return d->engine;
}

bool daemon_is_alive(const struct sim_daemon *d)
{
    return d->is_alive;
}

uint32_t daemon_node(const struct sim_daemon *d)
{
    return d->node->index;
}

/*
 * The wheel's part.
 */

static bool ports_turn(struct sim_daemon *d)
{
    bool busy = port_turn(d->env->env.local);

    for (uint32_t i = 0; i < d->home_count; i++)
        busy = port_turn(d->home[i]) || busy;
    return busy;
}

/* Nothing of it is under way any more. */
static void daemon_free(struct sim_daemon *d)
{
    if (d->node->daemon == d)
        d->node->daemon = NULL;
    if (d->is_alive) { /* stopped in order: its process ends */
        d->is_alive = false;
        ports_cut(d);
        conns_daemon_dead(d->sim, d);
    }
    sim_trace(d->sim, "%s: daemon %u has ended", d->node->name, d->life);
    engine_close(d->engine);
    test_env_free(d->env);
    list_remove(&d->link);
    free(d);
}

static void crash_if_due(struct sim *s, struct sim_node *n)
{
    if (!n->crash_at_op || n->ops < n->crash_at_op)
        return;
    n->crash_at_op = 0;
    if (sim_chance(s, 50))
        node_kill_daemon(s, n);
    else
        node_power_loss(s, n);
}

bool nodes_turn(struct sim *s)
{
    bool busy = false;

    for (uint32_t i = 0; i < s->plan.nodes; i++)
        crash_if_due(s, &s->node[i]);
    LIST_FOR_EACH_SAFE (node, after, &s->daemons) {
        struct sim_daemon *d = container_of(node, struct sim_daemon, link);

        busy = ports_turn(d) || busy;
        if (d->is_alive ? d->is_stopped : engine_is_quiet(d->engine)) {
            daemon_free(d);
            busy = true;
        }
    }
    return busy;
}

void nodes_begin(struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.nodes; i++) {
        struct sim_node *n = &s->node[i];

        n->index = i;
        (void)snprintf(n->name, sizeof n->name, "node%u", i);
        n->disk = disk_new(s, "drive");
        *disk_model(n->disk) = s->plan.local;
        n->ahead_ns = (int64_t)sim_random(s, CLOCK_START);
        n->unix_ahead_ms = (int64_t)sim_random(s, 100000);
    }
}

static bool are_gone(void *arg)
{
    struct sim *s = arg;

    while (nodes_turn(s))
        continue;
    return list_is_empty(&s->daemons);
}

void nodes_end(struct sim *s)
{
    bool is_done;

    s->is_over = true;
    for (uint32_t i = 0; i < s->plan.nodes; i++) {
        s->node[i].crash_at_op = 0;
        node_kill_daemon(s, &s->node[i]);
    }
    is_done = test_run(s->world, 3600 * 1000, are_gone, s);
    assert(is_done);
}
