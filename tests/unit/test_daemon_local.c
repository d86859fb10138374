/*
 * test_daemon_local.c - the local store's identity, with the real daemon: made
 * at the first start, kept, and never made anew beside segments.
 */
#include "tests/lib/daemon_child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static size_t read_file(const char *path, void *data, size_t capacity)
{
    FILE *f = fopen(path, "re");
    size_t bytes;

    assert_non_null(f);
    bytes = fread(data, 1, capacity, f);
    assert_int_equal(fclose(f), 0);
    return bytes;
}

/* Starts it, and waits until it serves. */
static void serve(struct daemon_child *d)
{
    int fd;

    daemon_child_start(d);
    fd = raw_connect(d);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void a_store_whose_identity_is_lost_is_refused(void **state)
{
    char identity[360], seg[360], segment[400];
    uint8_t kept[4096], now[4096];
    struct daemon_child d;
    struct err err = {0};
    size_t bytes;

    (void)state;
    daemon_child_init(&d);
    (void)snprintf(identity, sizeof identity, "%s/STORE", d.local);
    (void)snprintf(seg, sizeof seg, "%s/seg", d.local);
    (void)snprintf(segment, sizeof segment, "%s/000001", seg);
    serve(&d);
    assert_int_equal(daemon_child_stop(&d), 0);
    bytes = read_file(identity, kept, sizeof kept);
    assert_true(bytes > 0);
    /* Without segments nothing is lost: a first start again. */
    assert_int_equal(unlink(identity), 0);
    serve(&d);
    assert_int_equal(daemon_child_stop(&d), 0);
    bytes = read_file(identity, kept, sizeof kept);
    /* With one the daemon ends, in words, and writes no other STORE. */
    (void)mkdir(seg, 0700);
    write_file(segment, "12345678", 8);
    assert_int_equal(unlink(identity), 0);
    assert_int_equal(reactor_run(&d.options, &err), -CKPT_ECORRUPT);
    assert_non_null(strstr(err.text, d.local));
    assert_non_null(strstr(err.text, "STORE record is gone"));
    assert_non_null(strstr(err.text, "another folder"));
    assert_int_not_equal(access(identity, F_OK), 0);
    /* Put back, it is the same store as before. */
    write_file(identity, kept, bytes);
    serve(&d);
    assert_int_equal(daemon_child_stop(&d), 0);
    assert_int_equal(read_file(identity, now, sizeof now), bytes);
    assert_memory_equal(now, kept, bytes);
    daemon_child_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_whose_identity_is_lost_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
