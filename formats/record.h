/*
 * record.h - the small records of a home and of a local store.
 *
 * Every record is an envelope {magic, kind, version, length, digest} around a
 * body; the digest covers the whole record. Byte-exact in FORMAT.md. Encoders
 * write into a struct wr (w->failed on no memory); decoders check everything
 * and answer -CKPT_ECORRUPT, -CKPT_EVERSION or -EBADMSG (another kind).
 *
 * Names, relative to the home (helpers below; RUN is the run's name, GEN is
 * eight digits, SAVE a save id's text, DAEMON 32 hex digits):
 *
 *   STORE                              {uuid}
 *   runs/RUN/RUN                       {run uuid, created}
 *   runs/RUN/gen/GEN                   a generation: token, parent, policies
 *   runs/RUN/closed/GEN                no more intents after this
 *   runs/RUN/member/GEN.DAEMON.N       ranks that joined through a daemon
 *   runs/RUN/intent/SAVE.DAEMON        a save has begun
 *   runs/RUN/vote/SAVE.DAEMON          a manifest container of kind VOTE, or a
 *   runs/RUN/vote/SAVE.DAEMON.N          parts record and its parts (N from 0)
 *   runs/RUN/manifest/SAVE.DAEMON.N    parts of a large manifest
 *   runs/RUN/decision/SAVE             COMMIT or ABORT
 *   runs/RUN/tomb/SAVE                 removed; outranks any decision
 *   runs/RUN/load/GEN.K                outcome of load attempt K
 *   runs/RUN/load/GEN.K.DAEMON         a daemon's vote on it
 *   runs/RUN/verified/SAVE             was read back entirely
 *   runs/RUN/verified/SAVE.DAEMON      what of it is in that daemon's store was
 *   runs/RUN/damaged/SAVE.DAEMON       bad bytes were found there; taken away
 *                                      once they are good
 *   runs/RUN/damaged_remote/SAVE.DAEMON  the same of that daemon's share in the
 *                                      remote tier
 *   runs/RUN/scrubbed/SAVE.PASS        was read by the scrub that began at PASS
 *   runs/RUN/pin/SAVE                  not to be removed
 *   runs/RUN/lease/LEASE.N             a reader is at work (N counts up)
 *   runs/RUN/remote/SAVE               every byte is in the remote tier
 *   runs/RUN/remote/SAVE.DAEMON        that daemon's share is, and where: a
 *   runs/RUN/remote/SAVE.DAEMON.N        container of kind TIER, or parts
 *   runs/RUN/data/SAVE.DAEMON.N        those bytes (blobs or segments), or
 *   runs/RUN/data/SAVE.DAEMON.N.AGAIN  where N was bad
 *
 * A local store: STORE {uuid}, seg/NNNNNN (segments, not records), and a lock.
 */
#ifndef FORMATS_RECORD_H
#define FORMATS_RECORD_H

#include "common/bytes.h"
#include "common/err.h"
#include "common/hash.h"
#include "formats/extra.h"

enum record_kind {
    RECORD_STORE = 1,
    RECORD_RUN = 2,
    RECORD_GENERATION = 3,
    RECORD_CLOSED = 4,
    RECORD_MEMBER = 5,
    RECORD_INTENT = 6,
    RECORD_DECISION = 7,
    RECORD_TOMB = 8,
    RECORD_LOAD = 9,
    RECORD_VERIFIED = 10,
    RECORD_PIN = 11,
    RECORD_LEASE = 12,
    RECORD_PARTS = 13, /* stands for a container that was split */
    RECORD_DAMAGED = 14,
    RECORD_SCRUBBED = 15,
    RECORD_REMOTE = 16,
    RECORD_DAMAGED_REMOTE = 17,
};

#define RECORD_MAX_BYTES  ((uint64_t)64 << 10) /* of an envelope with body */
#define RECORD_PART_BYTES ((uint64_t)16 << 20) /* of one part */
#define RUN_NAME_MAX      255
#define TOKEN_MAX         255
#define REASON_MAX        1023
#define RECORD_NAME_BYTES 512 /* room for any name made below */

struct record_store {
    struct id128 uuid;
};

struct record_run {
    struct id128 uuid;
    uint64_t created_unix_ms;
};

struct record_generation {
    uint32_t generation;
    uint32_t world_size;
    char token[TOKEN_MAX + 1];
    struct save_id parent; /* generation 0: a fresh start */
    uint64_t created_unix_ms;
    uint32_t keep_last, keep_every; /* 0: keep all */
    uint32_t decide_timeout_ms;
    uint32_t remote_every; /* which steps go to the remote tier; 0: none */
    uint32_t local_last;   /* of what is there, so many of the newest stay in
                              the local stores too; 0: all */
    struct layout layout;
};

struct record_member {
    struct id128 daemon;
    char host[256];
    uint32_t rank_count;
    uint32_t *rank; /* malloc'd when decoded; record_member_fini() */
};

enum decision {
    DECISION_COMMIT = 1,
    DECISION_ABORT = 2,
};

/* A COMMIT either carries the manifest inline or names its parts. */
struct record_decision {
    uint32_t decision;
    struct save_id id;
    int32_t code; /* of an ABORT, negative */
    char reason[REASON_MAX + 1];
    uint64_t created_unix_ms;
    /* Of the catalogue, so that listing reads decisions only. */
    uint64_t logical_bytes, stored_bytes, tensor_count;
    uint32_t rank_count, node_count;
    struct layout layout;
    struct id128 committer;
    uint64_t manifest_bytes;
    struct digest manifest_root;
    uint32_t part_count;      /* 0: inline */
    const void *inline_bytes; /* manifest_bytes of them, in the record */
};

struct record_parts {
    uint64_t bytes;
    struct digest root; /* of the container */
    uint32_t part_count;
};

struct record_tomb {
    struct save_id id;
    uint64_t created_unix_ms;
    char reason[REASON_MAX + 1];
};

enum load_outcome {
    LOAD_VERIFIED = 1,
    LOAD_FAILED = 2,
};

struct record_load {
    struct save_id id;
    uint32_t outcome;
    int32_t code;
    char reason[REASON_MAX + 1];
    uint32_t rank_count; /* in a daemon's vote: how many ranks it speaks for */
};

/* INTENT, CLOSED, VERIFIED, PIN, LEASE, DAMAGED, SCRUBBED, REMOTE,
 * DAMAGED_REMOTE: who, when,
 * and a note. */
struct record_mark {
    struct save_id id; /* zero for CLOSED */
    struct id128 daemon;
    uint64_t created_unix_ms;
    char note[256];
};

/* Whether bytes begin like a record (a container begins otherwise): tells a
 * parts record from a vote or manifest of one part. Checks nothing else. */
bool record_is(const void *data, size_t bytes);

/* Encoders: every text field has its NUL inside its array; a record that would
 * exceed RECORD_MAX_BYTES sets w->failed like missing memory. */
void record_store_encode(const struct record_store *v, struct wr *w);
int record_store_decode(const void *data, size_t bytes, struct record_store *v,
                        struct err *err) MUST_USE;
void record_run_encode(const struct record_run *v, struct wr *w);
int record_run_decode(const void *data, size_t bytes, struct record_run *v,
                      struct err *err) MUST_USE;
void record_generation_encode(const struct record_generation *v, struct wr *w);
int record_generation_decode(const void *data, size_t bytes,
                             struct record_generation *v,
                             struct err *err) MUST_USE;
void record_member_encode(const struct record_member *v, struct wr *w);
int record_member_decode(const void *data, size_t bytes,
                         struct record_member *v, struct err *err) MUST_USE;
void record_member_fini(struct record_member *v);
void record_decision_encode(const struct record_decision *v, struct wr *w);
/* How many bytes of manifest fit inline beside the other fields of `v`. */
uint64_t record_decision_room(const struct record_decision *v);
/* inline_bytes points into `data`, at a multiple of 8 from its start. */
int record_decision_decode(const void *data, size_t bytes,
                           struct record_decision *v, struct err *err) MUST_USE;
/* The same of what stands under the name of save `id`: -CKPT_ECORRUPT when it
 * speaks of another. */
int record_decision_of(const struct save_id *id, const void *data, size_t bytes,
                       struct record_decision *v, struct err *err) MUST_USE;
void record_parts_encode(const struct record_parts *v, struct wr *w);
int record_parts_decode(const void *data, size_t bytes, struct record_parts *v,
                        struct err *err) MUST_USE;
void record_tomb_encode(const struct record_tomb *v, struct wr *w);
int record_tomb_decode(const void *data, size_t bytes, struct record_tomb *v,
                       struct err *err) MUST_USE;
void record_load_encode(const struct record_load *v, struct wr *w);
int record_load_decode(const void *data, size_t bytes, struct record_load *v,
                       struct err *err) MUST_USE;
void record_mark_encode(enum record_kind kind, const struct record_mark *v,
                        struct wr *w);
int record_mark_decode(const void *data, size_t bytes, enum record_kind kind,
                       struct record_mark *v, struct err *err) MUST_USE;

/* A run's name: 1 to RUN_NAME_MAX letters, digits, '.', '_', '-', not starting
 * with '.'. */
bool run_name_is_good(const char *name);

/* Names of records; `out` has RECORD_NAME_BYTES. Each returns out. */
char *name_run(char *out, const char *run, const char *leaf); /* "RUN","gen" */
char *name_gen(char *out, const char *run, const char *folder,
               uint32_t generation); /* gen/, closed/ */
char *name_member(char *out, const char *run, uint32_t generation,
                  const struct id128 *daemon, uint32_t n);
char *name_save(char *out, const char *run, const char *folder,
                const struct save_id *id); /* decision/ tomb/ pin/ verified/ */
/* intent/ vote/ verified/ */
char *name_save_daemon(char *out, const char *run, const char *folder,
                       const struct save_id *id, const struct id128 *daemon);
char *name_part(char *out, const char *run, const char *folder,
                const struct save_id *id, const struct id128 *daemon,
                uint32_t n); /* vote/ manifest/ remote/ */
/* Below runs/RUN: "data/SAVE.DAEMON.N", and where `again` is not 0 ".AGAIN"
 * behind it: what is written since those before it are bad. */
char *name_tier_file(char *out, const struct save_id *id,
                     const struct id128 *daemon, uint32_t n, uint32_t again);
char *name_load(char *out, const char *run, uint32_t generation, uint32_t k,
                const struct id128 *daemon); /* daemon NULL: the outcome */

#endif
