/*
 * engine_rig.h - an engine in a world of test_env.h, and ranks that speak to
 * it: they join, save what a pattern says, and keep what they are told.
 *
 * A rank fills slots as it is granted them, in random order, with bytes that
 * follow from (rank, seed of the save, chunk), so that a checkpoint can be
 * checked afterwards without keeping any bytes. Frames are taken up whenever
 * the wheel turns (rig_run).
 */
#ifndef TESTS_LIB_ENGINE_RIG_H
#define TESTS_LIB_ENGINE_RIG_H

#include "ckptd/engine/save.h"
#include "tests/lib/test_env.h"

#define RIG_HOME        "/home"
#define RIG_RUN         "run"
#define RIG_CHUNK_BYTES CHUNK_BYTES_MIN
/* A header page and three raw chunks. */
#define RIG_REMOTE_FILE_BYTES                                                  \
    (PAGE_BYTES + 3 * ((uint64_t)RIG_CHUNK_BYTES + PAGE_BYTES))

struct rig {
    struct test_world *world;
    struct test_env *daemon;
    struct engine *engine;
    env_peer next_peer;
    bool is_ready, is_stopped;
    bool has_shared_world; /* somebody else frees it */
    int ready_result;
    struct err err; /* of an engine that did not start */
    struct list ranks;
};

/* What a rank knows of one save. */
struct rig_save {
    struct list link; /* rank.saves, oldest first */
    uint64_t request;
    uint64_t number; /* 0: not answered */
    uint64_t step;
    uint32_t generation;
    struct save_id id;
    uint64_t seed;
    uint32_t changed; /* the first chunks, by another seed */
    uint64_t changed_seed;
    uint32_t chunk_count, given_count;
    uint32_t *order; /* in which chunks are given */
    uint32_t state;  /* highest, or WIRE_STATE_ABORTED */
    int code;        /* of WIRE_ERROR to SAVE, or of the abort */
    char text[ERR_TEXT_BYTES];
    uint32_t told; /* mask of states, bit 31: aborted */
};

struct rig_rank {
    struct list link; /* rig.ranks */
    struct rig *rig;
    env_peer peer;
    uint32_t rank, world_size;
    uint32_t generation;
    struct save_id parent;
    const struct env_arena *arena;
    struct writelist list; /* of the last table */
    struct list saves;
    uint64_t next_request;
    uint64_t last_reply; /* id of the last frame that answered */
    enum wire_type last_type;
    int error; /* of the last WIRE_ERROR, 0: none */
    uint64_t error_id;
    char error_text[ERR_TEXT_BYTES];
    bool is_gone;
    uint32_t hold_after; /* gives no more than so many chunks per save */
    /* For rig_open(): */
    uint32_t codec, keep_last, keep_every, remote_every, local_last;
    double entropy;   /* 1: bytes do not compress; 0: they do */
    uint32_t changed; /* for saves from now on, see rig_save */
    uint64_t changed_seed;
    /* What saves ask for, and who fills their chunks: those of the list, then
     * so many of its own. NULL: nothing, and bytes by the seed. */
    const struct trust *trust;
    uint32_t own_chunk_count;
    void (*fill)(struct rig_rank *r, const struct rig_save *v, uint32_t chunk,
                 uint8_t *to);
    /* For others that play this rank (load_rig.h): each frame, and its end. */
    void (*on_frame)(struct rig_rank *r, const struct test_frame *f);
    void (*on_free)(struct rig_rank *r);
    void *player;
};

struct rig *rig_new(uint64_t seed);
/* Another daemon in the world of `first`. */
struct rig *rig_new_in(struct test_world *world, const char *name);
/* The same in two steps: a daemon, and its engine. The second returns what the
 * engine said: a code with words in g->err, and rig_end() is all that is left
 * to do. */
struct rig *rig_make(struct test_world *world, const char *name);
int rig_boot(struct rig *g) MUST_USE;
/* Stops the engine in order and checks that nothing is left: no arena, no
 * buffer. What the ranks have saved is still known. */
void rig_end(struct rig *g);
/* Ends it, and frees all; the world as well when no daemon is left in it and
 * has_shared_world is not set. */
void rig_free(struct rig *g);
/* Ends the engine as SIGKILL would; rig_free() then. */
void rig_kill(struct rig *g);
/* Turns the wheel, ranks taking up their frames. As test_run(). */
bool rig_run(struct rig *g, uint64_t limit_ms, test_until until, void *arg);

/* The ranks take up what was sent to them, without turning the wheel. */
void rig_pump(struct rig *g);

/* Connects only. */
struct rig_rank *rig_rank_new(struct rig *g, uint32_t rank,
                              uint32_t world_size);
/* HELLO and OPEN go out; then rig_joined(). */
void rig_open(struct rig_rank *r, const char *token);
bool rig_joined(const struct rig_rank *r);
/* ARENA with so many slots. */
void rig_arena(struct rig_rank *r, uint32_t slots);
/* `count` tensors of `bytes` each, of this rank alone. */
void rig_table(struct rig_rank *r, uint32_t number, uint32_t count,
               uint64_t bytes);
/* TABLE with these entries, whatever they are for. */
void rig_send_entries(struct rig_rank *r, uint32_t number,
                      const struct entry *entries, size_t count);
/* What a job is. */
struct rig_shape {
    uint32_t world_size, slots, tensors;
    uint64_t tensor_bytes;
    uint32_t codec; /* 0: AUTO, 1: RAW, 2: PLANES_LZ4 */
    double entropy;
    uint32_t keep_last, keep_every, remote_every, local_last;
};
#define RIG_RANKS_MAX 8
/* The part of it that rig_open() says. */
void rig_rank_shape(struct rig_rank *r, const struct rig_shape *shape);
/* `world_size` ranks join with this token, each with an arena and table 1. */
void rig_start(struct rig *g, const char *token, const struct rig_shape *shape,
               struct rig_rank *ranks[RIG_RANKS_MAX]);
struct rig_save *rig_save(struct rig_rank *r, uint64_t step, uint64_t seed,
                          uint32_t overload);
/* The connection ends and so does the process. */
void rig_die(struct rig_rank *r);
/* A frame of the test's making. */
void rig_send(struct rig_rank *r, uint16_t type, uint16_t flags, uint64_t id,
              const struct wr *w);

/* The one run of the engine's one home. */
struct run *rig_the_run(const struct rig *g);
/* All ranks' last saves are COMMITTED, or aborted. */
bool rig_all_decided(void *rig);
/* Reads the checkpoint back from the media and compares every byte with what
 * the ranks' saves of that step say; fails the test otherwise. Returns how many
 * bytes of extents the save has written itself. */
uint64_t rig_check(struct rig *g, const struct rig_save *v);
/* The same of any save, with what the ranks of `as` have saved. */
uint64_t rig_check_as(struct rig *g, const struct rig *as,
                      const struct save_id *id);
/* The bytes of a chunk of what this rank has saved as `v`. */
void rig_bytes(const struct rig_rank *r, const struct rig_save *v,
               uint32_t chunk, void *to, uint32_t bytes);
/* How many slots of all arenas are in this state. */
uint32_t rig_slots(const struct rig *g, enum slot_state state);

#endif
