/*
 * hostile.c - a client of a real daemon that means harm.
 *
 *   hostile SOCKET HOME SEED COUNT
 *
 * COUNT connections, each with one attack that the seed chooses: noise, frames
 * that announce too much, half frames, frames of a known type with noise inside
 * (before a HELLO, after it, and after a rank has joined a run of HOME in all
 * form), fake descriptors beside the bytes. A part of the connections is kept
 * open, silent, until the end. What the daemon answers is thrown away; it must
 * live on, which the caller looks at. Exit status 1 when it cannot be reached.
 */
#include "formats/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define KEPT_MAX      40
#define DESCRIPTORS   8
#define PAYLOAD_NOISE 3000

struct attacker {
    const char *socket, *home;
    uint64_t state;
    int fd;
    int kept[KEPT_MAX];
    uint32_t kept_count;
    uint32_t number; /* of the connection */
};

static uint64_t next(struct attacker *a)
{
    a->state ^= a->state << 13;
    a->state ^= a->state >> 7;
    a->state ^= a->state << 17;
    return a->state;
}

static uint64_t below(struct attacker *a, uint64_t n)
{
    return next(a) % n;
}

static int reach(struct attacker *a)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval limit = {5, 0};

    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", a->socket);
    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        return -errno;
    (void)setsockopt(a->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    (void)setsockopt(a->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(a->fd, (const struct sockaddr *)&to, sizeof to))
        return -errno;
    return 0;
}

/* A daemon that has hung up is fine. */
static void hurl(struct attacker *a, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    while (bytes) {
        ssize_t n = send(a->fd, at, bytes, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        at += n;
        bytes -= (size_t)n;
    }
}

/* With descriptors of no use beside the bytes. */
static void hurl_descriptors(struct attacker *a, const void *data, size_t bytes)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
    } control = {0};
    uint8_t copy[64];
    struct iovec part = {copy, bytes < sizeof copy ? bytes : sizeof copy};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    int fd[DESCRIPTORS];

    memcpy(copy, data, part.iov_len);
    for (int i = 0; i < DESCRIPTORS; i++)
        fd[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), fd, sizeof fd);
    (void)sendmsg(a->fd, &message, MSG_NOSIGNAL);
    for (int i = 0; i < DESCRIPTORS; i++)
        if (fd[i] >= 0)
            (void)close(fd[i]);
}

static void put_frame(struct wr *w, enum wire_type type, const struct wr *body)
{
    struct wire_header h = {
        .length = (uint32_t)body->bytes, .type = (uint16_t)type, .id = 1};
    uint8_t header[WIRE_HEADER_BYTES];

    wire_header_encode(&h, header);
    wr_bytes(w, header, sizeof header);
    wr_bytes(w, body->data, body->bytes);
}

static void put_hello(struct wr *w)
{
    struct wire_hello v = {.magic = WIRE_MAGIC,
                           .low = WIRE_VERSION_LOW,
                           .high = WIRE_VERSION_HIGH};
    struct wr body = {0};

    wire_hello_encode(&v, &body);
    put_frame(w, WIRE_HELLO, &body);
    wr_free(&body);
}

static void put_open(struct attacker *a, struct wr *w)
{
    struct wire_open v = {.world_size = 1,
                          .resume = (uint32_t)below(a, 3),
                          .open_timeout_ms = 1000,
                          .decide_timeout_ms = 1000,
                          .load_timeout_ms = 1000};
    struct wr body = {0};

    (void)snprintf(v.home, sizeof v.home, "%s", a->home);
    (void)snprintf(v.run, sizeof v.run, "hostile");
    (void)snprintf(v.token, sizeof v.token, "hostile-%d-%u", (int)getpid(),
                   a->number);
    wire_open_encode(&v, &body);
    put_frame(w, WIRE_OPEN, &body);
    wr_free(&body);
}

/* Numbers that are small, huge, or anything. */
static void put_noise(struct attacker *a, struct wr *w, size_t bytes)
{
    for (size_t i = 0; i < bytes / 4; i++) {
        uint32_t word = (uint32_t)next(a);

        switch (below(a, 4)) {
        case 0:
            word = (uint32_t)below(a, 4);
            break;
        case 1:
            word = 0;
            break;
        case 2:
            word = UINT32_MAX - (uint32_t)below(a, 3);
            break;
        default:
            break;
        }
        wr_bytes(w, &word, sizeof word);
    }
}

static void put_wild_frame(struct attacker *a, struct wr *w)
{
    struct wr body = {0};

    put_noise(a, &body, below(a, 8) ? below(a, 200) : below(a, PAYLOAD_NOISE));
    put_frame(w, (enum wire_type)(1 + below(a, WIRE_LAST)), &body);
    wr_free(&body);
}

static void put_arena(struct attacker *a, struct wr *w)
{
    struct wire_arena v = {below(a, 2) ? 1 << 20 : UINT64_MAX - below(a, 9)};
    struct wr body = {0};

    wire_arena_encode(&v, &body);
    put_frame(w, WIRE_ARENA, &body);
    wr_free(&body);
}

static void put_huge_header(struct attacker *a, struct wr *w)
{
    uint32_t word[4] = {(uint32_t)(UINT32_MAX - below(a, 1 << 28)),
                        (uint32_t)(1 + below(a, WIRE_LAST)), 0, 0};

    wr_bytes(w, word, sizeof word);
}

static void attack(struct attacker *a)
{
    struct wr w = {0};
    uint64_t kind = below(a, 7);
    size_t bytes;

    if (kind >= 3)
        put_hello(&w);
    if (kind >= 4)
        put_open(a, &w);
    if (kind >= 5)
        put_arena(a, &w);
    if (kind == 0)
        put_noise(a, &w, below(a, 100000));
    else if (kind == 1)
        put_huge_header(a, &w);
    else
        for (uint64_t i = below(a, 20); i > 0; i--)
            put_wild_frame(a, &w);
    if (kind == 6)
        put_huge_header(a, &w);
    if (w.failed)
        abort();
    bytes = below(a, 3) ? w.bytes : below(a, w.bytes + 1);
    if (bytes && below(a, 6) == 0)
        hurl_descriptors(a, w.data, bytes);
    hurl(a, w.data, bytes);
    wr_free(&w);
}

static void part(struct attacker *a)
{
    char answer[4096];

    if (a->kept_count < KEPT_MAX && below(a, 4) == 0) {
        a->kept[a->kept_count++] = a->fd;
        return;
    }
    if (below(a, 2))
        (void)recv(a->fd, answer, sizeof answer, MSG_DONTWAIT);
    (void)close(a->fd);
}

int main(int argc, char **argv)
{
    static struct attacker a;
    uint64_t count;

    if (argc != 5) {
        (void)fprintf(stderr, "usage: hostile SOCKET HOME SEED COUNT\n");
        return 2;
    }
    a.socket = argv[1];
    a.home = argv[2];
    a.state = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15 + 1;
    count = strtoull(argv[4], NULL, 10);
    for (; a.number < count; a.number++) {
        int rc = reach(&a);

        if (rc) {
            (void)printf("connection %u: %s\n", a.number, strerror(-rc));
            return 1;
        }
        attack(&a);
        part(&a);
    }
    for (uint32_t i = 0; i < a.kept_count; i++)
        (void)close(a.kept[i]);
    (void)printf("%u attacks\n", a.number);
    return 0;
}
