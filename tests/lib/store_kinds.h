/*
 * store_kinds.h - runs one array of cases over every kind of store, each case
 * with a fresh store in a fresh folder.
 *
 * The kinds are the file store on io_uring and on threads, the file store in a
 * process where a seccomp filter refuses io_uring, or nameless files (a forked
 * child, because a filter stays), the file store on a mount that misbehaves as
 * NFS does, the memory store in order and shuffled, both wrappers, and RADOS on
 * a double, in fair and in foul weather. A case gets a struct store_fixture as
 * its state. Static functions, because only suites of storage want them.
 *
 * With CKPT_TEST_RADOS set to a home's name (rados://POOL/PREFIX?...), the
 * cases run over that cluster instead, each in a namespace of its own,
 * PREFIX-....
 */
#ifndef TESTS_LIB_STORE_KINDS_H
#define TESTS_LIB_STORE_KINDS_H

#include "storage/rados_url.h"
#include "storage/store.h"
#include "tests/lib/nfs_mount.h"
#include "tests/lib/rados_double.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <seccomp.h>

struct store_kind {
    const char *name;
    int (*open)(const char *dir, struct store **out, struct err *err);
    int refuses; /* errno by which io_uring is refused, or 0 */
    bool refuses_tmpfile;
    bool is_nfs;
    bool has_no_segments;
    void (*after)(void); /* the store has been closed */
};

struct store_fixture {
    const struct store_kind *kind;
    char dir[512]; /* of the store: `base`, or a mount in it */
    struct nfs_mount nfs;
    char base[512];
    struct store *store;
    struct err err;
};

/*
 * Opening.
 */

static inline int open_uring(const char *dir, struct store **out,
                             struct err *err)
{
    return store_file_open(dir, STORE_OPEN_WRITE, STORE_ENGINE_URING, out, err);
}

static inline int open_threads(const char *dir, struct store **out,
                               struct err *err)
{
    return store_file_open(dir, STORE_OPEN_WRITE, STORE_ENGINE_THREADS, out,
                           err);
}

static inline int open_auto(const char *dir, struct store **out,
                            struct err *err)
{
    return store_file_open(dir, STORE_OPEN_WRITE, STORE_ENGINE_AUTO, out, err);
}

static inline int open_memory(const char *dir, struct store **out,
                              struct err *err)
{
    (void)dir;
    return store_memory_open(0, out, err);
}

static inline int open_shuffled(const char *dir, struct store **out,
                                struct err *err)
{
    (void)dir;
    return store_memory_open(20261123, out, err);
}

static inline int open_fault(const char *dir, struct store **out,
                             struct err *err)
{
    struct store_fault late = {
        .op = -1, .nth = 3, .persistent = true, .delay_polls = 2};
    struct store *below;
    int rc = open_shuffled(dir, &below, err);

    if (rc == 0)
        rc = store_fault_open(below, out, err);
    return rc == 0 ? store_fault_add(*out, &late) : rc;
}

static inline int open_record(const char *dir, struct store **out,
                              struct err *err)
{
    struct store *below;
    int rc = open_uring(dir, &below, err);

    return rc == 0 ? store_record_open(below, out, err) : rc;
}

/* Of a name for each folder: a namespace. */
static inline int open_rados_space(const char *dir, const char *home,
                                   const struct store_rados_options *options,
                                   struct store **out, struct err *err)
{
    char text[RADOS_URL_MAX + 1];
    struct rados_url url;
    int rc = rados_url_parse(home, &url, err);

    if (rc < 0)
        return rc;
    assert_true(strlen(url.space) + 32 < sizeof url.space);
    (void)strcat(url.space, "-");
    (void)strncat(url.space, strrchr(dir, '/') + 1, 20);
    rados_url_format(&url, text);
    return store_rados_open(text, STORE_OPEN_WRITE | STORE_OPEN_CREATE, options,
                            out, err);
}

static inline int open_rados_double(const char *dir, struct store **out,
                                    struct err *err)
{
    const struct store_rados_options options = {.api = rados_double_api()};

    rados_double_start(20261123);
    return open_rados_space(dir, "rados://meta/unit?data_pool=data", &options,
                            out, err);
}

/* Answers get lost, requests get lost, and some land late. */
static inline int open_rados_foul(const char *dir, struct store **out,
                                  struct err *err)
{
    const struct rados_weather foul = {
        .delay_us = 50, .lost = 20, .unanswered = 20, .late = 20};
    int rc = open_rados_double(dir, out, err);

    rados_double_weather(&foul);
    return rc;
}

static inline int open_rados_real(const char *dir, struct store **out,
                                  struct err *err)
{
    return open_rados_space(dir, getenv("CKPT_TEST_RADOS"), NULL, out, err);
}

static const struct store_kind store_kind_real = {
    .name = "RADOS", .open = open_rados_real, .has_no_segments = true};

static const struct store_kind store_kinds[] = {
    {.name = "file on io_uring", .open = open_uring},
    {.name = "file on threads", .open = open_threads},
    {.name = "memory", .open = open_memory},
    {.name = "shuffled memory", .open = open_shuffled},
    {.name = "late memory", .open = open_fault},
    {.name = "recorded file", .open = open_record},
    {.name = "RADOS double",
     .open = open_rados_double,
     .has_no_segments = true,
     .after = rados_double_stop},
    {.name = "RADOS double in foul weather",
     .open = open_rados_foul,
     .has_no_segments = true,
     .after = rados_double_stop},
    {.name = "file, io_uring refused by EPERM",
     .open = open_auto,
     .refuses = EPERM},
    {.name = "file, io_uring refused by ENOSYS",
     .open = open_auto,
     .refuses = ENOSYS},
    {.name = "file without O_TMPFILE",
     .open = open_auto,
     .refuses_tmpfile = true},
    {.name = "file on NFS", .open = open_auto, .is_nfs = true},
};

/*
 * Folders.
 */

/* A fresh folder on the disk of the tests. */
static inline void make_dir(char *path, size_t capacity)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(path, capacity, "%s/store-XXXXXX", base ? base : "/var/tmp");
    assert_non_null(mkdtemp(path));
}

/* All that a client remembers, and every other answer to a link() lost. */
static inline void store_setup_nfs(struct store_fixture *fixture)
{
    static const struct {
        enum nfs_knob knob;
        uint32_t value;
    } knobs[] = {
        {NFS_ABSENCE_MS, 60000}, {NFS_ATTR_MS, 60000}, {NFS_LIST_MS, 60000},
        {NFS_LOST_LINK, 500},    {NFS_SEED, 1},
    };

    assert_int_equal(nfs_mount(&fixture->nfs, fixture->base, "mount"), 0);
    memcpy(fixture->dir, fixture->nfs.at, sizeof fixture->dir);
    for (size_t i = 0; i < ARRAY_LEN(knobs); i++)
        fixture->nfs.control->knob[knobs[i].knob] = knobs[i].value;
}

static inline int store_setup(void **state)
{
    struct store_fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->kind = *state;
    make_dir(fixture->base, sizeof fixture->base);
    memcpy(fixture->dir, fixture->base, sizeof fixture->dir);
    if (fixture->kind->is_nfs)
        store_setup_nfs(fixture);
    if (fixture->kind->open(fixture->dir, &fixture->store, &fixture->err) < 0)
        fail_msg("%s", fixture->err.text);
    *state = fixture;
    return 0;
}

static inline int store_teardown(void **state)
{
    struct store_fixture *fixture = *state;

    store_close(fixture->store);
    if (fixture->kind->after)
        fixture->kind->after();
    if (fixture->kind->is_nfs)
        nfs_unmount(&fixture->nfs);
    remove_tree(fixture->base);
    free(fixture);
    return 0;
}

/*
 * Requests.
 */

static inline int64_t do_record(struct store *store, enum store_op op,
                                const char *name, const void *data, size_t len)
{
    struct store_req req = {.op = op, .name = name, .len = len};

    memcpy(&req.buf, &data, sizeof data); /* a PUT only reads it */
    return store_run(store, &req);
}

static inline int64_t do_put(struct store *store, const char *name,
                             const char *text)
{
    return do_record(store, STORE_PUT, name, text, strlen(text));
}

/* The record as a string; freed by the caller. NULL when there is none. */
static inline char *do_get(struct store *store, const char *name)
{
    char *text = calloc(1, 4096);
    struct store_req req = {
        .op = STORE_GET, .name = name, .buf = text, .len = 4095};

    assert_non_null(text);
    if (store_run(store, &req) >= 0)
        return text;
    free(text);
    return NULL;
}

static inline void assert_record(struct store *store, const char *name,
                                 const char *text)
{
    char *found = do_get(store, name);

    assert_non_null(found);
    assert_string_equal(found, text);
    free(found);
}

static inline int64_t do_open(struct store *store, const char *name,
                              unsigned flags, uint64_t len,
                              struct store_seg **seg)
{
    struct store_req req = {
        .op = STORE_SEG_OPEN, .name = name, .flags = flags, .len = len};
    int64_t result = store_run(store, &req);

    *seg = req.seg;
    return result;
}

static inline int64_t do_seg(struct store *store, enum store_op op,
                             struct store_seg *seg, uint64_t len)
{
    struct store_req req = {.op = op, .seg = seg, .len = len};

    return store_run(store, &req);
}

static inline int64_t do_io(struct store *store, enum store_op op,
                            struct store_seg *seg, void *buf, uint64_t len,
                            uint64_t off)
{
    struct store_req req = {
        .op = op, .seg = seg, .buf = buf, .len = len, .off = off};

    return store_run(store, &req);
}

/* Many requests under way at once; req[i].owner is the batch. */
struct batch {
    size_t count, ended;
    struct store_req *req;
};

static inline void batch_done(struct store_req *req, int64_t result)
{
    struct batch *batch = req->owner;

    assert_int_equal(req->result, result);
    batch->ended++;
}

static inline struct batch batch_new(size_t count)
{
    struct batch batch = {.count = count,
                          .req = calloc(count, sizeof(struct store_req))};

    assert_non_null(batch.req);
    return batch;
}

static inline void batch_submit(struct store *store, struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        batch->req[i].done = batch_done;
        batch->req[i].owner = batch;
        store_submit(store, &batch->req[i]);
    }
}

static inline void batch_wait(struct store *store, const struct batch *batch)
{
    while (batch->ended < batch->count) {
        int rc = store_poll(store, -1);

        assert_true(rc == 0 || rc == -EINTR);
    }
    assert_int_equal(batch->ended, batch->count);
}

/* Two removals of the name and two creations of it, in whatever order they
 * come; they have ended. */
static inline struct batch batch_contend(struct store *store, const char *name,
                                         char *text)
{
    struct batch batch = batch_new(4);

    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] =
            (struct store_req){.op = i < 2 ? STORE_REMOVE : STORE_PUT,
                               .name = name,
                               .buf = i < 2 ? NULL : text,
                               .len = i < 2 ? 0 : strlen(text)};
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    return batch;
}

/*
 * Running.
 */

/* From here on, this process has no io_uring. */
static inline int refuse_uring(int error)
{
    static const char *const calls[] = {"io_uring_setup", "io_uring_enter",
                                        "io_uring_register"};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(calls); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)error),
                              seccomp_syscall_resolve_name(calls[i]), 0);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

static inline int run_one_kind(const struct store_kind *kind,
                               const struct CMUnitTest *cases, size_t count)
{
    struct CMUnitTest *tests = calloc(count, sizeof *tests);
    char(*name)[160] = calloc(count, sizeof *name);
    int failed = -1;

    if (tests && name) {
        for (size_t i = 0; i < count; i++) {
            (void)snprintf(name[i], sizeof name[i], "%s: %s", kind->name,
                           cases[i].name);
            tests[i] =
                (struct CMUnitTest){.name = name[i],
                                    .test_func = cases[i].test_func,
                                    .setup_func = store_setup,
                                    .teardown_func = store_teardown,
                                    .initial_state = (void *)(uintptr_t)kind};
        }
        failed = _cmocka_run_group_tests(kind->name, tests, count, NULL, NULL);
    }
    free(name);
    free(tests);
    return failed;
}

/* From here on, open() makes no nameless files, as on some file systems. */
static inline int refuse_tmpfile(void)
{
    const uint64_t bit = O_TMPFILE & ~O_DIRECTORY;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter ? 0 : -ENOMEM;

    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EOPNOTSUPP),
                              SCMP_SYS(openat), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, bit, bit));
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

/* In a child, whose report goes to the same output. */
static inline int run_refused_kind(const struct store_kind *kind,
                                   const struct CMUnitTest *cases, size_t count)
{
    int status = -1;
    pid_t child;

    (void)fflush(NULL);
    child = fork();
    if (child == 0) {
        int failed = -1;

        int rc = kind->refuses_tmpfile ? refuse_tmpfile()
                                       : refuse_uring(kind->refuses);

        if (rc == 0)
            failed = run_one_kind(kind, cases, count);
        (void)fflush(NULL);
        _exit(failed == 0 ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return 1;
    return 0;
}

static inline void no_nfs(void **state)
{
    char why[256];

    (void)state;
    assert_false(nfs_is_possible(why, sizeof why));
    print_message("%s\n", why);
    skip();
}

static inline int run_nfs_kind(const struct store_kind *kind,
                               const struct CMUnitTest *cases, size_t count)
{
    const struct CMUnitTest instead[] = {cmocka_unit_test(no_nfs)};
    char why[256];

    if (nfs_is_possible(why, sizeof why))
        return run_one_kind(kind, cases, count);
    return _cmocka_run_group_tests(kind->name, instead, 1, NULL, NULL);
}

/* The number of kinds for which something failed. */
static inline int run_kinds(const struct CMUnitTest *cases, size_t count,
                            bool wants_segments)
{
    int failed = 0;

    if (getenv("CKPT_TEST_RADOS"))
        return run_one_kind(&store_kind_real, cases, count);
    for (size_t i = 0; i < ARRAY_LEN(store_kinds); i++) {
        const struct store_kind *kind = &store_kinds[i];
        int rc;

        if (wants_segments && kind->has_no_segments)
            continue;
        if (kind->is_nfs)
            rc = run_nfs_kind(kind, cases, count);
        else if (kind->refuses || kind->refuses_tmpfile)
            rc = run_refused_kind(kind, cases, count);
        else
            rc = run_one_kind(kind, cases, count);
        failed += rc != 0;
    }
    return failed;
}

static inline int run_all_kinds(const struct CMUnitTest *cases, size_t count)
{
    return run_kinds(cases, count, false);
}

static inline int run_kinds_with_segments(const struct CMUnitTest *cases,
                                          size_t count)
{
    return run_kinds(cases, count, true);
}

#endif
