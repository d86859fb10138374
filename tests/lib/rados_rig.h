/*
 * rados_rig.h - a home in RADOS on the double (rados_double.h), for suites
 * about that back end. A case's state is a store for writing on it.
 */
#ifndef TESTS_LIB_RADOS_RIG_H
#define TESTS_LIB_RADOS_RIG_H

#include "tests/lib/store_kinds.h"

#define RADOS_HOME "rados://meta/space?data_pool=data"

/* What is held back stays so. */
static const struct rados_weather fair = {.late_overtaken = true};

static inline int open_home(const char *url, unsigned flags, struct store **out,
                            struct err *err)
{
    const struct store_rados_options options = {.api = rados_double_api(),
                                                .give_up_ms = 300};

    *err = (struct err){0};
    return store_rados_open(url, flags, &options, out, err);
}

static inline int double_setup(void **state)
{
    struct err err;
    struct store *store;

    rados_double_start(7);
    if (open_home(RADOS_HOME, STORE_OPEN_WRITE | STORE_OPEN_CREATE, &store,
                  &err) < 0)
        fail_msg("%s", err.text);
    *state = store;
    return 0;
}

static inline int double_teardown(void **state)
{
    store_close(*state);
    rados_double_stop();
    return 0;
}

static inline void rule(const char *object, bool is_write, uint32_t nth,
                        int how, int error)
{
    struct rados_weather weather = {
        .late_overtaken = true,
        .rule = {.object = object, .is_write = is_write, .nth = nth}};

    weather.rule.error = error;
    weather.rule.how = how;
    rados_double_weather(&weather);
}

static inline size_t listed(struct store *store, const char *folder)
{
    struct store_req req = {.op = STORE_LIST, .name = folder};
    size_t count;

    assert_int_equal(store_run(store, &req), 0);
    count = req.names.count;
    store_names_free(&req.names);
    return count;
}

static inline bool is_listed(struct store *store, const char *folder,
                             const char *name)
{
    struct store_req req = {.op = STORE_LIST, .name = folder};
    bool is_there = false;

    assert_int_equal(store_run(store, &req), 0);
    for (size_t i = 0; i < req.names.count; i++)
        is_there |= strcmp(req.names.name[i], name) == 0;
    store_names_free(&req.names);
    return is_there;
}

#define ON_DOUBLE(test)                                                        \
    cmocka_unit_test_setup_teardown(test, double_setup, double_teardown)

#endif
