/*
 * faults.c - what goes wrong, and when: so many faults at random moments of the
 * first part of a seed. Then everything is mended.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>

#define FAIL_PPM 20000

static struct sim_node *any_node(struct sim *s)
{
    return &s->node[sim_random(s, s->plan.nodes)];
}

static struct sim_rank *any_rank(struct sim *s)
{
    struct sim_job *j = job_current(s);

    return j ? &j->rank[sim_random(s, j->rank_count)] : NULL;
}

/*
 * Faults that pass.
 */

static void event_power_on(struct sim *s, void *arg, uint64_t unused)
{
    (void)unused;
    node_power_on(s, arg);
}

static void event_rejoin(struct sim *s, void *arg, uint64_t unused)
{
    (void)unused;
    node_partition(s, arg, false);
}

static void event_home_up(struct sim *s, void *arg, uint64_t unused)
{
    (void)arg;
    (void)unused;
    sim_trace(s, "the home is back");
    disk_set_down(s->home, false);
}

static void event_unhang(struct sim *s, void *arg, uint64_t unused)
{
    (void)s;
    (void)unused;
    rank_unhang(arg);
}

static void event_mend(struct sim *s, void *arg, uint64_t unused)
{
    struct sim_disk *d = arg;

    (void)s;
    (void)unused;
    disk_model(d)->fail_ppm = 0;
}

static void event_quick(struct sim *s, void *arg, uint64_t most_ns)
{
    struct sim_disk *d = arg;

    (void)s;
    disk_model(d)->most_ns = most_ns;
}

static uint64_t while_ns(struct sim *s, uint64_t most_ms)
{
    return sim_between(s, 10, most_ms) * SIM_MS;
}

static void lose_power(struct sim *s, struct sim_node *n)
{
    node_power_loss(s, n);
    sim_after(s, while_ns(s, 15000), event_power_on, n, 0);
}

static void power_loss(struct sim *s)
{
    lose_power(s, any_node(s));
}

/* Several machines at once, as when a rack goes. */
static void black_out(struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.nodes; i++) {
        if (sim_chance(s, 30))
            continue;
        node_power_loss(s, &s->node[i]);
        sim_after(s, while_ns(s, 5000), event_power_on, &s->node[i], 0);
    }
}

static void kill_daemon(struct sim *s)
{
    node_kill_daemon(s, any_node(s));
}

static void stop_daemon(struct sim *s)
{
    node_stop_daemon(s, any_node(s));
}

static void kill_rank(struct sim *s)
{
    struct sim_rank *r = any_rank(s);

    if (r)
        rank_die(r, "it is killed");
}

static void hang_rank(struct sim *s)
{
    struct sim_rank *r = any_rank(s);

    if (!r || r->phase == RANK_DEAD || r->is_hung)
        return;
    sim_trace(s, "job %u rank %u: hangs", r->job->number, r->rank);
    r->is_hung = true;
    sim_after(s, while_ns(s, 60000), event_unhang, r, 0);
}

static void break_connection(struct sim *s)
{
    struct sim_rank *r = any_rank(s);

    if (!r || !r->conn)
        return;
    sim_trace(s, "job %u rank %u: its connection breaks", r->job->number,
              r->rank);
    conn_break(r->conn);
}

static void partition(struct sim *s)
{
    struct sim_node *n = any_node(s);

    node_partition(s, n, true);
    sim_after(s, while_ns(s, 20000), event_rejoin, n, 0);
}

static void home_crash(struct sim *s)
{
    sim_trace(s, "the home crashes");
    disk_set_down(s->home, true);
    disk_power_loss(s->home);
    sim_after(s, while_ns(s, 10000), event_home_up, NULL, 0);
}

static void home_fails(struct sim *s)
{
    sim_trace(s, "requests to the home fail now and then");
    disk_model(s->home)->fail_ppm = FAIL_PPM;
    sim_after(s, while_ns(s, 10000), event_mend, s->home, 0);
}

static void drive_fails(struct sim *s)
{
    struct sim_node *n = any_node(s);

    sim_trace(s, "%s: its drive fails now and then", n->name);
    disk_model(n->disk)->fail_ppm = FAIL_PPM;
    sim_after(s, while_ns(s, 5000), event_mend, n->disk, 0);
}

static void event_room(struct sim *s, void *arg, uint64_t unused)
{
    struct sim_disk *d = arg;

    (void)unused;
    sim_trace(s, "there is room again");
    disk_model(d)->is_full = false;
}

static void fill_up(struct sim *s)
{
    struct sim_disk *d = sim_chance(s, 70) ? any_node(s)->disk : s->home;

    sim_trace(s, "%s is full", d == s->home ? "the home" : "a drive");
    disk_model(d)->is_full = true;
    sim_after(s, while_ns(s, 8000), event_room, d, 0);
}

static void drive_slow(struct sim *s)
{
    struct sim_node *n = any_node(s);

    sim_trace(s, "%s: its drive is slow", n->name);
    disk_model(n->disk)->most_ns = 1500 * SIM_MS;
    sim_after(s, while_ns(s, 10000), event_quick, n->disk,
              s->plan.local.most_ns);
}

static void clock_jump(struct sim *s)
{
    node_jump(s, any_node(s), (int64_t)sim_random(s, 200000000) - 100000000);
}

/* At the very moment when something has been written. */
static void crash_at_op(struct sim *s)
{
    struct sim_node *n = any_node(s);

    n->crash_at_op = n->ops + sim_between(s, 1, 60);
    sim_after(s, while_ns(s, 8000), event_power_on, n, 0);
}

static void event_drive_unsynced(struct sim *s, void *arg, uint64_t unused)
{
    (void)unused;
    if (!s->is_calm)
        lose_power(s, arg);
}

static void event_home_unsynced(struct sim *s, void *arg, uint64_t unused)
{
    (void)arg;
    (void)unused;
    if (!s->is_calm)
        home_crash(s);
}

/* Power is lost when there is something that no sync has covered. */
static void crash_unsynced(struct sim *s)
{
    struct sim_node *n = any_node(s);

    if (sim_chance(s, 30))
        disk_when_unsynced(s->home, (uint32_t)sim_between(s, 1, 40),
                           event_home_unsynced, NULL);
    else
        disk_when_unsynced(n->disk, (uint32_t)sim_between(s, 1, 12),
                           event_drive_unsynced, n);
}

static void rot(struct sim *s)
{
    if (s->plan.has_rot && disk_rot(any_node(s)->disk))
        s->has_rotted = true;
}

static void twin(struct sim *s)
{
    struct sim_job *j = job_current(s);

    if (!j || j->twin)
        return;
    sim_trace(s, "job %u: a second process of a rank comes", j->number);
    job_twin(j, (uint32_t)sim_random(s, j->rank_count));
}

/* The next fault comes with something that happens. */
static void arm(struct sim *s)
{
    s->armed = (uint32_t)sim_between(s, MOMENT_NONE + 1, MOMENTS - 1);
}

typedef void (*fault_fn)(struct sim *s);

static const fault_fn kinds[] = {
    power_loss,
    black_out,
    kill_daemon,
    kill_daemon,
    stop_daemon,
    kill_rank,
    hang_rank,
    partition,
    home_crash,
    break_connection,
    home_fails,
    drive_fails,
    drive_slow,
    clock_jump,
    crash_at_op,
    crash_at_op,
    rot,
    twin,
    arm,
    arm,
    arm,
    arm,
    fill_up,
    crash_unsynced,
    crash_unsynced,
    crash_unsynced,
};

/* What comes when a fault was armed. */
static const fault_fn sudden[] = {
    power_loss, black_out, kill_daemon, kill_rank,
    home_crash, partition, hang_rank,   break_connection,
};

const char *const sim_fault_name[SIM_FAULTS] = {
    "power losses",     "black-outs",    "daemons killed", "daemons stopped",
    "ranks killed",     "ranks hung",    "partitions",     "home crashes",
    "links broken",     "home failing",  "drives failing", "drives slow",
    "clocks jumped",    "crashes by op", "bits rotten",    "second processes",
    "crashes unsynced", "full disks"};

/* In the order of their names. */
static const fault_fn counted[SIM_FAULTS] = {
    power_loss,  black_out,      kill_daemon, stop_daemon,      kill_rank,
    hang_rank,   partition,      home_crash,  break_connection, home_fails,
    drive_fails, drive_slow,     clock_jump,  crash_at_op,      rot,
    twin,        crash_unsynced, fill_up};

static void strike(struct sim *s, fault_fn fault)
{
    if (s->is_calm)
        return;
    for (uint32_t i = 0; i < SIM_FAULTS; i++)
        s->stats.fault[i] += counted[i] == fault;
    fault(s);
}

static void event_fault(struct sim *s, void *arg, uint64_t kind)
{
    (void)arg;
    strike(s, kinds[kind]);
}

static void event_sudden(struct sim *s, void *arg, uint64_t kind)
{
    (void)arg;
    strike(s, sudden[kind]);
}

void faults_moment(struct sim *s, enum moment m)
{
    if (s->armed != m || s->is_calm)
        return;
    s->armed = sim_chance(s, 30) ? (uint32_t)m : MOMENT_NONE;
    sim_after(s, sim_chance(s, 50) ? 0 : sim_random(s, 20 * SIM_MS),
              event_sudden, NULL, sim_random(s, ARRAY_LEN(sudden)));
}

static void event_calm(struct sim *s, void *arg, uint64_t unused)
{
    (void)arg;
    (void)unused;
    faults_heal(s);
    jobs_calm(s);
    ending_begin(s);
}

void faults_begin(struct sim *s)
{
    const struct sim_plan *p = &s->plan;

    for (uint32_t i = 0; i < p->fault_count; i++)
        sim_after(s, sim_random(s, p->faults_ns), event_fault, NULL,
                  sim_random(s, ARRAY_LEN(kinds)));
    sim_after(s, p->faults_ns, event_calm, NULL, 0);
}

void faults_heal(struct sim *s)
{
    sim_trace(s, "everything is mended");
    s->is_calm = true;
    disk_model(s->home)->fail_ppm = 0;
    disk_model(s->home)->is_full = false;
    disk_set_down(s->home, false);
    for (uint32_t i = 0; i < s->plan.nodes; i++) {
        struct sim_node *n = &s->node[i];

        n->crash_at_op = 0;
        node_power_on(s, n);
        node_partition(s, n, false);
        *disk_model(n->disk) = s->plan.local;
    }
    LIST_FOR_EACH (node, &s->jobs) {
        struct sim_job *j = container_of(node, struct sim_job, link);

        for (uint32_t i = 0; i < j->rank_count; i++)
            rank_unhang(&j->rank[i]);
    }
}
