/*
 * test_store_file.c - the file store and the world around it: folders that are
 * missing, another's or open to all, symbolic links, temporaries, locks of
 * other processes, full and failing disks, memory that cannot be registered.
 *
 * Some cases need root (mounts, another uid) and skip, saying so, without it.
 */
#include "tests/lib/store_kinds.h"

#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define MIB    ((uint64_t)1 << 20)
#define NOBODY 65534

static const struct store_kind on_uring = {.name = "file", .open = open_uring};

#define WITH_STORE(name)                                                       \
    {                                                                          \
#name, name, store_setup, store_teardown, (void *)(uintptr_t)&on_uring \
    }

static void need_root(const char *what)
{
    if (geteuid() == 0)
        return;
    print_message("needs root: %s\n", what);
    skip();
}

static int open_at(const char *dir, unsigned flags, struct store **out,
                   struct err *err)
{
    return store_file_open(dir, flags, STORE_ENGINE_AUTO, out, err);
}

/*
 * The folder.
 */

static void a_missing_folder_is_named(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store;
    struct stat stat_of;
    struct err err;
    char path[600];

    (void)snprintf(path, sizeof path, "%s/none", fixture->dir);
    assert_int_equal(open_at(path, STORE_OPEN_WRITE, &store, &err), -ENOENT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "mkdir"));
    assert_int_equal(open_at(path, 0, &store, &err), -ENOENT);
    assert_int_equal(
        open_at(path, STORE_OPEN_WRITE | STORE_OPEN_CREATE, &store, &err), 0);
    store_close(store);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0700);
    (void)snprintf(path, sizeof path, "%s/no/such/x", fixture->dir);
    assert_int_equal(
        open_at(path, STORE_OPEN_WRITE | STORE_OPEN_CREATE, &store, &err),
        -ENOENT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "above"));
}

static void a_file_is_no_folder(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store;
    struct err err;
    char path[600];

    assert_int_equal(do_put(fixture->store, "file", "x"), 0);
    (void)snprintf(path, sizeof path, "%s/file", fixture->dir);
    assert_int_equal(
        open_at(path, STORE_OPEN_WRITE | STORE_OPEN_CREATE, &store, &err),
        -ENOTDIR);
    assert_non_null(strstr(err.text, path));
}

static void a_folder_of_another_is_read_but_not_written(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store;
    struct err err;

    need_root("to give a folder to another uid");
    assert_int_equal(do_put(fixture->store, "a", "a"), 0);
    assert_int_equal(chown(fixture->dir, NOBODY, NOBODY), 0);
    assert_int_equal(open_at(fixture->dir, STORE_OPEN_WRITE, &store, &err),
                     -EPERM);
    assert_non_null(strstr(err.text, fixture->dir));
    assert_non_null(strstr(err.text, "uid 65534"));
    assert_non_null(strstr(err.text, "uid 0"));
    assert_int_equal(open_at(fixture->dir, 0, &store, &err), 0);
    assert_record(store, "a", "a");
    store_close(store);
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store;
    struct err err;

    static const mode_t modes[] = {0720, 0770, 0702, 0777};

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(fixture->dir, modes[i]), 0);
        assert_int_equal(open_at(fixture->dir, STORE_OPEN_WRITE, &store, &err),
                         -EPERM);
        assert_non_null(strstr(err.text, "chmod go-w"));
    }
    assert_int_equal(open_at(fixture->dir, 0, &store, &err), 0);
    store_close(store);
}

/* Written in place, it would change what the other name stands for. */
static void a_segment_with_a_second_name_is_not_written(void **state)
{
    struct store_fixture *fixture = *state;
    char path[PATH_MAX], other[PATH_MAX];
    struct store_seg *seg;

    assert_int_equal(do_open(fixture->store, "s/1",
                             STORE_SEG_WRITE | STORE_SEG_CREATE, 65536, &seg),
                     65536);
    assert_int_equal(do_seg(fixture->store, STORE_SEG_CLOSE, seg, 0), 0);
    (void)snprintf(path, sizeof path, "%s/s/1", fixture->dir);
    (void)snprintf(other, sizeof other, "%s/s/2", fixture->dir);
    assert_int_equal(link(path, other), 0);
    assert_int_equal(do_open(fixture->store, "s/1", STORE_SEG_WRITE, 0, &seg),
                     -EMLINK);
    assert_int_equal(do_open(fixture->store, "s/1", 0, 0, &seg), 65536);
    assert_int_equal(do_seg(fixture->store, STORE_SEG_CLOSE, seg, 0), 0);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(do_open(fixture->store, "s/1", STORE_SEG_WRITE, 0, &seg),
                     65536);
    assert_int_equal(do_seg(fixture->store, STORE_SEG_CLOSE, seg, 0), 0);
    if (geteuid() != 0)
        return; /* giving a file away is root's */
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(do_open(fixture->store, "s/1", STORE_SEG_WRITE, 0, &seg),
                     -EPERM);
}

static void a_store_for_reading_writes_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store;
    struct store_seg *seg;
    struct err err;

    assert_int_equal(do_put(fixture->store, "a", "a"), 0);
    assert_int_equal(open_at(fixture->dir, 0, &store, &err), 0);
    assert_int_equal(do_put(store, "b", "b"), -EROFS);
    assert_int_equal(do_record(store, STORE_REMOVE, "a", NULL, 0), -EROFS);
    assert_int_equal(do_record(store, STORE_SEG_REMOVE, "a", NULL, 0), -EROFS);
    assert_int_equal(do_open(store, "a", STORE_SEG_WRITE, 0, &seg), -EROFS);
    assert_record(store, "a", "a");
    store_close(store);
}

static void symbolic_links_are_not_followed(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store = fixture->store;
    struct store_req list = {.op = STORE_LIST, .name = "out"};
    struct store_seg *seg;
    char path[600], text[16];

    assert_int_equal(do_put(store, "real/a", "a"), 0);
    (void)snprintf(path, sizeof path, "%s/out", fixture->dir);
    assert_int_equal(symlink("/etc", path), 0);
    (void)snprintf(path, sizeof path, "%s/in", fixture->dir);
    assert_int_equal(symlink("real", path), 0);
    (void)snprintf(path, sizeof path, "%s/real/b", fixture->dir);
    assert_int_equal(symlink("a", path), 0);
    assert_int_equal(do_record(store, STORE_GET, "out/hostname", text, 16),
                     -ELOOP);
    assert_int_equal(do_put(store, "out/ckptd-test", "x"), -ELOOP);
    assert_int_equal(do_put(store, "in/x", "x"), -ELOOP);
    assert_int_equal(do_record(store, STORE_GET, "real/b", text, 16), -ELOOP);
    assert_int_equal(do_record(store, STORE_REMOVE, "in/a", NULL, 0), -ELOOP);
    assert_int_equal(do_open(store, "in/a", STORE_SEG_WRITE, 0, &seg), -ELOOP);
    assert_int_equal(store_run(store, &list), -ELOOP);
    list.name = "real";
    assert_int_equal(store_run(store, &list), 0);
    assert_int_equal(list.names.count, 1);
    store_names_free(&list.names);
}

static void a_fifo_or_folder_is_no_record(void **state)
{
    struct store_fixture *fixture = *state;
    char path[600], text[4];

    assert_int_equal(do_put(fixture->store, "folder/a", "a"), 0);
    (void)snprintf(path, sizeof path, "%s/fifo", fixture->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(do_record(fixture->store, STORE_GET, "fifo", text, 4),
                     -EINVAL);
    assert_int_equal(do_record(fixture->store, STORE_GET, "folder", text, 4),
                     -EISDIR);
    assert_int_equal(do_put(fixture->store, "folder", "x"), -EEXIST);
    assert_int_equal(do_put(fixture->store, "folder/a/b", "x"), -ENOTDIR);
}

/*
 * Temporaries and locks.
 */

static int make_file(const char *dir, const char *name)
{
    char path[600];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
}

static bool is_there(const char *dir, const char *name)
{
    char path[600];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void
temporaries_of_the_dead_go_and_those_of_the_living_stay(void **state)
{
    struct store_fixture *fixture = *state;
    struct store_req list = {.op = STORE_LIST, .name = ""};
    int dead = make_file(fixture->dir, ".tmp-dead");
    int alive = make_file(fixture->dir, ".tmp-alive");
    int other = make_file(fixture->dir, ".other");
    struct store *store;
    struct err err;

    assert_true(dead >= 0 && alive >= 0 && other >= 0);
    assert_int_equal(flock(alive, LOCK_EX), 0);
    assert_int_equal(open_at(fixture->dir, 0, &store, &err), 0);
    assert_int_equal(store_run(store, &list), 0);
    assert_int_equal(list.names.count, 0);
    store_names_free(&list.names);
    store_close(store);
    assert_true(is_there(fixture->dir, ".tmp-dead"));
    assert_int_equal(open_at(fixture->dir, STORE_OPEN_WRITE, &store, &err), 0);
    store_close(store);
    assert_false(is_there(fixture->dir, ".tmp-dead"));
    assert_true(is_there(fixture->dir, ".tmp-alive"));
    assert_true(is_there(fixture->dir, ".other"));
    (void)close(dead);
    (void)close(alive);
    (void)close(other);
}

/* Its threads must not be there when the process forks (TSan). */
static void close_before_fork(struct store_fixture *fixture)
{
    store_close(fixture->store);
    fixture->store = NULL;
}

/* A child that locks the segment, says so, and waits to be killed. */
static pid_t lock_elsewhere(const char *dir, const char *name)
{
    int ready[2];
    pid_t child;
    char byte;

    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        struct store_seg *seg;
        struct store *store;
        struct err err;

        if (open_at(dir, STORE_OPEN_WRITE, &store, &err) == 0 &&
            do_open(store, name, STORE_SEG_WRITE, 0, &seg) >= 0 &&
            write(ready[1], "r", 1) == 1)
            (void)pause();
        _exit(1);
    }
    assert_true(child > 0);
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return child;
}

static void another_process_s_lock_ends_with_it(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store = fixture->store;
    struct store_seg *seg;
    int64_t result;
    pid_t child;

    assert_int_equal(
        do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE, MIB, &seg),
        MIB);
    close_before_fork(fixture);
    child = lock_elsewhere(fixture->dir, "s");
    assert_int_equal(open_uring(fixture->dir, &fixture->store, &fixture->err),
                     0);
    store = fixture->store;
    assert_int_equal(do_open(store, "s", STORE_SEG_WRITE, 0, &seg), -EAGAIN);
    assert_int_equal(do_open(store, "s", 0, 0, &seg), -EAGAIN);
    assert_int_equal(do_open(store, "s", STORE_SEG_NOLOCK, 0, &seg), MIB);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    /* The ring of the dead is torn down by the kernel a little later. */
    do {
        (void)usleep(1000);
        result = do_open(store, "s", STORE_SEG_WRITE, 0, &seg);
    } while (result == -EAGAIN);
    assert_int_equal(result, MIB);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
}

/*
 * Small and failing disks.
 */

static void mount_small(const char *dir, const char *options)
{
    need_root("to mount a small disk");
    if (mount("ckptd-test", dir, "tmpfs", 0, options) < 0) {
        print_message("cannot mount a tmpfs: %s\n", strerror(errno));
        skip();
    }
    assert_int_equal(chmod(dir, 0700), 0);
}

static uint64_t free_bytes(const char *dir)
{
    struct statvfs room;

    assert_int_equal(statvfs(dir, &room), 0);
    return (uint64_t)room.f_bfree * room.f_bsize;
}

static void check_full_disk(const char *dir, struct store *store)
{
    struct store_req list = {.op = STORE_LIST, .name = ""};
    uint64_t before = free_bytes(dir);
    struct store_seg *seg;
    char text[1024], *big = calloc(1, 8 * MIB);

    assert_non_null(big);
    store_describe(store, text, sizeof text);
    assert_non_null(strstr(text, "threads because there is no O_DIRECT"));
    assert_non_null(strstr(text, "buffered"));
    assert_int_equal(do_record(store, STORE_ROOM, "", NULL, 8 * MIB), -ENOSPC);
    assert_int_equal(do_record(store, STORE_ROOM, "", NULL, 2 * MIB), 0);
    assert_int_equal(
        do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE, 8 * MIB, &seg),
        -ENOSPC);
    assert_int_equal(do_record(store, STORE_PUT, "r", big, 8 * MIB), -ENOSPC);
    assert_int_equal(store_run(store, &list), 0);
    assert_int_equal(list.names.count, 0);
    store_names_free(&list.names);
    assert_int_equal(free_bytes(dir), before);
    assert_int_equal(
        do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE, 2 * MIB, &seg),
        2 * MIB);
    assert_int_equal(do_seg(store, STORE_SEG_CLOSE, seg, 0), 0);
    assert_int_equal(do_record(store, STORE_SEG_REMOVE, "s", NULL, 0), 0);
    free(big);
}

static void a_full_disk_fails_early_and_leaves_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store;
    struct err err;
    char path[600];

    (void)snprintf(path, sizeof path, "%s/small", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    mount_small(path, "size=4m");
    assert_int_equal(open_at(path, STORE_OPEN_WRITE, &store, &err), 0);
    check_full_disk(path, store);
    store_close(store);
    assert_int_equal(umount2(path, MNT_DETACH), 0);
}

/* Runs a shell command with the folder as $1; false when it fails. */
static bool shell(const char *script, const char *dir)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        (void)execl("/bin/sh", "sh", "-c", script, "sh", dir, (char *)NULL);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* An ext4 of 64 MiB on a sparse image in a tmpfs of 12 MiB: it reserves space
 * that it cannot write. */
static void check_failing_disk(const char *dir)
{
    uint8_t *data = aligned_alloc(PAGE_BYTES, MIB);
    struct store_seg *seg;
    struct store *store;
    struct err err;
    int64_t result = MIB;

    assert_non_null(data);
    memset(data, 0xA5, MIB);
    assert_int_equal(open_at(dir, STORE_OPEN_WRITE, &store, &err), 0);
    assert_int_equal(
        do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE, 32 * MIB, &seg),
        32 * MIB);
    for (uint64_t at = 0; at < 32 * MIB && result == (int64_t)MIB; at += MIB)
        result = do_io(store, STORE_WRITE, seg, data, MIB, at);
    if (result == (int64_t)MIB)
        result = do_seg(store, STORE_SYNC, seg, 0);
    assert_true(result < 0);
    if (result != -EIO)
        assert_true(do_seg(store, STORE_SYNC, seg, 0) < 0);
    assert_int_equal(do_seg(store, STORE_SYNC, seg, 0), -EIO);
    assert_int_equal(do_io(store, STORE_READ, seg, data, MIB, 0), -EIO);
    assert_true(do_record(store, STORE_PUT, "r", data, MIB) < 0);
    assert_null(do_get(store, "r"));
    store_close(store);
    free(data);
}

static void a_failing_disk_poisons_for_good(void **state)
{
    struct store_fixture *fixture = *state;
    char path[600], disk[700];
    bool is_mounted;

    (void)snprintf(path, sizeof path, "%s/small", fixture->dir);
    (void)snprintf(disk, sizeof disk, "%s/disk", path);
    assert_int_equal(mkdir(path, 0700), 0);
    mount_small(path, "size=12m");
    is_mounted = shell("exec >/dev/null 2>&1; mkdir \"$1/disk\" && "
                       "truncate -s 64M \"$1/image\" && "
                       "mkfs.ext4 -q -F \"$1/image\" && "
                       "mount -o loop \"$1/image\" \"$1/disk\" && "
                       "chmod 700 \"$1/disk\"",
                       path);
    if (is_mounted)
        check_failing_disk(disk);
    (void)umount2(disk, MNT_DETACH);
    (void)umount2(path, MNT_DETACH);
    if (!is_mounted) {
        print_message("cannot mount an image of a disk (mkfs.ext4, loop)\n");
        skip();
    }
}

/*
 * Memory that cannot be registered.
 */

/* Run by another uid with little memlock: 0 when all is as it should be. */
static int io_unregistered(const char *dir)
{
    uint8_t *data = aligned_alloc(PAGE_BYTES, MIB);
    struct store_seg *seg;
    struct store *store;
    struct err err;
    char text[1024];

    if (!data || open_uring(dir, &store, &err) < 0)
        return 1;
    memset(data, 7, MIB);
    if (store_buffer_add(store, data, MIB) != -ENOMEM)
        return 2;
    store_describe(store, text, sizeof text);
    if (!strstr(text, "not registered: Cannot allocate memory") ||
        !strstr(text, "memlock limit 64 KiB"))
        return 3;
    if (do_open(store, "s", STORE_SEG_WRITE | STORE_SEG_CREATE, MIB, &seg) !=
        (int64_t)MIB)
        return 4;
    if (do_io(store, STORE_WRITE, seg, data, MIB, 0) != (int64_t)MIB)
        return 5;
    store_close(store);
    free(data);
    return 0;
}

static void memory_beyond_memlock_is_used_unregistered(void **state)
{
    struct store_fixture *fixture = *state;
    char parent[600];
    int status;
    pid_t child;

    need_root("to become a user whom memlock limits");
    (void)snprintf(parent, sizeof parent, "/var/tmp/ckptd-memlock-XXXXXX");
    assert_non_null(mkdtemp(parent));
    assert_int_equal(chown(parent, NOBODY, NOBODY), 0);
    close_before_fork(fixture);
    child = fork();
    if (child == 0) {
        struct rlimit limit = {65536, 65536};

        if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setgroups(0, NULL) < 0 ||
            setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(100);
        _exit(io_unregistered(parent));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    remove_tree(parent);
    assert_int_equal(status, 0);
}

static void the_description_counts_registered_memory(void **state)
{
    struct store_fixture *fixture = *state;
    void *data = aligned_alloc(PAGE_BYTES, MIB);
    char text[1024];

    assert_non_null(data);
    assert_int_equal(store_buffer_add(fixture->store, data, MIB), 0);
    store_describe(fixture->store, text, sizeof text);
    assert_non_null(strstr(text, " 1 registered buffer"));
    assert_non_null(strstr(text, "fixed files"));
    store_buffer_remove(fixture->store, data);
    store_describe(fixture->store, text, sizeof text);
    assert_non_null(strstr(text, " 0 registered buffers"));
    free(data);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WITH_STORE(a_missing_folder_is_named),
        WITH_STORE(a_file_is_no_folder),
        WITH_STORE(a_folder_of_another_is_read_but_not_written),
        WITH_STORE(a_folder_that_others_may_write_is_refused),
        WITH_STORE(a_segment_with_a_second_name_is_not_written),
        WITH_STORE(a_store_for_reading_writes_nothing),
        WITH_STORE(symbolic_links_are_not_followed),
        WITH_STORE(a_fifo_or_folder_is_no_record),
        WITH_STORE(temporaries_of_the_dead_go_and_those_of_the_living_stay),
        WITH_STORE(another_process_s_lock_ends_with_it),
        WITH_STORE(a_full_disk_fails_early_and_leaves_nothing),
        WITH_STORE(a_failing_disk_poisons_for_good),
        WITH_STORE(memory_beyond_memlock_is_used_unregistered),
        WITH_STORE(the_description_counts_registered_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
