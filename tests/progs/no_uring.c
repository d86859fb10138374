/*
 * no_uring.c - run a program where io_uring is refused, as containers do.
 *
 *   no_uring PROGRAM [ARGUMENT...]
 *
 * A seccomp filter makes io_uring_setup fail with EPERM, for the program and
 * all that it starts.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    scmp_filter_ctx filter;
    int rc;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: no_uring PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    filter = seccomp_init(SCMP_ACT_ALLOW);
    rc = filter ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM),
                                   SCMP_SYS(io_uring_setup), 0)
                : -ENOMEM;
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc) {
        (void)fprintf(stderr, "no_uring: %s\n", strerror(-rc));
        return 3;
    }
    (void)execvp(argv[1], argv + 1);
    (void)fprintf(stderr, "no_uring: %s: %s\n", argv[1], strerror(errno));
    return 3;
}
