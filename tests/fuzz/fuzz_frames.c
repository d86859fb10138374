/*
 * fuzz_frames.c - a stream of bytes as the daemon reads it (frames.c, peers.c)
 * and as a rank does (conn.c), over a real socket, in pieces of any size and
 * with descriptors among them:
 *
 *     u8 seed of the pieces, stream
 *
 * Both sides must find the frames that a plain walk over the stream finds, up
 * to the first that is none; the daemon must take what comes next for a breach
 * exactly there, and keep no descriptor that is not a pidfd of the peer.
 */
#include "tests/fuzz/fuzz.h"

#include "ckptd/daemon/peers.h"
#include "client/conn.h"
#include "common/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Less than a socket holds, so that nobody waits. */
#define STREAM_MAX ((size_t)64 << 10)

/* What was found in a stream. */
struct found {
    uint32_t count;
    uint64_t digest; /* of headers and payloads, in order */
    bool is_broken;
};

static struct found daemon_found;
static struct reactor reactor;

static void found_add(struct found *f, const struct wire_header *h,
                      const void *payload)
{
    uint8_t header[WIRE_HEADER_BYTES];
    uint64_t parts[3];

    wire_header_encode(h, header);
    parts[0] = f->digest;
    parts[1] = hash_64(header, sizeof header);
    parts[2] = hash_64(payload, h->length);
    f->digest = hash_64(parts, sizeof parts);
    f->count++;
}

static struct found walk(const uint8_t *data, size_t bytes)
{
    struct found f = {0};
    struct wire_header h;

    for (size_t at = 0; bytes - at >= WIRE_HEADER_BYTES;) {
        if (wire_header_decode(data + at, &h)) {
            f.is_broken = true;
            break;
        }
        at += WIRE_HEADER_BYTES;
        if (bytes - at < h.length)
            break;
        found_add(&f, &h, data + at);
        at += h.length;
    }
    return f;
}

/*
 * What frames.c and peers.c call of the reactor and the engine.
 */
void engine_frame(struct engine *e, env_peer peer, const struct wire_header *h,
                  const void *payload)
{
    (void)e;
    (void)peer;
    found_add(&daemon_found, h, payload);
}

void engine_peer_new(struct engine *e, env_peer peer)
{
    (void)e;
    (void)peer;
}

void engine_peer_gone(struct engine *e, env_peer peer)
{
    (void)e;
    (void)peer;
}

int reactor_watch(struct reactor *r, struct source *source, uint32_t events)
{
    (void)r;
    (void)source;
    (void)events;
    return 0;
}

int reactor_rewatch(struct reactor *r, struct source *source, uint32_t events)
{
    return reactor_watch(r, source, events);
}

void reactor_unwatch(struct reactor *r, struct source *source)
{
    (void)reactor_watch(r, source, 0);
}

void reactor_timer_set(struct env *env, struct env_timer *t, uint64_t at_ns)
{
    (void)env;
    t->at_ns = at_ns;
}

void reactor_timer_stop(struct env *env, struct env_timer *t)
{
    (void)env;
    t->at_ns = 0;
}

uint64_t reactor_now_ns(struct env *env)
{
    (void)env;
    return 1;
}

/* Descriptors that are open, the first free one tells. */
static int first_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    fuzz_check(fd >= 0);
    (void)close(fd);
    return fd;
}

/* The next piece of a stream, at times with a descriptor that is no pidfd. */
static size_t feed(int fd, const uint8_t *data, size_t bytes, uint32_t *random)
{
    struct conn c = {.fd = fd};
    int64_t n;

    *random = *random * 1664525 + 1013904223;
    bytes = min_u64(bytes, 1 + (*random >> 24) * ((*random >> 20) & 15));
    n = conn_write(&c, data, bytes, (*random & 0x70000) == 0 ? fd : -1);
    fuzz_check(n > 0);
    return (size_t)n;
}

static void pair(int fd[2])
{
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          0, fd) == 0);
}

/* Why it ends. */
static void is_told(int fd)
{
    uint8_t text[WIRE_HEADER_BYTES + ERR_TEXT_BYTES];
    ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);
    struct wire_header h;
    struct wire_error v;

    fuzz_check(n > WIRE_HEADER_BYTES && wire_header_decode(text, &h) == 0);
    fuzz_check(h.type == WIRE_ERROR && h.id == 0 &&
               h.length == (size_t)n - WIRE_HEADER_BYTES);
    fuzz_check(wire_error_decode(text + WIRE_HEADER_BYTES, h.length, &v) == 0);
    fuzz_check(v.code == -EBADMSG);
}

static struct found as_daemon(const uint8_t *data, size_t bytes,
                              uint32_t random)
{
    struct peer *p = calloc(1, sizeof *p);
    struct found f;
    size_t at = 0;
    int fd[2], rc = 0;

    fuzz_check(p);
    pair(fd);
    *p = (struct peer){.reactor = &reactor,
                       .number = 1,
                       .pid_number = getpid(),
                       .socket = {.fd = fd[0]},
                       .pid = {.fd = -1}};
    list_init(&reactor.peers);
    list_init(&p->out);
    list_append(&reactor.peers, &p->link);
    reactor.peer_count = 1;
    daemon_found = (struct found){0};
    while (at < bytes && rc == 0 && !p->is_hanging_up) {
        at += feed(fd[1], data + at, bytes - at, &random);
        rc = peer_receive(p);
        fuzz_check(p->in_capacity <= 2 * (bytes + ((size_t)64 << 10)));
    }
    f = daemon_found;
    f.is_broken = p->is_hanging_up;
    fuzz_check(rc == (f.is_broken ? -ECONNRESET : 0) && p->pid.fd == -1);
    if (f.is_broken)
        is_told(fd[1]);
    (void)close(fd[1]);
    peer_gone(p);
    fuzz_check(reactor.peer_count == 0 && list_is_empty(&reactor.peers));
    return f;
}

static struct found as_rank(const uint8_t *data, size_t bytes, uint32_t random)
{
    struct found f = {0};
    struct frame frame;
    struct conn c;
    size_t at = 0;
    int fd[2], rc = 0;

    pair(fd);
    fuzz_check(conn_init(&c, fd[0]) == 0);
    while (at < bytes && rc >= 0) {
        at += feed(fd[1], data + at, bytes - at, &random);
        do {
            while ((rc = conn_next(&c, &frame)) == 1)
                found_add(&f, &frame.header, frame.payload);
            if (rc == 0)
                rc = conn_read(&c);
        } while (rc > 0);
    }
    /* More descriptors than an arena has are a breach as well. */
    fuzz_check(rc == 0 || rc == -EBADMSG);
    f.is_broken = rc < 0;
    conn_fini(&c);
    (void)close(fd[1]);
    return f;
}

static bool is_same(const struct found *a, const struct found *b)
{
    return a->count == b->count && a->digest == b->digest;
}

void fuzz_one(struct rd *in, size_t bytes)
{
    uint32_t random = rd_u8(in);
    size_t stream_bytes;
    uint8_t *stream = fuzz_exact(in, min_u64(bytes, STREAM_MAX), &stream_bytes);
    struct found want = walk(stream, stream_bytes), daemon, rank;
    int before = first_free();

    /* A header may announce 16 MiB, for which a rank makes room at once: its
     * daemon is its own. */
    fuzz_allocations(0);
    rank = as_rank(stream, stream_bytes, random);
    fuzz_allocations(2);
    daemon = as_daemon(stream, stream_bytes, random);
    fuzz_check(is_same(&daemon, &want) && daemon.is_broken == want.is_broken);
    fuzz_check(rank.is_broken || is_same(&rank, &want));
    fuzz_check(!want.is_broken || rank.is_broken);
    fuzz_check(first_free() == before);
    free(stream);
}
