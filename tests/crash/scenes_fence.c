/*
 * scenes_fence.c - one at a time: a daemon to a local store, a process to a
 * rank, a start to a token; and what is on the way to the drive is what it
 * should be before anything relies on it. See directed.h.
 */
#include "tests/crash/scenes.h"

#include "ckptd/daemon/reactor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct life_shape small = {
    .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8};

/*
 * Fences.
 */

/* The second of two daemons that are started on one local store. */
bool scene_two_daemons(uint64_t seed, char why[WHY_BYTES])
{
    const char *tmp = getenv("TMPDIR");
    char folder[256], lock[sizeof folder + 8];
    struct reactor_options options = {.local = folder};
    struct reactor *r[2];
    struct err err = {0};
    int rc[2];

    (void)seed;
    (void)snprintf(folder, sizeof folder, "%s/ckptd-planted.XXXXXX",
                   tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        assert(!"a folder for two daemons");
    (void)snprintf(lock, sizeof lock, "%s/lock", folder);
    for (uint32_t i = 0; i < 2; i++) {
        r[i] = calloc(1, sizeof *r[i]);
        assert(r[i]);
        r[i]->options = &options;
        r[i]->lock_fd = r[i]->local_dir_fd = -1;
        rc[i] = local_lock(r[i], &err);
    }
    for (uint32_t i = 0; i < 2; i++) {
        (void)close(r[i]->lock_fd);
        (void)close(r[i]->local_dir_fd);
        free(r[i]);
    }
    (void)unlink(lock);
    (void)rmdir(folder);
    (void)snprintf(why, WHY_BYTES,
                   "two daemons on one local store are told %d and %d", rc[0],
                   rc[1]);
    return rc[0] == 0 && rc[1] == -EBUSY;
}

static bool is_answered(void *arg)
{
    const struct rig_rank *r = arg;

    return rig_joined(r) || r->error;
}

/* Somebody comes as rank 0, and must be sent away. */
static bool is_stale(struct stage *s, const char *token)
{
    struct rig_rank *r = rig_rank_new(s->life.g[0], 0, s->p.shape.ranks);

    rig_open(r, token);
    (void)life_until(&s->life, is_answered, r);
    if (!rig_joined(r) && r->error == -ESTALE)
        return true;
    return stage_fails(s,
                       "I5: a rank 0 that comes with token '%s' is told %d, "
                       "generation %" PRIu32,
                       token, r->error, r->generation);
}

/* A process that believes to be a rank which another one is. */
bool scene_second_process(uint64_t seed, char why[WHY_BYTES])
{
    struct stage s;

    stage_begin(&s, seed, &small, why);
    (void)stage_commit(&s, 10, 1);
    return stage_end(&s, is_stale(&s, "start 1"));
}

/* A process of a start that another start has gone on from. */
bool scene_old_token(uint64_t seed, char why[WHY_BYTES])
{
    struct stage s;

    stage_begin(&s, seed, &small, why);
    (void)stage_commit(&s, 10, 1);
    stage_stop(&s);
    return stage_end(&s, stage_next(&s) && is_stale(&s, "start 1"));
}

/*
 * On the way to the drive.
 */

/* Chunks of a file are written behind its newest header, when that is durable.
 * `reused` counts headers that take the place of another. */
static bool header_is_first(const struct disk *disk, uint32_t file,
                            uint32_t *reused)
{
    const struct disk_op *header = NULL;

    for (uint32_t i = 0; i < disk->op_count; i++) {
        const struct disk_op *op = &disk->op[i];

        if (op->kind != DISK_WRITE || op->node != file)
            continue;
        if (op->off == 0) {
            *reused += header != NULL;
            header = op;
        } else if (!header || header->durable > i) {
            return false;
        }
    }
    return true;
}

/* In no state after a crash does a header of before stand in front of chunks
 * that were written under a new one. */
bool scene_header_first(uint64_t seed, char why[WHY_BYTES])
{
    static const struct life_shape shape = {
        .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8, .keep_last = 1};
    const struct disk_node *folder;
    uint32_t reused = 0;
    struct stage s;
    bool ok = true;

    stage_begin(&s, seed, &shape, why);
    for (uint64_t step = 10; step <= 50; step += 10) {
        (void)stage_commit(&s, step, step);
        stage_retain(&s);
    }
    folder = &s.disk->live.node[stage_file(&s, "local-a/seg")];
    disk_log_end(s.disk);
    for (uint32_t i = 0; ok && i < folder->entry_count; i++)
        if (!header_is_first(s.disk, folder->entry[i].node, &reused))
            ok = stage_fails(&s, "%s is written to before its header is there",
                             folder->entry[i].name);
    assert(!ok || reused > 0);
    return stage_end(&s, ok);
}

/* The names that ld --wrap gives to what was and to what stands before it. */
int real_compress(const char *from, char *to, int bytes,
                  int capacity) __asm__("__real_LZ4_compress_default");
int wrap_compress(const char *from, char *to, int bytes,
                  int capacity) __asm__("__wrap_LZ4_compress_default");

static bool compresses_wrongly;

int wrap_compress(const char *from, char *to, int bytes, int capacity)
{
    int length = real_compress(from, to, bytes, capacity);

    if (compresses_wrongly && length > 0)
        to[length / 2] ^= 1;
    return length;
}

/* The codec errs. */
bool scene_bad_codec(uint64_t seed, char why[WHY_BYTES])
{
    static const struct life_shape shape = {
        .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8, .is_packed = true};
    const struct promise *v;
    struct stage s;

    stage_begin(&s, seed, &shape, why);
    compresses_wrongly = true;
    v = stage_commit(&s, 10, 1);
    compresses_wrongly = false;
    stage_stop(&s);
    return stage_end(&s, stage_next(&s) && stage_loads(&s, v));
}
