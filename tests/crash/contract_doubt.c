/*
 * contract_doubt.c - a sync of a folder fails, and every later one succeeds
 * without bringing anything back: what is then said of names in it (bench.h).
 */
#include "tests/crash/contract.h"

#include "tests/crash/bench.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PUT_BYTES 3000
#define SEG_BYTES (2 * PAGE_BYTES)
#define TRIES     4

/* What was told last of one name, and from when on that must hold. */
struct told {
    struct asked asked;
    bool is_there, is_gone;
};

static bool name_holds(const struct image *left, uint32_t at, void *arg,
                       char why[WHY_BYTES])
{
    const struct told *t = arg;
    const struct disk_node *node = bench_look(left, t->asked.name);

    if (t->asked.answered > at)
        return true;
    if (t->is_there &&
        (!node || content_size(node->content) != t->asked.req.len)) {
        (void)snprintf(why, WHY_BYTES,
                       "%s was answered as there (%" PRIi64 "), and is not",
                       t->asked.name, (int64_t)t->asked.req.result);
        return false;
    }
    if (t->is_gone && node) {
        (void)snprintf(why, WHY_BYTES,
                       "%s was answered as gone (%" PRIi64 "), and is not",
                       t->asked.name, (int64_t)t->asked.req.result);
        return false;
    }
    return true;
}

static void put(struct bench *b, struct asked *a)
{
    static uint8_t bytes[PUT_BYTES];

    a->req =
        (struct store_req){.op = STORE_PUT, .buf = bytes, .len = PUT_BYTES};
    (void)bench_asked(b, a);
}

/* Until it is told that the record is there, and from when on. */
static bool put_until_there(struct bench *b, struct told *t,
                            char why[WHY_BYTES])
{
    for (uint32_t i = 0; i < TRIES && !t->is_there; i++) {
        put(b, &t->asked);
        t->is_there =
            t->asked.req.result == 0 || t->asked.req.result == -EEXIST;
    }
    (void)snprintf(why, WHY_BYTES, "it cannot be created any more: %" PRIi64,
                   (int64_t)t->asked.req.result);
    return t->is_there;
}

/* One sync of a folder, of those that a first record needs, fails; its writer
 * tries again. */
bool contract_failed_name(uint64_t seed, char why[WHY_BYTES])
{
    struct told t = {.asked = {.name = "of/these/record"}};
    struct bench b;
    bool ok;

    bench_begin(&b, seed, seed % 2, false);
    b.disk->fail_folder_syncs = 1 + (uint32_t)(seed / 2 % 3);
    ok = put_until_there(&b, &t, why);
    assert(b.disk->fail_folder_syncs == 0);
    bench_close(&b);
    ok = ok && bench_look_at_all(b.disk, name_holds, &t, why);
    bench_end(&b);
    return ok;
}

/* Another has created it, and was killed before that was durable; then a sync
 * of the folder fails, for another record. */
bool contract_failed_for_all(uint64_t seed, char why[WHY_BYTES])
{
    struct told t = {.asked = {.name = "of/record"}};
    struct asked other = t.asked, first = {.name = "of/first"};
    struct asked another = {.name = "of/another"};
    struct bench b;
    bool ok;

    bench_begin(&b, seed, seed % 2, false);
    put(&b, &first);
    other.req = first.req;
    bench_ask(&b, 1, &other);
    while (!bench_look(&b.disk->live, other.name))
        (void)!store_poll(b.store[1], 0);
    disk_io_kill(b.io[1]);
    disk_process_kill(b.disk, 1);
    b.disk->fail_folder_syncs = 1;
    put(&b, &another);
    assert(another.req.result < 0 && b.disk->fail_folder_syncs == 0);
    ok = put_until_there(&b, &t, why);
    bench_close(&b);
    ok = ok && bench_look_at_all(b.disk, name_holds, &t, why);
    bench_end(&b);
    return ok;
}

/* It fails while a record is removed; that is tried again. */
bool contract_failed_removal(uint64_t seed, char why[WHY_BYTES])
{
    struct told t = {.asked = {.name = "of/record"}};
    struct bench b;
    bool ok;

    bench_begin(&b, seed, seed % 2, false);
    put(&b, &t.asked);
    b.disk->fail_folder_syncs = 1;
    for (uint32_t i = 0; i < TRIES && !t.is_gone; i++) {
        t.asked.req = (struct store_req){.op = STORE_REMOVE};
        (void)bench_asked(&b, &t.asked);
        t.is_gone = t.asked.req.result == 0 || t.asked.req.result == -ENOENT;
    }
    bench_close(&b);
    ok = bench_look_at_all(b.disk, name_holds, &t, why);
    bench_end(&b);
    return ok;
}

static int64_t seg_open(struct bench *b, struct asked *a, unsigned flags)
{
    struct asked shut = {.name = ""};
    int64_t result;

    a->req = (struct store_req){.op = STORE_SEG_OPEN,
                                .flags = STORE_SEG_WRITE | flags,
                                .len = flags ? SEG_BYTES : 0};
    result = bench_asked(b, a);
    if (result < 0)
        return result;
    shut.req = (struct store_req){.op = STORE_SEG_CLOSE, .seg = a->req.seg};
    (void)bench_asked(b, &shut);
    return result;
}

/* It fails while a segment is created: that one is not there to be opened, and
 * those that were there before still can be. */
bool contract_failed_segment(uint64_t seed, char why[WHY_BYTES])
{
    struct asked old = {.name = "seg/000001"};
    struct told t = {.asked = {.name = "seg/000002"}};
    int64_t first, second;
    struct bench b;
    bool ok = true;

    bench_begin(&b, seed, seed % 2, false);
    (void)seg_open(&b, &old, STORE_SEG_CREATE);
    (void)seg_open(&b, &old, 0);
    b.disk->fail_folder_syncs = 1;
    first = seg_open(&b, &t.asked, STORE_SEG_CREATE);
    assert(first < 0 && b.disk->fail_folder_syncs == 0);
    first = seg_open(&b, &old, 0);
    second = seg_open(&b, &t.asked, 0);
    t.asked.req.len = SEG_BYTES;
    t.is_there = second >= 0;
    bench_close(&b);
    if (first < 0) {
        (void)snprintf(why, WHY_BYTES, "%s cannot be opened any more: %" PRIi64,
                       old.name, first);
        ok = false;
    }
    ok = ok && bench_look_at_all(b.disk, name_holds, &t, why);
    bench_end(&b);
    return ok;
}
