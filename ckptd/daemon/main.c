/*
 * main.c - ckptd's command line.
 *
 * Exit codes: 0 ended in order, 1 failure (said on stderr), 2 usage, 11 another
 * daemon serves this local store (what a starter that lost the race sees).
 */
#include "ckptd/daemon/reactor.h"
#include "common/text.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define GIVEN_BACK_BYTES (64 << 10)

enum {
    EXIT_USAGE = 2,
    EXIT_BUSY = 11,
};

#define SECONDS_MAX (366ULL * 24 * 3600) /* a year */

static const char usage_text[] =
    "usage: ckptd [--foreground] [--rados] --local DIR [--socket PATH]\n"
    "             [--linger S] [--keep-last N] [--keep-every N]\n"
    "             [--scrub-every S] [--scrub-rate N] [--remote-every N]\n"
    "             [--local-last N] [--drain-rate N] [--drain-codec C]\n"
    "             [--log-level LEVEL]\n"
    "\n"
    "Serves checkpoints of this user's trainers on this node. Trainers start\n"
    "one by themselves where none answers; it then ends by itself.\n"
    "\n"
    "  --local DIR     folder of segments on a local drive (CKPT_LOCAL); made\n"
    "                  if its parent exists\n"
    "  --foreground    run until SIGTERM or SIGINT (for a service or by hand)\n"
    "  --rados         serve homes in RADOS too: keep the right to use the\n"
    "                  network, which is given up else\n"
    "  --socket PATH   where to listen (CKPT_SOCKET; default DIR/ckptd.sock)\n"
    "  --linger S      seconds to stay without work (CKPT_LINGER; 600)\n"
    "  --keep-last N   checkpoints to keep of runs whose trainers give no\n"
    "                  policy (0: all); an older one goes once a newer one "
    "was\n"
    "                  read back\n"
    "  --keep-every N  keep steps that are multiples of N as well\n"
    "  --scrub-every S read every checkpoint again each S seconds while there\n"
    "                  is nothing else to do (604800; 0: never)\n"
    "  --scrub-rate N  at most N bytes a second of that (64M)\n"
    "  --remote-every N  copy checkpoints whose step is a multiple of N to "
    "the\n"
    "                  home's remote tier, of runs whose trainers do not say\n"
    "                  (0: none)\n"
    "  --local-last N  of what is there, keep so many of the newest here "
    "too\n"
    "                  (0: all)\n"
    "  --drain-rate N  at most N bytes a second of that (0: no limit)\n"
    "                  Sizes take K, M, G or T: powers of 1024.\n"
    "  --drain-codec C auto: encode what gets there sooner that way; planes:\n"
    "                  all that gets smaller; raw: copy it as it is (auto)\n"
    "  --log-level L   what to log on stderr: error, warn, info, debug (info)\n"
    "  --version, --help\n";

/* The options that are numbers: their values in getopt_long(), and places in
 * the table. */
enum number {
    NUMBER_LINGER,
    NUMBER_KEEP_LAST,
    NUMBER_KEEP_EVERY,
    NUMBER_REMOTE_EVERY,
    NUMBER_LOCAL_LAST,
    NUMBER_DRAIN_RATE,
    NUMBER_SCRUB_EVERY,
    NUMBER_SCRUB_RATE,
    NUMBERS,
};

#define NUMBER_OPTION 256 /* beyond any letter */

static const struct {
    const char *what, *otherwise;
    uint64_t most;
    bool is_size;
} numbers[NUMBERS] = {
    [NUMBER_LINGER] = {"--linger (CKPT_LINGER)", "600", SECONDS_MAX, false},
    [NUMBER_KEEP_LAST] = {"--keep-last", "0", UINT32_MAX, false},
    [NUMBER_KEEP_EVERY] = {"--keep-every", "0", UINT32_MAX, false},
    [NUMBER_REMOTE_EVERY] = {"--remote-every", "0", UINT32_MAX, false},
    [NUMBER_LOCAL_LAST] = {"--local-last", "0", UINT32_MAX, false},
    [NUMBER_DRAIN_RATE] = {"--drain-rate", "0", UINT64_MAX / 2, true},
    [NUMBER_SCRUB_EVERY] = {"--scrub-every", "604800", SECONDS_MAX, false},
    [NUMBER_SCRUB_RATE] = {"--scrub-rate", "64M", UINT64_MAX / 2, true},
};

struct arguments {
    struct reactor_options options;
    const char *number[NUMBERS]; /* as given */
    const char *level;
};

static int usage_error(const char *text, const char *what)
{
    (void)fprintf(stderr, "ckptd: %s%s\nTry 'ckptd --help'.\n", text, what);
    return EXIT_USAGE;
}

/* DRAIN_CODECS: no such word. */
static enum drain_codec parse_codec(const char *word)
{
    static const char *const words[DRAIN_CODECS] = {"auto", "raw", "planes"};
    enum drain_codec codec = DRAIN_AUTO;

    while (codec < DRAIN_CODECS && strcmp(word, words[codec]) != 0)
        codec++;
    return codec;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"local", required_argument, NULL, 'l'},
        {"socket", required_argument, NULL, 's'},
        {"linger", required_argument, NULL, NUMBER_OPTION + NUMBER_LINGER},
        {"keep-last", required_argument, NULL,
         NUMBER_OPTION + NUMBER_KEEP_LAST},
        {"keep-every", required_argument, NULL,
         NUMBER_OPTION + NUMBER_KEEP_EVERY},
        {"remote-every", required_argument, NULL,
         NUMBER_OPTION + NUMBER_REMOTE_EVERY},
        {"local-last", required_argument, NULL,
         NUMBER_OPTION + NUMBER_LOCAL_LAST},
        {"drain-rate", required_argument, NULL,
         NUMBER_OPTION + NUMBER_DRAIN_RATE},
        {"drain-codec", required_argument, NULL, 'c'},
        {"scrub-every", required_argument, NULL,
         NUMBER_OPTION + NUMBER_SCRUB_EVERY},
        {"scrub-rate", required_argument, NULL,
         NUMBER_OPTION + NUMBER_SCRUB_RATE},
        {"log-level", required_argument, NULL, 'v'},
        {"foreground", no_argument, NULL, 'f'},
        {"rados", no_argument, NULL, 'N'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'l':
            a->options.local = optarg;
            break;
        case 'c':
            a->options.drain_codec = parse_codec(optarg);
            if (a->options.drain_codec == DRAIN_CODECS)
                return usage_error("--drain-codec is auto, raw or planes, not ",
                                   optarg);
            break;
        case 's':
            a->options.socket = optarg;
            break;
        case 'v':
            a->level = optarg;
            break;
        case 'f':
            a->options.is_foreground = true;
            break;
        case 'N':
            a->options.has_network = true;
            break;
        case 'V':
            (void)printf("ckptd %s\n", CKPT_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            (void)fputs(usage_text, stdout);
            return EXIT_SUCCESS;
        default:
            if (c < NUMBER_OPTION)
                return usage_error("unknown or incomplete option", "");
            a->number[c - NUMBER_OPTION] = optarg;
        }
    }
    if (optind < argc)
        return usage_error("unexpected argument ", argv[optind]);
    return -1;
}

static bool parse_plain(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && !errno;
}

/* -1: go on, else the exit code. NULL: as it is without. */
static int parse_number(const char *text, size_t i, uint64_t *out)
{
    bool is_size = numbers[i].is_size, ok;

    if (!text)
        text = numbers[i].otherwise;
    ok = is_size ? text_bytes(text, out) : parse_plain(text, out);
    if (ok && *out <= numbers[i].most)
        return -1;
    (void)fprintf(stderr, "ckptd: %s: not a %s up to %" PRIu64 "%s\n",
                  numbers[i].what, is_size ? "size" : "number", numbers[i].most,
                  is_size ? ": bytes, or a number with K, M, G or T" : "");
    return usage_error("bad value ", text);
}

static int parse_numbers(struct arguments *a)
{
    struct reactor_options *o = &a->options;
    uint64_t value[NUMBERS];

    for (size_t i = 0; i < NUMBERS; i++) {
        const char *text = a->number[i];
        int code;

        if (i == NUMBER_LINGER && text && !*text) /* an empty variable */
            text = NULL;
        code = parse_number(text, i, &value[i]);

        if (code >= 0)
            return code;
    }
    o->linger_ms = value[NUMBER_LINGER] * 1000;
    o->keep_last = (uint32_t)value[NUMBER_KEEP_LAST];
    o->keep_every = (uint32_t)value[NUMBER_KEEP_EVERY];
    o->remote_every = (uint32_t)value[NUMBER_REMOTE_EVERY];
    o->local_last = (uint32_t)value[NUMBER_LOCAL_LAST];
    o->drain_bytes_s = value[NUMBER_DRAIN_RATE];
    o->scrub_every_ms = value[NUMBER_SCRUB_EVERY] * 1000;
    o->scrub_bytes_s = value[NUMBER_SCRUB_RATE];
    return -1;
}

/* Lists and tables that are needed for a moment go back to the system. Left
 * alone, malloc would keep up to twice the largest one that ever was. */
static void give_memory_back(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    (void)mallopt(M_MMAP_THRESHOLD, GIVEN_BACK_BYTES);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    (void)mallopt(M_TRIM_THRESHOLD, GIVEN_BACK_BYTES);
}

/* What a trainer's environment may have left on us. */
static void reset_process(void)
{
    struct rlimit limit;
    cpu_set_t all;

    (void)umask(022); /* all that is made has a mode of its own */
    CPU_ZERO(&all);
    for (int i = 0; i < CPU_SETSIZE; i++)
        CPU_SET(i, &all);
    (void)sched_setaffinity(0, sizeof all, &all);
    (void)setpriority(PRIO_PROCESS, 0, 5);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_MEMLOCK, &limit);
    }
}

int main(int argc, char **argv)
{
    struct arguments a = {
        .options = {.local = getenv("CKPT_LOCAL"),
                    .socket = getenv("CKPT_SOCKET")},
        .number = {[NUMBER_LINGER] = getenv("CKPT_LINGER")},
        .level = "info",
    };
    struct err err = {0};
    int code = parse(argc, argv, &a);
    int level;

    if (code >= 0)
        return code;
    code = parse_numbers(&a);
    if (code >= 0)
        return code;
    level = log_level_parse(a.level);
    if (level < 0)
        return usage_error("unknown log level ", a.level);
    if (!a.options.local || !*a.options.local)
        return usage_error("--local DIR is missing", "");
    if (a.options.socket && !*a.options.socket)
        a.options.socket = NULL;
    reset_process();
    give_memory_back();
    log_open(2, (enum log_level)level);
    if (reactor_run(&a.options, &err) == 0)
        return EXIT_SUCCESS;
    log_line(err.code == -EBUSY ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "daemon",
             "%s", err.text);
    return err.code == -EBUSY ? EXIT_BUSY : EXIT_FAILURE;
}
