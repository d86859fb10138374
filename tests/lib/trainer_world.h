/*
 * trainer_world.h - a small world for tests of the library: a home in a
 * temporary directory, a fake daemon on its socket, options that fit, and a
 * state of awkward tensors whose every element is known.
 */
#ifndef TESTS_LIB_TRAINER_WORLD_H
#define TESTS_LIB_TRAINER_WORLD_H

#include "tests/lib/fake_daemon.h"
#include "trainer/ckpt.h"

struct trainer_world {
    char home[64], socket[96];
    struct fake *fake;
};

void trainer_world_init(struct trainer_world *w, const struct fake_options *o);
/* Stops the fake daemon and removes the home. */
void trainer_world_fini(struct trainer_world *w);
/* Run "test", rank 0 of 1, axes dp=1 and tp=2 (coordinate 1). */
void trainer_world_options(const struct trainer_world *w,
                           struct ckpt_options *o);
/* ckpt_open() that must succeed. */
struct ckpt *trainer_world_open(const struct trainer_world *w);

/*
 * One tensor cut into descriptors ("pieces") that cover it exactly once. The
 * element with row-major index i holds bytes of a hash of (name, i, salt).
 */
#define STATE_PIECES 24

struct state {
    struct ckpt_tensor tensor[STATE_PIECES];
    struct ckpt_box box[STATE_PIECES][3];
    uint64_t stride[STATE_PIECES][CKPT_MAX_DIMS];
    size_t bytes[STATE_PIECES]; /* of each buffer */
    size_t count;
};

/* Boxes out of order, padding, cuts, strides both ways, sub-byte, scalar,
 * empty, many small ones and a large one of big_bytes. Every second piece is
 * UNTIL_FENCE. Buffers are malloc'd and hold 0xa5 everywhere. */
void state_init(struct state *s, size_t big_bytes);
void state_fini(struct state *s);
/* Put in what belongs there; padding and gaps get 0xee. */
void state_fill(struct state *s, uint64_t salt);
/* Overwrite every byte of the pieces of one capture class. */
void state_spoil(struct state *s, enum ckpt_capture capture);
/* 0xa5 everywhere. */
void state_clear(struct state *s);
/* Fails the test unless all elements are those of `salt`, padding is zero and
 * gaps between strides are still 0xa5. */
void state_check(const struct state *s, uint64_t salt);

/* A world with that daemon, a state, and an open run; and their end. */
struct ckpt *trainer_begin(struct trainer_world *w, struct state *s,
                           const struct fake_options *o, size_t big_bytes);
/* The same, where a daemon is looked for so long. */
struct ckpt *trainer_begin_within(struct trainer_world *w, struct state *s,
                                  const struct fake_options *o,
                                  size_t big_bytes, uint32_t open_timeout_ms);
void trainer_end(struct trainer_world *w, struct state *s, struct ckpt *ctx);
/* A save of the state as `salt` fills it, each buffer overwritten as soon as
 * that is allowed, until it is COMMITTED; what fails ends the test. */
void state_save(struct ckpt *ctx, struct state *s, uint64_t step,
                uint64_t salt);

#endif
