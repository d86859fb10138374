/*
 * confined.c - run a program under a filter over system calls.
 *
 *   confined deny NAME[,NAME]... PROGRAM [ARGUMENT...]
 *   confined allow FILE PROGRAM [ARGUMENT...]
 *
 * What is denied, or not among the names in FILE (one a line), is answered by
 * EPERM, as systemd's SystemCallFilter= does with SystemCallErrorNumber=EPERM.
 * Names that this machine does not have are passed over.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add(scmp_filter_ctx filter, uint32_t answer, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    int rc;

    if (number == __NR_SCMP_ERROR)
        return 0;
    rc = seccomp_rule_add(filter, answer, number, 0);
    return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

static int deny(scmp_filter_ctx filter, char *names)
{
    char *rest = NULL;
    int rc = 0;

    for (char *name = strtok_r(names, ",", &rest); name && rc == 0;
         name = strtok_r(NULL, ",", &rest))
        rc = add(filter, SCMP_ACT_ERRNO(EPERM), name);
    return rc;
}

static int allow(scmp_filter_ctx filter, const char *path)
{
    FILE *file = fopen(path, "re");
    char name[128];
    int rc = 0;

    if (!file)
        return -errno;
    while (rc == 0 && fscanf(file, "%127s", name) == 1)
        rc = add(filter, SCMP_ACT_ALLOW, name);
    (void)fclose(file);
    return rc;
}

int main(int argc, char **argv)
{
    scmp_filter_ctx filter;
    bool is_list;
    int rc;

    if (argc < 4 ||
        (strcmp(argv[1], "deny") != 0 && strcmp(argv[1], "allow") != 0)) {
        (void)fprintf(stderr,
                      "usage: confined deny NAMES|allow FILE PROGRAM...\n");
        return 2;
    }
    is_list = strcmp(argv[1], "allow") == 0;
    filter = seccomp_init(is_list ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW);
    rc = !filter   ? -ENOMEM
         : is_list ? allow(filter, argv[2])
                   : deny(filter, argv[2]);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc) {
        (void)fprintf(stderr, "confined: %s\n", strerror(-rc));
        return 3;
    }
    (void)execvp(argv[3], argv + 3);
    (void)fprintf(stderr, "confined: %s: %s\n", argv[3], strerror(errno));
    return 3;
}
