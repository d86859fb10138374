/*
 * peers.c - sockets of ranks: accepting, frames in and out, and death.
 *
 * Only processes of our own uid are served (SO_PEERCRED), and at most PEERS_MAX
 * of them or a quarter of our descriptors: those that are open keep what they
 * need to end their work, and a new one is told so. A frame is handed to
 * the engine when it is whole; memory for it grows as its bytes arrive, not by
 * what its header claims. What cannot be sent waits in a queue of at most
 * OUT_BYTES_MAX; a peer that lets it overflow is cut off.
 *
 * A peer is gone when its connection ends or its process does: a pidfd that it
 * sent tells the latter even while a forked child keeps the socket open. What
 * had arrived by then is handled first.
 *
 * Without descriptors for more connections the listener rests for a moment:
 * those that are open go on, and new ones wait in its queue.
 */
#include "ckptd/daemon/peers.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PEERS_MAX 4096
#define REST_NS   ((uint64_t)200 * 1000 * 1000)

static void peer_free(struct peer *p)
{
    struct list *node;

    if (p->pid.fd >= 0) {
        reactor_unwatch(p->reactor, &p->pid);
        close(p->pid.fd);
    }
    reactor_timer_stop(&p->reactor->env, &p->patience);
    reactor_unwatch(p->reactor, &p->socket);
    close(p->socket.fd);
    while ((node = list_pop(&p->out)))
        out_frame_free(container_of(node, struct out_frame, link));
    free(p->in);
    list_remove(&p->link);
    free(p);
}

void peer_gone(struct peer *p)
{
    struct engine *engine = p->reactor->engine;
    env_peer number = p->number;

    p->reactor->peer_count--;
    peer_free(p);
    engine_peer_gone(engine, number);
}

/* The process behind a pidfd, from its fdinfo; 0 when it is none. */
static pid_t pidfd_pid(int fd)
{
    char path[64], line[128];
    int pid = 0;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    f = fopen(path, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Pid: %d", &pid) == 1)
            break;
    (void)fclose(f);
    return pid > 0 ? pid : 0;
}

static void process_ended(struct source *source, uint32_t events)
{
    struct peer *p = container_of(source, struct peer, pid);

    (void)events;
    /* One turn's share is more than a socket holds. */
    if (peer_receive(p) == 1)
        log_line(LOG_LEVEL_WARN, "peers",
                 "pid %d has ended, but its socket is still being sent on; "
                 "that is not listened to",
                 p->pid_number);
    peer_gone(p);
}

/* Watch the process by `fd`, which is taken over; a pidfd of somebody else is
 * refused. */
static void watch_process(struct peer *p, int fd)
{
    if (p->pid.fd >= 0 || pidfd_pid(fd) != p->pid_number) {
        close(fd);
        return;
    }
    p->pid.fd = fd;
    p->pid.ready = process_ended;
    if (reactor_watch(p->reactor, &p->pid, EPOLLIN)) {
        close(fd);
        p->pid.fd = -1;
    }
}

void peer_take_descriptors(struct peer *p, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count;
        int fd;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof fd;
        for (size_t i = 0; i < count; i++) {
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            watch_process(p, fd);
        }
    }
}

static void socket_ready(struct source *source, uint32_t events)
{
    struct peer *p = container_of(source, struct peer, socket);
    int rc = 0;

    if (p->is_broken || (p->is_hanging_up && events & (EPOLLHUP | EPOLLERR)))
        rc = -ECONNRESET;
    if (rc == 0 && events & EPOLLOUT)
        rc = peer_flush(p);
    if (rc == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        rc = peer_receive(p);
    if (rc < 0)
        peer_gone(p);
}

/* Tells a connection that is not taken why, if it has room for that. */
PRINTF_LIKE(4, 5)
static void refuse(int fd, const struct ucred *cred, int code,
                   const char *format, ...)
{
    struct wire_error v = {.code = code};
    struct wire_header h = {.type = WIRE_ERROR};
    uint8_t head[WIRE_HEADER_BYTES];
    struct wr w = {0}, frame = {0};
    va_list args;

    va_start(args, format);
    (void)vsnprintf(v.text, sizeof v.text, format, args);
    va_end(args);
    log_line(LOG_LEVEL_WARN, "peers",
             "refused a connection of uid %u (pid %d): %s", cred->uid,
             cred->pid, v.text);
    wire_error_encode(&v, &w);
    h.length = (uint32_t)w.bytes;
    wire_header_encode(&h, head);
    wr_bytes(&frame, head, sizeof head);
    wr_bytes(&frame, w.data, w.bytes);
    if (!w.failed && !frame.failed)
        (void)!send(fd, frame.data, frame.bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    wr_free(&frame);
    wr_free(&w);
    close(fd);
}

static uint32_t peers_max(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return PEERS_MAX;
    return (uint32_t)min_u64(PEERS_MAX, limit.rlim_cur / 4);
}

static void peer_add(struct reactor *r, int fd)
{
    struct ucred cred = {0};
    socklen_t bytes = sizeof cred;
    struct peer *p;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0 ||
        cred.uid != geteuid()) {
        refuse(fd, &cred, -EPERM, "this daemon serves uid %u only", geteuid());
        return;
    }
    if (r->peer_count >= peers_max()) {
        refuse(fd, &cred, -EUSERS,
               "this daemon has %u connections already, and takes no more",
               r->peer_count);
        return;
    }
    p = calloc(1, sizeof *p);
    if (!p) {
        refuse(fd, &cred, -ENOMEM, "no memory for a connection");
        return;
    }
    p->reactor = r;
    p->number = ++r->next_peer;
    p->pid_number = cred.pid;
    p->pid.fd = -1;
    p->socket.fd = fd;
    p->socket.ready = socket_ready;
    list_init(&p->out);
    list_append(&r->peers, &p->link);
    r->peer_count++;
    if (reactor_watch(r, &p->socket, EPOLLIN)) {
        r->peer_count--;
        peer_free(p);
        return;
    }
    peer_await(p);
    engine_peer_new(r->engine, p->number);
}

static void rested(struct env_timer *timer)
{
    struct reactor *r = container_of(timer, struct reactor, listener_rest);

    if (r->listener.fd >= 0 && reactor_rewatch(r, &r->listener, EPOLLIN))
        log_line(LOG_LEVEL_ERROR, "peers", "epoll refuses the listener");
}

static void rest(struct reactor *r, int code)
{
    log_line(LOG_LEVEL_WARN, "peers", "cannot accept a connection now: %s",
             err_text(code));
    r->listener_rest.fire = rested;
    reactor_timer_set(&r->env, &r->listener_rest,
                      reactor_now_ns(&r->env) + REST_NS);
    if (reactor_rewatch(r, &r->listener, 0))
        log_line(LOG_LEVEL_ERROR, "peers", "epoll refuses the listener");
}

static void listener_ready(struct source *source, uint32_t events)
{
    struct reactor *r = container_of(source, struct reactor, listener);
    int fd;

    (void)events;
    while ((fd = accept4(source->fd, NULL, NULL,
                         SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        peer_add(r, fd);
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        rest(r, -errno);
}

/* Where to bind: paths that are too long for sun_path go by the folder's
 * descriptor. */
static int socket_address(struct reactor *r, struct sockaddr_un *address)
{
    int n;

    address->sun_family = AF_UNIX;
    if (r->options->socket)
        n = snprintf(address->sun_path, sizeof address->sun_path, "%s",
                     r->options->socket);
    else
        n = snprintf(address->sun_path, sizeof address->sun_path,
                     "/proc/self/fd/%d/ckptd.sock", r->local_dir_fd);
    return n > 0 && (size_t)n < sizeof address->sun_path ? 0 : -ENAMETOOLONG;
}

/* Makes way for our socket. The lock is ours, so one in the local store is a
 * dead daemon's; a path that was given may be anything. */
static int clear_path(const struct reactor *r,
                      const struct sockaddr_un *address, struct err *err)
{
    const char *path = address->sun_path;
    struct stat st;
    int fd, rc;

    if (lstat(path, &st) < 0)
        return 0; /* bind() says what is wrong */
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, -EEXIST,
                       "cannot listen on %s: there is something that is no "
                       "socket",
                       path);
    if (r->options->socket) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        rc = fd < 0 ? -errno : 0;
        if (fd >= 0 &&
            connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
            rc = -errno;
        if (fd >= 0)
            close(fd);
        if (rc == 0 || rc == -EAGAIN)
            return err_set(err, -EADDRINUSE,
                           "cannot listen on %s: another process does", path);
    }
    (void)unlink(path); /* else bind() says so */
    return 0;
}

int peers_listen(struct reactor *r, struct err *err)
{
    struct sockaddr_un address = {0};
    int rc = socket_address(r, &address);
    mode_t old;

    if (rc)
        return err_set(err, rc, "socket path %s is too long (%zu bytes)",
                       r->options->socket, sizeof address.sun_path - 1);
    r->listener.fd =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->listener.fd < 0)
        return err_set(err, -errno, "socket: %s", err_text(-errno));
    rc = clear_path(r, &address, err);
    if (rc)
        return rc;
    old = umask(0177);
    rc = bind(r->listener.fd, (struct sockaddr *)&address, sizeof address);
    rc = rc < 0 ? -errno : 0;
    (void)umask(old);
    if (rc == 0 && listen(r->listener.fd, 1024) < 0)
        rc = -errno;
    if (rc)
        return err_set(err, rc, "cannot listen on %s: %s", address.sun_path,
                       err_text(rc));
    r->is_listening = true;
    r->listener.ready = listener_ready;
    rc = reactor_watch(r, &r->listener, EPOLLIN);
    return rc ? err_set(err, rc, "epoll: %s", err_text(rc)) : 0;
}

void peers_unlisten(struct reactor *r)
{
    struct sockaddr_un address = {0};

    if (r->listener.fd < 0)
        return;
    reactor_unwatch(r, &r->listener);
    close(r->listener.fd);
    r->listener.fd = -1;
    reactor_timer_stop(&r->env, &r->listener_rest);
    if (r->is_listening && socket_address(r, &address) == 0)
        (void)unlink(address.sun_path);
    r->is_listening = false;
}

void peers_close(struct reactor *r)
{
    peers_unlisten(r);
    LIST_FOR_EACH_SAFE (node, after, &r->peers)
        peer_free(container_of(node, struct peer, link));
}
