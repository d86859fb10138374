/*
 * workers.h - the copy threads.
 */
#ifndef TRAINER_WORKERS_H
#define TRAINER_WORKERS_H

#include "trainer/context.h"

/* Start ctx->copy_threads of them and the I/O thread, with every signal
 * blocked in them. On failure none is left. -errno with words. */
int threads_start(struct ckpt *ctx, struct err *err) MUST_USE;
/* Sets is_closing, wakes all, waits for all. */
void threads_stop(struct ckpt *ctx);

#endif
