/*
 * rig_drain.h - jobs at one engine whose checkpoints it drains, and what then
 * is in the remote tier. What is not as it must be ends the test by assert().
 */
#ifndef TESTS_LIB_RIG_DRAIN_H
#define TESTS_LIB_RIG_DRAIN_H

#include "tests/lib/rig_job.h"
#include "tests/lib/rig_retain.h"

/* Two ranks with two tensors each, in so many raw chunks. */
#define RIG_DRAIN_TENSOR_BYTES (5 * (uint64_t)RIG_CHUNK_BYTES - 100)

struct rig_shape rig_drain_shape(uint32_t remote_every, uint32_t keep_last);
/* The home's store as one that cannot write in place, from now on. */
void rig_drain_as_blobs(struct test_world *w);
/* A world of this seed with a daemon "a", whose job is of that shape. If the
 * seed is odd what it saves gets smaller when it is encoded on its way. */
void rig_drain_begin(struct rig_job *f, uint64_t seed, bool in_place,
                     uint32_t remote_every, uint32_t keep_last);

/* The newest save of this step, NULL: the engine has no entry of it. */
struct catalog_save *rig_save_at(const struct rig *g, uint64_t step);
bool rig_is_remote(const struct rig *g, uint64_t step);
/* Until nothing more happens. */
void rig_drain_settle(struct rig *g);

/* All of it is in the remote tier, of all its daemons: every extent of every
 * file is what the tables, and so the manifest, say. */
void rig_drain_check(struct rig *g, const struct save_id *id, bool in_place);
/* How long its extents are there, those of daemon "a". */
uint64_t rig_drain_stored(const struct rig *g, const struct save_id *id);
/* How many files of it there are. */
uint32_t rig_drain_files(const struct rig *g, const struct save_id *id);

#endif
