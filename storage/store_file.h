/*
 * store_file.h - inside the file store: the store, its jobs, and the steps
 * that they are made of.
 *
 *   store_file.c          the table of operations, jobs, opening and closing
 *   store_file_root.c     the root folder: owner, network, clean-up
 *   store_file_trial.c    what a store for writing needs is tried out
 *   store_file_path.c     parent folders, made durable once
 *   store_file_fresh.c    names in folders that other machines change as well
 *   store_file_sync.c     folders, synced, and in doubt when that failed
 *   store_file_mend.c     names that are in doubt, given anew
 *   store_file_publish.c  temporaries, and giving them their name exclusively
 *   store_file_judge.c    who won, when the answer to that does not tell
 *   store_file_record.c   PUT GET LIST REMOVE STAT
 *   store_file_segment.c  segments
 *
 * A job carries one request. Each step issues one primitive (struct fileio_op)
 * and names the step that takes its result; a procedure of several steps (open
 * the parent, publish) ends in job->after. Whatever happens, a job ends in
 * file_job_end() once.
 */
#ifndef STORAGE_STORE_FILE_H
#define STORAGE_STORE_FILE_H

#include "storage/fileio.h"
#include "storage/store_internal.h"

#include <stdio.h>

#define FILE_THREADS      4
#define FILE_DURABLE_MAX  512
#define FILE_TMP_PREFIX   ".tmp-"
#define FILE_TMP_BYTES    64 /* of a temporary's name, with the NUL */
#define FILE_RECORD_BYTES ((uint64_t)16 << 20)
#define FILE_IO_BYTES     ((uint64_t)16 << 20)
/* Times that a name may vanish under a request before it gives up. */
#define FILE_TRIES_MAX 8

struct file_job;
typedef void file_step(struct file_job *job, int64_t result);

struct file_job {
    struct fileio_op op; /* the one under way */
    struct list link;    /* of the free jobs, or of those with a sync of a
                            folder, whoever carries it out */
    struct list sharers; /* jobs that are told what this one's sync is */
    struct store_file *file;
    struct store_req *req;
    file_step *next;  /* takes the primitive's result */
    file_step *after; /* takes the procedure's */
    file_step *after_names;
    file_step *after_sync;
    file_step *after_fresh;
    file_step *after_judge;
    file_step *after_mend;
    int dir_fd;     /* the parent: own, root_fd, or -1 */
    int fd;         /* the file: own, or -1 */
    int walk_fd;    /* the folder below dir_fd while walking, or -1 */
    int leaf_flags; /* of file_open_leaf() */
    bool is_stale;  /* what was found was stale: ask anew */
    bool is_linked; /* fd got its name */
    bool is_made;   /* the folder that the walk has reached: by this job */
    uint32_t tries, walk_tries;
    uint32_t folder_failures; /* the store's, when it began */
    uint64_t ino;             /* of fd, while who won is judged */
    uint32_t dev_major, dev_minor;
    uint64_t done_bytes; /* of a read or write */
    int64_t outcome;     /* of file_job_end() */
    int64_t answer;      /* of linkat() */
    size_t walk_at, walk_end;
    size_t sync_bytes; /* of req->name: the folder that is synced */
    char *copy;        /* while a name is given anew */
    struct statx stat;
    const char *leaf;              /* within req->name */
    char tmp[FILE_TMP_BYTES];      /* the temporary's name, or "" */
    char path[STORE_NAME_MAX + 1]; /* the parent's, within the root */
};

enum file_direct { FILE_DIRECT_UNKNOWN, FILE_DIRECT_YES, FILE_DIRECT_NO };

struct store_file {
    struct store store;
    struct fileio *io;
    char *path;
    unsigned flags;
    int root_fd;
    mode_t shown_mode; /* what others may do with the folders that are made */
    bool is_shared; /* other machines may change it: see store_file_fresh.c */
    bool has_tmpfile;
    bool cannot_reserve;     /* as the last created segment showed */
    enum file_direct direct; /* as the last file showed */
    uint64_t tmp_tag;        /* random: makes temporaries' names unique */
    uint64_t tmp_count;
    char why[256]; /* what was fallen back from, or "" */
    struct list segments;
    struct list free_jobs;
    char *durable[FILE_DURABLE_MAX]; /* folders known to be on media */
    uint32_t durable_next;
    uint32_t folder_failures;     /* syncs of folders that failed */
    struct list doubts;           /* the folders */
    bool doubts_all;              /* no memory to note which */
    struct list syncing, to_sync; /* jobs: store_file_sync.c */
    struct file_job job[FILEIO_DEPTH];
};

struct file_seg {
    struct store_seg seg;
    struct list link; /* of store_file.segments */
    int fd;
    int slot;
    bool is_locked;
    bool is_syncing;
    bool is_trimmed;   /* since the last sync: its size is to be synced too */
    struct list syncs; /* struct store_req: behind the one under way */
};

/* The store over a given fileio, which it owns from now on, also on failure:
 * how an implementation other than the two is slotted in. */
int store_file_open_on(const char *path, unsigned flags, struct fileio *io,
                       struct store **out, struct err *err) MUST_USE;

/* store_file.c: jobs. */
struct file_job *file_job_start(struct store_file *file, struct store_req *req);
/* Lets go of the temporary and the descriptors and completes the request. */
void file_job_end(struct file_job *job, int64_t result);
void file_job_close_fds(struct file_job *job);
/* Issue job->op, whose fields are set, as `kind`. */
void file_job_issue(struct file_job *job, enum fileio_kind kind,
                    file_step *next);
/* Open `path` below the folder `dir_fd`, never through a symbolic link. */
void file_job_open(struct file_job *job, int dir_fd, const char *path,
                   int flags, file_step *next);
void file_job_on_fd(struct file_job *job, enum fileio_kind kind, int fd,
                    file_step *next);
void file_job_lock(struct file_job *job, int how, file_step *next);

/* FSYNC or FDATASYNC of a descriptor; `what` names it for tests that leave it
 * out. */
void file_job_sync(struct file_job *job, enum fileio_kind kind, int fd,
                   const char *what, file_step *next);
/* store_file_sync.c. FSYNC of the folder job->dir_fd, which is req->name[0,
 * bytes): a failure fails all that began before it. */
void file_job_sync_folder(struct file_job *job, size_t bytes, const char *what,
                          file_step *next);
/* A sync of it has failed, and what had been named there by then may be lost.
 */
bool file_is_in_doubt(const struct store_file *file, const char *name,
                      size_t bytes);
void file_doubts_free(struct store_file *file);
/* Of req->name, once job->leaf is set. */
static inline size_t file_parent_bytes(const struct file_job *job)
{
    size_t bytes = (size_t)(job->leaf - job->req->name);

    return bytes ? bytes - 1 : 0;
}

/* store_file_mend.c. The record `leaf` in dir_fd gets its name anew, by means
 * of job->fd, and that is durable: 0, or -ESTALE when it is gone and one should
 * start again. */
void file_mend(struct file_job *job, file_step *after);

/* store_file_root.c. Opens file->root_fd and fills what the probes find. */
int file_root_open(struct store_file *file, struct err *err) MUST_USE;
void file_tmp_name(struct store_file *file, char name[FILE_TMP_BYTES]);

/* store_file_trial.c. 0, or what is missing, in words; -ENOSPC and -EDQUOT of
 * the trial are told in file->why. */
int file_trial(struct store_file *file, struct err *err) MUST_USE;

/* store_file_mount.c. Of the lines of /proc/self/mountinfo, does that of mount
 * `id` say that locks are kept from other machines? Then the option that does
 * goes to `option`. */
bool file_mount_has_local_locks(FILE *mountinfo, uint64_t id, char *option,
                                size_t capacity);
/* Tells from what STATX_DIOALIGN says of a regular file. */
bool file_stat_is_direct(const struct statx *stat);
/* True where O_DIRECT is accepted and ignored. */
bool file_root_is_memory(const struct store_file *file);

/* store_file_path.c. Sets job->dir_fd and job->leaf for req->name. With
 * `make`, missing folders are made, and all of them are durable. */
void file_open_parent(struct file_job *job, bool make, file_step *after);
/* Without `make`; and the names that are in the folder are durable. */
void file_open_names(struct file_job *job, file_step *after);
void file_forget_durable(struct store_file *file);
/* Are the names in folder[0, bytes) durable? Not known any more. */
void file_forget_names(struct store_file *file, const char *folder,
                       size_t bytes);

/* store_file_fresh.c. The folder req->name[0, bytes), with all that this
 * machine remembers of the way to it made void: sets job->dir_fd, which is the
 * job's, or the root's. */
void file_open_fresh(struct file_job *job, size_t bytes, file_step *after);
/* The same of req->name's parent; sets job->leaf as well. */
void file_open_fresh_parent(struct file_job *job, file_step *after);
/* The file req->name: sets job->fd. On a shared file system -ENOENT is said
 * only when the server says so. */
void file_open_leaf(struct file_job *job, int flags, file_step *after);
/* The file that was open is not there any more (or is another by now): true
 * when the request is to start again, with nothing open. */
bool file_is_stale(struct file_job *job, int64_t result);

/* store_file_publish.c. Sets job->fd to a new nameless (or hidden) file;
 * `lock` also takes LOCK_EX on it. */
void file_temp_open(struct file_job *job, bool lock, file_step *after);
/* Give job->fd the name `leaf` in dir_fd exclusively, and make that durable:
 * 0, -EEXIST (what is there is durable), -ESTALE when the folder or the
 * temporary vanished and the caller may start again. */
void file_publish(struct file_job *job, file_step *after);
/* store_file_judge.c. linkat() of job->fd to `leaf` in dir_fd has answered
 * `answer`, which is not 0. Ends in job->after_judge with 0 when the name is
 * ours, -EEXIST when it is another's, -ESTALE when one should start again, and
 * `answer` or what stopped us when that cannot be told. */
void file_judge(struct file_job *job, int64_t answer, file_step *after);

/* Let go of everything and start anew; false after FILE_TRIES_MAX times. */
bool file_job_may_retry(struct file_job *job);

/* store_file_record.c */
void file_record_submit(struct file_job *job);
void file_room_submit(struct file_job *job);
/* Unlink req->name, durably: REMOVE and SEG_REMOVE. */
void file_remove_submit(struct file_job *job);

/* store_file_segment.c */
void file_segment_submit(struct store_file *file, struct store_req *req);
void file_segment_close_all(struct store_file *file);

#endif
