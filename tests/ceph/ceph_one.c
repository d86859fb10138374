/*
 * ceph_one.c - one request to the home CKPT_TEST_RADOS, for scripts:
 *
 *     ceph_one put NAME TEXT | get NAME | remove NAME | list FOLDER
 *     ceph_one when FILE ...    once the home is open, prints `opened` and
 * waits until there is that file
 *
 * Prints what was got or listed, and on the last line `result N` and how long
 * the request took; when the home cannot be opened, `open N` and why, with exit
 * status 1.
 */
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *verb;
    enum store_op op;
} verbs[] = {{"put", STORE_PUT},
             {"get", STORE_GET},
             {"remove", STORE_REMOVE},
             {"list", STORE_LIST}};

static double seconds(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void wait_for(const char *file)
{
    const struct timespec moment = {.tv_nsec = 20000000};

    (void)printf("opened\n");
    (void)fflush(stdout);
    while (access(file, F_OK) != 0)
        (void)nanosleep(&moment, NULL);
}

static int one(struct store *store, enum store_op op, char **argument)
{
    static char got[65536];
    struct store_req req = {.op = op, .name = argument[0]};
    double began = seconds();
    int64_t result;

    if (op == STORE_PUT) {
        req.buf = argument[1];
        req.len = strlen(argument[1]);
    } else if (op == STORE_GET) {
        req.buf = got;
        req.len = sizeof got - 1;
    }
    result = store_run(store, &req);
    if (op == STORE_GET && result >= 0)
        (void)printf("%s\n", got);
    for (size_t i = 0; i < req.names.count; i++)
        (void)printf("%s\n", req.names.name[i]);
    store_names_free(&req.names);
    (void)printf("result %lld after %.1f s\n", (long long)result,
                 seconds() - began);
    return 0;
}

int main(int argc, char **argv)
{
    const struct store_rados_options options = {
        .connect_timeout_ms = 3000, .op_timeout_ms = 3000, .give_up_ms = 6000};
    const char *home = getenv("CKPT_TEST_RADOS"), *file = NULL;
    struct store *store;
    struct err err;
    int rc;

    if (argc > 3 && strcmp(argv[1], "when") == 0) {
        file = argv[2];
        argv += 2;
        argc -= 2;
    }
    for (size_t i = 0; home && i < ARRAY_LEN(verbs); i++) {
        bool is_put = verbs[i].op == STORE_PUT;

        if (argc != (is_put ? 4 : 3) || strcmp(argv[1], verbs[i].verb) != 0)
            continue;
        rc = store_rados_open(home, STORE_OPEN_WRITE | STORE_OPEN_CREATE,
                              &options, &store, &err);
        if (rc < 0) {
            (void)printf("open %d: %s\n", rc, err.text);
            return 1;
        }
        if (file)
            wait_for(file);
        rc = one(store, verbs[i].op, argv + 2);
        store_close(store);
        return rc;
    }
    (void)fprintf(stderr, "usage: see tests/ceph/ceph_one.c\n");
    return 2;
}
