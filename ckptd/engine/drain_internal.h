/*
 * drain_internal.h - between drain.c (which checkpoint, and its way) and
 * drain_write.c (files, table, marks).
 */
#ifndef CKPTD_DRAIN_INTERNAL_H
#define CKPTD_DRAIN_INTERNAL_H

#include "ckptd/engine/drain.h"
#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/remote_write.h"

#define DRAIN_WRITERS 2

enum drain_phase {
    DRAIN_IDLE,
    DRAIN_FETCHING,
    DRAIN_BUILDING,
    DRAIN_WRITING,
    DRAIN_TABLE,
    DRAIN_LOOKING,
    DRAIN_MARKING,
    DRAIN_PHASES,
};

struct drain {
    struct engine *engine;
    enum drain_phase phase;
    bool is_stopping;
    bool is_yielding;             /* to one that is wished for */
    bool is_second_look;          /* all is copied here; have the others? */
    const struct run *failed_run; /* of the last that failed; NULL: none */
    struct save_id failed;
    struct err failure; /* why */
    struct env_timer timer;
    uint64_t next_start_ns; /* by the rate */
    /* Under way: */
    struct run *run;
    struct save_id id;
    uint64_t begun_ns;
    bool is_new;      /* this daemon's share was copied now */
    bool is_replaced; /* a table that was there and is not true */
    bool is_first;    /* there is none yet */
    struct held_manifest *held;
    uint64_t file_bytes;
    void *table; /* this daemon's, in bytes; `tier` is open on it */
    size_t table_bytes;
    struct manifest tier;
    uint8_t *unit;           /* by chunk of the manifest */
    struct mf_location *row; /* by chunk of `tier`: of what was read back */
    uint8_t *again;          /* by file of it: under which of its names */
    struct env_job job;
    struct store_req req; /* of the table; files: see writer */
    char name[RECORD_NAME_BYTES];
    int result;
    struct err err;
    uint32_t next_file, writing;
    struct remote_write writer[DRAIN_WRITERS];
};

void drain_move(struct drain *d, enum drain_phase to);
/* The save, NULL if it is no checkpoint any more. */
struct catalog_save *drain_save(const struct drain *d);
/* For how long so many bytes have to wait; counts them. */
uint64_t drain_pace(struct drain *d, uint64_t bytes);
/* At most so many bytes a second for now; 0: as fast as it goes. */
double drain_rate(const struct drain *d);

/* All files of the table, then drain_written(): d->err has the words. */
void drain_write(struct drain *d);
void drain_write_cancel(struct drain *d);
/* The rate holds no more for what is under way. */
void drain_write_hurry(struct drain *d);
/* Of all files of the table: what has been written. */
void drain_write_progress(const struct drain *d, uint64_t *bytes,
                          uint64_t *done);
void drain_written(struct drain *d, int result);

/* drain_words.c: all of it is there; or this daemon's share, of several. */
void drain_log_remote(const struct drain *d, const struct catalog_save *s);
void drain_log_share(const struct drain *d);

/* remote/SAVE.DAEMON */
void drain_put_table(struct drain *d);
void drain_table_put(struct drain *d, int result);

/* Have all daemons of the save written theirs, durably? */
void drain_look(struct drain *d);
void drain_looked(struct drain *d, int result, bool is_complete);

/* remote/SAVE */
void drain_mark(struct drain *d);
void drain_marked(struct drain *d, int result);

#endif
