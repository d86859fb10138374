/*
 * rados_double.h - a cluster in this process that stands in for librados, and
 * behaves as badly as one can.
 *
 * rados_double_api() is a table of functions (storage/rados_api.h) over pools
 * `meta` (replicated) and `data` (erasure-coded: no omap, no partial writes).
 * Operations are carried out and called back by a thread of the double's, in
 * random order, but two of one client on one object in theirs. What goes wrong
 * is said by a struct rados_weather, which may be changed at any time.
 *
 * What a caller of librados must not do fails an assertion: connecting with a
 * timeout unset, more under way than librados takes without waiting, ending an
 * operation twice, shutting down with one under way, leaving one unreleased.
 *
 * One cluster per process; its contents live from rados_double_start() to
 * rados_double_stop().
 */
#ifndef TESTS_LIB_RADOS_DOUBLE_H
#define TESTS_LIB_RADOS_DOUBLE_H

#include "storage/rados_api.h"

/* Chances are per mille of operations. */
struct rados_weather {
    uint32_t delay_us;   /* up to, before an operation is carried out */
    uint32_t lost;       /* answers -ETIMEDOUT, is never carried out */
    uint32_t unanswered; /* answers -ETIMEDOUT, was carried out */
    uint32_t late;       /* answers -ETIMEDOUT, is carried out later */
    bool late_overtaken; /* by later ones of the same client and object */
    uint32_t refused;    /* librados does not take it: -ENOMEM */
    uint32_t spoilt;     /* of its bytes another is stored */
    bool is_down;        /* everything answers -ETIMEDOUT, nothing happens */
    bool is_full;        /* what adds bytes answers -ENOSPC */
    bool is_shut;        /* connecting answers -ETIMEDOUT */
    bool is_forbidden;   /* connecting answers -EACCES */
    /* Of the operations on objects whose name contains `object`, writing or
     * reading, the nth answers `error`; and all later ones if it persists.
     * `how` says what becomes of it. */
    struct {
        const char *object; /* NULL: no such rule */
        bool is_write;
        uint32_t nth;
        bool persists;
        int error; /* 0 with RULE_HOLD */
        enum { RULE_NOT_DONE, RULE_DONE, RULE_LATE, RULE_HOLD } how;
    } rule;
};

/* Nothing, when it has been started. */
void rados_double_start(uint64_t seed);
/* All clients have been shut down. */
void rados_double_stop(void);
void rados_double_weather(const struct rados_weather *weather);
const struct rados_api *rados_double_api(void);

/* What was held back by RULE_HOLD and late ones are carried out now; returns
 * when they have been. */
void rados_double_land(void);

/* What it counted. */
struct rados_double_counts {
    uint64_t operations, most_ops, most_bytes; /* under way at once */
    uint64_t copied, most_copied; /* bytes in operations not handed over */
    uint64_t timeouts, late_landed, objects, keys;
    uint64_t rules; /* how often the rule was followed */
};
struct rados_double_counts rados_double_counts(void);

/* Behind everybody's back. -ENOENT when there is no such object. */
int rados_double_flip(const char *pool, const char *object, uint64_t at);
int rados_double_delete(const char *pool, const char *object);
/* Whether an object's omap has a key that begins so. */
bool rados_double_has_key(const char *pool, const char *object,
                          const char *start);
/* The n-th (from 0) object of a pool: its name, freed by the caller. */
char *rados_double_object(const char *pool, size_t n);

#endif
