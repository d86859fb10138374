/*
 * daemon_child.c - see daemon_child.h.
 */
#include "tests/lib/daemon_child.h"
#include "tests/lib/tree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

void daemon_child_init(struct daemon_child *d)
{
    const char *at;
    int rc;

    *d = (struct daemon_child){.options.is_foreground = true};
    (void)snprintf(d->dir, sizeof d->dir, "/tmp/ckptd-child-XXXXXX");
    at = mkdtemp(d->dir);
    assert(at);
    (void)snprintf(d->local, sizeof d->local, "%s/local", d->dir);
    (void)snprintf(d->home, sizeof d->home, "%s/home", d->dir);
    (void)snprintf(d->socket, sizeof d->socket, "%s/ckptd.sock", d->local);
    rc = mkdir(d->home, 0700);
    assert(rc == 0);
    d->options.local = d->local;
}

static void child(const struct daemon_child *d)
{
    struct err err = {0};
    int log = open("/dev/null", O_WRONLY | O_CLOEXEC), rc = 0;

    /* A test that fails leaves it behind. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getenv("TEST_VERBOSE"))
        log = 2;
    log_open(log, LOG_LEVEL_DEBUG);
    if (d->descriptors) {
        struct rlimit limit = {d->descriptors, d->descriptors};

        rc = setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (d->uid &&
        (setgid(d->uid) || setuid(d->uid) || prctl(PR_SET_PDEATHSIG, SIGKILL)))
        rc = -1;
    assert(rc == 0);
    rc = reactor_run(&d->options, &err);
    if (rc && rc != -EBUSY)
        (void)fprintf(stderr, "daemon: %s\n", err.text);
    exit(rc == 0 ? 0 : rc == -EBUSY ? 11 : 200);
}

void daemon_child_start(struct daemon_child *d)
{
    int rc = d->uid ? chown(d->dir, d->uid, d->uid) : 0;
    sigset_t set, before;

    assert(rc == 0);
    (void)fflush(NULL);
    /* A signal that comes before the daemon blocks it must not kill it. */
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    rc = sigprocmask(SIG_BLOCK, &set, &before);
    assert(rc == 0);
    d->pid = fork();
    assert(d->pid >= 0);
    if (d->pid == 0)
        child(d);
    rc = sigprocmask(SIG_SETMASK, &before, NULL);
    assert(rc == 0);
}

int daemon_child_wait(struct daemon_child *d, int ms)
{
    int status;

    for (int waited = 0; waited <= ms; waited += 10) {
        pid_t pid = waitpid(d->pid, &status, WNOHANG);

        if (pid == d->pid) {
            d->pid = 0;
            return WIFSIGNALED(status) ? 300 + WTERMSIG(status)
                                       : WEXITSTATUS(status);
        }
        pause_ms(10);
    }
    return 1000;
}

int daemon_child_stop(struct daemon_child *d)
{
    int rc = kill(d->pid, SIGTERM);

    assert(rc == 0);
    return daemon_child_wait(d, 20000);
}

void daemon_child_fini(struct daemon_child *d)
{
    if (d->pid) {
        (void)kill(d->pid, SIGKILL);
        (void)daemon_child_wait(d, 20000);
    }
    (void)remove_tree(d->dir);
}

/*
 * What /proc says.
 */

uint64_t daemon_child_rss(const struct daemon_child *d)
{
    char path[64];
    unsigned long size = 0, resident = 0;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/statm", d->pid);
    f = fopen(path, "re");
    assert(f);
    if (fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(f);
    return (uint64_t)resident * 4096;
}

uint64_t daemon_child_cpu_ms(const struct daemon_child *d)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    FILE *f;
    const char *at;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", d->pid);
    f = fopen(path, "re");
    assert(f);
    at = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    (void)fclose(f);
    /* After the name: state, then ten numbers, then the two. */
    if (!at || sscanf(at,
                      ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu "
                      "%lu",
                      &user, &system) != 2)
        return 0;
    return (user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static uint32_t counted;

static int count_one(const char *path, const struct stat *st, int type,
                     struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)type;
    counted += ftw->level == 1;
    return 0;
}

uint32_t daemon_child_descriptors(const struct daemon_child *d)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%d/fd", d->pid);
    counted = 0;
    (void)nftw(path, count_one, 4, FTW_PHYS);
    return counted;
}

/*
 * Raw sockets.
 */

int raw_connect(const struct daemon_child *d)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = d->options.socket ? d->options.socket : d->socket;

    assert(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    for (int i = 0; i < 1000; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert(fd >= 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
        (void)close(fd);
        pause_ms(10);
    }
    return -1;
}

bool raw_bytes(int fd, const void *data, size_t bytes)
{
    return bytes == 0 || raw_descriptors(fd, data, bytes, NULL, 0);
}

bool raw_descriptors(int fd, const void *data, size_t bytes, const int *fds,
                     int count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * 32)];
    } control = {0};
    const uint8_t *at = data;

    while (bytes > 0) {
        /* sendmsg() does not write to it. */
        struct iovec iov = {.iov_len = bytes};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;

        memcpy(&iov.iov_base, &at, sizeof at);
        if (count) {
            control.align.cmsg_level = SOL_SOCKET;
            control.align.cmsg_type = SCM_RIGHTS;
            control.align.cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
            memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * (size_t)count);
            msg.msg_control = &control;
            msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        }
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        at += n;
        bytes -= (size_t)n;
        count = 0;
    }
    return true;
}

bool raw_send(int fd, enum wire_type type, uint64_t id, struct wr *w)
{
    struct wire_header h = {
        .type = (uint16_t)type, .length = w ? (uint32_t)w->bytes : 0, .id = id};
    uint8_t head[WIRE_HEADER_BYTES];
    bool ok;

    wire_header_encode(&h, head);
    ok = raw_bytes(fd, head, sizeof head) &&
         (!w || raw_bytes(fd, w->data, w->bytes));
    if (w)
        wr_free(w);
    return ok;
}

bool raw_hello(int fd)
{
    struct wire_hello v = {.magic = WIRE_MAGIC,
                           .low = WIRE_VERSION_LOW,
                           .high = WIRE_VERSION_HIGH};
    struct wr w = {0};

    wire_hello_encode(&v, &w);
    return raw_send(fd, WIRE_HELLO, 1, &w);
}

/* 1: all; 0: the end; -1: nothing for `ms`. */
static int read_all(int fd, int ms, void *to, size_t bytes)
{
    uint8_t *at = to;

    while (bytes > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&p, 1, ms) != 1)
            return -1;
        n = recv(fd, at, bytes, 0);
        if (n <= 0)
            return 0;
        at += n;
        bytes -= (size_t)n;
    }
    return 1;
}

int raw_receive(int fd, int ms, struct wire_header *h, void *payload,
                size_t capacity)
{
    uint8_t head[WIRE_HEADER_BYTES];
    int rc = read_all(fd, ms, head, sizeof head);

    if (rc <= 0)
        return rc;
    rc = wire_header_decode(head, h);
    assert(rc == 0 && h->length <= capacity);
    rc = h->length ? read_all(fd, ms, payload, h->length) : 1;
    return rc <= 0 ? rc : h->type;
}
