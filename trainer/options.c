/*
 * options.c - see options.h.
 *
 * Rank and world size come as a pair from one launcher: mixing the rank of one
 * with the size of another would name ranks that do not exist. A rank whose
 * launcher tells no size is never taken for rank 0 of 1: it needs a world size
 * of the options, or is refused. The token must
 * differ between any two starts of a job, so it is only made up here where the
 * launcher names the start itself.
 */
#include "trainer/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define OPEN_TIMEOUT_MS   60000
#define DECIDE_TIMEOUT_MS 600000
#define LOAD_TIMEOUT_MS   600000
#define MAX_UNCOMMITTED   3
#define OPTIONS_BYTES_MIN offsetof(struct ckpt_options, copy_threads)

void ckpt_options_init(struct ckpt_options *options)
{
    *options = (struct ckpt_options){
        .struct_bytes = sizeof *options,
        .rank = -1,
    };
}

/* A decimal number of the environment; false, and nothing is written, when it
 * is not there. */
static bool env_number(const char *name, uint64_t *out)
{
    const char *text = name ? getenv(name) : NULL;
    uint64_t value;
    char *end;

    if (!text || !isdigit((unsigned char)*text))
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *out = value;
    return true;
}

static const struct launcher {
    const char *rank, *size;
} launchers[] = {
    {"RANK", "WORLD_SIZE"},
    {"SLURM_PROCID", "SLURM_NTASKS"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
};

/* 0, or -EINVAL in words: such a variable is a number, or not set. */
static int check_env_number(const char *name, struct err *err)
{
    const char *text = getenv(name);
    uint64_t unused;

    if (!text || !*text || env_number(name, &unused))
        return 0;
    return err_set(err, -EINVAL,
                   "%s=%.64s is no number: correct it, unset it, or give "
                   "options.rank and options.world_size",
                   name, text);
}

static int check_env_ranks(struct err *err)
{
    int rc = check_env_number("CKPT_RANK", err);

    for (size_t i = 0; i < ARRAY_LEN(launchers) && rc == 0; i++) {
        rc = check_env_number(launchers[i].rank, err);
        if (rc == 0)
            rc = check_env_number(launchers[i].size, err);
    }
    return rc ? rc : check_env_number("PMIX_RANK", err);
}

/* The rank that the environment names and the variable that did, NULL for
 * none; *size stays when it does not say how many there are. */
static const char *env_rank(uint64_t *rank, uint64_t *size)
{
    uint64_t r, n;

    for (size_t i = 0; i < ARRAY_LEN(launchers); i++)
        if (env_number(launchers[i].rank, &r) &&
            env_number(launchers[i].size, &n)) {
            *rank = r;
            *size = n;
            return launchers[i].rank;
        }
    if (env_number("PMIX_RANK", rank))
        return "PMIX_RANK";
    for (size_t i = 0; i < ARRAY_LEN(launchers); i++)
        if (env_number(launchers[i].rank, rank))
            return launchers[i].rank;
    return NULL;
}

static int find_rank(const struct ckpt_options *o, struct ckpt *ctx,
                     struct err *err)
{
    uint64_t rank = 0, size = 1;
    const char *source = env_rank(&rank, &size);

    if ((o->rank < 0 || !o->world_size) && check_env_ranks(err))
        return err->code;
    if (env_number("CKPT_RANK", &rank))
        source = "CKPT_RANK";
    if (o->rank >= 0) {
        rank = (uint64_t)o->rank;
        source = "options.rank";
    }
    if (o->world_size)
        size = o->world_size;
    if (size > UINT32_MAX || rank >= size)
        return err_set(err, -EINVAL,
                       "rank %" PRIu64 " (%s) of %" PRIu64
                       ": name both in options.rank and options.world_size, "
                       "or a launcher's two variables",
                       rank, source ? source : "none was named", size);
    ctx->open.rank = (uint32_t)rank;
    ctx->open.world_size = (uint32_t)size;
    return 0;
}

/* When process `pid` started, in clock ticks since boot; 0 if unknown. */
static uint64_t start_time(pid_t pid)
{
    char path[64], text[1024];
    const char *at;
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return 0;
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* One start of one job, as its launcher names it; false if it does not. */
static bool launcher_token(const struct ckpt *ctx, char *out, size_t capacity)
{
    const char *job = getenv("SLURM_JOB_ID"), *step = getenv("SLURM_STEP_ID");
    const char *restart = getenv("SLURM_RESTART_COUNT");
    const char *space = getenv("PMIX_NAMESPACE");
    uint64_t local, started;
    int n;

    if (job && step) {
        n = snprintf(out, capacity, "slurm-%s.%s.%s", job, step,
                     restart ? restart : "0");
        return n > 0 && (size_t)n < capacity;
    }
    /* The namespace may come again; the launcher's start time does not, but it
     * is only the same for ranks that share one launcher. */
    if (!space || !env_number("OMPI_COMM_WORLD_LOCAL_SIZE", &local) ||
        local != ctx->open.world_size)
        return false;
    started = start_time(getppid());
    n = snprintf(out, capacity, "pmix-%s.%d.%" PRIu64, space, (int)getppid(),
                 started);
    return started && n > 0 && (size_t)n < capacity;
}

static int find_token(const struct ckpt_options *o, struct ckpt *ctx,
                      struct err *err)
{
    struct id128 random;
    char text[ID_TEXT_BYTES];

    if (o->token && *o->token) {
        if (strlen(o->token) >= sizeof ctx->open.token)
            return err_set(err, -EINVAL, "token: longer than %zu bytes",
                           sizeof ctx->open.token - 1);
        memcpy(ctx->open.token, o->token, strlen(o->token) + 1);
        return 0;
    }
    if (launcher_token(ctx, ctx->open.token, sizeof ctx->open.token))
        return 0;
    if (ctx->open.world_size > 1)
        return err_set(err, -EINVAL,
                       "world_size %u without a token: give options.token, "
                       "equal on all ranks and new at every start",
                       ctx->open.world_size);
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_set(err, -EIO, "no random bytes for a token: %s",
                       err_text(errno));
    (void)snprintf(ctx->open.token, sizeof ctx->open.token, "%s",
                   id_format(&random, text));
    return 0;
}

static int check_run(const struct ckpt_options *o, struct ckpt *ctx,
                     struct err *err)
{
    const char *run = o->run;

    if (!run || !*run)
        return err_set(err, -EINVAL, "no run: name it in options.run");
    if (strlen(run) >= sizeof ctx->open.run || run[0] == '.')
        return err_set(err, -EINVAL,
                       "run %.64s: longer than 255 bytes, or begins with '.'",
                       run);
    for (const char *c = run; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            return err_set(err, -EINVAL,
                           "run %s: only letters, digits, '.', '_' and '-'",
                           run);
    memcpy(ctx->open.run, run, strlen(run) + 1);
    return 0;
}

static int copy_layout(const struct ckpt_options *o, struct ckpt *ctx,
                       struct err *err)
{
    struct layout *l = &ctx->open.layout;

    if (o->axis_count > MAX_AXES)
        return err_set(err, -EINVAL, "layout: %u axes, at most %d",
                       o->axis_count, MAX_AXES);
    l->axis_count = o->axis_count;
    for (uint32_t i = 0; i < o->axis_count; i++) {
        const struct ckpt_axis *a = &o->axes[i];

        if (!a->name || strlen(a->name) >= AXIS_NAME_BYTES)
            return err_set(err, -EINVAL,
                           "layout: axis %u: its name is missing or longer "
                           "than %d bytes",
                           i, AXIS_NAME_BYTES - 1);
        memcpy(l->axis[i].name, a->name, strlen(a->name) + 1);
        l->axis[i].degree = a->degree;
        ctx->open.coordinate[i] = a->coordinate;
        if (a->coordinate >= a->degree)
            return err_set(err, -EINVAL,
                           "layout: axis %s: coordinate %u of degree %u",
                           a->name, a->coordinate, a->degree);
    }
    return layout_check(l, err);
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value ? value : standard;
}

static uint32_t default_copy_threads(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);

    return cores <= 4 ? 1 : cores <= 32 ? 2 : 4;
}

static int check_numbers(const struct ckpt_options *o, struct err *err)
{
    if (o->struct_bytes < OPTIONS_BYTES_MIN || o->struct_bytes > sizeof *o)
        return err_set(err, -EINVAL,
                       "options.struct_bytes is %u: set the options up with "
                       "ckpt_options_init() of this version",
                       o->struct_bytes);
    if ((unsigned)o->resume > CKPT_RESUME_STEP ||
        (unsigned)o->overload > CKPT_REPLACE ||
        (unsigned)o->codec > CKPT_CODEC_PLANES_LZ4)
        return err_set(err, -EINVAL,
                       "resume %d, overload %d or codec %d is none",
                       (int)o->resume, (int)o->overload, (int)o->codec);
    if ((unsigned)o->replica_check > CKPT_REPLICAS_OFF ||
        (unsigned)o->on_divergence > CKPT_FAIL ||
        (unsigned)o->on_stale > CKPT_IGNORE)
        return err_set(err, -EINVAL,
                       "replica_check %d, on_divergence %d or on_stale %d is "
                       "none",
                       (int)o->replica_check, (int)o->on_divergence,
                       (int)o->on_stale);
    return 0;
}

static int copy_patterns(const char *what, const char *from,
                         const char *standard, char to[TRUST_PATTERNS_BYTES],
                         struct err *err)
{
    const char *text = from ? from : standard;

    if (strlen(text) >= TRUST_PATTERNS_BYTES)
        return err_set(err, -EINVAL, "%s: longer than %d bytes", what,
                       TRUST_PATTERNS_BYTES - 1);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static int copy_trust(const struct ckpt_options *o, struct trust *t,
                      struct err *err)
{
    int rc;

    t->replica_check = (uint32_t)o->replica_check;
    t->on_divergence = (uint32_t)o->on_divergence;
    t->on_stale = (uint32_t)o->on_stale;
    rc = copy_patterns("replica_allow", o->replica_allow, "", t->replica_allow,
                       err);
    if (rc)
        return rc;
    return copy_patterns("optimizer_names", o->optimizer_names,
                         TRUST_OPTIMIZER_NAMES, t->optimizer_names, err);
}

static void copy_numbers(const struct ckpt_options *o, struct ckpt *ctx)
{
    struct wire_open *open = &ctx->open;

    open->resume = (uint32_t)o->resume;
    open->resume_step = o->resume_step;
    open->resume_generation = o->resume_generation;
    open->keep_last = o->keep_last;
    open->keep_every = o->keep_every;
    open->local_last = o->local_last;
    open->open_timeout_ms = or_default(o->open_timeout_ms, OPEN_TIMEOUT_MS);
    open->decide_timeout_ms =
        or_default(o->decide_timeout_ms, DECIDE_TIMEOUT_MS);
    open->load_timeout_ms = or_default(o->load_timeout_ms, LOAD_TIMEOUT_MS);
    open->codec = (uint32_t)o->codec;
    ctx->overload = (uint32_t)o->overload;
    ctx->max_uncommitted = or_default(o->max_uncommitted, MAX_UNCOMMITTED);
    ctx->arena_bytes = o->arena_bytes;
    ctx->copy_threads = (uint32_t)min_u64(
        or_default(o->copy_threads, default_copy_threads()), COPY_THREADS_MAX);
}

static int find_remote_every(const struct ckpt_options *o, struct ckpt *ctx,
                             struct err *err)
{
    const char *text = getenv("CKPT_REMOTE_EVERY");
    uint64_t every = o->remote_every;

    if (!every && text && *text &&
        (!env_number("CKPT_REMOTE_EVERY", &every) || every > UINT32_MAX))
        return err_set(err, -EINVAL,
                       "CKPT_REMOTE_EVERY=%.64s: a number of steps is wanted",
                       text);
    ctx->open.remote_every = (uint32_t)every;
    return 0;
}

/* In front of the words: as much of run and rank as is known by now. */
static int options_prefix(const struct ckpt *ctx, struct err *err)
{
    const struct wire_open *o = &ctx->open;

    if (o->world_size)
        return err_prefix(err, "ckpt_open, run %s, rank %u of %u", o->run,
                          o->rank, o->world_size);
    if (o->run[0])
        return err_prefix(err, "ckpt_open, run %s", o->run);
    return err_prefix(err, "ckpt_open");
}

int options_apply(const struct ckpt_options *given, struct ckpt *ctx,
                  struct err *err)
{
    struct ckpt_options o = {0};
    int rc = check_numbers(given, err);

    if (rc)
        return options_prefix(ctx, err);
    memcpy(&o, given, given->struct_bytes);
    copy_numbers(&o, ctx);
    rc = check_run(&o, ctx, err);
    if (rc == 0)
        rc = find_remote_every(&o, ctx, err);
    if (rc == 0)
        rc = find_rank(&o, ctx, err);
    if (rc == 0)
        rc = find_token(&o, ctx, err);
    if (rc == 0)
        rc = copy_layout(&o, ctx, err);
    if (rc == 0)
        rc = copy_trust(&o, &ctx->trust, err);
    if (rc == 0)
        rc = daemon_place_init(&ctx->place, o.home, o.local, o.socket, err);
    if (rc)
        return options_prefix(ctx, err);
    if (strlen(ctx->place.home) >= sizeof ctx->open.home)
        return err_set(err, -ENAMETOOLONG, "home %s: longer than %zu bytes",
                       ctx->place.home, sizeof ctx->open.home - 1);
    memcpy(ctx->open.home, ctx->place.home, strlen(ctx->place.home) + 1);
    if (gethostname(ctx->open.host, sizeof ctx->open.host - 1))
        (void)snprintf(ctx->open.host, sizeof ctx->open.host, "localhost");
    return 0;
}
