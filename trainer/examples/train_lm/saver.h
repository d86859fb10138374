/*
 * saver.h - all dealings with ckptd after the start: this is the file to read
 * for how a trainer uses the library.
 *
 *   saver_open      join the run with a token of this start of the job
 *   saver_resume    find out what to resume from; later, load it
 *   saver_save      after an optimizer step
 *   saver_fence     before the next optimizer step
 *   saver_finish    wait until the last save is a checkpoint
 *
 * A save that fails costs a warning, not the job; the library itself ends
 * patience after several in a row. Any other failure ends the job with the
 * library's message.
 */
#ifndef TRAIN_LM_SAVER_H
#define TRAIN_LM_SAVER_H

#include "trainer/examples/train_lm/extra.h"
#include "trainer/examples/train_lm/state.h"

struct saver {
    const struct options *options;
    struct mesh *mesh;
    struct ckpt *ctx;
    struct ckpt_save *save; /* the newest, or NULL */
    bool is_fenced, is_reported;
    uint64_t failed_count; /* saves that failed and were reported */
    uint64_t saved_step;   /* of the newest save or of the load */
};

/* Collective. The other functions are too, but for saver_poll(). */
void saver_open(struct saver *saver, const struct options *options,
                struct mesh *mesh);
void saver_close(struct saver *saver);

/* Whether there is a checkpoint to resume from; if so it is of this model. */
bool saver_has_parent(struct saver *saver);

/* Load it into the state and the progress. */
void saver_load(struct saver *saver, const struct state *state,
                struct progress *progress);

/* Whether a save is due after this step. */
bool saver_is_due(const struct saver *saver, uint64_t step);

/* Start a save of the state as of progress->step. */
void saver_save(struct saver *saver, const struct state *state,
                const struct progress *progress);

/* To be called before parameters or optimizer state change. */
void saver_fence(struct saver *saver);

/* Say on rank 0 once what became of the newest save, and whether one before
 * it failed; does not block. */
void saver_poll(struct saver *saver);

/* Wait until the newest save is committed. */
void saver_finish(struct saver *saver);

#endif
