/*
 * Where rank, world size and token come from: options before CKPT_RANK before
 * launchers, and a launcher's two numbers only together; a token only where
 * the launcher names this very start of the job.
 */
#include "trainer/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const variables[] = {
    "CKPT_HOME",
    "CKPT_RANK",
    "RANK",
    "WORLD_SIZE",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_RESTART_COUNT",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "PMIX_RANK",
    "PMIX_NAMESPACE",
};

static int clear(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        (void)unsetenv(variables[i]);
    return 0;
}

static void put(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static struct ckpt_options plain(void)
{
    struct ckpt_options o;

    ckpt_options_init(&o);
    o.home = "/tmp";
    o.run = "r";
    return o;
}

/* options_apply() refuses in words that hold `words`. */
static void refuses(const struct ckpt_options *o, const char *words)
{
    struct ckpt *ctx = calloc(1, sizeof *ctx);
    struct err err = {0};

    assert_non_null(ctx);
    assert_int_equal(options_apply(o, ctx, &err), -EINVAL);
    if (!strstr(err.text, words))
        fail_msg("no \"%s\" in: %s", words, err.text);
    free(ctx);
}

/* What options_apply() makes of them; rc is what it returned. */
static struct wire_open apply(const struct ckpt_options *o, int rc)
{
    struct ckpt *ctx = calloc(1, sizeof *ctx);
    struct wire_open open;
    struct err err = {0};

    assert_non_null(ctx);
    if (options_apply(o, ctx, &err) != rc)
        fail_msg("%d %s", err.code, err.text);
    open = ctx->open;
    free(ctx);
    return open;
}

static void alone_without_an_environment(void **unused)
{
    struct ckpt_options o = plain();
    struct wire_open a = apply(&o, 0), b = apply(&o, 0);

    (void)unused;
    assert_int_equal(a.rank, 0);
    assert_int_equal(a.world_size, 1);
    assert_int_equal(strlen(a.token), 32);
    assert_string_not_equal(a.token, b.token);
    assert_string_equal(a.home, "/tmp");
    assert_int_equal(a.decide_timeout_ms, 600000);
    assert_true(a.host[0]);
}

static void launchers_give_pairs(void **unused)
{
    struct ckpt_options o = plain();
    struct wire_open v;

    (void)unused;
    o.token = "t";
    put("RANK", "9"); /* without WORLD_SIZE: not a pair */
    put("SLURM_PROCID", "2");
    put("SLURM_NTASKS", "4");
    v = apply(&o, 0);
    assert_int_equal(v.rank, 2);
    assert_int_equal(v.world_size, 4);
    put("WORLD_SIZE", "16");
    v = apply(&o, 0);
    assert_int_equal(v.rank, 9);
    assert_int_equal(v.world_size, 16);
    put("CKPT_RANK", "5");
    assert_int_equal(apply(&o, 0).rank, 5);
    o.rank = 1;
    o.world_size = 2;
    v = apply(&o, 0);
    assert_int_equal(v.rank, 1);
    assert_int_equal(v.world_size, 2);
    o.world_size = 0;
    o.rank = 16;
    (void)apply(&o, -EINVAL);
}

static void a_rank_without_a_world_size_is_refused(void **unused)
{
    static const char *const ranks[] = {"CKPT_RANK", "RANK", "SLURM_PROCID",
                                        "OMPI_COMM_WORLD_RANK", "PMIX_RANK"};
    struct ckpt_options o = plain();
    struct wire_open v;

    for (size_t i = 0; i < ARRAY_LEN(ranks); i++) {
        (void)clear(unused);
        o = plain();
        put(ranks[i], "0");
        assert_int_equal(apply(&o, 0).world_size, 1);
        put(ranks[i], "1");
        refuses(&o, ranks[i]);
        o.world_size = 2;
        o.token = "t";
        v = apply(&o, 0);
        assert_int_equal(v.rank, 1);
        assert_int_equal(v.world_size, 2);
        o.rank = 0;
        assert_int_equal(apply(&o, 0).rank, 0);
    }
    (void)clear(unused);
    o = plain();
    o.rank = 1;
    refuses(&o, "options.rank");
    o.rank = -1;
    put("RANK", "1");
    put("WORLD_SIZE", "two");
    refuses(&o, "WORLD_SIZE=two is no number");
}

/* Run and rank are named where they are known, and once. */
static void messages_name_what_is_known_once(void **unused)
{
    struct ckpt *ctx = calloc(1, sizeof *ctx);
    struct ckpt_options o = plain();
    struct err err = {0};

    (void)unused;
    assert_non_null(ctx);
    o.run = NULL;
    assert_int_equal(options_apply(&o, ctx, &err), -EINVAL);
    assert_memory_equal(err.text, "ckpt_open: no run", 17);
    o.run = "mis";
    o.rank = 1;
    assert_int_equal(options_apply(&o, ctx, &err), -EINVAL);
    assert_memory_equal(err.text, "ckpt_open, run mis: rank 1 (", 28);
    o.rank = 0;
    o.world_size = 12;
    assert_int_equal(options_apply(&o, ctx, &err), -EINVAL);
    assert_memory_equal(err.text, "ckpt_open, run mis, rank 0 of 12: ", 34);
    (void)err_set(&err, -EINVAL,
                  "ckpt_open: rank 0: rank 0 of run mis: bad; "
                  "rank 0: no, rank 10: yes");
    (void)snprintf(ctx->open.home, sizeof ctx->open.home, "/h");
    assert_int_equal(context_prefix(ctx, &err), -EINVAL);
    assert_string_equal(err.text, "run mis, rank 0 of 12 (home /h): ckpt_open: "
                                  "bad; rank 0: no, rank 10: yes");
    free(ctx);
}

/* A rank that is misspelt is never rank 0. */
static void numbers_that_are_none_are_refused_by_name(void **unused)
{
    static const char *const names[] = {"CKPT_RANK", "RANK", "WORLD_SIZE",
                                        "SLURM_PROCID", "PMIX_RANK"};
    struct ckpt_options o = plain();

    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char words[64];

        (void)snprintf(words, sizeof words, "%s=1x is no number", names[i]);
        put(names[i], "1x");
        refuses(&o, words);
        put(names[i], "-1");
        refuses(&o, names[i]);
        /* Who is told both does not look there. */
        o.rank = 0;
        o.world_size = 1;
        assert_int_equal(apply(&o, 0).world_size, 1);
        o = plain();
        put(names[i], "");
        assert_int_equal(apply(&o, 0).world_size, 1);
    }
}

static void a_home_is_a_path_or_a_url(void **unused)
{
    struct ckpt_options o = plain();

    (void)unused;
    o.home = "file:///tmp";
    assert_string_equal(apply(&o, 0).home, "/tmp");
    o.home = "s3://pool/space";
    refuses(&o, "home s3://pool/space: a home is a directory, file://PATH or "
                "rados://POOL/NAMESPACE");
    o.home = "rados://pool/space?user=me";
    refuses(&o, "segments cannot lie in RADOS: name a folder on a local drive "
                "for them in CKPT_LOCAL or options.local");
    o.local = "/tmp/segments";
    assert_string_equal(apply(&o, 0).home, "rados://pool/space?user=me");
}

static void tokens_name_one_start(void **unused)
{
    struct ckpt_options o = plain();
    struct wire_open first, second;

    (void)unused;
    o.rank = 0;
    o.world_size = 2;
    (void)apply(&o, -EINVAL);
    put("SLURM_JOB_ID", "77");
    (void)apply(&o, -EINVAL); /* salloc's shell: no step */
    put("SLURM_STEP_ID", "3");
    first = apply(&o, 0);
    assert_string_equal(first.token, "slurm-77.3.0");
    put("SLURM_RESTART_COUNT", "1");
    second = apply(&o, 0);
    assert_string_not_equal(first.token, second.token);
    o.token = "given";
    assert_string_equal(apply(&o, 0).token, "given");
}

static void pmix_names_a_start_only_under_one_launcher(void **unused)
{
    struct ckpt_options o = plain();

    (void)unused;
    o.rank = 1;
    o.world_size = 4;
    put("PMIX_NAMESPACE", "12345");
    put("OMPI_COMM_WORLD_LOCAL_SIZE", "2");
    (void)apply(&o, -EINVAL); /* ranks on other nodes have other launchers */
    put("OMPI_COMM_WORLD_LOCAL_SIZE", "4");
    assert_non_null(strstr(apply(&o, 0).token, "pmix-12345."));
}

static void trust_has_defaults_and_bounds(void **unused)
{
    struct ckpt *ctx = calloc(1, sizeof *ctx);
    struct ckpt_options o = plain();
    char longest[TRUST_PATTERNS_BYTES + 1];
    struct err err = {0};

    (void)unused;
    assert_non_null(ctx);
    assert_int_equal(options_apply(&o, ctx, &err), 0);
    assert_int_equal(ctx->trust.replica_check, TRUST_SAMPLE);
    assert_int_equal(ctx->trust.on_divergence, TRUST_WARN);
    assert_int_equal(ctx->trust.on_stale, TRUST_WARN);
    assert_string_equal(ctx->trust.replica_allow, "");
    assert_string_equal(ctx->trust.optimizer_names, "optim*");
    o.replica_check = CKPT_REPLICAS_OFF;
    o.on_divergence = CKPT_FAIL;
    o.on_stale = CKPT_IGNORE;
    o.replica_allow = "a*";
    o.optimizer_names = "";
    assert_int_equal(options_apply(&o, ctx, &err), 0);
    assert_int_equal(ctx->trust.replica_check, TRUST_OFF);
    assert_int_equal(ctx->trust.on_divergence, TRUST_FAIL);
    assert_int_equal(ctx->trust.on_stale, TRUST_IGNORE);
    assert_string_equal(ctx->trust.replica_allow, "a*");
    assert_string_equal(ctx->trust.optimizer_names, "");
    /* A caller that was built before these options has the defaults. */
    o.struct_bytes = offsetof(struct ckpt_options, replica_check);
    assert_int_equal(options_apply(&o, ctx, &err), 0);
    assert_int_equal(ctx->trust.replica_check, TRUST_SAMPLE);
    assert_string_equal(ctx->trust.optimizer_names, "optim*");
    free(ctx);
    o = plain();
    o.on_divergence = CKPT_IGNORE;
    refuses(&o, "on_divergence 2");
    o = plain();
    o.replica_check = (enum ckpt_replica_check)3;
    refuses(&o, "replica_check 3");
    o = plain();
    o.on_stale = (enum ckpt_verdict)3;
    refuses(&o, "on_stale 3");
    memset(longest, 'x', sizeof longest);
    longest[TRUST_PATTERNS_BYTES] = '\0';
    o = plain();
    o.replica_allow = longest;
    refuses(&o, "replica_allow: longer than 1023 bytes");
    o = plain();
    o.optimizer_names = longest;
    refuses(&o, "optimizer_names: longer than 1023 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(alone_without_an_environment, clear),
        cmocka_unit_test_setup(launchers_give_pairs, clear),
        cmocka_unit_test_setup(a_rank_without_a_world_size_is_refused, clear),
        cmocka_unit_test_setup(messages_name_what_is_known_once, clear),
        cmocka_unit_test_setup(numbers_that_are_none_are_refused_by_name,
                               clear),
        cmocka_unit_test_setup(a_home_is_a_path_or_a_url, clear),
        cmocka_unit_test_setup(tokens_name_one_start, clear),
        cmocka_unit_test_setup(pmix_names_a_start_only_under_one_launcher,
                               clear),
        cmocka_unit_test_setup(trust_has_defaults_and_bounds, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
