/*
 * load_job.h - checkpoints of one job, to be loaded by another: a daemon saves
 * three steps and ends, and a fresh one, with nothing in memory, serves the
 * ranks that load them.
 */
#ifndef TESTS_LIB_LOAD_JOB_H
#define TESTS_LIB_LOAD_JOB_H

#include "tests/lib/load_rig.h"

#define JOB_STEPS        3 /* 10, 20, 30 */
#define JOB_TENSORS      2
#define JOB_TENSOR_BYTES (3 * (uint64_t)RIG_CHUNK_BYTES - 100)
#define JOB_LIMIT_MS     900000
/* Instead of a codec: raw, but of bytes that compress. */
#define JOB_DULL 3u

struct load_job {
    struct test_world *world;
    struct rig *saver; /* has ended */
    struct save_id id[JOB_STEPS];
    char file[JOB_STEPS][64]; /* a segment that only this step is in */
    struct rig *g;            /* serves */
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig_load *l[RIG_RANKS_MAX];
    uint32_t savers, loaders, lives;
};

/* `savers` ranks save with this codec (as CKPT_CODEC, or JOB_DULL), then the
 * daemon ends. */
void load_job_save(struct load_job *j, uint64_t seed, uint32_t savers,
                   uint32_t codec);
/* A daemon starts and `loaders` ranks join, each wishing for its share of all
 * tensors: tensors whole, dealt out, or (is_cut) a slice of each. */
void load_job_start(struct load_job *j, uint32_t loaders, uint32_t slots,
                    bool is_cut);
/* Only the ranks, on the daemon that is there. */
void load_job_join(struct load_job *j, const char *token, uint32_t loaders,
                   uint32_t slots, bool is_cut);
void load_job_wish(struct load_job *j, bool is_cut);
/* All ranks ask. */
void load_job_load(struct load_job *j);
/* Until all are done; false: that takes longer than any deadline. */
bool load_job_wait(struct load_job *j);
/* The same, by assert(), and nothing of it is left in the daemon. */
void load_job_finish(struct load_job *j);
/* All ranks have loaded step number `i`, byte for byte. */
void load_job_check(struct load_job *j, int i);
/* All ranks have failed with this code and words. */
void load_job_check_failed(struct load_job *j, int code, const char *words);
/* No slot is in use, no load pending. */
void load_job_check_quiet(struct load_job *j);
/* Flips a byte of every chunk in the segment of step number `i`. */
void load_job_damage(struct load_job *j, int i);
/* All ranks ask, and after so many turns the daemon ends, in order or by
 * SIGKILL; then the next one's load. */
void load_job_cut_short(struct load_job *j, uint64_t turns, bool is_killed);
void load_job_end(struct load_job *j);

#endif
