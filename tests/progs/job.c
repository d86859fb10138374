/*
 * job.c - a training job of several ranks that does what a script says.
 *
 *   job [OPTION]... COMMAND...
 *
 * The ranks are forked processes that share a token. With --part FIRST/WORLD
 * they are those from FIRST on of a job that others, which are given the same
 * --token, make up to WORLD; they meet their own at barriers. Each obeys the
 * commands in order and prints one line per command: "RANK COMMAND ok WORDS" or
 * "RANK COMMAND error CODE MESSAGE". A command may begin with "R:" (only on
 * that rank) and then with "?" (go on when it fails; else the rank ends with
 * 1). The job ends with 0 when each rank ended with 0 or by `die`.
 *
 * Commands:
 *   open close   join and leave the run
 *   fill:V       give every tensor the contents of version V; touch:K:V one
 *   set:X        all elements (of buffers only) become the number X
 *   flip:T:ELEMENT:BIT  one bit of the buffer of tensor T
 *   warnings     print what committed saves warn of, until there is none
 *   save:STEP    begin a save; fence; wait:STATE[:MS] of the newest one
 *   drop         let go of the newest save's handle
 *   load         into the buffers, compared with the versions that the save
 *                carries in its extra state; read:STEP/GENERATION likewise
 *   extra        the parent's extra state alone
 *   parent list mode bytes         print them
 *   fault:WORD   from now on descriptors are wrong (see job_state.h)
 *   layout:WORD  from now on another layout
 *   storm:FROM:COUNT[:MS]  COUNT saves, whatever becomes of each
 *   barrier      wait for all ranks; sleep:MS
 *   mark:FILE    make an empty file; hold:FILE waits until there is one
 *   die          SIGKILL to oneself
 */
#include "tests/lib/job_rank.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * The job.
 */

static int run_job(struct rank *r)
{
    pid_t pid[JOB_RANKS_MAX], parent = getpid();
    uint32_t world = r->count;
    int status, result = 0;

    for (uint32_t i = 0; i < world; i++) {
        pid[i] = fork();
        if (pid[i] < 0)
            return 3;
        if (pid[i] > 0)
            continue;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(3);
        r->shape.rank = r->first + i;
        if (r->options.rank == -2)
            r->options.rank = r->first + i;
        r->options.axes[0].coordinate = r->first + i;
        exit(rank_run(r));
    }
    for (uint32_t i = 0; i < world; i++) {
        if (waitpid(pid[i], &status, 0) != pid[i])
            return 3;
        if (status && !(WIFSIGNALED(status) && r->shared->died[i]))
            result = 1;
    }
    return result;
}

enum option_key {
    OPT_HOME = 1,
    OPT_RUN,
    OPT_LOCAL,
    OPT_SOCKET,
    OPT_TOKEN,
    OPT_RANKS,
    OPT_RANK,
    OPT_RESUME,
    OPT_TENSORS,
    OPT_ROWS,
    OPT_COLUMNS,
    OPT_LAYOUT,
    OPT_LAZY,
    OPT_DULL,
    OPT_ARENA,
    OPT_OVERLOAD,
    OPT_CODEC,
    OPT_KEEP_LAST,
    OPT_KEEP_EVERY,
    OPT_OPEN_MS,
    OPT_DECIDE_MS,
    OPT_LOAD_MS,
    OPT_WORLD,
    OPT_PART,
    OPT_REPLICA_CHECK,
    OPT_ON_DIVERGENCE,
    OPT_ON_STALE,
    OPT_REPLICA_ALLOW,
    OPT_OPTIMIZER_NAMES
};

static const struct option long_options[] = {
    {"home", required_argument, NULL, OPT_HOME},
    {"run", required_argument, NULL, OPT_RUN},
    {"local", required_argument, NULL, OPT_LOCAL},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"token", required_argument, NULL, OPT_TOKEN},
    {"ranks", required_argument, NULL, OPT_RANKS},
    {"rank", required_argument, NULL, OPT_RANK},
    {"world", required_argument, NULL, OPT_WORLD},
    {"resume", required_argument, NULL, OPT_RESUME},
    {"tensors", required_argument, NULL, OPT_TENSORS},
    {"rows", required_argument, NULL, OPT_ROWS},
    {"columns", required_argument, NULL, OPT_COLUMNS},
    {"layout", required_argument, NULL, OPT_LAYOUT},
    {"lazy", no_argument, NULL, OPT_LAZY},
    {"dull", no_argument, NULL, OPT_DULL},
    {"arena", required_argument, NULL, OPT_ARENA},
    {"overload", required_argument, NULL, OPT_OVERLOAD},
    {"codec", required_argument, NULL, OPT_CODEC},
    {"keep-last", required_argument, NULL, OPT_KEEP_LAST},
    {"keep-every", required_argument, NULL, OPT_KEEP_EVERY},
    {"open-ms", required_argument, NULL, OPT_OPEN_MS},
    {"decide-ms", required_argument, NULL, OPT_DECIDE_MS},
    {"load-ms", required_argument, NULL, OPT_LOAD_MS},
    {"part", required_argument, NULL, OPT_PART},
    {"replica-check", required_argument, NULL, OPT_REPLICA_CHECK},
    {"on-divergence", required_argument, NULL, OPT_ON_DIVERGENCE},
    {"on-stale", required_argument, NULL, OPT_ON_STALE},
    {"replica-allow", required_argument, NULL, OPT_REPLICA_ALLOW},
    {"optimizer-names", required_argument, NULL, OPT_OPTIMIZER_NAMES},
    {0},
};

static int word_number(const char *text, const char *words)
{
    size_t bytes = strlen(text);
    int number = 0;

    for (const char *w = words; *w; w += strcspn(w, " "), w += *w == ' ') {
        if (strcspn(w, " ") == bytes && strncmp(w, text, bytes) == 0)
            return number;
        number++;
    }
    return -1;
}

static bool take_resume(struct ckpt_options *o, const char *text)
{
    int word = word_number(text, "latest none");

    if (word >= 0) {
        o->resume = (enum ckpt_resume)word;
        return true;
    }
    o->resume = CKPT_RESUME_STEP;
    return sscanf(text, "%" SCNu64 "/%u", &o->resume_step,
                  &o->resume_generation) >= 1;
}

/* What a save is asked to find out. */
static bool take_trust_option(struct ckpt_options *o, int key, char *text)
{
    int word = 0;

    switch (key) {
    case OPT_REPLICA_CHECK:
        word = word_number(text, "sample all off");
        o->replica_check = (enum ckpt_replica_check)word;
        break;
    case OPT_ON_DIVERGENCE:
        word = word_number(text, "warn fail");
        o->on_divergence = (enum ckpt_verdict)word;
        break;
    case OPT_ON_STALE:
        word = word_number(text, "warn fail ignore");
        o->on_stale = (enum ckpt_verdict)word;
        break;
    case OPT_REPLICA_ALLOW:
        o->replica_allow = text;
        break;
    case OPT_OPTIMIZER_NAMES:
        o->optimizer_names = text;
        break;
    default:
        return false;
    }
    return word >= 0;
}

/* Options of the library; false for a bad word. */
static bool take_library_option(struct ckpt_options *o, int key, char *text)
{
    uint64_t number = strtoull(text ? text : "", NULL, 10);
    int word = 0;

    switch (key) {
    case OPT_HOME:
        o->home = text;
        break;
    case OPT_RUN:
        o->run = text;
        break;
    case OPT_LOCAL:
        o->local = text;
        break;
    case OPT_SOCKET:
        o->socket = text;
        break;
    case OPT_TOKEN:
        o->token = text;
        break;
    case OPT_RANK:
        o->rank = (int64_t)number;
        break;
    case OPT_WORLD:
        o->world_size = number;
        break;
    case OPT_RESUME:
        return take_resume(o, text);
    case OPT_ARENA:
        o->arena_bytes = number;
        break;
    case OPT_OVERLOAD:
        word = word_number(text, "wait skip replace");
        o->overload = (enum ckpt_overload)word;
        break;
    case OPT_CODEC:
        word = word_number(text, "auto raw planes");
        o->codec = (enum ckpt_codec)word;
        break;
    case OPT_KEEP_LAST:
        o->keep_last = (uint32_t)number;
        break;
    case OPT_KEEP_EVERY:
        o->keep_every = (uint32_t)number;
        break;
    case OPT_OPEN_MS:
        o->open_timeout_ms = (uint32_t)number;
        break;
    case OPT_DECIDE_MS:
        o->decide_timeout_ms = (uint32_t)number;
        break;
    case OPT_LOAD_MS:
        o->load_timeout_ms = (uint32_t)number;
        break;
    default:
        return take_trust_option(o, key, text);
    }
    return word >= 0;
}

static bool take_option(struct rank *r, int key, char *text)
{
    uint64_t number = strtoull(text ? text : "", NULL, 10);
    int word;

    switch (key) {
    case OPT_RANKS:
        r->count = (uint32_t)number;
        return number >= 1 && number <= JOB_RANKS_MAX;
    case OPT_PART:
        return sscanf(text, "%u/%u", &r->first, &r->shape.world) == 2;
    case OPT_TENSORS:
        r->shape.tensor_count = (uint32_t)number;
        return number <= JOB_TENSORS_MAX;
    case OPT_ROWS:
        r->shape.rows = number;
        return true;
    case OPT_COLUMNS:
        r->shape.columns = number;
        return true;
    case OPT_LAZY:
        r->shape.capture = CKPT_UNTIL_FENCE;
        return true;
    case OPT_DULL:
        r->shape.is_dull = true;
        return true;
    case OPT_LAYOUT:
        word = job_layout_parse(text);
        r->shape.layout = (enum job_layout)word;
        return word >= 0;
    default:
        return take_library_option(&r->options, key, text);
    }
}

static bool parse(struct rank *r, int argc, char **argv)
{
    int key;

    while ((key = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
        if (!take_option(r, key, optarg)) {
            (void)fprintf(stderr, "job: bad option before '%s'\n",
                          argv[optind] ? argv[optind] : "");
            return false;
        }
    }
    r->commands = argv + optind;
    r->command_count = argc - optind;
    return true;
}

int main(int argc, char **argv)
{
    static struct rank r;
    char token[64];
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    (void)snprintf(token, sizeof token, "test-%d-%ld.%09ld", (int)getpid(),
                   (long)t.tv_sec, t.tv_nsec);
    ckpt_options_init(&r.options);
    r.options.run = "run";
    r.options.token = token;
    r.options.rank = -2; /* each its own */
    r.options.codec = CKPT_CODEC_RAW;
    r.count = 1;
    r.shape = (struct job_shape){
        .tensor_count = 6, .rows = 64, .columns = 256, .layout = JOB_MIXED};
    r.shared = mmap(NULL, sizeof *r.shared, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r.shared == MAP_FAILED)
        return 3;
    if (!parse(&r, argc, argv))
        return 2;
    if (r.shape.world == 0)
        r.shape.world = r.count;
    if (r.options.world_size == 0)
        r.options.world_size = r.shape.world;
    r.options.axis_count = 1;
    r.options.axes[0] = (struct ckpt_axis){"dp", r.shape.world, 0};
    return run_job(&r);
}
