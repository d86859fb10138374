/*
 * store_file_trial.c - does a folder have what a store for writing needs?
 *
 * Needed are hard links, to give a whole file its name; that link() refuses a
 * name that exists, which decides between two writers; that both names of a
 * file show the same inode, by which a doubtful answer is judged
 * (store_file_judge.c); and locks, which tell who writes. Two trial files show
 * whether that is so, nameless ones where O_TMPFILE works; what is missing is
 * named. They show as well whether O_DIRECT works. Nothing of them stays.
 *
 * On a full disk the trial is left out: such a store must open, so that
 * something can be removed. Answers that say nothing about what is possible
 * (EIO, a name that a clean-up took) only mean another try.
 */
#include "storage/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum lack {
    LACK_NOTHING,
    LACK_LINKS,
    LACK_EXCLUSION,
    LACK_IDENTITY,
    LACK_LOCKS,
};

struct trial_file {
    int fd;
    char name[FILE_TMP_BYTES]; /* "" for a nameless file */
};

struct trial {
    struct store_file *file;
    struct trial_file first, second;
    char linked[FILE_TMP_BYTES]; /* the other name of `first` */
    int linked_fd;
    enum lack lack;
};

static int lacks(struct trial *t, enum lack what, int rc)
{
    t->lack = what;
    return rc;
}

/* A nameless file that can be linked, else a named one; locked either way. */
static int trial_make(struct trial *t, struct trial_file *f)
{
    struct store_file *file = t->file;

    if (file->has_tmpfile) {
        f->fd =
            openat(file->root_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    } else {
        file_tmp_name(file, f->name);
        f->fd =
            openat(file->root_fd, f->name,
                   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (f->fd < 0)
        return errno == EEXIST ? -ESTALE : -errno;
    if (flock(f->fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    switch (errno) {
    case EAGAIN: /* another's clean-up */
        return -ESTALE;
    case ENOLCK:
    case ENOSYS:
    case EINVAL:
    case EOPNOTSUPP:
        return lacks(t, LACK_LOCKS, -errno);
    default:
        return -errno;
    }
}

static int trial_link(const struct trial *t, const struct trial_file *f)
{
    struct fileio_op op = {.fd = f->fd,
                           .dir_fd = t->file->root_fd,
                           .path = f->name[0] ? f->name : NULL};
    struct fileio_link_from from = fileio_link_from(&op);

    if (linkat(from.dir_fd, from.path, t->file->root_fd, t->linked,
               from.flags) < 0)
        return -errno;
    return 0;
}

/* What this machine remembers of the folder is made void by a look at it. */
static int trial_look(const struct trial *t)
{
    struct statx stat;

    if (statx(t->file->root_fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
              STATX_BASIC_STATS, &stat) < 0)
        return -errno;
    return 0;
}

static int trial_open_linked(struct trial *t)
{
    int rc = trial_look(t);

    if (t->linked_fd >= 0)
        (void)close(t->linked_fd);
    t->linked_fd = -1;
    if (rc < 0)
        return rc;
    t->linked_fd =
        openat(t->file->root_fd, t->linked, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    return t->linked_fd < 0 ? -errno : 0;
}

/* Does the other name lead to this file? 1, 0, or -errno. */
static int trial_leads_to(const struct trial *t, const struct trial_file *f)
{
    struct stat ours, there;

    if (fstat(f->fd, &ours) < 0 || fstat(t->linked_fd, &there) < 0)
        return -errno;
    return ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

/* The first file gets the name; unless the answer says so, look. */
static int trial_give(struct trial *t)
{
    int answer = trial_link(t, &t->first);
    int rc;

    if (answer == 0)
        return 0;
    if (answer == -EPERM || answer == -EOPNOTSUPP || answer == -ENOSYS ||
        answer == -EMLINK || answer == -EINVAL)
        return lacks(t, LACK_LINKS, answer);
    rc = trial_open_linked(t);
    if (rc < 0)
        return answer;
    rc = trial_leads_to(t, &t->first);
    if (rc == 0)
        return lacks(t, LACK_IDENTITY, -EOPNOTSUPP);
    return rc < 0 ? rc : 0;
}

/* The second file must not get it. */
static int trial_refuse(struct trial *t)
{
    int answer = trial_link(t, &t->second);
    int rc;

    if (answer == 0)
        return lacks(t, LACK_EXCLUSION, -EOPNOTSUPP);
    if (answer != -EEXIST)
        return answer;
    rc = trial_open_linked(t);
    if (rc == 0)
        rc = trial_leads_to(t, &t->second);
    if (rc == 1)
        return lacks(t, LACK_EXCLUSION, -EOPNOTSUPP);
    if (rc == 0)
        rc = trial_leads_to(t, &t->first);
    if (rc == 0)
        return lacks(t, LACK_IDENTITY, -EOPNOTSUPP);
    return rc < 0 ? rc : 0;
}

static int trial_locks(struct trial *t)
{
    if (flock(t->linked_fd, LOCK_EX | LOCK_NB) == 0)
        return lacks(t, LACK_LOCKS, -ENOLCK);
    return errno == EWOULDBLOCK ? 0 : -errno;
}

static int trial_direct(const struct trial *t)
{
    struct statx stat;

    if (statx(t->first.fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stat) < 0)
        return -errno;
    t->file->direct =
        file_stat_is_direct(&stat) ? FILE_DIRECT_YES : FILE_DIRECT_NO;
    return 0;
}

/* Closed before they are unlinked: NFS only renames what is open. */
static void trial_close(struct trial *t)
{
    const int fd[] = {t->first.fd, t->second.fd, t->linked_fd};
    const char *const name[] = {t->first.name, t->second.name, t->linked};

    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        if (fd[i] >= 0)
            (void)close(fd[i]);
    (void)trial_look(t);
    for (size_t i = 0; i < ARRAY_LEN(name); i++)
        if (name[i][0])
            (void)unlinkat(t->file->root_fd, name[i], 0);
}

static int trial_run(struct trial *t, struct store_file *file)
{
    int rc;

    *t = (struct trial){
        .file = file, .first.fd = -1, .second.fd = -1, .linked_fd = -1};
    rc = trial_make(t, &t->first);
    if (rc == 0)
        rc = trial_make(t, &t->second);
    if (rc == 0) {
        file_tmp_name(file, t->linked);
        rc = trial_give(t);
    }
    if (rc == 0)
        rc = trial_refuse(t);
    if (rc == 0)
        rc = trial_locks(t);
    if (rc == 0)
        rc = trial_direct(t);
    trial_close(t);
    return rc == -ENOENT ? -ESTALE : rc;
}

static bool may_change(const struct trial *t, int rc)
{
    return t->lack == LACK_NOTHING && rc != -ENOSPC && rc != -EDQUOT &&
           rc != -EACCES && rc != -EPERM && rc != -EROFS;
}

/* Nameless files first; without them, a few times. */
static int try_out(struct trial *t, struct store_file *file)
{
    int rc;

    file->has_tmpfile = true;
    rc = trial_run(t, file);
    if (rc == 0 || rc == -ENOSPC || rc == -EDQUOT || rc == -EACCES ||
        rc == -EROFS)
        return rc;
    file->has_tmpfile = false;
    for (int i = 0; i < FILE_TRIES_MAX; i++) {
        rc = trial_run(t, file);
        if (rc == 0 || !may_change(t, rc))
            break;
    }
    return rc;
}

static bool has_local_locks(const struct store_file *file, char *option,
                            size_t capacity)
{
    struct statx stat;
    bool found;
    FILE *text;

    if (statx(file->root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stat) < 0 ||
        !(stat.stx_mask & STATX_MNT_ID))
        return false;
    text = fopen("/proc/self/mountinfo", "re");
    if (!text)
        return false;
    found = file_mount_has_local_locks(text, stat.stx_mnt_id, option, capacity);
    (void)fclose(text);
    return found;
}

static int explain(const struct store_file *file, enum lack lack, int rc,
                   struct err *err)
{
    switch (lack) {
    case LACK_LINKS:
        return err_set(err, -EOPNOTSUPP,
                       "hard links do not work in '%s' (%s): a store there "
                       "could not decide between two writers",
                       file->path, err_text(rc));
    case LACK_EXCLUSION:
        return err_set(err, -EOPNOTSUPP,
                       "link() does not refuse a name that exists in '%s': a "
                       "store there could not decide between two writers",
                       file->path);
    case LACK_IDENTITY:
        return err_set(err, -EOPNOTSUPP,
                       "a file and its hard link show different inodes in "
                       "'%s': a store there could not tell which of two "
                       "writers has won",
                       file->path);
    case LACK_LOCKS:
        return err_set(err, -ENOLCK,
                       "file locks (flock) do not work in '%s': a store there "
                       "could not tell who writes; check the mount options",
                       file->path);
    case LACK_NOTHING:
        break;
    }
    return err_set(err, rc, "cannot write to folder '%s': %s", file->path,
                   err_text(rc));
}

int file_trial(struct store_file *file, struct err *err)
{
    char option[32];
    struct trial t;
    int rc;

    if (file->is_shared && has_local_locks(file, option, sizeof option))
        return err_set(err, -ENOLCK,
                       "file locks in '%s' are kept from other machines by "
                       "the mount option '%s': a store there could not tell "
                       "who writes; mount it without",
                       file->path, option);
    rc = try_out(&t, file);
    if (rc == -ENOSPC || rc == -EDQUOT) {
        (void)snprintf(file->why, sizeof file->why,
                       "links and locks were not tried out: %s", err_text(rc));
        return 0;
    }
    return rc < 0 ? explain(file, t.lack, rc, err) : 0;
}
