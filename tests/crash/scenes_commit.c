/*
 * scenes_commit.c - one decision for all, whoever comes late, anew or not at
 * all. See directed.h.
 */
#include "tests/crash/scenes.h"

#include "formats/chunk.h"
#include "formats/record.h"
#include "formats/writelist.h"
#include "tests/crash/disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct life_shape small = {
    .ranks = 2, .daemons = 1, .tensors = 2, .slots = 8};

static bool is_joined(void *arg)
{
    return rig_joined(arg);
}

/* Another start of the job, of one rank, through the second daemon. */
static struct rig_rank *start_anew(struct stage *s)
{
    struct rig_rank *r = rig_rank_new(s->life.g[1], 0, 1);

    rig_open(r, "another start");
    return r;
}

/* A save that begins after the job was started anew. */
bool scene_closed(uint64_t seed, char why[WHY_BYTES])
{
    static const struct life_shape shape = {.ranks = 1,
                                            .daemons = 2,
                                            .tensors = 1,
                                            .slots = 8,
                                            .is_at_first = true};
    const struct promise *v;
    struct stage s;
    bool ok = true;

    stage_begin(&s, seed, &shape, why);
    (void)stage_commit(&s, 10, 1);
    (void)life_until(&s.life, is_joined, start_anew(&s));
    v = life_save(&s.life, 20, 2);
    (void)life_wait(&s.life);
    if (v->committed != DISK_NEVER)
        ok = stage_fails(&s, "I3: step 20 is COMMITTED in a generation that "
                             "another has gone on from, at step 10");
    return stage_end(&s, ok);
}

/* The job is started anew while a save is undecided. */
bool scene_unresolved(uint64_t seed, char why[WHY_BYTES])
{
    static const struct life_shape shape = {.ranks = 2,
                                            .daemons = 2,
                                            .tensors = 1,
                                            .slots = 8,
                                            .is_at_first = true};
    struct rig_rank *anew;
    struct promise *v;
    struct stage s;
    bool ok = true;

    stage_begin(&s, seed, &shape, why);
    (void)stage_commit(&s, 10, 1);
    v = life_save_begin(&s.life, 20);
    life_save_rank(&s.life, v, 0, 2);
    life_turn(&s.life, 500);
    anew = start_anew(&s);
    life_turn(&s.life, 5000);
    life_save_rank(&s.life, v, 1, 2);
    (void)life_wait(&s.life);
    (void)life_until(&s.life, is_joined, anew);
    if (v->committed != DISK_NEVER && anew->parent.step != 20)
        ok = stage_fails(&s,
                         "I3: step 20 is COMMITTED, but the next start goes on "
                         "from step %" PRIu64,
                         anew->parent.step);
    return stage_end(&s, ok);
}

/* Somebody else creates ABORT first. */
bool scene_decided(uint64_t seed, char why[WHY_BYTES])
{
    struct record_decision d = {.decision = DECISION_ABORT,
                                .code = -ETIMEDOUT,
                                .reason = "the test wants it"};
    struct promise *v;
    struct stage s;
    struct wr w = {0};
    bool ok = true;

    stage_begin(&s, seed, &small, why);
    (void)stage_commit(&s, 10, 1);
    v = life_save_begin(&s.life, 20);
    life_save_rank(&s.life, v, 0, 2);
    life_turn(&s.life, 100);
    d.id = v->id;
    record_decision_encode(&d, &w);
    stage_put(&s, "decision", &v->id, &w);
    life_save_rank(&s.life, v, 1, 2);
    (void)life_wait(&s.life);
    if (v->committed != DISK_NEVER)
        ok = stage_fails(&s, "I1: told COMMITTED, and ABORT is on record");
    return stage_end(&s, ok);
}

/* A tensor of which nobody holds the second half. */
bool scene_hole(uint64_t seed, char why[WHY_BYTES])
{
    static const struct life_shape shape = {
        .ranks = 1, .daemons = 1, .tensors = 1, .slots = 8};
    const uint64_t half = RIG_CHUNK_BYTES / 2;
    struct entry e = {.name = "half", .replica_count = 1};
    struct wire_table table = {.number = 1};
    const struct promise *v;
    struct wr bare = {0}, w = {0};
    struct stage s;
    bool ok = true;
    int rc;

    e.geometry.dtype = DTYPE_U16;
    e.geometry.ndim = 1;
    e.geometry.shape[0] = 2 * half;
    e.region.is_cut = true;
    e.region.cut_count = half;
    stage_begin(&s, seed, &shape, why);
    table_encode(&e, 1, &bare);
    table.data = bare.data;
    table.bytes = (uint32_t)bare.bytes;
    wire_table_encode(&table, &w);
    rig_send(s.life.r[0], WIRE_TABLE, 0, 4, &w);
    wr_free(&w);
    wr_free(&bare);
    writelist_free(&s.life.r[0]->list);
    rc = writelist_build(&e, 1, RIG_CHUNK_BYTES, &s.life.r[0]->list);
    assert(rc == 0);
    v = life_save(&s.life, 10, 1);
    (void)life_wait(&s.life);
    if (v->committed != DISK_NEVER)
        ok = stage_fails(&s, "a checkpoint with a hole is COMMITTED");
    return stage_end(&s, ok);
}

/* A daemon loses its home after it has voted; the other one commits. */
bool scene_voted(uint64_t seed, char why[WHY_BYTES])
{
    static const struct life_shape shape = {
        .ranks = 2, .daemons = 2, .tensors = 1, .slots = 8};
    struct store_fault away = {
        .op = -1, .nth = 1, .persistent = true, .error = -EIO};
    struct store *home;
    struct promise *v;
    struct stage s;
    bool ok = true;
    int rc;

    stage_begin(&s, seed, &shape, why);
    (void)stage_commit(&s, 10, 1);
    v = life_save_begin(&s.life, 20);
    life_save_rank(&s.life, v, 0, 2);
    life_turn(&s.life, 2000);
    home = test_env_fault(s.life.g[0]->daemon, RIG_HOME);
    rc = store_fault_add(home, &away);
    assert(rc == 0);
    life_save_rank(&s.life, v, 1, 2);
    life_turn(&s.life, 700000); /* past the decide deadline */
    store_fault_clear(home);
    (void)life_wait(&s.life);
    if (v->committed != DISK_NEVER && v->aborted != DISK_NEVER)
        ok = stage_fails(&s, "I1: one rank is told COMMITTED, one ABORTED");
    return stage_end(&s, ok);
}

/*
 * Both daemons have voted; the first is kept from reading what becomes of it.
 * The other commits, and then the save is removed with all its records.
 */
static struct promise *removed_behind(struct stage *s, uint64_t seed,
                                      char why[WHY_BYTES])
{
    static const struct life_shape shape = {
        .ranks = 2, .daemons = 2, .tensors = 1, .slots = 8};
    static const char *const folders[] = {"/vote/", "/decision/"};
    struct store *home;
    struct promise *v;

    stage_begin(s, seed, &shape, why);
    (void)stage_commit(s, 10, 1);
    v = life_save_begin(&s->life, 20);
    life_save_rank(&s->life, v, 0, 2);
    life_turn(&s->life, 2000);
    home = test_env_fault(s->life.g[0]->daemon, RIG_HOME);
    for (uint32_t i = 0; i < ARRAY_LEN(folders); i++) {
        struct store_fault blind = {.op = STORE_GET,
                                    .name_part = folders[i],
                                    .nth = 1,
                                    .persistent = true,
                                    .error = -EIO};
        int rc = store_fault_add(home, &blind);

        assert(rc == 0);
    }
    life_save_rank(&s->life, v, 1, 2);
    for (int i = 0; i < 600 && v->v[1]->state != WIRE_STATE_COMMITTED; i++)
        life_turn(&s->life, 100);
    assert(v->v[1]->state == WIRE_STATE_COMMITTED);
    assert(v->v[0]->state < WIRE_STATE_COMMITTED);
    stage_bury(s, v, true);
    return v;
}

/* It can read again: it finds neither a decision nor votes. */
bool scene_removed_unseen(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *v;
    struct stage s;
    bool ok = true;

    v = removed_behind(&s, seed, why);
    store_fault_clear(test_env_fault(s.life.g[0]->daemon, RIG_HOME));
    life_turn(&s.life, 60000);
    if (v->v[0]->state != WIRE_STATE_COMMITTED)
        ok = stage_fails(&s, "I4: a minute after its home is back a rank is "
                             "not told of a save that all have committed");
    return stage_end(&s, ok);
}

/* It cannot, and at the deadline creates ABORT where COMMIT has been. */
bool scene_removed_late(uint64_t seed, char why[WHY_BYTES])
{
    const struct promise *v;
    struct stage s;
    bool ok = true;

    v = removed_behind(&s, seed, why);
    life_turn(&s.life, 700000); /* past the decide deadline */
    if (v->v[0]->state == WIRE_STATE_ABORTED)
        ok = stage_fails(&s, "I1: one rank is told COMMITTED, one ABORTED");
    else if (v->v[0]->state != WIRE_STATE_COMMITTED)
        ok = stage_fails(&s, "I4: a rank is told nothing");
    return stage_end(&s, ok);
}

/*
 * A vote is on record, no decision, and the daemon is killed; then something
 * happens to a segment that the vote names.
 */

static bool killed_after_vote(struct stage *s, uint64_t seed,
                              char why[WHY_BYTES],
                              void (*harm)(struct stage *s, uint32_t folder,
                                           uint32_t entry))
{
    uint32_t votes, before, folder;
    const struct promise *ten;
    bool ok = true;

    stage_begin(s, seed, &small, why);
    ten = stage_commit(s, 10, 1);
    folder = stage_file(s, "local-a/seg");
    before = s->disk->live.node[folder].entry_count;
    votes = stage_file(s, "home/runs/" RIG_RUN "/vote");
    (void)life_save(&s->life, 20, 2);
    for (int i = 0; i < 2000 && s->disk->live.node[votes].entry_count < 2;
         i++) {
        s->disk->stop_at = s->disk->op_count + 1;
        life_turn(&s->life, 1);
    }
    assert(s->disk->live.node[votes].entry_count == 2);
    s->disk->stop_at = DISK_NEVER;
    stage_kill(s);
    harm(s, folder, before);
    if (!stage_next(s))
        return stage_end(s, false);
    if (s->life.r[0]->parent.step != 10)
        ok = stage_fails(s, "I1: step 20 is COMMITTED without its data");
    return stage_end(s, ok && stage_loads(s, ten));
}

static void unlink_it(struct stage *s, uint32_t folder, uint32_t entry)
{
    disk_take_name(s->disk, folder,
                   s->disk->live.node[folder].entry[entry].name);
}

bool scene_lost(uint64_t seed, char why[WHY_BYTES])
{
    struct stage s;

    return killed_after_vote(&s, seed, why, unlink_it);
}

static void make_it_another(struct stage *s, uint32_t folder, uint32_t entry)
{
    uint32_t file = s->disk->live.node[folder].entry[entry].node;
    struct content **content = &s->disk->live.node[file].content;
    struct segment_header header;
    uint8_t page[PAGE_BYTES];
    struct err err;
    int rc;

    content_read(*content, 0, page, sizeof page);
    rc = segment_header_decode(page, &header, &err);
    assert(rc == 0);
    header.segment.b[0] ^= 1;
    segment_header_encode(&header, page);
    content_write(content, 0, page, sizeof page, NULL);
}

bool scene_other_incarnation(uint64_t seed, char why[WHY_BYTES])
{
    struct stage s;

    return killed_after_vote(&s, seed, why, make_it_another);
}
