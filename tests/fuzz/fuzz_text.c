/*
 * fuzz_text.c - what users and launchers write: environment, options, targets
 * and command lines:
 *
 *     u8 what, then texts, each ended by a NUL
 *       0  ckpt_open(): u8 rank as an option or not, u32 world size, the run,
 *          the token, then NAME=VALUE for the environment
 *       1  the arguments of ckptd
 *       2  the arguments of ckpt
 *       3  the arguments of train_lm
 *       4  one text: the names of a dtype and a level of the log
 *
 * What ckpt_open() takes makes an OPEN that decodes. What ckptd takes is in
 * its bounds when it starts to serve. A target that ckpt takes, formatted,
 * means the same.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/text.h"

#include "ckptd/daemon/reactor.h"
#include "tools/ckpt/tool.h"
#include "trainer/options.h"

#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TEXTS_MAX 24

static const char *const variables[] = {
    "CKPT_HOME",
    "CKPT_LOCAL",
    "CKPT_SOCKET",
    "CKPT_RANK",
    "CKPT_LINGER",
    "RANK",
    "WORLD_SIZE",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "PMIX_NAMESPACE",
    "SLURM_RESTART_COUNT",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
};

struct texts {
    char *text[TEXTS_MAX + 2];
    int count;
};

static void texts_take(struct texts *t, struct rd *in, const char *first)
{
    *t = (struct texts){0};
    if (first)
        t->text[t->count++] = strdup(first);
    while (rd_left(in) && t->count <= TEXTS_MAX) {
        size_t bytes = strnlen((const char *)in->at, rd_left(in));

        t->text[t->count++] = strndup((const char *)in->at, bytes);
        (void)rd_bytes(in, min_u64(bytes + 1, rd_left(in)));
    }
}

static void texts_free(struct texts *t)
{
    for (int i = 0; i < t->count; i++)
        free(t->text[i]);
}

static void set_variable(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        size_t bytes = strlen(variables[i]);

        if (strncmp(text, variables[i], bytes) == 0 && text[bytes] == '=')
            fuzz_check(setenv(variables[i], text + bytes + 1, 1) == 0);
    }
}

static void clear_variables(void)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        fuzz_check(unsetenv(variables[i]) == 0);
}

/*
 * ckpt_open().
 */

static void open_is_good(const struct ckpt *ctx)
{
    static struct wire_open back;
    struct wr w = {0};

    fuzz_check(run_name_is_good(ctx->open.run));
    fuzz_check(ctx->place.home[0] == '/' && ctx->place.local[0] == '/' &&
               ctx->place.socket[0] == '/');
    wire_open_encode(&ctx->open, &w);
    fuzz_check(!w.failed);
    fuzz_check(wire_open_decode(w.data, w.bytes, &back) == 0);
    fuzz_check(strcmp(back.token, ctx->open.token) == 0 && back.token[0]);
    wr_free(&w);
}

static void trainer(struct rd *in)
{
    static struct ckpt ctx;
    struct ckpt_options o;
    struct texts t;
    struct err err;
    uint8_t has_rank = rd_u8(in);

    ckpt_options_init(&o);
    o.world_size = rd_u32(in);
    if (has_rank & 1)
        o.rank = has_rank >> 1;
    o.home = "/tmp";
    texts_take(&t, in, NULL);
    o.run = t.text[0];
    o.token = t.count > 1 ? t.text[1] : NULL;
    for (int i = 2; i < t.count; i++)
        set_variable(t.text[i]);
    ctx = (struct ckpt){0};
    if (options_apply(&o, &ctx, &err) == 0)
        open_is_good(&ctx);
    else
        fuzz_check(err.code < 0 && err.text[0]);
    texts_free(&t);
    clear_variables();
}

/*
 * ckptd, less what it would do to this process.
 */
int reactor_run(const struct reactor_options *o, struct err *err)
{
    (void)err;
    fuzz_check(o->local && o->local[0]);
    fuzz_check(!o->socket || o->socket[0]);
    fuzz_check(o->linger_ms <= UINT64_C(366) * 24 * 3600 * 1000);
    return 0;
}

int setpriority(__priority_which_t which, id_t who, int value)
{
    (void)which;
    (void)who;
    (void)value;
    return 0;
}

int sched_setaffinity(pid_t pid, size_t bytes, const cpu_set_t *set)
{
    (void)pid;
    (void)bytes;
    (void)set;
    return 0;
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    (void)resource;
    (void)limit;
    return 0;
}

static void ckptd(struct rd *in)
{
    struct texts t;
    int code;

    texts_take(&t, in, "ckptd");
    optind = 0; /* glibc: begin anew */
    code = ckptd_main(t.count, t.text);
    fuzz_check(code == 0 || code == 2);
    texts_free(&t);
}

/*
 * ckpt, whose verbs only look at what they were given.
 */

static int verb(struct tool *t)
{
    struct target target, again;
    char text[RUN_NAME_MAX + 64];
    int n;

    if (!t->target)
        return 0;
    n = target_parse(t, t->target, &target);
    if (n)
        return n;
    fuzz_check(run_name_is_good(target.run));
    fuzz_check(!target.is_latest || target.has_step);
    n = snprintf(text, sizeof text, "%s", target.run);
    if (target.is_latest)
        n += snprintf(text + n, sizeof text - (size_t)n, "@latest");
    else if (target.has_step)
        n += snprintf(text + n, sizeof text - (size_t)n, "@%" PRIu64,
                      target.step);
    if (target.generation)
        (void)snprintf(text + n, sizeof text - (size_t)n, "/%" PRIu32,
                       target.generation);
    fuzz_check(target_parse(t, text, &again) == 0);
    fuzz_check(strcmp(again.run, target.run) == 0);
    fuzz_check(again.step == target.step &&
               again.generation == target.generation &&
               again.is_latest == target.is_latest &&
               again.has_step == target.has_step && !again.tensor);
    return 0;
}

int verb_ls(struct tool *t)
{
    return verb(t);
}

int verb_show(struct tool *t)
{
    return verb(t);
}

int verb_where(struct tool *t)
{
    return verb(t);
}

int verb_verify(struct tool *t)
{
    fuzz_check(!t->options.quick || !t->options.deep);
    return verb(t);
}

int verb_scrub(struct tool *t)
{
    return verb(t);
}

int verb_gc(struct tool *t)
{
    return verb(t);
}

int verb_pin(struct tool *t)
{
    return verb(t);
}

int verb_unpin(struct tool *t)
{
    return verb(t);
}

int verb_cp(struct tool *t)
{
    return verb(t);
}

int verb_drain(struct tool *t)
{
    return verb(t);
}

int verb_wait(struct tool *t)
{
    fuzz_check(t->options.has_timeout || t->options.timeout_ms == 0);
    return verb(t);
}

int verb_doctor(struct tool *t)
{
    fuzz_check(!t->target);
    return 0;
}

static void ckpt(struct rd *in)
{
    struct texts t;
    int code;

    texts_take(&t, in, "ckpt");
    optind = 0;
    code = ckpt_main(t.count, t.text);
    fuzz_check(code == EXIT_FINE || code == EXIT_USAGE);
    texts_free(&t);
}

static void train_lm(struct rd *in)
{
    struct texts t;

    texts_take(&t, in, "train_lm");
    optind = 0;
    train_lm_arguments(t.count, t.text);
    texts_free(&t);
}

static void words(struct rd *in)
{
    struct texts t;

    texts_take(&t, in, "");
    for (int i = 0; i < t.count; i++) {
        uint32_t dtype = dtype_parse(t.text[i]);

        fuzz_check(!dtype || strcmp(dtype_name(dtype), t.text[i]) == 0);
        fuzz_check(log_level_parse(t.text[i]) <= LOG_LEVEL_DEBUG);
    }
    texts_free(&t);
}

void fuzz_one(struct rd *in, size_t bytes)
{
    (void)bytes;
    switch (rd_u8(in)) {
    case 0:
        trainer(in);
        break;
    case 1:
        ckptd(in);
        break;
    case 2:
        ckpt(in);
        break;
    case 3:
        train_lm(in);
        break;
    default:
        words(in);
    }
}
