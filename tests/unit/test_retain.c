/*
 * test_retain.c - passes of retention: what stays and what goes, pins, leases,
 * reading back, crashes, loads meanwhile, several daemons, and the space that
 * is used over a long life. (Which saves go: test_retain_choose.c.)
 */
#include "ckptd/engine/manifest_hold.h"
#include "tests/lib/load_rig.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_job.h"
#include "tests/lib/rig_pair.h"
#include "tests/lib/rig_retain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS     900000
#define TENSOR_BYTES (5 * (uint64_t)RIG_CHUNK_BYTES - 100)

static struct rig_shape shape_of(uint32_t keep_last, uint32_t keep_every)
{
    return (struct rig_shape){.world_size = 2,
                              .slots = 12,
                              .tensors = 2,
                              .tensor_bytes = TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1,
                              .keep_last = keep_last,
                              .keep_every = keep_every};
}

static void begin(struct rig_job *f, uint64_t seed, uint32_t keep_last,
                  uint32_t keep_every)
{
    struct rig_shape shape = shape_of(keep_last, keep_every);

    rig_job_begin(f, seed, &shape);
}

static void enter(struct rig_job *f, const char *token)
{
    struct rig_shape shape = shape_of(1, 0);

    rig_job_enter(f, token, &shape);
}

static void commit(struct rig_job *f, uint64_t step)
{
    rig_job_commit(f, step, step);
}

/*
 * Passes.
 */

static void the_last_are_kept(void **state)
{
    struct rig_job f;
    struct save_id first;

    (void)state;
    begin(&f, 1, 2, 0);
    commit(&f, 10);
    first = f.v[0]->id;
    for (uint64_t step = 20; step <= 60; step += 10) {
        commit(&f, step);
        rig_settle(f.g);
        for (uint64_t s = 10; s <= step; s += 10)
            assert_int_equal(rig_status(f.g, s),
                             s + 10 < step ? SAVE_REMOVED : SAVE_COMMITTED);
    }
    assert_true(rig_home_has(f.g, "tomb", &first));
    assert_false(rig_home_has(f.g, "decision", &first));
    assert_false(rig_home_has(f.g, "intent", &first));
    assert_true(rig_home_has(f.g, "verified", &f.v[0]->id));
    (void)rig_check(f.g, f.v[0]);
    rig_free(f.g);
}

static void every_nth_is_kept(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 2, 1, 30);
    for (uint64_t step = 10; step <= 100; step += 10)
        commit(&f, step);
    rig_settle(f.g);
    for (uint64_t s = 10; s <= 100; s += 10)
        assert_int_equal(rig_status(f.g, s),
                         s % 30 && s < 100 ? SAVE_REMOVED : SAVE_COMMITTED);
    rig_free(f.g);
}

static void without_a_policy_all_stay(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 3, 0, 0);
    for (uint64_t step = 10; step <= 50; step += 10)
        commit(&f, step);
    rig_settle(f.g);
    for (uint64_t s = 10; s <= 50; s += 10)
        assert_int_equal(rig_status(f.g, s), SAVE_COMMITTED);
    assert_false(rig_home_has(f.g, "verified", &f.v[0]->id));
    rig_free(f.g);
}

static void pins_are_kept_until_they_are_taken_away(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct save_id id;
    struct rig_job f;

    (void)state;
    begin(&f, 4, 1, 0);
    commit(&f, 10);
    id = f.v[0]->id;
    rig_put_mark(f.g, RECORD_PIN, name_save(name, RIG_RUN, "pin", &id), &id);
    for (uint64_t step = 20; step <= 40; step += 10)
        commit(&f, step);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
    assert_int_equal(rig_status(f.g, 20), SAVE_REMOVED);
    (void)rig_check_as(f.g, f.g, &id);
    assert_int_equal(media_remove(rig_home(f.g), name), 0);
    (void)strcat(name, ".bak"); /* a copy beside it means nothing */
    rig_put_mark(f.g, RECORD_PIN, name, &id);
    commit(&f, 50);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    rig_free(f.g);
}

/* A lease counts while its record changes; 60 s without, and it is dead. */
static void leases_are_kept_while_they_live(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct save_id id;
    struct rig_job f;

    (void)state;
    begin(&f, 5, 1, 0);
    commit(&f, 10);
    id = f.v[0]->id;
    for (uint32_t i = 0; i < 6; i++) { /* renewed every 40 s */
        char leaf[64];

        if (i > 0)
            assert_int_equal(media_remove(rig_home(f.g), name), 0);
        (void)snprintf(leaf, sizeof leaf, "lease/reader.%u", i);
        rig_put_mark(f.g, RECORD_LEASE, name_run(name, RIG_RUN, leaf), &id);
        commit(&f, 20 + i);
        rig_settle(f.g);
        assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
        (void)rig_run(f.g, 40000, NULL, NULL);
        f.g->world->now_ns += (uint64_t)40 * 1000000000;
    }
    f.g->world->now_ns += (uint64_t)30 * 1000000000;
    commit(&f, 90);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    rig_free(f.g);
}

static void a_lease_that_cannot_be_read_stops_the_pass(void **state)
{
    static const char name[] = "runs/" RIG_RUN "/lease/bad.0";
    struct rig_job f;

    (void)state;
    begin(&f, 6, 1, 0);
    commit(&f, 10);
    assert_int_equal(media_put(rig_home(f.g), name, "garbage", 7), 0);
    commit(&f, 20);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
    assert_true(test_env_logged(f.g->daemon, "a lease cannot be read"));
    assert_int_equal(media_remove(rig_home(f.g), name), 0);
    commit(&f, 30);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    rig_free(f.g);
}

static void nothing_goes_before_the_newest_is_read_back(void **state)
{
    struct store_fault fault = {
        .op = STORE_READ, .nth = 3, .persistent = true, .error = -EIO};
    struct rig_job f;
    struct store *local;

    (void)state;
    begin(&f, 7, 1, 0);
    local = test_env_fault(f.g->daemon, "local");
    commit(&f, 10);
    assert_int_equal(store_fault_add(local, &fault), 0);
    commit(&f, 20);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
    assert_false(rig_home_has(f.g, "verified", &f.v[0]->id));
    assert_true(test_env_logged(f.g->daemon, "nothing more is removed"));
    store_fault_clear(local);
    commit(&f, 30);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    assert_int_equal(rig_status(f.g, 20), SAVE_REMOVED);
    rig_free(f.g);
}

static void the_parent_stays(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 8, 1, 0);
    for (uint64_t step = 10; step <= 30; step += 10)
        commit(&f, step);
    rig_settle(f.g);
    rig_die(f.r[0]);
    rig_die(f.r[1]);
    enter(&f, "second");
    assert_int_equal(f.r[0]->parent.step, 30);
    for (uint64_t step = 40; step <= 60; step += 10)
        commit(&f, step);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 30), SAVE_COMMITTED);
    assert_int_equal(rig_status(f.g, 40), SAVE_REMOVED);
    assert_int_equal(rig_status(f.g, 50), SAVE_REMOVED);
    rig_free(f.g);
}

/*
 * Requests that fail, and crashes.
 */

static bool one_failure(bool is_local, uint64_t nth, bool persistent)
{
    struct store_fault fault = {
        .op = -1, .nth = nth, .persistent = persistent, .error = -EIO};
    struct rig_job f;
    struct store *s;
    bool has_fired;

    begin(&f, nth, 1, 0);
    commit(&f, 10);
    commit(&f, 20);
    rig_settle(f.g);
    s = test_env_fault(f.g->daemon, is_local ? "local" : RIG_HOME);
    rig_job_save(&f, 30, 30, 0);
    rig_job_decide(&f);
    assert_int_equal(store_fault_add(s, &fault), 0); /* the pass is to come */
    rig_settle(f.g);
    has_fired = store_fault_count(s) > 0;
    store_fault_clear(s);
    (void)rig_check(f.g, f.v[0]);
    commit(&f, 40);
    rig_settle(f.g);
    (void)rig_check(f.g, f.v[0]);
    assert_int_equal(rig_status(f.g, 20), SAVE_REMOVED);
    assert_int_equal(rig_status(f.g, 30), SAVE_REMOVED);
    rig_free(f.g);
    return has_fired;
}

static void every_request_of_a_pass_may_fail(void **state)
{
    (void)state;
    for (int is_local = 0; is_local < 2; is_local++)
        for (int persistent = 0; persistent < 2; persistent++) {
            uint64_t nth = 1;

            while (one_failure(is_local, nth, persistent))
                nth++;
            assert_true(nth > 3);
        }
}

/* The mark that the newest checkpoint was read back is on its way. */
static bool is_read_back(void *arg)
{
    const struct rig_job *f = arg;

    return rig_home_has(f->g, "verified", &f->v[0]->id);
}

/* SIGKILL after any number of turns of a pass: what is left loads, what has a
 * tomb is gone for good, and its segments are free in the next life. */
static void a_crash_in_a_pass_loses_nothing(void **state)
{
    uint32_t cut = 0;

    (void)state;
    for (uint64_t turns = 0; turns < 90; turns++) {
        struct rig_job f, again = {.n = 2};
        struct save_id last;
        struct segpool_stats stats;
        bool has_tomb, has_decision;

        begin(&f, turns, 1, 0);
        f.g->has_shared_world = true;
        commit(&f, 10);
        commit(&f, 20);
        last = f.v[0]->id;
        if (turns % 4)
            assert_true(rig_run(f.g, LIMIT_MS, is_read_back, &f));
        for (uint64_t i = 0; i < turns; i++)
            (void)rig_run(f.g, 0, NULL, NULL);
        rig_kill(f.g);
        rig_end(f.g);
        has_tomb = rig_home_has(f.g, "tomb",
                                &(struct save_id){.generation = 1,
                                                  .step = 10,
                                                  .attempt = last.attempt});
        has_decision = rig_home_has(f.g, "decision",
                                    &(struct save_id){.generation = 1,
                                                      .step = 10,
                                                      .attempt = last.attempt});
        cut += has_tomb && has_decision;
        again.g = rig_new_in(f.g->world, "a");
        enter(&again, "second");
        assert_int_equal(again.r[0]->parent.step, 20);
        (void)rig_check_as(again.g, f.g, &last);
        assert_int_equal(rig_status(again.g, 10),
                         has_tomb ? SAVE_REMOVED : SAVE_COMMITTED);
        segpool_stats(again.g->engine->pool, &stats);
        /* A rank writes a segment per save. */
        assert_int_equal(stats.count[SEGMENT_HELD], has_tomb ? 2 : 4);
        assert_int_equal(stats.count[SEGMENT_POISONED], 0);
        commit(&again, 30);
        rig_settle(again.g);
        assert_int_equal(rig_status(again.g, 10), SAVE_REMOVED);
        rig_free(f.g);
        rig_free(again.g);
    }
    (void)fprintf(stderr, "%u crashes between tomb and records\n", cut);
    assert_true(cut > 0);
}

/*
 * Loads meanwhile.
 */

/* An older save is read while retention wants it: it waits, or the read is not
 * found before its first byte. */
static void a_read_is_whole_or_not_found(void **state)
{
    uint32_t found = 0, gone = 0;

    (void)state;
    for (uint64_t turns = 0; turns < 120; turns++) {
        struct rig_want want[2] = {{.owner = 0}, {.owner = 0, .tensor = 1}};
        struct save_id id;
        struct rig_load *l;
        struct rig_job f;

        begin(&f, turns, 1, 0);
        commit(&f, 10);
        id = f.v[0]->id;
        rig_wish(f.r[0], 7, want, 2, TENSOR_BYTES);
        commit(&f, 20);
        if (turns % 4)
            assert_true(rig_run(f.g, LIMIT_MS, is_read_back, &f));
        for (uint64_t i = 0; i < turns; i++)
            (void)rig_run(f.g, 0, NULL, NULL);
        l = rig_load(f.r[0], &id);
        assert_true(rig_run(f.g, LIMIT_MS, rig_loads_done, f.g));
        if (l->code == 0) {
            rig_load_check(l, f.g, &id);
            found++;
        } else {
            assert_int_equal(l->code, -ENOENT);
            assert_int_equal(l->delivered_count, 0);
            gone++;
        }
        rig_settle(f.g);
        assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
        rig_free(f.g);
    }
    (void)fprintf(stderr, "%u read, %u not found\n", found, gone);
    assert_true(found > 0 && gone > 0);
}

static bool has_fired(void *arg)
{
    return store_fault_count(arg) > 0;
}

/* The tomb is on its way: nobody begins to read what it is for. */
static void a_read_that_begins_during_a_removal_is_not_found(void **state)
{
    struct store_fault slow = {
        .op = STORE_PUT, .name_part = "tomb/", .nth = 1, .delay_polls = 500};
    struct rig_want want[2] = {{.owner = 0}, {.owner = 0, .tensor = 1}};
    struct store *home;
    struct rig_load *l;
    struct save_id id;
    struct rig_job f;

    (void)state;
    begin(&f, 10, 1, 0);
    home = test_env_fault(f.g->daemon, RIG_HOME);
    commit(&f, 10);
    id = f.v[0]->id;
    rig_wish(f.r[0], 7, want, 2, TENSOR_BYTES);
    assert_int_equal(store_fault_add(home, &slow), 0);
    commit(&f, 20);
    assert_true(rig_run(f.g, LIMIT_MS, has_fired, home));
    l = rig_load(f.r[0], &id);
    assert_true(rig_run(f.g, LIMIT_MS, rig_loads_done, f.g));
    assert_false(rig_home_has(f.g, "tomb", &id));
    assert_int_equal(l->code, -ENOENT);
    assert_int_equal(l->delivered_count, 0);
    rig_settle(f.g);
    assert_true(rig_home_has(f.g, "tomb", &id));
    rig_free(f.g);
}

static void a_held_read_is_waited_for(void **state)
{
    struct rig_want want[2] = {{.owner = 0}, {.owner = 0, .tensor = 1}};
    struct rig_load *l;
    struct save_id id;
    struct rig_job f;

    (void)state;
    begin(&f, 9, 1, 0);
    commit(&f, 10);
    id = f.v[0]->id;
    rig_wish(f.r[0], 7, want, 2, TENSOR_BYTES);
    l = rig_load(f.r[0], &id);
    l->is_silent = true;
    (void)rig_run(f.g, 100, NULL, NULL);
    commit(&f, 20);
    (void)rig_run(f.g, 30000, NULL, NULL);
    assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
    rig_load_vote(l);
    rig_settle(f.g);
    assert_int_equal(l->code, 0);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    rig_free(f.g);
}

/*
 * Space.
 */

struct fetching {
    struct held_manifest *held;
    bool is_done;
};

static void on_fetched(void *arg, int result, struct held_manifest *held,
                       const struct err *err)
{
    struct fetching *x = arg;

    (void)err;
    assert_int_equal(result, 0);
    x->held = held;
    x->is_done = true;
}

static bool is_fetched(void *arg)
{
    return ((struct fetching *)arg)->is_done;
}

/* Bytes of the distinct extents that checkpoints refer to. */
static uint64_t referenced(struct rig_job *f)
{
    const struct catalog *c = &rig_the_run(f->g)->catalog;
    struct {
        struct id128 segment;
        uint32_t number;
    } seen[512];
    size_t count = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < c->save_count; i++) {
        struct fetching x = {0};
        const struct manifest *m;

        if (c->save[i].status != SAVE_COMMITTED)
            continue;
        manifest_fetch(rig_the_run(f->g), &c->save[i].id, on_fetched, &x);
        assert_true(rig_run(f->g, LIMIT_MS, is_fetched, &x));
        m = &x.held->manifest;
        for (uint64_t k = 0; k < m->chunk_count; k++) {
            const struct id128 *id = &m->segment[m->chunk[k].segment].segment;
            size_t at = 0;

            while (at < count && (!id_equal(&seen[at].segment, id) ||
                                  seen[at].number != m->chunk[k].number))
                at++;
            if (at < count)
                continue;
            assert_true(count < ARRAY_LEN(seen));
            seen[count].segment = *id;
            seen[count++].number = m->chunk[k].number;
            bytes += chunk_extent_bytes(m->location[k].payload_bytes);
        }
        held_manifest_put(x.held);
    }
    return bytes;
}

static void save_changed(struct rig_job *f, uint64_t step, uint32_t changed,
                         uint64_t changed_seed)
{
    for (uint32_t i = 0; i < f->n; i++) {
        f->r[i]->changed = changed;
        f->r[i]->changed_seed = changed_seed;
        f->v[i] = rig_save(f->r[i], step, 1, 0);
    }
    assert_true(rig_run(f->g, LIMIT_MS, rig_all_decided, f->g));
    assert_int_equal(f->v[0]->state, WIRE_STATE_COMMITTED);
    rig_settle(f->g);
    (void)rig_check(f->g, f->v[0]);
}

/* Percent: what is allocated, spare segments aside, of what is referenced.
 * Spare segments are at most one save. */
static uint64_t space(struct rig_job *f)
{
    uint64_t save = f->n * (2 * TENSOR_BYTES + 20 * (uint64_t)PAGE_BYTES);
    struct segpool_stats stats;

    segpool_stats(f->g->engine->pool, &stats);
    assert_true(stats.free_bytes <= save);
    assert_int_equal(stats.count[SEGMENT_POISONED], 0);
    return (stats.allocated_bytes - stats.free_bytes) * 100 / referenced(f);
}

/*
 * Incremental saves that change a part of the state, for a long time. A save
 * that leaves little of old segments in use may go beyond twice of what is
 * referenced (three times is what can be), but the saves behind it, which
 * rewrite what is left, bring it back even when nothing changes any more.
 */
static void space_is_bounded(uint32_t keep_last, uint32_t most)
{
    struct rig_job f;
    uint64_t worst = 0, worst_at_rest = 0, step = 0;

    begin(&f, keep_last * most, keep_last, 0);
    for (uint64_t round = 1; round <= 20; round++) {
        uint32_t changed = 1 + (uint32_t)(test_random(f.g->world) % most);

        save_changed(&f, ++step, changed, round);
        worst = max_u64(worst, space(&f));
        assert_true(worst <= 300);
        if (round % 2)
            continue; /* the next change at once */
        for (uint32_t i = 0; i < keep_last; i++)
            save_changed(&f, ++step, changed, round);
        worst_at_rest = max_u64(worst_at_rest, space(&f));
        assert_true(worst_at_rest <= 200);
    }
    (void)fprintf(stderr,
                  "keep %u, up to %u of 10 chunks change: %.2f times of what "
                  "is referenced, %.2f at rest\n",
                  keep_last, most, (double)worst / 100,
                  (double)worst_at_rest / 100);
    rig_free(f.g);
}

static void allocated_is_at_most_twice_referenced(void **state)
{
    (void)state;
    for (uint32_t keep = 1; keep <= 3; keep++)
        for (uint32_t most = 2; most <= 10; most += 4)
            space_is_bounded(keep, most);
}

/*
 * Two daemons.
 */

static void pair_commit(struct rig_pair *p, uint64_t step)
{
    rig_pair_save(p, step, 0);
    rig_pair_decide(p);
    assert_int_equal(p->v[0]->state, WIRE_STATE_COMMITTED);
    rig_pair_turn(p, 30000);
}

static void each_daemon_reads_its_share_back(void **state)
{
    struct store_fault fault = {
        .op = STORE_READ, .nth = 1, .persistent = true, .error = -EIO};
    struct rig_shape shape = shape_of(1, 0);
    struct rig_pair p;
    struct store *other;

    (void)state;
    rig_pair_begin(&p, 30, &shape);
    other = test_env_fault(p.g[1]->daemon, "local");
    pair_commit(&p, 10);
    assert_int_equal(store_fault_add(other, &fault), 0);
    pair_commit(&p, 20); /* one half of it is not good */
    assert_int_equal(rig_status(p.g[0], 10), SAVE_COMMITTED);
    assert_int_equal(rig_status(p.g[1], 10), SAVE_COMMITTED);
    store_fault_clear(other);
    pair_commit(&p, 30);
    for (int i = 0; i < 2; i++) {
        struct segpool_stats stats;

        assert_int_equal(rig_status(p.g[i], 10), SAVE_REMOVED);
        assert_int_equal(rig_status(p.g[i], 20), SAVE_REMOVED);
        segpool_stats(p.g[i]->engine->pool, &stats);
        assert_int_equal(stats.count[SEGMENT_HELD], 1);
    }
    rig_pair_end(&p);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_are_kept),
        cmocka_unit_test(every_nth_is_kept),
        cmocka_unit_test(without_a_policy_all_stay),
        cmocka_unit_test(pins_are_kept_until_they_are_taken_away),
        cmocka_unit_test(leases_are_kept_while_they_live),
        cmocka_unit_test(a_lease_that_cannot_be_read_stops_the_pass),
        cmocka_unit_test(nothing_goes_before_the_newest_is_read_back),
        cmocka_unit_test(the_parent_stays),
        cmocka_unit_test(every_request_of_a_pass_may_fail),
        cmocka_unit_test(a_crash_in_a_pass_loses_nothing),
        cmocka_unit_test(a_read_is_whole_or_not_found),
        cmocka_unit_test(a_read_that_begins_during_a_removal_is_not_found),
        cmocka_unit_test(a_held_read_is_waited_for),
        cmocka_unit_test(allocated_is_at_most_twice_referenced),
        cmocka_unit_test(each_daemon_reads_its_share_back),
    };

    return cmocka_run_group_tests_name("retain", tests, NULL, NULL);
}
