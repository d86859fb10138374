/*
 * fileio.h - the primitive file operations that the file store is made of.
 *
 * The store's logic (store_file*.c) is small state machines that issue one
 * primitive at a time; who carries it out is behind struct fileio_ops: a ring
 * (fileio_uring.c), a few threads (fileio_threads.c), or something slotted in
 * between that records every primitive. Everything that means anything to
 * durability (write, fsync, fallocate, link, unlink, mkdir, creating open)
 * goes through here; closing a descriptor of a local file does not.
 *
 * Life of an operation. The caller fills a struct fileio_op, submits it, and
 * gets exactly one done(), from inside fileio poll and never from submit.
 * Until then the operation and all that it points at belong to the fileio.
 * Results are 0, a count or a descriptor, or -errno; -EINTR and -EAGAIN are
 * retried inside, short counts are not: they are the caller's to finish.
 *
 * Threads: one owner, as for a store.
 */
#ifndef STORAGE_FILEIO_H
#define STORAGE_FILEIO_H

#include "common/err.h"
#include "common/list.h"

#include <linux/openat2.h>
#include <sys/stat.h>

struct store_names;

enum fileio_kind {
    FILEIO_OPEN,      /* below dir `fd`: path, how; result: the descriptor */
    FILEIO_READ,      /* fd, slot, buf, len, off; result: bytes, 0 at the end */
    FILEIO_WRITE,     /* fd, slot, buf, len, off; result: bytes */
    FILEIO_FSYNC,     /* fd (file or directory), slot */
    FILEIO_FDATASYNC, /* fd, slot: data and what is needed to read it */
    FILEIO_FALLOCATE, /* fd, len: reserves [0, len) and sets the size */
    FILEIO_TRUNCATE,  /* fd, len: cuts the file off behind len */
    FILEIO_LINK,      /* the file `fd` gets the name path2 in dir fd2; its old
                         name is `path` in dir_fd, or none (NULL, O_TMPFILE) */
    FILEIO_RENAME,    /* `path` in dir fd takes the name path2 in dir fd2,
                         whoever had it */
    FILEIO_UNLINK,    /* dir fd, path */
    FILEIO_RMDIR,     /* dir fd, path: an empty folder, else -ENOTEMPTY */
    FILEIO_MKDIR,     /* dir fd, path; how.mode */
    FILEIO_STAT,      /* fd; fills *stat */
    FILEIO_ROOM,      /* fd, len: -ENOSPC when its file system has less to give
                         to an ordinary user */
    FILEIO_LOCK,      /* fd, how_lock (LOCK_EX, LOCK_SH, LOCK_UN; never waits):
                         -EAGAIN when another holds it */
    FILEIO_LIST,      /* dir fd; fills *names with what is visible */
    FILEIO_FLUSH,     /* fd: what closing a descriptor of this file answers;
                         this one stays open */
    FILEIO_CLOSE,     /* fd, for where closing talks to a server: the fd is gone
                         whatever the result */
    FILEIO_KIND_COUNT
};

struct fileio_op {
    enum fileio_kind kind;
    int fd;   /* what is operated on; the directory, for names */
    int slot; /* of file_add(), or -1 */
    int fd2;
    int dir_fd;
    int how_lock;
    const char *path, *path2;
    void *buf;
    uint64_t len, off;
    struct open_how how;
    struct statx *stat;
    struct store_names *names;
    void (*done)(struct fileio_op *op, int64_t result);
    /* The fileio's. */
    struct list link;
    int64_t result;
    uint32_t retries;
    char proc_path[32]; /* "/proc/self/fd/N" for LINK without an old name */
};

struct fileio;

struct fileio_ops {
    const char *kind;
    void (*submit)(struct fileio *io, struct fileio_op *op);
    /* As store_ops.poll: runs done() of all that has ended; 0 or -EINTR. */
    int (*poll)(struct fileio *io, int timeout_ms);
    /* Readable when poll has something to do. */
    int (*poll_fd)(struct fileio *io);
    int (*buffer_add)(struct fileio *io, void *base, size_t bytes);
    void (*buffer_remove)(struct fileio *io, void *base);
    /* A file that I/O will use often: its slot, or -1. No operation may be in
     * flight on it at file_remove(), which takes -1. */
    int (*file_add)(struct fileio *io, int fd);
    void (*file_remove)(struct fileio *io, int slot);
    void (*describe)(struct fileio *io, char *text, size_t capacity);
    /* Nothing may be in flight. */
    void (*close)(struct fileio *io);
};

/* Every implementation's struct begins with one. */
struct fileio {
    const struct fileio_ops *ops;
    bool wants_poll; /* as of a store: poll has work that poll_fd does not tell
                      */
};

/* Requests that a store may have in flight over either implementation; each
 * has at most one operation under way. */
#define FILEIO_DEPTH 64

/* A ring. -EPERM, -ENOSYS, -ENOMEM ... with words when it is refused. */
int fileio_uring_open(struct fileio **out, struct err *err) MUST_USE;

/* `thread_count` threads (1 to 16) that block. */
int fileio_threads_open(unsigned thread_count, struct fileio **out,
                        struct err *err) MUST_USE;

/* Carries out one operation here and now; blocks. For implementations. */
int64_t fileio_execute(struct fileio_op *op);

/* LINK: the arguments of linkat(2) for the old name. */
struct fileio_link_from {
    int dir_fd;
    const char *path;
    int flags;
};
struct fileio_link_from fileio_link_from(struct fileio_op *op);

#endif
