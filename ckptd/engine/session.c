/*
 * session.c - the life of a session, and where each frame goes.
 *
 * Happy path: HELLO, OPEN, ARENA, then tables, saves and loads until CLOSE.
 * Two tables say everything about order: which states follow which, and which
 * frames are allowed in which state. A frame outside of them, or one that does
 * not decode, is a breach: WIRE_ERROR with id 0 and the connection ends.
 *
 * End: session_gone() (the process is dead) or session_end() take the session
 * out of the engine's hands at once: its saves and loads are told, its tables
 * and arena let go. The struct itself stays until run_attach() has called
 * back, which cannot be cancelled.
 */
#include "ckptd/engine/await.h"
#include "ckptd/engine/drain.h"
#include "ckptd/engine/load.h"
#include "ckptd/engine/save.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const bool allowed[SESSION_STATES][SESSION_STATES] = {
    [SESSION_NEW] = {[SESSION_GREETED] = true, [SESSION_CLOSING] = true},
    [SESSION_GREETED] = {[SESSION_JOINING] = true, [SESSION_CLOSING] = true},
    [SESSION_JOINING] = {[SESSION_JOINED] = true,
                         [SESSION_GREETED] = true,
                         [SESSION_CLOSING] = true},
    [SESSION_JOINED] = {[SESSION_CLOSING] = true},
};

static const char *const state_name[SESSION_STATES] = {
    [SESSION_NEW] = "before HELLO",
    [SESSION_GREETED] = "before OPEN",
    [SESSION_JOINING] = "while OPEN is under way",
    [SESSION_JOINED] = "after OPEN",
    [SESSION_CLOSING] = "after its end",
};

void session_move(struct session *s, enum session_state to)
{
    assert(allowed[s->state][to]);
    s->state = to;
}

/*
 * Sending.
 */

void session_send(struct session *s, enum wire_type type, uint64_t id,
                  struct wr *w)
{
    struct env *env = s->engine->env;
    struct wire_header h = {.type = (uint16_t)type, .id = id};

    if (w && (w->failed || w->bytes > WIRE_PAYLOAD_MAX)) {
        env->ops->log(env, LOG_LEVEL_ERROR,
                      "peer %llu: a message of type %u could not be made; "
                      "hanging up",
                      (unsigned long long)s->peer, (unsigned)type);
        env->ops->hang_up(env, s->peer);
        wr_free(w);
        return;
    }
    h.length = w ? (uint32_t)w->bytes : 0;
    env->ops->send(env, s->peer, &h, w ? w->data : NULL, NULL);
    if (w)
        wr_free(w);
}

PRINTF_LIKE(4, 0)
static void send_error(struct session *s, uint64_t id, int code,
                       const char *format, va_list args)
{
    struct wire_error v = {.code = code};
    struct wr w = {0};

    if (vsnprintf(v.text, sizeof v.text, format, args) < 0)
        v.text[0] = '\0';
    wire_error_encode(&v, &w);
    session_send(s, WIRE_ERROR, id, &w);
}

void session_error(struct session *s, uint64_t id, int code, const char *format,
                   ...)
{
    va_list args;

    va_start(args, format);
    send_error(s, id, code, format, args);
    va_end(args);
}

void session_breach(struct session *s, const char *format, ...)
{
    va_list args;

    if (s->state == SESSION_CLOSING)
        return;
    va_start(args, format);
    send_error(s, 0, -EPROTO, format, args);
    va_end(args);
    session_end(s);
}

/*
 * Frames of a joined session.
 */

static void breach_undecoded(struct session *s, const struct wire_header *h)
{
    session_breach(s, "a frame of type %u and %u bytes does not decode",
                   h->type, h->length);
}

static void on_save(struct session *s, const struct wire_header *h,
                    const void *payload)
{
    struct wire_save v;

    if (wire_save_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        save_request(s, h->id, &v);
}

static void on_chunks(struct session *s, const struct wire_header *h,
                      const void *payload)
{
    struct wire_chunks v;

    if (wire_chunks_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        save_chunks(s, &v);
}

static void on_cancel(struct session *s, const struct wire_header *h,
                      const void *payload)
{
    struct wire_cancel v;

    if (wire_cancel_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        save_cancel(s, &v);
}

static void on_watch(struct session *s, const struct wire_header *h,
                     const void *payload)
{
    struct wire_watch v;

    if (wire_watch_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        save_watch(s, h->id, &v);
}

static void on_await(struct session *s, const struct wire_header *h,
                     const void *payload)
{
    struct wire_await v;

    if (wire_await_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        await_request(s, h->id, &v);
}

static void on_load(struct session *s, const struct wire_header *h,
                    const void *payload)
{
    struct wire_load v;

    if (wire_load_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        load_request(s, h->id, &v);
}

static void on_consumed(struct session *s, const struct wire_header *h,
                        const void *payload)
{
    struct wire_slots v;

    if (wire_slots_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        load_consumed(s, &v);
}

static void on_load_vote(struct session *s, const struct wire_header *h,
                         const void *payload)
{
    struct wire_load_vote v;

    if (wire_load_vote_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        load_vote(s, &v);
}

static void on_values(struct session *s, const struct wire_header *h,
                      const void *payload)
{
    struct wire_values v;

    if (wire_values_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        load_values(s, h->id, &v);
}

static void on_list(struct session *s, const struct wire_header *h,
                    const void *payload)
{
    (void)payload;
    if (h->length != 0)
        breach_undecoded(s, h);
    else
        load_list(s, h->id);
}

static void on_describe(struct session *s, const struct wire_header *h,
                        const void *payload)
{
    struct wire_describe v;

    if (wire_describe_decode(payload, h->length, &v))
        breach_undecoded(s, h);
    else
        load_describe(s, h->id, &v);
}

static void on_close(struct session *s, const struct wire_header *h,
                     const void *payload)
{
    struct wire_close v;

    if (wire_close_decode(payload, h->length, &v)) {
        breach_undecoded(s, h);
        return;
    }
    session_send(s, WIRE_CLOSE_OK, h->id, NULL);
    session_end(s);
}

/*
 * Which frame, when, and to whom.
 */

#define IN(state) (1u << SESSION_##state)

struct frame_rule {
    const char *name;
    unsigned states;
    void (*handle)(struct session *s, const struct wire_header *h,
                   const void *payload);
};

static const struct frame_rule rules[WIRE_LAST + 1] = {
    [WIRE_HELLO] = {"HELLO", IN(NEW), session_hello},
    [WIRE_OPEN] = {"OPEN", IN(GREETED), session_open},
    [WIRE_ARENA] = {"ARENA", IN(JOINED), session_arena},
    [WIRE_TABLE] = {"TABLE", IN(JOINED), session_table_frame},
    [WIRE_SAVE] = {"SAVE", IN(JOINED), on_save},
    [WIRE_CHUNKS] = {"CHUNKS", IN(JOINED), on_chunks},
    [WIRE_CANCEL] = {"CANCEL", IN(JOINED), on_cancel},
    [WIRE_WATCH] = {"WATCH", IN(JOINED), on_watch},
    [WIRE_AWAIT] = {"AWAIT", IN(JOINED), on_await},
    [WIRE_LOAD] = {"LOAD", IN(JOINED), on_load},
    [WIRE_CONSUMED] = {"CONSUMED", IN(JOINED), on_consumed},
    [WIRE_LOAD_VOTE] = {"LOAD_VOTE", IN(JOINED), on_load_vote},
    [WIRE_VALUES] = {"VALUES", IN(JOINED), on_values},
    [WIRE_LIST] = {"LIST", IN(JOINED), on_list},
    [WIRE_DESCRIBE] = {"DESCRIBE", IN(JOINED), on_describe},
    [WIRE_DRAIN] = {"DRAIN", IN(GREETED), drain_request},
    [WIRE_CLOSE] = {"CLOSE", IN(GREETED) | IN(JOINED), on_close},
};

void session_frame(struct session *s, const struct wire_header *h,
                   const void *payload)
{
    const struct frame_rule *rule;

    if (s->state == SESSION_CLOSING)
        return;
    if (h->type > WIRE_LAST || !rules[h->type].handle) {
        session_breach(s, "a frame of type %u is not a rank's to send",
                       h->type);
        return;
    }
    rule = &rules[h->type];
    if (!(rule->states & 1u << s->state)) {
        session_breach(s, "%s is not allowed %s", rule->name,
                       state_name[s->state]);
        return;
    }
    if (h->flags & ~(h->type == WIRE_TABLE ? WIRE_FLAG_MORE : 0u)) {
        session_breach(s, "%s has unknown flags %#x", rule->name, h->flags);
        return;
    }
    if (s->has_partial && h->type != WIRE_TABLE) {
        session_breach(s, "%s in the middle of a TABLE", rule->name);
        return;
    }
    rule->handle(s, h, payload);
}

void session_slots_freed(struct session *s)
{
    save_grant(s);
    load_slots_freed(s);
}

/*
 * Life.
 */

struct session *session_new(struct engine *e, env_peer peer)
{
    struct session *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->engine = e;
    s->peer = peer;
    s->next_number = 1;
    list_init(&s->tables);
    list_init(&s->old_tables);
    list_append(&e->sessions, &s->link);
    return s;
}

void session_settle(struct session *s)
{
    if (s->state == SESSION_CLOSING && !s->is_attaching)
        free(s);
}

/* Everything but the struct. */
static void let_go(struct session *s)
{
    enum session_state was = s->state;

    session_move(s, SESSION_CLOSING);
    list_remove(&s->link);
    if (was == SESSION_JOINED) {
        save_session_gone(s);
        load_session_gone(s);
        await_session_gone(s);
    }
    if (s->is_joining)
        join_cancel(&s->join);
    s->is_joining = false;
    session_tables_free(s);
    wr_free(&s->partial_bytes);
    if (s->slots)
        slots_orphan(s->slots);
    s->slots = NULL;
}

void session_gone(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    let_go(s);
    session_settle(s);
}

void session_end(struct session *s)
{
    struct env *env = s->engine->env;

    env->ops->hang_up(env, s->peer);
    session_gone(s);
}
