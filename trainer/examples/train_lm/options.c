/*
 * options.c - see options.h. Flags are rows of a table: a name, a kind, where
 * the value goes and what range it may have; getopt_long does the rest.
 */
#include "trainer/examples/train_lm/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

enum kind {
    KIND_TEXT,
    KIND_NUMBER,
    KIND_BYTES,
    KIND_REAL,
    KIND_SWITCH,
    KIND_WORD, /* the number of one of `words` */
};

struct flag {
    const char *name;
    enum kind kind;
    size_t at; /* offset in struct options */
    uint64_t low, high;
    const char *words; /* a space between them */
};

#define AT(member) offsetof(struct options, member)

static const struct flag flags[] = {
    {"home", KIND_TEXT, AT(home), 0, 0, NULL},
    {"run", KIND_TEXT, AT(run), 0, 0, NULL},
    {"data", KIND_TEXT, AT(data), 0, 0, NULL},
    {"log", KIND_TEXT, AT(log), 0, 0, NULL},
    {"steps", KIND_NUMBER, AT(steps), 0, 1000000000, NULL},
    {"save-every", KIND_NUMBER, AT(save_every), 0, 1000000000, NULL},
    {"dp", KIND_NUMBER, AT(dp), 1, 1024, NULL},
    {"tp", KIND_NUMBER, AT(tp), 1, 64, NULL},
    {"pp", KIND_NUMBER, AT(pp), 1, 256, NULL},
    {"ep", KIND_NUMBER, AT(ep), 1, 1024, NULL},
    {"layers", KIND_NUMBER, AT(layers), 1, 256, NULL},
    {"width", KIND_NUMBER, AT(width), 4, 8192, NULL},
    {"experts", KIND_NUMBER, AT(experts), 0, 256, NULL},
    {"batch", KIND_NUMBER, AT(batch), 1, 65536, NULL},
    {"seed", KIND_NUMBER, AT(seed), 0, UINT64_MAX, NULL},
    {"arena-bytes", KIND_BYTES, AT(arena_bytes), 0, (uint64_t)1 << 40, NULL},
    {"resume-step", KIND_NUMBER, AT(resume_step), 1, 1000000000, NULL},
    {"replica-check", KIND_WORD, AT(replica_check), 0, 0, "sample all off"},
    {"on-divergence", KIND_WORD, AT(on_divergence), 0, 0, "warn fail"},
    {"on-stale", KIND_WORD, AT(on_stale), 0, 0, "warn fail ignore"},
    {"replica-allow", KIND_TEXT, AT(replica_allow), 0, 0, NULL},
    {"optimizer-names", KIND_TEXT, AT(optimizer_names), 0, 0, NULL},
    {"lr", KIND_REAL, AT(lr), 0, 1, NULL},
    {"dropout", KIND_REAL, AT(dropout), 0, 1, NULL},
    {"tied", KIND_SWITCH, AT(tied), 1, 0, NULL},
    {"untied", KIND_SWITCH, AT(tied), 0, 0, NULL},
    {"fresh", KIND_SWITCH, AT(fresh), 1, 0, NULL},
    {"wait-commit", KIND_SWITCH, AT(wait_commit), 1, 0, NULL},
    {"check-grad", KIND_SWITCH, AT(check_grad), 1, 0, NULL},
    {"help", KIND_SWITCH, AT(help), 1, 0, NULL},
};

static const char help_text[] =
    "usage: mpirun -n N train_lm --home DIR [flags]      (N = dp * tp * pp)\n"
    "\n"
    "Trains a byte-level language model and saves it with ckptd; goes on from\n"
    "the run's newest checkpoint by itself, in whatever layout.\n"
    "\n"
    "  --home DIR         home of checkpoints (default: CKPT_HOME)\n"
    "  --run NAME         name of the run (lm)\n"
    "  --steps N          train up to step N (200)\n"
    "  --save-every N     save every N steps; 0: only the last (50)\n"
    "  --dp N --tp N --pp N   data, tensor and pipeline parallel degrees (1)\n"
    "  --ep N             ranks of dp that share out the experts (1)\n"
    "  --layers N         residual blocks (4)\n"
    "  --width N          width of the model (64)\n"
    "  --experts N        mixture of N experts in every second block (0)\n"
    "  --tied, --untied   whether the output head is the embedding (untied)\n"
    "  --batch N          samples per step, of the whole job (16)\n"
    "  --seed N           seed of weights, sample order and dropout (1)\n"
    "  --data PATH        a file, or a directory of texts\n"
    "                     (/usr/share/common-licenses)\n"
    "  --lr X             learning rate (0.004)\n"
    "  --dropout X        of the blocks' outputs (0.02)\n"
    "  --arena-bytes N    staging memory of a rank; suffixes K M G T\n"
    "  --log FILE         append a line `step TAB loss' per step\n"
    "  --fresh            do not resume\n"
    "  --resume-step N    resume from step N instead of the newest\n"
    "  --wait-commit      wait for every save to be committed\n"
    "  --replica-check sample|all|off   which replicas a save compares "
    "(sample)\n"
    "  --on-divergence warn|fail        when some differ (warn)\n"
    "  --replica-allow PATTERNS         tensors whose replicas may differ\n"
    "  --on-stale warn|fail|ignore      the optimizer's state did not change\n"
    "                                   (warn)\n"
    "  --optimizer-names PATTERNS       which tensors that is (optim*)\n"
    "  --check-grad       compare gradients with finite differences and leave\n"
    "\n"
    "With more ranks than cores: mpirun --oversubscribe --mca\n"
    "mpi_yield_when_idle 1. Exit codes: 0 fine, 1 error, 2 bad flags.\n";

const char *options_help(void)
{
    return help_text;
}

static void options_defaults(struct options *options)
{
    memset(options, 0, sizeof *options);
    options->run = "lm";
    options->data = "/usr/share/common-licenses";
    options->steps = 200;
    options->save_every = 50;
    options->dp = options->tp = options->pp = options->ep = 1;
    options->layers = 4;
    options->width = 64;
    options->batch = 16;
    options->seed = 1;
    options->lr = 0.004;
    options->dropout = 0.02;
}

/* A power of 1024 for K, M, G or T at the end of a size; 0 for anything else.
 */
static uint64_t suffix_factor(const char *suffix)
{
    static const char letters[] = "KMGT";
    const char *letter;

    if (*suffix == '\0')
        return 1;
    letter = strchr(letters, *suffix);
    if (!letter || suffix[1] != '\0')
        return 0;
    return (uint64_t)1 << (10 * (letter - letters + 1));
}

static int parse_number(const struct flag *flag, const char *text,
                        uint64_t *out)
{
    uint64_t factor;
    char *end;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (errno || (flag->kind == KIND_NUMBER && *end != '\0'))
        return -EINVAL;
    factor = suffix_factor(end);
    if (factor == 0 || __builtin_mul_overflow(*out, factor, out))
        return -EINVAL;
    return *out < flag->low || *out > flag->high ? -EINVAL : 0;
}

static int parse_real(const struct flag *flag, const char *text, double *out)
{
    char *end;

    errno = 0;
    *out = strtod(text, &end);
    if (errno || end == text || *end != '\0')
        return -EINVAL;
    return *out >= (double)flag->low && *out < (double)flag->high ? 0 : -EINVAL;
}

static int parse_word(const struct flag *flag, const char *text, uint64_t *out)
{
    size_t bytes = strlen(text);
    uint64_t number = 0;

    for (const char *w = flag->words; bytes && *w; w += *w == ' ') {
        size_t length = strcspn(w, " ");

        if (length == bytes && strncmp(w, text, bytes) == 0) {
            *out = number;
            return 0;
        }
        number++;
        w += length;
    }
    return -EINVAL;
}

static int apply(const struct flag *flag, const char *text,
                 struct options *options, char error[OPTIONS_ERROR_BYTES])
{
    char *at = (char *)options + flag->at;
    int rc = 0;

    switch (flag->kind) {
    case KIND_TEXT:
        memcpy(at, &text, sizeof text);
        rc = *text == '\0' ? -EINVAL : 0;
        break;
    case KIND_NUMBER:
    case KIND_BYTES:
        rc = parse_number(flag, text, (uint64_t *)(void *)at);
        break;
    case KIND_REAL:
        rc = parse_real(flag, text, (double *)(void *)at);
        break;
    case KIND_SWITCH:
        *(bool *)at = flag->low != 0;
        break;
    case KIND_WORD:
        rc = parse_word(flag, text, (uint64_t *)(void *)at);
        break;
    }
    if (rc && flag->kind == KIND_TEXT)
        (void)snprintf(error, OPTIONS_ERROR_BYTES, "--%s: empty", flag->name);
    else if (rc && flag->kind == KIND_WORD)
        (void)snprintf(error, OPTIONS_ERROR_BYTES,
                       "--%s: `%.64s' is none of: %s", flag->name, text,
                       flag->words);
    else if (rc && flag->kind == KIND_BYTES)
        (void)snprintf(error, OPTIONS_ERROR_BYTES,
                       "--%s: `%.64s' is not a size up to %lluG: bytes, or a "
                       "whole number with K, M, G or T",
                       flag->name, text,
                       (unsigned long long)(flag->high >> 30));
    else if (rc)
        (void)snprintf(error, OPTIONS_ERROR_BYTES,
                       "--%s: `%.64s' is not a number from %llu to %llu%s",
                       flag->name, text, (unsigned long long)flag->low,
                       (unsigned long long)flag->high,
                       flag->kind == KIND_REAL ? " (below)" : "");
    return rc;
}

int options_parse(int argc, char **argv, struct options *options,
                  char error[OPTIONS_ERROR_BYTES])
{
    struct option longs[ARRAY_LEN(flags) + 1];
    int rc = 0, index = 0, c;

    options_defaults(options);
    memset(longs, 0, sizeof longs);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        longs[i].name = flags[i].name;
        longs[i].has_arg =
            flags[i].kind == KIND_SWITCH ? no_argument : required_argument;
    }
    opterr = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread yet */
    while (rc == 0 && (c = getopt_long(argc, argv, ":", longs, &index)) != -1) {
        if (c != 0) {
            (void)snprintf(error, OPTIONS_ERROR_BYTES, "%s `%.128s'",
                           c == ':' ? "a value is missing after"
                                    : "unknown or ambiguous flag",
                           argv[optind - 1]);
            return -EINVAL;
        }
        rc = apply(&flags[index], optarg, options, error);
        if (strcmp(flags[index].name, "resume-step") == 0)
            options->has_resume_step = true;
    }
    if (rc == 0 && optind < argc) {
        (void)snprintf(error, OPTIONS_ERROR_BYTES,
                       "`%.128s' is not a flag; train_lm takes nothing else",
                       argv[optind]);
        rc = -EINVAL;
    }
    return rc;
}

int options_check(const struct options *o, uint64_t world,
                  char error[OPTIONS_ERROR_BYTES])
{
    const char *reason = NULL;
    uint64_t made = o->dp * o->tp * o->pp;

    if (made != world) {
        (void)snprintf(error, OPTIONS_ERROR_BYTES,
                       "--dp %llu --tp %llu --pp %llu make %llu ranks, but "
                       "mpirun started %llu",
                       (unsigned long long)o->dp, (unsigned long long)o->tp,
                       (unsigned long long)o->pp, (unsigned long long)made,
                       (unsigned long long)world);
        return -EINVAL;
    }
    if (o->batch % o->dp)
        reason = "--batch is not a multiple of --dp";
    else if (2 * o->width % o->tp)
        reason = "twice --width is not a multiple of --tp";
    else if (o->pp > o->layers)
        reason = "--pp is more than --layers";
    else if (o->dp % o->ep)
        reason = "--ep does not divide --dp";
    else if (o->ep > 1 && o->experts == 0)
        reason = "--ep needs --experts";
    else if (o->experts && o->experts % o->ep)
        reason = "--experts is not a multiple of --ep";
    else if (o->fresh && o->has_resume_step)
        reason = "--fresh and --resume-step exclude each other";
    if (!reason)
        return 0;
    (void)snprintf(error, OPTIONS_ERROR_BYTES, "%s", reason);
    return -EINVAL;
}
