/*
 * port.h - between port.c (the way of a request), effect.c (what it does) and
 * disk.c.
 */
#ifndef TESTS_SIM_PORT_H
#define TESTS_SIM_PORT_H

#include "tests/sim/image.h"
#include "tests/sim/sim.h"

struct sim_disk {
    struct sim *sim;
    char name[32];
    struct image image;
    struct disk_model model;
    struct list ports, ops;
    bool is_down;
    uint32_t unsynced_nth; /* 0: nobody waits for it */
    sim_fn unsynced;
    void *unsynced_arg;
    void (*news)(struct sim *s, enum disk_news news,
                 const struct disk_record *r);
};

struct port {
    struct store store;
    struct list link; /* disk.ports */
    struct sim_disk *disk;
    char who[32];
    uint64_t *ops;
    struct list handles; /* struct handle */
    bool is_cut, is_held;
};

/* A lock, for as long as something of its owner is under way. */
struct lock {
    struct thing *thing;
    uint32_t users;
    enum { LOCK_NONE, LOCK_SHARED, LOCK_EXCLUSIVE } kind;
};

struct handle {
    struct store_seg seg;
    struct list link;
    struct lock *lock;
};

struct op {
    struct list link; /* disk.ops */
    struct sim_disk *disk;
    struct port *port;     /* whose events hold it, also when it is cut */
    struct store_req *req; /* NULL: nobody waits for it */
    enum store_op kind;
    unsigned flags;
    char *name;
    uint8_t *data;
    uint64_t len, off;
    struct lock *lock;
    struct thing *made; /* by a PUT, SEG_CREATE, REMOVE */
    int64_t result;
    int fault;       /* reported instead of the result */
    uint32_t events; /* that are to come */
    bool is_held, is_done, is_dead, has_effect;
};

static inline struct handle *handle_of(struct store_seg *seg)
{
    return container_of(seg, struct handle, seg);
}

/* effect.c */
int64_t op_carry_out(struct op *op);
/* The name that it made or took is on media now. */
void op_make_durable(struct op *op);
void lock_put(struct lock *l);
void disk_tell(struct sim_disk *d, enum disk_news news, const struct thing *t);

/* port.c */
/* The asker is told; its callback runs at once. */
void op_reply(struct op *op, int64_t result);
/* Freed, if nothing of it is to come any more. */
void op_put(struct op *op);
/* Those that are held and need not be go on. */
void ops_release(struct sim_disk *d);

#endif
