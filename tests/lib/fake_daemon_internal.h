/*
 * fake_daemon_internal.h - what fake_daemon.c and fake_store.c share.
 */
#ifndef TESTS_LIB_FAKE_DAEMON_INTERNAL_H
#define TESTS_LIB_FAKE_DAEMON_INTERNAL_H

#include "client/conn.h"
#include "common/list.h"
#include "formats/plan.h"
#include "tests/lib/fake_daemon.h"

#include <pthread.h>

#define FAKE_TABLES 8
#define FAKE_SLOTS  64

struct fake_save {
    struct list link;
    struct save_id id;
    uint64_t number;
    uint32_t state; /* as told; WIRE_STATE_ABORTED */
    struct layout layout;
    uint32_t coordinate[MAX_AXES];
    struct table table;
    struct writelist list;
    uint8_t **chunk; /* NULL until it came */
    uint32_t chunks_here, granted;
    struct wr values;
    bool is_here; /* of this connection */
};

struct fake_load {
    uint64_t number;
    uint32_t attempt;
    struct fake_save *from;
    void *manifest_bytes;
    struct manifest manifest;
    struct table wanted;
    struct plan plan;
    size_t next;
    bool is_active, is_delivered;
};

struct fake {
    struct fake_options o;
    pthread_t thread;
    pthread_mutex_t lock; /* everything, while a message is handled */
    char path[108];
    int listener, quit[2];
    struct conn conn;
    uint32_t connection;
    bool is_over, is_stopping, is_stalled, is_aborting, is_more, has_arena;
    uint32_t seen[WIRE_LAST + 1];
    uint64_t chunks_taken;

    struct wire_open open;
    uint32_t generation;
    struct save_id parent;
    struct wire_arena_ok arena;
    uint8_t *base[2];
    bool is_free[FAKE_SLOTS];
    struct wr table[FAKE_TABLES];
    struct list saves; /* oldest first */
    uint64_t next_number;
    uint64_t last_before; /* the last one before this connection */
    struct fake_load load;
};

void fake_send(struct fake *f, enum wire_type type, uint64_t id,
               const struct wr *payload);
void fake_refuse(struct fake *f, uint64_t id, int code, const char *text);
void fake_unmap(struct fake *f);

/* fake_store.c */
struct save_id fake_newest(struct fake *f);
void fake_store_handle(struct fake *f, const struct frame *in);
void fake_store_pump(struct fake *f);
void fake_store_hang_up(struct fake *f);
void fake_store_fini(struct fake *f);

#endif
