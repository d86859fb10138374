/*
 * scrub_internal.h - between scrub.c (whose turn it is) and scrub_read.c (one
 * place of one checkpoint, read and put on record).
 */
#ifndef CKPTD_SCRUB_INTERNAL_H
#define CKPTD_SCRUB_INTERNAL_H

#include "ckptd/engine/home_internal.h"
#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/reader.h"
#include "ckptd/engine/scrub.h"

/* Where a checkpoint's bytes are read, and what is on record of those. */
struct scrub_place {
    const char *folder;
    enum record_kind kind;
    void (*set)(struct catalog *c, const struct store_names *marks);
    const char *words;
};

extern const struct scrub_place scrub_here, scrub_remote_tier;

struct scrub {
    struct engine *engine;
    struct env_timer timer;
    uint64_t quiet_since_ns; /* 0: it is not */
    bool is_busy, is_stopping;
    /* Under way: */
    struct run *run;
    struct save_id id;
    const struct scrub_place *place;
    struct held_manifest *held;
    struct remote *remote; /* of the remote tier */
    struct id128 *whose;   /* stores, or shares, that are read, in turn */
    uint32_t whose_count, next;
    bool is_bad; /* one of them, or it could not be read */
    struct read_back *back;
    struct err err;
    struct store_req req;
    char name[RECORD_NAME_BYTES];
};

static inline struct env *scrub_env(const struct scrub *s)
{
    return s->engine->env;
}

static inline bool scrub_is_remote(const struct scrub *s)
{
    return s->place == &scrub_remote_tier;
}

/* NULL: it is no checkpoint any more. */
struct catalog_save *scrub_save(const struct scrub *s);
/* s->place of s->id of s->run, then scrub_end(). */
void scrub_read(struct scrub *s);
/* It is over: its next turn is known, and what it took is let go. */
void scrub_end(struct scrub *s);

#endif
