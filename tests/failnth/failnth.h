/*
 * failnth.h - every call that can fail is made to fail, each in its turn.
 *
 * The objects of the project are linked a second time with their references to
 * malloc(), socket() and the like renamed (sites.syms, by objcopy): each then
 * goes through a site of this folder, which counts it and, when its turn has
 * come, fails it with an error of its kind and does nothing else. Tests and
 * their helpers keep the functions as they are.
 *
 * One fault is in force at a time: a class of sites, a number N, and whether
 * only the Nth call fails or all from the Nth on. It stands in a control block
 * which may be shared between processes, each of which has a role; a fault is
 * for the processes of one role.
 */
#ifndef TESTS_FAILNTH_H
#define TESTS_FAILNTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum failnth_class {
    FAILNTH_MEMORY, /* malloc and its kin */
    FAILNTH_ENV,    /* what an environment may refuse the engine */
    FAILNTH_LOCAL,  /* requests to a local store, and */
    FAILNTH_HOME,   /* to a home (store_fault.c counts these) */
    FAILNTH_SOCKET,
    FAILNTH_FILE,
    FAILNTH_SHARED, /* memfds, mappings, sealing */
    FAILNTH_EVENT,  /* epoll, eventfds, signalfd, pidfds, poll */
    FAILNTH_THREAD,
    FAILNTH_SPAWN,
    FAILNTH_RING,    /* setting up and registering with io_uring */
    FAILNTH_RING_OP, /* what is submitted to it */
    FAILNTH_CLASSES
};

enum failnth_role {
    FAILNTH_HERE, /* the process that is under test itself; a trainer */
    FAILNTH_DAEMON,
    FAILNTH_TOOL,
};

#define FAILNTH_PROCESSES 16

struct failnth {
    atomic_bool is_armed;
    _Atomic enum failnth_class kind;
    atomic_ullong nth; /* 0: only count */
    atomic_bool is_persistent;
    atomic_ullong seen[FAILNTH_CLASSES];
    atomic_ullong fired;
    _Atomic enum failnth_role role; /* whose calls count, and fail */
    atomic_bool has_no_ring;        /* io_uring is refused throughout */
    /* Programs that were started with this block: */
    atomic_uint started;
    _Atomic pid_t pid[FAILNTH_PROCESSES];
    atomic_uint ended;       /* in order, by exit() */
    atomic_llong live_left;  /* blocks that they had not freed by then, */
    atomic_llong files_left; /* and descriptors not closed */
};

/* The variable that names the block's file to programs. */
#define FAILNTH_CONTROL "CKPT_FAILNTH_CONTROL"

/* The block in force: this process's own, unless set to a shared one. */
extern struct failnth *failnth;

/* Counts from 1 again; nothing fails before a call is made inside. */
void failnth_arm(enum failnth_class kind, uint64_t nth, bool is_persistent);
void failnth_disarm(void);
/* Whether the thread is in code under test, for one that goes in and out;
 * returns what it was. For struct test_world's cross. */
bool failnth_cross(bool inside);
/* A site: true when this call is to fail. */
bool failnth_hit(enum failnth_class kind);

/* Blocks that were allocated and not freed by all code of this program. */
int64_t failnth_live(void);
/* Descriptors that are open. */
int64_t failnth_files(void);

/* For sites in other files: realpath(), counted. */
char *counted_realpath(const char *path, char *to);

#endif
