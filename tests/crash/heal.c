/*
 * heal.c - see heal.h.
 *
 * The tool's own code runs here (tools/ckpt, but for its main()), in this
 * process: where it opens a store it gets one on the disk.
 */
#include "tests/crash/heal.h"

#include "formats/record.h"
#include "storage/store_file.h"
#include "tests/crash/disk_internal.h"
#include "tests/crash/scenes.h"
#include "tools/ckpt/tool.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOOL         (LIFE_DAEMONS_MAX + 1) /* as a process */
#define EXTENT_BYTES (PAGE_BYTES + RIG_CHUNK_BYTES)

/*
 * The tool.
 */

/* The names that ld --wrap gives to what was and to what stands before it. */
int real_open_store(const char *path, unsigned flags, enum store_engine engine,
                    struct store **out,
                    struct err *err) __asm__("__real_store_file_open");
int wrap_open_store(const char *path, unsigned flags, enum store_engine engine,
                    struct store **out,
                    struct err *err) __asm__("__wrap_store_file_open");

int wrap_open_store(const char *path, unsigned flags, enum store_engine engine,
                    struct store **out, struct err *err)
{
    struct disk *disk = disk_now;

    if (!disk)
        return real_open_store(path, flags, engine, out, err);
    disk->process = TOOL;
    return store_file_open_on(
        path, flags, disk_io_new(disk, TOOL, disk_random(disk)), out, err);
}

/* Its exit code; what it prints is for nobody. */
static int verify_and_repair(struct disk *disk)
{
    struct tool tool = {.options = {.home = DISK_PATH "/home",
                                    .local = DISK_PATH "/local-a",
                                    .repair = true},
                        .verb = "verify"};
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC), saved[2], code;
    struct disk *before = disk_the(disk);

    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        saved[i] = dup(i + 1);
        code = dup2(nowhere, i + 1);
        assert(code == i + 1);
    }
    disk->process = TOOL;
    code = verb_verify(&tool);
    store_close(tool.home);
    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        (void)dup2(saved[i], i + 1);
        (void)close(saved[i]);
    }
    (void)close(nowhere);
    (void)disk_the(before);
    return code;
}

/*
 * What befalls the segments.
 */

/* Segments in the order in which they were made: of each save, from this one
 * on. */
struct ward {
    struct disk *disk;
    uint32_t folder;
    uint32_t first[4], count;
};

static uint32_t segment(const struct ward *w, uint32_t save)
{
    return w->disk->live.node[w->folder].entry[w->first[save]].node;
}

static void flip(const struct ward *w, uint32_t file, uint64_t at)
{
    struct content **c = &w->disk->live.node[file].content;
    uint8_t byte;

    assert(at < content_size(*c));
    content_read(*c, at, &byte, 1);
    byte ^= 1;
    content_write(c, at, &byte, 1, NULL);
}

static uint64_t extent(uint32_t i)
{
    return PAGE_BYTES + i * (uint64_t)EXTENT_BYTES;
}

/* Other bytes than those of the first chunk of the first save. */
static uint32_t other_chunk(const struct ward *w, uint32_t save)
{
    static uint8_t first[RIG_CHUNK_BYTES], each[RIG_CHUNK_BYTES];
    const struct disk_node *node = w->disk->live.node;

    content_read(node[segment(w, 0)].content, extent(0) + PAGE_BYTES, first,
                 sizeof first);
    content_read(node[segment(w, save)].content, extent(0) + PAGE_BYTES, each,
                 sizeof each);
    return memcmp(first, each, sizeof first) == 0;
}

/* Which saves load by then is for the promises to say: a bit each. */
static uint32_t befall(const struct ward *w, uint64_t seed)
{
    struct content **c = &w->disk->live.node[segment(w, 0)].content;

    switch (seed % 4) {
    case 0: /* a payload, of which there is a copy */
        flip(w, segment(w, 0), extent(0) + PAGE_BYTES + 100);
        return 0xe;
    case 1: /* two of each other's copies */
        flip(w, segment(w, 2), extent(other_chunk(w, 2)) + PAGE_BYTES + 100);
        flip(w, segment(w, 0), extent(0) + PAGE_BYTES + 100);
        return 0xa;
    case 2: /* the header of a segment, and of a chunk in it */
        flip(w, segment(w, 1), 100);
        flip(w, segment(w, 1), extent(0) + 100);
        return 0xd;
    default: /* cut off, at the last chunk */
        content_resize(c, content_size(*c) - EXTENT_BYTES);
        return 0xe;
    }
}

/*
 * The recording.
 */

static void nothing(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
}

/* What a daemon puts beside its segments: who it is, and its lock. */
static void furnish(struct life *life)
{
    struct record_store record = {.uuid = life->g[0]->daemon->env.local_uuid};
    struct store_req put = {.op = STORE_PUT, .name = "STORE", .done = nothing};
    struct disk *disk = life->disk;
    struct wr w = {0};
    int64_t rc;

    record_store_encode(&record, &w);
    put.buf = w.data;
    put.len = w.bytes;
    rc = store_run(test_world_store(life->world, "local/a"), &put);
    assert(rc == 0);
    wr_free(&w);
    disk_give_name(disk, image_find(&disk->live, 0, "local-a"), "lock",
                   image_add_node(&disk->live, false));
}

static void commit_all(struct play *play, struct ward *w)
{
    static const uint64_t seeds[] = {1, 2, 1, 3};
    struct life life;
    bool joined;

    life_begin(&life, play->disk, &play->promises, play->seed * 1000 + 1);
    joined = life_join(&life, "first");
    assert(joined);
    for (uint32_t i = 0; i < ARRAY_LEN(seeds); i++) {
        const struct promise *s;

        w->folder =
            image_find(&play->disk->live,
                       image_find(&play->disk->live, 0, "local-a"), "seg");
        w->first[i] = w->folder == UINT32_MAX
                          ? 0
                          : play->disk->live.node[w->folder].entry_count;
        s = life_save(&life, 10 * (i + (uint64_t)1), seeds[i]);
        (void)life_wait(&life);
        assert(s->committed != DISK_NEVER);
    }
    w->folder = image_find(&play->disk->live,
                           image_find(&play->disk->live, 0, "local-a"), "seg");
    furnish(&life);
    life_end(&life);
}

/* A disk with damage on it, nothing of which is new. */
static void prepare(struct play *play)
{
    struct ward w = {.disk = play->disk};
    struct image left;
    uint32_t healthy;

    commit_all(play, &w);
    healthy = befall(&w, play->seed);
    image_copy(&left, &play->disk->live);
    (void)disk_the(NULL);
    disk_free(play->disk);
    play->disk = disk_new(play->seed, &left);
    image_free(&left);
    for (uint32_t i = 0; i < play->promises.count; i++) {
        struct promise *s = &play->promises.save[i];

        s->begun = 0;
        s->aborted = DISK_NEVER;
        s->committed = healthy & 1u << i ? 0 : DISK_NEVER;
    }
    (void)disk_the(play->disk);
}

void heal_play(struct play *play)
{
    int code;

    prepare(play);
    disk_record(play->disk);
    code = verify_and_repair(play->disk);
    /* From then on it has said that they are good. */
    for (uint32_t i = 0; i < play->promises.count; i++)
        if (play->promises.save[i].committed == DISK_NEVER)
            play->promises.save[i].committed = play->disk->op_count;
    if (code != EXIT_FINE)
        (void)snprintf(play->why, sizeof play->why,
                       "the repair ends with exit code %d", code);
}

/* A sync fails on the way, of the folder or of the copy: that is told, and
 * nothing keeps the next one from ending well. */
bool scene_failing_repair(uint64_t seed, char why[WHY_BYTES])
{
    struct play play = {.disk = disk_new(seed, NULL),
                        .promises = {.shape = {.ranks = 2,
                                               .daemons = 1,
                                               .tensors = 2,
                                               .slots = 4}},
                        .seed = seed};
    int first, second;

    (void)disk_the(play.disk);
    prepare(&play);
    play.disk->failing_folder = "seg";
    if (seed % 4 < 3)
        play.disk->fail_folder_syncs = 1 + (uint32_t)(seed % 4);
    else
        play.disk->fail_syncs = 2; /* the first is the lease's */
    first = verify_and_repair(play.disk);
    assert(play.disk->fail_folder_syncs == 0 && play.disk->fail_syncs == 0);
    second = verify_and_repair(play.disk);
    (void)disk_the(NULL);
    disk_free(play.disk);
    (void)snprintf(why, WHY_BYTES,
                   "a repair of which a sync fails ends with exit code %d, and "
                   "the next with %d",
                   first, second);
    return first == EXIT_ERROR && second == EXIT_FINE;
}

bool heal_check(const struct play *play, const struct image *left, uint32_t at,
                uint64_t seed, char why[WHY_BYTES])
{
    struct promises all = play->promises;
    struct disk *disk, *before;
    bool ok = crash_check(left, &play->promises, at, seed, why);
    int code;

    if (!ok)
        return false;
    for (uint32_t i = 0; i < all.count; i++)
        all.save[i].committed = 0;
    disk = disk_new(seed, left);
    code = verify_and_repair(disk);
    if (code != EXIT_FINE) {
        (void)snprintf(why, WHY_BYTES,
                       "a repair that is repeated ends with exit code %d",
                       code);
        disk_free(disk);
        return false;
    }
    before = disk_the(disk);
    ok = crash_check_disk(disk, &all, at, seed, why);
    (void)disk_the(before);
    disk_free(disk);
    return ok;
}
