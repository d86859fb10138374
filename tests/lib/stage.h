/*
 * stage.h - what happens to an engine in the virtual world, scene by scene. At
 * first there are a daemon "a", two ranks, and checkpoints 10 and 20; what goes
 * wrong then ends the test by assert(). In the act anything may fail.
 */
#ifndef TESTS_LIB_STAGE_H
#define TESTS_LIB_STAGE_H

#include "tests/lib/load_rig.h"

#define STAGE_RANKS        2
#define STAGE_TENSORS      2
#define STAGE_TENSOR_BYTES (2 * (uint64_t)RIG_CHUNK_BYTES - 100)

struct stage {
    struct test_world *world;
    struct rig *saver; /* whose ranks know what was saved */
    struct rig *g;     /* the daemon that faults happen to */
    struct rig *other; /* another daemon of the same job, or NULL */
    struct rig *ended; /* a daemon of before, or NULL */
    struct rig_rank *r[RIG_RANKS_MAX];
    struct save_id committed;   /* the newest that anybody was told of */
    struct save_id passed_over; /* newer, but a load fell back */
    /* The test's, kept by prepare(): called for each daemon that is to have
     * trouble, when it is made. NULL: nothing. */
    void (*disturb)(struct rig *g);
};

struct stage_scene {
    const char *name;
    void (*prepare)(struct stage *s); /* of a zeroed one, but for disturb */
    void (*act)(struct stage *s);
};

#define STAGE_SCENES 16
extern struct stage_scene stage_scenes[STAGE_SCENES];

/* A rank that was hung up on is gone, as far as the engine can see. */
void stage_bury_ranks(struct rig *g);
/* Until all that the ranks of these daemons have asked for is answered; false:
 * it never is. A rank that was hung up on dies. */
bool stage_wait_for(struct rig *g[STAGE_RANKS]);
bool stage_wait_all(struct stage *s);
/* Rank i joins at g[i], as in every scene; whether it could is for the caller
 * to look at. */
void stage_join(struct rig *g[STAGE_RANKS], const char *token,
                struct rig_rank **r);
/* Those that are there begin to save; the save of the last of them, or NULL. */
struct rig_save *stage_save(struct rig_rank *const *r, uint32_t count,
                            uint64_t step);
void stage_all_die(struct rig *g);

#endif
