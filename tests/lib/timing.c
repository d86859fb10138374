/*
 * timing.c - see timing.h.
 */
#include "tests/lib/timing.h"

#include <assert.h>
#include <time.h>

double cpu_seconds(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);

    assert(rc == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double best_of_three(double (*time_of)(uint64_t n), uint64_t n)
{
    double best = time_of(n);

    for (int i = 0; i < 2; i++) {
        double took = time_of(n);

        best = took < best ? took : best;
    }
    return best;
}
