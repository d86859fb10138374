/*
 * main.c - `ckpt`: verbs, options, usage.
 *
 * Exit codes: 0 fine, 1 error, 2 usage, 3 partial, 4 corrupt, 10 absent,
 * 11 busy, 130 interrupted.
 */
#include "tools/ckpt/tool.h"
#include "common/text.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum option_bit {
    OPTION_JSON = 1,
    OPTION_ALL = 2,
    OPTION_DEPTH = 4,   /* --quick, --deep */
    OPTION_DESTROY = 8, /* --yes */
    OPTION_KEEP = 16,   /* --keep-last, --keep-every */
    OPTION_REPAIR = 32, /* --repair */
    OPTION_DRY = 64,    /* --dry-run */
    OPTION_RATE = 128,  /* --rate */
    OPTION_TIER = 256,  /* --tier */
    OPTION_TIMEOUT = 512,
    OPTION_WAIT = 1024, /* --state, --each, --exec */
    OPTION_RESUME = 2048,
    OPTION_TO = 4096,
};

enum target_need {
    TARGET_NONE,
    TARGET_OPTIONAL,
    TARGET_REQUIRED,
    TARGET_TENSOR, /* required, and may name a tensor */
};

static const struct verb {
    const char *name, *arguments, *help;
    unsigned options;
    enum target_need target;
    int (*run)(struct tool *t);
} verbs[] = {
    {"ls", "[--all] [--json] [RUN]", "list checkpoints",
     OPTION_ALL | OPTION_JSON, TARGET_OPTIONAL, verb_ls},
    {"show", "[--json] RUN@STEP[:TENSOR]",
     "what a checkpoint holds: layout, tensors, extra state, origin",
     OPTION_JSON, TARGET_TENSOR, verb_show},
    {"where", "[--tier nvme|remote] [--json] RUN@STEP[:TENSOR]",
     "where the bytes are: file, offset, size, codec of every chunk in each\n"
     "        tier (or one alone)",
     OPTION_TIER | OPTION_JSON, TARGET_TENSOR, verb_where},
    {"verify",
     "[--quick|--deep] [--tier nvme|remote] [--repair [--dry-run]] [--json] "
     "[RUN[@STEP]]",
     "read back and check every digest (default: all checkpoints, in every\n"
     "        tier that can be reached); --repair heals what has a healthy\n"
     "        copy, while no daemon serves the store",
     OPTION_DEPTH | OPTION_TIER | OPTION_REPAIR | OPTION_DRY | OPTION_JSON,
     TARGET_OPTIONAL, verb_verify},
    {"scrub",
     "[--rate BYTES] [--tier nvme|remote | --resume] [--json] [RUN[@STEP]]",
     "read what is committed again, in every tier that can be reached (or one\n"
     "        alone), and remember what is bad; --rate: bytes a second "
     "(100M),\n"
     "        --resume: go on with a pass that was cut short",
     OPTION_RATE | OPTION_TIER | OPTION_RESUME | OPTION_JSON, TARGET_OPTIONAL,
     verb_scrub},
    {"cp",
     "--to HOME [--rate BYTES] [--dry-run] [--json] RUN@STEP | [--all] RUN",
     "copy a checkpoint (of a run: the latest, or all) into another home, or\n"
     "        into the remote tier of its own; repeat it to go on after a stop",
     OPTION_TO | OPTION_RATE | OPTION_DRY | OPTION_ALL | OPTION_JSON,
     TARGET_REQUIRED, verb_cp},
    {"gc",
     "[--keep-last N] [--keep-every N] [--dry-run] [--yes] [--json] "
     "[RUN]",
     "remove what is no longer needed",
     OPTION_KEEP | OPTION_DESTROY | OPTION_DRY | OPTION_JSON, TARGET_OPTIONAL,
     verb_gc},
    {"pin", "RUN@STEP", "keep a checkpoint whatever the policy", 0,
     TARGET_REQUIRED, verb_pin},
    {"unpin", "RUN@STEP", "let the policy decide again", 0, TARGET_REQUIRED,
     verb_unpin},
    {"drain", "[--timeout S] [--json] [RUN[@STEP]]",
     "copy what lies on this node of the newest (or that) checkpoint to the\n"
     "        remote tier now; before a node goes",
     OPTION_TIMEOUT | OPTION_JSON, TARGET_OPTIONAL, verb_drain},
    {"wait",
     "[--state committed|remote] [--timeout S] [--json] RUN@STEP\n"
     "  ckpt wait --each [--exec CMD] [--state committed|remote] "
     "[--timeout S]\n"
     "            [--json] RUN",
     "until a checkpoint is there, or in the remote tier; --each: run CMD for\n"
     "        (or print) every one from now on, once each, until a signal",
     OPTION_WAIT | OPTION_TIMEOUT | OPTION_JSON, TARGET_REQUIRED, verb_wait},
    {"doctor", "[--json]", "check the set-up; each failure prints its fix",
     OPTION_JSON, TARGET_NONE, verb_doctor},
};

static void usage(FILE *to)
{
    (void)fputs("usage: ckpt VERB [options] [RUN@STEP[:TENSOR]]\n\n", to);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        (void)fprintf(to, "  ckpt %s %s\n        %s\n", verbs[i].name,
                      verbs[i].arguments, verbs[i].help);
    (void)fputs(
        "\n"
        "RUN@latest is the newest checkpoint of the newest branch, "
        "RUN@STEP/GEN\n"
        "one of generation GEN. Options of all verbs:\n"
        "  --home HOME   where the runs live (CKPT_HOME): a directory or\n"
        "                rados://POOL/NAMESPACE[?data_pool=NAME&conf=PATH&"
        "user=NAME]\n"
        "  --local DIR   the local store of segments (CKPT_LOCAL; HOME/local)\n"
        "  --version, --help\n"
        "Exit codes: 0 fine, 1 error, 2 usage, 3 partial, 4 corrupt, 10 "
        "absent,\n"
        "11 busy, 130 interrupted.\n",
        to);
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static bool parse_count(const char *text, uint32_t *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    *out = (uint32_t)value;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' &&
           value <= UINT32_MAX;
}

/* Seconds, with a fraction or not; in milliseconds. */
static bool parse_seconds(const char *text, uint64_t *out)
{
    char *end;
    double value = strtod(text, &end);

    if (text[0] < '0' || text[0] > '9' || *end || !(value < 1e9))
        return false;
    *out = (uint64_t)(value * 1000);
    return true;
}

static const struct option long_options[] = {
    {"home", required_argument, NULL, 'H'},
    {"local", required_argument, NULL, 'L'},
    {"json", no_argument, NULL, 'j'},
    {"all", no_argument, NULL, 'a'},
    {"quick", no_argument, NULL, 'q'},
    {"deep", no_argument, NULL, 'd'},
    {"dry-run", no_argument, NULL, 'n'},
    {"yes", no_argument, NULL, 'y'},
    {"repair", no_argument, NULL, 'r'},
    {"resume", no_argument, NULL, 'R'},
    {"rate", required_argument, NULL, 'b'},
    {"tier", required_argument, NULL, 't'},
    {"to", required_argument, NULL, 'o'},
    {"keep-last", required_argument, NULL, 'k'},
    {"keep-every", required_argument, NULL, 'e'},
    {"state", required_argument, NULL, 's'},
    {"timeout", required_argument, NULL, 'T'},
    {"each", no_argument, NULL, 'E'},
    {"exec", required_argument, NULL, 'x'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* What an option needs its verb to take; 0: all verbs take it. */
static unsigned bit_of(int c)
{
    switch (c) {
    case 'j':
        return OPTION_JSON;
    case 'a':
        return OPTION_ALL;
    case 'q':
    case 'd':
        return OPTION_DEPTH;
    case 'n':
        return OPTION_DRY;
    case 'y':
        return OPTION_DESTROY;
    case 'r':
        return OPTION_REPAIR;
    case 'R':
        return OPTION_RESUME;
    case 'b':
        return OPTION_RATE;
    case 't':
        return OPTION_TIER;
    case 'o':
        return OPTION_TO;
    case 'k':
    case 'e':
        return OPTION_KEEP;
    case 'T':
        return OPTION_TIMEOUT;
    case 's':
    case 'E':
    case 'x':
        return OPTION_WAIT;
    default:
        return 0;
    }
}

static bool parse_tier(const char *text, enum tier_option *out)
{
    *out = strcmp(text, "remote") == 0 ? TIER_REMOTE : TIER_NVME;
    return *out == TIER_REMOTE || strcmp(text, "nvme") == 0;
}

static int not_good(int c, const char *why)
{
    const char *name = "";

    for (size_t i = 0; long_options[i].name; i++)
        if (long_options[i].val == c)
            name = long_options[i].name;
    (void)fprintf(stderr, "ckpt: --%s: %s: '%s'\n", name, why, optarg);
    return EXIT_USAGE;
}

static int take_wait_option(struct options *o, int c)
{
    switch (c) {
    case 's':
        o->remote = strcmp(optarg, "remote") == 0;
        return o->remote || strcmp(optarg, "committed") == 0
                   ? 0
                   : not_good(c, "committed or remote is wanted");
    case 'T':
        o->has_timeout = true;
        return parse_seconds(optarg, &o->timeout_ms)
                   ? 0
                   : not_good(c, "not a number of seconds");
    case 'E':
        o->each = true;
        return 0;
    case 'x':
        o->exec = optarg;
        return 0;
    default:
        (void)fputs("Try 'ckpt --help'.\n", stderr);
        return EXIT_USAGE;
    }
}

/* 0 or EXIT_USAGE. */
static int take_option(struct tool *t, int c)
{
    struct options *o = &t->options;
    bool ok = true;

    switch (c) {
    case 'H':
        o->home = optarg;
        break;
    case 'L':
        o->local = optarg;
        break;
    case 'o':
        o->to = optarg;
        break;
    case 'j':
        o->json = true;
        break;
    case 'a':
        o->all = true;
        break;
    case 'q':
        o->quick = true;
        break;
    case 'd':
        o->deep = true;
        break;
    case 'n':
        o->dry_run = true;
        break;
    case 'y':
        o->yes = true;
        break;
    case 'r':
        o->repair = true;
        break;
    case 'R':
        o->resume = true;
        break;
    case 'b':
        return text_bytes(optarg, &o->rate_bytes_s) && o->rate_bytes_s
                   ? 0
                   : not_good(c, "not a size: bytes a second, or a number "
                                 "with K, M, G or T");
    case 't':
        return parse_tier(optarg, &o->tier)
                   ? 0
                   : not_good(c, "nvme or remote is wanted");
    case 'k':
        ok = parse_count(optarg, &o->keep_last);
        break;
    case 'e':
        ok = parse_count(optarg, &o->keep_every);
        break;
    default:
        return take_wait_option(o, c);
    }
    return ok ? 0 : not_good(c, "not a number");
}

/* -1: go on; else the exit code. */
static int parse(struct tool *t, unsigned *used, int argc, char **argv)
{
    int c;

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'h') {
            usage(stdout);
            return EXIT_FINE;
        }
        if (c == 'V') {
            (void)printf("ckpt %s\n", CKPT_VERSION);
            return EXIT_FINE;
        }
        if (take_option(t, c))
            return EXIT_USAGE;
        *used |= bit_of(c);
    }
    return -1;
}

/* What is wrong, and how the verb is called. */
static int misused(const struct tool *t, const struct verb *verb,
                   const char *words)
{
    (void)complain(t, EXIT_USAGE, "%s", words);
    (void)fprintf(stderr, "usage: ckpt %s %s\n", verb->name, verb->arguments);
    return EXIT_USAGE;
}

static bool names_tensor(const char *target)
{
    return target && strchr(target, ':');
}

/* The words behind the options: VERB and a target. */
static int take_words(struct tool *t, const struct verb **verb, unsigned used,
                      int argc, char **argv)
{
    if (optind == argc) {
        usage(stderr);
        return EXIT_USAGE;
    }
    *verb = find_verb(argv[optind]);
    t->verb = argv[optind++];
    if (!*verb)
        return complain(t, EXIT_USAGE, "no such verb. Try 'ckpt --help'.");
    if (used & ~(*verb)->options)
        return misused(t, *verb, "an option does not fit this verb");
    if (t->options.quick && t->options.deep)
        return complain(t, EXIT_USAGE, "--quick and --deep exclude each other");
    if (optind < argc && (*verb)->target != TARGET_NONE)
        t->target = argv[optind++];
    if (optind < argc)
        return complain(t, EXIT_USAGE, "unexpected argument '%s'",
                        argv[optind]);
    if (names_tensor(t->target) && (*verb)->target != TARGET_TENSOR)
        return misused(t, *verb,
                       "this verb takes whole checkpoints, no tensor");
    if ((*verb)->target >= TARGET_REQUIRED && !t->target)
        return misused(t, *verb, "a target is missing");
    return -1;
}

/* What was printed must have arrived; a reader that has seen enough is none of
 * our failures. */
static int finish(const struct tool *t, int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno == EPIPE)
        return code;
    return complain(t, EXIT_ERROR, "standard output cannot be written: %s",
                    errno ? err_text(errno) : "an earlier write failed");
}

int main(int argc, char **argv)
{
    struct tool t = {.verb = "",
                     .options = {.home = getenv("CKPT_HOME"),
                                 .local = getenv("CKPT_LOCAL")}};
    const struct verb *verb = NULL;
    unsigned used = 0;
    int code = parse(&t, &used, argc, argv);

    if (code < 0)
        code = take_words(&t, &verb, used, argc, argv);
    if (code >= 0)
        return finish(&t, code);
    /* A scheme that is none is refused where the home is opened. */
    if (t.options.home && text_home_path(t.options.home))
        t.options.home = text_home_path(t.options.home);
    (void)umask(022); /* whose home it is says its folder */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    code = verb->run(&t);
    store_close(t.home);
    return finish(&t, code);
}
