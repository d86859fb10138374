/*
 * wire.c - connections between ranks and daemons: in order each way, late by
 * chance, and broken at any point.
 *
 * An end of a connection that is gone says so to the other by a last message,
 * behind those that were on their way.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <stdlib.h>

struct message {
    struct list link;
    bool is_end, is_begin;
    struct wire_header header;
    const struct env_arena *arena;
    uint8_t payload[];
};

/* One direction. */
struct way {
    struct list queue;
    uint64_t last_ns; /* when the last one arrives */
    uint32_t stalled; /* arrived while the receiver hangs */
    bool is_ended;    /* nothing is added any more */
};

struct sim_conn {
    struct list link; /* sim.conns */
    struct sim *sim;
    struct sim_rank *rank;     /* NULL: gone */
    struct sim_daemon *daemon; /* NULL: gone */
    env_peer peer;
    bool has_memory;
    struct way up, down; /* to the daemon, to the rank */
};

static uint64_t delay(struct sim *s)
{
    uint64_t kind = sim_random(s, 1000);

    if (kind < 900)
        return sim_between(s, 5, 100) * 1000;
    if (kind < 995)
        return sim_between(s, 100, 10000) * 1000;
    return sim_between(s, 10, 1000) * SIM_MS;
}

static struct message *message_new(const struct wire_header *h,
                                   const void *payload)
{
    struct message *m = calloc(1, sizeof *m + (h ? h->length : 0));

    assert(m);
    if (!h)
        return m;
    m->header = *h;
    if (h->length > 0)
        memcpy(m->payload, payload, h->length);
    return m;
}

static void event_up(struct sim *s, void *arg, uint64_t unused);
static void event_down(struct sim *s, void *arg, uint64_t unused);

static void post(struct sim_conn *c, struct way *w, struct message *m)
{
    struct sim *s = c->sim;
    uint64_t at = max_u64(sim_now(s) + delay(s), w->last_ns);

    if (w->is_ended) {
        free(m);
        return;
    }
    w->is_ended = m->is_end;
    w->last_ns = at;
    list_append(&w->queue, &m->link);
    sim_after(s, at - sim_now(s), w == &c->up ? event_up : event_down, c, 0);
}

static void post_end(struct sim_conn *c, struct way *w)
{
    struct message *m = message_new(NULL, NULL);

    m->is_end = true;
    post(c, w, m);
}

/* What had not left yet is lost: a tail of any length. */
static void lose_tail(struct sim_conn *c, struct way *w)
{
    uint64_t count = 0, kept;

    LIST_FOR_EACH (node, &w->queue)
        count++;
    kept = sim_random(c->sim, count + 1);
    LIST_FOR_EACH (node, &w->queue) {
        struct message *m = container_of(node, struct message, link);

        if (kept > 0)
            kept--;
        else if (!m->is_end && !m->is_begin) {
            c->sim->stats.lost_messages += m->header.type != 0;
            m->header.type = 0; /* an event is on its way for it */
        }
    }
}

static void event_up(struct sim *s, void *arg, uint64_t unused)
{
    struct sim_conn *c = arg;
    struct list *node = list_pop(&c->up.queue);
    struct message *m = container_of(node, struct message, link);
    struct sim_daemon *d = c->daemon;

    (void)s;
    (void)unused;
    if (d && m->is_begin) {
        engine_peer_new(daemon_engine(d), c->peer);
    } else if (d && m->is_end) {
        c->has_memory = false;
        c->daemon = NULL;
        engine_peer_gone(daemon_engine(d), c->peer);
    } else if (d && m->header.type) {
        engine_frame(daemon_engine(d), c->peer, &m->header, m->payload);
    }
    free(m);
}

static void arrive(struct sim_conn *c)
{
    struct list *node = list_pop(&c->down.queue);
    struct message *m = container_of(node, struct message, link);
    struct sim_rank *r = c->rank;

    if (r && m->is_end) {
        c->rank = NULL;
        post_end(c, &c->up);
        rank_lost(r);
    } else if (r && m->header.type) {
        rank_frame(r, &m->header, m->payload, m->arena);
    }
    free(m);
}

static void event_down(struct sim *s, void *arg, uint64_t unused)
{
    struct sim_conn *c = arg;

    (void)s;
    (void)unused;
    if (c->rank && c->rank->is_hung)
        c->down.stalled++;
    else
        arrive(c);
}

void conn_unhang(struct sim_conn *c)
{
    while (c->down.stalled > 0) {
        c->down.stalled--;
        arrive(c);
    }
}

struct sim_conn *conn_new(struct sim *s, struct sim_rank *r,
                          struct sim_daemon *d)
{
    struct sim_conn *c = calloc(1, sizeof *c);
    struct message *m = message_new(NULL, NULL);

    assert(c);
    c->sim = s;
    c->rank = r;
    c->daemon = d;
    c->peer = ++s->next_peer;
    c->has_memory = true;
    list_init(&c->up.queue);
    list_init(&c->down.queue);
    list_append(&s->conns, &c->link);
    m->is_begin = true;
    post(c, &c->up, m);
    return c;
}

void conn_to_daemon(struct sim_conn *c, enum wire_type type, uint64_t id,
                    struct wr *w)
{
    struct wire_header h = {
        .length = w ? (uint32_t)w->bytes : 0, .type = (uint16_t)type, .id = id};

    post(c, &c->up, message_new(&h, w ? w->data : NULL));
    if (w)
        wr_free(w);
}

static struct sim_conn *find(struct sim *s, const struct sim_daemon *d,
                             env_peer peer)
{
    LIST_FOR_EACH (node, &s->conns) {
        struct sim_conn *c = container_of(node, struct sim_conn, link);

        if (c->peer == peer && c->daemon == d)
            return c;
    }
    return NULL;
}

void conn_from_daemon(struct sim *s, struct sim_daemon *d, env_peer peer,
                      const struct wire_header *h, const void *payload,
                      const struct env_arena *arena)
{
    struct sim_conn *c = find(s, d, peer);
    struct message *m;

    if (!c)
        return;
    if (c->rank)
        oracle_sent(s, c->rank, h, payload);
    m = message_new(h, payload);
    m->arena = arena;
    post(c, &c->down, m);
}

void conn_hung_up(struct sim *s, struct sim_daemon *d, env_peer peer)
{
    struct sim_conn *c = find(s, d, peer);

    if (!c)
        return;
    c->has_memory = false;
    c->daemon = NULL;
    post_end(c, &c->down);
}

void conn_close(struct sim_conn *c)
{
    c->rank = NULL;
    while (c->down.stalled > 0) { /* to nobody */
        c->down.stalled--;
        arrive(c);
    }
    post_end(c, &c->up);
}

void conns_daemon_dead(struct sim *s, const struct sim_daemon *d)
{
    LIST_FOR_EACH (node, &s->conns) {
        struct sim_conn *c = container_of(node, struct sim_conn, link);

        if (c->daemon != d)
            continue;
        c->has_memory = false;
        c->daemon = NULL;
        lose_tail(c, &c->down);
        post_end(c, &c->down);
    }
}

void conn_break(struct sim_conn *c)
{
    lose_tail(c, &c->up);
    lose_tail(c, &c->down);
    post_end(c, &c->up);
    post_end(c, &c->down);
}

bool conn_has_memory(const struct sim_conn *c)
{
    return c->has_memory;
}

void conns_end(struct sim *s)
{
    struct list *node, *each;

    while ((node = list_pop(&s->conns))) {
        struct sim_conn *c = container_of(node, struct sim_conn, link);

        while ((each = list_pop(&c->up.queue)))
            free(container_of(each, struct message, link));
        while ((each = list_pop(&c->down.queue)))
            free(container_of(each, struct message, link));
        free(c);
    }
}
