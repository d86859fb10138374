/*
 * spawn.c - start a private daemon; see daemon.h.
 *
 * posix_spawn, never fork: a trainer is large and has threads. The daemon gets
 * a session of its own, default signals, standard input from /dev/null, output
 * and errors appended to LOCAL/ckptd.log and no other descriptor: an inherited
 * stdout would hold mpirun until the daemon ends. The log is opened here, and
 * only in a folder that is ours and through no link: else who owns the folder
 * could have us append to any file. A program with more rights than its caller
 * takes neither CKPT_DAEMON nor PATH from him. It resets processor affinity
 * and memory policy itself. It stays our child: daemon_reap() takes it up.
 */
#include "client/daemon.h"
#include "common/own_folder.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_TAIL_BYTES 600
#define TRIED_BYTES    768

/* Looking for the daemon's program. */
struct search {
    char *out;               /* PATH_MAX bytes: the program found */
    char tried[TRIED_BYTES]; /* what was no program, for the message */
};

/* A regular file that may be executed: 0 or -errno. */
static int check_program(const char *path)
{
    struct stat st;

    if (stat(path, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EACCES;
    return access(path, X_OK) ? -errno : 0;
}

static bool try_path(struct search *s, const char *path)
{
    size_t bytes = strlen(s->tried);

    if (check_program(path) == 0 && realpath(path, s->out))
        return true;
    (void)snprintf(s->tried + bytes, sizeof s->tried - bytes, "%s%s",
                   bytes ? ", " : "", path);
    return false;
}

/* DIR/name where DIR holds `file`. */
static bool try_beside(struct search *s, const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    char path[PATH_MAX];
    int n;

    if (!slash)
        return false;
    n = snprintf(path, sizeof path, "%.*s/%s", (int)(slash - file), file, name);
    return n > 0 && n < PATH_MAX && try_path(s, path);
}

/* Relative parts are passed over: what lies in the working directory may be
 * anybody's. */
static bool try_search_path(struct search *s)
{
    const char *at = secure_getenv("PATH");

    while (at && *at) {
        size_t bytes = strcspn(at, ":");
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path, "%.*s/ckptd", (int)bytes, at);

        if (at[0] == '/' && n > 0 && n < PATH_MAX && try_path(s, path))
            return true;
        at += bytes + (at[bytes] == ':');
    }
    return false;
}

static int find_binary(char out[PATH_MAX], struct err *err)
{
    const char *given = secure_getenv("CKPT_DAEMON");
    struct search s = {.out = out};
    char exe[PATH_MAX];
    Dl_info library;
    ssize_t n;

    if (given && *given) {
        int rc = check_program(given);

        if (rc == 0 && realpath(given, out))
            return 0;
        rc = rc ? rc : -errno;
        return err_set(err, rc,
                       "CKPT_DAEMON=%s: no program that can be run: %s", given,
                       err_text(rc));
    }
    n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    if (try_beside(&s, exe, "ckptd"))
        return 0;
    if (dladdr((const void *)__builtin_extract_return_addr(
                   __builtin_return_address(0)),
               &library) &&
        library.dli_fname &&
        (try_beside(&s, library.dli_fname, "ckptd") ||
         try_beside(&s, library.dli_fname, "../bin/ckptd")))
        return 0;
    if (try_search_path(&s))
        return 0;
    return err_set(err, -ENOENT,
                   "no program ckptd found: install it or set CKPT_DAEMON; "
                   "tried beside the program, beside the library and in PATH: "
                   "%s",
                   s.tried);
}

/* Everything that the child gets instead of ours. The log may be one of the
 * standard descriptors, where the trainer has closed those. */
static int fill_actions(posix_spawn_file_actions_t *actions, int log_fd)
{
    int rc = posix_spawn_file_actions_adddup2(actions, log_fd, 1);

    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, 1, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY,
                                              0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addchdir_np(actions, "/");
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    return rc;
}

static int fill_attributes(posix_spawnattr_t *attr)
{
    sigset_t all, none;
    int rc;

    (void)sigfillset(&all);
    (void)sigemptyset(&none);
    rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID |
                                            POSIX_SPAWN_SETSIGDEF |
                                            POSIX_SPAWN_SETSIGMASK);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attr, &all);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attr, &none);
    return rc;
}

static int spawn(const char *binary, const struct daemon_place *place,
                 int log_fd, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    char name[] = "ckptd", option[] = "--local", path[PATH_MAX];
    char rados[] = "--rados";
    char *argv[] = {name, option, path, place->is_in_rados ? rados : NULL,
                    NULL};
    int rc;

    (void)snprintf(path, sizeof path, "%s", place->local);
    rc = posix_spawn_file_actions_init(&actions);
    if (rc)
        return -rc;
    rc = posix_spawnattr_init(&attr);
    if (rc)
        goto err_after_actions;
    rc = fill_actions(&actions, log_fd);
    if (rc == 0)
        rc = fill_attributes(&attr);
    if (rc == 0)
        rc = posix_spawn(child, binary, &actions, &attr, argv, environ);
    (void)posix_spawnattr_destroy(&attr);
err_after_actions:
    (void)posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

/* LOCAL/ckptd.log for appending, and its size; or -errno in words. */
static int open_log(const char *local, off_t *size, struct err *err)
{
    int dir = open(local, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, rc;
    struct stat st = {0};

    if (dir < 0)
        return err_set(err, -errno, "local store %s: %s", local,
                       err_text(errno));
    rc = own_folder_check(dir, local, err);
    if (rc) {
        (void)err_prefix(err, "local store (CKPT_LOCAL)");
        (void)close(dir);
        return rc;
    }
    fd = openat(dir, "ckptd.log",
                O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK |
                    O_NOCTTY | O_CLOEXEC,
                0600);
    if (fd < 0 || fstat(fd, &st) < 0)
        rc = -errno;
    else if (!S_ISREG(st.st_mode))
        rc = -EINVAL;
    (void)close(dir);
    if (rc) {
        if (fd >= 0)
            (void)close(fd);
        return err_set(err, rc, "cannot write the log %s/ckptd.log: %s", local,
                       err_text(rc));
    }
    *size = st.st_size;
    return fd;
}

/* Of the folder above a store that cannot be made there. */
static int tell_not_made(const struct daemon_place *place, int rc,
                         struct err *err)
{
    const char *slash = strrchr(place->local, '/');
    char above[PATH_MAX];
    struct stat st;

    (void)err_set(err, rc, "local store %s: cannot make it: %s", place->local,
                  err_text(rc));
    (void)snprintf(above, sizeof above, "%.*s",
                   slash > place->local ? (int)(slash - place->local) : 1,
                   place->local);
    if (rc != -EACCES || stat(above, &st) || st.st_uid == geteuid())
        return rc;
    return err_set(err, rc,
                   "local store %s: cannot make it: %s: folder '%s' belongs to "
                   "uid %u, and this process runs as uid %u: use a home of "
                   "your own (CKPT_HOME)",
                   place->local, err_text(rc), above, (unsigned)st.st_uid,
                   (unsigned)geteuid());
}

int daemon_spawn(const struct daemon_place *place, pid_t *child, off_t *log_at,
                 struct err *err)
{
    char binary[PATH_MAX];
    pid_t pid = 0;
    int rc, log_fd;

    if (mkdir(place->local, 0700) && errno != EEXIST)
        return tell_not_made(place, -errno, err);
    rc = find_binary(binary, err);
    if (rc)
        return rc;
    log_fd = open_log(place->local, log_at, err);
    if (log_fd < 0)
        return log_fd;
    rc = spawn(binary, place, log_fd, &pid);
    (void)close(log_fd);
    if (rc)
        return err_set(err, rc, "%s: cannot start it: %s", binary,
                       err_text(rc));
    *child = pid;
    return 0;
}

/* Whole lines of the log from log_at on, the last ones that fit, joined by
 * '|'; a daemon that starts anew each time must not be blamed for what one
 * before it wrote. */
static void read_lines(const char *path, off_t log_at,
                       char text[LOG_TAIL_BYTES + 1])
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), from = log_at;
    char *first = text;
    ssize_t n = -1;

    text[0] = '\0';
    if (fd < 0)
        return;
    if (size - from > LOG_TAIL_BYTES)
        from = size - LOG_TAIL_BYTES;
    n = pread(fd, text, LOG_TAIL_BYTES, from);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (from > log_at) {
        first = strchr(text, '\n');
        first = first ? first + 1 : text + strlen(text);
    }
    memmove(text, first, strlen(first) + 1);
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = c[1] ? '|' : '\0';
}

int daemon_tell_exit(const struct daemon_place *place, int status, off_t log_at,
                     struct err *err)
{
    bool is_signal = WIFSIGNALED(status);
    char lines[LOG_TAIL_BYTES + 1], log[PATH_MAX + 16];

    (void)snprintf(log, sizeof log, "%s/ckptd.log", place->local);
    read_lines(log, log_at, lines);
    return err_set(err, -ECHILD,
                   "%s (the ckptd that was started %s %d; its log is %s)",
                   lines[0] ? lines : "the daemon logged nothing",
                   is_signal ? "was ended by signal" : "exited with",
                   is_signal ? WTERMSIG(status) : WEXITSTATUS(status), log);
}
