/*
 * The client: frames out of any pieces, descriptors with them, paths of any
 * length, private daemons that start, lose the race, fail in words, inherit
 * nothing and are reaped.
 *
 * The "daemon" that is started here is a shell script (CKPT_DAEMON).
 */
#include "client/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct patience within(uint32_t ms)
{
    return (struct patience){clock_ms() + ms, -1};
}

static void pair(struct conn *a, struct conn *b)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    assert_int_equal(conn_init(a, fds[0]), 0);
    assert_int_equal(conn_init(b, fds[1]), 0);
}

/* A TABLE frame of `bytes` of payload. */
static struct wr frame_of(size_t bytes, uint64_t id)
{
    struct wr w = {0};
    size_t begin = frame_begin(&w, WIRE_TABLE, 0, id);
    uint8_t *room = wr_room(&w, bytes);

    for (size_t i = 0; room && i < bytes; i++)
        room[i] = (uint8_t)(i * 7 + id);
    assert_int_equal(frame_end(&w, begin), 0);
    return w;
}

static void frames_come_out_of_single_bytes(void **unused)
{
    struct conn a, b;
    struct wr w = frame_of(100, 1), second = frame_of(0, 2);
    struct frame f;

    (void)unused;
    wr_bytes(&w, second.data, second.bytes);
    pair(&a, &b);
    for (size_t i = 0; i < w.bytes; i++) {
        assert_int_equal(conn_next(&b, &f), i >= 116 ? 1 : 0);
        if (i >= 116)
            break;
        assert_int_equal(conn_write(&a, w.data + i, 1, -1), 1);
        assert_int_equal(conn_read(&b), 1);
    }
    assert_int_equal(f.header.length, 100);
    assert_int_equal(f.payload[99], (uint8_t)(99 * 7 + 1));
    assert_int_equal(conn_write(&a, w.data + 116, 16, -1), 16);
    assert_int_equal(conn_read(&b), 16);
    assert_int_equal(conn_next(&b, &f), 1);
    assert_int_equal(f.header.id, 2);
    assert_int_equal(conn_next(&b, &f), 0);
    assert_int_equal(conn_read(&b), 0);
    conn_fini(&a);
    assert_int_equal(conn_read(&b), -ECONNRESET);
    conn_fini(&b);
    wr_free(&w);
    wr_free(&second);
}

/* Larger than any socket buffer; the receiver's buffer shrinks again. */
static void big_frames_pass(void **unused)
{
    struct conn a, b;
    struct wr w = frame_of(WIRE_PAYLOAD_MAX, 3);
    struct patience p = within(100);
    struct frame f;
    size_t at = 0;
    int rc = 0;

    (void)unused;
    pair(&a, &b);
    while (rc == 0) {
        int64_t n = conn_write(&a, w.data + at, w.bytes - at, -1);

        assert_true(n >= 0);
        at += (size_t)n;
        while ((rc = conn_next(&b, &f)) == 0 && conn_read(&b) > 0)
            continue;
    }
    assert_int_equal(rc, 1);
    assert_int_equal(f.header.length, WIRE_PAYLOAD_MAX);
    assert_memory_equal(f.payload, w.data + WIRE_HEADER_BYTES,
                        WIRE_PAYLOAD_MAX);
    w.bytes = WIRE_HEADER_BYTES;
    put_u32(w.data, 0);
    assert_int_equal(conn_send_all(&a, &w, -1, &p), 0);
    assert_int_equal(conn_recv(&b, &p, &f), 0);
    assert_true(b.in_capacity < (1 << 20));
    assert_int_equal(conn_recv(&b, &p, &f), -ETIMEDOUT);
    conn_fini(&a);
    conn_fini(&b);
    wr_free(&w);
}

static void oversized_frames_are_neither_sent_nor_taken(void **unused)
{
    struct conn a, b;
    struct wr w = {0};
    size_t begin = frame_begin(&w, WIRE_TABLE, 0, 1);
    struct wire_header h = {WIRE_PAYLOAD_MAX + 1, WIRE_TABLE, 0, 1};
    uint8_t raw[WIRE_HEADER_BYTES];
    struct frame f;

    (void)unused;
    (void)wr_room(&w, WIRE_PAYLOAD_MAX + 1);
    assert_int_equal(frame_end(&w, begin), -EMSGSIZE);
    assert_int_equal(w.bytes, 0);
    wr_free(&w);
    pair(&a, &b);
    wire_header_encode(&h, raw);
    assert_int_equal(conn_write(&a, raw, sizeof raw, -1), sizeof raw);
    assert_int_equal(conn_read(&b), sizeof raw);
    assert_int_equal(conn_next(&b, &f), -EBADMSG);
    assert_int_equal(conn_read(&b), -EBADMSG);
    conn_fini(&a);
    conn_fini(&b);
}

static uint32_t count_fds(void)
{
    uint32_t count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void descriptors_come_with_frames_and_never_leak(void **unused)
{
    uint32_t before = count_fds(), taken;
    struct conn a, b;
    struct wr w = frame_of(1, 1);
    int fds[WIRE_PIECES_MAX], fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int rc = 0;

    (void)unused;
    pair(&a, &b);
    for (int i = 0; i < 2; i++)
        assert_int_equal(conn_write(&a, w.data, w.bytes, fd), w.bytes);
    while (conn_read(&b) > 0)
        continue;
    taken = conn_take_fds(&b, fds);
    assert_int_equal(taken, 2);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    (void)close(fds[0]);
    (void)close(fds[1]);
    /* More than an arena has is out of order, and all are closed. */
    for (int i = 0; i <= WIRE_PIECES_MAX && rc >= 0; i++) {
        assert_int_equal(conn_write(&a, w.data, w.bytes, fd), w.bytes);
        rc = conn_read(&b);
    }
    assert_int_equal(rc, -EBADMSG);
    conn_fini(&a);
    conn_fini(&b);
    (void)close(fd);
    wr_free(&w);
    assert_int_equal(count_fds(), before);
}

static void waiting_is_cancelled_by_a_descriptor(void **unused)
{
    int fds[2];
    struct patience p = within(60000);

    (void)unused;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    p.cancel_fd = fds[0];
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(patience_sleep(&p, 30000), -ECANCELED);
    (void)close(fds[0]);
    (void)close(fds[1]);
    p = within(5);
    assert_int_equal(patience_sleep(&p, 1), 0);
    assert_int_equal(patience_sleep(&p, 60000), -ETIMEDOUT);
}

/*
 * Places and daemons.
 */

struct world {
    char home[PATH_MAX];
    struct daemon_place place;
    struct err err;
};

static void world_init(struct world *w)
{
    *w = (struct world){.home = "/tmp/ckpt-client-XXXXXX"};
    assert_non_null(mkdtemp(w->home));
    if (daemon_place_init(&w->place, w->home, NULL, NULL, &w->err))
        fail_msg("%s", w->err.text);
}

static void world_fini(struct world *w)
{
    char command[PATH_MAX + 16];

    (void)snprintf(command, sizeof command, "rm -rf %s", w->home);
    assert_int_equal(system(command), 0);
    (void)unsetenv("CKPT_DAEMON");
}

/* CKPT_DAEMON is a script of these lines. */
static void script(const struct world *w, const char *lines)
{
    char path[PATH_MAX + 8];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/fake", w->home);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fprintf(f, "#!/bin/sh\n%s\n", lines) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(setenv("CKPT_DAEMON", path, 1), 0);
}

static int listen_at(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(strlen(path) < sizeof at.sun_path);
    memcpy(at.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void places_follow_options_and_environment(void **unused)
{
    struct world w;
    struct daemon_place p;
    char here[PATH_MAX];

    (void)unused;
    world_init(&w);
    assert_string_equal(w.place.home, w.home);
    assert_non_null(strstr(w.place.socket, "/local/ckptd.sock"));
    assert_false(w.place.is_given);
    assert_int_equal(setenv("CKPT_HOME", w.home, 1), 0);
    assert_int_equal(setenv("CKPT_LOCAL", "store", 1), 0);
    assert_int_equal(daemon_place_init(&p, NULL, NULL, NULL, &w.err), 0);
    assert_non_null(getcwd(here, sizeof here));
    assert_memory_equal(p.local, here, strlen(here));
    assert_non_null(strstr(p.local, "/store"));
    assert_int_equal(setenv("CKPT_SOCKET", "/run/x.sock", 1), 0);
    assert_int_equal(daemon_place_init(&p, NULL, "/l", NULL, &w.err), 0);
    assert_string_equal(p.local, "/l");
    assert_string_equal(p.socket, "/run/x.sock");
    assert_true(p.is_given);
    (void)unsetenv("CKPT_HOME");
    (void)unsetenv("CKPT_LOCAL");
    (void)unsetenv("CKPT_SOCKET");
    assert_int_equal(daemon_place_init(&p, NULL, NULL, NULL, &w.err), -EINVAL);
    assert_int_equal(daemon_place_init(&p, "/no/home", NULL, NULL, &w.err),
                     -ENOENT);
    assert_non_null(strstr(w.err.text, "/no/home"));
    assert_int_equal(daemon_place_init(&p, "/dev/null", NULL, NULL, &w.err),
                     -ENOTDIR);
    world_fini(&w);
}

static void long_paths_are_reached(void **unused)
{
    struct world w;
    struct patience p = within(2000);
    char name[PATH_MAX];
    pid_t child = 0;
    int at, listener, fd;

    (void)unused;
    world_init(&w);
    (void)snprintf(name, sizeof name, "/%0200d/s", 7);
    (void)strcpy(w.place.socket, w.home);
    (void)strcat(w.place.socket, name);
    (void)strcpy(name, w.place.socket);
    name[strlen(name) - 2] = '\0';
    assert_int_equal(mkdir(name, 0700), 0);
    at = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d/s", at);
    listener = listen_at(name);
    w.place.is_given = true;
    fd = daemon_connect(&w.place, &p, &child, &w.err);
    assert_true(fd >= 0);
    assert_int_equal(child, 0);
    (void)close(fd);
    (void)close(listener);
    (void)close(at);
    world_fini(&w);
}

static void given_socket_starts_nothing(void **unused)
{
    struct world w;
    struct patience p = within(100);
    pid_t child = 0;

    (void)unused;
    world_init(&w);
    script(&w, "touch $2/started");
    w.place.is_given = true;
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ETIMEDOUT);
    assert_int_equal(child, 0);
    assert_int_equal(access(w.place.local, F_OK), -1);
    world_fini(&w);
}

/* What lies at a socket that was named, and is no daemon's, is told soon. */
static void what_lies_at_a_given_socket_is_told(void **unused)
{
    uint64_t began = clock_ms();
    struct patience p = within(20000);
    struct world w;
    pid_t child = 0;

    (void)unused;
    world_init(&w);
    w.place.is_given = true;
    (void)snprintf(w.place.socket, sizeof w.place.socket, "%s", w.home);
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ENOTSOCK);
    assert_non_null(strstr(w.err.text, "a folder lies there"));
    assert_true(clock_ms() - began < 2000);
    (void)snprintf(w.place.socket, sizeof w.place.socket, "%.200s/stale",
                   w.home);
    assert_int_equal(close(listen_at(w.place.socket)), 0);
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err),
                     -ECONNREFUSED);
    assert_non_null(strstr(w.err.text, "no daemon listens"));
    assert_true(clock_ms() - began < 12000);
    /* The next one may take its time after one that has served. */
    w.place.has_served = true;
    p = within(4000);
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ETIMEDOUT);
    assert_non_null(strstr(w.err.text, "CKPT_SOCKET"));
    assert_int_equal(unlink(w.place.socket), 0);
    world_fini(&w);
}

static void programs_that_end_without_serving_are_told(void **unused)
{
    uint64_t began = clock_ms();
    struct patience p = within(40000);
    struct world w;
    pid_t child = 0;

    (void)unused;
    world_init(&w);
    script(&w, "exit 0");
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ECHILD);
    assert_non_null(strstr(w.err.text, "in a row ended without serving"));
    assert_non_null(strstr(w.err.text, "exited with 0"));
    assert_true(clock_ms() - began < 30000);
    world_fini(&w);
}

/* Root's daemon refuses an ordinary user too: that is told at once. */
static void another_users_daemon_is_told_at_once(void **unused)
{
    struct world w;
    struct patience p = within(20000);
    uint64_t began = clock_ms();
    pid_t child = 0;
    int listener, rc;

    (void)unused;
    if (geteuid() != 0) {
        print_message("needs root, to act as another user\n");
        skip();
    }
    world_init(&w);
    assert_int_equal(chmod(w.home, 0755), 0);
    assert_int_equal(mkdir(w.place.local, 0755), 0);
    listener = listen_at(w.place.socket);
    assert_int_equal(chmod(w.place.socket, 0777), 0);
    assert_int_equal(seteuid(65534), 0);
    rc = daemon_connect(&w.place, &p, &child, &w.err);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, -EPERM);
    assert_int_equal(child, 0);
    assert_true(clock_ms() - began < 10000);
    assert_non_null(strstr(w.err.text, w.place.socket));
    assert_non_null(strstr(w.err.text, "belongs to uid 0, we are uid 65534"));
    assert_non_null(strstr(w.err.text, "CKPT_LOCAL"));
    (void)close(listener);
    world_fini(&w);
}

static void absent_binary_is_told(void **unused)
{
    struct world w;
    struct patience p = within(1000);
    pid_t child = 0;

    (void)unused;
    world_init(&w);
    assert_int_equal(setenv("CKPT_DAEMON", "/no/such/ckptd", 1), 0);
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ENOENT);
    assert_non_null(strstr(w.err.text, "/no/such/ckptd"));
    world_fini(&w);
}

/* Runs a copy of this program as HOME/prog/test, which only looks for a daemon
 * (main()), with HOME/path in PATH; what it said is in `text`. */
static void look_from_a_copy(const struct world *w, char *text, size_t capacity)
{
    char command[5 * PATH_MAX];
    FILE *pipe;
    size_t n;

    (void)snprintf(command, sizeof command,
                   "cp /proc/%d/exe %s/prog/test && PATH=%s/path %s/prog/test "
                   "look %s",
                   (int)getpid(), w->home, w->home, w->home, w->home);
    pipe = popen(command, "re");
    assert_non_null(pipe);
    n = fread(text, 1, capacity - 1, pipe);
    text[n] = '\0';
    assert_int_equal(pclose(pipe), 0);
}

static int look(const char *home)
{
    struct daemon_place place;
    struct patience p = within(5000);
    struct err err = {0};
    pid_t child = 0;

    if (daemon_place_init(&place, home, NULL, NULL, &err) ||
        daemon_connect(&place, &p, &child, &err) < 0)
        (void)printf("%d %s\n", err.code, err.text);
    return 0;
}

/* Folders named ckptd where the program is looked for are passed over. */
static void only_programs_are_started(void **unused)
{
    static const char *const names[] = {"prog", "prog/ckptd", "path"};
    struct world w;
    struct patience p = within(5000);
    char path[PATH_MAX + 32], target[PATH_MAX + 32], text[2048];
    pid_t child = 0;

    (void)unused;
    world_init(&w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w.home, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    look_from_a_copy(&w, text, sizeof text);
    assert_int_equal(atoi(text), -ENOENT);
    for (size_t i = 1; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s%s", w.home, names[i],
                       i == 1 ? "" : "/ckptd");
        if (!strstr(text, path))
            fail_msg("no %s in: %s", path, text);
    }
    script(&w, "exit 3");
    (void)unsetenv("CKPT_DAEMON");
    (void)snprintf(target, sizeof target, "%s/fake", w.home);
    assert_int_equal(rename(target, path), 0);
    look_from_a_copy(&w, text, sizeof text);
    assert_int_equal(atoi(text), -ECHILD);
    (void)snprintf(path, sizeof path, "%s/prog/ckptd", w.home);
    assert_int_equal(setenv("CKPT_DAEMON", path, 1), 0);
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -EISDIR);
    assert_non_null(strstr(w.err.text, path));
    world_fini(&w);
}

static void failing_daemon_is_told_with_what_it_logged(void **unused)
{
    struct world w;
    struct patience p = within(5000);
    pid_t child = 0;

    (void)unused;
    world_init(&w);
    script(&w,
           "echo the disk is on fire >&2; echo and so is the shelf; exit 3");
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ECHILD);
    assert_memory_equal(w.err.text, "the disk is on fire|and so is the shelf (",
                        41);
    assert_non_null(strstr(w.err.text, "exited with 3"));
    assert_non_null(strstr(w.err.text, "/local/ckptd.log"));
    assert_int_equal(child, 0);
    /* Not what an older one wrote. */
    script(&w, "kill -9 $$");
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ECHILD);
    assert_non_null(strstr(w.err.text, "signal 9"));
    assert_null(strstr(w.err.text, "fire"));
    assert_non_null(strstr(w.err.text, "logged nothing"));
    /* A long log is cut between lines. */
    script(&w, "for i in $(seq 100 199); do echo line $i ends; done; exit 4");
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ECHILD);
    assert_memory_equal(w.err.text, "line 1", 6);
    assert_null(strstr(w.err.text, "line 100"));
    assert_non_null(strstr(w.err.text, "|line 199 ends (the ckptd"));
    assert_non_null(strstr(w.err.text, "exited with 4"));
    world_fini(&w);
}

/* A daemon that was killed may be met before it is gone: its socket no longer
 * answers, and it cannot be reaped yet. */
static void a_daemon_that_dies_late_is_replaced(void **unused)
{
    struct world w;
    struct patience p = within(5000);
    pid_t child;

    (void)unused;
    world_init(&w);
    script(&w, "echo another one >&2; exit 3");
    child = fork();
    if (child == 0) {
        struct patience nap = within(1000);

        if (patience_sleep(&nap, 100) == 0)
            (void)raise(SIGKILL);
        _exit(2);
    }
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ECHILD);
    assert_memory_equal(w.err.text, "another one (", 13);
    assert_non_null(strstr(w.err.text, "exited with 3"));
    world_fini(&w);
}

/* The first one started loses; the winner listens a little later. */
static void lost_race_goes_on_to_the_winner(void **unused)
{
    struct world w;
    struct patience p = within(5000);
    pid_t child = 0, winner;
    int fd;

    (void)unused;
    world_init(&w);
    script(&w, "exit 11");
    assert_int_equal(mkdir(w.place.local, 0700), 0);
    winner = fork();
    if (winner == 0) {
        struct patience nap = within(1000);

        if (patience_sleep(&nap, 150))
            _exit(2);
        fd = accept(listen_at(w.place.socket), NULL, NULL);
        _exit(fd < 0);
    }
    fd = daemon_connect(&w.place, &p, &child, &w.err);
    assert_true(fd >= 0);
    (void)close(fd);
    (void)waitpid(winner, NULL, 0);
    world_fini(&w);
}

static void read_file(const struct world *w, const char *name, char *text,
                      size_t capacity)
{
    char path[PATH_MAX + 32];
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof path, "%s/%s", w->place.local, name);
    f = fopen(path, "re");
    assert_non_null(f);
    n = fread(text, 1, capacity - 1, f);
    text[n] = '\0';
    (void)fclose(f);
}

/* No descriptor but its own, no signal ignored or blocked, its own session,
 * and the store as its argument. The signals are those of the shell's child:
 * the shell itself blocks them for a moment whenever it starts one. */
static void child_inherits_nothing(void **unused)
{
    struct world w;
    struct patience p = within(5000);
    char text[8192], session[64];
    pid_t child = 0;
    int leak = open("/dev/null", O_RDONLY), rc;
    sigset_t set, old;

    (void)unused;
    world_init(&w);
    script(&w,
           "ls -l /proc/$$/fd >$2/fds; grep Sig /proc/self/status >$2/sigs\n"
           "echo $1 $$ $(cut -d' ' -f6 /proc/$$/stat) >$2/args; exit 7");
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &set, &old);
    (void)signal(SIGUSR2, SIG_IGN);
    rc = daemon_connect(&w.place, &p, &child, &w.err);
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    (void)signal(SIGUSR2, SIG_DFL);
    (void)close(leak);
    assert_int_equal(rc, -ECHILD);
    read_file(&w, "args", text, sizeof text);
    assert_memory_equal(text, "--local ", 8);
    (void)snprintf(session, sizeof session, "%d %d", atoi(text + 8),
                   atoi(text + 8));
    assert_non_null(strstr(text, session));
    read_file(&w, "sigs", text, sizeof text);
    assert_non_null(strstr(text, "SigBlk:\t0000000000000000"));
    assert_non_null(strstr(text, "SigIgn:"));
    /* glibc's posix_spawn leaves its own two, 32 and 33, ignored. */
    assert_int_equal(strtoull(strstr(text, "SigIgn:") + 7, NULL, 16) &
                         ~((uint64_t)3 << 31),
                     0);
    read_file(&w, "fds", text, sizeof text);
    assert_non_null(strstr(text, "0 -> /dev/null"));
    assert_non_null(strstr(text, "2 -> "));
    assert_null(strstr(text, "socket:"));
    assert_null(strstr(text, "pipe:"));
    world_fini(&w);
}

static void children_are_reaped_and_never_waited_for(void **unused)
{
    struct world w;
    struct patience p = within(300);
    pid_t child = 0, pid;

    (void)unused;
    world_init(&w);
    script(&w, "exec sleep 30");
    assert_int_equal(daemon_connect(&w.place, &p, &child, &w.err), -ETIMEDOUT);
    assert_true(child > 0);
    pid = child;
    daemon_reap(&child);
    assert_int_equal(child, pid);
    assert_int_equal(kill(pid, SIGKILL), 0);
    for (int i = 0; i < 500 && child; i++) {
        p = within(1000);
        assert_int_equal(patience_sleep(&p, 10), 0);
        daemon_reap(&child);
    }
    assert_int_equal(child, 0);
    assert_int_equal(kill(pid, 0), -1);
    world_fini(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_of_single_bytes),
        cmocka_unit_test(big_frames_pass),
        cmocka_unit_test(oversized_frames_are_neither_sent_nor_taken),
        cmocka_unit_test(descriptors_come_with_frames_and_never_leak),
        cmocka_unit_test(waiting_is_cancelled_by_a_descriptor),
        cmocka_unit_test(places_follow_options_and_environment),
        cmocka_unit_test(long_paths_are_reached),
        cmocka_unit_test(given_socket_starts_nothing),
        cmocka_unit_test(what_lies_at_a_given_socket_is_told),
        cmocka_unit_test(programs_that_end_without_serving_are_told),
        cmocka_unit_test(another_users_daemon_is_told_at_once),
        cmocka_unit_test(absent_binary_is_told),
        cmocka_unit_test(only_programs_are_started),
        cmocka_unit_test(failing_daemon_is_told_with_what_it_logged),
        cmocka_unit_test(a_daemon_that_dies_late_is_replaced),
        cmocka_unit_test(lost_race_goes_on_to_the_winner),
        cmocka_unit_test(child_inherits_nothing),
        cmocka_unit_test(children_are_reaped_and_never_waited_for),
    };

    if (argc == 3 && strcmp(argv[1], "look") == 0)
        return look(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
