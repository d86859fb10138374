/*
 * test_remote_read.c - chunks that are not good here are read from the remote
 * tier, those and no others: with the drive gone, with a node gone, in any
 * layout, from a home with segments and from one with blobs. What is wrong with
 * each copy is told; what only did not answer is not held against a checkpoint.
 */
#include "ckptd/engine/load.h"
#include "ckptd/engine/scrub.h"
#include "tests/lib/drained.h"
#include "tests/lib/load_job.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_pair.h"
#include "tests/lib/rig_retain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NEWEST  (JOB_STEPS - 1)
#define WEEK_NS ((uint64_t)7 * 24 * 3600 * 1000000000)

/* Three steps; of the newest there is a copy. */
static void save(struct load_job *j, uint64_t seed, uint32_t savers,
                 uint32_t codec, bool as_blobs)
{
    load_job_save(j, seed, savers, codec);
    if (as_blobs)
        drained_as_blobs(j->world);
    drained_save(j->world, "a", &j->id[NEWEST]);
}

/* Counts what is read of remote files from now on. */
static struct store *count_reads(struct load_job *j)
{
    struct store *home = test_env_fault(j->g->daemon, RIG_HOME);
    struct store_fault rule = {.op = home->limits.max_io_bytes ? STORE_READ
                                                               : STORE_BLOB_GET,
                               .name_part = "/data/",
                               .nth = 1,
                               .persistent = true,
                               .delay_polls = 1};

    assert_int_equal(store_fault_add(home, &rule), 0);
    return home;
}

static void has_words(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (!strstr(text, *words))
            (void)fprintf(stderr, "no '%s' in: %s\n", *words, text);
        assert_non_null(strstr(text, *words));
    }
}

/*
 * What works.
 */

static void without_the_drive_all_is_remote(void **state)
{
    static const uint32_t counts[] = {1, 2, 4};

    (void)state;
    for (uint32_t i = 0; i < 24; i++) {
        struct load_job j;

        save(&j, i, counts[i % 3], 1 + i % JOB_DULL, i % 4 < 2);
        drained_lose_segments(j.world, "local/a");
        load_job_start(&j, counts[i / 3 % 3], 4, i % 8 < 4);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, NEWEST);
        assert_int_equal(j.l[0]->attempts, 1);
        assert_non_null(strstr(j.l[0]->text, "were read from the remote tier"));
        assert_true(test_env_logged(j.g->daemon, "its segment is gone"));
        load_job_end(&j);
    }
}

/* The same host with a new drive, and so another store. */
static void another_store_reads_all_of_it(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct load_job j;

        save(&j, i, 2, i < 3 ? 1 : JOB_DULL, i % 2);
        j.g = rig_new_in(j.world, "c");
        j.g->has_shared_world = true;
        load_job_join(&j, "other", 3, 4, true);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, NEWEST);
        /* Once, not for every chunk. */
        assert_true(test_env_logged(j.g->daemon, "another local store"));
        assert_ptr_equal(
            strstr(strstr(j.g->daemon->log, "another local store") + 1,
                   "another local store"),
            NULL);
        load_job_end(&j);
    }
}

/* One that reads by itself, without the others. */
static void a_read_of_one_rank_is_served_too(void **state)
{
    struct rig_want want = {.owner = 1, .tensor = 1};
    struct load_job j;
    struct rig_load *l;

    (void)state;
    save(&j, 30, 2, 1, false);
    drained_lose_segments(j.world, "local/a");
    load_job_start(&j, 1, 4, false);
    rig_wish(j.r[0], 7, &want, 1, JOB_TENSOR_BYTES);
    l = rig_load(j.r[0], &j.id[NEWEST]);
    load_job_finish(&j);
    assert_int_equal(l->code, 0);
    rig_load_check(l, j.saver, &j.id[NEWEST]);
    assert_non_null(strstr(l->text, "remote tier"));
    load_job_end(&j);
}

static void flip_local(struct load_job *j, const struct manifest *m,
                       uint64_t chunk)
{
    struct store *s = test_world_store(j->world, "local/a");
    const struct mf_location *l = &m->location[chunk];
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    char name[64];
    struct store_seg *seg;

    assert_non_null(page);
    (void)snprintf(name, sizeof name, "%.*s", (int)m->file[l->file].name_bytes,
                   m->blob + m->file[l->file].name);
    seg = media_open(s, name, STORE_SEG_WRITE, NULL);
    media_read(s, seg, l->offset + PAGE_BYTES, page);
    page[test_random(j->world) % 100] ^= 1;
    media_write(s, seg, l->offset + PAGE_BYTES, page);
    media_close(s, seg);
    free(page);
}

static void one_bad_chunk_alone_is_remote(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 16; i++) {
        struct load_job j;
        struct store *home;
        struct drained d;

        save(&j, i, 2, 1 + i % JOB_DULL, i % 4 < 2);
        drained_begin(&d, j.world, "a", &j.id[NEWEST]);
        flip_local(&j, &d.m, i % d.m.chunk_count);
        load_job_start(&j, 1 + i % 3, 4, true);
        home = count_reads(&j);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, NEWEST);
        assert_int_equal(store_fault_count(home), 1);
        assert_true(test_env_logged(j.g->daemon,
                                    "; read from the remote tier instead"));
        drained_end(&d);
        load_job_end(&j);
    }
}

static void what_is_good_here_is_not_fetched(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct load_job j;
        struct store *home;
        struct drained d;

        save(&j, i, 2, i < 3 ? 1 : JOB_DULL, i % 2);
        drained_begin(&d, j.world, "a", &j.id[NEWEST]);
        for (uint64_t k = 0; k < d.tier.chunk_count; k++)
            drained_flip(&d, k, 5000);
        load_job_start(&j, 2, 4, true);
        home = count_reads(&j);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, NEWEST);
        assert_int_equal(store_fault_count(home), 0);
        assert_string_equal(j.l[0]->text, "");
        drained_end(&d);
        load_job_end(&j);
    }
}

/*
 * Nodes. Ranks 0 and 2 save through "a", 1 and 3 through "b".
 */

#define RANKS 4

static const struct rig_shape shape = {.world_size = RANKS,
                                       .slots = 6,
                                       .tensors = JOB_TENSORS,
                                       .tensor_bytes = JOB_TENSOR_BYTES,
                                       .codec = 1,
                                       .entropy = 0}; /* encoded in the tier */

struct nodes {
    struct rig_pair p;
    struct save_id id[2]; /* the second has copies */
    struct rig *g;        /* serves two ranks */
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig_load *l[2];
};

static void nodes_begin(struct nodes *n, uint64_t seed, bool as_blobs)
{
    *n = (struct nodes){.p.world = test_world_new(seed)};
    rig_pair_start(&n->p);
    n->p.g[0]->has_shared_world = n->p.g[1]->has_shared_world = true;
    rig_pair_join(&n->p, "saves", &shape);
    for (int s = 0; s < 2; s++) {
        rig_pair_save(&n->p, 10 * ((uint64_t)s + 1), 0);
        rig_pair_decide(&n->p);
        assert_int_equal(n->p.v[0]->state, WIRE_STATE_COMMITTED);
        n->id[s] = n->p.v[0]->id;
    }
    rig_end(n->p.g[0]);
    rig_end(n->p.g[1]);
    if (as_blobs)
        drained_as_blobs(n->p.world);
}

static void nodes_end(struct nodes *n)
{
    rig_free(n->g);
    rig_free(n->p.g[0]);
    rig_free(n->p.g[1]);
    test_world_free(n->p.world);
}

/* Two ranks on one node: each wants what went through one of the two. */
static void nodes_load(struct nodes *n, const char *daemon)
{
    struct rig_shape two = shape;

    two.world_size = 2;
    two.tensors = 1;
    n->g = rig_new_in(n->p.world, daemon);
    n->g->has_shared_world = true;
    rig_start(n->g, "loads", &two, n->r);
    for (uint32_t i = 0; i < 2; i++) {
        struct rig_want want[2 * JOB_TENSORS];

        assert_true(rig_joined(n->r[i]));
        for (uint32_t k = 0; k < ARRAY_LEN(want); k++)
            want[k] = (struct rig_want){.owner = i + k / JOB_TENSORS * 2,
                                        .tensor = k % JOB_TENSORS};
        rig_wish(n->r[i], 7, want, ARRAY_LEN(want), JOB_TENSOR_BYTES);
        n->l[i] = rig_load(n->r[i], NULL);
    }
    assert_true(rig_run(n->g, JOB_LIMIT_MS, rig_loads_done, n->g));
}

static void nodes_check(struct nodes *n)
{
    for (int i = 0; i < 2; i++) {
        if (n->l[i]->code)
            (void)fprintf(stderr, "rank %d: %s\n", i, n->l[i]->text);
        assert_int_equal(n->l[i]->code, 0);
        assert_int_equal(save_id_compare(&n->l[i]->id, &n->id[1]), 0);
        rig_load_check(n->l[i], n->p.g[i], &n->id[1]);
    }
}

static void with_both_nodes_gone_another_loads_all(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct nodes n;

        nodes_begin(&n, i, i % 2);
        drained_save(n.p.world, "a", &n.id[1]);
        drained_save(n.p.world, "b", &n.id[1]);
        nodes_load(&n, "c");
        nodes_check(&n);
        nodes_end(&n);
    }
}

/* The one that is left has its own share on its drive; only that of the other
 * was copied, and only that can be read from there. */
static void with_one_node_gone_the_other_loads_all(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct nodes n;

        nodes_begin(&n, i, i % 2);
        drained_save(n.p.world, i % 3 ? "b" : "a", &n.id[1]);
        nodes_load(&n, i % 3 ? "a" : "b");
        nodes_check(&n);
        nodes_end(&n);
    }
}

static void a_share_without_a_copy_is_named(void **state)
{
    static const char *const words[] = {"step 20", "another local store",
                                        "; no copy of it is in the remote tier",
                                        NULL};
    struct nodes n;

    (void)state;
    nodes_begin(&n, 7, false);
    drained_save(n.p.world, "a", &n.id[1]);
    nodes_load(&n, "c");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(n.l[i]->code, -EIO);
        assert_int_equal(n.l[i]->attempts, 2);
    }
    has_words(n.l[0]->note, words);
    nodes_end(&n);
}

/*
 * What is wrong with a copy.
 */

static void both_copies_bad_fall_back(void **state)
{
    static const char *const words[] = {"step 30, rank ",
                                        "tensor rank",
                                        "local/a/seg/",
                                        " at ",
                                        "; /home/runs/",
                                        "/data/",
                                        NULL};

    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct load_job j;
        struct drained d;
        uint64_t bad;

        save(&j, i, 2, 1 + i % JOB_DULL, i % 4 < 2);
        drained_begin(&d, j.world, "a", &j.id[NEWEST]);
        bad = i % d.m.chunk_count;
        flip_local(&j, &d.m, bad);
        drained_flip(&d, bad, i < 4 ? 9 : 5000);
        load_job_start(&j, 1 + i % 3, 4, true);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, NEWEST - 1);
        assert_int_equal(j.l[0]->attempts, 2);
        has_words(j.l[0]->note, words);
        drained_end(&d);
        load_job_end(&j);
    }
}

static bool is_noted(const struct load_job *j, const char *folder,
                     const struct drained *d)
{
    char name[RECORD_NAME_BYTES];

    (void)name_save_daemon(name, RIG_RUN, folder, &j->id[NEWEST],
                           &d->tier.info.daemon);
    return media_has(rig_home(j->g), name);
}

/* Long before its turn. */
static void what_a_load_finds_bad_is_scrubbed_next(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct load_job j;
    struct drained d;
    struct catalog *all;
    struct save_id *id;

    (void)state;
    save(&j, 3, 2, 1, false);
    id = &j.id[NEWEST];
    drained_begin(&d, j.world, "a", id);
    flip_local(&j, &d.m, 1);
    drained_flip(&d, 1, 5000);
    load_job_start(&j, 1, 4, true);
    rig_put_mark(j.g, RECORD_REMOTE, name_save(name, RIG_RUN, "remote", id),
                 id);
    all = &rig_the_run(j.g)->catalog;
    catalog_find(all, id)->is_marked_remote = true;
    for (size_t i = 0; i < all->save_count; i++)
        all->save[i].scrub_at_s = all->save[i].scrub_remote_at_s = UINT32_MAX;
    j.g->engine->env->scrub_every_ns = WEEK_NS;
    assert_int_equal(scrub_open(j.g->engine), 0);
    (void)rig_run(j.g, 60000, NULL, NULL);
    assert_false(is_noted(&j, "damaged", &d));
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, NEWEST - 1);
    (void)rig_run(j.g, 60000, NULL, NULL);
    assert_true(is_noted(&j, "damaged", &d));
    assert_true(is_noted(&j, "damaged_remote", &d));
    drained_end(&d);
    load_job_end(&j);
}

/* The newest step's segments are gone, and of what is remote some is not as it
 * should be. */
static void falls_back_with(struct load_job *j, const char *words)
{
    const char *const all[] = {"step 30", words, NULL};
    struct drained d;

    drained_begin(&d, j->world, "a", &j->id[NEWEST]);
    for (uint64_t i = 0; i < d.m.file_count; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "%.*s", (int)d.m.file[i].name_bytes,
                       d.m.blob + d.m.file[i].name);
        assert_int_equal(
            media_remove_segment(test_world_store(j->world, "local/a"), name),
            0);
    }
    drained_end(&d);
    load_job_start(j, 2, 4, true);
    load_job_load(j);
    load_job_finish(j);
    load_job_check(j, NEWEST - 1);
    has_words(j->l[0]->note, all);
}

static void a_remote_file_that_is_gone_is_named(void **state)
{
    (void)state;
    for (int as_blobs = 0; as_blobs < 2; as_blobs++) {
        struct load_job j;
        struct drained d;

        save(&j, 1, 2, 1, as_blobs);
        drained_begin(&d, j.world, "a", &j.id[NEWEST]);
        drained_remove(&d, d.tier.file_count - 1);
        falls_back_with(&j, "its file is gone");
        drained_end(&d);
        load_job_end(&j);
    }
}

static void a_remote_file_that_was_cut_is_named(void **state)
{
    struct load_job j;
    struct store_req trim = {.op = STORE_SEG_TRIM};
    struct drained d;
    struct store *home;
    char name[512];

    (void)state;
    save(&j, 2, 2, 1, false);
    home = test_world_store(j.world, RIG_HOME);
    drained_begin(&d, j.world, "a", &j.id[NEWEST]);
    trim.seg = media_open(home, drained_file_name(&d, 0, name, sizeof name),
                          STORE_SEG_WRITE, NULL);
    trim.len = tier_file_bytes(&d.tier, 0) - PAGE_BYTES;
    assert_int_equal(store_run(home, &trim), trim.len);
    media_close(home, trim.seg);
    falls_back_with(&j, "it was truncated");
    drained_end(&d);
    load_job_end(&j);
}

/* A table that is whole, under the name of the newest save. */
static void plant_table(struct load_job *j, const struct manifest *of,
                        const struct id128 *daemon)
{
    struct store *home = test_world_store(j->world, RIG_HOME);
    char name[RECORD_NAME_BYTES];
    struct id128 here;
    struct digest uuid = hash_128("a", 1);
    struct err err;
    size_t bytes;
    void *data;

    memcpy(here.b, uuid.b, sizeof here.b);
    (void)name_save_daemon(name, RIG_RUN, "remote", &j->id[NEWEST], &here);
    assert_int_equal(media_remove(home, name), 0);
    assert_int_equal(
        tier_build(of, daemon, DRAINED_FILE_BYTES, &data, &bytes, &err), 0);
    assert_true(media_put(home, name, data, bytes) >= 0);
    free(data);
}

static void a_table_of_another_save_is_refused(void **state)
{
    struct load_job j;
    struct drained d;

    (void)state;
    save(&j, 3, 2, 1, false);
    drained_save(j.world, "a", &j.id[NEWEST - 1]);
    drained_begin(&d, j.world, "a", &j.id[NEWEST - 1]);
    plant_table(&j, &d.m, &d.tier.info.daemon);
    falls_back_with(&j, "is of another save");
    drained_end(&d);
    load_job_end(&j);
}

/* Each of one thing that the manifest says otherwise. */
static void a_forged_table_is_refused(void **state)
{
    static const char *const words[] = {"another daemon's", "chunk 2 of rank 0",
                                        "rank 1 is not the manifest's",
                                        "lacks ranks"};

    (void)state;
    for (size_t what = 0; what < ARRAY_LEN(words); what++) {
        struct load_job j;
        struct manifest m;
        struct mf_chunk *chunks;
        struct mf_rank ranks[2];
        struct id128 daemon;
        struct drained d;

        save(&j, what, 2, 1, what % 2);
        drained_begin(&d, j.world, "a", &j.id[NEWEST]);
        m = d.m;
        daemon = d.tier.info.daemon;
        chunks = calloc(m.chunk_count, sizeof *chunks);
        assert_non_null(chunks);
        memcpy(chunks, m.chunk, m.chunk_count * sizeof *chunks);
        memcpy(ranks, m.rank, sizeof ranks);
        m.chunk = chunks;
        m.rank = ranks;
        if (what == 0) {
            daemon.b[0] ^= 1;
            ranks[0].daemon = ranks[1].daemon = daemon;
        } else if (what == 1) {
            chunks[2].content.b[7] ^= 1;
        } else if (what == 2) {
            ranks[1].chunk_count--;
        } else {
            m.rank_count = 1;
        }
        plant_table(&j, &m, &daemon);
        falls_back_with(&j, words[what]);
        free(chunks);
        drained_end(&d);
        load_job_end(&j);
    }
}

static void a_table_that_is_damaged_is_named(void **state)
{
    char name[RECORD_NAME_BYTES];
    struct load_job j;
    struct drained d;

    (void)state;
    save(&j, 5, 2, 1, false);
    drained_begin(&d, j.world, "a", &j.id[NEWEST]);
    (void)name_save_daemon(name, RIG_RUN, "remote", &j.id[NEWEST],
                           &d.tier.info.daemon);
    ((uint8_t *)d.tier_data)[300] ^= 1;
    assert_int_equal(media_remove(test_world_store(j.world, RIG_HOME), name),
                     0);
    drained_table(&d);
    falls_back_with(&j, "/home/runs/run/remote/");
    drained_end(&d);
    load_job_end(&j);
}

/*
 * A home that does not answer.
 */

/* The checkpoint is not passed over for it, and the next load is good. */
static void what_does_not_answer_is_no_damage(void **state)
{
    static const char *const parts[] = {"/remote/", "/data/"};

    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct store_fault fault = {.op = -1,
                                    .name_part = parts[i % 2],
                                    .nth = 1,
                                    .persistent = true,
                                    .error = i < 4 ? -ETIMEDOUT : -EACCES};
        struct load_job j;
        uint64_t before;

        save(&j, i, 2, i % 2 ? 1 : JOB_DULL, i % 4 < 2);
        drained_lose_segments(j.world, "local/a");
        load_job_start(&j, 2, 4, true);
        test_env_fail(j.g->daemon, RIG_HOME, &fault);
        before = j.world->now_ns;
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check_failed(&j, fault.error, parts[i % 2]);
        load_job_check_failed(&j, fault.error, err_text(fault.error));
        load_job_check_failed(&j, fault.error, "step 30, rank ");
        assert_int_equal(j.l[0]->attempts, 1);
        assert_true(j.world->now_ns - before < (uint64_t)10 * 1000000000);
        store_fault_clear(test_env_fault(j.g->daemon, RIG_HOME));
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, NEWEST);
        load_job_end(&j);
    }
}

/* Each request that reads remote things may fail by -EIO, and by -ESTALE: once
 * is nothing; always is a copy that is lost. */
static void an_error_that_passes_is_not_believed(void **state)
{
    static const int errors[] = {-EIO, -ESTALE};

    (void)state;
    for (int as_blobs = 0; as_blobs < 2; as_blobs++)
        for (uint64_t nth = 1; nth <= 12; nth++) {
            struct store_fault fault = {.op = -1,
                                        .name_part = "/data/",
                                        .nth = nth,
                                        .error = errors[nth % 2]};
            struct load_job j;

            save(&j, nth, 2, 1, as_blobs);
            drained_lose_segments(j.world, "local/a");
            load_job_start(&j, 2, 4, true);
            test_env_fail(j.g->daemon, RIG_HOME, &fault);
            if (nth == 1) {
                fault.name_part = "/remote/";
                fault.error = -EIO;
                test_env_fail(j.g->daemon, RIG_HOME, &fault);
            }
            load_job_load(&j);
            load_job_finish(&j);
            load_job_check(&j, NEWEST);
            assert_int_equal(
                store_fault_count(test_env_fault(j.g->daemon, RIG_HOME)),
                nth == 1 ? 2 : 1);
            load_job_end(&j);
        }
}

static void an_error_that_stays_is_a_lost_copy(void **state)
{
    static const char *const parts[] = {"/remote/", "/data/"};

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct store_fault fault = {.op = -1,
                                    .name_part = parts[i % 2],
                                    .nth = 1,
                                    .persistent = true,
                                    .error = -EIO};
        struct load_job j;

        save(&j, i, 2, 1, i < 2);
        load_job_damage(&j, NEWEST);
        load_job_start(&j, 2, 4, true);
        test_env_fail(j.g->daemon, RIG_HOME, &fault);
        load_job_load(&j);
        load_job_finish(&j);
        load_job_check(&j, NEWEST - 1);
        load_job_end(&j);
    }
}

/* The nth request to the home fails, whatever it is for: false when there are
 * fewer. All ranks have one outcome, and the next load is good. */
static bool one_failure(uint64_t nth, bool persistent, int error, bool as_blobs)
{
    struct store_fault fault = {
        .op = -1, .nth = nth, .persistent = persistent, .error = error};
    struct load_job j;
    struct store *s;
    bool has_fired;

    save(&j, nth, 2, 1 + nth % JOB_DULL, as_blobs);
    drained_lose_segments(j.world, "local/a");
    load_job_start(&j, 2, 4, nth % 3 == 0);
    s = test_env_fault(j.g->daemon, RIG_HOME);
    assert_int_equal(store_fault_add(s, &fault), 0);
    load_job_load(&j);
    load_job_finish(&j);
    has_fired = store_fault_count(s) > 0;
    store_fault_clear(s);
    assert_int_equal(j.l[0]->code, j.l[1]->code);
    if (j.l[0]->code == 0)
        load_job_check(&j, NEWEST);
    else
        assert_true(j.l[0]->code < 0 && j.l[0]->text[0]);
    load_job_load(&j);
    load_job_finish(&j);
    load_job_check(&j, NEWEST);
    load_job_end(&j);
    return has_fired;
}

static void every_request_may_fail(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        uint64_t nth = 1;

        while (one_failure(nth, i % 2, nth % 2 ? -EIO : -ENOMEM, i < 2))
            nth++;
        assert_true(nth > 10);
    }
}

/*
 * Ends.
 */

static void a_daemon_may_stop_or_die_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 60; i++) {
        struct load_job j;

        save(&j, i, 2, 1 + i % JOB_DULL, i % 4 < 2);
        drained_lose_segments(j.world, "local/a");
        load_job_start(&j, 2, 4, true);
        load_job_cut_short(&j, i, i % 2);
        load_job_check(&j, NEWEST);
        load_job_end(&j);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_drive_all_is_remote),
        cmocka_unit_test(another_store_reads_all_of_it),
        cmocka_unit_test(a_read_of_one_rank_is_served_too),
        cmocka_unit_test(one_bad_chunk_alone_is_remote),
        cmocka_unit_test(what_is_good_here_is_not_fetched),
        cmocka_unit_test(with_both_nodes_gone_another_loads_all),
        cmocka_unit_test(with_one_node_gone_the_other_loads_all),
        cmocka_unit_test(a_share_without_a_copy_is_named),
        cmocka_unit_test(both_copies_bad_fall_back),
        cmocka_unit_test(what_a_load_finds_bad_is_scrubbed_next),
        cmocka_unit_test(a_remote_file_that_is_gone_is_named),
        cmocka_unit_test(a_remote_file_that_was_cut_is_named),
        cmocka_unit_test(a_table_of_another_save_is_refused),
        cmocka_unit_test(a_forged_table_is_refused),
        cmocka_unit_test(a_table_that_is_damaged_is_named),
        cmocka_unit_test(what_does_not_answer_is_no_damage),
        cmocka_unit_test(an_error_that_passes_is_not_believed),
        cmocka_unit_test(an_error_that_stays_is_a_lost_copy),
        cmocka_unit_test(every_request_may_fail),
        cmocka_unit_test(a_daemon_may_stop_or_die_at_any_moment),
    };

    return cmocka_run_group_tests_name("remote_read", tests, NULL, NULL);
}
