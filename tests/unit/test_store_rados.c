/*
 * test_store_rados.c - the back end for RADOS on a double (rados_double.h) that
 * loses, delays, spoils and repeats: what is opened and what is refused, that
 * every outcome is true after all, and that nothing is done twice or found
 * wrong. test_store_rados_faults.c is about bounds, and about everything at
 * once.
 */
#include "storage/store_rados.h"
#include "tests/lib/rados_rig.h"

/*
 * Opening.
 */

static void a_home_is_made_once_and_knows_its_data_pool(void **state)
{
    struct store *store;
    struct err err;
    char text[512];

    (void)state;
    assert_int_equal(
        open_home("rados://meta/none", STORE_OPEN_WRITE, &store, &err),
        -ENOENT);
    assert_non_null(strstr(err.text, "no home at rados://meta/none"));
    assert_int_equal(open_home("rados://meta/space", 0, &store, &err), 0);
    store_describe(store, text, sizeof text);
    assert_non_null(strstr(text, "blobs in pool data, namespace space"));
    /* The double's configuration says so; the rig, when to give up. */
    assert_non_null(strstr(text, "2000 ms an operation, 300 ms a request"));
    store_close(store);
    assert_int_equal(open_home("rados://meta/space?data_pool=meta",
                               STORE_OPEN_WRITE | STORE_OPEN_CREATE, &store,
                               &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "in pool data, not in meta"));
}

static void what_cannot_be_opened_is_told_with_its_cure(void **state)
{
    static const struct {
        const char *url;
        unsigned flags;
        struct rados_weather weather;
        int code;
        const char *word;
    } bad[] = {
        {"rados://meta", 0, {0}, -EINVAL, "no namespace"},
        {"rados://nope/n", 0, {0}, -ENOENT, "pool nope"},
        {"rados://meta/n?data_pool=nope",
         STORE_OPEN_CREATE,
         {0},
         -ENOENT,
         "pool nope"},
        {"rados://data/n",
         STORE_OPEN_CREATE,
         {0},
         -EOPNOTSUPP,
         "replicated pool"},
        {"rados://meta/n?conf=/absent", 0, {0}, -ENOENT, "/absent"},
        {RADOS_HOME, 0, {.is_shut = true}, -ETIMEDOUT, "monitors"},
        {RADOS_HOME, 0, {.is_down = true}, -ETIMEDOUT, "OSDs"},
        {RADOS_HOME, 0, {.is_forbidden = true}, -EACCES, "do not take the key"},
        {RADOS_HOME, 0, {.is_shut = true}, -ETIMEDOUT, "v2:192.0.2.1:3300"},
        {"rados://meta/n",
         STORE_OPEN_CREATE,
         {.is_full = true},
         -ENOSPC,
         "get-quota meta"},
        {RADOS_HOME, STORE_OPEN_LOCAL, {0}, -EREMOTE, "local"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct store *store = NULL;
        struct err err;

        rados_double_weather(&bad[i].weather);
        assert_int_equal(open_home(bad[i].url, bad[i].flags, &store, &err),
                         bad[i].code);
        if (!strstr(err.text, bad[i].word))
            fail_msg("%s: %s", bad[i].url, err.text);
        rados_double_weather(&fair);
    }
}

static void a_store_for_reading_writes_nothing(void **state)
{
    struct store *store, *writer = *state;
    struct err err;

    assert_int_equal(do_put(writer, "f/a", "text"), 0);
    assert_int_equal(open_home(RADOS_HOME, 0, &store, &err), 0);
    assert_int_equal(do_put(store, "f/b", "x"), -EROFS);
    assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), -EROFS);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "f/b", "x", 1), -EROFS);
    assert_int_equal(do_record(store, STORE_BLOB_REMOVE, "f/b", NULL, 0),
                     -EROFS);
    assert_record(store, "f/a", "text");
    assert_int_equal(listed(store, "f"), 1);
    store_close(store);
}

/*
 * Outcomes.
 */

static void a_creation_whose_answer_is_lost_is_found(void **state)
{
    struct store *store = *state;

    rule("r:f/a", true, 1, RULE_DONE, -ETIMEDOUT);
    assert_int_equal(do_put(store, "f/a", "mine"), 0);
    rule("r:f/b", true, 1, RULE_NOT_DONE, -ETIMEDOUT);
    assert_int_equal(do_put(store, "f/b", "mine"), 0);
    rule("c:f", true, 1, RULE_DONE, -ETIMEDOUT);
    assert_int_equal(do_put(store, "f/c", "mine"), 0);
    assert_int_equal(listed(store, "f"), 3);
    assert_int_equal(do_put(store, "f/a", "other"), -EEXIST);
    assert_record(store, "f/a", "mine");
}

static void a_creation_that_lands_late_finds_its_second_try(void **state)
{
    struct store *store = *state;

    rule("r:f/a", true, 1, RULE_HOLD, 0);
    assert_int_equal(do_put(store, "f/a", "mine"), 0);
    rados_double_land();
    assert_int_equal(rados_double_counts().late_landed, 1);
    assert_record(store, "f/a", "mine");
    assert_int_equal(listed(store, "f"), 1);
}

/* Nobody knows; then another wins; the late one must not. */
static void a_late_creation_does_not_unseat_the_winner(void **state)
{
    struct store *mine = *state, *theirs;
    struct rados_weather weather = {.late_overtaken = true,
                                    .rule = {.object = "r:f/a",
                                             .is_write = true,
                                             .nth = 1,
                                             .persists = true,
                                             .how = RULE_HOLD}};
    struct err err;

    assert_int_equal(open_home(RADOS_HOME, STORE_OPEN_WRITE, &theirs, &err), 0);
    rados_double_weather(&weather);
    assert_int_equal(do_put(mine, "f/a", "mine"), -ETIMEDOUT);
    rados_double_weather(&fair);
    assert_int_equal(listed(mine, "f"), 0);
    assert_int_equal(do_put(theirs, "f/a", "theirs"), 0);
    rados_double_land();
    assert_true(rados_double_counts().late_landed > 0);
    assert_record(mine, "f/a", "theirs");
    assert_int_equal(do_put(mine, "f/a", "mine"), -EEXIST);
    store_close(theirs);
}

static void a_creation_of_unknown_outcome_may_still_happen(void **state)
{
    struct store *store = *state;
    struct rados_weather weather = {.late_overtaken = true,
                                    .rule = {.object = "r:f/a",
                                             .is_write = true,
                                             .nth = 1,
                                             .persists = true,
                                             .how = RULE_HOLD}};

    rados_double_weather(&weather);
    assert_int_equal(do_put(store, "f/a", "mine"), -ETIMEDOUT);
    rados_double_weather(&fair);
    assert_null(do_get(store, "f/a"));
    rados_double_land();
    assert_record(store, "f/a", "mine");
    /* Its name was in the catalogue all the time. */
    assert_int_equal(listed(store, "f"), 1);
    assert_int_equal(do_put(store, "f/a", "mine"), -EEXIST);
}

/* A removal that lands after the name was taken anew. */
static void a_late_removal_spares_what_came_after(void **state)
{
    struct store *store = *state;

    assert_int_equal(do_put(store, "f/pin", "old"), 0);
    rule("r:f/pin", true, 1, RULE_HOLD, 0);
    assert_int_equal(do_record(store, STORE_REMOVE, "f/pin", NULL, 0), 0);
    assert_int_equal(do_put(store, "f/pin", "new"), 0);
    rados_double_land();
    assert_int_equal(rados_double_counts().late_landed, 1);
    assert_record(store, "f/pin", "new");
    assert_int_equal(listed(store, "f"), 1);
}

static void a_removal_whose_answer_is_lost_has_removed(void **state)
{
    struct store *store = *state;

    assert_int_equal(do_put(store, "f/a", "x"), 0);
    rule("r:f/a", true, 1, RULE_DONE, -ETIMEDOUT);
    assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), 0);
    assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), -ENOENT);
    assert_int_equal(listed(store, "f"), 0);
    assert_false(rados_double_has_key("meta", "c:f", "ra/"));
}

/* The loser's creation did not answer, and lands when the winner's is gone. */
static void a_creation_that_lands_after_all_is_listed(void **state)
{
    struct store *mine = *state, *theirs;
    struct err err;

    assert_int_equal(open_home(RADOS_HOME, STORE_OPEN_WRITE, &theirs, &err), 0);
    assert_int_equal(do_put(theirs, "f/a", "theirs"), 0);
    rule("r:f/a", true, 1, RULE_HOLD, 0);
    assert_int_equal(do_put(mine, "f/a", "mine"), -EEXIST);
    rados_double_weather(&fair);
    assert_int_equal(do_record(theirs, STORE_REMOVE, "f/a", NULL, 0), 0);
    assert_int_equal(listed(mine, "f"), 0);
    rados_double_land();
    assert_record(theirs, "f/a", "mine");
    assert_int_equal(listed(theirs, "f"), 1);
    store_close(theirs);
}

/* What is removed between a creation's two attempts takes away the name of the
 * first alone, however late. */
static void each_attempt_has_a_name_of_its_own(void **state)
{
    struct store *mine = *state, *theirs;
    struct batch batch = batch_new(1);
    struct err err;

    assert_int_equal(open_home(RADOS_HOME, STORE_OPEN_WRITE, &theirs, &err), 0);
    batch.req[0] = (struct store_req){.op = STORE_PUT, .name = "f/a"};
    rule("r:f/a", true, 1, RULE_DONE, -ETIMEDOUT);
    batch_submit(mine, &batch);
    rados_double_land();
    while (do_record(theirs, STORE_STAT, "f/a", NULL, 0) < 0) {
        assert_int_equal(store_poll(mine, 0), 0);
        rados_double_land();
    }
    rule("c:f", true, 1, RULE_HOLD, 0);
    assert_int_equal(do_record(theirs, STORE_REMOVE, "f/a", NULL, 0), 0);
    rados_double_weather(&fair);
    batch_wait(mine, &batch);
    assert_int_equal(batch.req[0].result, 0);
    rados_double_land();
    assert_int_equal(rados_double_counts().late_landed, 1);
    assert_int_equal(do_record(theirs, STORE_STAT, "f/a", NULL, 0), 0);
    assert_int_equal(listed(theirs, "f"), 1);
    store_close(theirs);
    free(batch.req);
}

static void a_name_that_is_removed_and_taken_at_once_stays_listed(void **state)
{
    struct store *store = *state;
    const struct rados_weather weather = {.delay_us = 30};
    char second[] = "second";

    rados_double_weather(&weather);
    for (int round = 0; round < 100; round++) {
        struct batch batch;
        bool is_there;

        assert_int_equal(do_put(store, "f/a", "first"), 0);
        batch = batch_contend(store, "f/a", second);
        is_there = do_record(store, STORE_STAT, "f/a", NULL, 0) >= 0;
        assert_int_equal(listed(store, "f"), is_there);
        if (is_there)
            assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), 0);
        free(batch.req);
    }
    assert_int_equal(listed(store, "f"), 0);
}

/*
 * Catalogues.
 */

static void the_name_is_in_the_catalogue_before_the_object(void **state)
{
    struct store *store = *state;

    rule("c:runs", true, 1, RULE_NOT_DONE, -EIO);
    assert_int_equal(do_put(store, "runs/a/b", "x"), -EIO);
    rados_double_weather(&fair);
    assert_int_equal(do_record(store, STORE_STAT, "runs/a/b", NULL, 0),
                     -ENOENT);
    rule("r:runs/a/b", true, 1, RULE_NOT_DONE, -EDQUOT);
    assert_int_equal(do_put(store, "runs/a/b", "x"), -EDQUOT);
    rados_double_weather(&fair);
    /* What has certainly not been created leaves no key. */
    assert_false(rados_double_has_key("meta", "c:runs/a", "rb/"));
    assert_int_equal(do_put(store, "runs/a/b", "x"), 0);
    assert_true(rados_double_has_key("meta", "c:runs/a", "rb/"));
    assert_true(rados_double_has_key("meta", "c:runs", "da"));
    assert_true(rados_double_has_key("meta", "c:", "druns"));
    assert_int_equal(rados_double_delete("meta", "r:runs/a/b"), 0);
    assert_int_equal(listed(store, "runs/a"), 0);
}

static void the_loser_leaves_no_key(void **state)
{
    struct store *store = *state;
    uint64_t keys;

    assert_int_equal(do_put(store, "f/a", "x"), 0);
    keys = rados_double_counts().keys;
    for (int i = 0; i < 10; i++)
        assert_int_equal(do_put(store, "f/a", "y"), -EEXIST);
    assert_int_equal(rados_double_counts().keys, keys);
    assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), 0);
    assert_int_equal(rados_double_counts().keys, keys - 1);
}

static void a_listing_that_fails_says_so(void **state)
{
    struct store *store = *state;
    struct store_req req = {.op = STORE_LIST, .name = "f"};
    char name[32];

    for (int i = 0; i < 60; i++) {
        (void)snprintf(name, sizeof name, "f/n%d", i);
        assert_int_equal(do_put(store, name, "x"), 0);
    }
    rule("r:f/n", false, 45, RULE_NOT_DONE, -EIO);
    assert_int_equal(store_run(store, &req), -EIO);
    assert_int_equal(req.names.count, 0);
    rule("c:f", false, 3, RULE_NOT_DONE, -EACCES);
    assert_int_equal(store_run(store, &req), -EACCES);
    rule("r:f/n", false, 45, RULE_NOT_DONE, -ETIMEDOUT);
    assert_int_equal(listed(store, "f"), 60);
}

/*
 * Rot.
 */

static void what_rots_is_not_handed_over(void **state)
{
    struct store *store = *state;
    char got[8];
    struct store_req get = {
        .op = STORE_GET, .name = "f/a", .buf = got, .len = sizeof got};
    struct store_req part = {
        .op = STORE_BLOB_GET, .name = "f/b", .buf = got, .len = 4};

    assert_int_equal(do_put(store, "f/a", "12345678"), 0);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "f/b", "12345678", 8), 0);
    assert_int_equal(rados_double_flip("meta", "r:f/a", 3), 0);
    assert_int_equal(rados_double_flip("data", "b:f/b", 7), 0);
    assert_int_equal(store_run(store, &get), -CKPT_ECORRUPT);
    assert_int_equal(store_run(store, &part), 4);
    part.len = 8;
    assert_int_equal(store_run(store, &part), -CKPT_ECORRUPT);
    assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), 0);
    assert_int_equal(do_record(store, STORE_BLOB_REMOVE, "f/b", NULL, 0), 0);
}

static void a_seal_holds_for_its_object_alone(void **state)
{
    const struct seal seal = {
        .bytes = 123456789, .nonce = {{1, 2, 3}}, .crc = 0xdeadbeef};
    uint8_t bytes[SEAL_BYTES];
    struct seal back;

    (void)state;
    seal_encode(&seal, "r:a", bytes);
    assert_int_equal(seal_decode(bytes, sizeof bytes, "r:a", &back), 0);
    assert_int_equal(back.bytes, seal.bytes);
    assert_int_equal(back.crc, seal.crc);
    assert_true(id_equal(&back.nonce, &seal.nonce));
    assert_int_equal(seal_decode(bytes, sizeof bytes, "r:b", &back),
                     -CKPT_ECORRUPT);
    assert_int_equal(seal_decode(bytes, sizeof bytes - 1, "r:a", &back),
                     -CKPT_ECORRUPT);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(seal_decode(bytes, sizeof bytes, "r:a", &back),
                         -CKPT_ECORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void what_is_spoilt_on_its_way_is_told_by_put(void **state)
{
    struct store *store = *state;
    const struct rados_weather weather = {.spoilt = 1000};

    rados_double_weather(&weather);
    assert_int_equal(do_put(store, "f/a", "x"), -CKPT_ECORRUPT);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "f/b", "x", 1),
                     -CKPT_ECORRUPT);
}

static void a_store_for_timings_does_not_read_what_it_puts(void **state)
{
    const struct store_rados_options options = {
        .api = rados_double_api(), .give_up_ms = 300, .puts_unread = true};
    struct store *store;
    struct err err;

    assert_int_equal(
        store_rados_open(RADOS_HOME, STORE_OPEN_WRITE, &options, &store, &err),
        0);
    rule("r:f/a", false, 1, RULE_NOT_DONE, -EIO);
    assert_int_equal(do_put(store, "f/a", "x"), 0);
    assert_int_equal(rados_double_counts().rules, 0);
    assert_int_equal(do_put(*state, "f/a", "y"), -EEXIST);
    assert_int_equal(rados_double_counts().rules, 1);
    rados_double_weather(&fair);
    assert_record(store, "f/a", "x");
    store_close(store);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_DOUBLE(a_home_is_made_once_and_knows_its_data_pool),
        ON_DOUBLE(what_cannot_be_opened_is_told_with_its_cure),
        ON_DOUBLE(a_store_for_reading_writes_nothing),
        ON_DOUBLE(a_creation_whose_answer_is_lost_is_found),
        ON_DOUBLE(a_creation_that_lands_late_finds_its_second_try),
        ON_DOUBLE(a_late_creation_does_not_unseat_the_winner),
        ON_DOUBLE(a_creation_of_unknown_outcome_may_still_happen),
        ON_DOUBLE(a_late_removal_spares_what_came_after),
        ON_DOUBLE(a_removal_whose_answer_is_lost_has_removed),
        ON_DOUBLE(a_creation_that_lands_after_all_is_listed),
        ON_DOUBLE(each_attempt_has_a_name_of_its_own),
        ON_DOUBLE(a_name_that_is_removed_and_taken_at_once_stays_listed),
        ON_DOUBLE(the_name_is_in_the_catalogue_before_the_object),
        ON_DOUBLE(the_loser_leaves_no_key),
        ON_DOUBLE(a_listing_that_fails_says_so),
        ON_DOUBLE(what_rots_is_not_handed_over),
        cmocka_unit_test(a_seal_holds_for_its_object_alone),
        ON_DOUBLE(what_is_spoilt_on_its_way_is_told_by_put),
        ON_DOUBLE(a_store_for_timings_does_not_read_what_it_puts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
