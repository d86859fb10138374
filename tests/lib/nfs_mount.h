/*
 * nfs_mount.h - mounts of the double (tests/nfs/double.h), each of them as one
 * machine sees a folder of a server.
 */
#ifndef TESTS_LIB_NFS_MOUNT_H
#define TESTS_LIB_NFS_MOUNT_H

#include "tests/nfs/double.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct nfs_mount {
    char at[512];
    struct nfs_control *control;
    pid_t pid;
};

/* False with the reason, where there is no FUSE or the double is not built. */
bool nfs_is_possible(char *why, size_t capacity);
/* Mounts DIR/server at DIR/NAME, both of which it makes, 0700. Every knob is
 * 0. 0 or -errno. */
int nfs_mount(struct nfs_mount *m, const char *dir, const char *name);
void nfs_unmount(struct nfs_mount *m);

#endif
