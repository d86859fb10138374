/*
 * session.h - one connected rank: decodes its frames, keeps its tables and
 * arena, and hands over to save.c and load.c.
 *
 *   NEW -> GREETED (HELLO) -> JOINING (OPEN) -> JOINED -> CLOSING
 *
 * A frame that is not allowed in the state, or does not decode, is answered by
 * WIRE_ERROR with id 0 that says why, and the connection ends. Requests that
 * fail are answered by WIRE_ERROR with their id and the session goes on.
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

/* A decoded table and all that follows from it; shared by saves and loads. */
struct rank_table {
    struct list link; /* session.tables */
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
    struct wire_open open;
    struct run *run;
    uint32_t generation;
    struct save_id parent;
    struct join join;
    uint64_t open_request;
    struct slots *slots; /* NULL before ARENA */
    struct list tables;
    struct rank_table *partial; /* TABLE with MORE under way */
    struct wr partial_bytes;
    uint64_t next_number; /* of saves and loads of this session */
    uint32_t failed_in_a_row;
};

struct rank_table *session_table(struct session *s, uint32_t number);
void rank_table_put(struct rank_table *t);

/* Send helpers. The encoder's writer is taken over. */
void session_send(struct session *s, enum wire_type type, uint64_t id,
                  struct wr *w);
void session_error(struct session *s, uint64_t id, int code, const char *format,
                   ...) PRINTF_LIKE(4, 5);
/* A protocol breach: error with id 0 and hang up. */
void session_breach(struct session *s, const char *format, ...)
    PRINTF_LIKE(2, 3);

#endif
