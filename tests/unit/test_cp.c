/*
 * test_cp.c - ckpt cp over stores in memory: it is ended at each of its
 * requests in turn, and whatever it leaves is either no checkpoint or a whole
 * one, from which the next cp goes on; sources that fail at each of theirs; a
 * file that another one is writing.
 *
 * The save is of two daemons: what "a" has is in its local store, what "b" has
 * is in the remote tier of the source alone. The linker's --wrap gives the
 * tool's code the world's stores, which it does not close.
 */
#include "storage/store_internal.h"
#include "tests/lib/drained.h"
#include "tests/lib/media.h"
#include "tests/lib/rig_pair.h"
#include "tools/ckpt/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DEST  "/dest"
#define LOCAL "/local"
#define STEP  7

static const struct rig_shape shape = {.world_size = 2,
                                       .slots = 12,
                                       .tensors = 2,
                                       .tensor_bytes =
                                           5 * (uint64_t)RIG_CHUNK_BYTES - 100,
                                       .codec = 1,
                                       .entropy = 1};

/* What the tool's code opens. */
static struct {
    struct test_world *world;
    struct store *home, *local, *dest; /* fault wrappers, but for the local */
    struct save_id id;
} s;

/* The names that ld --wrap gives to what was and to what stands before it. */
void real_close(struct store *store) __asm__("__real_store_close");
void wrap_close(struct store *store) __asm__("__wrap_store_close");
int wrap_home(const char *home, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__wrap_store_home_open");
int wrap_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__wrap_store_file_open");

/* They live on; but what comes next is another process, which remembers nothing
 * of what failed. */
void wrap_close(struct store *store)
{
    if (store)
        store_spoilt_free(store);
    if (store != s.home && store != s.local && store != s.dest)
        real_close(store);
}

int wrap_home(const char *home, unsigned flags, enum store_engine engine,
              struct store **out, struct err *err)
{
    (void)flags;
    if (engine == STORE_ENGINE_THREADS) /* a lease has a thread of its own */
        return store_memory_open(0, out, err);
    *out = strcmp(home, DEST) == 0 ? s.dest : s.home;
    return 0;
}

int wrap_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out, struct err *err)
{
    (void)flags;
    (void)engine;
    if (strcmp(path, LOCAL) != 0)
        return err_set(err, -ENOENT, "no such folder");
    *out = s.local;
    return 0;
}

/* Runs a verb without its words. */
static int quiet(int (*verb)(struct tool *t), struct options options)
{
    struct tool t = {.verb = "cp", .target = RIG_RUN "@7", .options = options};
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC), saved[2], code;

    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        saved[i] = fcntl(i + 1, F_DUPFD_CLOEXEC, 3);
        assert_true(saved[i] >= 0 && dup2(nowhere, i + 1) == i + 1);
    }
    code = verb(&t);
    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dup2(saved[i], i + 1), i + 1);
        (void)close(saved[i]);
    }
    (void)close(nowhere);
    return code;
}

static int copy(void)
{
    return quiet(verb_cp, (struct options){
                              .home = RIG_HOME, .local = LOCAL, .to = DEST});
}

/* Every byte of it in the destination, decoded. */
static int verify(void)
{
    return quiet(verb_verify, (struct options){.home = DEST,
                                               .local = "/none",
                                               .deep = true,
                                               .tier = TIER_REMOTE});
}

/* Its decision; then all else that a trainer there goes by is there as well. */
static bool has_decision(void)
{
    char name[RECORD_NAME_BYTES];

    if (!media_has(s.dest, name_save(name, RIG_RUN, "decision", &s.id)))
        return false;
    assert_true(media_has(s.dest, name_save(name, RIG_RUN, "remote", &s.id)));
    assert_true(
        media_has(s.dest, name_gen(name, RIG_RUN, "gen", s.id.generation)));
    assert_true(
        media_has(s.dest, name_gen(name, RIG_RUN, "closed", s.id.generation)));
    return true;
}

static struct store *with_faults(struct store *below)
{
    struct store *out;
    struct err err;

    assert_int_equal(store_fault_open(below, &out, &err), 0);
    return out;
}

/* An empty destination, with segments or with blobs of a few chunks. */
static void new_dest(bool in_place)
{
    struct store *memory;
    struct err err;

    if (s.dest)
        real_close(s.dest);
    assert_int_equal(store_memory_open(1, &memory, &err), 0);
    s.dest = with_faults(memory);
    if (in_place)
        return;
    s.dest->limits.max_io_bytes = 0;
    s.dest->limits.max_blob_bytes = DRAINED_FILE_BYTES;
}

static void local_identity(struct store *local, const char *daemon)
{
    struct digest name = hash_128(daemon, strlen(daemon));
    struct record_store record; /* as test_env_new() makes it */
    struct wr w = {0};

    memcpy(record.uuid.b, name.b, sizeof record.uuid.b);
    record_store_encode(&record, &w);
    assert_int_equal(media_put(local, "STORE", w.data, w.bytes), 0);
    wr_free(&w);
}

static int begin(void **state)
{
    struct rig_pair p;

    (void)state;
    rig_pair_begin(&p, 5, &shape);
    for (int i = 0; i < 2; i++)
        p.g[i]->has_shared_world = true;
    s.world = p.world;
    rig_pair_save(&p, STEP, 0);
    rig_pair_decide(&p);
    s.id = p.v[0]->id;
    rig_pair_end(&p);
    s.home = with_faults(test_world_store(s.world, RIG_HOME));
    s.local = test_world_store(s.world, "local/a");
    local_identity(s.local, "a");
    drained_save(s.world, "b", &s.id);
    return 0;
}

/* The n-th request, and all after it, do not reach the store; or the n-th does,
 * but nobody hears of it. */
static void fail_from(struct store *store, uint64_t nth, bool after)
{
    struct store_fault first = {
        .op = -1, .nth = nth, .after = after, .error = -EIO};
    struct store_fault rest = {
        .op = -1, .nth = nth, .persistent = true, .error = -EIO};

    assert_int_equal(store_fault_add(store, after ? &first : &rest), 0);
    if (after)
        assert_int_equal(store_fault_add(store, &rest), 0);
}

static void goes_well(void **state)
{
    (void)state;
    for (int in_place = 0; in_place < 2; in_place++) {
        new_dest(in_place);
        assert_int_equal(copy(), EXIT_FINE);
        assert_int_equal(verify(), EXIT_FINE);
        assert_int_equal(copy(), EXIT_FINE);
    }
}

/* Ended at each request to the destination. Returns how many there are. */
static uint64_t end_at_each(bool in_place, bool after)
{
    uint64_t n = 0;
    int code;

    do {
        new_dest(in_place);
        fail_from(s.dest, ++n, after);
        code = copy();
        store_fault_clear(s.dest);
        if (has_decision())
            assert_int_equal(verify(), EXIT_FINE);
        else
            assert_int_not_equal(code, EXIT_FINE);
        if (code == EXIT_FINE)
            break;
        assert_int_equal(copy(), EXIT_FINE);
        assert_true(has_decision());
        assert_int_equal(verify(), EXIT_FINE);
    } while (n < 10000);
    return n;
}

static void ended_anywhere_it_goes_on(void **state)
{
    uint64_t requests = 0;

    (void)state;
    for (int in_place = 0; in_place < 2; in_place++)
        for (int after = 0; after < 2; after++)
            requests += end_at_each(in_place, after);
    assert_true(requests > 100);
    (void)printf("# figure: ended at %d requests, each time whole or nothing\n",
                 (int)requests);
}

static void a_source_that_fails_makes_no_checkpoint(void **state)
{
    uint64_t n = 0;
    int code;

    (void)state;
    do {
        new_dest(n % 2);
        fail_from(s.home, ++n, false);
        code = copy();
        store_fault_clear(s.home);
        assert_int_equal(has_decision(), code == EXIT_FINE);
        if (code == EXIT_FINE)
            break;
        assert_int_equal(copy(), EXIT_FINE);
        assert_int_equal(verify(), EXIT_FINE);
    } while (n < 10000);
    assert_true(n > 10);
}

static void a_file_that_another_writes_is_left_to_him(void **state)
{
    struct store_seg *seg;
    struct drained d;
    char name[512];
    uint64_t bytes;

    (void)state;
    new_dest(true);
    assert_int_equal(copy(), EXIT_FINE);
    drained_begin(&d, s.world, "a", &s.id);
    (void)drained_file_name(&d, 0, name, sizeof name);
    drained_end(&d);
    seg = media_open(s.dest, name, STORE_SEG_WRITE, &bytes);
    assert_int_equal(copy(), EXIT_LOCKED);
    media_close(s.dest, seg);
    assert_int_equal(copy(), EXIT_FINE);
}

/* One flipped bit in whatever lies there: found, and mended. */
static void bad_bytes_there_are_mended(void **state)
{
    struct drained d;
    char name[512];
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    uint64_t bytes;

    (void)state;
    new_dest(true);
    assert_int_equal(copy(), EXIT_FINE);
    drained_begin(&d, s.world, "b", &s.id);
    (void)drained_file_name(&d, 0, name, sizeof name);
    drained_end(&d);
    for (uint64_t at = 0, size = PAGE_BYTES; at < size; at += PAGE_BYTES) {
        struct store_seg *seg =
            media_open(s.dest, name, STORE_SEG_WRITE, &bytes);

        size = bytes;
        media_read(s.dest, seg, at, page);
        page[(at / PAGE_BYTES * 37) % PAGE_BYTES] ^= 16;
        media_write(s.dest, seg, at, page);
        media_close(s.dest, seg);
        assert_int_equal(verify(), EXIT_CORRUPT);
        assert_int_equal(copy(), EXIT_FINE);
        assert_int_equal(verify(), EXIT_FINE);
    }
    free(page);
}

static void forget(const char *folder, const struct id128 *daemon)
{
    char name[RECORD_NAME_BYTES];

    if (daemon)
        (void)name_save_daemon(name, RIG_RUN, folder, &s.id, daemon);
    else
        (void)name_save(name, RIG_RUN, folder, &s.id);
    assert_int_equal(media_remove(s.dest, name), 0);
}

/* A table of more and smaller files, as a store without segments would have
 * had it: it says where the files are. */
static void a_table_that_is_there_is_followed(void **state)
{
    char name[RECORD_NAME_BYTES], file[512];
    struct drained d;

    (void)state;
    new_dest(true);
    assert_int_equal(copy(), EXIT_FINE);
    drained_begin(&d, s.world, "a", &s.id);
    forget("decision", NULL);
    forget("remote", &d.tier.info.daemon);
    (void)name_save_daemon(name, RIG_RUN, "remote", &s.id, &d.tier.info.daemon);
    assert_int_equal(media_put(s.dest, name, d.tier_data, d.tier_bytes), 0);
    assert_int_equal(copy(), EXIT_FINE);
    assert_int_equal(verify(), EXIT_FINE);
    assert_true(d.tier.file_count > 2);
    for (uint32_t i = 0; i < d.tier.file_count; i++)
        assert_int_equal(
            media_remove_segment(s.dest,
                                 drained_file_name(&d, i, file, sizeof file)),
            0);
    assert_int_equal(verify(), EXIT_PARTIAL);
    assert_int_equal(copy(), EXIT_FINE);
    assert_int_equal(verify(), EXIT_FINE);
    drained_end(&d);
}

/*
 * What a power cut could take: order is all that a store in memory can show.
 */

/* The last entry of that op, and of names with that part, before `end`; -1. */
static long last_of(enum store_op op, const char *part, size_t end)
{
    for (size_t i = end; i-- > 0;) {
        const struct store_entry *e = store_record_at(s.dest, i);

        if (e->op == op && e->name && strstr(e->name, part) && e->result >= 0)
            return (long)i;
    }
    return -1;
}

static long first_of(enum store_op op, const char *part)
{
    for (size_t i = 0; i < store_record_count(s.dest); i++) {
        const struct store_entry *e = store_record_at(s.dest, i);

        if (e->op == op && e->name && strstr(e->name, part))
            return (long)i;
    }
    return -1;
}

static const char *const folders[] = {"/gen/", "/member/", "/closed/",
                                      "/remote/"};

/* Each file is synced after it was written and before its table; the decision
 * is behind all else. */
static void check_order(const struct id128 *daemon, bool is_new)
{
    size_t count = store_record_count(s.dest);
    char id[ID_TEXT_BYTES], name[RECORD_NAME_BYTES];
    long table, written, synced;

    (void)id_format(daemon, id);
    table = first_of(STORE_PUT,
                     name_save_daemon(name, RIG_RUN, "remote", &s.id, daemon));
    assert_true(table >= 0);
    written = last_of(STORE_WRITE, id, count);
    synced = last_of(STORE_SYNC, id, (size_t)table);
    assert_int_equal(written >= 0, is_new);
    assert_true(synced > written);
    assert_true(synced >= 0);
    assert_true(first_of(STORE_PUT, "/decision/") > table);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        assert_true(first_of(STORE_PUT, "/decision/") >
                    last_of(STORE_PUT, folders[i], count));
}

/* Again where all files are there whole: who wrote them may have been killed
 * before he synced them. */
static void files_are_durable_before_they_are_named(void **state)
{
    static const char *const daemons[] = {"a", "b"};
    struct store *memory, *second;
    struct id128 uuid[2];
    struct err err;

    (void)state;
    new_dest(true);
    for (int i = 0; i < 2; i++) {
        struct digest name = hash_128(daemons[i], 1);

        memcpy(uuid[i].b, name.b, sizeof uuid[i].b);
    }
    real_close(s.dest);
    assert_int_equal(store_memory_open(1, &memory, &err), 0);
    assert_int_equal(store_record_open(memory, &s.dest, &err), 0);
    assert_int_equal(copy(), EXIT_FINE);
    for (int i = 0; i < 2; i++)
        check_order(&uuid[i], true);
    forget("decision", NULL);
    forget("remote", NULL);
    for (int i = 0; i < 2; i++)
        forget("remote", &uuid[i]);
    assert_int_equal(store_record_open(s.dest, &second, &err), 0);
    s.dest = second;
    assert_int_equal(copy(), EXIT_FINE);
    for (int i = 0; i < 2; i++)
        check_order(&uuid[i], false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_well),
        cmocka_unit_test(ended_anywhere_it_goes_on),
        cmocka_unit_test(a_source_that_fails_makes_no_checkpoint),
        cmocka_unit_test(a_file_that_another_writes_is_left_to_him),
        cmocka_unit_test(bad_bytes_there_are_mended),
        cmocka_unit_test(a_table_that_is_there_is_followed),
        cmocka_unit_test(files_are_durable_before_they_are_named),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
