/*
 * join_internal.h - between join.c (callers and their flow), join_make.c (a new
 * generation) and join_members.c (becoming members).
 */
#ifndef CKPTD_JOIN_INTERNAL_H
#define CKPTD_JOIN_INTERNAL_H

#include "ckptd/engine/home_internal.h"

enum joining_phase {
    JOINING_NEW,
    JOINING_READ,    /* the catalog, for who is newest */
    JOINING_CLOSE,   /* PUT closed/G */
    JOINING_RESOLVE, /* until nothing of before is undecided */
    JOINING_CREATE,  /* PUT gen/G+1 */
    JOINING_MEMBERS, /* read member/ */
    JOINING_ENTER,   /* PUT member/ */
    JOINING_IDLE,    /* all who asked are in; freed by the timer */
    JOINING_PHASES,
};

/* All ranks of this daemon that come with one token. */
struct joining {
    struct list link; /* run.joinings */
    struct run *run;
    enum joining_phase phase;
    struct wire_open open; /* the first caller's; the token filled in */
    struct list joins;     /* struct join, waiting */
    struct list entering;  /* those whose member record is being written */
    struct env_timer timer;
    uint32_t generation; /* found or made; 0: not known yet */
    uint32_t closing;    /* the generation that must be closed, 0: none */
    bool is_closed;      /* closed/ of it is durable */
    uint64_t delay_ns;   /* back-off */
    struct record_member record; /* the member record under way, its N: */
    uint32_t record_n;
    uint32_t tries;
    /* Aborting what is left over: */
    struct members members; /* of the closing generation */
    struct save_id leftover;
};

void join_stop_timer(struct join *join);
/* Call back all of a list; err.code is each one's result. */
void joins_done(struct list *finished);
/* It has ended, one way or the other: onto the list of those to call back. */
void join_finish(struct join *join, struct list *finished);
/* Ended with this failure, "rank 3 of run r: ...". */
void join_refuse(struct join *join, struct list *finished, int code,
                 const char *format, ...) PRINTF_LIKE(4, 5);

void joining_move(struct joining *j, enum joining_phase to);
/* Ends the flow: every caller gets this failure. */
void joining_fail(struct joining *j, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* After `delay_ns`, on the timer. */
void joining_later(struct joining *j, uint64_t delay_ns,
                   void (*fire)(struct env_timer *timer));

void joining_read(struct joining *j);
/* The catalog is fresh: whose is the newest generation? */
void joining_look(struct joining *j);
/* No caller is left: the flow ends. */
void joining_settle(struct joining *j);
/* join_make.c: the catalog is fresh, and a generation for this token has to be
 * made. */
void joining_make(struct joining *j);
/* join_members.c: j->generation is known, the ranks become members. */
void joining_members(struct joining *j);

#endif
