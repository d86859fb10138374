/*
 * workers.h - a few threads that run the engine's jobs.
 *
 * workers_give() never blocks for long (one lock). Finished jobs collect until
 * workers_collect() is called on the owner's thread, which calls their done();
 * workers_fd() is readable while there are any. Jobs run in the order given.
 */
#ifndef CKPTD_WORKERS_H
#define CKPTD_WORKERS_H

#include "ckptd/engine/env.h"

struct workers;

int workers_open(uint32_t count, struct workers **out) MUST_USE;
/* Ends after what was given has run; done() of those is called here. */
void workers_close(struct workers *w);
void workers_give(struct workers *w, struct env_job *job);
int workers_fd(const struct workers *w);
void workers_collect(struct workers *w);

#endif
