/*
 * test_store_fileio.c - which primitive operations the file store issues, in
 * which order, and what it makes of their failures.
 *
 * A double of struct fileio stands between the store and real threads: it
 * writes down every primitive, and makes the n-th of a kind fail, or come back
 * short. So the order write, sync, link, sync of the folder is seen here, and
 * every step of it fails once.
 */
#include "storage/store_file.h"
#include "tests/lib/store_kinds.h"

#include <dirent.h>

#define LOG_MAX 512

struct double_io {
    struct fileio io;
    struct fileio *below;
    struct list failed; /* to be told at the next poll */
    enum fileio_kind log[LOG_MAX];
    size_t count;
    enum fileio_kind kind; /* of what goes wrong */
    uint32_t nth;          /* how many of them from now; 0: none */
    int error;             /* or 0: short */
    bool is_persistent;
    enum fileio_kind always_kind; /* of what fails besides, always */
    int always_error;             /* or 0: nothing */
};

static struct double_io *double_of(struct fileio *io)
{
    return container_of(io, struct double_io, io);
}

static bool goes_wrong(struct double_io *d, const struct fileio_op *op)
{
    if (op->kind != d->kind || d->nth == 0)
        return false;
    if (d->nth > 1) {
        d->nth--;
        return false;
    }
    if (!d->is_persistent)
        d->nth = 0;
    return true;
}

static void double_submit(struct fileio *io, struct fileio_op *op)
{
    struct double_io *d = double_of(io);

    assert_true(d->count < LOG_MAX);
    d->log[d->count++] = op->kind;
    if (d->always_error && op->kind == d->always_kind) {
        list_init(&op->link);
        op->result = d->always_error;
        list_append(&d->failed, &op->link);
    } else if (!goes_wrong(d, op)) {
        d->below->ops->submit(d->below, op);
    } else if (d->error) {
        list_init(&op->link);
        op->result = d->error;
        list_append(&d->failed, &op->link);
    } else {
        /* Short, and for a segment not even at a page. The store looks at
         * op->len again only to see whether it was short. */
        struct fileio_op part = *op;

        part.len = op->len / 2 + 100;
        if (op->len >= 2 * PAGE_BYTES && op->len % PAGE_BYTES == 0)
            part.len = PAGE_BYTES;
        list_init(&op->link);
        op->result = fileio_execute(&part);
        if (part.len == PAGE_BYTES && op->result == (int64_t)PAGE_BYTES &&
            op->len > 2 * PAGE_BYTES)
            op->result += 512;
        list_append(&d->failed, &op->link);
    }
    io->wants_poll = !list_is_empty(&d->failed);
}

static int double_poll(struct fileio *io, int timeout_ms)
{
    struct double_io *d = double_of(io);
    struct list *node;
    int rc = 0;

    if (list_is_empty(&d->failed))
        rc = d->below->ops->poll(d->below, timeout_ms);
    while ((node = list_pop(&d->failed))) {
        struct fileio_op *op = container_of(node, struct fileio_op, link);

        op->done(op, op->result);
    }
    io->wants_poll = !list_is_empty(&d->failed);
    return rc;
}

static int double_poll_fd(struct fileio *io)
{
    return double_of(io)->below->ops->poll_fd(double_of(io)->below);
}

static int double_buffer_add(struct fileio *io, void *base, size_t bytes)
{
    return double_of(io)->below->ops->buffer_add(double_of(io)->below, base,
                                                 bytes);
}

static void double_buffer_remove(struct fileio *io, void *base)
{
    double_of(io)->below->ops->buffer_remove(double_of(io)->below, base);
}

static int double_file_add(struct fileio *io, int fd)
{
    return double_of(io)->below->ops->file_add(double_of(io)->below, fd);
}

static void double_file_remove(struct fileio *io, int slot)
{
    double_of(io)->below->ops->file_remove(double_of(io)->below, slot);
}

static void double_describe(struct fileio *io, char *text, size_t capacity)
{
    (void)io;
    (void)snprintf(text, capacity, "a double");
}

/* The double itself belongs to the fixture. */
static void double_close(struct fileio *io)
{
    double_of(io)->below->ops->close(double_of(io)->below);
}

static const struct fileio_ops double_ops = {
    .kind = "double",
    .submit = double_submit,
    .poll = double_poll,
    .poll_fd = double_poll_fd,
    .buffer_add = double_buffer_add,
    .buffer_remove = double_buffer_remove,
    .file_add = double_file_add,
    .file_remove = double_file_remove,
    .describe = double_describe,
    .close = double_close,
};

/*
 * The fixture.
 */

struct double_fixture {
    char dir[512];
    struct double_io d;
    struct store *store;
};

static int setup(void **state)
{
    struct double_fixture *fixture = calloc(1, sizeof *fixture);
    struct err err;

    assert_non_null(fixture);
    make_dir(fixture->dir, sizeof fixture->dir);
    fixture->d.io.ops = &double_ops;
    list_init(&fixture->d.failed);
    assert_int_equal(fileio_threads_open(2, &fixture->d.below, &err), 0);
    assert_int_equal(store_file_open_on(fixture->dir, STORE_OPEN_WRITE,
                                        &fixture->d.io, &fixture->store, &err),
                     0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct double_fixture *fixture = *state;

    store_close(fixture->store);
    remove_tree(fixture->dir);
    free(fixture);
    return 0;
}

static void make_fail(struct double_fixture *fixture, enum fileio_kind kind,
                      uint32_t nth, int error)
{
    fixture->d.kind = kind;
    fixture->d.nth = nth;
    fixture->d.error = error;
    fixture->d.is_persistent = false;
}

/* Besides: every operation of this kind. */
static void make_fail_too(struct double_fixture *fixture, enum fileio_kind kind,
                          int error)
{
    fixture->d.always_kind = kind;
    fixture->d.always_error = error;
}

static size_t logged(const struct double_io *d, enum fileio_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < d->count; i++)
        count += d->log[i] == kind;
    return count;
}

static void assert_log(const struct double_io *d,
                       const enum fileio_kind *expect, size_t count)
{
    assert_int_equal(d->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(d->log[i], expect[i]);
}

/*
 * Cases.
 */

static void a_put_syncs_bytes_then_links_then_syncs_the_folder(void **state)
{
    static const enum fileio_kind first[] = {
        /* runs, then runs/r: missing, made, the folder above synced */
        FILEIO_OPEN, FILEIO_MKDIR, FILEIO_OPEN, FILEIO_FSYNC, FILEIO_OPEN,
        FILEIO_MKDIR, FILEIO_OPEN, FILEIO_FSYNC,
        /* the record */
        FILEIO_OPEN, FILEIO_WRITE, FILEIO_FDATASYNC, FILEIO_LINK, FILEIO_FSYNC};
    static const enum fileio_kind second[] = {FILEIO_OPEN,  FILEIO_OPEN,
                                              FILEIO_WRITE, FILEIO_FDATASYNC,
                                              FILEIO_LINK,  FILEIO_FSYNC};
    struct double_fixture *fixture = *state;

    assert_int_equal(do_put(fixture->store, "runs/r/a", "a"), 0);
    assert_log(&fixture->d, first, ARRAY_LEN(first));
    fixture->d.count = 0;
    assert_int_equal(do_put(fixture->store, "runs/r/b", "b"), 0);
    assert_log(&fixture->d, second, ARRAY_LEN(second));
}

/* Somebody else may have made it and died before syncing. */
static void a_folder_that_was_there_is_made_durable_once(void **state)
{
    static const enum fileio_kind expect[] = {
        FILEIO_OPEN,  FILEIO_FSYNC,     FILEIO_OPEN, FILEIO_FSYNC, FILEIO_OPEN,
        FILEIO_WRITE, FILEIO_FDATASYNC, FILEIO_LINK, FILEIO_FSYNC,
    };
    struct double_fixture *fixture = *state;
    char path[600];

    (void)snprintf(path, sizeof path, "%s/runs", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/runs/r", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(do_put(fixture->store, "runs/r/a", "a"), 0);
    assert_log(&fixture->d, expect, ARRAY_LEN(expect));
}

static void a_folder_that_vanishes_is_made_again(void **state)
{
    struct double_fixture *fixture = *state;
    char path[600];

    assert_int_equal(do_put(fixture->store, "runs/r/a", "a"), 0);
    (void)snprintf(path, sizeof path, "%s/runs", fixture->dir);
    remove_tree(path);
    fixture->d.count = 0;
    assert_int_equal(do_put(fixture->store, "runs/r/a", "again"), 0);
    assert_record(fixture->store, "runs/r/a", "again");
    assert_int_equal(logged(&fixture->d, FILEIO_MKDIR), 2);
    assert_int_equal(logged(&fixture->d, FILEIO_FSYNC), 3);
}

static void the_loser_of_a_put_syncs_the_folder_too(void **state)
{
    struct double_fixture *fixture = *state;

    assert_int_equal(do_put(fixture->store, "r/a", "a"), 0);
    fixture->d.count = 0;
    assert_int_equal(do_put(fixture->store, "r/a", "b"), -EEXIST);
    assert_int_equal(fixture->d.log[fixture->d.count - 1], FILEIO_FSYNC);
    assert_int_equal(logged(&fixture->d, FILEIO_FSYNC), 1);
    make_fail(fixture, FILEIO_FSYNC, 1, -EIO);
    assert_int_equal(do_put(fixture->store, "r/a", "b"), -EIO);
}

static void a_put_that_fails_before_the_link_leaves_nothing(void **state)
{
    static const enum fileio_kind kinds[] = {FILEIO_OPEN, FILEIO_WRITE,
                                             FILEIO_FDATASYNC, FILEIO_LINK};
    static const int errors[] = {-ENOSPC, -EIO, -EDQUOT, -EMFILE};
    struct double_fixture *fixture = *state;
    struct store_req list = {.op = STORE_LIST, .name = "r"};

    assert_int_equal(do_put(fixture->store, "r/other", "x"), 0);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
            make_fail(fixture, kinds[i], kinds[i] == FILEIO_OPEN ? 2 : 1,
                      errors[k]);
            assert_int_equal(do_put(fixture->store, "r/a", "a"), errors[k]);
            assert_null(do_get(fixture->store, "r/a"));
        }
    }
    assert_int_equal(store_run(fixture->store, &list), 0);
    assert_int_equal(list.names.count, 1);
    store_names_free(&list.names);
    assert_int_equal(do_put(fixture->store, "r/a", "a"), 0);
}

static void a_failed_sync_of_bytes_is_not_followed_by_a_link(void **state)
{
    struct double_fixture *fixture = *state;

    make_fail(fixture, FILEIO_FDATASYNC, 1, -EIO);
    assert_int_equal(do_put(fixture->store, "a", "a"), -EIO);
    assert_int_equal(logged(&fixture->d, FILEIO_FDATASYNC), 1);
    assert_int_equal(logged(&fixture->d, FILEIO_LINK), 0);
}

static void a_failed_sync_of_the_folder_fails_put_and_remove(void **state)
{
    struct double_fixture *fixture = *state;

    assert_int_equal(do_put(fixture->store, "r/a", "a"), 0);
    make_fail(fixture, FILEIO_FSYNC, 1, -EIO);
    assert_int_equal(do_put(fixture->store, "r/b", "b"), -EIO);
    make_fail(fixture, FILEIO_FSYNC, 1, -EIO);
    assert_int_equal(do_record(fixture->store, STORE_REMOVE, "r/a", NULL, 0),
                     -EIO);
    /* What the failure lost no later sync brings back. */
    assert_int_equal(do_record(fixture->store, STORE_REMOVE, "r/a", NULL, 0),
                     -EIO);
    assert_int_equal(do_put(fixture->store, "r/a", "anew"), 0);
    assert_int_equal(do_record(fixture->store, STORE_REMOVE, "r/a", NULL, 0),
                     0);
}

static size_t entries_of(const struct double_fixture *fixture,
                         const char *folder)
{
    char path[600];
    size_t count = 0;
    DIR *dir;

    (void)snprintf(path, sizeof path, "%s/%s", fixture->dir, folder);
    dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count - 2; /* "." and ".." */
}

/* As long as another's or our own earlier record is there, it is whole. */
static void a_record_in_doubt_gets_its_name_anew(void **state)
{
    static const enum fileio_kind expect[] = {
        FILEIO_OPEN, FILEIO_OPEN, FILEIO_WRITE, FILEIO_FDATASYNC, FILEIO_LINK,
        /* EEXIST: not ours */
        FILEIO_STAT,
        /* its bytes */
        FILEIO_OPEN, FILEIO_STAT, FILEIO_READ, FILEIO_TRUNCATE, FILEIO_WRITE,
        FILEIO_FSYNC,
        /* under a temporary name, and under its own */
        FILEIO_LOCK, FILEIO_LINK, FILEIO_RENAME, FILEIO_FSYNC};
    struct double_fixture *fixture = *state;
    char first[2000];

    memset(first, '1', sizeof first);
    first[sizeof first - 1] = '\0';
    assert_int_equal(do_put(fixture->store, "r/a", "a"), 0);
    make_fail(fixture, FILEIO_FSYNC, 1, -EIO);
    assert_int_equal(do_put(fixture->store, "r/b", first), -EIO);
    fixture->d.count = 0;
    assert_int_equal(do_put(fixture->store, "r/b", "another"), -EEXIST);
    assert_log(&fixture->d, expect, ARRAY_LEN(expect));
    assert_record(fixture->store, "r/b", first);
    /* What is created after the failure is as good as ever. */
    fixture->d.count = 0;
    assert_int_equal(do_put(fixture->store, "r/c", "c"), 0);
    assert_int_equal(logged(&fixture->d, FILEIO_RENAME), 0);
    for (size_t i = 5; i < ARRAY_LEN(expect); i++) {
        uint32_t nth = 1;

        for (size_t k = 0; k < i; k++)
            nth += expect[k] == expect[i];
        make_fail(fixture, expect[i], nth, -ENOSPC);
        assert_int_equal(do_put(fixture->store, "r/b", "another"), -ENOSPC);
        assert_int_equal(fixture->d.nth, 0);
        assert_record(fixture->store, "r/b", first);
        assert_int_equal(entries_of(fixture, "r"), 3);
        assert_int_equal(entries_of(fixture, "."), 1);
    }
    for (uint32_t i = 0; i < 2; i++) {
        make_fail(fixture, i ? FILEIO_WRITE : FILEIO_READ, 1 + i,
                  0); /* short */
        assert_int_equal(do_put(fixture->store, "r/b", "another"), -EEXIST);
        assert_int_equal(fixture->d.nth, 0);
        assert_record(fixture->store, "r/b", first);
    }
}

/* The store goes on with what it knows to be durable. */
static void a_folder_in_doubt_is_made_anew_while_it_is_empty(void **state)
{
    struct double_fixture *fixture = *state;
    char path[600];

    assert_int_equal(do_put(fixture->store, "r/old/a", "a"), 0);
    make_fail(fixture, FILEIO_FSYNC, 1, -EIO);
    assert_int_equal(do_put(fixture->store, "r/new/a", "a"), -EIO);
    fixture->d.count = 0;
    assert_int_equal(do_put(fixture->store, "r/new/a", "a"), 0);
    assert_int_equal(logged(&fixture->d, FILEIO_RMDIR), 1);
    assert_int_equal(logged(&fixture->d, FILEIO_MKDIR), 1);
    assert_int_equal(do_put(fixture->store, "r/old/b", "b"), 0);
    /* One that others have made, and filled, before: they made sure of its name
     * first. */
    (void)snprintf(path, sizeof path, "%s/r/full", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/r/full/x", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(do_put(fixture->store, "r/full/a", "a"), 0);
    assert_int_equal(entries_of(fixture, "r/full"), 2);
}

/* A segment of a page, whoever made it; closed again. */
static void opens(struct store *store, const char *name, unsigned flags)
{
    struct store_seg *seg;

    assert_int_equal(do_open(store, name, flags,
                             flags & STORE_SEG_CREATE ? PAGE_BYTES : 0, &seg),
                     PAGE_BYTES);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
}

/* One whose name is known to last; the next one's is not. */
static void make_two_segments(struct double_fixture *fixture, bool is_left)
{
    struct store *store = fixture->store;
    struct store_seg *seg;

    opens(store, "s/1", STORE_SEG_WRITE | STORE_SEG_CREATE);
    opens(store, "s/1", STORE_SEG_WRITE);
    make_fail(fixture, FILEIO_FSYNC, 2, -EIO);
    if (is_left)
        make_fail_too(fixture, FILEIO_UNLINK, -EIO);
    assert_int_equal(do_open(store, "s/2", STORE_SEG_WRITE | STORE_SEG_CREATE,
                             PAGE_BYTES, &seg),
                     -EIO);
    assert_int_equal(entries_of(fixture, "s"), is_left ? 2 : 1);
}

static void a_segment_whose_name_may_not_last_is_undone(void **state)
{
    struct double_fixture *fixture = *state;

    make_two_segments(fixture, false);
    opens(fixture->store, "s/1", STORE_SEG_WRITE);
    opens(fixture->store, "s/2", STORE_SEG_WRITE | STORE_SEG_CREATE);
}

/* It stays, and might pass for one of those that are durable. */
static void what_cannot_be_undone_puts_all_names_in_doubt(void **state)
{
    struct double_fixture *fixture = *state;
    struct store *store = fixture->store;
    struct store_seg *seg;

    make_two_segments(fixture, true);
    assert_int_equal(do_open(store, "s/2", STORE_SEG_WRITE, 0, &seg), -EIO);
    assert_int_equal(do_open(store, "s/1", STORE_SEG_WRITE, 0, &seg), -EIO);
    opens(store, "s/1", 0);
}

/* Its name is given by then: a PUT that began anew would lose to itself. */
static void a_folder_that_is_stale_after_the_link_is_no_lost_race(void **state)
{
    struct double_fixture *fixture = *state;

    assert_int_equal(do_put(fixture->store, "r/a", "a"), 0);
    make_fail(fixture, FILEIO_FSYNC, 1, -ESTALE);
    assert_int_equal(do_put(fixture->store, "r/b", "b"), -EIO);
    assert_record(fixture->store, "r/b", "b");
    assert_int_equal(do_put(fixture->store, "r/b", "c"), -EEXIST);
}

static void short_writes_and_reads_are_finished(void **state)
{
    struct double_fixture *fixture = *state;
    struct store *store = fixture->store;
    uint64_t bytes = 16 * PAGE_BYTES;
    uint8_t *data = aligned_alloc(PAGE_BYTES, bytes);
    uint8_t *copy = malloc(bytes);
    struct store_seg *seg;

    assert_non_null(data);
    assert_non_null(copy);
    for (uint64_t i = 0; i < bytes; i++)
        copy[i] = data[i] = (uint8_t)(i * 17 + i / 251);
    make_fail(fixture, FILEIO_WRITE, 1, 0);
    assert_int_equal(do_record(store, STORE_PUT, "r", data, 5000), 0);
    make_fail(fixture, FILEIO_READ, 1, 0);
    memset(data, 0, 5000);
    assert_int_equal(do_record(store, STORE_GET, "r", data, 5000), 5000);
    assert_memory_equal(data, copy, 5000);
    memcpy(data, copy, bytes);
    assert_int_equal(
        do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE, bytes, &seg),
        bytes);
    fixture->d.count = 0;
    make_fail(fixture, FILEIO_WRITE, 1, 0);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, bytes, 0), bytes);
    assert_int_equal(logged(&fixture->d, FILEIO_WRITE), 2);
    memset(data, 0, bytes);
    make_fail(fixture, FILEIO_READ, 1, 0);
    assert_int_equal(do_io(store, STORE_READ, seg, data, bytes, 0), bytes);
    assert_int_equal(logged(&fixture->d, FILEIO_READ), 2);
    assert_memory_equal(data, copy, bytes);
    free(copy);
    free(data);
}

static void a_segment_whose_sync_failed_is_never_trusted_again(void **state)
{
    struct double_fixture *fixture = *state;
    struct store *store = fixture->store;
    struct batch batch = batch_new(3);
    void *data = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct store_seg *seg;

    assert_non_null(data);
    memset(data, 1, PAGE_BYTES);
    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE,
                             8 * PAGE_BYTES, &seg),
                     8 * PAGE_BYTES);
    fixture->d.count = 0;
    make_fail(fixture, FILEIO_FDATASYNC, 1, -ENOSPC);
    for (size_t i = 0; i < batch.count; i++)
        batch.req[i] = (struct store_req){.op = STORE_SYNC, .seg = seg};
    batch_submit(store, &batch);
    batch_wait(store, &batch);
    assert_int_equal(batch.req[0].result, -ENOSPC);
    assert_int_equal(batch.req[1].result, -EIO);
    assert_int_equal(batch.req[2].result, -EIO);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), -EIO);
    assert_int_equal(do_io(store, STORE_WRITE, seg, data, PAGE_BYTES, 0), -EIO);
    assert_int_equal(do_io(store, STORE_READ, seg, data, PAGE_BYTES, 0), -EIO);
    assert_int_equal(do_seg(store, STORE_SEG_SHARE, seg, 0), -EIO);
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, PAGE_BYTES), -EIO);
    assert_int_equal(logged(&fixture->d, FILEIO_FDATASYNC), 1);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
    free(batch.req);
    free(data);
}

static void a_creation_that_fails_leaves_nothing(void **state)
{
    static const enum fileio_kind kinds[] = {FILEIO_OPEN,      FILEIO_LOCK,
                                             FILEIO_FALLOCATE, FILEIO_STAT,
                                             FILEIO_FSYNC,     FILEIO_LINK};
    struct double_fixture *fixture = *state;
    struct store *store = fixture->store;
    struct store_seg *seg;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        make_fail(fixture, kinds[i], 1, -ENOSPC);
        assert_int_equal(do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE,
                                 PAGE_BYTES, &seg),
                         -ENOSPC);
        assert_null(seg);
        assert_int_equal(do_open(store, "s", 0, 0, &seg), -ENOENT);
    }
}

static void a_trimmed_segment_syncs_its_size(void **state)
{
    struct double_fixture *fixture = *state;
    struct store *store = fixture->store;
    struct store_seg *seg;

    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE,
                             2 * PAGE_BYTES, &seg),
                     2 * PAGE_BYTES);
    assert_int_equal(do_seg(store, STORE_SEG_TRIM, seg, PAGE_BYTES),
                     PAGE_BYTES);
    fixture->d.count = 0;
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), 0);
    assert_int_equal(fixture->d.log[0], FILEIO_FSYNC);
    assert_int_equal(fixture->d.log[1], FILEIO_FDATASYNC);
}

/* Every primitive of every request fails once: an error, no hang, no leak of a
 * descriptor, and the store goes on. */
static void every_primitive_may_fail(void **state)
{
    struct double_fixture *fixture = *state;
    struct store *store = fixture->store;
    char text[16];

    for (int kind = 0; kind < FILEIO_KIND_COUNT; kind++) {
        for (uint32_t nth = 1; nth <= 4; nth++) {
            struct store_req list = {.op = STORE_LIST, .name = "f"};
            char name[32];
            struct store_seg *seg;
            int before = dup(0), after;

            (void)close(before);
            (void)snprintf(name, sizeof name, "f/%d-%u/r", kind, nth);
            make_fail(fixture, (enum fileio_kind)kind, nth, -EIO);
            (void)do_put(store, name, "x");
            (void)do_record(store, STORE_GET, name, text, sizeof text);
            (void)do_record(store, STORE_STAT, name, NULL, 0);
            if (store_run(store, &list) < 0)
                assert_int_equal(list.names.count, 0);
            store_names_free(&list.names);
            (void)do_record(store, STORE_REMOVE, name, NULL, 0);
            if (do_open(store, name, STORE_SEG_WRITE | STORE_SEG_CREATE,
                        PAGE_BYTES, &seg) >= 0)
                (void)do_seg(store, STORE_SEG_CLOSE, seg, 0);
            if (do_open(store, name, STORE_SEG_WRITE, 0, &seg) >= 0) {
                (void)do_seg(store, STORE_SEG_SHARE, seg, 0);
                (void)do_seg(store, STORE_SEG_CLOSE, seg, 0);
            }
            make_fail(fixture, FILEIO_KIND_COUNT, 0, 0);
            fixture->d.count = 0;
            after = dup(0);
            (void)close(after);
            assert_int_equal(before, after);
        }
    }
    assert_int_equal(do_put(store, "alive", "yes"), 0);
    assert_record(store, "alive", "yes");
}

#define WITH_DOUBLE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WITH_DOUBLE(a_put_syncs_bytes_then_links_then_syncs_the_folder),
        WITH_DOUBLE(a_folder_that_was_there_is_made_durable_once),
        WITH_DOUBLE(a_folder_that_vanishes_is_made_again),
        WITH_DOUBLE(the_loser_of_a_put_syncs_the_folder_too),
        WITH_DOUBLE(a_put_that_fails_before_the_link_leaves_nothing),
        WITH_DOUBLE(a_failed_sync_of_bytes_is_not_followed_by_a_link),
        WITH_DOUBLE(a_failed_sync_of_the_folder_fails_put_and_remove),
        WITH_DOUBLE(a_record_in_doubt_gets_its_name_anew),
        WITH_DOUBLE(a_folder_in_doubt_is_made_anew_while_it_is_empty),
        WITH_DOUBLE(a_segment_whose_name_may_not_last_is_undone),
        WITH_DOUBLE(what_cannot_be_undone_puts_all_names_in_doubt),
        WITH_DOUBLE(a_folder_that_is_stale_after_the_link_is_no_lost_race),
        WITH_DOUBLE(short_writes_and_reads_are_finished),
        WITH_DOUBLE(a_segment_whose_sync_failed_is_never_trusted_again),
        WITH_DOUBLE(a_creation_that_fails_leaves_nothing),
        WITH_DOUBLE(a_trimmed_segment_syncs_its_size),
        WITH_DOUBLE(every_primitive_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
