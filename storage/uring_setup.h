/*
 * uring_setup.h - a ring for file operations, set up but not yet enabled.
 */
#ifndef STORAGE_URING_SETUP_H
#define STORAGE_URING_SETUP_H

#include "storage/fileio.h"

#include <liburing.h>

#define URING_BUFFERS_MAX 256 /* registered pieces of memory */
#define URING_FILES_MAX   256 /* registered files */

struct uring_features {
    bool is_deferred;   /* SINGLE_ISSUER and DEFER_TASKRUN */
    bool is_restricted; /* only what fileio needs may be asked of it */
    bool has_buffers;
    bool has_files;
    int buffers_rc, files_rc; /* why not */
    uint32_t kinds; /* bit per enum fileio_kind that the ring carries out */
};

/* The ring belongs to the thread that enables it, which is why this does not.
 * event_fd is made readable by every completion. A refusal is -errno with its
 * reason. */
int uring_setup(struct io_uring *ring, int event_fd,
                struct uring_features *features, struct err *err) MUST_USE;

/* On the owner's thread, before the first submission: 0 or -errno. */
int uring_enable(struct io_uring *ring) MUST_USE;

#endif
