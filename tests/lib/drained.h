/*
 * drained.h - the remote tier as daemons leave it, made by a test itself: the
 * shares of a save are copied from their local stores into the home.
 */
#ifndef TESTS_LIB_DRAINED_H
#define TESTS_LIB_DRAINED_H

#include "formats/tier.h"
#include "tests/lib/engine_rig.h"

/* Of one file: a few chunks. */
#define DRAINED_FILE_BYTES                                                     \
    ((uint64_t)PAGE_BYTES + 3 * ((uint64_t)RIG_CHUNK_BYTES + PAGE_BYTES))

/* A share: a save of RIG_RUN, and the daemon of this name (test_env_new()). */
struct drained {
    struct test_world *world;
    const char *daemon;
    void *data, *tier_data;
    size_t tier_bytes;
    struct manifest m, tier;
};

/* The home has blobs only from now on, as RADOS does. No daemon runs. */
void drained_as_blobs(struct test_world *w);

/* Its manifest and its table: what is there, or what is to be; nothing is
 * written yet. What is raw and gets smaller so is encoded in it. */
void drained_begin(struct drained *d, struct test_world *w, const char *daemon,
                   const struct save_id *id);
/* The files; the table. */
void drained_files(const struct drained *d);
void drained_table(const struct drained *d);
void drained_end(struct drained *d);
/* All of that. */
void drained_save(struct test_world *w, const char *daemon,
                  const struct save_id *id);

/* Name of file `file` in the home. */
const char *drained_file_name(const struct drained *d, uint32_t file,
                              char *name, size_t capacity);
/* Flips a bit of byte `at` of the extent of chunk `chunk` of the table. */
void drained_flip(const struct drained *d, uint64_t chunk, uint64_t at);
/* A file is not there any more. */
void drained_remove(const struct drained *d, uint32_t file);
/* No segment is left in a local store, as "local/a". */
void drained_lose_segments(struct test_world *w, const char *local);

#endif
