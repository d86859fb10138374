/*
 * daemon.h - find the daemon of a local store, or start a private one.
 *
 * The socket is `socket` (or CKPT_SOCKET), else LOCAL/ckptd.sock, where LOCAL
 * is `local` (or CKPT_LOCAL), else HOME/local, which a home in RADOS has not. A
 * path too long for a socket's
 * address is reached through a descriptor of its directory.
 */
#ifndef CLIENT_DAEMON_H
#define CLIENT_DAEMON_H

#include "client/conn.h"

#include <limits.h>
#include <sys/types.h>

/* The daemon's exit status when another one holds the store: not an error. */
#define DAEMON_EXIT_BUSY 11

/* All absolute paths; or the home's name in RADOS as it was given. */
struct daemon_place {
    char home[PATH_MAX], local[PATH_MAX], socket[PATH_MAX];
    bool is_in_rados; /* the home: its daemon needs the network */
    bool is_given;    /* the socket was named by the user: nothing is started */
    bool has_served;  /* a daemon has: the next one may take its time to come */
};

/* NULL or "" takes the environment's, then the default. -ENOENT with words
 * when the home does not exist, -EINVAL when there is no home or, for one in
 * RADOS, no local store, -ENAMETOOLONG, -errno. */
int daemon_place_init(struct daemon_place *place, const char *home,
                      const char *local, const char *socket,
                      struct err *err) MUST_USE;

/*
 * Connect; start a private daemon if none answers and the socket was not
 * given. *child is the pid of a daemon that this process started and has not
 * reaped (0: none), kept by the caller from call to call. Blocks as `p` allows.
 * Returns the socket (the caller's, close-on-exec), or with words: -EPERM
 * (another user's daemon), -ENOENT (no ckptd found), -ENOTSOCK, -ECONNREFUSED
 * (what lies at the socket that was given), -ETIMEDOUT,
 * -ECANCELED, -ECHILD (it exited; what it logged, and its status).
 */
int daemon_connect(const struct daemon_place *place, const struct patience *p,
                   pid_t *child, struct err *err) MUST_USE;

/* Let a child that has ended go; never waits. */
void daemon_reap(pid_t *child);

/* The process at the other end. -errno. */
int daemon_peer(int fd, pid_t *pid) MUST_USE;
/* Whether it lives in our control group, and so ends with our job. */
bool daemon_is_in_our_cgroup(pid_t pid);

/* spawn.c: start ckptd for place->local in a session of its own, with standard
 * descriptors and signals reset and nothing else inherited. *log_at is the size
 * of its log before that. */
int daemon_spawn(const struct daemon_place *place, pid_t *child, off_t *log_at,
                 struct err *err) MUST_USE;
/* -ECHILD with what was added to LOCAL/ckptd.log from log_at on, in whole
 * lines, and then how it ended ("exited with 3"). */
int daemon_tell_exit(const struct daemon_place *place, int status, off_t log_at,
                     struct err *err) MUST_USE;

#endif
