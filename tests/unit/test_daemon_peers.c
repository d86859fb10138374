/*
 * test_daemon_peers.c - the real daemon's sockets: hostile bytes, frames in
 * pieces, peers that do not read, processes that die while a child of theirs
 * keeps the socket, other users, no descriptors left, and its own end at any
 * moment. The daemon must go on serving, or end in order, without a leak (its
 * process checks for that where the build does).
 */
#include "tests/lib/daemon_child.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 10000

static uint8_t payload[WIRE_PAYLOAD_MAX];

static int receive(int fd, struct wire_header *h)
{
    return raw_receive(fd, SOON_MS, h, payload, sizeof payload);
}

static void must_serve(const struct daemon_child *d)
{
    struct wire_header h;
    int fd = raw_connect(d);

    assert_true(fd >= 0);
    assert_true(raw_hello(fd));
    assert_int_equal(receive(fd, &h), WIRE_HELLO_OK);
    (void)close(fd);
}

/* An error that says why, then the end. */
static void must_be_refused(int fd, int code)
{
    struct wire_error v;
    struct wire_header h;

    assert_int_equal(receive(fd, &h), WIRE_ERROR);
    assert_int_equal(wire_error_decode(payload, h.length, &v), 0);
    assert_int_equal(v.code, code);
    assert_true(v.text[0]);
    assert_int_equal(receive(fd, &h), 0);
    (void)close(fd);
}

/* One that ends in order at the end of the test. */
static void begin(struct daemon_child *d)
{
    daemon_child_init(d);
    daemon_child_start(d);
}

static void end(struct daemon_child *d)
{
    assert_int_equal(daemon_child_stop(d), 0);
    daemon_child_fini(d);
}

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

/* It closes what it does not need any more by and by. */
static void must_come_to(const struct daemon_child *d, uint32_t descriptors)
{
    for (int i = 0; i < 500; i++) {
        if (daemon_child_descriptors(d) == descriptors)
            return;
        pause_ms(10);
    }
    assert_int_equal(daemon_child_descriptors(d), descriptors);
}

/* Without any connection. */
static uint32_t descriptors_at_rest(const struct daemon_child *d)
{
    uint32_t least = UINT32_MAX;

    for (int i = 0; i < 20; i++) {
        least = (uint32_t)min_u64(least, daemon_child_descriptors(d));
        pause_ms(10);
    }
    return least;
}

/*
 * Bytes.
 */

static void hostile_bytes_are_refused(void **state)
{
    struct wire_header over = {.length = WIRE_PAYLOAD_MAX, .type = WIRE_HELLO};
    uint8_t head[WIRE_HEADER_BYTES];
    struct daemon_child d;
    int fd;

    (void)state;
    begin(&d);
    /* A length beyond all. */
    fd = raw_connect(&d);
    wire_header_encode(&over, head);
    head[3] = 0xff;
    assert_true(raw_bytes(fd, head, sizeof head));
    must_be_refused(fd, -EBADMSG);
    /* Something that speaks another protocol. */
    fd = raw_connect(&d);
    assert_true(raw_bytes(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27));
    must_be_refused(fd, -EBADMSG);
    /* A frame that has no place here. */
    fd = raw_connect(&d);
    assert_true(raw_send(fd, WIRE_LIST, 1, NULL));
    must_be_refused(fd, -EPROTO);
    must_serve(&d);
    end(&d);
}

static void noise_does_not_harm(void **state)
{
    uint64_t seed = 7;
    struct daemon_child d;

    (void)state;
    begin(&d);
    for (int i = 0; i < 300; i++) {
        uint8_t noise[512];
        struct wire_header h = {.length = sizeof noise, .type = WIRE_HELLO};
        uint8_t head[WIRE_HEADER_BYTES];
        int fd = raw_connect(&d);

        for (size_t k = 0; k < sizeof noise; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            noise[k] = (uint8_t)(seed >> 56);
        }
        h.type = (uint16_t)(seed >> 40 & 31);
        wire_header_encode(&h, head);
        if (i % 3 == 0 || raw_hello(fd))
            (void)(raw_bytes(fd, head, i % 5 ? sizeof head : 0) &&
                   raw_bytes(fd, noise, sizeof noise));
        (void)close(fd); /* also with unread answers */
    }
    must_serve(&d);
    end(&d);
}

static void frames_may_come_in_any_pieces(void **state)
{
    struct wire_hello v = {.magic = WIRE_MAGIC,
                           .low = WIRE_VERSION_LOW,
                           .high = WIRE_VERSION_HIGH};
    struct wire_header h = {.type = WIRE_HELLO, .id = 9};
    uint8_t head[WIRE_HEADER_BYTES];
    struct daemon_child d;
    struct wr w = {0};
    int fd, half;

    (void)state;
    begin(&d);
    wire_hello_encode(&v, &w);
    h.length = (uint32_t)w.bytes;
    wire_header_encode(&h, head);
    fd = raw_connect(&d);
    for (size_t i = 0; i < sizeof head; i++) {
        assert_true(raw_bytes(fd, head + i, 1));
        pause_ms(i % 4 ? 0 : 2);
    }
    for (size_t i = 0; i < w.bytes; i++)
        assert_true(raw_bytes(fd, w.data + i, 1));
    assert_int_equal(receive(fd, &h), WIRE_HELLO_OK);
    assert_int_equal(h.id, 9);
    (void)close(fd);
    /* Half a frame, and gone; and one that stays with it. */
    fd = raw_connect(&d);
    assert_true(raw_bytes(fd, head, 7));
    (void)close(fd);
    half = raw_connect(&d);
    assert_true(raw_bytes(half, head, sizeof head));
    assert_true(raw_bytes(half, w.data, w.bytes - 1));
    must_serve(&d);
    (void)close(half);
    wr_free(&w);
    end(&d);
}

/* The first frame has ten seconds, however its bytes come. */
static void a_frame_that_does_not_become_whole_is_cut_off(void **state)
{
    struct wire_header h = {.length = 16, .type = WIRE_HELLO};
    uint8_t head[WIRE_HEADER_BYTES];
    int silent, half, slow, fd;
    struct daemon_child d;
    uint32_t at_rest;

    (void)state;
    begin(&d);
    must_serve(&d);
    at_rest = descriptors_at_rest(&d);
    fd = raw_connect(&d);
    assert_true(raw_hello(fd));
    assert_int_equal(receive(fd, &h), WIRE_HELLO_OK);
    silent = raw_connect(&d);
    half = raw_connect(&d);
    slow = raw_connect(&d);
    h = (struct wire_header){.length = 16, .type = WIRE_HELLO};
    wire_header_encode(&h, head);
    assert_true(raw_bytes(half, head, sizeof head));
    for (size_t i = 0; i < 9; i++) {
        assert_true(raw_bytes(slow, head + i, 1));
        pause_ms(1000);
    }
    must_be_refused(slow, -ETIMEDOUT);
    must_be_refused(half, -ETIMEDOUT);
    must_be_refused(silent, -ETIMEDOUT);
    must_come_to(&d, at_rest + 1);
    /* Who has been greeted may be silent. */
    assert_int_equal(raw_receive(fd, 100, &h, payload, sizeof payload), -1);
    (void)close(fd);
    end(&d);
}

/* A length is a claim: memory grows as bytes come. */
static void claims_cost_no_memory(void **state)
{
    struct wire_header h = {.length = WIRE_PAYLOAD_MAX, .type = WIRE_HELLO};
    uint8_t head[WIRE_HEADER_BYTES];
    int fds[100];
    struct daemon_child d;
    uint64_t before;

    (void)state;
    begin(&d);
    must_serve(&d);
    before = daemon_child_rss(&d);
    wire_header_encode(&h, head);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = raw_connect(&d);
        assert_true(raw_bytes(fds[i], head, sizeof head));
        assert_true(raw_bytes(fds[i], "some", 4));
    }
    must_serve(&d);
    assert_true(daemon_child_rss(&d) < before + ((uint64_t)64 << 20));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
    end(&d);
}

/*
 * Peers that do not read.
 */

static int join(const struct daemon_child *d)
{
    struct wire_open open = {.run = "run", .world_size = 1};
    struct wire_header h;
    struct wr w = {0};
    int fd = raw_connect(d);

    (void)snprintf(open.home, sizeof open.home, "%s", d->home);
    assert_true(raw_hello(fd));
    assert_int_equal(receive(fd, &h), WIRE_HELLO_OK);
    wire_open_encode(&open, &w);
    assert_true(raw_send(fd, WIRE_OPEN, 2, &w));
    assert_int_equal(receive(fd, &h), WIRE_OPEN_OK);
    return fd;
}

/* Asks without reading until the daemon has had enough. */
static void a_peer_that_does_not_read_is_cut_off(void **state)
{
    struct daemon_child d;
    uint64_t before;
    uint32_t asked = 0;
    int fd;

    (void)state;
    begin(&d);
    fd = join(&d);
    must_serve(&d);
    before = daemon_child_rss(&d);
    while (asked < 4000000 && raw_send(fd, WIRE_LIST, 5, NULL))
        asked++;
    assert_true(asked < 4000000);
    assert_true(daemon_child_rss(&d) < before + ((uint64_t)400 << 20));
    (void)close(fd);
    must_serve(&d);
    end(&d);
}

/* It breaks the protocol and does not read what it is told about that: the
 * daemon neither spins nor keeps it. */
static void hanging_up_does_not_wait_for_ever(void **state)
{
    struct daemon_child d;
    struct wire_header h;
    uint64_t before;
    uint32_t at_rest;
    int fd, rc;

    (void)state;
    begin(&d);
    fd = join(&d);
    (void)close(fd);
    at_rest = descriptors_at_rest(&d); /* the home stays */
    fd = join(&d);
    for (int i = 0; i < 20000; i++)
        assert_true(raw_send(fd, WIRE_LIST, 5, NULL));
    assert_true(raw_bytes(fd, "0123456789abcdef", 16));
    before = daemon_child_cpu_ms(&d);
    pause_ms(2000);
    assert_true(daemon_child_cpu_ms(&d) - before < 500);
    assert_int_equal(daemon_child_descriptors(&d), at_rest + 1);
    pause_ms(8000); /* its patience */
    must_come_to(&d, at_rest);
    do
        rc = receive(fd, &h);
    while (rc > 0);
    assert_int_equal(rc, 0);
    (void)close(fd);
    must_serve(&d);
    end(&d);
}

/*
 * Processes.
 */

static int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* HELLO with descriptors. */
static bool hello_with(int fd, const int *fds, int count)
{
    struct wire_hello v = {.magic = WIRE_MAGIC,
                           .low = WIRE_VERSION_LOW,
                           .high = WIRE_VERSION_HIGH};
    struct wire_header h = {.type = WIRE_HELLO, .id = 1};
    struct wr w = {0}, all = {0};
    uint8_t head[WIRE_HEADER_BYTES];
    bool ok;

    wire_hello_encode(&v, &w);
    h.length = (uint32_t)w.bytes;
    wire_header_encode(&h, head);
    wr_bytes(&all, head, sizeof head);
    wr_bytes(&all, w.data, w.bytes);
    ok = raw_descriptors(fd, all.data, all.bytes, fds, count);
    wr_free(&w);
    wr_free(&all);
    return ok;
}

/* A rank whose data loader keeps its socket: connects, gives its pidfd, forks,
 * and dies. The fork tells whether the connection ended. */
static void rank_with_child(const struct daemon_child *d, bool has_pidfd,
                            int report)
{
    struct wire_header h;
    int fd = raw_connect(d), pidfd = pidfd_of(getpid());
    char answer = 'x';

    if (!hello_with(fd, &pidfd, has_pidfd) || receive(fd, &h) != WIRE_HELLO_OK)
        _exit(1);
    if (fork() == 0) {
        int rc = raw_receive(fd, has_pidfd ? SOON_MS : 1000, &h, payload,
                             sizeof payload);

        answer = rc == 0 ? 'e' : 'o'; /* ended, or open */
        if (write(report, &answer, 1) != 1)
            _exit(1);
        _exit(0);
    }
    _exit(0);
}

static char fate_of_orphaned_socket(const struct daemon_child *d,
                                    bool has_pidfd)
{
    int report[2], status;
    char answer = '?';
    pid_t pid;

    assert_int_equal(pipe(report), 0);
    (void)fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        rank_with_child(d, has_pidfd, report[1]);
    (void)close(report[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(report[0], &answer, 1), 1);
    (void)close(report[0]);
    return answer;
}

static void a_death_is_seen_though_a_child_keeps_the_socket(void **state)
{
    struct daemon_child d;

    (void)state;
    begin(&d);
    assert_int_equal(fate_of_orphaned_socket(&d, true), 'e');
    /* Which is why the pidfd is sent: */
    assert_int_equal(fate_of_orphaned_socket(&d, false), 'o');
    must_serve(&d);
    end(&d);
}

static void descriptors_of_others_are_let_go(void **state)
{
    struct daemon_child d;
    struct wire_header h;
    uint32_t before;
    int fds[6], fd, status;
    pid_t other;

    (void)state;
    begin(&d);
    must_serve(&d);
    (void)fflush(NULL);
    other = fork();
    assert_true(other >= 0);
    if (other == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)pause();
        _exit(0);
    }
    fds[0] = pidfd_of(other);
    for (int i = 1; i < 6; i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    before = descriptors_at_rest(&d);
    fd = raw_connect(&d);
    for (int i = 0; i < 50; i++) /* with half a header each time */
        if (!raw_descriptors(fd, "", 1, fds, 6))
            break;
    must_be_refused(fd, -EBADMSG);
    fd = raw_connect(&d);
    assert_true(hello_with(fd, fds, 6));
    assert_int_equal(receive(fd, &h), WIRE_HELLO_OK);
    must_come_to(&d, before + 1);
    /* That process is not this one's. */
    assert_int_equal(kill(other, SIGKILL), 0);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(raw_receive(fd, 300, &h, payload, sizeof payload), -1);
    (void)close(fd);
    for (int i = 0; i < 6; i++)
        (void)close(fds[i]);
    must_serve(&d);
    end(&d);
}

static void other_users_are_refused(void **state)
{
    struct daemon_child d;
    struct stat st;
    int fd;

    (void)state;
    if (geteuid() != 0) {
        print_message("needs root, to act as another user\n");
        skip();
    }
    daemon_child_init(&d);
    d.uid = 65534;
    daemon_child_start(&d);
    fd = raw_connect(&d); /* root is let through to it */
    assert_true(fd >= 0);
    must_be_refused(fd, -EPERM);
    assert_int_equal(stat(d.socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(daemon_child_stop(&d), 0);
    daemon_child_fini(&d);
}

/* A quarter of its descriptors are for connections. */
static void connections_beyond_the_quota_are_told_so(void **state)
{
    struct daemon_child d;
    struct wire_header h;
    int fds[30];

    (void)state;
    daemon_child_init(&d);
    d.descriptors = 80;
    daemon_child_start(&d);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = raw_connect(&d);
    for (size_t i = 20; i < ARRAY_LEN(fds); i++)
        must_be_refused(fds[i], -EUSERS);
    for (size_t i = 0; i < 20; i++) {
        assert_true(raw_hello(fds[i]));
        assert_int_equal(receive(fds[i], &h), WIRE_HELLO_OK);
        (void)close(fds[i]);
    }
    must_serve(&d);
    end(&d);
}

static void running_out_of_descriptors_passes(void **state)
{
    struct daemon_child d;
    struct wire_header h;
    uint64_t before;
    int fds[80], fd;

    (void)state;
    begin(&d);
    must_serve(&d);
    d.descriptors = descriptors_at_rest(&d) + 2; /* less than the quota */
    assert_true(d.descriptors / 4 > 2);
    assert_int_equal(daemon_child_stop(&d), 0);
    daemon_child_start(&d);
    fd = raw_connect(&d);
    assert_true(fd >= 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = raw_connect(&d);
    pause_ms(300);
    before = daemon_child_cpu_ms(&d);
    pause_ms(1000);
    assert_true(daemon_child_cpu_ms(&d) - before < 300);
    assert_true(raw_hello(fd)); /* who is in is served */
    assert_int_equal(receive(fd, &h), WIRE_HELLO_OK);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
    (void)close(fd);
    must_serve(&d);
    end(&d);
}

/*
 * Its own life.
 */

static void it_ends_in_order_at_any_moment(void **state)
{
    (void)state;
    for (long i = 0; i < 40; i++) {
        struct daemon_child d;
        int fd = -1;

        begin(&d);
        if (i % 4 == 0)
            fd = raw_connect(&d);
        if (i % 8 == 0) {
            (void)close(fd);
            fd = join(&d);
        }
        if (i % 4)
            pause_ms(i / 4 * 3);
        if (i % 3 == 0)
            (void)kill(d.pid, i % 2 ? SIGTERM : SIGINT); /* and once more */
        assert_int_equal(daemon_child_stop(&d), 0);
        if (fd >= 0)
            (void)close(fd);
        daemon_child_fini(&d);
    }
}

static void one_daemon_serves_a_store(void **state)
{
    struct daemon_child d, second;

    (void)state;
    begin(&d);
    must_serve(&d);
    second = d;
    daemon_child_start(&second);
    assert_int_equal(daemon_child_wait(&second, SOON_MS), 11);
    must_serve(&d);
    end(&d);
}

static void what_is_at_its_path_is_respected(void **state)
{
    struct daemon_child d, second;
    char file[600], live[400];
    struct stat st;
    int fd;

    (void)state;
    begin(&d);
    must_serve(&d);
    daemon_child_init(&second);
    (void)snprintf(file, sizeof file, "%s/precious", second.dir);
    fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    second.options.socket = file;
    daemon_child_start(&second);
    assert_int_equal(daemon_child_wait(&second, SOON_MS), 200);
    assert_int_equal(stat(file, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    /* Another daemon's: */
    (void)snprintf(live, sizeof live, "%s", d.socket);
    second.options.socket = live;
    daemon_child_start(&second);
    assert_int_equal(daemon_child_wait(&second, SOON_MS), 200);
    must_serve(&d);
    /* A dead one's may go. */
    (void)snprintf(file, sizeof file, "%s/sock", second.dir);
    second.options.socket = file;
    for (int i = 0; i < 2; i++) {
        daemon_child_start(&second);
        must_serve(&second);
        assert_int_equal(kill(second.pid, SIGKILL), 0);
        assert_int_equal(daemon_child_wait(&second, SOON_MS), 300 + SIGKILL);
    }
    daemon_child_fini(&second);
    end(&d);
}

static void a_private_daemon_goes_when_nobody_needs_it(void **state)
{
    struct daemon_child d;
    int fd;

    (void)state;
    daemon_child_init(&d);
    d.options.is_foreground = false;
    d.options.linger_ms = 300;
    daemon_child_start(&d);
    fd = join(&d);
    assert_int_equal(daemon_child_wait(&d, 1000), 1000); /* it is needed */
    (void)close(fd);
    assert_int_equal(daemon_child_wait(&d, SOON_MS), 0);
    assert_int_equal(access(d.socket, F_OK), -1);
    daemon_child_fini(&d);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_bytes_are_refused),
        cmocka_unit_test(noise_does_not_harm),
        cmocka_unit_test(frames_may_come_in_any_pieces),
        cmocka_unit_test(a_frame_that_does_not_become_whole_is_cut_off),
        cmocka_unit_test(claims_cost_no_memory),
        cmocka_unit_test(a_peer_that_does_not_read_is_cut_off),
        cmocka_unit_test(hanging_up_does_not_wait_for_ever),
        cmocka_unit_test(a_death_is_seen_though_a_child_keeps_the_socket),
        cmocka_unit_test(descriptors_of_others_are_let_go),
        cmocka_unit_test(other_users_are_refused),
        cmocka_unit_test(connections_beyond_the_quota_are_told_so),
        cmocka_unit_test(running_out_of_descriptors_passes),
        cmocka_unit_test(it_ends_in_order_at_any_moment),
        cmocka_unit_test(one_daemon_serves_a_store),
        cmocka_unit_test(what_is_at_its_path_is_respected),
        cmocka_unit_test(a_private_daemon_goes_when_nobody_needs_it),
    };

    return cmocka_run_group_tests_name("daemon_peers", tests, NULL, NULL);
}
