/*
 * bench.c - see bench.h.
 */
#include "tests/crash/bench.h"

#include "storage/store_file.h"
#include "tests/crash/states.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void on_done(struct store_req *req, int64_t result)
{
    struct asked *a = req->owner;

    (void)result;
    a->answered = a->disk->op_count;
}

void bench_ask(struct bench *b, uint32_t store, struct asked *a)
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

void bench_wait(struct bench *b)
{
    for (uint32_t i = 0; i < BENCH_STORES; i++) {
        while (b->store[i]->inflight > 0 ||
               !list_is_empty(&b->store[i]->finished)) {
            int rc = store_poll(b->store[i], 0);

            assert(rc == 0);
            rc = store_poll(b->store[(i + 1) % BENCH_STORES], 0);
            assert(rc == 0);
        }
    }
}

int64_t bench_asked(struct bench *b, struct asked *a)
{
    bench_ask(b, 0, a);
    bench_wait(b);
    assert(a->answered != DISK_NEVER);
    return a->req.result;
}

static void open_store(struct bench *b, uint32_t i, uint64_t seed)
{
    struct err err = {0};
    int rc;

    b->disk->process = i;
    b->io[i] = disk_io_new(b->disk, i, seed);
    rc = store_file_open_on(DISK_PATH "/" BENCH_FOLDER,
                            STORE_OPEN_WRITE | STORE_OPEN_CREATE, b->io[i],
                            &b->store[i], &err);
    assert(rc == 0);
}

void bench_begin(struct bench *b, uint64_t seed, bool has_no_tmpfile,
                 bool is_nfs)
{
    *b = (struct bench){.disk = disk_new(seed, NULL)};
    b->disk->has_no_tmpfile = has_no_tmpfile;
    b->disk->is_nfs = is_nfs;
    b->disk->writes_short = true;
    (void)disk_the(b->disk);
    disk_record(b->disk);
    for (uint32_t i = 0; i < BENCH_STORES; i++)
        open_store(b, i, seed * BENCH_STORES + i);
}

void bench_close(struct bench *b)
{
    for (uint32_t i = 0; i < BENCH_STORES; i++)
        store_close(b->store[i]);
    disk_log_end(b->disk);
}

void bench_end(struct bench *b)
{
    (void)disk_the(NULL);
    disk_free(b->disk);
}

/*
 * Looking into what is left.
 */

const struct disk_node *bench_look(const struct image *left, const char *name)
{
    char path[128], *at = path, *part;
    uint32_t node = 0;

    (void)snprintf(path, sizeof path, "%s/%s", BENCH_FOLDER, name);
    while ((part = strsep(&at, "/")) && node != UINT32_MAX)
        node = image_find(left, node, part);
    return node == UINT32_MAX ? NULL : &left->node[node];
}

bool bench_look_at_all(const struct disk *disk, look_fn holds, void *arg,
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
