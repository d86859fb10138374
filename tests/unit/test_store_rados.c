/*
 * test_store_rados.c - the back end for RADOS on a double (rados_double.h) that
 * loses, delays, spoils and repeats: what is opened and what is refused, that
 * every outcome is true after all, that nothing is done twice or found wrong,
 * and that nothing waits for ever.
 */
#include "storage/store_rados.h"
#include "tests/lib/store_kinds.h"

#define HOME "rados://meta/space?data_pool=data"
#define MIB  ((size_t)1 << 20)

/* What is held back stays so. */
static const struct rados_weather fair = {.late_overtaken = true};

static int open_home(const char *url, unsigned flags, struct store **out,
                     struct err *err)
{
    const struct store_rados_options options = {.api = rados_double_api(),
                                                .give_up_ms = 300};

    *err = (struct err){0};
    return store_rados_open(url, flags, &options, out, err);
}

static int double_setup(void **state)
{
    struct err err;
    struct store *store;

    rados_double_start(7);
    if (open_home(HOME, STORE_OPEN_WRITE | STORE_OPEN_CREATE, &store, &err) < 0)
        fail_msg("%s", err.text);
    *state = store;
    return 0;
}

static int double_teardown(void **state)
{
    store_close(*state);
    rados_double_stop();
    return 0;
}

static void rule(const char *object, bool is_write, uint32_t nth, int how,
                 int error)
{
    struct rados_weather weather = {
        .late_overtaken = true,
        .rule = {.object = object, .is_write = is_write, .nth = nth}};

    weather.rule.error = error;
    weather.rule.how = how;
    rados_double_weather(&weather);
}

static size_t listed(struct store *store, const char *folder)
{
    struct store_req req = {.op = STORE_LIST, .name = folder};
    size_t count;

    assert_int_equal(store_run(store, &req), 0);
    count = req.names.count;
    store_names_free(&req.names);
    return count;
}

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
        {HOME, 0, {.is_shut = true}, -ETIMEDOUT, "monitors"},
        {HOME, 0, {.is_down = true}, -ETIMEDOUT, "OSDs"},
        {HOME, 0, {.is_forbidden = true}, -EACCES, "osd 'allow rwx"},
        {HOME, STORE_OPEN_LOCAL, {0}, -EREMOTE, "local"},
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
    assert_int_equal(open_home(HOME, 0, &store, &err), 0);
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

    assert_int_equal(open_home(HOME, STORE_OPEN_WRITE, &theirs, &err), 0);
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

    assert_int_equal(open_home(HOME, STORE_OPEN_WRITE, &theirs, &err), 0);
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

    assert_int_equal(open_home(HOME, STORE_OPEN_WRITE, &theirs, &err), 0);
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

/* Two that remove and one that creates, as they please. */
static void a_name_that_is_removed_and_taken_at_once_stays_listed(void **state)
{
    struct store *store = *state;
    const struct rados_weather weather = {.delay_us = 30};

    rados_double_weather(&weather);
    for (int round = 0; round < 100; round++) {
        struct batch batch = batch_new(4);
        bool is_there;

        assert_int_equal(do_put(store, "f/a", "first"), 0);
        for (size_t i = 0; i < batch.count; i++)
            batch.req[i] =
                (struct store_req){.op = i < 2 ? STORE_REMOVE : STORE_PUT,
                                   .name = "f/a",
                                   .buf = i < 2 ? NULL : (char[]){"second"},
                                   .len = i < 2 ? 0 : 6};
        batch_submit(store, &batch);
        batch_wait(store, &batch);
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
    rule("r:runs/a/b", true, 1, RULE_NOT_DONE, -EIO);
    assert_int_equal(do_put(store, "runs/a/b", "x"), -EIO);
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

/*
 * Bounds.
 */

static void a_cluster_that_is_down_ends_every_request_in_time(void **state)
{
    struct store *store = *state;
    const struct rados_weather down = {.is_down = true};
    static const enum store_op ops[] = {
        STORE_PUT,         STORE_GET,      STORE_LIST,
        STORE_REMOVE,      STORE_STAT,     STORE_BLOB_PUT,
        STORE_BLOB_REMOVE, STORE_BLOB_GET, STORE_BLOB_STAT};
    struct batch batch = batch_new(10 * ARRAY_LEN(ops));
    struct timespec from, to;
    char buf[90][16];

    assert_int_equal(batch.count, 90);
    rados_double_weather(&down);
    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){.op = ops[i % ARRAY_LEN(ops)],
                                          .name = "f",
                                          .buf = buf[i],
                                          .len = 16};
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &from), 0);
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &to), 0);
    for (size_t i = 0; i < batch.count; i++)
        assert_int_equal(batch.req[i].result, -ETIMEDOUT);
    assert_true(to.tv_sec - from.tv_sec < 5);
    rados_double_weather(&fair);
    assert_int_equal(do_put(store, "g/a", "again"), 0);
    free(batch.req);
}

static void a_full_cluster_says_so_and_lets_remove(void **state)
{
    struct store *store = *state;
    const struct rados_weather full = {.is_full = true};

    assert_int_equal(do_put(store, "f/a", "x"), 0);
    rados_double_weather(&full);
    assert_int_equal(do_put(store, "f/b", "x"), -ENOSPC);
    assert_int_equal(do_record(store, STORE_BLOB_PUT, "f/c", "x", 1), -ENOSPC);
    assert_record(store, "f/a", "x");
    assert_int_equal(do_record(store, STORE_REMOVE, "f/a", NULL, 0), 0);
    assert_int_equal(listed(store, "f"), 0);
}

static void what_librados_does_not_take_ends_too(void **state)
{
    struct store *store = *state;
    const struct rados_weather weather = {.refused = 300};
    struct batch batch = batch_new(200);
    char name[200][32];
    size_t good = 0;

    rados_double_weather(&weather);
    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "f/%zu", i);
        batch.req[i] = (struct store_req){.op = STORE_PUT, .name = name[i]};
    }
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    rados_double_weather(&fair);
    for (size_t i = 0; i < batch.count; i++) {
        int64_t rc = batch.req[i].result;

        assert_true(rc == 0 || rc == -ENOMEM);
        good += rc == 0;
        if (rc == 0)
            assert_int_equal(do_record(store, STORE_STAT, name[i], NULL, 0), 0);
    }
    assert_in_range(good, 1, batch.count - 1);
    free(batch.req);
}

/* The double asserts that librados would not have kept us waiting. */
static void what_is_under_way_is_bounded(void **state)
{
    struct store *store = *state;
    struct batch batch = batch_new(64);
    char *data = calloc(1, 8 * MIB), name[64][32];
    struct rados_double_counts counts;

    assert_non_null(data);
    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "f/%zu", i);
        batch.req[i] = (struct store_req){
            .op = STORE_BLOB_PUT, .name = name[i], .buf = data, .len = 8 * MIB};
    }
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){.op = STORE_LIST, .name = "f"};
    batch.ended = 0;
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++) {
        assert_int_equal(batch.req[i].names.count, 64);
        store_names_free(&batch.req[i].names);
    }
    counts = rados_double_counts();
    assert_in_range(counts.most_bytes, 32 * MIB, 64 * MIB);
    assert_in_range(counts.most_ops, 100, 256);
    free(data);
    free(batch.req);
}

/*
 * Everything at once, with an exact oracle.
 */

#define WRITERS 3
#define NAMES   150

struct claim {
    struct store_req req;
    char name[24], text[24];
};

static void submit_claims(struct store *store, struct batch *batch,
                          struct claim *claim, size_t writer)
{
    for (size_t i = 0; i < NAMES; i++) {
        struct claim *c = &claim[i];

        (void)snprintf(c->name, sizeof c->name, "runs/r%zu/n%zu", i % 4, i);
        (void)snprintf(c->text, sizeof c->text, "writer %zu of %zu", writer, i);
        c->req = (struct store_req){.op = i % 3 ? STORE_PUT : STORE_BLOB_PUT,
                                    .name = c->name,
                                    .buf = c->text,
                                    .len = strlen(c->text),
                                    .done = batch_done,
                                    .owner = batch};
        store_submit(store, &c->req);
    }
}

/* Whose text is there, or NULL; whole in any case. */
static const char *content(struct store *store, struct claim claim[][NAMES],
                           size_t i, char got[24])
{
    struct store_req req = {.op = i % 3 ? STORE_GET : STORE_BLOB_GET,
                            .name = claim[0][i].name,
                            .buf = got,
                            .len = i % 3 ? 24 : strlen(claim[0][i].text)};
    int64_t bytes = store_run(store, &req);

    if (bytes == -ENOENT)
        return NULL;
    assert_in_range(bytes, 1, 23);
    got[bytes] = '\0';
    for (size_t w = 0; w < WRITERS; w++) {
        if (strcmp(got, claim[w][i].text) == 0)
            return claim[w][i].text;
    }
    fail_msg("%s holds what nobody wrote: %s", claim[0][i].name, got);
    return NULL;
}

static void check_name(struct store *store, struct claim claim[][NAMES],
                       size_t i)
{
    char got[24] = "", folder[24], key[24];
    const char *winner = content(store, claim, i, got);
    size_t zeros = 0, known = 0;

    for (size_t w = 0; w < WRITERS; w++) {
        int64_t rc = claim[w][i].req.result;

        assert_true(rc == 0 || rc == -EEXIST || rc == -ETIMEDOUT);
        known += rc != -ETIMEDOUT;
        zeros += rc == 0;
        if (rc == 0)
            assert_ptr_equal(winner, claim[w][i].text);
        else if (rc == -EEXIST)
            assert_ptr_not_equal(winner, claim[w][i].text);
    }
    assert_true(zeros <= 1);
    assert_true(known == 0 || winner);
    assert_true(known < WRITERS || zeros == 1);
    (void)snprintf(folder, sizeof folder, "c:runs/r%zu", i % 4);
    (void)snprintf(key, sizeof key, "%cn%zu/", i % 3 ? 'r' : 'b', i);
    if (winner)
        assert_true(rados_double_has_key("meta", folder, key));
}

static void writers_in_foul_weather_agree_on_who_won(void **state)
{
    const struct rados_weather foul = {.delay_us = 20,
                                       .lost = 60,
                                       .unanswered = 60,
                                       .late = 60,
                                       .late_overtaken = true};
    static struct claim claim[WRITERS][NAMES];
    struct batch batch = {.count = (size_t)WRITERS * NAMES};
    struct store *store[WRITERS] = {*state};
    struct err err;
    size_t found = 0;

    for (size_t w = 1; w < WRITERS; w++)
        assert_int_equal(open_home(HOME, STORE_OPEN_WRITE, &store[w], &err), 0);
    rados_double_weather(&foul);
    for (size_t w = 0; w < WRITERS; w++)
        submit_claims(store[w], &batch, claim[w], w);
    while (batch.ended < batch.count) {
        for (size_t w = 0; w < WRITERS; w++)
            assert_int_equal(store_poll(store[w], 1), 0);
    }
    rados_double_weather(&fair);
    rados_double_land();
    assert_true(rados_double_counts().late_landed > 20);
    for (size_t i = 0; i < NAMES; i++) {
        char got[24];

        check_name(store[0], claim, i);
        found += content(store[0], claim, i, got) != NULL;
    }
    assert_int_equal(listed(store[0], "runs/r0") + listed(store[0], "runs/r1") +
                         listed(store[0], "runs/r2") +
                         listed(store[0], "runs/r3"),
                     found);
    print_message("# figure: %llu operations, %llu without an answer, %llu "
                  "landed late\n",
                  (unsigned long long)rados_double_counts().operations,
                  (unsigned long long)rados_double_counts().timeouts,
                  (unsigned long long)rados_double_counts().late_landed);
    for (size_t w = 1; w < WRITERS; w++)
        store_close(store[w]);
}

#define ON_DOUBLE(test)                                                        \
    cmocka_unit_test_setup_teardown(test, double_setup, double_teardown)

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
        ON_DOUBLE(a_cluster_that_is_down_ends_every_request_in_time),
        ON_DOUBLE(a_full_cluster_says_so_and_lets_remove),
        ON_DOUBLE(what_librados_does_not_take_ends_too),
        ON_DOUBLE(what_is_under_way_is_bounded),
        ON_DOUBLE(writers_in_foul_weather_agree_on_who_won),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
