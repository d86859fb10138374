/*
 * store_file_root.c - the root folder of a file store, opened and examined.
 *
 * For reading, it need only be there. For writing, it must belong to the
 * caller and be closed to others; then the temporaries of dead writers are
 * removed, and what such a store needs is tried out (store_file_trial.c). All
 * of this happens once, at open, by plain system calls.
 *
 * A file system that is not known to belong to one machine alone is taken for
 * shared: its names are asked for with more care (store_file_fresh.c), which
 * costs a little and is never wrong.
 */
#include "common/own_folder.h"

#include "common/plant.h"
#include "storage/store_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static const struct {
    uint32_t magic;
    const char *name;
} network_kinds[] = {
    {NFS_SUPER_MAGIC, "NFS"},     {SMB_SUPER_MAGIC, "SMB"},
    {CIFS_SUPER_MAGIC, "CIFS"},   {SMB2_SUPER_MAGIC, "SMB"},
    {CEPH_SUPER_MAGIC, "CephFS"}, {AFS_SUPER_MAGIC, "AFS"},
    {AFS_FS_MAGIC, "AFS"},        {CODA_SUPER_MAGIC, "Coda"},
    {V9FS_MAGIC, "9p"},           {FUSE_SUPER_MAGIC, "FUSE"},
    {0x0BD00BD0, "Lustre"},       {0x47504653, "GPFS"},
    {0x19830326, "BeeGFS"},       {0xAAD7AAEA, "PanFS"},
    {0x7461636F, "OCFS2"},        {0x01161970, "GFS2"},
};

static const uint32_t local_kinds[] = {
    EXT4_SUPER_MAGIC,     XFS_SUPER_MAGIC,       BTRFS_SUPER_MAGIC,
    TMPFS_MAGIC,          RAMFS_MAGIC,           F2FS_SUPER_MAGIC,
    REISERFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, 0x2FC12FC1, /* ZFS */
    0xCA451A4E,                                              /* bcachefs */
};

void file_tmp_name(struct store_file *file, char name[FILE_TMP_BYTES])
{
    (void)snprintf(name, FILE_TMP_BYTES, FILE_TMP_PREFIX "%016llx-%llu",
                   (unsigned long long)file->tmp_tag,
                   (unsigned long long)file->tmp_count++);
}

bool file_stat_is_direct(const struct statx *stat)
{
    return (stat->stx_mask & STATX_DIOALIGN) &&
           stat->stx_dio_offset_align > 0 && stat->stx_dio_mem_align > 0 &&
           PAGE_BYTES % stat->stx_dio_offset_align == 0 &&
           PAGE_BYTES % stat->stx_dio_mem_align == 0;
}

bool file_root_is_memory(const struct store_file *file)
{
    struct statfs kind;

    if (fstatfs(file->root_fd, &kind) < 0)
        return false;
    return (uint32_t)kind.f_type == TMPFS_MAGIC ||
           (uint32_t)kind.f_type == RAMFS_MAGIC;
}

static bool root_is_shared(const struct store_file *file)
{
    struct statfs kind;

    if (fstatfs(file->root_fd, &kind) < 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(local_kinds); i++)
        if ((uint32_t)kind.f_type == local_kinds[i])
            return false;
    return true;
}

/*
 * Finding it.
 */

/* Also when it was there already: whoever made it may have died since. */
static int sync_parent(const struct store_file *file, bool is_new,
                       struct err *err)
{
    int fd = openat(file->root_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0 && !is_new && errno == EACCES)
        return 0;
    if (fd < 0 || (!is_left_out("sync of the store's folder") && fsync(fd) < 0))
        rc = err_set(err, -errno, "cannot make folder '%s' durable: %s",
                     file->path, err_text(errno));
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static int find(struct store_file *file, struct err *err)
{
    bool creates = file->flags & STORE_OPEN_CREATE;
    bool is_new = false;

    if (creates) {
        is_new = mkdir(file->path, 0700) == 0;
        if (!is_new && errno == ENOENT)
            return err_set(err, -ENOENT,
                           "cannot make folder '%s': the folder above it does "
                           "not exist; make that first (mkdir -p)",
                           file->path);
        if (!is_new && errno != EEXIST)
            return err_set(err, -errno, "cannot make folder '%s': %s",
                           file->path, err_text(errno));
    }
    file->root_fd = open(file->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->root_fd < 0 && errno == ENOENT)
        return err_set(err, -ENOENT,
                       "folder '%s' does not exist; make it (mkdir -p '%s') "
                       "or correct the path",
                       file->path, file->path);
    if (file->root_fd < 0)
        return err_set(err, -errno, "cannot open folder '%s': %s", file->path,
                       err_text(errno));
    return creates ? sync_parent(file, is_new, err) : 0;
}

static int note_mode(struct store_file *file, struct err *err)
{
    struct stat st;

    if (fstat(file->root_fd, &st) < 0)
        return err_set(err, -errno, "cannot examine '%s': %s", file->path,
                       err_text(errno));
    file->shown_mode = st.st_mode & 0055;
    return 0;
}

static int refuse_network(const struct store_file *file, struct err *err)
{
    struct statfs kind;

    if (fstatfs(file->root_fd, &kind) < 0)
        return err_set(err, -errno, "cannot examine '%s': %s", file->path,
                       err_text(errno));
    for (size_t i = 0; i < ARRAY_LEN(network_kinds); i++) {
        if ((uint32_t)kind.f_type == network_kinds[i].magic)
            return err_set(err, -EREMOTE,
                           "'%s' lies on a network file system (%s); a local "
                           "store needs a local disk",
                           file->path, network_kinds[i].name);
    }
    return 0;
}

/*
 * Temporaries of the dead. The living hold a lock on theirs.
 */

static void clean_one(const struct store_file *file, const char *name)
{
    int fd = openat(file->root_fd, name,
                    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(file->root_fd, name, 0);
    (void)close(fd);
}

/* What cannot be removed stays hidden, and is tried again at the next open. */
static void clean(const struct store_file *file)
{
    int fd = openat(file->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct dirent *entry;
    DIR *dir;

    if (fd < 0)
        return;
    dir = fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return;
    }
    while ((entry = readdir(dir))) {
        if (strncmp(entry->d_name, FILE_TMP_PREFIX, strlen(FILE_TMP_PREFIX)) ==
            0)
            clean_one(file, entry->d_name);
    }
    (void)closedir(dir);
}

/* Whoever is root here is often nobody there. */
static int explain_squash(const struct store_file *file, int rc,
                          struct err *err)
{
    struct err cause = *err;

    if (!file->is_shared || geteuid() != 0 || (rc != -EPERM && rc != -EACCES))
        return rc;
    return err_set(err, rc,
                   "%.800s; servers that squash root take root for nobody: "
                   "run as the user who owns the folder",
                   cause.text);
}

int file_root_open(struct store_file *file, struct err *err)
{
    int rc = find(file, err);

    file->is_shared = rc == 0 && root_is_shared(file);
    if (rc == 0 && (file->flags & STORE_OPEN_LOCAL))
        rc = refuse_network(file, err);
    if (rc == 0 && (file->flags & STORE_OPEN_SHOWN))
        rc = note_mode(file, err);
    if (rc == 0 && (file->flags & STORE_OPEN_WRITE)) {
        rc = own_folder_check(file->root_fd, file->path, err);
        if (rc == 0 && getrandom(&file->tmp_tag, sizeof file->tmp_tag, 0) !=
                           (ssize_t)sizeof file->tmp_tag)
            rc = err_set(err, -EIO, "no random bytes from the system");
        if (rc == 0)
            clean(file);
        if (rc == 0)
            rc = file_trial(file, err);
    }
    rc = explain_squash(file, rc, err);
    if (rc < 0 && file->root_fd >= 0) {
        (void)close(file->root_fd);
        file->root_fd = -1;
    }
    return rc;
}
