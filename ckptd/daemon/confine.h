/*
 * confine.h - what the daemon gives up once it is set up.
 *
 * A filter over system calls, for all threads and for good (no_new_privs with
 * it): what the daemon needs is allowed, everything else is answered by EPERM,
 * starting programs and processes, signals to others, tracing, mounting, keys,
 * sockets and new executable memory among it. It does not see what io_uring
 * does: each ring is restricted to the operations of files before it is used
 * (storage/uring_setup.c).
 *
 * io_uring_setup, open and threads stay allowed: homes are opened as trainers
 * name them. Sanitizers fork and trace at exit, so that such builds go
 * without.
 */
#ifndef CKPTD_CONFINE_H
#define CKPTD_CONFINE_H

#include "common/util.h"

#include <stddef.h>

/* has_network: sockets of the internet's families may be made and connected,
 * for librados, which has to be loaded before: it could not be any more. A
 * daemon that does not need it (homes in folders) goes without, so that one
 * that was taken over reaches nobody.
 *
 * 0, or why it is not in force: -EOPNOTSUPP for a sanitizer's build, -EINVAL,
 * -ENOSYS, -EACCES, -EPERM where the kernel or a container refuses. `text` gets
 * one clause for people either way. */
int confine(bool has_network, char *text, size_t capacity) MUST_USE;

#endif
