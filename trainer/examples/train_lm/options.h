/*
 * options.h - the command line of train_lm.
 *
 * One flat struct, filled from flags and checked as far as that is possible
 * without knowing the number of ranks. Bad flags come back as words, so that
 * rank 0 can print them once for the whole job.
 */
#ifndef TRAIN_LM_OPTIONS_H
#define TRAIN_LM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_ERROR_BYTES 256

struct options {
    const char *home; /* NULL: CKPT_HOME */
    const char *run;
    const char *data; /* a file, or a directory of texts */
    const char *log;  /* NULL: none */
    uint64_t steps, save_every;
    uint64_t dp, tp, pp, ep;
    uint64_t layers, width, experts; /* experts 0: every block is dense */
    uint64_t batch;                  /* samples per step of the whole job */
    uint64_t seed;
    uint64_t arena_bytes; /* 0: the library's default */
    uint64_t resume_step;
    /* As in ckpt_options, by their numbers there. */
    uint64_t replica_check, on_divergence, on_stale;
    const char *replica_allow, *optimizer_names; /* NULL: the library's */
    double lr, dropout;
    bool tied, fresh, wait_commit, check_grad, help;
    bool has_resume_step;
};

/*
 * Fill *options. 0, or -EINVAL with the reason in `error`. Strings point into
 * argv. Does not print and does not exit.
 */
int options_parse(int argc, char **argv, struct options *options,
                  char error[OPTIONS_ERROR_BYTES])
    __attribute__((warn_unused_result));

/* Whether the flags fit together and fit `world` ranks; results as above. */
int options_check(const struct options *options, uint64_t world,
                  char error[OPTIONS_ERROR_BYTES])
    __attribute__((warn_unused_result));

/* The text of --help, static storage. */
const char *options_help(void);

#endif
