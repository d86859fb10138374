/*
 * fileio_execute.c - one primitive file operation, carried out by plain
 * blocking system calls: what threads run, and what a ring hands to its helper
 * when it has no such operation itself.
 *
 * -EINTR is retried here; everything else is the result.
 */
#include "storage/fileio.h"
#include "storage/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static int64_t result_of(long rc)
{
    return rc < 0 ? -errno : rc;
}

struct fileio_link_from fileio_link_from(struct fileio_op *op)
{
    if (op->path)
        return (struct fileio_link_from){op->dir_fd, op->path, 0};
    /* AT_EMPTY_PATH would want a capability on older kernels. */
    (void)snprintf(op->proc_path, sizeof op->proc_path, "/proc/self/fd/%d",
                   op->fd);
    return (struct fileio_link_from){AT_FDCWD, op->proc_path,
                                     AT_SYMLINK_FOLLOW};
}

/* A regular file or a folder: everything else is not ours to show. 1, 0, or
 * -errno: what could not be looked at may not be left out either. */
static int entry_is_visible(int dir_fd, const struct dirent *entry)
{
    struct stat stat;

    if (!store_name_is_visible(entry->d_name))
        return 0;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_REG || entry->d_type == DT_DIR;
    if (fstatat(dir_fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode);
}

static int64_t execute_list(const struct fileio_op *op)
{
    struct store_names_builder builder = {0};
    struct dirent *entry;
    int rc = 0, fd;
    DIR *dir;

    fd = fcntl(op->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    dir = fdopendir(fd);
    if (!dir) {
        rc = -errno;
        (void)close(fd);
        return rc;
    }
    rewinddir(dir);
    for (errno = 0; rc == 0 && (entry = readdir(dir)); errno = 0) {
        rc = entry_is_visible(fd, entry);
        if (rc > 0)
            rc = store_names_add(&builder, entry->d_name);
    }
    if (rc == 0)
        rc = -errno;
    (void)closedir(dir);
    if (rc < 0) {
        store_names_fini(&builder);
        return rc;
    }
    return store_names_finish(&builder, op->names);
}

/* Each close() of a file flushes it, whoever else has it open, and its answer
 * is the last by which some file systems tell of writes that failed. */
static int64_t execute_flush(const struct fileio_op *op)
{
    int fd = fcntl(op->fd, F_DUPFD_CLOEXEC, 0);

    return result_of(fd < 0 ? fd : close(fd));
}

/* Linux lets go of the descriptor even when it answers EINTR. */
static int64_t execute_close(const struct fileio_op *op)
{
    int64_t result = result_of(close(op->fd));

    return result == -EINTR ? 0 : result;
}

static int64_t execute_room(const struct fileio_op *op)
{
    struct statfs room;
    uint64_t block;

    if (fstatfs(op->fd, &room) < 0)
        return -errno;
    block = (uint64_t)(room.f_frsize ? room.f_frsize : room.f_bsize);
    return room.f_bavail >= (op->len + block - 1) / block ? 0 : -ENOSPC;
}

static int64_t execute_once(struct fileio_op *op)
{
    struct fileio_link_from from;

    switch (op->kind) {
    case FILEIO_OPEN:
        return result_of(
            syscall(SYS_openat2, op->fd, op->path, &op->how, sizeof op->how));
    case FILEIO_READ:
        return result_of(pread(op->fd, op->buf, op->len, (off_t)op->off));
    case FILEIO_WRITE:
        return result_of(pwrite(op->fd, op->buf, op->len, (off_t)op->off));
    case FILEIO_FSYNC:
        return result_of(fsync(op->fd));
    case FILEIO_FDATASYNC:
        return result_of(fdatasync(op->fd));
    case FILEIO_FALLOCATE:
        return result_of(fallocate(op->fd, 0, 0, (off_t)op->len));
    case FILEIO_TRUNCATE:
        return result_of(ftruncate(op->fd, (off_t)op->len));
    case FILEIO_LINK:
        from = fileio_link_from(op);
        return result_of(
            linkat(from.dir_fd, from.path, op->fd2, op->path2, from.flags));
    case FILEIO_RENAME:
        return result_of(renameat(op->fd, op->path, op->fd2, op->path2));
    case FILEIO_RMDIR:
        return result_of(unlinkat(op->fd, op->path, AT_REMOVEDIR));
    case FILEIO_UNLINK:
        return result_of(unlinkat(op->fd, op->path, 0));
    case FILEIO_MKDIR:
        return result_of(mkdirat(op->fd, op->path, (mode_t)op->how.mode));
    case FILEIO_STAT:
        return result_of(statx(op->fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
                               STATX_BASIC_STATS | STATX_DIOALIGN, op->stat));
    case FILEIO_ROOM:
        return execute_room(op);
    case FILEIO_LOCK:
        return result_of(flock(op->fd, op->how_lock | LOCK_NB));
    case FILEIO_LIST:
        return execute_list(op);
    case FILEIO_FLUSH:
        return execute_flush(op);
    case FILEIO_CLOSE:
        return execute_close(op);
    case FILEIO_KIND_COUNT:
        break;
    }
    return -EINVAL;
}

int64_t fileio_execute(struct fileio_op *op)
{
    int64_t result;

    do
        result = execute_once(op);
    while (result == -EINTR);
    return result;
}
