/*
 * oracle.h - between oracle.c (what it sees and knows) and oracle_latest.c.
 */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include "tests/sim/sim.h"

/* What is known of a save. */
struct saw {
    struct save_id id;
    uint32_t seen, durable;  /* enum decision on record, 0: none */
    uint64_t handed;         /* ranks that have handed over everything */
    bool is_told_committed;  /* by an engine */
    bool is_heard_committed; /* by a rank */
    bool is_told_aborted;
    /* Told by a daemon that could not put ABORT on record: 0, or its life. */
    uint32_t told_life, told_node;
    bool is_removed;
};

/* What is known of a generation. */
struct gen {
    uint32_t generation; /* 0: none on record */
    char token[TOKEN_MAX + 1];
    uint32_t world_size;
    struct save_id parent, origin;
    uint32_t origin_load;
    bool is_durable;
    size_t closed_at;      /* in the history of `latest` */
    struct save_id loaded; /* what its ranks were told that they have loaded */
    bool is_load_told;
};

struct oracle {
    struct saw *saw;
    size_t saw_count, saw_capacity;
    struct gen *gen; /* by generation */
    size_t gen_count;
    struct save_id *latest; /* whatever `latest` meant, in order */
    size_t latest_count;
    uint64_t commits;
};

/* oracle_latest.c: `latest` has changed, perhaps. */
void oracle_note_latest(struct oracle *o);
/* Was it that since generation `g` was closed? */
bool oracle_was_latest(const struct oracle *o, const struct gen *g,
                       const struct save_id *id);

#endif
