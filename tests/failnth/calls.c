/*
 * calls.c - see failnth.h: the sites of system calls, and of libc's and
 * liburing's functions that stand for them.
 */
#include "tests/failnth/failnth.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <unistd.h>

/* -1 and errno, or go on. */
static bool fails(enum failnth_class kind, int code)
{
    if (!failnth_hit(kind))
        return false;
    errno = code;
    return true;
}

/*
 * Sockets.
 */

int failnth_socket(int domain, int type, int protocol);
int failnth_bind(int fd, const struct sockaddr *to, socklen_t bytes);
int failnth_listen(int fd, int backlog);
int failnth_connect(int fd, const struct sockaddr *to, socklen_t bytes);
int failnth_accept4(int fd, struct sockaddr *from, socklen_t *bytes, int flags);
ssize_t failnth_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t failnth_recvmsg(int fd, struct msghdr *m, int flags);
int failnth_getsockopt(int fd, int level, int name, void *value,
                       socklen_t *bytes);
int failnth_shutdown(int fd, int how);
int failnth_setsockopt(int fd, int level, int name, const void *value,
                       socklen_t bytes);
ssize_t failnth_send(int fd, const void *from, size_t bytes, int flags);
ssize_t failnth_recv(int fd, void *to, size_t bytes, int flags);

int failnth_socket(int domain, int type, int protocol)
{
    return fails(FAILNTH_SOCKET, EMFILE) ? -1 : socket(domain, type, protocol);
}

int failnth_bind(int fd, const struct sockaddr *to, socklen_t bytes)
{
    return fails(FAILNTH_SOCKET, ENOSPC) ? -1 : bind(fd, to, bytes);
}

int failnth_listen(int fd, int backlog)
{
    return fails(FAILNTH_SOCKET, EADDRINUSE) ? -1 : listen(fd, backlog);
}

int failnth_connect(int fd, const struct sockaddr *to, socklen_t bytes)
{
    return fails(FAILNTH_SOCKET, EACCES) ? -1 : connect(fd, to, bytes);
}

int failnth_accept4(int fd, struct sockaddr *from, socklen_t *bytes, int flags)
{
    return fails(FAILNTH_SOCKET, EMFILE) ? -1 : accept4(fd, from, bytes, flags);
}

ssize_t failnth_sendmsg(int fd, const struct msghdr *m, int flags)
{
    return fails(FAILNTH_SOCKET, ENOBUFS) ? -1 : sendmsg(fd, m, flags);
}

ssize_t failnth_recvmsg(int fd, struct msghdr *m, int flags)
{
    return fails(FAILNTH_SOCKET, ECONNRESET) ? -1 : recvmsg(fd, m, flags);
}

int failnth_getsockopt(int fd, int level, int name, void *value,
                       socklen_t *bytes)
{
    return fails(FAILNTH_SOCKET, ENOBUFS)
               ? -1
               : getsockopt(fd, level, name, value, bytes);
}

int failnth_shutdown(int fd, int how)
{
    return fails(FAILNTH_SOCKET, ENOTCONN) ? -1 : shutdown(fd, how);
}

int failnth_setsockopt(int fd, int level, int name, const void *value,
                       socklen_t bytes)
{
    return fails(FAILNTH_SOCKET, ENOMEM)
               ? -1
               : setsockopt(fd, level, name, value, bytes);
}

ssize_t failnth_send(int fd, const void *from, size_t bytes, int flags)
{
    return fails(FAILNTH_SOCKET, EPIPE) ? -1 : send(fd, from, bytes, flags);
}

ssize_t failnth_recv(int fd, void *to, size_t bytes, int flags)
{
    return fails(FAILNTH_SOCKET, ECONNRESET) ? -1 : recv(fd, to, bytes, flags);
}

/*
 * Files.
 */

int failnth_open(const char *path, int flags, ...);
int failnth_openat(int dir, const char *path, int flags, ...);
FILE *failnth_fopen(const char *path, const char *mode);
DIR *failnth_fdopendir(int fd);
struct dirent *failnth_readdir(DIR *dir);
int failnth_mkdir(const char *path, mode_t mode);
int failnth_mkdirat(int dir, const char *path, mode_t mode);
int failnth_stat(const char *path, struct stat *st);
int failnth_lstat(const char *path, struct stat *st);
int failnth_fstat(int fd, struct stat *st);
int failnth_fstatat(int dir, const char *path, struct stat *st, int flags);
int failnth_fstatfs(int fd, struct statfs *st);
int failnth_statx(int dir, const char *path, int flags, unsigned mask,
                  struct statx *st);
int failnth_flock(int fd, int how);
int failnth_fallocate(int fd, int mode, off_t offset, off_t bytes);
int failnth_fsync(int fd);
int failnth_fdatasync(int fd);
int failnth_linkat(int from_dir, const char *from, int to_dir, const char *to,
                   int flags);
int failnth_renameat(int from_dir, const char *from, int to_dir,
                     const char *to);
int failnth_statvfs(const char *path, struct statvfs *st);
int failnth_unlink(const char *path);
int failnth_unlinkat(int dir, const char *path, int flags);
ssize_t failnth_pread(int fd, void *to, size_t bytes, off_t offset);
ssize_t failnth_pwrite(int fd, const void *from, size_t bytes, off_t offset);
ssize_t failnth_readlink(const char *path, char *to, size_t bytes);
char *failnth_realpath(const char *path, char *to);
char *failnth_getcwd(char *to, size_t bytes);
int failnth_access(const char *path, int mode);
long failnth_syscall(long number, ...);
int failnth_pipe2(int fds[2], int flags);

int failnth_open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(FAILNTH_FILE, EMFILE) ? -1 : open(path, flags, mode);
}

int failnth_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(FAILNTH_FILE, EMFILE) ? -1 : openat(dir, path, flags, mode);
}

FILE *failnth_fopen(const char *path, const char *mode)
{
    return fails(FAILNTH_FILE, EMFILE) ? NULL : fopen(path, mode);
}

DIR *failnth_fdopendir(int fd)
{
    return fails(FAILNTH_FILE, ENOMEM) ? NULL : fdopendir(fd);
}

struct dirent *failnth_readdir(DIR *dir)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): each has a folder of its own */
    return fails(FAILNTH_FILE, EIO) ? NULL : readdir(dir);
}

int failnth_mkdir(const char *path, mode_t mode)
{
    return fails(FAILNTH_FILE, ENOSPC) ? -1 : mkdir(path, mode);
}

int failnth_mkdirat(int dir, const char *path, mode_t mode)
{
    return fails(FAILNTH_FILE, ENOSPC) ? -1 : mkdirat(dir, path, mode);
}

int failnth_stat(const char *path, struct stat *st)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : stat(path, st);
}

int failnth_lstat(const char *path, struct stat *st)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : lstat(path, st);
}

int failnth_fstat(int fd, struct stat *st)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : fstat(fd, st);
}

int failnth_fstatat(int dir, const char *path, struct stat *st, int flags)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : fstatat(dir, path, st, flags);
}

int failnth_fstatfs(int fd, struct statfs *st)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : fstatfs(fd, st);
}

int failnth_statx(int dir, const char *path, int flags, unsigned mask,
                  struct statx *st)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : statx(dir, path, flags, mask, st);
}

int failnth_flock(int fd, int how)
{
    return fails(FAILNTH_FILE, ENOLCK) ? -1 : flock(fd, how);
}

int failnth_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return fails(FAILNTH_FILE, ENOSPC) ? -1
                                       : fallocate(fd, mode, offset, bytes);
}

int failnth_fsync(int fd)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : fsync(fd);
}

int failnth_fdatasync(int fd)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : fdatasync(fd);
}

int failnth_linkat(int from_dir, const char *from, int to_dir, const char *to,
                   int flags)
{
    return fails(FAILNTH_FILE, EDQUOT)
               ? -1
               : linkat(from_dir, from, to_dir, to, flags);
}

int failnth_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return fails(FAILNTH_FILE, ENOSPC) ? -1
                                       : renameat(from_dir, from, to_dir, to);
}

int failnth_statvfs(const char *path, struct statvfs *st)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : statvfs(path, st);
}

int failnth_unlink(const char *path)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : unlink(path);
}

int failnth_unlinkat(int dir, const char *path, int flags)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : unlinkat(dir, path, flags);
}

ssize_t failnth_pread(int fd, void *to, size_t bytes, off_t offset)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : pread(fd, to, bytes, offset);
}

ssize_t failnth_pwrite(int fd, const void *from, size_t bytes, off_t offset)
{
    return fails(FAILNTH_FILE, ENOSPC) ? -1 : pwrite(fd, from, bytes, offset);
}

ssize_t failnth_readlink(const char *path, char *to, size_t bytes)
{
    return fails(FAILNTH_FILE, EACCES) ? -1 : readlink(path, to, bytes);
}

char *failnth_realpath(const char *path, char *to)
{
    return fails(FAILNTH_FILE, EACCES) ? NULL : counted_realpath(path, to);
}

char *failnth_getcwd(char *to, size_t bytes)
{
    return fails(FAILNTH_FILE, ENOENT) ? NULL : getcwd(to, bytes);
}

int failnth_access(const char *path, int mode)
{
    return fails(FAILNTH_FILE, EIO) ? -1 : access(path, mode);
}

/* openat2() and io_uring_register(). A ring that is disabled can always be
 * enabled. */
long failnth_syscall(long number, ...)
{
    va_list args;
    long a[6];

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if ((number != SYS_io_uring_register ||
         a[1] != IORING_REGISTER_ENABLE_RINGS) &&
        fails(FAILNTH_FILE, EMFILE))
        return -1;
    return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int failnth_pipe2(int fds[2], int flags)
{
    return fails(FAILNTH_FILE, EMFILE) ? -1 : pipe2(fds, flags);
}

/*
 * Shared memory.
 */

int failnth_memfd_create(const char *name, unsigned flags);
void *failnth_mmap(void *at, size_t bytes, int prot, int flags, int fd,
                   off_t offset);
int failnth_ftruncate(int fd, off_t bytes);
int failnth_fcntl(int fd, int command, ...);
int failnth_madvise(void *at, size_t bytes, int advice);

int failnth_memfd_create(const char *name, unsigned flags)
{
    return fails(FAILNTH_SHARED, ENFILE) ? -1 : memfd_create(name, flags);
}

void *failnth_mmap(void *at, size_t bytes, int prot, int flags, int fd,
                   off_t offset)
{
    return fails(FAILNTH_SHARED, ENOMEM)
               ? MAP_FAILED
               : mmap(at, bytes, prot, flags, fd, offset);
}

int failnth_ftruncate(int fd, off_t bytes)
{
    return fails(FAILNTH_SHARED, ENOSPC) ? -1 : ftruncate(fd, bytes);
}

int failnth_fcntl(int fd, int command, ...)
{
    va_list args;
    long arg;

    va_start(args, command);
    arg = va_arg(args, long);
    va_end(args);
    return fails(FAILNTH_SHARED, EMFILE) ? -1 : fcntl(fd, command, arg);
}

int failnth_madvise(void *at, size_t bytes, int advice)
{
    return fails(FAILNTH_SHARED, EINVAL) ? -1 : madvise(at, bytes, advice);
}

/*
 * Events, threads, processes.
 */

int failnth_epoll_create1(int flags);
int failnth_epoll_ctl(int fd, int op, int on, struct epoll_event *event);
int failnth_eventfd(unsigned count, int flags);
int failnth_signalfd(int fd, const sigset_t *set, int flags);
int failnth_timerfd_create(clockid_t clock, int flags);
int failnth_pidfd_open(pid_t pid, unsigned flags);
int failnth_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int failnth_pthread_create(pthread_t *out, const pthread_attr_t *attr,
                           void *(*run)(void *arg), void *arg);
int failnth_pthread_attr_init(pthread_attr_t *attr);
int failnth_posix_spawn(pid_t *out, const char *path,
                        const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attr, char *const argv[],
                        char *const environment[]);
int failnth_posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions);
int failnth_posix_spawn_file_actions_addopen(
    posix_spawn_file_actions_t *actions, int fd, const char *path, int flags,
    mode_t mode);
int failnth_posix_spawn_file_actions_adddup2(
    posix_spawn_file_actions_t *actions, int from, int to);
int failnth_posix_spawn_file_actions_addclosefrom_np(
    posix_spawn_file_actions_t *actions, int from);
int failnth_posix_spawn_file_actions_addchdir_np(
    posix_spawn_file_actions_t *actions, const char *path);
int failnth_posix_spawnattr_init(posix_spawnattr_t *attr);

int failnth_epoll_create1(int flags)
{
    return fails(FAILNTH_EVENT, EMFILE) ? -1 : epoll_create1(flags);
}

int failnth_epoll_ctl(int fd, int op, int on, struct epoll_event *event)
{
    /* What is being watched can always be let go. */
    if (op != EPOLL_CTL_DEL && fails(FAILNTH_EVENT, ENOMEM))
        return -1;
    return epoll_ctl(fd, op, on, event);
}

int failnth_eventfd(unsigned count, int flags)
{
    return fails(FAILNTH_EVENT, EMFILE) ? -1 : eventfd(count, flags);
}

int failnth_signalfd(int fd, const sigset_t *set, int flags)
{
    return fails(FAILNTH_EVENT, EMFILE) ? -1 : signalfd(fd, set, flags);
}

int failnth_timerfd_create(clockid_t clock, int flags)
{
    return fails(FAILNTH_EVENT, EMFILE) ? -1 : timerfd_create(clock, flags);
}

int failnth_pidfd_open(pid_t pid, unsigned flags)
{
    return fails(FAILNTH_EVENT, EMFILE) ? -1 : pidfd_open(pid, flags);
}

int failnth_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    return fails(FAILNTH_EVENT, ENOMEM) ? -1 : poll(fds, count, timeout_ms);
}

int failnth_pthread_create(pthread_t *out, const pthread_attr_t *attr,
                           void *(*run)(void *arg), void *arg)
{
    return failnth_hit(FAILNTH_THREAD) ? EAGAIN
                                       : pthread_create(out, attr, run, arg);
}

int failnth_pthread_attr_init(pthread_attr_t *attr)
{
    return failnth_hit(FAILNTH_THREAD) ? ENOMEM : pthread_attr_init(attr);
}

int failnth_posix_spawn(pid_t *out, const char *path,
                        const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attr, char *const argv[],
                        char *const environment[])
{
    return failnth_hit(FAILNTH_SPAWN)
               ? EAGAIN
               : posix_spawn(out, path, actions, attr, argv, environment);
}

int failnth_posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions)
{
    return failnth_hit(FAILNTH_SPAWN) ? ENOMEM
                                      : posix_spawn_file_actions_init(actions);
}

int failnth_posix_spawn_file_actions_addopen(
    posix_spawn_file_actions_t *actions, int fd, const char *path, int flags,
    mode_t mode)
{
    return failnth_hit(FAILNTH_SPAWN) ? ENOMEM
                                      : posix_spawn_file_actions_addopen(
                                            actions, fd, path, flags, mode);
}

int failnth_posix_spawn_file_actions_adddup2(
    posix_spawn_file_actions_t *actions, int from, int to)
{
    return failnth_hit(FAILNTH_SPAWN)
               ? ENOMEM
               : posix_spawn_file_actions_adddup2(actions, from, to);
}

int failnth_posix_spawnattr_init(posix_spawnattr_t *attr)
{
    return failnth_hit(FAILNTH_SPAWN) ? ENOMEM : posix_spawnattr_init(attr);
}

int failnth_posix_spawn_file_actions_addclosefrom_np(
    posix_spawn_file_actions_t *actions, int from)
{
    return failnth_hit(FAILNTH_SPAWN)
               ? ENOMEM
               : posix_spawn_file_actions_addclosefrom_np(actions, from);
}

int failnth_posix_spawn_file_actions_addchdir_np(
    posix_spawn_file_actions_t *actions, const char *path)
{
    return failnth_hit(FAILNTH_SPAWN)
               ? ENOMEM
               : posix_spawn_file_actions_addchdir_np(actions, path);
}
