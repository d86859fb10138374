/*
 * space.h - what the checkpoints of a home refer to, as `ckpt` tells it, and
 * what is allocated for them.
 */
#ifndef TESTS_STORM_SPACE_H
#define TESTS_STORM_SPACE_H

#include "common/util.h"

struct space {
    uint32_t checkpoints;
    uint64_t referenced_bytes; /* distinct extents and their files' headers */
    uint64_t allocated_bytes;  /* of segments */
    uint64_t save_bytes;       /* of the largest checkpoint */
};

/* `tool` is the program ckpt, `local` the local store. false: it failed, or
 * said what is no JSON. */
bool space_look(const char *tool, const char *home, const char *local,
                struct space *out);

#endif
