/*
 * damage.h - what is done to a checkpoint, and the verdict on what each way of
 * reading then says.
 */
#ifndef TESTS_ROT_DAMAGE_H
#define TESTS_ROT_DAMAGE_H

#include "tests/rot/reading.h"

#include <stdatomic.h>

enum reading_kind { READ_VERIFY, READ_LOAD, READ_COMMAND, READ_RANK, READINGS };

/* What was damaged: an enum part by a flip, or else. */
enum what {
    WHAT_CUT = PARTS, /* a file, anywhere */
    WHAT_GONE,
    WHAT_DOUBLED,
    WHAT_SWAP,   /* two files, or two chunks of equal length */
    WHAT_REPLAY, /* the file as it was before the newest save */
    WHATS
};

const char *what_name(int what);

#define OUTCOMES    4
#define TALLY_TEXTS 8

struct tally {
    atomic_uint count[READINGS][WHATS][OUTCOMES];
    atomic_uint owned_bytes, violations;
    char text[TALLY_TEXTS][1024];
};

/* One worker's. */
struct bench {
    struct tally *tally;
    uint32_t worker, workers;
    struct subject subject;
    uint64_t random;
    char dir[512], tool[1024];
};

void bench_open(struct bench *b, const char *dir, uint64_t seed,
                uint32_t codec);
void bench_close(struct bench *b);

/* `bits` random ones of each owned byte, by READ_VERIFY; this worker's share.
 */
void flip_all(struct bench *b, uint64_t bits);
/* One bit, anywhere in what is owned, or in what is not. */
void flip_at_random(struct bench *b, enum reading_kind kind, bool owned);
/* All of them, by READ_VERIFY and READ_LOAD, some by the others. */
void cut_swap_replay(struct bench *b);

#endif
