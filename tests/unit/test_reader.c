/*
 * test_reader.c - one chunk, verified, and reading a whole save back: what is
 * wrong is told with its place, whatever is flipped, and an end comes early
 * when it is asked for.
 */
#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/reader.h"
#include "ckptd/engine/segpool_internal.h"
#include "tests/lib/load_job.h"
#include "tests/lib/media.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct load_job j;
    struct held_manifest *held;
    void *slot, *buffer[2];
    bool is_done;
    int result;
    struct err err;
};

static void on_fetched(void *arg, int result, struct held_manifest *held,
                       const struct err *err)
{
    struct fixture *f = arg;

    f->is_done = true;
    f->result = result;
    f->err = *err;
    f->held = held;
}

static bool is_done(void *arg)
{
    return ((struct fixture *)arg)->is_done;
}

static int fetch(struct fixture *f, const struct save_id *id)
{
    held_manifest_put(f->held);
    f->held = NULL;
    f->is_done = false;
    manifest_fetch(rig_the_run(f->j.g), id, on_fetched, f);
    (void)rig_run(f->j.g, JOB_LIMIT_MS, is_done, f);
    assert_true(f->is_done);
    return f->result;
}

static void begin(struct fixture *f, uint64_t seed, uint32_t codec)
{
    size_t bytes = chunk_extent_bytes(RIG_CHUNK_BYTES);

    *f = (struct fixture){0};
    load_job_save(&f->j, seed, 2, codec);
    load_job_start(&f->j, 1, 4, false);
    f->slot = aligned_alloc(PAGE_BYTES, bytes);
    f->buffer[0] = aligned_alloc(PAGE_BYTES, bytes);
    f->buffer[1] = aligned_alloc(PAGE_BYTES, bytes);
    assert_true(f->slot && f->buffer[0] && f->buffer[1]);
    assert_int_equal(fetch(f, &f->j.id[2]), 0);
}

static void end(struct fixture *f)
{
    held_manifest_put(f->held);
    free(f->slot);
    free(f->buffer[0]);
    free(f->buffer[1]);
    load_job_end(&f->j);
}

static struct store *local_of(const struct fixture *f)
{
    return test_env_fault(f->j.g->daemon, "local");
}

static void on_read(struct chunk_read *r, int result)
{
    struct fixture *f = r->owner;

    assert_false(f->is_done);
    f->is_done = true;
    f->result = result;
    f->err = r->err;
}

static int read_chunk(struct fixture *f, uint64_t chunk)
{
    struct chunk_read r = {.engine = f->j.g->engine,
                           .manifest = &f->held->manifest,
                           .chunk = chunk,
                           .slot = f->slot,
                           .buffer = {f->buffer[0], f->buffer[1]},
                           .done = on_read,
                           .owner = f};

    f->is_done = false;
    chunk_read_begin(&r);
    assert_false(f->is_done); /* never from inside */
    (void)rig_run(f->j.g, JOB_LIMIT_MS, is_done, f);
    assert_true(f->is_done);
    return f->result;
}

/* Rank, step, tensor, file and offset. */
static void must_name_the_place(const struct fixture *f)
{
    static const char *const words[] = {"step 30", "rank ", "tensor rank",
                                        "local/a/seg/", " at "};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strstr(f->err.text, words[i]))
            (void)fprintf(stderr, "no '%s' in: %s\n", words[i], f->err.text);
        assert_non_null(strstr(f->err.text, words[i]));
    }
}

static void every_chunk_reads(void **state)
{
    (void)state;
    for (uint32_t codec = 1; codec <= 2; codec++) {
        struct fixture f;

        begin(&f, codec, codec);
        for (uint64_t i = 0; i < f.held->manifest.chunk_count; i++) {
            assert_int_equal(chunk_read_buffers(&f.held->manifest, i),
                             codec == 2 ? 2 : 0);
            assert_int_equal(read_chunk(&f, i), 0);
        }
        end(&f);
    }
}

/* The daemon lets its cached handles go, and with them its locks. */
static void let_go(struct fixture *f)
{
    LIST_FOR_EACH (node, &f->j.g->engine->pool->segments)
        segment_drop_handle(container_of(node, struct segment, link));
    (void)rig_run(f->j.g, 10, NULL, NULL);
}

/* Flips a bit of the segment that holds the save's first chunk. */
static void flip(struct fixture *f, uint64_t at, unsigned bit)
{
    struct store *s = test_world_store(f->j.world, "local/a");
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store_seg *seg;

    let_go(f);
    assert_non_null(page);
    seg = media_open(s, f->j.file[2], STORE_SEG_WRITE, NULL);
    media_read(s, seg, at / PAGE_BYTES * PAGE_BYTES, page);
    page[at % PAGE_BYTES] ^= (uint8_t)(1u << bit);
    media_write(s, seg, at / PAGE_BYTES * PAGE_BYTES, page);
    media_close(s, seg);
    free(page);
}

/* Header, payload and padding of an extent: any flipped bit is found. */
static void every_byte_of_an_extent_counts(void **state)
{
    (void)state;
    for (uint32_t codec = 1; codec <= 2; codec++) {
        const struct mf_location *l;
        struct fixture f;
        uint64_t extent;

        begin(&f, codec, codec);
        l = &f.held->manifest.location[0];
        extent = chunk_extent_bytes(l->payload_bytes);
        for (uint64_t k = 0; k < 200; k++) {
            /* The header's first bytes, then anywhere. */
            uint64_t at = k < 64 ? k : test_random(f.j.world) % extent;
            unsigned bit = (unsigned)(test_random(f.j.world) % 8);

            flip(&f, l->offset + at, bit);
            assert_int_equal(read_chunk(&f, 0), -CKPT_ECORRUPT);
            must_name_the_place(&f);
            flip(&f, l->offset + at, bit);
        }
        assert_int_equal(read_chunk(&f, 0), 0);
        end(&f);
    }
}

/* A file that ends before the extent: it is told from a drive that fails, and
 * the look at its size leaves nothing open. */
static void truncated_is_named(struct fixture *f)
{
    const struct mf_location *kept = f->held->manifest.location;
    uint64_t count = f->held->manifest.chunk_count;
    struct mf_location *moved = calloc(count, sizeof *moved);

    assert_non_null(moved);
    memcpy(moved, kept, count * sizeof *moved);
    moved[0].offset = (uint64_t)1 << 40;
    f->held->manifest.location = moved;
    assert_int_equal(read_chunk(f, 0), -EIO);
    must_name_the_place(f);
    assert_non_null(strstr(f->err.text, "behind the end of its file"));
    f->held->manifest.location = kept;
    free(moved);
    assert_int_equal(read_chunk(f, 0), 0);
}

static void what_fails_is_named(void **state)
{
    struct store_fault fault = {.op = STORE_READ, .nth = 1, .error = -ENODATA};
    struct fixture f;
    struct mf_file file[8];

    (void)state;
    begin(&f, 3, 1);
    assert_int_equal(store_fault_add(local_of(&f), &fault), 0);
    assert_int_equal(read_chunk(&f, 1), -EIO);
    must_name_the_place(&f);
    assert_non_null(strstr(f.err.text, "No data available"));
    fault.op = STORE_SEG_OPEN;
    fault.error = -EMFILE;
    let_go(&f);
    store_fault_clear(local_of(&f));
    assert_int_equal(store_fault_add(local_of(&f), &fault), 0);
    assert_int_equal(read_chunk(&f, 1), -EMFILE);
    must_name_the_place(&f);
    store_fault_clear(local_of(&f));
    /* In another store. */
    assert_true(f.held->manifest.file_count <= ARRAY_LEN(file));
    memcpy(file, f.held->manifest.file,
           f.held->manifest.file_count * sizeof file[0]);
    file[0].store.b[3] ^= 1;
    f.held->manifest.file = file;
    assert_int_equal(read_chunk(&f, 0), -EIO);
    assert_non_null(strstr(f.err.text, "another local store"));
    file[0].store.b[3] ^= 1;
    truncated_is_named(&f);
    /* Chunks that are larger than this daemon's memory for them. */
    f.j.g->engine->chunk_bytes = PAGE_BYTES;
    assert_int_equal(read_chunk(&f, 0), -CKPT_EVERSION);
    f.j.g->engine->chunk_bytes = RIG_CHUNK_BYTES;
    /* Gone. */
    let_go(&f);
    assert_int_equal(media_remove_segment(
                         test_world_store(f.j.world, "local/a"), f.j.file[2]),
                     0);
    assert_int_equal(read_chunk(&f, 0), -EIO);
    must_name_the_place(&f);
    assert_non_null(strstr(f.err.text, "its segment is gone"));
    end(&f);
}

/*
 * Manifests.
 */

static void only_what_is_committed_is_fetched(void **state)
{
    struct record_tomb tomb = {.reason = "test"};
    struct save_id none = {.generation = 1, .step = 15, .attempt = 1};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};
    struct fixture f;

    (void)state;
    begin(&f, 4, 1);
    assert_int_equal(fetch(&f, &none), -ENOENT);
    assert_non_null(strstr(f.err.text, "step 15"));
    assert_null(f.held);
    /* A tomb outranks the decision, which is still there. */
    tomb.id = f.j.id[1];
    record_tomb_encode(&tomb, &w);
    assert_int_equal(media_put(test_world_store(f.j.world, RIG_HOME),
                               name_save(name, RIG_RUN, "tomb", &f.j.id[1]),
                               w.data, w.bytes),
                     0);
    wr_free(&w);
    assert_int_equal(fetch(&f, &f.j.id[1]), -ENOENT);
    assert_non_null(strstr(f.err.text, "removed"));
    assert_int_equal(fetch(&f, &f.j.id[2]), 0);
    end(&f);
}

static void every_request_of_a_fetch_may_fail(void **state)
{
    struct fixture f;
    uint64_t nth = 1;

    (void)state;
    begin(&f, 5, 1);
    for (;; nth++) {
        /* From then on: one that passes is not told. */
        struct store_fault fault = {
            .op = -1, .nth = nth, .persistent = true, .error = -EIO};
        struct store *home = test_env_fault(f.j.g->daemon, RIG_HOME);
        uint64_t before = store_fault_count(home);
        int rc;

        assert_int_equal(store_fault_add(home, &fault), 0);
        rc = fetch(&f, &f.j.id[0]);
        store_fault_clear(home);
        if (store_fault_count(home) == before)
            break;
        assert_int_equal(rc, -EIO);
        assert_null(f.held);
        assert_non_null(strstr(f.err.text, "step 10"));
    }
    assert_int_equal(f.result, 0);
    assert_true(nth >= 3);
    end(&f);
}

/*
 * Reading back.
 */

static void on_back(void *arg, int result, const struct err *err)
{
    struct fixture *f = arg;

    assert_false(f->is_done);
    f->is_done = true;
    f->result = result;
    f->err = *err;
}

static struct read_back *back_begin(struct fixture *f, uint32_t depth,
                                    double rate)
{
    const struct read_back_plan plan = {.manifest = &f->held->manifest,
                                        .depth = depth,
                                        .rate_bytes_s = rate,
                                        .done = on_back,
                                        .arg = f};
    struct read_back *b;

    f->is_done = false;
    b = read_back_begin(f->j.g->engine, &plan);
    assert_non_null(b);
    assert_false(f->is_done);
    return b;
}

static int back_wait(struct fixture *f)
{
    assert_true(rig_run(f->j.g, JOB_LIMIT_MS, is_done, f));
    assert_int_equal(f->j.g->daemon->buffers, 0);
    return f->result;
}

static void all_is_read_back_within_the_rate(void **state)
{
    (void)state;
    for (uint32_t depth = 1; depth <= 8; depth++) {
        struct fixture f;
        uint64_t bytes = 0, before, took;

        begin(&f, depth, depth % 2 ? 1 : 2);
        for (uint64_t i = 0; i < f.held->manifest.chunk_count; i++)
            bytes +=
                chunk_extent_bytes(f.held->manifest.location[i].payload_bytes);
        (void)back_begin(&f, depth, 0);
        assert_int_equal(back_wait(&f), 0);
        before = f.j.world->now_ns;
        (void)back_begin(&f, depth, 1e6);
        assert_int_equal(back_wait(&f), 0);
        took = f.j.world->now_ns - before;
        /* The first chunk goes at once. */
        assert_true(took + 80000000 >= bytes * 1000);
        assert_true(took <= bytes * 1000 + 80000000);
        end(&f);
    }
}

static void reading_back_finds_what_is_bad(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct store_fault fault = {
            .op = STORE_READ, .nth = nth, .error = -EIO};
        struct fixture f;

        begin(&f, nth, nth % 2 ? 1 : 2);
        assert_int_equal(store_fault_add(local_of(&f), &fault), 0);
        (void)back_begin(&f, 1 + (uint32_t)nth % 8, 0);
        assert_int_equal(back_wait(&f), -EIO);
        must_name_the_place(&f);
        store_fault_clear(local_of(&f));
        flip(&f, f.held->manifest.location[0].offset + 5000, 3);
        (void)back_begin(&f, 1 + (uint32_t)nth % 8, 0);
        assert_int_equal(back_wait(&f), -CKPT_ECORRUPT);
        end(&f);
    }
}

/* At any moment, and without waiting for the rate. */
static void reading_back_may_be_cancelled(void **state)
{
    (void)state;
    for (uint64_t turns = 0; turns < 40; turns++) {
        struct fixture f;
        struct read_back *b;
        uint64_t before;

        begin(&f, turns, 1);
        b = back_begin(&f, 2, turns % 2 ? 1000 : 0);
        for (uint64_t i = 0; i < turns && !f.is_done; i++)
            (void)rig_run(f.j.g, 0, NULL, NULL);
        if (f.is_done) {
            end(&f);
            continue;
        }
        before = f.j.world->now_ns;
        read_back_cancel(b);
        read_back_cancel(b);
        assert_false(f.is_done);
        assert_int_equal(back_wait(&f), -ECANCELED);
        assert_true(f.j.world->now_ns - before < 5000000);
        end(&f);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_reads),
        cmocka_unit_test(every_byte_of_an_extent_counts),
        cmocka_unit_test(what_fails_is_named),
        cmocka_unit_test(only_what_is_committed_is_fetched),
        cmocka_unit_test(every_request_of_a_fetch_may_fail),
        cmocka_unit_test(all_is_read_back_within_the_rate),
        cmocka_unit_test(reading_back_finds_what_is_bad),
        cmocka_unit_test(reading_back_may_be_cancelled),
    };

    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
