/*
 * rank.c - what a trainer's library does for one rank: it connects, starts a
 * daemon where there is none, joins, loads, saves, and when its daemon is lost
 * looks for the next one and asks what became of its saves.
 *
 *   DOWN -> GREETED -> SETTING -> (LOADING) -> READY
 *   all but DEAD -> DOWN, when the connection ends; all -> DEAD
 *
 * Saves are in rank_save.c, loads in rank_load.c.
 */
#include "tests/sim/rank.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RETRY_NS (20 * SIM_MS)
/* What may come on top of a deadline: messages and requests that are late, a
 * home that is not there. */
#define SLACK_MS 60000

void rank_send(struct sim_rank *r, enum wire_type type, uint64_t id,
               struct wr *w)
{
    if (r->conn)
        conn_to_daemon(r->conn, type, id, w);
    else
        wr_free(w);
}

void rank_fail(struct sim_rank *r, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (r->is_twin)
        rank_die(r, text);
    else
        job_fail(r->job, text);
}

/*
 * Connecting.
 */

static void say_hello(struct sim_rank *r)
{
    struct wire_hello hello = {.magic = WIRE_MAGIC,
                               .low = WIRE_VERSION_LOW,
                               .high = WIRE_VERSION_HIGH};
    struct wr w = {0};

    wire_hello_encode(&hello, &w);
    rank_send(r, WIRE_HELLO, 1, &w);
}

static void say_open(struct sim_rank *r)
{
    const struct sim_plan *p = &r->sim->plan;
    const struct sim_job *j = r->job;
    struct wire_open open = {
        .home = SIM_HOME,
        .run = SIM_RUN,
        .rank = r->rank,
        .world_size = j->rank_count,
        .resume = j->resume,
        .resume_step = j->resume_step,
        .resume_generation = j->resume_generation,
        .keep_last = p->keep_last,
        .keep_every = p->keep_every,
        .remote_every = p->remote_every,
        .local_last = p->local_last,
        .open_timeout_ms = p->open_ms,
        .decide_timeout_ms = j->decide_ms,
        .load_timeout_ms = p->load_ms,
        .codec = p->codec,
        .rejoin = r->has_joined,
    };
    struct wr w = {0};

    (void)snprintf(open.token, sizeof open.token, "%s", j->token);
    (void)snprintf(open.host, sizeof open.host, "%s", r->node->name);
    open.layout.axis_count = 1;
    (void)snprintf(open.layout.axis[0].name, AXIS_NAME_BYTES, "dp");
    open.layout.axis[0].degree = j->rank_count;
    open.coordinate[0] = r->rank;
    wire_open_encode(&open, &w);
    rank_send(r, WIRE_OPEN, 2, &w);
}

static void event_connect(struct sim *s, void *arg, uint64_t epoch);

static void connect_later(struct sim_rank *r, uint64_t delay_ns)
{
    r->phase = RANK_DOWN;
    sim_after(r->sim, delay_ns, event_connect, r, r->epoch);
}

static void event_connect(struct sim *s, void *arg, uint64_t epoch)
{
    struct sim_rank *r = arg;

    if (r->phase != RANK_DOWN || r->epoch != epoch)
        return;
    if (sim_now(s) - r->open_since_ns > (s->plan.open_ms + SLACK_MS) * SIM_MS) {
        rank_fail(r, "rank %u: no daemon could be had", r->rank);
        return;
    }
    if (r->is_hung || !node_is_ready(r->node)) {
        node_start(s, r->node);
        connect_later(r, RETRY_NS);
        return;
    }
    r->conn = conn_new(s, r, r->node->daemon);
    r->phase = RANK_GREETED;
    say_hello(r);
}

void rank_begin(struct sim_rank *r)
{
    list_init(&r->saves);
    r->next_request = 100;
    r->open_since_ns = sim_now(r->sim);
    state_describe(r);
    connect_later(r, sim_between(r->sim, 0, 300) * SIM_MS);
}

static void drop_connection(struct sim_rank *r)
{
    if (r->conn)
        conn_close(r->conn);
    r->conn = NULL;
    r->arena = NULL;
    r->epoch++;
}

void rank_die(struct sim_rank *r, const char *why)
{
    if (r->phase == RANK_DEAD)
        return;
    sim_trace(r->sim, "job %u rank %u: dies: %s", r->job->number, r->rank, why);
    r->phase = RANK_DEAD;
    r->is_hung = false;
    drop_connection(r);
    if (!r->is_twin)
        job_fail(r->job, why);
}

void rank_lost(struct sim_rank *r)
{
    bool was_loading = r->phase == RANK_LOADING;

    r->conn = NULL;
    if (r->phase == RANK_DEAD)
        return;
    sim_trace(r->sim, "job %u rank %u: its connection ended", r->job->number,
              r->rank);
    drop_connection(r);
    saves_lost(r);
    if (r->load.is_wanted && !r->load.is_done) {
        r->load.is_done = true;
        r->load.code = -ECONNRESET;
    }
    if (was_loading) {
        rank_fail(r, "rank %u: the daemon was lost while loading", r->rank);
        r->phase = RANK_DOWN;
        return;
    }
    r->open_since_ns = sim_now(r->sim);
    connect_later(r, RETRY_NS);
}

void rank_unhang(struct sim_rank *r)
{
    if (!r->is_hung)
        return;
    r->is_hung = false;
    sim_trace(r->sim, "job %u rank %u: goes on", r->job->number, r->rank);
    saves_touch(r);
    r->open_since_ns = r->load.progress_ns = sim_now(r->sim);
    if (r->conn)
        conn_unhang(r->conn);
}

void rank_end(struct sim_rank *r)
{
    struct list *node;

    while ((node = list_pop(&r->saves)))
        free(container_of(node, struct rank_save, link));
    for (uint32_t t = 0; t < SIM_TENSORS; t++)
        free(r->data[t]);
    writelist_free(&r->list);
}

/*
 * Setting up.
 */

static void say_arena(struct sim_rank *r)
{
    struct wire_arena v = {
        .bytes = PAGE_BYTES + r->sim->plan.slots * (uint64_t)chunk_extent_bytes(
                                                       CHUNK_BYTES_MIN)};
    struct wr w = {0};

    wire_arena_encode(&v, &w);
    rank_send(r, WIRE_ARENA, 3, &w);
}

static void say_table(struct sim_rank *r)
{
    struct wire_table v = {.number = 1};
    struct wr bare = {0}, w = {0};

    table_encode(r->entry, r->sim->plan.tensors, &bare);
    v.data = bare.data;
    v.bytes = (uint32_t)bare.bytes;
    wire_table_encode(&v, &w);
    rank_send(r, WIRE_TABLE, 4, &w);
    wr_free(&bare);
}

/* The other process of this rank, if there are two. */
static const struct sim_rank *other_of(const struct sim_rank *r)
{
    const struct sim_rank *twin = r->job->twin;

    if (r->is_twin)
        return &r->job->rank[r->rank];
    return twin && twin->rank == r->rank ? twin : NULL;
}

static void on_open_ok(struct sim_rank *r, const struct wire_open_ok *v)
{
    const struct sim_rank *other = other_of(r);

    if (other && other->generation == v->generation)
        sim_violation(r->sim,
                      "I5: job %u: two processes have joined as rank %u",
                      r->job->number, r->rank);
    if (r->has_joined && v->generation != r->generation) {
        rank_fail(r, "rank %u: generation %u is over", r->rank, r->generation);
        return;
    }
    r->generation = r->job->generation = v->generation;
    r->parent = r->job->parent = v->parent;
    r->phase = RANK_SETTING;
    faults_moment(r->sim, MOMENT_JOINED);
    say_arena(r);
}

static void on_ready_to_work(struct sim_rank *r)
{
    bool is_first = !r->has_joined;

    r->has_joined = true;
    r->phase = RANK_READY;
    if (!is_first)
        saves_ask(r);
    if (is_first && r->parent.generation > 0)
        load_begin(r, NULL);
    else
        job_rank_ready(r->job);
}

static void on_refused(struct sim_rank *r, const struct wire_error *v)
{
    char rank[32];

    (void)snprintf(rank, sizeof rank, "rank %u", r->rank);
    if (v->code >= 0 || !strstr(v->text, rank))
        if (v->code != -EAGAIN)
            sim_violation(r->sim, "I4: %s is refused by %d '%s'", rank, v->code,
                          v->text);
    if (v->code == -EAGAIN) { /* it starts or stops */
        drop_connection(r);
        connect_later(r, RETRY_NS);
        return;
    }
    rank_fail(r, "rank %u: refused: %d %s", r->rank, v->code, v->text);
    rank_die(r, "refused");
}

static void on_error(struct sim_rank *r, uint64_t id,
                     const struct wire_error *v)
{
    sim_trace(r->sim, "job %u rank %u: request %" PRIu64 " fails: %d %s",
              r->job->number, r->rank, id, v->code, v->text);
    if (id == 0)
        sim_violation(r->sim, "the daemon calls a breach: %s", v->text);
    else if (id <= 2)
        on_refused(r, v);
    else if (id <= 4)
        rank_fail(r, "rank %u: %d %s", r->rank, v->code, v->text);
    else if (r->load.request == id)
        load_refused(r, v);
    else
        save_refused(r, id, v);
}

static int take_up(struct sim_rank *r, const struct wire_header *h,
                   const uint8_t *payload, const struct env_arena *arena)
{
    struct wire_error error;
    struct wire_open_ok open_ok;
    int rc = 0;

    switch (h->type) {
    case WIRE_ERROR:
        rc = wire_error_decode(payload, h->length, &error);
        if (rc == 0)
            on_error(r, h->id, &error);
        return rc;
    case WIRE_HELLO_OK:
        say_open(r);
        return 0;
    case WIRE_OPEN_OK:
        rc = wire_open_ok_decode(payload, h->length, &open_ok);
        if (rc == 0)
            on_open_ok(r, &open_ok);
        return rc;
    case WIRE_ARENA_OK:
        r->arena = arena;
        say_table(r);
        return 0;
    case WIRE_TABLE_OK:
        on_ready_to_work(r);
        return 0;
    default:
        rc = save_frame(r, h, payload);
        return rc == -ENOENT ? load_frame(r, h, payload) : rc;
    }
}

void rank_frame(struct sim_rank *r, const struct wire_header *h,
                const uint8_t *payload, const struct env_arena *arena)
{
    int rc = take_up(r, h, payload, arena);

    if (rc)
        sim_violation(r->sim, "a frame of type %u does not decode: %d", h->type,
                      rc);
}

uint8_t *rank_slot(const struct sim_rank *r, uint32_t slot)
{
    uint32_t piece;
    uint64_t offset;

    if (!r->arena || !r->conn || !conn_has_memory(r->conn) ||
        !wire_slot_place(&r->arena->shape, slot, &piece, &offset))
        return NULL;
    return r->arena->base[piece] + offset + PAGE_BYTES;
}

/*
 * I4: nobody waits for ever.
 */

static bool is_late(const struct sim_rank *r, uint64_t since_ns, uint64_t ms)
{
    return sim_now(r->sim) > since_ns + (ms + SLACK_MS) * SIM_MS;
}

void rank_watch(struct sim_rank *r)
{
    const struct sim_plan *p = &r->sim->plan;

    if (r->phase == RANK_DEAD || r->is_hung)
        return;
    if ((r->phase == RANK_GREETED || r->phase == RANK_SETTING) &&
        is_late(r, r->open_since_ns, p->open_ms))
        sim_violation(r->sim, "I4: job %u rank %u has waited too long to join",
                      r->job->number, r->rank);
    if (r->load.is_wanted && !r->load.is_done &&
        is_late(r, r->load.progress_ns, (uint64_t)p->load_ms * 2))
        sim_violation(r->sim, "I4: job %u rank %u has waited too long to load",
                      r->job->number, r->rank);
    LIST_FOR_EACH (node, &r->saves) {
        const struct rank_save *v = container_of(node, struct rank_save, link);

        if (v->is_over || !is_late(r, v->began_ns, (uint64_t)p->decide_ms * 9))
            continue;
        sim_violation(r->sim,
                      "I4: job %u rank %u has waited too long for its save of "
                      "step %" PRIu64,
                      r->job->number, r->rank, v->step);
    }
}
