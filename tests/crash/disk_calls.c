/*
 * disk_calls.c - the system calls of storage/ on what lies below /disk, in the
 * place of the kernel's (by the linker's --wrap). Descriptors from DISK_FD on
 * are ours; every other one, and every other path, goes to the kernel.
 *
 * What descriptors lead to is in disk_files.c.
 */
#include "tests/crash/disk_internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A folder that is being read. */
struct listing {
    DIR *dir; /* what the caller has: this */
    int fd;
    struct disk_entry *seen; /* as it was at the beginning */
    uint32_t next, count;
    struct dirent entry;
};

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's --wrap names them. */

/* The kernel's. */
int __real_open(const char *path, int flags, ...);
int __real_openat(int fd, const char *path, int flags, ...);
int __real_mkdir(const char *path, mode_t mode);
int __real_close(int fd);
int __real_fcntl(int fd, int command, ...);
int __real_fstat(int fd, struct stat *stat);
int __real_fstatfs(int fd, struct statfs *stat);
int __real_fsync(int fd);
int __real_flock(int fd, int operation);
int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __real_unlinkat(int fd, const char *path, int flags);
long __real_syscall(long number, ...);

int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int fd, const char *path, int flags, ...);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdirat(int fd, const char *path, mode_t mode);
int __wrap_close(int fd);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fstat(int fd, struct stat *stat);
int __wrap_fstatfs(int fd, struct statfs *stat);
int __wrap_statx(int fd, const char *path, int flags, unsigned mask,
                 struct statx *stat);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_flock(int fd, int operation);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to,
                  int flags);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_unlinkat(int fd, const char *path, int flags);
ssize_t __wrap_pread(int fd, void *to, size_t bytes, off_t off);
ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t off);
ssize_t __wrap_getrandom(void *to, size_t bytes, unsigned flags);
long __wrap_syscall(long number, ...);
DIR *__wrap_fdopendir(int fd);
struct dirent *__wrap_readdir(DIR *dir);
void __wrap_rewinddir(DIR *dir);
int __wrap_closedir(DIR *dir);

/*
 * Descriptors.
 */

static int fails(int code)
{
    errno = code;
    return -1;
}

static const struct disk_node *node_of(int fd)
{
    return &disk_now->live.node[disk_file_of(fd)->node];
}

/*
 * Paths.
 */

/* The node that `path` leads to from `folder`; UINT32_MAX with errno. */
static uint32_t look_up(uint32_t folder, const char *path)
{
    char part[256];
    size_t bytes;

    for (; *path; path += bytes + (path[bytes] == '/')) {
        bytes = strcspn(path, "/");
        assert(bytes < sizeof part);
        memcpy(part, path, bytes);
        part[bytes] = '\0';
        if (bytes == 0 || strcmp(part, ".") == 0)
            continue;
        if (!disk_now->live.node[folder].is_folder) {
            errno = ENOTDIR;
            return UINT32_MAX;
        }
        if (strcmp(part, "..") == 0)
            folder = disk_now->live.node[folder].parent;
        else
            folder = image_find(&disk_now->live, folder, part);
        if (folder == UINT32_MAX) {
            errno = ENOENT;
            return UINT32_MAX;
        }
    }
    return folder;
}

/* Below /disk: the rest of the path. Else NULL. */
static const char *path_within(const char *path)
{
    size_t bytes = strlen(DISK_PATH);

    if (!disk_now || strncmp(path, DISK_PATH, bytes) != 0)
        return NULL;
    return path[bytes] == '/' || path[bytes] == '\0' ? path + bytes : NULL;
}

static int open_at(uint32_t folder, const char *path, int flags)
{
    uint32_t node;

    if ((flags & O_TMPFILE) == O_TMPFILE) {
        if (disk_now->has_no_tmpfile)
            return fails(EOPNOTSUPP);
        return disk_fd_open(image_add_node(&disk_now->live, false));
    }
    node = look_up(folder, path);
    if (flags & O_CREAT) {
        assert((flags & O_EXCL) && !strchr(path, '/'));
        if (node != UINT32_MAX)
            return fails(EEXIST);
        node = image_add_node(&disk_now->live, false);
        disk_give_name(disk_now, folder, path, node);
    }
    if (node == UINT32_MAX)
        return -1;
    if ((flags & O_DIRECTORY) && !disk_now->live.node[node].is_folder)
        return fails(ENOTDIR);
    return disk_fd_open(node);
}

int __wrap_open(const char *path, int flags, ...)
{
    const char *rest = path_within(path);
    mode_t mode = 0;
    va_list args;

    if (rest)
        return open_at(0, rest, flags);
    va_start(args, flags);
    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
        mode = va_arg(args, mode_t);
    va_end(args);
    return __real_open(path, flags, mode);
}

int __wrap_openat(int fd, const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    if (disk_fd_is_ours(fd))
        return open_at(disk_file_of(fd)->node, path, flags);
    va_start(args, flags);
    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
        mode = va_arg(args, mode_t);
    va_end(args);
    return __real_openat(fd, path, flags, mode);
}

long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list args;

    va_start(args, number);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_openat2 && disk_fd_is_ours((int)a[0])) {
        const struct open_how *how = (const void *)a[2];

        return open_at(disk_file_of((int)a[0])->node, (const char *)a[1],
                       (int)how->flags);
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int mkdir_at(uint32_t folder, const char *path)
{
    while (*path == '/')
        path++;
    assert(!strchr(path, '/'));
    if (image_find(&disk_now->live, folder, path) != UINT32_MAX)
        return fails(EEXIST);
    disk_give_name(disk_now, folder, path,
                   image_add_node(&disk_now->live, true));
    return 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    const char *rest = path_within(path);

    return rest ? mkdir_at(0, rest) : __real_mkdir(path, mode);
}

int __wrap_mkdirat(int fd, const char *path, mode_t mode)
{
    (void)mode;
    return mkdir_at(disk_file_of(fd)->node, path);
}

int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to,
                  int flags)
{
    uint32_t folder = disk_file_of(to_fd)->node, node;

    if (flags & AT_SYMLINK_FOLLOW)
        node =
            disk_file_of((int)strtol(strrchr(from, '/') + 1, NULL, 10))->node;
    else
        node = look_up(disk_file_of(from_fd)->node, from);
    if (node == UINT32_MAX)
        return -1;
    if (image_find(&disk_now->live, folder, to) != UINT32_MAX)
        return fails(EEXIST);
    disk_give_name(disk_now, folder, to, node);
    if (disk_now->lost_links > 0 && --disk_now->lost_links == 0)
        return fails(EEXIST);
    return 0;
}

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    uint32_t folder;

    if (!disk_fd_is_ours(from_fd))
        return __real_renameat(from_fd, from, to_fd, to);
    folder = disk_file_of(from_fd)->node;
    if (image_find(&disk_now->live, folder, from) == UINT32_MAX)
        return fails(ENOENT);
    disk_rename(disk_now, folder, from, disk_file_of(to_fd)->node, to);
    return 0;
}

int __wrap_unlinkat(int fd, const char *path, int flags)
{
    uint32_t folder, node;

    if (!disk_fd_is_ours(fd))
        return __real_unlinkat(fd, path, flags);
    folder = disk_file_of(fd)->node;
    node = image_find(&disk_now->live, folder, path);
    if (node == UINT32_MAX)
        return fails(ENOENT);
    if ((flags & AT_REMOVEDIR) && disk_now->live.node[node].entry_count > 0)
        return fails(ENOTEMPTY);
    disk_take_name(disk_now, folder, path);
    return 0;
}

/*
 * Open files.
 */

int __wrap_close(int fd)
{
    if (!disk_fd_is_ours(fd))
        return __real_close(fd);
    disk_fd_drop(fd);
    return 0;
}

int __wrap_fcntl(int fd, int command, ...)
{
    long argument;
    va_list args;

    va_start(args, command);
    argument = va_arg(args, long);
    va_end(args);
    if (!disk_fd_is_ours(fd))
        return __real_fcntl(fd, command, argument);
    if (command == F_DUPFD_CLOEXEC)
        return disk_fd_new(disk_file_of(fd));
    assert(command == F_SETFL);
    return 0;
}

static uid_t owner(void)
{
    return geteuid() + disk_now->is_anothers;
}

static mode_t folder_mode(void)
{
    return disk_now->is_open_to_others ? 0777 : 0700;
}

int __wrap_fstat(int fd, struct stat *stat)
{
    if (!disk_fd_is_ours(fd))
        return __real_fstat(fd, stat);
    *stat = (struct stat){.st_uid = owner(),
                          .st_ino = disk_file_of(fd)->node,
                          .st_mode = node_of(fd)->is_folder
                                         ? S_IFDIR | folder_mode()
                                         : S_IFREG | 0600};
    return 0;
}

int __wrap_fstatfs(int fd, struct statfs *stat)
{
    if (!disk_fd_is_ours(fd))
        return __real_fstatfs(fd, stat);
    *stat = (struct statfs){.f_type = disk_now->is_nfs ? NFS_SUPER_MAGIC
                                                       : EXT4_SUPER_MAGIC,
                            .f_bsize = PAGE_BYTES,
                            .f_bavail = UINT32_MAX};
    return 0;
}

int __wrap_statx(int fd, const char *path, int flags, unsigned mask,
                 struct statx *stat)
{
    const struct disk_node *n = node_of(fd);

    assert(path[0] == '\0' && (flags & AT_EMPTY_PATH));
    *stat = (struct statx){
        .stx_mask = mask,
        .stx_nlink = disk_now->is_nfs ? n->links > 0 : n->links,
        .stx_uid = owner(),
        .stx_ino = disk_file_of(fd)->node,
        .stx_mode = (uint16_t)((n->is_folder ? S_IFDIR : S_IFREG) | 0600),
        .stx_size = content_size(n->content),
        .stx_dio_mem_align = SECTOR_BYTES,
        .stx_dio_offset_align = SECTOR_BYTES};
    return 0;
}

static int sync_fd(int fd, bool is_data_only)
{
    int rc = disk_sync(disk_now, disk_file_of(fd)->node, is_data_only);

    return rc < 0 ? fails(-rc) : 0;
}

int __wrap_fsync(int fd)
{
    return disk_fd_is_ours(fd) ? sync_fd(fd, false) : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    return sync_fd(fd, true);
}

int __wrap_flock(int fd, int operation)
{
    if (!disk_fd_is_ours(fd))
        return __real_flock(fd, operation);
    return disk_lock(disk_file_of(fd), operation & ~LOCK_NB) ? 0
                                                             : fails(EAGAIN);
}

int __wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
    const struct disk_node *n = node_of(fd);

    assert(mode == 0 && off == 0);
    if (content_size(n->content) < (uint64_t)len)
        disk_resize(disk_now, disk_file_of(fd)->node, (uint64_t)len);
    return 0;
}

int __wrap_ftruncate(int fd, off_t len)
{
    disk_resize(disk_now, disk_file_of(fd)->node, (uint64_t)len);
    return 0;
}

/* A transfer that ends early does so at a page. */
static size_t cut(size_t bytes)
{
    size_t pages = bytes / PAGE_BYTES;

    if (!disk_now->writes_short || pages < 2 || disk_random(disk_now) % 3)
        return bytes;
    return (1 + disk_random(disk_now) % (pages - 1)) * PAGE_BYTES;
}

ssize_t __wrap_pread(int fd, void *to, size_t bytes, off_t off)
{
    const struct content *c = node_of(fd)->content;
    uint64_t size = content_size(c);

    if ((uint64_t)off >= size)
        return 0;
    bytes = cut(min_u64(bytes, size - (uint64_t)off));
    content_read(c, (uint64_t)off, to, bytes);
    return (ssize_t)bytes;
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t off)
{
    if (disk_now->fail_writes > 0 && --disk_now->fail_writes == 0)
        return fails(EIO);
    bytes = cut(bytes);
    disk_write(disk_now, disk_file_of(fd)->node, (uint64_t)off, from, bytes);
    return (ssize_t)bytes;
}

/* Only names of temporaries come from here; each process has its own. */
ssize_t __wrap_getrandom(void *to, size_t bytes, unsigned flags)
{
    (void)flags;
    memset(to, (int)(disk_now->process + 1), bytes);
    return (ssize_t)bytes;
}

/*
 * Listings.
 */

static void listing_begin(struct listing *l)
{
    const struct disk_node *n = node_of(l->fd);

    free(l->seen);
    l->seen = malloc(n->entry_count * sizeof *l->seen + 1);
    assert(l->seen);
    for (uint32_t i = 0; i < n->entry_count; i++)
        l->seen[i] = n->entry[i];
    l->count = n->entry_count;
    l->next = 0;
}

DIR *__wrap_fdopendir(int fd)
{
    struct listing *l = calloc(1, sizeof *l);

    assert(l && disk_fd_is_ours(fd));
    l->dir = (DIR *)(void *)l;
    l->fd = fd;
    listing_begin(l);
    return l->dir;
}

static struct listing *listing_of(DIR *dir)
{
    struct listing *l = (struct listing *)(void *)dir;

    assert(l->dir == dir);
    return l;
}

struct dirent *__wrap_readdir(DIR *dir)
{
    struct listing *l = listing_of(dir);
    const struct disk_entry *e;

    if (l->next == l->count)
        return NULL;
    e = &l->seen[l->next++];
    assert(strlen(e->name) < sizeof l->entry.d_name);
    memcpy(l->entry.d_name, e->name, strlen(e->name) + 1);
    l->entry.d_type = disk_now->live.node[e->node].is_folder ? DT_DIR : DT_REG;
    return &l->entry;
}

void __wrap_rewinddir(DIR *dir)
{
    listing_begin(listing_of(dir));
}

int __wrap_closedir(DIR *dir)
{
    struct listing *l = listing_of(dir);
    int rc = __wrap_close(l->fd);

    free(l->seen);
    free(l);
    return rc;
}

/* NOLINTEND(bugprone-reserved-identifier) */
