/*
 * test_store_rados_faults.c - the back end for RADOS on a double: a cluster
 * that is down, full, or does not take what it is given; what it cannot read
 * now and can later; what is under way is bounded; every operation fails in its
 * turn; and several writers in foul weather, with an exact oracle.
 */
#include "tests/lib/rados_rig.h"

#include <poll.h>

#define MIB ((size_t)1 << 20)

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
    const struct rados_weather slow = {.delay_us = 500};
    const struct rados_weather slower = {.delay_us = 100000};
    struct rados_double_counts counts;

    assert_non_null(data);
    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "f/%zu", i);
        batch.req[i] = (struct store_req){
            .op = STORE_BLOB_PUT, .name = name[i], .buf = data, .len = 8 * MIB};
    }
    rados_double_weather(&slower);
    batch_submit(store, &batch);
    while (batch.ended < batch.count &&
           (rados_double_counts().most_bytes < 32 * MIB ||
            rados_double_counts().most_copied < 32 * MIB))
        assert_int_equal(store_poll(store, -1), 0);
    rados_double_weather(&fair);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){.op = STORE_LIST, .name = "f"};
    batch.ended = 0;
    rados_double_weather(&slow);
    batch_submit(store, &batch);
    while (batch.ended < batch.count && rados_double_counts().most_ops < 200)
        assert_int_equal(store_poll(store, -1), 0);
    rados_double_weather(&fair);
    batch_wait(store, &batch);
    for (size_t i = 0; i < batch.count; i++) {
        assert_int_equal(batch.req[i].names.count, 64);
        store_names_free(&batch.req[i].names);
    }
    counts = rados_double_counts();
    assert_in_range(counts.most_bytes, 32 * MIB, 64 * MIB);
    assert_in_range(counts.most_copied, 32 * MIB, 64 * MIB);
    assert_int_equal(counts.copied, 0);
    assert_in_range(counts.most_ops, 200, 256);
    free(data);
    free(batch.req);
}

#define MANY 400

/* PUTs of so many names "FOLDER/TAG.N", N mod `folders` chosen; all at once,
 * and what was late has landed. */
static struct batch put_many(struct store *store, size_t count,
                             uint32_t folders, size_t tag,
                             const struct rados_weather *weather)
{
    static char name[MANY][32];
    struct batch batch = batch_new(count);

    rados_double_weather(weather);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(name[i], sizeof name[i], "f/%zu/%zu.%zu", i % folders,
                       tag, i);
        batch.req[i] = (struct store_req){
            .op = STORE_PUT, .name = name[i], .buf = name[i], .len = 3};
    }
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    rados_double_weather(&fair);
    rados_double_land();
    return batch;
}

/* What the one operation with their keys comes to is the answer to all. */
static void keys_of_a_folder_go_together(void **state)
{
    static const struct {
        int how, error, all;
    } cases[] = {
        {RULE_DONE, 0, 0},           {RULE_NOT_DONE, -ETIMEDOUT, 0},
        {RULE_DONE, -ETIMEDOUT, 0},  {RULE_LATE, -ETIMEDOUT, 0},
        {RULE_NOT_DONE, -EIO, -EIO}, {RULE_NOT_DONE, -ENOSPC, -ENOSPC}};
    const size_t count = 60;

    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct batch batch;
        struct rados_weather weather = {.rule = {.object = "c:f/0",
                                                 .is_write = true,
                                                 .nth = 1,
                                                 .error = cases[c].error}};
        uint64_t before = rados_double_counts().operations;

        weather.rule.how = cases[c].how;
        batch =
            put_many(*state, count, 1, c, cases[c].error ? &weather : &fair);
        for (size_t i = 0; i < batch.count; i++)
            assert_int_equal(batch.req[i].result, cases[c].all);
        /* The keys, for the first time with both folders', and the object and
         * a look of each. */
        if (!cases[c].error)
            assert_int_equal(rados_double_counts().operations - before,
                             (c == 0 ? 3 : 1) + 2 * batch.count);
        free(batch.req);
    }
    assert_int_equal(listed(*state, "f/0"), 4 * count);
}

/* A decision is a small record: it does not wait for a drain's data. */
static void what_is_small_goes_before(void **state)
{
    const struct rados_weather slow = {.delay_us = 500};
    struct store *store = *state;
    struct batch data = batch_new(32), record = batch_new(1);
    char *bytes = calloc(1, 16 * MIB), name[32][32];

    assert_non_null(bytes);
    for (size_t i = 0; i < data.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "f/%zu", i);
        data.req[i] = (struct store_req){.op = STORE_BLOB_PUT,
                                         .name = name[i],
                                         .buf = bytes,
                                         .len = 16 * MIB};
    }
    record.req[0] = (struct store_req){
        .op = STORE_PUT, .name = "f/record", .buf = bytes, .len = 4096};
    rados_double_weather(&slow);
    batch_submit(store, &data);
    batch_submit(store, &record);
    batch_wait(store, &record);
    assert_in_range(data.ended, 0, data.count / 2);
    batch_wait(store, &data);
    assert_int_equal(record.req[0].result, 0);
    for (size_t i = 0; i < data.count; i++)
        assert_int_equal(data.req[i].result, 0);
    rados_double_weather(&fair);
    free(bytes);
    free(data.req);
    free(record.req);
}

/* More than go at once, of two folders, in any weather. */
static void keys_of_many_go_in_turn(void **state)
{
    const struct rados_weather foul = {.delay_us = 200,
                                       .lost = 20,
                                       .unanswered = 20,
                                       .late = 20,
                                       .refused = 5};
    struct batch batch;
    size_t good[2] = {0, 0};

    assert_int_equal(do_put(*state, "f/0/first", "x"), 0);
    assert_int_equal(do_put(*state, "f/1/first", "x"), 0);
    batch = put_many(*state, MANY, 2, 0, &foul);
    for (size_t i = 0; i < batch.count; i++) {
        int64_t rc = batch.req[i].result;

        assert_true(rc == 0 || rc == -ENOMEM || rc == -ETIMEDOUT);
        if (rc == -ETIMEDOUT) /* it may be there */
            rc = do_record(*state, STORE_STAT, batch.req[i].name, NULL, 0) < 0;
        good[i % 2] += rc == 0;
    }
    assert_true(good[0] > 100 && good[1] > 100);
    assert_true(listed(*state, "f/0") >= 1 + good[0]);
    assert_true(listed(*state, "f/1") >= 1 + good[1]);
    free(batch.req);
}

/*
 * -EIO to a read: an erasure-coded pool says so while too few parts of an
 * object are there.
 */

static void what_cannot_be_read_for_a_moment_is_asked_again(void **state)
{
    static const struct {
        enum store_op op;
        const char *name, *object;
        int64_t expect;
    } steps[] = {
        {STORE_PUT, "f/a", "r:f/a", 0},
        {STORE_GET, "f/a", "r:f/a", 4},
        {STORE_STAT, "f/a", "r:f/a", 4},
        {STORE_PUT, "f/a", "r:f/a", -EEXIST},
        {STORE_REMOVE, "f/a", "r:f/a", 0},
        {STORE_BLOB_PUT, "f/b", "b:f/b", 0},
        {STORE_BLOB_GET, "f/b", "b:f/b", 4},
        {STORE_BLOB_STAT, "f/b", "b:f/b", 4},
        {STORE_BLOB_REMOVE, "f/b", "b:f/b", 0},
        {STORE_GET, "f/a", "r:f/a", -ENOENT},
    };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        char data[] = "data";

        rule(steps[i].object, false, 1, RULE_NOT_DONE, -EIO);
        assert_int_equal(do_record(*state, steps[i].op, steps[i].name, data, 4),
                         steps[i].expect);
        assert_int_equal(rados_double_counts().rules, i + 1);
    }
}

/* As a daemon waits: by the descriptor alone. */
static void what_stays_unreadable_is_believed_in_time(void **state)
{
    struct store *store = *state;
    const struct rados_weather weather = {
        .rule = {.object = "b:f/", .nth = 1, .persists = true, .error = -EIO}};
    struct batch batch = batch_new(20);
    struct pollfd event = {.fd = store_poll_fd(store), .events = POLLIN};
    struct timespec from, to;
    uint32_t wakes = 0;
    char name[20][32], got[4];

    for (size_t i = 0; i < batch.count; i++) {
        (void)snprintf(name[i], sizeof name[i], "f/%zu", i);
        assert_int_equal(do_record(store, STORE_BLOB_PUT, name[i], "data", 4),
                         0);
        batch.req[i] = (struct store_req){
            .op = STORE_BLOB_GET, .name = name[i], .buf = got, .len = 4};
    }
    rados_double_weather(&weather);
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &from), 0);
    batch_submit(store, &batch);
    while (batch.ended < batch.count) {
        assert_int_equal(poll(&event, 1, 5000), 1);
        assert_int_equal(store_poll(store, 0), 0);
        wakes++;
    }
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &to), 0);
    rados_double_weather(&fair);
    for (size_t i = 0; i < batch.count; i++)
        assert_int_equal(batch.req[i].result, -EIO);
    /* Once, and after each of four pauses: 3, 6, 12 and 24 ms. */
    assert_int_equal(rados_double_counts().rules, 5 * batch.count);
    assert_in_range((to.tv_sec - from.tv_sec) * 1000 +
                        (to.tv_nsec - from.tv_nsec) / 1000000,
                    44, 2000);
    assert_in_range(wakes, 5, 500);
    free(batch.req);
}

static void a_checksum_that_does_not_fit_is_believed_at_once(void **state)
{
    struct store *store = *state;
    char got[4];
    uint64_t operations;

    assert_int_equal(do_record(store, STORE_BLOB_PUT, "f/b", "data", 4), 0);
    assert_int_equal(rados_double_flip("data", "b:f/b", 2), 0);
    operations = rados_double_counts().operations;
    assert_int_equal(do_record(store, STORE_BLOB_GET, "f/b", got, 4),
                     -CKPT_ECORRUPT);
    assert_int_equal(rados_double_counts().operations, operations + 1);
}

/*
 * Every operation in its turn.
 */

#define NO_ERROR 1

/* Each kind of request; the first result that is neither good nor `error`. */
static int64_t some_of_all(struct store *store, int64_t error)
{
    const struct {
        enum store_op op;
        const char *name;
        int64_t expect;
    } steps[] = {
        {STORE_PUT, "f/a", 0},          {STORE_PUT, "f/a", -EEXIST},
        {STORE_BLOB_PUT, "f/sub/b", 0}, {STORE_GET, "f/a", 4},
        {STORE_BLOB_GET, "f/sub/b", 4}, {STORE_BLOB_STAT, "f/sub/b", 4},
        {STORE_LIST, "f", 0},           {STORE_LIST, "f/sub", 0},
        {STORE_REMOVE, "f/a", 0},       {STORE_BLOB_REMOVE, "f/sub/b", 0},
        {STORE_REMOVE, "f/a", -ENOENT},
    };
    bool is_certain = true;

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        char data[] = "data";
        struct store_req req = {
            .op = steps[i].op, .name = steps[i].name, .buf = data, .len = 4};
        int64_t result = store_run(store, &req);

        store_names_free(&req.names);
        /* After a failure a name may be there or not. */
        if (result != steps[i].expect && result != error &&
            (is_certain || (result != -ENOENT && result != -EEXIST &&
                            result != 0 && result != 4)))
            return result;
        is_certain &= result == steps[i].expect;
    }
    return 0;
}

/* A store of its own, so that folders are registered anew. */
static bool fail_one(const struct rados_weather *weather)
{
    const struct store_rados_options options = {.api = rados_double_api(),
                                                .give_up_ms = 60};
    uint64_t rules = rados_double_counts().rules;
    struct store *store;
    struct err err;
    int64_t error = weather->rule.error;

    assert_int_equal(
        store_rados_open(RADOS_HOME, STORE_OPEN_WRITE, &options, &store, &err),
        0);
    rados_double_weather(weather);
    assert_int_equal(some_of_all(store, error), 0);
    rados_double_weather(&fair);
    /* What is there is listed, and what is listed is there. */
    assert_int_equal(is_listed(store, "f", "a"),
                     do_record(store, STORE_STAT, "f/a", NULL, 0) >= 0);
    assert_int_equal(is_listed(store, "f/sub", "b"),
                     do_record(store, STORE_BLOB_STAT, "f/sub/b", NULL, 0) >=
                         0);
    (void)do_record(store, STORE_REMOVE, "f/a", NULL, 0);
    (void)do_record(store, STORE_BLOB_REMOVE, "f/sub/b", NULL, 0);
    assert_int_equal(some_of_all(store, NO_ERROR), 0);
    store_close(store);
    return rados_double_counts().rules > rules;
}

static void every_operation_may_fail(void **state)
{
    static const int errors[] = {-EIO, -ETIMEDOUT};
    uint32_t failed = 0;

    (void)state;
    for (uint32_t kind = 0; kind < 2 * 2 * 2 * ARRAY_LEN(errors); kind++) {
        struct rados_weather weather = {
            .late_overtaken = true,
            .rule = {.object = "",
                     .is_write = kind & 1,
                     .nth = 1,
                     .persists = kind & 4,
                     .error = errors[kind / 8],
                     .how = kind & 2 ? RULE_DONE : RULE_NOT_DONE}};

        while (fail_one(&weather)) {
            failed++;
            weather.rule.nth++;
        }
    }
    assert_true(failed > 100);
    print_message("# figure: %u failures of one operation or all from one on\n",
                  failed);
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
        assert_int_equal(
            open_home(RADOS_HOME, STORE_OPEN_WRITE, &store[w], &err), 0);
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_DOUBLE(a_cluster_that_is_down_ends_every_request_in_time),
        ON_DOUBLE(a_full_cluster_says_so_and_lets_remove),
        ON_DOUBLE(what_librados_does_not_take_ends_too),
        ON_DOUBLE(what_is_under_way_is_bounded),
        ON_DOUBLE(what_is_small_goes_before),
        ON_DOUBLE(keys_of_a_folder_go_together),
        ON_DOUBLE(keys_of_many_go_in_turn),
        ON_DOUBLE(what_cannot_be_read_for_a_moment_is_asked_again),
        ON_DOUBLE(what_stays_unreadable_is_believed_in_time),
        ON_DOUBLE(a_checksum_that_does_not_fit_is_believed_at_once),
        ON_DOUBLE(every_operation_may_fail),
        ON_DOUBLE(writers_in_foul_weather_agree_on_who_won),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
