/*
 * double.h - a file system that misbehaves as NFS does, and how it is told to.
 *
 * build/tests/nfs_double SERVER MOUNT CONTROL [KNOB=VALUE]... mounts the folder
 * SERVER at MOUNT, by FUSE, until it gets SIGTERM. One such process is one
 * client: two of them over one folder are two machines, each with what it
 * remembers of its own, and locks between them. CONTROL is a file that holds a
 * struct nfs_control, which others may map: knobs can be turned while it works,
 * and it counts how often each one did something, so that a test can tell that
 * what it is about has happened. At its end it prints the counts, "KNOB N".
 */
#ifndef TESTS_NFS_DOUBLE_H
#define TESTS_NFS_DOUBLE_H

#include <stdatomic.h>
#include <stdint.h>

enum nfs_knob {
    /* Carried out, but the answer gets lost: in this many of 1,000. What the
     * repetition is answered instead follows from the seed: EEXIST (or ENOENT),
     * EIO, ETIMEDOUT; with `only-eexist`, always the first. */
    NFS_LOST_LINK,
    NFS_LOST_CREATE,
    NFS_LOST_MKDIR,
    NFS_LOST_UNLINK,
    NFS_ONLY_EEXIST,
    NFS_FAIL_LINK,   /* not carried out: EIO; of 1,000 */
    NFS_FAIL_LOOKUP, /* the same of look-ups */
    NFS_LATE_LINK,   /* ETIMEDOUT, and carried out 30 ms later; of 1,000 */
    /* Of 1,000 files, those whose bytes are lost, as is told only at... */
    NFS_FAIL_SYNC,
    NFS_FAIL_CLOSE,
    NFS_FAIL_ERRNO, /* by which; 0: ENOSPC */
    /* For how many ms is remembered... */
    NFS_ABSENCE_MS,  /* that a name was not there */
    NFS_PRESENCE_MS, /* which file it was; it opens, and only then is stale */
    NFS_ATTR_MS,     /* a file's link count */
    NFS_LIST_MS,     /* what a folder held */
    /* What this file system cannot do: the errno of ... */
    NFS_NO_LINK,
    NFS_NO_LOCK,
    NFS_LAX_LOCK, /* or locks are given to everybody: 0 or 1 */
    NFS_NO_FALLOCATE,
    NFS_NO_CREATE,
    /* link() replaces what is there: 0 or 1. The kernel asks for a name before
     * it links to it, so that this is seen only where absences are remembered
     * (NFS_ABSENCE_MS). */
    NFS_OVERWRITES,
    NFS_TWO_INODES, /* every look-up shows another inode number: 0 or 1 */
    NFS_SEED,
    NFS_SILLY, /* counts files that were renamed instead of unlinked */
    NFS_STALE, /* counts ESTALE */
    NFS_KNOB_COUNT
};

struct nfs_control {
    _Atomic uint32_t knob[NFS_KNOB_COUNT];
    _Atomic uint32_t count[NFS_KNOB_COUNT];
};

/* "lost-link" and so on. */
extern const char *const nfs_knob_names[NFS_KNOB_COUNT];

#endif
