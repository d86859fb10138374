/*
 * bench.h - scenes of the file store alone: two stores, as two processes have
 * them, share a folder. What they were answered is noted with the length of the
 * disk's log; then each state of each point is looked into, without any
 * recovery.
 */
#ifndef TESTS_CRASH_BENCH_H
#define TESTS_CRASH_BENCH_H

#include "storage/store.h"
#include "tests/crash/check.h"

#define BENCH_STORES 2
#define BENCH_FOLDER "s"

struct bench {
    struct disk *disk;
    struct store *store[BENCH_STORES];
    struct fileio *io[BENCH_STORES];
};

/* One request, and what came of it. */
struct asked {
    struct store_req req;
    struct disk *disk;
    char name[64];
    uint32_t begun, answered; /* operations by then; DISK_NEVER */
};

/* An empty disk, and both stores, open. */
void bench_begin(struct bench *b, uint64_t seed, bool has_no_tmpfile,
                 bool is_nfs);
/* The stores close, and the log ends; then it is looked into; then it goes. */
void bench_close(struct bench *b);
void bench_end(struct bench *b);

/* `a->req` goes to a store, under `a->name` if it has one. */
void bench_ask(struct bench *b, uint32_t store, struct asked *a);
void bench_wait(struct bench *b);
/* The same of the first store, and its answer. */
int64_t bench_asked(struct bench *b, struct asked *a);

/* A file of the stores' folder; NULL: it is not there. */
const struct disk_node *bench_look(const struct image *left, const char *name);

typedef bool (*look_fn)(const struct image *left, uint32_t at, void *arg,
                        char why[WHY_BYTES]);
/* All states; up to a number of one point. */
bool bench_look_at_all(const struct disk *disk, look_fn holds, void *arg,
                       char why[WHY_BYTES]);

#endif
