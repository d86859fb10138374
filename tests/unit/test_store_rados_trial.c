/*
 * test_store_rados_trial.c - what a home in RADOS is tried out by, before there
 * is one: both pools take an object or are named with cause and cure, and
 * nothing is left behind.
 */
#include "tests/lib/rados_rig.h"

static int trial(const char *url, struct store_rados_trial *out,
                 struct err *err)
{
    const struct store_rados_options options = {.api = rados_double_api()};

    return store_rados_try(url, &options, out, err);
}

static void a_trial_leaves_nothing_behind(void **state)
{
    struct store_rados_trial t;
    uint64_t objects = rados_double_counts().objects;
    struct err err;

    (void)state;
    assert_int_equal(trial("rados://meta/none?data_pool=data", &t, &err), 0);
    assert_false(t.has_home);
    assert_non_null(strstr(t.text, "blobs in pool data, namespace none"));
    assert_int_equal(rados_double_counts().objects, objects);
    assert_int_equal(trial("rados://meta/space", &t, &err), 0);
    assert_true(t.has_home);
    assert_non_null(strstr(t.text, "blobs in pool data, namespace space"));
    assert_int_equal(rados_double_counts().objects, objects);
}

static void what_a_trial_finds_is_told_with_its_cure(void **state)
{
    static const struct {
        const char *url;
        struct rados_weather weather;
        int code;
        const char *seen, *fix;
    } bad[] = {
        {"meta/n", {0}, -EINVAL, "rados://", ""},
        {"rados://nope/n", {0}, -ENOENT, "pool nope", "pool create nope"},
        {"rados://meta/n?data_pool=nope",
         {0},
         -ENOENT,
         "pool nope",
         "pool create nope"},
        {"rados://data/n", {0}, -EOPNOTSUPP, "no catalogues", "data_pool=data"},
        {RADOS_HOME, {.is_shut = true}, -ETIMEDOUT, "192.0.2.1", "mon_host"},
        {RADOS_HOME, {.is_down = true}, -ETIMEDOUT, "OSDs", "health detail"},
        {RADOS_HOME, {.is_forbidden = true}, -EACCES, "the key", "auth get"},
        {RADOS_HOME, {.is_full = true}, -ENOSPC, "pool meta", "ceph df"},
        {RADOS_HOME, {.spoilt = 1000}, -CKPT_ECORRUPT, "pool meta", "health"},
        {RADOS_HOME,
         {.rule = {.object = "t:",
                   .is_write = true,
                   .nth = 1,
                   .persists = true,
                   .error = -EPERM}},
         -EPERM,
         "may not do this",
         "osd 'allow rw pool=meta namespace=space, allow rw pool=data "
         "namespace=space'"},
        {RADOS_HOME,
         {.rule = {.object = "t:",
                   .is_write = true,
                   .nth = 3,
                   .persists = true,
                   .error = -EDQUOT}},
         -EDQUOT,
         "pool data: creating an object: the quota",
         "get-quota data"},
        {RADOS_HOME,
         {.rule = {.object = "t:", .is_write = true, .nth = 2, .error = -EIO}},
         -EIO,
         "pool meta: removing an object",
         "ceph -s"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct store_rados_trial t;
        struct err err;

        rados_double_weather(&bad[i].weather);
        assert_int_equal(trial(bad[i].url, &t, &err), bad[i].code);
        if (!strstr(err.text, bad[i].seen) || !strstr(t.fix, bad[i].fix))
            fail_msg("%s: %s; fix: %s", bad[i].url, err.text, t.fix);
        assert_true(!t.fix[0] || !strstr(err.text, t.fix));
        rados_double_weather(&fair);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_DOUBLE(a_trial_leaves_nothing_behind),
        ON_DOUBLE(what_a_trial_finds_is_told_with_its_cure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
