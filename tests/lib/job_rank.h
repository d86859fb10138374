/*
 * job_rank.h - one rank of tests/progs/job.c, which describes the commands.
 */
#ifndef TESTS_LIB_JOB_RANK_H
#define TESTS_LIB_JOB_RANK_H

#include "tests/lib/job_state.h"

#include <stdatomic.h>

#define JOB_RANKS_MAX 64

/* Memory that all ranks of a job share. */
struct shared {
    atomic_uint arrived;
    atomic_uint died[JOB_RANKS_MAX]; /* this rank killed itself */
};

struct rank {
    uint32_t first, count; /* of the ranks of this process's job */
    struct ckpt_options options;
    struct job_shape shape;
    struct shared *shared;
    char **commands;
    int command_count;

    const char *command; /* being obeyed */
    unsigned barriers;
    struct ckpt *ctx;
    struct ckpt_save *save;
    struct job_state state;
    struct ckpt_error error;
};

/* Obeys the commands; the exit status of the rank. */
int rank_run(struct rank *r);

#endif
