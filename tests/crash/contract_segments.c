/*
 * contract_segments.c - the same of segments: their names, their syncs, and
 * whose they are (bench.h).
 */
#include "tests/crash/contract.h"

#include "tests/crash/bench.h"
#include "tests/crash/disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEG_BYTES   (8 * PAGE_BYTES)
#define SCENE_STEPS 32 /* a creation has fewer */
#define TRIM_BYTES  (4 * PAGE_BYTES)

struct segment_play {
    struct asked create, write, sync, trim, sync_again;
    uint8_t *page;
};

static bool segment_holds(const struct image *left, uint32_t at, void *arg,
                          char why[WHY_BYTES])
{
    const struct segment_play *p = arg;
    const struct disk_node *node = bench_look(left, p->create.name);
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
    result = bench_asked(b, a);
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
    ok = bench_look_at_all(b.disk, segment_holds, &p, why);
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
    bench_ask(&b, 1, &made);
    for (uint64_t i = 0; i < seed % SCENE_STEPS && b.store[1]->inflight > 0;
         i++)
        (void)!store_poll(b.store[1], 0);
    disk_io_kill(b.io[1]);
    disk_process_kill(b.disk, 1);
    p.create = made;
    p.create.req.flags = STORE_SEG_WRITE;
    if (bench_asked(&b, &p.create) >= 0) {
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
        ok = bench_look_at_all(b.disk, segment_holds, &p, why);
    free(p.page);
    bench_end(&b);
    return ok;
}

/* A segment was made and closed; `a` is to open it for writing. */
static void begin_with_segment(struct bench *b, uint64_t seed, struct asked *a)
{
    struct asked shut = {.name = ""};

    *a = (struct asked){.name = "seg/000001"};
    bench_begin(b, seed, false, false);
    seg_ask(b, a,
            (struct store_req){.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .len = SEG_BYTES});
    seg_ask(b, &shut,
            (struct store_req){.op = STORE_SEG_CLOSE, .seg = a->req.seg});
    a->req = (struct store_req){.op = STORE_SEG_OPEN, .flags = STORE_SEG_WRITE};
}

/* The other process removes a segment while we open it: after any of our
 * steps. */
bool contract_removed(uint64_t seed, char why[WHY_BYTES])
{
    struct asked a, removed = {.name = "seg/000001"};
    struct bench b;
    bool ok;

    begin_with_segment(&b, seed, &a);
    bench_ask(&b, 0, &a);
    for (uint64_t i = 0; i < seed % 8 && b.store[0]->inflight > 0; i++)
        (void)!store_poll(b.store[0], 0);
    ok = b.store[0]->inflight == 0; /* it was quicker */
    removed.req = (struct store_req){.op = STORE_SEG_REMOVE};
    bench_ask(&b, 1, &removed);
    while (removed.answered == DISK_NEVER)
        (void)!store_poll(b.store[1], 0);
    bench_wait(&b);
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
    first = bench_asked(&b, &io);
    io.req = (struct store_req){.op = STORE_SYNC, .seg = a.req.seg};
    second = bench_asked(&b, &io);
    bench_close(&b);
    bench_end(&b);
    free(page);
    (void)snprintf(why, WHY_BYTES,
                   "a sync after one that failed (%" PRIi64
                   ") answers %" PRIi64,
                   first, second);
    return first == -EIO && second == -EIO;
}

/* Nor through another handle, until the name is that of another segment. */
bool contract_failed_sync_reopened(uint64_t seed, char why[WHY_BYTES])
{
    const struct store_req create = {.op = STORE_SEG_OPEN,
                                     .flags =
                                         STORE_SEG_WRITE | STORE_SEG_CREATE,
                                     .len = SEG_BYTES};
    struct asked a = {.name = "seg/000001"}, io = {.name = ""};
    struct asked gone = {.name = "seg/000001"};
    struct bench b;
    int64_t sync[3];

    bench_begin(&b, seed, false, false);
    for (uint32_t i = 0; i < ARRAY_LEN(sync); i++) {
        if (i == 2)
            seg_ask(&b, &gone, (struct store_req){.op = STORE_SEG_REMOVE});
        a.req = create;
        if (i == 1)
            a.req.flags = STORE_SEG_WRITE;
        seg_ask(&b, &a, a.req);
        b.disk->fail_syncs = i == 0;
        io.req = (struct store_req){.op = STORE_SYNC, .seg = a.req.seg};
        sync[i] = bench_asked(&b, &io);
        seg_ask(&b, &io,
                (struct store_req){.op = STORE_SEG_CLOSE, .seg = a.req.seg});
    }
    bench_close(&b);
    bench_end(&b);
    (void)snprintf(why, WHY_BYTES,
                   "syncs: one that fails %" PRIi64 ", of the segment opened "
                   "again %" PRIi64 ", of one created anew %" PRIi64,
                   sync[0], sync[1], sync[2]);
    return sync[0] == -EIO && sync[1] == -EIO && sync[2] == 0;
}

/* Two new segments share a folder, and one sync of it fails, of those at once
 * perhaps: whoever is told that its name is durable must find it. */
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
    b.disk->answers_in_any_order = seed % 2;
    for (uint32_t i = 0; i < ARRAY_LEN(p); i++) {
        struct asked *a = &p[i].create;

        p[i].trim.begun = p[i].sync.answered = p[i].sync_again.answered =
            DISK_NEVER;
        (void)snprintf(a->name, sizeof a->name, "seg/00001%u", i);
        a->req = first.req;
        bench_ask(&b, 0, a);
    }
    bench_wait(&b);
    bench_close(&b);
    for (uint32_t i = 0; i < ARRAY_LEN(p); i++) {
        if (p[i].create.req.result < 0)
            p[i].create.answered = DISK_NEVER;
        ok = ok && bench_look_at_all(b.disk, segment_holds, &p[i], why);
    }
    bench_end(&b);
    return ok;
}

/* Two syncs at once, of which one takes the error, and the other may be
 * answered first: what is told as synced is there. */
bool contract_syncs_at_once(uint64_t seed, char why[WHY_BYTES])
{
    struct segment_play p = {.page = aligned_alloc(PAGE_BYTES, 2 * PAGE_BYTES)};
    struct asked sync[2] = {0};
    struct bench b;
    bool ok = true;

    assert(p.page);
    memset(p.page, 's', 2 * PAGE_BYTES);
    p.trim.begun = p.sync.answered = p.sync_again.answered = DISK_NEVER;
    bench_begin(&b, seed, false, false);
    b.disk->answers_in_any_order = true;
    (void)snprintf(p.create.name, sizeof p.create.name, "seg/000001");
    seg_ask(&b, &p.create,
            (struct store_req){.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .len = SEG_BYTES});
    seg_ask(&b, &p.write,
            (struct store_req){.op = STORE_WRITE,
                               .seg = p.create.req.seg,
                               .buf = p.page,
                               .len = 2 * PAGE_BYTES,
                               .off = PAGE_BYTES});
    b.disk->fail_syncs = 1;
    for (uint32_t i = 0; i < ARRAY_LEN(sync); i++) {
        sync[i].req =
            (struct store_req){.op = STORE_SYNC, .seg = p.create.req.seg};
        bench_ask(&b, 0, &sync[i]);
    }
    bench_wait(&b);
    bench_close(&b);
    for (uint32_t i = 0; i < ARRAY_LEN(sync); i++)
        if (sync[i].req.result == 0)
            p.sync = sync[i];
    if (p.sync.answered != DISK_NEVER)
        ok = bench_look_at_all(b.disk, segment_holds, &p, why);
    free(p.page);
    bench_end(&b);
    return ok;
}

/*
 * Whose it is.
 */

/* The answer to opening a segment for writing, that something befell. */
static int64_t opened_after(uint64_t seed, void (*befall)(struct bench *b))
{
    struct bench b;
    struct asked a;
    int64_t answer;

    begin_with_segment(&b, seed, &a);
    befall(&b);
    answer = bench_asked(&b, &a);
    bench_close(&b);
    bench_end(&b);
    return answer;
}

static void give_second_name(struct bench *b)
{
    uint32_t store = image_find(&b->disk->live, 0, BENCH_FOLDER);
    uint32_t folder = image_find(&b->disk->live, store, "seg");

    disk_give_name(b->disk, store, "somebody's copy",
                   image_find(&b->disk->live, folder, "000001"));
}

/* A second name is somebody's copy, or file: it is not written through. */
bool contract_second_name(uint64_t seed, char why[WHY_BYTES])
{
    int64_t answer = opened_after(seed, give_second_name);

    (void)snprintf(why, WHY_BYTES,
                   "a segment with a second name is opened for writing: "
                   "%" PRIi64,
                   answer);
    return answer == -EMLINK;
}

static void give_away(struct bench *b)
{
    b->disk->is_anothers = true;
}

bool contract_segment_owner(uint64_t seed, char why[WHY_BYTES])
{
    int64_t answer = opened_after(seed, give_away);

    (void)snprintf(why, WHY_BYTES,
                   "a segment of another user is opened for writing: %" PRIi64,
                   answer);
    return answer == -EPERM;
}
