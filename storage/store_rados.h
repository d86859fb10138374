/*
 * store_rados.h - what the files of the RADOS back end share. Not for anybody
 * outside storage/.
 *
 *   store_rados.c        the table of operations: submit, poll, describe
 *   store_rados_open.c   opening and closing: the cluster, the home's anchor
 *   store_rados_words.c  what went wrong in opening, its cause and what to do
 *   store_rados_trial.c  a trial of both pools, for people
 *   store_rados_op.c     one operation on one object: budget, call, arrival
 *   store_rados_put.c    creating a record or blob, and removing one
 *   store_rados_catalog.c  names into catalogues, before what they name
 *   store_rados_get.c    reading one, and its length
 *   store_rados_list.c   listings out of a folder's catalogue
 *   store_rados_names.c  objects' names, a catalogue's keys, the anchor's text
 *   store_rados_seal.c   the attribute with an object's length and checksum
 *
 * A request becomes a struct rados_job, which does one operation (struct
 * rados_op) after another, LIST several at once; each step's function submits
 * the next. All of it runs on the owner's thread. librados calls back on its
 * own threads, where rados_op_called() does nothing but put the operation on
 * `arrived` and wake the owner.
 *
 * Objects in the pool of records: `ckptd` (the anchor), `c:FOLDER` (a
 * catalogue), `r:NAME` (a record); in the data pool `b:NAME` (a blob).
 */
#ifndef STORAGE_STORE_RADOS_H
#define STORAGE_STORE_RADOS_H

#include "storage/rados_api.h"
#include "storage/rados_url.h"
#include "storage/store_internal.h"

#include <pthread.h>

/*
 * The seal: what an object says of itself, in its attribute `ckptd`.
 */

#define SEAL_BYTES     44
#define SEAL_ATTRIBUTE "ckptd"

struct seal {
    uint64_t bytes;
    struct id128 nonce; /* of the request that created it, its try in b[15] */
    uint32_t crc;       /* CRC-32C of the object's bytes */
};

/* The attribute is bound to the object's name. */
void seal_encode(const struct seal *seal, const char *object,
                 uint8_t to[SEAL_BYTES]);
/* 0 or -CKPT_ECORRUPT. */
int seal_decode(const void *from, size_t bytes, const char *object,
                struct seal *seal) MUST_USE;

/*
 * Names. 'r' a record, 'b' a blob, 'd' a folder.
 */

/* A prefix of two bytes, a name, NUL. */
#define OBJECT_NAME_BYTES (2 + STORE_NAME_MAX + 1)
/* A kind, a component, '/', a nonce, NUL. */
#define CATALOG_KEY_BYTES (1 + STORE_NAME_MAX + 1 + ID_TEXT_BYTES)

/* PREFIX:NAME, of the first `bytes` of name. */
void rados_object_name(char prefix, const char *name, size_t bytes,
                       char to[OBJECT_NAME_BYTES]);
/* The bytes of the folder of `name`: 0 for the root's. *component is its last
 * component. */
size_t rados_folder_of(const char *name, const char **component);
/* KCOMPONENT/NONCE; dCOMPONENT without a nonce. Returns its length. */
size_t rados_key_format(char kind, const char *component, size_t bytes,
                        const struct id128 *nonce, char to[CATALOG_KEY_BYTES]);
/* The kind of a key with its component, or 0 for what shows in no listing. */
char rados_key_parse(const char *key, size_t bytes,
                     char component[STORE_NAME_MAX + 1]);

/* The text of the object RADOS_ANCHOR, from which a home is known. */
#define RADOS_ANCHOR       "ckptd"
#define RADOS_ANCHOR_BYTES 256
size_t rados_anchor_format(const char *data_pool, char to[RADOS_ANCHOR_BYTES]);
/* The data pool's name out of it: 0 or -CKPT_ECORRUPT. */
int rados_anchor_parse(const char *text, size_t bytes,
                       char data_pool[RADOS_WORD_MAX + 1]) MUST_USE;

/*
 * Operations.
 */

enum rados_pool { RADOS_RECORDS, RADOS_BLOBS, RADOS_POOLS };

struct rados_op {
    struct list link; /* `waiting` or `arrived` */
    struct rados_store *rados;
    enum rados_pool pool;
    const char *object; /* the submitter's until done */
    uint64_t bytes;     /* of data, for the budget */
    bool is_read;
    rados_handle steps; /* librados' write_op or read_op */
    rados_handle completion;
    int refused; /* librados did not take it: why */
    int result;
    void (*fill)(struct rados_op *op); /* NULL: nothing, or it has been */
    void (*done)(struct rados_op *op);
    void *owner;
    /* What reading steps filled. */
    uint64_t size;
    time_t mtime;
    size_t got;
    uint8_t checksum[8]; /* u32 count, u32 checksum */
    rados_handle attributes, keys;
    unsigned char has_more;
    int step_result[3];
};

/* Begin an operation on an object: 0 or -ENOMEM. Steps are added to op->steps
 * through the table; then it is submitted, or dropped with rados_op_fini(). */
int rados_op_begin(struct rados_op *op, struct rados_store *rados,
                   enum rados_pool pool, const char *object,
                   bool is_read) MUST_USE;
/* Goes in poll, once there is room, and `done` is called in poll. What is small
 * goes before what is not. */
void rados_op_submit(struct rados_op *op, void (*done)(struct rados_op *op));
/* The same; `fill` is called shortly before, to add the steps with the data,
 * which librados copies: of so much at most at once. */
void rados_op_submit_later(struct rados_op *op,
                           void (*fill)(struct rados_op *op),
                           void (*done)(struct rados_op *op));
/* The next poll does not wait. */
void rados_op_wake(struct rados_store *rados);
/* Lets go of what it holds; it may be begun again. Of a zeroed one: nothing. */
void rados_op_fini(struct rados_op *op);
/* Submit and wait for it: when opening. Returns the result. */
int rados_op_run(struct rados_op *op) MUST_USE;
/* Adds the steps that ask for size and seal. */
void rados_op_ask_seal(struct rados_op *op);
/* Of a finished operation that asked: 0 or -CKPT_ECORRUPT. */
int rados_op_seal(struct rados_op *op, struct seal *seal) MUST_USE;

/*
 * The store.
 */

/* So many folders are remembered as being in their parents' catalogues. */
#define RADOS_FOLDERS 256

#define RADOS_FIX_BYTES 512

struct rados_store {
    struct store store;
    const struct rados_api *api;
    struct rados_url url; /* its data pool known */
    unsigned flags;
    uint32_t connect_timeout_ms, op_timeout_ms, give_up_ms;
    bool puts_unread;
    rados_handle cluster;
    rados_handle io[RADOS_POOLS];
    struct id128 nonce; /* random at open; bytes 8 to 14 count */
    uint64_t nonce_count;
    /* Operations: what has not been handed to librados, and what has. */
    struct list waiting;      /* those that are small */
    struct list waiting_data; /* those with much data, the caller's still */
    struct list ready;        /* those whose data librados has */
    uint64_t ready_bytes;
    uint32_t ops;
    uint64_t op_bytes;   /* of those with much */
    struct list paused;  /* jobs */
    struct list leaders; /* jobs whose keys go, with others' */
    char *folder[RADOS_FOLDERS];
    char fix[RADOS_FIX_BYTES]; /* what to do about what failed in opening */
    int event_fd; /* a timer: now, for what has arrived, or a pause's end */
    pthread_mutex_t lock;
    struct list arrived; /* lock */
};

extern const struct store_ops rados_ops;

/* Where opening stands. */
enum rados_step {
    RADOS_STEP_CONFIGURE,
    RADOS_STEP_CONNECT,
    RADOS_STEP_POOL,
    RADOS_STEP_RECORDS, /* operations on objects there */
    RADOS_STEP_BLOBS,
};

/* What failed with `rc` (negative): words with monitors, pool, namespace, cause
 * and what to do, of which rados->fix gets the last. Returns rc. */
int rados_refused(struct rados_store *rados, struct err *err, int rc,
                  enum rados_step step, const char *what);

/* Everything of opening but the home's anchor. Undone by rados_op_close(). */
struct rados_store *rados_new(const struct store_rados_options *options,
                              unsigned flags);
int rados_connect(struct rados_store *rados,
                  const struct store_rados_options *options, const char *url,
                  struct err *err) MUST_USE;
int rados_open_pool(struct rados_store *rados, enum rados_pool which,
                    const char *name, struct err *err) MUST_USE;
/* The home's data pool: 0, -ENOENT (no home), or another negative code. */
int rados_anchor_read(struct rados_store *rados,
                      char pool[RADOS_WORD_MAX + 1]) MUST_USE;

static inline struct rados_store *rados_of(struct store *store)
{
    return container_of(store, struct rados_store, store);
}

/* Hands over what has arrived: 0 or -EINTR. */
int rados_op_poll(struct rados_store *rados, int timeout_ms) MUST_USE;
void rados_op_close(struct rados_store *rados);

/* One request under way. */
struct rados_job {
    struct rados_store *rados;
    struct store_req *req;
    struct rados_op op;
    enum rados_pool pool;
    char object[OBJECT_NAME_BYTES];
    char catalog[OBJECT_NAME_BYTES];
    uint64_t deadline_ms;
    uint32_t tries;
    /* While it pauses, or its key is put into the catalogue. */
    struct list link;
    uint64_t pause_ms, resume_ms;
    void (*resume)(struct rados_job *job);
    struct list members, waiting; /* of a leader: store_rados_catalog.c */
    size_t registered; /* bytes of the name whose folders are in catalogues */
    uint32_t attempts; /* at creating or removing the object */
    int64_t outcome;   /* so far */
    struct seal seal;
    char key[CATALOG_KEY_BYTES];
};

/* NULL: the request was answered with -ENOMEM. */
struct rados_job *rados_job_start(struct rados_store *rados,
                                  struct store_req *req);
void rados_job_end(struct rados_job *job, int64_t result);
/* Begins job->op; false: the job has ended with -ENOMEM. */
bool rados_job_begin(struct rados_job *job, enum rados_pool pool,
                     const char *object, bool is_read);
/* True when what timed out may be done again. */
bool rados_job_may_retry(struct rados_job *job);
/* Whether what read, and ended with `result`, is done again: by `start`, at
 * once or after a pause. False: `result` is to be believed. */
bool rados_job_read_again(struct rados_job *job, int result,
                          void (*start)(struct rados_job *job));

/* Puts the name, under a key with the seal's nonce, into the catalogue of its
 * folder (job->catalog, job->key), and each folder into its parent's; then
 * `done`, unless that failed: then the job has ended. */
void rados_register(struct rados_job *job, void (*done)(struct rados_job *job));
/* Sends off the keys that have come together: once per poll. */
void rados_catalog_go(struct rados_store *rados);
/* 'b' or 'r'. */
char rados_kind_of(const struct rados_job *job);

void rados_put_submit(struct rados_job *job);
void rados_remove_submit(struct rados_job *job);
void rados_get_submit(struct rados_job *job);
void rados_list_submit(struct rados_job *job);
uint64_t rados_now_ms(void);

#endif
