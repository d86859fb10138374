/*
 * rados_double_internal.h - what the files of the double share: objects,
 * operations as lists of steps, and the cluster with its one lock.
 */
#ifndef TESTS_LIB_RADOS_DOUBLE_INTERNAL_H
#define TESTS_LIB_RADOS_DOUBLE_INTERNAL_H

#include "common/list.h"
#include "tests/lib/rados_double.h"

#include <pthread.h>

struct pair {
    char *key, *value;
    size_t key_bytes, value_bytes;
};

struct pairs {
    struct pair *pair; /* sorted by key */
    size_t count;
};

struct object {
    struct list link;
    char *pool, *space, *name;
    uint8_t *data;
    size_t bytes;
    struct pairs attributes, omap;
    time_t mtime;
};

enum step_kind {
    STEP_CREATE,
    STEP_WRITE_FULL,
    STEP_SETXATTR,
    STEP_CMPXATTR,
    STEP_REMOVE,
    STEP_OMAP_SET,
    STEP_OMAP_RM,
    STEP_STAT,
    STEP_READ,
    STEP_CHECKSUM,
    STEP_GETXATTRS,
    STEP_OMAP_VALS,
};

struct step {
    struct list link;
    enum step_kind kind;
    bool flag;
    struct pair pair; /* copied */
    uint64_t off;
    size_t bytes;
    uint32_t first;
    /* Where the caller wants its answers. */
    uint64_t *size;
    time_t *mtime;
    size_t *got;
    char *data;
    size_t data_bytes;
    unsigned char *more;
    rados_handle *iterator;
    int *result;
};

struct steps {
    struct list list;
    bool is_read;
};

struct iterator {
    struct pairs pairs;
    size_t next;
};

/* The objects of the cluster. */
struct objects {
    struct list list;
};

struct where {
    const char *pool, *space, *object;
};

struct client {
    uint64_t limit_ops, limit_bytes, op_timeout_s, laggy_s;
    uint32_t timeouts_set;
    bool is_connected;
    uint32_t ops; /* called for and not called back; lock */
    uint64_t bytes;
    uint32_t ios;
};

struct io {
    struct client *client;
    char *pool, *space;
};

struct completion {
    rados_callback *complete;
    void *arg;
    int result;
    bool is_used, is_called;
};

struct operation {
    struct list link;
    struct client *client; /* only compared once called back */
    struct completion *completion;
    struct steps *steps; /* the double's own copy's owner: see take_steps() */
    char *pool, *space, *object;
    uint64_t bytes;
    bool is_called, is_held;
};

struct double_cluster {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_running, is_stopping, is_landing;
    struct objects objects; /* lock, as all below */
    struct list queue;
    uint64_t random;
    struct rados_weather weather;
    uint32_t rule_seen;
    struct rados_double_counts counts;
    uint32_t handles; /* steps, completions and iterators in callers' hands */
};

extern struct double_cluster double_cluster;

void double_lock(void);
void double_unlock(void);
uint64_t double_random(void); /* with the lock */

void pair_set(struct pairs *pairs, const struct pair *pair);
void pairs_free(struct pairs *pairs);
void steps_free(struct steps *steps);
struct object *object_find(struct objects *all, const struct where *where);
void object_free(struct object *object);
/* Carries all steps out, or none: 0 or -errno. */
int steps_apply(struct objects *all, const struct where *where,
                const struct steps *steps, bool is_full);

#endif
