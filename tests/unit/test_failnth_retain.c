/*
 * test_failnth_retain.c - passes of retention that lack each of their blocks,
 * meet records that are none of theirs, and are stopped at each turn.
 *
 * Whatever happens: what the policy keeps stays, the newest checkpoint loads,
 * the pass after it does what this one did not, and nothing is leaked.
 */
#include "tests/failnth/failnth.h"
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
#define TENSOR_BYTES (RIG_CHUNK_BYTES / 2 - 100)

static const struct rig_shape shape = {.world_size = 1,
                                       .slots = 4,
                                       .tensors = 1,
                                       .tensor_bytes = TENSOR_BYTES,
                                       .codec = 1,
                                       .entropy = 1,
                                       .keep_last = 1};

static void begin(struct rig_job *f, uint64_t seed)
{
    *f = (struct rig_job){.g = rig_new(seed)};
    f->g->world->cross = failnth_cross;
    rig_job_enter(f, "token", &shape);
}

static void commit(struct rig_job *f, uint64_t step)
{
    rig_job_commit(f, step, step);
}

static void put(const struct rig_job *f, const char *leaf, const void *data,
                size_t bytes)
{
    char name[RECORD_NAME_BYTES];

    assert_int_equal(
        media_put(rig_home(f->g), name_run(name, RIG_RUN, leaf), data, bytes),
        0);
}

static void put_mark(const struct rig_job *f, enum record_kind kind,
                     const char *leaf, const struct save_id *id)
{
    char name[RECORD_NAME_BYTES];

    rig_put_mark(f->g, kind, name_run(name, RIG_RUN, leaf), id);
}

static struct store *home_of(const struct rig_job *f)
{
    return test_env_fault(f->g->daemon, RIG_HOME);
}

static void fault(const struct rig_job *f, int op, const char *part, int error)
{
    const struct store_fault rule = {
        .op = op, .name_part = part, .nth = 1, .error = error};

    assert_int_equal(store_fault_add(home_of(f), &rule), 0);
}

static void end(struct rig_job *f)
{
    store_fault_clear(home_of(f));
    (void)rig_check(f->g, f->v[0]);
    rig_free(f->g);
}

/* Steps 10, 12 and 20; the leases on 10 and 12 have just died, so that the next
 * pass reads 20 back and removes both. */
static struct save_id ready(struct rig_job *f, uint64_t seed)
{
    struct save_id first;

    begin(f, seed);
    commit(f, 10);
    first = f->v[0]->id;
    put_mark(f, RECORD_LEASE, "lease/dead.0", &first);
    commit(f, 12);
    put_mark(f, RECORD_LEASE, "lease/dead.1", &f->v[0]->id);
    commit(f, 20);
    rig_settle(f->g);
    assert_int_equal(rig_status(f->g, 10), SAVE_COMMITTED);
    f->g->world->now_ns += (uint64_t)70 * 1000000000;
    return first;
}

/* A pass begins now. */
static void pass(const struct rig_job *f)
{
    bool was = failnth_cross(true);

    retain_run(rig_the_run(f->g));
    (void)failnth_cross(was);
}

/* The next commit's pass removes all that is older. */
static void rest(struct rig_job *f)
{
    f->g->world->now_ns += (uint64_t)70 * 1000000000;
    commit(f, 80);
    rig_settle(f->g);
    f->g->world->now_ns += (uint64_t)70 * 1000000000;
    commit(f, 90);
    rig_settle(f->g);
    for (uint64_t step = 10; step <= 80; step += 10)
        if (rig_status(f->g, step))
            assert_int_equal(rig_status(f->g, step), SAVE_REMOVED);
    end(f);
}

/*
 * Memory.
 */

static bool without_memory(uint64_t nth)
{
    int64_t before = failnth_live();
    char leaf[32];
    struct rig_job f;
    bool fired;

    (void)ready(&f, nth);
    for (int i = 0; i < 9; i++) {
        (void)snprintf(leaf, sizeof leaf, "lease/reader.%d", i);
        put_mark(&f, RECORD_LEASE, leaf, &f.v[0]->id);
    }
    failnth_arm(FAILNTH_MEMORY, nth, false);
    pass(&f);
    rig_settle(f.g);
    fired = failnth->fired > 0;
    failnth_disarm();
    rest(&f);
    assert_int_equal(failnth_live(), before);
    return fired;
}

static void every_block_of_a_pass_may_be_lacking(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (without_memory(nth))
        nth++;
    print_message("%lu allocations failed\n", (unsigned long)nth - 1);
    assert_true(nth > 30);
}

/*
 * Requests that fail, and what they leave undone.
 */

static void what_a_pass_cannot_read_or_write_is_done_by_the_next(void **state)
{
    static const struct {
        int op, error;
        const char *part;
        bool is_harmless; /* 10 goes all the same */
    } faults[] = {
        {STORE_LIST, -EIO, "/tomb", false},
        {STORE_LIST, -EIO, "/pin", false},
        {STORE_LIST, -EIO, "/damaged", false},
        {STORE_LIST, -EIO, "/lease", false},
        {STORE_LIST, -EIO, "/verified", false},
        {STORE_PUT, -EIO, "/verified/", false},
        {STORE_PUT, -EEXIST, "/verified/", true},
        {STORE_PUT, -EIO, "/tomb/", false},
        {STORE_PUT, -EEXIST, "/tomb/", true},
        {STORE_REMOVE, -EIO, "/intent/", true},
        {STORE_REMOVE, -ENOENT, "/intent/", true},
        {STORE_LIST, -EIO, "/manifest", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct rig_job f;

        (void)ready(&f, i + 1);
        fault(&f, faults[i].op, faults[i].part, faults[i].error);
        pass(&f);
        rig_settle(f.g);
        if (rig_status(f.g, 10) !=
            (faults[i].is_harmless ? SAVE_REMOVED : SAVE_COMMITTED))
            fail_msg("fault %zu: %d", i, (int)rig_status(f.g, 10));
        rest(&f);
    }
}

/* A tomb of others that cannot be made durable lets nothing go. */
static void a_tomb_that_may_not_be_durable_frees_nothing(void **state)
{
    struct save_id first;
    struct rig_job f;

    (void)state;
    first = ready(&f, 1);
    rig_bury(f.g, &first);
    fault(&f, STORE_PUT, "/tomb/", -EIO);
    pass(&f);
    rig_settle(f.g);
    assert_false(test_env_logged(f.g->daemon, "its space is free"));
    pass(&f);
    rig_settle(f.g);
    assert_true(test_env_logged(f.g->daemon, "its space is free"));
    rest(&f);
}

/* It was seen, and a crash has taken it: it is made again before anything is
 * let go. */
static void a_tomb_that_was_lost_is_made_again(void **state)
{
    struct catalog_save gone = {.status = SAVE_REMOVED};
    struct rig_job f;

    (void)state;
    gone.id = ready(&f, 1);
    assert_int_equal(catalog_note_save(&rig_the_run(f.g)->catalog, &gone, ""),
                     0);
    pass(&f);
    rig_settle(f.g);
    assert_true(test_env_logged(f.g->daemon, "its space is free"));
    assert_true(rig_home_has(f.g, "tomb", &gone.id));
    rest(&f);
}

/* What is being decided holds its own, whatever its tomb says. */
static void a_tomb_of_what_is_being_decided_waits(void **state)
{
    (void)state;
    for (uint64_t turns = 0; turns < 60; turns++) {
        struct save_id id;
        struct rig_job f;

        id = ready(&f, turns);
        id.step = 30;
        rig_bury(f.g, &id);
        f.v[0] = rig_save(f.r[0], 30, 30, 0);
        for (uint64_t i = 0; i < 100; i++) {
            if (i >= turns)
                retain_no_room(f.g->engine); /* passes without the policy */
            (void)rig_run(f.g, 0, NULL, NULL);
        }
        pass(&f);
        rig_settle(f.g);
        rest(&f);
    }
}

/*
 * Records that are none of theirs.
 */

static void names_of_others_mean_nothing(void **state)
{
    static const char unknown[] = "00000009-00000000000000000099-0001";
    static const char *const folders[] = {"tomb", "pin", "damaged", "manifest",
                                          "vote"};
    struct save_id stranger = {.generation = 9, .attempt = 1, .step = 99};
    char leaf[320], text[SAVE_ID_TEXT_BYTES], longer[230];
    struct save_id first;
    struct rig_job f;

    (void)state;
    begin(&f, 1);
    commit(&f, 10);
    first = f.v[0]->id;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        (void)snprintf(leaf, sizeof leaf, "%s/noise", folders[i]);
        put(&f, leaf, "x", 1);
        (void)snprintf(leaf, sizeof leaf, "%s/%s", folders[i], unknown);
        put(&f, leaf, "x", 1);
        (void)snprintf(leaf, sizeof leaf, "%s/%s.bak", folders[i], unknown);
        put(&f, leaf, "x", 1);
        (void)snprintf(leaf, sizeof leaf, "%s/%s.%s", folders[i],
                       save_id_format(&first, text), "zz");
        if (i != 2) /* that one would be damage */
            put(&f, leaf, "x", 1);
    }
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)snprintf(leaf, sizeof leaf, "vote/%s.%.220s",
                   save_id_format(&first, text), longer);
    put(&f, leaf, "x", 1);
    put_mark(&f, RECORD_LEASE, "lease/stranger.0", &stranger);
    commit(&f, 20);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    assert_int_equal(rig_status(f.g, 20), SAVE_COMMITTED);
    end(&f);
}

/* More readers than fit at first, one that is gone when it is looked at, and
 * names that are too long for one. */
static void many_leases_are_looked_at(void **state)
{
    struct save_id first;
    char leaf[200];
    struct rig_job f;

    (void)state;
    begin(&f, 1);
    commit(&f, 10);
    first = f.v[0]->id;
    for (int i = 0; i < 20; i++) {
        (void)snprintf(leaf, sizeof leaf, "lease/reader%d.0", i);
        put_mark(&f, RECORD_LEASE, leaf, &first);
    }
    fault(&f, STORE_GET, "/lease/reader7", -ENOENT);
    commit(&f, 20);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
    fault(&f, STORE_GET, "/lease/late", -EIO);
    put_mark(&f, RECORD_LEASE, "lease/late.0", &first);
    commit(&f, 30);
    rig_settle(f.g);
    assert_true(test_env_logged(f.g->daemon, "a lease cannot be read"));
    memset(leaf, 'a', 140);
    leaf[140] = '\0';
    memcpy(leaf, "lease/", 6);
    put_mark(&f, RECORD_LEASE, leaf, &first);
    commit(&f, 40);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
    assert_true(test_env_logged(f.g->daemon, "cannot be told by its"));
    end(&f);
}

/* The newest is known to be damaged, or lost: nothing goes because of it. */
static void nothing_goes_behind_one_that_is_damaged_or_lost(void **state)
{
    (void)state;
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        struct err why = {-CKPT_ECORRUPT, "a segment is gone"};
        char leaf[128], text[SAVE_ID_TEXT_BYTES];
        struct rig_job f;

        (void)ready(&f, 1);
        if (is_lost) {
            catalog_note_lost(&rig_the_run(f.g)->catalog, &f.v[0]->id, &why);
        } else {
            (void)snprintf(leaf, sizeof leaf, "damaged/%s.0",
                           save_id_format(&f.v[0]->id, text));
            put_mark(&f, RECORD_DAMAGED, leaf, &f.v[0]->id);
        }
        pass(&f);
        rig_settle(f.g);
        assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
        rest(&f);
    }
}

/* A mark of others that the newest was read back is as good as an own one. */
static void what_others_have_read_back_is_not_read_again(void **state)
{
    char leaf[128], text[SAVE_ID_TEXT_BYTES];
    struct rig_job f;

    (void)state;
    (void)ready(&f, 1);
    (void)snprintf(leaf, sizeof leaf, "verified/%s",
                   save_id_format(&f.v[0]->id, text));
    put_mark(&f, RECORD_VERIFIED, leaf, &f.v[0]->id);
    pass(&f);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    rest(&f);
}

/* A pin of a save, of a stranger, and of no save at all. */
static void pins_hold_what_they_name(void **state)
{
    char leaf[128], text[SAVE_ID_TEXT_BYTES];
    struct save_id first;
    struct rig_job f;

    (void)state;
    first = ready(&f, 1);
    (void)snprintf(leaf, sizeof leaf, "pin/%s", save_id_format(&first, text));
    put_mark(&f, RECORD_PIN, leaf, &first);
    pass(&f);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_COMMITTED);
    end(&f);
}

/*
 * Stopping.
 */

static void a_pass_may_be_stopped_at_every_turn(void **state)
{
    uint32_t busy = 0;

    (void)state;
    for (uint64_t turns = 0; turns < 120; turns++) {
        int64_t before = failnth_live();
        struct save_id first;
        struct rig_job f;

        first = ready(&f, turns);
        if (turns % 3 == 0)
            rig_bury(f.g, &first);
        pass(&f);
        for (uint64_t i = 0; i < turns / 2; i++)
            (void)rig_run(f.g, 0, NULL, NULL);
        if (turns % 2)
            pass(&f); /* once more, after this one */
        busy += retain_is_busy(rig_the_run(f.g));
        engine_halt(f.g->engine);
        (void)rig_run(f.g, 1000, NULL, NULL);
        rig_free(f.g);
        assert_int_equal(failnth_live(), before);
    }
    assert_true(busy > 10);
}

static void without_commits_there_is_nothing_to_stop(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 1);
    assert_false(retain_is_busy(rig_the_run(f.g)));
    failnth_arm(FAILNTH_MEMORY, 1, false);
    pass(&f);
    assert_int_equal(failnth->fired, 1);
    failnth_disarm();
    assert_null(rig_the_run(f.g)->retention);
    rig_free(f.g);
    begin(&f, 2);
    engine_halt(f.g->engine);
    pass(&f);
    assert_null(rig_the_run(f.g)->retention);
    rig_free(f.g);
}

static void attached(void *arg, int result, struct run *run,
                     const struct err *err)
{
    (void)run;
    (void)err;
    *(int *)arg = result;
}

static void a_run_that_is_being_attached_is_left_alone(void **state)
{
    struct rig_job f;
    int result = 1;

    (void)state;
    begin(&f, 1);
    run_attach(f.g->engine, RIG_HOME, "other", attached, &result);
    retain_no_room(f.g->engine);
    (void)rig_run(f.g, 1000, NULL, NULL);
    assert_int_equal(result, 0);
    rig_free(f.g);
}

/* A save that others wait for stands on a checkpoint that the policy lets go:
 * that one waits, and is looked at again. */
static void what_a_save_stands_on_waits(void **state)
{
    struct store_fault broken = {.op = STORE_PUT,
                                 .name_part =
                                     "/decision/00000001-00000000000000000030",
                                 .nth = 1,
                                 .error = -EIO,
                                 .persistent = true};
    struct store_fault slow = {.op = STORE_LIST,
                               .name_part = "/tomb",
                               .nth = 1,
                               .delay_polls = 200000};
    struct rig_save *held;
    struct save_id base;
    struct rig_job f;

    (void)state;
    (void)ready(&f, 1);
    base = f.v[0]->id;
    assert_int_equal(store_fault_add(home_of(&f), &broken), 0);
    held = rig_save(f.r[0], 30, 30, 0);
    (void)rig_run(f.g, 500, NULL, NULL);
    commit(&f, 40);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    pass(&f);
    (void)rig_run(f.g, 100, NULL, NULL);
    /* Others remove it, and a later one. */
    rig_bury(f.g, &base);
    rig_bury(f.g, &f.v[0]->id);
    retain_no_room(f.g->engine);
    (void)rig_run(f.g, 100, NULL, NULL);
    /* The next look comes while a pass is under way. */
    assert_int_equal(store_fault_add(home_of(&f), &slow), 0);
    pass(&f);
    (void)rig_run(f.g, 3000, NULL, NULL);
    store_fault_clear(home_of(&f));
    (void)rig_run(f.g, 100000, NULL, NULL);
    assert_true(held->state >= WIRE_STATE_COMMITTED);
    rest(&f);
}

/*
 * Two daemons.
 */

static void pair_save(struct rig_pair *p, uint64_t step)
{
    rig_pair_save(p, step, 0);
    rig_pair_decide(p);
    assert_int_equal(p->v[0]->state, WIRE_STATE_COMMITTED);
}

static void pair_begin(struct rig_pair *p, uint64_t seed)
{
    struct rig_shape two = shape;

    two.world_size = 2;
    rig_pair_begin(p, seed, &two);
    pair_save(p, 10);
    rig_pair_turn(p, 30000);
}

/* Of one daemon the mark of its share cannot be written, or is there. */
static void a_share_whose_mark_fails_is_read_again(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        const struct store_fault rule = {.op = STORE_PUT,
                                         .name_part = "/verified/",
                                         .nth = 1,
                                         .error = how ? -EEXIST : -EIO};
        struct rig_pair p;

        pair_begin(&p, (uint64_t)how + 1);
        test_env_fail(p.g[0]->daemon, RIG_HOME, &rule);
        pair_save(&p, 20);
        rig_pair_turn(&p, 60000);
        store_fault_clear(test_env_fault(p.g[0]->daemon, RIG_HOME));
        pair_save(&p, 30);
        rig_pair_turn(&p, 60000);
        assert_int_equal(rig_status(p.g[0], 10), SAVE_REMOVED);
        rig_pair_end(&p);
    }
}

/* One ends at any turn of a pass in which the other's share is missing. */
static void a_daemon_may_end_while_shares_are_missing(void **state)
{
    (void)state;
    for (uint64_t turns = 0; turns < 100; turns++) {
        struct store_fault broken = {
            .op = STORE_READ, .nth = 1, .persistent = true, .error = -EIO};
        struct rig_pair p;

        pair_begin(&p, turns);
        test_env_fail(p.g[1]->daemon, "local", &broken);
        pair_save(&p, 20);
        for (uint64_t i = 0; i < turns; i++)
            rig_pair_turn(&p, 0);
        engine_halt(p.g[0]->engine);
        rig_pair_turn(&p, 1000);
        assert_false(retain_is_busy(rig_the_run(p.g[0])));
        rig_pair_end(&p);
    }
}

/* The same while the mark of its own share is on its way. */
static void a_daemon_may_end_while_its_mark_is_written(void **state)
{
    struct store_fault broken = {
        .op = STORE_READ, .nth = 1, .persistent = true, .error = -EIO};
    struct store_fault slow = {.op = STORE_PUT,
                               .name_part = "/verified/",
                               .nth = 1,
                               .delay_polls = 20000};
    struct rig_pair p;

    (void)state;
    pair_begin(&p, 1);
    test_env_fail(p.g[1]->daemon, "local", &broken);
    test_env_fail(p.g[0]->daemon, RIG_HOME, &slow);
    pair_save(&p, 20);
    p.g[0]->world->step_ns = 1000 * 1000; /* polls take long */
    rig_pair_turn(&p, 5000);
    assert_true(retain_is_busy(rig_the_run(p.g[0])));
    engine_halt(p.g[0]->engine);
    rig_pair_turn(&p, 60000);
    assert_false(retain_is_busy(rig_the_run(p.g[0])));
    rig_pair_end(&p);
}

/* While somebody loads nothing goes, however much could. */
static void loads_hold_all_that_could_go(void **state)
{
    struct rig_want want = {.owner = 0};
    struct rig_load *l;
    struct rig_job f;

    (void)state;
    (void)ready(&f, 1);
    rig_wish(f.r[0], 7, &want, 1, TENSOR_BYTES);
    pass(&f); /* reads back what is to stay, before there is a load */
    l = rig_load(f.r[0], &f.v[0]->id);
    l->is_holding = true;
    (void)rig_run(f.g, 2000, NULL, NULL);
    rig_load_consume(l);
    assert_true(rig_run(f.g, LIMIT_MS, rig_loads_done, f.g));
    assert_int_equal(l->code, 0);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
    assert_int_equal(rig_status(f.g, 12), SAVE_REMOVED);
    rest(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_of_a_pass_may_be_lacking),
        cmocka_unit_test(what_a_pass_cannot_read_or_write_is_done_by_the_next),
        cmocka_unit_test(a_tomb_that_may_not_be_durable_frees_nothing),
        cmocka_unit_test(names_of_others_mean_nothing),
        cmocka_unit_test(many_leases_are_looked_at),
        cmocka_unit_test(nothing_goes_behind_one_that_is_damaged_or_lost),
        cmocka_unit_test(what_others_have_read_back_is_not_read_again),
        cmocka_unit_test(a_tomb_that_was_lost_is_made_again),
        cmocka_unit_test(a_tomb_of_what_is_being_decided_waits),
        cmocka_unit_test(pins_hold_what_they_name),
        cmocka_unit_test(a_pass_may_be_stopped_at_every_turn),
        cmocka_unit_test(without_commits_there_is_nothing_to_stop),
        cmocka_unit_test(a_run_that_is_being_attached_is_left_alone),
        cmocka_unit_test(what_a_save_stands_on_waits),
        cmocka_unit_test(a_share_whose_mark_fails_is_read_again),
        cmocka_unit_test(a_daemon_may_end_while_shares_are_missing),
        cmocka_unit_test(a_daemon_may_end_while_its_mark_is_written),
        cmocka_unit_test(loads_hold_all_that_could_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
