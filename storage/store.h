/*
 * store.h - the one asynchronous store interface.
 *
 * A store holds things of up to three kinds under relative names ("a/b/c"; one
 * name is never that of two kinds):
 *
 *   records   small, written once, never changed: STORE_PUT creates one
 *             exclusively and completes when it is durable (its bytes and its
 *             name); the first to create a name wins, all others get -EEXIST
 *             and nothing of theirs is ever visible under that name. A reader
 *             sees a record whole or not at all.
 *   segments  large preallocated files, written in place at page-aligned
 *             offsets. One opened for writing is locked exclusively through
 *             the very descriptor that its I/O uses, so that nobody else gets
 *             the lock while a write of a dead process is still in flight.
 *   blobs     large (megabytes), written once and whole as records are, never
 *             changed, read in part or whole: for stores that cannot write in
 *             place, where a segment's bytes become a row of blobs. They may
 *             lie where records do not (an erasure-coded pool).
 *
 * All have records. `limits` says whether a store has segments (max_io_bytes)
 * and blobs (max_blob_bytes); a request for what it has not is -EOPNOTSUPP.
 *
 * Life of a request. The caller fills a struct store_req, submits it, and gets
 * exactly one callback, on the thread that polls the store, never from inside
 * store_submit(). Until then the request, its name, and its buffer belong to
 * the store. The callback may submit again, also the same request. Requests
 * may complete in any order. Beyond max_inflight they wait in order.
 *
 * Results are 0 or a count, or -errno. A read or write is whole or an error:
 * short ones are finished inside. -ECANCELED only at store_close(). A request
 * that breaks the contract (name, alignment, limits, flags) answers -EINVAL
 * and reaches no back end; a writing one on a store that was opened for
 * reading answers -EROFS.
 *
 * Durability of names. 0 of a PUT, a creating SEG_OPEN, REMOVE and SEG_REMOVE
 * (and of a BLOB_PUT and BLOB_REMOVE, as in all that follows) says that the
 * change is on media; so is the name of a segment that was opened for writing,
 * whoever created it. So do -EEXIST of a PUT (the record that is there is whole
 * and durable: whoever acts on another's record may PUT first) and -ENOENT of a
 * REMOVE. None of that is ever said on the strength of a sync that was repeated
 * after one that failed: then -EEXIST means that the record was given its name
 * anew, and what cannot be said is -EIO, for as long as the store is open.
 * After any other error the outcome is unknown: read it back. A GET may
 * show a record whose PUT has not yet finished making its name durable. What is
 * unknown stays so: a PUT that answered -ETIMEDOUT can still create its record
 * later.
 *
 * Threads. A store belongs to one thread: the first that submits. It may be
 * opened by another before. Back ends may own threads or a ring, but
 * completions are handed over in store_poll() alone.
 *
 * Wake-ups. store_poll_fd() is readable (level, not edge) whenever
 * store_poll(store, 0) has something to do, requests that ended inside
 * store_submit() included, so that an epoll loop needs no other care.
 *
 * Only store.c calls through the table, and checks this contract there.
 */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include "common/err.h"
#include "common/id.h"
#include "common/list.h"

struct store;
struct store_seg; /* an open segment */

enum store_op {
    STORE_PUT,        /* name, buf, len: create durably; -EEXIST */
    STORE_GET,        /* name, buf, len (capacity): the whole record; result =
                         its length; -ENOENT; -EFBIG when it is larger;
                         -CKPT_ECORRUPT where the store keeps checksums and
                         they say so */
    STORE_LIST,       /* name (a folder; "" is the root): fills `names` with
                         the last components of the records, segments, blobs
                         and folders right below; an absent folder is empty; a
                         folder may show when it is empty. Names that are not
                         finished, or not good, do not show. */
    STORE_REMOVE,     /* name: durable removal of a record; -ENOENT */
    STORE_STAT,       /* name of a record: result = its length; fills
                         `stat_mtime_ms`; -ENOENT */
    STORE_ROOM,       /* name (a folder, as of LIST), len: 0 when new segments
                         of so many bytes in all would find room there now, else
                         -ENOSPC; nothing is taken. An early look: only creating
                         them reserves. */
    STORE_SEG_OPEN,   /* name, flags, len = size when creating: fills `seg` and
                         sets result = its size in bytes; -ENOENT; -EEXIST;
                         -EAGAIN when another holds the lock; -ENOSPC/-EDQUOT;
                         for writing: -EPERM when the file is another user's,
                         -EMLINK when it has a second name.
                         A created segment has its space reserved (not on
                         servers that cannot: describe() says so) and its name
                         durable. */
    STORE_SEG_CLOSE,  /* seg: lets go of the lock and frees seg; -EBUSY while
                         a request on it is in flight. Not a sync. */
    STORE_SEG_SHARE,  /* seg: turn the exclusive lock into a shared one; no
                         writes from then on (-EBADF). -EAGAIN: another took
                         the lock in between, and the handle is poisoned. */
    STORE_SEG_TRIM,   /* seg (open for writing), len (aligned, above 0, at most
                         its size): give the space behind back; result = the
                         new size. Durable with the next sync. -EBUSY while
                         another request on it is in flight. */
    STORE_SEG_REMOVE, /* name: unlink, durable; -ENOENT. Open handles go on. */
    STORE_READ,       /* seg, buf, len, off: aligned; -EIO at end of file */
    STORE_WRITE,      /* seg, buf, len, off: aligned, inside the size */
    STORE_SYNC,       /* seg: everything completed before the submission is
                         durable. After a failed sync, or a write that failed
                         with -EIO, the handle is poisoned: everything but
                         closing it answers -EIO for ever, and so does a sync
                         through any other handle of the segment, while the
                         store is open. */

    STORE_BLOB_PUT,    /* name, buf, len (1 to max_blob_bytes): as PUT */
    STORE_BLOB_GET,    /* name, buf, len (above 0), off: these bytes of it, all
                          or an error; result = len; -ENOENT; -EIO beyond its
                          end; -CKPT_ECORRUPT as of GET, but a checksum is only
                          looked at when the whole blob is read at once. No
                          alignment. */
    STORE_BLOB_REMOVE, /* name: as REMOVE */
    STORE_BLOB_STAT,   /* name: as STAT */
};

enum store_seg_flags {
    STORE_SEG_WRITE = 1,  /* exclusive lock; else shared, read-only */
    STORE_SEG_CREATE = 2, /* must not exist; with WRITE only */
    STORE_SEG_NOLOCK = 4, /* read-only without a lock: for tools that look */
};

/* The answer to STORE_LIST: `count` names, sorted by byte, in one block. The
 * receiver frees it with store_names_free(). */
struct store_names {
    char *block;
    char **name;
    size_t count;
};

struct store_req {
    enum store_op op;
    unsigned flags;
    const char *name;
    struct store_seg *seg;
    void *buf;
    uint64_t len;
    uint64_t off;
    struct store_names names;
    int64_t stat_mtime_ms;
    void (*done)(struct store_req *req, int64_t result);
    void *owner; /* the caller's */
    /* The store's, from submit to done. */
    struct list link;
    struct store *store;
    int64_t result;
    void *priv[4];
    uint64_t priv_u64[4];
};

struct store_limits {
    uint32_t align_bytes;      /* of segment buffers, lengths and offsets */
    uint32_t max_inflight;     /* requests handed to the back end at once */
    uint64_t max_io_bytes;     /* of one READ or WRITE; 0: no segments */
    uint64_t max_record_bytes; /* of one PUT */
    uint64_t max_blob_bytes;   /* of one BLOB_PUT; 0: no blobs */
};

/* What a back end is. All members are required. */
struct store_ops {
    const char *kind; /* "file", "memory", "fault", ... for messages only */
    void (*submit)(struct store *store, struct store_req *req);
    /* Wait up to timeout_ms (-1 for ever, 0 not at all) for a completion and
     * hand over all there are via store_complete(). 0 or -EINTR: whatever else
     * goes wrong is the result of a request. */
    int (*poll)(struct store *store, int timeout_ms);
    /* A descriptor that turns readable when poll has something to do; -1 when
     * completions only ever happen inside poll (memory), which then keeps
     * `wants_poll` up to date. Called at most once. */
    int (*poll_fd)(struct store *store);
    /* Memory that I/O will use often (an arena piece, <= 1 GiB). Optional for
     * speed: 0, or -errno when it could not be registered (I/O still works). */
    int (*buffer_add)(struct store *store, void *base, size_t bytes);
    void (*buffer_remove)(struct store *store, void *base);
    /* One line: which back end, what it fell back from and why. */
    void (*describe)(struct store *store, char *text, size_t capacity);
    /* Nothing is in flight any more: lets go of what is open, and of store. */
    void (*close)(struct store *store);
};

/* Every back end's struct begins with one. */
struct store {
    const struct store_ops *ops;
    struct store_limits limits;
    struct list waiting;  /* beyond max_inflight, in order */
    struct list finished; /* completed inside submit, delivered by poll */
    struct list spoilt;   /* segments whose sync failed: store_spoilt.c */
    bool is_spoilt;       /* all: there was no memory for one's name */
    uint32_t inflight;
    bool closing;
    bool
        wants_poll; /* the back end's: poll has work that no descriptor tells */
    bool is_signalled;      /* ready_fd is readable */
    int epoll_fd, ready_fd; /* made by the first store_poll_fd(), else -1 */
};

/* For back ends: prepare the common part; hand over one completion (any time,
 * also inside submit: the callback still runs from store_poll). */
void store_init(struct store *store, const struct store_ops *ops,
                const struct store_limits *limits);
void store_complete(struct store_req *req, int64_t result);

/*
 * For callers.
 */

/* Never blocks on I/O, never calls back, never fails: what is wrong comes as
 * the result. */
void store_submit(struct store *store, struct store_req *req);

/* Wait up to timeout_ms (-1 for ever, 0 not at all) for something to end and
 * run the callbacks of what has. Returns at once when nothing is in flight.
 * 0, or -EINTR. */
int store_poll(struct store *store, int timeout_ms) MUST_USE;

/* See "Wake-ups" above. The store's own, until it is closed; -errno when it
 * could not be made. */
int store_poll_fd(struct store *store);

/* Memory that I/O will use often: at most 1 GiB each. 0, or -errno when it
 * could not be registered: I/O from it works all the same, more slowly, and
 * describe() says so. The memory must stay until buffer_remove or close. */
int store_buffer_add(struct store *store, void *base, size_t bytes) MUST_USE;
/* No request may be using it. Unknown memory is ignored. */
void store_buffer_remove(struct store *store, void *base);

/* One line: which back end, what it fell back from and why. */
void store_describe(struct store *store, char *text, size_t capacity);

/* Waits for what is in flight; what still waits, and what its callbacks
 * submit, ends with -ECANCELED; closes the segments that are open; frees the
 * store. Takes NULL. */
void store_close(struct store *store);

/* Submit and poll until done: for tools and tests, never in the engine. Other
 * requests' callbacks may run meanwhile. Returns the result. */
int64_t store_run(struct store *store, struct store_req *req) MUST_USE;

void store_names_free(struct store_names *names);

/* Relative, at most 1,000 bytes, components of letters, digits, '.', '_', '-',
 * none starting with '.', none empty. */
bool store_name_is_good(const char *name);

/*
 * Back ends. Each returns 0 and *out, or a negative code with words.
 *
 * File: a directory (absolute path or relative to the working directory), all
 * access below it by openat2(BENEATH | NO_SYMLINKS | NO_MAGICLINKS).
 * STORE_OPEN_CREATE makes the directory (0700) if its parent exists.
 * STORE_OPEN_WRITE demands that the directory belongs to the caller's uid
 * (-EPERM names both uids) and that nobody else can write to it (-EPERM), and
 * probes once, but on a full disk, that link() is exclusive (-EOPNOTSUPP) and
 * locks work, for other machines too (-ENOLCK), refusing by name what is
 * missing; it also removes the temporaries of dead writers. Without it nothing
 * is ever written. On what is not known as a local file system, absences and
 * listings are the server's and not what this machine remembers, and a record
 * or segment that another machine removes while it is read may end in -ESTALE.
 * STORE_OPEN_LOCAL answers -EREMOTE on a network file system. What is made is
 * the caller's alone (0600, folders 0700); with STORE_OPEN_SHOWN its group and
 * others may read it as far as they may read the directory itself, and nobody
 * may write: let the umask be 022 at most. Engine AUTO takes
 * io_uring where io_uring_setup and O_DIRECT work and threads otherwise, and
 * describe() says why. Blocks for a few system calls.
 */
enum store_open_flags {
    STORE_OPEN_WRITE = 1,
    STORE_OPEN_CREATE = 2,
    STORE_OPEN_LOCAL = 4, /* refuse network file systems */
    STORE_OPEN_SHOWN = 8, /* to be read by whoever may read the directory */
};

enum store_engine {
    STORE_ENGINE_AUTO,
    STORE_ENGINE_URING, /* fails when io_uring is refused */
    STORE_ENGINE_THREADS,
};

int store_file_open(const char *path, unsigned flags, enum store_engine engine,
                    struct store **out, struct err *err) MUST_USE;

/* Memory: gone when closed. Requests take effect and complete inside poll, in
 * the order of a seeded shuffle and a random number of them at a time, so that
 * nobody relies on an order (seed 0: first in, first out, all of them).
 * stat_mtime_ms counts PUTs: there is no clock. */
int store_memory_open(uint64_t seed, struct store **out,
                      struct err *err) MUST_USE;

/* RADOS: records and blobs as objects of a Ceph cluster, named by a text that
 * rados_url.h describes; no segments. formats/FORMAT.md has the objects and
 * their checksums. -ENOSYS without librados.
 *
 * Opening blocks until the cluster has answered or connect_timeout_ms (several
 * times that if it stops answering midway). STORE_OPEN_CREATE makes the home
 * if there is none, which it is -ENOENT to open otherwise; the data pool is
 * part of it: another one later is -EINVAL, none given means that one.
 * STORE_OPEN_LOCAL is -EREMOTE.
 *
 * No request waits for ever. An operation on the cluster that does not answer
 * in op_timeout_ms has an unknown outcome and is done again, in a way that
 * cannot do it twice, for as long as its request is younger than give_up_ms;
 * then the request ends with -ETIMEDOUT. A full cluster or pool is -ENOSPC or
 * -EDQUOT at once. Every PUT and BLOB_PUT is read back before it answers. At
 * most 64 MiB are under way, and as much is copied ahead; of more the data is
 * the caller's. Requests go to the cluster in poll, those of at most 64 KiB
 * first.
 *
 * LIST asks for each name whether its object is there (32 at once).
 */
struct rados_api;

struct store_rados_options {
    const struct rados_api *api; /* NULL: this machine's librados */
    /* 0: what Ceph's configuration says in rados_mon_op_timeout and
     * rados_osd_op_timeout, else 10,000. */
    uint32_t connect_timeout_ms, op_timeout_ms;
    /* 0: 4.5 times op_timeout_ms: by default longer than a cluster takes to
     * notice an OSD that hangs. */
    uint32_t give_up_ms;
    bool puts_unread; /* for timings alone: what was created is not read back */
};

/* `options` may be NULL. */
int store_rados_open(const char *url, unsigned flags,
                     const struct store_rados_options *options,
                     struct store **out, struct err *err) MUST_USE;

/* For people: is such a home to be had, for writing, and how fast? An object in
 * each of its pools is created, read back and removed; no home is made, nor has
 * there to be one. Blocks as opening does. 0, or what failed first, its words
 * without what to do, which is in `fix`. */
struct store_rados_trial {
    bool has_home;
    char text[512]; /* pools, namespace, user, librados */
    uint64_t connect_ms;
    uint64_t records_ms, blobs_ms; /* of the three operations together */
    char fix[512];                 /* of what failed; "" when it is not known */
};

int store_rados_try(const char *url, const struct store_rados_options *options,
                    struct store_rados_trial *out, struct err *err) MUST_USE;

/* A home by its name: a directory, file://PATH or rados://POOL/NAMESPACE...,
 * -EINVAL for any other scheme. STORE_OPEN_CREATE makes a home in RADOS; a
 * directory has to be there, and tells who may read what is made in it
 * (STORE_OPEN_SHOWN). `engine` is for files. */
int store_home_open(const char *home, unsigned flags, enum store_engine engine,
                    struct store **out, struct err *err) MUST_USE;

/*
 * Wrappers: they own the store below and close it.
 *
 * Fault: each rule counts the requests that match its op (or -1 for any but
 * closing a segment, which no drive can make fail) and its name substring (NULL
 * for any; for segment I/O the name the segment was opened by); it fires on its
 * nth match (1 = first) and, if persistent, on all later ones. Rules are tried
 * in order until one fires; those behind it do not count that request. It
 * answers `error` (negative) without reaching the store below, or, with
 * `after`, after it did (done, but reported as failed), or, with `late` (of
 * removals), before it does, in store_fault_land(); with error 0 it delays the
 * request by `delay_polls` polls. A segment that was opened under an
 * `after` rule is closed again. A failed SYNC poisons the segment as a real one
 * does.
 */
struct store_fault {
    int op;
    const char *name_part;
    uint64_t nth;
    bool persistent;
    bool after;
    bool late;
    int error;
    uint32_t delay_polls;
};

int store_fault_open(struct store *below, struct store **out,
                     struct err *err) MUST_USE;
/* The rule is copied, the string not. Rules stay until cleared. */
int store_fault_add(struct store *store,
                    const struct store_fault *fault) MUST_USE;
void store_fault_clear(struct store *store);
/* Carries out what was answered before that, whatever has become of the names
 * since; polls until it is done. Returns how much that was. */
size_t store_fault_land(struct store *store);
/* How often a rule fired since open. */
uint64_t store_fault_count(const struct store *store);

/* Record: everything that was submitted, and its result, in the order of
 * submission; bytes of PUT, BLOB_PUT and WRITE are copied. Entries live until
 * close. */
struct store_entry {
    enum store_op op;
    unsigned flags;
    const char *name; /* of the record, or the segment's */
    uint64_t off, len;
    const void *data; /* PUT, BLOB_PUT, WRITE; NULL otherwise */
    bool is_done;
    int64_t result;
    uint64_t submitted_at, done_at; /* one counter over both */
};

int store_record_open(struct store *below, struct store **out,
                      struct err *err) MUST_USE;
size_t store_record_count(const struct store *store);
const struct store_entry *store_record_at(const struct store *store,
                                          size_t index);

#endif
