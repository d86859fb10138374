/*
 * scenario.c - see scenario.h. Each begins with an empty disk, so that the
 * first records and folders of a home are among what may be lost; the words of
 * a scenario's name are its table's below.
 */
#include "tests/crash/scenario.h"

#include "ckptd/engine/retain.h"
#include "formats/record.h"
#include "formats/tier.h"
#include "storage/store_file.h"
#include "tests/crash/heal.h"
#include "tests/crash/states.h"
#include "tests/lib/media.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A generation whose ranks joined. */
static void begin(struct play *play, struct life *life, uint64_t seed,
                  const char *token)
{
    bool joined;

    life_begin(life, play->disk, &play->promises, play->seed * 1000 + seed);
    joined = life_join(life, token);
    assert(joined);
}

/* What must commit does, whatever the order of things. */
static void commit(struct play *play, struct life *life, uint64_t step,
                   uint64_t seed)
{
    const struct promise *s = life_save(life, step, seed);

    if (!life_wait(life) || s->committed == DISK_NEVER)
        (void)snprintf(play->why, sizeof play->why,
                       "step %u does not commit: %.900s", (unsigned)step,
                       s->v[0]->text);
}

static void save(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    commit(play, &life, 20, 2);
    life_end(&life);
}

static void overlap(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    for (uint64_t step = 20; step <= 40; step += 10)
        (void)life_save(&life, step, step);
    (void)life_wait(&life);
    life_end(&life);
}

static void cancel(struct rig_rank *r, const struct rig_save *v)
{
    struct wire_cancel message = {
        .save = v->number, .code = -ECANCELED, .text = "the test wants it"};
    struct wr w = {0};

    wire_cancel_encode(&message, &w);
    rig_send(r, WIRE_CANCEL, 0, 0, &w);
    wr_free(&w);
}

/* Aborted early, and again late, when one rank has staged all: its segments
 * are written to by what comes after. */
static void aborted(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    for (uint32_t given = 0; given < 2; given++) {
        const struct promise *s;

        life.r[1]->hold_after = given;
        s = life_save(&life, 20, 20 + given);
        life_turn(&life, 50);
        cancel(life.r[1], s->v[1]);
        (void)life_wait(&life);
    }
    life.r[1]->hold_after = UINT32_MAX;
    commit(play, &life, 20, 3);
    commit(play, &life, 30, 4);
    life_end(&life);
}

static bool is_quiet(void *arg)
{
    struct life *life = arg;
    struct home *home =
        container_of(life->g[0]->engine->homes.next, struct home, link);
    struct run *run = container_of(home->runs.next, struct run, link);

    return !retain_is_busy(run);
}

static void retention(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    for (uint64_t step = 10; step <= 50; step += 10) {
        commit(play, &life, step, step);
        if (step % 20)
            (void)life_until(&life, is_quiet, &life);
    }
    life_turn(&life, 5000);
    life_end(&life);
}

/* The same, and one sync of a folder fails; what it was for is tried again. A
 * tomb that is found then, and never becomes durable, would be the worst. */
static void retention_failing(struct play *play)
{
    static const char *const folders[] = {"tomb", "decision", "seg", RIG_RUN};
    uint32_t number = (uint32_t)play->seed - 1;
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    play->disk->failing_folder = folders[number % ARRAY_LEN(folders)];
    play->disk->fail_folder_syncs = 1 + number / ARRAY_LEN(folders);
    for (uint64_t step = 20; step <= 50; step += 10) {
        (void)life_save(&life, step, step);
        (void)life_wait(&life);
        (void)life_until(&life, is_quiet, &life);
    }
    assert(play->disk->fail_folder_syncs == 0);
    commit(play, &life, 60, 6);
    life_end(&life);
}

/* Until the newest save of this life is REMOTE, as every daemon sees it. */
static bool is_remote(void *arg)
{
    const struct life *life = arg;
    const struct promises *p = life->promises;

    return is_promised_remote(&p->save[p->count - 1], life->disk->op_count) &&
           is_quiet(arg);
}

static void drain(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    if (life.g[1]) /* is behind the first */
        life.g[1]->engine->env->drain_bytes_s = 50000;
    for (uint64_t step = 10; step <= 40; step += 10) {
        commit(play, &life, step, step);
        if (step % 20 == 0 && !life_until(&life, is_remote, &life))
            (void)snprintf(play->why, sizeof play->why,
                           "step %u never is REMOTE", (unsigned)step);
    }
    life_end(&life);
}

/* SIGKILL in the midst of it, and the next life goes on. */
static void drain_killed(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 20, 1);
    play->disk->stop_at =
        play->disk->op_count + (uint32_t)(play->seed - 1) * play->stride;
    life_turn(&life, 20000);
    play->disk->stop_at = DISK_NEVER;
    life_kill(&life);
    begin(play, &life, 2, "second");
    life.lands_late = true;
    promises_resume(&life);
    commit(play, &life, 30, 3);
    commit(play, &life, 40, 4);
    if (!life_until(&life, is_remote, &life))
        (void)snprintf(play->why, sizeof play->why, "it never is REMOTE");
    while (disk_late_land(play->disk))
        ;
    life_end(&life);
}

/* Less and less of old segments lives, until they are rewritten. */
static void compaction(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    for (uint32_t i = 0; i < 5; i++) {
        life.changed = i;
        life.changed_seed = i + 7;
        commit(play, &life, 10 * (i + (uint64_t)1), 1);
        (void)life_until(&life, is_quiet, &life);
    }
    life_end(&life);
}

/* Power fails at some moment of a second save; what recovery does is what is
 * recorded, and a save of the same step and one more. */
static void recovery(struct play *play)
{
    struct life life;
    struct image left;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    (void)life_save(&life, 20, 2);
    (void)life_wait(&life);
    life_end(&life);
    disk_log_end(play->disk);
    state_by_chance(play->disk, &play->promises, 10, play->seed, &left);
    (void)disk_the(NULL);
    disk_free(play->disk);
    play->disk = disk_new(play->seed, &left);
    image_free(&left);
    (void)disk_the(play->disk);
    disk_record(play->disk);
    begin(play, &life, 2, "second");
    promises_resume(&life);
    commit(play, &life, 20, 3);
    commit(play, &life, 30, 4);
    life_end(&life);
}

/* SIGKILL after so many operations of a save as the seed says (by the stride);
 * writes that were under way land while the next life recovers, and saves. */
static void killed(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    play->disk->stop_at =
        play->disk->op_count + (uint32_t)(play->seed - 1) * play->stride;
    (void)life_save(&life, 20, 2);
    life_turn(&life, 20);
    play->disk->stop_at = DISK_NEVER;
    life_kill(&life);
    begin(play, &life, 2, "second");
    life.lands_late = true;
    promises_resume(&life);
    commit(play, &life, 20, 3);
    if (!life.promises->shape.names) { /* of parts each takes a minute more */
        commit(play, &life, 30, 4);
        commit(play, &life, 40, 5);
    }
    while (disk_late_land(play->disk))
        ;
    life_end(&life);
}

/* One write or sync fails. */
static void failing(struct play *play)
{
    uint32_t nth = (uint32_t)(play->seed + 1) / 2;
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    if (play->seed % 2)
        play->disk->fail_syncs = nth;
    else
        play->disk->fail_writes = nth;
    (void)life_save(&life, 20, 2);
    (void)life_wait(&life);
    play->disk->fail_syncs = play->disk->fail_writes = 0;
    commit(play, &life, 30, 3);
    life_end(&life);
}

/* One sync of a folder fails: of names under way together it may be the one
 * that all of them waited for. The fifth is one of two new segments'. */
static void failing_folder(struct play *play)
{
    uint32_t nth = play->seed % 2 ? 5 : (uint32_t)play->seed / 2;
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    play->disk->fail_folder_syncs = nth;
    (void)life_save(&life, 20, 2);
    (void)life_wait(&life);
    play->disk->fail_folder_syncs = 0;
    commit(play, &life, 30, 3);
    life_end(&life);
}

/*
 * Another process creates a record; whether that has made its name durable yet
 * is not ours to see.
 */

struct other {
    struct store *store;
    struct store_req req;
    struct wr w;
    char name[RECORD_NAME_BYTES];
};

static void nothing(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
}

/* o->name, with the bytes of o->w. Returns when the name is there, and before
 * it is durable. */
static void other_puts(struct play *play, struct other *o)
{
    struct err err = {0};
    uint32_t before;
    int rc;

    play->disk->process = LIFE_DAEMONS_MAX + 1;
    rc = store_file_open_on(
        DISK_PATH "/home", STORE_OPEN_WRITE,
        disk_io_new(play->disk, LIFE_DAEMONS_MAX + 1, play->seed), &o->store,
        &err);
    assert(rc == 0);
    o->req = (struct store_req){.op = STORE_PUT,
                                .name = o->name,
                                .buf = o->w.data,
                                .len = o->w.bytes,
                                .done = nothing};
    before = play->disk->op_count;
    store_submit(o->store, &o->req);
    for (;;) {
        const struct disk_op *last = &play->disk->op[play->disk->op_count - 1];

        if (play->disk->op_count > before && last->kind == DISK_NAME &&
            strcmp(last->name, strrchr(o->name, '/') + 1) == 0)
            return;
        rc = store_poll(o->store, 0);
        assert(rc == 0);
    }
}

static void other_ends(struct other *o)
{
    store_close(o->store);
    wr_free(&o->w);
}

/* `ckpt gc` buries a save, whose space the daemon then uses. */
static void gc(struct play *play)
{
    struct record_tomb tomb = {.reason = "the test wants it"};
    struct other other = {0};
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    commit(play, &life, 20, 2);
    tomb.id = play->promises.save[0].id;
    record_tomb_encode(&tomb, &other.w);
    (void)name_save(other.name, RIG_RUN, "tomb", &tomb.id);
    other_puts(play, &other);
    commit(play, &life, 30, 3);
    (void)life_until(&life, is_quiet, &life);
    commit(play, &life, 40, 4);
    life_end(&life);
    other_ends(&other);
    play->promises.shape.keep_last = 1; /* what is buried may be gone */
}

/* One daemon cannot reach its home any more, and the other finds that somebody
 * has decided ABORT on what both have voted for. */
static void foreign(struct play *play)
{
    struct record_decision d = {.decision = DECISION_ABORT,
                                .code = -ETIMEDOUT,
                                .reason = "the test wants it"};
    struct store_fault away = {
        .op = -1, .nth = 1, .persistent = true, .error = -EIO};
    struct other other = {0};
    struct promise *s;
    struct life life;
    int rc;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    s = life_save_begin(&life, 20 + play->seed);
    life_save_rank(&life, s, 0, 2);
    life_turn(&life, 3000);
    rc = store_fault_add(test_env_fault(life.g[0]->daemon, RIG_HOME), &away);
    assert(rc == 0);
    life_save_rank(&life, s, 1, 2);
    while (s->v[1]->state < WIRE_STATE_STAGED)
        life_turn(&life, 1);
    life_turn(&life, 20);
    if (s->committed == DISK_NEVER) {
        d.id = s->id;
        record_decision_encode(&d, &other.w);
        (void)name_save(other.name, RIG_RUN, "decision", &s->id);
        other_puts(play, &other);
        life_turn(&life, 20000);
    }
    life_kill(&life);
    if (other.store)
        other_ends(&other);
}

/* The second daemon's table of step 10, as it would write it; free(). */
static void *table_of(const struct life *life, const struct save_id *id,
                      size_t *bytes)
{
    static _Alignas(64) uint8_t record[RECORD_MAX_BYTES];
    static _Alignas(64) uint8_t manifest[RECORD_MAX_BYTES];
    char name[RECORD_NAME_BYTES];
    struct record_decision d;
    struct manifest m;
    struct err err;
    void *table;
    int64_t n = media_get(test_world_store(life->world, RIG_HOME),
                          name_save(name, RIG_RUN, "decision", id), record,
                          sizeof record);
    int rc = record_decision_decode(record, (size_t)n, &d, &err);

    assert(rc == 0 && d.part_count == 0);
    memcpy(manifest, d.inline_bytes, d.manifest_bytes);
    rc = manifest_open(manifest, d.manifest_bytes, &m, &err);
    assert(rc == 0);
    rc = tier_build(&m, &life->g[1]->engine->env->local_uuid,
                    RIG_REMOTE_FILE_BYTES, &table, bytes, &err);
    assert(rc == 0);
    return table;
}

/* One daemon has copied its share, and its table is seen before its name is
 * durable. */
static void drain_foreign(struct play *play)
{
    const struct store_fault away = {.op = STORE_PUT,
                                     .name_part = "/remote/",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -EIO};
    struct other other = {0};
    struct life life;
    size_t bytes;
    void *table;
    int rc;

    begin(play, &life, 1, "first");
    rc = store_fault_add(test_env_fault(life.g[1]->daemon, RIG_HOME), &away);
    assert(rc == 0);
    commit(play, &life, 10, 1);
    life_turn(&life, 3000);
    table = table_of(&life, &play->promises.save[0].id, &bytes);
    wr_bytes(&other.w, table, bytes);
    free(table);
    (void)name_save_daemon(other.name, RIG_RUN, "remote",
                           &play->promises.save[0].id,
                           &life.g[1]->engine->env->local_uuid);
    other_puts(play, &other);
    if (!life_until(&life, is_remote, &life))
        (void)snprintf(play->why, sizeof play->why, "it never is REMOTE");
    life_kill(&life);
    other_ends(&other);
}

const struct scenario scenarios[] = {
    {.name = "save",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4},
     .run = save,
     .seeds = 8},
    {.name = "save-named",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4},
     .run = save,
     .seeds = 1,
     .has_no_tmpfile = true},
    {.name = "save-short",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4},
     .run = save,
     .seeds = 4,
     .writes_short = true},
    {.name = "save-two",
     .shape = {.ranks = 2, .daemons = 2, .tensors = 2, .slots = 4},
     .run = save,
     .seeds = 4},
    {.name = "parts",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 1, .names = 34, .slots = 4},
     .run = save,
     .seeds = 4},
    {.name = "parts-killed",
     .shape = {.ranks = 2,
               .daemons = 1,
               .tensors = 1,
               .names = 34,
               .slots = 4,
               .keep_last = 1},
     .run = killed,
     .seeds = 2,
     .stride = 18},
    {.name = "overlap",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 3},
     .run = overlap,
     .seeds = 6},
    {.name = "abort",
     .shape =
         {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4, .keep_last = 1},
     .run = aborted,
     .seeds = 6},
    {.name = "failing",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4},
     .run = failing,
     .seeds = 16},
    {.name = "failing-folder",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4},
     .run = failing_folder,
     .seeds = 14},
    {.name = "retention",
     .shape =
         {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4, .keep_last = 2},
     .run = retention,
     .seeds = 4},
    {.name = "retention-two",
     .shape =
         {.ranks = 2, .daemons = 2, .tensors = 1, .slots = 4, .keep_last = 1},
     .run = retention,
     .seeds = 4},
    {.name = "retention-failing",
     .shape =
         {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4, .keep_last = 1},
     .run = retention_failing,
     .seeds = 8},
    {.name = "compaction",
     .shape =
         {.ranks = 1, .daemons = 1, .tensors = 6, .slots = 4, .keep_last = 1},
     .run = compaction,
     .seeds = 4},
    {.name = "drain",
     .shape = {.ranks = 2,
               .daemons = 1,
               .tensors = 2,
               .slots = 4,
               .is_packed = true,
               .remote_every = 10},
     .run = drain,
     .seeds = 2},
    {.name = "drain-two",
     .shape = {.ranks = 2,
               .daemons = 2,
               .tensors = 1,
               .slots = 4,
               .is_packed = true,
               .remote_every = 10},
     .run = drain,
     .seeds = 2},
    {.name = "drain-foreign",
     .shape = {.ranks = 2,
               .daemons = 2,
               .tensors = 1,
               .slots = 4,
               .remote_every = 10},
     .run = drain_foreign,
     .seeds = 2},
    {.name = "drain-some",
     .shape = {.ranks = 2,
               .daemons = 1,
               .tensors = 2,
               .slots = 4,
               .keep_last = 1,
               .remote_every = 20},
     .run = drain,
     .seeds = 6},
    {.name = "drain-local",
     .shape = {.ranks = 2,
               .daemons = 1,
               .tensors = 1,
               .slots = 4,
               .remote_every = 20,
               .local_last = 1},
     .run = drain,
     .seeds = 2},
    {.name = "drain-local-killed",
     .shape = {.ranks = 1,
               .daemons = 1,
               .tensors = 1,
               .slots = 4,
               .is_packed = true,
               .remote_every = 20,
               .local_last = 1},
     .run = drain_killed,
     .seeds = 12,
     .stride = 2},
    {.name = "drain-killed",
     .shape = {.ranks = 1,
               .daemons = 1,
               .tensors = 2,
               .slots = 4,
               .remote_every = 20},
     .run = drain_killed,
     .seeds = 16},
    {.name = "gc",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4},
     .run = gc,
     .seeds = 4},
    {.name = "repair",
     .shape = {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4},
     .run = heal_play,
     .check = heal_check,
     .seeds = 4},
    {.name = "foreign",
     .shape = {.ranks = 2, .daemons = 2, .tensors = 1, .slots = 4},
     .run = foreign,
     .seeds = 8},
    {.name = "recovery",
     .shape =
         {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4, .keep_last = 1},
     .run = recovery,
     .seeds = 16},
    {.name = "recovery-two",
     .shape = {.ranks = 2, .daemons = 2, .tensors = 1, .slots = 4},
     .run = recovery,
     .seeds = 8},
    {.name = "killed",
     .shape =
         {.ranks = 2, .daemons = 1, .tensors = 2, .slots = 4, .keep_last = 1},
     .run = killed,
     .seeds = 44},
    {.name = "killed-two",
     .shape = {.ranks = 2, .daemons = 2, .tensors = 1, .slots = 4},
     .run = killed,
     .seeds = 24},
};

const uint32_t scenario_count = ARRAY_LEN(scenarios);

void scenario_play(const struct scenario *s, uint64_t seed, struct play *out)
{
    *out = (struct play){.seed = seed,
                         .stride = s->stride ? s->stride : 1,
                         .promises = {.shape = s->shape}};
    out->disk = disk_new(seed, NULL);
    out->disk->has_no_tmpfile = s->has_no_tmpfile;
    out->disk->writes_short = s->writes_short;
    (void)disk_the(out->disk);
    disk_record(out->disk);
    s->run(out);
    disk_log_end(out->disk);
    (void)disk_the(NULL);
}

bool scenario_check(const struct scenario *s, const struct play *play,
                    const struct image *left, uint32_t at, uint64_t seed,
                    char why[WHY_BYTES])
{
    if (s->check)
        return s->check(play, left, at, seed, why);
    return crash_check(left, &play->promises, at, seed, why);
}

void play_end(struct play *play)
{
    disk_free(play->disk);
}
