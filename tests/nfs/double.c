/*
 * double.c - a file system that misbehaves as NFS does: see double.h.
 *
 * Requests come one at a time and go through to the folder of the server. What
 * is remembered is remembered here and not in the kernel, whose own caches are
 * told to keep nothing but folders' attributes: so a look at a folder's
 * attributes by force (AT_STATX_FORCE_SYNC) is the one that is seen here, and
 * makes what is remembered of its contents void, as a change attribute does on
 * NFS. Opening a file asks the server about it.
 *
 * Nothing is synced in truth: what a crash leaves is tests/crash's matter.
 * A file that is open by the name that is unlinked gets a hidden one instead
 * until it is closed. One that another client has unlinked is stale.
 */
#define FUSE_USE_VERSION 312

#include "tests/nfs/double_internal.h"

#include "common/list.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FOLDER_ATTR_S 3600.0
#define LATE_MS       30

struct handle {
    struct list link; /* handles */
    int fd;
    uint64_t opened_as; /* which name: see name_of() */
};

/* Those that are open still when the mount goes, too. */
static struct list handles = {&handles, &handles};

static struct handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct handle *)(uintptr_t)fi->fh;
}

static struct node *node_of(fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? &nodes_root : (struct node *)(uintptr_t)ino;
}

static void proc_path(char path[32], int fd)
{
    (void)snprintf(path, 32, "/proc/self/fd/%d", fd);
}

/*
 * Attributes.
 */

static bool is_stale(const struct node *n)
{
    struct stat now;

    if (fstat(n->fd, &now) == 0 && now.st_nlink > 0)
        return false;
    count(NFS_STALE);
    return true;
}

/* As the server has them; what was remembered is renewed. */
static int node_look(struct node *n, struct stat *attr)
{
    if (fstat(n->fd, attr) < 0)
        return errno;
    n->links = (uint32_t)attr->st_nlink;
    n->seen_ms = now_ms();
    if (n->shown_ino)
        attr->st_ino = n->shown_ino;
    return 0;
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi)
{
    struct node *n = node_of(ino);
    uint32_t links = n->links;
    int64_t age = now_ms() - n->seen_ms;
    struct stat attr;
    int rc;

    (void)fi;
    if (is_stale(n)) {
        (void)fuse_reply_err(req, ESTALE);
        return;
    }
    if (n->is_folder)
        names_forget(n);
    if (!n->is_folder && age < knob(NFS_ATTR_MS)) {
        rc = fstat(n->fd, &attr) < 0 ? errno : 0;
        if (rc == 0 && attr.st_nlink != links)
            count(NFS_ATTR_MS);
        attr.st_nlink = links;
        if (n->shown_ino)
            attr.st_ino = n->shown_ino;
    } else {
        rc = node_look(n, &attr);
    }
    if (rc)
        (void)fuse_reply_err(req, rc);
    else
        (void)fuse_reply_attr(req, &attr, n->is_folder ? FOLDER_ATTR_S : 0);
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to,
                       int what, struct fuse_file_info *fi)
{
    struct node *n = node_of(ino);
    char path[32];
    int rc = 0;

    proc_path(path, n->fd);
    if (what & FUSE_SET_ATTR_SIZE)
        rc = fi ? ftruncate(handle_of(fi)->fd, to->st_size)
                : truncate(path, to->st_size);
    if (rc == 0 && (what & FUSE_SET_ATTR_MODE))
        rc = chmod(path, to->st_mode);
    if (rc < 0)
        (void)fuse_reply_err(req, errno);
    else
        do_getattr(req, ino, fi);
}

/*
 * Names.
 */

static void reply_entry(fuse_req_t req, struct node *n)
{
    struct fuse_entry_param entry = {.ino = (fuse_ino_t)(uintptr_t)n};
    int rc = node_look(n, &entry.attr);

    entry.attr_timeout = n->is_folder ? FOLDER_ATTR_S : 0;
    if (rc)
        (void)fuse_reply_err(req, rc);
    else if (fuse_reply_entry(req, &entry) == 0)
        n->lookups++; /* else who asked was interrupted, and will not forget */
    node_put(n);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct node *dir = node_of(parent), *n;
    int fd;

    late_links();
    if (happens(NFS_FAIL_LOOKUP)) {
        (void)fuse_reply_err(req, EIO);
        return;
    }
    if (names_remember(dir, name, &n)) {
        if (n) {
            n->last_name = name_of(dir, name);
            reply_entry(req, n);
        } else {
            (void)fuse_reply_err(req, ENOENT);
        }
        return;
    }
    fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int rc = errno;

        if (rc == ENOENT)
            names_add(dir, name, NULL);
        (void)fuse_reply_err(req, rc);
        return;
    }
    n = node_get(fd);
    n->last_name = name_of(dir, name);
    if (!n->is_folder)
        names_add(dir, name, n);
    reply_entry(req, n);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
    struct node *n = node_of(ino);

    if (n != &nodes_root) {
        n->lookups -= lookups;
        node_put(n);
    }
    fuse_reply_none(req);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                     mode_t mode)
{
    struct node *dir = node_of(parent);
    int rc = (int)knob(NFS_NO_CREATE), fd;

    if (rc) {
        count(NFS_NO_CREATE);
        (void)fuse_reply_err(req, rc);
        return;
    }
    if (mkdirat(dir->fd, name, mode) < 0) {
        (void)fuse_reply_err(req, errno);
        return;
    }
    rc = lost_answer(NFS_LOST_MKDIR, EEXIST);
    if (rc) {
        (void)fuse_reply_err(req, rc);
        return;
    }
    names_forget_one(dir, name);
    /* Another machine may have removed it since. */
    fd = openat(dir->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        (void)fuse_reply_err(req, ESTALE);
    else
        reply_entry(req, node_get(fd));
}

/* Open by that very name: it is only renamed. */
static int unlink_silly(struct node *dir, const char *name, struct node *n)
{
    static uint32_t number;

    assert(!n->silly[0]);
    (void)snprintf(n->silly, sizeof n->silly, ".nfs%08x%08x",
                   (unsigned)getpid(), ++number);
    n->silly_dir_fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, 0);
    count(NFS_SILLY);
    return renameat(dir->fd, name, dir->fd, n->silly) < 0 ? errno : 0;
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct node *dir = node_of(parent), *n = NULL;
    int fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int rc = fd < 0 ? errno : 0;

    if (rc == 0) {
        n = node_get(fd);
        if (n->opens > 0 && n->opened_as == name_of(dir, name) && !n->silly[0])
            rc = unlink_silly(dir, name, n);
        else if (unlinkat(dir->fd, name, 0) < 0)
            rc = errno;
        node_put(n);
    }
    names_forget_one(dir, name);
    if (rc == 0)
        rc = lost_answer(NFS_LOST_UNLINK, ENOENT);
    (void)fuse_reply_err(req, rc);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    int rc = unlinkat(node_of(parent)->fd, name, AT_REMOVEDIR);

    (void)fuse_reply_err(req, rc < 0 ? errno : 0);
}

/* What a file system does whose link() does not refuse. */
static int link_over(struct node *n, struct node *dir, const char *name)
{
    char path[32];

    proc_path(path, n->fd);
    (void)unlinkat(dir->fd, ".double-over", 0);
    if (linkat(AT_FDCWD, path, dir->fd, ".double-over", AT_SYMLINK_FOLLOW) <
            0 ||
        renameat(dir->fd, ".double-over", dir->fd, name) < 0)
        return errno;
    (void)unlinkat(dir->fd, ".double-over", 0);
    count(NFS_OVERWRITES);
    return 0;
}

static int link_here(struct node *n, struct node *dir, const char *name)
{
    char path[32];

    if (knob(NFS_NO_LINK)) {
        count(NFS_NO_LINK);
        return (int)knob(NFS_NO_LINK);
    }
    if (happens(NFS_FAIL_LINK))
        return EIO;
    if (knob(NFS_OVERWRITES))
        return link_over(n, dir, name);
    if (happens(NFS_LATE_LINK)) {
        late_link_add(n->fd, dir->fd, name, now_ms() + LATE_MS);
        return ETIMEDOUT;
    }
    proc_path(path, n->fd);
    if (linkat(AT_FDCWD, path, dir->fd, name, AT_SYMLINK_FOLLOW) < 0)
        return errno;
    return lost_answer(NFS_LOST_LINK, EEXIST);
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
                    const char *name)
{
    struct node *n = node_of(ino), *dir = node_of(parent);
    int rc = is_stale(n) ? ESTALE : link_here(n, dir, name);

    if (rc) {
        (void)fuse_reply_err(req, rc);
        return;
    }
    if (!knob(NFS_OVERWRITES))
        names_forget_one(dir, name);
    reply_entry(req, n);
}

/*
 * Open files.
 */

static struct handle *handle_new(struct node *n, int fd, uint64_t name)
{
    struct handle *h = calloc(1, sizeof *h);

    assert(h);
    h->fd = fd;
    list_append(&handles, &h->link);
    n->opened_as = name;
    n->opens++;
    return h;
}

static void handle_free(struct node *n, struct handle *h)
{
    (void)close(h->fd);
    list_remove(&h->link);
    free(h);
    assert(n->opens > 0);
    if (--n->opens == 0 && n->silly[0]) {
        (void)unlinkat(n->silly_dir_fd, n->silly, 0);
        (void)close(n->silly_dir_fd);
        n->silly[0] = '\0';
    }
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct node *n = node_of(ino);
    struct stat attr;
    char path[32];
    int fd;

    if (knob(NFS_PRESENCE_MS) == 0 && is_stale(n)) {
        (void)fuse_reply_err(req, ESTALE);
        return;
    }
    proc_path(path, n->fd);
    fd = open(path, (fi->flags & ~(O_NOFOLLOW | O_DIRECT)) | O_CLOEXEC);
    if (fd < 0) {
        (void)fuse_reply_err(req, errno);
        return;
    }
    (void)node_look(n, &attr);
    fi->fh = (uintptr_t)handle_new(n, fd, n->last_name);
    /* Who was interrupted will not release it. */
    if (fuse_reply_open(req, fi) < 0)
        handle_free(n, handle_of(fi));
}

static int create_at(const struct node *dir, const char *name, mode_t mode,
                     int flags)
{
    int fd;

    if (knob(NFS_NO_CREATE)) {
        count(NFS_NO_CREATE);
        return -(int)knob(NFS_NO_CREATE);
    }
    fd = openat(dir->fd, name, (flags & ~O_DIRECT) | O_CREAT | O_CLOEXEC, mode);
    if (fd >= 0) {
        int rc = lost_answer(NFS_LOST_CREATE, EEXIST);

        if (rc == 0)
            return fd;
        (void)close(fd);
        return -rc;
    }
    return -errno;
}

/* An O_PATH of what is open: its name may be another's by now, or nobody's. */
static int path_of(int fd)
{
    char path[32];
    int at;

    proc_path(path, fd);
    at = open(path, O_PATH | O_CLOEXEC);
    assert(at >= 0);
    return at;
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name,
                      mode_t mode, struct fuse_file_info *fi)
{
    struct fuse_entry_param entry = {0};
    struct node *dir = node_of(parent), *n;
    int fd = create_at(dir, name, mode, fi->flags);

    if (fd < 0) {
        (void)fuse_reply_err(req, -fd);
        return;
    }
    names_forget_one(dir, name);
    n = node_get(path_of(fd));
    entry.ino = (fuse_ino_t)(uintptr_t)n;
    (void)node_look(n, &entry.attr);
    fi->fh = (uintptr_t)handle_new(n, fd, name_of(dir, name));
    if (fuse_reply_create(req, &entry, fi) == 0) {
        n->lookups++;
    } else {
        handle_free(n, handle_of(fi));
        node_put(n);
    }
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    char *bytes = malloc(size);
    ssize_t got = -1;

    assert(bytes);
    errno = ESTALE;
    if (!is_stale(node_of(ino)))
        got = pread(handle_of(fi)->fd, bytes, size, off);
    if (got < 0)
        (void)fuse_reply_err(req, errno);
    else
        (void)fuse_reply_buf(req, bytes, (size_t)got);
    free(bytes);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *bytes,
                     size_t size, off_t off, struct fuse_file_info *fi)
{
    struct node *n = node_of(ino);
    ssize_t put = -1;

    if (!n->fails_at && happens(NFS_FAIL_SYNC))
        n->fails_at = NFS_FAIL_SYNC;
    else if (!n->fails_at && happens(NFS_FAIL_CLOSE))
        n->fails_at = NFS_FAIL_CLOSE;
    errno = ESTALE;
    if (!is_stale(n))
        put = pwrite(handle_of(fi)->fd, bytes, size, off);
    if (put < 0)
        (void)fuse_reply_err(req, errno);
    else
        (void)fuse_reply_write(req, (size_t)put);
}

/* The server had no room after all: told once, and what was written is gone. */
static int told_at(struct node *n, const struct handle *h, enum nfs_knob when)
{
    if (n->fails_at != when)
        return 0;
    n->fails_at = 0;
    if (ftruncate(h->fd, 0) < 0)
        return errno;
    return knob(NFS_FAIL_ERRNO) ? (int)knob(NFS_FAIL_ERRNO) : ENOSPC;
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int is_data_only,
                     struct fuse_file_info *fi)
{
    (void)is_data_only;
    (void)fuse_reply_err(req,
                         told_at(node_of(ino), handle_of(fi), NFS_FAIL_SYNC));
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fuse_reply_err(req,
                         told_at(node_of(ino), handle_of(fi), NFS_FAIL_CLOSE));
}

static void do_release(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi)
{
    handle_free(node_of(ino), handle_of(fi));
    (void)fuse_reply_err(req, 0);
}

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
                         off_t len, struct fuse_file_info *fi)
{
    int rc = (int)knob(NFS_NO_FALLOCATE);

    (void)ino;
    if (rc)
        count(NFS_NO_FALLOCATE);
    else if (fallocate(handle_of(fi)->fd, mode, off, len) < 0)
        rc = errno;
    (void)fuse_reply_err(req, rc);
}

/* Nobody here waits for a lock. */
static void do_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                     int how)
{
    int rc = (int)knob(NFS_NO_LOCK);

    if (rc)
        count(NFS_NO_LOCK);
    else if (is_stale(node_of(ino)))
        rc = ESTALE;
    else if (knob(NFS_LAX_LOCK))
        count(NFS_LAX_LOCK);
    else if (flock(handle_of(fi)->fd, how | LOCK_NB) < 0)
        rc = errno;
    (void)fuse_reply_err(req, rc);
}

/*
 * Folders.
 */

/* What it read from the start stays until it starts again: others who list
 * the folder meanwhile must not move its place. */
struct reading {
    struct list link; /* readings */
    struct listing *listing;
};

/* The kernel need not close all of them before it lets go of the mount. */
static struct list readings = {&readings, &readings};

static struct reading *reading_of(const struct fuse_file_info *fi)
{
    return (struct reading *)(uintptr_t)fi->fh;
}

static void reading_free(struct reading *r)
{
    list_remove(&r->link);
    listing_drop(r->listing);
    free(r);
}

static void readings_free(void)
{
    LIST_FOR_EACH_SAFE (node, after, &readings)
        reading_free(container_of(node, struct reading, link));
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi)
{
    struct reading *r;

    late_links();
    if (is_stale(node_of(ino))) {
        (void)fuse_reply_err(req, ESTALE);
        return;
    }
    r = calloc(1, sizeof *r);
    assert(r);
    list_append(&readings, &r->link);
    fi->fh = (uintptr_t)r;
    if (fuse_reply_open(req, fi) < 0)
        reading_free(r);
}

static void do_releasedir(fuse_req_t req, fuse_ino_t ino,
                          struct fuse_file_info *fi)
{
    (void)ino;
    reading_free(reading_of(fi));
    (void)fuse_reply_err(req, 0);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    struct reading *r = reading_of(fi);
    char *bytes = malloc(size);
    const struct listing *all;
    size_t used = 0;

    assert(bytes);
    if (off == 0 || !r->listing) {
        listing_drop(r->listing);
        r->listing = names_list(node_of(ino));
    }
    all = r->listing;
    for (size_t i = (size_t)off; all && i < all->count; i++) {
        /* The kind of each is to be asked for, as on NFS. */
        struct stat attr = {.st_ino = all->ino[i]};
        size_t room = fuse_add_direntry(req, bytes + used, size - used,
                                        all->name[i], &attr, (off_t)i + 1);

        if (room > size - used)
            break;
        used += room;
    }
    if (all)
        (void)fuse_reply_buf(req, bytes, used);
    else
        (void)fuse_reply_err(req, EIO);
    free(bytes);
}

static void do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int is_data_only,
                        struct fuse_file_info *fi)
{
    (void)is_data_only;
    (void)fi;
    (void)fuse_reply_err(req, is_stale(node_of(ino)) ? ESTALE : 0);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs room;

    if (fstatvfs(node_of(ino)->fd, &room) < 0)
        (void)fuse_reply_err(req, errno);
    else
        (void)fuse_reply_statfs(req, &room);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = do_lookup,
    .forget = do_forget,
    .getattr = do_getattr,
    .setattr = do_setattr,
    .mkdir = do_mkdir,
    .unlink = do_unlink,
    .rmdir = do_rmdir,
    .link = do_link,
    .create = do_create,
    .open = do_open,
    .read = do_read,
    .write = do_write,
    .fsync = do_fsync,
    .flush = do_flush,
    .release = do_release,
    .fallocate = do_fallocate,
    .flock = do_flock,
    .opendir = do_opendir,
    .readdir = do_readdir,
    .releasedir = do_releasedir,
    .fsyncdir = do_fsyncdir,
    .statfs = do_statfs,
};

static int serve(const char *mount_point)
{
    char *words[] = {(char[]){"nfs_double"}, (char[]){"-o"},
                     (char[]){"fsname=nfs_double,subtype=nfs_double"}, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, words);
    struct fuse_session *session =
        fuse_session_new(&args, &operations, sizeof operations, NULL);
    int rc = 1;

    if (!session)
        return 1;
    if (fuse_set_signal_handlers(session) == 0 &&
        fuse_session_mount(session, mount_point) == 0) {
        (void)puts("mounted");
        (void)fflush(stdout);
        rc = fuse_session_loop(session);
        fuse_session_unmount(session);
    }
    /* Who unmounts it may send one as well: what it counted is told first.
     * libfuse restores only what is its own. */
    (void)signal(SIGTERM, SIG_IGN);
    fuse_remove_signal_handlers(session);
    fuse_session_destroy(session);
    fuse_opt_free_args(&args);
    return rc < 0 ? 1 : 0; /* a signal ends it well */
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int rc;

    if (argc < 4) {
        (void)fprintf(stderr, "usage: nfs_double SERVER MOUNT CONTROL "
                              "[KNOB=VALUE]...\n");
        return 2;
    }
    /* A descriptor for each file that the kernel knows. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (!control_open(argv[3], argv + 4))
        return 2;
    nodes_root.fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (nodes_root.fd < 0) {
        perror(argv[1]);
        return 1;
    }
    rc = serve(argv[2]);
    readings_free();
    control_print();
    return rc;
}
