/*
 * contract.c - scenes of the file store alone: what storage/store.h promises of
 * names holds in every state that a crash may leave (bench.h).
 */
#include "tests/crash/contract.h"

#include "storage/store_file.h"
#include "tests/crash/bench.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS   3
#define PUT_BYTES 3000

/*
 * Names: both stores create the same records at once, and then remove them.
 */

struct names {
    struct asked put[RECORDS][BENCH_STORES], removed[RECORDS][BENCH_STORES];
};

static bool name_holds(const struct image *left, uint32_t at,
                       const struct names *n, uint32_t i, char why[WHY_BYTES])
{
    const struct asked *put = n->put[i], *removed = n->removed[i];
    const struct disk_node *node = bench_look(left, put[0].name);
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
        for (uint32_t k = 0; k < BENCH_STORES; k++)
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
    static uint8_t bytes[BENCH_STORES][PUT_BYTES];
    struct names *n = calloc(1, sizeof *n);

    assert(n);
    for (uint32_t k = 0; k < BENCH_STORES; k++)
        memset(bytes[k], 'a' + (int)k, PUT_BYTES);
    for (uint32_t i = 0; i < RECORDS; i++) {
        for (uint32_t k = 0; k < BENCH_STORES; k++) {
            struct asked *a = &n->put[i][k];

            (void)snprintf(a->name, sizeof a->name, "of/%u/record", i);
            n->removed[i][k] = *a;
            a->req = (struct store_req){
                .op = STORE_PUT, .buf = bytes[k], .len = PUT_BYTES};
            bench_ask(b, k, a);
        }
    }
    bench_wait(b);
    for (uint32_t i = 0; i < RECORDS; i++) {
        for (uint32_t k = 0; k < BENCH_STORES; k++) {
            n->removed[i][k].req = (struct store_req){.op = STORE_REMOVE};
            bench_ask(b, k, &n->removed[i][k]);
        }
    }
    bench_wait(b);
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
    ok = ok && bench_look_at_all(b.disk, names_hold, n, why);
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
    first = bench_asked(&b, &a);
    second = bench_asked(&b, &again);
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
 * Whose the folder is.
 */

static bool is_refused(const struct disk *as, char why[WHY_BYTES])
{
    struct store *store;
    struct err err = {0};
    struct bench b;
    int rc;

    bench_begin(&b, 1, false, false);
    b.disk->is_anothers = as->is_anothers;
    b.disk->is_open_to_others = as->is_open_to_others;
    rc = store_file_open_on(DISK_PATH "/" BENCH_FOLDER, STORE_OPEN_WRITE,
                            disk_io_new(b.disk, 0, 1), &store, &err);
    if (rc == 0)
        store_close(store);
    bench_close(&b);
    bench_end(&b);
    (void)snprintf(
        why, WHY_BYTES, "a store whose folder %s is opened for writing: %d",
        as->is_anothers ? "is another user's" : "others may write to", rc);
    return rc == -EPERM;
}

bool contract_owner(uint64_t seed, char why[WHY_BYTES])
{
    (void)seed;
    return is_refused(&(struct disk){.is_anothers = true}, why);
}

bool contract_closed_to_others(uint64_t seed, char why[WHY_BYTES])
{
    (void)seed;
    return is_refused(&(struct disk){.is_open_to_others = true}, why);
}
