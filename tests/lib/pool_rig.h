/*
 * pool_rig.h - a segment pool alone in a world of test_env.h: one that is
 * opened, written to and read from, each call turning the wheel until it ends.
 */
#ifndef TESTS_LIB_POOL_RIG_H
#define TESTS_LIB_POOL_RIG_H

#include "ckptd/engine/segpool_internal.h"
#include "tests/lib/test_env.h"

#define POOL_EXTENT   ((uint64_t)64 << 10)
#define POOL_LIMIT_MS 120000

struct pool_rig {
    struct test_world *world;
    struct test_env *t;
    struct segpool *pool;
    struct segment_header base; /* of writers: run 1, save 1-1-1 */
    struct err err;             /* of the last call that failed */
};

/* A world and a daemon "a" in it; then the pool: 0 or what opening says. */
void pool_rig_new(struct pool_rig *r, uint64_t seed);
int pool_rig_open(struct pool_rig *r);
/* Stops and closes the pool (asserts that this ends), then opens it again. */
void pool_rig_stop(struct pool_rig *r);
int pool_rig_restart(struct pool_rig *r);
void pool_rig_free(struct pool_rig *r);

/* Each turns the wheel until it is done. */
int pool_writer(struct pool_rig *r, uint64_t bytes, struct seg_writer **out);
/* Places extents of POOL_EXTENT and writes them until `count` are written or
 * the result is not 0. */
int pool_write(struct pool_rig *r, struct seg_writer *w, uint32_t count,
               struct seg_place *last);
int pool_sync(struct pool_rig *r, struct seg_writer *w);
int pool_get(struct pool_rig *r, const char *file, const struct id128 *id,
             struct segment **out);
/* Nothing of the pool's is under way any more. */
void pool_settle(struct pool_rig *r);

/* One segment HELD for the save of r->base, with `count` extents. */
struct seg_place pool_segment(struct pool_rig *r, uint32_t count);

/* A manifest of save (1, step, 1) that refers to one file, with as many
 * locations as `count`. Static memory. */
const struct manifest *pool_manifest(const struct pool_rig *r, uint64_t step,
                                     const struct seg_place *p, uint32_t count);
uint32_t pool_count(const struct pool_rig *r, enum segment_state state);

/* Through the back door: the world's store, as another process would. */
struct store_seg *pool_lock(struct pool_rig *r, const char *file);
void pool_unlock(struct pool_rig *r, struct store_seg *seg);
/* Makes a file of `bytes` whose first page is `page` (NULL: zeros). */
void pool_plant(struct pool_rig *r, const char *file, uint64_t bytes,
                const void *page);
bool pool_has_file(struct pool_rig *r, const char *file);

#endif
