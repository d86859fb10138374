/*
 * daemon.c - see daemon.h. Finding and connecting; spawn.c starts.
 *
 * daemon_connect() is one loop: try; if nobody listens, see to it that a daemon
 * is on its way (ours, or that of whoever won the race for the store's lock);
 * sleep 1, 2, 4 ... 50 ms; again. A daemon that lost the race exits with
 * DAEMON_EXIT_BUSY, and one that others used and left before we came with 0:
 * both are forgotten; any other exit ends the loop. A child of an earlier call
 * that is only now seen to have died served until then: another is started.
 */
#include "client/daemon.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_MAX_MS 50
/* How long the winner of a lost race is given before we try again: it may also
 * have been a daemon on its way out, so little at first. */
#define WINNER_MIN_MS 50
#define WINNER_MAX_MS 1000
/* So many programs that end in order without having served are no daemons. */
#define IDLE_EXITS_MAX 8
/* How long a socket that was named may lie there without a daemon, before any
 * has served us: a service may just be starting. */
#define STALE_MAX_MS 3000

static const char *choose(const char *given, const char *variable)
{
    const char *value = given && *given ? given : secure_getenv(variable);

    return value && *value ? value : NULL;
}

static int join_path(char out[PATH_MAX], const char *dir, const char *name,
                     struct err *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

    if (n < 0 || n >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "%s/%s: the path is too long", dir,
                       name);
    return 0;
}

/* Relative paths count from the working directory; nothing is resolved. */
static int make_absolute(char out[PATH_MAX], const char *path, struct err *err)
{
    char here[PATH_MAX];

    if (path[0] == '/' && strlen(path) < PATH_MAX) {
        memcpy(out, path, strlen(path) + 1);
        return 0;
    }
    if (!getcwd(here, sizeof here))
        return err_set(err, -errno, "%s: no working directory: %s", path,
                       err_text(errno));
    return join_path(out, here, path, err);
}

static int place_folder(struct daemon_place *place, const char *home,
                        struct err *err)
{
    const char *folder = text_home_path(home);
    struct stat st;

    if (!folder)
        return err_set(err, -EINVAL,
                       "home %s: a home is a directory, file://PATH or "
                       "rados://POOL/NAMESPACE",
                       home);
    if (!realpath(folder, place->home) || stat(place->home, &st))
        return err_set(err, -errno, "home %s: %s; make the directory first",
                       home, err_text(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(err, -ENOTDIR, "home %s: not a directory", home);
    return 0;
}

/* What its name is worth the daemon says. */
static int place_rados(struct daemon_place *place, const char *home,
                       const char *store, struct err *err)
{
    if (strlen(home) >= sizeof place->home)
        return err_set(err, -ENAMETOOLONG, "home %s: too long", home);
    memcpy(place->home, home, strlen(home) + 1);
    place->is_in_rados = true;
    if (store)
        return 0;
    return err_set(err, -EINVAL,
                   "home %s: segments cannot lie in RADOS: name a folder on a "
                   "local drive for them in CKPT_LOCAL or options.local",
                   home);
}

int daemon_place_init(struct daemon_place *place, const char *home,
                      const char *local, const char *socket, struct err *err)
{
    const char *where = choose(home, "CKPT_HOME");
    const char *store = choose(local, "CKPT_LOCAL");
    const char *path = choose(socket, "CKPT_SOCKET");
    int rc;

    *place = (struct daemon_place){.is_given = path != NULL};
    if (!where)
        return err_set(err, -EINVAL,
                       "no home: name a directory, or rados://POOL/NAMESPACE, "
                       "in options.home or CKPT_HOME");
    rc = text_home_is_rados(where) ? place_rados(place, where, store, err)
                                   : place_folder(place, where, err);
    if (rc)
        return rc;
    rc = store ? make_absolute(place->local, store, err)
               : join_path(place->local, place->home, "local", err);
    if (rc)
        return rc;
    return path ? make_absolute(place->socket, path, err)
                : join_path(place->socket, place->local, "ckptd.sock", err);
}

/* connect() to a path of any length: 0 or -errno. */
static int connect_path(int fd, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int at = -1, rc, n;

    if (strlen(path) < sizeof to.sun_path) {
        memcpy(to.sun_path, path, strlen(path) + 1);
    } else {
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
        at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (at < 0)
            return -errno;
        n = snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/%s", at,
                     slash + 1);
        if (n < 0 || (size_t)n >= sizeof to.sun_path) {
            (void)close(at);
            return -ENAMETOOLONG;
        }
    }
    rc = connect(fd, (const struct sockaddr *)&to, sizeof to) ? -errno : 0;
    if (at >= 0)
        (void)close(at);
    return rc;
}

static int check_owner(int fd, const char *path, struct err *err)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes))
        return err_set(err, -errno, "%s: cannot tell whose daemon it is: %s",
                       path, err_text(errno));
    /* A daemon serves its own uid only, root's too. */
    if (peer.uid != geteuid())
        return err_set(err, -EPERM,
                       "%s: the daemon there belongs to uid %u, we are uid %u; "
                       "use a local store of your own (CKPT_LOCAL)",
                       path, peer.uid, geteuid());
    return 0;
}

/* One attempt: the socket, or -errno; words for what will not get better. */
static int connect_once(const struct daemon_place *place, struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc;

    if (fd < 0)
        return err_set(err, -errno, "no socket: %s", err_text(errno));
    rc = connect_path(fd, place->socket);
    if (rc)
        (void)err_set(err, rc, "%s: no daemon answers: %s", place->socket,
                      err_text(rc));
    else
        rc = check_owner(fd, place->socket, err);
    if (rc) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

/* What the loop of daemon_connect() remembers. */
struct attempt {
    const struct daemon_place *place;
    pid_t *child;
    bool is_child_new; /* started by this call */
    off_t log_at;      /* where the log of such a child begins */
    uint64_t spawn_after_ms;
    uint64_t winner_ms;
    uint32_t idle_exits;
    uint64_t began_ms;
};

/* The socket was named: 0 while a daemon may still come. */
static int look_at_given(const struct attempt *a, struct err *err)
{
    const struct daemon_place *place = a->place;
    struct stat st;

    if (stat(place->socket, &st))
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return err_set(
            err, -ENOTSOCK, "CKPT_SOCKET %s: %s lies there, no daemon's socket",
            place->socket, S_ISDIR(st.st_mode) ? "a folder" : "a file");
    if (place->has_served || clock_ms() - a->began_ms < STALE_MAX_MS)
        return 0;
    return err_set(err, -ECONNREFUSED,
                   "CKPT_SOCKET %s: a socket lies there, but no daemon "
                   "listens: start ckptd --foreground --socket with that path, "
                   "or unset CKPT_SOCKET",
                   place->socket);
}

/* Nobody listens: see to it that somebody will. */
static int bring_up(struct attempt *a, struct err *err)
{
    int status;

    if (a->place->is_given)
        return look_at_given(a, err);
    if (*a->child > 0) {
        if (waitpid(*a->child, &status, WNOHANG) != *a->child)
            return 0;
        *a->child = 0;
        if (!a->is_child_new)
            return 0;
        if (!WIFEXITED(status) || (WEXITSTATUS(status) != DAEMON_EXIT_BUSY &&
                                   WEXITSTATUS(status) != EXIT_SUCCESS))
            return daemon_tell_exit(a->place, status, a->log_at, err);
        a->idle_exits += WEXITSTATUS(status) == EXIT_SUCCESS;
        if (a->idle_exits == IDLE_EXITS_MAX &&
            daemon_tell_exit(a->place, status, a->log_at, err))
            return err_prefix(err, "%d in a row ended without serving",
                              IDLE_EXITS_MAX);
        a->spawn_after_ms = clock_ms() + a->winner_ms;
        a->winner_ms = min_u64(a->winner_ms * 2, WINNER_MAX_MS);
    }
    if (clock_ms() < a->spawn_after_ms)
        return 0;
    a->is_child_new = true;
    return daemon_spawn(a->place, a->child, &a->log_at, err);
}

/* Connected: the daemon that we started is not needed if another was quicker.
 * It would end by itself, unless the other one ends first. */
static void drop_other(pid_t *child, int fd)
{
    pid_t peer = 0;

    if (*child > 0 && daemon_peer(fd, &peer) == 0 && peer != *child)
        (void)kill(*child, SIGTERM);
    daemon_reap(child);
}

static int tell_given_up(const struct daemon_place *place, int rc,
                         struct err *err)
{
    if (rc != -ETIMEDOUT)
        return err_set(err, rc, "%s: given up (%s)", place->socket,
                       place->local);
    if (place->is_given)
        return err_set(err, rc,
                       "%s: no daemon answered in time; CKPT_SOCKET names it, "
                       "so that none is started: start ckptd --foreground "
                       "--socket with that path, or unset CKPT_SOCKET",
                       place->socket);
    return err_set(err, rc, "%s: no daemon answered in time; see %s/ckptd.log",
                   place->socket, place->local);
}

int daemon_connect(const struct daemon_place *place, const struct patience *p,
                   pid_t *child, struct err *err)
{
    struct attempt a = {.place = place,
                        .child = child,
                        .winner_ms = WINNER_MIN_MS,
                        .began_ms = clock_ms()};
    uint32_t pause_ms = 1;

    daemon_reap(child);
    for (;;) {
        int rc = connect_once(place, err);
        bool is_absent = rc == -ENOENT || rc == -ECONNREFUSED;

        if (rc >= 0) {
            drop_other(child, rc);
            return rc;
        }
        if (!is_absent && rc != -EAGAIN)
            return rc;
        rc = is_absent ? bring_up(&a, err) : 0;
        if (rc)
            return rc;
        rc = patience_sleep(p, pause_ms);
        if (rc)
            return tell_given_up(place, rc, err);
        pause_ms = (uint32_t)min_u64((uint64_t)pause_ms * 2, BACKOFF_MAX_MS);
    }
}

void daemon_reap(pid_t *child)
{
    if (*child > 0 && waitpid(*child, NULL, WNOHANG) != 0)
        *child = 0;
}

int daemon_peer(int fd, pid_t *pid)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes))
        return -errno;
    *pid = peer.pid;
    return 0;
}

/* Up to `capacity` bytes of a small file of /proc; -errno. */
static ssize_t read_small(const char *path, char *text, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, text, capacity);
    (void)close(fd);
    return n;
}

bool daemon_is_in_our_cgroup(pid_t pid)
{
    char path[64], ours[4096], theirs[4096];
    ssize_t a, b;

    (void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    a = read_small("/proc/self/cgroup", ours, sizeof ours);
    b = read_small(path, theirs, sizeof theirs);
    return a > 0 && a == b && memcmp(ours, theirs, (size_t)a) == 0;
}
