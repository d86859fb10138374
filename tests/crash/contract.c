/*
 * contract.c - scenes of the file store alone: what storage/store.h promises of
 * names and syncs holds in every state that a crash may leave.
 *
 * Two stores, as two processes have them, share a folder. What they were
 * answered is noted with the length of the disk's log; then each state of each
 * point is looked into, without any recovery.
 */
#include "tests/crash/contract.h"

#include "storage/store_file.h"
#include "tests/crash/states.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORES      2
#define FOLDER      "s"
#define RECORDS     3
#define PUT_BYTES   3000
#define SEG_BYTES   (8 * PAGE_BYTES)
#define SCENE_STEPS 32 /* a creation has fewer */
#define TRIM_BYTES  (4 * PAGE_BYTES)

struct bench {
    struct disk *disk;
    struct store *store[STORES];
    struct fileio *io[STORES];
};

/* One request, and what came of it. */
struct asked {
    struct store_req req;
    struct disk *disk;
    char name[64];
    uint32_t begun, answered; /* operations by then; DISK_NEVER */
};

static void on_done(struct store_req *req, int64_t result)
{
    struct asked *a = req->owner;

    (void)result;
    a->answered = a->disk->op_count;
}

static void ask(struct bench *b, uint32_t store, struct asked *a)
{
    a->disk = b->disk;
    a->begun = b->disk->op_count;
    a->answered = DISK_NEVER;
    a->req.done = on_done;
    a->req.owner = a;
    if (a->name[0])
        a->req.name = a->name;
    store_submit(b->store[store], &a->req);
}

static void wait_for_all(struct bench *b)
{
    for (uint32_t i = 0; i < STORES; i++) {
        while (b->store[i]->inflight > 0 ||
               !list_is_empty(&b->store[i]->finished)) {
            int rc = store_poll(b->store[i], 0);

            assert(rc == 0);
            rc = store_poll(b->store[(i + 1) % STORES], 0);
            assert(rc == 0);
        }
    }
}

static int64_t asked_alone(struct bench *b, struct asked *a)
{
    ask(b, 0, a);
    wait_for_all(b);
    assert(a->answered != DISK_NEVER);
    return a->req.result;
}

static void open_store(struct bench *b, uint32_t i, uint64_t seed)
{
    struct err err = {0};
    int rc;

    b->disk->process = i;
    b->io[i] = disk_io_new(b->disk, i, seed);
    rc = store_file_open_on(DISK_PATH "/" FOLDER,
                            STORE_OPEN_WRITE | STORE_OPEN_CREATE, b->io[i],
                            &b->store[i], &err);
    assert(rc == 0);
}

static void bench_begin(struct bench *b, uint64_t seed, bool has_no_tmpfile,
                        bool is_nfs)
{
    *b = (struct bench){.disk = disk_new(seed, NULL)};
    b->disk->has_no_tmpfile = has_no_tmpfile;
    b->disk->is_nfs = is_nfs;
    b->disk->writes_short = true;
    (void)disk_the(b->disk);
    disk_record(b->disk);
    for (uint32_t i = 0; i < STORES; i++)
        open_store(b, i, seed * STORES + i);
}

static void bench_close(struct bench *b)
{
    for (uint32_t i = 0; i < STORES; i++)
        store_close(b->store[i]);
    disk_log_end(b->disk);
}

static void bench_end(struct bench *b)
{
    (void)disk_the(NULL);
    disk_free(b->disk);
}

/*
 * Looking into what is left.
 */

static const struct disk_node *look(const struct image *left, const char *name)
{
    char path[128], *at = path, *part;
    uint32_t node = 0;

    (void)snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    while ((part = strsep(&at, "/")) && node != UINT32_MAX)
        node = image_find(left, node, part);
    return node == UINT32_MAX ? NULL : &left->node[node];
}

typedef bool (*look_fn)(const struct image *left, uint32_t at, void *arg,
                        char why[WHY_BYTES]);

/* All states; up to a number of one point. */
static bool look_at_all(const struct disk *disk, look_fn holds, void *arg,
                        char why[WHY_BYTES])
{
    struct disk_walk w;
    bool ok = true;

    disk_walk_begin(&w, disk);
    while (ok && disk_walk_next(&w)) {
        uint64_t count = min_u64(states_count(&w), 64);

        for (uint64_t i = 0; ok && i < count; i++) {
            struct image left;

            state_make(&w, i, &left);
            ok = holds(&left, w.at, arg, why);
            image_free(&left);
        }
    }
    disk_walk_end(&w);
    return ok;
}

/*
 * Names: both stores create the same records at once, and then remove them.
 */

struct names {
    struct asked put[RECORDS][STORES], removed[RECORDS][STORES];
};

static bool name_holds(const struct image *left, uint32_t at,
                       const struct names *n, uint32_t i, char why[WHY_BYTES])
{
    const struct asked *put = n->put[i], *removed = n->removed[i];
    const struct disk_node *node = look(left, put[0].name);
    bool must_be = (put[0].answered <= at || put[1].answered <= at) &&
                   removed[0].begun > at && removed[1].begun > at;
    bool must_not = removed[0].answered <= at || removed[1].answered <= at;
    uint8_t byte[PUT_BYTES];

    if (must_be && !node)
        (void)snprintf(why, WHY_BYTES, "%s was answered as there, and is not",
                       put[0].name);
    else if (must_not && node)
        (void)snprintf(why, WHY_BYTES, "%s was answered as gone, and is not",
                       put[0].name);
    if (must_be ? !node : must_not && node)
        return false;
    if (!node)
        return true;
    if (content_size(node->content) == PUT_BYTES) {
        content_read(node->content, 0, byte, PUT_BYTES);
        for (uint32_t k = 0; k < STORES; k++)
            if (memcmp(byte, put[k].req.buf, PUT_BYTES) == 0)
                return true;
    }
    (void)snprintf(why, WHY_BYTES, "%s is not whole", put[0].name);
    return false;
}

static bool names_hold(const struct image *left, uint32_t at, void *arg,
                       char why[WHY_BYTES])
{
    for (uint32_t i = 0; i < RECORDS; i++)
        if (!name_holds(left, at, arg, i, why))
            return false;
    return true;
}

static struct names *names_play(struct bench *b)
{
    static uint8_t bytes[STORES][PUT_BYTES];
    struct names *n = calloc(1, sizeof *n);

    assert(n);
    for (uint32_t k = 0; k < STORES; k++)
        memset(bytes[k], 'a' + (int)k, PUT_BYTES);
    for (uint32_t i = 0; i < RECORDS; i++) {
        for (uint32_t k = 0; k < STORES; k++) {
            struct asked *a = &n->put[i][k];

            (void)snprintf(a->name, sizeof a->name, "of/%u/record", i);
            n->removed[i][k] = *a;
            a->req = (struct store_req){
                .op = STORE_PUT, .buf = bytes[k], .len = PUT_BYTES};
            ask(b, k, a);
        }
    }
    wait_for_all(b);
    for (uint32_t i = 0; i < RECORDS; i++) {
        for (uint32_t k = 0; k < STORES; k++) {
            n->removed[i][k].req = (struct store_req){.op = STORE_REMOVE};
            ask(b, k, &n->removed[i][k]);
        }
    }
    wait_for_all(b);
    return n;
}

bool contract_names(uint64_t seed, char why[WHY_BYTES])
{
    struct bench b;
    struct names *n;
    bool ok = true;

    bench_begin(&b, seed, false, false);
    n = names_play(&b);
    bench_close(&b);
    for (uint32_t i = 0; i < RECORDS && ok; i++) {
        ok = n->put[i][0].req.result == 0 ? n->put[i][1].req.result == -EEXIST
                                          : n->put[i][1].req.result == 0;
        if (!ok)
            (void)snprintf(why, WHY_BYTES, "two have created %s",
                           n->put[i][0].name);
    }
    ok = ok && look_at_all(b.disk, names_hold, n, why);
    free(n);
    bench_end(&b);
    return ok;
}

/* The answer to a link gets lost, as on NFS: what is there is ours all the
 * same, and nobody else's. */
static bool lost_answer(uint64_t seed, bool is_nfs, char why[WHY_BYTES])
{
    static uint8_t bytes[PUT_BYTES];
    struct asked a = {.name = "of/record"}, again = a;
    int64_t first, second;
    struct bench b;

    bench_begin(&b, seed, is_nfs || seed % 2, is_nfs);
    b.disk->lost_links = 1;
    a.req = again.req =
        (struct store_req){.op = STORE_PUT, .buf = bytes, .len = PUT_BYTES};
    first = asked_alone(&b, &a);
    second = asked_alone(&b, &again);
    bench_close(&b);
    bench_end(&b);
    (void)snprintf(why, WHY_BYTES,
                   "who created it is told %" PRIi64
                   ", and who comes later %" PRIi64,
                   first, second);
    return first == 0 && second == -EEXIST;
}

bool contract_lost_answer(uint64_t seed, char why[WHY_BYTES])
{
    return lost_answer(seed, false, why);
}

/* Nor does the link count tell. */
bool contract_lost_answer_nfs(uint64_t seed, char why[WHY_BYTES])
{
    return lost_answer(seed, true, why);
}

/*
 * Segments.
 */

struct segment_play {
    struct asked create, write, sync, trim, sync_again;
    uint8_t *page;
};

static bool segment_holds(const struct image *left, uint32_t at, void *arg,
                          char why[WHY_BYTES])
{
    const struct segment_play *p = arg;
    const struct disk_node *node = look(left, p->create.name);
    uint64_t size = node ? content_size(node->content) : 0;
    uint8_t found[2 * PAGE_BYTES];

    if (p->create.answered > at)
        return true;
    if (!node || (p->trim.begun > at && size != SEG_BYTES)) {
        (void)snprintf(why, WHY_BYTES, "a new segment has %" PRIu64 " bytes",
                       size);
        return false;
    }
    if (p->sync_again.answered <= at && size != TRIM_BYTES) {
        (void)snprintf(why, WHY_BYTES,
                       "a trimmed segment has %" PRIu64 " bytes", size);
        return false;
    }
    if (p->sync.answered > at)
        return true;
    content_read(node->content, PAGE_BYTES, found, sizeof found);
    if (memcmp(found, p->page, sizeof found) == 0)
        return true;
    (void)snprintf(why, WHY_BYTES, "what was synced is not there");
    return false;
}

static void seg_ask(struct bench *b, struct asked *a, struct store_req req)
{
    int64_t result;

    a->req = req;
    result = asked_alone(b, a);
    assert(result >= 0);
}

bool contract_segments(uint64_t seed, char why[WHY_BYTES])
{
    struct segment_play p = {.page = aligned_alloc(PAGE_BYTES, 2 * PAGE_BYTES)};
    struct store_seg *seg;
    struct bench b;
    bool ok;

    assert(p.page);
    memset(p.page, 's', 2 * PAGE_BYTES);
    bench_begin(&b, seed, false, false);
    (void)snprintf(p.create.name, sizeof p.create.name, "seg/000001");
    p.trim.begun = p.sync.answered = p.sync_again.answered = DISK_NEVER;
    seg_ask(&b, &p.create,
            (struct store_req){.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .len = SEG_BYTES});
    seg = p.create.req.seg;
    seg_ask(&b, &p.write,
            (struct store_req){.op = STORE_WRITE,
                               .seg = seg,
                               .buf = p.page,
                               .len = 2 * PAGE_BYTES,
                               .off = PAGE_BYTES});
    seg_ask(&b, &p.sync, (struct store_req){.op = STORE_SYNC, .seg = seg});
    seg_ask(&b, &p.trim,
            (struct store_req){
                .op = STORE_SEG_TRIM, .seg = seg, .len = TRIM_BYTES});
    seg_ask(&b, &p.sync_again,
            (struct store_req){.op = STORE_SYNC, .seg = seg});
    bench_close(&b);
    ok = look_at_all(b.disk, segment_holds, &p, why);
    free(p.page);
    bench_end(&b);
    return ok;
}

/* The other process is killed while it creates a segment, after any of its
 * steps; we find the name, write, and sync: it is there for good. */
bool contract_adopted(uint64_t seed, char why[WHY_BYTES])
{
    struct segment_play p = {.page = aligned_alloc(PAGE_BYTES, 2 * PAGE_BYTES)};
    struct asked made = {.name = "seg/000001"};
    struct bench b;
    bool ok = true;

    assert(p.page);
    memset(p.page, 's', 2 * PAGE_BYTES);
    p.trim.begun = p.sync.answered = p.sync_again.answered = DISK_NEVER;
    bench_begin(&b, seed, false, false);
    made.req = (struct store_req){.op = STORE_SEG_OPEN,
                                  .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                                  .len = SEG_BYTES};
    ask(&b, 1, &made);
    for (uint64_t i = 0; i < seed % SCENE_STEPS && b.store[1]->inflight > 0;
         i++)
        (void)!store_poll(b.store[1], 0);
    disk_io_kill(b.io[1]);
    disk_process_kill(b.disk, 1);
    p.create = made;
    p.create.req.flags = STORE_SEG_WRITE;
    if (asked_alone(&b, &p.create) >= 0) {
        seg_ask(&b, &p.write,
                (struct store_req){.op = STORE_WRITE,
                                   .seg = p.create.req.seg,
                                   .buf = p.page,
                                   .len = 2 * PAGE_BYTES,
                                   .off = PAGE_BYTES});
        seg_ask(&b, &p.sync,
                (struct store_req){.op = STORE_SYNC, .seg = p.create.req.seg});
    }
    bench_close(&b);
    if (p.sync.answered != DISK_NEVER)
        ok = look_at_all(b.disk, segment_holds, &p, why);
    free(p.page);
    bench_end(&b);
    return ok;
}

/* The other process removes a segment while we open it: after any of our
 * steps. */
bool contract_removed(uint64_t seed, char why[WHY_BYTES])
{
    struct asked a = {.name = "seg/000001"}, removed = a, shut = {.name = ""};
    struct bench b;
    bool ok;

    bench_begin(&b, seed, false, false);
    seg_ask(&b, &a,
            (struct store_req){.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .len = SEG_BYTES});
    seg_ask(&b, &shut,
            (struct store_req){.op = STORE_SEG_CLOSE, .seg = a.req.seg});
    a.req = (struct store_req){.op = STORE_SEG_OPEN, .flags = STORE_SEG_WRITE};
    ask(&b, 0, &a);
    for (uint64_t i = 0; i < seed % 8 && b.store[0]->inflight > 0; i++)
        (void)!store_poll(b.store[0], 0);
    ok = b.store[0]->inflight == 0; /* it was quicker */
    removed.req = (struct store_req){.op = STORE_SEG_REMOVE};
    ask(&b, 1, &removed);
    while (removed.answered == DISK_NEVER)
        (void)!store_poll(b.store[1], 0);
    wait_for_all(&b);
    ok = ok || a.req.result == -ENOENT;
    (void)snprintf(why, WHY_BYTES,
                   "a segment that was removed before it was ours is opened: "
                   "%" PRIi64,
                   (int64_t)a.req.result);
    bench_close(&b);
    bench_end(&b);
    return ok;
}

/* A sync that failed is never followed by one that succeeds. */
bool contract_failed_sync(uint64_t seed, char why[WHY_BYTES])
{
    struct asked a = {.name = "seg/000001"}, io = {.name = ""};
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct bench b;
    int64_t first, second;

    assert(page);
    memset(page, 's', PAGE_BYTES);
    bench_begin(&b, seed, false, false);
    seg_ask(&b, &a,
            (struct store_req){.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .len = SEG_BYTES});
    seg_ask(&b, &io,
            (struct store_req){.op = STORE_WRITE,
                               .seg = a.req.seg,
                               .buf = page,
                               .len = PAGE_BYTES});
    b.disk->fail_syncs = 1;
    io.req = (struct store_req){.op = STORE_SYNC, .seg = a.req.seg};
    first = asked_alone(&b, &io);
    io.req = (struct store_req){.op = STORE_SYNC, .seg = a.req.seg};
    second = asked_alone(&b, &io);
    bench_close(&b);
    bench_end(&b);
    free(page);
    (void)snprintf(why, WHY_BYTES,
                   "a sync after one that failed (%" PRIi64
                   ") answers %" PRIi64,
                   first, second);
    return first == -EIO && second == -EIO;
}

/* Two new segments share a folder, and one sync of it fails: whoever is told
 * that its name is durable must find it. */
bool contract_failed_folder(uint64_t seed, char why[WHY_BYTES])
{
    struct asked first = {.name = "seg/000001"};
    struct segment_play p[2] = {0};
    struct bench b;
    bool ok = true;

    bench_begin(&b, seed, false, false);
    seg_ask(&b, &first,
            (struct store_req){.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .len = SEG_BYTES});
    b.disk->fail_folder_syncs = 1;
    for (uint32_t i = 0; i < ARRAY_LEN(p); i++) {
        struct asked *a = &p[i].create;

        p[i].trim.begun = p[i].sync.answered = p[i].sync_again.answered =
            DISK_NEVER;
        (void)snprintf(a->name, sizeof a->name, "seg/00001%u", i);
        a->req = first.req;
        ask(&b, 0, a);
    }
    wait_for_all(&b);
    bench_close(&b);
    for (uint32_t i = 0; i < ARRAY_LEN(p); i++) {
        if (p[i].create.req.result < 0)
            p[i].create.answered = DISK_NEVER;
        ok = ok && look_at_all(b.disk, segment_holds, &p[i], why);
    }
    bench_end(&b);
    return ok;
}
