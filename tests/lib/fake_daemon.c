/*
 * fake_daemon.c - see fake_daemon.h. Messages in, replies and events out; the
 * store of saves and the loads from it are fake_store.c.
 */
#include "tests/lib/fake_daemon_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const struct patience for_ever = {UINT64_MAX, -1};

static void nap(uint32_t ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

    (void)nanosleep(&t, NULL);
}

/* Ends the connection quietly: the peer may be gone. */
static void put_bytes(struct fake *f, const struct wr *w)
{
    size_t step = f->o.is_split ? 1 : w->bytes, at = 0;
    struct wr part;

    if (f->o.delay_ms)
        nap(f->o.delay_ms);
    assert(!w->failed);
    for (; at < w->bytes && !f->is_over; at += step) {
        part = (struct wr){.data = w->data + at, .bytes = step};
        if (conn_send_all(&f->conn, &part, -1, &for_ever))
            f->is_over = true;
        if (at > 2000)
            step = w->bytes - at; /* long frames: the beginning will do */
    }
}

void fake_send(struct fake *f, enum wire_type type, uint64_t id,
               const struct wr *payload)
{
    struct wr w = {0};
    size_t begin = frame_begin(&w, type, 0, id);

    if (payload)
        wr_bytes(&w, payload->data, payload->bytes);
    if (frame_end(&w, begin))
        abort();
    put_bytes(f, &w);
    wr_free(&w);
}

void fake_refuse(struct fake *f, uint64_t id, int code, const char *text)
{
    struct wire_error v = {.code = code};
    struct wr w = {0};

    (void)strncpy(v.text, text, sizeof v.text - 1);
    wire_error_encode(&v, &w);
    fake_send(f, WIRE_ERROR, id, &w);
    wr_free(&w);
}

static void on_hello(struct fake *f, const struct frame *in)
{
    struct wire_hello v;
    struct wire_hello_ok ok = {.version = 1,
                               .features =
                                   f->o.is_old ? 0 : WIRE_FEATURE_REMOTE,
                               .mode = "fake: survives nothing"};
    struct wr w = {0};
    int fds[WIRE_PIECES_MAX];
    uint32_t count = conn_take_fds(&f->conn, fds);

    for (uint32_t i = 0; i < count; i++)
        (void)close(fds[i]);
    assert(count == 1);
    assert(wire_hello_decode(in->payload, in->header.length, &v) == 0);
    wire_hello_ok_encode(&ok, &w);
    fake_send(f, WIRE_HELLO_OK, in->header.id, &w);
    wr_free(&w);
}

static void on_open(struct fake *f, const struct frame *in)
{
    struct wire_open_ok ok = {.generation = f->generation};
    struct wr w = {0};

    assert(wire_open_decode(in->payload, in->header.length, &f->open) == 0);
    if (!f->open.rejoin || f->generation == 0) {
        ok.generation = ++f->generation;
        f->parent = fake_newest(f);
    }
    ok.parent = f->parent;
    wire_open_ok_encode(&ok, &w);
    fake_send(f, WIRE_OPEN_OK, in->header.id, &w);
    wr_free(&w);
}

static int make_piece(struct fake *f, uint32_t i, uint64_t bytes)
{
    int fd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    if (!f->o.is_unsealed &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        abort();
    f->base[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert(f->base[i] != MAP_FAILED);
    return fd;
}

static void send_fds(struct fake *f, const struct wr *w, const int *fds,
                     uint32_t count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {w->data, w->bytes};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = CMSG_SPACE(sizeof(int) * count)};

    control.align.cmsg_level = SOL_SOCKET;
    control.align.cmsg_type = SCM_RIGHTS;
    control.align.cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * count);
    if (sendmsg(f->conn.fd, &m, MSG_NOSIGNAL) != (ssize_t)w->bytes)
        f->is_over = true;
}

/* Half of the slots in each of two pieces. */
static void on_arena(struct fake *f, const struct frame *in)
{
    struct wire_arena_ok *a = &f->arena;
    uint64_t slot = PAGE_BYTES + f->o.chunk_bytes;
    uint32_t first, slots = f->o.slot_count;
    struct wr w = {0};
    size_t begin;
    int fds[2];

    if (f->has_arena)
        slots = f->o.slots_later;
    if (slots == 0) {
        fake_refuse(f, in->header.id, -EBUSY, "fake: no larger arena");
        return;
    }
    first = slots / 2;
    f->has_arena = true;
    fake_unmap(f);
    *a = (struct wire_arena_ok){
        .chunk_bytes = f->o.chunk_bytes, .piece_count = 2, .slot_count = slots};
    a->piece_bytes[0] = PAGE_BYTES + first * slot;
    a->piece_bytes[1] = (slots - first) * slot;
    for (uint32_t i = 0; i < 2; i++)
        fds[i] = make_piece(f, i, a->piece_bytes[i]);
    memset(f->is_free, 1, sizeof f->is_free);
    begin = frame_begin(&w, WIRE_ARENA_OK, 0, in->header.id);
    wire_arena_ok_encode(a, &w);
    if (frame_end(&w, begin))
        abort();
    send_fds(f, &w, fds, 2);
    wr_free(&w);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void on_table(struct fake *f, const struct frame *in)
{
    struct wire_table v;
    struct wr *t;

    assert(wire_table_decode(in->payload, in->header.length, &v) == 0);
    assert(v.number < FAKE_TABLES);
    t = &f->table[v.number];
    if (!f->is_more)
        wr_free(t);
    wr_bytes(t, v.data, v.bytes);
    f->is_more = in->header.flags & WIRE_FLAG_MORE;
    if (!f->is_more)
        fake_send(f, WIRE_TABLE_OK, in->header.id, NULL);
}

static void handle(struct fake *f, const struct frame *in)
{
    switch (in->header.type) {
    case WIRE_HELLO:
        on_hello(f, in);
        break;
    case WIRE_OPEN:
        on_open(f, in);
        break;
    case WIRE_ARENA:
        on_arena(f, in);
        break;
    case WIRE_TABLE:
        on_table(f, in);
        break;
    case WIRE_CLOSE:
        fake_send(f, WIRE_CLOSE_OK, in->header.id, NULL);
        break;
    default:
        fake_store_handle(f, in);
    }
}

static void send_late_ok(struct fake *f)
{
    const struct wire_save_ok v = {FAKE_LATE_NUMBER, {1, 1, 1}};
    struct wr w = {0};

    wire_save_ok_encode(&v, &w);
    fake_send(f, WIRE_SAVE_OK, UINT64_MAX, &w);
    wr_free(&w);
}

/* True: it was done, do not handle the message. */
static bool do_mischief(struct fake *f, const struct frame *in)
{
    uint8_t noise[256];
    struct wr w = {.data = noise, .bytes = sizeof noise};

    if (f->connection != 1 || in->header.type != f->o.at ||
        f->seen[in->header.type] != f->o.at_count)
        return false;
    switch (f->o.mischief) {
    case FAKE_DIES:
        f->is_over = true;
        return true;
    case FAKE_DIES_FOR_GOOD:
        f->is_over = f->is_stopping = true;
        (void)unlink(f->path);
        return true;
    case FAKE_GARBAGE:
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)(i * 167 + 91);
        put_bytes(f, &w);
        f->is_over = true;
        return true;
    case FAKE_REFUSES:
        fake_refuse(f, in->header.id, f->o.refusal, "fake: refused");
        return true;
    case FAKE_ABORTS:
        f->is_aborting = true;
        return false;
    case FAKE_LATE_OK:
        send_late_ok(f);
        return false;
    case FAKE_STALLS:
        f->is_stalled = true;
        return true;
    default:
        return false;
    }
}

static void serve(struct fake *f)
{
    struct pollfd fds[2] = {{f->conn.fd, POLLIN, 0}, {f->quit[0], POLLIN, 0}};
    struct frame in;
    int rc;

    while (!f->is_over) {
        rc = conn_next(&f->conn, &in);
        if (rc == 0)
            rc = conn_read(&f->conn) < 0 ? -1 : conn_next(&f->conn, &in);
        if (rc < 0)
            return;
        if (rc == 0) {
            if (poll(fds, 2, -1) < 0 || fds[1].revents)
                return;
            continue;
        }
        (void)pthread_mutex_lock(&f->lock);
        f->seen[in.header.type]++;
        if (!f->is_stalled && !do_mischief(f, &in))
            handle(f, &in);
        if (!f->is_stalled && !f->is_over)
            fake_store_pump(f);
        (void)pthread_mutex_unlock(&f->lock);
    }
}

static void *fake_main(void *arg)
{
    struct fake *f = arg;
    struct pollfd fds[2] = {{f->listener, POLLIN, 0}, {f->quit[0], POLLIN, 0}};

    while (!f->is_stopping && poll(fds, 2, -1) >= 0 && !fds[1].revents) {
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0 || conn_init(&f->conn, fd))
            break;
        f->connection++;
        f->is_over = f->is_stalled = f->is_aborting = f->is_more = false;
        f->has_arena = false;
        serve(f);
        (void)pthread_mutex_lock(&f->lock); /* fake_hang_up() */
        conn_fini(&f->conn);
        (void)pthread_mutex_unlock(&f->lock);
        fake_store_hang_up(f);
    }
    (void)close(f->listener);
    return NULL;
}

struct fake *fake_start(const char *socket_path, const struct fake_options *o)
{
    struct fake *f = calloc(1, sizeof *f);
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    assert(f && strlen(socket_path) < sizeof at.sun_path);
    f->o = *o;
    if (!f->o.chunk_bytes)
        f->o.chunk_bytes = CHUNK_BYTES_MIN;
    if (!f->o.slot_count)
        f->o.slot_count = 4;
    if (!f->o.stop_at)
        f->o.stop_at = WIRE_STATE_COMMITTED;
    assert(f->o.slot_count <= FAKE_SLOTS && f->o.slots_later <= FAKE_SLOTS);
    list_init(&f->saves);
    (void)pthread_mutex_init(&f->lock, NULL);
    memcpy(f->path, socket_path, strlen(socket_path) + 1);
    memcpy(at.sun_path, socket_path, strlen(socket_path) + 1);
    (void)unlink(socket_path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(f->listener, (struct sockaddr *)&at, sizeof at) ||
        listen(f->listener, 8) || pipe2(f->quit, O_CLOEXEC) ||
        pthread_create(&f->thread, NULL, fake_main, f))
        abort();
    return f;
}

void fake_stop(struct fake *f)
{
    (void)close(f->quit[1]);
    (void)pthread_join(f->thread, NULL);
    (void)close(f->quit[0]);
    (void)unlink(f->path);
    fake_store_fini(f);
    fake_unmap(f);
    for (size_t i = 0; i < FAKE_TABLES; i++)
        wr_free(&f->table[i]);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

void fake_unmap(struct fake *f)
{
    for (uint32_t i = 0; i < f->arena.piece_count; i++)
        (void)munmap(f->base[i], f->arena.piece_bytes[i]);
    f->arena.piece_count = 0;
}

uint32_t fake_count(struct fake *f, enum wire_type type)
{
    uint32_t count;

    (void)pthread_mutex_lock(&f->lock);
    count = f->seen[type];
    (void)pthread_mutex_unlock(&f->lock);
    return count;
}

uint64_t fake_chunk_count(struct fake *f)
{
    uint64_t count;

    (void)pthread_mutex_lock(&f->lock);
    count = f->chunks_taken;
    (void)pthread_mutex_unlock(&f->lock);
    return count;
}

void fake_hang_up(struct fake *f)
{
    (void)pthread_mutex_lock(&f->lock);
    (void)shutdown(f->conn.fd, SHUT_RDWR);
    (void)pthread_mutex_unlock(&f->lock);
}

void fake_set_stop_at(struct fake *f, uint32_t state)
{
    (void)pthread_mutex_lock(&f->lock);
    f->o.stop_at = state;
    (void)pthread_mutex_unlock(&f->lock);
}
