/*
 * test_daemon_workers.c - the daemon's threads: every job runs once and is
 * handed back once, on the owner's thread, and the descriptor tells.
 */
#include "ckptd/daemon/workers.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define JOBS 5000

struct test_job {
    struct env_job job;
    atomic_int ran;
    int done;
    pthread_t done_on;
    struct workers *again; /* given once more from done() */
    long sleep_ns;
};

static void run(struct env_job *job)
{
    struct test_job *t = container_of(job, struct test_job, job);
    struct timespec pause = {.tv_nsec = t->sleep_ns};

    if (t->sleep_ns)
        (void)nanosleep(&pause, NULL);
    atomic_fetch_add(&t->ran, 1);
}

static void done(struct env_job *job)
{
    struct test_job *t = container_of(job, struct test_job, job);
    struct workers *again = t->again;

    t->done++;
    t->done_on = pthread_self();
    t->again = NULL;
    if (again)
        workers_give(again, job);
}

static bool is_readable(const struct workers *w, int timeout_ms)
{
    struct pollfd p = {.fd = workers_fd(w), .events = POLLIN};

    return poll(&p, 1, timeout_ms) == 1;
}

static struct test_job *jobs_new(void)
{
    struct test_job *jobs = calloc(JOBS, sizeof *jobs);

    assert_non_null(jobs);
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i].job.run = run;
        jobs[i].job.done = done;
    }
    return jobs;
}

static size_t done_count(const struct test_job *jobs)
{
    size_t count = 0;

    for (size_t i = 0; i < JOBS; i++)
        count += jobs[i].done > 0;
    return count;
}

static void every_job_runs_once_and_comes_back(void **state)
{
    static const uint32_t threads[] = {1, 2, 7};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(threads); k++) {
        struct test_job *jobs = jobs_new();
        struct workers *w;

        assert_int_equal(workers_open(threads[k], &w), 0);
        for (size_t i = 0; i < JOBS; i++) {
            workers_give(w, &jobs[i].job);
            if (i % 97 == 0)
                workers_collect(w); /* with or without anything there */
        }
        while (done_count(jobs) < JOBS) {
            assert_true(is_readable(w, 10000));
            workers_collect(w);
        }
        for (size_t i = 0; i < JOBS; i++) {
            assert_int_equal(jobs[i].ran, 1);
            assert_int_equal(jobs[i].done, 1);
            assert_true(pthread_equal(jobs[i].done_on, pthread_self()));
        }
        assert_false(is_readable(w, 0));
        workers_close(w);
        free(jobs);
    }
}

static void nothing_is_told_without_need(void **state)
{
    struct workers *w;

    (void)state;
    assert_int_equal(workers_open(2, &w), 0);
    assert_false(is_readable(w, 20));
    workers_collect(w);
    workers_close(w);
    workers_close(NULL);
}

static void done_may_give_again(void **state)
{
    struct test_job t = {.job = {.run = run, .done = done}};
    struct workers *w;

    (void)state;
    assert_int_equal(workers_open(2, &w), 0);
    t.again = w;
    workers_give(w, &t.job);
    while (t.done < 2) {
        assert_true(is_readable(w, 10000));
        workers_collect(w);
    }
    assert_int_equal(t.ran, 2);
    workers_close(w);
}

static void closing_finishes_what_was_given(void **state)
{
    struct test_job *jobs = jobs_new();
    struct workers *w;

    (void)state;
    assert_int_equal(workers_open(2, &w), 0);
    for (size_t i = 0; i < 100; i++) {
        jobs[i].sleep_ns = 200000;
        workers_give(w, &jobs[i].job);
    }
    workers_close(w);
    assert_int_equal(done_count(jobs), 100);
    free(jobs);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_runs_once_and_comes_back),
        cmocka_unit_test(nothing_is_told_without_need),
        cmocka_unit_test(done_may_give_again),
        cmocka_unit_test(closing_finishes_what_was_given),
    };

    return cmocka_run_group_tests_name("daemon_workers", tests, NULL, NULL);
}
