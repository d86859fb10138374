/*
 * scenario.c - see scenario.h. Each begins with an empty disk, so that the
 * first records and folders of a home are among what may be lost; the words of
 * a scenario's name are its table's below.
 */
#include "tests/crash/scenario.h"

#include "ckptd/engine/retain.h"
#include "tests/crash/states.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

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

/* SIGKILL after so many operations of a save as the seed says; writes that were
 * under way land while the next life recovers, and saves. */
static void killed(struct play *play)
{
    struct life life;

    begin(play, &life, 1, "first");
    commit(play, &life, 10, 1);
    play->disk->stop_at = play->disk->op_count + (uint32_t)play->seed - 1;
    (void)life_save(&life, 20, 2);
    life_turn(&life, 20);
    play->disk->stop_at = DISK_NEVER;
    life_kill(&life);
    begin(play, &life, 2, "second");
    life.lands_late = true;
    promises_resume(&life);
    commit(play, &life, 20, 3);
    commit(play, &life, 30, 4);
    commit(play, &life, 40, 5);
    while (disk_late_land(play->disk))
        ;
    life_end(&life);
}

const struct scenario scenarios[] = {
    {"save", {2, 1, 2, 4, 0}, save, 8, false, false},
    {"save-named", {2, 1, 2, 4, 0}, save, 2, true, false},
    {"save-short", {2, 1, 2, 4, 0}, save, 4, false, true},
    {"save-two", {2, 2, 2, 4, 0}, save, 8, false, false},
    {"overlap", {2, 1, 2, 3, 0}, overlap, 6, false, false},
    {"abort", {2, 1, 2, 4, 1}, aborted, 6, false, false},
    {"retention", {2, 1, 2, 4, 2}, retention, 4, false, false},
    {"retention-two", {2, 2, 1, 4, 1}, retention, 4, false, false},
    {"compaction", {1, 1, 6, 4, 1}, compaction, 4, false, false},
    {"recovery", {2, 1, 2, 4, 1}, recovery, 24, false, false},
    {"recovery-two", {2, 2, 1, 4, 0}, recovery, 8, false, false},
    {"killed", {2, 1, 2, 4, 1}, killed, 64, false, false},
    {"killed-two", {2, 2, 1, 4, 0}, killed, 24, false, false},
};

const uint32_t scenario_count = ARRAY_LEN(scenarios);

void scenario_play(const struct scenario *s, uint64_t seed, struct play *out)
{
    *out = (struct play){.seed = seed, .promises = {.shape = s->shape}};
    out->disk = disk_new(seed, NULL);
    out->disk->has_no_tmpfile = s->has_no_tmpfile;
    out->disk->writes_short = s->writes_short;
    (void)disk_the(out->disk);
    disk_record(out->disk);
    s->run(out);
    disk_log_end(out->disk);
    (void)disk_the(NULL);
}

void play_end(struct play *play)
{
    disk_free(play->disk);
}
