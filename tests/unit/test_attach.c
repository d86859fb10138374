/*
 * test_attach.c - what a daemon that was restarted tells its segment pool: what
 * is referenced stays, what is not goes, and nothing goes as long as something
 * cannot be read.
 */
#include "tests/lib/media.h"
#include "tests/lib/test_daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CHUNK  ((uint32_t)64 << 10)
#define EXTENT (CHUNK + 4096)

static struct test_daemon *start(struct test_world *w, const char *token)
{
    struct test_daemon *d = test_attached(w, "a");

    if (token)
        assert_true(test_enter(d, token, 0, 1) > 0);
    return d;
}

struct written {
    struct seg_writer *writer;
    bool is_done;
    int result;
};

static void writer_opened(void *arg, int result, struct seg_writer *writer,
                          const struct err *err)
{
    struct written *x = arg;

    (void)err;
    x->writer = writer;
    x->result = result;
    x->is_done = true;
}

static void writer_synced(void *arg, int result, const struct err *err)
{
    struct written *x = arg;

    (void)err;
    x->result = result;
    x->is_done = true;
}

static bool is_done(void *arg)
{
    return ((struct written *)arg)->is_done;
}

static void wait_for(struct test_daemon *d, struct written *x)
{
    assert_true(test_run(d->t->world, 5000, is_done, x));
    assert_int_equal(x->result, 0);
    x->is_done = false;
}

/* Writes one chunk for this save, in a segment of its own. */
static struct seg_place write_chunk(struct test_daemon *d,
                                    const struct save_id *id)
{
    struct segment_header base = {.home = d->run->home->uuid,
                                  .run = d->run->catalog.uuid,
                                  .store = d->t->env.local_uuid,
                                  .save = *id};
    struct written x = {0};
    struct seg_place place;
    uint8_t *page = aligned_alloc(4096, EXTENT);
    struct store_req req = {.op = STORE_WRITE, .buf = page, .len = EXTENT};

    (void)snprintf(base.home_path, sizeof base.home_path, "%s", TEST_HOME);
    (void)snprintf(base.run_name, sizeof base.run_name, "%s", TEST_RUN);
    seg_writer_open(d->engine.pool, &base, EXTENT, EXTENT, writer_opened, &x);
    wait_for(d, &x);
    assert_int_equal(seg_writer_place(x.writer, EXTENT, &place), 0);
    memset(page, 7, EXTENT);
    req.seg = place.seg;
    req.off = place.offset;
    assert_true(store_run(d->t->env.local, &req) >= 0);
    seg_writer_sync(x.writer, writer_synced, &x);
    wait_for(d, &x);
    seg_writer_close(x.writer, true);
    free(page);
    return place;
}

/* A vote that refers to that chunk. */
static void *vote_for(const struct test_daemon *d, const struct save_id *id,
                      const struct seg_place *place, size_t *bytes)
{
    struct entry entry = {
        .name = "w",
        .geometry = {.dtype = DTYPE_U8, .ndim = 1, .shape = {CHUNK}},
        .replica_count = 1};
    struct built_chunk chunk = {.segment = place->segment,
                                .segment_store = d->t->env.local_uuid,
                                .file_store = d->t->env.local_uuid,
                                .file_segment = place->segment,
                                .file_name = place->file,
                                .offset = place->offset,
                                .number = place->number,
                                .raw_bytes = CHUNK,
                                .payload_bytes = CHUNK};
    struct writelist list;
    struct built_rank rank = {.daemon = d->t->env.local_uuid,
                              .entries = &entry,
                              .entry_count = 1,
                              .list = &list,
                              .chunks = &chunk};
    struct manifest_info info = {.kind = MANIFEST_VOTE,
                                 .world_size = 1,
                                 .chunk_bytes = CHUNK,
                                 .run = d->run->catalog.uuid,
                                 .daemon = d->t->env.local_uuid,
                                 .id = *id};
    struct manifest_builder *b = manifest_builder_new();
    struct layout none = {0};
    struct err err;
    void *data;

    assert_int_equal(writelist_build(&entry, 1, CHUNK, &list), 0);
    assert_int_equal(list.chunk_count, 1);
    assert_int_equal(manifest_add_rank(b, &rank, &err), 0);
    assert_int_equal(manifest_write(b, &info, &none, &data, bytes, &err), 0);
    manifest_builder_free(b);
    writelist_free(&list);
    return data;
}

/* Capture into a real segment, and vote if wanted. */
static void save_chunk(struct test_daemon *d, uint64_t step,
                       struct test_commit *v, bool with_vote)
{
    struct seg_place place;
    size_t bytes;
    void *vote;

    *v = (struct test_commit){0};
    test_commit_begin(d, step, v);
    (void)test_run(d->t->world, 100, NULL, NULL);
    assert_true(v->is_opened);
    place = write_chunk(d, &v->id);
    vote = vote_for(d, &v->id, &place, &bytes);
    if (with_vote)
        commit_vote(v->c, vote, bytes);
    else
        free(vote);
}

static uint32_t held(const struct test_daemon *d)
{
    struct segpool_stats stats;

    segpool_stats(d->engine.pool, &stats);
    return stats.count[SEGMENT_HELD] + stats.count[SEGMENT_UNKNOWN];
}

static void a_committed_saves_segments_stay_over_a_restart(void **state)
{
    struct test_world *w = test_world_new(1);
    struct test_daemon *d = start(w, "t");
    struct test_commit v;

    (void)state;
    save_chunk(d, 5, &v, true);
    assert_int_equal(test_commit_wait(&v, 5000), DECISION_COMMIT);
    assert_int_equal(held(d), 1);
    test_daemon_kill(d);
    d = start(w, "u");
    assert_int_equal(held(d), 1);
    segpool_release(d->engine.pool, &d->run->catalog.uuid, &v.id);
    (void)test_run(w, 1000, NULL, NULL);
    assert_int_equal(held(d), 0);
    test_end(d);
}

static void what_was_not_voted_for_goes_at_the_restart(void **state)
{
    struct test_world *w = test_world_new(2);
    struct test_daemon *d = start(w, "t");
    struct test_commit v;

    (void)state;
    save_chunk(d, 5, &v, false);
    assert_int_equal(held(d), 1);
    test_daemon_kill(d);
    d = start(w, NULL);
    (void)test_run(w, 1000, NULL, NULL);
    assert_int_equal(held(d), 0);
    test_end(d);
}

static void what_was_voted_for_stays_until_it_is_decided(void **state)
{
    (void)state;
    for (int abort = 0; abort < 2; abort++) {
        struct test_world *w = test_world_new(3);
        struct test_daemon *d = start(w, "t");
        struct store_fault fault = {.op = STORE_PUT,
                                    .name_part = "decision",
                                    .nth = 1,
                                    .persistent = true,
                                    .error = -EIO};
        struct test_commit v;

        test_env_fail(d->t, TEST_HOME, &fault);
        save_chunk(d, 5, &v, true);
        assert_int_equal(test_commit_wait(&v, 2000), 0);
        test_daemon_kill(d);
        /* The next life cannot decide either, at first. */
        d = test_daemon_open(w, "a");
        d->t->fault[0] = fault;
        d->t->fault_count = 1;
        assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
        (void)test_run(w, 2000, NULL, NULL);
        assert_int_equal(held(d), 1);
        assert_int_equal(d->run->catalog.save[0].status, SAVE_UNDECIDED);
        if (abort)
            commit_abort(
                container_of(d->run->commits.next, struct commit, link),
                -ECANCELED, "not wanted");
        store_fault_clear(test_env_fault(d->t, TEST_HOME));
        (void)test_run(w, 5000, NULL, NULL);
        assert_int_equal(d->run->catalog.save[0].status,
                         abort ? SAVE_ABORTED : SAVE_COMMITTED);
        assert_int_equal(held(d), abort ? 0 : 1);
        test_end(d);
    }
}

static void nothing_goes_while_something_is_unreadable(void **state)
{
    static const struct save_id six = {
        .generation = 1, .attempt = 1, .step = 6};
    struct test_world *w = test_world_new(4);
    struct test_daemon *d = start(w, "t");
    struct test_commit v;
    char name[RECORD_NAME_BYTES];

    (void)state;
    save_chunk(d, 5, &v, false);
    test_daemon_kill(d);
    assert_int_equal(
        test_put(w, name_save(name, TEST_RUN, "decision", &six), "junk", 4), 0);
    d = start(w, NULL);
    (void)test_run(w, 1000, NULL, NULL);
    assert_int_equal(held(d), 1);
    assert_true(test_env_logged(d->t, TEST_HOME));
    test_end(d);
}

static void a_manifest_that_is_damaged_keeps_its_segments(void **state)
{
    struct test_world *w = test_world_new(5);
    struct test_daemon *d = start(w, "t");
    struct record_decision bad = {.decision = DECISION_COMMIT,
                                  .id = {1, 1, 9},
                                  .manifest_bytes = 4096,
                                  .part_count = 1,
                                  .rank_count = 1,
                                  .node_count = 1};
    struct test_commit v;
    char name[RECORD_NAME_BYTES];
    struct wr wr = {0};

    (void)state;
    save_chunk(d, 5, &v, false);
    test_daemon_kill(d);
    record_decision_encode(&bad, &wr); /* its parts are not there */
    assert_int_equal(test_put(w, name_save(name, TEST_RUN, "decision", &bad.id),
                              wr.data, wr.bytes),
                     0);
    wr_free(&wr);
    d = start(w, NULL);
    (void)test_run(w, 1000, NULL, NULL);
    assert_int_equal(held(d), 1);
    assert_int_equal(catalog_find(&d->run->catalog, &bad.id)->status,
                     SAVE_UNREADABLE);
    test_end(d);
}

/*
 * Data that is gone.
 */

enum loss { LOSS_REMOVED, LOSS_REPLACED, LOSS_KINDS };

static const char *const lost_words[] = {
    [LOSS_REMOVED] = "seg/000001, which is not there",
    [LOSS_REPLACED] = "seg/000001, which holds another incarnation by now"};

static struct store *media(struct test_world *w)
{
    return test_world_store(w, "local/a");
}

/* The first segment's header says that it is another incarnation. */
static void replace_segment(struct test_world *w)
{
    struct segment_header h;
    struct err err;
    uint8_t *page = aligned_alloc(4096, 4096);
    struct store_seg *seg =
        media_open(media(w), "seg/000001", STORE_SEG_WRITE, NULL);

    media_read(media(w), seg, 0, page);
    assert_int_equal(segment_header_decode(page, &h, &err), 0);
    h.segment.b[3] ^= 1;
    segment_header_encode(&h, page);
    media_write(media(w), seg, 0, page);
    media_close(media(w), seg);
    free(page);
}

static void lose(struct test_world *w, enum loss loss)
{
    if (loss == LOSS_REPLACED)
        replace_segment(w);
    else
        assert_int_equal(media_remove_segment(media(w), "seg/000001"), 0);
}

/* A daemon that has voted for step 5 and was killed before it was decided. */
static void vote_and_die(struct test_world *w)
{
    struct test_daemon *d = start(w, "t");
    struct store_fault fault = {.op = STORE_PUT,
                                .name_part = "decision",
                                .nth = 1,
                                .persistent = true,
                                .error = -EIO};
    struct test_commit v;

    test_env_fail(d->t, TEST_HOME, &fault);
    save_chunk(d, 5, &v, true);
    assert_int_equal(test_commit_wait(&v, 2000), 0);
    test_daemon_kill(d);
}

static void a_vote_whose_data_is_gone_is_aborted_in_recovery(void **state)
{
    (void)state;
    for (enum loss loss = 0; loss < LOSS_KINDS; loss++) {
        struct test_world *w = test_world_new(6 + loss);
        struct test_daemon *d;
        struct test_commit v;
        const struct catalog_save *s;

        vote_and_die(w);
        lose(w, loss);
        d = start(w, NULL);
        (void)test_run(w, 5000, NULL, NULL);
        s = &d->run->catalog.save[0];
        assert_int_equal(s->status, SAVE_ABORTED);
        assert_int_equal(s->code,
                         loss == LOSS_REMOVED ? -ENOENT : -CKPT_ECORRUPT);
        assert_non_null(strstr(catalog_reason(s), lost_words[loss]));
        /* Nothing is held back for it, and the job goes on. */
        assert_int_equal(held(d), 0);
        assert_int_equal(test_enter(d, "u", 0, 1), 2);
        assert_int_equal(test_save(d, 6, &v), DECISION_COMMIT);
        test_end(d);
    }
}

/* A dead writer's lock: nothing is decided before it is known what is there. */
static void a_vote_on_what_is_locked_is_judged_once_it_is_not(void **state)
{
    (void)state;
    for (int is_other = 0; is_other < 2; is_other++) {
        struct test_world *w = test_world_new(8 + (uint64_t)is_other);
        struct store_seg *locked;
        struct test_daemon *d;
        const struct catalog_save *s;

        vote_and_die(w);
        if (is_other)
            replace_segment(w);
        locked = media_open(media(w), "seg/000001", STORE_SEG_WRITE, NULL);
        d = start(w, NULL);
        (void)test_run(w, 5000, NULL, NULL);
        s = &d->run->catalog.save[0];
        assert_int_equal(s->status, SAVE_UNDECIDED);
        media_close(media(w), locked);
        (void)test_run(w, 5000, NULL, NULL);
        assert_int_equal(s->status, is_other ? SAVE_ABORTED : SAVE_COMMITTED);
        if (is_other)
            assert_non_null(
                strstr(catalog_reason(s), lost_words[LOSS_REPLACED]));
        assert_int_equal(held(d), is_other ? 0 : 1);
        test_end(d);
    }
}

/* Others have committed it: it is followed, once, and said to be lost. */
static void a_commit_whose_data_is_gone_is_followed_and_marked(void **state)
{
    (void)state;
    for (enum loss loss = 0; loss < LOSS_KINDS; loss++) {
        struct test_world *w = test_world_new(10 + loss);
        struct test_daemon *d = start(w, "t");
        struct store_fault fault = {.op = STORE_PUT,
                                    .name_part = "decision",
                                    .nth = 1,
                                    .after = true,
                                    .error = -EIO};
        struct store_fault unread = {.op = STORE_GET,
                                     .name_part = "decision",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -EIO};
        struct store *home = test_env_fault(d->t, TEST_HOME);
        const struct catalog_save *s;
        struct test_commit v;

        assert_int_equal(store_fault_add(home, &fault), 0);
        assert_int_equal(store_fault_add(home, &unread), 0);
        save_chunk(d, 5, &v, true);
        assert_int_equal(test_commit_wait(&v, 2000), 0);
        test_daemon_kill(d);
        lose(w, loss);
        d = start(w, NULL);
        (void)test_run(w, 5000, NULL, NULL);
        s = &d->run->catalog.save[0];
        assert_int_equal(s->status, SAVE_COMMITTED);
        assert_true(s->is_lost);
        assert_int_equal(s->code,
                         loss == LOSS_REMOVED ? -ENOENT : -CKPT_ECORRUPT);
        assert_non_null(strstr(catalog_reason(s), lost_words[loss]));
        assert_true(test_env_logged(d->t, "cannot be loaded"));
        /* Its home is in order: what nobody refers to goes. */
        assert_int_equal(held(d), 0);
        assert_true(list_is_empty(&d->run->commits));
        test_end(d);
    }
}

/* The other daemon, whose vote is late, decides after ours has lost data. */
static void a_decision_that_comes_after_the_loss_does_not_loop(void **state)
{
    struct test_world *w = test_world_new(12);
    struct record_decision commit = {.decision = DECISION_COMMIT,
                                     .rank_count = 1,
                                     .node_count = 1,
                                     .manifest_bytes = 4096,
                                     .part_count = 1};
    struct test_daemon *d;
    struct wr wr = {0};
    char name[RECORD_NAME_BYTES];
    const struct catalog_save *s;

    (void)state;
    vote_and_die(w);
    lose(w, LOSS_REMOVED);
    d = test_daemon_open(w, "a");
    d->t->fault[0] = (struct store_fault){
        .op = STORE_GET, .name_part = "vote", .nth = 1, .error = -EIO};
    d->t->fault_count = 1;
    /* Attached while the vote could not be read: nothing is known of it. */
    assert_int_equal(test_attach(d, TEST_HOME, TEST_RUN), 0);
    commit.id = d->run->catalog.save[0].id;
    record_decision_encode(&commit, &wr);
    assert_int_equal(test_put(w,
                              name_save(name, TEST_RUN, "decision", &commit.id),
                              wr.data, wr.bytes),
                     0);
    wr_free(&wr);
    (void)test_run(w, 10000, NULL, NULL);
    s = catalog_find(&d->run->catalog, &commit.id);
    assert_int_equal(s->status, SAVE_COMMITTED);
    assert_true(s->is_lost);
    assert_true(list_is_empty(&d->run->commits));
    test_end(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_committed_saves_segments_stay_over_a_restart),
        cmocka_unit_test(what_was_not_voted_for_goes_at_the_restart),
        cmocka_unit_test(what_was_voted_for_stays_until_it_is_decided),
        cmocka_unit_test(nothing_goes_while_something_is_unreadable),
        cmocka_unit_test(a_manifest_that_is_damaged_keeps_its_segments),
        cmocka_unit_test(a_vote_whose_data_is_gone_is_aborted_in_recovery),
        cmocka_unit_test(a_vote_on_what_is_locked_is_judged_once_it_is_not),
        cmocka_unit_test(a_commit_whose_data_is_gone_is_followed_and_marked),
        cmocka_unit_test(a_decision_that_comes_after_the_loss_does_not_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
