/*
 * disk.h - what the simulator's media do.
 *
 * A disk outlives daemons: a node's local drive, or the home that all of them
 * share. A daemon reaches it through a port, a struct store of its own. A
 * request takes virtual time twice: until it takes effect, which others then
 * see, and until that is durable and it ends. What lies in between is what a
 * loss of power takes away, or not: of records and segments the name, of
 * segments any subset of the writes that no sync covers, torn at 512 bytes.
 *
 * A request of a port that was cut ends with -ECANCELED at once and goes on
 * without its process, which keeps the segment locked until then: the write of
 * a dead process that lands late. A request may also end with -ETIMEDOUT first
 * and take effect afterwards.
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "storage/store.h"

struct sim;
struct sim_disk;

/* What has just happened to a record. */
enum disk_news { DISK_SEEN, DISK_DURABLE, DISK_LOST };

struct disk_record {
    const char *name;
    const uint8_t *data;
    uint64_t bytes;
    bool is_durable;
};

struct disk_model {
    uint64_t least_ns, most_ns; /* of each half of a request */
    uint32_t fail_ppm;          /* of requests that may fail as below */
    bool is_local;              /* fails as drives do: EIO, ENOSPC */
    bool is_full;               /* nothing new can be made */
    uint64_t timeout_ns;        /* 0: a request that is held waits for ever */
};

struct sim_disk *disk_new(struct sim *s, const char *name);
void disk_free(struct sim_disk *d);
struct disk_model *disk_model(struct sim_disk *d);
void disk_watch(struct sim_disk *d,
                void (*news)(struct sim *s, enum disk_news news,
                             const struct disk_record *r));
/* NULL: there is none that anybody sees. */
const struct disk_record *disk_record(struct sim_disk *d, const char *name);
/* All that are seen and begin with `prefix`, in order of their names. */
void disk_each(struct sim_disk *d, const char *prefix,
               void (*visit)(void *arg, const struct disk_record *r),
               void *arg);

/* Power is lost, and is back at once: nobody's port is attached any more, or
 * (the home) requests that are under way fail. */
void disk_power_loss(struct sim_disk *d);
/* After that: another disk is there, with nothing on it. */
void disk_lose(struct sim_disk *d);
/* When the n-th write, or new name, from now on has taken effect and waits to
 * be made durable, `fn` is called, at once or soon. */
void disk_when_unsynced(struct sim_disk *d, uint32_t nth,
                        void (*fn)(struct sim *s, void *arg, uint64_t unused),
                        void *arg);
/* Nothing takes effect while it is down. */
void disk_set_down(struct sim_disk *d, bool is_down);
/* A bit of some segment flips. False: there is none. */
bool disk_rot(struct sim_disk *d);

/* `who` is for the trace; `ops` counts what takes effect. */
struct store *port_open(struct sim_disk *d, const char *who, uint64_t *ops);
/* The process is dead. */
void port_cut(struct store *port);
/* Cut off from the disk and, later, not. */
void port_hold(struct store *port, bool is_held);
/* Runs what has ended inside store_submit(). True if there was any. */
bool port_turn(struct store *port);
bool port_is_of(const struct store *port, const struct sim_disk *d);

#endif
