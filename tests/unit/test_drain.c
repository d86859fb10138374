/*
 * test_drain.c - committed checkpoints go to the remote tier: every byte, read
 * back, in both forms of files; of several daemons each its share, and REMOTE
 * only when all have; what was interrupted, was there already, or is bad; the
 * policy, retention and its hold; homes that fail for a while.
 */
#include "ckptd/engine/drain.h"
#include "ckptd/engine/remote_write.h"
#include "ckptd/engine/manifest_hold.h"
#include "formats/tier.h"
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

static const bool forms[] = {true, false}; /* in place, as blobs */

static struct rig_shape shape_of(uint32_t remote_every, uint32_t keep_last)
{
    return (struct rig_shape){.world_size = 2,
                              .slots = 12,
                              .tensors = 2,
                              .tensor_bytes = TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1,
                              .keep_last = keep_last,
                              .remote_every = remote_every};
}

/* The home's store as one that cannot write in place. */
static void take_segments_away(struct test_world *w)
{
    struct store *home = test_world_store(w, RIG_HOME);

    home->limits.max_io_bytes = 0;
    home->limits.max_blob_bytes = RIG_REMOTE_FILE_BYTES;
}

static void begin(struct rig_job *f, uint64_t seed, bool in_place,
                  uint32_t remote_every, uint32_t keep_last)
{
    struct rig_shape shape = shape_of(remote_every, keep_last);

    *f = (struct rig_job){.g = rig_new(seed)};
    if (!in_place)
        take_segments_away(f->g->world);
    rig_job_enter(f, "one", &shape);
}

static struct catalog_save *save_at(const struct rig *g, uint64_t step)
{
    const struct catalog *c = &rig_the_run(g)->catalog;

    for (size_t i = c->save_count; i-- > 0;)
        if (c->save[i].id.step == step)
            return &c->save[i];
    return NULL;
}

static bool is_remote(const struct rig *g, uint64_t step)
{
    const struct catalog_save *s = save_at(g, step);

    return s && s->is_remote;
}

static bool is_undrained(void *arg)
{
    return !drain_is_busy(((struct rig *)arg)->engine);
}

/* Until nothing more happens. */
static void settle(struct rig *g)
{
    (void)rig_run(g, 3000, NULL, NULL);
    assert_true(rig_run(g, LIMIT_MS, is_undrained, g));
}

/*
 * What is there.
 */

static void *table_get(const struct rig *g, const struct save_id *id,
                       const struct id128 *daemon, struct manifest *out)
{
    char name[RECORD_NAME_BYTES];
    void *data = aligned_alloc(64, 1 << 20);
    struct err err;
    int64_t n;

    (void)name_save_daemon(name, RIG_RUN, "remote", id, daemon);
    n = media_get(rig_home(g), name, data, 1 << 20);
    assert_true(n > 0);
    if (manifest_open(data, (size_t)n, out, &err))
        fail_msg("%s", err.text);
    return data;
}

static void file_name(const struct manifest *tier, uint32_t file, char *name)
{
    char leaf[256];

    (void)snprintf(leaf, sizeof leaf, "%.*s", (int)tier->file[file].name_bytes,
                   tier->blob + tier->file[file].name);
    (void)name_run(name, RIG_RUN, leaf);
}

/* A file's bytes; free(). */
static uint8_t *file_get(const struct rig *g, const struct manifest *tier,
                         uint32_t file, bool in_place)
{
    uint64_t bytes = tier_file_bytes(tier, file), size;
    uint8_t *data = aligned_alloc(PAGE_BYTES, bytes);
    char name[RECORD_NAME_BYTES];
    struct store *home = rig_home(g);
    struct store_req req = {
        .op = STORE_BLOB_GET, .name = name, .buf = data, .len = bytes};

    file_name(tier, file, name);
    if (!in_place) {
        assert_int_equal(store_run(home, &req), bytes);
        return data;
    }
    req.seg = media_open(home, name, STORE_SEG_NOLOCK, &size);
    assert_int_equal(size, bytes);
    req.op = STORE_READ;
    assert_true(store_run(home, &req) >= 0);
    media_close(home, req.seg);
    return data;
}

/* Every extent of every file is what the table, and so the manifest, says.
 * Returns how many. */
static uint64_t check_share(const struct rig *g, const struct manifest *m,
                            const struct id128 *daemon, bool in_place)
{
    struct manifest tier;
    struct err err;
    void *table = table_get(g, &m->info.id, daemon, &tier);
    uint64_t count = tier.chunk_count;

    if (tier_check(&tier, m, &err))
        fail_msg("%s", err.text);
    for (uint32_t f = 0; f < tier.file_count; f++) {
        uint8_t *data = file_get(g, &tier, f, in_place);
        uint64_t first, n = tier_file_chunks(&tier, f, &first);
        struct segment_header h;

        assert_int_equal(segment_header_decode(data, &h, &err), 0);
        assert_true(id_equal(&h.segment, &tier.file[f].segment));
        assert_true(id_equal(&h.run, &m->info.run));
        for (uint64_t i = first; i < first + n; i++) {
            const struct mf_location *l = &tier.location[i];
            struct chunk_header want;

            manifest_chunk_header(m, tier_source(&tier, m, i), &want);
            if (chunk_check(data + l->offset,
                            chunk_extent_bytes(l->payload_bytes), &want, &err))
                fail_msg("%s", err.text);
        }
        free(data);
    }
    free(table);
    return count;
}

static void manifest_got(void *arg, int result, struct held_manifest *held,
                         const struct err *err)
{
    (void)err;
    assert_int_equal(result, 0);
    *(struct held_manifest **)arg = held;
}

static bool is_got(void *arg)
{
    return *(struct held_manifest **)arg != NULL;
}

/* All of it is in the remote tier, of all daemons. */
static void check(struct rig *g, const struct save_id *id, bool in_place)
{
    struct held_manifest *held = NULL;
    struct id128 daemon[4];
    uint64_t chunks = 0;
    uint32_t daemons;

    assert_true(rig_home_has(g, "remote", id));
    manifest_fetch(rig_the_run(g), id, manifest_got, &held);
    assert_true(rig_run(g, LIMIT_MS, is_got, &held));
    daemons = tier_daemons(&held->manifest, daemon, 4);
    for (uint32_t i = 0; i < daemons; i++)
        chunks += check_share(g, &held->manifest, &daemon[i], in_place);
    assert_int_equal(chunks, held->manifest.chunk_count);
    held_manifest_put(held);
}

/* How many files of it there are. */
static uint32_t files_of(const struct rig *g, const struct save_id *id)
{
    char folder[RECORD_NAME_BYTES];
    struct store_req req = {.op = STORE_LIST,
                            .name = name_run(folder, RIG_RUN, "data")};
    uint32_t count = 0;

    assert_int_equal(store_run(rig_home(g), &req), 0);
    for (size_t i = 0; i < req.names.count; i++) {
        struct save_id of;

        assert_int_equal(save_id_parse(req.names.name[i], &of, NULL), 0);
        count += save_id_compare(&of, id) == 0;
    }
    store_names_free(&req.names);
    return count;
}

/*
 * All goes well.
 */

static void every_byte_goes_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rig_job f;

        begin(&f, 7 + i, forms[i], 1, 0);
        for (uint64_t step = 10; step <= 30; step += 10) {
            rig_job_commit(&f, step, step);
            assert_false(is_remote(f.g, step));
            settle(f.g);
            assert_true(is_remote(f.g, step));
            check(f.g, &f.v[0]->id, forms[i]);
            assert_true(files_of(f.g, &f.v[0]->id) > 2);
        }
        rig_free(f.g);
    }
}

static void only_what_the_policy_wants(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 3, true, 20, 0);
    for (uint64_t step = 10; step <= 40; step += 10)
        rig_job_commit(&f, step, step);
    (void)rig_run(f.g, 60000, NULL, NULL);
    for (uint64_t step = 10; step <= 40; step += 10)
        assert_int_equal(is_remote(f.g, step), step % 20 == 0);
    rig_free(f.g);

    begin(&f, 3, true, 0, 0);
    rig_job_commit(&f, 10, 10);
    (void)rig_run(f.g, 60000, NULL, NULL);
    assert_false(is_remote(f.g, 10));
    assert_int_equal(files_of(f.g, &f.v[0]->id), 0);
    rig_free(f.g);
}

/* At the rate, and so the newest first. */
static void it_keeps_to_its_rate(void **state)
{
    struct rig_job f;
    uint64_t began;

    (void)state;
    begin(&f, 5, true, 1, 0);
    f.g->engine->env->drain_bytes_s = 20000; /* a minute for each */
    rig_job_commit(&f, 10, 10);
    (void)rig_run(f.g, 2500, NULL, NULL);
    assert_true(drain_is_busy(f.g->engine));
    rig_job_commit(&f, 20, 20);
    rig_job_commit(&f, 30, 30);
    began = f.g->world->now_ns;
    while (!is_remote(f.g, 10))
        (void)rig_run(f.g, 1000, NULL, NULL);
    assert_true(f.g->world->now_ns - began > 20ull * 1000000000);
    assert_false(is_remote(f.g, 30));
    while (!is_remote(f.g, 30))
        (void)rig_run(f.g, 1000, NULL, NULL);
    assert_false(is_remote(f.g, 20));
    while (!is_remote(f.g, 20))
        (void)rig_run(f.g, 1000, NULL, NULL);
    rig_free(f.g);
}

/*
 * Several daemons.
 */

static void it_is_remote_when_all_have_copied(void **state)
{
    struct rig_shape shape = shape_of(1, 0);
    struct rig_pair p;
    struct store_fault full = {.op = STORE_SEG_OPEN,
                               .name_part = "/data/",
                               .nth = 1,
                               .persistent = true,
                               .error = -ENOSPC};
    struct save_id id;

    (void)state;
    rig_pair_begin(&p, 11, &shape);
    test_env_fail(p.g[1]->daemon, RIG_HOME, &full);
    rig_pair_save(&p, 10, 0);
    rig_pair_decide(&p);
    id = p.v[0]->id;
    rig_pair_turn(&p, 20000);
    assert_true(save_at(p.g[0], 10)->is_drained);
    assert_false(is_remote(p.g[0], 10));
    assert_false(rig_home_has(p.g[0], "remote", &id));
    assert_true(test_env_logged(p.g[1]->daemon, "not in the remote tier yet"));
    store_fault_clear(test_env_fault(p.g[1]->daemon, RIG_HOME));
    rig_pair_turn(&p, 200000);
    assert_true(is_remote(p.g[0], 10));
    assert_true(is_remote(p.g[1], 10));
    check(p.g[0], &id, true);
    rig_pair_end(&p);
}

/*
 * What was there, or goes wrong.
 */

static void what_was_begun_is_finished_by_the_next_life(void **state)
{
    (void)state;
    for (size_t i = 0; i < 12; i++) {
        bool in_place = i % 2;
        struct rig_shape shape = shape_of(1, 0);
        struct test_world *world;
        struct save_id id;
        struct rig_job f;

        begin(&f, 40 + i, in_place, 1, 0);
        f.g->engine->env->drain_bytes_s = 100000;
        rig_job_commit(&f, 10, 10);
        id = f.v[0]->id;
        (void)rig_run(f.g, 1000 + 1000 * i, NULL, NULL);
        world = f.g->world;
        f.g->has_shared_world = true;
        rig_kill(f.g);
        rig_free(f.g);
        f = (struct rig_job){.g = rig_new_in(world, "a")};
        rig_job_enter(&f, "two", &shape);
        settle(f.g);
        assert_true(is_remote(f.g, 10));
        check(f.g, &id, in_place);
        rig_free(f.g);
    }
}

/* Bytes that are not what they should be, under a name that is ours. */
static void plant_bad(struct rig *g, const struct save_id *id, bool in_place)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    char leaf[RECORD_NAME_BYTES], name[RECORD_NAME_BYTES];
    struct store *home = rig_home(g);
    uint64_t bytes = RIG_REMOTE_FILE_BYTES;
    struct store_req req = {
        .op = STORE_BLOB_PUT, .name = name, .buf = page, .len = sizeof page};

    (void)name_tier_file(leaf, id, &g->engine->env->local_uuid, 1);
    (void)name_run(name, RIG_RUN, leaf);
    if (in_place)
        media_close(
            home,
            media_open(home, name, STORE_SEG_WRITE | STORE_SEG_CREATE, &bytes));
    else
        assert_int_equal(store_run(home, &req), 0);
}

static void what_is_bad_is_written_anew(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rig_job f;
        struct save_id id;

        begin(&f, 60 + i, forms[i], 1, 0);
        rig_job_commit(&f, 10, 10);
        id = f.v[0]->id;
        plant_bad(f.g, &id, forms[i]);
        settle(f.g);
        assert_true(test_env_logged(f.g->daemon, "it is written anew"));
        assert_true(is_remote(f.g, 10));
        check(f.g, &id, forms[i]);
        rig_free(f.g);
    }
}

static const struct {
    enum store_op op;
    bool in_place;
} requests[] = {
    {STORE_SEG_OPEN, true}, {STORE_WRITE, true},     {STORE_SYNC, true},
    {STORE_READ, true},     {STORE_SEG_CLOSE, true}, {STORE_PUT, true},
    {STORE_LIST, true},     {STORE_BLOB_PUT, false}, {STORE_BLOB_GET, false},
    {STORE_GET, false},     {STORE_PUT, false},
};

/* Whatever fails, fails in words and is done in the end. */
static void a_home_that_fails_for_a_while_is_waited_for(void **state)
{
    static const int errors[] = {-EIO, -ETIMEDOUT, -ENOSPC};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests) * ARRAY_LEN(errors); i++) {
        struct store_fault fault = {.op = requests[i % ARRAY_LEN(requests)].op,
                                    .name_part = "/",
                                    .nth = 1 + i % 2,
                                    .persistent = true,
                                    .after = i % 5 == 0,
                                    .error = errors[i / ARRAY_LEN(requests)]};
        bool in_place = requests[i % ARRAY_LEN(requests)].in_place;
        struct rig_job f;

        if (fault.op == STORE_SEG_CLOSE)
            fault.after = true;
        begin(&f, 80 + i, in_place, 1, 0);
        rig_job_commit(&f, 10, 10);
        test_env_fail(f.g->daemon, RIG_HOME, &fault);
        (void)rig_run(f.g, 20000, NULL, NULL);
        assert_false(drain_is_wanted(rig_the_run(f.g)) &&
                     !drain_is_busy(f.g->engine));
        store_fault_clear(test_env_fault(f.g->daemon, RIG_HOME));
        (void)rig_run(f.g, 200000, NULL, NULL);
        assert_true(is_remote(f.g, 10));
        check(f.g, &f.v[0]->id, in_place);
        rig_free(f.g);
    }
}

/* A chunk of the local copy is bad: it never becomes REMOTE, and others do. */
static void a_bad_local_copy_does_not_spoil_the_tier(void **state)
{
    struct store_fault bad = {
        .op = STORE_READ, .nth = 1, .persistent = true, .error = -EIO};
    struct rig_job f;

    (void)state;
    begin(&f, 120, true, 1, 0);
    rig_job_commit(&f, 10, 10);
    test_env_fail(f.g->daemon, "local", &bad);
    (void)rig_run(f.g, 10000, NULL, NULL);
    assert_false(is_remote(f.g, 10));
    assert_true(test_env_logged(f.g->daemon, "not in the remote tier yet"));
    assert_int_equal(files_of(f.g, &f.v[0]->id), 0);
    assert_true(engine_is_idle(f.g->engine) || !list_is_empty(&f.g->ranks));
    store_fault_clear(test_env_fault(f.g->daemon, "local"));
    rig_job_commit(&f, 20, 20);
    settle(f.g);
    assert_true(is_remote(f.g, 20));
    rig_free(f.g);
}

static void it_ends_in_the_midst_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rig_job f;

        begin(&f, 130 + i, forms[i], 1, 0);
        f.g->engine->env->drain_bytes_s = 10000;
        rig_job_commit(&f, 10, 10);
        (void)rig_run(f.g, 4000, NULL, NULL);
        assert_true(drain_is_busy(f.g->engine));
        rig_free(f.g); /* which waits until it is quiet */
    }
}

/*
 * Retention.
 */

static void what_goes_goes_from_there_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct save_id first;
        struct rig_job f;

        begin(&f, 140 + i, forms[i], 1, 1);
        rig_job_commit(&f, 10, 10);
        first = f.v[0]->id;
        settle(f.g);
        assert_true(files_of(f.g, &first) > 2);
        rig_job_commit(&f, 20, 20);
        settle(f.g);
        rig_job_commit(&f, 30, 30);
        settle(f.g);
        rig_settle(f.g);
        assert_int_equal(rig_status(f.g, 10), SAVE_REMOVED);
        assert_int_equal(files_of(f.g, &first), 0);
        assert_false(rig_home_has(f.g, "remote", &first));
        check(f.g, &f.v[0]->id, forms[i]);
        rig_free(f.g);
    }
}

/* The newest that is REMOTE stays until a newer one is. */
static void the_last_remote_one_is_kept(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 150, true, 30, 1);
    rig_job_commit(&f, 30, 30);
    settle(f.g);
    assert_true(is_remote(f.g, 30));
    for (uint64_t step = 40; step <= 50; step += 10) {
        rig_job_commit(&f, step, step);
        rig_settle(f.g);
    }
    assert_int_equal(rig_status(f.g, 30), SAVE_COMMITTED);
    assert_int_equal(rig_status(f.g, 40), SAVE_REMOVED);
    rig_job_commit(&f, 60, 60);
    settle(f.g);
    rig_job_commit(&f, 70, 70);
    rig_settle(f.g);
    assert_int_equal(rig_status(f.g, 30), SAVE_REMOVED);
    assert_int_equal(rig_status(f.g, 60), SAVE_COMMITTED);
    rig_free(f.g);
}

static void what_is_being_copied_is_held(void **state)
{
    struct save_id id;
    struct rig_job f;

    (void)state;
    begin(&f, 160, true, 20, 1);
    f.g->engine->env->drain_bytes_s = 10000;
    rig_job_commit(&f, 20, 20);
    id = f.v[0]->id;
    (void)rig_run(f.g, 4000, NULL, NULL);
    assert_true(drain_is_busy(f.g->engine));
    rig_job_commit(&f, 30, 30);
    rig_settle(f.g);
    (void)rig_run(f.g, 10000, NULL, NULL);
    assert_int_equal(rig_status(f.g, 20), SAVE_COMMITTED);
    while (!is_remote(f.g, 20))
        (void)rig_run(f.g, 1000, NULL, NULL);
    check(f.g, &id, true);
    rig_free(f.g);
}

/* Of what is REMOTE only the newest stays here, in this life and the next. */
static void older_local_copies_are_let_go(void **state)
{
    struct rig_shape shape = shape_of(20, 0);
    struct segpool_stats before = {0}, after;
    struct test_world *world;
    struct rig_job f;

    (void)state;
    shape.local_last = 1;
    f = (struct rig_job){.g = rig_new(170)};
    rig_job_enter(&f, "one", &shape);
    for (uint64_t step = 20; step <= 100; step += 20) {
        rig_job_commit(&f, step, step);
        settle(f.g);
        rig_settle(f.g);
        if (step == 40)
            segpool_stats(f.g->engine->pool, &before);
        for (uint64_t s = 20; s <= step; s += 20) {
            assert_true(is_remote(f.g, s));
            assert_int_equal(save_at(f.g, s)->is_released, s < step);
        }
    }
    segpool_stats(f.g->engine->pool, &after);
    assert_int_equal(after.referenced_bytes, before.referenced_bytes);
    assert_true(after.allocated_bytes <= before.allocated_bytes);
    world = f.g->world;
    f.g->has_shared_world = true;
    rig_free(f.g);

    f = (struct rig_job){.g = rig_new_in(world, "a")};
    rig_job_enter(&f, "two", &shape);
    rig_job_commit(&f, 110, 110); /* which does not go there */
    settle(f.g);
    rig_settle(f.g);
    assert_true(save_at(f.g, 80)->is_released);
    assert_true(save_at(f.g, 100)->is_released);
    assert_false(save_at(f.g, 110)->is_released);
    rig_job_commit(&f, 130, 130);
    rig_settle(f.g);
    assert_false(save_at(f.g, 110)->is_released); /* it is nowhere else */
    rig_free(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_goes_there),
        cmocka_unit_test(only_what_the_policy_wants),
        cmocka_unit_test(it_keeps_to_its_rate),
        cmocka_unit_test(it_is_remote_when_all_have_copied),
        cmocka_unit_test(what_was_begun_is_finished_by_the_next_life),
        cmocka_unit_test(what_is_bad_is_written_anew),
        cmocka_unit_test(a_home_that_fails_for_a_while_is_waited_for),
        cmocka_unit_test(a_bad_local_copy_does_not_spoil_the_tier),
        cmocka_unit_test(it_ends_in_the_midst_of_it),
        cmocka_unit_test(what_goes_goes_from_there_too),
        cmocka_unit_test(the_last_remote_one_is_kept),
        cmocka_unit_test(what_is_being_copied_is_held),
        cmocka_unit_test(older_local_copies_are_let_go),
    };

    return cmocka_run_group_tests_name("drain", tests, NULL, NULL);
}
