/*
 * session.h - one connected rank: decodes its frames, keeps its tables and
 * arena, and hands over to save.c and load.c.
 *
 *   NEW -> GREETED (HELLO) -> JOINING (OPEN) -> JOINED -> CLOSING
 *                  GREETED <- JOINING (the OPEN failed)
 *
 * A frame that is not allowed in the state, or does not decode, is answered by
 * WIRE_ERROR with id 0 that says why, and the connection ends. Requests that
 * fail are answered by WIRE_ERROR with their id and the session goes on.
 *
 * A session is known by its pointer, never by its rank: one whose process is
 * dead may be closing while the next life of the same rank opens another.
 */
#ifndef CKPTD_SESSION_H
#define CKPTD_SESSION_H

#include "ckptd/engine/engine.h"
#include "formats/table.h"

enum session_state {
    SESSION_NEW,
    SESSION_GREETED,
    SESSION_JOINING,
    SESSION_JOINED,
    SESSION_CLOSING,
    SESSION_STATES,
};

#define SESSION_TABLES 8 /* kept per rank; the oldest goes */
/* Of all tables of a rank, decoded, those included that only saves and loads
 * still hold: a box of 16 bytes on the wire has 128 here. */
#define SESSION_TABLE_BYTES ((uint64_t)256 << 20)
/* Undecided saves, and loads, of a rank at once. */
#define SESSION_SAVES_MAX 8
#define SESSION_LOADS_MAX 8
/* Waits for REMOTE. */
#define SESSION_AWAITS_MAX 64

/* Deadlines where OPEN says 0. */
#define OPEN_TIMEOUT_MS   60000
#define DECIDE_TIMEOUT_MS 600000
#define LOAD_TIMEOUT_MS   600000

/* A decoded table and all that follows from it; shared by saves and loads. */
struct rank_table {
    struct list link; /* session.tables, oldest first, or .old_tables */
    uint64_t bytes;   /* of memory */
    uint32_t number;
    uint32_t references; /* session 1, each save or load 1 */
    struct table table;
    struct digest digest;
    struct writelist list;
    uint64_t *local_bytes; /* per entry */
};

struct session {
    struct list link; /* engine.sessions */
    struct engine *engine;
    env_peer peer;
    enum session_state state;
    uint64_t features; /* of the rank's library */
    struct wire_open open;
    struct run *run;
    uint32_t generation;
    struct save_id parent;
    struct join join;
    uint64_t open_request;
    struct slots *slots; /* NULL before ARENA */
    struct list tables;
    struct list old_tables; /* replaced, but a save or load holds them */
    bool has_partial; /* TABLE with MORE under way: its number and bytes */
    uint32_t partial_number;
    struct wr partial_bytes;
    uint64_t next_number; /* of saves and loads of this session, from 1 */
    uint32_t failed_in_a_row;
    uint32_t await_count; /* await.c's own */
    /* drain_wish.c's own: what was last wished for here. */
    const struct run *wished_run;
    struct save_id wished;
    /* session.c's own: */
    bool is_attaching; /* run_attach() has yet to call back */
    bool is_joining;   /* join_begin() has yet to call back */
    /* save.c's own: */
    bool has_saved;
    uint64_t last_step;
};

/* For engine.c. */
struct session *session_new(struct engine *e, env_peer peer); /* NULL: memory */
void session_frame(struct session *s, const struct wire_header *h,
                   const void *payload);
/* The peer is gone: everything of it ends; `s` may be freed by and by. */
void session_gone(struct session *s);
/* End it in order: what was queued for it still goes out. */
void session_end(struct session *s);

/* The table of that number, NULL if there is none. Take a reference
 * (t->references++) to keep it; rank_table_put() drops one. */
struct rank_table *session_table(struct session *s, uint32_t number);
void rank_table_put(struct rank_table *t);

/* Slots of this session's arena became FREE or CLEAN: whoever waits for some
 * (saves; loads as well) looks again. */
void session_slots_freed(struct session *s);

/* Send helpers. The encoder's writer is taken over; NULL: no payload. */
void session_send(struct session *s, enum wire_type type, uint64_t id,
                  struct wr *w);
void session_error(struct session *s, uint64_t id, int code, const char *format,
                   ...) PRINTF_LIKE(4, 5);
/* A protocol breach: error with id 0 and hang up. */
void session_breach(struct session *s, const char *format, ...)
    PRINTF_LIKE(2, 3);

/*
 * Between session.c and the session_*.c files. Handlers of frames:
 * decode, check, act.
 */
void session_hello(struct session *s, const struct wire_header *h,
                   const void *payload);
void session_open(struct session *s, const struct wire_header *h,
                  const void *payload);
/* May this home and run be named now? Else the request has been refused. `home`
 * becomes the one name that it has here, which is never longer. */
bool session_may_open(struct session *s, uint64_t request_id, char *home,
                      const char *run);
void session_arena(struct session *s, const struct wire_header *h,
                   const void *payload);
void session_table_frame(struct session *s, const struct wire_header *h,
                         const void *payload);
void session_tables_free(struct session *s);
void session_move(struct session *s, enum session_state to);
/* Free it if nothing calls back any more. */
void session_settle(struct session *s);

#endif
