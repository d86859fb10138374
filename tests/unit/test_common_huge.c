/*
 * test_common_huge.c - shared memory in large pages: where it is mapped, that
 * making its pages keeps what is there, also while others write to it.
 */
#include "common/huge.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES (5 * HUGE_BYTES + 3 * PAGE_BYTES)

static int memfd_of(uint64_t bytes)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    return fd;
}

static void end(int fd, void *base, uint64_t bytes)
{
    assert_int_equal(munmap(base, bytes), 0);
    assert_int_equal(close(fd), 0);
}

static bool is_resident(void *base, uint64_t bytes)
{
    uint64_t pages = bytes / PAGE_BYTES;
    unsigned char *in = malloc(pages);
    bool is_all = true;

    assert_non_null(in);
    assert_int_equal(mincore(base, bytes, in), 0);
    for (uint64_t i = 0; i < pages; i++)
        is_all = is_all && (in[i] & 1);
    free(in);
    return is_all;
}

static void a_mapping_begins_where_a_large_page_can(void **state)
{
    static const uint64_t sizes[] = {PAGE_BYTES, HUGE_BYTES, BYTES};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        int fd = memfd_of(sizes[i]);
        void *a, *b;

        assert_int_equal(huge_map(fd, sizes[i], &a), 0);
        assert_int_equal(huge_map(fd, sizes[i], &b), 0);
        assert_int_equal((uintptr_t)a % HUGE_BYTES, 0);
        assert_int_equal((uintptr_t)b % HUGE_BYTES, 0);
        memset(a, 7, sizes[i]);
        assert_memory_equal(a, b, sizes[i]);
        assert_int_equal(munmap(a, sizes[i]), 0);
        end(fd, b, sizes[i]);
    }
}

static void what_cannot_be_mapped_is_an_error(void **state)
{
    void *base;

    (void)state;
    assert_int_equal(huge_map(-1, HUGE_BYTES, &base), -EBADF);
    assert_int_equal(huge_map(-1, (uint64_t)1 << 62, &base), -ENOMEM);
}

static void all_pages_are_made(void **state)
{
    int fd = memfd_of(BYTES);
    void *base;

    (void)state;
    assert_int_equal(huge_map(fd, BYTES, &base), 0);
    assert_false(is_resident(base, BYTES));
    assert_true(huge_populate(base, BYTES));
    assert_true(is_resident(base, BYTES));
    assert_true(huge_populate(base, BYTES));
    end(fd, base, BYTES);
}

static void a_file_that_ends_before_its_mapping_is_told(void **state)
{
    int fd = memfd_of(HUGE_BYTES + PAGE_BYTES);
    void *base;

    (void)state;
    assert_int_equal(huge_map(fd, 3 * HUGE_BYTES, &base), 0);
    assert_false(huge_populate(base, 3 * HUGE_BYTES));
    end(fd, base, 3 * HUGE_BYTES);
}

struct writer {
    uint64_t *words;
    _Atomic bool is_over;
    uint64_t rounds;
};

/* Writes the number of the round into every page, and sees it stay. */
static void *write_on(void *arg)
{
    struct writer *w = arg;

    while (!w->is_over || w->rounds == 0) {
        w->rounds++;
        for (uint64_t at = 0; at < BYTES / 8; at += PAGE_BYTES / 8)
            w->words[at] = w->rounds;
        for (uint64_t at = 0; at < BYTES / 8; at += PAGE_BYTES / 8)
            if (w->words[at] != w->rounds)
                return w;
    }
    return NULL;
}

static void what_others_write_meanwhile_stays(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        int fd = memfd_of(BYTES);
        struct writer w = {0};
        pthread_t thread;
        void *base, *other, *failed;

        assert_int_equal(huge_map(fd, BYTES, &base), 0);
        assert_int_equal(huge_map(fd, BYTES, &other), 0);
        w.words = other;
        assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
        assert_true(huge_populate(base, BYTES));
        w.is_over = true;
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        for (uint64_t at = 0; at < BYTES / 8; at += PAGE_BYTES / 8)
            assert_int_equal(((uint64_t *)base)[at], w.rounds);
        assert_int_equal(munmap(base, BYTES), 0);
        end(fd, other, BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapping_begins_where_a_large_page_can),
        cmocka_unit_test(what_cannot_be_mapped_is_an_error),
        cmocka_unit_test(all_pages_are_made),
        cmocka_unit_test(a_file_that_ends_before_its_mapping_is_told),
        cmocka_unit_test(what_others_write_meanwhile_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
