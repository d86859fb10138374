/*
 * main.c - ckptd's command line.
 *
 * Exit codes: 0 ended in order, 1 failure (said on stderr), 2 usage, 11 another
 * daemon serves this local store (what a starter that lost the race sees).
 */
#include "ckptd/daemon/reactor.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum {
    EXIT_USAGE = 2,
    EXIT_BUSY = 11,
};

static const char usage_text[] =
    "usage: ckptd [--foreground] --local DIR [--socket PATH] [--linger S]\n"
    "             [--log-level error|warn|info|debug]\n"
    "\n"
    "Serves checkpoints of this user's trainers on this node. Trainers start\n"
    "one by themselves where none answers; it then ends by itself.\n"
    "\n"
    "  --local DIR     folder of segments on a local drive (CKPT_LOCAL); made\n"
    "                  if its parent exists\n"
    "  --foreground    run until SIGTERM or SIGINT (for a service or by hand)\n"
    "  --socket PATH   where to listen (CKPT_SOCKET; default DIR/ckptd.sock)\n"
    "  --linger S      seconds to stay without work (CKPT_LINGER; 600)\n"
    "  --log-level L   what to log on stderr (info)\n"
    "  --version, --help\n";

struct arguments {
    struct reactor_options options;
    const char *linger;
    const char *level;
};

static int usage_error(const char *text, const char *what)
{
    (void)fprintf(stderr, "ckptd: %s%s\nTry 'ckptd --help'.\n", text, what);
    return EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"local", required_argument, NULL, 'l'},
        {"socket", required_argument, NULL, 's'},
        {"linger", required_argument, NULL, 'g'},
        {"log-level", required_argument, NULL, 'v'},
        {"foreground", no_argument, NULL, 'f'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'l':
            a->options.local = optarg;
            break;
        case 's':
            a->options.socket = optarg;
            break;
        case 'g':
            a->linger = optarg;
            break;
        case 'v':
            a->level = optarg;
            break;
        case 'f':
            a->options.is_foreground = true;
            break;
        case 'V':
            (void)printf("ckptd %s\n", CKPT_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            (void)fputs(usage_text, stdout);
            return EXIT_SUCCESS;
        default:
            return usage_error("unknown or incomplete option", "");
        }
    }
    if (optind < argc)
        return usage_error("unexpected argument ", argv[optind]);
    return -1;
}

static int parse_linger(const char *text, uint64_t *ms)
{
    char *end;
    unsigned long long seconds;

    errno = 0;
    seconds = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno ||
        seconds > 366ULL * 24 * 3600)
        return usage_error("--linger (CKPT_LINGER) is not a number of "
                           "seconds: ",
                           text);
    *ms = seconds * 1000;
    return -1;
}

/* What a trainer's environment may have left on us. */
static void reset_process(void)
{
    struct rlimit limit;
    cpu_set_t all;

    (void)umask(077);
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
        .linger = getenv("CKPT_LINGER"),
        .level = "info",
    };
    struct err err = {0};
    int code = parse(argc, argv, &a);
    int level;

    if (code >= 0)
        return code;
    code = parse_linger(a.linger && *a.linger ? a.linger : "600",
                        &a.options.linger_ms);
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
    log_open(2, (enum log_level)level);
    if (reactor_run(&a.options, &err) == 0)
        return EXIT_SUCCESS;
    log_line(err.code == -EBUSY ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "daemon",
             "%s", err.text);
    return err.code == -EBUSY ? EXIT_BUSY : EXIT_FAILURE;
}
