/*
 * objects.c - blobs from memory into a home in RADOS and back, driven line by
 * line, so that run.py can let it and `rados bench` take turns.
 *
 *   objects OBJECT_BYTES COUNT DEPTH     on the home CKPT_TEST_RADOS
 *
 * A line of standard input is one command on COUNT objects, DEPTH of them under
 * way at once, answered by "ok SECONDS CPU_SECONDS" (the latter of all threads
 * of this process) or "error WORDS" and the end:
 *
 *   send     create them, under names that there were not, and do not read
 *            them back
 *   put      the same with reading back, as everybody else has it
 *   get      read those; every byte is compared afterwards
 *   remove   remove those
 *
 * Each object is seeded Gaussian bf16, and each time from another place of a
 * longer row of numbers, so that nothing is in a cache already.
 */
#include "common/bytes.h"
#include "storage/store.h"
#include "tests/bench/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define SHIFT  ((size_t)4096)
#define ROUNDS 64

struct slot {
    struct store_req req;
    struct objects *all;
    char name[64];
};

struct objects {
    struct store *store, *sender;
    size_t bytes, count, depth;
    uint8_t *row;    /* count * bytes + ROUNDS * SHIFT of numbers */
    uint8_t *target; /* count * bytes */
    uint64_t round;
    struct slot *slot; /* depth of them */
    enum store_op op;
    struct store *used;
    size_t begun, ended;
    int64_t failed; /* the first error */
    double seconds, cpu_seconds;
    struct err err;
};

static double cpu_seconds(void)
{
    struct rusage used;

    (void)getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static uint8_t *content(const struct objects *o, size_t i)
{
    return o->row + i * o->bytes + o->round % ROUNDS * SHIFT;
}

static void slot_start(struct slot *slot)
{
    struct objects *o = slot->all;
    size_t i = o->begun++;

    (void)snprintf(slot->name, sizeof slot->name, "bench/%" PRIu64 "/%zu",
                   o->round, i);
    slot->req.name = slot->name;
    slot->req.len = o->op == STORE_BLOB_REMOVE ? 0 : o->bytes;
    slot->req.buf =
        o->op == STORE_BLOB_PUT ? content(o, i) : o->target + i * o->bytes;
    store_submit(o->used, &slot->req);
}

static void slot_done(struct store_req *req, int64_t result)
{
    struct slot *slot = container_of(req, struct slot, req);
    struct objects *o = slot->all;
    int64_t wanted = o->op == STORE_BLOB_GET ? (int64_t)o->bytes : 0;

    o->ended++;
    if (result != wanted && o->failed == 0)
        o->failed = result < 0 ? result : -EIO;
    if (o->begun < o->count)
        slot_start(slot);
}

static int run(struct objects *o, struct store *store, enum store_op op)
{
    double began = now(), cpu_began = cpu_seconds();

    o->used = store;
    o->op = op;
    o->begun = o->ended = 0;
    for (size_t i = 0; i < o->depth && i < o->count; i++) {
        o->slot[i] = (struct slot){.all = o};
        o->slot[i].req.op = op;
        o->slot[i].req.done = slot_done;
        slot_start(&o->slot[i]);
    }
    while (o->ended < o->count) {
        if (store_poll(store, -1) == -EINTR)
            continue;
    }
    o->seconds = now() - began;
    o->cpu_seconds = cpu_seconds() - cpu_began;
    return (int)o->failed;
}

static int get(struct objects *o)
{
    int rc;

    memset(o->target, 1, o->count * o->bytes);
    rc = run(o, o->store, STORE_BLOB_GET);
    for (size_t i = 0; i < o->count && rc == 0; i++) {
        if (memcmp(o->target + i * o->bytes, content(o, i), o->bytes) != 0)
            rc = -EILSEQ;
    }
    return rc;
}

static int obey(struct objects *o, const char *line)
{
    bool is_sent = strcmp(line, "send\n") == 0;

    if (is_sent || strcmp(line, "put\n") == 0) {
        o->round++;
        return run(o, is_sent ? o->sender : o->store, STORE_BLOB_PUT);
    }
    if (strcmp(line, "get\n") == 0)
        return get(o);
    if (strcmp(line, "remove\n") == 0)
        return run(o, o->store, STORE_BLOB_REMOVE);
    return -EINVAL;
}

static int objects_init(struct objects *o, char **argument)
{
    const struct store_rados_options unread = {.puts_unread = true};
    const unsigned flags = STORE_OPEN_WRITE | STORE_OPEN_CREATE;
    const char *home = getenv("CKPT_TEST_RADOS");
    int rc;

    o->bytes = strtoull(argument[0], NULL, 10);
    o->count = strtoull(argument[1], NULL, 10);
    o->depth = strtoull(argument[2], NULL, 10);
    if (!home || o->bytes == 0 || o->count == 0 || o->depth == 0)
        return -EINVAL;
    o->row = memory(o->count * o->bytes + ROUNDS * SHIFT);
    o->target = memory(o->count * o->bytes);
    o->slot = calloc(o->depth, sizeof *o->slot);
    if (!o->row || !o->target || !o->slot)
        return -ENOMEM;
    fill_gaussian(o->row, o->count * o->bytes + ROUNDS * SHIFT);
    rc = store_rados_open(home, flags, NULL, &o->store, &o->err);
    if (rc == 0)
        rc = store_rados_open(home, flags, &unread, &o->sender, &o->err);
    return rc;
}

int main(int argc, char **argv)
{
    static struct objects o;
    char line[64];
    int rc;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: objects OBJECT_BYTES COUNT DEPTH\n");
        return 2;
    }
    rc = objects_init(&o, argv + 1);
    if (rc == 0)
        (void)printf("ok\n");
    (void)fflush(stdout);
    while (rc == 0 && fgets(line, sizeof line, stdin)) {
        rc = obey(&o, line);
        if (rc == 0)
            (void)printf("ok %.9f %.9f\n", o.seconds, o.cpu_seconds);
        (void)fflush(stdout);
    }
    if (rc)
        (void)printf("error %s\n", o.err.text[0] ? o.err.text : err_text(rc));
    store_close(o.sender);
    store_close(o.store);
    free(o.slot);
    return rc ? 1 : 0;
}
